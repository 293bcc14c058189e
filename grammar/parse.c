/* The tree's arena, the small constructors that the grammar's actions call, and the entry point. */
#include "att_parser.h"
#include "parse_internal.h"

#define YYSTYPE ATT_STYPE
#define YYLTYPE ATT_LTYPE
#include "att_scanner.h"

#include <inttypes.h>
#include <math.h>
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

static const struct {
    const char *text;
    int token;
    word_kind kind;
} word[] = {{"include", INCLUDE, WORD_RESERVED}, {"mechanism", MECHANISM, WORD_BEGINS},
            {"model", MODEL, WORD_BEGINS},       {"optimizer", OPTIMIZER, WORD_BEGINS},
            {"library", LIBRARY, WORD_BEGINS},   {"size", SIZE, WORD_BEGINS},
            {"number", NUMBER_KEY, WORD_BEGINS}, {"variant", VARIANT, WORD_BEGINS},
            {"causal", CAUSAL, WORD_BEGINS},     {"require", REQUIRE, WORD_BEGINS},
            {"table", TABLE, WORD_BEGINS},       {"index", INDEX, WORD_BEGINS},
            {"input", INPUT, WORD_BEGINS},       {"param", PARAM, WORD_BEGINS},
            {"fn", FN, WORD_RESERVED},           {"output", OUTPUT, WORD_BEGINS},
            {"loss", LOSS, WORD_BEGINS},         {"repeat", REPEAT, WORD_RESERVED},
            {"each", EACH, WORD_BEGINS},         {"state", STATE, WORD_BEGINS},
            {"from", FROM, WORD_RESERVED},       {"as", AS, WORD_RESERVED},
            {"where", WHERE, WORD_RESERVED},     {"let", LET, WORD_RESERVED},
            {"in", IN, WORD_RESERVED},           {"if", IF, WORD_RESERVED},
            {"then", THEN, WORD_RESERVED},       {"else", ELSE, WORD_RESERVED},
            {"and", AND, WORD_RESERVED},         {"or", OR, WORD_RESERVED},
            {"not", NOT, WORD_RESERVED}};

int parse_keyword(const char *text) {
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (text[0] == word[i].text[0] && strcmp(text, word[i].text) == 0)
            return word[i].token;
    return NAME;
}

word_kind parse_word(int token) {
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (word[i].token == token)
            return word[i].kind;
    return WORD_NONE;
}

static span place(const parsing *p, parse_span at) {
    return (span){p->file, at.begin, at.end};
}

void parse_report(parsing *p, parse_span at, const char *text, const char *hint) {
    p->errors++;
    if (p->trees <= PARSE_TREES) /* after that it is no wonder that the file ends too early */
        p->sink.error(p->sink.context, place(p, at), text, hint);
}

void parse_comment(parsing *p, parse_span at) {
    comment *c = arena_take(p->memory, sizeof *c);
    c->begin   = at.begin;
    c->end     = at.end;
    if (p->last_comment)
        p->last_comment->next = c;
    else
        p->comments = c;
    p->last_comment = c;
    parse_check_direction(p, at);
}

void parse_unexpected(parsing *p, parse_span at, bool end, const char *wanted, const char *const *token,
                      unsigned count) {
    char text[256], hint[256] = "";
    size_t used   = 0;
    int length    = (int)(at.end - at.begin < 40 ? at.end - at.begin : 40);
    const char *s = p->file->text + at.begin;
    if ((p->stray && at.end == p->stray) || (end && p->recovering))
        return;
    while (at.begin + (uint32_t)length < at.end && length > 0 && ((unsigned char)s[length] & 0xC0) == 0x80)
        length--;
    if (end)
        snprintf(text, sizeof text, "the file ends too early");
    else
        snprintf(text, sizeof text, "`%.*s` cannot stand here", length, s);
    if (wanted)
        snprintf(hint, sizeof hint, "%s", wanted);
    for (unsigned i = 0; !wanted && i < count && used < sizeof hint; i++) {
        const char *separator = i == 0 ? "expected: " : i + 1 < count ? ", " : " or ";
        bool mark             = strncmp(token[i], "a ", 2) != 0 && strncmp(token[i], "the ", 4) != 0;
        const char *quote     = mark && token[i][0] != '\'' ? "`" : "";
        int written = snprintf(hint + used, sizeof hint - used, "%s%s%s%s", separator, quote, token[i], quote);
        used += written > 0 ? (size_t)written : 0;
    }
    parse_report(p, at, text, hint[0] ? arena_copy(p->memory, hint, strlen(hint)) : NULL);
}

/* Does the text go on as after a name that is being defined, or, where `read`, that is read? */
static bool goes_on_like_a_name(const char *next, bool read) {
    next += strspn(next, " \t");
    return next[0] == '[' || (next[0] == '=' && next[1] != '=') || (next[0] == ':' && next[1] == '=') ||
           (read && next[0] && strchr(",)]:*/%^<>=", next[0]));
}

bool parse_reserved(parsing *p, bool name, bool value, bool statement) {
    const char *text = p->file->text;
    parse_span at    = p->read.at;
    char message[80];
    bool meant = name && parse_word(p->read.token) == WORD_RESERVED &&
                 ((!value && !statement) || goes_on_like_a_name(text + at.end, value));
    if (!meant) { /* perhaps a word that could stand there and was meant as a name */
        meant = parse_word(p->before.token) == WORD_RESERVED && goes_on_like_a_name(text + p->before.at.end, false);
        at    = p->before.at;
    }
    if (!meant)
        return false;
    snprintf(message, sizeof message, "`%.*s` is a word of the language and cannot be a name", (int)(at.end - at.begin),
             text + at.begin);
    parse_report(p, at, message, "choose another name");
    return true;
}

tree *parse_tree(parsing *p, tree_kind kind, parse_span at, const char *name) {
    if (p->trees == PARSE_TREES) { /* the scanner ends the file here */
        char text[80];
        snprintf(text, sizeof text, "more than %d names, numbers and operators in one file", PARSE_TREES);
        parse_report(p, at, text, NULL);
    }
    p->trees++;
    tree *t = arena_take(p->memory, sizeof *t);
    t->kind = kind;
    t->at   = place(p, at);
    t->name = name;
    return t;
}

tree *parse_number(parsing *p, parse_span at, double value, int64_t whole, bool integer) {
    tree *t    = parse_tree(p, TREE_NUMBER, at, NULL);
    t->number  = value;
    t->whole   = whole;
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

/* a < b <= c means a < b and b <= c, with b evaluated once. */
tree *parse_chain(parsing *p, parse_span at, const char *op, tree *chain, tree *b) {
    if (chain->kind == TREE_BINARY) {
        tree *first = parse_tree(p, TREE_CHAIN, at, NULL);
        first->a    = chain->a;
        first->b    = parse_tree(p, TREE_LINK, at, chain->name);
        first->b->a = chain->b;
        chain       = first;
    }
    tree *link = parse_tree(p, TREE_LINK, at, op);
    link->a    = b;
    chain->b   = parse_append(chain->b, link);
    chain->at  = place(p, at);
    return chain;
}

/* The first element remembers the last, so that a list of 10,000 statements is built in linear time. */
tree *parse_append(tree *list, tree *more) {
    if (!list)
        return more;
    if (!more)
        return list;
    tree *last = list->last ? list->last : list;
    while (last->next)
        last = last->next;
    last->next = more;
    list->last = more->last ? more->last : more;
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
    bool condition = strcmp(type, "bool") == 0;
    if (!condition && strcmp(type, "int") != 0)
        parse_report(p, type_at, "the type of an input is int or bool; others are real numbers",
                     "write `: int < N` or `: bool`");
    else if (condition && below)
        parse_report(p, type_at, "a condition has no bound", "write `: bool`");
    else if (!condition && !below)
        parse_report(p, type_at, "an integer input needs a bound", "write `: int < N`");
    for (tree *t = list; t; t = t->next)
        t->number = condition;
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

/* The deepest path is bounded without recursion. Returns a node that is too deep, or NULL. */
static const tree *too_deep(tree *list) {
    struct place {
        tree *t;
        unsigned depth;
    } *stack     = NULL;
    size_t count = 0, capacity = 0;
    const tree *found = NULL;
    unsigned depth    = 0;
    for (;;) {
        if (capacity - count < 5) {
            struct place *more = realloc(stack, (capacity = capacity * 2 + 64) * sizeof *stack);
            if (!more) {
                fputs("attnc: out of memory\n", stderr);
                exit(3);
            }
            stack = more;
        }
        if (list && !list->measured) { /* what statements share, they share at one depth */
            list->measured = true;
            tree *part[]   = {list->next, list->a, list->b, list->c, list->d};
            for (unsigned i = 0; i < 5; i++)
                if (part[i])
                    stack[count++] = (struct place){part[i], depth + (i > 0)};
            if (depth > PARSE_DEPTH)
                found = list;
        }
        if (found || count == 0)
            break;
        list  = stack[--count].t;
        depth = stack[count].depth;
    }
    free(stack);
    return found;
}

tree *parse_source(arena *memory, source *file, message_sink sink, bool *ok) {
    parsing p = {.memory = memory, .file = file, .sink = sink, .line_indent = (uint32_t)strspn(file->text, " \t")};
    yyscan_t scanner;
    if (att_lex_init_extra(&p, &scanner) != 0) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    YY_BUFFER_STATE buffer = att__scan_bytes(file->text, (int)file->size, scanner);
    int status             = att_parse(&p, scanner);
    att__delete_buffer(buffer, scanner);
    att_lex_destroy(scanner);
    const tree *deep = too_deep(p.result);
    if (deep) {
        parse_report(&p, (parse_span){deep->at.begin, deep->at.end}, "this is nested too deeply", NULL);
        p.result = NULL;
    }
    file->comments = p.comments;
    *ok            = status == 0 && p.errors == 0;
    return p.result;
}

/* The tree as text: an expression in one line, prefix notation; a statement a line. */

static const char *const kind_text[] = {
#define TREE(name, text) [TREE_##name] = text,
#include "tree.def"
#undef TREE
};

static void print_expression(const tree *t, FILE *file);

/* The shortest text that reads back as the number; a real number shows that it is none of the integers. */
static void print_number(const tree *t, FILE *file) {
    char text[64];
    if (t->integer) {
        fprintf(file, "%" PRId64, t->whole);
        return;
    }
    if (isinf(t->number)) {
        fputs("∞", file);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, t->number);
        if (strtod(text, NULL) == t->number)
            break;
    }
    fprintf(file, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static void print_list(const tree *list, const char *between, FILE *file) {
    for (const tree *t = list; t; t = t->next) {
        if (t != list)
            fputs(between, file);
        print_expression(t, file);
    }
}

static void print_indices(const tree *list, const tree *domain, FILE *file) {
    if (!list)
        return;
    fputc('[', file);
    print_list(list, " ", file);
    if (domain) {
        fputs(" where ", file);
        print_expression(domain, file);
    }
    fputc(']', file);
}

static void print_expression(const tree *t, FILE *file) {
    switch (t->kind) {
    case TREE_NUMBER:
        print_number(t, file);
        return;
    case TREE_NAME:
    case TREE_BOUND:
        fputs(t->name, file);
        return;
    case TREE_READ:
        fputs(t->name, file);
        print_indices(t->a, NULL, file);
        return;
    case TREE_INDEX:
        fprintf(file, "%s:", t->name);
        print_expression(t->a, file);
        return;
    case TREE_CALL:
        fprintf(file, "(%s", t->name);
        print_indices(t->b, t->c, file);
        fputs(t->a ? " " : "", file);
        print_list(t->a, " ", file);
        break;
    case TREE_CHAIN:
        fputs("(chain ", file);
        print_expression(t->a, file);
        fputc(' ', file);
        print_list(t->b, " ", file);
        break;
    case TREE_LET:
        fprintf(file, "(let %s", t->name);
        print_indices(t->a, NULL, file);
        fputc(' ', file);
        print_expression(t->b, file);
        if (t->d) {
            fputs(" from ", file);
            print_expression(t->d, file);
        }
        fputc(' ', file);
        print_expression(t->c, file);
        break;
    case TREE_ROW:
        fputs("(row ", file);
        print_list(t->a, " ", file);
        break;
    default: { /* an operator and its operands */
        fprintf(file, "(%s", t->name ? t->name : kind_text[t->kind]);
        const tree *part[] = {t->a, t->b, t->c};
        for (unsigned i = 0; i < 3; i++)
            if (part[i]) {
                fputc(' ', file);
                print_expression(part[i], file);
            }
    }
    }
    fputc(')', file);
}

void tree_print(const tree *t, unsigned indent, FILE *file) {
    for (; t; t = t->next) {
        fprintf(file, "%*s(%s %s", (int)indent, "", kind_text[t->kind], t->name ? t->name : "");
        const tree *value[] = {t->b, t->c};
        switch (t->kind) {
        case TREE_VARIANT:
        case TREE_REPEAT:
            if (t->kind == TREE_REPEAT) {
                fputc(' ', file);
                print_expression(t->a, file);
            }
            fputc('\n', file);
            tree_print(t->kind == TREE_VARIANT ? t->a : t->b, indent + 2, file);
            fprintf(file, "%*s)\n", (int)indent, "");
            continue;
        case TREE_FUNCTION:
            print_indices(t->a, NULL, file);
            fputs(" (", file);
            print_list(t->b, " ", file);
            fputc(')', file);
            value[0] = t->c;
            value[1] = NULL;
            break;
        case TREE_REQUIRE:
            value[0] = t->a;
            value[1] = t->b;
            break;
        case TREE_SIZE:
        case TREE_CONSTANT:
        case TREE_INDEX:
        case TREE_EACH:
        case TREE_STATE:
            value[0] = t->a;
            break;
        default:
            print_indices(t->a, NULL, file);
        }
        for (unsigned i = 0; i < 2; i++)
            if (value[i]) {
                fputc(' ', file);
                print_expression(value[i], file);
            }
        fputs(")\n", file);
    }
}
