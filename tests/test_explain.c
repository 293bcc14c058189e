/* Why lines are there: every line of a gradient has a reason or a definition, every rule of derivation is some line's.
 */
#include "derive.h"
#include "elaborate.h"
#include "explain.h"
#include "gradcheck.h"
#include "reasons.h"
#include "rewrite.h"

#include <glob.h>
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

#define SPECS TEST_SOURCE_DIR "/specs/"

/* A mechanism with its gradients, as --dump=grad has it. Frees the spec. */
static graph *gradients(spec *s, diagnostics *d) {
    graph *g = graph_new();
    assert_non_null(s);
    assert_true(elaborate_mechanism(g, s, &(elaboration){.training = true}, d));
    size_t forward = graph_node_count(g);
    assert_true(gradcheck_add_backward(g));
    node total = derive_total_loss(g), about;
    for (size_t n = forward + 1; n <= graph_node_count(g); n++) /* what is the spec's was made again in a scan */
        assert_true(graph_reason(g, (node)n, &about) != REASON_SPEC || about || n == total);
    assert_int_equal(graph_reason(g, graph_float(g, 98765.5), NULL), REASON_SPEC); /* from now on */
    derive_forget_stops(g);
    spec_free(s);
    return g;
}

static graph *of_file(const char *path) {
    diagnostics d = {.stream = stderr};
    return gradients(spec_read(path, NULL, &d), &d);
}

static graph *of_text(const char *definitions) {
    char text[1024];
    FILE *nowhere = fopen("/dev/null", "w"); /* warnings of what is not read */
    diagnostics d = {.stream = nowhere};
    snprintf(text, sizeof text, "mechanism m \"m\" size T = 4 index t:T s:T input x[t], w[t] %s", definitions);
    graph *g = gradients(spec_read_text("m.att", text, strlen(text), NULL, &d), &d);
    fclose(nowhere);
    return g;
}

/* What --explain prints, to be freed. Frees the graph. */
static char *explained(graph *g) {
    static char *text; /* static: gcc 12 takes what is returned for a pointer to a variable of this function */
    static size_t size;
    FILE *stream = open_memstream(&text, &size);
    explain_print(g, stream);
    fclose(stream);
    graph_free(g);
    return text;
}

/* A node that specs have no words for: a triangular system. */
static graph *of_system(void) {
    graph *g   = graph_new();
    index_id t = graph_index(g, "t", 4), s = graph_index(g, "s", 4);
    tensor matrix   = {.name = "matrix", .kind = TENSOR_INPUT, .type = TYPE_FLOAT, .rank = 2, .index = {t, s}};
    tensor right    = {.name = "right", .kind = TENSOR_INPUT, .type = TYPE_FLOAT, .rank = 1, .index = {t}};
    node m          = graph_tensor(g, graph_add_tensor(g, &matrix))->node;
    node r          = graph_tensor(g, graph_add_tensor(g, &right))->node;
    output solution = {
        .name = "x", .kind = OUTPUT_VALUE, .rank = 1, .index = {t}, .node = graph_solve(g, t, s, false, m, r)};
    graph_add_output(g, &solution);
    assert_true(gradcheck_add_backward(g));
    return g;
}

static size_t width(const char *line, size_t bytes) {
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++)
        count += ((unsigned char)line[i] & 0xC0) != 0x80;
    return count;
}

static bool is_node(const char *line) {
    return *line == '%';
}

/* The handles %N of the lines of a text; freed by the caller. */
static uint8_t *handles(const char *text, size_t *count) {
    *count = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        if (is_node(line) && (size_t)atol(line + 1) >= *count)
            *count = (size_t)atol(line + 1) + 1;
    uint8_t *there = calloc(*count + 1, 1);
    assert_non_null(there);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        if (is_node(line))
            there[atol(line + 1)] = 1;
    return there;
}

/* Every line of a node has a comment, which names only lines that are there, and is no wider than the page; the legend
 * counts all that have a rule. Returns how many belong to no definition and have no rule. */
static size_t check(const char *text) {
    size_t unknown = 0, ruled = 0, counted = 0, count;
    uint8_t *there = handles(text, &count);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        size_t length = strcspn(line, "\n");
        if (strncmp(line, "# ", 2) == 0) { /* the last parenthesis is the count */
            const char *open = line + length;
            while (*open != '(')
                open--;
            counted += (size_t)atol(open + 1);
        }
        if (!is_node(line))
            continue;
        const char *comment = memmem(line, length, "  # ", 4);
        assert_non_null(comment);
        assert_true(width(line, length) <= EXPLAIN_WIDTH);
        char said[1024];
        snprintf(said, sizeof said, "%.*s", (int)(length - (size_t)(comment + 4 - line)), comment + 4);
        unknown += strcmp(said, reason_text(REASON_SPEC)) == 0;
        ruled += strstr(said, "  ") != NULL;
        for (const char *at = strchr(said, '%'); at; at = strchr(at + 1, '%')) {
            bool known = (size_t)atol(at + 1) < count && there[atol(at + 1)];
            if (!known)
                print_message("no such line: %s\n", said);
            assert_true(known);
        }
    }
    free(there);
    assert_int_equal(ruled, counted);
    return unknown;
}

static bool has_number_between(const char *text, const char *before, const char *after) {
    const char *at = strstr(text, before);
    if (!at)
        return false;
    at += strlen(before);
    return strncmp(at + strspn(at, "0123456789"), after, strlen(after)) == 0;
}

static void attention(void **state) {
    (void)state;
    char *text = explained(of_file(SPECS "mha.att"));
    assert_int_equal(check(text), 0);
    /* softmax's exponential, which was rebuilt when STOPs were forgotten, and its derivative */
    assert_true(has_number_between(text, "# exp of %", " in p "));
    assert_non_null(strstr(text, "y = exp(a): da += dy y\n"));
    assert_non_null(strstr(text, "= tensor Wq                     # parameter\n"));
    assert_non_null(strstr(text, "\n# exp: y = exp(a): da += dy y (1 node)\n"));
    free(text);
}

static void mark_rules(const graph *g, bool *fired) {
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    graph_print(g, stream);
    fclose(stream);
    size_t count;
    uint8_t *there = handles(text, &count);
    for (node n = 1; n < count; n++)
        if (there[n])
            fired[graph_reason(g, n, NULL)] = true;
    free(there);
    free(text);
}

/* What the specs do not do. */
static const char *const small[] = {
    "output y[t] = min(x[t], w[t])",
    "output y[t] = x[t] ^ w[t]",
    "output y[t] = sin(x[t])",
    "output y[t] = cos(x[t]) + 0.5",
    "output y[t] = erf(x[t])",
    "output y[t] = abs(x[t])",
    "output y = product[t](x[t])",
    "output y = max[t](x[t])",
    "output y = min[t](x[t])",
    "h[t] = h[t-1] * x[t] from w[0] output y[t] = h[t]",
    "output y[t] = x[t]",
    "loss l = sum[t](x[t]) output y[t] = w[t]",
};

static void every_rule(void **state) {
    (void)state;
    bool fired[REASONS] = {false};
    glob_t found;
    assert_int_equal(glob(SPECS "*.att", 0, NULL, &found), 0);
    assert_int_equal(glob(SPECS "more/*.att", GLOB_APPEND, NULL, &found), 0);
    assert_true(found.gl_pathc > 20);
    for (size_t i = 0; i < found.gl_pathc + sizeof small / sizeof *small; i++) {
        graph *g = i < found.gl_pathc ? of_file(found.gl_pathv[i]) : of_text(small[i - found.gl_pathc]);
        mark_rules(g, fired);
        char *text = explained(g);
        check(text);
        free(text);
    }
    globfree(&found);
    graph *system = of_system();
    mark_rules(system, fired);
    free(explained(system));
    unsigned missing = 0;
    for (int why = REASON_REWRITES + 1; why < REASONS; why++)
        if (!fired[why]) {
            print_message("never fired: %s: %s\n", reason_name((reason)why), reason_text((reason)why));
            missing++;
        }
    assert_int_equal(missing, 0);
}

static node add_input(graph *g, const char *name, index_id t) {
    tensor v = {.name = (char *)name, .type = TYPE_FLOAT, .rank = 1, .index = {t}};
    return graph_tensor(g, graph_add_tensor(g, &v))->node;
}

/* Rules applied to what other rules made. */
static void chains(void **state) {
    (void)state;
    graph *g   = graph_new();
    index_id t = graph_index(g, "t", 4);
    node x     = add_input(g, "x", t);
    node n     = graph_pointwise(g, NODE_EXP, x, NODE_NONE, NODE_NONE);
    graph_name_node(g, n, "p");
    static const reason why[] = {DERIVE_exp,      REWRITE_cancel, REWRITE_cancel,       REWRITE_common_factor,
                                 REWRITE_domains, REWRITE_powers, REWRITE_exponentials, REWRITE_one_point};
    for (size_t i = 0; i < sizeof why / sizeof *why; i++) {
        graph_because(g, (uint16_t)why[i], n);
        n = graph_pointwise(g, NODE_SIN, n, NODE_NONE, NODE_NONE);
        graph_add_output(g, &(output){.name = "y", .kind = OUTPUT_VALUE, .rank = 1, .index = {t}, .node = n});
        if (i == 3)
            n = graph_pointwise(g, NODE_COS, n, NODE_NONE, NODE_NONE);
    }
    char *text                        = explained(g);
    static const char *const wanted[] = {"# exp of p  ", "# cancel, from exp of p  ",
                                         "# common_factor, from cancel, from exp of p  ",
                                         "# domains, from common_factor, from cancel, from exp of p  ",
                                         "# exponentials, from powers, from domains, from common_factor, …  "};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (!strstr(text, wanted[i]))
            print_message("%s is not in\n%s", wanted[i], text);
        assert_non_null(strstr(text, wanted[i]));
    }
    assert_null(strstr(text, "from cancel, from cancel"));
    assert_true(strstr(text, "\n# exp: ") < strstr(text, "\n# common_factor: "));
    free(text);
}

/* What a rule was applied to is gone, but it is known where it was. */
static void gone(void **state) {
    (void)state;
    graph *g   = graph_new();
    index_id t = graph_index(g, "t", 4);
    node x     = add_input(g, "x", t);
    node part  = graph_pointwise(g, NODE_SIN, x, NODE_NONE, NODE_NONE);
    graph_name_node(g, graph_pointwise(g, NODE_EXP, part, NODE_NONE, NODE_NONE), "p");
    graph_because(g, REWRITE_powers, part);
    node n = graph_pointwise(g, NODE_COS, x, NODE_NONE, NODE_NONE);
    graph_add_output(g, &(output){.name = "y", .kind = OUTPUT_VALUE, .rank = 1, .index = {t}, .node = n});
    char *text = explained(g);
    assert_non_null(strstr(text, "# powers in p  "));
    free(text);
}

/* What is rebuilt keeps its reason, and of the spec's it is known what it was. */
static void rebuilding(void **state) {
    (void)state;
    graph *g   = graph_new();
    index_id t = graph_index(g, "t", 4);
    node x     = add_input(g, "x", t);
    node y     = add_input(g, "y", t);
    node from  = graph_pointwise(g, NODE_SIN, x, NODE_NONE, NODE_NONE), root[2], about;
    graph_because(g, DERIVE_exp, from);
    root[0] = graph_mul(g, from, from);
    root[1] = graph_pointwise(g, NODE_COS, graph_pointwise(g, NODE_SIN, x, NODE_NONE, NODE_NONE), NODE_NONE, NODE_NONE);
    graph_because(g, REWRITE_cancel, root[0]);
    rewrite_replace(g, 1, &x, &y, 2, root);
    assert_int_equal(graph_reason(g, root[0], &about), DERIVE_exp);
    assert_int_equal(about, from);
    node_view v = graph_view(g, root[0]);
    assert_int_equal(graph_reason(g, v.child[0], &about), REASON_SPEC);
    assert_int_equal(about, from);
    assert_int_equal(graph_reason(g, graph_float(g, 12345), &about), REASON_SPEC);
    assert_int_equal(about, NODE_NONE);
    graph_because(g, DERIVE_carry, from);
    node before = graph_previous(g, t, true, 0, TYPE_FLOAT);
    graph_because(g, DERIVE_total, from);
    root[0] = graph_scan(g, before, graph_float(g, 0), graph_add(g, before, x));
    rewrite_replace(g, 1, &x, &y, 1, root);
    assert_int_equal(graph_reason(g, root[0], &about), DERIVE_total);
    assert_int_equal(about, from);
    node leaf = graph_scan_leaf(g, graph_view(g, root[0]).scan_label, 0);
    assert_true(leaf != before);
    assert_int_equal(graph_reason(g, leaf, &about), DERIVE_carry);
    assert_int_equal(about, from);
    graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention), cmocka_unit_test(every_rule), cmocka_unit_test(chains),
        cmocka_unit_test(gone),      cmocka_unit_test(rebuilding),
    };
    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
