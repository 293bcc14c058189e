/* The tree's arena, the small constructors that the grammar's actions call, and the entry point. */
#include "att_parser.h"
#include "parse_internal.h"

#define YYSTYPE ATT_STYPE
#define YYLTYPE ATT_LTYPE
#include "att_scanner.h"

#include <stdlib.h>
#include <string.h>

struct arena {
    struct block {
        struct block *next;
        size_t used, size;
        _Alignas(16) char data[];
    } * first;
};

enum { BLOCK = 1 << 16 };

static void *get(size_t size) {
    void *memory = calloc(1, size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

arena *arena_new(void) {
    return get(sizeof(arena));
}

void arena_free(arena *a) {
    if (!a)
        return;
    for (struct block *b = a->first; b;) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
    free(a);
}

void *arena_take(arena *a, size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (!a->first || a->first->size - a->first->used < size) {
        size_t room     = size > BLOCK ? size : BLOCK;
        struct block *b = get(sizeof *b + room);
        b->size         = room;
        b->next         = a->first;
        a->first        = b;
    }
    void *memory = a->first->data + a->first->used;
    a->first->used += size;
    return memory;
}

char *arena_copy(arena *a, const char *text, size_t size) {
    char *copy = arena_take(a, size + 1);
    memcpy(copy, text, size);
    return copy;
}

int parse_keyword(const char *text) {
    static const struct {
        const char *text;
        int token;
    } word[] = {{"include", INCLUDE},
                {"mechanism", MECHANISM},
                {"model", MODEL},
                {"optimizer", OPTIMIZER},
                {"library", LIBRARY},
                {"size", SIZE},
                {"number", NUMBER_KEY},
                {"variant", VARIANT},
                {"index", INDEX},
                {"input", INPUT},
                {"param", PARAM},
                {"fn", FN},
                {"output", OUTPUT},
                {"loss", LOSS},
                {"repeat", REPEAT},
                {"each", EACH},
                {"state", STATE},
                {"from", FROM},
                {"as", AS},
                {"where", WHERE},
                {"let", LET},
                {"in", IN},
                {"if", IF},
                {"then", THEN},
                {"else", ELSE},
                {"and", AND},
                {"or", OR},
                {"not", NOT}};
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (strcmp(text, word[i].text) == 0)
            return word[i].token;
    return NAME;
}

static span place(const parsing *p, parse_span at) {
    return (span){p->file, at.begin, at.end};
}

void parse_report(parsing *p, parse_span at, const char *text, const char *hint) {
    if (p->errors++ < PARSE_ERRORS)
        p->sink.error(p->sink.context, place(p, at), text, hint);
}

tree *parse_tree(parsing *p, tree_kind kind, parse_span at, const char *name) {
    tree *t = arena_take(p->memory, sizeof *t);
    t->kind = kind;
    t->at   = place(p, at);
    t->name = name;
    return t;
}

tree *parse_number(parsing *p, parse_span at, double value, bool integer) {
    tree *t    = parse_tree(p, TREE_NUMBER, at, NULL);
    t->number  = value;
    t->integer = integer;
    return t;
}

tree *parse_binary(parsing *p, parse_span at, const char *op, tree *a, tree *b) {
    tree *t = parse_tree(p, TREE_BINARY, at, op);
    t->a    = a;
    t->b    = b;
    return t;
}

tree *parse_unary(parsing *p, parse_span at, const char *op, tree *a) {
    tree *t = parse_tree(p, TREE_UNARY, at, op);
    t->a    = a;
    return t;
}

/* a < b <= c means a < b and b <= c. */
tree *parse_chain(parsing *p, parse_span at, const char *op, tree *chain, tree *b) {
    tree *last = strcmp(chain->name, "and") == 0 ? chain->b : chain;
    return parse_binary(p, at, "and", chain, parse_binary(p, at, op, last->b, b));
}

/* Lists are short except for statements, which a chain of 10,000 still appends in no time: the last element is
 * remembered in the first one's d. */
tree *parse_append(tree *list, tree *more) {
    if (!list)
        return more;
    if (!more)
        return list;
    tree *last = list->d ? list->d : list;
    while (last->next)
        last = last->next;
    last->next = more;
    while (last->next)
        last = last->next;
    list->d = last;
    return list;
}

tree *parse_head(parsing *p, parse_span at, const char *name, tree *title, int kind) {
    tree *t   = parse_tree(p, TREE_HEAD, at, name);
    t->a      = title;
    t->number = kind;
    return t;
}

tree *parse_inputs(parsing *p, tree *list, tree *below) {
    (void)p;
    for (tree *t = list; t; t = t->next) {
        t->kind = TREE_INPUT;
        t->b    = below;
    }
    return list;
}

tree *parse_typed_inputs(parsing *p, tree *list, const char *type, parse_span type_at, tree *below) {
    if (strcmp(type, "int") != 0)
        parse_report(p, type_at, "the type of an input is int; others are real numbers", "write `: int < N`");
    return parse_inputs(p, list, below);
}

tree *parse_params(parsing *p, tree *list, tree *initialiser, tree *group) {
    (void)p;
    for (tree *t = list; t; t = t->next) {
        t->b = initialiser;
        t->c = group;
    }
    return list;
}

tree *parse_states(tree *list, tree *initial) {
    for (tree *t = list; t; t = t->next)
        t->a = initial;
    return list;
}

tree *parse_definition(parsing *p, tree_kind kind, parse_span at, const char *name, tree *indices, tree *value,
                       tree *from) {
    tree *t = parse_tree(p, kind, at, name);
    t->a    = indices;
    t->b    = value;
    t->c    = from;
    return t;
}

tree *parse_source(arena *memory, const source *file, message_sink sink, bool *ok) {
    parsing p = {.memory = memory, .file = file, .sink = sink};
    yyscan_t scanner;
    *ok = false;
    if (att_lex_init_extra(&p, &scanner) != 0) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    YY_BUFFER_STATE buffer = att__scan_bytes(file->text, (int)file->size, scanner);
    int status             = att_parse(&p, scanner);
    att__delete_buffer(buffer, scanner);
    att_lex_destroy(scanner);
    if (status == 2)
        parse_report(&p, (parse_span){p.at, p.at}, "this is nested too deeply", NULL);
    *ok = status == 0 && p.errors == 0;
    return p.result;
}

static const char *const kind_text[] = {
#define TREE(name, text) [TREE_##name] = text,
#include "tree.def"
#undef TREE
};

void tree_print(const tree *t, unsigned indent, FILE *file) {
    for (; t; t = t->next) {
        fprintf(file, "%*s(%s", (int)indent, "", kind_text[t->kind]);
        if (t->name)
            fprintf(file, t->kind == TREE_STRING || t->kind == TREE_INCLUDE ? " \"%s\"" : " %s", t->name);
        if (t->kind == TREE_NUMBER)
            fprintf(file, " %.17g", t->number);
        const tree *part[] = {t->a, t->b, t->c};
        for (unsigned i = 0; i < 3; i++)
            if (part[i]) {
                fprintf(file, "\n%*s%c:\n", (int)indent + 2, "", 'a' + (int)i);
                tree_print(part[i], indent + 4, file);
            }
        fputs(")\n", file);
    }
}
