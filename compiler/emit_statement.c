/* Statements of a kernel: loops, blocks, conditions, and what is stored in them. */
#include "emit_internal.h"

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
    if (emit_is_known(e, at, domain))
        return;
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
    if (a - b == 1) { /* var <= y - x */
        LLVMValueRef bound = LLVMBuildAdd(e->builder, LLVMBuildSub(e->builder, y, x, ""), one, "");
        *hi                = emit_smaller(e, *hi, bound);
    } else { /* var >= x - y */
        LLVMValueRef bound = LLVMBuildSub(e->builder, LLVMBuildSub(e->builder, x, y, ""), one, "");
        *lo                = emit_larger(e, *lo, LLVMBuildAdd(e->builder, bound, emit_int(e, 1), ""));
    }
}

static LLVMValueRef reduce_level(emitter *e, environment *at, const statement *s, unsigned level,
                                 LLVMValueRef accumulator) {
    index_id var    = s->var[level];
    LLVMValueRef lo = emit_begin(e, at, var), hi = emit_end(e, at, var);
    node rest[64];
    unsigned count = 0;
    bool innermost = level + 1 == s->var_count;
    if (innermost && s->domain) {
        emit_new_point(e, at);
        tighten(e, at, s->domain, var, &lo, &hi, rest, &count);
    }
    loop l = emit_open(e, lo, hi, accumulator);
    emit_open_index(e, at, var, l.counter);
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
    value_type type      = graph_view(e->g, s->summand).type;
    LLVMValueRef nothing = identity(e, s->reduction, type);
    LLVMValueRef start   = s->into ? emit_load(e, at, s->target, type) : nothing, result;
    environment inner    = *at;
    if (s->var_count) {
        result = reduce_level(e, &inner, s, 0, start);
    } else { /* everything to sum over has one value */
        emit_new_point(e, &inner);
        result = emit_value(e, &inner, s->summand);
        if (s->domain)
            result = LLVMBuildSelect(e->builder, emit_value(e, &inner, s->domain), result, nothing, "");
        if (s->into)
            result = combine(e, s->reduction, start, result);
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
    LLVMValueRef old = emit_load(e, &place, s->target, type);
    emit_store(e, &place, s->target,
               s->reduction == REDUCE_SUM && type == TYPE_FLOAT ? emit_sum(e, x, old)
                                                                : combine(e, s->reduction, old, x));
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

static void for_statement(emitter *e, environment *at, const statement *s) {
    LLVMBuilderRef l = e->builder;
    LLVMValueRef begin, end;
    emit_share(e, at, s->index, &begin, &end);
    loop one           = emit_open(e, begin, end, NULL);
    LLVMValueRef value = one.counter;
    if (s->reverse) {
        LLVMValueRef ends = LLVMBuildNSWSub(l, LLVMBuildNSWAdd(l, begin, end, ""), emit_int(e, 1), "");
        value             = LLVMBuildNSWSub(l, ends, one.counter, "");
    }
    environment inner = *at;
    emit_open_index(e, &inner, s->index, value);
    emit_ahead(e, &inner, s, end);
    emit_statements(e, &inner, s->body);
    emit_close(e, &one, NULL);
}

static void block_statement(emitter *e, environment *at, const statement *s) {
    block_range range = {s->index, s->block, s->lo, s->hi, s->once, s->reverse};
    block_loop block  = emit_open_block(e, at, &range);
    emit_statements(e, &block.at, s->body);
    emit_close_block(e, &block);
}

static void if_statement(emitter *e, environment *at, const statement *s) {
    environment inner       = *at;
    assumption known        = {s->assumed, at->known};
    LLVMBasicBlockRef yes   = LLVMAppendBasicBlockInContext(e->context, e->function, "holds");
    LLVMBasicBlockRef no    = LLVMAppendBasicBlockInContext(e->context, e->function, "fails");
    LLVMBasicBlockRef after = s->otherwise ? LLVMAppendBasicBlockInContext(e->context, e->function, "both") : no;
    emit_new_point(e, &inner);
    LLVMBuildCondBr(e->builder, emit_value(e, &inner, s->condition), yes, no);
    LLVMPositionBuilderAtEnd(e->builder, yes);
    if (s->assumed)
        inner.known = &known;
    emit_statements(e, &inner, s->body);
    LLVMBuildBr(e->builder, after);
    if (s->otherwise) {
        LLVMPositionBuilderAtEnd(e->builder, no);
        inner = *at;
        emit_statements(e, &inner, s->otherwise);
        LLVMBuildBr(e->builder, after);
    }
    LLVMPositionBuilderAtEnd(e->builder, after);
}

void emit_statements(emitter *e, environment *at, const statement *s) {
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
        case STATEMENT_SOLVE:
            emit_solve(e, at, s);
            break;
        case STATEMENT_BLOCK:
            block_statement(e, at, s);
            break;
        case STATEMENT_IF:
            if_statement(e, at, s);
            break;
        case STATEMENT_PRODUCT:
            emit_product(e, at, s->product, NULL, 1);
            break;
        }
    }
}
