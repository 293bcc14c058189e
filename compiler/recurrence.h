/* Linear recurrences chunk by chunk: what a state is read for is computed by products of matrices over the positions of
 * a chunk, and the state itself is needed only where chunks begin. The parallel form of linear attention (Katharopoulos
 * et al. 2020, arXiv:2006.16236), of the delta rule (Yang et al. 2024, arXiv:2406.06484) and of gated ones
 * (arXiv:2312.06635, arXiv:2405.21060, arXiv:2412.06464), found from the recurrence alone. */
#ifndef ATTNC_RECURRENCE_H
#define ATTNC_RECURRENCE_H

#include "graph.h"

typedef struct recurrence_options {
    int64_t chunk; /* positions of a chunk; 0: chosen by cost */
    bool never;    /* nothing is rewritten */
} recurrence_options;

/* Rewrites, in every output, the scans that are linear in their state and whose state is read only inside sums over one
 * of its indices. To be called before derivation: the adjoint of the chunked form is chunked. NULL: all by cost. The
 * values of the outputs stay, rounding aside. */
void recurrence_by_chunks(graph *g, const recurrence_options *options);

#endif
