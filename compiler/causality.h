/* Does an output at one time depend on an input at a later one? Proved from the graph, or refuted by an example.
 * "Depends" is meant for finite values: 0 times what a mask excludes is 0. */
#ifndef ATTNC_CAUSALITY_H
#define ATTNC_CAUSALITY_H

#include "elaborate.h"

typedef enum causality_kind {
    CAUSALITY_NO_TIME, /* no index is time */
    CAUSALITY_PROVED,
    CAUSALITY_REFUTED, /* there is an example */
    CAUSALITY_UNPROVED /* neither a proof nor an example was found */
} causality_kind;

typedef struct causality {
    causality_kind kind;
    uint32_t output; /* REFUTED, UNPROVED: the number of the output in question */
    uint32_t tensor; /* the number of the input that it depends on, or for all that is known might */
    node culprit;    /* where the bound on the latest input that counts was lost; NODE_NONE: not known */
    int64_t at;      /* REFUTED: the output at this time … */
    int64_t depends; /* … depends on the input at this later time, … */
    int64_t extent;  /* … of so many in all; times are of the graph that was tried, not of g */
    bool shrunk;     /* sizes other than the time's were made smaller for the example */
} causality;

/* The index that is time: the declared one, else the index called `t` that an input and an output have, else
 * GRAPH_INDICES. */
index_id causality_time(const graph *g);

/* Only the proof: PROVED, UNPROVED or NO_TIME. Adds nodes to g that no output reaches. Linear in the graph, but for
 * nested scans. */
causality causality_prove(graph *g, index_id time);

/* Looks for an example in g itself, by the interpreter; for small sizes. On success fills kind and the example and
 * returns true. */
bool causality_example(const graph *g, index_id time, causality *result);

/* The proof in g, which elaborate_mechanism made of `mechanism` in this way; where it fails, the search for an example
 * at small sizes. Output, tensor and culprit are g's. */
causality causality_check(graph *g, const spec *mechanism, const elaboration *how);

/* Where the mechanism says `causal` and is not, or not provably: a warning at the place, if how->origins knows it. */
void causality_warn(graph *g, const spec *mechanism, const elaboration *how, diagnostics *d);
#endif
