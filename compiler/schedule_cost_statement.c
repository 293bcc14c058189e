/* What one statement computes and touches for each element of its loops. An operation belongs to the innermost loop
 * whose index it depends on. */
#include "enough.h"
#include "schedule_cost_internal.h"

#include <stdlib.h>
#include <string.h>

/* Somewhere that a gather leads to: what its indices depend on there. Equal substitutions are the same place. */
typedef struct spot {
    index_set on[GRAPH_INDICES];
    uint32_t outer;
    unsigned count;
    index_id index[TENSOR_RANK];
    node to[TENSOR_RANK];
    uint8_t *seen; /* node */
} spot;

typedef struct counter {
    const schedule *s;
    const graph *g;
    leaf *l;
    spot *spot;
    uint32_t spot_count;
    bool silent; /* operations do not count */
    void (*touch)(void *, uint32_t);
    void *context;
} counter;

static void add_access(counter *c, uint32_t number, index_set on, bool written) {
    leaf *l = c->l;
    c->touch(c->context, number);
    if (c->s->buffer[number].place == PLACE_TILE)
        return;
    for (unsigned i = 0; i < l->access_count; i++)
        if (l->access[i].buffer == number && l->access[i].on == on && l->access[i].written == written)
            return;
    if (l->access_count == l->access_room) {
        l->access_room = l->access_room ? 2 * l->access_room : 8;
        l->access      = enough(realloc(l->access, l->access_room * sizeof *l->access));
    }
    l->access[l->access_count++] = (access){.buffer = number, .on = on, .written = written};
}

static unsigned level_of(const leaf *l, index_set on) {
    unsigned level = l->loop_count;
    while (level > 0 && !(on >> l->loop[level - 1] & 1))
        level--;
    return level;
}

static index_set mapped(const spot *at, index_set free) {
    index_set on = 0;
    for (index_set rest = free; rest; rest &= rest - 1)
        on |= at->on[__builtin_ctzll(rest)];
    return on;
}

static index_set axes_of(const buffer *b) {
    index_set axes = 0;
    for (unsigned i = 0; i < b->rank; i++)
        axes |= (index_set)1 << b->axis[i];
    return axes;
}

static bool is_exponential(node_op op) {
    return op == NODE_EXP || op == NODE_LOG || op == NODE_LOG1P || op == NODE_SIN || op == NODE_COS ||
           op == NODE_TANH || op == NODE_ERF || op == NODE_POW;
}

static void count_operation(counter *c, node_view v, index_set on) {
    bool real = v.type == TYPE_FLOAT;
    for (unsigned i = 0; i < v.child_count; i++)
        real |= graph_view(c->g, v.child[i]).type == TYPE_FLOAT;
    bool free = v.op == NODE_TO_FLOAT || v.op == NODE_TO_INT || v.op == NODE_STOP;
    if (c->silent || !real || (free && graph_op_is_pointwise(v.op)))
        return;
    unsigned level = level_of(c->l, on);
    if (is_exponential(v.op))
        c->l->exponential[level]++;
    else
        c->l->other[level]++;
}

static void count_node(counter *c, uint32_t at, node n, bool load);

static uint32_t new_spot(counter *c) {
    c->spot = enough(realloc(c->spot, (c->spot_count + 1) * sizeof *c->spot));
    memset(&c->spot[c->spot_count], 0, sizeof *c->spot);
    c->spot[c->spot_count].seen = enough(calloc(graph_node_count(c->g) + 1, 1));
    return c->spot_count++;
}

static uint32_t spot_of_gather(counter *c, uint32_t outer, node_view v) {
    unsigned count = v.child_count - 1 < TENSOR_RANK ? v.child_count - 1 : TENSOR_RANK;
    for (uint32_t i = 1; i < c->spot_count; i++) {
        const spot *s = &c->spot[i];
        if (s->outer == outer && s->count == count && memcmp(s->index, v.substituted, count) == 0 &&
            memcmp(s->to, v.child + 1, count * sizeof *s->to) == 0)
            return i;
    }
    uint32_t made = new_spot(c);
    spot *s       = &c->spot[made];
    memcpy(s->on, c->spot[outer].on, sizeof s->on);
    for (unsigned i = 0; i + 1 < v.child_count; i++)
        s->on[v.substituted[i]] = mapped(&c->spot[outer], graph_view(c->g, v.child[i + 1]).free);
    s->outer = outer;
    s->count = count;
    memcpy(s->index, v.substituted, count);
    memcpy(s->to, v.child + 1, count * sizeof *s->to);
    return made;
}

/* A state before the step is the buffer's, or what the scan begins with. */
static void count_previous(counter *c, uint32_t at, node_view v) {
    node scan = graph_scan_node(c->g, v.scan_label, v.scan_state);
    if (scan && c->s->buffer_of[scan] != NO_BUFFER) {
        const buffer *b = &c->s->buffer[c->s->buffer_of[scan]];
        add_access(c, c->s->buffer_of[scan], mapped(&c->spot[at], axes_of(b)), false);
    }
    bool silent = c->silent;
    c->silent   = true; /* at the first step only */
    if (scan)
        count_node(c, at, graph_scan_init(c->g, scan), true);
    c->silent = silent;
}

/* `load` false: n is computed though it has a buffer. */
static void count_node(counter *c, uint32_t at, node n, bool load) {
    if (!n || c->spot[at].seen[n])
        return;
    c->spot[at].seen[n] = 1;
    node_view v         = graph_view(c->g, n);
    uint32_t number     = c->s->buffer_of[n];
    if (load && number != NO_BUFFER) {
        add_access(c, number, mapped(&c->spot[at], axes_of(&c->s->buffer[number])), false);
        return;
    }
    if (v.op == NODE_PREVIOUS) {
        count_previous(c, at, v);
        return;
    }
    if (graph_op_is_pointwise(v.op) || v.op == NODE_RANDOM)
        count_operation(c, v, mapped(&c->spot[at], v.free));
    uint32_t inner = v.op == NODE_GATHER ? spot_of_gather(c, at, v) : at;
    for (unsigned i = 0; i < v.child_count; i++)
        count_node(c, i == 0 ? inner : at, graph_view(c->g, n).child[i], true);
}

static void open_loop(leaf *l, index_id i) {
    if (l->loops >> i & 1 || l->loop_count == GRAPH_INDICES)
        return;
    l->loops |= (index_set)1 << i;
    l->loop[l->loop_count++] = i;
}

static void open_loops(leaf *l, const axis_order *order) {
    for (unsigned i = 0; i < order->rank; i++)
        open_loop(l, order->index[i]);
}

static counter begin(const schedule *s, const axis_order *loops, void (*touch)(void *, uint32_t), void *context) {
    counter c = {.s = s, .g = s->graph, .touch = touch, .context = context, .l = enough(calloc(1, sizeof *c.l))};
    open_loops(c.l, loops);
    new_spot(&c);
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        c.spot[0].on[i] = (index_set)1 << i;
    return c;
}

static leaf *end(counter *c) {
    for (uint32_t i = 0; i < c->spot_count; i++)
        free(c->spot[i].seen);
    free(c->spot);
    return c->l;
}

static void count_reduction(counter *c, const statement *t) {
    leaf *l = c->l;
    if (t->var_count)
        l->bound_count = range_bounds(c->s, t->domain, t->var[t->var_count - 1], l->bounds, MOST_BOUNDS);
    count_node(c, 0, t->summand, true);
    count_node(c, 0, t->domain, true);
    count_node(c, 0, t->scatter_to, true);
    l->other[l->loop_count]++;
}

static void count_assigned(counter *c, const statement *t) {
    index_set on = axes_of(&c->s->buffer[t->target]);
    if (t->scatter != GRAPH_INDICES && t->scatter_to) {
        on &= ~((index_set)1 << t->scatter);
        on |= graph_view(c->g, t->scatter_to).free;
    }
    if (t->kind == STATEMENT_ACCUMULATE || t->into)
        add_access(c, t->target, on, false);
    add_access(c, t->target, on, true);
}

static void open_triangle(counter *c, const statement *t) {
    index_id column = graph_solve_column(c->g, t->value);
    open_loop(c->l, column);
    c->l->bound_count = range_bounds(c->s, t->domain, column, c->l->bounds, MOST_BOUNDS);
}

leaf *leaf_of_triangle(const schedule *s, const statement *t, const axis_order *loops, void (*touch)(void *, uint32_t),
                       void *context) {
    counter c = begin(s, loops, touch, context);
    open_loop(c.l, t->index);
    open_triangle(&c, t);
    count_node(&c, 0, graph_view(c.g, t->value).child[0], true);
    return end(&c);
}

/* A row's right-hand side, and for each row before it a multiplication and an addition. */
static void count_solve(counter *c, const statement *t) {
    open_loop(c->l, t->index);
    for (unsigned i = 0; i < t->var_count; i++)
        open_loop(c->l, t->var[i]);
    open_triangle(c, t);
    count_node(c, 0, graph_view(c->g, t->value).child[1], true);
    add_access(c, t->target, axes_of(&c->s->buffer[t->target]), false);
    c->l->other[c->l->loop_count] += 2;
}

leaf *leaf_of_statement(const schedule *s, const statement *t, const axis_order *loops, void (*touch)(void *, uint32_t),
                        void *context) {
    counter c = begin(s, loops, touch, context);
    if (t->kind == STATEMENT_REDUCE)
        for (unsigned i = 0; i < t->var_count; i++)
            open_loop(c.l, t->var[i]);
    if (t->kind == STATEMENT_TOPK)
        open_loop(c.l, t->index);
    if (t->kind == STATEMENT_STORE) {
        count_node(&c, 0, t->value, s->buffer_of[t->value] != t->target);
    } else if (t->kind == STATEMENT_TOPK) {
        node_view v = graph_view(s->graph, t->value);
        count_node(&c, 0, t->value, false);
        c.l->other[c.l->loop_count]++;
        if (v.op == NODE_CHOSEN) /* it writes along another index than it reads */
            open_loop(c.l, (index_id)__builtin_ctzll(v.vars));
    } else if (t->kind == STATEMENT_SOLVE) {
        count_solve(&c, t);
    } else {
        count_reduction(&c, t);
    }
    count_assigned(&c, t);
    return end(&c);
}

static index_set order_set(const axis_order *order) {
    index_set set = 0;
    for (unsigned i = 0; i < order->rank; i++)
        set |= (index_set)1 << order->index[i];
    return set;
}

static void count_matrix(counter *c, const matrix *m, const axis_order *rows, const axis_order *columns, bool read,
                         bool written) {
    index_set on = order_set(rows) | order_set(columns);
    for (unsigned i = 0; i < m->offset_count; i++) {
        node_view v = graph_view(c->g, m->offset[i]);
        on |= v.free;
        if (v.op == NODE_BEGIN || v.op == NODE_END)
            on |= (index_set)1 << v.scan_index;
    }
    if (read)
        add_access(c, m->buffer, on, false);
    if (written)
        add_access(c, m->buffer, on, true);
}

leaf *leaf_of_product(const schedule *s, const matrix_product *p, const axis_order *loops,
                      void (*touch)(void *, uint32_t), void *context) {
    counter c    = begin(s, loops, touch, context);
    c.l->product = p;
    open_loops(c.l, &p->rows);
    open_loops(c.l, &p->columns);
    open_loops(c.l, &p->inner);
    count_matrix(&c, &p->a, &p->rows, &p->inner, true, false);
    count_matrix(&c, &p->b, &p->inner, &p->columns, true, false);
    count_matrix(&c, &p->c, &p->rows, &p->columns, p->into, true);
    return end(&c);
}

void leaf_free(leaf *l) {
    if (l)
        free(l->access);
    free(l);
}

leaf *leaf_of_node(const schedule *s, node n, void (*touch)(void *, uint32_t), void *context) {
    counter c = begin(s, &(axis_order){0}, touch, context);
    count_node(&c, 0, n, true);
    return end(&c);
}
