/* Which recurrences go in chunks: recognised, with what reads them, and their costs. recurrence_chunk.c says what
 * becomes of them. */
#include "enough.h"
#include "recurrence_internal.h"

enum {
    LEAST_CHUNK  = 16,
    MOST_CHUNK   = 128,
    MATRIX_RATE  = 8,
    PRODUCT_COST = 4000, /* of a call of the library */
    STORE_COST   = 8     /* of a state that is kept for every position: written, and read by what reads it */
};

/* Is it one? */

static bool refuse(recurrence *x, const char *why, node by) {
    x->refused    = why;
    x->refused_by = by;
    return false;
}

/* a, from state l to state k. Where there is one state only, its factors have products of their own. */
static bool take_decay(recurrence *x, unsigned k, unsigned l, node a) {
    transfer *t = &x->transfer[k][l];
    factors f   = {0};
    if (graph_view(x->g, a).free & ~x->inside.indices & ~recurrence_bit(x->time))
        return false;
    if (x->states == 1)
        factors_of(x->g, a, &f);
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
    return summed && !(has & summed) && !(has & ~of & ~recurrence_bit(x->time)) &&
           ((has ^ read_indices(&x->inside, &x->correction[0].read)) & ~recurrence_bit(x->time)) == 0;
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
    if (!linear_form_of(&x->inside, graph_scan_body(x->g, x->scan[k]), &form))
        return refuse(x, "this is not linear in the state", x->inside.stuck);
    for (unsigned i = 0; i < form.count; i++) {
        const linear_term *t = &form.term[i];
        if (t->kind == TERM_CONSTANT && x->additions < MOST_TERMS)
            x->addition[x->additions++] = (addition){k, t->coefficient};
        else if (t->kind == TERM_STATE && (t->read.at.count || !take_decay(x, k, t->read.state, t->coefficient)))
            return refuse(x, "its step moves the state along an index", t->coefficient);
        else if (t->kind == TERM_READ && !take_correction(x, k, t))
            return refuse(
                x, "a sum over the state that its step takes has the index that it sums over: no update of low rank",
                t->read.weight);
        else if (t->kind == TERM_CONSTANT && x->additions == MOST_TERMS)
            return refuse(x, "its step adds too much", t->coefficient);
    }
    return true;
}

static bool recognise(recurrence *x, uint32_t label) {
    graph *g    = x->g;
    node_view v = graph_view(g, graph_scan_node(g, label, 0));
    x->states   = graph_scan_states(g, label);
    x->time     = v.scan_index;
    x->reverse  = v.reverse;
    x->length   = graph_index_extent(g, x->time);
    for (unsigned k = 0; k < x->states && k < MOST_STATES; k++)
        x->scan[k] = graph_scan_node(g, label, k);
    if (x->states > MOST_STATES)
        return refuse(x, "it has too many states", NODE_NONE);
    x->inside = x->outside = (linear_state){.g = g, .states = x->states, .indices = v.free & ~recurrence_bit(x->time)};
    for (unsigned k = 0; k < x->states; k++) {
        node scan           = graph_scan_node(g, label, k);
        x->inside.before[k] = graph_scan_leaf(g, label, k);
        x->outside.after[k] = scan;
        if (graph_view(g, scan).type != TYPE_FLOAT || graph_view(g, scan).free != v.free)
            return refuse(x, "its states are not real numbers with the same indices", scan);
        if (graph_is_open(g, scan))
            return refuse(x, "it stands inside another recurrence", NODE_NONE);
        for (unsigned l = 0; l < x->states; l++)
            x->transfer[k][l].none = true;
    }
    bool ok = true, moves = false;
    for (unsigned k = 0; k < x->states && ok; k++) {
        ok = take_body(x, k);
        moves |= !x->transfer[k][k].none;
    }
    return ok && (moves || refuse(x, "a step keeps nothing of the state", NODE_NONE));
}

/* Who reads it? */

static void visit(recurrence *x, node n, node reader);

static void visit_form(recurrence *x, const linear_form *form, node reader) {
    for (unsigned i = 0; i < form->count; i++) {
        visit(x, form->term[i].coefficient, reader);
        if (form->term[i].kind == TERM_READ) {
            visit(x, form->term[i].read.weight, reader);
            if (form->term[i].read.domain)
                visit(x, form->term[i].read.domain, reader);
        }
    }
}

/* Sums that take nothing of the states but what they sum over, and take it themselves: a sum of such sums reads these.
 */
bool recurrence_reads(recurrence *x, node n, linear_form *form) {
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

static void visit(recurrence *x, node n, node reader) {
    if (x->refused || !linear_depends(&x->outside, n) || node_map_find(&x->met, n))
        return;
    node_map_enter(&x->met, n);
    linear_form form = {0};
    bool state       = false;
    for (unsigned k = 0; k < x->states; k++)
        state |= n == x->scan[k] || n == x->outside.before[k];
    if (state) {
        refuse(x, reader ? "this reads the state element by element" : "it is itself a result", reader);
    } else if (recurrence_reads(x, n, &form)) {
        if (x->reader_count == x->reader_room) {
            size_t more    = x->reader_room ? 2 * x->reader_room : 8;
            x->reader      = enough_grown(x->reader, x->reader_room, more, sizeof *x->reader);
            x->reader_room = more;
        }
        x->reader[x->reader_count++] = n;
        visit_form(x, &form, n);
    } else {
        unsigned count = graph_view(x->g, n).child_count;
        for (unsigned i = 0; i < count; i++)
            visit(x, graph_view(x->g, n).child[i], n);
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
        visit(x, graph_output(x->g, i)->node, NODE_NONE);
    return !x->refused && (x->reader_count > 0 || refuse(x, "nothing reads it", NODE_NONE));
}

/* k and x */

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
        recurrence_reads(x, x->reader[k], &form);
        for (unsigned i = 0; i < form.count; i++)
            if (form.term[i].kind == TERM_READ)
                summed |= contracted(&x->outside, &form.term[i].read);
    }
    return summed;
}

static bool find_vectors(recurrence *x) {
    graph *g         = x->g;
    index_set summed = summed_indices(x);
    node along;
    for (unsigned i = 0; i < x->corrections; i++)
        for (unsigned k = 0; k < x->states; k++) {
            if (!x->correction[i].update[k])
                continue;
            node rest = factors_split(g, x->correction[i].update[k], summed, &along);
            vector *v = vector_along(x, k, along);
            if (!v)
                return refuse(x, "its step adds too much", x->correction[i].update[k]);
            add_to(g, &v->times[i], rest);
        }
    x->unknowns = x->vectors;
    for (unsigned i = 0; i < x->additions; i++) {
        if (recurrence_is_zero(g, x->addition[i].value))
            continue;
        node rest = factors_split(g, x->addition[i].value, summed, &along);
        vector *v = vector_along(x, x->addition[i].state, along);
        if (!v)
            return refuse(x, "its step adds too much", x->addition[i].value);
        add_to(g, &v->value, rest);
    }
    return true;
}

/* Is it worth it? Operations for one position, with those in products of matrices at a fraction. */

static double space(const recurrence *x, index_set set) {
    return (double)graph_space(x->g, set & ~recurrence_bit(x->time));
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
    return set & ~recurrence_bit(x->time);
}

/* The indices of x, besides time. */
static index_set value_indices(const recurrence *x, const vector *v) {
    index_set set = v->value ? graph_view(x->g, v->value).free : 0;
    for (unsigned i = 0; i < x->corrections; i++)
        if (v->times[i])
            set |= graph_view(x->g, v->times[i]).free | read_indices(&x->inside, &x->correction[i].read);
    return set & ~recurrence_bit(x->time);
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

/* Of all products of decays. */
static double decay_cost(const recurrence *x, double chunk) {
    double cost = 0;
    for (unsigned k = 0; k < x->states; k++)
        for (unsigned l = 0; l < x->states; l++)
            for (unsigned i = 0; i < x->transfer[k][l].count; i++)
                cost += 3 * chunk * space(x, graph_view(x->g, x->transfer[k][l].decay[i].at).free);
    return cost;
}

static double chunk_cost(recurrence *x, double chunk) {
    double state = space(x, x->outside.indices), cost = decay_cost(x, chunk);
    for (size_t k = 0; k < x->reader_count; k++) {
        linear_form form = {0};
        recurrence_reads(x, x->reader[k], &form);
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

/* For each node what reads it other than inside a sum, on a way on which a value stays linear in it: then no sum reads
 * it instead. NODE_NONE: nothing does. A node that is itself a result, or that no result needs, stands for itself.
 * Found for all at once, in one walk from the results down; a look at one scan walks through all that is above it. */
static node *find_bare(const graph *g) {
    node count     = (node)graph_node_count(g);
    node *bare     = enough(calloc((size_t)count + 1, sizeof *bare));
    uint8_t *needs = enough(calloc((size_t)count + 1, 1));
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        node n   = graph_output(g, i)->node;
        bare[n]  = n;
        needs[n] = 1;
    }
    for (node n = count; n > 0; n--) {
        node_view v = graph_view(g, n);
        if (!needs[n]) {
            bare[n] = n;
            continue;
        }
        bool passes = v.op == NODE_ADD || v.op == NODE_SUB || v.op == NODE_NEG || v.op == NODE_MUL ||
                      v.op == NODE_DIV || v.op == NODE_SELECT || v.op == NODE_GATHER;
        bool sums = v.op == NODE_REDUCE && v.reduction == REDUCE_SUM;
        for (unsigned i = 0; i < v.child_count; i++) {
            needs[v.child[i]] = 1;
            if (!sums && !(passes && !bare[n]) && !bare[v.child[i]])
                bare[v.child[i]] = n;
        }
    }
    free(needs);
    return bare;
}

static bool is_result(const graph *g, node n) {
    bool found = false;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        found |= graph_output(g, i)->node == n;
    return found;
}

static bool is_read_in_sums(recurrence *x, const node *bare) {
    for (unsigned k = 0; k < x->states; k++) {
        node by = bare[x->scan[k]];
        if (is_result(x->g, x->scan[k]))
            return refuse(x, "it is itself a result", NODE_NONE);
        if (by && by != x->scan[k])
            return refuse(x, "this reads the state element by element", by);
    }
    return true;
}

static bool is_needed(const graph *g, uint32_t label, const node *bare) {
    bool needed = false;
    for (unsigned k = 0; k < graph_scan_states(g, label); k++) {
        node scan = graph_scan_node(g, label, k);
        needed |= bare[scan] != scan || is_result(g, scan);
    }
    return needed;
}

static void try_scan(graph *g, uint32_t label, const node *bare, const recurrence_options *options) {
    recurrence x = {.g = g};
    if (recognise(&x, label) && is_read_in_sums(&x, bare) && find_readers(&x) && find_vectors(&x)) {
        x.chunk = choose_chunk(&x, options->chunk);
        if (!x.chunk)
            refuse(&x, "that takes less time", NODE_NONE);
        else if (!recurrence_rewrite(&x))
            refuse(&x, "a graph has no room for more indices", NODE_NONE);
    }
    recurrence_note(&x);
    node_map_free(&x.inside.depends);
    node_map_free(&x.outside.depends);
    node_map_free(&x.met);
    free(x.reader);
}

void recurrence_by_chunks(graph *g, const recurrence_options *options) {
    static const recurrence_options by_cost;
    options    = options ? options : &by_cost;
    node *bare = find_bare(g);
    /* from the last on: those that it reads are still what they were */
    for (uint32_t label = graph_scan_labels(g); label > 0 && !options->never; label--)
        if (graph_scan_node(g, label, 0) && is_needed(g, label, bare))
            try_scan(g, label, bare, options);
    free(bare);
}
