/* Rebuilding expressions: the utility of passes that change some nodes and keep the rest. */
#ifndef ATTNC_REWRITE_H
#define ATTNC_REWRITE_H

#include "graph.h"

/* n with every occurrence of `from` replaced by `to`, which must not have other types. Scans closed over `from`
 * from within are rebuilt with states of their own. */
node rewrite_replace(graph *g, node n, node from, node to);

/* Every output without STOPs. */
void rewrite_forget_stops(graph *g);

#endif
