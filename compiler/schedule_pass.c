/* Passes of a kernel over its stream.
 *
 * Reductions over the stream accumulate from tile to tile. One that depends on another is computed in a later pass over
 * the stream, unless its summand has the form g · exp(e + r) · u, where g and e do not depend on any reduction of this
 * pass and r and u have no stream index. Then it is summed as g · exp(e + r'), with r' the value that r has so far;
 * when r' moves, what was summed is multiplied by exp(r' after - r' before); and u is multiplied in at the end. The sum
 * of exponentials under a running maximum (Milakov & Gimelshein 2018, arXiv:1805.02867) is one case of it. */
#include "enough.h"
#include "schedule_kernel.h"

#include <math.h>
#include <string.h>

/* Dependence */

bool kernel_is_own(const scheduler *c, const region *r, node n) {
    return c->region_of[n] && &c->region[c->region_of[n]] == r;
}

/* Is n stored, and complete before the kernel begins? What the kernel reads as another expression than the one that its
 * region was found by (a product's factors) may be stored, but only later. */
bool kernel_is_complete(const scheduler *c, const region *r, node n) {
    return c->stored[n] && c->done[n] && !c->inside[n] && !c->member[n] && !kernel_is_own(c, r, n);
}

/* Does the kernel accumulate n? What reduces over the stream cannot be computed while that is in blocks, even where it
 * reads nothing wide. */
bool kernel_is_root(const kernel *k, node n) {
    node_view v = graph_view(k->c->g, n);
    return k->c->root[n] || (kernel_is_own(k->c, k->r, n) && v.op == NODE_REDUCE && (v.vars >> k->stream & 1));
}

/* Which of the kernel's reductions does n depend on, through what is not computed elsewhere? */
uint64_t kernel_needs_of(kernel *k, node n) {
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
    const carried *scan = kernel_carried(k, n);
    uint64_t total      = scan && scan->number ? (uint64_t)1 << (scan->number - 1) : 0;
    if (!all && !kernel_is_complete(c, k->r, n)) {
        node_view v = view(k, n);
        for (unsigned i = 0; i < v.child_count; i++)
            all |= kernel_needs_of(k, v.child[i]);
    }
    return k->needs[n] = all | total;
}

uint64_t kernel_needs_below(kernel *k, node n) {
    uint64_t all = 0;
    node_view v  = view(k, n);
    for (unsigned i = 0; i < v.child_count; i++)
        all |= kernel_needs_of(k, v.child[i]);
    return all;
}

static bool hot(kernel *k, node n) {
    return (kernel_needs_of(k, n) & k->now) != 0;
}

bool kernel_streams(const kernel *k, node n) {
    return (view(k, n).free & bit(k->stream)) != 0;
}

/* Taking summands apart */

node kernel_times(graph *g, node a, node b) {
    return !a ? b : !b ? a : graph_mul(g, a, b);
}

node kernel_plus(graph *g, node a, node b) {
    return !a ? b : !b ? a : graph_add(g, a, b);
}

node kernel_both(graph *g, node a, node b) {
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
        t->exponent = kernel_plus(g, t->exponent, scaled(g, n, scale, negative));
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
        if (!kernel_streams(k, n))
            break;
        if (!hot(k, left))
            return split_exponent(k, right, kernel_times(g, scale, left), negative, t);
        if (!hot(k, right))
            return split_exponent(k, left, kernel_times(g, scale, right), negative, t);
        return false;
    case NODE_DIV:
        if (!kernel_streams(k, n))
            break;
        return !hot(k, right) &&
               split_exponent(k, left, kernel_times(g, scale, graph_div(g, graph_float(g, 1), right)), negative, t);
    case NODE_LOG:
        if (kernel_streams(k, n) || scale)
            break;
        if (negative)
            t->final = graph_div(g, t->final ? t->final : graph_float(g, 1), left);
        else
            t->final = kernel_times(g, t->final, left);
        return true;
    default:
        break;
    }
    if (kernel_streams(k, n)) {
        k->stuck = n;
        return false;
    }
    t->running = kernel_plus(g, t->running, scaled(g, n, scale, negative));
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
                (term){kernel_times(g, x->rest, y->rest), kernel_plus(g, x->exponent, y->exponent),
                       kernel_plus(g, x->running, y->running), kernel_times(g, x->final, y->final),
                       kernel_both(g, x->mask, y->mask)};
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
    } else if (!kernel_streams(k, right)) {
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
    if (!hot(k, n) || kernel_streams(k, n))
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
        out->item[i].mask = kernel_both(k->c->g, condition, out->item[i].mask);
    return true;
}

/* b^y is exp(log(b) · y) for a constant b above 0. */
static bool is_exponential(const graph *g, node_view v, double *base) {
    return v.op == NODE_POW && graph_is_constant(g, v.child[0], base) && *base > 0 && isfinite(*base);
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
    double base;
    if (is_exponential(g, v, &base))
        return split_exponent(k, v.child[1], graph_float(g, log(base)), false, &out->item[0]);
    if (!kernel_streams(k, n)) {
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

node kernel_is_usable(graph *g, node held) {
    return graph_pointwise(g, NODE_LESS, held, graph_float(g, INFINITY), NODE_NONE);
}

node kernel_usable(graph *g, node held) {
    return graph_select(g, kernel_is_usable(g, held), held, graph_float(g, 0));
}

static bool only_plain(const kernel *k, uint64_t set) {
    for (unsigned i = 0; i < k->root_count; i++)
        if (set >> i & 1)
            for (unsigned p = 0; p < k->root[i].parts; p++)
                if (k->root[i].part[p].final || k->root[i].parts > 1)
                    return false;
    return true;
}

bool kernel_is_part(const graph *g, node n, node domain) {
    node_view d = graph_view(g, domain);
    return n == domain || (d.op == NODE_AND && (kernel_is_part(g, n, d.child[0]) || kernel_is_part(g, n, d.child[1])));
}

/* Does every part of the conjunction `wanted` occur among those of two others? */
static bool follows(const graph *g, node wanted, node one, node two) {
    node_view w = graph_view(g, wanted);
    return schedule_is_true(g, wanted) || (one && kernel_is_part(g, wanted, one)) ||
           (two && kernel_is_part(g, wanted, two)) ||
           (w.op == NODE_AND && follows(g, w.child[0], one, two) && follows(g, w.child[1], one, two));
}

/* As long as a maximum has met nothing it is infinite, and nothing can be summed under it: where it runs, it must have
 * met all that the sum has. */
static bool meets_all(kernel *k, const kernel_root *r, const term *t) {
    uint64_t runs = t->running ? kernel_needs_of(k, t->running) & k->now : 0;
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
    if (!r->by_row || r->scatter || r->view.reduction != REDUCE_SUM || r->view.type != TYPE_FLOAT ||
        !only_plain(k, now) || hot(k, r->domain) || !expand(k, r->body, &found))
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
            inside  = kernel_plus(g, inside, kernel_usable(g, k->running[p->held].held));
        }
        node body = kernel_times(g, t->rest, inside ? graph_pointwise(g, NODE_EXP, inside, 0, 0) : NODE_NONE);
        body      = body ? body : graph_float(g, 1);
        p->body   = t->mask ? graph_select(g, t->mask, body, graph_float(g, 0)) : body;
    }
    return r->parts > 0;
}

void kernel_choose_passes(kernel *k) {
    k->passes = 1;
    for (unsigned i = 0; i < k->root_count; i++) {
        kernel_root *r = &k->root[i];
        r->needs       = kernel_needs_below(k, r->reduce);
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
