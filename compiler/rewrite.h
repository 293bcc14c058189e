/* Rebuilding expressions: the utility of passes that change some nodes and keep the rest. A node that is rebuilt keeps
 * its reason (graph_because) and what that is about; of one that the spec says, `about` is the node that it was. Nodes
 * made afterwards are the spec's until graph_because says otherwise. */
#ifndef ATTNC_REWRITE_H
#define ATTNC_REWRITE_H

#include "graph.h"

/* The root nodes, in place (NODE_NONE stays), with every occurrence of from[k] replaced by to[k], of the same type and
 * free indices. What they share is rebuilt once. Scans in which something changes are rebuilt with states of their own;
 * a state before the step (a PREVIOUS) is replaced only outside its own scan. */
void rewrite_replace(graph *g, unsigned count, const node *from, const node *to, size_t roots, node *root);

/* Every output, where each node that changes is what `apply` makes of it once what it is made of has changed. Besides
 * those whose operands change, the nodes that `concerns` names are looked at. */
typedef struct rewrite_rule {
    bool (*concerns)(void *context, node n);
    node (*apply)(void *context, node before, node n); /* of the same type and free indices as `before`, which n was */
    void *context;
} rewrite_rule;
void rewrite_outputs(graph *g, const rewrite_rule *rule);

/* Every output without STOPs. */
void rewrite_forget_stops(graph *g);

#endif
