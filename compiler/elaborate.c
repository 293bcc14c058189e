/* Statements and whole specs: sizes, indices, tensors, definitions, recurrences, repeats, a model's slot. */
#include "elaborate_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EXTENT_LIMIT = 1 << 30, REPEAT_LIMIT = 4096 };
static const int64_t SIZE_LIMIT = 1000000000000000; /* exact as a double */

static void *grown(void *array, size_t *capacity, size_t count, size_t size) {
    if (count < *capacity)
        return array;
    size_t more  = *capacity ? *capacity * 2 : 64;
    void *memory = realloc(array, more * size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    *capacity = more;
    return memory;
}

value *add_value(module *m, const value *v) {
    m->value                       = grown(m->value, &m->value_capacity, m->value_count, sizeof *m->value);
    m->value[m->value_count]       = *v;
    m->value[m->value_count].level = m->level;
    return &m->value[m->value_count++];
}

static named_number *add_number(module *m, const char *name, double number, bool integer) {
    m->number                  = grown(m->number, &m->number_capacity, m->number_count, sizeof *m->number);
    m->number[m->number_count] = (named_number){.name = name, .number = number, .integer = integer};
    return &m->number[m->number_count++];
}

/* Is the name free? A name inside a repeat belongs to one iteration. */
static bool fresh_name(module *m, const tree *t) {
    index_id i;
    const char *what = find_number(m, t->name) ? "a size or number" : find_index(m, t->name, &i) ? "an index" : NULL;
    if (what) {
        module_error(m, t->at, NULL, NULL, "`%s` is already %s", t->name, what);
        return false;
    }
    if (find_value(m, t->name)) {
        module_error(m, t->at, NULL, m->level ? "to update a value of outside the repeat write `:=`" : NULL,
                     "`%s` is already defined", t->name);
        return false;
    }
    return true;
}

/* Makes the name known; where an error left it without a node, known as broken. */
static void add_named(module *m, value *named) {
    named->broken = !named->node;
    if (named->broken)
        named->node = graph_float(m->g, 0);
    add_value(m, named);
}

static bool indices_of(module *m, const tree *list, index_id *index, unsigned *rank) {
    *rank = 0;
    for (; list; list = list->next) {
        if (*rank == TENSOR_RANK) {
            module_error(m, list->at, NULL, NULL, "more than %d indices", TENSOR_RANK);
            return false;
        }
        if (!find_index(m, list->name, &index[*rank])) {
            module_error(m, list->at, NULL, format_text(m, "declare it: `index %s:SIZE`", list->name),
                         "`%s` is not an index", list->name);
            return false;
        }
        for (unsigned i = 0; i < *rank; i++)
            if (index[i] == index[*rank]) {
                module_error(m, list->at, NULL, NULL, "`%s` stands here twice", list->name);
                return false;
            }
        ++*rank;
    }
    return true;
}

index_set set_of(const index_id *index, unsigned rank) {
    index_set set = 0;
    for (unsigned i = 0; i < rank; i++)
        set |= (index_set)1 << index[i];
    return set;
}

/* Everything that n depends on must stand on the left. */
static bool covered(module *m, span at, const char *name, node n, index_set left) {
    index_set missing = graph_view(m->g, n).free & ~left;
    if (!missing)
        return true;
    const char *index = graph_index_name(m->g, (index_id)__builtin_ctzll(missing));
    char text[256];
    diagnostics_quote(at, text, sizeof text);
    const char *hint = format_text(m, "sum over `%s`, or write it on the left of `=`", index);
    if (strcmp(text, index) == 0)
        module_error(m, at, NULL, hint, "`%s` is free here: it is not an index of `%s`", index, name);
    else
        module_error(m, at, NULL, hint, "`%s` leaves `%s` free: it is not an index of `%s`", text, index, name);
    return false;
}

/* Sizes, numbers, indices */

/* What the chosen variant sets the name to, or NULL. */
static const tree *variant_value(const module *m, const char *name) {
    for (const tree *t = m->variant ? m->variant->a : NULL; t; t = t->next)
        if (strcmp(t->name, name) == 0)
            return t->a;
    return NULL;
}

/* The caller's value, else the variant's, else the declared one. */
void size_statement(module *m, const tree *t) {
    named_number *n    = find_number(m, t->name);
    const tree *chosen = variant_value(m, t->name);
    index_id i;
    double real     = 1;
    int64_t integer = 1;
    bool size       = t->kind == TREE_SIZE;
    if (n && n->given && !n->declared) {
        n->declared = true;
        n->integer  = size;
        if (size && (n->number != floor(n->number) || n->number < 1 || n->number > SIZE_LIMIT)) {
            module_error(m, t->at, NULL, NULL, "size `%s` is set to %g; a size is an integer of at least 1", t->name,
                         n->number);
            n->number = 1;
        }
        return;
    }
    if (n || find_index(m, t->name, &i) || find_value(m, t->name)) {
        module_error(m, t->at, NULL, NULL, "`%s` is declared twice", t->name);
        return;
    }
    if (!chosen)
        chosen = t->a;
    if (!chosen) {
        module_error(m, t->at, NULL, format_text(m, "give it: -D %s=…", t->name), "size `%s` has no value", t->name);
    } else if (!size) {
        constant_value(m, chosen, NULL, NULL, &real);
    } else if (integer_value(m, chosen, NULL, NULL, &integer) && (integer < 1 || integer > SIZE_LIMIT)) {
        module_error(m, chosen->at, NULL, NULL, "size `%s` is %lld; a size is an integer of at least 1", t->name,
                     (long long)integer);
        integer = 1; /* go on with something, so that one error is not many */
    }
    n           = add_number(m, t->name, size ? (double)integer : real, size);
    n->declared = true;
}

static void index_statement(module *m, const tree *t) {
    int64_t extent;
    index_id known;
    if (find_index(m, t->name, &known) || find_number(m, t->name) || find_value(m, t->name)) {
        module_error(m, t->at, NULL, NULL, "`%s` is declared twice", t->name);
        return;
    }
    if (!integer_value(m, t->a, NULL, NULL, &extent))
        extent = 1;
    else if (extent < 1 || extent > EXTENT_LIMIT) {
        module_error(m, t->a->at, NULL, NULL, "index `%s` would run over %lld values; 1 to %d can be", t->name,
                     (long long)extent, EXTENT_LIMIT);
        extent = 1; /* what uses it is checked all the same */
    }
    index_id i = graph_index(m->g, t->name, extent);
    if (i == GRAPH_INDICES || m->index_count == GRAPH_INDICES) {
        module_error(m, t->at, NULL, NULL, "more than %d indices in all", GRAPH_INDICES);
        return;
    }
    m->index[m->index_count++] = (named_index){t->name, i};
}

/* Tensors */

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
    if (m->slot_taken || t->b) {
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
    for (uint32_t i = 0; i < graph_tensor_count(m->g); i++)
        if (strcmp(graph_tensor(m->g, i)->name, name) == 0) {
            module_error(m, t->at, NULL, NULL, "there is a tensor `%s` already", name);
            return NODE_NONE;
        }
    if (t->kind == TREE_PARAM && !initialiser_of(m, t->b, v))
        return NODE_NONE;
    if (t->kind == TREE_INPUT && t->b) {
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
    return graph_tensor(m->g, graph_add_tensor(m->g, v))->node;
}

void tensor_statement(module *m, const tree *t) {
    tensor v    = {.type = TYPE_FLOAT};
    value named = {.name = t->name};
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

/* Definitions */

/* Where does the right-hand side read the name being defined one step away? */
static bool find_self(const module *m, const tree *t, const tree *definition, unsigned *position, bool *reverse,
                      bool *reads) {
    bool found = false;
    for (; t; t = t->next) {
        if (t->kind == TREE_READ && strcmp(t->name, definition->name) == 0) {
            const tree *left = definition->a;
            unsigned k       = 0;
            *reads           = true;
            for (const tree *a = t->a; a && left; a = a->next, left = left->next, k++)
                if (!found && a->kind == TREE_BINARY && (a->name[0] == '-' || a->name[0] == '+') &&
                    a->a->kind == TREE_NAME && a->b->kind == TREE_NUMBER && a->b->number == 1 &&
                    strcmp(a->a->name, left->name) == 0) {
                    *position = k;
                    *reverse  = a->name[0] == '+';
                    found     = true;
                }
        }
        const tree *part[] = {t->a, t->b, t->c};
        for (unsigned i = 0; i < 3 && !found; i++)
            if (part[i])
                found |= find_self(m, part[i], definition, position, reverse, reads);
    }
    return found;
}

static node recurrence(module *m, const tree *t, const value *named, unsigned position, bool reverse) {
    index_id over   = named->index[position];
    index_set state = set_of(named->index, named->rank) & ~((index_set)1 << over);
    node init       = operand(m, t->c, NULL, NULL, false);
    if (!init || !covered(m, t->c->at, t->name, init, state))
        return NODE_NONE;
    value self         = *named;
    self.node          = graph_previous(m->g, over, reverse, state, TYPE_FLOAT);
    self.self          = true;
    self.scan_position = position;
    size_t mark        = m->value_count;
    add_value(m, &self);
    node body      = operand(m, t->b, NULL, NULL, false);
    m->value_count = mark;
    if (!body || !covered(m, t->b->at, t->name, body, state | (index_set)1 << over))
        return NODE_NONE;
    return graph_scan(m->g, self.node, init, body);
}

/* What the right-hand side of a definition is; NODE_NONE after an error. */
static node definition(module *m, const tree *t, value *named) {
    unsigned position = 0;
    bool reverse = false, reads = false;
    if (!indices_of(m, t->a, named->index, &named->rank))
        return NODE_NONE;
    bool self = find_self(m, t->b, t, &position, &reverse, &reads);
    if (reads && !t->c) {
        module_error(m, t->at, NULL, "add the state before the first step: `… from 0`", "`%s` reads itself", t->name);
        return NODE_NONE;
    }
    if (t->c && !self) {
        module_error(m, t->at, NULL, "read it one step earlier: `t-1`, or later: `t+1`",
                     reads ? "`%s` reads itself, but at no index one step away"
                           : "`from` is for a recurrence, but `%s` does not read itself",
                     t->name);
        return NODE_NONE;
    }
    if (t->c)
        return recurrence(m, t, named, position, reverse);
    node n = expression(m, t->b, NULL, NULL);
    return n && covered(m, t->b->at, t->name, n, set_of(named->index, named->rank)) ? n : NODE_NONE;
}

static void define_statement(module *m, const tree *t) {
    value named = {.name = t->name};
    if (!fresh_name(m, t))
        return;
    named.node = definition(m, t, &named);
    add_named(m, &named);
    if (named.broken)
        return;
    graph_name_node(m->g, named.node, format_text(m, "%s%s", m->prefix, t->name));
    if (t->kind == TREE_OUTPUT) {
        if (m->slot_argument) {
            if (m->slot_result)
                module_error(m, t->at, NULL, NULL, "a mechanism in a model has one output, this is its second");
            m->slot_result = named.node;
            return;
        }
        char name[512];
        snprintf(name, sizeof name, "%s%s", m->prefix, t->name);
        output o = {.name = name, .kind = OUTPUT_VALUE, .rank = named.rank, .node = named.node};
        memcpy(o.index, named.index, sizeof o.index);
        graph_add_output(m->g, &o);
    }
}

static void loss_statement(module *m, const tree *t) {
    if (!fresh_name(m, t))
        return;
    node n = operand(m, t->b, NULL, NULL, false);
    if (!n || !covered(m, t->b->at, t->name, n, 0))
        n = NODE_NONE;
    add_named(m, &(value){.name = t->name, .node = n});
    if (!n)
        return;
    char name[512];
    snprintf(name, sizeof name, "%s%s", m->prefix, t->name);
    graph_add_output(m->g, &(output){.name = name,
                                     .kind = OUTPUT_LOSS,
                                     .node = graph_pointwise(m->g, NODE_TO_FLOAT, n, NODE_NONE, NODE_NONE)});
}

static void update_statement(module *m, const tree *t) {
    index_id index[TENSOR_RANK];
    unsigned rank;
    value *v = (value *)find_value(m, t->name);
    if (!v) {
        module_error(m, t->at, NULL, "define it with `=` first", "`%s` cannot be updated: it is not defined", t->name);
        return;
    }
    if (!indices_of(m, t->a, index, &rank))
        return;
    /* an optimizer's values stand for tensors of any shape, element by element */
    bool same = m->optimizer ? rank == 0 : rank == v->rank && memcmp(index, v->index, rank * sizeof *index) == 0;
    if (!same) {
        module_error(m, t->at, NULL, NULL, "`%s` was defined with other indices", t->name);
        return;
    }
    node n = expression(m, t->b, NULL, NULL);
    v      = (value *)find_value(m, t->name);
    if (n && covered(m, t->b->at, t->name, n, set_of(v->index, v->rank)))
        v->node = n;
}

/* Statements in order */

static void statements(module *m, const tree *t, bool inside);

static void repeat_statement(module *m, const tree *t) {
    int64_t count;
    if (!fresh_name(m, t) || !integer_value(m, t->a, NULL, NULL, &count))
        return;
    if (count < 0 || count > REPEAT_LIMIT) {
        module_error(m, t->a->at, NULL, NULL, "a repeat of %lld; 0 to %d can be", (long long)count, REPEAT_LIMIT);
        return;
    }
    const char *prefix = m->prefix;
    size_t mark        = m->value_count;
    int64_t layer      = m->layer;
    m->level++;
    for (int64_t i = 0; i < count && !m->failed; i++) {
        m->layer  = i;
        m->prefix = format_text(m, "%s%s%lld.", prefix, t->name, (long long)i);
        add_value(m, &(value){.name = t->name, .node = graph_int(m->g, i)});
        statements(m, t->b, true);
        m->value_count = mark;
    }
    m->level--;
    m->layer  = layer;
    m->prefix = prefix;
}

static void statements(module *m, const tree *t, bool inside) {
    for (; t; t = t->next) {
        switch (t->kind) {
        case TREE_SIZE:
        case TREE_CONSTANT:
        case TREE_INDEX:
        case TREE_FUNCTION:
        case TREE_VARIANT:
        case TREE_EACH:
        case TREE_STATE:
            if (inside)
                module_error(m, t->at, NULL, NULL, "this does not belong into a repeat");
            else if (t->kind == TREE_EACH || t->kind == TREE_STATE)
                module_error(m, t->at, NULL, NULL, "`each` and `state` belong into an optimizer");
            else if (t->kind == TREE_SIZE || t->kind == TREE_CONSTANT)
                size_statement(m, t);
            else if (t->kind == TREE_INDEX)
                index_statement(m, t);
            break;
        case TREE_INPUT:
        case TREE_PARAM:
            tensor_statement(m, t);
            break;
        case TREE_DEFINE:
        case TREE_OUTPUT:
            define_statement(m, t);
            break;
        case TREE_UPDATE:
            update_statement(m, t);
            break;
        case TREE_LOSS:
            loss_statement(m, t);
            break;
        case TREE_REPEAT:
            repeat_statement(m, t);
            break;
        default:
            module_error(m, t->at, NULL, NULL, "this is no statement");
        }
        if (m->gave_up)
            return;
    }
}

/* Functions and variants: what a use would not show. */
static void check_declarations(module *m) {
    for (const tree *t = m->spec->statements; t; t = t->next) {
        if (t->kind != TREE_FUNCTION && t->kind != TREE_VARIANT)
            continue;
        if (t->kind == TREE_FUNCTION && is_builtin(t->name))
            module_error(m, t->at, NULL, "choose another name", "`%s` is a function of the language", t->name);
        for (const tree *o = t->next; o; o = o->next)
            if (o->kind == t->kind && strcmp(o->name, t->name) == 0)
                module_error(m, o->at, NULL, NULL, "%s `%s` is defined twice",
                             t->kind == TREE_FUNCTION ? "function" : "variant", o->name);
        for (const tree *b = t->kind == TREE_VARIANT ? t->a : NULL; b; b = b->next)
            if (!spec_declares(m->spec, b->name))
                module_error(m, b->at, NULL, NULL, "variant `%s` sets `%s`, which is no size or number of the spec",
                             t->name, b->name);
    }
}

/* An error of the caller, not of a place in the spec. */
static void caller_error(module *m, const char *what, const char *name, const char *near_name) {
    if (near_name)
        diagnostics_file_error(m->d, m->spec->path, NULL, "%s `%s` (did you mean `%s`?)", what, name, near_name);
    else
        diagnostics_file_error(m->d, m->spec->path, NULL, "%s `%s`", what, name);
    m->failed++;
}

/* Takes the caller's sizes and numbers and the variant. Returns false where they do not fit the spec. */
bool module_begin(module *m, const elaboration *how) {
    for (size_t i = 0; i < how->binding_count; i++) {
        const binding *b = &how->bindings[i];
        named_number *n  = find_number(m, b->name);
        if (!spec_declares(m->spec, b->name)) {
            caller_error(m, "the spec declares no size or number", b->name, suggest_number(m, b->name));
        } else if (!isfinite(b->value)) {
            caller_error(m, "no finite number is given for", b->name, NULL);
        } else {
            if (!n)
                n = add_number(m, b->name, 0, true);
            n->number = b->value;
            n->given  = true;
        }
    }
    for (const tree *t = m->spec->statements; how->variant && t; t = t->next)
        if (t->kind == TREE_VARIANT && strcmp(t->name, how->variant) == 0)
            m->variant = t;
    if (how->variant && !m->variant)
        caller_error(m, "the spec has no variant", how->variant, suggest_variant(m, how->variant));
    if (!m->failed)
        check_declarations(m);
    return m->failed == 0;
}

void module_discard(module *m) {
    free(m->value);
    free(m->number);
}

bool elaborate_mechanism(graph *g, const spec *mechanism, const elaboration *how, diagnostics *d) {
    module m = {.g = g, .spec = mechanism, .d = d, .training = how->training, .prefix = "", .group = "attention"};
    if (module_begin(&m, how))
        statements(&m, mechanism->statements, false);
    bool output = false;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        output |= graph_output(g, i)->kind == OUTPUT_VALUE;
    if (!m.failed && !output) {
        diagnostics_file_error(d, mechanism->path, "write `output y[…] = …`", "the spec has no output");
        m.failed++;
    }
    module_discard(&m);
    return m.failed == 0;
}

/* The extents of the argument's indices become the sizes of the mechanism's input indices of the same names. */
static void pass_sizes(module *inner, const module *outer, node argument) {
    const tree *input = inner->spec->statements;
    while (input && input->kind != TREE_INPUT)
        input = input->next;
    for (const tree *i = input ? input->a : NULL; i; i = i->next)
        for (const tree *t = inner->spec->statements; t; t = t->next)
            if (t->kind == TREE_INDEX && strcmp(t->name, i->name) == 0 && t->a->kind == TREE_NAME &&
                !find_number(inner, t->a->name) && !variant_value(inner, t->a->name)) {
                index_id index;
                if (find_index(outer, i->name, &index) &&
                    (graph_view(outer->g, argument).free >> index & 1 || graph_index_extent(outer->g, index) == 1)) {
                    named_number *n = add_number(inner, t->a->name, (double)graph_index_extent(outer->g, index), true);
                    n->given        = true;
                }
            }
}

node call_slot(module *m, const tree *call, node argument, const trail *where) {
    size_t k          = (size_t)m->layer % m->mechanism_count;
    const spec *inner = m->mechanism[k];
    if (inner->kind != SPEC_MECHANISM) {
        module_error(m, call->at, where, NULL, "%s is not a mechanism", inner->path);
        return NODE_NONE;
    }
    module n = {
        .g = m->g, .spec = inner, .d = m->d, .training = m->training, .group = "attention", .slot_argument = argument};
    n.prefix = format_text(m, "%sattention.", m->prefix);
    if (module_begin(&n, &m->mechanism_how[k])) {
        pass_sizes(&n, m, argument);
        statements(&n, inner->statements, false);
    }
    module_discard(&n);
    if (!n.failed && !(n.slot_result && n.slot_taken)) {
        module_error(m, call->at, where, NULL, "%s has no %s", inner->path, n.slot_result ? "input" : "output");
        return NODE_NONE;
    }
    m->failed += n.failed;
    return n.failed ? NODE_NONE : n.slot_result;
}

bool elaborate_model(graph *g, const spec *model, const spec *const *mechanism, const elaboration *mechanism_how,
                     size_t mechanism_count, const elaboration *how, diagnostics *d) {
    module m = {.g               = g,
                .spec            = model,
                .d               = d,
                .training        = how->training,
                .prefix          = "",
                .group           = "other",
                .mechanism       = mechanism,
                .mechanism_how   = mechanism_how,
                .mechanism_count = mechanism_count};
    if (model->kind != SPEC_MODEL) {
        diagnostics_file_error(d, model->path, NULL, "this is not a model");
        return false;
    }
    if (module_begin(&m, how))
        statements(&m, model->statements, false);
    module_discard(&m);
    return m.failed == 0;
}
