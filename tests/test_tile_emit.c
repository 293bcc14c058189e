/* Programs over tiles, written by hand, as machine code: compared with plain loops. */
/* cmocka needs these before it */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "compile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 37, WIDTH = 5, TABLE = ROWS * WIDTH };

/* x[t,d], z[s,d] and the output y[t,d], each of which is the buffer of its number. */
typedef struct program {
    schedule s;
    buffer buffer[8];
    step step[6];
    statement statement[24];
    unsigned statements;
    index_id t, s_, d;
    node x, z, causal;
    float in[2][TABLE], out[TABLE], wanted[TABLE];
} program;

static uint32_t add_buffer(program *p, buffer_place place, uint32_t number, unsigned rank, index_id i, int64_t block_i,
                           index_id k, int64_t block_k) {
    buffer *b      = &p->buffer[p->s.buffer_count];
    const graph *g = p->s.graph;
    *b             = (buffer){
                    .place = place, .number = number, .rank = rank, .axis = {i, k}, .block = {block_i, block_k}, .elements = 1};
    for (unsigned a = rank; a-- > 0;) {
        b->stride[a] = b->elements;
        b->elements *= b->block[a] ? b->block[a] : graph_index_extent(g, b->axis[a]);
    }
    if (place == PLACE_WORKSPACE) {
        b->offset = p->s.workspace;
        p->s.workspace += ((uint64_t)b->elements * 4 + 63) / 64 * 64;
    }
    return p->s.buffer_count++;
}

static statement *add(program *p, statement s) {
    statement *at = &p->statement[p->statements++];
    *at           = s;
    if (s.kind != STATEMENT_ACCUMULATE)
        at->scatter = GRAPH_INDICES;
    return at;
}

static node tensor_of(graph *g, const char *name, index_id i, index_id k) {
    tensor t = {.name = (char *)name, .kind = TENSOR_INPUT, .type = TYPE_FLOAT, .rank = 2, .index = {i, k}};
    return graph_tensor(g, graph_add_tensor(g, &t))->node;
}

static program *begin(void) {
    program *p = calloc(1, sizeof *p);
    assert_non_null(p);
    graph *g    = graph_new();
    p->s.graph  = g;
    p->s.buffer = p->buffer;
    p->s.step   = p->step;
    p->t        = graph_index(g, "t", ROWS);
    p->s_       = graph_index(g, "s", ROWS);
    p->d        = graph_index(g, "d", WIDTH);
    p->x        = tensor_of(g, "x", p->t, p->d);
    p->z        = tensor_of(g, "z", p->s_, p->d);
    p->causal = graph_pointwise(g, NODE_LESS_EQUAL, graph_index_value(g, p->s_), graph_index_value(g, p->t), NODE_NONE);
    for (int i = 0; i < TABLE; i++) {
        p->in[0][i] = (float)((i * 37 + 11) % 101) / 101 - 0.5f;
        p->in[1][i] = (float)((i * 53 + 29) % 97) / 97 - 0.5f;
    }
    /* y[t,d] = sum of (x[t]·z[s]) z[s,d] over s <= t */
    for (int t = 0; t < ROWS; t++)
        for (int s = 0; s <= t; s++) {
            float score = 0;
            for (int d = 0; d < WIDTH; d++)
                score += p->in[0][t * WIDTH + d] * p->in[1][s * WIDTH + d];
            for (int d = 0; d < WIDTH; d++)
                p->wanted[t * WIDTH + d] += score * p->in[1][s * WIDTH + d];
        }
    add_buffer(p, PLACE_TENSOR, 0, 2, p->t, 0, p->d, 0);
    add_buffer(p, PLACE_TENSOR, 1, 2, p->s_, 0, p->d, 0);
    add_buffer(p, PLACE_OUTPUT, 0, 2, p->t, 0, p->d, 0);
    return p;
}

static void place(program *p, const node *n, const uint32_t *number, unsigned count) {
    size_t nodes   = graph_node_count(p->s.graph) + 1;
    p->s.buffer_of = malloc(nodes * sizeof *p->s.buffer_of);
    assert_non_null(p->s.buffer_of);
    for (size_t i = 0; i < nodes; i++)
        p->s.buffer_of[i] = NO_BUFFER;
    p->s.buffer_of[p->x] = 0;
    p->s.buffer_of[p->z] = 1;
    for (unsigned i = 0; i < count; i++)
        p->s.buffer_of[n[i]] = number[i];
}

static void finish(program *p) {
    char error[512];
    const void *in[2] = {p->in[0], p->in[1]};
    void *out[1]      = {p->out};
    for (int i = 0; i < TABLE; i++)
        p->out[i] = NAN;
    compiled *code = compile_schedule(&p->s, &(compile_options){0}, error, sizeof error);
    if (!code)
        print_message("%s\n", error);
    assert_non_null(code);
    assert_true(compiled_run(code, in, out, 0));
    for (int i = 0; i < TABLE; i++) {
        if (!(fabsf(p->out[i] - p->wanted[i]) <= 1e-5f))
            print_message("%d: %g, not %g\n", i, p->out[i], p->wanted[i]);
        assert_true(fabsf(p->out[i] - p->wanted[i]) <= 1e-5f);
    }
    compiled_free(code);
    free(p->s.buffer_of);
    graph_free((graph *)p->s.graph);
    free(p);
}

static node from_begin(graph *g, index_id i) {
    return graph_sub(g, graph_index_value(g, i), graph_begin(g, i));
}

/* result[t, d] += scores[t, s] * z[s, d], where scores has one block of t and s, and so has result of t, or all of it.
 */
static matrix_product *multiply(program *p, uint32_t scores, uint32_t result, int64_t row, bool whole_result) {
    graph *g          = (graph *)p->s.graph;
    matrix_product *m = calloc(1, sizeof *m);
    assert_non_null(m);
    node t = graph_index_value(g, p->t), s = graph_index_value(g, p->s_);
    *m = (matrix_product){.a       = {scores, row, 1, 2, {from_begin(g, p->t), from_begin(g, p->s_)}, {row, 1}},
                          .b       = {1, WIDTH, 1, 1, {s}, {WIDTH}},
                          .c       = {result, WIDTH, 1, 1, {whole_result ? t : from_begin(g, p->t)}, {WIDTH}},
                          .rows    = {1, {p->t}},
                          .columns = {1, {p->d}},
                          .inner   = {1, {p->s_}},
                          .into    = true};
    return m;
}

/* The whole of it in one kernel: tiles of 8 by 7, rows in a block of their own with and without a mask. */
static void blocks_in_a_kernel(void **state) {
    (void)state;
    program *p      = begin();
    graph *g        = (graph *)p->s.graph;
    uint32_t scores = add_buffer(p, PLACE_TILE, 0, 2, p->t, 8, p->s_, 7);
    uint32_t result = add_buffer(p, PLACE_TILE, 0, 2, p->t, 8, p->d, 0);
    node score      = graph_reduce(g, REDUCE_SUM, (index_set)1 << p->d, NODE_NONE, graph_mul(g, p->x, p->z));
    node one        = graph_new_held(g, (index_set)1 << p->t | (index_set)1 << p->s_, TYPE_FLOAT);
    node sum        = graph_new_held(g, (index_set)1 << p->t | (index_set)1 << p->d, TYPE_FLOAT);
    node masked     = graph_select(g, p->causal, one, graph_float(g, 0));
    node zero = graph_int(g, 0), four = graph_int(g, 4);
    node full               = graph_pointwise(g, NODE_LESS_EQUAL, graph_end(g, p->s_),
                                              graph_add(g, graph_begin(g, p->t), graph_int(g, 1)), NODE_NONE);
    matrix_product *m       = multiply(p, scores, result, 7, false);
    matrix_product *nothing = multiply(p, scores, result, 7, false);
    nothing->into           = false;
    node last               = graph_end(g, p->t);
    place(p, (node[]){one, sum}, (uint32_t[]){scores, result}, 2);

    statement *copy       = add(p, (statement){.kind = STATEMENT_STORE, .target = 2, .value = sum});
    copy                  = add(p, (statement){.kind = STATEMENT_FOR, .index = p->d, .body = copy});
    copy                  = add(p, (statement){.kind = STATEMENT_FOR, .index = p->t, .reverse = true, .body = copy});
    statement *multiplied = add(p, (statement){.kind = STATEMENT_PRODUCT, .product = m});
    statement *loops[2];
    for (int i = 0; i < 2; i++) { /* the mask is known in the first */
        statement *mask = add(p, (statement){.kind = STATEMENT_STORE, .target = scores, .value = masked});
        mask            = add(p, (statement){.kind = STATEMENT_FOR, .index = p->s_, .body = mask});
        loops[i]        = add(p, (statement){.kind = STATEMENT_FOR, .index = p->t, .body = mask});
    }
    statement *either = add(p, (statement){.kind      = STATEMENT_IF,
                                           .condition = full,
                                           .assumed   = p->causal,
                                           .body      = loops[0],
                                           .otherwise = loops[1],
                                           .next      = multiplied});
    statement *dot    = add(p, (statement){.kind      = STATEMENT_REDUCE,
                                           .target    = scores,
                                           .value     = score,
                                           .reduction = REDUCE_SUM,
                                           .var_count = 1,
                                           .var       = {p->d},
                                           .summand   = graph_view(g, score).child[1]});
    dot               = add(p, (statement){.kind = STATEMENT_FOR, .index = p->s_, .body = dot});
    dot               = add(p, (statement){.kind = STATEMENT_FOR, .index = p->t, .body = dot, .next = either});
    statement *stream =
        add(p, (statement){.kind = STATEMENT_BLOCK, .index = p->s_, .block = 7, .hi = last, .body = dot, .next = copy});
    /* a product over nothing is zero */
    statement *clear  = add(p, (statement){.kind = STATEMENT_PRODUCT, .product = nothing});
    statement *zeroed = add(p, (statement){.kind  = STATEMENT_BLOCK,
                                           .index = p->s_,
                                           .once  = true,
                                           .lo    = four,
                                           .hi    = zero,
                                           .body  = clear,
                                           .next  = stream});
    p->step[0] =
        (step){.kind   = STEP_NEST,
               .split  = GRAPH_INDICES,
               .items  = 1,
               .ranged = {0},
               .body   = add(p, (statement){.kind = STATEMENT_BLOCK, .index = p->t, .block = 8, .body = zeroed})};
    p->s.step_count = 1;
    finish(p);
    free(m);
    free(nothing);
}

/* The same as steps: in blocks of rows a nest (in threads, its items ranged) and a product, then sums into the output.
 */
static void blocks_of_steps(void **state) {
    bool split        = *(const bool *)*state;
    program *p        = begin();
    graph *g          = (graph *)p->s.graph;
    uint32_t scores   = add_buffer(p, PLACE_WORKSPACE, 0, 2, p->t, 9, p->s_, 0);
    node score        = graph_reduce(g, REDUCE_SUM, (index_set)1 << p->d, p->causal, graph_mul(g, p->x, p->z));
    matrix_product *m = multiply(p, scores, 2, ROWS, true);
    m->into           = false;
    node_view v       = graph_view(g, score);
    place(p, NULL, NULL, 0);
    statement *dot  = add(p, (statement){.kind      = STATEMENT_REDUCE,
                                         .target    = scores,
                                         .value     = score,
                                         .reduction = REDUCE_SUM,
                                         .var_count = 1,
                                         .var       = {p->d},
                                         .domain    = v.child[0],
                                         .summand   = v.child[1]});
    dot             = add(p, (statement){.kind = STATEMENT_FOR, .index = p->s_, .body = dot, .parallel = true});
    dot             = add(p, (statement){.kind = STATEMENT_FOR, .index = p->t, .body = dot, .parallel = true});
    placement local = {score, scores};
    p->step[0]      = (step){.kind        = STEP_BLOCKS,
                             .index       = p->t,
                             .block       = 9,
                             .inside      = 2,
                             .split       = GRAPH_INDICES,
                             .local       = &local,
                             .local_count = 1};
    p->step[1]      = (step){.kind           = STEP_NEST,
                             .body           = dot,
                             .split          = split ? p->t : GRAPH_INDICES,
                             .parallel_count = split ? 0 : 2,
                             .items          = split ? 9 : 9 * ROWS,
                             .work           = 1000000,
                             .ranged         = {1, {p->t}}};
    p->step[2]      = (step){
             .kind = STEP_PRODUCT, .product = m, .items = 1, .split = GRAPH_INDICES, .work = 1, .ranged = {1, {p->t}}};
    p->s.step_count = 3;
    finish(p);
    free(m);
}

/* Blocks within blocks: the inner ones end where the outer one does. */
static void blocks_in_blocks_of_steps(void **state) {
    (void)state;
    program *p      = begin();
    graph *g        = (graph *)p->s.graph;
    uint32_t scores = add_buffer(p, PLACE_WORKSPACE, 0, 2, p->t, 9, p->s_, 7);
    node score      = graph_reduce(g, REDUCE_SUM, (index_set)1 << p->d, p->causal, graph_mul(g, p->x, p->z));
    node zero = graph_float(g, 0), last = graph_end(g, p->t);
    matrix_product *m = multiply(p, scores, 2, 7, true);
    node_view v       = graph_view(g, score);
    axis_order outer = {1, {p->t}}, both = {2, {p->t, p->s_}};
    placement local = {score, scores};
    place(p, NULL, NULL, 0);
    statement *clear = add(p, (statement){.kind = STATEMENT_STORE, .target = 2, .value = zero});
    clear            = add(p, (statement){.kind = STATEMENT_FOR, .index = p->d, .body = clear});
    clear            = add(p, (statement){.kind = STATEMENT_FOR, .index = p->t, .body = clear, .parallel = true});
    statement *dot   = add(p, (statement){.kind      = STATEMENT_REDUCE,
                                          .target    = scores,
                                          .value     = score,
                                          .reduction = REDUCE_SUM,
                                          .var_count = 1,
                                          .var       = {p->d},
                                          .domain    = v.child[0],
                                          .summand   = v.child[1]});
    dot              = add(p, (statement){.kind = STATEMENT_FOR, .index = p->s_, .body = dot, .parallel = true});
    dot              = add(p, (statement){.kind = STATEMENT_FOR, .index = p->t, .body = dot, .parallel = true});
    const step all[] = {
        {.kind = STEP_BLOCKS, .index = p->t, .block = 9, .inside = 4, .split = GRAPH_INDICES},
        {.kind = STEP_NEST, .body = clear, .split = GRAPH_INDICES, .parallel_count = 1, .items = 9, .ranged = outer},
        {.kind        = STEP_BLOCKS,
         .index       = p->s_,
         .block       = 7,
         .hi          = last,
         .inside      = 2,
         .split       = GRAPH_INDICES,
         .ranged      = outer,
         .local       = &local,
         .local_count = 1},
        {.kind           = STEP_NEST,
         .body           = dot,
         .split          = GRAPH_INDICES,
         .parallel_count = 2,
         .items          = 63,
         .work           = 1000000,
         .ranged         = both},
        {.kind = STEP_PRODUCT, .product = m, .items = 1, .work = 1, .split = GRAPH_INDICES, .ranged = both}};
    memcpy(p->step, all, sizeof all);
    p->s.step_count = 5;
    finish(p);
    free(m);
}

/* A sum in pieces: one that is empty, the rest into what the first left. */
static void sums_into(void **state) {
    (void)state;
    program *p      = begin();
    graph *g        = (graph *)p->s.graph;
    uint32_t scores = add_buffer(p, PLACE_TILE, 0, 1, p->s_, 0, 0, 0);
    node score      = graph_reduce(g, REDUCE_SUM, (index_set)1 << p->d, NODE_NONE, graph_mul(g, p->x, p->z));
    node summand    = graph_mul(g, score, p->z);
    node middle = graph_int(g, 13), four = graph_int(g, 4);
    place(p, (node[]){score}, (uint32_t[]){scores}, 1);
    statement *body[2];
    for (int i = 0; i < 2; i++) {
        statement *sum = add(p, (statement){.kind      = STATEMENT_REDUCE,
                                            .target    = 2,
                                            .reduction = REDUCE_SUM,
                                            .into      = i,
                                            .var_count = 1,
                                            .var       = {p->s_},
                                            .domain    = p->causal,
                                            .summand   = summand});
        body[i]        = add(p, (statement){.kind = STATEMENT_FOR, .index = p->d, .body = sum});
    }
    statement *rest =
        add(p, (statement){.kind = STATEMENT_BLOCK, .index = p->s_, .block = 5, .lo = middle, .body = body[1]});
    statement *none = add(p, (statement){.kind  = STATEMENT_BLOCK,
                                         .index = p->s_,
                                         .once  = true,
                                         .lo    = middle,
                                         .hi    = four,
                                         .body  = body[1],
                                         .next  = rest});
    statement *first =
        add(p, (statement){
                   .kind = STATEMENT_BLOCK, .index = p->s_, .once = true, .hi = middle, .body = body[0], .next = none});
    statement *dot = add(p, (statement){.kind      = STATEMENT_REDUCE,
                                        .target    = scores,
                                        .value     = score,
                                        .reduction = REDUCE_SUM,
                                        .var_count = 1,
                                        .var       = {p->d},
                                        .summand   = graph_view(g, score).child[1]});
    dot            = add(p, (statement){.kind = STATEMENT_FOR, .index = p->s_, .body = dot, .next = first});
    p->step[0] =
        (step){.kind           = STEP_NEST,
               .split          = GRAPH_INDICES,
               .parallel_count = 1,
               .items          = ROWS,
               .work           = 1000000,
               .body = add(p, (statement){.kind = STATEMENT_FOR, .index = p->t, .parallel = true, .body = dot})};
    p->s.step_count = 1;
    finish(p);
}

int main(void) {
    static bool yes = true, no = false;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_in_a_kernel),
        {"blocks_of_steps", blocks_of_steps, NULL, NULL, &no},
        {"blocks_of_steps_split", blocks_of_steps, NULL, NULL, &yes},
        cmocka_unit_test(blocks_in_blocks_of_steps),
        cmocka_unit_test(sums_into),
    };
    return cmocka_run_group_tests_name("tile_emit", tests, NULL, NULL);
}
