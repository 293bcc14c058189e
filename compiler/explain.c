/* What --explain prints. */
#include "explain.h"

#include "reasons.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_COLUMNS = 52, RULE_COLUMNS = 26, COMMENT = 1024 };

typedef struct explanation {
    const graph *g;
    size_t size;       /* of the three below, by node */
    const char **name; /* a definition's or an output's */
    node *owner;       /* the first definition that contains it */
    node *became;      /* a printed node that was rebuilt from it */
    uint8_t *printed;
    size_t column; /* where comments begin */
    size_t count[REASONS];
} explanation;

static void *get(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

static size_t characters(const char *text) {
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

__attribute__((format(printf, 2, 3))) static void append(char *text, const char *format, ...) {
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, COMMENT - used, format, arguments);
    va_end(arguments);
}

/* What the nodes are called, and which definition each belongs to: of several the first, which the others read. */
static void find_owners(explanation *e) {
    const graph *g = e->g;
    for (node n = 1; n < e->size; n++)
        e->name[n] = graph_node_name(g, n);
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        e->name[graph_tensor(g, i)->node] = graph_tensor(g, i)->name;
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        if ((o->kind == OUTPUT_VALUE || o->kind == OUTPUT_LOSS) && !e->name[o->node])
            e->name[o->node] = o->name;
    }
    for (size_t n = e->size; n-- > 1;) {
        if (e->name[n])
            e->owner[n] = (node)n;
        node_view v = graph_view(g, (node)n);
        for (unsigned i = 0; i < v.child_count; i++) {
            node *of = &e->owner[v.child[i]];
            if (e->owner[n] && (!*of || e->owner[n] < *of))
                *of = e->owner[n];
        }
    }
}

static const char *definition(const explanation *e, node n) {
    return e->owner[n] ? e->name[e->owner[n]] : NULL;
}

/* " of p", " of %163 in p", or " in p" where the node itself is not among those printed. */
static void add_subject(const explanation *e, node n, char *text) {
    if (e->name[n]) {
        append(text, " of %s", e->name[n]);
        return;
    }
    if (e->printed[n] || e->became[n])
        append(text, " of %%%u", e->printed[n] ? n : e->became[n]);
    if (definition(e, n))
        append(text, " in %s", definition(e, n));
}

/* The rule that made n and what it was applied to. What derivation made keeps the rule that it is by when a rewrite
 * takes its place; the rewrites are told first, and none twice. */
static void add_rules(const explanation *e, node n, char *text) {
    reason said[EXPLAIN_DEPTH];
    unsigned depth = 0;
    for (;;) {
        node about;
        reason why    = (reason)graph_reason(e->g, n, &about);
        bool repeated = false;
        for (unsigned i = 0; i < depth; i++)
            repeated |= said[i] == why;
        if (!repeated && depth == EXPLAIN_DEPTH) {
            append(text, ", …");
            return;
        }
        if (!repeated) {
            append(text, "%s%s", depth ? ", from " : "", reason_name(why));
            said[depth++] = why;
        }
        if (!about)
            return;
        reason before = (reason)graph_reason(e->g, about, NULL);
        if (before == REASON_SPEC || (why > REASON_REWRITES && e->printed[about])) {
            add_subject(e, about, text);
            return;
        }
        n = about;
    }
}

/* A node of the spec. One that was rebuilt belongs where it was; one that no definition contains, because it was made
 * on the way to one, where its operands do. */
static void add_place(const explanation *e, node n, char *text) {
    static const char *const kind[] = {"input", "parameter", "state"};
    node_view v                     = graph_view(e->g, n);
    node in;
    graph_reason(e->g, n, &in);
    for (unsigned i = 0; i < v.child_count && !(in && definition(e, in)); i++)
        in = v.child[i];
    if (v.op == NODE_TENSOR)
        append(text, "%s", kind[graph_tensor(e->g, v.tensor)->kind]);
    else if (e->name[n])
        append(text, "%s", e->name[n]);
    else if (definition(e, n))
        append(text, "in %s", definition(e, n));
    else if (in && definition(e, in))
        append(text, "in %s", definition(e, in));
    else
        append(text, "%s", reason_text(REASON_SPEC));
}

/* Ends a text that is too long for the line with "…". */
static void cut(char *text, size_t columns) {
    if (characters(text) <= columns)
        return;
    char *at = text;
    for (size_t count = 0; count + 1 < columns; count++)
        do
            at++;
        while (((unsigned char)*at & 0xC0) == 0x80);
    strcpy(at, "…");
}

static void measure(void *context, node n, const char *line, FILE *file) {
    explanation *e = context;
    size_t columns = characters(line);
    (void)file;
    e->printed[n] = 1;
    e->count[graph_reason(e->g, n, NULL)]++;
    if (columns > e->column && columns <= LINE_COLUMNS)
        e->column = columns;
}

static void comment(void *context, node n, const char *line, FILE *file) {
    const explanation *e = context;
    char text[COMMENT]   = "";
    reason why           = (reason)graph_reason(e->g, n, NULL);
    if (why == REASON_SPEC) {
        add_place(e, n, text);
    } else {
        add_rules(e, n, text);
        size_t columns = characters(text);
        append(text, "%*s  %s", columns < RULE_COLUMNS ? (int)(RULE_COLUMNS - columns) : 0, "", reason_text(why));
    }
    size_t columns = characters(line), begin = (columns > e->column ? columns : e->column) + 2;
    if (begin + 12 < EXPLAIN_WIDTH)
        cut(text, EXPLAIN_WIDTH - begin - 2);
    fprintf(file, "%s%*s# %s", line, (int)(begin - columns), "", text);
}

static void legend(const explanation *e, int first, int end, FILE *file) {
    for (int why = first; why < end; why++)
        if (e->count[why])
            fprintf(file, "# %s: %s (%zu node%s)\n", reason_name((reason)why), reason_text((reason)why), e->count[why],
                    e->count[why] == 1 ? "" : "s");
}

/* Which lines there will be, and how long they are. */
static void learn(explanation *e) {
    char *lines   = NULL;
    size_t size   = 0;
    FILE *nowhere = open_memstream(&lines, &size);
    if (nowhere) {
        graph_print_commented(e->g, nowhere, measure, e);
        fclose(nowhere);
    }
    free(lines);
    for (node n = 1; n < e->size; n++) {
        node was;
        if (e->printed[n] && graph_reason(e->g, n, &was) == REASON_SPEC && was && !e->became[was])
            e->became[was] = n;
    }
}

void explain_print(const graph *g, FILE *file) {
    explanation e = {.g = g, .size = graph_node_count(g) + 1};
    e.name        = get(e.size, sizeof *e.name);
    e.owner       = get(e.size, sizeof *e.owner);
    e.became      = get(e.size, sizeof *e.became);
    e.printed     = get(e.size, 1);
    find_owners(&e);
    learn(&e);
    graph_print_commented(g, file, comment, &e);
    legend(&e, REASON_REWRITES + 1, REASONS, file);
    legend(&e, REASON_SPEC + 1, REASON_REWRITES, file);
    free(e.name);
    free(e.owner);
    free(e.became);
    free(e.printed);
}
