/* Sums of products as matrix products. A sum over `inner` of f1 · f2 · … is one where the factors fall into two
 * groups that both depend on all of `inner`: indices of the result that only one group has are rows and columns,
 * those that both have are the batch. The groups are stored (or already are), so the division with the fewest
 * elements to store is taken. */
#include "schedule_cost_internal.h"
#include "schedule_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_FACTORS = 8, LEAST_SIDE = 4, LEAST_WORK = 4096 };

/* In a step of a scan nothing else gains by a product than its own time: below this a call takes longer than loops. */
enum { STEP_SIDE = 8, STEP_WORK = 16384 };

bool schedule_pays_in_step(const scheduler *c, index_set rows, index_set columns, index_set inner) {
    int64_t height = graph_space(c->g, rows), width = graph_space(c->g, columns);
    return height >= STEP_SIDE && width >= STEP_SIDE && graph_space(c->g, rows | columns | inner) >= STEP_WORK;
}

static bool pays(const scheduler *c, index_set rows, index_set columns, index_set inner) {
    int64_t height = graph_space(c->g, rows), width = graph_space(c->g, columns);
    return height >= LEAST_SIDE && width >= LEAST_SIDE && graph_space(c->g, rows | columns | inner) >= LEAST_WORK;
}

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

/* A product taken apart: factors, and conditions outside which it is 0. */
typedef struct parts {
    node factor[MAX_FACTORS], mask[MAX_FACTORS];
    unsigned count, masks;
} parts;

static bool add_mask(parts *p, node condition) {
    if (p->masks == MAX_FACTORS)
        return false;
    p->mask[p->masks++] = condition;
    return true;
}

/* False where there are too many. */
static bool take_apart(scheduler *c, node n, parts *p) {
    n           = schedule_strip(c->g, n);
    node_view v = graph_view(c->g, n);
    if (v.op == NODE_MUL && !c->stored[n])
        return take_apart(c, v.child[0], p) && take_apart(c, graph_view(c->g, n).child[1], p);
    if (!c->stored[n] && graph_is_guarded(c->g, n))
        return add_mask(p, v.child[0]) && take_apart(c, v.child[1], p);
    if (p->count == MAX_FACTORS)
        return false;
    if (v.op == NODE_NEG && p->count + 1 < MAX_FACTORS) {
        node operand          = v.child[0];
        p->factor[p->count++] = graph_float(c->g, -1);
        return take_apart(c, operand, p);
    }
    p->factor[p->count++] = n;
    return true;
}

/* Which groups each condition goes to (bits): all that have its indices, because what it excludes may be infinite in
 * either; false where there is none. */
static bool place_masks(const scheduler *c, const parts *p, const index_set in[2], unsigned *sides) {
    for (unsigned i = 0; i < p->masks; i++) {
        index_set needed = graph_view(c->g, p->mask[i]).free;
        sides[i]         = (needed & ~in[0] ? 0 : 1) | (needed & ~in[1] ? 0 : 2);
        if (!sides[i])
            return false;
    }
    return true;
}

static bool compares_for_equality(const graph *g, node n) {
    node_view v = graph_view(g, n);
    if (v.op == NODE_EQUAL)
        return true;
    return v.op == NODE_AND && (compares_for_equality(g, v.child[0]) || compares_for_equality(g, v.child[1]));
}

/* Of what is computed in the steps of a scan: the scan's label; and which indices are those of the step. */
typedef struct stepped {
    uint32_t label; /* 0: it is in no scan */
    index_set held;
} stepped;

static stepped steps_around(const scheduler *c, node n) {
    stepped s = {.label = c->inside[n]};
    if (s.label)
        s.held = bit(graph_view(c->g, graph_scan_node(c->g, s.label, 0)).scan_index);
    return s;
}

/* Operands are stored where they are computed: before the scan, or in the same step. */
static bool within_step(const scheduler *c, const parts *p, stepped s) {
    for (unsigned i = 0; i < p->count; i++)
        if (c->inside[p->factor[i]] && c->inside[p->factor[i]] != s.label)
            return false;
    for (unsigned i = 0; i < p->masks; i++)
        if (c->inside[p->mask[i]] && c->inside[p->mask[i]] != s.label)
            return false;
    return true;
}

/* New nodes that depend on the state before the step belong to it. */
static bool mark_stepped(scheduler *c, node n, uint32_t label, node_map *met) {
    if (c->inside[n] || c->stored[n] || !schedule_is_new(met, n))
        return c->inside[n] == label;
    bool depends = false;
    for (unsigned i = 0; i < graph_view(c->g, n).child_count; i++)
        depends |= mark_stepped(c, graph_view(c->g, n).child[i], label, met);
    c->inside[n] = depends ? label : 0;
    return depends;
}

/* The product of a group's factors, 0 outside its conditions. */
static node multiply(scheduler *c, const parts *p, const unsigned *side, unsigned group, unsigned wanted) {
    node n = NODE_NONE;
    for (unsigned i = 0; i < p->count; i++)
        if ((group >> i & 1) == wanted)
            n = n ? graph_mul(c->g, n, p->factor[i]) : p->factor[i];
    for (unsigned i = 0; i < p->masks; i++)
        if (side[i] >> wanted & 1)
            n = graph_select(c->g, p->mask[i], n, graph_float(c->g, 0));
    return n;
}

/* Has the expression a place in the range of `i` wherever it is evaluated? Elsewhere a gather is 0, which no matrix
 * has there. */
static bool stays_inside(const scheduler *c, node expression, index_id i) {
    place all = {.g = c->g};
    for (unsigned k = 0; k < graph_index_count(c->g); k++)
        all.end[k] = graph_index_extent(c->g, (index_id)k);
    span values = range_evaluate(&all, expression);
    return values.low >= 0 && values.high < graph_index_extent(c->g, i);
}

/* Can matrices be read through this gather as it stands? Its index expressions are plain indices, or depend on
 * batch indices only. */
static bool readable(const scheduler *c, node gather, index_set batch) {
    node_view v    = graph_view(c->g, gather);
    index_set seen = graph_view(c->g, v.child[0]).free;
    for (unsigned i = 0; i + 1 < v.child_count; i++)
        seen &= ~bit(v.substituted[i]);
    for (unsigned i = 0; i + 1 < v.child_count; i++) {
        node_view e = graph_view(c->g, v.child[i + 1]);
        if (!stays_inside(c, v.child[i + 1], v.substituted[i]))
            return false;
        if (e.op == NODE_INDEX) {
            if (e.free & seen & ~batch)
                return false; /* a diagonal */
            seen |= e.free;
        } else if (e.free & ~batch) {
            return false;
        }
    }
    return true;
}

static void store_factor(scheduler *c, node factor, index_set batch) {
    node_view v = graph_view(c->g, factor);
    if (v.op == NODE_GATHER && !c->stored[factor] && readable(c, factor, batch)) {
        node base = schedule_strip(c->g, v.child[0]);
        /* store the base unless that is a larger tensor than what is read of it */
        if (c->stored[base] || graph_space(c->g, graph_view(c->g, base).free) <= graph_space(c->g, v.free)) {
            c->stored[base] = 1;
            return;
        }
    }
    c->stored[factor] = 1;
}

static int64_t storing_cost(const scheduler *c, node n, stepped s) {
    node_view v = graph_view(c->g, n);
    if (c->stored[n])
        return 0;
    if (v.op == NODE_GATHER && c->stored[schedule_strip(c->g, v.child[0])])
        return 0;
    return graph_space(c->g, v.free & ~(c->inside[n] ? s.held : 0));
}

static bool masked(const parts *p, const unsigned *side_of, unsigned side) {
    for (unsigned i = 0; i < p->masks; i++)
        if (side_of[i] >> side & 1)
            return true;
    return false;
}

static product transposed(const product *p) {
    return (product){{p->factor[1], p->factor[0]}, p->batch, p->columns, p->rows, p->inner};
}

/* One order for all results: rows hold the earlier index. */
static product in_order(const product *p) {
    return (p->columns & -p->columns) < (p->rows & -p->rows) ? transposed(p) : *p;
}

/* Indices of the grid have one value each. */
static product of_item(product p, index_set grid) {
    p.batch |= grid & (p.rows | p.columns);
    p.rows &= ~grid;
    p.columns &= ~grid;
    return p;
}

product schedule_product_of_item(const product *p, index_set grid) {
    product one = of_item(*p, grid);
    return one.rows && one.columns ? in_order(&one) : one;
}

product *schedule_match_product(scheduler *c, node reduce) {
    node_view v = graph_view(c->g, reduce);
    if (v.reduction != REDUCE_SUM || v.type != TYPE_FLOAT)
        return NULL;
    index_set vars = v.vars, free_indices = v.free;
    parts w = {.count = 0};
    if (!schedule_is_true(c->g, v.child[0])) {
        /* a domain is a condition like any other; one with an equality is a scatter's */
        if (compares_for_equality(c->g, v.child[0]) || !add_mask(&w, v.child[0]))
            return NULL;
        v = graph_view(c->g, reduce);
    }
    if (!take_apart(c, v.child[1], &w) || w.count < 2)
        return NULL;
    stepped step = steps_around(c, reduce);
    if (step.label && !within_step(c, &w, step))
        return NULL;
    unsigned side_of[MAX_FACTORS], best_side_of[MAX_FACTORS];
    int64_t best_cost   = INT64_MAX;
    unsigned best_group = 0;
    for (unsigned group = 1; group < 1u << w.count; group += 2) { /* factor 0 is always in group 1 */
        index_set in[2]  = {0, 0};
        int64_t cost     = 0;
        node only[2]     = {NODE_NONE, NODE_NONE};
        unsigned size[2] = {0, 0};
        bool anew[2]     = {false, false}; /* in every step */
        for (unsigned i = 0; i < w.count; i++) {
            unsigned side = group >> i & 1;
            in[side] |= graph_view(c->g, w.factor[i]).free;
            anew[side] |= c->inside[w.factor[i]] != 0;
            only[side] = w.factor[i];
            size[side]++;
        }
        if (!size[0] || (in[0] & in[1] & vars) != vars || !place_masks(c, &w, in, side_of))
            continue;
        for (unsigned side = 0; side < 2; side++)
            cost += size[side] == 1 && !masked(&w, side_of, side)
                        ? storing_cost(c, only[side], step)
                        : graph_space(c->g, in[side] & ~(anew[side] ? step.held : 0));
        index_set rows = free_indices & in[0] & ~in[1] & ~step.held, columns = free_indices & in[1] & ~in[0];
        if (!(step.label ? schedule_pays_in_step : pays)(c, rows, columns & ~step.held, vars))
            continue;
        if (cost < best_cost) {
            best_cost  = cost;
            best_group = group;
            memcpy(best_side_of, side_of, sizeof side_of);
        }
    }
    if (!best_group)
        return NULL;
    product *p   = schedule_allocate(1, sizeof *p);
    p->factor[0] = multiply(c, &w, best_side_of, best_group, 1);
    p->factor[1] = multiply(c, &w, best_side_of, best_group, 0);
    schedule_fit_nodes(c);
    for (unsigned i = 0; i < 2; i++)
        p->factor[i] = schedule_strip(c->g, p->factor[i]);
    index_set in[2];
    for (unsigned i = 0; i < 2; i++)
        in[i] = graph_view(c->g, p->factor[i]).free;
    if ((in[0] & in[1] & vars) != vars) { /* a factor folded away */
        free(p);
        return NULL;
    }
    p->inner   = vars;
    p->batch   = free_indices & ((in[0] & in[1]) | step.held);
    p->rows    = free_indices & in[0] & ~p->batch;
    p->columns = free_indices & in[1] & ~p->batch;
    if (step.label) {
        node_map met = {0};
        for (unsigned i = 0; i < 2; i++)
            mark_stepped(c, p->factor[i], step.label, &met);
        node_map_free(&met);
    }
    *p = in_order(p);
    for (unsigned i = 0; i < 2; i++)
        store_factor(c, p->factor[i], p->batch);
    return p;
}

/* An operand as it lies in memory: for each index of the product its stride (0: it does not move the operand), and
 * what offsets the batch adds. */
typedef struct operand {
    uint32_t buffer;
    int64_t stride[GRAPH_INDICES];
    unsigned offset_count;
    node offset[TENSOR_RANK];
    int64_t offset_stride[TENSOR_RANK];
    index_set blocked; /* indices whose first value in the block is at 0 */
} operand;

static operand read_operand(scheduler *c, node factor) {
    operand o    = {0};
    node base    = factor;
    node_view v  = graph_view(c->g, factor);
    bool through = v.op == NODE_GATHER && !c->stored[factor];
    if (through)
        base = schedule_strip(c->g, v.child[0]);
    o.buffer        = c->s->buffer_of[base];
    const buffer *b = &c->s->buffer[o.buffer];
    for (unsigned a = 0; a < b->rank; a++) {
        node value = NODE_NONE;
        for (unsigned i = 0; through && i + 1 < v.child_count; i++)
            if (v.substituted[i] == b->axis[a])
                value = v.child[i + 1];
        if (!value) {
            o.stride[b->axis[a]] += b->stride[a];
            o.blocked |= b->block[a] ? bit(b->axis[a]) : 0;
            continue;
        }
        node_view e = graph_view(c->g, value);
        if (e.op == NODE_INDEX) {
            o.stride[__builtin_ctzll(e.vars)] += b->stride[a];
        } else {
            o.offset[o.offset_count]          = value;
            o.offset_stride[o.offset_count++] = b->stride[a];
        }
    }
    return o;
}

/* The indices of a set by decreasing stride; those of extent 1 are left out. */
static axis_order by_stride(const scheduler *c, const operand *o, index_set set) {
    axis_order order = {0};
    for (unsigned i = 0; i < graph_index_count(c->g); i++)
        if (set >> i & 1 && graph_index_extent(c->g, (index_id)i) > 1 && order.rank < TENSOR_RANK) {
            unsigned at = order.rank++;
            for (; at > 0 && o->stride[order.index[at - 1]] < o->stride[i]; at--)
                order.index[at] = order.index[at - 1];
            order.index[at] = (index_id)i;
        }
    return order;
}

static bool is_ranged(const scheduler *c, index_id i) {
    bool found = false;
    for (unsigned k = 0; k < c->ranged.rank; k++)
        found |= c->ranged.index[k] == i;
    return found;
}

/* From which position on do the indices move like a single one? */
static unsigned collapses_from(const scheduler *c, const operand *o, const axis_order *order) {
    unsigned from = order->rank;
    while (from > 1 && !is_ranged(c, order->index[from - 1]) &&
           o->stride[order->index[from - 2]] ==
               o->stride[order->index[from - 1]] * graph_index_extent(c->g, order->index[from - 1]))
        from--;
    return order->rank ? from - 1 : 0;
}

static int64_t stride_of(const operand *o, const axis_order *order) {
    return order->rank ? o->stride[order->index[order->rank - 1]] : 1;
}

static bool collapses(const scheduler *c, const operand *o, const axis_order *order) {
    return collapses_from(c, o, order) == 0;
}

static operand stored_operand(const scheduler *c, uint32_t number) {
    operand o       = {.buffer = number};
    const buffer *b = &c->s->buffer[number];
    for (unsigned a = 0; a < b->rank; a++) {
        o.stride[b->axis[a]] = b->stride[a];
        o.blocked |= b->block[a] ? bit(b->axis[a]) : 0;
    }
    return o;
}

/* A copy of the operand with batch, then its own side, then inner, each in the given order, for the items that it is
 * copied in. */
static operand copy_here(scheduler *c, node factor, const axis_order *batch, const axis_order *side,
                         const axis_order *inner) {
    axis_order order          = {0};
    const axis_order *part[3] = {batch, side, inner};
    index_set needed          = graph_view(c->g, factor).free;
    for (unsigned p = 0; p < 3; p++)
        for (unsigned i = 0; i < part[p]->rank; i++)
            if (needed & bit(part[p]->index[i]) & ~c->grid)
                order.index[order.rank++] = part[p]->index[i];
    order           = schedule_for_items(c, needed, &order);
    bool whole      = c->whole;
    c->whole        = false;
    uint32_t target = schedule_add_buffer(c, PLACE_WORKSPACE, 0, ELEMENT_FLOAT, &order);
    c->whole        = whole;
    /* what is the same for all blocks is copied once */
    bool outside      = c->open && !c->sink && !(needed & bit(c->open->row)) && !c->member[factor];
    axis_order ranged = c->ranged;
    if (outside)
        c->ranged = (axis_order){0};
    schedule_emit_copy(c, factor, target);
    c->ranged = ranged;
    if (outside)
        schedule_move_outside(c);
    return stored_operand(c, target);
}

/* What no step of a scan changes is copied before the scan, whole. */
static operand copy_operand(scheduler *c, node factor, const axis_order *batch, const axis_order *side,
                            const axis_order *inner) {
    if (!c->stepping || c->inside[factor])
        return copy_here(c, factor, batch, side, inner);
    const scheduler within = *c;
    c->sink                = NULL;
    c->grid = c->fixed = c->stepping = 0;
    c->ranged                        = (axis_order){0};
    operand copy                     = copy_here(c, factor, batch, side, inner);
    c->sink                          = within.sink;
    c->grid                          = within.grid;
    c->fixed                         = within.fixed;
    c->stepping                      = within.stepping;
    c->ranged                        = within.ranged;
    return copy;
}

static matrix as_matrix(scheduler *c, const operand *o, index_set batch, int64_t row_stride, int64_t column_stride) {
    matrix m = {
        .buffer = o->buffer, .row_stride = row_stride, .column_stride = column_stride, .offset_count = o->offset_count};
    memcpy(m.offset, o->offset, sizeof m.offset);
    memcpy(m.offset_stride, o->offset_stride, sizeof m.offset_stride);
    for (unsigned i = 0; i < graph_index_count(c->g); i++) {
        bool blocked = o->blocked >> i & 1, item = batch >> i & 1;
        if (!o->stride[i] || graph_index_extent(c->g, (index_id)i) == 1 ||
            (!item && (blocked || !is_ranged(c, (index_id)i))))
            continue;
        node value = graph_index_value(c->g, (index_id)i);
        if (blocked)
            value = graph_sub(c->g, value, graph_begin(c->g, (index_id)i));
        m.offset[m.offset_count]          = value;
        m.offset_stride[m.offset_count++] = o->stride[i];
    }
    return m;
}

static index_set set_of(const axis_order *order) {
    index_set set = 0;
    for (unsigned i = 0; i < order->rank; i++)
        set |= bit(order->index[i]);
    return set;
}

static void append(axis_order *order, const axis_order *more) {
    for (unsigned i = 0; i < more->rank; i++)
        order->index[order->rank++] = more->index[i];
}

static axis_order without_grid(const scheduler *c, const axis_order *order) {
    axis_order rest = {0};
    for (unsigned i = 0; i < order->rank; i++)
        if (!(c->grid & bit(order->index[i])))
            rest.index[rest.rank++] = order->index[i];
    return rest;
}

/* Indices that are walked in blocks move a matrix like a single index no more than one at a time, since the last block
 * of each is shorter. A sum over two of them, which adds to what is there, is one product for each value of the others:
 * of these, which all but the one that moves the operand least are. */
static index_set looped_over(const scheduler *c, const operand *o, index_set inner) {
    index_set looped = 0;
    axis_order order = by_stride(c, o, inner);
    unsigned ranged  = 0;
    for (unsigned i = order.rank; i-- > 0;)
        if (is_ranged(c, order.index[i]) && ranged++ > 0)
            looped |= bit(order.index[i]);
    return c->sink && c->growing ? looped : 0;
}

/* The columns of a result lie next to each other: where the target's last axis is one of its rows, the product is the
 * transposed one. */
static product turned_for(const scheduler *c, const product *p, uint32_t target) {
    if (target == NO_BUFFER)
        return *p;
    const buffer *b = &c->s->buffer[target];
    index_set last  = 0;
    for (unsigned a = 0; a < b->rank; a++)
        if (graph_index_extent(c->g, b->axis[a]) > 1)
            last = bit(b->axis[a]);
    if (!(last & p->rows))
        return *p;
    return transposed(p);
}

void schedule_emit_product(scheduler *c, node n, uint32_t forced_target) {
    product turned   = c->stepping ? schedule_product_of_item(c->product[n], c->grid)
                                   : of_item(turned_for(c, c->product[n], forced_target), c->grid);
    const product *p = &turned;
    operand a = read_operand(c, p->factor[0]), b = read_operand(c, p->factor[1]);
    axis_order looped = by_stride(c, &a, looped_over(c, &a, p->inner));
    turned.inner &= ~set_of(&looped);
    axis_order rows = by_stride(c, &a, p->rows), columns = by_stride(c, &b, p->columns);
    axis_order inner = by_stride(c, &a, p->inner), other = by_stride(c, &b, p->inner);
    axis_order batch = by_stride(c, &a, p->batch);

    /* inner indices must move both operands alike; copy the smaller where they do not */
    bool a_good = collapses(c, &a, &inner), b_good = collapses(c, &b, &other);
    bool agree = memcmp(inner.index, other.index, inner.rank * sizeof inner.index[0]) == 0;
    if (a_good && b_good && !agree) {
        if (graph_space(c->g, p->rows) < graph_space(c->g, p->columns))
            a_good = false;
        else
            b_good = false;
    }
    if (!a_good && b_good)
        inner = other;
    if (!a_good && !b_good && c->open && !c->sink)
        schedule_row_first(c, &inner);
    bool copy_a = !a_good, copy_b = !b_good;
    operand result     = {.buffer = forced_target};
    unsigned peel_rows = collapses_from(c, &a, &rows), peel_columns = collapses_from(c, &b, &columns);
    unsigned least_rows = 0, least_columns = 0;
    if (forced_target != NO_BUFFER) { /* they must move the result like one index too */
        result        = stored_operand(c, forced_target);
        least_rows    = collapses_from(c, &result, &rows);
        least_columns = collapses_from(c, &result, &columns);
    }
    /* one of the two strides of each operand must be 1 */
    if (!copy_a && stride_of(&a, &inner) != 1 && stride_of(&a, &rows) != 1 && inner.rank && rows.rank)
        copy_a = true;
    if (!copy_b && stride_of(&b, &inner) != 1 && stride_of(&b, &columns) != 1 && inner.rank && columns.rank)
        copy_b = true;
    axis_order each = batch;
    append(&each, &looped);
    if (copy_a) {
        a         = copy_operand(c, p->factor[0], &each, &rows, &inner);
        peel_rows = 0;
    }
    if (copy_b) {
        b            = copy_operand(c, p->factor[1], &each, &columns, &inner);
        peel_columns = 0;
    }

    peel_rows              = peel_rows < least_rows ? least_rows : peel_rows;
    peel_columns           = peel_columns < least_columns ? least_columns : peel_columns;
    axis_order peeled_rows = {0}, kept_rows = {0}, peeled_columns = {0}, kept_columns = {0}, layout = {0}, items = {0};
    for (unsigned i = 0; i < rows.rank; i++) {
        axis_order *to        = i < peel_rows ? &peeled_rows : &kept_rows;
        to->index[to->rank++] = rows.index[i];
    }
    for (unsigned i = 0; i < columns.rank; i++) {
        axis_order *to        = i < peel_columns ? &peeled_columns : &kept_columns;
        to->index[to->rank++] = columns.index[i];
    }
    append(&items, &batch);
    append(&items, &peeled_rows);
    append(&items, &peeled_columns);
    append(&layout, &batch);
    append(&layout, &rows);
    append(&layout, &columns);
    layout = without_grid(c, &layout);
    layout = schedule_for_items(c, graph_view(c->g, n).free, &layout);

    bool row_alone = c->open && !c->sink && !c->whole && (kept_rows.rank < 2 || kept_rows.index[0] != c->open->row) &&
                     (kept_columns.rank == 0 || kept_columns.index[0] != c->open->row);
    if (row_alone)
        schedule_row_first(c, &layout);
    uint32_t target =
        forced_target != NO_BUFFER ? forced_target : schedule_add_buffer(c, PLACE_WORKSPACE, 0, ELEMENT_FLOAT, &layout);
    c->s->buffer_of[n] = target;
    result             = stored_operand(c, target);
    if (schedule_gathers(c, n) && !c->sink)
        schedule_emit_start(c, n, target);

    int64_t column_count = graph_space(c->g, set_of(&kept_columns));
    index_set loops      = set_of(&items) | set_of(&looped);
    matrix ma = as_matrix(c, &a, loops, kept_rows.rank ? stride_of(&a, &kept_rows) : graph_space(c->g, p->inner),
                          inner.rank ? stride_of(&a, &inner) : 1);
    matrix mb = as_matrix(c, &b, loops, inner.rank ? stride_of(&b, &inner) : column_count,
                          kept_columns.rank ? stride_of(&b, &kept_columns) : 1);
    matrix mc = as_matrix(c, &result, loops, kept_rows.rank ? stride_of(&result, &kept_rows) : column_count, 1);
    schedule_fit_nodes(c);

    matrix_product *made = schedule_allocate(1, sizeof *made);
    *made                = (matrix_product){ma, mb, mc, kept_rows, kept_columns, inner, schedule_gathers(c, n)};
    if (c->sink) {
        statement *one = schedule_statement(STATEMENT_PRODUCT);
        one->product   = made;
        one            = schedule_loops(c, &looped, false, one);
        schedule_append(c->sink, schedule_loops(c, &items, true, one));
        return;
    }
    step *t    = schedule_add_step(c);
    t->kind    = STEP_PRODUCT;
    t->node    = n;
    t->product = made;
    t->batch   = items;
    t->items   = graph_space(c->g, loops);
    t->work    = 2 * graph_space(c->g, set_of(&kept_rows)) * column_count * graph_space(c->g, p->inner) * t->items;
}
