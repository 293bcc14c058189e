/* Counting lattice points: the indices that conditions tie together are counted together, the others multiply. Of each
 * group the last index is counted by its bounds, the others are walked. */
#include "count.h"

#include "enough.h"
#include "interpret.h"

#include <stdlib.h>
#include <string.h>

/* What one count may take: rows walked, and single points where a conjunct is not linear. */
static const int64_t ROW_LIMIT = (int64_t)1 << 24, POINT_LIMIT = (int64_t)1 << 26;
enum { CHUNK = 2048 }; /* points of a row at a time */

wide wide_add(wide a, wide b) {
    return a + b > WIDE_MOST ? WIDE_MOST : a + b;
}

wide wide_multiply(wide a, wide b) {
    return a && b > WIDE_MOST / a ? WIDE_MOST : a * b;
}

/* Conditions that are not linear, as instructions over a row of the last index. */
typedef struct program {
    unsigned count;
    node *node;
    unsigned (*operand)[3];
    double (*value)[CHUNK];
    unsigned *result; /* which instructions must be true */
    unsigned results;
} program;

static unsigned compile_node(const graph *g, program *p, node n) {
    for (unsigned i = 0; i < p->count; i++)
        if (p->node[i] == n)
            return i;
    node_view v         = graph_view(g, n);
    unsigned operand[3] = {0, 0, 0};
    for (unsigned i = 0; i < v.child_count && i < 3; i++)
        operand[i] = compile_node(g, p, v.child[i]);
    p->node           = enough(realloc(p->node, (p->count + 1) * sizeof *p->node));
    p->operand        = enough(realloc(p->operand, (p->count + 1) * sizeof *p->operand));
    p->node[p->count] = n;
    memcpy(p->operand[p->count], operand, sizeof operand);
    return p->count++;
}

/* Can the instructions above compute it? What they cannot counts as true. */
static bool computable(const graph *g, node n) {
    program p = {0};
    compile_node(g, &p, n);
    bool ok = true;
    for (unsigned i = 0; i < p.count; i++)
        switch (graph_view(g, p.node[i]).op) {
        case NODE_POW:
        case NODE_EXP:
        case NODE_LOG:
        case NODE_LOG1P:
        case NODE_SQRT:
        case NODE_SIN:
        case NODE_COS:
        case NODE_TANH:
        case NODE_ERF:
            ok = false;
            break;
        default:
            break;
        }
    free(p.node);
    free(p.operand);
    return ok;
}

/* How many of inner = low … high, at most CHUNK of them, satisfy the program, the other indices being at[]. */
static int64_t run_row(const graph *g, program *p, index_id inner, const int64_t *at, int64_t low, int64_t high) {
    int64_t width = high - low + 1, found = 0;
    for (unsigned i = 0; i < p->count; i++) {
        node_view v     = graph_view(g, p->node[i]);
        double *out     = p->value[i];
        const double *a = p->value[p->operand[i][0]];
        const double *b = p->value[p->operand[i][1]];
        const double *c = p->value[p->operand[i][2]];
        double constant = 0;
        if (v.op == NODE_INDEX) {
            index_id index = (index_id)__builtin_ctzll(v.vars);
            for (int64_t k = 0; k < width; k++)
                out[k] = (double)(index == inner ? low + k : at[index]);
        } else if (graph_is_constant(g, p->node[i], &constant)) {
            for (int64_t k = 0; k < width; k++)
                out[k] = constant;
        } else {
            for (int64_t k = 0; k < width; k++)
                out[k] = interpret_operation(v.op, v.type, (const double[]){a[k], b[k], c[k]});
        }
    }
    for (int64_t k = 0; k < width; k++) {
        bool all = true;
        for (unsigned r = 0; r < p->results && all; r++)
            all = p->value[p->result[r]][k] != 0;
        found += all;
    }
    return found;
}

static int64_t floor_quotient(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* The part of inner's range that the linear conjuncts leave. */
static void bounds(const condition *const *item, unsigned count, index_id inner, const int64_t *at, int64_t *low,
                   int64_t *high) {
    for (unsigned i = 0; i < count; i++) {
        const linear *f = &item[i]->form;
        int64_t rest = f->constant, factor = 0;
        for (unsigned t = 0; t < f->count; t++)
            if (f->index[t] == inner)
                factor = f->factor[t];
            else
                rest += f->factor[t] * at[f->index[t]];
        if (factor > 0 && -floor_quotient(rest, factor) > *low)
            *low = -floor_quotient(rest, factor); /* factor * x >= -rest: rounded up */
        else if (factor < 0 && floor_quotient(rest, -factor) < *high)
            *high = floor_quotient(rest, -factor);
        else if (factor == 0 && rest < 0)
            *high = -1;
    }
}

typedef struct group {
    index_set members;
    index_id inner;
    int64_t limit; /* of inner in each row; INT64_MAX: none */
    const condition *linear[CONDITIONS];
    unsigned linear_count;
    program program;
} group;

static wide walk_group(const graph *g, group *q) {
    int64_t at[GRAPH_INDICES] = {0}, extent = graph_index_extent(g, q->inner);
    wide total      = 0;
    index_set outer = q->members & ~((index_set)1 << q->inner);
    for (bool more = true; more;) {
        int64_t low = 0, high = extent - 1;
        bounds(q->linear, q->linear_count, q->inner, at, &low, &high);
        int64_t found = high < low ? 0 : high - low + 1;
        if (found && q->program.results)
            found = 0;
        for (int64_t from = low; q->program.results && from <= high; from += CHUNK)
            found += run_row(g, &q->program, q->inner, at, from, high - from < CHUNK ? high : from + CHUNK - 1);
        total += found < q->limit ? found : q->limit;
        more = false;
        for (unsigned i = 0; i < GRAPH_INDICES && !more; i++)
            if (outer >> i & 1) {
                more  = ++at[i] < graph_index_extent(g, (index_id)i);
                at[i] = more ? at[i] : 0;
            }
    }
    return total;
}

static wide count_group(const graph *g, group *q, const condition *const *other, unsigned others, bool *exact) {
    int64_t rows = graph_space(g, q->members & ~((index_set)1 << q->inner)), points = graph_space(g, q->members);
    if (rows > ROW_LIMIT || (others && points > POINT_LIMIT)) {
        int64_t extent = graph_index_extent(g, q->inner);
        *exact         = false;
        return wide_multiply(rows, extent < q->limit ? extent : q->limit);
    }
    program *p = &q->program;
    for (unsigned i = 0; i < others; i++) {
        p->result               = enough(realloc(p->result, (p->results + 1) * sizeof *p->result));
        p->result[p->results++] = compile_node(g, p, other[i]->node);
    }
    p->value = enough(malloc((p->count + 1) * sizeof *p->value));
    wide n   = walk_group(g, q);
    free(p->node);
    free(p->operand);
    free(p->value);
    free(p->result);
    return n;
}

/* All that is tied to the group's first member, and its conjuncts: linear ones into the group, the others apart. The
 * index that is counted by its bounds is the one with a limit, else the longest. Returns the number of others. */
static unsigned gather_group(const graph *g, group *q, const condition *const *known, unsigned count,
                             const int64_t *limit, const condition **other) {
    unsigned others = 0;
    int64_t largest = -1;
    for (index_set before = 0; before != q->members;) {
        before = q->members;
        for (unsigned i = 0; i < count; i++)
            if (known[i]->free & q->members)
                q->members |= known[i]->free;
    }
    for (unsigned i = 0; i < count; i++)
        if (known[i]->free & q->members) {
            if (known[i]->kind == CONDITION_LINEAR)
                q->linear[q->linear_count++] = known[i];
            else
                other[others++] = known[i];
        }
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (q->members >> i & 1 && q->limit == INT64_MAX &&
            (limit[i] != INT64_MAX || graph_index_extent(g, (index_id)i) > largest)) {
            q->inner = (index_id)i;
            q->limit = limit[i];
            largest  = graph_index_extent(g, (index_id)i);
        }
    return others;
}

bool count_knows(conditions *c, const condition *item) {
    index_id over;
    int64_t limit;
    return item->kind == CONDITION_LINEAR ||
           (item->kind == CONDITION_INDEX ? computable(conditions_graph(c), item->node)
                                          : condition_is_selection(c, item, &over, &limit));
}

wide count_points(conditions *c, index_set space, const condition_set *set, bool *exact) {
    const graph *g = conditions_graph(c);
    const condition *known[CONDITIONS];
    unsigned count = 0;
    int64_t limit[GRAPH_INDICES];
    index_set tied = 0;
    wide total     = 1;
    if (set->never)
        return 0;
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        limit[i] = INT64_MAX;
    for (unsigned i = 0; i < set->count; i++) {
        const condition *item = &set->item[i];
        index_id over;
        int64_t most;
        if (item->kind == CONDITION_LINEAR || (item->kind == CONDITION_INDEX && computable(g, item->node))) {
            if (item->free & ~space)
                continue;
            known[count++] = item;
            tied |= item->free;
        } else if (condition_is_selection(c, item, &over, &most) && space >> over & 1) {
            limit[over] = most < limit[over] ? most : limit[over];
            tied |= (index_set)1 << over;
        }
    }
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if ((space & ~tied) >> i & 1)
            total = wide_multiply(total, graph_index_extent(g, (index_id)i));
    while (tied) {
        group q = {.members = tied & -tied, .limit = INT64_MAX};
        const condition *other[CONDITIONS];
        unsigned others = gather_group(g, &q, known, count, limit, other);
        tied &= ~q.members;
        total = wide_multiply(total, count_group(g, &q, other, others, exact));
    }
    return total;
}
