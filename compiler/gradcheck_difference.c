/* Derivatives by differences, with an honest idea of how good they are. Ridders 1982, "Accurate computation of F'(x)
 * and F'(x) F''(x)", Advances in Engineering Software 4(2); Press et al. 2007, "Numerical Recipes", section 5.7.
 * Central differences of halved steps are extrapolated to a step of none; an entry of the tableau is as good as it
 * agrees with the two that it was made of. The steps go on being halved while that helps, and a row uses the last few
 * only: a kink or a selection that changes within the widest steps spoils their entries and no later one. */
#include "enough.h"
#include "gradcheck_internal.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 24, COLUMNS = 6 };
static const double FIRST_STEP = 0.1; /* times the size of the values */

double loss_sum(interpretation *run, const graph *g) {
    double sum = 0;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (graph_output(g, i)->kind == OUTPUT_LOSS)
            sum += interpret_output(run, i)[0];
    return sum;
}

static double loss_at(const loss_line *l, double step) {
    uint32_t tensors     = graph_tensor_count(l->g);
    const double **value = enough(calloc(tensors, sizeof *value));
    int64_t elements     = graph_tensor(l->g, l->tensor)->elements;
    double *there        = enough(malloc((size_t)elements * sizeof *there));
    memcpy(value, l->tensor_value, tensors * sizeof *value);
    for (int64_t i = 0; i < elements; i++)
        there[i] = l->tensor_value[l->tensor][i] + step * l->direction[i];
    value[l->tensor]    = there;
    interpretation *run = interpret_new(l->g, value, l->seed);
    interpret_hold_stops(run, l->base);
    double result = loss_sum(run, l->g);
    interpret_free(run);
    free(there);
    free(value);
    return result;
}

/* The best entries of a tableau: of all, and of those that agree with the derived value. */
typedef struct search {
    double derived, scale, tolerance;
    difference best, agreeing;
} search;

/* Where a derivative is smaller than what rounding makes of the difference, it is compared with that. */
static void consider(search *s, double value, double estimate, double rounding) {
    double scale = fmax(fmax(fabs(value), s->scale), fmax(rounding / s->tolerance, DBL_MIN));
    difference d = {
        .value = value, .estimate = (estimate + rounding) / scale, .error = fabs(value - s->derived) / scale};
    if (d.estimate < s->best.estimate)
        s->best = d;
    if (d.error <= s->tolerance && d.estimate <= 4 * s->tolerance && d.estimate < s->agreeing.estimate)
        s->agreeing = d;
}

/* Is a smaller step no use? It is enough, or rounding would make more of it than is known already. */
static bool exhausted(const search *s, double rounding) {
    double part = rounding / fmax(fmax(fabs(s->best.value), s->scale), DBL_MIN);
    if (isfinite(s->agreeing.estimate))
        return s->agreeing.estimate <= fmax(1e-2 * s->tolerance, 2 * part);
    return isfinite(s->best.estimate) && part > fmax(s->tolerance, s->best.estimate);
}

static void fill_tableau(const loss_line *l, search *s) {
    double row[COLUMNS], last[COLUMNS], step = FIRST_STEP * l->size;
    unsigned filled = 0;
    for (unsigned i = 0; i < STEPS && !exhausted(s, l->rounding / step); i++, step /= 2) {
        row[0] = (loss_at(l, step) - loss_at(l, -step)) / (2 * step);
        if (!isfinite(row[0])) {
            filled = 0;
            continue;
        }
        double power = 1;
        for (unsigned k = 1; k <= filled; k++) {
            power *= 4;
            row[k] = row[k - 1] + (row[k - 1] - last[k - 1]) / (power - 1);
            consider(s, row[k], fmax(fabs(row[k] - row[k - 1]), fabs(row[k] - last[k - 1])), l->rounding / step);
        }
        filled = filled + 1 < COLUMNS ? filled + 1 : COLUMNS - 1;
        memcpy(last, row, sizeof row);
    }
}

/* Why the difference and the derived value are apart. From a step h to h / 4, the rise f(h) - f(-h) of what is smooth
 * falls to 1/4 and its bend f(h) - 2 f(0) + f(-h) to 1/16; the bend at a kink falls to 1/4; over a jump one of the two
 * stays. Between the slopes of a kink lies the derivative by one element; along a line through several it need not. */
static void explain(const loss_line *l, const search *s, difference *d) {
    double wide = FIRST_STEP * l->size / 4096, narrow = wide / 4;
    double up[2] = {loss_at(l, wide), loss_at(l, narrow)}, down[2] = {loss_at(l, -wide), loss_at(l, -narrow)};
    double bend[2] = {up[0] - 2 * l->loss + down[0], up[1] - 2 * l->loss + down[1]};
    double rise[2] = {up[0] - down[0], up[1] - down[1]};
    double scale = fmax(fabs(d->value), s->scale), noise = 16 * l->rounding, allowed = 1e-3 * scale * narrow;
    d->below   = (l->loss - down[1]) / narrow;
    d->above   = (up[1] - l->loss) / narrow;
    double low = fmin(d->below, d->above), high = fmax(d->below, d->above), room = (noise + allowed) / narrow;
    if ((fabs(rise[1]) > 0.5 * fabs(rise[0]) && fabs(rise[1]) > noise) ||
        (fabs(bend[1]) > 0.5 * fabs(bend[0]) && fabs(bend[1]) > noise))
        d->verdict = GRADCHECK_JUMP;
    else if (fabs(bend[1]) > 0.125 * fabs(bend[0]) && fabs(bend[1]) > noise + allowed &&
             (!l->single || (s->derived >= low - room && s->derived <= high + room)))
        d->verdict = GRADCHECK_KINK;
    else
        d->verdict = d->error > 4 * d->estimate ? GRADCHECK_DIFFERS : GRADCHECK_UNCERTAIN;
}

difference difference_along(const loss_line *l, double derived, double scale, double tolerance) {
    difference none = {.value = NAN, .estimate = INFINITY, .error = NAN};
    search s        = {.derived = derived, .scale = scale, .tolerance = tolerance, .best = none, .agreeing = none};
    if (!isfinite(l->loss) || !isfinite(derived)) {
        none.verdict = isfinite(l->loss) ? GRADCHECK_NO_DERIVATIVE : GRADCHECK_NO_VALUE;
        return none;
    }
    fill_tableau(l, &s);
    if (isfinite(s.agreeing.estimate))
        return s.agreeing;
    if (!isfinite(s.best.estimate)) {
        none.verdict = GRADCHECK_NOT_FINITE;
        return none;
    }
    explain(l, &s, &s.best);
    return s.best;
}
