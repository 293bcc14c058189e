/* The language as docs/language.md teaches it: every example there is run. A block that begins with `mechanism`,
 * `model` or `optimizer` is a spec; the other blocks are statements that go on from the spec named `examples`. An
 * output followed by numbers in a comment must have these values, in the interpreter and in machine code, and its
 * gradient must agree with finite differences. A block marked `fails` must be rejected with the message in the block
 * after it. */
#include "compile.h"
#include "derive.h"
#include "elaborate.h"
#include "gradcheck.h"
#include "interpret.h"
#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

enum { BLOCKS = 64, BLOCK_SIZE = 8192 };

typedef struct block {
    char text[BLOCK_SIZE];
    bool spec, fails, message;
} block;

static FILE *nowhere; /* warnings, of which the preamble has some for every block */
static block block_of[BLOCKS];
static unsigned block_count;

static void read_blocks(const char *path) {
    FILE *file = fopen(path, "r");
    char line[1024];
    block *open = NULL;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "```", 3) != 0) {
            if (open) {
                assert_true(strlen(open->text) + strlen(line) < BLOCK_SIZE);
                strcat(open->text, line);
            }
        } else if (open) {
            open = NULL;
        } else {
            assert_true(block_count < BLOCKS);
            open          = &block_of[block_count++];
            open->fails   = strstr(line, "fails") != NULL;
            open->message = strncmp(line, "```att", 6) != 0;
        }
    }
    fclose(file);
    for (unsigned i = 0; i < block_count; i++) {
        const char *start = block_of[i].text;
        while (*start == '#')
            start = strchr(start, '\n') + 1;
        block_of[i].spec = strncmp(start, "mechanism", 9) == 0 || strncmp(start, "model", 5) == 0 ||
                           strncmp(start, "optimizer", 9) == 0;
    }
}

static const char *examples_preamble(void) {
    for (unsigned i = 0; i < block_count; i++)
        if (strstr(block_of[i].text, "mechanism examples"))
            return block_of[i].text;
    fail_msg("no block is the preamble of the examples");
    return NULL;
}

/* Reads a spec of this text; the file is called language.md in messages. */
static spec *spec_of(const char *text, diagnostics *d) {
    char folder[] = "test_language_XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/language.md", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    spec *s = spec_read(path, TEST_SOURCE_DIR "/specs", d);
    unlink(path);
    rmdir(folder);
    return s;
}

/* The numbers in the comment after the output's definition; false where there is none. */
static bool expected_values(const char *text, const char *name, double *out, size_t *count) {
    char start[128];
    snprintf(start, sizeof start, "output %s", name);
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        size_t length = strlen(start);
        if (strncmp(line, start, length) != 0 || !strchr(" [=", line[length]))
            continue;
        const char *end = strchr(line, '\n'), *hash = strchr(line, '#');
        if (!hash || (end && hash > end))
            return false;
        *count = 0;
        for (char *at = (char *)hash + 1, *next;; at = next) {
            double number = strtod(at, &next);
            if (next == at || (end && at > end) || (end && next > end))
                break;
            out[(*count)++] = number;
        }
        return *count > 0;
    }
    return false;
}

static char *joined(const char *first, const char *second) {
    char *text = NULL;
    assert_true(asprintf(&text, "%s%s", first, second) >= 0);
    return text;
}

static unsigned checked;

static void check_values(graph *g, const char *text) {
    char error[512];
    double **value = values_of(g, 5);
    compiled *code = compile_graph(g, &(compile_options){0}, error, sizeof error);
    assert_non_null(code);
    uint32_t tensors = graph_tensor_count(g), outputs = graph_output_count(g);
    const void **in = calloc(tensors + 1, sizeof *in);
    void **out      = calloc(outputs + 1, sizeof *out);
    for (uint32_t i = 0; i < tensors; i++) {
        const tensor *t = graph_tensor(g, i);
        float *memory   = calloc((size_t)t->elements, sizeof *memory);
        for (int64_t k = 0; k < t->elements; k++)
            if (t->type == TYPE_INT)
                ((int32_t *)(void *)memory)[k] = (int32_t)value[i][k];
            else
                memory[k] = (float)value[i][k];
        in[i] = memory;
    }
    for (uint32_t i = 0; i < outputs; i++)
        out[i] = calloc((size_t)graph_output(g, i)->elements, sizeof(float));
    assert_true(compiled_run(code, in, out, 1));
    interpretation *run = interpret_new(g, (const double *const *)value, 1);
    for (uint32_t i = 0; i < outputs; i++) {
        const output *o      = graph_output(g, i);
        const double *result = interpret_output(run, i);
        double wanted[256];
        size_t count = 0;
        if (expected_values(text, o->name, wanted, &count)) {
            checked++;
            if ((int64_t)count != o->elements)
                fail_msg("%s has %lld elements, the page shows %zu", o->name, (long long)o->elements, count);
            for (size_t k = 0; k < count; k++)
                if (!(fabs(result[k] - wanted[k]) < 1e-9))
                    fail_msg("%s: element %zu is %.12g, the page says %.12g", o->name, k, result[k], wanted[k]);
        }
        for (int64_t k = 0; k < o->elements; k++) {
            double machine = ((float *)out[i])[k];
            if (!(fabs(machine - result[k]) <= 1e-5 * fmax(1, fabs(result[k]))))
                fail_msg("%s: element %lld is %.9g in machine code, %.9g in the interpreter", o->name, (long long)k,
                         machine, result[k]);
        }
        free(out[i]);
    }
    for (uint32_t i = 0; i < tensors; i++)
        free((void *)in[i]);
    free(in);
    free(out);
    interpret_free(run);
    compiled_free(code);
    free_values(g, value);
}

static void check_gradients(graph *g) {
    char error[256];
    double **value;
    gradcheck_result result;
    if (!gradcheck_add_backward(g))
        return;
    if (!graph_verify(g, error, sizeof error))
        fail_msg("%s", error);
    value = values_of(g, 5);
    gradcheck_run(g, g, (const double *const *)value, 1, &(gradcheck_options){1e-6, GRADCHECK_SOME_ELEMENTS}, nowhere,
                  &result);
    free_values(g, value);
    if (result.verdict != GRADCHECK_AGREES)
        fail_msg("finite differences differ by %g", result.worst);
}

static void mechanism_works(const spec *s, const char *text) {
    char error[256];
    diagnostics d         = {.stream = nowhere};
    const binding small[] = {{"B", 1}, {"T", 6}, {"D", 8}};
    bool examples         = strcmp(spec_name(s), "examples") == 0;
    const elaboration how = {.bindings = small, .binding_count = examples ? 0 : 3};
    graph *g              = graph_new();
    assert_true(elaborate_mechanism(g, s, &how, &d));
    if (!graph_verify(g, error, sizeof error))
        fail_msg("%s", error);
    check_values(g, text);
    check_gradients(g);
    graph_free(g);
}

/* The mechanism that fills a slot, the model whose gradients an optimizer takes. */
static void model_works(const spec *model, const spec *optimizer) {
    char error[256];
    uint32_t orphan;
    diagnostics d         = {.stream = nowhere};
    spec *slot            = spec_read(TEST_SOURCE_DIR "/specs/identity.att", NULL, &d);
    const spec *several[] = {slot};
    graph *g              = graph_new();
    assert_non_null(slot);
    assert_true(elaborate_model(g, model, several, &(elaboration){0}, 1, &(elaboration){.training = true}, &d));
    if (optimizer) {
        assert_true(derive_parameter_gradients(g, &orphan));
        assert_true(elaborate_optimizer(g, optimizer, &(elaboration){0}, &d));
    }
    if (!graph_verify(g, error, sizeof error))
        fail_msg("%s", error);
    graph_free(g);
    spec_free(slot);
}

static void the_page_works(void **state) {
    (void)state;
    spec *model    = NULL;
    unsigned specs = 0, statements = 0;
    for (unsigned i = 0; i < block_count; i++) {
        const block *b = &block_of[i];
        diagnostics d  = {.stream = nowhere};
        if (b->fails || b->message || strstr(b->text, "mechanism examples"))
            continue;
        char *text = joined(b->spec ? "" : examples_preamble(), b->text);
        spec *s    = spec_of(text, &d);
        free(text);
        if (!s)
            fail_msg("block %u is rejected:\n%s", i, b->text);
        if (spec_get_kind(s) == SPEC_MECHANISM)
            mechanism_works(s, b->text);
        else if (spec_get_kind(s) == SPEC_MODEL)
            model_works(s, NULL);
        else
            model_works(model, s);
        if (spec_get_kind(s) == SPEC_MODEL) {
            spec_free(model);
            model = s;
        } else {
            spec_free(s);
        }
        *(b->spec ? &specs : &statements) += 1;
    }
    spec_free(model);
    assert_true(specs >= 3 && statements >= 6 && checked >= 40);
}

/* Lines of the wanted message, in order, among what was said. The folder before the file's name does not matter. */
static void holds_lines(const char *said, const char *wanted) {
    char copy[BLOCK_SIZE], *rest = copy;
    snprintf(copy, sizeof copy, "%s", wanted);
    for (char *line; (line = strsep(&rest, "\n"));) {
        const char *found = *line ? strstr(said, line) : said;
        if (!found)
            fail_msg("`%s` is not in:\n%s", line, said);
        said = found;
    }
}

static void the_page_fails_as_it_says(void **state) {
    (void)state;
    unsigned count = 0;
    for (unsigned i = 0; i + 1 < block_count; i++) {
        const block *b = &block_of[i];
        if (!b->fails)
            continue;
        char *said  = NULL, *rest, *moved;
        size_t size = 0;
        assert_true(block_of[i + 1].message);
        FILE *stream  = open_memstream(&said, &size);
        diagnostics d = {.stream = stream};
        /* the preamble stands before the block, so its lines are moved */
        char *text = joined(examples_preamble(), b->text);
        spec *s    = spec_of(text, &d);
        free(text);
        graph *g = graph_new();
        if (s)
            assert_false(elaborate_mechanism(g, s, &(elaboration){0}, &d));
        fclose(stream);
        graph_free(g);
        spec_free(s);
        unsigned lines = 0;
        for (const char *c = examples_preamble(); *c; c++)
            lines += *c == '\n';
        unsigned line, column;
        int used = 0;
        assert_int_equal(sscanf(block_of[i + 1].text, "language.md:%u:%u%n", &line, &column, &used), 2);
        rest = block_of[i + 1].text + used;
        assert_true(asprintf(&moved, "language.md:%u:%u%s", line + lines, column, rest) >= 0);
        holds_lines(said, moved);
        free(moved);
        free(said);
        count++;
    }
    assert_true(count >= 2);
}

/* Conditions that several kernels share are stored, and the loops that they bound take no part of them for the whole.
 */
static void a_stored_domain(void **state) {
    (void)state;
    static const char text[] =
        "mechanism k \"own block or the best\" include \"lib/standard.att\"\n"
        "size T = 32, E = 4, C = 8, N = T / C index t:T s:T e:E n:N input q[t,e], k[s,e], v[s,e], g[t,n]\n"
        "chosen[t,n] = n == t / C or topk[n](g[t,n], 1)\n"
        "p[t,s] = softmax[s where s <= t and chosen[t,s/C]](sum[e](q[t,e] * k[s,e]))\n"
        "output y[t,e] = sum[s](p[t,s] * v[s,e])\n";
    diagnostics d = {.stream = stderr};
    spec *s       = spec_of(text, &d);
    graph *g      = graph_new();
    assert_non_null(s);
    assert_true(elaborate_mechanism(g, s, &(elaboration){0}, &d));
    assert_true(gradcheck_add_backward(g));
    derive_forget_stops(g);
    check_values(g, text);
    graph_free(g);
    spec_free(s);
}

int main(void) {
    nowhere = getenv("ATTNC_TEST_SAYS") ? stderr : fopen("/dev/null", "w");
    if (!nowhere)
        return 3;
    read_blocks(TEST_SOURCE_DIR "/docs/language.md");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_works),
        cmocka_unit_test(the_page_fails_as_it_says),
        cmocka_unit_test(a_stored_domain),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fclose(nowhere);
    return failed;
}
