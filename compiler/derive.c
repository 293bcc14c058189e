/* Reverse mode. Nodes are taken from the loss downwards (children have lower handles), each passes its adjoint on to
 * its children by the rule of its kind. A contribution to a child is summed over exactly the indices that the node has
 * free and the child has not. Griewank & Walther 2008, "Evaluating Derivatives", chapter 3; the rules for reductions
 * and gathers are transposes of what the nodes do. */
#include "derive_internal.h"
#include "enough.h"
#include "prove.h"
#include "rewrite.h"

#include <stdlib.h>
#include <string.h>

void *derive_allocate(size_t count, size_t size) {
    return enough(calloc(count ? count : 1, size));
}

void derive_because(derivation *d, reason why, node about) {
    d->why   = why;
    d->about = about;
    graph_because(d->g, (uint16_t)why, about);
}

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

static node zero(graph *g) {
    return graph_float(g, 0);
}

enum { MAX_CONJUNCTS = 16 };

/* The conditions that `condition` is the conjunction of, appended to `list`; false where they are too many. */
static bool conjuncts(const graph *g, node condition, node *list, unsigned *count) {
    node_view v = graph_view(g, condition);
    if (v.op == NODE_AND)
        return conjuncts(g, v.child[0], list, count) && conjuncts(g, v.child[1], list, count);
    if (*count == MAX_CONJUNCTS)
        return false;
    list[(*count)++] = condition;
    return true;
}

static bool among(node n, const node *list, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (list[i] == n)
            return true;
    return false;
}

/* n under what is left of its conditions when those `common` to both are taken away. */
static node under_the_rest(graph *g, const node *all, unsigned count, const node *common, unsigned common_count,
                           node n) {
    node rest = NODE_NONE;
    for (unsigned i = 0; i < count; i++)
        if (!among(all[i], common, common_count))
            rest = rest ? graph_and(g, rest, all[i]) : all[i];
    return rest ? graph_select(g, rest, n, zero(g)) : n;
}

/* a + b. Conditions outside which both are 0 stay outermost, for `times`. */
static node plus(graph *g, node a, node b) {
    if (!graph_is_guarded(g, a) || !graph_is_guarded(g, b))
        return graph_add(g, a, b);
    node_view v = graph_view(g, a), w = graph_view(g, b);
    node a1 = v.child[1], b1 = w.child[1];
    node of_a[MAX_CONJUNCTS], of_b[MAX_CONJUNCTS], common[MAX_CONJUNCTS];
    unsigned count_a = 0, count_b = 0, count = 0;
    if (!conjuncts(g, v.child[0], of_a, &count_a) || !conjuncts(g, w.child[0], of_b, &count_b))
        return graph_add(g, a, b);
    node shared = NODE_NONE;
    for (unsigned i = 0; i < count_a; i++)
        if (among(of_a[i], of_b, count_b) && !among(of_a[i], common, count)) {
            common[count++] = of_a[i];
            shared          = shared ? graph_and(g, shared, of_a[i]) : of_a[i];
        }
    if (!shared && graph_view(g, of_a[0]).op == NODE_REDUCE && graph_view(g, of_b[0]).op == NODE_REDUCE) {
        /* of contribute_where: sums over what may be nothing */
        node either = graph_pointwise(g, NODE_OR, v.child[0], w.child[0], NODE_NONE);
        return graph_select(g, either, graph_add(g, a, b), zero(g));
    }
    if (!shared)
        return graph_add(g, a, b);
    a1 = under_the_rest(g, of_a, count_a, common, count, a1);
    b1 = under_the_rest(g, of_b, count_b, common, count, b1);
    return graph_select(g, shared, plus(g, a1, b1), zero(g));
}

static bool is_active(const derivation *d, node n) {
    return n >= d->from && n < d->size && d->active[n - d->from];
}

node *derive_adjoint(const derivation *d, node n) {
    return &d->adjoint[n - d->from];
}

bool derive_wanted(const derivation *d, node n) {
    if (graph_view(d->g, n).type != TYPE_FLOAT)
        return false;
    for (; d; d = d->outside ? d->outer : NULL)
        if (is_active(d, n))
            return true;
    return false;
}

/* `c` over the free indices of z is a part of the adjoint of n. */
void derive_contribute(derivation *d, node n, node c, index_set z) {
    if (!derive_wanted(d, n))
        return;
    bool here = is_active(d, n);
    node *sum = here ? derive_adjoint(d, n) : &node_map_enter(d->outside, n)->value;
    graph_because(d->g, here ? DERIVE_repeat : DERIVE_outside, n);
    c = graph_reduce(d->g, REDUCE_SUM, z & ~graph_view(d->g, n).free, NODE_NONE, c);
    graph_because(d->g, DERIVE_accumulate, n);
    *sum = *sum ? plus(d->g, *sum, c) : c;
    derive_because(d, d->why, d->about);
}

/* bar op other, a product or a quotient. Where bar is 0 by a condition the other must not matter, even if it is
 * infinite there (the exponential of a score that a mask excludes): the condition stays outermost. */
static node combine(graph *g, node_op op, node bar, node other) {
    node_view v = graph_view(g, bar);
    if (!graph_is_guarded(g, bar))
        return graph_pointwise(g, op, bar, other, NODE_NONE);
    node condition = v.child[0];
    return graph_select(g, condition, graph_pointwise(g, op, v.child[1], other, NODE_NONE), zero(g));
}

static node times(graph *g, node bar, node factor) {
    return combine(g, NODE_MUL, bar, factor);
}

static node divided(graph *g, node bar, node divisor) {
    return combine(g, NODE_DIV, bar, divisor);
}

static node negated(graph *g, node bar) {
    return times(g, bar, graph_float(g, -1));
}

static node greater(graph *g, node a, node b) {
    return graph_pointwise(g, NODE_LESS, b, a, NODE_NONE);
}

static node square(graph *g, node a) {
    return graph_mul(g, a, a);
}

static node unary(graph *g, node_op op, node a) {
    return graph_pointwise(g, op, a, NODE_NONE, NODE_NONE);
}

/* REASON_SPEC: the rule makes no nodes, or there is none. */
static reason reason_of(node_op op) {
    static const reason of[NODE_REDUCE] = {
        [NODE_SUB] = DERIVE_sub,      [NODE_NEG] = DERIVE_neg,     [NODE_MUL] = DERIVE_mul,   [NODE_DIV] = DERIVE_div,
        [NODE_MINIMUM] = DERIVE_min,  [NODE_MAXIMUM] = DERIVE_max, [NODE_POW] = DERIVE_pow,   [NODE_EXP] = DERIVE_exp,
        [NODE_LOG] = DERIVE_log,      [NODE_LOG1P] = DERIVE_log1p, [NODE_SQRT] = DERIVE_sqrt, [NODE_SIN] = DERIVE_sin,
        [NODE_COS] = DERIVE_cos,      [NODE_TANH] = DERIVE_tanh,   [NODE_ERF] = DERIVE_erf,   [NODE_ABS] = DERIVE_abs,
        [NODE_SELECT] = DERIVE_select};
    return of[op];
}

/* bar where the condition holds is a part of the adjoint of n, summed from the indices `over`. Where n lacks an index
 * of the condition, that the condition holds somewhere stays outermost, for `times`: the sum alone would not say so. */
static void contribute_where(derivation *d, node n, node condition, node bar, index_set over) {
    graph *g           = d->g;
    node part          = graph_select(g, condition, bar, zero(g));
    index_set repeated = over & graph_view(g, condition).free & ~graph_view(g, n).free;
    if (repeated && derive_wanted(d, n)) {
        node some = graph_reduce(g, REDUCE_ANY, repeated, NODE_NONE, condition);
        part      = graph_select(g, some, graph_reduce(g, REDUCE_SUM, repeated, NODE_NONE, part), zero(g));
        over &= ~repeated;
    }
    derive_contribute(d, n, part, over);
}

static void pointwise_rule(derivation *d, node z, node bar) {
    graph *g       = d->g;
    node_view v    = graph_view(g, z);
    index_set free = v.free;
    node a = v.child[0], b = v.child_count > 1 ? v.child[1] : NODE_NONE, c = v.child_count > 2 ? v.child[2] : NODE_NONE;
    derive_because(d, reason_of(v.op), z);
    switch (v.op) {
    case NODE_ADD:
        derive_contribute(d, a, bar, free);
        derive_contribute(d, b, bar, free);
        break;
    case NODE_SUB:
        derive_contribute(d, a, bar, free);
        derive_contribute(d, b, negated(g, bar), free);
        break;
    case NODE_MUL:
        derive_contribute(d, a, times(g, bar, b), free);
        derive_contribute(d, b, times(g, bar, a), free);
        break;
    case NODE_DIV:
        if (derive_wanted(d, a))
            derive_contribute(d, a, divided(g, bar, b), free);
        if (derive_wanted(d, b))
            derive_contribute(d, b, negated(g, divided(g, times(g, bar, z), b)), free);
        break;
    case NODE_NEG:
        derive_contribute(d, a, negated(g, bar), free);
        break;
    case NODE_MINIMUM:
    case NODE_MAXIMUM: {
        node first = v.op == NODE_MINIMUM ? greater(g, b, a) : greater(g, a, b);
        derive_contribute(d, a, graph_select(g, first, bar, zero(g)), free);
        derive_contribute(d, b, graph_select(g, first, zero(g), bar), free);
        break;
    }
    case NODE_POW:
        if (derive_wanted(d, a))
            derive_contribute(
                d, a,
                times(g, bar,
                      graph_mul(g, b, graph_pointwise(g, NODE_POW, a, graph_sub(g, b, graph_float(g, 1)), NODE_NONE))),
                free);
        if (derive_wanted(d, b))
            derive_contribute(d, b, times(g, bar, graph_mul(g, z, unary(g, NODE_LOG, a))), free);
        break;
    case NODE_EXP:
        derive_contribute(d, a, times(g, bar, z), free);
        break;
    case NODE_LOG:
        derive_contribute(d, a, divided(g, bar, a), free);
        break;
    case NODE_LOG1P:
        derive_contribute(d, a, divided(g, bar, graph_add(g, graph_float(g, 1), a)), free);
        break;
    case NODE_SQRT:
        derive_contribute(d, a, divided(g, bar, graph_mul(g, graph_float(g, 2), z)), free);
        break;
    case NODE_SIN:
        derive_contribute(d, a, times(g, bar, unary(g, NODE_COS, a)), free);
        break;
    case NODE_COS:
        derive_contribute(d, a, negated(g, times(g, bar, unary(g, NODE_SIN, a))), free);
        break;
    case NODE_TANH:
        derive_contribute(d, a, times(g, bar, graph_sub(g, graph_float(g, 1), square(g, z))), free);
        break;
    case NODE_ERF: /* 2/sqrt(pi) exp(-a^2) */
        derive_contribute(
            d, a,
            times(g, bar,
                  graph_mul(g, graph_float(g, 1.1283791670955126), unary(g, NODE_EXP, graph_neg(g, square(g, a))))),
            free);
        break;
    case NODE_ABS: {
        node down = graph_select(g, greater(g, zero(g), a), negated(g, bar), zero(g));
        derive_contribute(d, a, graph_select(g, greater(g, a, zero(g)), bar, down), free);
        break;
    }
    case NODE_SELECT:
        contribute_where(d, b, a, bar, free);
        contribute_where(d, c, unary(g, NODE_NOT, a), bar, free);
        break;
    default: /* comparisons, floor, conversions, STOP: no derivative */
        break;
    }
}

/* An index with the extent of i that none of `taken` is. */
static index_id other_index(graph *g, index_id i, index_set taken) {
    index_id fresh = graph_fresh_index(g, i);
    while (fresh != GRAPH_INDICES && (taken & bit(fresh)))
        fresh = graph_fresh_index(g, fresh);
    if (fresh == GRAPH_INDICES) {
        fprintf(stderr, "attnc: the derivative needs more than %d indices\n", GRAPH_INDICES);
        exit(1);
    }
    return fresh;
}

static node rename_index(graph *g, node n, index_id from, index_id to) {
    node value = graph_index_value(g, to);
    return graph_gather(g, n, 1, &from, &value);
}

static void reduce_rule(derivation *d, node z, node bar) {
    graph *g    = d->g;
    node_view v = graph_view(g, z);
    node domain = v.child[0], body = v.child[1];
    index_set over = v.free | v.vars, vars = v.vars;
    if (v.reduction == REDUCE_SUM) {
        derive_because(d, DERIVE_sum, z);
        contribute_where(d, body, domain, bar, over);
    } else if (v.reduction == REDUCE_PRODUCT) {
        derive_because(d, DERIVE_product, z);
        node part = times(g, bar, derive_other_factors(g, z));
        derive_contribute(d, body, graph_select(g, domain, part, zero(g)), over);
    } else if (v.reduction == REDUCE_MAX || v.reduction == REDUCE_MIN) {
        derive_because(d, DERIVE_extreme, z);
        /* equal extremes share the derivative */
        node hit   = graph_and(g, domain, graph_pointwise(g, NODE_EQUAL, body, z, NODE_NONE));
        node count = graph_reduce(g, REDUCE_SUM, vars, NODE_NONE, graph_select(g, hit, graph_float(g, 1), zero(g)));
        derive_contribute(d, body, graph_select(g, hit, divided(g, bar, count), zero(g)), over);
    }
}

/* e = factor * r + rest, where rest does not depend on r. */
static bool affine(graph *g, node e, index_id r, int64_t *factor, node *rest) {
    node_view v = graph_view(g, e);
    node a = v.child_count > 0 ? v.child[0] : NODE_NONE, b = v.child_count > 1 ? v.child[1] : NODE_NONE;
    if (v.op == NODE_INDEX && v.free == bit(r)) {
        *factor = 1;
        *rest   = graph_int(g, 0);
        return true;
    }
    if (v.op != NODE_ADD && v.op != NODE_SUB && v.op != NODE_MUL)
        return false;
    bool in_a = graph_view(g, a).free & bit(r), in_b = graph_view(g, b).free & bit(r);
    if (in_a == in_b)
        return false;
    if (v.op == NODE_MUL) {
        node_view times = graph_view(g, in_a ? b : a);
        if (times.op != NODE_INT || !affine(g, in_a ? a : b, r, factor, rest) ||
            __builtin_mul_overflow(*factor, times.integer, factor))
            return false;
        *rest = graph_mul(g, *rest, in_a ? b : a);
        return true;
    }
    if (!affine(g, in_a ? a : b, r, factor, rest))
        return false;
    if (in_b && v.op == NODE_SUB) {
        *factor = -*factor;
        *rest   = graph_neg(g, *rest);
    }
    *rest = in_a ? graph_pointwise(g, v.op, *rest, b, NODE_NONE) : graph_add(g, a, *rest);
    return true;
}

/* Where `value`, which is factor * (v - rest) of an index or two, is not within [0, extent), there is nothing. */
static node within(graph *g, node value, int64_t extent, node guard) {
    if (prove_within(g, value, 0, extent - 1, NULL, 0, NULL) == PROOF_HOLDS)
        return guard;
    guard = graph_and(g, guard, graph_pointwise(g, NODE_LESS_EQUAL, graph_int(g, 0), value, NODE_NONE));
    return graph_and(g, guard, graph_pointwise(g, NODE_LESS, value, graph_int(g, extent), NODE_NONE));
}

/* The r with e(r) = v, as an expression in v and the rest; *guard says where there is one. */
static node invert(graph *g, node e, index_id r, index_id v, node *guard) {
    int64_t factor;
    node rest, target = graph_index_value(g, v);
    node_view view = graph_view(g, e);
    int64_t extent = graph_index_extent(g, r);
    if (view.op == NODE_MOD) {
        node_view modulus = graph_view(g, view.child[1]);
        if (modulus.op != NODE_INT || modulus.integer != extent || graph_index_extent(g, v) != extent ||
            !affine(g, view.child[0], r, &factor, &rest) || (factor != 1 && factor != -1))
            return NODE_NONE;
        node difference = factor > 0 ? graph_sub(g, target, rest) : graph_sub(g, rest, target);
        return graph_pointwise(g, NODE_MOD, difference, graph_int(g, extent), NODE_NONE);
    }
    if (!affine(g, e, r, &factor, &rest) || (factor != 1 && factor != -1))
        return NODE_NONE;
    node value = factor > 0 ? graph_sub(g, target, rest) : graph_sub(g, rest, target);
    if (graph_view(g, value).op == NODE_INDEX && graph_index_extent(g, v) <= extent)
        return value;
    *guard = graph_and(g, *guard, graph_pointwise(g, NODE_LESS_EQUAL, graph_int(g, 0), value, NODE_NONE));
    *guard = graph_and(g, *guard, graph_pointwise(g, NODE_LESS, value, graph_int(g, extent), NODE_NONE));
    return value;
}

/* A gather that is being transposed. */
typedef struct transposition {
    graph *g;
    unsigned count;
    index_id at[GRAPH_INDICES]; /* substituted */
    node e[GRAPH_INDICES];      /* by what; NODE_NONE: solved */
    index_set readers;          /* the reader's indices that are not solved for */
    node bar, guard;
} transposition;

static bool reads_elsewhere(const transposition *t, index_set indices, unsigned k, unsigned m) {
    for (unsigned j = 0; j < t->count; j++)
        if (j != k && j != m && t->e[j] && (graph_view(t->g, t->e[j]).free & indices))
            return true;
    return false;
}

/* Indices of the reader that are solved for are no more: what an earlier one's guard says of them is said of what they
 * are. */
static void solved_for(transposition *t, unsigned count, const index_id *r, const node *value) {
    t->bar   = graph_gather(t->g, t->bar, count, r, value);
    t->guard = graph_gather(t->g, t->guard, count, r, value);
    for (unsigned i = 0; i < count; i++)
        t->readers &= ~bit(r[i]);
}

/* v = ±(K p + q) + rest, where q has K values, is solved for both: p and q are the quotient and the remainder. */
static bool solve_digits(transposition *t, unsigned k) {
    graph *g = t->g;
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        for (unsigned j = 0; j < GRAPH_INDICES; j++) {
            index_set both = bit((index_id)i) | bit((index_id)j);
            int64_t large, small, size;
            node rest;
            if (i == j || (both & ~t->readers) || (both & ~graph_view(g, t->e[k]).free) ||
                reads_elsewhere(t, both, k, k))
                continue;
            size = graph_index_extent(g, (index_id)j);
            if (!affine(g, t->e[k], (index_id)i, &large, &rest) || !affine(g, rest, (index_id)j, &small, &rest) ||
                (small != 1 && small != -1) || large != small * size)
                continue;
            node target = graph_index_value(g, t->at[k]), radix = graph_int(g, size);
            node place     = small > 0 ? graph_sub(g, target, rest) : graph_sub(g, rest, target);
            index_id of[2] = {(index_id)i, (index_id)j};
            node digit[2]  = {graph_div(g, place, radix), graph_pointwise(g, NODE_MOD, place, radix, NODE_NONE)};
            t->guard       = within(g, place, size * graph_index_extent(g, (index_id)i), t->guard);
            solved_for(t, 2, of, digit);
            t->e[k] = NODE_NONE;
            return true;
        }
    return false;
}

/* v = u / K and w = u mod K of one u = ±r + rest are solved together: u is K v + w. */
static bool solve_number(transposition *t, unsigned k) {
    graph *g           = t->g;
    node_view quotient = graph_view(g, t->e[k]);
    if (quotient.op != NODE_DIV || quotient.type != TYPE_INT)
        return false;
    node u = quotient.child[0], radix = quotient.child[1];
    node_view size = graph_view(g, radix);
    for (unsigned m = 0; m < t->count && size.op == NODE_INT && size.integer > 0; m++) {
        if (!t->e[m] || t->e[m] != graph_pointwise(g, NODE_MOD, u, radix, NODE_NONE))
            continue;
        for (unsigned i = 0; i < GRAPH_INDICES; i++) {
            index_id r = (index_id)i;
            int64_t factor;
            node rest;
            if (!(t->readers & bit(r) & graph_view(g, u).free) || reads_elsewhere(t, bit(r), k, m) ||
                !affine(g, u, r, &factor, &rest) || (factor != 1 && factor != -1))
                continue;
            node low    = graph_index_value(g, t->at[m]);
            node number = graph_add(g, graph_mul(g, graph_index_value(g, t->at[k]), radix), low);
            node value  = factor > 0 ? graph_sub(g, number, rest) : graph_sub(g, rest, number);
            t->guard    = within(g, low, size.integer, t->guard);
            t->guard    = within(g, value, graph_index_extent(g, r), t->guard);
            solved_for(t, 1, &r, &value);
            t->e[k] = t->e[m] = NODE_NONE;
            return true;
        }
    }
    return false;
}

/* v = e(r) is solved for r. Of several the one with the largest extent: the others are what remains to be summed over.
 */
static bool solve_one(transposition *t, unsigned k) {
    graph *g      = t->g;
    index_id best = GRAPH_INDICES;
    node solved = NODE_NONE, guard = t->guard;
    for (unsigned i = 0; i < GRAPH_INDICES; i++) {
        index_id r = (index_id)i;
        if (!(t->readers & bit(r) & graph_view(g, t->e[k]).free) ||
            (best != GRAPH_INDICES && graph_index_extent(g, r) <= graph_index_extent(g, best)))
            continue;
        node here  = t->guard;
        node value = reads_elsewhere(t, bit(r), k, k) ? NODE_NONE : invert(g, t->e[k], r, t->at[k], &here);
        if (value) {
            solved = value;
            guard  = here;
            best   = r;
        }
    }
    if (!solved)
        return false;
    t->guard = guard;
    solved_for(t, 1, &best, &solved);
    t->e[k] = NODE_NONE;
    return true;
}

/* The transpose of a gather: what was read at v = e(…) goes back to v. Where e can be solved for indices of the reader
 * it is; otherwise the condition v == e remains on the sum, which the scheduler knows as a scatter. */
static void gather_rule(derivation *d, node z, node bar) {
    graph *g    = d->g;
    node_view v = graph_view(g, z);
    node body   = v.child[0];
    if (!derive_wanted(d, body))
        return;
    derive_because(d, DERIVE_gather, z);
    transposition t       = {.g = g, .count = v.child_count - 1, .bar = bar, .guard = graph_bool(g, true)};
    index_set substituted = 0, z_free = v.free;
    for (unsigned k = 0; k < t.count; k++) {
        t.at[k] = v.substituted[k];
        t.e[k]  = v.child[k + 1];
        substituted |= bit(t.at[k]);
    }
    index_set body_free = graph_view(g, body).free;
    t.readers           = z_free & ~(body_free & ~substituted);
    for (unsigned i = 0; i < GRAPH_INDICES; i++) {
        if (!(t.readers & substituted & bit((index_id)i)))
            continue;
        index_id to = other_index(g, (index_id)i, z_free | body_free | t.readers);
        t.bar       = rename_index(g, t.bar, (index_id)i, to);
        for (unsigned k = 0; k < t.count; k++)
            t.e[k] = rename_index(g, t.e[k], (index_id)i, to);
        t.readers = (t.readers & ~bit((index_id)i)) | bit(to);
    }
    for (unsigned k = 0; k < t.count; k++)
        if (t.e[k] && !solve_number(&t, k))
            solve_digits(&t, k);
    node condition = graph_bool(g, true);
    for (unsigned k = 0; k < t.count; k++) {
        if (!t.e[k] || solve_one(&t, k))
            continue;
        bool scatter = graph_view(g, t.e[k]).free & t.readers;
        derive_because(d, scatter ? DERIVE_scatter : DERIVE_gather, z);
        node equal = graph_pointwise(g, NODE_EQUAL, graph_index_value(g, t.at[k]), t.e[k], NODE_NONE);
        if (scatter)
            condition = graph_and(g, condition, equal);
        else
            t.guard = graph_and(g, t.guard, equal);
    }
    derive_because(d, DERIVE_gather, z);
    bar = graph_select(g, t.guard, t.bar, zero(g));
    if (!graph_is_constant(g, condition, NULL))
        derive_because(d, DERIVE_scatter, z);
    bar = graph_reduce(g, REDUCE_SUM, t.readers, condition, bar);
    derive_contribute(d, body, bar, body_free);
}

/* x = L x + a, so that dx = L dx + dL x + da: the adjoint of a solves the transposed system, from the other end, and
 * that of an element of L is the product of the two solutions. */
static void solve_rule(derivation *d, node z, node bar) {
    graph *g    = d->g;
    node_view v = graph_view(g, z);
    node matrix = v.child[0], right = v.child[1];
    index_id row = v.scan_index, column = graph_solve_column(g, z);
    index_id both[] = {row, column};
    derive_because(d, DERIVE_solve, z);
    node at_row = graph_index_value(g, row), at_column = graph_index_value(g, column);
    node transposed = graph_gather(g, matrix, 2, both, (node[]){at_column, at_row});
    node y          = graph_solve(g, row, column, !v.reverse, transposed, bar);
    derive_contribute(d, right, y, v.free);
    if (!derive_wanted(d, matrix))
        return;
    node before = v.reverse ? graph_pointwise(g, NODE_LESS, at_row, at_column, NODE_NONE)
                            : graph_pointwise(g, NODE_LESS, at_column, at_row, NODE_NONE);
    contribute_where(d, matrix, before, times(g, y, rename_index(g, z, row, column)), v.free | v.vars);
}

void derive_node(derivation *d, node z) {
    node_op op = graph_view(d->g, z).op;
    node bar   = *derive_adjoint(d, z);
    if (graph_op_is_pointwise(op))
        pointwise_rule(d, z, bar);
    else if (op == NODE_REDUCE)
        reduce_rule(d, z, bar);
    else if (op == NODE_GATHER)
        gather_rule(d, z, bar);
    else if (op == NODE_SOLVE)
        solve_rule(d, z, bar);
    else if (op == NODE_SCAN)
        derive_scan(d, z);
}

static void mark_active(derivation *d, const node *of, size_t count) {
    for (size_t k = 0; k < count; k++)
        d->active[of[k]] = 1;
    for (size_t n = 1; n < d->size; n++) {
        node_view v = graph_view(d->g, (node)n);
        if (v.op == NODE_STOP || v.type != TYPE_FLOAT)
            continue;
        for (unsigned i = 0; i < v.child_count; i++)
            if (d->active[v.child[i]])
                d->active[n] = 1;
    }
}

void derive_gradients(graph *g, node loss, const node *of, size_t count, node *gradient) {
    derivation d = {.g = g, .size = (node)graph_node_count(g) + 1};
    d.adjoint    = derive_allocate(d.size, sizeof *d.adjoint);
    d.active     = derive_allocate(d.size, 1);
    mark_active(&d, of, count);
    derive_because(&d, DERIVE_loss, loss);
    d.adjoint[loss] = graph_float(g, 1);
    for (size_t n = loss + 1; n-- > 1;)
        if (d.adjoint[n] && d.active[n])
            derive_node(&d, (node)n);
    for (size_t k = 0; k < count; k++)
        gradient[k] = d.adjoint[of[k]] ? d.adjoint[of[k]] : zero(g);
    derive_because(&d, REASON_SPEC, NODE_NONE);
    free(d.adjoint);
    free(d.active);
}

node derive_total_loss(graph *g) {
    node total = NODE_NONE;
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        if (o->kind == OUTPUT_LOSS)
            total = total ? graph_add(g, total, o->node) : o->node;
    }
    return total;
}

bool derive_parameter_gradients(graph *g, uint32_t *orphan) {
    uint32_t count = 0, tensors = graph_tensor_count(g);
    node *of = derive_allocate(tensors, sizeof *of), *gradient = derive_allocate(tensors, sizeof *gradient);
    uint32_t *number = derive_allocate(tensors, sizeof *number);
    node loss        = derive_total_loss(g);
    bool complete    = true;
    for (uint32_t i = 0; i < tensors; i++)
        if (graph_tensor(g, i)->kind == TENSOR_PARAMETER) {
            number[count] = i;
            of[count++]   = graph_tensor(g, i)->node;
        }
    if (loss)
        derive_gradients(g, loss, of, count, gradient);
    for (uint32_t k = 0; k < count && complete; k++) {
        double value;
        if (!loss || (graph_is_constant(g, gradient[k], &value) && value == 0)) {
            *orphan  = number[k];
            complete = false;
            break;
        }
        const tensor *t = graph_tensor(g, number[k]);
        char name[512];
        snprintf(name, sizeof name, "gradient.%s", t->name);
        output o = {.name = name, .kind = OUTPUT_GRADIENT, .tensor = number[k], .rank = t->rank, .node = gradient[k]};
        memcpy(o.index, t->index, sizeof o.index);
        graph_add_output(g, &o);
    }
    free(of);
    free(gradient);
    free(number);
    return complete;
}

void derive_forget_stops(graph *g) {
    rewrite_forget_stops(g);
}
