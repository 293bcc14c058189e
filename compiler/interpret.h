/* The reference: what a graph means, in float64, by plain loops. Every later stage is tested against it. */
#ifndef ATTNC_INTERPRET_H
#define ATTNC_INTERPRET_H

#include "graph.h"

typedef struct interpretation interpretation;

/* What a pointwise operation makes of its operands, as many as it has. */
double interpret_operation(node_op op, value_type type, const double x[3]);

/* What a reduction makes of nothing, and of two values. */
double interpret_identity(reduction r);
double interpret_combine(reduction r, double a, double b);

/* What a selection ranks: the larger score first, of equal ones the lower index, numbers before those that are none. */
typedef struct ranked {
    double score;
    int64_t at;
} ranked;
void interpret_rank(ranked *row, size_t count);
/* The `most` best of them, or all, at the beginning of row in ascending order of `at`; returns how many. */
size_t interpret_choose(ranked *row, size_t count, int64_t most);

/* tensor_value[k]: the elements of tensor k, row-major; integers as doubles. The arrays are only read and must
 * outlive the interpretation. */
interpretation *interpret_new(const graph *g, const double *const *tensor_value, uint64_t seed);
void interpret_free(interpretation *run);

/* Hold every STOP node that `base` has computed at its values there, before `run` has computed anything (NULL: let go):
 * finite differences see what derivation sees. `base` is of the same graph, has computed the outputs that `run` will be
 * asked for, and outlives it. */
void interpret_hold_stops(interpretation *run, const interpretation *base);

/* The output's elements, row-major in its index order; owned by the run. */
const double *interpret_output(interpretation *run, uint32_t output_number);

/* The value of any node (not inside a scan's body), row-major over its free indices in order of index_id. */
const double *interpret_node(interpretation *run, node n);

#endif
