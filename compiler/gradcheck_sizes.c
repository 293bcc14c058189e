/* The sizes at which gradients are checked where the caller does not say: a spec's own are those of a training run. */
#include "enough.h"
#include "gradcheck.h"
#include "initialise.h"
#include "interpret.h"
#include "sizes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The largest values to try for time, for extents of at most 8 (heads, groups), for larger extents (widths), and for
 * what is no extent (windows, numbers selected). Widths of heads are quotients, often of pairs: odd and even ones. */
typedef struct limits {
    int64_t time, few, many, reach;
} limits;
static const limits trial[] = {{7, 2, 6, 3},  {7, 3, 9, 3},  {7, 2, 8, 3},  {7, 2, 4, 3},
                               {7, 3, 12, 3}, {9, 4, 16, 4}, {16, 4, 32, 8}};

static int64_t small_value(const declared_size *s, const limits *l) {
    int64_t most = s->time ? l->time : !s->extent ? l->reach : s->value <= 8 ? l->few : l->many;
    return s->value < most ? s->value : most;
}

static bool given(const elaboration *how, const char *name) {
    for (size_t i = 0; i < how->binding_count; i++)
        if (strcmp(how->bindings[i].name, name) == 0)
            return true;
    return false;
}

/* Are all outputs numbers? Not every spec is defined at sizes that it elaborates with: a segment may be empty. */
static bool is_finite(const graph *g) {
    uint32_t tensors = graph_tensor_count(g);
    double **value   = enough(calloc(tensors + 1, sizeof *value));
    for (uint32_t i = 0; i < tensors; i++) {
        const tensor *t = graph_tensor(g, i);
        value[i]        = enough(malloc((size_t)t->elements * sizeof **value));
        for (int64_t k = 0; k < t->elements; k++)
            value[i][k] = initial_value(t, 1, (uint64_t)k);
    }
    interpretation *run = interpret_new(g, (const double *const *)value, 1);
    bool finite         = true;
    for (uint32_t i = 0; i < graph_output_count(g) && finite; i++)
        for (int64_t k = 0; k < graph_output(g, i)->elements && finite; k++)
            finite = isfinite(interpret_output(run, i)[k]);
    interpret_free(run);
    for (uint32_t i = 0; i < tensors; i++)
        free(value[i]);
    free(value);
    return finite;
}

static size_t fill(const declared_sizes *sizes, const elaboration *how, const limits *l, binding *set) {
    size_t count = 0;
    for (unsigned i = 0; i < sizes->count; i++) {
        const declared_size *s = &sizes->item[i];
        if (s->own && !given(how, s->name))
            set[count++] = (binding){s->name, (double)small_value(s, l)};
    }
    return count;
}

size_t gradcheck_sizes(const spec *mechanism, const elaboration *how, binding *set) {
    enum { TRIALS = sizeof trial / sizeof *trial };
    declared_sizes sizes;
    sizes_of(mechanism, how, &sizes);
    size_t first = TRIALS; /* the first that elaborates, should the outputs be finite at none */
    for (size_t k = 0; k < TRIALS; k++) {
        size_t count = fill(&sizes, how, &trial[k], set);
        graph *g     = sizes_elaborate(mechanism, how, set, count);
        bool right   = g && is_finite(g);
        first        = g && first == TRIALS ? k : first;
        graph_free(g);
        if (right)
            return count;
    }
    return first < TRIALS ? fill(&sizes, how, &trial[first], set) : 0;
}
