/* `attnc --report`: facts about mechanisms, as text or JSON. docs/report.md says what the figures mean. */
#ifndef ATTNC_REPORT_H
#define ATTNC_REPORT_H

#include "causality.h"

typedef struct report_options {
    char *const *spec; /* paths */
    size_t spec_count;
    const char *library;  /* of includes; may be NULL */
    const char *variable; /* the size that formulas are in; NULL: each spec's length of time */
    const char *output;   /* NULL: standard output; a name that ends in .json asks for JSON */
    elaboration how;      /* variant NULL: every variant. Of several specs each takes what it declares */
    bool json, verbose;
} report_options;

/* Reports on every variant of every spec. What is wrong with one is said on standard error, and the others follow.
 * Returns the exit status: 0, 1 (a spec is wrong), 3 (a file cannot be written; nothing is left of it). */
int report_run(const report_options *options);

/* One line that says what was found out about causality, for messages and reports. */
void report_causality(const graph *g, const causality *c, char *text, size_t size);
#endif
