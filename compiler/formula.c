/* Exact interpolation, and numbers as people write them. */
#include "formula.h"

#include <string.h>

static wide magnitude(wide a) {
    return a < 0 ? -a : a;
}

bool rational_make(wide above, wide below, rational *out) {
    wide a = magnitude(above), b = magnitude(below);
    if (!b)
        return false;
    while (a) {
        wide rest = b % a;
        b         = a;
        a         = rest;
    }
    *out = (rational){below < 0 ? -above / b : above / b, magnitude(below) / b};
    return magnitude(out->above) < WIDE_MOST && out->below < WIDE_MOST;
}

static bool multiply(rational a, rational b, rational *out) {
    rational x, y; /* crosswise, so that the products are small */
    wide above, below;
    return rational_make(a.above, b.below, &x) && rational_make(b.above, a.below, &y) &&
           !__builtin_mul_overflow(x.above, y.above, &above) && !__builtin_mul_overflow(x.below, y.below, &below) &&
           rational_make(above, below, out);
}

static bool add(rational a, rational b, rational *out) {
    wide x, y, below, above;
    return !__builtin_mul_overflow(a.above, b.below, &x) && !__builtin_mul_overflow(b.above, a.below, &y) &&
           !__builtin_mul_overflow(a.below, b.below, &below) && !__builtin_add_overflow(x, y, &above) &&
           rational_make(above, below, out);
}

int rational_compare(rational a, rational b) {
    rational d;
    if (!add(a, (rational){-b.above, b.below}, &d))
        return 0;
    return (d.above > 0) - (d.above < 0);
}

double rational_double(rational r) {
    return (double)r.above / (double)r.below;
}

/* Newton's divided differences, multiplied out. */
formula formula_through(const int64_t *x, const wide *y) {
    rational difference[FORMULA_TERMS];
    formula f = {.known = true, .count = FORMULA_TERMS};
    for (int i = 0; i < FORMULA_TERMS; i++)
        difference[i] = (rational){y[i], 1};
    for (int step = 1; step < FORMULA_TERMS; step++)
        for (int i = FORMULA_TERMS - 1; i >= step; i--) {
            rational d, minus = {-difference[i - 1].above, difference[i - 1].below};
            f.known = f.known && add(difference[i], minus, &d) &&
                      multiply(d, (rational){1, x[i] - x[i - step]}, &difference[i]);
        }
    for (int k = 0; k < FORMULA_TERMS; k++)
        f.coefficient[k] = (rational){0, 1};
    for (int i = FORMULA_TERMS - 1; i >= 0 && f.known; i--) { /* f := f * (x - x[i]) + difference[i] */
        for (int k = FORMULA_TERMS - 1; k >= 0; k--) {
            rational lower = k ? f.coefficient[k - 1] : difference[i], part;
            f.known        = f.known && multiply(f.coefficient[k], (rational){-x[i], 1}, &part) &&
                      add(lower, part, &f.coefficient[k]);
        }
    }
    return f;
}

rational formula_coefficient(const formula *f, int power) {
    int k = power - f->lowest;
    return k >= 0 && k < (int)f->count ? f->coefficient[k] : (rational){0, 1};
}

int formula_highest(const formula *f) {
    for (int k = (int)f->count; k-- > 0;)
        if (f->coefficient[k].above)
            return f->lowest + k;
    return 0;
}

formula formula_sum(const formula *a, const formula *b) {
    formula f = *a;
    f.known   = a->known && b->known && a->lowest == b->lowest && a->count == b->count;
    for (unsigned k = 0; k < f.count && f.known; k++)
        f.known = add(a->coefficient[k], b->coefficient[k], &f.coefficient[k]);
    return f;
}

formula formula_quotient(const formula *a, const formula *b) {
    formula f  = *a;
    int power  = formula_highest(b);
    rational d = formula_coefficient(b, power), inverse;
    f.known    = a->known && b->known && rational_make(d.below, d.above, &inverse);
    for (unsigned k = 0; k < b->count; k++)
        f.known = f.known && ((int)k + b->lowest == power || !b->coefficient[k].above);
    for (unsigned k = 0; k < f.count && f.known; k++)
        f.known = multiply(a->coefficient[k], inverse, &f.coefficient[k]);
    f.lowest -= power;
    return f;
}

bool formula_value(const formula *f, int64_t x, rational *out) {
    rational at = {x, 1}, total = {0, 1};
    bool ok = f->known && x != 0;
    for (int k = (int)f->count; k-- > 0 && ok;)
        ok = multiply(total, at, &total) && add(total, f->coefficient[k], &total);
    for (int p = 0; p < f->lowest && ok; p++)
        ok = multiply(total, at, &total);
    for (int p = 0; p > f->lowest && ok; p--)
        ok = multiply(total, (rational){1, x}, &total);
    *out = total;
    return ok;
}

bool formula_gives(const formula *f, int64_t x, wide y) {
    rational r;
    return formula_value(f, x, &r) && r.below == 1 && r.above == y;
}

void number_text(wide n, char *text, size_t size) {
    char digits[64];
    size_t count = 0, at = 0;
    bool negative = n < 0;
    for (n = magnitude(n); n || !count; n /= 10) {
        if (count % 4 == 3)
            digits[count++] = ',';
        digits[count++] = (char)('0' + (int)(n % 10));
    }
    if (negative && at + 1 < size)
        text[at++] = '-';
    while (count && at + 1 < size)
        text[at++] = digits[--count];
    text[at] = 0;
}

void rational_text(rational r, char *text, size_t size) {
    if (r.below != 1 && 1000000 % r.below == 0) { /* a short decimal fraction */
        wide rest = magnitude(r.above) % r.below * (1000000 / r.below);
        char fraction[8];
        number_text(r.above / r.below, text, size);
        if (r.above < 0 && r.above / r.below == 0) /* -0.5 */
            strcpy(text, "-0");
        for (int i = 5; i >= 0; i--, rest /= 10)
            fraction[i] = (char)('0' + (int)(rest % 10));
        size_t length = 6;
        while (length && fraction[length - 1] == '0')
            length--;
        fraction[length] = 0;
        size_t used      = strlen(text);
        snprintf(text + used, size - used, ".%s", fraction);
        return;
    }
    number_text(r.above, text, size);
    if (r.below != 1) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, "/");
        number_text(r.below, text + used + 1, size - used - 1);
    }
}

void formula_text(const formula *f, const char *name, char *text, size_t size) {
    size_t used = 0;
    text[0]     = 0;
    if (!f->known) {
        snprintf(text, size, "no closed form found");
        return;
    }
    for (int pass = 0; pass < 2; pass++) /* powers from 0 upwards, then those below */
        for (unsigned k = 0; k < f->count && used + 160 < size; k++) {
            int power  = f->lowest + (pass ? (int)(f->count - 1 - k) : (int)k);
            rational r = formula_coefficient(f, power);
            if ((power < 0) != (pass == 1) || !r.above)
                continue;
            char number[128], sign = r.above < 0 ? '-' : '+';
            r.above  = magnitude(r.above);
            bool one = r.above == 1 && r.below == 1 && power > 0;
            rational_text(r, number, sizeof number);
            if (strchr(number, '/') && power < 0) { /* p/q/T reads badly */
                char inner[128];
                snprintf(inner, sizeof inner, "(%.120s)", number);
                strcpy(number, inner);
            }
            if (used)
                used += (size_t)snprintf(text + used, size - used, " %c ", sign);
            else if (sign == '-')
                used += (size_t)snprintf(text + used, size - used, "-");
            used += (size_t)snprintf(text + used, size - used, "%s", one ? "" : number);
            if (power)
                used += (size_t)snprintf(text + used, size - used, "%s%s", power < 0 ? "/" : one ? "" : "·", name);
            static const char *const raised[] = {"", "", "²", "³", "⁴"};
            int height                        = power < 0 ? -power : power;
            if (height >= 2 && height <= 4)
                used += (size_t)snprintf(text + used, size - used, "%s", raised[height]);
        }
    if (!used)
        snprintf(text, size, "0");
}
