/* Tables in Markdown, as wide as their cells. */
#ifndef ATTNC_BENCH_TABLE_H
#define ATTNC_BENCH_TABLE_H

#include "enough.h"

#include <stdio.h>
#include <stdlib.h>

enum { COLUMNS = 12, CELL = 64 };

typedef struct row {
    char cell[COLUMNS][CELL];
} row;

typedef struct table {
    row *line;
    size_t count;
} table;

/* To be filled; the lines before may move. */
static row *new_row(table *t) {
    t->line           = (row *)enough(realloc(t->line, (t->count + 1) * sizeof *t->line));
    t->line[t->count] = (row){0};
    return &t->line[t->count++];
}

/* Characters, of which a dash has three bytes. */
static int width_of(const char *text) {
    int width = 0;
    for (; *text; text++)
        width += (*text & 0xC0) != 0x80;
    return width;
}

static void print_row(const row *r, const int *width) {
    for (int c = 0; c < COLUMNS && width[c]; c++) {
        int space = width[c] - width_of(r->cell[c]);
        printf("| %*s%s%*s ", c ? space : 0, "", r->cell[c], c ? 0 : space, "");
    }
    printf("|\n");
}

/* The first column to the left, the others to the right; the first without a head or cells ends it. */
static void print_table(const table *t, const row *head) {
    static const char DASHES[] = "----------------------------------------------------------------";
    int width[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) {
        width[c] = width_of(head->cell[c]);
        for (size_t i = 0; i < t->count; i++)
            width[c] = width_of(t->line[i].cell[c]) > width[c] ? width_of(t->line[i].cell[c]) : width[c];
    }
    print_row(head, width);
    for (int c = 0; c < COLUMNS && width[c]; c++)
        printf(c ? "|%.*s:" : "|%.*s", width[c] + (c ? 1 : 2), DASHES);
    printf("|\n");
    for (size_t i = 0; i < t->count; i++)
        print_row(&t->line[i], width);
}

#endif
