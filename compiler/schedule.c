/* What is stored and in which order. Preserves the graph's meaning; afterwards every node that an output needs is
 * either stored by exactly one step or computed where it is used. */
#include "enough.h"
#include "node_map.h"
#include "schedule_internal.h"
#include "selection.h"
#include "tile_verify.h"

#include <stdlib.h>
#include <string.h>

void *schedule_allocate(size_t count, size_t size) {
    return enough(calloc(count ? count : 1, size));
}

node schedule_strip(const graph *g, node n) {
    for (node_view v = graph_view(g, n); v.op == NODE_STOP; v = graph_view(g, n))
        n = v.child[0];
    return n;
}

bool schedule_is_new(node_map *met, node n) {
    size_t before = met->count;
    node_map_enter(met, n);
    return met->count > before;
}

bool schedule_is_leaf(node_op op) {
    return op == NODE_FLOAT || op == NODE_INT || op == NODE_INDEX;
}

bool schedule_is_true(const graph *g, node domain) {
    double value;
    return !domain || (graph_is_constant(g, domain, &value) && value != 0);
}

void schedule_fit_nodes(scheduler *c) {
    size_t needed = graph_node_count(c->g) + 1;
    if (needed <= c->node_capacity)
        return;
    size_t more     = needed * 2;
    c->stored       = enough_grown(c->stored, c->node_capacity, more, sizeof *c->stored);
    c->done         = enough_grown(c->done, c->node_capacity, more, sizeof *c->done);
    c->inside       = enough_grown(c->inside, c->node_capacity, more, sizeof *c->inside);
    c->product      = enough_grown(c->product, c->node_capacity, more, sizeof *c->product);
    c->s->buffer_of = enough_grown(c->s->buffer_of, c->node_capacity, more, sizeof *c->s->buffer_of);
    for (size_t i = c->node_capacity; i < more; i++)
        c->s->buffer_of[i] = NO_BUFFER;
    c->member        = enough_grown(c->member, c->node_capacity, more, sizeof *c->member);
    c->root          = enough_grown(c->root, c->node_capacity, more, sizeof *c->root);
    c->by_rows       = enough_grown(c->by_rows, c->node_capacity, more, sizeof *c->by_rows);
    c->region_of     = enough_grown(c->region_of, c->node_capacity, more, sizeof *c->region_of);
    c->node_capacity = more;
}

uint32_t schedule_add_buffer(scheduler *c, buffer_place place, uint32_t number, element_type element,
                             const axis_order *order) {
    schedule *s = c->s;
    if (place == PLACE_WORKSPACE && c->tiles)
        place = PLACE_TILE;
    if (s->buffer_count == c->buffer_capacity) {
        size_t more        = c->buffer_capacity ? c->buffer_capacity * 2 : 256;
        s->buffer          = enough_grown(s->buffer, c->buffer_capacity, more, sizeof *s->buffer);
        c->buffer_capacity = more;
    }
    buffer *b = &s->buffer[s->buffer_count];
    *b        = (buffer){.place     = place,
                         .number    = number,
                         .element   = element,
                         .rank      = order->rank,
                         .elements  = 1,
                         .first_use = UINT32_MAX};
    for (unsigned i = order->rank; i-- > 0;) {
        b->axis[i]   = order->index[i];
        b->stride[i] = b->elements;
        if (c->open && !c->sink && !c->whole && order->index[i] == c->open->row)
            b->block[i] = c->open->block;
        if (b->place == PLACE_TILE && c->block[order->index[i]])
            b->block[i] = c->block[order->index[i]];
        b->elements *= b->block[i] ? b->block[i] : graph_index_extent(c->g, order->index[i]);
    }
    return s->buffer_count++;
}

step *schedule_add_step(scheduler *c) {
    schedule *s = c->s;
    if (s->step_count == c->step_capacity) {
        size_t more      = c->step_capacity ? c->step_capacity * 2 : 256;
        s->step          = enough_grown(s->step, c->step_capacity, more, sizeof *s->step);
        c->step_capacity = more;
    }
    step *t = &s->step[s->step_count++];
    *t      = (step){.split = GRAPH_INDICES, .index = GRAPH_INDICES, .items = 1, .ranged = c->ranged};
    return t;
}

/* Which nodes depend on the state of a scan before its step. */
typedef struct dependence {
    uint32_t *seen; /* node: `stamp` of the last scan that looked at it; one more: it depends on its state */
    uint32_t label, stamp;
} dependence;

/* Marks which nodes belong to the body of which scan: those that depend on its state before the step. */
static bool mark_inside(scheduler *c, node n, const dependence *q) {
    if (q->seen[n] >= q->stamp)
        return q->seen[n] > q->stamp;
    q->seen[n]  = q->stamp;
    node_view v = graph_view(c->g, n);
    bool dep    = v.op == NODE_PREVIOUS && v.scan_label == q->label;
    for (unsigned i = 0; i < v.child_count; i++)
        dep |= mark_inside(c, v.child[i], q);
    if (dep) {
        q->seen[n] = q->stamp + 1;
        if (!c->inside[n])
            c->inside[n] = q->label;
    }
    return dep;
}

/* All states of a scan are computed together: one that is wanted brings the others. */
static void mark_states(const graph *g, node scan, uint8_t *mark) {
    node_view v = graph_view(g, scan);
    for (unsigned k = 0; k < v.child_count / 2; k++)
        mark[graph_scan_node(g, v.scan_label, k)] = 1;
}

static uint8_t *reachable(const graph *g) {
    uint8_t *mark = schedule_allocate(graph_node_count(g) + 1, 1);
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        mark[graph_output(g, i)->node] = 1;
    for (size_t n = graph_node_count(g); n >= 1; n--)
        if (mark[n]) {
            node_view v = graph_view(g, (node)n);
            for (unsigned i = 0; i < v.child_count; i++)
                mark[v.child[i]] = 1;
            if (v.op == NODE_SCAN)
                mark_states(g, (node)n, mark);
        }
    return mark;
}

static void mark_scans(scheduler *c, const uint8_t *mark, size_t count) {
    dependence q = {.seen = schedule_allocate(count + 1, sizeof *q.seen), .stamp = 1};
    for (size_t n = 1; n <= count; n++) {
        node_view v = graph_view(c->g, (node)n);
        if (mark[n] && v.op == NODE_SCAN && v.scan_state == 0) {
            q.label = v.scan_label;
            for (unsigned i = v.child_count / 2; i < v.child_count; i++)
                mark_inside(c, v.child[i], &q);
            q.stamp += 2;
        }
    }
    free(q.seen);
}

/* Rough costs of computing an element, in vector instructions; a load is 1. */
static unsigned own_cost(node_view v) {
    switch (v.op) {
    case NODE_FLOAT:
    case NODE_INT:
    case NODE_INDEX:
    case NODE_STOP:
    case NODE_GATHER:
        return 0;
    case NODE_DIV:
    case NODE_MOD:
    case NODE_SQRT:
        return 3;
    case NODE_EXP:
        return 8;
    case NODE_LOG:
    case NODE_LOG1P:
        return 12;
    case NODE_TANH:
    case NODE_ERF:
        return 16;
    case NODE_SIN:
    case NODE_COS:
    case NODE_POW:
        return 40;
    case NODE_RANDOM:
        return 60;
    default:
        return 1;
    }
}

unsigned schedule_own_cost(const graph *g, node n) {
    return own_cost(graph_view(g, n));
}

static bool always_stored(node_op op) {
    return op == NODE_REDUCE || op == NODE_SCAN || graph_selects(op) || op == NODE_SOLVE;
}

/* A node that is not a reduction is stored where repeating it would cost more than keeping it: it is used
 * several times, or by a node with many more elements. */
enum { REPEAT_LIMIT = 32, BROADCAST_COST = 16, BROADCAST_RATIO = 4, LISTED_COST = 3 };

/* What is read at the places of a list is no operand of a product, which would be stored: it is read again and again,
 * and so is what it is multiplied by. Of each node, is it such a read, or an expression with one in it? */
static uint8_t *mark_listed(const scheduler *c, const uint8_t *mark, size_t count) {
    uint8_t *listed = schedule_allocate(count + 1, 1);
    for (size_t n = 1; n <= count; n++) {
        node_view v = graph_view(c->g, (node)n);
        for (unsigned i = 0; mark[n] && i < v.child_count; i++) {
            node_op op = graph_view(c->g, v.child[i]).op;
            if (v.op == NODE_GATHER && i > 0)
                listed[n] |= op == NODE_CHOSEN || listed[v.child[i]];
            else if (graph_op_is_pointwise(v.op) && !always_stored(op))
                listed[n] |= listed[v.child[i]];
        }
    }
    return listed;
}

static void choose_stored(scheduler *c, const uint8_t *mark, size_t count) {
    unsigned *cost      = schedule_allocate(count + 1, sizeof *cost);
    unsigned *uses      = schedule_allocate(count + 1, sizeof *uses);
    int64_t *space      = schedule_allocate(count + 1, sizeof *space); /* of the largest user */
    uint8_t *reads_list = mark_listed(c, mark, count), *by_list = schedule_allocate(count + 1, 1);
    for (size_t n = 1; n <= count; n++) {
        if (!mark[n])
            continue;
        node_view v  = graph_view(c->g, (node)n);
        int64_t here = graph_space(c->g, v.free | (v.op == NODE_REDUCE ? v.vars : 0));
        for (unsigned i = 0; i < v.child_count; i++) {
            node child = v.child[i];
            if (v.op == NODE_SCAN && i % (v.child_count / 2) != v.scan_state)
                continue; /* another state's */
            uses[child]++;
            by_list[child] |= reads_list[n];
            if (here > space[child])
                space[child] = here;
        }
    }
    for (size_t n = 1; n <= count; n++) {
        if (!mark[n])
            continue;
        node_view v = graph_view(c->g, (node)n);
        cost[n]     = own_cost(v);
        for (unsigned i = 0; i < v.child_count; i++)
            cost[n] += c->stored[v.child[i]] ? 1 : cost[v.child[i]];
        if (always_stored(v.op))
            c->stored[n] = 1;
        else if (v.op == NODE_TENSOR || v.op == NODE_PREVIOUS)
            cost[n] = 1;
        else if (v.free && !c->inside[n] && !schedule_is_leaf(v.op) && v.op != NODE_STOP && v.op != NODE_GATHER) {
            bool repeated = uses[n] > 1 && (uses[n] - 1) * cost[n] > REPEAT_LIMIT;
            unsigned dear = by_list[n] ? LISTED_COST : BROADCAST_COST;
            bool narrow   = cost[n] >= dear && space[n] >= BROADCAST_RATIO * graph_space(c->g, v.free);
            /* floats in [0,1) of a random tensor are not kept: what they decide, a boolean, is smaller */
            c->stored[n] = (repeated || narrow) && v.op != NODE_RANDOM;
        }
        if (cost[n] > 1u << 20)
            cost[n] = 1u << 20;
    }
    free(cost);
    free(uses);
    free(space);
    free(reads_list);
    free(by_list);
}

static void choose_products(scheduler *c, const uint8_t *mark, size_t count) {
    for (size_t n = 1; n <= count; n++)
        if (mark[n] && graph_view(c->g, (node)n).op == NODE_REDUCE) {
            product *p = schedule_match_product(c, (node)n);
            schedule_fit_nodes(c);
            c->product[n] = p;
        }
}

static void require(scheduler *c, node n);
static void require_now(scheduler *c, node n);

static void note_load(void *found, const load *l) {
    (void)l;
    *(bool *)found = true;
}

/* Is n computed from indices and random numbers alone? Such a node has no loads to take an order from. */
static bool without_loads(const scheduler *c, node n) {
    bool found = false;
    schedule_visit_loads(c, n, note_load, &found);
    return !found;
}

typedef struct waiting {
    node node[64];
    unsigned count;
} waiting;

static void require_below(scheduler *c, node n, node_map *seen, uint32_t scan, waiting *later) {
    /* a product in a step reads its operands */
    bool product = scan && c->inside[n] && c->product[n];
    node_view v  = graph_view(c->g, n);
    for (unsigned i = 0; i < (product ? 2 : v.child_count); i++) {
        node child = schedule_strip(c->g, product ? c->product[n]->factor[i] : v.child[i]);
        if (!schedule_is_new(seen, child))
            continue;
        if (!c->stored[child] || (scan && c->inside[child]))
            require_below(c, child, seen, scan, later);
        else if (!c->done[child] && later->count < 64 && without_loads(c, child))
            later->node[later->count++] = child;
        else
            require(c, child);
        v = graph_view(c->g, n);
    }
}

/* Schedules everything that computing n needs and is stored, but not n. What has no loads of its own comes last, in the
 * order in which n will walk. */
static void require_children(scheduler *c, node n, uint32_t scan) {
    waiting later    = {.count = 0};
    axis_order outer = c->hint;
    node_map seen    = {0};
    require_below(c, n, &seen, scan, &later);
    node_map_free(&seen);
    node_view v = graph_view(c->g, n);
    for (unsigned i = 0; i < later.count; i++) {
        c->hint = schedule_order(c, n, v.free | (v.op == NODE_REDUCE || v.op == NODE_SOLVE ? v.vars : 0));
        require(c, later.node[i]);
        c->hint = outer;
    }
    /* the rest of a conjunction may be stored for another */
    index_id index;
    node to, rest = schedule_scatter_rest(c, n, ~c->fixed, &index, &to);
    if (rest && c->stored[rest] && !(scan && c->inside[rest]))
        require(c, rest);
}

static void note_stored(void *context, node n) {
    require(context, n);
}

/* All that a region reads comes before it; then its own nodes. */
static void require_region(scheduler *c, uint32_t number) {
    if (c->region[number].done)
        return;
    c->region[number].done = true;
    for (uint32_t i = 0; i < c->region[number].inside_count; i++)
        schedule_visit_outside(c, number, c->region[number].inside[i], note_stored, c);
    if (schedule_make_kernel(c, &c->region[number]))
        return;
    schedule_open_region(c, &c->region[number]);
    for (uint32_t i = 0; i < c->region[number].inside_count; i++)
        require(c, c->region[number].inside[i]);
    schedule_close_region(c);
}

static void require(scheduler *c, node n) {
    if (c->done[n])
        return;
    if (c->region_of[n] && c->open != &c->region[c->region_of[n]]) {
        require_region(c, c->region_of[n]);
        return;
    }
    bool whole = c->whole;
    c->whole   = !c->member[n];
    require_now(c, n);
    c->whole = whole;
}

static void require_now(scheduler *c, node n) {
    c->done[n]  = 1;
    node_view v = graph_view(c->g, n);
    if (v.op == NODE_SCAN)
        mark_states(c->g, n, c->done);
    if (v.op == NODE_TENSOR)
        return;
    if (c->product[n]) {
        for (unsigned i = 0; i < 2; i++) {
            node factor = c->product[n]->factor[i];
            if (graph_view(c->g, factor).op == NODE_GATHER && !c->stored[factor])
                factor = schedule_strip(c->g, graph_view(c->g, factor).child[0]);
            require(c, factor);
        }
        for (unsigned i = 0; i < 2; i++) /* offsets may read integer tensors or stored index values */
            if (!c->stored[c->product[n]->factor[i]])
                require_children(c, c->product[n]->factor[i], 0);
        schedule_emit_product(c, n, NO_BUFFER);
        return;
    }
    require_children(c, n, v.op == NODE_SCAN ? v.scan_label : 0);
    if (v.op == NODE_SCAN)
        schedule_emit_scan(c, n);
    else
        schedule_emit_nest(c, n, NO_BUFFER);
}

static void add_tensors(scheduler *c) {
    for (uint32_t i = 0; i < graph_tensor_count(c->g); i++) {
        const tensor *t  = graph_tensor(c->g, i);
        axis_order order = {.rank = t->rank};
        memcpy(order.index, t->index, sizeof order.index);
        element_type element     = t->type == TYPE_INT ? ELEMENT_INT32 : ELEMENT_FLOAT;
        c->s->buffer_of[t->node] = schedule_add_buffer(c, PLACE_TENSOR, i, element, &order);
        c->stored[t->node]       = 1;
        c->done[t->node]         = 1;
    }
}

static void add_outputs(scheduler *c) {
    for (uint32_t i = 0; i < graph_output_count(c->g); i++) {
        const output *o  = graph_output(c->g, i);
        node n           = schedule_strip(c->g, o->node);
        axis_order order = {.rank = o->rank};
        memcpy(order.index, o->index, sizeof order.index);
        uint32_t target = schedule_add_buffer(c, PLACE_OUTPUT, i, ELEMENT_FLOAT, &order);
        index_set axes  = 0;
        for (unsigned k = 0; k < o->rank; k++)
            axes |= (index_set)1 << o->index[k];
        node_view v = graph_view(c->g, n);
        /* a stored sum that nobody has scheduled yet is written where it is wanted */
        bool direct = c->stored[n] && !c->done[n] && v.free == axes && v.type == TYPE_FLOAT && v.op == NODE_REDUCE &&
                      !c->product[n] && !c->region_of[n];
        if (direct) {
            require_children(c, n, 0);
            c->done[n] = 1;
            schedule_emit_nest(c, n, target);
            continue;
        }
        if (c->stored[n])
            require(c, n);
        else
            require_children(c, n, 0);
        schedule_emit_copy(c, n, target);
    }
}

static schedule *schedule_once(graph *g, const schedule_options *options, scattered *scattered) {
    schedule *s                            = schedule_allocate(1, sizeof *s);
    s->graph                               = g;
    static const schedule_options defaults = {0};
    scheduler c = {.s = s, .g = g, .options = options ? options : &defaults, .scattered = scattered};
    schedule_fit_nodes(&c);
    add_tensors(&c);
    size_t count  = graph_node_count(g);
    uint8_t *mark = reachable(g);
    mark_scans(&c, mark, count);
    choose_stored(&c, mark, count);
    choose_products(&c, mark, count);
    free(mark);
    if (!c.options->unfused)
        schedule_find_regions(&c);
    add_outputs(&c);
    schedule_place(s, !c.options->keep_workspace_apart);
    for (size_t i = 0; i < c.node_capacity; i++)
        free(c.product[i]);
    free(c.product);
    free(c.stored);
    free(c.done);
    free(c.inside);
    free(c.member);
    free(c.region_of);
    free(c.root);
    free(c.by_rows);
    for (uint32_t i = 1; i <= c.region_count; i++)
        free(c.region[i].inside);
    free(c.region);
    return s;
}

/* What is fused is checked as a program, and where that finds an error less is fused: kernels first, then blocks of
 * rows. The schedule says so. */
static schedule *schedule_checked(graph *g, schedule_options how) {
    char error[512], first[512] = "";
    scattered sums = {0};
    schedule *s    = schedule_once(g, &how, &sums);
    if (sums.count) {
        schedule_free(s);
        schedule_replace_outputs(g, &sums);
        s = schedule_once(g, &how, NULL);
    }
    for (;; s = schedule_once(g, &how, NULL)) {
        if (how.unfused || tile_verify(s, error, sizeof error)) {
            s->given_up = *first ? enough(strdup(first)) : NULL;
            schedule_restore_outputs(g, &sums);
            return s;
        }
        if (!*first)
            snprintf(first, sizeof first, "%s", error);
        schedule_free(s);
        how.unfused    = how.unstreamed;
        how.unstreamed = true;
    }
}

static const double LISTED = 2;

/* What is scheduled has lists for selections where they pay; the graph keeps the outputs that it had. */
schedule *schedule_graph(graph *g, const schedule_options *options) {
    schedule_options how = options ? *options : (schedule_options){0};
    uint32_t outputs     = graph_output_count(g);
    node *before         = schedule_allocate(outputs + 1, sizeof *before);
    char *selections     = NULL;
    for (uint32_t i = 0; i < outputs; i++)
        before[i] = graph_output(g, i)->node;
    if (!how.unfused)
        selections = selection_rewrite(g, how.listed > 0 ? how.listed : LISTED);
    schedule *s   = schedule_checked(g, how);
    s->selections = selections;
    for (uint32_t i = 0; i < outputs; i++)
        graph_set_output_node(g, i, before[i]);
    free(before);
    return s;
}

void schedule_free_statements(statement *list) {
    while (list) {
        statement *next = list->next;
        schedule_free_statements(list->body);
        schedule_free_statements(list->otherwise);
        free(list->product);
        free(list);
        list = next;
    }
}

void schedule_free(schedule *s) {
    if (!s)
        return;
    for (uint32_t i = 0; i < s->step_count; i++) {
        schedule_free_statements(s->step[i].body);
        free(s->step[i].product);
        free(s->step[i].local);
        free(s->step[i].note);
    }
    free(s->given_up);
    free(s->selections);
    free(s->step);
    free(s->buffer);
    free(s->buffer_of);
    free(s);
}
