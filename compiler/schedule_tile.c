/* What lives in tiles: which wide expressions are worth one, values of rows that are held while the stream is walked,
 * and running values. */
#include "enough.h"
#include "schedule_kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STORE_COST = 8, ROW_COST = 4 };

uint32_t kernel_add_place(kernel *k, buffer_place place, value_type type, index_set axes) {
    scheduler *c     = k->c;
    axis_order order = {0};
    for (unsigned i = 0; i < graph_index_count(c->g); i++)
        if (axes >> i & 1)
            order.index[order.rank++] = (index_id)i;
    return schedule_add_buffer(c, place, 0, schedule_element(type), &order);
}

void kernel_hold(kernel *k, node held, uint32_t buffer) {
    schedule_fit_nodes(k->c);
    k->c->s->buffer_of[held] = buffer;
    k->c->stored[held]       = 1;
    k->c->done[held]         = 1;
}

uint32_t kernel_tile_place(kernel *k, node n) {
    scheduler *c = k->c;
    schedule_fit_nodes(c);
    if (n >= k->tile_room) {
        size_t more  = graph_node_count(c->g) + 1024;
        k->tile_of   = enough_grown(k->tile_of, k->tile_room, more, sizeof *k->tile_of);
        k->emitted   = enough_grown(k->emitted, k->tile_room, more, 1);
        k->held_now  = enough_grown(k->held_now, k->tile_room, more, 1);
        k->row_value = enough_grown(k->row_value, k->tile_room, more, sizeof *k->row_value);
        k->rewritten = enough_grown(k->rewritten, k->tile_room, more, sizeof *k->rewritten);
        k->tile_room = more;
    }
    return k->tile_of[n];
}

/* Is n computed in tiles where it is stored? Not what is stored whole. */
static bool in_tiles(kernel *k, node n) {
    scheduler *c = k->c;
    bool whole =
        n < c->node_capacity && c->s->buffer_of[n] != NO_BUFFER && c->s->buffer[c->s->buffer_of[n]].place != PLACE_TILE;
    return kernel_streams(k, n) && !whole;
}

static void emit_tile(kernel *k, node n);

static void emit_below(kernel *k, node n, node_map *met) {
    scheduler *c   = k->c;
    bool product   = n < c->node_capacity && c->product[n];
    unsigned count = product ? 2 : view(k, n).child_count;
    for (unsigned i = 0; i < count; i++) {
        node m = schedule_strip(c->g, product ? c->product[n]->factor[i] : view(k, n).child[i]);
        if (!schedule_is_new(met, m))
            continue;
        if (c->stored[m] && (in_tiles(k, m) || (product && c->s->buffer_of[m] == NO_BUFFER)))
            emit_tile(k, m);
        else if (c->s->buffer_of[m] == NO_BUFFER)
            emit_below(k, m, met);
    }
}

void kernel_emit_children(kernel *k, node n) {
    node_map met = {0};
    emit_below(k, n, &met);
    node_map_free(&met);
}

/* Where scans step along the stream, all rows take a step at once: rows lie next to each other then. */
static uint32_t place_for_steps(kernel *k, node n) {
    node_view v      = view(k, n);
    index_set inner  = bit(k->row) | bit(k->stream);
    axis_order order = {0};
    for (unsigned i = 0; i < graph_index_count(k->c->g); i++)
        if (v.free >> i & 1 && !((inner | k->grid) >> i & 1))
            order.index[order.rank++] = (index_id)i;
    order.index[order.rank++] = k->stream;
    order.index[order.rank++] = k->row;
    return schedule_add_buffer(k->c, PLACE_TILE, 0, schedule_element(v.type), &order);
}

/* The statements that put n into its tile, and before them those of what it reads. */
static void emit_tile(kernel *k, node n) {
    scheduler *c = k->c;
    kernel_tile_place(k, n);
    if (k->emitted[n])
        return;
    k->emitted[n]       = 1;
    const carried *scan = kernel_carried(k, n);
    kernel_emit_children(k, scan && scan->number ? scan->after : scan ? scan->value : n);
    bool growing = c->growing;
    c->growing   = false;
    c->tiles     = true;
    if (k->carried_count && !k->tile_of[n] && (view(k, n).free & bit(k->row)))
        k->tile_of[n] = place_for_steps(k, n);
    if (c->product[n]) {
        schedule_emit_product(c, n, k->tile_of[n] ? k->tile_of[n] : NO_BUFFER);
    } else {
        uint32_t target = k->tile_of[n];
        if (!target) {
            node_view v      = view(k, n);
            axis_order order = schedule_layout(c, n, v.free);
            target           = schedule_add_buffer(c, PLACE_TILE, 0, schedule_element(v.type), &order);
        }
        if (scan)
            kernel_emit_scan(k, scan, target);
        else
            schedule_emit_into(c, n, target);
    }
    kernel_tile_place(k, n);
    k->tile_of[n] = c->s->buffer_of[n];
    c->tiles      = false;
    c->growing    = growing;
}

/* What wide expressions are worth a tile: sums, operands of products, what is dear and used more than once. */
typedef struct counting {
    kernel *k;
    size_t room;
    uint16_t *uses;
    uint32_t *cost;
    uint8_t *seen;
} counting;

static void count_uses(counting *q, node n, bool root) {
    kernel *k    = q->k;
    scheduler *c = k->c;
    n            = schedule_strip(c->g, n);
    if (!root && q->uses[n]++ > 0)
        return;
    if (!root && c->s->buffer_of[n] != NO_BUFFER && !in_tiles(k, n))
        return;
    node_view v = view(k, n);
    if (v.op == NODE_REDUCE && v.reduction == REDUCE_SUM && !c->product[n] && (root || in_tiles(k, n))) {
        product *p = schedule_match_product(c, n);
        schedule_fit_nodes(c);
        c->product[n] = p;
    }
    if (c->product[n]) {
        for (unsigned i = 0; i < 2; i++) {
            node f = c->product[n]->factor[i];
            if (f < q->room)
                count_uses(q, f, false);
        }
        return;
    }
    for (unsigned i = 0; i < view(k, n).child_count; i++)
        count_uses(q, view(k, n).child[i], false);
}

/* What a step of a scan reads and does not depend on the state is computed before the steps. */
static void keep_for_step(kernel *k, node n) {
    scheduler *c = k->c;
    n            = schedule_strip(c->g, n);
    if (c->inside[n] || !in_tiles(k, n) || graph_op_arity(view(k, n).op) == 0)
        return;
    k->changed |= !c->stored[n];
    c->stored[n] = 1;
    c->member[n] = k->r->component;
    kernel_note_wide(k, n);
}

static uint32_t cost_of(counting *q, node n) {
    kernel *k    = q->k;
    scheduler *c = k->c;
    n            = schedule_strip(c->g, n);
    if (q->seen[n])
        return q->cost[n];
    q->seen[n]  = 1;
    node_view v = view(k, n);
    if (c->s->buffer_of[n] != NO_BUFFER && !in_tiles(k, n))
        return q->cost[n] = 1;
    uint32_t cost = schedule_own_cost(c->g, n);
    bool product  = c->product[n] != NULL;
    for (unsigned i = 0; i < (product ? 2 : v.child_count); i++) {
        node m = product ? c->product[n]->factor[i] : view(k, n).child[i];
        if (m < q->room)
            cost += cost_of(q, m);
        if (c->inside[n])
            keep_for_step(k, m);
    }
    if (in_tiles(k, n) && !c->inside[n]) {
        bool sum = v.op == NODE_REDUCE;
        if (sum || (q->uses[n] > 1 && cost * (q->uses[n] - 1u) > STORE_COST && v.op != NODE_INDEX)) {
            k->changed |= !c->stored[n];
            c->stored[n] = 1;
        }
        if (c->stored[n]) {
            c->member[n] = k->r->component;
            kernel_note_wide(k, n);
            cost = 1;
        }
    }
    return q->cost[n] = cost < 1 << 20 ? cost : 1 << 20;
}

void kernel_choose_tiles(kernel *k, const node *reduce, unsigned count) {
    scheduler *c = k->c;
    counting q   = {.k = k, .room = graph_node_count(c->g) + 4096};
    q.uses       = schedule_allocate(q.room, sizeof *q.uses);
    q.cost       = schedule_allocate(q.room, sizeof *q.cost);
    q.seen       = schedule_allocate(q.room, 1);
    for (unsigned i = 0; i < count; i++)
        count_uses(&q, reduce[i], true);
    for (unsigned i = 0; i < count; i++)
        cost_of(&q, reduce[i]);
    free(q.uses);
    free(q.cost);
    free(q.seen);
}

/* n with each part of the conjunction `domain` replaced by true. */
static node assume(kernel *k, node n, node domain) {
    graph *g    = k->c->g;
    node_view d = graph_view(g, domain);
    if (kernel_is_part(g, n, domain))
        return graph_bool(g, true);
    node_view v = graph_view(g, n);
    if (!graph_op_is_pointwise(v.op) || v.child_count > 3 || !(v.free & d.free) ||
        (n < k->c->node_capacity && kernel_is_complete(k->c, k->r, n)))
        return n;
    node child[3] = {0, 0, 0};
    bool changed  = false;
    for (unsigned i = 0; i < v.child_count; i++) {
        node old = graph_view(g, n).child[i];
        child[i] = assume(k, old, domain);
        changed |= child[i] != old;
    }
    return changed ? graph_pointwise(g, v.op, child[0], child[1], child[2]) : n;
}

/* Narrow nodes of the region that are no reductions over its stream. */
bool kernel_is_between(const kernel *k, node n) {
    const scheduler *c = k->c;
    return n < c->node_capacity && kernel_is_own(c, k->r, n) && !kernel_is_root(k, n);
}

void kernel_emit_between(kernel *k, node n) {
    scheduler *c    = k->c;
    node_view v     = view(k, n);
    uint32_t target = c->s->buffer_of[n];
    if (target == NO_BUFFER)
        target = kernel_add_place(k, PLACE_WORKSPACE, v.type, v.free);
    schedule_emit_into(c, n, target);
}

/* Brings those that n reads to what they are after this tile. */
static void emit_so_far(kernel *k, node n, node_map *met) {
    scheduler *c = k->c;
    n            = schedule_strip(c->g, n);
    if (!schedule_is_new(met, n))
        return;
    bool own       = kernel_is_between(k, n);
    uint64_t needs = kernel_needs_of(k, n), pass = 0;
    for (unsigned i = 0; i < k->root_count; i++)
        if (k->root[i].pass == k->pass)
            pass |= (uint64_t)1 << i;
    if (!(needs & pass) || kernel_is_complete(c, k->r, n))
        return;
    for (unsigned i = 0; i < view(k, n).child_count; i++)
        emit_so_far(k, view(k, n).child[i], met);
    if (own)
        kernel_emit_between(k, n);
}

/* Moves the running value of a part to what it is after this tile's reductions so far, once in a tile, and makes the
 * factor for what was summed under the old one. */
void kernel_emit_running(kernel *k, running *r) {
    scheduler *c = k->c;
    graph *g     = c->g;
    node one = graph_float(g, 1), zero = graph_float(g, 0);
    if (r->moved)
        return;
    r->moved    = true;
    node same   = graph_pointwise(g, NODE_EQUAL, r->held, r->next, NODE_NONE);
    node some   = kernel_is_usable(g, graph_pointwise(g, NODE_ABS, r->held, 0, 0));
    node moved  = graph_pointwise(g, NODE_EXP, graph_sub(g, kernel_usable(g, r->next), r->held), 0, 0);
    node factor = graph_select(g, same, one, graph_select(g, some, moved, zero));
    schedule_fit_nodes(c);
    node_map met = {0};
    emit_so_far(k, r->value, &met);
    node_map_free(&met);
    schedule_emit_value(c, r->value, r->next_buffer);
    schedule_emit_value(c, factor, r->factor_buffer);
    schedule_emit_value(c, r->next, r->held_buffer);
}

/* What has no stream index but is dear is computed once for a block of rows, before the stream, and held. */
static uint32_t plain_cost(const kernel *k, node n) {
    const scheduler *c = k->c;
    if (n < c->node_capacity && c->s->buffer_of[n] != NO_BUFFER)
        return 1;
    node_view v   = view(k, n);
    uint32_t cost = schedule_own_cost(c->g, n);
    for (unsigned i = 0; i < v.child_count && cost < ROW_COST; i++)
        cost += plain_cost(k, v.child[i]);
    return cost;
}

static bool known_before(kernel *k, node n) {
    uint64_t pending = HELD;
    for (unsigned i = 0; i < k->root_count; i++)
        if (k->root[i].pass >= k->pass)
            pending |= (uint64_t)1 << i;
    return !(kernel_needs_of(k, n) & pending);
}

static node row_value(kernel *k, node n) {
    scheduler *c = k->c;
    kernel_tile_place(k, n);
    if (k->held_now[n])
        return k->row_value[n];
    node_view v = view(k, n);
    if (!graph_op_is_pointwise(v.op) || !(v.free & bit(k->row)) || plain_cost(k, n) < ROW_COST || !known_before(k, n))
        return n;
    statement **inner = c->sink;
    axis_order ranged = c->ranged;
    uint32_t target   = kernel_add_place(k, PLACE_TILE, v.type, v.free & ~k->grid);
    node held         = k->row_value[n] ? k->row_value[n] : graph_new_held(c->g, v.free, v.type);
    k->row_value[n]   = held;
    k->held_now[n]    = 1;
    kernel_hold(k, held, target);
    c->sink        = k->before;
    c->ranged.rank = 1;
    schedule_emit_value(c, n, target);
    c->sink   = inner;
    c->ranged = ranged;
    kernel_tile_place(k, held);
    k->tile_of[held] = target;
    return held;
}

/* n with such values held. */
static node with_row_values(kernel *k, node n) {
    scheduler *c  = k->c;
    n             = schedule_strip(c->g, n);
    node_view v   = view(k, n);
    bool complete = n < c->node_capacity && c->s->buffer_of[n] != NO_BUFFER;
    if (complete)
        return n;
    if (!kernel_streams(k, n))
        return row_value(k, n);
    kernel_tile_place(k, n);
    if (k->rewritten[n])
        return k->rewritten[n];
    node child[3] = {0, 0, 0}, result = n;
    bool inner   = graph_op_is_pointwise(v.op) || (v.op == NODE_REDUCE && !(v.vars & bit(k->stream)));
    bool changed = false;
    for (unsigned i = 0; inner && i < v.child_count; i++) {
        node old = view(k, n).child[i];
        child[i] = with_row_values(k, old);
        changed |= child[i] != old;
    }
    if (changed && v.op == NODE_REDUCE)
        result = graph_reduce(c->g, v.reduction, v.vars, child[0], child[1]);
    else if (changed)
        result = graph_pointwise(c->g, v.op, child[0], child[1], child[2]);
    kernel_tile_place(k, n);
    return k->rewritten[n] = result;
}

/* The reduction over one tile. Where the domain holds all over it, without it; NODE_NONE where that is another
 * reduction, because nothing but the domain depends on the stream. */
node kernel_tile_reduce(kernel *k, const kernel_root *r, const part *p, bool full) {
    graph *g    = k->c->g;
    node domain = r->domain, body = p->body;
    if (full && !schedule_is_true(g, domain)) {
        body   = assume(k, body, domain);
        domain = NODE_NONE;
        if ((view(k, body).free & r->view.vars) != r->view.vars)
            return kernel_tile_reduce(k, r, p, false);
    }
    if (k->before)
        body = with_row_values(k, body);
    if (r->scatter)
        domain = schedule_is_true(g, domain) ? r->scatter : graph_and(g, domain, r->scatter);
    node n      = graph_reduce(g, r->view.reduction, r->view.vars, domain, body);
    node_view v = graph_view(g, n);
    return v.op == NODE_REDUCE && v.vars == r->view.vars && v.reduction == r->view.reduction ? n : NODE_NONE;
}
