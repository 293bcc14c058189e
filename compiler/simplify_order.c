/* In which order a sum of products is computed: the cheapest sequence of products of two, found by dynamic programming
 * over sets of factors (Bellman 1957; for contractions e.g. Pfeifer, Haegeman & Verstraete 2014, arXiv:1304.6112). A
 * sum over an index is taken as soon as no other factor has it, under the conditions that have it. Sums that exist in
 * the graph cost nothing. */
#include "enough.h"
#include "simplify_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SETS = 1 << ITEMS };

typedef struct step {
    double cost;
    index_set free; /* of the set's product, summed */
    index_set gone; /* indices summed in it */
    uint32_t masks; /* bit: conditions applied in it */
    uint32_t known; /* an existing sum, 0: none */
    uint8_t left;   /* one half of the set; 0: a single item */
    bool nothing;   /* its conditions may leave nothing to sum */
} step;

typedef struct search {
    simplifier *s;
    const contraction *c;
    node except;
    const product *outside; /* what the sum will be multiplied with */
    index_set item_free[ITEMS], mask_free[MASKS];
    unsigned wild; /* factors that may not be finite and so must not meet a sum over what may be nothing, which is 0 */
    step set[SETS];
    factor extra[FACTORS]; /* factors from outside that known sums have brought in */
    unsigned extras;
    double scale; /* and their coefficients */
    bool existing;
    reason why;
} search;

/* The conditions whose bits are set, in order. */
static unsigned list_masks(const search *q, uint32_t bits, node list[MASKS]) {
    unsigned count = 0;
    for (unsigned i = 0; i < q->c->masks; i++)
        if (bits >> i & 1)
            list[count++] = q->c->mask[i];
    return count;
}

/* The factors of a set, in order. */
static unsigned list_items(const search *q, unsigned set, factor list[ITEMS]) {
    unsigned count = 0;
    for (unsigned i = 0; i < q->c->items; i++)
        if (set >> i & 1)
            list[count++] = q->c->item[i];
    return count;
}

/* Is the known sum one over these factors, perhaps times some that stand outside? Counts the latter; -1: it is not. */
static int extra_factors(const known_sum *k, const factor *f, unsigned count, const product *outside) {
    unsigned at = 0;
    int extra   = 0;
    for (unsigned i = 0; i < k->factors; i++) {
        if (at < count && k->factor[i].base == f[at].base && k->factor[i].power == f[at].power) {
            at++;
            continue;
        }
        bool found = false;
        for (unsigned m = 0; m < outside->factors && !found; m++) {
            int have = outside->factor[m].power, wanted = k->factor[i].power;
            found =
                outside->factor[m].base == k->factor[i].base && (have > 0) == (wanted > 0) && abs(have) >= abs(wanted);
        }
        if (!found)
            return -1;
        extra++;
    }
    return at == count ? extra : -1;
}

/* Known sums are listed by the first of their factors that has a summed index. */
static node anchor(const graph *g, const factor *list, unsigned count, index_set vars) {
    for (unsigned i = 0; i < count; i++)
        if (graph_view(g, list[i].base).free & vars)
            return list[i].base;
    return NODE_NONE;
}

enum { LONGEST_SEARCH = 64 };

static uint32_t find_known(const search *q, unsigned set) {
    const step *t = &q->set[set];
    factor list[ITEMS];
    node mask[MASKS];
    uint32_t best = 0;
    int most      = -1;
    if (!t->gone || !simplify_may(q->s, REWRITE_existing_product))
        return 0;
    unsigned count = list_items(q, set, list), masks = list_masks(q, t->masks, mask), seen = 0;
    for (uint32_t k = q->s->first_known[anchor(q->s->g, list, count, t->gone)]; k && seen < LONGEST_SEARCH;
         k          = q->s->known[k].next, seen++) {
        const known_sum *known = &q->s->known[k];
        int extra              = known->vars == t->gone && known->masks == masks && known->node != q->except &&
                            memcmp(known->mask, mask, masks * sizeof *mask) == 0
                                     ? extra_factors(known, list, count, q->outside)
                                     : -1;
        if (extra > most) {
            most = extra;
            best = k;
        }
    }
    return best;
}

/* What a set is once it is multiplied and summed, in whatever order. An index is summed in it if no other factor has
 * it; with a condition that has a second summed index only where the set has that too, so that each condition is
 * applied once, and with all it needs. */
static void describe(search *q, unsigned set) {
    step *t       = &q->set[set];
    index_set raw = 0, other = 0;
    for (unsigned i = 0; i < q->c->items; i++)
        *(set >> i & 1 ? &raw : &other) |= q->item_free[i];
    t->gone = q->c->vars & raw & ~other;
    for (unsigned i = 0; i < q->c->masks; i++)
        if (q->mask_free[i] & q->c->vars & ~raw)
            t->gone &= ~q->mask_free[i];
    t->masks = 0;
    t->free  = raw;
    for (unsigned i = 0; i < q->c->masks; i++)
        if (q->mask_free[i] & t->gone) {
            t->masks |= 1u << i;
            t->free |= q->mask_free[i];
        }
    t->free &= ~t->gone;
    t->nothing = false;
    if (t->masks && q->wild) {
        node mask[MASKS];
        t->nothing = !bounds_inhabited(q->s, t->gone, mask, list_masks(q, t->masks, mask), NULL, 0);
    }
}

static double space_of(const search *q, index_set set) {
    return (double)graph_space(q->s->g, set);
}

static index_set free_of_masks(const search *q, uint32_t masks) {
    index_set all = 0;
    for (unsigned i = 0; i < q->c->masks; i++)
        if (masks >> i & 1)
            all |= q->mask_free[i];
    return all;
}

static void choose(search *q, unsigned set) {
    step *t  = &q->set[set];
    t->left  = 0;
    t->known = find_known(q, set);
    if (t->known) {
        t->cost = 0;
        return;
    }
    if (!(set & (set - 1))) {
        t->cost = t->gone ? space_of(q, t->free | t->gone) : 0;
        return;
    }
    t->cost = INFINITY;
    for (unsigned left = (set - 1) & set; left; left = (left - 1) & set) {
        unsigned right = set & ~left;
        if (left < right)
            continue; /* the same as the other way round */
        const step *a = &q->set[left], *b = &q->set[right];
        if ((a->nothing && (right & q->wild)) || (b->nothing && (left & q->wild)))
            continue;
        index_set here = a->free | b->free | free_of_masks(q, t->masks & ~a->masks & ~b->masks);
        bool sums      = t->gone & ~a->gone & ~b->gone;
        double cost    = a->cost + b->cost + (sums ? 2 : 1) * space_of(q, here);
        if (cost < t->cost) {
            t->cost = cost;
            t->left = (uint8_t)left;
        }
    }
}

/* All steps; false where the order is not free: an index stands in conditions only. */
static bool run(search *q) {
    const contraction *c = q->c;
    index_set in_items   = 0;
    simplify_fit(q->s);
    for (unsigned i = 0; i < c->items; i++)
        in_items |= q->item_free[i] = graph_view(q->s->g, c->item[i].base).free;
    for (unsigned i = 0; i < c->masks; i++)
        q->mask_free[i] = graph_view(q->s->g, c->mask[i]).free;
    if (!c->items || (c->vars & ~in_items))
        return false;
    for (unsigned i = 0; i < c->items && c->masks; i++)
        if (!bounds_tame_power(q->s, c->item[i].base, c->item[i].power))
            q->wild |= 1u << i;
    unsigned all = (1u << c->items) - 1;
    for (unsigned set = 1; set <= all; set++)
        describe(q, set);
    for (unsigned set = 1; set <= all; set++)
        choose(q, set);
    return q->set[all].cost < INFINITY;
}

static unsigned covered_by_known(const search *q, unsigned set) {
    const step *t = &q->set[set];
    if (t->known)
        return set;
    return t->left ? covered_by_known(q, t->left) | covered_by_known(q, set & ~t->left) : 0;
}

double order_cost(simplifier *s, const contraction *c, const product *outside, node except, unsigned *covered) {
    search q       = {.s = s, .c = c, .except = except, .outside = outside};
    unsigned whole = (1u << c->items) - 1;
    *covered       = 0;
    if (run(&q)) {
        *covered = covered_by_known(&q, whole);
        return q.set[whole].cost;
    }
    index_set all = c->vars;
    for (unsigned i = 0; i < c->items; i++)
        all |= q.item_free[i];
    return (c->items + 1) * space_of(&q, all);
}

static bool emit(search *q, unsigned set, product *p);

static bool in_set(const search *q, unsigned set, const factor *f) {
    for (unsigned i = 0; i < q->c->items; i++)
        if ((set >> i & 1) && q->c->item[i].base == f->base && q->c->item[i].power == f->power)
            return true;
    return false;
}

/* Multiplies what the halves of a set are into *p. */
static bool emit_halves(search *q, unsigned set, product *p) {
    unsigned left = q->set[set].left;
    if (left)
        return emit(q, left, p) && emit(q, set & ~left, p);
    const factor *f = &q->c->item[__builtin_ctz(set)];
    return product_add_factor(q->s, p, f->base, f->power);
}

/* n is the sum of the set, with the factors from outside that came in since there were `extras`. */
static void remember_set(search *q, unsigned set, node n, unsigned extras, double scale) {
    contraction part = {.vars = q->set[set].gone};
    part.items       = list_items(q, set, part.item);
    part.masks       = list_masks(q, q->set[set].masks, part.mask);
    for (unsigned i = extras; i < q->extras; i++)
        if (!contraction_add(&part, q->extra[i]))
            return;
    order_remember(q->s, &part, q->scale / scale, n);
}

static bool emit(search *q, unsigned set, product *p) {
    step t = q->set[set];
    if (t.known) {
        known_sum known = q->s->known[t.known];
        q->existing     = true;
        q->scale *= known.coefficient;
        for (unsigned i = 0; i < known.factors; i++) { /* what it has already from outside */
            factor f = known.factor[i];
            if (in_set(q, set, &f))
                continue;
            if (q->extras == FACTORS)
                return false;
            q->extra[q->extras++] = f;
        }
        return product_add_node(q->s, p, known.node, 1);
    }
    index_set summed = t.gone;
    uint32_t masks   = t.masks;
    if (t.left) {
        const step *a = &q->set[t.left], *b = &q->set[set & ~t.left];
        summed &= ~a->gone & ~b->gone;
        masks &= ~a->masks & ~b->masks;
    }
    if (!summed)
        return emit_halves(q, set, p);
    product body = product_one();
    node list[MASKS];
    unsigned count = list_masks(q, masks, list), extras = q->extras;
    double scale = q->scale;
    if (!emit_halves(q, set, &body))
        return false;
    double coefficient = body.coefficient;
    body.coefficient   = 1;
    p->coefficient *= coefficient;
    simplify_because(q->s, q->existing            ? REWRITE_existing_product
                           : summed == q->c->vars ? q->why
                                                  : REWRITE_contraction);
    node n = graph_reduce(q->s->g, REDUCE_SUM, summed, conjunction(q->s->g, list, count), product_build(q->s, &body));
    remember_set(q, set, n, extras, scale * coefficient);
    return product_add_node(q->s, p, n, 1);
}

bool order_build(simplifier *s, const contraction *c, node except, reason why, product *p) {
    product outside = *p;
    search q        = {.s = s, .c = c, .except = except, .outside = &outside, .scale = 1, .why = why};
    bool fits       = true;
    if (run(&q)) {
        fits = emit(&q, (1u << c->items) - 1, p);
        p->coefficient /= q.scale;
        for (unsigned i = 0; i < q.extras && fits; i++)
            fits = product_take_factor(p, q.extra[i].base, q.extra[i].power);
        return fits;
    }
    product body = product_one();
    for (unsigned i = 0; i < c->items; i++)
        if (!product_add_factor(s, &body, c->item[i].base, c->item[i].power))
            return false;
    node n = graph_reduce(s->g, REDUCE_SUM, c->vars, conjunction(s->g, c->mask, c->masks), product_build(s, &body));
    return product_add_node(s, p, n, 1);
}

void order_remember(simplifier *s, const contraction *c, double coefficient, node n) {
    index_set free = 0;
    for (unsigned i = 0; i < c->items; i++)
        free |= graph_view(s->g, c->item[i].base).free;
    for (unsigned i = 0; i < c->masks; i++)
        free |= graph_view(s->g, c->mask[i]).free;
    /* a node may have an index that its value does not depend on, such as that of exp(z - z) */
    if (!c->items || (graph_view(s->g, n).free & ~(free & ~c->vars)) || graph_is_constant(s->g, n, NULL))
        return;
    simplify_fit(s);
    node first    = anchor(s->g, c->item, c->items, c->vars);
    unsigned seen = 0;
    for (uint32_t k = s->first_known[first]; k && seen < LONGEST_SEARCH; k = s->known[k].next, seen++)
        if (s->known[k].node == n && s->known[k].factors == c->items &&
            memcmp(s->known[k].factor, c->item, c->items * sizeof *c->item) == 0)
            return;
    if (s->known_count + 1 >= s->known_capacity) {
        s->known_capacity = s->known_capacity ? 2 * s->known_capacity : 256;
        s->known          = enough(realloc(s->known, s->known_capacity * sizeof *s->known));
    }
    known_sum *k = &s->known[++s->known_count];
    *k = (known_sum){.node = n, .vars = c->vars, .coefficient = coefficient, .factors = c->items, .masks = c->masks};
    memcpy(k->factor, c->item, sizeof k->factor);
    memcpy(k->mask, c->mask, sizeof k->mask);
    k->next               = s->first_known[first];
    s->first_known[first] = s->known_count;
}
