/* Expressions whose values are real numbers. */
#include "random_internal.h"

#include <math.h>
#include <string.h>

typedef term *rule(maker *m, scope s, int depth);

static term *leaf_float(maker *m, scope s) {
    if (chance(m, 12))
        return number(m, 0.25 * (1 + (double)below(m, 8)));
    if (chance(m, 8)) {
        term *n = any_int(m, s, 0);
        return call(m, "float", RANDOM_FLOAT, n->largest, n, NULL);
    }
    return read_tensor(m, s, RANDOM_FLOAT);
}

static term *arithmetic(maker *m, scope s, int depth) {
    static const char *const operator[] = {"+", "-", "*", "*"};
    const char *name                    = operator[below(m, 4)];
    term *a = any_float(m, s, depth - 1), *b = any_float(m, s, depth - 1);
    return name[0] == '*' ? random_product_of(m, a, b) : infix(m, name, a, b);
}

static term *quotient(maker *m, scope s, int depth) {
    term *a = any_float(m, s, depth - 1), *b = positive(m, any_float(m, s, depth - 1));
    term *q = infix(m, "/", a, b);
    q->largest *= 2;
    return q;
}

static term *extreme(maker *m, scope s, int depth) {
    term *a = any_float(m, s, depth - 1), *b = any_float(m, s, depth - 1);
    return call(m, chance(m, 50) ? "min" : "max", RANDOM_FLOAT, fmax(a->largest, b->largest), a, b);
}

static term *power(maker *m, scope s, int depth) {
    term *a = tamed(m, any_float(m, s, depth - 1), 2);
    if (chance(m, 50)) {
        int exponent = 2 + (int)below(m, 2);
        term *p      = infix(m, "^", a, integer(m, exponent));
        p->largest   = pow(a->largest, exponent);
        return p;
    }
    term *base = positive(m, a), *p;
    if (chance(m, 50))
        p = infix(m, "^", base, number(m, (double[]){0.5, -0.5, -1, 1.5, 2}[below(m, 5)]));
    else
        p = infix(m, "^", base, tamed(m, any_float(m, s, depth - 1), 1));
    p->largest = fmax(2, base->largest * base->largest);
    return p;
}

/* Elementary functions, of arguments for which they are defined. */
static term *elementary(maker *m, scope s, int depth) {
    static const char *const bounded[] = {"sin", "cos", "tanh", "erf"};
    term *a                            = any_float(m, s, depth - 1);
    bool as_it_is                      = m->s->wild && chance(m, 50);
    switch (below(m, 11)) {
    case 0:
    case 1:
        a = as_it_is ? a : tamed(m, a, 2);
        return call(m, "exp", RANDOM_FLOAT, exp(fmin(a->largest, 5)), a, NULL);
    case 2:
        a = positive(m, a);
        return call(m, "log", RANDOM_FLOAT, log(2 + a->largest), a, NULL);
    case 3:
        a = as_it_is ? a : call(m, "abs", RANDOM_FLOAT, a->largest, a, NULL);
        return call(m, "log1p", RANDOM_FLOAT, log(1 + a->largest), a, NULL);
    case 4:
        a = positive(m, a);
        return call(m, "sqrt", RANDOM_FLOAT, sqrt(a->largest), a, NULL);
    case 5:
        return call(m, "abs", RANDOM_FLOAT, a->largest, a, NULL);
    case 6:
        return chance(m, 40) ? call(m, "floor", RANDOM_FLOAT, a->largest + 1, a, NULL) : prefix(m, "-", a);
    default:
        return call(m, bounded[below(m, 4)], RANDOM_FLOAT, 1, a, NULL);
    }
}

static term *library_function(maker *m, scope s, int depth) {
    static const char *const name[] = {"relu", "sigmoid", "softplus", "logsigmoid", "silu", "elu", "gelu", "gelutanh"};
    term *a                         = any_float(m, s, depth - 1);
    return call(m, name[below(m, sizeof name / sizeof *name)], RANDOM_FLOAT, a->largest + 1, a, NULL);
}

static term *choice(maker *m, scope s, int depth) {
    term *a = any_float(m, s, depth - 1);
    if (chance(m, 40))
        return guard(m, a, any_bool(m, s, depth - 1));
    return choose(m, any_bool(m, s, depth - 1), a, any_float(m, s, depth - 1));
}

static term *conversion(maker *m, scope s, int depth) {
    term *a;
    if (chance(m, 40) && !m->in_step) {
        a = any_float(m, s, depth - 1);
        return call(m, "stop", RANDOM_FLOAT, a->largest, a, NULL);
    }
    if (chance(m, 50)) {
        a = any_float(m, s, depth - 1);
        return call(m, "dropout", RANDOM_FLOAT, 2 * a->largest, a, number(m, 0.5));
    }
    a = any_int(m, s, depth - 1);
    return call(m, "float", RANDOM_FLOAT, a->largest, a, NULL);
}

/* Over one or two indices that are not in sight. */
static term *reduction(maker *m, scope s, int depth) {
    unsigned index = binder(m, s);
    if (index == RANDOM_INDICES)
        return any_float(m, s, depth - 1);
    scope over = bit_of(index), outer = m->rebound;
    unsigned second = chance(m, 15) ? binder(m, s | over) : RANDOM_INDICES;
    if (second != RANDOM_INDICES)
        over |= bit_of(second);
    m->rebound |= over;
    bool empty   = m->s->wild && chance(m, 50);
    unsigned way = below(m, 10);
    term *domain = domain_over(m, s, index, way >= 6 && !empty), *body = any_float(m, s | over, depth - 1), *result;
    unsigned count = space_of(m, over);
    if (way < 6)
        result = sum_over(m, over, domain, tamed(m, body, 20));
    else if (way < 8)
        result = bracket(m, way == 6 ? "max" : "min", RANDOM_FLOAT, body->largest, over, domain, body, NULL);
    else if (way == 8 && count <= 6) {
        body   = tamed(m, body, 1.5);
        result = bracket(m, "product", RANDOM_FLOAT, pow(fmax(1, body->largest), count), over, domain, body, NULL);
    } else
        result =
            bracket(m, chance(m, 50) ? "logsumexp" : "mean", RANDOM_FLOAT, body->largest + 1, over, domain, body, NULL);
    m->rebound = outer;
    return result;
}

/* Functions of the library along an index in sight. */
static term *normalised(maker *m, scope s, int depth) {
    static const char *const name[] = {"softmax", "softmax", "softmax",     "logsoftmax", "layernorm",
                                       "rmsnorm", "l2norm",  "sinksoftmax", "rope"};
    unsigned index = any_of(m, s), way = below(m, sizeof name / sizeof *name);
    if (index == RANDOM_INDICES)
        return any_float(m, s, depth - 1);
    scope outer = m->rebound;
    m->rebound |= bit_of(index);
    term *domain = domain_over(m, s & ~bit_of(index), index, false), *z = any_float(m, s, depth - 1);
    m->rebound           = outer;
    double largest       = way < 3 || way == 7 ? 1 : way == 3 ? z->largest + 2 : way < 7 ? 2 : z->largest;
    const char *function = name[way];
    term *second         = NULL;
    if (way == 7)
        second = tamed(m, any_float(m, s & ~bit_of(index), 0), 5);
    if (way == 8) {
        domain   = NULL;
        function = extent_of(m, index) < 2 ? "rmsnorm" : function;
        second   = extent_of(m, index) < 2 ? NULL : any_int(m, s & ~bit_of(index), 0);
    }
    term *n = along(m, function, RANDOM_FLOAT, largest, index, domain, z, second);
    /* outside its domain a norm does not divide by it, but by the 0.001 that keeps it from 0 */
    return way >= 4 && way < 7 && domain && !m->s->wild ? guard(m, n, copy_of(m, domain)) : n;
}

/* A sum of a product whose factors may be such sums. */
static term *contraction(maker *m, scope s, int depth) {
    unsigned index = binder(m, s);
    if (index == RANDOM_INDICES)
        return any_float(m, s, depth - 1);
    scope over = bit_of(index), outer = m->rebound;
    m->rebound |= over;
    term *body = read_tensor(m, s | over, RANDOM_FLOAT);
    for (unsigned k = 1 + below(m, 3); k > 0; k--) {
        term *factor = depth > 1 && chance(m, 35) ? contraction(m, s | over, depth - 1)
                       : chance(m, 80)            ? read_tensor(m, s | over, RANDOM_FLOAT)
                                                  : any_float(m, s | over, depth - 2);
        body         = random_product_of(m, body, factor);
    }
    term *domain = chance(m, 30) ? domain_over(m, s, index, false) : NULL;
    m->rebound   = outer;
    return sum_over(m, over, domain, body);
}

static const struct {
    unsigned weight;
    rule *make;
} rules[] = {{24, arithmetic},      {5, quotient}, {4, extreme},    {4, power},      {12, elementary},
             {5, library_function}, {7, choice},   {5, conversion}, {12, reduction}, {7, normalised},
             {10, contraction},     {8, pattern},  {2, iteration}};

term *any_float(maker *m, scope s, int depth) {
    unsigned total = 0, k = 0;
    if (depth <= 0 || chance(m, 10))
        return leaf_float(m, s);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        total += rules[i].weight;
    for (unsigned pick = below(m, total); pick >= rules[k].weight; k++)
        pick -= rules[k].weight;
    return tamed(m, rules[k].make(m, s, depth), 100);
}
