/* What the machine's matrix products reach: the limit that a benchmark's figures are compared with. */
#ifndef ATTNC_BENCH_PRODUCT_RATE_H
#define ATTNC_BENCH_PRODUCT_RATE_H

#include "enough.h"

#include <dnnl.h>
#include <omp.h>
#include <stdlib.h>

/* GFLOP/s, the best of ten, or of as many as a second is enough for. */
static double product_rate(void) {
    enum { N = 2048 };
    float *a = enough(malloc(sizeof(float) * N * N)), *b = enough(malloc(sizeof(float) * N * N));
    float *c    = enough(calloc((size_t)N * N, sizeof(float)));
    double best = 0, begun = omp_get_wtime();
    for (int i = 0; i < N * N; i++)
        a[i] = b[i] = 1e-3f * (float)(i % 97);
    for (int k = 0; k < 10 && (k == 0 || omp_get_wtime() < begun + 1); k++) {
        double start = omp_get_wtime();
        dnnl_sgemm('N', 'N', N, N, N, 1, a, N, b, N, 0, c, N);
        double rate = 2.0 * N * N * N / (omp_get_wtime() - start) * 1e-9;
        best        = rate > best ? rate : best;
    }
    free(a);
    free(b);
    free(c);
    return best;
}

#endif
