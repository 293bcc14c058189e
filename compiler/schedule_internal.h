/* What the scheduler's files share. schedule.c decides what is stored and in which order, schedule_layout.c in which
 * layout, schedule_product.c recognises products, schedule_nest.c writes loop nests, schedule_memory.c places buffers.
 */
#ifndef ATTNC_SCHEDULE_INTERNAL_H
#define ATTNC_SCHEDULE_INTERNAL_H

#include "node_map.h"
#include "schedule.h"

/* A sum recognised as a product of two matrices. */
typedef struct product {
    node factor[2]; /* operand nodes; factor[0] has the rows */
    index_set batch, rows, columns, inner;
} product;

/* Steps that walk together through blocks of one index, the row: what is too large to be stored whole is kept for one
 * block only. */
typedef struct region {
    uint32_t component; /* of the wide nodes that it keeps */
    unsigned level;     /* what regions of lower levels of this component compute, it may read */
    index_id row;
    int64_t block;
    node *inside; /* narrow nodes that it computes, in order of need */
    uint32_t inside_count;
    /* prices of one walk for all results and of a walk along another row for those without this one; 0: not asked */
    double together, apart;
    index_id other; /* the other row; GRAPH_INDICES: one walk is cheaper */
    bool done;
    bool split;          /* it waits for another that waits for it */
    const char *refused; /* why it is no kernel of tiles; NULL: not asked */
    node refused_by;
} region;

/* Sums that are made as others; the outputs as they were before. */
typedef struct scattered {
    size_t count;
    node *from, *to, *before;
} scattered;

typedef struct scheduler {
    schedule *s;
    const schedule_options *options;
    graph *g;
    size_t node_capacity;
    uint8_t *stored;   /* node: keeps its value in a buffer */
    uint8_t *done;     /* node: its steps are scheduled */
    uint32_t *inside;  /* node: label of the innermost scan whose state before the step it depends on; 0: none */
    product **product; /* node: how it is a product, NULL: it is not */
    size_t step_capacity, buffer_capacity;
    index_set fixed;    /* indices whose loops are open around the statement being written */
    index_set stepping; /* those of them that scans run over */
    /* Regions. */
    uint32_t *member;    /* node: number of the component of wide nodes that it belongs to; 0: none */
    uint32_t *region_of; /* node: number of the region that computes it, from 1; 0: none */
    uint8_t *root;       /* node: narrow, computed by a region from wide nodes */
    uint8_t *by_rows;    /* node: of those, one that is summed over rows and small enough to be made for each first */
    region *region;      /* from 1 */
    uint32_t region_count, component_count;
    size_t region_capacity;
    const region *open;    /* the region whose steps are being made */
    uint32_t open_buffers; /* buffers that there were before it */
    uint32_t open_step;    /* its BLOCKS step */
    axis_order ranged;     /* indices that have a range of their own there, outermost first */
    scattered *scattered;  /* where to note what should be one that adds to moved places; NULL: nowhere */
    /* Kernels: statements instead of steps. */
    statement **sink;             /* where they go; NULL: steps are made */
    index_set grid;               /* indices whose loops are open around the kernel's blocks */
    int64_t block[GRAPH_INDICES]; /* of tiles: how much of a ranged index they hold; 0: all */
    bool tiles;                   /* new buffers are tiles */
    bool growing;                 /* reductions add to what is there */
    bool whole;                   /* what is being made is stored for all rows */
    axis_order hint;              /* the order in which the reader of a node without loads walks */
} scheduler;

void *schedule_allocate(size_t count, size_t size);
node schedule_strip(const graph *g, node n); /* past STOPs */
bool schedule_is_new(node_map *met, node n); /* enters it */
bool schedule_is_leaf(node_op op);           /* cheap to repeat, no memory: constants and index values */
void schedule_fit_nodes(scheduler *c);       /* after nodes were added */
bool schedule_is_true(const graph *g, node domain);

/* Buffers. */
uint32_t schedule_add_buffer(scheduler *c, buffer_place place, uint32_t number, element_type element,
                             const axis_order *order);
step *schedule_add_step(scheduler *c);

/* Products. */
product *schedule_match_product(scheduler *c, node reduce);
/* Is a product in a step of a scan large enough for one? */
bool schedule_pays_in_step(const scheduler *c, index_set rows, index_set columns, index_set inner);
/* The product that one item of a grid makes in such a step. */
product schedule_product_of_item(const product *p, index_set grid);
void schedule_emit_product(scheduler *c, node n, uint32_t forced_target);

/* Layouts. */
typedef struct load {
    uint32_t buffer;
    index_set unit;    /* indices that move this load by one element */
    index_set all;     /* indices the load depends on */
    index_set lists;   /* indices of lists of positions that it is made at */
    index_set by_list; /* all that such a list depends on */
    index_set rough;   /* indices that move this load, by more than one element */
    axis_order seen;   /* the buffer's axes as the reader's indices, where they are plain */
} load;
/* Calls `visit` for every load that computing n at its own indices makes, without n's own buffer. */
void schedule_visit_loads(const scheduler *c, node n, void (*visit)(void *, const load *), void *context);
axis_order schedule_order(const scheduler *c, node n, index_set axes);
index_set schedule_places(const graph *g, node at); /* the places of the list that an index expression is read from */
/* What n reads at the positions of lists: the places of these lists, what such reads have besides, and the indices of
 * all other reads. */
typedef struct list_reads {
    index_set places, beside, plain;
} list_reads;
list_reads schedule_list_reads(const scheduler *c, node n);
/* The index whose steps move the fewest loads by more than one element; of equal ones the longest. */
index_id schedule_smoothest(const scheduler *c, node n, index_set among);
index_id schedule_innermost(const scheduler *c, node n, index_set among, int64_t *vote);

/* Nests. */
void schedule_emit_nest(scheduler *c, node n, uint32_t forced_target);
void schedule_emit_copy(scheduler *c, node n, uint32_t target);
void schedule_emit_scan(scheduler *c, node n);
void schedule_emit_start(scheduler *c, node n, uint32_t target);
/* In a kernel: n at the indices that are not of its grid, into target; and one element stored as `value`. */
void schedule_emit_into(scheduler *c, node n, uint32_t target);
void schedule_emit_value(scheduler *c, node value, uint32_t target);
node schedule_identity(scheduler *c, node n);
/* Of a sum whose domain says `i == e`, with i an index of the result, and of `open`, that nothing else depends on: the
 * domain without that. NODE_NONE: n is no such sum. */
node schedule_scatter_rest(scheduler *c, node n, index_set open, index_id *scatter, node *to);
statement *schedule_statement(statement_kind kind);
/* The axes of what every step of the open scans uses anew: those of `axes` whose loops are open around the steps, each
 * item of which has its own, then `own`. Outside scans `own`. */
axis_order schedule_for_items(const scheduler *c, index_set axes, const axis_order *own);
statement *schedule_loops(const scheduler *c, const axis_order *order, bool parallel, statement *body);
void schedule_append(statement **list, statement *more);
axis_order schedule_layout(scheduler *c, node n, index_set axes);
unsigned schedule_own_cost(const graph *g, node n);
element_type schedule_element(value_type type);
void schedule_row_first(const scheduler *c, axis_order *order);

/* How many threads to plan for. */
int64_t schedule_workers(const scheduler *c);
/* Sums of what is wide that read it at moved places: the sum that n is then; NODE_NONE where n is none such. Those that
 * are found are noted, the outputs made with them instead, and restored in the end. */
node schedule_scattered(scheduler *c, node n);
void schedule_note_scattered(scheduler *c, node n);
void schedule_replace_outputs(graph *g, scattered *s);
void schedule_restore_outputs(graph *g, scattered *s);

/* Regions: what to keep for blocks only, found before anything is scheduled; and the steps of one. */
void schedule_find_regions(scheduler *c);
void schedule_open_region(scheduler *c, const region *r);
void schedule_close_region(scheduler *c);
/* The step made last stands before the open region's, outside its blocks. */
void schedule_move_outside(scheduler *c);
/* The same region as one kernel of tiles. False where it cannot be one: then nothing was made. */
bool schedule_make_kernel(scheduler *c, region *r);
/* Is the sum (or other reduction) n gathered from block to block of the open region? */
bool schedule_gathers(const scheduler *c, node n);
/* Calls `visit` for every stored node that computing n reads, past what region `number` keeps or computes. */
void schedule_visit_outside(const scheduler *c, uint32_t number, node n, void (*visit)(void *, node), void *context);

/* n as the schedule's text has it, not to any depth. */
void schedule_print_value(schedule *s, node n, FILE *file);
/* What choosing the walks of a region has cost, a line; nothing where there was no choice. */
void schedule_note_walks(const scheduler *c, const region *r, FILE *file);

void schedule_free_statements(statement *list);
void schedule_place(schedule *s, bool share);

#endif
