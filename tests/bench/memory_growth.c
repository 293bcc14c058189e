/* What a mechanism takes in memory and work as time grows, forward and backward:
 *
 *     memory_growth [--from=T] [--upto=T] [--times=N] [--limit=SECONDS] [--size NAME=X]... SPEC[:VARIANT]...
 *
 * One sequence and, where the spec has sizes B, H, G or J, one head, of width at most 64 (D); T = 1024, 2048, … 65536,
 * or each N times the one before. Each line is a process of its own. The plan is what is known before the first step:
 * the tensors that a run is given and returns, the workspace, and the tiles of each thread. Measured is by how much
 * the process grew, from when its code was ready until the run had ended: the peak, tensors included. Operations are
 * those of the schedule, counted block by block (schedule_cost.h). Then how many times what they were in the line
 * before. A length for which the machine has not enough memory, or that takes longer than the limit, is not run.
 *
 * Last, a Markdown table, a line for each variant. Memory is linear where neither plan nor measurement grows faster
 * than time and the tensors do (which are sometimes over pairs of positions), rounding aside. */
#include "compile.h"
#include "enough.h"
#include "fused/mechanism.h"
#include "initialise.h"
#include "machine.h"
#include "peak.h"
#include "schedule_cost.h"

#include <dnnl.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FROM = 1024, UPTO = 65536, TIMES = 2, MOST_WISHES = 32, MOST_LENGTHS = 32, SHORT_RUN = 5, MOST_RUNS = 9 };
static const double ROUNDING = 1.05, MEGABYTE = 1e6;

typedef enum outcome { RAN, TOO_LARGE, TOO_LONG, NOT_ELABORATED, NOT_COMPILED, DIED } outcome;
static const char *const WHY_NOT[] = {"",
                                      "more memory than there is",
                                      "longer than the limit",
                                      "it does not elaborate",
                                      "it does not compile",
                                      "the run ended badly"};

typedef struct measurement {
    outcome outcome;
    double tensors, workspace, tiles, taken; /* bytes; of tiles: all threads' */
    double operations, seconds;
} measurement;

typedef struct lengths {
    int64_t from, upto, times;
    unsigned limit; /* seconds; 0: none */
} lengths;

typedef struct growth {
    char *name;
    int64_t time[MOST_LENGTHS];
    measurement at[MOST_LENGTHS];
    unsigned count; /* of lengths, of which the last may not have run */
} growth;

static double planned(const measurement *m) {
    return m->tensors + m->workspace + m->tiles;
}

/* Measuring, in a process of its own, which ends */

static void *tensor_memory(const tensor *t) {
    float *memory = enough(malloc((size_t)t->elements * sizeof *memory));
    for (int64_t k = 0; k < t->elements; k++) {
        double value = initial_value(t, 1, (uint64_t)k);
        if (t->type == TYPE_INT)
            ((int32_t *)(void *)memory)[k] = (int32_t)value;
        else
            memory[k] = (float)value;
    }
    return memory;
}

/* The matrix library and the threads take memory once, however long time is; it is not the run's. */
static void wake_libraries(void) {
    enum { SIDE = 64 };
#pragma omp parallel
    {
        float *m = enough(calloc((size_t)3 * SIDE * SIDE, sizeof *m));
        dnnl_sgemm('N', 'N', SIDE, SIDE, SIDE, 1, m, SIDE, m + SIDE * SIDE, SIDE, 0, m + 2 * SIDE * SIDE, SIDE);
        free(m);
    }
}

/* The shortest of several runs, unless the first is long: it allocates, and others may be busy. */
static double time_runs(compiled *code, const void *const *in, void *const *out) {
    double began = omp_get_wtime(), shortest = INFINITY;
    for (int k = 0; k < MOST_RUNS && (k == 0 || omp_get_wtime() - began < SHORT_RUN); k++) {
        double start = omp_get_wtime();
        if (!compiled_run(code, in, out, 1))
            exit(3);
        shortest = fmin(shortest, omp_get_wtime() - start);
    }
    return shortest;
}

static void measure_run(measurement *m, const graph *g, compiled *code) {
    const void **in = enough(calloc(graph_tensor_count(g) + 1, sizeof *in));
    void **out      = enough(calloc(graph_output_count(g) + 1, sizeof *out));
    wake_libraries();
    double before = peak_begin();
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        in[i] = tensor_memory(graph_tensor(g, i));
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        out[i] = enough(malloc((size_t)graph_output(g, i)->elements * sizeof(float)));
    m->seconds = time_runs(code, in, out);
    m->taken   = peak_end() - before;
    m->outcome = RAN;
}

/* Tiles are on the stacks of the threads that have work: a step of one item is one thread's. */
static double tile_bytes(const schedule *p, const schedule_cost *c) {
    double most = 0;
    for (uint32_t k = 0; k < p->step_count; k++)
        if (p->step[k].kind != STEP_BLOCKS)
            most = fmax(most, (double)c->step[k].tiles * fmin((double)p->step[k].items, omp_get_max_threads()));
    return most;
}

typedef struct compiling {
    schedule *schedule;
    compiled *code;
    char error[512];
} compiling;

static void *compile_apart(void *data) {
    compiling *c = data;
    c->code      = compile_schedule(c->schedule, &(compile_options){0}, c->error, sizeof c->error);
    return NULL;
}

/* In a thread that ends, so that the compiler's stack is not there for the tiles of the run to be hidden in. */
static compiled *compile_here(schedule *p) {
    compiling c = {.schedule = p};
    pthread_t thread;
    if (pthread_create(&thread, NULL, compile_apart, &c) != 0)
        return NULL;
    pthread_join(thread, NULL);
    if (!c.code)
        fprintf(stderr, "memory_growth: %s\n", c.error);
    return c.code;
}

static measurement measure_here(const spec *s, const elaboration *how, const wished_sizes *sizes) {
    measurement m = {.outcome = NOT_ELABORATED};
    graph *g      = mechanism_graph(s, how, sizes);
    if (!g)
        return m;
    schedule *p      = schedule_graph(g, NULL);
    schedule_cost *c = schedule_cost_of(p);
    m.tensors        = interface_bytes(g);
    m.workspace      = (double)p->workspace;
    m.tiles          = tile_bytes(p, c);
    m.operations     = (double)c->total.matrix + (double)c->total.exponential + (double)c->total.other;
    schedule_cost_free(c);
    m.outcome = TOO_LARGE;
    if (planned(&m) > 0.9 * peak_said_by("/proc/meminfo", "MemAvailable:"))
        return m;
    compiled *code = compile_here(p);
    m.outcome      = NOT_COMPILED;
    schedule_free(p);
    if (code)
        measure_run(&m, g, code);
    return m;
}

static measurement measure(const spec *s, const elaboration *how, const wished_sizes *sizes, unsigned limit) {
    measurement m = {.outcome = DIED};
    int channel[2], status = 0;
    if (pipe(channel) != 0)
        return m;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(limit);
        m = measure_here(s, how, sizes);
        _exit(write(channel[1], &m, sizeof m) != sizeof m);
    }
    close(channel[1]);
    if (child < 0 || read(channel[0], &m, sizeof m) != sizeof m)
        m = (measurement){.outcome = DIED};
    close(channel[0]);
    if (child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        m.outcome = TOO_LONG;
    return m;
}

/* What is printed while it runs */

static void print_line(int64_t time, const measurement *m, const measurement *before) {
    printf("%8lld  %9.2f  %9.2f  %6.2f  %9.2f  %9.2f  %+6.1f  %9.3f  %8.3f", (long long)time, m->tensors / MEGABYTE,
           m->workspace / MEGABYTE, m->tiles / MEGABYTE, planned(m) / MEGABYTE, m->taken / MEGABYTE,
           100 * (m->taken / planned(m) - 1), m->operations * 1e-9, m->seconds);
    if (before)
        printf("     %5.2f  %5.2f  %5.2f  %5.2f", planned(m) / planned(before), m->taken / before->taken,
               m->operations / before->operations, m->seconds / before->seconds);
    putchar('\n');
    fflush(stdout);
}

static growth measure_variant(const spec *s, const char *variant, const wished_sizes *wishes, const lengths *l) {
    elaboration how = {.variant = variant};
    growth grown    = {.name = enough(strdup(variant ? variant : spec_name(s)))};
    printf("%s\n       T    tensors  workspace   tiles       plan   measured   above  operations  seconds     over the "
           "line before: plan, measured,\n"
           "                MB         MB      MB         MB         MB       %%         1e9               operations, "
           "seconds\n",
           grown.name);
    for (int64_t time = l->from; time <= l->upto && grown.count < MOST_LENGTHS; time *= l->times) {
        wished_sizes sizes;
        wish_for(&sizes, s, &how, time, wishes);
        unsigned k     = grown.count++;
        grown.time[k]  = time;
        measurement *m = &grown.at[k];
        *m             = measure(s, &how, &sizes, l->limit);
        if (m->outcome != RAN) {
            printf("%8lld  not run: %s\n", (long long)time, WHY_NOT[m->outcome]);
            break;
        }
        print_line(time, m, k ? m - 1 : NULL);
    }
    putchar('\n');
    fflush(stdout);
    return grown;
}

/* The table */

/* NULL: there are too few lengths to tell. */
static const char *is_linear(const growth *grown) {
    const char *linear = NULL;
    for (unsigned k = 1; k < grown->count && grown->at[k].outcome == RAN; k++) {
        const measurement *m = &grown->at[k], *before = m - 1;
        double allowed =
            ROUNDING * fmax((double)grown->time[k] / (double)grown->time[k - 1], m->tensors / before->tensors);
        if (m->taken > allowed * before->taken || planned(m) > allowed * planned(before))
            return "NO";
        linear = m->tensors > 1.5 * (double)grown->time[k] / (double)grown->time[k - 1] * before->tensors
                     ? "as its tensors, over pairs"
                     : "yes";
    }
    return linear;
}

static void print_table(const growth *grown, size_t count, const lengths *l) {
    printf("| peak, MB: planned, measured |");
    unsigned columns = 0;
    for (int64_t time = l->from; time <= l->upto && columns < MOST_LENGTHS; time *= l->times, columns++)
        printf(" T = %lld |", (long long)time);
    printf(" linear |\n|---|");
    for (unsigned k = 0; k < columns; k++)
        printf("--:|");
    printf("---|\n");
    for (size_t i = 0; i < count; i++) {
        printf("| `%s` |", grown[i].name);
        for (unsigned k = 0; k < columns; k++) {
            const measurement *m = &grown[i].at[k];
            if (k >= grown[i].count)
                printf(" |");
            else if (m->outcome != RAN)
                printf(" %s |", WHY_NOT[m->outcome]);
            else
                printf(" %.2f, %.2f |", planned(m) / MEGABYTE, m->taken / MEGABYTE);
        }
        const char *linear = is_linear(&grown[i]);
        printf(" %s |\n", linear ? linear : "too few lengths");
    }
}

/* The command line */

typedef struct results {
    growth *of;
    size_t count;
} results;

static bool measure_spec(results *all, char *argument, const wished_sizes *wishes, const lengths *l) {
    diagnostics d = {.stream = stderr};
    char *colon   = strrchr(argument, ':');
    if (colon)
        *colon = 0;
    spec *s = spec_read(argument, NULL, &d);
    if (!s)
        return false;
    size_t variants = spec_variant_count(s);
    for (size_t v = 0; v < variants || v == 0; v++) {
        const char *variant = v < variants ? spec_variant_name(s, v) : NULL;
        if (colon && (!variant || strcmp(variant, colon + 1) != 0))
            continue;
        all->of               = enough(realloc(all->of, (all->count + 1) * sizeof *all->of));
        all->of[all->count++] = measure_variant(s, variant, wishes, l);
    }
    spec_free(s);
    return true;
}

static bool read_number(const char *argument, const char *option, int64_t *number) {
    size_t length = strlen(option);
    if (strncmp(argument, option, length) != 0)
        return false;
    *number = strtoll(argument + length, NULL, 10);
    return true;
}

int main(int argc, char **argv) {
    wished_sizes wishes = {5, {{"B", 1}, {"H", 1}, {"G", 1}, {"J", 1}, {"D", 64}}};
    lengths l           = {FROM, UPTO, TIMES, 0};
    int64_t limit       = 0;
    int at              = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        char *equals;
        if (read_number(argv[at], "--from=", &l.from) || read_number(argv[at], "--upto=", &l.upto) ||
            read_number(argv[at], "--times=", &l.times) || read_number(argv[at], "--limit=", &limit)) {
            continue;
        } else if (strcmp(argv[at], "--size") == 0 && at + 1 < argc && (equals = strchr(argv[at + 1], '=')) &&
                   wishes.count < MOST_WISHES) {
            *equals = 0;
            wish(&wishes, argv[++at], strtoll(equals + 1, NULL, 10));
        } else {
            at = argc;
        }
    }
    if (at >= argc || l.from < 1 || l.times < 2 || limit < 0) {
        fprintf(stderr, "usage: memory_growth [--from=T] [--upto=T] [--times=N] [--limit=SECONDS] [--size NAME=X]... "
                        "SPEC[:VARIANT]...\n");
        return 2;
    }
    l.limit = (unsigned)limit;
    print_cpu();
    printf("%d threads\n\n", omp_get_max_threads());
    bool ok     = true;
    results all = {0};
    for (; at < argc; at++)
        ok &= measure_spec(&all, argv[at], &wishes, &l);
    print_table(all.of, all.count, &l);
    for (size_t i = 0; i < all.count; i++)
        free(all.of[i].name);
    free(all.of);
    return ok ? 0 : 1;
}
