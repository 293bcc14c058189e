/* Domains as bounds of loops: what a domain (a BOOL node) says about blocks of indices, as nodes that are evaluated
 * once for each block. An index that is blocked runs over its current range, from BEGIN to below END, which is not
 * empty; all other indices have one value there. What depends on data is known by its extremes: REDUCE_MIN and
 * REDUCE_MAX over the current range of one blocked index. (A spec may contain the same node and mean the whole range:
 * its value is an extreme of a block too, only a looser one.) Everything here is sound and may be incomplete. */
#ifndef ATTNC_SCHEDULE_DOMAIN_H
#define ATTNC_SCHEDULE_DOMAIN_H

#include "graph.h"

/* Where the values of `stream` lie for which the domain can hold, for some values of the indices `rows` (0: none is
 * blocked) in their current ranges: nowhere outside [lo, hi). INT nodes between 0 and the extent of `stream`, free of
 * rows and stream, in which no range of `stream` occurs; NODE_NONE: nothing is known on that side. Where lo is not
 * below hi the domain holds nowhere. A domain of NODE_NONE always holds. */
void domain_bounds(graph *g, node domain, index_set rows, index_id stream, node *lo, node *hi);

/* BOOL nodes, free of `blocked`: does the domain certainly hold nowhere (empty), everywhere (full) in the current
 * ranges of the indices in `blocked`? NODE_NONE: that cannot be told, or is known not to be so. */
void domain_of_tile(graph *g, node domain, index_set blocked, node *empty, node *full);

/* The REDUCE nodes that an expression from here computes with, each once: the index that one runs over, and whose
 * current range it therefore depends on, is its only one in `vars`. Returns how many there are; the first `room` of
 * them are listed. */
unsigned domain_extremes(const graph *g, node condition, node *list, unsigned room);

#endif
