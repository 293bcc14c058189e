/* The rewrites: each is made where a small spec asks for it, and switched off it changes only cost. What has been
 * simplified stays as it is when it is simplified again, and two runs agree. Where rewrites must not be made is
 * tests/test_obligations.c; random specs are tests/test_random.c. */
#include "simplified.h"

#include <glob.h>

static const double ERROR = 1e-12;

/* The spec that a rewrite is shown on, and what it saves there. */
static const struct example {
    reason rule;
    enum {
        OPERATIONS,
        NODES,
        STATISTICS, /* values of rows that the gradients' values of pairs are computed from: memory, for operations */
        WHOLE       /* nodes; what is left was there in any case, so that none has its reason */
    } saves;
    bool gradients; /* the spec with its gradients; where these are other readers of what is rewritten, without */
    const char *text;
} examples[] = {
    {REWRITE_common_factor, OPERATIONS, true, "input a[t], x[t], y[t] output o[t] = a[t] * x[t] + a[t] * y[t]"},
    {REWRITE_exponentials, OPERATIONS, true, "input a[t], b[t] output o[t] = exp(a[t]) * exp(b[t])"},
    {REWRITE_logarithms, STATISTICS, true,
     "input z[t,s] m[t] = stop(max[s](z[t,s])) "
     "output o[t,s] = exp(z[t,s] - m[t]) / sum[s](exp(z[t,s] - m[t]))"},
    {REWRITE_powers, OPERATIONS, false, "input a[t] output o[t] = a[t] * a[t] * a[t] * a[t]"},
    {REWRITE_narrow_first, OPERATIONS, false, "input c[t,s,d], a[t], b[s] output o[t,s,d] = c[t,s,d] * a[t] * b[s]"},
    {REWRITE_domains, NODES, true, "input a[s], b[t,s] output o[t] = sum[s](if s <= t then a[s] * b[t,s] else 0)"},
    {REWRITE_conditions_out, OPERATIONS, false,
     "input a[s], c[t,s] output o[t] = sum[s](a[s] * c[t,s]) output p[t] = sum[s where t < 3](a[s] * c[t,s])"},
    /* more factors than a sum has room for */
    {REWRITE_factors_out, OPERATIONS, false,
     "input a[t], b[t], c[t], g[t], h[t], i[t], j[t], k[t], x[t,s] "
     "output o[t] = sum[s](a[t] * b[t] * c[t] * g[t] * h[t] * i[t] * j[t] * k[t] * x[t,s])"},
    {REWRITE_contraction, OPERATIONS, false,
     "input a[t], b[t,s], c[s,r] output o[r] = sum[t](a[t] * sum[s](b[t,s] * c[s,r]))"},
    {REWRITE_existing_product, OPERATIONS, true,
     "input p[t,s], v[s,d], g[t,d] output o[t,d] = sum[s](p[t,s] * v[s,d]) "
     "output c[t] = sum[s](p[t,s] * sum[d](g[t,d] * v[s,d]))"},
    {REWRITE_split_sums, OPERATIONS, true, "input a[s], b[t], c[s] output o[t] = sum[s]((a[s] + b[t]) * c[s])"},
    {REWRITE_join_sums, OPERATIONS, false,
     "input a[t,d,s], b[t,s], c[t,s], g[t] output o[t,d] = sum[s](a[t,d,s] * b[t,s]) + g[t] * sum[s](a[t,d,s] * "
     "c[t,s])"},
    {REWRITE_cancel, OPERATIONS, true,
     "input a[t], b[t], c[t] output p[t] = a[t] * b[t] output q[t] = a[t] * c[t] output o[t] = a[t] - a[t]"},
    {REWRITE_nested_conditions, OPERATIONS, true,
     "input a[t], b[t], c[t] output o[t] = if a[t] < 0 then (if a[t] < 0 then b[t] else c[t] * c[t]) else c[t]"},
    {REWRITE_inhabited, WHOLE, true,
     "input a[t], b[t] output o[t] = if any[s where s <= t](s + 1 >= t) then a[t] * b[t] else 0"},
    {REWRITE_renaming, WHOLE, false, "input a[t], b[t], c[t] u[s] = a[s] * b[s] output o[t] = u[t] - a[t] * c[t]"},
    {REWRITE_one_point, OPERATIONS, true, "input a[s], b[s,r] output o[t,r] = sum[s where s == t](a[s] * b[s,r])"},
};

static graph *simplified(const struct example *e, reason without) {
    graph *g = graph_of_text(e->text, e->gradients);
    char error[512];
    simplify_without(g, without);
    if (!graph_verify(g, error, sizeof error))
        fail_msg("%s: %s", e->text, error);
    return g;
}

/* How many nodes with fewer indices the pairs of the gradients read, what they are computed from left aside. */
static unsigned statistics_of(const graph *g) {
    size_t nodes  = graph_node_count(g);
    uint8_t *pair = need(calloc(nodes + 1, 1)), *row = need(calloc(nodes + 1, 1));
    unsigned count = 0;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (strncmp(graph_output(g, i)->name, "gradient.", 9) == 0)
            pair[graph_output(g, i)->node] = 1;
    for (size_t n = nodes; n > 0; n--) {
        node_view v = graph_view(g, (node)n);
        for (unsigned k = 0; pair[n] && k < v.child_count; k++) {
            node_view c                       = graph_view(g, v.child[k]);
            bool narrow                       = c.free && c.free != v.free && !(c.free & ~v.free);
            (narrow ? row : pair)[v.child[k]] = 1;
        }
        count += row[n] && v.type == TYPE_FLOAT && v.op != NODE_TENSOR;
    }
    free(pair);
    free(row);
    return count;
}

static double saved(const struct example *e, const graph *a, const graph *b, const measure *with,
                    const measure *without) {
    if (e->saves == STATISTICS)
        return (double)statistics_of(b) - (double)statistics_of(a);
    return e->saves == OPERATIONS ? without->operations - with->operations
                                  : (double)without->nodes - (double)with->nodes;
}

/* Shows one rewrite; returns how many things are wrong with it. */
static unsigned show(const struct example *e) {
    const char *name = reason_name(e->rule);
    graph *plain = graph_of_text(e->text, e->gradients), *with = simplified(e, REASON_SPEC),
          *without = simplified(e, e->rule);
    double error   = fmax(difference_of(plain, with), difference_of(plain, without));
    measure m = measure_of(with), off = measure_of(without);
    unsigned wrong = 0;
    if (e->saves != WHOLE && !m.by[e->rule] && ++wrong)
        print_message("%s does not fire on %s\n", name, e->text);
    if (!(error <= ERROR) && ++wrong)
        print_message("%s: results differ by %g on %s\n", name, error, e->text);
    if (!(saved(e, with, without, &m, &off) > 0) && ++wrong)
        print_message("%s saves nothing on %s: %g operations, %zu nodes with it, %g, %zu without\n", name, e->text,
                      m.operations, m.nodes, off.operations, off.nodes);
    graph_free(plain);
    graph_free(with);
    graph_free(without);
    return wrong;
}

static void each_rewrite(void **state) {
    (void)state;
    unsigned wrong = 0;
    for (reason why = REASON_SPEC + 1; why < REASON_REWRITES; why++) {
        unsigned shown = 0;
        for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
            if (examples[i].rule == why && ++shown)
                wrong += show(&examples[i]);
        if (!shown && ++wrong)
            print_message("no example of %s: %s\n", reason_name(why), reason_text(why));
    }
    assert_int_equal(wrong, 0);
}

/* Every rewrite on every example: without it nothing becomes cheaper, and no result changes. */
static void without_each(void **state) {
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        graph *plain = graph_of_text(examples[i].text, examples[i].gradients), *with = simplified(&examples[i], 0);
        double operations = measure_of(with).operations;
        for (reason why = REASON_SPEC + 1; why < REASON_REWRITES; why++) {
            graph *without = simplified(&examples[i], why);
            double error   = difference_of(plain, without);
            measure m      = measure_of(without);
            bool cheaper = m.operations < operations && why != REWRITE_logarithms; /* which saves statistics instead */
            if ((!(error <= ERROR) || cheaper) && ++wrong)
                print_message("without %s: error %g, %g operations, with it %g, of %s\n", reason_name(why), error,
                              m.operations, operations, examples[i].text);
            graph_free(without);
        }
        graph_free(plain);
        graph_free(with);
    }
    assert_int_equal(wrong, 0);
}

/* All specs */

static graph *graph_of_file(const char *path) {
    diagnostics d = {.stream = stderr};
    spec *s       = need(spec_read(path, NULL, &d));
    binding size[64];
    elaboration how   = {.training = true, .bindings = size};
    how.binding_count = gradcheck_sizes(s, &(elaboration){.training = true}, size);
    graph *g          = graph_of(s, &how, true, &d);
    spec_free(s);
    return g;
}

static char *text_of(const graph *g) {
    static char *text; /* static: gcc 12 takes what is returned for a pointer to a variable of this function */
    static size_t size;
    FILE *stream = need(open_memstream(&text, &size));
    graph_print(g, stream);
    fclose(stream);
    return text;
}

static void again(const char *path, unsigned *wrong) {
    graph *once = graph_of_file(path), *other = graph_of_file(path), *twice = graph_of_file(path);
    simplify_outputs(once, NULL);
    simplify_outputs(other, NULL);
    simplify_outputs(twice, NULL);
    simplify_outputs(twice, NULL);
    char *a = text_of(once), *b = text_of(other);
    if (strcmp(a, b) != 0 && ++*wrong)
        print_message("%s: two runs differ\n", path);
    free(a);
    free(b);
    double error = difference_of(once, twice);
    measure m = measure_of(once), n = measure_of(twice);
    if ((!(error <= ERROR) || m.operations != n.operations || m.nodes != n.nodes) && ++*wrong)
        print_message("%s: simplified again: error %g, operations %.0f, then %.0f, nodes %zu, then %zu\n", path, error,
                      m.operations, n.operations, m.nodes, n.nodes);
    graph_free(once);
    graph_free(other);
    graph_free(twice);
}

static void all_specs_again(void **state) {
    (void)state;
    glob_t found;
    unsigned wrong = 0;
    assert_int_equal(glob(TEST_SOURCE_DIR "/specs/*.att", 0, NULL, &found), 0);
    assert_int_equal(glob(TEST_SOURCE_DIR "/specs/more/*.att", GLOB_APPEND, NULL, &found), 0);
    assert_true(found.gl_pathc > 20);
    for (size_t i = 0; i < found.gl_pathc; i++)
        again(found.gl_pathv[i], &wrong);
    globfree(&found);
    assert_int_equal(wrong, 0);
}

/* Operations of all outputs and gradients, at the specs' own sizes: simplified no spec needs more, but for what
 * logarithms take for each row. */
static void no_dearer(void **state) {
    static const char *const where[] = {"/specs/*.att", "/specs/more/*.att", "/tests/changes/*.att"};
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
        char pattern[4096];
        glob_t list = {0};
        snprintf(pattern, sizeof pattern, "%s%s", TEST_SOURCE_DIR, where[i]);
        assert_int_equal(glob(pattern, 0, NULL, &list), 0);
        for (size_t k = 0; k < list.gl_pathc; k++) {
            diagnostics d = {.stream = stderr};
            spec *s       = need(spec_read(list.gl_pathv[k], NULL, &d));
            graph *plain = graph_of(s, &(elaboration){0}, true, &d), *simple = graph_of(s, &(elaboration){0}, true, &d);
            simplify_outputs(simple, NULL);
            double before = measure_of(plain).operations, after = measure_of(simple).operations;
            if (after > 1.005 * before && ++wrong)
                print_message("%s: %g operations, %g simplified\n", list.gl_pathv[k], before, after);
            graph_free(plain);
            graph_free(simple);
            spec_free(s);
        }
        globfree(&list);
    }
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rewrite),
        cmocka_unit_test(without_each),
        cmocka_unit_test(all_specs_again),
        cmocka_unit_test(no_dearer),
    };
    return cmocka_run_group_tests_name("simplify", tests, NULL, NULL);
}
