/* Products of matrices: calls of the library, for as many rows, columns and inner values as there are at run time. */
#include "emit_internal.h"

/* dnnl_sgemm takes row-major matrices, transposed or not, with a leading dimension. */
typedef struct operand {
    LLVMValueRef address, lead;
    bool turned;
} operand;

static LLVMValueRef matrix_address(emitter *e, environment *at, const matrix *m) {
    LLVMValueRef offset = emit_int(e, 0);
    for (unsigned i = 0; i < m->offset_count; i++) {
        LLVMValueRef term =
            LLVMBuildMul(e->builder, emit_value(e, at, m->offset[i]), emit_int(e, m->offset_stride[i]), "");
        offset = LLVMBuildAdd(e->builder, offset, term, "");
    }
    return LLVMBuildGEP2(e->builder, e->f32, emit_buffer(e, m->buffer), &offset, 1, "");
}

static LLVMValueRef at_least(emitter *e, int64_t lead, LLVMValueRef least) {
    if (!LLVMIsConstant(least))
        return emit_larger(e, emit_int(e, lead), least);
    int64_t constant = LLVMConstIntGetSExtValue(least);
    return emit_int(e, lead > constant ? lead : constant); /* of a single row any will do */
}

static int64_t extents_of(const emitter *e, const axis_order *order) {
    int64_t extent = 1;
    for (unsigned i = 0; i < order->rank; i++)
        extent *= graph_index_extent(e->g, order->index[i]);
    return extent;
}

static operand operand_of(emitter *e, environment *at, const matrix *m, const axis_order *along, LLVMValueRef rows,
                          LLVMValueRef columns) {
    operand o = {.address = matrix_address(e, at, m)};
    o.turned  = m->column_stride != 1 && extents_of(e, along) > 1;
    o.lead    = at_least(e, o.turned ? m->column_stride : m->row_stride, o.turned ? rows : columns);
    return o;
}

enum { PART_WORK = 1 << 22, MOST_PARTS = 16, LEAST_SIDE = 32, SIDE_UNIT = 16 };

static bool parts_are_columns(const emitter *e, const matrix_product *p) {
    return extents_of(e, &p->columns) > extents_of(e, &p->rows);
}

unsigned emit_product_parts(const emitter *e, const step *t) {
    if (t->kind != STEP_PRODUCT)
        return 1;
    const matrix_product *p = t->product;
    int64_t rows = extents_of(e, &p->rows), columns = extents_of(e, &p->columns),
            side  = rows > columns ? rows : columns;
    int64_t parts = t->work / (t->items * PART_WORK);
    parts         = parts > side / LEAST_SIDE ? side / LEAST_SIDE : parts;
    parts         = parts > MOST_PARTS ? MOST_PARTS : parts;
    return parts < 1 ? 1 : (unsigned)parts;
}

/* Makes size[] and the addresses those of one of several parts of the result's longer side. */
typedef struct share {
    LLVMValueRef first; /* row or column; NULL: all */
    bool columns;
} share;

static share take_part(emitter *e, const matrix_product *p, LLVMValueRef *size, LLVMValueRef part, unsigned parts) {
    share s = {NULL, parts_are_columns(e, p)};
    if (!part)
        return s;
    LLVMBuilderRef b     = e->builder;
    LLVMValueRef *length = &size[s.columns ? 1 : 0], unit = emit_int(e, (int64_t)parts * SIDE_UNIT);
    LLVMValueRef rounded = LLVMBuildAdd(b, *length, emit_int(e, (int64_t)parts * SIDE_UNIT - 1), "");
    LLVMValueRef each    = LLVMBuildMul(b, LLVMBuildUDiv(b, rounded, unit, ""), emit_int(e, SIDE_UNIT), "");
    s.first              = LLVMBuildMul(b, each, part, "");
    LLVMValueRef left    = LLVMBuildSub(b, *length, s.first, "");
    LLVMValueRef fewer   = LLVMBuildICmp(b, LLVMIntSLT, left, each, "");
    *length              = LLVMBuildSelect(b, fewer, left, each, "");
    return s;
}

static LLVMValueRef moved(emitter *e, LLVMValueRef address, LLVMValueRef by, int64_t stride) {
    if (!by)
        return address;
    LLVMValueRef offset = LLVMBuildMul(e->builder, by, emit_int(e, stride), "");
    return LLVMBuildGEP2(e->builder, e->f32, address, &offset, 1, "");
}

static void call_library(emitter *e, environment *at, const matrix_product *p, const LLVMValueRef *size, share s) {
    operand a      = operand_of(e, at, &p->a, &p->inner, size[0], size[2]);
    operand b      = operand_of(e, at, &p->b, &p->columns, size[2], size[1]);
    LLVMValueRef c = matrix_address(e, at, &p->c);
    if (s.columns) {
        b.address = moved(e, b.address, s.first, p->b.column_stride);
        c         = moved(e, c, s.first, 1);
    } else {
        a.address = moved(e, a.address, s.first, p->a.row_stride);
        c         = moved(e, c, s.first, p->c.row_stride);
    }
    LLVMTypeRef type[13]      = {e->i32, e->i32,     e->i64, e->i64, e->i64,     e->f32, e->pointer,
                                 e->i64, e->pointer, e->i64, e->f32, e->pointer, e->i64};
    LLVMValueRef argument[13] = {LLVMConstInt(e->i32, a.turned ? 'T' : 'N', false),
                                 LLVMConstInt(e->i32, b.turned ? 'T' : 'N', false),
                                 size[0],
                                 size[1],
                                 size[2],
                                 LLVMConstReal(e->f32, 1),
                                 a.address,
                                 a.lead,
                                 b.address,
                                 b.lead,
                                 LLVMConstReal(e->f32, p->into),
                                 c,
                                 at_least(e, p->c.row_stride, size[1])};
    emit_external(e, "dnnl_sgemm", e->i32, type, argument, 13);
}

/* A sum over nothing. */
static void clear(emitter *e, environment *at, const matrix *c, LLVMValueRef rows, LLVMValueRef columns) {
    LLVMValueRef base     = matrix_address(e, at, c);
    loop row              = emit_open(e, emit_int(e, 0), rows, NULL);
    LLVMValueRef start    = LLVMBuildMul(e->builder, row.counter, emit_int(e, c->row_stride), "");
    loop column           = emit_open(e, emit_int(e, 0), columns, NULL);
    LLVMValueRef position = LLVMBuildAdd(e->builder, start, column.counter, "");
    LLVMValueRef place    = LLVMBuildInBoundsGEP2(e->builder, e->f32, base, &position, 1, "");
    LLVMBuildStore(e->builder, LLVMConstReal(e->f32, 0), place);
    emit_close(e, &column, NULL);
    emit_close(e, &row, NULL);
}

static LLVMBasicBlockRef branch(emitter *e, LLVMValueRef condition, LLVMBasicBlockRef otherwise) {
    LLVMBasicBlockRef yes = LLVMAppendBasicBlockInContext(e->context, e->function, "product");
    LLVMBuildCondBr(e->builder, condition, yes, otherwise);
    LLVMPositionBuilderAtEnd(e->builder, yes);
    return yes;
}

static LLVMValueRef is_positive(emitter *e, LLVMValueRef length) {
    return LLVMBuildICmp(e->builder, LLVMIntSGT, length, emit_int(e, 0), "");
}

static void open_first(emitter *e, environment *at, const axis_order *order) {
    for (unsigned i = 0; i < order->rank; i++)
        emit_open_index(e, at, order->index[i], emit_begin(e, at, order->index[i]));
}

void emit_product(emitter *e, const environment *outside, const matrix_product *p, LLVMValueRef part, unsigned parts) {
    environment at                  = *outside;
    const axis_order *const axes[3] = {&p->rows, &p->columns, &p->inner};
    LLVMValueRef size[3];
    for (unsigned i = 0; i < 3; i++) {
        size[i] = emit_length(e, &at, axes[i]);
        open_first(e, &at, axes[i]);
    }
    LLVMValueRef whole[2] = {size[0], size[1]};
    share s               = take_part(e, p, size, part, parts);
    if (LLVMIsConstant(size[0]) && LLVMIsConstant(size[1]) && LLVMIsConstant(size[2])) {
        emit_new_point(e, &at);
        call_library(e, &at, p, size, s);
        return;
    }
    LLVMBasicBlockRef after = LLVMAppendBasicBlockInContext(e->context, e->function, "multiplied");
    LLVMValueRef any        = LLVMBuildAnd(e->builder, is_positive(e, size[0]), is_positive(e, size[1]), "");
    branch(e, any, after);
    LLVMBasicBlockRef empty = p->into ? after : LLVMAppendBasicBlockInContext(e->context, e->function, "empty");
    branch(e, is_positive(e, size[2]), empty);
    emit_new_point(e, &at);
    call_library(e, &at, p, size, s);
    LLVMBuildBr(e->builder, after);
    if (!p->into) {
        LLVMPositionBuilderAtEnd(e->builder, empty);
        emit_new_point(e, &at);
        clear(e, &at, &p->c, whole[0], whole[1]);
        LLVMBuildBr(e->builder, after);
    }
    LLVMPositionBuilderAtEnd(e->builder, after);
}
