/* Derived gradients against finite differences of the interpreter, in float64. */
#ifndef ATTNC_GRADCHECK_H
#define ATTNC_GRADCHECK_H

#include "graph.h"

#include <stdio.h>

/* Adds to a mechanism's graph an input `cotangent.<y>` for every OUTPUT_VALUE y and the loss sum(y * cotangent), then
 * an OUTPUT_GRADIENT for every float input and parameter (the cotangents excepted). Returns false where the outputs
 * have no real value. */
bool gradcheck_add_backward(graph *g);

/* For each gradient output of g: the derivative along a random direction, central differences of two step sizes
 * (Richardson's extrapolation), STOPs held. Prints a line a tensor; *worst is the largest relative error, NaN where a
 * derivative or a difference is not finite, of which the line says why. */
void gradcheck_run(const graph *g, const double *const *tensor_value, uint64_t seed, FILE *file, double *worst);

#endif
