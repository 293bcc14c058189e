/* Triangular systems, which specs have no words for: some results of a random spec become the solutions of systems that
 * are made of them. Which ones follows from the graph alone, so that a spec always gives the same. */
#include "stages_internal.h"

enum { LONGEST = 24 };

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

/* A position to solve along; GRAPH_INDICES: there is none. */
static index_id row_of(const graph *g, index_set free) {
    for (unsigned i = 0; i < graph_index_count(g); i++)
        if (free >> i & 1 && graph_index_extent(g, (index_id)i) > 1 && graph_index_extent(g, (index_id)i) <= LONGEST)
            return (index_id)i;
    return GRAPH_INDICES;
}

/* Factors below 1/2, of rows, columns and, where `y` is one, what stands at them. */
static node matrix_of(graph *g, node y, index_id row, index_id column) {
    node at = graph_index_value(g, column), half = graph_float(g, 0.5);
    node places = graph_add(g, graph_index_value(g, row), graph_mul(g, graph_int(g, 2), at));
    node angle  = graph_pointwise(g, NODE_TO_FLOAT, places, NODE_NONE, NODE_NONE);
    if (y) {
        node both = graph_mul(g, y, graph_gather(g, y, 1, &row, &at));
        angle     = graph_add(g, angle, graph_pointwise(g, NODE_TANH, both, NODE_NONE, NODE_NONE));
    }
    return graph_mul(g, half, graph_pointwise(g, NODE_SIN, angle, NODE_NONE, NODE_NONE));
}

void stages_add_systems(graph *g) {
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        node_view v     = graph_view(g, o->node);
        index_id row    = o->kind == OUTPUT_VALUE && v.type == TYPE_FLOAT ? row_of(g, v.free) : GRAPH_INDICES;
        if (o->node % 4 || row == GRAPH_INDICES)
            continue;
        index_id column = graph_fresh_index(g, row);
        while (column != GRAPH_INDICES && v.free & bit(column))
            column = graph_fresh_index(g, column);
        if (column == GRAPH_INDICES)
            continue;
        node matrix = matrix_of(g, o->node % 8 ? o->node : NODE_NONE, row, column);
        graph_set_output_node(g, i, graph_solve(g, row, column, o->node % 16 < 8, matrix, o->node));
    }
}
