#ifndef ATTNC_BATCHES_INTERNAL_H
#define ATTNC_BATCHES_INTERNAL_H

#include "batches.h"

struct batch_source {
    const char *name;
    bool (*get)(const batch_source *s, split which, uint64_t seed, uint64_t number, uint32_t batch_size,
                uint32_t length, int32_t *tokens, int32_t *targets, float *weight);
    uint64_t (*count)(const batch_source *s, split which, uint32_t batch_size, uint32_t length);
    void (*destroy)(batch_source *s);
};

#endif
