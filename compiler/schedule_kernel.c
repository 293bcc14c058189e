/* A region as one kernel: rows and a streamed index are walked in tiles, and what is wide lives in a tile only. Here it
 * is decided whether that can be, with which stream, and in tiles of which size. */
#include "schedule_kernel.h"

#include "enough.h"
#include "prove.h"

#include <stdlib.h>
#include <string.h>

enum { TILE_ROWS = 64, TILE_STREAM = 128 };

/* Of a sum that is scattered, the domain is what remains without the condition on its result. */
static void split_scatter(scheduler *c, kernel_root *r) {
    index_id index = 0;
    node to        = NODE_NONE;
    node rest      = schedule_scatter_rest(c, r->reduce, ~c->fixed, &index, &to);
    if (rest) {
        r->scatter = graph_pointwise(c->g, NODE_EQUAL, graph_index_value(c->g, index), to, NODE_NONE);
        r->domain  = rest;
    }
    schedule_fit_nodes(c);
}

static kernel_root root_of(scheduler *c, node n) {
    node_view v   = graph_view(c->g, n);
    kernel_root r = {.reduce = n, .view = v};
    if (v.op == NODE_REDUCE) {
        r.domain = v.child[0];
        r.body   = v.child[1];
        split_scatter(c, &r);
    }
    return r;
}

typedef struct check {
    kernel *k;
    node_map met;
    index_set local; /* indices that wide values have and that are no roles */
} check;

void kernel_note_wide(kernel *k, node n) {
    k->wide_shared &= view(k, n).free;
    k->wide_all |= view(k, n).free;
}

static void find_wide(kernel *k) {
    k->wide_shared = ~(index_set)0;
    k->wide_all    = 0;
    size_t count   = graph_node_count(k->c->g);
    for (node n = 1; n <= count; n++)
        if (k->c->member[n] == k->r->component)
            kernel_note_wide(k, n);
}

/* Does a gather read, at another place than its own, what may be in a tile? Tiles hold one item of the grid and one
 * block of rows and stream. */
static bool moves_tiles(const kernel *k, node_view gather) {
    const scheduler *c = k->c;
    node body          = schedule_strip(c->g, gather.child[0]);
    bool complete      = kernel_is_complete(c, k->r, body);
    for (unsigned i = 0; i + 1 < gather.child_count; i++)
        if (!complete && ((k->wide_shared | bit(k->row) | bit(k->stream)) >> gather.substituted[i] & 1))
            return true;
    return false;
}

static bool refuse(kernel *k, const char *why, node n) {
    if (!k->refused) {
        k->refused    = why;
        k->refused_by = n;
    }
    return false;
}

static bool tileable(check *q, node n);

/* So can the step of a scan. */
static bool tileable_step(check *q, node n) {
    kernel *k = q->k;
    n         = schedule_strip(k->c->g, n);
    if (!k->c->inside[n])
        return tileable(q, n);
    node_view v = view(k, n);
    for (unsigned i = 0; v.op != NODE_PREVIOUS && i < v.child_count; i++)
        if (!tileable_step(q, v.child[i]))
            return false;
    return true;
}

/* Everything that n is made of inside the kernel can be computed tile by tile. */
static bool tileable(check *q, node n) {
    kernel *k    = q->k;
    scheduler *c = k->c;
    n            = schedule_strip(c->g, n);
    if (!schedule_is_new(&q->met, n))
        return true;
    node_view v   = view(k, n);
    bool wide     = c->member[n] != 0;
    bool own      = kernel_is_own(c, k->r, n);
    index_set two = bit(k->row) | bit(k->stream);
    if (kernel_is_complete(c, k->r, n))
        return true;
    if (kernel_carried(k, n))
        return tileable(q, v.child[0]) && tileable_step(q, v.child[1]);
    if (c->inside[n] || v.op == NODE_SCAN || graph_selects(v.op) || v.op == NODE_SOLVE || v.op == NODE_PREVIOUS)
        return refuse(k, "this sees its row whole", n);
    if (wide && (c->member[n] != k->r->component || (v.free & two) != two))
        return refuse(k, "this has not both rows and columns", n);
    if (wide && v.op == NODE_REDUCE && (v.vars & two))
        return refuse(k, "this reduces over rows or columns and is too large to keep", n);
    if (own && !kernel_is_root(k, n) && ((v.free & bit(k->stream)) || (v.op == NODE_REDUCE && (v.vars & k->grid))))
        return refuse(k, "this has the streamed index, or is summed over one that the kernel divides", n);
    if (v.op == NODE_GATHER && moves_tiles(k, v))
        return refuse(k, "this is read at another place than its own", n);
    for (unsigned i = 0; i < v.child_count; i++)
        if (!tileable(q, v.child[i]))
            return false;
    return true;
}

bool kernel_can_compute(kernel *k, node n) {
    const char *refused = k->refused;
    node by             = k->refused_by;
    check q             = {.k = k};
    bool can            = tileable(&q, n);
    node_map_free(&q.met);
    k->refused    = refused;
    k->refused_by = by;
    return can;
}

static void forget(kernel *k) {
    if (k->room)
        memset(k->known, 0, k->room);
}

/* Is each result complete for a block of rows, or can it be made for each row first? */
static bool all_by_rows(const kernel *k) {
    index_set two = bit(k->row) | bit(k->stream);
    bool all      = true;
    for (unsigned i = 0; i < k->root_count; i++) {
        const kernel_root *r = &k->root[i];
        all &= (r->view.free & bit(k->row)) || (k->c->by_rows[r->reduce] && (r->view.vars & two) == two);
    }
    return all;
}

/* A reduction over an index that the grid could have is made in two: the kernel reduces over the others, and what it
 * leaves for each item of the grid is reduced after it. So is one over rows, where no other needs the blocks of rows to
 * come one after another. */
static void split_roots(kernel *k) {
    scheduler *c     = k->c;
    index_set shared = k->wide_shared, two = bit(k->row) | bit(k->stream);
    double wide  = (double)graph_space(c->g, shared);
    bool by_rows = all_by_rows(k);
    for (unsigned i = 0; i < k->root_count; i++) {
        kernel_root *r  = &k->root[i];
        index_set apart = r->view.op == NODE_REDUCE ? r->view.vars & shared & ~two : 0;
        bool used       = false;
        for (unsigned j = 0; j < k->root_count; j++)
            used |= j != i && (kernel_needs_below(k, k->root[j].reduce) >> i & 1);
        for (uint32_t j = 0; j < k->r->inside_count; j++)
            used |= !kernel_is_root(k, k->r->inside[j]) && (kernel_needs_of(k, k->r->inside[j]) >> i & 1);
        bool inside = (r->view.vars & two) != 0;
        if ((double)graph_space(c->g, r->view.free | apart) * 2 > wide)
            apart = 0;
        if (by_rows && !(r->view.free & bit(k->row)))
            apart |= bit(k->row);
        if (!apart || used || !inside)
            continue;
        node domain = r->scatter ? graph_and(c->g, r->domain, r->scatter) : r->domain;
        node part   = graph_reduce(c->g, r->view.reduction, r->view.vars & ~apart, domain, r->body);
        schedule_fit_nodes(c);
        node_view v = view(k, part);
        if (v.op != NODE_REDUCE || v.vars != (r->view.vars & ~apart) || v.free != (r->view.free | apart))
            continue;
        node whole = r->reduce;
        *r         = root_of(c, part);
        r->whole   = whole;
        r->apart   = apart;
    }
    forget(k);
}

static bool possible(kernel *k) {
    scheduler *c  = k->c;
    index_set two = bit(k->row) | bit(k->stream);
    k->grid       = k->wide_shared & ~two;
    for (unsigned i = 0; i < k->root_count; i++) {
        kernel_root *r = &k->root[i];
        if (r->view.op != NODE_REDUCE || !(r->view.vars & two))
            return refuse(k, "this reads what is wide and does not reduce it", r->reduce);
        r->by_row = (r->view.free & bit(k->row)) != 0;
        if (!r->by_row && (r->view.vars & bit(k->stream)) && !(r->view.vars & bit(k->row)))
            return refuse(k, "this has neither rows nor a sum over them", r->reduce);
        k->grid &= r->view.free;
    }
    check q = {.k = k};
    bool ok = true;
    for (unsigned i = 0; i < k->root_count && ok; i++)
        ok = tileable(&q, k->root[i].reduce);
    for (uint32_t i = 0; i < k->r->inside_count && ok; i++)
        ok = tileable(&q, k->r->inside[i]);
    node_map_free(&q.met);
    /* what has no role is complete in every tile */
    int64_t local = graph_space(c->g, k->wide_all & ~k->grid & ~two);
    if (ok && local * 64 * 64 > 16 * (int64_t)TILE_ELEMENTS)
        return refuse(k, "tiles would be too large for what this is one of", k->root[0].reduce);
    return ok;
}

static int64_t power_below(int64_t n) {
    int64_t p = 1;
    while (2 * p <= n)
        p *= 2;
    return p;
}

static void choose_blocks(kernel *k) {
    scheduler *c        = k->c;
    int64_t local       = graph_space(c->g, k->wide_all & ~k->grid & ~bit(k->row) & ~bit(k->stream));
    int64_t stream      = power_below(TILE_ELEMENTS / (TILE_ROWS * local));
    c->block[k->row]    = c->options->rows ? c->options->rows : TILE_ROWS;
    stream              = stream < 32 ? 32 : stream > 4 * TILE_STREAM ? 4 * TILE_STREAM : stream;
    c->block[k->stream] = c->options->stream ? c->options->stream : stream;
}

/* Returns its number, from 1. Its value is the kernel's own: the graph may have the node for another use. */
static unsigned add_root(kernel *k, node reduce, unsigned pass) {
    for (unsigned j = 0; j < k->root_count; j++)
        if (k->root[j].added && k->root[j].reduce == reduce && k->root[j].pass == pass)
            return j + 1;
    kernel_root *added = &k->root[k->root_count++];
    *added             = root_of(k->c, reduce);
    added->by_row      = true;
    added->pass        = pass;
    added->parts       = 1;
    added->part[0]     = (part){.body = added->body};
    added->added       = true;
    return k->root_count;
}

/* Reductions that say whether a domain holds anywhere, for those whose result would not be 0 where it does not. False
 * where there are too many. */
static bool add_any(kernel *k) {
    graph *g       = k->c->g;
    unsigned count = k->root_count;
    for (unsigned i = 0; i < count; i++)
        for (unsigned p = 0; p < k->root[i].parts; p++) {
            kernel_root *r = &k->root[i];
            part *a        = &r->part[p];
            node domain    = schedule_is_true(g, r->domain) ? a->mask : kernel_both(g, r->domain, a->mask);
            if (!(a->running || a->final) || !domain ||
                prove_inhabited(g, r->view.vars, domain, NULL, 0, NULL) == PROOF_HOLDS)
                continue;
            node any = graph_reduce(g, REDUCE_ANY, r->view.vars, domain, graph_bool(g, true));
            schedule_fit_nodes(k->c);
            if (k->root_count == MOST_ROOTS || view(k, any).op != NODE_REDUCE || view(k, any).vars != r->view.vars)
                return false;
            a->any = add_root(k, any, r->pass);
        }
    return true;
}

static bool every_tile_reduces(kernel *k) {
    for (unsigned i = 0; i < k->root_count; i++)
        for (unsigned p = 0; p < k->root[i].parts; p++)
            if (!kernel_tile_reduce(k, &k->root[i], &k->root[i].part[p], false) ||
                !kernel_tile_reduce(k, &k->root[i], &k->root[i].part[p], true))
                return refuse(k, "of this nothing in a tile depends on rows and columns", k->root[i].reduce);
    return true;
}

static bool find_roots(kernel *k) {
    k->root_count = 0;
    for (uint32_t i = 0; i < k->r->inside_count; i++)
        if (kernel_is_root(k, k->r->inside[i])) {
            if (k->root_count + 8 >= MOST_ROOTS)
                return false;
            k->root[k->root_count++] = root_of(k->c, k->r->inside[i]);
        }
    return k->root_count > 0;
}

static bool try_stream(kernel *k) {
    bool scans = kernel_find_scans(k);
    split_roots(k);
    if (!possible(k) || !scans)
        return false;
    kernel_choose_passes(k);
    return add_any(k) && every_tile_reduces(k);
}

/* What is stored, and how, is another question in every kernel: elsewhere it stays as it was. */
typedef struct decisions {
    size_t room;  /* nodes that there was room for */
    size_t count; /* of them those that there were */
    uint8_t *stored;
    uint32_t *member;
    product **product;
} decisions;

static void *copy_of(const void *array, size_t bytes) {
    return memcpy(enough(malloc(bytes)), array, bytes);
}

static product **copies_of(product *const *made, size_t count) {
    product **copy = schedule_allocate(count, sizeof *copy);
    for (size_t n = 0; n < count; n++)
        copy[n] = made[n] ? copy_of(made[n], sizeof *made[n]) : NULL;
    return copy;
}

static decisions remember(const scheduler *c, size_t room) {
    size_t n = graph_node_count(c->g) + 1 < room ? graph_node_count(c->g) + 1 : room;
    return (decisions){room, n, copy_of(c->stored, n), copy_of(c->member, n * sizeof *c->member),
                       copies_of(c->product, n)};
}

static void recall(scheduler *c, decisions *d) {
    size_t all = graph_node_count(c->g) + 1;
    memcpy(c->stored, d->stored, d->count);
    memcpy(c->member, d->member, d->count * sizeof *d->member);
    for (size_t n = 0; n < all; n++) {
        free(c->product[n]);
        c->product[n] = n < d->count ? d->product[n] : NULL;
    }
    for (size_t n = d->count; n < all; n++) {
        c->stored[n] = n >= d->room && c->stored[n] && c->done[n] && c->s->buffer_of[n] != NO_BUFFER;
        c->member[n] = 0;
    }
    free(d->stored);
    free(d->member);
    free(d->product);
}

bool schedule_make_kernel(scheduler *c, region *r) {
    kernel *k   = schedule_allocate(1, sizeof *k);
    size_t room = c->node_capacity;
    *k          = (kernel){.c = c, .r = r, .row = r->row};
    find_wide(k);
    bool made = false;
    for (unsigned i = 0; i < graph_index_count(c->g) && !made && !c->options->unstreamed; i++) {
        k->stream = (index_id)i;
        if (k->stream == r->row)
            continue;
        k->running_count = 0;
        forget(k);
        made = find_roots(k) && try_stream(k);
    }
    if (made) { /* until here nothing was decided */
        decisions before = remember(c, room);
        choose_blocks(k);
        kernel_write(k);
        memset(c->block, 0, sizeof c->block);
        recall(c, &before);
    }
    if (!made && k->refused) {
        r->refused    = k->refused;
        r->refused_by = k->refused_by;
    }
    free(k->needs);
    free(k->known);
    free(k->tile_of);
    free(k->emitted);
    free(k->held_now);
    free(k->row_value);
    free(k->rewritten);
    free(k);
    return made;
}
