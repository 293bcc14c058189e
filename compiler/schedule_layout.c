/* In which order a stored node keeps its axes, and which loop is innermost: both follow the loads that computing it
 * makes, so that most of them walk through memory. */
#include "schedule_internal.h"

#include <stdlib.h>
#include <string.h>

/* What a reader's index substitution does to the indices of the node read: `moves[i]` are the reader's indices that i
 * depends on, `unit[i]` those of them that move it by one. */
typedef struct reading {
    index_set moves[GRAPH_INDICES];
    index_set unit[GRAPH_INDICES];
} reading;

typedef struct visitor {
    const scheduler *c;
    void (*visit)(void *, const load *);
    void *context;
    node root;
    unsigned budget; /* a heuristic may look at a part of a very large expression */
} visitor;

enum { VISIT_BUDGET = 4096 };

static index_set unit_of(const graph *g, node n) {
    node_view v = graph_view(g, n);
    if (v.op == NODE_INDEX)
        return v.free;
    if (v.op == NODE_ADD || v.op == NODE_SUB || v.op == NODE_MOD)
        return unit_of(g, v.child[0]) | (v.op == NODE_ADD ? unit_of(g, v.child[1]) : 0);
    return 0;
}

static index_set through(const index_set *map, index_set set) {
    index_set result = 0;
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (set >> i & 1)
            result |= map[i];
    return result;
}

static void report(visitor *w, uint32_t number, const reading *r) {
    const buffer *b = &w->c->s->buffer[number];
    load l          = {.buffer = number};
    for (unsigned a = 0; a < b->rank; a++) {
        index_set moves = r->moves[b->axis[a]];
        l.all |= moves;
        if (b->stride[a] == 1 && b->element != ELEMENT_BOOL)
            l.unit |= r->unit[b->axis[a]];
        if (moves && !(moves & (moves - 1)) && r->unit[b->axis[a]] == moves)
            l.seen.index[l.seen.rank++] = (index_id)__builtin_ctzll(moves);
    }
    w->visit(w->context, &l);
}

static void walk(visitor *w, node n, const reading *r) {
    if (w->budget == 0)
        return;
    w->budget--;
    const scheduler *c = w->c;
    n                  = schedule_strip(c->g, n);
    node_view v        = graph_view(c->g, n);
    if (n != w->root && c->s->buffer_of[n] != NO_BUFFER) {
        report(w, c->s->buffer_of[n], r);
        return;
    }
    if (v.op == NODE_PREVIOUS) {
        uint32_t state = c->s->buffer_of[graph_scan_node(c->g, v.scan_label, v.scan_state)];
        if (state != NO_BUFFER)
            report(w, state, r);
        return;
    }
    if (v.op == NODE_GATHER) {
        reading inner = *r;
        for (unsigned i = 0; i + 1 < v.child_count; i++) {
            inner.moves[v.substituted[i]] = through(r->moves, graph_view(c->g, v.child[i + 1]).free);
            inner.unit[v.substituted[i]]  = through(r->unit, unit_of(c->g, v.child[i + 1]));
        }
        walk(w, v.child[0], &inner);
        return;
    }
    for (unsigned i = 0; i < v.child_count; i++)
        walk(w, v.child[i], r);
}

void schedule_visit_loads(const scheduler *c, node n, void (*visit)(void *, const load *), void *context) {
    visitor w = {c, visit, context, n, VISIT_BUDGET};
    reading r;
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        r.moves[i] = r.unit[i] = (index_set)1 << i;
    walk(&w, n, &r);
}

typedef struct order_search {
    const scheduler *c;
    index_set axes;
    int64_t best;
    axis_order seen;
} order_search;

static void consider_order(void *context, const load *l) {
    order_search *o = context;
    int64_t space   = graph_space(o->c->g, l->all & o->axes);
    /* conditions are small: they follow the numbers that they decide on */
    if (o->c->s->buffer[l->buffer].element == ELEMENT_BOOL)
        return;
    if (space > o->best) {
        o->best = space;
        o->seen = l->seen;
    }
}

/* The order of the largest load's axes, the others outside it. */
axis_order schedule_order(const scheduler *c, node n, index_set axes) {
    order_search o = {.c = c, .axes = axes};
    schedule_visit_loads(c, n, consider_order, &o);
    axis_order order = {0};
    index_set inner  = 0;
    for (unsigned i = 0; i < o.seen.rank; i++)
        inner |= (index_set)1 << o.seen.index[i];
    for (unsigned i = 0; i < graph_index_count(c->g) && order.rank < TENSOR_RANK; i++)
        if ((axes & ~inner) >> i & 1)
            order.index[order.rank++] = (index_id)i;
    for (unsigned i = 0; i < o.seen.rank; i++) {
        index_set here = (index_set)1 << o.seen.index[i];
        if ((axes & inner & here) && order.rank < TENSOR_RANK) {
            order.index[order.rank++] = o.seen.index[i];
            inner &= ~here; /* an index may move two axes of a diagonal */
        }
    }
    return order;
}

typedef struct vote_search {
    const scheduler *c;
    index_set among;
    int64_t vote[GRAPH_INDICES];
} vote_search;

static void cast_vote(void *context, const load *l) {
    vote_search *v = context;
    int64_t space  = graph_space(v->c->g, l->all & v->among);
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (l->unit >> i & 1)
            v->vote[i] += space < INT64_MAX / 64 ? space : INT64_MAX / 64;
}

/* The index whose step moves most loads by one element; the largest where none does. *vote may be NULL. */
index_id schedule_innermost(const scheduler *c, node n, index_set among, int64_t *vote) {
    vote_search v = {.c = c, .among = among};
    schedule_visit_loads(c, n, cast_vote, &v);
    index_id best = GRAPH_INDICES;
    for (unsigned i = 0; i < graph_index_count(c->g); i++) {
        if (!(among >> i & 1))
            continue;
        bool more =
            best == GRAPH_INDICES || v.vote[i] > v.vote[best] ||
            (v.vote[i] == v.vote[best] && graph_index_extent(c->g, (index_id)i) > graph_index_extent(c->g, best));
        if (more)
            best = (index_id)i;
    }
    if (vote)
        *vote = best == GRAPH_INDICES ? 0 : v.vote[best];
    return best;
}
