/* Integer expressions as linear forms over unknowns: what is not linear gets an unknown of its own, with rows and
 * choices that say what is known of it. */
#include "prove_cases.h"

#include <string.h>

static const range anything = {INT64_MIN, INT64_MAX};

/* The unknown that stands for n already, or NO_UNKNOWN. */
static int known_as(const cases *c, node n, unsigned s) {
    s = cases_scope_of(c, n, s);
    for (unsigned i = 0; i < c->unknowns; i++)
        if (c->key[i].node == n && c->key[i].scope == s)
            return (int)i;
    return NO_UNKNOWN;
}

static bool as_unknown(cases *c, node n, unsigned s, range bound, form *out) {
    int u = cases_unknown(c, n, s, bound);
    if (u == NO_UNKNOWN)
        return false;
    *out = unknown_form((unsigned)u);
    return true;
}

static range range_of(const cases *c, const form *f) {
    return form_range(f, c->bound, c->unknowns);
}

/* Takes out of f what the divisor divides: f = divisor * whole + what stays in f. */
static bool take_multiples(cases *c, form *f, int64_t divisor, form *whole) {
    memset(whole, 0, sizeof *whole);
    for (unsigned i = 0; i < c->unknowns; i++)
        if (f->factor[i] % divisor == 0) {
            whole->factor[i] = f->factor[i] / divisor;
            f->factor[i]     = 0;
        }
    whole->constant = floor_divide(f->constant, divisor);
    f->constant     = f->constant % divisor + (f->constant % divisor < 0 ? divisor : 0);
    return true;
}

/* floor(floor(x / a) / b) is floor(x / ab): makes of f / divisor one division where f is a quotient and a constant. */
static void merge_division(cases *c, form *f, int64_t *divisor) {
    for (unsigned d = 0; d < c->divisions; d++) {
        const division *inner = &c->division[d];
        form rest             = *f;
        if (f->factor[inner->unknown] != 1)
            continue;
        rest.factor[inner->unknown] = 0;
        int64_t product, shift;
        if (!form_is_constant(&rest, c->unknowns) || __builtin_mul_overflow(*divisor, inner->divisor, &product) ||
            __builtin_mul_overflow(rest.constant, inner->divisor, &shift))
            continue;
        form whole = inner->form;
        if (__builtin_add_overflow(whole.constant, shift, &whole.constant))
            continue;
        *f       = whole;
        *divisor = product;
        return;
    }
}

/* Divides f and the divisor by what the factors and the divisor have in common. */
static void cancel(cases *c, form *f, int64_t *divisor) {
    int64_t common = *divisor;
    for (unsigned i = 0; i < c->unknowns && common > 1; i++)
        for (int64_t a = f->factor[i] < 0 ? -f->factor[i] : f->factor[i]; a;) {
            int64_t rest = common % a;
            common       = a;
            a            = rest;
        }
    if (common <= 1)
        return;
    for (unsigned i = 0; i < c->unknowns; i++)
        f->factor[i] /= common;
    f->constant = floor_divide(f->constant, common);
    *divisor /= common;
}

/* floor(f / divisor), divisor > 0 */
static bool quotient(cases *c, form f, int64_t divisor, form *out) {
    form more;
    take_multiples(c, &f, divisor, out);
    merge_division(c, &f, &divisor);
    take_multiples(c, &f, divisor, &more);
    cancel(c, &f, &divisor);
    if (!form_add(out, &more, 1, c->unknowns))
        return false;
    range all = range_of(c, &f), q = range_divide(all, (range){divisor, divisor});
    if (range_is_point(q))
        return !__builtin_add_overflow(out->constant, q.low, &out->constant);
    for (unsigned d = 0; d < c->divisions; d++) {
        const division *old = &c->division[d];
        if (old->divisor == divisor && old->form.constant == f.constant &&
            memcmp(old->form.factor, f.factor, c->unknowns * sizeof *f.factor) == 0) {
            form same = unknown_form(old->unknown);
            return form_add(out, &same, 1, c->unknowns);
        }
    }
    int u = cases_unknown(c, NODE_NONE, 0, q);
    if (u == NO_UNKNOWN)
        return false;
    if (c->divisions < DIVISIONS)
        c->division[c->divisions++] = (division){f, divisor, (unsigned)u};
    form one = unknown_form((unsigned)u), minus = {0};
    cases_relate(c, &f, &one, -divisor, 0, false); /* f - divisor q >= 0 */
    if (form_add(&minus, &one, divisor, c->unknowns))
        cases_relate(c, &minus, &f, -1, divisor - 1, false);
    return form_add(out, &one, 1, c->unknowns);
}

/* A remainder whose form does not show its bounds gets an unknown that has them. */
static void show_bounds(cases *c, node n, unsigned s, range bound, form *remainder) {
    range shown = range_of(c, remainder);
    if (shown.low >= bound.low && shown.high <= bound.high)
        return;
    int u = cases_unknown(c, n, s, bound);
    if (u == NO_UNKNOWN)
        return;
    form named = unknown_form((unsigned)u);
    cases_relate(c, remainder, &named, -1, 0, true);
    *remainder = named;
}

static bool divide(cases *c, node n, node_view v, unsigned s, form *out) {
    form a, b;
    node left = v.child[0], right = v.child[1];
    if (!cases_linear(c, left, s, &a) || !cases_linear(c, right, s, &b))
        return false;
    range divisor = range_of(c, &b), all = range_of(c, &a);
    if (range_is_point(divisor) && divisor.low != 0) {
        form f = a, q;
        if (divisor.low < 0) {
            memset(&f, 0, sizeof f);
            if (!form_add(&f, &a, -1, c->unknowns))
                return as_unknown(c, n, s, range_apply(v.op, all, divisor, divisor, false), out);
        }
        if (quotient(c, f, divisor.low < 0 ? -divisor.low : divisor.low, &q)) {
            *out = v.op == NODE_DIV ? q : a;
            if (v.op == NODE_DIV)
                return true;
            if (form_add(out, &q, -divisor.low, c->unknowns)) {
                show_bounds(c, n, s, range_apply(NODE_MOD, all, divisor, divisor, false), out);
                return true;
            }
        }
    }
    int u = cases_unknown(c, n, s, range_apply(v.op, all, divisor, divisor, left == right));
    if (u == NO_UNKNOWN)
        return false;
    *out = unknown_form((unsigned)u);
    if (v.op == NODE_MOD && divisor.low > 0) {
        cases_relate(c, &b, out, -1, -1, false);
        if (all.low >= 0)
            cases_relate(c, &a, out, -1, 0, false);
    }
    return true;
}

/* (a - x)(b - y) has a known sign where x and y bound a and b: one row about their product. */
static void product_row(cases *c, const form *p, const form *a, const form *b, int64_t x, int64_t y, bool positive) {
    int64_t xy, sign = positive ? 1 : -1;
    form sum = {0};
    if (x == INT64_MIN || x == INT64_MAX || y == INT64_MIN || y == INT64_MAX || __builtin_mul_overflow(x, y, &xy) ||
        xy == INT64_MIN)
        return;
    if (form_add(&sum, p, sign, c->unknowns) && form_add(&sum, a, -sign * y, c->unknowns))
        cases_relate(c, &sum, b, -sign * x, sign * xy, false);
}

/* Is scale * f >= 0 wherever the rows hold? */
static bool has_sign(cases *c, const form *f, int64_t scale) {
    const row *rows[ROWS];
    row negative = {0};
    if (c->rows == ROWS || !form_add(&negative.form, f, -scale, c->unknowns) ||
        __builtin_sub_overflow(negative.form.constant, 1, &negative.form.constant))
        return false;
    cases_rows(c, rows);
    rows[c->rows] = &negative;
    return rows_impossible(c->elimination, rows, c->rows + 1, c->bound, c->unknowns, &c->work);
}

/* The range of a factor; the sign, which the products' bounds turn on, is looked for in the rows. */
static range factor_range(cases *c, const form *f) {
    range r = range_of(c, f);
    if (r.low < 0 && r.high > 0 && c->rows > 0 && c->signs++ < SIGNS) {
        if (has_sign(c, f, 1))
            r.low = 0;
        else if (has_sign(c, f, -1))
            r.high = 0;
    }
    return r;
}

static bool multiply(cases *c, node n, node_view v, unsigned s, form *out) {
    form a, b;
    node left = v.child[0], right = v.child[1];
    if (!cases_linear(c, left, s, &a) || !cases_linear(c, right, s, &b))
        return false;
    range ra = factor_range(c, &a), rb = factor_range(c, &b);
    memset(out, 0, sizeof *out);
    if (range_is_point(ra) && form_add(out, &b, ra.low, c->unknowns))
        return true;
    memset(out, 0, sizeof *out);
    if (range_is_point(rb) && form_add(out, &a, rb.low, c->unknowns))
        return true;
    int u = cases_unknown(c, n, s, range_apply(NODE_MUL, ra, rb, rb, left == right));
    if (u == NO_UNKNOWN)
        return false;
    *out = unknown_form((unsigned)u);
    product_row(c, out, &a, &b, ra.low, rb.low, true);
    product_row(c, out, &a, &b, ra.high, rb.high, true);
    product_row(c, out, &a, &b, ra.low, rb.high, false);
    product_row(c, out, &a, &b, ra.high, rb.low, false);
    return true;
}

/* One of two expressions: which, the choice says. `low`, `high`: the result is at least, at most each of them. */
static bool one_of(cases *c, node n, unsigned s, const form *a, const form *b, range bound, bool low, bool high,
                   const item side[2][2], form *out) {
    int u = cases_unknown(c, n, s, bound);
    if (u == NO_UNKNOWN)
        return false;
    *out = unknown_form((unsigned)u);
    if (low) {
        cases_relate(c, out, a, -1, 0, false);
        cases_relate(c, out, b, -1, 0, false);
    }
    if (high) {
        cases_relate(c, a, out, -1, 0, false);
        cases_relate(c, b, out, -1, 0, false);
    }
    item first[2], second[2];
    memcpy(first, side[0], sizeof first);
    memcpy(second, side[1], sizeof second);
    first[0].unknown = second[0].unknown = u;
    cases_choose(c, first[0], first[1], second[0], second[1]);
    return true;
}

static bool extremum(cases *c, node n, node_view v, unsigned s, form *out) {
    form a, b, difference;
    node left = v.child[0], right = v.op == NODE_ABS ? graph_neg(c->g, left) : v.child[1];
    if (!cases_linear(c, left, s, &a) || !cases_linear(c, right, s, &b))
        return false;
    node_op op = v.op == NODE_ABS ? NODE_MAXIMUM : v.op;
    range ra = range_of(c, &a), rb = range_of(c, &b), all = range_apply(op, ra, rb, rb, false);
    difference = a;
    if (form_add(&difference, &b, -1, c->unknowns)) {
        range d = range_of(c, &difference);
        if (d.low >= 0 || d.high <= 0) {
            *out = (op == NODE_MAXIMUM) == (d.low >= 0) ? a : b;
            return true;
        }
    }
    if (v.op == NODE_ABS && all.low < 0)
        all.low = 0;
    item side[2][2] = {{{{left, s}, true, 0}, cases_nothing}, {{{right, s}, true, 0}, cases_nothing}};
    return one_of(c, n, s, &a, &b, all, op == NODE_MAXIMUM, op == NODE_MINIMUM, side, out);
}

static bool selection(cases *c, node n, node_view v, unsigned s, form *out) {
    form a, b;
    node test = v.child[0], then = v.child[1], otherwise = v.child[2];
    if (!cases_linear(c, then, s, &a) || !cases_linear(c, otherwise, s, &b))
        return false;
    range all       = range_join(range_of(c, &a), range_of(c, &b));
    item side[2][2] = {{{{then, s}, true, 0}, cases_condition(test, true, s)},
                       {{{otherwise, s}, true, 0}, cases_condition(test, false, s)}};
    return one_of(c, n, s, &a, &b, all, false, false, side, out);
}

/* A maximum or minimum is one of its body's values, unless the domain is empty. */
static bool reduction_value(cases *c, node n, node_view v, unsigned s, form *out) {
    form body;
    node domain = v.child[0], term = v.child[1];
    s              = cases_scope_of(c, n, s);
    unsigned inner = cases_open_scope(c, v.vars, s);
    if (!inner || !cases_linear(c, term, inner, &body))
        return as_unknown(c, n, s, anything, out);
    range all = range_of(c, &body), zero = {0, 0};
    int64_t space = graph_space(c->g, v.vars);
    bool some     = false;
    if (v.reduction == REDUCE_SUM)
        all = range_join(zero, range_multiply(all, (range){0, space}));
    else if (v.reduction == REDUCE_PRODUCT)
        all = all.low < 0 ? anything : (range){0, all.high <= 1 ? 1 : INT64_MAX};
    else {
        question q         = *c->question;
        *c->question->work = c->work;
        if (s)
            q.fact_count = 0; /* the facts are about other indices of these names */
        some    = question_inhabited(&q, v.vars, domain);
        c->work = *c->question->work;
        if (!some && v.reduction == REDUCE_MAX)
            all.low = INT64_MIN;
        else if (!some)
            all.high = INT64_MAX;
    }
    int u = cases_unknown(c, n, s, all);
    if (u == NO_UNKNOWN)
        return false;
    *out = unknown_form((unsigned)u);
    if (some) {
        cases_relate(c, out, &body, -1, 0, true);
        cases_assume(c, domain, true, inner);
    }
    return true;
}

/* The state that a scan's body reads; NODE_NONE where it reads none. Handles of children are lower. */
static node state_before(const graph *g, node scan) {
    uint32_t label = graph_view(g, scan).scan_label;
    for (node k = scan; k-- > 1;) {
        node_view v = graph_view(g, k);
        if (v.op == NODE_PREVIOUS && v.scan_label == label)
            return k;
    }
    return NODE_NONE;
}

/* The state after a step, where the one before is within `before`. */
static range after_step(cases *c, node body, node previous, range before) {
    graph *g     = c->g;
    node fact[2] = {graph_bool(g, true), graph_bool(g, true)};
    if (before.low != INT64_MIN)
        fact[0] = graph_pointwise(g, NODE_LESS_EQUAL, graph_int(g, before.low), previous, NODE_NONE);
    if (before.high != INT64_MAX)
        fact[1] = graph_pointwise(g, NODE_LESS_EQUAL, previous, graph_int(g, before.high), NODE_NONE);
    question q = {.g = g, .target = body, .fact = fact, .fact_count = 2, .depth = c->question->depth + 1};
    q.work     = &c->work;
    return cases_range(&q);
}

/* Bounds that hold before the first step and stay: those of the state after it, if a step keeps them; else those of the
 * first state that a step keeps, then what a step makes of these. */
static range scan_range(cases *c, node n, node_view v) {
    node init = v.child[0], body = v.child[1], previous = state_before(c->g, n);
    question q = {.g = c->g, .target = init, .depth = c->question->depth + 1, .work = &c->work};
    if (c->question->depth >= SCANS_WITHIN)
        return anything;
    range first = cases_range(&q);
    if (!previous)
        return range_join(first, after_step(c, body, body, anything));
    range once  = range_join(first, after_step(c, body, previous, first));
    range twice = after_step(c, body, previous, once);
    if (twice.low >= once.low && twice.high <= once.high)
        return once;
    range kept = {once.low < first.low ? INT64_MIN : first.low, once.high > first.high ? INT64_MAX : first.high};
    for (unsigned i = 0; i < 2; i++) { /* `kept` is wide enough at first; it may come closer */
        range next = range_join(first, after_step(c, body, previous, kept));
        if (next.low < kept.low || next.high > kept.high)
            return anything;
        kept = next;
    }
    return kept;
}

static bool read_value(cases *c, node n, node_view v, unsigned s, form *out) {
    node_view body = v.op == NODE_GATHER ? graph_view(c->g, v.child[0]) : v;
    if (body.op == NODE_TENSOR)
        return as_unknown(c, n, s, read_range(c->g, body.tensor), out);
    if (v.op == NODE_SCAN)
        return as_unknown(c, n, s, scan_range(c, n, v), out);
    if (body.op == NODE_SCAN) /* a read outside is 0 */
        return as_unknown(c, n, s, range_join(scan_range(c, v.child[0], body), (range){0, 0}), out);
    node pushed = v.op == NODE_GATHER ? gather_pushed(c->g, n) : NODE_NONE;
    return pushed ? cases_linear(c, pushed, s, out) : as_unknown(c, n, s, anything, out);
}

static bool linear_view(cases *c, node n, node_view v, unsigned s, form *out) {
    switch (v.op) {
    case NODE_INT:
        out->constant = v.integer;
        return true;
    case NODE_INDEX: {
        index_id i = 0;
        while (!(v.vars >> i & 1))
            i++;
        return as_unknown(c, n, s, (range){0, graph_index_extent(c->g, i) - 1}, out);
    }
    case NODE_ADD:
    case NODE_SUB: {
        form b;
        node right = v.child[1];
        return cases_linear(c, v.child[0], s, out) && cases_linear(c, right, s, &b) &&
               form_add(out, &b, v.op == NODE_ADD ? 1 : -1, c->unknowns);
    }
    case NODE_NEG: {
        form a;
        return cases_linear(c, v.child[0], s, &a) && form_add(out, &a, -1, c->unknowns);
    }
    case NODE_MUL:
        return multiply(c, n, v, s, out);
    case NODE_DIV:
    case NODE_MOD:
        return divide(c, n, v, s, out);
    case NODE_MINIMUM:
    case NODE_MAXIMUM:
    case NODE_ABS:
        return extremum(c, n, v, s, out);
    case NODE_SELECT:
        return selection(c, n, v, s, out);
    case NODE_STOP:
        return cases_linear(c, v.child[0], s, out);
    case NODE_REDUCE:
        return reduction_value(c, n, v, s, out);
    default:
        return read_value(c, n, v, s, out);
    }
}

bool cases_linear(cases *c, node n, unsigned s, form *out) {
    bool done = false;
    int u     = known_as(c, n, s);
    c->work += UNKNOWNS;
    if (u != NO_UNKNOWN) {
        *out = unknown_form((unsigned)u);
        return true;
    }
    memset(out, 0, sizeof *out);
    if (c->nesting < NESTING && c->work < WORK) {
        c->nesting++;
        done = linear_view(c, n, graph_view(c->g, n), s, out);
        c->nesting--;
    }
    return done || as_unknown(c, n, s, anything, out);
}
