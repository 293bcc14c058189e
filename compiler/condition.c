/* Conjuncts of conditions: linear forms, negation, what a selection implies, where an expression is 0, and what
 * becomes of conditions on the way through a gather. Adds nodes to the graph, changes none. */
#include "condition.h"

#include "enough.h"

#include <stdlib.h>
#include <string.h>

enum { NOT_LINEAR = 0xFFFF };
static const int64_t CONSTANT_LIMIT = (int64_t)1 << 30; /* times an extent, six of them: no overflow */

struct conditions {
    graph *g;
    size_t known, capacity; /* nodes looked at, handles 1 … known */
    bool *pure;
    linear *form;
    condition_set **support; /* NULL: not asked yet */
};

static condition_set everywhere; /* the support of most nodes; never changed */

conditions *conditions_new(graph *g) {
    conditions *c = enough(calloc(1, sizeof *c));
    c->g          = g;
    return c;
}

void conditions_free(conditions *c) {
    if (!c)
        return;
    for (size_t n = 1; n <= c->known; n++)
        if (c->support[n] != &everywhere)
            free(c->support[n]);
    free(c->pure);
    free(c->form);
    free(c->support);
    free(c);
}

graph *conditions_graph(const conditions *c) {
    return c->g;
}

/* Linear forms */

bool linear_combine(const linear *a, int64_t times_a, const linear *b, int64_t times_b, linear *out) {
    linear sum = {0};
    unsigned i = 0, k = 0;
    while (i < a->count || k < b->count) {
        bool from_a   = k == b->count || (i < a->count && a->index[i] <= b->index[k]);
        index_id at   = from_a ? a->index[i] : b->index[k];
        int64_t total = 0, part;
        if (i < a->count && a->index[i] == at) {
            if (__builtin_mul_overflow(a->factor[i++], times_a, &part))
                return false;
            total = part;
        }
        if (k < b->count && b->index[k] == at &&
            (__builtin_mul_overflow(b->factor[k++], times_b, &part) || __builtin_add_overflow(total, part, &total)))
            return false;
        if (total > CONSTANT_LIMIT || total < -CONSTANT_LIMIT || (total && sum.count == LINEAR_TERMS))
            return false;
        if (total) {
            sum.index[sum.count]    = at;
            sum.factor[sum.count++] = total;
        }
    }
    int64_t x, y;
    if (__builtin_mul_overflow(a->constant, times_a, &x) || __builtin_mul_overflow(b->constant, times_b, &y) ||
        __builtin_add_overflow(x, y, &sum.constant) || sum.constant > CONSTANT_LIMIT || sum.constant < -CONSTANT_LIMIT)
        return false;
    *out = sum;
    return true;
}

static bool form_of(const conditions *c, node_view v, linear *out) {
    const linear *a = v.child_count > 0 ? &c->form[v.child[0]] : NULL, zero = {0};
    const linear *b = v.child_count > 1 ? &c->form[v.child[1]] : NULL;
    if (v.type != TYPE_INT || (a && a->count == NOT_LINEAR) || (b && b->count == NOT_LINEAR))
        return false;
    switch (v.op) {
    case NODE_INT:
        *out = (linear){.constant = v.integer};
        return v.integer <= CONSTANT_LIMIT && v.integer >= -CONSTANT_LIMIT;
    case NODE_INDEX:
        *out = (linear){.count = 1, .index = {(index_id)__builtin_ctzll(v.vars)}, .factor = {1}};
        return true;
    case NODE_ADD:
        return linear_combine(a, 1, b, 1, out);
    case NODE_SUB:
        return linear_combine(a, 1, b, -1, out);
    case NODE_NEG:
        return linear_combine(a, -1, &zero, 0, out);
    case NODE_MUL:
        if (a->count && b->count)
            return false;
        return a->count ? linear_combine(a, b->constant, &zero, 0, out) : linear_combine(b, a->constant, &zero, 0, out);
    default:
        return false;
    }
}

static void look(conditions *c, node n) {
    if (n <= c->known)
        return;
    size_t count = graph_node_count(c->g);
    if (count >= c->capacity) {
        c->capacity = count * 2 + 64;
        c->pure     = enough(realloc(c->pure, c->capacity * sizeof *c->pure));
        c->form     = enough(realloc(c->form, c->capacity * sizeof *c->form));
        c->support  = enough(realloc(c->support, c->capacity * sizeof *c->support));
    }
    for (node k = (node)c->known + 1; k <= count; k++) {
        node_view v = graph_view(c->g, k);
        bool pure   = graph_op_is_pointwise(v.op) || v.op == NODE_INT || v.op == NODE_FLOAT || v.op == NODE_INDEX;
        for (unsigned i = 0; i < v.child_count && pure; i++)
            pure = c->pure[v.child[i]];
        c->pure[k]    = pure;
        c->support[k] = NULL;
        if (!pure || !form_of(c, v, &c->form[k]))
            c->form[k].count = NOT_LINEAR;
    }
    c->known = count;
}

bool condition_is_pure(conditions *c, node n) {
    look(c, n);
    return c->pure[n];
}

bool condition_linear(conditions *c, node n, linear *form) {
    look(c, n);
    if (c->form[n].count == NOT_LINEAR)
        return false;
    *form = c->form[n];
    return true;
}

int64_t linear_factor(const linear *form, index_id index) {
    for (unsigned i = 0; i < form->count; i++)
        if (form->index[i] == index)
            return form->factor[i];
    return 0;
}

void linear_range(const graph *g, const linear *form, index_id except, int64_t *low, int64_t *high) {
    *low = *high = form->constant;
    for (unsigned i = 0; i < form->count; i++) {
        if (form->index[i] == except)
            continue;
        int64_t reach = form->factor[i] * (graph_index_extent(g, form->index[i]) - 1);
        *(reach < 0 ? low : high) += reach;
    }
}

/* Sets */

bool linear_same_terms(const linear *a, const linear *b) {
    return a->count == b->count && memcmp(a->index, b->index, a->count * sizeof *a->index) == 0 &&
           memcmp(a->factor, b->factor, a->count * sizeof *a->factor) == 0;
}

static bool implies(const condition *a, const condition *b) {
    if (a->kind != b->kind)
        return false;
    return a->kind == CONDITION_LINEAR ? linear_same_terms(&a->form, &b->form) && a->form.constant <= b->form.constant
                                       : a->node == b->node;
}

bool condition_same(const condition_set *a, const condition_set *b) {
    if (a->count != b->count || a->never != b->never)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (!implies(&a->item[i], &b->item[i]) || !implies(&b->item[i], &a->item[i]))
            return false;
    return true;
}

static bool holds_in(const condition_set *set, const condition *item) {
    for (unsigned i = 0; i < set->count; i++)
        if (implies(&set->item[i], item))
            return true;
    return set->never;
}

static void put(condition_set *set, const condition *item) {
    if (holds_in(set, item))
        return;
    unsigned kept = 0; /* what the new one implies is not needed beside it */
    for (unsigned i = 0; i < set->count; i++)
        if (!implies(item, &set->item[i]))
            set->item[kept++] = set->item[i];
    set->count = kept;
    if (set->count < CONDITIONS)
        set->item[set->count++] = *item;
}

void condition_add_linear(const graph *g, condition_set *set, const linear *form) {
    int64_t low, high;
    linear_range(g, form, GRAPH_INDICES, &low, &high);
    if (low >= 0)
        return;
    set->never |= high < 0;
    condition item = {.kind = CONDITION_LINEAR, .form = *form};
    for (unsigned i = 0; i < form->count; i++)
        item.free |= (index_set)1 << form->index[i];
    put(set, &item);
}

/* a - b + constant >= 0 */
static bool add_difference(conditions *c, condition_set *set, node a, node b, int64_t constant) {
    linear x, y, form;
    if (!condition_linear(c, a, &x) || !condition_linear(c, b, &y) || !linear_combine(&x, 1, &y, -1, &form))
        return false;
    form.constant += constant;
    condition_add_linear(c->g, set, &form);
    return true;
}

static void add_node(conditions *c, condition_set *set, node n) {
    double value;
    if (graph_is_constant(c->g, n, &value)) {
        set->never |= value == 0;
        return;
    }
    put(set, &(condition){.kind = condition_is_pure(c, n) ? CONDITION_INDEX : CONDITION_DATA,
                          .free = graph_view(c->g, n).free,
                          .node = n});
}

static void add(conditions *c, condition_set *set, node n, bool wanted, unsigned depth) {
    node_view v    = graph_view(c->g, n);
    node child[2]  = {v.child_count > 0 ? v.child[0] : NODE_NONE, v.child_count > 1 ? v.child[1] : NODE_NONE};
    unsigned count = set->count;
    if (v.op == NODE_NOT) {
        add(c, set, child[0], !wanted, depth + 1);
        return;
    }
    if (v.op == (wanted ? NODE_AND : NODE_OR) && depth < CONDITIONS && count < CONDITIONS) {
        add(c, set, child[0], wanted, depth + 1);
        add(c, set, child[1], wanted, depth + 1);
        return;
    }
    if (v.op == NODE_LESS &&
        (wanted ? add_difference(c, set, child[1], child[0], -1) : add_difference(c, set, child[0], child[1], 0)))
        return;
    if (v.op == NODE_LESS_EQUAL &&
        (wanted ? add_difference(c, set, child[1], child[0], 0) : add_difference(c, set, child[0], child[1], -1)))
        return;
    if (v.op == NODE_EQUAL && wanted && add_difference(c, set, child[0], child[1], 0)) {
        add_difference(c, set, child[1], child[0], 0);
        return;
    }
    add_node(c, set, wanted ? n : graph_pointwise(c->g, NODE_NOT, n, NODE_NONE, NODE_NONE));
    if (!wanted || depth >= CONDITIONS)
        return;
    if (v.op == NODE_TOPK)
        add(c, set, child[0], true, depth + 1);
    if (v.op != NODE_GATHER || graph_view(c->g, child[0]).op != NODE_TOPK)
        return;
    /* a selection read at other indices lies in its domain read there */
    v                         = graph_view(c->g, n);
    node domain               = graph_view(c->g, child[0]).child[0];
    node at[GRAPH_INDICES]    = {0};
    index_id i[GRAPH_INDICES] = {0};
    unsigned substitutions    = v.child_count - 1;
    memcpy(at, v.child + 1, substitutions * sizeof *at);
    memcpy(i, v.substituted, substitutions * sizeof *i);
    add(c, set, graph_gather(c->g, domain, substitutions, i, at), true, depth + 1);
}

void condition_add(conditions *c, condition_set *set, node boolean) {
    add(c, set, boolean, true, 0);
}

void condition_add_not(conditions *c, condition_set *set, node boolean) {
    add(c, set, boolean, false, 0);
}

void condition_merge(condition_set *set, const condition_set *more) {
    set->never |= more->never;
    for (unsigned i = 0; i < more->count; i++)
        put(set, &more->item[i]);
}

void condition_weaken(condition_set *set, const condition_set *other) {
    condition_set result = {.never = set->never && other->never};
    if (other->never)
        return;
    for (unsigned i = 0; i < set->count && !set->never; i++)
        if (holds_in(other, &set->item[i]))
            put(&result, &set->item[i]);
    for (unsigned i = 0; i < other->count; i++)
        if (holds_in(set, &other->item[i]))
            put(&result, &other->item[i]);
    *set = result;
}

void condition_restrict(condition_set *set, index_set within) {
    unsigned kept = 0;
    for (unsigned i = 0; i < set->count; i++)
        if (!(set->item[i].free & ~within))
            set->item[kept++] = set->item[i];
    set->count = kept;
}

bool condition_is_selection(conditions *c, const condition *item, index_id *over, int64_t *limit) {
    if (item->kind != CONDITION_DATA)
        return false;
    node_view v = graph_view(c->g, item->node);
    if (v.op == NODE_TOPK) {
        *over  = v.scan_index;
        *limit = v.integer;
        return true;
    }
    if (v.op != NODE_GATHER || graph_view(c->g, v.child[0]).op != NODE_TOPK)
        return false;
    node_view inner = graph_view(c->g, v.child[0]);
    *over           = inner.scan_index;
    *limit          = inner.integer;
    index_set taken = 0; /* indices that the other expressions read: a row must not depend on them */
    bool moved      = false;
    linear form     = {0};
    for (unsigned i = 0; i + 1 < v.child_count; i++)
        if (v.substituted[i] == inner.scan_index)
            moved = condition_linear(c, v.child[i + 1], &form) && form.count == 1;
        else
            taken |= graph_view(c->g, v.child[i + 1]).free;
    if (moved)
        *over = form.index[0];
    else
        for (unsigned i = 0; i + 1 < v.child_count; i++)
            if (v.substituted[i] == inner.scan_index)
                return false;
    return !(taken >> *over & 1) && (!moved || !(inner.free >> *over & 1) || *over == inner.scan_index);
}

/* Support */

/* Conditions on the body's elements, as conditions on the gather's: what it reads must satisfy them. */
static void read_at(conditions *c, node gather, const condition_set *from, condition_set *to) {
    node_view v               = graph_view(c->g, gather);
    unsigned count            = v.child_count - 1;
    node at[GRAPH_INDICES]    = {0};
    index_id i[GRAPH_INDICES] = {0};
    memcpy(at, v.child + 1, count * sizeof *at);
    memcpy(i, v.substituted, count * sizeof *i);
    for (unsigned k = 0; k < from->count; k++) {
        const condition *item = &from->item[k];
        if (item->kind != CONDITION_LINEAR) {
            condition_add(c, to, graph_gather(c->g, item->node, count, i, at));
            continue;
        }
        linear form = {.constant = item->form.constant};
        bool ok     = true;
        for (unsigned t = 0; t < item->form.count && ok; t++) {
            linear term = {.count = 1, .index = {item->form.index[t]}, .factor = {1}};
            for (unsigned s = 0; s < count && ok; s++)
                if (i[s] == item->form.index[t])
                    ok = condition_linear(c, at[s], &term);
            ok = ok && linear_combine(&form, 1, &term, item->form.factor[t], &form);
        }
        if (ok)
            condition_add_linear(c->g, to, &form);
    }
    for (unsigned s = 0; s < count; s++) { /* outside its range a read is 0 */
        linear form, none = {0};
        if (!condition_linear(c, at[s], &form))
            continue;
        condition_add_linear(c->g, to, &form);
        if (linear_combine(&form, -1, &none, 0, &form)) {
            form.constant += graph_index_extent(c->g, i[s]) - 1;
            condition_add_linear(c->g, to, &form);
        }
    }
}

static void find_support(conditions *c, node n, condition_set *set) {
    node_view v   = graph_view(c->g, n);
    node child[3] = {NODE_NONE, NODE_NONE, NODE_NONE};
    for (unsigned i = 0; i < v.child_count && i < 3; i++)
        child[i] = v.child[i];
    double value;
    switch (v.op) {
    case NODE_SELECT:
        *set = *condition_support(c, child[1]);
        if (graph_is_constant(c->g, child[2], &value) && value == 0)
            condition_add(c, set, child[0]);
        else if (graph_is_constant(c->g, child[1], &value) && value == 0) {
            *set = *condition_support(c, child[2]);
            condition_add_not(c, set, child[0]);
        } else
            condition_weaken(set, condition_support(c, child[2]));
        break;
    case NODE_MUL:
        *set = *condition_support(c, child[0]);
        condition_merge(set, condition_support(c, child[1]));
        break;
    case NODE_ADD:
    case NODE_SUB:
    case NODE_MINIMUM:
    case NODE_MAXIMUM:
        *set = *condition_support(c, child[0]);
        condition_weaken(set, condition_support(c, child[1]));
        break;
    case NODE_DIV:
    case NODE_NEG:
    case NODE_STOP:
    case NODE_ABS:
    case NODE_TO_FLOAT:
    case NODE_SQRT:
    case NODE_SIN:
    case NODE_TANH:
    case NODE_ERF:
    case NODE_FLOOR:
    case NODE_LOG1P:
        *set = *condition_support(c, child[0]);
        break;
    case NODE_REDUCE:
        if (v.reduction == REDUCE_SUM) {
            *set = *condition_support(c, child[1]);
            condition_add(c, set, child[0]);
            condition_restrict(set, v.free);
        }
        break;
    case NODE_GATHER: {
        condition_set body = *condition_support(c, child[0]);
        read_at(c, n, &body, set);
        break;
    }
    case NODE_FLOAT:
    case NODE_INT:
        set->never = graph_is_constant(c->g, n, &value) && value == 0;
        break;
    default:
        if (v.type == TYPE_BOOL)
            condition_add(c, set, n);
    }
}

const condition_set *condition_support(conditions *c, node n) {
    look(c, n);
    for (node k = 1; k <= n; k++) { /* children first, so that nothing recurses */
        if (c->support[k])
            continue;
        condition_set set = {0};
        find_support(c, k, &set);
        look(c, (node)graph_node_count(c->g));
        c->support[k] = &everywhere;
        if (set.count || set.never) {
            c->support[k]  = enough(malloc(sizeof set));
            *c->support[k] = set;
        }
    }
    return c->support[n];
}

/* Through gathers */

/* The index of the gather whose value decides what index `body_index` reads, by = ±1 * outer + constant. */
static bool inverse(conditions *c, node_view v, index_id outer, index_id *body_index, linear *form) {
    for (unsigned i = 0; i + 1 < v.child_count; i++) {
        linear e;
        if (!condition_linear(c, v.child[i + 1], &e) || e.count != 1 || e.index[0] != outer || llabs(e.factor[0]) != 1)
            continue;
        *body_index    = v.substituted[i];
        *form          = (linear){.count = 1, .index = {v.substituted[i]}, .factor = {e.factor[0]}};
        form->constant = -e.factor[0] * e.constant;
        return true;
    }
    return false;
}

static node index_expression(graph *g, index_id i, const linear *form) {
    node value = graph_index_value(g, i);
    value      = form->factor[0] < 0 ? graph_neg(g, value) : value;
    return graph_add(g, value, graph_int(g, form->constant));
}

static void translate(conditions *c, node gather, const condition *item, condition_set *to) {
    node_view v    = graph_view(c->g, gather);
    index_set body = graph_view(c->g, v.child[0]).free, replaced = 0;
    linear total = {.constant = item->form.constant};
    node at[GRAPH_INDICES];
    index_id moved[GRAPH_INDICES];
    unsigned count = 0;
    for (unsigned i = 0; i + 1 < v.child_count; i++)
        replaced |= (index_set)1 << v.substituted[i];
    for (index_id j = 0; j < GRAPH_INDICES; j++) {
        if (!(item->free >> j & 1))
            continue;
        linear form = {.count = 1, .index = {j}, .factor = {1}};
        index_id to_index;
        if (!((body & ~replaced) >> j & 1)) {
            v = graph_view(c->g, gather);
            if (!inverse(c, v, j, &to_index, &form))
                return;
            moved[count] = j;
            if (item->kind != CONDITION_LINEAR)
                at[count] = index_expression(c->g, to_index, &form);
            count++;
        }
        for (unsigned t = 0; t < item->form.count && item->kind == CONDITION_LINEAR; t++)
            if (item->form.index[t] == j && !linear_combine(&total, 1, &form, item->form.factor[t], &total))
                return;
    }
    if (item->kind == CONDITION_LINEAR)
        condition_add_linear(c->g, to, &total);
    else
        condition_add(c, to, graph_gather(c->g, item->node, count, moved, at));
}

void condition_through_gather(conditions *c, node gather, const condition_set *from, condition_set *to) {
    to->never = from->never;
    for (unsigned i = 0; i < from->count; i++)
        translate(c, gather, &from->item[i], to);
    node_view v = graph_view(c->g, gather);
    for (unsigned i = 0; i + 1 < v.child_count; i++) { /* only what the expression can be is read */
        linear form, bound = {.count = 1, .index = {v.substituted[i]}, .factor = {1}};
        int64_t low, high;
        if (!condition_linear(c, v.child[i + 1], &form))
            continue;
        linear_range(c->g, &form, GRAPH_INDICES, &low, &high);
        bound.constant = -low;
        condition_add_linear(c->g, to, &bound);
        bound.factor[0] = -1;
        bound.constant  = high;
        condition_add_linear(c->g, to, &bound);
    }
}
