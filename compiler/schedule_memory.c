/* The workspace: one arena in which buffers that are never needed together share their place. */
#include "schedule_internal.h"

#include <stdlib.h>

enum { ALIGNMENT = 64 };

static bool is_blocked(const buffer *b) {
    for (unsigned a = 0; a < b->rank; a++)
        if (b->block[a])
            return true;
    return false;
}

/* What is not of one block lives as long as the outermost blocks that use it: one block leaves it to the next. */
static void use(schedule *s, uint32_t number, uint32_t step) {
    buffer *b      = &s->buffer[number];
    uint32_t first = step, last = step;
    for (uint32_t i = 0; i < step && !is_blocked(b); i++)
        if (s->step[i].kind == STEP_BLOCKS && i + s->step[i].inside >= step) {
            first = i;
            last  = i + s->step[i].inside;
            break;
        }
    if (first < b->first_use)
        b->first_use = first;
    if (last > b->last_use)
        b->last_use = last;
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

static void use_matrix(schedule *s, const matrix *m, uint32_t step, uint32_t *seen) {
    use(s, m->buffer, step);
    for (unsigned i = 0; i < m->offset_count; i++)
        use_node(s, m->offset[i], step, seen);
}

static void use_product(schedule *s, const matrix_product *p, uint32_t step, uint32_t *seen) {
    use_matrix(s, &p->a, step, seen);
    use_matrix(s, &p->b, step, seen);
    use_matrix(s, &p->c, step, seen);
}

static void use_statements(schedule *s, const statement *list, uint32_t step, uint32_t *seen) {
    for (; list; list = list->next) {
        switch (list->kind) {
        case STATEMENT_FOR:
        case STATEMENT_BLOCK:
        case STATEMENT_IF:
            use_node(s, list->lo, step, seen);
            use_node(s, list->hi, step, seen);
            use_node(s, list->condition, step, seen);
            use_statements(s, list->body, step, seen);
            use_statements(s, list->otherwise, step, seen);
            break;
        case STATEMENT_PRODUCT:
            use_product(s, list->product, step, seen);
            break;
        default:
            use(s, list->target, step);
            if (list->value)
                (s->buffer_of[list->value] == list->target ? use_operands : use_node)(s, list->value, step, seen);
            use_node(s, list->domain, step, seen);
            use_node(s, list->summand, step, seen);
            use_node(s, list->scatter_to, step, seen);
        }
    }
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

static bool is_around(const schedule *s, uint32_t blocks, uint32_t step) {
    return blocks == step ||
           (s->step[blocks].kind == STEP_BLOCKS && blocks < step && blocks + s->step[blocks].inside >= step);
}

static void schedule_enter_all(schedule *s, uint32_t step) {
    for (uint32_t i = 0; i <= step; i++)
        if (is_around(s, i, step))
            schedule_enter(s, i);
}

static void schedule_leave_all(schedule *s, uint32_t step) {
    for (uint32_t i = step + 1; i-- > 0;)
        if (is_around(s, i, step))
            schedule_leave(s, i);
}

void schedule_place(schedule *s, bool share) {
    uint32_t *seen = schedule_allocate(graph_node_count(s->graph) + 1, sizeof *seen);
    for (uint32_t i = 0; i < s->step_count; i++) {
        const step *t = &s->step[i];
        schedule_enter_all(s, i);
        use_statements(s, t->body, i, seen);
        if (t->kind == STEP_PRODUCT)
            use_product(s, t->product, i, seen);
        use_node(s, t->lo, i, seen);
        use_node(s, t->hi, i, seen);
        schedule_leave_all(s, i);
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
