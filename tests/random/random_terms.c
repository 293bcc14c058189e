/* Terms, with an estimate of how large they become, by which tame specs stay within moderate numbers. */
#include "random_internal.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

static double larger(double a, double b) {
    return a > b ? a : b;
}

const char *name_text(maker *m, const char *format, ...) {
    char text[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    char *copy = random_memory(m->s, strlen(text) + 1);
    memcpy(copy, text, strlen(text) + 1);
    return copy;
}

term *new_term(maker *m, term_kind kind, random_type type, const char *text, double largest) {
    term *t = random_memory(m->s, sizeof *t);
    *t      = (term){.kind = kind, .type = type, .text = text, .largest = largest};
    return t;
}

static term *with(term *t, term *a, term *b, term *c) {
    for (term *const *part = (term *const[]){a, b, c, NULL}; *part; part++)
        t->child[t->count++] = *part;
    return t;
}

term *leaf(maker *m, random_type type, const char *text, double largest) {
    return new_term(m, TERM_LEAF, type, text, largest);
}

term *index_leaf(maker *m, unsigned index) {
    return leaf(m, RANDOM_INT, m->s->index[index].name, extent_of(m, index) - 1);
}

term *number(maker *m, double value) {
    const char *text = name_text(m, value < 0 ? "(%.3g)" : "%.3g", value);
    if (!strpbrk(text, ".e"))
        text = name_text(m, value < 0 ? "(%.1f)" : "%.1f", value);
    return leaf(m, RANDOM_FLOAT, text, fabs(value));
}

term *integer(maker *m, int value) {
    return leaf(m, RANDOM_INT, name_text(m, value < 0 ? "(%d)" : "%d", value), fabs((double)value));
}

term *prefix(maker *m, const char *operator, term * a) {
    return with(new_term(m, TERM_PREFIX, a->type, operator, a->largest), a, NULL, NULL);
}

term *infix(maker *m, const char *operator, term * a, term *b) {
    bool boolean     = strchr("<>=!ao", operator[0]) != NULL;
    double largest   = strchr("+-", operator[0])   ? a->largest + b->largest
                       : strchr("*", operator[0])  ? a->largest * b->largest
                       : strchr("%", operator[0])  ? b->largest
                       : strchr("/^", operator[0]) ? a->largest
                                                   : 1;
    random_type type = boolean ? RANDOM_BOOL : a->type == RANDOM_FLOAT ? RANDOM_FLOAT : b->type;
    return with(new_term(m, TERM_INFIX, type, operator, largest), a, b, NULL);
}

term *choose(maker *m, term *condition, term *a, term *b) {
    random_type type = a->type == RANDOM_FLOAT ? RANDOM_FLOAT : b->type;
    return with(new_term(m, TERM_CHOOSE, type, "", larger(a->largest, b->largest)), condition, a, b);
}

term *guard(maker *m, term *a, term *condition) {
    return with(new_term(m, TERM_GUARD, a->type, "", a->largest), a, condition, NULL);
}

term *call(maker *m, const char *function, random_type type, double largest, term *a, term *b) {
    return with(new_term(m, TERM_CALL, type, function, largest), a, b, NULL);
}

term *bracket(maker *m, const char *function, random_type type, double largest, scope over, term *domain, term *a,
              term *b) {
    term *t   = with(new_term(m, TERM_BRACKET, type, function, largest), a, b, NULL);
    t->over   = over;
    t->domain = domain;
    return t;
}

term *along(maker *m, const char *function, random_type type, double largest, unsigned index, term *domain, term *a,
            term *b) {
    term *t     = bracket(m, function, type, largest, bit_of(index), domain, a, b);
    t->in_sight = true;
    return t;
}

term *copy_of(maker *m, const term *t) {
    if (!t)
        return NULL;
    term *copy = random_memory(m->s, sizeof *copy);
    *copy      = *t;
    for (unsigned k = 0; k < t->count; k++)
        copy->child[k] = copy_of(m, t->child[k]);
    copy->domain = copy_of(m, t->domain);
    return copy;
}

term *tamed(maker *m, term *t, double limit) {
    if (t->largest <= limit || (m->s->wild && chance(m, 50)))
        return t;
    if (limit >= 1 && chance(m, 25))
        return call(m, chance(m, 50) ? "tanh" : "sin", RANDOM_FLOAT, 1, t, NULL);
    double factor = pow(10, floor(log10(limit / t->largest)));
    while (2 * factor * t->largest <= limit)
        factor *= 2;
    term *small    = infix(m, "*", number(m, factor), t);
    small->largest = factor * t->largest;
    return small;
}

term *random_product_of(maker *m, term *a, term *b) {
    return infix(m, "*", tamed(m, a, 5), tamed(m, b, 5));
}

term *positive(maker *m, term *t) {
    if (m->s->wild && chance(m, 50))
        return t;
    switch (below(m, 4)) {
    case 0:
        t = tamed(m, t, 5);
        return infix(m, "+", number(m, 1), infix(m, "*", t, copy_of(m, t)));
    case 1:
        return infix(m, "+", number(m, 0.5), call(m, "abs", RANDOM_FLOAT, t->largest, t, NULL));
    case 2:
        t = tamed(m, t, 2);
        return infix(m, "+", number(m, 0.5), call(m, "exp", RANDOM_FLOAT, exp(t->largest), t, NULL));
    default:
        return infix(m, "+", number(m, 1.5), call(m, "tanh", RANDOM_FLOAT, 1, t, NULL));
    }
}

term *sum_over(maker *m, scope over, term *domain, term *body) {
    return bracket(m, "sum", RANDOM_FLOAT, body->largest * space_of(m, over), over, domain, body, NULL);
}
