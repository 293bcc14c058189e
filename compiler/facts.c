/* Gathers the facts: counts at the spec's own sizes, then at several values of one size, and fits polynomials. */
#include "facts.h"

#include "enough.h"

#include <stdlib.h>
#include <string.h>

enum { THRESHOLDS = 48, CHECKS = 2, POINTS = FORMULA_TERMS + CHECKS, DIVISORS = 16 };
static const int64_t FAR = 1 << 20; /* beyond what a window or a selection is likely to be */

/* A mechanism with all but one size fixed. */
typedef struct study {
    const spec *mechanism;
    const elaboration *how;
    const char *variable;
    binding fixed[1]; /* one more size that is not the spec's */
    size_t fixed_count;
} study;

static const output *first_output(const graph *g) {
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (graph_output(g, i)->kind == OUTPUT_VALUE)
            return graph_output(g, i);
    return NULL;
}

/* The first output's indices that no parameter has; time in any case. */
static index_set token_indices(const graph *g) {
    const output *o = first_output(g);
    index_id time   = causality_time(g);
    index_set set   = 0;
    for (unsigned r = 0; o && r < o->rank; r++) {
        bool used = false;
        for (uint32_t i = 0; i < graph_tensor_count(g); i++)
            for (unsigned k = 0; k < graph_tensor(g, i)->rank; k++)
                used |= graph_tensor(g, i)->kind == TENSOR_PARAMETER && graph_tensor(g, i)->index[k] == o->index[r];
        if (!used || o->index[r] == time)
            set |= (index_set)1 << o->index[r];
    }
    return set;
}

/* All quantities at the sizes of a graph; false where one is not exact. */
static bool measure(graph *g, cost *plain, wide *out) {
    bool losses = false, exact = plain->exact;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        losses |= graph_output(g, i)->kind == OUTPUT_LOSS;
    out[QUANTITY_OPERATIONS]  = plain->operations;
    out[QUANTITY_SPECIAL]     = plain->special;
    out[QUANTITY_COMPARISONS] = plain->comparisons;
    out[QUANTITY_COMPULSORY]  = plain->compulsory;
    out[QUANTITY_KEPT]        = wide_add(plain->compulsory, plain->kept);
    out[QUANTITY_LOSS]        = 0;
    out[QUANTITY_TOKENS]      = graph_space(g, token_indices(g));
    if (losses) {
        cost *all          = cost_of(g, true);
        out[QUANTITY_LOSS] = all->operations - plain->operations;
        exact &= all->exact;
        cost_free(all);
    }
    return exact;
}

static bool sample(const study *s, int64_t at, wide *out) {
    binding set[2] = {{s->variable, (double)at}, s->fixed[0]};
    graph *g       = sizes_elaborate(s->mechanism, s->how, set, 1 + s->fixed_count);
    if (!g)
        return false;
    cost *c    = cost_of(g, false);
    bool exact = measure(g, c, out);
    cost_free(c);
    graph_free(g);
    return exact;
}

static bool agrees(const study *s, const formula *f, int64_t at) {
    wide value[QUANTITIES];
    bool same = sample(s, at, value);
    for (int q = 0; q < QUANTITIES && same; q++)
        same = formula_gives(&f[q], at, value[q]);
    return same;
}

/* Numbers beyond which conditions look alike, ascending: those that do not grow with the variable. */
static unsigned thresholds(const study *s, int64_t *out, int64_t *period) {
    int64_t other[THRESHOLDS], ignored;
    for (int64_t far = FAR; far >= 256; far /= 16) {
        binding a[2] = {{s->variable, (double)far}, s->fixed[0]}, b[2] = {{s->variable, (double)far * 2}, s->fixed[0]};
        graph *near    = sizes_elaborate(s->mechanism, s->how, a, 1 + s->fixed_count);
        graph *farther = near ? sizes_elaborate(s->mechanism, s->how, b, 1 + s->fixed_count) : NULL;
        unsigned count = 0, both = 0;
        if (near && farther) {
            unsigned n = cost_thresholds(near, out, THRESHOLDS, period);
            unsigned m = cost_thresholds(farther, other, THRESHOLDS, &ignored);
            for (unsigned i = 0; i < n; i++)
                for (unsigned k = 0; k < m; k++)
                    if (out[i] == other[k])
                        out[both++] = out[i];
            *period = *period < ignored ? *period : ignored;
            count   = 1;
        }
        graph_free(near);
        graph_free(farther);
        if (count)
            return both;
    }
    *period = 1;
    return 0;
}

/* Points at equal steps beyond `beyond`, all but the last two for the polynomials, those for checking them. */
static bool fit_at(const study *s, int64_t beyond, int64_t step, formula *f, int64_t *first) {
    int64_t x[POINTS];
    wide y[POINTS][QUANTITIES], column[FORMULA_TERMS];
    *first = (beyond / step + 1) * step;
    for (int i = 0; i < POINTS; i++) {
        x[i] = *first + i * step;
        if (!sample(s, x[i], y[i]))
            return false;
    }
    for (int q = 0; q < QUANTITIES; q++) {
        for (int i = 0; i < FORMULA_TERMS; i++)
            column[i] = y[i][q];
        f[q] = formula_through(x, column);
        for (int i = FORMULA_TERMS; i < POINTS; i++)
            if (!formula_gives(&f[q], x[i], y[i][q]))
                return false;
    }
    return true;
}

/* Where the formulas hold: of which numbers the variable must be a multiple, and from where on. */
static void validity(facts *f, const study *s, const int64_t *number, unsigned count, int64_t first, int64_t step) {
    f->multiple_of = step;
    for (int64_t part = 1, tried = 0; part < step && tried < DIVISORS; part++)
        if (step % part == 0 && ++tried && agrees(s, f->formula, first + part) &&
            agrees(s, f->formula, first + 3 * part)) {
            f->multiple_of = part;
            break;
        }
    f->valid_from = first;
    for (unsigned i = count + 1; i-- > 0;) {
        int64_t least = i ? number[i - 1] : 2;
        for (int64_t at = i ? least + 2 : least; at >= least; at--) {
            int64_t rounded = (at + f->multiple_of - 1) / f->multiple_of * f->multiple_of;
            if (rounded >= f->valid_from)
                continue;
            if (!agrees(s, f->formula, rounded))
                return;
            f->valid_from = rounded;
        }
    }
}

static bool fit(facts *f, const study *s, formula *out, bool where) {
    int64_t number[THRESHOLDS], period, beyond = 8, first;
    unsigned count = thresholds(s, number, &period);
    for (unsigned i = 0; i < count; i++)
        beyond += number[i];
    static const int64_t times[] = {2, 64, 720};
    for (unsigned i = 0; i < sizeof times / sizeof *times; i++)
        if (fit_at(s, beyond, times[i] * period, out, &first)) {
            if (where)
                validity(f, s, number, count, first, times[i] * period);
            return true;
        }
    return false;
}

/* A size that limits a reach: the formulas are for reaches that the ranges can hold. */
static bool fit_reach(facts *f, const study *s) {
    int64_t number[THRESHOLDS], period, first;
    unsigned count = cost_thresholds(f->g, number, THRESHOLDS, &period);
    if (!fit_at(s, 1, 2, f->formula, &first) || !agrees(s, f->formula, f->value))
        return false;
    f->multiple_of = agrees(s, f->formula, first + 1) ? 1 : 2;
    f->valid_from  = f->multiple_of == 1 && agrees(s, f->formula, 1) ? 1 : first;
    f->valid_to    = f->value;
    for (unsigned i = count; i-- > 0 && number[i] > f->value;)
        for (int64_t at = number[i] + 1; at >= number[i] - 1; at--)
            if (at % f->multiple_of == 0 && agrees(s, f->formula, at)) {
                f->valid_to = at;
                return true;
            }
    return true;
}

/* Sizes that are no extent: does the leading term grow with one of them? */
static void find_factors(facts *f, study *s) {
    formula all = formula_sum(&f->formula[QUANTITY_OPERATIONS], &f->formula[QUANTITY_COMPARISONS]), other[QUANTITIES];
    f->degree   = formula_highest(&all);
    for (unsigned i = 0; i < f->sizes.count && f->factor_count < FACTS_FACTORS; i++) {
        const declared_size *size = &f->sizes.item[i];
        if (size->extent || !size->own || strcmp(size->name, f->variable) == 0)
            continue;
        s->fixed[0]    = (binding){size->name, (double)size->value * 2};
        s->fixed_count = 1;
        if (fit(f, s, other, false)) {
            formula more = formula_sum(&other[QUANTITY_OPERATIONS], &other[QUANTITY_COMPARISONS]);
            if (more.known &&
                rational_compare(formula_coefficient(&more, f->degree), formula_coefficient(&all, f->degree)) > 0)
                f->factor[f->factor_count++] = size->name;
        }
        s->fixed_count = 0;
    }
}

/* Counts that take too long at the spec's own sizes are read off the formulas. */
static void use_formulas(facts *f) {
    rational r;
    bool inside =
        f->value >= f->valid_from && f->value % f->multiple_of == 0 && (!f->valid_to || f->value <= f->valid_to);
    for (int q = 0; q < QUANTITIES; q++) {
        f->per_token[q] = formula_quotient(&f->formula[q], &f->formula[QUANTITY_TOKENS]);
        if (!f->counted && inside && formula_value(&f->formula[q], f->value, &r) && r.below == 1)
            f->total[q] = r.above;
    }
    f->counted |= inside;
}

static bool choose_variable(facts *f, const spec *mechanism, const char *variable, diagnostics *d) {
    const declared_size *size = variable ? sizes_find(&f->sizes, variable) : sizes_time(&f->sizes);
    if (variable && !size) {
        fprintf(d->stream, "%s: error: the spec declares no size `%s` to give formulas in\n", spec_path(mechanism),
                variable);
        d->errors++;
        return false;
    }
    size        = size ? size : sizes_find(&f->sizes, "T");
    f->variable = size ? size->name : NULL;
    f->value    = size ? size->value : 0;
    return true;
}

facts *facts_of(const spec *mechanism, const elaboration *how, const char *variable, diagnostics *d) {
    facts *f = enough(calloc(1, sizeof *f));
    f->g     = graph_new();
    if (!elaborate_mechanism(f->g, mechanism, how, d)) {
        facts_free(f);
        return NULL;
    }
    sizes_of(mechanism, how, &f->sizes);
    if (!choose_variable(f, mechanism, variable, d)) {
        facts_free(f);
        return NULL;
    }
    f->comment       = sizes_comment(mechanism);
    f->token_indices = token_indices(f->g);
    for (uint32_t i = 0; i < graph_tensor_count(f->g); i++)
        if (graph_tensor(f->g, i)->kind == TENSOR_PARAMETER)
            f->parameters += graph_tensor(f->g, i)->elements;
    f->cost                   = cost_of(f->g, false);
    f->counted                = measure(f->g, f->cost, f->total);
    study s                   = {.mechanism = mechanism, .how = how, .variable = f->variable};
    const declared_size *size = f->variable ? sizes_find(&f->sizes, f->variable) : NULL;
    f->fitted                 = size && ((!size->extent && fit_reach(f, &s)) || fit(f, &s, f->formula, true));
    if (f->fitted) {
        use_formulas(f);
        find_factors(f, &s);
    }
    f->causality = causality_check(f->g, mechanism, how);
    return f;
}

void facts_free(facts *f) {
    if (!f)
        return;
    cost_free(f->cost);
    graph_free(f->g);
    free(f->comment);
    free(f);
}
