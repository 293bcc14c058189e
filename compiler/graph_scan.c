/* Scans: labels, the leaves that stand for states before a step, and closing them into SCAN nodes. */
#include "graph_internal.h"
#include "node_map.h"

#include <assert.h>
#include <stdlib.h>

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

uint32_t graph_new_scan(graph *g) {
    uint32_t label = ++g->scan_labels;
    g->scan        = graph_grow(g->scan, &g->scan_capacity, (size_t)label + 1, sizeof *g->scan);
    g->scan[label] = (scan_record){.first = NODE_NONE};
    return label;
}

node graph_scan_state(graph *g, uint32_t label, unsigned number, index_id i, bool reverse, index_set state,
                      value_type type) {
    scan_record *s = &g->scan[label];
    s->previous    = graph_grow(s->previous, &s->capacity, (size_t)number + 1, sizeof *s->previous);
    for (; s->states <= number; s->states++)
        s->previous[s->states] = NODE_NONE;
    assert(!s->previous[number] && !s->first);
    return s->previous[number] = graph_intern(g, &(node_proto){.op         = NODE_PREVIOUS,
                                                               .type       = type,
                                                               .scan_index = i,
                                                               .reverse    = reverse,
                                                               .label      = label,
                                                               .payload    = number,
                                                               .free       = state | bit(i)});
}

bool graph_is_open(const graph *g, node n) {
    return g->node[n].open;
}

/* Scans and states before a step, found in what is open. */
typedef struct open_labels {
    node_map seen;
    node_map scan, leaf; /* by label: which scans are there, and which scans' states */
} open_labels;

static void find_open(const graph *g, node n, open_labels *found) {
    const node_record *r = &g->node[n];
    if (!r->open || node_map_find(&found->seen, n))
        return;
    node_map_enter(&found->seen, n);
    if (r->op == NODE_PREVIOUS || r->op == NODE_SCAN)
        node_map_enter(r->op == NODE_SCAN ? &found->scan : &found->leaf, r->label);
    for (unsigned i = 0; i < r->child_count; i++)
        find_open(g, g->child[r->first_child + i], found);
}

/* Does what the scan is made of contain states of other scans that it does not contain? */
static bool stands_inside(const graph *g, uint32_t label, unsigned count, const node *child) {
    open_labels found = {0};
    bool inside       = false;
    node_map_enter(&found.scan, label);
    for (unsigned i = 0; i < count; i++)
        find_open(g, child[i], &found);
    for (size_t i = 0; i < found.leaf.count; i++)
        inside |= !node_map_find(&found.scan, found.leaf.entry[i].key);
    node_map_free(&found.seen);
    node_map_free(&found.scan);
    node_map_free(&found.leaf);
    return inside;
}

void graph_scan_group(graph *g, unsigned count, const node *previous, const node *init, const node *body, node *scan) {
    node *child    = graph_grow(NULL, &(size_t){0}, 2 * (size_t)count, sizeof *child);
    uint32_t label = g->node[previous[0]].label;
    assert(count == g->scan[label].states && !g->scan[label].first);
    for (unsigned k = 0; k < count; k++) {
        const node_record p = g->node[previous[k]];
        assert(previous[k] == g->scan[label].previous[k] && p.scan_index == g->node[previous[0]].scan_index &&
               p.reverse == g->node[previous[0]].reverse);
        child[k]         = graph_to_type(g, init[k], (value_type)p.type);
        child[count + k] = graph_to_type(g, body[k], (value_type)p.type);
        assert(g->node[child[k]].type == p.type && g->node[child[count + k]].type == p.type);
        assert(!(g->node[child[k]].free & ~(p.free & ~bit(p.scan_index))) &&
               !(g->node[child[count + k]].free & ~p.free));
    }
    bool open = stands_inside(g, label, 2 * count, child);
    /* nothing else is made in between: the handles are consecutive */
    for (unsigned k = 0; k < count; k++) {
        const node_record p = g->node[previous[k]];
        scan[k]             = graph_intern(g, &(node_proto){.op          = NODE_SCAN,
                                                            .type        = (value_type)p.type,
                                                            .scan_index  = p.scan_index,
                                                            .reverse     = p.reverse,
                                                            .label       = label,
                                                            .open        = open,
                                                            .payload     = k,
                                                            .child_count = 2 * count,
                                                            .child       = child,
                                                            .free        = p.free});
    }
    g->scan[label].first = scan[0];
    free(child);
}

node graph_previous(graph *g, index_id i, bool reverse, index_set state, value_type type) {
    return graph_scan_state(g, graph_new_scan(g), 0, i, reverse, state, type);
}

node graph_scan(graph *g, node previous, node init, node body) {
    node scan;
    graph_scan_group(g, 1, &previous, &init, &body, &scan);
    return scan;
}

node graph_scan_init(const graph *g, node scan) {
    const node_record *r = &g->node[scan];
    assert(r->op == NODE_SCAN);
    return g->child[r->first_child + r->payload];
}

node graph_scan_body(const graph *g, node scan) {
    const node_record *r = &g->node[scan];
    assert(r->op == NODE_SCAN);
    return g->child[r->first_child + r->child_count / 2 + r->payload];
}

uint32_t graph_scan_labels(const graph *g) {
    return g->scan_labels;
}

unsigned graph_scan_states(const graph *g, uint32_t label) {
    return (unsigned)g->scan[label].states;
}

node graph_scan_leaf(const graph *g, uint32_t label, unsigned number) {
    return g->scan[label].previous[number];
}

node graph_scan_node(const graph *g, uint32_t label, unsigned number) {
    return g->scan[label].first ? g->scan[label].first + number : NODE_NONE;
}

node graph_scan_before(graph *g, node scan) {
    node_view v   = graph_view(g, scan);
    node init     = graph_scan_init(g, scan);
    node here     = graph_index_value(g, v.scan_index);
    int64_t first = v.reverse ? g->index[v.scan_index].extent - 1 : 0;
    node step     = graph_add(g, here, graph_int(g, v.reverse ? 1 : -1));
    node shift    = graph_gather(g, scan, 1, &v.scan_index, &step);
    return graph_select(g, graph_pointwise(g, NODE_EQUAL, here, graph_int(g, first), NODE_NONE), init, shift);
}
