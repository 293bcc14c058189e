/* From a graph to steps: which nodes are stored, where, in which loops they are computed, and which sums of
 * products go to the matrix library. The emitter translates a schedule and decides nothing.
 *
 * Every kernel here is a plain loop nest over one stored node (a scan holds several); whatever is not stored
 * is computed where it is used. */
#ifndef ATTNC_SCHEDULE_H
#define ATTNC_SCHEDULE_H

#include "graph.h"

typedef enum element_type { ELEMENT_FLOAT, ELEMENT_INT32, ELEMENT_BOOL } element_type; /* 4, 4 and 1 bytes */

typedef enum buffer_place { PLACE_TENSOR, PLACE_OUTPUT, PLACE_WORKSPACE } buffer_place;

/* Where a node's value is stored: its axes, outermost first, with strides in elements. Indices of the node that
 * are no axis have extent 1. Loads and stores take the value of each axis's index at the point of use. */
typedef struct buffer {
    buffer_place place;
    uint32_t number; /* of the tensor or output */
    element_type element;
    unsigned rank;
    index_id axis[TENSOR_RANK];
    int64_t stride[TENSOR_RANK];
    int64_t elements;
    uint64_t offset;              /* PLACE_WORKSPACE: bytes, a multiple of 64 */
    uint32_t first_use, last_use; /* steps */
} buffer;

enum { NO_BUFFER = UINT32_MAX };

typedef enum statement_kind {
    STATEMENT_FOR,    /* body once for each value of `index` */
    STATEMENT_STORE,  /* target[…] = value */
    STATEMENT_REDUCE, /* target[…] = reduction over `vars` (innermost last) of body where domain, held in a register */
    STATEMENT_ACCUMULATE, /* target[…] = target[…] op body where domain; see scatter */
    STATEMENT_TOPK        /* target[…, over, …] for all values of `over`: the TOPK node `value` */
} statement_kind;

typedef struct statement statement;
struct statement {
    statement_kind kind;
    statement *next; /* the statement after this one, in the same loop */
    /* FOR */
    index_id index;
    bool reverse;
    bool parallel; /* iterations write different elements */
    statement *body;
    /* the others */
    uint32_t target;     /* buffer */
    node value;          /* STORE: the node; REDUCE, ACCUMULATE: the REDUCE node; TOPK: the TOPK node */
    reduction reduction; /* REDUCE, ACCUMULATE */
    unsigned var_count;  /* REDUCE: the loops it opens itself, outermost first */
    index_id var[GRAPH_INDICES];
    node domain; /* REDUCE, ACCUMULATE: NODE_NONE for all */
    node summand;
    /* ACCUMULATE: the element is the one where `scatter` has the value of `scatter_to`, an INT node; nothing happens
     * where that is outside the index's range. GRAPH_INDICES: no scatter. */
    index_id scatter;
    node scatter_to;
};

/* One matrix of a product: element (row, column) of batch item i is at
 * base(i) + row * row_stride + column * column_stride, where one of the strides is 1 (or its extent is 1)
 * and base(i) = sum over k of offset_stride[k] * offset[k], the INT nodes evaluated at the batch item. */
typedef struct matrix {
    uint32_t buffer;
    int64_t row_stride, column_stride;
    unsigned offset_count;
    node offset[TENSOR_RANK];
    int64_t offset_stride[TENSOR_RANK];
} matrix;

typedef enum step_kind { STEP_NEST, STEP_PRODUCT } step_kind;

typedef struct step {
    step_kind kind;
    node node; /* what it computes; for a scan, the scan */
    /* NEST. The work is divided among threads by ranges of items. Where split is an index, an item is one value of
     * it and every FOR over it, at whatever depth, runs over the thread's range only; otherwise the first
     * `parallel_count` FORs, each the only statement of the one before, are one flattened loop of items (0: one
     * thread does it all). */
    statement *body;
    index_id split; /* GRAPH_INDICES: none */
    unsigned parallel_count;
    int64_t items;
    int64_t work; /* rough count of operations, to decide whether threads pay */
    /* PRODUCT: for each batch item C = A · B (A rows × inner, B inner × columns); C has column_stride 1 */
    matrix a, b, c;
    int64_t rows, columns, inner;
    unsigned batch_count;
    index_id batch[GRAPH_INDICES]; /* outermost first; items is the product of their extents */
} step;

typedef struct schedule {
    const graph *graph;
    buffer *buffer;
    uint32_t buffer_count;
    uint32_t *buffer_of; /* for each node handle: its buffer or NO_BUFFER; TENSOR nodes have theirs */
    step *step;
    uint32_t step_count;
    uint64_t workspace; /* bytes */
} schedule;

/* Needs a verified graph without STOP of consequence (a STOP is computed as its operand). Never fails. Adds nodes to
 * the graph (operands of products), which changes no meaning; the graph must outlive the schedule. */
schedule *schedule_graph(graph *g, bool share_workspace);
void schedule_free(schedule *s);
void schedule_print(const schedule *s, FILE *file);

#endif
