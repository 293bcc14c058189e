/* Names: looking them up, and what a misspelt one may have meant. */
#include "elaborate_internal.h"

#include <string.h>

/* Look-up */

const value *find_value(const module *m, const char *name) {
    for (size_t i = m->value_count; i-- > 0;)
        if (strcmp(m->value[i].name, name) == 0)
            return &m->value[i];
    return NULL;
}

named_number *find_number(const module *m, const char *name) {
    for (size_t i = 0; i < m->number_count; i++)
        if (strcmp(m->number[i].name, name) == 0)
            return &m->number[i];
    return NULL;
}

bool find_index(const module *m, const char *name, index_id *out) {
    for (unsigned i = 0; i < m->index_count; i++)
        if (strcmp(m->index[i].name, name) == 0) {
            *out = m->index[i].index;
            return true;
        }
    return false;
}

const tree *find_function(const module *m, const char *name) {
    const tree *found = NULL;
    for (const tree *t = m->spec->statements; t; t = t->next)
        if (t->kind == TREE_FUNCTION && strcmp(t->name, name) == 0)
            found = t;
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
