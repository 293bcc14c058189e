#include "rewrite.h"

#include <stdlib.h>
#include <string.h>

typedef struct rewriting {
    graph *g;
    node *memo;
    size_t size; /* handles below it have a memo; later ones are results */
    node from, to;
    bool stops;
} rewriting;

static node rewrite(rewriting *r, node n);

static void begin(rewriting *r) {
    r->size = graph_node_count(r->g) + 1;
    r->memo = calloc(r->size, sizeof *r->memo);
    if (!r->memo) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
}

static node rebuild(rewriting *r, node n, node_view v, const node *child) {
    graph *g = r->g;
    switch (v.op) {
    case NODE_REDUCE:
        return graph_reduce(g, v.reduction, v.vars, child[0], child[1]);
    case NODE_GATHER: {
        index_id substituted[GRAPH_INDICES];
        memcpy(substituted, v.substituted, v.child_count - 1);
        return graph_gather(g, child[0], v.child_count - 1, substituted, child + 1);
    }
    case NODE_TOPK:
        return graph_topk(g, v.scan_index, child[0], child[1], v.integer);
    case NODE_SCAN: {
        /* the new scan has a label of its own: its body reads its own state */
        node old = NODE_NONE;
        for (node k = n; k-- > 1;) {
            node_view p = graph_view(g, k);
            if (p.op == NODE_PREVIOUS && p.scan_label == v.scan_label) {
                old = k;
                break;
            }
        }
        index_set state = graph_view(g, old).free & ~((index_set)1 << v.scan_index);
        node previous   = graph_previous(g, v.scan_index, v.reverse, state, v.type);
        return graph_scan(g, previous, child[0], rewrite_replace(g, child[1], old, previous));
    }
    default:
        return graph_pointwise(g, v.op, child[0], v.child_count > 1 ? child[1] : NODE_NONE,
                               v.child_count > 2 ? child[2] : NODE_NONE);
    }
}

static node rewrite(rewriting *r, node n) {
    if (n == r->from)
        return r->to;
    if (n >= r->size)
        return n;
    if (r->memo[n])
        return r->memo[n];
    node_view v = graph_view(r->g, n);
    node child[GRAPH_INDICES + 1];
    bool changed = false;
    for (unsigned i = 0; i < v.child_count; i++) {
        child[i] = rewrite(r, graph_view(r->g, n).child[i]);
        changed |= child[i] != graph_view(r->g, n).child[i];
    }
    node result = n;
    if (r->stops && v.op == NODE_STOP)
        result = child[0];
    else if (changed)
        result = rebuild(r, n, graph_view(r->g, n), child);
    return r->memo[n] = result;
}

node rewrite_replace(graph *g, node n, node from, node to) {
    rewriting r = {.g = g, .from = from, .to = to};
    begin(&r);
    node result = rewrite(&r, n);
    free(r.memo);
    return result;
}

void rewrite_forget_stops(graph *g) {
    /* one memory for all outputs: a scan that they share is rebuilt once */
    rewriting r = {.g = g, .stops = true};
    begin(&r);
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        graph_set_output_node(g, i, rewrite(&r, graph_output(g, i)->node));
    free(r.memo);
}
