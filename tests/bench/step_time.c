/* Times one training step of the model with each mechanism, beside what this machine's matrix products reach:
 *
 *     step_time [--size NAME=X]... SPEC[:VARIANT]...
 *
 * Sizes are the model's (T=512, layers=2, …). Tokens are random. Prints the CPU, the rate of `dnnl_sgemm` on
 * 2048 x 2048 x 2048, and a line per variant: the median of the steps after the first two, its spread, the loss of the
 * first and of the last step, and the bytes held. */
#include "machine.h"
#include "product_rate.h"
#include "training.h"

#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 9, WARM = 2, MAX_SIZES = 32 };

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool time_variant(const char *argument, const spec *model, const spec *optimizer, const binding *sizes,
                         size_t size_count, diagnostics *d) {
    char path[1024], error[512] = "", *colon;
    snprintf(path, sizeof path, "%s", argument);
    if ((colon = strrchr(path, ':')))
        *colon = 0;
    spec *mechanism = spec_read(path, NULL, d);
    if (!mechanism)
        return false;
    training_request request = {.mechanism     = mechanism,
                                .model         = model,
                                .optimizer     = optimizer,
                                .mechanism_how = {.variant = colon ? colon + 1 : NULL},
                                .model_how     = {.bindings = sizes, .binding_count = size_count},
                                .seed          = 1};
    training *t              = training_new(&request, d, error, sizeof error);
    if (!t) {
        fprintf(stderr, "step_time: %s\n", error);
        spec_free(mechanism);
        return false;
    }
    double vocabulary = 32000;
    for (size_t i = 0; i < size_count; i++)
        if (strcmp(sizes[i].name, "V") == 0)
            vocabulary = sizes[i].value;
    size_t count    = (size_t)training_batch_size(t) * training_length(t);
    int32_t *tokens = malloc(4 * count), *targets = malloc(4 * count);
    float *weight = malloc(4 * count);
    double seconds[STEPS], first = 0, last = 0;
    bool ok = tokens && targets && weight;
    srand(1);
    for (int k = 0; ok && k < STEPS; k++) {
        training_result r;
        for (size_t i = 0; i < count; i++) {
            tokens[i]  = (int32_t)(rand() % (int)vocabulary);
            targets[i] = (int32_t)((tokens[i] + 1) % (int)vocabulary);
            weight[i]  = 1;
        }
        double start = omp_get_wtime();
        ok           = training_step(t, tokens, targets, weight, 1e-3, (uint64_t)k + 1, &r);
        seconds[k]   = omp_get_wtime() - start;
        last         = r.loss;
        first        = k == 0 ? r.loss : first;
    }
    if (ok) {
        qsort(seconds + WARM, STEPS - WARM, sizeof *seconds, compare);
        printf("%-36s %8.4f s/step (%.4f to %.4f)  loss %.4f to %.4f  %6.0f MB  compiled in %.1f s\n", argument,
               seconds[WARM + (STEPS - WARM) / 2], seconds[WARM], seconds[STEPS - 1], first, last,
               (double)training_bytes(t) * 1e-6, training_compile_seconds(t));
        fflush(stdout);
    }
    free(tokens);
    free(targets);
    free(weight);
    training_free(t);
    spec_free(mechanism);
    return ok;
}

int main(int count, char **argument) {
    diagnostics d = {.stream = stderr};
    binding sizes[MAX_SIZES];
    size_t size_count = 0;
    int at            = 1;
    for (; at + 1 < count && strcmp(argument[at], "--size") == 0 && size_count < MAX_SIZES; at += 2) {
        char *equals = strchr(argument[at + 1], '=');
        if (!equals)
            break;
        *equals             = 0;
        sizes[size_count++] = (binding){argument[at + 1], strtod(equals + 1, NULL)};
    }
    if (at >= count) {
        fprintf(stderr, "usage: step_time [--size NAME=X]... SPEC[:VARIANT]...\n");
        return 2;
    }
    spec *model     = spec_read(ATTNC_SOURCE_SPECS "/model/lm.att", NULL, &d);
    spec *optimizer = spec_read(ATTNC_SOURCE_SPECS "/optimizer/adamw.att", NULL, &d);
    bool ok         = model && optimizer;
    if (ok) {
        print_cpu();
        printf("dnnl_sgemm 2048: %.0f GFLOP/s\n", product_rate());
    }
    for (; ok && at < count; at++)
        ok = time_variant(argument[at], model, optimizer, sizes, size_count, &d);
    if (model)
        spec_free(model);
    if (optimizer)
        spec_free(optimizer);
    return ok ? 0 : 1;
}
