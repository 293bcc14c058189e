/* What the backward pass costs over the forward, for docs/derivation.md: a Markdown table, a line for each variant of
 * the specs named.
 *
 *     derive_table SPEC...
 *
 * Forward: what the outputs and losses need, at the spec's own sizes, in training. Backward: what the gradients of all
 * inputs and parameters need and the forward has not kept. Kept are values of at most as many elements as time is long,
 * times what does not depend on its length; larger ones (scores of every pair of positions) are computed again and
 * counted again. Which those are is found by elaborating the spec with time twice as long. Operations are those of
 * cost.h in millions (Mop), so a causal sum counts its half. Nodes are those with operands.
 *
 * Core: of matrix products over two indices of time (scores, probabilities times values, and their gradients), elements
 * summed in the backward over those in the forward. A matrix product is a sum of a product none of whose factors has
 * all of the indices. Published backward passes of softmax attention have five such products, its forward two. */
#include "causality.h"
#include "cost.h"
#include "derive.h"
#include "enough.h"
#include "gradcheck.h"
#include "rewrite.h"
#include "simplify.h"
#include "sizes.h"
#include "table.h"

#include <stdlib.h>
#include <string.h>

enum { STRETCH = 2, LOSSES = 64 };

typedef struct measure {
    size_t nodes;
    wide operations, core;
    bool exact;
} measure;

/* By how much the extents of indices grow where time is STRETCH times as long. */
typedef struct growth {
    double of[GRAPH_INDICES];
} growth;

static const row HEAD = {{"spec", "forward nodes", "backward", "ratio", "forward Mop", "backward", "ratio", "core"}};

static void fail(const char *what, const char *which) {
    fprintf(stderr, "derive_table: %s %s\n", what, which);
    exit(1);
}

/* Adds the gradients of outputs and losses together; STOPs are forgotten. */
static void add_backward(graph *g, const spec *s) {
    output loss[LOSSES];
    uint32_t losses = 0;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (graph_output(g, i)->kind == OUTPUT_LOSS) {
            if (losses == LOSSES)
                fail("too many losses in", spec_path(s));
            loss[losses]      = *graph_output(g, i);
            loss[losses].name = enough(strdup(loss[losses].name));
            losses++;
        }
    if (!gradcheck_add_backward(g))
        fail("no real output in", spec_path(s));
    graph_drop_outputs(g, OUTPUT_LOSS); /* without the sum of outputs times their adjoints */
    for (uint32_t i = 0; i < losses; i++) {
        graph_add_output(g, &loss[i]);
        free(loss[i].name);
    }
    derive_forget_stops(g);
}

static bool named_growth(const graph *g, const graph *longer, index_id i, double *out) {
    for (unsigned k = 0; k < graph_index_count(longer); k++)
        if (strcmp(graph_index_name(longer, (index_id)k), graph_index_name(g, i)) == 0) {
            *out = (double)graph_index_extent(longer, (index_id)k) / (double)graph_index_extent(g, i);
            return true;
        }
    return false;
}

/* 1 everywhere where the spec has no length of time. */
static growth find_growth(const graph *g, const spec *s, const elaboration *how) {
    growth w;
    declared_sizes sizes;
    sizes_of(s, how, &sizes);
    const declared_size *time = sizes_time(&sizes);
    graph *longer = time ? sizes_elaborate(s, how, &(binding){time->name, (double)time->value * STRETCH}, 1) : NULL;
    if (longer)
        add_backward(longer, s);
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        w.of[i] = 1;
    for (unsigned i = 0; longer && i < graph_index_count(g); i++)
        if (!named_growth(g, longer, (index_id)i, &w.of[i]))
            fail("indices differ where time is longer in", spec_path(s));
    graph_free(longer);
    return w;
}

static bool more_than_linear(const growth *w, index_set set) {
    double factor = 1;
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (set >> i & 1)
            factor *= w->of[i];
    return factor > 1.01 * STRETCH; /* extents are rounded */
}

/* What the outputs of the given kinds need. */
static uint8_t *needed(const graph *g, unsigned kinds) {
    size_t nodes  = graph_node_count(g);
    uint8_t *mark = enough(calloc(nodes + 1, 1));
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (kinds >> graph_output(g, i)->kind & 1)
            mark[graph_output(g, i)->node] = 1;
    for (size_t n = nodes; n > 0; n--) {
        node_view v = graph_view(g, (node)n);
        for (unsigned i = 0; mark[n] && i < v.child_count; i++)
            mark[v.child[i]] = 1;
    }
    return mark;
}

/* The factors of n: how many, all of their indices, and whether one of them has all of `whole`. */
static unsigned factors(const graph *g, node n, index_set whole, index_set *all, bool *elementwise) {
    node_view v = graph_view(g, n);
    double value;
    if (v.op == NODE_MUL || v.op == NODE_DIV)
        return factors(g, v.child[0], whole, all, elementwise) + factors(g, v.child[1], whole, all, elementwise);
    if (v.op == NODE_NEG)
        return factors(g, v.child[0], whole, all, elementwise);
    for (unsigned k = 1; v.op == NODE_SELECT && k < 3; k++)
        if (graph_is_constant(g, v.child[k], &value) && value == 0)
            return factors(g, v.child[3 - k], whole, all, elementwise);
    *all |= v.free;
    *elementwise |= (whole & ~v.free) == 0;
    return v.free != 0;
}

static bool is_core(const graph *g, node n, const growth *w) {
    node_view v      = graph_view(g, n);
    index_set all    = 0;
    bool elementwise = false;
    if (v.op != NODE_REDUCE || v.reduction != REDUCE_SUM || v.type != TYPE_FLOAT)
        return false;
    unsigned count = factors(g, v.child[1], v.free | v.vars, &all, &elementwise);
    return count > 1 && !elementwise && more_than_linear(w, all);
}

static measure measure_outputs(graph *g, const growth *w) {
    uint8_t *mark = needed(g, 1u << OUTPUT_VALUE | 1u << OUTPUT_LOSS);
    size_t nodes  = graph_node_count(g);
    cost *c       = cost_of(g, true);
    measure m     = {.operations = c->operations, .exact = c->exact};
    for (node n = 1; n <= nodes; n++) {
        m.nodes += mark[n] && graph_view(g, n).child_count > 0;
        if (mark[n] && is_core(g, n, w))
            m.core = wide_add(m.core, c->of_node[n]);
    }
    cost_free(c);
    free(mark);
    return m;
}

/* A tensor that stands for what was kept of n. */
static node kept(graph *g, node n) {
    char name[32];
    node_view v = graph_view(g, n);
    tensor t    = {.name = name, .kind = TENSOR_INPUT, .type = TYPE_FLOAT};
    snprintf(name, sizeof name, "kept.%u", n);
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (v.free >> i & 1)
            t.index[t.rank++] = (index_id)i;
    return graph_tensor(g, graph_add_tensor(g, &t))->node;
}

static bool is_kept(const graph *g, node n, const growth *w) {
    node_view v = graph_view(g, n);
    return v.child_count > 0 && v.type == TYPE_FLOAT && !graph_is_open(g, n) && !more_than_linear(w, v.free) &&
           __builtin_popcountll(v.free) <= TENSOR_RANK;
}

/* The graph becomes one whose outputs are the gradients, made from what the forward has kept. */
static void forget_forward(graph *g, const growth *w) {
    size_t nodes = graph_node_count(g), roots = 0;
    uint8_t *mark = needed(g, 1u << OUTPUT_VALUE | 1u << OUTPUT_LOSS);
    node *from = enough(calloc(nodes + 1, sizeof *from)), *to = enough(calloc(nodes + 1, sizeof *to));
    node *root     = enough(calloc(graph_output_count(g) + 1, sizeof *root));
    output *result = enough(calloc(graph_output_count(g) + 1, sizeof *result));
    unsigned count = 0;
    for (node n = 1; n <= nodes; n++)
        if (mark[n] && is_kept(g, n, w)) {
            from[count] = n;
            to[count++] = kept(g, n);
        }
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (graph_output(g, i)->kind == OUTPUT_GRADIENT) {
            root[roots]        = graph_output(g, i)->node;
            result[roots]      = *graph_output(g, i);
            result[roots].name = enough(strdup(result[roots].name));
            roots++;
        }
    rewrite_replace(g, count, from, to, roots, root);
    graph_drop_outputs(g, OUTPUT_VALUE);
    graph_drop_outputs(g, OUTPUT_LOSS);
    graph_drop_outputs(g, OUTPUT_GRADIENT);
    for (size_t i = 0; i < roots; i++) {
        result[i].kind = OUTPUT_VALUE;
        result[i].node = root[i];
        graph_add_output(g, &result[i]);
        free(result[i].name);
    }
    free(mark);
    free(from);
    free(to);
    free(root);
    free(result);
}

static void print_number(char *cell, const measure *m, double value) {
    snprintf(cell, CELL, "%s%.*f", m->exact ? "" : "at most ", value < 100 ? 2 : 0, value);
}

static void print_ratio(char *cell, double above, double below) {
    if (below > 0)
        snprintf(cell, CELL, "%.2f", above / below);
    else
        snprintf(cell, CELL, "–");
}

static void add_row(table *t, const char *name, const measure *forward, const measure *backward) {
    row *r = new_row(t);
    snprintf(r->cell[0], CELL, "%s", name);
    snprintf(r->cell[1], CELL, "%zu", forward->nodes);
    snprintf(r->cell[2], CELL, "%zu", backward->nodes);
    print_ratio(r->cell[3], (double)backward->nodes, (double)forward->nodes);
    print_number(r->cell[4], forward, 1e-6 * (double)forward->operations);
    print_number(r->cell[5], backward, 1e-6 * (double)backward->operations);
    print_ratio(r->cell[6], (double)backward->operations, (double)forward->operations);
    print_ratio(r->cell[7], (double)backward->core, (double)forward->core);
}

static void add_variant(table *t, const spec *s, const char *variant, bool simplify) {
    elaboration how = {.training = true, .variant = variant};
    diagnostics d   = {.stream = stderr};
    graph *g        = graph_new();
    if (!elaborate_mechanism(g, s, &how, &d))
        fail("cannot elaborate", spec_path(s));
    add_backward(g, s);
    growth w = find_growth(g, s, &how);
    if (simplify)
        simplify_outputs(g, NULL);
    measure forward = measure_outputs(g, &w);
    forget_forward(g, &w);
    measure backward = measure_outputs(g, &w);
    add_row(t, variant ? variant : spec_name(s), &forward, &backward);
    graph_free(g);
}

static void add_spec(table *t, const char *path, bool simplify) {
    diagnostics d = {.stream = stderr};
    spec *s       = spec_read(path, NULL, &d);
    if (!s)
        fail("cannot read", path);
    if (spec_get_kind(s) != SPEC_MECHANISM)
        fail("no mechanism:", path);
    size_t variants = spec_variant_count(s);
    for (size_t v = 0; v < variants || v == 0; v++)
        add_variant(t, s, v < variants ? spec_variant_name(s, v) : NULL, simplify);
    spec_free(s);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: derive_table SPEC...\n");
        return 2;
    }
    table plain = {0};
    for (int i = 1; i < argc; i++)
        add_spec(&plain, argv[i], false);
    printf("As derived:\n\n");
    print_table(&plain, &HEAD);
    free(plain.line);
    table simple = {0};
    for (int i = 1; i < argc; i++)
        add_spec(&simple, argv[i], true);
    printf("\nSimplified:\n\n");
    print_table(&simple, &HEAD);
    free(simple.line);
    return 0;
}
