/* The derivative of a product: at each of its elements, the product of all others. It is not the product divided by the
 * element, which may be 0, but the product of what stands before the element times the product of what stands after
 * it: two scans, of as much work as the product itself. Over several indices a product is the product over one of them
 * of the products over the rest, and the others of an element are those in its own row times all of the other rows. */
#include "derive_internal.h"

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

/* The product of factor's values at the indices i before each one; with `reverse`, after it. Inside the bodies of
 * another scan this is a scan within a step, as the states before that step are indices of its state like any other. */
static node product_before(graph *g, node factor, index_id i, bool reverse) {
    node one      = graph_float(g, 1);
    node previous = graph_previous(g, i, reverse, graph_view(g, factor).free & ~bit(i), TYPE_FLOAT);
    return graph_scan_before(g, graph_scan(g, previous, one, graph_mul(g, previous, factor)));
}

/* At each value of i, the product of factor's values at all others. */
static node others_along(graph *g, node factor, index_id i) {
    if (graph_index_extent(g, i) == 1)
        return graph_float(g, 1);
    return graph_mul(g, product_before(g, factor, i, false), product_before(g, factor, i, true));
}

static index_id lowest(index_set set) {
    index_id i = 0;
    while (!(set >> i & 1))
        i++;
    return i;
}

node derive_other_factors(graph *g, node product) {
    node_view v    = graph_view(g, product);
    index_set vars = v.vars;
    node factor = graph_select(g, v.child[0], v.child[1], graph_float(g, 1)), others = NODE_NONE;
    /* from the whole rows inwards: `factor` is the product over all of `vars` but the index at hand */
    while (vars) {
        index_id i = lowest(vars);
        vars &= ~bit(i);
        node row   = vars ? graph_reduce(g, REDUCE_PRODUCT, vars, NODE_NONE, factor) : factor;
        node along = others_along(g, row, i);
        others     = others ? graph_mul(g, others, along) : along;
    }
    return others;
}
