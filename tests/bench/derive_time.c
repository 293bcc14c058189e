/* Times the making of a training step: the language model with every mechanism of the study, each variant, at the
 * study's sizes, of few and of many layers.
 *
 *     derive_time [--runs N] [SPEC...]
 *
 * Prints the CPU, and a line for each variant and number of layers: the medians of N runs (7), in ms, of elaboration,
 * derivation, optimizer, removal of STOPs and simplification; of derivation with simplification; then how many nodes
 * the graph has after elaboration, after derivation and in the end, and how many of those the outputs need. Times are
 * of the processor: there is one thread, and what else runs on the machine counts less. */
#include "machine.h"
#include "training_step.h"

#include <glob.h>
#include <string.h>

enum { BOTH = STEP_PARTS, TIMES, MAX_RUNS = 1001 };
static const int LAYERS[] = {4, 24};

typedef struct sizes {
    size_t forward, derived, all, needed;
} sizes;

static size_t count_needed(const graph *g) {
    size_t nodes = graph_node_count(g), count = 0;
    uint8_t *mark = calloc(nodes + 1, 1);
    if (!mark)
        step_failed("no", "memory");
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

static void time_step(const step_specs *of, const spec *mechanism, const char *variant, int layers, double *time,
                      sizes *size) {
    diagnostics d = {.stream = stderr};
    step_made made;
    graph *g = make_step(of, mechanism, variant, layers, &d, &made);
    if (!g)
        step_failed("cannot elaborate", spec_path(mechanism));
    memcpy(time, made.time, sizeof made.time);
    time[BOTH] = time[DERIVATION] + time[SIMPLIFICATION];
    *size      = (sizes){made.forward, made.derived, graph_node_count(g), count_needed(g)};
    graph_free(g);
}

static void print_variant(const step_specs *of, const spec *mechanism, const char *variant, int layers, size_t runs) {
    static double time[TIMES][MAX_RUNS];
    sizes size;
    for (size_t i = 0; i < runs; i++) {
        double one[TIMES];
        time_step(of, mechanism, variant, layers, one, &size);
        for (int p = 0; p < TIMES; p++)
            time[p][i] = one[p];
    }
    printf("%-14s %6d", variant ? variant : spec_name(mechanism), layers);
    for (int p = 0; p < TIMES; p++)
        printf(" %8.2f", median(time[p], runs));
    printf(" %8zu %8zu %8zu %8zu\n", size.forward, size.derived, size.all, size.needed);
    fflush(stdout);
}

static void print_spec(const step_specs *of, const char *path, size_t runs) {
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
    step_specs of = read_step_specs();
    glob_t list   = {0};
    if (first == argc && glob(ATTNC_SOURCE_SPECS "/*.att", 0, NULL, &list) != 0)
        step_failed("no specs in", ATTNC_SOURCE_SPECS);
    print_cpu();
    printf("%-14s %6s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s\n", "variant", "layers", "elaborat", "derive", "optimize",
           "stops", "simplify", "der+simp", "forward", "derived", "all", "needed");
    for (int i = first; i < argc; i++)
        print_spec(&of, argv[i], runs);
    for (size_t i = 0; i < list.gl_pathc; i++)
        print_spec(&of, list.gl_pathv[i], runs);
    globfree(&list);
    free_step_specs(&of);
    return 0;
}
