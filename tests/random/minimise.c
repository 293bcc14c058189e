/* Smaller specs that still fail. Changes are tried one after the other on a copy, in a fixed order; what is no longer a
 * legal spec the caller's question rejects. */
#include "random_internal.h"

#include <stdlib.h>
#include <string.h>

/* A spec of its own memory */

static const char *text_copy(random_spec *s, const char *text) {
    char *copy = random_memory(s, strlen(text) + 1);
    memcpy(copy, text, strlen(text) + 1);
    return copy;
}

static term *term_copy(random_spec *s, const term *t) {
    if (!t)
        return NULL;
    term *copy = random_memory(s, sizeof *copy);
    *copy      = *t;
    copy->text = text_copy(s, t->text);
    for (unsigned k = 0; k < t->count; k++)
        copy->child[k] = term_copy(s, t->child[k]);
    copy->domain = term_copy(s, t->domain);
    return copy;
}

static random_spec *spec_copy(const random_spec *s) {
    random_spec *copy = malloc(sizeof *copy);
    if (!copy) {
        fputs("random spec: out of memory\n", stderr);
        exit(3);
    }
    *copy        = *s;
    copy->memory = NULL;
    for (unsigned k = 0; k < s->tensor_count; k++) {
        copy->tensor[k].value   = term_copy(copy, s->tensor[k].value);
        copy->tensor[k].initial = term_copy(copy, s->tensor[k].initial);
    }
    return copy;
}

/* Changes, counted */

typedef struct cursor {
    random_spec *s;
    unsigned left; /* changes before the wanted one */
    bool made;
} cursor;

/* Is this change the wanted one? */
static bool wanted(cursor *c) {
    if (c->made || c->left-- > 0)
        return false;
    return c->made = true;
}

static bool is_constant(const term *t) {
    return t->kind == TERM_LEAF && strspn(t->text, "(0123456789") > 0;
}

static void become_constant(random_spec *s, term *t, const char *text) {
    *t = (term){.kind = TERM_LEAF, .type = t->type, .text = text_copy(s, text)};
}

static const char *constant_of(random_type type) {
    return type == RANDOM_BOOL ? "(0 == 0)" : type == RANDOM_INT ? "0" : "0.5";
}

/* The value that a read stands for, where its indices are those of the definition; NULL: they are not. */
static const term *defined_value(const random_spec *s, const term *read) {
    const random_tensor *t = NULL;
    for (unsigned k = 0; k < s->tensor_count && read->kind == TERM_READ; k++)
        if (strcmp(s->tensor[k].name, read->text) == 0 && s->tensor[k].kind == RANDOM_DEFINITION)
            t = &s->tensor[k];
    if (!t || t->initial || t->rank != read->count)
        return NULL;
    for (unsigned k = 0; k < t->rank; k++)
        if (read->child[k]->kind != TERM_LEAF || strcmp(read->child[k]->text, s->index[t->index[k]].name) != 0)
            return NULL;
    return t->value;
}

static void change_term(cursor *c, term *t) {
    if (!t || c->made)
        return;
    if (!is_constant(t) && wanted(c)) {
        become_constant(c->s, t, constant_of(t->type));
        return;
    }
    if (!is_constant(t) && t->type == RANDOM_BOOL && wanted(c)) {
        become_constant(c->s, t, "(0 == 1)");
        return;
    }
    const term *value = defined_value(c->s, t);
    if (value && wanted(c)) {
        *t = *term_copy(c->s, value);
        return;
    }
    for (unsigned k = 0; k < t->count && t->kind != TERM_READ; k++)
        if (t->child[k]->type == t->type && wanted(c)) {
            *t = *t->child[k];
            return;
        }
    if (t->domain && wanted(c)) {
        t->domain = NULL;
        return;
    }
    for (unsigned k = 0; k < t->count && !c->made; k++)
        change_term(c, t->child[k]);
    change_term(c, t->domain);
}

static void without_axis(term *t, const char *name, unsigned axis) {
    if (!t)
        return;
    for (unsigned k = 0; k < t->count; k++)
        without_axis(t->child[k], name, axis);
    without_axis(t->domain, name, axis);
    if (t->kind != TERM_READ || strcmp(t->text, name) != 0 || axis >= t->count)
        return;
    t->count--;
    for (unsigned k = axis; k < t->count; k++)
        t->child[k] = t->child[k + 1];
}

static void drop_axis(random_spec *s, random_tensor *t, unsigned axis) {
    for (unsigned k = 0; k < s->tensor_count; k++) {
        without_axis(s->tensor[k].value, t->name, axis);
        without_axis(s->tensor[k].initial, t->name, axis);
    }
    t->rank--;
    for (unsigned k = axis; k < t->rank; k++)
        t->index[k] = t->index[k + 1];
}

static unsigned output_count(const random_spec *s) {
    unsigned count = 0;
    for (unsigned k = 0; k < s->tensor_count; k++)
        count += s->tensor[k].output;
    return count;
}

/* A recurrence becomes a definition of the same step. */
static void become_plain(random_spec *s, const char *name, term *t) {
    if (!t)
        return;
    for (unsigned k = 0; k < t->count; k++)
        become_plain(s, name, t->child[k]);
    become_plain(s, name, t->domain);
    if (t->kind == TERM_READ && strcmp(t->text, name) == 0)
        become_constant(s, t, constant_of(t->type));
}

static void change_definition(cursor *c, random_tensor *t) {
    if (t->kind == RANDOM_DEFINITION) {
        if (t->output && output_count(c->s) > 1 && wanted(c))
            t->output = false;
        if (!t->output && wanted(c))
            t->output = true; /* in place of what needs it, perhaps */
        if (!c->made && t->initial && wanted(c)) {
            become_plain(c->s, t->name, t->value);
            t->initial = NULL;
        }
        change_term(c, t->value);
        change_term(c, t->initial);
    }
    for (unsigned k = 0; k < t->rank && !c->made; k++)
        if (wanted(c))
            drop_axis(c->s, t, k);
}

static bool change(random_spec *s, unsigned which) {
    cursor c = {.s = s, .left = which};
    for (unsigned k = s->tensor_count; k-- > 0 && !c.made;)
        change_definition(&c, &s->tensor[k]);
    for (unsigned k = 0; k < s->size_count && !c.made; k++)
        for (unsigned value = 1; value < s->size[k].value && !c.made; value++)
            if (wanted(&c))
                s->size[k].value = value;
    return c.made;
}

/* How much there is to read: a change must make it less. */
static size_t length_of(const random_spec *s) {
    char *text    = random_spec_text(s);
    size_t length = strlen(text);
    for (unsigned k = 0; k < s->size_count; k++)
        length += s->size[k].value;
    free(text);
    return length;
}

unsigned random_spec_minimise(random_spec *s, random_spec_fails *fails, void *context, unsigned limit) {
    unsigned changes = 0;
    bool more        = true;
    while (more) {
        more             = false;
        unsigned which   = 0;
        size_t length    = length_of(s);
        random_spec *now = spec_copy(s);
        for (; limit > 0 && change(now, which); now = spec_copy(s)) {
            size_t shorter = length_of(now);
            if (shorter < length && limit-- > 0 && fails(now, context)) {
                random_spec old = *s;
                *s              = *now;
                *now            = old;
                length          = shorter;
                more            = true;
                changes++;
            } else {
                which++;
            }
            random_spec_free(now);
        }
        random_spec_free(now);
    }
    return changes;
}
