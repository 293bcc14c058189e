/* Every pointwise operation, reduction and other kind of node: interpreter, machine code and derivative agree. */
#include "agree.h"

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

/* The same as a list, which is longer than some rows and ends in "no more"; read through it, and scattered. */
static void lists_of_selections(void **state) {
    (void)state;
    fixture f     = make(12, 5);
    graph *g      = f.g;
    index_id four = graph_index(g, "four", 4), i = f.t;
    node t = graph_index_value(g, f.t), s = graph_index_value(g, f.s);
    node other    = graph_gather(g, f.a, 1, &i, &s);
    node score    = graph_reduce(g, REDUCE_SUM, (index_set)1 << f.d, NODE_NONE, graph_mul(g, f.b, other));
    node rounded  = graph_pointwise(g, NODE_FLOOR, score, NODE_NONE, NODE_NONE); /* many ties */
    node causal   = graph_pointwise(g, NODE_LESS_EQUAL, s, t, NODE_NONE);
    node list     = graph_chosen(g, f.s, four, causal, rounded);
    node read     = graph_gather(g, f.a, 1, &i, &list);
    node there    = graph_pointwise(g, NODE_LESS, list, graph_int(g, 12), NODE_NONE);
    node here     = graph_pointwise(g, NODE_EQUAL, list, s, NODE_NONE);
    index_set all = (index_set)1 << f.t | (index_set)1 << four;
    give(g, "list", list);
    /* NaN of what is negative is below -inf, which is what 0 gives */
    give(g, "no numbers", graph_chosen(g, f.s, four, causal, unary(g, NODE_LOG, rounded)));
    give(g, "read", graph_reduce(g, REDUCE_SUM, (index_set)1 << four, there, read));
    give(g, "how often", graph_reduce(g, REDUCE_SUM, all, here, graph_int(g, 1)));
    give(g, "scattered", graph_reduce(g, REDUCE_SUM, all, here, f.b));
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
    tests[n++] = (struct CMUnitTest){"selections", selections, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"lists of selections", lists_of_selections, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"random_numbers", random_numbers, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"masked_overflow", masked_overflow, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"extremes", extremes, NULL, NULL, NULL};
    return _cmocka_run_group_tests("operations", tests, n, NULL, NULL);
}
