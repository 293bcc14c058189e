/* What the files of the cost of schedules share: schedule_cost.c walks through blocks, schedule_cost_range.c evaluates
 * conditions there, schedule_cost_statement.c says what one statement does. */
#ifndef ATTNC_SCHEDULE_COST_INTERNAL_H
#define ATTNC_SCHEDULE_COST_INTERNAL_H

#include "schedule_cost.h"

/* Values between low and high; of BOOL 0 and 1. One value where the two are equal. */
typedef struct span {
    int64_t low, high;
} span;

/* Where a walk stands: the range of every index, and the values of some. */
typedef struct place {
    const graph *g;
    int64_t begin[GRAPH_INDICES], end[GRAPH_INDICES];
    index_set open; /* those that have a value */
    int64_t at[GRAPH_INDICES];
} place;

/* What an INT or BOOL node can be here. */
span range_evaluate(const place *p, node n);
/* The indices whose value n is computed with. */
index_set range_indices(const graph *g, node n);
int64_t range_length(const place *p, index_id i);

/* x < y or x <= y, of which the difference x - y moves by 1 or -1 where `var` moves by one. */
typedef struct bound {
    node x, y;
    int slope; /* of x - y */
    bool or_equal;
} bound;

enum { MOST_BOUNDS = 16 };

/* The conjuncts of a domain that bound `var`. Returns how many. */
unsigned range_bounds(const schedule *s, node domain, index_id var, bound *out, unsigned room);
/* How many values of `var` in its range they leave. */
int64_t range_left(place *p, index_id var, const bound *bounds, unsigned count);

/* A buffer outside tiles as a statement sees it: the indices that what it touches depends on. */
typedef struct access {
    uint32_t buffer;
    index_set on;
    bool written;
    uint64_t seen; /* the block for which it was counted last */
} access;

/* A statement without statements inside: the loops around it within its block, outermost first, those that it opens
 * itself last; and what is computed for each element of the first `level` of them. */
typedef struct leaf {
    unsigned loop_count;
    index_id loop[GRAPH_INDICES];
    index_set loops;
    uint64_t exponential[GRAPH_INDICES + 1], other[GRAPH_INDICES + 1]; /* by level */
    bound bounds[MOST_BOUNDS];                                         /* of the innermost loop */
    unsigned bound_count;
    const matrix_product *product; /* NULL: none */
    access *access;
    unsigned access_count, access_room;
} leaf;

/* `loops` are those outside it in its block. The buffers of s are those of the step. `touch` is called for every
 * buffer. */
leaf *leaf_of_statement(const schedule *s, const statement *t, const axis_order *loops,
                        void (*touch)(void *, uint32_t buffer), void *context);
/* The elements of its matrix that a SOLVE reads, which it does not for each of its columns. */
leaf *leaf_of_triangle(const schedule *s, const statement *t, const axis_order *loops,
                       void (*touch)(void *, uint32_t buffer), void *context);
leaf *leaf_of_product(const schedule *s, const matrix_product *p, const axis_order *loops,
                      void (*touch)(void *, uint32_t buffer), void *context);
/* What evaluating n once reads. */
leaf *leaf_of_node(const schedule *s, node n, void (*touch)(void *, uint32_t buffer), void *context);
void leaf_free(leaf *l);

#endif
