/* The schedule's text form. */
#include "schedule.h"

static void print_access(const schedule *s, uint32_t number, FILE *file) {
    static const char *const place[] = {"tensor", "output", "buffer"};
    const buffer *b                  = &s->buffer[number];
    if (b->place == PLACE_TENSOR)
        fprintf(file, "%s", graph_tensor(s->graph, b->number)->name);
    else if (b->place == PLACE_OUTPUT)
        fprintf(file, "%s", graph_output(s->graph, b->number)->name);
    else
        fprintf(file, "%s%u", place[b->place], number);
    fputc('[', file);
    for (unsigned i = 0; i < b->rank; i++)
        fprintf(file, "%s%s", i ? "," : "", graph_index_name(s->graph, b->axis[i]));
    fputc(']', file);
}

static void print_value(const schedule *s, node n, node root, unsigned depth, FILE *file) {
    node_view v = graph_view(s->graph, n);
    if (n != root && s->buffer_of[n] != NO_BUFFER) {
        print_access(s, s->buffer_of[n], file);
        return;
    }
    switch (v.op) {
    case NODE_FLOAT:
        fprintf(file, "%.6g", v.number);
        return;
    case NODE_INT:
        fprintf(file, "%lld", (long long)v.integer);
        return;
    case NODE_INDEX:
        fputs(graph_index_name(s->graph, (index_id)__builtin_ctzll(v.vars)), file);
        return;
    case NODE_PREVIOUS:
        fputs("previous", file);
        if (v.scan_state)
            fprintf(file, ".%u", v.scan_state);
        return;
    case NODE_RANDOM:
        fprintf(file, "random.%lld", (long long)v.integer);
        return;
    default:
        break;
    }
    if (depth == 0) {
        fprintf(file, "%%%u", n);
        return;
    }
    fprintf(file, "%s(", graph_op_name(v.op));
    for (unsigned i = 0; i < v.child_count; i++) {
        if (i)
            fputs(", ", file);
        if (v.op == NODE_GATHER && i)
            fprintf(file, "%s := ", graph_index_name(s->graph, v.substituted[i - 1]));
        print_value(s, v.child[i], NODE_NONE, depth - 1, file);
    }
    fputc(')', file);
}

enum { PRINT_DEPTH = 12 };

static void print_list(const schedule *s, const statement *list, int indent, FILE *file) {
    static const char *const name[] = {"sum", "product", "max", "min", "any", "all"};
    for (; list; list = list->next) {
        fprintf(file, "%*s", indent, "");
        if (list->kind == STATEMENT_FOR) {
            fprintf(file, "for %s in %s%lld%s\n", graph_index_name(s->graph, list->index),
                    list->reverse ? "reversed " : "", (long long)graph_index_extent(s->graph, list->index),
                    list->parallel ? "  # independent" : "");
            print_list(s, list->body, indent + 2, file);
            continue;
        }
        print_access(s, list->target, file);
        if (list->scatter != GRAPH_INDICES) {
            fprintf(file, " at %s := ", graph_index_name(s->graph, list->scatter));
            print_value(s, list->scatter_to, NODE_NONE, PRINT_DEPTH, file);
        }
        if (list->kind == STATEMENT_STORE || list->kind == STATEMENT_TOPK) {
            fputs(" = ", file);
            print_value(s, list->value, s->buffer_of[list->value] == list->target ? list->value : NODE_NONE,
                        PRINT_DEPTH, file);
        } else {
            fprintf(file, list->kind == STATEMENT_REDUCE ? " = %s[" : " %s= [", name[list->reduction]);
            for (unsigned i = 0; i < list->var_count; i++)
                fprintf(file, "%s%s", i ? "," : "", graph_index_name(s->graph, list->var[i]));
            if (list->domain) {
                fputs(" where ", file);
                print_value(s, list->domain, NODE_NONE, PRINT_DEPTH, file);
            }
            fputs("] ", file);
            print_value(s, list->summand, NODE_NONE, PRINT_DEPTH, file);
        }
        fputc('\n', file);
    }
}

static void print_matrix(const schedule *s, const matrix *m, FILE *file) {
    print_access(s, m->buffer, file);
    fprintf(file, "(%lld,%lld)", (long long)m->row_stride, (long long)m->column_stride);
}

static int64_t length_of(const schedule *s, const axis_order *order) {
    int64_t length = 1;
    for (unsigned i = 0; i < order->rank; i++)
        length *= graph_index_extent(s->graph, order->index[i]);
    return length;
}

void schedule_print(const schedule *s, FILE *file) {
    fprintf(file, "schedule of %u steps, workspace %llu bytes\n", s->step_count, (unsigned long long)s->workspace);
    for (uint32_t i = 0; i < s->step_count; i++) {
        const step *t = &s->step[i];
        if (t->kind == STEP_PRODUCT) {
            const matrix_product *p = t->product;
            int64_t rows = length_of(s, &p->rows), inner = length_of(s, &p->inner), columns = length_of(s, &p->columns);
            fprintf(file, "step %u: product %%%u, %lld x [%lld x %lld] . [%lld x %lld]\n  ", i, t->node,
                    (long long)t->items, (long long)rows, (long long)inner, (long long)inner, (long long)columns);
            print_matrix(s, &p->c, file);
            fputs(" = ", file);
            print_matrix(s, &p->a, file);
            fputs(" . ", file);
            print_matrix(s, &p->b, file);
            fputc('\n', file);
            continue;
        }
        fprintf(file, "step %u: nest %%%u, %lld items", i, t->node, (long long)t->items);
        if (t->split != GRAPH_INDICES)
            fprintf(file, ", threads divide %s", graph_index_name(s->graph, t->split));
        fputc('\n', file);
        print_list(s, t->body, 2, file);
    }
}
