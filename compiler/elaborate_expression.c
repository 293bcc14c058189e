/* Expressions: names are resolved, types and index ranges checked, functions expanded, nodes built. After an error
 * the result is NODE_NONE and nothing more is said about what contains it. */
#include "elaborate_internal.h"

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

static node unknown(module *m, const tree *t, const local *scope, const trail *where, const char *what) {
    const char *near_name = suggest(m, t->name, scope);
    module_error(m, t->at, where, near_name ? format_text(m, "did you mean `%s`?", near_name) : NULL, "unknown %s `%s`",
                 what, t->name);
    return NODE_NONE;
}

static const local *find_local(const local *scope, const char *name) {
    for (; scope; scope = scope->outer)
        if (strcmp(scope->name, name) == 0)
            return scope;
    return NULL;
}

/* The index that a name stands for here, and the restriction a caller put on it. */
static bool resolve_index(module *m, const tree *t, const local *scope, const trail *where, index_id *index,
                          node *domain) {
    const local *l = find_local(scope, t->name);
    *domain        = NODE_NONE;
    if (l && l->is_index) {
        *index  = l->index;
        *domain = l->domain;
        return true;
    }
    if (!l && find_index(m, t->name, index))
        return true;
    const char *near_name = suggest(m, t->name, scope);
    module_error(m, t->at, where,
                 near_name && strcmp(near_name, t->name)
                     ? format_text(m, "did you mean `%s`? indices are declared as `index %s:SIZE`", near_name, t->name)
                     : format_text(m, "declare it: `index %s:SIZE`", t->name),
                 "`%s` is not an index", t->name);
    return false;
}

/* Interval of an integer expression. `work` bounds the walk: a graph's shared parts are walked once for each use. */

typedef struct range {
    int64_t low, high;
} range;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static bool interval(const graph *g, node n, unsigned *work, range *out) {
    if (*work == 0)
        return false;
    --*work;
    node_view v = graph_view(g, n);
    range a, b;
    switch (v.op) {
    case NODE_INT:
        *out = (range){v.integer, v.integer};
        return true;
    case NODE_INDEX:
        *out = (range){0, graph_index_extent(g, (index_id)__builtin_ctzll(v.vars)) - 1};
        return true;
    case NODE_TENSOR:
        *out = (range){0, graph_tensor(g, v.tensor)->below - 1};
        return out->high >= 0;
    case NODE_GATHER: /* 0 where the read is outside */
        if (!interval(g, v.child[0], work, out))
            return false;
        *out = (range){least(out->low, 0), most(out->high, 0)};
        return true;
    case NODE_SELECT:
        if (v.type != TYPE_INT || !interval(g, v.child[1], work, &a) || !interval(g, v.child[2], work, &b))
            return false;
        *out = (range){least(a.low, b.low), most(a.high, b.high)};
        return true;
    case NODE_ADD:
    case NODE_SUB:
    case NODE_MUL:
    case NODE_DIV:
    case NODE_MOD:
    case NODE_MINIMUM:
    case NODE_MAXIMUM:
        break;
    default:
        return false;
    }
    if (v.type != TYPE_INT || !interval(g, v.child[0], work, &a) || !interval(g, v.child[1], work, &b))
        return false;
    switch (v.op) {
    case NODE_ADD:
        return !__builtin_add_overflow(a.low, b.low, &out->low) && !__builtin_add_overflow(a.high, b.high, &out->high);
    case NODE_SUB:
        return !__builtin_sub_overflow(a.low, b.high, &out->low) && !__builtin_sub_overflow(a.high, b.low, &out->high);
    case NODE_MUL:
        return a.low >= 0 && b.low >= 0 && !__builtin_mul_overflow(a.low, b.low, &out->low) &&
               !__builtin_mul_overflow(a.high, b.high, &out->high);
    case NODE_DIV:
        *out = (range){a.low / most(b.high, 1), a.high / most(b.low, 1)};
        return a.low >= 0 && b.low > 0;
    case NODE_MOD:
        *out = (range){0, b.high - 1};
        return b.low > 0;
    case NODE_MINIMUM:
        *out = (range){least(a.low, b.low), least(a.high, b.high)};
        return true;
    default:
        *out = (range){most(a.low, b.low), most(a.high, b.high)};
        return true;
    }
}

/* A read may be outside for some values (it is 0 there, as in a convolution's margin), but not for all. */
static bool in_range(module *m, const tree *t, const trail *where, node position, index_id index) {
    enum { INTERVAL_WORK = 1000 };
    range r;
    unsigned work  = INTERVAL_WORK;
    int64_t extent = graph_index_extent(m->g, index);
    if (!interval(m->g, position, &work, &r) || (r.high >= 0 && r.low < extent))
        return true;
    if (r.low == r.high)
        module_error(m, t->at, where, NULL, "this is %lld, and `%s` runs from 0 to %lld", (long long)r.low,
                     graph_index_name(m->g, index), (long long)extent - 1);
    else
        module_error(m, t->at, where, NULL, "this is between %lld and %lld, and `%s` runs from 0 to %lld",
                     (long long)r.low, (long long)r.high, graph_index_name(m->g, index), (long long)extent - 1);
    return false;
}

/* Reads */

static bool is_index(const module *m, const local *scope, const tree *t, index_id index) {
    index_id named;
    if (t->kind != TREE_NAME)
        return false;
    const local *l = find_local(scope, t->name);
    if (l ? !l->is_index : !find_index(m, t->name, &named) || find_value(m, t->name))
        return false;
    return (l ? l->index : named) == index;
}

static bool is_step(const module *m, const local *scope, const tree *t, index_id index, int64_t step) {
    return t->kind == TREE_BINARY && is_index(m, scope, t->a, index) && t->b->kind == TREE_NUMBER &&
           t->b->number == 1 && strcmp(t->name, step < 0 ? "-" : "+") == 0;
}

static node read_value(module *m, const tree *t, const value *bound, const local *scope, const trail *where) {
    unsigned count = 0;
    if (bound->broken) {
        for (const tree *a = t->a; a; a = a->next)
            expression(m, a, scope, where);
        return NODE_NONE;
    }
    for (const tree *a = t->a; a; a = a->next)
        count++;
    if (count != bound->rank) {
        module_error(m, t->at, where, NULL, "`%s` has %u ind%s, here %s %u", t->name, bound->rank,
                     bound->rank == 1 ? "ex" : "ices", count == 1 ? "is" : "are", count);
        return NODE_NONE;
    }
    value copy = *bound; /* expressions below may move the table */
    node at[TENSOR_RANK];
    index_id substituted[TENSOR_RANK];
    unsigned used = 0, position = 0;
    bool ok = true;
    for (const tree *a = t->a; a; a = a->next, position++) {
        if (copy.self && position == copy.scan_position) {
            bool reverse = graph_view(m->g, copy.node).reverse;
            if (!is_step(m, scope, a, copy.index[position], reverse ? 1 : -1)) {
                module_error(m, a->at, where, NULL, "a recurrence reads its own value one step %s only: `%s%s1`",
                             reverse ? "later" : "earlier", graph_index_name(m->g, copy.index[position]),
                             reverse ? "+" : "-");
                ok = false;
            }
            continue;
        }
        if (is_index(m, scope, a, copy.index[position]))
            continue; /* not by its value, which is the constant 0 for an index of one value */
        node n = expression(m, a, scope, where);
        if (!n) {
            ok = false;
        } else if (graph_view(m->g, n).type != TYPE_INT) {
            module_error(m, a->at, where, "`/` of two integers is an integer; a real number is no position",
                         "index %u of `%s` is not an integer", position + 1, t->name);
            ok = false;
        } else if (in_range(m, a, where, n, copy.index[position])) {
            substituted[used] = copy.index[position];
            at[used++]        = n;
        } else {
            ok = false;
        }
    }
    return ok ? graph_gather(m->g, copy.node, used, substituted, at) : NODE_NONE;
}

static node name_node(module *m, const tree *t, const local *scope, const trail *where) {
    const local *l = find_local(scope, t->name);
    if (l && l->is_index)
        return graph_index_value(m->g, l->index);
    if (l)
        return l->bound.node;
    const value *v = find_value(m, t->name);
    if (v && v->rank == 0)
        return v->node;
    if (v) {
        module_error(m, t->at, where, NULL, "`%s` is a tensor with %u ind%s: write %s", t->name, v->rank,
                     v->rank == 1 ? "ex" : "ices", v->rank == 1 ? "it" : "them");
        return NODE_NONE;
    }
    index_id i;
    if (find_index(m, t->name, &i))
        return graph_index_value(m->g, i);
    named_number *n = find_number(m, t->name);
    if (!n)
        return unknown(m, t, scope, where, "name");
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
    node n = graph_pointwise(m->g, op[i].op, op[i].swap ? b : a, op[i].swap ? a : b, NODE_NONE);
    return op[i].negate ? graph_pointwise(m->g, NODE_NOT, n, NODE_NONE, NODE_NONE) : n;
}

static node binary(module *m, const tree *t, const local *scope, const trail *where) {
    bool logical = strcmp(t->name, "and") == 0 || strcmp(t->name, "or") == 0;
    node a = operand(m, t->a, scope, where, logical), b = operand(m, t->b, scope, where, logical);
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

/* Reductions and selection */

static unsigned list_length(const tree *t) {
    unsigned n = 0;
    for (; t; t = t->next)
        n++;
    return n;
}

/* The indices in the brackets of a call, and the conjunction of the callers' restrictions and the `where`. */
static bool bracket(module *m, const tree *t, const local *scope, const trail *where, index_id *index, unsigned *count,
                    node *domain) {
    bool ok = true;
    *count  = 0;
    *domain = graph_bool(m->g, true);
    for (const tree *b = t->b; b; b = b->next) {
        node restriction;
        if (b->kind != TREE_NAME) {
            module_error(m, b->at, where, NULL, "`%s[…]` takes the names of indices", t->name);
            ok = false;
        } else if (*count == TENSOR_RANK) {
            module_error(m, b->at, where, NULL, "more than %d indices", TENSOR_RANK);
            ok = false;
        } else if (resolve_index(m, b, scope, where, &index[*count], &restriction)) {
            if (restriction)
                *domain = graph_and(m->g, *domain, restriction);
            ++*count;
        } else {
            ok = false;
        }
    }
    if (t->c) {
        node condition = operand(m, t->c, scope, where, true);
        if (!condition)
            return false;
        *domain = graph_and(m->g, *domain, condition);
    }
    return ok;
}

static bool arguments(module *m, const tree *t, const trail *where, unsigned wanted) {
    unsigned have = list_length(t->a);
    if (have == wanted)
        return true;
    module_error(m, t->at, where, NULL, "`%s` takes %u argument%s, here %s %u", t->name, wanted, wanted == 1 ? "" : "s",
                 have == 1 ? "is" : "are", have);
    return false;
}

static node reduction_call(module *m, const tree *t, const local *scope, const trail *where, reduction r, bool count) {
    index_id index[TENSOR_RANK];
    unsigned n;
    node domain;
    if (!arguments(m, t, where, 1) || !bracket(m, t, scope, where, index, &n, &domain))
        return NODE_NONE;
    bool boolean = r == REDUCE_ANY || r == REDUCE_ALL || count;
    node body    = operand(m, t->a, scope, where, boolean);
    if (!body)
        return NODE_NONE;
    if (count)
        body = graph_select(m->g, body, graph_int(m->g, 1), graph_int(m->g, 0));
    index_set vars = 0;
    for (unsigned i = 0; i < n; i++) {
        if (vars & bit(index[i])) {
            module_error(m, t->at, where, NULL, "`%s` binds an index twice", t->name);
            return NODE_NONE;
        }
        vars |= bit(index[i]);
    }
    return graph_reduce(m->g, r, vars, domain, body);
}

static node topk_call(module *m, const tree *t, const local *scope, const trail *where) {
    index_id index[TENSOR_RANK];
    unsigned n;
    node domain;
    if (!arguments(m, t, where, 2) || !bracket(m, t, scope, where, index, &n, &domain))
        return NODE_NONE;
    node score = operand(m, t->a, scope, where, false);
    int64_t k;
    if (!score || !integer_value(m, t->a->next, scope, where, &k))
        return NODE_NONE;
    if (n != 1 || k < 1) {
        module_error(m, t->at, where, NULL, n != 1 ? "`topk` selects along one index" : "`topk` selects at least one");
        return NODE_NONE;
    }
    return graph_topk(m->g, index[0], domain, graph_pointwise(m->g, NODE_TO_FLOAT, score, NODE_NONE, NODE_NONE), k);
}

/* Functions */

/* The frame of a call: its index parameters, then the others bound to the caller's expressions. */
static bool bind_parameters(module *m, const tree *t, const tree *f, const local *scope, const trail *where,
                            const index_id *index, node domain, local *frame, const local **inner) {
    unsigned used = 0;
    double always = 0;
    bool all      = graph_is_constant(m->g, domain, &always) && always != 0;
    for (const tree *b = f->a; b; b = b->next, used++) {
        frame[used] = (local){.outer    = *inner,
                              .name     = b->name,
                              .is_index = true,
                              .index    = index[used],
                              .domain   = all ? NODE_NONE : domain};
        *inner      = &frame[used];
    }
    const tree *argument = t->a;
    for (const tree *p = f->b; p; p = p->next, argument = argument->next, used++) {
        local *l = &frame[used];
        *l       = (local){.outer = *inner, .name = p->name, .bound = {.name = p->name}};
        if (!(l->bound.node = expression(m, argument, scope, where)))
            return false;
        for (const tree *i = p->a; i; i = i->next) {
            node ignored;
            if (l->bound.rank == TENSOR_RANK ||
                !resolve_index(m, i, *inner, where, &l->bound.index[l->bound.rank], &ignored))
                return false;
            l->bound.rank++;
        }
        *inner = l;
    }
    return true;
}

static node function_call(module *m, const tree *t, const tree *f, const local *scope, const trail *where) {
    index_id index[TENSOR_RANK];
    unsigned count, indices = list_length(f->a), formals = list_length(f->b);
    node domain;
    if (!bracket(m, t, scope, where, index, &count, &domain))
        return NODE_NONE;
    if (count != indices) {
        module_error(m, t->at, where, indices ? format_text(m, "write `%s[%s](…)`", f->name, f->a->name) : NULL,
                     "`%s` takes %u ind%s in brackets, here %s %u", f->name, indices, indices == 1 ? "ex" : "ices",
                     count == 1 ? "is" : "are", count);
        return NODE_NONE;
    }
    if (!arguments(m, t, where, formals))
        return NODE_NONE;
    if (where && where->depth >= EXPANSION_DEPTH) {
        if (!m->gave_up)
            module_error(m, t->at, where, "a function may not call itself", "`%s` is expanded more than %d levels deep",
                         f->name, EXPANSION_DEPTH);
        m->gave_up = true;
        return NODE_NONE;
    }
    local *frame = malloc((count + formals + 1) * sizeof *frame);
    if (!frame) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    const local *inner = NULL;
    trail here         = {.outer = where, .function = f->name, .call = t->at, .depth = where ? where->depth + 1 : 1};
    node n             = NODE_NONE;
    if (bind_parameters(m, t, f, scope, where, index, domain, frame, &inner))
        n = expression(m, f->c, inner, &here);
    free(frame);
    return n;
}

/* Calls by name */

static node dropout_call(module *m, const tree *t, const local *scope, const trail *where) {
    double rate;
    if (!arguments(m, t, where, 2) || !constant_value(m, t->a->next, scope, where, &rate))
        return NODE_NONE;
    node x = operand(m, t->a, scope, where, false);
    if (rate < 0 || rate >= 1) {
        module_error(m, t->a->next->at, where, NULL, "the rate of dropout is at least 0 and below 1, this is %g", rate);
        return NODE_NONE;
    }
    if (!x || !m->training || rate == 0)
        return x;
    node draw = graph_random(m->g, graph_new_random(m->g), graph_view(m->g, x).free);
    node drop = graph_pointwise(m->g, NODE_LESS, draw, graph_float(m->g, rate), NODE_NONE);
    return graph_select(m->g, drop, graph_float(m->g, 0), graph_mul(m->g, x, graph_float(m->g, 1 / (1 - rate))));
}

static node index_call(module *m, const tree *t, const local *scope, const trail *where, bool extent) {
    index_id index;
    node domain;
    if (!arguments(m, t, where, 1))
        return NODE_NONE;
    if (t->a->kind != TREE_NAME) {
        module_error(m, t->a->at, where, NULL, "`%s` takes the name of an index", t->name);
        return NODE_NONE;
    }
    if (!resolve_index(m, t->a, scope, where, &index, &domain))
        return NODE_NONE;
    if (extent)
        return graph_int(m->g, graph_index_extent(m->g, index));
    return domain ? domain : graph_bool(m->g, true);
}

static node pointwise_call(module *m, const tree *t, node_op op, const local *scope, const trail *where) {
    unsigned arity = graph_op_arity(op);
    node n[3]      = {NODE_NONE, NODE_NONE, NODE_NONE};
    if (!arguments(m, t, where, arity))
        return NODE_NONE;
    const tree *a = t->a;
    for (unsigned i = 0; i < arity; i++, a = a->next) {
        if (op == NODE_STOP || op == NODE_TO_FLOAT)
            n[i] = expression(m, a, scope, where);
        else
            n[i] = operand(m, a, scope, where, false);
        if (!n[i])
            return NODE_NONE;
    }
    return graph_pointwise(m->g, op, n[0], n[1], n[2]);
}

static node call(module *m, const tree *t, const local *scope, const trail *where) {
    const tree *f = find_function(m, t->name);
    if (f)
        return function_call(m, t, f, scope, where);
    if (t->b) {
        static const struct {
            const char *name;
            reduction r;
            bool count;
        } reduce[] = {{"sum", REDUCE_SUM, false}, {"product", REDUCE_PRODUCT, false}, {"max", REDUCE_MAX, false},
                      {"min", REDUCE_MIN, false}, {"any", REDUCE_ANY, false},         {"all", REDUCE_ALL, false},
                      {"count", REDUCE_SUM, true}};
        for (size_t i = 0; i < sizeof reduce / sizeof *reduce; i++)
            if (strcmp(t->name, reduce[i].name) == 0)
                return reduction_call(m, t, scope, where, reduce[i].r, reduce[i].count);
        if (strcmp(t->name, "topk") == 0)
            return topk_call(m, t, scope, where);
        return unknown(m, t, scope, where, "function or reduction");
    }
    if (strcmp(t->name, "dropout") == 0)
        return dropout_call(m, t, scope, where);
    if (strcmp(t->name, "extent") == 0 || strcmp(t->name, "domain") == 0)
        return index_call(m, t, scope, where, t->name[0] == 'e');
    if (strcmp(t->name, "total") == 0 && m->total)
        return arguments(m, t, where, 1) ? m->total(m, t->a, scope, where) : NODE_NONE;
    if (m->mechanism_count && strcmp(t->name, "attention") == 0) {
        node argument = arguments(m, t, where, 1) ? operand(m, t->a, scope, where, false) : NODE_NONE;
        return argument ? call_slot(m, t, argument, where) : NODE_NONE;
    }
    for (node_op op = NODE_EXP; op <= NODE_FLOOR; op++)
        if (strcmp(t->name, graph_op_name(op)) == 0)
            return pointwise_call(m, t, op, scope, where);
    if (strcmp(t->name, "max") == 0)
        return pointwise_call(m, t, NODE_MAXIMUM, scope, where);
    if (strcmp(t->name, "min") == 0)
        return pointwise_call(m, t, NODE_MINIMUM, scope, where);
    if (strcmp(t->name, "stop") == 0)
        return pointwise_call(m, t, NODE_STOP, scope, where);
    if (strcmp(t->name, "float") == 0)
        return pointwise_call(m, t, NODE_TO_FLOAT, scope, where);
    return unknown(m, t, scope, where, "function");
}

static node limited_expression(module *m, const tree *t, const local *scope, const trail *where);

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
    return n;
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
        return v ? read_value(m, t, v, scope, where) : unknown(m, t, scope, where, "tensor");
    }
    case TREE_CALL:
        return call(m, t, scope, where);
    case TREE_BINARY:
        return binary(m, t, scope, where);
    case TREE_CHAIN:
        return chain(m, t, scope, where);
    case TREE_UNARY: {
        bool logical = strcmp(t->name, "not") == 0;
        node a       = operand(m, t->a, scope, where, logical);
        return a ? graph_pointwise(m->g, logical ? NODE_NOT : NODE_NEG, a, NODE_NONE, NODE_NONE) : NODE_NONE;
    }
    case TREE_IF: {
        node c = operand(m, t->a, scope, where, true), a = expression(m, t->b, scope, where),
             b = expression(m, t->c, scope, where);
        if (a && b && (graph_view(m->g, a).type == TYPE_BOOL) != (graph_view(m->g, b).type == TYPE_BOOL)) {
            module_error(m, t->at, where, NULL, "one branch is a condition, the other a number");
            return NODE_NONE;
        }
        return c && a && b ? graph_select(m->g, c, a, b) : NODE_NONE;
    }
    case TREE_LET: {
        local l = {.outer = scope, .name = t->name, .bound = {.name = t->name}};
        for (const tree *i = t->a; i; i = i->next) {
            node ignored;
            if (l.bound.rank == TENSOR_RANK ||
                !resolve_index(m, i, scope, where, &l.bound.index[l.bound.rank], &ignored))
                return NODE_NONE;
            l.bound.rank++;
        }
        l.bound.node = expression(m, t->b, scope, where);
        return l.bound.node ? expression(m, t->c, &l, where) : NODE_NONE;
    }
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
