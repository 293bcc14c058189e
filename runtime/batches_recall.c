#include "batches_internal.h"
#include "philox.h"

#include <math.h>
#include <stdlib.h>

typedef struct recall {
    batch_source base;
    uint32_t vocabulary, pairs;
} recall;

enum { VALIDATION_BATCHES = 16 };

typedef struct stream {
    uint64_t seed, at;
} stream;

static double draw(stream *s) {
    return philox_uniform(s->seed, 0x4d514152u, s->at++);
}

/* `count` different numbers below `below`, in random order. */
static void choose(stream *s, uint32_t below, uint32_t count, uint32_t *out, uint32_t *scratch) {
    for (uint32_t i = 0; i < below; i++)
        scratch[i] = i;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t k = i + (uint32_t)(draw(s) * (below - i));
        out[i]     = scratch[k];
        scratch[k] = scratch[i];
    }
}

static void sequence(const recall *r, stream *s, uint32_t length, int32_t *tokens, int32_t *targets, float *weight,
                     uint32_t *scratch) {
    uint32_t half = r->vocabulary / 2, pairs = r->pairs, slots = (length - 2 * pairs) / 2;
    uint32_t *key = scratch, *value = key + pairs, *rest = value + pairs;
    choose(s, half, pairs, key, rest);
    choose(s, half, pairs, value, rest);
    for (uint32_t t = 0; t < length; t++) {
        /* filler between the questions: random values, never keys */
        tokens[t]  = (int32_t)(half + (uint32_t)(draw(s) * half));
        targets[t] = 0;
        weight[t]  = 0;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        tokens[2 * i]     = (int32_t)key[i];
        tokens[2 * i + 1] = (int32_t)(half + value[i]);
    }
    /* gaps follow a power law with exponent 0.01 - 1: short ones are likelier */
    uint32_t *taken = rest;
    for (uint32_t i = 0; i < slots; i++)
        taken[i] = 0;
    for (uint32_t i = 0; i < pairs; i++) {
        uint32_t slot = (uint32_t)(pow(draw(s), 1 / 0.5) * slots);
        while (taken[slot % slots])
            slot++;
        slot %= slots;
        taken[slot] = 1;
        uint32_t at = 2 * pairs + 2 * slot;
        tokens[at]  = (int32_t)key[i];
        targets[at] = (int32_t)(half + value[i]);
        weight[at]  = 1;
    }
}

bool batches_recall_fits(uint32_t vocabulary, uint32_t pairs, uint32_t length) {
    return pairs <= length / 4 && pairs <= vocabulary / 2;
}

static bool recall_get(const batch_source *base, split which, uint64_t seed, uint64_t number, uint32_t batch_size,
                       uint32_t length, int32_t *tokens, int32_t *targets, float *weight) {
    const recall *r = (const recall *)base;
    if (!batches_recall_fits(r->vocabulary, r->pairs, length))
        return false;
    uint32_t *scratch = malloc(((size_t)2 * r->pairs + r->vocabulary + length) * sizeof *scratch);
    if (!scratch)
        return false;
    for (uint32_t b = 0; b < batch_size; b++) {
        stream s      = {.seed = seed ^ ((uint64_t)which + 1) << 60, .at = (number * batch_size + b) << 20};
        size_t offset = (size_t)b * length;
        sequence(r, &s, length, tokens + offset, targets + offset, weight + offset, scratch);
    }
    free(scratch);
    return true;
}

static uint64_t recall_count(const batch_source *base, split which, uint32_t batch_size, uint32_t length) {
    (void)base, (void)which, (void)batch_size, (void)length;
    return VALIDATION_BATCHES;
}

static void recall_destroy(batch_source *base) {
    free(base);
}

batch_source *batches_of_recall(uint32_t vocabulary, uint32_t pairs) {
    recall *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->base       = (batch_source){"multi-query associative recall", recall_get, recall_count, recall_destroy};
    r->vocabulary = vocabulary;
    r->pairs      = pairs;
    return &r->base;
}
