/* A mechanism's graph as it is compiled, at sizes of the caller's wish. */
#ifndef ATTNC_FUSED_MECHANISM_H
#define ATTNC_FUSED_MECHANISM_H

#include "derive.h"
#include "gradcheck.h"
#include "recurrence.h"
#include "simplify.h"
#include "sizes.h"

#include <string.h>

typedef struct wished_sizes {
    size_t count;
    binding set[SIZES];
} wished_sizes;

static inline void wish(wished_sizes *w, const char *name, int64_t value) {
    w->set[w->count++] = (binding){name, (double)value};
}

/* Of the wishes those that name a size which the spec gives as a number, at most that number; and time. */
static inline void wish_for(wished_sizes *w, const spec *s, const elaboration *how, int64_t time,
                            const wished_sizes *wishes) {
    declared_sizes sizes;
    sizes_of(s, how, &sizes);
    const declared_size *length = sizes_time(&sizes);
    *w                          = (wished_sizes){0};
    if (length)
        wish(w, length->name, time);
    for (size_t i = 0; i < wishes->count; i++) {
        const declared_size *size = sizes_find(&sizes, wishes->set[i].name);
        if (!size || size == length || !size->own)
            continue;
        int64_t value = (int64_t)wishes->set[i].value;
        wish(w, size->name, size->value < value ? size->value : value);
    }
}

/* Forward and backward, simplified. NULL where the mechanism does not elaborate with these sizes, or has no real output
 * to differentiate. */
static inline graph *mechanism_graph_with(const spec *s, const elaboration *how, const wished_sizes *sizes,
                                          const recurrence_options *recurrences) {
    graph *g = sizes_elaborate(s, how, sizes->set, sizes->count);
    if (!g)
        return NULL;
    recurrence_by_chunks(g, recurrences);
    if (!gradcheck_add_backward(g)) {
        graph_free(g);
        return NULL;
    }
    derive_forget_stops(g);
    simplify_outputs(g, NULL);
    return g;
}

static inline graph *mechanism_graph(const spec *s, const elaboration *how, const wished_sizes *sizes) {
    return mechanism_graph_with(s, how, sizes, NULL);
}

/* Bytes of the tensors that a run is given and of those it returns. */
static inline double interface_bytes(const graph *g) {
    double bytes = 0;
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        bytes += 4.0 * (double)graph_tensor(g, i)->elements;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        bytes += 4.0 * (double)graph_output(g, i)->elements;
    return bytes;
}

#endif
