/* The derivative of products: exact where factors are 0, in time linear in their number, inside scans as well.
 * Interpreter, machine code, derivative and finite differences agree. */
#include "agree.h"
#include "cost.h"

static node product(graph *g, index_set over, node domain, node a) {
    return graph_reduce(g, REDUCE_PRODUCT, over, domain, a);
}

static node is(graph *g, index_id i, int64_t value) {
    return graph_pointwise(g, NODE_EQUAL, graph_index_value(g, i), graph_int(g, value), NODE_NONE);
}

static node below(graph *g, node a, node b) {
    return graph_pointwise(g, NODE_LESS, a, b, NODE_NONE);
}

/* a, but 0 where the condition holds, with the derivative 1 there as elsewhere: finite differences hold STOPs. */
static node with_zeros(graph *g, node a, node condition) {
    return graph_sub(g, a, graph_select(g, condition, unary(g, NODE_STOP, a), graph_float(g, 0)));
}

/* Factors away from 0 of a size whose products neither vanish nor grow. */
static node factors(fixture *f) {
    return graph_add(f->g, graph_float(f->g, 0.7), scaled(f->g, 0.5, unary(f->g, NODE_TANH, f->a)));
}

/* With no, one, two or only factors that are 0 in some rows: where there are two every derivative is 0, where there is
 * one only its own is not. */
static void zeros(void **state) {
    int kind       = (int)(uintptr_t)*state;
    fixture f      = make(5, 9);
    graph *g       = f.g;
    node here      = graph_index_value(g, f.t);
    node condition = graph_bool(g, false);
    if (kind == 1) /* the first, the last, one between; rows without */
        condition =
            graph_pointwise(g, NODE_EQUAL, graph_index_value(g, f.d), graph_mul(g, here, graph_int(g, 4)), NODE_NONE);
    if (kind == 2)
        condition = graph_pointwise(g, NODE_OR, is(g, f.d, 2), graph_and(g, is(g, f.d, 6), is(g, f.t, 3)), NODE_NONE);
    if (kind == 3)
        condition = is(g, f.t, 2);
    node x = with_zeros(g, factors(&f), condition);
    give(g, "y", graph_mul(g, product(g, bit(f.d), NODE_NONE, x), f.b));
    agree(&f, 1e-5);
}

/* The derivative itself, where the factors are 2, 0, 3 and where they are 2, 0, 0. */
static void by_hand(void **state) {
    (void)state;
    graph *g   = graph_new();
    index_id i = graph_index(g, "i", 3), k = graph_index(g, "k", 2);
    node x = add_tensor(g, "x", TYPE_FLOAT, 0, 2, k, i), gradient;
    node y = graph_reduce(g, REDUCE_SUM, bit(k), NODE_NONE, product(g, bit(i), NODE_NONE, x));
    derive_gradients(g, y, &x, 1, &gradient);
    output o = {.name = "gradient", .kind = OUTPUT_VALUE, .rank = 2, .index = {k, i}, .node = gradient};
    graph_add_output(g, &o);
    const double value[] = {2, 0, 3, 2, 0, 0}, wanted[] = {0, 6, 0, 0, 0, 0}, *in[] = {value};
    interpretation *run = interpret_new(g, in, 1);
    for (unsigned n = 0; n < 6; n++)
        assert_true(interpret_output(run, 0)[n] == wanted[n]);
    interpret_free(run);
    graph_free(g);
}

/* Domains of indices, of data, one that is empty in a row, and one outside which the factors are infinite. */
static void domains(void **state) {
    int kind  = (int)(uintptr_t)*state;
    fixture f = make(8, 8);
    graph *g  = f.g;
    node x = factors(&f), t = graph_index_value(g, f.t), d = graph_index_value(g, f.d);
    node causal = graph_pointwise(g, NODE_LESS_EQUAL, d, t, NODE_NONE), data = below(g, graph_float(g, 0.2), f.b);
    node domain = kind == 0 ? causal : kind == 1 ? data : graph_and(g, below(g, d, t), data);
    if (kind == 3) {
        domain = below(g, graph_float(g, 0), f.b);
        x      = graph_add(g, x, unary(g, NODE_LOG, graph_select(g, domain, f.positive, graph_float(g, 0))));
    }
    x = with_zeros(g, x, graph_and(g, is(g, f.d, 1), is(g, f.t, 4)));
    give(g, "y", product(g, bit(f.d), domain, x));
    agree(&f, 1e-5);
}

/* Over two and three indices, with a domain that ties them, and factors that do not depend on all of them. */
static void several_indices(void **state) {
    int kind   = (int)(uintptr_t)*state;
    fixture f  = make(4, 3);
    graph *g   = f.g;
    index_id e = graph_index(g, "e", 3);
    node w = add_tensor(g, "w", TYPE_FLOAT, 0, 2, f.d, e), domain = NODE_NONE;
    node x = graph_add(g, factors(&f), scaled(g, 0.1, w));
    if (kind == 1)
        domain = below(g, graph_index_value(g, f.d), graph_index_value(g, f.t));
    if (kind == 2)
        x = with_zeros(g, x, graph_and(g, is(g, f.t, 2), graph_and(g, is(g, f.d, 1), is(g, e, 0))));
    if (kind == 3) {
        x      = factors(&f);
        domain = below(g, graph_index_value(g, e), graph_index_value(g, f.d));
    }
    give(g, "two", graph_mul(g, product(g, bit(f.d) | bit(f.t), domain, x), f.b));
    give(g, "three", product(g, bit(f.d) | bit(f.t) | bit(e), domain, x));
    agree(&f, 1e-5);
}

/* An index of one value, alone and beside another. */
static void one_value(void **state) {
    (void)state;
    fixture f    = make(4, 3);
    graph *g     = f.g;
    index_id one = graph_index(g, "one", 1);
    node x       = graph_add(g, factors(&f), add_tensor(g, "w", TYPE_FLOAT, 0, 2, f.d, one));
    give(g, "alone", product(g, bit(one), NODE_NONE, x));
    give(g, "both", product(g, bit(one) | bit(f.d), NODE_NONE, x));
    agree(&f, 1e-5);
}

/* A state whose step multiplies over its own elements; with several indices; in a scan from the end; beside another
 * state; where an element of the state is 0. */
static void inside_a_scan(void **state) {
    int kind   = (int)(uintptr_t)*state;
    fixture f  = make(6, 4);
    graph *g   = f.g;
    index_id e = graph_index(g, "e", 3);
    uint32_t l = graph_new_scan(g);
    node w     = add_tensor(g, "w", TYPE_FLOAT, 0, 2, f.d, e), scan[2];
    node p[2]  = {graph_scan_state(g, l, 0, f.t, kind == 2, bit(f.d), TYPE_FLOAT),
                  graph_scan_state(g, l, 1, f.t, kind == 2, bit(e), TYPE_FLOAT)};
    node x     = graph_add(g, scaled(g, 0.4, unary(g, NODE_TANH, p[0])), factors(&f));
    node first = graph_float(g, 0.3);
    if (kind == 1) { /* the first step multiplies the state itself */
        first = with_zeros(g, graph_reduce(g, REDUCE_SUM, bit(f.t), NODE_NONE, f.b), is(g, f.d, 2));
        x     = graph_select(g, is(g, f.t, 0), p[0], x);
    }
    node all     = product(g, bit(f.d), NODE_NONE, x);
    node both    = product(g, bit(f.d) | bit(e), below(g, graph_float(g, -0.5), w),
                           graph_add(g, graph_float(g, 0.8), scaled(g, 0.2, graph_mul(g, p[0], p[1]))));
    node row     = product(g, bit(f.d), NODE_NONE, graph_add(g, scaled(g, 0.3, w), x)); /* e */
    node body[2] = {graph_add(g, scaled(g, 0.5, p[0]), graph_mul(g, f.b, all)),
                    graph_add(g, scaled(g, 0.4, p[1]), graph_mul(g, row, both))};
    node init[2] = {first, graph_float(g, 0.5)};
    graph_scan_group(g, 2, p, init, body, scan);
    give(g, "x", scan[0]);
    if (kind != 3)
        give(g, "y", scan[1]);
    agree(&f, 4e-5);
}

/* What is inside a scan's body but does not depend on its state, and what a scan begins with. */
static void beside_a_scan(void **state) {
    (void)state;
    fixture f  = make(6, 4);
    graph *g   = f.g;
    node first = product(g, bit(f.t), NODE_NONE, factors(&f)), p = graph_previous(g, f.t, false, bit(f.d), TYPE_FLOAT);
    node body = graph_add(g, scaled(g, 0.5, p), graph_mul(g, f.b, product(g, bit(f.d), NODE_NONE, factors(&f))));
    give(g, "x", graph_scan(g, p, first, body));
    agree(&f, 1e-5);
}

/* The derivative of the derivative: with zeros, over two indices, of a product inside a scan. */
static void second_derivative(void **state) {
    int kind  = (int)(uintptr_t)*state;
    fixture f = make(3, 4);
    graph *g  = f.g;
    node x = factors(&f), y, of[2] = {f.a, f.b}, gradient[2];
    if (kind == 0) {
        x = with_zeros(g, x, graph_pointwise(g, NODE_OR, is(g, f.d, 1), is(g, f.t, 2), NODE_NONE));
        y = graph_mul(g, product(g, bit(f.d), NODE_NONE, x), f.b);
    } else if (kind == 1) {
        y = product(g, bit(f.d) | bit(f.t), below(g, graph_float(g, -0.5), f.b), graph_add(g, x, scaled(g, 0.2, f.b)));
    } else {
        node p = graph_previous(g, f.t, false, bit(f.d), TYPE_FLOAT);
        node m = product(g, bit(f.d), NODE_NONE, graph_add(g, x, scaled(g, 0.3, p)));
        y      = graph_scan(g, p, graph_float(g, 0.2), graph_add(g, scaled(g, 0.5, p), graph_mul(g, f.b, m)));
    }
    node square = graph_mul(g, y, y);
    node loss   = graph_reduce(g, REDUCE_SUM, graph_view(g, square).free, NODE_NONE, square);
    derive_gradients(g, loss, of, 2, gradient);
    give(g, "first", gradient[0]);
    if (kind != 1)
        give(g, "second", gradient[1]);
    agree(&f, 4e-5);
}

/* Operations of the derivative of a product of n factors, of n by 3 with `both`. */
static double operations(int64_t n, bool both) {
    fixture f = make(n, 3);
    graph *g  = f.g;
    node x    = graph_add(g, f.a, graph_float(g, 1)), gradient;
    node y    = product(g, bit(f.t) | (both ? bit(f.d) : 0), NODE_NONE, x);
    derive_gradients(g, graph_reduce(g, REDUCE_SUM, graph_view(g, y).free, NODE_NONE, y), &f.a, 1, &gradient);
    give(g, "gradient", gradient);
    cost *c = cost_of(g, false);
    assert_true(c->exact);
    double count = (double)c->operations;
    cost_free(c);
    graph_free(g);
    return count;
}

/* For each factor its own sum, a step of two scans and their product; over two indices the same again for the rows. */
static void linear_work(void **state) {
    (void)state;
    assert_true(operations(50, false) == 4 * 50 * 3);
    assert_true(operations(100, false) == 4 * 100 * 3);
    double small = operations(50, true), large = operations(100, true);
    assert_true(large == 2 * small && small <= 10 * 50 * 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"no_zeros", zeros, NULL, NULL, (void *)0},
        {"a_zero", zeros, NULL, NULL, (void *)1},
        {"two_zeros", zeros, NULL, NULL, (void *)2},
        {"only_zeros", zeros, NULL, NULL, (void *)3},
        {"by_hand", by_hand, NULL, NULL, NULL},
        {"causal_domain", domains, NULL, NULL, (void *)0},
        {"domain_of_data", domains, NULL, NULL, (void *)1},
        {"empty_domain", domains, NULL, NULL, (void *)2},
        {"infinite_outside", domains, NULL, NULL, (void *)3},
        {"several_indices", several_indices, NULL, NULL, (void *)0},
        {"several_with_domain", several_indices, NULL, NULL, (void *)1},
        {"several_with_zero", several_indices, NULL, NULL, (void *)2},
        {"index_of_domain_only", several_indices, NULL, NULL, (void *)3},
        {"one_value", one_value, NULL, NULL, NULL},
        {"inside_a_scan", inside_a_scan, NULL, NULL, (void *)0},
        {"zero_inside_a_scan", inside_a_scan, NULL, NULL, (void *)1},
        {"inside_a_reverse_scan", inside_a_scan, NULL, NULL, (void *)2},
        {"inside_one_state", inside_a_scan, NULL, NULL, (void *)3},
        {"beside_a_scan", beside_a_scan, NULL, NULL, NULL},
        {"second_derivative", second_derivative, NULL, NULL, (void *)0},
        {"second_of_several", second_derivative, NULL, NULL, (void *)1},
        {"second_inside_a_scan", second_derivative, NULL, NULL, (void *)2},
        {"linear_work", linear_work, NULL, NULL, NULL},
    };
    return _cmocka_run_group_tests("product", tests, sizeof tests / sizeof *tests, NULL, NULL);
}
