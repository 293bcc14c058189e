/* The statements of a kernel: starts, the walk of each pass over the tiles of the stream, ends. */
#include "enough.h"
#include "schedule_domain.h"
#include "schedule_kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A product of matrices multiplies what a domain excludes by 0, which is no number where that is infinite or none. The
 * condition that the operand that the domain does not blank has finite elements only; NODE_NONE: there is none such. */
static node all_finite(kernel *k, node n, node domain) {
    graph *g         = k->c->g;
    const product *p = k->c->product[n];
    node condition   = NODE_NONE;
    for (unsigned i = 0; i < 2; i++) {
        index_set free = view(k, p->factor[i]).free;
        if (!(view(k, domain).free & ~free))
            continue;
        node size      = graph_pointwise(g, NODE_ABS, p->factor[i], NODE_NONE, NODE_NONE);
        node finite    = graph_pointwise(g, NODE_LESS, size, graph_float(g, INFINITY), NODE_NONE);
        index_set over = view(k, finite).free & ~k->grid;
        condition      = kernel_both(g, condition, graph_reduce(g, REDUCE_ALL, over, NODE_NONE, finite));
    }
    return condition;
}

static void emit_scalar(kernel *k, node n) {
    scheduler *c = k->c;
    if (view(k, n).op == NODE_AND) {
        emit_scalar(k, view(k, n).child[0]);
        emit_scalar(k, view(k, n).child[1]);
        return;
    }
    kernel_tile_place(k, n);
    if (view(k, n).op != NODE_REDUCE || k->emitted[n])
        return;
    k->emitted[n] = 1;
    bool growing  = c->growing;
    c->growing    = false;
    if (!k->tile_of[n])
        k->tile_of[n] = kernel_add_place(k, PLACE_TILE, TYPE_BOOL, 0);
    schedule_emit_into(c, n, k->tile_of[n]);
    c->growing = growing;
}

/* The sum element by element, each only where the domain holds. */
static void emit_exactly(kernel *k, node n, uint32_t target) {
    scheduler *c    = k->c;
    product *set    = c->product[n];
    uint8_t *before = schedule_allocate(k->tile_room, 1);
    memcpy(before, k->emitted, k->tile_room);
    size_t room   = k->tile_room;
    c->product[n] = NULL;
    bool tiles = c->tiles, growing = c->growing;
    c->tiles = c->growing = false;
    kernel_emit_children(k, n);
    c->tiles   = tiles;
    c->growing = growing;
    schedule_emit_into(c, n, target);
    c->product[n] = set;
    memset(k->emitted, 0, k->tile_room);
    memcpy(k->emitted, before, room);
    free(before);
}

/* Does the index that moves by one in the target belong to a side of the product? */
static bool fits_product(kernel *k, node n, uint32_t target) {
    scheduler *c    = k->c;
    const buffer *b = &c->s->buffer[target];
    index_set last  = 0;
    for (unsigned a = 0; a < b->rank; a++)
        if (graph_index_extent(c->g, b->axis[a]) > 1)
            last = bit(b->axis[a]);
    return !last || (last & (c->product[n]->rows | c->product[n]->columns) & ~k->grid);
}

static void emit_sum(kernel *k, node n, node domain, uint32_t target) {
    scheduler *c = k->c;

    node condition = c->product[n] && domain && !schedule_is_true(c->g, domain) ? all_finite(k, n, domain) : NODE_NONE;
    schedule_fit_nodes(c);
    if (!c->product[n]) {
        schedule_emit_into(c, n, target);
        return;
    }
    if (!condition) {
        schedule_emit_product(c, n, target);
        return;
    }
    emit_scalar(k, condition);
    statement *choice = schedule_statement(STATEMENT_IF);
    choice->condition = condition;
    schedule_append(c->sink, choice);
    statement **outer = c->sink;
    c->sink           = &choice->body;
    schedule_emit_product(c, n, target);
    c->s->buffer_of[n] = NO_BUFFER;
    c->sink            = &choice->otherwise;
    emit_exactly(k, n, target);
    c->sink = outer;
}

/* One tile of one pass. */
static void emit_pass(kernel *k, unsigned pass, bool full) {
    scheduler *c = k->c;
    node reduce[MOST_ROOTS * 2];
    unsigned owner[MOST_ROOTS * 2], which[MOST_ROOTS * 2], count = 0;
    for (unsigned i = 0; i < k->root_count; i++)
        for (unsigned p = 0; k->root[i].pass == pass && p < k->root[i].parts; p++) {
            reduce[count]  = kernel_tile_reduce(k, &k->root[i], &k->root[i].part[p], full);
            owner[count]   = i;
            which[count++] = p;
        }
    for (unsigned i = 0; i < k->running_count; i++)
        k->running[i].moved = false;
    schedule_fit_nodes(c);
    if (k->tile_room)
        memset(k->emitted, 0, k->tile_room);
    kernel_choose_tiles(k, reduce, count);
    for (unsigned i = 0; i < count; i++) {
        kernel_root *r = &k->root[owner[i]];
        part *p        = &r->part[which[i]];
        node n         = reduce[i];
        if (p->running) { /* what was summed so far, as if the running value had been the new one */
            kernel_emit_running(k, &k->running[p->held]);
            node kept = graph_mul(c->g, p->sum, k->running[p->held].factor);
            schedule_fit_nodes(c);
            schedule_emit_value(c, kept, p->buffer);
        }
        if (c->product[n] && !fits_product(k, n, p->buffer)) {
            free(c->product[n]);
            c->product[n] = NULL;
        }
        kernel_emit_children(k, n);
        c->growing         = true;
        c->tiles           = true; /* copies of operands */
        uint32_t outside   = c->s->buffer_of[n];
        c->s->buffer_of[n] = NO_BUFFER;
        emit_sum(k, n, view(k, n).child[0], p->buffer);
        c->growing         = false;
        c->tiles           = false;
        c->s->buffer_of[n] = n == r->reduce && !r->added ? p->buffer : outside;
    }
}

/* What the reduction is when the stream is at its end. A running value that is still none is what it is: the sum of any
 * exponentials under it is then no number, unless there were none. */
static node final_value(kernel *k, const kernel_root *r) {
    graph *g   = k->c->g;
    node total = NODE_NONE;
    for (unsigned i = 0; i < r->parts; i++) {
        const part *p = &r->part[i];
        node value    = p->sum;
        if (p->running) {
            node held  = k->running[p->held].held;
            node under = graph_mul(g, value, graph_pointwise(g, NODE_EXP, held, 0, 0));
            value      = graph_select(g, kernel_is_usable(g, held), value, under);
        }
        value = kernel_times(g, value, p->final);
        if (p->any)
            value = graph_select(g, k->root[p->any - 1].part[0].sum, value, graph_float(g, 0));
        total = kernel_plus(g, total, value);
    }
    return total;
}

static bool is_plain(const kernel_root *r) {
    return r->parts == 1 && !r->part[0].running && !r->part[0].final;
}

/* At the end of a pass: results, and the narrow values that later passes or others read. */

static void end_node(kernel *k, node n, unsigned pass);

static void end_root(kernel *k, unsigned number, unsigned pass) {
    scheduler *c   = k->c;
    kernel_root *r = &k->root[number];
    if (r->pass != pass || r->ended)
        return;
    r->ended = true;
    if (is_plain(r))
        return;
    node value = final_value(k, r);
    schedule_fit_nodes(c);
    end_node(k, value, pass);
    schedule_emit_value(c, value, r->buffer);
}

/* Ends what n reads that belongs to the kernel, then n, where a region stores it. */
static void end_node(kernel *k, node n, unsigned pass) {
    scheduler *c = k->c;
    n            = schedule_strip(c->g, n);
    kernel_tile_place(k, n);
    if (k->emitted[n])
        return;
    k->emitted[n] = 1;
    for (unsigned i = 0; i < k->root_count; i++)
        if (k->root[i].reduce == n && !k->root[i].added) {
            end_root(k, i, pass);
            return;
        }
    bool own = kernel_is_between(k, n);
    if (kernel_is_complete(c, k->r, n))
        return;
    for (unsigned i = 0; i < view(k, n).child_count; i++)
        end_node(k, view(k, n).child[i], pass);
    if (own)
        kernel_emit_between(k, n);
}

static void emit_ends(kernel *k, unsigned pass) {
    kernel_tile_place(k, (node)graph_node_count(k->c->g));
    memset(k->emitted, 0, k->tile_room);
    for (unsigned i = 0; i < k->root_count; i++)
        end_root(k, i, pass);
    for (uint32_t i = 0; i < k->r->inside_count; i++) {
        node n = k->r->inside[i];
        if (!kernel_is_between(k, n) || k->c->done[n])
            continue;
        uint64_t needs = kernel_needs_of(k, n);
        bool ready     = true;
        for (unsigned j = 0; j < k->root_count; j++)
            ready &= !(needs >> j & 1) || k->root[j].pass <= pass;
        if (!ready)
            continue;
        end_node(k, n, pass);
        k->c->done[n] = 1;
    }
}

/* The indices of a result: those of the grid, of heads that meet in a tile, the streamed or blocked one, and last those
 * that only this result has, which are the columns of its product. Rows that are reduced afterwards come first. */
static uint32_t result_place(kernel *k, const kernel_root *r) {
    scheduler *c     = k->c;
    node_view v      = r->view;
    index_set two    = bit(k->row) | bit(k->stream);
    index_set first  = k->grid | (r->apart & bit(k->row));
    axis_order order = {0};
    for (unsigned group = 0; group < 4; group++)
        for (unsigned i = 0; i < graph_index_count(c->g); i++) {
            unsigned of = first >> i & 1 ? 0 : two >> i & 1 ? 2 : k->wide_all >> i & 1 ? 1 : 3;
            if ((v.free >> i & 1) && of == group)
                order.index[order.rank++] = (index_id)i;
        }
    return schedule_add_buffer(c, PLACE_WORKSPACE, 0, schedule_element(v.type), &order);
}

static void make_places(kernel *k) {
    scheduler *c = k->c;
    for (unsigned i = 0; i < k->root_count; i++) {
        kernel_root *r = &k->root[i];
        /* what the kernel needs for itself, each item of the grid has for itself */
        r->buffer =
            r->added ? kernel_add_place(k, PLACE_TILE, r->view.type, r->view.free & ~k->grid) : result_place(k, r);
        for (unsigned p = 0; p < r->parts; p++) {
            r->part[p].buffer = p == 0 ? r->buffer : result_place(k, r);
            if (!r->part[p].sum)
                r->part[p].sum = graph_new_held(c->g, r->view.free, r->view.type);
            kernel_hold(k, r->part[p].sum, r->part[p].buffer);
        }
        if (r->added)
            continue;
        c->s->buffer_of[r->reduce] = r->buffer;
        c->done[r->reduce]         = 1;
    }
    for (unsigned i = 0; i < k->running_count; i++) {
        running *r      = &k->running[i];
        index_set axes  = view(k, r->value).free & ~k->grid;
        uint32_t *to[3] = {&r->held_buffer, &r->next_buffer, &r->factor_buffer};
        node leaf[3]    = {r->held, r->next, r->factor};
        for (unsigned j = 0; j < 3; j++) {
            *to[j] = kernel_add_place(k, PLACE_TILE, TYPE_FLOAT, axes);
            kernel_hold(k, leaf[j], *to[j]);
        }
    }
    for (unsigned i = 0; i < k->carried_count; i++) {
        carried *s = &k->carried[i];
        s->buffer  = kernel_add_place(k, PLACE_TILE, view(k, s->held).type, view(k, s->held).free & ~k->grid);
        kernel_hold(k, s->held, s->buffer);
    }
}

static void emit_starts(kernel *k, bool by_row) {
    scheduler *c = k->c;
    for (unsigned i = 0; i < k->root_count; i++)
        for (unsigned p = 0; p < k->root[i].parts; p++)
            if (k->root[i].by_row == by_row) {
                node start = schedule_identity(c, k->root[i].reduce);
                schedule_fit_nodes(c);
                schedule_emit_value(c, start, k->root[i].part[p].buffer);
            }
    node nothing = graph_float(c->g, -INFINITY);
    schedule_fit_nodes(c);
    for (unsigned i = 0; by_row && i < k->running_count; i++)
        schedule_emit_value(c, nothing, k->running[i].held_buffer);
}

/* Where a tile matters: the domains of the reductions of the pass, and those of scans, which may step anywhere. */
static unsigned domains_of(const kernel *k, unsigned pass, node domain[MOST_ROOTS + MOST_CARRIED]) {
    unsigned count = 0;
    for (unsigned i = 0; i < k->root_count; i++)
        if (k->root[i].pass == pass)
            domain[count++] = k->root[i].domain;
    for (unsigned i = 0; i < k->carried_count; i++)
        domain[count++] = k->carried[i].guard;
    return count;
}

/* Can the extremes that the condition compares be computed here? Those of a condition that is stored may be of what is
 * wide, at another place. */
static bool can_compare(kernel *k, node condition) {
    node list[64];
    unsigned count = domain_extremes(k->c->g, condition, list, 64);
    bool can       = count <= 64;
    schedule_fit_nodes(k->c);
    for (unsigned i = 0; i < count && can; i++)
        can = kernel_can_compute(k, list[i]);
    return can;
}

static void bounds_of(kernel *k, node domain, node *lo, node *hi) {
    domain_bounds(k->c->g, domain, view(k, domain).free & ~k->grid & ~bit(k->stream), k->stream, lo, hi);
}

static void conditions_of(kernel *k, node domain, node *empty, node *full) {
    domain_of_tile(k->c->g, domain, view(k, domain).free & ~k->grid, empty, full);
}

/* The parts of a conjunction whose extremes can be computed; NODE_NONE: of none. */
static node comparable(kernel *k, node domain) {
    node_view v = view(k, domain);
    if (v.op == NODE_AND) {
        node right = v.child[1], first = comparable(k, v.child[0]);
        return kernel_both(k->c->g, first, comparable(k, right));
    }
    node lo, hi, empty, full;
    bounds_of(k, domain, &lo, &hi);
    conditions_of(k, domain, &empty, &full);
    bool can = can_compare(k, lo) && can_compare(k, hi) && can_compare(k, empty) && can_compare(k, full);
    return can ? domain : NODE_NONE;
}

/* Where the stream has anything for the rows of a block, in any reduction of the pass. */
static void stream_bounds(kernel *k, unsigned pass, node *lo, node *hi) {
    graph *g   = k->c->g;
    bool first = true;
    *lo = *hi = NODE_NONE;
    node list[MOST_ROOTS + MOST_CARRIED];
    unsigned count = domains_of(k, pass, list);
    for (unsigned i = 0; i < count; i++) {
        node low = NODE_NONE, high = NODE_NONE, domain = list[i];
        if (!schedule_is_true(g, domain))
            bounds_of(k, domain, &low, &high);
        if (!can_compare(k, low) || !can_compare(k, high)) {
            low = high = NODE_NONE;
            domain     = comparable(k, domain);
            if (domain)
                bounds_of(k, domain, &low, &high);
        }
        *lo   = first ? low : *lo && low ? graph_pointwise(g, NODE_MINIMUM, *lo, low, NODE_NONE) : NODE_NONE;
        *hi   = first ? high : *hi && high ? graph_pointwise(g, NODE_MAXIMUM, *hi, high, NODE_NONE) : NODE_NONE;
        first = false;
    }
}

/* Is there nothing in a tile for any reduction of the pass; is everything in it for all? NODE_NONE: not to be told. */
static void tile_conditions(kernel *k, unsigned pass, node *empty, node *full) {
    graph *g  = k->c->g;
    node last = NODE_NONE;
    *empty    = graph_bool(g, true);
    *full     = graph_bool(g, true);
    node list[MOST_ROOTS + MOST_CARRIED];
    unsigned count = domains_of(k, pass, list);
    for (unsigned i = 0; i < count; i++) {
        node domain = list[i], e = NODE_NONE, f = NODE_NONE;
        if (i && domain == last)
            continue;
        last = domain;
        if (schedule_is_true(g, domain))
            f = graph_bool(g, true);
        else
            conditions_of(k, domain, &e, &f);
        if (!can_compare(k, e) || !can_compare(k, f)) {
            e      = NODE_NONE;
            domain = comparable(k, domain);
            if (domain)
                conditions_of(k, domain, &e, &f);
            f = NODE_NONE;
        }
        *empty = *empty && e ? graph_and(g, *empty, e) : NODE_NONE;
        *full  = *full && f ? graph_and(g, *full, f) : NODE_NONE;
    }
}

/* Stores the extremes that a condition compares, of rows before the stream, of the stream in every tile. */
static void emit_extremes(kernel *k, node condition, bool of_stream) {
    scheduler *c = k->c;
    node list[64];
    unsigned count = condition ? domain_extremes(c->g, condition, list, 64) : 0;
    schedule_fit_nodes(c);
    for (unsigned i = 0; i < count && i < 64; i++) {
        node_view v = view(k, list[i]);
        bool stream = (v.vars & bit(k->stream)) != 0;
        kernel_tile_place(k, list[i]);
        bool own = k->tile_of[list[i]] != 0; /* of an earlier pass, whose last tile it is of */
        if (stream != of_stream || (own ? !stream || k->emitted[list[i]] : c->s->buffer_of[list[i]] != NO_BUFFER))
            continue;
        k->emitted[list[i]] = 1;
        if (!own)
            k->tile_of[list[i]] = kernel_add_place(k, PLACE_TILE, v.type, v.free & ~k->grid);
        if (stream) /* what it compares may itself live in a tile */
            kernel_emit_children(k, list[i]);
        schedule_emit_into(c, list[i], k->tile_of[list[i]]);
    }
}

/* Into `list` with the statements that `make` writes. */
typedef struct writing {
    statement **outer;
} writing;

static writing begin_list(kernel *k, statement **list) {
    writing w  = {k->c->sink};
    k->c->sink = list;
    return w;
}

static void end_list(kernel *k, writing w) {
    k->c->sink = w.outer;
}

static statement *block_over(kernel *k, index_id index, node lo, node hi) {
    statement *s = schedule_statement(STATEMENT_BLOCK);
    s->index     = index;
    s->block     = k->c->block[index];
    s->lo        = lo;
    s->hi        = hi;
    return s;
}

static void emit_stream(kernel *k, unsigned pass) {
    scheduler *c = k->c;
    node lo, hi, empty, full;
    k->pass   = pass;
    k->before = c->sink;
    if (k->tile_room)
        memset(k->rewritten, 0, k->tile_room * sizeof *k->rewritten);
    stream_bounds(k, pass, &lo, &hi);
    tile_conditions(k, pass, &empty, &full);
    schedule_fit_nodes(c);
    emit_extremes(k, lo, false);
    emit_extremes(k, hi, false);
    emit_extremes(k, empty, false);
    emit_extremes(k, full, false);
    kernel_start_scans(k, pass);
    statement *walk                   = block_over(k, k->stream, lo, hi);
    walk->reverse                     = k->reverse;
    c->ranged.index[c->ranged.rank++] = k->stream;
    statement **body                  = &walk->body;
    writing extremes                  = begin_list(k, body);
    kernel_tile_place(k, (node)graph_node_count(c->g));
    memset(k->emitted, 0, k->tile_room);
    emit_extremes(k, empty, true);
    emit_extremes(k, full, true);
    end_list(k, extremes);
    while (*body)
        body = &(*body)->next;
    double value;
    bool always = full && graph_is_constant(c->g, full, &value) && value != 0;
    if (empty && !always && !(graph_is_constant(c->g, empty, &value) && value == 0)) {
        statement *skip = schedule_statement(STATEMENT_IF);
        skip->condition = graph_pointwise(c->g, NODE_NOT, empty, NODE_NONE, NODE_NONE);
        schedule_fit_nodes(c);
        *body = skip;
        body  = &skip->body;
    }
    if (full && !always && !(graph_is_constant(c->g, full, &value) && value == 0)) {
        statement *whole = schedule_statement(STATEMENT_IF);
        whole->condition = full;
        *body            = whole;
        writing w        = begin_list(k, &whole->body);
        emit_pass(k, pass, true);
        end_list(k, w);
        body = &whole->otherwise;
    }
    writing w = begin_list(k, body);
    emit_pass(k, pass, always);
    end_list(k, w);
    c->ranged.rank--;
    schedule_append(c->sink, walk);
}

static void keep_places(kernel *k, step *t) {
    scheduler *c = k->c;
    t->local     = enough(malloc((graph_node_count(c->g) + 1) * sizeof *t->local));
    for (size_t n = 1; n < k->tile_room; n++)
        if (k->tile_of[n]) {
            t->local[t->local_count++] = (placement){(node)n, k->tile_of[n]};
            c->s->buffer_of[n]         = NO_BUFFER;
        }
    /* what is stored later on is computed where it stands here */
    for (node n = 1; n <= graph_node_count(c->g) && n < c->node_capacity; n++)
        if (c->stored[n] && !c->done[n] && c->s->buffer_of[n] == NO_BUFFER && (n >= k->tile_room || !k->tile_of[n]))
            t->local[t->local_count++] = (placement){n, NO_BUFFER};
    t->local = enough(realloc(t->local, (t->local_count + 1) * sizeof *t->local));
}

/* Reduces what the items of the grid left. */
static void join_parts(kernel *k, const kernel_root *r) {
    scheduler *c = k->c;
    node joined  = graph_reduce(c->g, r->view.reduction, r->apart, NODE_NONE, r->reduce);
    schedule_fit_nodes(c);
    c->done[r->whole] = 1;
    c->stored[joined] = 1;
    c->done[joined]   = 1;
    schedule_emit_nest(c, joined, NO_BUFFER);
    c->s->buffer_of[r->whole] = c->s->buffer_of[joined];
}

/* Is n reduced after the kernel, of what its items left? */
static bool is_joined(const kernel *k, node n) {
    bool joined = false;
    for (unsigned i = 0; i < k->root_count; i++)
        joined |= k->root[i].whole == n;
    return joined;
}

/* Do different blocks of rows write different elements? */
bool kernel_rows_apart(const kernel *k) {
    bool apart = true;
    for (unsigned i = 0; i < k->root_count; i++)
        apart &= k->root[i].by_row;
    for (uint32_t i = 0; i < k->r->inside_count; i++)
        apart &= is_joined(k, k->r->inside[i]) || (view(k, k->r->inside[i]).free & bit(k->row));
    return apart;
}

static statement *write_statements(kernel *k) {
    scheduler *c     = k->c;
    statement *items = NULL;
    c->sink          = &items;
    k->changed       = false;
    make_places(k);
    emit_starts(k, false);
    statement *rows = block_over(k, k->row, NODE_NONE, NODE_NONE);
    rows->parallel  = kernel_rows_apart(k);
    c->ranged       = (axis_order){.rank = 1, .index = {k->row}};
    writing w       = begin_list(k, &rows->body);
    emit_starts(k, true);
    for (unsigned pass = 0; pass < k->passes; pass++) {
        emit_stream(k, pass);
        emit_ends(k, pass);
    }
    end_list(k, w);
    schedule_append(&items, rows);
    c->sink   = NULL;
    c->ranged = (axis_order){0};
    return items;
}

/* As if nothing had been written. */
static void take_back(kernel *k, statement *written, uint32_t buffers) {
    scheduler *c = k->c;
    schedule_free_statements(written);
    c->s->buffer_count = buffers;
    for (size_t n = 1; n < c->node_capacity; n++)
        if (c->s->buffer_of[n] != NO_BUFFER && c->s->buffer_of[n] >= buffers) {
            c->s->buffer_of[n] = NO_BUFFER;
            c->done[n]         = 0;
        }
    memset(k->tile_of, 0, k->tile_room * sizeof *k->tile_of);
    memset(k->held_now, 0, k->tile_room);
    for (unsigned i = 0; i < k->root_count; i++)
        k->root[i].ended = false;
}

/* A node that has a tile has it in all of the kernel, so what is worth one must be known from the beginning: the kernel
 * is written until nothing more turns out to be. */
void kernel_write(kernel *k) {
    scheduler *c     = k->c;
    uint32_t buffers = c->s->buffer_count;
    c->open          = k->r;
    c->grid          = k->grid;
    c->fixed         = k->grid;
    statement *items = write_statements(k);
    for (unsigned again = 0; k->changed && again < 8; again++) {
        take_back(k, items, buffers);
        items = write_statements(k);
    }
    c->open          = NULL;
    c->fixed         = 0;
    c->grid          = 0;
    axis_order outer = {0};
    for (unsigned i = 0; i < graph_index_count(c->g); i++)
        if (k->grid >> i & 1)
            outer.index[outer.rank++] = (index_id)i;
    step *t           = schedule_add_step(c);
    t->kind           = STEP_NEST;
    t->node           = k->root[k->root_count - 1].reduce;
    t->body           = schedule_loops(c, &outer, true, items);
    t->parallel_count = outer.rank;
    t->items          = graph_space(c->g, k->grid);
    t->work           = INT64_MAX / 4;
    if (kernel_rows_apart(k)) {
        t->parallel_count++;
        t->items *= (graph_index_extent(c->g, k->row) + c->block[k->row] - 1) / c->block[k->row];
    }
    t->note = kernel_note(k);
    keep_places(k, t);
    for (unsigned i = 0; i < k->root_count; i++)
        if (k->root[i].whole)
            join_parts(k, &k->root[i]);
}
