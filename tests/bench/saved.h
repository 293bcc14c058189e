/* What a forward and backward pass that are one schedule keep of the forward pass, and the fewest bytes they can move.
 *
 * A buffer is forward where a result depends on it: a value or a loss. A forward buffer of the workspace, or a result,
 * is saved where gradients are computed from it, by themselves or by scratch, which is a tile or what is held for one
 * block of rows: that is not kept. Dependence is of buffers, found statement by statement: a statement ties its target
 * to whatever it reads, and to what the conditions and bounds around it read. */
#ifndef ATTNC_BENCH_SAVED_H
#define ATTNC_BENCH_SAVED_H

#include "tile.h"

typedef enum saved_kind {
    SAVED_WIDE,    /* everything else */
    SAVED_NARROW,  /* for each position an eighth of what the widest given tensor has, or less: maxima and sums of rows
                    */
    SAVED_INDICES, /* made from indices alone, as tables of angles: need not be kept */
    SAVED_KINDS
} saved_kind;

typedef struct saved {
    uint32_t buffer;
    node node; /* what it holds */
    saved_kind kind;
} saved;

typedef struct saving {
    saved *list;
    uint32_t count, of_kind[SAVED_KINDS];
    uint64_t bytes;
    uint64_t least; /* bytes: tensors read, outputs written, and what is saved written and read, all once */
} saving;

/* `time`: the indices of positions. s is as before when it returns. Free the list. */
saving saving_of(schedule *s, index_set time);

#endif
