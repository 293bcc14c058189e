/* Runs over specs and variants, gathers the facts, writes the report whole or not at all; and what both forms of the
 * report say in the same words. */
#include "report.h"

#include "enough.h"
#include "report_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note(notes *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(notes *out, const char *format, ...) {
    va_list arguments;
    if (out->count == NOTES)
        return;
    va_start(arguments, format);
    vsnprintf(out->text[out->count++], NOTE_SIZE, format, arguments);
    va_end(arguments);
}

/* Names that a condition reads, each once, up to the first names on every way. */
typedef struct name_list {
    unsigned count;
    const char *name[6];
} name_list;

static void add_name(name_list *list, const char *name) {
    for (unsigned i = 0; i < list->count; i++)
        if (strcmp(list->name[i], name) == 0)
            return;
    if (list->count < sizeof list->name / sizeof *list->name)
        list->name[list->count++] = name;
}

static void names_below(const graph *g, node n, name_list *list) {
    size_t count  = graph_node_count(g);
    uint8_t *mark = enough(calloc(count + 1, 1));
    mark[n]       = 1;
    for (node k = n; k > 0; k--) {
        if (!mark[k])
            continue;
        node_view v      = graph_view(g, k);
        const char *name = v.op == NODE_TENSOR ? graph_tensor(g, v.tensor)->name : graph_node_name(g, k);
        if (name)
            add_name(list, name);
        for (unsigned i = 0; !name && i < v.child_count; i++)
            mark[v.child[i]] = 1;
    }
    free(mark);
}

static void assumed_condition(const graph *g, node n, notes *out) {
    name_list list = {0};
    char text[NOTE_SIZE - 64];
    size_t used = 0;
    names_below(g, n, &list);
    text[0] = 0;
    for (unsigned i = list.count; i-- > 0 && used < sizeof text;)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s`%.60s`", used ? ", " : "", list.name[i]);
    if (!list.count) {
        note(out, "a condition that cannot be counted holds always");
        return;
    }
    for (unsigned i = 0; i < out->count; i++)
        if (strstr(out->text[i], text) && strncmp(out->text[i], "data-dependent", 14) == 0)
            return;
    note(out, "data-dependent condition on %s counted as always true", text);
}

static void about_formulas(const facts *f, notes *out) {
    char from[64], multiple[64];
    if (!f->variable || !f->fitted)
        return;
    number_text(f->valid_from, from, sizeof from);
    number_text(f->multiple_of, multiple, sizeof multiple);
    if (f->valid_to) {
        char to[64];
        number_text(f->valid_to, to, sizeof to);
        note(out, "formulas hold for %s ≤ %s ≤ %s%s", from, f->variable, to, f->multiple_of > 1 ? ", even" : "");
    } else if (f->valid_from > 2 && f->multiple_of > 1)
        note(out, "formulas hold for multiples of %s with %s ≥ %s", multiple, f->variable, from);
    else if (f->valid_from > 2)
        note(out, "formulas hold for %s ≥ %s", f->variable, from);
    else if (f->multiple_of > 1)
        note(out, "formulas hold where %s is a multiple of %s", f->variable, multiple);
}

void report_notes(const facts *f, notes *out) {
    out->count = 0;
    about_formulas(f, out);
    if (f->variable && !f->fitted)
        note(out, "no closed form in %s found", f->variable);
    if (!f->counted)
        note(out, "a domain is too large to count one by one: figures are upper bounds");
    for (unsigned i = 0; i < f->cost->assumed_count; i++)
        assumed_condition(f->g, f->cost->assumed[i], out);
}

void report_asymptotic(const facts *f, char *text, size_t size) {
    static const char *const raised[] = {"", "", "²", "³", "⁴"};
    size_t used                       = 0;
    if (!f->fitted || f->valid_to) { /* of a range that ends nothing is asymptotic */
        snprintf(text, size, "%s", f->fitted ? "-" : "?");
        return;
    }
    used = (size_t)snprintf(text, size, "O(");
    if (f->degree)
        used += (size_t)snprintf(text + used, size - used, "%s%s", f->variable, raised[f->degree]);
    for (unsigned i = 0; i < f->factor_count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i || f->degree ? "·" : "", f->factor[i]);
    if (used < size)
        snprintf(text + used, size - used, "%s)", f->degree || f->factor_count ? "" : "1");
}

void report_indices(const graph *g, index_set set, const char *between, char *text, size_t size) {
    size_t used = 0;
    text[0]     = 0;
    for (unsigned i = 0; i < graph_index_count(g) && used < size; i++)
        if (set >> i & 1)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? between : "",
                                     graph_index_name(g, (index_id)i));
}

rational report_per_token(const facts *f, quantity q) {
    rational r = {0, 1};
    rational_make(f->total[q], f->total[QUANTITY_TOKENS] ? f->total[QUANTITY_TOKENS] : 1, &r);
    return r;
}

/* The first definition that a node is part of; NULL: it is in none. */
const char *report_place(const graph *g, node n) {
    size_t count     = graph_node_count(g);
    uint8_t *above   = enough(calloc(count + 1, 1));
    const char *name = NULL;
    if (n)
        above[n] = 1;
    for (node k = n; k && k <= count && !name; k++) {
        node_view v = graph_view(g, k);
        for (unsigned i = 0; i < v.child_count; i++)
            above[k] |= above[v.child[i]];
        name = above[k] ? graph_node_name(g, k) : NULL;
    }
    free(above);
    return name;
}

void report_causality(const graph *g, const causality *c, char *text, size_t size) {
    index_id time    = causality_time(g);
    const char *name = time < GRAPH_INDICES ? graph_index_name(g, time) : "";
    const char *part = report_place(g, c->culprit);
    switch (c->kind) {
    case CAUSALITY_NO_TIME:
        snprintf(text, size, "no time index");
        return;
    case CAUSALITY_PROVED:
        snprintf(text, size, "proved");
        return;
    case CAUSALITY_REFUTED:
        snprintf(text, size, "refuted: `%s` at %s = %lld depends on `%s` at %s = %lld",
                 graph_output(g, c->output)->name, name, (long long)c->at, graph_tensor(g, c->tensor)->name, name,
                 (long long)c->depends);
        return;
    case CAUSALITY_UNPROVED:
        snprintf(text, size, "not proved%s%s%s, and no example against it found", part ? ": see `" : "",
                 part ? part : "", part ? "`" : "");
        return;
    }
}

/* Running */

typedef struct run {
    entry *entry;
    size_t count;
    spec **spec; /* what the facts are about */
    size_t spec_count;
    char **failed;
    size_t failed_count;
    int status;
} run;

static char *copy(const char *text) {
    return enough(strdup(text ? text : ""));
}

static void add_entry(run *r, const spec *mechanism, const char *variant, facts *f) {
    r->entry             = enough(realloc(r->entry, (r->count + 1) * sizeof *r->entry));
    r->entry[r->count++] = (entry){f, copy(variant ? variant : spec_name(mechanism)), copy(spec_title(mechanism)),
                                   copy(spec_path(mechanism))};
}

static void add_failed(run *r, const char *path) {
    r->status                    = 1;
    r->failed                    = enough(realloc(r->failed, (r->failed_count + 1) * sizeof *r->failed));
    r->failed[r->failed_count++] = copy(path);
}

/* Of several specs each takes the settings that it declares; used[i] says that one did. */
static elaboration settings_for(const report_options *o, const spec *s, binding *room, bool *used) {
    elaboration how = o->how;
    how.bindings    = room;
    size_t n        = 0;
    for (size_t i = 0; i < o->how.binding_count; i++) {
        bool known = spec_declares(s, o->how.bindings[i].name);
        used[i] |= known;
        if (known || o->spec_count == 1)
            room[n++] = o->how.bindings[i];
    }
    how.binding_count = n;
    return how;
}

static bool has_variant(const spec *s, const char *name) {
    for (size_t i = 0; i < spec_variant_count(s); i++)
        if (strcmp(spec_variant_name(s, i), name) == 0)
            return true;
    return false;
}

static void one_spec(run *r, const report_options *o, const char *path, bool *used, bool *variant_used) {
    diagnostics d = {.stream = stderr};
    spec *s       = spec_read(path, o->library, &d);
    binding *room = enough(calloc(o->how.binding_count + 1, sizeof *room));
    if (s && spec_get_kind(s) != SPEC_MECHANISM) {
        fprintf(stderr, "attnc: %s is not a mechanism\n", path);
        d.errors++;
    }
    if (s && !d.errors && o->variable && o->spec_count == 1 && !spec_declares(s, o->variable)) {
        fprintf(stderr, "%s: error: the spec declares no size `%s` to give formulas in\n", path, o->variable);
        d.errors++;
    }
    if (s && !d.errors) {
        elaboration how      = settings_for(o, s, room, used);
        const char *variable = o->variable && o->spec_count > 1 && !spec_declares(s, o->variable) ? NULL : o->variable;
        size_t variants      = spec_variant_count(s);
        bool chosen          = o->how.variant && (o->spec_count == 1 || has_variant(s, o->how.variant));
        *variant_used |= chosen;
        for (size_t i = 0; i < (chosen || !variants ? 1 : variants); i++) {
            how.variant = chosen ? o->how.variant : variants ? spec_variant_name(s, i) : NULL;
            facts *f    = facts_of(s, &how, variable, &d);
            if (f)
                add_entry(r, s, how.variant, f);
        }
    }
    if (!s || d.errors)
        add_failed(r, path);
    free(room);
    r->spec                  = enough(realloc(r->spec, (r->spec_count + 1) * sizeof *r->spec));
    r->spec[r->spec_count++] = s;
}

static void check_settings(run *r, const report_options *o, const bool *used, bool variant_used) {
    if (o->spec_count == 1)
        return; /* the spec itself has complained */
    for (size_t i = 0; i < o->how.binding_count; i++)
        if (!used[i]) {
            fprintf(stderr, "attnc: no spec declares a size or number `%s`\n", o->how.bindings[i].name);
            r->status = 1;
        }
    if (o->how.variant && !variant_used) {
        fprintf(stderr, "attnc: no spec has a variant `%s`\n", o->how.variant);
        r->status = 1;
    }
}

static void print(const run *r, const report_options *o, FILE *file) {
    const char *ending = o->output ? strrchr(o->output, '.') : NULL;
    if (o->json || (ending && strcmp(ending, ".json") == 0))
        report_json(r->entry, r->count, r->failed, r->failed_count, file);
    else
        report_text(r->entry, r->count, o->verbose, file);
}

static int write_report(const run *r, const report_options *o) {
    if (!o->output) {
        print(r, o, stdout);
        if (fflush(stdout) == 0 && !ferror(stdout))
            return r->status;
        fprintf(stderr, "attnc: cannot write the output: %s\n", strerror(errno));
        return 3;
    }
    char temporary[4200];
    if (strlen(o->output) > 4000) {
        fputs("attnc: cannot write: the path is too long\n", stderr);
        return 3;
    }
    snprintf(temporary, sizeof temporary, "%s.%d.tmp", o->output, (int)getpid());
    FILE *file = fopen(temporary, "w");
    if (file)
        print(r, o, file);
    bool ok = file && !ferror(file);
    ok      = (!file || fclose(file) == 0) && ok;
    if (ok && rename(temporary, o->output) == 0)
        return r->status;
    fprintf(stderr, "attnc: %s: %s\n", o->output, strerror(errno));
    unlink(temporary);
    return 3;
}

int report_run(const report_options *o) {
    run r             = {0};
    bool *used        = enough(calloc(o->how.binding_count + 1, sizeof *used));
    bool variant_used = false;
    for (size_t i = 0; i < o->spec_count; i++)
        one_spec(&r, o, o->spec[i], used, &variant_used);
    check_settings(&r, o, used, variant_used);
    int status = r.count || o->json ? write_report(&r, o) : r.status;
    for (size_t i = 0; i < r.count; i++) {
        facts_free(r.entry[i].facts);
        free(r.entry[i].name);
        free(r.entry[i].title);
        free(r.entry[i].path);
    }
    for (size_t i = 0; i < r.failed_count; i++)
        free(r.failed[i]);
    for (size_t i = 0; i < r.spec_count; i++)
        spec_free(r.spec[i]);
    free(r.spec);
    free(r.entry);
    free(r.failed);
    free(used);
    return status;
}
