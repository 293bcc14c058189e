/* The schedule's text form. A buffer's axis that holds a block of its index is `t:64`; |t| is how many values an index
 * has in the block open there. What a step costs and why it is as it is stands behind `#`. */
#include "enough.h"
#include "schedule.h"
#include "schedule_cost.h"

#include <inttypes.h>
#include <stdlib.h>

enum { PRINT_DEPTH = 12, LARGEST = 10 };

typedef struct printer {
    schedule *s;
    const graph *g;
    FILE *file;
    index_set ranged; /* indices of which a block is open */
    const schedule_cost *cost;
} printer;

static const char *name_of(const printer *p, index_id i) {
    return graph_index_name(p->g, i);
}

static void print_buffer(const printer *p, uint32_t number) {
    static const char *const place[] = {"tensor", "output", "buffer", "tile"};
    const buffer *b                  = &p->s->buffer[number];
    if (b->place == PLACE_TENSOR)
        fprintf(p->file, "%s", graph_tensor(p->g, b->number)->name);
    else if (b->place == PLACE_OUTPUT)
        fprintf(p->file, "%s", graph_output(p->g, b->number)->name);
    else
        fprintf(p->file, "%s%u", place[b->place], number);
}

static void print_access(const printer *p, uint32_t number) {
    const buffer *b = &p->s->buffer[number];
    print_buffer(p, number);
    fputc('[', p->file);
    for (unsigned i = 0; i < b->rank; i++) {
        fprintf(p->file, "%s%s", i ? "," : "", name_of(p, b->axis[i]));
        if (b->block[i])
            fprintf(p->file, ":%lld", (long long)b->block[i]);
    }
    fputc(']', p->file);
}

/* What is written without operands; false: n is something else. */
static bool print_leaf(const printer *p, node_view v) {
    switch (v.op) {
    case NODE_FLOAT:
        fprintf(p->file, "%.6g", v.number);
        return true;
    case NODE_INT:
        fprintf(p->file, "%lld", (long long)v.integer);
        return true;
    case NODE_INDEX:
        fputs(name_of(p, (index_id)__builtin_ctzll(v.vars)), p->file);
        return true;
    case NODE_BEGIN:
    case NODE_END:
        fprintf(p->file, "%s(%s)", v.op == NODE_BEGIN ? "begin" : "end", name_of(p, v.scan_index));
        return true;
    case NODE_PREVIOUS:
        fputs("previous", p->file);
        if (v.scan_state)
            fprintf(p->file, ".%u", v.scan_state);
        return true;
    case NODE_RANDOM:
        fprintf(p->file, "random.%lld", (long long)v.integer);
        return true;
    case NODE_HELD:
        fprintf(p->file, "held.%lld", (long long)v.integer);
        return true;
    default:
        return false;
    }
}

static void print_within(const printer *p, node n, node root, unsigned depth) {
    node_view v = graph_view(p->g, n);
    if (n != root && p->s->buffer_of[n] != NO_BUFFER) {
        print_access(p, p->s->buffer_of[n]);
        return;
    }
    if (print_leaf(p, v))
        return;
    if (depth == 0) {
        fprintf(p->file, "%%%u", n);
        return;
    }
    fprintf(p->file, "%s(", graph_op_name(v.op));
    for (unsigned i = 0; i < v.child_count; i++) {
        if (i)
            fputs(", ", p->file);
        if (v.op == NODE_GATHER && i)
            fprintf(p->file, "%s := ", name_of(p, v.substituted[i - 1]));
        print_within(p, v.child[i], NODE_NONE, depth - 1);
    }
    fputc(')', p->file);
}

static void print_value(const printer *p, node n) {
    print_within(p, n, NODE_NONE, PRINT_DEPTH);
}

void schedule_print_value(schedule *s, node n, FILE *file) {
    print_within(&(printer){.s = s, .g = s->graph, .file = file}, n, n, 3);
}

/* ` by 64 in [lo, hi)`: of a statement or of steps. */
static void print_blocks(const printer *p, index_id index, int64_t block, node lo, node hi, bool once) {
    if (once)
        fputs(" once", p->file);
    if (block)
        fprintf(p->file, once ? ", at most %lld," : " by %lld", (long long)block);
    if (!lo && !hi)
        return;
    fputs(" in [", p->file);
    if (lo)
        print_value(p, lo);
    else
        fputs("0", p->file);
    fputs(", ", p->file);
    if (hi)
        print_value(p, hi);
    else
        fprintf(p->file, "%lld", (long long)graph_index_extent(p->g, index));
    fputc(')', p->file);
}

static void print_order(const printer *p, const axis_order *order) {
    for (unsigned i = 0; i < order->rank; i++)
        fprintf(p->file, "%s%s", i ? "," : "", name_of(p, order->index[i]));
    if (order->rank == 0)
        fputc('1', p->file);
}

static void print_matrix(const printer *p, const matrix *m, bool base) {
    print_access(p, m->buffer);
    fprintf(p->file, "(%lld,%lld", (long long)m->row_stride, (long long)m->column_stride);
    for (unsigned i = 0; base && i < m->offset_count; i++) {
        fprintf(p->file, "%s%lld*", i ? " + " : " at ", (long long)m->offset_stride[i]);
        print_value(p, m->offset[i]);
    }
    fputc(')', p->file);
}

static void print_equation(const printer *p, const matrix_product *x, bool base) {
    print_matrix(p, &x->c, base);
    fputs(x->into ? " += " : " = ", p->file);
    print_matrix(p, &x->a, base);
    fputs(" . ", p->file);
    print_matrix(p, &x->b, base);
    fputc('\n', p->file);
}

static void print_product(const printer *p, const matrix_product *x) {
    fputs("product [", p->file);
    print_order(p, &x->rows);
    fputs(" x ", p->file);
    print_order(p, &x->inner);
    fputs("] . [", p->file);
    print_order(p, &x->inner);
    fputs(" x ", p->file);
    print_order(p, &x->columns);
    fputs("]: ", p->file);
    print_equation(p, x, true);
}

static void print_reduction(const printer *p, const statement *s) {
    static const char *const name[] = {"sum", "product", "max", "min", "any", "all"};
    if (s->kind == STATEMENT_ACCUMULATE)
        fprintf(p->file, " %s= [", name[s->reduction]);
    else
        fprintf(p->file, " = %s%s[", name[s->reduction], s->into ? " onto itself" : "");
    for (unsigned i = 0; i < s->var_count; i++)
        fprintf(p->file, "%s%s", i ? "," : "", name_of(p, s->var[i]));
    if (s->domain) {
        fputs(" where ", p->file);
        print_value(p, s->domain);
    }
    fputs("] ", p->file);
    print_value(p, s->summand);
}

static void print_solve(const printer *p, const statement *s) {
    node_view v = graph_view(p->g, s->value);
    fprintf(p->file, " = solve%s[%s", s->reverse ? " reversed" : "", name_of(p, s->index));
    for (unsigned i = 0; i < s->var_count; i++)
        fprintf(p->file, ", all %s", name_of(p, s->var[i]));
    fputs(" where ", p->file);
    print_value(p, s->domain);
    fputs("] ", p->file);
    print_value(p, v.child[0]);
    fputs(", ", p->file);
    print_value(p, v.child[1]);
}

/* What has a target. */
static void print_assignment(const printer *p, const statement *s) {
    print_access(p, s->target);
    if (s->scatter != GRAPH_INDICES) {
        fprintf(p->file, " at %s := ", name_of(p, s->scatter));
        print_value(p, s->scatter_to);
    }
    if (s->kind == STATEMENT_REDUCE || s->kind == STATEMENT_ACCUMULATE) {
        print_reduction(p, s);
    } else if (s->kind == STATEMENT_SOLVE) {
        print_solve(p, s);
    } else {
        fputs(" = ", p->file);
        print_within(p, s->value, p->s->buffer_of[s->value] == s->target ? s->value : NODE_NONE, PRINT_DEPTH);
    }
    fputc('\n', p->file);
}

static void print_list(printer *p, const statement *list, int indent);

static void print_for(printer *p, const statement *s, int indent) {
    fprintf(p->file, "for %s in %s", name_of(p, s->index), s->reverse ? "reversed " : "");
    if (p->ranged >> s->index & 1)
        fputs("its block", p->file);
    else
        fprintf(p->file, "%lld", (long long)graph_index_extent(p->g, s->index));
    fprintf(p->file, "%s\n", s->parallel ? "  # independent" : "");
    print_list(p, s->body, indent + 2);
}

static void print_block(printer *p, const statement *s, int indent) {
    index_set before = p->ranged;
    fprintf(p->file, "block %s%s", s->reverse ? "reversed " : "", name_of(p, s->index));
    print_blocks(p, s->index, s->block, s->lo, s->hi, s->once);
    fprintf(p->file, "%s\n", s->parallel ? "  # independent" : "");
    p->ranged |= (index_set)1 << s->index;
    print_list(p, s->body, indent + 2);
    p->ranged = before;
}

static void print_if(printer *p, const statement *s, int indent) {
    fputs("if ", p->file);
    print_value(p, s->condition);
    if (s->assumed) {
        fputs("  (then known: ", p->file);
        print_value(p, s->assumed);
        fputc(')', p->file);
    }
    fputc('\n', p->file);
    print_list(p, s->body, indent + 2);
    if (!s->otherwise)
        return;
    fprintf(p->file, "%*selse\n", indent, "");
    print_list(p, s->otherwise, indent + 2);
}

static void print_list(printer *p, const statement *list, int indent) {
    for (; list; list = list->next) {
        fprintf(p->file, "%*s", indent, "");
        if (list->kind == STATEMENT_FOR)
            print_for(p, list, indent);
        else if (list->kind == STATEMENT_BLOCK)
            print_block(p, list, indent);
        else if (list->kind == STATEMENT_IF)
            print_if(p, list, indent);
        else if (list->kind == STATEMENT_PRODUCT)
            print_product(p, list->product);
        else
            print_assignment(p, list);
    }
}

/* How many values indices have as one: a number, and |t| for one of which a block is open. */
static void print_length(const printer *p, const axis_order *order) {
    int64_t length = 1;
    bool blocked   = false;
    for (unsigned i = 0; i < order->rank; i++) {
        if (p->ranged >> order->index[i] & 1) {
            fprintf(p->file, "%s|%s|", blocked ? "*" : "", name_of(p, order->index[i]));
            blocked = true;
        } else {
            length *= graph_index_extent(p->g, order->index[i]);
        }
    }
    if (!blocked)
        fprintf(p->file, "%lld", (long long)length);
    else if (length > 1)
        fprintf(p->file, "*%lld", (long long)length);
}

/* `[rows x columns]` */
static void print_shape(const printer *p, const axis_order *rows, const axis_order *columns) {
    fputc('[', p->file);
    print_length(p, rows);
    fputs(" x ", p->file);
    print_length(p, columns);
    fputc(']', p->file);
}

static void print_local(const printer *p, const step *t, int indent) {
    for (uint32_t i = 0; i < t->local_count; i++) {
        uint32_t number = p->s->buffer_of[t->local[i].node];
        if (number == NO_BUFFER)
            continue;
        fprintf(p->file, "%*s%%%u is in ", indent, "", t->local[i].node);
        print_access(p, number);
        fputs(" here\n", p->file);
    }
}

/* What a step costs, and what the scheduler says about it */

static void print_remarks(const printer *p, uint32_t number, int indent) {
    fprintf(p->file, "%*s# ", indent, "");
    schedule_cost_print(&p->cost->step[number], p->file);
    fputc('\n', p->file);
    for (const char *line = p->s->step[number].note; line && *line;) {
        size_t length = strcspn(line, "\n");
        fprintf(p->file, "%*s# %.*s\n", indent, "", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static void print_product_step(const printer *p, const step *t, uint32_t number, int indent) {
    const matrix_product *x = t->product;
    fprintf(p->file, "step %u: product %%%u, %lld x ", number, t->node, (long long)t->items);
    print_shape(p, &x->rows, &x->inner);
    fputs(" . ", p->file);
    print_shape(p, &x->inner, &x->columns);
    fputc('\n', p->file);
    print_remarks(p, number, indent + 2);
    print_local(p, t, indent + 2);
    fprintf(p->file, "%*s", indent + 2, "");
    print_equation(p, x, p->ranged != 0);
}

static void print_nest_step(printer *p, const step *t, uint32_t number, int indent) {
    fprintf(p->file, "step %u: nest %%%u, %lld items", number, t->node, (long long)t->items);
    if (t->split != GRAPH_INDICES)
        fprintf(p->file, ", threads divide %s", name_of(p, t->split));
    fputc('\n', p->file);
    print_remarks(p, number, indent + 2);
    print_local(p, t, indent + 2);
    print_list(p, t->body, indent + 2);
}

static uint32_t print_steps(printer *p, uint32_t from, uint32_t to, int indent);

static void print_blocks_step(printer *p, uint32_t number, int indent) {
    const step *t    = &p->s->step[number];
    index_set before = p->ranged;
    fprintf(p->file, "step %u: blocks %s", number, name_of(p, t->index));
    print_blocks(p, t->index, t->block, t->lo, t->hi, t->once);
    fputc('\n', p->file);
    print_remarks(p, number, indent + 2);
    print_local(p, t, indent + 2);
    p->ranged |= (index_set)1 << t->index;
    print_steps(p, number + 1, number + 1 + t->inside, indent + 2);
    p->ranged = before;
}

/* Returns the number of the step after them. */
static uint32_t print_steps(printer *p, uint32_t from, uint32_t to, int indent) {
    while (from < to && from < p->s->step_count) {
        const step *t = &p->s->step[from];
        uint32_t next = from + 1 + (t->kind == STEP_BLOCKS ? t->inside : 0);
        schedule_enter(p->s, from);
        fprintf(p->file, "%*s", indent, "");
        if (t->kind == STEP_BLOCKS)
            print_blocks_step(p, from, indent);
        else if (t->kind == STEP_PRODUCT)
            print_product_step(p, t, from, indent);
        else
            print_nest_step(p, t, from, indent);
        schedule_leave(p->s, from);
        from = next;
    }
    return from;
}

/* The memory plan */

typedef struct used_buffer {
    uint32_t number;
    uint64_t bytes;
} used_buffer;

static int larger_first(const void *a, const void *b) {
    const used_buffer *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static void print_memory(const printer *p) {
    const schedule *s  = p->s;
    used_buffer *sized = enough(calloc(s->buffer_count + 1, sizeof *sized));
    uint32_t count     = 0;
    for (uint32_t i = 0; i < s->buffer_count; i++)
        if (s->buffer[i].place == PLACE_WORKSPACE && s->buffer[i].first_use <= s->buffer[i].last_use)
            sized[count++] = (used_buffer){i, schedule_buffer_bytes(&s->buffer[i])};
    qsort(sized, count, sizeof *sized, larger_first);
    fputs("# workspace ", p->file);
    schedule_print_amount(s->workspace, "B", p->file);
    fprintf(p->file, " for %" PRIu32 " buffer%s, tiles of a thread ", count, count == 1 ? "" : "s");
    schedule_print_amount(p->cost->total.tiles, "B", p->file);
    fputs(count > LARGEST ? "; the largest buffers:\n" : "\n", p->file);
    for (uint32_t i = 0; i < count && i < LARGEST; i++) {
        const buffer *b = &s->buffer[sized[i].number];
        fputs("#   ", p->file);
        print_access(p, sized[i].number);
        fputs(" at ", p->file);
        fprintf(p->file, "%" PRIu64 ", ", b->offset);
        schedule_print_amount(sized[i].bytes, "B", p->file);
        if (b->first_use == b->last_use)
            fprintf(p->file, ", step %" PRIu32 "\n", b->first_use);
        else
            fprintf(p->file, ", steps %" PRIu32 " to %" PRIu32 "\n", b->first_use, b->last_use);
    }
    free(sized);
}

void schedule_print(schedule *s, FILE *file) {
    schedule_cost *cost = schedule_cost_of(s);
    printer p           = {.s = s, .g = s->graph, .file = file, .cost = cost};
    fprintf(file, "schedule of %u steps, workspace %llu bytes\n", s->step_count, (unsigned long long)s->workspace);
    fputs(graph_notes(s->graph), file);
    for (const char *line = s->selections; line && *line; line = strchr(line, '\n') + 1)
        fprintf(file, "# %.*s\n", (int)strcspn(line, "\n"), line);
    if (s->given_up)
        fprintf(file, "# less is fused than could be: %s\n", s->given_up);
    print_steps(&p, 0, s->step_count, 0);
    fputs("# all steps:\n# ", file);
    schedule_cost_print(&cost->total, file);
    fputc('\n', file);
    print_memory(&p);
    schedule_cost_free(cost);
}
