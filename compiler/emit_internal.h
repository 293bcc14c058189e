/* What the emitter's files share. emit_llvm.c: kernels and the entry point; emit_statement.c: what kernels are made of;
 * emit_range.c: loops, and blocks of indices; emit_product.c: products of matrices; emit_value.c: expressions;
 * emit_math.c: elementary functions; emit_topk.c: selection; emit_solve.c: triangular systems; emit_key.c: which
 * kernels are the same. */
#ifndef ATTNC_EMIT_INTERNAL_H
#define ATTNC_EMIT_INTERNAL_H

#include "schedule.h"

#include <llvm-c/Core.h>

/* A condition that holds in the ranges open here, and so does each part of it where it is a conjunction. */
typedef struct assumption {
    node holds;
    const struct assumption *outer;
} assumption;

/* The values of index variables at a point of the program, and what is known of them. */
typedef struct environment {
    LLVMValueRef value[GRAPH_INDICES];                     /* i64; NULL: not open here */
    int64_t low[GRAPH_INDICES], high[GRAPH_INDICES];       /* of all values of the index */
    LLVMValueRef begin[GRAPH_INDICES], end[GRAPH_INDICES]; /* the range that holds here, i64; NULL: all values */
    index_set displaced;     /* indices whose value a gather put in place of one in their range */
    const assumption *known; /* the innermost */
    uint32_t stamp;          /* expressions are remembered under it */
} environment;

typedef struct emitter {
    schedule *s;
    const graph *g;
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    LLVMTypeRef f32, i1, i8, i32, i64, pointer, empty;
    LLVMValueRef entry; /* the function that runs the steps */
    /* the kernel being emitted */
    LLVMValueRef function;
    uint32_t *parameter_of; /* buffer: which pointer parameter it is, or which tile; NO_BUFFER: none yet */
    uint32_t *buffer;       /* the buffers of the kernel, in order of parameter */
    unsigned buffer_count;
    LLVMValueRef *tile; /* by a tile's number in the kernel: where it is, NULL: nowhere yet */
    unsigned tile_count;
    const axis_order *ranged; /* indices whose range the kernel is given */
    uint32_t *random;         /* numbers of random tensors, in order of parameter */
    unsigned random_count, random_capacity;
    uint32_t target; /* buffer being written by the statement: its node is computed, not loaded */
    node computing;
    index_id split;
    LLVMValueRef split_begin, split_end; /* its range, of which lo and hi are a part */
    /* what was computed at a point: open addressing by (stamp, node); stamps are never used again */
    struct remembered {
        uint32_t stamp;
        node node;
        LLVMValueRef value;
    } * memo;
    size_t memo_count, memo_size;
    uint32_t stamps;
    /* the environments that gathers made at this point, so that the same substitution is the same place */
    struct substitution {
        uint32_t outer, inner;
        unsigned count;
        index_id index[TENSOR_RANK];
        LLVMValueRef value[TENSOR_RANK];
    } * substitution;
    unsigned substitution_count, substitution_room;
} emitter;

/* Parameters of a kernel: its buffers, then lo, hi, seed, then where the range of each ranged index begins and ends,
 * then the numbers of its random tensors. */
unsigned emit_parameter_count(const emitter *e);
LLVMValueRef emit_buffer(emitter *e, uint32_t number);
LLVMValueRef emit_lo(emitter *e);
LLVMValueRef emit_hi(emitter *e);
LLVMValueRef emit_seed(emitter *e);
LLVMValueRef emit_random_number(emitter *e, uint32_t number);

LLVMValueRef emit_int(emitter *e, int64_t value);             /* i64 */
void emit_new_point(emitter *e, environment *at);             /* forget remembered expressions */
LLVMValueRef emit_value(emitter *e, environment *at, node n); /* float, i64 or i1 */
LLVMValueRef emit_address(emitter *e, const environment *at, uint32_t buffer_number);
void emit_store(emitter *e, const environment *at, uint32_t buffer_number, LLVMValueRef value);
LLVMValueRef emit_load(emitter *e, const environment *at, uint32_t buffer_number, value_type type);
bool emit_affine(emitter *e, environment *at, node n, index_id var, int *coefficient, LLVMValueRef *rest);

/* Memory of `count` numbers, taken once per call of the kernel. */
LLVMValueRef emit_scratch(emitter *e, LLVMTypeRef type, int64_t count, const char *name);

/* Elementary functions on float. */
LLVMValueRef emit_math(emitter *e, node_op op, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef emit_intrinsic(emitter *e, const char *name, LLVMValueRef *arguments, unsigned count);
LLVMValueRef emit_sum(emitter *e, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef emit_difference(emitter *e, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef emit_external(emitter *e, const char *name, LLVMTypeRef result, LLVMTypeRef *types,
                           LLVMValueRef *arguments, unsigned count);

bool emit_is_known(const emitter *e, const environment *at, node n); /* assumed to hold */

/* Loops. open leaves the builder in the body; close goes on after it. */
typedef struct loop {
    LLVMBasicBlockRef header, exit;
    LLVMValueRef counter, accumulator; /* phi nodes; accumulator may be NULL */
    LLVMValueRef end;
} loop;
loop emit_open(emitter *e, LLVMValueRef begin, LLVMValueRef end, LLVMValueRef accumulator);
LLVMValueRef emit_close(emitter *e, loop *l, LLVMValueRef accumulator); /* the accumulator after the loop */

/* An index, or those that have one value only, with a value from now on. */
void emit_open_index(emitter *e, environment *at, index_id index, LLVMValueRef value);
void emit_open_single(emitter *e, environment *at);

/* Ranges. Several indices have as many items as their ranges' lengths multiplied, the last one's values being next to
 * each other. */
LLVMValueRef emit_begin(emitter *e, const environment *at, index_id index);
LLVMValueRef emit_end(emitter *e, const environment *at, index_id index);
/* The values of an index that this thread goes through here. */
void emit_share(emitter *e, const environment *at, index_id index, LLVMValueRef *begin, LLVMValueRef *end);
LLVMValueRef emit_length(emitter *e, const environment *at, const axis_order *order);
void emit_open_item(emitter *e, environment *at, const axis_order *order, LLVMValueRef item);
LLVMValueRef emit_smaller(emitter *e, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef emit_larger(emitter *e, LLVMValueRef a, LLVMValueRef b);

/* Blocks of an index, as STATEMENT_BLOCK and STEP_BLOCKS have them. */
typedef struct block_range {
    index_id index;
    int64_t block;
    node lo, hi;
    bool once, reverse;
} block_range;
typedef struct block_loop {
    environment at; /* inside */
    loop loop;
    bool once;
} block_loop;
/* Block `number`, from 0, of those over all values of an index. */
void emit_enter_block(emitter *e, environment *at, index_id index, int64_t block, LLVMValueRef number);
block_loop emit_open_block(emitter *e, const environment *outside, const block_range *r);
void emit_close_block(emitter *e, block_loop *b);

void emit_statements(emitter *e, environment *at, const statement *list);
/* The product where its batch indices have the values of `at`: all of it (part NULL), or one of `parts` parts. */
void emit_product(emitter *e, const environment *at, const matrix_product *p, LLVMValueRef part, unsigned parts);
/* In how many parts a step's product is divided, however many threads there are. */
unsigned emit_product_parts(const emitter *e, const step *t);
void emit_topk(emitter *e, environment *at, const statement *s);
void emit_solve(emitter *e, environment *at, const statement *s);

/* emit_prefetch.c: at the beginning of the body of a loop that ends at `end`. */
void emit_ahead(emitter *e, const environment *at, const statement *s, LLVMValueRef end);

/* The text that is the same for kernels that are the same but for their buffers and random numbers; fills e->buffer,
 * e->random in order of occurrence and numbers the tiles. Freed by the caller. */
char *emit_key(emitter *e, const step *t);

/* A whole program. */
LLVMModuleRef emit_program(schedule *s, LLVMContextRef context, const char *symbol, const char *cpu,
                           const char *features);

#endif
