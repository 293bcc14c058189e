/* The walk: every node that the outputs need, from the leaves upwards, becomes its simplified form once. Scans become
 * scans of the simplified bodies. */
#include "enough.h"
#include "simplify_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *get(size_t count, size_t size) {
    return enough(calloc(count, size));
}

void simplify_fit(simplifier *s) {
    size_t needed = graph_node_count(s->g) + 1;
    if (needed <= s->capacity)
        return;
    size_t count   = needed * 2;
    s->live        = enough_grown(s->live, s->capacity, count, sizeof *s->live);
    s->read_over   = enough_grown(s->read_over, s->capacity, count, sizeof *s->read_over);
    s->tame        = enough_grown(s->tame, s->capacity, count, sizeof *s->tame);
    s->opaque      = enough_grown(s->opaque, s->capacity, count, sizeof *s->opaque);
    s->inhabited   = enough_grown(s->inhabited, s->capacity, count, sizeof *s->inhabited);
    s->bounds      = enough_grown(s->bounds, s->capacity, count, sizeof *s->bounds);
    s->first_known = enough_grown(s->first_known, s->capacity, count, sizeof *s->first_known);
    for (size_t i = s->capacity; i < count; i++)
        s->bounds[i] = (interval){1, 0};
    s->capacity = count;
}

bool simplify_may(simplifier *s, reason why) {
    return !(s->without >> why & 1);
}

void simplify_because(simplifier *s, reason why) {
    if (why == REASON_SPEC)
        simplify_as_before(s);
    else
        graph_because(s->g, why, s->here);
    s->why = why;
}

/* What is only rebuilt keeps the reason of what it was; what the spec says is about the node it was. */
void simplify_as_before(simplifier *s) {
    node about;
    uint16_t why = graph_reason(s->g, s->here, &about);
    graph_because(s->g, why, why == REASON_SPEC && !about ? s->here : about);
    s->why = REASON_SPEC;
}

bool simplify_is_derived(const simplifier *s, node n) {
    node about   = n;
    uint16_t why = graph_reason(s->g, n, &about);
    while (why > REASON_SPEC && why < REASON_REWRITES && about) /* what it was before */
        why = graph_reason(s->g, about, &about);
    return why > REASON_REWRITES;
}

bool simplify_is_single(const simplifier *s, node n) {
    return n >= s->capacity || s->live[n] <= 1;
}

/* Tells the children of n over which indices they are summed, where sums are all that reads them. */
static void note_sums(simplifier *s, node n, node_view v) {
    bool sum     = v.op == NODE_REDUCE && v.reduction == REDUCE_SUM;
    bool product = v.op == NODE_MUL || v.op == NODE_NEG || v.op == NODE_DIV || graph_is_guarded(s->g, n);
    for (unsigned i = 0; i < v.child_count; i++) {
        bool factor = product && !(v.op == NODE_DIV && i == 1) && !(v.op == NODE_SELECT && i != 1);
        s->summed[v.child[i]] |= sum && i == 1 ? v.vars : factor ? s->summed[n] : EVERY_INDEX;
    }
}

/* Marks what is reached and counts who reads it. All states of a scan that is reached are. */
static uint8_t *reach(simplifier *s) {
    graph *g         = s->g;
    uint8_t *reached = get(s->size, 1);
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        reached[graph_output(g, i)->node] = 1;
        s->uses[graph_output(g, i)->node]++;
        s->summed[graph_output(g, i)->node] = EVERY_INDEX;
    }
    for (size_t n = s->size; n-- > 1;) {
        if (!reached[n])
            continue;
        node_view v = graph_view(g, (node)n);
        note_sums(s, (node)n, v);
        for (unsigned i = 0; i < v.child_count; i++)
            reached[v.child[i]] = 1;
        if (v.op == NODE_SCAN)
            for (unsigned k = 0; k < v.child_count / 2; k++)
                reached[graph_scan_node(g, v.scan_label, k)] = 1;
        if (v.op != NODE_SCAN || v.scan_state == 0) /* the states of a scan have the same children */
            for (unsigned i = 0; i < v.child_count; i++)
                s->uses[v.child[i]]++;
    }
    return reached;
}

enum { EXACT = 1, ROUNDED_ALIKE = 2 }; /* simplifier.exact */

/* What is left as it is, because rounding would change more than a digit. Numbers made of indices and constants alone
 * often lie exactly where a step of `int`, `floor` or a comparison is: all that leads to those. And what is compared
 * for equality, or is the largest of some: both sides must go on being rounded alike, down to sums and tensors. */
static uint8_t *keep_exact(const simplifier *s, const uint8_t *reached) {
    graph *g       = s->g;
    uint8_t *data  = get(s->size, 1); /* depends on more than indices */
    uint8_t *exact = get(s->size, 1);
    for (size_t n = 1; n < s->size; n++) {
        node_view v = graph_view(g, (node)n);
        data[n]     = v.op == NODE_TENSOR || v.op == NODE_RANDOM || v.op == NODE_PREVIOUS;
        for (unsigned i = 0; i < v.child_count; i++)
            data[n] |= data[v.child[i]];
    }
    for (size_t n = s->size; n-- > 1;) {
        node_view v  = graph_view(g, (node)n);
        bool steps   = v.op == NODE_TO_INT || v.op == NODE_FLOOR || v.op == NODE_LESS || v.op == NODE_LESS_EQUAL;
        bool extreme = v.op == NODE_REDUCE && (v.reduction == REDUCE_MAX || v.reduction == REDUCE_MIN);
        bool same    = v.op == NODE_EQUAL || graph_selects(v.op) || extreme;
        bool through = graph_op_is_pointwise(v.op) || v.op == NODE_GATHER;
        for (unsigned i = 0; reached[n] && i < v.child_count; i++) {
            node child = v.child[i];
            if (!data[child] && (steps || same || exact[n] & EXACT))
                exact[child] |= EXACT;
            if (same || (through && exact[n] & ROUNDED_ALIKE))
                exact[child] |= ROUNDED_ALIKE;
        }
    }
    for (size_t n = 1; n < s->size; n++) /* a sum at the end of such a chain is free */
        if (exact[n] == ROUNDED_ALIKE && graph_view(g, (node)n).op == NODE_REDUCE)
            exact[n] = 0;
    free(data);
    return exact;
}

/* A scan gets states of its own, once its first leaf is met. */
static node new_leaf(simplifier *s, node leaf) {
    graph *g       = s->g;
    node_view v    = graph_view(g, leaf);
    uint32_t label = graph_new_scan(g);
    for (unsigned k = 0; k < graph_scan_states(g, v.scan_label); k++) {
        node old    = graph_scan_leaf(g, v.scan_label, k);
        node_view p = graph_view(g, old);
        s->memo[old] =
            graph_scan_state(g, label, k, p.scan_index, p.reverse, p.free & ~simplify_bit(p.scan_index), p.type);
    }
    return s->memo[leaf];
}

static node close_scan(simplifier *s, node n) {
    graph *g        = s->g;
    node_view v     = graph_view(g, n);
    unsigned states = v.child_count / 2;
    node *part = get(4 * (size_t)states, sizeof *part), *leaf = part, *init = part + states, *body = init + states,
         *scan = body + states;
    for (unsigned k = 0; k < states; k++) {
        node old = graph_scan_leaf(g, v.scan_label, k), here = graph_scan_node(g, v.scan_label, k);
        if (!s->memo[old]) /* a state that no body reads */
            new_leaf(s, old);
        leaf[k] = s->memo[old];
        init[k] = s->memo[graph_scan_init(g, here)];
        body[k] = s->memo[graph_scan_body(g, here)];
    }
    graph_scan_group(g, states, leaf, init, body, scan);
    for (unsigned k = 0; k < states; k++)
        s->memo[graph_scan_node(g, v.scan_label, k)] = scan[k];
    free(part);
    return s->memo[n];
}

/* Under a condition the same condition holds. */
static node branch_under(const simplifier *s, node condition, bool holds, node branch) {
    node_view v = graph_view(s->g, branch);
    while (v.op == NODE_SELECT && v.child[0] == condition) {
        branch = v.child[holds ? 1 : 2];
        v      = graph_view(s->g, branch);
    }
    return branch;
}

static node visit_select(simplifier *s, node condition, node then, node otherwise) {
    node b = branch_under(s, condition, true, then), c = branch_under(s, condition, false, otherwise);
    if ((b == then && c == otherwise) || !simplify_may(s, REWRITE_nested_conditions))
        return graph_select(s->g, condition, then, otherwise);
    simplify_because(s, REWRITE_nested_conditions);
    return graph_select(s->g, condition, b, c);
}

/* A product of nodes that are in their final form. */
static node visit_product(simplifier *s, node n, node plain) {
    product p;
    s->merged_powers = s->merged_exponentials = false;
    s->shared_stay                            = STAY_PRODUCTS;
    bool fits                                 = graph_view(s->g, n).type == TYPE_FLOAT && product_of(s, plain, &p);
    s->shared_stay                            = STAY_NONE;
    if (!fits)
        return plain;
    simplify_because(s, s->merged_exponentials                  ? REWRITE_exponentials
                        : s->merged_powers                      ? REWRITE_powers
                        : simplify_may(s, REWRITE_narrow_first) ? REWRITE_narrow_first
                                                                : REASON_SPEC);
    return product_build(s, &p);
}

static node visit_any(simplifier *s, index_set vars, node domain, node body) {
    node both[2] = {domain, body};
    if (simplify_may(s, REWRITE_inhabited) && bounds_inhabited(s, vars, both, 2, NULL, 0)) {
        simplify_because(s, REWRITE_inhabited);
        return graph_bool(s->g, true);
    }
    return graph_reduce(s->g, REDUCE_ANY, vars, domain, body);
}

enum { RENAMED_NODES = 64 };

/* The body where index `from` is called `to`, as far down as operations are pointwise and nobody else reads them;
 * NODE_NONE where they are many. */
static node renamed(simplifier *s, node body, index_id from, node to, unsigned *count) {
    graph *g      = s->g;
    node_view v   = graph_view(g, body);
    node child[3] = {NODE_NONE, NODE_NONE, NODE_NONE};
    if (!(v.free >> from & 1))
        return body;
    if (!graph_op_is_pointwise(v.op) || !simplify_is_single(s, body))
        return graph_gather(g, body, 1, &from, &to);
    if (++*count > RENAMED_NODES)
        return NODE_NONE;
    memcpy(child, v.child, v.child_count * sizeof *child);
    for (unsigned k = 0; k < v.child_count; k++)
        if (!(child[k] = renamed(s, child[k], from, to, count)))
            return NODE_NONE;
    return graph_pointwise(g, v.op, child[0], child[1], child[2]);
}

/* A gather that only gives an index another name goes down to what is not pointwise, where it meets others like it. */
static node visit_gather(simplifier *s, node n, const node *child) {
    graph *g    = s->g;
    node_view v = graph_view(g, n);
    index_id substituted[GRAPH_INDICES];
    unsigned count = v.child_count - 1, steps = 0;
    memcpy(substituted, v.substituted, count);
    node_view to = graph_view(g, child[1]);
    bool renames = !s->exact[n] && count == 1 && to.op == NODE_INDEX && s->uses[v.child[0]] == 1 &&
                   graph_index_extent(g, substituted[0]) == graph_space(g, to.vars);
    if (renames && simplify_may(s, REWRITE_renaming)) {
        simplify_because(s, REWRITE_renaming);
        node result = renamed(s, child[0], substituted[0], child[1], &steps);
        if (result)
            return result;
        simplify_as_before(s);
    }
    return graph_gather(g, child[0], count, substituted, child + 1);
}

static node visit(simplifier *s, node n) {
    graph *g    = s->g;
    node_view v = graph_view(g, n);
    node child[GRAPH_INDICES + 1];
    if (!v.child_count)
        return v.op == NODE_PREVIOUS ? new_leaf(s, n) : n;
    if (v.op == NODE_SCAN)
        return close_scan(s, n);
    for (unsigned i = 0; i < v.child_count; i++)
        child[i] = s->memo[v.child[i]];
    switch (v.op) {
    case NODE_REDUCE:
        if (v.reduction == REDUCE_SUM && v.type == TYPE_FLOAT && !s->exact[n])
            return simplify_sum(s, v.vars, child[0], child[1]);
        return v.reduction == REDUCE_ANY ? visit_any(s, v.vars, child[0], child[1])
                                         : graph_reduce(g, v.reduction, v.vars, child[0], child[1]);
    case NODE_GATHER:
        return visit_gather(s, n, child);
    case NODE_TOPK:
        return graph_topk(g, v.scan_index, child[0], child[1], v.integer);
    case NODE_SOLVE:
        return graph_solve(g, v.scan_index, graph_solve_column(g, n), v.reverse, child[0], child[1]);
    case NODE_CHOSEN:
        return graph_chosen(g, v.scan_index, (index_id)__builtin_ctzll(v.vars), child[0], child[1]);
    case NODE_ADD:
    case NODE_SUB:
        if (v.type == TYPE_FLOAT && !s->exact[n])
            return simplify_add(s, n);
        break;
    case NODE_SELECT: {
        node plain = visit_select(s, child[0], child[1], child[2]);
        return !s->exact[n] && graph_is_guarded(g, plain) ? visit_product(s, n, plain) : plain;
    }
    default:
        break;
    }
    double divisor;
    if (s->exact[n] == ROUNDED_ALIKE && v.op == NODE_DIV && v.type == TYPE_FLOAT &&
        graph_is_constant(g, child[1], &divisor) && isfinite(1 / divisor))
        return graph_mul(g, child[0], graph_float(g, 1 / divisor));
    node plain = graph_pointwise(g, v.op, child[0], v.child_count > 1 ? child[1] : NODE_NONE,
                                 v.child_count > 2 ? child[2] : NODE_NONE);
    bool zero  = is_value(g, child[0], 0) || (v.op == NODE_MUL && is_value(g, child[1], 0));
    if ((v.op == NODE_MUL || v.op == NODE_DIV) && v.type == TYPE_FLOAT && zero && simplify_is_derived(s, n) &&
        simplify_may(s, REWRITE_cancel))
        return graph_float(g, 0);
    if (!s->exact[n] && (v.op == NODE_MUL || v.op == NODE_DIV || v.op == NODE_NEG || v.op == NODE_EXP))
        return visit_product(s, n, plain);
    return plain;
}

/* Who reads n reads the factors that it is made of. */
static void note_readers(simplifier *s, node n, uint32_t readers, index_set summed) {
    node_view v = graph_view(s->g, n);
    if (s->live[n] >= readers && !(summed & ~s->read_over[n]))
        return;
    s->live[n] = s->live[n] > readers ? s->live[n] : readers;
    s->read_over[n] |= summed;
    if (v.type != TYPE_FLOAT)
        return;
    if (v.op == NODE_MUL || v.op == NODE_DIV || v.op == NODE_NEG)
        for (unsigned i = 0; i < v.child_count; i++)
            note_readers(s, v.child[i], readers, v.op == NODE_DIV && i == 1 ? EVERY_INDEX : summed);
    else if (v.op == NODE_SELECT && graph_is_guarded(s->g, n))
        note_readers(s, v.child[1], readers, summed);
}

static void walk(simplifier *s) {
    uint8_t *reached = reach(s);
    s->exact         = keep_exact(s, reached);
    for (size_t n = 1; n < s->size; n++) {
        if (!reached[n] || s->memo[n])
            continue;
        s->here = (node)n;
        simplify_as_before(s);
        s->memo[n] = visit(s, (node)n);
        assert(!(graph_view(s->g, s->memo[n]).free & ~graph_view(s->g, (node)n).free));
        simplify_fit(s);
        note_readers(s, s->memo[n], s->uses[n], s->summed[n]);
        if (graph_node_name(s->g, (node)n))
            graph_name_node(s->g, s->memo[n], graph_node_name(s->g, (node)n));
    }
    free(reached);
}

static void simplify_once(graph *g, const simplify_options *options) {
    simplifier s = {.g = g, .without = options ? options->without : 0, .size = graph_node_count(g) + 1};
    s.memo       = get(s.size, sizeof *s.memo);
    s.uses       = get(s.size, sizeof *s.uses);
    s.summed     = get(s.size, sizeof *s.summed);
    simplify_fit(&s);
    walk(&s);
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        graph_set_output_node(g, i, s.memo[graph_output(g, i)->node]);
    graph_because(g, REASON_SPEC, NODE_NONE);
    free(s.memo);
    free(s.uses);
    free(s.summed);
    free(s.exact);
    free(s.live);
    free(s.read_over);
    free(s.tame);
    free(s.opaque);
    free(s.inhabited);
    free(s.bounds);
    free(s.first_known);
    free(s.known);
}

void simplify_outputs(graph *g, const simplify_options *options) {
    enum { PASSES = 2 }; /* what the first leaves without a second reader, the second takes apart */
    for (int i = 0; i < PASSES; i++)
        simplify_once(g, options);
}
