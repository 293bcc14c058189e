/* From a graph to steps: which nodes are stored, where, in which loops they are computed, and which sums of
 * products go to the matrix library. What comes out is a program over tiles (tile.h). */
#ifndef ATTNC_SCHEDULE_H
#define ATTNC_SCHEDULE_H

#include "tile.h"

/* A value is wide where it has at least `wide` times as many elements as what it is computed from: it is then kept for
 * blocks of rows only. 0: 8. */
typedef struct schedule_options {
    bool keep_workspace_apart; /* no two buffers share memory */
    bool unfused;              /* store every value whole */
    double wide;
    double listed;        /* a selection is a list where it takes one in so many, or fewer; 0: 2 */
    bool unstreamed;      /* no kernels of tiles */
    int64_t rows, stream; /* in a block and a tile; 0: chosen */
    int workers;          /* threads to plan for, however many there will be; 0: 8 */
} schedule_options;

/* Needs a verified graph without STOP of consequence (a STOP is computed as its operand). Never fails. Adds nodes to
 * the graph (operands of products, lists of selections), which changes no meaning; the graph must outlive the schedule.
 * options may be NULL: defaults. */
schedule *schedule_graph(graph *g, const schedule_options *options);
void schedule_free(schedule *s);
void schedule_print(schedule *s, FILE *file); /* text; s is as before when it returns */

#endif
