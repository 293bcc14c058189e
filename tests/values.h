/* Values for every tensor of a graph, for tests of the interpreter: the initial ones, inputs included. */
#ifndef ATTNC_TESTS_VALUES_H
#define ATTNC_TESTS_VALUES_H

/* cmocka needs these before it */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "initialise.h"

#include <stdlib.h>

/* By tensor number, row-major; freed by free_values. */
static double **values_of(const graph *g, uint64_t seed) {
    double **value = calloc(graph_tensor_count(g) + 1, sizeof *value);
    assert_non_null(value);
    for (uint32_t i = 0; i < graph_tensor_count(g); i++) {
        const tensor *t = graph_tensor(g, i);
        value[i]        = calloc((size_t)t->elements, sizeof **value);
        assert_non_null(value[i]);
        for (int64_t k = 0; k < t->elements; k++)
            value[i][k] = initial_value(t, seed, (uint64_t)k);
    }
    return value;
}

static void free_values(const graph *g, double **value) {
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        free(value[i]);
    free(value);
}

#endif
