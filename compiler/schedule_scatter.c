/* A sum over values that are read at moved places, as one that adds to moved places.
 *
 * The gradient of a number that all pairs at one distance share is `sum[s] f(t := s + m, s)`: of something wide it
 * reads a diagonal, for which f would have to be whole. For each s, t = s + m has one solution m = t - s. So it is the
 * sum of f(t, s) over all t and s for which m == t - s, which meets each pair where it is computed and adds it to the
 * element that it belongs to. Sums in f are then part of the sum, and a condition outside which f is 0 belongs to the
 * domain. */
#include "enough.h"
#include "rewrite.h"
#include "schedule_internal.h"

#include <stdlib.h>

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

static node both(graph *g, node a, node b) {
    return schedule_is_true(g, a) ? b : schedule_is_true(g, b) ? a : graph_and(g, a, b);
}

/* The value of the index m for which e is `value`; NODE_NONE where m is not just added or subtracted. */
static node solved(graph *g, node e, index_id m, node value) {
    e           = schedule_strip(g, e);
    node_view v = graph_view(g, e);
    if (v.op == NODE_INDEX)
        return v.free == bit(m) ? value : NODE_NONE;
    if (v.op != NODE_ADD && v.op != NODE_SUB && v.op != NODE_NEG)
        return NODE_NONE;
    node left = v.child[0], right = v.child_count > 1 ? v.child[1] : NODE_NONE;
    if (v.op == NODE_NEG)
        return solved(g, left, m, graph_neg(g, value));
    bool in_left  = (graph_view(g, left).free & bit(m)) != 0;
    bool in_right = (graph_view(g, right).free & bit(m)) != 0;
    if (in_left == in_right)
        return NODE_NONE;
    if (in_left)
        return solved(g, left, m, v.op == NODE_ADD ? graph_sub(g, value, right) : graph_add(g, value, right));
    return solved(g, right, m, v.op == NODE_ADD ? graph_sub(g, value, left) : graph_sub(g, left, value));
}

/* Does n say no more than that e is a value of the index? */
static bool is_range(const graph *g, node n, node e, index_id index) {
    node_view v = graph_view(g, n);
    double bound;
    if (v.op == NODE_LESS_EQUAL && v.child[1] == e)
        return graph_is_constant(g, v.child[0], &bound) && bound == 0;
    return v.op == NODE_LESS && v.child[0] == e && graph_is_constant(g, v.child[1], &bound) &&
           bound == (double)graph_index_extent(g, index);
}

/* The domain without what says that e is a value of the index. False where something else in it depends on m. */
static bool without_range(graph *g, node domain, node e, index_id index, index_id m, node *rest) {
    node_view v = graph_view(g, domain);
    if (!(v.free & bit(m))) {
        *rest = both(g, *rest, domain);
        return true;
    }
    if (is_range(g, domain, e, index))
        return true;
    return v.op == NODE_AND && without_range(g, v.child[0], e, index, m, rest) &&
           without_range(g, graph_view(g, domain).child[1], e, index, m, rest);
}

/* Is something wide computed where n is? */
static bool reads_wide(const scheduler *c, node n, node_map *met) {
    n = schedule_strip(c->g, n);
    if (c->member[n])
        return true;
    if (c->stored[n] || !schedule_is_new(met, n))
        return false;
    node_view v = graph_view(c->g, n);
    bool wide   = false;
    for (unsigned i = 0; i < v.child_count && !wide; i++)
        wide = reads_wide(c, v.child[i], met);
    return wide;
}

/* Of `sum[vars where domain] body` the same sum with what body sums, and without what is 0. */
static node joined(scheduler *c, index_set vars, node domain, node body) {
    graph *g = c->g;
    for (;;) {
        body        = schedule_strip(g, body);
        node_view v = graph_view(g, body);
        bool sum    = v.op == NODE_REDUCE && v.reduction == REDUCE_SUM && !c->product[body] && !(v.vars & vars);
        if (!sum && !graph_is_guarded(g, body))
            return graph_reduce(g, REDUCE_SUM, vars, domain, body);
        vars |= sum ? v.vars : 0;
        body   = v.child[1];
        domain = both(g, domain, v.child[0]);
    }
}

node schedule_scattered(scheduler *c, node n) {
    graph *g      = c->g;
    node_view sum = graph_view(g, n);
    if (sum.op != NODE_REDUCE || sum.reduction != REDUCE_SUM)
        return NODE_NONE;
    node_view v = graph_view(g, schedule_strip(g, sum.child[1]));
    if (v.op != NODE_GATHER || v.child_count != 2)
        return NODE_NONE;
    index_id moved = v.substituted[0];
    node body = schedule_strip(g, v.child[0]), e = v.child[1], domain = sum.child[0];
    index_set all = sum.free, vars = sum.vars, inner = graph_view(g, body).free;
    index_set own = graph_view(g, e).free & all & ~inner;
    if (!(inner & vars) || ((all | vars) & bit(moved)) || !own || (own & (own - 1)))
        return NODE_NONE;
    node_map met = {0};
    bool wide    = reads_wide(c, body, &met);
    node_map_free(&met);
    index_id m = (index_id)__builtin_ctzll(own);
    node rest = NODE_NONE, at = wide ? solved(g, e, m, graph_index_value(g, moved)) : NODE_NONE;
    if (!at || (!schedule_is_true(g, domain) && !without_range(g, domain, e, moved, m, &rest)))
        return NODE_NONE;
    node here = graph_pointwise(g, NODE_EQUAL, graph_index_value(g, m), at, NODE_NONE);
    node made = joined(c, vars | bit(moved), both(g, rest, here), body);
    schedule_fit_nodes(c);
    return graph_view(g, made).free == all ? made : NODE_NONE;
}

void schedule_note_scattered(scheduler *c, node n) {
    scattered *s = c->scattered;
    /* in a step of a scan it would be made of the states of that scan, which becomes another when it is replaced */
    node made = s && !graph_is_open(c->g, n) ? schedule_scattered(c, n) : NODE_NONE;
    if (!made)
        return;
    s->from           = enough_grown(s->from, s->count, s->count + 1, sizeof *s->from);
    s->to             = enough_grown(s->to, s->count, s->count + 1, sizeof *s->to);
    s->from[s->count] = n;
    s->to[s->count++] = made;
}

void schedule_replace_outputs(graph *g, scattered *s) {
    uint32_t count = graph_output_count(g);
    node *root     = schedule_allocate(count + 1, sizeof *root);
    s->before      = schedule_allocate(count + 1, sizeof *s->before);
    for (uint32_t i = 0; i < count; i++)
        root[i] = s->before[i] = graph_output(g, i)->node;
    rewrite_replace(g, s->count, s->from, s->to, count, root);
    for (uint32_t i = 0; i < count; i++)
        graph_set_output_node(g, i, root[i]);
    free(root);
}

void schedule_restore_outputs(graph *g, scattered *s) {
    for (uint32_t i = 0; s->before && i < graph_output_count(g); i++)
        graph_set_output_node(g, i, s->before[i]);
    free(s->before);
    free(s->from);
    free(s->to);
    *s = (scattered){0};
}
