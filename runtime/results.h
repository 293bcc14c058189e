/* What a run leaves behind: config.json and metrics.json for each variant, comprehensive_results.json, comparison.png.
 * Every file is written whole or not at all. */
#ifndef ATTNC_RESULTS_H
#define ATTNC_RESULTS_H

#include "training.h"

#include <stdbool.h>
#include <stdio.h>

enum { RESULT_POINTS = 4096 };

/* The course of one variant. */
typedef struct record {
    char variant[128], attention_type[128], title[256], spec_path[1024];
    bool complete;     /* all steps were done */
    char failure[256]; /* one line, empty: none */
    /* training, logged */
    size_t train_count;
    double train_loss[RESULT_POINTS], train_time[RESULT_POINTS];
    int train_steps[RESULT_POINTS];
    /* validation */
    size_t eval_count;
    double eval_loss[RESULT_POINTS], eval_perplexity[RESULT_POINTS], eval_accuracy[RESULT_POINTS];
    int eval_steps[RESULT_POINTS];
    double final_train_loss, final_auxiliary_loss, final_eval_loss, final_accuracy;
    double first_loss, total_time, compile_time; /* seconds */
    double step_median, step_low, step_high;     /* seconds; the middle half of the steps lies between low and high */
    double tokens_per_second;
    double peak_memory; /* bytes */
    int steps_done;
    parameter_counts parameters;
} record;

typedef struct run_description {
    const char *preset, *data, *out, *model_path, *optimizer_path;
    int steps, warmup, log_every, eval_every, eval_batches;
    uint32_t batch_size, length, vocabulary;
    double rate;
    uint64_t seed;
    int threads;
    bool accuracy; /* worth showing */
} run_description;

/* False: one line in `error`. */
bool results_write_config(const run_description *run, const record *r, char *error, size_t size);
bool results_write_metrics(const run_description *run, const record *r, char *error, size_t size);
bool results_write_summary(const run_description *run, const record *const *all, size_t count, char *error,
                           size_t size);
bool results_plot(const run_description *run, const record *const *all, size_t count, char *error, size_t size);

/* The ranked table: best final loss first, failed variants last. */
void results_print_table(const run_description *run, const record *const *all, size_t count, FILE *file);

#endif
