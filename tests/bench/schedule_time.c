/* Times the scheduling of a training step: the language model with every mechanism that fits it, each variant, at the
 * study's sizes, of few and of many layers.
 *
 *     schedule_time [--runs N] [--layers N] [SPEC...]
 *
 * Prints the CPU, and a line for each variant and number of layers (4 and 24, or the one given): the median time of N
 * runs (7) of schedule_graph, in ms of the processor; of that of one run of tile_verify, which it contains; how many
 * steps the schedule has, how many nodes the graph; whether a schedule that fuses more was given up; and
 * a checksum of the schedule as text, by which two compilers can be compared. */
#include "machine.h"
#include "schedule.h"
#include "tile_verify.h"
#include "training_step.h"

#include <glob.h>
#include <string.h>

enum { MAX_RUNS = 1001 };

typedef struct plan {
    size_t runs;
    int layers[2];
    unsigned counts;
    step_specs of;
    FILE *nowhere; /* for why a mechanism does not fit */
} plan;

/* FNV-1a of what schedule_print writes. */
static uint64_t checksum_of(schedule *s) {
    char *text  = NULL;
    size_t size = 0;
    FILE *file  = open_memstream(&text, &size);
    if (!file)
        step_failed("no", "memory");
    schedule_print(s, file);
    fclose(file);
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    free(text);
    return hash;
}

static double time_of_verifier(const schedule *s) {
    char error[512];
    double start = processor_time();
    tile_verify(s, error, sizeof error);
    return processor_time() - start;
}

/* Scheduling adds nodes to the graph, so that each run has a graph of its own. */
static bool print_variant(const plan *p, const spec *mechanism, const char *variant, int layers) {
    static double time[MAX_RUNS], verify[MAX_RUNS];
    size_t nodes = 0, steps = 0;
    uint64_t checksum = 0;
    bool given_up     = false;
    for (size_t i = 0; i < p->runs; i++) {
        diagnostics silent = {.stream = p->nowhere};
        step_made made;
        graph *g = make_step(&p->of, mechanism, variant, layers, &silent, &made);
        if (!g)
            return false;
        nodes        = graph_node_count(g);
        double start = processor_time();
        schedule *s  = schedule_graph(g, NULL);
        time[i]      = processor_time() - start;
        verify[i]    = time_of_verifier(s);
        steps        = s->step_count;
        given_up     = s->given_up != NULL;
        if (i == 0)
            checksum = checksum_of(s);
        schedule_free(s);
        graph_free(g);
    }
    printf("%-18s %6d %9.1f %8.1f %7zu %7zu %6s %016llx\n", variant ? variant : spec_name(mechanism), layers,
           median(time, p->runs), median(verify, p->runs), steps, nodes, given_up ? "yes" : "no",
           (unsigned long long)checksum);
    fflush(stdout);
    return true;
}

static void print_spec(const plan *p, const char *path) {
    spec *s         = read_spec(path);
    size_t variants = spec_variant_count(s);
    for (size_t v = 0; v < variants || v == 0; v++) {
        const char *variant = v < variants ? spec_variant_name(s, v) : NULL;
        bool fits           = true;
        for (unsigned k = 0; fits && k < p->counts; k++)
            fits = print_variant(p, s, variant, p->layers[k]);
        if (!fits)
            printf("%-18s does not fit the model\n", variant ? variant : spec_name(s));
    }
    spec_free(s);
}

static void print_all(const plan *p) {
    glob_t list = {0};
    if (glob(ATTNC_SOURCE_SPECS "/*.att", 0, NULL, &list) != 0 ||
        glob(ATTNC_SOURCE_SPECS "/more/*.att", GLOB_APPEND, NULL, &list) != 0)
        step_failed("no specs in", ATTNC_SOURCE_SPECS);
    for (size_t i = 0; i < list.gl_pathc; i++)
        print_spec(p, list.gl_pathv[i]);
    globfree(&list);
}

int main(int argc, char **argv) {
    plan p    = {.runs = 7, .layers = {4, 24}, .counts = 2};
    int first = 1;
    for (; first + 1 < argc && strncmp(argv[first], "--", 2) == 0; first += 2) {
        int number = atoi(argv[first + 1]);
        if (strcmp(argv[first], "--runs") == 0)
            p.runs = number < 0 ? 0 : (size_t)number;
        else if (strcmp(argv[first], "--layers") == 0)
            p = (plan){.runs = p.runs, .layers = {number}, .counts = 1};
        else
            p.runs = 0;
    }
    if (p.runs < 1 || p.runs > MAX_RUNS || p.layers[0] < 1) {
        fprintf(stderr, "usage: schedule_time [--runs N] [--layers N] [SPEC...]   1 to %d runs\n", MAX_RUNS);
        return 2;
    }
    p.of      = read_step_specs();
    p.nowhere = fopen("/dev/null", "w");
    if (!p.nowhere)
        step_failed("cannot write", "/dev/null");
    print_cpu();
    printf("%-18s %6s %9s %8s %7s %7s %6s %16s\n", "variant", "layers", "schedule", "verify", "steps", "nodes",
           "gaveup", "checksum");
    for (int i = first; i < argc; i++)
        print_spec(&p, argv[i]);
    if (first == argc)
        print_all(&p);
    fclose(p.nowhere);
    free_step_specs(&p.of);
    return 0;
}
