/* Are two terms of two graphs the same, up to the numbering of nodes, the labels of scans, the names of bound indices
 * and the order of operands that commute? A gather that only renames an index is taken for the renaming it is. Included
 * by one test program. */
#ifndef ATTNC_TESTS_SAME_TERM_H
#define ATTNC_TESTS_SAME_TERM_H

#include "graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UNBOUND = -1, LEVELS = 64, STATES = 4 };

/* level[side][i]: which place index i stands for; the same place on both sides is the same index. */
typedef struct places {
    int8_t level[2][GRAPH_INDICES];
    int8_t depth; /* places that are taken */
} places;

typedef struct pair_memo {
    node n[2];
    unsigned scans; /* the assumption that the answer was found under */
    int8_t partner[2][GRAPH_INDICES];
    bool same;
    struct pair_memo *next;
} pair_memo;

/* Scans that are being compared: their states are assumed to be the same. */
typedef struct open_scan {
    uint32_t label[2];
    unsigned count, to[STATES];            /* state k of one is state to[k] of the other */
    int8_t partner[STATES][GRAPH_INDICES]; /* and index i of state k, index partner[k][i] */
    unsigned serial;
    struct open_scan *outer;
} open_scan;

typedef struct comparison {
    const graph *g[2];
    bool (*same_name)(const char *, const char *); /* of tensors */
    pair_memo *memo;
    open_scan *scans;
    unsigned serials;
    const char *mask; /* an input of the other side that stands for one side's mask of dropout; NULL: none */
    int64_t mask_random;
} comparison;

static bool same_at(comparison *c, node a, node b, const places *at);

static bool in_set(index_set set, unsigned i) {
    return set >> i & 1;
}

/* What a gather substitutes: indices for indices, which are only called otherwise, and the rest. */
typedef struct substitution {
    unsigned count;
    index_id index[GRAPH_INDICES]; /* of the rest */
    node expression[GRAPH_INDICES];
    int8_t level[GRAPH_INDICES]; /* the places of the body's indices, the rest aside */
} substitution;

static void read_gather(const graph *g, node_view v, const int8_t *level, substitution *s) {
    s->count = 0;
    memcpy(s->level, level, sizeof s->level);
    for (unsigned k = 0; k + 1 < v.child_count; k++) {
        index_id to = v.substituted[k];
        node_view e = graph_view(g, v.child[k + 1]);
        unsigned at = e.op == NODE_INDEX ? (unsigned)__builtin_ctzll(e.vars) : GRAPH_INDICES;
        if (at < GRAPH_INDICES && graph_index_extent(g, (index_id)at) <= graph_index_extent(g, to)) {
            s->level[to] = level[at];
        } else {
            s->index[s->count]        = to;
            s->expression[s->count++] = v.child[k + 1];
        }
    }
}

/* A gather that only renames: its body, at other places. */
static node unrename(const graph *g, node n, int8_t *level) {
    for (node_view v = graph_view(g, n); v.op == NODE_GATHER; v = graph_view(g, n)) {
        substitution s;
        read_gather(g, v, level, &s);
        if (s.count)
            return n;
        memcpy(level, s.level, sizeof s.level);
        n = v.child[0];
    }
    return n;
}

/* Calls `then` for every way to bind the count indices of one side to those of the other, until it agrees. */
typedef struct binding_search {
    comparison *c;
    unsigned count;
    const index_id *index[2];
    bool (*then)(struct binding_search *, const places *, const unsigned *to);
    node_view v[2];
    const substitution *gathered[2]; /* of gathers */
    const places *outside;
} binding_search;

static bool bind(binding_search *q, unsigned k, unsigned used, unsigned *to, const places *at) {
    if (k == q->count)
        return q->then(q, at, to);
    for (unsigned m = 0; m < q->count; m++) {
        index_id a = q->index[0][k], b = q->index[1][m];
        if ((used >> m & 1) || graph_index_extent(q->c->g[0], a) != graph_index_extent(q->c->g[1], b))
            continue;
        places inside      = *at;
        inside.level[0][a] = inside.level[1][b] = inside.depth++;
        to[k]                                   = m;
        if (bind(q, k + 1, used | 1u << m, to, &inside))
            return true;
    }
    return false;
}

static unsigned list_indices(index_set set, index_id *list) {
    unsigned count = 0;
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (in_set(set, i))
            list[count++] = (index_id)i;
    return count;
}

static bool same_inside(binding_search *q, const places *at, const unsigned *to) {
    (void)to;
    return same_at(q->c, q->v[0].child[1], q->v[1].child[1], at) &&
           same_at(q->c, q->v[0].child[0], q->v[1].child[0], at);
}

static bool same_reduction(comparison *c, node_view a, node_view b, const places *at) {
    index_id list[2][GRAPH_INDICES];
    unsigned count = list_indices(a.vars, list[0]), to[GRAPH_INDICES];
    if (a.reduction != b.reduction || list_indices(b.vars, list[1]) != count)
        return false;
    binding_search q = {c, count, {list[0], list[1]}, same_inside, {a, b}, {NULL, NULL}, at};
    return bind(&q, 0, 0, to, at);
}

static bool same_gathered(binding_search *q, const places *at, const unsigned *to) {
    for (unsigned k = 0; k < q->count; k++)
        if (!same_at(q->c, q->gathered[0]->expression[k], q->gathered[1]->expression[to[k]], q->outside))
            return false;
    return same_at(q->c, q->v[0].child[0], q->v[1].child[0], at);
}

static bool same_gather(comparison *c, node_view a, node_view b, const places *at) {
    substitution s[2];
    unsigned to[GRAPH_INDICES];
    places inside = *at;
    read_gather(c->g[0], a, at->level[0], &s[0]);
    read_gather(c->g[1], b, at->level[1], &s[1]);
    memcpy(inside.level[0], s[0].level, sizeof s[0].level);
    memcpy(inside.level[1], s[1].level, sizeof s[1].level);
    binding_search q = {c, s[0].count, {s[0].index, s[1].index}, same_gathered, {a, b}, {&s[0], &s[1]}, at};
    return s[0].count == s[1].count && bind(&q, 0, 0, to, &inside);
}

static bool pair_states(comparison *c, open_scan *s, unsigned k, unsigned used, node_view a, node_view b,
                        const places *at) {
    if (k == s->count) {
        s->serial = ++c->serials;
        c->scans  = s;
        bool same = true;
        for (unsigned i = 0; i < s->count && same; i++)
            same = same_at(c, a.child[i], b.child[s->to[i]], at) &&
                   same_at(c, a.child[s->count + i], b.child[s->count + s->to[i]], at);
        c->scans = s->outer;
        return same;
    }
    for (unsigned m = 0; m < s->count; m++) {
        if (used >> m & 1)
            continue;
        s->to[k] = m;
        index_set free[2];
        free[0]    = graph_view(c->g[0], graph_scan_leaf(c->g[0], s->label[0], k)).free;
        free[1]    = graph_view(c->g[1], graph_scan_leaf(c->g[1], s->label[1], m)).free;
        bool whole = __builtin_popcountll(free[0]) == __builtin_popcountll(free[1]);
        for (unsigned i = 0; i < GRAPH_INDICES; i++) {
            s->partner[k][i] = UNBOUND;
            for (unsigned j = 0; j < GRAPH_INDICES && in_set(free[0], i); j++)
                if (in_set(free[1], j) && at->level[0][i] == at->level[1][j])
                    s->partner[k][i] = (int8_t)j;
            whole &= !in_set(free[0], i) || s->partner[k][i] != UNBOUND;
        }
        if (whole && pair_states(c, s, k + 1, used | 1u << m, a, b, at))
            return true;
    }
    return false;
}

static bool same_scan(comparison *c, node_view a, node_view b, const places *at) {
    open_scan s = {.label = {a.scan_label, b.scan_label}, .count = a.child_count / 2, .outer = c->scans};
    if (a.child_count != b.child_count || s.count > STATES || a.reverse != b.reverse ||
        at->level[0][a.scan_index] != at->level[1][b.scan_index])
        return false;
    return pair_states(c, &s, 0, 0, a, b, at) && s.to[a.scan_state] == b.scan_state;
}

static bool same_previous(const comparison *c, node_view a, node_view b, const places *at) {
    const open_scan *s = c->scans;
    while (s && s->label[0] != a.scan_label)
        s = s->outer;
    if (!s || s->label[1] != b.scan_label || s->to[a.scan_state] != b.scan_state)
        return false;
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (in_set(a.free, i) && at->level[0][i] != at->level[1][s->partner[a.scan_state][i]])
            return false;
    return true;
}

static bool same_tensor(const comparison *c, node_view a, node_view b, const places *at) {
    const tensor *x = graph_tensor(c->g[0], a.tensor), *y = graph_tensor(c->g[1], b.tensor);
    if (x->rank != y->rank || !c->same_name(x->name, y->name))
        return false;
    for (unsigned k = 0; k < x->rank; k++)
        if (at->level[0][x->index[k]] != at->level[1][y->index[k]])
            return false;
    return true;
}

static bool same_random(node_view a, node_view b, const places *at) {
    index_id list[2][GRAPH_INDICES];
    unsigned count = list_indices(a.vars, list[0]);
    bool same      = list_indices(b.vars, list[1]) == count && a.integer == b.integer;
    for (unsigned k = 0; k < count && same; k++)
        same = at->level[0][list[0][k]] == at->level[1][list[1][k]];
    return same;
}

static unsigned conjuncts(const graph *g, node n, node *list, unsigned count) {
    node_view v = graph_view(g, n);
    if (v.op != NODE_AND || count >= LEVELS - 1) {
        list[count] = n;
        return count + 1;
    }
    return conjuncts(g, v.child[1], list, conjuncts(g, v.child[0], list, count));
}

static bool same_conjunction(comparison *c, node a, node b, const places *at) {
    node list[2][LEVELS];
    unsigned count = conjuncts(c->g[0], a, list[0], 0);
    if (conjuncts(c->g[1], b, list[1], 0) != count)
        return false;
    for (unsigned k = 0; k < count; k++) {
        unsigned m = k;
        while (m < count && !same_at(c, list[0][k], list[1][m], at))
            m++;
        if (m == count)
            return false;
        list[1][m] = list[1][k];
    }
    return true;
}

static bool commutes(node_op op) {
    return op == NODE_ADD || op == NODE_MUL || op == NODE_MAXIMUM || op == NODE_MINIMUM || op == NODE_EQUAL ||
           op == NODE_OR;
}

static bool same_operands(comparison *c, node_view a, node_view b, const places *at) {
    bool same = a.child_count == b.child_count;
    for (unsigned k = 0; k < a.child_count && same; k++)
        same = same_at(c, a.child[k], b.child[k], at);
    return same || (commutes(a.op) && same_at(c, a.child[0], b.child[1], at) && same_at(c, a.child[1], b.child[0], at));
}

/* not(random < rate) against the condition that is an input. All such masks must be the same random numbers. */
static bool same_mask(comparison *c, node_view a, node_view b, const places *at) {
    index_id list[GRAPH_INDICES];
    if (!c->mask || a.op != NODE_NOT || b.op != NODE_EQUAL)
        return false;
    node_view less = graph_view(c->g[0], a.child[0]), input = graph_view(c->g[1], b.child[0]);
    if (less.op != NODE_LESS || input.op != NODE_TENSOR)
        return false;
    node_view random = graph_view(c->g[0], less.child[0]);
    const tensor *t  = graph_tensor(c->g[1], input.tensor);
    if (random.op != NODE_RANDOM || strcmp(t->name, c->mask) != 0 || list_indices(random.vars, list) != t->rank)
        return false;
    for (unsigned k = 0; k < t->rank; k++)
        if (at->level[0][list[k]] != at->level[1][t->index[k]])
            return false;
    if (!c->mask_random)
        c->mask_random = random.integer;
    return c->mask_random == random.integer;
}

/* i + -1 and i - 1 */
static bool same_shift(comparison *c, node_view a, node_view b, const places *at) {
    double x, y;
    return a.type == TYPE_INT && b.type == TYPE_INT && a.op == NODE_ADD && b.op == NODE_SUB &&
           graph_is_constant(c->g[0], a.child[1], &x) && graph_is_constant(c->g[1], b.child[1], &y) && x == -y &&
           same_at(c, a.child[0], b.child[0], at);
}

static bool same_new(comparison *c, node n, node m, const places *at) {
    node_view a = graph_view(c->g[0], n), b = graph_view(c->g[1], m);
    if (same_mask(c, a, b, at) || same_shift(c, a, b, at))
        return true;
    if (a.op != b.op || a.type != b.type)
        return false;
    switch (a.op) {
    case NODE_FLOAT: /* 1 / 7 as the compiler folds it, and as it is written */
        return a.number == b.number || fabs(a.number - b.number) <= 4e-16 * fabs(a.number);
    case NODE_INT:
        return a.integer == b.integer;
    case NODE_INDEX:
        return at->level[0][__builtin_ctzll(a.vars)] == at->level[1][__builtin_ctzll(b.vars)];
    case NODE_TENSOR:
        return same_tensor(c, a, b, at);
    case NODE_REDUCE:
        return same_reduction(c, a, b, at);
    case NODE_GATHER:
        return same_gather(c, a, b, at);
    case NODE_SCAN:
        return same_scan(c, a, b, at);
    case NODE_PREVIOUS:
        return same_previous(c, a, b, at);
    case NODE_RANDOM:
        return same_random(a, b, at);
    case NODE_TOPK: /* none of the cases has one of these */
    case NODE_SOLVE:
        return false;
    case NODE_AND:
        return same_conjunction(c, n, m, at);
    default:
        return same_operands(c, a, b, at);
    }
}

/* Which indices of one side stand at the places of the other's: all that an answer depends on. */
static void describe_places(const comparison *c, pair_memo *key, const places *at) {
    memset(key->partner, UNBOUND, sizeof key->partner);
    for (unsigned side = 0; side < 2; side++) {
        index_set mine   = graph_view(c->g[side], key->n[side]).free;
        index_set theirs = graph_view(c->g[1 - side], key->n[1 - side]).free;
        for (unsigned i = 0; i < GRAPH_INDICES; i++)
            for (unsigned j = 0; j < GRAPH_INDICES && in_set(mine, i) && key->partner[side][i] == UNBOUND; j++)
                if (in_set(theirs, j) && at->level[side][i] == at->level[1 - side][j])
                    key->partner[side][i] = (int8_t)j;
    }
}

static bool same_at(comparison *c, node a, node b, const places *outside) {
    places at = *outside;
    assert_true(at.depth < LEVELS - 8);
    pair_memo key = {.n     = {unrename(c->g[0], a, at.level[0]), unrename(c->g[1], b, at.level[1])},
                     .scans = c->scans ? c->scans->serial : 0};
    describe_places(c, &key, &at);
    for (const pair_memo *m = c->memo; m; m = m->next)
        if (m->n[0] == key.n[0] && m->n[1] == key.n[1] && m->scans == key.scans &&
            memcmp(m->partner, key.partner, sizeof key.partner) == 0)
            return m->same;
    key.same     = same_new(c, key.n[0], key.n[1], &at);
    key.next     = c->memo;
    pair_memo *m = malloc(sizeof *m);
    assert_non_null(m);
    *m      = key;
    c->memo = m;
    return key.same;
}

static void forget_pairs(comparison *c) {
    while (c->memo) {
        pair_memo *next = c->memo->next;
        free(c->memo);
        c->memo = next;
    }
}

/* The same values on the same axes, in order? */
static bool same_output(comparison *c, const output *a, const output *b) {
    places at;
    memset(&at, UNBOUND, sizeof at);
    at.depth = 0;
    if (a->rank != b->rank)
        return false;
    for (unsigned k = 0; k < a->rank; k++) {
        if (graph_index_extent(c->g[0], a->index[k]) != graph_index_extent(c->g[1], b->index[k]))
            return false;
        at.level[0][a->index[k]] = at.level[1][b->index[k]] = at.depth++;
    }
    return same_at(c, a->node, b->node, &at);
}

#endif
