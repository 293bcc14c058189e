/* The insides of the proofs, for prove*.c only. */
#ifndef ATTNC_PROVE_INTERNAL_H
#define ATTNC_PROVE_INTERNAL_H

#include "prove.h"

/* What an integer may be, both ends included. INT64_MIN and INT64_MAX stand for no bound (and for all that is beyond
 * 64 bits), so they are never known values. A condition is a range within [0, 1]. */
typedef struct range {
    int64_t low, high;
} range;

bool range_is_point(range a);
range range_join(range a, range b);
range range_add(range a, range b);
range range_multiply(range a, range b);
range range_divide(range a, range b); /* towards minus infinity; no bound where the divisor may be 0 */
/* A pointwise operation on INT and BOOL operands; `same`: the first two are one expression. */
range range_apply(node_op op, range a, range b, range c, bool same);

int64_t floor_divide(int64_t a, int64_t b); /* b > 0 */

/* Linear forms over numbered unknowns, and the question whether rows over them have an integer point. */
enum { UNKNOWNS = 64, ROWS = 160 };

typedef struct form {
    int64_t constant, factor[UNKNOWNS];
} form;

typedef struct row { /* form >= 0, or form == 0 */
    form form;
    bool equal;
} row;

/* *a += scale * b; false where a number does not fit, *a is then undefined. */
bool form_add(form *a, const form *b, int64_t scale, unsigned unknowns);
bool form_is_constant(const form *a, unsigned unknowns);
range form_range(const form *a, const range *bound, unsigned unknowns);

typedef struct elimination elimination; /* room for the work below */
elimination *elimination_new(void);
void elimination_free(elimination *e);

/* Narrows the bounds by the rows; false: nothing satisfies them. */
bool rows_narrow(const row *const *rows, unsigned count, range *bound, unsigned unknowns, uint64_t *work);
/* Is there certainly no integer point within the bounds where all rows hold? Fourier-Motzkin elimination; *work
 * counts its steps. false: there may be one. */
bool rows_impossible(elimination *e, const row *const *rows, unsigned count, const range *bound, unsigned unknowns,
                     uint64_t *work);

/* A question: do facts imply low <= target <= high? target: INT, or BOOL with both bounds 1. */
typedef struct question {
    graph *g;
    node target;
    int64_t low, high;
    const node *fact;
    unsigned fact_count;
    unsigned depth; /* of questions asked on the way to answer one */
    uint64_t *work; /* spent on cases, by all of these */
} question;

bool cases_prove(const question *q);               /* by cases and linear arithmetic; false: not proven */
range cases_range(const question *q);              /* of an INT target under the facts; quick and wide */
proof search_prove(const question *q, witness *w); /* by dividing the space of what it depends on */
bool question_inhabited(const question *q, index_set vars, node domain); /* under the facts of q; no search */

/* A GATHER's body with the expressions put in, under the condition that they are in range: SELECT(in range, body, 0),
 * or a conjunction where it is a condition. NODE_NONE where the body is not made of operations and reductions. */
node gather_pushed(graph *g, node n);
/* The condition that the expressions of a GATHER are in range. */
node gather_in_range(graph *g, node n);

range read_range(const graph *g, uint32_t number); /* of a read of an INT or BOOL tensor, also outside, where it is 0 */

void *prove_memory(size_t size); /* not cleared; ends the process where there is none */
#endif
