/* abl-run: trains the same model with each mechanism and compares. */
#include "batches.h"
#include "causality.h"
#include "files.h"
#include "report.h"
#include "results.h"
#include "training.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_INPUT = 1, EXIT_USAGE = 2, EXIT_ENVIRONMENT = 3, EXIT_INTERRUPTED = 130 };
enum { MAX_SPECS = 256, MAX_BINDINGS = 64, MAX_RUNS = 512 };

typedef struct settings {
    const char *spec[MAX_SPECS];
    size_t spec_count;
    binding bindings[MAX_BINDINGS];
    size_t binding_count, preset_binding_count; /* the preset's come first; no spec need declare those */
    const char *tokenizer_file, *library;
    int layers, d_model; /* 0: the model's own */
    bool quiet;
    uint32_t pairs;        /* of the recall task */
    diagnostics *messages; /* one for the whole run: a warning about a spec is said once */
    run_description run;
} settings;

/* One spec file, read, and which of its variants to run. */
typedef struct candidate {
    spec *s;
    const char *variant; /* NULL: the spec without one */
} candidate;

/* Ctrl-C and `kill` are blocked in all threads and asked for between steps, never handled: oneDNN before its pull
 * request 4855 (March 2026; Debian 12 has 2.6) keeps heap addresses in the stack pointer while a product runs, and a
 * handler's frame written there corrupts the heap. */
static void hold_signals(void) {
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &held, NULL);
}

static bool interrupted(void) {
    sigset_t pending;
    return sigpending(&pending) == 0 && (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1);
}

static const char help[] =
    "Usage: abl-run --spec FILE... [OPTION]...\n"
    "Trains the same language model with each mechanism (every variant of every FILE, or FILE:VARIANT) and compares "
    "them.\n\n"
    "      --spec FILE...         mechanisms\n"
    "      --preset recall|study  recall (default): associative recall, made from the seed; study: WikiText-2\n"
    "      --data PATH            folder with train.txt, valid.txt, test.txt, or one text file\n"
    "      --tokenizer-file FILE  GPT-2's vocab.bpe\n"
    "      --steps N  --batch-size N  --seq-len N  --layers N  --d-model N  --vocab N\n"
    "      --pairs N              of recall: how many keys and values to remember\n"
    "      --lr X                 highest learning rate; warm-up, then cosine to a tenth\n"
    "      --seed N  --threads N\n"
    "      --eval-batches N       validation batches of each evaluation\n"
    "      --log-every N  --eval-every N\n"
    "  -D, --define NAME=X        a size or number of the model or of the mechanisms\n"
    "      --model FILE  --optimizer FILE\n"
    "      --out DIR              where results go (default: results)\n"
    "      --quiet, --help, --version\n\n"
    "Exit status: 0 done; 1 the input is wrong or a variant failed; 2 usage; 3 the environment; 130 interrupted (what "
    "was\n"
    "done is saved).\n";

static int usage(const char *what, const char *which) {
    fprintf(stderr, "abl-run: %s%s%s (see abl-run --help)\n", what, which ? " " : "", which ? which : "");
    return EXIT_USAGE;
}

static bool apply_preset(settings *s, const char *name) {
    run_description *r = &s->run;
    if (strcmp(name, "study") == 0) {
        r->steps = 1000, r->batch_size = 4, r->length = 1024, r->vocabulary = 32000;
        r->rate = 3e-4, r->warmup = 100, r->log_every = 50, r->eval_every = 100, r->eval_batches = 20;
        s->layers = 4, s->d_model = 128;
    } else if (strcmp(name, "recall") == 0) {
        /* as large as two layers learn within a minute on a laptop, from most seeds */
        r->steps = 800, r->batch_size = 64, r->length = 16, r->vocabulary = 16;
        r->rate = 2e-3, r->warmup = 20, r->log_every = 100, r->eval_every = 100, r->eval_batches = 8;
        s->layers = 2, s->d_model = 64, s->pairs = 2;
        s->bindings[0]   = (binding){"P", 0}; /* dropout would only delay it */
        s->binding_count = s->preset_binding_count = 1;
    } else {
        return false;
    }
    r->preset = name;
    return true;
}

static bool whole(const char *text, int64_t low, int64_t high, int64_t *out) {
    char *end;
    errno       = 0;
    long long x = strtoll(text, &end, 10);
    *out        = x;
    return errno == 0 && end != text && *end == 0 && x >= low && x <= high;
}

static bool real(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == 0 && isfinite(*out);
}

enum {
    PRESET = 256,
    SPEC,
    DATA,
    TOKENIZER,
    STEPS,
    BATCH,
    LENGTH,
    LAYERS,
    WIDTH,
    VOCAB,
    PAIRS,
    RATE,
    SEED,
    THREADS,
    EVAL_BATCHES,
    LOG_EVERY,
    EVAL_EVERY,
    MODEL,
    OPTIMIZER,
    OUT,
    QUIET,
    HELP,
    VERSION
};

static const struct option options[] = {{"preset", 1, NULL, PRESET},
                                        {"spec", 1, NULL, SPEC},
                                        {"data", 1, NULL, DATA},
                                        {"tokenizer-file", 1, NULL, TOKENIZER},
                                        {"steps", 1, NULL, STEPS},
                                        {"batch-size", 1, NULL, BATCH},
                                        {"seq-len", 1, NULL, LENGTH},
                                        {"layers", 1, NULL, LAYERS},
                                        {"d-model", 1, NULL, WIDTH},
                                        {"vocab", 1, NULL, VOCAB},
                                        {"pairs", 1, NULL, PAIRS},
                                        {"lr", 1, NULL, RATE},
                                        {"seed", 1, NULL, SEED},
                                        {"threads", 1, NULL, THREADS},
                                        {"eval-batches", 1, NULL, EVAL_BATCHES},
                                        {"log-every", 1, NULL, LOG_EVERY},
                                        {"eval-every", 1, NULL, EVAL_EVERY},
                                        {"model", 1, NULL, MODEL},
                                        {"optimizer", 1, NULL, OPTIMIZER},
                                        {"out", 1, NULL, OUT},
                                        {"quiet", 0, NULL, QUIET},
                                        {"define", 1, NULL, 'D'},
                                        {"help", 0, NULL, HELP},
                                        {"version", 0, NULL, VERSION},
                                        {NULL, 0, NULL, 0}};

static int take_option(settings *s, int c) {
    run_description *r = &s->run;
    int64_t n          = 0;
    char *equals;
    switch (c) {
    case PRESET:
        return 0; /* taken first, whatever its place */
    case SPEC:
        if (s->spec_count == MAX_SPECS)
            return usage("too many specs at", optarg);
        s->spec[s->spec_count++] = optarg;
        return 0;
    case DATA:
        r->data = optarg;
        return 0;
    case TOKENIZER:
        s->tokenizer_file = optarg;
        return 0;
    case MODEL:
        r->model_path = optarg;
        return 0;
    case OPTIMIZER:
        r->optimizer_path = optarg;
        return 0;
    case OUT:
        r->out = optarg;
        return 0;
    case QUIET:
        s->quiet = true;
        return 0;
    case RATE:
        return real(optarg, &r->rate) && r->rate >= 0 ? 0 : usage("--lr needs a number of at least 0, not", optarg);
    case 'D':
        equals = strchr(optarg, '=');
        if (!equals || s->binding_count == MAX_BINDINGS || !real(equals + 1, &s->bindings[s->binding_count].value))
            return usage("-D takes NAME=NUMBER, not", optarg);
        *equals                              = 0;
        s->bindings[s->binding_count++].name = optarg;
        return 0;
    case '?':
    case ':':
        return usage("unknown option or missing argument:", NULL);
    default:
        break;
    }
    if (!whole(optarg, c == SEED ? 0 : 1, 1000000000, &n))
        return usage("a whole number is needed, not", optarg);
    int number = (int)n;
    switch (c) {
    case STEPS:
        r->steps = number;
        break;
    case BATCH:
        r->batch_size = (uint32_t)number;
        break;
    case LENGTH:
        r->length = (uint32_t)number;
        break;
    case LAYERS:
        s->layers = number;
        break;
    case WIDTH:
        s->d_model = number;
        break;
    case VOCAB:
        r->vocabulary = (uint32_t)number;
        break;
    case PAIRS:
        s->pairs = (uint32_t)number;
        break;
    case SEED:
        r->seed = (uint64_t)n;
        break;
    case THREADS:
        r->threads = number;
        break;
    case EVAL_BATCHES:
        r->eval_batches = number;
        break;
    case LOG_EVERY:
        r->log_every = number;
        break;
    default:
        r->eval_every = number;
        break;
    }
    return 0;
}

static int parse_arguments(settings *s, int argc, char **argv) {
    const char *preset = "recall";
    opterr             = 0;
    for (int i = 1; i < argc; i++) { /* the preset's values come before all others */
        if (strncmp(argv[i], "--preset=", 9) == 0)
            preset = argv[i] + 9;
        else if (strcmp(argv[i], "--preset") == 0 && i + 1 < argc)
            preset = argv[i + 1];
    }
    if (!apply_preset(s, preset))
        return usage("there is no preset", preset);
    for (int c; (c = getopt_long(argc, argv, ":D:", options, NULL)) != -1;) {
        if (c == HELP) {
            fputs(help, stdout);
            return -1;
        }
        if (c == VERSION) {
            printf("abl-run %s\n", ATTNC_VERSION);
            return -1;
        }
        if (c == '?' || c == ':')
            return usage(c == '?' ? "unknown option" : "an argument is missing after", argv[optind - 1]);
        int status = take_option(s, c);
        if (status)
            return status;
    }
    for (; optind < argc; optind++) { /* --spec specs/?.att: the shell's list */
        if (s->spec_count == MAX_SPECS)
            return usage("too many specs at", argv[optind]);
        s->spec[s->spec_count++] = argv[optind];
    }
    if (s->spec_count == 0)
        return usage("no mechanism: give --spec FILE", NULL);
    /* a short run warms up for a tenth of it */
    if (s->run.warmup * 2 > s->run.steps)
        s->run.warmup = s->run.steps / 10 > 0 ? s->run.steps / 10 : 1;
    if (s->run.steps / s->run.log_every + 2 > RESULT_POINTS)
        return usage("--log-every is too small for so many steps", NULL);
    return 0;
}

static double rate_at(const run_description *r, int step) {
    if (step <= r->warmup)
        return r->rate * step / r->warmup;
    double along = (double)(step - r->warmup) / fmax(1, r->steps - r->warmup);
    return r->rate * (0.1 + 0.9 * 0.5 * (1 + cos(3.14159265358979 * along)));
}

/* Buffers of one batch. */
typedef struct batch {
    int32_t *tokens, *targets;
    float *weight;
} batch;

static batch new_batch(size_t count) {
    batch b = {malloc(count * 4), malloc(count * 4), malloc(count * 4)};
    if (!b.tokens || !b.targets || !b.weight) {
        fputs("abl-run: out of memory\n", stderr);
        exit(EXIT_ENVIRONMENT);
    }
    return b;
}

static void free_batch(batch *b) {
    free(b->tokens);
    free(b->targets);
    free(b->weight);
}

static bool evaluate(const settings *s, training *t, const batch_source *data, batch *b, record *r, int step) {
    const run_description *run = &s->run;
    uint64_t count             = batches_count(data, SPLIT_VALID, run->batch_size, run->length);
    training_result sum        = {0};
    uint64_t used              = 0;
    for (; used < count && used < (uint64_t)run->eval_batches; used++) {
        training_result one;
        batches_get(data, SPLIT_VALID, run->seed, used, run->batch_size, run->length, b->tokens, b->targets, b->weight);
        if (!training_evaluate(t, b->tokens, b->targets, b->weight, &one))
            return false;
        sum.loss += one.loss;
        sum.accuracy += one.accuracy;
    }
    double loss        = used ? sum.loss / (double)used : NAN;
    r->final_eval_loss = loss;
    r->final_accuracy  = used ? sum.accuracy / (double)used : NAN;
    if (r->eval_count < RESULT_POINTS) {
        r->eval_loss[r->eval_count]       = loss;
        r->eval_perplexity[r->eval_count] = exp(loss);
        r->eval_accuracy[r->eval_count]   = r->final_accuracy;
        r->eval_steps[r->eval_count++]    = step;
    }
    return true;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double peak_memory(void) {
    struct rusage usage_now;
    getrusage(RUSAGE_SELF, &usage_now);
    return (double)usage_now.ru_maxrss * 1024;
}

/* The steps of one variant. */
static void train(const settings *s, training *t, const batch_source *data, record *r) {
    const run_description *run = &s->run;
    batch b                    = new_batch((size_t)run->batch_size * run->length);
    double *seconds = malloc(((size_t)run->steps + 1) * sizeof *seconds), start = omp_get_wtime();
    double recent    = 0;
    int recent_count = 0;
    for (int step = 1; step <= run->steps && !interrupted() && !r->failure[0] && seconds; step++) {
        training_result one;
        if (!batches_get(data, SPLIT_TRAIN, run->seed, (uint64_t)step - 1, run->batch_size, run->length, b.tokens,
                         b.targets, b.weight)) {
            snprintf(r->failure, sizeof r->failure, "the data is too short for a batch of %u sequences of %u tokens",
                     run->batch_size, run->length);
            break;
        }
        double before = omp_get_wtime();
        if (!training_step(t, b.tokens, b.targets, b.weight, rate_at(run, step), (uint64_t)step, &one)) {
            snprintf(r->failure, sizeof r->failure, "out of memory");
            break;
        }
        seconds[r->steps_done++] = omp_get_wtime() - before;
        if (!isfinite(one.loss + one.auxiliary)) {
            snprintf(r->failure, sizeof r->failure, "the loss is not a number at step %d", step);
            break;
        }
        if (step == 1)
            r->first_loss = one.loss;
        recent += one.loss;
        recent_count++;
        r->final_train_loss     = one.loss;
        r->final_auxiliary_loss = one.auxiliary;
        bool last               = step == run->steps || interrupted();
        if (step == 1 || step % run->log_every == 0 || last) {
            r->train_loss[r->train_count]    = recent / recent_count;
            r->train_time[r->train_count]    = omp_get_wtime() - start;
            r->train_steps[r->train_count++] = step;
            if (!s->quiet) {
                printf("%-14s step %5d/%d  loss %8.4f  perplexity %10.2f", r->variant, step, run->steps,
                       recent / recent_count, exp(recent / recent_count));
                if (run->accuracy)
                    printf("  accuracy %5.1f%%", 100 * one.accuracy);
                if (one.auxiliary != 0)
                    printf("  auxiliary %.4f", one.auxiliary);
                printf("  %7.1f ms/step  %8.0f tokens/s\n", 1e3 * seconds[r->steps_done - 1],
                       run->batch_size * (double)run->length / seconds[r->steps_done - 1]);
                fflush(stdout);
            }
            recent = recent_count = 0;
        }
        if ((step % run->eval_every == 0 || last) && !evaluate(s, t, data, &b, r, step))
            snprintf(r->failure, sizeof r->failure, "out of memory");
    }
    r->complete   = r->steps_done == run->steps && !r->failure[0];
    r->total_time = omp_get_wtime() - start;
    if (seconds && r->steps_done) {
        qsort(seconds, (size_t)r->steps_done, sizeof *seconds, compare_doubles);
        r->step_median       = seconds[r->steps_done / 2];
        r->step_low          = seconds[r->steps_done / 4];
        r->step_high         = seconds[r->steps_done * 3 / 4];
        r->tokens_per_second = run->batch_size * (double)run->length / r->step_median;
    }
    r->peak_memory = (double)training_bytes(t);
    free(seconds);
    free_batch(&b);
}

/* Bindings that a spec declares: a size of the model is not one of every mechanism. */
static size_t choose_bindings(const spec *s, const binding *all, size_t count, binding *chosen) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (spec_declares(s, all[i].name))
            chosen[n++] = all[i];
    return n;
}

/* What a variant's programs are made from; the bindings are kept in `mine`. */
typedef struct prepared {
    training_request request;
    binding model_bindings[MAX_BINDINGS + 6], mechanism_bindings[MAX_BINDINGS];
} prepared;

static void prepare(const settings *s, const candidate *c, const spec *model, const spec *optimizer, prepared *p) {
    const run_description *run    = &s->run;
    binding all[MAX_BINDINGS + 6] = {
        {"B", run->batch_size}, {"T", run->length}, {"V", run->vocabulary}, {"L", s->layers}, {"D", s->d_model}};
    memcpy(all + 5, s->bindings, s->binding_count * sizeof *all);
    size_t model_count     = choose_bindings(model, all, 5 + s->binding_count, p->model_bindings);
    size_t mechanism_count = choose_bindings(c->s, s->bindings, s->binding_count, p->mechanism_bindings);
    p->request             = (training_request){
                    .mechanism     = c->s,
                    .model         = model,
                    .optimizer     = optimizer,
                    .mechanism_how = {.variant = c->variant, .bindings = p->mechanism_bindings, .binding_count = mechanism_count},
                    .model_how     = {.bindings = p->model_bindings, .binding_count = model_count},
                    .seed          = run->seed};
}

/* A language model whose mechanism sees the tokens it is to predict has a loss that means nothing. */
static void warn_of_looking_ahead(const candidate *c, const elaboration *how) {
    FILE *nowhere = fopen("/dev/null", "w");
    if (!nowhere)
        return;
    diagnostics d = {.stream = nowhere}; /* all was said when the model was checked */
    graph *g      = graph_new();
    char text[256];
    if (elaborate_mechanism(g, c->s, how, &d)) {
        causality found = causality_check(g, c->s, how);
        report_causality(g, &found, text, sizeof text);
        if (found.kind == CAUSALITY_REFUTED)
            fprintf(stderr, "abl-run: warning: %s sees what it is to predict, so its loss cannot be compared (%s)\n",
                    c->variant ? c->variant : spec_name(c->s), text);
    }
    graph_free(g);
    fclose(nowhere);
}

/* A spec that is wrong is known before the first variant trains. */
static bool check_variant(const settings *s, const candidate *c, const spec *model, const spec *optimizer) {
    prepared p;
    graph *g = graph_new();
    prepare(s, c, model, optimizer, &p);
    bool ok =
        elaborate_model(g, model, &p.request.mechanism, &p.request.mechanism_how, 1, &p.request.model_how, s->messages);
    graph_free(g);
    if (ok)
        warn_of_looking_ahead(c, &p.request.mechanism_how);
    return ok;
}

static bool run_variant(const settings *s, const candidate *c, const spec *model, const spec *optimizer,
                        const batch_source *data, record *r) {
    prepared p;
    char error[512];
    prepare(s, c, model, optimizer, &p);
    training *t = training_new(&p.request, s->messages, error, sizeof error);
    if (!t) {
        snprintf(r->failure, sizeof r->failure, "%.250s", error);
        return false;
    }
    r->parameters   = training_parameters(t);
    r->compile_time = training_compile_seconds(t);
    train(s, t, data, r);
    training_free(t);
    return !r->failure[0];
}

static record *new_record(const candidate *c) {
    record *r = calloc(1, sizeof *r);
    if (!r) {
        fputs("abl-run: out of memory\n", stderr);
        exit(EXIT_ENVIRONMENT);
    }
    snprintf(r->variant, sizeof r->variant, "%s", c->variant ? c->variant : spec_name(c->s));
    snprintf(r->attention_type, sizeof r->attention_type, "%s", spec_name(c->s));
    snprintf(r->title, sizeof r->title, "%s", spec_title(c->s));
    snprintf(r->spec_path, sizeof r->spec_path, "%s", spec_path(c->s));
    r->final_eval_loss = r->final_accuracy = NAN;
    return r;
}

/* Reads the specs and lists their variants. */
static int read_candidates(const settings *s, candidate *list, size_t *count, spec **owned, size_t *owned_count) {
    diagnostics d = {.stream = stderr};
    for (size_t i = 0; i < s->spec_count; i++) {
        char path[4096];
        const char *colon = strrchr(s->spec[i], ':');
        snprintf(path, sizeof path, "%.*s", (int)(colon ? (size_t)(colon - s->spec[i]) : strlen(s->spec[i])),
                 s->spec[i]);
        spec *one = spec_read(path, s->library, &d);
        if (!one)
            return EXIT_INPUT;
        owned[(*owned_count)++] = one;
        if (spec_get_kind(one) != SPEC_MECHANISM) {
            fprintf(stderr, "abl-run: %s is not a mechanism\n", path);
            return EXIT_INPUT;
        }
        size_t variants = spec_variant_count(one), before = *count;
        if (variants == 0 && !colon && *count < MAX_RUNS)
            list[(*count)++] = (candidate){one, NULL};
        for (size_t k = 0; k < variants && *count < MAX_RUNS; k++)
            if (!colon || strcmp(colon + 1, spec_variant_name(one, k)) == 0)
                list[(*count)++] = (candidate){one, spec_variant_name(one, k)};
        if (*count == before) {
            fprintf(stderr, "abl-run: %s has no variant `%s`\n", path, colon ? colon + 1 : "");
            return EXIT_INPUT;
        }
    }
    for (size_t i = s->preset_binding_count; i < s->binding_count; i++) {
        bool known = false;
        for (size_t k = 0; k < *owned_count; k++)
            known |= spec_declares(owned[k], s->bindings[i].name);
        if (!known) {
            fprintf(stderr, "abl-run: `%s` is no size or number of the model or of any mechanism\n",
                    s->bindings[i].name);
            return EXIT_INPUT;
        }
    }
    return EXIT_DONE;
}

static bool report(bool ok, const char *error, int *status) {
    if (!ok) {
        fprintf(stderr, "abl-run: %s\n", error);
        *status = EXIT_ENVIRONMENT;
    }
    return ok;
}

static int run_all(const settings *s, const candidate *list, size_t count, const spec *model, const spec *optimizer,
                   const batch_source *data) {
    const run_description *run = &s->run;
    record *all[MAX_RUNS];
    size_t done = 0;
    int status  = EXIT_DONE;
    char error[512];
    for (size_t i = 0; i < count && !interrupted() && status != EXIT_ENVIRONMENT; i++) {
        record *r = all[done++] = new_record(&list[i]);
        if (!report(results_write_config(run, r, error, sizeof error), error, &status))
            break;
        if (!run_variant(s, &list[i], model, optimizer, data, r)) {
            fprintf(stderr, "abl-run: %s: %s\n", r->variant, r->failure);
            status = EXIT_INPUT;
        }
        report(results_write_metrics(run, r, error, sizeof error) &&
                   results_write_summary(run, (const record *const *)all, done, error, sizeof error),
               error, &status);
    }
    if (done && status != EXIT_ENVIRONMENT) {
        bool any = false;
        for (size_t i = 0; i < done; i++)
            any |= !all[i]->failure[0];
        if (any)
            report(results_plot(run, (const record *const *)all, done, error, sizeof error), error, &status);
        results_print_table(run, (const record *const *)all, done, stdout);
        printf("\nResults are in %s; peak memory of the process %.0f MB.\n", run->out, peak_memory() / 1e6);
    }
    for (size_t i = 0; i < done; i++)
        free(all[i]);
    if (interrupted()) {
        fprintf(stderr, "abl-run: interrupted; what was done is in %s\n", run->out);
        return EXIT_INTERRUPTED;
    }
    return status;
}

/* A folder that cannot be written is known before hours of training. */
static bool can_write(const char *folder) {
    char path[4096];
    if (!folder_make(folder))
        return false;
    snprintf(path, sizeof path, "%s/.writable.%ld.tmp", folder, (long)getpid());
    FILE *file = fopen(path, "w");
    bool ok    = file && fputs("attnc\n", file) >= 0 && fflush(file) == 0;
    int why    = errno;
    if (file)
        fclose(file);
    unlink(path);
    errno = why;
    return ok;
}

int main(int argc, char **argv) {
    settings s = {.run = {.out            = "results",
                          .model_path     = "model/lm.att",
                          .optimizer_path = "optimizer/adamw.att",
                          .seed           = 1,
                          .threads        = omp_get_max_threads()}};
    int status = parse_arguments(&s, argc, argv);
    if (status)
        return status < 0 ? EXIT_DONE : status;
    hold_signals(); /* before OpenMP starts threads, which inherit it */
    candidate list[MAX_RUNS];
    spec *owned[MAX_SPECS + 2];
    size_t count = 0, owned_count = 0;
    char error[512]    = "out of memory", model_path[4096], optimizer_path[4096];
    diagnostics d      = {.stream = stderr};
    s.messages         = &d;
    batch_source *data = NULL;
    omp_set_num_threads(s.run.threads);

    const char *folder =
        access(ATTNC_SOURCE_SPECS "/model/lm.att", R_OK) == 0 ? ATTNC_SOURCE_SPECS : ATTNC_INSTALLED_SPECS;
    snprintf(model_path, sizeof model_path, strcmp(s.run.model_path, "model/lm.att") ? "%.0s%s" : "%s/%s", folder,
             s.run.model_path);
    snprintf(optimizer_path, sizeof optimizer_path,
             strcmp(s.run.optimizer_path, "optimizer/adamw.att") ? "%.0s%s" : "%s/%s", folder, s.run.optimizer_path);
    spec *model     = spec_read(model_path, NULL, &d);
    spec *optimizer = model ? spec_read(optimizer_path, NULL, &d) : NULL;
    if (model)
        owned[owned_count++] = model;
    if (optimizer)
        owned[owned_count++] = optimizer;
    status = model && optimizer ? read_candidates(&s, list, &count, owned, &owned_count) : EXIT_INPUT;

    if (!status && !s.run.data && strcmp(s.run.preset, "study") == 0)
        status = usage("the preset study needs --data FOLDER (WikiText-2)", NULL);
    if (!status && !s.run.data && !batches_recall_fits(s.run.vocabulary, s.pairs, s.run.length)) {
        fprintf(stderr, "abl-run: %u pairs need a vocabulary of %u and sequences of %u tokens (--vocab, --seq-len)\n",
                s.pairs, 2 * s.pairs, 4 * s.pairs);
        status = EXIT_USAGE;
    }
    if (!status) {
        if (s.run.data) {
            data = batches_of_text(s.run.data, s.tokenizer_file, s.run.vocabulary, error, sizeof error);
        } else {
            s.run.accuracy = true;
            data           = batches_of_recall(s.run.vocabulary, s.pairs);
            s.run.data     = "recall";
        }
        if (!data) {
            fprintf(stderr, "abl-run: %s\n", error);
            status = EXIT_ENVIRONMENT;
        }
    }
    for (size_t i = 0; i < count && !status; i++)
        if (!check_variant(&s, &list[i], model, optimizer))
            status = EXIT_INPUT;
    if (!status && !can_write(s.run.out)) {
        fprintf(stderr, "abl-run: cannot write into %s: %s\n", s.run.out, strerror(errno));
        status = EXIT_ENVIRONMENT;
    }
    if (!status)
        status = run_all(&s, list, count, model, optimizer, data);
    batches_free(data);
    for (size_t i = 0; i < owned_count; i++)
        spec_free(owned[i]);
    return status;
}
