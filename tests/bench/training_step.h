/* The training step that benchmarks of the compiler time, simplified, at the study's sizes. */
#ifndef ATTNC_BENCH_TRAINING_STEP_H
#define ATTNC_BENCH_TRAINING_STEP_H

#include "../model_step.h"
#include "simplify.h"

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of `count` times, which it sorts. */
static double median(double *time, size_t count) {
    qsort(time, count, sizeof *time, by_value);
    return time[count / 2];
}

/* NULL where the model cannot have the mechanism; messages go to d. */
static graph *make_step(const step_specs *of, const spec *mechanism, const char *variant, int layers, diagnostics *d,
                        step_made *made) {
    binding depth   = {"L", layers};
    elaboration how = {.training = true, .bindings = &depth, .binding_count = 1};
    elaboration own = {.training = true, .variant = variant};
    graph *g        = make_model_step(of, mechanism, &own, &how, d, made);
    if (!g)
        return NULL;
    double start = processor_time();
    graph_drop_outputs(g, OUTPUT_GRADIENT);
    derive_forget_stops(g);
    double forgotten = processor_time();
    simplify_outputs(g, NULL);
    made->time[STOPS]          = forgotten - start;
    made->time[SIMPLIFICATION] = processor_time() - forgotten;
    return g;
}

#endif
