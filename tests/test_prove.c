/* Proofs about index expressions: the accesses that specs make, their witnesses, and random systems against
 * enumeration. */
/* cmocka needs these before it */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "expressions.h"
#include "interpret.h"
#include "prove.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double slowest, total;
static unsigned asked;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int begin(void **state) {
    (void)state;
    g       = graph_new();
    slowest = total = 0;
    asked           = 0;
    return 0;
}

static int end(void **state) {
    (void)state;
    graph_free(g);
    print_message("    %u proofs, %.4f ms each, at most %.3f ms\n", asked, asked ? total / asked : 0, slowest);
    return 0;
}

static void count_time(double since) {
    double took = now() - since;
    total += took;
    slowest = took > slowest ? took : slowest;
    asked++;
}

static index_id over(const char *name, int64_t extent) {
    return graph_index(g, name, extent);
}

static node at(const char *name, int64_t extent) {
    return graph_index_value(g, over(name, extent));
}

static node plus(node a, node b) {
    return graph_add(g, a, b);
}

static node times(node a, node b) {
    return graph_mul(g, a, b);
}

static node modulo(node a, node b) {
    return two(NODE_MOD, a, b);
}

static node tensor_of(const char *name, value_type type, int64_t below, unsigned rank, index_id i, index_id k) {
    tensor t = {
        .name = (char *)name, .kind = TENSOR_INPUT, .type = type, .below = below, .rank = rank, .index = {i, k}};
    return graph_tensor(g, graph_add_tensor(g, &t))->node;
}

/* 0 <= e < extent under up to two facts. */
static proof access_under(node e, int64_t extent, node fact, node fact2, witness *w) {
    node facts[2] = {fact, fact2};
    double since  = now();
    proof answer  = prove_within(g, e, 0, extent - 1, facts, !fact ? 0 : !fact2 ? 1 : 2, w);
    count_time(since);
    return answer;
}

static void holds(node e, int64_t extent, node fact, node fact2) {
    witness w;
    assert_int_equal(access_under(e, extent, fact, fact2, &w), PROOF_HOLDS);
}

/* It fails first at the values given of the indices given, in their order, with this value of e. */
static void fails(node e, int64_t extent, node fact, unsigned count, const index_id *index, const int64_t *where,
                  int64_t value, bool data) {
    witness w;
    memset(&w, 0x5a, sizeof w);
    assert_int_equal(access_under(e, extent, fact, NODE_NONE, &w), PROOF_FAILS);
    assert_int_equal(w.count, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(w.index[i], index[i]);
        assert_int_equal(w.at[i], where[i]);
    }
    assert_int_equal(w.value, value);
    assert_int_equal(w.data, data);
}

static proof goal_under(node goal, node fact) {
    witness w;
    double since = now();
    proof answer = prove_holds(g, goal, &fact, fact ? 1 : 0, &w);
    count_time(since);
    return answer;
}

static void shifts(void **state) {
    (void)state;
    node t = at("t", 13), c = at("c", 4), zero = number(0), back = minus(t, c), step = minus(t, number(1));
    index_id t_id = over("t", 13), c_id = over("c", 4), both_ids[2] = {t_id, c_id};
    holds(back, 13, at_most(zero, back), NODE_NONE);
    fails(back, 13, NODE_NONE, 2, both_ids, (int64_t[]){0, 1}, -1, false);
    fails(step, 13, NODE_NONE, 1, &t_id, (int64_t[]){0}, -1, false);
    holds(step, 13, at_most(number(1), t), NODE_NONE);
    holds(step, 13, less(zero, t), NODE_NONE);
    holds(step, 13, deny(equal(t, zero)), NODE_NONE);
    holds(step, 13, deny(deny(deny(equal(zero, t)))), NODE_NONE);
    fails(plus(t, number(1)), 13, NODE_NONE, 1, &t_id, (int64_t[]){12}, 13, false);
    holds(plus(t, number(1)), 13, less(t, number(12)), NODE_NONE);
    holds(plus(t, number(1)), 13, deny(equal(t, number(12))), NODE_NONE);
    holds(minus(number(12), t), 13, NODE_NONE, NODE_NONE);
    fails(minus(number(13), t), 13, NODE_NONE, 1, &t_id, (int64_t[]){0}, 13, false);
    holds(two(NODE_MAXIMUM, minus(t, number(5)), zero), 13, NODE_NONE, NODE_NONE);
    holds(two(NODE_MINIMUM, plus(t, number(5)), number(12)), 13, NODE_NONE, NODE_NONE);
    fails(two(NODE_MINIMUM, plus(t, number(5)), number(13)), 13, NODE_NONE, 1, &t_id, (int64_t[]){8}, 13, false);
    holds(one(NODE_ABS, minus(t, number(12))), 13, NODE_NONE, NODE_NONE);
    node choice = graph_select(g, at_most(c, t), back, zero);
    holds(choice, 13, NODE_NONE, NODE_NONE);
    fails(graph_select(g, at_most(c, plus(t, number(1))), back, zero), 13, NODE_NONE, 2, both_ids, (int64_t[]){0, 1},
          -1, false);
}

static void two_positions(void **state) {
    (void)state;
    node t = at("t", 1024), s = at("s", 1024), distance = minus(t, s);
    index_id ids[2] = {over("t", 1024), over("s", 1024)};
    holds(distance, 1024, at_most(s, t), NODE_NONE);
    fails(distance, 1024, NODE_NONE, 2, ids, (int64_t[]){0, 1}, -1, false);
    holds(two(NODE_MINIMUM, distance, number(31)), 32, at_most(s, t), NODE_NONE);
    holds(distance, 64, both(at_most(s, t), at_most(distance, number(63))), NODE_NONE);
    fails(distance, 63, both(at_most(s, t), at_most(distance, number(63))), 2, ids, (int64_t[]){63, 0}, 63, false);
    /* a prefix that all see: s <= t or s < 7 */
    node prefix = either(at_most(s, t), less(s, number(7)));
    holds(plus(distance, number(6)), 1024 + 6, prefix, NODE_NONE);
    fails(plus(distance, number(5)), 1024 + 6, prefix, 2, ids, (int64_t[]){0, 6}, -1, false);
    /* contradictions prove anything */
    holds(number(-5), 1, less(s, t), less(t, s));
    holds(t, 1, both(less(s, t), at_most(t, s)), NODE_NONE);
    node facts[2] = {less(s, t), less(t, s)};
    assert_int_equal(prove_satisfiable(g, facts, 2), PROOF_FAILS);
    assert_int_equal(prove_satisfiable(g, facts, 1), PROOF_HOLDS);
    assert_int_equal(prove_satisfiable(g, NULL, 0), PROOF_HOLDS);
}

static void blocks_and_rotations(void **state) {
    (void)state;
    for (int64_t n = 1; n <= 12; n++)
        for (int64_t m = 1; m <= 9; m++) {
            graph_free(g); /* there are more indices than a graph may have */
            g      = graph_new();
            node i = at("i", n), j = at("j", m), p = at("p", n * m);
            holds(plus(times(i, number(m)), j), n * m, NODE_NONE, NODE_NONE);
            holds(graph_div(g, p, number(m)), n, NODE_NONE, NODE_NONE);
            holds(modulo(p, number(m)), m, NODE_NONE, NODE_NONE);
            holds(modulo(plus(i, number(n / 2)), number(n)), n, NODE_NONE, NODE_NONE);
            node back = plus(times(graph_div(g, p, number(m)), number(m)), modulo(p, number(m)));
            assert_int_equal(goal_under(equal(back, p), NODE_NONE), PROOF_HOLDS);
            node pair = plus(times(i, number(m)), j);
            assert_int_equal(goal_under(equal(graph_div(g, pair, number(m)), i), NODE_NONE), PROOF_HOLDS);
            assert_int_equal(goal_under(equal(modulo(pair, number(m)), j), NODE_NONE), PROOF_HOLDS);
            if (n * m > 1) {
                witness w;
                assert_int_equal(access_under(pair, n * m - 1, NODE_NONE, NODE_NONE, &w), PROOF_FAILS);
                assert_int_equal(w.value, n * m - 1);
            }
        }
}

static void groups_of_heads(void **state) {
    (void)state;
    unsigned bad = 0;
    for (int64_t heads = 1; heads <= 24; heads++)
        for (int64_t groups = 1; groups <= 24; groups++) {
            witness w;
            node h = at("h", heads), e = graph_div(g, times(h, number(groups)), number(heads));
            holds(e, groups, NODE_NONE, NODE_NONE);
            /* a group of heads / groups rounded down: too small a divisor where it does not fit */
            int64_t size = heads / groups;
            if (size == 0)
                continue;
            proof answer = access_under(graph_div(g, h, number(size)), groups, NODE_NONE, NODE_NONE, &w);
            bool fits    = (heads - 1) / size < groups;
            assert_int_equal(answer, fits ? PROOF_HOLDS : PROOF_FAILS);
            bad += !fits;
            if (!fits) {
                assert_int_equal(w.at[0], groups * size);
                assert_int_equal(w.value, groups);
            }
        }
    assert_true(bad > 20);
    index_id group = over("group", 8);
    fails(at("group", 8), 4, NODE_NONE, 1, &group, (int64_t[]){4}, 4, false);
}

static void nested_division(void **state) {
    (void)state;
    node p = at("p", 3 * 5 * 7), q = graph_div(g, graph_div(g, p, number(7)), number(5));
    holds(q, 3, NODE_NONE, NODE_NONE);
    assert_int_equal(goal_under(equal(q, graph_div(g, p, number(35))), NODE_NONE), PROOF_HOLDS);
    holds(modulo(graph_div(g, p, number(7)), number(5)), 5, NODE_NONE, NODE_NONE);
    node back = plus(times(q, number(35)),
                     plus(times(modulo(graph_div(g, p, number(7)), number(5)), number(7)), modulo(p, number(7))));
    assert_int_equal(goal_under(equal(back, p), NODE_NONE), PROOF_HOLDS);
    node x = minus(p, number(50)); /* below zero: rounds down */
    holds(plus(graph_div(g, x, number(7)), number(8)), 16, NODE_NONE, NODE_NONE);
    holds(modulo(x, number(7)), 7, NODE_NONE, NODE_NONE);
    holds(modulo(modulo(x, number(9)), number(4)), 4, NODE_NONE, NODE_NONE);
    /* twice a number is not odd */
    node i = at("i", 1 << 30), k = at("k", 1 << 30), odd = plus(times(k, number(2)), number(1));
    assert_int_equal(goal_under(deny(equal(times(i, number(2)), odd)), NODE_NONE), PROOF_HOLDS);
    holds(number(-1), 1, equal(times(i, number(2)), number(7)), NODE_NONE);
    assert_int_equal(goal_under(equal(modulo(times(i, number(6)), number(3)), number(0)), NODE_NONE), PROOF_HOLDS);
}

static void products(void **state) {
    (void)state;
    node i = at("i", 300), j = at("j", 500), p = times(i, j);
    holds(p, 300 * 500, NODE_NONE, NODE_NONE);
    holds(p, 299 * 499 + 1, NODE_NONE, NODE_NONE);
    witness w;
    assert_int_equal(access_under(p, 299 * 499, NODE_NONE, NODE_NONE, &w), PROOF_FAILS);
    assert_int_equal(w.value, 299 * 499);
    holds(times(minus(i, number(7)), minus(i, number(7))), 300 * 300, NODE_NONE, NODE_NONE);
    node t = at("t", 1 << 20), s = at("s", 1 << 20);
    holds(times(minus(t, s), plus(i, number(1))), (int64_t)1 << 30, at_most(s, t), NODE_NONE);
}

static void large(void **state) {
    (void)state;
    int64_t huge = (int64_t)1 << 30, beyond = (int64_t)1 << 62;
    node t = at("t", huge), s = at("s", huge), b = at("b", huge);
    index_id ids[2] = {over("t", huge), over("s", huge)};
    holds(minus(t, s), huge, at_most(s, t), NODE_NONE);
    fails(minus(t, s), huge, NODE_NONE, 2, ids, (int64_t[]){0, 1}, -1, false);
    holds(plus(times(t, number(huge)), s), huge * huge, NODE_NONE, NODE_NONE);
    fails(plus(t, number(1)), huge, NODE_NONE, 1, ids, (int64_t[]){huge - 1}, huge, false);
    fails(minus(t, number(1000000)), huge, at_most(number(999999), t), 1, ids, (int64_t[]){999999}, -1, false);
    holds(minus(t, s), huge, both(less(s, b), less(b, t)), NODE_NONE);
    fails(minus(minus(t, s), number(2)), huge, less(s, t), 2, ids, (int64_t[]){1, 0}, -1, false);
    holds(minus(minus(t, s), number(2)), huge, both(less(s, b), less(b, t)), NODE_NONE);
    node many  = times(at("n", 9), number(beyond));
    index_id n = over("n", 9);
    fails(many, 10, NODE_NONE, 1, &n, (int64_t[]){1}, beyond, false);
    fails(many, INT64_MAX, NODE_NONE, 1, &n, (int64_t[]){2}, INT64_MAX, false);
    holds(minus(many, many), 1, NODE_NONE, NODE_NONE);
    witness w; /* no crash, whatever the numbers */
    int64_t extreme[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    for (unsigned i = 0; i < 7; i++)
        for (unsigned k = 0; k < 7; k++)
            for (node_op op = NODE_ADD; op <= NODE_MAXIMUM; op++) {
                node e = two(op, plus(t, number(extreme[i])), times(s, number(extreme[k])));
                access_under(e, INT64_MAX, less(two(op, e, number(extreme[k])), number(extreme[i])), NODE_NONE, &w);
                access_under(two(op, t, number(extreme[i])), extreme[k] < 1 ? 1 : extreme[k], NODE_NONE, NODE_NONE, &w);
            }
}

static void data(void **state) {
    (void)state;
    index_id t_id = over("t", 64), s_id = over("s", 64);
    node t = at("t", 64), s = at("s", 64);
    node ids  = tensor_of("ids", TYPE_INT, 50, 1, t_id, 0);
    node mask = tensor_of("mask", TYPE_FLOAT, 0, 1, s_id, 0);
    holds(ids, 50, NODE_NONE, NODE_NONE);
    fails(ids, 49, NODE_NONE, 1, &t_id, (int64_t[]){0}, 49, true);
    node at_s = graph_gather(g, ids, 1, &t_id, &s);
    holds(at_s, 50, NODE_NONE, NODE_NONE);
    holds(minus(ids, number(3)), 47, at_most(number(3), ids), NODE_NONE);
    fails(minus(ids, number(1)), 50, NODE_NONE, 1, &t_id, (int64_t[]){0}, -1, true);
    index_id pair[2] = {t_id, s_id};
    /* two reads of one element are equal: they differ at other places only */
    fails(minus(ids, at_s), 50, NODE_NONE, 2, pair, (int64_t[]){0, 1}, -1, true);
    assert_int_equal(goal_under(equal(ids, at_s), equal(s, t)), PROOF_HOLDS);
    /* a read outside is 0 */
    node far = plus(t, number(64)), outside = graph_gather(g, ids, 1, &t_id, &far);
    holds(outside, 1, NODE_NONE, NODE_NONE);
    /* conditions of real numbers: a fact that may hold, or its own denial */
    node open = less(graph_float(g, 0), mask);
    fails(minus(s, number(1)), 64, open, 1, &s_id, (int64_t[]){0}, -1, true);
    holds(minus(s, number(1)), 64, open, deny(open));
    holds(minus(s, number(1)), 64, open, both(either(deny(open), less(number(0), s)), at_most(s, t)));
    fails(minus(s, number(1)), 64, either(open, less(number(0), s)), 1, &s_id, (int64_t[]){0}, -1, true);
    /* a selection is within its domain, also where it is read elsewhere */
    node best = graph_topk(g, s_id, at_most(s, t), mask, 4);
    holds(minus(t, s), 64, best, NODE_NONE);
    node shifted = minus(s, number(1)), moved = graph_gather(g, best, 1, &s_id, &shifted);
    holds(shifted, 64, moved, NODE_NONE);
    holds(minus(t, shifted), 64, moved, NODE_NONE);
    fails(minus(t, s), 64, deny(best), 2, pair, (int64_t[]){0, 1}, -1, false);
    /* a named condition about data, read elsewhere: the part about indices is used */
    node named = both(at_most(s, t), open), named_at = graph_gather(g, named, 1, &s_id, &shifted);
    holds(minus(t, shifted), 64, named_at, NODE_NONE);
    holds(shifted, 64, named_at, NODE_NONE);
}

static void reductions(void **state) {
    (void)state;
    index_id s_id = over("s", 64), u_id = over("u", 64);
    node t = at("t", 64), s = at("s", 64);
    node mask      = tensor_of("mask", TYPE_FLOAT, 0, 1, s_id, 0);
    index_set on_s = (index_set)1 << s_id;
    node last      = graph_reduce(g, REDUCE_MAX, on_s, at_most(s, t), minus(t, s));
    holds(last, 64, NODE_NONE, NODE_NONE);
    assert_int_equal(goal_under(at_most(last, t), NODE_NONE), PROOF_HOLDS);
    node best = graph_topk(g, s_id, at_most(s, t), mask, 1), argmax = graph_reduce(g, REDUCE_MIN, on_s, best, s);
    holds(argmax, 64, NODE_NONE, NODE_NONE);
    holds(minus(t, argmax), 64, NODE_NONE, NODE_NONE);
    witness w;
    node open = less(graph_float(g, 0), mask), first = graph_reduce(g, REDUCE_MIN, on_s, open, s);
    assert_int_not_equal(access_under(first, 64, NODE_NONE, NODE_NONE, &w), PROOF_HOLDS); /* may be empty */
    node empty = graph_reduce(g, REDUCE_MAX, on_s, less(s, t), s);
    assert_int_not_equal(access_under(empty, 64, NODE_NONE, NODE_NONE, &w), PROOF_HOLDS); /* is, at t = 0 */
    holds(empty, 64, less(number(0), t), NODE_NONE);
    node count = graph_reduce(g, REDUCE_SUM, on_s, open, number(1));
    holds(count, 65, NODE_NONE, NODE_NONE);
    assert_int_not_equal(access_under(count, 64, NODE_NONE, NODE_NONE, &w), PROOF_HOLDS);
    /* some s below t with … : then t is not 0 */
    node some = graph_reduce(g, REDUCE_ANY, on_s, less(s, t), open);
    holds(minus(t, number(1)), 64, some, NODE_NONE);
    node all = graph_reduce(g, REDUCE_ALL, on_s, at_most(t, s), open);
    holds(t, 64, deny(all), NODE_NONE);
    /* an index that is bound and free at once */
    node shadow     = graph_reduce(g, REDUCE_ANY, on_s, equal(s, number(3)), open);
    index_id ids[1] = {s_id};
    fails(s, 60, shadow, 1, ids, (int64_t[]){60}, 60, true);
    node u = graph_index_value(g, u_id);
    assert_int_equal(
        goal_under(graph_reduce(g, REDUCE_ANY, (index_set)1 << u_id, at_most(u, t), equal(u, t)), NODE_NONE),
        PROOF_HOLDS);
}

static node scan_of(node init, node (*step)(node before, node t), node t) {
    index_id t_id = over("t", 64);
    node before   = graph_previous(g, t_id, false, 0, TYPE_INT);
    return graph_scan(g, before, init, step(before, t));
}

static node last_marked(node before, node t) {
    node marks = tensor_of("marks", TYPE_INT, 2, 1, over("t", 64), 0);
    return graph_select(g, equal(marks, number(1)), t, before);
}

static node counted(node before, node t) {
    (void)t;
    return two(NODE_MINIMUM, plus(before, number(1)), number(31));
}

static node walked(node before, node t) {
    return modulo(plus(before, t), number(10));
}

static node added(node before, node t) {
    return plus(before, t);
}

/* The state of an integer recurrence is within bounds that every step keeps. */
static void recurrences(void **state) {
    (void)state;
    node t = at("t", 64), position = scan_of(number(0), last_marked, t), count = scan_of(number(0), counted, t);
    witness w;
    holds(position, 64, NODE_NONE, NODE_NONE);
    holds(count, 32, NODE_NONE, NODE_NONE);
    holds(scan_of(number(3), walked, t), 10, NODE_NONE, NODE_NONE);
    assert_int_not_equal(access_under(count, 31, NODE_NONE, NODE_NONE, &w), PROOF_HOLDS);
    assert_int_not_equal(access_under(position, 63, NODE_NONE, NODE_NONE, &w), PROOF_HOLDS);
    assert_int_not_equal(access_under(scan_of(number(-1), last_marked, t), 64, NODE_NONE, NODE_NONE, &w), PROOF_HOLDS);
    node sum = scan_of(number(0), added, t);
    assert_int_not_equal(access_under(sum, 2000, NODE_NONE, NODE_NONE, &w), PROOF_HOLDS);
    holds(plus(sum, number(1)), INT64_MAX, at_most(sum, number(5)), NODE_NONE);
    node back     = minus(t, number(1)); /* the state one step earlier */
    index_id t_id = over("t", 64);
    holds(graph_gather(g, count, 1, &t_id, &back), 32, NODE_NONE, NODE_NONE);
}

static proof inhabited(index_set vars, node domain, node fact, witness *w) {
    double since = now();
    proof answer = prove_inhabited(g, vars, domain, &fact, fact ? 1 : 0, w);
    count_time(since);
    return answer;
}

static void domains(void **state) {
    (void)state;
    index_id b_id = over("b", 2), t_id = over("t", 4096), s_id = over("s", 4096), c_id = over("c", 256);
    node t = at("t", 4096), s = at("s", 4096), c = at("c", 256);
    node doc_s = tensor_of("doc", TYPE_INT, 9, 2, b_id, s_id), doc_t = graph_gather(g, doc_s, 1, &s_id, &t);
    node mask = tensor_of("mask", TYPE_FLOAT, 0, 1, s_id, 0), open = less(graph_float(g, 0), mask);
    index_set on_s = (index_set)1 << s_id, on_c = (index_set)1 << c_id;
    witness w;
    node back = minus(t, s), window = both(at_most(number(0), back), at_most(back, number(127)));
    assert_int_equal(inhabited(on_s, at_most(s, t), NODE_NONE, &w), PROOF_HOLDS);
    assert_int_equal(inhabited(on_s, window, NODE_NONE, &w), PROOF_HOLDS);
    assert_int_equal(inhabited(on_s, both(window, equal(doc_s, doc_t)), NODE_NONE, &w), PROOF_HOLDS);
    assert_int_equal(inhabited(on_s, graph_topk(g, s_id, window, mask, 8), NODE_NONE, &w), PROOF_HOLDS);
    assert_int_equal(inhabited(on_s, both(graph_topk(g, s_id, window, mask, 8), at_most(s, t)), NODE_NONE, &w),
                     PROOF_HOLDS);
    assert_int_equal(inhabited(on_s, equal(graph_div(g, s, number(16)), c), NODE_NONE, &w), PROOF_HOLDS);
    assert_int_equal(inhabited(on_c, equal(graph_div(g, t, number(16)), c), NODE_NONE, &w), PROOF_HOLDS);
    assert_int_equal(inhabited(on_s | on_c, both(at_most(s, t), at_most(times(c, number(16)), s)), NODE_NONE, &w),
                     PROOF_HOLDS);
    assert_int_equal(inhabited(on_s, at_most(two(NODE_MAXIMUM, minus(t, number(9)), number(0)), s), NODE_NONE, &w),
                     PROOF_HOLDS);
    assert_int_equal(inhabited(on_s, less(s, t), less(number(0), t), &w), PROOF_HOLDS);
    assert_int_equal(inhabited(on_s, less(t, s), less(t, number(4095)), &w), PROOF_HOLDS);
    assert_int_equal(inhabited(on_s, less(s, t), NODE_NONE, &w), PROOF_FAILS);
    assert_true(w.count == 1 && w.index[0] == t_id && w.at[0] == 0 && !w.data);
    assert_int_equal(inhabited(on_s, less(t, s), NODE_NONE, &w), PROOF_FAILS);
    assert_true(w.count == 1 && w.at[0] == 4095);
    /* chunks that end before t: none at the first fifteen positions */
    node ended = at_most(plus(times(c, number(16)), number(15)), t);
    assert_int_equal(inhabited(on_c, ended, NODE_NONE, &w), PROOF_FAILS);
    assert_true(w.count == 1 && w.index[0] == t_id && w.at[0] == 0);
    assert_int_equal(inhabited(on_c, ended, at_most(number(15), t), &w), PROOF_HOLDS);
    assert_int_equal(inhabited(on_s, open, NODE_NONE, &w), PROOF_FAILS);
    assert_true(w.data);
    assert_int_equal(inhabited(on_s, open, graph_reduce(g, REDUCE_ANY, on_s, open, graph_bool(g, true)), &w),
                     PROOF_HOLDS);
    assert_int_equal(inhabited(on_s, graph_bool(g, false), NODE_NONE, &w), PROOF_FAILS);
    assert_int_equal(inhabited(on_s, graph_bool(g, false), less(t, number(0)), &w), PROOF_HOLDS);
}

/* Whatever is asked is answered soon. */
static void bounded_time(void **state) {
    (void)state;
    witness w;
    node e = number(0), f = graph_bool(g, true), deep = at("i0", 1 << 20);
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "i%d", i);
        node x = at(name, 1 << 20), y = modulo(times(x, x), number(97 + i));
        e    = plus(e, two(NODE_MAXIMUM, y, minus(number(50), x)));
        f    = both(f, either(less(y, x), deny(equal(modulo(e, number(7)), number(3)))));
        deep = plus(deep, deep);
    }
    node doubled = less(deep, number(100)); /* 2^40 terms when written out */
    inhabited((index_set)1 << over("i0", 1 << 20), doubled, at_most(at("i1", 1 << 20), deep), &w);
    for (int i = 0; i < 100000; i++)
        deep = one(NODE_ABS, minus(deep, number(i)));
    access_under(e, 5000, f, NODE_NONE, &w);
    access_under(deep, 5000, f, less(deep, e), &w);
    node facts[45]; /* the pigeonhole principle: no nine different numbers below eight */
    unsigned count = 0;
    for (unsigned i = 0; i < 9; i++)
        for (unsigned k = 0; k <= i; k++) {
            char name[16], other[16];
            snprintf(name, sizeof name, "i%u", i);
            snprintf(other, sizeof other, "i%u", k);
            node x = at(name, 1 << 20), y = at(other, 1 << 20);
            facts[count++] = i == k ? less(x, number(8)) : deny(equal(x, y));
        }
    double since = now();
    assert_int_not_equal(prove_satisfiable(g, facts, count), PROOF_HOLDS);
    count_time(since);
    assert_true(slowest < 1000); /* also with sanitizers on a busy machine; the message tells the real time */
}

/* Random systems against enumeration */

static uint64_t random_state;

static unsigned draw(unsigned below) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % below;
}

enum { VARIABLES = 3 };
static int64_t extent[VARIABLES], value[VARIABLES];
static node variable[VARIABLES];

/* With data: an integer tensor ids[x], a real one mask[y]; NODE_NONE: without. */
static node ids, mask;
static node random_condition(unsigned size);
static node random_expression(unsigned size);

static index_id random_index(void) {
    return over((const char *[]){"x", "y", "z"}[0], extent[0]) + (index_id)draw(VARIABLES);
}

static node random_read(void) {
    index_id x = over("x", extent[0]);
    node e     = random_expression(draw(2));
    return draw(2) ? ids : graph_gather(g, ids, 1, &x, &e);
}

static node random_reduction(void) {
    node domain = random_condition(1), body = random_expression(1);
    index_set vars = (index_set)1 << random_index();
    if (draw(3) == 0)
        vars |= (index_set)1 << random_index();
    return graph_reduce(g, (reduction[]){REDUCE_MAX, REDUCE_MIN, REDUCE_SUM, REDUCE_PRODUCT}[draw(4)], vars, domain,
                        body);
}

static node random_data_condition(void) {
    node open = less(graph_float(g, 0.5), mask), e = random_expression(1);
    index_id y = over("y", extent[1]), i = random_index();
    switch (draw(5)) {
    case 0:
        return open;
    case 1:
        return graph_topk(g, y, draw(2) ? random_condition(1) : NODE_NONE, mask, 1);
    case 2:
        return graph_gather(g, graph_topk(g, y, random_condition(1), mask, 1), 1, &y, &e);
    case 3:
        return graph_gather(g, both(random_condition(1), open), 1, &i, &e);
    default: {
        node domain = random_condition(1), body = draw(2) ? open : random_condition(1);
        return graph_reduce(g, draw(2) ? REDUCE_ANY : REDUCE_ALL, (index_set)1 << i, domain, body);
    }
    }
}

static node random_expression(unsigned size) {
    if (ids && draw(5) == 0)
        return draw(2) && size ? random_reduction() : random_read();
    if (size == 0)
        return draw(4) ? variable[draw(VARIABLES)] : number((int64_t)draw(9) - 3);
    node a = random_expression(size - 1), b = random_expression(draw(size));
    switch (draw(10)) {
    case 0:
    case 1:
        return plus(a, b);
    case 2:
    case 3:
        return minus(a, b);
    case 4:
        return times(a, number((int64_t)draw(7) - 2));
    case 5:
        return graph_div(g, a, number((int64_t)draw(5) + 1));
    case 6:
        return modulo(a, number((int64_t)draw(5) + 1));
    case 7:
        return two(draw(2) ? NODE_MINIMUM : NODE_MAXIMUM, a, b);
    case 8:
        return draw(2) ? one(NODE_ABS, a) : times(a, b);
    default:
        return graph_select(g, less(a, b), b, random_expression(size - 1));
    }
}

static node random_condition(unsigned size) {
    if (ids && size && draw(4) == 0)
        return random_data_condition();
    if (size == 0 || draw(3)) {
        node a = random_expression(draw(3)), b = random_expression(draw(3));
        return two((node_op[]){NODE_LESS, NODE_LESS_EQUAL, NODE_EQUAL}[draw(3)], a, b);
    }
    node a = random_condition(size - 1), b = random_condition(size - 1);
    return draw(3) == 0 ? deny(a) : draw(2) ? both(a, b) : either(a, b);
}

static int64_t down(int64_t a, int64_t b) {
    int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t value_of(node n) {
    node_view v  = graph_view(g, n);
    int64_t x[3] = {0, 0, 0};
    if (v.op == NODE_INT)
        return v.integer;
    if (v.op == NODE_INDEX) {
        for (unsigned i = 0; i < VARIABLES; i++)
            if (variable[i] == n)
                return value[i];
        fail();
    }
    for (unsigned i = 0; i < v.child_count; i++)
        x[i] = value_of(v.child[i]);
    switch (v.op) {
    case NODE_ADD:
        return x[0] + x[1];
    case NODE_SUB:
        return x[0] - x[1];
    case NODE_MUL:
        return x[0] * x[1];
    case NODE_NEG:
        return -x[0];
    case NODE_DIV:
        return down(x[0], x[1]);
    case NODE_MOD:
        return x[0] - x[1] * down(x[0], x[1]);
    case NODE_MINIMUM:
        return x[0] < x[1] ? x[0] : x[1];
    case NODE_MAXIMUM:
        return x[0] > x[1] ? x[0] : x[1];
    case NODE_ABS:
        return x[0] < 0 ? -x[0] : x[0];
    case NODE_SELECT:
        return x[0] ? x[1] : x[2];
    case NODE_LESS:
        return x[0] < x[1];
    case NODE_LESS_EQUAL:
        return x[0] <= x[1];
    case NODE_EQUAL:
        return x[0] == x[1];
    case NODE_AND:
        return x[0] && x[1];
    case NODE_OR:
        return x[0] || x[1];
    case NODE_NOT:
        return !x[0];
    default:
        fail();
        return 0;
    }
}

static bool facts_hold(const node *fact, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (!value_of(fact[i]))
            return false;
    return true;
}

/* Is there a point where the facts hold and e is out of range? In lexicographic order; `value` is left there. */
static bool enumerate(node e, int64_t low, int64_t high, const node *fact, unsigned count) {
    for (value[0] = 0; value[0] < extent[0]; value[0]++)
        for (value[1] = 0; value[1] < extent[1]; value[1]++)
            for (value[2] = 0; value[2] < extent[2]; value[2]++) {
                int64_t x = value_of(e);
                if ((x < low || x > high) && facts_hold(fact, count))
                    return true;
            }
    return false;
}

static void new_variables(void) {
    ids = mask = NODE_NONE;
    graph_free(g);
    g = graph_new();
    for (unsigned i = 0; i < VARIABLES; i++) {
        extent[i]   = 2 + draw(8);
        variable[i] = at((const char *[]){"x", "y", "z"}[i], extent[i]);
    }
}

/* The witness is what enumeration has found first, which `value` tells. */
static void is_witness(const witness *w, node e, int64_t low, int64_t high, const node *fact, unsigned count) {
    index_set said = 0;
    for (unsigned i = 0; i < w->count; i++) {
        assert_int_equal(w->at[i], value[w->index[i]]);
        said |= (index_set)1 << w->index[i];
    }
    for (unsigned i = 0; i < VARIABLES; i++)
        if (!(said >> i & 1))
            value[i] = 0;
    assert_false(w->data);
    assert_int_equal(graph_view(g, e).free & ~said, 0);
    int64_t x = value_of(e);
    assert_int_equal(w->value, x);
    assert_true(x < low || x > high);
    for (unsigned i = 0; i < count; i++) /* facts about other indices hold somewhere */
        if (!(graph_view(g, fact[i]).free & ~said))
            assert_true(value_of(fact[i]));
}

static void random_systems(void **state) {
    (void)state;
    unsigned of[3] = {0, 0, 0}, alone[3] = {0, 0, 0}, systems = 6000;
    random_state = 20;
    for (unsigned k = 0; k < systems; k++) {
        if (k % 20 == 0)
            new_variables();
        node fact[3], e = random_expression(1 + draw(3));
        unsigned count = draw(4);
        for (unsigned i = 0; i < count; i++)
            fact[i] = random_condition(2);
        int64_t low = (int64_t)draw(8) - 6, high = low + draw(24);
        if (draw(3) == 0) { /* a bound that holds closely */
            low  = INT64_MAX;
            high = INT64_MIN;
            for (value[0] = 0; value[0] < extent[0]; value[0]++)
                for (value[1] = 0; value[1] < extent[1]; value[1]++)
                    for (value[2] = 0; value[2] < extent[2]; value[2]++)
                        if (facts_hold(fact, count)) {
                            int64_t x = value_of(e);
                            low       = x < low ? x : low;
                            high      = x > high ? x : high;
                        }
            if (low > high)
                low = high = 0;
        }
        witness w;
        double since = now();
        proof answer = prove_within(g, e, low, high, fact, count, &w);
        count_time(since);
        bool counterexample = enumerate(e, low, high, fact, count);
        of[answer]++;
        alone[counterexample]++;
        if (answer == PROOF_HOLDS)
            assert_false(counterexample);
        if (answer == PROOF_FAILS) {
            assert_true(counterexample);
            is_witness(&w, e, low, high, fact, count);
        }
    }
    print_message("    of %u: %u hold, %u fail, %u unknown (%.2f %%); by enumeration %u and %u\n", systems, of[0],
                  of[1], of[2], 100.0 * of[2] / systems, alone[0], alone[1]);
    assert_true(of[2] * 100 < systems && of[0] > systems / 10 && of[1] > systems / 10);
}

/* Random systems with data against the interpreter, under every content of the tensors */

enum { BELOW = 3, SIDE = 3, CONTENTS = 27 * 8, POINTS = SIDE * SIDE * SIDE };

static void add_result(node n) {
    output o = {.name = "n", .kind = OUTPUT_VALUE, .rank = VARIABLES, .node = n};
    for (unsigned i = 0; i < VARIABLES; i++)
        o.index[i] = over((const char *[]){"x", "y", "z"}[i], SIDE);
    graph_add_output(g, &o);
}

/* Is there a point and a content where the facts hold and e is out of range? */
static bool interpret_all(node e, int64_t low, int64_t high, const node *fact, unsigned count) {
    graph_drop_outputs(g, OUTPUT_VALUE);
    add_result(e);
    for (unsigned i = 0; i < count; i++)
        add_result(fact[i]);
    bool found = false;
    for (unsigned content = 0; content < CONTENTS && !found; content++) {
        double read[SIDE], real[SIDE];
        const double *tensors[2] = {read, real};
        for (unsigned i = 0, rest = content; i < SIDE; i++, rest /= BELOW)
            read[i] = rest % BELOW;
        for (unsigned i = 0; i < SIDE; i++)
            real[i] = content / 27 >> i & 1;
        interpretation *run    = interpret_new(g, tensors, 0);
        const double *result   = interpret_output(run, 0);
        const double *holds[3] = {NULL, NULL, NULL};
        for (unsigned i = 0; i < count; i++)
            holds[i] = interpret_output(run, i + 1);
        for (unsigned p = 0; p < POINTS && !found; p++) {
            found = !isnan(result[p]) && (result[p] < (double)low || result[p] > (double)high);
            for (unsigned i = 0; i < count; i++)
                found &= holds[i][p] != 0;
        }
        interpret_free(run);
    }
    return found;
}

static void random_data(void **state) {
    (void)state;
    unsigned of[3] = {0, 0, 0}, certain = 0, systems = 400;
    random_state = 7;
    for (unsigned k = 0; k < systems; k++) {
        new_variables();
        graph_free(g);
        g = graph_new();
        for (unsigned i = 0; i < VARIABLES; i++) {
            extent[i]   = SIDE;
            variable[i] = at((const char *[]){"x", "y", "z"}[i], SIDE);
        }
        ids  = tensor_of("ids", TYPE_INT, BELOW, 1, over("x", SIDE), 0);
        mask = tensor_of("mask", TYPE_FLOAT, 0, 1, over("y", SIDE), 0);
        node fact[3], e = random_expression(1 + draw(2));
        unsigned count = draw(4);
        for (unsigned i = 0; i < count; i++)
            fact[i] = random_condition(2);
        int64_t low = (int64_t)draw(5) - 3, high = low + draw(9);
        witness w;
        double since = now();
        proof answer = prove_within(g, e, low, high, fact, count, &w);
        count_time(since);
        bool counterexample = interpret_all(e, low, high, fact, count);
        of[answer]++;
        if (answer == PROOF_HOLDS)
            assert_false(counterexample);
        if (answer == PROOF_FAILS && !w.data)
            assert_true(counterexample);
        certain += answer == PROOF_FAILS && counterexample;
    }
    print_message("    of %u: %u hold, %u fail (%u of them by enumeration too), %u unknown\n", systems, of[0], of[1],
                  certain, of[2]);
    assert_true(of[2] * 10 < systems && of[0] > systems / 10 && certain * 100 > of[1] * 95);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(shifts, begin, end),
        cmocka_unit_test_setup_teardown(two_positions, begin, end),
        cmocka_unit_test_setup_teardown(blocks_and_rotations, begin, end),
        cmocka_unit_test_setup_teardown(groups_of_heads, begin, end),
        cmocka_unit_test_setup_teardown(nested_division, begin, end),
        cmocka_unit_test_setup_teardown(products, begin, end),
        cmocka_unit_test_setup_teardown(large, begin, end),
        cmocka_unit_test_setup_teardown(data, begin, end),
        cmocka_unit_test_setup_teardown(reductions, begin, end),
        cmocka_unit_test_setup_teardown(recurrences, begin, end),
        cmocka_unit_test_setup_teardown(domains, begin, end),
        cmocka_unit_test_setup_teardown(bounded_time, begin, end),
        cmocka_unit_test_setup_teardown(random_systems, begin, end),
        cmocka_unit_test_setup_teardown(random_data, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
