/* What derive.c (nodes and their rules) and derive_scan.c (scans) share. */
#ifndef ATTNC_DERIVE_INTERNAL_H
#define ATTNC_DERIVE_INTERNAL_H

#include "derive.h"
#include "node_map.h"
#include "reasons.h"

typedef struct derivation derivation;
struct derivation {
    graph *g;
    node from, size; /* handles below `from` and from `size` on have no adjoint here */
    node *adjoint;   /* by handle less `from`: the sum of contributions so far */
    uint8_t
        *active; /* the same: adjoints are of use: it leads from a wanted leaf; in a scan's bodies, from its states */
    /* A scan's bodies: what is not active there belongs to the derivation outside. Contributions to it are gathered
     * here, because they are made of the states before the step; NULL where nobody wants them. */
    derivation *outer;
    node_map *outside;
    reason why; /* of the nodes that are being made; see derive_because */
    node about;
};

void *derive_allocate(size_t count, size_t size);

/* The adjoint of n so far, which has one here; NODE_NONE: nothing yet. */
node *derive_adjoint(const derivation *d, node n);
/* From here on nodes are made by the rule `why`, applied to `about`. What accumulates contributions has reasons of its
 * own. */
void derive_because(derivation *d, reason why, node about);

/* Is the adjoint of n of use, here or outside? */
bool derive_wanted(const derivation *d, node n);
/* `c` over the free indices of z is a part of the adjoint of n. */
void derive_contribute(derivation *d, node n, node c, index_set z);
/* Passes the adjoint of z, which is complete, on to its children. */
void derive_node(derivation *d, node z);
/* The same for all states of the scan that z is a state of; their adjoints are taken away. */
void derive_scan(derivation *d, node z);

/* At each element of the body of a REDUCE_PRODUCT, the product of all others in its domain: exact where some are 0.
 * Over the free indices of the product and those that it binds; meaningful within the domain. */
node derive_other_factors(graph *g, node product);

#endif
