/* A training step of the language model of the study with one mechanism in it, as runtime/training.c makes it: losses,
 * gradients, AdamW. What cannot be read or made ends the program. */
#ifndef ATTNC_TESTS_MODEL_STEP_H
#define ATTNC_TESTS_MODEL_STEP_H

#include "derive.h"
#include "elaborate.h"
#include "recurrence.h"

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
static inline double processor_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static inline void step_failed(const char *what, const char *which) {
    fprintf(stderr, "%s %s\n", what, which);
    exit(1);
}

static inline spec *read_spec(const char *path) {
    diagnostics d = {.stream = stderr};
    spec *s       = spec_read(path, NULL, &d);
    if (!s)
        step_failed("cannot read", path);
    return s;
}

static inline step_specs read_step_specs(void) {
    return (step_specs){.model     = read_spec(ATTNC_SOURCE_SPECS "/model/lm.att"),
                        .optimizer = read_spec(ATTNC_SOURCE_SPECS "/optimizer/adamw.att")};
}

static inline void free_step_specs(step_specs *of) {
    spec_free(of->model);
    spec_free(of->optimizer);
}

/* `own` is of the mechanism, `how` of the model. Gradients are still results, and STOPs are in it. NULL where the model
 * cannot have the mechanism; messages go to d. Fills in what it does of *made. */
static inline graph *make_model_step(const step_specs *of, const spec *mechanism, const elaboration *own,
                                     const elaboration *how, diagnostics *d, step_made *made) {
    graph *g = graph_new();
    uint32_t orphan;
    double start = processor_time();
    if (!elaborate_model(g, of->model, &mechanism, own, 1, how, d)) {
        graph_free(g);
        return NULL;
    }
    recurrence_by_chunks(g, NULL);
    made->forward     = graph_node_count(g);
    double elaborated = processor_time();
    if (!derive_parameter_gradients(g, &orphan))
        step_failed("no path to a loss in", spec_path(mechanism));
    double derived = processor_time();
    made->derived  = graph_node_count(g);
    if (!elaborate_optimizer(g, of->optimizer, &(elaboration){0}, d))
        step_failed("cannot apply", spec_path(of->optimizer));
    made->time[ELABORATION] = elaborated - start;
    made->time[DERIVATION]  = derived - elaborated;
    made->time[OPTIMIZER]   = processor_time() - derived;
    return g;
}

/* A small one for tests, of the mechanism in specs/`name`.att, with STOPs forgotten. */
static inline graph *make_small_step(const char *name, const elaboration *own, const binding *size, size_t sizes) {
    char path[1024];
    diagnostics d = {.stream = stderr};
    step_made made;
    snprintf(path, sizeof path, ATTNC_SOURCE_SPECS "/%s.att", name);
    elaboration how = {.bindings = size, .binding_count = sizes, .training = true};
    spec *mechanism = read_spec(path);
    step_specs of   = read_step_specs();
    graph *g        = make_model_step(&of, mechanism, own, &how, &d, &made);
    if (!g)
        step_failed("the model cannot have", path);
    derive_forget_stops(g);
    spec_free(mechanism);
    free_step_specs(&of);
    return g;
}

#endif
