/* Calls by name: reductions, selection, functions written in the language, elementary functions. */
#include "elaborate_internal.h"
#include "enough.h"
#include "prefix.h"

#include <stdlib.h>
#include <string.h>

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

/* Brackets, reductions, selection */

static unsigned list_length(const tree *t) {
    unsigned n = 0;
    for (; t; t = t->next)
        n++;
    return n;
}

enum { DECLARED_HERE = 8 };

/* What stands in the brackets of a call. */
typedef struct bracket {
    unsigned count;
    index_id index[TENSOR_RANK];
    index_set set;
    node domain;                   /* the conjunction of the callers' restrictions and the `where` */
    local declared[DECLARED_HERE]; /* indices declared here */
    const local *scope;            /* with those */
    index_set local_set;           /* the module's, before this call */
    unsigned renamed;              /* indices that have a new name in this call, and what they were */
    index_id fresh[DECLARED_HERE], given[DECLARED_HERE];
} bracket;

/* Fills b; the caller ends with `close_bracket`, whatever the result, also none. */
static bool open_bracket(module *m, const tree *t, const local *scope, const trail *where, bracket *b) {
    bool ok           = true;
    unsigned declared = 0;
    *b                = (bracket){.domain = graph_bool(m->g, true), .scope = scope, .local_set = m->local_set};
    for (const tree *i = t->b; i; i = i->next) {
        node restriction = NODE_NONE;
        unsigned found = 0, room = TENSOR_RANK - b->count;
        if (i->kind != TREE_NAME && i->kind != TREE_INDEX) {
            module_error(m, i->at, where, NULL, "`%s[…]` takes the names of indices", t->name);
        } else if (i->kind == TREE_NAME) {
            found          = resolve_indices(m, i, b->scope, where, b->index + b->count, room, &restriction);
            index_id given = found == 1 ? b->index[b->count] : 0;
            if (found == 1 && declared < DECLARED_HERE && renamed_index(m, i, b->scope, where, b->index + b->count)) {
                b->declared[declared] =
                    (local){.outer = b->scope, .name = i->name, .is_index = true, .index = b->index[b->count]};
                b->scope               = &b->declared[declared++];
                b->fresh[b->renamed]   = b->index[b->count];
                b->given[b->renamed++] = given;
            }
        } else if (declared == DECLARED_HERE || room == 0) {
            module_error(m, i->at, where, "declare it as a statement: `index …`",
                         "more than %d indices are declared in one bracket", DECLARED_HERE);
        } else if (declare_local_index(m, i, b->scope, where, b->index + b->count)) {
            b->declared[declared] =
                (local){.outer = b->scope, .name = i->name, .is_index = true, .index = b->index[b->count]};
            b->scope = &b->declared[declared++];
            found    = 1;
        }
        ok &= found > 0;
        if (restriction)
            b->domain = graph_and(m->g, b->domain, restriction);
        for (; found > 0; found--, b->count++) {
            if (b->set & bit(b->index[b->count])) {
                module_error(m, i->at, where, NULL, "`%s` binds an index twice", t->name);
                ok = false;
            }
            b->set |= bit(b->index[b->count]);
        }
    }
    if (t->c) {
        size_t mark = m->fact_count;
        facts_hide(m, b->set);
        facts_hold(m, b->domain, false);
        node condition = operand(m, t->c, b->scope, where, true);
        m->fact_count  = mark;
        if (!condition)
            return false;
        b->domain = graph_and(m->g, b->domain, condition);
    }
    return ok;
}

/* What a function or a selection makes for each value of an index is meant at the caller's own value of it. */
static node close_bracket(module *m, const bracket *b, node n) {
    m->local_set = b->local_set;
    for (unsigned i = 0; n && i < b->renamed; i++)
        if (graph_view(m->g, n).free & bit(b->fresh[i])) {
            node at = graph_index_value(m->g, b->given[i]);
            n       = graph_gather(m->g, n, 1, &b->fresh[i], &at);
        }
    return n;
}

/* The body of a reduction counts only where its domain holds. */
static node reduced(module *m, const tree *t, const bracket *b, const trail *where, bool boolean) {
    size_t mark = m->fact_count;
    facts_hide(m, b->set);
    facts_hold(m, b->domain, false);
    node body     = operand(m, t, b->scope, where, boolean);
    m->fact_count = mark;
    return body;
}

static bool arguments(module *m, const tree *t, const trail *where, unsigned wanted) {
    unsigned have = list_length(t->a);
    if (have == wanted)
        return true;
    module_error(m, t->at, where, NULL, "`%s` takes %u argument%s, here %s %u", t->name, wanted, wanted == 1 ? "" : "s",
                 have == 1 ? "is" : "are", have);
    return false;
}

/* As a scan, if it is one; the same reduction is the same scan. */
static node prefix_call(module *m, reduction r, const bracket *b, node body) {
    if (b->count != 1)
        return NODE_NONE;
    for (unsigned i = 0; i < m->prefix_count; i++) {
        const prefix_known *k = &m->prefixes[i];
        if (k->r == r && k->over == b->index[0] && k->domain == b->domain && k->body == body)
            return k->scan;
    }
    node scan = prefix_reduce(m->g, r, b->index[0], b->domain, body);
    if (scan && m->prefix_count < sizeof m->prefixes / sizeof *m->prefixes)
        m->prefixes[m->prefix_count++] = (prefix_known){r, b->index[0], b->domain, body, scan};
    return scan;
}

static node reduction_call(module *m, const tree *t, const bracket *b, const trail *where, reduction r, bool count) {
    bool boolean = r == REDUCE_ANY || r == REDUCE_ALL || count;
    node body    = reduced(m, t->a, b, where, boolean);
    if (!body)
        return NODE_NONE;
    if (count)
        body = graph_select(m->g, body, graph_int(m->g, 1), graph_int(m->g, 0));
    if (r == REDUCE_MAX || r == REDUCE_MIN)
        warn_of_nothing(m, t, where, b->set, b->domain);
    node scan = prefix_call(m, r, b, body);
    return scan ? scan : graph_reduce(m->g, r, b->set, b->domain, body);
}

/* The lowest index whose value is the largest (or smallest); 0 where the domain is empty. */
static node extreme_call(module *m, const tree *t, const bracket *b, const trail *where, reduction r) {
    node body = reduced(m, t->a, b, where, false);
    if (!body)
        return NODE_NONE;
    if (b->count != 1) {
        module_error(m, t->at, where, NULL, "`%s` runs over one index", t->name);
        return NODE_NONE;
    }
    warn_of_nothing(m, t, where, b->set, b->domain);
    node best = graph_reduce(m->g, r, b->set, b->domain, body);
    node hit  = graph_pointwise(m->g, NODE_EQUAL, body, best, NODE_NONE);
    node first =
        graph_reduce(m->g, REDUCE_MIN, b->set, graph_and(m->g, b->domain, hit), graph_index_value(m->g, b->index[0]));
    /* in range whatever happens: nothing equals a NaN */
    first    = graph_pointwise(m->g, NODE_MINIMUM, first, graph_int(m->g, graph_index_extent(m->g, b->index[0]) - 1),
                               NODE_NONE);
    node any = graph_reduce(m->g, REDUCE_ANY, b->set, NODE_NONE, b->domain);
    return graph_select(m->g, any, first, graph_int(m->g, 0));
}

static node topk_call(module *m, const tree *t, const bracket *b, const trail *where) {
    node score = reduced(m, t->a, b, where, false);
    int64_t k;
    if (!score || !integer_value(m, t->a->next, b->scope, where, &k))
        return NODE_NONE;
    if (b->count != 1 || k < 1) {
        module_error(m, t->at, where, NULL,
                     b->count != 1 ? "`topk` selects along one index" : "`topk` selects at least one");
        return NODE_NONE;
    }
    return graph_topk(m->g, b->index[0], b->domain, graph_pointwise(m->g, NODE_TO_FLOAT, score, NODE_NONE, NODE_NONE),
                      k);
}

/* Functions */

/* An argument with the indices that its parameter names: of those nothing outside the call is certain, since the
 * function may move them; and what it reads only by leave of the call's `where` is 0 outside that. */
static node argument_value(module *m, const tree *t, const local *parameter, const bracket *b, const trail *where) {
    size_t mark    = m->fact_count;
    bool soft_used = m->soft_used;
    index_set own  = b->set;
    for (unsigned i = 0; i < parameter->bound.rank; i++)
        own |= bit(parameter->bound.index[i]);
    m->soft_used = false;
    facts_hide(m, own);
    facts_hold(m, b->domain, true);
    node n        = expression(m, t, b->scope, where);
    m->fact_count = mark;
    if (m->soft_used)
        n = guarded(m, b->domain, n);
    m->soft_used |= soft_used; /* perhaps by leave of a `where` further out */
    return n;
}

/* The frame of a call: its index parameters, then the others bound to the caller's expressions. */
static bool bind_parameters(module *m, const tree *t, const tree *f, const bracket *b, const trail *where, local *frame,
                            const local **inner) {
    unsigned used = 0;
    double always = 0;
    bool all      = graph_is_constant(m->g, b->domain, &always) && always != 0;
    for (const tree *i = f->a; i; i = i->next, used++) {
        frame[used] = (local){.outer    = *inner,
                              .name     = i->name,
                              .is_index = true,
                              .index    = b->index[used],
                              .count    = f->a->next ? 1 : b->count, /* a single parameter takes several */
                              .indices  = b->index,
                              .domain   = all ? NODE_NONE : b->domain};
        *inner      = &frame[used];
    }
    const tree *argument = t->a;
    for (const tree *p = f->b; p; p = p->next, argument = argument->next, used++) {
        local *l = &frame[used];
        *l       = (local){.outer = *inner, .name = p->name, .bound = {.name = p->name}};
        for (const tree *i = p->a; i; i = i->next) {
            node ignored;
            unsigned found = resolve_indices(m, i, *inner, where, l->bound.index + l->bound.rank,
                                             TENSOR_RANK - l->bound.rank, &ignored);
            if (!found)
                return false;
            l->bound.rank += found;
        }
        if (!(l->bound.node = argument_value(m, argument, l, b, where)))
            return false;
        *inner = l;
    }
    return true;
}

static node function_call(module *m, const tree *t, const tree *f, const bracket *b, const trail *where) {
    unsigned indices = list_length(f->a), formals = list_length(f->b);
    if (b->count != indices && !(indices == 1 && b->count > 1)) {
        module_error(m, t->at, where, indices ? format_text(m, "write `%s[%s](…)`", f->name, f->a->name) : NULL,
                     "`%s` takes %u ind%s in brackets, here %s %u", f->name, indices, indices == 1 ? "ex" : "ices",
                     b->count == 1 ? "is" : "are", b->count);
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
    local *frame       = enough(malloc(((size_t)b->count + formals + 1) * sizeof *frame));
    const local *inner = NULL;
    trail here         = {.outer = where, .function = f->name, .call = t->at, .depth = where ? where->depth + 1 : 1};
    node n             = NODE_NONE;
    if (bind_parameters(m, t, f, b, where, frame, &inner))
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
    index_id index[TENSOR_RANK];
    index_set set = 0;
    node domain;
    if (!arguments(m, t, where, 1))
        return NODE_NONE;
    if (t->a->kind != TREE_NAME) {
        module_error(m, t->a->at, where, NULL, "`%s` takes the name of an index", t->name);
        return NODE_NONE;
    }
    unsigned count = resolve_indices(m, t->a, scope, where, index, TENSOR_RANK, &domain);
    if (!count)
        return NODE_NONE;
    for (unsigned i = 0; i < count; i++)
        set |= bit(index[i]);
    if (extent)
        return graph_int(m->g, graph_space(m->g, set));
    return domain ? domain : graph_bool(m->g, true);
}

static node pointwise_call(module *m, const tree *t, node_op op, const local *scope, const trail *where) {
    unsigned arity = graph_op_arity(op);
    node n[3]      = {NODE_NONE, NODE_NONE, NODE_NONE};
    if (!arguments(m, t, where, arity))
        return NODE_NONE;
    const tree *a = t->a;
    for (unsigned i = 0; i < arity; i++, a = a->next) {
        if (op == NODE_STOP || op == NODE_TO_FLOAT || op == NODE_TO_INT)
            n[i] = expression(m, a, scope, where);
        else
            n[i] = operand(m, a, scope, where, false);
        if (!n[i])
            return NODE_NONE;
        if (op >= NODE_EXP &&
            op < NODE_ABS) /* a function of real numbers; `float(a / b)` says that it means the quotient */
            warn_of_quotient(m, a, n[i], scope, where);
    }
    return graph_pointwise(m->g, op, n[0], n[1], n[2]);
}

/* The largest or smallest of two or more. */
static node extreme_of(module *m, const tree *t, node_op op, const local *scope, const trail *where) {
    node best = NODE_NONE;
    bool ok   = true;
    if (list_length(t->a) < 2) {
        module_error(m, t->at, where, format_text(m, "over an index it is `%s[i](…)`", t->name),
                     "`%s` takes 2 or more arguments, here %s %u", t->name, t->a ? "is" : "are", list_length(t->a));
        return NODE_NONE;
    }
    for (const tree *a = t->a; a; a = a->next) {
        node n = operand(m, a, scope, where, false);
        ok &= n != NODE_NONE;
        if (ok)
            best = best ? graph_pointwise(m->g, op, best, n, NODE_NONE) : n;
    }
    return ok ? best : NODE_NONE;
}

static node bracket_call(module *m, const tree *t, const bracket *b, const trail *where) {
    static const struct {
        const char *name;
        reduction r;
        bool count, index;
    } reduce[] = {{"sum", REDUCE_SUM, false, false},  {"product", REDUCE_PRODUCT, false, false},
                  {"max", REDUCE_MAX, false, false},  {"min", REDUCE_MIN, false, false},
                  {"any", REDUCE_ANY, false, false},  {"all", REDUCE_ALL, false, false},
                  {"count", REDUCE_SUM, true, false}, {"argmax", REDUCE_MAX, false, true},
                  {"argmin", REDUCE_MIN, false, true}};
    if (strcmp(t->name, "topk") == 0)
        return arguments(m, t, where, 2) ? topk_call(m, t, b, where) : NODE_NONE;
    for (size_t i = 0; i < sizeof reduce / sizeof *reduce; i++) {
        if (strcmp(t->name, reduce[i].name) != 0)
            continue;
        if (!arguments(m, t, where, 1))
            return NODE_NONE;
        return reduce[i].index ? extreme_call(m, t, b, where, reduce[i].r)
                               : reduction_call(m, t, b, where, reduce[i].r, reduce[i].count);
    }
    return unknown_name(m, t, b->scope, where, "function or reduction");
}

node call_expression(module *m, const tree *t, const local *scope, const trail *where) {
    const tree *f = find_function(m, t);
    if (f || t->b) {
        bracket b;
        node n = NODE_NONE;
        if (open_bracket(m, t, scope, where, &b))
            n = f ? function_call(m, t, f, &b, where) : bracket_call(m, t, &b, where);
        return close_bracket(m, &b, n);
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
        return extreme_of(m, t, NODE_MAXIMUM, scope, where);
    if (strcmp(t->name, "min") == 0)
        return extreme_of(m, t, NODE_MINIMUM, scope, where);
    if (strcmp(t->name, "stop") == 0)
        return pointwise_call(m, t, NODE_STOP, scope, where);
    if (strcmp(t->name, "float") == 0)
        return pointwise_call(m, t, NODE_TO_FLOAT, scope, where);
    if (strcmp(t->name, "int") == 0)
        return pointwise_call(m, t, NODE_TO_INT, scope, where);
    if (is_builtin(t->name) && strcmp(t->name, "total") != 0) {
        module_error(m, t->at, where, format_text(m, "write `%s[i](…)`, with the index that it runs over", t->name),
                     "`%s` runs over an index, and none is given", t->name);
        return NODE_NONE;
    }
    const value *v = find_value(m, t->name);
    if (v && v->rank > 0) {
        module_error(m, t->at, where, format_text(m, "write `%s[…]`", t->name), "`%s` is a tensor, not a function",
                     t->name);
        return NODE_NONE;
    }
    return unknown_name(m, t, scope, where, "function");
}
