/* Linear rows over integers: narrowing bounds, then Fourier-Motzkin elimination with rows divided by the greatest
 * common divisor of their factors. Only the absence of points is ever concluded, so a row that does not fit may be
 * dropped. */
#include "prove_internal.h"

#include <stdlib.h>
#include <string.h>

enum { WORK_ROWS = 256, NARROWINGS = 6, WORK_LIMIT = 4000000 };

struct elimination {
    unsigned unknowns, count;
    bool impossible, full; /* a contradiction was found; there was no room for a row */
    uint64_t work;
    row row[WORK_ROWS], next[WORK_ROWS];
};

elimination *elimination_new(void) {
    return prove_memory(sizeof(elimination));
}

void elimination_free(elimination *e) {
    free(e);
}

bool form_add(form *a, const form *b, int64_t scale, unsigned unknowns) {
    int64_t term;
    bool over =
        __builtin_mul_overflow(b->constant, scale, &term) || __builtin_add_overflow(a->constant, term, &a->constant);
    for (unsigned i = 0; i < unknowns && !over; i++)
        if (b->factor[i])
            over = __builtin_mul_overflow(b->factor[i], scale, &term) ||
                   __builtin_add_overflow(a->factor[i], term, &a->factor[i]) || a->factor[i] == INT64_MIN;
    return !over;
}

bool form_is_constant(const form *a, unsigned unknowns) {
    for (unsigned i = 0; i < unknowns; i++)
        if (a->factor[i])
            return false;
    return true;
}

range form_range(const form *a, const range *bound, unsigned unknowns) {
    range sum = {a->constant, a->constant};
    for (unsigned i = 0; i < unknowns; i++)
        if (a->factor[i])
            sum = range_add(sum, range_multiply((range){a->factor[i], a->factor[i]}, bound[i]));
    return sum;
}

/* The bounds of one unknown of `form >= 0`, the others within theirs. */
static bool narrow_by(const form *f, unsigned i, range *bound, unsigned unknowns, bool *changed) {
    range rest = {f->constant, f->constant};
    for (unsigned k = 0; k < unknowns; k++)
        if (k != i && f->factor[k])
            rest = range_add(rest, range_multiply((range){f->factor[k], f->factor[k]}, bound[k]));
    if (rest.high == INT64_MAX || rest.high == INT64_MIN)
        return true;
    int64_t factor = f->factor[i];
    if (factor > 0) { /* x >= -rest / factor, rounded up */
        int64_t low = -floor_divide(rest.high, factor);
        if (low > bound[i].low) {
            bound[i].low = low;
            *changed     = true;
        }
    } else {
        int64_t high = floor_divide(rest.high, -factor);
        if (high < bound[i].high) {
            bound[i].high = high;
            *changed      = true;
        }
    }
    return bound[i].low <= bound[i].high;
}

bool rows_narrow(const row *const *rows, unsigned count, range *bound, unsigned unknowns, uint64_t *work) {
    bool changed = true;
    for (unsigned pass = 0; pass < NARROWINGS && changed; pass++) {
        changed = false;
        for (unsigned r = 0; r < count; r++) {
            form opposite = {0};
            if (rows[r]->equal && !form_add(&opposite, &rows[r]->form, -1, unknowns))
                continue;
            for (unsigned i = 0; i < unknowns; i++) {
                if (!rows[r]->form.factor[i])
                    continue;
                *work += unknowns;
                if (!narrow_by(&rows[r]->form, i, bound, unknowns, &changed) ||
                    (rows[r]->equal && !narrow_by(&opposite, i, bound, unknowns, &changed)))
                    return false;
            }
        }
    }
    return true;
}

static int64_t common_divisor(int64_t a, int64_t b) {
    while (b) {
        int64_t rest = a % b;
        a            = b;
        b            = rest;
    }
    return a < 0 ? -a : a;
}

/* Divides a row by what its factors have in common. false: it says nothing about any unknown. */
static bool tighten(elimination *e, row *r) {
    int64_t divisor = 0;
    for (unsigned i = 0; i < e->unknowns && divisor != 1; i++)
        if (r->form.factor[i])
            divisor = common_divisor(divisor, r->form.factor[i]);
    if (divisor == 0) {
        e->impossible |= r->equal ? r->form.constant != 0 : r->form.constant < 0;
        return false;
    }
    if (divisor == 1)
        return true;
    if (r->equal && r->form.constant % divisor != 0) {
        e->impossible = true;
        return false;
    }
    r->form.constant = floor_divide(r->form.constant, divisor);
    for (unsigned i = 0; i < e->unknowns; i++)
        r->form.factor[i] /= divisor;
    return true;
}

/* Adds r to rows[*count]; of two rows with the same factors the stricter stays. */
static void put(elimination *e, row *rows, unsigned *count, row *r) {
    if (!tighten(e, r))
        return;
    size_t size = e->unknowns * sizeof *r->form.factor;
    e->work += *count / 4 + e->unknowns;
    for (unsigned i = 0; i < *count; i++)
        if (!r->equal && !rows[i].equal && memcmp(rows[i].form.factor, r->form.factor, size) == 0) {
            if (r->form.constant < rows[i].form.constant)
                rows[i].form.constant = r->form.constant;
            return;
        }
    if (*count == WORK_ROWS)
        e->full = true;
    else
        rows[(*count)++] = *r;
}

static void load(elimination *e, const row *const *rows, unsigned count, const range *bound) {
    bool used[UNKNOWNS] = {false};
    e->count            = 0;
    for (unsigned r = 0; r < count; r++) {
        row copy = *rows[r];
        put(e, e->row, &e->count, &copy);
        for (unsigned i = 0; i < e->unknowns; i++)
            used[i] |= rows[r]->form.factor[i] != 0;
    }
    for (unsigned i = 0; i < e->unknowns; i++) {
        row low = {0}, high = {0};
        low.form.factor[i]  = 1;
        high.form.factor[i] = -1;
        if (used[i] && bound[i].low > -INT64_MAX) {
            low.form.constant = -bound[i].low;
            put(e, e->row, &e->count, &low);
        }
        if (used[i] && bound[i].high < INT64_MAX) {
            high.form.constant = bound[i].high;
            put(e, e->row, &e->count, &high);
        }
    }
}

/* Solves an equation for an unknown with factor 1 or -1 and puts it into the other rows. false: there is none. */
static bool use_equation(elimination *e) {
    unsigned at = 0, unknown = 0;
    bool found = false;
    for (unsigned r = 0; r < e->count && !found; r++)
        for (unsigned i = 0; e->row[r].equal && i < e->unknowns && !found; i++)
            if (e->row[r].form.factor[i] == 1 || e->row[r].form.factor[i] == -1) {
                at      = r;
                unknown = i;
                found   = true;
            }
    if (!found)
        return false;
    row equation   = e->row[at];
    unsigned count = 0;
    for (unsigned r = 0; r < e->count && !e->impossible; r++) {
        if (r == at)
            continue;
        row sum = e->row[r];
        e->work += e->unknowns;
        int64_t factor = sum.form.factor[unknown];
        if (factor &&
            !form_add(&sum.form, &equation.form, equation.form.factor[unknown] == 1 ? -factor : factor, e->unknowns))
            continue;
        put(e, e->next, &count, &sum);
    }
    memcpy(e->row, e->next, count * sizeof *e->row);
    e->count = count;
    return true;
}

/* Equations that are left become two rows each. */
static void split_equations(elimination *e) {
    unsigned count = 0;
    for (unsigned r = 0; r < e->count; r++) {
        row one = e->row[r], other = {0};
        if (one.equal && form_add(&other.form, &one.form, -1, e->unknowns))
            put(e, e->next, &count, &other);
        one.equal = false;
        put(e, e->next, &count, &one);
    }
    memcpy(e->row, e->next, count * sizeof *e->row);
    e->count = count;
}

/* The unknown whose elimination adds the fewest rows; e->unknowns: none is left. */
static unsigned choose(elimination *e) {
    unsigned best = e->unknowns;
    long least    = 0;
    for (unsigned i = 0; i < e->unknowns; i++) {
        long up = 0, down = 0;
        for (unsigned r = 0; r < e->count; r++) {
            up += e->row[r].form.factor[i] > 0;
            down += e->row[r].form.factor[i] < 0;
        }
        long cost = up * down - up - down;
        if (up + down > 0 && (best == e->unknowns || cost < least)) {
            best  = i;
            least = cost;
        }
    }
    e->work += (uint64_t)e->unknowns * e->count / 4;
    return best;
}

static void eliminate(elimination *e, unsigned unknown) {
    unsigned count = 0;
    for (unsigned r = 0; r < e->count; r++)
        if (!e->row[r].form.factor[unknown])
            put(e, e->next, &count, &e->row[r]);
    for (unsigned r = 0; r < e->count; r++)
        for (unsigned k = 0; k < e->count && !e->impossible && !e->full; k++) {
            int64_t up = e->row[r].form.factor[unknown], down = e->row[k].form.factor[unknown];
            if (up <= 0 || down >= 0)
                continue;
            int64_t divisor = common_divisor(up, down);
            row sum         = {0};
            e->work += e->unknowns * 2;
            if (form_add(&sum.form, &e->row[r].form, -(down / divisor), e->unknowns) &&
                form_add(&sum.form, &e->row[k].form, up / divisor, e->unknowns))
                put(e, e->next, &count, &sum);
        }
    memcpy(e->row, e->next, count * sizeof *e->row);
    e->count = count;
}

bool rows_impossible(elimination *e, const row *const *rows, unsigned count, const range *bound, unsigned unknowns,
                     uint64_t *work) {
    e->unknowns   = unknowns;
    e->impossible = e->full = false;
    e->work                 = 0;
    load(e, rows, count, bound);
    while (!e->impossible && use_equation(e))
        ;
    if (!e->impossible)
        split_equations(e);
    while (!e->impossible && !e->full && e->work < WORK_LIMIT) {
        unsigned unknown = choose(e);
        if (unknown == unknowns)
            break;
        eliminate(e, unknown);
    }
    *work += e->work;
    return e->impossible;
}
