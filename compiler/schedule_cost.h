/* What a schedule costs, step by step: operations, and the memory that they go through. It is counted on the program
 * over tiles, block by block, so that what a condition skips costs nothing, and nothing is run.
 *
 * A condition or bound that is made of constants, ranges and the values of loops is evaluated; of one that depends on
 * data, every block that the data could ask for is counted, and the condition of an IF is taken to hold.
 *
 * Operations. A product of matrices is 2 · rows · columns · inner. In the other statements every operation that takes
 * or gives a real number counts, and every element that a reduction takes in or a selection looks at; what does not
 * change in a statement's inner loops counts outside them, and an operation that occurs twice counts once. Index
 * arithmetic and copies do not count.
 *
 * Traffic, of buffers that are no tiles. A statement's slice of a buffer is what the loops within its block reach of
 * it. A slice that belongs to a block is read or written once for this block: the blocks inside it that it does not
 * depend on find it again in a cache. A slice that no block limits counts whenever the statement begins. Statements do
 * not share. */
#ifndef ATTNC_SCHEDULE_COST_H
#define ATTNC_SCHEDULE_COST_H

#include "tile.h"

typedef struct step_cost {
    uint64_t matrix;        /* floating-point operations of products */
    uint64_t exponential;   /* exp, log, sin, cos, tanh, erf and powers: how many */
    uint64_t other;         /* other operations and elements of reductions */
    uint64_t read, written; /* bytes */
    uint64_t workspace;     /* bytes of the buffers in the workspace that it uses */
    uint64_t tiles;         /* bytes of its tiles: each thread has its own */
    uint64_t products;      /* how many products of matrices are computed */
} step_cost;

typedef struct schedule_cost {
    step_cost *step; /* of BLOCKS: of those inside, together; workspace: of the one that uses most */
    uint32_t steps;
    step_cost total; /* workspace: the whole arena; tiles: those of the step that has most */
} schedule_cost;

/* s is as before when it returns. Free with schedule_cost_free. */
schedule_cost *schedule_cost_of(schedule *s);
void schedule_cost_free(schedule_cost *c);

uint64_t schedule_buffer_bytes(const buffer *b);

/* Three digits and a power of 1000: 12.3 MB. */
void schedule_print_amount(uint64_t amount, const char *unit, FILE *file);
/* `12.3 MFLOP matrix, 400 k exp, 1.20 M other, reads 3.10 MB, writes 200 kB, tiles 98.0 kB` */
void schedule_cost_print(const step_cost *c, FILE *file);

#endif
