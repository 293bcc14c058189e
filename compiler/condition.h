/* Conditions as sets of conjuncts: what a count of elements and a proof of causality know about indices. A conjunct
 * is linear in indices (form >= 0), or any other condition on indices alone, or one that reads tensors. A set is always
 * read as "at least these hold": where there is no room for a conjunct it is left out. */
#ifndef ATTNC_CONDITION_H
#define ATTNC_CONDITION_H

#include "graph.h"

enum { LINEAR_TERMS = 6, CONDITIONS = 24 };

/* sum of factor[k] * index[k], plus constant; sorted by index, no factor is 0. */
typedef struct linear {
    unsigned count;
    index_id index[LINEAR_TERMS];
    int64_t factor[LINEAR_TERMS];
    int64_t constant;
} linear;

typedef enum condition_kind { CONDITION_LINEAR, CONDITION_INDEX, CONDITION_DATA } condition_kind;

typedef struct condition {
    condition_kind kind;
    index_set free;
    linear form; /* LINEAR */
    node node;   /* INDEX, DATA: a BOOL node */
} condition;

typedef struct condition_set {
    unsigned count;
    bool never; /* a conjunct is false everywhere */
    condition item[CONDITIONS];
} condition_set;

/* What is known about the nodes of one graph; grows with it. */
typedef struct conditions conditions;
conditions *conditions_new(graph *g);
void conditions_free(conditions *c);
graph *conditions_graph(const conditions *c);

bool condition_is_pure(conditions *c, node n);              /* computed from indices and constants alone */
bool condition_linear(conditions *c, node n, linear *form); /* an INT node as a linear form, if it is one */

/* Adds the conjuncts of a BOOL node, or of its negation. A selection adds the domain it selects from. */
void condition_add(conditions *c, condition_set *set, node boolean);
void condition_add_not(conditions *c, condition_set *set, node boolean);
void condition_add_linear(const graph *g, condition_set *set, const linear *form); /* form >= 0 */
bool condition_same(const condition_set *a, const condition_set *b);               /* item by item */
void condition_merge(condition_set *set, const condition_set *more);               /* both hold */
void condition_weaken(condition_set *set, const condition_set *other);             /* one of the two holds */
void condition_restrict(condition_set *set, index_set within); /* leaves out what reads other indices */

/* Where n is not 0 (for finite values). The set is owned by c. */
const condition_set *condition_support(conditions *c, node n);

/* Conditions on the elements of a gather, as conditions on the elements of its body that it reads. */
void condition_through_gather(conditions *c, node gather, const condition_set *from, condition_set *to);

/* times_a * a + times_b * b; false where it has too many terms or too large numbers. */
bool linear_combine(const linear *a, int64_t times_a, const linear *b, int64_t times_b, linear *out);
bool linear_same_terms(const linear *a, const linear *b); /* equal but for the constant */
int64_t linear_factor(const linear *form, index_id index);

/* The smallest and largest value over the whole ranges of the indices, without term `except` (GRAPH_INDICES: none). */
void linear_range(const graph *g, const linear *form, index_id except, int64_t *low, int64_t *high);

/* Is it a selection of at most *limit values of index *over in each row, and nothing else? */
bool condition_is_selection(conditions *c, const condition *item, index_id *over, int64_t *limit);
#endif
