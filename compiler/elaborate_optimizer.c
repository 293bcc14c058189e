/* Optimizers: one body, elaborated for each parameter of a graph that holds their gradients. */
#include "elaborate_internal.h"

#include <stdlib.h>
#include <string.h>

static void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

enum { OPTIMIZER_STATES = 16 };

typedef struct optimizer {
    uint32_t count; /* parameters */
    size_t base;    /* values that are there before a parameter's own: the inputs */
    bool declared;  /* the declarations are done, the body follows */
    const tree *each;
    size_t state_count;
    const tree *state[OPTIMIZER_STATES];
    uint32_t *state_tensor; /* count * state_count tensor numbers */
    struct {
        const tree *argument;
        node sum;
    } total[64];
    unsigned totals;
    uint32_t *output; /* of each gradient */
} optimizer;

static void bind(module *m, const char *name, node n, const tensor *shape) {
    value v = {.name = name, .node = n};
    if (shape) {
        /* element by element: written without indices, it depends on all of the parameter's */
        memcpy(v.index, shape->index, sizeof v.index);
    }
    add_value(m, &v);
}

static void bind_parameter(module *m, const optimizer *o, uint32_t k) {
    const output *gradient  = graph_output(m->g, o->output[k]);
    const tensor *parameter = graph_tensor(m->g, gradient->tensor);
    bind(m, o->each->name, parameter->node, parameter);
    bind(m, o->each->a->name, gradient->node, parameter);
    for (size_t s = 0; s < o->state_count; s++)
        bind(m, o->state[s]->name, graph_tensor(m->g, o->state_tensor[k * o->state_count + s])->node, parameter);
}

/* The sum of an expression over all elements of all parameters. It sees every parameter, gradient and state as they
 * were before the step, and the inputs; not what the body defines, which belongs to one parameter. */
static node total_over_parameters(module *m, const tree *argument, const local *scope, const trail *where) {
    optimizer *o = m->optimizer;
    if (scope || where) {
        module_error(m, argument->at, where, NULL, "`total` stands in the optimizer itself, not in a function");
        return NODE_NONE;
    }
    if (!o->declared) {
        module_error(m, argument->at, where, NULL,
                     "`total` stands in the body: a declaration is known before the step");
        return NODE_NONE;
    }
    for (unsigned i = 0; i < o->totals; i++)
        if (o->total[i].argument == argument)
            return o->total[i].sum;
    size_t own   = m->value_count - o->base;
    value *saved = zeroed(own + 1, sizeof *saved);
    memcpy(saved, m->value + o->base, own * sizeof *saved);
    node sum = graph_float(m->g, 0);
    for (uint32_t k = 0; k < o->count && sum; k++) {
        m->value_count = o->base;
        bind_parameter(m, o, k);
        node n          = operand(m, argument, NULL, NULL, false);
        const tensor *p = graph_tensor(m->g, graph_output(m->g, o->output[k])->tensor);
        index_set all   = set_of(p->index, p->rank);
        sum             = n ? graph_add(m->g, sum, graph_reduce(m->g, REDUCE_SUM, all, NODE_NONE, n)) : NODE_NONE;
    }
    m->value_count = o->base;
    for (size_t i = 0; i < own; i++)
        add_value(m, &saved[i]);
    free(saved);
    if (sum && o->totals < sizeof o->total / sizeof *o->total) {
        o->total[o->totals].argument = argument;
        o->total[o->totals++].sum    = sum;
    }
    return sum;
}

/* A parameter, gradient or state of this name: is the name free? */
static void own_name(module *m, const optimizer *o, const tree *t) {
    bool taken = find_number(m, t->name) || find_value(m, t->name);
    if (o->each && o->each->a != t)
        taken |= strcmp(o->each->name, t->name) == 0 || strcmp(o->each->a->name, t->name) == 0;
    else if (o->each)
        taken |= strcmp(o->each->name, t->name) == 0;
    for (size_t s = 0; s < o->state_count; s++)
        taken |= strcmp(o->state[s]->name, t->name) == 0;
    if (taken)
        module_error(m, t->at, NULL, NULL, "`%s` is declared twice", t->name);
}

static bool declare_optimizer(module *m, optimizer *o) {
    for (const tree *t = m->spec->statements; t; t = t->next) {
        if (t->kind == TREE_EACH) {
            own_name(m, o, t);
            if (o->each)
                module_error(m, t->at, NULL, NULL, "an optimizer has one `each`");
            o->each = t;
            own_name(m, o, t->a);
        } else if (t->kind == TREE_STATE) {
            own_name(m, o, t);
            if (o->state_count == OPTIMIZER_STATES)
                module_error(m, t->at, NULL, NULL, "more than %d states", OPTIMIZER_STATES);
            else
                o->state[o->state_count++] = t;
        } else if (t->kind == TREE_SIZE || t->kind == TREE_CONSTANT) {
            size_statement(m, t);
        } else if (t->kind == TREE_INPUT) {
            tensor_statement(m, t);
        } else if (t->kind == TREE_REQUIRE) {
            require_statement(m, t);
        }
    }
    if (!o->each) {
        diagnostics_file_error(m->d, m->spec->path, NULL,
                               "an optimizer says `each p, g`: a parameter and its gradient");
        m->failed++;
    }
    return m->failed == 0;
}

static void add_states(module *m, optimizer *o) {
    o->state_tensor = zeroed(o->count * o->state_count + 1, sizeof *o->state_tensor);
    for (uint32_t k = 0; k < o->count; k++) {
        uint32_t number = graph_output(m->g, o->output[k])->tensor;
        for (size_t s = 0; s < o->state_count; s++) {
            const tensor *parameter = graph_tensor(m->g, number);
            tensor state            = {.kind   = TENSOR_STATE,
                                       .type   = TYPE_FLOAT,
                                       .rank   = parameter->rank,
                                       .init   = INIT_CONSTANT,
                                       .parent = number};
            char name[512];
            memcpy(state.index, parameter->index, sizeof state.index);
            snprintf(name, sizeof name, "%s.%s", parameter->name, o->state[s]->name);
            state.name = name;
            if (!constant_value(m, o->state[s]->a, NULL, NULL, &state.argument[0]))
                return;
            o->state_tensor[k * o->state_count + s] = graph_add_tensor(m->g, &state);
        }
    }
}

static void add_update(module *m, uint32_t tensor_number, node n) {
    const tensor *t = graph_tensor(m->g, tensor_number);
    char name[512];
    snprintf(name, sizeof name, "update.%s", t->name);
    output out = {.name = name, .kind = OUTPUT_UPDATE, .tensor = tensor_number, .rank = t->rank, .node = n};
    memcpy(out.index, t->index, sizeof out.index);
    graph_add_output(m->g, &out);
}

static void optimize_parameter(module *m, optimizer *o, uint32_t k) {
    size_t mark = m->value_count;
    bind_parameter(m, o, k);
    for (const tree *t = m->spec->statements; t && !m->failed; t = t->next) {
        if (t->kind == TREE_UPDATE || t->kind == TREE_DEFINE) {
            if (t->a || t->c)
                module_error(m, t->at, NULL, NULL, "an optimizer works element by element: no indices, no `from`");
            node n = operand(m, t->b, NULL, NULL, false);
            if (!n)
                continue;
            value *v = (value *)find_value(m, t->name);
            if (t->kind == TREE_UPDATE && v)
                v->node = n;
            else if (t->kind == TREE_UPDATE)
                module_error(m, t->at, NULL, NULL, "`%s` is no parameter and no state", t->name);
            else if (v || find_number(m, t->name))
                module_error(m, t->at, NULL, "to update it write `:=`", "`%s` is already defined", t->name);
            else
                bind(m, t->name, n, NULL);
        } else if (t->kind != TREE_EACH && t->kind != TREE_STATE && t->kind != TREE_SIZE && t->kind != TREE_CONSTANT &&
                   t->kind != TREE_INPUT && t->kind != TREE_FUNCTION && t->kind != TREE_REQUIRE) {
            module_error(m, t->at, NULL, NULL, "this does not belong into an optimizer");
        }
    }
    if (!m->failed) {
        add_update(m, graph_output(m->g, o->output[k])->tensor, find_value(m, o->each->name)->node);
        for (size_t s = 0; s < o->state_count; s++)
            add_update(m, o->state_tensor[k * o->state_count + s], find_value(m, o->state[s]->name)->node);
    }
    m->value_count = mark;
}

bool elaborate_optimizer(graph *g, const spec *spec_of, const elaboration *how, diagnostics *d) {
    optimizer o = {0};
    module m    = {.g         = g,
                   .spec      = spec_of,
                   .d         = d,
                   .training  = true,
                   .prefix    = "",
                   .group     = "other",
                   .total     = total_over_parameters,
                   .optimizer = &o};
    if (spec_of->kind != SPEC_OPTIMIZER) {
        diagnostics_file_error(d, spec_of->path, NULL, "this is not an optimizer");
        return false;
    }
    o.output = zeroed(graph_output_count(g) + 1, sizeof *o.output);
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (graph_output(g, i)->kind == OUTPUT_GRADIENT)
            o.output[o.count++] = i;
    if (module_begin(&m, how) && declare_optimizer(&m, &o)) {
        o.base = m.value_count;
        add_states(&m, &o);
        o.declared = true;
        for (uint32_t k = 0; k < o.count && !m.failed; k++)
            optimize_parameter(&m, &o, k);
    }
    free(o.output);
    free(o.state_tensor);
    module_discard(&m);
    return m.failed == 0;
}
