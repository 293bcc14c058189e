/* A node's value is an array over its free indices, in order of index_id, computed when first needed and kept. Inside a
 * scan the arrays lack the scanned index and are recomputed at each step. */
#include "interpret.h"

#include "enough.h"
#include "philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEPENDENT = 2 }; /* frame.inside; 1: looked at */

/* A state of a scan being run, between two steps. */
typedef struct state {
    double *before, *after; /* the step, over its indices */
    index_set axes;
    size_t size;
} state;

typedef struct frame frame;
struct frame { /* a scan being run */
    frame *outer;
    uint32_t label;
    index_id over;
    int64_t at; /* the step */
    state *state;
    const uint8_t *inside; /* node: depends on this scan's states before the step */
    double **value;        /* node: its value at this step */
    node *computed;        /* the nodes that have one */
    size_t computed_count, computed_room;
};

/* Which node is computed when does not depend on values, so the n-th value of a STOP is of the same step in every run
 * of a graph. */
typedef struct stop_log {
    double *value;
    size_t count, room, read;
} stop_log;

struct interpretation {
    const graph *g;
    const double *const *tensor_value;
    uint64_t seed;
    double **value; /* node; 0 is unused */
    double **held;  /* node: what a STOP is held at */
    stop_log *log;  /* node: of a STOP in a scan's bodies, its values in the order in which they were computed */
    const interpretation *base; /* whose logs are read instead */
    uint8_t **inside;           /* scan label: frame.inside, NULL until the scan is first run */
    double **output;
    size_t count;
};

static void *get(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

/* An array seen from a loop over other axes: the element offset moves by stride[i] when index i does. */
typedef struct view {
    const double *data;
    int64_t stride[GRAPH_INDICES];
} view;

static void strides(const graph *g, index_set axes, int64_t stride[GRAPH_INDICES]) {
    int64_t step = 1;
    memset(stride, 0, GRAPH_INDICES * sizeof *stride);
    for (unsigned i = GRAPH_INDICES; i-- > 0;)
        if (axes >> i & 1) {
            stride[i] = step;
            step *= graph_index_extent(g, (index_id)i);
        }
}

/* An odometer over a set of indices. */
typedef struct walk {
    unsigned rank;
    index_id index[GRAPH_INDICES];
    int64_t extent[GRAPH_INDICES];
    int64_t at[GRAPH_INDICES]; /* by index_id */
} walk;

static walk start(const graph *g, index_set axes) {
    walk w = {0};
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (axes >> i & 1) {
            w.index[w.rank]    = (index_id)i;
            w.extent[w.rank++] = graph_index_extent(g, (index_id)i);
        }
    return w;
}

/* Moves on and keeps the offsets of `count` views; false at the end. */
static bool advance(walk *w, const view *v, int64_t *offset, unsigned count) {
    for (unsigned r = w->rank; r-- > 0;) {
        index_id i = w->index[r];
        if (++w->at[i] < w->extent[r]) {
            for (unsigned k = 0; k < count; k++)
                offset[k] += v[k].stride[i];
            return true;
        }
        for (unsigned k = 0; k < count; k++)
            offset[k] -= v[k].stride[i] * (w->extent[r] - 1);
        w->at[i] = 0;
    }
    return false;
}

static const double *evaluate(interpretation *run, frame *f, node n, index_set *axes);

/* n at the step of every scan that is being run, but for the indices `but`. */
static view look_but(interpretation *run, frame *f, node n, index_set but) {
    view v;
    index_set axes;
    v.data = evaluate(run, f, n, &axes);
    strides(run->g, axes, v.stride);
    /* the element of the step where the array has the scanned index */
    for (; f; f = f->outer)
        if ((axes & ~but) >> f->over & 1) {
            v.data += f->at * v.stride[f->over];
            v.stride[f->over] = 0;
        }
    return v;
}

static view look(interpretation *run, frame *f, node n) {
    return look_but(run, f, n, 0);
}

static double floor_divide(double a, double b) {
    return b == 0 ? 0 : floor(a / b);
}

double interpret_operation(node_op op, value_type type, const double x[3]) {
    double a = x[0], b = x[1];
    switch (op) {
    case NODE_ADD:
        return a + b;
    case NODE_SUB:
        return a - b;
    case NODE_MUL:
        return a * b;
    case NODE_DIV:
        return type == TYPE_INT ? floor_divide(a, b) : a / b;
    case NODE_MOD:
        return a - b * floor_divide(a, b);
    case NODE_NEG:
        return -a;
    case NODE_MINIMUM:
        return a < b ? a : b;
    case NODE_MAXIMUM:
        return a > b ? a : b;
    case NODE_POW:
        return pow(a, b);
    case NODE_EXP:
        return exp(a);
    case NODE_LOG:
        return log(a);
    case NODE_LOG1P:
        return log1p(a);
    case NODE_SQRT:
        return sqrt(a);
    case NODE_SIN:
        return sin(a);
    case NODE_COS:
        return cos(a);
    case NODE_TANH:
        return tanh(a);
    case NODE_ERF:
        return erf(a);
    case NODE_ABS:
        return fabs(a);
    case NODE_FLOOR:
        return floor(a);
    case NODE_TO_INT:
        return (double)graph_integer_below(a);
    case NODE_LESS:
        return a < b;
    case NODE_LESS_EQUAL:
        return a <= b;
    case NODE_EQUAL:
        return a == b;
    case NODE_AND:
        return a != 0 && b != 0;
    case NODE_OR:
        return a != 0 || b != 0;
    case NODE_NOT:
        return a == 0;
    case NODE_SELECT:
        return a != 0 ? b : x[2];
    default: /* TO_FLOAT, STOP */
        return a;
    }
}

static double *pointwise(interpretation *run, frame *f, node_view v, index_set axes) {
    double *out = get((size_t)graph_space(run->g, axes), sizeof *out);
    view operand[3];
    int64_t offset[3] = {0, 0, 0};
    for (unsigned i = 0; i < v.child_count; i++)
        operand[i] = look(run, f, v.child[i]);
    walk w    = start(run->g, axes);
    int64_t k = 0;
    do {
        double x[3] = {0, 0, 0};
        for (unsigned i = 0; i < v.child_count; i++)
            x[i] = operand[i].data[offset[i]];
        out[k++] = interpret_operation(v.op, v.type, x);
    } while (advance(&w, operand, offset, v.child_count));
    return out;
}

double interpret_identity(reduction r) {
    switch (r) {
    case REDUCE_PRODUCT:
    case REDUCE_ALL:
        return 1;
    case REDUCE_MAX:
        return -INFINITY;
    case REDUCE_MIN:
        return INFINITY;
    default:
        return 0;
    }
}

double interpret_combine(reduction r, double a, double b) {
    switch (r) {
    case REDUCE_SUM:
        return a + b;
    case REDUCE_PRODUCT:
        return a * b;
    case REDUCE_MAX:
        return a > b || isnan(a) ? a : b;
    case REDUCE_MIN:
        return a < b || isnan(a) ? a : b;
    case REDUCE_ANY:
        return a != 0 || b != 0;
    default:
        return a != 0 && b != 0;
    }
}

static double *reduce(interpretation *run, frame *f, node_view v, index_set axes) {
    size_t size = (size_t)graph_space(run->g, axes);
    double *out = get(size, sizeof *out);
    for (size_t i = 0; i < size; i++)
        out[i] = interpret_identity(v.reduction);
    view operand[3] = {look(run, f, v.child[0]), look(run, f, v.child[1]), {0}};
    strides(run->g, axes, operand[2].stride);
    int64_t offset[3] = {0, 0, 0};
    walk w            = start(run->g, axes | v.vars);
    do
        if (operand[0].data[offset[0]] != 0)
            out[offset[2]] = interpret_combine(v.reduction, out[offset[2]], operand[1].data[offset[1]]);
    while (advance(&w, operand, offset, 3));
    return out;
}

static double *gather(interpretation *run, frame *f, node_view v, index_set axes) {
    double *out     = get((size_t)graph_space(run->g, axes), sizeof *out);
    unsigned count  = v.child_count - 1;
    view *operand   = get(v.child_count, sizeof *operand);
    int64_t *offset = get(v.child_count, sizeof *offset);
    int64_t extent[GRAPH_INDICES], step[GRAPH_INDICES];
    index_set replaced = 0;
    for (unsigned i = 0; i < count; i++)
        replaced |= (index_set)1 << v.substituted[i];
    operand[0] = look_but(run, f, v.child[0], replaced); /* a state may say at which step something is read */
    for (unsigned i = 0; i < count; i++) {
        operand[i + 1] = look(run, f, v.child[i + 1]);
        extent[i]      = graph_index_extent(run->g, v.substituted[i]);
        step[i]        = operand[0].stride[v.substituted[i]];
    }
    for (unsigned i = 0; i < count; i++)
        operand[0].stride[v.substituted[i]] = 0;
    walk w    = start(run->g, axes);
    int64_t k = 0;
    do {
        int64_t at   = offset[0];
        bool outside = false;
        for (unsigned i = 0; i < count; i++) {
            double x = operand[i + 1].data[offset[i + 1]];
            outside |= !(x >= 0 && x < (double)extent[i]);
            at += outside ? 0 : (int64_t)x * step[i];
        }
        out[k++] = outside ? 0 : operand[0].data[at];
    } while (advance(&w, operand, offset, v.child_count));
    free(operand);
    free(offset);
    return out;
}

static int better_first(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (isnan(x->score) || isnan(y->score)) {
        if (isnan(x->score) != isnan(y->score))
            return isnan(x->score) ? 1 : -1;
    } else if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return (x->at > y->at) - (x->at < y->at);
}

void interpret_rank(ranked *row, size_t count) {
    qsort(row, count, sizeof *row, better_first);
}

static int by_place(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

size_t interpret_choose(ranked *row, size_t count, int64_t most) {
    interpret_rank(row, count);
    count = (int64_t)count < most ? count : (size_t)most;
    qsort(row, count, sizeof *row, by_place);
    return count;
}

/* A TOPK, and a CHOSEN, whose place along its own index says how often it was met. */
static double *selection(interpretation *run, frame *f, node_view v, index_set axes) {
    double *out     = get((size_t)graph_space(run->g, axes), sizeof *out);
    view operand[3] = {look(run, f, v.child[0]), look(run, f, v.child[1]), {0}};
    strides(run->g, axes, operand[2].stride);
    int64_t extent = graph_index_extent(run->g, v.scan_index), offset[3] = {0, 0, 0};
    bool chosen    = v.op == NODE_CHOSEN;
    index_id along = chosen ? (index_id)__builtin_ctzll(v.vars) : v.scan_index;
    ranked *row    = get((size_t)extent, sizeof *row);
    walk w         = start(run->g, axes & ~((index_set)1 << along));
    do {
        int64_t count = 0, step = operand[2].stride[along];
        for (int64_t s = 0; s < extent; s++)
            if (operand[0].data[offset[0] + s * operand[0].stride[v.scan_index]] != 0)
                row[count++] = (ranked){operand[1].data[offset[1] + s * operand[1].stride[v.scan_index]], s};
        count = (int64_t)interpret_choose(row, (size_t)count, v.integer);
        for (int64_t i = 0; i < count; i++)
            out[offset[2] + (chosen ? i : row[i].at) * step] = chosen ? (double)row[i].at : 1;
        for (int64_t i = count; chosen && i < v.integer; i++)
            out[offset[2] + i * step] = (double)extent;
    } while (advance(&w, operand, offset, 3));
    free(row);
    return out;
}

static double *solve(interpretation *run, frame *f, node_view v, index_set axes) {
    double *out       = get((size_t)graph_space(run->g, axes), sizeof *out);
    index_id column   = (index_id)__builtin_ctzll(v.vars);
    view operand[3]   = {look(run, f, v.child[0]), look(run, f, v.child[1]), {0}};
    int64_t extent    = graph_index_extent(run->g, v.scan_index);
    int64_t offset[3] = {0, 0, 0};
    strides(run->g, axes, operand[2].stride);
    const view *m = &operand[0], *x = &operand[2];
    int64_t right = operand[1].stride[v.scan_index];
    walk w        = start(run->g, axes & ~((index_set)1 << v.scan_index));
    do
        for (int64_t k = 0; k < extent; k++) {
            int64_t row = v.reverse ? extent - 1 - k : k;
            double sum  = operand[1].data[offset[1] + row * right];
            for (int64_t j = 0; j < k; j++) {
                int64_t before = v.reverse ? extent - 1 - j : j;
                sum += m->data[offset[0] + row * m->stride[v.scan_index] + before * m->stride[column]] *
                       out[offset[2] + before * x->stride[v.scan_index]];
            }
            out[offset[2] + row * x->stride[v.scan_index]] = sum;
        }
    while (advance(&w, operand, offset, 3));
    return out;
}

static bool mark_inside(const graph *g, node n, uint32_t label, uint8_t *seen) {
    if (seen[n])
        return seen[n] == DEPENDENT;
    node_view v = graph_view(g, n);
    bool dep    = v.op == NODE_PREVIOUS && v.scan_label == label;
    seen[n]     = 1;
    for (unsigned i = 0; i < v.child_count; i++)
        dep |= mark_inside(g, v.child[i], label, seen);
    if (dep)
        seen[n] = DEPENDENT;
    return dep;
}

static void copy_over(const graph *g, view from, index_set axes, double *to) {
    walk w         = start(g, axes);
    int64_t offset = 0, k = 0;
    do
        to[k++] = from.data[offset];
    while (advance(&w, &from, &offset, 1));
}

static const uint8_t *inside(interpretation *run, uint32_t label, node_view v) {
    if (!run->inside[label]) {
        run->inside[label] = get(run->count, 1);
        for (unsigned i = v.child_count / 2; i < v.child_count; i++)
            mark_inside(run->g, v.child[i], label, run->inside[label]);
    }
    return run->inside[label];
}

static void forget_step(frame *f) {
    for (size_t i = 0; i < f->computed_count; i++) {
        free(f->value[f->computed[i]]);
        f->value[f->computed[i]] = NULL;
    }
    f->computed_count = 0;
}

static double **memory_of(interpretation *run, frame *f, node n) {
    return f ? &f->value[n] : &run->value[n];
}

static void keep(interpretation *run, frame *f, node n, double *value) {
    *memory_of(run, f, n) = value;
    if (!f)
        return;
    if (f->computed_count == f->computed_room) {
        f->computed_room = 2 * f->computed_room + 64;
        node *more       = realloc(f->computed, f->computed_room * sizeof *more);
        if (!more) {
            fputs("attnc: out of memory\n", stderr);
            exit(3);
        }
        f->computed = more;
    }
    f->computed[f->computed_count++] = n;
}

/* Writes a state after the step into the scan's result over `axes`. */
static void record(const graph *g, const frame *f, const state *s, index_set axes, double *result) {
    view target = {result, {0}};
    strides(g, axes, target.stride);
    int64_t offset = f->at * target.stride[f->over], i = 0;
    walk w = start(g, s->axes);
    do
        result[offset] = s->after[i++];
    while (advance(&w, &target, &offset, 1));
}

/* Runs the scan that `v` is a state of and keeps the results of all its states. `fixed`: the indices of the scans that
 * are being run around it. */
static void scan(interpretation *run, frame *outer, node_view v, index_set fixed) {
    const graph *g  = run->g;
    unsigned states = v.child_count / 2;
    node first      = graph_scan_node(g, v.scan_label, 0);
    frame f         = {.outer = outer, .label = v.scan_label, .over = v.scan_index};
    double **result = get(states, sizeof *result);
    index_set over  = (index_set)1 << v.scan_index;
    int64_t extent  = graph_index_extent(g, v.scan_index);
    f.state         = get(states, sizeof *f.state);
    f.inside        = inside(run, v.scan_label, v);
    f.value         = get(run->count, sizeof *f.value);
    for (unsigned k = 0; k < states; k++) {
        index_set axes = graph_view(g, first + k).free & ~fixed;
        state *s       = &f.state[k];
        s->axes        = axes & ~over;
        s->size        = (size_t)graph_space(g, s->axes);
        s->before      = get(s->size, sizeof *s->before);
        s->after       = get(s->size, sizeof *s->after);
        result[k]      = get((size_t)graph_space(g, axes), sizeof **result);
        copy_over(g, look(run, outer, v.child[k]), s->axes, s->before);
    }
    for (int64_t step = 0; step < extent; step++) {
        f.at = v.reverse ? extent - 1 - step : step;
        for (unsigned k = 0; k < states; k++)
            copy_over(g, look(run, &f, v.child[states + k]), f.state[k].axes, f.state[k].after);
        for (unsigned k = 0; k < states; k++) { /* only now: all bodies read the states before the step */
            state *s = &f.state[k];
            record(g, &f, s, s->axes | over, result[k]);
            memcpy(s->before, s->after, s->size * sizeof *s->after);
        }
        forget_step(&f);
    }
    for (unsigned k = 0; k < states; k++) {
        keep(run, outer, first + k, result[k]);
        free(f.state[k].before);
        free(f.state[k].after);
    }
    free(result);
    free(f.state);
    free(f.value);
    free(f.computed);
}

static double *leaf(interpretation *run, node_view v, index_set axes) {
    size_t size = (size_t)graph_space(run->g, axes);
    double *out = get(size, sizeof *out);
    if (v.op == NODE_FLOAT || v.op == NODE_INT) {
        out[0] = v.op == NODE_FLOAT ? v.number : (double)v.integer;
    } else if (v.op == NODE_INDEX) {
        for (size_t i = 0; i < size; i++)
            out[i] = (double)i;
    } else if (v.op == NODE_RANDOM) {
        for (size_t i = 0; i < size; i++)
            out[i] = philox_uniform(run->seed, (uint32_t)v.integer, i);
    } else { /* TENSOR: from its own order into ours */
        const tensor *t = graph_tensor(run->g, v.tensor);
        view from       = {run->tensor_value[v.tensor], {0}};
        int64_t step    = 1;
        for (unsigned i = t->rank; i-- > 0;) {
            from.stride[t->index[i]] = step;
            step *= t->extent[i];
        }
        copy_over(run->g, from, axes, out);
    }
    return out;
}

static double *compute(interpretation *run, frame *f, node_view v, index_set axes) {
    switch (v.op) {
    case NODE_FLOAT:
    case NODE_INT:
    case NODE_INDEX:
    case NODE_TENSOR:
    case NODE_RANDOM:
        return leaf(run, v, axes);
    case NODE_REDUCE:
        return reduce(run, f, v, axes);
    case NODE_GATHER:
        return gather(run, f, v, axes);
    case NODE_TOPK:
    case NODE_CHOSEN:
        return selection(run, f, v, axes);
    case NODE_SOLVE:
        return solve(run, f, v, axes);
    default:
        return pointwise(run, f, v, axes);
    }
}

/* The value of a STOP at a step: its operand's, or what it was in the run it is held at. */
static double *stopped(interpretation *run, frame *f, node n, node_view v, index_set axes) {
    size_t size = (size_t)graph_space(run->g, axes);
    stop_log *l = &run->log[n];
    if (run->base && l->read + size <= run->base->log[n].count) {
        double *held = get(size, sizeof *held);
        memcpy(held, run->base->log[n].value + l->read, size * sizeof *held);
        l->read += size;
        return held;
    }
    double *value = pointwise(run, f, v, axes);
    if (l->count + size > l->room) {
        l->room  = 2 * l->room + size;
        l->value = enough(realloc(l->value, l->room * sizeof *l->value));
    }
    memcpy(l->value + l->count, value, size * sizeof *value);
    l->count += size;
    return value;
}

static const double *evaluate(interpretation *run, frame *f, node n, index_set *axes) {
    node_view v = graph_view(run->g, n);
    if (v.op == NODE_PREVIOUS) {
        while (f && f->label != v.scan_label)
            f = f->outer;
        *axes = f->state[v.scan_state].axes;
        return f->state[v.scan_state].before;
    }
    index_set fixed = 0;
    for (; f && f->inside[n] != DEPENDENT; f = f->outer)
        ; /* the innermost scan that the node depends on */
    for (const frame *o = f; o; o = o->outer)
        fixed |= (index_set)1 << o->over;
    *axes = v.free & ~fixed;
    if (!*memory_of(run, f, n)) {
        if (v.op == NODE_STOP && run->held[n] && !f)
            return run->held[n];
        if (v.op == NODE_SCAN)
            scan(run, f, v, fixed);
        else if (v.op == NODE_STOP && f)
            keep(run, f, n, stopped(run, f, n, v, *axes));
        else
            keep(run, f, n, compute(run, f, v, *axes));
    }
    return *memory_of(run, f, n);
}

interpretation *interpret_new(const graph *g, const double *const *tensor_value, uint64_t seed) {
    interpretation *run = get(1, sizeof *run);
    run->g              = g;
    run->tensor_value   = tensor_value;
    run->seed           = seed;
    run->count          = graph_node_count(g) + 1;
    run->value          = get(run->count, sizeof *run->value);
    run->held           = get(run->count, sizeof *run->held);
    run->log            = get(run->count, sizeof *run->log);
    run->inside         = get((size_t)graph_scan_labels(g) + 1, sizeof *run->inside);
    run->output         = get(graph_output_count(g), sizeof *run->output);
    return run;
}

void interpret_free(interpretation *run) {
    if (!run)
        return;
    for (size_t i = 1; i < run->count; i++) {
        free(run->value[i]);
        free(run->held[i]);
        free(run->log[i].value);
    }
    for (uint32_t i = 0; i < graph_output_count(run->g); i++)
        free(run->output[i]);
    for (uint32_t i = 1; i <= graph_scan_labels(run->g); i++)
        free(run->inside[i]);
    free(run->inside);
    free(run->value);
    free(run->held);
    free(run->log);
    free(run->output);
    free(run);
}

void interpret_hold_stops(interpretation *run, const interpretation *base) {
    run->base = base;
    for (size_t n = 1; n < run->count; n++) {
        free(run->held[n]);
        run->held[n] = NULL;
        node_view v  = graph_view(run->g, (node)n);
        if (base && v.op == NODE_STOP && base->value[n]) {
            size_t size  = (size_t)graph_space(run->g, v.free);
            run->held[n] = get(size, sizeof(double));
            memcpy(run->held[n], base->value[n], size * sizeof(double));
        }
    }
}

const double *interpret_node(interpretation *run, node n) {
    index_set axes;
    return evaluate(run, NULL, n, &axes);
}

const double *interpret_output(interpretation *run, uint32_t number) {
    const output *o = graph_output(run->g, number);
    if (run->output[number])
        return run->output[number];
    index_set axes;
    view from = {evaluate(run, NULL, o->node, &axes), {0}};
    int64_t stride[GRAPH_INDICES];
    strides(run->g, axes, stride);
    double *out             = get((size_t)o->elements, sizeof *out);
    int64_t at[TENSOR_RANK] = {0};
    for (int64_t k = 0; k < o->elements; k++) {
        int64_t offset = 0;
        for (unsigned i = 0; i < o->rank; i++)
            offset += at[i] * stride[o->index[i]];
        out[k] = from.data[offset];
        for (unsigned i = o->rank; i-- > 0;) {
            if (++at[i] < graph_index_extent(run->g, o->index[i]))
                break;
            at[i] = 0;
        }
    }
    return run->output[number] = out;
}
