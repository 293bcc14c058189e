/* A recurrence S(t) = a(t) S(t-1) + u(t) p(t) + b(t), p(t) = sum of w(t) S(t-1), in chunks of C positions. Within a
 * chunk that begins with the state Z, with D(j,r) the product of a over the positions after r up to j (1 where r = j):
 *
 *     S(j) = D(j) Z + sum[r <= j](D(j,r) (u(r) p(r) + b(r)))          D(j): the product of a up to j
 *     p(j) = D(j-1) w(j) Z + sum[r < j](D(j-1,r) w(j) b(r)) + sum[r < j](D(j-1,r) w(j) u(r) p(r))
 *
 * where w(j) Z and the like are the sums that the spec takes. The last line is a unit triangular system for p; its
 * matrix and all but the first term of its right side do not depend on Z. What is read of the state,
 * sum of q(t) S(t), follows from the first line in the same way, and the first line at the end of the chunk gives the
 * next Z: a scan over chunks instead of positions. Decays are multiplied from r on, step by step, so no ratio is above
 * 1 if no decay is, and a decay of 0 is nothing special. */
#include "enough.h"
#include "reasons.h"
#include "recurrence_internal.h"
#include "rewrite.h"

#include <stdio.h>

enum {
    MOST_FACTORS     = 16,
    MOST_DECAYS      = 4,
    MOST_CORRECTIONS = 4,
    LEAST_CHUNK      = 16,
    MOST_CHUNK       = 128,
    MATRIX_RATE      = 8,
    PRODUCT_COST     = 400
};

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

/* A factor of a, and products of it over positions of a chunk: D(j,r), D(j-1,r), D(j), D(j-1), D(C-1,r), D(C-1). */
typedef struct decay {
    node at, since, since_before, start, start_before, to_end, whole;
} decay;

/* One recurrence. */
typedef struct recurrence {
    graph *g;
    node scan;
    index_id time;
    bool reverse;
    int64_t length;
    linear_state inside, outside; /* forms in the state before the step, within it; after it, elsewhere */
    unsigned decays;              /* a is their product: a factor each where they have different indices */
    decay decay[MOST_DECAYS];
    unsigned corrections; /* sums over the state that the step takes, p, and what multiplies them, u */
    state_read correction[MOST_CORRECTIONS];
    node update[MOST_CORRECTIONS];
    unsigned added; /* b, a sum of these */
    node add[MOST_TERMS];
    /* what reads it elsewhere */
    size_t reader_count, reader_room;
    node *reader;
    bool stuck;
    node_map met;
    /* in chunks */
    int64_t chunk, chunks;
    index_id c, j, r;
    index_id row, column; /* of the triangular system: j and r, where there is one p */
    node state, solved;   /* scans over chunks: Z after the chunk, all p */
    node begin;           /* Z */
} recurrence;

/* What is multiplied. */
typedef struct factors {
    unsigned count;
    node item[MOST_FACTORS];
} factors;

static void add_factor(graph *g, factors *f, node n) {
    double value;
    if (graph_is_constant(g, n, &value) && value == 1)
        return;
    if (f->count < MOST_FACTORS)
        f->item[f->count++] = n;
    else
        f->item[MOST_FACTORS - 1] = graph_mul(g, f->item[MOST_FACTORS - 1], n);
}

/* Has n factors none of which has all of its indices? What has, such as a key times its strength, is a value of its
 * own, to be computed once and not again in every product. */
static bool is_outer_product(const graph *g, node n) {
    node_view v = graph_view(g, n);
    switch (v.op) {
    case NODE_NEG:
    case NODE_GATHER:
        return is_outer_product(g, v.child[0]);
    case NODE_SELECT:
        return graph_is_guarded(g, n) && is_outer_product(g, v.child[1]);
    case NODE_MUL:
    case NODE_DIV:
        for (unsigned i = 0; i < 2; i++)
            if (graph_view(g, v.child[i]).free == v.free)
                return (i == 0 || v.op == NODE_MUL) && is_outer_product(g, v.child[i]);
        return true;
    default:
        return false;
    }
}

static void take_factors(graph *g, node n, factors *f) {
    if (!is_outer_product(g, n)) {
        add_factor(g, f, n);
        return;
    }
    node_view v = graph_view(g, n);
    switch (v.op) {
    case NODE_MUL: {
        node a = v.child[0], b = v.child[1];
        take_factors(g, a, f);
        take_factors(g, b, f);
        return;
    }
    case NODE_NEG:
        add_factor(g, f, graph_float(g, -1));
        take_factors(g, graph_view(g, n).child[0], f);
        return;
    case NODE_DIV: {
        node a = v.child[0], b = v.child[1];
        take_factors(g, a, f);
        add_factor(g, f, graph_div(g, graph_float(g, 1), b));
        return;
    }
    case NODE_SELECT: { /* 0 where a condition fails: so is every factor, whatever it is there */
        node condition = v.child[0];
        if (!graph_is_guarded(g, n))
            break;
        factors inner = {0};
        take_factors(g, v.child[1], &inner);
        for (unsigned i = 0; i < inner.count; i++)
            add_factor(g, f, graph_select(g, condition, inner.item[i], graph_float(g, 0)));
        return;
    }
    case NODE_GATHER: { /* outside the range of an index every factor that has it is 0 */
        index_id from[GRAPH_INDICES];
        node to[GRAPH_INDICES];
        unsigned count = v.child_count - 1;
        for (unsigned i = 0; i < count; i++) {
            from[i] = v.substituted[i];
            to[i]   = v.child[i + 1];
        }
        factors inner = {0};
        take_factors(g, v.child[0], &inner);
        for (unsigned i = 0; i < inner.count; i++)
            add_factor(g, f, graph_gather(g, inner.item[i], count, from, to));
        return;
    }
    default:
        break;
    }
    add_factor(g, f, n);
}

/* n times those that have, or have not, one of the indices: small ones first, so that what is in between stays small.
 */
static node multiplied(graph *g, node n, const factors *f, index_set indices, bool have) {
    bool done[MOST_FACTORS] = {false};
    for (unsigned round = 0; round < f->count; round++) {
        unsigned best = f->count;
        int64_t least = INT64_MAX;
        for (unsigned i = 0; i < f->count; i++) {
            index_set free_ = graph_view(g, f->item[i]).free;
            int64_t space   = graph_space(g, free_ | graph_view(g, n).free);
            if (!done[i] && ((free_ & indices) != 0) == have && (best == f->count || space < least)) {
                best  = i;
                least = space;
            }
        }
        if (best == f->count)
            break;
        done[best] = true;
        n          = graph_mul(g, n, f->item[best]);
    }
    return n;
}

/* Is it one? */

static bool is_zero(graph *g, node n) {
    double value;
    return graph_is_constant(g, n, &value) && value == 0;
}

static bool take_decay(recurrence *x, node a) {
    factors f = {0};
    if (graph_view(x->g, a).free & ~x->inside.indices & ~bit(x->time))
        return false;
    take_factors(x->g, a, &f);
    if (f.count > MOST_DECAYS)
        f = (factors){.count = 1, .item = {a}};
    for (unsigned i = 0; i < f.count; i++)
        x->decay[x->decays++].at = f.item[i];
    return true;
}

/* p must not have what it sums over, and must lie where the state does; all alike. */
static bool corrects_well(const recurrence *x, const state_read *p) {
    index_set of = x->inside.indices, summed = contracted(&x->inside, p), has = read_indices(&x->inside, p);
    for (unsigned i = 0; i < graph_index_count(x->g); i++)
        if ((of & ~summed) >> i & 1 && renamed(&p->at, (index_id)i) != i)
            return false;
    return summed && !(has & summed) && !(has & ~of & ~bit(x->time)) &&
           ((has ^ read_indices(&x->inside, &x->correction[0])) & ~bit(x->time)) == 0;
}

/* a, p, u and b from the scan's body. */
static bool recognise(recurrence *x) {
    graph *g     = x->g;
    node_view v  = graph_view(g, x->scan);
    x->time      = v.scan_index;
    x->reverse   = v.reverse;
    x->length    = graph_index_extent(g, x->time);
    node leaf    = graph_scan_leaf(g, v.scan_label, v.scan_state);
    index_set of = v.free & ~bit(x->time);
    x->inside    = (linear_state){.g = g, .before = leaf, .indices = of};
    x->outside   = (linear_state){.g = g, .after = x->scan, .indices = of};
    if (v.type != TYPE_FLOAT || graph_scan_states(g, v.scan_label) != 1 || graph_is_open(g, x->scan))
        return false;
    linear_form form = {0};
    node a           = NODE_NONE;
    if (!linear_form_of(&x->inside, graph_scan_body(g, x->scan), &form))
        return false;
    for (unsigned i = 0; i < form.count; i++) {
        const linear_term *t = &form.term[i];
        if (t->kind == TERM_CONSTANT) {
            x->add[x->added++] = t->coefficient;
        } else if (t->kind == TERM_STATE) {
            if (t->read.at.count || a)
                return false;
            a = t->coefficient;
        } else {
            if (x->corrections == MOST_CORRECTIONS)
                return false;
            x->correction[x->corrections] = t->read;
            x->update[x->corrections++]   = t->coefficient;
        }
    }
    bool ok = a && take_decay(x, a);
    for (unsigned k = 0; k < x->corrections && ok; k++)
        ok = corrects_well(x, &x->correction[k]);
    return ok;
}

/* Who reads it? */

static void visit(recurrence *x, node n);

static void visit_form(recurrence *x, const linear_form *form) {
    for (unsigned i = 0; i < form->count; i++) {
        visit(x, form->term[i].coefficient);
        if (form->term[i].kind == TERM_READ) {
            visit(x, form->term[i].read.weight);
            if (form->term[i].read.domain)
                visit(x, form->term[i].read.domain);
        }
    }
}

/* Sums that take nothing of the state but what they sum over. */
static bool reads_well(recurrence *x, node n, linear_form *form) {
    node_view v = graph_view(x->g, n);
    if (v.op != NODE_REDUCE || v.type != TYPE_FLOAT || !linear_form_of(&x->outside, n, form))
        return false;
    for (unsigned i = 0; i < form->count; i++)
        if (form->term[i].kind == TERM_STATE ||
            (form->term[i].kind == TERM_READ && !contracted(&x->outside, &form->term[i].read)))
            return false;
    return true;
}

static void visit(recurrence *x, node n) {
    if (x->stuck || !linear_depends(&x->outside, n) || node_map_find(&x->met, n))
        return;
    node_map_enter(&x->met, n);
    linear_form form = {0};
    if (n == x->scan || n == x->outside.before) {
        x->stuck = true;
    } else if (reads_well(x, n, &form)) {
        if (x->reader_count == x->reader_room) {
            size_t more    = x->reader_room ? 2 * x->reader_room : 8;
            x->reader      = enough_grown(x->reader, x->reader_room, more, sizeof *x->reader);
            x->reader_room = more;
        }
        x->reader[x->reader_count++] = n;
        visit_form(x, &form);
    } else {
        unsigned count = graph_view(x->g, n).child_count;
        for (unsigned i = 0; i < count; i++)
            visit(x, graph_view(x->g, n).child[i]);
    }
}

static bool find_readers(recurrence *x) {
    graph *g               = x->g;
    node first             = graph_pointwise(g, NODE_EQUAL, graph_index_value(g, x->time),
                                             graph_int(g, x->reverse ? x->length - 1 : 0), NODE_NONE);
    x->outside.before      = graph_scan_before(g, x->scan);
    x->outside.time        = x->time;
    x->outside.step        = x->reverse ? 1 : -1;
    x->outside.has_earlier = graph_pointwise(g, NODE_NOT, first, NODE_NONE, NODE_NONE);
    for (uint32_t i = 0; i < graph_output_count(x->g); i++)
        visit(x, graph_output(x->g, i)->node);
    return !x->stuck && x->reader_count > 0;
}

/* Is it worth it? Operations for one position, with those in products of matrices at a fraction. */

static double space(const recurrence *x, index_set set) {
    return (double)graph_space(x->g, set & ~bit(x->time));
}

static double token_cost(recurrence *x) {
    double state = space(x, x->outside.indices), cost = state * (2 + 2 * x->added);
    cost += 4 * x->corrections * state;
    return cost + 2 * state * (double)x->reader_count;
}

/* Of the sums of `read` with each of what is added at an earlier position of the chunk. */
static double pair_cost(recurrence *x, const linear_state *s, const state_read *read, double chunk) {
    double cost      = 0;
    index_set summed = contracted(s, read);
    for (unsigned i = 0; i < x->added + x->corrections; i++) {
        node n    = i < x->added ? x->add[i] : x->update[i - x->added];
        factors f = {0};
        take_factors(x->g, n, &f);
        index_set pair = graph_view(x->g, read->weight).free & ~read->vars, all = pair;
        for (unsigned k = 0; k < f.count; k++) {
            index_set has = graph_view(x->g, f.item[k]).free;
            all |= has & ~summed;
            if (has & summed)
                pair |= has & ~summed;
        }
        index_set decays = 0;
        for (unsigned k = 0; k < x->decays; k++)
            decays |= graph_view(x->g, x->decay[k].at).free;
        double rate = decays & summed ? 1 : MATRIX_RATE;
        cost += 2 * chunk * space(x, pair) * space(x, summed) / rate;
        cost += 2 * chunk * space(x, all) / (decays & ~summed & ~pair ? 1 : MATRIX_RATE);
        cost += 2 * PRODUCT_COST * space(x, pair) / chunk;
    }
    return cost;
}

static double chunk_cost(recurrence *x, double chunk) {
    double state = space(x, x->outside.indices), cost = 0;
    for (unsigned k = 0; k < x->decays; k++)
        cost += 3 * chunk * space(x, graph_view(x->g, x->decay[k].at).free);
    for (size_t k = 0; k < x->reader_count; k++) {
        linear_form form = {0};
        reads_well(x, x->reader[k], &form);
        for (unsigned i = 0; i < form.count; i++)
            if (form.term[i].kind == TERM_READ)
                cost += pair_cost(x, &x->outside, &form.term[i].read, chunk) + 2 * state / MATRIX_RATE;
    }
    for (unsigned k = 0; k < x->corrections; k++)
        cost += pair_cost(x, &x->inside, &x->correction[k], chunk) + 6 * state / MATRIX_RATE;
    return cost + 2 * state * x->added / MATRIX_RATE + 4 * state / chunk;
}

/* How many positions; 0: it stays as it is. */
static int64_t choose_chunk(recurrence *x, int64_t wanted) {
    if (wanted)
        return wanted < x->length ? wanted : x->length;
    double least = token_cost(x);
    int64_t best = 0;
    for (int64_t chunk = LEAST_CHUNK; chunk <= MOST_CHUNK && chunk <= x->length; chunk *= 2) {
        double cost = chunk_cost(x, (double)chunk);
        if (cost < least) {
            least = cost;
            best  = chunk;
        }
    }
    return best;
}

/* In chunks */

static node whole(graph *g, node n, int64_t factor, node more) {
    return graph_add(g, graph_mul(g, n, graph_int(g, factor)), more);
}

/* The position that is number `place` of the chunk. */
static node position(recurrence *x, index_id place) {
    graph *g = x->g;
    node n   = whole(g, graph_index_value(g, x->c), x->chunk, graph_index_value(g, place));
    return x->reverse ? graph_sub(g, graph_int(g, x->length - 1), n) : n;
}

/* n at that position, and where the read takes the state. Beyond the last position everything is 0. */
static node placed(recurrence *x, node n, index_id place, const renaming *at) {
    index_id from[TENSOR_RANK + 1];
    node to[TENSOR_RANK + 1];
    unsigned count  = 0;
    index_set free_ = graph_view(x->g, n).free;
    if (free_ & bit(x->time)) {
        from[count] = x->time;
        to[count++] = position(x, place);
    }
    for (unsigned k = 0; at && k < at->count; k++)
        if (free_ >> at->from[k] & 1) {
            from[count] = at->from[k];
            to[count++] = graph_index_value(x->g, at->to[k]);
        }
    return count ? graph_gather(x->g, n, count, from, to) : n;
}

static node at_index(graph *g, node n, index_id i, node value) {
    return graph_view(g, n).free & bit(i) ? graph_gather(g, n, 1, &i, &value) : n;
}

static node less(graph *g, index_id a, index_id b, bool or_equal) {
    return graph_pointwise(g, or_equal ? NODE_LESS_EQUAL : NODE_LESS, graph_index_value(g, a), graph_index_value(g, b),
                           NODE_NONE);
}

static void make_decay(recurrence *x, decay *d) {
    graph *g = x->g;
    node one = graph_float(g, 1), zero = graph_float(g, 0);
    node a          = placed(x, d->at, x->j, NULL);
    index_set free_ = graph_view(g, a).free & ~bit(x->j);
    node leaf       = graph_previous(g, x->j, false, free_ | bit(x->r), TYPE_FLOAT);
    node here       = graph_pointwise(g, NODE_EQUAL, graph_index_value(g, x->j), graph_index_value(g, x->r), NODE_NONE);
    d->since        = graph_scan(g, leaf, zero, graph_select(g, here, one, graph_mul(g, leaf, a)));
    leaf            = graph_previous(g, x->j, false, free_, TYPE_FLOAT);
    d->start        = graph_scan(g, leaf, one, graph_mul(g, leaf, a));
    node before     = graph_add(g, graph_index_value(g, x->j), graph_int(g, -1));
    node last       = graph_int(g, x->chunk - 1);
    node first      = graph_pointwise(g, NODE_EQUAL, graph_index_value(g, x->j), graph_int(g, 0), NODE_NONE);
    d->since_before = at_index(g, d->since, x->j, before);
    d->start_before = graph_select(g, first, one, at_index(g, d->start, x->j, before));
    d->to_end       = at_index(g, d->since, x->j, last);
    d->whole        = at_index(g, d->start, x->j, last);
}

/* sum over what the read sums over, of its weight at j times the given factors */
static node read_sum(recurrence *x, const state_read *read, const factors *f) {
    graph *g     = x->g;
    node domain  = read->domain ? placed(x, read->domain, x->j, NULL) : NODE_NONE;
    index_set of = read->vars;
    if (domain) /* what it depends on stays inside */
        of |= graph_view(g, domain).free & read->vars;
    node sum = graph_reduce(g, REDUCE_SUM, read->vars, domain, multiplied(g, graph_float(g, 1), f, of, true));
    return multiplied(g, sum, f, of, false);
}

static void take_weight(recurrence *x, const state_read *read, factors *f) {
    take_factors(x->g, placed(x, read->weight, x->j, NULL), f);
}

/* The part of a read that comes from the state at the chunk's beginning, Z. */
static node read_of_begin(recurrence *x, const state_read *read, node begin) {
    factors f = {0};
    take_weight(x, read, &f);
    for (unsigned k = 0; k < x->decays; k++)
        add_factor(x->g, &f, placed(x, read->before ? x->decay[k].start_before : x->decay[k].start, x->j, &read->at));
    add_factor(x->g, &f, placed(x, begin, x->j, &read->at));
    return read_sum(x, read, &f);
}

/* What multiplies, in a read at j, what was added at r: `added` there, times the decay since. */
static node read_of_added(recurrence *x, const state_read *read, node added) {
    factors f = {0};
    take_weight(x, read, &f);
    for (unsigned k = 0; k < x->decays; k++)
        add_factor(x->g, &f, placed(x, read->before ? x->decay[k].since_before : x->decay[k].since, x->j, &read->at));
    factors more = {0};
    take_factors(x->g, placed(x, added, x->r, &read->at), &more);
    for (unsigned i = 0; i < more.count; i++)
        add_factor(x->g, &f, more.item[i]);
    return read_sum(x, read, &f);
}

static node earlier(recurrence *x, const state_read *read, node body) {
    return graph_reduce(x->g, REDUCE_SUM, bit(x->r), less(x->g, x->r, x->j, !read->before), body);
}

/* The part of a read that comes from b. */
static node read_of_additions(recurrence *x, const state_read *read) {
    node sum = graph_float(x->g, 0);
    for (unsigned i = 0; i < x->added; i++)
        if (!is_zero(x->g, x->add[i]))
            sum = graph_add(x->g, sum, earlier(x, read, read_of_added(x, read, x->add[i])));
    return sum;
}

/* What is added at r, times the decay until the chunk's end. */
static node decayed_to_end(recurrence *x, node added) {
    graph *g  = x->g;
    factors f = {0};
    take_factors(g, placed(x, added, x->r, NULL), &f);
    for (unsigned k = 0; k < x->decays; k++)
        add_factor(g, &f, x->decay[k].to_end);
    return multiplied(g, graph_float(g, 1), &f, 0, false);
}

/* Number k of several at a position, of all that are at all positions, in this order. */
static node member_of(recurrence *x, node all, unsigned k, index_id place) {
    graph *g = x->g;
    return at_index(g, all, x->row, whole(g, graph_index_value(g, place), x->corrections, graph_int(g, k)));
}

/* The same the other way round: at `of`, part[k], which is at j, for the position and the k that `of` stands for. */
static node one_of(recurrence *x, const node *part, index_id of, index_id place) {
    graph *g = x->g;
    node at = graph_index_value(g, of), size = graph_int(g, x->corrections);
    node position_ = graph_div(g, at, size), which = graph_pointwise(g, NODE_MOD, at, size, NODE_NONE);
    node n = NODE_NONE;
    for (unsigned k = 0; k < x->corrections; k++) {
        node here = at_index(g, part[k], place, position_);
        node is   = graph_pointwise(g, NODE_EQUAL, which, graph_int(g, k), NODE_NONE);
        n         = n ? graph_select(g, is, here, n) : here;
    }
    return n;
}

/* All p, given the state at the chunk's beginning: those of one position next to each other. None depends on another of
 * its position. */
static node solve_corrections(recurrence *x, node begin) {
    graph *g = x->g;
    node right[MOST_CORRECTIONS], row[MOST_CORRECTIONS], column[MOST_CORRECTIONS];
    for (unsigned k = 0; k < x->corrections; k++) {
        const state_read *p = &x->correction[k];
        right[k]            = graph_add(g, read_of_begin(x, p, begin), read_of_additions(x, p));
        for (unsigned m = 0; m < x->corrections; m++)
            column[m] = read_of_added(x, p, x->update[m]);
        row[k] = one_of(x, column, x->column, x->r);
    }
    if (x->corrections == 1)
        return graph_solve(g, x->row, x->column, false, row[0], right[0]);
    node size    = graph_int(g, x->corrections);
    node earlier = graph_pointwise(g, NODE_LESS, graph_div(g, graph_index_value(g, x->column), size),
                                   graph_div(g, graph_index_value(g, x->row), size), NODE_NONE);
    node matrix  = graph_select(g, earlier, one_of(x, row, x->row, x->j), graph_float(g, 0));
    return graph_solve(g, x->row, x->column, false, matrix, one_of(x, right, x->row, x->j));
}

static node sum_over_chunk(recurrence *x, node body) {
    return graph_reduce(x->g, REDUCE_SUM, bit(x->r), NODE_NONE, body);
}

/* The scan over chunks. Its states: Z after the chunk, and all p where there are any. */
static void make_scan(recurrence *x) {
    graph *g         = x->g;
    uint32_t label   = graph_new_scan(g);
    node previous[2] = {graph_scan_state(g, label, 0, x->c, false, x->outside.indices, TYPE_FLOAT)};
    node init[2]     = {graph_scan_init(g, x->scan), graph_float(g, 0)}, body[2], scan[2];
    unsigned states  = 1;
    node next        = previous[0];
    for (unsigned k = 0; k < x->decays; k++)
        next = graph_mul(g, x->decay[k].whole, next);
    for (unsigned i = 0; i < x->added; i++)
        next = graph_add(g, next, sum_over_chunk(x, decayed_to_end(x, x->add[i])));
    if (x->corrections) {
        body[1]     = solve_corrections(x, previous[0]);
        previous[1] = graph_scan_state(g, label, 1, x->c, false, graph_view(g, body[1]).free & ~bit(x->c), TYPE_FLOAT);
        states      = 2;
    }
    for (unsigned k = 0; k < x->corrections; k++)
        next = graph_add(
            g, next, sum_over_chunk(x, graph_mul(g, decayed_to_end(x, x->update[k]), member_of(x, body[1], k, x->r))));
    body[0] = next;
    graph_scan_group(g, states, previous, init, body, scan);
    x->state  = scan[0];
    x->solved = states == 2 ? scan[1] : NODE_NONE;
    x->begin  = graph_scan_before(g, x->state);
}

/* What a read is, for all positions of a chunk. */
static node read_in_chunk(recurrence *x, const state_read *read) {
    graph *g = x->g;
    node sum = graph_add(g, read_of_begin(x, read, x->begin), read_of_additions(x, read));
    for (unsigned k = 0; k < x->corrections; k++) {
        node solved = placed(x, member_of(x, x->solved, k, x->r), x->r, &read->at);
        sum         = graph_add(g, sum, earlier(x, read, graph_mul(g, read_of_added(x, read, x->update[k]), solved)));
    }
    return sum;
}

/* The same at the position t. */
static node by_position(recurrence *x, node n) {
    graph *g = x->g;
    node t   = graph_index_value(g, x->time);
    if (x->reverse)
        t = graph_sub(g, graph_int(g, x->length - 1), t);
    node size        = graph_int(g, x->chunk);
    index_id from[2] = {x->c, x->j};
    node to[2]       = {graph_div(g, t, size), graph_pointwise(g, NODE_MOD, t, size, NODE_NONE)};
    index_set free_  = graph_view(g, n).free;
    bool both        = (free_ & bit(x->c)) && (free_ & bit(x->j));
    return both ? graph_gather(g, n, 2, from, to) : at_index(g, at_index(g, n, x->c, to[0]), x->j, to[1]);
}

static node reader_in_chunks(recurrence *x, node reader) {
    graph *g         = x->g;
    linear_form form = {0};
    reads_well(x, reader, &form);
    node sum = graph_float(g, 0);
    for (unsigned i = 0; i < form.count; i++) {
        const linear_term *t = &form.term[i];
        node part            = t->coefficient;
        if (t->kind == TERM_READ)
            part = graph_mul(g, part, by_position(x, read_in_chunk(x, &t->read)));
        sum = graph_add(g, sum, part);
    }
    return sum;
}

/* No name of a spec has a dot. */
static index_id index_of(recurrence *x, const char *part, int64_t extent) {
    char name[256];
    snprintf(name, sizeof name, "%.200s.%s", graph_index_name(x->g, x->time), part);
    return graph_index(x->g, name, extent);
}

static bool make_indices(recurrence *x) {
    x->chunks = (x->length + x->chunk - 1) / x->chunk;
    x->c      = index_of(x, "chunk", x->chunks);
    x->j = x->row = index_of(x, "in", x->chunk);
    x->r = x->column = index_of(x, "from", x->chunk);
    if (x->corrections > 1) {
        x->row    = index_of(x, "row", x->chunk * x->corrections);
        x->column = index_of(x, "column", x->chunk * x->corrections);
    }
    return x->c < GRAPH_INDICES && x->j < GRAPH_INDICES && x->r < GRAPH_INDICES && x->row < GRAPH_INDICES &&
           x->column < GRAPH_INDICES;
}

static void rewrite_readers(recurrence *x) {
    graph *g         = x->g;
    uint32_t outputs = graph_output_count(g);
    node *to = enough(calloc(x->reader_count, sizeof *to)), *root = enough(calloc(outputs, sizeof *root));
    graph_because(g, REASON_SPEC, NODE_NONE);
    for (unsigned k = 0; k < x->decays; k++)
        make_decay(x, &x->decay[k]);
    make_scan(x);
    for (size_t i = 0; i < x->reader_count; i++)
        to[i] = reader_in_chunks(x, x->reader[i]);
    for (uint32_t i = 0; i < outputs; i++)
        root[i] = graph_output(g, i)->node;
    rewrite_replace(g, (unsigned)x->reader_count, x->reader, to, outputs, root);
    for (uint32_t i = 0; i < outputs; i++)
        graph_set_output_node(g, i, root[i]);
    for (size_t i = 0; i < x->reader_count; i++)
        if (graph_node_name(g, x->reader[i]))
            graph_name_node(g, to[i], graph_node_name(g, x->reader[i]));
    free(to);
    free(root);
}

static void try_scan(graph *g, node scan, const recurrence_options *options) {
    recurrence x = {.g = g, .scan = scan};
    if (recognise(&x) && find_readers(&x)) {
        x.chunk = choose_chunk(&x, options->chunk);
        if (x.chunk && make_indices(&x))
            rewrite_readers(&x);
    }
    node_map_free(&x.inside.depends);
    node_map_free(&x.outside.depends);
    node_map_free(&x.met);
    free(x.reader);
}

void recurrence_by_chunks(graph *g, const recurrence_options *options) {
    static const recurrence_options by_cost;
    options = options ? options : &by_cost;
    /* from the last on: those that it reads are still what they were */
    for (uint32_t label = graph_scan_labels(g); label > 0 && !options->never; label--) {
        node scan = graph_scan_node(g, label, 0);
        if (scan)
            try_scan(g, scan, options);
    }
}
