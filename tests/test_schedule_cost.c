/* What schedules cost: kernels of attention against counts by hand and by loops over queries and keys, and that every
 * spec has a text with its costs. */

/* cmocka needs these before it */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "derive.h"
#include "elaborate.h"
#include "gradcheck.h"
#include "schedule.h"
#include "schedule_cost.h"
#include "schedule_draw.h"
#include "simplify.h"
#include "sizes.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HEADS = 3, WIDTH = 8, BLOCK = 64 };

static const schedule_options in_blocks = {.wide = 1.5, .rows = BLOCK, .stream = BLOCK};
static const schedule_options unfused   = {.unfused = true};

typedef struct planned {
    graph *g;
    schedule *s;
    schedule_cost *cost;
} planned;

/* Definitions over b, h, t, s and e. */
static planned plan_of(int64_t length, const char *definitions, const schedule_options *options) {
    char text[2048];
    FILE *nowhere = fopen("/dev/null", "w");
    assert_non_null(nowhere);
    diagnostics d = {.stream = nowhere};
    snprintf(text, sizeof text,
             "mechanism m \"m\" include \"lib/standard.att\" size T = %lld, B = 2, H = %d, E = %d "
             "index b:B h:H t:T s:T e:E %s",
             (long long)length, HEADS, WIDTH, definitions);
    spec *mechanism = spec_read_text("m.att", text, strlen(text), TEST_SOURCE_DIR "/specs", &d);
    if (!mechanism)
        fail_msg("not accepted: %s", definitions);
    planned p = {.g = graph_new()};
    assert_true(elaborate_mechanism(p.g, mechanism, &(elaboration){.training = true}, &d));
    derive_forget_stops(p.g);
    simplify_outputs(p.g, NULL);
    spec_free(mechanism);
    fclose(nowhere);
    p.s    = schedule_graph(p.g, options);
    p.cost = schedule_cost_of(p.s);
    return p;
}

static void end_plan(planned *p) {
    schedule_cost_free(p->cost);
    schedule_free(p->s);
    graph_free(p->g);
}

/* Softmax attention of queries t to keys s where `domain`. */
static planned attention(int64_t length, const char *domain, const schedule_options *options) {
    char text[1024];
    snprintf(text, sizeof text,
             "input q[h,t,e], k[h,s,e], v[h,s,e] "
             "z[h,t,s] = sum[e](q[h,t,e] * k[h,s,e]) "
             "p[h,t,s] = softmax[s%s%s](z[h,t,s]) "
             "output y[h,t,e] = sum[s](p[h,t,s] * v[h,s,e])",
             *domain ? " where " : "", domain);
    return plan_of(length, text, options);
}

/* Of one head; `rows`: of all tiles together. */
typedef struct tiles {
    uint64_t count, elements, rows;
} tiles;

/* Of each tile two products are computed and of each of its elements an exponential; of each of its rows one that
 * makes up for the maximum having moved, and of each row at most two in the end. */
static void costs(const planned *p, int64_t length, tiles t) {
    const step_cost *c = &p->cost->total;
    assert_int_equal(c->products, HEADS * 2 * t.count);
    assert_int_equal(c->matrix, HEADS * t.elements * 2 * 2 * WIDTH);
    assert_in_range(c->exponential, HEADS * t.elements, HEADS * (t.elements + t.rows + 2 * (uint64_t)length));
    assert_true(c->tiles > 0);
}

static void causal(void **state) {
    (void)state;
    /* rows 0 to 63: 1 tile of 64; to 127: 2 of them; the last 2 rows: 2 of 64 and one of 2 */
    planned p = attention(130, "s <= t", &in_blocks);
    costs(&p, 130, (tiles){6, 64 * 64 + 64 * 128 + 2 * 130, 64 + 2 * 64 + 3 * 2});
    end_plan(&p);
}

static void window(void **state) {
    (void)state;
    /* the last 2 rows begin at 128 - 100 = 28: a tile of 64 and one of 38 */
    planned p = attention(130, "s <= t and t - s <= 100", &in_blocks);
    costs(&p, 130, (tiles){5, 64 * 64 + 64 * 128 + 2 * 102, 64 + 2 * 64 + 2 * 2});
    end_plan(&p);
}

static void full(void **state) {
    (void)state;
    planned p = attention(130, "", &in_blocks);
    costs(&p, 130, (tiles){9, 130 * 130, 3 * 130});
    end_plan(&p);
}

/* Tiles that the loop over the stream goes past: of a stride, they are all there; of a hole, none is in it. */
static void a_hole(void **state) {
    (void)state;
    /* keys below 64 and the last 64: rows from 192 on need 0 to 63 and at most two tiles at the diagonal */
    planned p  = attention(512, "s <= t and (s < 64 or t - s < 64)", &in_blocks);
    tiles want = {0};
    for (int64_t t = 0; t < 512; t += BLOCK)
        for (int64_t s = 0; s < t + BLOCK; s += BLOCK)
            if (s < 64 || s + BLOCK + 63 > t) {
                want.count++;
                want.elements += BLOCK * BLOCK;
                want.rows += BLOCK;
            }
    costs(&p, 512, want);
    end_plan(&p);
}

/* What an input decides is counted as though it could be anything. */
static void data_decide(void **state) {
    (void)state;
    planned p = plan_of(130,
                        "input q[b,t,e], k[b,s,e], v[b,s,e] input length[b] : int < T "
                        "z[b,t,s] = sum[e](q[b,t,e] * k[b,s,e]) "
                        "p[b,t,s] = softmax[s where s <= t or s <= length[b]](z[b,t,s]) "
                        "output y[b,t,e] = sum[s](p[b,t,s] * v[b,s,e])",
                        &in_blocks);
    assert_int_equal(p.cost->total.products, 2 * 2 * 9);
    assert_int_equal(p.cost->total.matrix, 2 * 130 * 130 * 2 * 2 * WIDTH);
    end_plan(&p);
}

/* From a tile to the next, queries stay where they are; keys and values come in with each; the rest of a kernel is
 * as long as the queries. */
static void traffic(void **state) {
    (void)state;
    planned p          = attention(130, "s <= t", &in_blocks);
    const step_cost *c = &p.cost->total;
    const uint64_t row = HEADS * WIDTH * sizeof(float), keys = 64 + 128 + 130;
    assert_true(c->read >= row * (130 + 2 * keys));
    assert_true(c->written >= row * 130);
    planned more = attention(260, "s <= t", &in_blocks);
    assert_true(more.cost->total.written < 3 * c->written);
    end_plan(&more);
    end_plan(&p);
}

static void same_slope(const char *what, uint64_t a, uint64_t b, uint64_t c) {
    if (c - b != 2 * (b - a) || b <= a)
        fail_msg("%s: %llu, %llu, %llu", what, (unsigned long long)a, (unsigned long long)b, (unsigned long long)c);
}

static void a_window_is_linear(void **state) {
    (void)state;
    step_cost at[3];
    for (int k = 0; k < 3; k++) {
        planned p = attention(1024 << k, "s <= t and t - s <= 200", &in_blocks);
        at[k]     = p.cost->total;
        end_plan(&p);
    }
    same_slope("matrix", at[0].matrix, at[1].matrix, at[2].matrix);
    same_slope("products", at[0].products, at[1].products, at[2].products);
    same_slope("exponential", at[0].exponential, at[1].exponential, at[2].exponential);
    same_slope("other", at[0].other, at[1].other, at[2].other);
    same_slope("read", at[0].read, at[1].read, at[2].read);
    same_slope("written", at[0].written, at[1].written, at[2].written);
    assert_int_equal(at[0].tiles, at[2].tiles);
}

/* Without tiles: what the linear conditions of a reduction leave of its loop, element by element. */
static void sums(void **state) {
    (void)state;
    static const struct {
        const char *domain;
        int below, window;
    } domain[] = {{"s <= t", 0, 130}, {"s < t and t - s <= 9", 1, 9}};
    for (unsigned i = 0; i < sizeof domain / sizeof *domain; i++) {
        char text[256];
        uint64_t points = 0;
        snprintf(text, sizeof text, "input x[b,t,s] output y[b,t] = sum[s where %s](x[b,t,s])", domain[i].domain);
        for (int t = 0; t < 130; t++)
            for (int s = 0; s + domain[i].below <= t; s++)
                points += t - s <= domain[i].window;
        planned p = plan_of(130, text, &unfused);
        assert_int_equal(p.cost->total.other, 2 * points);
        assert_int_equal(p.cost->total.read, 2 * points * sizeof(float));
        assert_int_equal(p.cost->total.written, 2 * 130 * sizeof(float));
        assert_int_equal(p.cost->total.matrix, 0);
        end_plan(&p);
    }
}

/* The step is the only one with a product; what it leaves in the workspace the output takes over. */
static void whole_products(void **state) {
    (void)state;
    planned p          = plan_of(130, "input x[t,e], w[s,e] output y[t,s] = sum[e](x[t,e] * w[s,e])", &unfused);
    const step_cost *c = &p.cost->step[0];
    assert_int_equal(c->matrix, 2 * 130 * 130 * WIDTH);
    assert_int_equal(c->products, 1);
    assert_int_equal(c->read, 2 * 130 * WIDTH * sizeof(float));
    assert_int_equal(c->written, 130 * 130 * sizeof(float));
    end_plan(&p);
}

/* Where the domain depends on a loop outside the blocks, each of its values has tiles of its own. */
static void a_window_for_each_head(void **state) {
    (void)state;
    uint64_t points = 0;
    planned p       = attention(1024, "s <= t and t - s <= 200 * h", &in_blocks);
    for (int h = 0; h < HEADS; h++)
        for (int t = 0; t < 1024; t++)
            for (int s = 0; s <= t; s++)
                points += t - s <= 200 * h;
    uint64_t visited = p.cost->total.matrix / (2 * 2 * WIDTH);
    assert_in_range(visited, points, points + (uint64_t)HEADS * 1024 * 2 * BLOCK);
    end_plan(&p);
}

static void takes_little_time(void **state) {
    (void)state;
    planned p   = attention(1 << 14, "s <= t", &in_blocks);
    clock_t was = clock();
    schedule_cost_free(schedule_cost_of(p.s));
    assert_true((double)(clock() - was) / CLOCKS_PER_SEC < 1);
    end_plan(&p);
}

/* The picture */

static char *picture_of(schedule *s) {
    char *text  = NULL;
    size_t size = 0;
    FILE *file  = open_memstream(&text, &size);
    assert_non_null(file);
    schedule_draw_dot(s, "a <title>", file);
    fclose(file);
    return text;
}

static void a_picture(void **state) {
    (void)state;
    planned p                     = attention(130, "s <= t", &in_blocks);
    char *text                    = picture_of(p.s);
    static const char *const is[] = {"digraph {",
                                     "label=\"a <title>\\n",
                                     "grid: h 3<",
                                     "<b>rows</b> t by 64<",
                                     "<b>pass 1</b> over s by 64, where needed<br/>product [t × e] · [e × s]<",
                                     "product [t × s] · [s × e], added up<",
                                     "label=\"q[h,t,e]\\n12.5 kB\"",
                                     "label=\"y[h,t,e]\\n12.5 kB\""};
    for (unsigned i = 0; i < sizeof is / sizeof *is; i++)
        if (!strstr(text, is[i]))
            fail_msg("there is no %s in %s", is[i], text);
    assert_null(strstr(text, "pass 2"));
    free(text);
    end_plan(&p);
}

/* What the scheduler says about a step stands in both, line by line. */
static void notes(void **state) {
    (void)state;
    planned p        = attention(130, "s <= t", &in_blocks);
    step *t          = &p.s->step[0];
    char *text       = NULL;
    size_t size      = 0;
    FILE *file       = open_memstream(&text, &size);
    const char was[] = "rows t < 64\ntwo lines";
    assert_non_null(file);
    free(t->note);
    t->note = strdup(was);
    schedule_print(p.s, file);
    fclose(file);
    assert_non_null(strstr(text, "\n  # rows t < 64\n  # two lines\n"));
    free(text);
    text = picture_of(p.s);
    assert_non_null(strstr(text, "<br/>rows t &lt; 64<br/>two lines"));
    free(text);
    end_plan(&p);
}

/* Every spec */

static void adds_up(const schedule *s, const schedule_cost *c) {
    step_cost sum = {0};
    for (uint32_t i = 0; i < s->step_count; i++) {
        if (s->step[i].kind == STEP_BLOCKS)
            continue;
        sum.matrix += c->step[i].matrix;
        sum.other += c->step[i].other;
        sum.read += c->step[i].read;
    }
    assert_int_equal(sum.matrix, c->total.matrix);
    assert_int_equal(sum.other, c->total.other);
    assert_int_equal(sum.read, c->total.read);
    assert_int_equal(c->total.workspace, s->workspace);
    assert_true(c->total.written > 0);
}

static void has_a_text(graph *g, const char *name, const schedule_options *options) {
    char *text  = NULL;
    size_t size = 0;
    FILE *file  = open_memstream(&text, &size);
    assert_non_null(file);
    schedule *s = schedule_graph(g, options);
    schedule_print(s, file);
    fclose(file);
    unsigned costs = 0;
    for (const char *at = text; (at = strstr(at, ", writes ")); at++)
        costs++;
    if (costs != s->step_count + 1)
        fail_msg("%s: %u costs for %u steps", name, costs, s->step_count);
    schedule_cost *c = schedule_cost_of(s);
    adds_up(s, c);
    schedule_cost_free(c);
    free(picture_of(s));
    schedule_free(s);
    free(text);
}

static void of_file(const char *path, bool gradients, const schedule_options *options) {
    FILE *nowhere = fopen("/dev/null", "w");
    assert_non_null(nowhere);
    diagnostics d = {.stream = nowhere};
    spec *s       = spec_read(path, NULL, &d);
    assert_non_null(s);
    binding set[SIZES];
    elaboration how   = {.variant = spec_variant_count(s) ? spec_variant_name(s, 0) : NULL, .training = gradients};
    how.binding_count = gradcheck_sizes(s, &how, set);
    how.bindings      = set;
    graph *g          = graph_new();
    assert_true(elaborate_mechanism(g, s, &how, &d));
    if (gradients)
        assert_true(gradcheck_add_backward(g));
    derive_forget_stops(g);
    simplify_outputs(g, NULL);
    has_a_text(g, path, options);
    graph_free(g);
    spec_free(s);
    fclose(nowhere);
}

static void every_spec(void **state) {
    (void)state;
    const schedule_options small = {.wide = 1.5, .rows = 2, .stream = 3};
    glob_t found;
    assert_int_equal(glob(TEST_SOURCE_DIR "/specs/*.att", 0, NULL, &found), 0);
    assert_int_equal(glob(TEST_SOURCE_DIR "/specs/more/*.att", GLOB_APPEND, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        for (int gradients = 0; gradients < 2; gradients++) {
            of_file(found.gl_pathv[i], gradients, NULL);
            of_file(found.gl_pathv[i], gradients, &small);
            of_file(found.gl_pathv[i], gradients, &unfused);
        }
    globfree(&found);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(causal),
        cmocka_unit_test(window),
        cmocka_unit_test(full),
        cmocka_unit_test(a_hole),
        cmocka_unit_test(data_decide),
        cmocka_unit_test(traffic),
        cmocka_unit_test(a_window_is_linear),
        cmocka_unit_test(sums),
        cmocka_unit_test(whole_products),
        cmocka_unit_test(a_window_for_each_head),
        cmocka_unit_test(takes_little_time),
        cmocka_unit_test(a_picture),
        cmocka_unit_test(notes),
        cmocka_unit_test(every_spec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
