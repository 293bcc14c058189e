/* Values at which kernels that walk blocks go wrong: large scores, masks of -infinity, rows in which nothing is seen,
 * infinities and NaN at positions that some rows see and others do not. Machine code must give what the interpreter
 * gives, forward and backward: the same NaNs and infinities, and close values elsewhere. */
/* cmocka needs these before it */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "compile.h"
#include "fused/both_ways.h"
#include "fused/mechanism.h"
#include "fused/source_spec.h"

#ifdef __SANITIZE_ADDRESS__ /* all of it takes minutes there */
static const int64_t length[] = {1, 5, 65};
#else
static const int64_t length[] = {1, 5, 64, 65, 200};
#endif
enum { LENGTHS = sizeof length / sizeof *length };
enum { LARGE = 40 }; /* what queries and keys are multiplied with for scores of 10,000 */

typedef enum special {
    ORDINARY,
    LARGE_SCORES,     /* of both signs, exact in float32 */
    NOTHING_SEEN,     /* lengths of 0, documents of one token */
    MASKED_ROWS,      /* the additive mask is -infinity in whole rows */
    MASKED_HALF,      /* … in the first half of the columns, so that what is seen begins late */
    MASKED_BEGINNING, /* … for the first half of the columns, where rows see others too */
    MASKED_COLUMNS,   /* … here and there */
    NAN_VALUE,        /* one element of v */
    INFINITE_VALUE,
    NAN_QUERY,
    NAN_KEY,
    INFINITE_KEY,
    SPECIALS,
    LAST_FINITE = MASKED_COLUMNS
} special;

static const char *const special_name[SPECIALS] = {
    "ordinary values", "large scores",  "nothing seen",     "masked rows", "masked half", "masked beginning",
    "masked columns",  "a NaN among v", "an infinity in v", "a NaN in q",  "a NaN in k",  "an infinity in k"};

static const tensor *find(const both_ways *b, const char *name, double **value) {
    for (uint32_t i = 0; i < graph_tensor_count(b->g); i++)
        if (strcmp(graph_tensor(b->g, i)->name, name) == 0) {
            *value = b->value[i];
            return graph_tensor(b->g, i);
        }
    *value = NULL;
    return NULL;
}

static void set_ordinary(both_ways *b) {
    for (uint32_t i = 0; i < graph_tensor_count(b->g); i++) {
        const tensor *t = graph_tensor(b->g, i);
        for (int64_t k = 0; k < t->elements; k++)
            b->value[i][k] = strcmp(t->name, "first") == 0 ? 0 : initial_value(t, 11, (uint64_t)k);
    }
}

/* Whole numbers, of which float32 holds the products and their sums. */
static void enlarge(both_ways *b, const char *name, double by) {
    double *value;
    const tensor *t = find(b, name, &value);
    for (int64_t k = 0; t && k < t->elements; k++)
        value[k] = nearbyint(value[k] * by);
}

/* Element `element` of one head at a position two thirds along. */
static void put(both_ways *b, const char *name, double what) {
    double *value;
    const tensor *t   = find(b, name, &value);
    int64_t positions = t->extent[1], width = t->extent[2];
    value[(positions * 2 / 3) * width + width / 2] = what;
}

static void set_data(both_ways *b, int64_t positions) {
    double *value;
    if (find(b, "length", &value))
        for (int64_t t = 0; t < positions; t++)
            value[t] = t % 3 == 0 ? 0 : t % 3 == 1 ? 1 : (double)positions;
    if (find(b, "doc", &value))
        for (int64_t t = 0; t < positions; t++)
            value[t] = t < positions / 2 ? 0 : t < positions - 1 ? 3 : 4;
}

static void set_mask(both_ways *b, special what, int64_t positions) {
    double *row, *column, *first;
    if (!find(b, "row", &row) || !find(b, "column", &column) || !find(b, "first", &first))
        return;
    for (int64_t i = 0; i < positions; i++) {
        if (what == MASKED_ROWS && (i % 7 == 2 || i == positions - 1))
            row[i] = -INFINITY;
        if (what == MASKED_BEGINNING && i > positions * 3 / 4)
            first[i] = (double)((positions + 1) / 2);
        if ((what == MASKED_HALF && i < positions / 2) || (what == MASKED_COLUMNS && i % 5 == 1))
            column[i] = -INFINITY;
    }
}

static void set_values(both_ways *b, special what, int64_t positions) {
    set_ordinary(b);
    switch (what) {
    case LARGE_SCORES:
        enlarge(b, "q", LARGE);
        enlarge(b, "k", LARGE);
        enlarge(b, "r", LARGE);
        enlarge(b, "n", LARGE);
        enlarge(b, "row", 1);
        enlarge(b, "column", 1);
        break;
    case NOTHING_SEEN:
        set_data(b, positions);
        break;
    case MASKED_ROWS:
    case MASKED_HALF:
    case MASKED_BEGINNING:
    case MASKED_COLUMNS:
        set_mask(b, what, positions);
        break;
    case NAN_VALUE:
        put(b, "v", NAN);
        break;
    case INFINITE_VALUE:
        put(b, "v", INFINITY);
        break;
    case NAN_QUERY:
        put(b, "q", NAN);
        break;
    case NAN_KEY:
        put(b, "k", NAN);
        break;
    case INFINITE_KEY:
        put(b, "k", INFINITY);
        break;
    default:
        break;
    }
}

/* How far off machine code may be: a score of 10,000 is the logarithm of a row's sum too, of which float32 keeps the
 * third digit after the point. */
static double tolerance_of(special what) {
    return what == LARGE_SCORES ? 2e-3 : 1e-5;
}

static unsigned wrong_at(const spec *s, int64_t positions, special first, special last) {
    char error[512];
    wished_sizes sizes = {0};
    wish(&sizes, "T", positions);
    if (positions > 200) /* for the interpreter's sake */
        wish(&sizes, "H", 1);
    graph *g = mechanism_graph(s, &(elaboration){0}, &sizes);
    assert_non_null(g);
    both_ways *b = both_new(g, error, sizeof error);
    assert_non_null(b);
    unsigned wrong = 0;
    for (special what = first; what <= last; what++) {
        set_values(b, what, positions);
        assert_true(both_run_machine(b, 2));
        /* what is left where a gradient of scores cancels is multiplied with keys and queries */
        if (!both_compare(b, tolerance_of(what), what == LARGE_SCORES ? 4 * LARGE : 1, error, sizeof error) && ++wrong)
            print_message("%s, T = %lld, %s: %s\n", spec_name(s), (long long)positions, special_name[what], error);
    }
    both_free(b);
    graph_free(g);
    return wrong;
}

static void check(const char *name, special first, special last) {
    spec *s        = source_spec("tests/fused/", name);
    unsigned wrong = 0;
    for (int i = 0; i < LENGTHS && (first == ORDINARY || length[i] <= 200); i++)
        wrong += wrong_at(s, length[i], first, last);
    spec_free(s);
    assert_int_equal(wrong, 0);
}

/* Of each spec two tests: of numbers and masks, and of what is no number at positions that only some rows see. */
#define CHECK(name)                                                                                                    \
    static void name##_values(void **state) {                                                                          \
        (void)state;                                                                                                   \
        check(#name ".att", ORDINARY, LAST_FINITE);                                                                    \
    }                                                                                                                  \
    static void name##_hidden(void **state) {                                                                          \
        (void)state;                                                                                                   \
        check(#name ".att", LAST_FINITE + 1, SPECIALS - 1);                                                            \
    }
CHECK(causal_mask)
CHECK(full)
CHECK(window)
CHECK(prefix)
CHECK(document)
CHECK(sinks)
CHECK(two)
CHECK(logistic)
#define BOTH(name) cmocka_unit_test(name##_values), cmocka_unit_test(name##_hidden)

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(causal_mask), BOTH(full),  BOTH(window), BOTH(prefix),
        BOTH(document),    BOTH(sinks), BOTH(two),    BOTH(logistic),
    };
    return cmocka_run_group_tests_name("fused values", tests, NULL, NULL);
}
