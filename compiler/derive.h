/* Reverse-mode differentiation, graph in, graph out: one rule for each node kind, none for a mechanism. */
#ifndef ATTNC_DERIVE_H
#define ATTNC_DERIVE_H

#include "graph.h"

/* The derivatives of the scalar node `loss` with respect to `count` TENSOR nodes. gradient[k] has at most the
 * free indices of of[k]; it is the constant 0 where no path leads from of[k] to the loss. */
void derive_gradients(graph *g, node loss, const node *of, size_t count, node *gradient);

/* The sum of all OUTPUT_LOSS outputs. Returns NODE_NONE where there is none. */
node derive_total_loss(graph *g);

/* Adds an OUTPUT_GRADIENT "gradient.<name>" of the total loss for every parameter. Returns false and the
 * parameter's number in *orphan where one has no path to any loss. */
bool derive_parameter_gradients(graph *g, uint32_t *orphan);

/* The same graph with every STOP replaced by its operand, once derivation is done: outputs are rewritten in place. */
void derive_forget_stops(graph *g);

#endif
