/* Sums over the selected: a selection (TOPK) of few out of many is better walked as a list of its positions (CHOSEN)
 * than as a condition over all of them. */
#ifndef ATTNC_SELECTION_H
#define ATTNC_SELECTION_H

#include "graph.h"

/* Rewrites the outputs in place, without changing what they mean: reductions over s where sel[t,s] become reductions
 * over the places r of a list, with what they read of s gathered at chosen[t,r]; sums over t where sel[t,s] become sums
 * over t and r where chosen[t,r] == s. Only of selections of which a row of the domain holds, on average, at least
 * `ratio` times as many as are selected. Returns a text, a line for each selection that a reduction asks about, which
 * says what was decided, or NULL where there is none; to be freed. */
char *selection_rewrite(graph *g, double ratio);

#endif
