/* What the stages share: graphs from a spec, values for their tensors, and what to make of two results. */
#ifndef ATTNC_RANDOM_STAGES_INTERNAL_H
#define ATTNC_RANDOM_STAGES_INTERNAL_H

#include "stages.h"

void *stages_need(void *memory); /* ends the process where it is NULL */

/* Notes the failure; returns false. */
bool stages_fail(stages *r, stage at, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* `nudge` > 0: moved by about that, relatively, in direction number `way`. */
double **stages_values(const random_spec *s, const graph *g, uint64_t draw, double nudge, unsigned way);
void stages_free_values(const graph *g, double **value);

/* The outputs, one after the other: how many elements; what the interpreter of graphs says of them. */
size_t stages_result_count(const graph *g);
double *stages_results(const random_spec *s, const graph *g, double nudge, unsigned way);

double stages_largest(const double *x, int64_t count); /* of the finite ones; 0: there is none */

/* By how much each element of the results moves when the inputs move by about `nudge`; infinite where a number becomes
 * none, or the other way round. */
double *stages_conditioning(const random_spec *s, const graph *g, const double *wanted, size_t count, double nudge);

/* The largest finite value of a node outside of scans' bodies, whose last digits may become an output's first.
 * *poisoned: one is not a number. */
double stages_largest_inside(const random_spec *s, const graph *g, bool *poisoned);

/* Puts triangular systems in front of some outputs; the others stay as they are. */
void stages_add_systems(graph *g);

bool stages_selects(const random_spec *s); /* rounding decides between equal scores */

/* Is the graph, scheduled as r wants it, the same program? The graph gets more nodes. */
bool stages_check_schedule(const random_spec *s, graph *g, const char *what, stages *r);

/* Runs the schedule as machine code; output[k] is to be freed. false: `error` says why. */
bool stages_run_machine(schedule *plan, double *const *value, double **output, uint64_t seed, char *error, size_t size);

#endif
