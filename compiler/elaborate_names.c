/* Names: adding them, looking them up, and what a misspelt one may have meant. */
#include "elaborate_internal.h"

#include <stdlib.h>
#include <string.h>

/* Adding and look-up */

static void *grown(void *array, size_t *capacity, size_t count, size_t size) {
    if (count < *capacity)
        return array;
    size_t more  = *capacity ? *capacity * 2 : 64;
    void *memory = realloc(array, more * size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    *capacity = more;
    return memory;
}

value *add_value(module *m, const value *v) {
    name_table_add(&m->value_names, v->name, m->value_count);
    m->value                       = grown(m->value, &m->value_capacity, m->value_count, sizeof *m->value);
    m->value[m->value_count]       = *v;
    m->value[m->value_count].level = m->level;
    return &m->value[m->value_count++];
}

named_number *add_number(module *m, const char *name, double number, bool integer) {
    name_table_add(&m->number_names, name, m->number_count);
    m->number                  = grown(m->number, &m->number_capacity, m->number_count, sizeof *m->number);
    m->number[m->number_count] = (named_number){.name = name, .number = number, .integer = integer};
    return &m->number[m->number_count++];
}

const value *find_value(const module *m, const char *name) {
    uint32_t place = name_table_find(&m->value_names, name, m->value_count);
    return place == NAME_UNKNOWN ? NULL : &m->value[place];
}

named_number *find_number(const module *m, const char *name) {
    uint32_t place = name_table_find(&m->number_names, name, m->number_count);
    return place == NAME_UNKNOWN ? NULL : &m->number[place];
}

bool find_index(const module *m, const char *name, index_id *out) {
    for (unsigned i = 0; i < m->index_count; i++)
        if (strcmp(m->index[i].name, name) == 0) {
            *out = m->index[i].index;
            return true;
        }
    return false;
}

/* A file's own function goes before those that it includes, so that a spec may define what a library comes to define
 * later; and a library's calls mean its own functions, whatever the spec calls by the same name. */
const tree *find_function(const module *m, const tree *call) {
    const name_table *names = &m->spec->function_names;
    const tree *found       = NULL;
    for (size_t count = names->count; count > 0;) {
        uint32_t place = name_table_find(names, call->name, count);
        if (place == NAME_UNKNOWN)
            break;
        const tree *f = m->spec->function[place];
        if (f->at.file == call->at.file)
            return f;
        if (!found || found->at.file->path == m->spec->path)
            found = f;
        count = place;
    }
    return found;
}

/* Names near a misspelt one */

static unsigned distance(const char *a, const char *b) {
    size_t n = strlen(a), k = strlen(b);
    unsigned row[65];
    if (n > 64 || k > 64)
        return 100;
    for (size_t j = 0; j <= k; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned diagonal = row[0];
        row[0]            = (unsigned)i;
        for (size_t j = 1; j <= k; j++) {
            unsigned above = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = above;
            row[j]   = best;
        }
    }
    return row[k];
}

static const char *const builtin[] = {"exp",    "log",    "log1p", "sqrt",   "sin",     "cos",  "tanh",
                                      "erf",    "abs",    "floor", "max",    "min",     "stop", "dropout",
                                      "extent", "domain", "total", "sum",    "product", "any",  "all",
                                      "count",  "topk",   "float", "argmax", "argmin",  "int"};

static void nearer(const char *candidate, const char *name, unsigned *best, const char **found) {
    size_t n = strlen(candidate), k = strlen(name);
    if ((n > k ? n - k : k - n) >= *best)
        return;
    unsigned d = distance(candidate, name);
    if (d < *best) {
        *best  = d;
        *found = candidate;
    }
}

bool is_builtin(const char *name) {
    for (size_t i = 0; i < sizeof builtin / sizeof *builtin; i++)
        if (strcmp(builtin[i], name) == 0)
            return true;
    return false;
}

/* One more than how far a name may be from what was written: short names are all near each other. */
static unsigned reach(const char *name) {
    size_t length = strlen(name);
    return length > 4 ? 3 : length > 2 ? 2 : 1;
}

const char *suggest(const module *m, const char *name, const local *scope) {
    const char *found = NULL;
    unsigned best     = reach(name);
    if (m->d->errors >= DIAGNOSTICS_SHOWN) /* nobody would see it */
        return NULL;
    for (; scope; scope = scope->outer)
        nearer(scope->name, name, &best, &found);
    for (size_t i = 0; i < m->value_count; i++)
        nearer(m->value[i].name, name, &best, &found);
    for (size_t i = 0; i < m->number_count; i++)
        nearer(m->number[i].name, name, &best, &found);
    for (unsigned i = 0; i < m->index_count; i++)
        nearer(m->index[i].name, name, &best, &found);
    for (const tree *t = m->spec->statements; t; t = t->next)
        if (t->kind == TREE_FUNCTION)
            nearer(t->name, name, &best, &found);
    for (size_t i = 0; i < sizeof builtin / sizeof *builtin; i++)
        nearer(builtin[i], name, &best, &found);
    return found && strcmp(found, name) != 0 ? found : NULL;
}

static const char *suggest_statement(const module *m, const char *name, tree_kind first, tree_kind second) {
    const char *found = NULL;
    unsigned best     = reach(name);
    for (const tree *t = m->spec->statements; t; t = t->next)
        if (t->kind == first || t->kind == second)
            nearer(t->name, name, &best, &found);
    return found;
}

const char *suggest_number(const module *m, const char *name) {
    return suggest_statement(m, name, TREE_SIZE, TREE_CONSTANT);
}

const char *suggest_variant(const module *m, const char *name) {
    return suggest_statement(m, name, TREE_VARIANT, TREE_VARIANT);
}
