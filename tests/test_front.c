/* The front end: every spec of the repository elaborates to a graph that the verifier accepts, small specs mean what
 * the language says, and rejected ones are rejected with the messages in tests/bad. */
#include "causality.h"
#include "elaborate.h"
#include "interpret.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
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

static void verified(const graph *g) {
    char error[256] = "";
    if (!graph_verify(g, error, sizeof error))
        fail_msg("%s", error);
}

static spec *read_spec(const char *path) {
    diagnostics d = {.stream = stderr};
    spec *s       = spec_read(path, NULL, &d);
    assert_non_null(s);
    assert_int_equal(d.errors, 0);
    return s;
}

static int64_t parameters(const graph *g, const char *group) {
    int64_t count = 0;
    for (uint32_t i = 0; i < graph_tensor_count(g); i++) {
        const tensor *t = graph_tensor(g, i);
        if (t->kind == TENSOR_PARAMETER && (!group || strcmp(t->group, group) == 0))
            count += t->elements;
    }
    return count;
}

static const output *find_output(const graph *g, const char *name) {
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (strcmp(graph_output(g, i)->name, name) == 0)
            return graph_output(g, i);
    fail_msg("no output %s", name);
    return NULL;
}

static const tensor *find_tensor(const graph *g, const char *name) {
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        if (strcmp(graph_tensor(g, i)->name, name) == 0)
            return graph_tensor(g, i);
    fail_msg("no tensor %s", name);
    return NULL;
}

/* Parameters at the default sizes: D = 128, H = 4, E = 32; counted by hand from the papers' shapes. */
static const struct {
    const char *file, *variant;
    int64_t parameters;
} known[] = {
    {"mha", NULL, 4 * 128 * 128},
    {"mqa", NULL, 2 * 128 * 128 + 2 * 32 * 128},
    {"gqa", NULL, 2 * 128 * 128 + 2 * 2 * 32 * 128},
    {"gqa", "gqa_2", 2 * 128 * 128 + 2 * 2 * 32 * 128},
    {"gqa", "gqa_1", 2 * 128 * 128 + 2 * 32 * 128},
    {"mla", NULL, 2 * 128 * 128 + 64 * 128 + 32 * 128 + 64 + 2 * 128 * 64 + 128 * 128},
    {"linear", NULL, 5 * 128 * 128 + 3 * 128 * 4 + 2 * 4 * 128 + 4 + 4 + 32},
    {"sparse", "sparse_512", 4 * 128 * 128 + 4 * 64 * 128 + 64 * 128 + 4 * 128},
    {"sliding", "sliding_256", 4 * 128 * 128},
    {"identity", NULL, 128 * 128},
};

static void mechanisms_elaborate(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char path[512];
        snprintf(path, sizeof path, SPECS "%s.att", known[i].file);
        spec *s       = read_spec(path);
        graph *g      = graph_new();
        diagnostics d = {.stream = stderr};
        assert_true(elaborate_mechanism(g, s, &(elaboration){.variant = known[i].variant, .training = true}, &d));
        verified(g);
        assert_string_equal(spec_name(s), known[i].file);
        assert_int_equal(parameters(g, "attention"), known[i].parameters);
        assert_int_equal(parameters(g, NULL), known[i].parameters);
        const output *y = find_output(g, "y");
        assert_int_equal(y->elements, 4 * 1024 * 128);
        assert_int_equal(y->rank, 3);
        graph_free(g);
        spec_free(s);
    }
}

/* No spec in the folder is forgotten by the table above. */
static void every_mechanism_is_tested(void **state) {
    (void)state;
    DIR *folder = opendir(SPECS);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        const char *ending = strstr(entry->d_name, ".att");
        bool found         = !ending;
        for (size_t i = 0; i < sizeof known / sizeof *known && !found; i++)
            found = strlen(known[i].file) == (size_t)(ending - entry->d_name) &&
                    strncmp(known[i].file, entry->d_name, strlen(known[i].file)) == 0;
        if (!found)
            fail_msg("%s is not in the table", entry->d_name);
    }
    closedir(folder);
}

static void models_elaborate(void **state) {
    (void)state;
    spec *model = read_spec(SPECS "model/lm.att");
    assert_int_equal(spec_get_kind(model), SPEC_MODEL);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char path[512];
        snprintf(path, sizeof path, SPECS "%s.att", known[i].file);
        spec *s                     = read_spec(path);
        graph *g                    = graph_new();
        diagnostics d               = {.stream = stderr};
        const binding size[]        = {{"B", 2}, {"T", 16}, {"L", 3}, {"V", 50}};
        const elaboration inner     = {.variant = known[i].variant};
        const elaboration how       = {.bindings = size, .binding_count = 4, .training = true};
        const spec *const several[] = {s};
        assert_true(elaborate_model(g, model, several, &inner, 1, &how, &d));
        verified(g);
        assert_int_equal(parameters(g, "attention"), 3 * known[i].parameters);
        assert_int_equal(parameters(g, "embedding"), 50 * 128);
        assert_int_equal(parameters(g, "feedforward"), 3 * 2 * 512 * 128);
        assert_int_equal(parameters(g, "other"), 3 * 2 * 128 + 128);
        assert_int_equal(find_output(g, "crossentropy")->kind, OUTPUT_LOSS);
        assert_int_equal(find_output(g, "accuracy")->kind, OUTPUT_VALUE);
        assert_int_equal(find_tensor(g, "tokens")->type, TYPE_INT);
        assert_int_equal(find_tensor(g, "tokens")->below, 50);
        graph_free(g);
        spec_free(s);
    }
    spec_free(model);
}

/* Layers take the mechanisms in turn, and what a mechanism adds to the loss is named after its layer. */
static void a_model_of_two_mechanisms(void **state) {
    (void)state;
    spec *model                 = read_spec(SPECS "model/lm.att");
    spec *first                 = read_spec(SPECS "identity.att");
    spec *second                = read_spec(SPECS "sparse.att");
    const spec *const several[] = {first, second};
    const binding size[] = {{"B", 1}, {"T", 8}, {"D", 16}, {"L", 3}, {"V", 9}}, few[] = {{"K", 2}};
    const elaboration inner[] = {{0}, {.bindings = few, .binding_count = 1}};
    const elaboration how     = {.bindings = size, .binding_count = 5};
    diagnostics d             = {.stream = stderr};
    graph *g                  = graph_new();
    assert_true(elaborate_model(g, model, several, inner, 2, &how, &d));
    verified(g);
    assert_int_equal(find_tensor(g, "layer0.attention.W")->elements, 16 * 16);
    assert_int_equal(find_tensor(g, "layer1.attention.Uq")->elements, 4 * 64 * 16);
    assert_int_equal(find_tensor(g, "layer2.attention.W")->elements, 16 * 16);
    assert_int_equal(find_tensor(g, "layer2.W1")->elements, 64 * 16);
    assert_int_equal(find_output(g, "layer1.attention.indexer")->kind, OUTPUT_LOSS);
    assert_int_equal(graph_output_count(g), 3);
    graph_free(g);
    spec_free(model);
    spec_free(first);
    spec_free(second);
}

/* Small specs, written to a file and read back */

static spec *spec_of(const char *text, diagnostics *d) {
    char path[] = "test_front_XXXXXX";
    int handle  = mkstemp(path);
    assert_true(handle >= 0);
    assert_int_equal(write(handle, text, strlen(text)), (ssize_t)strlen(text));
    close(handle);
    spec *s = spec_read(path, NULL, d);
    unlink(path);
    return s;
}

#define PREAMBLE                                                                                                       \
    "mechanism m \"test\" include \"lib/standard.att\" size T = 4, U = 3 number P = 0.5 index t:T s:T u:U "            \
    "input x[t] input k[t] : int < 3 "

/* y of the spec, where x[t] = t + 1 and k = 2 0 1 2. */
static void computes(const char *statements, size_t count, const double *expected) {
    static const double x[] = {1, 2, 3, 4}, k[] = {2, 0, 1, 2};
    const double *value[] = {x, k, (const double[]){7}};
    char text[2048];
    snprintf(text, sizeof text, PREAMBLE "%s", statements);
    diagnostics d = {.stream = stderr};
    spec *s       = spec_of(text, &d);
    assert_non_null(s);
    graph *g = graph_new();
    assert_true(elaborate_mechanism(g, s, &(elaboration){0}, &d));
    verified(g);
    interpretation *run = interpret_new(g, value, 1);
    const output *y     = find_output(g, "y");
    assert_int_equal(y->elements, count);
    for (uint32_t o = 0; o < graph_output_count(g); o++)
        if (graph_output(g, o) == y)
            for (size_t i = 0; i < count; i++)
                if (!(fabs(interpret_output(run, o)[i] - expected[i]) < 1e-12))
                    fail_msg("%s: element %zu is %.17g, not %.17g", statements, i, interpret_output(run, o)[i],
                             expected[i]);
    interpret_free(run);
    graph_free(g);
    spec_free(s);
}

#define COMPUTES(statements, ...)                                                                                      \
    computes(statements, sizeof((double[]){__VA_ARGS__}) / sizeof(double), (double[]){__VA_ARGS__})

static void arithmetic(void **state) {
    (void)state;
    COMPUTES("output y = 2 + 3 * 4 - 6 / 4", 13);
    COMPUTES("output y = -7 / 2", -4);
    COMPUTES("output y = (0 - 7) % 3", 2);
    COMPUTES("output y = 7 / 2.0", 3.5);
    COMPUTES("output y = -2 ^ 2 + 2 ^ 3 ^ 2", 508);
    COMPUTES("output y = -3 ^ 2 / 2 + 2 ^ 62 / 2 ^ 60 + (-1) ^ 3 / 2", -2);
    COMPUTES("output y = 2 ^ 63 / 2 ^ 64 + 2 ^ -1 + 3.0 ^ 2 / 2", 5.5);
    COMPUTES("output y[t] = k[t] ^ 3 / 3 + (t + 1) ^ 0 / 2", 2, 0, 0, 2);
    COMPUTES("output y[t] = 2 ^ k[t] / 3 + 0 ^ t / 2", 1, 0, 0, 1);
    COMPUTES("output y[t] = if t >= 1 then 3 ^ (t - 1) / 2 else 3 ^ (t - 1)", 1.0 / 3, 0, 1, 4);
    COMPUTES("output y = max(2, 3) * min(2, 3.5) + abs(-1)", 7);
    COMPUTES("output y = 1.5e1 + .5 + 2.", 17.5);
    COMPUTES("output y = T * 10 + U + P", 43.5);
    COMPUTES("output y = if 1 < 2 and not (2 <= 1) or 1 == 2 then 1 else 0", 1);
    COMPUTES("output y[t] = if 1 <= t < 3 then 1 else 0", 0, 1, 1, 0);
    COMPUTES("output y[t] = if t != 2 and t >= 1 then t else -t", 0, 1, -2, 3);
    COMPUTES("output y[t] = extent(t) * 10 + t", 40, 41, 42, 43);
}

static void reads(void **state) {
    (void)state;
    COMPUTES("output y[t] = x[3 - t]", 4, 3, 2, 1);
    COMPUTES("output y[t] = x[t - 1] where t >= 1", 0, 1, 2, 3);
    COMPUTES("output y[t] = if t >= 1 and x[t - 1] > 1 then 1 else 0", 0, 0, 1, 1);
    COMPUTES("output y[t] = if t == 0 or x[t - 1] > 1 then 1 else 0", 1, 0, 1, 1);
    COMPUTES("output y[t] = x[k[t]]", 3, 1, 2, 3);
    COMPUTES("a[t,s] = x[t] * 10 + x[s]  output y[t] = a[3 - t, t]", 41, 32, 23, 14);
    COMPUTES("a[t,s] = x[t] * 10 + x[s]  output y[t,s] = a[s,t]", 11, 21, 31, 41, 12, 22, 32, 42, 13, 23, 33, 43, 14,
             24, 34, 44);
    /* an index of one value is no other index of one value */
    COMPUTES("index a:1 b:1 p[a] = 7 output y[b] = sum[a](p[b] + p[a])", 14);
    COMPUTES("index a:1 b:1 param W[a] ~ constant(7) q[b] = W[b] * 2 output y[b] = q[b] + W[0]", 21);
    COMPUTES("output y[t,u] = u", 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2);
}

static void reductions(void **state) {
    (void)state;
    COMPUTES("output y = sum[t](x[t])", 10);
    COMPUTES("output y[t] = sum[s where s <= t](x[s])", 1, 3, 6, 10);
    COMPUTES("output y = product[t](x[t]) + max[t](x[t]) + min[t](x[t])", 29);
    COMPUTES("output y = sum[t,u](x[t] * u)", 30);
    COMPUTES("output y[t] = count[s](x[s] > t)", 4, 3, 2, 1);
    COMPUTES("output y = if any[t](x[t] == 3) and not all[t](x[t] == 3) then 1 else 0", 1);
    COMPUTES("output y[t] = if topk[t](x[t], 2) then 1 else 0", 0, 0, 1, 1);
    COMPUTES("output y[t,s] = if topk[s where s <= t](-x[s], 1) then 1 else 0", 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1,
             0, 0, 0);
}

/* A caller's `where` restricts every reduction over the index inside, through calls of calls. */
static void functions(void **state) {
    (void)state;
    COMPUTES("output y = mean[t](x[t])", 2.5);
    COMPUTES("output y[t] = mean[s where s <= t](x[s])", 1, 1.5, 2, 2.5);
    COMPUTES("output y[t] = if T >= 9 then x[8] else x[t-1] where t >= 1", 0, 1, 2, 3);
    COMPUTES("index o:1 output y[o] = x[o-1] where o >= 1", 0);
    COMPUTES("fn total_of[i](u[i]) = sum[i](u[i]) fn twice[j](w[j]) = 2 * total_of[j](w[j]) "
             "output y[t] = twice[s where s <= t](x[s])",
             2, 6, 12, 20);
    COMPUTES("fn inside[i](c) = if domain(i) then c else 0 output y[t] = inside[t where t > 1](x[t])", 0, 0, 3, 4);
    COMPUTES("fn nowhere[i](u[i]) = sum[i](u[i]) output y = nowhere[t where 1 > 2](x[t])", 0);
    COMPUTES("fn shifted[i](u[i]) = u[(i + 1) % extent(i)] output y[t] = shifted[t](x[t])", 2, 3, 4, 1);
    COMPUTES("fn pair[i](u[i], c) = let v[i] = u[i] * c in v[i] + (if i >= 1 then v[i - 1] else 0) output y[t] = "
             "pair[t](x[t], 10)",
             10, 30, 50, 70);
    COMPUTES("fn half(c) = c * P output y = half(half(8))", 2);
    COMPUTES("a[t] = softmax[t where t < 2](x[t]) output y = sum[t](a[t]) + a[2]", 1);
    COMPUTES("fn rate(c, q) = dropout(c, q) output y = rate(3, 0.5)", 3);
}

/* What a name stands for keeps its meaning where an index that it depends on is bound anew; what was legal only inside
 * a guard is 0 outside it, wherever it is moved. */
static void hygiene(void **state) {
    (void)state;
    COMPUTES("fn f(c) = sum[t](c) output y[t] = f(x[t])", 4, 8, 12, 16);
    COMPUTES("output y[t] = let q = x[t] in sum[t](q)", 4, 8, 12, 16);
    COMPUTES("output y[t] = (let q = x[t-1] in sum[t](q)) where t >= 1", 0, 4, 8, 12);
    COMPUTES("a[t,s] = x[t] * 4 + x[s] - 4 fn g[i](z[i]) = sum[s](z[s]) output y[s] = g[t](a[t,s])", 28, 32, 36, 40);
    COMPUTES("fn k[j](v[j]) = (let q = v[j-1] in sum[s](q * x[s])) where j >= 1 output y[t] = k[t](x[t])", 0, 10, 20,
             30);
    COMPUTES("fn h(c) = let v[t] = v[t-1] + c * x[t] from 0 in v[3] + x[t] output y[t] = h(x[t])", 11, 22, 33, 44);
    COMPUTES("fn f[i](z[i]) = let c[i,n:5] = c[i,n-1] + z[i] from 0 in c[i,4] output y[t] = f[t where t < 2](x[t])", 5,
             10, 15, 20);
    COMPUTES("fn f[i](z[i]) = sum[r where r <= i](z[r]) index r:T output y[t] = f[t](x[t] + 0 * t)", 1, 3, 6, 10);
    /* what a function or a selection gives has the caller's index, also where that was renamed for its arguments */
    COMPUTES("fn f[i](z[i]) = sum[i](z[i]) + z[i] output y[t] = let q = x[t] in f[t](q * x[t])", 11, 24, 39, 56);
    COMPUTES("fn f[i](z[i]) = z[i] output y[t] = let c[n:2] = c[n-1] + f[t](x[t]) from x[t] in c[1]", 3, 6, 9, 12);
    COMPUTES("output y[t] = let q = x[t] in (if topk[t](q * x[t], 1) then 1 else 0)", 0, 0, 0, 1);
}

static void recurrences(void **state) {
    (void)state;
    COMPUTES("a[t] = a[t-1] + x[t] from 0 output y[t] = a[t]", 1, 3, 6, 10);
    COMPUTES("a[t] = a[t+1] * 2 + x[t] from 1 output y[t] = a[t]", 65, 32, 15, 6);
    COMPUTES("a[t,u] = sum[u](a[t-1,u]) + u from 1 output y[t,u] = a[t,u]", 3, 4, 5, 12, 13, 14, 39, 40, 41, 120, 121,
             122);
    COMPUTES("a[t,u] = a[t-1, (u + 1) % U] + x[t] from u output y[t,u] = a[t,u]", 2, 3, 1, 5, 3, 4, 6, 7, 8, 11, 12,
             10);
}

static void variants_and_bindings(void **state) {
    (void)state;
    static const char text[] =
        "mechanism m \"test\" size T = 8, K = 2 variant v { K = T / 2 } index t:T k:K input x[t] "
        "output y[k] = x[k]";
    const struct {
        elaboration how;
        int64_t elements;
    } run[]       = {{{0}, 2},
                     {{.variant = "v"}, 4},
                     {{.variant = "v", .bindings = (const binding[]){{"T", 12}}, .binding_count = 1}, 6},
                     {{.variant = "v", .bindings = (const binding[]){{"K", 3}}, .binding_count = 1}, 3}};
    diagnostics d = {.stream = stderr};
    spec *s       = spec_of(text, &d);
    assert_non_null(s);
    assert_int_equal(spec_variant_count(s), 1);
    assert_string_equal(spec_variant_name(s, 0), "v");
    assert_true(spec_declares(s, "K") && !spec_declares(s, "t"));
    for (size_t i = 0; i < sizeof run / sizeof *run; i++) {
        graph *g = graph_new();
        assert_true(elaborate_mechanism(g, s, &run[i].how, &d));
        assert_int_equal(find_output(g, "y")->elements, run[i].elements);
        graph_free(g);
    }
    spec_free(s);
}

/* What is said about the caller's own mistakes. */
static void rejects_the_call(const elaboration *how, const char *message) {
    char *said    = NULL;
    size_t size   = 0;
    FILE *stream  = open_memstream(&said, &size);
    diagnostics d = {.stream = stream};
    spec *s       = read_spec(SPECS "gqa.att");
    graph *g      = graph_new();
    assert_false(elaborate_mechanism(g, s, how, &d));
    assert_int_equal(d.errors, 1);
    fclose(stream);
    if (!strstr(said, message))
        fail_msg("%s is not in %s", message, said);
    free(said);
    graph_free(g);
    spec_free(s);
}

static void callers_mistakes(void **state) {
    (void)state;
    rejects_the_call(&(elaboration){.variant = "gqa_3"}, "no variant `gqa_3` (did you mean `gqa_2`?)");
    rejects_the_call(&(elaboration){.bindings = (const binding[]){{"heads", 3}}, .binding_count = 1},
                     "no size or number `heads`");
    rejects_the_call(&(elaboration){.bindings = (const binding[]){{"T", 1.5}}, .binding_count = 1}, "is set to 1.5");
    rejects_the_call(&(elaboration){.bindings = (const binding[]){{"T", 0}}, .binding_count = 1}, "is set to 0");
    rejects_the_call(&(elaboration){.bindings = (const binding[]){{"T", NAN}}, .binding_count = 1}, "no finite number");
}

/* What a slot does not take. */
static void rejects_the_mechanism(const char *text, const char *message) {
    char *said                  = NULL;
    size_t size                 = 0;
    FILE *stream                = open_memstream(&said, &size);
    diagnostics d               = {.stream = stream};
    spec *model                 = read_spec(SPECS "model/lm.att");
    spec *s                     = spec_of(text, &d);
    const spec *const several[] = {s};
    graph *g                    = graph_new();
    assert_non_null(s);
    assert_false(elaborate_model(g, model, several, &(elaboration){0}, 1, &(elaboration){0}, &d));
    fclose(stream);
    if (!strstr(said, message))
        fail_msg("%s is not in %s", message, said);
    free(said);
    graph_free(g);
    spec_free(s);
    spec_free(model);
}

static void slots(void **state) {
    (void)state;
#define SHAPE "mechanism m \"test\" size B = 1, T = 2, D = 3 index b:B t:T d:D "
    rejects_the_mechanism(SHAPE "input x[b,t,d] output y[b,t,d] = x[b,t,d] output z[b,t,d] = x[b,t,d]",
                          "a mechanism in a model has one output");
    rejects_the_mechanism(SHAPE "input x[b,t,d], w[b,t,d] output y[b,t,d] = x[b,t,d] + w[b,t,d]",
                          "a mechanism in a model has one input");
    rejects_the_mechanism(SHAPE "input x[b,t] output y[b,t] = x[b,t]", "the model's argument depends on `d`");
    rejects_the_mechanism(SHAPE "input x[b,t,d] z[b,t,d] = x[b,t,d]", "has no output");
    rejects_the_mechanism(SHAPE "output y[b,t,d] = 1", "has no input");
    rejects_the_mechanism("library m \"test\"", "is not a mechanism");
    rejects_the_mechanism("mechanism m \"test\" size B = 1, D = 3 index b:B t:2 d:D input x[b,t,d] "
                          "output y[b,t,d] = x[b,t,d]",
                          "the model's argument depends on `t`, of 1024 values");
}

/* Two parameters a[2] = (1, 2), b = 3 with gradients 2a, 2b and the rule p := p - rate * g / total(g * g). */
static void optimizers(void **state) {
    (void)state;
    diagnostics d = {.stream = stderr};
    graph *g      = graph_new();
    tensor a      = {.name = "a", .kind = TENSOR_PARAMETER, .type = TYPE_FLOAT, .rank = 1, .group = "other"};
    tensor b      = {.name = "b", .kind = TENSOR_PARAMETER, .type = TYPE_FLOAT, .group = "other"};
    a.index[0]    = graph_index(g, "i", 2);
    uint32_t n[]  = {graph_add_tensor(g, &a), graph_add_tensor(g, &b)};
    for (unsigned k = 0; k < 2; k++) {
        const tensor *t = graph_tensor(g, n[k]);
        output o        = {.name   = (char *)(k ? "gradient.b" : "gradient.a"),
                           .kind   = OUTPUT_GRADIENT,
                           .tensor = n[k],
                           .rank   = t->rank,
                           .node   = graph_mul(g, t->node, graph_float(g, 2))};
        o.index[0]      = a.index[0];
        graph_add_output(g, &o);
    }
    spec *s = spec_of("optimizer o \"test\" input rate each p, g state m from 5 "
                      "m := m + g  p := p - rate * m / total(g * g)",
                      &d);
    assert_non_null(s);
    assert_int_equal(spec_get_kind(s), SPEC_OPTIMIZER);
    assert_true(elaborate_optimizer(g, s, &(elaboration){0}, &d));
    verified(g);
    assert_int_equal(graph_tensor_count(g), 5);
    assert_int_equal(find_tensor(g, "a.m")->parent, n[0]);
    assert_int_equal(find_tensor(g, "a.m")->kind, TENSOR_STATE);
    assert_int_equal(find_tensor(g, "b.m")->rank, 0);
    assert_true(find_tensor(g, "b.m")->init == INIT_CONSTANT && find_tensor(g, "b.m")->argument[0] == 5);
    const double values[] = {1, 2, 3, 0.5}, state_value[] = {5, 5};
    const double *value[5];
    for (uint32_t i = 0; i < 5; i++) {
        const char *name = graph_tensor(g, i)->name;
        value[i]         = strcmp(name, "a") == 0      ? &values[0]
                           : strcmp(name, "b") == 0    ? &values[2]
                           : strcmp(name, "rate") == 0 ? &values[3]
                                                       : state_value;
    }
    interpretation *run = interpret_new(g, value, 1);
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o    = graph_output(g, i);
        const double *data = interpret_output(run, i);
        if (strcmp(o->name, "update.a") == 0) {
            assert_int_equal(o->tensor, n[0]);
            assert_true(fabs(data[0] - (1 - 0.5 * 7 / 56)) < 1e-12 && fabs(data[1] - (2 - 0.5 * 9 / 56)) < 1e-12);
        } else if (strcmp(o->name, "update.b") == 0) {
            assert_true(fabs(data[0] - (3 - 0.5 * 11 / 56)) < 1e-12);
        } else if (strcmp(o->name, "update.b.m") == 0) {
            assert_true(data[0] == 11);
        }
    }
    assert_int_equal(find_output(g, "update.a.m")->kind, OUTPUT_UPDATE);
    interpret_free(run);
    graph_free(g);
    spec_free(s);
}

static void the_shipped_optimizer(void **state) {
    (void)state;
    diagnostics d = {.stream = stderr};
    spec *s       = read_spec(SPECS "optimizer/adamw.att");
    graph *g      = graph_new();
    tensor a      = {.name = "a", .kind = TENSOR_PARAMETER, .type = TYPE_FLOAT, .group = "other"};
    uint32_t n    = graph_add_tensor(g, &a);
    graph_add_output(
        g, &(output){.name = "gradient.a", .kind = OUTPUT_GRADIENT, .tensor = n, .node = graph_tensor(g, n)->node});
    assert_true(elaborate_optimizer(g, s, &(elaboration){0}, &d));
    verified(g);
    assert_int_equal(graph_tensor_count(g), 5);
    assert_int_equal(graph_output_count(g), 4);
    assert_int_equal(find_output(g, "update.a.v")->tensor, 4);
    graph_free(g);
    spec_free(s);
}

/* Dropout in training draws a random tensor for each call, of the shape of its argument; otherwise it is nothing. */
static void dropout(void **state) {
    (void)state;
    for (int training = 0; training < 2; training++) {
        diagnostics d   = {.stream = stderr};
        spec *s         = spec_of(PREAMBLE "output y[t] = dropout(x[t], P) + dropout(x[t], P) + dropout(x[t], 0)", &d);
        graph *g        = graph_new();
        unsigned random = 0;
        assert_true(elaborate_mechanism(g, s, &(elaboration){.training = training}, &d));
        verified(g);
        for (node n = 1; n <= graph_node_count(g); n++)
            random += graph_view(g, n).op == NODE_RANDOM;
        assert_int_equal(random, training ? 2 : 0);
        graph_free(g);
        spec_free(s);
    }
}

static void the_tree_is_printed(void **state) {
    (void)state;
    diagnostics d = {.stream = stderr};
    char *text    = NULL;
    size_t size   = 0;
    spec *s =
        spec_of("mechanism m \"a title\" # comment\nsize T = 4, U = T * 2 - 1 number c = 1e-6\n"
                "variant v { T = 3 } index t:T u:U\ninput x[t] input n[t]:int<9\nparam W[t,u] ~ normal(0,.5) as other\n"
                "fn f[i](a[i], b) = let w[i] = a[i] let v = b in if 0 <= v < 1.0 < 2 then sum[i where i>1 or "
                "not i==2](w[i+1]) else -b^2\nq[t] = q[t-1] from 0\noutput y = f[t](x[t], U)\n"
                "repeat l : 2 { y := y * 2 } loss z = y",
                &d);
    assert_non_null(s);
    FILE *stream = open_memstream(&text, &size);
    spec_print(s, stream);
    fclose(stream);
    assert_string_equal(text, "(spec m \"a title\")\n(size T 4)\n(size U (- (* T 2) 1))\n(number c 1e-06)\n(variant v\n"
                              "  (size T 3)\n)\n(index t T)\n(index u U)\n(input x[t])\n(input n[t] 9)\n"
                              "(param W[t u] (normal 0 0.5) other)\n"
                              "(fn f[i] (a[i] b) (let w[i] a[i] (let v b (if (chain 0 (<= v) (< 1.0) (< 2)) "
                              "(sum[i where (or (> i 1) (not (== i 2)))] w[(+ i 1)]) (- (^ b 2))))))\n"
                              "(define q[t] q[(- t 1)] 0)\n(output y (f[t] x[t] U))\n"
                              "(repeat l 2\n  (update y (* y 2))\n)\n(loss z y)\n");
    free(text);
    spec_free(s);
}

/* Specs that are rejected or warned of: tests/bad/NAME.att and the exact messages, NAME.err. With ATTNC_ACCEPT set, the
 * messages are written instead of compared: read them before they are kept. */

static void reject(const char *path, diagnostics *d) {
    spec *s = spec_read(path, NULL, d);
    if (!s)
        return;
    graph *g = graph_new();
    bool ok  = false;
    if (spec_get_kind(s) == SPEC_MODEL) {
        spec *slot                  = read_spec(SPECS "identity.att");
        const spec *const several[] = {slot};
        ok                          = elaborate_model(g, s, several, &(elaboration){0}, 1, &(elaboration){0}, d);
        spec_free(slot);
    } else if (spec_get_kind(s) == SPEC_OPTIMIZER) {
        uint32_t n =
            graph_add_tensor(g, &(tensor){.name = "w", .kind = TENSOR_PARAMETER, .type = TYPE_FLOAT, .group = "other"});
        graph_add_output(
            g, &(output){.name = "gradient.w", .kind = OUTPUT_GRADIENT, .tensor = n, .node = graph_tensor(g, n)->node});
        ok = elaborate_optimizer(g, s, &(elaboration){0}, d);
    } else {
        origins places  = {0};
        elaboration how = {.training = true, .origins = &places};
        ok              = elaborate_mechanism(g, s, &how, d);
        if (ok)
            causality_warn(g, s, &how, d);
        elaborate_origins_free(&places);
    }
    if (ok && d->warnings == 0)
        fail_msg("%s was accepted", path);
    graph_free(g);
    spec_free(s);
}

static char *whole_file(const char *path) {
    char *text  = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "rb"), *copy = open_memstream(&text, &size);
    for (int c; file && (c = getc(file)) != EOF;)
        putc(c, copy);
    fclose(copy);
    if (file)
        fclose(file);
    return text;
}

static void rejected_specs(void **state) {
    (void)state;
    unsigned count = 0;
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(TEST_SOURCE_DIR "/tests/bad"), 0); /* messages name the file as it was given */
    DIR *folder = opendir(".");
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        char *ending = strstr(entry->d_name, ".att");
        if (!ending)
            continue;
        char path[300], *said = NULL;
        size_t size   = 0;
        FILE *stream  = open_memstream(&said, &size);
        diagnostics d = {.stream = stream};
        reject(entry->d_name, &d);
        fclose(stream);
        snprintf(path, sizeof path, "%.*s.err", (int)(ending - entry->d_name), entry->d_name);
        if (getenv("ATTNC_ACCEPT")) {
            FILE *file = fopen(path, "wb");
            assert_non_null(file);
            fputs(said, file);
            fclose(file);
        } else {
            char *expected = whole_file(path);
            assert_string_equal(said, expected);
            free(expected);
        }
        free(said);
        count++;
    }
    closedir(folder);
    assert_true(count >= 15);
    assert_int_equal(chdir(before), 0);
}

/* Any bytes: a message or a graph, never a crash. Specs of the repository with parts cut, doubled and overwritten. */
static void damaged_specs(void **state) {
    (void)state;
    static const char *const file[] = {"linear.att", "sparse.att", "model/lm.att", "optimizer/adamw.att"};
    uint64_t random                 = 1;
    FILE *nowhere                   = fopen("/dev/null", "w");
    for (unsigned round = 0; round < 400; round++) {
        char path[512];
        snprintf(path, sizeof path, SPECS "%s", file[round % 4]);
        char *text  = whole_file(path);
        size_t size = strlen(text);
        for (unsigned change = 0; change < 1 + round % 5; change++) {
            random      = random * 6364136223846793005u + 1442695040888963407u;
            size_t at   = (size_t)(random >> 33) % size;
            size_t from = (size_t)(random >> 13) % size, length = (size_t)(random >> 50) % 12;
            if (at + length < size && from + length < size)
                memmove(text + at, text + from, length);
            if (change % 3 == 2)
                text[at] = (char)(random >> 40 | 1);
        }
        diagnostics d = {.stream = nowhere};
        spec *s       = spec_of(text, &d);
        assert_int_equal(s == NULL, d.errors > 0);
        graph *g = graph_new();
        if (s && spec_get_kind(s) == SPEC_MECHANISM) {
            bool ok = elaborate_mechanism(g, s, &(elaboration){.training = true}, &d);
            assert_int_equal(ok, d.errors == 0);
            if (ok)
                verified(g);
        } else if (s && spec_get_kind(s) == SPEC_MODEL) {
            spec *slot                  = read_spec(SPECS "identity.att");
            const spec *const several[] = {slot};
            bool ok = elaborate_model(g, s, several, &(elaboration){0}, 1, &(elaboration){.training = true}, &d);
            assert_int_equal(ok, d.errors == 0);
            spec_free(slot);
        }
        graph_free(g);
        spec_free(s);
        free(text);
    }
    fclose(nowhere);
}

static void missing_files(void **state) {
    (void)state;
    char *said    = NULL;
    size_t size   = 0;
    FILE *stream  = open_memstream(&said, &size);
    diagnostics d = {.stream = stream};
    assert_null(spec_read("no/such/file.att", NULL, &d));
    assert_null(spec_read(TEST_SOURCE_DIR, NULL, &d));
    fclose(stream);
    assert_int_equal(d.errors, 2);
    assert_non_null(strstr(said, "no/such/file.att: error: No such file or directory\n"));
    assert_non_null(strstr(said, "error: this is a folder, not a file\n"));
    free(said);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mechanisms_elaborate),
        cmocka_unit_test(every_mechanism_is_tested),
        cmocka_unit_test(models_elaborate),
        cmocka_unit_test(a_model_of_two_mechanisms),
        cmocka_unit_test(arithmetic),
        cmocka_unit_test(reads),
        cmocka_unit_test(reductions),
        cmocka_unit_test(functions),
        cmocka_unit_test(hygiene),
        cmocka_unit_test(recurrences),
        cmocka_unit_test(variants_and_bindings),
        cmocka_unit_test(callers_mistakes),
        cmocka_unit_test(slots),
        cmocka_unit_test(optimizers),
        cmocka_unit_test(the_shipped_optimizer),
        cmocka_unit_test(dropout),
        cmocka_unit_test(the_tree_is_printed),
        cmocka_unit_test(rejected_specs),
        cmocka_unit_test(damaged_specs),
        cmocka_unit_test(missing_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
