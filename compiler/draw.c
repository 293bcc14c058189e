/* The picture of a graph. Shown are named nodes, interface tensors, outputs, scans and selections; an edge leads from
 * one to another that is computed from it through nodes that are not shown. */
#include "draw.h"

#include "condition.h"
#include "cost.h"
#include "enough.h"
#include "graphviz.h"

#include <stdlib.h>
#include <string.h>

enum { LABEL = 28, TEXT_DEPTH = 6 };

typedef struct picture {
    graph *g;
    conditions *c;
    size_t nodes;
    bool *shown;
    node *owner;      /* the first shown node that needs it */
    uint32_t *result; /* output number + 1 of a node */
    cost *cost;
    FILE *file;
} picture;

/* Conditions on indices, short */

static const char *infix(node_op op) {
    switch (op) {
    case NODE_ADD:
        return " + ";
    case NODE_SUB:
        return " - ";
    case NODE_MUL:
        return "*";
    case NODE_DIV:
        return "/";
    case NODE_MOD:
        return " % ";
    case NODE_LESS:
        return " < ";
    case NODE_LESS_EQUAL:
        return " ≤ ";
    case NODE_EQUAL:
        return " = ";
    case NODE_AND:
        return ", ";
    case NODE_OR:
        return " or ";
    default:
        return NULL;
    }
}

static void expression_text(const graph *g, node n, bool inner, unsigned depth, char *text, size_t size) {
    node_view v       = graph_view(g, n);
    char a[LABEL * 2] = "…", b[LABEL * 2] = "…";
    double number;
    bool arithmetic = v.type != TYPE_BOOL, brackets = inner && arithmetic;
    if (depth < TEXT_DEPTH && v.child_count > 0)
        expression_text(g, v.child[0], arithmetic, depth + 1, a, sizeof a);
    if (depth < TEXT_DEPTH && v.child_count > 1)
        expression_text(g, v.child[1], arithmetic, depth + 1, b, sizeof b);
    if (graph_is_constant(g, n, &number))
        snprintf(text, size, "%g", number);
    else if (v.op == NODE_INDEX)
        snprintf(text, size, "%s", graph_index_name(g, (index_id)__builtin_ctzll(v.vars)));
    else if (infix(v.op))
        snprintf(text, size, "%s%s%s%s%s", brackets ? "(" : "", a, infix(v.op), b, brackets ? ")" : "");
    else if (v.op == NODE_NOT)
        snprintf(text, size, "not (%s)", a);
    else if (v.op == NODE_TO_FLOAT)
        snprintf(text, size, "%s", a);
    else
        snprintf(text, size, "…");
}

/* The conjuncts of a condition that are on indices alone; NULL where there is none or they are long. To be freed. */
static char *mask_text(picture *p, node condition) {
    char text[LABEL * 4]   = "", part[LABEL * 2];
    size_t used            = 0;
    node stack[CONDITIONS] = {condition};
    unsigned count         = 1;
    while (count) {
        node n      = stack[--count];
        node_view v = graph_view(p->g, n);
        if (v.op == NODE_AND && count + 2 < CONDITIONS) {
            stack[count++] = v.child[1];
            stack[count++] = v.child[0];
        } else if (condition_is_pure(p->c, n) && !graph_is_constant(p->g, n, NULL)) {
            expression_text(p->g, n, false, 0, part, sizeof part);
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "", part);
            if (used > LABEL)
                return NULL;
        }
    }
    return used ? enough(strdup(text)) : NULL;
}

/* Nodes */

static void index_list(const picture *p, const index_id *index, unsigned rank) {
    if (!rank)
        return;
    for (unsigned i = 0; i < rank; i++)
        fprintf(p->file, "%c%s", i ? ',' : '[', graph_index_name(p->g, index[i]));
    fputs("]\\n", p->file);
    for (unsigned i = 0; i < rank; i++)
        fprintf(p->file, "%s%lld", i ? " × " : "", (long long)graph_index_extent(p->g, index[i]));
}

static double share(const picture *p, node n) {
    double sum = 0;
    for (node k = 1; k <= p->nodes; k++)
        if (p->owner[k] == n && k <= p->cost->nodes)
            sum += (double)p->cost->of_node[k];
    return p->cost->operations ? 100 * sum / (double)p->cost->operations : 0;
}

static const char *style(const picture *p, node n, node_view v) {
    const output *o = p->result[n] ? graph_output(p->g, p->result[n] - 1) : NULL;
    if (v.op == NODE_TENSOR)
        return graph_tensor(p->g, v.tensor)->kind == TENSOR_INPUT ? "shape=house, fillcolor=\"#d5e8d4\""
                                                                  : "shape=note, fillcolor=\"#eeeeee\"";
    if (o)
        return o->kind == OUTPUT_LOSS ? "shape=diamond, fillcolor=\"#f8cecc\""
                                      : "shape=invhouse, fillcolor=\"#ffe6cc\"";
    if (v.op == NODE_SCAN || v.op == NODE_SOLVE)
        return "shape=box3d, fillcolor=\"#e1d5e7\"";
    return graph_selects(v.op) ? "shape=hexagon, fillcolor=\"#fff2cc\"" : "shape=box, fillcolor=\"#dae8fc\"";
}

static void print_node(const picture *p, node n) {
    node_view v      = graph_view(p->g, n);
    const output *o  = p->result[n] ? graph_output(p->g, p->result[n] - 1) : NULL;
    const tensor *t  = v.op == NODE_TENSOR ? graph_tensor(p->g, v.tensor) : NULL;
    const char *name = t ? t->name : o ? o->name : graph_node_name(p->g, n);
    fprintf(p->file, "  n%u [%s, label=\"", n, style(p, n, v));
    graphviz_quoted(p->file, name ? name : graph_op_name(v.op));
    if (t || (o && o->rank)) {
        index_list(p, t ? t->index : o->index, t ? t->rank : o->rank);
    } else {
        index_id index[GRAPH_INDICES];
        unsigned rank = 0;
        for (unsigned i = 0; i < graph_index_count(p->g); i++)
            if (v.free >> i & 1)
                index[rank++] = (index_id)i;
        index_list(p, index, rank);
    }
    if (graph_selects(v.op))
        fprintf(p->file, "\\ntop %lld over %s", (long long)v.integer, graph_index_name(p->g, v.scan_index));
    if (v.op == NODE_SOLVE)
        fprintf(p->file, "\\nsolved over %s%s", graph_index_name(p->g, v.scan_index), v.reverse ? ", backwards" : "");
    if (v.op == NODE_SCAN)
        fprintf(p->file, "\\nscan over %s%s", graph_index_name(p->g, v.scan_index), v.reverse ? ", backwards" : "");
    if (!t && share(p, n) >= 0.05)
        fprintf(p->file, "\\n%.1f %% of FLOPs", share(p, n));
    fputs("\"];\n", p->file);
}

/* Edges */

static void print_edge(picture *p, node from, node to, const char *label, bool previous) {
    fprintf(p->file, "  n%u -> n%u", from, to);
    if (previous)
        fprintf(p->file, " [style=dashed, label=\"step before\"]");
    else if (label) {
        fputs(" [label=\"", p->file);
        graphviz_quoted(p->file, label);
        fputs("\"]", p->file);
    }
    fputs(";\n", p->file);
}

static node scan_of(const picture *p, uint32_t label) {
    for (node n = 1; n <= p->nodes; n++)
        if (graph_view(p->g, n).op == NODE_SCAN && graph_view(p->g, n).scan_label == label)
            return n;
    return NODE_NONE;
}

/* Walks down from one shown node to the next ones; `draw` false: only says who owns the nodes between. */
static void walk_down(picture *p, node from, bool draw) {
    char **label = enough(calloc(p->nodes + 1, sizeof *label)); /* the last mask on the way */
    bool *mark   = enough(calloc(p->nodes + 1, sizeof *mark));
    char **mask  = enough(calloc(p->nodes + 1, sizeof *mask)); /* those that are to be freed */
    mark[from]   = true;
    for (node n = from; n > 0; n--) {
        node_view v = graph_view(p->g, n);
        if (!mark[n])
            continue;
        if (n != from && p->shown[n]) {
            if (draw)
                print_edge(p, n, from, label[n], false);
            continue;
        }
        if (v.op == NODE_PREVIOUS && draw && scan_of(p, v.scan_label))
            print_edge(p, scan_of(p, v.scan_label), from, NULL, true);
        if (!p->owner[n])
            p->owner[n] = from;
        if (draw && (v.op == NODE_REDUCE || v.op == NODE_SELECT || graph_selects(v.op)))
            mask[n] = mask_text(p, v.child[0]);
        v = graph_view(p->g, n);
        for (unsigned i = 0; i < v.child_count; i++) {
            node child   = v.child[i];
            char *passes = i == 1 && mask[n] ? mask[n] : label[n];
            if (!mark[child] || !label[child])
                label[child] = i == 0 && (v.op == NODE_SELECT || v.op == NODE_REDUCE) ? NULL : passes;
            mark[child] = true;
        }
    }
    for (node n = 1; n <= p->nodes; n++)
        free(mask[n]);
    free(mask);
    free(mark);
    free(label);
}

static void choose(picture *p) {
    bool *reached = enough(calloc(p->nodes + 1, sizeof *reached));
    for (uint32_t i = 0; i < graph_output_count(p->g); i++) {
        const output *o = graph_output(p->g, i);
        if (o->kind != OUTPUT_VALUE && o->kind != OUTPUT_LOSS)
            continue;
        reached[o->node] = p->shown[o->node] = true;
        if (!p->result[o->node])
            p->result[o->node] = i + 1;
    }
    for (node n = (node)p->nodes; n > 0; n--) {
        node_view v = graph_view(p->g, n);
        if (!reached[n])
            continue;
        p->shown[n] |= v.op == NODE_TENSOR || v.op == NODE_SCAN || graph_selects(v.op) || v.op == NODE_SOLVE ||
                       graph_node_name(p->g, n);
        for (unsigned i = 0; i < v.child_count; i++)
            reached[v.child[i]] = true;
    }
    free(reached);
}

void draw_dot(graph *g, const char *title, FILE *file) {
    picture p = {.g = g, .nodes = graph_node_count(g), .file = file, .cost = cost_of(g, true)};
    p.c       = conditions_new(g);
    p.shown   = enough(calloc(p.nodes + 1, sizeof *p.shown));
    p.owner   = enough(calloc(p.nodes + 1, sizeof *p.owner));
    p.result  = enough(calloc(p.nodes + 1, sizeof *p.result));
    choose(&p);
    fputs("digraph {\n  graph [rankdir=TB, fontname=\"Helvetica\", labelloc=t, label=\"", file);
    graphviz_quoted(file, title);
    fputs("\"];\n  node [style=filled, fontname=\"Helvetica\", fontsize=11];\n"
          "  edge [fontname=\"Helvetica\", fontsize=10, color=\"#666666\"];\n",
          file);
    for (node n = 1; n <= p.nodes; n++)
        if (p.shown[n])
            walk_down(&p, n, false);
    for (node n = 1; n <= p.nodes; n++)
        if (p.shown[n])
            print_node(&p, n);
    for (node n = 1; n <= p.nodes; n++)
        if (p.shown[n])
            walk_down(&p, n, true);
    fputs("}\n", file);
    conditions_free(p.c);
    cost_free(p.cost);
    free(p.shown);
    free(p.owner);
    free(p.result);
}

/* Files */

bool draw_is_picture(const char *path) {
    const char *ending = strrchr(path, '.');
    return ending && (strcmp(ending, ".dot") == 0 || strcmp(ending, ".svg") == 0);
}

typedef struct drawing {
    graph *g;
    const char *title;
} drawing;

static void write_drawing(void *context, FILE *file) {
    const drawing *d = context;
    draw_dot(d->g, d->title, file);
}

bool draw_to_file(graph *g, const char *title, const char *path, char *error, size_t size) {
    return graphviz_to_file(write_drawing, &(drawing){g, title}, path, error, size);
}
