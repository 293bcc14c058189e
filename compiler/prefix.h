/* Prefix forms: a reduction over all positions up to (or from) a position is a scan, of cost T instead of T². */
#ifndef ATTNC_PREFIX_H
#define ATTNC_PREFIX_H

#include "graph.h"

/* The reduction over `over` of body where domain, as a scan; NODE_NONE where it is none. It is one where the domain
 * contains `s <= t`, `s < t`, `t <= s` or `t < s`, s being `over` and t another index of its extent, and nothing else
 * in the domain and the body depends on t. */
node prefix_reduce(graph *g, reduction r, index_id over, node domain, node body);

#endif
