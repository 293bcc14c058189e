/* What the files of recurrence.h share: a value as a linear form in a scan's state. */
#ifndef ATTNC_RECURRENCE_INTERNAL_H
#define ATTNC_RECURRENCE_INTERNAL_H

#include "node_map.h"
#include "recurrence.h"

enum { MOST_TERMS = 24, MOST_STATES = 4, MOST_FACTORS = 16, MOST_DECAYS = 3, MOST_CORRECTIONS = 4, MOST_VECTORS = 8 };

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
    node_map depends; /* node: 1 it contains one of them, 2 it does not */
    node stuck;       /* the innermost node that is not linear in them, where there is no form */
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

/* A factor of a, and products of it over positions of a chunk: D(j,r), D(j-1,r), D(j), D(j-1), D(C-1,r), D(C-1). */
typedef struct decay {
    node at, since, since_before, start, start_before, to_end, whole;
} decay;

/* From one state to another: the product of these. */
typedef struct transfer {
    bool none; /* 0 */
    unsigned count;
    decay decay[MOST_DECAYS];
} transfer;

/* b, of one state, which is the sum of several. */
typedef struct addition {
    unsigned state;
    node value;
} addition;

/* p, a sum over a state that the step takes, and u, what multiplies it in each state; NODE_NONE: 0. */
typedef struct correction {
    state_read read;
    node update[MOST_STATES];
} correction;

/* k x, added to a state: k has what the sums are over. x is known where no correction is in it. */
typedef struct vector {
    unsigned state;
    node along, value;            /* k, v; of v NODE_NONE: 0 */
    node times[MOST_CORRECTIONS]; /* s; NODE_NONE: 0 */
} vector;

/* One recurrence. */
typedef struct recurrence {
    graph *g;
    unsigned states;
    node scan[MOST_STATES];
    index_id time;
    bool reverse;
    int64_t length;
    linear_state inside, outside; /* forms in the states before the step, within it; after it, elsewhere */
    transfer transfer[MOST_STATES][MOST_STATES]; /* a: to the first from the second */
    unsigned corrections, additions;
    correction correction[MOST_CORRECTIONS];
    addition addition[MOST_TERMS];
    unsigned vectors, unknowns;
    vector vector[MOST_VECTORS]; /* the unknown ones first */
    /* what reads it elsewhere */
    size_t reader_count, reader_room;
    node *reader;
    node_map met;
    const char *refused; /* why it stays position by position; NULL: it does not */
    node refused_by;
    /* in chunks */
    int64_t chunk, chunks;
    index_id c, j, r;
    index_id row, column;    /* of the triangular system: j and r, where there is one unknown x */
    node begin[MOST_STATES]; /* Z */
    node solved;             /* all unknown x */
} recurrence;

/* recurrence_factors.c. What is multiplied. */
typedef struct factors {
    unsigned count;
    node item[MOST_FACTORS];
} factors;

static inline index_set recurrence_bit(index_id i) {
    return (index_set)1 << i;
}

static inline bool recurrence_is_zero(const graph *g, node n) {
    double value;
    return graph_is_constant(g, n, &value) && value == 0;
}

/* 1 is left out. */
void factors_add(graph *g, factors *f, node n);
/* Those of n, down to what is a value of its own. */
void factors_of(graph *g, node n, factors *f);
/* n times those that have, or have not, one of the indices, in an order that keeps what is in between small. */
node factors_times(graph *g, node n, const factors *f, index_set indices, bool have);
/* n = along * the result, where all that has one of the indices is in along. */
node factors_split(graph *g, node n, index_set indices, node *along);

/* recurrence.c. Is n a sum that takes nothing of the states but what it sums over, and takes it itself? (A sum of such
 * sums reads these.) Its form. */
bool recurrence_reads(recurrence *x, node n, linear_form *form);

/* recurrence_chunk.c. Every reader becomes the same value by chunks, in all outputs; x->chunk is chosen. False where
 * there are no more indices: then nothing has changed. */
bool recurrence_rewrite(recurrence *x);

/* recurrence_note.c. What was decided, and why, for the graph's notes. */
void recurrence_note(const recurrence *x);

#endif
