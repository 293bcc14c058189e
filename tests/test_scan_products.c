/* Recurrences whose steps multiply matrices: the scheduler makes products of what is large enough and of nothing else,
 * what it makes is what the graph means, and machine code gives that too, the same bits with one thread and two.
 * Forward and backward, at sizes around the limits. */
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
#include "schedule.h"
#include "tile_interpret.h"
#include "tile_verify.h"

/* What the scans of a schedule are made of. */
typedef struct found {
    unsigned products, divided;
    int64_t least_items; /* of those with products */
} found;

static unsigned count(const statement *list, statement_kind kind) {
    unsigned all = 0;
    for (; list; list = list->next)
        all += (list->kind == kind) + count(list->body, kind) + count(list->otherwise, kind);
    return all;
}

static found look(const schedule *s) {
    found f = {.least_items = INT64_MAX};
    for (uint32_t i = 0; i < s->step_count; i++) {
        unsigned products = count(s->step[i].body, STATEMENT_PRODUCT);
        f.products += products;
        f.divided += count(s->step[i].body, STATEMENT_BLOCK);
        if (products && s->step[i].items < f.least_items)
            f.least_items = s->step[i].items;
    }
    return f;
}

/* The scheduled program step by step, in double and in single precision, against the interpreter. */
static void check_program(both_ways *b, schedule *s, const char *where) {
    interpretation *run = interpret_new(b->g, (const double *const *)b->value, RUN_SEED);
    uint32_t outputs    = graph_output_count(b->g);
    double **have       = (double **)enough(calloc(outputs + 1, sizeof(double *)));
    for (int single = 0; single < 2; single++) {
        char error[256] = "";
        if (!tile_interpret(s, (const double *const *)b->value, have, RUN_SEED, single, error, sizeof error))
            fail_msg("%s: %s", where, error);
        for (uint32_t i = 0; i < outputs; i++) {
            const double *wanted = interpret_output(run, i);
            int64_t elements     = graph_output(b->g, i)->elements;
            double allowed       = (single ? 1e-5 : 1e-11) * fmax(1, largest_of(wanted, elements));
            if (graph_output(b->g, i)->rank == 0) /* a sum of many of either sign */
                allowed *= sqrt((double)both_most_elements(b));
            for (int64_t k = 0; k < elements; k++)
                if (!both_same(have[i][k], wanted[k], allowed))
                    fail_msg("%s: %s[%lld] is %.17g in the program, not %.17g", where, graph_output(b->g, i)->name,
                             (long long)k, have[i][k], wanted[k]);
            free(have[i]);
        }
    }
    free(have);
    interpret_free(run);
}

static void check_machine(both_ways *b, const char *where) {
    char error[256] = "";
    size_t size;
    assert_true(both_run_machine(b, 1));
    if (!both_compare(b, 1e-5, 1e-2, error, sizeof error))
        fail_msg("%s: %s", where, error);
    char *one = both_keep(b, &size);
    assert_true(both_run_machine(b, 2));
    char *two = both_keep(b, &size);
    if (memcmp(one, two, size) != 0)
        fail_msg("%s: two threads give other bits than one", where);
    free(one);
    free(two);
}

typedef struct sizes_of_steps {
    int64_t chunks, r, i, e, b, h;
    bool large; /* enough for products */
} sizes_of_steps;

static found check_at(const spec *s, const sizes_of_steps *z) {
    wished_sizes sizes = {0};
    char where[160], error[256] = "";
    wish(&sizes, "T", z->chunks * z->r);
    wish(&sizes, "R", z->r);
    wish(&sizes, "I", z->i);
    wish(&sizes, "E", z->e);
    wish(&sizes, "B", z->b);
    wish(&sizes, "H", z->h);
    snprintf(where, sizeof where, "%s, %lld chunks of %lld, I=%lld, E=%lld, B=%lld, H=%lld", spec_name(s),
             (long long)z->chunks, (long long)z->r, (long long)z->i, (long long)z->e, (long long)z->b, (long long)z->h);
    graph *g = mechanism_graph(s, &(elaboration){0}, &sizes);
    assert_non_null(g);
    schedule *program = schedule_graph(g, NULL);
    if (!tile_verify(program, error, sizeof error))
        fail_msg("%s: %s", where, error);
    found f      = look(program);
    both_ways *b = both_new(g, error, sizeof error);
    if (!b)
        fail_msg("%s: %s", where, error);
    check_program(b, program, where);
    check_machine(b, where);
    if (z->large != (f.products > 0))
        fail_msg("%s: %u products in steps", where, f.products);
    both_free(b);
    schedule_free(program);
    graph_free(g);
    return f;
}

static const sizes_of_steps at[] = {
    {2, 64, 32, 32, 1, 2, true}, /* the usual */
    {3, 16, 32, 33, 2, 1, true}, /* just enough, columns that no vector divides */
    {2, 17, 33, 40, 1, 1, true}, /* … that are divided, with a rest */
    {1, 32, 32, 32, 1, 1, true}, /* one step */
    {3, 1, 4, 5, 1, 2, false},   /* of one row */
    {2, 3, 32, 32, 2, 2, false}, /* too few rows */
    {3, 17, 17, 5, 1, 1, false}, /* too few columns */
    {2, 17, 16, 1, 1, 2, false}, /* vectors */
};

static void chunks(void **state) {
    (void)state;
    spec *s = source_spec("tests/fused/", "chunks.att");
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        sizes_of_steps here = at[i];
        here.large &= here.chunks > 1; /* the state before the first is 0 */
        check_at(s, &here);
    }
    spec_free(s);
}

static void steps(void **state) {
    (void)state;
    spec *s = source_spec("tests/fused/", "steps.att");
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        sizes_of_steps here = at[i];
        here.large |= here.i >= 32 && here.e >= 32; /* the state with a matrix of its own size */
        check_at(s, &here);
    }
    spec_free(s);
}

/* Sequences and heads are outside the scan, also where an operand lacks them; where they are fewer than threads, so are
 * blocks of columns. */
static void items(void **state) {
    (void)state;
    spec *s = source_spec("tests/fused/", "chunks.att");
    found f = check_at(s, &(sizes_of_steps){2, 32, 32, 32, 3, 4, true});
    assert_int_equal(f.divided, 0);
    assert_int_equal(f.least_items, 12);
    f = check_at(s, &(sizes_of_steps){2, 16, 32, 64, 1, 2, true});
    assert_true(f.divided > 0);
    assert_int_equal(f.least_items, 8);
    spec_free(s);
    s = source_spec("tests/fused/", "steps.att");
    f = check_at(s, &(sizes_of_steps){2, 32, 32, 32, 3, 3, true});
    assert_int_equal(f.divided, 0);
    assert_int_equal(f.least_items, 9);
    spec_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks),
        cmocka_unit_test(steps),
        cmocka_unit_test(items),
    };
    return cmocka_run_group_tests_name("scan products", tests, NULL, NULL);
}
