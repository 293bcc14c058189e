/* Interval arithmetic on linear forms. A comparison of integers is one form, the difference of its sides, so that what
 * both sides share cancels; its terms are indices, or atoms that are not linear: quotients, remainders, minima, data.
 * The extreme of a form over the current ranges is again a form, in which ranges' ends and the extremes of atoms stand
 * for what is blocked. */
#include "schedule_domain.h"

#include "enough.h"

#include <math.h>

enum { TERMS = 16, FORM_WORK = 256, WORK = 16384, SPLITS = 1024 };
/* Larger coefficients and constants are not followed, so that nothing overflows here. */
static const int64_t NUMBER_LIMIT = (int64_t)1 << 30;
/* Sums stay within this where a program computes them; one that is only stored may be as large as an integer is. */
static const double SUM_LIMIT = 0x1p45;

typedef struct term {
    node atom;
    int64_t coefficient; /* not 0 */
} term;

typedef struct form {
    bool known; /* false: it had too many terms or too large a number */
    int64_t constant;
    unsigned count;
    term term[TERMS];
} form;

typedef struct question {
    graph *g;
    index_set blocked;
    index_id stream; /* of domain_bounds; GRAPH_INDICES: none */
    unsigned work;   /* conditions and atoms looked at */
    unsigned splits; /* forms taken apart */
} question;

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

static index_set free_of(const graph *g, node n) {
    return graph_view(g, n).free;
}

static node child_of(const graph *g, node n, unsigned i) {
    return graph_view(g, n).child[i];
}

static node binary(graph *g, node_op op, node a, node b) {
    return graph_pointwise(g, op, a, b, NODE_NONE);
}

static node unary(graph *g, node_op op, node a) {
    return graph_pointwise(g, op, a, NODE_NONE, NODE_NONE);
}

static bool is_integer(const graph *g, node n, int64_t *value) {
    node_view v = graph_view(g, n);
    *value      = v.integer;
    return v.op == NODE_INT;
}

/* What a value is known to lie between */

typedef struct span {
    double low, high;
} span;

static const span anything = {-INFINITY, INFINITY};

static double times(double a, double b) {
    return a == 0 || b == 0 ? 0 : a * b;
}

static span span_product(span a, span b) {
    double c[4] = {times(a.low, b.low), times(a.low, b.high), times(a.high, b.low), times(a.high, b.high)};
    return (span){fmin(fmin(c[0], c[1]), fmin(c[2], c[3])), fmax(fmax(c[0], c[1]), fmax(c[2], c[3]))};
}

/* inhabited: reductions run over ranges that are not empty. */
static span span_of(const graph *g, node n, bool inhabited, unsigned *work);

static span span_pointwise(const graph *g, node_view v, bool inhabited, unsigned *work) {
    unsigned first = v.op == NODE_SELECT;
    span a         = span_of(g, v.child[first], inhabited, work),
         b         = v.child_count > first + 1 ? span_of(g, v.child[first + 1], inhabited, work) : a;
    int64_t divisor;
    bool divided = (v.op == NODE_DIV || v.op == NODE_MOD) && is_integer(g, v.child[1], &divisor) && divisor > 0;
    switch (v.op) {
    case NODE_ADD:
        return (span){a.low + b.low, a.high + b.high};
    case NODE_SUB:
        return (span){a.low - b.high, a.high - b.low};
    case NODE_NEG:
        return (span){-a.high, -a.low};
    case NODE_MUL:
        return span_product(a, b);
    case NODE_DIV:
        return divided ? (span){floor(a.low / (double)divisor), floor(a.high / (double)divisor)} : anything;
    case NODE_MOD:
        return divided ? (span){0, (double)divisor - 1} : anything;
    case NODE_MINIMUM:
        return (span){fmin(a.low, b.low), fmin(a.high, b.high)};
    case NODE_MAXIMUM:
        return (span){fmax(a.low, b.low), fmax(a.high, b.high)};
    case NODE_ABS:
        return (span){0, fmax(fabs(a.low), fabs(a.high))};
    case NODE_SELECT:
        return (span){fmin(a.low, b.low), fmax(a.high, b.high)};
    default:
        return anything;
    }
}

static span span_of(const graph *g, node n, bool inhabited, unsigned *work) {
    node_view v = graph_view(g, n);
    span s;
    if (v.type != TYPE_INT || ++*work > FORM_WORK)
        return anything;
    switch (v.op) {
    case NODE_INT:
        return (span){(double)v.integer, (double)v.integer};
    case NODE_INDEX:
        return (span){0, (double)graph_space(g, v.vars) - 1};
    case NODE_BEGIN:
    case NODE_END:
        return (span){0, (double)graph_index_extent(g, v.scan_index)};
    case NODE_TENSOR:
        return (span){0, (double)graph_tensor(g, v.tensor)->below - 1};
    case NODE_GATHER: /* 0 outside */
        s = span_of(g, v.child[0], inhabited, work);
        return (span){fmin(s.low, 0), fmax(s.high, 0)};
    case NODE_REDUCE:
        return inhabited && (v.reduction == REDUCE_MIN || v.reduction == REDUCE_MAX)
                   ? span_of(g, v.child[1], inhabited, work)
                   : anything;
    default:
        return graph_op_is_pointwise(v.op) ? span_pointwise(g, v, inhabited, work) : anything;
    }
}

static span values_of(const graph *g, node n, bool inhabited) {
    unsigned work = 0;
    span s        = span_of(g, n, inhabited, &work);
    return isnan(s.low) || isnan(s.high) ? anything : s;
}

static bool is_small(span s) {
    return s.low >= -SUM_LIMIT && s.high <= SUM_LIMIT;
}

/* Forms */

static form form_of_constant(int64_t value) {
    return (form){.known = value <= NUMBER_LIMIT && value >= -NUMBER_LIMIT, .constant = value};
}

static bool is_product_too_large(int64_t a, int64_t b, int64_t *product) {
    return __builtin_mul_overflow(a, b, product) || *product > NUMBER_LIMIT || *product < -NUMBER_LIMIT;
}

static void add_constant(form *f, int64_t value) {
    if (__builtin_add_overflow(f->constant, value, &f->constant) || f->constant > NUMBER_LIMIT ||
        f->constant < -NUMBER_LIMIT) {
        f->known    = false;
        f->constant = 0;
    }
}

static void add_term(form *f, node atom, int64_t coefficient) {
    unsigned i = 0;
    while (i < f->count && f->term[i].atom != atom)
        i++;
    if (i == TERMS) {
        f->known = false;
        return;
    }
    if (i == f->count)
        f->term[f->count++] = (term){.atom = atom};
    f->term[i].coefficient += coefficient; /* both are small */
    if (f->term[i].coefficient > NUMBER_LIMIT || f->term[i].coefficient < -NUMBER_LIMIT) {
        f->known               = false;
        f->term[i].coefficient = 0;
    }
    if (!f->term[i].coefficient)
        f->term[i] = f->term[--f->count];
}

static void add_scaled(const graph *g, form *f, node n, int64_t by, unsigned *work) {
    node_view v   = graph_view(g, n);
    int64_t value = 0, product;
    if (++*work > FORM_WORK)
        f->known = false;
    if (!f->known || by == 0)
        return;
    if (v.op == NODE_MUL) {
        bool left = is_integer(g, v.child[0], &value), constant = left || is_integer(g, v.child[1], &value);
        if (constant && is_product_too_large(value, by, &product))
            f->known = false;
        else if (constant)
            add_scaled(g, f, v.child[left], product, work);
        else
            add_term(f, n, by);
        return;
    }
    switch (v.op) {
    case NODE_INT:
        if (is_product_too_large(v.integer, by, &product))
            f->known = false;
        else
            add_constant(f, product);
        return;
    case NODE_ADD:
    case NODE_SUB:
        add_scaled(g, f, v.child[0], by, work);
        add_scaled(g, f, v.child[1], v.op == NODE_ADD ? by : -by, work);
        return;
    case NODE_NEG:
        add_scaled(g, f, v.child[0], -by, work);
        return;
    default:
        add_term(f, n, by);
    }
}

static void add_node(const graph *g, form *f, node n, int64_t by) {
    unsigned work = 0;
    add_scaled(g, f, n, by, &work);
}

static form form_of(const graph *g, node n) {
    form f = form_of_constant(0);
    add_node(g, &f, n, 1);
    return f;
}

static form difference(const graph *g, node a, node b) {
    form f = form_of(g, a);
    add_node(g, &f, b, -1);
    return f;
}

static form negated(form f) {
    f.constant = -f.constant;
    for (unsigned i = 0; i < f.count; i++)
        f.term[i].coefficient = -f.term[i].coefficient;
    return f;
}

static form plus(form f, int64_t value) {
    add_constant(&f, value);
    return f;
}

/* Can the sum be computed without overflow? One atom may be as large as an integer from a float is. */
static bool is_computable(const graph *g, const form *f, int sign) {
    double sum     = 0;
    unsigned large = 0;
    for (unsigned i = 0; i < f->count; i++) {
        int64_t c = f->term[i].coefficient;
        if (sign && (c > 0) != (sign > 0))
            continue;
        span s      = values_of(g, f->term[i].atom, true);
        double most = times(fabs((double)c), fmax(fabs(s.low), fabs(s.high)));
        if (most <= SUM_LIMIT)
            sum += most;
        else if (fabs((double)c) == 1)
            large++;
        else
            return false;
    }
    return f->known && large <= 1 && sum <= TERMS * SUM_LIMIT;
}

/* The terms with coefficients of this sign; NODE_NONE: none. */
static node sum_of(graph *g, const form *f, int sign) {
    node sum = NODE_NONE;
    for (unsigned i = 0; i < f->count; i++) {
        int64_t c = f->term[i].coefficient * sign;
        if (c <= 0)
            continue;
        node part = graph_mul(g, f->term[i].atom, graph_int(g, c));
        sum       = sum ? graph_add(g, sum, part) : part;
    }
    return sum;
}

static node with_constant(graph *g, node sum, int64_t value) {
    if (!sum)
        return graph_int(g, value);
    return value < 0 ? graph_sub(g, sum, graph_int(g, -value)) : graph_add(g, sum, graph_int(g, value));
}

/* NODE_NONE: it cannot be computed. */
static node node_of(graph *g, const form *f) {
    if (!is_computable(g, f, 0))
        return NODE_NONE;
    node more = sum_of(g, f, 1), less = sum_of(g, f, -1);
    if (!less)
        return with_constant(g, more, f->constant);
    if (!more)
        return graph_sub(g, graph_int(g, f->constant), less);
    return with_constant(g, graph_sub(g, more, less), f->constant);
}

/* BOOL: is the form, in which nothing is blocked, at least 0? NODE_NONE: it cannot be computed. */
static node at_least_zero(graph *g, const form *f) {
    if (!is_computable(g, f, 1) || !is_computable(g, f, -1))
        return NODE_NONE;
    node more = sum_of(g, f, 1), less = sum_of(g, f, -1);
    if (!more)
        more = graph_int(g, 0);
    if (!less)
        less = graph_int(g, 0);
    if (f->constant == -1)
        return binary(g, NODE_LESS, less, more);
    if (f->constant < 0)
        return binary(g, NODE_LESS_EQUAL, with_constant(g, less, -f->constant), more);
    return binary(g, NODE_LESS_EQUAL, less, with_constant(g, more, f->constant));
}

/* Extremes over the current ranges of what is blocked */

static bool extreme_of_form(question *q, const form *f, bool most, form *out);

/* NODE_NONE: unknown. */
static node extreme_of(question *q, node n, bool most) {
    form f = form_of(q->g, n), out;
    return extreme_of_form(q, &f, most, &out) ? node_of(q->g, &out) : NODE_NONE;
}

/* Made of blocked indices and of what is not blocked by integer arithmetic only, so that no reduction is needed. */
static bool is_arithmetic(question *q, node n, unsigned *work) {
    node_view v = graph_view(q->g, n);
    int64_t divisor;
    if (!(v.free & q->blocked) || v.op == NODE_INDEX)
        return true;
    if (v.type != TYPE_INT || ++*work > FORM_WORK)
        return false;
    switch (v.op) {
    case NODE_MUL:
        if ((free_of(q->g, v.child[0]) & q->blocked) && (free_of(q->g, v.child[1]) & q->blocked))
            return false;
        break;
    case NODE_DIV:
    case NODE_MOD:
        if (!is_integer(q->g, v.child[1], &divisor) || divisor <= 0)
            return false;
        break;
    case NODE_ADD:
    case NODE_SUB:
    case NODE_NEG:
    case NODE_MINIMUM:
    case NODE_MAXIMUM:
    case NODE_ABS:
        break;
    default:
        return false;
    }
    for (unsigned i = 0; i < v.child_count; i++)
        if (!is_arithmetic(q, v.child[i], work))
            return false;
    return true;
}

static bool is_one_index(index_set set) {
    return set && !(set & (set - 1));
}

/* Is n data that one blocked index runs through, so that its extremes are those of a loop over that index? */
static bool is_data_of_one(question *q, node n) {
    unsigned work = 0;
    return is_one_index(free_of(q->g, n) & q->blocked) && !graph_is_open(q->g, n) && !is_arithmetic(q, n, &work);
}

static node reduced(question *q, node n, bool most) {
    return graph_reduce(q->g, most ? REDUCE_MAX : REDUCE_MIN, free_of(q->g, n) & q->blocked, NODE_NONE, n);
}

/* The two ends of x, where both are known. */
static bool ends_of(question *q, node x, node *least, node *most) {
    *least = extreme_of(q, x, false);
    *most  = extreme_of(q, x, true);
    return *least && *most;
}

static node extreme_of_remainder(question *q, node x, node divisor, bool most) {
    graph *g = q->g;
    node low, high, end = most ? graph_sub(g, divisor, graph_int(g, 1)) : graph_int(g, 0);
    if (!ends_of(q, x, &low, &high))
        return end;
    node same = binary(g, NODE_EQUAL, graph_div(g, low, divisor), graph_div(g, high, divisor));
    return graph_select(g, same, binary(g, NODE_MOD, most ? high : low, divisor), end);
}

static node extreme_of_size(question *q, node x, bool most) {
    graph *g = q->g;
    node low, high;
    if (!ends_of(q, x, &low, &high))
        return most ? NODE_NONE : graph_int(g, 0);
    if (most)
        return binary(g, NODE_MAXIMUM, high, graph_neg(g, low));
    return binary(g, NODE_MAXIMUM, graph_int(g, 0), binary(g, NODE_MAXIMUM, low, graph_neg(g, high)));
}

static node extreme_of_product(question *q, node a, node b, bool most) {
    graph *g = q->g;
    if (free_of(g, a) & q->blocked) {
        node swap = a;
        a         = b;
        b         = swap;
    }
    node low, high;
    if ((free_of(g, a) & q->blocked) || !is_small(values_of(g, a, true)) || !ends_of(q, b, &low, &high))
        return NODE_NONE;
    return binary(g, most ? NODE_MAXIMUM : NODE_MINIMUM, graph_mul(g, a, low), graph_mul(g, a, high));
}

static node extreme_of_atom(question *q, node n, bool most) {
    graph *g    = q->g;
    node_view v = graph_view(g, n);
    int64_t divisor;
    if (v.type != TYPE_INT || !graph_op_is_pointwise(v.op))
        return is_data_of_one(q, n) ? reduced(q, n, most) : NODE_NONE;
    if (is_data_of_one(q, n))
        return reduced(q, n, most);
    if (++q->work > WORK)
        return NODE_NONE;
    node a = v.child[0], b = v.child_count > 1 ? v.child[1] : NODE_NONE;
    switch (v.op) {
    case NODE_DIV:
        a = is_integer(g, b, &divisor) && divisor > 0 ? extreme_of(q, a, most) : NODE_NONE;
        return a ? graph_div(g, a, b) : NODE_NONE;
    case NODE_MOD:
        return is_integer(g, b, &divisor) && divisor > 0 ? extreme_of_remainder(q, a, b, most) : NODE_NONE;
    case NODE_MINIMUM:
    case NODE_MAXIMUM: {
        node first = extreme_of(q, a, most), second = extreme_of(q, b, most);
        if (first && second)
            return binary(g, v.op, first, second);
        /* one of the two bounds it from its side */
        return most == (v.op == NODE_MINIMUM) ? (first ? first : second) : NODE_NONE;
    }
    case NODE_ABS:
        return extreme_of_size(q, a, most);
    case NODE_MUL:
        return extreme_of_product(q, a, b, most);
    default:
        return NODE_NONE;
    }
}

/* Adds all terms in which i is the only blocked index as one reduction, and clears their places in `left`. */
static bool add_data(question *q, const form *f, index_id i, bool most, uint32_t *left, form *out) {
    form part    = form_of_constant(0);
    unsigned one = 0, count = 0;
    for (unsigned k = 0; k < f->count; k++)
        if ((free_of(q->g, f->term[k].atom) & q->blocked) == bit(i)) {
            if (!count++)
                one = k;
            add_term(&part, f->term[k].atom, f->term[k].coefficient);
            *left &= ~((uint32_t)1 << k);
        }
    /* both extremes of a form and of its negative come from the same two reductions */
    int64_t sign = f->term[one].coefficient < 0 ? -1 : 1;
    if (count == 1) {
        int64_t c = f->term[one].coefficient;
        add_node(q->g, out, reduced(q, f->term[one].atom, (c > 0) == most), c);
        return true;
    }
    if (sign < 0)
        part = negated(part);
    for (unsigned k = 0; k < part.count; k++)
        if (graph_is_open(q->g, part.term[k].atom))
            return false;
    node whole = node_of(q->g, &part);
    if (whole)
        add_node(q->g, out, reduced(q, whole, (sign > 0) == most), sign);
    return whole;
}

static void add_index_end(question *q, term t, bool most, form *out) {
    index_id i  = (index_id)__builtin_ctzll(free_of(q->g, t.atom));
    bool at_end = (t.coefficient > 0) == most;
    add_term(out, at_end ? graph_end(q->g, i) : graph_begin(q->g, i), t.coefficient);
    if (at_end)
        add_constant(out, -t.coefficient);
}

static bool extreme_of_form(question *q, const form *f, bool most, form *out) {
    *out          = form_of_constant(f->constant);
    uint32_t left = ((uint32_t)1 << f->count) - 1;
    if (!f->known)
        return false;
    for (unsigned k = 0; k < f->count; k++)
        if (left >> k & 1 && is_data_of_one(q, f->term[k].atom)) {
            index_id i = (index_id)__builtin_ctzll(free_of(q->g, f->term[k].atom) & q->blocked);
            if (!add_data(q, f, i, most, &left, out))
                return false;
        }
    for (unsigned k = 0; k < f->count; k++) {
        term t = f->term[k];
        if (!(left >> k & 1))
            continue;
        if (!(free_of(q->g, t.atom) & q->blocked)) {
            add_node(q->g, out, t.atom, t.coefficient);
        } else if (graph_view(q->g, t.atom).op == NODE_INDEX) {
            add_index_end(q, t, most, out);
        } else {
            node end = extreme_of_atom(q, t.atom, (t.coefficient > 0) == most);
            if (!end)
                return false;
            add_node(q->g, out, end, t.coefficient);
        }
    }
    return out->known;
}

/* The same for floats. Where an element is NaN the extreme of a reduction is, and comparisons with it are false; other
 * functions of NaN than those here might hide it. */
static node extreme_of_float(question *q, node n, bool most) {
    node_view v = graph_view(q->g, n);
    if (!(v.free & q->blocked))
        return n;
    if (v.op == NODE_TO_FLOAT && graph_view(q->g, v.child[0]).type == TYPE_INT) {
        node end = extreme_of(q, v.child[0], most);
        return end ? unary(q->g, NODE_TO_FLOAT, end) : NODE_NONE;
    }
    if (v.op == NODE_NEG || v.op == NODE_STOP) {
        bool turned = v.op == NODE_NEG;
        node end    = extreme_of_float(q, v.child[0], most != turned);
        return end && turned ? graph_neg(q->g, end) : end;
    }
    return is_one_index(v.free & q->blocked) && !graph_is_open(q->g, n) ? reduced(q, n, most) : NODE_NONE;
}

/* Tiles */

typedef struct verdict {
    node empty, full;
} verdict;

static const verdict unknown = {NODE_NONE, NODE_NONE};

static node both(graph *g, node a, node b) {
    return a && b ? binary(g, NODE_AND, a, b) : NODE_NONE;
}

static node either(graph *g, node a, node b) {
    return a && b ? binary(g, NODE_OR, a, b) : a ? a : b;
}

static verdict conjoined(graph *g, verdict a, verdict b) {
    return (verdict){either(g, a.empty, b.empty), both(g, a.full, b.full)};
}

static verdict swapped(verdict a) {
    return (verdict){a.full, a.empty};
}

static verdict disjoined(graph *g, verdict a, verdict b) {
    return swapped(conjoined(g, swapped(a), swapped(b)));
}

/* Is the form at least 0? */
static verdict judge_form(question *q, form f) {
    form end;
    verdict v = unknown;
    if (extreme_of_form(q, &f, true, &end)) {
        form beyond = plus(negated(end), -1);
        v.empty     = at_least_zero(q->g, &beyond);
    }
    if (extreme_of_form(q, &f, false, &end))
        v.full = at_least_zero(q->g, &end);
    return v;
}

static node compared(graph *g, node_op op, node a, node b) {
    return a && b ? binary(g, op, a, b) : NODE_NONE;
}

/* Both answers are comparisons that hold, so that NaN gives neither. */
static verdict judge_floats(question *q, node_op op, node a, node b) {
    graph *g   = q->g;
    node a_low = extreme_of_float(q, a, false), a_high = extreme_of_float(q, a, true),
         b_low = extreme_of_float(q, b, false), b_high = extreme_of_float(q, b, true);
    if (op == NODE_LESS)
        return (verdict){compared(g, NODE_LESS_EQUAL, b_high, a_low), compared(g, NODE_LESS, a_high, b_low)};
    node above = compared(g, NODE_LESS, b_high, a_low), within = compared(g, NODE_LESS_EQUAL, a_high, b_low);
    if (op == NODE_LESS_EQUAL)
        return (verdict){above, within};
    return (verdict){either(g, above, compared(g, NODE_LESS, a_high, b_low)),
                     both(g, within, compared(g, NODE_LESS_EQUAL, b_high, a_low))};
}

static verdict judge_comparison(question *q, node_op op, node a, node b) {
    value_type type = graph_view(q->g, a).type;
    if (type == TYPE_FLOAT)
        return judge_floats(q, op, a, b);
    if (type != TYPE_INT)
        return unknown;
    form ahead = difference(q->g, b, a);
    if (op == NODE_LESS)
        return judge_form(q, plus(ahead, -1));
    verdict v = judge_form(q, ahead);
    return op == NODE_EQUAL ? conjoined(q->g, v, judge_form(q, negated(ahead))) : v;
}

static verdict judge(question *q, node n) {
    graph *g    = q->g;
    node_view v = graph_view(g, n);
    if (!(v.free & q->blocked))
        return (verdict){unary(g, NODE_NOT, n), n};
    if (++q->work > WORK)
        return unknown;
    node a = v.child_count ? v.child[0] : NODE_NONE, b = v.child_count > 1 ? v.child[1] : NODE_NONE;
    switch (v.op) {
    case NODE_AND:
    case NODE_OR: {
        verdict first = judge(q, a), second = judge(q, b);
        return v.op == NODE_AND ? conjoined(g, first, second) : disjoined(g, first, second);
    }
    case NODE_NOT:
        return swapped(judge(q, a));
    case NODE_SELECT: { /* (a and b) or (not a and c) */
        node c         = v.child[2];
        verdict chosen = judge(q, a), then = judge(q, b), otherwise = judge(q, c);
        return disjoined(g, conjoined(g, chosen, then), conjoined(g, swapped(chosen), otherwise));
    }
    case NODE_LESS:
    case NODE_LESS_EQUAL:
    case NODE_EQUAL:
        return judge_comparison(q, v.op, a, b);
    default:
        return unknown;
    }
}

/* An answer that is known to be no is none. */
static node told(const graph *g, node answer) {
    double value;
    return answer && graph_is_constant(g, answer, &value) && value == 0 ? NODE_NONE : answer;
}

void domain_of_tile(graph *g, node domain, index_set blocked, node *empty, node *full) {
    question q = {.g = g, .blocked = blocked, .stream = GRAPH_INDICES};
    verdict v  = judge(&q, domain ? domain : graph_bool(g, true));
    *empty     = told(g, v.empty);
    *full      = told(g, v.full);
}

/* Bounds of the stream */

typedef struct bounds {
    node lo, hi; /* NODE_NONE: unknown; where there are no values, the extent and 0, which change no hull */
} bounds;

static const bounds unbounded = {NODE_NONE, NODE_NONE};

static bounds intersection(graph *g, bounds a, bounds b) {
    return (bounds){a.lo && b.lo ? binary(g, NODE_MAXIMUM, a.lo, b.lo)
                    : a.lo       ? a.lo
                                 : b.lo,
                    a.hi && b.hi ? binary(g, NODE_MINIMUM, a.hi, b.hi)
                    : a.hi       ? a.hi
                                 : b.hi};
}

static bounds hull(graph *g, bounds a, bounds b) {
    return (bounds){a.lo && b.lo ? binary(g, NODE_MINIMUM, a.lo, b.lo) : NODE_NONE,
                    a.hi && b.hi ? binary(g, NODE_MAXIMUM, a.hi, b.hi) : NODE_NONE};
}

/* No values where `never` holds. */
static bounds none_where(question *q, node never) {
    never = never ? told(q->g, never) : NODE_NONE;
    if (!never)
        return unbounded;
    node zero = graph_int(q->g, 0), extent = graph_int(q->g, graph_index_extent(q->g, q->stream));
    return (bounds){graph_select(q->g, never, extent, zero), graph_select(q->g, never, zero, extent)};
}

static bool is_of_stream(question *q, node n) {
    return free_of(q->g, n) & bit(q->stream);
}

static bounds solve_form(question *q, form f);

static form replaced(const graph *g, form f, unsigned place, node by, int64_t sign) {
    int64_t c     = f.term[place].coefficient;
    f.term[place] = f.term[--f.count];
    add_node(g, &f, by, c * sign);
    return f;
}

/* A minimum, maximum or absolute value in it gives two forms, of which both or one have to be at least 0. */
static bounds solve_split(question *q, const form *f, unsigned place) {
    node_view v  = graph_view(q->g, f->term[place].atom);
    bool size    = v.op == NODE_ABS;
    bool least   = (v.op == NODE_MINIMUM) == (f->term[place].coefficient > 0);
    node other   = size ? v.child[0] : v.child[1];
    bounds first = solve_form(q, replaced(q->g, *f, place, v.child[0], 1));
    bounds rest  = solve_form(q, replaced(q->g, *f, place, other, size ? -1 : 1));
    return least ? intersection(q->g, first, rest) : hull(q->g, first, rest);
}

/* The integer that floor(e / divisor) has to be at least (lower) or at most, with e within limits: what e has to be. */
static bounds solve_quotient(question *q, node quotient, node end, bool lower) {
    graph *g = q->g;
    node e   = child_of(g, quotient, 0);
    span s   = values_of(g, quotient, true);
    int64_t divisor;
    is_integer(g, child_of(g, quotient, 1), &divisor);
    if (!is_small(s) || divisor > NUMBER_LIMIT)
        return unbounded;
    if (!is_small(values_of(g, end, true))) { /* nothing beyond its values changes anything */
        end = binary(g, NODE_MAXIMUM, end, graph_int(g, (int64_t)s.low - 1));
        end = binary(g, NODE_MINIMUM, end, graph_int(g, (int64_t)s.high + 1));
    }
    form f = form_of(g, e);
    add_node(g, &f, end, -divisor);
    return solve_form(q, lower ? f : plus(negated(f), divisor - 1));
}

/* The place of what to solve for: the index itself, or a quotient; f->count where there is neither. */
static unsigned unknown_of(question *q, const form *f) {
    unsigned found = f->count;
    for (unsigned k = 0; k < f->count; k++) {
        node_view v = graph_view(q->g, f->term[k].atom);
        int64_t divisor;
        if (v.op == NODE_INDEX && v.vars == bit(q->stream))
            return k;
        if (v.op == NODE_DIV && (v.free & bit(q->stream)) && is_integer(q->g, v.child[1], &divisor) && divisor > 0)
            found = k;
    }
    return found;
}

/* The largest value of all terms but the one at `place`, and the constant. */
static bool most_of_rest(question *q, const form *f, unsigned place, form *out) {
    form rest = form_of_constant(f->constant);
    for (unsigned k = 0; k < f->count; k++) {
        term t = f->term[k];
        if (k == place)
            continue;
        if (!is_of_stream(q, t.atom)) {
            add_term(&rest, t.atom, t.coefficient);
            continue;
        }
        span s     = values_of(q->g, t.atom, true);
        double end = t.coefficient > 0 ? s.high : s.low;
        if (!(fabs(end) <= (double)NUMBER_LIMIT))
            return false;
        add_node(q->g, &rest, graph_int(q->g, (int64_t)end), t.coefficient);
    }
    return rest.known && extreme_of_form(q, &rest, true, out);
}

/* c times the unknown plus the rest is at least 0: the unknown is at least, or at most, what is returned. */
static node solved(graph *g, int64_t c, form rest) {
    if (c > 0) /* at least -rest / c, rounded up */
        rest = plus(negated(rest), c - 1);
    node n = node_of(g, &rest);
    return n ? graph_div(g, n, graph_int(g, c > 0 ? c : -c)) : NODE_NONE;
}

/* The form is at least 0. */
static bounds solve_form(question *q, form f) {
    form rest;
    if (!f.known || ++q->splits > SPLITS)
        return unbounded;
    bool streams = false;
    for (unsigned k = 0; k < f.count; k++) {
        node_op op = graph_view(q->g, f.term[k].atom).op;
        if (!is_of_stream(q, f.term[k].atom))
            continue;
        if (op == NODE_MINIMUM || op == NODE_MAXIMUM || op == NODE_ABS)
            return solve_split(q, &f, k);
        streams = true;
    }
    if (!streams)
        return none_where(q, judge_form(q, f).empty);
    unsigned place = unknown_of(q, &f);
    if (place == f.count || !most_of_rest(q, &f, place, &rest))
        return unbounded;
    term t = f.term[place];
    if (graph_view(q->g, t.atom).op == NODE_DIV) {
        node end = solved(q->g, t.coefficient, rest);
        return end ? solve_quotient(q, t.atom, end, t.coefficient > 0) : unbounded;
    }
    if (t.coefficient > 0)
        return (bounds){solved(q->g, t.coefficient, rest), NODE_NONE};
    return (bounds){NODE_NONE, solved(q->g, t.coefficient, plus(rest, -t.coefficient))};
}

/* The values x that a float is above: as an INT node, floor(x) or (up) ceil(x). Where x is NaN it is some number. */
static node rounded(graph *g, node x, bool up) {
    return up ? graph_neg(g, unary(g, NODE_TO_INT, graph_neg(g, x))) : unary(g, NODE_TO_INT, x);
}

/* The integer of which n is the float, exactly; NODE_NONE: it is no such. */
static node exact_integer(const graph *g, node n) {
    node_view v = graph_view(g, n);
    if (v.op != NODE_TO_FLOAT || graph_view(g, v.child[0]).type != TYPE_INT)
        return NODE_NONE;
    span s = values_of(g, v.child[0], true);
    return s.low >= -0x1p24 && s.high <= 0x1p24 ? v.child[0] : NODE_NONE;
}

/* a <= b or, strict, a < b, of floats of which one is an integer; NaN has no solution, so any bounds hold for it. */
static bounds solve_floats(question *q, node a, node b, bool strict) {
    graph *g = q->g;
    node low = exact_integer(g, a), high = exact_integer(g, b);
    if (low && !is_of_stream(q, b)) /* a is at most floor(b), or below ceil(b) */
        return solve_form(q, plus(difference(g, rounded(g, b, strict), low), -strict));
    if (high && !is_of_stream(q, a)) /* b is at least ceil(a), or above floor(a) */
        return solve_form(q, plus(difference(g, high, rounded(g, a, !strict)), -strict));
    return unbounded;
}

static bounds solve_comparison(question *q, node_op op, node a, node b, bool holds) {
    graph *g        = q->g;
    value_type type = graph_view(g, a).type;
    bool equal = op == NODE_EQUAL, strict = op == NODE_LESS;
    if (type == TYPE_BOOL || (equal && !holds) || (type == TYPE_FLOAT && !holds))
        return unbounded;
    if (type == TYPE_FLOAT) {
        bounds up = solve_floats(q, a, b, strict);
        return equal ? intersection(g, up, solve_floats(q, b, a, false)) : up;
    }
    form ahead = difference(g, b, a);
    if (equal)
        return intersection(g, solve_form(q, ahead), solve_form(q, negated(ahead)));
    ahead = plus(ahead, -strict);
    return solve_form(q, holds ? ahead : plus(negated(ahead), -1));
}

/* Where n holds, or does not. */
static bounds solve(question *q, node n, bool holds) {
    node_view v = graph_view(q->g, n);
    if (!is_of_stream(q, n)) {
        verdict rows = judge(q, n);
        return none_where(q, holds ? rows.empty : rows.full);
    }
    if (++q->work > WORK)
        return unbounded;
    node a = v.child_count ? v.child[0] : NODE_NONE, b = v.child_count > 1 ? v.child[1] : NODE_NONE;
    switch (v.op) {
    case NODE_NOT:
        return solve(q, a, !holds);
    case NODE_AND:
    case NODE_OR: {
        bounds first = solve(q, a, holds), second = solve(q, b, holds);
        return (v.op == NODE_AND) == holds ? intersection(q->g, first, second) : hull(q->g, first, second);
    }
    case NODE_SELECT: { /* (a and b) or (not a and c) */
        node c      = v.child[2];
        bounds then = intersection(q->g, solve(q, a, true), solve(q, b, holds));
        return hull(q->g, then, intersection(q->g, solve(q, a, false), solve(q, c, holds)));
    }
    case NODE_LESS:
    case NODE_LESS_EQUAL:
    case NODE_EQUAL:
        return solve_comparison(q, v.op, a, b, holds);
    default:
        return unbounded;
    }
}

/* Between 0 and the extent; NODE_NONE for the end that is always there. */
static node clamped(graph *g, node n, int64_t extent, int64_t idle) {
    int64_t value;
    if (!n)
        return NODE_NONE;
    span s = values_of(g, n, false);
    if (!(s.low >= 0))
        n = binary(g, NODE_MAXIMUM, n, graph_int(g, 0));
    if (!(s.high <= (double)extent))
        n = binary(g, NODE_MINIMUM, n, graph_int(g, extent));
    return is_integer(g, n, &value) && value == idle ? NODE_NONE : n;
}

void domain_bounds(graph *g, node domain, index_set rows, index_id stream, node *lo, node *hi) {
    question q     = {.g = g, .blocked = rows & ~bit(stream), .stream = stream};
    int64_t extent = graph_index_extent(g, stream);
    bounds found   = solve(&q, domain ? domain : graph_bool(g, true), true);
    *lo            = clamped(g, found.lo, extent, 0);
    *hi            = clamped(g, found.hi, extent, extent);
}

/* The extremes in an expression */

typedef struct extremes {
    const graph *g;
    node *list;
    unsigned count, room;
    unsigned char *seen; /* by node */
} extremes;

static void list_extremes(extremes *e, node n) {
    node_view v = graph_view(e->g, n);
    if (e->seen[n])
        return;
    e->seen[n] = 1;
    if (v.op == NODE_REDUCE && is_one_index(v.vars)) {
        if (e->count < e->room)
            e->list[e->count] = n;
        e->count++;
    }
    for (unsigned i = 0; graph_op_is_pointwise(v.op) && i < v.child_count; i++)
        list_extremes(e, v.child[i]);
}

unsigned domain_extremes(const graph *g, node condition, node *list, unsigned room) {
    if (!condition)
        return 0;
    extremes e = {.g = g, .list = list, .room = room, .seen = enough(calloc((size_t)condition + 1, 1))};
    list_extremes(&e, condition);
    free(e.seen);
    return e.count;
}
