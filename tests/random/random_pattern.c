/* Expressions with the shapes that rules of simplification are about (compiler/reasons.def), which chance alone makes
 * rarely; and iterations. */
#include "random_internal.h"

#include <math.h>

/* a x + a y, over the same or different divisors too */
static term *shared_factor(maker *m, scope s, int depth) {
    term *a = tamed(m, any_float(m, s, depth - 1), 5), *x = any_float(m, s, depth - 1), *y = any_float(m, s, depth - 1);
    const char *sign = chance(m, 50) ? "+" : "-";
    if (chance(m, 30)) {
        term *divisor = positive(m, a);
        return infix(m, sign, infix(m, "/", x, divisor), infix(m, "/", y, copy_of(m, divisor)));
    }
    term *left = random_product_of(m, a, x), *right = random_product_of(m, y, copy_of(m, a));
    return infix(m, sign, left, right);
}

static term *exponential(maker *m, term *a) {
    a = tamed(m, a, 1.5);
    return call(m, "exp", RANDOM_FLOAT, exp(fmin(a->largest, 5)), a, NULL);
}

static term *exponentials(maker *m, scope s, int depth) {
    term *a = exponential(m, any_float(m, s, depth - 1)), *b = exponential(m, any_float(m, s, depth - 2));
    return infix(m, chance(m, 60) ? "*" : "/", a, b);
}

/* exp(a[i]) / sum of exp(a[i]), with or without the largest taken off */
static term *weights(maker *m, scope s, int depth) {
    unsigned index = any_of(m, s);
    if (index == RANDOM_INDICES)
        return exponentials(m, s, depth);
    scope outer = m->rebound;
    m->rebound |= bit_of(index);
    term *a      = exponential(m, any_float(m, s, depth - 1)), *sum;
    term *domain = chance(m, 40) ? domain_over(m, s & ~bit_of(index), index, true) : NULL;
    m->rebound   = outer;
    sum          = along(m, "sum", RANDOM_FLOAT, a->largest * extent_of(m, index), index, domain, copy_of(m, a), NULL);
    term *w      = infix(m, "/", a, sum);
    w->largest   = 8;
    return domain ? guard(m, w, copy_of(m, domain)) : w;
}

static term *powers(maker *m, scope s, int depth) {
    static const double exponent[] = {0.5, -0.5, 1.5, -1, 2};
    term *base                     = positive(m, any_float(m, s, depth - 1));
    term *a                        = infix(m, "^", base, number(m, exponent[below(m, 5)]));
    term *b                        = chance(m, 50) ? infix(m, "^", copy_of(m, base), number(m, exponent[below(m, 5)]))
                                                   : call(m, "sqrt", RANDOM_FLOAT, base->largest, copy_of(m, base), NULL);
    a->largest = b->largest = fmax(2, base->largest);
    return infix(m, chance(m, 50) ? "*" : "/", a, b);
}

/* What cancels. */
static term *difference(maker *m, scope s, int depth) {
    term *x = any_float(m, s, depth - 1), *y = any_float(m, s, depth - 2), *again = copy_of(m, x);
    if (chance(m, 50))
        return infix(m, "-", infix(m, "+", x, y), again);
    return infix(m, "+", infix(m, "-", y, x), random_product_of(m, number(m, 0.5), again));
}

/* A sum whose body has a condition, perhaps one without the summed index, or one that says where it is. */
static term *condition_inside(maker *m, scope s, int depth) {
    unsigned index = binder(m, s);
    if (index == RANDOM_INDICES)
        return shared_factor(m, s, depth);
    scope outer = m->rebound, inner = s | bit_of(index);
    m->rebound |= bit_of(index);
    term *body = any_float(m, inner, depth - 1), *condition;
    if (chance(m, 35))
        condition = any_bool(m, s, depth - 1);
    else if (s && chance(m, 50))
        condition = infix(m, "==", index_leaf(m, index), any_int(m, s, 1));
    else
        condition = any_bool(m, inner, 1);
    if (chance(m, 30))
        condition = infix(m, "and", condition, any_bool(m, inner, 1));
    body         = guard(m, body, condition);
    term *domain = chance(m, 30) ? domain_over(m, s, index, false) : NULL;
    m->rebound   = outer;
    return sum_over(m, bit_of(index), domain, body);
}

/* A sum of a sum of products, or with a factor that leaves it. */
static term *sum_of_sum(maker *m, scope s, int depth) {
    unsigned index = binder(m, s);
    if (index == RANDOM_INDICES)
        return shared_factor(m, s, depth);
    scope outer = m->rebound, inner = s | bit_of(index);
    m->rebound |= bit_of(index);
    term *p = read_tensor(m, inner, RANDOM_FLOAT), *x = any_float(m, inner, depth - 1), *y;
    y          = chance(m, 50) ? any_float(m, s, depth - 1) : read_tensor(m, inner, RANDOM_FLOAT);
    m->rebound = outer;
    if (chance(m, 50))
        return sum_over(m, bit_of(index), NULL, random_product_of(m, p, infix(m, chance(m, 50) ? "+" : "-", x, y)));
    return sum_over(m, bit_of(index), NULL, infix(m, "/", random_product_of(m, p, x), positive(m, y)));
}

static term *nested_conditions(maker *m, scope s, int depth) {
    term *condition = any_bool(m, s, depth - 1), *again = copy_of(m, condition);
    term *a = any_float(m, s, depth - 1), *b = any_float(m, s, 0), *inner;
    if (chance(m, 30))
        again = infix(m, "and", again, any_bool(m, s, 0));
    inner = chance(m, 50) ? guard(m, a, again) : choose(m, again, a, b);
    inner = infix(m, "+", inner, any_float(m, s, 0));
    return chance(m, 50) ? guard(m, inner, condition) : choose(m, condition, inner, any_float(m, s, 0));
}

/* Scores against integers. */
static term *entropy(maker *m, scope s, int depth) {
    unsigned index = binder(m, s);
    if (index == RANDOM_INDICES || s >> index & 1)
        return shared_factor(m, s, depth);
    scope outer = m->rebound;
    m->rebound |= bit_of(index);
    term *z    = any_float(m, s | bit_of(index), depth - 1);
    m->rebound = outer;
    term *last = integer(m, 0);
    for (unsigned k = 0; k < m->s->tensor_count; k++) {
        const random_tensor *t = &m->s->tensor[k];
        term *read             = NULL;
        if (t->type == RANDOM_INT && t->kind < RANDOM_DEFINITION && t->below == m->s->index[index].size)
            read = read_this(m, s, k);
        last = read && read->kind == TERM_READ ? read : last;
    }
    return bracket(m, "crossentropy", RANDOM_FLOAT, 2 * z->largest + 2, bit_of(index), NULL, z, last);
}

term *pattern(maker *m, scope s, int depth) {
    static term *(*const make[])(maker *, scope, int) = {shared_factor, exponentials,      weights,
                                                         powers,        difference,        condition_inside,
                                                         sum_of_sum,    nested_conditions, entropy};
    return make[below(m, sizeof make / sizeof *make)](m, s, depth);
}

/* Newton's, Heron's and other's repeated steps: a recurrence inside an expression. */
term *iteration(maker *m, scope s, int depth) {
    if (m->s->tensor_count + 8 >= RANDOM_TENSORS || m->s->index_count == RANDOM_INDICES ||
        m->s->size_count == RANDOM_SIZES)
        return any_float(m, s, depth - 1);
    unsigned size = m->s->size_count;
    for (unsigned k = 0; k < m->s->size_count; k++)
        size = m->s->size[k].name[0] == 'N' ? k : size;
    if (size == m->s->size_count) {
        m->s->size[m->s->size_count++] = (random_size){.name = "N", .value = 2 + below(m, 2)};
    }
    const char *name   = name_text(m, "n%u", m->names++);
    unsigned index     = add_index(m, name, size, true);
    unsigned number_of = m->s->tensor_count;
    random_tensor *t   = add_tensor_of(m, RANDOM_STATE, RANDOM_FLOAT, "i", bit_of(index));
    t->hidden          = true;
    term *initial      = tamed(m, any_float(m, s, depth - 1), 2);
    t->hidden          = false;
    t->open = t->recurrent = true;
    bool outer             = m->in_step;
    m->in_step             = true;
    term *before = read_this(m, s | bit_of(index), number_of), *body = any_float(m, s | bit_of(index), depth - 1);
    m->in_step                 = outer;
    body                       = tamed(m, infix(m, "+", random_product_of(m, number(m, 0.5), before), body), 2.5);
    t->hidden                  = true;
    t->open                    = false;
    term *last                 = new_term(m, TERM_READ, RANDOM_FLOAT, t->name, 2.5);
    term *at                   = infix(m, "-", leaf(m, RANDOM_INT, m->s->size[size].name, 3), integer(m, 1));
    last->child[last->count++] = at;
    term *let                  = new_term(m, TERM_ITERATE, RANDOM_FLOAT, t->name, 2.5);
    let->over                  = bit_of(index);
    let->child[let->count++]   = body;
    let->child[let->count++]   = initial;
    let->child[let->count++]   = last;
    return let;
}
