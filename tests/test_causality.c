/* The proof of causality against the search for examples, on mechanisms made at random: what is proved has none. */
#include "causality.h"

#include <stdlib.h>
#include <unistd.h>

/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

enum { TRIALS = 600 };

typedef struct dice {
    uint64_t state;
} dice;

static unsigned roll(dice *d, unsigned sides) {
    d->state = d->state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(d->state >> 33) % sides;
}

/* An index expression in t and another name. */
static void put_index(dice *d, const char *other, unsigned depth, FILE *out) {
    static const char *const between[] = {" + ", " + ", " - ", ", "};
    if (depth == 0 || roll(d, 4) == 0) {
        if (roll(d, 5) == 0)
            fprintf(out, "%u", roll(d, 4));
        else
            fputs(roll(d, 2) ? "t" : other, out);
        return;
    }
    unsigned form = roll(d, 8);
    if (form == 3)
        fputs(roll(d, 2) ? "min" : "max", out);
    fputc('(', out);
    if (form == 4)
        fprintf(out, "%u * ", 2 + roll(d, 2));
    put_index(d, other, depth - 1, out);
    if (form < 4) {
        fputs(between[form], out);
        put_index(d, other, depth - 1, out);
    } else if (form == 5) {
        fprintf(out, " / %u", 2 + roll(d, 3));
    } else if (form == 6) {
        fputs(" / 3 * 3", out);
    } else if (form == 7) {
        fprintf(out, " %% %u", 2 + roll(d, 3));
    }
    fputc(')', out);
}

/* A read at such an index where that is within its range. */
static void put_read(dice *d, const char *name, const char *other, const char *more, FILE *out) {
    unsigned depth                    = 1 + roll(d, 3);
    const dice start                  = *d;
    static const char *const before[] = {"(if 0 <= ", " and ", " < T then "};
    for (unsigned i = 0; i < 3; i++) { /* three times the same */
        *d = start;
        fputs(before[i], out);
        if (i == 2)
            fprintf(out, "%s[", name);
        put_index(d, other, depth, out);
    }
    fprintf(out, "%s] else 0)", more);
}

static void put_condition(dice *d, FILE *out) {
    static const char *const order[] = {"<=", "<", "==", "<="};
    if (roll(d, 3) == 0) {
        fputs("s <= t", out);
        return;
    }
    put_index(d, "s", 1 + roll(d, 2), out);
    fprintf(out, " %s ", order[roll(d, 4)]);
    put_index(d, "t", roll(d, 2), out);
}

/* A restricted sum, a scan, two scans that read each other, or a scan over restricted sums. */
static void put_mechanism(dice *d, FILE *out) {
    const char *step = roll(d, 2) ? "s-1" : "s+1";
    unsigned kind    = roll(d, 4);
    fputs("mechanism small \"small\"\nsize T = 9\nindex t:T s:T\ninput x[t]\n", out);
    if (kind == 0) {
        fputs("output y[t] = sum[s where ", out);
        put_condition(d, out);
        fputs("](", out);
        put_read(d, "x", "s", "", out);
        fputs(")\n", out);
        return;
    }
    if (kind == 3) {
        fprintf(out, "S[s] = 0.5 * S[%s] + sum[t where ", step);
        put_condition(d, out);
        fputs("](", out);
        put_read(d, "x", "s", "", out);
        fputs(") from 0\noutput y[t] = ", out);
        put_read(d, "S", "t", "", out);
        fputc('\n', out);
        return;
    }
    fprintf(out, "S[s,t] = 0.5 * %s[%s,t] + (if ", kind == 1 ? "S" : "W", step);
    put_condition(d, out);
    fputs(" then ", out);
    put_read(d, "x", "s", "", out);
    fputs(" else 0) from 0\n", out);
    if (kind == 2) {
        fputs("W[s,t] = (if ", out);
        put_condition(d, out);
        fprintf(out, " then 0.5 * S[%s,t] + ", step);
        put_read(d, "x", "s", "", out);
        fprintf(out, " else W[%s,t]) from 0\n", step);
    }
    fputs("output y[t] = ", out);
    put_read(d, "S", "t", ",t", out);
    fputc('\n', out);
}

static spec *random_spec(dice *d, const char *path, diagnostics *said) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    put_mechanism(d, file);
    fclose(file);
    return spec_read(path, NULL, said);
}

static void show(const char *path) {
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int c; (c = fgetc(file)) != EOF;)
        fputc(c, stderr);
    fclose(file);
}

static void what_is_proved_has_no_example(void **state) {
    (void)state;
    dice d          = {.state = 20};
    char path[]     = "/tmp/test_causality.XXXXXX";
    FILE *nowhere   = fopen("/dev/null", "w");
    unsigned proved = 0, made = 0;
    assert_true(close(mkstemp(path)) == 0);
    assert_non_null(nowhere);
    for (unsigned trial = 0; trial < TRIALS; trial++) {
        diagnostics said = {.stream = nowhere};
        spec *s          = random_spec(&d, path, &said);
        graph *g         = graph_new();
        assert_non_null(s);
        if (elaborate_mechanism(g, s, &(elaboration){0}, &said)) {
            causality example, proof = causality_prove(g, causality_time(g));
            made++;
            proved += proof.kind == CAUSALITY_PROVED;
            if (proof.kind == CAUSALITY_PROVED && causality_example(g, causality_time(g), &example)) {
                show(path);
                fail_msg("proved, but y at %d depends on x at %d", (int)example.at, (int)example.depends);
            }
        }
        graph_free(g);
        spec_free(s);
    }
    fclose(nowhere);
    unlink(path);
    print_message("%u mechanisms, %u proved\n", made, proved);
    assert_true(made > TRIALS / 2);
    assert_true(proved > TRIALS / 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_proved_has_no_example)};
    return cmocka_run_group_tests_name("causality", tests, NULL, NULL);
}
