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
    if (free_ & recurrence_bit(x->time)) {
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
    return graph_view(g, n).free & recurrence_bit(i) ? graph_gather(g, n, 1, &i, &value) : n;
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
    index_set axes = since ? recurrence_bit(x->r) : 0;
    node a[MOST_STATES][MOST_STATES], previous[MOST_STATES], init[MOST_STATES], body[MOST_STATES], scan[MOST_STATES];
    unsigned of[MOST_STATES], count = 0;
    for (unsigned k = 0; k < x->states; k++)
        for (unsigned m = 0; m < x->states && moved[k]; m++) {
            const transfer *t = &x->transfer[k][m];
            a[k][m]           = t->none || !moved[m] ? NODE_NONE
                                : t->count > factor  ? placed(x, t->decay[factor].at, x->j, NULL)
                                                     : graph_float(g, 1);
            axes |= a[k][m] ? graph_view(g, a[k][m]).free & ~recurrence_bit(x->j) : 0;
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
                *d       = (decay){.at = x->transfer[k][l].decay[i].at, .since = since[k], .start = start[k]};
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
    graph *g    = x->g;
    node domain = read->domain ? placed(x, read->domain, x->j, NULL) : NODE_NONE;
    node inside = factors_times(g, graph_float(g, 1), f, read->vars, true);
    return factors_times(g, graph_reduce(g, REDUCE_SUM, read->vars, domain, inside), f, read->vars, false);
}

static void take_weight(recurrence *x, const state_read *read, factors *f) {
    factors_of(x->g, placed(x, read->weight, x->j, NULL), f);
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
            factors_add(x->g, &f,
                        placed(x, read->before ? t->decay[k].start_before : t->decay[k].start, x->j, &read->at));
        factors_add(x->g, &f, placed(x, begin[l], x->j, &read->at));
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
        factors_add(g, &f, placed(x, read->before ? t->decay[k].since_before : t->decay[k].since, x->j, &read->at));
    factors_of(g, placed(x, v->along, x->r, &read->at), &more);
    for (unsigned i = 0; i < more.count; i++)
        factors_add(g, &f, more.item[i]);
    if (value)
        factors_add(g, &f, placed(x, value, x->r, &read->at));
    return read_sum(x, read, &f);
}

/* The part of a read that comes from vectors whose x, at r, is value[]. */
static node read_of_vectors(recurrence *x, const state_read *read, unsigned first, unsigned end, const node *value) {
    graph *g = x->g;
    node sum = graph_float(g, 0), before = less(g, x->r, x->j, !read->before);
    for (unsigned i = first; i < end; i++) {
        node body = read_of_vector(x, read, &x->vector[i], value[i]);
        if (!recurrence_is_zero(g, body))
            sum = graph_add(g, sum, graph_reduce(g, REDUCE_SUM, recurrence_bit(x->r), before, body));
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
    factors_of(g, placed(x, v->along, x->r, NULL), &f);
    for (unsigned i = 0; i < t->count; i++)
        factors_add(g, &f, t->decay[i].to_end);
    factors_add(g, &f, value);
    return graph_reduce(g, REDUCE_SUM, recurrence_bit(x->r), NODE_NONE,
                        factors_times(g, graph_float(g, 1), &f, 0, false));
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
        index_set axes  = graph_view(g, body[count]).free & ~recurrence_bit(x->c);
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
    bool both        = (free_ & recurrence_bit(x->c)) && (free_ & recurrence_bit(x->j));
    return both ? graph_gather(g, n, 2, from, to) : at_index(g, at_index(g, n, x->c, to[0]), x->j, to[1]);
}

static node reader_in_chunks(recurrence *x, node reader) {
    graph *g         = x->g;
    linear_form form = {0};
    recurrence_reads(x, reader, &form);
    node sum = graph_float(g, 0);
    for (unsigned i = 0; i < form.count; i++) {
        const linear_term *t = &form.term[i];
        node part            = t->coefficient;
        if (t->kind == TERM_READ) { /* a sum over positions too is one of what is read at each */
            state_read read = t->read;
            read.vars &= ~recurrence_bit(x->time);
            node value = by_position(x, read_in_chunk(x, &read));
            if (read.vars != t->read.vars)
                value = graph_reduce(g, REDUCE_SUM, recurrence_bit(x->time), NODE_NONE, value);
            part = graph_mul(g, part, value);
        }
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

bool recurrence_rewrite(recurrence *x) {
    graph *g         = x->g;
    uint32_t outputs = graph_output_count(g);
    if (!make_indices(x))
        return false;
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
    return true;
}
