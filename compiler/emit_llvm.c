/* Kernels, one function for each step (steps that are the same share one), and the entry point that runs them in
 * order, in threads where the work pays for it. */
#include "emit_internal.h"

#include <stdlib.h>
#include <string.h>

enum { THREAD_WORK = 60000 }; /* rough operations below which one thread is faster */

static void *get(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

/* Parameters of the kernel being emitted */

unsigned emit_parameter_count(const emitter *e) {
    return e->buffer_count + 3 + 2 * e->ranged->rank + e->random_count;
}

static LLVMTypeRef element_type_of(const emitter *e, const buffer *b) {
    return b->element == ELEMENT_BOOL ? e->i8 : b->element == ELEMENT_INT32 ? e->i32 : e->f32;
}

LLVMValueRef emit_scratch(emitter *e, LLVMTypeRef type, int64_t count, const char *name) {
    LLVMBasicBlockRef here  = LLVMGetInsertBlock(e->builder);
    LLVMBasicBlockRef first = LLVMGetEntryBasicBlock(e->function);
    LLVMValueRef start      = LLVMGetFirstInstruction(first);
    if (start)
        LLVMPositionBuilderBefore(e->builder, start);
    LLVMValueRef scratch = LLVMBuildAlloca(e->builder, LLVMArrayType2(type, (uint64_t)count), name);
    LLVMSetAlignment(scratch, 64);
    LLVMPositionBuilderAtEnd(e->builder, here);
    return scratch;
}

/* What the entry point has of a buffer. */
static LLVMValueRef buffer_pointer(emitter *e, uint32_t number) {
    const buffer *b = &e->s->buffer[number];
    if (b->place == PLACE_WORKSPACE) {
        LLVMValueRef offset = emit_int(e, (int64_t)b->offset);
        return LLVMBuildInBoundsGEP2(e->builder, e->i8, LLVMGetParam(e->entry, 2), &offset, 1, "");
    }
    LLVMValueRef at    = emit_int(e, b->number);
    LLVMValueRef place = LLVMBuildInBoundsGEP2(e->builder, e->pointer,
                                               LLVMGetParam(e->entry, b->place == PLACE_TENSOR ? 0 : 1), &at, 1, "");
    return LLVMBuildLoad2(e->builder, e->pointer, place, "");
}

LLVMValueRef emit_buffer(emitter *e, uint32_t number) {
    const buffer *b = &e->s->buffer[number];
    if (e->function == e->entry)
        return buffer_pointer(e, number);
    if (b->place != PLACE_TILE)
        return LLVMGetParam(e->function, e->parameter_of[number]);
    LLVMValueRef *tile = &e->tile[e->parameter_of[number]];
    if (!*tile)
        *tile = emit_scratch(e, element_type_of(e, b), b->elements, "tile");
    return *tile;
}

LLVMValueRef emit_lo(emitter *e) {
    return LLVMGetParam(e->function, e->buffer_count);
}

LLVMValueRef emit_hi(emitter *e) {
    return LLVMGetParam(e->function, e->buffer_count + 1);
}

LLVMValueRef emit_seed(emitter *e) {
    return e->function == e->entry ? LLVMGetParam(e->entry, 3) : LLVMGetParam(e->function, e->buffer_count + 2);
}

LLVMValueRef emit_random_number(emitter *e, uint32_t number) {
    for (unsigned i = 0; i < e->random_count && e->function != e->entry; i++)
        if (e->random[i] == number)
            return LLVMGetParam(e->function, e->buffer_count + 3 + 2 * e->ranged->rank + i);
    return LLVMConstInt(e->i32, number, false);
}

/* Kernels */

static environment kernel_environment(emitter *e) {
    environment at = {0};
    emit_new_point(e, &at);
    emit_open_single(e, &at); /* indices of extent 1 have no loops */
    for (unsigned i = 0; i < e->ranged->rank; i++) {
        index_id index  = e->ranged->index[i];
        at.begin[index] = LLVMGetParam(e->function, e->buffer_count + 3 + 2 * i);
        at.end[index]   = LLVMGetParam(e->function, e->buffer_count + 4 + 2 * i);
    }
    return at;
}

/* The indices whose values are a step's items. */
static axis_order items_of(const step *t) {
    axis_order order = {0};
    if (t->kind == STEP_PRODUCT)
        return t->batch;
    if (t->split != GRAPH_INDICES)
        return (axis_order){1, {t->split}};
    const statement *s = t->body;
    for (unsigned i = 0; i < t->parallel_count && s->kind == STATEMENT_FOR; i++, s = s->body)
        order.index[order.rank++] = s->index;
    return order;
}

/* The blocks that are a step's items together with the values of those indices; NULL: none are. */
static const statement *blocks_of(const step *t) {
    const statement *s = t->kind == STEP_NEST && t->split == GRAPH_INDICES ? t->body : NULL;
    for (unsigned i = 1; s && i < t->parallel_count; i++)
        s = s->body;
    return s && t->parallel_count && s->kind == STATEMENT_BLOCK ? s : NULL;
}

static int64_t block_count(const emitter *e, const statement *blocks) {
    return blocks ? (graph_index_extent(e->g, blocks->index) + blocks->block - 1) / blocks->block : 1;
}

/* Blocks from both ends in turn: where work grows with the row, as under a causal mask, every range of items then has
 * its share of it. */
static LLVMValueRef alternating(emitter *e, LLVMValueRef number, LLVMValueRef count) {
    LLVMBuilderRef l  = e->builder;
    LLVMValueRef half = LLVMBuildLShr(l, number, emit_int(e, 1), "");
    LLVMValueRef odd  = LLVMBuildTrunc(l, number, e->i1, "");
    LLVMValueRef last = LLVMBuildNSWSub(l, count, emit_int(e, 1), "");
    return LLVMBuildSelect(l, odd, LLVMBuildNSWSub(l, last, half, ""), half, "");
}

/* Items lo to hi, each the place of one element of their space. */
static void items_kernel(emitter *e, const step *t) {
    environment at   = kernel_environment(e);
    axis_order order = items_of(t);
    loop l           = emit_open(e, emit_lo(e), emit_hi(e), NULL);
    unsigned parts   = emit_product_parts(e, t);
    LLVMValueRef all = emit_int(e, parts), item = l.counter;
    if (parts > 1)
        item = LLVMBuildUDiv(e->builder, item, all, "");
    const statement *blocks = blocks_of(t);
    if (blocks) {
        LLVMValueRef count = emit_int(e, block_count(e, blocks));
        LLVMValueRef which = alternating(e, LLVMBuildURem(e->builder, item, count, ""), count);
        emit_enter_block(e, &at, blocks->index, blocks->block, which);
        item = LLVMBuildUDiv(e->builder, item, count, "");
    }
    emit_open_item(e, &at, &order, item);
    if (t->kind == STEP_PRODUCT) {
        LLVMValueRef part = parts > 1 ? LLVMBuildURem(e->builder, l.counter, all, "") : NULL;
        emit_product(e, &at, t->product, part, parts);
    } else {
        const statement *s = t->body;
        for (unsigned i = 0; i < t->parallel_count; i++)
            s = s->body;
        emit_statements(e, &at, s);
    }
    emit_close(e, &l, NULL);
}

static void whole_kernel(emitter *e, const step *t) {
    environment at = kernel_environment(e);
    if (t->split != GRAPH_INDICES) {
        e->split_begin = emit_begin(e, &at, t->split);
        e->split_end   = emit_end(e, &at, t->split);
    }
    emit_statements(e, &at, t->body);
}

/* Kernels that are the same */

typedef struct kernel {
    char *key;
    LLVMValueRef function, task;
} kernel;

typedef struct program {
    emitter e;
    kernel *kernel;
    size_t kernel_count;
    const char *cpu, *features;
    LLVMValueRef words; /* what a task is given */
} program;

enum { WORDS = 4096 };

static void set_attribute(emitter *e, LLVMValueRef function, const char *name, const char *value) {
    LLVMAddAttributeAtIndex(
        function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
        LLVMCreateStringAttribute(e->context, name, (unsigned)strlen(name), value, (unsigned)strlen(value)));
}

static void set_enum_attribute(emitter *e, LLVMValueRef function, LLVMAttributeIndex index, const char *name) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(function, index, LLVMCreateEnumAttribute(e->context, kind, 0));
}

static void set_target(program *p, LLVMValueRef function) {
    set_attribute(&p->e, function, "target-cpu", p->cpu);
    set_attribute(&p->e, function, "target-features", p->features);
    set_attribute(&p->e, function, "prefer-vector-width", "512");
    set_enum_attribute(&p->e, function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, "nounwind");
}

/* Word 0 is the number of items, of which the task makes lo and hi. */
static unsigned parameter_of_word(const emitter *e, unsigned word) {
    if (word == 1)
        return e->buffer_count + 2;
    return word < e->buffer_count + 2 ? word - 2 : word + 1;
}

/* A task is what a thread runs: it takes its share of the items and calls the kernel. Its argument is an array of
 * 64-bit words: items, seed, then the other parameters of the kernel in their order. */
static LLVMValueRef add_task(program *p, LLVMValueRef function) {
    emitter *e        = &p->e;
    LLVMTypeRef type  = LLVMFunctionType(e->empty, &e->pointer, 1, false);
    LLVMValueRef task = LLVMAddFunction(e->module, "task", type);
    LLVMSetLinkage(task, LLVMInternalLinkage);
    set_target(p, task);
    LLVMPositionBuilderAtEnd(e->builder, LLVMAppendBasicBlockInContext(e->context, task, ""));
    unsigned count         = emit_parameter_count(e);
    LLVMValueRef data      = LLVMGetParam(task, 0);
    LLVMValueRef *argument = get(count, sizeof *argument);
    LLVMTypeRef *types     = get(count, sizeof *types);
    LLVMGetParamTypes(LLVMGlobalGetValueType(function), types);
    LLVMValueRef me =
        LLVMBuildSExt(e->builder, emit_external(e, "omp_get_thread_num", e->i32, NULL, NULL, 0), e->i64, "");
    LLVMValueRef all =
        LLVMBuildSExt(e->builder, emit_external(e, "omp_get_num_threads", e->i32, NULL, NULL, 0), e->i64, "");
    LLVMValueRef items = LLVMBuildLoad2(e->builder, e->i64, data, "");
    LLVMValueRef after = LLVMBuildAdd(e->builder, me, emit_int(e, 1), "");
    for (unsigned i = 0; i + 2 < count; i++) {
        LLVMValueRef at    = emit_int(e, (int64_t)i + 1);
        LLVMValueRef place = LLVMBuildInBoundsGEP2(e->builder, e->i64, data, &at, 1, "");
        unsigned to        = parameter_of_word(e, i + 1);
        argument[to]       = LLVMBuildLoad2(e->builder, types[to], place, "");
    }
    argument[e->buffer_count]     = LLVMBuildSDiv(e->builder, LLVMBuildMul(e->builder, items, me, ""), all, "");
    argument[e->buffer_count + 1] = LLVMBuildSDiv(e->builder, LLVMBuildMul(e->builder, items, after, ""), all, "");
    LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(function), function, argument, count, "");
    LLVMBuildRetVoid(e->builder);
    free(argument);
    free(types);
    return task;
}

static kernel *kernel_of(program *p, const step *t) {
    emitter *e = &p->e;
    e->ranged  = &t->ranged;
    char *key  = emit_key(e, t);
    for (size_t i = 0; i < p->kernel_count; i++)
        if (strcmp(p->kernel[i].key, key) == 0) {
            free(key);
            return &p->kernel[i];
        }
    kernel *k          = &p->kernel[p->kernel_count++];
    unsigned count     = emit_parameter_count(e);
    LLVMTypeRef *types = get(count, sizeof *types);
    for (unsigned i = 0; i < count; i++)
        types[i] = i < e->buffer_count ? e->pointer : i < count - e->random_count ? e->i64 : e->i32;
    char name[32];
    snprintf(name, sizeof name, "kernel%zu", p->kernel_count);
    k->key      = key;
    k->function = e->function = LLVMAddFunction(e->module, name, LLVMFunctionType(e->empty, types, count, false));
    free(types);
    LLVMSetLinkage(e->function, LLVMInternalLinkage);
    set_target(p, e->function);
    set_enum_attribute(e, e->function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, "noinline");
    for (unsigned i = 0; i < e->buffer_count; i++)
        set_enum_attribute(e, e->function, i + 1, "noalias");
    LLVMPositionBuilderAtEnd(e->builder, LLVMAppendBasicBlockInContext(e->context, e->function, ""));
    e->split = t->kind == STEP_NEST ? t->split : GRAPH_INDICES;
    if (t->kind == STEP_PRODUCT || t->split == GRAPH_INDICES)
        items_kernel(e, t);
    else
        whole_kernel(e, t);
    LLVMBuildRetVoid(e->builder);
    k->task = add_task(p, k->function);
    return k;
}

/* The entry point */

/* How many items a step has where the ranges are those of `at`. */
static LLVMValueRef item_count(emitter *e, const environment *at, const step *t) {
    axis_order order = items_of(t);
    bool ranged      = false;
    for (unsigned i = 0; i < order.rank; i++)
        ranged |= at->begin[order.index[i]] != NULL;
    LLVMValueRef items = ranged ? emit_length(e, at, &order) : emit_int(e, t->items);
    int64_t times      = ranged ? block_count(e, blocks_of(t)) : 1;
    return LLVMBuildMul(e->builder, items, emit_int(e, times * emit_product_parts(e, t)), "");
}

static void run_task(program *p, const kernel *k, LLVMValueRef *argument) {
    emitter *e     = &p->e;
    unsigned count = emit_parameter_count(e);
    for (unsigned i = 0; i + 1 < count && i < WORDS; i++) {
        LLVMValueRef number = emit_int(e, i);
        LLVMValueRef place  = LLVMBuildInBoundsGEP2(e->builder, e->i64, p->words, &number, 1, "");
        LLVMBuildStore(e->builder, argument[i ? parameter_of_word(e, i) : e->buffer_count + 1], place);
    }
    LLVMTypeRef type[4]   = {e->pointer, e->pointer, e->i32, e->i32};
    LLVMValueRef value[4] = {k->task, p->words, LLVMConstInt(e->i32, 0, false), LLVMConstInt(e->i32, 0, false)};
    emit_external(e, "GOMP_parallel", e->empty, type, value, 4);
}

static bool has_product(const statement *s) {
    for (; s; s = s->next)
        if (s->kind == STATEMENT_PRODUCT || has_product(s->body) || has_product(s->otherwise))
            return true;
    return false;
}

static void call_step(program *p, const environment *at, const step *t) {
    emitter *e             = &p->e;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->builder);
    const kernel *k        = kernel_of(p, t);
    LLVMPositionBuilderAtEnd(e->builder, here);
    e->function            = e->entry;
    unsigned count         = emit_parameter_count(e);
    LLVMValueRef *argument = get(count, sizeof *argument), *after = argument + e->buffer_count + 3;
    for (unsigned i = 0; i < e->buffer_count; i++)
        argument[i] = buffer_pointer(e, e->buffer[i]);
    argument[e->buffer_count]     = emit_int(e, 0);
    argument[e->buffer_count + 1] = item_count(e, at, t);
    argument[e->buffer_count + 2] = emit_seed(e);
    for (unsigned i = 0; i < t->ranged.rank; i++) {
        *after++ = emit_begin(e, at, t->ranged.index[i]);
        *after++ = emit_end(e, at, t->ranged.index[i]);
    }
    for (unsigned i = 0; i < e->random_count; i++)
        *after++ = LLVMConstInt(e->i32, e->random[i], false);
    bool threads = t->items > 1 && t->work > THREAD_WORK;
    /* The library divides a product among its threads where it is not called by one of ours, and adds up in an order
     * that depends on how many there are. */
    threads |= t->kind == STEP_PRODUCT || has_product(t->body);
    if (threads)
        run_task(p, k, argument);
    else
        LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(k->function), k->function, argument, count, "");
    free(argument);
}

static void run_steps(program *p, const environment *at, uint32_t from, uint32_t to);

static void run_blocks(program *p, const environment *at, uint32_t number) {
    emitter *e        = &p->e;
    const step *t     = &e->s->step[number];
    block_range range = {t->index, t->block, t->lo, t->hi, t->once, false};
    block_loop block  = emit_open_block(e, at, &range);
    schedule_enter(e->s, number);
    run_steps(p, &block.at, number + 1, number + 1 + t->inside);
    schedule_leave(e->s, number);
    emit_close_block(e, &block);
}

static void run_steps(program *p, const environment *at, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        const step *t = &p->e.s->step[i];
        if (t->kind == STEP_BLOCKS) {
            run_blocks(p, at, i);
            i += t->inside;
        } else {
            schedule_enter(p->e.s, i);
            call_step(p, at, t);
            schedule_leave(p->e.s, i);
        }
    }
}

LLVMModuleRef emit_program(schedule *s, LLVMContextRef context, const char *symbol, const char *cpu,
                           const char *features) {
    program p       = {.cpu = cpu, .features = features};
    emitter *e      = &p.e;
    e->s            = s;
    e->g            = s->graph;
    e->context      = context;
    e->module       = LLVMModuleCreateWithNameInContext(symbol, context);
    e->builder      = LLVMCreateBuilderInContext(context);
    e->f32          = LLVMFloatTypeInContext(context);
    e->i1           = LLVMInt1TypeInContext(context);
    e->i8           = LLVMInt8TypeInContext(context);
    e->i32          = LLVMInt32TypeInContext(context);
    e->i64          = LLVMInt64TypeInContext(context);
    e->pointer      = LLVMPointerTypeInContext(context, 0);
    e->empty        = LLVMVoidTypeInContext(context);
    size_t nodes    = graph_node_count(s->graph) + 1;
    e->parameter_of = get(s->buffer_count, sizeof *e->parameter_of);
    e->tile         = get(s->buffer_count, sizeof(LLVMValueRef));
    e->buffer       = get(s->buffer_count, sizeof *e->buffer);
    e->random       = get(nodes, sizeof *e->random);
    p.kernel        = get(s->step_count, sizeof *p.kernel);

    LLVMTypeRef type[4] = {e->pointer, e->pointer, e->pointer, e->i64};
    e->entry = e->function = LLVMAddFunction(e->module, symbol, LLVMFunctionType(e->i32, type, 4, false));
    set_target(&p, e->entry);
    LLVMPositionBuilderAtEnd(e->builder, LLVMAppendBasicBlockInContext(context, e->entry, ""));
    p.words        = LLVMBuildArrayAlloca(e->builder, e->i64, LLVMConstInt(e->i32, WORDS, false), "");
    environment at = {0};
    emit_open_single(e, &at);
    run_steps(&p, &at, 0, s->step_count);
    LLVMBuildRet(e->builder, LLVMConstInt(e->i32, 0, false));

    for (size_t i = 0; i < p.kernel_count; i++)
        free(p.kernel[i].key);
    free(p.kernel);
    free(e->parameter_of);
    free(e->tile);
    free(e->buffer);
    free(e->random);
    free(e->memo);
    free(e->substitution);
    LLVMDisposeBuilder(e->builder);
    return e->module;
}
