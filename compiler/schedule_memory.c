/* The workspace: one arena in which buffers that are never needed together share their place. */
#include "schedule_internal.h"

#include <stdlib.h>

enum { ALIGNMENT = 64 };

static void use(schedule *s, uint32_t number, uint32_t step) {
    buffer *b = &s->buffer[number];
    if (step < b->first_use)
        b->first_use = step;
    if (step > b->last_use)
        b->last_use = step;
}

static void use_node(schedule *s, node n, uint32_t step, uint32_t *seen) {
    if (!n || seen[n] == step + 1)
        return;
    seen[n] = step + 1;
    if (s->buffer_of[n] != NO_BUFFER)
        use(s, s->buffer_of[n], step);
    /* what a stored node is made of is looked at too: lifetimes only get longer where the node is loaded, and the
     * node being computed must see its operands */
    node_view v = graph_view(s->graph, n);
    if (s->buffer_of[n] != NO_BUFFER)
        return;
    for (unsigned i = 0; i < v.child_count; i++)
        use_node(s, v.child[i], step, seen);
    if (v.op == NODE_PREVIOUS) { /* at the first step it is what the state begins with */
        node scan = graph_scan_node(s->graph, v.scan_label, v.scan_state);
        use(s, s->buffer_of[scan], step);
        use_node(s, graph_scan_init(s->graph, scan), step, seen);
    }
}

static void use_operands(schedule *s, node n, uint32_t step, uint32_t *seen) {
    node_view v = graph_view(s->graph, n);
    if (s->buffer_of[n] != NO_BUFFER)
        use(s, s->buffer_of[n], step);
    for (unsigned i = 0; i < v.child_count; i++)
        use_node(s, v.child[i], step, seen);
}

static void use_statements(schedule *s, const statement *list, uint32_t step, uint32_t *seen) {
    for (; list; list = list->next) {
        if (list->kind == STATEMENT_FOR) {
            use_statements(s, list->body, step, seen);
            continue;
        }
        use(s, list->target, step);
        if (list->value)
            (s->buffer_of[list->value] == list->target ? use_operands : use_node)(s, list->value, step, seen);
        use_node(s, list->domain, step, seen);
        use_node(s, list->summand, step, seen);
        use_node(s, list->scatter_to, step, seen);
    }
}

static void use_matrix(schedule *s, const matrix *m, uint32_t step, uint32_t *seen) {
    use(s, m->buffer, step);
    for (unsigned i = 0; i < m->offset_count; i++)
        use_node(s, m->offset[i], step, seen);
}

static uint64_t bytes_of(const buffer *b) {
    uint64_t element = b->element == ELEMENT_BOOL ? 1 : 4;
    return ((uint64_t)b->elements * element + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

typedef struct placed {
    buffer *buffer;
    uint64_t bytes;
} placed;

static int larger_first(const void *a, const void *b) {
    const placed *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->buffer < y->buffer ? -1 : x->buffer > y->buffer;
}

static int lower_first(const void *a, const void *b) {
    const placed *const *x = a, *const *y = b;
    return ((*x)->buffer->offset > (*y)->buffer->offset) - ((*x)->buffer->offset < (*y)->buffer->offset);
}

void schedule_place(schedule *s, bool share) {
    uint32_t *seen = schedule_allocate(graph_node_count(s->graph) + 1, sizeof *seen);
    for (uint32_t i = 0; i < s->step_count; i++) {
        const step *t = &s->step[i];
        use_statements(s, t->body, i, seen);
        if (t->kind == STEP_PRODUCT) {
            use_matrix(s, &t->product->a, i, seen);
            use_matrix(s, &t->product->b, i, seen);
            use_matrix(s, &t->product->c, i, seen);
        }
    }
    free(seen);
    /* the largest first, each at the lowest place that is free for as long as it lives */
    placed *item   = schedule_allocate(s->buffer_count, sizeof *item);
    placed **alive = schedule_allocate(s->buffer_count, sizeof *alive);
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->buffer_count; i++)
        if (s->buffer[i].place == PLACE_WORKSPACE && s->buffer[i].first_use != UINT32_MAX)
            item[count++] = (placed){&s->buffer[i], bytes_of(&s->buffer[i])};
    qsort(item, count, sizeof *item, larger_first);
    for (uint32_t i = 0; i < count; i++) {
        buffer *b       = item[i].buffer;
        uint64_t offset = 0;
        uint32_t others = 0;
        for (uint32_t k = 0; k < i; k++)
            if (!share || (item[k].buffer->first_use <= b->last_use && b->first_use <= item[k].buffer->last_use))
                alive[others++] = &item[k];
        qsort(alive, others, sizeof *alive, lower_first);
        for (uint32_t k = 0; k < others; k++) {
            if (alive[k]->buffer->offset >= offset + item[i].bytes)
                break;
            uint64_t end = alive[k]->buffer->offset + alive[k]->bytes;
            if (end > offset)
                offset = end;
        }
        b->offset = offset;
        if (offset + item[i].bytes > s->workspace)
            s->workspace = offset + item[i].bytes;
    }
    free(item);
    free(alive);
}

/* Nodes that a step keeps in buffers of its own */

static void exchange(schedule *s, uint32_t number) {
    step *t = &s->step[number];
    for (uint32_t i = 0; i < t->local_count; i++) {
        placement *p          = &t->local[i];
        uint32_t outside      = s->buffer_of[p->node];
        s->buffer_of[p->node] = p->buffer;
        p->buffer             = outside;
    }
}

void schedule_enter(schedule *s, uint32_t number) {
    exchange(s, number);
}

void schedule_leave(schedule *s, uint32_t number) {
    exchange(s, number);
}
