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
    index_set lists[GRAPH_INDICES]; /* those of the reader's that are places of a list which i depends on */
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

/* The places of the list that an index expression is. */
index_set schedule_places(const graph *g, node n) {
    node_view v = graph_view(g, n);
    if (v.op == NODE_GATHER)
        v = graph_view(g, v.child[0]);
    return v.op == NODE_CHOSEN ? v.vars : 0;
}

static void report(visitor *w, uint32_t number, const reading *r) {
    const buffer *b = &w->c->s->buffer[number];
    load l          = {.buffer = number};
    for (unsigned a = 0; a < b->rank; a++) {
        index_set moves = r->moves[b->axis[a]];
        index_set unit  = b->stride[a] == 1 ? r->unit[b->axis[a]] : 0;
        l.all |= moves;
        l.rough |= moves & ~unit;
        l.lists |= r->lists[b->axis[a]];
        l.by_list |= r->lists[b->axis[a]] ? moves : 0;
        if (b->element != ELEMENT_BOOL)
            l.unit |= unit;
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
            inner.lists[v.substituted[i]] = through(r->moves, schedule_places(c->g, v.child[i + 1])) |
                                            through(r->lists, graph_view(c->g, v.child[i + 1]).free);
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
    for (unsigned i = 0; i < GRAPH_INDICES; i++) {
        r.moves[i] = r.unit[i] = (index_set)1 << i;
        r.lists[i]             = 0;
    }
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

typedef struct list_search {
    const scheduler *c;
    list_reads found;
} list_search;

static void note_lists(void *context, const load *l) {
    list_search *s = context;
    s->found.places |= l->lists;
    for (unsigned i = 0; i < l->seen.rank && s->c->s->buffer[l->buffer].element == ELEMENT_FLOAT; i++)
        *(l->lists ? &s->found.beside : &s->found.plain) |= (index_set)1 << l->seen.index[i] & ~l->by_list;
}

list_reads schedule_list_reads(const scheduler *c, node n) {
    list_search s = {.c = c};
    schedule_visit_loads(c, n, note_lists, &s);
    return s.found;
}

typedef struct smooth_search {
    const scheduler *c;
    double rough[GRAPH_INDICES];
} smooth_search;

static void note_rough(void *context, const load *l) {
    smooth_search *s = context;
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (l->rough >> i & 1)
            s->rough[i] += (double)graph_space(s->c->g, l->all);
}

index_id schedule_smoothest(const scheduler *c, node n, index_set among) {
    smooth_search s = {.c = c};
    index_id best   = GRAPH_INDICES;
    schedule_visit_loads(c, n, note_rough, &s);
    for (unsigned i = 0; i < graph_index_count(c->g); i++)
        if (among >> i & 1 &&
            (best == GRAPH_INDICES || s.rough[i] < s.rough[best] ||
             (s.rough[i] == s.rough[best] && graph_index_extent(c->g, (index_id)i) > graph_index_extent(c->g, best))))
            best = (index_id)i;
    return best;
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
