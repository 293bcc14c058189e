/* The obligations of rewrites: intervals of values, domains that are not empty, values that are finite. Everything here
 * may say "not proved". NaN is in no interval: what is NaN stays NaN under all rewrites that ask here. */
#include "prove.h"
#include "simplify_internal.h"

#include <math.h>

static const interval anything = {-INFINITY, INFINITY};

static interval hull(interval a, interval b) {
    return (interval){fmin(a.low, b.low), fmax(a.high, b.high)};
}

static double times(double a, double b) {
    return a == 0 || b == 0 ? 0 : a * b;
}

static interval multiply(interval a, interval b) {
    double c[4] = {times(a.low, b.low), times(a.low, b.high), times(a.high, b.low), times(a.high, b.high)};
    return (interval){fmin(fmin(c[0], c[1]), fmin(c[2], c[3])), fmax(fmax(c[0], c[1]), fmax(c[2], c[3]))};
}

static interval reciprocal(interval a) {
    if (a.low > 0 || a.high < 0)
        return (interval){1 / a.high, 1 / a.low};
    if (a.low == 0)
        return (interval){1 / a.high, INFINITY};
    return anything;
}

static bool all_in(const product *domain, const node *given, unsigned count) {
    for (unsigned i = 0; i < domain->masks; i++)
        if (!in_list(domain->mask[i], given, count))
            return false;
    return true;
}

/* Is every value of x, where the masks hold, among those that m is the largest of? */
static bool at_most(const graph *g, node x, node m, const node *mask, unsigned masks) {
    node_view v = graph_view(g, m);
    if (x == m)
        return true;
    if (v.op == NODE_MAXIMUM)
        return at_most(g, x, v.child[0], mask, masks) || at_most(g, x, v.child[1], mask, masks);
    if (v.op != NODE_REDUCE || v.reduction != REDUCE_MAX || v.child[1] != x)
        return false;
    product domain = {.coefficient = 1};
    return product_add_mask(g, &domain, v.child[0]) && all_in(&domain, mask, masks);
}

/* Of x - m: not above 0 where m is a maximum that x is in. */
static interval bounds_difference(simplifier *s, node x, node m, const node *mask, unsigned masks) {
    interval a = bounds_of(s, x), b = bounds_of(s, m), d = {a.low - b.high, a.high - b.low};
    if (isnan(d.low))
        d.low = -INFINITY;
    if (isnan(d.high))
        d.high = INFINITY;
    if (at_most(s->g, x, m, mask, masks))
        d.high = fmin(d.high, 0);
    node_view v = graph_view(s->g, m);
    for (unsigned i = 0; v.op == NODE_ADD && i < 2; i++) { /* x - (p + q) = (x - p) - q */
        node p = v.child[i], q = v.child[1 - i];
        if (at_most(s->g, x, p, mask, masks))
            d.high = fmin(d.high, 0 - bounds_of(s, q).low);
        v = graph_view(s->g, m);
    }
    return d;
}

/* The bounds of n where the masks hold. */
static interval bounds_under(simplifier *s, node n, const node *mask, unsigned masks) {
    node_view v = graph_view(s->g, n);
    node a = v.child_count ? v.child[0] : NODE_NONE, b = v.child_count > 1 ? v.child[1] : NODE_NONE;
    if (v.op == NODE_SUB)
        return bounds_difference(s, a, b, mask, masks);
    if (v.op == NODE_EXP) {
        interval inside = bounds_under(s, a, mask, masks);
        return (interval){exp(inside.low), exp(inside.high)};
    }
    if (v.op == NODE_MUL && a != b)
        return multiply(bounds_under(s, a, mask, masks), bounds_under(s, b, mask, masks));
    if (v.op == NODE_SELECT && in_list(a, mask, masks))
        return bounds_under(s, b, mask, masks);
    return bounds_of(s, n);
}

/* One of the terms of a sum, exp(x - m), that are reduced over vars where the domain holds; vars 0: a term alone. */
typedef struct summand {
    index_set vars;
    node domain, x, m;
} summand;

enum { SUMMANDS = 8 };

static bool collect_summands(const graph *g, node n, summand *list, unsigned *count) {
    node_view v = graph_view(g, n);
    if (v.op == NODE_ADD)
        return collect_summands(g, v.child[0], list, count) &&
               collect_summands(g, graph_view(g, n).child[1], list, count);
    summand one = {0};
    if (v.op == NODE_REDUCE && v.reduction == REDUCE_SUM) {
        one.vars   = v.vars;
        one.domain = v.child[0];
        v          = graph_view(g, v.child[1]);
    }
    if (v.op != NODE_EXP || *count == SUMMANDS)
        return false;
    node_view difference = graph_view(g, v.child[0]);
    if (difference.op != NODE_SUB)
        return false;
    one.x            = difference.child[0];
    one.m            = difference.child[1];
    list[(*count)++] = one;
    return true;
}

/* Is every leaf of the maximum m one of the summands? *inhabited: one of them is sure to be there. */
static bool leaves_attained(simplifier *s, node m, const summand *list, unsigned count, bool *inhabited) {
    node_view v = graph_view(s->g, m);
    if (v.op == NODE_MAXIMUM) {
        node other = v.child[1];
        return leaves_attained(s, v.child[0], list, count, inhabited) &&
               leaves_attained(s, other, list, count, inhabited);
    }
    bool maximum = v.op == NODE_REDUCE && v.reduction == REDUCE_MAX, found = false;
    for (unsigned i = 0; i < count && !found; i++)
        found = maximum ? list[i].vars == v.vars && list[i].domain == v.child[0] && list[i].x == v.child[1]
                        : !list[i].vars && list[i].x == m;
    if (!found)
        return false;
    if (!maximum) {
        *inhabited = true;
    } else if (!*inhabited) {
        node domain = v.child[0];
        *inhabited  = bounds_inhabited(s, v.vars, &domain, 1, NULL, 0);
    }
    return true;
}

/* A sum of exponentials from which the largest exponent is subtracted has a term exp(0). */
static bool attains_one(simplifier *s, node n, bool inhabited) {
    summand list[SUMMANDS];
    unsigned count = 0;
    if (!collect_summands(s->g, n, list, &count))
        return false;
    for (unsigned i = 1; i < count; i++)
        if (list[i].m != list[0].m)
            return false;
    return leaves_attained(s, list[0].m, list, count, &inhabited) && inhabited;
}

static interval bounds_reduce(simplifier *s, node n) {
    node_view v    = graph_view(s->g, n);
    reduction kind = v.reduction;
    node domain = v.child[0], body = v.child[1];
    double space   = (double)graph_space(s->g, v.vars);
    product where  = {.coefficient = 1};
    bool inhabited = bounds_inhabited(s, v.vars, &domain, 1, NULL, 0);
    interval b     = bounds_under(s, body, where.mask, product_add_mask(s->g, &where, domain) ? where.masks : 0);
    switch (kind) {
    case REDUCE_SUM: /* from one element, or none, to all */
        return (interval){b.low >= 0 ? (inhabited ? b.low : 0) : times(space, b.low),
                          b.high <= 0 ? (inhabited ? b.high : 0) : times(space, b.high)};
    case REDUCE_PRODUCT:
        return b.low >= 0 ? (interval){0, b.high <= 1 ? 1 : INFINITY} : anything;
    case REDUCE_MAX:
        return (interval){inhabited ? b.low : -INFINITY, b.high};
    case REDUCE_MIN:
        return (interval){b.low, inhabited ? b.high : INFINITY};
    default:
        return (interval){0, 1};
    }
}

/* Of if c then x else y: where c compares x or -x with 0 the branches know it. */
static interval bounds_branch(simplifier *s, node c, bool holds, node branch) {
    interval b  = bounds_of(s, branch);
    node_view v = graph_view(s->g, c), w = graph_view(s->g, branch);
    if (v.op != NODE_LESS && v.op != NODE_LESS_EQUAL)
        return b;
    node low = v.child[0], high = v.child[1];
    if (!holds) { /* not low < high: high <= low */
        node t = low;
        low    = high;
        high   = t;
    }
    node inner  = w.op == NODE_NEG ? w.child[0] : NODE_NONE;
    double sign = 0; /* of the branch: 1 not negative, -1 not positive */
    if (is_value(s->g, low, 0))
        sign = branch == high ? 1 : inner == high ? -1 : 0;
    else if (is_value(s->g, high, 0))
        sign = branch == low ? -1 : inner == low ? 1 : 0;
    if (sign > 0)
        b.low = fmax(b.low, 0);
    if (sign < 0)
        b.high = fmin(b.high, 0);
    return b;
}

static interval bounds_gather(simplifier *s, node n) {
    node_view v = graph_view(s->g, n);
    interval b  = bounds_of(s, v.child[0]);
    v           = graph_view(s->g, n);
    for (unsigned i = 0; i + 1 < v.child_count; i++) {
        node_view e    = graph_view(s->g, v.child[i + 1]);
        int64_t extent = graph_index_extent(s->g, v.substituted[i]);
        bool within    = e.op == NODE_INDEX ? graph_space(s->g, e.vars) <= extent
                                            : e.op == NODE_INT && e.integer >= 0 && e.integer < extent;
        if (!within)
            b = hull(b, (interval){0, 0});
    }
    return b;
}

static interval monotone(double (*f)(double), interval a, double least) {
    return (interval){a.low > least ? f(a.low) : a.low == least ? f(a.low) : -INFINITY, f(fmax(a.high, least))};
}

static interval compute_bounds(simplifier *s, node n) {
    node_view v = graph_view(s->g, n);
    node c0 = v.child_count > 0 ? v.child[0] : NODE_NONE, c1 = v.child_count > 1 ? v.child[1] : NODE_NONE,
         c2 = v.child_count > 2 ? v.child[2] : NODE_NONE;
    if (v.op == NODE_FLOAT)
        return isnan(v.number) ? anything : (interval){v.number, v.number};
    if (v.op == NODE_INT)
        return (interval){(double)v.integer, (double)v.integer};
    if (v.op == NODE_INDEX)
        return (interval){0, (double)graph_space(s->g, v.vars) - 1};
    if (v.op == NODE_TENSOR && v.type == TYPE_INT)
        return (interval){0, (double)graph_tensor(s->g, v.tensor)->below - 1};
    if (v.op == NODE_RANDOM)
        return (interval){0, 1};
    if (v.type == TYPE_BOOL)
        return (interval){0, 1};
    if (v.op == NODE_REDUCE)
        return bounds_reduce(s, n);
    if (v.op == NODE_GATHER)
        return bounds_gather(s, n);
    if (v.op == NODE_SELECT)
        return hull(bounds_branch(s, c0, true, c1), bounds_branch(s, c0, false, c2));
    if (!graph_op_is_pointwise(v.op))
        return anything;
    interval a = bounds_of(s, c0), b = c1 ? bounds_of(s, c1) : anything;
    switch (v.op) {
    case NODE_ADD:
        return (interval){a.low + b.low, a.high + b.high};
    case NODE_SUB:
        return bounds_difference(s, c0, c1, NULL, 0);
    case NODE_NEG:
        return (interval){-a.high, -a.low};
    case NODE_MUL: {
        interval product = multiply(a, b);
        return c0 == c1 ? (interval){fmax(product.low, 0), product.high} : product;
    }
    case NODE_DIV:
        return v.type == TYPE_INT ? anything : multiply(a, reciprocal(b));
    case NODE_MINIMUM:
        return (interval){fmin(a.low, b.low), fmin(a.high, b.high)};
    case NODE_MAXIMUM:
        return (interval){fmax(a.low, b.low), fmax(a.high, b.high)};
    case NODE_EXP:
        return (interval){exp(a.low), exp(a.high)};
    case NODE_LOG:
        return monotone(log, a, 0);
    case NODE_LOG1P:
        return monotone(log1p, a, -1);
    case NODE_SQRT:
        return monotone(sqrt, (interval){fmax(a.low, 0), fmax(a.high, 0)}, 0);
    case NODE_SIN:
    case NODE_COS:
    case NODE_TANH:
    case NODE_ERF:
        return (interval){-1, 1};
    case NODE_ABS:
        return (interval){a.low > 0 ? a.low : a.high < 0 ? -a.high : 0, fmax(fabs(a.low), fabs(a.high))};
    case NODE_FLOOR:
    case NODE_TO_INT:
        return (interval){floor(a.low), floor(a.high)};
    case NODE_TO_FLOAT:
    case NODE_STOP:
        return a;
    case NODE_POW:
        return a.low > 0 ? (interval){0, INFINITY} : anything;
    default:
        return anything;
    }
}

interval bounds_of(simplifier *s, node n) {
    simplify_fit(s);
    if (s->bounds[n].low <= s->bounds[n].high)
        return s->bounds[n];
    s->bounds[n] = anything; /* for what depends on itself */
    interval b   = compute_bounds(s, n);
    if (isnan(b.low) || isnan(b.high) || b.low > b.high)
        b = anything;
    node_op op = graph_view(s->g, n).op;
    if ((op == NODE_ADD || op == NODE_REDUCE) && b.low >= 0 && b.low < 1 && attains_one(s, n, false))
        b.low = 1;
    simplify_fit(s);
    s->bounds[n] = b;
    return b;
}

bool bounds_positive(simplifier *s, node n, const node *given, unsigned count) {
    interval b = bounds_of(s, n);
    if (!(b.high < INFINITY) || b.low < 0)
        return false;
    if (b.low > 0)
        return true;
    /* a sum over a domain that is not empty where the conditions hold */
    node_view v = graph_view(s->g, n);
    if (v.op != NODE_REDUCE)
        return false;
    node domain = v.child[0];
    return bounds_inhabited(s, v.vars, &domain, 1, given, count) && attains_one(s, n, true);
}

/* Does a condition depend on what nobody can know, so that there is nothing to prove? */
static bool is_opaque(simplifier *s, node n) {
    simplify_fit(s);
    if (s->opaque[n])
        return s->opaque[n] > 0;
    node_view v = graph_view(s->g, n);
    bool opaque = v.op == NODE_RANDOM || graph_selects(v.op) || v.op == NODE_SCAN || v.op == NODE_PREVIOUS ||
                  v.op == NODE_SOLVE || (v.op == NODE_TENSOR && v.type == TYPE_FLOAT);
    for (unsigned i = 0; i < v.child_count && !opaque; i++)
        opaque = is_opaque(s, graph_view(s->g, n).child[i]);
    s->opaque[n] = opaque ? 1 : -1;
    return opaque;
}

bool bounds_inhabited(simplifier *s, index_set vars, const node *mask, unsigned masks, const node *given,
                      unsigned count) {
    product domain = {.coefficient = 1};
    for (unsigned i = 0; i < masks; i++)
        if (!product_add_mask(s->g, &domain, mask[i]))
            return false;
    /* the point at which the conditions hold is in the domain */
    if (!domain.masks || all_in(&domain, given, count))
        return true;
    for (unsigned i = 0; i < domain.masks; i++)
        if (is_opaque(s, domain.mask[i]))
            return false;
    node whole = conjunction(s->g, domain.mask, domain.masks);
    if (is_value(s->g, whole, 0))
        return false;
    simplify_fit(s);
    if (s->inhabited[whole].vars != vars) {
        bool holds = prove_inhabited(s->g, vars, whole, NULL, 0, NULL) == PROOF_HOLDS;
        simplify_fit(s);
        s->inhabited[whole] = (inhabited_memo){.vars = vars, .holds = holds};
    }
    if (s->inhabited[whole].holds)
        return true;
    node fact[MASKS]; /* of the other indices */
    unsigned facts = 0;
    for (unsigned i = 0; i < count && facts < MASKS; i++)
        if (!(graph_view(s->g, given[i]).free & vars))
            fact[facts++] = given[i];
    return facts && prove_inhabited(s->g, vars, whole, fact, facts, NULL) == PROOF_HOLDS;
}

/* Finite values */

enum { LARGEST_EXPONENT = 80 }; /* exp of it is a float */

static bool tame_under(simplifier *s, node n, const node *mask, unsigned masks) {
    node_view v = graph_view(s->g, n);
    node a = v.child_count ? v.child[0] : NODE_NONE, b = v.child_count > 1 ? v.child[1] : NODE_NONE;
    if (v.type == TYPE_FLOAT && (v.op == NODE_MUL || v.op == NODE_ADD))
        return tame_under(s, a, mask, masks) && tame_under(s, b, mask, masks);
    if (v.op == NODE_NEG)
        return tame_under(s, a, mask, masks);
    if (v.op == NODE_DIV && v.type == TYPE_FLOAT)
        return tame_under(s, a, mask, masks) && bounds_tame_power(s, b, -1);
    if (v.op == NODE_SELECT && in_list(a, mask, masks))
        return tame_under(s, b, mask, masks);
    if (v.op == NODE_EXP) /* that the exponent may be -infinity, as where its maximum is over nothing, is 0 */
        return bounds_under(s, a, mask, masks).high <= LARGEST_EXPONENT;
    return bounds_tame(s, n);
}

static bool tame_where(simplifier *s, node n, node domain) {
    product where = {.coefficient = 1};
    bool fits     = product_add_mask(s->g, &where, domain);
    return tame_under(s, n, where.mask, fits ? where.masks : 0);
}

static bool compute_tame(simplifier *s, node n) {
    node_view v = graph_view(s->g, n);
    node c0 = v.child_count > 0 ? v.child[0] : NODE_NONE, c1 = v.child_count > 1 ? v.child[1] : NODE_NONE,
         c2 = v.child_count > 2 ? v.child[2] : NODE_NONE;
    if (v.type != TYPE_FLOAT)
        return true;
    switch (v.op) {
    case NODE_FLOAT:
        return isfinite(v.number);
    case NODE_EXP:
        return bounds_tame(s, c0) && bounds_of(s, c0).high <= LARGEST_EXPONENT;
    case NODE_LOG:
        return bounds_tame(s, c0) && bounds_of(s, c0).low > 0;
    case NODE_LOG1P:
        return bounds_tame(s, c0) && bounds_of(s, c0).low > -1;
    case NODE_SQRT:
        return bounds_tame(s, c0) && bounds_of(s, c0).low >= 0;
    case NODE_DIV:
        return bounds_tame(s, c0) && bounds_tame_power(s, c1, -1);
    case NODE_POW:
        return bounds_tame(s, c0) && bounds_tame(s, c1) && bounds_of(s, c0).low > 0;
    case NODE_SELECT:
        return tame_where(s, c1, c0) && bounds_tame(s, c2);
    case NODE_REDUCE: {
        bool sum       = v.reduction == REDUCE_SUM || v.reduction == REDUCE_PRODUCT;
        index_set vars = v.vars;
        return tame_where(s, c1, c0) && (sum || bounds_inhabited(s, vars, &c0, 1, NULL, 0));
    }
    case NODE_GATHER:
        return bounds_tame(s, c0);
    case NODE_SCAN: /* what a step makes of a state may grow without bound, and so may a row of those before it */
    case NODE_SOLVE:
    case NODE_PREVIOUS:
        return false;
    default:
        for (unsigned i = 0; i < graph_view(s->g, n).child_count; i++)
            if (!bounds_tame(s, graph_view(s->g, n).child[i]))
                return false;
        return true;
    }
}

bool bounds_tame(simplifier *s, node n) {
    simplify_fit(s);
    if (!s->tame[n]) {
        bool tame = compute_tame(s, n);
        simplify_fit(s);
        s->tame[n] = tame ? 1 : -1;
    }
    return s->tame[n] > 0;
}

bool bounds_tame_where(simplifier *s, node base, int power, const node *mask, unsigned masks) {
    if (power > 0)
        return tame_under(s, base, mask, masks);
    return bounds_tame_power(s, base, power) || bounds_positive(s, base, mask, masks);
}

bool bounds_tame_power(simplifier *s, node base, int power) {
    if (!bounds_tame(s, base))
        return false;
    interval b = bounds_of(s, base);
    return power > 0 || b.low > 0 || b.high < 0;
}
