/* Names: the table against a plain list, text read from memory, look-ups through scopes that closed. */
#include "elaborate.h"
#include "name_table.h"

#include <stdlib.h>
#include <string.h>

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

enum { NAMES = 300, PLACES = 2000, STEPS = 40000 };

static uint32_t last_of(const char *const *list, size_t count, const char *name) {
    while (count-- > 0)
        if (strcmp(list[count], name) == 0)
            return (uint32_t)count;
    return NAME_UNKNOWN;
}

/* Adds, sets back and looks up at random; a look-up may come between a set-back and the next addition. */
static void the_table_is_a_list(void **state) {
    (void)state;
    static char text[NAMES][16];
    static const char *list[PLACES];
    name_table table = {0};
    uint64_t random  = 1;
    size_t count = 0, found = 0;
    for (int i = 0; i < NAMES; i++)
        snprintf(text[i], sizeof text[i], "name%d", i);
    assert_int_equal(name_table_find(&table, "name0", 0), NAME_UNKNOWN);
    for (int step = 0; step < STEPS; step++) {
        random           = random * 6364136223846793005u + 1442695040888963407u;
        const char *name = text[random >> 33 & 1 ? (random >> 40) % NAMES : (random >> 40) % 10];
        if ((random >> 34) % 64 == 0) {
            count = (size_t)(random >> 20) % (count + 1);
        } else if ((random >> 34) % 2 && count < PLACES) {
            name_table_add(&table, name, count);
            list[count++] = name;
        }
        uint32_t place = name_table_find(&table, name, count);
        assert_int_equal(place, last_of(list, count, name));
        found += place != NAME_UNKNOWN;
    }
    assert_true(found > STEPS / 4 && found < STEPS);
    name_table_free(&table);
    assert_int_equal(name_table_find(&table, "name0", 1), NAME_UNKNOWN);
}

static char *messages_of(const char *text, size_t size, bool *read) {
    char *said    = NULL;
    size_t length = 0;
    FILE *stream  = open_memstream(&said, &length);
    diagnostics d = {.stream = stream};
    char path[]   = TEST_SOURCE_DIR "/specs/in_memory.att";
    spec *s       = spec_read_text(path, text, size, NULL, &d);
    graph *g      = graph_new();
    *read         = s != NULL;
    bool ok       = s && elaborate_mechanism(g, s, &(elaboration){0}, &d);
    assert_int_equal(ok, d.errors == 0);
    graph_free(g);
    spec_free(s);
    fclose(stream);
    return said;
}

/* Includes are found beside the name; the text is copied and ends where its size says. */
static void text_in_memory(void **state) {
    (void)state;
    static const char text[] = "mechanism m \"m\" include \"lib/standard.att\" size T = 4 index t:T input x[t] "
                               "output y[t] = softmax[t](x[t]) and here it ends";
    bool read;
    char *said = messages_of(text, strlen(text) - strlen(" and here it ends"), &read);
    assert_string_equal(said, "");
    assert_true(read);
    free(said);
    said = messages_of(text, strlen(text), &read);
    assert_non_null(strstr(said, "/specs/in_memory.att:1:"));
    assert_false(read);
    free(said);
    char *large = calloc(1, (16 << 20) + 1);
    assert_non_null(large);
    said = messages_of(large, (16 << 20) + 1, &read);
    assert_non_null(strstr(said, "in_memory.att: error: larger than 16 MiB"));
    free(said);
    free(large);
}

/* A name of a repeat's iteration is free in the next one and after it; the outer one of `let` is seen again. */
static void scopes_close(void **state) {
    (void)state;
    static const char good[] = "mechanism m \"m\" size T = 4 index t:T input x[t] a = 1.0 "
                               "repeat k : 3 { b = a + 1 c = b a := c } b = 2.0 repeat k : 2 { c = b } "
                               "output y[t] = x[t] * b * (let a = 3.0 in a) * a";
    static const char bad[]  = "mechanism m \"m\" size T = 4 index t:T input x[t] repeat k : 3 { b = 1.0 } "
                               "output y[t] = x[t] * b";
    bool read;
    char *said = messages_of(good, strlen(good), &read);
    assert_string_equal(said, "");
    free(said);
    said = messages_of(bad, strlen(bad), &read);
    assert_non_null(strstr(said, "unknown name `b`"));
    free(said);
}

static void tensors_by_name(void **state) {
    (void)state;
    graph *g = graph_new();
    assert_false(graph_has_tensor(g, "w"));
    graph_add_tensor(g, &(tensor){.name = "w", .kind = TENSOR_PARAMETER, .type = TYPE_FLOAT, .group = "other"});
    assert_true(graph_has_tensor(g, "w"));
    assert_false(graph_has_tensor(g, "v"));
    graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_a_list),
        cmocka_unit_test(text_in_memory),
        cmocka_unit_test(scopes_close),
        cmocka_unit_test(tensors_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
