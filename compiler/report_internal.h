/* What the two forms of a report share. */
#ifndef ATTNC_REPORT_INTERNAL_H
#define ATTNC_REPORT_INTERNAL_H

#include "facts.h"

enum { NOTE_SIZE = 256, NOTES = 24 };

typedef struct entry {
    facts *facts;
    char *name, *title, *path; /* the variant's or the mechanism's name */
} entry;

typedef struct notes {
    unsigned count;
    char text[NOTES][NOTE_SIZE];
} notes;

void report_notes(const facts *f, notes *out);                   /* what the figures assume */
void report_asymptotic(const facts *f, char *text, size_t size); /* O(T·W) */
void report_indices(const graph *g, index_set set, const char *between, char *text, size_t size);
const char *report_place(const graph *g, node n); /* the first definition that a node is part of; NULL: none */
/* total / tokens of a quantity at the spec's own sizes. */
rational report_per_token(const facts *f, quantity q);

void report_text(const entry *e, size_t count, bool verbose, FILE *file);
void report_json(const entry *e, size_t count, char *const *failed, size_t failed_count, FILE *file);
#endif
