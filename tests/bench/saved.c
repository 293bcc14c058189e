/* How buffers depend on each other, from statements' reads as the cost of schedules finds them. */
#include "saved.h"

#include "enough.h"
#include "schedule_cost_internal.h"

#include <stdlib.h>

enum { NARROW = 8 };

/* `target` is computed from `source`. */
typedef struct dependence {
    uint32_t target, source;
} dependence;

typedef struct tracer {
    schedule *s;
    dependence *pair;
    size_t count, room;
    uint32_t *open; /* buffers that the conditions and bounds around a statement read */
    size_t open_count;
    uint32_t target;
    node *holds;         /* buffer: a node whose value is there */
    bool *forward;       /* buffer */
    bool *given;         /* buffer: depends on a tensor */
    bool *read_backward; /* buffer: by what is not forward, or by what is made again for it */
} tracer;

static void trace_pair(tracer *w, uint32_t target, uint32_t source) {
    if (w->count == w->room) {
        w->room = w->room ? 2 * w->room : 256;
        w->pair = enough(realloc(w->pair, w->room * sizeof *w->pair));
    }
    w->pair[w->count++] = (dependence){target, source};
}

static void trace_read(void *context, uint32_t source) {
    tracer *w = context;
    trace_pair(w, w->target, source);
}

static void trace_open(void *context, uint32_t source) {
    tracer *w                = context;
    w->open                  = enough(realloc(w->open, (w->open_count + 1) * sizeof *w->open));
    w->open[w->open_count++] = source;
}

static void trace_condition(tracer *w, node n) {
    if (n)
        leaf_free(leaf_of_node(w->s, n, trace_open, w));
}

/* A buffer holds what the schedule says; else what is stored there last. */
static void trace_target(tracer *w, uint32_t target, node value) {
    w->target = target;
    if (value && (!w->holds[target] || w->s->buffer_of[w->holds[target]] != target))
        w->holds[target] = value;
    for (size_t i = 0; i < w->open_count; i++)
        trace_pair(w, target, w->open[i]);
}

static void trace_product(tracer *w, const matrix_product *p) {
    trace_target(w, p->c.buffer, NODE_NONE);
    leaf_free(leaf_of_product(w->s, p, &(axis_order){0}, trace_read, w));
}

static void trace_statements(tracer *w, const statement *t) {
    for (; t; t = t->next) {
        size_t around = w->open_count;
        if (t->kind == STATEMENT_PRODUCT) {
            trace_product(w, t->product);
        } else if (t->kind == STATEMENT_FOR || t->kind == STATEMENT_BLOCK || t->kind == STATEMENT_IF) {
            trace_condition(w, t->lo);
            trace_condition(w, t->hi);
            trace_condition(w, t->condition);
            trace_statements(w, t->body);
            trace_statements(w, t->otherwise);
        } else {
            trace_target(w, t->target, t->value);
            leaf_free(leaf_of_statement(w->s, t, &(axis_order){0}, trace_read, w));
        }
        w->open_count = around;
    }
}

/* The nodes of the buffers that are named in this step, of which a name from the spec is best. */
static void trace_names(tracer *w) {
    const graph *g = w->s->graph;
    for (node n = 1; n <= graph_node_count(g); n++) {
        uint32_t b = w->s->buffer_of[n];
        if (b != NO_BUFFER && (!w->holds[b] || (graph_node_name(g, n) && !graph_node_name(g, w->holds[b]))))
            w->holds[b] = n;
    }
}

static void trace_steps(tracer *w, uint32_t from, uint32_t to) {
    while (from < to) {
        const step *p   = &w->s->step[from];
        uint32_t inside = p->kind == STEP_BLOCKS ? p->inside : 0;
        size_t around   = w->open_count;
        schedule_enter(w->s, from);
        trace_names(w);
        if (p->kind == STEP_PRODUCT)
            trace_product(w, p->product);
        trace_statements(w, p->body);
        trace_condition(w, p->kind == STEP_BLOCKS ? p->lo : NODE_NONE);
        trace_condition(w, p->kind == STEP_BLOCKS ? p->hi : NODE_NONE);
        trace_steps(w, from + 1, from + 1 + inside);
        schedule_leave(w->s, from);
        w->open_count = around;
        from += 1 + inside;
    }
}

/* Marks what the marked buffers are computed from, or what is computed from them. */
static void spread(const tracer *w, bool *mark, bool to_sources) {
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < w->count; i++) {
            uint32_t from = to_sources ? w->pair[i].target : w->pair[i].source;
            uint32_t to   = to_sources ? w->pair[i].source : w->pair[i].target;
            if (!mark[from] || mark[to])
                continue;
            mark[to] = more = true;
        }
    }
}

static bool is_result(const schedule *s, const buffer *b) {
    output_kind kind = b->place == PLACE_OUTPUT ? graph_output(s->graph, b->number)->kind : OUTPUT_GRADIENT;
    return kind == OUTPUT_VALUE || kind == OUTPUT_LOSS;
}

/* Tiles, and what is held for one block of rows only. */
static bool is_scratch(const buffer *b) {
    bool blocked = false;
    for (unsigned i = 0; i < b->rank; i++)
        blocked |= b->block[i] != 0;
    return b->place == PLACE_TILE || blocked;
}

static bool is_saved(const tracer *w, uint32_t number) {
    const buffer *b = &w->s->buffer[number];
    return w->forward[number] && w->read_backward[number] && !is_scratch(b) && b->place != PLACE_TENSOR;
}

/* Scratch that gradients read is read where it is made, or made again: they need what it is made from. */
static void mark_read_backward(const tracer *w) {
    for (size_t i = 0; i < w->count; i++)
        w->read_backward[w->pair[i].source] |= !w->forward[w->pair[i].target];
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < w->count; i++) {
            uint32_t made = w->pair[i].target, from = w->pair[i].source;
            if (!w->read_backward[made] || !is_scratch(&w->s->buffer[made]) || w->read_backward[from])
                continue;
            w->read_backward[from] = more = true;
        }
    }
}

/* Elements for each position, where there is one index of time; 0: there is none or several. */
static int64_t width_of(const graph *g, const index_id *axis, unsigned rank, int64_t elements, index_set time) {
    int64_t width = 0;
    for (unsigned i = 0; i < rank; i++) {
        if (!(time >> axis[i] & 1))
            continue;
        if (width)
            return 0;
        width = elements / graph_index_extent(g, axis[i]);
    }
    return width;
}

/* The most elements that a given tensor has for each position. */
static int64_t given_width(const graph *g, index_set time) {
    int64_t widest = 0;
    for (uint32_t i = 0; i < graph_tensor_count(g); i++) {
        const tensor *t = graph_tensor(g, i);
        int64_t width   = width_of(g, t->index, t->rank, t->elements, time);
        widest          = width > widest ? width : widest;
    }
    return widest;
}

/* Bytes that must be read and written whatever is done. */
static uint64_t interface_traffic(const tracer *w) {
    uint64_t bytes = 0;
    bool *counted  = enough(calloc(w->s->buffer_count + 1, sizeof *counted));
    for (size_t i = 0; i < w->count; i++) {
        uint32_t of[2] = {w->pair[i].target, w->pair[i].source};
        for (unsigned k = 0; k < 2; k++) {
            const buffer *b = &w->s->buffer[of[k]];
            if (!counted[of[k]] && (b->place == PLACE_TENSOR || b->place == PLACE_OUTPUT))
                bytes += schedule_buffer_bytes(b);
            counted[of[k]] = true;
        }
    }
    free(counted);
    return bytes;
}

static saved_kind kind_of(const tracer *w, uint32_t number, index_set time) {
    const buffer *b = &w->s->buffer[number];
    int64_t width   = width_of(w->s->graph, b->axis, b->rank, b->elements, time);
    if (!w->given[number])
        return SAVED_INDICES;
    return width && NARROW * width <= given_width(w->s->graph, time) ? SAVED_NARROW : SAVED_WIDE;
}

static void list_saved(const tracer *w, index_set time, saving *r) {
    for (uint32_t b = 0; b < w->s->buffer_count; b++) {
        const buffer *of = &w->s->buffer[b];
        if (!is_saved(w, b))
            continue;
        saved_kind kind     = kind_of(w, b, time);
        r->list             = enough(realloc(r->list, (r->count + 1) * sizeof *r->list));
        r->list[r->count++] = (saved){b, w->holds[b], kind};
        r->of_kind[kind]++;
        r->bytes += schedule_buffer_bytes(of);
        if (kind != SAVED_INDICES)
            r->least += (of->place == PLACE_OUTPUT ? 1 : 2) * schedule_buffer_bytes(of);
    }
}

saving saving_of(schedule *s, index_set time) {
    saving r        = {0};
    uint32_t room   = s->buffer_count + 1;
    tracer w        = {.s = s};
    w.holds         = enough(calloc(room, sizeof *w.holds));
    w.forward       = enough(calloc(room, sizeof *w.forward));
    w.given         = enough(calloc(room, sizeof *w.given));
    w.read_backward = enough(calloc(room, sizeof *w.read_backward));
    trace_steps(&w, 0, s->step_count);
    for (uint32_t b = 0; b < s->buffer_count; b++) {
        w.forward[b] = is_result(s, &s->buffer[b]);
        w.given[b]   = s->buffer[b].place == PLACE_TENSOR;
    }
    spread(&w, w.forward, true);
    spread(&w, w.given, false);
    mark_read_backward(&w);
    list_saved(&w, time, &r);
    r.least += interface_traffic(&w);
    free(w.pair);
    free(w.open);
    free(w.holds);
    free(w.forward);
    free(w.given);
    free(w.read_backward);
    return r;
}
