/* What a kernel says of itself, for the text of the schedule. */
#include "enough.h"
#include "schedule_kernel.h"

static void note_set(const kernel *k, index_set set, FILE *file) {
    for (unsigned i = 0; i < graph_index_count(k->c->g); i++)
        if (set >> i & 1)
            fprintf(file, " %s", graph_index_name(k->c->g, (index_id)i));
}

static void note_value(const kernel *k, const char *what, node n, FILE *file) {
    fputs(what, file);
    schedule_print_value(k->c->s, n, file);
}

static void note_root(const kernel *k, const kernel_root *r, FILE *file) {
    fprintf(file, "%%%u, pass %u%s", r->reduce, r->pass + 1, r->by_row ? "" : ", grows over rows");
    for (unsigned p = 0; p < r->parts; p++) {
        if (r->parts > 1)
            fprintf(file, "%sterm %u", p ? "; " : ", ", p + 1);
        if (r->part[p].running)
            note_value(k, ", rescaled as this runs in its exponent: ", r->part[p].running, file);
        if (r->part[p].final)
            note_value(k, ", at the end times ", r->part[p].final, file);
    }
    if (r->apart) {
        fputs(", then over", file);
        note_set(k, r->apart, file);
    }
    if (r->later && r->later == r->reduce)
        fputs(", waits for what it reads", file);
    else if (r->later)
        note_value(k, ", waits for what is no factor, exponent or term: ", r->later, file);
    fputc('\n', file);
}

/* What was decided: roles, passes, what each result is made of, and the price of the walk. */
char *kernel_note(const kernel *k) {
    scheduler *c = k->c;
    char *text   = NULL;
    size_t size  = 0;
    FILE *file   = enough(open_memstream(&text, &size));
    fputs("kernel: grid", file);
    note_set(k, k->grid, file);
    fprintf(file, "%s, rows %s by %lld%s, stream %s by %lld, %u pass%s\n", k->grid ? "" : " none",
            graph_index_name(c->g, k->row), (long long)c->block[k->row], kernel_rows_apart(k) ? " divided" : "",
            graph_index_name(c->g, k->stream), (long long)c->block[k->stream], k->passes, k->passes == 1 ? "" : "es");
    for (unsigned i = 0; i < k->root_count; i++)
        if (!k->root[i].added)
            note_root(k, &k->root[i], file);
    schedule_note_walks(c, k->r, file);
    fclose(file);
    return text;
}
