/* Scans along the stream of a kernel.
 *
 * A scan whose step reads, of its state, only the element of its own row walks with the kernel: the state is carried
 * from tile to tile, and inside a tile from one position to the next. A kernel has one direction, that of the first of
 * its scans. One that runs against it can still walk with it if its step does no more than add: what it has summed up
 * to a position is the sum of all, which an earlier pass finds, less what the walk has met before. */
#include "enough.h"
#include "rewrite.h"
#include "schedule_kernel.h"

static node body_of(const kernel *k, node scan) {
    return schedule_strip(k->c->g, graph_scan_body(k->c->g, scan));
}

const carried *kernel_carried(const kernel *k, node n) {
    for (unsigned i = 0; i < k->carried_count; i++)
        if (k->carried[i].scan == n)
            return &k->carried[i];
    return NULL;
}

/* Is the state in n read at its own place, by what is computed element by element? */
static bool reads_in_place(const kernel *k, node n, uint32_t label) {
    scheduler *c = k->c;
    n            = schedule_strip(c->g, n);
    node_view v  = view(k, n);
    if (v.op == NODE_PREVIOUS)
        return v.scan_label == label;
    if (!c->inside[n])
        return true;
    bool good = graph_op_is_pointwise(v.op);
    for (unsigned i = 0; i < v.child_count && good; i++)
        good = reads_in_place(k, v.child[i], label);
    return good;
}

/* What the step adds to the state; NODE_NONE: it does something else. */
static node summand_of(const kernel *k, node body) {
    graph *g    = k->c->g;
    node_view v = view(k, body);
    if (v.op != NODE_ADD && v.op != NODE_SUB)
        return NODE_NONE;
    node left = schedule_strip(g, v.child[0]), right = schedule_strip(g, v.child[1]);
    if (view(k, left).op == NODE_PREVIOUS && !k->c->inside[right])
        return v.op == NODE_ADD ? right : graph_neg(g, right);
    if (view(k, right).op == NODE_PREVIOUS && !k->c->inside[left] && v.op == NODE_ADD)
        return left;
    return NODE_NONE;
}

/* Outside of what condition does the step leave the state as it is? NODE_NONE: of none. */
static node guard_of(const kernel *k, node body) {
    graph *g = k->c->g;
    if (!summand_of(k, body))
        return NODE_NONE;
    node_view v = view(k, body);
    for (unsigned i = 0; i < 2; i++) {
        node n = schedule_strip(g, v.child[i]);
        if (view(k, n).op != NODE_PREVIOUS && graph_is_guarded(g, n))
            return view(k, n).child[0];
    }
    return NODE_NONE;
}

static bool carry(kernel *k, node scan) {
    scheduler *c  = k->c;
    node_view v   = view(k, scan);
    index_set two = bit(k->row) | bit(k->stream);
    node body     = body_of(k, scan);
    bool fits     = v.scan_index == k->stream && (v.free & two) == two && v.child_count == 2 && !c->inside[scan] &&
                k->carried_count < MOST_CARRIED && !(view(k, v.child[0]).free & bit(k->stream)) &&
                reads_in_place(k, body, v.scan_label);
    if (!fits)
        return false;
    carried *s    = &k->carried[k->carried_count];
    node held     = graph_new_held(c->g, v.free & ~bit(k->stream), v.type);
    node previous = graph_scan_leaf(c->g, v.scan_label, 0);
    *s            = (carried){.scan = scan, .held = held, .start = v.child[0], .guard = guard_of(k, body)};
    s->value      = body;
    k->reverse    = k->carried_count ? k->reverse : v.reverse;
    bool against  = v.reverse != k->reverse;
    node summand  = against ? summand_of(k, body) : NODE_NONE;
    if (against && (!summand || v.type != TYPE_FLOAT))
        return false;
    rewrite_replace(c->g, 1, &previous, &held, 1, &s->value);
    s->after = scan;
    if (against) {
        s->value = held;
        s->after = graph_sub(c->g, held, summand);
        s->total = graph_reduce(c->g, REDUCE_SUM, bit(k->stream), s->guard, summand);
    }
    schedule_fit_nodes(c);
    k->carried_count++;
    return true;
}

/* False where there is a scan along the stream that cannot walk with it. */
static bool find_below(kernel *k, node n, node_map *met) {
    scheduler *c = k->c;
    n            = schedule_strip(c->g, n);
    if (!schedule_is_new(met, n) || kernel_is_complete(c, k->r, n))
        return true;
    node_view v = view(k, n);
    for (unsigned i = 0; i < v.child_count; i++)
        if (v.op != NODE_PREVIOUS && !find_below(k, view(k, n).child[i], met)) /* looking makes nodes */
            return false;
    return v.op != NODE_SCAN || carry(k, n);
}

/* The sums of all come first: what they are made of depends on no other reduction. */
static bool add_total(kernel *k, carried *s) {
    if (!s->total)
        return true;
    if (k->root_count + 1 >= MOST_ROOTS || kernel_needs_of(k, s->total))
        return false;
    for (unsigned i = k->root_count++; i > k->totals; i--)
        k->root[i] = k->root[i - 1];
    node_view v    = view(k, s->total);
    kernel_root *r = &k->root[k->totals];
    *r             = (kernel_root){.reduce = s->total, .view = v, .added = true};
    r->domain      = v.op == NODE_REDUCE ? v.child[0] : NODE_NONE;
    r->body        = v.op == NODE_REDUCE ? v.child[1] : NODE_NONE;
    s->number      = ++k->totals;
    return v.op == NODE_REDUCE && v.vars == bit(k->stream);
}

bool kernel_find_scans(kernel *k) {
    node_map met     = {0};
    bool good        = true;
    k->carried_count = k->totals = 0;
    k->reverse                   = false;
    for (unsigned i = 0; i < k->root_count && good; i++)
        good = find_below(k, k->root[i].reduce, &met);
    node_map_free(&met);
    bool summed = k->carried_count == 0;
    for (unsigned i = 0; i < k->root_count; i++)
        summed |= k->root[i].view.op == NODE_REDUCE && (k->root[i].view.vars & bit(k->stream));
    good &= summed; /* else nothing but the scan is along the stream, and steps have their loops in a better order */
    for (unsigned i = 0; i < k->carried_count && good; i++)
        good = add_total(k, &k->carried[i]);
    return good;
}

void kernel_start_scans(kernel *k, unsigned pass) {
    graph *g = k->c->g;
    for (unsigned i = 0; i < k->carried_count; i++) {
        const carried *s = &k->carried[i];
        node start       = s->start;
        if (s->number && k->root[s->number - 1].pass >= pass)
            continue;
        if (s->number)
            start = graph_add(g, start, k->root[s->number - 1].part[0].sum);
        schedule_fit_nodes(k->c);
        schedule_emit_value(k->c, start, s->buffer);
    }
}

void kernel_emit_scan(kernel *k, const carried *s, uint32_t target) {
    scheduler *c     = k->c;
    const buffer *b  = &c->s->buffer[target];
    axis_order order = {0};
    for (unsigned a = 0; a < b->rank; a++)
        if (b->axis[a] != k->stream)
            order.index[order.rank++] = b->axis[a];
    statement *steps = schedule_statement(STATEMENT_STORE), *after = schedule_statement(STATEMENT_STORE);
    steps->target            = target;
    steps->value             = s->value;
    steps->next              = after;
    after->target            = s->buffer;
    after->value             = s->after;
    statement *walk          = schedule_statement(STATEMENT_FOR);
    walk->index              = k->stream;
    walk->reverse            = k->reverse;
    walk->body               = schedule_loops(c, &order, true, steps);
    c->s->buffer_of[s->scan] = target;
    schedule_append(c->sink, walk);
}
