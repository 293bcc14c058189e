/* Proof by contradiction: facts and the denied goal become linear rows over unknowns (indices, reads of integer
 * tensors, quotients, products …) and choices between conditions; every case must have no integer point. What does not
 * fit into a table is left out, which only weakens what is assumed. */
#include "prove_cases.h"

#include <stdlib.h>
#include <string.h>

unsigned cases_scope_of(const cases *c, node n, unsigned s) {
    index_set free = graph_view(c->g, n).free;
    while (s && !(free & c->scope[s].vars))
        s = c->scope[s].outer;
    return s;
}

unsigned cases_open_scope(cases *c, index_set vars, unsigned outer) {
    if (c->scopes == SCOPES)
        return 0;
    c->scope[c->scopes] = (scope){vars, outer};
    return c->scopes++;
}

int cases_unknown(cases *c, node n, unsigned s, range bound) {
    if (c->unknowns == UNKNOWNS)
        return NO_UNKNOWN;
    c->key[c->unknowns]   = (key){n, n ? cases_scope_of(c, n, s) : 0};
    c->bound[c->unknowns] = bound;
    return (int)c->unknowns++;
}

form unknown_form(unsigned u) {
    form f      = {0};
    f.factor[u] = 1;
    return f;
}

void cases_relate(cases *c, const form *a, const form *b, int64_t scale, int64_t constant, bool equal) {
    if (c->rows == ROWS)
        return;
    row *r   = &c->row[c->rows];
    r->form  = *a;
    r->equal = equal;
    if (form_add(&r->form, b, scale, c->unknowns) &&
        !__builtin_add_overflow(r->form.constant, constant, &r->form.constant))
        c->rows++;
}

void cases_choose(cases *c, item a, item a2, item b, item b2) {
    if (c->choices == CHOICES)
        return;
    choice *h   = &c->choice[c->choices++];
    *h          = (choice){.side = {{a, a2}, {b, b2}}};
    h->count[0] = a2.key.node ? 2 : 1;
    h->count[1] = b2.key.node ? 2 : 1;
}

item cases_condition(node n, bool positive, unsigned s) {
    return (item){{n, s}, positive, NO_UNKNOWN};
}

const item cases_nothing = {{NODE_NONE, 0}, false, NO_UNKNOWN};

void cases_rows(const cases *c, const row **rows) {
    for (unsigned r = 0; r < c->rows; r++)
        rows[r] = &c->row[r];
}

/* Conditions. Each returns false where what is assumed contradicts something already. */

static bool note(cases *c, node n, bool positive, unsigned s) {
    s = cases_scope_of(c, n, s);
    for (unsigned i = 0; i < c->literals; i++)
        if (c->literal[i].key.node == n && c->literal[i].key.scope == s)
            return c->literal[i].positive == positive;
    if (c->literals < LITERALS)
        c->literal[c->literals++] = (literal){{n, s}, positive};
    return true;
}

static bool compare(cases *c, node_op op, node left, node right, bool positive, unsigned s) {
    form a, b;
    if (!cases_linear(c, left, s, &a) || !cases_linear(c, right, s, &b))
        return true;
    if (op == NODE_EQUAL && !positive) {
        cases_choose(c, cases_condition(graph_pointwise(c->g, NODE_LESS, left, right, NODE_NONE), true, s),
                     cases_nothing, cases_condition(graph_pointwise(c->g, NODE_LESS, right, left, NODE_NONE), true, s),
                     cases_nothing);
        return true;
    }
    if (op == NODE_EQUAL)
        cases_relate(c, &a, &b, -1, 0, true);
    else if (positive) /* a < b, a <= b */
        cases_relate(c, &b, &a, -1, op == NODE_LESS ? -1 : 0, false);
    else
        cases_relate(c, &a, &b, -1, op == NODE_LESS ? 0 : -1, false);
    return true;
}

/* Both sides, or one of them. */
static bool both_or_either(cases *c, bool both, node a, bool a_positive, node b, bool b_positive, unsigned s) {
    if (both)
        return cases_assume(c, a, a_positive, s) && cases_assume(c, b, b_positive, s);
    cases_choose(c, cases_condition(a, a_positive, s), cases_nothing, cases_condition(b, b_positive, s), cases_nothing);
    return true;
}

static bool compare_conditions(cases *c, node_op op, node a, node b, bool positive, unsigned s) {
    if (op == NODE_LESS) /* not a, and b */
        return both_or_either(c, positive, a, !positive, b, positive, s);
    if (op == NODE_LESS_EQUAL)
        return both_or_either(c, !positive, a, !positive, b, positive, s);
    cases_choose(c, cases_condition(a, true, s), cases_condition(b, positive, s), cases_condition(a, false, s),
                 cases_condition(b, !positive, s));
    return true;
}

static bool quantified(cases *c, node n, node_view v, bool positive, unsigned s) {
    node domain = v.child[0], body = v.child[1];
    if (!note(c, n, positive, s))
        return false;
    if ((v.reduction == REDUCE_ANY) != positive)
        return true; /* for all: said by the literal alone */
    unsigned inner = cases_open_scope(c, v.vars, cases_scope_of(c, n, s));
    return !inner || (cases_assume(c, domain, true, inner) && cases_assume(c, body, positive, inner));
}

static bool read_condition(cases *c, node n, node_view v, bool positive, unsigned s) {
    node body   = v.child[0];
    node pushed = gather_pushed(c->g, n);
    if (pushed)
        return cases_assume(c, pushed, positive, s);
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
        if (!cases_assume(c, graph_gather(c->g, domain, v.child_count - 1, substituted, expression), true, s))
            return false;
    }
    return cases_assume(c, gather_in_range(c->g, n), true, s);
}

static bool assume_view(cases *c, node n, node_view v, bool positive, unsigned s) {
    node a = v.child_count > 0 ? v.child[0] : NODE_NONE, b = v.child_count > 1 ? v.child[1] : NODE_NONE;
    switch (v.op) {
    case NODE_INT:
        return (v.integer != 0) == positive;
    case NODE_NOT:
        return cases_assume(c, a, !positive, s);
    case NODE_STOP:
    case NODE_ABS:
        return cases_assume(c, a, positive, s);
    case NODE_AND:
    case NODE_MINIMUM:
        return both_or_either(c, positive, a, positive, b, positive, s);
    case NODE_OR:
    case NODE_MAXIMUM:
        return both_or_either(c, !positive, a, positive, b, positive, s);
    case NODE_SELECT:
        cases_choose(c, cases_condition(a, true, s), cases_condition(b, positive, s), cases_condition(a, false, s),
                     cases_condition(v.child[2], positive, s));
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
        return note(c, n, positive, s) && (!positive || cases_assume(c, a, true, s));
    case NODE_GATHER:
        return read_condition(c, n, v, positive, s);
    default:
        return note(c, n, positive, s);
    }
}

bool cases_assume(cases *c, node n, bool positive, unsigned s) {
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
    cases_rows(c, rows);
    return !rows_narrow(rows, c->rows, c->bound, c->unknowns, &c->work) ||
           rows_impossible(c->elimination, rows, c->rows, c->bound, c->unknowns, &c->work);
}

static bool assume_item(cases *c, const item *i) {
    if (i->unknown == NO_UNKNOWN)
        return cases_assume(c, i->key.node, i->positive, i->key.scope);
    form value, u = unknown_form((unsigned)i->unknown);
    if (cases_linear(c, i->key.node, i->key.scope, &value))
        cases_relate(c, &u, &value, -1, 0, true);
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
        if (!cases_assume(c, q->fact[i], true, 0))
            return true;
    if (graph_view(c->g, q->target).type == TYPE_BOOL)
        return (upper && q->high == 1) || !cases_assume(c, q->target, false, 0) || refuted(c);
    if (contradicts(c)) /* also narrows the bounds that products are related by */
        return true;
    form target, limit = {.constant = upper ? q->high : q->low};
    if (!cases_linear(c, q->target, 0, &target))
        return false;
    unsigned rows = c->rows;
    if (upper)
        cases_relate(c, &target, &limit, -1, -1, false);
    else
        cases_relate(c, &limit, &target, -1, -1, false);
    return c->rows > rows && refuted(c);
}

static cases *open_cases(const question *q) {
    cases *c       = prove_memory(sizeof *c);
    c->question    = q;
    c->g           = q->g;
    c->work        = *q->work;
    c->elimination = elimination_new();
    begin(c);
    return c;
}

static void close_cases(cases *c) {
    *c->question->work = c->work + UNKNOWNS * UNKNOWNS;
    elimination_free(c->elimination);
    free(c);
}

bool cases_prove(const question *q) {
    cases *c   = open_cases(q);
    bool holds = bound_holds(c, false) && bound_holds(c, true);
    close_cases(c);
    return holds;
}

range cases_range(const question *q) {
    form target;
    range all     = {INT64_MIN, INT64_MAX};
    cases *c      = open_cases(q);
    bool possible = true;
    for (unsigned i = 0; i < q->fact_count && possible; i++)
        possible = cases_assume(c, q->fact[i], true, 0);
    if (possible && !contradicts(c) && cases_linear(c, q->target, 0, &target) && !contradicts(c))
        all = form_range(&target, c->bound, c->unknowns);
    close_cases(c);
    return all;
}
