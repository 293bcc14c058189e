/* Integer powers of integers, where they are exact. */
#include "elaborate_internal.h"

/* False where it is beyond 63 bits. */
static bool power_of(int64_t base, int64_t exponent, int64_t *out) {
    *out = 1;
    if (exponent == 0 || base == 1)
        return true;
    if (base == 0 || base == -1) {
        *out = base == 0 ? 0 : exponent % 2 ? -1 : 1;
        return true;
    }
    for (int64_t i = 0; i < exponent; i++) /* 63 times at most */
        if (__builtin_mul_overflow(*out, base, out))
            return false;
    return true;
}

/* By squaring, as multiplications. */
static node product(graph *g, node base, int64_t exponent) {
    node result = graph_int(g, 1);
    for (; exponent > 0; exponent /= 2) {
        if (exponent % 2)
            result = graph_mul(g, result, base);
        if (exponent > 1)
            base = graph_mul(g, base, base);
    }
    return result;
}

/* A choice over the exponents low … high that halves the range. */
static node choice(graph *g, int64_t base, node exponent, int64_t low, int64_t high) {
    int64_t power;
    if (low == high)
        return power_of(base, low, &power) ? graph_int(g, power) : NODE_NONE;
    int64_t middle = low + (high - low) / 2;
    node here      = graph_pointwise(g, NODE_LESS_EQUAL, exponent, graph_int(g, middle), NODE_NONE);
    return graph_select(g, here, choice(g, base, exponent, low, middle), choice(g, base, exponent, middle + 1, high));
}

/* The exponent's bounds are proven, the upper one as low as it can be. */
static node power_of_constant(module *m, int64_t base, node exponent) {
    int64_t low = 0, high = 0, power;
    while (high < POWER_EXPONENT && power_of(base, high + 1, &power))
        high++;
    if (!certainly_within(m, exponent, 0, high))
        return NODE_NONE;
    while (low < high) { /* it is not above high */
        int64_t middle = low + (high - low) / 2;
        if (certainly_within(m, exponent, 0, middle))
            high = middle;
        else
            low = middle + 1;
    }
    return choice(m->g, base, exponent, 0, high);
}

node integer_power(module *m, node base, node exponent) {
    node_view b = graph_view(m->g, base), e = graph_view(m->g, exponent);
    int64_t power;
    if (b.op == NODE_INT && e.op == NODE_INT)
        return e.integer >= 0 && power_of(b.integer, e.integer, &power) ? graph_int(m->g, power) : NODE_NONE;
    if (e.op == NODE_INT)
        return e.integer >= 0 && e.integer <= POWER_PRODUCT ? product(m->g, base, e.integer) : NODE_NONE;
    return b.op == NODE_INT && b.integer >= 0 ? power_of_constant(m, b.integer, exponent) : NODE_NONE;
}
