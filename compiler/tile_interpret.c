/* Every element of a buffer has a stamp that says whether it was written since the buffer was last emptied, and knows
 * which item of which step wrote it; every byte of the workspace knows which buffer wrote it. A value that depends on
 * an element nothing has written is itself marked, by a payload that no computation makes, until it is dropped or
 * somebody stores it. */
#include "tile_interpret.h"

#include "enough.h"
#include "interpret.h"
#include "philox.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MEMO_SIZE = 1 << 12 };

/* Outside a loop that makes items: what all threads do, or the only one. */
enum { NO_ITEM = -1 };

/* Who wrote an element last. */
typedef struct writing {
    uint32_t stamp; /* that of the memory at the time */
    uint32_t run;   /* of a step */
    int64_t item;
} writing;

typedef struct memory {
    double *value;
    writing *by; /* NULL: a tensor, which holds all of it */
    uint32_t stamp;
    int64_t span;      /* elements from the first to the last */
    index_set blocked; /* indices of which it holds a block */
} memory;

typedef struct machine {
    schedule *s;
    const graph *g;
    const double *const *tensor;
    uint64_t seed;
    bool single;
    memory *memory;  /* buffer */
    uint32_t *owner; /* byte of the workspace: the buffer that wrote it */
    /* the point */
    index_set open; /* indices that have a value */
    int64_t at[GRAPH_INDICES];
    int64_t begin[GRAPH_INDICES], end[GRAPH_INDICES];
    index_set substituted; /* by the gathers being evaluated */
    node computing;        /* computed, though it has a buffer */
    uint32_t run;          /* how many steps have begun */
    int64_t item;          /* which one of the step's items this is */
    int64_t items;         /* of the step, so far */
    index_id split;        /* of the step */
    uint32_t *assumed;     /* node: how many open conditions say that it holds */
    /* what was evaluated at a point, some of it */
    uint64_t stamp, last_stamp;
    struct remembered {
        uint64_t stamp;
        node node;
        double value;
    } memo[MEMO_SIZE];
    /* errors */
    uint32_t step, missing_buffer;
    int64_t missing_element;
    const char *doing;
    bool failed;
    char *error;
    size_t size;
} machine;

/* The first error is the one that is reported; after it nothing is done any more. */
static void fail(machine *m, const char *format, ...) {
    if (m->failed)
        return;
    m->failed = true;
    char what[256];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    snprintf(m->error, m->size, "step %u, %s: %s", m->step, m->doing, what);
}

/* Values that depend on what nothing has written */

static const uint64_t UNWRITTEN = 0x7FFCA5A5DEADBEEF; /* a quiet NaN */

static double unwritten(void) {
    double x;
    memcpy(&x, &UNWRITTEN, sizeof x);
    return x;
}

static bool is_unwritten(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits == UNWRITTEN;
}

/* x, where something depends on it. */
static double needed(machine *m, double x) {
    if (!is_unwritten(x))
        return x;
    fail(m, "needs element %lld of buffer %u, which nothing has written", (long long)m->missing_element,
         m->missing_buffer);
    return 0;
}

static double rounded(const machine *m, value_type type, double x) {
    return m->single && type == TYPE_FLOAT && !is_unwritten(x) ? (double)(float)x : x;
}

/* Buffers */

static int64_t length_of(const graph *g, const buffer *b, unsigned axis) {
    return b->block[axis] ? b->block[axis] : graph_index_extent(g, b->axis[axis]);
}

static void new_memory(machine *m, uint32_t number) {
    const buffer *b = &m->s->buffer[number];
    memory *held    = &m->memory[number];
    held->stamp     = 1;
    held->span      = 1;
    for (unsigned a = 0; a < b->rank; a++) {
        held->span += (length_of(m->g, b, a) - 1) * b->stride[a];
        held->blocked |= b->block[a] ? (index_set)1 << b->axis[a] : 0;
    }
    if (b->place == PLACE_TENSOR)
        return;
    held->value = enough(calloc((size_t)held->span, sizeof *held->value));
    held->by    = enough(calloc((size_t)held->span, sizeof *held->by));
}

static void empty_tiles(machine *m) {
    for (uint32_t i = 0; i < m->s->buffer_count; i++)
        if (m->s->buffer[i].place == PLACE_TILE)
            m->memory[i].stamp++;
}

/* What is kept of the blocks of an index is gone when its next block begins. */
static void empty_blocks(machine *m, index_id index) {
    for (uint32_t i = 0; i < m->s->buffer_count; i++)
        if (m->memory[i].blocked >> index & 1)
            m->memory[i].stamp++;
}

/* The element at the point; -1 where there is none. */
static int64_t address(machine *m, uint32_t number) {
    const buffer *b = &m->s->buffer[number];
    int64_t offset  = 0;
    for (unsigned a = 0; a < b->rank; a++) {
        index_id i       = b->axis[a];
        int64_t position = m->at[i] - (b->block[a] ? m->begin[i] : 0);
        if (!(m->open >> i & 1)) {
            fail(m, "buffer %u needs %s, which has no value here", number, graph_index_name(m->g, i));
            return -1;
        }
        if (position < 0 || position >= length_of(m->g, b, a)) {
            fail(m, "%s = %lld is outside buffer %u", graph_index_name(m->g, i), (long long)m->at[i], number);
            return -1;
        }
        offset += position * b->stride[a];
    }
    return offset;
}

static uint64_t bytes_of(const buffer *b) {
    return b->element == ELEMENT_BOOL ? 1 : 4;
}

/* The bytes of an element of a workspace buffer: are they its own (or, `take`, made so)? */
static bool owns(machine *m, uint32_t number, int64_t element, bool take) {
    const buffer *b = &m->s->buffer[number];
    uint64_t bytes = bytes_of(b), first = b->offset + (uint64_t)element * bytes;
    if (first + bytes > m->s->workspace) {
        fail(m, "element %lld of buffer %u is outside the workspace", (long long)element, number);
        return false;
    }
    bool own = true;
    for (uint64_t i = first; i < first + bytes; i++) {
        own &= m->owner[i] == number;
        if (take)
            m->owner[i] = number;
    }
    return own || take;
}

/* Another item of this step may run at the same time, or in another thread. What is done outside of items is done
 * before or after them by the same thread. */
static bool by_another_item(const machine *m, const writing *by) {
    return by->run == m->run && by->item != m->item && by->item != NO_ITEM;
}

static double read_element(machine *m, uint32_t number, int64_t element) {
    const buffer *b    = &m->s->buffer[number];
    const memory *held = &m->memory[number];
    if (element < 0 || element >= held->span) {
        fail(m, "reads element %lld of buffer %u, which has %lld", (long long)element, number, (long long)held->span);
        return 0;
    }
    if (b->place == PLACE_TENSOR)
        return rounded(m, b->element == ELEMENT_FLOAT ? TYPE_FLOAT : TYPE_INT, m->tensor[b->number][element]);
    const writing *by = &held->by[element];
    bool written      = by->stamp == held->stamp && (b->place != PLACE_WORKSPACE || owns(m, number, element, false));
    if (written && by_another_item(m, by))
        fail(m, "reads element %lld of buffer %u, which another item wrote", (long long)element, number);
    if (written)
        return held->value[element];
    m->missing_buffer  = number;
    m->missing_element = element;
    return unwritten();
}

/* What memory makes of a value: integers keep their lower 32 bits. */
static double as_element(const machine *m, element_type type, double x) {
    if (type == ELEMENT_BOOL)
        return x != 0;
    if (type == ELEMENT_FLOAT)
        return rounded(m, TYPE_FLOAT, x);
    int64_t whole = x >= 0x1p63 ? INT64_MAX : x < -0x1p63 ? INT64_MIN : isnan(x) ? 0 : (int64_t)x;
    return (int32_t)(uint32_t)whole;
}

static void write_element(machine *m, uint32_t number, int64_t element, double x) {
    const buffer *b = &m->s->buffer[number];
    memory *held    = &m->memory[number];
    if (b->place == PLACE_TENSOR)
        fail(m, "writes to tensor %s", graph_tensor(m->g, b->number)->name);
    else if (element < 0 || element >= held->span)
        fail(m, "writes element %lld of buffer %u, which has %lld", (long long)element, number, (long long)held->span);
    else if (b->place != PLACE_TILE && held->by[element].stamp == held->stamp && by_another_item(m, &held->by[element]))
        fail(m, "writes element %lld of buffer %u, which another item wrote", (long long)element, number);
    x = needed(m, x);
    if (m->failed || (b->place == PLACE_WORKSPACE && !owns(m, number, element, true)))
        return;
    held->value[element] = as_element(m, b->element, x);
    held->by[element]    = (writing){held->stamp, m->run, m->item};
}

static double load(machine *m, uint32_t number, value_type type) {
    int64_t element = address(m, number);
    double x        = m->failed ? 0 : read_element(m, number, element);
    if (is_unwritten(x) || m->s->buffer[number].element != ELEMENT_FLOAT)
        return x;
    return type == TYPE_BOOL ? x != 0 : type == TYPE_INT ? trunc(x) : x; /* an output holds numbers only */
}

static void store(machine *m, uint32_t number, double x) {
    int64_t element = address(m, number);
    if (!m->failed)
        write_element(m, number, element, x);
}

/* Expressions */

static double evaluate(machine *m, node n);

/* The next evaluations are somewhere else, or see other memory. */
static void new_point(machine *m) {
    m->stamp = ++m->last_stamp;
}

static int64_t whole(machine *m, node n) {
    return (int64_t)needed(m, evaluate(m, n));
}

static double gather(machine *m, node_view v) {
    unsigned count = v.child_count - 1;
    int64_t to[GRAPH_INDICES], before[GRAPH_INDICES];
    bool outside = false;
    for (unsigned i = 0; i < count; i++) {
        double x = evaluate(m, v.child[i + 1]);
        if (is_unwritten(x))
            return x;
        outside |= !(x >= 0 && x < (double)graph_index_extent(m->g, v.substituted[i]));
        to[i] = outside ? 0 : (int64_t)x;
    }
    if (outside)
        return 0;
    index_set open = m->open, substituted = m->substituted;
    uint64_t stamp = m->stamp;
    memcpy(before, m->at, sizeof before);
    for (unsigned i = 0; i < count; i++) {
        m->at[v.substituted[i]] = to[i];
        m->open |= (index_set)1 << v.substituted[i];
        m->substituted |= (index_set)1 << v.substituted[i];
    }
    new_point(m);
    double x = evaluate(m, v.child[0]);
    memcpy(m->at, before, sizeof before);
    m->open        = open;
    m->substituted = substituted;
    m->stamp       = stamp;
    return x;
}

/* Gives the point a value of an index for as long as it takes to load. */
static double load_at(machine *m, uint32_t number, value_type type, index_id i, int64_t value) {
    int64_t before = m->at[i];
    m->at[i]       = value;
    double x       = load(m, number, type);
    m->at[i]       = before;
    return x;
}

static bool is_open(machine *m, index_id i) {
    if (!(m->open >> i & 1))
        fail(m, "%s has no value here", graph_index_name(m->g, i));
    return !m->failed;
}

/* The state before this step: the scan's result one step back, or the initial state. */
static double previous(machine *m, node_view v) {
    node scan = graph_scan_node(m->g, v.scan_label, v.scan_state);
    if (!is_open(m, v.scan_index))
        return 0;
    int64_t here = m->at[v.scan_index];
    if (here == (v.reverse ? graph_index_extent(m->g, v.scan_index) - 1 : 0))
        return evaluate(m, graph_scan_init(m->g, scan));
    if (m->s->buffer_of[scan] == NO_BUFFER) {
        fail(m, "the state of scan %%%u has no buffer", scan);
        return 0;
    }
    return load_at(m, m->s->buffer_of[scan], v.type, v.scan_index, here + (v.reverse ? 1 : -1));
}

static double random_value(machine *m, node_view v) {
    uint64_t element = 0;
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (v.vars >> i & 1 && is_open(m, (index_id)i))
            element = element * (uint64_t)graph_index_extent(m->g, (index_id)i) + (uint64_t)m->at[i];
    return philox_uniform(m->seed, (uint32_t)v.integer, element);
}

static double pointwise(machine *m, node_view v) {
    double x[3]  = {0, 0, 0};
    bool missing = false;
    for (unsigned i = 0; i < v.child_count; i++) {
        x[i] = evaluate(m, v.child[i]);
        missing |= is_unwritten(x[i]);
    }
    if (!missing)
        return interpret_operation(v.op, v.type, x);
    if (v.op == NODE_SELECT && !is_unwritten(x[0]))
        return x[0] != 0 ? x[1] : x[2];
    for (unsigned i = 0; i < 2; i++) /* the other side decides */
        if ((v.op == NODE_AND && x[i] == 0) || (v.op == NODE_OR && !is_unwritten(x[i]) && x[i] != 0))
            return v.op == NODE_OR;
    return unwritten();
}

static double compute(machine *m, node n) {
    node_view v = graph_view(m->g, n);
    index_id i;
    switch (v.op) {
    case NODE_FLOAT:
        return v.number;
    case NODE_INT:
        return (double)v.integer;
    case NODE_INDEX:
        i = (index_id)__builtin_ctzll(v.vars);
        return is_open(m, i) ? (double)m->at[i] : 0;
    case NODE_BEGIN:
        return (double)m->begin[v.scan_index];
    case NODE_END:
        return (double)m->end[v.scan_index];
    case NODE_GATHER:
        return gather(m, v);
    case NODE_PREVIOUS:
        return previous(m, v);
    case NODE_RANDOM:
        return random_value(m, v);
    default:
        if (graph_op_is_pointwise(v.op))
            return pointwise(m, v);
        fail(m, "%%%u, a %s, has no buffer here", n, graph_op_name(v.op));
        return 0;
    }
}

/* A condition that is assumed is not read by machine code: it holds, or the schedule is wrong. */
static double assume(machine *m, node n, double x) {
    if (!m->assumed[n] || (graph_view(m->g, n).free & m->substituted))
        return x;
    if (x == 0 && !m->failed)
        fail(m, "%%%u is assumed to hold and does not", n);
    return 1;
}

static double evaluate(machine *m, node n) {
    if (m->failed)
        return 0;
    struct remembered *r = &m->memo[(n * 0x9E3779B9u ^ (uint32_t)m->stamp * 0x85EBCA6Bu) % MEMO_SIZE];
    if (r->stamp == m->stamp && r->node == n)
        return r->value;
    uint64_t stamp  = m->stamp;
    uint32_t number = m->s->buffer_of[n];
    value_type type = graph_view(m->g, n).type;
    double x        = number != NO_BUFFER && n != m->computing ? load(m, number, type) : compute(m, n);
    x               = assume(m, n, rounded(m, type, x));
    *r              = (struct remembered){stamp, n, x};
    return x;
}

/* Statements */

static void run_list(machine *m, const statement *list, unsigned items);

/* The value of an index and whether it has one, to go back to. */
typedef struct place {
    bool open;
    int64_t at;
} place;

static place place_of(const machine *m, index_id i) {
    return (place){m->open >> i & 1, m->at[i]};
}

static void go(machine *m, index_id i, int64_t value) {
    m->open |= (index_set)1 << i;
    m->at[i] = value;
}

static void go_back(machine *m, index_id i, place before) {
    if (!before.open)
        m->open &= ~((index_set)1 << i);
    m->at[i] = before.at;
}

/* items: how many loops from here on make items, whose tiles are empty when one begins: another thread may have run the
 * one before. */
static void run_for(machine *m, const statement *s, unsigned items) {
    place before  = place_of(m, s->index);
    int64_t begin = m->begin[s->index], end = m->end[s->index];
    int64_t item = m->item;
    for (int64_t k = begin; k < end && !m->failed; k++) {
        go(m, s->index, s->reverse ? begin + end - 1 - k : k);
        if (items == 1) {
            empty_tiles(m);
            m->item = m->items++;
        } else if (s->index == m->split) {
            m->item = m->at[s->index];
        }
        run_list(m, s->body, items ? items - 1 : 0);
    }
    m->item = item;
    go_back(m, s->index, before);
}

/* Blocks of an index, of a statement or of steps; each an item, or not. */
typedef struct blocks {
    index_id index;
    int64_t block;
    node lo, hi;
    bool once, items, reverse;
} blocks;

typedef struct span {
    int64_t begin, end;
} span;

static void open_range(machine *m, index_id i, span range) {
    if (range.begin < range.end && (range.begin < 0 || range.end > graph_index_extent(m->g, i)))
        fail(m, "block [%lld, %lld) of %s is outside its %lld values", (long long)range.begin, (long long)range.end,
             graph_index_name(m->g, i), (long long)graph_index_extent(m->g, i));
    m->begin[i] = range.begin;
    m->end[i]   = range.end;
    empty_blocks(m, i);
}

/* Calls body for each block. */
static void run_blocks(machine *m, const blocks *b, void (*body)(machine *, const void *), const void *what) {
    new_point(m);
    uint32_t step     = m->step;
    const char *which = m->doing;
    span whole_range = {m->begin[b->index], m->end[b->index]}, all = whole_range;
    if (b->lo)
        all.begin = whole(m, b->lo);
    if (b->hi)
        all.end = whole(m, b->hi);
    all.end = all.end < all.begin ? all.begin : all.end;
    if (!b->once && b->block <= 0)
        fail(m, "blocks of %lld values", (long long)b->block);
    bool first   = true;
    int64_t item = m->item;
    int64_t last = b->block > 0 ? (all.end - all.begin - 1) / b->block * b->block : 0;
    for (int64_t k = all.begin; !m->failed && (b->once ? first : k < all.end); k += b->block, first = false) {
        int64_t at = b->reverse ? all.begin + last - (k - all.begin) : k;
        if (b->items) {
            empty_tiles(m);
            m->item = m->items++;
        }
        int64_t end = b->once || all.end - at < b->block ? all.end : at + b->block;
        m->step     = step;
        m->doing    = which;
        open_range(m, b->index, (span){at, end});
        if (!m->failed)
            body(m, what);
    }
    if (b->items)
        m->item = item;
    m->begin[b->index] = whole_range.begin;
    m->end[b->index]   = whole_range.end;
}

static void run_body(machine *m, const void *body) {
    run_list(m, body, 0);
}

static void assume_parts(machine *m, node n, uint32_t by) {
    m->assumed[n] += by;
    node_view v = graph_view(m->g, n);
    if (v.op == NODE_AND) {
        node left = v.child[0], right = v.child[1];
        assume_parts(m, left, by);
        assume_parts(m, right, by);
    }
}

static void run_if(machine *m, const statement *s) {
    new_point(m);
    if (needed(m, evaluate(m, s->condition)) == 0) {
        run_list(m, s->otherwise, 0);
        return;
    }
    if (s->assumed)
        assume_parts(m, s->assumed, 1);
    run_list(m, s->body, 0);
    if (s->assumed)
        assume_parts(m, s->assumed, UINT32_MAX); /* less 1 */
}

static double combine(machine *m, const statement *s, double so_far, double x) {
    x = needed(m, x);
    return rounded(m, graph_view(m->g, s->summand).type, interpret_combine(s->reduction, so_far, x));
}

/* The reduction at the point goes on from so_far. */
static double reduce_point(machine *m, const statement *s, double so_far) {
    new_point(m);
    double x = evaluate(m, s->summand);
    if (s->domain && needed(m, evaluate(m, s->domain)) == 0)
        return so_far;
    return combine(m, s, so_far, x);
}

static double reduce_level(machine *m, const statement *s, unsigned level, double so_far) {
    if (level == s->var_count)
        return reduce_point(m, s, so_far);
    index_id i   = s->var[level];
    place before = place_of(m, i);
    for (int64_t k = m->begin[i]; k < m->end[i] && !m->failed; k++) {
        go(m, i, k);
        so_far = reduce_level(m, s, level + 1, so_far);
    }
    go_back(m, i, before);
    return so_far;
}

static void run_reduce(machine *m, const statement *s) {
    double start = interpret_identity(s->reduction);
    if (s->into)
        start = needed(m, load(m, s->target, graph_view(m->g, s->summand).type));
    store(m, s->target, reduce_level(m, s, 0, start));
}

static void run_accumulate(machine *m, const statement *s) {
    new_point(m);
    bool scattered   = s->scatter != GRAPH_INDICES;
    double x         = evaluate(m, s->summand);
    bool counts      = !s->domain || needed(m, evaluate(m, s->domain)) != 0;
    place before     = {0};
    value_type type  = graph_view(m->g, s->summand).type;
    index_id scatter = scattered ? s->scatter : 0;
    if (scattered) {
        int64_t to = whole(m, s->scatter_to);
        if (to < m->begin[scatter] || to >= m->end[scatter])
            return;
        before = place_of(m, scatter);
        go(m, scatter, to);
    }
    double held = needed(m, load(m, s->target, type));
    store(m, s->target, counts ? combine(m, s, held, x) : held);
    if (scattered)
        go_back(m, scatter, before);
}

static void run_topk(machine *m, const statement *s) {
    node_view v  = graph_view(m->g, s->value);
    index_id i   = s->index;
    place before = place_of(m, i);
    size_t count = 0;
    ranked *row  = enough(calloc((size_t)(m->end[i] - m->begin[i]) + 1, sizeof *row));
    for (int64_t k = m->begin[i]; k < m->end[i] && !m->failed; k++) {
        go(m, i, k);
        new_point(m);
        double score = evaluate(m, v.child[1]);
        if (needed(m, evaluate(m, v.child[0])) != 0)
            row[count++] = (ranked){needed(m, score), k};
    }
    go_back(m, i, before);
    count          = interpret_choose(row, count, v.integer);
    bool chosen    = v.op == NODE_CHOSEN;
    index_id along = chosen ? (index_id)__builtin_ctzll(v.vars) : i;
    before         = place_of(m, along);
    for (int64_t k = m->begin[along]; k < m->end[along] && !m->failed; k++) {
        go(m, along, k);
        store(m, s->target, chosen ? (double)graph_index_extent(m->g, i) : 0);
    }
    for (size_t k = 0; k < count && !m->failed; k++) {
        go(m, along, chosen ? (int64_t)k : row[k].at);
        store(m, s->target, chosen ? (double)row[k].at : 1);
    }
    go_back(m, along, before);
    free(row);
}

/* One element of the solution, from those of the rows before its own. */
static void solve_element(machine *m, const statement *s, node_view v, int64_t rows) {
    index_id row = s->index, column = graph_solve_column(m->g, s->value);
    int64_t here = m->at[row], extent = graph_index_extent(m->g, row);
    new_point(m);
    double sum   = needed(m, evaluate(m, v.child[1]));
    place before = place_of(m, column);
    for (int64_t k = 0; k < rows && !m->failed; k++) {
        int64_t at = s->reverse ? extent - 1 - k : k;
        go(m, column, at);
        new_point(m);
        double factor = needed(m, evaluate(m, v.child[0]));
        double x      = needed(m, load_at(m, s->target, TYPE_FLOAT, row, at));
        sum           = rounded(m, TYPE_FLOAT, sum + rounded(m, TYPE_FLOAT, factor * x));
    }
    go_back(m, column, before);
    m->at[row] = here;
    store(m, s->target, sum);
}

static void run_solve(machine *m, const statement *s) {
    node_view v    = graph_view(m->g, s->value);
    int64_t extent = graph_index_extent(m->g, s->index), item = m->item;
    index_id var  = s->var_count ? s->var[0] : s->index;
    int64_t first = s->var_count ? m->begin[var] : 0, last = s->var_count ? m->end[var] : 1;
    place row = place_of(m, s->index), inner = place_of(m, var);
    for (int64_t e = first; e < last; e++) {
        if (s->var_count)
            go(m, var, e);
        if (s->var_count && var == m->split)
            m->item = e;
        for (int64_t k = 0; k < extent && !m->failed; k++) {
            go(m, s->index, s->reverse ? extent - 1 - k : k);
            solve_element(m, s, v, k);
        }
    }
    m->item = item;
    go_back(m, var, inner);
    go_back(m, s->index, row);
}

static void run_store(machine *m, const statement *s) {
    new_point(m);
    store(m, s->target, evaluate(m, s->value));
}

/* Products */

static int64_t values_of(const machine *m, const axis_order *order) {
    int64_t count = 1;
    for (unsigned i = 0; i < order->rank; i++)
        count *= m->end[order->index[i]] - m->begin[order->index[i]];
    return count;
}

static void go_to_first(machine *m, const axis_order *order) {
    for (unsigned i = 0; i < order->rank; i++)
        go(m, order->index[i], m->begin[order->index[i]]);
}

static int64_t base_of(machine *m, const matrix *x) {
    int64_t base = 0;
    for (unsigned i = 0; i < x->offset_count; i++)
        base += x->offset_stride[i] * whole(m, x->offset[i]);
    return base;
}

static void run_product(machine *m, const matrix_product *p) {
    index_set open = m->open;
    int64_t before[GRAPH_INDICES];
    memcpy(before, m->at, sizeof before);
    go_to_first(m, &p->rows);
    go_to_first(m, &p->columns);
    go_to_first(m, &p->inner);
    new_point(m);
    int64_t a = base_of(m, &p->a), b = base_of(m, &p->b), c = base_of(m, &p->c);
    m->open = open;
    memcpy(m->at, before, sizeof before);
    int64_t rows = values_of(m, &p->rows), columns = values_of(m, &p->columns), inner = values_of(m, &p->inner);
    for (int64_t i = 0; i < rows && !m->failed; i++)
        for (int64_t j = 0; j < columns && !m->failed; j++) {
            int64_t to = c + i * p->c.row_stride + j * p->c.column_stride;
            double sum = p->into ? needed(m, read_element(m, p->c.buffer, to)) : 0;
            for (int64_t k = 0; k < inner && !m->failed; k++) {
                double x = needed(m, read_element(m, p->a.buffer, a + i * p->a.row_stride + k * p->a.column_stride));
                double y = needed(m, read_element(m, p->b.buffer, b + k * p->b.row_stride + j * p->b.column_stride));
                sum      = rounded(m, TYPE_FLOAT, sum + rounded(m, TYPE_FLOAT, x * y));
            }
            if (!m->failed)
                write_element(m, p->c.buffer, to, sum);
        }
}

static const char *const doing[] = {"a for",           "a block",     "an if",   "a store",  "a reduction",
                                    "an accumulation", "a selection", "a solve", "a product"};

static void run_statement(machine *m, const statement *s, unsigned items) {
    m->doing     = doing[s->kind];
    bool is_leaf = s->kind != STATEMENT_FOR && s->kind != STATEMENT_BLOCK && s->kind != STATEMENT_IF;
    bool own     = is_leaf && s->kind != STATEMENT_PRODUCT && s->value && m->s->buffer_of[s->value] == s->target;
    m->computing = own ? s->value : NODE_NONE;
    blocks b     = {s->index, s->block, s->lo, s->hi, s->once, items == 1, s->reverse};
    switch (s->kind) {
    case STATEMENT_FOR:
        run_for(m, s, items);
        break;
    case STATEMENT_BLOCK:
        run_blocks(m, &b, run_body, s->body);
        break;
    case STATEMENT_IF:
        run_if(m, s);
        break;
    case STATEMENT_STORE:
        run_store(m, s);
        break;
    case STATEMENT_REDUCE:
        run_reduce(m, s);
        break;
    case STATEMENT_ACCUMULATE:
        run_accumulate(m, s);
        break;
    case STATEMENT_TOPK:
        run_topk(m, s);
        break;
    case STATEMENT_SOLVE:
        run_solve(m, s);
        break;
    case STATEMENT_PRODUCT:
        run_product(m, s->product);
        break;
    }
}

static void run_list(machine *m, const statement *list, unsigned items) {
    for (; list && !m->failed; list = list->next)
        run_statement(m, list, items);
}

/* Steps */

static void run_batch(machine *m, const step *t, unsigned level) {
    if (level == t->batch.rank) {
        m->item = m->items++;
        run_product(m, t->product);
        return;
    }
    index_id i   = t->batch.index[level];
    place before = place_of(m, i);
    for (int64_t k = m->begin[i]; k < m->end[i] && !m->failed; k++) {
        go(m, i, k);
        run_batch(m, t, level + 1);
    }
    go_back(m, i, before);
}

static uint32_t run_step(machine *m, uint32_t number);

static void run_steps(machine *m, uint32_t from, uint32_t to) {
    while (from < to && !m->failed)
        from = run_step(m, from);
}

/* The steps inside a step of blocks. */
static void run_inside(machine *m, const void *blocks_step) {
    const step *t  = blocks_step;
    uint32_t first = (uint32_t)(t - m->s->step) + 1;
    run_steps(m, first, first + t->inside);
}

/* Returns the number of the step after it and those inside it. */
static uint32_t run_step(machine *m, uint32_t number) {
    const step *t = &m->s->step[number];
    m->step       = number;
    m->computing  = NODE_NONE;
    m->split      = t->split;
    m->item       = NO_ITEM;
    m->items      = 0;
    m->run++;
    empty_tiles(m);
    schedule_enter(m->s, number);
    if (t->kind == STEP_NEST) {
        run_list(m, t->body, t->split == GRAPH_INDICES ? t->parallel_count : 0);
    } else if (t->kind == STEP_PRODUCT) {
        m->doing = "the product";
        run_batch(m, t, 0);
    } else {
        m->doing = "the blocks";
        run_blocks(m, &(blocks){t->index, t->block, t->lo, t->hi, t->once, false, false}, run_inside, t);
    }
    schedule_leave(m->s, number);
    return number + 1 + (t->kind == STEP_BLOCKS ? t->inside : 0);
}

static void check_outputs(machine *m) {
    for (uint32_t i = 0; i < m->s->buffer_count && !m->failed; i++) {
        const memory *held = &m->memory[i];
        for (int64_t k = 0; m->s->buffer[i].place == PLACE_OUTPUT && k < held->span && !m->failed; k++)
            if (held->by[k].stamp != held->stamp)
                fail(m, "element %lld of output %s was never written", (long long)k,
                     graph_output(m->g, m->s->buffer[i].number)->name);
    }
}

static void give_outputs(machine *m, double **output) {
    for (uint32_t i = 0; i < m->s->buffer_count; i++)
        if (m->s->buffer[i].place == PLACE_OUTPUT) {
            output[m->s->buffer[i].number] = m->memory[i].value;
            m->memory[i].value             = NULL;
        }
}

static machine *new_machine(schedule *s, const double *const *tensor, uint64_t seed) {
    machine *m = enough(calloc(1, sizeof *m));
    m->s       = s;
    m->g       = s->graph;
    m->tensor  = tensor;
    m->seed    = seed;
    m->memory  = enough(calloc((size_t)s->buffer_count + 1, sizeof *m->memory));
    m->owner   = enough(calloc((size_t)s->workspace + 1, sizeof *m->owner));
    m->assumed = enough(calloc(graph_node_count(s->graph) + 1, sizeof *m->assumed));
    for (unsigned i = 0; i < graph_index_count(m->g); i++) {
        m->end[i] = graph_index_extent(m->g, (index_id)i);
        if (m->end[i] == 1) /* has no loops */
            go(m, (index_id)i, 0);
    }
    for (uint32_t i = 0; i < s->buffer_count; i++)
        new_memory(m, i);
    return m;
}

static void free_machine(machine *m) {
    for (uint32_t i = 0; i < m->s->buffer_count; i++) {
        free(m->memory[i].value);
        free(m->memory[i].by);
    }
    free(m->memory);
    free(m->owner);
    free(m->assumed);
    free(m);
}

bool tile_interpret(schedule *s, const double *const *tensor, double **output, uint64_t seed, bool single, char *error,
                    size_t size) {
    machine *m = new_machine(s, tensor, seed);
    m->single  = single;
    m->error   = error;
    m->size    = size;
    memset(output, 0, graph_output_count(s->graph) * sizeof *output);
    run_steps(m, 0, s->step_count);
    m->doing = "the end";
    check_outputs(m);
    bool right = !m->failed;
    if (right)
        give_outputs(m, output);
    free_machine(m);
    return right;
}
