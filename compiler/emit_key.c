/* Two steps are the same kernel if they do the same to buffers of the same layout: the layers of a model repeat. The
 * key writes a step down with its buffers, random tensors and nodes numbered in order of occurrence. */
#include "emit_internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct text {
    char *data;
    size_t size, room;
} text;

static void add(text *t, const char *format, ...) {
    char piece[160];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    if (t->size + (size_t)length + 1 > t->room) {
        t->room = (t->room + (size_t)length + 1) * 2;
        t->data = realloc(t->data, t->room);
        if (!t->data) {
            fputs("attnc: out of memory\n", stderr);
            exit(3);
        }
    }
    memcpy(t->data + t->size, piece, (size_t)length + 1);
    t->size += (size_t)length;
}

typedef struct writer {
    emitter *e;
    text out;
    uint32_t *seen; /* node: its number in this key, 0: not yet */
    uint32_t nodes, labels;
    uint32_t label[64]; /* scan labels by occurrence */
    node computing;
} writer;

static void number_buffer(emitter *e, uint32_t number) {
    if (e->parameter_of[number] != NO_BUFFER)
        return;
    if (e->s->buffer[number].place == PLACE_TILE) {
        e->tile[e->tile_count]  = NULL;
        e->parameter_of[number] = e->tile_count++;
    } else {
        e->parameter_of[number]      = e->buffer_count;
        e->buffer[e->buffer_count++] = number;
    }
}

static void write_buffer(writer *w, uint32_t number) {
    const buffer *b = &w->e->s->buffer[number];
    bool tile       = b->place == PLACE_TILE;
    number_buffer(w->e, number);
    add(&w->out, "%c%u:%d:%lld(", tile ? 't' : 'b', w->e->parameter_of[number], b->element,
        (long long)(tile ? b->elements : 0));
    for (unsigned i = 0; i < b->rank; i++)
        add(&w->out, "%u*%lld/%lld,", b->axis[i], (long long)b->stride[i], (long long)b->block[i]);
    add(&w->out, ")");
}

static unsigned random_number(emitter *e, uint32_t number) {
    for (unsigned i = 0; i < e->random_count; i++)
        if (e->random[i] == number)
            return i;
    e->random[e->random_count] = number;
    return e->random_count++;
}

static unsigned label_number(writer *w, uint32_t label) {
    for (unsigned i = 0; i < w->labels; i++)
        if (w->label[i] == label)
            return i;
    if (w->labels < 64)
        w->label[w->labels++] = label;
    return w->labels - 1;
}

static void write_node(writer *w, node n) {
    const emitter *e = w->e;
    if (!n) {
        add(&w->out, "-");
        return;
    }
    if (w->seen[n]) {
        add(&w->out, "n%u ", w->seen[n]);
        return;
    }
    w->seen[n]  = ++w->nodes;
    node_view v = graph_view(e->g, n);
    if (e->s->buffer_of[n] != NO_BUFFER && n != w->computing) {
        add(&w->out, "%d", v.type);
        write_buffer(w, e->s->buffer_of[n]);
        return;
    }
    add(&w->out, "%d.%d", v.op, v.type);
    switch (v.op) {
    case NODE_FLOAT:
        add(&w->out, "=%a ", v.number);
        break;
    case NODE_INT:
        add(&w->out, "=%lld ", (long long)v.integer);
        break;
    case NODE_INDEX:
        add(&w->out, "i%d ", __builtin_ctzll(v.vars));
        break;
    case NODE_RANDOM:
        add(&w->out, "r%u:%llx ", random_number(w->e, (uint32_t)v.integer), (unsigned long long)v.vars);
        break;
    case NODE_BEGIN:
    case NODE_END:
        add(&w->out, "i%u ", v.scan_index);
        break;
    case NODE_PREVIOUS: {
        node scan = graph_scan_node(e->g, v.scan_label, v.scan_state);
        add(&w->out, "p%u:%u%d", label_number(w, v.scan_label), v.scan_index, v.reverse);
        write_buffer(w, e->s->buffer_of[scan]);
        write_node(w, graph_scan_init(e->g, scan));
        break;
    }
    default:
        add(&w->out, ":%d:%llx:%u:%d:%lld(", v.reduction, (unsigned long long)v.vars, v.scan_index, v.reverse,
            (long long)(graph_selects(v.op) ? v.integer : 0));
        for (unsigned i = 0; i < v.child_count; i++) {
            if (v.op == NODE_GATHER && i)
                add(&w->out, "@%u=", v.substituted[i - 1]);
            write_node(w, v.child[i]);
        }
        add(&w->out, ")");
    }
}

static void write_matrix(writer *w, const matrix *m) {
    write_buffer(w, m->buffer);
    add(&w->out, "%lld,%lld", (long long)m->row_stride, (long long)m->column_stride);
    for (unsigned i = 0; i < m->offset_count; i++) {
        add(&w->out, "+%lld*", (long long)m->offset_stride[i]);
        write_node(w, m->offset[i]);
    }
}

static void write_order(writer *w, const axis_order *order) {
    for (unsigned i = 0; i < order->rank; i++)
        add(&w->out, ".%u", order->index[i]);
    add(&w->out, "/");
}

static void write_product(writer *w, const matrix_product *p) {
    write_matrix(w, &p->a);
    write_matrix(w, &p->b);
    write_matrix(w, &p->c);
    write_order(w, &p->rows);
    write_order(w, &p->columns);
    write_order(w, &p->inner);
    add(&w->out, "%d", p->into);
}

/* STORE, REDUCE, ACCUMULATE, TOPK, SOLVE */
static void write_assignment(writer *w, const statement *s) {
    write_buffer(w, s->target);
    w->computing = s->value && w->e->s->buffer_of[s->value] == s->target ? s->value : NODE_NONE;
    if (w->computing)
        w->seen[s->value] = 0;
    add(&w->out, "%d:%u:%d:", s->reduction, s->scatter, s->into);
    for (unsigned i = 0; i < s->var_count; i++)
        add(&w->out, "v%u", s->var[i]);
    if (s->kind == STATEMENT_STORE || s->kind == STATEMENT_TOPK)
        write_node(w, s->value);
    if (s->kind == STATEMENT_SOLVE) {
        node_view v = graph_view(w->e->g, s->value);
        add(&w->out, "%u:%llx:%d:", s->index, (unsigned long long)v.vars, s->reverse);
        write_node(w, v.child[0]);
        write_node(w, v.child[1]);
    }
    write_node(w, s->domain);
    write_node(w, s->summand);
    write_node(w, s->scatter_to);
    /* from here on the node is loaded, not computed */
    if (w->computing)
        w->seen[s->value] = 0;
    w->computing = NODE_NONE;
}

static void write_statements(writer *w, const statement *s) {
    for (; s; s = s->next) {
        add(&w->out, "{%d:", s->kind);
        switch (s->kind) {
        case STATEMENT_FOR:
            add(&w->out, "%u%d", s->index, s->reverse);
            break;
        case STATEMENT_BLOCK:
            add(&w->out, "%u:%lld:%d%d:", s->index, (long long)s->block, s->once, s->reverse);
            write_node(w, s->lo);
            write_node(w, s->hi);
            break;
        case STATEMENT_IF:
            write_node(w, s->condition);
            write_node(w, s->assumed);
            break;
        case STATEMENT_PRODUCT:
            write_product(w, s->product);
            break;
        default:
            write_assignment(w, s);
        }
        write_statements(w, s->body);
        if (s->otherwise) {
            add(&w->out, "|");
            write_statements(w, s->otherwise);
        }
        add(&w->out, "}");
    }
}

char *emit_key(emitter *e, const step *t) {
    writer w        = {.e = e};
    e->buffer_count = e->random_count = e->tile_count = 0;
    for (uint32_t i = 0; i < e->s->buffer_count; i++)
        e->parameter_of[i] = NO_BUFFER;
    w.seen = calloc(graph_node_count(e->g) + 1, sizeof *w.seen);
    if (!w.seen) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    add(&w.out, "%d:%u:%u:%lld", t->kind, t->split, t->parallel_count, (long long)t->items);
    write_order(&w, &t->ranged);
    write_statements(&w, t->body);
    if (t->kind == STEP_PRODUCT) {
        write_product(&w, t->product);
        write_order(&w, &t->batch);
    }
    free(w.seen);
    return w.out.data;
}
