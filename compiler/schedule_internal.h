/* What the scheduler's files share. schedule.c decides what is stored and in which order, schedule_layout.c in which
 * layout, schedule_product.c recognises products, schedule_nest.c writes loop nests, schedule_memory.c places buffers.
 */
#ifndef ATTNC_SCHEDULE_INTERNAL_H
#define ATTNC_SCHEDULE_INTERNAL_H

#include "schedule.h"

/* A sum recognised as a product of two matrices. */
typedef struct product {
    node factor[2]; /* operand nodes; factor[0] has the rows */
    index_set batch, rows, columns, inner;
} product;

typedef struct scheduler {
    schedule *s;
    graph *g;
    size_t node_capacity;
    uint8_t *stored;   /* node: keeps its value in a buffer */
    uint8_t *done;     /* node: its steps are scheduled */
    uint32_t *inside;  /* node: label of the innermost scan whose state before the step it depends on; 0: none */
    product **product; /* node: how it is a product, NULL: it is not */
    size_t step_capacity, buffer_capacity;
    index_set fixed;    /* indices whose loops are open around the statement being written */
    index_set stepping; /* those of them that scans run over */
    axis_order hint;    /* the order in which the reader of a node without loads walks */
} scheduler;

void *schedule_allocate(size_t count, size_t size);
node schedule_strip(const graph *g, node n); /* past STOPs */
bool schedule_is_leaf(node_op op);           /* cheap to repeat, no memory: constants and index values */
void schedule_fit_nodes(scheduler *c);       /* after nodes were added */
bool schedule_is_true(const graph *g, node domain);

/* Buffers. */
uint32_t schedule_add_buffer(scheduler *c, buffer_place place, uint32_t number, element_type element,
                             const axis_order *order);
step *schedule_add_step(scheduler *c);

/* Products. */
product *schedule_match_product(scheduler *c, node reduce);
void schedule_emit_product(scheduler *c, node n, uint32_t forced_target);

/* Layouts. */
typedef struct load {
    uint32_t buffer;
    index_set unit;  /* indices that move this load by one element */
    index_set all;   /* indices the load depends on */
    axis_order seen; /* the buffer's axes as the reader's indices, where they are plain */
} load;
/* Calls `visit` for every load that computing n at its own indices makes, without n's own buffer. */
void schedule_visit_loads(const scheduler *c, node n, void (*visit)(void *, const load *), void *context);
axis_order schedule_order(const scheduler *c, node n, index_set axes);
index_id schedule_innermost(const scheduler *c, node n, index_set among, int64_t *vote);

/* Nests. */
void schedule_emit_nest(scheduler *c, node n, uint32_t forced_target);
void schedule_emit_copy(scheduler *c, node n, uint32_t target);
void schedule_emit_scan(scheduler *c, node n);

void schedule_place(schedule *s, bool share);

#endif
