/* The text of a random spec. What no output needs is left out. */
#include "random_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct printer {
    const random_spec *s;
    FILE *file;
    bool live[RANDOM_TENSORS];
} printer;

/* What is live */

static void reach(printer *p, const term *t);

static void reach_tensor(printer *p, unsigned k) {
    const random_tensor *t = &p->s->tensor[k];
    if (p->live[k])
        return;
    p->live[k] = true;
    reach(p, t->value);
    reach(p, t->initial);
}

static void reach(printer *p, const term *t) {
    if (!t)
        return;
    for (unsigned k = 0; t->kind == TERM_READ && k < p->s->tensor_count; k++)
        if (strcmp(p->s->tensor[k].name, t->text) == 0)
            reach_tensor(p, k);
    for (unsigned k = 0; k < t->count; k++)
        reach(p, t->child[k]);
    reach(p, t->domain);
}

/* Expressions: everything that is not a name or a call stands in parentheses. */

static void print_term(const printer *p, const term *t);

static void print_list(const printer *p, const term *t) {
    for (unsigned k = 0; k < t->count; k++) {
        if (k)
            fputs(", ", p->file);
        print_term(p, t->child[k]);
    }
}

static void print_over(const printer *p, scope over, bool in_sight) {
    const char *comma = "";
    for (unsigned i = 0; i < p->s->index_count; i++) {
        if (!(over >> i & 1))
            continue;
        const random_index *index = &p->s->index[i];
        fprintf(p->file, "%s%s", comma, index->name);
        if (index->local && !in_sight)
            fprintf(p->file, ":%s", p->s->size[index->size].name);
        comma = ", ";
    }
}

static void print_bracket(const printer *p, const term *t) {
    fprintf(p->file, "%s[", t->text);
    print_over(p, t->over, t->in_sight);
    if (t->domain) {
        fputs(" where ", p->file);
        print_term(p, t->domain);
    }
    fputs("](", p->file);
    print_list(p, t);
    fputc(')', p->file);
}

static void print_parts(const printer *p, const term *t, const char *before, const char *between, const char *last,
                        const char *after) {
    fputs(before, p->file);
    print_term(p, t->child[0]);
    fputs(between, p->file);
    print_term(p, t->child[1]);
    if (last) {
        fputs(last, p->file);
        print_term(p, t->child[2]);
    }
    fputs(after, p->file);
}

static void print_term(const printer *p, const term *t) {
    char operator[32];
    switch (t->kind) {
    case TERM_LEAF:
        fputs(t->text, p->file);
        break;
    case TERM_READ:
    case TERM_CALL:
        fputs(t->text, p->file);
        if (t->count == 0)
            break;
        fputc(t->kind == TERM_READ ? '[' : '(', p->file);
        print_list(p, t);
        fputc(t->kind == TERM_READ ? ']' : ')', p->file);
        break;
    case TERM_PREFIX:
        fprintf(p->file, "(%s ", t->text);
        print_term(p, t->child[0]);
        fputc(')', p->file);
        break;
    case TERM_INFIX:
        snprintf(operator, sizeof operator, " %s ", t->text);
        print_parts(p, t, "(", operator, NULL, ")");
        break;
    case TERM_CHOOSE:
        print_parts(p, t, "(if ", " then ", " else ", ")");
        break;
    case TERM_GUARD:
        print_parts(p, t, "(", " where ", NULL, ")");
        break;
    case TERM_BRACKET:
        print_bracket(p, t);
        break;
    case TERM_ITERATE:
        fprintf(p->file, "(let %s[", t->text);
        print_over(p, t->over, false);
        print_parts(p, t, "] = ", " from ", " in ", ")");
        break;
    }
}

/* Statements */

static void print_indices(const printer *p, const random_tensor *t) {
    for (unsigned k = 0; k < t->rank; k++)
        fprintf(p->file, "%c%s", k ? ',' : '[', p->s->index[t->index[k]].name);
    if (t->rank)
        fputc(']', p->file);
}

/* Constants that do not depend on the extent, which the minimiser changes. */
static void print_row(const printer *p, const random_tensor *t, unsigned depth, uint64_t key) {
    unsigned extent = p->s->size[p->s->index[t->index[depth]].size].value;
    fputc('[', p->file);
    for (unsigned k = 0; k < extent; k++) {
        uint64_t bits = random_mix(key + k);
        if (k)
            fputs(", ", p->file);
        if (depth + 1 < t->rank)
            print_row(p, t, depth + 1, bits);
        else if (t->type == RANDOM_INT)
            fprintf(p->file, "%u", (unsigned)(bits >> 32) % p->s->size[t->below].value);
        else
            fprintf(p->file, "%.2f", (double)(bits >> 11) * 0x1p-52 - 1);
    }
    fputc(']', p->file);
}

static void print_declaration(const printer *p, const random_tensor *t) {
    fprintf(p->file, "%s %s", t->kind == RANDOM_INPUT ? "input" : t->kind == RANDOM_PARAM ? "param" : "table", t->name);
    print_indices(p, t);
    if (t->kind == RANDOM_TABLE) {
        fputs(" = ", p->file);
        print_row(p, t, 0, p->s->seed);
    } else if (t->type == RANDOM_INT) {
        fprintf(p->file, " : int < %s", p->s->size[t->below].name);
    } else if (t->type == RANDOM_BOOL) {
        fputs(" : bool", p->file);
    }
    fputc('\n', p->file);
}

static void print_definition(const printer *p, const random_tensor *t) {
    if (t->output)
        fputs("output ", p->file);
    fputs(t->name, p->file);
    print_indices(p, t);
    fputs(" = ", p->file);
    print_term(p, t->value);
    if (t->initial) {
        fputs("  from ", p->file);
        print_term(p, t->initial);
    }
    fputc('\n', p->file);
}

/* Does the text contain the word? */
static bool mentions(const char *text, const char *word) {
    size_t length = strlen(word);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += length) {
        bool begins = at == text || !(isalnum((unsigned char)at[-1]) || at[-1] == '_');
        if (begins && !isalnum((unsigned char)at[length]) && at[length] != '_')
            return true;
    }
    return false;
}

static void print_header(const random_spec *s, const char *statements, FILE *file) {
    const char *comma = "size ";
    bool used[RANDOM_INDICES], needed[RANDOM_SIZES];
    for (unsigned k = 0; k < s->size_count; k++)
        needed[k] = mentions(statements, s->size[k].name);
    for (unsigned k = 0; k < s->index_count; k++)
        if ((used[k] = !s->index[k].local && mentions(statements, s->index[k].name)))
            needed[s->index[k].size] = true;
    fputs("mechanism random \"a random spec\"\ninclude \"lib/standard.att\"\n", file);
    for (unsigned k = 0; k < s->size_count; k++)
        if (needed[k]) {
            fprintf(file, "%s%s = %u", comma, s->size[k].name, s->size[k].value);
            comma = ", ";
        }
    comma = comma[0] == ',' ? "\nindex" : "index";
    for (unsigned k = 0; k < s->index_count; k++)
        if (used[k]) {
            fprintf(file, "%s %s:%s", comma, s->index[k].name, s->size[s->index[k].size].name);
            comma = "";
        }
    fputc('\n', file);
}

void random_print(const random_spec *s, FILE *file) {
    char *statements = NULL;
    size_t size      = 0;
    printer p        = {.s = s, .file = open_memstream(&statements, &size)};
    if (!p.file) {
        fputs("random spec: out of memory\n", stderr);
        exit(3);
    }
    for (unsigned k = 0; k < s->tensor_count; k++)
        if (s->tensor[k].output)
            reach_tensor(&p, k);
    for (unsigned k = 0; k < s->tensor_count; k++) {
        const random_tensor *t = &s->tensor[k];
        if (p.live[k] && t->kind < RANDOM_DEFINITION)
            print_declaration(&p, t);
        else if (p.live[k] && t->kind == RANDOM_DEFINITION)
            print_definition(&p, t);
    }
    fclose(p.file);
    print_header(s, statements, file);
    fputs(statements, file);
    free(statements);
}
