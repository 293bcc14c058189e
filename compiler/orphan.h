/* Why a parameter has no gradient. */
#ifndef ATTNC_ORPHAN_H
#define ATTNC_ORPHAN_H

#include "elaborate.h"

enum { ORPHAN_TEXT = 512 };

/* Of a tensor whose gradient is 0 everywhere: why, as the end of a sentence, cut to `size` (ORPHAN_TEXT is enough for
 * most). Nothing depends on it; no loss does, but certain outputs; a loss does, but only through what has no
 * derivative; or what it gives cancels. STOPs must not have been forgotten. */
void orphan_explain(const graph *g, uint32_t tensor, char *text, size_t size);

/* A warning for each parameter of a mechanism whose OUTPUT_GRADIENT is the constant 0, at its declaration, unless
 * nothing at all reads it, which elaboration has said. `known` is of graph_tensor_count elements: parameters whose
 * element is set are left out, and it is set for all others that have no gradient. */
void orphan_warn(const graph *g, const spec *mechanism, uint8_t *known, diagnostics *d);

#endif
