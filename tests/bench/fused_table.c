/* What the scheduler makes of each spec, forward and backward, for docs/fusion.md: a Markdown table, a line for each
 * variant of the specs named.
 *
 *     fused_table [--length=T] [--saved] SPEC...
 *
 * At the spec's own sizes but for one sequence (B) and a length of time of at most T, 1024 where nothing is said.
 * Steps: of the schedule, without those that only open blocks. Kernels: of tiles, with the passes of each; and steps
 * that open blocks of rows where there is no kernel. Largest: the largest buffer of the workspace over the largest
 * tensor of the interface. Pairs: is a buffer of the workspace over more indices of time than any tensor of the
 * interface? Which indices are of time is found by elaborating the spec with time twice as long. FLOP: of products in
 * the schedule (schedule_cost.h), over those of the same sums where each is computed once and at the elements only that
 * its domain and its readers need (cost.h): above 1 is what is computed again, and what blocks hold that a domain
 * leaves out. Bytes: the schedule's traffic over the least (saved.h). Saved: what the backward pass needs of the
 * forward one, wide + narrow + made of indices alone; with --saved a list of it instead of the table. */
#include "cost.h"
#include "enough.h"
#include "fused/mechanism.h"
#include "saved.h"
#include "schedule.h"
#include "schedule_cost.h"
#include "table.h"

#include <stdlib.h>
#include <string.h>

enum { STRETCH = 2 };

static void fail(const char *what, const char *which) {
    fprintf(stderr, "fused_table: %s %s\n", what, which);
    exit(1);
}

/* The least work of products. */

/* The factors of n: how many, and whether one of them has all of `whole`. */
static unsigned factors(const graph *g, node n, index_set whole, bool *elementwise) {
    node_view v = graph_view(g, n);
    double value;
    if (v.op == NODE_MUL || v.op == NODE_DIV)
        return factors(g, v.child[0], whole, elementwise) + factors(g, v.child[1], whole, elementwise);
    if (v.op == NODE_NEG)
        return factors(g, v.child[0], whole, elementwise);
    for (unsigned k = 1; v.op == NODE_SELECT && k < 3; k++)
        if (graph_is_constant(g, v.child[k], &value) && value == 0)
            return factors(g, v.child[3 - k], whole, elementwise);
    *elementwise |= (whole & ~v.free) == 0;
    return v.free != 0;
}

/* Is it a sum that a product of matrices computes? */
static bool is_product(const graph *g, node n) {
    node_view v      = graph_view(g, n);
    bool elementwise = false;
    if (v.op != NODE_REDUCE || v.reduction != REDUCE_SUM || v.type != TYPE_FLOAT)
        return false;
    return factors(g, v.child[1], v.free | v.vars, &elementwise) > 1 && !elementwise;
}

/* The cost of gradients is counted where they are results. */
static void make_results(graph *g) {
    uint32_t count = 0, all = graph_output_count(g);
    output *kept = enough(calloc(all + 1, sizeof *kept));
    for (uint32_t i = 0; i < all; i++)
        if (graph_output(g, i)->kind == OUTPUT_GRADIENT) {
            kept[count]      = *graph_output(g, i);
            kept[count].kind = OUTPUT_VALUE;
            kept[count].name = enough(strdup(kept[count].name));
            count++;
        }
    graph_drop_outputs(g, OUTPUT_GRADIENT);
    for (uint32_t i = 0; i < count; i++) {
        graph_add_output(g, &kept[i]);
        free(kept[i].name);
    }
    free(kept);
}

static double least_work(graph *g, bool *exact) {
    make_results(g);
    size_t nodes = graph_node_count(g);
    cost *c      = cost_of(g, true);
    double work  = 0;
    for (node n = 1; n <= nodes; n++)
        if (is_product(g, n))
            work += 2 * (double)c->of_node[n];
    *exact = c->exact;
    cost_free(c);
    return work;
}

/* Buffers. */

/* The extent of an index in the graph with longer time: of the same name, or of the same place where there is none. */
static int64_t longer_extent(const graph *g, const graph *longer, index_id i) {
    for (unsigned k = 0; k < graph_index_count(longer); k++)
        if (strcmp(graph_index_name(longer, (index_id)k), graph_index_name(g, i)) == 0)
            return graph_index_extent(longer, (index_id)k);
    return graph_index_extent(g, i);
}

static bool is_time(const graph *g, const graph *longer, index_id i) {
    return longer && 2 * longer_extent(g, longer, i) > (STRETCH + 1) * graph_index_extent(g, i);
}

static index_set times_of(const graph *g, const graph *longer) {
    index_set times = 0;
    for (unsigned i = 0; i < graph_index_count(g); i++)
        times |= (index_set)is_time(g, longer, (index_id)i) << i;
    return times;
}

static unsigned time_axes(const graph *g, const graph *longer, const index_id *axis, const int64_t *block,
                          unsigned rank) {
    unsigned count = 0;
    for (unsigned i = 0; i < rank; i++)
        count += (!block || !block[i]) && is_time(g, longer, axis[i]);
    return count;
}

typedef struct storage {
    double largest; /* elements of a buffer of the workspace over those of the largest tensor */
    bool pairs;
} storage;

static storage storage_of(const schedule *s, const graph *longer) {
    const graph *g = s->graph;
    double tensors = 1, buffers = 0;
    unsigned axes = 1, most = 0;
    for (uint32_t i = 0; i < graph_tensor_count(g); i++) {
        const tensor *t = graph_tensor(g, i);
        unsigned n      = time_axes(g, longer, t->index, NULL, t->rank);
        tensors         = (double)t->elements > tensors ? (double)t->elements : tensors;
        axes            = n > axes ? n : axes;
    }
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        unsigned n      = time_axes(g, longer, o->index, NULL, o->rank);
        axes            = n > axes ? n : axes;
    }
    for (uint32_t i = 0; i < s->buffer_count; i++) {
        const buffer *b = &s->buffer[i];
        if (b->place != PLACE_WORKSPACE)
            continue;
        unsigned n = time_axes(g, longer, b->axis, b->block, b->rank);
        buffers    = (double)b->elements > buffers ? (double)b->elements : buffers;
        most       = n > most ? n : most;
    }
    return (storage){buffers / tensors, most > axes};
}

/* Kernels */

enum { KERNELS = 64 };

/* How many passes the kernel has that a step is, by what the scheduler says of it; 0: it is no kernel of tiles. */
static unsigned passes_of(const step *t) {
    const char *said = t->note && strncmp(t->note, "kernel: ", 8) == 0 ? strstr(t->note, " pass") : NULL;
    while (said && said > t->note && said[-1] >= '0' && said[-1] <= '9')
        said--;
    return said ? (unsigned)strtoul(said, NULL, 10) : 0;
}

/* `2 (2, 1)`: two kernels, of two passes and of one. Where steps walk blocks of rows and are no kernel, how many. */
static void print_kernels(const schedule *s, char *cell) {
    char passes[KERNELS] = "", *end = passes;
    unsigned kernels = 0, blocks = 0;
    for (uint32_t k = 0; k < s->step_count; k++) {
        unsigned count = passes_of(&s->step[k]);
        blocks += s->step[k].kind == STEP_BLOCKS;
        if (count && end - passes < KERNELS - 16)
            end += sprintf(end, "%s%u", kernels ? ", " : "", count);
        kernels += count > 0;
    }
    if (kernels)
        cell += sprintf(cell, "%u (%s)%s", kernels, passes, blocks ? ", " : "");
    if (blocks)
        cell += sprintf(cell, "%u of blocks", blocks);
    if (!kernels && !blocks)
        sprintf(cell, "–");
}

static uint32_t count_steps(const schedule *s) {
    uint32_t steps = 0;
    for (uint32_t k = 0; k < s->step_count; k++)
        steps += s->step[k].kind != STEP_BLOCKS;
    return steps;
}

/* As the spec says, or what makes the value: `max %7`. */
static void print_name(const graph *g, node n) {
    static const char *const reduction[] = {"sum", "product", "max", "min", "any", "all"};
    if (!n)
        return;
    node_view v = graph_view(g, n);
    if (graph_node_name(g, n))
        fputs(graph_node_name(g, n), stdout);
    else
        printf("%s %%%u", v.op == NODE_REDUCE ? reduction[v.reduction] : graph_op_name(v.op), n);
}

/* A line for each saved tensor, instead of the table. */
static void print_saved(const schedule *s, const saving *kept, const char *name) {
    static const char *const kind[] = {"", ", narrow", ", made of indices alone"};
    const graph *g                  = s->graph;
    printf("%s: %u saved, %.2f MB\n", name, kept->count, (double)kept->bytes * 1e-6);
    for (uint32_t i = 0; i < kept->count; i++) {
        const saved *k  = &kept->list[i];
        const buffer *b = &s->buffer[k->buffer];
        fputs("    ", stdout);
        print_name(g, k->node);
        for (unsigned a = 0; a < b->rank; a++)
            printf("%s%s", a ? "," : "[", graph_index_name(g, b->axis[a]));
        printf(b->rank ? "] " : " ");
        schedule_print_amount(schedule_buffer_bytes(b), "B", stdout);
        printf("%s\n", kind[k->kind]);
    }
}

/* The table. */

static graph *graph_at(const spec *s, const elaboration *how, int64_t time) {
    static const wished_sizes wishes = {1, {{"B", 1}}};
    wished_sizes sizes;
    wish_for(&sizes, s, how, time, &wishes);
    return mechanism_graph(s, how, &sizes);
}

/* t NULL: what is saved is listed. */
static void add_variant(table *t, const spec *s, const char *variant, int64_t longest) {
    elaboration how = {.variant = variant};
    declared_sizes sizes;
    sizes_of(s, &how, &sizes);
    const declared_size *own = sizes_time(&sizes);
    int64_t time             = own && own->value < longest ? own->value : longest;
    graph *g = graph_at(s, &how, time), *longer = graph_at(s, &how, STRETCH * time), *counted = graph_at(s, &how, time);
    if (!g || !counted)
        fail("cannot elaborate", spec_path(s));
    bool exact;
    double least     = least_work(counted, &exact);
    schedule *p      = schedule_graph(g, NULL);
    schedule_cost *c = schedule_cost_of(p);
    saving kept      = saving_of(p, times_of(p->graph, longer));
    storage held     = storage_of(p, longer);
    const char *name = variant ? variant : spec_name(s);
    if (t) {
        row *r = new_row(t);
        snprintf(r->cell[0], CELL, "%s", name);
        snprintf(r->cell[1], CELL, "%lld", (long long)time);
        snprintf(r->cell[2], CELL, "%u", count_steps(p));
        print_kernels(p, r->cell[3]);
        snprintf(r->cell[4], CELL, "%.2f", (double)p->workspace * 1e-6);
        snprintf(r->cell[5], CELL, "%.2f", held.largest);
        snprintf(r->cell[6], CELL, "%s", held.pairs ? "yes" : "no");
        snprintf(r->cell[7], CELL, "–");
        if (least > 0)
            snprintf(r->cell[7], CELL, "%s%.2f", exact ? "" : "at least ", (double)c->total.matrix / least);
        snprintf(r->cell[8], CELL, "%.2f", (double)(c->total.read + c->total.written) / (double)kept.least);
        snprintf(r->cell[9], CELL, "%u + %u + %u", kept.of_kind[SAVED_WIDE], kept.of_kind[SAVED_NARROW],
                 kept.of_kind[SAVED_INDICES]);
        snprintf(r->cell[10], CELL, "%.2f", (double)kept.bytes * 1e-6);
    } else {
        print_saved(p, &kept, name);
    }
    free(kept.list);
    schedule_cost_free(c);
    schedule_free(p);
    graph_free(g);
    graph_free(longer);
    graph_free(counted);
}

static void add_spec(table *t, const char *path, int64_t longest) {
    diagnostics d = {.stream = stderr};
    spec *s       = spec_read(path, NULL, &d);
    if (!s)
        fail("cannot read", path);
    size_t variants = spec_variant_count(s);
    for (size_t v = 0; v < variants || v == 0; v++)
        add_variant(t, s, v < variants ? spec_variant_name(s, v) : NULL, longest);
    spec_free(s);
}

int main(int argc, char **argv) {
    int64_t longest = 1024;
    bool list       = false;
    int at          = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strncmp(argv[at], "--length=", 9) == 0)
            longest = strtoll(argv[at] + 9, NULL, 10);
        else if (strcmp(argv[at], "--saved") == 0)
            list = true;
        else
            longest = 0;
    }
    if (at >= argc || longest < 1) {
        fprintf(stderr, "usage: fused_table [--length=T] [--saved] SPEC...\n");
        return 2;
    }
    table t = {0};
    for (; at < argc; at++)
        add_spec(list ? NULL : &t, argv[at], longest);
    if (!list)
        print_table(&t, &(row){{"spec", "T", "steps", "kernels (passes)", "workspace MB", "largest", "pairs", "FLOP",
                                "bytes", "saved", "saved MB"}});
    free(t.line);
    return 0;
}
