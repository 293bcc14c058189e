/* Kernels, one function for each step (steps that are the same share one), and the entry point that runs them in
 * order, in threads where the work pays for it. */
#include "emit_internal.h"

#include <stdlib.h>
#include <string.h>

enum { THREAD_WORK = 60000 }; /* rough operations below which one thread is faster */
enum {
    SMALL_PRODUCT = 200000000
}; /* operations of one matrix product above which the library's own threads share it */

static void *get(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

/* Parameters of the kernel being emitted */

LLVMValueRef emit_buffer(emitter *e, uint32_t number) {
    return LLVMGetParam(e->function, e->parameter_of[number]);
}

LLVMValueRef emit_lo(emitter *e) {
    return LLVMGetParam(e->function, e->buffer_count);
}

LLVMValueRef emit_hi(emitter *e) {
    return LLVMGetParam(e->function, e->buffer_count + 1);
}

LLVMValueRef emit_seed(emitter *e) {
    return LLVMGetParam(e->function, e->buffer_count + 2);
}

LLVMValueRef emit_random_number(emitter *e, uint32_t number) {
    for (unsigned i = 0; i < e->random_count; i++)
        if (e->random[i] == number)
            return LLVMGetParam(e->function, e->buffer_count + 3 + i);
    return LLVMConstInt(e->i32, number, false);
}

/* Loops */

loop emit_open(emitter *e, LLVMValueRef begin, LLVMValueRef end, LLVMValueRef accumulator) {
    loop l;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->builder);
    l.header                 = LLVMAppendBasicBlockInContext(e->context, e->function, "loop");
    l.exit                   = LLVMAppendBasicBlockInContext(e->context, e->function, "after");
    l.end                    = end;
    l.accumulator            = NULL;
    LLVMBuildCondBr(e->builder, LLVMBuildICmp(e->builder, LLVMIntSLT, begin, end, ""), l.header, l.exit);
    LLVMPositionBuilderAtEnd(e->builder, l.exit);
    if (accumulator) {
        LLVMValueRef result = LLVMBuildPhi(e->builder, LLVMTypeOf(accumulator), "");
        LLVMAddIncoming(result, &accumulator, &before, 1);
    }
    LLVMPositionBuilderAtEnd(e->builder, l.header);
    l.counter = LLVMBuildPhi(e->builder, e->i64, "");
    LLVMAddIncoming(l.counter, &begin, &before, 1);
    if (accumulator) {
        l.accumulator = LLVMBuildPhi(e->builder, LLVMTypeOf(accumulator), "");
        LLVMAddIncoming(l.accumulator, &accumulator, &before, 1);
    }
    return l;
}

LLVMValueRef emit_close(emitter *e, loop *l, LLVMValueRef accumulator) {
    LLVMBasicBlockRef last = LLVMGetInsertBlock(e->builder);
    LLVMValueRef next      = LLVMBuildNSWAdd(e->builder, l->counter, emit_int(e, 1), "");
    LLVMValueRef more      = LLVMBuildICmp(e->builder, LLVMIntSLT, next, l->end, "");
    LLVMBuildCondBr(e->builder, more, l->header, l->exit);
    LLVMAddIncoming(l->counter, &next, &last, 1);
    LLVMPositionBuilderAtEnd(e->builder, l->exit);
    if (!accumulator)
        return NULL;
    LLVMAddIncoming(l->accumulator, &accumulator, &last, 1);
    LLVMValueRef result = LLVMGetFirstInstruction(l->exit);
    LLVMAddIncoming(result, &accumulator, &last, 1);
    return result;
}

static void open_index(emitter *e, environment *at, index_id index, LLVMValueRef value) {
    at->value[index] = value;
    at->low[index]   = 0;
    at->high[index]  = graph_index_extent(e->g, index) - 1;
}

/* Reductions */

static LLVMValueRef identity(emitter *e, reduction r, value_type type) {
    switch (r) {
    case REDUCE_SUM:
        return type == TYPE_INT ? emit_int(e, 0) : LLVMConstReal(e->f32, 0);
    case REDUCE_PRODUCT:
        return type == TYPE_INT ? emit_int(e, 1) : LLVMConstReal(e->f32, 1);
    case REDUCE_MAX:
        return type == TYPE_INT ? emit_int(e, INT64_MIN) : LLVMConstReal(e->f32, -__builtin_inf());
    case REDUCE_MIN:
        return type == TYPE_INT ? emit_int(e, INT64_MAX) : LLVMConstReal(e->f32, __builtin_inf());
    default:
        return LLVMConstInt(e->i1, r == REDUCE_ALL, false);
    }
}

static LLVMValueRef combine(emitter *e, reduction r, LLVMValueRef a, LLVMValueRef b) {
    LLVMBuilderRef l     = e->builder;
    bool real            = LLVMTypeOf(a) == e->f32;
    LLVMValueRef both[2] = {a, b}, result;
    switch (r) {
    case REDUCE_SUM:
    case REDUCE_PRODUCT:
        if (!real)
            return r == REDUCE_SUM ? LLVMBuildAdd(l, a, b, "") : LLVMBuildMul(l, a, b, "");
        result = r == REDUCE_SUM ? LLVMBuildFAdd(l, a, b, "") : LLVMBuildFMul(l, a, b, "");
        /* several partial sums at once: the order of a reduction is ours to choose */
        LLVMSetFastMathFlags(result, LLVMFastMathAllowReassoc | LLVMFastMathNoSignedZeros | LLVMFastMathAllowContract);
        return result;
    case REDUCE_MAX:
    case REDUCE_MIN:
        if (real) /* NaN wins, as in the interpreter */
            return emit_intrinsic(e, r == REDUCE_MAX ? "llvm.maximum.f32" : "llvm.minimum.f32", both, 2);
        return LLVMBuildSelect(l, LLVMBuildICmp(l, r == REDUCE_MAX ? LLVMIntSGT : LLVMIntSLT, a, b, ""), a, b, "");
    case REDUCE_ANY:
        return LLVMBuildOr(l, a, b, "");
    default:
        return LLVMBuildAnd(l, a, b, "");
    }
}

/* Bounds of the innermost loop from the conjuncts of a domain that are affine in its index; what is left of the domain
 * is returned in rest[]. */
static void tighten(emitter *e, environment *at, node domain, index_id var, LLVMValueRef *lo, LLVMValueRef *hi,
                    node *rest, unsigned *count) {
    node_view v = graph_view(e->g, domain);
    /* one that is stored is loaded whole: the kernel has no parameters for what it is made of */
    if (v.op == NODE_AND && *count < 30 && e->s->buffer_of[domain] == NO_BUFFER) {
        node left = v.child[0], right = v.child[1];
        tighten(e, at, left, var, lo, hi, rest, count);
        tighten(e, at, right, var, lo, hi, rest, count);
        return;
    }
    LLVMValueRef x, y;
    int a, b;
    bool integers = (v.op == NODE_LESS || v.op == NODE_LESS_EQUAL) && graph_view(e->g, v.child[0]).type == TYPE_INT &&
                    (v.free >> var & 1);
    if (!integers || e->s->buffer_of[domain] != NO_BUFFER || !emit_affine(e, at, v.child[0], var, &a, &x) ||
        !emit_affine(e, at, v.child[1], var, &b, &y) || (a - b != 1 && b - a != 1)) {
        rest[(*count)++] = domain;
        return;
    }
    LLVMValueRef one = emit_int(e, v.op == NODE_LESS_EQUAL);
    LLVMValueRef both[2];
    if (a - b == 1) { /* var <= y - x */
        both[0] = *hi;
        both[1] = LLVMBuildAdd(e->builder, LLVMBuildSub(e->builder, y, x, ""), one, "");
        *hi     = emit_intrinsic(e, "llvm.smin.i64", both, 2);
    } else { /* var >= x - y */
        both[0] = *lo;
        both[1] = LLVMBuildAdd(e->builder, LLVMBuildSub(e->builder, LLVMBuildSub(e->builder, x, y, ""), one, ""),
                               emit_int(e, 1), "");
        *lo     = emit_intrinsic(e, "llvm.smax.i64", both, 2);
    }
}

static LLVMValueRef reduce_level(emitter *e, environment *at, const statement *s, unsigned level,
                                 LLVMValueRef accumulator) {
    index_id var    = s->var[level];
    LLVMValueRef lo = emit_int(e, 0), hi = emit_int(e, graph_index_extent(e->g, var));
    node rest[64];
    unsigned count = 0;
    bool innermost = level + 1 == s->var_count;
    if (innermost && s->domain) {
        emit_new_point(e, at);
        tighten(e, at, s->domain, var, &lo, &hi, rest, &count);
    }
    loop l = emit_open(e, lo, hi, accumulator);
    open_index(e, at, var, l.counter);
    LLVMValueRef next;
    if (!innermost) {
        next = reduce_level(e, at, s, level + 1, l.accumulator);
    } else {
        emit_new_point(e, at);
        LLVMValueRef condition = NULL;
        for (unsigned i = 0; i < count; i++) {
            LLVMValueRef c = emit_value(e, at, rest[i]);
            condition      = condition ? LLVMBuildAnd(e->builder, condition, c, "") : c;
        }
        LLVMValueRef x = emit_value(e, at, s->summand);
        if (condition)
            x = LLVMBuildSelect(e->builder, condition, x, identity(e, s->reduction, graph_view(e->g, s->summand).type),
                                "");
        next = combine(e, s->reduction, l.accumulator, x);
    }
    return emit_close(e, &l, next);
}

static void reduce_statement(emitter *e, environment *at, const statement *s) {
    LLVMValueRef start = identity(e, s->reduction, graph_view(e->g, s->summand).type), result = start;
    environment inner = *at;
    if (s->var_count) {
        result = reduce_level(e, &inner, s, 0, start);
    } else { /* everything to sum over has one value */
        emit_new_point(e, &inner);
        result = emit_value(e, &inner, s->summand);
        if (s->domain)
            result = LLVMBuildSelect(e->builder, emit_value(e, &inner, s->domain), result, start, "");
    }
    emit_store(e, at, s->target, result);
}

static void accumulate_statement(emitter *e, environment *at, const statement *s) {
    emit_new_point(e, at);
    environment place       = *at;
    LLVMBasicBlockRef after = NULL;
    value_type type         = graph_view(e->g, s->summand).type;
    if (s->scatter != GRAPH_INDICES) {
        LLVMValueRef to = emit_value(e, at, s->scatter_to);
        LLVMValueRef inside =
            LLVMBuildICmp(e->builder, LLVMIntULT, to, emit_int(e, graph_index_extent(e->g, s->scatter)), "");
        LLVMBasicBlockRef here = LLVMAppendBasicBlockInContext(e->context, e->function, "inside");
        after                  = LLVMAppendBasicBlockInContext(e->context, e->function, "outside");
        LLVMBuildCondBr(e->builder, inside, here, after);
        LLVMPositionBuilderAtEnd(e->builder, here);
        place.value[s->scatter] = to;
    }
    LLVMValueRef x = emit_value(e, at, s->summand);
    if (s->domain)
        x = LLVMBuildSelect(e->builder, emit_value(e, at, s->domain), x, identity(e, s->reduction, type), "");
    emit_store(e, &place, s->target, combine(e, s->reduction, emit_load(e, &place, s->target, type), x));
    if (after) {
        LLVMBuildBr(e->builder, after);
        LLVMPositionBuilderAtEnd(e->builder, after);
    }
}

static void store_statement(emitter *e, environment *at, const statement *s) {
    emit_new_point(e, at);
    emit_store(e, at, s->target, emit_value(e, at, s->value));
}

/* Statements */

static void statements(emitter *e, environment *at, const statement *s);

static void for_statement(emitter *e, environment *at, const statement *s) {
    bool divided   = s->index == e->split;
    int64_t extent = graph_index_extent(e->g, s->index);
    loop l = emit_open(e, divided ? emit_lo(e) : emit_int(e, 0), divided ? emit_hi(e) : emit_int(e, extent), NULL);
    environment inner = *at;
    open_index(e, &inner, s->index,
               s->reverse ? LLVMBuildSub(e->builder, emit_int(e, extent - 1), l.counter, "") : l.counter);
    statements(e, &inner, s->body);
    emit_close(e, &l, NULL);
}

static void statements(emitter *e, environment *at, const statement *s) {
    for (; s; s = s->next) {
        e->target    = s->target;
        e->computing = s->value && e->s->buffer_of[s->value] == s->target ? s->value : NODE_NONE;
        switch (s->kind) {
        case STATEMENT_FOR:
            for_statement(e, at, s);
            break;
        case STATEMENT_STORE:
            store_statement(e, at, s);
            break;
        case STATEMENT_REDUCE:
            reduce_statement(e, at, s);
            break;
        case STATEMENT_ACCUMULATE:
            accumulate_statement(e, at, s);
            break;
        case STATEMENT_TOPK:
            emit_topk(e, at, s);
            break;
        case STATEMENT_BLOCK:
        case STATEMENT_IF:
        case STATEMENT_PRODUCT:
            break; /* the scheduler makes none yet */
        }
    }
}

/* The flattened outer loops of a nest: items lo to hi, each the place of one element of their space. */
static void nest_kernel(emitter *e, const step *t) {
    environment at = {0};
    emit_new_point(e, &at);
    for (unsigned i = 0; i < GRAPH_INDICES; i++) /* indices of extent 1 have no loops */
        if (i < graph_index_count(e->g) && graph_index_extent(e->g, (index_id)i) == 1)
            open_index(e, &at, (index_id)i, emit_int(e, 0));
    e->split = t->split;
    if (t->split != GRAPH_INDICES || t->parallel_count == 0) {
        statements(e, &at, t->body);
        return;
    }
    const statement *s = t->body;
    index_id order[GRAPH_INDICES];
    for (unsigned i = 0; i < t->parallel_count; i++) {
        order[i] = s->index;
        s        = s->body;
    }
    loop l            = emit_open(e, emit_lo(e), emit_hi(e), NULL);
    LLVMValueRef rest = l.counter;
    for (unsigned i = t->parallel_count; i-- > 0;) {
        LLVMValueRef extent = emit_int(e, graph_index_extent(e->g, order[i]));
        open_index(e, &at, order[i], i ? LLVMBuildURem(e->builder, rest, extent, "") : rest);
        rest = LLVMBuildUDiv(e->builder, rest, extent, "");
    }
    statements(e, &at, s);
    emit_close(e, &l, NULL);
}

static LLVMValueRef matrix_address(emitter *e, environment *at, const matrix *m) {
    LLVMValueRef offset = emit_int(e, 0);
    for (unsigned i = 0; i < m->offset_count; i++) {
        LLVMValueRef term =
            LLVMBuildMul(e->builder, emit_value(e, at, m->offset[i]), emit_int(e, m->offset_stride[i]), "");
        offset = LLVMBuildAdd(e->builder, offset, term, "");
    }
    return LLVMBuildGEP2(e->builder, e->f32, emit_buffer(e, m->buffer), &offset, 1, "");
}

static int64_t length_of(const emitter *e, const axis_order *order) {
    int64_t length = 1;
    for (unsigned i = 0; i < order->rank; i++)
        length *= graph_index_extent(e->g, order->index[i]);
    return length;
}

/* dnnl_sgemm takes row-major matrices, transposed or not, with a leading dimension. */
static void product_kernel(emitter *e, const step *t) {
    loop l         = emit_open(e, emit_lo(e), emit_hi(e), NULL);
    environment at = {0};
    for (unsigned i = 0; i < graph_index_count(e->g); i++)
        if (graph_index_extent(e->g, (index_id)i) == 1)
            open_index(e, &at, (index_id)i, emit_int(e, 0));
    LLVMValueRef rest = l.counter;
    for (unsigned i = t->batch.rank; i-- > 0;) {
        LLVMValueRef extent = emit_int(e, graph_index_extent(e->g, t->batch.index[i]));
        open_index(e, &at, t->batch.index[i], LLVMBuildURem(e->builder, rest, extent, ""));
        rest = LLVMBuildUDiv(e->builder, rest, extent, "");
    }
    emit_new_point(e, &at);
    const matrix_product *p = t->product;
    int64_t rows = length_of(e, &p->rows), columns = length_of(e, &p->columns), inner = length_of(e, &p->inner);
    bool turn_a = p->a.column_stride != 1 && inner > 1, turn_b = p->b.column_stride != 1 && columns > 1;
    int64_t lead_a = turn_a ? p->a.column_stride : p->a.row_stride,
            lead_b = turn_b ? p->b.column_stride : p->b.row_stride, lead_c = p->c.row_stride;
    int64_t least_a = turn_a ? rows : inner, least_b = turn_b ? inner : columns;
    lead_a                    = lead_a < least_a ? least_a : lead_a; /* of a single row any will do */
    lead_b                    = lead_b < least_b ? least_b : lead_b;
    lead_c                    = lead_c < columns ? columns : lead_c;
    LLVMTypeRef type[14]      = {e->i32, e->i32,     e->i64, e->i64, e->i64,     e->f32, e->pointer,
                                 e->i64, e->pointer, e->i64, e->f32, e->pointer, e->i64};
    LLVMValueRef argument[13] = {LLVMConstInt(e->i32, turn_a ? 'T' : 'N', false),
                                 LLVMConstInt(e->i32, turn_b ? 'T' : 'N', false),
                                 emit_int(e, rows),
                                 emit_int(e, columns),
                                 emit_int(e, inner),
                                 LLVMConstReal(e->f32, 1),
                                 matrix_address(e, &at, &p->a),
                                 emit_int(e, lead_a),
                                 matrix_address(e, &at, &p->b),
                                 emit_int(e, lead_b),
                                 LLVMConstReal(e->f32, 0),
                                 matrix_address(e, &at, &p->c),
                                 emit_int(e, lead_c)};
    emit_external(e, "dnnl_sgemm", e->i32, type, argument, 13);
    emit_close(e, &l, NULL);
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
} program;

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

/* A task is what a thread runs: it takes its share of the items and calls the kernel. Its argument is an array of
 * 64-bit words: items, seed, then the buffers, then the numbers of random tensors. */
static LLVMValueRef add_task(program *p, LLVMValueRef function) {
    emitter *e        = &p->e;
    LLVMTypeRef type  = LLVMFunctionType(e->empty, &e->pointer, 1, false);
    LLVMValueRef task = LLVMAddFunction(e->module, "task", type);
    LLVMSetLinkage(task, LLVMInternalLinkage);
    set_target(p, task);
    LLVMPositionBuilderAtEnd(e->builder, LLVMAppendBasicBlockInContext(e->context, task, ""));
    LLVMValueRef data = LLVMGetParam(task, 0), *argument = get(e->buffer_count + e->random_count + 3, sizeof *argument);
    LLVMTypeRef *types = get(e->buffer_count + e->random_count + 3, sizeof *types);
    LLVMGetParamTypes(LLVMGlobalGetValueType(function), types);
    LLVMValueRef me =
        LLVMBuildSExt(e->builder, emit_external(e, "omp_get_thread_num", e->i32, NULL, NULL, 0), e->i64, "");
    LLVMValueRef all =
        LLVMBuildSExt(e->builder, emit_external(e, "omp_get_num_threads", e->i32, NULL, NULL, 0), e->i64, "");
    LLVMValueRef items = LLVMBuildLoad2(e->builder, e->i64, data, "");
    LLVMValueRef after = LLVMBuildAdd(e->builder, me, emit_int(e, 1), "");
    unsigned n         = 0;
    for (unsigned i = 0; i < e->buffer_count + e->random_count + 1; i++) {
        LLVMValueRef at    = emit_int(e, (int64_t)i + 1);
        LLVMValueRef place = LLVMBuildInBoundsGEP2(e->builder, e->i64, data, &at, 1, "");
        /* word 1 is the seed, which the kernel takes after lo and hi */
        unsigned to  = i == 0                 ? e->buffer_count + 2
                       : i <= e->buffer_count ? i - 1
                                              : e->buffer_count + 3 + (i - 1 - e->buffer_count);
        argument[to] = LLVMBuildLoad2(e->builder, types[to], place, "");
        n++;
    }
    argument[e->buffer_count]     = LLVMBuildSDiv(e->builder, LLVMBuildMul(e->builder, items, me, ""), all, "");
    argument[e->buffer_count + 1] = LLVMBuildSDiv(e->builder, LLVMBuildMul(e->builder, items, after, ""), all, "");
    LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(function), function, argument, n + 2, "");
    LLVMBuildRetVoid(e->builder);
    free(argument);
    free(types);
    return task;
}

static kernel *kernel_of(program *p, const step *t) {
    emitter *e = &p->e;
    char *key  = emit_key(e, t);
    for (size_t i = 0; i < p->kernel_count; i++)
        if (strcmp(p->kernel[i].key, key) == 0) {
            free(key);
            return &p->kernel[i];
        }
    kernel *k          = &p->kernel[p->kernel_count++];
    unsigned count     = e->buffer_count + 3 + e->random_count;
    LLVMTypeRef *types = get(count, sizeof *types);
    for (unsigned i = 0; i < count; i++)
        types[i] = i < e->buffer_count ? e->pointer : i < e->buffer_count + 3 ? e->i64 : e->i32;
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
    if (t->kind == STEP_PRODUCT)
        product_kernel(e, t);
    else
        nest_kernel(e, t);
    LLVMBuildRetVoid(e->builder);
    k->task = add_task(p, k->function);
    return k;
}

/* The entry point */

static LLVMValueRef buffer_pointer(emitter *e, LLVMValueRef entry, uint32_t number) {
    const buffer *b = &e->s->buffer[number];
    if (b->place == PLACE_WORKSPACE) {
        LLVMValueRef offset = emit_int(e, (int64_t)b->offset);
        return LLVMBuildInBoundsGEP2(e->builder, e->i8, LLVMGetParam(entry, 2), &offset, 1, "");
    }
    LLVMValueRef at    = emit_int(e, b->number);
    LLVMValueRef place = LLVMBuildInBoundsGEP2(e->builder, e->pointer,
                                               LLVMGetParam(entry, b->place == PLACE_TENSOR ? 0 : 1), &at, 1, "");
    return LLVMBuildLoad2(e->builder, e->pointer, place, "");
}

static void call_step(program *p, const step *t, LLVMValueRef entry, LLVMBasicBlockRef *at, LLVMValueRef words,
                      unsigned room) {
    emitter *e = &p->e;
    kernel *k  = kernel_of(p, t);
    LLVMPositionBuilderAtEnd(e->builder, *at);
    unsigned count         = e->buffer_count + 3 + e->random_count;
    LLVMValueRef *argument = get(count, sizeof *argument);
    for (unsigned i = 0; i < e->buffer_count; i++)
        argument[i] = buffer_pointer(e, entry, e->buffer[i]);
    argument[e->buffer_count]     = emit_int(e, 0);
    argument[e->buffer_count + 1] = emit_int(e, t->items);
    argument[e->buffer_count + 2] = LLVMGetParam(entry, 3);
    for (unsigned i = 0; i < e->random_count; i++)
        argument[e->buffer_count + 3 + i] = LLVMConstInt(e->i32, e->random[i], false);
    bool threads = t->items > 1 && t->work > THREAD_WORK;
    if (t->kind == STEP_PRODUCT && t->work / t->items > SMALL_PRODUCT)
        threads = false; /* the library divides each product */
    if (!threads) {
        LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(k->function), k->function, argument, count, "");
    } else {
        LLVMValueRef word = emit_int(e, t->items);
        for (unsigned i = 0; i < 2 + e->buffer_count + e->random_count && i < room; i++) {
            if (i > 0)
                word = i == 1                    ? argument[e->buffer_count + 2]
                       : i < 2 + e->buffer_count ? argument[i - 2]
                                                 : argument[i + 1];
            LLVMValueRef number = emit_int(e, i);
            LLVMBuildStore(e->builder, word, LLVMBuildInBoundsGEP2(e->builder, e->i64, words, &number, 1, ""));
        }
        LLVMTypeRef type[4]   = {e->pointer, e->pointer, e->i32, e->i32};
        LLVMValueRef value[4] = {k->task, words, LLVMConstInt(e->i32, 0, false), LLVMConstInt(e->i32, 0, false)};
        emit_external(e, "GOMP_parallel", e->empty, type, value, 4);
    }
    free(argument);
    *at = LLVMGetInsertBlock(e->builder);
}

LLVMModuleRef emit_program(const schedule *s, LLVMContextRef context, const char *symbol, const char *cpu,
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
    e->buffer       = get(s->buffer_count, sizeof *e->buffer);
    e->random       = get(nodes, sizeof *e->random);
    p.kernel        = get(s->step_count, sizeof *p.kernel);

    LLVMTypeRef type[4] = {e->pointer, e->pointer, e->pointer, e->i64};
    LLVMValueRef entry  = LLVMAddFunction(e->module, symbol, LLVMFunctionType(e->i32, type, 4, false));
    set_target(&p, entry);
    LLVMBasicBlockRef at = LLVMAppendBasicBlockInContext(context, entry, "");
    LLVMPositionBuilderAtEnd(e->builder, at);
    unsigned room      = 4096;
    LLVMValueRef words = LLVMBuildArrayAlloca(e->builder, e->i64, LLVMConstInt(e->i32, room, false), "");
    for (uint32_t i = 0; i < s->step_count; i++)
        call_step(&p, &s->step[i], entry, &at, words, room);
    LLVMPositionBuilderAtEnd(e->builder, at);
    LLVMBuildRet(e->builder, LLVMConstInt(e->i32, 0, false));

    for (size_t i = 0; i < p.kernel_count; i++)
        free(p.kernel[i].key);
    free(p.kernel);
    free(e->parameter_of);
    free(e->buffer);
    free(e->random);
    free(e->memo);
    free(e->substitution);
    LLVMDisposeBuilder(e->builder);
    return e->module;
}
