/* Derivation: only what is asked for is made; the results are graphs that can be derived again; several losses,
 * iterations, dropout, ties and `stop` have the derivatives that they should have. */
#include "derive.h"
#include "elaborate.h"
#include "gradcheck.h"
#include "interpret.h"
#include "recurrence.h"
#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

enum { MAX_TENSORS = 16, SEED = 9 };

static graph *of_text(const char *definitions) {
    char text[2048];
    diagnostics d = {.stream = stderr};
    graph *g      = graph_new();
    snprintf(text, sizeof text,
             "mechanism m \"m\" include \"lib/standard.att\" size T = 5, D = 3 index t:T s:T d:D %s output nothing = 0",
             definitions);
    spec *s = spec_read_text("m.att", text, strlen(text), NULL, &d);
    assert_non_null(s);
    assert_true(elaborate_mechanism(g, s, &(elaboration){.training = true}, &d));
    spec_free(s);
    return g;
}

static uint32_t tensor_named(const graph *g, const char *name) {
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        if (strcmp(graph_tensor(g, i)->name, name) == 0)
            return i;
    fail_msg("no tensor %s", name);
    return 0;
}

static void give(graph *g, const char *name, output_kind kind, uint32_t of, node n) {
    const tensor *t = graph_tensor(g, of);
    output o        = {.name = (char *)name, .kind = kind, .tensor = of, .rank = t->rank, .node = n};
    memcpy(o.index, t->index, sizeof o.index);
    graph_add_output(g, &o);
}

/* Only what is asked for */

static node derive_one(graph *g, const char *name) {
    node gradient, of = graph_tensor(g, tensor_named(g, name))->node;
    derive_gradients(g, derive_total_loss(g), &of, 1, &gradient);
    return gradient;
}

/* How many nodes of this kind there are at all, reachable or not. */
static unsigned count_of(const graph *g, node_op op) {
    unsigned count = 0;
    for (size_t n = 1; n <= graph_node_count(g); n++)
        count += graph_view(g, (node)n).op == op;
    return count;
}

static size_t reachable_from(const graph *g, node root) {
    size_t count  = 0;
    uint8_t *mark = calloc(graph_node_count(g) + 1, 1);
    assert_non_null(mark);
    mark[root] = 1;
    for (size_t n = graph_node_count(g) + 1; n-- > 1;)
        if (mark[n]) {
            node_view v = graph_view(g, (node)n);
            for (unsigned i = 0; i < v.child_count; i++)
                mark[v.child[i]] = 1;
            count++;
        }
    free(mark);
    return count;
}

/* Each parameter's gradient needs a kind of node that nothing else needs: a cosine, a sine, a logarithm. */
static void unused_is_not_made(void **state) {
    (void)state;
    static const char text[] =
        "input x[t] param a[t], b[t], c[t] ~ uniform(0.3, 1.2) "
        "loss l = sum[t](x[t] * sin(a[t])) + sum[t](x[t] * 2.0 ^ b[t]) + sum[t](a[t] * tanh(c[t]))";
    static const struct {
        const char *of;
        unsigned cosines, logarithms, differences; /* 1 - tanh^2 */
    } wanted[] = {{"a", 1, 0, 0}, {"b", 0, 0, 0}, {"c", 0, 0, 1}, {"x", 0, 0, 0}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        graph *g = of_text(text);
        assert_int_equal(count_of(g, NODE_COS) + count_of(g, NODE_SUB), 0);
        derive_one(g, wanted[i].of);
        assert_int_equal(count_of(g, NODE_COS), wanted[i].cosines);
        assert_int_equal(count_of(g, NODE_LOG), wanted[i].logarithms);
        assert_int_equal(count_of(g, NODE_SUB), wanted[i].differences);
        graph_free(g);
    }
}

/* Of a whole mechanism: a gradient alone is the same graph as among all others, and making it alone makes less. */
static void unused_is_not_made_in_a_spec(void **state) {
    (void)state;
    static const char *const name[] = {"Wq", "Wk", "Wv", "Wo", "x"};
    enum { COUNT = sizeof name / sizeof *name };
    size_t made[COUNT + 1], needed[COUNT + 1];
    for (size_t k = 0; k <= COUNT; k++) {
        diagnostics d = {.stream = stderr};
        spec *s       = spec_read(TEST_SOURCE_DIR "/specs/mha.att", NULL, &d);
        graph *g      = graph_new();
        assert_true(elaborate_mechanism(g, s, &(elaboration){0}, &d));
        spec_free(s);
        const output *y = graph_output(g, 0);
        index_set all   = graph_view(g, y->node).free;
        node loss       = graph_reduce(g, REDUCE_SUM, all, NODE_NONE, graph_mul(g, y->node, y->node));
        graph_add_output(g, &(output){.name = "l", .kind = OUTPUT_LOSS, .node = loss});
        size_t forward = graph_node_count(g);
        if (k < COUNT) {
            needed[k] = reachable_from(g, derive_one(g, name[k]));
        } else {
            node of[COUNT], gradient[COUNT];
            for (size_t i = 0; i < COUNT; i++)
                of[i] = graph_tensor(g, tensor_named(g, name[i]))->node;
            derive_gradients(g, loss, of, COUNT, gradient);
            for (size_t i = 0; i < COUNT; i++)
                assert_int_equal(reachable_from(g, gradient[i]), needed[i]);
        }
        made[k] = graph_node_count(g) - forward;
        graph_free(g);
    }
    /* Wo stands behind the attention, Wv beside the softmax, whose derivative is most of the rest */
    assert_true(made[3] < made[2] && made[2] < made[0] && made[0] < made[4] && made[4] < made[COUNT]);
    assert_true(4 * made[3] < made[COUNT] && 2 * made[2] < made[COUNT]);
}

/* Second derivatives */

#define GIVEN                                                                                                          \
    "index u:D input x[t,d] input id[t] : int < T param w[t,d] ~ uniform(0.3, 1.2) param v[d] ~ uniform(-1, 1) "

static const char *const kinds[] = {
    "loss l = sum[t,d]((w[t,d] + v[d]) * w[t,d] * v[d])",
    "loss l = sum[t,d]((w[t,d] - v[d]) * (v[d] - w[t,d]) * x[t,d])",
    "loss l = sum[t,d](-w[t,d] * v[d] * -exp(-w[t,d]))",
    "loss l = sum[t,d](v[d] / w[t,d])",
    "loss l = sum[t,d](w[t,d] ^ v[d])",
    "loss l = sum[t,d](w[t,d] ^ 2.5 * v[d])",
    "loss l = sum[t,d](exp(w[t,d] * v[d]))",
    "loss l = sum[t,d](log(w[t,d]) * v[d])",
    "loss l = sum[t,d](log1p(w[t,d] * w[t,d]) * v[d])",
    "loss l = sum[t,d](sqrt(w[t,d] + v[d] * v[d]))",
    "loss l = sum[t,d](sin(w[t,d] * v[d]) + cos(w[t,d]))",
    "loss l = sum[t,d](tanh(w[t,d] * v[d]))",
    "loss l = sum[t,d](erf(w[t,d] * v[d]))",
    "loss l = sum[t,d](abs(v[d]) * v[d] * w[t,d] + abs(x[t,d] - w[t,d]) * w[t,d])",
    "loss l = sum[t,d](max(w[t,d] * w[t,d], x[t,d] * v[d]) + min(v[d], w[t,d]) * w[t,d])",
    "loss l = sum[t,d](if w[t,d] < 0.7 then w[t,d] * v[d] else exp(v[d]))",
    "loss l = sum[t,d](floor(4 * w[t,d]) * v[d] * v[d] + float(int(3 * w[t,d]) % 2) * v[d] * w[t,d] * w[t,d])",
    "loss l = sum[t](exp(sum[s where s <= t](x[s,0] * w[s,0])) * v[0])",
    "loss l = product[t](w[t,0] * v[0] + 1) + sum[t](product[s where s <= t and s != 1](w[s,1]))",
    "loss l = sum[d](max[t](w[t,d] * v[d]) * w[0,d]) + sum[t](min[s where s != t](w[s,0] * x[s,0]) * w[t,0])",
    "loss l = sum[t,d](w[(t + 2) % T,d] * w[t,d] * w[T-1-t,d]) + sum[t where t >= 1](exp(w[t-1,0]) * w[t,0])",
    "loss l = sum[t,d](exp(w[id[t],d]) * v[d]) + sum[t](w[t/2,0] * w[t,0] * v[t % D])",
    "loss l = sum[t](exp(w[t,min(t, D-1)] * v[0]) + w[3,1] * w[t,0])",
    "h[t] = tanh(h[t-1] * w[t,0]) + x[t,0] from v[0] loss l = sum[t](h[t] * h[t] * w[t,1])",
    "h[t] = sin(h[t+1] * w[t,0]) + v[1] from v[0] loss l = h[0] * w[0,0]",
    ("p[t,d] = 0.5 * p[t-1,d] * w[t,d] + q[t-1] from v[d] q[t] = tanh(q[t-1] * v[0] + sum[d](p[t-1,d] * x[t,d])) from "
     "1 "
     "loss l = sum[t,d](p[t,d] * p[t,d]) + q[T-1]"),
    "loss l = sum[t](let z[n:6] = z[n-1] - (z[n-1] * z[n-1] - w[t,0]) / (2 * z[n-1]) from 1.0 in z[5] * v[0])",
    "loss l = sum[t](sum[s where topk[s](w[s,0] * w[t,1], 2)](w[s,0] * w[s,0] * w[t,0]) * v[0])",
    "loss l = sum[t,d](dropout(w[t,d] * w[t,d], 0.4) * v[d])",
    "loss l = sum[t,d](stop(w[t,d] * v[d]) * w[t,d] * w[t,d] * v[d])",
    "loss l = sum[t,d](softmax[t](w[t,d] * v[d]) * x[t,d]) + logsumexp[d](v[d] * v[d])",
    "loss l = sum[t,d](rmsnorm[d](w[t,d] * v[d]) * x[t,d] + layernorm[d](w[t,d]) * x[t,d])",
    ("S[t,d,s] = S[t-1,d,s] - w[t,d] * (sum[u](w[t,u] * S[t-1,u,s]) - x[s,0]) from 0 "
     "loss l = sum[t,s](exp(sum[d](v[d] * S[t,d,s])) * w[t,0])"),
    "loss a = sum[t,d](w[t,d] * w[t,d] * w[t,d]) loss b = sum[d](exp(v[d])) loss c = sum[t,d](w[t,d] * v[d])",
};

/* The loss becomes the sum of all squares of its gradients. */
static void square_gradients(graph *g) {
    node of[MAX_TENSORS], gradient[MAX_TENSORS], sum = graph_float(g, 0);
    size_t count = 0;
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        if (graph_tensor(g, i)->type == TYPE_FLOAT)
            of[count++] = graph_tensor(g, i)->node;
    derive_gradients(g, derive_total_loss(g), of, count, gradient);
    for (size_t k = 0; k < count; k++)
        sum = graph_add(
            g, sum,
            graph_reduce(g, REDUCE_SUM, graph_view(g, of[k]).free, NODE_NONE, graph_mul(g, gradient[k], gradient[k])));
    graph_drop_outputs(g, OUTPUT_LOSS);
    graph_add_output(g, &(output){.name = "squares", .kind = OUTPUT_LOSS, .node = sum});
    derive_gradients(g, sum, of, count, gradient);
    for (size_t k = 0; k < count; k++) {
        uint32_t number = graph_view(g, of[k]).tensor;
        give(g, graph_tensor(g, number)->name, OUTPUT_GRADIENT, number, gradient[k]);
    }
}

static void note_kinds(const graph *g, bool *operation, bool *reduction) {
    for (size_t n = 1; n <= graph_node_count(g); n++) {
        node_view v     = graph_view(g, (node)n);
        operation[v.op] = true;
        if (v.op == NODE_REDUCE)
            reduction[v.reduction] = true;
    }
}

static void second_derivatives(void **state) {
    (void)state;
    bool operation[NODE_RANDOM + 1] = {false}, reduction[REDUCE_ALL + 1] = {false};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char text[1024], error[256];
        snprintf(text, sizeof text, GIVEN "output all = sum[t,d](x[t,d] * w[t,d] * v[d] * id[t]) %s", kinds[i]);
        graph *g = of_text(text);
        recurrence_by_chunks(g, &(recurrence_options){.chunk = 2}); /* solves come of nothing else */
        note_kinds(g, operation, reduction);
        square_gradients(g);
        assert_true(graph_verify(g, error, sizeof error));
        double **value = values_of(g, 11), largest = 0;
        gradcheck_result result;
        gradcheck_run(g, g, (const double *const *)value, SEED, &(gradcheck_options){1e-6, GRADCHECK_DIRECTION}, NULL,
                      &result);
        double worst        = result.worst;
        interpretation *run = interpret_new(g, (const double *const *)value, SEED);
        for (uint32_t k = 0; k < graph_output_count(g); k++)
            for (int64_t e = 0; graph_output(g, k)->kind == OUTPUT_GRADIENT && e < graph_output(g, k)->elements; e++)
                largest = fmax(largest, fabs(interpret_output(run, k)[e]));
        if (!(worst < 1e-6 && largest > 1e-3))
            print_message("%s: worst %g, largest %g\n", kinds[i], worst, largest);
        assert_true(worst < 1e-6 && largest > 1e-3);
        interpret_free(run);
        free_values(g, value);
        graph_free(g);
    }
    /* what has no derivative, and what only schedules have */
    static const node_op without[] = {NODE_OR, NODE_CHOSEN};
    for (int op = NODE_INVALID + 1; op <= NODE_RANDOM; op++)
        if (op != (int)without[0] && op != (int)without[1] && !operation[op])
            fail_msg("no spec has %s", graph_op_is_pointwise((node_op)op) ? graph_op_name((node_op)op) : "a kind");
    for (int r = REDUCE_SUM; r <= REDUCE_MIN; r++)
        assert_true(reduction[r]);
}

/* First derivatives, where they are known */

/* Element k of output `name`. */
static double element(interpretation *run, const graph *g, const char *name, int64_t k) {
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (strcmp(graph_output(g, i)->name, name) == 0)
            return interpret_output(run, i)[k];
    fail_msg("no output %s", name);
    return 0;
}

static void is_near(double have, double wanted, double tolerance) {
    if (!(fabs(have - wanted) <= tolerance))
        print_message("%.17g is not %.17g\n", have, wanted);
    assert_true(fabs(have - wanted) <= tolerance);
}

static interpretation *run_gradients(graph *g, double *const *value) {
    uint32_t orphan;
    assert_true(derive_parameter_gradients(g, &orphan));
    return interpret_new(g, (const double *const *)value, SEED);
}

/* Each of several losses has its own parameter; their sum is what a shared one is derived from. */
static void several_losses(void **state) {
    (void)state;
    graph *g            = of_text("param a[t], b[t], both[t] ~ uniform(0.3, 1.2) "
                                             "loss first = sum[t](a[t] * both[t]) loss second = sum[t](exp(b[t]) + 3 * both[t])");
    double **value      = values_of(g, 11);
    interpretation *run = run_gradients(g, value);
    const double *a = value[tensor_named(g, "a")], *b = value[tensor_named(g, "b")],
                 *both = value[tensor_named(g, "both")];
    for (int t = 0; t < 5; t++) {
        is_near(element(run, g, "gradient.a", t), both[t], 1e-15);
        is_near(element(run, g, "gradient.b", t), exp(b[t]), 1e-15);
        is_near(element(run, g, "gradient.both", t), a[t] + 3, 1e-15);
    }
    for (uint32_t i = 0; i < graph_output_count(g); i++) /* no part of one loss is in the other's gradient */
        if (strcmp(graph_output(g, i)->name, "gradient.a") == 0)
            assert_int_equal(graph_output(g, i)->node, graph_tensor(g, tensor_named(g, "both"))->node);
    interpret_free(run);
    free_values(g, value);
    graph_free(g);
}

/* A fixed number of steps: z is w^(2^3). */
static void iteration(void **state) {
    (void)state;
    graph *g            = of_text("param w[t] ~ uniform(0.3, 1.2) "
                                             "loss l = sum[t](let z[n:3] = z[n-1] * z[n-1] from w[t] in z[2])");
    double **value      = values_of(g, 11);
    interpretation *run = run_gradients(g, value);
    for (int t = 0; t < 5; t++)
        is_near(element(run, g, "gradient.w", t), 8 * pow(value[tensor_named(g, "w")][t], 7), 1e-13);
    interpret_free(run);
    free_values(g, value);
    graph_free(g);
}

/* What was dropped has no derivative, and only that. */
static void dropout_mask(void **state) {
    (void)state;
    graph *g            = of_text("param w[t,d] ~ uniform(0.3, 1.2) y[t,d] = dropout(w[t,d], 0.25) "
                                             "output kept[t,d] = y[t,d] loss l = sum[t,d](y[t,d] * y[t,d])");
    double **value      = values_of(g, 11);
    interpretation *run = run_gradients(g, value);
    int dropped         = 0;
    for (int k = 0; k < 15; k++) {
        double y = element(run, g, "kept", k);
        dropped += y == 0;
        assert_true(y == 0 || fabs(y - value[tensor_named(g, "w")][k] / 0.75) < 1e-15);
        is_near(element(run, g, "gradient.w", k), 2 * y / 0.75, 1e-14);
    }
    assert_true(0 < dropped && dropped < 15);
    assert_int_equal(count_of(g, NODE_RANDOM), 1);
    interpret_free(run);
    free_values(g, value);
    graph_free(g);
}

/* Equal extremes share; of a maximum of two that are equal the second has it. */
static void ties(void **state) {
    (void)state;
    graph *g = of_text("param w[t], u[t], a[t], b[t] ~ zeros loss l = 6 * max[t](w[t]) + 6 * min[t where t != 2](u[t]) "
                       "+ sum[t](max(a[t], b[t]))");
    double **value          = values_of(g, 11);
    static const double w[] = {2, 1, 2, 2, 0}, u[] = {1, 3, 1, 1, 2};
    static const double share_w[] = {2, 0, 2, 2, 0}, share_u[] = {3, 0, 0, 3, 0};
    memcpy(value[tensor_named(g, "w")], w, sizeof w);
    memcpy(value[tensor_named(g, "u")], u, sizeof u);
    interpretation *run = run_gradients(g, value);
    for (int t = 0; t < 5; t++) {
        is_near(element(run, g, "gradient.w", t), share_w[t], 1e-15);
        is_near(element(run, g, "gradient.u", t), share_u[t], 1e-15);
        is_near(element(run, g, "gradient.a", t), 0, 0);
        is_near(element(run, g, "gradient.b", t), 1, 0);
    }
    interpret_free(run);
    free_values(g, value);
    graph_free(g);
}

/* A factor that is held is a constant. */
static void stops(void **state) {
    (void)state;
    graph *g            = of_text("param w[t] ~ uniform(0.3, 1.2) loss l = sum[t](stop(exp(w[t])) * w[t])");
    double **value      = values_of(g, 11);
    interpretation *run = run_gradients(g, value);
    for (int t = 0; t < 5; t++)
        is_near(element(run, g, "gradient.w", t), exp(value[tensor_named(g, "w")][t]), 1e-15);
    interpret_free(run);
    free_values(g, value);
    graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unused_is_not_made),
        cmocka_unit_test(unused_is_not_made_in_a_spec),
        cmocka_unit_test(second_derivatives),
        cmocka_unit_test(several_losses),
        cmocka_unit_test(iteration),
        cmocka_unit_test(dropout_mask),
        cmocka_unit_test(ties),
        cmocka_unit_test(stops),
    };
    return cmocka_run_group_tests_name("derivation", tests, NULL, NULL);
}
