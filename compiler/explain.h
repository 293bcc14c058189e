/* Why each line of a graph is there. */
#ifndef ATTNC_EXPLAIN_H
#define ATTNC_EXPLAIN_H

#include "graph.h"

enum { EXPLAIN_WIDTH = 140, EXPLAIN_DEPTH = 4 };

/* graph_print with a comment after each node's line: the definition that a node of the spec belongs to; of a node that
 * derivation or simplification made, the rule, what it was applied to and what it states. A rule that was applied to
 * what another rule made is followed by that one, EXPLAIN_DEPTH rules deep. At the end stands each rule once, and how
 * many nodes are there by it. */
void explain_print(const graph *g, FILE *file);

#endif
