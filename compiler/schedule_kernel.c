/* A region as one kernel: rows and a streamed index are walked in tiles, and what is wide lives in a tile only.
 *
 * Reductions over the stream accumulate from tile to tile. One that depends on another is computed in a later pass over
 * the stream, unless its summand has the form g · exp(e + r) · u, where g and e do not depend on any reduction of this
 * pass and r and u have no stream index. Then it is summed as g · exp(e + r'), with r' the value that r has so far;
 * when r' moves, what was summed is multiplied by exp(r' after - r' before); and u is multiplied in at the end. The sum
 * of exponentials under a running maximum (Milakov & Gimelshein 2018, arXiv:1805.02867) is one case of it. */
#include "enough.h"
#include "prove.h"
#include "schedule_domain.h"
#include "schedule_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_ROOTS    = 60,
    MOST_PARTS    = 8,
    TILE_ROWS     = 64,
    TILE_STREAM   = 128,
    TILE_ELEMENTS = 1 << 15,
    STORE_COST    = 8,
    ROW_COST      = 4
};

/* A summand taken apart: rest · exp(exponent + running) · final where mask. NODE_NONE: 1, 0, 0, 1, everywhere. */
typedef struct term {
    node rest, exponent, running, final, mask;
} term;

typedef struct terms {
    unsigned count;
    term item[MOST_PARTS];
} terms;

/* One sum that is accumulated; a reduction is one or the sum of several. */
typedef struct part {
    node body;    /* what is summed, with the held node for the running value */
    node mask;    /* what body is 0 outside of; NODE_NONE: nothing */
    unsigned any; /* root that says whether it holds anywhere in the domain, from 1; 0: it does */
    node running; /* its running value; NODE_NONE: none */
    node final;   /* factor at the end; NODE_NONE: none */
    uint32_t buffer;
    node sum;      /* leaf that stands for what the buffer holds */
    unsigned held; /* which running value */
} part;

typedef struct kernel_root {
    node reduce;
    node_view view; /* without children, which move */
    node domain, body;
    bool by_row; /* complete for a block of rows when the stream is at its end */
    unsigned pass;
    uint64_t needs; /* roots */
    unsigned parts;
    part part[MOST_PARTS];
    uint32_t buffer; /* of the result */
    node whole;      /* of which this is a part for each value of the indices `apart`; NODE_NONE: it is whole */
    index_set apart;
    bool ended;
    bool added; /* no node of the graph: for the kernel itself */
    node later; /* the part of its summand for which it had to wait for another pass; NODE_NONE: none */
} kernel_root;

/* A running value in the exponent, and what was held of it for the last tile. */
typedef struct running {
    node value, held, next;
    node factor; /* leaf */
    uint32_t held_buffer, next_buffer, factor_buffer;
    unsigned pass;
    bool moved; /* in the tile being written */
} running;

typedef struct kernel {
    scheduler *c;
    const region *r;
    index_id row, stream;
    index_set grid;
    index_set wide_shared, wide_all; /* indices that all wide nodes of the region have, and that some have */
    kernel_root root[MOST_ROOTS];
    unsigned root_count, passes;
    running running[MOST_ROOTS];
    unsigned running_count;
    size_t room;     /* nodes that the arrays below are for */
    uint64_t *needs; /* node: roots that it depends on */
    uint8_t *known;
    uint64_t now;      /* roots of the pass that is looked at */
    uint32_t *tile_of; /* node: its tile */
    size_t tile_room;
    bool changed;        /* more nodes have tiles than when this writing began */
    uint8_t *emitted;    /* node: it is in its tile now */
    uint8_t *held_now;   /* node: its row value is written */
    node *row_value;     /* node: what is held of it for a block of rows; NODE_NONE: nothing */
    node *rewritten;     /* node: with row values, in the pass that is written; NODE_NONE: not yet */
    unsigned pass;       /* that is being written */
    statement **before;  /* the statements before its stream */
    node stuck;          /* what could not be taken apart */
    const char *refused; /* why there is no kernel with this stream */
    node refused_by;
} kernel;

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

static node_view view(const kernel *k, node n) {
    return graph_view(k->c->g, n);
}

static kernel_root root_of(const scheduler *c, node n) {
    node_view v   = graph_view(c->g, n);
    kernel_root r = {.reduce = n, .view = v};
    if (v.op == NODE_REDUCE) {
        r.domain = v.child[0];
        r.body   = v.child[1];
    }
    return r;
}

/* Dependence */

/* Among the roots that a node depends on: something held, which changes from tile to tile. */
#define HELD ((uint64_t)1 << 63)

static bool is_own(const scheduler *c, const region *r, node n) {
    return c->region_of[n] && &c->region[c->region_of[n]] == r;
}

/* Is n stored, and complete before the kernel begins? What the kernel reads as another expression than the one that its
 * region was found by (a product's factors) may be stored, but only later. */
static bool is_complete(const scheduler *c, const region *r, node n) {
    return c->stored[n] && c->done[n] && !c->inside[n] && !c->member[n] && !is_own(c, r, n);
}

/* Does the kernel accumulate n? What reduces over the stream cannot be computed while that is in blocks, even where it
 * reads nothing wide. */
static bool is_root(const kernel *k, node n) {
    node_view v = graph_view(k->c->g, n);
    return k->c->root[n] || (is_own(k->c, k->r, n) && v.op == NODE_REDUCE && (v.vars >> k->stream & 1));
}

/* Which of the kernel's reductions does n depend on, through what is not computed elsewhere? */
static uint64_t needs_of(kernel *k, node n) {
    scheduler *c = k->c;
    n            = schedule_strip(c->g, n);
    if (n >= k->room) {
        size_t more = graph_node_count(c->g) + 1024;
        k->needs    = enough_grown(k->needs, k->room, more, sizeof *k->needs);
        k->known    = enough_grown(k->known, k->room, more, 1);
        k->room     = more;
    }
    if (k->known[n])
        return k->needs[n];
    k->known[n]  = 1;
    uint64_t all = view(k, n).op == NODE_HELD ? HELD : 0;
    for (unsigned i = 0; i < k->root_count; i++)
        if (k->root[i].reduce == n && !k->root[i].added)
            all = (uint64_t)1 << i;
    if (!all && !is_complete(c, k->r, n)) {
        node_view v = view(k, n);
        for (unsigned i = 0; i < v.child_count; i++)
            all |= needs_of(k, v.child[i]);
    }
    return k->needs[n] = all;
}

static uint64_t needs_below(kernel *k, node n) {
    uint64_t all = 0;
    node_view v  = view(k, n);
    for (unsigned i = 0; i < v.child_count; i++)
        all |= needs_of(k, v.child[i]);
    return all;
}

static bool hot(kernel *k, node n) {
    return (needs_of(k, n) & k->now) != 0;
}

static bool streams(const kernel *k, node n) {
    return (view(k, n).free & bit(k->stream)) != 0;
}

/* Taking summands apart */

static node times(graph *g, node a, node b) {
    return !a ? b : !b ? a : graph_mul(g, a, b);
}

static node plus(graph *g, node a, node b) {
    return !a ? b : !b ? a : graph_add(g, a, b);
}

static node both(graph *g, node a, node b) {
    return !a ? b : !b ? a : graph_and(g, a, b);
}

static node scaled(graph *g, node n, node scale, bool negative) {
    n = scale ? graph_mul(g, scale, n) : n;
    return negative ? graph_neg(g, n) : n;
}

/* An exponent: what depends on nothing of this pass, and what does but not on the stream. A logarithm there is a
 * factor. False where something is neither. */
static bool split_exponent(kernel *k, node n, node scale, bool negative, term *t) {
    graph *g    = k->c->g;
    n           = schedule_strip(g, n);
    node_view v = view(k, n);
    if (!hot(k, n)) {
        t->exponent = plus(g, t->exponent, scaled(g, n, scale, negative));
        return true;
    }
    node left = v.child[0], right = v.child_count > 1 ? v.child[1] : NODE_NONE;
    switch (v.op) {
    case NODE_ADD:
        return split_exponent(k, left, scale, negative, t) && split_exponent(k, right, scale, negative, t);
    case NODE_SUB:
        return split_exponent(k, left, scale, negative, t) && split_exponent(k, right, scale, !negative, t);
    case NODE_NEG:
        return split_exponent(k, left, scale, !negative, t);
    case NODE_MUL:
        if (!streams(k, n))
            break;
        if (!hot(k, left))
            return split_exponent(k, right, times(g, scale, left), negative, t);
        if (!hot(k, right))
            return split_exponent(k, left, times(g, scale, right), negative, t);
        return false;
    case NODE_DIV:
        if (!streams(k, n))
            break;
        return !hot(k, right) &&
               split_exponent(k, left, times(g, scale, graph_div(g, graph_float(g, 1), right)), negative, t);
    case NODE_LOG:
        if (streams(k, n) || scale)
            break;
        if (negative)
            t->final = graph_div(g, t->final ? t->final : graph_float(g, 1), left);
        else
            t->final = times(g, t->final, left);
        return true;
    default:
        break;
    }
    if (streams(k, n)) {
        k->stuck = n;
        return false;
    }
    t->running = plus(g, t->running, scaled(g, n, scale, negative));
    return true;
}

static bool expand(kernel *k, node n, terms *out);

static bool multiply(kernel *k, const terms *a, const terms *b, terms *out) {
    graph *g   = k->c->g;
    out->count = 0;
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned j = 0; j < b->count; j++) {
            const term *x = &a->item[i], *y = &b->item[j];
            if (out->count == MOST_PARTS)
                return false;
            out->item[out->count++] =
                (term){times(g, x->rest, y->rest), plus(g, x->exponent, y->exponent), plus(g, x->running, y->running),
                       times(g, x->final, y->final), both(g, x->mask, y->mask)};
        }
    return true;
}

static bool divide(kernel *k, node left, node right, terms *out) {
    graph *g = k->c->g;
    terms above;
    if (!expand(k, left, &above))
        return false;
    terms below = {.count = 1};
    if (!hot(k, right)) {
        below.item[0] = (term){.rest = graph_div(g, graph_float(g, 1), right)};
    } else if (!streams(k, right)) {
        below.item[0] = (term){.final = graph_div(g, graph_float(g, 1), right)};
    } else {
        terms under;
        if (!expand(k, right, &under) || under.count != 1 || under.item[0].mask)
            return false;
        const term *u = &under.item[0];
        node one      = graph_float(g, 1);
        below.item[0] = (term){u->rest ? graph_div(g, one, u->rest) : NODE_NONE,
                               u->exponent ? graph_neg(g, u->exponent) : NODE_NONE,
                               u->running ? graph_neg(g, u->running) : NODE_NONE,
                               u->final ? graph_div(g, one, u->final) : NODE_NONE, NODE_NONE};
    }
    return multiply(k, &above, &below, out);
}

/* The sums of a row's values and of what is added to each, as in z - mean, may be large and nearly cancel: they are not
 * made one by one. */
static bool cancels(kernel *k, node n) {
    if (!hot(k, n) || streams(k, n))
        return false;
    k->stuck = n;
    return true;
}

static bool join(kernel *k, node left, node right, bool negative, terms *out) {
    terms other;
    if (cancels(k, left) || cancels(k, right))
        return false;
    if (!expand(k, left, out) || !expand(k, right, &other) || out->count + other.count > MOST_PARTS)
        return false;
    for (unsigned i = 0; i < other.count; i++) {
        term t = other.item[i];
        if (negative) /* not of what is summed, which the graph would take apart again */
            t.final = t.final ? graph_neg(k->c->g, t.final) : graph_float(k->c->g, -1);
        out->item[out->count++] = t;
    }
    return true;
}

static bool masked(kernel *k, node condition, node n, terms *out) {
    if (!expand(k, n, out))
        return false;
    for (unsigned i = 0; i < out->count; i++)
        out->item[i].mask = both(k->c->g, condition, out->item[i].mask);
    return true;
}

/* n as a sum of terms. False where it has no such form. */
static bool expand(kernel *k, node n, terms *out) {
    graph *g    = k->c->g;
    n           = schedule_strip(g, n);
    node_view v = view(k, n);
    *out        = (terms){.count = 1};
    if (!hot(k, n)) {
        out->item[0].rest = n;
        return true;
    }
    if (v.op == NODE_EXP)
        return split_exponent(k, v.child[0], NODE_NONE, false, &out->item[0]);
    if (!streams(k, n)) {
        out->item[0].final = n;
        return true;
    }
    node left = v.child[0], right = v.child_count > 1 ? v.child[1] : NODE_NONE,
         third = v.child_count > 2 ? v.child[2] : NODE_NONE;
    terms a, b;
    double zero;
    switch (v.op) {
    case NODE_MUL:
        return expand(k, left, &a) && expand(k, right, &b) && multiply(k, &a, &b, out);
    case NODE_DIV:
        return divide(k, left, right, out);
    case NODE_NEG:
        return join(k, graph_float(g, 0), left, true, out);
    case NODE_ADD:
        return join(k, left, right, false, out);
    case NODE_SUB:
        return join(k, left, right, true, out);
    case NODE_SELECT:
        if (hot(k, left)) {
            k->stuck = left;
            return false;
        }
        if (graph_is_constant(g, third, &zero) && zero == 0)
            return masked(k, left, right, out);
        if (!masked(k, left, right, out) || !masked(k, graph_pointwise(g, NODE_NOT, left, 0, 0), third, &b) ||
            out->count + b.count > MOST_PARTS)
            return false;
        memcpy(out->item + out->count, b.item, b.count * sizeof *b.item);
        out->count += b.count;
        return true;
    default:
        k->stuck = n;
        return false;
    }
}

/* Passes */

static unsigned running_value(kernel *k, node value, unsigned pass) {
    for (unsigned i = 0; i < k->running_count; i++)
        if (k->running[i].value == value && k->running[i].pass == pass)
            return i;
    graph *g       = k->c->g;
    running *r     = &k->running[k->running_count];
    index_set axes = view(k, value).free;
    *r             = (running){.value = value, .pass = pass};
    r->held        = graph_new_held(g, axes, TYPE_FLOAT);
    r->next        = graph_new_held(g, axes, TYPE_FLOAT);
    r->factor      = graph_new_held(g, axes, TYPE_FLOAT);
    return k->running_count++;
}

/* A value so far that would make every exponential infinite is none yet: what is summed then is 0 in the end, and may
 * be summed with any finite one. */
static node usable(graph *g, node held) {
    node infinite = graph_pointwise(g, NODE_EQUAL, held, graph_float(g, INFINITY), NODE_NONE);
    return graph_select(g, infinite, graph_float(g, 0), held);
}

static bool only_plain(const kernel *k, uint64_t set) {
    for (unsigned i = 0; i < k->root_count; i++)
        if (set >> i & 1)
            for (unsigned p = 0; p < k->root[i].parts; p++)
                if (k->root[i].part[p].final || k->root[i].parts > 1)
                    return false;
    return true;
}

static bool is_part(const graph *g, node n, node domain) {
    node_view d = graph_view(g, domain);
    return n == domain || (d.op == NODE_AND && (is_part(g, n, d.child[0]) || is_part(g, n, d.child[1])));
}

/* Does every part of the conjunction `wanted` occur among those of two others? */
static bool follows(const graph *g, node wanted, node one, node two) {
    node_view w = graph_view(g, wanted);
    return schedule_is_true(g, wanted) || (one && is_part(g, wanted, one)) || (two && is_part(g, wanted, two)) ||
           (w.op == NODE_AND && follows(g, w.child[0], one, two) && follows(g, w.child[1], one, two));
}

/* As long as a maximum has met nothing it is infinite, and nothing can be summed under it: where it runs, it must have
 * met all that the sum has. */
static bool meets_all(kernel *k, const kernel_root *r, const term *t) {
    uint64_t runs = t->running ? needs_of(k, t->running) & k->now : 0;
    for (unsigned i = 0; i < k->root_count; i++) {
        reduction kind = k->root[i].view.reduction;
        if (runs >> i & 1 && (kind == REDUCE_MAX || kind == REDUCE_MIN) &&
            !follows(k->c->g, k->root[i].domain, r->domain, t->mask))
            return false;
    }
    return true;
}

static bool share_pass(kernel *k, kernel_root *r, unsigned pass, uint64_t now) {
    graph *g = k->c->g;
    terms found;
    k->now = now;
    if (!r->by_row || r->view.reduction != REDUCE_SUM || r->view.type != TYPE_FLOAT || !only_plain(k, now) ||
        hot(k, r->domain) || !expand(k, r->body, &found))
        return false;
    if (k->running_count + found.count > MOST_ROOTS)
        return false;
    for (unsigned i = 0; i < found.count; i++)
        if (!meets_all(k, r, &found.item[i]))
            return false;
    r->parts = 0;
    for (unsigned i = 0; i < found.count; i++) {
        const term *t = &found.item[i];
        double zero;
        if (t->rest && graph_is_constant(g, t->rest, &zero) && zero == 0)
            continue;
        part *p     = &r->part[r->parts++];
        *p          = (part){.mask = t->mask, .running = t->running, .final = t->final};
        node inside = t->exponent;
        if (t->running) {
            p->held = running_value(k, t->running, pass);
            inside  = plus(g, inside, usable(g, k->running[p->held].held));
        }
        node body = times(g, t->rest, inside ? graph_pointwise(g, NODE_EXP, inside, 0, 0) : NODE_NONE);
        body      = body ? body : graph_float(g, 1);
        p->body   = t->mask ? graph_select(g, t->mask, body, graph_float(g, 0)) : body;
    }
    return r->parts > 0;
}

static void choose_passes(kernel *k) {
    k->passes = 1;
    for (unsigned i = 0; i < k->root_count; i++) {
        kernel_root *r = &k->root[i];
        r->needs       = needs_below(k, r->reduce);
        r->parts       = 1;
        r->part[0]     = (part){.body = r->body};
        r->pass        = 0;
        for (unsigned j = 0; j < i; j++)
            if (r->needs >> j & 1 && k->root[j].pass > r->pass)
                r->pass = k->root[j].pass;
        uint64_t now = 0;
        for (unsigned j = 0; j < i; j++)
            if (r->needs >> j & 1 && k->root[j].pass == r->pass)
                now |= (uint64_t)1 << j;
        k->stuck = r->reduce;
        r->later = NODE_NONE;
        if (now && !share_pass(k, r, r->pass, now)) {
            r->later   = k->stuck;
            r->parts   = 1;
            r->part[0] = (part){.body = r->body};
            r->pass++;
        }
        if (r->pass + 1 > k->passes)
            k->passes = r->pass + 1;
    }
}

/* Can the region be a kernel with this stream? */

typedef struct check {
    kernel *k;
    node_map met;
    index_set local; /* indices that wide values have and that are no roles */
} check;

static void note_wide(kernel *k, node n) {
    k->wide_shared &= view(k, n).free;
    k->wide_all |= view(k, n).free;
}

static void find_wide(kernel *k) {
    k->wide_shared = ~(index_set)0;
    k->wide_all    = 0;
    size_t count   = graph_node_count(k->c->g);
    for (node n = 1; n <= count; n++)
        if (k->c->member[n] == k->r->component)
            note_wide(k, n);
}

/* Does a gather read, at another place than its own, what may be in a tile? Tiles hold one item of the grid and one
 * block of rows and stream. */
static bool moves_tiles(const kernel *k, node_view gather) {
    const scheduler *c = k->c;
    node body          = schedule_strip(c->g, gather.child[0]);
    bool complete      = is_complete(c, k->r, body);
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

/* Everything that n is made of inside the kernel can be computed tile by tile. */
static bool tileable(check *q, node n) {
    kernel *k    = q->k;
    scheduler *c = k->c;
    n            = schedule_strip(c->g, n);
    if (!schedule_is_new(&q->met, n))
        return true;
    node_view v   = view(k, n);
    bool wide     = c->member[n] != 0;
    bool own      = is_own(c, k->r, n);
    index_set two = bit(k->row) | bit(k->stream);
    if (is_complete(c, k->r, n))
        return true;
    if (c->inside[n] || v.op == NODE_SCAN || v.op == NODE_TOPK || v.op == NODE_PREVIOUS)
        return refuse(k, "this sees its row whole", n);
    if (wide && (c->member[n] != k->r->component || (v.free & two) != two))
        return refuse(k, "this has not both rows and columns", n);
    if (wide && v.op == NODE_REDUCE && (v.vars & two))
        return refuse(k, "this reduces over rows or columns and is too large to keep", n);
    if (own && !is_root(k, n) && ((v.free & bit(k->stream)) || (v.op == NODE_REDUCE && (v.vars & k->grid))))
        return refuse(k, "this has the streamed index, or is summed over one that the kernel divides", n);
    if (v.op == NODE_GATHER && moves_tiles(k, v))
        return refuse(k, "this is read at another place than its own", n);
    for (unsigned i = 0; i < v.child_count; i++)
        if (!tileable(q, v.child[i]))
            return false;
    return true;
}

static void forget(kernel *k) {
    if (k->room)
        memset(k->known, 0, k->room);
}

/* A reduction over an index that the grid could have is made in two: the kernel reduces over the others, and what it
 * leaves for each item of the grid is reduced after it. */
static void split_roots(kernel *k) {
    scheduler *c     = k->c;
    index_set shared = k->wide_shared, two = bit(k->row) | bit(k->stream);
    double wide = (double)graph_space(c->g, shared);
    for (unsigned i = 0; i < k->root_count; i++) {
        kernel_root *r  = &k->root[i];
        index_set apart = r->view.op == NODE_REDUCE ? r->view.vars & shared & ~two : 0;
        bool used       = false;
        for (unsigned j = 0; j < k->root_count; j++)
            used |= j != i && (needs_below(k, k->root[j].reduce) >> i & 1);
        for (uint32_t j = 0; j < k->r->inside_count; j++)
            used |= !is_root(k, k->r->inside[j]) && (needs_of(k, k->r->inside[j]) >> i & 1);
        bool inside = (r->view.vars & two) != 0;
        if (!apart || used || !inside || (double)graph_space(c->g, r->view.free | apart) * 2 > wide)
            continue;
        node part = graph_reduce(c->g, r->view.reduction, r->view.vars & ~apart, r->domain, r->body);
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

/* Statements */

static uint32_t add_place(kernel *k, buffer_place place, value_type type, index_set axes) {
    scheduler *c     = k->c;
    axis_order order = {0};
    for (unsigned i = 0; i < graph_index_count(c->g); i++)
        if (axes >> i & 1)
            order.index[order.rank++] = (index_id)i;
    return schedule_add_buffer(c, place, 0, schedule_element(type), &order);
}

static void hold(kernel *k, node held, uint32_t buffer) {
    schedule_fit_nodes(k->c);
    k->c->s->buffer_of[held] = buffer;
    k->c->stored[held]       = 1;
    k->c->done[held]         = 1;
}

static uint32_t tile_place(kernel *k, node n) {
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
    return streams(k, n) && !whole;
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

static void emit_children(kernel *k, node n) {
    node_map met = {0};
    emit_below(k, n, &met);
    node_map_free(&met);
}

/* The statements that put n into its tile, and before them those of what it reads. */
static void emit_tile(kernel *k, node n) {
    scheduler *c = k->c;
    tile_place(k, n);
    if (k->emitted[n])
        return;
    k->emitted[n] = 1;
    emit_children(k, n);
    bool growing = c->growing;
    c->growing   = false;
    c->tiles     = true;
    if (c->product[n]) {
        schedule_emit_product(c, n, k->tile_of[n] ? k->tile_of[n] : NO_BUFFER);
    } else {
        uint32_t target = k->tile_of[n];
        if (!target) {
            node_view v      = view(k, n);
            axis_order order = schedule_layout(c, n, v.free);
            target           = schedule_add_buffer(c, PLACE_TILE, 0, schedule_element(v.type), &order);
        }
        schedule_emit_into(c, n, target);
    }
    tile_place(k, n);
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
    }
    if (in_tiles(k, n)) {
        bool sum = v.op == NODE_REDUCE;
        if (sum || (q->uses[n] > 1 && cost * (q->uses[n] - 1u) > STORE_COST && v.op != NODE_INDEX)) {
            k->changed |= !c->stored[n];
            c->stored[n] = 1;
        }
        if (c->stored[n]) {
            c->member[n] = k->r->component;
            note_wide(k, n);
            cost = 1;
        }
    }
    return q->cost[n] = cost < 1 << 20 ? cost : 1 << 20;
}

static void choose_tiles(kernel *k, const node *reduce, unsigned count) {
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
    if (is_part(g, n, domain))
        return graph_bool(g, true);
    node_view v = graph_view(g, n);
    if (!graph_op_is_pointwise(v.op) || v.child_count > 3 || !(v.free & d.free) ||
        (n < k->c->node_capacity && is_complete(k->c, k->r, n)))
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
static bool is_between(const kernel *k, node n) {
    const scheduler *c = k->c;
    return n < c->node_capacity && is_own(c, k->r, n) && !is_root(k, n);
}

static void emit_between(kernel *k, node n) {
    scheduler *c    = k->c;
    node_view v     = view(k, n);
    uint32_t target = c->s->buffer_of[n];
    if (target == NO_BUFFER)
        target = add_place(k, PLACE_WORKSPACE, v.type, v.free);
    schedule_emit_into(c, n, target);
}

/* Brings those that n reads to what they are after this tile. */
static void emit_so_far(kernel *k, node n, node_map *met) {
    scheduler *c = k->c;
    n            = schedule_strip(c->g, n);
    if (!schedule_is_new(met, n))
        return;
    bool own       = is_between(k, n);
    uint64_t needs = needs_of(k, n), pass = 0;
    for (unsigned i = 0; i < k->root_count; i++)
        if (k->root[i].pass == k->pass)
            pass |= (uint64_t)1 << i;
    if (!(needs & pass) || is_complete(c, k->r, n))
        return;
    for (unsigned i = 0; i < view(k, n).child_count; i++)
        emit_so_far(k, view(k, n).child[i], met);
    if (own)
        emit_between(k, n);
}

/* Moves the running value of a part to what it is after this tile's reductions so far, once in a tile, and makes the
 * factor for what was summed under the old one. */
static void emit_running(kernel *k, running *r) {
    scheduler *c = k->c;
    graph *g     = c->g;
    node one = graph_float(g, 1), zero = graph_float(g, 0);
    if (r->moved)
        return;
    r->moved  = true;
    node same = graph_pointwise(g, NODE_EQUAL, r->held, r->next, NODE_NONE);
    node none =
        graph_pointwise(g, NODE_EQUAL, graph_pointwise(g, NODE_ABS, r->held, 0, 0), graph_float(g, INFINITY), 0);
    node moved  = graph_pointwise(g, NODE_EXP, graph_sub(g, usable(g, r->next), r->held), 0, 0);
    node factor = graph_select(g, same, one, graph_select(g, none, zero, moved));
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
    return !(needs_of(k, n) & pending);
}

static node row_value(kernel *k, node n) {
    scheduler *c = k->c;
    tile_place(k, n);
    if (k->held_now[n])
        return k->row_value[n];
    node_view v = view(k, n);
    if (!graph_op_is_pointwise(v.op) || !(v.free & bit(k->row)) || plain_cost(k, n) < ROW_COST || !known_before(k, n))
        return n;
    statement **inner = c->sink;
    axis_order ranged = c->ranged;
    uint32_t target   = add_place(k, PLACE_TILE, v.type, v.free & ~k->grid);
    node held         = k->row_value[n] ? k->row_value[n] : graph_new_held(c->g, v.free, v.type);
    k->row_value[n]   = held;
    k->held_now[n]    = 1;
    hold(k, held, target);
    c->sink        = k->before;
    c->ranged.rank = 1;
    schedule_emit_value(c, n, target);
    c->sink   = inner;
    c->ranged = ranged;
    tile_place(k, held);
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
    if (!streams(k, n))
        return row_value(k, n);
    tile_place(k, n);
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
    tile_place(k, n);
    return k->rewritten[n] = result;
}

/* The reduction over one tile. Where the domain holds all over it, without it; NODE_NONE where that is another
 * reduction, because nothing but the domain depends on the stream. */
static node tile_reduce(kernel *k, const kernel_root *r, const part *p, bool full) {
    graph *g    = k->c->g;
    node domain = r->domain, body = p->body;
    if (full && !schedule_is_true(g, domain)) {
        body   = assume(k, body, domain);
        domain = NODE_NONE;
        if ((view(k, body).free & r->view.vars) != r->view.vars)
            return tile_reduce(k, r, p, false);
    }
    if (k->before)
        body = with_row_values(k, body);
    node n      = graph_reduce(g, r->view.reduction, r->view.vars, domain, body);
    node_view v = graph_view(g, n);
    return v.op == NODE_REDUCE && v.vars == r->view.vars && v.reduction == r->view.reduction ? n : NODE_NONE;
}

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
        condition      = both(g, condition, graph_reduce(g, REDUCE_ALL, over, NODE_NONE, finite));
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
    tile_place(k, n);
    if (view(k, n).op != NODE_REDUCE || k->emitted[n])
        return;
    k->emitted[n] = 1;
    bool growing  = c->growing;
    c->growing    = false;
    if (!k->tile_of[n])
        k->tile_of[n] = add_place(k, PLACE_TILE, TYPE_BOOL, 0);
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
    emit_children(k, n);
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
            reduce[count]  = tile_reduce(k, &k->root[i], &k->root[i].part[p], full);
            owner[count]   = i;
            which[count++] = p;
        }
    for (unsigned i = 0; i < k->running_count; i++)
        k->running[i].moved = false;
    schedule_fit_nodes(c);
    if (k->tile_room)
        memset(k->emitted, 0, k->tile_room);
    choose_tiles(k, reduce, count);
    for (unsigned i = 0; i < count; i++) {
        kernel_root *r = &k->root[owner[i]];
        part *p        = &r->part[which[i]];
        node n         = reduce[i];
        if (p->running) { /* what was summed so far, as if the running value had been the new one */
            emit_running(k, &k->running[p->held]);
            node kept = graph_mul(c->g, p->sum, k->running[p->held].factor);
            schedule_fit_nodes(c);
            schedule_emit_value(c, kept, p->buffer);
        }
        if (c->product[n] && !fits_product(k, n, p->buffer)) {
            free(c->product[n]);
            c->product[n] = NULL;
        }
        emit_children(k, n);
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

/* What the reduction is when the stream is at its end. A running value that is still infinite is what it is: the sum
 * of any exponentials under it is then no number, unless there were none. */
static node final_value(kernel *k, const kernel_root *r) {
    graph *g   = k->c->g;
    node total = NODE_NONE;
    for (unsigned i = 0; i < r->parts; i++) {
        const part *p = &r->part[i];
        node value    = p->sum;
        if (p->running) {
            node held     = k->running[p->held].held;
            node infinite = graph_pointwise(g, NODE_EQUAL, held, graph_float(g, INFINITY), NODE_NONE);
            node under    = graph_mul(g, value, graph_pointwise(g, NODE_EXP, held, 0, 0));
            value         = graph_select(g, infinite, under, value);
        }
        value = times(g, value, p->final);
        if (p->any)
            value = graph_select(g, k->root[p->any - 1].part[0].sum, value, graph_float(g, 0));
        total = plus(g, total, value);
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
    tile_place(k, n);
    if (k->emitted[n])
        return;
    k->emitted[n] = 1;
    for (unsigned i = 0; i < k->root_count; i++)
        if (k->root[i].reduce == n && !k->root[i].added) {
            end_root(k, i, pass);
            return;
        }
    bool own = is_between(k, n);
    if (is_complete(c, k->r, n))
        return;
    for (unsigned i = 0; i < view(k, n).child_count; i++)
        end_node(k, view(k, n).child[i], pass);
    if (own)
        emit_between(k, n);
}

static void emit_ends(kernel *k, unsigned pass) {
    tile_place(k, (node)graph_node_count(k->c->g));
    memset(k->emitted, 0, k->tile_room);
    for (unsigned i = 0; i < k->root_count; i++)
        end_root(k, i, pass);
    for (uint32_t i = 0; i < k->r->inside_count; i++) {
        node n = k->r->inside[i];
        if (!is_between(k, n) || k->c->done[n])
            continue;
        uint64_t needs = needs_of(k, n);
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
 * that only this result has, which are the columns of its product. */
static uint32_t result_place(kernel *k, node_view v) {
    scheduler *c     = k->c;
    index_set two    = bit(k->row) | bit(k->stream);
    axis_order order = {0};
    for (unsigned group = 0; group < 4; group++)
        for (unsigned i = 0; i < graph_index_count(c->g); i++) {
            unsigned of = k->grid >> i & 1 ? 0 : two >> i & 1 ? 2 : k->wide_all >> i & 1 ? 1 : 3;
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
            r->added ? add_place(k, PLACE_TILE, r->view.type, r->view.free & ~k->grid) : result_place(k, r->view);
        for (unsigned p = 0; p < r->parts; p++) {
            r->part[p].buffer = p == 0 ? r->buffer : result_place(k, r->view);
            if (!r->part[p].sum)
                r->part[p].sum = graph_new_held(c->g, r->view.free, r->view.type);
            hold(k, r->part[p].sum, r->part[p].buffer);
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
            *to[j] = add_place(k, PLACE_TILE, TYPE_FLOAT, axes);
            hold(k, leaf[j], *to[j]);
        }
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

/* Where the stream has anything for the rows of a block, in any reduction of the pass. */
static void stream_bounds(kernel *k, unsigned pass, node *lo, node *hi) {
    graph *g   = k->c->g;
    bool first = true;
    *lo = *hi = NODE_NONE;
    for (unsigned i = 0; i < k->root_count; i++) {
        if (k->root[i].pass != pass)
            continue;
        node low = NODE_NONE, high = NODE_NONE, domain = k->root[i].domain;
        if (!schedule_is_true(g, domain))
            domain_bounds(g, domain, view(k, domain).free & ~k->grid & ~bit(k->stream), k->stream, &low, &high);
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
    for (unsigned i = 0; i < k->root_count; i++) {
        node domain = k->root[i].domain, e = NODE_NONE, f = NODE_NONE;
        if (k->root[i].pass != pass || domain == last)
            continue;
        last = domain;
        if (schedule_is_true(g, domain))
            f = graph_bool(g, true);
        else
            domain_of_tile(g, domain, view(k, domain).free & ~k->grid, &e, &f);
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
        tile_place(k, list[i]);
        bool own = k->tile_of[list[i]] != 0; /* of an earlier pass, whose last tile it is of */
        if (stream != of_stream || (own ? !stream || k->emitted[list[i]] : c->s->buffer_of[list[i]] != NO_BUFFER))
            continue;
        k->emitted[list[i]] = 1;
        if (!own)
            k->tile_of[list[i]] = add_place(k, PLACE_TILE, v.type, v.free & ~k->grid);
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
    statement *walk                   = block_over(k, k->stream, lo, hi);
    c->ranged.index[c->ranged.rank++] = k->stream;
    statement **body                  = &walk->body;
    writing extremes                  = begin_list(k, body);
    tile_place(k, (node)graph_node_count(c->g));
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

/* Do different blocks of rows write different elements? */
static bool rows_apart(const kernel *k) {
    bool apart = true;
    for (unsigned i = 0; i < k->root_count; i++)
        apart &= k->root[i].by_row;
    for (uint32_t i = 0; i < k->r->inside_count; i++)
        apart &= (view(k, k->r->inside[i]).free & bit(k->row)) != 0;
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
    rows->parallel  = rows_apart(k);
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

static void note_set(const kernel *k, index_set set, FILE *file) {
    for (unsigned i = 0; i < graph_index_count(k->c->g); i++)
        if (set >> i & 1)
            fprintf(file, " %s", graph_index_name(k->c->g, (index_id)i));
}

static void note_value(const kernel *k, const char *what, node n, FILE *file) {
    fputs(what, file);
    schedule_print_value(k->c->s, n, file);
}

static void note_root(const kernel *k, const kernel_root *r, FILE *file) {
    fprintf(file, "%%%u, pass %u%s", r->reduce, r->pass + 1, r->by_row ? "" : ", grows over rows");
    for (unsigned p = 0; p < r->parts; p++) {
        if (r->parts > 1)
            fprintf(file, "%sterm %u", p ? "; " : ", ", p + 1);
        if (r->part[p].running)
            note_value(k, ", rescaled as this runs in its exponent: ", r->part[p].running, file);
        if (r->part[p].final)
            note_value(k, ", at the end times ", r->part[p].final, file);
    }
    if (r->apart) {
        fputs(", then over", file);
        note_set(k, r->apart, file);
    }
    if (r->later && r->later == r->reduce)
        fputs(", waits for what it reads", file);
    else if (r->later)
        note_value(k, ", waits for what is no factor, exponent or term: ", r->later, file);
    fputc('\n', file);
}

/* What was decided: roles, passes, what each result is made of, and the price of the walk. */
static char *note_of(const kernel *k) {
    scheduler *c = k->c;
    char *text   = NULL;
    size_t size  = 0;
    FILE *file   = enough(open_memstream(&text, &size));
    fputs("kernel: grid", file);
    note_set(k, k->grid, file);
    fprintf(file, "%s, rows %s by %lld%s, stream %s by %lld, %u pass%s\n", k->grid ? "" : " none",
            graph_index_name(c->g, k->row), (long long)c->block[k->row], rows_apart(k) ? " divided" : "",
            graph_index_name(c->g, k->stream), (long long)c->block[k->stream], k->passes, k->passes == 1 ? "" : "es");
    for (unsigned i = 0; i < k->root_count; i++)
        if (!k->root[i].added)
            note_root(k, &k->root[i], file);
    schedule_note_walks(c, k->r, file);
    fclose(file);
    return text;
}

/* A node that has a tile has it in all of the kernel, so what is worth one must be known from the beginning: the kernel
 * is written until nothing more turns out to be. */
static void write_kernel(kernel *k) {
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
    if (rows_apart(k)) {
        t->parallel_count++;
        t->items *= (graph_index_extent(c->g, k->row) + c->block[k->row] - 1) / c->block[k->row];
    }
    t->note = note_of(k);
    keep_places(k, t);
    for (unsigned i = 0; i < k->root_count; i++)
        if (k->root[i].whole)
            join_parts(k, &k->root[i]);
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
            node domain    = schedule_is_true(g, r->domain) ? a->mask : both(g, r->domain, a->mask);
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
            if (!tile_reduce(k, &k->root[i], &k->root[i].part[p], false) ||
                !tile_reduce(k, &k->root[i], &k->root[i].part[p], true))
                return refuse(k, "of this nothing in a tile depends on rows and columns", k->root[i].reduce);
    return true;
}

static bool find_roots(kernel *k) {
    k->root_count = 0;
    for (uint32_t i = 0; i < k->r->inside_count; i++)
        if (is_root(k, k->r->inside[i])) {
            if (k->root_count + 8 >= MOST_ROOTS)
                return false;
            k->root[k->root_count++] = root_of(k->c, k->r->inside[i]);
        }
    return k->root_count > 0;
}

static bool try_stream(kernel *k) {
    split_roots(k);
    if (!possible(k))
        return false;
    choose_passes(k);
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
        write_kernel(k);
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
