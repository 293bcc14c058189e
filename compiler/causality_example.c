/* The search for an example that refutes causality: an input is changed at one time, and an earlier output moves. */
#include "causality.h"
#include "enough.h"
#include "initialise.h"
#include "interpret.h"
#include "sizes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_TIME = 8, SMALL_EXTENT = 4, SMALL_REACH = 2 };
static const int64_t WORK_LIMIT = (int64_t)1 << 26; /* elements that a run of the interpreter may compute */

static bool small_enough(const graph *g) {
    int64_t work = 0;
    for (node n = 1; n <= graph_node_count(g); n++) {
        node_view v   = graph_view(g, n);
        int64_t space = graph_space(g, v.free | v.vars);
        work          = space > WORK_LIMIT ? WORK_LIMIT + 1 : work + space;
        if (work > WORK_LIMIT)
            return false;
    }
    return true;
}

/* Values under which nothing is 0 or alike by chance: a parameter that begins at a constant may become any number. */
static double *values_of(const tensor *t) {
    tensor drawn = *t;
    if (t->init == INIT_ZEROS || t->init == INIT_CONSTANT) {
        drawn.init        = INIT_UNIFORM;
        drawn.argument[0] = 0.5;
        drawn.argument[1] = 1.5;
    } else if (t->init == INIT_NORMAL && t->kind != TENSOR_INPUT) {
        drawn.argument[0] = 0;
        drawn.argument[1] = 0.5;
    }
    double *value = enough(malloc((size_t)t->elements * sizeof *value));
    for (int64_t k = 0; k < t->elements; k++)
        value[k] = initial_value(&drawn, 1, (uint64_t)k);
    return value;
}

/* Where time stands in a list of indices: its extent and the stride; false if it does not. */
static bool axis(const graph *g, unsigned rank, const index_id *index, index_id time, int64_t *extent,
                 int64_t *stride) {
    bool found = false;
    *stride    = 1;
    for (unsigned r = rank; r-- > 0 && !found;) {
        found   = index[r] == time;
        *extent = graph_index_extent(g, index[r]);
        *stride *= found ? 1 : *extent;
    }
    return found;
}

/* Other values of the tensor at one time. */
static void disturb(const tensor *t, double *value, int64_t extent, int64_t stride, int64_t at) {
    for (int64_t k = 0; k < t->elements; k++)
        if (k / stride % extent == at)
            value[k] = initial_value(t, 2, (uint64_t)k);
}

/* The latest time before `before` at which the two differ; -1: none. */
static int64_t differs(const double *a, const double *b, int64_t elements, int64_t extent, int64_t stride,
                       int64_t before) {
    int64_t latest = -1;
    double scale   = 0;
    for (int64_t k = 0; k < elements; k++)
        scale = isfinite(a[k]) ? fmax(scale, fabs(a[k])) : scale;
    for (int64_t k = 0; k < elements; k++) {
        int64_t at = k / stride % extent;
        if (at < before && at > latest && fabs(a[k] - b[k]) > 1e-9 * scale)
            latest = at;
    }
    return latest;
}

static bool try_time(const graph *g, index_id time, const double *const *value, interpretation *base, uint32_t tensor,
                     int64_t at, causality *result) {
    interpretation *run = interpret_new(g, value, 1);
    bool found          = false;
    for (uint32_t i = 0; i < graph_output_count(g) && !found; i++) {
        const output *o = graph_output(g, i);
        int64_t extent, stride;
        if (o->kind != OUTPUT_VALUE || !axis(g, o->rank, o->index, time, &extent, &stride))
            continue;
        int64_t moved = differs(interpret_output(base, i), interpret_output(run, i), o->elements, extent, stride, at);
        found         = moved >= 0;
        if (found)
            *result = (causality){
                .kind = CAUSALITY_REFUTED, .output = i, .tensor = tensor, .at = moved, .depends = at, .extent = extent};
    }
    interpret_free(run);
    return found;
}

bool causality_example(const graph *g, index_id time, causality *result) {
    if (time >= GRAPH_INDICES || !small_enough(g))
        return false;
    uint32_t tensors = graph_tensor_count(g);
    double **value   = enough(calloc(tensors + 1, sizeof *value));
    for (uint32_t i = 0; i < tensors; i++)
        value[i] = values_of(graph_tensor(g, i));
    interpretation *base = interpret_new(g, (const double *const *)value, 1);
    bool found           = false;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (graph_output(g, i)->kind == OUTPUT_VALUE)
            interpret_output(base, i); /* before a value is changed */
    for (int64_t at = 1; at < graph_index_extent(g, time) && !found; at++)
        for (uint32_t i = 0; i < tensors && !found; i++) {
            const tensor *t = graph_tensor(g, i);
            int64_t extent, stride;
            if (t->kind != TENSOR_INPUT || !axis(g, t->rank, t->index, time, &extent, &stride))
                continue;
            double *kept = value[i];
            value[i]     = enough(malloc((size_t)t->elements * sizeof *kept));
            memcpy(value[i], kept, (size_t)t->elements * sizeof *kept);
            disturb(t, value[i], extent, stride, at);
            found = try_time(g, time, (const double *const *)value, base, i, at, result);
            free(value[i]);
            value[i] = kept;
        }
    interpret_free(base);
    for (uint32_t i = 0; i < tensors; i++)
        free(value[i]);
    free(value);
    return found;
}

/* The sizes of the trials: time alone is short; what is large besides is small; what limits a reach is short as well.
 */
static size_t smaller(const declared_sizes *sizes, unsigned trial, binding *set) {
    size_t n = 0;
    for (unsigned i = 0; i < sizes->count; i++) {
        const declared_size *s = &sizes->item[i];
        int64_t most           = s->time ? SMALL_TIME : s->extent ? (trial == 0 ? s->value : SMALL_EXTENT) : s->value;
        if (trial == 2 && !s->extent)
            most = SMALL_REACH;
        if (s->own && most < s->value)
            set[n++] = (binding){s->name, (double)most};
    }
    return n;
}

causality causality_check(graph *g, const spec *mechanism, const elaboration *how) {
    causality proof = causality_prove(g, causality_time(g)), example;
    if (proof.kind != CAUSALITY_UNPROVED)
        return proof;
    declared_sizes sizes;
    sizes_of(mechanism, how, &sizes);
    static const unsigned order[] = {1, 0, 2}; /* the cheap one first; short reaches change the mechanism most */
    for (unsigned k = 0; k < 3; k++) {
        binding set[SIZES];
        size_t count = smaller(&sizes, order[k], set);
        graph *small = sizes_elaborate(mechanism, how, set, count);
        bool found   = small && causality_example(small, causality_time(small), &example);
        graph_free(small);
        if (!found)
            continue;
        example.culprit = proof.culprit;
        example.shrunk  = order[k] != 0;
        return example;
    }
    return proof;
}
