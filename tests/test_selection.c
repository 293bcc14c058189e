/* Sums over what a selection takes, as lists and as conditions: machine code and programs over tiles give what the
 * interpreter gives of the graph as it was, forward and backward, with one thread and two; and when which of them is
 * chosen. Scores are whole numbers, so that ties are the same in every precision. */
/* cmocka needs these before it */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "fused/both_ways.h"
#include "fused/mechanism.h"
#include "fused/source_spec.h"
#include "tile_interpret.h"

enum { LIST = 1, CONDITION = 1 << 20 }; /* schedule_options.listed */

static graph *graph_of(const spec *s, bool training, int64_t time, int64_t selected) {
    wished_sizes sizes = {2, {{"T", (double)time}, {"K", (double)selected}}};
    graph *g           = mechanism_graph(s, &(elaboration){.training = training}, &sizes);
    char error[512];
    assert_non_null(g);
    assert_true(graph_verify(g, error, sizeof error));
    return g;
}

static bool is_list(graph *g, const schedule_options *plan) {
    schedule *s = schedule_graph(g, plan);
    bool list   = s->selections && strstr(s->selections, "as a list");
    assert_null(s->given_up);
    schedule_free(s);
    return list;
}

/* The program over tiles, in float64. */
static void check_tiles(const both_ways *b, const schedule_options *plan) {
    char error[512] = "";
    double **result = enough(calloc(graph_output_count(b->g) + 1, sizeof *result));
    schedule *s     = schedule_graph(b->g, plan);
    bool ran        = tile_interpret(s, (const double *const *)b->value, result, RUN_SEED, false, error, sizeof error);
    interpretation *run = interpret_new(b->g, (const double *const *)b->value, RUN_SEED);
    if (!ran)
        print_message("%s\n", error);
    assert_true(ran);
    for (uint32_t i = 0; i < graph_output_count(b->g); i++) {
        const output *o      = graph_output(b->g, i);
        const double *wanted = interpret_output(run, i);
        double scale         = fmax(largest_of(wanted, o->elements), 1e-3);
        for (int64_t k = 0; k < o->elements; k++) {
            bool ok = both_same(result[i][k], wanted[k], 1e-9 * scale);
            if (!ok)
                print_message("%s[%lld]: tiles %.9g, interpreter %.9g\n", o->name, (long long)k, result[i][k],
                              wanted[k]);
            assert_true(ok);
        }
        free(result[i]);
    }
    interpret_free(run);
    free(result);
    schedule_free(s);
}

static void check(const spec *s, bool training, int64_t time, int64_t selected, schedule_options plan) {
    char error[512] = "";
    graph *g        = graph_of(s, training, time, selected);
    both_ways *b    = both_new_planned(g, &plan, error, sizeof error);
    assert_non_null(b);
    assert_true(both_run_machine(b, 1));
    bool good = both_compare(b, 2e-5, time == 1 || selected == 1 ? 1 : 1e-3, error, sizeof error);
    if (!good)
        print_message("T=%lld, K=%lld: %s\n", (long long)time, (long long)selected, error);
    assert_true(good);
    size_t size;
    char *one = both_keep(b, &size);
    assert_true(both_run_machine(b, 2));
    char *two = both_keep(b, &size);
    assert_memory_equal(one, two, size);
    if (time < 70)
        check_tiles(b, &plan);
    free(one);
    free(two);
    both_free(b);
    graph_free(g);
}

static void lists(void **state) {
    static const int64_t length[] = {1, 63, 64, 65, 200};
    spec *s                       = source_spec("tests/selection/", *state);
    for (size_t i = 0; i < sizeof length / sizeof *length; i++) {
        check(s, false, length[i], 16, (schedule_options){.listed = LIST});
        check(s, true, length[i], 5, (schedule_options){.listed = LIST, .wide = 1.5, .rows = 7, .stream = 5});
    }
    check(s, false, 65, 1, (schedule_options){.listed = LIST});
    check(s, false, 65, 64, (schedule_options){.listed = 0.1}); /* more than most rows have */
    check(s, false, 65, 65, (schedule_options){.listed = LIST});
    check(s, false, 65, 100, (schedule_options){.listed = LIST});
    check(s, false, 65, 5, (schedule_options){.listed = LIST, .unstreamed = true});
    check(s, false, 65, 5, (schedule_options){.listed = CONDITION});
    spec_free(s);
}

/* A row of the domain has (T + 1) / 2 positions on average. */
static void chosen_by_length(void **state) {
    (void)state;
    spec *s = source_spec("tests/selection/", "attention.att");
    static const struct {
        int64_t time, selected;
        bool list;
    } of[] = {{63, 16, true}, {61, 16, false}, {64, 64, false}, {1024, 16, true}, {1024, 300, false}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        graph *g = graph_of(s, false, of[i].time, of[i].selected);
        assert_int_equal(is_list(g, &(schedule_options){0}), of[i].list);
        assert_false(is_list(g, &(schedule_options){.unfused = true}));
        assert_false(is_list(g, &(schedule_options){.listed = CONDITION}));
        graph_free(g);
    }
    spec_free(s);
}

/* What is scheduled is rewritten; the graph has the outputs that it had. */
static void graph_stays(void **state) {
    (void)state;
    spec *s  = source_spec("tests/selection/", "attention.att");
    graph *g = graph_of(s, false, 65, 8);
    node before[16];
    assert_true(graph_output_count(g) <= 16);
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        before[i] = graph_output(g, i)->node;
    assert_true(is_list(g, &(schedule_options){.listed = LIST}));
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        assert_int_equal(graph_output(g, i)->node, before[i]);
    graph_free(g);
    spec_free(s);
}

/* Memory grows with T·K: that of scores is a block of rows. */
static void no_pairs(void **state) {
    (void)state;
    spec *s = source_spec("tests/selection/", "attention.att");
    uint64_t bytes[2];
    for (int i = 0; i < 2; i++) {
        graph *g    = graph_of(s, false, i ? 4096 : 2048, 16);
        schedule *p = schedule_graph(g, NULL);
        bytes[i]    = p->workspace;
        assert_true(p->selections && strstr(p->selections, "as a list"));
        schedule_free(p);
        graph_free(g);
    }
    assert_true((double)bytes[1] <= 2.1 * (double)bytes[0]);
    spec_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(lists, (void *)(uintptr_t) "attention.att"),
        cmocka_unit_test_prestate(lists, (void *)(uintptr_t) "reductions.att"),
        cmocka_unit_test(chosen_by_length),
        cmocka_unit_test(graph_stays),
        cmocka_unit_test(no_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
