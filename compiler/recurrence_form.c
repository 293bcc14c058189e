/* Linear forms: a value as a sum of coefficients times states, times sums over the state's indices, and the rest. */
#include "recurrence_internal.h"

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

/* Which state n is, after the step or before it; the number of states where it is none. */
static unsigned state_of(const linear_state *s, node n) {
    unsigned k = 0;
    while (k < s->states && n != s->after[k] && n != s->before[k])
        k++;
    return k;
}

static node lowest(const linear_state *s) {
    node low = (node)graph_node_count(s->g) + 1;
    for (unsigned k = 0; k < s->states; k++) {
        low = s->after[k] && s->after[k] < low ? s->after[k] : low;
        low = s->before[k] && s->before[k] < low ? s->before[k] : low;
    }
    return low;
}

bool linear_depends(linear_state *s, node n) {
    enum { YES = 1, NO = 2 };
    if (state_of(s, n) < s->states)
        return true;
    if (n < lowest(s) && !graph_is_open(s->g, n))
        return false;
    const node_entry *e = node_map_find(&s->depends, n);
    if (e)
        return e->value == YES;
    bool found     = false;
    unsigned count = graph_view(s->g, n).child_count;
    for (unsigned i = 0; i < count && !found; i++)
        found = linear_depends(s, graph_view(s->g, n).child[i]);
    node_map_enter(&s->depends, n)->value = found ? YES : NO;
    return found;
}

index_id renamed(const renaming *at, index_id i) {
    for (unsigned k = 0; k < at->count; k++)
        if (at->from[k] == i)
            return at->to[k];
    return i;
}

index_set contracted(const linear_state *s, const state_read *read) {
    index_set set = 0;
    for (unsigned i = 0; i < graph_index_count(s->g); i++)
        if ((s->indices >> i & 1) && (read->vars >> renamed(&read->at, (index_id)i) & 1))
            set |= bit((index_id)i);
    return set;
}

static index_set indices_at(const linear_state *s, const renaming *at) {
    index_set set = 0;
    for (unsigned i = 0; i < graph_index_count(s->g); i++)
        if (s->indices >> i & 1)
            set |= bit(renamed(at, (index_id)i));
    return set;
}

index_set read_indices(const linear_state *s, const state_read *read) {
    index_set set = graph_view(s->g, read->weight).free | indices_at(s, &read->at);
    if (read->domain)
        set |= graph_view(s->g, read->domain).free;
    return set & ~read->vars;
}

bool same_read(const state_read *a, const state_read *b) {
    if (a->vars != b->vars || a->weight != b->weight || a->domain != b->domain || a->before != b->before ||
        a->state != b->state)
        return false;
    for (index_id i = 0; i < GRAPH_INDICES; i++)
        if (renamed(&a->at, i) != renamed(&b->at, i))
            return false;
    return true;
}

/* Adds to the term of the same kind, if there is one. */
static bool add_term(linear_state *s, linear_form *form, const linear_term *t) {
    for (unsigned i = 0; i < form->count; i++) {
        linear_term *other = &form->term[i];
        if (other->kind == t->kind && (t->kind == TERM_CONSTANT || same_read(&other->read, &t->read))) {
            /* constants stay apart: each may be a product */
            if (t->kind == TERM_CONSTANT)
                continue;
            other->coefficient = graph_add(s->g, other->coefficient, t->coefficient);
            return true;
        }
    }
    if (form->count == MOST_TERMS)
        return false;
    form->term[form->count++] = *t;
    return true;
}

static bool add_form(linear_state *s, linear_form *form, const linear_form *more) {
    bool ok = true;
    for (unsigned i = 0; i < more->count && ok; i++)
        ok = add_term(s, form, &more->term[i]);
    return ok;
}

typedef node change(graph *g, node coefficient, node by);

static node times(graph *g, node coefficient, node by) {
    return graph_mul(g, coefficient, by);
}

static node over(graph *g, node coefficient, node by) {
    return graph_div(g, coefficient, by);
}

static node negative(graph *g, node coefficient, node by) {
    (void)by;
    return graph_neg(g, coefficient);
}

static node where(graph *g, node coefficient, node by) {
    return graph_select(g, by, coefficient, graph_float(g, 0));
}

static void change_all(linear_state *s, linear_form *form, change *how, node by) {
    for (unsigned i = 0; i < form->count; i++)
        form->term[i].coefficient = how(s->g, form->term[i].coefficient, by);
}

static bool of_changed(linear_state *s, node n, change *how, node by, linear_form *form) {
    linear_form inner = {0};
    if (!linear_form_of(s, n, &inner))
        return false;
    change_all(s, &inner, how, by);
    return add_form(s, form, &inner);
}

static bool is_step_back(const linear_state *s, node n) {
    node_view v = graph_view(s->g, n);
    if (!s->step || (v.op != NODE_ADD && v.op != NODE_SUB))
        return false;
    for (unsigned side = 0; side < 2; side++) {
        node_view i = graph_view(s->g, v.child[side]), by = graph_view(s->g, v.child[1 - side]);
        if (i.op == NODE_INDEX && i.vars == bit(s->time) && by.op == NODE_INT && (side == 0 || v.op == NODE_ADD))
            return (v.op == NODE_ADD ? by.integer : -by.integer) == s->step;
    }
    return false;
}

/* The state, or what is made of it, at other indices: plain ones, or one step earlier. */
static bool of_gather(linear_state *s, node n, linear_form *form) {
    node_view v = graph_view(s->g, n);
    index_id from[GRAPH_INDICES];
    node to[GRAPH_INDICES];
    unsigned count = 0;
    index_set seen = 0;
    bool before    = false;
    for (unsigned k = 0; k + 1 < v.child_count; k++) {
        unsigned i = count;
        if (state_of(s, v.child[0]) < s->states && v.child[0] == s->after[state_of(s, v.child[0])] &&
            v.substituted[k] == s->time && is_step_back(s, v.child[k + 1])) {
            before = true;
            continue;
        }
        from[i] = v.substituted[k];
        to[i]   = v.child[k + 1];
        count++;
        node_view e = graph_view(s->g, to[i]);
        if (e.op != NODE_INDEX ||
            graph_index_extent(s->g, (index_id)__builtin_ctzll(e.vars)) > graph_index_extent(s->g, from[i]))
            return false;
        seen |= bit(from[i]);
    }
    linear_form inner = {0};
    if (!linear_form_of(s, v.child[0], &inner))
        return false;
    for (unsigned i = 0; i < inner.count && before; i++) { /* of no step, a read is 0 */
        inner.term[i].read.before = true;
        inner.term[i].coefficient = graph_select(s->g, s->has_earlier, graph_float(s->g, 1), graph_float(s->g, 0));
    }
    for (unsigned i = 0; i < inner.count && count; i++) {
        linear_term *t = &inner.term[i];
        t->coefficient = graph_gather(s->g, t->coefficient, count, from, to);
        if (t->kind == TERM_CONSTANT)
            continue;
        if (t->kind == TERM_READ) {
            if (seen & read_indices(s, &t->read))
                return false;
            continue; /* its value does not depend on them, whatever it sums over */
        }
        renaming at = {0};
        for (unsigned k = 0; k < graph_index_count(s->g); k++) {
            if (!(s->indices >> k & 1))
                continue;
            index_id target = renamed(&t->read.at, (index_id)k);
            for (unsigned m = 0; m < count; m++)
                if (from[m] == target) {
                    target = (index_id)__builtin_ctzll(graph_view(s->g, to[m]).vars);
                    break;
                }
            if (target == k)
                continue;
            if (at.count == TENSOR_RANK)
                return false;
            at.from[at.count] = (index_id)k;
            at.to[at.count++] = target;
        }
        t->read.at = at;
    }
    return add_form(s, form, &inner);
}

static bool of_sum(linear_state *s, node n, linear_form *form) {
    node_view v = graph_view(s->g, n);
    double value;
    index_set vars = v.vars;
    node domain    = v.child[0];
    if (v.reduction != REDUCE_SUM || linear_depends(s, domain))
        return false;
    bool all          = graph_is_constant(s->g, domain, &value) && value != 0;
    index_set limits  = all ? 0 : graph_view(s->g, domain).free;
    linear_form inner = {0};
    if (!linear_form_of(s, v.child[1], &inner))
        return false;
    for (unsigned i = 0; i < inner.count; i++) {
        linear_term *t = &inner.term[i];
        index_set has  = t->kind == TERM_STATE  ? indices_at(s, &t->read.at)
                         : t->kind == TERM_READ ? read_indices(s, &t->read)
                                                : 0;
        node one       = graph_float(s->g, 1);
        if (!(has & vars)) {
            t->coefficient = graph_reduce(s->g, REDUCE_SUM, vars, all ? NODE_NONE : domain, t->coefficient);
        } else if (t->kind == TERM_STATE) {
            t->kind        = TERM_READ;
            t->read.vars   = vars;
            t->read.weight = t->coefficient;
            t->read.domain = all ? NODE_NONE : domain;
            t->coefficient = one;
        } else { /* a sum of sums is one over both */
            index_set more = graph_view(s->g, t->coefficient).free | limits;
            if ((more | vars) & t->read.vars)
                return false;
            t->read.vars |= vars;
            t->read.weight = graph_mul(s->g, t->read.weight, t->coefficient);
            t->read.domain = all ? t->read.domain : t->read.domain ? graph_and(s->g, t->read.domain, domain) : domain;
            t->coefficient = one;
        }
    }
    return add_form(s, form, &inner);
}

static bool form_of(linear_state *s, node n, linear_form *form) {
    graph *g = s->g;
    if (!linear_depends(s, n))
        return add_term(s, form, &(linear_term){.kind = TERM_CONSTANT, .coefficient = n});
    unsigned k = state_of(s, n);
    if (k < s->states)
        return add_term(s, form,
                        &(linear_term){.kind        = TERM_STATE,
                                       .coefficient = graph_float(g, 1),
                                       .read        = {.state = k, .before = n == s->before[k]}});
    node_view v = graph_view(g, n);
    node a = v.child_count > 0 ? v.child[0] : NODE_NONE, b = v.child_count > 1 ? v.child[1] : NODE_NONE,
         c = v.child_count > 2 ? v.child[2] : NODE_NONE;
    switch (v.op) {
    case NODE_ADD:
        return linear_form_of(s, a, form) && linear_form_of(s, b, form);
    case NODE_SUB:
        return linear_form_of(s, a, form) && of_changed(s, b, negative, NODE_NONE, form);
    case NODE_NEG:
        return of_changed(s, a, negative, NODE_NONE, form);
    case NODE_MUL:
        if (linear_depends(s, a) && linear_depends(s, b))
            return false;
        return linear_depends(s, a) ? of_changed(s, a, times, b, form) : of_changed(s, b, times, a, form);
    case NODE_DIV:
        return !linear_depends(s, b) && of_changed(s, a, over, b, form);
    case NODE_SELECT:
        return !linear_depends(s, a) && of_changed(s, b, where, a, form) &&
               of_changed(s, c, where, graph_pointwise(g, NODE_NOT, a, NODE_NONE, NODE_NONE), form);
    case NODE_GATHER:
        return of_gather(s, n, form);
    case NODE_REDUCE:
        return of_sum(s, n, form);
    default:
        return false;
    }
}

bool linear_form_of(linear_state *s, node n, linear_form *form) {
    bool ok = form_of(s, n, form);
    if (!ok && !s->stuck)
        s->stuck = n;
    return ok;
}
