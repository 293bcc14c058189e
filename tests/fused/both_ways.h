/* A graph run by machine code and by the interpreter, with the same values, and what differs. */
#ifndef ATTNC_FUSED_BOTH_WAYS_H
#define ATTNC_FUSED_BOTH_WAYS_H

#include "compile.h"
#include "enough.h"
#include "initialise.h"
#include "interpret.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUN_SEED = 9 };

typedef struct both_ways {
    graph *g;
    compiled *code;
    double **value; /* of tensors; what machine code reads is made of them */
    void **tensor;
    void **output;
} both_ways;

/* Values are the initial ones. NULL and one line in `error` where the graph does not compile. */
static inline both_ways *both_new_planned(graph *g, const schedule_options *plan, char *error, size_t error_size) {
    uint32_t tensors = graph_tensor_count(g), outputs = graph_output_count(g);
    compiled *code = compile_graph(g, &(compile_options){.schedule = *plan}, error, error_size);
    if (!code)
        return NULL;
    both_ways *b = (both_ways *)enough(malloc(sizeof *b));
    *b           = (both_ways){.g      = g,
                               .code   = code,
                               .value  = (double **)enough(calloc(tensors + 1, sizeof(double *))),
                               .tensor = (void **)enough(calloc(tensors + 1, sizeof(void *))),
                               .output = (void **)enough(calloc(outputs + 1, sizeof(void *)))};
    for (uint32_t i = 0; i < tensors; i++) {
        const tensor *t = graph_tensor(g, i);
        b->value[i]     = (double *)enough(malloc((size_t)t->elements * sizeof(double)));
        b->tensor[i]    = enough(malloc((size_t)t->elements * sizeof(float)));
        for (int64_t k = 0; k < t->elements; k++)
            b->value[i][k] = initial_value(t, 11, (uint64_t)k);
    }
    for (uint32_t i = 0; i < outputs; i++)
        b->output[i] = enough(malloc((size_t)graph_output(g, i)->elements * sizeof(float)));
    return b;
}

static inline both_ways *both_new(graph *g, char *error, size_t error_size) {
    return both_new_planned(g, &(schedule_options){0}, error, error_size);
}

/* Not the graph. */
static inline void both_free(both_ways *b) {
    for (uint32_t i = 0; i < graph_tensor_count(b->g); i++) {
        free(b->value[i]);
        free(b->tensor[i]);
    }
    for (uint32_t i = 0; i < graph_output_count(b->g); i++)
        free(b->output[i]);
    compiled_free(b->code);
    free(b->value);
    free(b->tensor);
    free(b->output);
    free(b);
}

static inline bool both_run_machine(both_ways *b, int threads) {
    for (uint32_t i = 0; i < graph_tensor_count(b->g); i++) {
        const tensor *t = graph_tensor(b->g, i);
        for (int64_t k = 0; k < t->elements; k++)
            if (t->type == TYPE_INT)
                ((int32_t *)b->tensor[i])[k] = (int32_t)b->value[i][k];
            else
                ((float *)b->tensor[i])[k] = (float)b->value[i][k];
    }
    /* what a run does not write is seen */
    for (uint32_t i = 0; i < graph_output_count(b->g); i++)
        memset(b->output[i], 0x5a, (size_t)graph_output(b->g, i)->elements * sizeof(float));
    omp_set_num_threads(threads);
    return compiled_run(b->code, (const void *const *)b->tensor, b->output, RUN_SEED);
}

static inline bool both_same(double have, double wanted, double allowed) {
    /* infinities that cancel to no number may do so in another sum, or not, where a sum has been split */
    if (isnan(wanted))
        return !isfinite(have);
    if (isnan(have))
        return false;
    return have == wanted || (isfinite(wanted) && fabs(have - wanted) <= allowed);
}

static inline double largest_of(const double *value, int64_t count) {
    double largest = 0;
    for (int64_t k = 0; k < count; k++)
        if (isfinite(value[k]))
            largest = fmax(largest, fabs(value[k]));
    return largest;
}

static inline int64_t both_most_elements(const both_ways *b) {
    int64_t most = 1;
    for (uint32_t i = 0; i < graph_output_count(b->g); i++)
        if (graph_output(b->g, i)->elements > most)
            most = graph_output(b->g, i)->elements;
    return most;
}

/* Compares the outputs of the last machine run with the interpreter's: where those are no numbers, the same; elsewhere
 * within `tolerance`, relative to the output's largest value and at least to `scale`. Writes the first difference to
 * `what` and returns false. */
static inline bool both_compare(both_ways *b, double tolerance, double scale, char *what, size_t size) {
    interpretation *run = interpret_new(b->g, (const double *const *)b->value, RUN_SEED);
    bool same           = true;
    for (uint32_t i = 0; i < graph_output_count(b->g) && same; i++) {
        const output *o      = graph_output(b->g, i);
        const double *wanted = interpret_output(run, i);
        double allowed       = tolerance * fmax(scale, largest_of(wanted, o->elements));
        if (o->rank == 0) /* a sum over the elements of others, of either sign */
            allowed = tolerance * fmax(sqrt((double)both_most_elements(b)), fabs(wanted[0]));
        for (int64_t k = 0; k < o->elements && same; k++) {
            double have = ((float *)b->output[i])[k];
            same        = both_same(have, wanted[k], allowed);
            if (!same)
                snprintf(what, size, "%s[%lld]: machine %.9g, interpreter %.9g, allowed %.1e", o->name, (long long)k,
                         have, wanted[k], allowed);
        }
    }
    interpret_free(run);
    return same;
}

/* The outputs, one after another; to be freed. */
static inline char *both_keep(const both_ways *b, size_t *size) {
    *size = 0;
    for (uint32_t i = 0; i < graph_output_count(b->g); i++)
        *size += (size_t)graph_output(b->g, i)->elements * sizeof(float);
    char *all = (char *)enough(malloc(*size + 1)), *at = all;
    for (uint32_t i = 0; i < graph_output_count(b->g); i++) {
        size_t bytes = (size_t)graph_output(b->g, i)->elements * sizeof(float);
        memcpy(at, b->output[i], bytes);
        at += bytes;
    }
    return all;
}

#endif
