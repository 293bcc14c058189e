/* Unit triangular systems for tests: graphs of them, their solution by plain loops, values. */
#ifndef ATTNC_TESTS_LINEAR_SYSTEM_H
#define ATTNC_TESTS_LINEAR_SYSTEM_H

/* cmocka needs these before it */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "initialise.h"
#include "interpret.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static inline index_set bit(index_id i) {
    return (index_set)1 << i;
}

static inline node unary(graph *g, node_op op, node a) {
    return graph_pointwise(g, op, a, NODE_NONE, NODE_NONE);
}

static inline node scaled_by(graph *g, double by, node a) {
    return graph_mul(g, graph_float(g, by), a);
}

static inline void *need(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

typedef struct shape {
    int64_t extent, width, batch; /* width, batch 0: no such index */
    bool batched_matrix, batched_right, reverse;
    bool transposed; /* the matrix is stored by columns */
    bool narrow;     /* the right-hand side does not depend on the row */
} shape;

static const shape each_shape[] = {
    {.extent = 1, .width = 3},
    {.extent = 2},
    {.extent = 2, .reverse = true},
    {.extent = 5, .width = 1},
    {.extent = 7, .width = 4, .batch = 3, .batched_matrix = true, .batched_right = true},
    {.extent = 7, .width = 4, .batch = 3, .batched_matrix = true, .batched_right = true, .reverse = true},
    {.extent = 6, .width = 5, .batch = 2, .batched_matrix = true},
    {.extent = 6, .width = 5, .batch = 2, .batched_right = true, .transposed = true},
    {.extent = 6, .batch = 4, .batched_matrix = true, .reverse = true},
    {.extent = 16, .width = 17, .batch = 2, .batched_matrix = true, .batched_right = true, .transposed = true},
    {.extent = 9, .width = 33, .reverse = true, .transposed = true},
    {.extent = 8, .width = 3, .narrow = true},
    {.extent = 33, .width = 8, .batch = 2, .batched_matrix = true, .batched_right = true},
};
enum { SHAPES = sizeof each_shape / sizeof *each_shape };

typedef struct linear_system {
    shape of;
    graph *g;
    index_id row, column, width, batch;
    uint32_t matrix_tensor, right_tensor;
    node matrix, right, x;
} linear_system;

static inline uint32_t input_over(graph *g, const char *name, unsigned rank, const index_id *index) {
    tensor t = {.name = (char *)name, .kind = TENSOR_INPUT, .type = TYPE_FLOAT, .rank = rank};
    for (unsigned i = 0; i < rank; i++)
        t.index[i] = index[i];
    return graph_add_tensor(g, &t);
}

static inline linear_system make_system(const shape *of) {
    linear_system s = {.of = *of, .g = graph_new()};
    index_id index[4];
    unsigned rank = 0;
    s.batch       = of->batch ? graph_index(s.g, "b", of->batch) : GRAPH_INDICES;
    s.row         = graph_index(s.g, "r", of->extent);
    s.column      = graph_index(s.g, "c", of->extent);
    s.width       = of->width ? graph_index(s.g, "e", of->width) : GRAPH_INDICES;
    if (of->batched_matrix)
        index[rank++] = s.batch;
    index[rank++]   = of->transposed ? s.column : s.row;
    index[rank++]   = of->transposed ? s.row : s.column;
    s.matrix_tensor = input_over(s.g, "matrix", rank, index);
    rank            = 0;
    if (of->batched_right)
        index[rank++] = s.batch;
    if (!of->narrow)
        index[rank++] = s.row;
    if (of->width)
        index[rank++] = s.width;
    s.right_tensor = input_over(s.g, "right", rank, index);
    s.matrix       = graph_tensor(s.g, s.matrix_tensor)->node;
    s.right        = graph_tensor(s.g, s.right_tensor)->node;
    s.x            = graph_solve(s.g, s.row, s.column, of->reverse, s.matrix, s.right);
    return s;
}

static inline int64_t at_least_one(int64_t extent) {
    return extent ? extent : 1;
}

static inline double matrix_at(const linear_system *s, const double *matrix, int64_t b, int64_t r, int64_t c) {
    int64_t n = s->of.extent;
    return matrix[(s->of.batched_matrix ? b * n * n : 0) + (s->of.transposed ? c * n + r : r * n + c)];
}

static inline double right_at(const linear_system *s, const double *right, int64_t b, int64_t r, int64_t e) {
    int64_t w = at_least_one(s->of.width), rows = s->of.narrow ? 1 : s->of.extent;
    return right[(s->of.batched_right ? b * rows * w : 0) + (s->of.narrow ? 0 : r * w) + e];
}

/* x[b, r, e], by its definition. */
static inline double *directly(const linear_system *s, const double *matrix, const double *right) {
    int64_t n = s->of.extent, w = at_least_one(s->of.width), batch = at_least_one(s->of.batch);
    double *x = need((size_t)(batch * n * w), sizeof *x);
    for (int64_t b = 0; b < batch; b++)
        for (int64_t k = 0; k < n; k++)
            for (int64_t e = 0; e < w; e++) {
                int64_t r  = s->of.reverse ? n - 1 - k : k;
                double sum = right_at(s, right, b, r, e);
                for (int64_t c = 0; c < n; c++)
                    if (s->of.reverse ? c > r : c < r)
                        sum += matrix_at(s, matrix, b, r, c) * x[(b * n + c) * w + e];
                x[(b * n + r) * w + e] = sum;
            }
    return x;
}

/* Values between -1 and 1 that stay in bounds through the recurrence. */
static inline double **values(const graph *g) {
    double **value = need(graph_tensor_count(g), sizeof *value);
    for (uint32_t i = 0; i < graph_tensor_count(g); i++) {
        const tensor *t = graph_tensor(g, i);
        value[i]        = need((size_t)t->elements, sizeof **value);
        for (int64_t k = 0; k < t->elements; k++)
            value[i][k] = 0.5 * initial_value(t, 3, (uint64_t)k);
    }
    return value;
}

static inline void free_values(const graph *g, double **value) {
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        free(value[i]);
    free(value);
}

/* What does not count: the diagonal and the other triangle. */
static inline void spoil(const linear_system *s, double *matrix) {
    int64_t n = s->of.extent, batch = s->of.batched_matrix ? s->of.batch : 1;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t r = 0; r < n; r++)
            for (int64_t c = 0; c < n; c++)
                if (s->of.reverse ? c <= r : c >= r)
                    matrix[b * n * n + (s->of.transposed ? c * n + r : r * n + c)] = NAN;
}

static inline void close_to(const char *what, const double *have, const double *wanted, int64_t count,
                            double tolerance) {
    double scale = 1e-30;
    for (int64_t k = 0; k < count; k++)
        scale = fmax(scale, fabs(wanted[k]));
    for (int64_t k = 0; k < count; k++)
        if (!(fabs(have[k] - wanted[k]) <= tolerance * scale))
            fail_msg("%s[%lld]: %.17g, wanted %.17g", what, (long long)k, have[k], wanted[k]);
}

/* The value of x over all of its shape's indices, repeated where it lacks one. */
static inline void give_all(linear_system *s, const char *name, node n) {
    output o = {.name = (char *)name, .kind = OUTPUT_VALUE, .node = n};
    if (s->of.batch)
        o.index[o.rank++] = s->batch;
    o.index[o.rank++] = s->row;
    if (s->of.width)
        o.index[o.rank++] = s->width;
    graph_add_output(s->g, &o);
}

static inline int64_t elements_of(const linear_system *s) {
    return at_least_one(s->of.batch) * s->of.extent * at_least_one(s->of.width);
}

#endif
