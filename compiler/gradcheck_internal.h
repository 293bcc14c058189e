/* What the checking of gradients shares between its files. */
#ifndef ATTNC_GRADCHECK_INTERNAL_H
#define ATTNC_GRADCHECK_INTERNAL_H

#include "gradcheck.h"
#include "interpret.h"

/* The losses along a line: the values of one tensor moved along a direction, all others kept, STOPs held. */
typedef struct loss_line {
    const graph *g;
    const double *const *tensor_value;
    uint64_t seed;
    interpretation *base; /* at the values themselves, its losses computed */
    double loss;          /* there */
    double rounding;      /* what the rounding of a loss may amount to */
    uint32_t tensor;
    double size;             /* of the tensor's values, which the widest step is in proportion to */
    const double *direction; /* a number for each element */
    bool single;             /* it moves one element only */
} loss_line;

double loss_sum(interpretation *run, const graph *g);

typedef struct difference {
    gradcheck_verdict verdict;
    double value;        /* of the derivative along the line; NaN where there is none */
    double error;        /* relative: how far the derived value is from it … */
    double estimate;     /* … and how far it may be off itself */
    double below, above; /* GRADCHECK_KINK: the slopes on both sides */
} difference;

/* Compares `derived` with finite differences along the line. Errors are relative to the larger of `scale` and the
 * difference itself; where rounding hides a tolerance of that, to what rounding makes of it. */
difference difference_along(const loss_line *line, double derived, double scale, double tolerance);

#endif
