/* Statements and whole specs: sizes, indices, definitions, repeats, a model's slot. */
#include "elaborate_internal.h"
#include "enough.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REPEAT_LIMIT = 4096, TENSOR_WORK = 10 };
static const int64_t SIZE_LIMIT = 1000000000000000; /* exact as a double */

/* Is the name free? A name inside a repeat belongs to one iteration. */
bool fresh_name(module *m, const tree *t) {
    index_id i;
    bool indexed     = t->a && t->kind != TREE_REPEAT; /* a tensor with indices is told from an index by its brackets */
    const char *what = find_number(m, t->name)                  ? "a size or number"
                       : !indexed && find_index(m, t->name, &i) ? "an index"
                                                                : NULL;
    if (what) {
        module_error(m, t->at, NULL, NULL, "`%s` is already %s", t->name, what);
        return false;
    }
    const value *v = find_value(m, t->name);
    if (v) {
        unsigned line = 0, column;
        if (v->t)
            diagnostics_line(v->t->at.file, v->t->at.begin, &line, &column);
        module_error(m, t->at, NULL,
                     m->level ? "to update a value of outside the repeat write `:=`"
                     : line   ? format_text(m, "it is in line %u; choose another name", line)
                              : NULL,
                     "`%s` is already defined", t->name);
        return false;
    }
    return true;
}

/* Makes the name known; where an error left it without a node, known as broken. */
void add_named(module *m, value *named) {
    named->broken = !named->node;
    if (named->broken)
        named->node = graph_float(m->g, 0);
    add_value(m, named);
}

bool indices_of(module *m, const tree *list, index_id *index, unsigned *rank) {
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
    r.member     = enough(calloc(count, sizeof *r.member));
    bool ok      = true;
    size_t mark  = m->value_count;
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
    const tree **members = enough(calloc(count, sizeof *members));
    uint8_t *needed      = enough(calloc(last > number ? k->count : 1, 1));
    count                = 0;
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
    k.t    = enough(calloc((size_t)k.count + 1, sizeof *k.t));
    k.done = enough(calloc((size_t)k.count + 1, 1));
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
