#include "rewrite.h"

#include <stdlib.h>
#include <string.h>

typedef struct rewriting {
    graph *g;
    size_t size;      /* handles below it are of before; later ones are results */
    node *memo;       /* node: what it has become, NODE_NONE: not yet */
    uint8_t *touched; /* node: something in it changes */
    uint8_t *reached; /* node: the roots depend on it */
    uint8_t *whole;   /* scan label: its leaves are replaced where they stand open; the scan itself keeps its own */
    bool stops;       /* STOPs become their operands */
} rewriting;

static void *get(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

static rewriting begin(graph *g) {
    rewriting r = {.g = g, .size = graph_node_count(g) + 1};
    r.memo      = get(r.size, sizeof *r.memo);
    r.touched   = get(r.size, 1);
    r.reached   = get(r.size, 1);
    r.whole     = get((size_t)graph_scan_labels(g) + 1, 1);
    return r;
}

static void end(rewriting *r) {
    free(r->memo);
    free(r->touched);
    free(r->reached);
    free(r->whole);
}

/* A scan in which something changes becomes a new scan with states of its own: so do its leaves change. */
static bool touch_leaves(rewriting *r, uint32_t label) {
    bool more = false;
    for (unsigned k = 0; k < graph_scan_states(r->g, label); k++) {
        node leaf = graph_scan_leaf(r->g, label, k);
        more |= !r->touched[leaf];
        r->touched[leaf] = 1;
    }
    return more;
}

static bool keeps(const rewriting *r, node_view v) {
    return v.op == NODE_SCAN && r->whole[v.scan_label];
}

/* From the roots marked as reached and the nodes marked as touched. */
static void mark(rewriting *r) {
    for (size_t n = r->size; n-- > 1;)
        if (r->reached[n]) {
            node_view v = graph_view(r->g, (node)n);
            for (unsigned i = 0; i < v.child_count && !keeps(r, v); i++)
                r->reached[v.child[i]] = 1;
        }
    for (bool more = true; more;) {
        more = false;
        for (size_t n = 1; n < r->size; n++) {
            if (!r->reached[n])
                continue;
            node_view v = graph_view(r->g, (node)n);
            if (keeps(r, v))
                continue;
            for (unsigned i = 0; i < v.child_count; i++)
                r->touched[n] |= r->touched[v.child[i]];
            r->touched[n] |= r->stops && v.op == NODE_STOP;
            if (v.op == NODE_SCAN && r->touched[n])
                more |= touch_leaves(r, v.scan_label);
        }
    }
}

static node rewrite(rewriting *r, node n);

static void rewrite_scan(rewriting *r, node n) {
    graph *g        = r->g;
    node_view v     = graph_view(g, n);
    unsigned states = v.child_count / 2;
    uint32_t label = graph_new_scan(g), old = v.scan_label;
    node *part = get(4 * (size_t)states, sizeof *part), *previous = part, *init = part + states, *body = init + states,
         *scan = body + states;
    for (unsigned k = 0; k < states; k++) {
        node leaf   = graph_scan_leaf(g, old, k);
        node_view p = graph_view(g, leaf);
        previous[k] =
            graph_scan_state(g, label, k, v.scan_index, v.reverse, p.free & ~((index_set)1 << v.scan_index), p.type);
        r->memo[leaf] = previous[k];
    }
    for (unsigned k = 0; k < states; k++) {
        node here = graph_scan_node(g, old, k);
        init[k]   = rewrite(r, graph_scan_init(g, here));
        body[k]   = rewrite(r, graph_scan_body(g, here));
    }
    graph_scan_group(g, states, previous, init, body, scan);
    for (unsigned k = 0; k < states; k++)
        r->memo[graph_scan_node(g, old, k)] = scan[k];
    free(part);
}

static node rebuild(rewriting *r, node n) {
    graph *g = r->g;
    node child[GRAPH_INDICES + 1];
    node_view v = graph_view(g, n);
    for (unsigned i = 0; i < v.child_count; i++)
        child[i] = rewrite(r, graph_view(g, n).child[i]);
    v = graph_view(g, n); /* building may have moved its children */
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
    default:
        return graph_pointwise(g, v.op, child[0], v.child_count > 1 ? child[1] : NODE_NONE,
                               v.child_count > 2 ? child[2] : NODE_NONE);
    }
}

static node rewrite(rewriting *r, node n) {
    if (n >= r->size || !r->touched[n])
        return n;
    if (r->memo[n])
        return r->memo[n];
    node_op op = graph_view(r->g, n).op;
    if (op == NODE_PREVIOUS)
        return n; /* of a scan that the roots lie inside of */
    if (op == NODE_SCAN)
        rewrite_scan(r, n);
    else
        r->memo[n] = rebuild(r, n);
    return r->memo[n];
}

void rewrite_replace(graph *g, unsigned count, const node *from, const node *to, size_t roots, node *root) {
    rewriting r = begin(g);
    for (unsigned i = 0; i < count; i++) {
        r.memo[from[i]]    = to[i];
        r.touched[from[i]] = 1;
        node_view v        = graph_view(g, from[i]);
        if (v.op == NODE_PREVIOUS)
            r.whole[v.scan_label] = 1;
    }
    for (size_t i = 0; i < roots; i++)
        if (root[i])
            r.reached[root[i]] = 1;
    mark(&r);
    for (size_t i = 0; i < roots; i++)
        if (root[i])
            root[i] = rewrite(&r, root[i]);
    end(&r);
}

void rewrite_forget_stops(graph *g) {
    rewriting r = begin(g);
    r.stops     = true;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        r.reached[graph_output(g, i)->node] = 1;
    mark(&r);
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        graph_set_output_node(g, i, rewrite(&r, graph_output(g, i)->node));
    for (size_t n = 1; n < r.size; n++) /* what a node is called, it is called without STOPs */
        if (r.memo[n] && graph_node_name(g, (node)n))
            graph_name_node(g, r.memo[n], graph_node_name(g, (node)n));
    end(&r);
}
