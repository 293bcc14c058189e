/* Expressions whose values are conditions or integers, and the domains of reductions. */
#include "random_internal.h"

#include <string.h>

static const char *any_comparison(maker *m, bool exact) {
    static const char *const name[] = {"<", "<=", ">", ">=", "==", "!="};
    return name[below(m, exact ? 6 : 4)];
}

static term *reduced_bool(maker *m, scope s, int depth) {
    unsigned index = binder(m, s);
    if (index == RANDOM_INDICES)
        return any_bool(m, s, depth - 1);
    scope outer = m->rebound;
    m->rebound |= bit_of(index);
    term *domain = domain_over(m, s, index, false), *body = any_bool(m, s | bit_of(index), depth - 1);
    m->rebound = outer;
    return bracket(m, chance(m, 50) ? "any" : "all", RANDOM_BOOL, 1, bit_of(index), domain, body, NULL);
}

static term *selected(maker *m, scope s, int depth) {
    unsigned index = any_of(m, s);
    if (index == RANDOM_INDICES)
        return any_bool(m, s, depth - 1);
    scope outer = m->rebound;
    m->rebound |= bit_of(index);
    term *domain = chance(m, 50) ? domain_over(m, s & ~bit_of(index), index, false) : NULL;
    term *score  = any_float(m, s, depth - 1);
    m->rebound   = outer;
    return along(m, "topk", RANDOM_BOOL, 1, index, domain, score, integer(m, 1 + (int)below(m, 3)));
}

term *any_bool(maker *m, scope s, int depth) {
    unsigned way = below(m, depth > 0 ? 12 : 5);
    if (way < 2) /* of real numbers: where they are equal is chance */
        return infix(m, any_comparison(m, false), any_float(m, s, depth - 1),
                     chance(m, 50) ? number(m, 0.1 + 0.3 * below(m, 4)) : read_tensor(m, s, RANDOM_FLOAT));
    if (way < 4)
        return infix(m, any_comparison(m, true), any_int(m, s, depth - 1), any_int(m, s, depth - 2));
    if (way == 4)
        return read_tensor(m, s, RANDOM_BOOL);
    if (way < 7)
        return infix(m, way == 5 ? "and" : "or", any_bool(m, s, depth - 1), any_bool(m, s, depth - 1));
    if (way == 7)
        return prefix(m, "not", any_bool(m, s, depth - 1));
    if (way < 10)
        return reduced_bool(m, s, depth);
    if (way == 10)
        return choose(m, any_bool(m, s, depth - 1), any_bool(m, s, depth - 1), any_bool(m, s, depth - 1));
    return selected(m, s, depth);
}

static term *leaf_int(maker *m, scope s) {
    unsigned index = any_of(m, s);
    if (index != RANDOM_INDICES && chance(m, 60))
        return index_leaf(m, index);
    return chance(m, 40) ? integer(m, (int)below(m, 4)) : read_tensor(m, s, RANDOM_INT);
}

static term *counted(maker *m, scope s, int depth) {
    unsigned index = binder(m, s);
    if (index == RANDOM_INDICES)
        return leaf_int(m, s);
    scope outer = m->rebound;
    m->rebound |= bit_of(index);
    term *domain = domain_over(m, s, index, true), *result;
    unsigned way = below(m, 4);
    scope inner  = s | bit_of(index);
    if (way == 0)
        result = bracket(m, chance(m, 50) ? "argmax" : "argmin", RANDOM_INT, extent_of(m, index), bit_of(index), domain,
                         any_float(m, inner, depth - 1), NULL);
    else if (way == 1)
        result = bracket(m, chance(m, 50) ? "max" : "min", RANDOM_INT, 5, bit_of(index), domain,
                         any_int(m, inner, depth - 1), NULL);
    else if (way == 2)
        result = bracket(m, "sum", RANDOM_INT, 20, bit_of(index), domain, leaf_int(m, inner), NULL);
    else
        result = bracket(m, "count", RANDOM_INT, extent_of(m, index), bit_of(index), domain,
                         any_bool(m, inner, depth - 1), NULL);
    m->rebound = outer;
    return result;
}

term *any_int(maker *m, scope s, int depth) {
    static const char *const operator[] = {"+", "-", "*"};
    if (depth <= 0)
        return leaf_int(m, s);
    switch (below(m, 8)) {
    case 0:
        return infix(m, operator[below(m, 3)], any_int(m, s, depth - 1), leaf_int(m, s));
    case 1:
        return infix(m, chance(m, 50) ? "/" : "%", any_int(m, s, depth - 1), integer(m, 2 + (int)below(m, 2)));
    case 2:
        return call(m, chance(m, 50) ? "min" : "max", RANDOM_INT, 5, any_int(m, s, depth - 1), leaf_int(m, s));
    case 3:
        return choose(m, any_bool(m, s, depth - 1), any_int(m, s, depth - 1), leaf_int(m, s));
    case 4:
        return call(m, "int", RANDOM_INT, 20, tamed(m, any_float(m, s, depth - 1), 20), NULL);
    case 5:
        if (chance(m, 50))
            return prefix(m, "-", any_int(m, s, depth - 1));
        return call(m, "abs", RANDOM_INT, 5, any_int(m, s, depth - 1), NULL);
    case 6:
        return counted(m, s, depth);
    default:
        return leaf_int(m, s);
    }
}

/* Of `index` beside another one: causal, a window, blocks, others. */
static term *relation(maker *m, unsigned index, unsigned other) {
    term *i = index_leaf(m, index), *o = index_leaf(m, other), *two = integer(m, 2);
    switch (below(m, 8)) {
    case 0:
    case 1:
    case 2:
        return infix(m, "<=", i, o);
    case 3:
        return infix(m, "and", infix(m, "<=", i, o), infix(m, "<", infix(m, "-", copy_of(m, o), copy_of(m, i)), two));
    case 4:
        return infix(m, "==", infix(m, "/", i, two), infix(m, "/", o, copy_of(m, two)));
    case 5:
        return infix(m, ">=", i, o);
    case 6:
        return infix(m, "<", infix(m, "-", i, o), two);
    default:
        return infix(m, "or", infix(m, "==", i, o), infix(m, "==", copy_of(m, i), integer(m, 0)));
    }
}

static term *some_domain(maker *m, scope s, unsigned index) {
    unsigned other = any_of(m, s & ~bit_of(index));
    term *i        = index_leaf(m, index);
    scope inner    = s | bit_of(index);
    switch (below(m, 9)) {
    case 0: /* of the first none */
        return other == RANDOM_INDICES ? infix(m, "<", i, integer(m, 2)) : infix(m, "<", i, index_leaf(m, other));
    case 1:
        return infix(m, "!=", i, other == RANDOM_INDICES ? integer(m, 1) : index_leaf(m, other));
    case 2:
        return infix(m, "==", infix(m, "%", i, integer(m, 2)), integer(m, 0));
    case 3:
    case 4:
        return read_tensor(m, inner, RANDOM_BOOL);
    case 5: { /* the value that an integer names */
        term *k = read_tensor(m, s, RANDOM_INT);
        return infix(m, "==", i, k);
    }
    case 6:
        return infix(m, "and", some_domain(m, s, index), some_domain(m, s, index));
    default:
        return any_bool(m, inner, 1);
    }
}

term *domain_over(maker *m, scope s, unsigned index, bool inhabited) {
    scope same = 0;
    for (unsigned i = 0; i < m->s->index_count; i++)
        if (s >> i & 1 && i != index && m->s->index[i].size == m->s->index[index].size)
            same |= bit_of(i);
    if (chance(m, 45))
        return NULL;
    if (same && chance(m, 60))
        return relation(m, index, any_of(m, same));
    if (!inhabited)
        return some_domain(m, s, index);
    return infix(m, "or", infix(m, "==", index_leaf(m, index), integer(m, 0)), some_domain(m, s, index));
}
