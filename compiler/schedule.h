/* From a graph to steps: which nodes are stored, where, in which loops they are computed, and which sums of
 * products go to the matrix library. What comes out is a program over tiles (tile.h). */
#ifndef ATTNC_SCHEDULE_H
#define ATTNC_SCHEDULE_H

#include "tile.h"

/* Needs a verified graph without STOP of consequence (a STOP is computed as its operand). Never fails. Adds nodes to
 * the graph (operands of products), which changes no meaning; the graph must outlive the schedule. */
schedule *schedule_graph(graph *g, bool share_workspace);
void schedule_free(schedule *s);
void schedule_print(const schedule *s, FILE *file);

#endif
