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

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

static node unary(graph *g, node_op op, node a) {
    return graph_pointwise(g, op, a, NODE_NONE, NODE_NONE);
}

static node scaled(graph *g, double by, node a) {
    return graph_mul(g, graph_float(g, by), a);
}

static node sum_over(graph *g, index_id i, node a) {
    return graph_reduce(g, REDUCE_SUM, bit(i), NODE_NONE, a);
}

static node at(graph *g, node a, index_id i, node where) {
    return graph_gather(g, a, 1, &i, &where);
}

/* a*b at every step, kept small */
static node tame(graph *g, node a, node b) {
    return scaled(g, 0.3, unary(g, NODE_SIN, graph_mul(g, a, b)));
}

/* Two numbers that turn each other. */
static void two_numbers(void **state) {
    bool reverse = (bool)(uintptr_t)*state;
    fixture f    = make(11, 4);
    graph *g     = f.g;
    uint32_t l   = graph_new_scan(g);
    node x = sum_over(g, f.d, f.a), y = sum_over(g, f.d, f.b), scan[2];
    node p[2]    = {graph_scan_state(g, l, 0, f.t, reverse, 0, TYPE_FLOAT),
                    graph_scan_state(g, l, 1, f.t, reverse, 0, TYPE_FLOAT)};
    node body[2] = {graph_add(g, graph_sub(g, scaled(g, 0.6, p[0]), scaled(g, 0.7, p[1])), x),
                    graph_add(g, graph_add(g, scaled(g, 0.7, p[0]), tame(g, p[1], p[0])), y)};
    node init[2] = {graph_float(g, 0), graph_float(g, 1)};
    graph_scan_group(g, 2, p, init, body, scan);
    assert_int_equal(scan[1], scan[0] + 1);
    assert_int_equal(graph_scan_states(g, l), 2);
    assert_int_equal(graph_scan_init(g, scan[1]), init[1]);
    assert_int_equal(graph_scan_body(g, scan[0]), body[0]);
    give(g, "x", scan[0]);
    give(g, "y", scan[1]);
    agree(&f, 1e-5);
}

/* A vector and a matrix, each made from the other's previous value; only one of them is an output. */
static void vector_and_matrix(void **state) {
    int wanted   = (int)(uintptr_t)*state;
    fixture f    = make(9, 6);
    graph *g     = f.g;
    index_id e   = graph_index(g, "e", 5);
    uint32_t l   = graph_new_scan(g);
    node w       = add_tensor(g, "w", TYPE_FLOAT, 0, 2, f.d, e), scan[2];
    node p[2]    = {graph_scan_state(g, l, 0, f.t, false, bit(f.d), TYPE_FLOAT),
                    graph_scan_state(g, l, 1, f.t, false, bit(f.d) | bit(e), TYPE_FLOAT)};
    node read    = sum_over(g, e, graph_mul(g, p[1], w));   /* d */
    node key     = sum_over(g, f.d, graph_mul(g, p[0], w)); /* e */
    node body[2] = {graph_add(g, scaled(g, 0.2, unary(g, NODE_TANH, read)), f.a),
                    graph_add(g, scaled(g, 0.8, p[1]), tame(g, graph_mul(g, f.b, p[0]), key))};
    node init[2] = {graph_float(g, 0), w};
    graph_scan_group(g, 2, p, init, body, scan);
    give(g, "vector", scan[0]);
    if (wanted == 2)
        give(g, "matrix", scan[1]);
    agree(&f, 2e-5);
}

/* Three states from the end backwards in a ring: an adjoint reaches the third only through the second. */
static void three_states(void **state) {
    (void)state;
    fixture f  = make(10, 5);
    graph *g   = f.g;
    uint32_t l = graph_new_scan(g);
    node p[3], scan[3];
    for (unsigned k = 0; k < 3; k++)
        p[k] = graph_scan_state(g, l, k, f.t, true, k == 1 ? 0 : bit(f.d), TYPE_FLOAT);
    node body[3] = {graph_add(g, scaled(g, 0.5, p[0]), graph_mul(g, f.a, p[1])),
                    scaled(g, 0.3, sum_over(g, f.d, graph_mul(g, f.b, p[2]))), graph_add(g, tame(g, f.b, p[0]), p[2])};
    node init[3] = {graph_float(g, 0.5), graph_float(g, 0.1), graph_float(g, 0.2)};
    graph_scan_group(g, 3, p, init, body, scan);
    give(g, "first", scan[0]);
    agree(&f, 2e-5);
}

/* States that nothing wanted depends on, that are copies of another's, or that read nothing of the scan. */
static void idle_states(void **state) {
    (void)state;
    fixture f  = make(8, 5);
    graph *g   = f.g;
    uint32_t l = graph_new_scan(g);
    node p[5], scan[5];
    for (unsigned k = 0; k < 5; k++)
        p[k] = graph_scan_state(g, l, k, f.t, false, bit(f.d), TYPE_FLOAT);
    node main    = graph_add(g, scaled(g, 0.5, p[0]), graph_mul(g, p[2], f.a));
    node body[5] = {main, graph_add(g, p[1], p[0]), p[4], main, graph_float(g, 0.7)};
    node init[5] = {graph_float(g, 0), graph_float(g, 0), f.b, graph_float(g, 0), graph_float(g, 0)};
    init[2]      = sum_over(g, f.t, f.b);
    graph_scan_group(g, 5, p, init, body, scan);
    give(g, "main", scan[0]);
    give(g, "copy", scan[3]);
    agree(&f, 1e-5);
}

/* One state reads the other's value after the step, element by element and in a sum. */
static void new_value(void **state) {
    (void)state;
    fixture f    = make(9, 7);
    graph *g     = f.g;
    index_id e   = graph_index(g, "e", 7);
    uint32_t l   = graph_new_scan(g);
    node w       = add_tensor(g, "w", TYPE_FLOAT, 0, 2, f.d, e), scan[3];
    node p[3]    = {graph_scan_state(g, l, 0, f.t, false, bit(f.d), TYPE_FLOAT),
                    graph_scan_state(g, l, 1, f.t, false, bit(e), TYPE_FLOAT),
                    graph_scan_state(g, l, 2, f.t, false, bit(f.d), TYPE_FLOAT)};
    node after   = graph_add(g, scaled(g, 0.9, p[0]), graph_mul(g, f.a, sum_over(g, e, graph_mul(g, w, p[1]))));
    node mixed   = graph_add(g, scaled(g, 0.4, p[1]), scaled(g, 0.2, sum_over(g, f.d, graph_mul(g, after, w))));
    node last    = graph_sub(g, graph_mul(g, after, f.b), scaled(g, 0.5, p[2]));
    node body[3] = {after, mixed, last}, zero = graph_float(g, 0), init[3] = {zero, graph_float(g, 1), zero};
    graph_scan_group(g, 3, p, init, body, scan);
    for (unsigned k = 0; k < 3; k++)
        give(g, k == 0 ? "after" : k == 1 ? "mixed" : "last", scan[k]);
    agree(&f, 4e-5);
}

/* A counter of steps with a positive sum, which says where the other state reads. */
static void counter(void **state) {
    (void)state;
    fixture f  = make(12, 5);
    graph *g   = f.g;
    uint32_t l = graph_new_scan(g);
    node scan[2], p[2] = {graph_scan_state(g, l, 0, f.t, false, 0, TYPE_INT),
                          graph_scan_state(g, l, 1, f.t, false, bit(f.d), TYPE_FLOAT)};
    node up    = graph_pointwise(g, NODE_LESS, graph_float(g, 0), sum_over(g, f.d, f.b), NODE_NONE);
    node count = graph_add(g, p[0], graph_select(g, up, graph_int(g, 1), graph_int(g, 0)));
    node there = at(g, f.a, f.t, p[0]); /* of another step than this one */
    node turned =
        graph_pointwise(g, NODE_MOD, graph_add(g, graph_index_value(g, f.d), p[0]), graph_int(g, 5), NODE_NONE);
    node body[2] = {count, graph_add(g, scaled(g, 0.5, at(g, p[1], f.d, turned)), graph_mul(g, there, f.b))};
    node init[2] = {graph_int(g, 0), graph_float(g, 0)};
    graph_scan_group(g, 2, p, init, body, scan);
    give(g, "count", scan[0]);
    give(g, "sum", scan[1]);
    agree(&f, 1e-5);
}

/* Conditions as states: one alone, and one that decides what another forgets. */
static void conditions(void **state) {
    (void)state;
    fixture f = make(12, 6);
    graph *g  = f.g;
    node zero = graph_float(g, 0), high = graph_pointwise(g, NODE_LESS, graph_float(g, 0.5), f.a, NODE_NONE);
    node before = graph_previous(g, f.t, true, bit(f.d), TYPE_BOOL);
    give(g, "ever", graph_scan(g, before, graph_bool(g, false), graph_pointwise(g, NODE_OR, before, high, NODE_NONE)));
    uint32_t l = graph_new_scan(g);
    node scan[2], p[2] = {graph_scan_state(g, l, 0, f.t, false, bit(f.d), TYPE_BOOL),
                          graph_scan_state(g, l, 1, f.t, false, bit(f.d), TYPE_FLOAT)};
    node flip    = graph_pointwise(g, NODE_EQUAL, p[0], high, NODE_NONE);
    node body[2] = {flip, graph_add(g, graph_select(g, p[0], p[1], zero), graph_mul(g, f.a, f.b))};
    node init[2] = {graph_bool(g, true), zero};
    graph_scan_group(g, 2, p, init, body, scan);
    give(g, "flip", scan[0]);
    give(g, "kept", scan[1]);
    agree(&f, 1e-5);
}

/* A state that begins with 0 and stands under a condition of its own: both conditions are one. */
static void resets(void **state) {
    (void)state;
    fixture f = make(11, 6);
    graph *g  = f.g;
    node zero = graph_float(g, 0), keep = graph_pointwise(g, NODE_LESS, f.b, graph_float(g, 0.3), NODE_NONE);
    node before = graph_previous(g, f.t, false, bit(f.d), TYPE_FLOAT);
    node body   = graph_add(g, graph_mul(g, f.a, graph_select(g, keep, before, zero)), f.b);
    give(g, "kept", graph_scan(g, before, zero, body));
    agree(&f, 1e-5);
}

/* In every step an iteration of its own, two states of it, from the outer state and back into it. */
static void iteration_inside(void **state) {
    int kind   = (int)(uintptr_t)*state; /* 0: the iteration begins with the outer state, 1: reads it in every round */
    fixture f  = make(6, 5);
    graph *g   = f.g;
    index_id n = graph_index(g, "n", 4);
    node outer = graph_previous(g, f.t, false, bit(f.d), TYPE_FLOAT), zero = graph_float(g, 0);
    uint32_t l = graph_new_scan(g);
    node scan[2], p[2] = {graph_scan_state(g, l, 0, n, false, bit(f.d) | bit(f.t), TYPE_FLOAT),
                          graph_scan_state(g, l, 1, n, false, bit(f.t), TYPE_FLOAT)};
    node other   = kind ? outer : f.b;
    node body[2] = {graph_add(g, scaled(g, 0.4, unary(g, NODE_TANH, p[0])), graph_mul(g, scaled(g, 0.2, p[1]), other)),
                    scaled(g, 0.3, sum_over(g, f.d, graph_mul(g, p[0], f.a)))};
    node init[2] = {kind ? zero : outer, graph_float(g, 1)};
    graph_scan_group(g, 2, p, init, body, scan);
    node last = at(g, scan[0], n, graph_int(g, 3));
    give(g, "outer", graph_scan(g, outer, graph_float(g, 0.2), graph_add(g, last, f.a)));
    agree(&f, 2e-5);
}

/* The iteration depends on nothing of the outer scan's state: it is done for all steps at once. */
static void iteration_beside(void **state) {
    (void)state;
    fixture f  = make(6, 5);
    graph *g   = f.g;
    index_id n = graph_index(g, "n", 3);
    node p     = graph_previous(g, n, true, bit(f.d) | bit(f.t), TYPE_FLOAT);
    node root  = graph_scan(g, p, f.positive,
                            scaled(g, 0.5, graph_add(g, p, graph_div(g, f.positive, p)))); /* Heron's square root */
    node outer = graph_previous(g, f.t, false, bit(f.d), TYPE_FLOAT);
    node body  = graph_add(g, tame(g, outer, at(g, root, n, graph_int(g, 0))), f.b);
    give(g, "outer", graph_scan(g, outer, graph_float(g, 0.2), body));
    agree(&f, 1e-5);
}

/* A scan of one step, whose states begin with the same tensor, or one with what the other begins with. */
static void one_step(void **state) {
    (void)state;
    fixture f     = make(7, 5);
    graph *g      = f.g;
    index_id i    = graph_index(g, "one", 1);
    uint32_t l    = graph_new_scan(g);
    index_set all = bit(f.t) | bit(f.d);
    node scan[3], p[3];
    for (unsigned k = 0; k < 3; k++)
        p[k] = graph_scan_state(g, l, k, i, false, all, TYPE_FLOAT);
    node body[3] = {graph_mul(g, p[1], graph_add(g, p[0], f.b)), tame(g, p[0], p[2]), graph_add(g, p[2], f.a)};
    node init[3] = {f.a, f.a, graph_mul(g, f.a, f.b)};
    graph_scan_group(g, 3, p, init, body, scan);
    give(g, "x", scan[0]);
    give(g, "y", scan[1]);
    give(g, "z", scan[2]);
    agree(&f, 1e-5);
}

/* What both states begin with has a gradient; only the state after the last step is read. */
static void last_state(void **state) {
    bool reverse = (bool)(uintptr_t)*state;
    fixture f    = make(9, 5);
    graph *g     = f.g;
    index_id e   = graph_index(g, "e", 3);
    node u = add_tensor(g, "u", TYPE_FLOAT, 0, 1, f.d, 0), m = add_tensor(g, "m", TYPE_FLOAT, 0, 2, f.d, e);
    uint32_t l = graph_new_scan(g);
    node scan[2], p[2] = {graph_scan_state(g, l, 0, f.t, reverse, bit(f.d), TYPE_FLOAT),
                          graph_scan_state(g, l, 1, f.t, reverse, bit(f.d) | bit(e), TYPE_FLOAT)};
    node body[2] = {graph_add(g, scaled(g, 0.5, p[0]), tame(g, f.a, sum_over(g, e, p[1]))),
                    graph_add(g, scaled(g, 0.9, p[1]), tame(g, p[0], f.b))};
    node init[2] = {u, m}, end = graph_int(g, reverse ? 0 : 8);
    graph_scan_group(g, 2, p, init, body, scan);
    give(g, "end", at(g, scan[0], f.t, end));
    agree(&f, 2e-5);
}

/* The derivative of a derivative. */
static void second_derivative(void **state) {
    int kind   = (int)(uintptr_t)*state;
    fixture f  = make(5, 3);
    graph *g   = f.g;
    uint32_t l = graph_new_scan(g);
    node scan[2], p[2] = {graph_scan_state(g, l, 0, f.t, false, bit(f.d), TYPE_FLOAT),
                          graph_scan_state(g, l, 1, f.t, false, kind ? bit(f.d) : 0, TYPE_FLOAT)};
    node other   = kind ? p[1] : scaled(g, 0.3, sum_over(g, f.d, graph_mul(g, p[0], f.b)));
    node body[2] = {graph_add(g, tame(g, p[0], p[1]), f.a), kind ? graph_add(g, tame(g, p[0], f.b), p[1]) : other};
    node init[2] = {sum_over(g, f.t, f.b), graph_float(g, 0.4)}, of[2] = {f.a, f.b}, gradient[2];
    graph_scan_group(g, 2, p, init, body, scan);
    node square = graph_mul(g, scan[0], graph_mul(g, scan[0], scan[1]));
    node loss   = graph_reduce(g, REDUCE_SUM, bit(f.t) | bit(f.d), NODE_NONE, square);
    derive_gradients(g, loss, of, 2, gradient);
    give(g, "first", gradient[0]);
    give(g, "second", gradient[1]);
    agree(&f, 4e-5);
}

/* A state of many indices that the step reads twice, summed over different ones, beside a chosen part of itself. */
static void many_indices(void **state) {
    (void)state;
    graph *g   = graph_new();
    fixture f  = {.g = g};
    index_id b = graph_index(g, "b", 2), h = graph_index(g, "h", 2), t = graph_index(g, "t", 4);
    index_id i = graph_index(g, "i", 3), j = graph_index(g, "j", 4), k = graph_index(g, "k", 2);
    index_id e = graph_index(g, "e", 5);
    node x = add_tensor(g, "x", TYPE_FLOAT, 0, 2, t, i), y = add_tensor(g, "y", TYPE_FLOAT, 0, 2, b, e);
    node z = add_tensor(g, "z", TYPE_FLOAT, 0, 2, h, j), w = add_tensor(g, "w", TYPE_FLOAT, 0, 2, k, e);
    index_set all = bit(b) | bit(h) | bit(i) | bit(j) | bit(k) | bit(e);
    node s        = graph_previous(g, t, false, all, TYPE_FLOAT);
    node over_ij  = graph_reduce(g, REDUCE_SUM, bit(i) | bit(j), NODE_NONE, graph_mul(g, s, x));
    node over_ke  = graph_reduce(g, REDUCE_SUM, bit(k) | bit(e), NODE_NONE, graph_mul(g, s, w));
    node new      = graph_mul(g, graph_mul(g, x, y), graph_mul(g, z, w));
    node body     = graph_add(g, scaled(g, 0.5, s), graph_add(g, tame(g, scaled(g, 0.02, over_ij), over_ke), new));
    node scan     = graph_scan(g, s, graph_mul(g, y, z), body);
    give(g, "state", graph_reduce(g, REDUCE_SUM, bit(i) | bit(k), NODE_NONE, scan));
    agree(&f, 4e-5);
}

/* Selections of the state, random numbers, and reads of the state at positions that an input names. */
static void chosen_inside(void **state) {
    (void)state;
    fixture f  = make(8, 6);
    graph *g   = f.g;
    index_id e = graph_index(g, "e", 6);
    node keys  = add_tensor(g, "keys", TYPE_INT, 6, 1, f.t, 0), scan[2];
    uint32_t l = graph_new_scan(g);
    node p[2]  = {graph_scan_state(g, l, 0, f.t, false, bit(f.d), TYPE_FLOAT),
                  graph_scan_state(g, l, 1, f.t, false, bit(e), TYPE_FLOAT)};
    node here = graph_index_value(g, f.d), there = graph_index_value(g, e);
    node best    = graph_topk(g, f.d, NODE_NONE, graph_add(g, p[0], f.b), 2);
    node draw    = graph_random(g, graph_new_random(g), bit(f.t) | bit(f.d));
    node dropped = graph_select(g, graph_pointwise(g, NODE_LESS, draw, graph_float(g, 0.3), NODE_NONE),
                                graph_float(g, 0), at(g, p[1], e, here));
    node hit     = graph_pointwise(g, NODE_EQUAL, there, keys, NODE_NONE);
    node read    = at(g, p[0], f.d, keys);
    node body[2] = {graph_add(g, graph_add(g, f.a, scaled(g, 0.5, dropped)),
                              graph_select(g, best, scaled(g, 0.5, p[0]), graph_float(g, 0))),
                    graph_add(g, scaled(g, 0.7, p[1]), graph_select(g, hit, read, graph_float(g, 0)))};
    node init[2] = {sum_over(g, f.t, f.b), graph_float(g, 0)};
    graph_scan_group(g, 2, p, init, body, scan);
    give(g, "values", scan[0]);
    give(g, "memory", scan[1]);
    agree(&f, 1e-5);
}

/* The verifier sees a state that reads outside its scan, and prints tell the states apart. */
static void printed_states(void **state) {
    (void)state;
    fixture f  = make(3, 2);
    graph *g   = f.g;
    uint32_t l = graph_new_scan(g);
    node scan[2], zero = graph_float(g, 0), init[2] = {zero, zero};
    node p[2]    = {graph_scan_state(g, l, 0, f.t, false, bit(f.d), TYPE_FLOAT),
                    graph_scan_state(g, l, 1, f.t, false, bit(f.d), TYPE_FLOAT)};
    node body[2] = {graph_add(g, p[1], f.a), graph_mul(g, p[0], f.b)};
    graph_scan_group(g, 2, p, init, body, scan);
    give(g, "y", scan[1]);
    char error[256], *text = NULL;
    size_t size = 0;
    assert_true(graph_verify(g, error, sizeof error));
    FILE *file = open_memstream(&text, &size);
    graph_print(g, file);
    fclose(file);
    assert_non_null(strstr(text, "previous.1.0 t"));
    assert_non_null(strstr(text, "previous.1.1 t"));
    assert_non_null(strstr(text, "scan.1.1 t from"));
    free(text);
    give(g, "open", p[0]);
    graph_set_output_node(g, 0, f.a);
    assert_false(graph_verify(g, error, sizeof error));
    assert_non_null(strstr(error, "a state outside its scan"));
    graph_free(g);
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
    struct CMUnitTest tests[NODE_REDUCE + 40];
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
    tests[n++] = (struct CMUnitTest){"two_numbers_forward", two_numbers, NULL, NULL, (void *)0};
    tests[n++] = (struct CMUnitTest){"two_numbers_reverse", two_numbers, NULL, NULL, (void *)1};
    tests[n++] = (struct CMUnitTest){"vector_and_matrix", vector_and_matrix, NULL, NULL, (void *)2};
    tests[n++] = (struct CMUnitTest){"vector_of_a_matrix", vector_and_matrix, NULL, NULL, (void *)1};
    tests[n++] = (struct CMUnitTest){"three_states", three_states, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"idle_states", idle_states, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"new_value", new_value, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"counter", counter, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"conditions", conditions, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"resets", resets, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"iteration_from_outside", iteration_inside, NULL, NULL, (void *)0};
    tests[n++] = (struct CMUnitTest){"iteration_reads_outside", iteration_inside, NULL, NULL, (void *)1};
    tests[n++] = (struct CMUnitTest){"iteration_beside", iteration_beside, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"one_step", one_step, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"last_state_forward", last_state, NULL, NULL, (void *)0};
    tests[n++] = (struct CMUnitTest){"last_state_reverse", last_state, NULL, NULL, (void *)1};
    tests[n++] = (struct CMUnitTest){"second_derivative", second_derivative, NULL, NULL, (void *)0};
    tests[n++] = (struct CMUnitTest){"second_derivative_alike", second_derivative, NULL, NULL, (void *)1};
    tests[n++] = (struct CMUnitTest){"many_indices", many_indices, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"chosen_inside", chosen_inside, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"printed_states", printed_states, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"selections", selections, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"random_numbers", random_numbers, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"masked_overflow", masked_overflow, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"extremes", extremes, NULL, NULL, NULL};
    return _cmocka_run_group_tests("operations", tests, n, NULL, NULL);
}
