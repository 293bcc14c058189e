/* Do the comparisons with finite differences find what they are for? */
#include "derive.h"
#include "gradcheck.h"
#include "initialise.h"
#include "sizes.h"

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

static graph *graph_of(const char *text) {
    diagnostics d = {.stream = stderr};
    spec *s       = spec_read_text("test.att", text, strlen(text), NULL, &d);
    graph *g      = graph_new();
    assert_non_null(s);
    assert_true(elaborate_mechanism(g, s, &(elaboration){0}, &d));
    assert_true(gradcheck_add_backward(g));
    spec_free(s);
    return g;
}

/* The result for g and the gradients of `derived`; the table in *table, to be freed. */
static gradcheck_result check(const graph *g, const graph *derived, int elements, char **table) {
    uint32_t tensors = graph_tensor_count(g);
    double **value   = calloc(tensors, sizeof *value);
    size_t size;
    FILE *file = open_memstream(table, &size);
    assert_non_null(value);
    assert_non_null(file);
    for (uint32_t i = 0; i < tensors; i++) {
        const tensor *t = graph_tensor(g, i);
        value[i]        = malloc((size_t)t->elements * sizeof **value);
        assert_non_null(value[i]);
        for (int64_t k = 0; k < t->elements; k++)
            value[i][k] = initial_value(t, 3, (uint64_t)k);
    }
    gradcheck_result result;
    gradcheck_options options = {.tolerance = 1e-7};
    options.elements          = elements;
    gradcheck_run(g, derived, (const double *const *)value, 3, &options, file, &result);
    fclose(file);
    for (uint32_t i = 0; i < tensors; i++)
        free(value[i]);
    free(value);
    return result;
}

static void verdict_is(const char *text, gradcheck_verdict wanted, const char *said) {
    char *table;
    graph *g           = graph_of(text);
    gradcheck_result r = check(g, g, GRADCHECK_SOME_ELEMENTS, &table);
    if (r.verdict != wanted || !strstr(table, said))
        fail_msg("%s\n%s", text, table);
    assert_int_equal(isnan(r.worst), wanted != GRADCHECK_AGREES && wanted != GRADCHECK_DIFFERS);
    free(table);
    graph_free(g);
}

#define SPEC "mechanism m \"test\" include \"lib/standard.att\" size T = 5, D = 3 index t:T s:T d:D input x[t,d] "

static void verdicts(void **state) {
    (void)state;
    verdict_is(SPEC "output y[t,d] = exp(x[t,d]) * sum[t](x[t,d])", GRADCHECK_AGREES, " agrees\n");
    /* kinks and selections within the widest step, not at the values */
    verdict_is(SPEC "output y[t] = sum[d](relu(x[t,d] - 0.001) * abs(x[t,d] + 0.01)) + max[d](x[t,d])",
               GRADCHECK_AGREES, " agrees\n");
    /* a parameter without effect: all that is seen is rounding */
    verdict_is(SPEC "param b ~ normal(0, 1) output y[t] = sum[s](softmax[s](x[s,0] + b) * x[s,1])", GRADCHECK_AGREES,
               " agrees\n");
    verdict_is(SPEC "output y[t,d] = x[t,d] * stop(x[t,d])", GRADCHECK_AGREES, " agrees\n");
    verdict_is(SPEC "output y[t,d] = relu(x[t,d] - stop(x[t,d]))", GRADCHECK_KINK, ": a kink, with slopes 0 and ");
    verdict_is(SPEC "output y[t,d] = x[t,d] + (if x[t,d] >= stop(x[t,d]) then 1 else 0)", GRADCHECK_JUMP,
               ": the outputs jump, because a selection changes\n");
    verdict_is(SPEC "output y[t,d] = x[t,d] + log(1e-11 - abs(x[t,d] - stop(x[t,d])))", GRADCHECK_NOT_FINITE,
               ": the outputs are not finite a small step away");
    verdict_is(SPEC "output y[t,d] = log(-1 - x[t,d] * x[t,d])", GRADCHECK_NO_VALUE,
               ": the outputs are not finite at these values\n");
    verdict_is(SPEC "output y[t,d] = sqrt(x[t,d] - stop(x[t,d]) + 0 * x[t,0])", GRADCHECK_NO_DERIVATIVE,
               "not compared at [0,0]: the derived gradient is not finite");
}

/* A gradient that is outside the slopes of both sides of a kink is wrong, kink or not. */
static void wrong_at_a_kink(void **state) {
    (void)state;
    char *table;
    graph *g       = graph_of(SPEC "output y[t,d] = relu(x[t,d] - stop(x[t,d]))");
    graph *derived = graph_of(SPEC "output y[t,d] = 3 * x[t,d]");
    assert_int_equal(check(g, derived, GRADCHECK_SOME_ELEMENTS, &table).verdict, GRADCHECK_DIFFERS);
    free(table);
    graph_free(g);
    graph_free(derived);
}

/* Multiplies one element of the gradient of the tensor `name` by `factor`; returns the tensor's number. */
static uint32_t spoil(graph *g, const char *name, const int64_t *at, double factor) {
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        if (o->kind != OUTPUT_GRADIENT || strcmp(graph_tensor(g, o->tensor)->name, name) != 0)
            continue;
        node here = graph_bool(g, true);
        for (unsigned r = 0; r < o->rank; r++)
            here = graph_and(
                g, here,
                graph_pointwise(g, NODE_EQUAL, graph_index_value(g, o->index[r]), graph_int(g, at[r]), NODE_NONE));
        node scale = graph_select(g, here, graph_float(g, factor), graph_float(g, 1));
        graph_set_output_node(g, i, graph_mul(g, o->node, scale));
        return o->tensor;
    }
    fail_msg("no gradient of %s", name);
    return 0;
}

static const char layer[] =
    SPEC "size E = 2, F = 40 index e:E f:F param W[d,e] ~ normal(0, 0.5) param U[e,f] ~ normal(0, 1) "
         "output y[t,f] = tanh(sum[d,e](x[t,d] * W[d,e] * U[e,f])) + x[t,0] * W[1,1]";

static void a_wrong_element(void **state) {
    (void)state;
    char *table;
    graph *g = graph_of(layer), *derived = graph_of(layer);
    uint32_t W         = spoil(derived, "W", (const int64_t[]){2, 1}, 1.001);
    gradcheck_result r = check(g, derived, GRADCHECK_SOME_ELEMENTS, &table);
    assert_int_equal(r.verdict, GRADCHECK_DIFFERS);
    assert_int_equal(r.tensor, W);
    assert_int_equal(r.element, 2 * 2 + 1);
    assert_true(r.worst > 1e-5 && r.worst < 1.1e-3);
    const char *line = strstr(table, "\nW ");
    assert_non_null(line);
    assert_non_null(strstr(line, "differs at [2,1]\n"));
    assert_non_null(strstr(line, "the worst of 6 elements"));
    const char *of_x = strstr(table, "\nx "), *of_U = strstr(table, "\nU ");
    assert_true(of_x && of_U && strstr(of_x, " agrees") && strstr(of_U, " agrees"));
    assert_null(strstr(of_U, "differs"));
    free(table);
    graph_free(g);
    graph_free(derived);
}

/* Of a large tensor some elements are compared, of which a direction says less, and on request all. */
static void every_element(void **state) {
    (void)state;
    int found[2] = {0, 0};
    for (int64_t f = 0; f < 40; f += 3)
        for (int all = 0; all < 2; all++) {
            char *table;
            graph *g = graph_of(layer), *derived = graph_of(layer);
            uint32_t U         = spoil(derived, "U", (const int64_t[]){1, f}, 1 + 1e-5);
            gradcheck_result r = check(g, derived, all ? GRADCHECK_ALL_ELEMENTS : GRADCHECK_SOME_ELEMENTS, &table);
            found[all] += r.verdict == GRADCHECK_DIFFERS && r.tensor == U && r.element == 40 + f;
            assert_non_null(strstr(table, all ? "the worst of 80 elements" : "the worst of 32 of 80 elements"));
            free(table);
            graph_free(g);
            graph_free(derived);
        }
    assert_int_equal(found[1], 14);
    assert_in_range(found[0], 3, 13);
}

/* What derives may have forgotten its STOPs: the differences hold those of the other graph. */
static void another_graph(void **state) {
    (void)state;
    static const char text[] =
        SPEC "output y[t,d] = sum[s](softmax[s where s <= t](x[t,0] * x[s,1]) * x[s,d]) * stop(x[t,d])";
    char *table;
    graph *g = graph_of(text), *derived = graph_of(text);
    derive_forget_stops(derived);
    assert_int_equal(check(g, derived, GRADCHECK_ALL_ELEMENTS, &table).verdict, GRADCHECK_AGREES);
    free(table);
    assert_int_equal(check(derived, derived, GRADCHECK_ALL_ELEMENTS, &table).verdict, GRADCHECK_DIFFERS);
    free(table);
    graph_free(g);
    graph_free(derived);
}

static double chosen(const char *file, const binding *given, size_t count, const char *name) {
    char path[512];
    binding set[SIZES];
    diagnostics d = {.stream = stderr};
    snprintf(path, sizeof path, TEST_SOURCE_DIR "/%s", file);
    spec *s = spec_read(path, NULL, &d);
    assert_non_null(s);
    size_t n     = gradcheck_sizes(s, &(elaboration){.bindings = given, .binding_count = count}, set);
    double value = 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(set[i].name, name) == 0)
            value = set[i].value;
    spec_free(s);
    return value;
}

static void sizes(void **state) {
    (void)state;
    assert_true(chosen("specs/mha.att", NULL, 0, "T") == 7);
    assert_true(chosen("specs/mha.att", NULL, 0, "E") == 0); /* a quotient of others */
    assert_true(chosen("specs/sliding.att", NULL, 0, "W") < 7);
    assert_true(chosen("specs/mha.att", &(binding){"T", 5}, 1, "T") == 0);
    assert_true(chosen("specs/mha.att", &(binding){"T", 5}, 1, "B") > 0);
    /* no more landmarks than their segments are filled with */
    assert_true(chosen("examples/mechanisms/nystromformer.att", NULL, 0, "M") == 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts),      cmocka_unit_test(wrong_at_a_kink), cmocka_unit_test(a_wrong_element),
        cmocka_unit_test(every_element), cmocka_unit_test(another_graph),   cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
