/* Which way the dependence of a loss on a tensor is lost: what the losses need is marked from above, what depends on
 * the tensor with a derivative from below; where the second ends within the first stands what has none. */
#include "orphan.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { NEEDED_BY_OUTPUT = 1, NEEDED_BY_LOSS = 2, FOLLOWS = 4 };

typedef struct search {
    const graph *g;
    size_t size;
    uint8_t *mark; /* node: of the above */
} search;

static void *get(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

/* Appends to a text that ends at `size`. */
__attribute__((format(printf, 3, 4))) static void append(char *text, size_t size, const char *format, ...) {
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

/* Comma or "and" before the item number k of `count`. */
static const char *before(unsigned k, unsigned count) {
    return k == 0 ? "" : k + 1 < count ? ", " : " and ";
}

/* What roots of `mark` depend on. */
static void mark_below(search *s, uint8_t mark) {
    for (size_t n = s->size; n-- > 1;) {
        if (!(s->mark[n] & mark))
            continue;
        node_view v = graph_view(s->g, (node)n);
        for (unsigned i = 0; i < v.child_count; i++)
            s->mark[v.child[i]] |= mark;
    }
}

static bool follows(const search *s, node n) {
    return s->mark[n] & FOLLOWS;
}

/* Has n a derivative in what follows the tensor? A scan has its body's, and a state before the step its scan's and its
 * beginning's: what it begins with counts only where a step reads it. */
static bool derivable(const search *s, node n) {
    const graph *g = s->g;
    node_view v    = graph_view(g, n);
    if (v.type != TYPE_FLOAT || v.op == NODE_STOP || v.op == NODE_FLOOR)
        return false;
    if (v.op == NODE_SCAN)
        return follows(s, graph_scan_body(g, n));
    if (v.op == NODE_PREVIOUS) {
        node scan = graph_scan_node(g, v.scan_label, v.scan_state);
        return scan && (follows(s, scan) || follows(s, graph_scan_init(g, scan)));
    }
    for (unsigned i = 0; i < v.child_count; i++)
        if (follows(s, v.child[i]))
            return true;
    return false;
}

static void mark_following(search *s) {
    for (bool more = true; more;) {
        more = false;
        for (size_t n = 1; n < s->size; n++)
            if (!follows(s, (node)n) && derivable(s, (node)n)) {
                s->mark[n] |= FOLLOWS;
                more |= graph_view(s->g, (node)n).op == NODE_SCAN; /* its leaves stand before it */
            }
    }
}

/* Kinds of nodes without a derivative, as they are called. */
enum { BY_STOP, BY_COMPARISON, BY_SELECTION, BY_FLOOR, BY_INT, KINDS };
static const char *const kind_name[KINDS] = {"`stop`", "comparisons", "`topk`", "`floor`", "`int`"};

static int kind_of(node_view v) {
    switch (v.op) {
    case NODE_STOP:
        return BY_STOP;
    case NODE_FLOOR:
        return BY_FLOOR;
    case NODE_TO_INT:
        return BY_INT;
    case NODE_TOPK:
    case NODE_CHOSEN:
        return BY_SELECTION;
    default:
        return BY_COMPARISON;
    }
}

/* The kinds at which the derivative ends; 0: it does not, as far as kinds of nodes say. */
static unsigned where_it_ends(const search *s) {
    unsigned ends = 0;
    for (size_t n = 1; n < s->size; n++) {
        if (!(s->mark[n] & NEEDED_BY_LOSS) || follows(s, (node)n))
            continue;
        node_view v = graph_view(s->g, (node)n);
        for (unsigned i = 0; i < v.child_count && v.op != NODE_SCAN; i++)
            if (follows(s, v.child[i]))
                ends |= 1u << kind_of(v);
    }
    return ends;
}

static bool loss_follows(const search *s) {
    for (uint32_t i = 0; i < graph_output_count(s->g); i++) {
        const output *o = graph_output(s->g, i);
        if (o->kind == OUTPUT_LOSS && follows(s, o->node))
            return true;
    }
    return false;
}

/* "no loss depends on it, only the outputs `a` and `b`" */
static void say_outputs(search *s, node tensor, char *text, size_t size) {
    const graph *g = s->g;
    uint8_t *reads = get(graph_output_count(g), 1);
    unsigned count = 0, said = 0;
    bool real = false;
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        if (o->kind != OUTPUT_VALUE)
            continue;
        memset(s->mark, 0, s->size);
        s->mark[o->node] = NEEDED_BY_OUTPUT;
        mark_below(s, NEEDED_BY_OUTPUT);
        reads[i] = s->mark[tensor] != 0;
        count += reads[i];
        real |= reads[i] && graph_view(g, o->node).type == TYPE_FLOAT;
    }
    append(text, size, "no loss depends on it, only the output%s ", count == 1 ? "" : "s");
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (reads[i])
            append(text, size, "%s`%s`", before(said++, count), graph_output(g, i)->name);
    if (!real)
        append(text, size, count == 1 ? ", which is not a real number" : ", which are not real numbers");
    free(reads);
}

/* "the losses depend on it only through `stop` and comparisons, which have no derivative" */
static void say_kinds(unsigned ends, char *text, size_t size) {
    unsigned count = (unsigned)__builtin_popcount(ends), said = 0;
    append(text, size, "it acts only through ");
    for (int k = 0; k < KINDS; k++)
        if (ends >> k & 1)
            append(text, size, "%s%s", before(said++, count), kind_name[k]);
    append(text, size,
           count == 1 && !(ends >> BY_COMPARISON & 1) ? ", which has no derivative" : ", which have no derivative");
}

void orphan_explain(const graph *g, uint32_t tensor, char *text, size_t size) {
    search s  = {.g = g, .size = graph_node_count(g) + 1};
    s.mark    = get(s.size, 1);
    node self = graph_tensor(g, tensor)->node;
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        if (o->kind == OUTPUT_LOSS)
            s.mark[o->node] |= NEEDED_BY_LOSS;
        else if (o->kind == OUTPUT_VALUE)
            s.mark[o->node] |= NEEDED_BY_OUTPUT;
    }
    mark_below(&s, NEEDED_BY_LOSS);
    mark_below(&s, NEEDED_BY_OUTPUT);
    *text = 0;
    if (!s.mark[self]) {
        append(text, size, "nothing that is computed depends on it");
    } else if (!(s.mark[self] & NEEDED_BY_LOSS)) {
        say_outputs(&s, self, text, size);
    } else {
        s.mark[self] |= FOLLOWS;
        mark_following(&s);
        unsigned ends = loss_follows(&s) ? 0 : where_it_ends(&s);
        if (ends)
            say_kinds(ends, text, size);
        else
            append(text, size, "what it adds to the loss is constant, or cancels");
    }
    free(s.mark);
}
