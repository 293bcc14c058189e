/* The report as text: a table with a line for each variant, and what its figures assume; with --verbose a block for
 * each variant. 100 columns. */
#include "enough.h"
#include "report.h"
#include "report_internal.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 100, LABEL = 15, TEXT = 640 };

/* Columns on the screen: UTF-8 bytes that begin a character. */
static int columns(const char *text) {
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void pad(FILE *file, const char *text, int width, bool right) {
    int space = width - columns(text);
    if (right)
        fprintf(file, "%*s%s", space > 0 ? space : 0, "", text);
    else
        fprintf(file, "%s%*s", text, space > 0 ? space : 0, "");
}

/* Words after a label, wrapped below the first line's beginning. */
static void wrapped(FILE *file, const char *text, int indent, int at) {
    bool first = true; /* on its line */
    while (*text) {
        size_t length = strcspn(text, " ");
        char *word    = strndup(text, length);
        if (!word)
            return;
        int width = columns(word);
        if (!first && at + 1 + width > WIDTH) {
            fprintf(file, "\n%*s", indent, "");
            at    = indent;
            first = true;
        }
        if (!first)
            fputc(' ', file);
        at += !first;
        first = false;
        fputs(word, file);
        at += width;
        free(word);
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', file);
}

static void line(FILE *file, const char *label, const char *text) {
    fprintf(file, "  ");
    pad(file, label, LABEL, false);
    wrapped(file, text, LABEL + 2, LABEL + 2);
}

/* Rounded: to a whole number, small ones to hundredths. */
static void figure(rational r, char *text, size_t size) {
    if (r.below != 1 && rational_double(r) < 1000)
        snprintf(text, size, "%.2f", rational_double(r));
    else
        number_text((r.above + r.below / 2) / r.below, text, size);
}

static const char *causal_word(const causality *c) {
    switch (c->kind) {
    case CAUSALITY_PROVED:
        return "proved";
    case CAUSALITY_REFUTED:
        return "no";
    case CAUSALITY_UNPROVED:
        return "?";
    default:
        return "-";
    }
}

/* The table */

static bool same_point(const entry *e, size_t count) {
    for (size_t i = 1; i < count; i++) {
        const char *a = e[0].facts->variable, *b = e[i].facts->variable;
        if (!a || !b || strcmp(a, b) != 0 || e[0].facts->value != e[i].facts->value)
            return false;
    }
    return count > 0 && e[0].facts->variable;
}

enum { COLUMNS = 7, CELL = 640 };
typedef char table_cells[COLUMNS][CELL];

static void fill_row(const entry *e, table_cells cell) {
    const facts *f = e->facts;
    snprintf(cell[0], CELL, "%s", e->name);
    number_text(f->parameters, cell[1], CELL);
    figure(report_per_token(f, QUANTITY_OPERATIONS), cell[2], CELL);
    figure(report_per_token(f, QUANTITY_KEPT), cell[3], CELL);
    report_asymptotic(f, cell[4], CELL);
    snprintf(cell[5], CELL, "%s", causal_word(&f->causality));
    snprintf(cell[6], CELL, "-");
    if (f->fitted)
        formula_text(&f->per_token[QUANTITY_OPERATIONS], f->variable, cell[6], CELL);
}

static void table(const entry *e, size_t count, FILE *file) {
    static const char *const head[COLUMNS] = {
        "mechanism", "parameters", "FLOPs/token", "bytes/token", "cost", "causal", "FLOPs/token as a formula"};
    table_cells *row   = enough(calloc(count + 1, sizeof *row));
    int width[COLUMNS] = {0};
    for (int c = 0; c < COLUMNS; c++)
        snprintf(row[0][c], CELL, "%s", head[c]);
    for (size_t i = 0; i < count; i++)
        fill_row(&e[i], row[i + 1]);
    for (size_t i = 0; i <= count; i++)
        for (int c = 0; c < COLUMNS; c++)
            width[c] = columns(row[i][c]) > width[c] ? columns(row[i][c]) : width[c];
    for (size_t i = 0; i <= count; i++) {
        for (int c = 0; c + 1 < COLUMNS; c++) {
            pad(file, row[i][c], width[c], c >= 1 && c <= 3);
            fputs("  ", file);
        }
        fprintf(file, "%s\n", row[i][COLUMNS - 1]);
    }
    free(row);
    fputc('\n', file);
    if (same_point(e, count))
        fprintf(file, "FLOPs/token and bytes/token at %s = %lld; bytes with every intermediate kept once.\n",
                e[0].facts->variable, (long long)e[0].facts->value);
}

/* Each note once, with the variants that it is about. */
static void table_notes(const entry *e, size_t count, FILE *file) {
    notes *all = calloc(count + 1, sizeof *all);
    if (!all)
        return;
    for (size_t i = 0; i < count; i++) {
        report_notes(e[i].facts, &all[i]);
        if (e[i].facts->causality.kind == CAUSALITY_REFUTED && all[i].count < NOTES)
            report_causality(e[i].facts->g, &e[i].facts->causality, all[i].text[all[i].count++], NOTE_SIZE);
    }
    for (size_t i = 0; i < count; i++)
        for (unsigned k = 0; k < all[i].count; k++) {
            if (!all[i].text[k][0])
                continue;
            char *text  = NULL;
            size_t size = 0;
            FILE *words = open_memstream(&text, &size);
            if (!words)
                continue;
            fprintf(words, "%s", e[i].name);
            for (size_t j = i + 1; j < count; j++)
                for (unsigned m = 0; m < all[j].count; m++)
                    if (strcmp(all[i].text[k], all[j].text[m]) == 0) {
                        fprintf(words, ", %s", e[j].name);
                        all[j].text[m][0] = 0;
                    }
            fprintf(words, ": %s.", all[i].text[k]);
            fclose(words);
            wrapped(file, text, 4, 0);
            free(text);
        }
    free(all);
}

/* Blocks */

static void amount(const facts *f, quantity q, const char *label, FILE *file) {
    char number[128], text[TEXT + 384], formula[TEXT], value[128];
    figure(report_per_token(f, q), number, sizeof number);
    snprintf(text, sizeof text, "%s", number);
    if (f->fitted) {
        formula_text(&f->per_token[q], f->variable, formula, sizeof formula);
        number_text(f->value, value, sizeof value);
        if (strcmp(formula, number) != 0)
            snprintf(text, sizeof text, "%s (%s at %s = %s)", formula, number, f->variable, value);
    }
    line(file, label, text);
}

static void parameter_line(const facts *f, FILE *file) {
    char *text  = NULL, number[128];
    size_t size = 0;
    FILE *words = open_memstream(&text, &size);
    if (!words)
        return;
    number_text(f->parameters, number, sizeof number);
    fprintf(words, "%s", number);
    const char *before = " = ";
    for (uint32_t i = 0; i < graph_tensor_count(f->g); i++) {
        const tensor *t = graph_tensor(f->g, i);
        if (t->kind != TENSOR_PARAMETER)
            continue;
        number_text(t->elements, number, sizeof number);
        fprintf(words, "%s%s[", before, t->name);
        for (unsigned k = 0; k < t->rank; k++)
            fprintf(words, "%s%s", k ? "," : "", graph_index_name(f->g, t->index[k]));
        fprintf(words, "] %s", number);
        before = " + ";
    }
    fclose(words);
    line(file, "parameters", text);
    free(text);
}

static void size_line(const facts *f, FILE *file) {
    char *text  = NULL;
    size_t size = 0;
    FILE *words = open_memstream(&text, &size);
    if (!words)
        return;
    for (unsigned i = 0; i < f->sizes.count; i++)
        fprintf(words, "%s%s = %lld", i ? ", " : "", f->sizes.item[i].name, (long long)f->sizes.item[i].value);
    fclose(words);
    line(file, "sizes", text);
    free(text);
}

static void block(const entry *e, FILE *file) {
    const facts *f = e->facts;
    char text[TEXT], number[128];
    notes assumed;
    fprintf(file, "%s: %s (%s)\n", e->name, e->title, e->path);
    if (f->comment[0])
        line(file, "about", f->comment);
    size_line(f, file);
    parameter_line(f, file);
    report_indices(f->g, f->token_indices, "·", number, sizeof number);
    char tokens[128];
    number_text(f->total[QUANTITY_TOKENS], tokens, sizeof tokens);
    snprintf(text, sizeof text, "%s = %s", number[0] ? number : "1", tokens);
    line(file, "tokens", text);
    amount(f, QUANTITY_OPERATIONS, "FLOPs/token", file);
    amount(f, QUANTITY_SPECIAL, "  special", file);
    if (f->total[QUANTITY_COMPARISONS])
        amount(f, QUANTITY_COMPARISONS, "  selection", file);
    if (f->total[QUANTITY_LOSS])
        amount(f, QUANTITY_LOSS, "  losses add", file);
    amount(f, QUANTITY_COMPULSORY, "bytes/token", file);
    amount(f, QUANTITY_KEPT, "  all kept", file);
    report_asymptotic(f, text, sizeof text);
    line(file, "cost", text);
    report_causality(f->g, &f->causality, text, sizeof text);
    line(file, "causal", text);
    report_notes(f, &assumed);
    for (unsigned i = 0; i < assumed.count; i++)
        line(file, i ? "" : "assumed", assumed.text[i]);
}

void report_text(const entry *e, size_t count, bool verbose, FILE *file) {
    for (size_t i = 0; verbose && i < count; i++) {
        block(&e[i], file);
        fputc('\n', file);
    }
    if (!count || (verbose && count == 1))
        return;
    table(e, count, file);
    if (!verbose)
        table_notes(e, count, file);
}
