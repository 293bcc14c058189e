/* One whole training step (model, losses, gradients, clip, AdamW) of every variant: machine code against the float64
 * interpreter of the same graph; its gradients against finite differences; and training itself. */
/* cmocka needs these before it */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "compile.h"
#include "initialise.h"
#include "interpret.h"
#include "model_step.h"
#include "training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct subject {
    const char *spec, *variant;
    binding more[2];
    size_t count;
} subject;

static const subject subjects[] = {
    {"mha", NULL, {{"H", 2}}, 1},
    {"mla", NULL, {{"H", 2}}, 1},
    {"gqa", "gqa_2", {{"H", 4}}, 1},
    {"gqa", "gqa_1", {{"H", 4}}, 1},
    {"mqa", NULL, {{"H", 2}}, 1},
    {"sliding", "sliding_512", {{"H", 2}, {"W", 5}}, 2},
    {"sliding", "sliding_256", {{"H", 2}, {"W", 2}}, 2},
    {"sparse", "sparse_512", {{"H", 2}, {"K", 5}}, 2},
    {"sparse", "sparse_256", {{"H", 2}, {"K", 3}}, 2},
    {"linear", NULL, {{"H", 2}}, 1},
    {"identity", NULL, {{"", 0}}, 0},
};

static graph *make_step(const subject *t) {
    static const binding size[] = {{"B", 2}, {"T", 9}, {"D", 16}, {"L", 2}, {"V", 23}};
    elaboration own = {.variant = t->variant, .bindings = t->more, .binding_count = t->count, .training = true};
    return make_small_step(t->spec, &own, size, sizeof size / sizeof *size);
}

static void *need(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

static double value_of(const tensor *t, uint64_t k) {
    if (strcmp(t->name, "rate") == 0)
        return 0.0009765625;
    if (strcmp(t->name, "step") == 0)
        return 3;
    if (strcmp(t->name, "weight") == 0)
        return k % 3 != 0; /* some tokens do not count */
    if (t->kind == TENSOR_STATE)
        return (float)(1e-4 * (1 + (double)(k % 5)));
    return initial_value(t, 7, k);
}

static void machine_equals_interpreter(void **state) {
    const subject *t = *state;
    graph *g         = make_step(t);
    uint32_t tensors = graph_tensor_count(g), outputs = graph_output_count(g);
    double **exact = need(tensors, sizeof *exact);
    void **in = need(tensors, sizeof *in), **out = need(outputs, sizeof *out);
    char error[512];
    for (uint32_t i = 0; i < tensors; i++) {
        const tensor *v = graph_tensor(g, i);
        exact[i]        = need((size_t)v->elements, sizeof **exact);
        in[i]           = need((size_t)v->elements, sizeof(float));
        for (int64_t k = 0; k < v->elements; k++) {
            exact[i][k] = value_of(v, (uint64_t)k);
            if (v->type == TYPE_INT)
                ((int32_t *)in[i])[k] = (int32_t)exact[i][k];
            else
                ((float *)in[i])[k] = (float)exact[i][k];
        }
    }
    for (uint32_t i = 0; i < outputs; i++)
        out[i] = need((size_t)graph_output(g, i)->elements, sizeof(float));
    compiled *code = compile_graph(g, &(compile_options){0}, error, sizeof error);
    assert_non_null(code);
    assert_true(compiled_run(code, (const void *const *)in, out, 42));
    interpretation *run = interpret_new(g, (const double *const *)exact, 42);
    for (uint32_t i = 0; i < outputs; i++) {
        const output *o      = graph_output(g, i);
        const double *wanted = interpret_output(run, i);
        double scale = o->elements == 1 ? 1 : 1e-30, worst = 0;
        for (int64_t k = 0; k < o->elements; k++)
            scale = fmax(scale, fabs(wanted[k]));
        for (int64_t k = 0; k < o->elements; k++)
            worst =
                fmax(worst, isfinite(((float *)out[i])[k]) ? fabs(((float *)out[i])[k] - wanted[k]) / scale : INFINITY);
        /* The indexer's gradient is the difference of two distributions that are within a hundredth of each other
         * before training, each rounded to 6e-8 of itself, and is then summed over values with a large common part
         * that cancels. 1.4e-5 was measured. */
        double tolerance = strstr(o->name, "attention.U") ? 4e-5 : 1e-5;
        if (worst > tolerance)
            print_message("%s %s: %g\n", t->spec, o->name, worst);
        assert_true(worst <= tolerance);
    }
    interpret_free(run);
    compiled_free(code);
    for (uint32_t i = 0; i < tensors; i++) {
        free(exact[i]);
        free(in[i]);
    }
    for (uint32_t i = 0; i < outputs; i++)
        free(out[i]);
    free(exact);
    free(in);
    free(out);
    graph_free(g);
}

/* Training on one batch repeatedly brings its loss down, and the same seed gives the same bits. */
static void training_learns(void **state) {
    const subject *t = *state;
    char path[1024];
    snprintf(path, sizeof path, ATTNC_SOURCE_SPECS "/%s.att", t->spec);
    spec *mechanism          = read_spec(path);
    step_specs of            = read_step_specs();
    binding size[]           = {{"B", 2}, {"T", 16}, {"D", 16}, {"L", 2}, {"V", 32}, {"P", 0}};
    training_request request = {
        .mechanism     = mechanism,
        .model         = of.model,
        .optimizer     = of.optimizer,
        .mechanism_how = {.variant = t->variant, .bindings = t->more, .binding_count = t->count},
        .model_how     = {.bindings = size, .binding_count = 6},
        .seed          = 5};
    diagnostics d = {.stream = stderr};
    char error[512];
    double loss[2][2];
    int32_t tokens[32], targets[32];
    float weight[32];
    for (int i = 0; i < 32; i++) {
        tokens[i]  = (i * 7 + i / 5) % 32;
        targets[i] = (i * 11 + 3) % 32;
        weight[i]  = 1;
    }
    for (int k = 0; k < 2; k++) {
        training *one = training_new(&request, &d, error, sizeof error);
        assert_non_null(one);
        training_result r;
        for (uint64_t step = 1; step <= 40; step++) {
            assert_true(training_step(one, tokens, targets, weight, 0.01, step, &r));
            loss[k][step > 1] = r.loss;
        }
        training_free(one);
    }
    assert_true(fabs(loss[0][0] - log(32)) < 0.5);
    assert_true(loss[0][1] < loss[0][0] - 1);
    assert_memory_equal(loss[0], loss[1], sizeof loss[0]);
    spec_free(mechanism);
    free_step_specs(&of);
}

/* A mechanism with a parameter that cannot be learnt is not trained. */
static void orphan_is_an_error(void **state) {
    (void)state;
    static const char text[] = "mechanism m \"m\" size B = 1, T = 2, D = 2 index b:B t:T d:D input x[b,t,d] param W[d] "
                               "output y[b,t,d] = x[b,t,d] * stop(W[d])";
    diagnostics d            = {.stream = stderr};
    spec *mechanism          = spec_read_text("m.att", text, strlen(text), NULL, &d);
    step_specs of            = read_step_specs();
    binding size[]           = {{"B", 2}, {"T", 4}, {"D", 8}, {"L", 2}, {"V", 8}};
    training_request request = {.mechanism = mechanism,
                                .model     = of.model,
                                .optimizer = of.optimizer,
                                .model_how = {.bindings = size, .binding_count = 5}};
    char error[512];
    assert_null(training_new(&request, &d, error, sizeof error));
    assert_string_equal(error,
                        "m.att: the gradient of parameter `layer0.attention.W` is 0: it acts only through `stop`, "
                        "which has no derivative");
    spec_free(mechanism);
    free_step_specs(&of);
}

int main(void) {
    enum { COUNT = sizeof subjects / sizeof *subjects };
    struct CMUnitTest tests[2 * COUNT + 1];
    static char names[2 * COUNT][64];
    for (size_t i = 0; i < COUNT; i++) {
        const char *name = subjects[i].variant ? subjects[i].variant : subjects[i].spec;
        snprintf(names[2 * i], sizeof names[0], "step_%s", name);
        snprintf(names[2 * i + 1], sizeof names[0], "learns_%s", name);
        tests[2 * i] = (struct CMUnitTest){names[2 * i], machine_equals_interpreter, NULL, NULL, (void *)&subjects[i]};
        tests[2 * i + 1] = (struct CMUnitTest){names[2 * i + 1], training_learns, NULL, NULL, (void *)&subjects[i]};
    }
    tests[2 * COUNT] = (struct CMUnitTest){"orphan_is_an_error", orphan_is_an_error, NULL, NULL, NULL};
    return cmocka_run_group_tests_name("training step", tests, NULL, NULL);
}
