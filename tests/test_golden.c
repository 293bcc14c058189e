/* Derived and simplified gradients against published formulas, term for term. golden/NAME.att is a mechanism,
 * golden/NAME.backward.att its backward pass as it was published, written out by hand and not simplified. The two are
 * the same terms, but for the numbering of nodes and such (same_term.h). Where attnc writes the same thing differently,
 * at the same work, the reference follows it and its comment says so. ATTNC_DIFFERENCES=1 prints the terms of cases
 * that are skipped, too. */

/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "derive.h"
#include "elaborate.h"
#include "gradcheck.h"
#include "same_term.h"
#include "simplify.h"
#include "term_text.h"

enum { NAME_SIZE = 256, WRITTEN_NODES = 400 };

static graph *read_graph(const char *name, const binding *sizes, size_t count) {
    char path[2 * NAME_SIZE];
    diagnostics d = {.stream = stderr};
    graph *g      = graph_new();
    snprintf(path, sizeof path, TEST_SOURCE_DIR "/tests/golden/%s.att", name);
    spec *s = spec_read(path, NULL, &d);
    assert_non_null(s);
    elaboration how = {.bindings = sizes, .binding_count = count, .training = true};
    assert_true(elaborate_mechanism(g, s, &how, &d));
    spec_free(s);
    return g;
}

static void simplify(graph *g) {
    char error[512] = "";
    derive_forget_stops(g);
    simplify_outputs(g, NULL);
    if (!graph_verify(g, error, sizeof error))
        fail_msg("%s", error);
}

static graph *derived_graph(const char *name) {
    graph *g = read_graph(name, NULL, 0);
    assert_true(gradcheck_add_backward(g));
    simplify(g);
    return g;
}

/* As it is written, not simplified. */
static graph *published_graph(const char *name) {
    graph *g = read_graph(name, NULL, 0);
    derive_forget_stops(g);
    return g;
}

/* `cotangent.o` is `do`. */
static bool same_name(const char *derived, const char *published) {
    static const char cotangent[] = "cotangent.";
    if (strncmp(derived, cotangent, sizeof cotangent - 1) == 0)
        return published[0] == 'd' && strcmp(derived + sizeof cotangent - 1, published + 1) == 0;
    return strcmp(derived, published) == 0;
}

/* `gradient.q` is `gradient_q`. */
static const output *counterpart(const graph *published, const output *derived) {
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s", derived->name);
    if (derived->kind == OUTPUT_GRADIENT)
        name[strcspn(name, ".")] = '_';
    for (uint32_t i = 0; i < graph_output_count(published); i++)
        if (strcmp(graph_output(published, i)->name, name) == 0)
            return graph_output(published, i);
    return NULL;
}

static void print_term(const char *what, const graph *g, const output *o) {
    int room = WRITTEN_NODES;
    fprintf(stderr, "%s: %s = ", what, o->name);
    write_term(stderr, g, o->node, &room);
    fputs("\n", stderr);
}

/* How many outputs are not the same. What has no counterpart must be the constant 0. */
static unsigned differences(const graph *derived, const graph *published, bool print) {
    comparison c   = {.g = {derived, published}, .same_name = same_name, .mask = "keep"};
    unsigned found = 0, compared = 0;
    for (uint32_t i = 0; i < graph_output_count(derived); i++) {
        const output *a = graph_output(derived, i), *b = counterpart(published, a);
        double zero = 1;
        if (a->kind == OUTPUT_LOSS || (!b && graph_is_constant(derived, a->node, &zero) && zero == 0))
            continue;
        compared++;
        if (b && same_output(&c, a, b))
            continue;
        found++;
        if (print)
            print_term("derived", derived, a);
        if (print && b)
            print_term("published", published, b);
    }
    forget_pairs(&c);
    if (compared != graph_output_count(published))
        fail_msg("%u outputs are compared, %u published", compared, graph_output_count(published));
    return found;
}

static const struct golden {
    const char *title;
    const char *name, *published;
    const char *lacking; /* before it comes out as published: it is skipped, and fails once it does come out */
} cases[] = {
    {"softmax attention", "softmax", "softmax.backward", NULL},
    {"with dropout", "softmax_dropout", "softmax_dropout.backward", NULL},
    {"without a mask", "softmax_full", "softmax_full.backward", NULL},
    {"with grouped heads", "softmax_grouped", "softmax_grouped.backward", NULL},
    {"without stop", "softmax_by_hand", "softmax.backward", NULL},
    {"RMS-norm", "rmsnorm", "rmsnorm.backward", NULL},
    {"layer norm", "layernorm", "layernorm.backward", NULL},
    {"layer norm, one pass", "layernorm", "layernorm.one_pass",
     "that deviations from a mean sum to 0 is not known to any rule"},
    {"cross-entropy", "crossentropy", "crossentropy.backward", NULL},
    {"linear attention", "linear", "linear.backward", NULL},
    {"delta rule", "delta", "delta.backward", NULL},
    {"gated delta rule", "gated_delta", "gated_delta.backward",
     "a is multiplied into b before the sum over i, as that is narrower, so that the sum of b dS is made a second "
     "time"},
    {"gated delta rule, joined", "gated_delta_joined", "gated_delta_joined.backward", NULL},
    {"GeLU", "gelu", "gelu.backward", NULL},
    {"SiLU", "silu", "silu.backward",
     "the sigmoid of lib/standard.att has two branches, and 1 - sigmoid is not found in their derivatives"},
};

static void term_for_term(void **state) {
    const struct golden *c = *state;
    graph *derived = derived_graph(c->name), *published = published_graph(c->published);
    unsigned found = differences(derived, published, c->lacking == NULL || getenv("ATTNC_DIFFERENCES"));
    graph_free(derived);
    graph_free(published);
    if (found && c->lacking) {
        print_message("%s: %s\n", c->title, c->lacking);
        skip();
    }
    if (c->lacking)
        fail_msg("%s comes out as published now: nothing is lacking", c->title);
    assert_int_equal(found, 0);
}

/* Latent attention, forward only: one query is multiplied with the expansion of the keys first, which is never made,
 * and of the values last; for many queries keys and values are made once. */
static void latent(void **state) {
    static const struct {
        double queries;
        const char *published;
    } forms[] = {{1, "latent.absorbed"}, {61, "latent.expanded"}};
    (void)state;
    for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++) {
        graph *g      = read_graph("latent", &(binding){"T", forms[i].queries}, 1),
              *wanted = published_graph(forms[i].published);
        simplify(g);
        assert_int_equal(differences(g, wanted, true), 0);
        graph_free(g);
        graph_free(wanted);
    }
}

/* Work over pairs of positions */

/* What one walk over all pairs of positions computes for some outputs, what has one position at most being there. */
typedef struct pair_walk {
    const graph *g;
    int64_t extent[2]; /* of the indices that are positions; no other index has one of these */
    uint8_t *seen;
    unsigned contractions; /* sums of products over both positions */
    unsigned sums;         /* other reductions of what has both */
    unsigned exponentials; /* of every pair */
    unsigned kept;         /* read, and not an input */
    int64_t numbers;       /* in them */
} pair_walk;

static unsigned positions_of(const pair_walk *w, index_set set) {
    unsigned count = 0;
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (in_set(set, i)) {
            int64_t extent = graph_index_extent(w->g, (index_id)i);
            count += extent == w->extent[0] || extent == w->extent[1];
        }
    return count;
}

static bool is_pair(const pair_walk *w, node n) {
    return positions_of(w, graph_view(w->g, n).free) >= 2;
}

static bool is_input(const graph *g, node n) {
    node_view v = graph_view(g, n);
    if (v.op == NODE_GATHER)
        return is_input(g, v.child[0]);
    return v.op == NODE_TENSOR || v.op == NODE_INDEX || v.free == 0;
}

typedef enum pair_reader { NO_PAIR, A_PAIR, A_PAIRS_SUM /* over features */ } pair_reader;

static void walk_pairs(pair_walk *w, node n, pair_reader reader) {
    node_view v = graph_view(w->g, n);
    bool pair   = is_pair(w, n);
    if (w->seen[n]++ || is_input(w->g, n))
        return;
    if (!pair && reader != NO_PAIR) {
        w->kept++;
        w->numbers += graph_space(w->g, v.free);
        return;
    }
    bool reduces = v.op == NODE_REDUCE && positions_of(w, v.free | v.vars) >= 2;
    if (reduces && v.reduction == REDUCE_SUM && graph_view(w->g, v.child[1]).op == NODE_MUL)
        w->contractions++;
    else if (reduces)
        w->sums++;
    w->exponentials += pair && v.op == NODE_EXP;
    /* A pair's value is computed on the spot: pointwise, from sums over features of what is kept. */
    bool sum = pair && v.op == NODE_REDUCE;
    if (pair && ((!graph_op_is_pointwise(v.op) && v.op != NODE_REDUCE && v.op != NODE_RANDOM) ||
                 (sum && (positions_of(w, v.vars) || reader == A_PAIRS_SUM))))
        fail_msg("a value of every pair of positions must be kept: node %u, %s", n, graph_op_name(v.op));
    for (unsigned k = 0; k < v.child_count; k++)
        walk_pairs(w, v.child[k], sum || reader == A_PAIRS_SUM ? A_PAIRS_SUM : pair || reduces ? A_PAIR : NO_PAIR);
}

static pair_walk walk_outputs(const graph *g, output_kind kind, int64_t rows, int64_t columns) {
    pair_walk w = {.g = g, .extent = {rows, columns}, .seen = calloc(graph_node_count(g) + 1, 1)};
    assert_non_null(w.seen);
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (graph_output(g, i)->kind == kind)
            walk_pairs(&w, graph_output(g, i)->node, NO_PAIR);
    free(w.seen);
    return w;
}

/* The backward pass of FlashAttention-2, algorithm 2: q kᵀ, do vᵀ and three results, one exponential, L and D for each
 * row, and nothing else that is kept. The forward pass: q kᵀ and p v, one exponential, L. */
static void work_over_pairs(void **state) {
    static const struct {
        const char *name;
        int64_t columns, numbers; /* numbers: in a row statistic */
    } of[] = {{"softmax", 13, 13},
              {"softmax_dropout", 13, 13},
              {"softmax_full", 11, 13},
              {"softmax_grouped", 13, 6 * 13},
              {"softmax_by_hand", 13, 13}};
    (void)state;
    for (unsigned i = 0; i < sizeof of / sizeof *of; i++) {
        graph *g           = derived_graph(of[i].name);
        pair_walk backward = walk_outputs(g, OUTPUT_GRADIENT, 13, of[i].columns);
        pair_walk forward  = walk_outputs(g, OUTPUT_VALUE, 13, of[i].columns);
        assert_int_equal(backward.contractions, 5);
        assert_int_equal(backward.exponentials, 1);
        assert_int_equal(backward.sums, 0);
        assert_int_equal(backward.kept, 2);
        assert_int_equal(backward.numbers, 2 * of[i].numbers);
        assert_int_equal(forward.contractions, 2);
        assert_int_equal(forward.exponentials, 1);
        assert_int_equal(forward.sums, 0);
        assert_int_equal(forward.kept, 1);
        graph_free(g);
    }
}

enum { CASES = sizeof cases / sizeof *cases };

int main(void) {
    const struct CMUnitTest others[] = {cmocka_unit_test(latent), cmocka_unit_test(work_over_pairs)};
    struct CMUnitTest tests[CASES];
    for (unsigned i = 0; i < CASES; i++)
        tests[i] = (struct CMUnitTest){cases[i].title, term_for_term, NULL, NULL, (void *)(uintptr_t)&cases[i]};
    return cmocka_run_group_tests_name("term for term", tests, NULL, NULL) +
           cmocka_run_group_tests_name("work", others, NULL, NULL);
}
