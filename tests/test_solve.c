/* The unit triangular solve: its values against a plain loop, its derivative against finite differences, through the
 * interpreter, rewrites, simplification and proofs. */
#include "causality.h"
#include "cost.h"
#include "derive.h"
#include "gradcheck.h"
#include "linear_system.h"
#include "simplify.h"

static void interpreted(void **state) {
    (void)state;
    for (unsigned i = 0; i < SHAPES; i++) {
        char error[512], what[32];
        linear_system s = make_system(&each_shape[i]);
        snprintf(what, sizeof what, "shape %u", i);
        give_all(&s, "x", s.x);
        if (!graph_verify(s.g, error, sizeof error))
            fail_msg("%s: %s", what, error);
        double **value = values(s.g);
        double *wanted = directly(&s, value[s.matrix_tensor], value[s.right_tensor]);
        for (int spoilt = 0; spoilt < 2; spoilt++) {
            if (spoilt)
                spoil(&s, value[s.matrix_tensor]);
            interpretation *run = interpret_new(s.g, (const double *const *)value, 9);
            close_to(what, interpret_output(run, 0), wanted, elements_of(&s), 1e-14);
            interpret_free(run);
        }
        free(wanted);
        free_values(s.g, value);
        graph_free(s.g);
    }
}

static void construction(void **state) {
    (void)state;
    shape of         = {.extent = 4, .width = 2};
    linear_system s  = make_system(&of);
    node_view v      = graph_view(s.g, s.x);
    index_set wanted = bit(s.row) | bit(s.width);
    assert_int_equal(v.op, NODE_SOLVE);
    assert_int_equal(v.type, TYPE_FLOAT);
    assert_true(v.free == wanted);
    assert_int_equal(graph_solve_column(s.g, s.x), s.column);
    assert_int_equal(graph_solve(s.g, s.row, s.column, false, s.matrix, s.right), s.x);
    assert_int_not_equal(graph_solve(s.g, s.row, s.column, true, s.matrix, s.right), s.x);
    assert_int_equal(graph_solve(s.g, s.row, s.column, false, graph_float(s.g, 0), s.right), s.right);
    /* the solution has no column: one in its place changes nothing */
    node one = graph_int(s.g, 1);
    assert_int_equal(graph_gather(s.g, s.x, 1, &s.column, &one), s.x);
    assert_int_equal(graph_view(s.g, graph_gather(s.g, s.x, 1, &s.row, &one)).op, NODE_GATHER);
    give_all(&s, "x", s.x);
    char *text  = NULL;
    size_t size = 0;
    FILE *file  = open_memstream(&text, &size);
    assert_non_null(file);
    graph_print(s.g, file);
    fclose(file);
    assert_non_null(strstr(text, " : float[r,e] = solve[r, c] %1, %2\n"));
    assert_non_null(strstr(text, "index r:4 c:4 e:2\n"));
    free(text);
    graph_free(s.g);
}

/* The solution at an expression that has the column's own name is that of another row, not of another column. */
static void read_elsewhere(void **state) {
    (void)state;
    shape of        = {.extent = 5, .width = 3};
    linear_system s = make_system(&of);
    char error[512];
    node last      = graph_sub(s.g, graph_int(s.g, 4), graph_index_value(s.g, s.column));
    node mirrored  = graph_gather(s.g, s.x, 1, &s.row, &last);
    index_set axes = bit(s.column) | bit(s.width);
    assert_true(graph_view(s.g, mirrored).free == axes);
    node product = graph_reduce(s.g, REDUCE_SUM, bit(s.column), NODE_NONE, graph_mul(s.g, s.matrix, mirrored));
    give_all(&s, "y", product);
    assert_true(graph_verify(s.g, error, sizeof error));
    for (int simplified = 0; simplified < 2; simplified++) {
        if (simplified)
            simplify_outputs(s.g, NULL);
        double **value = values(s.g), *x = directly(&s, value[0], value[1]), wanted[15];
        for (int64_t r = 0; r < 5; r++)
            for (int64_t e = 0; e < 3; e++) {
                wanted[r * 3 + e] = 0;
                for (int64_t c = 0; c < 5; c++)
                    wanted[r * 3 + e] += matrix_at(&s, value[0], 0, r, c) * x[(4 - c) * 3 + e];
            }
        interpretation *run = interpret_new(s.g, (const double *const *)value, 9);
        close_to("y", interpret_output(run, 0), wanted, 15, 1e-14);
        interpret_free(run);
        free(x);
        free_values(s.g, value);
    }
    graph_free(s.g);
}

/* What a solve is made of is simplified, replaced and freed of STOPs like anything else. */
static void rewritten(void **state) {
    (void)state;
    shape of        = {.extent = 5, .width = 3, .reverse = true};
    linear_system s = make_system(&of);
    node stopped    = unary(s.g, NODE_STOP, s.matrix);
    node x          = graph_solve(s.g, s.row, s.column, true, stopped, s.right);
    give_all(&s, "x", x);
    derive_forget_stops(s.g);
    assert_int_equal(graph_output(s.g, 0)->node, s.x);
    node zero = graph_sub(s.g, s.matrix, s.matrix);
    graph_set_output_node(s.g, 0, graph_solve(s.g, s.row, s.column, true, graph_mul(s.g, zero, s.matrix), s.right));
    simplify_outputs(s.g, NULL);
    assert_true(graph_view(s.g, graph_output(s.g, 0)->node).op == NODE_SOLVE || graph_output(s.g, 0)->node == s.right);
    graph_free(s.g);
}

/* The loss of everything that is made of x. */
static void differentiate(linear_system *s) {
    give_all(s, "x", s->x);
    assert_true(gradcheck_add_backward(s->g));
}

static void differences(graph *g, const char *what) {
    char error[512];
    gradcheck_result result;
    if (!graph_verify(g, error, sizeof error))
        fail_msg("%s: %s", what, error);
    double **value = values(g);
    gradcheck_run(g, g, (const double *const *)value, 9, &(gradcheck_options){1e-7, GRADCHECK_ALL_ELEMENTS}, NULL,
                  &result);
    if (result.verdict != GRADCHECK_AGREES)
        fail_msg("%s: verdict %d, worst %g", what, result.verdict, result.worst);
    free_values(g, value);
}

static void derived(void **state) {
    (void)state;
    for (unsigned i = 0; i < SHAPES; i++) {
        if (each_shape[i].extent > 9)
            continue;
        char what[32];
        snprintf(what, sizeof what, "shape %u", i);
        linear_system s = make_system(&each_shape[i]);
        differentiate(&s);
        differences(s.g, what);
        simplify_outputs(s.g, NULL);
        differences(s.g, what);
        graph_free(s.g);
    }
}

/* A matrix that is computed, and lacks an index of the triangle: the same factor in every column. */
static void derived_through(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        shape of        = {.extent = 5, .width = 2, .reverse = kind == 3};
        linear_system s = make_system(&of);
        graph *g        = s.g;
        node vector     = graph_tensor(g, input_over(g, "vector", 1, &s.row))->node;
        node number     = graph_tensor(g, input_over(g, "number", 0, NULL))->node;
        node matrix     = kind == 0   ? vector
                          : kind == 1 ? number
                                      : graph_mul(g, unary(g, NODE_TANH, s.matrix), graph_add(g, vector, number));
        s.x             = graph_solve(g, s.row, s.column, of.reverse, matrix, graph_mul(g, s.right, vector));
        s.x             = graph_mul(g, s.x, s.x);
        differentiate(&s);
        differences(g, "computed");
        simplify_outputs(g, NULL);
        differences(g, "computed, simplified");
        graph_free(g);
    }
}

/* A NaN outside the triangle reaches no gradient either. */
static void derived_past_nan(void **state) {
    (void)state;
    for (int reverse = 0; reverse < 2; reverse++) {
        shape of        = {.extent = 6, .width = 3, .batch = 2, .batched_matrix = true, .reverse = reverse};
        linear_system s = make_system(&of);
        differentiate(&s);
        simplify_outputs(s.g, NULL);
        double **value = values(s.g);
        spoil(&s, value[s.matrix_tensor]);
        interpretation *run = interpret_new(s.g, (const double *const *)value, 9);
        for (uint32_t i = 0; i < graph_output_count(s.g); i++)
            for (int64_t k = 0; k < graph_output(s.g, i)->elements; k++)
                assert_true(isfinite(interpret_output(run, i)[k]));
        interpret_free(run);
        free_values(s.g, value);
        graph_free(s.g);
    }
}

static causality_kind proved(const shape *of, int64_t ahead_of_matrix, int64_t ahead_of_right) {
    linear_system s = make_system(of);
    node here       = graph_index_value(s.g, s.row);
    node matrix_at  = graph_add(s.g, here, graph_int(s.g, ahead_of_matrix));
    node right_at   = graph_add(s.g, here, graph_int(s.g, ahead_of_right));
    node matrix     = graph_gather(s.g, s.matrix, 1, &s.row, &matrix_at);
    node right      = graph_gather(s.g, s.right, 1, &s.row, &right_at);
    give_all(&s, "x", graph_solve(s.g, s.row, s.column, of->reverse, matrix, right));
    causality_kind kind = causality_prove(s.g, s.row).kind;
    graph_free(s.g);
    return kind;
}

static void causal(void **state) {
    (void)state;
    const shape forward = {.extent = 5, .width = 2}, backward = {.extent = 5, .width = 2, .reverse = true};
    assert_int_equal(proved(&forward, 0, 0), CAUSALITY_PROVED);
    assert_int_equal(proved(&forward, -1, -2), CAUSALITY_PROVED);
    assert_int_equal(proved(&forward, 1, 0), CAUSALITY_UNPROVED);
    assert_int_equal(proved(&forward, 0, 1), CAUSALITY_UNPROVED);
    assert_int_equal(proved(&backward, 0, 0), CAUSALITY_UNPROVED);
    /* read at the columns: those are before the row */
    linear_system s = make_system(&forward);
    node at_column  = graph_index_value(s.g, s.column);
    node inputs     = graph_gather(s.g, s.right, 1, &s.row, &at_column);
    node matrix     = graph_reduce(s.g, REDUCE_SUM, bit(s.width), NODE_NONE, graph_mul(s.g, s.right, inputs));
    give_all(&s, "x", graph_solve(s.g, s.row, s.column, false, matrix, s.right));
    assert_int_equal(causality_prove(s.g, s.row).kind, CAUSALITY_PROVED);
    node after = graph_add(s.g, at_column, graph_int(s.g, 1));
    inputs     = graph_gather(s.g, s.right, 1, &s.row, &after);
    matrix     = graph_reduce(s.g, REDUCE_SUM, bit(s.width), NODE_NONE, graph_mul(s.g, s.right, inputs));
    graph_set_output_node(s.g, 0, graph_solve(s.g, s.row, s.column, false, matrix, s.right));
    assert_int_equal(causality_prove(s.g, s.row).kind, CAUSALITY_PROVED); /* at most the row itself */
    after  = graph_add(s.g, at_column, graph_int(s.g, 2));
    inputs = graph_gather(s.g, s.right, 1, &s.row, &after);
    matrix = graph_reduce(s.g, REDUCE_SUM, bit(s.width), NODE_NONE, graph_mul(s.g, s.right, inputs));
    graph_set_output_node(s.g, 0, graph_solve(s.g, s.row, s.column, false, matrix, s.right));
    assert_int_equal(causality_prove(s.g, s.row).kind, CAUSALITY_UNPROVED);
    graph_free(s.g);
}

static void counted(void **state) {
    (void)state;
    shape of        = {.extent = 7, .width = 4, .batch = 3, .batched_matrix = true, .batched_right = true};
    linear_system s = make_system(&of);
    give_all(&s, "x", s.x);
    cost *c = cost_of(s.g, false);
    assert_true(c->exact);
    assert_true(c->operations == 7 * 6 * 4 * 3);
    cost_free(c);
    /* what computes the matrix is needed in the triangle only */
    node matrix = graph_mul(s.g, s.matrix, s.matrix);
    graph_set_output_node(s.g, 0, graph_solve(s.g, s.row, s.column, false, matrix, s.right));
    c = cost_of(s.g, false);
    assert_true(c->exact);
    assert_true(c->operations == 7 * 6 * 4 * 3 + 7 * 6 / 2 * 3);
    cost_free(c);
    graph_free(s.g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interpreted),      cmocka_unit_test(construction), cmocka_unit_test(read_elsewhere),
        cmocka_unit_test(rewritten),        cmocka_unit_test(derived),      cmocka_unit_test(derived_through),
        cmocka_unit_test(derived_past_nan), cmocka_unit_test(causal),       cmocka_unit_test(counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
