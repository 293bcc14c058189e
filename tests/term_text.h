/* A term as one line of text, for a test to print. Included by one test program. */
#ifndef ATTNC_TESTS_TERM_TEXT_H
#define ATTNC_TESTS_TERM_TEXT_H

#include "graph.h"

#include <stdio.h>

static void write_indices(FILE *file, const graph *g, index_set set) {
    const char *comma = "";
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (set >> i & 1) {
            fprintf(file, "%s%s", comma, graph_index_name(g, (index_id)i));
            comma = ",";
        }
}

static void write_term(FILE *file, const graph *g, node n, int *room);

static void write_operands(FILE *file, const graph *g, node_view v, const char *before, const char *between,
                           int *room) {
    fputs(before, file);
    for (unsigned k = 0; k < v.child_count; k++) {
        fputs(k ? between : "", file);
        write_term(file, g, v.child[k], room);
    }
    fputs(")", file);
}

static void write_reduction(FILE *file, const graph *g, node_view v, int *room) {
    static const char *const name[] = {"sum", "product", "max", "min", "any", "all"};
    fprintf(file, "%s[", name[v.reduction]);
    write_indices(file, g, v.vars);
    if (!graph_is_constant(g, v.child[0], NULL)) {
        fputs(" where ", file);
        write_term(file, g, v.child[0], room);
    }
    fputs("](", file);
    write_term(file, g, v.child[1], room);
    fputs(")", file);
}

/* room: nodes that may still be written */
static void write_term(FILE *file, const graph *g, node n, int *room) {
    node_view v = graph_view(g, n);
    double number;
    if (--*room < 0) {
        fputs("…", file);
        return;
    }
    switch (v.op) {
    case NODE_FLOAT:
    case NODE_INT:
        graph_is_constant(g, n, &number);
        fprintf(file, "%.17g", number);
        return;
    case NODE_INDEX:
        write_indices(file, g, v.vars);
        return;
    case NODE_TENSOR:
        fprintf(file, "%s[", graph_tensor(g, v.tensor)->name);
        write_indices(file, g, v.free);
        fputs("]", file);
        return;
    case NODE_REDUCE:
        write_reduction(file, g, v, room);
        return;
    case NODE_GATHER:
        write_term(file, g, v.child[0], room);
        fputs("{", file);
        for (unsigned k = 0; k + 1 < v.child_count; k++) {
            fprintf(file, "%s%s := ", k ? ", " : "", graph_index_name(g, v.substituted[k]));
            write_term(file, g, v.child[k + 1], room);
        }
        fputs("}", file);
        return;
    case NODE_SCAN:
        fprintf(file, "state %u of scan%u[%s%s]", v.scan_state, v.scan_label, graph_index_name(g, v.scan_index),
                v.reverse ? " reverse" : "");
        write_operands(file, g, v, "(", "; ", room);
        return;
    case NODE_SOLVE:
        fprintf(file, "solve[%s%s]", graph_index_name(g, v.scan_index), v.reverse ? " reverse" : "");
        write_operands(file, g, v, "(", "; ", room);
        return;
    case NODE_PREVIOUS:
        fprintf(file, "previous%u.%u", v.scan_label, v.scan_state);
        return;
    case NODE_RANDOM:
        fprintf(file, "random%d", (int)v.integer);
        return;
    case NODE_ADD:
        write_operands(file, g, v, "(", " + ", room);
        return;
    case NODE_SUB:
        write_operands(file, g, v, "(", " - ", room);
        return;
    case NODE_MUL:
        write_operands(file, g, v, "(", " * ", room);
        return;
    case NODE_DIV:
        write_operands(file, g, v, "(", " / ", room);
        return;
    default:
        fputs(graph_op_name(v.op), file);
        write_operands(file, g, v, "(", ", ", room);
        return;
    }
}

#endif
