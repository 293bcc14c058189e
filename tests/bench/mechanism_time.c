/* Times a mechanism by itself, forward and backward, and how long it takes to compile:
 *
 *     mechanism_time [--length=T] [--batch=B] [--chunk=N] [--runs=N] SPEC[:VARIANT]...
 *
 * T is 1024, B 4 where nothing is said, recurrences go in chunks of N (0: chosen by cost); other sizes are the spec's
 * own. Prints the CPU, the rate of `dnnl_sgemm` on 2048 x 2048 x 2048, and a line per mechanism, in ms: processor time
 * to schedule and compile; a run by the clock, median and least of N (15) after two; processor time of all threads
 * within the library and outside it, each the least of N; then how many products of matrices the library is asked for,
 * their GFLOPs, and their rate over the whole run. Processor time counts less what else runs on the machine.
 * `__wrap_dnnl_sgemm`, which the linker puts in the library's place, counts and times calls. Waiting threads use no
 * processor where OMP_WAIT_POLICY is passive, and only then. */
#include "compile.h"
#include "enough.h"
#include "fused/mechanism.h"
#include "initialise.h"
#include "machine.h"
#include "product_rate.h"

#include <dnnl.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WARM = 2, MOST_RUNS = 1001, SEED = 7 };

/* What the library is asked for. */

typedef struct calls {
    atomic_llong count, operations, nanoseconds;
} calls;

static calls made;

static double processor_ms(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

dnnl_status_t __real_dnnl_sgemm(char ta, char tb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k, float alpha, const float *a,
                                dnnl_dim_t lda, const float *b, dnnl_dim_t ldb, float beta, float *c, dnnl_dim_t ldc);
dnnl_status_t __wrap_dnnl_sgemm(char ta, char tb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k, float alpha, const float *a,
                                dnnl_dim_t lda, const float *b, dnnl_dim_t ldb, float beta, float *c, dnnl_dim_t ldc);

dnnl_status_t __wrap_dnnl_sgemm(char ta, char tb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k, float alpha, const float *a,
                                dnnl_dim_t lda, const float *b, dnnl_dim_t ldb, float beta, float *c, dnnl_dim_t ldc) {
    double start         = processor_ms(CLOCK_THREAD_CPUTIME_ID);
    dnnl_status_t status = __real_dnnl_sgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    made.nanoseconds += (long long)(1e6 * (processor_ms(CLOCK_THREAD_CPUTIME_ID) - start));
    made.operations += 2 * m * n * k;
    made.count++;
    return status;
}

/* A mechanism. */

typedef struct wishes {
    int64_t length, batch, chunk;
    int runs;
} wishes;

typedef struct arrays {
    void **tensor, **output;
} arrays;

static void fail(const char *what, const char *which) {
    fprintf(stderr, "mechanism_time: %s %s\n", what, which);
    exit(1);
}

static graph *graph_of(const spec *s, const char *variant, const wishes *w) {
    elaboration how      = {.variant = variant};
    wished_sizes batches = {1, {{"B", (double)w->batch}}}, sizes;
    wish_for(&sizes, s, &how, w->length, &batches);
    graph *g = mechanism_graph_with(s, &how, &sizes, &(recurrence_options){.chunk = w->chunk});
    if (!g)
        fail("cannot elaborate or differentiate", spec_path(s));
    return g;
}

static arrays new_arrays(const graph *g) {
    uint32_t tensors = graph_tensor_count(g), outputs = graph_output_count(g);
    arrays of = {enough(calloc(tensors + 1, sizeof(void *))), enough(calloc(outputs + 1, sizeof(void *)))};
    for (uint32_t i = 0; i < tensors; i++) {
        const tensor *t = graph_tensor(g, i);
        of.tensor[i]    = enough(malloc((size_t)t->elements * sizeof(float)));
        for (int64_t k = 0; k < t->elements; k++) {
            double value = initial_value(t, SEED, (uint64_t)k);
            if (t->type == TYPE_INT)
                ((int32_t *)of.tensor[i])[k] = (int32_t)value;
            else
                ((float *)of.tensor[i])[k] = (float)value;
        }
    }
    for (uint32_t i = 0; i < outputs; i++)
        of.output[i] = enough(malloc((size_t)graph_output(g, i)->elements * sizeof(float)));
    return of;
}

static void free_arrays(const graph *g, arrays *of) {
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        free(of->tensor[i]);
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        free(of->output[i]);
    free(of->tensor);
    free(of->output);
}

static double run_once(compiled *code, const arrays *of) {
    double start = omp_get_wtime();
    if (!compiled_run(code, (const void *const *)of->tensor, of->output, SEED))
        fail("no memory for", "the workspace");
    return omp_get_wtime() - start;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Milliseconds of runs by the clock, and of processor time that all threads spend in the library and outside. */
typedef struct timing {
    double whole[MOST_RUNS], inside[MOST_RUNS], outside[MOST_RUNS];
} timing;

static void time_runs(compiled *code, const arrays *of, int runs, timing *t) {
    for (int i = -WARM; i < runs; i++) {
        made           = (calls){0};
        double start   = processor_ms(CLOCK_PROCESS_CPUTIME_ID);
        double seconds = run_once(code, of), used = processor_ms(CLOCK_PROCESS_CPUTIME_ID) - start;
        if (i < 0)
            continue;
        t->whole[i]   = 1e3 * seconds;
        t->inside[i]  = 1e-6 * (double)made.nanoseconds;
        t->outside[i] = used - t->inside[i];
    }
    qsort(t->whole, (size_t)runs, sizeof(double), compare);
    qsort(t->inside, (size_t)runs, sizeof(double), compare);
    qsort(t->outside, (size_t)runs, sizeof(double), compare);
}

static void time_graph(graph *g, const char *name, int runs) {
    static timing t;
    char error[512] = "";
    double start    = processor_ms(CLOCK_PROCESS_CPUTIME_ID);
    compiled *code  = compile_graph(g, &(compile_options){0}, error, sizeof error);
    double took     = processor_ms(CLOCK_PROCESS_CPUTIME_ID) - start;
    if (!code)
        fail(name, error);
    arrays of = new_arrays(g);
    time_runs(code, &of, runs, &t);
    double work = 1e-9 * (double)made.operations;
    printf("%-16s %8.0f %9.2f %9.2f %9.2f %9.2f %8lld %8.3f %8.1f\n", name, took, t.whole[runs / 2], t.whole[0],
           t.inside[0], t.outside[0], (long long)made.count, work, 1e3 * work / t.whole[runs / 2]);
    fflush(stdout);
    free_arrays(g, &of);
    compiled_free(code);
}

static void time_variant(const char *argument, const wishes *w) {
    diagnostics d = {.stream = stderr};
    char path[1024], *colon;
    snprintf(path, sizeof path, "%s", argument);
    if ((colon = strrchr(path, ':')))
        *colon++ = 0;
    spec *s = spec_read(path, NULL, &d);
    if (!s)
        fail("cannot read", path);
    graph *g = graph_of(s, colon, w);
    time_graph(g, colon ? colon : spec_name(s), w->runs);
    graph_free(g);
    spec_free(s);
}

static bool take_number(const char *argument, const char *option, int64_t *value) {
    size_t length = strlen(option);
    if (strncmp(argument, option, length) != 0)
        return false;
    *value = strtoll(argument + length, NULL, 10);
    return *value > 0;
}

int main(int count, char **argument) {
    wishes w     = {.length = 1024, .batch = 4};
    int64_t runs = 15;
    int at       = 1;
    while (at < count &&
           (take_number(argument[at], "--length=", &w.length) || take_number(argument[at], "--batch=", &w.batch) ||
            take_number(argument[at], "--chunk=", &w.chunk) || take_number(argument[at], "--runs=", &runs)))
        at++;
    if (at >= count || argument[at][0] == '-') {
        fprintf(stderr, "usage: mechanism_time [--length=T] [--batch=B] [--chunk=N] [--runs=N] SPEC[:VARIANT]...\n");
        return 2;
    }
    w.runs = (int)(runs < MOST_RUNS ? runs : MOST_RUNS);
    print_cpu();
    printf("%d threads, dnnl_sgemm 2048: %.0f GFLOP/s\n", omp_get_max_threads(), product_rate());
    printf("%-16s %8s %9s %9s %9s %9s %8s %8s %8s\n", "", "compile", "run", "least", "inside", "outside", "products",
           "GFLOP", "GFLOP/s");
    for (; at < count; at++)
        time_variant(argument[at], &w);
    return 0;
}
