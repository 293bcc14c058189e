/* What is asked of a proof: first by cases and linear arithmetic, then by search; and whether a domain has points, by
 * points that its own comparisons suggest. */
#include "prove_internal.h"

#include <stdlib.h>
#include <string.h>

enum { CANDIDATES = 24, DEPTH = 2, ATTEMPTS = 48, CONJUNCTS = 32, SMALL = 4000, VISITS = 400 };

void *prove_memory(size_t size) {
    void *memory = malloc(size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

range read_range(const graph *g, uint32_t number) {
    const tensor *t = graph_tensor(g, number);
    int64_t highest = t->type == TYPE_BOOL ? 1 : t->below - 1;
    return (range){0, highest < 0 ? 0 : highest};
}

/* Is n small when its shared parts are written out, as a substitution does? Counts down `left`. */
static bool is_small(const graph *g, node n, unsigned *left) {
    node_view v = graph_view(g, n);
    if (*left == 0)
        return false;
    --*left;
    for (unsigned i = 0; i < v.child_count; i++)
        if (!is_small(g, v.child[i], left))
            return false;
    return true;
}

static bool may_substitute(const graph *g, node n) {
    unsigned left = SMALL;
    return is_small(g, n, &left);
}

/* Gathers */

static node in_range(graph *g, node e, int64_t extent) {
    node low  = graph_pointwise(g, NODE_LESS_EQUAL, graph_int(g, 0), e, NODE_NONE);
    node high = graph_pointwise(g, NODE_LESS, e, graph_int(g, extent), NODE_NONE);
    return graph_and(g, low, high);
}

typedef struct substitution {
    unsigned count;
    index_id substituted[GRAPH_INDICES];
    node expression[GRAPH_INDICES];
} substitution;

static substitution substitution_of(const graph *g, node n) {
    substitution s = {.count = graph_view(g, n).child_count - 1};
    node_view v    = graph_view(g, n);
    memcpy(s.substituted, v.substituted, s.count);
    memcpy(s.expression, v.child + 1, s.count * sizeof *s.expression);
    return s;
}

node gather_in_range(graph *g, node n) {
    substitution s = substitution_of(g, n);
    node all       = graph_bool(g, true);
    for (unsigned i = 0; i < s.count; i++)
        all = graph_and(g, all, in_range(g, s.expression[i], graph_index_extent(g, s.substituted[i])));
    return all;
}

/* The body with the expressions in it, one level down. */
static node push_into(graph *g, node body, const substitution *s) {
    node_view v        = graph_view(g, body);
    unsigned count     = v.child_count;
    node child[3]      = {NODE_NONE, NODE_NONE, NODE_NONE};
    index_set captured = 0;
    if (v.op != NODE_REDUCE && !graph_op_is_pointwise(v.op))
        return NODE_NONE;
    for (unsigned i = 0; i < s->count; i++)
        captured |= v.vars & (graph_view(g, s->expression[i]).free | bit(s->substituted[i]));
    if (v.op == NODE_REDUCE && captured)
        return NODE_NONE;
    memcpy(child, v.child, count * sizeof *child);
    for (unsigned i = 0; i < count; i++)
        child[i] = graph_gather(g, child[i], s->count, s->substituted, s->expression);
    return v.op == NODE_REDUCE ? graph_reduce(g, v.reduction, v.vars, child[0], child[1])
                               : graph_pointwise(g, v.op, child[0], child[1], child[2]);
}

node gather_pushed(graph *g, node n) {
    node_view v    = graph_view(g, n);
    node body      = v.child[0];
    substitution s = substitution_of(g, n);
    node pushed    = may_substitute(g, body) ? push_into(g, body, &s) : NODE_NONE;
    if (!pushed)
        return NODE_NONE;
    node inside = gather_in_range(g, n);
    return v.type == TYPE_BOOL ? graph_and(g, inside, pushed) : graph_select(g, inside, pushed, graph_int(g, 0));
}

/* Points that a domain may have */

typedef struct candidates {
    graph *g;
    index_id index;
    unsigned count, visits;
    node value[CANDIDATES];
} candidates;

static void propose(candidates *c, node value) {
    if (graph_view(c->g, value).free & bit(c->index))
        return;
    for (unsigned i = 0; i < c->count; i++)
        if (c->value[i] == value)
            return;
    if (c->count < CANDIDATES)
        c->value[c->count++] = value;
}

/* Where side, which contains the index, is `other`: moves what stands around the index to the other side. */
static void solve(candidates *c, node side, node other, unsigned nesting) {
    graph *g    = c->g;
    node_view v = graph_view(g, side);
    node one    = graph_int(g, 1), a, b;
    v           = graph_view(g, side);
    if (v.op == NODE_INDEX && v.free == bit(c->index)) {
        propose(c, other);
        propose(c, graph_add(g, other, one));
        propose(c, graph_sub(g, other, one));
        return;
    }
    if (v.child_count == 0 || nesting > 8)
        return;
    a           = v.child[0];
    b           = v.child_count > 1 ? v.child[1] : NODE_NONE;
    bool a_has  = graph_view(g, a).free & bit(c->index);
    bool b_has  = b && graph_view(g, b).free & bit(c->index);
    bool nearby = a_has && !b_has;
    if (a_has && b_has)
        return;
    if (v.op == NODE_ADD)
        solve(c, nearby ? a : b, graph_sub(g, other, nearby ? b : a), nesting + 1);
    else if (v.op == NODE_SUB)
        solve(c, nearby ? a : b, nearby ? graph_add(g, other, b) : graph_sub(g, a, other), nesting + 1);
    else if (v.op == NODE_NEG)
        solve(c, a, graph_neg(g, other), nesting + 1);
    else if (v.op == NODE_DIV && nearby)
        solve(c, a, graph_mul(g, other, b), nesting + 1);
    else if (v.op == NODE_MUL && v.type == TYPE_INT)
        solve(c, nearby ? a : b, graph_div(g, other, nearby ? b : a), nesting + 1);
    else if (v.op == NODE_MOD && nearby)
        solve(c, a, other, nesting + 1);
}

static void propose_from(candidates *c, node n, unsigned nesting) {
    node_view v = graph_view(c->g, n);
    if (!(v.free & bit(c->index)) || nesting > 24 || v.child_count == 0 || c->visits >= VISITS)
        return;
    c->visits++;
    node a = v.child[0], b = v.child_count > 1 ? v.child[1] : NODE_NONE;
    if (v.op == NODE_LESS || v.op == NODE_LESS_EQUAL || v.op == NODE_EQUAL) {
        bool a_has = graph_view(c->g, a).free & bit(c->index), b_has = graph_view(c->g, b).free & bit(c->index);
        if (graph_view(c->g, a).type == TYPE_INT && a_has != b_has)
            solve(c, a_has ? a : b, a_has ? b : a, 0);
        else if (graph_view(c->g, a).type == TYPE_INT) { /* on both sides: a - b is 0 where they are equal */
            solve(c, a, b, 0);
            solve(c, b, a, 0);
        }
    } else if (v.type == TYPE_BOOL && graph_op_is_pointwise(v.op)) {
        propose_from(c, a, nesting + 1);
        if (b)
            propose_from(c, b, nesting + 1);
    }
}

static candidates candidates_for(const question *q, index_id i, index_set vars, node domain) {
    graph *g       = q->g;
    candidates c   = {.g = g, .index = i};
    int64_t extent = graph_index_extent(g, i);
    index_set all  = graph_view(g, domain).free & ~vars;
    propose(&c, graph_int(g, 0));
    for (unsigned k = 0; k < graph_index_count(g); k++)
        if (all >> k & 1 && graph_index_extent(g, (index_id)k) == extent)
            propose(&c, graph_index_value(g, (index_id)k));
    propose(&c, graph_int(g, extent - 1));
    propose_from(&c, domain, 0);
    return c;
}

static bool proven(const question *q, node target) {
    question ask = {.g          = q->g,
                    .target     = target,
                    .low        = 1,
                    .high       = 1,
                    .fact       = q->fact,
                    .fact_count = q->fact_count,
                    .depth      = q->depth + 1,
                    .work       = q->work};
    return cases_prove(&ask);
}

/* Puts candidates for one of vars after the other into the domain. Other members of vars are no candidates: they would
 * mean indices of outside. */
static bool some_point(const question *q, index_set vars, node domain, unsigned *attempts) {
    vars &= graph_view(q->g, domain).free;
    if (!vars) {
        if (*attempts == 0)
            return false;
        --*attempts;
        return proven(q, domain);
    }
    index_id i = 0;
    while (!(vars >> i & 1))
        i++;
    candidates c = candidates_for(q, i, vars, domain);
    for (unsigned k = 0; k < c.count && *attempts; k++) {
        if (graph_view(q->g, c.value[k]).free & vars)
            continue;
        node at     = graph_gather(q->g, domain, 1, &i, &c.value[k]);
        node inside = in_range(q->g, c.value[k], graph_index_extent(q->g, i));
        if (some_point(q, vars & ~bit(i), graph_and(q->g, inside, at), attempts))
            return true;
    }
    return false;
}

/* The parts of a conjunction; CONJUNCTS: there are too many. */
static unsigned conjuncts(const graph *g, node n, node *out) {
    node open[CONJUNCTS + 1] = {n};
    unsigned opened = 1, count = 0;
    while (opened > 0 && count < CONJUNCTS) {
        node_view v = graph_view(g, open[--opened]);
        if (v.op != NODE_AND)
            out[count++] = open[opened];
        else if (opened + 2 > CONJUNCTS)
            return CONJUNCTS;
        else {
            open[opened++] = v.child[1];
            open[opened++] = v.child[0];
        }
    }
    return count;
}

/* A selection of at least one has a point where its own domain has; what else is asked must follow from that domain.
 * Returns the domain that is to have a point, or the one given. */
static node without_selection(const question *q, index_set vars, node domain) {
    node part[CONJUNCTS], selection = NODE_NONE;
    unsigned count = conjuncts(q->g, domain, part);
    if (count == CONJUNCTS)
        return domain;
    for (unsigned i = 0; i < count; i++) {
        node_view v = graph_view(q->g, part[i]);
        if (v.op == NODE_TOPK && v.integer >= 1 && vars >> v.scan_index & 1)
            selection = part[i];
    }
    if (!selection)
        return domain;
    node inside = graph_view(q->g, selection).child[0];
    for (unsigned i = 0; i < count; i++) {
        question more = {.g = q->g, .fact = &inside, .fact_count = 1, .depth = q->depth, .work = q->work};
        if (part[i] != selection && part[i] != inside && !proven(&more, part[i]))
            return domain;
    }
    return inside;
}

bool question_inhabited(const question *q, index_set vars, node domain) {
    graph *g     = q->g;
    node always  = graph_bool(g, true);
    index_set of = vars & graph_view(g, domain).free;
    if (graph_space(g, vars) == 0 || q->depth >= DEPTH)
        return false;
    if (domain == always)
        return true;
    if (of && proven(q, graph_reduce(g, REDUCE_ANY, of, domain, always)))
        return true;
    for (node before = NODE_NONE; before != domain;) {
        before = domain;
        domain = without_selection(q, vars, domain);
    }
    unsigned attempts = ATTEMPTS;
    return may_substitute(g, domain) && some_point(q, vars, domain, &attempts);
}

static proof question_answer(const question *q, witness *w) {
    return cases_prove(q) ? PROOF_HOLDS : search_prove(q, w);
}

/* The interface */

proof prove_within(graph *g, node e, int64_t low, int64_t high, const node *fact, unsigned fact_count, witness *w) {
    uint64_t work = 0;
    question q = {.work = &work, .g = g, .target = e, .low = low, .high = high, .fact = fact, .fact_count = fact_count};
    return question_answer(&q, w);
}

proof prove_holds(graph *g, node goal, const node *fact, unsigned fact_count, witness *w) {
    return prove_within(g, goal, 1, 1, fact, fact_count, w);
}

proof prove_inhabited(graph *g, index_set vars, node domain, const node *fact, unsigned fact_count, witness *w) {
    uint64_t work = 0;
    question q    = {.g = g, .fact = fact, .fact_count = fact_count, .work = &work};
    if (question_inhabited(&q, vars, domain))
        return PROOF_HOLDS;
    index_set of = vars & graph_view(g, domain).free;
    q.target     = of ? graph_reduce(g, REDUCE_ANY, of, domain, graph_bool(g, true)) : domain;
    q.low = q.high = 1;
    return search_prove(&q, w);
}

proof prove_satisfiable(graph *g, const node *fact, unsigned fact_count) {
    switch (prove_holds(g, graph_bool(g, false), fact, fact_count, NULL)) {
    case PROOF_HOLDS:
        return PROOF_FAILS;
    case PROOF_FAILS:
        return PROOF_HOLDS;
    default:
        return PROOF_UNKNOWN;
    }
}
