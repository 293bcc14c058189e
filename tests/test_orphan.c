/* Why a parameter has no gradient, one reason each, and where that is said. */
#include "derive.h"
#include "gradcheck.h"
#include "orphan.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static const struct {
    const char *definitions, *why; /* why: of the parameter w; NULL: it has a gradient */
} subjects[] = {
    {"loss l = sum[t](x[t] * w[t])", NULL},
    {"loss l = sum[t](x[t])", "nothing that is computed depends on it"},
    {"a[t] = w[t] * x[t]  loss l = sum[t](x[t])", "nothing that is computed depends on it"},
    {"output accuracy = sum[t](w[t])  loss l = sum[t](x[t])", "no loss depends on it, only the output `accuracy`"},
    {"output a[t] = w[t] output b[t] = x[t] output c = sum[t](w[t]) output d[t] = w[t] + 1 loss l = sum[t](x[t])",
     "no loss depends on it, only the outputs `a`, `c` and `d`"},
    {"output n = count[t](w[t] > 0)  loss l = sum[t](x[t])",
     "no loss depends on it, only the output `n`, which is not a real number"},
    {"output n = count[t](w[t] > 0) output m[t] = int(w[t])  loss l = sum[t](x[t])",
     "no loss depends on it, only the outputs `n` and `m`, which are not real numbers"},
    {"loss l = sum[t](x[t] * stop(w[t]))", "it acts only through `stop`, which has no derivative"},
    {"loss l = sum[t](if w[t] > 0 then x[t] else 1)", "it acts only through comparisons, which have no derivative"},
    {"loss l = sum[t where w[t] == 1](x[t])", "it acts only through comparisons, which have no derivative"},
    {"loss l = sum[t](x[t] * floor(w[t] * 3))", "it acts only through `floor`, which has no derivative"},
    {"loss l = sum[t](x[t] * int(exp(w[t])))", "it acts only through `int`, which has no derivative"},
    {"loss l = sum[t where topk[t](w[t] * x[t], 2)](x[t])", "it acts only through `topk`, which has no derivative"},
    {"loss l = x[argmax[t](w[t])]", "it acts only through comparisons, which have no derivative"},
    {"loss l = sum[t](floor(w[t]) * x[t] + stop(w[t]) * (if topk[t](w[t], 2) then 1 else 0))",
     "it acts only through `stop`, `topk` and `floor`, which have no derivative"},
    /* a step that does not pass on what it read */
    {"h[t] = stop(h[t-1]) + x[t] from w[0]  loss l = h[T-1]", "it acts only through `stop`, which has no derivative"},
    {"h[t] = h[t-1] * x[t] from w[0]  loss l = h[T-1]", NULL},
    {"h[t] = h[t-1] + stop(w[t]) from 0  loss l = h[T-1]", "it acts only through `stop`, which has no derivative"},
    {"p[t] = p[t-1] + w[t] + stop(q[t-1]) from 0  q[t] = q[t-1] * 0.5 + p[t-1] from 0  loss l = stop(q[T-1])",
     "it acts only through `stop`, which has no derivative"},
    /* one of two paths has a derivative in an output that no loss reads */
    {"output a[t] = w[t] * x[t]  loss l = sum[t](x[t] * stop(w[t]))",
     "it acts only through `stop`, which has no derivative"},
    {"loss l = sum[t](x[t] * (stop(w[t]) + w[t]))", NULL},
};

static graph *of_text(const char *definitions) {
    char text[1024];
    diagnostics d = {.stream = fopen("/dev/null", "w")};
    graph *g      = graph_new();
    snprintf(text, sizeof text, "mechanism m \"m\" size T = 4 index t:T input x[t] param w[t] %s output last[t] = x[t]",
             definitions);
    spec *s = spec_read_text("m.att", text, strlen(text), NULL, &d);
    assert_non_null(s);
    assert_true(elaborate_mechanism(g, s, &(elaboration){0}, &d));
    spec_free(s);
    fclose(d.stream);
    return g;
}

static void reasons(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        graph *g = of_text(subjects[i].definitions);
        uint32_t orphan;
        char why[ORPHAN_TEXT] = "";
        bool complete         = derive_parameter_gradients(g, &orphan);
        if (!complete) {
            assert_string_equal(graph_tensor(g, orphan)->name, "w");
            orphan_explain(g, orphan, why, sizeof why);
        }
        if (strcmp(why, subjects[i].why ? subjects[i].why : "") != 0)
            print_message("%s\n  is: %s\n", subjects[i].definitions, why);
        assert_string_equal(why, subjects[i].why ? subjects[i].why : "");
        graph_free(g);
    }
}

/* Of a path that derivation finds and simplification takes away. */
static void cancelled(void **state) {
    (void)state;
    graph *g = of_text("loss l = sum[t](w[t] * x[t])");
    char why[ORPHAN_TEXT], cut[12];
    orphan_explain(g, 1, why, sizeof why);
    assert_string_equal(graph_tensor(g, 1)->name, "w");
    assert_string_equal(why, "what it adds to the loss is constant, or cancels");
    orphan_explain(g, 1, cut, sizeof cut);
    assert_string_equal(cut, "what it add");
    graph_free(g);
}

/* A warning for each parameter without a gradient, at its declaration, once; none for what elaboration warns of. */
static void warnings(void **state) {
    (void)state;
    static const char text[] =
        "mechanism m \"m\"\nsize T = 4\nindex t:T\ninput x[t]\n"
        "param a[t], b[t], c[t], unread[t]\noutput y[t] = a[t] * x[t] + stop(b[t]) + floor(c[t])\n";
    char *said    = NULL;
    size_t size   = 0;
    diagnostics d = {.stream = stderr};
    diagnostics_collect(&d);
    spec *s  = spec_read_text("m.att", text, strlen(text), NULL, &d);
    graph *g = graph_new();
    assert_true(elaborate_mechanism(g, s, &(elaboration){0}, &d));
    assert_int_equal(d.warnings, 1);
    assert_true(gradcheck_add_backward(g));
    uint8_t *known = calloc(graph_tensor_count(g), 1);
    orphan_warn(g, s, known, &d);
    derive_forget_stops(g); /* now it could not be said any more why */
    orphan_warn(g, s, known, &d);
    assert_int_equal(d.warnings, 3);
    assert_int_equal(d.errors, 0);
    free(known);
    graph_free(g);
    spec_free(s);
    FILE *stream = open_memstream(&said, &size);
    diagnostics_print_json(&d, stream);
    fclose(stream);
    cJSON *all                        = cJSON_Parse(said);
    static const char *const wanted[] = {
        "the gradient of parameter `b` is 0: it acts only through `stop`, which has no derivative",
        "the gradient of parameter `c` is 0: it acts only through `floor`, which has no derivative"};
    for (int i = 0; i < 2; i++) {
        const cJSON *item  = cJSON_GetArrayItem(cJSON_GetObjectItem(all, "diagnostics"), i);
        const cJSON *start = cJSON_GetObjectItem(cJSON_GetObjectItem(item, "range"), "start");
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(item, "message")), wanted[i]);
        assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(start, "line")), 4);
        assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(start, "character")), 12 + 6 * i);
    }
    cJSON_Delete(all);
    free(said);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reasons), cmocka_unit_test(cancelled),
                                       cmocka_unit_test(warnings)};
    return cmocka_run_group_tests_name("orphan", tests, NULL, NULL);
}
