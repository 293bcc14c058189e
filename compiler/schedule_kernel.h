/* What the files of one kernel of tiles share. schedule_kernel.c decides whether a region can be one, schedule_pass.c
 * in how many passes and as which sums, schedule_carry.c which scans go along, schedule_tile.c what lives in tiles,
 * schedule_write.c writes the statements, schedule_note.c says what was decided. */
#ifndef ATTNC_SCHEDULE_KERNEL_H
#define ATTNC_SCHEDULE_KERNEL_H

#include "schedule_internal.h"

enum { MOST_ROOTS = 60, MOST_PARTS = 8, MOST_CARRIED = 8, TILE_ELEMENTS = 1 << 15 };

/* A summand taken apart: rest · exp(exponent + running) · final where mask. NODE_NONE: 1, 0, 0, 1, everywhere. */
typedef struct term {
    node rest, exponent, running, final, mask;
} term;

typedef struct terms {
    unsigned count;
    term item[MOST_PARTS];
} terms;

/* One sum that is accumulated; a reduction is one or the sum of several. */
typedef struct part {
    node body;    /* what is summed, with the held node for the running value */
    node mask;    /* what body is 0 outside of; NODE_NONE: nothing */
    unsigned any; /* root that says whether it holds anywhere in the domain, from 1; 0: it does */
    node running; /* its running value; NODE_NONE: none */
    node final;   /* factor at the end; NODE_NONE: none */
    uint32_t buffer;
    node sum;      /* leaf that stands for what the buffer holds */
    unsigned held; /* which running value */
} part;

typedef struct kernel_root {
    node reduce;
    node_view view; /* without children, which move */
    node domain, body;
    node scatter; /* index == value: of the result, the only element that a summand adds to; NODE_NONE: all */
    bool by_row;  /* complete for a block of rows when the stream is at its end */
    unsigned pass;
    uint64_t needs; /* roots */
    unsigned parts;
    part part[MOST_PARTS];
    uint32_t buffer; /* of the result */
    node whole;      /* of which this is a part for each value of the indices `apart`; NODE_NONE: it is whole */
    index_set apart;
    bool ended;
    bool added; /* no node of the graph: for the kernel itself */
    node later; /* the part of its summand for which it had to wait for another pass; NODE_NONE: none */
} kernel_root;

/* A running value in the exponent, and what was held of it for the last tile. */
typedef struct running {
    node value, held, next;
    node factor; /* leaf */
    uint32_t held_buffer, next_buffer, factor_buffer;
    unsigned pass;
    bool moved; /* in the tile being written */
} running;

/* A scan along the stream. */
typedef struct carried {
    node scan, start;  /* start: the state before the first step, without `total` */
    node held;         /* the state between two steps */
    node value, after; /* the scan's value at a position, and the state after it, from held */
    node guard;        /* outside of it a step changes nothing; NODE_NONE: it may anywhere */
    node total;        /* what all steps add: the state at first, where the scan runs against the kernel */
    unsigned number;   /* root of that, from 1; 0: none */
    uint32_t buffer;   /* of the state */
} carried;

typedef struct kernel {
    scheduler *c;
    const region *r;
    index_id row, stream;
    index_set grid;
    index_set wide_shared, wide_all; /* indices that all wide nodes of the region have, and that some have */
    kernel_root root[MOST_ROOTS];
    unsigned root_count, passes;
    running running[MOST_ROOTS];
    unsigned running_count;
    carried carried[MOST_CARRIED];
    unsigned carried_count, totals; /* the first roots are totals */
    bool reverse;                   /* the stream is walked from its end */
    size_t room;                    /* nodes that the arrays below are for */
    uint64_t *needs;                /* node: roots that it depends on */
    uint8_t *known;
    uint64_t now;      /* roots of the pass that is looked at */
    uint32_t *tile_of; /* node: its tile */
    size_t tile_room;
    bool changed;        /* more nodes have tiles than when this writing began */
    uint8_t *emitted;    /* node: it is in its tile now */
    uint8_t *held_now;   /* node: its row value is written */
    node *row_value;     /* node: what is held of it for a block of rows; NODE_NONE: nothing */
    node *rewritten;     /* node: with row values, in the pass that is written; NODE_NONE: not yet */
    unsigned pass;       /* that is being written */
    statement **before;  /* the statements before its stream */
    node stuck;          /* what could not be taken apart */
    const char *refused; /* why there is no kernel with this stream */
    node refused_by;
} kernel;

static inline index_set bit(index_id i) {
    return (index_set)1 << i;
}

static inline node_view view(const kernel *k, node n) {
    return graph_view(k->c->g, n);
}

/* Among the roots that a node depends on: something held, which changes from tile to tile. */
#define HELD ((uint64_t)1 << 63)

/* schedule_pass.c. What a node depends on. Which nodes are the region's own, complete before the kernel, accumulated by
 * it? */
bool kernel_is_own(const scheduler *c, const region *r, node n);
bool kernel_is_complete(const scheduler *c, const region *r, node n);
bool kernel_is_root(const kernel *k, node n);
/* The kernel's reductions that n, or what it reads, depends on, through what is not computed elsewhere: a bit each, and
 * HELD. */
uint64_t kernel_needs_of(kernel *k, node n);
uint64_t kernel_needs_below(kernel *k, node n);
bool kernel_streams(const kernel *k, node n); /* does it have the streamed index? */
/* Where NODE_NONE is 1, 0 and true. */
node kernel_times(graph *g, node a, node b);
node kernel_plus(graph *g, node a, node b);
node kernel_both(graph *g, node a, node b);
/* A running value that would make every exponential infinite, or is no number (the infinite scale of nothing, times how
 * often there was something), is none yet: what is summed then is 0 in the end, and may be summed with any finite one.
 */
node kernel_is_usable(graph *g, node held);
node kernel_usable(graph *g, node held); /* one that exponentials may be taken under */
/* Is n one of the parts of the conjunction? */
bool kernel_is_part(const graph *g, node n, node domain);
/* Fills pass, parts and running values of the roots. */
void kernel_choose_passes(kernel *k);

/* schedule_carry.c: which scans walk with the kernel; false where one cannot. Before a pass, what they start with; in a
 * tile, the steps, whose values go to target. */
bool kernel_find_scans(kernel *k);
const carried *kernel_carried(const kernel *k, node n); /* NULL: n is none of them */
void kernel_start_scans(kernel *k, unsigned pass);
void kernel_emit_scan(kernel *k, const carried *s, uint32_t target);

/* schedule_kernel.c: n is kept in tiles from now on. Can what n is made of be computed tile by tile? */
void kernel_note_wide(kernel *k, node n);
bool kernel_can_compute(kernel *k, node n);

/* schedule_tile.c. Buffers of the kernel; the tile of a node, 0: none yet. */
uint32_t kernel_add_place(kernel *k, buffer_place place, value_type type, index_set axes);
void kernel_hold(kernel *k, node held, uint32_t buffer);
uint32_t kernel_tile_place(kernel *k, node n);
/* Which wide expressions that the reductions read get tiles; the statements that fill those that n reads. */
void kernel_choose_tiles(kernel *k, const node *reduce, unsigned count);
void kernel_emit_children(kernel *k, node n);
/* Narrow nodes of the region that are no reductions over its stream. */
bool kernel_is_between(const kernel *k, node n);
void kernel_emit_between(kernel *k, node n);
/* Moves a running value to what it is after this tile's reductions so far, once in a tile. */
void kernel_emit_running(kernel *k, running *r);
/* The reduction over one tile; where the domain holds all over it, `full`. NODE_NONE: there is none. */
node kernel_tile_reduce(kernel *k, const kernel_root *r, const part *p, bool full);

/* schedule_write.c */
bool kernel_rows_apart(const kernel *k); /* do different blocks of rows write different elements? */
void kernel_write(kernel *k);            /* the step, whose passes and blocks are chosen */

/* schedule_note.c: lines of text, for the schedule; freed with it. */
char *kernel_note(const kernel *k);

#endif
