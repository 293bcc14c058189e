/* Derived gradients against finite differences of the interpreter, in float64. */
#ifndef ATTNC_GRADCHECK_H
#define ATTNC_GRADCHECK_H

#include "elaborate.h"

#include <stdio.h>

/* Adds to a mechanism's graph an input `cotangent.<y>` for every OUTPUT_VALUE y and the loss sum(y * cotangent), then
 * an OUTPUT_GRADIENT for every float input and parameter (the cotangents excepted). Returns false where the outputs
 * have no real value. */
bool gradcheck_add_backward(graph *g);

typedef enum gradcheck_verdict { /* the later, the worse */
                                 GRADCHECK_AGREES,
                                 GRADCHECK_UNCERTAIN, /* the differences are too inexact to tell */
                                 GRADCHECK_KINK, /* the slopes on both sides differ, and the derived one lies between
                                                    them */
                                 GRADCHECK_JUMP, /* the outputs jump at these values: a selection changes */
                                 GRADCHECK_NOT_FINITE,    /* the outputs, a small step away */
                                 GRADCHECK_NO_VALUE,      /* the outputs are not finite at the values themselves */
                                 GRADCHECK_NO_DERIVATIVE, /* the derived gradient is not finite */
                                 GRADCHECK_DIFFERS
} gradcheck_verdict;

typedef struct gradcheck_options {
    double tolerance; /* relative */
    enum {
        GRADCHECK_DIRECTION,     /* only along a random direction */
        GRADCHECK_SOME_ELEMENTS, /* and elements: all where they are few, else the largest gradients and random others
                                  */
        GRADCHECK_ALL_ELEMENTS
    } elements;
} gradcheck_options;

typedef struct gradcheck_result {
    gradcheck_verdict verdict; /* the worst */
    double worst;              /* the largest relative error; NaN where something cannot be compared */
    uint32_t tensor;           /* where the worst is … */
    int64_t element;           /* … row-major; -1: along the direction */
} gradcheck_result;

/* Compares every gradient output of `derived` with finite differences of the losses of `g`, its STOPs held at their
 * values; the two have the same tensors and may be the same graph. Along a random direction, and for single elements,
 * by Ridders' method, which says how far off a difference may be. Prints a table to `file` (NULL: none). */
void gradcheck_run(const graph *g, const graph *derived, const double *const *tensor_value, uint64_t seed,
                   const gradcheck_options *options, FILE *file, gradcheck_result *result);

/* Small odd sizes for those that neither the caller gives nor other sizes determine, so that finite differences take
 * seconds: written to `set`, of room for SIZES (sizes.h). Returns how many; 0 where the mechanism elaborates with none
 * that were tried. The names are the spec's. */
size_t gradcheck_sizes(const spec *mechanism, const elaboration *how, binding *set);

#endif
