/* One model in training: its two programs (a training step, an evaluation), its parameters and states. */
#ifndef ATTNC_TRAINING_H
#define ATTNC_TRAINING_H

#include "batches.h"
#include "elaborate.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct training training;

typedef struct training_request {
    const spec *mechanism, *model, *optimizer;
    elaboration mechanism_how, model_how, optimizer_how; /* `training` in them is set here */
    uint64_t seed;
} training_request;

typedef struct training_result {
    double loss;      /* cross-entropy, nats a token */
    double auxiliary; /* the sum of the mechanism's own losses */
    double accuracy;  /* of the tokens that count */
} training_result;

typedef struct parameter_counts {
    int64_t total, embedding, attention, feedforward, other;
} parameter_counts;

/* Elaborates, derives, compiles both programs and draws the initial values. Messages about specs go to `d`; any other
 * failure is one line in `error`. Returns NULL then. */
training *training_new(const training_request *request, diagnostics *d, char *error, size_t error_size);
void training_free(training *t);

/* One step on a batch (batch_size * length elements each). `step` counts from 1. False: out of memory. */
bool training_step(training *t, const int32_t *tokens, const int32_t *targets, const float *weight, double rate,
                   uint64_t step, training_result *result);
/* The losses of a batch without dropout; nothing changes. */
bool training_evaluate(training *t, const int32_t *tokens, const int32_t *targets, const float *weight,
                       training_result *result);

uint32_t training_batch_size(const training *t);
uint32_t training_length(const training *t);
parameter_counts training_parameters(const training *t);
uint64_t training_bytes(const training *t); /* of tensors and workspaces */
double training_compile_seconds(const training *t);

#endif
