/* What the files of simplification share. simplify.c walks the graph; simplify_product.c has products in normal form,
 * simplify_terms.c sums of few terms, simplify_contraction.c sums over indices, simplify_order.c the order of their
 * products, simplify_bounds.c what is proved about values. */
#ifndef ATTNC_SIMPLIFY_INTERNAL_H
#define ATTNC_SIMPLIFY_INTERNAL_H

#include "simplify.h"

enum { FACTORS = 12, MASKS = 16, TERMS = 12, ITEMS = 8 };

#define EVERY_INDEX (~(index_set)0)

/* base^power; power is never 0. */
typedef struct factor {
    node base;
    int power;
} factor;

/* times * node in an exponent */
typedef struct term {
    node node;
    int times;
} term;

/* coefficient * product of factors * exp(sum of terms) where all masks hold, 0 elsewhere: there nothing else matters.
 * Factors have different bases, none of them a product. All is sorted by handle, so that equal products are equal. */
typedef struct product {
    double coefficient;
    unsigned factors, terms, masks;
    factor factor[FACTORS];
    term term[TERMS];
    node mask[MASKS];
} product;

typedef struct interval {
    double low, high;
} interval;

/* A sum of products that there is: coefficient * sum over vars, where the masks hold, of the factors. */
typedef struct known_sum {
    node node;
    index_set vars;
    double coefficient;
    unsigned factors, masks;
    factor factor[ITEMS];
    node mask[MASKS];
    uint32_t next; /* of those whose first factor has the same base */
} known_sum;

/* Conditions that hold wherever the value in question matters. */
typedef struct conditions_known {
    unsigned count;
    node mask[MASKS];
} conditions_known;

/* Has a domain a point in vars, whatever the other indices? vars 0: not asked yet. */
typedef struct inhabited_memo {
    index_set vars;
    bool holds;
} inhabited_memo;

/* Which products that several nodes read are taken as factors and not apart. */
typedef enum shared_stay { STAY_NONE, STAY_PRODUCTS, STAY_ALL /* exponentials too */ } shared_stay;

typedef struct simplifier {
    graph *g;
    uint64_t without;
    reason why;             /* of the nodes that are being made */
    node here;              /* the node of before that is being rewritten */
    conditions_known given; /* around what is being looked at */
    shared_stay shared_stay;
    bool merged_powers, merged_exponentials; /* since they were last set to false */
    size_t size;                             /* handles below it are of before */
    node *memo;                              /* node of before: what it has become */
    uint32_t *uses;                          /* node of before: how many nodes and outputs read it */
    index_set
        *summed; /* node of before: the indices that sums of products with it run over; EVERY_INDEX: others read it */
    uint8_t *exact;       /* node of before: it is only rebuilt */
    size_t capacity;      /* of what follows, by node */
    uint32_t *live;       /* node: how often what it stands for was read before; 0: it is new */
    index_set *read_over; /* node: the same of what it stands for */
    int8_t *tame;         /* node: 1 it is finite wherever the inputs are, -1 not proved, 0 not looked at */
    int8_t *opaque; /* node: 1 a condition that depends on data of which nothing is known, -1 not, 0 not looked at */
    inhabited_memo *inhabited; /* node: of a domain, the last answer */
    interval *bounds;          /* node: of its value; low > high: not looked at */
    uint32_t *first_known;
    known_sum *known; /* from 1 */
    size_t known_count, known_capacity;
} simplifier;

/* May the rewrite be made? If so, the nodes that follow are made for it. */
bool simplify_may(simplifier *s, reason why);
void simplify_because(simplifier *s, reason why); /* REASON_SPEC: as simplify_as_before */
void simplify_as_before(simplifier *s);           /* what follows is only rebuilt: it keeps the reason of what it was */
void simplify_fit(simplifier *s);
/* Is n of before part of a derivative? Those are promised for finite values only, so 0 x = 0 and x - x = 0 there. */
bool simplify_is_derived(const simplifier *s, node n);
bool simplify_is_single(const simplifier *s, node n); /* read once before, or new */

/* Products. */
product product_one(void);
/* The normal form of n; false where it is too large. */
bool product_of(simplifier *s, node n, product *p);
bool product_add_factor(simplifier *s, product *p, node base, int power);
bool product_take_factor(product *p, node base, int power);          /* false: it is not there */
void product_take_masks(product *p, const product *other);           /* those of other */
bool product_add_node(simplifier *s, product *p, node n, int power); /* false: too large, p is spoilt */
bool product_add_mask(const graph *g, product *p, node condition);   /* its conjuncts */
node product_build(simplifier *s, const product *p);
/* What both have, taken out of both; 1 where there is nothing. */
product product_common(product *a, product *b);
bool product_is_constant(const product *p);            /* nothing but the coefficient */
bool product_same(const product *a, const product *b); /* but for the coefficient */
index_set product_free(const graph *g, const product *p);
node product_exponential(simplifier *s, const product *p);    /* exp(sum of terms) */
node conjunction(graph *g, const node *mask, unsigned count); /* NODE_NONE: of none */

/* Sums of few terms: adds sign * node. */
node terms_build(simplifier *s, unsigned count, const term *terms);
node simplify_add(simplifier *s, node n);                         /* n: a sum of before */
node terms_add(simplifier *s, unsigned count, const node *terms); /* of nodes in their final form */

/* Sums over indices. */
node simplify_sum(simplifier *s, index_set vars, node domain, node body);
/* a + b as one sum, where both are times a sum over the same indices with a factor in common and that is less work;
 * NODE_NONE where not. */
node simplify_join(simplifier *s, const product *a, const product *b);

/* The product of items summed over vars where the masks hold; every item and mask has some of the vars. */
typedef struct contraction {
    index_set vars;
    unsigned items, masks;
    factor item[ITEMS];
    node mask[MASKS];
} contraction;

bool contraction_add(contraction *c, factor f); /* in order; false where there is no room */
/* Operations of the best order; existing sums, `except` aside, cost nothing, with factors in them that stand `outside`
 * or without. *covered: bit k, factor k is in one. */
double order_cost(simplifier *s, const contraction *c, const product *outside, node except, unsigned *covered);
/* Multiplies the sum in the best order into *p. `why`: what it is for where neither the order nor an existing sum is.
 */
bool order_build(simplifier *s, const contraction *c, node except, reason why, product *p);
/* n = coefficient * the sum of c, for order_cost to find. */
void order_remember(simplifier *s, const contraction *c, double coefficient, node n);

/* What is proved. */
interval bounds_of(simplifier *s, node n);
bool bounds_positive(simplifier *s, node n, const node *given, unsigned count); /* and finite */
bool bounds_inhabited(simplifier *s, index_set vars, const node *mask, unsigned masks, const node *given,
                      unsigned count);
bool bounds_tame(simplifier *s, node n); /* finite for all finite inputs, overflow aside */
bool bounds_tame_power(simplifier *s, node base, int power);
bool bounds_tame_where(simplifier *s, node base, int power, const node *mask, unsigned masks);

static inline index_set simplify_bit(index_id i) {
    return (index_set)1 << i;
}

static inline bool is_value(const graph *g, node n, double wanted) {
    double x;
    return graph_is_constant(g, n, &x) && x == wanted;
}

static inline bool in_list(node n, const node *list, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (list[i] == n)
            return true;
    return false;
}

#endif
