/* What a spec is given and what it learns: inputs, parameters with their initial values, tables of constants. */
#include "elaborate_internal.h"
#include "enough.h"

#include <string.h>

enum { TABLE_LIMIT = 65536 };

static bool initialiser_of(module *m, const tree *t, tensor *out) {
    static const struct {
        const char *name;
        initialiser init;
        unsigned arguments;
    } known[]        = {{"zeros", INIT_ZEROS, 0},
                        {"ones", INIT_CONSTANT, 0},
                        {"constant", INIT_CONSTANT, 1},
                        {"normal", INIT_NORMAL, 2},
                        {"uniform", INIT_UNIFORM, 2},
                        {"loguniform", INIT_LOG_UNIFORM, 2},
                        {"inversesoftplus", INIT_INVERSE_SOFTPLUS, 2}};
    out->init        = INIT_NORMAL;
    out->argument[1] = 0.02;
    if (!t)
        return true;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(t->name, known[i].name) != 0)
            continue;
        unsigned count   = 0;
        out->init        = known[i].init;
        out->argument[0] = strcmp(t->name, "ones") == 0;
        for (const tree *a = t->a; a; a = a->next, count++)
            if (count < 2 && !constant_value(m, a, NULL, NULL, &out->argument[count]))
                return false;
        if (count != known[i].arguments) {
            module_error(m, t->at, NULL, NULL, "`%s` takes %u argument%s, here %s %u", t->name, known[i].arguments,
                         known[i].arguments == 1 ? "" : "s", count == 1 ? "is" : "are", count);
            return false;
        }
        return true;
    }
    module_error(m, t->at, NULL,
                 "zeros, ones, constant(c), normal(mean, deviation), uniform(low, high), loguniform(low, high), "
                 "inversesoftplus(low, high)",
                 "unknown initialiser `%s`", t->name);
    return false;
}

static bool known_group(module *m, const tree *t) {
    static const char *const known[] = {"embedding", "attention", "feedforward", "other"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], t->name) == 0)
            return true;
    module_error(m, t->at, NULL, "embedding, attention, feedforward, other", "unknown group `%s`", t->name);
    return false;
}

/* May the model's argument stand for this input of a mechanism? */
static bool slot_input(module *m, const tree *t, index_set left) {
    if (m->slot_taken || t->b || t->number == 1) {
        module_error(m, t->at, NULL, NULL, "a mechanism in a model has one input, of real numbers");
        return false;
    }
    m->slot_taken     = true;
    index_set missing = graph_view(m->g, m->slot_argument).free & ~left;
    if (!missing)
        return true;
    index_id i       = (index_id)__builtin_ctzll(missing);
    const char *name = graph_index_name(m->g, i);
    module_error(m, t->at, NULL, "leave the sizes of the input to the model",
                 "the model's argument depends on `%s`, of %lld values; `%s` has no such index", name,
                 (long long)graph_index_extent(m->g, i), t->name);
    return false;
}

/* The tensor that t declares; NODE_NONE after an error. */
static node declare_tensor(module *m, const tree *t, tensor *v) {
    char name[512];
    snprintf(name, sizeof name, "%s%s", m->prefix, t->name);
    v->name  = name;
    v->kind  = t->kind == TREE_INPUT ? TENSOR_INPUT : TENSOR_PARAMETER;
    v->group = (char *)(t->kind == TREE_PARAM ? (t->c ? t->c->name : m->group) : "");
    if (t->kind == TREE_PARAM && t->c && !known_group(m, t->c))
        return NODE_NONE;
    if (graph_has_tensor(m->g, name)) {
        module_error(m, t->at, NULL, NULL, "there is a tensor `%s` already", name);
        return NODE_NONE;
    }
    if (t->kind == TREE_PARAM && !initialiser_of(m, t->b, v))
        return NODE_NONE;
    if (t->kind == TREE_INPUT && t->number == 1) { /* a condition is 0 or 1 */
        v->type  = TYPE_INT;
        v->below = 2;
    } else if (t->kind == TREE_INPUT && t->b) {
        v->type = TYPE_INT;
        if (!integer_value(m, t->b, NULL, NULL, &v->below))
            return NODE_NONE;
        if (v->below < 1 || v->below > INT32_MAX) {
            module_error(m, t->b->at, NULL, NULL, "an integer input is below a bound of 1 to %d", INT32_MAX);
            return NODE_NONE;
        }
    }
    if (graph_space(m->g, set_of(v->index, v->rank)) > (int64_t)1 << 40) {
        module_error(m, t->at, NULL, NULL, "`%s` would have more than 2^40 elements", t->name);
        return NODE_NONE;
    }
    node n = graph_tensor(m->g, graph_add_tensor(m->g, v))->node;
    if (t->kind == TREE_INPUT && t->number == 1)
        return graph_pointwise(m->g, NODE_EQUAL, n, graph_int(m->g, 1), NODE_NONE);
    return n;
}

void tensor_statement(module *m, const tree *t) {
    tensor v    = {.type = TYPE_FLOAT};
    value named = {.name = t->name, .t = t};
    if (!fresh_name(m, t))
        return;
    if (indices_of(m, t->a, v.index, &v.rank)) {
        named.rank = v.rank;
        memcpy(named.index, v.index, sizeof named.index);
        if (t->kind != TREE_INPUT || !m->slot_argument)
            named.node = declare_tensor(m, t, &v);
        else if (slot_input(m, t, set_of(v.index, v.rank)))
            named.node = m->slot_argument;
    }
    add_named(m, &named);
}

/* Tables: constants by index, as choices that halve the range. */

typedef struct table {
    const index_id *index;
    unsigned rank;
    node *element; /* row-major */
    int64_t count;
} table;

static bool table_elements(module *m, table *v, const tree *row, unsigned depth) {
    int64_t wanted = graph_index_extent(m->g, v->index[depth]), have = 0;
    for (const tree *e = row->a; e; e = e->next, have++) {
        bool deeper = depth + 1 < v->rank;
        double number;
        if ((e->kind == TREE_ROW) != deeper) {
            module_error(m, e->at, NULL, NULL,
                         deeper ? "a row `[…]` over `%s` is expected here"
                                : "a number is expected here, for one value of `%s`",
                         graph_index_name(m->g, v->index[deeper ? depth + 1 : depth]));
            return false;
        }
        if (have >= wanted)
            continue;
        if (deeper ? !table_elements(m, v, e, depth + 1) : !constant_value(m, e, NULL, NULL, &number))
            return false;
        if (!deeper)
            v->element[v->count++] = expression(m, e, NULL, NULL);
    }
    if (have == wanted)
        return true;
    module_error(m, row->at, NULL, NULL, "`%s` runs over %lld values, here %s %lld",
                 graph_index_name(m->g, v->index[depth]), (long long)wanted, have == 1 ? "is" : "are", (long long)have);
    return false;
}

static node table_node(graph *g, const table *v, unsigned depth, int64_t first, int64_t low, int64_t high) {
    if (depth == v->rank)
        return v->element[first];
    int64_t below = 1;
    for (unsigned k = depth + 1; k < v->rank; k++)
        below *= graph_index_extent(g, v->index[k]);
    if (high - low == 1)
        return table_node(g, v, depth + 1, first + low * below, 0,
                          depth + 1 < v->rank ? graph_index_extent(g, v->index[depth + 1]) : 1);
    int64_t middle = low + (high - low) / 2;
    node left = table_node(g, v, depth, first, low, middle), right = table_node(g, v, depth, first, middle, high);
    node here = graph_pointwise(g, NODE_LESS, graph_index_value(g, v->index[depth]), graph_int(g, middle), NODE_NONE);
    return graph_select(g, here, left, right);
}

void table_statement(module *m, const tree *t) {
    value named = {.name = t->name, .t = t};
    if (!fresh_name(m, t))
        return;
    if (indices_of(m, t->a, named.index, &named.rank)) {
        int64_t elements = graph_space(m->g, set_of(named.index, named.rank));
        table v          = {.index = named.index, .rank = named.rank};
        if (named.rank == 0) {
            module_error(m, t->at, NULL, "a constant is `number`", "a table has at least one index");
        } else if (elements > TABLE_LIMIT) {
            module_error(m, t->at, NULL, "make it an input", "a table of %lld elements; %d can be", (long long)elements,
                         TABLE_LIMIT);
        } else {
            v.element = enough(calloc((size_t)elements, sizeof *v.element));
            if (table_elements(m, &v, t->b, 0))
                named.node = table_node(m->g, &v, 0, 0, 0, graph_index_extent(m->g, named.index[0]));
        }
        free(v.element);
    }
    add_named(m, &named);
}
