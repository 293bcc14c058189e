/* Counter-based random numbers: Philox4x32-10, Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers:
 * as easy as 1, 2, 3" (SC'11), section 3.3. A number is a pure function of (key, counter), so dropout is
 * recomputed rather than stored and no result depends on the number of threads. */
#ifndef ATTNC_PHILOX_H
#define ATTNC_PHILOX_H

#include <stdint.h>

static inline void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1          = (uint32_t)p1;
        c3          = (uint32_t)p0;
        c0          = n0;
        c2          = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* The value of NODE_RANDOM: element `element` of random tensor `number` under `seed`, in [0,1), a multiple
 * of 2^-24, so that float and double agree exactly. */
static inline double philox_uniform(uint64_t seed, uint32_t number, uint64_t element) {
    const uint32_t counter[4] = {(uint32_t)element, (uint32_t)(element >> 32), number, 0};
    const uint32_t key[2]     = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];
    philox4x32(counter, key, out);
    return (double)(out[0] >> 8) * 0x1p-24;
}

#endif
