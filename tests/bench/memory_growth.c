/* What a mechanism takes in memory and time as time grows, forward and backward:
 *
 *     memory_growth [--from=T] [--upto=T] [--size NAME=X]... SPEC[:VARIANT]...
 *
 * One sequence and, where the spec has sizes B, H, G or J, one head, of width at most 64 (D); T = 1024, 2048, … 65536.
 * Each line is a process of its own: bytes of the workspace, of the tensors that the run is given and returns, of the
 * memory that the run took at most (tensors and workspace as they were touched), seconds, and each over the line
 * before. A length for which the machine has not enough memory is not run. Last, for each: is memory linear, which is
 * to say, does the workspace at the longest length grow no faster than the tensors (which grow by 2, or by 4 where they
 * are over pairs of positions), rounding aside. */
#include "compile.h"
#include "enough.h"
#include "fused/mechanism.h"
#include "initialise.h"
#include "machine.h"

#include <math.h>
#include <omp.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FROM = 1024, UPTO = 65536, MOST_WISHES = 32, SHORT_RUN = 5 };
static const double LINEAR = 2.1;

typedef enum outcome { RAN, TOO_LARGE, NOT_ELABORATED, NOT_COMPILED, DIED } outcome;

typedef struct measurement {
    outcome outcome;
    double workspace, tensors, taken, seconds;
} measurement;

/* Bytes that a file of /proc says in kB behind `key`; 0 where it does not. */
static double said_by(const char *path, const char *key) {
    char line[256];
    double bytes = 0;
    FILE *f      = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            bytes = 1024 * strtod(line + strlen(key), NULL);
    if (f)
        fclose(f);
    return bytes;
}

/* From now on the peak is of what follows. */
static void forget_peak(void) {
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f)
        return;
    fputs("5", f);
    fclose(f);
}

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

/* The second run, where the first is short: it allocates. */
static double time_runs(compiled *code, const void *const *in, void *const *out) {
    double seconds = 0;
    for (int k = 0; k < 2 && (k == 0 || seconds < SHORT_RUN); k++) {
        double start = omp_get_wtime();
        if (!compiled_run(code, in, out, 1))
            exit(3);
        seconds = omp_get_wtime() - start;
    }
    return seconds;
}

/* In a process of its own, which ends. */
static measurement measure_here(const spec *s, const elaboration *how, const wished_sizes *sizes) {
    char error[512];
    measurement m = {.outcome = NOT_ELABORATED};
    graph *g      = mechanism_graph(s, how, sizes);
    if (!g)
        return m;
    m.tensors      = interface_bytes(g);
    compiled *code = compile_graph(g, &(compile_options){0}, error, sizeof error);
    m.outcome      = NOT_COMPILED;
    if (!code) {
        fprintf(stderr, "memory_growth: %s\n", error);
        return m;
    }
    m.workspace = (double)compiled_workspace_bytes(code);
    m.outcome   = TOO_LARGE;
    if (m.workspace + m.tensors > 0.9 * said_by("/proc/meminfo", "MemAvailable:"))
        return m;
    double before = said_by("/proc/self/status", "VmRSS:");
    forget_peak();
    const void **in = enough(calloc(graph_tensor_count(g) + 1, sizeof *in));
    void **out      = enough(calloc(graph_output_count(g) + 1, sizeof *out));
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        in[i] = tensor_memory(graph_tensor(g, i));
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        out[i] = enough(malloc((size_t)graph_output(g, i)->elements * sizeof(float)));
    m.seconds = time_runs(code, in, out);
    m.taken   = said_by("/proc/self/status", "VmHWM:") - before;
    m.outcome = RAN;
    return m;
}

static measurement measure(const spec *s, const elaboration *how, const wished_sizes *sizes) {
    measurement m = {.outcome = DIED};
    int channel[2], status;
    if (pipe(channel) != 0)
        return m;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        m = measure_here(s, how, sizes);
        _exit(write(channel[1], &m, sizeof m) != sizeof m);
    }
    close(channel[1]);
    if (child < 0 || read(channel[0], &m, sizeof m) != sizeof m)
        m.outcome = DIED;
    close(channel[0]);
    if (child > 0)
        waitpid(child, &status, 0);
    return m;
}

static void print_line(int64_t time, const measurement *m, const measurement *before) {
    printf("%8lld  %9.1f  %7.1f  %8.1f  %9.3f", (long long)time, m->workspace * 1e-6, m->tensors * 1e-6,
           m->taken * 1e-6, m->seconds);
    if (before->tensors > 0)
        printf("     %5.2f  %5.2f  %5.2f  %5.2f", m->workspace / before->workspace, m->tensors / before->tensors,
               m->taken / before->taken, m->seconds / before->seconds);
    putchar('\n');
    fflush(stdout);
}

static void print_summary(const char *name, const measurement *last, const measurement *before, int64_t time) {
    if (!(before->tensors > 0)) {
        printf("%s: too few lengths to tell\n", name);
        return;
    }
    double growth  = last->workspace / before->workspace,
           allowed = fmax(LINEAR, LINEAR / 2 * last->tensors / before->tensors);
    bool linear    = growth <= allowed || last->workspace == 0;
    printf(
        "%s: memory is %s: up to T = %lld the workspace grows %.2f times where T doubles, the tensors %.2f times\n\n",
        name, linear ? "linear" : "NOT linear", (long long)time, growth, last->tensors / before->tensors);
}

static void measure_variant(const spec *s, const char *variant, const wished_sizes *wishes, int64_t from,
                            int64_t upto) {
    static const char *const WHY[] = {"", "more memory than there is", "it does not elaborate", "it does not compile",
                                      "the run ended badly"};
    elaboration how                = {.variant = variant};
    const char *name               = variant ? variant : spec_name(s);
    measurement last = {0}, before = {0};
    int64_t reached = 0;
    printf("%s\n       T  workspace  tensors     taken    seconds     over the line before\n"
           "                MB       MB        MB\n",
           name);
    for (int64_t time = from; time <= upto; time *= 2) {
        wished_sizes sizes;
        wish_for(&sizes, s, &how, time, wishes);
        measurement m = measure(s, &how, &sizes);
        if (m.outcome != RAN) {
            printf("%8lld  not run: %s", (long long)time, WHY[m.outcome]);
            printf(m.outcome == TOO_LARGE ? " (%.1f GB)\n" : "\n", (m.workspace + m.tensors) * 1e-9);
            break;
        }
        print_line(time, &m, &last);
        before  = last;
        last    = m;
        reached = time;
    }
    print_summary(name, &last, &before, reached);
}

static bool measure_spec(char *argument, const wished_sizes *wishes, int64_t from, int64_t upto) {
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
        if (!colon || (variant && strcmp(variant, colon + 1) == 0))
            measure_variant(s, variant, wishes, from, upto);
    }
    spec_free(s);
    return true;
}

int main(int argc, char **argv) {
    wished_sizes wishes = {5, {{"B", 1}, {"H", 1}, {"G", 1}, {"J", 1}, {"D", 64}}};
    int64_t from = FROM, upto = UPTO;
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        char *equals;
        if (strncmp(argv[at], "--from=", 7) == 0) {
            from = strtoll(argv[at] + 7, NULL, 10);
        } else if (strncmp(argv[at], "--upto=", 7) == 0) {
            upto = strtoll(argv[at] + 7, NULL, 10);
        } else if (strcmp(argv[at], "--size") == 0 && at + 1 < argc && (equals = strchr(argv[at + 1], '=')) &&
                   wishes.count < MOST_WISHES) {
            *equals = 0;
            wish(&wishes, argv[++at], strtoll(equals + 1, NULL, 10));
        } else {
            at = argc;
        }
    }
    if (at >= argc || from < 1) {
        fprintf(stderr, "usage: memory_growth [--from=T] [--upto=T] [--size NAME=X]... SPEC[:VARIANT]...\n");
        return 2;
    }
    print_cpu();
    bool ok = true;
    for (; at < argc; at++)
        ok &= measure_spec(argv[at], &wishes, from, upto);
    return ok ? 0 : 1;
}
