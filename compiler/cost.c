/* Counting from the outputs down: for each node, under which conditions its value is needed; then its elements there,
 * times what one of them costs. Preserves every node; adds conditions. */
#include "cost.h"

#include "enough.h"

#include <stdlib.h>
#include <string.h>

enum { CACHE = 32 };

typedef struct counted {
    index_set space;
    condition_set set;
    wide points;
} counted;

typedef struct walk {
    graph *g;
    conditions *c;
    cost *result;
    size_t nodes;
    condition_set **need; /* NULL: not needed */
    counted cache[CACHE];
    unsigned cached;
} walk;

/* Conditions that cannot be counted, such as those on data that are no selection, hold always, as far as this count
 * goes. Those that restrict a domain are written down; those of a choice mean that both branches are computed. */
static void assume(walk *w, condition_set *set, bool write_down) {
    unsigned kept = 0;
    for (unsigned i = 0; i < set->count; i++) {
        if (count_knows(w->c, &set->item[i])) {
            set->item[kept++] = set->item[i];
            continue;
        }
        bool known = !write_down || w->result->assumed_count == COST_ASSUMED;
        for (unsigned k = 0; k < w->result->assumed_count && !known; k++)
            known = w->result->assumed[k] == set->item[i].node;
        if (!known)
            w->result->assumed[w->result->assumed_count++] = set->item[i].node;
    }
    set->count = kept;
}

static wide points(walk *w, index_set space, const condition_set *set) {
    condition_set here = *set;
    condition_restrict(&here, space);
    for (unsigned i = 0; i < w->cached; i++)
        if (w->cache[i].space == space && condition_same(&w->cache[i].set, &here))
            return w->cache[i].points;
    wide n = count_points(w->c, space, &here, &w->result->exact);
    w->cache[w->cached < CACHE ? w->cached++ : (unsigned)(n % CACHE)] = (counted){space, here, n};
    return n;
}

/* The value of n is needed under these conditions too. */
static void need(walk *w, node n, const condition_set *when) {
    condition_set set = *when;
    if (set.never)
        return;
    condition_restrict(&set, graph_view(w->g, n).free);
    if (!w->need[n]) {
        w->need[n]  = enough(malloc(sizeof set));
        *w->need[n] = set;
    } else {
        condition_weaken(w->need[n], &set);
    }
}

/* The parts of a conjunction in the order in which they are cheap to ask: indices, selections, the rest. */
static unsigned conjunction(walk *w, node n, node *part, unsigned count, unsigned depth) {
    node_view v = graph_view(w->g, n);
    if (v.op == NODE_AND && depth < CONDITIONS && count + 1 < CONDITIONS) {
        node left = v.child[0], right = v.child[1];
        count = conjunction(w, left, part, count, depth + 1);
        return conjunction(w, right, part, count, depth + 1);
    }
    if (count < CONDITIONS)
        part[count++] = n;
    return count;
}

static int rank_of(walk *w, node n) {
    return condition_is_pure(w->c, n) ? 0 : graph_view(w->g, n).op == NODE_TOPK ? 1 : 2;
}

static void need_conjunction(walk *w, node n, const condition_set *when) {
    node part[CONDITIONS];
    unsigned count    = conjunction(w, n, part, 0, 0);
    condition_set set = *when;
    if (count == CONDITIONS) { /* too many to order */
        need(w, graph_view(w->g, n).child[0], when);
        need(w, graph_view(w->g, n).child[1], when);
        return;
    }
    for (int rank = 0; rank < 3; rank++)
        for (unsigned i = 0; i < count; i++)
            if (rank_of(w, part[i]) == rank) {
                need(w, part[i], &set);
                if (rank < 2)
                    condition_add(w->c, &set, part[i]);
            }
}

/* What a reduction goes through: its own conditions, its domain, and for a sum where the body is not 0. */
static condition_set reduced_over(walk *w, node n, node_view v) {
    condition_set set = *w->need[n];
    node domain = v.child[0], body = v.child[1]; /* the view's children move when conditions are added */
    condition_add(w->c, &set, domain);
    if (v.reduction == REDUCE_SUM)
        condition_merge(&set, condition_support(w->c, body));
    assume(w, &set, true);
    return set;
}

/* The elements of a solve's matrix that count. */
static condition_set solved_over(walk *w, node n, node_view v, const condition_set *others) {
    condition_set set = *others;
    node row = graph_index_value(w->g, v.scan_index), column = graph_index_value(w->g, graph_solve_column(w->g, n));
    node low = v.reverse ? row : column, high = v.reverse ? column : row;
    condition_add(w->c, &set, graph_pointwise(w->g, NODE_LESS, low, high, NODE_NONE));
    return set;
}

static void need_children(walk *w, node n) {
    node_view v        = graph_view(w->g, n);
    condition_set here = *w->need[n], none = {0};
    node child[3]  = {NODE_NONE, NODE_NONE, NODE_NONE};
    unsigned count = v.child_count;
    for (unsigned i = 0; i < count && i < 3; i++)
        child[i] = v.child[i];
    switch (v.op) {
    case NODE_REDUCE: {
        condition_set over = reduced_over(w, n, v);
        need(w, child[1], &over);
        need(w, child[0], &here);
        break;
    }
    case NODE_SELECT: {
        condition_set then = here, otherwise = here;
        need(w, child[0], &here);
        condition_add(w->c, &then, child[0]);
        condition_add_not(w->c, &otherwise, child[0]);
        need(w, child[1], &then);
        need(w, child[2], &otherwise);
        break;
    }
    case NODE_AND:
        need_conjunction(w, n, &here);
        break;
    case NODE_GATHER: {
        condition_set body = {0};
        for (unsigned i = 1; i < count; i++)
            need(w, graph_view(w->g, n).child[i], &here);
        condition_through_gather(w->c, n, &here, &body);
        need(w, child[0], &body);
        break;
    }
    case NODE_TOPK: /* every element of a row's domain is looked at for each of its answers */
    case NODE_CHOSEN:
        condition_restrict(&here, v.free & ~((index_set)1 << v.scan_index) & ~v.vars);
        need(w, child[0], &here);
        condition_add(w->c, &here, child[0]);
        need(w, child[1], &here);
        break;
    case NODE_SOLVE: { /* a row of the solution needs those before it, or after it */
        condition_restrict(&here, v.free & ~((index_set)1 << v.scan_index));
        condition_set triangle = solved_over(w, n, v, &here);
        need(w, child[0], &triangle);
        need(w, child[1], &here);
        break;
    }
    default: /* a scan takes every step, whatever is read of it */
        for (unsigned i = 0; i < count; i++)
            need(w, graph_view(w->g, n).child[i], graph_op_is_pointwise(v.op) ? &here : &none);
    }
}

static bool is_special(const graph *g, node_view v) {
    switch (v.op) {
    case NODE_DIV:
        return !graph_is_constant(g, v.child[1], NULL);
    case NODE_POW:
    case NODE_EXP:
    case NODE_LOG:
    case NODE_LOG1P:
    case NODE_SQRT:
    case NODE_SIN:
    case NODE_COS:
    case NODE_TANH:
    case NODE_ERF:
        return true;
    default:
        return false;
    }
}

static bool is_operation(node_view v) {
    return graph_op_is_pointwise(v.op) && v.type == TYPE_FLOAT && v.op != NODE_SELECT && v.op != NODE_TO_FLOAT &&
           v.op != NODE_STOP;
}

static void charge(walk *w, node n, const uint8_t *output) {
    node_view v  = graph_view(w->g, n);
    cost *r      = w->result;
    wide *here   = &r->of_node[n];
    bool special = is_special(w->g, v);
    if (is_operation(v)) {
        *here      = points(w, v.free, w->need[n]);
        r->special = wide_add(r->special, special ? *here : 0);
    } else if (v.op == NODE_REDUCE && v.type == TYPE_FLOAT) {
        condition_set over = reduced_over(w, n, v);
        *here              = points(w, v.free | v.vars, &over);
    } else if (graph_selects(v.op)) {
        condition_set over = *w->need[n];
        index_set rows     = v.free & ~((index_set)1 << v.scan_index) & ~v.vars;
        condition_restrict(&over, rows);
        condition_add(w->c, &over, v.child[0]);
        assume(w, &over, true);
        r->comparisons = wide_add(r->comparisons, points(w, rows | (index_set)1 << v.scan_index, &over));
    } else if (v.op == NODE_SOLVE) { /* a multiplication and an addition each */
        condition_set others = *w->need[n];
        condition_restrict(&others, v.free & ~((index_set)1 << v.scan_index));
        condition_set over = solved_over(w, n, v, &others);
        *here              = wide_multiply(points(w, v.free | v.vars, &over), 2);
    }
    r->operations = wide_add(r->operations, *here);
    v             = graph_view(w->g, n);
    if ((v.op == NODE_REDUCE || v.op == NODE_SCAN || graph_selects(v.op) || v.op == NODE_SOLVE) && !output[n])
        r->kept = wide_add(r->kept, wide_multiply(points(w, v.free, w->need[n]), v.type == TYPE_BOOL ? 1 : 4));
    if (v.op == NODE_TENSOR)
        r->compulsory = wide_add(r->compulsory, wide_multiply(graph_tensor(w->g, v.tensor)->elements, 4));
}

cost *cost_of(graph *g, bool losses) {
    walk *w         = enough(calloc(1, sizeof *w));
    cost *r         = enough(calloc(1, sizeof *r));
    r->exact        = true;
    r->nodes        = graph_node_count(g);
    r->of_node      = enough(calloc(r->nodes + 1, sizeof *r->of_node));
    uint8_t *output = enough(calloc(r->nodes + 1, 1));
    *w              = (walk){.g = g, .c = conditions_new(g), .result = r, .nodes = r->nodes};
    w->need         = enough(calloc(r->nodes + 1, sizeof *w->need));
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output_kind kind = graph_output(g, i)->kind;
        if (kind != OUTPUT_VALUE && !(losses && kind == OUTPUT_LOSS))
            continue;
        need(w, graph_output(g, i)->node, &(condition_set){0});
        output[graph_output(g, i)->node] = 1;
        r->compulsory                    = wide_add(r->compulsory, wide_multiply(graph_output(g, i)->elements, 4));
    }
    for (node n = (node)r->nodes; n > 0; n--)
        if (w->need[n]) {
            assume(w, w->need[n], false);
            need_children(w, n);
            charge(w, n, output);
        }
    for (node n = 1; n <= r->nodes; n++)
        free(w->need[n]);
    free(w->need);
    free(output);
    conditions_free(w->c);
    free(w);
    return r;
}

void cost_free(cost *c) {
    if (c)
        free(c->of_node);
    free(c);
}

/* Thresholds */

typedef struct number_list {
    int64_t *out;
    unsigned count, room;
} number_list;

static void note(number_list *list, int64_t value) {
    unsigned at = 0;
    value       = value < 0 ? -value : value;
    while (at < list->count && list->out[at] < value)
        at++;
    if (value < 2 || list->count == list->room || (at < list->count && list->out[at] == value))
        return;
    memmove(list->out + at + 1, list->out + at, (list->count - at) * sizeof *list->out);
    list->out[at] = value;
    list->count++;
}

static void note_form(const graph *g, number_list *list, const linear *form) {
    note(list, form->constant);
    for (unsigned i = 0; i < form->count; i++) {
        note(list, graph_index_extent(g, form->index[i]));
        note(list, form->factor[i]);
    }
}

static int64_t common_multiple(int64_t a, int64_t b) {
    int64_t x = a, y = b, product;
    while (y) {
        int64_t rest = x % y;
        x            = y;
        y            = rest;
    }
    return __builtin_mul_overflow(a / x, b, &product) || product > 100000 ? a : product;
}

static bool compares(node_op op) {
    return op == NODE_LESS || op == NODE_LESS_EQUAL || op == NODE_EQUAL;
}

unsigned cost_thresholds(graph *g, int64_t *out, unsigned room, int64_t *period) {
    number_list list = {out, 0, room};
    conditions *c    = conditions_new(g);
    size_t nodes     = graph_node_count(g);
    *period          = 1;
    for (node n = 1; n <= nodes; n++) {
        node_view v = graph_view(g, n);
        double value;
        linear form;
        if (graph_selects(v.op))
            note(&list, v.integer);
        for (unsigned i = 0; v.op == NODE_GATHER && i + 1 < v.child_count; i++)
            if (condition_linear(c, v.child[i + 1], &form))
                note_form(g, &list, &form);
        if (!condition_is_pure(c, n))
            continue;
        for (unsigned i = 0; compares(v.op) && i < v.child_count; i++)
            if (condition_linear(c, v.child[i], &form))
                note_form(g, &list, &form);
        if ((v.op == NODE_DIV || v.op == NODE_MOD) && v.type == TYPE_INT && graph_is_constant(g, v.child[1], &value) &&
            value >= 1 && value <= 100000) {
            *period = common_multiple(*period, (int64_t)value);
            note(&list, (int64_t)value);
        }
    }
    conditions_free(c);
    return list.count;
}
