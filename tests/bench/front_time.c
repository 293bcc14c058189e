/* Times the front end: reading, checking and elaborating every spec of the repository, and a spec of 10,000 lines that
 * is made here.
 *
 *     front_time [RUNS]
 *
 * Prints the CPU, and for both the median of RUNS runs (11), the fastest and the slowest, and the parts of the median
 * run: reading (scanner, parser, includes), elaboration, verification of the graph. Times are of the processor: there
 * is one thread, and what else runs on the machine counts less. */
#include "elaborate.h"
#include "machine.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_RUNS = 1001, MAX_SPECS = 256, LINES = 10000 };

typedef struct timing {
    double read, elaborate, verify, all;
} timing;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = ((const timing *)a)->all, y = ((const timing *)b)->all;
    return (x > y) - (x < y);
}

static void fail(const char *what, const char *which) {
    fprintf(stderr, "front_time: %s %s\n", what, which);
    exit(1);
}

/* Every variant of a spec; a model with `identity` in its slot; an optimizer of one parameter. */
static void elaborate(const spec *s, const spec *identity, timing *t) {
    diagnostics d = {.stream = stderr};
    size_t count  = spec_variant_count(s);
    for (size_t v = 0; v <= count; v++) {
        double start    = now();
        graph *g        = graph_new();
        elaboration how = {.training = true, .variant = v < count ? spec_variant_name(s, v) : NULL};
        bool ok         = true;
        if (spec_get_kind(s) == SPEC_MODEL) {
            ok = elaborate_model(g, s, (const spec *const[]){identity}, &(elaboration){0}, 1, &how, &d);
        } else if (spec_get_kind(s) == SPEC_OPTIMIZER) {
            tensor w   = {.name = "w", .kind = TENSOR_PARAMETER, .type = TYPE_FLOAT, .group = "other"};
            uint32_t n = graph_add_tensor(g, &w);
            node leaf  = graph_tensor(g, n)->node;
            graph_add_output(g, &(output){.name = "gradient.w", .kind = OUTPUT_GRADIENT, .tensor = n, .node = leaf});
            ok = elaborate_optimizer(g, s, &how, &d);
        } else if (spec_get_kind(s) == SPEC_MECHANISM) {
            ok = elaborate_mechanism(g, s, &how, &d);
        }
        double middle   = now();
        char error[256] = "";
        if (!ok || !graph_verify(g, error, sizeof error))
            fail(spec_path(s), error);
        double end = now();
        graph_free(g);
        t->elaborate += middle - start;
        t->verify += end - middle;
    }
}

static timing all_specs(char *const *path, size_t count) {
    timing t       = {0};
    diagnostics d  = {.stream = stderr};
    double start   = now();
    spec *identity = spec_read(ATTNC_SOURCE_SPECS "/identity.att", NULL, &d);
    if (!identity)
        fail("cannot read", "identity.att");
    for (size_t i = 0; i < count; i++) {
        double begin = now();
        spec *s      = spec_read(path[i], NULL, &d);
        t.read += now() - begin;
        if (!s)
            fail("cannot read", path[i]);
        elaborate(s, identity, &t);
        spec_free(s);
    }
    spec_free(identity);
    t.all = now() - start;
    return t;
}

/* Definitions that read earlier ones, parameters, functions that call functions, recurrences, and comments, in the
 * proportions of the specs. */
static char *long_spec(size_t *size) {
    char *text = NULL;
    FILE *f    = open_memstream(&text, size);
    if (!f)
        fail("no", "memory");
    fputs("mechanism long \"ten thousand lines\"\ninclude \"lib/standard.att\"\nsize B = 2, T = 64, D = 32, H = 4, E = "
          "D / "
          "H\nindex b:B  t:T  s:T  d:D  h:H  e:E\ninput x[b,t,d]\na0[b,t,d] = x[b,t,d]\n",
          f);
    int last = 0;
    for (int line = 7, k = 1; line < LINES; k++) {
        int other = (int)((unsigned)k * 2654435761u % (unsigned)k);
        fprintf(f, "# part %d\n", k);
        fprintf(f, "param W%d[h,e,d], V%d[h,e,d]  ~ normal(0, 0.02)\n", k, k);
        fprintf(f, "param g%d[d]  ~ ones\n", k);
        fprintf(f, "fn mix%d(u, w) = silu(u) * w + 0.5 * u / (1 + abs(w))\n", k);
        fprintf(f, "fn gate%d[i](u[i]) = rmsnorm[i](u[i]) * sigmoid(mix%d(u[i], 0.25))\n", k, k);
        fprintf(f, "n%d[b,t,d] = gate%d[d](a%d[b,t,d]) * g%d[d]\n", k, k, k - 1, k);
        fprintf(f, "q%d[b,t,h,e] = rope[e](sum[d](n%d[b,t,d] * W%d[h,e,d]), t)\n", k, k, k);
        fprintf(f, "z%d[b,h,t,s] = sum[e](q%d[b,t,h,e] * q%d[b,s,h,e]) / sqrt(float(E))\n", k, k, k);
        fprintf(f, "p%d[b,h,t,s] = softmax[s where s <= t](z%d[b,h,t,s])\n", k, k);
        fprintf(f, "S%d[b,t,h,e] = 0.9 * S%d[b,t-1,h,e] + sum[s](p%d[b,h,t,s] * q%d[b,s,h,e])  from 0\n", k, k, k, k);
        fprintf(f, "a%d[b,t,d] = mix%d(a%d[b,t,d], a%d[b,t,d]) + sum[h,e](S%d[b,t,h,e] * V%d[h,e,d])\n", k, k, k - 1,
                other, k, k);
        line += 11;
        last = k;
    }
    fprintf(f, "output y[b,t,d] = a%d[b,t,d]\n", last);
    fclose(f);
    return text;
}

static timing one_text(const char *text, size_t size) {
    timing t      = {0};
    diagnostics d = {.stream = stderr};
    double start  = now();
    spec *s       = spec_read_text(ATTNC_SOURCE_SPECS "/long.att", text, size, NULL, &d);
    t.read        = now() - start;
    if (!s)
        fail("cannot read", "the long spec");
    elaborate(s, NULL, &t);
    spec_free(s);
    t.all = now() - start;
    return t;
}

static void print(const char *what, timing *t, size_t runs) {
    qsort(t, runs, sizeof *t, compare);
    const timing *m = &t[runs / 2];
    printf("%-28s median %7.2f ms (%.2f to %.2f): reading %.2f, elaboration %.2f, verification %.2f\n", what,
           1e3 * m->all, 1e3 * t[0].all, 1e3 * t[runs - 1].all, 1e3 * m->read, 1e3 * m->elaborate, 1e3 * m->verify);
}

/* Paths of the specs in a folder, appended. */
static void list(const char *folder, char **path, size_t *count) {
    DIR *open = opendir(folder);
    if (!open)
        fail("cannot read", folder);
    for (struct dirent *entry; (entry = readdir(open)) && *count < MAX_SPECS;) {
        size_t length = strlen(entry->d_name), size = strlen(folder) + length + 2;
        if (length < 4 || strcmp(entry->d_name + length - 4, ".att") != 0)
            continue;
        path[*count] = malloc(size);
        if (!path[*count])
            fail("no", "memory");
        snprintf(path[(*count)++], size, "%s/%s", folder, entry->d_name);
    }
    closedir(open);
}

int main(int argc, char **argv) {
    static char *path[MAX_SPECS];
    static timing t[MAX_RUNS];
    size_t count = 0, size = 0, lines = 0, runs = argc > 1 ? strtoul(argv[1], NULL, 10) : 11;
    if (runs < 1 || runs > MAX_RUNS) {
        fprintf(stderr, "usage: front_time [RUNS]   1 to %d of them\n", MAX_RUNS);
        return 2;
    }
    print_cpu();
    list(ATTNC_SOURCE_SPECS, path, &count);
    list(ATTNC_SOURCE_SPECS "/more", path, &count);
    list(ATTNC_SOURCE_SPECS "/model", path, &count);
    list(ATTNC_SOURCE_SPECS "/optimizer", path, &count);
    list(ATTNC_SOURCE_SPECS "/lib", path, &count);
    char what[64];
    for (size_t i = 0; i < runs; i++)
        t[i] = all_specs(path, count);
    snprintf(what, sizeof what, "%zu specs, all variants", count);
    print(what, t, runs);
    size_t specs = count;
    list(ATTNC_SOURCE_SPECS "/../examples/mechanisms", path, &count);
    for (size_t i = 0; i < runs; i++)
        t[i] = all_specs(path + specs, count - specs);
    snprintf(what, sizeof what, "%zu examples", count - specs);
    print(what, t, runs);
    char *text = long_spec(&size);
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    for (size_t i = 0; i < runs; i++)
        t[i] = one_text(text, size);
    snprintf(what, sizeof what, "a spec of %zu lines", lines);
    print(what, t, runs);
    free(text);
    for (size_t i = 0; i < count; i++)
        free(path[i]);
    return 0;
}
