/* Machine code of a schedule, run once. */
#include "stages_internal.h"

#ifdef RANDOM_WITHOUT_MACHINE /* builds of the front end only */

bool stages_run_machine(schedule *plan, double *const *value, double **output, uint64_t seed, char *error,
                        size_t size) {
    (void)plan, (void)value, (void)output, (void)seed;
    snprintf(error, size, "this build makes no machine code");
    return false;
}

#else

#include "compile.h"

#include <stdlib.h>

/* As the program takes it: float, or int32_t. */
static void *converted(const tensor *t, const double *value) {
    float *memory = stages_need(malloc((size_t)t->elements * sizeof *memory + 1));
    for (int64_t k = 0; k < t->elements; k++)
        if (t->type == TYPE_INT)
            ((int32_t *)(void *)memory)[k] = (int32_t)value[k];
        else
            memory[k] = (float)value[k];
    return memory;
}

static double *as_doubles(const float *x, int64_t elements) {
    double *all = stages_need(malloc((size_t)elements * sizeof *all + 1));
    for (int64_t k = 0; k < elements; k++)
        all[k] = x[k];
    return all;
}

bool stages_run_machine(schedule *plan, double *const *value, double **output, uint64_t seed, char *error,
                        size_t size) {
    const graph *g   = plan->graph;
    uint32_t tensors = graph_tensor_count(g), outputs = graph_output_count(g);
    compiled *code = compile_schedule(plan, &(compile_options){0}, error, size);
    if (!code)
        return false;
    void **in = stages_need(calloc(tensors + 1, sizeof *in)), **out = stages_need(calloc(outputs + 1, sizeof *out));
    for (uint32_t i = 0; i < tensors; i++)
        in[i] = converted(graph_tensor(g, i), value[i]);
    for (uint32_t i = 0; i < outputs; i++)
        out[i] = stages_need(calloc((size_t)graph_output(g, i)->elements + 1, sizeof(float)));
    bool ok = compiled_run(code, (const void *const *)in, out, seed);
    if (!ok)
        snprintf(error, size, "no memory for the workspace");
    for (uint32_t i = 0; i < outputs && ok; i++)
        output[i] = as_doubles(out[i], graph_output(g, i)->elements);
    compiled_free(code);
    for (uint32_t i = 0; i < tensors; i++)
        free(in[i]);
    for (uint32_t i = 0; i < outputs; i++)
        free(out[i]);
    free(in);
    free(out);
    return ok;
}

#endif
