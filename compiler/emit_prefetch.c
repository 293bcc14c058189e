/* What a loop over the places of a list reads, and adds to, lies anywhere: the processor cannot guess where. So the
 * positions some places ahead are asked for while this one is worked on. It changes no result. */
#include "emit_internal.h"

enum { AHEAD = 8, LINE = 64, MOST_LINES = 8 };

/* Around a loop over places of lists. */
typedef struct ahead {
    emitter *e;
    environment at; /* where the place is one ahead, and every index that is not open at its first value */
    index_id place;
    uint32_t asked[16]; /* buffers */
    unsigned count;
} ahead;

static void ask(ahead *a, uint32_t number, index_id along, node list, bool write) {
    emitter *e         = a->e;
    LLVMBuilderRef l   = e->builder;
    const buffer *b    = &e->s->buffer[number];
    environment there  = a->at;
    int64_t bytes      = 4;
    LLVMTypeRef memory = LLVMPointerTypeInContext(e->context, 0);
    for (unsigned i = 0; i < a->count; i++)
        if (a->asked[i] == number)
            return;
    if (a->count == 16 || b->element != ELEMENT_FLOAT)
        return;
    a->asked[a->count++] = number;
    const buffer *from   = &e->s->buffer[e->s->buffer_of[list]];
    for (unsigned i = 0; i < from->rank; i++)
        if (!there.value[from->axis[i]])
            there.value[from->axis[i]] = emit_begin(e, &a->at, from->axis[i]);
    for (unsigned i = 0; i < b->rank; i++) {
        bytes = b->axis[i] == along ? 4 * b->stride[i] : bytes;
        if (!there.value[b->axis[i]])
            there.value[b->axis[i]] = emit_begin(e, &a->at, b->axis[i]);
    }
    LLVMValueRef last  = emit_int(e, graph_index_extent(e->g, along) - 1);
    LLVMValueRef value = emit_smaller(e, emit_load(e, &there, e->s->buffer_of[list], TYPE_INT), last);
    there.value[along] = value;
    LLVMValueRef base  = emit_address(e, &there, number);
    unsigned id        = LLVMLookupIntrinsicID("llvm.prefetch", 13);
    LLVMValueRef f     = LLVMGetIntrinsicDeclaration(e->module, id, &memory, 1);
    LLVMTypeRef type   = LLVMIntrinsicGetType(e->context, id, &memory, 1);
    for (int64_t at = 0; at < bytes && at < MOST_LINES * LINE; at += LINE) {
        LLVMValueRef step    = emit_int(e, at);
        LLVMTypeRef byte     = LLVMInt8TypeInContext(e->context);
        LLVMValueRef line    = LLVMBuildGEP2(l, byte, base, &step, 1, "");
        LLVMValueRef what[4] = {line, LLVMConstInt(e->i32, write, false), LLVMConstInt(e->i32, 3, false),
                                LLVMConstInt(e->i32, 1, false)};
        LLVMBuildCall2(l, type, f, what, 4, "");
    }
}

/* Is it a list along this loop that is in memory? */
static bool is_list(const ahead *a, node n) {
    node_view v = graph_view(a->e->g, n);
    return v.op == NODE_CHOSEN && v.vars >> a->place & 1 && a->e->s->buffer_of[n] != NO_BUFFER;
}

static void look(ahead *a, node n, unsigned depth) {
    node_view v = graph_view(a->e->g, n);
    if (!n || depth > 16 || (a->e->s->buffer_of[n] != NO_BUFFER && n != a->e->computing))
        return;
    for (unsigned i = 0; v.op == NODE_GATHER && i + 1 < v.child_count; i++) {
        uint32_t number = a->e->s->buffer_of[v.child[0]];
        if (is_list(a, v.child[i + 1]) && number != NO_BUFFER && v.child_count == 2)
            ask(a, number, v.substituted[i], v.child[i + 1], false);
    }
    for (unsigned i = 0; i < v.child_count; i++)
        look(a, graph_view(a->e->g, n).child[i], depth + 1);
}

static void look_at(ahead *a, const statement *s) {
    for (; s; s = s->next) {
        look_at(a, s->body);
        if (s->kind == STATEMENT_REDUCE || s->kind == STATEMENT_ACCUMULATE)
            look(a, s->summand, 0);
        if (s->kind == STATEMENT_ACCUMULATE && s->scatter != GRAPH_INDICES && is_list(a, s->scatter_to))
            ask(a, s->target, s->scatter, s->scatter_to, true);
    }
}

void emit_ahead(emitter *e, const environment *at, const statement *s, LLVMValueRef end) {
    ahead a = {.e = e, .at = *at, .place = s->index};
    if (s->reverse)
        return;
    LLVMValueRef next    = LLVMBuildNSWAdd(e->builder, at->value[s->index], emit_int(e, AHEAD), "");
    LLVMValueRef last    = LLVMBuildNSWSub(e->builder, end, emit_int(e, 1), "");
    a.at.value[s->index] = emit_smaller(e, next, last);
    emit_new_point(e, &a.at);
    look_at(&a, s->body);
}
