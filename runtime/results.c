#include "results.h"

#include "files.h"

#include <cjson/cJSON.h>
#include <dnnl.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifndef ATTNC_REVISION
#define ATTNC_REVISION "unknown"
#endif

/* JSON has no NaN: what was not measured is null. */
static void put(cJSON *object, const char *name, double value) {
    if (isfinite(value))
        cJSON_AddNumberToObject(object, name, value);
    else
        cJSON_AddNullToObject(object, name);
}

static void put_array(cJSON *object, const char *name, const double *value, size_t count) {
    cJSON *array = cJSON_AddArrayToObject(object, name);
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(array, isfinite(value[i]) ? cJSON_CreateNumber(value[i]) : cJSON_CreateNull());
}

static bool save(cJSON *object, const char *folder, const char *name, char *error, size_t size) {
    char path[4096];
    char *text = cJSON_Print(object);
    cJSON_Delete(object);
    if (!text) {
        snprintf(error, size, "out of memory");
        return false;
    }
    bool fits = snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path;
    bool ok   = fits && folder_make(folder) && file_write(path, text, strlen(text));
    if (!ok)
        snprintf(error, size, "cannot write %.300s/%.60s: %s", folder, name,
                 fits ? strerror(errno) : "the path is too long");
    free(text);
    return ok;
}

static void variant_folder(const run_description *run, const record *r, char *path, size_t size) {
    snprintf(path, size, "%s/%s", run->out, r->variant);
}

static cJSON *versions(void) {
    cJSON *v                   = cJSON_CreateObject();
    const dnnl_version_t *dnnl = dnnl_version();
    char text[64];
    snprintf(text, sizeof text, "%d.%d.%d", dnnl->major, dnnl->minor, dnnl->patch);
    cJSON_AddStringToObject(v, "attnc", ATTNC_VERSION);
    cJSON_AddStringToObject(v, "onednn", text);
    cJSON_AddStringToObject(v, "git", ATTNC_REVISION);
    return v;
}

bool results_write_config(const run_description *run, const record *r, char *error, size_t size) {
    char folder[4096];
    cJSON *c = cJSON_CreateObject();
    cJSON_AddStringToObject(c, "variant", r->variant);
    cJSON_AddStringToObject(c, "attention_type", r->attention_type);
    cJSON_AddStringToObject(c, "spec", r->spec_path);
    cJSON_AddStringToObject(c, "model", run->model_path);
    cJSON_AddStringToObject(c, "optimizer", run->optimizer_path);
    cJSON_AddStringToObject(c, "preset", run->preset);
    cJSON_AddStringToObject(c, "data", run->data);
    cJSON_AddNumberToObject(c, "steps", run->steps);
    cJSON_AddNumberToObject(c, "warmup_steps", run->warmup);
    cJSON_AddNumberToObject(c, "batch_size", run->batch_size);
    cJSON_AddNumberToObject(c, "seq_len", run->length);
    cJSON_AddNumberToObject(c, "vocab_size", run->vocabulary);
    cJSON_AddNumberToObject(c, "learning_rate", run->rate);
    cJSON_AddNumberToObject(c, "eval_batches", run->eval_batches);
    cJSON_AddNumberToObject(c, "seed", (double)run->seed);
    cJSON_AddNumberToObject(c, "threads", run->threads);
    cJSON_AddStringToObject(c, "backend", "cpu");
    cJSON_AddItemToObject(c, "versions", versions());
    variant_folder(run, r, folder, sizeof folder);
    return save(c, folder, "config.json", error, size);
}

static void put_figures(cJSON *m, const run_description *run, const record *r) {
    cJSON *p = cJSON_AddObjectToObject(m, "parameters");
    cJSON_AddNumberToObject(p, "total", (double)r->parameters.total);
    cJSON_AddNumberToObject(p, "embedding", (double)r->parameters.embedding);
    cJSON_AddNumberToObject(p, "attention", (double)r->parameters.attention);
    cJSON_AddNumberToObject(p, "feedforward", (double)r->parameters.feedforward);
    cJSON_AddNumberToObject(p, "other", (double)r->parameters.other);
    put(m, "tokens_per_second", r->tokens_per_second);
    cJSON *s = cJSON_AddObjectToObject(m, "step_time");
    put(s, "median", r->step_median);
    put(s, "low_quartile", r->step_low);
    put(s, "high_quartile", r->step_high);
    put(m, "compile_time", r->compile_time);
    put(m, "peak_memory_bytes", r->peak_memory);
    put(m, "final_accuracy", r->final_accuracy);
    put(m, "final_auxiliary_loss", r->final_auxiliary_loss);
    put(m, "first_train_loss", r->first_loss);
    cJSON_AddNumberToObject(m, "steps_done", r->steps_done);
    cJSON_AddBoolToObject(m, "complete", r->complete);
    if (r->failure[0])
        cJSON_AddStringToObject(m, "failure", r->failure);
    cJSON_AddNumberToObject(m, "seed", (double)run->seed);
    cJSON_AddStringToObject(m, "backend", "cpu");
    cJSON_AddItemToObject(m, "versions", versions());
}

bool results_write_metrics(const run_description *run, const record *r, char *error, size_t size) {
    char folder[4096];
    cJSON *m = cJSON_CreateObject();
    put_array(m, "train_loss", r->train_loss, r->train_count);
    cJSON_AddItemToObject(m, "train_steps", cJSON_CreateIntArray(r->train_steps, (int)r->train_count));
    put_array(m, "eval_loss", r->eval_loss, r->eval_count);
    cJSON_AddItemToObject(m, "eval_steps", cJSON_CreateIntArray(r->eval_steps, (int)r->eval_count));
    put_array(m, "eval_perplexity", r->eval_perplexity, r->eval_count);
    put_array(m, "eval_accuracy", r->eval_accuracy, r->eval_count);
    put_array(m, "train_time", r->train_time, r->train_count);
    put(m, "final_eval_loss", r->final_eval_loss);
    put(m, "final_perplexity", exp(r->final_eval_loss));
    put(m, "total_time", r->total_time);
    put_figures(m, run, r);
    variant_folder(run, r, folder, sizeof folder);
    return save(m, folder, "metrics.json", error, size);
}

bool results_write_summary(const run_description *run, const record *const *all, size_t count, char *error,
                           size_t size) {
    cJSON *summary = cJSON_CreateObject();
    for (size_t i = 0; i < count; i++) {
        const record *r = all[i];
        cJSON *v        = cJSON_AddObjectToObject(summary, r->variant);
        put(v, "final_loss", r->final_eval_loss);
        put(v, "final_perplexity", exp(r->final_eval_loss));
        put(v, "total_time", r->total_time);
        cJSON_AddStringToObject(v, "attention_type", r->attention_type);
        put_figures(v, run, r);
    }
    return save(summary, run->out, "comprehensive_results.json", error, size);
}

static int by_loss(const void *a, const void *b) {
    const record *x = *(const record *const *)a, *y = *(const record *const *)b;
    bool bad_x = !isfinite(x->final_eval_loss), bad_y = !isfinite(y->final_eval_loss);
    if (bad_x != bad_y)
        return bad_x ? 1 : -1;
    if (bad_x)
        return strcmp(x->variant, y->variant);
    return (x->final_eval_loss > y->final_eval_loss) - (x->final_eval_loss < y->final_eval_loss);
}

static const record **ranked(const record *const *all, size_t count) {
    const record **order = malloc((count + 1) * sizeof *order);
    if (!order) {
        fputs("abl-run: out of memory\n", stderr);
        exit(3);
    }
    memcpy(order, all, count * sizeof *order);
    qsort(order, count, sizeof *order, by_loss);
    return order;
}

void results_print_table(const run_description *run, const record *const *all, size_t count, FILE *file) {
    const record **order = ranked(all, count);
    fprintf(file, "\n%4s  %-14s %10s %12s%s %10s %11s %9s %9s\n", "rank", "variant", "eval loss", "perplexity",
            run->accuracy ? "  accuracy" : "", "s/step", "tokens/s", "MB", "params");
    for (size_t i = 0; i < count; i++) {
        const record *r = order[i];
        if (r->failure[0]) {
            fprintf(file, "%4s  %-14s %s\n", "-", r->variant, r->failure);
            continue;
        }
        /* rounding may leave a loss of -1e-8, which would print as -0.0000 */
        double loss = fabs(r->final_eval_loss) < 5e-5 ? 0 : r->final_eval_loss;
        fprintf(file, "%4zu  %-14s %10.4f %12.2f", i + 1, r->variant, loss, exp(loss));
        if (run->accuracy)
            fprintf(file, " %8.1f%%", 100 * r->final_accuracy);
        fprintf(file, " %10.3f %11.0f %9.0f %8.2fM\n", r->step_median, r->tokens_per_second, r->peak_memory / 1e6,
                (double)r->parameters.total / 1e6);
    }
    free(order);
}

/* The picture, by gnuplot: its script is piped to it with the data inline. */

static void bars(FILE *plot, const char *block, const record **order, size_t count, int what) {
    fprintf(plot, "$%s << EOD\n", block);
    for (size_t i = 0; i < count; i++) {
        const record *r = order[i];
        double value    = what == 0   ? r->final_eval_loss
                          : what == 1 ? exp(r->final_eval_loss)
                          : what == 2 ? r->step_median
                                      : r->final_accuracy * 100;
        fprintf(plot, "%zu %.6g \"%s\"\n", i, isfinite(value) ? value : 0, r->variant);
    }
    fputs("EOD\n", plot);
}

static void curve(FILE *plot, size_t i, const record *r) {
    fprintf(plot, "$curve%zu << EOD\n", i);
    for (size_t k = 0; k < r->train_count; k++)
        if (isfinite(r->train_loss[k]))
            fprintf(plot, "%d %.6g\n", r->train_steps[k], r->train_loss[k]);
    fputs("EOD\n", plot);
}

static void write_script(FILE *plot, const run_description *run, const char *path, const record **order, size_t count) {
    static const char *const color[] = {"#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377",
                                        "#777777", "#e07b39", "#5b3fa0", "#2a9d8f", "#9c6644"};
    double low = INFINITY, high = 0;
    for (size_t i = 0; i < count; i++)
        if (isfinite(order[i]->final_eval_loss)) {
            low  = fmin(low, order[i]->final_eval_loss);
            high = fmax(high, order[i]->final_eval_loss);
        }
    double margin = fmax((high - low) * 0.25, high * 0.002);
    bars(plot, "loss", order, count, 0);
    bars(plot, "second", order, count, run->accuracy ? 3 : 1);
    bars(plot, "time", order, count, 2);
    for (size_t i = 0; i < count; i++)
        curve(plot, i, order[i]);
    /* names have '_', which enhanced text would take for subscripts */
    fprintf(
        plot,
        "set terminal pngcairo noenhanced size 1500,1050 font 'DejaVu Sans,12' background '#ffffff'\nset output '%s'\n",
        path);
    fputs("set multiplot layout 2,2 margins 0.07,0.98,0.11,0.93 spacing 0.08,0.17\nset style fill solid 0.9 "
          "noborder\nset boxwidth 0.7\nset grid ytics lc '#dddddd' lw 1\nset border 3 lc '#666666'\nset tics nomirror\n"
          "set xtics rotate by -40 offset -1,0\nunset key\n",
          plot);
    if (isfinite(low))
        fprintf(plot, "set yrange [%g:%g]\n", fmax(low - margin, 0), high + margin / 3);
    fputs("set title 'Validation loss (nats a token, axis cut)'\nplot $loss using 1:2:xtic(3) with boxes lc "
          "'#4477aa'\nset yrange [0:*]\n",
          plot);
    fprintf(plot, "set title '%s'\nplot $second using 1:2:xtic(3) with boxes lc '#228833'\n",
            run->accuracy ? "Validation accuracy (%)" : "Validation perplexity");
    fputs("set title 'Time of a training step (s, median)'\nplot $time using 1:2:xtic(3) with boxes lc '#ee6677'\n",
          plot);
    fputs("set title 'Training loss'\nset yrange [*:*]\nset xtics norotate autofreq offset 0,0\nset xlabel 'step'\nset "
          "key right top samplen 2 spacing 1.1\nplot ",
          plot);
    for (size_t i = 0; i < count; i++)
        fprintf(plot, "%s$curve%zu using 1:2 with lines lw 2 lc '%s' title '%s'", i ? ", " : "", i,
                color[i % (sizeof color / sizeof *color)], order[i]->variant);
    fputs("\nunset multiplot\nunset output\n", plot);
}

/* gnuplot does not say when the disk is full: a whole PNG file ends with its IEND chunk. */
static bool whole_png(const char *path) {
    char tail[8] = {0};
    FILE *file   = fopen(path, "rb");
    bool ok = file && fseek(file, -8, SEEK_END) == 0 && fread(tail, 1, 8, file) == 8 && memcmp(tail, "IEND", 4) == 0;
    if (file)
        fclose(file);
    return ok;
}

bool results_plot(const run_description *run, const record *const *all, size_t count, char *error, size_t size) {
    char path[4096], temporary[4160];
    snprintf(path, sizeof path, "%s/comparison.png", run->out);
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    for (const char *c = path; *c; c++)
        if (*c == '\'' || *c == '\n') {
            snprintf(error, size, "cannot plot into a folder with a quotation mark in its name");
            return false;
        }
    FILE *plot = popen("gnuplot 2>/dev/null", "w");
    if (!plot) {
        snprintf(error, size, "cannot start gnuplot: %s", strerror(errno));
        return false;
    }
    const record **order = ranked(all, count);
    write_script(plot, run, temporary, order, count);
    free(order);
    int status = pclose(plot);
    if (status != 0 || !whole_png(temporary) || rename(temporary, path) != 0) {
        remove(temporary);
        snprintf(error, size, "gnuplot could not draw %.300s (is gnuplot-nox installed, is there space?)", path);
        return false;
    }
    return true;
}
