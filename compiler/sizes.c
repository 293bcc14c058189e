/* A spec's sizes, found by elaborating its size statements alone; which of them are extents and which is the length of
 * time, found by changing them and looking. */
#include "sizes.h"

#include "causality.h"
#include "elaborate_internal.h"
#include "enough.h"

#include <stdlib.h>
#include <string.h>

enum { BINDINGS = 160 };

/* Messages of trials are nobody's business. */
typedef struct silence {
    char *text;
    size_t size;
    diagnostics d;
} silence;

static void silence_begin(silence *s) {
    *s          = (silence){0};
    s->d.stream = enough(open_memstream(&s->text, &s->size));
}

static void silence_end(silence *s) {
    fclose(s->d.stream);
    free(s->text);
}

graph *sizes_elaborate(const spec *mechanism, const elaboration *how, const binding *set, size_t count) {
    binding all[BINDINGS];
    size_t n = 0;
    for (size_t i = 0; i < count && n < BINDINGS; i++)
        all[n++] = set[i];
    for (size_t i = 0; i < how->binding_count && n < BINDINGS; i++) {
        bool replaced = false;
        for (size_t k = 0; k < count; k++)
            replaced |= strcmp(set[k].name, how->bindings[i].name) == 0;
        if (!replaced)
            all[n++] = how->bindings[i];
    }
    elaboration changed   = *how;
    changed.bindings      = all;
    changed.binding_count = n;
    silence s;
    silence_begin(&s);
    graph *g = graph_new();
    if (!elaborate_mechanism(g, mechanism, &changed, &s.d)) {
        graph_free(g);
        g = NULL;
    }
    silence_end(&s);
    return g;
}

static void read_sizes(const spec *mechanism, const elaboration *how, declared_sizes *out) {
    silence s;
    silence_begin(&s);
    graph *g = graph_new();
    module m = {.g = g, .spec = mechanism, .d = &s.d, .prefix = "", .group = ""};
    if (module_begin(&m, how))
        for (const tree *t = mechanism->statements; t; t = t->next) {
            if (t->kind != TREE_SIZE && t->kind != TREE_CONSTANT)
                continue;
            size_statement(&m, t);
            const named_number *n = find_number(&m, t->name);
            if (t->kind == TREE_SIZE && n && out->count < SIZES)
                out->item[out->count++] = (declared_size){.name  = t->name,
                                                          .value = (int64_t)n->number,
                                                          .own   = n->given || !t->a || t->a->kind == TREE_NUMBER};
        }
    module_discard(&m);
    graph_free(g);
    silence_end(&s);
}

/* Do the two have indices of the same extents? Indices are made in the same order. */
static bool same_extents(const graph *a, const graph *b) {
    bool same = graph_index_count(a) == graph_index_count(b);
    for (unsigned i = 0; same && i < graph_index_count(a); i++)
        same = graph_index_extent(a, (index_id)i) == graph_index_extent(b, (index_id)i);
    return same;
}

void sizes_of(const spec *mechanism, const elaboration *how, declared_sizes *out) {
    *out        = (declared_sizes){0};
    graph *base = sizes_elaborate(mechanism, how, NULL, 0);
    if (!base)
        return;
    read_sizes(mechanism, how, out);
    index_id time = causality_time(base);
    for (unsigned i = 0; i < out->count; i++) {
        declared_size *s = &out->item[i];
        graph *changed   = sizes_elaborate(mechanism, how, &(binding){s->name, (double)s->value * 2}, 1);
        if (!changed)
            continue;
        index_id there = causality_time(changed);
        s->extent      = !same_extents(base, changed);
        s->time        = time != GRAPH_INDICES && there != GRAPH_INDICES &&
                  graph_index_extent(base, time) != graph_index_extent(changed, there);
        graph_free(changed);
    }
    graph_free(base);
}

const declared_size *sizes_find(const declared_sizes *sizes, const char *name) {
    for (unsigned i = 0; i < sizes->count; i++)
        if (strcmp(sizes->item[i].name, name) == 0)
            return &sizes->item[i];
    return NULL;
}

const declared_size *sizes_time(const declared_sizes *sizes) {
    const declared_size *found = NULL;
    for (unsigned i = 0; i < sizes->count; i++)
        if (sizes->item[i].time && (!found || (sizes->item[i].own && !found->own)))
            found = &sizes->item[i];
    return found;
}

char *sizes_comment(const spec *mechanism) {
    const source *file = NULL;
    for (size_t i = 0; i < mechanism->file_count && !file; i++)
        if (strcmp(mechanism->file[i]->path, mechanism->path) == 0)
            file = mechanism->file[i];
    char *text = enough(calloc(1, (file ? file->size : 0) + 1));
    size_t n   = 0;
    for (const char *at = file ? file->text : ""; *at == '#';) {
        at++;
        while (*at == ' ')
            at++;
        if (n && text[n - 1] != ' ')
            text[n++] = ' ';
        while (*at && *at != '\n')
            text[n++] = *at++;
        at += *at == '\n';
    }
    text[n] = 0;
    return text;
}
