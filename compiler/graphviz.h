/* Pictures as graphs of Graphviz. */
#ifndef ATTNC_GRAPHVIZ_H
#define ATTNC_GRAPHVIZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The text between double quotes. */
void graphviz_quoted(FILE *file, const char *text);

typedef void graphviz_writer(void *context, FILE *file);

/* What `write` writes becomes a file, .dot as it is and .svg through Graphviz's `dot`, whole or not at all. Returns
 * false and one line in `error`. */
bool graphviz_to_file(graphviz_writer *write, void *context, const char *path, char *error, size_t error_size);

#endif
