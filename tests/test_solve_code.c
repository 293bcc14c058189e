/* Solves in schedules: the interpreter of tiles and machine code against the interpreter of graphs, for one thread and
 * several, fused and not, inside the steps of a scan and around them, forward and backward; what the verifier refuses.
 */
#include "derive.h"
#include "fused/both_ways.h"
#include "gradcheck.h"
#include "linear_system.h"
#include "schedule.h"
#include "schedule_cost.h"
#include "simplify.h"
#include "tile_interpret.h"
#include "tile_verify.h"

/* The largest difference relative to the largest value; infinite where one is a number and the other is not. */
static double difference(const double *have, const double *wanted, int64_t count) {
    double scale = 1e-30, worst = 0;
    for (int64_t k = 0; k < count; k++)
        scale = isfinite(wanted[k]) ? fmax(scale, fabs(wanted[k])) : scale;
    for (int64_t k = 0; k < count; k++) {
        bool same = have[k] == wanted[k] || (isnan(have[k]) && isnan(wanted[k]));
        double by = same ? 0 : fabs(have[k] - wanted[k]) / scale;
        worst     = isfinite(by) ? fmax(worst, by) : INFINITY;
    }
    return worst;
}

static void in_tiles(const char *what, graph *g, double **value, const schedule_options *how) {
    char error[512]     = "";
    interpretation *run = interpret_new(g, (const double *const *)value, RUN_SEED);
    schedule *s         = schedule_graph(g, how);
    if (!tile_verify(s, error, sizeof error) || s->given_up)
        fail_msg("%s: %s", what, s->given_up ? s->given_up : error);
    for (int single = 0; single < 2; single++) {
        double **out = need(graph_output_count(g), sizeof *out);
        if (!tile_interpret(s, (const double *const *)value, out, RUN_SEED, single, error, sizeof error))
            fail_msg("%s: %s", what, error);
        for (uint32_t i = 0; i < graph_output_count(g); i++) {
            const output *o = graph_output(g, i);
            double worst    = difference(out[i], interpret_output(run, i), o->elements);
            if (!(worst <= (single ? 1e-4 : 1e-12)))
                fail_msg("%s, %s: %s differs by %g", what, single ? "float" : "double", o->name, worst);
            free(out[i]);
        }
        free(out);
    }
    interpret_free(run);
    schedule_free(s);
}

static void in_machine_code(const char *what, graph *g, double **value, const schedule_options *how) {
    char text[512] = "";
    both_ways b = {.g = g, .value = value, .code = compile_graph(g, &(compile_options){.schedule = *how}, text, 512)};
    if (!b.code)
        fail_msg("%s: %s", what, text);
    b.tensor = need(graph_tensor_count(g), sizeof *b.tensor);
    b.output = need(graph_output_count(g), sizeof *b.output);
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        b.tensor[i] = need((size_t)graph_tensor(g, i)->elements, sizeof(float));
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        b.output[i] = need((size_t)graph_output(g, i)->elements, sizeof(float));
    char *first = NULL;
    for (int threads = 1; threads <= 5; threads += 2) {
        size_t size;
        assert_true(both_run_machine(&b, threads));
        if (!both_compare(&b, 3e-5, 0, text, sizeof text))
            fail_msg("%s, %d threads: %s", what, threads, text);
        char *all = both_keep(&b, &size);
        if (first && memcmp(first, all, size) != 0)
            fail_msg("%s: %d threads make a difference", what, threads);
        if (first)
            free(all);
        else
            first = all;
    }
    free(first);
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        free(b.tensor[i]);
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        free(b.output[i]);
    free(b.tensor);
    free(b.output);
    compiled_free(b.code);
}

static const schedule_options each_way[] = {{0}, {.unfused = true}, {.wide = 1e-9, .rows = 2}};

static void every_way(const char *what, graph *g, double **value) {
    char error[512];
    if (!graph_verify(g, error, sizeof error))
        fail_msg("%s: %s", what, error);
    for (unsigned i = 0; i < sizeof each_way / sizeof *each_way; i++) {
        in_tiles(what, g, value, &each_way[i]);
        in_machine_code(what, g, value, &each_way[i]);
    }
}

/* Forward, then with gradients. Frees the graph. */
static void both_passes(const char *what, graph *g) {
    double **value = values(g);
    every_way(what, g, value);
    free_values(g, value);
    assert_true(gradcheck_add_backward(g));
    derive_forget_stops(g);
    simplify_outputs(g, NULL);
    value = values(g);
    char backward[64];
    snprintf(backward, sizeof backward, "%s, backward", what);
    every_way(backward, g, value);
    free_values(g, value);
    graph_free(g);
}

static void each_of_them(void **state) {
    (void)state;
    for (unsigned i = 0; i < SHAPES; i++) {
        char what[32];
        linear_system s = make_system(&each_shape[i]);
        snprintf(what, sizeof what, "shape %u", i);
        give_all(&s, "x", s.x);
        both_passes(what, s.g);
    }
}

/* Every length of a row that is handled apart: whole strips of 64, 16, 8 and 4 numbers, and what is left. */
static void widths(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__ /* all of them take minutes there */
    static const int64_t width[] = {3, 21, 65};
#else
    static const int64_t width[] = {1, 3, 4, 9, 15, 16, 21, 63, 64, 65, 150};
#endif
    for (unsigned i = 0; i < sizeof width / sizeof *width; i++) {
        char what[32];
        shape of        = {.extent = 9, .width = width[i], .reverse = i % 2};
        linear_system s = make_system(&of);
        snprintf(what, sizeof what, "width %lld", (long long)width[i]);
        give_all(&s, "x", s.x);
        both_passes(what, s.g);
    }
}

/* Large enough that threads share the work: over the batch, and along the rows. */
static void threads(void **state) {
    (void)state;
    shape many        = {.extent = 64, .width = 32, .batch = 24, .batched_matrix = true, .batched_right = true};
    shape one         = {.extent = 96, .width = 90};
    linear_system s[] = {make_system(&many), make_system(&one)};
    for (unsigned i = 0; i < 2; i++) {
        double **value = values(s[i].g);
        give_all(&s[i], "x", s[i].x);
        for (int64_t k = 0; k < graph_tensor(s[i].g, s[i].matrix_tensor)->elements; k++)
            value[s[i].matrix_tensor][k] *= 0.1;
        spoil(&s[i], value[s[i].matrix_tensor]);
        every_way(i ? "along the rows" : "over the batch", s[i].g, value);
        free_values(s[i].g, value);
        graph_free(s[i].g);
    }
}

/* What is outside the triangle is not computed with, forward or backward. */
static void not_a_number(void **state) {
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        shape of        = {.extent = 11, .width = 5, .batch = 2, .batched_matrix = true, .reverse = i & 1};
        linear_system s = make_system(&of);
        give_all(&s, "x", s.x);
        if (i & 2) {
            assert_true(gradcheck_add_backward(s.g));
            simplify_outputs(s.g, NULL);
        }
        double **value = values(s.g);
        spoil(&s, value[s.matrix_tensor]);
        every_way("NaN outside", s.g, value);
        interpretation *run = interpret_new(s.g, (const double *const *)value, RUN_SEED);
        for (uint32_t k = 0; k < graph_output_count(s.g); k++)
            for (int64_t j = 0; j < graph_output(s.g, k)->elements; j++)
                assert_true(isfinite(interpret_output(run, k)[j]));
        interpret_free(run);
        free_values(s.g, value);
        graph_free(s.g);
    }
}

/* A matrix and a right-hand side that are computed, from sums, exponentials and the solution's own indices, as the
 * chunks of the delta rule have them. */
static void computed(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        graph *g   = graph_new();
        index_id b = graph_index(g, "b", 3), n = graph_index(g, "n", 2), r = graph_index(g, "r", 8),
                 c = graph_index(g, "c", 8), d = graph_index(g, "d", 5);
        node key         = graph_tensor(g, input_over(g, "key", 4, (index_id[]){b, n, r, d}))->node;
        node value       = graph_tensor(g, input_over(g, "value", 4, (index_id[]){b, n, r, d}))->node;
        node decay       = graph_tensor(g, input_over(g, "decay", 3, (index_id[]){b, n, r}))->node;
        node strength    = graph_tensor(g, input_over(g, "strength", 3, (index_id[]){b, n, r}))->node;
        node at_column   = graph_index_value(g, c);
        node other_key   = graph_gather(g, key, 1, &r, &at_column);
        node other_decay = graph_gather(g, decay, 1, &r, &at_column);
        node score       = graph_reduce(g, REDUCE_SUM, bit(d), NODE_NONE, graph_mul(g, key, other_key));
        node matrix      = graph_neg(
                 g, graph_mul(g, graph_mul(g, strength, score), unary(g, NODE_EXP, graph_sub(g, decay, other_decay))));
        node x = graph_solve(g, r, c, i, matrix, graph_mul(g, strength, value));
        /* and something that reads it at other rows */
        node y =
            graph_reduce(g, REDUCE_SUM, bit(c), NODE_NONE, graph_mul(g, score, graph_gather(g, x, 1, &r, &at_column)));
        output o = {.name = "y", .kind = OUTPUT_VALUE, .rank = 4, .index = {b, n, r, d}, .node = y};
        graph_add_output(g, &o);
        both_passes("computed", g);
    }
}

/* A scan over chunks whose step solves a system that has the state in it: x = rhs + matrix x, where the right-hand side
 * (and with `all`, the matrix) is made of the state before; the state is what the solution leaves. */
static graph *inside_scan(bool reverse, bool all, bool batched) {
    graph *g   = graph_new();
    index_id b = graph_index(g, "b", batched ? 3 : 1), n = graph_index(g, "n", 4), r = graph_index(g, "r", 5),
             c = graph_index(g, "c", 5), d = graph_index(g, "d", 6), e = graph_index(g, "e", 7);
    node key     = graph_tensor(g, input_over(g, "key", 4, (index_id[]){b, n, r, d}))->node;
    node value   = graph_tensor(g, input_over(g, "value", 4, (index_id[]){b, n, r, e}))->node;
    node before  = graph_previous(g, n, reverse, bit(b) | bit(d) | bit(e), TYPE_FLOAT);
    node at      = graph_index_value(g, c);
    node other   = graph_gather(g, key, 1, &r, &at);
    node matrix  = graph_neg(g, graph_reduce(g, REDUCE_SUM, bit(d), NODE_NONE, graph_mul(g, key, other)));
    node readout = graph_reduce(g, REDUCE_SUM, bit(d), NODE_NONE, graph_mul(g, key, before));
    if (all)
        matrix = graph_mul(g, matrix, unary(g, NODE_TANH, graph_reduce(g, REDUCE_SUM, bit(e), NODE_NONE, readout)));
    node x    = graph_solve(g, r, c, reverse, matrix, graph_sub(g, value, readout));
    node step = graph_reduce(g, REDUCE_SUM, bit(r), NODE_NONE, graph_mul(g, key, x));
    node scan =
        graph_scan(g, before, graph_float(g, 0), graph_add(g, scaled_by(g, 0.5, before), scaled_by(g, 0.2, step)));
    output o = {.name = "state", .kind = OUTPUT_VALUE, .rank = 4, .index = {b, n, d, e}, .node = scan};
    graph_add_output(g, &o);
    return g;
}

static void in_steps(void **state) {
    (void)state;
    static const unsigned some[] = {0, 3, 5, 6}; /* each two of the three together and apart */
    for (unsigned k = 0; k < sizeof some / sizeof *some; k++) {
        unsigned i = some[k];
        char what[48];
        snprintf(what, sizeof what, "in a step%s%s%s", i & 1 ? ", reverse" : "", i & 2 ? ", all of it" : "",
                 i & 4 ? ", batched" : "");
        both_passes(what, inside_scan(i & 1, i & 2, i & 4));
    }
}

/* A solve of what a scan has made, and a scan over what a solve has made, along the same index. */
static void beside_scans(void **state) {
    (void)state;
    shape of        = {.extent = 6, .width = 5, .batch = 2, .batched_matrix = true, .batched_right = true};
    linear_system s = make_system(&of);
    graph *g        = s.g;
    index_set axes  = bit(s.batch) | bit(s.width);
    node before     = graph_previous(g, s.row, false, axes, TYPE_FLOAT);
    node running    = graph_scan(g, before, graph_float(g, 0), graph_add(g, scaled_by(g, 0.5, before), s.right));
    node x          = graph_solve(g, s.row, s.column, false, s.matrix, running);
    node after      = graph_previous(g, s.row, true, axes, TYPE_FLOAT);
    give_all(&s, "y", graph_scan(g, after, graph_float(g, 1), graph_add(g, scaled_by(g, 0.5, after), x)));
    both_passes("beside scans", g);
}

/* Systems too large to keep: made block by block of the index that nothing is solved along. */
static void in_blocks(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        graph *g   = graph_new();
        index_id t = graph_index(g, "t", 200), r = graph_index(g, "r", 12), c = graph_index(g, "c", 12);
        index_id d  = graph_index(g, "d", 3);
        node a      = graph_tensor(g, input_over(g, "a", 2, (index_id[]){t, d}))->node;
        node key    = graph_tensor(g, input_over(g, "key", 2, (index_id[]){r, d}))->node;
        node at     = graph_index_value(g, c);
        node other  = graph_gather(g, key, 1, &r, &at);
        node matrix = graph_reduce(g, REDUCE_SUM, bit(d), NODE_NONE, graph_mul(g, graph_mul(g, a, key), other));
        node right  = graph_reduce(g, REDUCE_SUM, bit(d), NODE_NONE, graph_mul(g, a, key));
        node x      = graph_solve(g, r, c, i, scaled_by(g, 0.2, matrix), right);
        node y      = graph_reduce(g, REDUCE_SUM, bit(r), NODE_NONE, graph_mul(g, x, right));
        output o    = {.name = "y", .kind = OUTPUT_VALUE, .rank = 1, .index = {t}, .node = y};
        graph_add_output(g, &o);
        schedule *s  = schedule_graph(g, &(schedule_options){.wide = 2, .rows = 8});
        bool blocked = false;
        for (uint32_t k = 0; k < s->step_count; k++)
            blocked |= s->step[k].kind == STEP_BLOCKS && s->step[k].index == t;
        assert_true(blocked);
        schedule_free(s);
        double **value = values(g);
        in_tiles("in blocks", g, value, &(schedule_options){.wide = 2, .rows = 8});
        in_machine_code("in blocks", g, value, &(schedule_options){.wide = 2, .rows = 8});
        free_values(g, value);
        both_passes("in blocks", g);
    }
}

/* What the verifier says */

static statement *find_solve(statement *list) {
    for (; list; list = list->next) {
        statement *inside = list->kind == STATEMENT_SOLVE ? list : find_solve(list->body);
        if (inside)
            return inside;
    }
    return NULL;
}

enum { OTHER_DIRECTION, OTHER_ROW, ALONG_THE_BATCH, ALONG_THE_COLUMN, TWO_AT_ONCE, OTHER_TRIANGLE, MISTAKES };

/* Instead of in a loop over it. */
static void go_along_the_batch(step *t, statement *solve, index_id batch) {
    assert_ptr_equal(t->body->body, solve);
    free(t->body);
    t->body           = solve;
    t->split          = GRAPH_INDICES;
    t->parallel_count = 0;
    t->items          = 1;
    solve->var[0]     = batch;
}

static void refused(void **state) {
    (void)state;
    static const char *const said[MISTAKES] = {"is not solved along r that way",  "is not solved along e that way",
                                               "its matrix depends on b",         "it goes along its column",
                                               "it goes along 2 indices at once", "is not the triangle that counts"};
    for (int mistake = 0; mistake < MISTAKES; mistake++) {
        char error[512] = "";
        shape of        = {.extent = 6, .width = 5, .batch = 2, .batched_matrix = true, .batched_right = true};
        linear_system s = make_system(&of);
        give_all(&s, "x", s.x);
        schedule *made   = schedule_graph(s.g, NULL);
        statement *solve = NULL;
        for (uint32_t i = 0; i < made->step_count && !solve; i++)
            solve = find_solve(made->step[i].body);
        assert_non_null(solve);
        assert_int_equal(solve->var_count, 1);
        assert_int_equal(solve->var[0], s.width);
        if (mistake == OTHER_DIRECTION)
            solve->reverse = true;
        else if (mistake == OTHER_ROW)
            solve->index = s.width;
        else if (mistake == ALONG_THE_BATCH)
            go_along_the_batch(&made->step[0], solve, s.batch);
        else if (mistake == ALONG_THE_COLUMN)
            solve->var[0] = s.column;
        else if (mistake == TWO_AT_ONCE)
            solve->var_count = 2;
        else
            solve->domain = graph_bool(s.g, true);
        assert_false(tile_verify(made, error, sizeof error));
        if (!strstr(error, said[mistake]))
            fail_msg("wanted %s, it says: %s", said[mistake], error);
        schedule_free(made);
        graph_free(s.g);
    }
}

/* The text form says what is solved, and its cost is exact. */
static void written_down(void **state) {
    (void)state;
    shape of        = {.extent = 6, .width = 5, .batch = 2, .batched_matrix = true, .batched_right = true};
    linear_system s = make_system(&of);
    char *text      = NULL;
    size_t size     = 0;
    give_all(&s, "x", s.x);
    schedule *made = schedule_graph(s.g, NULL);
    FILE *file     = open_memstream(&text, &size);
    assert_non_null(file);
    schedule_print(made, file);
    fclose(file);
    if (!strstr(text, " = solve[r, all e where lt(c, r)] matrix[b,r,c], right[b,r,e]\n"))
        fail_msg("%s", text);
    free(text);
    schedule_cost *cost = schedule_cost_of(made);
    assert_int_equal(cost->total.other, 6 * 5 * 5 * 2);
    schedule_cost_free(cost);
    schedule_free(made);
    graph_free(s.g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_them), cmocka_unit_test(widths),    cmocka_unit_test(threads),
        cmocka_unit_test(not_a_number), cmocka_unit_test(computed),  cmocka_unit_test(in_steps),
        cmocka_unit_test(beside_scans), cmocka_unit_test(in_blocks), cmocka_unit_test(refused),
        cmocka_unit_test(written_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
