/* The graph's text form and its verifier. Preserves the graph. */
#include "graph_internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Marks what the outputs reach; children come before parents, except that PREVIOUS stands before its scan. A state of a
 * scan that is read only by the others means something to them, so all states of a scan are marked together. */
static uint8_t *reachable(const graph *g) {
    uint8_t *mark = graph_grow(NULL, &(size_t){0}, g->node_count, 1);
    memset(mark, 0, g->node_count);
    for (size_t i = 0; i < g->output_count; i++)
        mark[g->output[i]->node] = 1;
    for (size_t n = g->node_count; n-- > 1;) {
        if (!mark[n])
            continue;
        for (unsigned i = 0; i < g->node[n].child_count; i++)
            mark[g->child[g->node[n].first_child + i]] = 1;
        if (g->node[n].op == NODE_SCAN) /* they have the same children */
            memset(mark + g->scan[g->node[n].label].first, 1, g->scan[g->node[n].label].states);
    }
    return mark;
}

static void print_set(const graph *g, index_set set, FILE *file) {
    const char *comma = "";
    for (unsigned i = 0; i < g->index_count; i++)
        if (set >> i & 1) {
            fprintf(file, "%s%s", comma, g->index[i].name);
            comma = ",";
        }
}

static const char *const reduction_name[] = {"sum", "product", "max", "min", "any", "all"};

/* The number of a state only where a scan has several. */
static void print_state(const graph *g, const char *what, node_view v, FILE *file) {
    fprintf(file, "%s.%u", what, v.scan_label);
    if (graph_scan_states(g, v.scan_label) > 1)
        fprintf(file, ".%u", v.scan_state);
    fprintf(file, " %s", g->index[v.scan_index].name);
}

/* In the fewest digits, of nine or more, that read back as the same number. */
static void print_number(double x, FILE *file) {
    char text[32];
    for (int digits = 9; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    fputs(text, file);
}

static void print_node(const graph *g, node n, FILE *file) {
    static const char *const type_name[] = {"bool", "int", "float"};
    node_view v                          = graph_view(g, n);
    fprintf(file, "%%%u : %s[", n, type_name[v.type]);
    print_set(g, v.free, file);
    fprintf(file, "] = ");
    switch (v.op) {
    case NODE_FLOAT:
        print_number(v.number, file);
        break;
    case NODE_INT:
        if (v.type == TYPE_BOOL)
            fputs(v.integer ? "true" : "false", file);
        else
            fprintf(file, "%lld", (long long)v.integer);
        break;
    case NODE_INDEX:
        fputs("index ", file);
        print_set(g, v.vars, file);
        break;
    case NODE_TENSOR:
        fprintf(file, "tensor %s", g->tensor[v.tensor]->name);
        break;
    case NODE_REDUCE:
        fprintf(file, "%s[", reduction_name[v.reduction]);
        print_set(g, v.vars, file);
        if (!(graph_is_constant(g, v.child[0], NULL)))
            fprintf(file, " where %%%u", v.child[0]);
        fprintf(file, "] %%%u", v.child[1]);
        break;
    case NODE_GATHER:
        fprintf(file, "gather %%%u at", v.child[0]);
        for (unsigned i = 0; i + 1 < v.child_count; i++)
            fprintf(file, "%s %s := %%%u", i ? "," : "", g->index[v.substituted[i]].name, v.child[i + 1]);
        break;
    case NODE_SCAN:
        print_state(g, "scan", v, file);
        fprintf(file, "%s from %%%u step %%%u", v.reverse ? " reverse" : "", graph_scan_init(g, n),
                graph_scan_body(g, n));
        break;
    case NODE_PREVIOUS:
        print_state(g, "previous", v, file);
        break;
    case NODE_TOPK:
        fprintf(file, "topk[%s where %%%u] %%%u, %lld", g->index[v.scan_index].name, v.child[0], v.child[1],
                (long long)v.integer);
        break;
    case NODE_SOLVE:
        fprintf(file, "solve[%s, ", g->index[v.scan_index].name);
        print_set(g, v.vars, file);
        fprintf(file, "]%s %%%u, %%%u", v.reverse ? " reverse" : "", v.child[0], v.child[1]);
        break;
    case NODE_CHOSEN:
        fprintf(file, "chosen[%s where %%%u] %%%u at ", g->index[v.scan_index].name, v.child[0], v.child[1]);
        print_set(g, v.vars, file);
        break;
    case NODE_RANDOM:
        fprintf(file, "random.%lld", (long long)v.integer);
        break;
    case NODE_BEGIN:
    case NODE_END:
        fprintf(file, "%s %s", graph_op_name(v.op), g->index[v.scan_index].name);
        break;
    case NODE_HELD:
        fprintf(file, "held.%lld", (long long)v.integer);
        break;
    default:
        fputs(graph_op_name(v.op), file);
        for (unsigned i = 0; i < v.child_count; i++)
            fprintf(file, "%s%%%u", i ? ", " : " ", v.child[i]);
    }
}

static void print_line(const graph *g, node n, FILE *file, graph_comment *comment, void *context) {
    char *line  = NULL;
    size_t size = 0;
    FILE *text  = comment ? open_memstream(&line, &size) : NULL;
    print_node(g, n, text ? text : file);
    if (text && fclose(text) == 0 && line)
        comment(context, n, line, file);
    fputc('\n', file);
    free(line);
}

static const char *const output_kind_name[] = {"output", "loss", "gradient", "update"};

void graph_print(const graph *g, FILE *file) {
    graph_print_commented(g, file, NULL, NULL);
}

void graph_print_commented(const graph *g, FILE *file, graph_comment *comment, void *context) {
    uint8_t *mark = reachable(g);
    fputs("index", file);
    index_set used = 0;
    for (size_t n = 1; n < g->node_count; n++)
        if (mark[n])
            used |= g->node[n].free | g->node[n].vars;
    for (unsigned i = 0; i < g->index_count; i++)
        if (used >> i & 1)
            fprintf(file, " %s:%lld", g->index[i].name, (long long)g->index[i].extent);
    fputc('\n', file);
    for (size_t n = 1; n < g->node_count; n++)
        if (mark[n])
            print_line(g, (node)n, file, comment, context);
    for (size_t i = 0; i < g->output_count; i++) {
        const output *o = g->output[i];
        fprintf(file, "%s %s[", output_kind_name[o->kind], o->name);
        for (unsigned k = 0; k < o->rank; k++)
            fprintf(file, "%s%s", k ? "," : "", g->index[o->index[k]].name);
        fprintf(file, "] = %%%u\n", o->node);
    }
    free(mark);
}

static bool complain(char *error, size_t size, node n, const char *format, ...) {
    int used = snprintf(error, size, "node %%%u: ", n);
    va_list arguments;
    va_start(arguments, format);
    if (used >= 0 && (size_t)used < size)
        vsnprintf(error + used, size - (size_t)used, format, arguments);
    va_end(arguments);
    return false;
}

static bool verify_scan(const graph *g, node n, node_view v, char *error, size_t size) {
    unsigned states = graph_scan_states(g, v.scan_label);
    if (v.child_count != 2 * states || v.scan_state >= states || graph_scan_node(g, v.scan_label, v.scan_state) != n)
        return complain(error, size, n, "not a state of its scan");
    node_view p = graph_view(g, graph_scan_leaf(g, v.scan_label, v.scan_state));
    node init = graph_scan_init(g, n), body = graph_scan_body(g, n);
    if (p.type != v.type || g->node[init].type != v.type || g->node[body].type != v.type)
        return complain(error, size, n, "a state of different types");
    if (p.free != v.free || p.scan_index != v.scan_index || p.reverse != v.reverse)
        return complain(error, size, n, "the states before and after a step differ in their indices");
    if (g->node[init].free >> v.scan_index & 1)
        return complain(error, size, n, "the initial state depends on the scanned index");
    if ((g->node[init].free | g->node[body].free | (index_set)1 << v.scan_index) & ~v.free)
        return complain(error, size, n, "free indices are missing");
    return true;
}

static bool verify_solve(const graph *g, node n, node_view v, char *error, size_t size) {
    if (v.child_count != 2 || v.type != TYPE_FLOAT || graph_view(g, v.child[0]).type != TYPE_FLOAT ||
        graph_view(g, v.child[1]).type != TYPE_FLOAT)
        return complain(error, size, n, "a solve needs a matrix and a right-hand side of real numbers");
    if (__builtin_popcountll(v.vars) != 1 || v.vars >> v.scan_index & 1 ||
        graph_space(g, v.vars) != g->index[v.scan_index].extent)
        return complain(error, size, n, "a solve needs a row and a column of one extent");
    if (g->node[v.child[1]].free & v.vars)
        return complain(error, size, n, "the right-hand side depends on the column");
    return true;
}

static bool verify_node(const graph *g, node n, char *error, size_t size) {
    node_view v    = graph_view(g, n);
    index_set free = 0;
    for (unsigned i = 0; i < v.child_count; i++) {
        if (v.child[i] == NODE_NONE || v.child[i] >= n)
            return complain(error, size, n, "child %u is not an earlier node", i);
        free |= g->node[v.child[i]].free;
    }
    if (graph_op_is_pointwise(v.op)) {
        if (v.child_count != graph_op_arity(v.op))
            return complain(error, size, n, "%s takes %u operands", graph_op_name(v.op), graph_op_arity(v.op));
        if (v.op == NODE_SELECT && graph_view(g, v.child[0]).type != TYPE_BOOL)
            return complain(error, size, n, "the condition is not boolean");
        for (unsigned i = v.op == NODE_SELECT; i < v.child_count && v.op != NODE_TO_FLOAT; i++)
            if (graph_view(g, v.child[i]).type != graph_view(g, v.child[v.child_count - 1]).type)
                return complain(error, size, n, "operands of different types");
    }
    switch (v.op) {
    case NODE_REDUCE:
        if (v.child_count != 2 || graph_view(g, v.child[0]).type != TYPE_BOOL || !v.vars)
            return complain(error, size, n, "a reduction needs a boolean domain, a body and indices");
        free &= ~v.vars;
        break;
    case NODE_GATHER: {
        index_set replaced = 0;
        free               = 0;
        for (unsigned i = 0; i + 1 < v.child_count; i++) {
            if (replaced >> v.substituted[i] & 1)
                return complain(error, size, n, "index substituted twice");
            replaced |= (index_set)1 << v.substituted[i];
            if (graph_view(g, v.child[i + 1]).type != TYPE_INT)
                return complain(error, size, n, "an index expression is not an integer");
            free |= g->node[v.child[i + 1]].free;
        }
        free |= g->node[v.child[0]].free & ~replaced;
        break;
    }
    case NODE_SCAN:
        if (!verify_scan(g, n, v, error, size))
            return false;
        free = v.free;
        break;
    case NODE_TOPK:
        free |= (index_set)1 << v.scan_index;
        break;
    case NODE_SOLVE:
        if (!verify_solve(g, n, v, error, size))
            return false;
        free = (free | (index_set)1 << v.scan_index) & ~v.vars;
        break;
    case NODE_CHOSEN:
        if (free & v.vars || v.integer != graph_space(g, v.vars))
            return complain(error, size, n, "an index of a selection that is not its own");
        free = (free & ~((index_set)1 << v.scan_index)) | v.vars;
        break;
    case NODE_INDEX:
    case NODE_RANDOM:
    case NODE_HELD:
        free = v.vars;
        break;
    case NODE_TENSOR:
    case NODE_PREVIOUS:
        free = v.free;
        break;
    case NODE_FLOAT:
    case NODE_INT:
    case NODE_BEGIN:
    case NODE_END:
        break;
    default:
        if (!graph_op_is_pointwise(v.op))
            return complain(error, size, n, "unknown kind");
    }
    if (free != v.free)
        return complain(error, size, n, "its free indices do not follow from its children");
    return true;
}

bool graph_verify(const graph *g, char *error, size_t size) {
    uint8_t *mark = reachable(g);
    bool ok       = true;
    for (size_t i = 0; ok && i < g->output_count; i++) {
        index_set axes = 0;
        for (unsigned k = 0; k < g->output[i]->rank; k++)
            axes |= (index_set)1 << g->output[i]->index[k];
        if (g->node[g->output[i]->node].free & ~axes)
            ok = complain(error, size, g->output[i]->node, "output %s lacks one of its indices", g->output[i]->name);
    }
    uint8_t *open = graph_grow(NULL, &(size_t){0}, (size_t)g->scan_labels + 1, 1);
    memset(open, 0, (size_t)g->scan_labels + 1);
    for (size_t n = g->node_count; ok && n-- > 1;) {
        if (!mark[n])
            continue;
        ok = verify_node(g, (node)n, error, size);
        if (g->node[n].op == NODE_SCAN)
            open[g->node[n].label] = 1;
        else if (ok && g->node[n].op == NODE_PREVIOUS && !open[g->node[n].label])
            ok = complain(error, size, (node)n, "a state outside its scan");
    }
    free(open);
    free(mark);
    return ok;
}
