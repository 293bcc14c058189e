/* Where a rewrite needs more than the graph says, it proves that or is not made: for each such rewrite a spec where its
 * condition fails, with values that would show it, beside one where it holds and the rewrite is made. */
#include "simplified.h"

static const double ERROR = 1e-12;

/* Names of inputs say what values they have: simplified.h. */
typedef struct pair {
    const char *what;
    reason rule;
    const char *fails; /* results are kept, all of them where `finite` */
    const char *holds; /* so that the rule makes something of it; NULL: there is no such case */
    bool stays;        /* of `fails`: the rule makes nothing of it; else it may, as long as results are kept */
    bool finite;       /* of `fails`: the outputs are finite before */
} pair;

static const pair pairs[] = {
    {"a divisor that is 0 where the domain is empty", REWRITE_factors_out,
     "input x[s], last_zero[t] output o[t] = sum[s where s > t](x[s] / last_zero[t])",
     "input x[s], l[t] output o[t] = sum[s where s <= t](x[s] / l[t])", true, true},
    {"a divisor that is the sum over the same domain", REWRITE_factors_out,
     "input x[s] l[t] = sum[s where s > t](x[s] * x[s]) output o[t] = sum[s where s > t](x[s] / l[t])",
     "input x[s] l[t] = sum[s where s <= t](x[s] * x[s]) output o[t] = sum[s where s <= t](x[s] / l[t])", true, true},
    {"an infinite factor of a sum over nothing", REWRITE_factors_out,
     "input x[s], first_huge[t] output o[t] = sum[s where s < t](exp(first_huge[t]) * x[s])",
     "input x[s], a[t] output o[t] = sum[s where s < t](sin(a[t]) * x[s])", true, true},
    {"an infinite factor that another order would bring to a sum over nothing", REWRITE_contraction,
     "input a[s], b[s,d], first_huge[t,d] "
     "output o[t] = sum[s where s < t](a[s] * sum[d](b[s,d] * exp(first_huge[t,d])))",
     "input a[s], b[s,d], c[t,d] output o[t] = sum[s where s < t](a[s] * sum[d](b[s,d] * sin(c[t,d])))", true, true},
    {"a part of a sum over nothing that is infinite", REWRITE_split_sums,
     "input a[s], c[s], first_huge[t,d] output o[t,d] = sum[s where s < t]((a[s] + exp(first_huge[t,d])) * c[s])",
     "input a[s], c[s], b[t,d] output o[t,d] = sum[s where s < t]((a[s] + sin(b[t,d])) * c[s])", true, true},
    {"a common divisor that is 0 where no condition holds", REWRITE_common_factor,
     "input x[t], y[t], first_zero[t] output o[t] = (if t > 3 then x[t] / first_zero[t] else 0) + "
     "(if (t == 1) or (t == 2) then y[t] / first_zero[t] else 0)",
     "input x[t], y[t], a[t] output o[t] = (if t > 3 then x[t] / (1 + a[t] * a[t]) else 0) + "
     "(if (t == 1) or (t == 2) then y[t] / (1 + a[t] * a[t]) else 0)",
     true, true},
    {"an exponential without its maximum", REWRITE_logarithms,
     "input z[t,s] output o[t,s] = exp(z[t,s]) / sum[s](exp(z[t,s]))",
     "input z[t,s] m[t] = max[s](z[t,s]) output o[t,s] = exp(z[t,s] - m[t]) / sum[s](exp(z[t,s] - m[t]))", true, true},
    {"a denominator that may be a sum over nothing", REWRITE_logarithms,
     "input z[t,s], a[t] m[t] = max[s where s < t](z[t,s]) "
     "output o[t,s] = exp(a[t] * a[t] - z[t,s] * z[t,s]) / (sum[s where s < t](exp(z[t,s] - m[t])))",
     "input z[t,s], a[t] m[t] = max[s where s <= t](z[t,s]) "
     "output o[t,s] = exp(a[t] * a[t] - z[t,s] * z[t,s]) / (sum[s where s <= t](exp(z[t,s] - m[t])))",
     true, false},
    {"a denominator that may be 0", REWRITE_logarithms,
     "input z[t,s], first_zero[t] output o[t,s] = exp(z[t,s]) / (first_zero[t] * first_zero[t])",
     "input z[t,s], a[t] output o[t,s] = exp(z[t,s]) / (2 + sin(a[t]))", true, false},
    {"a denominator that may be infinite", REWRITE_logarithms,
     "input z[t,s], first_huge[t] output o[t,s] = exp(z[t,s]) / (1 + exp(first_huge[t]))",
     "input z[t,s], a[t] output o[t,s] = exp(z[t,s]) / (1 + exp(sin(a[t])))", true, true},
    {"the root of what may be negative", REWRITE_powers, "input a[t] output o[t] = sqrt(a[t]) * sqrt(a[t])",
     "input a[t] output o[t] = sqrt(a[t] * a[t]) * sqrt(a[t] * a[t])", true, false},
    {"a difference of the spec's own, of what may be infinite", REWRITE_cancel,
     "input last_infinite[t] output o[t] = last_infinite[t] - last_infinite[t]", NULL, true, false},
    {"the point of a sum out of range", REWRITE_one_point,
     "input a[s], b[t,s] output o[t] = sum[s where s == t + 2](a[s] * b[t,s])",
     "input a[s], b[t,s] output o[t] = sum[s where s == t](a[s] * b[t,s])", false, true},
    {"the point of a sum out of range, at an infinite factor", REWRITE_one_point,
     "input a[s], last_huge[t] output o[t] = sum[s where s == t + 2](a[s] * exp(last_huge[t]))",
     "input a[s], b[t] output o[t] = sum[s where s == t](a[s] * exp(b[t]))", false, true},
    {"a sum over another domain than the one that exists", REWRITE_existing_product,
     "input p[t,s], v[s,d], g[t,d] output o[t,d] = sum[s where s <= t](p[t,s] * v[s,d]) "
     "output c[t] = sum[s where s < t](p[t,s] * sum[d](g[t,d] * v[s,d]))",
     "input p[t,s], v[s,d], g[t,d] output o[t,d] = sum[s where s <= t](p[t,s] * v[s,d]) "
     "output c[t] = sum[s where s <= t](p[t,s] * sum[d](g[t,d] * v[s,d]))",
     true, true},
    {"a domain that is empty", REWRITE_inhabited,
     "input a[t], first_zero[t] output o[t] = if any[s where s < t](s + 1 >= t) then a[t] / first_zero[t] else 0",
     "input a[t], b[t] output o[t] = if any[s where s <= t](s + 1 >= t) then a[t] / b[t] else 0", true, true},
    {"a sum over more than the one that exists", REWRITE_existing_product,
     "input p[t,s], v[s,d], g[t,d] output o[t,d] = sum[s where s <= t](p[t,s] * v[s,d]) "
     "output c[t] = sum[s](p[t,s] * sum[d](g[t,d] * v[s,d]))",
     "input p[t,s], v[s,d], g[t,d] output o[t,d] = sum[s](p[t,s] * v[s,d]) "
     "output c[t] = sum[s](p[t,s] * sum[d](g[t,d] * v[s,d]))",
     true, true},
    {"another condition than the one that holds", REWRITE_nested_conditions,
     "input a[t], b[t] output o[t] = if a[t] < 0 then (if b[t] < 0 then a[t] else b[t]) else a[t] + b[t]",
     "input a[t], b[t] output o[t] = if a[t] < 0 then (if a[t] < 0 then a[t] * b[t] else b[t]) else a[t] + b[t]", true,
     true},
};

/* How many elements are not finite. */
static size_t wild(const graph *g) {
    size_t count, wild = 0;
    double *x = results_of(g, &count);
    for (size_t k = 0; k < count; k++)
        wild += !isfinite(x[k]);
    free(x);
    return wild;
}

/* The values, and with them the gradients, of a text before and after; returns how many things are wrong. */
static unsigned keeps(const char *what, const char *text, bool gradients, bool finite) {
    graph *plain = graph_of_text(text, gradients), *simple = graph_of_text(text, gradients);
    simplify_outputs(simple, NULL);
    double error   = difference_of(plain, simple);
    unsigned wrong = 0;
    if (!(error <= ERROR) && ++wrong)
        print_message("%s: %s differ by %g\n", what, gradients ? "gradients" : "values", error);
    if (finite && wild(simple) && ++wrong)
        print_message("%s: %s are not finite\n", what, gradients ? "gradients" : "values");
    if (finite && !gradients && wild(plain) && ++wrong)
        print_message("%s: values of the spec are not finite\n", what);
    graph_free(plain);
    graph_free(simple);
    return wrong;
}

/* Is the text computed in another way where the rule may be used? */
static bool matters(const char *text, reason rule) {
    graph *with = graph_of_text(text, false), *without = graph_of_text(text, false);
    simplify_outputs(with, NULL);
    simplify_without(without, rule);
    measure a = measure_of(with), b = measure_of(without);
    graph_free(with);
    graph_free(without);
    return a.operations != b.operations || a.nodes != b.nodes || a.by[rule] != b.by[rule];
}

static unsigned check(const pair *p) {
    unsigned wrong = keeps(p->what, p->fails, false, p->finite) + keeps(p->what, p->fails, true, false);
    if (p->stays && matters(p->fails, p->rule) && ++wrong)
        print_message("%s: %s rewrites it: %s\n", p->what, reason_name(p->rule), p->fails);
    if (!p->holds)
        return wrong;
    wrong += keeps(p->what, p->holds, false, false) + keeps(p->what, p->holds, true, false);
    if (!matters(p->holds, p->rule) && ++wrong)
        print_message("not %s: %s does nothing: %s\n", p->what, reason_name(p->rule), p->holds);
    return wrong;
}

static void obligations(void **state) {
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        wrong += check(&pairs[i]);
    assert_int_equal(wrong, 0);
}

/* Sums that are easily taken for others; values and gradients are all finite. */
static const char *const sums[] = {
    /* an index in the condition alone: the sum counts */
    "input a[t] output o[t] = sum[s where s <= t](a[t])",
    "input a[t], b[s] output o[t] = sum[s, r where r < s](a[t] * b[s])",
    "input a[t] output o[t] = sum[s](if s < t then a[t] * a[t] else 0)",
    /* an index nowhere: the sum multiplies */
    "input a[t], b[t] output o[t] = sum[s, d](a[t] * b[t])",
    "input a[t] output o[t] = sum[s, r where s == t](a[t])",
    /* conditions on two summed indices */
    "input a[s], b[r] output o[t] = sum[s, r where s <= t and r <= s](a[s] * b[r])",
    "input a[s], b[r], c[t,s] output o[t] = sum[s, r where r <= s and r + s == t + 1](a[s] * b[r] * c[t,s])",
    "input a[s], b[s,r], c[r,d] output o[t,d] = sum[s, r where s < t and r < s](a[s] * b[s,r] * c[r,d])",
    "input a[s], b[r,d], g[t,d] output o[t] = sum[s where s < t](a[s] * sum[r where r < s](sum[d](b[r,d] * g[t,d])))",
    /* one sum in another over the same index */
    "input a[s], b[t,s] output o[t] = sum[s](b[t,s] * sum[r where r <= t](a[r] * b[t,r]))",
    /* two points of one index */
    "input a[s] output o[t] = sum[s where s == t and s == 5 - t](a[s])",
    "input a[s], b[s,r] output o[t] = sum[s, r where s == t + 1 and r == s + 1](a[s] * b[s,r])",
};

static void others(void **state) {
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        wrong += keeps(sums[i], sums[i], false, true) + keeps(sums[i], sums[i], true, true);
    assert_int_equal(wrong, 0);
}

/* Attention in which the first position sees nothing, written in three ways: its row is 0, in values and gradients. */
static const char unguarded[] =
    "input z[t,s], v[s,d] m[t] = stop(max[s where s < t](z[t,s])) l[t] = sum[s where s < t](exp(z[t,s] - m[t])) "
    "output o[t,d] = sum[s where s < t](exp(z[t,s] - m[t]) / l[t] * v[s,d])";
static const char *const blind[] = {
    "input z[t,s], v[s,d] output o[t,d] = sum[s](softmax[s where s < t](z[t,s]) * v[s,d])",
    "input z[t,s], v[s,d] p[t,s] = softmax[s where s < t](z[t,s]) output o[t,d] = sum[s where s < t](p[t,s] * v[s,d])",
    unguarded,
};

static void attends_to_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof blind / sizeof *blind; i++) {
        assert_int_equal(keeps(blind[i], blind[i], true, true), 0);
        graph *g = graph_of_text(blind[i], true);
        simplify_outputs(g, NULL);
        size_t count, at = 0;
        double *x = results_of(g, &count);
        for (uint32_t k = 0; k < graph_output_count(g); at += (size_t)graph_output(g, k++)->elements) {
            const output *o = graph_output(g, k);
            bool rows       = strcmp(graph_index_name(g, o->index[0]), "t") == 0;
            for (int64_t e = 0; rows && e < o->elements / 6; e++)
                assert_true(x[at + (size_t)e] == 0);
        }
        free(x);
        graph_free(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(obligations),
        cmocka_unit_test(others),
        cmocka_unit_test(attends_to_nothing),
    };
    return cmocka_run_group_tests_name("obligations", tests, NULL, NULL);
}
