/* What the scheduler makes of each spec, forward and backward, for docs/fusion.md: a Markdown table, a line for each
 * variant of the specs named.
 *
 *     fused_table [--length=T] SPEC...
 *
 * At the spec's own sizes but for one sequence (B) and a length of time of at most T, 1024 where nothing is said.
 * Steps: of the schedule, without those that only open blocks; blocked: those inside blocks, and nests that open blocks
 * themselves. Largest: the largest buffer of the workspace over the largest tensor of the interface. Pairs: is a
 * buffer of the workspace over more indices of time than any tensor of the interface? Which indices are of time is
 * found by elaborating the spec with time twice as long. Products: their FLOPs in the schedule, over those of the same
 * sums where each is computed once and at the elements only that its domain and its readers need (cost.h): above 1 is
 * what is computed again, and what blocks hold that a domain leaves out. */
#include "cost.h"
#include "enough.h"
#include "fused/mechanism.h"
#include "interpret.h"
#include "schedule.h"
#include "table.h"

#include <stdlib.h>
#include <string.h>

enum { STRETCH = 2 };

static void fail(const char *what, const char *which) {
    fprintf(stderr, "fused_table: %s %s\n", what, which);
    exit(1);
}

/* The work of products: the schedule is walked block by block. */

typedef struct range {
    int64_t lo, hi;
    bool known; /* false: only how long it is */
} range;

typedef struct walk {
    const schedule *s;
    range of[GRAPH_INDICES];
} walk;

static int64_t length_of(const walk *w, index_id i) {
    return w->of[i].hi - w->of[i].lo;
}

/* The value of an INT or BOOL node where blocks are open; false where it depends on more than they. */
static bool evaluate(const walk *w, node n, double *out) {
    node_view v = graph_view(w->s->graph, n);
    double x[3];
    index_id i;
    switch (v.op) {
    case NODE_INT:
        *out = (double)v.integer;
        return true;
    case NODE_BEGIN:
    case NODE_END:
        i    = v.scan_index;
        *out = (double)(v.op == NODE_BEGIN ? w->of[i].lo : w->of[i].hi);
        return w->of[i].known;
    case NODE_INDEX:
        i    = (index_id)__builtin_ctzll(v.vars);
        *out = (double)w->of[i].lo;
        return w->of[i].known && length_of(w, i) == 1;
    default:
        if (!graph_op_is_pointwise(v.op) || graph_is_constant(w->s->graph, n, out))
            return graph_is_constant(w->s->graph, n, out);
        for (unsigned k = 0; k < v.child_count; k++)
            if (!evaluate(w, v.child[k], &x[k]))
                return false;
        *out = interpret_operation(v.op, graph_view(w->s->graph, v.child[0]).type, x);
        return true;
    }
}

static double order_length(const walk *w, const axis_order *o) {
    double length = 1;
    for (unsigned i = 0; i < o->rank; i++)
        length *= (double)length_of(w, o->index[i]);
    return length;
}

static double product_work(const walk *w, const matrix_product *p) {
    return 2 * order_length(w, &p->rows) * order_length(w, &p->columns) * order_length(w, &p->inner);
}

/* Calls `inside` for each block of i from lo to hi. */
typedef double work_inside(walk *w, const void *what);
static double over_blocks(walk *w, index_id i, int64_t block, node lo, node hi, bool once, work_inside *inside,
                          const void *what) {
    range whole = w->of[i], bounds = whole;
    double from = (double)whole.lo, to = (double)whole.hi, work = 0;
    bool known = (lo == NODE_NONE || evaluate(w, lo, &from)) && (hi == NODE_NONE || evaluate(w, hi, &to));
    if (known) {
        bounds.lo    = (int64_t)from;
        bounds.hi    = (int64_t)to;
        bounds.known = whole.known || (lo != NODE_NONE && hi != NODE_NONE);
    }
    if (once || block <= 0)
        block = bounds.hi - bounds.lo;
    for (int64_t at = bounds.lo; at < bounds.hi; at += block) {
        w->of[i] = (range){at, at + block < bounds.hi ? at + block : bounds.hi, bounds.known && known};
        work += inside(w, what);
    }
    w->of[i] = whole;
    return work;
}

static double statements_work(walk *w, const void *first);

static double statement_work(walk *w, const statement *t) {
    double work = 0, other = 0, condition;
    range whole;
    switch (t->kind) {
    case STATEMENT_PRODUCT:
        return product_work(w, t->product);
    case STATEMENT_BLOCK:
        return over_blocks(w, t->index, t->block, t->lo, t->hi, t->once, statements_work, t->body);
    case STATEMENT_FOR:
        whole           = w->of[t->index];
        w->of[t->index] = (range){whole.lo, whole.lo + 1, false};
        work            = (double)(whole.hi - whole.lo) * statements_work(w, t->body);
        w->of[t->index] = whole;
        return work;
    case STATEMENT_IF:
        if (evaluate(w, t->condition, &condition))
            return statements_work(w, condition != 0 ? t->body : t->otherwise);
        work  = statements_work(w, t->body);
        other = statements_work(w, t->otherwise);
        return work > other ? work : other;
    default:
        return 0;
    }
}

static double statements_work(walk *w, const void *first) {
    double work = 0;
    for (const statement *t = first; t; t = t->next)
        work += statement_work(w, t);
    return work;
}

/* Steps from one number up to another. */
typedef struct span_of_steps {
    uint32_t from, to;
} span_of_steps;

static double steps_work(walk *w, const void *what) {
    const span_of_steps *span = what;
    double work               = 0;
    for (uint32_t k = span->from; k < span->to; k++) {
        const step *p = &w->s->step[k];
        if (p->kind == STEP_BLOCKS) {
            span_of_steps inside = {k + 1, k + 1 + p->inside};
            work += over_blocks(w, p->index, p->block, p->lo, p->hi, p->once, steps_work, &inside);
            k += p->inside;
        } else if (p->kind == STEP_PRODUCT) {
            work += order_length(w, &p->batch) * product_work(w, p->product);
        } else {
            work += statements_work(w, p->body);
        }
    }
    return work;
}

static double scheduled_work(const schedule *s) {
    walk w = {.s = s};
    for (unsigned i = 0; i < graph_index_count(s->graph); i++)
        w.of[i] = (range){0, graph_index_extent(s->graph, (index_id)i), true};
    span_of_steps all = {0, s->step_count};
    return steps_work(&w, &all);
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

static bool opens_blocks(const statement *t) {
    for (; t; t = t->next)
        if (t->kind == STATEMENT_BLOCK || opens_blocks(t->body) || opens_blocks(t->otherwise))
            return true;
    return false;
}

static void count_steps(const schedule *s, uint32_t *steps, uint32_t *blocked) {
    uint32_t until = 0; /* steps before this one stand inside blocks */
    for (uint32_t k = 0; k < s->step_count; k++) {
        const step *p = &s->step[k];
        if (p->kind == STEP_BLOCKS) {
            until = k + 1 + p->inside > until ? k + 1 + p->inside : until;
            continue;
        }
        ++*steps;
        *blocked += k < until || (p->kind == STEP_NEST && opens_blocks(p->body));
    }
}

/* The table. */

static graph *graph_at(const spec *s, const elaboration *how, int64_t time) {
    static const wished_sizes wishes = {1, {{"B", 1}}};
    wished_sizes sizes;
    wish_for(&sizes, s, how, time, &wishes);
    return mechanism_graph(s, how, &sizes);
}

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
    double least   = least_work(counted, &exact);
    schedule *p    = schedule_graph(g, NULL);
    double work    = scheduled_work(p);
    storage held   = storage_of(p, longer);
    uint32_t steps = 0, blocked = 0;
    count_steps(p, &steps, &blocked);
    row *r = new_row(t);
    snprintf(r->cell[0], CELL, "%s", variant ? variant : spec_name(s));
    snprintf(r->cell[1], CELL, "%lld", (long long)time);
    snprintf(r->cell[2], CELL, "%u", steps);
    snprintf(r->cell[3], CELL, "%u", blocked);
    snprintf(r->cell[4], CELL, "%.2f", (double)p->workspace * 1e-6);
    snprintf(r->cell[5], CELL, "%.2f", held.largest);
    snprintf(r->cell[6], CELL, "%s", held.pairs ? "yes" : "no");
    if (least > 0)
        snprintf(r->cell[7], CELL, "%s%.2f", exact ? "" : "at least ", work / least);
    else
        snprintf(r->cell[7], CELL, "–");
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
    int at          = 1;
    if (at < argc && strncmp(argv[at], "--length=", 9) == 0)
        longest = strtoll(argv[at++] + 9, NULL, 10);
    if (at >= argc || longest < 1) {
        fprintf(stderr, "usage: fused_table [--length=T] SPEC...\n");
        return 2;
    }
    table t = {0};
    for (; at < argc; at++)
        add_spec(&t, argv[at], longest);
    print_table(&t, &(row){{"spec", "T", "steps", "blocked", "workspace MB", "largest", "pairs", "products"}});
    free(t.line);
    return 0;
}
