/* Times the making of a training step: the language model with every mechanism of the study, each variant, at the
 * study's sizes, of few and of many layers.
 *
 *     derive_time [--runs N] [SPEC...]
 *
 * Prints the CPU, and a line for each variant and number of layers: the medians of N runs (7), in ms, of elaboration,
 * derivation, optimizer, removal of STOPs and simplification; of derivation with simplification; then how many nodes
 * the graph has after elaboration, after derivation and in the end, and how many of those the outputs need. Times are
 * of the processor: there is one thread, and what else runs on the machine counts less. */
#include "derive.h"
#include "elaborate.h"
#include "machine.h"
#include "simplify.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef enum part { ELABORATION, DERIVATION, OPTIMIZER, STOPS, SIMPLIFICATION, BOTH, PARTS } part;
enum { MAX_RUNS = 1001 };
static const int LAYERS[] = {4, 24};

typedef struct specs {
    spec *model, *optimizer;
} specs;

typedef struct sizes {
    size_t forward, derived, all, needed;
} sizes;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void fail(const char *what, const char *which) {
    fprintf(stderr, "derive_time: %s %s\n", what, which);
    exit(1);
}

static spec *read_spec(const char *path) {
    diagnostics d = {.stream = stderr};
    spec *s       = spec_read(path, NULL, &d);
    if (!s)
        fail("cannot read", path);
    return s;
}

static size_t count_needed(const graph *g) {
    size_t nodes = graph_node_count(g), count = 0;
    uint8_t *mark = calloc(nodes + 1, 1);
    if (!mark)
        fail("no", "memory");
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        mark[graph_output(g, i)->node] = 1;
    for (size_t n = nodes; n > 0; n--) {
        node_view v = graph_view(g, (node)n);
        for (unsigned i = 0; mark[n] && i < v.child_count; i++)
            mark[v.child[i]] = 1;
        count += mark[n];
    }
    free(mark);
    return count;
}

/* One training step, as runtime/training.c makes it; its times by part. */
static void make_step(const specs *of, const spec *mechanism, const char *variant, int layers, double *time,
                      sizes *size) {
    diagnostics d   = {.stream = stderr};
    binding depth   = {"L", layers};
    elaboration how = {.training = true, .bindings = &depth, .binding_count = 1};
    elaboration own = {.training = true, .variant = variant};
    graph *g        = graph_new();
    uint32_t orphan;
    double start = now();
    if (!elaborate_model(g, of->model, &mechanism, &own, 1, &how, &d))
        fail("cannot elaborate", spec_path(mechanism));
    size->forward     = graph_node_count(g);
    double elaborated = now();
    if (!derive_parameter_gradients(g, &orphan))
        fail("no path to a loss in", spec_path(mechanism));
    double derived = now();
    size->derived  = graph_node_count(g);
    if (!elaborate_optimizer(g, of->optimizer, &(elaboration){0}, &d))
        fail("cannot apply", spec_path(of->optimizer));
    double optimized = now();
    graph_drop_outputs(g, OUTPUT_GRADIENT);
    derive_forget_stops(g);
    double forgotten = now();
    simplify_outputs(g, NULL);
    double simplified    = now();
    time[ELABORATION]    = elaborated - start;
    time[DERIVATION]     = derived - elaborated;
    time[OPTIMIZER]      = optimized - derived;
    time[STOPS]          = forgotten - optimized;
    time[SIMPLIFICATION] = simplified - forgotten;
    time[BOTH]           = time[DERIVATION] + time[SIMPLIFICATION];
    size->all            = graph_node_count(g);
    size->needed         = count_needed(g);
    graph_free(g);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_variant(const specs *of, const spec *mechanism, const char *variant, int layers, size_t runs) {
    static double time[PARTS][MAX_RUNS];
    sizes size;
    for (size_t i = 0; i < runs; i++) {
        double one[PARTS];
        make_step(of, mechanism, variant, layers, one, &size);
        for (part p = 0; p < PARTS; p++)
            time[p][i] = one[p];
    }
    printf("%-14s %6d", variant ? variant : spec_name(mechanism), layers);
    for (part p = 0; p < PARTS; p++) {
        qsort(time[p], runs, sizeof time[p][0], compare);
        printf(" %8.2f", time[p][runs / 2]);
    }
    printf(" %8zu %8zu %8zu %8zu\n", size.forward, size.derived, size.all, size.needed);
    fflush(stdout);
}

static void print_spec(const specs *of, const char *path, size_t runs) {
    spec *s         = read_spec(path);
    size_t variants = spec_variant_count(s);
    for (size_t v = 0; v < variants || v == 0; v++)
        for (size_t k = 0; k < sizeof LAYERS / sizeof *LAYERS; k++)
            print_variant(of, s, v < variants ? spec_variant_name(s, v) : NULL, LAYERS[k], runs);
    spec_free(s);
}

int main(int argc, char **argv) {
    size_t runs = 7;
    int first   = 1;
    if (argc > 2 && strcmp(argv[1], "--runs") == 0) {
        runs  = strtoul(argv[2], NULL, 10);
        first = 3;
    }
    if (runs < 1 || runs > MAX_RUNS) {
        fprintf(stderr, "usage: derive_time [--runs N] [SPEC...]   1 to %d runs\n", MAX_RUNS);
        return 2;
    }
    specs of    = {.model     = read_spec(ATTNC_SOURCE_SPECS "/model/lm.att"),
                   .optimizer = read_spec(ATTNC_SOURCE_SPECS "/optimizer/adamw.att")};
    glob_t list = {0};
    if (first == argc && glob(ATTNC_SOURCE_SPECS "/*.att", 0, NULL, &list) != 0)
        fail("no specs in", ATTNC_SOURCE_SPECS);
    print_cpu();
    printf("%-14s %6s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s\n", "variant", "layers", "elaborat", "derive", "optimize",
           "stops", "simplify", "der+simp", "forward", "derived", "all", "needed");
    for (int i = first; i < argc; i++)
        print_spec(&of, argv[i], runs);
    for (size_t i = 0; i < list.gl_pathc; i++)
        print_spec(&of, list.gl_pathv[i], runs);
    globfree(&list);
    spec_free(of.model);
    spec_free(of.optimizer);
    return 0;
}
