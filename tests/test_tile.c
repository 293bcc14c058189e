/* Programs over tiles: the interpreter of schedules against the interpreter of graphs and against plain loops, and what
 * the verifier and the interpreter refuse. */

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
#include "interpret.h"
#include "model_step.h"
#include "schedule.h"
#include "simplify.h"
#include "sizes.h"
#include "tile_interpret.h"
#include "tile_verify.h"
#include "values.h"

#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 9 };

/* Schedules of specs */

/* The largest difference relative to the largest value of the output (of a single number, which may be what is left of
 * a difference, at least 1); infinite where one is a number and the other is not. */
static double difference(const double *have, const double *wanted, int64_t count) {
    double scale = count == 1 ? 1 : 1e-30, worst = 0;
    for (int64_t k = 0; k < count; k++)
        scale = isfinite(wanted[k]) ? fmax(scale, fabs(wanted[k])) : scale;
    for (int64_t k = 0; k < count; k++) {
        bool same = have[k] == wanted[k] || (isnan(have[k]) && isnan(wanted[k]));
        double by = same ? 0 : fabs(have[k] - wanted[k]) / scale;
        worst     = isfinite(by) ? fmax(worst, by) : INFINITY;
    }
    return worst;
}

static void free_outputs(const graph *g, double **out) {
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        free(out[i]);
    free(out);
}

static void means_the_same(const char *what, graph *g, double in_double, double in_float) {
    char error[512]     = "";
    double **value      = values_of(g, SEED);
    interpretation *run = interpret_new(g, (const double *const *)value, SEED);
    schedule *s         = schedule_graph(g, NULL);
    if (!tile_verify(s, error, sizeof error))
        fail_msg("%s: %s", what, error);
    for (int single = 0; single < 2; single++) {
        double **out = calloc(graph_output_count(g) + 1, sizeof *out);
        assert_non_null(out);
        if (!tile_interpret(s, (const double *const *)value, out, SEED, single, error, sizeof error))
            fail_msg("%s: %s", what, error);
        for (uint32_t i = 0; i < graph_output_count(g); i++) {
            const output *o = graph_output(g, i);
            double worst    = difference(out[i], interpret_output(run, i), o->elements);
            if (!(worst <= (single ? in_float : in_double)))
                fail_msg("%s, %s: %s differs by %g", what, single ? "float" : "double", o->name, worst);
        }
        free_outputs(g, out);
    }
    interpret_free(run);
    schedule_free(s);
    free_values(g, value);
}

static void every_variant(const char *path, bool training) {
    diagnostics d = {.stream = stderr};
    spec *s       = spec_read(path, NULL, &d);
    assert_non_null(s);
    size_t variants = spec_variant_count(s);
    for (size_t k = 0; k < (variants ? variants : 1); k++) {
        binding set[SIZES];
        elaboration how   = {.variant = variants ? spec_variant_name(s, k) : NULL, .training = training};
        how.binding_count = gradcheck_sizes(s, &how, set);
        how.bindings      = set;
        graph *g          = graph_new();
        assert_true(elaborate_mechanism(g, s, &how, &d));
        if (training) {
            assert_true(gradcheck_add_backward(g));
            derive_forget_stops(g);
            simplify_outputs(g, NULL);
        }
        means_the_same(how.variant ? how.variant : spec_name(s), g, 1e-12, 1e-4);
        graph_free(g);
    }
    spec_free(s);
}

static graph *training_step(const char *name, binding heads, int64_t time) {
    binding size[]  = {{"B", 2}, {"T", (double)time}, {"D", 16}, {"L", 1}, {"V", 23}};
    elaboration own = {.bindings = &heads, .binding_count = 1, .training = true};
    graph *g        = make_small_step(name, &own, size, sizeof size / sizeof *size);
    simplify_outputs(g, NULL);
    return g;
}

static void whole_steps(void **state) {
    (void)state;
    static const char *const name[] = {"mha", "sparse", "linear"};
    for (unsigned i = 0; i < sizeof name / sizeof *name; i++) {
        graph *g = training_step(name[i], (binding){"H", 2}, 40);
        /* the indexer's gradient is a difference of two distributions near each other, and AdamW divides it by its
         * size: in float 7e-4 was measured */
        means_the_same(name[i], g, 1e-12, 2e-3);
        graph_free(g);
    }
}

static void every_spec(void **state) {
    const char *const pattern[] = {TEST_SOURCE_DIR "/specs/*.att", TEST_SOURCE_DIR "/specs/more/*.att"};
    bool training               = *state;
    size_t count                = 0;
    for (unsigned p = 0; p < 2; p++) {
        glob_t found;
        assert_int_equal(glob(pattern[p], 0, NULL, &found), 0);
        for (size_t i = 0; i < found.gl_pathc; i++, count++)
            every_variant(found.gl_pathv[i], training);
        globfree(&found);
    }
    assert_true(count > 20);
}

/* Programs written by hand */

enum { T = 13, D = 5, E = 3, BLOCK = 4, ROOM = 4096 };

typedef struct program {
    graph *g;
    schedule *s;
    index_id t, s_index, d, e;
    double **value; /* of the tensors */
    /* what tests break */
    statement *fill, *rows, *columns, *product, *condition, *known, *sum, *last;
    uint32_t a, b, c, tile, masked, total, result;
} program;

static void *need(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

static node add_tensor(graph *g, const char *name, index_id i, index_id k) {
    tensor t = {.name = (char *)name, .kind = TENSOR_INPUT, .type = TYPE_FLOAT, .rank = 2, .index = {i, k}};
    return graph_tensor(g, graph_add_tensor(g, &t))->node;
}

static void add_output(graph *g, const char *name, index_id i, index_id k, node n) {
    output o = {.name = (char *)name, .kind = OUTPUT_VALUE, .rank = 2, .index = {i, k}, .node = n};
    graph_add_output(g, &o);
}

/* A buffer over two axes; blocks of 0 values: all. */
static uint32_t add_buffer(program *p, buffer_place place, uint32_t number, index_id i, int64_t block_i, index_id k,
                           int64_t block_k) {
    int64_t rows = block_i ? block_i : graph_index_extent(p->g, i);
    int64_t row  = block_k ? block_k : graph_index_extent(p->g, k);
    buffer *b    = &p->s->buffer[p->s->buffer_count];
    *b           = (buffer){.place    = place,
                            .number   = number,
                            .element  = ELEMENT_FLOAT,
                            .rank     = 2,
                            .axis     = {i, k},
                            .stride   = {row, 1},
                            .block    = {block_i, block_k},
                            .elements = rows * row};
    if (place == PLACE_WORKSPACE) {
        b->offset = p->s->workspace;
        p->s->workspace += (4 * (uint64_t)b->elements + 63) & ~(uint64_t)63;
    }
    return p->s->buffer_count++;
}

static step *add_step(program *p, step_kind kind) {
    step *t = &p->s->step[p->s->step_count++];
    *t      = (step){.kind = kind, .split = GRAPH_INDICES, .items = 1};
    return t;
}

static void place_node(step *t, node n, uint32_t number) {
    t->local                   = realloc(t->local, (t->local_count + 1) * sizeof *t->local);
    t->local[t->local_count++] = (placement){n, number};
}

static statement *made(statement_kind kind, statement *body) {
    statement *s = need(1, sizeof *s);
    s->kind      = kind;
    s->scatter   = GRAPH_INDICES;
    s->body      = body;
    return s;
}

static statement *loop(index_id i, statement *body) {
    statement *s = made(STATEMENT_FOR, body);
    s->index     = i;
    return s;
}

static statement *blocks_of(index_id i, node lo, node hi, statement *body) {
    statement *s = made(STATEMENT_BLOCK, body);
    s->index     = i;
    s->block     = BLOCK;
    s->lo        = lo;
    s->hi        = hi;
    return s;
}

static statement *stored(uint32_t target, node value) {
    statement *s = made(STATEMENT_STORE, NULL);
    s->target    = target;
    s->value     = value;
    return s;
}

static matrix matrix_at(uint32_t number, int64_t row, int64_t column, node offset, int64_t stride) {
    return (matrix){.buffer        = number,
                    .row_stride    = row,
                    .column_stride = column,
                    .offset_count  = offset ? 1 : 0,
                    .offset        = {offset},
                    .offset_stride = {stride}};
}

static matrix_product *product_of(matrix a, matrix b, matrix c, index_id rows, index_id inner, index_id columns) {
    matrix_product *x = need(1, sizeof *x);
    *x                = (matrix_product){.a       = a,
                                         .b       = b,
                                         .c       = c,
                                         .rows    = {.rank = 1, .index = {rows}},
                                         .columns = {.rank = 1, .index = {columns}},
                                         .inner   = {.rank = 1, .index = {inner}}};
    return x;
}

/* Puts statements one after the other. */
static statement *in_order(statement *first, statement *second) {
    first->next = second;
    return first;
}

static program begin_program(void) {
    program p = {.g = graph_new(), .s = need(1, sizeof *p.s)};
    p.t       = graph_index(p.g, "t", T);
    p.s_index = graph_index(p.g, "s", T);
    p.d       = graph_index(p.g, "d", D);
    p.e       = graph_index(p.g, "e", E);
    *p.s      = (schedule){.graph     = p.g,
                           .buffer    = need(16, sizeof *p.s->buffer),
                           .buffer_of = need(ROOM, sizeof *p.s->buffer_of),
                           .step      = need(8, sizeof *p.s->step)};
    for (unsigned i = 0; i < ROOM; i++)
        p.s->buffer_of[i] = NO_BUFFER;
    return p;
}

static uint32_t tensor_buffer(program *p, node n) {
    const tensor *t    = graph_tensor(p->g, graph_view(p->g, n).tensor);
    uint32_t number    = graph_view(p->g, n).tensor;
    p->s->buffer_of[n] = add_buffer(p, PLACE_TENSOR, number, t->index[0], 0, t->index[1], 0);
    return p->s->buffer_of[n];
}

static node compared(graph *g, node_op op, node a, node b) {
    return graph_pointwise(g, op, a, b, NODE_NONE);
}

/* y[t,e] = sum[s where s <= t](sum[d](a[t,d] * b[s,d]) * c[s,e]), in one kernel that keeps blocks of 4 x 4 of the inner
 * sum; blocks below the diagonal need no condition. */
static program causal_product(void) {
    program p        = begin_program();
    graph *g         = p.g;
    index_set over_d = (index_set)1 << p.d, over_s = (index_set)1 << p.s_index;
    node a = add_tensor(g, "a", p.t, p.d), b = add_tensor(g, "b", p.s_index, p.d),
         c      = add_tensor(g, "c", p.s_index, p.e);
    node z      = graph_reduce(g, REDUCE_SUM, over_d, NODE_NONE, graph_mul(g, a, b));
    node below  = compared(g, NODE_LESS_EQUAL, graph_index_value(g, p.s_index), graph_index_value(g, p.t));
    node masked = graph_select(g, below, z, graph_float(g, 0));
    node y      = graph_reduce(g, REDUCE_SUM, over_s, NODE_NONE, graph_mul(g, masked, c));
    add_output(g, "y", p.t, p.e, y);
    p.a = tensor_buffer(&p, a), p.b = tensor_buffer(&p, b), p.c = tensor_buffer(&p, c);
    p.tile   = add_buffer(&p, PLACE_TILE, 0, p.t, BLOCK, p.s_index, BLOCK);
    p.masked = add_buffer(&p, PLACE_TILE, 0, p.t, BLOCK, p.s_index, BLOCK);
    p.total  = add_buffer(&p, PLACE_TILE, 0, p.t, BLOCK, p.e, 0);
    p.result = add_buffer(&p, PLACE_OUTPUT, 0, p.t, 0, p.e, 0);

    node begin_t = graph_begin(g, p.t), begin_s = graph_begin(g, p.s_index), end_s = graph_end(g, p.s_index);
    p.product              = made(STATEMENT_PRODUCT, NULL);
    p.product->product     = product_of(matrix_at(p.a, D, 1, begin_t, D), matrix_at(p.b, 1, D, begin_s, D),
                                        matrix_at(p.tile, BLOCK, 1, NODE_NONE, 0), p.t, p.d, p.s_index);
    p.known                = stored(p.masked, masked);
    p.condition            = made(STATEMENT_IF, loop(p.t, loop(p.s_index, p.known)));
    p.condition->condition = compared(g, NODE_LESS_EQUAL, graph_sub(g, end_s, graph_int(g, 1)), begin_t);
    p.condition->assumed   = graph_and(g, below, compared(g, NODE_LESS, begin_s, end_s));
    p.condition->otherwise = loop(p.t, loop(p.s_index, stored(p.masked, masked)));
    p.sum                  = made(STATEMENT_PRODUCT, NULL);
    p.sum->product         = product_of(matrix_at(p.masked, BLOCK, 1, NODE_NONE, 0), matrix_at(p.c, E, 1, begin_s, E),
                                        matrix_at(p.total, E, 1, NODE_NONE, 0), p.t, p.s_index, p.e);
    p.sum->product->into   = true;
    p.columns = blocks_of(p.s_index, NODE_NONE, graph_end(g, p.t), in_order(p.product, in_order(p.condition, p.sum)));
    p.fill    = loop(p.e, stored(p.total, graph_float(g, 0)));
    p.last    = loop(p.t, loop(p.e, stored(p.result, y)));
    p.rows    = blocks_of(p.t, NODE_NONE, NODE_NONE, in_order(loop(p.t, p.fill), in_order(p.columns, p.last)));

    step *t = add_step(&p, STEP_NEST);
    t->body = p.rows;
    place_node(t, z, p.tile);
    place_node(t, masked, p.masked);
    place_node(t, y, p.total);
    p.value = values_of(g, SEED);
    return p;
}

/* y[t,e] = sum[d](exp(a[t,d]) * c[d,e]) in two steps inside blocks of t, with the exponentials of one block only. */
static program product_in_blocks(void) {
    program p        = begin_program();
    graph *g         = p.g;
    index_set over_d = (index_set)1 << p.d;
    node a = add_tensor(g, "a", p.t, p.d), c = add_tensor(g, "c", p.d, p.e);
    node power = graph_pointwise(g, NODE_EXP, a, NODE_NONE, NODE_NONE);
    node y     = graph_reduce(g, REDUCE_SUM, over_d, NODE_NONE, graph_mul(g, power, c));
    add_output(g, "y", p.t, p.e, y);
    p.a = tensor_buffer(&p, a), p.c = tensor_buffer(&p, c);
    p.tile   = add_buffer(&p, PLACE_WORKSPACE, 0, p.t, BLOCK, p.d, 0);
    p.result = add_buffer(&p, PLACE_OUTPUT, 0, p.t, 0, p.e, 0);

    step *around   = add_step(&p, STEP_BLOCKS);
    around->index  = p.t;
    around->block  = BLOCK;
    around->inside = 2;
    place_node(around, power, p.tile);
    step *first = add_step(&p, STEP_NEST), *second = add_step(&p, STEP_PRODUCT);
    p.rows           = loop(p.t, stored(p.tile, power));
    p.rows->parallel = true;
    first->body      = loop(p.d, p.rows);
    second->product  = product_of(matrix_at(p.tile, D, 1, NODE_NONE, 0), matrix_at(p.c, E, 1, NODE_NONE, 0),
                                  matrix_at(p.result, E, 1, graph_begin(g, p.t), E), p.t, p.d, p.e);
    first->ranged = second->ranged = (axis_order){.rank = 1, .index = {p.t}};
    p.value                        = values_of(g, SEED);
    return p;
}

/* y[t,e] = max[s](a[s,t] * c[s,e]), the maximum kept from block to block; first the blocks before 6, then one that
 * begins there. */
static program maximum_in_blocks(void) {
    program p = begin_program();
    graph *g  = p.g;
    node a = add_tensor(g, "a", p.s_index, p.t), c = add_tensor(g, "c", p.s_index, p.e);
    node x = graph_mul(g, a, c), y = graph_reduce(g, REDUCE_MAX, (index_set)1 << p.s_index, NODE_NONE, x);
    node held = graph_new_held(g, (index_set)1 << p.t | (index_set)1 << p.e, TYPE_FLOAT), six = graph_int(g, 6);
    add_output(g, "y", p.t, p.e, y);
    p.a = tensor_buffer(&p, a), p.c = tensor_buffer(&p, c);
    p.total  = add_buffer(&p, PLACE_TILE, 0, p.t, 0, p.e, 0);
    p.result = add_buffer(&p, PLACE_OUTPUT, 0, p.t, 0, p.e, 0);
    statement *part[2];
    for (int i = 0; i < 2; i++) {
        part[i]            = made(STATEMENT_REDUCE, NULL);
        part[i]->target    = p.total;
        part[i]->value     = y;
        part[i]->reduction = REDUCE_MAX;
        part[i]->into      = true;
        part[i]->var_count = 1;
        part[i]->var[0]    = p.s_index;
        part[i]->summand   = x;
    }
    p.sum           = part[0];
    statement *once = blocks_of(p.s_index, six, NODE_NONE, loop(p.t, loop(p.e, part[1])));
    once->once      = true;
    once->block     = T;
    p.columns       = blocks_of(p.s_index, NODE_NONE, six, loop(p.t, loop(p.e, part[0])));
    p.last          = loop(p.t, loop(p.e, stored(p.result, held)));
    p.last->reverse = true;
    step *t         = add_step(&p, STEP_NEST);
    t->body         = in_order(loop(p.t, loop(p.e, stored(p.total, graph_float(g, -INFINITY)))),
                               in_order(p.columns, in_order(once, p.last)));
    place_node(t, held, p.total);
    p.value = values_of(g, SEED);
    return p;
}

static void end_program(program *p) {
    free_values(p->g, p->value);
    schedule_free(p->s);
    graph_free(p->g);
}

static double causal_product_by_loops(const program *p, int t, int e) {
    double y = 0;
    for (int s = 0; s <= t; s++)
        for (int d = 0; d < D; d++)
            y += p->value[0][t * D + d] * p->value[1][s * D + d] * p->value[2][s * E + e];
    return y;
}

static double product_in_blocks_by_loops(const program *p, int t, int e) {
    double y = 0;
    for (int d = 0; d < D; d++)
        y += exp(p->value[0][t * D + d]) * p->value[1][d * E + e];
    return y;
}

static double maximum_in_blocks_by_loops(const program *p, int t, int e) {
    double y = -INFINITY;
    for (int s = 0; s < T; s++)
        y = fmax(y, p->value[0][s * T + t] * p->value[1][s * E + e]);
    return y;
}

static const struct by_hand {
    const char *name;
    program (*make)(void);
    double (*wanted)(const program *p, int t, int e);
} by_hand[] = {
    {"a causal product", causal_product, causal_product_by_loops},
    {"a product in blocks", product_in_blocks, product_in_blocks_by_loops},
    {"a maximum in blocks", maximum_in_blocks, maximum_in_blocks_by_loops},
};

/* The program is right, means what the loops mean and what its graph means, and leaves the schedule as it was. */
static void equals_loops(void **state) {
    const struct by_hand *h = *state;
    program p               = h->make();
    char error[512]         = "";
    size_t bytes            = ROOM * sizeof *p.s->buffer_of;
    uint32_t *before        = need(ROOM, sizeof *before);
    memcpy(before, p.s->buffer_of, bytes);
    if (!tile_verify(p.s, error, sizeof error))
        fail_msg("%s", error);
    interpretation *run = interpret_new(p.g, (const double *const *)p.value, SEED);
    double wanted[T * E];
    for (int k = 0; k < T * E; k++)
        wanted[k] = h->wanted(&p, k / E, k % E);
    assert_true(difference(interpret_output(run, 0), wanted, T * E) < 1e-12);
    for (int single = 0; single < 2; single++) {
        double *out[1];
        if (!tile_interpret(p.s, (const double *const *)p.value, out, SEED, single, error, sizeof error))
            fail_msg("%s", error);
        double worst = difference(out[0], wanted, T * E);
        assert_true(worst < (single ? 1e-5 : 1e-12));
        for (int k = 0; single && k < T * E; k++)
            assert_true(out[0][k] == (float)out[0][k]);
        free(out[0]);
    }
    assert_memory_equal(before, p.s->buffer_of, bytes);
    free(before);
    interpret_free(run);
    end_program(&p);
}

/* Broken programs */

static void no_buffer(program *p) {
    p->known->target = 99;
}
static void index_not_open(program *p) {
    p->fill->index = p->d;
}
static void no_block_open(program *p) {
    p->rows->index = p->d;
}
static void block_too_long(program *p) {
    p->rows->block = BLOCK + 1;
}
static void blocks_of_nothing(program *p) {
    p->columns->block = 0;
}
static void elements_share(program *p) {
    p->s->buffer[p->total].stride[0] = E - 1;
}
static void too_few_elements(program *p) {
    p->s->buffer[p->total].elements--;
}
static void block_in_block(program *p) {
    p->columns->index = p->t;
}
static void block_in_loop(program *p) {
    statement *body        = p->columns->body;
    p->columns->body       = loop(p->d, body);
    p->columns->body->body = blocks_of(p->d, NODE_NONE, NODE_NONE, body);
}
static void loop_in_loop(program *p) {
    p->condition->body->index = p->s_index;
}
static void strides_of_operand(program *p) {
    p->product->product->a.column_stride = 2;
}
static void strides_of_result(program *p) {
    p->product->product->c.column_stride = 2;
}
static void range_inside(program *p) {
    p->product->product->rows = (axis_order){.rank = 2, .index = {p->e, p->t}};
}
static void held_nowhere(program *p) {
    p->known->value = graph_new_held(p->g, (index_set)1 << p->t, TYPE_FLOAT);
}
static void sum_nowhere(program *p) {
    p->s->step[0].local[0].buffer = NO_BUFFER;
}
static void read_first(program *p) {
    p->product->product->c.buffer = p->masked;
}
static void tensor_written(program *p) {
    p->known->target                = p->a;
    p->known->value                 = graph_float(p->g, 1);
    p->condition->body->body->index = p->d;
}
static void output_forgotten(program *p) {
    add_output(p->g, "more", p->t, p->e, graph_float(p->g, 1));
}
static void no_condition(program *p) {
    p->condition->condition = graph_int(p->g, 1);
}
static void no_assumption(program *p) {
    p->condition->assumed = graph_int(p->g, 1);
}
static void wrong_items(program *p) {
    p->s->step[0].items = 7;
}
static void tensor_turned(program *p) {
    p->s->buffer[p->a].stride[0] = 1;
    p->s->buffer[p->a].stride[1] = T;
}
static void too_many_inside(program *p) {
    p->s->step[0].inside = 5;
}
static void ranges_not_said(program *p) {
    p->s->step[2].ranged.rank = 0;
}
static void shared_element(program *p) {
    step *t           = &p->s->step[1];
    t->body           = loop(p->e, t->body);
    t->body->parallel = true;
}
static void everyone_writes(program *p) {
    p->s->step[1].split = p->e;
    p->s->step[1].items = E;
}
static void items_not_independent(program *p) {
    p->s->step[1].parallel_count = 2;
}
static void tile_of_two_steps(program *p) {
    p->s->buffer[p->tile].place = PLACE_TILE;
}
static void outside_workspace(program *p) {
    p->s->workspace -= 64;
}

static void no_reduction(program *p) {
    p->sum->value = p->sum->summand;
}
static void variable_open(program *p) {
    p->sum->var[0] = p->t;
}
static void scattered_nowhere(program *p) {
    p->sum->kind       = STATEMENT_ACCUMULATE;
    p->sum->summand    = graph_float(p->g, 1);
    p->sum->scatter    = p->d;
    p->sum->scatter_to = graph_int(p->g, 0);
}
static void reduction_into_integers(program *p) {
    p->s->buffer[p->total].element = ELEMENT_INT32;
}
static void blocks_from_an_index(program *p) {
    p->s->step[0].lo = graph_index_value(p->g, p->e);
}

static const struct broken {
    program (*make)(void);
    void (*spoil)(program *p);
    const char *said;
} broken[] = {
    {causal_product, no_buffer, "step 0, the store to buffer 99: there is no buffer 99"},
    {causal_product, index_not_open, "step 0, the store to buffer 5: e has no value here"},
    {causal_product, no_block_open, "step 0, the store to buffer 5: buffer 5 holds a block of t, and none is open"},
    {causal_product, block_too_long, "buffer 5 holds 4 values of t, and its blocks have 5"},
    {causal_product, blocks_of_nothing, "step 0, the block over s: blocks of 0 values"},
    {causal_product, elements_share, "elements of buffer 5 share a place along t"},
    {causal_product, too_few_elements, "buffer 5 has 11 elements and needs 12"},
    {causal_product, block_in_block, "step 0, the block over t: a block of t is open already"},
    {causal_product, block_in_loop, "step 0, the block over d: blocks of d inside a loop over it"},
    {causal_product, loop_in_loop, "step 0, the for over s: a loop over s is open already"},
    {causal_product, strides_of_operand, "step 0, the product: neither stride of matrix A is 1"},
    {causal_product, strides_of_result, "step 0, the product: C does not have a column stride of 1"},
    {causal_product, range_inside, "step 0, the product: t is inside the rows and has a range of its own"},
    {causal_product, held_nowhere, "step 0, the store to buffer 4: held.1 has no buffer here"},
    {causal_product, sum_nowhere, "%6, a reduce, has no buffer here"},
    {causal_product, read_first, "step 0, the store to buffer 4: buffer 3 is read before anything writes it"},
    {causal_product, tensor_written, "step 0, the store to buffer 0: writes to tensor a"},
    {causal_product, output_forgotten, "at the end nothing has written output more"},
    {causal_product, no_condition, "is not a condition"},
    {causal_product, no_assumption, "is not a condition"},
    {causal_product, wrong_items, "step 0: it has 1 items and says 7"},
    {causal_product, tensor_turned, "buffer 0 is not as its tensor or output is"},
    {maximum_in_blocks, no_reduction, "step 0, the reduction to buffer 2: %3 is no reduction"},
    {maximum_in_blocks, variable_open, "step 0, the reduction to buffer 2: a loop over t is open already"},
    {maximum_in_blocks, scattered_nowhere, "buffer 2 has no axis d to scatter along"},
    {maximum_in_blocks, reduction_into_integers, "step 0, the store to buffer 2: buffer 2 holds integers"},
    {product_in_blocks, blocks_from_an_index, "step 0: e has no value here"},
    {product_in_blocks, too_many_inside, "step 0: 5 steps inside, and 2 are left"},
    {product_in_blocks, ranges_not_said, "step 2: the indices it says have a range are not those of the blocks"},
    {product_in_blocks, shared_element, "iterations over e are independent and write to one element"},
    {product_in_blocks, everyone_writes, "threads divide e, and all of them write here"},
    {product_in_blocks, items_not_independent, "step 1: its items are not loops of independent iterations"},
    {product_in_blocks, tile_of_two_steps, "step 2: buffer 2 is a tile of step 1"},
    {product_in_blocks, outside_workspace, "buffer 2 has no place in the workspace"},
};

static void is_refused(void **state) {
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        program p       = broken[i].make();
        char error[512] = "";
        broken[i].spoil(&p);
        bool accepted = tile_verify(p.s, error, sizeof error);
        if ((accepted || !strstr(error, broken[i].said)) && ++wrong)
            print_message("not \"%s\" but \"%s\"\n", broken[i].said, error);
        end_program(&p);
    }
    assert_int_equal(wrong, 0);
}

/* Programs that are well formed and wrong */

static void false_assumption(program *p) {
    p->condition->condition = graph_bool(p->g, true);
}
static void never_written(program *p) {
    statement *inner        = p->condition->otherwise->body;
    inner->body             = made(STATEMENT_IF, inner->body);
    inner->body->condition  = graph_bool(p->g, false);
    p->condition->condition = graph_bool(p->g, false);
}
static void block_before(program *p) { /* only the first block of s is masked */
    never_written(p);
    p->condition->condition = compared(p->g, NODE_LESS_EQUAL, graph_begin(p->g, p->s_index), graph_int(p->g, 0));
    p->condition->assumed   = NODE_NONE;
}
static void outside_matrix(program *p) {
    p->product->product->a.offset_stride[0] = 2 * D;
}
static void outside_index(program *p) {
    p->columns->hi = graph_mul(p->g, graph_end(p->g, p->t), graph_int(p->g, 2));
}
static void longer_than_tile(program *p) {
    p->columns->once  = true;
    p->columns->block = 0;
}
static void part_of_output(program *p) {
    p->rows->hi = graph_int(p->g, 2 * BLOCK);
}
static void place_taken(program *p) { /* by another buffer of the workspace */
    uint32_t other             = add_buffer(p, PLACE_WORKSPACE, 0, p->d, 0, p->e, 0);
    p->s->buffer[other].offset = p->s->buffer[p->tile].offset;
    p->s->step[1].body->next   = loop(p->d, loop(p->e, stored(other, graph_float(p->g, 1))));
}
static void items_share_tile(program *p) { /* an item reads what the one before it wrote */
    uint32_t tile    = add_buffer(p, PLACE_TILE, 0, p->d, 0, p->e, 0);
    node held        = graph_new_held(p->g, (index_set)1 << p->d | (index_set)1 << p->e, TYPE_FLOAT);
    node first       = compared(p->g, NODE_EQUAL, graph_index_value(p->g, p->t), graph_begin(p->g, p->t));
    statement *write = made(STATEMENT_IF, loop(p->e, stored(tile, graph_float(p->g, 1))));
    statement *read  = loop(p->e, stored(tile, graph_add(p->g, held, graph_float(p->g, 1))));
    step *t          = &p->s->step[1];
    write->condition = first;
    p->rows->body    = in_order(loop(p->d, in_order(write, read)), loop(p->d, p->rows->body));
    t->body->body    = NULL;
    free(t->body);
    t->body           = p->rows;
    t->parallel_count = 1;
    t->items          = BLOCK;
    place_node(t, held, tile);
}

static void items_share_buffer(program *p) { /* an item reads what the first one wrote */
    uint32_t other    = add_buffer(p, PLACE_WORKSPACE, 0, p->t, BLOCK, p->d, 0);
    step *t           = &p->s->step[1];
    node begin        = graph_begin(p->g, p->t);
    node first        = graph_gather(p->g, p->rows->body->value, 1, &p->t, &begin);
    p->rows->index    = p->d;
    p->rows->next     = loop(p->d, stored(other, first));
    t->body->index    = p->t;
    t->body->parallel = true;
    t->parallel_count = 1;
    t->items          = BLOCK;
}
static void threads_share_buffer(program *p) {
    items_share_buffer(p);
    p->s->step[1].parallel_count = 0;
    p->s->step[1].split          = p->t;
}

static const struct broken wrong_programs[] = {
    {causal_product, false_assumption, "step 0, a store: %9 is assumed to hold and does not"},
    {causal_product, never_written, "step 0, a product: needs element 0 of buffer 4, which nothing has written"},
    {causal_product, block_before, "step 0, a product: needs element 0 of buffer 4, which nothing has written"},
    {causal_product, outside_matrix, "step 0, a product: reads element 80 of buffer 0, which has 65"},
    {causal_product, outside_index, "step 0, a block: block [12, 16) of s is outside its 13 values"},
    {causal_product, longer_than_tile, "which has 16"},
    {causal_product, part_of_output, "element 24 of output y was never written"},
    {product_in_blocks, place_taken, "step 2, the product: needs element 0 of buffer 2, which nothing has written"},
    {product_in_blocks, items_share_tile, "step 1, a store: needs element 0 of buffer 4, which nothing has written"},
    {product_in_blocks, items_share_buffer, "step 1, a store: reads element 0 of buffer 2, which another item wrote"},
    {product_in_blocks, threads_share_buffer, "step 1, a store: reads element 0 of buffer 2, which another item wrote"},
};

static void is_caught(void **state) {
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof wrong_programs / sizeof *wrong_programs; i++) {
        program p       = wrong_programs[i].make();
        char error[512] = "";
        double *out[1];
        wrong_programs[i].spoil(&p);
        if (!tile_verify(p.s, error, sizeof error) && ++wrong)
            print_message("not well formed: %s\n", error);
        bool ran = tile_interpret(p.s, (const double *const *)p.value, out, SEED, false, error, sizeof error);
        if ((ran || !strstr(error, wrong_programs[i].said)) && ++wrong)
            print_message("not \"%s\" but \"%s\"\n", wrong_programs[i].said, ran ? "" : error);
        free(out[0]);
        end_program(&p);
    }
    assert_int_equal(wrong, 0);
}

/* What is not needed may be unwritten: a branch not taken, a summand outside its domain, the other side of a false
 * condition. */
static void is_not_needed(void **state) {
    (void)state;
    program p       = causal_product();
    char error[512] = "";
    double *out[1];
    statement *all = p.condition->otherwise->body->body; /* masked where it is known to be 0 as well */
    node begins = graph_begin(p.g, p.s_index), ends = graph_end(p.g, p.t);
    p.columns->hi    = NODE_NONE;
    statement *inner = made(STATEMENT_IF, NULL); /* blocks above the diagonal have no product */
    inner->condition = compared(p.g, NODE_LESS, begins, ends);
    statement *rest  = p.product->next;
    p.product->next  = NULL;
    inner->body      = p.product;
    inner->next      = rest;
    p.columns->body  = inner;
    assert_true(all->target == p.masked);
    if (!tile_verify(p.s, error, sizeof error) ||
        !tile_interpret(p.s, (const double *const *)p.value, out, SEED, false, error, sizeof error))
        fail_msg("%s", error);
    double wanted[T * E];
    for (int k = 0; k < T * E; k++)
        wanted[k] = causal_product_by_loops(&p, k / E, k % E);
    assert_true(difference(out[0], wanted, T * E) < 1e-12);
    free(out[0]);
    end_program(&p);
}

/* The text form */

static char *text_of(schedule *s) {
    char *text  = NULL;
    size_t size = 0;
    FILE *file  = open_memstream(&text, &size);
    assert_non_null(file);
    schedule_print(s, file);
    fclose(file);
    return text;
}

// clang-format off
static const char causal_product_text[] =
    "schedule of 1 steps, workspace 0 bytes\n"
    "step 0: nest %0, 1 items\n"
    "  # 1.74 kFLOP matrix, 109 other, reads 1.44 kB, writes 156 B, tiles 176 B\n"
    "  %6 is in tile3[t:4,s:4] here\n"
    "  %11 is in tile4[t:4,s:4] here\n"
    "  %13 is in tile5[t:4,e] here\n"
    "  block t by 4\n"
    "    for t in its block\n"
    "      for e in 3\n"
    "        tile5[t:4,e] = 0\n"
    "    block s by 4 in [0, end(t))\n"
    "      product [t x d] . [d x s]: tile3[t:4,s:4](4,1) = a[t,d](5,1 at 5*begin(t)) . b[s,d](1,5 at 5*begin(s))\n"
    "      if le(sub(end(s), 1), begin(t))  (then known: and(le(s, t), lt(begin(s), end(s))))\n"
    "        for t in its block\n"
    "          for s in its block\n"
    "            tile4[t:4,s:4] = select(le(s, t), tile3[t:4,s:4], 0)\n"
    "      else\n"
    "        for t in its block\n"
    "          for s in its block\n"
    "            tile4[t:4,s:4] = select(le(s, t), tile3[t:4,s:4], 0)\n"
    "      product [t x s] . [s x e]: tile5[t:4,e](3,1) += tile4[t:4,s:4](4,1) . c[s,e](3,1 at 3*begin(s))\n"
    "    for t in its block\n"
    "      for e in 3\n"
    "        y[t,e] = tile5[t:4,e]\n"
    "# all steps:\n"
    "# 1.74 kFLOP matrix, 109 other, reads 1.44 kB, writes 156 B, tiles 176 B\n"
    "# workspace 0 B for 0 buffers, tiles of a thread 176 B\n";
static const char product_in_blocks_text[] =
    "schedule of 3 steps, workspace 128 bytes\n"
    "step 0: blocks t by 4\n"
    "  # 390 FLOP matrix, 65 exp, reads 760 B, writes 416 B\n"
    "  %3 is in buffer2[t:4,d] here\n"
    "  step 1: nest %0, 1 items\n"
    "    # 65 exp, reads 260 B, writes 260 B\n"
    "    for d in 5\n"
    "      for t in its block  # independent\n"
    "        buffer2[t:4,d] = exp(a[t,d])\n"
    "  step 2: product %0, 1 x [|t| x 5] . [5 x 3]\n"
    "    # 390 FLOP matrix, reads 500 B, writes 156 B\n"
    "    y[t,e](3,1 at 3*begin(t)) = buffer2[t:4,d](5,1) . c[d,e](3,1)\n"
    "# all steps:\n"
    "# 390 FLOP matrix, 65 exp, reads 760 B, writes 416 B\n"
    "# workspace 128 B for 1 buffer, tiles of a thread 0 B\n"
    "#   buffer2[t:4,d] at 0, 80 B, step 0\n";
static const char maximum_in_blocks_text[] =
    "schedule of 1 steps, workspace 0 bytes\n"
    "step 0: nest %0, 1 items\n"
    "  # 1.01 k other, reads 832 B, writes 156 B, tiles 156 B\n"
    "  %6 is in tile2[t,e] here\n"
    "  for t in 13\n"
    "    for e in 3\n"
    "      tile2[t,e] = -inf\n"
    "  block s by 4 in [0, 6)\n"
    "    for t in 13\n"
    "      for e in 3\n"
    "        tile2[t,e] = max onto itself[s] mul(a[s,t], c[s,e])\n"
    "  block s once, at most 13, in [6, 13)\n"
    "    for t in 13\n"
    "      for e in 3\n"
    "        tile2[t,e] = max onto itself[s] mul(a[s,t], c[s,e])\n"
    "  for t in reversed 13\n"
    "    for e in 3\n"
    "      y[t,e] = tile2[t,e]\n"
    "# all steps:\n"
    "# 1.01 k other, reads 832 B, writes 156 B, tiles 156 B\n"
    "# workspace 0 B for 0 buffers, tiles of a thread 156 B\n";
// clang-format on

static void has_a_text(void **state) {
    (void)state;
    static const char *const wanted[] = {causal_product_text, product_in_blocks_text, maximum_in_blocks_text};
    for (unsigned i = 0; i < 3; i++) {
        program p  = by_hand[i].make();
        char *text = text_of(p.s);
        assert_string_equal(text, wanted[i]);
        free(text);
        end_program(&p);
    }
}

static bool yes = true;

int main(void) {
    const struct CMUnitTest tests[] = {
        {"every_spec_forward", every_spec, NULL, NULL, NULL},
        {"every_spec_gradients", every_spec, NULL, NULL, &yes},
        cmocka_unit_test(whole_steps),
        {"a_causal_product", equals_loops, NULL, NULL, (void *)&by_hand[0]},
        {"a_product_in_blocks", equals_loops, NULL, NULL, (void *)&by_hand[1]},
        {"a_maximum_in_blocks", equals_loops, NULL, NULL, (void *)&by_hand[2]},
        cmocka_unit_test(is_refused),
        cmocka_unit_test(is_caught),
        cmocka_unit_test(is_not_needed),
        cmocka_unit_test(has_a_text),
    };
    return cmocka_run_group_tests_name("programs over tiles", tests, NULL, NULL);
}
