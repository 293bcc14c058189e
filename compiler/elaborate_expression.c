/* Expressions: names are resolved, types and index ranges checked, functions expanded, nodes built. After an error
 * the result is NODE_NONE and nothing more is said about what contains it. */
#include "elaborate_internal.h"
#include "enough.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *format_text(module *m, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return arena_copy(m->spec->memory, text, strlen(text));
}

static void module_message(module *m, severity severity, span at, const trail *where, const char *hint,
                           const char *format, va_list arguments) {
    char text[512];
    vsnprintf(text, sizeof text, format, arguments);
    diagnostic_call call[DIAGNOSTIC_TRAIL];
    diagnostic message = {.severity = severity, .at = at, .text = text, .hint = hint, .trail = call};
    for (; where && message.trail_count < DIAGNOSTIC_TRAIL; where = where->outer)
        call[message.trail_count++] = (diagnostic_call){where->function, where->call};
    diagnostics_add(m->d, &message);
}

void module_error(module *m, span at, const trail *where, const char *hint, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    module_message(m, SEVERITY_ERROR, at, where, hint, format, arguments);
    va_end(arguments);
    m->failed++;
}

void module_warning(module *m, span at, const trail *where, const char *hint, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    module_message(m, SEVERITY_WARNING, at, where, hint, format, arguments);
    va_end(arguments);
}

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

/* The statement that defines the name further down, if any. */
static const tree *defined_below(const module *m, const tree *t) {
    if (m->d->errors >= DIAGNOSTICS_SHOWN) /* nobody would see it */
        return NULL;
    for (const tree *s = m->spec->statements; s; s = s->next) {
        bool names = s->kind == TREE_DEFINE || s->kind == TREE_OUTPUT || s->kind == TREE_PARAM ||
                     s->kind == TREE_INPUT || s->kind == TREE_TABLE || s->kind == TREE_SIZE ||
                     s->kind == TREE_CONSTANT || s->kind == TREE_INDEX;
        if (names && strcmp(s->name, t->name) == 0 && (s->at.file != t->at.file || s->at.begin > t->at.begin))
            return s;
    }
    return NULL;
}

node unknown_name(module *m, const tree *t, const local *scope, const trail *where, const char *what) {
    const tree *below     = defined_below(m, t);
    const char *near_name = below ? NULL : suggest(m, t->name, scope);
    const char *hint      = near_name ? format_text(m, "did you mean `%s`?", near_name) : NULL;
    unsigned line         = 0, column;
    if (!hint && m->spec->file_count == 1 && strstr(what, "function"))
        hint = "the library's functions are there after `include \"lib/standard.att\"`";
    if (below) {
        diagnostics_line(below->at.file, below->at.begin, &line, &column);
        hint = format_text(m, "`%s` is defined further down, in line %u: move it up", t->name, line);
    }
    module_error(m, t->at, where, hint, "unknown %s `%s`", what, t->name);
    return NODE_NONE;
}

static const local *find_local(const local *scope, const char *name) {
    for (; scope; scope = scope->outer)
        if (strcmp(scope->name, name) == 0)
            return scope;
    return NULL;
}

unsigned resolve_indices(module *m, const tree *t, const local *scope, const trail *where, index_id *index,
                         unsigned room, node *domain) {
    const local *l = find_local(scope, t->name);
    *domain        = NODE_NONE;
    if (room == 0 || (l && l->is_index && l->count > room)) {
        module_error(m, t->at, where, NULL, "more than %d indices", TENSOR_RANK);
        return 0;
    }
    if (l && l->is_index) {
        *domain = l->domain;
        *index  = l->index;
        if (l->count > 1)
            memcpy(index, l->indices, l->count * sizeof *index);
        return l->count > 1 ? l->count : 1;
    }
    if (!l && find_index(m, t->name, index))
        return 1;
    const char *near_name = suggest(m, t->name, scope);
    module_error(m, t->at, where,
                 near_name && strcmp(near_name, t->name)
                     ? format_text(m, "did you mean `%s`? indices are declared as `index %s:SIZE`", near_name, t->name)
                     : format_text(m, "declare it: `index %s:SIZE`", t->name),
                 "`%s` is not an index", t->name);
    return 0;
}

/* A function that moves its index, or takes its value, cannot be given several. */
static void several_indices(module *m, const tree *t, const trail *where, unsigned count) {
    module_error(m, t->at, where, "call the function with one index", "`%s` stands for %u indices here", t->name,
                 count);
}

bool resolve_index(module *m, const tree *t, const local *scope, const trail *where, index_id *index, node *domain) {
    index_id found[TENSOR_RANK];
    unsigned count = resolve_indices(m, t, scope, where, found, TENSOR_RANK, domain);
    if (count > 1)
        several_indices(m, t, where, count);
    *index = found[0];
    return count == 1;
}

/* An index variable that no expression in sight may depend on. */
static bool fresh_index(module *m, const tree *t, const trail *where, int64_t extent, index_id *index) {
    index_set taken = m->local_set | (m->slot_argument ? graph_view(m->g, m->slot_argument).free : 0);
    for (unsigned i = 0; i < m->index_count; i++)
        taken |= bit(m->index[i].index);
    const char *name = t->name;
    for (unsigned attempt = 2;; attempt++) {
        *index = graph_index(m->g, name, extent);
        if (*index == GRAPH_INDICES) {
            module_error(m, t->at, where, NULL, "more than %d indices in all", GRAPH_INDICES);
            return false;
        }
        if (!(taken & bit(*index)))
            break;
        name = format_text(m, "%s.%u", t->name, attempt);
    }
    m->local_set |= bit(*index);
    return true;
}

bool declare_local_index(module *m, const tree *t, const local *scope, const trail *where, index_id *index) {
    int64_t extent;
    if (!integer_value(m, t->a, scope, where, &extent))
        return false;
    if (extent < 1 || extent > EXTENT_LIMIT) {
        module_error(m, t->a->at, where, NULL, "index `%s` would run over %lld values; 1 to %d can be", t->name,
                     (long long)extent, EXTENT_LIMIT);
        return false;
    }
    return fresh_index(m, t, where, extent, index);
}

/* Does something that a name in sight stands for depend on i, apart from indices that it is read at? */
static bool captures(const module *m, const local *scope, index_id i) {
    for (; scope; scope = scope->outer) {
        index_set depends = 0, own = 0;
        if (scope->is_index) {
            depends = bit(scope->index) | (scope->domain ? graph_view(m->g, scope->domain).free : 0);
            for (unsigned k = 0; k < scope->count; k++)
                depends |= bit(scope->indices[k]);
        } else {
            for (unsigned k = 0; k < scope->bound.rank; k++)
                own |= bit(scope->bound.index[k]);
            depends = scope->bound.member ? scope->bound.member->set
                      : scope->bound.node ? graph_view(m->g, scope->bound.node).free
                                          : 0;
        }
        if (depends & ~own & bit(i))
            return true;
    }
    return false;
}

bool renamed_index(module *m, const tree *t, const local *scope, const trail *where, index_id *index) {
    index_id given = *index;
    return !find_local(scope, t->name) && captures(m, scope, given) &&
           fresh_index(m, t, where, graph_index_extent(m->g, given), index);
}

node guarded(module *m, node condition, node n) {
    if (!n || !condition)
        return NODE_NONE;
    value_type type = graph_view(m->g, n).type;
    if (type == TYPE_BOOL)
        return graph_and(m->g, condition, n);
    return graph_select(m->g, condition, n, type == TYPE_INT ? graph_int(m->g, 0) : graph_float(m->g, 0));
}

/* Reads */

bool is_index(const module *m, const local *scope, const tree *t, index_id index) {
    index_id named;
    if (t->kind != TREE_NAME)
        return false;
    const local *l = find_local(scope, t->name);
    const value *v = l ? NULL : find_value(m, t->name); /* a number goes before an index, a tensor does not */
    if (l ? !l->is_index || l->count > 1 : !find_index(m, t->name, &named) || (v && v->rank == 0))
        return false;
    return (l ? l->index : named) == index;
}

bool is_step(const module *m, const local *scope, const tree *t, index_id index, int64_t step) {
    return t->kind == TREE_BINARY && is_index(m, scope, t->a, index) && t->b->kind == TREE_NUMBER &&
           t->b->number == 1 && strcmp(t->name, step < 0 ? "-" : "+") == 0;
}

/* The several indices that a subscript stands for; NULL: it is an expression. */
static const local *index_group(const local *scope, const tree *t) {
    const local *l = t->kind == TREE_NAME ? find_local(scope, t->name) : NULL;
    return l && l->is_index && l->count > 1 ? l : NULL;
}

/* A read being worked out. */
typedef struct reading {
    const value *v;
    node at[TENSOR_RANK];
    index_id substituted[TENSOR_RANK];
    unsigned used;
    bool before;   /* of a member of a recurrence that is not closed: its value before the step */
    node boundary; /* of a recurrence read where it may not have begun: the position along its stepping index */
} reading;

static bool member_position(module *m, const tree *a, const local *scope, const trail *where, reading *r) {
    const recurrence *group = r->v->member->group;
    const char *name        = graph_index_name(m->g, group->over);
    r->before               = is_step(m, scope, a, group->over, group->reverse ? 1 : -1);
    if (r->before || is_index(m, scope, a, group->over))
        return true;
    module_error(m, a->at, where,
                 format_text(m, "for an older value add a state that keeps it: `older[%s] = %s[%s%s1] from 0`", name,
                             r->v->name, name, group->reverse ? "+" : "-"),
                 "a recurrence reads its values at `%s`, or one step %s: `%s%s1`", name,
                 group->reverse ? "later" : "earlier", name, group->reverse ? "+" : "-");
    return false;
}

static bool substitute_position(module *m, const tree *a, const trail *where, reading *r, unsigned position, node n) {
    const value *v = r->v;
    index_id index = v->index[position];
    if (graph_view(m->g, n).type != TYPE_INT) {
        module_error(m, a->at, where, "`/` of two integers is an integer; `int(x)` makes one of a real number",
                     "index %u of `%s` is not an integer", position + 1, v->name);
        return false;
    }
    if (v->scan && position == v->step) {
        /* one step outside is the state before the first step */
        int64_t last = graph_index_extent(m->g, index) - 1;
        bool reverse = graph_view(m->g, v->scan).reverse;
        if (!certainly_within(m, n, 0, last) && certainly_within(m, n, reverse ? 0 : -1, reverse ? last + 1 : last))
            r->boundary = n;
        else if (!in_range(m, a, where, n, index))
            return false;
    } else if (!in_range(m, a, where, n, index)) {
        return false;
    }
    r->substituted[r->used] = index;
    r->at[r->used++]        = n;
    return true;
}

/* What was read: the value with its indices replaced; where a recurrence has not begun, its initial state so. */
static node read_result(module *m, reading *r) {
    node inside = graph_gather(m->g, r->v->node, r->used, r->substituted, r->at);
    if (!r->boundary)
        return inside;
    node_view scan = graph_view(m->g, r->v->scan);
    int64_t last   = graph_index_extent(m->g, scan.scan_index) - 1;
    node init      = graph_gather(m->g, graph_scan_init(m->g, r->v->scan), r->used, r->substituted, r->at);
    node begun = scan.reverse ? graph_pointwise(m->g, NODE_LESS_EQUAL, r->boundary, graph_int(m->g, last), NODE_NONE)
                              : graph_pointwise(m->g, NODE_LESS_EQUAL, graph_int(m->g, 0), r->boundary, NODE_NONE);
    return graph_select(m->g, begun, inside, init);
}

static node read_value(module *m, const tree *t, const value *bound, const local *scope, const trail *where) {
    unsigned count = 0, position = 0;
    ((value *)bound)->used = true;
    for (const tree *a = t->a; a; a = a->next) {
        const local *group = index_group(scope, a);
        count += group ? group->count : 1;
        if (bound->broken)
            expression(m, a, scope, where);
    }
    if (bound->broken)
        return NODE_NONE;
    if (count != bound->rank) {
        module_error(m, t->at, where, NULL, "`%s` has %u ind%s, here %s %u", t->name, bound->rank,
                     bound->rank == 1 ? "ex" : "ices", count == 1 ? "is" : "are", count);
        return NODE_NONE;
    }
    value copy = *bound; /* expressions below may move the table */
    reading r  = {.v = &copy};
    bool ok    = true;
    for (const tree *a = t->a; a; a = a->next) {
        const local *group = index_group(scope, a);
        for (unsigned k = 0; group && k < group->count; k++, position++)
            if (group->indices[k] != copy.index[position])
                ok &= substitute_position(m, a, where, &r, position, graph_index_value(m->g, group->indices[k]));
        if (group)
            continue;
        if (copy.member && position == copy.member->position) {
            ok &= member_position(m, a, scope, where, &r);
        } else if (a->kind == TREE_INDEX) {
            module_error(m, a->at, where, "declare it where it is bound: in a reduction or a `let`",
                         "an index cannot be declared in a read");
            ok = false;
        } else if (!is_index(m, scope, a, copy.index[position])) {
            /* (an index is not read by its value, which is the constant 0 for one of one value) */
            node n = expression(m, a, scope, where);
            ok &= n && substitute_position(m, a, where, &r, position, n);
        }
        position++;
    }
    if (ok && copy.member)
        copy.node = member_value(m, copy.member, r.before, t, where);
    return ok && copy.node ? read_result(m, &r) : NODE_NONE;
}

static node name_node(module *m, const tree *t, const local *scope, const trail *where) {
    const local *l = find_local(scope, t->name);
    index_id i;
    if (l && l->is_index && l->count > 1) {
        several_indices(m, t, where, l->count);
        return NODE_NONE;
    }
    if (l && l->is_index)
        return graph_index_value(m->g, l->index);
    if (l && !l->bound.member)
        return l->bound.node;
    const value *v = l ? &l->bound : find_value(m, t->name);
    if (!l && v && v->rank > 0 && find_index(m, t->name, &i)) /* an index and a tensor may share a name */
        return graph_index_value(m->g, i);
    if (v)
        ((value *)v)->used = true;
    if (v && v->rank == 0)
        return v->broken ? NODE_NONE : v->member ? member_value(m, v->member, false, t, where) : v->node;
    if (v) {
        module_error(m, t->at, where, NULL, "`%s` is a tensor with %u ind%s: write %s", t->name, v->rank,
                     v->rank == 1 ? "ex" : "ices", v->rank == 1 ? "it" : "them");
        return NODE_NONE;
    }
    if (find_index(m, t->name, &i))
        return graph_index_value(m->g, i);
    named_number *n = find_number(m, t->name);
    if (!n)
        return unknown_name(m, t, scope, where, "name");
    return n->integer ? graph_int(m->g, (int64_t)n->number) : graph_float(m->g, n->number);
}

/* Operators */

static node need(module *m, const tree *t, const trail *where, node n, bool boolean) {
    if (n && (graph_view(m->g, n).type == TYPE_BOOL) != boolean) {
        module_error(m, t->at, where, boolean ? "compare it with something" : "choose: `if … then … else …`",
                     boolean ? "a condition is needed here, this is a number"
                             : "a number is needed here, this is a condition");
        return NODE_NONE;
    }
    return n;
}

node operand(module *m, const tree *t, const local *scope, const trail *where, bool boolean) {
    return need(m, t, where, expression(m, t, scope, where), boolean);
}

/* The quotient of integers, rounded down, that the integer t is or is computed from; NULL: there is none, or it is
 * exact. */
static const tree *rounded_quotient(module *m, const tree *t, const local *scope) {
    if (t->kind == TREE_UNARY)
        return rounded_quotient(m, t->a, scope);
    if (t->kind != TREE_BINARY || !strchr("+-*/", t->name[0]))
        return NULL;
    if (t->name[0] == '/') {
        const tree *sides[] = {t->a, t->b};
        int64_t number[2];
        for (unsigned i = 0; i < 2; i++) {
            const named_number *n = sides[i]->kind == TREE_NAME && !find_local(scope, sides[i]->name)
                                        ? find_number(m, sides[i]->name)
                                        : NULL;
            if (sides[i]->kind == TREE_NUMBER)
                number[i] = sides[i]->whole;
            else if (n)
                number[i] = (int64_t)n->number;
            else
                return t;
        }
        return number[1] != 0 && number[0] % number[1] == 0 ? NULL : t;
    }
    const tree *left = rounded_quotient(m, t->a, scope);
    return left ? left : rounded_quotient(m, t->b, scope);
}

void warn_of_quotient(module *m, const tree *t, node n, const local *scope, const trail *where) {
    const tree *quotient = graph_view(m->g, n).type == TYPE_INT ? rounded_quotient(m, t, scope) : NULL;
    char text[64];
    if (!quotient)
        return;
    diagnostics_quote(quotient->at, text, sizeof text);
    module_warning(m, quotient->at, where,
                   "if the rounding is meant, write `float(a / b)`; for a real quotient, `float(a) / b` or `1 / 2.0`",
                   "`%s` is a quotient of integers, rounded down, and is used as a real number", text);
}

static node operation(module *m, const tree *t, const char *name, node a, node b, const trail *where) {
    static const struct {
        const char *text;
        node_op op;
        bool swap, negate;
    } op[] = {
        {"+", NODE_ADD, false, false},        {"-", NODE_SUB, false, false},    {"*", NODE_MUL, false, false},
        {"/", NODE_DIV, false, false},        {"%", NODE_MOD, false, false},    {"^", NODE_POW, false, false},
        {"<", NODE_LESS, false, false},       {">", NODE_LESS, true, false},    {"<=", NODE_LESS_EQUAL, false, false},
        {">=", NODE_LESS_EQUAL, true, false}, {"==", NODE_EQUAL, false, false}, {"!=", NODE_EQUAL, false, true},
        {"and", NODE_AND, false, false},      {"or", NODE_OR, false, false}};
    size_t i = 0;
    while (i + 1 < sizeof op / sizeof *op && strcmp(op[i].text, name) != 0)
        i++;
    double divisor;
    bool integers = graph_view(m->g, a).type == TYPE_INT && graph_view(m->g, b).type == TYPE_INT;
    if (op[i].op == NODE_MOD && !integers) {
        module_error(m, t->at, where, NULL, "`%%` needs two integers");
        return NODE_NONE;
    }
    if ((op[i].op == NODE_MOD || op[i].op == NODE_DIV) && integers && graph_is_constant(m->g, b, &divisor) &&
        divisor == 0) {
        module_error(m, t->at, where, NULL, "division by zero");
        return NODE_NONE;
    }
    if ((op[i].op == NODE_MOD || op[i].op == NODE_DIV) && integers && !divides(m, t, b, where))
        return NODE_NONE;
    node power = op[i].op == NODE_POW && integers ? integer_power(m, a, b) : NODE_NONE;
    if (power)
        return power;
    node n = graph_pointwise(m->g, op[i].op, op[i].swap ? b : a, op[i].swap ? a : b, NODE_NONE);
    return op[i].negate ? graph_pointwise(m->g, NODE_NOT, n, NODE_NONE, NODE_NONE) : n;
}

static node binary(module *m, const tree *t, const local *scope, const trail *where) {
    bool logical = strcmp(t->name, "and") == 0 || strcmp(t->name, "or") == 0;
    node a       = operand(m, t->a, scope, where, logical);
    /* the second condition matters only where the first leaves the answer open */
    size_t mark = m->fact_count;
    if (a && logical)
        facts_hold(m, t->name[0] == 'a' ? a : graph_pointwise(m->g, NODE_NOT, a, NODE_NONE, NODE_NONE), false);
    node b        = operand(m, t->b, scope, where, logical);
    m->fact_count = mark;
    if (a && b && !logical && graph_view(m->g, a).type != graph_view(m->g, b).type) {
        warn_of_quotient(m, t->a, a, scope, where);
        warn_of_quotient(m, t->b, b, scope, where);
    }
    return a && b ? operation(m, t, t->name, a, b, where) : NODE_NONE;
}

static node chain(module *m, const tree *t, const local *scope, const trail *where) {
    node left = operand(m, t->a, scope, where, false), all = graph_bool(m->g, true);
    for (const tree *link = t->b; link; link = link->next) {
        node right = operand(m, link->a, scope, where, false);
        if (left && right && all)
            all = graph_and(m->g, all, operation(m, link, link->name, left, right, where));
        else
            all = NODE_NONE;
        left = right;
    }
    return all;
}

/* Everything */

static node limited_expression(module *m, const tree *t, const local *scope, const trail *where);

/* The nodes that came into being since the last time belong to this expression, of which parts have had theirs; what a
 * function expands to comes from where it is called. */
static void note_origins(module *m, const tree *t, const trail *where) {
    origins *o   = m->origins;
    size_t nodes = graph_node_count(m->g) + 1;
    if (nodes > o->room) {
        o->room = 2 * nodes;
        o->at   = enough(realloc(o->at, o->room * sizeof *o->at));
    }
    while (where && where->outer)
        where = where->outer;
    for (; o->count < nodes; o->count++)
        o->at[o->count] = where ? where->call : t->at;
}

void elaborate_origins_free(origins *o) {
    free(o->at);
    *o = (origins){0};
}

node expression(module *m, const tree *t, const local *scope, const trail *where) {
    if (m->gave_up)
        return NODE_NONE;
    bool long_work = m->steps >= EXPANSION_STEPS, deep = m->nesting >= EXPANSION_NESTING;
    if (long_work || deep) {
        m->gave_up = true;
        if (deep)
            module_error(m, t->at, where, NULL, "with all functions expanded, this is nested more than %d levels deep",
                         EXPANSION_NESTING);
        else
            module_error(m, t->at, where, NULL, "the spec expands to more than %d expressions", EXPANSION_STEPS);
        return NODE_NONE;
    }
    m->steps++;
    m->nesting++;
    node n = limited_expression(m, t, scope, where);
    m->nesting--;
    if (m->origins)
        note_origins(m, t, where);
    return n;
}

/* Each branch may count on its condition. */
static node choice(module *m, const tree *t, const local *scope, const trail *where) {
    node c      = operand(m, t->a, scope, where, true);
    size_t mark = m->fact_count;
    facts_hold(m, c, false);
    node a        = expression(m, t->b, scope, where);
    m->fact_count = mark;
    if (c)
        facts_hold(m, graph_pointwise(m->g, NODE_NOT, c, NODE_NONE, NODE_NONE), false);
    node b        = expression(m, t->c, scope, where);
    m->fact_count = mark;
    if (a && b && (graph_view(m->g, a).type == TYPE_BOOL) != (graph_view(m->g, b).type == TYPE_BOOL)) {
        module_error(m, t->at, where, NULL, "one branch is a condition, the other a number");
        return NODE_NONE;
    }
    return c && a && b ? graph_select(m->g, c, a, b) : NODE_NONE;
}

/* `value where condition` */
static node restricted(module *m, const tree *t, const local *scope, const trail *where) {
    node c      = operand(m, t->b, scope, where, true);
    size_t mark = m->fact_count;
    if (!c)
        return NODE_NONE;
    facts_hold(m, c, false);
    node n        = expression(m, t->a, scope, where);
    m->fact_count = mark;
    return guarded(m, c, n);
}

static node limited_expression(module *m, const tree *t, const local *scope, const trail *where) {
    switch (t->kind) {
    case TREE_NUMBER:
        return t->integer ? graph_int(m->g, t->whole) : graph_float(m->g, t->number);
    case TREE_NAME:
        return name_node(m, t, scope, where);
    case TREE_READ: {
        const local *l = find_local(scope, t->name);
        const value *v = l && !l->is_index ? &l->bound : l ? NULL : find_value(m, t->name);
        return v ? read_value(m, t, v, scope, where) : unknown_name(m, t, scope, where, "tensor");
    }
    case TREE_CALL:
        return call_expression(m, t, scope, where);
    case TREE_BINARY:
        return binary(m, t, scope, where);
    case TREE_CHAIN:
        return chain(m, t, scope, where);
    case TREE_UNARY: {
        bool logical = strcmp(t->name, "not") == 0;
        node a       = operand(m, t->a, scope, where, logical);
        return a ? graph_pointwise(m->g, logical ? NODE_NOT : NODE_NEG, a, NODE_NONE, NODE_NONE) : NODE_NONE;
    }
    case TREE_IF:
        return choice(m, t, scope, where);
    case TREE_WHERE:
        return restricted(m, t, scope, where);
    case TREE_LET:
        return let_chain(m, t, scope, where);
    case TREE_INDEX:
        module_error(m, t->at, where, NULL, "an index cannot be declared here");
        return NODE_NONE;
    default:
        return NODE_NONE;
    }
}

bool constant_value(module *m, const tree *t, const local *scope, const trail *where, double *out) {
    node n = operand(m, t, scope, where, false);
    if (!n)
        return false;
    if (!graph_is_constant(m->g, n, out)) {
        module_error(m, t->at, where, NULL, "a constant is needed here");
        return false;
    }
    if (!isfinite(*out)) {
        module_error(m, t->at, where, NULL, "this constant is not a finite number");
        return false;
    }
    return true;
}

bool integer_value(module *m, const tree *t, const local *scope, const trail *where, int64_t *out) {
    node n = operand(m, t, scope, where, false);
    if (!n)
        return false;
    node_view v = graph_view(m->g, n);
    if (v.op == NODE_INT && v.type == TYPE_INT) {
        *out = v.integer;
        return true;
    }
    if (v.free || v.type == TYPE_FLOAT)
        module_error(m, t->at, where, NULL, "a constant integer is needed here");
    else
        module_error(m, t->at, where, NULL, "this integer is too large");
    return false;
}
