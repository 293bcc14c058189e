/* Sums of few terms: equal ones are collected, common factors taken out. */
#include "simplify_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* sum of times * node; what has the same free indices is added first, the narrow before the wide. */
typedef struct pile {
    node plus, minus; /* NODE_NONE: 0 */
    index_set free;
} pile;

static node added(graph *g, node a, node b) {
    return !a ? b : !b ? a : graph_add(g, a, b);
}

static node difference(graph *g, const pile *p) {
    if (!p->minus)
        return p->plus;
    return p->plus ? graph_sub(g, p->plus, p->minus) : graph_neg(g, p->minus);
}

static void put(graph *g, pile *list, unsigned *count, node n, bool minus, index_set free) {
    unsigned k = 0;
    while (k < *count && list[k].free != free)
        k++;
    if (k == *count)
        list[(*count)++] = (pile){.free = free};
    node *side = minus ? &list[k].minus : &list[k].plus;
    *side      = added(g, *side, n);
}

static unsigned narrowest(const graph *g, const pile *list, unsigned count) {
    unsigned best = 0;
    for (unsigned i = 1; i < count; i++)
        if (graph_space(g, list[i].free) < graph_space(g, list[best].free))
            best = i;
    return best;
}

node terms_build(simplifier *s, unsigned count, const term *terms) {
    graph *g = s->g;
    pile list[2 * TERMS];
    unsigned piles = 0;
    if (!count)
        return graph_float(g, 0);
    for (unsigned i = 0; i < count; i++) {
        node n = terms[i].node;
        if (abs(terms[i].times) != 1)
            n = graph_mul(g, n, graph_float(g, abs(terms[i].times)));
        put(g, list, &piles, n, terms[i].times < 0, graph_view(g, n).free);
    }
    bool narrow_first = simplify_may(s, REWRITE_narrow_first);
    while (piles > 1) {
        unsigned at = narrow_first ? narrowest(g, list, piles) : 0;
        pile narrow = list[at];
        list[at]    = list[--piles];
        unsigned to = narrowest(g, list, piles);
        for (unsigned i = 0; i < piles; i++)
            if (!(narrow.free & ~list[i].free) &&
                ((narrow.free & ~list[to].free) || graph_space(g, list[i].free) < graph_space(g, list[to].free)))
                to = i;
        index_set free = list[to].free | narrow.free;
        bool minus     = narrow.minus && !narrow.plus;
        node n         = minus ? narrow.minus : difference(g, &narrow);
        pile wide      = list[to];
        list[to]       = list[--piles];
        if (wide.plus)
            put(g, list, &piles, wide.plus, false, free);
        if (wide.minus)
            put(g, list, &piles, wide.minus, true, free);
        put(g, list, &piles, n, minus, free);
    }
    return difference(g, &list[0]);
}

/* A term of an n-ary sum: sign * the product. */
typedef struct summand {
    product p;
    node node;   /* what the term is as a node, but for its sign; NODE_NONE: to be built */
    bool single; /* nobody else reads it */
} summand;

/* The term that n, in its final form, is. */
static summand summand_of(simplifier *s, node n, bool single) {
    summand t = {.single = single, .node = n};
    if (!product_of(s, n, &t.p)) {
        t.p = product_one();
        product_add_factor(s, &t.p, n, 1);
    }
    if (t.p.coefficient < 0) /* the sign becomes the sum's */
        t.node = NODE_NONE;
    return t;
}

/* Collects the terms of the sum n (of before), with those of sums that only n reads. */
static bool collect(simplifier *s, node n, int sign, summand *list, unsigned *count, bool top) {
    node_view v = graph_view(s->g, n);
    node a = v.child_count ? v.child[0] : NODE_NONE, b = v.child_count > 1 ? v.child[1] : NODE_NONE;
    bool sum = (v.op == NODE_ADD || v.op == NODE_SUB) && v.type == TYPE_FLOAT;
    if (sum && (top || (s->uses[n] == 1 && !s->exact[n])))
        return collect(s, a, sign, list, count, false) &&
               collect(s, b, v.op == NODE_SUB ? -sign : sign, list, count, false);
    if (*count == TERMS)
        return false;
    list[*count] = summand_of(s, s->memo[n], s->uses[n] <= 1);
    list[(*count)++].p.coefficient *= sign;
    return true;
}

/* Adds the coefficients of equal terms. A sum of 0 goes only where `cancel`. */
static void merge_equal(summand *list, unsigned *count, bool cancel) {
    for (unsigned i = 0; i < *count; i++)
        for (unsigned k = i + 1; k < *count;) {
            double sum = list[i].p.coefficient + list[k].p.coefficient;
            if (!product_same(&list[i].p, &list[k].p) || (sum == 0 && !cancel)) {
                k++;
                continue;
            }
            list[i].p.coefficient = sum;
            list[i].node          = NODE_NONE;
            list[k]               = list[--*count];
        }
    for (unsigned i = 0; i < *count;)
        if (list[i].p.coefficient == 0)
            list[i] = list[--*count];
        else
            i++;
}

static node build_sum(simplifier *s, const summand *list, unsigned count) {
    term t[TERMS];
    for (unsigned i = 0; i < count; i++) {
        product p     = list[i].p;
        t[i].times    = p.coefficient < 0 ? -1 : 1;
        p.coefficient = fabs(p.coefficient);
        t[i].node     = list[i].node ? list[i].node : product_build(s, &p);
    }
    return terms_build(s, count, t);
}

/* What a common part is worth: how many operations on how large a space. */
static double worth(const graph *g, const product *p) {
    return (double)(p->factors + (p->terms ? 1 : 0) + p->masks) * (double)graph_space(g, product_free(g, p));
}

/* What a and b have in common, taken out of both. Where one of them has conditions that the other has not, their sum is
 * 0 where neither hold, so what leaves it must be finite. */
static product common_of(simplifier *s, product *a, product *b) {
    product first = *a, second = *b, both = product_common(a, b), wanted = product_one();
    if (!a->masks || !b->masks)
        return both;
    wanted.coefficient = both.coefficient;
    wanted.masks       = both.masks;
    memcpy(wanted.mask, both.mask, sizeof both.mask);
    for (unsigned i = 0; i < both.factors; i++)
        if (bounds_tame_where(s, both.factor[i].base, both.factor[i].power, both.mask, both.masks))
            wanted.factor[wanted.factors++] = both.factor[i];
    if (both.terms && bounds_tame_where(s, product_exponential(s, &both), 1, both.mask, both.masks)) {
        wanted.terms = both.terms;
        memcpy(wanted.term, both.term, sizeof both.term);
    }
    if (product_same(&wanted, &both))
        return both;
    *a = first;
    *b = second;
    for (unsigned i = 0; i < wanted.factors; i++) {
        product_take_factor(a, wanted.factor[i].base, wanted.factor[i].power);
        product_take_factor(b, wanted.factor[i].base, wanted.factor[i].power);
    }
    if (wanted.terms)
        a->terms = b->terms = 0;
    a->coefficient /= wanted.coefficient;
    b->coefficient /= wanted.coefficient;
    product_take_masks(a, &wanted);
    product_take_masks(b, &wanted);
    return wanted;
}

/* The two terms with the most in common become one. False where no two have anything. */
static bool factor_pair(simplifier *s, summand *list, unsigned *count) {
    unsigned first = 0, second = 0;
    double best = 0;
    for (unsigned i = 0; i < *count; i++)
        for (unsigned k = i + 1; k < *count; k++) {
            if (!list[i].single && !list[k].single)
                continue; /* both are computed in any case */
            if (product_same(&list[i].p, &list[k].p))
                continue; /* their difference is 0, which is not for every sum to say */
            product a = list[i].p, b = list[k].p, both = common_of(s, &a, &b);
            double w = worth(s->g, &both);
            if (!product_is_constant(&both) && w > best) {
                best   = w;
                first  = i;
                second = k;
            }
        }
    if (best == 0)
        return false;
    summand rest[2] = {list[first], list[second]};
    summand *t      = &list[first];
    *t              = (summand){.p = common_of(s, &rest[0].p, &rest[1].p), .single = true};
    rest[0].node = rest[1].node = NODE_NONE;
    list[second]                = list[--*count];
    simplify_because(s, REWRITE_common_factor);
    node sum      = build_sum(s, rest, 2);
    product taken = t->p;
    if (!product_add_node(s, &t->p, sum, 1)) {
        t->p = product_one();
        product_add_factor(s, &t->p, graph_mul(s->g, product_build(s, &taken), sum), 1);
    }
    return true;
}

/* Two terms that are sums over the same indices become one. */
static bool join_pair(simplifier *s, summand *list, unsigned *count) {
    for (unsigned i = 0; i < *count; i++)
        for (unsigned k = i + 1; k < *count; k++) {
            node joined = list[i].single && list[k].single ? simplify_join(s, &list[i].p, &list[k].p) : NODE_NONE;
            if (!joined)
                continue;
            list[i] = (summand){.p = product_one(), .single = true};
            product_add_factor(s, &list[i].p, joined, 1);
            list[k] = list[--*count];
            return true;
        }
    return false;
}

/* The sum of the terms; `cancel`: a difference of equal terms is 0, even where they are not finite. NODE_NONE where
 * nothing can be collected. */
static node collected(simplifier *s, summand *list, unsigned count, bool cancel) {
    unsigned before = count;
    simplify_because(s, REWRITE_cancel);
    merge_equal(list, &count, cancel && simplify_may(s, REWRITE_cancel));
    while (simplify_may(s, REWRITE_common_factor) && factor_pair(s, list, &count))
        ;
    while (join_pair(s, list, &count))
        ;
    if (!count)
        return graph_float(s->g, 0);
    if (count == before)
        return NODE_NONE;
    return count == 1 ? product_build(s, &list[0].p) : build_sum(s, list, count);
}

node simplify_add(simplifier *s, node n) {
    summand list[TERMS];
    unsigned count = 0;
    node_view v    = graph_view(s->g, n);
    node a = s->memo[v.child[0]], b = s->memo[v.child[1]];
    if (!collect(s, n, 1, list, &count, true))
        return graph_pointwise(s->g, v.op, a, b, NODE_NONE);
    unsigned before = count;
    node simple     = collected(s, list, count, simplify_is_derived(s, n));
    if (simple)
        return simple;
    simplify_as_before(s);
    return build_sum(s, list, before);
}

node terms_add(simplifier *s, unsigned count, const node *terms) {
    summand list[TERMS];
    node plain = NODE_NONE;
    for (unsigned i = 0; i < count; i++)
        list[i] = summand_of(s, terms[i], simplify_is_single(s, terms[i]));
    node simple = collected(s, list, count, simplify_is_derived(s, s->here));
    simplify_because(s, REWRITE_split_sums);
    for (unsigned i = 0; i < count && !simple; i++)
        plain = plain ? graph_add(s->g, plain, terms[i]) : terms[i];
    return simple ? simple : plain;
}
