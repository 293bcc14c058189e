/* sum[s where s <= t](f(s)) is c[t] = c[t-1] + f(t): the sums of neighbouring positions share all but one term. */
#include "prefix.h"

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

typedef struct order {
    index_id row; /* the t of `s <= t`; GRAPH_INDICES: not found */
    bool strict, reverse;
    node rest; /* the other conditions */
} order;

/* Takes the comparison of `over` with another index off the conjunction. */
static void split_order(graph *g, node domain, index_id over, order *o) {
    node_view v = graph_view(g, domain);
    if (v.op == NODE_AND) {
        node a = v.child[0], b = v.child[1];
        split_order(g, a, over, o);
        split_order(g, b, over, o);
        return;
    }
    if (o->row == GRAPH_INDICES && (v.op == NODE_LESS || v.op == NODE_LESS_EQUAL)) {
        node_view a = graph_view(g, v.child[0]), b = graph_view(g, v.child[1]);
        if (a.op == NODE_INDEX && b.op == NODE_INDEX && (a.vars | b.vars) != a.vars &&
            (a.vars == bit(over) || b.vars == bit(over))) {
            index_id row = (index_id)__builtin_ctzll(a.vars == bit(over) ? b.vars : a.vars);
            if (graph_index_extent(g, row) == graph_index_extent(g, over)) {
                o->row     = row;
                o->strict  = v.op == NODE_LESS;
                o->reverse = b.vars == bit(over);
                return;
            }
        }
    }
    o->rest = graph_and(g, o->rest, domain);
}

static node combined(graph *g, reduction r, node a, node b) {
    static const node_op op[] = {[REDUCE_SUM] = NODE_ADD,     [REDUCE_PRODUCT] = NODE_MUL, [REDUCE_MAX] = NODE_MAXIMUM,
                                 [REDUCE_MIN] = NODE_MINIMUM, [REDUCE_ANY] = NODE_OR,      [REDUCE_ALL] = NODE_AND};
    return graph_pointwise(g, op[r], a, b, NODE_NONE);
}

node prefix_reduce(graph *g, reduction r, index_id over, node domain, node body) {
    order o = {.row = GRAPH_INDICES, .rest = graph_bool(g, true)};
    split_order(g, domain, over, &o);
    if (o.row == GRAPH_INDICES || ((graph_view(g, body).free | graph_view(g, o.rest).free) & bit(o.row)))
        return NODE_NONE;
    value_type type = graph_view(g, body).type;
    if (type == TYPE_BOOL && r != REDUCE_ANY && r != REDUCE_ALL)
        return NODE_NONE;
    if (type == TYPE_INT && (r == REDUCE_MAX || r == REDUCE_MIN)) /* of none: an integer that no state can hold */
        return NODE_NONE;
    node nothing = graph_reduce(g, r, bit(over), graph_bool(g, false), body); /* of the right type */
    node term = graph_select(g, o.rest, body, nothing), row = graph_index_value(g, o.row);
    term        = graph_gather(g, term, 1, &over, &row);
    node before = graph_previous(g, o.row, o.reverse, graph_view(g, term).free & ~bit(o.row), type);
    node scan   = graph_scan(g, before, nothing, combined(g, r, before, term));
    return o.strict ? graph_scan_before(g, scan) : scan;
}
