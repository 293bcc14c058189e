/* Simplification: the outputs of a graph, most of all its gradients, in the form in which an expert would have written
 * them. Two normal forms carry it (docs/derivation.md): a sum of products is a set of factors, a set of summed indices
 * and a domain, whose order of multiplication is chosen by cost; a product is a coefficient, powers of factors and one
 * exponential. */
#ifndef ATTNC_SIMPLIFY_H
#define ATTNC_SIMPLIFY_H

#include "graph.h"
#include "reasons.h"

typedef struct simplify_options {
    uint64_t without; /* bit r: the rewrite r (reasons.h) is not made */
} simplify_options;

/* Rewrites every output in place; NULL for all rewrites. Wherever the outputs were finite they keep their values,
 * rounding aside: each rewrite that needs more (a divisor that is not 0, a domain that is not empty) proves it or is
 * not made. STOPs must have been forgotten (derive.h). Time is linear in the graph. */
void simplify_outputs(graph *g, const simplify_options *options);

#endif
