/* Triangular systems, row after row. Where the statement goes along an index, the numbers of a row that stand next to
 * each other are kept in registers while the rows before it are added to them; the factors of the row, which are the
 * same for all of them, are computed first. Otherwise a row is one number, a sum over those before it. Every element is
 * made by the same operations in the same order, whatever part of a row a thread has. */
#include "emit_internal.h"

#include <stdio.h>

typedef struct solver {
    emitter *e;
    const statement *s;
    node matrix, right;
    index_id row, column;
    LLVMValueRef from, to; /* the columns that count in this row */
    LLVMValueRef factors;  /* the matrix there, each at its own place */
} solver;

static LLVMValueRef element(emitter *e, LLVMValueRef numbers, LLVMValueRef at) {
    return LLVMBuildInBoundsGEP2(e->builder, e->f32, numbers, &at, 1, "");
}

/* The solution at another row. */
static LLVMValueRef address_at(const solver *z, const environment *at, LLVMValueRef row) {
    environment there   = *at;
    there.value[z->row] = row;
    return emit_address(z->e, &there, z->s->target);
}

static loop open_columns(const solver *z, environment *at, LLVMValueRef accumulator) {
    loop l = emit_open(z->e, z->from, z->to, accumulator);
    emit_open_index(z->e, at, z->column, l.counter);
    emit_new_point(z->e, at);
    return l;
}

/* A row that is one number. */
static void sum_row(const solver *z, environment *at) {
    LLVMBuilderRef b   = z->e->builder;
    environment inner  = *at;
    loop l             = open_columns(z, &inner, emit_value(z->e, at, z->right));
    LLVMValueRef m     = emit_value(z->e, &inner, z->matrix);
    LLVMValueRef x     = LLVMBuildLoad2(b, z->e->f32, address_at(z, &inner, l.counter), "");
    LLVMValueRef one   = LLVMBuildFMul(b, m, x, "");
    LLVMValueRef whole = LLVMBuildFAdd(b, l.accumulator, one, "");
    LLVMSetFastMathFlags(one, LLVMFastMathAllowContract);
    /* several partial sums at once: the order of a sum is ours to choose */
    LLVMSetFastMathFlags(whole, LLVMFastMathAllowReassoc | LLVMFastMathNoSignedZeros | LLVMFastMathAllowContract);
    emit_store(z->e, at, z->s->target, emit_close(z->e, &l, whole));
}

static void compute_factors(const solver *z, const environment *at) {
    environment inner = *at;
    loop l            = open_columns(z, &inner, NULL);
    LLVMBuildStore(z->e->builder, emit_value(z->e, &inner, z->matrix), element(z->e, z->factors, l.counter));
    emit_close(z->e, &l, NULL);
}

static void begin_row(const solver *z, const environment *at, LLVMValueRef begin, LLVMValueRef end) {
    environment inner = *at;
    loop l            = emit_open(z->e, begin, end, NULL);
    emit_open_index(z->e, &inner, z->s->var[0], l.counter);
    emit_new_point(z->e, &inner);
    emit_store(z->e, &inner, z->s->target, emit_value(z->e, &inner, z->right));
    emit_close(z->e, &l, NULL);
}

/* So many numbers next to each other: `vectors` registers of `lanes` each. */
typedef struct strip {
    unsigned lanes, vectors;
} strip;

enum { MOST_VECTORS = 4 };

static const strip strips[] = {{16, MOST_VECTORS}, {16, 1}, {8, 1}, {4, 1}, {1, 1}};

static LLVMTypeRef register_of(const emitter *e, const strip *p) {
    return p->lanes > 1 ? LLVMVectorType(e->f32, p->lanes) : e->f32;
}

static LLVMValueRef place_of(emitter *e, const strip *p, LLVMValueRef base, unsigned which) {
    return which ? element(e, base, emit_int(e, (int64_t)which * p->lanes)) : base;
}

static LLVMValueRef load_numbers(emitter *e, const strip *p, LLVMValueRef base, unsigned which) {
    LLVMValueRef loaded = LLVMBuildLoad2(e->builder, register_of(e, p), place_of(e, p, base, which), "");
    LLVMSetAlignment(loaded, sizeof(float));
    return loaded;
}

static LLVMValueRef in_every_lane(emitter *e, const strip *p, LLVMValueRef x) {
    if (p->lanes == 1)
        return x;
    LLVMValueRef zero  = LLVMConstInt(e->i32, 0, false);
    LLVMValueRef first = LLVMBuildInsertElement(e->builder, LLVMGetPoison(register_of(e, p)), x, zero, "");
    return LLVMBuildShuffleVector(e->builder, first, LLVMGetPoison(register_of(e, p)),
                                  LLVMConstNull(LLVMVectorType(e->i32, p->lanes)), "");
}

static LLVMValueRef multiply_add(emitter *e, const strip *p, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
    char name[32]            = "llvm.fmuladd.f32";
    LLVMValueRef argument[3] = {a, b, c};
    if (p->lanes > 1)
        snprintf(name, sizeof name, "llvm.fmuladd.v%uf32", p->lanes);
    return emit_intrinsic(e, name, argument, 3);
}

static LLVMValueRef joined(emitter *e, LLVMTypeRef type, LLVMValueRef first, LLVMBasicBlockRef from) {
    LLVMValueRef phi = LLVMBuildPhi(e->builder, type, "");
    LLVMAddIncoming(phi, &first, &from, 1);
    return phi;
}

/* Adds the rows that count to the numbers from where `at` stands. */
static void finish_numbers(const solver *z, const environment *at, const strip *p) {
    emitter *e          = z->e;
    LLVMTypeRef type    = register_of(e, p);
    LLVMValueRef target = emit_address(e, at, z->s->target), begins[MOST_VECTORS], sum[MOST_VECTORS],
                 next[MOST_VECTORS];
    for (unsigned i = 0; i < p->vectors; i++)
        begins[i] = load_numbers(e, p, target, i);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->builder);
    loop l                   = emit_open(e, z->from, z->to, NULL);
    for (unsigned i = 0; i < p->vectors; i++)
        sum[i] = joined(e, type, begins[i], before);
    LLVMValueRef factor = LLVMBuildLoad2(e->builder, e->f32, element(e, z->factors, l.counter), "");
    LLVMValueRef m = in_every_lane(e, p, factor), x = address_at(z, at, l.counter);
    for (unsigned i = 0; i < p->vectors; i++)
        next[i] = multiply_add(e, p, m, load_numbers(e, p, x, i), sum[i]);
    LLVMBasicBlockRef last = LLVMGetInsertBlock(e->builder);
    emit_close(e, &l, NULL);
    for (unsigned i = 0; i < p->vectors; i++) {
        LLVMAddIncoming(sum[i], &next[i], &last, 1);
        sum[i] = joined(e, type, begins[i], before);
        LLVMAddIncoming(sum[i], &next[i], &last, 1);
    }
    for (unsigned i = 0; i < p->vectors; i++)
        LLVMSetAlignment(LLVMBuildStore(e->builder, sum[i], place_of(e, p, target, i)), sizeof(float));
}

/* As many whole strips as there are from `begin` on. Returns where they end. */
static LLVMValueRef finish_strips(const solver *z, const environment *at, const strip *p, LLVMValueRef begin,
                                  LLVMValueRef end) {
    LLVMBuilderRef b   = z->e->builder;
    LLVMValueRef width = emit_int(z->e, (int64_t)p->lanes * p->vectors);
    LLVMValueRef count = LLVMBuildSDiv(b, LLVMBuildNSWSub(b, end, begin, ""), width, "");
    environment inner  = *at;
    loop l             = emit_open(z->e, emit_int(z->e, 0), count, NULL);
    LLVMValueRef first = LLVMBuildNSWAdd(b, begin, LLVMBuildNSWMul(b, l.counter, width, ""), "");
    emit_open_index(z->e, &inner, z->s->var[0], first);
    finish_numbers(z, &inner, p);
    emit_close(z->e, &l, NULL);
    return LLVMBuildNSWAdd(b, begin, LLVMBuildNSWMul(b, count, width, ""), "");
}

static bool side_by_side(const emitter *e, const statement *s) {
    const buffer *b = &e->s->buffer[s->target];
    for (unsigned i = 0; i < b->rank; i++)
        if (b->axis[i] == s->var[0])
            return b->stride[i] == 1;
    return false;
}

static void finish_row(const solver *z, const environment *at, LLVMValueRef begin, LLVMValueRef end) {
    int64_t most = side_by_side(z->e, z->s) ? graph_index_extent(z->e->g, z->s->var[0]) : 1;
    for (unsigned i = 0; i < sizeof strips / sizeof *strips; i++)
        if ((int64_t)strips[i].lanes * strips[i].vectors <= most)
            begin = finish_strips(z, at, &strips[i], begin, end);
}

void emit_solve(emitter *e, environment *at, const statement *s) {
    LLVMBuilderRef b  = e->builder;
    node_view v       = graph_view(e->g, s->value);
    int64_t extent    = graph_index_extent(e->g, s->index);
    solver z          = {.e      = e,
                         .s      = s,
                         .matrix = v.child[0],
                         .right  = v.child[1],
                         .row    = s->index,
                         .column = graph_solve_column(e->g, s->value)};
    LLVMValueRef none = emit_int(e, 0), all = emit_int(e, extent), begin = none, end = none;
    if (s->var_count) {
        emit_share(e, at, s->var[0], &begin, &end);
        z.factors = emit_scratch(e, e->f32, extent, "factors");
    }
    loop rows         = emit_open(e, none, all, NULL);
    LLVMValueRef here = rows.counter;
    if (s->reverse)
        here = LLVMBuildNSWSub(b, emit_int(e, extent - 1), rows.counter, "");
    z.from            = s->reverse ? LLVMBuildNSWAdd(b, here, emit_int(e, 1), "") : none;
    z.to              = s->reverse ? all : here;
    environment inner = *at;
    emit_open_index(e, &inner, s->index, here);
    emit_new_point(e, &inner);
    if (s->var_count) {
        compute_factors(&z, &inner);
        begin_row(&z, &inner, begin, end);
        finish_row(&z, &inner, begin, end);
    } else {
        sum_row(&z, &inner);
    }
    emit_close(e, &rows, NULL);
}
