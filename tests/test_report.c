/* Facts without running: counts against formulas derived by hand and against the interpreter, causality proved and
 * refuted, the report's forms, pictures. */
#include "draw.h"
#include "facts.h"
#include "interpret.h"
#include "report.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define SPECS TEST_SOURCE_DIR "/specs/"

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_report.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int files_in_folder(void) {
    DIR *d = opendir(folder);
    int n  = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static int clear_folder(void **state) {
    (void)state;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    if (d)
        closedir(d);
    return 0;
}

static int remove_folder(void **state) {
    clear_folder(state);
    return rmdir(folder);
}

static char *slurp(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot read %s", path);
    char *text  = calloc(1, 1 << 18);
    size_t size = fread(text, 1, (1 << 18) - 1, file);
    assert_true(size > 0);
    fclose(file);
    return text;
}

static const char *write_file(const char *name, const char *text) {
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

typedef struct subject {
    spec *spec;
    facts *facts;
} subject;

static subject study(const char *path, const elaboration *how, const char *variable) {
    diagnostics d = {.stream = stderr};
    subject s     = {.spec = spec_read(path, TEST_SOURCE_DIR "/specs", &d)};
    assert_non_null(s.spec);
    s.facts = facts_of(s.spec, how, variable, &d);
    assert_non_null(s.facts);
    return s;
}

static subject study_text(const char *text) {
    return study(write_file("spec.att", text), &(elaboration){0}, NULL);
}

static void done(subject *s) {
    facts_free(s->facts);
    spec_free(s->spec);
}

static void is_wide(const char *what, wide have, wide wanted) {
    if (have != wanted)
        fail_msg("%s: %.0f, derived by hand %.0f", what, (double)have, (double)wanted);
}

/* The number at the spec's own T, and the formula at another. */
static void matches(const facts *f, quantity q, wide (*derived)(int64_t), const char *what) {
    assert_true(f->counted);
    assert_true(f->fitted);
    is_wide(what, f->total[q], derived(f->value));
    for (int64_t t = f->valid_from; t < 5 * f->valid_from + 4000; t += 1440)
        if (t % f->multiple_of == 0 && !formula_gives(&f->formula[q], t, derived(t)))
            fail_msg("%s: the formula is wrong at T = %lld", what, (long long)t);
}

/* The specs of the repository at their own sizes: B = 4, D = 128, H = 4, E = 32. */
enum { B = 4, D = 128, H = 4, E = 32, HE = H * E };

static wide causal_pairs(int64_t t) {
    return (wide)t * (t + 1) / 2;
}

/* Keys that the query at t sees: min(t, W) + 1; summed over t < T, for T >= W: (W + 1) T - W (W + 1) / 2. */
static wide window_pairs(int64_t t, int64_t w) {
    return (wide)(w + 1) * t - (wide)w * (w + 1) / 2;
}

/* A product of a matrix and a vector: a multiplication and an addition for each element. */
static wide products(int64_t t, int64_t rows, int64_t width) {
    return (wide)2 * B * t * rows * width;
}

/* rope of one tensor with `rows` heads of width e: u * cos + sign * turned * sin is 4 operations an element. Its angles
 * position * frequency, their cosine and sine: 3 for each position and component. */
static wide rope(int64_t t, int64_t rows, int64_t e) {
    return (wide)4 * B * t * rows * e + (wide)3 * t * e;
}

/* exp(-log(10000) * (2 * (i % half)) / extent): 4 a component, shared by q and k. */
static wide frequencies(int64_t e) {
    return 4 * e;
}

/* For each pair of a query and a key that it sees, each head: the product of width e (2 e), scaling, maximum,
 * subtraction, exp, sum, division, and the value's product (2 e). */
static wide attention(wide pairs, int64_t e) {
    return B * H * pairs * (2 * e + 6 + 2 * e);
}

static wide around_attention(int64_t t) {
    return 4 * products(t, HE, D) + 2 * rope(t, H, E) + frequencies(E);
}

static wide mha(int64_t t) {
    return around_attention(t) + attention(causal_pairs(t), E);
}

/* exp, division, for each pair; cos and sin of q's and k's angles; exp of the frequencies. */
static wide mha_special(int64_t t) {
    return 2 * B * H * causal_pairs(t) + 4 * t * E + E;
}

/* x, y and four matrices. */
static wide mha_bytes(int64_t t) {
    return 4 * ((wide)2 * B * t * D + 4 * HE * D);
}

/* Sums whose values are kept: q, k and v before rope, scores, maximum and sum of the softmax, o. */
static wide mha_kept(int64_t t) {
    return mha_bytes(t) + 4 * ((wide)4 * B * t * HE + B * H * causal_pairs(t) + (wide)2 * B * t * H);
}

static wide sliding(int64_t t) {
    return around_attention(t) + attention(window_pairs(t, 256), E);
}

static wide identity(int64_t t) {
    return products(t, D, D);
}

/* Indexer: queries (J heads of I), keys, weights; for each causal pair and head a product of width I, ReLU, weight,
 * sum. Attention over min(t + 1, K) keys: window_pairs with W = K - 1. */
static wide sparse(int64_t t) {
    const int64_t J = 4, I = 64, K = 256;
    return around_attention(t) + attention(window_pairs(t, K - 1), E) + products(t, J * I, D) + products(t, I, D) +
           products(t, J, D) + rope(t, J, I) + rope(t, 1, I) + frequencies(I) + B * causal_pairs(t) * J * (2 * I + 3);
}

static wide sparse_comparisons(int64_t t) {
    return B * causal_pairs(t);
}

static wide linear_attention(int64_t t) {
    const int64_t C = 4;
    wide tokens     = (wide)B * t;
    wide n          = 5 * products(t, HE, D);     /* q, k, v, gate, output */
    n += 3 * B * HE * 2 * window_pairs(t, C - 1); /* short convolutions */
    n += 4 * tokens * HE * 5;                     /* SiLU: neg, exp, add, divide, multiply */
    n += 2 * tokens * (3 * HE + 2 * H);           /* l2norm: square, sum, divide; add, root */
    n += tokens * HE;                             /* q / sqrt(E) */
    n += 2 * products(t, H, D) + tokens * H * 7;  /* decay: dt, softplus (neg exp log1p add), rate, exp */
    n += 2 * H;                                   /* -exp(A) */
    n += tokens * H * 4;                          /* sigmoid: neg, exp, add, divide */
    n += tokens * (HE + (wide)7 * H * E * E);     /* r k; k S: 2; the update: r k (k S), subtract, decay, r k v, add */
    n += tokens * 2 * H * E * E;                  /* S q */
    n += tokens * (3 * HE + 3 * H);               /* rmsnorm: square, sum, divide; mean, add, root */
    return n + tokens * 2 * HE;                   /* gain, gate */
}

static void known_mechanisms(void **state) {
    (void)state;
    static const struct {
        const char *path, *variant;
        quantity quantity;
        wide (*derived)(int64_t);
        int degree;
        const char *factor;
    } known[] = {
        {SPECS "mha.att", NULL, QUANTITY_OPERATIONS, mha, 2, NULL},
        {SPECS "mha.att", NULL, QUANTITY_SPECIAL, mha_special, 2, NULL},
        {SPECS "mha.att", NULL, QUANTITY_COMPULSORY, mha_bytes, 2, NULL},
        {SPECS "mha.att", NULL, QUANTITY_KEPT, mha_kept, 2, NULL},
        {SPECS "sliding.att", "sliding_256", QUANTITY_OPERATIONS, sliding, 1, "W"},
        {SPECS "linear.att", NULL, QUANTITY_OPERATIONS, linear_attention, 1, NULL},
        {SPECS "identity.att", NULL, QUANTITY_OPERATIONS, identity, 1, NULL},
        {SPECS "sparse.att", "sparse_256", QUANTITY_OPERATIONS, sparse, 2, NULL},
        {SPECS "sparse.att", "sparse_256", QUANTITY_COMPARISONS, sparse_comparisons, 2, NULL},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        subject s      = study(known[i].path, &(elaboration){.variant = known[i].variant}, NULL);
        const facts *f = s.facts;
        matches(f, known[i].quantity, known[i].derived, known[i].path);
        assert_string_equal(f->variable, "T");
        assert_int_equal(f->multiple_of, 1);
        assert_int_equal(f->degree, known[i].degree);
        assert_int_equal(f->factor_count, known[i].factor != NULL);
        if (known[i].factor)
            assert_string_equal(f->factor[0], known[i].factor);
        assert_true(f->total[QUANTITY_TOKENS] == 4 * 1024);
        done(&s);
    }
}

/* The formula must not be claimed where it is wrong: a window is not full before T = W. */
static void where_formulas_hold(void **state) {
    (void)state;
    subject s = study(SPECS "sliding.att", &(elaboration){.variant = "sliding_256"}, NULL);
    assert_int_equal(s.facts->valid_from, 256);
    done(&s);
    binding small = {"T", 64};
    s = study(SPECS "sliding.att", &(elaboration){.variant = "sliding_256", .bindings = &small, .binding_count = 1},
              NULL);
    assert_true(s.facts->fitted);
    assert_int_equal(s.facts->valid_from, 256);
    /* below it, the number is the exact one: every key is seen */
    is_wide("T = 64", s.facts->total[QUANTITY_OPERATIONS], around_attention(64) + attention(causal_pairs(64), E));
    done(&s);
    /* too many points to walk: the formula gives the number */
    binding large = {"T", 1 << 25};
    s = study(SPECS "sliding.att", &(elaboration){.variant = "sliding_256", .bindings = &large, .binding_count = 1},
              NULL);
    assert_true(s.facts->counted);
    is_wide("T = 2^25", s.facts->total[QUANTITY_OPERATIONS], sliding(1 << 25));
    done(&s);
}

static wide in_width(int64_t d) {
    return (wide)2 * B * 1024 * d * d;
}

/* K keys more or less: mha's pairs with min(t + 1, K) keys, at T = 1024. */
static wide in_selected(int64_t k) {
    return sparse(1024) - attention(window_pairs(1024, 255), E) + attention(window_pairs(1024, k - 1), E);
}

static void other_variables(void **state) {
    (void)state;
    subject s = study(SPECS "identity.att", &(elaboration){0}, "D");
    matches(s.facts, QUANTITY_OPERATIONS, in_width, "identity in D");
    assert_int_equal(s.facts->degree, 2);
    done(&s);
    s = study(SPECS "sparse.att", &(elaboration){.variant = "sparse_256"}, "K");
    for (int64_t k = 1; k < 1024; k += 73)
        assert_true(formula_gives(&s.facts->formula[QUANTITY_OPERATIONS], k, in_selected(k)));
    assert_int_equal(s.facts->valid_from, 1);
    assert_int_equal(s.facts->valid_to, 1023); /* with K = T there is nothing to select */
    done(&s);
}

#define HEAD                                                                                                           \
    "mechanism small \"small\"\nsize B = 2, T = 64, W = 5, C = 4\nindex b:B t:T s:T c:C\ninput x[b,t], doc[b,t]\n"

static wide small_window(int64_t t) {
    return 2 * window_pairs(t, 5);
}

/* max(W, t + 1) keys: W at the first W queries, then t + 1. */
static wide small_prefix(int64_t t) {
    return 2 * (5 * 5 + causal_pairs(t) - causal_pairs(5));
}

/* Every second key: t / 2 + 1, rounded down; for even T: T/2 (T/2 + 1). */
static wide small_dilated(int64_t t) {
    return 2 * ((wide)(t / 2) * (t / 2 + 1));
}

/* Filter: a multiplication and an addition for each of min(t + 1, C) taps. */
static wide small_filter(int64_t t) {
    return 2 * 2 * window_pairs(t, 3);
}

static wide small_causal(int64_t t) {
    return 2 * causal_pairs(t);
}

/* The 5 best of t + 1. */
static wide small_topk(int64_t t) {
    return 2 * window_pairs(t, 4);
}

/* Where the mask is not 0, and only there: the factor's product and exp, the product and the sum. */
static wide small_support(int64_t t) {
    return 4 * small_causal(t);
}

/* exp of four elements, their sum at each t: the sum does not depend on t. */
static wide small_first(int64_t t) {
    return 2 * (4 + 4) + 0 * t;
}

/* exp of one element of each row. */
static wide small_one(int64_t t) {
    return 2 + 0 * t;
}

/* Two readers of e: s <= t and a window of it. The weaker condition counts: exp once for each causal pair; a sum each.
 */
static wide small_union(int64_t t) {
    return 2 * small_causal(t) + small_window(t) + small_causal(t) + 2 * t;
}

/* e is read at t - 3: T - 3 of its elements are; T additions. */
static wide small_shift(int64_t t) {
    return 2 * (t - 3) + 2 * t;
}

static wide small_scan(int64_t t) {
    return 2 * 2 * t;
}

/* Blocks of 4: at t, t % 4 + 1 keys: 10 a block. */
static wide small_block(int64_t t) {
    return 2 * (t / 4) * 10;
}

static void rules(void **state) {
    (void)state;
    static const struct {
        const char *text;
        wide (*derived)(int64_t);
        int64_t multiple_of;
    } rule[] = {
        {"output y[b,t] = sum[s where s <= t and t - s <= W](x[b,s])", small_window, 1},
        {"output y[b,t] = sum[s where 0 <= t - s <= W](x[b,s])", small_window, 1},
        {"output y[b,t] = sum[s where not (s > t or t - s > W)](x[b,s])", small_window, 1},
        {"output y[b,t] = sum[s where s < W or s <= t](x[b,s])", small_prefix, 1},
        {"output y[b,t] = sum[s where s <= t and (t - s) % 2 == 0](x[b,s])", small_dilated, 2},
        {"param f[c] output y[b,t] = sum[c where t - c >= 0](f[c] * x[b,t-c])", small_filter, 1},
        {"param f[c] output y[b,t] = sum[c](f[c] * (if t >= c then x[b,t-c] else 0))", small_filter, 1},
        {"output y[b,t] = sum[s where topk[s where s <= t](x[b,s] * 1.0, W)](x[b,s])", small_topk, 1},
        {"output y[b,t] = sum[s where s <= t and doc[b,s] < doc[b,t]](x[b,s])", small_causal, 1},
        {"m[b,t,s] = if s <= t then exp(x[b,s] * doc[b,t]) else 0 output y[b,t] = sum[s](m[b,t,s] * x[b,s])",
         small_support, 1},
        {"e[b,s] = exp(x[b,s]) output y[b,t] = sum[s where s < 4](e[b,s])", small_first, 1},
        {"e[b,t] = exp(x[b,t]) output y[b,t] = e[b,0]", small_one, 1},
        {"e[b,t,s] = exp(x[b,t] * x[b,s]) output y[b,t] = sum[s where s <= t](e[b,t,s]) + "
         "sum[s where s <= t and t - s <= W](e[b,t,s])",
         small_union, 1},
        {"e[b,t] = exp(x[b,t]) output y[b,t] = (if t >= 3 then e[b,t-3] else 0) + x[b,t]", small_shift, 1},
        {"S[b,t] = x[b,t] * S[b,t-1] + doc[b,t] from 0 output y[b,t] = S[b,t]", small_scan, 1},
        {"output y[b,t] = sum[s where s <= t and s / C == t / C](x[b,s])", small_block, 4},
    };
    for (size_t i = 0; i < sizeof rule / sizeof *rule; i++) {
        char text[1024];
        snprintf(text, sizeof text, HEAD "%s\n", rule[i].text);
        subject s = study_text(text);
        matches(s.facts, QUANTITY_OPERATIONS, rule[i].derived, rule[i].text);
        assert_int_equal(s.facts->multiple_of, rule[i].multiple_of);
        done(&s);
    }
}

/* A count that is no polynomial is said to be none; the number stays exact. */
static void no_closed_form(void **state) {
    (void)state;
    subject s = study_text(HEAD "output y[b,t] = sum[s where s * s <= t](x[b,s])");
    wide n    = 0;
    for (int t = 0; t < 64; t++)
        for (int k = 0; k * k <= t; k++)
            n += 2;
    assert_false(s.facts->fitted);
    assert_true(s.facts->counted);
    is_wide("roots", s.facts->total[QUANTITY_OPERATIONS], n);
    done(&s);
}

/* Domains of all kinds, counted by rule and by the interpreter, which walks every point. */
static void domains(void **state) {
    (void)state;
    static const char *const condition[] = {
        "s <= t",
        "s < t and c <= s",
        "t - s <= 3 or s < 2",
        "not (t - s <= 3 or s < 2)",
        "s != t",
        "s == t",
        "2 * s <= t",
        "3 * s - 2 * t >= 4 and s + t < 30",
        "(t - s) % 3 == 1",
        "s / C == t / C and s >= 0",
        "s / C < t / C or s == t",
        "min(s, t) + c > 5",
        "max(s, t - 4) == s and c != 2",
        "s <= t <= s + c",
        "(if s < 4 then t else s) < 7",
        "t >= 13 and s + c == t",
        "s - t > 100",
        "abs(t - s) <= 2",
        "float(s) < 7.5 or t == c",
        "not (s <= t and c <= s)",
    };
    for (size_t i = 0; i < sizeof condition / sizeof *condition; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "mechanism small \"small\"\nsize T = 21, C = 4\nindex t:T s:T c:C\ninput x[t]\n"
                 "output y[t] = x[t]\noutput n = sum[t,s,c where %s](float((t + s + c + 1) / (t + s + c + 1)))\n",
                 condition[i]);
        diagnostics d = {.stream = stderr};
        spec *s       = spec_read(write_file("spec.att", text), NULL, &d);
        graph *g      = graph_new();
        assert_non_null(s);
        assert_true(elaborate_mechanism(g, s, &(elaboration){0}, &d));
        cost *c               = cost_of(g, false);
        double x[21]          = {0};
        const double *value[] = {x};
        interpretation *run   = interpret_new(g, value, 1);
        double points         = interpret_output(run, 1)[0];
        is_wide(condition[i], c->operations, (wide)points);
        assert_true(c->exact);
        interpret_free(run);
        cost_free(c);
        graph_free(g);
        spec_free(s);
    }
}

/* Causality */

static void replace(char *text, const char *from, const char *to) {
    char *copy = calloc(1, 1 << 18), *out = copy;
    int n = 0;
    for (const char *at = text; *at;)
        if (strncmp(at, from, strlen(from)) == 0) {
            out += sprintf(out, "%s", to);
            at += strlen(from);
            n++;
        } else {
            *out++ = *at++;
        }
    assert_true(n > 0);
    strcpy(text, copy);
    free(copy);
}

/* What is proved has no example against it, at small sizes. */
static void no_example(const spec *s, const binding *set, size_t count) {
    graph *small = sizes_elaborate(s, &(elaboration){0}, set, count);
    causality example;
    assert_non_null(small);
    assert_false(causality_example(small, causality_time(small), &example));
    graph_free(small);
}

static void every_spec_is_causal(void **state) {
    (void)state;
    DIR *d = opendir(SPECS);
    int n  = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        if (!strstr(e->d_name, ".att"))
            continue;
        snprintf(path, sizeof path, SPECS "%s", e->d_name);
        subject s = study(path, &(elaboration){0}, NULL);
        if (s.facts->causality.kind != CAUSALITY_PROVED)
            fail_msg("%s is not proved causal", path);
        no_example(s.spec, (const binding[]){{"T", 8}, {"D", 16}, {"B", 1}}, 3);
        done(&s);
        n++;
    }
    closedir(d);
    assert_true(n >= 8);
}

static void one_later_is_refuted(void **state) {
    (void)state;
    static const struct {
        const char *name, *from, *to;
    } change[] = {{"mha", "s <= t", "s <= t + 1"},
                  {"mqa", "s <= t", "s <= t + 1"},
                  {"gqa", "s <= t", "s <= t + 1"},
                  {"mla", "s <= t", "s <= t + 1"},
                  {"sliding", "s <= t", "s <= t + 1"},
                  {"sparse", "s <= t", "s <= t + 1"},
                  {"linear", "u[t - c]", "(if t - c + 1 < T then u[t - c + 1] else 0)"},
                  {"identity", "x[b,t,f]", "(if t + 1 < T then x[b,t+1,f] else 0)"}};
    for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
        char path[512];
        snprintf(path, sizeof path, SPECS "%s.att", change[i].name);
        char *text = slurp(path);
        replace(text, change[i].from, change[i].to);
        subject s    = study_text(text);
        causality *c = &s.facts->causality;
        assert_int_equal(c->kind, CAUSALITY_REFUTED);
        assert_int_equal(c->at, 0);
        assert_int_equal(c->depends, 1);
        assert_string_equal(graph_output(s.facts->g, c->output)->name, "y");
        assert_string_equal(graph_tensor(s.facts->g, c->tensor)->name, "x");
        free(text);
        done(&s);
    }
}

#define FLOW                                                                                                           \
    "mechanism small \"small\"\ninclude \"lib/standard.att\"\nsize B = 2, T = 64, D = 3, C = 16, N = T / C\n"          \
    "index b:B t:T s:T d:D c:C n:N\ninput x[b,t,d]\n"

#define BLOCKS "M[b,n,d] = M[b,n-1,d] + sum[c where n*C + c < T](x[b,n*C+c,d]) from 0 "
#define PAIR(a, b) "u[b,t,d] = 0.5 * w[b,t-1,d] + " a " from 0 w[b,t,d] = 0.5 * u[b,t-1,d] + " b " from 0 "

static void causality_rules(void **state) {
    (void)state;
    static const struct {
        const char *text;
        causality_kind kind;
        int at, depends; /* the example; -1: any */
        const char *culprit;
    } rule[] = {
        {"p[b,t,s] = softmax[s](sum[d](x[b,t,d] * x[b,s,d])) output y[b,t,d] = sum[s](p[b,t,s] * x[b,s,d])",
         CAUSALITY_REFUTED, 0, 1, NULL},
        {"S[b,t,d] = 0.5 * S[b,t+1,d] + x[b,t,d] from 0 output y[b,t,d] = S[b,t,d]", CAUSALITY_REFUTED, 0, 1, "S"},
        {"S[b,t,d] = 0.5 * S[b,t-1,d] + x[b,t,d] from 0 output y[b,t,d] = S[b,t,d]", CAUSALITY_PROVED, 0, 0, NULL},
        {"S[b,t,d] = 0.5 * S[b,t-1,d] + (if t < T-1 then x[b,t+1,d] else 0) from 0 output y[b,t,d] = S[b,t,d]",
         CAUSALITY_REFUTED, 0, 1, NULL},
        {"output y[b,t,d] = rmsnorm[t](x[b,t,d])", CAUSALITY_REFUTED, 0, 1, NULL},
        {"output y[b,t,d] = x[b,T-1-t,d]", CAUSALITY_REFUTED, 3, 4, NULL},
        {"output y[b,t,d] = x[b,t/2,d] + x[b,0,d] + x[b,min(t, 9),d] + x[b,(t/C)*C,d]", CAUSALITY_PROVED, 0, 0, NULL},
        {"output y[b,t,d] = x[b,max(t, 3),d]", CAUSALITY_REFUTED, 2, 3, NULL},
        {"output y[b,t,d] = x[b,1,d]", CAUSALITY_REFUTED, 0, 1, NULL},
        {"output y[b,t,d] = sum[s where s / C == t / C and s <= t](x[b,s,d])", CAUSALITY_PROVED, 0, 0, NULL},
        {"output y[b,t,d] = sum[s where s / C == t / C](x[b,s,d])", CAUSALITY_REFUTED, 0, 1, NULL},
        {"k[b,n,d] = sum[c](x[b,n*C + c,d]) output y[b,t,d] = sum[n where n*C + C - 1 <= t](k[b,n,d])",
         CAUSALITY_PROVED, 0, 0, NULL},
        {"output y[b,t,d] = sum[s](x[b,s,d] * (if s <= t then x[b,t,0] else 0))", CAUSALITY_PROVED, 0, 0, NULL},
        {"output y[b,t,d] = sum[s where s <= t and x[b,s,0] < x[b,t,0]](x[b,s,d])", CAUSALITY_PROVED, 0, 0, NULL},
        {"output y[b,t,d] = x[b,t,d] + sum[s where topk[s](x[b,s,0] * x[b,t,1], 2) and s <= t](x[b,s,d])",
         CAUSALITY_REFUTED, -1, 0, NULL},
        {"w[t] = sum[s where s > t](1.0) output y[b,t,d] = x[b,t,d] * w[t]", CAUSALITY_PROVED, 0, 0, NULL},
        /* s * s <= t * t says s <= t, but not to this proof; and there is no example against it */
        {"output y[b,t,d] = sum[s where s * s <= t * t](x[b,s,d])", CAUSALITY_UNPROVED, 0, 0, "y"},
        {"output y[b,d] = sum[t](x[b,t,d])", CAUSALITY_NO_TIME, 0, 0, NULL},
        /* sums over intervals, which are scans from the end */
        {"p[b,t,s] = exp(sum[r:T where s < r <= t](x[b,r,0])) where s <= t output y[b,t] = sum[s](p[b,t,s])",
         CAUSALITY_PROVED, 0, 0, NULL},
        {"p[b,t,s] = exp(sum[r:T where s <= r <= t](x[b,r,0])) output y[b,t] = sum[s](p[b,t,s])", CAUSALITY_PROVED, 0,
         0, NULL},
        {"p[b,t,s] = exp(sum[r:T where s < r <= t + 1](x[b,r,0])) where s <= t output y[b,t] = sum[s](p[b,t,s])",
         CAUSALITY_REFUTED, 0, 1, NULL},
        {"p[b,t,s] = exp(sum[r:T where s < r](x[b,r,0])) where s <= t output y[b,t] = sum[s](p[b,t,s])",
         CAUSALITY_REFUTED, 0, 1, NULL},
        {"S[b,s,t] = 0.5 * S[b,s+1,t] + (if s <= t then x[b,s,0] else 0) from 0 output y[b,t] = S[b,0,t]",
         CAUSALITY_PROVED, 0, 0, NULL},
        {"S[b,s,t] = 0.5 * S[b,s+1,t] + (if s < t or s == 5 then x[b,s,0] else 0) from 0 output y[b,t] = S[b,0,t]",
         CAUSALITY_REFUTED, 4, 5, "S"},
        /* from the end of time: what is read at step 0 is the latest */
        {"S[b,s,t] = S[b,s-1,t] + (if s + t >= T-1 then x[b,T-1-s,0] else 0) from 0 output y[b,t] = S[b,T-1,t]",
         CAUSALITY_PROVED, 0, 0, NULL},
        {"S[b,s,t] = S[b,s-1,t] + (if s + t >= T-2 then x[b,T-1-s,0] else 0) from 0 output y[b,t] = S[b,T-1,t]",
         CAUSALITY_REFUTED, 0, 1, NULL},
        /* a state for each block */
        {BLOCKS "output y[b,t,d] = M[b,t/C-1,d] where t / C >= 1", CAUSALITY_PROVED, 0, 0, NULL},
        {BLOCKS "output y[b,t,d] = M[b,t/C-1,d]", CAUSALITY_PROVED, 0, 0, NULL},
        {BLOCKS "output y[b,t,d] = M[b,(t+1)/C-1,d]", CAUSALITY_PROVED, 0, 0, NULL},
        {BLOCKS "output y[b,t,d] = M[b,(t+2)/C-1,d]", CAUSALITY_REFUTED, 2, 3, NULL},
        {BLOCKS "output y[b,t,d] = M[b,t/C,d]", CAUSALITY_REFUTED, 0, 1, NULL},
        {"output y[b,t,d] = x[b,t-t%C,d] + x[b,t-(t/C)*C,d]", CAUSALITY_PROVED, 0, 0, NULL},
        {"output y[b,t,d] = x[b,min(T-1,t-t%C+C-1),d]", CAUSALITY_REFUTED, 2, 3, NULL},
        {"output y[b,t,d] = x[b,2*(t/2)+1,d]", CAUSALITY_REFUTED, 0, 1, NULL},
        /* states that read each other */
        {PAIR("x[b,t,d]", "x[b,t,d]") "output y[b,t,d] = u[b,t,d] + w[b,t,d]", CAUSALITY_PROVED, 0, 0, NULL},
        {PAIR("x[b,min(t+1,T-1),d]", "x[b,t,d]") "output y[b,t,d] = u[b,t,d]", CAUSALITY_REFUTED, 0, 1, NULL},
        {PAIR("0.5", "x[b,min(t+2,T-1),d]") "output y[b,t,d] = u[b,t,d]", CAUSALITY_REFUTED, 1, 2, NULL},
        {PAIR("0.5", "x[b,min(t+1,T-1),d]") "output y[b,t,d] = u[b,t,d]", CAUSALITY_PROVED, 0, 0, NULL},
        {PAIR("0.5", "x[b,min(t+1,T-1),d]") "output y[b,t,d] = w[b,t,d]", CAUSALITY_REFUTED, 0, 1, NULL},
    };
    for (size_t i = 0; i < sizeof rule / sizeof *rule; i++) {
        char text[1024];
        snprintf(text, sizeof text, FLOW "%s\n", rule[i].text);
        subject s          = study_text(text);
        const causality *c = &s.facts->causality;
        if (c->kind != rule[i].kind)
            fail_msg("`%s`: found %d, not %d", rule[i].text, (int)c->kind, (int)rule[i].kind);
        if (c->kind == CAUSALITY_REFUTED && rule[i].at >= 0 && (c->at != rule[i].at || c->depends != rule[i].depends))
            fail_msg("`%s`: the example is %d on %d", rule[i].text, (int)c->at, (int)c->depends);
        if (c->kind == CAUSALITY_PROVED)
            no_example(s.spec, (const binding[]){{"T", 8}, {"C", 2}}, 2);
        if (rule[i].culprit) {
            assert_true(c->culprit != NODE_NONE);
            assert_string_equal(graph_node_name(s.facts->g, c->culprit), rule[i].culprit);
        }
        done(&s);
    }
}

/* Who is to blame: the reduction that goes too far, or the read that is too late. */
static void culprits(void **state) {
    (void)state;
    static const struct {
        const char *text;
        node_op op;
        const char *place; /* where the warning stands */
    } rule[] = {
        {"p[b,t,s] = softmax[s where s <= t + 1](x[b,s,0]) output y[b,t,d] = sum[s](p[b,t,s] * x[b,s,d])", NODE_REDUCE,
         "softmax[s where s <= t + 1](x[b,s,0])"},
        {"m[b,t,d] = sum[s where s <= t + 1](x[b,s,d]) output y[b,t,d] = m[b,t,d] * x[b,t,d]", NODE_REDUCE,
         "sum[s where s <= t + 1](x[b,s,d])"},
        {BLOCKS "output y[b,t,d] = 0.5 * M[b,t/C,d]", NODE_GATHER, "M[b,t/C,d]"},
        {"output y[b,t,d] = 2 + x[b,min(t + 2, T-1),d]", NODE_GATHER, "x[b,min(t + 2, T-1),d]"},
    };
    for (size_t i = 0; i < sizeof rule / sizeof *rule; i++) {
        char text[1024];
        snprintf(text, sizeof text, FLOW "causal t\n%s\n", rule[i].text);
        diagnostics d   = {.stream = stderr};
        origins places  = {0};
        elaboration how = {.origins = &places};
        spec *mechanism = spec_read(write_file("spec.att", text), TEST_SOURCE_DIR "/specs", &d);
        graph *g        = graph_new();
        char quoted[256];
        assert_non_null(mechanism);
        assert_true(elaborate_mechanism(g, mechanism, &how, &d));
        causality c = causality_check(g, mechanism, &how);
        assert_int_equal(c.kind, CAUSALITY_REFUTED);
        if (!c.culprit || graph_view(g, c.culprit).op != rule[i].op)
            fail_msg("`%s`: node %u is to blame", rule[i].text, (unsigned)c.culprit);
        assert_true(c.culprit < places.count);
        diagnostics_quote(places.at[c.culprit], quoted, sizeof quoted);
        assert_string_equal(quoted, rule[i].place);
        elaborate_origins_free(&places);
        graph_free(g);
        spec_free(mechanism);
    }
}

/* Log-linear attention sums over intervals; Infini-attention reads states of segments. */
static void examples(void **state) {
    (void)state;
    static const struct {
        const char *path;
        binding small[4];
    } example[] = {{"loglinear", {{"T", 8}, {"D", 8}, {"B", 1}, {"N", 4}}},
                   {"infini", {{"T", 8}, {"D", 8}, {"B", 1}, {"L", 3}}}};
    for (size_t i = 0; i < sizeof example / sizeof *example; i++) {
        char path[512];
        snprintf(path, sizeof path, TEST_SOURCE_DIR "/examples/mechanisms/%s.att", example[i].path);
        subject s = study(path, &(elaboration){0}, NULL);
        if (s.facts->causality.kind != CAUSALITY_PROVED)
            fail_msg("%s is not proved causal", path);
        no_example(s.spec, example[i].small, 4);
        done(&s);
    }
}

/* Forms of the report */

static report_options options_for(char **path, size_t count, const char *output) {
    return (report_options){.spec = path, .spec_count = count, .library = TEST_SOURCE_DIR "/specs", .output = output};
}

static void json(void **state) {
    (void)state;
    char bad[160], out[160], mha_path[] = SPECS "mha.att", gqa_path[] = SPECS "gqa.att";
    snprintf(bad, sizeof bad, "%s", write_file("bad.att", "mechanism bad \"bad\"\noutput y = nothing\n"));
    snprintf(out, sizeof out, "%s/facts.json", folder);
    char *path[]     = {mha_path, bad, gqa_path};
    report_options o = options_for(path, 3, out);
    int errors       = dup(2);
    assert_non_null(freopen("/dev/null", "w", stderr));
    assert_int_equal(report_run(&o), 1);
    dup2(errors, 2);
    close(errors);
    assert_int_equal(files_in_folder(), 2);
    char *text  = slurp(out);
    cJSON *root = cJSON_Parse(text);
    assert_non_null(root);
    assert_string_equal(cJSON_GetObjectItem(root, "attnc")->valuestring, ATTNC_VERSION);
    cJSON *all = cJSON_GetObjectItem(root, "mechanisms"), *failed = cJSON_GetObjectItem(root, "failed");
    assert_int_equal(cJSON_GetArraySize(all), 3);
    assert_int_equal(cJSON_GetArraySize(failed), 1);
    assert_string_equal(cJSON_GetArrayItem(failed, 0)->valuestring, bad);
    cJSON *first = cJSON_GetArrayItem(all, 0), *flops = cJSON_GetObjectItem(first, "flops");
    assert_string_equal(cJSON_GetObjectItem(first, "name")->valuestring, "mha");
    assert_string_equal(cJSON_GetObjectItem(first, "title")->valuestring, "multi-head attention");
    assert_non_null(strstr(cJSON_GetObjectItem(first, "about")->valuestring, "arXiv:1706.03762"));
    assert_true(cJSON_GetObjectItem(first, "parameters")->valuedouble == 65536);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(first, "parameter_list")), 4);
    assert_string_equal(cJSON_GetObjectItem(flops, "formula")->valuestring, "132,412 + 268·T + 32/T");
    assert_true(cJSON_GetObjectItem(flops, "total")->valuedouble == (double)mha(1024));
    assert_true(cJSON_GetObjectItem(cJSON_GetObjectItem(flops, "coefficients"), "1")->valuedouble == 268);
    cJSON *tokens = cJSON_GetObjectItem(cJSON_GetObjectItem(first, "tokens"), "indices");
    assert_int_equal(cJSON_GetArraySize(tokens), 2);
    assert_string_equal(cJSON_GetArrayItem(tokens, 1)->valuestring, "t");
    assert_string_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(first, "causality"), "result")->valuestring, "proved");
    assert_string_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(first, "asymptotic"), "text")->valuestring, "O(T²)");
    assert_string_equal(cJSON_GetObjectItem(cJSON_GetArrayItem(all, 2), "name")->valuestring, "gqa_1");
    cJSON_Delete(root);
    free(text);
}

static void text(void **state) {
    (void)state;
    char out[160], path_text[160];
    snprintf(path_text, sizeof path_text, "%s",
             write_file("spec.att", HEAD "output y[b,t] = sum[s where s <= t + 1 and doc[b,s] < doc[b,t]](x[b,s])"));
    snprintf(out, sizeof out, "%s/report.txt", folder);
    char identity_path[] = SPECS "identity.att", *path[] = {identity_path, path_text};
    report_options o = options_for(path, 2, out);
    assert_int_equal(report_run(&o), 0);
    char *have = slurp(out);
    assert_string_equal(have,
                        "mechanism  parameters  FLOPs/token  bytes/token  cost   causal  FLOPs/token as a formula\n"
                        "identity       16,384       32,768        1,040  O(T)   proved  32,768\n"
                        "small               0        33.48           12  O(T²)  no      1.5 + 0.5·T - 1/T\n"
                        "\n"
                        "small: data-dependent condition on `doc` counted as always true.\n"
                        "small: refuted: `y` at t = 0 depends on `x` at t = 1.\n");
    free(have);
    o.verbose    = true;
    o.spec_count = 1;
    assert_int_equal(report_run(&o), 0);
    have = slurp(out);
    assert_non_null(strstr(have, "  FLOPs/token    32,768\n"));
    assert_non_null(strstr(have, "  bytes/token    1,024 + 16,384/T (1,040 at T = 1,024)\n"));
    assert_non_null(strstr(have, "  tokens         b·t = 4,096\n"));
    free(have);
    /* nothing is left where it cannot be written */
    o.output   = "/nonexistent/facts.json";
    int errors = dup(2);
    assert_non_null(freopen("/dev/null", "w", stderr));
    assert_int_equal(report_run(&o), 3);
    dup2(errors, 2);
    close(errors);
}

/* Pictures */

static void pictures(void **state) {
    (void)state;
    diagnostics d = {.stream = stderr};
    spec *s       = spec_read(SPECS "sparse.att", NULL, &d);
    graph *g      = graph_new();
    char path[160], error[512];
    assert_true(elaborate_mechanism(g, s, &(elaboration){0}, &d));
    snprintf(path, sizeof path, "%s/sparse.dot", folder);
    assert_true(draw_is_picture(path));
    assert_true(draw_to_file(g, "a \"title\"", path, error, sizeof error));
    char *dot = slurp(path);
    assert_non_null(strstr(dot, "label=\"a \\\"title\\\"\""));
    assert_non_null(strstr(dot, "label=\"x[b,t,d]\\n4 × 1024 × 128\""));
    assert_non_null(strstr(dot, "label=\"sel[b,t,s]\\n4 × 1024 × 1024\\ntop 256 over s"));
    assert_non_null(strstr(dot, "label=\"s ≤ t\""));
    assert_non_null(strstr(dot, "shape=diamond")); /* the loss */
    assert_non_null(strstr(dot, "% of FLOPs"));
    free(dot);
    const char *kept = getenv("PATH");
    char *restored   = strdup(kept ? kept : "");
    snprintf(path, sizeof path, "%s/sparse.svg", folder);
    setenv("PATH", "/nonexistent", 1);
    assert_false(draw_to_file(g, "sparse", path, error, sizeof error));
    assert_non_null(strstr(error, "Graphviz"));
    assert_int_equal(files_in_folder(), 1);
    setenv("PATH", restored, 1);
    free(restored);
    if (access("/usr/bin/dot", X_OK) == 0) {
        assert_true(draw_to_file(g, "sparse", path, error, sizeof error));
        char *svg = slurp(path);
        assert_non_null(strstr(svg, "</svg>"));
        free(svg);
        assert_int_equal(files_in_folder(), 2);
    }
    graph_free(g);
    spec_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(known_mechanisms, clear_folder),
        cmocka_unit_test_teardown(where_formulas_hold, clear_folder),
        cmocka_unit_test_teardown(other_variables, clear_folder),
        cmocka_unit_test_teardown(rules, clear_folder),
        cmocka_unit_test_teardown(no_closed_form, clear_folder),
        cmocka_unit_test_teardown(domains, clear_folder),
        cmocka_unit_test_teardown(every_spec_is_causal, clear_folder),
        cmocka_unit_test_teardown(one_later_is_refuted, clear_folder),
        cmocka_unit_test_teardown(causality_rules, clear_folder),
        cmocka_unit_test_teardown(culprits, clear_folder),
        cmocka_unit_test_teardown(examples, clear_folder),
        cmocka_unit_test_teardown(json, clear_folder),
        cmocka_unit_test_teardown(text, clear_folder),
        cmocka_unit_test_teardown(pictures, clear_folder),
    };
    return cmocka_run_group_tests_name("report", tests, make_folder, remove_folder);
}
