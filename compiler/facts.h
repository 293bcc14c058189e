/* What can be said about a mechanism without running it. */
#ifndef ATTNC_FACTS_H
#define ATTNC_FACTS_H

#include "causality.h"
#include "cost.h"
#include "formula.h"
#include "sizes.h"

typedef enum quantity {
    QUANTITY_OPERATIONS,
    QUANTITY_SPECIAL,
    QUANTITY_COMPARISONS,
    QUANTITY_COMPULSORY,
    QUANTITY_KEPT, /* with the compulsory bytes */
    QUANTITY_LOSS, /* operations that the losses need besides */
    QUANTITY_TOKENS,
    QUANTITIES
} quantity;

enum { FACTS_FACTORS = 8 };

typedef struct facts {
    graph *g;
    char *comment;
    declared_sizes sizes;
    int64_t parameters;
    index_set token_indices; /* tokens are counted along these */
    const char *variable;    /* the size that formulas are in; NULL: there is none */
    int64_t value;           /* its own */
    wide total[QUANTITIES];  /* at the spec's own sizes */
    bool counted;            /* total is exact */
    bool fitted;             /* the formulas are known: totals, and per token */
    formula formula[QUANTITIES], per_token[QUANTITIES];
    int64_t valid_from, valid_to, multiple_of; /* the values of the variable that they are for; to 0: no end */
    int degree;                                /* of operations and comparisons together */
    unsigned factor_count;
    const char *factor[FACTS_FACTORS]; /* sizes that are no extent and that the leading term grows with */
    causality causality;
    cost *cost; /* at the spec's own sizes, without losses */
} facts;

/* Elaborates and counts. `variable` may be NULL: the size that says how long time is, else T. Returns NULL after
 * reporting to d. The spec must outlive the facts. Free with facts_free. */
facts *facts_of(const spec *mechanism, const elaboration *how, const char *variable, diagnostics *d);
void facts_free(facts *f);
#endif
