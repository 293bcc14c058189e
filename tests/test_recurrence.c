/* Linear recurrences in chunks: which are rewritten, that values and gradients stay, in double precision by the
 * interpreter and in single precision by machine code, at lengths around chunks and with decays at the ends of their
 * range. What is compared with is always the recurrence position by position, in double precision. */
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
#include "node_map.h"

#include <unistd.h>

/* What becomes of a spec's scans over positions: how many are left, and how many there are over chunks instead. A spec
 * is compared only where there are some. */
typedef struct expectation {
    const char *path;
    unsigned left, chunked;
} expectation;

static const expectation expected[] = {
    {"tests/recurrences/linear_attention.att", 0, 1},
    {"tests/recurrences/constant_decay.att", 0, 1},
    {"tests/recurrences/scalar_gate.att", 0, 1},
    {"tests/recurrences/key_gate.att", 0, 1},
    {"tests/recurrences/value_gate.att", 0, 1},
    {"tests/recurrences/delta_rule.att", 0, 1},
    {"tests/recurrences/gated_delta_rule.att", 0, 1},
    {"tests/recurrences/channel_delta_rule.att", 0, 1},
    {"tests/recurrences/removal_and_bonus.att", 0, 1},
    {"tests/recurrences/two_updates.att", 0, 1},
    {"tests/recurrences/cross_updates.att", 0, 1},
    {"tests/recurrences/two_sided_decay.att", 0, 1},
    {"tests/recurrences/documents.att", 0, 1},
    {"tests/recurrences/momentum.att", 1, 1}, /* the velocity, a scan of its own, is read element by element */
    {"tests/recurrences/momentum_delta_rule.att", 0, 1},
    {"tests/recurrences/mean_read.att", 0, 1},
    {"tests/recurrences/backwards.att", 0, 1},
    {"tests/recurrences/learned_start.att", 0, 1},
    {"tests/recurrences/sharing_heads.att", 0, 1},
    {"tests/recurrences/both_sides_read.att", 0, 1},
    {"tests/recurrences/gated_slots.att", 0, 2},
    {"tests/recurrences/tanh_state.att", 1, 0},
    {"tests/recurrences/full_transition.att", 1, 0},
    {"tests/recurrences/state_output.att", 1, 0},
    {"specs/linear.att", 0, 1},
    {"specs/more/gla.att", 0, 1},
    {"specs/more/retnet.att", 0, 1},
    {"specs/more/ssd.att", 0, 1},
    {"specs/more/katharopoulos.att", 0, 2},
    {"specs/more/based.att", 0, 5},
    {"specs/more/cosformer.att", 0, 4},
};

enum { SPECS_HERE = sizeof expected / sizeof *expected };

/* Of the wishes those that name a size which the spec gives as a number; and time. */
static void wish_any(wished_sizes *w, const spec *s, int64_t time, const binding *wishes, size_t count) {
    declared_sizes sizes;
    sizes_of(s, &(elaboration){0}, &sizes);
    *w = (wished_sizes){0};
    wish(w, "T", time);
    for (size_t i = 0; i < count; i++) {
        const declared_size *size = sizes_find(&sizes, wishes[i].name);
        if (size && size->own)
            wish(w, size->name, (int64_t)wishes[i].value);
    }
}

static const binding small[] = {{"B", 1}, {"D", 8}, {"H", 2}, {"I", 3}, {"E", 4}, {"G", 2},
                                {"F", 3}, {"R", 2}, {"N", 3}, {"C", 2}, {"M", 3}};
/* of which products of matrices are made */
static const binding large[] = {{"B", 1}, {"D", 32}, {"H", 1},  {"I", 32}, {"E", 32}, {"G", 2},
                                {"F", 8}, {"R", 4},  {"N", 32}, {"C", 4},  {"M", 32}};

typedef enum size_kind { SMALL, LARGE, OWN } size_kind; /* OWN: the spec's */

typedef struct sizing {
    int64_t time, chunk; /* chunk 0: by cost; -1: position by position */
    size_kind kind;
} sizing;

static void describe(char *text, size_t size, const char *path, const sizing *z) {
    snprintf(text, size, "%s, T=%lld, chunk=%lld, %s", path, (long long)z->time, (long long)z->chunk,
             z->kind == LARGE   ? "large"
             : z->kind == SMALL ? "small"
                                : "its own sizes");
}

static graph *forward(const spec *s, const sizing *z) {
    wished_sizes sizes;
    if (z->kind == LARGE)
        wish_any(&sizes, s, z->time, large, sizeof large / sizeof *large);
    else
        wish_any(&sizes, s, z->time, small, z->kind == SMALL ? sizeof small / sizeof *small : 0);
    graph *g = sizes_elaborate(s, &(elaboration){0}, sizes.set, sizes.count);
    assert_non_null(g);
    recurrence_by_chunks(g, &(recurrence_options){.chunk = z->chunk > 0 ? z->chunk : 0, .never = z->chunk < 0});
    return g;
}

/* With gradients, as it is compiled. */
static graph *backward(graph *g) {
    char error[256];
    assert_true(graph_verify(g, error, sizeof error));
    assert_true(gradcheck_add_backward(g));
    derive_forget_stops(g);
    simplify_outputs(g, NULL);
    if (!graph_verify(g, error, sizeof error))
        fail_msg("%s", error);
    return g;
}

/* Scans that outputs need, over an index of this name. */

typedef struct counting {
    const graph *g;
    node_map met, labels;
    const char *name;
    unsigned count;
} counting;

static void count_in(counting *c, node n) {
    if (node_map_find(&c->met, n))
        return;
    node_map_enter(&c->met, n);
    node_view v = graph_view(c->g, n);
    if (v.op == NODE_SCAN && strcmp(graph_index_name(c->g, v.scan_index), c->name) == 0 &&
        !node_map_find(&c->labels, v.scan_label)) {
        node_map_enter(&c->labels, v.scan_label);
        c->count++;
    }
    for (unsigned i = 0; i < v.child_count; i++)
        count_in(c, v.child[i]);
}

static unsigned scans_over(const graph *g, const char *name) {
    counting c = {.g = g, .name = name};
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        count_in(&c, graph_output(g, i)->node);
    node_map_free(&c.met);
    node_map_free(&c.labels);
    return c.count;
}

static void which(void **state) {
    (void)state;
    bool good = true;
    for (size_t i = 0; i < SPECS_HERE; i++) {
        spec *s       = source_spec("", expected[i].path);
        graph *g      = forward(s, &(sizing){.time = 65, .chunk = 16});
        unsigned left = scans_over(g, "t"), chunked = scans_over(g, "t.chunk");
        if (left != expected[i].left || chunked != expected[i].chunked) {
            print_message("%s: %u scans over positions, not %u; %u over chunks, not %u\n", expected[i].path, left,
                          expected[i].left, chunked, expected[i].chunked);
            good = false;
        }
        graph_free(g);
        spec_free(s);
    }
    assert_true(good);
}

/* The values of a graph's tensors. */
typedef struct given {
    uint32_t count;
    double **value;
} given;

static given give(const graph *g) {
    given v = {.count = graph_tensor_count(g)};
    v.value = (double **)enough(calloc(v.count + 1, sizeof *v.value));
    for (uint32_t i = 0; i < v.count; i++) {
        const tensor *t = graph_tensor(g, i);
        v.value[i]      = (double *)enough(malloc((size_t)t->elements * sizeof(double)));
        for (int64_t k = 0; k < t->elements; k++)
            v.value[i][k] = initial_value(t, 11, (uint64_t)k);
    }
    return v;
}

static void take_back(given *v) {
    for (uint32_t i = 0; i < v->count; i++)
        free(v->value[i]);
    free(v->value);
}

/* The graph position by position, and what it gives. */
typedef struct reference {
    graph *g;
    given in;
    interpretation *run;
} reference;

static reference reference_of(const spec *s, int64_t time, size_kind kind) {
    reference r = {.g = backward(forward(s, &(sizing){.time = time, .chunk = -1, .kind = kind}))};
    r.in        = give(r.g);
    r.run       = interpret_new(r.g, (const double *const *)r.in.value, RUN_SEED);
    return r;
}

static void reference_free(reference *r) {
    interpret_free(r->run);
    take_back(&r->in);
    graph_free(r->g);
}

static double worst; /* difference over what is allowed */

/* Either of `exact` and `single` is what output i is. */
static bool compare(reference *r, uint32_t i, const double *exact, const float *single, double tolerance,
                    const char *where) {
    const output *o      = graph_output(r->g, i);
    const double *wanted = interpret_output(r->run, i);
    double allowed       = tolerance * fmax(1e-2, largest_of(wanted, o->elements));
    if (o->rank == 0) { /* a sum over the elements of others, of either sign */
        double most = 1;
        for (uint32_t k = 0; k < graph_output_count(r->g); k++)
            most = fmax(most, (double)graph_output(r->g, k)->elements);
        allowed = tolerance * fmax(sqrt(most), fabs(wanted[0]));
    }
    for (int64_t k = 0; k < o->elements; k++) {
        double have       = exact ? exact[k] : single[k];
        double difference = fabs(have - wanted[k]) / allowed;
        if (difference > worst)
            worst = difference;
        if (!isfinite(wanted[k]) || !(difference <= 1)) {
            print_message("%s: %s[%lld] is %.17g, not %.17g; allowed %.1e\n", where, o->name, (long long)k, have,
                          wanted[k], allowed);
            return false;
        }
    }
    return true;
}

static bool compare_exact(reference *r, graph *g, const char *where) {
    assert_int_equal(graph_tensor_count(g), r->in.count);
    assert_int_equal(graph_output_count(g), graph_output_count(r->g));
    interpretation *run = interpret_new(g, (const double *const *)r->in.value, RUN_SEED);
    bool same           = true;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        same &= compare(r, i, interpret_output(run, i), NULL, 1e-9, where);
    interpret_free(run);
    return same;
}

/* Sanitizers look at memory, for which few lengths are enough; they take four times as long. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { EVERY = 3 };
#else
enum { EVERY = 1 };
#endif

/* The interpreter with all chunks, at all lengths. */
static void meaning(void **state) {
    const expectation *e          = (const expectation *)*state;
    static const int64_t length[] = {1, 2, 15, 16, 17, 63, 64, 65}, chunk[] = {4, 16, 64, 0};
    spec *s   = source_spec("", e->path);
    bool same = true;
    for (size_t i = 0; i < sizeof length / sizeof *length; i += EVERY) {
        reference r = reference_of(s, length[i], SMALL);
        for (size_t k = 0; k < sizeof chunk / sizeof *chunk; k++) {
            char where[200];
            sizing z = {.time = length[i], .chunk = chunk[k]};
            graph *g = forward(s, &z);
            describe(where, sizeof where, e->path, &z);
            if (scans_over(g, "t.chunk"))
                same &= compare_exact(&r, backward(g), where);
            graph_free(g);
        }
        reference_free(&r);
    }
    spec_free(s);
    assert_true(same);
}

/* What two runs have left, as both_keep has it. */
static bool same_bits(const graph *g, const char *one, const char *two, const char *where) {
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        for (int64_t k = 0; k < o->elements; k++, one += sizeof(float), two += sizeof(float))
            if (memcmp(one, two, sizeof(float)) != 0) {
                print_message("%s: two threads give another %s[%lld] than one\n", where, o->name, (long long)k);
                return false;
            }
    }
    return true;
}

/* Machine code with the values of r, with one thread and two. */
static bool run_machine(reference *r, both_ways *b, double tolerance, const char *where) {
    bool same = true;
    size_t size;
    assert_int_equal(graph_tensor_count(b->g), r->in.count);
    for (uint32_t i = 0; i < r->in.count; i++)
        memcpy(b->value[i], r->in.value[i], (size_t)graph_tensor(b->g, i)->elements * sizeof(double));
    assert_true(both_run_machine(b, 1));
    for (uint32_t i = 0; i < graph_output_count(b->g); i++)
        same &= compare(r, i, NULL, (const float *)b->output[i], tolerance, where);
    char *one = both_keep(b, &size);
    assert_true(both_run_machine(b, 2));
    char *two = both_keep(b, &size);
    same &= same_bits(b->g, one, two, where);
    free(one);
    free(two);
    return same;
}

static bool check_machine(const spec *s, const char *path, const sizing *z) {
    char where[200], error[256] = "";
    describe(where, sizeof where, path, z);
    graph *g  = forward(s, z);
    bool same = true;
    if (!z->chunk && !scans_over(g, "t.chunk")) { /* not worth it at this size, but right */
        sizing forced = *z;
        forced.chunk  = 32;
        graph_free(g);
        g = forward(s, &forced);
    }
    if (scans_over(g, "t.chunk")) {
        both_ways *b = both_new(backward(g), error, sizeof error);
        if (!b)
            fail_msg("%s: %s", where, error);
        reference r = reference_of(s, z->time, z->kind);
        same        = run_machine(&r, b, 1e-5, where);
        reference_free(&r);
        both_free(b);
    }
    graph_free(g);
    return same;
}

static void machine(void **state) {
    const expectation *e    = (const expectation *)*state;
    static const sizing z[] = {
        {1, 16, SMALL}, {63, 16, SMALL}, {64, 64, SMALL}, {65, 16, SMALL}, {1000, 0, LARGE},
    };
    spec *s   = source_spec("", e->path);
    bool same = true;
    for (size_t i = 0; i < sizeof z / sizeof *z; i += EVERY)
        same &= check_machine(s, e->path, &z[i]);
    spec_free(s);
    assert_true(same);
}

/* Decays and strengths that are inputs, at the ends of their range. */

typedef enum decay_kind { NEAR_ONE, TINY, ZERO, ONE_AND_ZERO, FEW_ZEROS, MIXED } decay_kind;
typedef enum strength_kind { STRENGTH_0, STRENGTH_1, STRENGTHS_MIXED } strength_kind;

typedef struct extreme {
    decay_kind decay;
    strength_kind strength;
} extreme;

static const double near_one = 1 - 1e-6, tiny = 1e-30;

static double decay_at(decay_kind kind, int64_t t, uint64_t random) {
    const double of[] = {near_one, tiny, 0, 1, 0.5, near_one, near_one};
    switch (kind) {
    case NEAR_ONE:
        return near_one;
    case TINY:
        return tiny;
    case ZERO:
        return 0;
    case ONE_AND_ZERO:
        return t % 2 ? near_one : 0;
    case FEW_ZEROS:
        return t % 300 == 299 ? 0 : t % 300 == 151 ? tiny : near_one;
    default:
        return of[random % (sizeof of / sizeof *of)];
    }
}

static void set_extremes(reference *r, const extreme *x) {
    uint64_t random = 1;
    for (uint32_t i = 0; i < r->in.count; i++) {
        const tensor *t = graph_tensor(r->g, i);
        int64_t length  = graph_index_extent(r->g, t->index[0]);
        bool decay = strcmp(t->name, "a") == 0 || strcmp(t->name, "c") == 0, strength = strcmp(t->name, "r") == 0;
        for (int64_t k = 0; (decay || strength) && k < t->elements; k++) {
            random            = random * 6364136223846793005u + 1442695040888963407u;
            double chosen     = x->strength == STRENGTHS_MIXED ? (double)(random >> 40 & 1) : x->strength == STRENGTH_1;
            r->in.value[i][k] = (float)(decay ? decay_at(x->decay, k / (t->elements / length), random >> 33) : chosen);
        }
    }
    interpret_free(r->run);
    r->run = interpret_new(r->g, (const double *const *)r->in.value, RUN_SEED);
}

static const char *const extreme_specs[] = {"scalar", "keys",       "values",  "both",
                                            "delta",  "delta_keys", "coupled", "delta_twice"};

enum { EXTREME_SPECS = sizeof extreme_specs / sizeof *extreme_specs };

static void extremes(void **state) {
    const char *name          = (const char *)*state;
    static const extreme at[] = {{NEAR_ONE, STRENGTH_1}, {NEAR_ONE, STRENGTH_0},          {NEAR_ONE, STRENGTHS_MIXED},
                                 {MIXED, STRENGTH_1},    {MIXED, STRENGTHS_MIXED},        {TINY, STRENGTH_1},
                                 {ZERO, STRENGTH_1},     {ONE_AND_ZERO, STRENGTHS_MIXED}, {FEW_ZEROS, STRENGTHS_MIXED}};
    char path[100], where[160], error[256] = "";
    snprintf(path, sizeof path, "tests/recurrences/extremes/%s.att", name);
    spec *s        = source_spec("", path);
    bool strengths = strstr(name, "delta") != NULL, same = true;
    reference r    = reference_of(s, 2048, SMALL);
    const sizing z = {.time = 2048, .chunk = 64};
    graph *g       = forward(s, &z);
    assert_int_equal(scans_over(g, "t"), 0);
    both_ways *b = both_new(backward(g), error, sizeof error);
    if (!b)
        fail_msg("%s: %s", name, error);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        if (!strengths && i > 0 && at[i].decay == at[i - 1].decay)
            continue;
        set_extremes(&r, &at[i]);
        snprintf(where, sizeof where, "%s, decays %d, strengths %d", path, (int)at[i].decay, (int)at[i].strength);
        same &= run_machine(&r, b, 1e-4, where);
    }
    both_free(b);
    graph_free(g);
    reference_free(&r);
    spec_free(s);
    assert_true(same);
}

/* Variations: one file, whose blocks are specs with the lines at its top before them. */

static char *whole_file(const char *path) {
    enum { ROOM = 1 << 16 };
    char *text = (char *)enough(calloc(ROOM, 1));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, ROOM, file) < ROOM);
    fclose(file);
    return text;
}

static spec *spec_of(const char *top, const char *body) {
    char folder[] = "test_recurrence_XXXXXX", path[64];
    diagnostics d = {.stream = stderr};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/variation.att", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%s\n%s", top, body);
    fclose(file);
    spec *s = spec_read(path, TEST_SOURCE_DIR "/specs", &d);
    unlink(path);
    rmdir(folder);
    assert_non_null(s);
    return s;
}

static bool check_variation(const spec *s, const char *name, unsigned left, unsigned chunked) {
    static const int64_t length[] = {1, 5, 17}, chunk[] = {1, 3, 16};
    bool same = true;
    for (size_t i = EVERY - 1; i < 3; i++) {
        reference r = reference_of(s, length[i], OWN);
        for (size_t k = 0; k < 3; k++) {
            char where[200];
            sizing z = {.time = length[i], .chunk = chunk[k], .kind = OWN};
            graph *g = forward(s, &z);
            describe(where, sizeof where, name, &z);
            unsigned now_left = scans_over(g, "t"), now_chunked = scans_over(g, "t.chunk");
            if (length[i] == 17 && chunk[k] > 1 && (now_left != left || now_chunked != chunked)) {
                print_message("%s: %u scans over positions, not %u; %u over chunks, not %u\n", where, now_left, left,
                              now_chunked, chunked);
                same = false;
            }
            if (now_chunked)
                same &= compare_exact(&r, backward(g), where);
            graph_free(g);
        }
        reference_free(&r);
    }
    return same;
}

static void variations(void **state) {
    (void)state;
    char *top = whole_file(TEST_SOURCE_DIR "/tests/recurrences/variations.txt"), *next = strstr(top, "\n= ");
    bool same = true;
    while (next) {
        char name[64], *block = next + 1;
        unsigned left, chunked;
        *next = 0;
        next  = strstr(block, "\n= ");
        if (next)
            *next = 0;
        assert_int_equal(sscanf(block, "= %63[^,], %u, %u", name, &left, &chunked), 3);
        spec *s = spec_of(top, strchr(block, '\n') + 1);
        same &= check_variation(s, name, left, chunked);
        spec_free(s);
    }
    free(top);
    assert_true(same);
}

/* An argument is a pattern of names, such as `extremes_*`. */
int main(int count, char **argument) {
    static char name[3][SPECS_HERE][80];
    struct CMUnitTest tests[2 * SPECS_HERE + EXTREME_SPECS + 2];
    size_t n = 0;
    if (count > 1)
        cmocka_set_test_filter(argument[1]);
    tests[n++] = (struct CMUnitTest){"which_are_rewritten", which, NULL, NULL, NULL};
    tests[n++] = (struct CMUnitTest){"variations", variations, NULL, NULL, NULL};
    for (size_t i = 0; i < SPECS_HERE; i++) {
        const char *base = strrchr(expected[i].path, '/') + 1;
        int length       = (int)(strrchr(base, '.') - base);
        snprintf(name[0][i], sizeof name[0][i], "interpreted_%.*s", length, base);
        snprintf(name[1][i], sizeof name[1][i], "machine_%.*s", length, base);
        if (!expected[i].chunked)
            continue;
        tests[n++] = (struct CMUnitTest){name[0][i], meaning, NULL, NULL, (void *)(uintptr_t)&expected[i]};
        tests[n++] = (struct CMUnitTest){name[1][i], machine, NULL, NULL, (void *)(uintptr_t)&expected[i]};
    }
    for (size_t i = 0; i < EXTREME_SPECS; i++) {
        snprintf(name[2][i], sizeof name[2][i], "extremes_%s", extreme_specs[i]);
        tests[n++] = (struct CMUnitTest){name[2][i], extremes, NULL, NULL, (void *)(uintptr_t)extreme_specs[i]};
    }
    return _cmocka_run_group_tests("recurrence", tests, n, NULL, NULL);
}
