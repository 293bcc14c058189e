/* Polynomials with rational coefficients, found from exact values. */
#ifndef ATTNC_FORMULA_H
#define ATTNC_FORMULA_H

#include "count.h"

typedef struct rational {
    wide above, below; /* below > 0, no common divisor */
} rational;

enum { FORMULA_DEGREE = 4, FORMULA_TERMS = FORMULA_DEGREE + 1 };

/* sum of coefficient[k] * x^(lowest + k) */
typedef struct formula {
    bool known;
    int lowest;
    unsigned count;
    rational coefficient[FORMULA_TERMS];
} formula;

/* The polynomial through FORMULA_TERMS points with distinct x; not known where numbers grow too large. */
formula formula_through(const int64_t *x, const wide *y);
formula formula_sum(const formula *a, const formula *b);
/* a / b where b is one term; otherwise not known. */
formula formula_quotient(const formula *a, const formula *b);
int formula_highest(const formula *f); /* the highest power that is there; 0 for none */
rational formula_coefficient(const formula *f, int power);
bool formula_value(const formula *f, int64_t x, rational *out);
bool formula_gives(const formula *f, int64_t x, wide y); /* exactly */

bool rational_make(wide above, wide below, rational *out);
int rational_compare(rational a, rational b);
double rational_double(rational r);

/* 131,072, 0.5 or 1/3. `size` of 128 is always enough. */
void rational_text(rational r, char *text, size_t size);
void number_text(wide n, char *text, size_t size);
/* 131,072 + 256·T - 64/T; `size` of 512 is always enough. */
void formula_text(const formula *f, const char *name, char *text, size_t size);
#endif
