/* The work of a gated delta rule in chunks, forward and backward, against the published chunkwise form:
 *
 *     recurrence_work [--length=T] [--batch=B] SPEC
 *
 * for chunks of 16, 32, 64, 128 positions and as the compiler chooses. The spec has sizes B, H and E, which are its
 * batch, heads and the width of a key and of a value: specs/linear.att. T is 1024, B 4 where nothing is said.
 *
 * Counted, with the schedule's own counts, are products of matrices and triangular systems in steps that have an index
 * of a chunk; a system of C rows and E columns is C (C - 1) E operations, and what lies above a triangle counts in
 * products.
 *
 * The published form is that of Yang et al. 2024, arXiv:2406.06484, section 3.2, with decays as in arXiv:2412.06464,
 * section 3.3; for one head and one chunk of C positions, d wide, with the state S where the chunk begins:
 *
 *     K K', Q K'                                          2 C^2 d each
 *     T = (I + tril(K K'))^-1                             C^3 / 3
 *     W = T K, U = T V                                    2 C^2 d each
 *     W S, Q S                                            2 C d^2 each
 *     (Q K')(U - W S)                                     2 C^2 d
 *     K' (U - W S)                                        2 C d^2
 *
 * The least is the same without T, W and U: U - W S is then the solution of one system of d columns, C^2 d. Backward is
 * counted as twice forward: a product has two adjoints of its own size. */
#include "enough.h"
#include "fused/mechanism.h"
#include "schedule.h"
#include "schedule_cost.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t size_of(const graph *g, const char *tensor, unsigned axis) {
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        if (strcmp(graph_tensor(g, i)->name, tensor) == 0)
            return graph_tensor(g, i)->extent[axis];
    fprintf(stderr, "recurrence_work: the spec has no tensor %s\n", tensor);
    exit(1);
}

static bool in_chunks(const graph *g, index_set set) {
    for (unsigned i = 0; i < graph_index_count(g); i++)
        if (set >> i & 1 && strchr(graph_index_name(g, (index_id)i), '.'))
            return true;
    return false;
}

/* Operations of the systems among the statements. */
static double solves(const graph *g, const statement *s, double times) {
    double work = 0;
    for (; s; s = s->next) {
        double inner = times;
        if (s->kind == STATEMENT_FOR) /* the blocks of an index together have its values once */
            inner *= (double)graph_index_extent(g, s->index);
        if (s->kind == STATEMENT_SOLVE) {
            double rows = (double)graph_index_extent(g, s->index);
            for (unsigned i = 0; i < s->var_count; i++)
                inner *= (double)graph_index_extent(g, s->var[i]);
            work += inner * rows * (rows - 1);
        }
        work += solves(g, s->body, inner) + solves(g, s->otherwise, inner);
    }
    return work;
}

static double counted(schedule *s) {
    schedule_cost *cost = schedule_cost_of(s);
    double work         = 0;
    for (uint32_t i = 0; i < s->step_count; i++) {
        node_view v = graph_view(s->graph, s->step[i].node);
        if (s->step[i].kind != STEP_BLOCKS && in_chunks(s->graph, v.free | v.vars))
            work += (double)cost->step[i].matrix + solves(s->graph, s->step[i].body, 1);
    }
    schedule_cost_free(cost);
    return work;
}

static int64_t chunk_of(const graph *g) {
    for (unsigned i = 0; i < graph_index_count(g); i++) {
        const char *dot = strchr(graph_index_name(g, (index_id)i), '.');
        if (dot && strcmp(dot, ".in") == 0)
            return graph_index_extent(g, (index_id)i);
    }
    return 1;
}

static void add_line(table *t, const spec *s, int64_t length, int64_t batch, int64_t chunk) {
    wished_sizes batches = {1, {{"B", (double)batch}}}, sizes;
    wish_for(&sizes, s, &(elaboration){0}, length, &batches);
    graph *g = mechanism_graph_with(s, &(elaboration){0}, &sizes, &(recurrence_options){.chunk = chunk});
    if (!g) {
        fprintf(stderr, "recurrence_work: cannot elaborate or differentiate %s\n", spec_path(s));
        exit(1);
    }
    schedule *plan = schedule_graph(g, &(schedule_options){0});
    double c = (double)chunk_of(g), heads = (double)size_of(g, "Wk", 0), d = (double)size_of(g, "Wk", 1);
    double chunks    = (double)batch * heads * (double)((length + (int64_t)c - 1) / (int64_t)c);
    double both      = 3 * chunks * (6 * c * c * d + 6 * c * d * d);
    double least     = both + 3 * chunks * c * c * d;
    double published = both + 3 * chunks * (4 * c * c * d + c * c * c / 3);
    double work      = counted(plan);
    row *r           = new_row(t);
    snprintf(r->cell[0], CELL, "%lld%s", (long long)c, chunk ? "" : ", chosen");
    snprintf(r->cell[1], CELL, "%lld", (long long)((length + (int64_t)c - 1) / (int64_t)c));
    snprintf(r->cell[2], CELL, "%.3f", work / 1e9);
    snprintf(r->cell[3], CELL, "%.3f", least / 1e9);
    snprintf(r->cell[4], CELL, "%.3f", published / 1e9);
    snprintf(r->cell[5], CELL, "%.2f", work / least);
    snprintf(r->cell[6], CELL, "%.2f", work / published);
    schedule_free(plan);
    graph_free(g);
}

int main(int argc, char **argv) {
    static const row head = {
        {"chunk", "steps along T", "GFLOP", "least", "published", "over the least", "over the published"}};
    int64_t length = 1024, batch = 4;
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strncmp(argv[at], "--length=", 9) == 0)
            length = strtoll(argv[at] + 9, NULL, 10);
        else if (strncmp(argv[at], "--batch=", 8) == 0)
            batch = strtoll(argv[at] + 8, NULL, 10);
        else
            at = argc;
    }
    if (at != argc - 1 || length < 1 || batch < 1) {
        fprintf(stderr, "usage: recurrence_work [--length=T] [--batch=B] SPEC\n");
        return 2;
    }
    diagnostics d = {.stream = stderr};
    spec *s       = spec_read(argv[at], NULL, &d);
    if (!s)
        return 1;
    table t = {0};
    for (int64_t chunk = 16; chunk <= 128; chunk *= 2)
        add_line(&t, s, length, batch, chunk);
    add_line(&t, s, length, batch, 0);
    print_table(&t, &head);
    free(t.line);
    spec_free(s);
    return 0;
}
