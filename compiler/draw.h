/* A picture of a graph for people: what a spec names, and what is computed from what. */
#ifndef ATTNC_DRAW_H
#define ATTNC_DRAW_H

#include "graph.h"

/* The definitions, inputs, parameters, outputs and losses as a graph of Graphviz. Adds nodes to g that no output
 * reaches. */
void draw_dot(graph *g, const char *title, FILE *file);

/* Writes it to a file, .dot as it is and .svg through Graphviz's `dot`, whole or not at all. Returns false and one line
 * in `error`. */
bool draw_to_file(graph *g, const char *title, const char *path, char *error, size_t error_size);

/* Is it the name of a picture? */
bool draw_is_picture(const char *path);
#endif
