/* The training step that benchmarks of the compiler time: the language model of the study with one mechanism in it, its
 * gradients and the optimizer, made as runtime/training.c makes it. */
#ifndef ATTNC_BENCH_TRAINING_STEP_H
#define ATTNC_BENCH_TRAINING_STEP_H

#include "derive.h"
#include "elaborate.h"
#include "simplify.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef enum step_part { ELABORATION, DERIVATION, OPTIMIZER, STOPS, SIMPLIFICATION, STEP_PARTS } step_part;

typedef struct step_specs {
    spec *model, *optimizer;
} step_specs;

/* What making a step took, in ms of the processor, and how many nodes the graph had. */
typedef struct step_made {
    double time[STEP_PARTS];
    size_t forward, derived;
} step_made;

/* Times are of the processor: there is one thread, and what else runs on the machine counts less. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of `count` times, which it sorts. */
static double median(double *time, size_t count) {
    qsort(time, count, sizeof *time, by_value);
    return time[count / 2];
}

static void fail(const char *what, const char *which) {
    fprintf(stderr, "%s %s\n", what, which);
    exit(1);
}

static spec *read_spec(const char *path) {
    diagnostics d = {.stream = stderr};
    spec *s       = spec_read(path, NULL, &d);
    if (!s)
        fail("cannot read", path);
    return s;
}

static step_specs read_step_specs(void) {
    return (step_specs){.model     = read_spec(ATTNC_SOURCE_SPECS "/model/lm.att"),
                        .optimizer = read_spec(ATTNC_SOURCE_SPECS "/optimizer/adamw.att")};
}

static void free_step_specs(step_specs *of) {
    spec_free(of->model);
    spec_free(of->optimizer);
}

/* NULL where the model cannot have the mechanism; messages go to d. */
static graph *make_step(const step_specs *of, const spec *mechanism, const char *variant, int layers, diagnostics *d,
                        step_made *made) {
    binding depth   = {"L", layers};
    elaboration how = {.training = true, .bindings = &depth, .binding_count = 1};
    elaboration own = {.training = true, .variant = variant};
    graph *g        = graph_new();
    uint32_t orphan;
    double start = now();
    if (!elaborate_model(g, of->model, &mechanism, &own, 1, &how, d)) {
        graph_free(g);
        return NULL;
    }
    made->forward     = graph_node_count(g);
    double elaborated = now();
    if (!derive_parameter_gradients(g, &orphan))
        fail("no path to a loss in", spec_path(mechanism));
    double derived = now();
    made->derived  = graph_node_count(g);
    if (!elaborate_optimizer(g, of->optimizer, &(elaboration){0}, d))
        fail("cannot apply", spec_path(of->optimizer));
    double optimized = now();
    graph_drop_outputs(g, OUTPUT_GRADIENT);
    derive_forget_stops(g);
    double forgotten = now();
    simplify_outputs(g, NULL);
    double simplified          = now();
    made->time[ELABORATION]    = elaborated - start;
    made->time[DERIVATION]     = derived - elaborated;
    made->time[OPTIMIZER]      = optimized - derived;
    made->time[STOPS]          = forgotten - optimized;
    made->time[SIMPLIFICATION] = simplified - forgotten;
    return g;
}

#endif
