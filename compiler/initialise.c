#include "initialise.h"

#include "philox.h"

#include <math.h>

/* FNV-1a, 64 bit (Fowler, Noll & Vo): spreads the name over the key. */
static uint64_t hash_name(const char *name, uint64_t seed) {
    uint64_t h = 0xcbf29ce484222325u ^ (seed * 0x9E3779B97F4A7C15u);
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

static void draw(const tensor *t, uint64_t seed, uint64_t element, double uniform[2]) {
    uint64_t key_bits         = hash_name(t->name, seed);
    const uint32_t counter[4] = {(uint32_t)element, (uint32_t)(element >> 32), 0, 1};
    const uint32_t key[2]     = {(uint32_t)key_bits, (uint32_t)(key_bits >> 32)};
    uint32_t out[4];
    philox4x32(counter, key, out);
    uniform[0] = (out[0] + 0.5) * 0x1p-32;
    uniform[1] = (out[1] + 0.5) * 0x1p-32;
}

double initial_value(const tensor *t, uint64_t seed, uint64_t element) {
    double u[2];
    draw(t, seed, element, u);
    if (t->kind == TENSOR_INPUT && t->type == TYPE_INT)
        return floor(u[0] * (double)t->below);
    double x = 0;
    /* Box & Muller 1958 */
    double normal = sqrt(-2 * log(u[0])) * cos(6.283185307179586 * u[1]);
    if (t->kind == TENSOR_INPUT)
        return (float)normal;
    switch (t->init) {
    case INIT_ZEROS:
        break;
    case INIT_CONSTANT:
        x = t->argument[0];
        break;
    case INIT_NORMAL:
        x = t->argument[0] + t->argument[1] * normal;
        break;
    case INIT_UNIFORM:
        x = t->argument[0] + (t->argument[1] - t->argument[0]) * u[0];
        break;
    case INIT_LOG_UNIFORM:
        x = log(t->argument[0] + (t->argument[1] - t->argument[0]) * u[0]);
        break;
    case INIT_INVERSE_SOFTPLUS:
        x = exp(log(t->argument[0]) + (log(t->argument[1]) - log(t->argument[0])) * u[0]);
        x = x + log(-expm1(-x));
        break;
    }
    return (float)x;
}
