/* The tensor graph: what a spec means.
 *
 * Every node is an expression over named index variables. Its *free* indices are the ones its value
 * depends on; a node with free indices {b,t} is a tensor with those two axes, and no node has an axis
 * order: layout is a decision of the scheduler. A reduction binds indices; a gather substitutes index
 * expressions for indices (simultaneously, with the meaning of an explicit substitution: the body is
 * evaluated where each substituted index has the value of its expression and the others keep theirs).
 * A definition `k[b,s,e] = …` is just a name for its node; `k[b,s,e]` is the node itself and `k[b,t,e]`
 * is GATHER(k, s := t).
 *
 * Nodes are hash-consed: equal structure is the same handle. Construction folds constants and applies
 * the unit laws, so `graph_mul(g, x, one)` is `x`. All handles of one graph live in one pool and are
 * freed with it. Nothing here fails except for lack of memory, which ends the process with exit code 3,
 * and misuse, which an assert catches: the checker has seen to types and index ranges before. */
#ifndef ATTNC_GRAPH_H
#define ATTNC_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct graph graph;
typedef uint32_t node;      /* handle; 0 is no node */
typedef uint8_t index_id;   /* an index variable; at most GRAPH_INDICES in a graph */
typedef uint64_t index_set; /* bit i: index variable i */

enum { GRAPH_INDICES = 64, NODE_NONE = 0 };

typedef enum value_type { TYPE_BOOL, TYPE_INT, TYPE_FLOAT } value_type;

typedef enum node_op {
    NODE_INVALID,
    NODE_FLOAT,  /* constant: number */
    NODE_INT,    /* constant: integer; a BOOL constant has type TYPE_BOOL and integer 0 or 1 */
    NODE_INDEX,  /* the value of an index variable: vars has its one bit */
    NODE_TENSOR, /* an interface tensor, at its own indices: tensor is its number */
#define OP(name, text, arity, result) NODE_##name,
#include "ops.def"
#undef OP
    NODE_REDUCE,   /* children: domain (BOOL), body; vars bound; reduction. The body counts only where the
                      domain holds; over an empty domain the value is the reduction's identity */
    NODE_GATHER,   /* children: body, then one INT expression for each substituted index, in the order of
                      substituted[]. Where an expression is outside its index's range the value is 0 */
    NODE_SCAN,     /* children: the n initial states, then the n bodies of the scan's states. State number scan_state
                      after step `scan_index`; see graph_scan_group */
    NODE_PREVIOUS, /* inside a scan's bodies: state number scan_state before this step; scan_label says whose */
    NODE_TOPK,     /* children: domain, score. BOOL: is the value at scan_index among the `integer` largest
                      scores over that index, within the domain? Of equal scores the lower index wins */
    NODE_SOLVE,    /* children: matrix, rhs. FLOAT: x with x[row] = rhs[row] + sum over column < row of
                      matrix[row, column] x[column]; with reverse, over column > row. row is scan_index, vars has
                      column's one bit, which the matrix alone has and the value has not. Elsewhere the matrix does not
                      count */
    NODE_RANDOM,   /* FLOAT, uniform in [0,1): element (vars, row-major in order of index_id) of the random
                      tensor number `integer`, a pure function of the run's seed */
    /* In schedules only (tile.h): */
    NODE_CHOSEN, /* children: domain, score. INT: the positions at which the TOPK of the same children, scan_index and
                    `integer` holds, as a list in ascending order: the one numbered r, the value of the index in vars,
                    which has `integer` values. scan_index's extent where there are not so many */
    NODE_BEGIN,  /* INT: the first value of the range that the index scan_index has where this stands */
    NODE_END,    /* INT: the one after its last value */
    NODE_HELD    /* what a kernel keeps from one step to the next, at the indices vars; number `integer` */
} node_op;

typedef enum reduction { REDUCE_SUM, REDUCE_PRODUCT, REDUCE_MAX, REDUCE_MIN, REDUCE_ANY, REDUCE_ALL } reduction;

/* What a node is, by value. `child` and `substituted` point into the graph's pool and stay valid until
 * the graph is freed (they may move when nodes are added: fetch the view again after building). */
typedef struct node_view {
    node_op op;
    value_type type;
    index_set free; /* indices that the value depends on */
    unsigned child_count;
    const node *child;
    index_set vars;              /* INDEX, REDUCE, SOLVE, CHOSEN, RANDOM, HELD */
    reduction reduction;         /* REDUCE */
    index_id scan_index;         /* SCAN, PREVIOUS, TOPK, SOLVE, CHOSEN, BEGIN, END */
    bool reverse;                /* SCAN, PREVIOUS, SOLVE: from the last index value down to 0 */
    uint32_t scan_label;         /* SCAN, PREVIOUS: which scan */
    uint32_t scan_state;         /* SCAN, PREVIOUS: which of its states, from 0 */
    uint32_t tensor;             /* TENSOR */
    const index_id *substituted; /* GATHER: child_count - 1 of them */
    double number;               /* FLOAT */
    int64_t integer;             /* INT, TOPK, CHOSEN (how many), RANDOM, HELD (which) */
} node_view;

graph *graph_new(void);
void graph_free(graph *g);
node_view graph_view(const graph *g, node n);
size_t graph_node_count(const graph *g); /* handles are 1 … count; children have lower handles, except
                                            that a PREVIOUS does not name its scan */

/* Index variables. The same name and extent is the same variable. Returns GRAPH_INDICES when all are taken. */
index_id graph_index(graph *g, const char *name, int64_t extent);
index_id graph_fresh_index(graph *g, index_id like); /* same extent, new name; reused when `like`'s fresh twin exists */
const char *graph_index_name(const graph *g, index_id i);
int64_t graph_index_extent(const graph *g, index_id i);
unsigned graph_index_count(const graph *g);
int64_t graph_space(const graph *g, index_set set); /* product of the extents, saturating at INT64_MAX */

/* The name that a spec gives a node, for people who read: the first one stays. NULL: none. */
void graph_name_node(graph *g, node n, const char *name); /* copies */
const char *graph_node_name(const graph *g, node n);

/* Why nodes exist. From this call until the next, new nodes are made for the reason `why`, a number that reasons.h
 * gives a meaning, because of the node `about` (NODE_NONE: of none). A node keeps the reason it was first made for;
 * what a spec says has the reason 0. */
void graph_because(graph *g, uint16_t why, node about);
uint16_t graph_reason(const graph *g, node n, node *about); /* about may be NULL */

/* What passes decided about the graph, for people who read its schedule: lines of text, each with its end. */
void graph_add_note(graph *g, const char *text);
const char *graph_notes(const graph *g);

/* The index that a spec declares its outputs causal in: what stands at one of its values depends on no input at a
 * later one. GRAPH_INDICES: none. */
void graph_set_causal(graph *g, index_id i);
index_id graph_causal(const graph *g);

/* Interface tensors: what a run is given and what persists between runs. */
typedef enum tensor_kind { TENSOR_INPUT, TENSOR_PARAMETER, TENSOR_STATE } tensor_kind;
typedef enum initialiser {
    INIT_ZEROS,           /* also every optimizer state, unless a constant is given */
    INIT_CONSTANT,        /* argument[0] */
    INIT_NORMAL,          /* mean argument[0], standard deviation argument[1] */
    INIT_UNIFORM,         /* between argument[0] and argument[1] */
    INIT_LOG_UNIFORM,     /* log of uniform(argument[0], argument[1]) */
    INIT_INVERSE_SOFTPLUS /* log(exp(u) - 1), u log-uniform between argument[0] and argument[1]: Mamba's time step */
} initialiser;

enum { TENSOR_RANK = 16 };
typedef struct tensor {
    char *name; /* qualified: layer0.attention.Wq */
    tensor_kind kind;
    value_type type; /* TYPE_FLOAT or TYPE_INT */
    int64_t below;   /* INT: values are in [0, below) */
    unsigned rank;
    index_id index[TENSOR_RANK]; /* row-major: the last is contiguous; distinct */
    int64_t extent[TENSOR_RANK];
    int64_t elements;
    initialiser init;
    double argument[2];
    char *group;     /* PARAMETER: embedding, attention, feedforward, other */
    uint32_t parent; /* STATE: the parameter it belongs to */
    node node;       /* its NODE_TENSOR */
} tensor;

/* Copies the strings; fills node, extent and elements. Returns the tensor's number. */
uint32_t graph_add_tensor(graph *g, const tensor *t);
uint32_t graph_tensor_count(const graph *g);
bool graph_has_tensor(const graph *g, const char *name);
const tensor *graph_tensor(const graph *g, uint32_t number);

/* Results. An output's axes are in the order given (row-major, last contiguous); a node that does not
 * depend on one of them is repeated along it. BOOL results are stored as 0 and 1, INT and BOOL both as float. */
typedef enum output_kind { OUTPUT_VALUE, OUTPUT_LOSS, OUTPUT_GRADIENT, OUTPUT_UPDATE } output_kind;
typedef struct output {
    char *name;
    output_kind kind;
    uint32_t tensor; /* GRADIENT, UPDATE: of which tensor */
    unsigned rank;
    index_id index[TENSOR_RANK];
    int64_t elements;
    node node;
} output;

uint32_t graph_add_output(graph *g, const output *o); /* copies the name, fills elements */
uint32_t graph_output_count(const graph *g);
const output *graph_output(const graph *g, uint32_t number);
void graph_drop_outputs(graph *g, output_kind kind); /* renumbers the others */
void graph_set_output_node(graph *g, uint32_t number, node n);

/* Construction. Operands of pointwise operations are promoted (INT to FLOAT) where types differ;
 * operations that are FLOAT by nature promote their operands. */
node graph_float(graph *g, double value);
node graph_int(graph *g, int64_t value);
node graph_bool(graph *g, bool value);
node graph_index_value(graph *g, index_id i);
node graph_pointwise(graph *g, node_op op, node a, node b, node c); /* NODE_NONE where the arity ends */
node graph_add(graph *g, node a, node b);
node graph_sub(graph *g, node a, node b);
node graph_mul(graph *g, node a, node b);
node graph_div(graph *g, node a, node b);
node graph_neg(graph *g, node a);
node graph_select(graph *g, node condition, node then, node otherwise);
node graph_and(graph *g, node a, node b);
node graph_reduce(graph *g, reduction r, index_set vars, node domain, node body); /* domain NODE_NONE: all */
node graph_gather(graph *g, node body, unsigned count, const index_id *substituted, const node *expression);
node graph_topk(graph *g, index_id over, node domain, node score, int64_t k);
/* The unit triangular system (I - L) x = rhs, where L is the strictly lower part of the matrix, with `reverse` the
 * strictly upper one. row and column are two indices of one extent; rhs does not depend on column. */
node graph_solve(graph *g, index_id row, index_id column, bool reverse, node matrix, node rhs);
index_id graph_solve_column(const graph *g, node solve);
/* As many as `place` has values; children that do not depend on `place`. */
node graph_chosen(graph *g, index_id over, index_id place, node domain, node score);
bool graph_selects(node_op op);      /* TOPK or CHOSEN */
uint32_t graph_new_random(graph *g); /* a number that no random tensor of this graph has */
node graph_random(graph *g, uint32_t number, index_set vars);
node graph_begin(graph *g, index_id i);
node graph_end(graph *g, index_id i);
node graph_new_held(graph *g, index_set vars, value_type type); /* unlike every other */

/* A scan over index i of n >= 1 states, each with indices and a type of its own, which may read each other. First
 * graph_new_scan makes a label and graph_scan_state, for every number below n, the leaf that stands for that state
 * before the step (its free indices are state ∪ {i}; `state` is the state's indices without i; index and direction are
 * those of all states of a label); then build the bodies from the leaves; then graph_scan_group closes the scan. A body
 * is a state after the step; all are computed from the states before it, so one that wants another's new value contains
 * the other's body. At the first step (index 0, or the last when reverse) the states before it are `init`, which must
 * not depend on i. A body has no other indices than its state and i. previous[], init[], body[] and scan[] are in order
 * of the states' numbers; scan[] receives consecutive handles. */
uint32_t graph_new_scan(graph *g);
node graph_scan_state(graph *g, uint32_t label, unsigned number, index_id i, bool reverse, index_set state,
                      value_type type);
void graph_scan_group(graph *g, unsigned count, const node *previous, const node *init, const node *body, node *scan);
/* The same for one state. */
node graph_previous(graph *g, index_id i, bool reverse, index_set state, value_type type);
node graph_scan(graph *g, node previous, node init, node body);
/* A state before each step, seen from outside: init at the first, the scan's value one step earlier elsewhere. */
node graph_scan_before(graph *g, node scan);
/* Does n contain a state before a step whose scan it does not contain, so that it means something only inside that
 * scan's bodies? */
bool graph_is_open(const graph *g, node n);
/* Of a SCAN, its own state's. */
node graph_scan_init(const graph *g, node scan);
node graph_scan_body(const graph *g, node scan);
/* By label, from 1 to graph_scan_labels: how many states, and their nodes. */
uint32_t graph_scan_labels(const graph *g);
unsigned graph_scan_states(const graph *g, uint32_t label);
node graph_scan_leaf(const graph *g, uint32_t label, unsigned number); /* its PREVIOUS */
node graph_scan_node(const graph *g, uint32_t label, unsigned number); /* its SCAN; NODE_NONE while it is not closed */

bool graph_is_constant(const graph *g, node n, double *value); /* any type, numeric value in *value if not NULL */
bool graph_is_guarded(const graph *g, node n);                 /* a SELECT that is 0 where its condition fails */

int64_t graph_integer_below(double x); /* what TO_INT is */

const char *graph_op_name(node_op op);
unsigned graph_op_arity(node_op op); /* pointwise operations; 0 for others */
bool graph_op_is_pointwise(node_op op);

/* Checks every node reachable from the outputs: types, free sets, children, scans closed. Writes the first
 * violation to `error` and returns false. */
bool graph_verify(const graph *g, char *error, size_t size);

/* The text form, one line a node, reachable from the outputs only. */
void graph_print(const graph *g, FILE *file);
/* The same, where `comment` prints the line of each node and what it has to add, without the line's end. */
typedef void graph_comment(void *context, node n, const char *line, FILE *file);
void graph_print_commented(const graph *g, FILE *file, graph_comment *comment, void *context);

#endif
