/* The state of a proof by cases, shared by its expressions and its conditions. */
#ifndef ATTNC_PROVE_CASES_H
#define ATTNC_PROVE_CASES_H

#include "prove_internal.h"

enum {
    SCOPES       = 24,
    LITERALS     = 96,
    CHOICES      = 64,
    DIVISIONS    = 32,
    NESTING      = 200, /* of expressions */
    CASES        = 600,
    SIGNS        = 16, /* of factors looked for */
    WORK         = 4000000,
    SCANS_WITHIN = 2, /* one another, whose states get bounds */
    NO_UNKNOWN   = -1
};

/* Reductions bind indices: a name means the variable of the innermost scope that binds it; scope 0 is outermost. */
typedef struct scope {
    index_set vars;
    unsigned outer;
} scope;

typedef struct key {
    node node;
    unsigned scope;
} key;

/* What one side of a choice assumes: a condition, or unknown == expression. */
typedef struct item {
    key key;
    bool positive; /* of a condition */
    int unknown;   /* NO_UNKNOWN: a condition */
} item;

typedef struct choice {
    item side[2][2];
    unsigned count[2];
    bool taken;
} choice;

typedef struct division { /* unknown == floor(form / divisor) */
    form form;
    int64_t divisor;
    unsigned unknown;
} division;

typedef struct literal {
    key key;
    bool positive;
} literal;

typedef struct cases {
    const question *question;
    graph *g;
    unsigned unknowns, rows, scopes, literals, choices, divisions;
    unsigned nesting, tried, signs;
    uint64_t work;
    elimination *elimination;
    key key[UNKNOWNS]; /* node NODE_NONE: a quotient */
    range bound[UNKNOWNS];
    scope scope[SCOPES];
    literal literal[LITERALS];
    choice choice[CHOICES];
    division division[DIVISIONS];
    row row[ROWS];
} cases;

unsigned cases_scope_of(const cases *c, node n,
                        unsigned s); /* the innermost scope that n depends on, from s outwards */
unsigned cases_open_scope(cases *c, index_set vars, unsigned outer); /* 0: there is no room */
int cases_unknown(cases *c, node n, unsigned s,
                  range bound); /* new, for n unless that is NODE_NONE; NO_UNKNOWN: no room */
form unknown_form(unsigned u);
/* a + scale * b + constant, >= 0 or == 0. What does not fit is not added. */
void cases_relate(cases *c, const form *a, const form *b, int64_t scale, int64_t constant, bool equal);
item cases_condition(node n, bool positive, unsigned s);
extern const item cases_nothing;
void cases_choose(cases *c, item a, item a2, item b, item b2); /* a and a2, or b and b2 */
void cases_rows(const cases *c, const row **rows);             /* to all rows */

/* n as a linear form; what is not linear becomes an unknown. false: there is no room. */
bool cases_linear(cases *c, node n, unsigned s, form *out);
/* Assumes a condition or its opposite; false: that contradicts something assumed already. */
bool cases_assume(cases *c, node n, bool positive, unsigned s);

#endif
