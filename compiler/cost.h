/* What a graph costs, counted on the graph alone: operations and bytes at the sizes it was elaborated with. See
 * docs/report.md for what counts. */
#ifndef ATTNC_COST_H
#define ATTNC_COST_H

#include "count.h"

enum { COST_ASSUMED = 16 };

typedef struct cost {
    wide operations; /* on real numbers: one for each arithmetic operation and each element that a reduction takes in */
    wide special;    /* those of them that are divisions by what is no constant, roots, powers, exp, log, sin, … */
    wide comparisons; /* elements that selections look at */
    wide compulsory;  /* bytes of the interface tensors that are read and of the outputs */
    wide kept;        /* bytes of every reduction, scan and selection whose value is needed */
    bool exact;       /* false: a domain was too large to count and stands with all its elements */
    size_t nodes;
    wide *of_node;              /* operations of node 1 … nodes */
    node assumed[COST_ASSUMED]; /* conditions on data that restrict a domain and were counted as true */
    unsigned assumed_count;
} cost;

/* Counts what the outputs need: those of kind OUTPUT_VALUE, and the losses if asked for. Adds nodes to g, which no
 * output reaches. Free with cost_free. */
cost *cost_of(graph *g, bool losses);
void cost_free(cost *c);

/* Numbers that the conditions of g compare indices with and the lengths of the ranges they compare, ascending: where
 * the extent of an index passes one of them, formulas may change. Returns how many; *period becomes the least common
 * multiple of the numbers that indices are divided by. */
unsigned cost_thresholds(graph *g, int64_t *out, unsigned room, int64_t *period);
#endif
