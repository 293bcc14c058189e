/* attnc, the compiler's main program. */
#include "causality.h"
#include "compile.h"
#include "derive.h"
#include "draw.h"
#include "elaborate.h"
#include "explain.h"
#include "gradcheck.h"
#include "initialise.h"
#include "interpret.h"
#include "npy.h"
#include "orphan.h"
#include "recurrence.h"
#include "report.h"
#include "schedule_draw.h"
#include "simplify.h"
#include "sizes.h"
#include "tile_interpret.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { EXIT_DONE = 0, EXIT_INPUT = 1, EXIT_USAGE = 2, EXIT_ENVIRONMENT = 3 };
enum { MAX_BINDINGS = 64 };

typedef struct settings {
    enum { COMPILE, RUN, CHECK_GRAD } command;
    const char *spec_path, *output, *variant, *library, *dump, *dump_dir;
    binding bindings[MAX_BINDINGS];
    size_t binding_count;
    uint64_t seed;
    double tolerance;
    schedule_options schedule;
    bool backward, machine, tiles, compare, training, explain, every_element, draw_schedule;
    simplify_options simplify;
    recurrence_options recurrences;
    bool report, json, verbose; /* report_run */
    const char *variable;
    char *const *specs;
    size_t spec_count;
} settings;

static const char help[] =
    "Usage: attnc SPEC [-o FILE] [OPTION]...          compile a mechanism\n"
    "       attnc run SPEC [OPTION]...                compute it on random inputs\n"
    "       attnc check-grad SPEC [OPTION]...         check its gradients by finite differences\n"
    "       attnc --report SPEC... [OPTION]...        parameters, FLOPs, bytes and causality, without running it\n"
    "\n"
    "  -o, --output=FILE      write FILE.o, .so, .ll or .s, and a C header beside it;\n"
    "                         or a picture of the definitions, FILE.svg or .dot\n"
    "      --schedule         with -o FILE.svg or .dot: a picture of the scheduled program instead\n"
    "      --variant=NAME     a variant of the spec\n"
    "  -D, --define=NAME=X    set a size or a number of the spec\n"
    "      --size=A=1,B=2     the same for several\n"
    "      --backward         the gradients too\n"
    "      --training         with dropout\n"
    "      --dump=STAGE,...   print ast, graph, grad, program (what is compiled), schedule (with its\n"
    "                         costs) or llvm\n"
    "      --explain          with --dump=graph or grad: why each line is there\n"
    "      --without=RULE,... leave out rules of simplification, or all\n"
    "      --seed=N           of inputs and initial values, default 1\n"
    "      --dump-dir=DIR     run: write every tensor and output as DIR/NAME.npy\n"
    "      --machine          run: machine code in float32 instead of the float64 interpreter\n"
    "      --tiles            run: the scheduled program, step by step, in float64\n"
    "      --compare          run: both, and their largest relative difference\n"
    "      --blocks=R,S       of R rows and S of the stream, for all that is only just large enough\n"
    "      --chunk=N          linear recurrences N positions at a time; 0: one\n"
    "      --unfused          store every value whole\n"
    "      --tolerance=X      of --compare (1e-5) and check-grad (1e-6)\n"
    "      --elements=all     check-grad: every element, not only some of a large tensor\n"
    "      --library=DIR      look for includes here too\n"
    "      --json             messages as JSON on standard output; with --report the report\n"
    "      --verbose          report: a block for each variant\n"
    "      --in=SIZE          report: formulas in this size instead of the length of time\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 done; 1 the input is wrong; 2 usage; 3 the environment (a file, the disk, memory).\n";

static int usage(const char *what, const char *which) {
    fprintf(stderr, "attnc: %s%s%s (see attnc --help)\n", what, which ? " " : "", which ? which : "");
    return EXIT_USAGE;
}

static bool add_bindings(settings *s, const char *text) {
    char *copy = strdup(text), *rest = copy;
    bool ok = copy != NULL;
    for (char *part = ok ? strtok_r(copy, ",", &rest) : NULL; part && ok; part = strtok_r(NULL, ",", &rest)) {
        char *equals = strchr(part, '='), *end = NULL;
        if (!equals || equals == part || s->binding_count == MAX_BINDINGS) {
            ok = false;
            break;
        }
        *equals                         = 0;
        double value                    = strtod(equals + 1, &end);
        ok                              = end != equals + 1 && *end == 0;
        s->bindings[s->binding_count++] = (binding){strdup(part), value};
    }
    free(copy);
    return ok;
}

/* The rules of --without. */
static int add_without(settings *s, const char *text) {
    for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        size_t length = strcspn(at, ",");
        reason rule   = reason_find_rewrite(at, length);
        if (rule != REASONS) {
            s->simplify.without |= (uint64_t)1 << rule;
        } else if (length == 3 && strncmp(at, "all", 3) == 0) {
            for (int why = REASON_SPEC + 1; why < REASON_REWRITES; why++)
                s->simplify.without |= (uint64_t)1 << why;
        } else {
            char known[1024] = "--without knows all";
            for (int why = REASON_SPEC + 1; why < REASON_REWRITES; why++) {
                strncat(known, ", ", sizeof known - strlen(known) - 1);
                strncat(known, reason_name((reason)why), sizeof known - strlen(known) - 1);
            }
            char wrong[64];
            snprintf(wrong, sizeof wrong, "`%.*s`", (int)(length < 40 ? length : 40), at);
            strncat(known, "; not", sizeof known - strlen(known) - 1);
            return usage(known, wrong);
        }
    }
    return EXIT_DONE;
}

static int parse_arguments(settings *s, int argc, char **argv) {
    enum {
        VARIANT = 256,
        SIZE,
        BACKWARD,
        TRAINING,
        DUMP,
        EXPLAIN,
        WITHOUT,
        SEED,
        DUMP_DIR,
        MACHINE,
        COMPARE,
        TILES,
        BLOCKS,
        CHUNK,
        UNFUSED,
        SCHEDULE,
        TOLERANCE,
        ELEMENTS,
        LIBRARY,
        REPORT,
        JSON,
        VERBOSE,
        IN,
        HELP,
        VERSION
    };
    static const struct option options[] = {{"output", 1, NULL, 'o'},        {"variant", 1, NULL, VARIANT},
                                            {"define", 1, NULL, 'D'},        {"size", 1, NULL, SIZE},
                                            {"backward", 0, NULL, BACKWARD}, {"training", 0, NULL, TRAINING},
                                            {"dump", 1, NULL, DUMP},         {"explain", 0, NULL, EXPLAIN},
                                            {"without", 1, NULL, WITHOUT},   {"seed", 1, NULL, SEED},
                                            {"dump-dir", 1, NULL, DUMP_DIR}, {"machine", 0, NULL, MACHINE},
                                            {"compare", 0, NULL, COMPARE},   {"tiles", 0, NULL, TILES},
                                            {"blocks", 1, NULL, BLOCKS},     {"unfused", 0, NULL, UNFUSED},
                                            {"schedule", 0, NULL, SCHEDULE}, {"tolerance", 1, NULL, TOLERANCE},
                                            {"elements", 1, NULL, ELEMENTS}, {"library", 1, NULL, LIBRARY},
                                            {"report", 0, NULL, REPORT},     {"json", 0, NULL, JSON},
                                            {"verbose", 0, NULL, VERBOSE},   {"in", 1, NULL, IN},
                                            {"chunk", 1, NULL, CHUNK},       {"help", 0, NULL, HELP},
                                            {"version", 0, NULL, VERSION},   {NULL, 0, NULL, 0}};
    opterr                               = 0;
    for (int c; (c = getopt_long(argc, argv, ":o:D:", options, NULL)) != -1;) {
        char *end = NULL;
        switch (c) {
        case 'o':
            s->output = optarg;
            break;
        case VARIANT:
            s->variant = optarg;
            break;
        case 'D':
        case SIZE:
            if (!add_bindings(s, optarg))
                return usage("this is not NAME=NUMBER:", optarg);
            break;
        case BACKWARD:
            s->backward = true;
            break;
        case TRAINING:
            s->training = true;
            break;
        case DUMP:
            s->dump = optarg;
            break;
        case EXPLAIN:
            s->explain = true;
            break;
        case WITHOUT:
            if (add_without(s, optarg))
                return EXIT_USAGE;
            break;
        case SEED:
            s->seed = strtoull(optarg, &end, 10);
            if (end == optarg || *end)
                return usage("--seed needs a number, not", optarg);
            break;
        case DUMP_DIR:
            s->dump_dir = optarg;
            break;
        case MACHINE:
            s->machine = true;
            break;
        case COMPARE:
            s->compare = true;
            break;
        case TILES:
            s->tiles = true;
            break;
        case UNFUSED:
            s->schedule.unfused = true;
            break;
        case CHUNK:
            s->recurrences.chunk = strtol(optarg, &end, 10);
            s->recurrences.never = s->recurrences.chunk == 0;
            if (end == optarg || *end || s->recurrences.chunk < 0)
                return usage("--chunk needs a number of positions, not", optarg);
            break;
        case SCHEDULE:
            s->draw_schedule = true;
            break;
        case BLOCKS:
            s->schedule.wide   = 1.5;
            s->schedule.listed = 1;
            s->schedule.rows   = strtol(optarg, &end, 10);
            s->schedule.stream = *end == ',' ? strtol(end + 1, &end, 10) : 0;
            if (*end || s->schedule.rows < 1 || s->schedule.stream < 1)
                return usage("--blocks needs two positive numbers, R,S, not", optarg);
            break;
        case TOLERANCE:
            s->tolerance = strtod(optarg, &end);
            if (end == optarg || *end || !(s->tolerance > 0))
                return usage("--tolerance needs a positive number, not", optarg);
            break;
        case ELEMENTS:
            if (strcmp(optarg, "all") != 0)
                return usage("--elements knows all, not", optarg);
            s->every_element = true;
            break;
        case LIBRARY:
            s->library = optarg;
            break;
        case REPORT:
            s->report = true;
            break;
        case JSON:
            s->json = true;
            break;
        case VERBOSE:
            s->verbose = true;
            break;
        case IN:
            s->variable = optarg;
            break;
        case HELP:
            fputs(help, stdout);
            return -1;
        case VERSION:
            printf("attnc %s\n", ATTNC_VERSION);
            return -1;
        case ':':
            return usage("an argument is missing after", argv[optind - 1]);
        default:
            return usage("unknown option", argv[optind - 1]);
        }
    }
    int rest = argc - optind;
    if (rest > 0 && strcmp(argv[optind], "run") == 0)
        s->command = RUN;
    else if (rest > 0 && strcmp(argv[optind], "check-grad") == 0)
        s->command = CHECK_GRAD;
    if (s->command != COMPILE)
        optind++, rest--;
    s->specs      = argv + optind;
    s->spec_count = (size_t)(rest > 0 ? rest : 0);
    if (s->report && s->command != COMPILE)
        return usage("--report goes without", s->command == RUN ? "run" : "check-grad");
    if (s->every_element && s->command != CHECK_GRAD)
        return usage("--elements goes with check-grad", NULL);
    if (s->draw_schedule && (s->command != COMPILE || s->report || !s->output || !draw_is_picture(s->output)))
        return usage("--schedule goes with -o FILE.svg or FILE.dot", NULL);
    if (!s->report && (s->verbose || s->variable))
        return usage(s->verbose ? "--verbose goes" : "--in goes", "with --report");
    if (rest < 1 || (rest != 1 && !s->report))
        return usage(rest < 1 ? "no spec was given" : "more than one spec was given:",
                     rest < 1 ? NULL : argv[optind + 1]);
    s->spec_path = argv[optind];
    return 0;
}

static bool wants(const settings *s, const char *stage) {
    size_t length = strlen(stage);
    for (const char *at = s->dump; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, stage, length) == 0 && (at[length] == 0 || at[length] == ','))
            return true;
    return false;
}

static bool known_stages(const settings *s, const char **unknown) {
    static const char *const stage[] = {"ast", "graph", "grad", "program", "schedule", "llvm"};
    for (const char *at = s->dump; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        bool known = false;
        for (size_t i = 0; i < sizeof stage / sizeof *stage; i++) {
            size_t length = strlen(stage[i]);
            known |= strncmp(at, stage[i], length) == 0 && (at[length] == 0 || at[length] == ',');
        }
        if (!known) {
            *unknown = at;
            return false;
        }
    }
    return true;
}

static void print_graph(const settings *s, const graph *g) {
    if (s->explain)
        explain_print(g, stdout);
    else
        graph_print(g, stdout);
}

/* Random values for every tensor; freed by free_values. */
static double **make_values(const graph *g, uint64_t seed) {
    double **value = calloc(graph_tensor_count(g) + 1, sizeof *value);
    for (uint32_t i = 0; value && i < graph_tensor_count(g); i++) {
        const tensor *t = graph_tensor(g, i);
        value[i]        = malloc((size_t)t->elements * sizeof **value);
        for (int64_t k = 0; value[i] && k < t->elements; k++)
            value[i][k] = initial_value(t, seed, (uint64_t)k);
        if (!value[i])
            value = NULL;
    }
    if (!value) {
        fputs("attnc: out of memory\n", stderr);
        exit(EXIT_ENVIRONMENT);
    }
    return value;
}

static void free_values(const graph *g, double **value) {
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        free(value[i]);
    free(value);
}

static bool dump_array(const settings *s, const char *name, const double *data, unsigned rank, const int64_t *extent) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.npy", s->dump_dir, name);
    if (npy_write(path, data, rank, extent))
        return true;
    fprintf(stderr, "attnc: cannot write %s: %s\n", path, strerror(errno));
    return false;
}

static void extents(const graph *g, const output *o, int64_t *extent) {
    for (unsigned i = 0; i < o->rank; i++)
        extent[i] = graph_index_extent(g, o->index[i]);
}

static void print_output(const graph *g, const output *o, const double *data) {
    double low = INFINITY, high = -INFINITY, sum = 0, squares = 0;
    for (int64_t i = 0; i < o->elements; i++) {
        low  = fmin(low, data[i]);
        high = fmax(high, data[i]);
        sum += data[i];
        squares += data[i] * data[i];
    }
    printf("%s[", o->name);
    for (unsigned i = 0; i < o->rank; i++)
        printf("%s%s:%lld", i ? " " : "", graph_index_name(g, o->index[i]),
               (long long)graph_index_extent(g, o->index[i]));
    printf("] mean %.9g  rms %.9g  min %.9g  max %.9g\n ", sum / (double)o->elements,
           sqrt(squares / (double)o->elements), low, high);
    for (int64_t i = 0; i < o->elements && i < 6; i++)
        printf(" %.9g", data[i]);
    puts(o->elements > 6 ? " ..." : "");
}

/* The outputs by the interpreter of tiles: the scheduled program in float64. */
static double **run_tiles(graph *g, double *const *value, const settings *s) {
    char error[512];
    double **result = calloc(graph_output_count(g) + 1, sizeof *result);
    schedule *plan  = schedule_graph(g, &s->schedule);
    if (!result || !tile_interpret(plan, (const double *const *)value, result, s->seed, false, error, sizeof error)) {
        fprintf(stderr, "attnc: %s\n", error);
        exit(EXIT_ENVIRONMENT);
    }
    schedule_free(plan);
    return result;
}

/* The outputs by machine code, as doubles. */
static double **run_machine(graph *g, double *const *value, const settings *s) {
    char error[512];
    compiled *c = compile_graph(g, &(compile_options){.schedule = s->schedule}, error, sizeof error);
    if (!c) {
        fprintf(stderr, "attnc: %s\n", error);
        exit(EXIT_ENVIRONMENT);
    }
    uint32_t tensors = graph_tensor_count(g), outputs = graph_output_count(g);
    const void **in = calloc(tensors + 1, sizeof *in);
    void **out      = calloc(outputs + 1, sizeof *out);
    double **result = calloc(outputs + 1, sizeof *result);
    for (uint32_t i = 0; i < tensors; i++) {
        const tensor *t = graph_tensor(g, i);
        float *memory   = malloc((size_t)t->elements * sizeof *memory);
        for (int64_t k = 0; k < t->elements; k++)
            if (t->type == TYPE_INT)
                ((int32_t *)(void *)memory)[k] = (int32_t)value[i][k];
            else
                memory[k] = (float)value[i][k];
        in[i] = memory;
    }
    for (uint32_t i = 0; i < outputs; i++)
        out[i] = malloc((size_t)graph_output(g, i)->elements * sizeof(float));
    if (!compiled_run(c, in, out, s->seed)) {
        fputs("attnc: out of memory\n", stderr);
        exit(EXIT_ENVIRONMENT);
    }
    for (uint32_t i = 0; i < outputs; i++) {
        int64_t elements = graph_output(g, i)->elements;
        result[i]        = malloc((size_t)elements * sizeof **result);
        for (int64_t k = 0; k < elements; k++)
            result[i][k] = ((float *)out[i])[k];
        free(out[i]);
    }
    for (uint32_t i = 0; i < tensors; i++)
        free((void *)in[i]);
    free(in);
    free(out);
    compiled_free(c);
    return result;
}

/* The largest difference relative to the output's largest value; of a single number, such as a loss in which terms of
 * size 1 cancel, to at least 1. NaN where both are NaN somewhere: that they agree says nothing. */
static double difference(const double *machine, const double *reference, int64_t elements) {
    double scale = elements == 1 ? 1 : 1e-30, worst = 0;
    for (int64_t i = 0; i < elements; i++)
        if (isfinite(reference[i]))
            scale = fmax(scale, fabs(reference[i]));
    for (int64_t i = 0; i < elements; i++) {
        if (isnan(machine[i]) && isnan(reference[i]))
            return NAN;
        double error = machine[i] == reference[i] ? 0 : fabs(machine[i] - reference[i]) / scale;
        if (error > worst || isnan(error))
            worst = isnan(error) ? INFINITY : error;
    }
    return worst;
}

/* The interpreter computes g as the spec has it; what is compiled is `program`. Both have the same interface. */
static int run(settings *s, graph *g, graph *program) {
    double **value = make_values(g, s->seed), **machine = NULL;
    interpretation *reference = NULL;
    int status                = EXIT_DONE;
    if (s->machine || s->tiles || s->compare)
        machine = s->tiles ? run_tiles(program, value, s) : run_machine(program, value, s);
    if (!(s->machine || s->tiles) || s->compare)
        reference = interpret_new(g, (const double *const *)value, s->seed);
    if (s->dump_dir && mkdir(s->dump_dir, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "attnc: cannot make %s: %s\n", s->dump_dir, strerror(errno));
        status = EXIT_ENVIRONMENT;
    }
    for (uint32_t i = 0; s->dump_dir && !status && i < graph_tensor_count(g); i++) {
        const tensor *t = graph_tensor(g, i);
        if (!dump_array(s, t->name, value[i], t->rank, t->extent))
            status = EXIT_ENVIRONMENT;
    }
    for (uint32_t i = 0; status != EXIT_ENVIRONMENT && i < graph_output_count(g); i++) {
        const output *o    = graph_output(g, i);
        const double *data = reference ? interpret_output(reference, i) : machine[i];
        int64_t extent[TENSOR_RANK];
        extents(g, o, extent);
        if (s->compare) {
            double tolerance = s->tolerance > 0 ? s->tolerance : 1e-5,
                   error     = difference(machine[i], data, o->elements);
            if (isnan(error))
                printf("%-32s nan  there are no numbers to compare\n", o->name);
            else
                printf("%-32s %.2e%s\n", o->name, error, error > tolerance ? "  differs" : "");
            if (!(error <= tolerance))
                status = EXIT_INPUT;
        } else {
            print_output(g, o, data);
        }
        if (s->dump_dir && !dump_array(s, o->name, data, o->rank, extent))
            status = EXIT_ENVIRONMENT;
    }
    interpret_free(reference);
    for (uint32_t i = 0; machine && i < graph_output_count(g); i++)
        free(machine[i]);
    free(machine);
    free_values(g, value);
    return status;
}

/* Small sizes for those that the caller does not give, at which check-grad takes seconds; says which. */
static void choose_sizes(settings *s, const spec *mechanism, elaboration *how) {
    binding chosen[SIZES];
    size_t count = gradcheck_sizes(mechanism, how, chosen);
    if (count > MAX_BINDINGS - s->binding_count)
        return;
    for (size_t i = 0; i < count; i++) {
        printf("%s%s=%.0f", i ? "," : "at ", chosen[i].name, chosen[i].value);
        s->bindings[s->binding_count++] = (binding){strdup(chosen[i].name), chosen[i].value};
    }
    if (count)
        puts(" (--size sets others)");
    how->binding_count = s->binding_count;
}

/* Differences are taken of the graph with its STOPs; the gradients checked are those that are compiled: simplified. */
static int check_gradients(settings *s, const spec *mechanism, const elaboration *how, graph *g, diagnostics *d) {
    graph *derived = graph_new();
    if (!elaborate_mechanism(derived, mechanism, how, d) || !gradcheck_add_backward(derived)) {
        graph_free(derived);
        return EXIT_INPUT;
    }
    derive_forget_stops(derived);
    simplify_outputs(derived, &s->simplify);
    double **value            = make_values(g, s->seed);
    gradcheck_options options = {.tolerance = s->tolerance > 0 ? s->tolerance : 1e-6,
                                 .elements  = s->every_element ? GRADCHECK_ALL_ELEMENTS : GRADCHECK_SOME_ELEMENTS};
    gradcheck_result result;
    gradcheck_run(g, derived, (const double *const *)value, s->seed, &options, stdout, &result);
    free_values(g, value);
    graph_free(derived);
    printf("worst %.2e, tolerance %.0e\n", result.worst, options.tolerance);
    return result.verdict == GRADCHECK_AGREES ? EXIT_DONE : EXIT_INPUT;
}

static bool draw_schedule(const settings *s, graph *g, const char *title, char *error, size_t size) {
    schedule *plan = schedule_graph(g, &s->schedule);
    bool done      = schedule_draw_to_file(plan, title, s->output, error, size);
    schedule_free(plan);
    return done;
}

static int compile(settings *s, graph *g, const char *name, const char *comment) {
    char error[512];
    const char *ending = s->output ? strrchr(s->output, '.') : NULL;
    if (wants(s, "schedule"))
        compile_dump_schedule(g, &s->schedule, stdout);
    if (wants(s, "llvm") &&
        !compile_dump_llvm(g, &(compile_options){.schedule = s->schedule}, stdout, error, sizeof error)) {
        fprintf(stderr, "attnc: %s\n", error);
        return EXIT_ENVIRONMENT;
    }
    if (!s->output)
        return EXIT_DONE;
    if (draw_is_picture(s->output)) {
        if (s->draw_schedule ? draw_schedule(s, g, name, error, sizeof error)
                             : draw_to_file(g, name, s->output, error, sizeof error))
            return EXIT_DONE;
        fprintf(stderr, "attnc: %s\n", error);
        return EXIT_ENVIRONMENT;
    }
    static const struct {
        const char *ending;
        artifact kind;
    } known[] = {{".o", ARTIFACT_OBJECT}, {".so", ARTIFACT_SHARED}, {".ll", ARTIFACT_LLVM}, {".s", ARTIFACT_ASSEMBLY}};
    for (size_t i = 0; ending && i < sizeof known / sizeof *known; i++) {
        if (strcmp(ending, known[i].ending) != 0)
            continue;
        if (compile_to_file(g, &(compile_options){.comment = comment}, known[i].kind, name, s->output, error,
                            sizeof error))
            return EXIT_DONE;
        fprintf(stderr, "attnc: %s\n", error);
        return EXIT_ENVIRONMENT;
    }
    return usage("-o takes a name ending in .o, .so, .ll, .s, .svg or .dot, not", s->output);
}

/* The graph as it is computed: with gradients where they are wanted, and simplified. False after an error. */
static bool complete(settings *s, const spec *mechanism, graph *g, bool warn, diagnostics *d) {
    bool backward = s->backward || s->command == CHECK_GRAD || wants(s, "grad");
    bool picture  = s->output && draw_is_picture(s->output) && !s->draw_schedule;
    if (picture && !backward)
        return true; /* it shows the definitions as they stand */
    if (backward && !gradcheck_add_backward(g)) {
        diagnostics_file_error(d, s->spec_path, NULL, "the spec has no real-valued output to differentiate");
        return false;
    }
    uint8_t *known = calloc((size_t)graph_tensor_count(g) + 1, 1);
    if (!known) {
        fputs("attnc: out of memory\n", stderr);
        exit(EXIT_ENVIRONMENT);
    }
    if (warn)
        orphan_warn(g, mechanism, known, d);
    if (s->command != CHECK_GRAD) { /* which holds STOPs at their values */
        derive_forget_stops(g);
        simplify_outputs(g, &s->simplify);
        if (warn)
            orphan_warn(g, mechanism, known, d);
    }
    free(known);
    return true;
}

static bool verified(const settings *s, const graph *g) {
    char error[256];
    if (graph_verify(g, error, sizeof error))
        return true;
    fprintf(stderr, "attnc: the graph of %s is inconsistent, which is an error of the compiler: %s\n", s->spec_path,
            error);
    return false;
}

/* The graph that is compiled: where one is wanted to read, that has recurrences as the spec does. NULL after an error.
 */
static graph *make_program(settings *s, const spec *mechanism, const elaboration *how, diagnostics *d) {
    graph *g     = graph_new();
    bool picture = s->output && draw_is_picture(s->output) && !s->draw_schedule;
    if (elaborate_mechanism(g, mechanism, how, d)) {
        if (!picture && !s->schedule.unfused)
            recurrence_by_chunks(g, &s->recurrences);
        if (complete(s, mechanism, g, false, d) && verified(s, g))
            return g;
    }
    graph_free(g);
    return NULL;
}

static int work(settings *s, const spec *mechanism, graph *g, diagnostics *d) {
    if (spec_get_kind(mechanism) != SPEC_MECHANISM) {
        if (s->json && !s->output) /* what stands in it is checked where it is used */
            return EXIT_DONE;
        diagnostics_file_error(d, s->spec_path, NULL, "this is not a mechanism");
        return EXIT_INPUT;
    }
    if (wants(s, "ast"))
        spec_print(mechanism, stdout);
    origins places  = {0};
    elaboration how = {.variant       = s->variant,
                       .bindings      = s->bindings,
                       .binding_count = s->binding_count,
                       .training      = s->training,
                       .origins       = &places};
    if (s->command == CHECK_GRAD)
        choose_sizes(s, mechanism, &how);
    bool right = elaborate_mechanism(g, mechanism, &how, d);
    if (right)
        causality_warn(g, mechanism, &how, d);
    elaborate_origins_free(&places);
    how.origins = NULL;
    if (!right)
        return EXIT_INPUT;
    if (wants(s, "graph"))
        print_graph(s, g);
    bool recurrent = graph_scan_labels(g) > 0; /* before derivation, which adds some */
    if (!complete(s, mechanism, g, true, d))
        return EXIT_INPUT;
    if (wants(s, "grad"))
        print_graph(s, g);
    if (!verified(s, g))
        return EXIT_INPUT;
    if (s->command == CHECK_GRAD)
        return check_gradients(s, mechanism, &how, g, d);
    if (s->command == RUN && !s->machine && !s->tiles && !s->compare)
        return run(s, g, NULL);
    if (s->command == COMPILE && !s->output && !wants(s, "program") && !wants(s, "schedule") && !wants(s, "llvm"))
        return EXIT_DONE;
    /* without recurrences the two are the same */
    graph *program = recurrent ? make_program(s, mechanism, &how, d) : g;
    if (program && wants(s, "program"))
        print_graph(s, program);
    int status = !program ? EXIT_INPUT
                 : s->command == RUN
                     ? run(s, g, program)
                     : compile(s, program, s->variant ? s->variant : spec_name(mechanism), spec_comment(mechanism));
    if (program != g)
        graph_free(program);
    return status;
}

static int report(settings *s) {
    report_options options = {.spec       = s->specs,
                              .spec_count = s->spec_count,
                              .library    = s->library,
                              .variable   = s->variable,
                              .output     = s->output,
                              .how        = {.variant       = s->variant,
                                             .bindings      = s->bindings,
                                             .binding_count = s->binding_count,
                                             .training      = s->training},
                              .json       = s->json,
                              .verbose    = s->verbose};
    int status             = report_run(&options);
    for (size_t i = 0; i < s->binding_count; i++)
        free((char *)s->bindings[i].name);
    return status;
}

int main(int argc, char **argv) {
    settings s = {.seed = 1};
    int status = parse_arguments(&s, argc, argv);
    if (status)
        return status < 0 ? EXIT_DONE : status;
    const char *unknown = NULL;
    if (!known_stages(&s, &unknown))
        return usage("--dump knows ast, graph, grad, program, schedule and llvm, not", unknown);
    if (s.explain && !wants(&s, "graph") && !wants(&s, "grad") && !wants(&s, "program"))
        return usage("--explain goes with --dump=graph, grad or program", NULL);
    if (s.report)
        return report(&s);
    if (s.json && (s.dump || s.command != COMPILE))
        return usage("--json checks or compiles a spec, without --dump, run and check-grad", NULL);
    diagnostics d = {.stream = stderr};
    if (s.json)
        diagnostics_collect(&d);
    spec *mechanism = spec_read(s.spec_path, s.library, &d);
    graph *g        = graph_new();
    status          = mechanism ? work(&s, mechanism, g, &d) : EXIT_INPUT;
    if (s.json)
        diagnostics_print_json(&d, stdout);
    graph_free(g);
    spec_free(mechanism);
    for (size_t i = 0; i < s.binding_count; i++)
        free((char *)s.bindings[i].name);
    if (fflush(stdout) != 0 && !status) {
        fprintf(stderr, "attnc: cannot write the output: %s\n", strerror(errno));
        return EXIT_ENVIRONMENT;
    }
    return status;
}
