/* What tests of the whole way through a graph share: tensors to begin with, and the comparison of interpreter, machine
 * code, derivative and finite differences. Included by one test program each. */
#ifndef ATTNC_TESTS_AGREE_H
#define ATTNC_TESTS_AGREE_H

/* cmocka needs these before it */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "compile.h"
#include "derive.h"
#include "gradcheck.h"
#include "initialise.h"
#include "interpret.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
    graph *g;
    index_id t, s, d;
    node a, b, positive, ids; /* a[t,d], b[t,d], |a|+0.3, ids[t] below the extent of s */
} fixture;

static node add_tensor(graph *g, const char *name, value_type type, int64_t below, unsigned rank, index_id i,
                       index_id k) {
    tensor t = {
        .name = (char *)name, .kind = TENSOR_INPUT, .type = type, .below = below, .rank = rank, .index = {i, k}};
    return graph_tensor(g, graph_add_tensor(g, &t))->node;
}

static fixture make(int64_t time, int64_t width) {
    fixture f  = {.g = graph_new()};
    f.t        = graph_index(f.g, "t", time);
    f.s        = graph_index(f.g, "s", time);
    f.d        = graph_index(f.g, "d", width);
    f.a        = add_tensor(f.g, "a", TYPE_FLOAT, 0, 2, f.t, f.d);
    f.b        = add_tensor(f.g, "b", TYPE_FLOAT, 0, 2, f.t, f.d);
    f.ids      = add_tensor(f.g, "ids", TYPE_INT, time, 1, f.t, 0);
    node abs   = graph_pointwise(f.g, NODE_ABS, f.a, NODE_NONE, NODE_NONE);
    f.positive = graph_add(f.g, abs, graph_float(f.g, 0.3));
    return f;
}

static inline index_set bit(index_id i) {
    return (index_set)1 << i;
}

static inline node unary(graph *g, node_op op, node a) {
    return graph_pointwise(g, op, a, NODE_NONE, NODE_NONE);
}

static inline node scaled(graph *g, double by, node a) {
    return graph_mul(g, graph_float(g, by), a);
}

/* An output over its own free indices, in order. */
static void give(graph *g, const char *name, node n) {
    output o = {.name = (char *)name, .kind = OUTPUT_VALUE, .node = n};
    for (unsigned i = 0; i < graph_index_count(g); i++)
        if (graph_view(g, n).free >> i & 1)
            o.index[o.rank++] = (index_id)i;
    graph_add_output(g, &o);
}

static void *need(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

/* Adds the backward pass, runs both ways and finite differences. Frees the graph. */
static void agree(fixture *f, double tolerance) {
    graph *g = f->g;
    char error[512];
    bool real = gradcheck_add_backward(g);
    assert_true(graph_verify(g, error, sizeof error));
    uint32_t tensors = graph_tensor_count(g), outputs = graph_output_count(g);
    double **exact = need(tensors, sizeof *exact);
    void **in = need(tensors, sizeof *in), **out = need(outputs, sizeof *out);
    for (uint32_t i = 0; i < tensors; i++) {
        const tensor *v = graph_tensor(g, i);
        exact[i]        = need((size_t)v->elements, sizeof **exact);
        in[i]           = need((size_t)v->elements, sizeof(float));
        for (int64_t k = 0; k < v->elements; k++) {
            exact[i][k] = initial_value(v, 11, (uint64_t)k);
            if (v->type == TYPE_INT)
                ((int32_t *)in[i])[k] = (int32_t)exact[i][k];
            else
                ((float *)in[i])[k] = (float)exact[i][k];
        }
    }
    for (uint32_t i = 0; i < outputs; i++)
        out[i] = need((size_t)graph_output(g, i)->elements, sizeof(float));
    compiled *code = compile_graph(g, &(compile_options){0}, error, sizeof error);
    assert_non_null(code);
    assert_true(compiled_run(code, (const void *const *)in, out, 9));
    interpretation *run = interpret_new(g, (const double *const *)exact, 9);
    for (uint32_t i = 0; i < outputs; i++) {
        const output *o      = graph_output(g, i);
        const double *wanted = interpret_output(run, i);
        double scale         = 1e-30;
        for (int64_t k = 0; k < o->elements; k++)
            if (isfinite(wanted[k]))
                scale = fmax(scale, fabs(wanted[k]));
        for (int64_t k = 0; k < o->elements; k++) {
            double have = ((float *)out[i])[k];
            bool ok     = have == wanted[k] || (isnan(have) && isnan(wanted[k])) ||
                      fabs(have - wanted[k]) <= tolerance * fmax(scale, o->elements == 1);
            if (!ok)
                print_message("%s[%lld]: machine %.9g, interpreter %.9g\n", o->name, (long long)k, have, wanted[k]);
            assert_true(ok);
        }
    }
    if (real) {
        gradcheck_result result;
        gradcheck_run(g, g, (const double *const *)exact, 9, &(gradcheck_options){1e-6, GRADCHECK_DIRECTION}, NULL,
                      &result);
        if (result.verdict != GRADCHECK_AGREES)
            print_message("worst finite difference %g\n", result.worst);
        assert_true(result.verdict == GRADCHECK_AGREES);
    }
    interpret_free(run);
    compiled_free(code);
    for (uint32_t i = 0; i < tensors; i++) {
        free(exact[i]);
        free(in[i]);
    }
    for (uint32_t i = 0; i < outputs; i++)
        free(out[i]);
    free(exact);
    free(in);
    free(out);
    graph_free(g);
}

#endif
