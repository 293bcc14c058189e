/* Products taken apart: which factors have which indices. */
#include "recurrence_internal.h"

#include <string.h>

void factors_add(graph *g, factors *f, node n) {
    double value;
    if (graph_is_constant(g, n, &value) && value == 1)
        return;
    if (f->count < MOST_FACTORS)
        f->item[f->count++] = n;
    else
        f->item[MOST_FACTORS - 1] = graph_mul(g, f->item[MOST_FACTORS - 1], n);
}

/* Has n factors none of which has all of its indices? What has, such as a key times its strength, is a value of its
 * own, to be computed once and not again in every product. */
static bool is_outer_product(const graph *g, node n) {
    node_view v = graph_view(g, n);
    switch (v.op) {
    case NODE_NEG:
    case NODE_GATHER:
        return is_outer_product(g, v.child[0]);
    case NODE_SELECT:
        return graph_is_guarded(g, n) && is_outer_product(g, v.child[1]);
    case NODE_MUL:
    case NODE_DIV:
        for (unsigned i = 0; i < 2; i++)
            if (graph_view(g, v.child[i]).free == v.free)
                return (i == 0 || v.op == NODE_MUL) && is_outer_product(g, v.child[i]);
        return true;
    default:
        return false;
    }
}

void factors_of(graph *g, node n, factors *f) {
    if (!is_outer_product(g, n)) {
        factors_add(g, f, n);
        return;
    }
    node_view v = graph_view(g, n);
    switch (v.op) {
    case NODE_MUL: {
        node a = v.child[0], b = v.child[1];
        factors_of(g, a, f);
        factors_of(g, b, f);
        return;
    }
    case NODE_NEG:
        factors_add(g, f, graph_float(g, -1));
        factors_of(g, graph_view(g, n).child[0], f);
        return;
    case NODE_DIV: {
        node a = v.child[0], b = v.child[1];
        factors_of(g, a, f);
        factors_add(g, f, graph_div(g, graph_float(g, 1), b));
        return;
    }
    case NODE_SELECT: { /* 0 where a condition fails: so is every factor, whatever it is there */
        node condition = v.child[0];
        factors inner  = {0};
        factors_of(g, v.child[1], &inner);
        for (unsigned i = 0; i < inner.count; i++)
            factors_add(g, f, graph_select(g, condition, inner.item[i], graph_float(g, 0)));
        return;
    }
    case NODE_GATHER: { /* outside the range of an index every factor that has it is 0 */
        index_id from[GRAPH_INDICES];
        node to[GRAPH_INDICES];
        unsigned count = v.child_count - 1;
        for (unsigned i = 0; i < count; i++) {
            from[i] = v.substituted[i];
            to[i]   = v.child[i + 1];
        }
        factors inner = {0};
        factors_of(g, v.child[0], &inner);
        for (unsigned i = 0; i < inner.count; i++)
            factors_add(g, f, graph_gather(g, inner.item[i], count, from, to));
        return;
    }
    default: /* nothing else is an outer product */
        return;
    }
}

node factors_times(graph *g, node n, const factors *f, index_set indices, bool have) {
    bool done[MOST_FACTORS] = {false};
    for (unsigned round = 0; round < f->count; round++) {
        unsigned best = f->count;
        int64_t least = INT64_MAX;
        for (unsigned i = 0; i < f->count; i++) {
            index_set free_ = graph_view(g, f->item[i]).free;
            int64_t space   = graph_space(g, free_ | graph_view(g, n).free);
            if (!done[i] && ((free_ & indices) != 0) == have && (best == f->count || space < least)) {
                best  = i;
                least = space;
            }
        }
        if (best == f->count)
            break;
        done[best] = true;
        n          = graph_mul(g, n, f->item[best]);
    }
    return n;
}

/* Takes off n what has none of the indices, into *rest. */
static node peel(graph *g, node n, index_set indices, node *rest) {
    for (;;) {
        node_view v = graph_view(g, n);
        node_view w = v.op == NODE_GATHER ? graph_view(g, v.child[0]) : v;
        if (w.op != NODE_MUL && w.op != NODE_NEG)
            return n;
        index_id from[GRAPH_INDICES];
        node to[GRAPH_INDICES];
        unsigned count = v.op == NODE_GATHER ? v.child_count - 1 : 0;
        for (unsigned i = 0; i < count; i++) {
            from[i] = v.substituted[i];
            to[i]   = v.child[i + 1];
        }
        node part[2] = {w.child[0], w.op == NODE_MUL ? w.child[1] : NODE_NONE};
        if (!part[1])
            part[1] = graph_float(g, -1);
        for (unsigned i = 0; i < 2 && count; i++)
            part[i] = graph_gather(g, part[i], count, from, to);
        bool has[2] = {(graph_view(g, part[0]).free & indices) != 0, (graph_view(g, part[1]).free & indices) != 0};
        if (has[0] == has[1])
            return n;
        *rest = graph_mul(g, *rest, part[has[0]]);
        n     = part[has[1]];
    }
}

node factors_split(graph *g, node n, index_set indices, node *along) {
    factors f = {0};
    node rest = graph_float(g, 1);
    *along    = rest;
    factors_of(g, n, &f);
    for (unsigned i = 0; i < f.count; i++) {
        if (graph_view(g, f.item[i]).free & indices)
            *along = graph_mul(g, *along, peel(g, f.item[i], indices, &rest));
        else
            rest = graph_mul(g, rest, f.item[i]);
    }
    return rest;
}
