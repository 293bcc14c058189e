/* Sums over indices in contraction normal form: summed indices, factors and a domain, without an order. What does not
 * depend on the summed indices leaves; factors that are such sums are looked into; the order is simplify_order.c's. */
#include "prove.h"
#include "simplify_internal.h"

#include <math.h>
#include <string.h>

/* A sum as it is taken apart. */
typedef struct whole {
    product outside; /* what leaves */
    contraction c;
} whole;

static int by_base(const factor *a, const factor *b) {
    return a->base != b->base ? (a->base < b->base ? -1 : 1) : a->power - b->power;
}

bool contraction_add(contraction *c, factor f) {
    unsigned at = c->items;
    if (at == ITEMS)
        return false;
    for (; at > 0 && by_base(&c->item[at - 1], &f) > 0; at--)
        c->item[at] = c->item[at - 1];
    c->item[at] = f;
    c->items++;
    return true;
}

static bool add_mask(const graph *g, contraction *c, node condition) {
    product p = {.masks = c->masks};
    memcpy(p.mask, c->mask, sizeof p.mask);
    if (!product_add_mask(g, &p, condition))
        return false;
    memcpy(c->mask, p.mask, sizeof c->mask);
    c->masks = p.masks;
    return true;
}

/* May f, which does not depend on the summed indices, leave a sum over this domain? Over nothing the sum is 0, and 0
 * times what is not finite is not. */
static bool may_leave(simplifier *s, factor f, const contraction *c) {
    return !c->masks || bounds_tame_power(s, f.base, f.power) ||
           bounds_inhabited(s, c->vars, c->mask, c->masks, NULL, 0);
}

/* Is there a factor under the sum, as wide as f at least, that is narrower than the sum's result? There f takes fewer
 * multiplications. */
static bool narrower_inside(const graph *g, const product *p, factor f, index_set vars, index_set result) {
    index_set free = graph_view(g, f.base).free;
    for (unsigned i = 0; i < p->factors; i++) {
        index_set other = graph_view(g, p->factor[i].base).free;
        if ((other & vars) && !(free & ~other) && graph_space(g, other) < graph_space(g, result | free))
            return true;
    }
    return false;
}

/* Distributes p, summed over w->c.vars where w->c.mask holds, to what is inside and outside. */
static bool divide(simplifier *s, const product *p, whole *w) {
    graph *g       = s->g;
    index_set vars = w->c.vars, seen = 0;
    conditions_known inside = {0};
    bool out                = simplify_may(s, REWRITE_conditions_out);
    for (unsigned i = 0; i < w->c.masks; i++) {
        node m = w->c.mask[i];
        if (graph_view(g, m).free & vars)
            inside.mask[inside.count++] = m;
        else if (!out || !product_add_mask(g, &w->outside, m))
            return false;
    }
    memcpy(w->c.mask, inside.mask, sizeof w->c.mask);
    w->c.masks = inside.count;
    w->outside.coefficient *= p->coefficient;
    product rest = *p;
    if (rest.terms) {
        node e     = product_exponential(s, &rest);
        rest.terms = 0;
        if (rest.factors == FACTORS || !product_add_factor(s, &rest, e, 1))
            return false;
    }
    for (unsigned i = 0; i < w->c.items; i++)
        seen |= graph_view(g, w->c.item[i].base).free;
    for (unsigned i = 0; i < rest.factors; i++)
        if (graph_view(g, rest.factor[i].base).free & vars)
            seen |= graph_view(g, rest.factor[i].base).free;
    index_set result = seen & ~vars;
    for (unsigned i = 0; i < rest.factors; i++) {
        factor f = rest.factor[i];
        if ((graph_view(g, f.base).free & vars) || !simplify_may(s, REWRITE_factors_out) || !may_leave(s, f, &w->c) ||
            narrower_inside(g, &rest, f, vars, result)) {
            seen |= graph_view(g, f.base).free;
            if (!contraction_add(&w->c, f))
                return false;
        } else if (!product_add_factor(s, &w->outside, f.base, f.power)) {
            return false;
        }
    }
    for (unsigned i = 0; i < w->c.masks; i++)
        seen |= graph_view(g, w->c.mask[i]).free;
    /* the summand is the same at every value of an index that nothing has */
    w->outside.coefficient *= (double)graph_space(g, vars & ~seen);
    w->c.vars &= seen;
    return true;
}

/* Is the condition i = e for a summed i that e does not have? */
static bool is_point(const graph *g, node condition, index_set vars, index_id *index, node *e) {
    node_view v = graph_view(g, condition);
    if (v.op != NODE_EQUAL)
        return false;
    for (unsigned side = 0; side < 2; side++) {
        node_view i = graph_view(g, v.child[side]), other = graph_view(g, v.child[1 - side]);
        if (i.op != NODE_INDEX || !(i.vars & vars) || (other.free & i.vars) || other.type != TYPE_INT)
            continue;
        *index = (index_id)__builtin_ctzll(i.vars);
        *e     = v.child[1 - side];
        return true;
    }
    return false;
}

/* Puts e for `index` in p and in all conditions but number `without`, which says that they are equal. False where the
 * result is too large; then p and c are as before. */
static bool put_point(simplifier *s, product *p, contraction *c, unsigned without, index_id index, node e) {
    graph *g       = s->g;
    int64_t extent = graph_index_extent(g, index);
    contraction at = {.vars = c->vars & ~simplify_bit(index)};
    product there  = product_one();
    bool fits      = true;
    for (unsigned m = 0; m < c->masks && fits; m++)
        if (m != without)
            fits = add_mask(g, &at, graph_gather(g, c->mask[m], 1, &index, &e));
    if (prove_within(g, e, 0, extent - 1, NULL, 0, NULL) != PROOF_HOLDS)
        fits = fits && add_mask(g, &at, graph_pointwise(g, NODE_LESS_EQUAL, graph_int(g, 0), e, NODE_NONE)) &&
               add_mask(g, &at, graph_pointwise(g, NODE_LESS, e, graph_int(g, extent), NODE_NONE));
    there.coefficient = p->coefficient;
    for (unsigned f = 0; f < p->factors && fits; f++)
        fits = product_add_node(s, &there, graph_gather(g, p->factor[f].base, 1, &index, &e), p->factor[f].power);
    if (p->terms && fits) {
        node x = product_exponential(s, p);
        fits   = product_add_node(s, &there, graph_gather(g, x, 1, &index, &e), 1);
    }
    for (unsigned m = 0; m < there.masks && fits; m++)
        fits = add_mask(g, &at, there.mask[m]);
    if (!fits)
        return false;
    there.masks = 0;
    *p          = there;
    *c          = at;
    return true;
}

/* Where i = e is among the conditions the sum has one point. */
static bool one_point(simplifier *s, product *p, contraction *c) {
    index_id index;
    node e;
    for (unsigned k = 0; k < c->masks; k++)
        if (is_point(s->g, c->mask[k], c->vars, &index, &e)) {
            simplify_because(s, REWRITE_one_point);
            return put_point(s, p, c, k, index, e);
        }
    return false;
}

/* The operations that a factor itself takes, if only this sum reads it. */
static double own_cost(simplifier *s, node n) {
    node_view v = graph_view(s->g, n);
    return simplify_is_single(s, n) ? 2 * (double)graph_space(s->g, v.free | v.vars) : 0;
}

static bool is_sum(const graph *g, factor f) {
    node_view v = graph_view(g, f.base);
    return f.power == 1 && v.op == NODE_REDUCE && v.reduction == REDUCE_SUM && v.type == TYPE_FLOAT;
}

static index_set all_indices(const graph *g, const contraction *c) {
    index_set all = c->vars;
    for (unsigned i = 0; i < c->items; i++)
        all |= graph_view(g, c->item[i].base).free;
    for (unsigned i = 0; i < c->masks; i++)
        all |= graph_view(g, c->mask[i]).free;
    return all;
}

/* Puts the factors of the sum that item k is in its place. */
static bool expand(simplifier *s, const whole *w, unsigned k, whole *out) {
    graph *g    = s->g;
    node_view v = graph_view(g, w->c.item[k].base);
    node domain = v.child[0], body = v.child[1];
    index_set inside = v.vars;
    product p;
    if ((inside & (all_indices(g, &w->c) | product_free(g, &w->outside))) || !product_of(s, body, &p))
        return false;
    *out         = *w;
    out->c.items = 0;
    out->c.vars |= inside;
    for (unsigned i = 0; i < w->c.items; i++)
        if (i != k && !contraction_add(&out->c, w->c.item[i]))
            return false;
    if (!add_mask(g, &out->c, domain))
        return false;
    for (unsigned i = 0; i < p.masks; i++)
        if (!add_mask(g, &out->c, p.mask[i]))
            return false;
    p.masks = 0;
    return divide(s, &p, out);
}

/* A sum and how it is computed. */
typedef struct plan {
    whole w;
    node except; /* a sum that is opened, and so is not there to be used */
    bool opened; /* there are such */
    double cost;
    unsigned covered;
} plan;

/* Looks into factors for as long as that makes the sum cheaper. */
static void open_factors(simplifier *s, plan *p) {
    p->except = NODE_NONE;
    p->opened = false;
    p->cost   = order_cost(s, &p->w.c, &p->w.outside, NODE_NONE, &p->covered);
    if (!simplify_may(s, REWRITE_contraction))
        return;
    for (unsigned round = 0; round < 2; round++) {
        double best_gain = 1e-9 * p->cost;
        plan best        = {.cost = -1};
        for (unsigned k = 0; k < p->w.c.items; k++) {
            plan opened;
            if (!is_sum(s->g, p->w.c.item[k]) || !expand(s, &p->w, k, &opened.w))
                continue;
            node base     = p->w.c.item[k].base;
            double own    = own_cost(s, base);
            opened.except = own > 0 ? base : NODE_NONE;
            opened.opened = true;
            opened.cost   = order_cost(s, &opened.w.c, &opened.w.outside, opened.except, &opened.covered);
            if (p->cost + own - opened.cost > best_gain) {
                best_gain = p->cost + own - opened.cost;
                best      = opened;
            }
        }
        if (best.cost < 0)
            break;
        *p = best;
    }
}

static bool start(simplifier *s, index_set vars, const node *mask, unsigned masks, const product *p, whole *w) {
    *w = (whole){.outside = product_one(), .c = {.vars = vars, .masks = masks}};
    memcpy(w->c.mask, mask, masks * sizeof *mask);
    product inner = *p;
    for (unsigned i = 0; i < inner.masks; i++)
        if (!add_mask(s->g, &w->c, inner.mask[i]))
            return false;
    inner.masks = 0;
    while (simplify_may(s, REWRITE_one_point) && one_point(s, &inner, &w->c))
        ;
    return divide(s, &inner, w);
}

/* The summand in both forms: `whole` has products that others read too as factors, `apart` has none. */
typedef struct summand {
    index_set vars;
    unsigned masks;
    node mask[MASKS];
    product whole, apart;
} summand;

static bool contains(const contraction *c, factor f) {
    for (unsigned i = 0; i < c->items; i++)
        if (by_base(&c->item[i], &f) == 0)
            return true;
    return false;
}

/* What it costs to compute products again that others have computed: those of `whole` that `apart` still needs, when
 * it needs more of their parts than there were products. */
static double repeated(const graph *g, const plan *whole, const plan *apart) {
    double largest = 0;
    int parts = 0, products = 0;
    for (unsigned i = 0; i < apart->w.c.items; i++)
        parts += !(apart->covered >> i & 1) && !contains(&whole->w.c, apart->w.c.item[i]);
    for (unsigned i = 0; i < whole->w.c.items; i++)
        if (!contains(&apart->w.c, whole->w.c.item[i])) {
            node_view v  = graph_view(g, whole->w.c.item[i].base);
            double space = (double)graph_space(g, v.free);
            products += v.op != NODE_EXP; /* an exponential's parts are another exponential */
            largest = space > largest ? space : largest;
        }
    return parts > products ? (parts - products) * largest : 0;
}

/* The cheaper form's plan; false where neither fits. */
static bool make_plan(simplifier *s, const summand *t, plan *best) {
    plan apart;
    bool fits = start(s, t->vars, t->mask, t->masks, &t->whole, &best->w);
    if (fits)
        open_factors(s, best);
    if (fits && product_same(&t->whole, &t->apart))
        return true; /* there is one form only */
    if (!start(s, t->vars, t->mask, t->masks, &t->apart, &apart.w))
        return fits;
    open_factors(s, &apart);
    if (fits && apart.cost + repeated(s->g, best, &apart) >= best->cost)
        return true;
    *best = apart;
    return true;
}

/* The sum together with what has left it, for others that contain both. */
static void remember_whole(simplifier *s, const whole *w, node n) {
    contraction c = w->c;
    if (w->outside.masks || w->outside.terms)
        return;
    for (unsigned i = 0; i < w->outside.factors; i++)
        if (!contraction_add(&c, w->outside.factor[i]))
            return;
    order_remember(s, &c, w->outside.coefficient, n);
}

static void remember(simplifier *s, const summand *t, node n) {
    whole w;
    if (start(s, t->vars, t->mask, t->masks, &t->whole, &w))
        remember_whole(s, &w, n);
    if (!product_same(&t->whole, &t->apart) && start(s, t->vars, t->mask, t->masks, &t->apart, &w))
        remember_whole(s, &w, n);
}

/* What has become of the sum, if it is not its order. */
static reason reason_of(const summand *t, const plan *p) {
    if (p->opened)
        return REWRITE_contraction;
    if (p->w.outside.factors)
        return REWRITE_factors_out;
    if (p->w.outside.masks)
        return REWRITE_conditions_out;
    return t->apart.masks ? REWRITE_domains : REASON_SPEC;
}

/* The value of the sum; NODE_NONE where it is too large. */
static node sum_of(simplifier *s, const summand *t) {
    plan p;
    if (!make_plan(s, t, &p))
        return NODE_NONE;
    product result = p.w.outside;
    if (!p.w.c.vars) { /* nothing is summed any more */
        for (unsigned i = 0; i < p.w.c.items; i++)
            if (!product_add_node(s, &result, p.w.c.item[i].base, p.w.c.item[i].power))
                return NODE_NONE;
        for (unsigned i = 0; i < p.w.c.masks; i++)
            if (!product_add_mask(s->g, &result, p.w.c.mask[i]))
                return NODE_NONE;
        return product_build(s, &result);
    }
    reason why = reason_of(t, &p);
    simplify_because(s, why);
    if (!order_build(s, &p.w.c, p.except, why, &result))
        return NODE_NONE;
    if (why)
        simplify_because(s, why);
    node n = product_build(s, &result);
    remember_whole(s, &p.w, n);
    remember(s, t, n);
    return n;
}

enum { PARTS = 4 };

static bool collect_parts(const graph *g, node n, double sign, node *part, double *signs, unsigned *count) {
    node_view v = graph_view(g, n);
    if (v.op == NODE_ADD || v.op == NODE_SUB) {
        node other = v.child[1];
        return collect_parts(g, v.child[0], sign, part, signs, count) &&
               collect_parts(g, other, v.op == NODE_SUB ? -sign : sign, part, signs, count);
    }
    if (*count == PARTS)
        return false;
    part[*count]      = n;
    signs[(*count)++] = sign;
    return true;
}

/* The factor of p that is a sum of terms, with its terms multiplied out; 0 where there is none, or more than one. */
static unsigned distribute(simplifier *s, const product *p, product *parts) {
    unsigned at = FACTORS;
    for (unsigned i = 0; i < p->factors; i++) {
        node_op op = graph_view(s->g, p->factor[i].base).op;
        if (op != NODE_ADD && op != NODE_SUB)
            continue;
        if (at != FACTORS || p->factor[i].power != 1)
            return 0;
        at = i;
    }
    if (at == FACTORS)
        return 0;
    node part[PARTS];
    double sign[PARTS];
    unsigned count = 0;
    if (!collect_parts(s->g, p->factor[at].base, 1, part, sign, &count))
        return 0;
    for (unsigned k = 0; k < count; k++) {
        parts[k] = *p;
        memmove(&parts[k].factor[at], &parts[k].factor[at + 1], (p->factors - at - 1) * sizeof *p->factor);
        parts[k].factors--;
        parts[k].coefficient *= sign[k];
        if (!product_add_node(s, &parts[k], part[k], 1))
            return 0;
    }
    return count;
}

/* Sums of the parts of a factor, where they cost less than the whole; NODE_NONE where they do not. */
static node split(simplifier *s, const summand *t) {
    summand part[PARTS];
    product parts[PARTS];
    plan p;
    unsigned count = distribute(s, &t->apart, parts);
    if (!count || !make_plan(s, t, &p))
        return NODE_NONE;
    double together = p.cost, apart = 0;
    for (unsigned k = 0; k < count && apart < together; k++) {
        part[k]       = *t;
        part[k].whole = part[k].apart = parts[k];
        apart += make_plan(s, &part[k], &p) ? p.cost : INFINITY;
    }
    if (apart >= together)
        return NODE_NONE;
    node sums[PARTS];
    for (unsigned k = 0; k < count; k++)
        if (!(sums[k] = sum_of(s, &part[k])))
            return NODE_NONE;
    simplify_because(s, REWRITE_split_sums);
    return terms_add(s, count, sums);
}

static node in_normal_form(simplifier *s, index_set vars, node domain, node body) {
    contraction where = {0};
    summand t         = {.vars = vars};
    if (!add_mask(s->g, &where, domain))
        return NODE_NONE;
    t.masks = where.masks;
    memcpy(t.mask, where.mask, sizeof t.mask);
    s->given = (conditions_known){.count = where.masks};
    memcpy(s->given.mask, where.mask, sizeof where.mask);
    s->shared_stay = STAY_ALL;
    bool fits      = product_of(s, body, &t.whole);
    s->shared_stay = STAY_NONE;
    if (!fits || !product_of(s, body, &t.apart) || (t.apart.masks && !simplify_may(s, REWRITE_domains)))
        return NODE_NONE;
    for (unsigned i = 0; i < t.apart.masks && s->given.count < MASKS; i++)
        s->given.mask[s->given.count++] = t.apart.mask[i];
    node n = simplify_may(s, REWRITE_split_sums) ? split(s, &t) : NODE_NONE;
    return n ? n : sum_of(s, &t);
}

node simplify_sum(simplifier *s, index_set vars, node domain, node body) {
    conditions_known around = s->given;
    node n                  = in_normal_form(s, vars, domain, body);
    s->given                = around;
    if (!n)
        simplify_as_before(s);
    return n ? n : graph_reduce(s->g, REDUCE_SUM, vars, domain, body);
}

/* Joining sums */

/* The one sum among the factors of p that nobody else reads; FACTORS where there is none, or several. */
static unsigned only_sum(const simplifier *s, const product *p) {
    unsigned at = FACTORS;
    for (unsigned i = 0; i < p->factors; i++) {
        if (!is_sum(s->g, p->factor[i]) || !simplify_is_single(s, p->factor[i].base))
            continue;
        if (at != FACTORS)
            return FACTORS;
        at = i;
    }
    return at;
}

/* Splits p into its sum's summand and what stands before the sum. */
static bool take_sum(simplifier *s, const product *p, node *sum, product *body, product *before) {
    unsigned at = only_sum(s, p);
    if (at == FACTORS || p->masks || p->terms)
        return false;
    *sum    = p->factor[at].base;
    *before = *p;
    return product_take_factor(before, *sum, 1) && product_of(s, graph_view(s->g, *sum).child[1], body) && !body->masks;
}

static bool multiply_into(simplifier *s, product *p, const product *more) {
    bool fits = true;
    p->coefficient *= more->coefficient;
    for (unsigned i = 0; i < more->factors && fits; i++)
        fits = product_add_factor(s, p, more->factor[i].base, more->factor[i].power);
    return fits;
}

static double space_with(const graph *g, index_set vars, const product *p) {
    return (double)graph_space(g, vars | product_free(g, p));
}

node simplify_join(simplifier *s, const product *a, const product *b) {
    graph *g = s->g;
    node sum[2];
    product body[2], before[2];
    if (!simplify_may(s, REWRITE_join_sums) || !take_sum(s, a, &sum[0], &body[0], &before[0]) ||
        !take_sum(s, b, &sum[1], &body[1], &before[1]))
        return NODE_NONE;
    node_view v = graph_view(g, sum[0]), w = graph_view(g, sum[1]);
    index_set vars = v.vars;
    node domain    = v.child[0];
    /* what stands before a sum may have an index of the same name, which is another */
    if (vars != w.vars || domain != w.child[0] || ((product_free(g, &before[0]) | product_free(g, &before[1])) & vars))
        return NODE_NONE;
    double apart = 2 * (space_with(g, vars, &body[0]) + space_with(g, vars, &body[1]));
    product both = product_common(&body[0], &body[1]);
    if (!(product_free(g, &both) & vars) || !multiply_into(s, &body[0], &before[0]) ||
        !multiply_into(s, &body[1], &before[1]))
        return NODE_NONE;
    product whole = both;
    for (unsigned i = 0; i < 2; i++)
        if (!multiply_into(s, &whole, &body[i]))
            return NODE_NONE;
    double together = 2 * space_with(g, vars, &whole);
    for (unsigned i = 0; i < 2; i++)
        together += (double)(body[i].factors + 1) * space_with(g, 0, &body[i]);
    if (together >= apart)
        return NODE_NONE;
    simplify_because(s, REWRITE_join_sums);
    term t[2];
    for (unsigned i = 0; i < 2; i++) {
        t[i].times          = body[i].coefficient < 0 ? -1 : 1;
        body[i].coefficient = fabs(body[i].coefficient);
        t[i].node           = product_build(s, &body[i]);
    }
    if (!product_add_node(s, &both, terms_build(s, 2, t), 1))
        return NODE_NONE;
    return graph_reduce(g, REDUCE_SUM, vars, domain, product_build(s, &both));
}
