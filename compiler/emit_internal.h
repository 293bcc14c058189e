/* What the emitter's files share. emit_llvm.c: kernels and the entry point; emit_value.c: expressions; emit_math.c:
 * elementary functions; emit_topk.c: selection; emit_key.c: which kernels are the same. */
#ifndef ATTNC_EMIT_INTERNAL_H
#define ATTNC_EMIT_INTERNAL_H

#include "schedule.h"

#include <llvm-c/Core.h>

/* The values of index variables at a point of the program, and what is known of their range. */
typedef struct environment {
    LLVMValueRef value[GRAPH_INDICES]; /* i64; NULL: not open here */
    int64_t low[GRAPH_INDICES], high[GRAPH_INDICES];
    uint32_t stamp; /* expressions are remembered under it */
} environment;

typedef struct emitter {
    const schedule *s;
    const graph *g;
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    LLVMTypeRef f32, i1, i8, i32, i64, pointer, empty;
    /* the kernel being emitted */
    LLVMValueRef function;
    uint32_t *parameter_of; /* buffer: which pointer parameter it is, NO_BUFFER: none yet */
    uint32_t *buffer;       /* the buffers of the kernel, in order of parameter */
    unsigned buffer_count;
    uint32_t *random; /* numbers of random tensors, in order of parameter */
    unsigned random_count, random_capacity;
    uint32_t target; /* buffer being written by the statement: its node is computed, not loaded */
    node computing;
    index_id split;
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

/* Parameters of a kernel: its buffers, then lo, hi, seed, then the numbers of its random tensors. */
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

/* Elementary functions on float. */
LLVMValueRef emit_math(emitter *e, node_op op, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef emit_intrinsic(emitter *e, const char *name, LLVMValueRef *arguments, unsigned count);
LLVMValueRef emit_external(emitter *e, const char *name, LLVMTypeRef result, LLVMTypeRef *types,
                           LLVMValueRef *arguments, unsigned count);

/* Loops. open leaves the builder in the body; close goes on after it. */
typedef struct loop {
    LLVMBasicBlockRef header, exit;
    LLVMValueRef counter, accumulator; /* phi nodes; accumulator may be NULL */
    LLVMValueRef end;
} loop;
loop emit_open(emitter *e, LLVMValueRef begin, LLVMValueRef end, LLVMValueRef accumulator);
LLVMValueRef emit_close(emitter *e, loop *l, LLVMValueRef accumulator); /* the accumulator after the loop */

void emit_topk(emitter *e, environment *at, const statement *s);

/* The text that is the same for kernels that are the same but for their buffers and random numbers; fills e->buffer,
 * e->random in order of occurrence. Freed by the caller. */
char *emit_key(emitter *e, const step *t);

/* A whole program. */
LLVMModuleRef emit_program(const schedule *s, LLVMContextRef context, const char *symbol, const char *cpu,
                           const char *features);

#endif
