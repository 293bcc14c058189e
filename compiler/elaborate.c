/* Statements and whole specs: sizes, indices, tensors, definitions, recurrences, repeats, a model's slot. */
#include "elaborate_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REPEAT_LIMIT = 4096, TABLE_LIMIT = 65536, TENSOR_WORK = 10 };
static const int64_t SIZE_LIMIT = 1000000000000000; /* exact as a double */

/* Is the name free? A name inside a repeat belongs to one iteration. */
static bool fresh_name(module *m, const tree *t) {
    index_id i;
    bool indexed     = t->a && t->kind != TREE_REPEAT; /* a tensor with indices is told from an index by its brackets */
    const char *what = find_number(m, t->name)                  ? "a size or number"
                       : !indexed && find_index(m, t->name, &i) ? "an index"
                                                                : NULL;
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
bool covered(module *m, span at, const char *name, node n, index_set left) {
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

/* A size that leaves something over is legal and probably wrong; `(T + C - 1) / C` says that it means it. */
static void warn_of_remainder(module *m, const char *name, const tree *t) {
    int64_t a, b;
    if (t->kind != TREE_BINARY)
        return;
    warn_of_remainder(m, name, t->a);
    warn_of_remainder(m, name, t->b);
    if (strcmp(t->name, "/") != 0 || (t->a->kind == TREE_BINARY && strchr("+-", t->a->name[0])) ||
        !integer_value(m, t->a, NULL, NULL, &a) || !integer_value(m, t->b, NULL, NULL, &b) || b < 1 || a % b == 0)
        return;
    module_warning(m, t->at, NULL, "choose sizes that divide, or write what is meant: (a + b - 1) / b rounds up",
                   "size `%s`: %lld / %lld leaves %lld over", name, (long long)a, (long long)b, (long long)(a % b));
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
            module_error(m, t->at, NULL, n->number > SIZE_LIMIT ? "a size is at most 10^15" : NULL,
                         "size `%s` is set to %g; a size is an integer of at least 1", t->name, n->number);
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
        module_error(m, chosen->at, NULL, integer > SIZE_LIMIT ? "a size is at most 10^15" : NULL,
                     "size `%s` is %lld; a size is an integer of at least 1", t->name, (long long)integer);
        integer = 1; /* go on with something, so that one error is not many */
    } else if (!m->failed) {
        warn_of_remainder(m, t->name, chosen);
    }
    n           = add_number(m, t->name, size ? (double)integer : real, size);
    n->declared = true;
}

static void index_statement(module *m, const tree *t) {
    int64_t extent;
    index_id known;
    const value *v = find_value(m, t->name);
    if (find_index(m, t->name, &known) || find_number(m, t->name) || (v && v->rank == 0)) {
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

/* The index that outputs are causal in. */
static void causal_statement(module *m, const tree *t) {
    index_id i;
    if (!find_index(m, t->name, &i))
        module_error(m, t->at, NULL, format_text(m, "declare it: `index %s:SIZE`", t->name), "`%s` is not an index",
                     t->name);
    else if (m->causal)
        module_error(m, t->at, NULL, NULL, "`causal` stands here twice");
    else
        m->causal = t;
    if (m->causal == t && !m->slot_argument)
        graph_set_causal(m->g, i);
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

static void table_statement(module *m, const tree *t) {
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
        } else if (!(v.element = calloc((size_t)elements, sizeof *v.element))) {
            fputs("attnc: out of memory\n", stderr);
            exit(3);
        } else if (table_elements(m, &v, t->b, 0)) {
            named.node = table_node(m->g, &v, 0, 0, 0, graph_index_extent(m->g, named.index[0]));
        }
        free(v.element);
    }
    add_named(m, &named);
}

/* Definitions */

/* What the right-hand side of a definition that needs no earlier value of itself is; NODE_NONE after an error. */
static node definition(module *m, const tree *t, value *named) {
    if (!indices_of(m, t->a, named->index, &named->rank))
        return NODE_NONE;
    if (t->c) {
        module_error(m, t->at, NULL, "read it one step earlier: `t-1`, or later: `t+1`",
                     "`from` is for a recurrence, but `%s` does not read itself", t->name);
        return NODE_NONE;
    }
    node n = expression(m, t->b, NULL, NULL);
    return n && covered(m, t->b->at, t->name, n, set_of(named->index, named->rank)) ? n : NODE_NONE;
}

/* Makes a definition known, and an output of it where it is one. */
static void publish(module *m, const tree *t, value *named) {
    add_named(m, named);
    if (named->broken)
        return;
    graph_name_node(m->g, named->node, format_text(m, "%s%s", m->prefix, t->name));
    if (t->kind != TREE_OUTPUT)
        return;
    warn_of_quotient(m, t->b, named->node, NULL, NULL);
    if (m->slot_argument) {
        if (m->slot_result)
            module_error(m, t->at, NULL, NULL, "a mechanism in a model has one output, this is its second");
        m->slot_result = named->node;
        return;
    }
    char name[512];
    snprintf(name, sizeof name, "%s%s", m->prefix, t->name);
    output o = {.name = name, .kind = OUTPUT_VALUE, .rank = named->rank, .node = named->node};
    memcpy(o.index, named->index, sizeof o.index);
    graph_add_output(m->g, &o);
}

static void define_statement(module *m, const tree *t) {
    value named = {.name = t->name, .t = t};
    if (!fresh_name(m, t))
        return;
    named.node = definition(m, t, &named);
    publish(m, t, &named);
}

/* Definitions that need each other's earlier values. */
static void define_recurrence(module *m, const tree *const *t, unsigned count) {
    recurrence r = {.count = count};
    r.member     = calloc(count, sizeof *r.member);
    if (!r.member) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    bool ok     = true;
    size_t mark = m->value_count;
    for (unsigned k = 0; k < count; k++) {
        member *n     = &r.member[k];
        n->t          = t[k];
        n->bound.name = t[k]->name;
        n->bound.t    = t[k];
        ok &= fresh_name(m, t[k]) && indices_of(m, t[k]->a, n->bound.index, &n->bound.rank);
    }
    for (unsigned k = 0; k < count && ok; k++) {
        value v  = r.member[k].bound;
        v.member = &r.member[k];
        add_value(m, &v);
    }
    ok = ok && recurrence_elaborate(m, &r);
    for (size_t i = mark; i < m->value_count && count > 1; i++) /* the others' reads are uses */
        r.member[i - mark].bound.used = m->value[i].used;
    m->value_count = mark;
    for (unsigned k = 0; k < count; k++) {
        value *named = &r.member[k].bound;
        if (ok && !r.member[k].state)
            ok = covered(m, t[k]->b->at, named->name, named->node, set_of(named->index, named->rank));
        if (!ok)
            named->node = NODE_NONE;
        if (!find_value(m, named->name))
            publish(m, t[k], named);
    }
    free(r.member);
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

/* An iteration is work even where its statements hold no expressions. */
static bool iteration_fits(module *m, const tree *t, unsigned work) {
    m->steps += work;
    if (m->steps <= EXPANSION_STEPS)
        return true;
    if (!m->gave_up)
        module_error(m, t->at, NULL, NULL, "the spec expands to more than %d expressions", EXPANSION_STEPS);
    m->gave_up = true;
    return false;
}

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
    unsigned work      = 1;
    for (const tree *inside = t->b; inside; inside = inside->next)
        work += inside->kind == TREE_INPUT || inside->kind == TREE_PARAM ? TENSOR_WORK : 1;
    m->level++;
    for (int64_t i = 0; i < count && !m->failed && iteration_fits(m, t, work); i++) {
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

/* A list of statements being taken in order. */
typedef struct taking {
    const tree **t;
    unsigned count;
    uint8_t *done;
    cycles found;
    bool inside; /* a repeat */
} taking;

static void take(module *m, taking *k, unsigned number);

/* All members at the first one's place; what they need from between them comes before. */
static void take_recurrence(module *m, taking *k, unsigned number) {
    unsigned group = k->found.group[number], count = 0, last = number;
    for (unsigned i = number; i < k->count; i++)
        if (k->found.group[i] == group) {
            count++;
            k->done[i] = 1;
            last       = i;
        }
    const tree **members = calloc(count, sizeof *members);
    uint8_t *needed      = calloc(last > number ? k->count : 1, 1);
    if (!needed || !members) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    count = 0;
    for (unsigned i = number; i <= last; i++)
        if (k->found.group[i] == group)
            members[count++] = k->t[i];
    if (last > number)
        cycles_needed(&k->found, group, needed);
    for (unsigned i = number; i < last; i++) {
        bool defines = k->t[i]->kind == TREE_DEFINE || k->t[i]->kind == TREE_OUTPUT;
        bool changes = k->t[i]->kind == TREE_UPDATE || k->t[i]->kind == TREE_LOSS || k->t[i]->kind == TREE_REPEAT;
        if (defines ? needed[i] : !changes)
            take(m, k, i);
    }
    define_recurrence(m, members, count);
    free(needed);
    free(members);
}

static void take(module *m, taking *k, unsigned number) {
    const tree *t = k->t[number];
    if (k->done[number] || m->gave_up)
        return;
    k->done[number] = 1;
    switch (t->kind) {
    case TREE_SIZE:
    case TREE_CONSTANT:
    case TREE_INDEX:
    case TREE_CAUSAL:
    case TREE_TABLE:
    case TREE_FUNCTION:
    case TREE_VARIANT:
    case TREE_EACH:
    case TREE_STATE:
        if (k->inside)
            module_error(m, t->at, NULL, NULL, "this does not belong into a repeat");
        else if (t->kind == TREE_EACH || t->kind == TREE_STATE)
            module_error(m, t->at, NULL, NULL, "`each` and `state` belong into an optimizer");
        else if (t->kind == TREE_SIZE || t->kind == TREE_CONSTANT)
            size_statement(m, t);
        else if (t->kind == TREE_INDEX)
            index_statement(m, t);
        else if (t->kind == TREE_CAUSAL)
            causal_statement(m, t);
        else if (t->kind == TREE_TABLE)
            table_statement(m, t);
        break;
    case TREE_REQUIRE:
        require_statement(m, t);
        break;
    case TREE_INPUT:
    case TREE_PARAM:
        tensor_statement(m, t);
        break;
    case TREE_DEFINE:
    case TREE_OUTPUT:
        if (k->found.group && k->found.group[number])
            take_recurrence(m, k, number);
        else
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
}

static void statements(module *m, const tree *t, bool inside) {
    taking k = {.inside = inside};
    for (const tree *s = t; s; s = s->next)
        k.count++;
    k.t    = calloc((size_t)k.count + 1, sizeof *k.t);
    k.done = calloc((size_t)k.count + 1, 1);
    if (!k.t || !k.done) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    for (unsigned i = 0; t; t = t->next)
        k.t[i++] = t;
    k.found = cycles_find(k.t, k.count);
    for (unsigned i = 0; i < k.count; i++)
        take(m, &k, i);
    cycles_free(&k.found);
    free(k.t);
    free(k.done);
}

/* Functions and variants: what a use would not show. */
/* Does the file of t define its name, which is in `seen`, before? The places in `seen` are those of m->spec->function.
 */
static bool defined_in_file(const spec *s, const name_table *seen, const tree *t) {
    if (t->kind == TREE_VARIANT)
        return name_table_find(seen, t->name, seen->count) != NAME_UNKNOWN;
    for (size_t count = seen->count; count > 0;) {
        uint32_t place = name_table_find(seen, t->name, count);
        if (place == NAME_UNKNOWN)
            return false;
        if (s->function[place]->at.file == t->at.file)
            return true;
        count = place;
    }
    return false;
}

static void check_declarations(module *m) {
    name_table function = {0}, variant = {0};
    for (const tree *t = m->spec->statements; t; t = t->next) {
        if (t->kind != TREE_FUNCTION && t->kind != TREE_VARIANT)
            continue;
        name_table *seen = t->kind == TREE_FUNCTION ? &function : &variant;
        if (t->kind == TREE_FUNCTION && is_builtin(t->name))
            module_error(m, t->at, NULL, "choose another name", "`%s` is a function of the language", t->name);
        if (defined_in_file(m->spec, seen, t))
            module_error(m, t->at, NULL, NULL, "%s `%s` is defined twice",
                         t->kind == TREE_FUNCTION ? "function" : "variant", t->name);
        name_table_add(seen, t->name, seen->count);
        for (const tree *b = t->kind == TREE_VARIANT ? t->a : NULL; b; b = b->next)
            if (!spec_declares(m->spec, b->name))
                module_error(m, b->at, NULL, NULL, "variant `%s` sets `%s`, which is no size or number of the spec",
                             t->name, b->name);
    }
    name_table_free(&function);
    name_table_free(&variant);
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

/* What is legal and probably wrong: names that nothing reads. */
static void warn_of_unused(module *m) {
    for (size_t i = 0; i < m->value_count && !m->failed; i++) {
        const value *v = &m->value[i];
        if (!v->t || v->used || v->broken || v->t->kind == TREE_OUTPUT || v->t->kind == TREE_LOSS)
            continue;
        const char *what = v->t->kind == TREE_PARAM   ? "parameter"
                           : v->t->kind == TREE_INPUT ? "input"
                           : v->t->kind == TREE_TABLE ? "table"
                                                      : "definition";
        module_warning(m, v->t->at, NULL, NULL, "%s `%s` is never read", what, v->name);
    }
}

void module_discard(module *m) {
    free(m->value);
    free(m->number);
    free(m->fact);
    name_table_free(&m->value_names);
    name_table_free(&m->number_names);
}

bool elaborate_mechanism(graph *g, const spec *mechanism, const elaboration *how, diagnostics *d) {
    module m = {.g        = g,
                .spec     = mechanism,
                .d        = d,
                .training = how->training,
                .prefix   = "",
                .group    = "attention",
                .origins  = how->origins};
    if (module_begin(&m, how))
        statements(&m, mechanism->statements, false);
    warn_of_unused(&m);
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
        warn_of_unused(&n);
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
