/* Short names for building expressions of indices, in the one graph `g` that a test's expressions are in. */
#ifndef ATTNC_TESTS_EXPRESSIONS_H
#define ATTNC_TESTS_EXPRESSIONS_H

#include "graph.h"

static graph *g;

static inline node number(int64_t value) {
    return graph_int(g, value);
}

static inline node one(node_op op, node a) {
    return graph_pointwise(g, op, a, NODE_NONE, NODE_NONE);
}

static inline node two(node_op op, node a, node b) {
    return graph_pointwise(g, op, a, b, NODE_NONE);
}

static inline node minus(node a, node b) {
    return graph_sub(g, a, b);
}

static inline node less(node a, node b) {
    return two(NODE_LESS, a, b);
}

static inline node at_most(node a, node b) {
    return two(NODE_LESS_EQUAL, a, b);
}

static inline node equal(node a, node b) {
    return two(NODE_EQUAL, a, b);
}

static inline node both(node a, node b) {
    return two(NODE_AND, a, b);
}

static inline node either(node a, node b) {
    return two(NODE_OR, a, b);
}

static inline node deny(node a) {
    return one(NODE_NOT, a);
}

#endif
