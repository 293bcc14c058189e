/* Proof by contradiction: facts and the denied goal become linear rows over unknowns (indices, reads of integer
 * tensors, quotients, products …) and choices between conditions; every case must have no integer point. What does not
 * fit into a table is left out, which only weakens what is assumed. */
#include "prove_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    SCOPES     = 24,
    LITERALS   = 96,
    CHOICES    = 64,
    DIVISIONS  = 32,
    NESTING    = 200, /* of expressions */
    CASES      = 600,
    SIGNS      = 16, /* of factors looked for */
    WORK       = 4000000,
    NO_UNKNOWN = -1
};

/* Reductions bind indices: a name means the variable of the innermost scope that binds it; scope 0 is outermost. */
typedef struct scope {
    index_set vars;
    unsigned outer;
} scope;

typedef struct key {
    node node;
    unsigned scope;
} key;

/* What one side of a choice assumes: a condition, or unknown == expression. */
typedef struct item {
    key key;
    bool positive; /* of a condition */
    int unknown;   /* NO_UNKNOWN: a condition */
} item;

typedef struct choice {
    item side[2][2];
    unsigned count[2];
    bool taken;
} choice;

typedef struct division { /* unknown == floor(form / divisor) */
    form form;
    int64_t divisor;
    unsigned unknown;
} division;

typedef struct literal {
    key key;
    bool positive;
} literal;

typedef struct cases {
    const question *question;
    graph *g;
    unsigned unknowns, rows, scopes, literals, choices, divisions;
    unsigned nesting, tried, signs;
    uint64_t work;
    elimination *elimination;
    key key[UNKNOWNS]; /* node NODE_NONE: a quotient */
    range bound[UNKNOWNS];
    scope scope[SCOPES];
    literal literal[LITERALS];
    choice choice[CHOICES];
    division division[DIVISIONS];
    row row[ROWS];
} cases;

static const range anything = {INT64_MIN, INT64_MAX};

static bool linear(cases *c, node n, unsigned s, form *out);
static bool assume(cases *c, node n, bool positive, unsigned s);

static unsigned resolve(const cases *c, node n, unsigned s) {
    index_set free = graph_view(c->g, n).free;
    while (s && !(free & c->scope[s].vars))
        s = c->scope[s].outer;
    return s;
}

static unsigned open_scope(cases *c, index_set vars, unsigned outer) {
    if (c->scopes == SCOPES)
        return 0;
    c->scope[c->scopes] = (scope){vars, outer};
    return c->scopes++;
}

/* The unknown that stands for n already, or NO_UNKNOWN. */
static int known_as(const cases *c, node n, unsigned s) {
    s = resolve(c, n, s);
    for (unsigned i = 0; i < c->unknowns; i++)
        if (c->key[i].node == n && c->key[i].scope == s)
            return (int)i;
    return NO_UNKNOWN;
}

/* A new unknown, for n unless that is NODE_NONE; NO_UNKNOWN if there is no room. */
static int new_unknown(cases *c, node n, unsigned s, range bound) {
    if (c->unknowns == UNKNOWNS)
        return NO_UNKNOWN;
    c->key[c->unknowns]   = (key){n, n ? resolve(c, n, s) : 0};
    c->bound[c->unknowns] = bound;
    return (int)c->unknowns++;
}

static form unknown_form(unsigned u) {
    form f      = {0};
    f.factor[u] = 1;
    return f;
}

static bool as_unknown(cases *c, node n, unsigned s, range bound, form *out) {
    int u = new_unknown(c, n, s, bound);
    if (u == NO_UNKNOWN)
        return false;
    *out = unknown_form((unsigned)u);
    return true;
}

/* a + scale * b + constant, >= 0 or == 0. What does not fit is not added. */
static void relate(cases *c, const form *a, const form *b, int64_t scale, int64_t constant, bool equal) {
    if (c->rows == ROWS)
        return;
    row *r   = &c->row[c->rows];
    r->form  = *a;
    r->equal = equal;
    if (form_add(&r->form, b, scale, c->unknowns) &&
        !__builtin_add_overflow(r->form.constant, constant, &r->form.constant))
        c->rows++;
}

static range range_of(const cases *c, const form *f) {
    return form_range(f, c->bound, c->unknowns);
}

static void choose_between(cases *c, item a, item a2, item b, item b2) {
    if (c->choices == CHOICES)
        return;
    choice *h   = &c->choice[c->choices++];
    *h          = (choice){.side = {{a, a2}, {b, b2}}};
    h->count[0] = a2.key.node ? 2 : 1;
    h->count[1] = b2.key.node ? 2 : 1;
}

static item condition(node n, bool positive, unsigned s) {
    return (item){{n, s}, positive, NO_UNKNOWN};
}

static const item nothing = {{NODE_NONE, 0}, false, NO_UNKNOWN};

/* Expressions */

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
    int u = new_unknown(c, NODE_NONE, 0, q);
    if (u == NO_UNKNOWN)
        return false;
    if (c->divisions < DIVISIONS)
        c->division[c->divisions++] = (division){f, divisor, (unsigned)u};
    form one = unknown_form((unsigned)u), minus = {0};
    relate(c, &f, &one, -divisor, 0, false); /* f - divisor q >= 0 */
    if (form_add(&minus, &one, divisor, c->unknowns))
        relate(c, &minus, &f, -1, divisor - 1, false);
    return form_add(out, &one, 1, c->unknowns);
}

static bool divide(cases *c, node n, node_view v, unsigned s, form *out) {
    form a, b;
    node left = v.child[0], right = v.child[1];
    if (!linear(c, left, s, &a) || !linear(c, right, s, &b))
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
            if (v.op == NODE_DIV || form_add(out, &q, -divisor.low, c->unknowns))
                return true;
        }
    }
    int u = new_unknown(c, n, s, range_apply(v.op, all, divisor, divisor, left == right));
    if (u == NO_UNKNOWN)
        return false;
    *out = unknown_form((unsigned)u);
    if (v.op == NODE_MOD && divisor.low > 0) {
        relate(c, &b, out, -1, -1, false);
        if (all.low >= 0)
            relate(c, &a, out, -1, 0, false);
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
        relate(c, &sum, b, -sign * x, sign * xy, false);
}

static void all_rows(const cases *c, const row **rows) {
    for (unsigned r = 0; r < c->rows; r++)
        rows[r] = &c->row[r];
}

/* Is scale * f >= 0 wherever the rows hold? */
static bool has_sign(cases *c, const form *f, int64_t scale) {
    const row *rows[ROWS];
    row negative = {0};
    if (c->rows == ROWS || !form_add(&negative.form, f, -scale, c->unknowns) ||
        __builtin_sub_overflow(negative.form.constant, 1, &negative.form.constant))
        return false;
    all_rows(c, rows);
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
    if (!linear(c, left, s, &a) || !linear(c, right, s, &b))
        return false;
    range ra = factor_range(c, &a), rb = factor_range(c, &b);
    memset(out, 0, sizeof *out);
    if (range_is_point(ra) && form_add(out, &b, ra.low, c->unknowns))
        return true;
    memset(out, 0, sizeof *out);
    if (range_is_point(rb) && form_add(out, &a, rb.low, c->unknowns))
        return true;
    int u = new_unknown(c, n, s, range_apply(NODE_MUL, ra, rb, rb, left == right));
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
    int u = new_unknown(c, n, s, bound);
    if (u == NO_UNKNOWN)
        return false;
    *out = unknown_form((unsigned)u);
    if (low) {
        relate(c, out, a, -1, 0, false);
        relate(c, out, b, -1, 0, false);
    }
    if (high) {
        relate(c, a, out, -1, 0, false);
        relate(c, b, out, -1, 0, false);
    }
    item first[2], second[2];
    memcpy(first, side[0], sizeof first);
    memcpy(second, side[1], sizeof second);
    first[0].unknown = second[0].unknown = u;
    choose_between(c, first[0], first[1], second[0], second[1]);
    return true;
}

static bool extremum(cases *c, node n, node_view v, unsigned s, form *out) {
    form a, b, difference;
    node left = v.child[0], right = v.op == NODE_ABS ? graph_neg(c->g, left) : v.child[1];
    if (!linear(c, left, s, &a) || !linear(c, right, s, &b))
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
    item side[2][2] = {{{{left, s}, true, 0}, nothing}, {{{right, s}, true, 0}, nothing}};
    return one_of(c, n, s, &a, &b, all, op == NODE_MAXIMUM, op == NODE_MINIMUM, side, out);
}

static bool selection(cases *c, node n, node_view v, unsigned s, form *out) {
    form a, b;
    node test = v.child[0], then = v.child[1], otherwise = v.child[2];
    if (!linear(c, then, s, &a) || !linear(c, otherwise, s, &b))
        return false;
    range all       = range_join(range_of(c, &a), range_of(c, &b));
    item side[2][2] = {{{{then, s}, true, 0}, condition(test, true, s)},
                       {{{otherwise, s}, true, 0}, condition(test, false, s)}};
    return one_of(c, n, s, &a, &b, all, false, false, side, out);
}

/* A maximum or minimum is one of its body's values, unless the domain is empty. */
static bool reduction_value(cases *c, node n, node_view v, unsigned s, form *out) {
    form body;
    node domain = v.child[0], term = v.child[1];
    s              = resolve(c, n, s);
    unsigned inner = open_scope(c, v.vars, s);
    if (!inner || !linear(c, term, inner, &body))
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
    int u = new_unknown(c, n, s, all);
    if (u == NO_UNKNOWN)
        return false;
    *out = unknown_form((unsigned)u);
    if (some) {
        relate(c, out, &body, -1, 0, true);
        assume(c, domain, true, inner);
    }
    return true;
}

static bool read_value(cases *c, node n, node_view v, unsigned s, form *out) {
    node_view body = v.op == NODE_GATHER ? graph_view(c->g, v.child[0]) : v;
    if (body.op == NODE_TENSOR)
        return as_unknown(c, n, s, (range){0, graph_tensor(c->g, body.tensor)->below - 1}, out);
    node pushed = v.op == NODE_GATHER ? gather_pushed(c->g, n) : NODE_NONE;
    return pushed ? linear(c, pushed, s, out) : as_unknown(c, n, s, anything, out);
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
        return linear(c, v.child[0], s, out) && linear(c, right, s, &b) &&
               form_add(out, &b, v.op == NODE_ADD ? 1 : -1, c->unknowns);
    }
    case NODE_NEG: {
        form a;
        return linear(c, v.child[0], s, &a) && form_add(out, &a, -1, c->unknowns);
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
        return linear(c, v.child[0], s, out);
    case NODE_REDUCE:
        return reduction_value(c, n, v, s, out);
    default:
        return read_value(c, n, v, s, out);
    }
}

/* n as a linear form; what is not linear becomes an unknown. false: there is no room. */
static bool linear(cases *c, node n, unsigned s, form *out) {
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

/* Conditions. Each returns false where what is assumed contradicts something already. */

static bool note(cases *c, node n, bool positive, unsigned s) {
    s = resolve(c, n, s);
    for (unsigned i = 0; i < c->literals; i++)
        if (c->literal[i].key.node == n && c->literal[i].key.scope == s)
            return c->literal[i].positive == positive;
    if (c->literals < LITERALS)
        c->literal[c->literals++] = (literal){{n, s}, positive};
    return true;
}

static bool compare(cases *c, node_op op, node left, node right, bool positive, unsigned s) {
    form a, b;
    if (!linear(c, left, s, &a) || !linear(c, right, s, &b))
        return true;
    if (op == NODE_EQUAL && !positive) {
        choose_between(c, condition(graph_pointwise(c->g, NODE_LESS, left, right, NODE_NONE), true, s), nothing,
                       condition(graph_pointwise(c->g, NODE_LESS, right, left, NODE_NONE), true, s), nothing);
        return true;
    }
    if (op == NODE_EQUAL)
        relate(c, &a, &b, -1, 0, true);
    else if (positive) /* a < b, a <= b */
        relate(c, &b, &a, -1, op == NODE_LESS ? -1 : 0, false);
    else
        relate(c, &a, &b, -1, op == NODE_LESS ? 0 : -1, false);
    return true;
}

/* Both sides, or one of them. */
static bool both_or_either(cases *c, bool both, node a, bool a_positive, node b, bool b_positive, unsigned s) {
    if (both)
        return assume(c, a, a_positive, s) && assume(c, b, b_positive, s);
    choose_between(c, condition(a, a_positive, s), nothing, condition(b, b_positive, s), nothing);
    return true;
}

static bool compare_conditions(cases *c, node_op op, node a, node b, bool positive, unsigned s) {
    if (op == NODE_LESS) /* not a, and b */
        return both_or_either(c, positive, a, !positive, b, positive, s);
    if (op == NODE_LESS_EQUAL)
        return both_or_either(c, !positive, a, !positive, b, positive, s);
    choose_between(c, condition(a, true, s), condition(b, positive, s), condition(a, false, s),
                   condition(b, !positive, s));
    return true;
}

static bool quantified(cases *c, node n, node_view v, bool positive, unsigned s) {
    node domain = v.child[0], body = v.child[1];
    if (!note(c, n, positive, s))
        return false;
    if ((v.reduction == REDUCE_ANY) != positive)
        return true; /* for all: said by the literal alone */
    unsigned inner = open_scope(c, v.vars, resolve(c, n, s));
    return !inner || (assume(c, domain, true, inner) && assume(c, body, positive, inner));
}

static bool read_condition(cases *c, node n, node_view v, bool positive, unsigned s) {
    node body   = v.child[0];
    node pushed = gather_pushed(c->g, n);
    if (pushed)
        return assume(c, pushed, positive, s);
    if (!note(c, n, positive, s))
        return false;
    if (!positive)
        return true;
    node_view inside = graph_view(c->g, body);
    if (inside.op == NODE_TOPK) {
        index_id substituted[GRAPH_INDICES];
        node expression[GRAPH_INDICES], domain = inside.child[0];
        v = graph_view(c->g, n);
        memcpy(substituted, v.substituted, v.child_count - 1);
        memcpy(expression, v.child + 1, (v.child_count - 1) * sizeof *expression);
        if (!assume(c, graph_gather(c->g, domain, v.child_count - 1, substituted, expression), true, s))
            return false;
    }
    return assume(c, gather_in_range(c->g, n), true, s);
}

static bool assume_view(cases *c, node n, node_view v, bool positive, unsigned s) {
    node a = v.child_count > 0 ? v.child[0] : NODE_NONE, b = v.child_count > 1 ? v.child[1] : NODE_NONE;
    switch (v.op) {
    case NODE_INT:
        return (v.integer != 0) == positive;
    case NODE_NOT:
        return assume(c, a, !positive, s);
    case NODE_STOP:
    case NODE_ABS:
        return assume(c, a, positive, s);
    case NODE_AND:
    case NODE_MINIMUM:
        return both_or_either(c, positive, a, positive, b, positive, s);
    case NODE_OR:
    case NODE_MAXIMUM:
        return both_or_either(c, !positive, a, positive, b, positive, s);
    case NODE_SELECT:
        choose_between(c, condition(a, true, s), condition(b, positive, s), condition(a, false, s),
                       condition(v.child[2], positive, s));
        return true;
    case NODE_LESS:
    case NODE_LESS_EQUAL:
    case NODE_EQUAL:
        switch (graph_view(c->g, a).type) {
        case TYPE_INT:
            return compare(c, v.op, a, b, positive, s);
        case TYPE_BOOL:
            return compare_conditions(c, v.op, a, b, positive, s);
        default:
            return note(c, n, positive, s);
        }
    case NODE_REDUCE:
        return quantified(c, n, v, positive, s);
    case NODE_TOPK:
        return note(c, n, positive, s) && (!positive || assume(c, a, true, s));
    case NODE_GATHER:
        return read_condition(c, n, v, positive, s);
    default:
        return note(c, n, positive, s);
    }
}

static bool assume(cases *c, node n, bool positive, unsigned s) {
    c->work += UNKNOWNS;
    if (c->nesting >= NESTING || c->work >= WORK)
        return true;
    c->nesting++;
    bool possible = assume_view(c, n, graph_view(c->g, n), positive, s);
    c->nesting--;
    return possible;
}

/* The cases */

static bool contradicts(cases *c) {
    const row *rows[ROWS];
    all_rows(c, rows);
    return !rows_narrow(rows, c->rows, c->bound, c->unknowns, &c->work) ||
           rows_impossible(c->elimination, rows, c->rows, c->bound, c->unknowns, &c->work);
}

static bool assume_item(cases *c, const item *i) {
    if (i->unknown == NO_UNKNOWN)
        return assume(c, i->key.node, i->positive, i->key.scope);
    form value, u = unknown_form((unsigned)i->unknown);
    if (linear(c, i->key.node, i->key.scope, &value))
        relate(c, &u, &value, -1, 0, true);
    return true;
}

/* Is what is assumed impossible? Tries the newest choice first: the goal's come last. */
static bool refuted(cases *c) {
    if (contradicts(c))
        return true;
    if (++c->tried > CASES || c->work >= WORK)
        return false;
    unsigned at = c->choices;
    while (at > 0 && c->choice[at - 1].taken)
        at--;
    if (at-- == 0)
        return false;
    unsigned unknowns = c->unknowns, rows = c->rows, scopes = c->scopes, literals = c->literals, choices = c->choices,
             divisions = c->divisions;
    range bound[UNKNOWNS];
    memcpy(bound, c->bound, unknowns * sizeof *bound);
    choice taken        = c->choice[at];
    bool impossible     = true;
    c->choice[at].taken = true;
    for (unsigned side = 0; side < 2 && impossible; side++) {
        bool possible = true;
        for (unsigned i = 0; i < taken.count[side] && possible; i++)
            possible = assume_item(c, &taken.side[side][i]);
        impossible   = !possible || refuted(c);
        c->unknowns  = unknowns;
        c->rows      = rows;
        c->scopes    = scopes;
        c->literals  = literals;
        c->choices   = choices;
        c->divisions = divisions;
        memcpy(c->bound, bound, unknowns * sizeof *bound);
    }
    c->choice[at].taken = false;
    return impossible;
}

static void begin(cases *c) {
    c->unknowns = c->rows = c->literals = c->choices = c->divisions = c->nesting = c->tried = c->signs = 0;
    c->scopes                                                                                          = 1;
    c->scope[0]                                                                                        = (scope){0, 0};
}

/* Denies one bound of the target; is that impossible? */
static bool bound_holds(cases *c, bool upper) {
    const question *q = c->question;
    if (upper ? q->high == INT64_MAX : q->low == INT64_MIN)
        return true;
    begin(c);
    for (unsigned i = 0; i < q->fact_count; i++)
        if (!assume(c, q->fact[i], true, 0))
            return true;
    if (graph_view(c->g, q->target).type == TYPE_BOOL)
        return (upper && q->high == 1) || !assume(c, q->target, false, 0) || refuted(c);
    if (contradicts(c)) /* also narrows the bounds that products are related by */
        return true;
    form target, limit = {.constant = upper ? q->high : q->low};
    if (!linear(c, q->target, 0, &target))
        return false;
    unsigned rows = c->rows;
    if (upper)
        relate(c, &target, &limit, -1, -1, false);
    else
        relate(c, &limit, &target, -1, -1, false);
    return c->rows > rows && refuted(c);
}

bool cases_prove(const question *q) {
    cases *c       = prove_memory(sizeof *c);
    c->question    = q;
    c->g           = q->g;
    c->work        = *q->work;
    c->elimination = elimination_new();
    bool holds     = bound_holds(c, false) && bound_holds(c, true);
    *q->work       = c->work + UNKNOWNS * UNKNOWNS;
    elimination_free(c->elimination);
    free(c);
    return holds;
}
