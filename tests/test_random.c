/* Random specs through every stage (tests/random/stages.h). A spec that fails is made smaller as long as it fails at
 * the same stage, and printed. In the environment:
 *   ATTNC_RANDOM_COUNT=n      how many specs
 *   ATTNC_RANDOM_SEED=n       which one alone, or first
 *   ATTNC_RANDOM_MACHINE=n    every nth is compiled; 0: none
 *   ATTNC_RANDOM_SHOWN=n      how many failures are made smaller
 *   ATTNC_RANDOM_SCHEDULES=1  only the stages from the schedule on
 *   ATTNC_RANDOM_FORK=1       each spec in a process of its own, so that one that crashes the compiler is made smaller
 *   ATTNC_RANDOM_PRINT=1      print every spec
 *   ATTNC_RANDOM_DUMP=1       print every schedule */
#include "random_spec.h"
#include "reasons.h"
#include "stages.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { SPECS = 200 };
#else
enum { SPECS = 2000 };
#endif
enum {
    SECOND_EVERY   = 4,
    WITHOUT_EACH   = 2,
    MACHINE_EVERY  = 25,
    FAILURES_SHOWN = 3,
    TRIALS         = 4000,
    MACHINE_TRIALS = 300
};

static const char *const stage_name[] = {"none",      "elaboration",        "verification",
                                         "gradients", "second derivatives", "simplification",
                                         "schedule",  "machine code",       "a crash"};

static uint64_t number_of(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* Below 1 nearly everything is wide. */
static schedule_options options_of(uint64_t seed) {
    static const double wide[]  = {0.02, 0.3, 1.01, 1.01, 1.01, 1.5, 1.5, 4};
    static const int64_t rows[] = {1, 2, 2, 3, 5}, stream[] = {1, 2, 2, 3, 4};
    uint64_t draw = seed * 0x9e3779b97f4a7c15u;
    return (schedule_options){.wide       = wide[draw >> 61],
                              .rows       = rows[(draw >> 50 & 0xff) % 5],
                              .stream     = stream[(draw >> 40 & 0xff) % 5],
                              .listed     = draw >> 20 & 3 ? 0.01 : 8, /* of every selection, most often */
                              .unstreamed = (draw >> 30 & 7) == 0};
}

/* What is asked of the spec with this seed. */
static stages wanted_of(uint64_t seed) {
    uint64_t machine = number_of("ATTNC_RANDOM_MACHINE", MACHINE_EVERY);
    stages r         = {.seed           = seed,
                        .second         = seed % SECOND_EVERY == 0,
                        .schedule       = options_of(seed),
                        .machine        = machine > 0 && seed % machine == 0,
                        .only_scheduled = number_of("ATTNC_RANDOM_SCHEDULES", 0) > 0};
    for (unsigned k = 0; k < WITHOUT_EACH && REASON_REWRITES > 1; k++)
        r.without |= (uint64_t)1 << (1 + (seed * WITHOUT_EACH + k) % (REASON_REWRITES - 1));
    return r;
}

/* In a process of its own */

enum { SECONDS = 30 }; /* of the processor, however busy it is with others */

static void run_apart(const random_spec *s, stages *r) {
    stages *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    *shared = *r;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGILL}; /* cmocka catches them */
        for (unsigned i = 0; i < sizeof fatal / sizeof *fatal; i++)
            signal(fatal[i], SIG_DFL);
        setrlimit(RLIMIT_CPU, &(struct rlimit){SECONDS, SECONDS + 1});
        stages_run(s, shared);
        _exit(0);
    }
    int status;
    assert_true(waitpid(child, &status, 0) == child);
    *r = *shared;
    if (status != 0) {
        r->failed = STAGE_CRASH;
        snprintf(r->message, sizeof r->message,
                 WIFSIGNALED(status) ? "ended by signal %d" : "ended with wait status %d",
                 WIFSIGNALED(status) ? WTERMSIG(status) : status);
    }
    munmap(shared, sizeof *shared);
}

static void run_stages(const random_spec *s, stages *r) {
    if (number_of("ATTNC_RANDOM_FORK", 0))
        run_apart(s, r);
    else
        stages_run(s, r);
}

/* Shrinking */

static bool fails_so(const random_spec *s, void *context) {
    const stages *first = context;
    stages r            = wanted_of(first->seed);
    r.only_scheduled |= first->failed == STAGE_TILES || first->failed == STAGE_MACHINE;
    r.machine &= first->failed >= STAGE_MACHINE;
    run_stages(s, &r);
    return r.failed == first->failed;
}

static void print_failure(random_spec *s, uint64_t seed, const stages *r) {
    stages first = *r, last = wanted_of(seed);
    first.seed = seed;
    unsigned made =
        r->failed == STAGE_ELABORATE
            ? 0
            : random_spec_minimise(s, fails_so, &first, r->failed == STAGE_MACHINE ? MACHINE_TRIALS : TRIALS);
    run_stages(s, &last);
    char *text = random_spec_text(s);
    fprintf(stderr,
            "seed %llu fails at %s; after %u changes it is\n\n%s\n%s\nagain: ATTNC_RANDOM_SEED=%llu "
            "build/release/test_random\n\n",
            (unsigned long long)seed, stage_name[r->failed], made, text, last.message, (unsigned long long)seed);
    free(text);
}

/* Counting */

typedef struct tally {
    unsigned specs, wild, rejected, failed, gradient[4], tame_undefined, tolerated, second;
    unsigned kind[NODE_KINDS], reduction[REDUCTIONS], coupled, backwards, nested, in_scan;
    unsigned blocks, kernel, passes, rescales, machine, excused;
} tally;

static void count(tally *all, const random_spec *s, const stages *r) {
    all->specs++;
    all->wild += random_spec_is_wild(s);
    all->gradient[r->gradient]++;
    all->tame_undefined += r->gradient == GRADIENT_UNDEFINED && !random_spec_is_wild(s);
    all->tolerated += r->tolerated > 0;
    all->second += r->ran_second;
    for (unsigned k = 0; k < NODE_KINDS; k++)
        all->kind[k] += r->kind[k];
    for (unsigned k = 0; k < REDUCTIONS; k++)
        all->reduction[k] += r->reduction[k];
    all->coupled += r->coupled;
    all->backwards += r->backwards;
    all->nested += r->nested;
    all->in_scan += r->in_scan;
    all->blocks += r->blocks;
    all->kernel += r->kernel;
    all->passes += r->passes;
    all->rescales += r->rescales;
    all->machine += r->machine;
    all->excused += r->excused > 0;
}

static void print_tally(const tally *all) {
    static const char *const reduction[] = {"sum", "product", "max", "min", "any", "all"};
    printf("%u specs, %u of them wild; %u rejected; %u failed\n", all->specs, all->wild, all->rejected, all->failed);
    printf("gradients: %u compared; %u of values that are not finite; %u not finite themselves (%u of them tame); "
           "%u of none; second ones: %u\n",
           all->gradient[GRADIENT_COMPARED], all->gradient[GRADIENT_INFINITE], all->gradient[GRADIENT_UNDEFINED],
           all->tame_undefined, all->gradient[GRADIENT_NONE], all->second);
    printf("simplified: %u with results that only their conditioning, or a wild value inside, excuses\nspecs with each "
           "kind:",
           all->tolerated);
    for (unsigned k = NODE_FLOAT; k < NODE_KINDS; k++)
        printf(" %s %u",
               k == NODE_FLOAT ? "real"
               : k == NODE_INT ? "integer"
                               : graph_op_name((node_op)k),
               all->kind[k]);
    for (unsigned k = 0; k < REDUCTIONS; k++)
        printf(" reduce.%s %u", reduction[k], all->reduction[k]);
    printf(" scan.coupled %u scan.backwards %u scan.nested %u scan.reducing %u\n", all->coupled, all->backwards,
           all->nested, all->in_scan);
    printf("schedules: %u with blocks of rows, %u with kernels, %u with several passes, %u that rescale; %u compiled; "
           "%u with results that only their conditioning excuses\n",
           all->blocks, all->kernel, all->passes, all->rescales, all->machine, all->excused);
}

/* Every kind of node must occur. */
static unsigned missing_kinds(const tally *all) {
    unsigned missing = !all->coupled + !all->backwards + !all->nested + !all->in_scan;
    for (unsigned k = NODE_FLOAT; k < NODE_KINDS; k++)
        missing += all->kind[k] == 0;
    for (unsigned k = 0; k < REDUCTIONS; k++)
        missing += all->reduction[k] == 0;
    return missing;
}

/* Tests */

static void every_stage(void **state) {
    (void)state;
    bool alone     = getenv("ATTNC_RANDOM_SEED") && !getenv("ATTNC_RANDOM_COUNT");
    uint64_t first = number_of("ATTNC_RANDOM_SEED", 1), specs = alone ? 1 : number_of("ATTNC_RANDOM_COUNT", SPECS);
    static tally all;
    for (uint64_t seed = first; seed < first + specs; seed++) {
        random_spec *s = random_spec_new(seed);
        stages r       = wanted_of(seed);
        if (getenv("ATTNC_RANDOM_PRINT")) { /* before what may end the process */
            char *text = random_spec_text(s);
            puts(text);
            fflush(stdout);
            free(text);
        }
        run_stages(s, &r);
        count(&all, s, &r);
        bool rejected = r.failed == STAGE_ELABORATE;
        unsigned many = r.failed == STAGE_NONE ? 0 : rejected ? all.rejected++ : all.failed++;
        if (r.failed && many < (rejected ? 1 : number_of("ATTNC_RANDOM_SHOWN", FAILURES_SHOWN)))
            print_failure(s, seed, &r);
        else if (r.failed)
            fprintf(stderr, "seed %llu fails at %s: %s\n", (unsigned long long)seed, stage_name[r.failed], r.message);
        random_spec_free(s);
    }
    print_tally(&all);
    assert_int_equal(all.failed, 0);
    assert_true(all.rejected * 20 <= all.specs);
    if (alone)
        return;
    assert_true(all.tolerated * 100 <= all.specs);
    assert_true(all.tame_undefined * 1000 <= all.specs); /* finite values have finite gradients, nearly always */
    assert_true(all.gradient[GRADIENT_COMPARED] * 10 >= all.specs * 7);
    assert_int_equal(missing_kinds(&all), 0);
    assert_true(all.blocks * 10 >= all.specs); /* the stages after the scheduler have something to do */
    assert_true(all.kernel * 12 >= all.specs);
    assert_true(all.passes * 20 >= all.specs);
    assert_true(all.rescales * 50 >= all.specs);
    assert_true(all.excused * 50 <= all.specs);
}

/* Specs that failed once, as they were when made smaller, at the stages and with the values of their seeds: another
 * generator makes other specs of these. */
static void found_before(void **state) {
    (void)state;
    static const uint64_t found[] = {52, 691, 50836, 51732, 100143};
    unsigned failed               = 0;
    for (unsigned i = 0; i < sizeof found / sizeof *found; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/tests/random/found/%llu.att", TEST_SOURCE_DIR, (unsigned long long)found[i]);
        random_spec *s = random_spec_read(found[i], path);
        stages r       = wanted_of(found[i]);
        assert_non_null(s);
        run_stages(s, &r);
        if (r.failed)
            fprintf(stderr, "%s fails at %s: %s\n", path, stage_name[r.failed], r.message);
        failed += r.failed != STAGE_NONE;
        random_spec_free(s);
    }
    assert_int_equal(failed, 0);
}

static void same_seed_same_spec(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        random_spec *s = random_spec_new(seed), *again = random_spec_new(seed), *other = random_spec_new(seed + 1000);
        char *a = random_spec_text(s), *b = random_spec_text(again), *c = random_spec_text(other);
        assert_string_equal(a, b);
        assert_string_not_equal(a, c);
        assert_true(random_spec_value(s, "x0", 0, 0, 3) == random_spec_value(again, "x0", 0, 0, 3));
        free(a);
        free(b);
        free(c);
        random_spec_free(s);
        random_spec_free(again);
        random_spec_free(other);
    }
}

static bool exponential_below_sum(const random_spec *s, void *context) {
    (void)context;
    return stages_exponential_below_sum(s);
}

/* The smallest spec with an exponential below a sum is an output, or that and a recurrence that needs others. */
static void minimised(void **state) {
    (void)state;
    unsigned found = 0, lines = 0;
    for (uint64_t seed = 1; found < 20; seed++) {
        random_spec *s = random_spec_new(seed);
        if (exponential_below_sum(s, NULL)) {
            found++;
            assert_true(random_spec_minimise(s, exponential_below_sum, NULL, TRIALS) > 0);
            assert_true(exponential_below_sum(s, NULL));
            char *text = random_spec_text(s);
            if (strlen(text) > 300)
                fail_msg("seed %llu is still\n%s", (unsigned long long)seed, text);
            for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
                lines++;
            free(text);
        }
        random_spec_free(s);
    }
    assert_in_range(lines, 4 * found, 7 * found); /* with the head, the include, sizes and indices */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_spec),
        cmocka_unit_test(minimised),
        cmocka_unit_test(found_before),
        cmocka_unit_test(every_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
