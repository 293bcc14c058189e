#include "training.h"

#include "compile.h"
#include "derive.h"
#include "initialise.h"
#include "orphan.h"
#include "recurrence.h"
#include "simplify.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* A compiled graph and its arrays. */
typedef struct program {
    graph *g;
    compiled *code;
    const void **tensor; /* of each of the graph's tensors */
    void **output;       /* of each of the graph's outputs */
} program;

struct training {
    program step, evaluation;
    /* inputs of the step, by tensor number; -1: the model has none */
    int tokens, targets, weight, rate, count;
    uint64_t seed;
    uint32_t batch_size, length;
    double compile_seconds;
    uint64_t bytes;
};

static int find_tensor(const graph *g, const char *name) {
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        if (strcmp(graph_tensor(g, i)->name, name) == 0)
            return (int)i;
    return -1;
}

static float *floats(int64_t elements, uint64_t *bytes) {
    size_t size = ((size_t)elements * sizeof(float) + 63) / 64 * 64;
    *bytes += size;
    return aligned_alloc(64, size ? size : 64);
}

static bool elaborate(graph *g, const training_request *r, bool train, diagnostics *d) {
    elaboration model = r->model_how, mechanism = r->mechanism_how;
    model.training = mechanism.training = train;
    if (!elaborate_model(g, r->model, &r->mechanism, &mechanism, 1, &model, d))
        return false;
    recurrence_by_chunks(g, NULL);
    return true;
}

static bool make_step(training *t, const training_request *r, diagnostics *d, char *error, size_t size) {
    graph *g = t->step.g = graph_new();
    uint32_t orphan;
    if (!elaborate(g, r, true, d)) {
        snprintf(error, size, "%s cannot be used in %s", spec_path(r->mechanism), spec_path(r->model));
        return false;
    }
    if (!derive_parameter_gradients(g, &orphan)) {
        char why[ORPHAN_TEXT];
        orphan_explain(g, orphan, why, sizeof why);
        snprintf(error, size, "%s: the gradient of parameter `%s` is 0: %s", spec_path(r->mechanism),
                 graph_tensor(g, orphan)->name, why);
        return false;
    }
    elaboration optimizer = r->optimizer_how;
    if (!elaborate_optimizer(g, r->optimizer, &optimizer, d)) {
        snprintf(error, size, "%s cannot be used", spec_path(r->optimizer));
        return false;
    }
    /* gradients were only needed to write the updates */
    graph_drop_outputs(g, OUTPUT_GRADIENT);
    derive_forget_stops(g);
    simplify_outputs(g, NULL);
    return true;
}

static bool compile_program(program *p, char *error, size_t size) {
    char why[256];
    if (!graph_verify(p->g, why, sizeof why)) {
        snprintf(error, size, "the graph is inconsistent, which is an error of the compiler: %s", why);
        return false;
    }
    p->code = compile_graph(p->g, &(compile_options){0}, error, size);
    return p->code != NULL;
}

static bool allocate(training *t, char *error, size_t size) {
    program *s = &t->step, *e = &t->evaluation;
    bool ok   = true;
    s->tensor = calloc(graph_tensor_count(s->g) + 1, sizeof *s->tensor);
    s->output = calloc(graph_output_count(s->g) + 1, sizeof *s->output);
    e->tensor = calloc(graph_tensor_count(e->g) + 1, sizeof *e->tensor);
    e->output = calloc(graph_output_count(e->g) + 1, sizeof *e->output);
    ok        = s->tensor && s->output && e->tensor && e->output;
    for (uint32_t i = 0; ok && i < graph_tensor_count(s->g); i++) {
        const tensor *v = graph_tensor(s->g, i);
        float *x        = floats(v->elements, &t->bytes);
        ok              = x != NULL;
        for (int64_t k = 0; ok && v->kind != TENSOR_INPUT && k < v->elements; k++)
            x[k] = (float)initial_value(v, t->seed, (uint64_t)k);
        s->tensor[i] = x;
    }
    for (uint32_t i = 0; ok && i < graph_output_count(s->g); i++)
        ok = (s->output[i] = floats(graph_output(s->g, i)->elements, &t->bytes)) != NULL;
    for (uint32_t i = 0; ok && i < graph_output_count(e->g); i++)
        ok = (e->output[i] = floats(graph_output(e->g, i)->elements, &t->bytes)) != NULL;
    if (!ok)
        snprintf(error, size, "out of memory");
    return ok;
}

static bool find_inputs(training *t, char *error, size_t size) {
    const graph *g = t->step.g;
    t->tokens      = find_tensor(g, "tokens");
    t->targets     = find_tensor(g, "targets");
    t->weight      = find_tensor(g, "weight");
    t->rate        = find_tensor(g, "rate");
    t->count       = find_tensor(g, "step");
    if (t->tokens < 0 || t->targets < 0) {
        snprintf(error, size, "a model to train has the inputs tokens[b,t] and targets[b,t]");
        return false;
    }
    const tensor *v = graph_tensor(g, (uint32_t)t->tokens);
    if (v->rank != 2 || v->type != TYPE_INT) {
        snprintf(error, size, "the model's tokens have two indices, batch and time, and are integers");
        return false;
    }
    t->batch_size = (uint32_t)v->extent[0];
    t->length     = (uint32_t)v->extent[1];
    return true;
}

training *training_new(const training_request *request, diagnostics *d, char *error, size_t size) {
    training *t = calloc(1, sizeof *t);
    if (!t) {
        snprintf(error, size, "out of memory");
        return NULL;
    }
    double start    = omp_get_wtime();
    t->seed         = request->seed;
    t->evaluation.g = graph_new();
    bool ok         = make_step(t, request, d, error, size);
    ok              = ok && (elaborate(t->evaluation.g, request, false, d) ||
                (snprintf(error, size, "the evaluation cannot be made"), false));
    if (ok) {
        derive_forget_stops(t->evaluation.g);
        simplify_outputs(t->evaluation.g, NULL);
    }
    ok = ok && find_inputs(t, error, size) && compile_program(&t->step, error, size) &&
         compile_program(&t->evaluation, error, size);
    t->compile_seconds = omp_get_wtime() - start;
    ok                 = ok && allocate(t, error, size);
    if (!ok) {
        training_free(t);
        return NULL;
    }
    t->bytes += compiled_workspace_bytes(t->step.code) + compiled_workspace_bytes(t->evaluation.code);
    return t;
}

void training_free(training *t) {
    if (!t)
        return;
    for (uint32_t i = 0; t->step.tensor && i < graph_tensor_count(t->step.g); i++)
        free((void *)t->step.tensor[i]);
    program *both[2] = {&t->step, &t->evaluation};
    for (int k = 0; k < 2; k++) {
        for (uint32_t i = 0; both[k]->output && i < graph_output_count(both[k]->g); i++)
            free(both[k]->output[i]);
        free(both[k]->tensor);
        free(both[k]->output);
        compiled_free(both[k]->code);
        graph_free(both[k]->g);
    }
    free(t);
}

static void fill(training *t, const int32_t *tokens, const int32_t *targets, const float *weight) {
    size_t count = (size_t)t->batch_size * t->length;
    memcpy((void *)t->step.tensor[t->tokens], tokens, count * sizeof *tokens);
    memcpy((void *)t->step.tensor[t->targets], targets, count * sizeof *targets);
    if (t->weight >= 0)
        memcpy((void *)t->step.tensor[t->weight], weight, count * sizeof *weight);
}

/* The model's own loss is the one without a layer in its name. */
static training_result read_result(const program *p) {
    training_result r = {0};
    for (uint32_t i = 0; i < graph_output_count(p->g); i++) {
        const output *o = graph_output(p->g, i);
        if (o->elements != 1)
            continue;
        double x = ((const float *)p->output[i])[0];
        if (o->kind == OUTPUT_LOSS)
            *(strchr(o->name, '.') ? &r.auxiliary : &r.loss) += x;
        else if (o->kind == OUTPUT_VALUE && strcmp(o->name, "accuracy") == 0)
            r.accuracy = x;
    }
    return r;
}

bool training_step(training *t, const int32_t *tokens, const int32_t *targets, const float *weight, double rate,
                   uint64_t step, training_result *result) {
    program *p = &t->step;
    fill(t, tokens, targets, weight);
    if (t->rate >= 0)
        *(float *)p->tensor[t->rate] = (float)rate;
    if (t->count >= 0)
        *(float *)p->tensor[t->count] = (float)step;
    if (!compiled_run(p->code, p->tensor, p->output, t->seed * 0x9E3779B97F4A7C15u + step))
        return false;
    *result = read_result(p);
    for (uint32_t i = 0; i < graph_output_count(p->g); i++) {
        const output *o = graph_output(p->g, i);
        if (o->kind == OUTPUT_UPDATE) { /* what was written is the value from now on */
            void *old            = (void *)p->tensor[o->tensor];
            p->tensor[o->tensor] = p->output[i];
            p->output[i]         = old;
        }
    }
    return true;
}

bool training_evaluate(training *t, const int32_t *tokens, const int32_t *targets, const float *weight,
                       training_result *result) {
    program *p = &t->evaluation;
    fill(t, tokens, targets, weight);
    for (uint32_t i = 0; i < graph_tensor_count(p->g); i++)
        p->tensor[i] = t->step.tensor[find_tensor(t->step.g, graph_tensor(p->g, i)->name)];
    if (!compiled_run(p->code, p->tensor, p->output, 0))
        return false;
    *result = read_result(p);
    return true;
}

uint32_t training_batch_size(const training *t) {
    return t->batch_size;
}

uint32_t training_length(const training *t) {
    return t->length;
}

parameter_counts training_parameters(const training *t) {
    parameter_counts c = {0};
    for (uint32_t i = 0; i < graph_tensor_count(t->step.g); i++) {
        const tensor *v = graph_tensor(t->step.g, i);
        if (v->kind != TENSOR_PARAMETER)
            continue;
        c.total += v->elements;
        if (strcmp(v->group, "embedding") == 0)
            c.embedding += v->elements;
        else if (strcmp(v->group, "attention") == 0)
            c.attention += v->elements;
        else if (strcmp(v->group, "feedforward") == 0)
            c.feedforward += v->elements;
        else
            c.other += v->elements;
    }
    return c;
}

uint64_t training_bytes(const training *t) {
    return t->bytes;
}

double training_compile_seconds(const training *t) {
    return t->compile_seconds;
}
