/* Every pointwise operation, reduction and other kind of node: interpreter, machine code and derivative agree. */
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
        double worst;
        FILE *nowhere = fopen("/dev/null", "w");
        gradcheck_run(g, (const double *const *)exact, 9, nowhere, &worst);
        fclose(nowhere);
        if (!(worst < 1e-6))
            print_message("worst finite difference %g\n", worst);
        assert_true(worst < 1e-6);
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

static void pointwise(void **state) {
    node_op op = (node_op)(uintptr_t)*state;
    fixture f  = make(7, 19);
    node x = f.a, y = f.b, z = NODE_NONE;
    if (op == NODE_LOG || op == NODE_SQRT || op == NODE_POW || op == NODE_LOG1P)
        x = f.positive;
    if (op == NODE_DIV)
        y = f.positive;
    if (op == NODE_MOD) {
        x = graph_sub(f.g, f.ids, graph_int(f.g, 3));
        y = graph_int(f.g, 4);
    }
    if (op == NODE_AND || op == NODE_OR || op == NODE_NOT || op == NODE_TO_FLOAT || op == NODE_SELECT) {
        node zero = graph_float(f.g, 0);
        x         = graph_pointwise(f.g, NODE_LESS, f.a, zero, NODE_NONE);
        if (op == NODE_SELECT)
            z = f.positive;
        else
            y = graph_pointwise(f.g, NODE_LESS, f.b, zero, NODE_NONE);
    }
    unsigned arity = graph_op_arity(op);
    give(f.g, "y", graph_pointwise(f.g, op, x, arity > 1 ? y : NODE_NONE, arity > 2 ? z : NODE_NONE));
    /* kinks of rounding and comparing have no derivative to check, but a derivative of 0 all the same */
    agree(&f, 2e-6);
}

static void reductions(void **state) {
    reduction r = (reduction)(uintptr_t)*state;
    fixture f   = make(9, 21);
    node x = f.a, at = graph_index_value(f.g, f.t), to = graph_index_value(f.g, f.s);
    if (r == REDUCE_ANY || r == REDUCE_ALL)
        x = graph_pointwise(f.g, NODE_LESS, f.a, f.b, NODE_NONE);
    index_id i   = f.t;
    node shifted = graph_gather(f.g, x, 1, &i, &to);
    node earlier = graph_pointwise(f.g, NODE_LESS, to, at, NODE_NONE); /* empty at t = 0 */
    give(f.g, "rows", graph_reduce(f.g, r, (index_set)1 << f.d, NODE_NONE, x));
    give(f.g, "columns", graph_reduce(f.g, r, (index_set)1 << f.t, NODE_NONE, x));
    give(f.g, "all", graph_reduce(f.g, r, (index_set)1 << f.t | (index_set)1 << f.d, NODE_NONE, x));
    node part = graph_reduce(f.g, r, (index_set)1 << f.s, earlier, shifted);
    /* an empty maximum is infinite: kept out of the sum that the derivative is taken of */
    if (r == REDUCE_MAX || r == REDUCE_MIN)
        part = graph_select(f.g, graph_pointwise(f.g, NODE_LESS, graph_int(f.g, 0), at, NODE_NONE), part,
                            graph_float(f.g, 0));
    give(f.g, "domain", part);
    agree(&f, 4e-6);
}

static void gathers(void **state) {
    (void)state;
    fixture f = make(11, 16);
    node d = graph_index_value(f.g, f.d), t = graph_index_value(f.g, f.t), s = graph_index_value(f.g, f.s);
    node turn = graph_pointwise(f.g, NODE_MOD, graph_add(f.g, d, graph_int(f.g, 8)), graph_int(f.g, 16), NODE_NONE);
    node back = graph_sub(f.g, t, graph_int(f.g, 3)), both[2] = {back, turn};
    node half     = graph_div(f.g, t, graph_int(f.g, 2));
    index_id i[2] = {f.t, f.d};
    give(f.g, "turned", graph_gather(f.g, f.a, 1, &f.d, &turn));
    give(f.g, "shifted", graph_gather(f.g, f.a, 1, &f.t, &back)); /* 0 before the first */
    give(f.g, "both", graph_gather(f.g, f.a, 2, i, both));
    give(f.g, "halved", graph_gather(f.g, f.a, 1, &f.t, &half));
    give(f.g, "table", graph_gather(f.g, f.b, 1, &f.t, &f.ids)); /* its gradient is a scatter */
    give(f.g, "diagonal", graph_mul(f.g, f.a, graph_gather(f.g, f.a, 1, &f.t, &s)));
    agree(&f, 2e-6);
}

static void scans(void **state) {
    bool reverse = (bool)(uintptr_t)*state;
    fixture f    = make(13, 8);
    node half = graph_float(f.g, 0.5), before = graph_previous(f.g, f.t, reverse, (index_set)1 << f.d, TYPE_FLOAT);
    node first = graph_reduce(f.g, REDUCE_SUM, (index_set)1 << f.t, NODE_NONE,
                              f.b); /* a state to begin with that has a gradient */
    /* mixes the components of the state and is not linear in it, gently enough not to amplify rounding */
    node sum  = graph_reduce(f.g, REDUCE_SUM, (index_set)1 << f.d, NODE_NONE, graph_mul(f.g, before, f.b));
    sum       = graph_mul(f.g, graph_float(f.g, 0.1), sum);
    node body = graph_add(f.g, graph_mul(f.g, half, graph_pointwise(f.g, NODE_TANH, before, NODE_NONE, NODE_NONE)),
                          graph_mul(f.g, f.a, graph_pointwise(f.g, NODE_SIN, sum, NODE_NONE, NODE_NONE)));
    give(f.g, "state", graph_scan(f.g, before, first, body));
    agree(&f, 1e-5);
}

static void selections(void **state) {
    (void)state;
    fixture f = make(12, 5);
    node t = graph_index_value(f.g, f.t), s = graph_index_value(f.g, f.s);
    index_id i   = f.t;
    node other   = graph_gather(f.g, f.a, 1, &i, &s);
    node score   = graph_reduce(f.g, REDUCE_SUM, (index_set)1 << f.d, NODE_NONE, graph_mul(f.g, f.b, other));
    node rounded = graph_pointwise(f.g, NODE_FLOOR, score, NODE_NONE, NODE_NONE); /* many ties */
    node causal  = graph_pointwise(f.g, NODE_LESS_EQUAL, s, t, NODE_NONE);
    give(f.g, "ties", graph_topk(f.g, f.s, causal, rounded, 4));
    node chosen = graph_topk(f.g, f.s, causal, score, 3);
    give(f.g, "sum", graph_reduce(f.g, REDUCE_SUM, (index_set)1 << f.s, chosen, score));
    agree(&f, 4e-6);
}

static void random_numbers(void **state) {
    (void)state;
    fixture f = make(33, 17);
    node draw = graph_random(f.g, graph_new_random(f.g), (index_set)1 << f.t | (index_set)1 << f.d);
    give(f.g, "uniform", draw);
    give(f.g, "dropout",
         graph_select(f.g, graph_pointwise(f.g, NODE_LESS, draw, graph_float(f.g, 0.25), NODE_NONE),
                      graph_float(f.g, 0), f.a));
    agree(&f, 1e-7);
}

/* Scores that a mask excludes may be so high that their exponentials are infinite: neither the result nor the
 * derivative may see them, with a second mask on top. */
static void masked_overflow(void **state) {
    (void)state;
    fixture f = make(16, 8);
    graph *g  = f.g;
    node t = graph_index_value(g, f.t), s = graph_index_value(g, f.s), zero = graph_float(g, 0);
    index_id i     = f.t;
    index_set keys = (index_set)1 << f.s, width = (index_set)1 << f.d;
    node causal = graph_pointwise(g, NODE_LESS_EQUAL, s, t, NODE_NONE);
    node slope  = graph_mul(g, graph_float(g, 12), graph_pointwise(g, NODE_TO_FLOAT, s, NODE_NONE, NODE_NONE));
    node score  = graph_reduce(g, REDUCE_SUM, width, NODE_NONE, graph_mul(g, f.b, graph_gather(g, f.a, 1, &i, &s)));
    score       = graph_add(g, score, slope);
    node most   = graph_pointwise(g, NODE_STOP, graph_reduce(g, REDUCE_MAX, keys, causal, score), NODE_NONE, NODE_NONE);
    node e      = graph_pointwise(g, NODE_EXP, graph_sub(g, score, most), NODE_NONE, NODE_NONE);
    node p      = graph_select(g, causal, graph_div(g, e, graph_reduce(g, REDUCE_SUM, keys, causal, e)), zero);
    node draw   = graph_random(g, graph_new_random(g), (index_set)1 << f.t | keys);
    p           = graph_select(g, graph_pointwise(g, NODE_LESS, draw, graph_float(g, 0.25), NODE_NONE), zero, p);
    give(g, "attention",
         graph_reduce(g, REDUCE_SUM, keys, NODE_NONE, graph_mul(g, p, graph_gather(g, f.b, 1, &i, &s))));
    /* the same through a choice: both of its branches stand under the mask */
    node up     = graph_pointwise(g, NODE_LESS, graph_float(g, 0.5), e, NODE_NONE);
    node choice = graph_select(g, up, graph_mul(g, e, graph_float(g, 2)), graph_mul(g, e, e));
    give(g, "choice", graph_reduce(g, REDUCE_SUM, keys, NODE_NONE, graph_select(g, causal, choice, zero)));
    agree(&f, 4e-5); /* scores near 200 are rounded to 1e-5 */
}

/* exp and log at the ends of their ranges. */
static void extremes(void **state) {
    (void)state;
    static const float value[] = {0,    -0.0f, 1,        -1,        88,  89,     200,    -87,   -100,
                                  -104, -200,  INFINITY, -INFINITY, NAN, 1e-38f, 1e-40f, 3e38f, 1e-7f};
    enum { COUNT = sizeof value / sizeof *value };
    graph *g      = graph_new();
    index_id t    = graph_index(g, "t", COUNT);
    node x        = add_tensor(g, "x", TYPE_FLOAT, 0, 1, t, 0);
    node_op op[3] = {NODE_EXP, NODE_LOG, NODE_LOG1P};
    float result[3][COUNT];
    void *out[3]      = {result[0], result[1], result[2]};
    const void *in[1] = {value};
    char error[256];
    for (int i = 0; i < 3; i++)
        give(g, graph_op_name(op[i]), graph_pointwise(g, op[i], x, NODE_NONE, NODE_NONE));
    compiled *code = compile_graph(g, &(compile_options){0}, error, sizeof error);
    assert_non_null(code);
    assert_true(compiled_run(code, in, out, 0));
    for (int k = 0; k < COUNT; k++) {
        float wanted[3] = {expf(value[k]), logf(value[k]), log1pf(value[k])};
        for (int i = 0; i < 3; i++) {
            float have = result[i][k];
            bool ok    = have == wanted[i] || (isnan(have) && isnan(wanted[i])) ||
                      fabsf(have - wanted[i]) <= 4e-7f * fabsf(wanted[i]) + 3e-45f;
            if (!ok)
                print_message("%s(%g) = %.9g, not %.9g\n", graph_op_name(op[i]), value[k], have, wanted[i]);
            assert_true(ok);
        }
    }
    compiled_free(code);
    graph_free(g);
}

int main(void) {
    static char name[NODE_REDUCE][40];
    struct CMUnitTest tests[NODE_REDUCE + 16];
    size_t n = 0;
    for (node_op op = NODE_ADD; op < NODE_REDUCE; op++) {
        snprintf(name[op], sizeof name[op], "operation_%s", graph_op_name(op));
        if (op != NODE_STOP)
            tests[n++] = (struct CMUnitTest){name[op], pointwise, NULL, NULL, (void *)(uintptr_t)op};
    }
    static const char *const reduction_name[] = {"reduce_sum", "reduce_product", "reduce_max",
                                                 "reduce_min", "reduce_any",     "reduce_all"};
    for (reduction r = REDUCE_SUM; r <= REDUCE_ALL; r++)
        tests[n++] = (struct CMUnitTest){reduction_name[r], reductions, NULL, NULL, (void *)(uintptr_t)r};
    tests[n++] = (struct CMUnitTest){"gathers", gathers, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"scan_forward", scans, NULL, NULL, (void *)0};
    tests[n++] = (struct CMUnitTest){"scan_reverse", scans, NULL, NULL, (void *)1};
    tests[n++] = (struct CMUnitTest){"selections", selections, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"random_numbers", random_numbers, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"masked_overflow", masked_overflow, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"extremes", extremes, NULL, NULL, NULL};
    return _cmocka_run_group_tests("operations", tests, n, NULL, NULL);
}
