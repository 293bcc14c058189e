/* The picture of a schedule. A step is a box; of a kernel, which walks through blocks, a box of several parts: what
 * happens for each item of its grid, for each block of rows, and in each pass over a stream. An edge leads from the
 * part that wrote a buffer last to one that reads it, and says how large the buffer is. */
#include "schedule_draw.h"

#include "enough.h"
#include "graphviz.h"
#include "schedule_cost_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 32, PRODUCTS = 6, REDUCTIONS = REDUCE_ALL + 1 };
enum { NO_STEP = UINT32_MAX };

/* Some statements of a step: those directly in one block, or in none. */
typedef struct part {
    const statement *block; /* NULL: outside all blocks */
    unsigned depth;         /* blocks around it */
    unsigned pass;          /* over a stream, from 1; 0: it is none */
    const matrix_product *product[PRODUCTS];
    unsigned product_count, reductions[REDUCTIONS], stores;
} part;

/* Where an edge ends: a part of a step. */
typedef struct place_of_use {
    uint32_t step;
    unsigned part;
} place_of_use;

typedef struct edge {
    uint32_t buffer;
    place_of_use from, to;
} edge;

typedef struct artist {
    schedule *s;
    const graph *g;
    FILE *file;
    schedule_cost *cost;
    const char **name;     /* buffer: what a spec calls it; NULL: nothing */
    place_of_use *writer;  /* buffer: who wrote it last before this step; step NO_STEP: nobody */
    place_of_use *writing; /* and in this step */
    bool *kernel;          /* step: its box has several parts */
    edge *edge;
    size_t edge_count, edge_room;
    /* the step being drawn */
    uint32_t step;
    part part[PARTS];
    unsigned part_count, passes;
    const statement *grid[TENSOR_RANK];
    unsigned grid_count;
} artist;

/* Text. What stands in a table's cell is a kind of HTML. */

static void escaped(FILE *file, const char *text) {
    for (; *text; text++) {
        const char *instead = *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '&' ? "&amp;" : NULL;
        if (instead)
            fputs(instead, file);
        else
            fputc(*text, file);
    }
}

static const char *index_name(const artist *a, index_id i) {
    return graph_index_name(a->g, i);
}

static void print_order(const artist *a, const axis_order *order) {
    for (unsigned i = 0; i < order->rank; i++) {
        fputs(i ? "," : "", a->file);
        escaped(a->file, index_name(a, order->index[i]));
    }
    if (!order->rank)
        fputc('1', a->file);
}

static void print_product(const artist *a, const matrix_product *p) {
    fputs("product [", a->file);
    print_order(a, &p->rows);
    fputs(" × ", a->file);
    print_order(a, &p->inner);
    fputs("] · [", a->file);
    print_order(a, &p->inner);
    fputs(" × ", a->file);
    print_order(a, &p->columns);
    fputs(p->into ? "], added up" : "]", a->file);
}

/* Taking a step apart */

static void nothing(void *context, uint32_t number) {
    (void)context;
    (void)number;
}

static void add_edge(artist *a, uint32_t number, place_of_use from, place_of_use to) {
    for (size_t i = a->edge_count; i-- > 0 && a->edge[i].to.step == to.step;) {
        const edge *e = &a->edge[i];
        if (e->buffer == number && e->to.part == to.part && e->from.step == from.step && e->from.part == from.part)
            return;
    }
    if (a->edge_count == a->edge_room) {
        a->edge_room = a->edge_room ? 2 * a->edge_room : 64;
        a->edge      = enough(realloc(a->edge, a->edge_room * sizeof *a->edge));
    }
    a->edge[a->edge_count++] = (edge){number, from, to};
}

static void use(artist *a, leaf *l, unsigned in_part) {
    place_of_use here = {a->step, in_part};
    for (unsigned i = 0; i < l->access_count; i++) {
        uint32_t number = l->access[i].buffer;
        if (l->access[i].written)
            a->writing[number] = here;
        else if (a->s->buffer[number].place == PLACE_TENSOR || a->writer[number].step != NO_STEP)
            add_edge(a, number, a->writer[number], here);
    }
    leaf_free(l);
}

static void use_node(artist *a, node n, unsigned in_part) {
    if (n)
        use(a, leaf_of_node(a->s, n, nothing, NULL), in_part);
}

static unsigned add_part(artist *a, const statement *block, unsigned depth) {
    if (a->part_count == PARTS)
        return PARTS - 1;
    a->part[a->part_count] = (part){.block = block, .depth = depth, .pass = depth >= 2 ? ++a->passes : 0};
    return a->part_count++;
}

static bool has_block(const statement *list) {
    for (; list; list = list->next)
        if (list->kind == STATEMENT_BLOCK || has_block(list->body) || has_block(list->otherwise))
            return true;
    return false;
}

/* Of an IF, what stands in its other branch is the same done with more care: it is not counted. */
static void count_statement(part *p, const statement *t) {
    if (t->kind == STATEMENT_PRODUCT && p->product_count < PRODUCTS)
        p->product[p->product_count++] = t->product;
    else if (t->kind == STATEMENT_REDUCE || t->kind == STATEMENT_ACCUMULATE)
        p->reductions[t->reduction]++;
    else if (t->kind == STATEMENT_STORE)
        p->stores++;
}

static void take_list(artist *a, const statement *list, unsigned in_part, bool counts) {
    for (; list; list = list->next) {
        part *p = &a->part[in_part];
        use_node(a, list->lo, in_part);
        use_node(a, list->hi, in_part);
        use_node(a, list->condition, in_part);
        if (list->kind == STATEMENT_BLOCK) {
            unsigned inner = add_part(a, list, p->depth + 1);
            take_list(a, list->body, inner, counts);
        } else if (list->kind == STATEMENT_FOR || list->kind == STATEMENT_IF) {
            if (list->kind == STATEMENT_FOR && p->depth == 0 && has_block(list->body) && a->grid_count < TENSOR_RANK)
                a->grid[a->grid_count++] = list;
            take_list(a, list->body, in_part, counts);
            take_list(a, list->otherwise, in_part, counts && !list->body);
        } else {
            if (counts)
                count_statement(p, list);
            axis_order none = {0};
            if (list->kind == STATEMENT_SOLVE)
                use(a, leaf_of_triangle(a->s, list, &none, nothing, NULL), in_part);
            use(a,
                list->kind == STATEMENT_PRODUCT ? leaf_of_product(a->s, list->product, &none, nothing, NULL)
                                                : leaf_of_statement(a->s, list, &none, nothing, NULL),
                in_part);
        }
    }
}

static void take_step(artist *a, uint32_t number) {
    const step *t = &a->s->step[number];
    a->step       = number;
    a->part_count = a->passes = a->grid_count = 0;
    add_part(a, NULL, 0);
    if (t->kind == STEP_NEST)
        take_list(a, t->body, 0, true);
    else if (t->kind == STEP_PRODUCT)
        use(a, leaf_of_product(a->s, t->product, &t->batch, nothing, NULL), 0);
    a->kernel[number] = a->part_count > 1;
    for (uint32_t i = 0; i < a->s->buffer_count; i++)
        if (a->writing[i].step == number)
            a->writer[i] = a->writing[i];
}

/* Boxes */

static void begin_row(const artist *a, unsigned number) {
    fprintf(a->file, "<tr><td port=\"p%u\" align=\"left\" balign=\"left\">", number);
}

static void end_row(const artist *a) {
    fputs("</td></tr>", a->file);
}

static void print_grid(const artist *a) {
    for (unsigned i = 0; i < a->grid_count; i++) {
        const statement *t = a->grid[i];
        fputs(i ? " × " : "<br/>grid: ", a->file);
        escaped(a->file, index_name(a, t->index));
        fprintf(a->file, " %" PRId64 "%s", graph_index_extent(a->g, t->index), t->parallel ? "" : " in order");
    }
}

static void print_work(const artist *a, const part *p) {
    static const char *const name[REDUCTIONS] = {"sum", "product", "max", "min", "any", "all"};
    for (unsigned i = 0; i < p->product_count; i++) {
        fputs("<br/>", a->file);
        print_product(a, p->product[i]);
    }
    bool any = false;
    for (unsigned i = 0; i < REDUCTIONS; i++)
        if (p->reductions[i]) {
            fprintf(a->file, "%s%u %s", any ? ", " : "<br/>reductions: ", p->reductions[i], name[i]);
            any = true;
        }
    if (p->stores)
        fprintf(a->file, "<br/>%u pointwise", p->stores);
}

static void print_blocks(const artist *a, index_id index, int64_t block, bool once, bool bounded) {
    escaped(a->file, index_name(a, index));
    if (once)
        fputs(", once", a->file);
    else
        fprintf(a->file, " by %" PRId64, block);
    if (bounded)
        fputs(", where needed", a->file);
}

static void print_part(const artist *a, unsigned number) {
    const part *p = &a->part[number];
    begin_row(a, number);
    if (p->pass)
        fprintf(a->file, "<b>pass %u</b> over ", p->pass);
    else
        fputs("<b>rows</b> ", a->file);
    print_blocks(a, p->block->index, p->block->block, p->block->once, p->block->lo || p->block->hi);
    print_work(a, p);
    end_row(a);
}

static void print_notes(const artist *a, const step *t) {
    for (const char *line = t->note; line && *line;) {
        size_t length = strcspn(line, "\n");
        char *copy    = enough(strndup(line, length));
        fputs("<br/>", a->file);
        escaped(a->file, copy);
        free(copy);
        line += length + (line[length] == '\n');
    }
}

static void print_title(const artist *a, const step *t, const char *kind) {
    const char *name = t->node ? graph_node_name(a->g, t->node) : NULL;
    begin_row(a, 0);
    fprintf(a->file, "<b>%s %" PRIu32 "</b>", kind, a->step);
    if (name) {
        fputs(": ", a->file);
        escaped(a->file, name);
    }
    if (t->kind == STEP_PRODUCT) {
        fputs("<br/>", a->file);
        print_product(a, t->product);
        if (t->items > 1)
            fprintf(a->file, ", %" PRId64 " times", t->items);
    }
    print_grid(a);
    if (a->part_count > 1)
        print_work(a, &a->part[0]);
    print_notes(a, t);
    end_row(a);
}

static void print_box(artist *a, uint32_t number) {
    const step *t    = &a->s->step[number];
    bool kernel      = a->kernel[number];
    const char *kind = kernel ? "kernel" : t->kind == STEP_PRODUCT ? "product" : "nest";
    const char *fill = kernel ? "#e1d5e7" : t->kind == STEP_PRODUCT ? "#fff2cc" : "#dae8fc";
    fprintf(a->file,
            "  s%" PRIu32 " [label=<<table border=\"0\" cellborder=\"1\" cellspacing=\"0\" cellpadding=\"4\" "
            "bgcolor=\"%s\">",
            number, fill);
    print_title(a, t, kind);
    for (unsigned i = 1; i < a->part_count; i++)
        print_part(a, i);
    fputs("<tr><td align=\"left\"><font point-size=\"9\">", a->file);
    schedule_cost_print(&a->cost->step[number], a->file);
    fputs("</font></td></tr></table>>];\n", a->file);
}

static void print_steps(artist *a, uint32_t from, uint32_t to) {
    while (from < to) {
        const step *t   = &a->s->step[from];
        uint32_t inside = t->kind == STEP_BLOCKS ? t->inside : 0;
        schedule_enter(a->s, from);
        if (t->kind == STEP_BLOCKS) {
            fprintf(a->file, "  subgraph cluster%" PRIu32 " {\n  style=rounded; labeljust=l; label=<blocks of ", from);
            print_blocks(a, t->index, t->block, t->once, t->lo || t->hi);
            fputs("<br/><font point-size=\"9\">", a->file);
            schedule_cost_print(&a->cost->step[from], a->file);
            fputs("</font>>;\n", a->file);
            print_steps(a, from + 1, from + 1 + inside);
            fputs("  }\n", a->file);
        } else {
            take_step(a, from);
            print_box(a, from);
        }
        schedule_leave(a->s, from);
        from += 1 + inside;
    }
}

/* Buffers */

static void print_axes(const artist *a, const buffer *b) {
    for (unsigned i = 0; i < b->rank; i++) {
        fputs(i ? "," : "[", a->file);
        graphviz_quoted(a->file, index_name(a, b->axis[i]));
        if (b->block[i])
            fprintf(a->file, ":%" PRId64, b->block[i]);
    }
    fputs(b->rank ? "]" : "", a->file);
}

/* An edge of a box of one part leads to the box, wherever it is shortest. */
static void print_place(const artist *a, place_of_use at) {
    fprintf(a->file, "s%" PRIu32, at.step);
    if (a->kernel[at.step])
        fprintf(a->file, ":p%u", at.part);
}

static void print_ends(const artist *a) {
    for (uint32_t i = 0; i < a->s->buffer_count; i++) {
        const buffer *b  = &a->s->buffer[i];
        bool read        = false;
        const tensor *t  = b->place == PLACE_TENSOR ? graph_tensor(a->g, b->number) : NULL;
        const char *look = t && t->kind == TENSOR_INPUT ? "shape=house, fillcolor=\"#d5e8d4\""
                           : t                          ? "shape=note, fillcolor=\"#eeeeee\""
                                                        : "shape=invhouse, fillcolor=\"#ffe6cc\"";
        for (size_t k = 0; k < a->edge_count; k++)
            read |= a->edge[k].buffer == i;
        if ((!t || !read) && b->place != PLACE_OUTPUT)
            continue;
        fprintf(a->file, "  b%" PRIu32 " [style=filled, %s, label=\"", i, look);
        graphviz_quoted(a->file, t ? t->name : graph_output(a->g, b->number)->name);
        print_axes(a, b);
        fputs("\\n", a->file);
        schedule_print_amount(schedule_buffer_bytes(b), "B", a->file);
        fputs("\"];\n", a->file);
        if (t || a->writer[i].step == NO_STEP)
            continue;
        fputs("  ", a->file);
        print_place(a, a->writer[i]);
        fprintf(a->file, " -> b%" PRIu32 ";\n", i);
    }
}

static void print_edge(const artist *a, const edge *e) {
    const buffer *b = &a->s->buffer[e->buffer];
    fputs("  ", a->file);
    if (b->place == PLACE_TENSOR)
        fprintf(a->file, "b%" PRIu32, e->buffer);
    else
        print_place(a, e->from);
    fputs(" -> ", a->file);
    print_place(a, e->to);
    if (b->place != PLACE_TENSOR) {
        fputs(" [label=\"", a->file);
        if (a->name[e->buffer])
            graphviz_quoted(a->file, a->name[e->buffer]);
        print_axes(a, b);
        fputs("\\n", a->file);
        schedule_print_amount(schedule_buffer_bytes(b), "B", a->file);
        fputs("\"]", a->file);
    }
    fputs(";\n", a->file);
}

static void name_buffers(artist *a) {
    for (node n = 1; n <= graph_node_count(a->g); n++) {
        uint32_t number = a->s->buffer_of[n];
        if (number != NO_BUFFER && !a->name[number])
            a->name[number] = graph_node_name(a->g, n);
    }
}

void schedule_draw_dot(schedule *s, const char *title, FILE *file) {
    artist *a     = enough(calloc(1, sizeof *a));
    *a            = (artist){.s = s, .g = s->graph, .file = file, .cost = schedule_cost_of(s)};
    size_t length = s->buffer_count + 1;
    a->name       = enough(calloc(length, sizeof *a->name));
    a->writer     = enough(calloc(length, sizeof *a->writer));
    a->writing    = enough(calloc(length, sizeof *a->writing));
    a->kernel     = enough(calloc(s->step_count + 1, sizeof *a->kernel));
    for (uint32_t i = 0; i < s->buffer_count; i++)
        a->writer[i].step = a->writing[i].step = NO_STEP;
    name_buffers(a);
    fputs("digraph {\n  graph [rankdir=TB, fontname=\"Helvetica\", labelloc=t, label=\"", file);
    graphviz_quoted(file, title);
    fputs("\\n", file);
    schedule_cost_print(&a->cost->total, file);
    fputs(", workspace ", file);
    schedule_print_amount(s->workspace, "B", file);
    fputs("\"];\n  node [shape=plain, fontname=\"Helvetica\", fontsize=11];\n"
          "  edge [fontname=\"Helvetica\", fontsize=10, color=\"#666666\"];\n",
          file);
    print_steps(a, 0, s->step_count);
    print_ends(a);
    for (size_t i = 0; i < a->edge_count; i++)
        print_edge(a, &a->edge[i]);
    fputs("}\n", file);
    schedule_cost_free(a->cost);
    free(a->name);
    free(a->writer);
    free(a->writing);
    free(a->kernel);
    free(a->edge);
    free(a);
}

typedef struct drawing {
    schedule *s;
    const char *title;
} drawing;

static void write_drawing(void *context, FILE *file) {
    const drawing *d = context;
    schedule_draw_dot(d->s, d->title, file);
}

bool schedule_draw_to_file(schedule *s, const char *title, const char *path, char *error, size_t size) {
    return graphviz_to_file(write_drawing, &(drawing){s, title}, path, error, size);
}
