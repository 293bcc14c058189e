/* Interval arithmetic on 64-bit integers: what is beyond them is no bound, never a wrong one. */
#include "prove_internal.h"

static const range anything = {INT64_MIN, INT64_MAX};
static const range either   = {0, 1};
static const range yes      = {1, 1};
static const range no       = {0, 0};

bool range_is_point(range a) {
    return a.low == a.high && a.low != INT64_MIN && a.low != INT64_MAX;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

range range_join(range a, range b) {
    return (range){smaller(a.low, b.low), larger(a.high, b.high)};
}

int64_t floor_divide(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

/* A sum of two bounds on the same side; `none` is that side's absence of a bound. */
static int64_t add_bounds(int64_t a, int64_t b, int64_t none) {
    int64_t sum;
    if (a == none || b == none)
        return none;
    if (__builtin_add_overflow(a, b, &sum))
        return a > 0 ? INT64_MAX : INT64_MIN;
    return sum;
}

range range_add(range a, range b) {
    return (range){add_bounds(a.low, b.low, INT64_MIN), add_bounds(a.high, b.high, INT64_MAX)};
}

static int64_t negate_bound(int64_t a) {
    return a == INT64_MIN ? INT64_MAX : a == INT64_MAX ? INT64_MIN : -a;
}

static range range_negate(range a) {
    return (range){negate_bound(a.high), negate_bound(a.low)};
}

static int64_t multiply_bounds(int64_t a, int64_t b) {
    int64_t product;
    if (a == 0 || b == 0)
        return 0;
    bool negative = (a < 0) != (b < 0);
    if (a == INT64_MIN || b == INT64_MIN || a == INT64_MAX || b == INT64_MAX || __builtin_mul_overflow(a, b, &product))
        return negative ? INT64_MIN : INT64_MAX;
    return product;
}

range range_multiply(range a, range b) {
    int64_t ll = multiply_bounds(a.low, b.low), lh = multiply_bounds(a.low, b.high);
    int64_t hl = multiply_bounds(a.high, b.low), hh = multiply_bounds(a.high, b.high);
    return (range){smaller(smaller(ll, lh), smaller(hl, hh)), larger(larger(ll, lh), larger(hl, hh))};
}

static range square(range a) {
    range p = range_multiply(a, a);
    if (a.low <= 0 && a.high >= 0)
        p.low = 0;
    return p;
}

/* A bound of a over a divisor from `near` to `far`, both positive: the smaller divisor moves it away from zero. */
static int64_t divide_bound(int64_t a, int64_t near, int64_t far, bool away) {
    if (a == INT64_MIN || a == INT64_MAX)
        return a == INT64_MAX && !away ? 0 : a == INT64_MIN && !away ? -1 : a;
    return floor_divide(a, away ? near : far);
}

range range_divide(range a, range b) {
    if (b.high < 0) {
        a = range_negate(a);
        b = range_negate(b);
    }
    if (b.low <= 0)
        return anything;
    return (range){divide_bound(a.low, b.low, b.high, a.low < 0), divide_bound(a.high, b.low, b.high, a.high >= 0)};
}

static range modulo(range a, range b) {
    if (b.high < 0) /* a mod b = -(-a mod -b) */
        return range_negate(modulo(range_negate(a), range_negate(b)));
    if (b.low <= 0)
        return anything;
    range q = range_divide(a, b);
    if (range_is_point(b) && range_is_point(q) && a.low != INT64_MIN && a.high != INT64_MAX) {
        int64_t low = a.low % b.low + (a.low % b.low < 0 ? b.low : 0);
        return (range){low, low + (a.high - a.low)};
    }
    if (a.low >= 0 && a.high < b.low)
        return a;
    int64_t high = b.high == INT64_MAX ? INT64_MAX : b.high - 1;
    return (range){0, a.low >= 0 ? smaller(high, a.high) : high};
}

static range range_less(range a, range b) {
    if (a.high < b.low)
        return yes;
    return a.low >= b.high && a.low != INT64_MIN && b.high != INT64_MAX ? no : either;
}

static range not_range(range a) {
    return (range){1 - a.high, 1 - a.low};
}

static range equal_ranges(range a, range b) {
    if (range_is_point(a) && range_is_point(b) && a.low == b.low)
        return yes;
    return a.high < b.low || b.high < a.low ? no : either;
}

static range absolute(range a) {
    if (a.low >= 0)
        return a;
    range n = range_negate(a);
    if (a.high <= 0)
        return n;
    return (range){0, larger(a.high, n.high)};
}

static range apply_arithmetic(node_op op, range a, range b, bool same) {
    switch (op) {
    case NODE_ADD:
        return range_add(a, b);
    case NODE_SUB:
        return same ? no : range_add(a, range_negate(b));
    case NODE_MUL:
        return same ? square(a) : range_multiply(a, b);
    case NODE_DIV:
        return range_divide(a, b);
    case NODE_MOD:
        return modulo(a, b);
    case NODE_NEG:
        return range_negate(a);
    case NODE_MINIMUM:
        return (range){smaller(a.low, b.low), smaller(a.high, b.high)};
    case NODE_MAXIMUM:
        return (range){larger(a.low, b.low), larger(a.high, b.high)};
    case NODE_ABS:
        return absolute(a);
    default:
        return anything;
    }
}

range range_apply(node_op op, range a, range b, range c, bool same) {
    switch (op) {
    case NODE_LESS:
        return same ? no : range_less(a, b);
    case NODE_LESS_EQUAL:
        return same ? yes : not_range(range_less(b, a));
    case NODE_EQUAL:
        return same ? yes : equal_ranges(a, b);
    case NODE_AND:
        return (range){a.low & b.low, a.high & b.high};
    case NODE_OR:
        return (range){a.low | b.low, a.high | b.high};
    case NODE_NOT:
        return not_range(a);
    case NODE_STOP:
        return a;
    case NODE_SELECT:
        return a.low == 1 ? b : a.high == 0 ? c : range_join(b, c);
    default:
        return apply_arithmetic(op, a, b, same);
    }
}
