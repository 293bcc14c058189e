/* The tree of a random spec, and how it is made. */
#ifndef ATTNC_RANDOM_INTERNAL_H
#define ATTNC_RANDOM_INTERNAL_H

#include "random_spec.h"

#include <stddef.h>
#include <stdio.h>

enum {
    RANDOM_SIZES   = 5,
    RANDOM_INDICES = 16,
    RANDOM_TENSORS = 64,
    RANDOM_RANK    = 4,
    RANDOM_SPACE   = 150, /* the most values that the indices in sight have together */
    TERM_CHILDREN  = 4
};

typedef enum random_type { RANDOM_BOOL, RANDOM_INT, RANDOM_FLOAT } random_type;
typedef uint32_t scope; /* bit i: index number i is in sight */

typedef enum term_kind {
    TERM_LEAF,    /* text */
    TERM_READ,    /* text[child, …] */
    TERM_PREFIX,  /* text child */
    TERM_INFIX,   /* child text child */
    TERM_CHOOSE,  /* if child then child else child */
    TERM_GUARD,   /* child where child */
    TERM_CALL,    /* text(child, …) */
    TERM_BRACKET, /* text[over, … where domain](child, …) */
    TERM_ITERATE  /* let text[over] = child from child in child */
} term_kind;

typedef struct term {
    term_kind kind;
    random_type type;
    double largest; /* about the largest magnitude it takes */
    const char *text;
    unsigned count;
    struct term *child[TERM_CHILDREN];
    struct term *domain; /* BRACKET; NULL: everything */
    scope over;          /* BRACKET, ITERATE: the indices that it binds */
    bool in_sight;       /* BRACKET: they are in sight, and not declared here */
} term;

typedef struct random_size {
    char name[8];
    unsigned value;
} random_size;

typedef struct random_index {
    char name[8];
    unsigned size;
    bool local; /* declared where it is bound */
} random_index;

typedef enum random_kind { RANDOM_INPUT, RANDOM_PARAM, RANDOM_TABLE, RANDOM_DEFINITION, RANDOM_STATE } random_kind;

typedef struct random_tensor {
    char name[8];
    random_kind kind;
    random_type type;
    double largest;
    unsigned rank;
    unsigned index[RANDOM_RANK];
    unsigned below;        /* of an integer: the number of the size that it is below */
    term *value, *initial; /* DEFINITION; initial: of a recurrence */
    unsigned step;         /* of a recurrence: the position of its stepping index */
    bool recurrent, reverse;
    bool open; /* it is being made: only the value before the step can be read … */
    bool made; /* … or also that after it */
    bool output;
    bool hidden; /* not to be read any more */
} random_tensor;

struct random_spec {
    uint64_t seed;
    char *text; /* of a file; NULL: of the tree */
    bool wild;
    bool pairs; /* with longer sequences, and definitions over pairs of positions */
    unsigned size_count, index_count, tensor_count;
    random_size size[RANDOM_SIZES];
    random_index index[RANDOM_INDICES];
    random_tensor tensor[RANDOM_TENSORS];
    struct chunk *memory;
};

/* A spec being made. */
typedef struct maker {
    random_spec *s;
    uint64_t state; /* of the random numbers */
    unsigned names;
    scope rebound;    /* bound anew: states that step along these cannot be read */
    unsigned reading; /* positions of reads around this place */
    bool in_step;     /* a recurrence is being made */
    int group;        /* number of the first member of the recurrence being made; -1: none */
} maker;

void *random_memory(random_spec *s, size_t size); /* zeroed; freed with the spec */
uint64_t random_mix(uint64_t x);

/* Choice */
unsigned below(maker *m, unsigned count); /* 0 … count-1 */
bool chance(maker *m, unsigned percent);
unsigned extent_of(const maker *m, unsigned index);
unsigned space_of(const maker *m, scope s);
scope bit_of(unsigned index);
unsigned any_of(maker *m, scope s); /* an index of the set; RANDOM_INDICES of none */
/* An index to bind in this scope, which keeps the space small; RANDOM_INDICES: there is none. */
unsigned binder(maker *m, scope s);

/* Terms. Magnitudes are those of the parts, unless said. */
const char *name_text(maker *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
term *new_term(maker *m, term_kind kind, random_type type, const char *text, double largest);
term *leaf(maker *m, random_type type, const char *text, double largest);
term *index_leaf(maker *m, unsigned index);
term *number(maker *m, double value);
term *integer(maker *m, int value);
term *prefix(maker *m, const char *operator, term * a);
term *infix(maker *m, const char *operator, term * a, term *b);
term *choose(maker *m, term *condition, term *a, term *b);
term *guard(maker *m, term *a, term *condition);
term *call(maker *m, const char *function, random_type type, double largest, term *a, term *b);
term *bracket(maker *m, const char *function, random_type type, double largest, scope over, term *domain, term *a,
              term *b);
term *along(maker *m, const char *function, random_type type, double largest, unsigned index, term *domain, term *a,
            term *b); /* of an index in sight */
term *copy_of(maker *m, const term *t);
term *tamed(maker *m, term *t, double limit); /* of a magnitude that is at most `limit` */
term *random_product_of(maker *m, term *a, term *b);
term *positive(maker *m, term *t); /* at least 1/2 or so */
term *sum_over(maker *m, scope over, term *domain, term *body);

/* Expressions with the free indices of the scope, or some of them. */
term *any_float(maker *m, scope s, int depth);
term *any_int(maker *m, scope s, int depth);
term *any_bool(maker *m, scope s, int depth);
term *domain_over(maker *m, scope s, unsigned index, bool inhabited); /* NULL: everything */
term *read_tensor(maker *m, scope s, random_type type);               /* a constant where there is none */
term *read_this(maker *m, scope s, unsigned tensor);                  /* NULL where it cannot be read */
term *pattern(maker *m, scope s, int depth);                          /* what a rewrite is about */
term *iteration(maker *m, scope s, int depth);

/* Declarations and definitions. */
unsigned add_index(maker *m, const char *name, unsigned size, bool local);
random_tensor *add_tensor_of(maker *m, random_kind kind, random_type type, const char *letter, scope indices);
void add_definitions(maker *m); /* one, or several that belong together */
void add_pair(maker *m);        /* several, over pairs of positions */
unsigned definition_count(const maker *m);

void random_print(const random_spec *s, FILE *file);

#endif
