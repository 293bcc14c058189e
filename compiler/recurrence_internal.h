/* What the files of recurrence.h share: a value as a linear form in a scan's state. */
#ifndef ATTNC_RECURRENCE_INTERNAL_H
#define ATTNC_RECURRENCE_INTERNAL_H

#include "node_map.h"
#include "recurrence.h"

enum { MOST_TERMS = 24, MOST_STATES = 4 };

/* A state, each of whose indices may be read at another: from[k] at to[k]. */
typedef struct renaming {
    unsigned count;
    index_id from[TENSOR_RANK], to[TENSOR_RANK];
} renaming;

/* sum over vars where domain (NODE_NONE: all) of weight * a state, before the step or after it. */
typedef struct state_read {
    index_set vars;
    node weight, domain;
    renaming at;
    unsigned state;
    bool before;
} state_read;

typedef enum term_kind { TERM_CONSTANT, TERM_STATE, TERM_READ } term_kind;

/* coefficient · (1, a state, or a read of it). Neither coefficient nor weights depend on the state. */
typedef struct linear_term {
    term_kind kind;
    node coefficient;
    state_read read; /* STATE: at, state and before only */
} linear_term;

typedef struct linear_form {
    unsigned count;
    linear_term term[MOST_TERMS];
} linear_form;

/* The states that forms are linear in, of one scan and with the same indices: nodes that stand for each after a step
 * and before it (NODE_NONE: neither). */
typedef struct linear_state {
    graph *g;
    unsigned states;
    node after[MOST_STATES], before[MOST_STATES];
    index_set indices; /* of a state, without the scanned one */
    /* of reads one step earlier, where the scanned index is less, or more, by one: */
    index_id time;
    int64_t step; /* 0: there are none such */
    node has_earlier;
    node_map depends; /* node: 1 it contains one of the two, 2 it does not */
} linear_state;

bool linear_depends(linear_state *s, node n);
/* False where n is not linear in the state, as far as is seen. */
bool linear_form_of(linear_state *s, node n, linear_form *form);
/* The index at which a read takes the state's index i. */
index_id renamed(const renaming *at, index_id i);
/* The indices of the state that the read sums over. */
index_set contracted(const linear_state *s, const state_read *read);
/* The indices that the value of the read has. */
index_set read_indices(const linear_state *s, const state_read *read);
bool same_read(const state_read *a, const state_read *b);

#endif
