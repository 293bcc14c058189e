/* Recurrences: definitions that need their own earlier values, or each other's. Definitions that form a cycle become
 * one scan of several states; what is in the cycle without a state of its own is an intermediate value of the step. */
#include "elaborate_internal.h"
#include "enough.h"
#include "rewrite.h"

#include <stdlib.h>
#include <string.h>

static void *get(size_t count, size_t size) {
    return enough(calloc(count ? count : 1, size));
}

static bool is_definition(const tree *t) {
    return t->kind == TREE_DEFINE || t->kind == TREE_OUTPUT || t->kind == TREE_LET;
}

static const tree *initial_of(const tree *t) {
    return t->kind == TREE_LET ? t->d : t->c;
}

/* Who reads whom */

/* Names of the definitions, by open addressing; of equal names the first. */
typedef struct names {
    const tree *const *t;
    unsigned *slot; /* number + 1 */
    size_t size;
} names;

static size_t hash_name(const char *name) {
    uint64_t h = 1469598103934665603u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 1099511628211u;
    return (size_t)(h ^ h >> 32);
}

static unsigned *slot_of(const names *n, const char *name) {
    size_t i = hash_name(name) & (n->size - 1);
    while (n->slot[i] && strcmp(n->t[n->slot[i] - 1]->name, name) != 0)
        i = (i + 1) & (n->size - 1);
    return &n->slot[i];
}

/* A name bound by `let` hides a definition's. */
typedef struct shadow {
    const struct shadow *outer;
    const char *name;
} shadow;

typedef struct edges {
    const names *names;
    unsigned *edge;
    size_t count, capacity;
} edges;

static void add_edge(edges *e, const char *name, const shadow *hidden) {
    for (; hidden; hidden = hidden->outer)
        if (strcmp(hidden->name, name) == 0)
            return;
    unsigned found = *slot_of(e->names, name);
    if (!found)
        return;
    if (e->count == e->capacity) {
        size_t more    = e->capacity ? 2 * e->capacity : 64;
        unsigned *edge = enough(realloc(e->edge, more * sizeof *edge));
        e->edge        = edge;
        e->capacity    = more;
    }
    e->edge[e->count++] = found - 1;
}

static void reads_of(edges *e, const tree *t, const shadow *hidden) {
    for (; t; t = t->next) {
        if (t->kind == TREE_NAME || t->kind == TREE_READ)
            add_edge(e, t->name, hidden);
        if (t->kind == TREE_LET) { /* what is defined here is visible from here on */
            shadow inner = {hidden, t->name};
            reads_of(e, t->b, t->d ? &inner : hidden);
            reads_of(e, t->d, hidden);
            reads_of(e, t->c, &inner);
            continue;
        }
        reads_of(e, t->a, hidden);
        reads_of(e, t->b, hidden);
        reads_of(e, t->c, hidden);
        reads_of(e, t->d, hidden);
    }
}

/* Strongly connected components: Tarjan 1972, "Depth-first search and linear graph algorithms", without recursion. */
typedef struct tarjan {
    cycles *c;
    unsigned *number, *low, *stack, *path, *next_edge;
    uint8_t *on_stack;
    unsigned numbers, stacked, groups;
} tarjan;

static void close_component(tarjan *s, unsigned v) {
    bool alone = s->stack[s->stacked - 1] == v, self = false;
    for (unsigned e = s->c->first_edge[v]; alone && e < s->c->first_edge[v + 1]; e++)
        self |= s->c->edge[e] == v;
    unsigned group = !alone || self ? ++s->groups : 0, w;
    do {
        w              = s->stack[--s->stacked];
        s->on_stack[w] = 0;
        s->c->group[w] = group;
    } while (w != v);
}

static void component_of(tarjan *s, unsigned root) {
    unsigned depth = 0;
    s->path[depth] = root;
    for (;;) {
        unsigned v = s->path[depth];
        if (!s->number[v]) {
            s->number[v] = s->low[v] = ++s->numbers;
            s->next_edge[v]          = s->c->first_edge[v];
            s->stack[s->stacked++]   = v;
            s->on_stack[v]           = 1;
        }
        if (s->next_edge[v] < s->c->first_edge[v + 1]) {
            unsigned w = s->c->edge[s->next_edge[v]++];
            if (!s->number[w])
                s->path[++depth] = w;
            else if (s->on_stack[w] && s->number[w] < s->low[v])
                s->low[v] = s->number[w];
            continue;
        }
        if (s->low[v] == s->number[v])
            close_component(s, v);
        if (depth == 0)
            return;
        unsigned outer = s->path[--depth];
        if (s->low[v] < s->low[outer])
            s->low[outer] = s->low[v];
    }
}

cycles cycles_find(const tree *const *t, unsigned count) {
    cycles c      = {.count = count};
    size_t size   = 16;
    bool backward = false; /* does any definition read itself or a later one? */
    while (size < 2 * (size_t)count)
        size *= 2;
    names n      = {.t = t, .slot = get(size, sizeof *n.slot), .size = size};
    edges e      = {.names = &n};
    c.first_edge = get((size_t)count + 1, sizeof *c.first_edge);
    for (unsigned k = 0; k < count; k++)
        if (is_definition(t[k]) && !*slot_of(&n, t[k]->name))
            *slot_of(&n, t[k]->name) = k + 1;
    for (unsigned k = 0; k < count; k++) {
        c.first_edge[k] = (unsigned)e.count;
        if (!is_definition(t[k]) || *slot_of(&n, t[k]->name) != k + 1)
            continue;
        reads_of(&e, t[k]->b, NULL);
        reads_of(&e, initial_of(t[k]), NULL);
        for (size_t i = c.first_edge[k]; i < e.count; i++)
            backward |= e.edge[i] >= k;
    }
    c.first_edge[count] = (unsigned)e.count;
    c.edge              = e.edge;
    if (backward) {
        tarjan s = {.c         = &c,
                    .number    = get(count, sizeof(unsigned)),
                    .low       = get(count, sizeof(unsigned)),
                    .stack     = get(count, sizeof(unsigned)),
                    .path      = get((size_t)count + 1, sizeof(unsigned)),
                    .next_edge = get(count, sizeof(unsigned)),
                    .on_stack  = get(count, 1)};
        c.group  = get(count, sizeof *c.group);
        for (unsigned k = 0; k < count; k++)
            if (!s.number[k])
                component_of(&s, k);
        free(s.number);
        free(s.low);
        free(s.stack);
        free(s.path);
        free(s.next_edge);
        free(s.on_stack);
    }
    free(n.slot);
    return c;
}

void cycles_free(cycles *c) {
    free(c->group);
    free(c->first_edge);
    free(c->edge);
}

void cycles_needed(const cycles *c, unsigned group, uint8_t *needed) {
    unsigned *todo = get(c->count, sizeof *todo), count = 0;
    memset(needed, 0, c->count);
    for (unsigned k = 0; k < c->count; k++)
        if (c->group[k] == group)
            todo[count++] = k;
    while (count > 0) {
        unsigned k = todo[--count];
        for (unsigned e = c->first_edge[k]; e < c->first_edge[k + 1]; e++) {
            unsigned to = c->edge[e];
            if (c->group[to] != group && !needed[to]) {
                needed[to]    = 1;
                todo[count++] = to;
            }
        }
    }
    free(todo);
}

/* The stepping index */

/* Where t reads `of` one step away from an index of its definition. */
static bool find_step(const tree *t, const member *of, unsigned *position, bool *reverse, span *at) {
    for (; t; t = t->next) {
        if (t->kind == TREE_READ && strcmp(t->name, of->bound.name) == 0) {
            const tree *left = of->t->a;
            unsigned k       = 0;
            for (const tree *a = t->a; a && left; a = a->next, left = left->next, k++)
                if (a->kind == TREE_BINARY && (a->name[0] == '-' || a->name[0] == '+') && a->a->kind == TREE_NAME &&
                    a->b->kind == TREE_NUMBER && a->b->number == 1 && strcmp(a->a->name, left->name) == 0) {
                    *position = k;
                    *reverse  = a->name[0] == '+';
                    *at       = t->at;
                    return true;
                }
        }
        if (find_step(t->a, of, position, reverse, at) || find_step(t->b, of, position, reverse, at) ||
            find_step(t->c, of, position, reverse, at) || find_step(t->d, of, position, reverse, at))
            return true;
    }
    return false;
}

static bool steps_of_group(module *m, recurrence *r) {
    const member *first = NULL;
    for (unsigned k = 0; k < r->count; k++) {
        member *s  = &r->member[k];
        bool found = false, reverse = false;
        unsigned position = 0;
        span at           = s->t->at;
        if (!s->state)
            continue;
        for (unsigned j = 0; j < r->count && !found; j++)
            found = find_step(r->member[j].t->b, s, &position, &reverse, &at);
        if (!found) {
            module_error(m, s->t->at, r->where, "read it one step earlier: `t-1`, or later: `t+1`",
                         "`from` is for a recurrence, but `%s` is read at no index one step away", s->bound.name);
            return false;
        }
        index_id over = s->bound.index[position];
        s->position   = position;
        s->bound.step = position;
        if (first && (over != r->over || reverse != r->reverse)) {
            module_error(m, at, r->where, "states that depend on each other step along one index in one direction",
                         over != r->over ? "`%s` steps along `%s`, and `%s` along `%s`"
                                         : "`%s` steps along `%s` the other way than `%s` along `%s`",
                         s->bound.name, graph_index_name(m->g, over), first->bound.name,
                         graph_index_name(m->g, r->over));
            return false;
        }
        node restriction = s->restriction[position];
        if (restriction)
            r->domain = r->domain && r->domain != restriction ? graph_and(m->g, r->domain, restriction) : restriction;
        r->over    = over;
        r->reverse = reverse;
        first      = s;
    }
    return true;
}

/* One attempt at the step, with the states' types and indices as assumed */

static bool body_of(module *m, member *k) {
    recurrence *r = k->group;
    if (k->progress == MEMBER_DONE)
        return k->body != NODE_NONE;
    if (k->progress == MEMBER_BEGUN) {
        module_error(m, k->t->at, r->where,
                     r->count > 1 ? "read one of them a step earlier: `t-1`" : "read it a step earlier: `t-1`",
                     r->count > 1 ? "`%s` needs its own value of the same step, by way of the others"
                                  : "`%s` needs its own value of the same step",
                     k->bound.name);
        return false;
    }
    size_t mark = m->fact_count;
    k->progress = MEMBER_BEGUN;
    facts_hide(m, ~(index_set)0);
    k->body       = expression(m, k->t->b, r->scope, r->where);
    m->fact_count = mark;
    k->progress   = MEMBER_DONE;
    if (k->body && k->state && r->domain && (graph_view(m->g, k->body).type == TYPE_BOOL) == (k->type == TYPE_BOOL))
        k->body = graph_select(m->g, r->domain, k->body, k->previous);
    return k->body != NODE_NONE;
}

node member_value(module *m, member *k, bool before, const tree *t, const trail *where) {
    if (before && !k->state) {
        module_error(m, t->at, where,
                     format_text(m, "give `%s` a state before its first step: `… from 0`", k->bound.name),
                     "`%s` is read one step away, but has no `from`", k->bound.name);
        return NODE_NONE;
    }
    if (before)
        return k->previous;
    return body_of(m, k) ? k->body : NODE_NONE;
}

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

enum { FAILED, AGAIN, COMPLETE };

/* What the body says about the assumptions. */
static int check_state(module *m, member *k) {
    recurrence *r   = k->group;
    value_type type = graph_view(m->g, k->body).type;
    index_set need  = (graph_view(m->g, k->body).free | graph_view(m->g, k->init).free) & ~bit(r->over);
    if ((type == TYPE_BOOL) != (k->type == TYPE_BOOL)) {
        module_error(m, k->t->b->at, r->where, NULL,
                     type == TYPE_BOOL ? "the step gives a condition, the state before the first step is a number"
                                       : "the step gives a number, the state before the first step is a condition");
        return FAILED;
    }
    if (type == TYPE_FLOAT && k->type == TYPE_INT) {
        k->type = TYPE_FLOAT;
        return AGAIN;
    }
    if (r->grows && (need & ~k->set)) {
        k->set |= need;
        return AGAIN;
    }
    return r->grows || covered(m, k->t->b->at, k->bound.name, k->body, k->set | bit(r->over)) ? COMPLETE : FAILED;
}

/* An earlier value belongs to its step: where the stepping index is bound anew, by a reduction, a selection or another
 * recurrence, or replaced in a read, it has no meaning. */
static bool binds_anew(node_view v, bool moves, index_id over) {
    bool bound = ((v.op == NODE_REDUCE || v.op == NODE_SOLVE) && (v.vars & bit(over))) ||
                 ((v.op == NODE_SCAN || graph_selects(v.op) || v.op == NODE_SOLVE) && v.scan_index == over);
    for (unsigned i = 0; moves && i + 1 < v.child_count; i++)
        bound |= v.substituted[i] == over;
    return bound;
}

static bool stays_in_step(module *m, recurrence *r) {
    node first = NODE_NONE; /* what depends on an earlier value was made after it */
    for (unsigned k = 0; k < r->count && !first; k++)
        first = r->member[k].previous;
    size_t count    = graph_node_count(m->g) + 1 - first;
    uint8_t *needed = get(count, 1), *depends = get(count, 1);
    bool ok = true;
    for (unsigned k = 0; k < r->count; k++)
        if (r->member[k].body >= first)
            needed[r->member[k].body - first] = 1;
    for (size_t n = count; n-- > 0;) { /* children have lower handles */
        node_view v = graph_view(m->g, (node)(first + n));
        for (unsigned i = 0; needed[n] && i < v.child_count; i++)
            if (v.child[i] >= first)
                needed[v.child[i] - first] = 1;
    }
    uint32_t label = graph_view(m->g, first).scan_label;
    for (size_t n = 0; n < count && ok; n++) {
        node_view v = graph_view(m->g, (node)(first + n));
        if (!needed[n])
            continue;
        depends[n] = v.op == NODE_PREVIOUS && v.scan_label == label;
        for (unsigned i = 0; i < v.child_count; i++)
            depends[n] |= v.child[i] >= first && depends[v.child[i] - first];
        bool moves = v.op == NODE_GATHER && v.child[0] >= first && depends[v.child[0] - first];
        ok         = !depends[n] || !binds_anew(v, moves, r->over);
    }
    free(needed);
    free(depends);
    if (!ok)
        module_error(m, r->member[0].t->b->at, r->where, "bind another index of the same size there",
                     "an earlier value is used where `%s` is bound anew or replaced", graph_index_name(m->g, r->over));
    return ok;
}

static int attempt(module *m, recurrence *r) {
    uint32_t label  = graph_new_scan(m->g);
    unsigned states = 0;
    int result      = COMPLETE;
    for (unsigned k = 0; k < r->count; k++) {
        member *s   = &r->member[k];
        s->progress = MEMBER_WAITS;
        if (s->state)
            s->previous = graph_scan_state(m->g, label, states++, r->over, r->reverse, s->set, s->type);
    }
    for (unsigned k = 0; k < r->count; k++)
        if (!body_of(m, &r->member[k]))
            result = FAILED;
    for (unsigned k = 0; k < r->count && result != FAILED; k++)
        if (r->member[k].state) {
            int found = check_state(m, &r->member[k]);
            result    = found == FAILED ? FAILED : found == AGAIN ? AGAIN : result;
        }
    return result == COMPLETE && !stays_in_step(m, r) ? FAILED : result;
}

/* The intermediate values contain new states, which are the scans, and states before the step. */
static void see_from_outside(module *m, recurrence *r, unsigned states, const node *previous, const node *body,
                             const node *scan) {
    node *from = get(r->count, sizeof *from), *to = get(r->count, sizeof *to), *root = get(r->count, sizeof *root);
    unsigned count = 0, roots = 0;
    for (unsigned k = 0; k < r->count; k++)
        if (!r->member[k].state)
            root[roots++] = r->member[k].body;
    if (roots == 0) {
        free(from);
        free(to);
        free(root);
        return;
    }
    for (unsigned k = 0; k < states; k++) {
        node_view b = graph_view(m->g, body[k]), s = graph_view(m->g, scan[k]);
        if (b.free != s.free || b.type != s.type)
            continue; /* it stays an expression of the states before */
        from[count] = body[k];
        to[count++] = scan[k];
    }
    rewrite_replace(m->g, count, from, to, roots, root);
    for (unsigned k = 0; k < states; k++)
        to[k] = graph_scan_before(m->g, scan[k]);
    rewrite_replace(m->g, states, previous, to, roots, root);
    for (unsigned k = r->count; k-- > 0;)
        if (!r->member[k].state)
            r->member[k].bound.node = root[--roots];
    free(from);
    free(to);
    free(root);
}

/* The states' scans; the intermediate values as they are seen from outside. */
static void close_group(module *m, recurrence *r) {
    node *previous = get(r->count, sizeof *previous), *init = get(r->count, sizeof *init),
         *body = get(r->count, sizeof *body), *scan = get(r->count, sizeof *scan);
    unsigned states = 0;
    for (unsigned k = 0; k < r->count; k++) {
        const member *s = &r->member[k];
        if (!s->state)
            continue;
        previous[states] = s->previous;
        init[states]     = s->init;
        body[states++]   = s->body;
    }
    graph_scan_group(m->g, states, previous, init, body, scan);
    for (unsigned k = 0, state = 0; k < r->count; k++)
        if (r->member[k].state)
            r->member[k].bound.node = r->member[k].bound.scan = scan[state++];
    see_from_outside(m, r, states, previous, body, scan);
    free(previous);
    free(init);
    free(body);
    free(scan);
}

static bool initial_states(module *m, recurrence *r) {
    bool ok = true;
    for (unsigned k = 0; k < r->count; k++) {
        member *s = &r->member[k];
        if (!s->state)
            continue;
        const tree *initial = initial_of(s->t);
        s->init             = expression(m, initial, r->scope, r->where);
        if (!s->init) {
            ok = false;
            continue;
        }
        s->set  = 0;
        s->type = graph_view(m->g, s->init).type;
        for (unsigned i = 0; i < s->bound.rank; i++)
            s->set |= bit(s->bound.index[i]);
        s->set &= ~bit(r->over);
        if (graph_view(m->g, s->init).free & bit(r->over)) {
            module_error(m, initial->at, r->where, NULL, "the state before the first step depends on `%s`",
                         graph_index_name(m->g, r->over));
            ok = false;
        } else if (!r->grows && !covered(m, initial->at, s->bound.name, s->init, s->set)) {
            ok = false;
        }
    }
    return ok;
}

bool recurrence_elaborate(module *m, recurrence *r) {
    unsigned states = 0;
    for (unsigned k = 0; k < r->count; k++) {
        member *s   = &r->member[k];
        s->state    = initial_of(s->t) != NULL;
        s->position = s->bound.rank;
        s->progress = MEMBER_BEGUN; /* an initial state may not need the states */
        s->group    = r;
        states += s->state;
    }
    if (states == 0) {
        const member *first = &r->member[0];
        if (r->count == 1)
            module_error(m, first->t->at, r->where, "add the state before the first step: `… from 0`",
                         "`%s` reads itself", first->bound.name);
        else
            module_error(m, first->t->at, r->where, "give one of them a state before its first step: `… from 0`",
                         "`%s` and `%s` need each other", first->bound.name, r->member[1].bound.name);
        return false;
    }
    if (!steps_of_group(m, r))
        return false;
    for (unsigned k = 0; k < r->count; k++)
        for (unsigned i = 0; i < r->member[k].bound.rank; i++)
            if (!r->member[k].state && r->member[k].bound.index[i] == r->over)
                r->member[k].position = i;
    if (!initial_states(m, r))
        return false;
    int result = AGAIN;
    while (result == AGAIN) /* types and index sets only grow */
        result = attempt(m, r);
    if (result == COMPLETE)
        close_group(m, r);
    return result == COMPLETE;
}
