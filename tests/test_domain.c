/* Domains as bounds of loops: the nodes that are built are evaluated for all blocks and compared with enumeration. They
 * are never wrong, and where a domain is linear they are as tight as can be. */
/* cmocka needs these before it */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "expressions.h"
#include "schedule_domain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* t and s run over blocks, b is fixed. */
enum { TIMES = 7, STREAM = 7, BATCH = 2, DATA = 8, ELEMENTS = 64 };

static index_id b, t, s;
static node at_b, at_t, at_s;
static node doc_s, doc_t, last_b, last_t, start_s, x_s, y_t, reach_b;
static double value[DATA][ELEMENTS];
static uint64_t state;

static uint64_t draw(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % below;
}

/* Evaluation */

typedef struct place {
    int64_t at[GRAPH_INDICES], begin[GRAPH_INDICES], end[GRAPH_INDICES];
    index_set fixed, ranged; /* which of at, and of begin and end, mean something */
} place;

static double evaluate(const place *p, node n);

static double floor_mod(double x, double y) {
    return x - y * floor(x / y);
}

static double evaluate_pointwise(const place *p, node_view v) {
    double x = evaluate(p, v.child[0]), y = v.child_count > 1 && v.op != NODE_SELECT ? evaluate(p, v.child[1]) : 0;
    switch (v.op) {
    case NODE_ADD:
        return x + y;
    case NODE_SUB:
        return x - y;
    case NODE_MUL:
        return x * y;
    case NODE_DIV:
        return v.type == TYPE_INT ? floor(x / y) : x / y;
    case NODE_MOD:
        return floor_mod(x, y);
    case NODE_NEG:
        return -x;
    case NODE_MINIMUM:
        return x < y ? x : y;
    case NODE_MAXIMUM:
        return x > y ? x : y;
    case NODE_ABS:
        return fabs(x);
    case NODE_LESS:
        return x < y;
    case NODE_LESS_EQUAL:
        return x <= y;
    case NODE_EQUAL:
        return x == y;
    case NODE_AND:
        return x != 0 && y != 0;
    case NODE_OR:
        return x != 0 || y != 0;
    case NODE_NOT:
        return x == 0;
    case NODE_SELECT:
        return evaluate(p, v.child[x != 0 ? 1 : 2]);
    case NODE_TO_FLOAT:
        return x;
    case NODE_TO_INT:
        return (double)graph_integer_below(x);
    default:
        fail_msg("no value of %s", graph_op_name(v.op));
        return 0;
    }
}

static double evaluate_reduce(const place *p, node_view v) {
    index_id i    = (index_id)__builtin_ctzll(v.vars);
    place inside  = *p;
    bool most     = v.reduction == REDUCE_MAX;
    double result = most ? -INFINITY : INFINITY;
    assert_int_equal(v.vars, (index_set)1 << i);
    assert_true(v.reduction == REDUCE_MAX || v.reduction == REDUCE_MIN);
    assert_true(p->ranged >> i & 1);
    inside.fixed |= v.vars;
    for (int64_t k = p->begin[i]; k < p->end[i]; k++) {
        inside.at[i] = k;
        assert_true(evaluate(&inside, v.child[0]) != 0);
        double x = evaluate(&inside, v.child[1]);
        if (isnan(x) || isnan(result))
            result = NAN;
        else
            result = most ? fmax(result, x) : fmin(result, x);
    }
    return result;
}

static double evaluate_gather(const place *p, node_view v) {
    place inside = *p;
    for (unsigned i = 0; i + 1 < v.child_count; i++) {
        index_id k = v.substituted[i];
        double to  = evaluate(p, v.child[i + 1]);
        if (to < 0 || to >= (double)graph_index_extent(g, k))
            return 0;
        inside.at[k] = (int64_t)to;
        inside.fixed |= (index_set)1 << k;
    }
    return evaluate(&inside, v.child[0]);
}

static double evaluate(const place *p, node n) {
    node_view v = graph_view(g, n);
    switch (v.op) {
    case NODE_INT:
        return (double)v.integer;
    case NODE_FLOAT:
        return v.number;
    case NODE_INDEX:
        assert_int_equal(v.vars & ~p->fixed, 0);
        return (double)p->at[__builtin_ctzll(v.vars)];
    case NODE_BEGIN:
    case NODE_END:
        assert_true(p->ranged >> v.scan_index & 1);
        return (double)(v.op == NODE_BEGIN ? p->begin : p->end)[v.scan_index];
    case NODE_TENSOR: {
        const tensor *x  = graph_tensor(g, v.tensor);
        int64_t position = 0;
        for (unsigned i = 0; i < x->rank; i++) {
            assert_true(p->fixed >> x->index[i] & 1);
            position = position * x->extent[i] + p->at[x->index[i]];
        }
        return value[v.tensor][position];
    }
    case NODE_REDUCE:
        return evaluate_reduce(p, v);
    case NODE_GATHER:
        return evaluate_gather(p, v);
    default:
        return evaluate_pointwise(p, v);
    }
}

static void set_at(place *p, index_id i, int64_t x) {
    p->at[i] = x;
    p->fixed |= (index_set)1 << i;
}

static void set_range(place *p, index_id i, int64_t from, int64_t to) {
    p->begin[i] = from;
    p->end[i]   = to;
    p->ranged |= (index_set)1 << i;
}

/* Data */

static node add_data(const char *name, value_type type, int64_t below, unsigned rank, index_id last) {
    tensor x   = {.name = (char *)name, .kind = TENSOR_INPUT, .type = type, .below = below, .rank = rank};
    x.index[0] = b;
    if (rank == 2)
        x.index[1] = last;
    uint32_t k = graph_add_tensor(g, &x);
    assert_true(k < DATA && graph_tensor(g, k)->elements <= ELEMENTS);
    return graph_tensor(g, k)->node;
}

enum { ORDERED = 1, WITH_NAN = 2 };

/* Documents follow each other (ORDERED) or are anywhere. */
static void draw_data(int how) {
    for (uint32_t k = 0; k < graph_tensor_count(g); k++) {
        const tensor *x = graph_tensor(g, k);
        for (int64_t i = 0; i < x->elements; i++) {
            double *to = &value[k][i];
            if (x->type == TYPE_FLOAT)
                *to = how & WITH_NAN && draw(6) == 0 ? NAN : (double)draw(33) / 4 - 1.5;
            else
                *to = (double)draw((uint64_t)x->below);
            if (x->node == doc_s && how & ORDERED)
                *to = i % STREAM ? value[k][i - 1] + (draw(3) == 0) : 0;
        }
    }
}

static int begin(void **unused) {
    (void)unused;
    state   = 88172645463325252u;
    g       = graph_new();
    b       = graph_index(g, "b", BATCH);
    t       = graph_index(g, "t", TIMES);
    s       = graph_index(g, "s", STREAM);
    at_b    = graph_index_value(g, b);
    at_t    = graph_index_value(g, t);
    at_s    = graph_index_value(g, s);
    doc_s   = add_data("doc", TYPE_INT, STREAM + 1, 2, s);
    doc_t   = graph_gather(g, doc_s, 1, &s, &at_t);
    last_b  = add_data("last", TYPE_INT, STREAM, 1, 0);
    last_t  = add_data("last_of_row", TYPE_INT, STREAM, 2, t);
    start_s = add_data("start", TYPE_INT, TIMES, 2, s);
    x_s     = add_data("x", TYPE_FLOAT, 0, 2, s);
    y_t     = add_data("y", TYPE_FLOAT, 0, 2, t);
    reach_b = add_data("reach", TYPE_FLOAT, 0, 1, 0);
    draw_data(ORDERED);
    return 0;
}

static int end(void **unused) {
    (void)unused;
    graph_free(g);
    return 0;
}

/* Comparison with enumeration */

/* What has to be exact; STREAM_BOUNDS: those of s only. */
enum { BOUNDS = 1, EMPTY = 2, FULL = 4, STREAM_BOUNDS = 8, EXACT = BOUNDS | EMPTY | FULL };
enum { EXACT_FOR_S = STREAM_BOUNDS | EMPTY | FULL };

static bool holds[BATCH][GRAPH_INDICES][GRAPH_INDICES]; /* b, t, s */

static void tabulate(node domain) {
    for (int64_t i = 0; i < BATCH; i++)
        for (int64_t k = 0; k < TIMES; k++)
            for (int64_t l = 0; l < STREAM; l++) {
                place p = {0};
                set_at(&p, b, i);
                set_at(&p, t, k);
                set_at(&p, s, l);
                holds[i][k][l] = evaluate(&p, domain) != 0;
            }
}

/* Values from `from` to below `to`, for t and s. */
typedef struct tile {
    int64_t from[2], to[2];
} tile;

static unsigned admitted(int64_t batch, const tile *r) {
    unsigned count = 0;
    for (int64_t k = r->from[0]; k < r->to[0]; k++)
        for (int64_t l = r->from[1]; l < r->to[1]; l++)
            count += holds[batch][k][l];
    return count;
}

static void print_case(const char *name, node n, int64_t batch, const tile *r) {
    print_message("%s: batch %d, t in [%d, %d), s in [%d, %d), node %u\n", name, (int)batch, (int)r->from[0],
                  (int)r->to[0], (int)r->from[1], (int)r->to[1], n);
}

/* An index of the tile that is not blocked has one value. */
static place place_of(int64_t batch, const tile *r, index_set blocked) {
    place p = {0};
    set_at(&p, b, batch);
    for (unsigned i = 0; i < 2; i++) {
        index_id k = i ? s : t;
        if (blocked >> k & 1)
            set_range(&p, k, r->from[i], r->to[i]);
        else
            set_at(&p, k, r->from[i]);
    }
    return p;
}

typedef struct answer {
    node empty, full;
    index_set blocked;
    int exact;
    const char *name;
} answer;

static bool sparse; /* only some tiles are looked at */

static void check_tile(const answer *a, int64_t batch, const tile *r) {
    if (sparse && draw(8))
        return;
    place p        = place_of(batch, r, a->blocked);
    unsigned count = admitted(batch, r), all = (unsigned)((r->to[0] - r->from[0]) * (r->to[1] - r->from[1]));
    bool empty = a->empty && evaluate(&p, a->empty) != 0, full = a->full && evaluate(&p, a->full) != 0;
    bool wrong = (empty && count) || (full && count < all);
    bool loose = (a->exact & EMPTY && !empty && !count) || (a->exact & FULL && !full && count == all);
    if (wrong || loose) {
        print_case(a->name, empty ? a->empty : a->full, batch, r);
        fail_msg("%s: %u of %u elements, empty %d, full %d", wrong ? "wrong" : "not exact", count, all, empty, full);
    }
}

static bool next_range(tile *r, unsigned i, int64_t extent, bool one) {
    if (!one && r->to[i] < extent) {
        r->to[i]++;
        return true;
    }
    r->from[i]++;
    r->to[i] = r->from[i] + 1;
    return r->from[i] < extent;
}

static void check_tiles(const char *name, node domain, index_set blocked, int exact) {
    answer a = {.blocked = blocked, .exact = exact, .name = name};
    domain_of_tile(g, domain, blocked, &a.empty, &a.full);
    assert_true(!a.empty || !(graph_view(g, a.empty).free & blocked));
    assert_true(!a.full || !(graph_view(g, a.full).free & blocked));
    for (int64_t batch = 0; batch < BATCH; batch++) {
        tile r = {{0, 0}, {1, 1}};
        do {
            r.from[1] = 0;
            r.to[1]   = 1;
            do
                check_tile(&a, batch, &r);
            while (next_range(&r, 1, STREAM, !(blocked >> s & 1)));
        } while (next_range(&r, 0, TIMES, !(blocked >> t & 1)));
    }
}

/* The bounds of `stream` for the rows in r, of the other index. */
static void check_bound(const char *name, node lo, node hi, index_set rows, index_id stream, int exact, int64_t batch,
                        const tile *r) {
    unsigned of_stream = stream == s;
    int64_t extent = graph_index_extent(g, stream), first = extent, after = 0;
    place p = place_of(batch, r, rows);
    p.fixed &= ~((index_set)1 << stream);
    for (int64_t x = 0; x < extent; x++) {
        tile line            = *r;
        line.from[of_stream] = x;
        line.to[of_stream]   = x + 1;
        if (!admitted(batch, &line))
            continue;
        first = first < x ? first : x;
        after = x + 1;
    }
    double from = lo ? evaluate(&p, lo) : 0, to = hi ? evaluate(&p, hi) : (double)extent;
    bool within = from >= 0 && from <= (double)extent && to >= 0 && to <= (double)extent;
    bool sound  = first >= after || (from <= (double)first && to >= (double)after);
    bool tight  = first >= after ? from >= to : from == (double)first && to == (double)after;
    bool asked  = exact & BOUNDS || (exact & STREAM_BOUNDS && of_stream);
    if (!within || !sound || (asked && !tight)) {
        print_case(name, lo, batch, r);
        fail_msg("%s: [%g, %g), but %d to %d", sound ? "not exact" : "wrong", from, to, (int)first, (int)after);
    }
}

static void check_bounds(const char *name, node domain, index_set rows, index_id stream, int exact) {
    node lo, hi;
    index_set both = rows | (index_set)1 << stream;
    unsigned row   = stream == s ? 0 : 1;
    domain_bounds(g, domain, rows, stream, &lo, &hi);
    assert_true(!lo || !(graph_view(g, lo).free & both));
    assert_true(!hi || !(graph_view(g, hi).free & both));
    for (int64_t batch = 0; batch < BATCH; batch++) {
        tile r = {{0, 0}, {1, 1}};
        do
            check_bound(name, lo, hi, rows, stream, exact, batch, &r);
        while (next_range(&r, row, row ? STREAM : TIMES, !rows));
    }
}

static void check(const char *name, node domain, int exact) {
    index_set of_t = (index_set)1 << t, of_s = (index_set)1 << s;
    tabulate(domain);
    check_tiles(name, domain, of_t | of_s, exact);
    check_tiles(name, domain, of_t, exact);
    check_tiles(name, domain, of_s, exact);
    check_bounds(name, domain, of_t, s, exact);
    check_bounds(name, domain, 0, s, exact);
    check_bounds(name, domain, of_s, t, exact);
    check_bounds(name, domain, 0, t, exact);
}

/* Domains */

static node plus(node x, int64_t y) {
    return graph_add(g, x, number(y));
}

static node times(node x, int64_t y) {
    return graph_mul(g, x, number(y));
}

static node over(node x, int64_t y) {
    return graph_div(g, x, number(y));
}

static node modulo(node x, int64_t y) {
    return two(NODE_MOD, x, number(y));
}

static node causal(void) {
    return at_most(at_s, at_t);
}

static void test_linear(void **unused) {
    (void)unused;
    node ahead = minus(at_t, at_s);
    check("causal", causal(), EXACT);
    check("causal as a difference", at_most(number(0), ahead), EXACT);
    check("strict", less(at_s, at_t), EXACT);
    check("reversed", at_most(at_t, at_s), EXACT);
    check("reversed, strict", less(at_t, at_s), EXACT);
    check("itself", equal(at_s, at_t), EXACT);
    check("shifted", equal(at_s, plus(at_t, -2)), EXACT);
    check("not causal", deny(causal()), EXACT);
    check("not strict", deny(less(at_s, at_t)), EXACT);
    check("ahead by 2", at_most(at_s, plus(at_t, 2)), EXACT);
    check("window alone", at_most(ahead, number(3)), EXACT);
    check("first", less(at_s, number(3)), EXACT);
    check("rows", less(at_t, number(3)), EXACT);
    check("not the first", deny(less(at_s, number(3))), EXACT);
    check("one column", equal(at_s, number(4)), EXACT);
    check("shared terms cancel", at_most(graph_add(g, at_s, times(at_t, 2)), graph_add(g, at_t, times(at_t, 2))),
          EXACT);
    check("all rows cancel", at_most(minus(at_s, at_s), graph_sub(g, at_t, at_t)), EXACT);
    check("twice", at_most(times(at_s, 2), at_t), EXACT);
    check("twice and more", at_most(at_s, plus(times(at_t, 2), 3)), EXACT);
    check("thrice, reversed", less(times(at_t, 3), plus(times(at_s, 2), -1)), EXACT);
    check("antidiagonal", at_most(graph_add(g, at_s, at_t), number(6)), EXACT);
    check("beyond the antidiagonal", less(number(8), graph_add(g, at_s, at_t)), EXACT);
    check("by batch", at_most(at_s, graph_add(g, at_t, times(at_b, -2))), EXACT);
    check("nothing", graph_bool(g, false), EXACT);
    check("everything", graph_bool(g, true), EXACT);
    check("never", less(at_s, number(-1)), EXACT);
    check("always", at_most(at_t, plus(at_s, TIMES)), EXACT);
    check("rows by an exact multiple", equal(times(at_s, 2), at_t), 0);
}

static void test_bands(void **unused) {
    (void)unused;
    node ahead = minus(at_t, at_s), window = both(at_most(ahead, number(2)), causal());
    check("window", window, EXACT);
    check("not in the window", deny(window), EMPTY | FULL);
    check("band", both(at_most(ahead, number(2)), at_most(number(-1), ahead)), EXACT);
    check("band, absolute", at_most(one(NODE_ABS, ahead), number(2)), EXACT);
    check("off the band", less(number(2), one(NODE_ABS, ahead)), EMPTY | FULL);
    check("prefix", either(causal(), less(at_s, number(3))), EXACT);
    check("prefix of the batch", either(causal(), at_most(at_s, last_b)), EXACT);
    check("sinks and window", both(causal(), either(less(at_s, number(2)), at_most(ahead, number(1)))), BOUNDS);
    check("band below the diagonal", both(at_most(number(2), ahead), at_most(ahead, number(4))), EXACT);
    check("causal among the first", both(causal(), less(at_s, number(4))), EXACT);
    check("some rows", both(causal(), less(number(2), at_t)), EMPTY | FULL);
    check("rows that see all", either(causal(), less(at_t, number(2))), EMPTY);
    check("minimum", at_most(at_s, two(NODE_MINIMUM, at_t, number(4))), EXACT);
    check("maximum", at_most(two(NODE_MAXIMUM, at_s, number(2)), at_t), EXACT);
    check("chosen", graph_select(g, less(at_t, number(3)), causal(), at_most(at_t, at_s)), 0);
    check("choice of limits", at_most(at_s, graph_select(g, less(at_t, number(3)), at_t, number(5))), 0);
    check("equality of conditions", equal(causal(), less(at_s, number(2))), 0);
}

static void test_quotients(void **unused) {
    (void)unused;
    node ahead = minus(at_t, at_s);
    check("chunks", equal(over(at_s, 3), over(at_t, 3)), EXACT);
    check("chunks so far", at_most(over(at_s, 3), over(at_t, 3)), EXACT);
    check("chunks before", less(over(at_s, 2), over(at_t, 2)), EXACT);
    check("causal in chunks", both(causal(), equal(over(at_s, 3), over(at_t, 3))), BOUNDS | FULL);
    check("blocks against rows", at_most(over(at_s, 2), at_t), EXACT);
    check("rows against blocks", at_most(at_s, over(at_t, 2)), EXACT);
    check("blocks after", less(over(at_t, 2), over(at_s, 3)), EXACT);
    check("twice blocks", at_most(times(over(at_s, 2), 2), plus(at_t, -1)), 0);
    check("quotient of a difference", equal(over(ahead, 2), number(1)), EXACT);
    check("dilated", equal(modulo(ahead, 2), number(0)), 0);
    check("dilated and causal", both(causal(), equal(modulo(ahead, 3), number(0))), 0);
    check("from the chunk's start", at_most(minus(at_s, modulo(at_s, 3)), at_t), 0);
    check("same remainder", equal(modulo(at_s, 3), modulo(at_t, 3)), 0);
    check("product of indices", at_most(graph_mul(g, at_s, at_t), number(6)), 0);
    check("product with the batch", at_most(graph_mul(g, at_s, at_b), at_t), EMPTY | FULL);
    check("squares", at_most(graph_mul(g, at_s, at_s), at_t), EMPTY | FULL);
}

/* Several draws of the data: documents in order, anywhere, with NaN among the floats. */
static void check_data(const char *name, node domain, int exact) {
    const int how[] = {ORDERED, 0, WITH_NAN, ORDERED | WITH_NAN};
    for (unsigned i = 0; i < sizeof how / sizeof *how; i++) {
        draw_data(how[i]);
        check(name, domain, exact);
    }
}

static void test_data(void **unused) {
    (void)unused;
    node ahead = minus(at_t, at_s), same = equal(doc_s, doc_t), ahead_float = one(NODE_TO_FLOAT, ahead);
    node s_float = one(NODE_TO_FLOAT, at_s);
    check_data("document", same, 0);
    check_data("causal and document", both(causal(), same), 0);
    check_data("other documents", deny(same), 0);
    check_data("documents before", less(doc_s, doc_t), EMPTY | FULL);
    check_data("documents close by", at_most(minus(doc_t, doc_s), number(1)), EMPTY | FULL);
    check_data("up to the last", at_most(at_s, last_b), EXACT);
    check_data("up to the row's last", at_most(at_s, last_t), EXACT_FOR_S);
    check_data("not up to the row's last", deny(at_most(at_s, last_t)), EXACT_FOR_S);
    check_data("from the start", at_most(start_s, at_t), EXACT & ~BOUNDS);
    check_data("before the start", less(at_t, start_s), EXACT & ~BOUNDS);
    check_data("relative to the last", at_most(at_s, minus(last_t, at_t)), EXACT_FOR_S);
    check_data("column of the row", equal(at_s, last_t), 0);
    check_data("last of chunks", at_most(over(at_s, 2), last_t), EXACT_FOR_S);
    check_data("the lesser last", at_most(at_s, two(NODE_MINIMUM, last_t, last_b)), EXACT_FOR_S);
    check_data("mixed", at_most(graph_mul(g, doc_s, last_t), number(6)), 0);
    check_data("sum of data", less(graph_add(g, doc_s, last_t), number(6)), EMPTY | FULL);
    check_data("window by batch", at_most(ahead, last_b), EXACT);
    check_data("floats", at_most(x_s, y_t), FULL);
    check_data("floats, strict", less(y_t, x_s), FULL);
    check_data("equal floats", equal(x_s, y_t), 0);
    check_data("not at most, floats", deny(at_most(x_s, y_t)), 0);
    check_data("not below, floats", deny(less(y_t, x_s)), 0);
    check_data("positive", less(graph_float(g, 0), x_s), FULL);
    check_data("learned reach", at_most(ahead_float, reach_b), FULL);
    check_data("learned reach, strict", both(causal(), less(ahead_float, reach_b)), FULL);
    check_data("float of the row", at_most(s_float, y_t), FULL);
    check_data("below the float of the row", less(s_float, y_t), FULL);
    check_data("above the float of the row", less(y_t, s_float), FULL);
    check_data("from the float of the row", at_most(y_t, s_float), FULL);
    check_data("at the float of the row", equal(y_t, s_float), 0);
    check_data("not up to the float", deny(at_most(s_float, y_t)), 0);
    check_data("integer below a float", at_most(at_s, one(NODE_TO_INT, y_t)), EXACT_FOR_S);
    check_data("against the float", less(s_float, graph_neg(g, y_t)), FULL);
    check_data("scaled float", less(graph_mul(g, s_float, graph_float(g, 0.5)), y_t), FULL);
}

/* Random domains */

static node random_integer(unsigned depth) {
    const node leaf[] = {
        at_t, at_s, at_t, at_s, at_b, doc_s, doc_t, last_b, last_t, start_s, number((int64_t)draw(9) - 3)};
    if (!depth || draw(3) == 0)
        return leaf[draw(sizeof leaf / sizeof *leaf)];
    node x = random_integer(depth - 1), y = random_integer(depth - 1);
    switch (draw(10)) {
    case 0:
    case 1:
        return graph_add(g, x, y);
    case 2:
    case 3:
        return minus(x, y);
    case 4:
        return times(x, (int64_t)draw(7) - 3);
    case 5:
        return over(x, (int64_t)draw(4) + 1);
    case 6:
        return modulo(x, (int64_t)draw(4) + 1);
    case 7:
        return two(draw(2) ? NODE_MINIMUM : NODE_MAXIMUM, x, y);
    case 8:
        return draw(2) ? one(NODE_ABS, x) : graph_neg(g, x);
    default:
        return draw(3) ? plus(x, (int64_t)draw(5) - 2) : graph_mul(g, x, y);
    }
}

static node random_float(unsigned depth) {
    const node leaf[] = {x_s, y_t, reach_b, graph_neg(g, x_s), graph_float(g, 0.75)};
    return draw(2) ? leaf[draw(sizeof leaf / sizeof *leaf)] : one(NODE_TO_FLOAT, random_integer(depth));
}

static node random_domain(unsigned depth) {
    const node_op comparison[] = {NODE_LESS, NODE_LESS_EQUAL, NODE_EQUAL};
    if (!depth || draw(3) == 0) {
        node_op op = comparison[draw(3)];
        return draw(4) ? two(op, random_integer(2), random_integer(2)) : two(op, random_float(1), random_float(1));
    }
    node x = random_domain(depth - 1), y = random_domain(depth - 1);
    switch (draw(7)) {
    case 0:
    case 1:
        return deny(x);
    case 2:
        return graph_select(g, x, y, random_domain(depth - 1));
    case 3:
    case 4:
        return both(x, y);
    default:
        return either(x, y);
    }
}

static void test_random(void **unused) {
    sparse = true;
    for (unsigned i = 0; i < 3000; i++) {
        if (i && i % 100 == 0) { /* a new graph, so that it stays small */
            uint64_t kept = state;
            end(unused);
            begin(unused);
            state = kept;
        }
        draw_data(i % 4);
        char name[32];
        snprintf(name, sizeof name, "random domain %u", i);
        check(name, random_domain(3), 0);
    }
    sparse = false;
}

static void test_extremes(void **unused) {
    (void)unused;
    node empty, full, lo, hi, list[8];
    index_set of_t = (index_set)1 << t, of_s = (index_set)1 << s;
    domain_of_tile(g, both(causal(), equal(doc_s, doc_t)), of_t | of_s, &empty, &full);
    assert_int_equal(domain_extremes(g, empty, list, 8), 4);
    unsigned of_rows = 0;
    for (unsigned i = 0; i < 4; i++) {
        node_view v = graph_view(g, list[i]);
        assert_int_equal(v.op, NODE_REDUCE);
        assert_true(v.vars == of_t || v.vars == of_s);
        of_rows += v.vars == of_t;
    }
    assert_int_equal(of_rows, 2);
    assert_int_equal(domain_extremes(g, empty, list, 1), 4);
    domain_of_tile(g, causal(), of_t | of_s, &empty, &full);
    assert_int_equal(domain_extremes(g, empty, list, 8), 0);
    assert_int_equal(domain_extremes(g, NODE_NONE, list, 8), 0);
    domain_bounds(g, at_most(at_s, last_t), of_t, s, &lo, &hi);
    assert_int_equal(lo, NODE_NONE);
    assert_int_equal(domain_extremes(g, hi, list, 8), 1);
}

/* What common domains become has no more in it than it needs. */
static void test_form(void **unused) {
    (void)unused;
    node empty, full, lo, hi;
    index_set of_t = (index_set)1 << t, of_s = (index_set)1 << s;
    domain_bounds(g, causal(), of_t, s, &lo, &hi);
    assert_int_equal(lo, NODE_NONE);
    assert_int_equal(hi, graph_end(g, t));
    domain_of_tile(g, causal(), of_t | of_s, &empty, &full);
    assert_int_equal(empty, at_most(graph_end(g, t), graph_begin(g, s)));
    domain_bounds(g, NODE_NONE, of_t, s, &lo, &hi);
    assert_true(!lo && !hi);
    domain_of_tile(g, NODE_NONE, of_t | of_s, &empty, &full);
    assert_int_equal(empty, NODE_NONE);
    assert_int_equal(full, graph_bool(g, true));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_linear, begin, end),
        cmocka_unit_test_setup_teardown(test_bands, begin, end),
        cmocka_unit_test_setup_teardown(test_quotients, begin, end),
        cmocka_unit_test_setup_teardown(test_data, begin, end),
        cmocka_unit_test_setup_teardown(test_random, begin, end),
        cmocka_unit_test_setup_teardown(test_extremes, begin, end),
        cmocka_unit_test_setup_teardown(test_form, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
