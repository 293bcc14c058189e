/* One walk over the steps in their order, with what is open at each point: indices that have a value, ranges, loops
 * whose iterations run at the same time. */
#include "tile_verify.h"

#include "enough.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct verifier {
    const schedule *s;
    const graph *g;
    uint32_t *buffer_of; /* as it is in this step */
    size_t nodes;
    /* the point */
    index_set open;               /* indices that have a value */
    index_set loops;              /* those of them that a loop gave one */
    index_set ranged;             /* indices that have a range of their own */
    int64_t block[GRAPH_INDICES]; /* how long that is at most; 0: not known */
    axis_order ranges;            /* those that steps gave, outermost first */
    index_set parallel;           /* loops whose iterations write different elements */
    node computing;               /* computed, though it has a buffer */
    index_id split;               /* of the step */
    /* buffers */
    bool *written;
    uint32_t *tile_step; /* which step uses a tile, plus 1; 0: none yet */
    /* node: under which open indices it was looked at for this statement */
    uint32_t *seen, stamp;
    index_set *seen_open;
    /* errors */
    uint32_t step;
    const statement *at; /* NULL: the step itself */
    bool failed;
    char *error;
    size_t size;
} verifier;

static const char *const kind_name[] = {"the for",          "the block",     "the if",    "the store",  "the reduction",
                                        "the accumulation", "the selection", "the solve", "the product"};

static bool has_target(const statement *s) {
    return s->kind == STATEMENT_STORE || s->kind == STATEMENT_REDUCE || s->kind == STATEMENT_ACCUMULATE ||
           s->kind == STATEMENT_TOPK || s->kind == STATEMENT_SOLVE;
}

static void describe(const verifier *v, char *text, size_t size) {
    const statement *s = v->at;
    if (!s)
        snprintf(text, size, "step %u", v->step);
    else if (s->kind == STATEMENT_FOR || s->kind == STATEMENT_BLOCK)
        snprintf(text, size, "step %u, %s over %s", v->step, kind_name[s->kind],
                 s->index < graph_index_count(v->g) ? graph_index_name(v->g, s->index) : "no index");
    else if (has_target(s))
        snprintf(text, size, "step %u, %s to buffer %u", v->step, kind_name[s->kind], s->target);
    else
        snprintf(text, size, "step %u, %s", v->step, kind_name[s->kind]);
}

/* The first violation is the one that is reported. Returns false. */
static bool fail(verifier *v, const char *format, ...) {
    if (v->failed)
        return false;
    v->failed = true;
    char where[128], what[256];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    describe(v, where, sizeof where);
    snprintf(v->error, v->size, "%s: %s", where, what);
    return false;
}

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

static const char *name_of(const verifier *v, index_id i) {
    return graph_index_name(v->g, i);
}

static bool is_index(verifier *v, index_id i) {
    return i < graph_index_count(v->g) || fail(v, "there is no index %u", i);
}

static bool is_node(verifier *v, node n) {
    return (n && n < v->nodes) || fail(v, "there is no node %%%u", n);
}

static bool is_type(verifier *v, node n, value_type type) {
    static const char *const name[] = {"a condition", "an integer", "a number"};
    return is_node(v, n) && (graph_view(v->g, n).type == type || fail(v, "%%%u is not %s", n, name[type]));
}

/* Buffers */

static int64_t length_of(const verifier *v, const buffer *b, unsigned axis) {
    return b->block[axis] ? b->block[axis] : graph_index_extent(v->g, b->axis[axis]);
}

/* No two elements are at one place: each stride is longer than all that shorter strides reach. */
static bool strides_apart(verifier *v, const buffer *b, uint32_t number) {
    int64_t reach          = 0;
    bool done[TENSOR_RANK] = {false};
    for (unsigned round = 0; round < b->rank; round++) {
        unsigned least = b->rank;
        for (unsigned a = 0; a < b->rank; a++)
            if (!done[a] && (least == b->rank || b->stride[a] < b->stride[least]))
                least = a;
        done[least]    = true;
        int64_t length = length_of(v, b, least);
        if (length > 1 && b->stride[least] <= reach)
            return fail(v, "elements of buffer %u share a place along %s", number, name_of(v, b->axis[least]));
        reach += (length - 1) * b->stride[least];
    }
    return b->elements > reach ||
           fail(v, "buffer %u has %lld elements and needs %lld", number, (long long)b->elements, (long long)reach + 1);
}

/* Tensors and outputs are as their callers have them. */
static bool as_given(verifier *v, const buffer *b, uint32_t number, unsigned rank, const index_id *index) {
    int64_t stride = 1;
    bool same      = b->rank == rank;
    for (unsigned a = rank; same && a-- > 0;) {
        same = b->axis[a] == index[a] && b->block[a] == 0 &&
               (b->stride[a] == stride || graph_index_extent(v->g, index[a]) == 1);
        stride *= graph_index_extent(v->g, index[a]);
    }
    return same || fail(v, "buffer %u is not as its tensor or output is", number);
}

static bool good_place(verifier *v, const buffer *b, uint32_t number) {
    if (b->place == PLACE_TENSOR) {
        if (b->number >= graph_tensor_count(v->g))
            return fail(v, "buffer %u: there is no tensor %u", number, b->number);
        const tensor *t = graph_tensor(v->g, b->number);
        return as_given(v, b, number, t->rank, t->index);
    }
    if (b->place == PLACE_OUTPUT) {
        if (b->number >= graph_output_count(v->g))
            return fail(v, "buffer %u: there is no output %u", number, b->number);
        const output *o = graph_output(v->g, b->number);
        return b->element == ELEMENT_FLOAT ? as_given(v, b, number, o->rank, o->index)
                                           : fail(v, "output buffer %u does not hold numbers", number);
    }
    return b->place == PLACE_WORKSPACE || b->place == PLACE_TILE || fail(v, "buffer %u has no place", number);
}

static bool good_buffer(verifier *v, uint32_t number) {
    const buffer *b = &v->s->buffer[number];
    index_set axes  = 0;
    if (b->rank > TENSOR_RANK)
        return fail(v, "buffer %u has %u axes", number, b->rank);
    for (unsigned a = 0; a < b->rank; a++) {
        if (!is_index(v, b->axis[a]))
            return false;
        if (axes & bit(b->axis[a]))
            return fail(v, "buffer %u has %s twice", number, name_of(v, b->axis[a]));
        if (b->stride[a] < 1 || b->block[a] < 0)
            return fail(v, "buffer %u has a stride or block below 1", number);
        axes |= bit(b->axis[a]);
    }
    return strides_apart(v, b, number) && good_place(v, b, number);
}

static bool in_workspace(verifier *v, const buffer *b, uint32_t number) {
    uint64_t bytes = (uint64_t)b->elements * (b->element == ELEMENT_BOOL ? 1 : 4);
    if (b->place != PLACE_WORKSPACE || (b->offset % 64 == 0 && b->offset + bytes <= v->s->workspace))
        return true;
    return fail(v, "buffer %u has no place in the workspace", number);
}

/* A buffer that is used here: there is such a one, its blocks are open, and no other step has it. */
static bool usable(verifier *v, uint32_t number) {
    if (number >= v->s->buffer_count)
        return fail(v, "there is no buffer %u", number);
    const buffer *b = &v->s->buffer[number];
    for (unsigned a = 0; a < b->rank; a++) {
        index_id i = b->axis[a];
        if (!b->block[a])
            continue;
        if (!(v->ranged & bit(i)))
            return fail(v, "buffer %u holds a block of %s, and none is open", number, name_of(v, i));
        if (v->block[i] > b->block[a])
            return fail(v, "buffer %u holds %lld values of %s, and its blocks have %lld", number,
                        (long long)b->block[a], name_of(v, i), (long long)v->block[i]);
    }
    if (b->place == PLACE_TILE && v->tile_step[number] && v->tile_step[number] != v->step + 1)
        return fail(v, "buffer %u is a tile of step %u", number, v->tile_step[number] - 1);
    v->tile_step[number] = v->step + 1;
    return in_workspace(v, b, number);
}

static bool readable(verifier *v, uint32_t number) {
    return usable(v, number) && (v->written[number] || v->s->buffer[number].place == PLACE_TENSOR ||
                                 fail(v, "buffer %u is read before anything writes it", number));
}

static bool writable(verifier *v, uint32_t number) {
    if (!usable(v, number))
        return false;
    if (v->s->buffer[number].place == PLACE_TENSOR)
        return fail(v, "writes to tensor %s", graph_tensor(v->g, v->s->buffer[number].number)->name);
    v->written[number] = true;
    return true;
}

static bool is_open(verifier *v, index_set needed) {
    needed &= ~v->open;
    return !needed || fail(v, "%s has no value here", name_of(v, (index_id)__builtin_ctzll(needed)));
}

static index_set axes_of(const buffer *b) {
    index_set axes = 0;
    for (unsigned a = 0; a < b->rank; a++)
        axes |= bit(b->axis[a]);
    return axes;
}

static bool addressed(verifier *v, uint32_t number) {
    return is_open(v, axes_of(&v->s->buffer[number]));
}

/* Expressions */

static bool expression(verifier *v, node n);

static bool children(verifier *v, node_view view) {
    for (unsigned i = 0; i < view.child_count; i++)
        if (!expression(v, view.child[i]))
            return false;
    return true;
}

static bool gather(verifier *v, node_view view) {
    index_set outer = v->open;
    for (unsigned i = 0; i + 1 < view.child_count; i++)
        if (!expression(v, view.child[i + 1]))
            return false;
    for (unsigned i = 0; i + 1 < view.child_count; i++)
        v->open |= bit(view.substituted[i]);
    bool good = expression(v, view.child[0]);
    v->open   = outer;
    return good;
}

/* A state is read where the step before wrote it, which may stand later in the text. */
static bool previous(verifier *v, node_view view) {
    node scan       = graph_scan_node(v->g, view.scan_label, view.scan_state);
    uint32_t number = scan ? v->buffer_of[scan] : NO_BUFFER;
    if (number == NO_BUFFER)
        return fail(v, "a state before the step is read, and its scan has no buffer");
    return is_open(v, bit(view.scan_index)) && usable(v, number) && addressed(v, number) &&
           expression(v, graph_scan_init(v->g, scan));
}

static bool computed(verifier *v, node n) {
    node_view view = graph_view(v->g, n);
    switch (view.op) {
    case NODE_FLOAT:
    case NODE_INT:
    case NODE_BEGIN:
    case NODE_END:
        return true;
    case NODE_INDEX:
    case NODE_RANDOM:
        return is_open(v, view.vars);
    case NODE_GATHER:
        return gather(v, view);
    case NODE_PREVIOUS:
        return previous(v, view);
    case NODE_HELD:
        return fail(v, "held.%lld has no buffer here", (long long)view.integer);
    default:
        return graph_op_is_pointwise(view.op) ? children(v, view)
                                              : fail(v, "%%%u, a %s, has no buffer here", n, graph_op_name(view.op));
    }
}

static bool expression(verifier *v, node n) {
    if (!is_node(v, n))
        return false;
    /* what is right is right where more is open */
    if (v->seen[n] == v->stamp && !(v->seen_open[n] & ~v->open))
        return true;
    v->seen[n]      = v->stamp;
    v->seen_open[n] = v->open;
    uint32_t number = v->buffer_of[n];
    if (number == NO_BUFFER || n == v->computing)
        return computed(v, n);
    return readable(v, number) && addressed(v, number);
}

static bool optional(verifier *v, node n) {
    return n == NODE_NONE || expression(v, n);
}

/* Statements */

static bool statements(verifier *v, const statement *list);

/* An index that a loop is about to give its values. */
static bool begins(verifier *v, index_id i) {
    return is_index(v, i) && (!(v->loops & bit(i)) || fail(v, "a loop over %s is open already", name_of(v, i)));
}

static void go(verifier *v, index_id i) {
    v->open |= bit(i);
    v->loops |= bit(i);
}

/* Indices of one value need no loop. */
static index_set of_one_value(const verifier *v) {
    index_set one = 0;
    for (unsigned i = 0; i < graph_index_count(v->g); i++)
        one |= graph_index_extent(v->g, (index_id)i) == 1 ? bit((index_id)i) : 0;
    return one;
}

/* Iterations that run at the same time write different elements. `moves`: indices with which the place moves. */
static bool written_apart(verifier *v, uint32_t target, index_set moves) {
    if (v->s->buffer[target].place == PLACE_TILE)
        return true;
    index_set same = v->parallel & ~moves & ~of_one_value(v);
    if (same)
        return fail(v, "iterations over %s are independent and write to one element",
                    name_of(v, (index_id)__builtin_ctzll(same)));
    if (v->split != GRAPH_INDICES && !(v->loops & bit(v->split)))
        return fail(v, "threads divide %s, and all of them write here", name_of(v, v->split));
    return true;
}

static bool fits_element(verifier *v, uint32_t target, value_type type) {
    static const char *const name[] = {"numbers", "integers", "conditions"};
    element_type element            = v->s->buffer[target].element;
    bool fits = element == ELEMENT_FLOAT || (element == ELEMENT_BOOL ? type == TYPE_BOOL : type != TYPE_FLOAT);
    return fits || fail(v, "buffer %u holds %s", target, name[element]);
}

static bool target_written(verifier *v, const statement *s, index_set scattered) {
    index_set moves = axes_of(&v->s->buffer[s->target]) & ~scattered;
    return writable(v, s->target) && addressed(v, s->target) && written_apart(v, s->target, moves) &&
           fits_element(v, s->target, graph_view(v->g, s->value).type);
}

static bool store(verifier *v, const statement *s) {
    return expression(v, s->value) && target_written(v, s, 0);
}

static bool of_kind(verifier *v, node n, node_op op) {
    const char *wanted = op == NODE_REDUCE ? "reduction" : op == NODE_SOLVE ? "solve" : "selection";
    return is_node(v, n) && (graph_view(v->g, n).op == op || fail(v, "%%%u is no %s", n, wanted));
}

static bool reduce(verifier *v, const statement *s) {
    index_set open = v->open, loops = v->loops;
    if (!of_kind(v, s->value, NODE_REDUCE) || (s->into && !readable(v, s->target)))
        return false;
    for (unsigned i = 0; i < s->var_count; i++) {
        if (!begins(v, s->var[i]))
            return false;
        go(v, s->var[i]);
    }
    bool good = (!s->domain || is_type(v, s->domain, TYPE_BOOL)) && optional(v, s->domain) && expression(v, s->summand);
    v->open   = open;
    v->loops  = loops;
    return good && target_written(v, s, 0);
}

static bool accumulate(verifier *v, const statement *s) {
    bool scattered = s->scatter != GRAPH_INDICES;
    index_set open = v->open;
    if (!of_kind(v, s->value, NODE_REDUCE) || !readable(v, s->target) || !optional(v, s->domain) ||
        !expression(v, s->summand))
        return false;
    if (scattered) {
        if (!is_index(v, s->scatter) || !is_type(v, s->scatter_to, TYPE_INT) || !expression(v, s->scatter_to))
            return false;
        if (!(axes_of(&v->s->buffer[s->target]) & bit(s->scatter)))
            return fail(v, "buffer %u has no axis %s to scatter along", s->target, name_of(v, s->scatter));
        v->open |= bit(s->scatter);
    }
    bool good = target_written(v, s, scattered ? bit(s->scatter) : 0);
    v->open   = open;
    return good;
}

static bool topk(verifier *v, const statement *s) {
    index_set open = v->open, loops = v->loops;
    bool list = is_node(v, s->value) && graph_view(v->g, s->value).op == NODE_CHOSEN;
    if (!of_kind(v, s->value, list ? NODE_CHOSEN : NODE_TOPK) || !begins(v, s->index))
        return false;
    node_view view  = graph_view(v->g, s->value);
    index_id answer = list ? (index_id)__builtin_ctzll(view.vars) : s->index;
    if (view.scan_index != s->index)
        return fail(v, "%%%u does not select along %s", s->value, name_of(v, s->index));
    go(v, s->index);
    bool good = children(v, view);
    v->open   = open;
    v->loops  = loops;
    if (good && list && v->ranged & bit(answer))
        good = fail(v, "a block of %s is open where a list along it is made", name_of(v, answer));
    if (good && begins(v, answer)) {
        go(v, answer);
        good = target_written(v, s, 0);
        if (good && !(axes_of(&v->s->buffer[s->target]) & bit(answer)))
            good = fail(v, "buffer %u has no axis %s", s->target, name_of(v, answer));
    } else {
        good = false;
    }
    v->open  = open;
    v->loops = loops;
    return good;
}

/* The statement says what its node does: along which row, in which direction, in which triangle. */
static bool solves(verifier *v, const statement *s, node_view view, index_id column) {
    if (view.scan_index != s->index || view.reverse != s->reverse)
        return fail(v, "%%%u is not solved along %s that way", s->value, name_of(v, s->index));
    if (!is_type(v, s->domain, TYPE_BOOL))
        return false;
    node_view d   = graph_view(v->g, s->domain);
    index_set low = bit(s->reverse ? s->index : column), high = bit(s->reverse ? column : s->index);
    bool triangle = d.op == NODE_LESS && graph_view(v->g, d.child[0]).op == NODE_INDEX &&
                    graph_view(v->g, d.child[1]).op == NODE_INDEX && graph_view(v->g, d.child[0]).vars == low &&
                    graph_view(v->g, d.child[1]).vars == high;
    return triangle || fail(v, "%%%u is not the triangle that counts", s->domain);
}

/* Whole rows are made of whole rows. */
static bool whole(verifier *v, index_id i) {
    return begins(v, i) &&
           (!(v->ranged & bit(i)) || fail(v, "a solve needs all of %s, and a block of it is open", name_of(v, i)));
}

static bool solve(verifier *v, const statement *s) {
    index_set open = v->open, loops = v->loops;
    if (!of_kind(v, s->value, NODE_SOLVE))
        return false;
    node_view view  = graph_view(v->g, s->value);
    index_id column = graph_solve_column(v->g, s->value);
    if (!whole(v, s->index) || !whole(v, column) || !solves(v, s, view, column))
        return false;
    if (s->var_count > 1)
        return fail(v, "it goes along %u indices at once", s->var_count);
    go(v, s->index);
    if (s->var_count && (!begins(v, s->var[0]) || s->var[0] == column))
        return fail(v, "it goes along its column");
    if (s->var_count && graph_view(v->g, view.child[0]).free & bit(s->var[0]))
        return fail(v, "its matrix depends on %s", name_of(v, s->var[0]));
    if (s->var_count)
        go(v, s->var[0]);
    bool good      = expression(v, view.child[1]) && target_written(v, s, 0);
    index_set axes = axes_of(&v->s->buffer[s->target]);
    if (good && !(axes & bit(s->index)))
        good = fail(v, "buffer %u has no axis %s", s->target, name_of(v, s->index));
    v->open |= bit(column);
    good     = good && expression(v, view.child[0]);
    v->open  = open;
    v->loops = loops;
    return good;
}

/* Products */

/* As many values at most; 0: not known. */
static int64_t values_of(const verifier *v, const axis_order *order) {
    int64_t count = 1;
    for (unsigned i = 0; i < order->rank; i++)
        count *=
            v->ranged & bit(order->index[i]) ? v->block[order->index[i]] : graph_index_extent(v->g, order->index[i]);
    return count;
}

static bool good_order(verifier *v, const axis_order *order, const char *what) {
    for (unsigned i = 0; i < order->rank; i++) {
        if (!begins(v, order->index[i]))
            return false;
        if (i > 0 && v->ranged & bit(order->index[i]))
            return fail(v, "%s is inside the %s and has a range of its own", name_of(v, order->index[i]), what);
        go(v, order->index[i]);
    }
    return true;
}

static bool matrix_base(verifier *v, const matrix *m, const char *name) {
    if (m->buffer >= v->s->buffer_count)
        return fail(v, "there is no buffer %u", m->buffer);
    if (v->s->buffer[m->buffer].element != ELEMENT_FLOAT)
        return fail(v, "matrix %s does not hold numbers", name);
    if (m->offset_count > TENSOR_RANK)
        return fail(v, "matrix %s has %u offsets", name, m->offset_count);
    for (unsigned i = 0; i < m->offset_count; i++)
        if (!is_type(v, m->offset[i], TYPE_INT) || !expression(v, m->offset[i]))
            return false;
    return true;
}

static bool matrix_strides(verifier *v, const matrix *m, const char *name, int64_t rows, int64_t columns) {
    bool good = m->row_stride == 1 || m->column_stride == 1 || rows == 1 || columns == 1;
    return good || fail(v, "neither stride of matrix %s is 1", name);
}

static index_set moved_by(const verifier *v, const matrix *m) {
    index_set moves = 0;
    for (unsigned i = 0; i < m->offset_count; i++)
        moves |= m->offset_stride[i] ? graph_view(v->g, m->offset[i]).free : 0;
    return moves;
}

static bool product(verifier *v, const matrix_product *p) {
    if (!p)
        return fail(v, "there are no matrices");
    index_set open = v->open, loops = v->loops;
    bool good = good_order(v, &p->rows, "rows") && good_order(v, &p->columns, "columns") &&
                good_order(v, &p->inner, "inner indices") && matrix_base(v, &p->a, "A") && matrix_base(v, &p->b, "B") &&
                matrix_base(v, &p->c, "C");
    v->open  = open;
    v->loops = loops;
    if (!good)
        return false;
    int64_t rows = values_of(v, &p->rows), columns = values_of(v, &p->columns), inner = values_of(v, &p->inner);
    if (p->c.column_stride != 1)
        return fail(v, "C does not have a column stride of 1");
    return matrix_strides(v, &p->a, "A", rows, inner) && matrix_strides(v, &p->b, "B", inner, columns) &&
           readable(v, p->a.buffer) && readable(v, p->b.buffer) && (!p->into || readable(v, p->c.buffer)) &&
           writable(v, p->c.buffer) && written_apart(v, p->c.buffer, moved_by(v, &p->c));
}

/* Loops, blocks, conditions */

static bool for_loop(verifier *v, const statement *s) {
    index_set open = v->open, loops = v->loops, parallel = v->parallel;
    if (!begins(v, s->index))
        return false;
    go(v, s->index);
    v->parallel |= s->parallel ? bit(s->index) : 0;
    bool good   = statements(v, s->body);
    v->open     = open;
    v->loops    = loops;
    v->parallel = parallel;
    return good;
}

static bool range_begins(verifier *v, index_id i, int64_t block, node lo, node hi, bool once) {
    if (!is_index(v, i))
        return false;
    if (v->ranged & bit(i))
        return fail(v, "a block of %s is open already", name_of(v, i));
    if (v->loops & bit(i))
        return fail(v, "blocks of %s inside a loop over it", name_of(v, i));
    if (block < 0 || (block == 0 && !once))
        return fail(v, "blocks of %lld values", (long long)block);
    return (!lo || (is_type(v, lo, TYPE_INT) && expression(v, lo))) &&
           (!hi || (is_type(v, hi, TYPE_INT) && expression(v, hi)));
}

static void range_opens(verifier *v, index_id i, int64_t block) {
    int64_t extent = graph_index_extent(v->g, i);
    v->ranged |= bit(i);
    v->block[i] = block < extent ? block : extent;
}

static bool block(verifier *v, const statement *s) {
    if (!range_begins(v, s->index, s->block, s->lo, s->hi, s->once))
        return false;
    range_opens(v, s->index, s->block);
    index_set parallel = v->parallel;
    v->parallel |= s->parallel ? bit(s->index) : 0;
    bool good   = statements(v, s->body);
    v->parallel = parallel;
    v->ranged &= ~bit(s->index);
    return good;
}

static bool condition(verifier *v, const statement *s) {
    if (!is_type(v, s->condition, TYPE_BOOL) || !expression(v, s->condition))
        return false;
    return (!s->assumed || is_type(v, s->assumed, TYPE_BOOL)) && statements(v, s->body) && statements(v, s->otherwise);
}

static bool one_statement(verifier *v, const statement *s) {
    v->at        = s;
    v->computing = NODE_NONE;
    v->stamp++;
    if (has_target(s)) {
        if (s->target >= v->s->buffer_count)
            return fail(v, "there is no buffer %u", s->target);
        if (!is_node(v, s->value))
            return false;
        v->computing = v->buffer_of[s->value] == s->target ? s->value : NODE_NONE;
    }
    switch (s->kind) {
    case STATEMENT_FOR:
        return for_loop(v, s);
    case STATEMENT_BLOCK:
        return block(v, s);
    case STATEMENT_IF:
        return condition(v, s);
    case STATEMENT_STORE:
        return store(v, s);
    case STATEMENT_REDUCE:
        return reduce(v, s);
    case STATEMENT_ACCUMULATE:
        return accumulate(v, s);
    case STATEMENT_TOPK:
        return topk(v, s);
    case STATEMENT_SOLVE:
        return solve(v, s);
    case STATEMENT_PRODUCT:
        return product(v, s->product);
    }
    return fail(v, "there is no such statement");
}

static bool statements(verifier *v, const statement *list) {
    for (; list; list = list->next)
        if (!one_statement(v, list))
            return false;
    return true;
}

/* Steps */

/* The loops whose iterations are divided among threads. */
static bool items(verifier *v, const step *t) {
    int64_t count  = 1;
    index_set over = 0;
    if (t->split != GRAPH_INDICES) {
        if (!is_index(v, t->split))
            return false;
        over  = bit(t->split);
        count = graph_index_extent(v->g, t->split);
    } else {
        const statement *s = t->body;
        for (unsigned i = 0; i < t->parallel_count; i++, s = s->body) {
            bool last = i + 1 == t->parallel_count && s && s->kind == STATEMENT_BLOCK;
            if (!s || s->next || !s->parallel || (s->kind != STATEMENT_FOR && !last))
                return fail(v, "its items are not loops of independent iterations, one in the other");
            if (!is_index(v, s->index))
                return false;
            over |= bit(s->index);
            if (last && (s->once || s->lo || s->hi || s->block <= 0))
                return fail(v, "its items are blocks of some values of %s, not of all", name_of(v, s->index));
            count *= last ? (graph_index_extent(v->g, s->index) + s->block - 1) / s->block
                          : graph_index_extent(v->g, s->index);
        }
    }
    bool good = t->items == count || (over & v->ranged && t->items < count);
    return good || fail(v, "it has %lld items and says %lld", (long long)count, (long long)t->items);
}

static bool nest(verifier *v, const step *t) {
    if (!items(v, t))
        return false;
    v->split  = t->split;
    bool good = statements(v, t->body);
    v->split  = GRAPH_INDICES;
    return good;
}

static bool batch(verifier *v, const step *t) {
    int64_t count  = 1;
    index_set open = v->open, loops = v->loops, over = 0;
    for (unsigned i = 0; i < t->batch.rank; i++) {
        if (!begins(v, t->batch.index[i]))
            return false;
        go(v, t->batch.index[i]);
        over |= bit(t->batch.index[i]);
        count *= graph_index_extent(v->g, t->batch.index[i]);
    }
    if (t->items != count && !(over & v->ranged && t->items < count))
        return fail(v, "it has %lld items and says %lld", (long long)count, (long long)t->items);
    v->parallel = over;
    bool good   = product(v, t->product);
    v->parallel = 0;
    v->open     = open;
    v->loops    = loops;
    return good;
}

static uint32_t steps(verifier *v, uint32_t from, uint32_t to);

static bool blocks(verifier *v, const step *t, uint32_t end) {
    uint32_t first = v->step + 1;
    if (!range_begins(v, t->index, t->block, t->lo, t->hi, t->once))
        return false;
    if (t->inside == 0 || t->inside > end - first)
        return fail(v, "%u steps inside, and %u are left", t->inside, end - first);
    if (v->ranges.rank == TENSOR_RANK)
        return fail(v, "more than %u blocks inside each other", TENSOR_RANK);
    v->ranges.index[v->ranges.rank++] = t->index;
    range_opens(v, t->index, t->block);
    steps(v, first, first + t->inside);
    v->ranged &= ~bit(t->index);
    v->ranges.rank--;
    return !v->failed;
}

static bool says_its_ranges(verifier *v, const step *t) {
    bool same = t->ranged.rank == v->ranges.rank &&
                memcmp(t->ranged.index, v->ranges.index, v->ranges.rank * sizeof *v->ranges.index) == 0;
    return same || fail(v, "the indices it says have a range are not those of the blocks around it");
}

static void exchange(verifier *v, const step *t, uint32_t *held, bool enter) {
    for (uint32_t k = 0; k < t->local_count; k++) {
        uint32_t i            = enter ? k : t->local_count - 1 - k;
        const placement *p    = &t->local[i];
        uint32_t other        = enter ? p->buffer : held[i];
        held[i]               = v->buffer_of[p->node];
        v->buffer_of[p->node] = other;
    }
}

static bool good_local(verifier *v, const step *t) {
    for (uint32_t i = 0; i < t->local_count; i++)
        if (!is_node(v, t->local[i].node))
            return false;
        else if (t->local[i].buffer != NO_BUFFER && t->local[i].buffer >= v->s->buffer_count)
            return fail(v, "there is no buffer %u", t->local[i].buffer);
    return true;
}

static bool one_step(verifier *v, const step *t, uint32_t end) {
    if (t->kind == STEP_NEST)
        return nest(v, t);
    if (t->kind == STEP_PRODUCT)
        return batch(v, t);
    return t->kind == STEP_BLOCKS ? blocks(v, t, end) : fail(v, "there is no such step");
}

/* Returns the number of the step after them. */
static uint32_t steps(verifier *v, uint32_t from, uint32_t to) {
    while (from < to && !v->failed) {
        const step *t = &v->s->step[from];
        v->step       = from;
        v->at         = NULL;
        v->computing  = NODE_NONE;
        v->stamp++;
        if (!says_its_ranges(v, t) || !good_local(v, t))
            break;
        uint32_t *held = enough(calloc((size_t)t->local_count + 1, sizeof *held));
        exchange(v, t, held, true);
        one_step(v, t, to);
        exchange(v, t, held, false);
        free(held);
        from += 1 + (t->kind == STEP_BLOCKS ? t->inside : 0);
    }
    return from;
}

static void all_outputs(verifier *v) {
    bool *there = enough(calloc((size_t)graph_output_count(v->g) + 1, 1));
    for (uint32_t i = 0; i < v->s->buffer_count; i++)
        if (v->s->buffer[i].place == PLACE_OUTPUT && v->written[i])
            there[v->s->buffer[i].number] = true;
    v->at = NULL;
    for (uint32_t i = 0; i < graph_output_count(v->g); i++)
        if (!there[i])
            fail(v, "at the end nothing has written output %s", graph_output(v->g, i)->name);
    free(there);
}

static void all(verifier *v) {
    for (uint32_t i = 0; i < v->s->buffer_count; i++)
        if (!good_buffer(v, i))
            return;
    v->open = of_one_value(v);
    steps(v, 0, v->s->step_count);
    if (!v->failed)
        all_outputs(v);
}

bool tile_verify(const schedule *s, char *error, size_t size) {
    size_t nodes = graph_node_count(s->graph) + 1;
    verifier v   = {.s = s, .g = s->graph, .nodes = nodes, .split = GRAPH_INDICES, .error = error, .size = size};
    v.buffer_of  = enough(malloc(nodes * sizeof *v.buffer_of));
    v.written    = enough(calloc((size_t)s->buffer_count + 1, sizeof *v.written));
    v.tile_step  = enough(calloc((size_t)s->buffer_count + 1, sizeof *v.tile_step));
    v.seen       = enough(calloc(nodes, sizeof *v.seen));
    v.seen_open  = enough(calloc(nodes, sizeof *v.seen_open));
    memcpy(v.buffer_of, s->buffer_of, nodes * sizeof *v.buffer_of);
    all(&v);
    free(v.buffer_of);
    free(v.written);
    free(v.tile_step);
    free(v.seen);
    free(v.seen_open);
    return !v.failed;
}
