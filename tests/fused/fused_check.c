/* Checks of mechanisms whose kernels may be fused, for test_fused.sh:
 *
 *     fused_check [--tolerance X] SPEC...
 *
 * Of every variant, forward and backward at several lengths of time: machine code against the interpreter, with dropout
 * too; one thread and two give the same bits. Then, without running: where time is twice as long the workspace is at
 * most twice as large, or grows as the tensors of the interface do, so that no tensor over pairs of positions is
 * stored. Prints a line for each check, `ok …` or `FAILED …`; the exit status is 0 where all are ok. */
#include "both_ways.h"
#include "mechanism.h"
#include "schedule.h"

enum { LONG = 1021, MOST_ELEMENTS = 40000000 };

static double tolerance = 1e-5;
static bool failed;

static void say(bool ok, const char *name, const char *check, const char *detail) {
    printf("%s %s, %s%s%s\n", ok ? "ok" : "FAILED", name, check, ok ? "" : ": ", ok ? "" : detail);
    fflush(stdout);
    failed |= !ok;
}

static char *text_of(const graph *g) {
    char *text  = NULL;
    size_t size = 0;
    FILE *file  = enough(open_memstream(&text, &size));
    graph_print(g, file);
    fclose(file);
    return text;
}

/* Small sizes, odd ones or powers of two, where the spec has them. */
static wished_sizes small_sizes(const spec *s, const elaboration *how, int64_t time, int64_t batch, bool odd) {
    static const wished_sizes even = {11,
                                      {{"D", 16},
                                       {"H", 2},
                                       {"W", 20},
                                       {"K", 8},
                                       {"J", 2},
                                       {"I", 8},
                                       {"N", 8},
                                       {"R", 8},
                                       {"F", 4},
                                       {"C", 8},
                                       {"E", 8},
                                       {"S", 70}}};
    wished_sizes sizes, only_time = {0};
    wish(&only_time, "B", batch);
    wish_for(&sizes, s, how, time, &only_time);
    if (!odd) {
        wished_sizes wishes = even;
        wish(&wishes, "B", batch);
        if (time > 200) /* for the interpreter's sake */
            wishes.set[1].value = 1;
        wish_for(&sizes, s, how, time, &wishes);
        graph *g = sizes_elaborate(s, how, sizes.set, sizes.count);
        if (g) {
            graph_free(g);
            return sizes;
        }
        wish_for(&sizes, s, how, time, &only_time);
    }
    elaboration fixed   = *how;
    fixed.bindings      = sizes.set;
    fixed.binding_count = sizes.count;
    binding more[SIZES];
    size_t count = gradcheck_sizes(s, &fixed, more);
    for (size_t i = 0; i < count && sizes.count < SIZES; i++)
        sizes.set[sizes.count++] = more[i];
    return sizes;
}

/* Can the interpreter, which keeps the value of every node, hold them? */
static bool is_affordable(const graph *g) {
    double elements = 0;
    size_t nodes    = graph_node_count(g);
    bool *needed    = enough(calloc(nodes + 1, sizeof *needed));
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        needed[graph_output(g, i)->node] = true;
    for (size_t n = nodes; n > 0; n--) {
        node_view v = graph_view(g, (node)n);
        for (unsigned i = 0; needed[n] && i < v.child_count; i++)
            needed[v.child[i]] = true;
        elements += needed[n] ? (double)graph_space(g, v.free) : 0;
    }
    free(needed);
    return elements <= MOST_ELEMENTS;
}

/* The name of the output in which two runs differ; NULL: in none. */
static const char *differing_output(const both_ways *b, const char *one, const char *two) {
    for (uint32_t i = 0; i < graph_output_count(b->g); i++) {
        size_t bytes = (size_t)graph_output(b->g, i)->elements * sizeof(float);
        if (memcmp(one, two, bytes) != 0)
            return graph_output(b->g, i)->name;
        one += bytes;
        two += bytes;
    }
    return NULL;
}

static void check_threads(both_ways *b, const char *name, const char *check) {
    char threads[160], detail[128] = "out of memory";
    size_t size;
    char *one = both_keep(b, &size);
    bool same = both_run_machine(b, 2);
    snprintf(threads, sizeof threads, "%s, one thread and two", check);
    if (same) {
        char *two       = both_keep(b, &size);
        const char *bad = differing_output(b, one, two);
        same            = !bad;
        snprintf(detail, sizeof detail, "the bits of %s differ", bad ? bad : "none");
        free(two);
    }
    say(same, name, threads, detail);
    free(one);
}

static void check_run(const spec *s, const char *name, const elaboration *how, int64_t time, int64_t batch, bool odd) {
    char error[512]    = "", check[128];
    wished_sizes sizes = small_sizes(s, how, time, batch, odd);
    graph *g           = mechanism_graph(s, how, &sizes);
    if (g && !is_affordable(g)) {
        graph_free(g);
        return;
    }
    int used = snprintf(check, sizeof check, "%s", how->training ? "dropout " : "");
    for (size_t i = 0; i < sizes.count && used < (int)sizeof check - 30; i++)
        used += snprintf(check + used, sizeof check - (size_t)used, "%s%s=%.0f", i ? "," : "", sizes.set[i].name,
                         sizes.set[i].value);
    both_ways *b = g ? both_new(g, error, sizeof error) : NULL;
    if (!b) {
        say(false, name, check, g ? error : "it does not elaborate");
    } else {
        bool ran = both_run_machine(b, 1);
        /* at one position probabilities are 1 and their derivatives nothing but what rounding leaves */
        say(ran && both_compare(b, tolerance, time == 1 ? 1 : 1e-3, error, sizeof error), name, check, error);
        if (ran && time > 2)
            check_threads(b, name, check);
        both_free(b);
    }
    graph_free(g);
}

static double workspace(const spec *s, const elaboration *how, int64_t time, double *bytes) {
    static const wished_sizes wishes = {5, {{"B", 1}, {"H", 1}, {"G", 1}, {"J", 1}, {"D", 16}}};
    wished_sizes sizes;
    wish_for(&sizes, s, how, time, &wishes);
    graph *g = mechanism_graph(s, how, &sizes);
    if (!g)
        return NAN;
    *bytes        = interface_bytes(g);
    schedule *p   = schedule_graph(g, NULL);
    double needed = (double)p->workspace;
    schedule_free(p);
    graph_free(g);
    return needed;
}

static void check_growth(const spec *s, const char *name, const elaboration *how) {
    char detail[256];
    double bytes = 0, more_bytes = 0;
    double once = workspace(s, how, LONG, &bytes), twice = workspace(s, how, 2 * LONG, &more_bytes);
    snprintf(detail, sizeof detail, "workspace of %.0f bytes at T = %d, %.0f at twice that; tensors of %.0f and %.0f",
             once, LONG, twice, bytes, more_bytes);
    say(twice <= 1.05 * fmax(2, more_bytes / bytes) * once || twice <= 65536, name, "memory is linear", detail);
}

static bool brief; /* one length only */

/* The first variant at all lengths, others at some. */
static void check_variant(const spec *s, const char *variant, char **before) {
    elaboration how = {.variant = variant}, training = {.variant = variant, .training = true};
    const char *name   = variant ? variant : spec_name(s);
    wished_sizes sizes = small_sizes(s, &how, 7, 2, false);
    graph *g = mechanism_graph(s, &how, &sizes), *dropped = mechanism_graph(s, &training, &sizes);
    if (!g || !dropped) {
        say(false, name, "", "it does not elaborate");
        graph_free(g);
        graph_free(dropped);
        return;
    }
    char *text = text_of(g), *with = text_of(dropped);
    bool first = !*before, seen = *before && strcmp(*before, text) == 0, dropout = strcmp(text, with) != 0;
    graph_free(g);
    graph_free(dropped);
    free(with);
    free(*before);
    *before = text;
    if (!seen) { /* small sizes may have made variants alike */
        static const struct {
            int64_t time, batch;
            bool odd, always;
        } run[] = {{1, 2, false, false}, {37, 1, true, true}, {130, 1, false, false}};
        for (size_t i = 0; i < sizeof run / sizeof *run; i++)
            if (brief ? run[i].time == 130 : first || run[i].always)
                check_run(s, name, &how, run[i].time, run[i].batch, run[i].odd);
        if (dropout)
            check_run(s, name, &training, 70, 1, false);
    }
    check_growth(s, name, &how);
}

static void check_spec(const char *path) {
    diagnostics d = {.stream = stderr};
    spec *s       = spec_read(path, NULL, &d);
    if (!s) {
        say(false, path, "", "it cannot be read");
        return;
    }
    char *before    = NULL;
    size_t variants = spec_variant_count(s);
    for (size_t v = 0; v < variants || v == 0; v++)
        check_variant(s, v < variants ? spec_variant_name(s, v) : NULL, &before);
    free(before);
    spec_free(s);
}

int main(int argc, char **argv) {
    int at = 1;
    if (at + 1 < argc && strcmp(argv[at], "--tolerance") == 0) {
        tolerance = strtod(argv[at + 1], NULL);
        at += 2;
    }
    if (at < argc && strcmp(argv[at], "--brief") == 0) {
        brief = true;
        at++;
    }
    if (at >= argc || !(tolerance > 0)) {
        fprintf(stderr, "usage: fused_check [--tolerance X] [--brief] SPEC...\n");
        return 2;
    }
    for (; at < argc; at++)
        check_spec(argv[at]);
    return failed;
}
