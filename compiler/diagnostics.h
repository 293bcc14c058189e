/* Messages about specs: an error or a warning, where it lies, how to go on, and the calls that led there. As text for
 * people, or as one JSON document for editors. */
#ifndef ATTNC_DIAGNOSTICS_H
#define ATTNC_DIAGNOSTICS_H

#include "ast.h"

typedef enum severity { SEVERITY_ERROR, SEVERITY_WARNING } severity;

enum { DIAGNOSTICS_SHOWN = 20, DIAGNOSTICS_SAID = 1024, DIAGNOSTIC_TRAIL = 8 };

/* Where messages go. {.stream = stderr} is enough to begin with. The same message about the same place counts once
 * (of the first DIAGNOSTICS_SAID messages); DIAGNOSTICS_SHOWN errors and as many warnings are shown, all are counted.
 */
typedef struct diagnostics {
    FILE *stream; /* file:line:column: error: …, the line, a caret, a hint */
    unsigned errors;
    unsigned warnings;
    struct cJSON *collected; /* diagnostics_collect: instead of the stream */
    unsigned said_count;
    uint64_t said[DIAGNOSTICS_SAID]; /* hashes */
} diagnostics;

/* A call whose expansion the message is about. */
typedef struct diagnostic_call {
    const char *function;
    span at;
} diagnostic_call;

typedef struct diagnostic {
    severity severity;
    span at;          /* file NULL: no place */
    const char *path; /* then the file that the message is about, or NULL */
    const char *text;
    const char *hint;             /* or NULL */
    const diagnostic_call *trail; /* innermost first */
    unsigned trail_count;         /* at most DIAGNOSTIC_TRAIL are shown */
} diagnostic;

/* Says it, unless it was said, and counts it. Nothing is kept of *message. */
void diagnostics_add(diagnostics *d, const diagnostic *message);

/* An error about a file as a whole. */
void diagnostics_file_error(diagnostics *d, const char *path, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* From now on messages are collected, for diagnostics_print_json. */
void diagnostics_collect(diagnostics *d);

/* Prints what was collected, by file and place, and forgets it:
 * {"diagnostics": [{"file", "severity": "error" or "warning", "message", "hint": string or null,
 *   "range": {"start": {"line", "character"}, "end": {…}}, "trail": [{"function", "file", "range"}]}],
 *  "errors": n, "warnings": n}
 * Lines and characters count from 0, characters in UTF-16 code units, as in the Language Server Protocol. A message
 * about a whole file has the empty range at its beginning. */
void diagnostics_print_json(diagnostics *d, FILE *file);

/* Line and column of a byte of a file, from 1; columns count characters. */
void diagnostics_line(const source *file, uint32_t at, unsigned *line, unsigned *column);

/* The source text of a span on one line, for a message: white space is one space, what is long ends in "…". */
void diagnostics_quote(span at, char *text, size_t size);

#endif
