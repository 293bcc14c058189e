/* Expressions. A node with a buffer is loaded, any other is computed from its children where it is used. */
#include "emit_internal.h"
#include "philox.h"

#include <stdlib.h>
#include <string.h>

LLVMValueRef emit_int(emitter *e, int64_t value) {
    return LLVMConstInt(e->i64, (unsigned long long)value, true);
}

void emit_new_point(emitter *e, environment *at) {
    at->stamp             = ++e->stamps;
    e->substitution_count = 0;
}

static struct remembered *slot_of(const emitter *e, uint32_t stamp, node n) {
    uint64_t h = ((uint64_t)stamp << 32 | n) * 0x9E3779B97F4A7C15u;
    for (size_t i = (h >> 32) & (e->memo_size - 1);; i = (i + 1) & (e->memo_size - 1))
        if (!e->memo[i].value || (e->memo[i].stamp == stamp && e->memo[i].node == n))
            return &e->memo[i];
}

static void *resized(void *memory, size_t bytes) {
    memory = realloc(memory, bytes);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

static void remember(emitter *e, uint32_t stamp, node n, LLVMValueRef value) {
    if (2 * (e->memo_count + 1) > e->memo_size) {
        struct remembered *old = e->memo;
        size_t size            = e->memo_size;
        e->memo_size           = size ? 2 * size : 4096;
        e->memo                = resized(NULL, e->memo_size * sizeof *e->memo);
        memset(e->memo, 0, e->memo_size * sizeof *e->memo);
        for (size_t i = 0; i < size; i++)
            if (old[i].value)
                *slot_of(e, old[i].stamp, old[i].node) = old[i];
        free(old);
    }
    *slot_of(e, stamp, n) = (struct remembered){stamp, n, value};
    e->memo_count++;
}

/* The stamp of the place that a substitution at `outer` makes. */
static uint32_t inner_stamp(emitter *e, uint32_t outer, unsigned count, const index_id *index,
                            const LLVMValueRef *value) {
    for (unsigned i = 0; i < e->substitution_count; i++) {
        const struct substitution *s = &e->substitution[i];
        if (s->outer == outer && s->count == count && memcmp(s->index, index, count) == 0 &&
            memcmp(s->value, value, count * sizeof *value) == 0)
            return s->inner;
    }
    if (count > TENSOR_RANK)
        return ++e->stamps;
    if (e->substitution_count == e->substitution_room) {
        e->substitution_room = 2 * e->substitution_room + 16;
        e->substitution      = resized(e->substitution, e->substitution_room * sizeof *e->substitution);
    }
    struct substitution *s = &e->substitution[e->substitution_count++];
    s->outer               = outer;
    s->inner               = ++e->stamps;
    s->count               = count;
    memcpy(s->index, index, count);
    memcpy(s->value, value, count * sizeof *value);
    return s->inner;
}

LLVMValueRef emit_address(emitter *e, const environment *at, uint32_t number) {
    const buffer *b     = &e->s->buffer[number];
    LLVMValueRef offset = NULL;
    for (unsigned i = 0; i < b->rank; i++) {
        if (graph_index_extent(e->g, b->axis[i]) == 1)
            continue;
        LLVMValueRef term = at->value[b->axis[i]];
        if (b->block[i] != 0 && at->begin[b->axis[i]])
            term = LLVMBuildNSWSub(e->builder, term, at->begin[b->axis[i]], "");
        if (b->stride[i] != 1)
            term = LLVMBuildNSWMul(e->builder, term, emit_int(e, b->stride[i]), "");
        offset = offset ? LLVMBuildNSWAdd(e->builder, offset, term, "") : term;
    }
    LLVMValueRef base = emit_buffer(e, number);
    LLVMTypeRef type  = b->element == ELEMENT_BOOL ? e->i8 : b->element == ELEMENT_INT32 ? e->i32 : e->f32;
    return offset ? LLVMBuildInBoundsGEP2(e->builder, type, base, &offset, 1, "") : base;
}

LLVMValueRef emit_load(emitter *e, const environment *at, uint32_t number, value_type type) {
    const buffer *b     = &e->s->buffer[number];
    LLVMTypeRef memory  = b->element == ELEMENT_BOOL ? e->i8 : b->element == ELEMENT_INT32 ? e->i32 : e->f32;
    LLVMValueRef loaded = LLVMBuildLoad2(e->builder, memory, emit_address(e, at, number), "");
    if (b->element == ELEMENT_BOOL)
        return LLVMBuildICmp(e->builder, LLVMIntNE, loaded, LLVMConstInt(e->i8, 0, false), "");
    if (b->element == ELEMENT_INT32)
        return LLVMBuildSExt(e->builder, loaded, e->i64, "");
    if (type == TYPE_BOOL) /* an output holds conditions as 0 and 1 */
        return LLVMBuildFCmp(e->builder, LLVMRealUNE, loaded, LLVMConstReal(e->f32, 0), "");
    return type == TYPE_INT ? LLVMBuildFPToSI(e->builder, loaded, e->i64, "") : loaded;
}

void emit_store(emitter *e, const environment *at, uint32_t number, LLVMValueRef value) {
    const buffer *b  = &e->s->buffer[number];
    LLVMTypeRef have = LLVMTypeOf(value);
    if (b->element == ELEMENT_FLOAT && have == e->i64)
        value = LLVMBuildSIToFP(e->builder, value, e->f32, "");
    else if (b->element == ELEMENT_FLOAT && have == e->i1)
        value = LLVMBuildUIToFP(e->builder, value, e->f32, "");
    else if (b->element == ELEMENT_INT32)
        value = LLVMBuildTrunc(e->builder, value, e->i32, "");
    else if (b->element == ELEMENT_BOOL)
        value = LLVMBuildZExt(e->builder, value, e->i8, "");
    LLVMBuildStore(e->builder, value, emit_address(e, at, number));
}

/* Range of an integer expression where the indices have the ranges of `at`. */
static bool interval(const emitter *e, const environment *at, node n, int64_t *low, int64_t *high) {
    node_view v = graph_view(e->g, n);
    int64_t a, b, c, d;
    switch (v.op) {
    case NODE_INT:
        *low = *high = v.integer;
        return true;
    case NODE_INDEX:
        *low  = at->low[__builtin_ctzll(v.vars)];
        *high = at->high[__builtin_ctzll(v.vars)];
        return true;
    case NODE_ADD:
    case NODE_SUB:
        if (!interval(e, at, v.child[0], &a, &b) || !interval(e, at, v.child[1], &c, &d))
            return false;
        if (v.op == NODE_ADD)
            return !__builtin_add_overflow(a, c, low) && !__builtin_add_overflow(b, d, high);
        return !__builtin_sub_overflow(a, d, low) && !__builtin_sub_overflow(b, c, high);
    case NODE_MUL:
        return interval(e, at, v.child[0], &a, &b) && interval(e, at, v.child[1], &c, &d) && a >= 0 && c >= 0 &&
               !__builtin_mul_overflow(a, c, low) && !__builtin_mul_overflow(b, d, high);
    case NODE_DIV:
        if (!interval(e, at, v.child[0], &a, &b) || !interval(e, at, v.child[1], &c, &d) || a < 0 || c <= 0)
            return false;
        *low  = a / d;
        *high = b / c;
        return true;
    case NODE_MOD:
        if (!interval(e, at, v.child[1], &c, &d) || c <= 0)
            return false;
        *low  = 0;
        *high = d - 1;
        return true;
    default:
        return false;
    }
}

static LLVMValueRef clamp(emitter *e, LLVMValueRef x, int64_t extent, LLVMValueRef *inside) {
    LLVMValueRef here = LLVMBuildICmp(e->builder, LLVMIntULT, x, emit_int(e, extent), "");
    *inside           = *inside ? LLVMBuildAnd(e->builder, *inside, here, "") : here;
    return LLVMBuildSelect(e->builder, here, x, emit_int(e, 0), "");
}

static LLVMValueRef zero_of(emitter *e, value_type type) {
    return type == TYPE_FLOAT ? LLVMConstReal(e->f32, 0)
           : type == TYPE_INT ? emit_int(e, 0)
                              : LLVMConstInt(e->i1, 0, false);
}

static LLVMValueRef gather(emitter *e, environment *at, node_view v) {
    environment inner   = *at;
    LLVMValueRef inside = NULL;
    node child[GRAPH_INDICES + 1];
    memcpy(child, v.child, v.child_count * sizeof *child);
    for (unsigned i = 0; i + 1 < v.child_count; i++) {
        index_id index = v.substituted[i];
        int64_t extent = graph_index_extent(e->g, index), low, high;
        LLVMValueRef x = emit_value(e, at, child[i + 1]);
        if (!interval(e, at, child[i + 1], &low, &high) || low < 0 || high >= extent) {
            x    = clamp(e, x, extent, &inside);
            low  = 0;
            high = extent - 1;
        }
        inner.value[index] = x;
        inner.low[index]   = low;
        inner.high[index]  = high;
        inner.displaced |= (index_set)1 << index;
    }
    LLVMValueRef here[GRAPH_INDICES];
    for (unsigned i = 0; i + 1 < v.child_count; i++)
        here[i] = inner.value[v.substituted[i]];
    inner.stamp        = inner_stamp(e, at->stamp, v.child_count - 1, v.substituted, here);
    LLVMValueRef value = emit_value(e, &inner, child[0]);
    return inside ? LLVMBuildSelect(e->builder, inside, value, zero_of(e, v.type), "") : value;
}

/* The state before this step: the scan's result one step back, or the initial state. */
static LLVMValueRef previous(emitter *e, environment *at, node_view v) {
    node scan          = graph_scan_node(e->g, v.scan_label, v.scan_state);
    node init          = graph_scan_init(e->g, scan);
    int64_t extent     = graph_index_extent(e->g, v.scan_index);
    LLVMValueRef here  = at->value[v.scan_index];
    LLVMValueRef first = LLVMBuildICmp(e->builder, LLVMIntEQ, here, emit_int(e, v.reverse ? extent - 1 : 0), "");
    LLVMValueRef back  = LLVMBuildAdd(e->builder, here, emit_int(e, v.reverse ? 1 : -1), "");
    environment before = *at;
    before.value[v.scan_index] = LLVMBuildSelect(e->builder, first, here, back, "");
    LLVMValueRef loaded        = emit_load(e, &before, e->s->buffer_of[scan], v.type);
    return LLVMBuildSelect(e->builder, first, emit_value(e, at, init), loaded, "");
}

static LLVMValueRef random_value(emitter *e, environment *at, node_view v) {
    LLVMBuilderRef b     = e->builder;
    LLVMValueRef element = emit_int(e, 0);
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (v.vars >> i & 1 && graph_index_extent(e->g, (index_id)i) > 1)
            element = LLVMBuildAdd(b, LLVMBuildMul(b, element, emit_int(e, graph_index_extent(e->g, (index_id)i)), ""),
                                   at->value[i], "");
    LLVMValueRef thirty_two = emit_int(e, 32), seed = emit_seed(e);
    LLVMValueRef c[4] = {LLVMBuildTrunc(b, element, e->i32, ""),
                         LLVMBuildTrunc(b, LLVMBuildLShr(b, element, thirty_two, ""), e->i32, ""),
                         emit_random_number(e, (uint32_t)v.integer), LLVMConstInt(e->i32, 0, false)};
    LLVMValueRef k[2] = {LLVMBuildTrunc(b, seed, e->i32, ""),
                         LLVMBuildTrunc(b, LLVMBuildLShr(b, seed, thirty_two, ""), e->i32, "")};
    for (int round = 0; round < 10; round++) { /* philox.h */
        LLVMValueRef p0 = LLVMBuildMul(b, LLVMBuildZExt(b, c[0], e->i64, ""), emit_int(e, 0xD2511F53), "");
        LLVMValueRef p1 = LLVMBuildMul(b, LLVMBuildZExt(b, c[2], e->i64, ""), emit_int(e, 0xCD9E8D57), "");
        LLVMValueRef h0 = LLVMBuildTrunc(b, LLVMBuildLShr(b, p0, thirty_two, ""), e->i32, "");
        LLVMValueRef h1 = LLVMBuildTrunc(b, LLVMBuildLShr(b, p1, thirty_two, ""), e->i32, "");
        LLVMValueRef n0 = LLVMBuildXor(b, LLVMBuildXor(b, h1, c[1], ""), k[0], "");
        LLVMValueRef n2 = LLVMBuildXor(b, LLVMBuildXor(b, h0, c[3], ""), k[1], "");
        c[1]            = LLVMBuildTrunc(b, p1, e->i32, "");
        c[3]            = LLVMBuildTrunc(b, p0, e->i32, "");
        c[0]            = n0;
        c[2]            = n2;
        k[0]            = LLVMBuildAdd(b, k[0], LLVMConstInt(e->i32, 0x9E3779B9u, false), "");
        k[1]            = LLVMBuildAdd(b, k[1], LLVMConstInt(e->i32, 0xBB67AE85u, false), "");
    }
    LLVMValueRef top = LLVMBuildLShr(b, c[0], LLVMConstInt(e->i32, 8, false), "");
    return LLVMBuildFMul(b, LLVMBuildSIToFP(b, top, e->f32, ""), LLVMConstReal(e->f32, 0x1p-24), "");
}

static LLVMValueRef contract(LLVMValueRef value) {
    if (LLVMIsAInstruction(value))
        LLVMSetFastMathFlags(value, LLVMFastMathAllowContract);
    return value;
}

static LLVMValueRef float_op(emitter *e, node_op op, LLVMValueRef a, LLVMValueRef b) {
    LLVMBuilderRef l = e->builder;
    switch (op) {
    case NODE_ADD:
        return emit_sum(e, a, b);
    case NODE_SUB:
        return emit_difference(e, a, b);
    case NODE_MUL: /* a sum in a register may round it together with itself */
        return contract(LLVMBuildFMul(l, a, b, ""));
    case NODE_DIV:
        return LLVMBuildFDiv(l, a, b, "");
    case NODE_NEG:
        return LLVMBuildFNeg(l, a, "");
    case NODE_MINIMUM:
        return LLVMBuildSelect(l, LLVMBuildFCmp(l, LLVMRealOLT, a, b, ""), a, b, "");
    case NODE_MAXIMUM:
        return LLVMBuildSelect(l, LLVMBuildFCmp(l, LLVMRealOGT, a, b, ""), a, b, "");
    case NODE_LESS:
        return LLVMBuildFCmp(l, LLVMRealOLT, a, b, "");
    case NODE_LESS_EQUAL:
        return LLVMBuildFCmp(l, LLVMRealOLE, a, b, "");
    case NODE_EQUAL:
        return LLVMBuildFCmp(l, LLVMRealOEQ, a, b, "");
    default:
        return emit_math(e, op, a, b);
    }
}

static LLVMValueRef floor_division(emitter *e, bool remainder, bool natural, LLVMValueRef a, LLVMValueRef b) {
    LLVMBuilderRef l = e->builder;
    if (natural)
        return remainder ? LLVMBuildURem(l, a, b, "") : LLVMBuildUDiv(l, a, b, "");
    LLVMValueRef none     = LLVMBuildICmp(l, LLVMIntEQ, b, emit_int(e, 0), ""); /* defined as 0, and no trap */
    LLVMValueRef divisor  = LLVMBuildSelect(l, none, emit_int(e, 1), b, "");
    LLVMValueRef quotient = LLVMBuildSDiv(l, a, divisor, ""), rest = LLVMBuildSRem(l, a, divisor, "");
    LLVMValueRef uneven   = LLVMBuildICmp(l, LLVMIntNE, rest, emit_int(e, 0), "");
    LLVMValueRef opposite = LLVMBuildICmp(l, LLVMIntSLT, LLVMBuildXor(l, a, divisor, ""), emit_int(e, 0), "");
    LLVMValueRef below    = LLVMBuildAnd(l, uneven, opposite, "");
    if (remainder)
        return LLVMBuildSelect(l, none, a, LLVMBuildSelect(l, below, LLVMBuildAdd(l, rest, divisor, ""), rest, ""), "");
    quotient = LLVMBuildSelect(l, below, LLVMBuildSub(l, quotient, emit_int(e, 1), ""), quotient, "");
    return LLVMBuildSelect(l, none, emit_int(e, 0), quotient, "");
}

static LLVMValueRef int_op(emitter *e, environment *at, node_view v, LLVMValueRef a, LLVMValueRef b) {
    LLVMBuilderRef l = e->builder;
    int64_t low, high, from, to;
    switch (v.op) {
    case NODE_ADD:
        return LLVMBuildAdd(l, a, b, "");
    case NODE_SUB:
        return LLVMBuildSub(l, a, b, "");
    case NODE_MUL:
        return LLVMBuildMul(l, a, b, "");
    case NODE_DIV:
    case NODE_MOD: {
        bool natural =
            interval(e, at, v.child[0], &low, &high) && low >= 0 && interval(e, at, v.child[1], &from, &to) && from > 0;
        return floor_division(e, v.op == NODE_MOD, natural, a, b);
    }
    case NODE_NEG:
        return LLVMBuildNeg(l, a, "");
    case NODE_ABS:
        return LLVMBuildSelect(l, LLVMBuildICmp(l, LLVMIntSLT, a, emit_int(e, 0), ""), LLVMBuildNeg(l, a, ""), a, "");
    case NODE_MINIMUM:
        return LLVMBuildSelect(l, LLVMBuildICmp(l, LLVMIntSLT, a, b, ""), a, b, "");
    case NODE_MAXIMUM:
        return LLVMBuildSelect(l, LLVMBuildICmp(l, LLVMIntSGT, a, b, ""), a, b, "");
    case NODE_LESS:
        return LLVMBuildICmp(l, LLVMIntSLT, a, b, "");
    case NODE_LESS_EQUAL:
        return LLVMBuildICmp(l, LLVMIntSLE, a, b, "");
    default:
        return LLVMBuildICmp(l, LLVMIntEQ, a, b, "");
    }
}

static LLVMValueRef pointwise(emitter *e, environment *at, node_view v) {
    LLVMValueRef x[3] = {NULL, NULL, NULL};
    node child[3];
    memcpy(child, v.child, v.child_count * sizeof *child);
    for (unsigned i = 0; i < v.child_count; i++)
        x[i] = emit_value(e, at, child[i]);
    LLVMBuilderRef l = e->builder;
    switch (v.op) {
    case NODE_STOP:
        return x[0];
    case NODE_AND:
        return LLVMBuildAnd(l, x[0], x[1], "");
    case NODE_OR:
        return LLVMBuildOr(l, x[0], x[1], "");
    case NODE_NOT:
        return LLVMBuildNot(l, x[0], "");
    case NODE_SELECT:
        return LLVMBuildSelect(l, x[0], x[1], x[2], "");
    case NODE_TO_FLOAT:
        return LLVMTypeOf(x[0]) == e->i1 ? LLVMBuildUIToFP(l, x[0], e->f32, "") : LLVMBuildSIToFP(l, x[0], e->f32, "");
    case NODE_TO_INT: {
        LLVMValueRef limit = LLVMConstReal(e->f32, 4611686018427387904.0), below = LLVMBuildFNeg(l, limit, "");
        LLVMValueRef whole  = emit_math(e, NODE_FLOOR, x[0], NULL);
        whole               = LLVMBuildSelect(l, LLVMBuildFCmp(l, LLVMRealOLT, whole, limit, ""), whole, limit, "");
        whole               = LLVMBuildSelect(l, LLVMBuildFCmp(l, LLVMRealOGT, whole, below, ""), whole, below, "");
        LLVMValueRef number = LLVMBuildFCmp(l, LLVMRealORD, x[0], x[0], "");
        whole               = LLVMBuildSelect(l, number, whole, LLVMConstReal(e->f32, 0), "");
        return LLVMBuildFPToSI(l, whole, e->i64, "");
    }
    default:
        break;
    }
    if (LLVMTypeOf(x[0]) == e->f32)
        return float_op(e, v.op, x[0], x[1]);
    if (LLVMTypeOf(x[0]) == e->i1) /* comparing conditions */
        for (unsigned i = 0; i < v.child_count; i++)
            x[i] = LLVMBuildZExt(l, x[i], e->i64, "");
    return int_op(e, at, v, x[0], x[1]);
}

static LLVMValueRef compute(emitter *e, environment *at, node_view v) {
    switch (v.op) {
    case NODE_FLOAT:
        return LLVMConstReal(e->f32, v.number);
    case NODE_INT:
        return v.type == TYPE_BOOL ? LLVMConstInt(e->i1, (unsigned long long)v.integer, false) : emit_int(e, v.integer);
    case NODE_INDEX:
        return at->value[__builtin_ctzll(v.vars)];
    case NODE_BEGIN:
        return emit_begin(e, at, v.scan_index);
    case NODE_END:
        return emit_end(e, at, v.scan_index);
    case NODE_GATHER:
        return gather(e, at, v);
    case NODE_PREVIOUS:
        return previous(e, at, v);
    case NODE_RANDOM:
        return random_value(e, at, v);
    default:
        return pointwise(e, at, v);
    }
}

static bool is_part(const emitter *e, node whole, node n) {
    node_view v = graph_view(e->g, whole);
    return whole == n || (v.op == NODE_AND && (is_part(e, v.child[0], n) || is_part(e, v.child[1], n)));
}

bool emit_is_known(const emitter *e, const environment *at, node n) {
    if (!at->known || graph_view(e->g, n).free & at->displaced)
        return false;
    for (const assumption *a = at->known; a; a = a->outer)
        if (is_part(e, a->holds, n))
            return true;
    return false;
}

LLVMValueRef emit_value(emitter *e, environment *at, node n) {
    if (e->memo_size && slot_of(e, at->stamp, n)->value)
        return slot_of(e, at->stamp, n)->value;
    node_view v     = graph_view(e->g, n);
    uint32_t number = e->s->buffer_of[n];
    LLVMValueRef value;
    if (v.type == TYPE_BOOL && emit_is_known(e, at, n))
        value = LLVMConstInt(e->i1, 1, false);
    else if (number != NO_BUFFER && n != e->computing)
        value = emit_load(e, at, number, v.type);
    else
        value = compute(e, at, v);
    remember(e, at->stamp, n, value);
    return value;
}

/* n = coefficient * var + rest, coefficient -1, 0 or 1. */
bool emit_affine(emitter *e, environment *at, node n, index_id var, int *coefficient, LLVMValueRef *rest) {
    node_view v = graph_view(e->g, n);
    int a, b;
    if (!(v.free >> var & 1)) {
        *coefficient = 0;
        *rest        = emit_value(e, at, n);
        return true;
    }
    if (v.op == NODE_INDEX) {
        *coefficient = 1;
        *rest        = emit_int(e, 0);
        return true;
    }
    if (v.op != NODE_ADD && v.op != NODE_SUB)
        return false;
    LLVMValueRef x, y;
    node left = v.child[0], right = v.child[1];
    if (!emit_affine(e, at, left, var, &a, &x) || !emit_affine(e, at, right, var, &b, &y))
        return false;
    *coefficient = v.op == NODE_ADD ? a + b : a - b;
    *rest        = v.op == NODE_ADD ? LLVMBuildAdd(e->builder, x, y, "") : LLVMBuildSub(e->builder, x, y, "");
    return *coefficient >= -1 && *coefficient <= 1;
}
