/* Products in normal form. Merging exponentials forms nothing larger than the result, so it cannot overflow where the
 * product did not; exponentials are never taken apart into factors but for what they were given as logarithms. */
#include "simplify_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

product product_one(void) {
    return (product){.coefficient = 1};
}

node conjunction(graph *g, const node *mask, unsigned count) {
    node all = NODE_NONE;
    for (unsigned i = 0; i < count; i++)
        all = all ? graph_and(g, all, mask[i]) : mask[i];
    return all;
}

bool product_add_mask(const graph *g, product *p, node condition) {
    node_view v = graph_view(g, condition);
    if (v.op == NODE_AND) {
        node other = v.child[1];
        return product_add_mask(g, p, v.child[0]) && product_add_mask(g, p, other);
    }
    if (is_value(g, condition, 1) || in_list(condition, p->mask, p->masks))
        return true;
    if (p->masks == MASKS)
        return false;
    unsigned at = p->masks++;
    for (; at > 0 && p->mask[at - 1] > condition; at--)
        p->mask[at] = p->mask[at - 1];
    p->mask[at] = condition;
    return true;
}

static void remove_factor(product *p, unsigned k) {
    memmove(&p->factor[k], &p->factor[k + 1], (p->factors - k - 1) * sizeof *p->factor);
    p->factors--;
}

bool product_add_factor(simplifier *s, product *p, node base, int power) {
    unsigned at = 0;
    while (at < p->factors && p->factor[at].base < base)
        at++;
    if (at < p->factors && p->factor[at].base == base && !(s->without >> REWRITE_powers & 1)) {
        p->factor[at].power += power;
        if (!p->factor[at].power)
            remove_factor(p, at);
        s->merged_powers = true;
        return true;
    }
    if (p->factors == FACTORS)
        return false;
    memmove(&p->factor[at + 1], &p->factor[at], (p->factors - at) * sizeof *p->factor);
    p->factor[at] = (factor){base, power};
    p->factors++;
    return true;
}

bool product_take_factor(product *p, node base, int power) {
    for (unsigned i = 0; i < p->factors; i++) {
        int have = p->factor[i].power;
        if (p->factor[i].base != base || (have > 0) != (power > 0) || abs(have) < abs(power))
            continue;
        p->factor[i].power -= power;
        if (!p->factor[i].power)
            remove_factor(p, i);
        return true;
    }
    return false;
}

/* A boolean as a number. */
static bool is_indicator(const graph *g, node_view v, node *condition) {
    if (v.op != NODE_TO_FLOAT)
        return false;
    node_view w = graph_view(g, v.child[0]);
    if (w.op != NODE_SELECT || !is_value(g, w.child[1], 1) || !is_value(g, w.child[2], 0))
        return false;
    *condition = w.child[0];
    return true;
}

/* Does the product stay as it is, because others read it too? */
static bool stays_whole(const simplifier *s, node n, node_op op) {
    return !simplify_is_single(s, n) && ((op == NODE_EXP && s->shared_stay == STAY_ALL) ||
                                         ((op == NODE_MUL || op == NODE_DIV) && s->shared_stay != STAY_NONE));
}

/* Does a factor leave even a product that stays whole? One that no sum that reads the product sums over does, constants
 * among them: all those sums are then multiplied with it, which have fewer elements. */
static bool loses_factor(const simplifier *s, node n, node_view v) {
    if (v.op != NODE_MUL)
        return false;
    for (unsigned i = 0; i < 2; i++) {
        node_view f = graph_view(s->g, v.child[i]);
        if (f.op == NODE_FLOAT || (s->shared_stay == STAY_ALL && !(f.free & s->read_over[n]) && f.free != v.free))
            return true;
    }
    return false;
}

static bool open_node(simplifier *s, product *p, node n, int power) {
    node_view v = graph_view(s->g, n);
    if (stays_whole(s, n, v.op) && !loses_factor(s, n, v))
        return product_add_factor(s, p, n, power);
    node a = v.child_count ? v.child[0] : NODE_NONE, b = v.child_count > 1 ? v.child[1] : NODE_NONE;
    node condition;
    switch (v.op) {
    case NODE_FLOAT:
        if (!isfinite(v.number) || v.number == 0 || !isfinite(pow(v.number, power)))
            return product_add_factor(s, p, n, power);
        p->coefficient *= pow(v.number, power);
        return isfinite(p->coefficient) && p->coefficient != 0;
    case NODE_NEG:
        p->coefficient *= power % 2 ? -1 : 1;
        return open_node(s, p, a, power);
    case NODE_MUL:
        return open_node(s, p, a, power) && open_node(s, p, b, power);
    case NODE_DIV:
        return open_node(s, p, a, power) && open_node(s, p, b, -power);
    case NODE_SELECT:
        if (power <= 0 || !graph_is_guarded(s->g, n))
            return product_add_factor(s, p, n, power);
        return product_add_mask(s->g, p, a) && open_node(s, p, b, power);
    default:
        if (power > 0 && is_indicator(s->g, v, &condition))
            return product_add_mask(s->g, p, condition);
        return product_add_factor(s, p, n, power);
    }
}

/* Exponents */

static bool add_term(product *p, node n, int times) {
    unsigned at = 0;
    while (at < p->terms && p->term[at].node < n)
        at++;
    if (at < p->terms && p->term[at].node == n) {
        p->term[at].times += times;
        if (!p->term[at].times) {
            memmove(&p->term[at], &p->term[at + 1], (p->terms - at - 1) * sizeof *p->term);
            p->terms--;
        }
        return true;
    }
    if (p->terms == TERMS)
        return false;
    memmove(&p->term[at + 1], &p->term[at], (p->terms - at) * sizeof *p->term);
    p->term[at] = (term){n, times};
    p->terms++;
    return true;
}

enum { LARGEST_MULTIPLE = 8 };

/* Is a sum in an exponent taken apart? One of what is narrow is, and one with a narrow part, unless others read it. */
static bool comes_apart(const simplifier *s, node n, node_view v, index_set whole) {
    if (v.op != NODE_ADD && v.op != NODE_SUB)
        return false;
    bool narrow_part = graph_view(s->g, v.child[0]).free != whole || graph_view(s->g, v.child[1]).free != whole;
    return v.free != whole || (narrow_part && simplify_is_single(s, n));
}

/* Adds an exponent. Sums with a part that depends on fewer indices than the whole come apart, so that what is narrow
 * can be computed apart; the logarithm of what is narrow is a factor. */
static bool open_exponent(simplifier *s, product *p, node n, int times, index_set whole,
                          const conditions_known *given) {
    node_view v = graph_view(s->g, n);
    node a = v.child_count ? v.child[0] : NODE_NONE, b = v.child_count > 1 ? v.child[1] : NODE_NONE;
    if (v.op == NODE_NEG)
        return open_exponent(s, p, a, -times, whole, given);
    double number;
    if (v.op == NODE_MUL) /* an integer multiple */
        for (unsigned side = 0; side < 2; side++)
            if (graph_is_constant(s->g, side ? b : a, &number) && fabs(number) <= LARGEST_MULTIPLE &&
                number == (int)number && number != 0)
                return open_exponent(s, p, side ? a : b, times * (int)number, whole, given);
    if (comes_apart(s, n, v, whole))
        return open_exponent(s, p, a, times, whole, given) &&
               open_exponent(s, p, b, v.op == NODE_SUB ? -times : times, whole, given);
    if (v.op == NODE_LOG && v.free != whole && !(s->without >> REWRITE_logarithms & 1) &&
        bounds_positive(s, a, given->mask, given->count))
        return open_node(s, p, a, times);
    return add_term(p, n, times);
}

/* What is known to hold where p matters: its own conditions and those around it. */
static conditions_known known_at(const simplifier *s, const product *p) {
    conditions_known known = s->given;
    for (unsigned i = 0; i < p->masks && known.count < MASKS; i++)
        if (!in_list(p->mask[i], known.mask, known.count))
            known.mask[known.count++] = p->mask[i];
    return known;
}

/* The exponential that the others are merged into: the one with the largest space. */
static unsigned widest_exponential(const simplifier *s, const product *p) {
    unsigned best = FACTORS;
    int64_t space = -1;
    for (unsigned i = 0; i < p->factors; i++) {
        node_view v = graph_view(s->g, p->factor[i].base);
        if (v.op == NODE_EXP && !stays_whole(s, p->factor[i].base, v.op) && graph_space(s->g, v.free) > space) {
            best  = i;
            space = graph_space(s->g, v.free);
        }
    }
    return best;
}

static bool merge_exponentials(simplifier *s, product *p) {
    conditions_known known = known_at(s, p), *given = &known;
    unsigned main = widest_exponential(s, p);
    if (main == FACTORS)
        return true;
    index_set whole = graph_view(s->g, p->factor[main].base).free;
    bool merge      = !(s->without >> REWRITE_exponentials & 1);
    if (!merge && p->terms)
        return true;     /* the others stay factors */
    index_set there = 0; /* in the exponent already */
    for (unsigned i = 0; i < p->terms; i++)
        there |= graph_view(s->g, p->term[i].node).free;
    if ((there & ~whole) && (whole & ~there))
        return true; /* together they would depend on more than either: as many exponentials as pairs */
    whole |= there;
    factor taken[FACTORS];
    unsigned count = 0;
    for (unsigned i = p->factors; i-- > 0;) {
        node_view v = graph_view(s->g, p->factor[i].base);
        if (v.op != NODE_EXP || stays_whole(s, p->factor[i].base, v.op) || (v.free & ~whole) ||
            (!merge && (i != main || p->factor[i].power != 1)))
            continue;
        taken[count++] = p->factor[i];
        remove_factor(p, i);
    }
    bool fits = true;
    s->merged_exponentials |= count > 1;
    for (unsigned i = 0; i < count && fits; i++)
        fits = open_exponent(s, p, graph_view(s->g, taken[i].base).child[0], taken[i].power, whole, given);
    return fits;
}

/* sqrt(a)^2 = a where a is proved not to be negative. */
static bool merge_roots(simplifier *s, product *p) {
    for (unsigned i = 0; i < p->factors; i++) {
        node_view v = graph_view(s->g, p->factor[i].base);
        int power   = p->factor[i].power;
        if (v.op != NODE_SQRT || abs(power) < 2 || (s->without >> REWRITE_powers & 1))
            continue;
        node inside = v.child[0];
        if (bounds_of(s, inside).low < 0)
            continue;
        s->merged_powers   = true;
        p->factor[i].power = power % 2;
        if (!p->factor[i].power)
            remove_factor(p, i);
        if (!open_node(s, p, inside, power / 2))
            return false;
        i = (unsigned)-1; /* from the beginning: the list has changed */
    }
    return true;
}

bool product_of(simplifier *s, node n, product *p) {
    *p = product_one();
    return open_node(s, p, n, 1) && merge_roots(s, p) && merge_exponentials(s, p);
}

bool product_add_node(simplifier *s, product *p, node n, int power) {
    return open_node(s, p, n, power);
}

bool product_is_constant(const product *p) {
    return !p->factors && !p->terms && !p->masks;
}

bool product_same(const product *a, const product *b) {
    return a->factors == b->factors && a->terms == b->terms && a->masks == b->masks &&
           memcmp(a->factor, b->factor, a->factors * sizeof *a->factor) == 0 &&
           memcmp(a->term, b->term, a->terms * sizeof *a->term) == 0 &&
           memcmp(a->mask, b->mask, a->masks * sizeof *a->mask) == 0;
}

index_set product_free(const graph *g, const product *p) {
    index_set all = 0;
    for (unsigned i = 0; i < p->factors; i++)
        all |= graph_view(g, p->factor[i].base).free;
    for (unsigned i = 0; i < p->terms; i++)
        all |= graph_view(g, p->term[i].node).free;
    for (unsigned i = 0; i < p->masks; i++)
        all |= graph_view(g, p->mask[i]).free;
    return all;
}

/* Common parts */

static void common_factors(product *a, product *b, product *both) {
    for (unsigned i = 0; i < a->factors;) {
        unsigned k = 0;
        while (k < b->factors && b->factor[k].base != a->factor[i].base)
            k++;
        if (k == b->factors || (a->factor[i].power > 0) != (b->factor[k].power > 0)) {
            i++;
            continue;
        }
        int power = abs(a->factor[i].power) < abs(b->factor[k].power) ? a->factor[i].power : b->factor[k].power;
        both->factor[both->factors++] = (factor){a->factor[i].base, power};
        a->factor[i].power -= power;
        b->factor[k].power -= power;
        if (!b->factor[k].power)
            remove_factor(b, k);
        if (!a->factor[i].power)
            remove_factor(a, i);
        else
            i++;
    }
}

void product_take_masks(product *p, const product *other) {
    unsigned left = 0;
    for (unsigned i = 0; i < p->masks; i++)
        if (!in_list(p->mask[i], other->mask, other->masks))
            p->mask[left++] = p->mask[i];
    p->masks = left;
}

static void common_masks(product *a, product *b, product *both) {
    for (unsigned i = 0; i < a->masks; i++)
        if (in_list(a->mask[i], b->mask, b->masks))
            both->mask[both->masks++] = a->mask[i];
    product_take_masks(a, both);
    product_take_masks(b, both);
}

product product_common(product *a, product *b) {
    product both = product_one();
    common_factors(a, b, &both);
    if (a->terms && a->terms == b->terms && memcmp(a->term, b->term, a->terms * sizeof *a->term) == 0) {
        memcpy(both.term, a->term, sizeof both.term);
        both.terms = a->terms;
        a->terms = b->terms = 0;
    }
    common_masks(a, b, &both);
    if (fabs(a->coefficient) == fabs(b->coefficient) && fabs(a->coefficient) != 1) {
        both.coefficient = fabs(a->coefficient);
        a->coefficient /= both.coefficient;
        b->coefficient /= both.coefficient;
    }
    return both;
}

/* Back to nodes */

static node power_node(simplifier *s, node base, int power) {
    node result = NODE_NONE;
    for (; power > 0; power /= 2) {
        if (power % 2)
            result = result ? graph_mul(s->g, result, base) : base;
        if (power > 1)
            base = graph_mul(s->g, base, base);
    }
    return result;
}

/* What has the same free indices is multiplied first, and the narrow before the wide. */
typedef struct part {
    node over, under; /* NODE_NONE: 1 */
    index_set free;
} part;

static node multiplied(graph *g, node a, node b) {
    return !a ? b : !b ? a : graph_mul(g, a, b);
}

static node quotient(graph *g, const part *p) {
    if (!p->under)
        return p->over ? p->over : graph_float(g, 1);
    return graph_div(g, p->over ? p->over : graph_float(g, 1), p->under);
}

static void add_part(graph *g, part *list, unsigned *count, node n, bool under) {
    index_set free = graph_view(g, n).free;
    unsigned k     = 0;
    while (k < *count && list[k].free != free)
        k++;
    if (k == *count)
        list[(*count)++] = (part){.free = free};
    node *side = under ? &list[k].under : &list[k].over;
    *side      = multiplied(g, *side, n);
}

/* The two parts whose product is narrowest. */
static void narrowest_pair(const graph *g, const part *list, unsigned count, unsigned *first, unsigned *second) {
    int64_t best = INT64_MAX, best_apart = INT64_MAX;
    for (unsigned i = 0; i < count; i++)
        for (unsigned k = i + 1; k < count; k++) {
            int64_t here  = graph_space(g, list[i].free | list[k].free);
            int64_t apart = graph_space(g, list[i].free) + graph_space(g, list[k].free);
            if (here < best || (here == best && apart < best_apart)) {
                best       = here;
                best_apart = apart;
                *first     = i;
                *second    = k;
            }
        }
}

static part multiply_two(graph *g, const part *a, const part *b) {
    bool a_wider = (b->free & ~a->free) == 0 && a->free != b->free;
    bool b_wider = (a->free & ~b->free) == 0 && a->free != b->free;
    part out     = {.free = a->free | b->free};
    if (a_wider) { /* the narrow one is worked out first */
        out.over  = multiplied(g, a->over, quotient(g, b));
        out.under = a->under;
    } else if (b_wider) {
        out.over  = multiplied(g, b->over, quotient(g, a));
        out.under = b->under;
    } else if (a->free == b->free) {
        out.over  = multiplied(g, a->over, b->over);
        out.under = multiplied(g, a->under, b->under);
    } else {
        out.over = multiplied(g, quotient(g, a), quotient(g, b));
    }
    return out;
}

static node multiply_parts(simplifier *s, part *list, unsigned count, double coefficient) {
    graph *g = s->g;
    if (!count)
        return graph_float(g, coefficient);
    unsigned at = 0;
    for (unsigned i = 1; i < count; i++)
        if (graph_space(g, list[i].free) < graph_space(g, list[at].free))
            at = i;
    if (coefficient == -1 && list[at].over)
        list[at].over = graph_neg(g, list[at].over);
    else if (coefficient != 1)
        list[at].over = multiplied(g, list[at].over, graph_float(g, coefficient));
    while (count > 1) {
        unsigned a = 0, b = 1;
        if (simplify_may(s, REWRITE_narrow_first))
            narrowest_pair(g, list, count, &a, &b);
        list[a] = multiply_two(g, &list[a], &list[b]);
        list[b] = list[--count];
    }
    return quotient(g, &list[0]);
}

/* Narrow positive factors of an exponential become logarithms in its exponent: one operation less on what is wide. */
static void absorb_logarithms(simplifier *s, product *p) {
    index_set whole = 0;
    for (unsigned i = 0; i < p->terms; i++)
        whole |= graph_view(s->g, p->term[i].node).free;
    conditions_known known = known_at(s, p);
    for (unsigned i = 0; i < p->factors && p->terms && p->terms < TERMS && simplify_may(s, REWRITE_logarithms);) {
        factor f       = p->factor[i];
        index_set free = graph_view(s->g, f.base).free;
        if ((free & ~whole) || free == whole || !bounds_positive(s, f.base, known.mask, known.count)) {
            i++;
            continue;
        }
        simplify_because(s, REWRITE_logarithms);
        remove_factor(p, i);
        add_term(p, graph_pointwise(s->g, NODE_LOG, f.base, NODE_NONE, NODE_NONE), f.power);
    }
}

node product_exponential(simplifier *s, const product *p) {
    return graph_pointwise(s->g, NODE_EXP, terms_build(s, p->terms, p->term), NODE_NONE, NODE_NONE);
}

node product_build(simplifier *s, const product *given) {
    product p  = *given;
    reason why = s->why;
    if (!merge_exponentials(s, &p))
        p = *given;
    absorb_logarithms(s, &p);
    part list[FACTORS + 1];
    unsigned count = 0;
    if (p.terms)
        add_part(s->g, list, &count, product_exponential(s, &p), false);
    simplify_because(s, why);
    for (unsigned i = 0; i < p.factors; i++)
        add_part(s->g, list, &count, power_node(s, p.factor[i].base, abs(p.factor[i].power)), p.factor[i].power < 0);
    node n   = multiply_parts(s, list, count, p.coefficient);
    node all = conjunction(s->g, p.mask, p.masks);
    return all ? graph_select(s->g, all, n, graph_float(s->g, 0)) : n;
}
