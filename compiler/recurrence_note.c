/* What is said of a recurrence in the schedule: how it goes in chunks, in readable algebra, or why it does not. */
#include "enough.h"
#include "recurrence_internal.h"

enum { DEPTH = 3, NOTHING_BINDS = 0, SUM_BINDS, PRODUCT_BINDS };

typedef struct writer {
    const graph *g;
    FILE *file;
} writer;

static void write_indices(const writer *w, index_set set) {
    fputc('[', w->file);
    for (unsigned i = 0, count = 0; i < graph_index_count(w->g); i++)
        if (set >> i & 1)
            fprintf(w->file, "%s%s", count++ ? "," : "", graph_index_name(w->g, (index_id)i));
    fputc(']', w->file);
}

static void write_value(const writer *w, node n, unsigned depth, int binds);

static void write_infix(const writer *w, node_view v, const char *sign, int own, unsigned depth, int binds) {
    if (binds > own)
        fputc('(', w->file);
    write_value(w, v.child[0], depth, own);
    fputs(sign, w->file);
    write_value(w, v.child[1], depth, own + (v.op == NODE_SUB || v.op == NODE_DIV));
    if (binds > own)
        fputc(')', w->file);
}

/* A node by its name, else as it is made, down to a depth. */
static void write_value(const writer *w, node n, unsigned depth, int binds) {
    node_view v      = graph_view(w->g, n);
    const char *name = graph_node_name(w->g, n);
    if (name) {
        fputs(name, w->file);
        write_indices(w, v.free);
        return;
    }
    switch (v.op) {
    case NODE_FLOAT:
        fprintf(w->file, "%g", v.number);
        return;
    case NODE_INT:
        fprintf(w->file, "%lld", (long long)v.integer);
        return;
    case NODE_INDEX:
        fputs(graph_index_name(w->g, (index_id)__builtin_ctzll(v.vars)), w->file);
        return;
    case NODE_TENSOR:
        fputs(graph_tensor(w->g, v.tensor)->name, w->file);
        write_indices(w, v.free);
        return;
    case NODE_ADD:
    case NODE_SUB:
    case NODE_MUL:
    case NODE_DIV:
        if (depth > 0) {
            bool product     = v.op == NODE_MUL || v.op == NODE_DIV;
            const char *sign = v.op == NODE_ADD ? " + " : v.op == NODE_SUB ? " - " : v.op == NODE_MUL ? " " : " / ";
            write_infix(w, v, sign, product ? PRODUCT_BINDS : SUM_BINDS, depth - 1, binds);
            return;
        }
        break;
    case NODE_NEG:
        fputs(binds >= PRODUCT_BINDS ? "(-" : "-", w->file);
        write_value(w, v.child[0], depth, PRODUCT_BINDS);
        fputs(binds >= PRODUCT_BINDS ? ")" : "", w->file);
        return;
    case NODE_GATHER: /* most often other names of indices */
        if (depth > 0 && graph_node_name(w->g, v.child[0])) {
            fputs(graph_node_name(w->g, v.child[0]), w->file);
            write_indices(w, v.free);
            return;
        }
        break;
    default:
        if (depth > 0 && graph_op_is_pointwise(v.op) && v.child_count == 1) {
            fprintf(w->file, "%s(", graph_op_name(v.op));
            write_value(w, v.child[0], depth - 1, NOTHING_BINDS);
            fputc(')', w->file);
            return;
        }
    }
    fprintf(w->file, "%%%u", n);
    write_indices(w, v.free);
}

static void write_read(const writer *w, const state_read *read, const char *state) {
    fputs("sum", w->file);
    write_indices(w, read->vars);
    fputc('(', w->file);
    write_value(w, read->weight, DEPTH, PRODUCT_BINDS);
    fprintf(w->file, " %s(t-1))", state);
}

static void write_name(const recurrence *x, unsigned k, char *name, size_t size) {
    snprintf(name, size, x->states > 1 ? "S%u" : "S", k);
}

/* What a vector is multiplied with: what is known of it, and the corrections. */
static void write_multiplier(const recurrence *x, const writer *w, const vector *v) {
    bool first = true;
    if (v->value) {
        write_value(w, v->value, DEPTH, SUM_BINDS);
        first = false;
    }
    for (unsigned i = 0; i < x->corrections; i++) {
        if (!v->times[i])
            continue;
        fputs(first ? "" : " + ", w->file);
        write_value(w, v->times[i], DEPTH, PRODUCT_BINDS);
        fprintf(w->file, " p%u(t)", i);
        first = false;
    }
}

/* D, between two states where there are several: nothing where the state stays what it is. */
static void write_decay(const recurrence *x, const writer *w, unsigned k, unsigned l, const char *at) {
    if (!x->transfer[k][l].count)
        return;
    if (x->states > 1)
        fprintf(w->file, "D%u%u%s ", k, l, at);
    else
        fprintf(w->file, "D%s ", at);
}

static void write_chunk(const recurrence *x, const writer *w, unsigned k) {
    char name[16], from[16];
    const char *plus = "";
    write_name(x, k, name, sizeof name);
    fprintf(w->file, "#   %s(j) = ", name);
    for (unsigned l = 0; l < x->states; l++) {
        if (x->transfer[k][l].none)
            continue;
        write_name(x, l, from, sizeof from);
        fputs(plus, w->file);
        write_decay(x, w, k, l, "(j)");
        fprintf(w->file, "%s(start)", from);
        plus = " + ";
    }
    for (unsigned i = 0; i < x->vectors; i++) {
        if (x->transfer[k][x->vector[i].state].none)
            continue;
        fprintf(w->file, "%ssum[r <= j](", plus);
        write_decay(x, w, k, x->vector[i].state, "(j,r)");
        fprintf(w->file, "k%u(r) x%u(r))", i, i);
        plus = " + ";
    }
    fputc('\n', w->file);
}

static void write_decays(const recurrence *x, const writer *w) {
    for (unsigned k = 0; k < x->states; k++)
        for (unsigned l = 0; l < x->states; l++)
            for (unsigned i = 0; i < x->transfer[k][l].count; i++) {
                if (!x->transfer[k][l].decay[i].at)
                    continue;
                fputs("#   D is made of ", w->file);
                write_value(w, x->transfer[k][l].decay[i].at, DEPTH, NOTHING_BINDS);
                fputs(", multiplied from r+1 to j\n", w->file);
            }
}

static void write_step(const recurrence *x, const writer *w) {
    char name[16];
    for (unsigned i = 0; i < x->vectors; i++) {
        fprintf(w->file, "#   x%u(t) = ", i);
        write_multiplier(x, w, &x->vector[i]);
        write_name(x, x->vector[i].state, name, sizeof name);
        fprintf(w->file, "; k%u(t) = ", i);
        write_value(w, x->vector[i].along, DEPTH, NOTHING_BINDS);
        fputc('\n', w->file);
    }
    for (unsigned i = 0; i < x->corrections; i++) {
        write_name(x, x->correction[i].read.state, name, sizeof name);
        fprintf(w->file, "#   p%u(t) = ", i);
        write_read(w, &x->correction[i].read, name);
        fputc('\n', w->file);
    }
}

void recurrence_note(const recurrence *x) {
    char *text  = NULL;
    size_t size = 0;
    writer w    = {x->g, enough(open_memstream(&text, &size))};
    node_view v = graph_view(x->g, x->scan[0]);
    fprintf(w.file, "# recurrence over %s%s of ", graph_index_name(x->g, v.scan_index),
            v.reverse ? ", backwards," : "");
    for (unsigned k = 0; k < x->states && k < MOST_STATES; k++) {
        fputs(k ? ", " : "", w.file);
        write_value(&w, x->scan[k], 0, NOTHING_BINDS);
    }
    if (x->refused) {
        fprintf(w.file, ": position by position, since %s", x->refused);
        if (x->refused_by) {
            fputs(": ", w.file);
            write_value(&w, x->refused_by, DEPTH, NOTHING_BINDS);
        }
        fputc('\n', w.file);
    } else {
        fprintf(w.file, ": in %lld chunks of %lld, %s\n", (long long)x->chunks, (long long)x->chunk,
                x->unknowns ? "with a triangular system for x in each" : "without a triangular system");
        for (unsigned k = 0; k < x->states; k++)
            write_chunk(x, &w, k);
        write_decays(x, &w);
        write_step(x, &w);
    }
    fclose(w.file);
    graph_add_note(x->g, text);
    free(text);
}
