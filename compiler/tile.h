/* Programs over tiles: buffers, and steps made of loops over blocks of indices, pointwise work on tiles, reductions and
 * matrix products. What the scheduler makes of a graph, and what emitters translate: they decide nothing. The
 * expressions in it are nodes of the graph: one that has a buffer is loaded, any other is computed where it stands. */
#ifndef ATTNC_TILE_H
#define ATTNC_TILE_H

#include "graph.h"

typedef enum element_type { ELEMENT_FLOAT, ELEMENT_INT32, ELEMENT_BOOL } element_type; /* 4, 4 and 1 bytes */

/* TILE: a thread's own, as long as it runs the step. */
typedef enum buffer_place { PLACE_TENSOR, PLACE_OUTPUT, PLACE_WORKSPACE, PLACE_TILE } buffer_place;

/* Where a node's value is stored: its axes, outermost first, with strides in elements. Indices of the node that
 * are no axis have extent 1. Loads and stores take the value of each axis's index at the point of use. An axis that
 * is blocked holds one block of its index: its position is the index's value less where the index's range begins. */
typedef struct buffer {
    buffer_place place;
    uint32_t number; /* of the tensor or output */
    element_type element;
    unsigned rank;
    index_id axis[TENSOR_RANK];
    int64_t stride[TENSOR_RANK];
    int64_t block[TENSOR_RANK]; /* how much of the axis there is; 0: all */
    int64_t elements;
    uint64_t offset;              /* PLACE_WORKSPACE: bytes, a multiple of 64 */
    uint32_t first_use, last_use; /* steps */
} buffer;

enum { NO_BUFFER = UINT32_MAX };

/* Every index has a range: all its values, unless a block over it is open, whose values it then is. Loops, reductions
 * and products run over the range that holds where they stand. */
typedef enum statement_kind {
    STATEMENT_FOR,    /* body once for each value in the range of `index` */
    STATEMENT_BLOCK,  /* body once for each block of `index` */
    STATEMENT_IF,     /* body where `condition` holds, `otherwise` where not */
    STATEMENT_STORE,  /* target[…] = value */
    STATEMENT_REDUCE, /* target[…] = reduction over `vars` (innermost last) of summand where domain, held in a register
                       */
    STATEMENT_ACCUMULATE, /* target[…] = target[…] op summand where domain; see scatter */
    STATEMENT_TOPK, /* target[…, over, …] for all values of `over`: the TOPK node `value`, or of the index of a
                     * CHOSEN node */
    STATEMENT_SOLVE, /* target[…, index, …, var, …] for all values of `index` and, where it has one, of its var: the
                      * SOLVE node `value`, row after row */
    STATEMENT_PRODUCT /* a product of matrices: *product, for the values of the indices open here */
} statement_kind;

/* One matrix of a product: element (row, column) is at base + row * row_stride + column * column_stride, where one of
 * the strides is 1 (or its extent is 1) and base = sum over k of offset_stride[k] * offset[k]: INT nodes, evaluated
 * where the indices of rows, columns and inner have the first value of their ranges. */
typedef struct matrix {
    uint32_t buffer;
    int64_t row_stride, column_stride;
    unsigned offset_count;
    node offset[TENSOR_RANK];
    int64_t offset_stride[TENSOR_RANK];
} matrix;

/* Several indices that run as one, outermost first: as many values as their ranges' lengths multiplied. Only the
 * outermost may have a range of its own. */
typedef struct axis_order {
    unsigned rank;
    index_id index[TENSOR_RANK];
} axis_order;

/* C = A · B, or C += A · B: A rows × inner, B inner × columns. C has column_stride 1. */
typedef struct matrix_product {
    matrix a, b, c;
    axis_order rows, columns, inner;
    bool into; /* adds to what C holds */
} matrix_product;

typedef struct statement statement;
struct statement {
    statement_kind kind;
    statement *next; /* the statement after this one, in the same loop */
    index_id index;  /* FOR, BLOCK; TOPK: selected along; SOLVE: the row */
    bool reverse;    /* FOR, BLOCK, SOLVE: from the last to the first */
    bool parallel;   /* iterations write different elements; of BLOCK too */
    /* BLOCK: blocks of `block` values from lo up to hi (INT nodes; NODE_NONE: of all values); the last may be shorter.
     * once: one block from lo to hi, which may be empty. */
    int64_t block;
    node lo, hi;
    bool once;
    /* IF: in body, `assumed` (BOOL, NODE_NONE: nothing) and each part of that conjunction are known to hold at every
     * element of the ranges open there. */
    node condition, assumed;
    statement *otherwise;
    statement *body; /* FOR, BLOCK, IF */
    matrix_product *product;
    /* the others */
    uint32_t target;     /* buffer */
    node value;          /* STORE: the node; REDUCE, ACCUMULATE: the REDUCE node; TOPK: the TOPK or CHOSEN node;
                          * SOLVE: the SOLVE node */
    reduction reduction; /* REDUCE, ACCUMULATE */
    bool into;           /* REDUCE: begins with what target holds, not with the reduction's identity */
    /* REDUCE: the loops it opens itself, outermost first. SOLVE: at most one, which the matrix does not have: its
     * values are next to each other */
    unsigned var_count;
    index_id var[GRAPH_INDICES];
    node domain; /* REDUCE, ACCUMULATE: NODE_NONE for all. SOLVE: which elements of the matrix count */
    node summand;
    /* ACCUMULATE: the element is the one where `scatter` has the value of `scatter_to`, an INT node; nothing happens
     * where that is outside the index's range. GRAPH_INDICES: no scatter. */
    index_id scatter;
    node scatter_to;
};

typedef enum step_kind {
    STEP_NEST,
    STEP_PRODUCT,
    STEP_BLOCKS /* the `inside` steps after this one, for each block of `index`, as STATEMENT_BLOCK */
} step_kind;

/* A node's buffer within a step or within the steps of a block only: elsewhere it has another, or none. */
typedef struct placement {
    node node;
    uint32_t buffer;
} placement;

typedef struct step {
    step_kind kind;
    node node; /* what it computes; for a scan, the scan */
    /* NEST. The work is divided among threads by ranges of items. Where split is an index, an item is one value of
     * it and every FOR or SOLVE over it, at whatever depth, runs over the thread's range only; otherwise the first
     * `parallel_count` loops, each the only statement of the one before, are one flattened loop of items (0: one
     * thread does it all). They are FORs; the last may be a BLOCK over all values of an index. */
    statement *body;
    index_id split; /* GRAPH_INDICES: none */
    unsigned parallel_count;
    int64_t items; /* at most: fewer where an index among them has a range */
    int64_t work;  /* rough count of operations, to decide whether threads pay */
    /* PRODUCT: for each batch item */
    matrix_product *product;
    axis_order batch; /* items is the product of their extents */
    /* BLOCKS */
    index_id index;
    int64_t block;
    node lo, hi;
    bool once;
    uint32_t inside;
    /* the indices that enclosing BLOCKS give a range, outermost first */
    axis_order ranged;
    /* nodes that have a buffer of their own in this step (of BLOCKS: in those inside) */
    placement *local;
    uint32_t local_count;
    char *note; /* what the scheduler decided, lines of text; NULL: nothing; freed with the schedule */
} step;

typedef struct schedule {
    const graph *graph;
    buffer *buffer;
    uint32_t buffer_count;
    uint32_t *buffer_of; /* for each node handle: its buffer or NO_BUFFER; TENSOR nodes have theirs */
    step *step;
    uint32_t step_count;
    uint64_t workspace; /* bytes */
    char *selections;   /* which are lists and which conditions, lines of text; NULL: there are none */
    char *given_up;     /* what was wrong with a schedule that fuses more; NULL: nothing */
} schedule;

/* Makes s->buffer_of what it is in step `number`, and what it was before. Every walk over a step's nodes stands between
 * the two; steps inside BLOCKS stand inside those of the BLOCKS. */
void schedule_enter(schedule *s, uint32_t number);
void schedule_leave(schedule *s, uint32_t number);

#endif
