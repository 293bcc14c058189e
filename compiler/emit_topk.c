/* Selection of the k largest of a row, as marks or as a list. Scores become unsigned keys in the same order; the k-th
 * largest key is found bit by bit from the top, each bit one vectorised count over the row; then everything above it is
 * selected, and of those equal to it the first ones. */
#include "emit_internal.h"

static LLVMValueRef word(emitter *e, uint32_t value) {
    return LLVMConstInt(e->i32, value, false);
}

/* 0 outside the domain, 1 for NaN, larger for larger scores. */
static LLVMValueRef key_of(emitter *e, LLVMValueRef score, LLVMValueRef in_domain) {
    LLVMBuilderRef b  = e->builder;
    LLVMValueRef zero = LLVMConstReal(e->f32, 0);
    score = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOEQ, score, zero, ""), zero, score, ""); /* -0 is 0 */
    LLVMValueRef raw  = LLVMBuildBitCast(b, score, e->i32, "");
    LLVMValueRef mask = LLVMBuildOr(b, LLVMBuildAShr(b, raw, word(e, 31), ""), word(e, 0x80000000u), "");
    LLVMValueRef key  = LLVMBuildXor(b, raw, mask, "");
    key               = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealUNO, score, score, ""), word(e, 1), key, "");
    return LLVMBuildSelect(b, in_domain, key, word(e, 0), "");
}

static LLVMValueRef element(emitter *e, LLVMValueRef keys, LLVMValueRef at) {
    return LLVMBuildInBoundsGEP2(e->builder, e->i32, keys, &at, 1, "");
}

/* The keys of the values from begin up to end, each at its own place. */
typedef struct row {
    LLVMValueRef keys, begin, end;
} row;

static LLVMValueRef count_at_least(emitter *e, const row *r, LLVMValueRef bound, LLVMIntPredicate predicate) {
    loop l           = emit_open(e, r->begin, r->end, word(e, 0));
    LLVMValueRef key = LLVMBuildLoad2(e->builder, e->i32, element(e, r->keys, l.counter), "");
    LLVMValueRef hit = LLVMBuildZExt(e->builder, LLVMBuildICmp(e->builder, predicate, key, bound, ""), e->i32, "");
    return emit_close(e, &l, LLVMBuildAdd(e->builder, l.accumulator, hit, ""));
}

/* A list: every place of it says "no more", then the selected ones are written from its beginning. */
typedef struct list {
    index_id along;
    LLVMValueRef next; /* where the number of places written is kept */
} list;

static list begin_list(emitter *e, const environment *at, const statement *s, node_view v) {
    environment inner = *at;
    list places       = {(index_id)__builtin_ctzll(v.vars), emit_scratch(e, e->i64, 1, "next")};
    LLVMBuildStore(e->builder, emit_int(e, 0), places.next);
    loop l = emit_open(e, emit_int(e, 0), emit_int(e, v.integer), NULL);
    emit_open_index(e, &inner, places.along, l.counter);
    emit_store(e, &inner, s->target, emit_int(e, graph_index_extent(e->g, v.scan_index)));
    emit_close(e, &l, NULL);
    return places;
}

static void add_to_list(emitter *e, const environment *at, const statement *s, const list *places, LLVMValueRef here,
                        LLVMValueRef selected) {
    LLVMBuilderRef b        = e->builder;
    environment inner       = *at;
    LLVMBasicBlockRef yes   = LLVMAppendBasicBlockInContext(e->context, e->function, "selected");
    LLVMBasicBlockRef after = LLVMAppendBasicBlockInContext(e->context, e->function, "passed");
    LLVMBuildCondBr(b, selected, yes, after);
    LLVMPositionBuilderAtEnd(b, yes);
    LLVMValueRef next = LLVMBuildLoad2(b, e->i64, places->next, "");
    emit_open_index(e, &inner, places->along, next);
    emit_store(e, &inner, s->target, here);
    LLVMBuildStore(b, LLVMBuildNSWAdd(b, next, emit_int(e, 1), ""), places->next);
    LLVMBuildBr(b, after);
    LLVMPositionBuilderAtEnd(b, after);
}

void emit_topk(emitter *e, environment *at, const statement *s) {
    node_view v      = graph_view(e->g, s->value);
    LLVMBuilderRef b = e->builder;
    int64_t extent = graph_index_extent(e->g, v.scan_index), k = v.integer;
    node domain = v.child[0], score = v.child[1];
    environment inner = *at;

    LLVMValueRef keys = emit_scratch(e, e->i32, extent, "keys"); /* of one row */
    row r             = {keys, emit_begin(e, at, v.scan_index), emit_end(e, at, v.scan_index)};
    loop l            = emit_open(e, r.begin, r.end, NULL);
    emit_open_index(e, &inner, v.scan_index, l.counter);
    emit_new_point(e, &inner);
    LLVMValueRef in_domain = emit_value(e, &inner, domain);
    LLVMBuildStore(b, key_of(e, emit_value(e, &inner, score), in_domain), element(e, keys, l.counter));
    emit_close(e, &l, NULL);

    /* the largest bound that at least k keys reach */
    loop bits              = emit_open(e, emit_int(e, 0), emit_int(e, 32), word(e, 0));
    LLVMValueRef shift     = LLVMBuildTrunc(b, LLVMBuildSub(b, emit_int(e, 31), bits.counter, ""), e->i32, "");
    LLVMValueRef candidate = LLVMBuildOr(b, bits.accumulator, LLVMBuildShl(b, word(e, 1), shift, ""), "");
    LLVMValueRef reach     = count_at_least(e, &r, candidate, LLVMIntUGE);
    LLVMValueRef enough    = LLVMBuildICmp(b, LLVMIntUGE, reach, word(e, (uint32_t)k), "");
    LLVMValueRef bound     = emit_close(e, &bits, LLVMBuildSelect(b, enough, candidate, bits.accumulator, ""));
    LLVMValueRef above     = count_at_least(e, &r, bound, LLVMIntUGT);

    list places = {0};
    if (v.op == NODE_CHOSEN)
        places = begin_list(e, at, s, v);
    /* the accumulator is how many of the equal ones are still wanted */
    loop mark                 = emit_open(e, r.begin, r.end, LLVMBuildSub(b, word(e, (uint32_t)k), above, ""));
    inner.value[v.scan_index] = mark.counter;
    LLVMValueRef key          = LLVMBuildLoad2(b, e->i32, element(e, keys, mark.counter), "");
    LLVMValueRef more         = LLVMBuildICmp(b, LLVMIntUGT, key, bound, "");
    LLVMValueRef equal        = LLVMBuildICmp(b, LLVMIntEQ, key, bound, "");
    LLVMValueRef wanted       = LLVMBuildICmp(b, LLVMIntSGT, mark.accumulator, word(e, 0), "");
    LLVMValueRef real         = LLVMBuildICmp(b, LLVMIntNE, key, word(e, 0), "");
    LLVMValueRef tie          = LLVMBuildAnd(b, LLVMBuildAnd(b, equal, wanted, ""), real, "");
    LLVMValueRef selected     = LLVMBuildOr(b, more, tie, "");
    if (v.op == NODE_CHOSEN)
        add_to_list(e, &inner, s, &places, mark.counter, selected);
    else
        emit_store(e, &inner, s->target, selected);
    emit_close(e, &mark, LLVMBuildSub(b, mark.accumulator, LLVMBuildZExt(b, tie, e->i32, ""), ""));
}
