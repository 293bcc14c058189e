/* Proofs about integer expressions of the graph: is an access in range wherever its guards hold?
 *
 * Index variables take every value of their extent, integer tensors every value in [0, below) at every element, and
 * conditions about FLOAT values are true or false as they like, equal nodes alike. Integers are mathematical ones: a
 * proof holds, and a witness fails, whatever the machine does beyond 64 bits. The answer comes in bounded time whatever
 * is asked; PROOF_UNKNOWN is always possible. Nodes may be added to the graph, none of them reachable from an output.
 */
#ifndef ATTNC_PROVE_H
#define ATTNC_PROVE_H

#include "graph.h"

typedef enum proof { PROOF_HOLDS, PROOF_FAILS, PROOF_UNKNOWN } proof;

enum { WITNESS_INDICES = 16 };

/* Where it fails: the values of the index variables involved, in order of index_id (the first WITNESS_INDICES of
 * them), with small numbers where there is a choice. Filled with PROOF_FAILS only; may be NULL where it is asked for.
 */
typedef struct witness {
    unsigned count;
    index_id index[WITNESS_INDICES];
    int64_t at[WITNESS_INDICES];
    int64_t value; /* of the expression there, at most what fits; of a condition 0 */
    bool data;     /* it also takes certain values of tensors: integer inputs, data-dependent conditions. The latter
                      are taken to be possible, which nobody has proven */
} witness;

/* Is low <= e <= high wherever all facts hold? e: an INT node; facts: BOOL nodes. INT64_MIN and INT64_MAX are no bound.
 */
proof prove_within(graph *g, node e, int64_t low, int64_t high, const node *fact, unsigned fact_count, witness *w);

/* Does `goal` (BOOL) hold wherever the facts do? */
proof prove_holds(graph *g, node goal, const node *fact, unsigned fact_count, witness *w);

/* Has `domain` (BOOL) a point in the indices `vars` for each value of the other indices for which the facts hold?
 * The witness has the other indices. */
proof prove_inhabited(graph *g, index_set vars, node domain, const node *fact, unsigned fact_count, witness *w);

/* Can the facts hold at once? PROOF_FAILS: never, so what they guard is dead. */
proof prove_satisfiable(graph *g, const node *fact, unsigned fact_count);

#endif
