/* Loops, and the ranges that indices have where they stand: all their values, or one block of them. */
#include "emit_internal.h"

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

void emit_open_index(emitter *e, environment *at, index_id index, LLVMValueRef value) {
    at->value[index] = value;
    at->low[index]   = 0;
    at->high[index]  = graph_index_extent(e->g, index) - 1;
    at->displaced &= ~((index_set)1 << index);
}

void emit_open_single(emitter *e, environment *at) {
    for (unsigned i = 0; i < graph_index_count(e->g); i++)
        if (graph_index_extent(e->g, (index_id)i) == 1)
            emit_open_index(e, at, (index_id)i, emit_int(e, 0));
}

/* Ranges */

LLVMValueRef emit_begin(emitter *e, const environment *at, index_id index) {
    return at->begin[index] ? at->begin[index] : emit_int(e, 0);
}

LLVMValueRef emit_end(emitter *e, const environment *at, index_id index) {
    return at->end[index] ? at->end[index] : emit_int(e, graph_index_extent(e->g, index));
}

void emit_share(emitter *e, const environment *at, index_id index, LLVMValueRef *begin, LLVMValueRef *end) {
    *begin = emit_begin(e, at, index);
    *end   = emit_end(e, at, index);
    if (index != e->split)
        return;
    bool all          = *begin == e->split_begin && *end == e->split_end;
    LLVMValueRef from = LLVMBuildNSWAdd(e->builder, e->split_begin, emit_lo(e), "");
    LLVMValueRef to   = LLVMBuildNSWAdd(e->builder, e->split_begin, emit_hi(e), "");
    *begin            = all ? from : emit_larger(e, *begin, from);
    *end              = all ? to : emit_smaller(e, *end, to);
}

LLVMValueRef emit_length(emitter *e, const environment *at, const axis_order *order) {
    LLVMValueRef length = emit_int(e, 1);
    for (unsigned i = 0; i < order->rank; i++) {
        index_id index   = order->index[i];
        LLVMValueRef one = LLVMBuildNSWSub(e->builder, emit_end(e, at, index), emit_begin(e, at, index), "");
        length           = LLVMBuildNSWMul(e->builder, length, one, "");
    }
    return length;
}

void emit_open_item(emitter *e, environment *at, const axis_order *order, LLVMValueRef item) {
    for (unsigned i = order->rank; i-- > 0;) {
        axis_order one     = {1, {order->index[i]}};
        LLVMValueRef value = item;
        LLVMValueRef begin = emit_begin(e, at, order->index[i]);
        if (i > 0) {
            LLVMValueRef length = emit_length(e, at, &one);
            value               = LLVMBuildURem(e->builder, item, length, "");
            item                = LLVMBuildUDiv(e->builder, item, length, "");
        }
        emit_open_index(e, at, order->index[i], LLVMBuildNSWAdd(e->builder, begin, value, ""));
    }
}

LLVMValueRef emit_smaller(emitter *e, LLVMValueRef a, LLVMValueRef b) {
    LLVMValueRef both[2] = {a, b};
    return a == b ? a : emit_intrinsic(e, "llvm.smin.i64", both, 2);
}

LLVMValueRef emit_larger(emitter *e, LLVMValueRef a, LLVMValueRef b) {
    LLVMValueRef both[2] = {a, b};
    return a == b ? a : emit_intrinsic(e, "llvm.smax.i64", both, 2);
}

/* Blocks */

static void set_range(environment *at, index_id index, LLVMValueRef begin, LLVMValueRef end) {
    at->begin[index] = begin;
    at->end[index]   = end;
}

void emit_enter_block(emitter *e, environment *at, index_id index, int64_t block, LLVMValueRef number) {
    int64_t extent     = graph_index_extent(e->g, index);
    LLVMValueRef size  = emit_int(e, block);
    LLVMValueRef begin = LLVMBuildNSWMul(e->builder, number, size, "");
    LLVMValueRef end   = LLVMBuildNSWAdd(e->builder, begin, size, "");
    set_range(at, index, begin, extent % block == 0 ? end : emit_smaller(e, end, emit_int(e, extent)));
    emit_new_point(e, at);
}

block_loop emit_open_block(emitter *e, const environment *outside, const block_range *r) {
    block_loop b     = {.at = *outside, .once = r->once};
    LLVMBuilderRef l = e->builder;
    int64_t extent   = graph_index_extent(e->g, r->index);
    emit_new_point(e, &b.at);
    LLVMValueRef lo = r->lo ? emit_value(e, &b.at, r->lo) : emit_int(e, 0);
    LLVMValueRef hi = r->hi ? emit_value(e, &b.at, r->hi) : emit_int(e, extent);
    if (r->once) {
        set_range(&b.at, r->index, lo, r->lo || r->hi ? emit_larger(e, lo, hi) : hi);
    } else {
        LLVMValueRef size   = emit_int(e, r->block);
        LLVMValueRef length = LLVMBuildNSWSub(l, hi, lo, "");
        LLVMValueRef whole  = LLVMBuildNSWAdd(l, length, emit_int(e, r->block - 1), "");
        LLVMValueRef count  = LLVMBuildSDiv(l, whole, size, "");
        b.loop              = emit_open(e, emit_int(e, 0), count, NULL);
        LLVMValueRef number = b.loop.counter;
        if (r->reverse)
            number = LLVMBuildNSWSub(l, LLVMBuildNSWSub(l, count, emit_int(e, 1), ""), number, "");
        LLVMValueRef begin = LLVMBuildNSWAdd(l, lo, LLVMBuildNSWMul(l, number, size, ""), "");
        LLVMValueRef end   = LLVMBuildNSWAdd(l, begin, size, "");
        /* blocks that are all of the same size are said to be, so that loops over them have a constant length */
        bool even = !r->lo && !r->hi && extent % r->block == 0;
        set_range(&b.at, r->index, begin, even ? end : emit_smaller(e, end, hi));
    }
    emit_new_point(e, &b.at);
    return b;
}

void emit_close_block(emitter *e, block_loop *b) {
    if (!b->once)
        emit_close(e, &b->loop, NULL);
}
