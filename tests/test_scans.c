/* Scans of one and of several states: interpreter, machine code and derivative agree. */
#include "agree.h"

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

/* A generator of scans: expressions over the states before the step, tensors and each other's results, of random
 * kinds and index sets. A state is numbered by what it has: kind of index set and type. */
typedef struct generator {
    graph *g;
    uint32_t random;
    index_id t, n, d, e;
    node leaf[16];
    unsigned leaves, first_leaf; /* those from first_leaf on are of the scan being made */
} generator;

static uint32_t draw(generator *r, uint32_t below) {
    r->random = r->random * 1664525u + 1013904223u;
    return (r->random >> 12) % below;
}

/* n without indices that are not in `set`: read at one position or summed. */
static node fitted(generator *r, node n, index_set set) {
    graph *g = r->g;
    for (unsigned i = 0; i < graph_index_count(g); i++) {
        index_id index = (index_id)i;
        if (!((graph_view(g, n).free & ~set) >> i & 1))
            continue;
        if (graph_view(g, n).type == TYPE_FLOAT && draw(r, 2))
            n = scaled(g, 0.3, sum_over(g, index, n));
        else
            n = at(g, n, index, graph_int(g, draw(r, (uint32_t)graph_index_extent(g, index))));
    }
    return n;
}

static node number(generator *r, index_set set, unsigned depth);

static node condition(generator *r, index_set set, unsigned depth) {
    graph *g = r->g;
    for (unsigned tries = 0; tries < 4; tries++) {
        node n = r->leaf[draw(r, r->leaves)];
        if (graph_view(g, n).type == TYPE_BOOL)
            return fitted(r, n, set);
        if (graph_view(g, n).type == TYPE_INT)
            return graph_pointwise(g, NODE_LESS, fitted(r, n, set), graph_int(g, 3), NODE_NONE);
    }
    return graph_pointwise(g, NODE_LESS, number(r, set, depth), graph_float(g, 0.1), NODE_NONE);
}

static node number(generator *r, index_set set, unsigned depth) {
    graph *g = r->g;
    if (depth == 0) {
        node n = r->leaf[draw(r, r->leaves)];
        return graph_view(g, n).type == TYPE_FLOAT ? fitted(r, n, set) : graph_float(g, 0.25 * draw(r, 4));
    }
    node a = number(r, set, depth - 1);
    switch (draw(r, 7)) {
    case 0:
        return graph_add(g, scaled(g, 0.5, a), scaled(g, 0.4, number(r, set, depth - 1)));
    case 1:
        return tame(g, a, number(r, set, depth - 1));
    case 2:
        return scaled(g, 0.7, unary(g, NODE_TANH, a));
    case 3:
        return graph_select(g, condition(r, set, depth - 1), a, graph_float(g, 0));
    case 4: { /* a sum over an index that the result has not, where there is one */
        index_id i = draw(r, 2) ? r->d : r->e;
        return set & bit(i) ? a : scaled(g, 0.3, sum_over(g, i, graph_mul(g, a, number(r, set | bit(i), depth - 1))));
    }
    case 5: { /* turned along an index */
        index_id i  = draw(r, 2) ? r->d : r->e;
        node turned = graph_add(g, graph_index_value(g, i), graph_int(g, 1 + draw(r, 2)));
        if (!(set & bit(i)))
            return a;
        if (draw(r, 2)) /* else what is outside is 0 */
            turned = graph_pointwise(g, NODE_MOD, turned, graph_int(g, graph_index_extent(g, i)), NODE_NONE);
        return at(g, a, i, turned);
    }
    default:
        return scaled(g, 0.9, a);
    }
}

/* A scan over `over` of one to three states, which all have the indices `always`; its float states become leaves.
 * Inside one over t there may be one over n. */
static void add_scan(generator *r, index_id over, index_set always) {
    graph *g        = r->g;
    unsigned states = 1 + draw(r, 3), leaves = r->leaves;
    uint32_t label = graph_new_scan(g);
    bool reverse   = draw(r, 2);
    node previous[3], init[3], body[3], scan[3];
    index_set set[3];
    value_type type[3];
    for (unsigned k = 0; k < states; k++) {
        type[k] = k == 0 || draw(r, 3) ? TYPE_FLOAT : draw(r, 2) ? TYPE_INT : TYPE_BOOL;
        set[k]  = always | (draw(r, 3) ? bit(r->d) : 0) | (draw(r, 3) ? 0 : bit(r->e));
        init[k] = type[k] == TYPE_BOOL  ? graph_bool(g, draw(r, 2))
                  : type[k] == TYPE_INT ? graph_int(g, draw(r, 3))
                  : draw(r, 3)          ? number(r, set[k], draw(r, 2))
                                        : graph_float(g, draw(r, 2));
    }
    for (unsigned k = 0; k < states; k++)
        r->leaf[r->leaves++] = previous[k] = graph_scan_state(g, label, k, over, reverse, set[k], type[k]);
    if (over == r->t && draw(r, 2))
        add_scan(r, r->n, bit(r->t));
    for (unsigned k = 0; k < states; k++) {
        index_set here = set[k] | bit(over);
        node up        = type[k] == TYPE_FLOAT ? NODE_NONE : condition(r, here, 1);
        if (type[k] == TYPE_FLOAT)
            body[k] = k && !draw(r, 3)
                          ? fitted(r, graph_add(g, number(r, here, 1), scaled(g, 0.5, fitted(r, body[0], here))), here)
                          : number(r, here, 2 + draw(r, 2));
        else if (type[k] == TYPE_BOOL)
            body[k] = graph_pointwise(g, NODE_EQUAL, previous[k], up, NODE_NONE);
        else
            body[k] = graph_add(g, previous[k], graph_select(g, up, graph_int(g, 1), graph_int(g, 0)));
    }
    graph_scan_group(g, states, previous, init, body, scan);
    r->leaves = leaves;
    for (unsigned k = 0; k < states; k++)
        r->leaf[r->leaves++] = scan[k];
}

static void random_scans(void **state) {
    uint32_t seed = (uint32_t)(uintptr_t)*state;
    fixture f     = make(1 + seed % 5, 3);
    graph *g      = f.g;
    generator r   = {.g = g, .random = seed, .t = f.t, .d = f.d};
    r.n           = graph_index(g, "n", 3);
    r.e           = graph_index(g, "e", 2);
    node leaf[]   = {f.a, f.b, add_tensor(g, "w", TYPE_FLOAT, 0, 2, f.d, r.e),
                     add_tensor(g, "u", TYPE_FLOAT, 0, 1, f.d, 0)};
    for (; r.leaves < 4; r.leaves++)
        r.leaf[r.leaves] = leaf[r.leaves];
    draw(&r, 2);
    add_scan(&r, r.t, 0);
    unsigned first = 4;
    while (first + 1 < r.leaves && draw(&r, 2))
        first++;
    if (graph_view(g, r.leaf[first]).type == TYPE_FLOAT && seed % 3 == 0) { /* the derivative is what is derived */
        node gradient[4], square = graph_mul(g, r.leaf[first], r.leaf[first]);
        node loss = graph_reduce(g, REDUCE_SUM, graph_view(g, square).free, NODE_NONE, square);
        derive_gradients(g, loss, leaf, 4, gradient);
        for (unsigned k = 0; k < 4; k++)
            give(g, "gradient", gradient[k]);
    } else {
        give(g, "state", r.leaf[first]);
    }
    agree(&f, 1e-4);
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

enum { RANDOM_SCANS = 60 };

int main(void) {
    static char name[RANDOM_SCANS][24];
    struct CMUnitTest tests[RANDOM_SCANS + 32];
    size_t n   = 0;
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
    for (unsigned seed = 0; seed < RANDOM_SCANS; seed++) {
        snprintf(name[seed], sizeof name[seed], "random_scan_%u", seed);
        tests[n++] = (struct CMUnitTest){name[seed], random_scans, NULL, NULL, (void *)(uintptr_t)seed};
    }
    return _cmocka_run_group_tests("scans", tests, n, NULL, NULL);
}
