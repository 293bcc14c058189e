/* Messages as JSON, counted and sorted; UTF-8; the comments of a spec and what they cite; names in C. */
#include "compile.h"
#include "elaborate_internal.h"
#include "utf8.h"

#include <cjson/cJSON.h>
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

static spec *spec_of(const char *text, size_t size, diagnostics *d) {
    char path[] = "test_diagnostics_XXXXXX";
    int handle  = mkstemp(path);
    assert_true(handle >= 0);
    assert_int_equal(write(handle, text, size), (ssize_t)size);
    close(handle);
    spec *s = spec_read(path, NULL, d);
    unlink(path);
    return s;
}

/* What is said about a mechanism, parsed back; the caller deletes it. */
static cJSON *json_of(const char *text) {
    char *said    = NULL;
    size_t size   = 0;
    diagnostics d = {.stream = stderr};
    diagnostics_collect(&d);
    spec *s  = spec_of(text, strlen(text), &d);
    graph *g = graph_new();
    if (s)
        elaborate_mechanism(g, s, &(elaboration){0}, &d);
    graph_free(g);
    spec_free(s);
    FILE *stream = open_memstream(&said, &size);
    diagnostics_print_json(&d, stream);
    fclose(stream);
    assert_null(d.collected);
    cJSON *all = cJSON_Parse(said);
    assert_non_null(all);
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(all, "errors")) == d.errors);
    free(said);
    return all;
}

static const cJSON *message(const cJSON *all, int k) {
    const cJSON *item = cJSON_GetArrayItem(cJSON_GetObjectItem(all, "diagnostics"), k);
    assert_non_null(item);
    return item;
}

static void is_text(const cJSON *item, const char *key, const char *wanted) {
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(item, key)), wanted);
}

static void is_range(const cJSON *item, int line, int character, int end_line, int end_character) {
    const cJSON *range = cJSON_GetObjectItem(item, "range"), *start = cJSON_GetObjectItem(range, "start"),
                *end = cJSON_GetObjectItem(range, "end");
    assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(start, "line")), line);
    assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(start, "character")), character);
    assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(end, "line")), end_line);
    assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(end, "character")), end_character);
}

#define HEAD "mechanism m \"test\"\nsize T = 4\nindex t:T s:T\n"

static void json_has_ranges_hints_and_trails(void **state) {
    (void)state;
    cJSON *all = json_of(HEAD "fn f(a) = a +\n  nothing(1,\n 2)\nαscore[t] = t\noutput y[t] = f(αscore[t]) + αscor[t]\n"
                              "include \"lib/standard.att\"\n");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(all, "diagnostics")), 2);
    const cJSON *first = message(all, 0), *second = message(all, 1);
    is_text(first, "severity", "error");
    is_text(first, "message", "unknown function `nothing`");
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(first, "hint")));
    is_range(first, 4, 2, 5, 3);
    const cJSON *trail = cJSON_GetObjectItem(first, "trail");
    assert_int_equal(cJSON_GetArraySize(trail), 1);
    is_text(cJSON_GetArrayItem(trail, 0), "function", "f");
    is_range(cJSON_GetArrayItem(trail, 0), 7, 14, 7, 26);
    is_text(second, "hint", "did you mean `αscore`?");
    is_range(second, 7, 29, 7, 37);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(second, "trail")), 0);
    cJSON_Delete(all);
}

/* Characters are UTF-16 code units; a byte-order mark is none, and "\r\n" and "\r" end lines. */
static void json_counts_code_units(void **state) {
    (void)state;
    cJSON *all = json_of("\xEF\xBB\xBFmechanism m \"😀é\" ?\r\nsize T = 4\rindex t:T output y[t] = t ?\n");
    is_range(message(all, 0), 0, 18, 0, 19);
    is_range(message(all, 1), 2, 26, 2, 27);
    cJSON_Delete(all);
}

static void json_of_files(void **state) {
    (void)state;
    char *said    = NULL;
    size_t size   = 0;
    diagnostics d = {.stream = stderr};
    diagnostics_collect(&d);
    assert_null(spec_read("no/such\xFF/file.att", NULL, &d));
    FILE *stream = open_memstream(&said, &size);
    diagnostics_print_json(&d, stream);
    fclose(stream);
    cJSON *all = cJSON_Parse(said);
    is_text(message(all, 0), "file", "no/such?/file.att");
    is_text(message(all, 0), "message", "No such file or directory");
    is_range(message(all, 0), 0, 0, 0, 0);
    cJSON_Delete(all);
    free(said);
    all = json_of("mechanism m \"\xE9\"");
    is_text(message(all, 0), "message", "the byte 0xE9 is not UTF-8");
    is_range(message(all, 0), 0, 13, 0, 13);
    cJSON_Delete(all);
    all = json_of(HEAD);
    is_text(message(all, 0), "message", "the spec has no output");
    cJSON_Delete(all);
    all = json_of(HEAD "output y[t] = t");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(all, "diagnostics")), 0);
    cJSON_Delete(all);
}

/* Sorted by place in a file, files by their first message; said once; counted exactly; warnings apart from errors. */
static void messages_are_sorted_and_counted(void **state) {
    (void)state;
    source one = {.path = "one", .text = "abc\ndef\n", .size = 8}, two = {.path = "two", .text = "x\n", .size = 2};
    const span at[]     = {{&one, 5, 6}, {&two, 0, 1}, {&one, 0, 3}, {&one, 5, 6}, {&one, 4, 7}};
    const char *order[] = {"abc", "def", "e", "x"};
    char *said          = NULL;
    size_t size         = 0;
    spec s              = {.path = "one"};
    diagnostics d       = {.stream = stderr};
    module m            = {.d = &d, .spec = &s};
    trail where         = {.function = "f", .call = at[1]};
    diagnostics_collect(&d);
    for (unsigned i = 0; i < 5; i++)
        module_error(&m, at[i], i == 1 ? &where : NULL, NULL, "%.*s", (int)(at[i].end - at[i].begin),
                     at[i].file->text + at[i].begin);
    assert_int_equal(m.failed, 5);
    assert_int_equal(d.errors, 4);
    for (uint32_t i = 0; i < 100; i++)
        module_warning(&m, (span){&two, i, i}, NULL, "a hint", "w");
    assert_int_equal(m.failed, 5);
    assert_int_equal(d.warnings, 100);
    FILE *stream = open_memstream(&said, &size);
    diagnostics_print_json(&d, stream);
    fclose(stream);
    cJSON *all = cJSON_Parse(said);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(all, "diagnostics")), 4 + DIAGNOSTICS_SHOWN);
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(all, "warnings")) == 100);
    for (int i = 0; i < 4; i++)
        is_text(message(all, i), "message", order[i]);
    is_text(message(all, 23), "severity", "warning");
    cJSON_Delete(all);
    free(said);
}

/* A span over lines is underlined to the end of its first; a wide character takes two columns. */
static void warnings_as_text(void **state) {
    (void)state;
    source f      = {.path = "f.att", .text = "\t漢x \x1b漢z\r\nnext\n", .size = 20};
    f.size        = strlen(f.text);
    char *said    = NULL;
    size_t size   = 0;
    FILE *stream  = open_memstream(&said, &size);
    diagnostics d = {.stream = stream};
    module m      = {.d = &d};
    module_warning(&m, (span){&f, 7, 16}, NULL, "hint \x1b", "text");
    for (uint32_t i = 0; i < 22; i++)
        module_warning(&m, (span){NULL, i, i}, NULL, NULL, "w");
    fclose(stream);
    const char *wanted = "f.att:1:6: warning: text\n    \t漢x ?漢z\n    \t     ^~~\n    hint: hint ?\nwarning: w\n";
    if (strncmp(said, wanted, strlen(wanted)) != 0)
        fail_msg("%s", said);
    assert_non_null(strstr(said, "warning: w\nfurther warnings are not shown\n"));
    assert_int_equal(d.warnings, 23);
    assert_int_equal(d.errors, 0);
    free(said);
}

static void quotes_of_the_source(void **state) {
    (void)state;
    source f = {.text = "sum[s](\n  α[s]  )", .size = 0};
    f.size   = strlen(f.text);
    char text[64], few[12];
    diagnostics_quote((span){&f, 0, (uint32_t)f.size}, text, sizeof text);
    assert_string_equal(text, "sum[s]( α[s] )");
    diagnostics_quote((span){&f, 0, (uint32_t)f.size}, few, sizeof few);
    assert_true(strlen(few) < sizeof few && strstr(few, "…") && utf8_first_invalid(few, strlen(few)) == strlen(few));
}

static void integers_are_exact(void **state) {
    (void)state;
    static const char text[] = "mechanism m \"test\" output y = if 9223372036854775807 - 9223372036854775806 == 1 and "
                               "9007199254740993 - 9007199254740992 == 1 then 1 else 0";
    char *printed            = NULL;
    size_t size              = 0;
    diagnostics d            = {.stream = stderr};
    spec *s                  = spec_of(text, strlen(text), &d);
    assert_non_null(s);
    FILE *stream = open_memstream(&printed, &size);
    spec_print(s, stream);
    fclose(stream);
    assert_non_null(strstr(printed, "(- 9223372036854775807 9223372036854775806)"));
    graph *g = graph_new();
    assert_true(elaborate_mechanism(g, s, &(elaboration){0}, &d));
    double value;
    assert_true(graph_is_constant(g, graph_output(g, 0)->node, &value));
    assert_true(value == 1);
    free(printed);
    graph_free(g);
    spec_free(s);
}

static void comments_and_citations(void **state) {
    (void)state;
    static const char text[] =
        "# not this one\n\nsize\tT = 4 # nor this\n#  Vaswani et al. 2017, arXiv:1706.03762v5, section 3.2;\r\n"
        "# Müller-Lüdenscheidt et al. (2024), https://doi.org/10.1000/a(b)1. arXiv 2404.00001; "
        "arxiv.org/abs/2405.1234,\n"
        "#arXiv:cs/0501001 and again arXiv:1706.03762v5; not arXiv:17.3, 10.1/x, et al. 2020, X10.1234/5\n"
        "mechanism m \"test\" # behind\nindex t:T output y[t] = t\n";
    static const char *const wanted[] = {"Vaswani et al. 2017", "arXiv:1706.03762", "Müller-Lüdenscheidt et al. 2024",
                                         "doi:10.1000/a(b)1",   "arXiv:2404.00001", "arXiv:2405.1234",
                                         "arXiv:cs/0501001"};
    diagnostics d                     = {.stream = stderr};
    spec *s                           = spec_of(text, strlen(text), &d);
    assert_non_null(s);
    assert_ptr_equal(strstr(spec_comment(s), " Vaswani"), spec_comment(s));
    assert_non_null(strstr(spec_comment(s), "3.2;\nMüller"));
    assert_null(strstr(spec_comment(s), "this"));
    assert_null(strstr(spec_comment(s), "behind"));
    assert_int_equal(spec_citation_count(s), sizeof wanted / sizeof *wanted);
    for (size_t i = 0; i < spec_citation_count(s); i++)
        assert_string_equal(spec_citation(s, i), wanted[i]);
    spec_free(s);
    s = spec_of("# apart\n\nmechanism m \"t\" output y = 1", strlen("# apart\n\nmechanism m \"t\" output y = 1"), &d);
    assert_string_equal(spec_comment(s), "");
    assert_int_equal(spec_citation_count(s), 0);
    spec_free(s);
}

static void names_in_c(void **state) {
    (void)state;
    static const char *const name[][2] = {{"mha", "mha"},     {"layer0.W", "layer0_W"}, {"α_1", "u03B1_1"},
                                          {"𝑥", "U0001D465"}, {"double", "double_"},    {"or", "or_"},
                                          {"o", "o"},         {"doubl", "doubl"}};
    char out[64], few[16];
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        compile_c_name(name[i][0], out, sizeof out);
        assert_string_equal(out, name[i][1]);
    }
    compile_c_name("ααααααααααα", few, sizeof few);
    assert_true(strlen(few) < sizeof few);
}

static void decoding(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t code;
        unsigned length;
    } known[] = {{"a", 'a', 1},
                 {"é", 0xE9, 2},
                 {"漢", 0x6F22, 3},
                 {"😀", 0x1F600, 4},
                 {"\x80", UTF8_INVALID, 1},
                 {"\xC0\xAF", UTF8_INVALID, 1},
                 {"\xE0\x80\x80", UTF8_INVALID, 1},
                 {"\xED\xA0\x80", UTF8_INVALID, 1},
                 {"\xF4\x90\x80\x80", UTF8_INVALID, 1},
                 {"\xF5\x80\x80\x80", UTF8_INVALID, 1},
                 {"\xE2\x82", UTF8_INVALID, 1},
                 {"\xE2\x28\xA1", UTF8_INVALID, 1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        unsigned length;
        assert_int_equal(utf8_decode(known[i].text, strlen(known[i].text), &length), known[i].code);
        assert_int_equal(length, known[i].length);
    }
    assert_int_equal(utf8_first_invalid("aé\xE9z", 5), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_ranges_hints_and_trails),
        cmocka_unit_test(json_counts_code_units),
        cmocka_unit_test(json_of_files),
        cmocka_unit_test(messages_are_sorted_and_counted),
        cmocka_unit_test(warnings_as_text),
        cmocka_unit_test(quotes_of_the_source),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(comments_and_citations),
        cmocka_unit_test(names_in_c),
        cmocka_unit_test(decoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
