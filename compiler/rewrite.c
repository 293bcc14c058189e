/* Only nodes that may change are looked at, from the roots down: time and memory follow them, not the graph. */
#include "rewrite.h"

#include "enough.h"
#include "node_map.h"
#include "reasons.h"

#include <stdlib.h>
#include <string.h>

typedef struct rewriting {
    graph *g;
    unsigned replaced;
    const node *from; /* what is replaced */
    bool stops;       /* STOPs become their operands */
    const rewrite_rule *rule;
    node low;         /* what is below it and not open stays */
    node_map result;  /* nodes that may change: what they have become, NODE_NONE: not yet */
    uint8_t *touched; /* by place in `result`: something in it changes */
    node *order;      /* the same nodes, children before parents */
    size_t count, room;
} rewriting;

static void end(rewriting *r) {
    graph_because(r->g, REASON_SPEC, NODE_NONE);
    node_map_free(&r->result);
    free(r->touched);
    free(r->order);
}

/* Leaves of a scan are replaced where they stand open; the scan itself keeps its own. */
static bool keeps(const rewriting *r, node_view v) {
    for (unsigned i = 0; v.op == NODE_SCAN && i < r->replaced; i++) {
        node_view f = graph_view(r->g, r->from[i]);
        if (f.op == NODE_PREVIOUS && f.scan_label == v.scan_label)
            return true;
    }
    return false;
}

static void visit(rewriting *r, node n) {
    if ((n < r->low && !graph_is_open(r->g, n)) || node_map_find(&r->result, n))
        return;
    node_map_enter(&r->result, n);
    node_view v = graph_view(r->g, n);
    for (unsigned i = 0; i < v.child_count && !keeps(r, v); i++)
        visit(r, v.child[i]);
    if (r->count == r->room) {
        r->room  = r->room ? r->room * 2 : 64;
        r->order = enough(realloc(r->order, r->room * sizeof *r->order));
    }
    r->order[r->count++] = n;
}

static bool is_touched(const rewriting *r, node n) {
    const node_entry *e = node_map_find(&r->result, n);
    return e && r->touched[e - r->result.entry];
}

/* True: it was not. */
static bool touch(rewriting *r, node n) {
    const node_entry *e = node_map_find(&r->result, n);
    if (!e || r->touched[e - r->result.entry])
        return false;
    r->touched[e - r->result.entry] = 1;
    return true;
}

/* A scan in which something changes becomes a new scan with states of its own: so do its leaves change. */
static bool touch_leaves(rewriting *r, uint32_t label) {
    bool more = false;
    for (unsigned k = 0; k < graph_scan_states(r->g, label); k++)
        more |= touch(r, graph_scan_leaf(r->g, label, k));
    return more;
}

/* What changes of all that was visited. */
static void mark(rewriting *r) {
    r->touched = enough(calloc(r->count + 1, 1));
    for (unsigned i = 0; i < r->replaced; i++)
        touch(r, r->from[i]);
    for (bool more = true; more;) {
        more = false;
        for (size_t k = 0; k < r->count; k++) {
            node n      = r->order[k];
            node_view v = graph_view(r->g, n);
            if (keeps(r, v))
                continue;
            bool here = is_touched(r, n) || (r->stops && v.op == NODE_STOP) ||
                        (r->rule && r->rule->concerns(r->rule->context, n));
            for (unsigned i = 0; i < v.child_count && !here; i++)
                here = is_touched(r, v.child[i]);
            if (!here)
                continue;
            touch(r, n);
            if (v.op == NODE_SCAN)
                more |= touch_leaves(r, v.scan_label);
        }
    }
}

static void become(rewriting *r, node n, node result) {
    node_map_enter(&r->result, n)->value = result;
}

/* What is made now is made for the reason that n was made for; of the spec's n it is n. */
static void because_of(rewriting *r, node n) {
    node about;
    reason why = (reason)graph_reason(r->g, n, &about);
    graph_because(r->g, (uint16_t)why, why == REASON_SPEC && !about ? n : about);
}

static node rewrite(rewriting *r, node n);

static void rewrite_scan(rewriting *r, node n) {
    graph *g        = r->g;
    node_view v     = graph_view(g, n);
    unsigned states = v.child_count / 2;
    uint32_t label = graph_new_scan(g), old = v.scan_label;
    node *part = enough(calloc(4 * (size_t)states, sizeof *part)), *previous = part, *init = part + states,
         *body = init + states, *scan = body + states;
    for (unsigned k = 0; k < states; k++) {
        node leaf   = graph_scan_leaf(g, old, k);
        node_view p = graph_view(g, leaf);
        because_of(r, leaf);
        previous[k] =
            graph_scan_state(g, label, k, v.scan_index, v.reverse, p.free & ~((index_set)1 << v.scan_index), p.type);
        become(r, leaf, previous[k]);
    }
    for (unsigned k = 0; k < states; k++) {
        node here = graph_scan_node(g, old, k);
        init[k]   = rewrite(r, graph_scan_init(g, here));
        body[k]   = rewrite(r, graph_scan_body(g, here));
    }
    because_of(r, n);
    graph_scan_group(g, states, previous, init, body, scan);
    for (unsigned k = 0; k < states; k++)
        become(r, graph_scan_node(g, old, k), scan[k]);
    free(part);
}

static node rebuild(rewriting *r, node n) {
    graph *g = r->g;
    node child[GRAPH_INDICES + 1];
    node_view v = graph_view(g, n);
    for (unsigned i = 0; i < v.child_count; i++)
        child[i] = rewrite(r, graph_view(g, n).child[i]);
    v = graph_view(g, n); /* building may have moved its children */
    because_of(r, n);
    switch (v.op) {
    case NODE_STOP:
        return r->stops ? child[0] : graph_pointwise(g, NODE_STOP, child[0], NODE_NONE, NODE_NONE);
    case NODE_REDUCE:
        return graph_reduce(g, v.reduction, v.vars, child[0], child[1]);
    case NODE_GATHER: {
        index_id substituted[GRAPH_INDICES];
        memcpy(substituted, v.substituted, v.child_count - 1);
        return graph_gather(g, child[0], v.child_count - 1, substituted, child + 1);
    }
    case NODE_TOPK:
        return graph_topk(g, v.scan_index, child[0], child[1], v.integer);
    case NODE_SOLVE:
        return graph_solve(g, v.scan_index, graph_solve_column(g, n), v.reverse, child[0], child[1]);
    case NODE_CHOSEN:
        return graph_chosen(g, v.scan_index, (index_id)__builtin_ctzll(v.vars), child[0], child[1]);
    default:
        return graph_pointwise(g, v.op, child[0], v.child_count > 1 ? child[1] : NODE_NONE,
                               v.child_count > 2 ? child[2] : NODE_NONE);
    }
}

static node rewrite(rewriting *r, node n) {
    const node_entry *e = node_map_find(&r->result, n);
    if (!e || !r->touched[e - r->result.entry])
        return n;
    if (e->value)
        return e->value;
    node_op op = graph_view(r->g, n).op;
    if (op == NODE_PREVIOUS)
        return n; /* of a scan that the roots lie inside of */
    if (op == NODE_SCAN)
        rewrite_scan(r, n);
    else {
        node built = rebuild(r, n);
        become(r, n, r->rule ? r->rule->apply(r->rule->context, n, built) : built);
    }
    return node_map_find(&r->result, n)->value;
}

/* Where only states before a step are replaced, what is not open stays. */
static node lowest_change(const graph *g, unsigned count, const node *from) {
    node low = (node)graph_node_count(g) + 1;
    for (unsigned i = 0; i < count; i++)
        if (from[i] < low && graph_view(g, from[i]).op != NODE_PREVIOUS)
            low = from[i];
    return low;
}

void rewrite_replace(graph *g, unsigned count, const node *from, const node *to, size_t roots, node *root) {
    rewriting r = {.g = g, .replaced = count, .from = from, .low = lowest_change(g, count, from)};
    for (size_t i = 0; i < roots; i++)
        if (root[i])
            visit(&r, root[i]);
    mark(&r);
    for (unsigned i = 0; i < count; i++)
        if (node_map_find(&r.result, from[i]))
            become(&r, from[i], to[i]);
    for (size_t i = 0; i < roots; i++)
        if (root[i])
            root[i] = rewrite(&r, root[i]);
    end(&r);
}

static void rewrite_all(rewriting *r) {
    graph *g  = r->g;
    r->result = node_map_direct((node)graph_node_count(g));
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        visit(r, graph_output(g, i)->node);
    mark(r);
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        graph_set_output_node(g, i, rewrite(r, graph_output(g, i)->node));
    for (size_t k = 0; k < r->count; k++) { /* what a node is called, that is called which it has become */
        const node_entry *e = node_map_find(&r->result, r->order[k]);
        if (e->value && graph_node_name(g, e->key))
            graph_name_node(g, e->value, graph_node_name(g, e->key));
    }
    end(r);
}

void rewrite_outputs(graph *g, const rewrite_rule *rule) {
    rewriting r = {.g = g, .rule = rule};
    rewrite_all(&r);
}

void rewrite_forget_stops(graph *g) {
    rewriting r = {.g = g, .stops = true};
    rewrite_all(&r);
}
