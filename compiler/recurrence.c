/* A recurrence S(t) = a(t) S(t-1) + k(t) x(t), where x(t) = v(t) + s(t) p(t) and p(t) = sum of w(t) S(t-1), in chunks
 * of C positions; k has the indices that the sum is over, and there may be several such k x. Within a chunk that begins
 * with the state Z, with D(j,r) the product of a over the positions after r up to j (1 where r = j):
 *
 *     S(j) = D(j) Z + sum[r <= j](D(j,r) k(r) x(r))          D(j): the product of a up to j
 *     p(j) = D(j-1) w(j) Z + sum[r < j](D(j-1,r) w(j) k(r) x(r))
 *
 * where w(j) Z and w(j) k(r) are the sums that the spec takes. So x(j) = v(j) + s(j) p(j) is a unit triangular system
 * for x; its matrix and all but one term of its right side do not depend on Z. What is read of the state, sum of q(t)
 * S(t), follows from the first line in the same way, and the first line at the end of the chunk gives the next Z: a
 * scan over chunks instead of positions. Decays are multiplied from r on, step by step, so no ratio is above 1 if no
 * decay is, and a decay of 0 is nothing special. Several states that move each other are a vector; then a and D are
 * matrices. */
#include "enough.h"
#include "reasons.h"
#include "recurrence_internal.h"
#include "rewrite.h"

#include <stdio.h>

enum {
    MOST_FACTORS     = 16,
    MOST_DECAYS      = 4,
    MOST_CORRECTIONS = 4,
    MOST_VECTORS     = 8,
    LEAST_CHUNK      = 16,
    MOST_CHUNK       = 128,
    MATRIX_RATE      = 8,
    PRODUCT_COST     = 4000, /* of a call of the library */
    STORE_COST       = 8     /* of a state that is kept for every position: written, and read by what reads it */
};

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

/* A factor of a, and products of it over positions of a chunk: D(j,r), D(j-1,r), D(j), D(j-1), D(C-1,r), D(C-1). */
typedef struct decay {
    node at, since, since_before, start, start_before, to_end, whole;
} decay;

/* From one state to another: the product of these. */
typedef struct transfer {
    bool none; /* 0 */
    unsigned count;
    decay decay[MOST_DECAYS];
} transfer;

/* b, of one state, which is the sum of several. */
typedef struct addition {
    unsigned state;
    node value;
} addition;

/* p, a sum over a state that the step takes, and u, what multiplies it in each state; NODE_NONE: 0. */
typedef struct correction {
    state_read read;
    node update[MOST_STATES];
} correction;

/* k x, added to a state: k has what the sums are over. x is known where no correction is in it. */
typedef struct vector {
    unsigned state;
    node along, value;            /* k, v; of v NODE_NONE: 0 */
    node times[MOST_CORRECTIONS]; /* s; NODE_NONE: 0 */
    bool unknown;
} vector;

/* One recurrence. */
typedef struct recurrence {
    graph *g;
    unsigned states;
    node scan[MOST_STATES];
    index_id time;
    bool reverse;
    int64_t length;
    linear_state inside, outside; /* forms in the states before the step, within it; after it, elsewhere */
    transfer transfer[MOST_STATES][MOST_STATES]; /* a: to the first from the second */
    unsigned corrections, additions;
    correction correction[MOST_CORRECTIONS];
    addition addition[MOST_TERMS];
    unsigned vectors, unknowns;
    vector vector[MOST_VECTORS]; /* the unknown ones first */
    /* what reads it elsewhere */
    size_t reader_count, reader_room;
    node *reader;
    bool stuck;
    node_map met;
    /* in chunks */
    int64_t chunk, chunks;
    index_id c, j, r;
    index_id row, column;    /* of the triangular system: j and r, where there is one unknown x */
    node begin[MOST_STATES]; /* Z */
    node solved;             /* all unknown x */
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

/* a, from state l to state k. Where there is one state only, its factors have products of their own. */
static bool take_decay(recurrence *x, unsigned k, unsigned l, node a) {
    transfer *t = &x->transfer[k][l];
    factors f   = {0};
    if (graph_view(x->g, a).free & ~x->inside.indices & ~bit(x->time))
        return false;
    if (x->states == 1)
        take_factors(x->g, a, &f);
    if (x->states > 1 || f.count > MOST_DECAYS)
        f = (factors){.count = 1, .item = {a}};
    t->none = false;
    for (unsigned i = 0; i < f.count; i++)
        t->decay[t->count++].at = f.item[i];
    return true;
}

/* p must not have what it sums over, and must lie where the states do; all alike. */
static bool corrects_well(const recurrence *x, const state_read *p) {
    index_set of = x->inside.indices, summed = contracted(&x->inside, p), has = read_indices(&x->inside, p);
    for (unsigned i = 0; i < graph_index_count(x->g); i++)
        if ((of & ~summed) >> i & 1 && renamed(&p->at, (index_id)i) != i)
            return false;
    return summed && !(has & summed) && !(has & ~of & ~bit(x->time)) &&
           ((has ^ read_indices(&x->inside, &x->correction[0].read)) & ~bit(x->time)) == 0;
}

static bool take_correction(recurrence *x, unsigned state, const linear_term *t) {
    unsigned k = 0;
    while (k < x->corrections && !same_read(&x->correction[k].read, &t->read))
        k++;
    if (k == MOST_CORRECTIONS)
        return false;
    x->correction[k].read          = t->read;
    x->correction[k].update[state] = t->coefficient;
    x->corrections += k == x->corrections;
    return corrects_well(x, &t->read);
}

/* a, p, u and b of state k, from what it is after the step. */
static bool take_body(recurrence *x, unsigned k) {
    linear_form form = {0};
    bool ok          = linear_form_of(&x->inside, graph_scan_body(x->g, x->scan[k]), &form);
    for (unsigned i = 0; i < form.count && ok; i++) {
        const linear_term *t = &form.term[i];
        if (t->kind == TERM_CONSTANT && x->additions < MOST_TERMS)
            x->addition[x->additions++] = (addition){k, t->coefficient};
        else if (t->kind == TERM_STATE)
            ok = !t->read.at.count && take_decay(x, k, t->read.state, t->coefficient);
        else
            ok = t->kind == TERM_READ && take_correction(x, k, t);
    }
    return ok;
}

static bool recognise(recurrence *x, uint32_t label) {
    graph *g    = x->g;
    node_view v = graph_view(g, graph_scan_node(g, label, 0));
    x->states   = graph_scan_states(g, label);
    x->time     = v.scan_index;
    x->reverse  = v.reverse;
    x->length   = graph_index_extent(g, x->time);
    if (x->states > MOST_STATES)
        return false;
    x->inside = x->outside = (linear_state){.g = g, .states = x->states, .indices = v.free & ~bit(x->time)};
    for (unsigned k = 0; k < x->states; k++) {
        node scan           = graph_scan_node(g, label, k);
        x->scan[k]          = scan;
        x->inside.before[k] = graph_scan_leaf(g, label, k);
        x->outside.after[k] = scan;
        if (graph_view(g, scan).type != TYPE_FLOAT || graph_view(g, scan).free != v.free || graph_is_open(g, scan))
            return false;
        for (unsigned l = 0; l < x->states; l++)
            x->transfer[k][l].none = true;
    }
    bool ok = true, moves = false;
    for (unsigned k = 0; k < x->states && ok; k++) {
        ok = take_body(x, k);
        moves |= !x->transfer[k][k].none;
    }
    return ok && moves;
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

/* Sums that take nothing of the states but what they sum over, and take it themselves: a sum of such sums reads these.
 */
static bool reads_well(recurrence *x, node n, linear_form *form) {
    node_view v       = graph_view(x->g, n);
    linear_form inner = {0};
    if (v.op != NODE_REDUCE || v.type != TYPE_FLOAT || !linear_form_of(&x->outside, v.child[1], &inner))
        return false;
    for (unsigned i = 0; i < inner.count; i++)
        if (inner.term[i].kind == TERM_READ)
            return false;
    if (!linear_form_of(&x->outside, n, form))
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
    bool state       = false;
    for (unsigned k = 0; k < x->states; k++)
        state |= n == x->scan[k] || n == x->outside.before[k];
    if (state) {
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
    graph *g   = x->g;
    node first = graph_pointwise(g, NODE_EQUAL, graph_index_value(g, x->time),
                                 graph_int(g, x->reverse ? x->length - 1 : 0), NODE_NONE);
    for (unsigned k = 0; k < x->states; k++)
        x->outside.before[k] = graph_scan_before(g, x->scan[k]);
    x->outside.time        = x->time;
    x->outside.step        = x->reverse ? 1 : -1;
    x->outside.has_earlier = graph_pointwise(g, NODE_NOT, first, NODE_NONE, NODE_NONE);
    for (uint32_t i = 0; i < graph_output_count(x->g); i++)
        visit(x, graph_output(x->g, i)->node);
    return !x->stuck && x->reader_count > 0;
}

/* k and x */

/* Takes off n what has none of the indices, into *rest. */
static node peel(graph *g, node n, index_set indices, node *rest) {
    for (;;) {
        node_view v = graph_view(g, n);
        node_view w = v.op == NODE_GATHER ? graph_view(g, v.child[0]) : v;
        if (w.op != NODE_MUL && w.op != NODE_NEG)
            return n;
        node part[2] = {w.child[0], w.op == NODE_MUL ? w.child[1] : graph_float(g, -1)};
        if (v.op == NODE_GATHER) {
            index_id from[GRAPH_INDICES];
            node to[GRAPH_INDICES];
            unsigned count = v.child_count - 1;
            memcpy(from, v.substituted, count);
            memcpy(to, v.child + 1, count * sizeof *to);
            for (unsigned i = 0; i < 2; i++)
                part[i] = graph_gather(g, part[i], count, from, to);
        }
        bool has[2] = {(graph_view(g, part[0]).free & indices) != 0, (graph_view(g, part[1]).free & indices) != 0};
        if (has[0] == has[1])
            return n;
        *rest = graph_mul(g, *rest, part[has[0]]);
        n     = part[has[1]];
    }
}

/* n = along * the result, where all that has one of the indices is in along. */
static node split_along(graph *g, node n, index_set indices, node *along) {
    factors f = {0};
    node rest = graph_float(g, 1);
    *along    = rest;
    take_factors(g, n, &f);
    for (unsigned i = 0; i < f.count; i++) {
        if (graph_view(g, f.item[i]).free & indices)
            *along = graph_mul(g, *along, peel(g, f.item[i], indices, &rest));
        else
            rest = graph_mul(g, rest, f.item[i]);
    }
    return rest;
}

static vector *vector_along(recurrence *x, unsigned state, node along) {
    for (unsigned i = 0; i < x->vectors; i++)
        if (x->vector[i].state == state && x->vector[i].along == along)
            return &x->vector[i];
    if (x->vectors == MOST_VECTORS)
        return NULL;
    x->vector[x->vectors] = (vector){.state = state, .along = along};
    return &x->vector[x->vectors++];
}

static void add_to(graph *g, node *sum, node more) {
    *sum = *sum ? graph_add(g, *sum, more) : more;
}

/* The indices that k is to have: those that corrections sum over, or readers, where there are none. */
static index_set summed_indices(recurrence *x) {
    index_set summed = 0;
    for (unsigned i = 0; i < x->corrections; i++)
        summed |= contracted(&x->inside, &x->correction[i].read);
    for (size_t k = 0; k < x->reader_count && !x->corrections; k++) {
        linear_form form = {0};
        reads_well(x, x->reader[k], &form);
        for (unsigned i = 0; i < form.count; i++)
            if (form.term[i].kind == TERM_READ)
                summed |= contracted(&x->outside, &form.term[i].read);
    }
    return summed;
}

/* False where there are too many. */
static bool find_vectors(recurrence *x) {
    graph *g         = x->g;
    index_set summed = summed_indices(x);
    node along;
    for (unsigned i = 0; i < x->corrections; i++)
        for (unsigned k = 0; k < x->states; k++) {
            if (!x->correction[i].update[k])
                continue;
            node rest = split_along(g, x->correction[i].update[k], summed, &along);
            vector *v = vector_along(x, k, along);
            if (!v)
                return false;
            add_to(g, &v->times[i], rest);
            v->unknown = true;
        }
    x->unknowns = x->vectors;
    for (unsigned i = 0; i < x->additions; i++) {
        if (is_zero(g, x->addition[i].value))
            continue;
        node rest = split_along(g, x->addition[i].value, summed, &along);
        vector *v = vector_along(x, x->addition[i].state, along);
        if (!v)
            return false;
        add_to(g, &v->value, rest);
    }
    return true;
}

/* Is it worth it? Operations for one position, with those in products of matrices at a fraction. */

static double space(const recurrence *x, index_set set) {
    return (double)graph_space(x->g, set & ~bit(x->time));
}

static unsigned transfers(const recurrence *x) {
    unsigned count = 0;
    for (unsigned k = 0; k < x->states; k++)
        for (unsigned l = 0; l < x->states; l++)
            count += !x->transfer[k][l].none;
    return count;
}

static double token_cost(recurrence *x) {
    double state = space(x, x->outside.indices);
    return state *
           (STORE_COST + 2 * transfers(x) + 2 * x->additions + 4 * x->corrections + 2 * (double)x->reader_count);
}

/* What all decays depend on, besides time. */
static index_set decay_indices(const recurrence *x) {
    index_set set = 0;
    for (unsigned k = 0; k < x->states; k++)
        for (unsigned l = 0; l < x->states; l++)
            for (unsigned i = 0; i < x->transfer[k][l].count; i++)
                set |= graph_view(x->g, x->transfer[k][l].decay[i].at).free;
    return set & ~bit(x->time);
}

/* The indices of x, besides time. */
static index_set value_indices(const recurrence *x, const vector *v) {
    index_set set = v->value ? graph_view(x->g, v->value).free : 0;
    for (unsigned i = 0; i < x->corrections; i++)
        if (v->times[i])
            set |= graph_view(x->g, v->times[i]).free | read_indices(&x->inside, &x->correction[i].read);
    return set & ~bit(x->time);
}

/* Of the sum of `read` with what the vector adds at each earlier position of the chunk. */
static double pair_cost(recurrence *x, const linear_state *s, const state_read *read, const vector *v, double chunk) {
    index_set summed = contracted(s, read), decays = decay_indices(x), value = value_indices(x, v);
    index_set pair = (graph_view(x->g, read->weight).free & ~read->vars) | (graph_view(x->g, v->along).free & ~summed);
    return 2 * chunk * space(x, pair) * space(x, summed) / (decays & summed ? 1 : MATRIX_RATE) +
           2 * chunk * space(x, pair | value) / (decays & ~summed & ~pair ? 1 : MATRIX_RATE) +
           2 * PRODUCT_COST * space(x, pair) / chunk;
}

static double read_cost(recurrence *x, const linear_state *s, const state_read *read, double chunk) {
    double cost = 2 * space(x, x->outside.indices) / MATRIX_RATE;
    for (unsigned i = 0; i < x->vectors; i++)
        cost += pair_cost(x, s, read, &x->vector[i], chunk);
    return cost;
}

static double chunk_cost(recurrence *x, double chunk) {
    double state = space(x, x->outside.indices), cost = 3 * transfers(x) * chunk * space(x, decay_indices(x));
    for (size_t k = 0; k < x->reader_count; k++) {
        linear_form form = {0};
        reads_well(x, x->reader[k], &form);
        for (unsigned i = 0; i < form.count; i++)
            if (form.term[i].kind == TERM_READ)
                cost += read_cost(x, &x->outside, &form.term[i].read, chunk);
    }
    for (unsigned k = 0; k < x->corrections; k++)
        cost += read_cost(x, &x->inside, &x->correction[k].read, chunk) + 4 * state / MATRIX_RATE;
    return cost + 2 * state * x->vectors / MATRIX_RATE + 4 * state * transfers(x) / chunk;
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

/* D in its other forms. */
static void shift_decay(recurrence *x, decay *d, bool same) {
    graph *g    = x->g;
    node before = graph_add(g, graph_index_value(g, x->j), graph_int(g, -1)), last = graph_int(g, x->chunk - 1);
    node first      = graph_pointwise(g, NODE_EQUAL, graph_index_value(g, x->j), graph_int(g, 0), NODE_NONE);
    d->since_before = at_index(g, d->since, x->j, before);
    d->start_before = graph_select(g, first, graph_float(g, same), at_index(g, d->start, x->j, before));
    d->to_end       = at_index(g, d->since, x->j, last);
    d->whole        = at_index(g, d->start, x->j, last);
}

/* Which states does state l move, at last? */
static void find_moved(const recurrence *x, unsigned l, bool moved[MOST_STATES]) {
    for (unsigned k = 0; k < x->states; k++)
        moved[k] = k == l;
    for (unsigned round = 0; round < x->states; round++)
        for (unsigned k = 0; k < x->states; k++)
            for (unsigned m = 0; m < x->states; m++)
                moved[k] |= moved[m] && !x->transfer[k][m].none;
}

/* A column of D, from state l: a scan over the positions of a chunk whose states are those that l moves. With r: since
 * r; without: since the chunk's beginning. */
static void scan_column(recurrence *x, unsigned l, unsigned factor, bool since, const bool moved[MOST_STATES],
                        node result[MOST_STATES]) {
    graph *g       = x->g;
    index_set axes = since ? bit(x->r) : 0;
    node a[MOST_STATES][MOST_STATES], previous[MOST_STATES], init[MOST_STATES], body[MOST_STATES], scan[MOST_STATES];
    unsigned of[MOST_STATES], count = 0;
    for (unsigned k = 0; k < x->states; k++)
        for (unsigned m = 0; m < x->states && moved[k]; m++) {
            const transfer *t = &x->transfer[k][m];
            a[k][m]           = t->none || !moved[m] ? NODE_NONE
                                : t->count > factor  ? placed(x, t->decay[factor].at, x->j, NULL)
                                                     : graph_float(g, 1);
            axes |= a[k][m] ? graph_view(g, a[k][m]).free & ~bit(x->j) : 0;
        }
    uint32_t label = graph_new_scan(g);
    for (unsigned k = 0; k < x->states; k++)
        if (moved[k]) {
            of[count]       = k;
            previous[count] = graph_scan_state(g, label, count, x->j, false, axes, TYPE_FLOAT);
            init[count++]   = graph_float(g, !since && k == l);
        }
    node here = graph_pointwise(g, NODE_EQUAL, graph_index_value(g, x->j), graph_index_value(g, x->r), NODE_NONE);
    for (unsigned i = 0; i < count; i++) {
        body[i] = graph_float(g, 0);
        for (unsigned m = 0; m < count; m++)
            if (a[of[i]][of[m]])
                body[i] = graph_add(g, body[i], graph_mul(g, previous[m], a[of[i]][of[m]]));
        if (since)
            body[i] = graph_select(g, here, graph_float(g, of[i] == l), body[i]);
    }
    graph_scan_group(g, count, previous, init, body, scan);
    for (unsigned i = 0; i < count; i++)
        result[of[i]] = scan[i];
}

static void make_decays(recurrence *x) {
    transfer made[MOST_STATES][MOST_STATES] = {0};
    for (unsigned l = 0; l < x->states; l++) {
        bool moved[MOST_STATES];
        find_moved(x, l, moved);
        unsigned factors = x->states > 1 ? 1 : x->transfer[l][l].count;
        for (unsigned i = 0; i < factors; i++) {
            node since[MOST_STATES], start[MOST_STATES];
            scan_column(x, l, i, true, moved, since);
            scan_column(x, l, i, false, moved, start);
            for (unsigned k = 0; k < x->states; k++) {
                if (!moved[k])
                    continue;
                decay *d = &made[k][l].decay[made[k][l].count++];
                *d       = (decay){.since = since[k], .start = start[k]};
                shift_decay(x, d, k == l);
            }
        }
        for (unsigned k = 0; k < x->states; k++)
            made[k][l].none = !moved[k];
    }
    memcpy(x->transfer, made, sizeof made);
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

/* The part of a read that comes from the states at the chunk's beginning, Z. */
static node read_of_begin(recurrence *x, const state_read *read, const node *begin) {
    node sum = graph_float(x->g, 0);
    for (unsigned l = 0; l < x->states; l++) {
        const transfer *t = &x->transfer[read->state][l];
        factors f         = {0};
        if (t->none)
            continue;
        take_weight(x, read, &f);
        for (unsigned k = 0; k < t->count; k++)
            add_factor(x->g, &f,
                       placed(x, read->before ? t->decay[k].start_before : t->decay[k].start, x->j, &read->at));
        add_factor(x->g, &f, placed(x, begin[l], x->j, &read->at));
        sum = graph_add(x->g, sum, read_sum(x, read, &f));
    }
    return sum;
}

/* In a read at j: what is summed over r, of a vector that was added at r, times `value` there; NODE_NONE: 1. */
static node read_of_vector(recurrence *x, const state_read *read, const vector *v, node value) {
    graph *g          = x->g;
    const transfer *t = &x->transfer[read->state][v->state];
    factors f = {0}, more = {0};
    if (t->none)
        return graph_float(g, 0);
    take_weight(x, read, &f);
    for (unsigned k = 0; k < t->count; k++)
        add_factor(g, &f, placed(x, read->before ? t->decay[k].since_before : t->decay[k].since, x->j, &read->at));
    take_factors(g, placed(x, v->along, x->r, &read->at), &more);
    for (unsigned i = 0; i < more.count; i++)
        add_factor(g, &f, more.item[i]);
    if (value)
        add_factor(g, &f, placed(x, value, x->r, &read->at));
    return read_sum(x, read, &f);
}

/* The part of a read that comes from vectors whose x, at r, is value[]. */
static node read_of_vectors(recurrence *x, const state_read *read, unsigned first, unsigned end, const node *value) {
    graph *g = x->g;
    node sum = graph_float(g, 0), before = less(g, x->r, x->j, !read->before);
    for (unsigned i = first; i < end; i++) {
        node body = read_of_vector(x, read, &x->vector[i], value[i]);
        if (!is_zero(g, body))
            sum = graph_add(g, sum, graph_reduce(g, REDUCE_SUM, bit(x->r), before, body));
    }
    return sum;
}

/* Number k of several at a position, of all that are at all positions, in this order. */
static node member_of(recurrence *x, node all, unsigned k, index_id place) {
    graph *g = x->g;
    return at_index(g, all, x->row, whole(g, graph_index_value(g, place), x->unknowns, graph_int(g, k)));
}

/* The same the other way round: at `of`, part[k], which is at `place`, for the position and the k that `of` stands for.
 */
static node one_of(recurrence *x, const node *part, index_id of, index_id place) {
    graph *g = x->g;
    node at = graph_index_value(g, of), size = graph_int(g, x->unknowns);
    node position_ = graph_div(g, at, size), which = graph_pointwise(g, NODE_MOD, at, size, NODE_NONE);
    node n = NODE_NONE;
    for (unsigned k = 0; k < x->unknowns; k++) {
        node here = at_index(g, part[k], place, position_);
        node is   = graph_pointwise(g, NODE_EQUAL, which, graph_int(g, k), NODE_NONE);
        n         = n ? graph_select(g, is, here, n) : here;
    }
    return n;
}

/* All unknown x, given the states at the chunk's beginning and the known x: those of one position next to each other.
 * None depends on another of its position. */
static node solve_unknowns(recurrence *x, const node *begin, const node *known) {
    graph *g = x->g;
    node right[MOST_VECTORS], row[MOST_VECTORS], p[MOST_CORRECTIONS];
    for (unsigned i = 0; i < x->corrections; i++) {
        const state_read *read = &x->correction[i].read;
        p[i] = graph_add(g, read_of_begin(x, read, begin), read_of_vectors(x, read, x->unknowns, x->vectors, known));
    }
    for (unsigned k = 0; k < x->unknowns; k++) {
        const vector *v = &x->vector[k];
        node column[MOST_VECTORS];
        right[k] = v->value ? placed(x, v->value, x->j, NULL) : graph_float(g, 0);
        for (unsigned m = 0; m < x->unknowns; m++)
            column[m] = graph_float(g, 0);
        for (unsigned i = 0; i < x->corrections; i++) {
            node times = v->times[i] ? placed(x, v->times[i], x->j, NULL) : NODE_NONE;
            if (!times)
                continue;
            right[k] = graph_add(g, right[k], graph_mul(g, times, p[i]));
            for (unsigned m = 0; m < x->unknowns; m++)
                column[m] =
                    graph_add(g, column[m],
                              graph_mul(g, times, read_of_vector(x, &x->correction[i].read, &x->vector[m], NODE_NONE)));
        }
        row[k] = one_of(x, column, x->column, x->r);
    }
    if (x->unknowns == 1)
        return graph_solve(g, x->row, x->column, false, row[0], right[0]);
    node size   = graph_int(g, x->unknowns);
    node before = graph_pointwise(g, NODE_LESS, graph_div(g, graph_index_value(g, x->column), size),
                                  graph_div(g, graph_index_value(g, x->row), size), NODE_NONE);
    node matrix = graph_select(g, before, one_of(x, row, x->row, x->j), graph_float(g, 0));
    return graph_solve(g, x->row, x->column, false, matrix, one_of(x, right, x->row, x->j));
}

/* x of every vector at r, where the unknown ones are `solved`. */
static void values_at(recurrence *x, node solved, node *value) {
    for (unsigned i = 0; i < x->vectors; i++)
        value[i] = i < x->unknowns ? solved ? member_of(x, solved, i, x->r) : NODE_NONE
                                   : placed(x, x->vector[i].value, x->r, NULL);
}

/* What a vector has come to in state k at the chunk's end. */
static node vector_at_end(recurrence *x, unsigned k, const vector *v, node value) {
    graph *g          = x->g;
    const transfer *t = &x->transfer[k][v->state];
    factors f         = {0};
    if (t->none)
        return graph_float(g, 0);
    take_factors(g, placed(x, v->along, x->r, NULL), &f);
    for (unsigned i = 0; i < t->count; i++)
        add_factor(g, &f, t->decay[i].to_end);
    add_factor(g, &f, value);
    return graph_reduce(g, REDUCE_SUM, bit(x->r), NODE_NONE, multiplied(g, graph_float(g, 1), &f, 0, false));
}

/* State k after a chunk, from those before it and all x. */
static node state_after(recurrence *x, unsigned k, const node *begin, const node *value) {
    graph *g  = x->g;
    node next = graph_float(g, 0);
    for (unsigned l = 0; l < x->states; l++) {
        const transfer *t = &x->transfer[k][l];
        node part         = begin[l];
        for (unsigned i = 0; i < t->count && !t->none; i++)
            part = graph_mul(g, t->decay[i].whole, part);
        if (!t->none)
            next = graph_add(g, next, part);
    }
    for (unsigned i = 0; i < x->vectors; i++)
        next = graph_add(g, next, vector_at_end(x, k, &x->vector[i], value[i]));
    return next;
}

/* The scan over chunks. Its states: Z after the chunk, and all unknown x where there are any. */
static void make_scan(recurrence *x) {
    graph *g       = x->g;
    uint32_t label = graph_new_scan(g);
    node previous[MOST_STATES + 1], init[MOST_STATES + 1], body[MOST_STATES + 1], scan[MOST_STATES + 1];
    node value[MOST_VECTORS];
    unsigned count = x->states;
    for (unsigned k = 0; k < x->states; k++) {
        previous[k] = graph_scan_state(g, label, k, x->c, false, x->outside.indices, TYPE_FLOAT);
        init[k]     = graph_scan_init(g, x->scan[k]);
    }
    values_at(x, NODE_NONE, value);
    if (x->unknowns) {
        body[count]     = solve_unknowns(x, previous, value);
        init[count]     = graph_float(g, 0);
        index_set axes  = graph_view(g, body[count]).free & ~bit(x->c);
        previous[count] = graph_scan_state(g, label, count, x->c, false, axes, TYPE_FLOAT);
        values_at(x, body[count], value);
        count++;
    }
    for (unsigned k = 0; k < x->states; k++)
        body[k] = state_after(x, k, previous, value);
    graph_scan_group(g, count, previous, init, body, scan);
    x->solved = x->unknowns ? scan[x->states] : NODE_NONE;
    for (unsigned k = 0; k < x->states; k++)
        x->begin[k] = graph_scan_before(g, scan[k]);
}

/* What a read is, for all positions of a chunk. */
static node read_in_chunk(recurrence *x, const state_read *read) {
    node value[MOST_VECTORS];
    values_at(x, x->solved, value);
    return graph_add(x->g, read_of_begin(x, read, x->begin), read_of_vectors(x, read, 0, x->vectors, value));
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
    if (x->unknowns > 1) {
        x->row    = index_of(x, "row", x->chunk * x->unknowns);
        x->column = index_of(x, "column", x->chunk * x->unknowns);
    }
    return x->c < GRAPH_INDICES && x->j < GRAPH_INDICES && x->r < GRAPH_INDICES && x->row < GRAPH_INDICES &&
           x->column < GRAPH_INDICES;
}

static void rewrite_readers(recurrence *x) {
    graph *g         = x->g;
    uint32_t outputs = graph_output_count(g);
    node *to = enough(calloc(x->reader_count, sizeof *to)), *root = enough(calloc(outputs, sizeof *root));
    graph_because(g, REASON_SPEC, NODE_NONE);
    make_decays(x);
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

static void try_scan(graph *g, uint32_t label, const recurrence_options *options) {
    recurrence x = {.g = g};
    if (recognise(&x, label) && find_readers(&x) && find_vectors(&x)) {
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
        if (graph_scan_node(g, label, 0))
            try_scan(g, label, options);
    }
}
