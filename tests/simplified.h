/* What the tests of simplification share: a mechanism with its gradients, before and after, its values by the
 * interpreter and its cost. Included by one test program each. */
#ifndef ATTNC_TESTS_SIMPLIFIED_H
#define ATTNC_TESTS_SIMPLIFIED_H

/* cmocka needs these before it */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "cost.h"
#include "derive.h"
#include "elaborate.h"
#include "gradcheck.h"
#include "interpret.h"
#include "simplify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *memory) {
    assert_non_null(memory);
    return memory;
}

/* The spec's graph, with its gradients, where they are asked for, as further outputs; STOPs are forgotten. The losses
 * are left out: they are the cotangents' sum. */
static graph *graph_of(const spec *s, const elaboration *how, bool gradients, diagnostics *d) {
    graph *g = graph_new();
    assert_true(elaborate_mechanism(g, s, how, d));
    if (gradients)
        assert_true(gradcheck_add_backward(g));
    graph_drop_outputs(g, OUTPUT_LOSS);
    derive_forget_stops(g);
    return g;
}

/* Of definitions over t, s, r: T = 6 and d, e: D = 4. */
static graph *graph_of_text(const char *definitions, bool gradients) {
    char text[2048];
    FILE *nowhere = need(fopen("/dev/null", "w")); /* warnings of what is not read */
    diagnostics d = {.stream = nowhere};
    snprintf(text, sizeof text,
             "mechanism m \"m\" include \"lib/standard.att\" size T = 6, D = 4 index t:T s:T r:T d:D e:D %s",
             definitions);
    spec *s = spec_read_text("m.att", text, strlen(text), TEST_SOURCE_DIR "/specs", &d);
    if (!s)
        fail_msg("not accepted: %s", definitions);
    graph *g = graph_of(s, &(elaboration){.training = true}, gradients, &d);
    spec_free(s);
    fclose(nowhere);
    return g;
}

/* Values */

static uint64_t rule_bit(reason why) {
    return (uint64_t)1 << why;
}

static void simplify_without(graph *g, reason why) {
    simplify_outputs(g, &(simplify_options){.without = why == REASON_SPEC ? 0 : rule_bit(why)});
}

/* Numbers between -1 and 1, or for an integer tensor below its limit. Of a tensor that a test wants to be wild, the
 * elements that its name says: `first_` or `last_` one or `all_`, and of these `zero`, `huge` (its exponential is not
 * finite) or `infinite`. */
static double value_of(const tensor *t, int64_t k) {
    uint64_t h = (uint64_t)k + 1;
    for (const char *at = t->name; *at; at++)
        h = (h ^ (unsigned char)*at) * 0x9E3779B97F4A7C15u;
    h          = (h ^ h >> 29) * 0xBF58476D1CE4E5B9u;
    double x   = (double)(h >> 11) * 0x1p-52 - 1;
    bool first = strncmp(t->name, "first_", 6) == 0, last = strncmp(t->name, "last_", 5) == 0,
         all     = strncmp(t->name, "all_", 4) == 0;
    int64_t rows = t->rank ? t->extent[0] : 1, row = k / (t->elements / rows);
    if (t->type == TYPE_INT)
        return floor((x + 1) / 2 * (double)t->below);
    if (!all && !(first && row == 0) && !(last && row == rows - 1))
        return x;
    return strstr(t->name, "zero") ? 0 : strstr(t->name, "huge") ? 800 : strstr(t->name, "infinite") ? INFINITY : x;
}

/* The outputs, one after the other; freed by the caller. */
static double *results_of(const graph *g, size_t *count) {
    double **value = need(calloc(graph_tensor_count(g) + 1, sizeof *value));
    for (uint32_t i = 0; i < graph_tensor_count(g); i++) {
        const tensor *t = graph_tensor(g, i);
        value[i]        = need(calloc((size_t)t->elements + 1, sizeof **value));
        for (int64_t k = 0; k < t->elements; k++)
            value[i][k] = value_of(t, k);
    }
    *count = 0;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        *count += (size_t)graph_output(g, i)->elements;
    double *all = need(calloc(*count + 1, sizeof *all)), *at = all;
    interpretation *run = interpret_new(g, (const double *const *)value, 1);
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        size_t size = (size_t)graph_output(g, i)->elements;
        memcpy(at, interpret_output(run, i), size * sizeof *all);
        at += size;
    }
    interpret_free(run);
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        free(value[i]);
    free(value);
    return all;
}

/* Largest difference of the outputs relative to the largest value of each, where those of `wanted` are finite; infinite
 * where there `have` is not. */
static double difference_of(const graph *wanted, const graph *have) {
    size_t count, same, at = 0;
    double *a = results_of(wanted, &count), *b = results_of(have, &same), worst = 0;
    assert_int_equal(count, same);
    for (uint32_t i = 0; i < graph_output_count(wanted); i++) {
        size_t end   = at + (size_t)graph_output(wanted, i)->elements;
        double scale = 1e-3;
        for (size_t k = at; k < end; k++)
            scale = isfinite(a[k]) ? fmax(scale, fabs(a[k])) : scale;
        for (; at < end; at++)
            if (isfinite(a[at]))
                worst = isfinite(b[at]) ? fmax(worst, fabs(a[at] - b[at]) / scale) : INFINITY;
    }
    free(a);
    free(b);
    return worst;
}

/* Cost */

typedef struct measure {
    double operations, kept; /* the latter: bytes of reductions */
    size_t nodes;            /* with operands */
    unsigned by[REASONS];    /* nodes that are there for this reason */
} measure;

static void mark_needed(const graph *g, uint8_t *mark) {
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        mark[graph_output(g, i)->node] = 1;
    for (size_t n = graph_node_count(g); n > 0; n--) {
        node_view v = graph_view(g, (node)n);
        for (unsigned i = 0; mark[n] && i < v.child_count; i++)
            mark[v.child[i]] = 1;
    }
}

/* Of all outputs, gradients too. These become outputs of kind OUTPUT_VALUE, which cost.h counts. */
static measure measure_of(graph *g) {
    measure m     = {0};
    size_t nodes  = graph_node_count(g);
    uint8_t *mark = need(calloc(nodes + 1, 1));
    mark_needed(g, mark);
    for (node n = 1; n <= nodes; n++)
        if (mark[n]) {
            m.nodes += graph_view(g, n).child_count > 0;
            m.by[graph_reason(g, n, NULL)]++;
        }
    free(mark);
    uint32_t outputs = graph_output_count(g);
    for (uint32_t i = 0; i < outputs; i++) {
        output o = *graph_output(g, i);
        o.kind   = OUTPUT_VALUE;
        if (graph_output(g, i)->kind == OUTPUT_GRADIENT)
            graph_add_output(g, &o);
    }
    graph_drop_outputs(g, OUTPUT_GRADIENT);
    assert_int_equal(graph_output_count(g), outputs);
    cost *c      = cost_of(g, false);
    m.operations = (double)c->operations;
    m.kept       = (double)c->kept;
    cost_free(c);
    return m;
}

#endif
