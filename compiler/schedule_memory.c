/* The workspace: one arena in which buffers that are never needed together share their place. */
#include "schedule_internal.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static bool is_blocked(const buffer *b) {
    for (unsigned a = 0; a < b->rank; a++)
        if (b->block[a])
            return true;
    return false;
}

/* The step whose uses are looked at. */
typedef struct point {
    schedule *s;
    uint32_t step;
    uint32_t first, last; /* the outermost blocks that it stands in; itself where it stands in none */
    uint32_t *seen;       /* node: the last step that met it, plus 1 */
} point;

/* What is not of one block lives as long as the outermost blocks that use it: one block leaves it to the next. */
static void use(const point *at, uint32_t number) {
    buffer *b      = &at->s->buffer[number];
    bool blocked   = is_blocked(b);
    uint32_t first = blocked ? at->step : at->first, last = blocked ? at->step : at->last;
    if (first < b->first_use)
        b->first_use = first;
    if (last > b->last_use)
        b->last_use = last;
}

static void use_node(const point *at, node n);

/* At the first step it is what the state begins with. */
static void use_before(const point *at, node_view v) {
    const schedule *s = at->s;
    node scan         = graph_scan_node(s->graph, v.scan_label, v.scan_state);
    use(at, s->buffer_of[scan]);
    use_node(at, graph_scan_init(s->graph, scan));
}

static void use_node(const point *at, node n) {
    const schedule *s = at->s;
    if (!n || at->seen[n] == at->step + 1)
        return;
    at->seen[n] = at->step + 1;
    if (s->buffer_of[n] != NO_BUFFER)
        use(at, s->buffer_of[n]);
    /* what a stored node is made of is looked at too: lifetimes only get longer where the node is loaded, and the
     * node being computed must see its operands */
    node_view v = graph_view(s->graph, n);
    if (s->buffer_of[n] != NO_BUFFER)
        return;
    for (unsigned i = 0; i < v.child_count; i++)
        use_node(at, v.child[i]);
    if (v.op == NODE_PREVIOUS)
        use_before(at, v);
}

static void use_operands(const point *at, node n) {
    const schedule *s = at->s;
    node_view v       = graph_view(s->graph, n);
    if (s->buffer_of[n] != NO_BUFFER)
        use(at, s->buffer_of[n]);
    for (unsigned i = 0; i < v.child_count; i++)
        use_node(at, v.child[i]);
    if (v.op == NODE_PREVIOUS)
        use_before(at, v);
}

static void use_matrix(const point *at, const matrix *m) {
    use(at, m->buffer);
    for (unsigned i = 0; i < m->offset_count; i++)
        use_node(at, m->offset[i]);
}

static void use_product(const point *at, const matrix_product *p) {
    use_matrix(at, &p->a);
    use_matrix(at, &p->b);
    use_matrix(at, &p->c);
}

static void use_statements(const point *at, const statement *list) {
    for (; list; list = list->next) {
        switch (list->kind) {
        case STATEMENT_FOR:
        case STATEMENT_BLOCK:
        case STATEMENT_IF:
            use_node(at, list->lo);
            use_node(at, list->hi);
            use_node(at, list->condition);
            use_statements(at, list->body);
            use_statements(at, list->otherwise);
            break;
        case STATEMENT_PRODUCT:
            use_product(at, list->product);
            break;
        default:
            use(at, list->target);
            if (list->value)
                (at->s->buffer_of[list->value] == list->target ? use_operands : use_node)(at, list->value);
            use_node(at, list->domain);
            use_node(at, list->summand);
            use_node(at, list->scatter_to);
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

/* What has its place already, by offset. */
typedef struct taken {
    uint64_t offset, end;
    uint32_t first_use, last_use;
} taken;

/* The lowest place that is free as long as b lives. */
static uint64_t free_place(const taken *list, uint32_t count, const buffer *b, uint64_t bytes, bool share) {
    uint64_t offset = 0;
    for (uint32_t i = 0; i < count && list[i].offset < offset + bytes; i++) {
        bool alive = !share || (list[i].first_use <= b->last_use && b->first_use <= list[i].last_use);
        if (alive && list[i].end > offset)
            offset = list[i].end;
    }
    return offset;
}

static void take(taken *list, uint32_t count, taken more) {
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (list[middle].offset <= more.offset)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(&list[low + 1], &list[low], (count - low) * sizeof *list);
    list[low] = more;
}

/* The largest first, each at the lowest place that is free as long as it lives. */
static void place_buffers(schedule *s, bool share) {
    placed *item   = schedule_allocate(s->buffer_count, sizeof *item);
    taken *list    = schedule_allocate(s->buffer_count, sizeof *list);
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->buffer_count; i++)
        if (s->buffer[i].place == PLACE_WORKSPACE && s->buffer[i].first_use != UINT32_MAX)
            item[count++] = (placed){&s->buffer[i], bytes_of(&s->buffer[i])};
    qsort(item, count, sizeof *item, larger_first);
    for (uint32_t i = 0; i < count; i++) {
        buffer *b    = item[i].buffer;
        b->offset    = free_place(list, i, b, item[i].bytes, share);
        uint64_t end = b->offset + item[i].bytes;
        take(list, i, (taken){b->offset, end, b->first_use, b->last_use});
        if (end > s->workspace)
            s->workspace = end;
    }
    free(item);
    free(list);
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

/* The blocks that a step stands in, outermost first. */
typedef struct around {
    uint32_t *blocks;
    uint32_t count;
} around;

static void leave_ended(schedule *s, around *open, uint32_t step) {
    while (open->count && open->blocks[open->count - 1] + s->step[open->blocks[open->count - 1]].inside < step)
        schedule_leave(s, open->blocks[--open->count]);
}

static void find_uses(schedule *s) {
    around open = {.blocks = schedule_allocate(s->step_count, sizeof *open.blocks)};
    point at    = {.s = s, .seen = schedule_allocate(graph_node_count(s->graph) + 1, sizeof *at.seen)};
    for (uint32_t i = 0; i < s->step_count; i++) {
        const step *t = &s->step[i];
        leave_ended(s, &open, i);
        at.step  = i;
        at.first = open.count ? open.blocks[0] : i;
        at.last  = at.first + (open.count ? s->step[at.first].inside : 0);
        schedule_enter(s, i);
        use_statements(&at, t->body);
        if (t->kind == STEP_PRODUCT)
            use_product(&at, t->product);
        use_node(&at, t->lo);
        use_node(&at, t->hi);
        if (t->kind == STEP_BLOCKS)
            open.blocks[open.count++] = i;
        else
            schedule_leave(s, i);
    }
    leave_ended(s, &open, s->step_count);
    free(at.seen);
    free(open.blocks);
}

void schedule_place(schedule *s, bool share) {
    find_uses(s);
    place_buffers(s, share);
}
