/* libFuzzer's mutator for specs. It knows no keyword: what it inserts, it has seen in the corpus, so it follows the
 * language as that grows. One change in ten is libFuzzer's own, of bytes. */
#include "mutate.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t limit);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size, const uint8_t *other, size_t other_size,
                                 uint8_t *out, size_t limit, unsigned seed);

enum { TOKENS = 8192, POOL = 4096, POOL_TEXT = 200 };

typedef enum token_kind { WORD, NUMERAL, QUOTED, SIGN, TOKEN_KINDS } token_kind;

/* With the white space and comments before it. */
typedef struct token {
    const char *text;
    uint32_t gap, size; /* of the white space; of all */
    token_kind kind;
    bool first; /* of its line */
} token;

typedef struct token_list {
    token token[TOKENS];
    unsigned count;
} token_list;

static uint64_t state;

static unsigned below(unsigned limit) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return limit ? (unsigned)((state >> 33) % limit) : 0;
}

static bool word_character(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

/* The length of the white space and comments that begin here. */
static size_t gap_size(const char *text, size_t size, bool *line) {
    size_t i = 0;
    while (i < size && (isspace((unsigned char)text[i]) || text[i] == '#')) {
        if (text[i] == '#')
            while (i + 1 < size && text[i + 1] != '\n')
                i++;
        *line |= text[i] == '\n';
        i++;
    }
    return i;
}

static size_t token_size(const char *text, size_t size, token_kind *kind) {
    size_t i = 1;
    if (isdigit((unsigned char)text[0])) {
        *kind = NUMERAL;
        while (i < size && (word_character(text[i]) || text[i] == '.'))
            i++;
    } else if (word_character(text[0])) {
        *kind = WORD;
        while (i < size && word_character(text[i]))
            i++;
    } else if (text[0] == '"') {
        *kind = QUOTED;
        while (i < size && text[i] != '"' && text[i] != '\n')
            i++;
        i += i < size && text[i] == '"';
    } else {
        *kind = SIGN;
        i += i < size && text[1] == '=';
    }
    return i;
}

/* Returns false where there are too many. */
static bool split(const char *text, size_t size, token_list *list) {
    list->count = 0;
    for (size_t at = 0; at < size;) {
        token t    = {.text = text + at, .first = at == 0};
        size_t gap = gap_size(text + at, size - at, &t.first);
        if (at + gap == size)
            break;
        t.gap  = (uint32_t)gap;
        t.size = (uint32_t)(gap + token_size(text + at + gap, size - at - gap, &t.kind));
        if (list->count == TOKENS)
            return false;
        list->token[list->count++] = t;
        at += t.size;
    }
    return true;
}

/* What was seen, with a chance for everything: a full pool forgets at random. */
typedef struct pool {
    char text[POOL][POOL_TEXT];
    uint8_t size[POOL];
    unsigned count;
} pool;

static pool seen_token[TOKEN_KINDS], seen_line;

static void remember(pool *p, const char *text, size_t size) {
    if (size == 0 || size >= POOL_TEXT)
        return;
    unsigned at = p->count < POOL ? p->count++ : below(POOL);
    memcpy(p->text[at], text, size);
    p->size[at] = (uint8_t)size;
}

static unsigned line_end(const token_list *list, unsigned at) {
    do
        at++;
    while (at < list->count && !list->token[at].first);
    return at;
}

static token_list learned;

void mutate_learn(const char *text, size_t size) {
    if (!split(text, size, &learned))
        return;
    for (unsigned i = 0; i < learned.count; i++) {
        const token *t = &learned.token[i];
        if (below(4) == 0)
            remember(&seen_token[t->kind], t->text + t->gap, t->size - t->gap);
        if (t->first && below(2) == 0) {
            const token *last = &learned.token[line_end(&learned, i) - 1];
            remember(&seen_line, t->text + t->gap, (size_t)(last->text + last->size - t->text - t->gap));
        }
    }
}

/* A part of a list: one token, a few, a line, or a group with its brackets. */
typedef struct part {
    unsigned begin, end;
} part;

static unsigned group_end(const token_list *list, unsigned at) {
    unsigned depth = 0;
    for (unsigned i = at; i < list->count; i++) {
        char c = list->token[i].text[list->token[i].gap];
        if (c == '(' || c == '[' || c == '{')
            depth++;
        else if ((c == ')' || c == ']' || c == '}') && --depth == 0)
            return i + 1;
        if (depth == 0)
            break;
    }
    return at + 1;
}

static part choose(const token_list *list) {
    part p = {below(list->count), 0};
    switch (below(5)) {
    case 0:
        p.end = p.begin + 1 + below(6);
        break;
    case 1:
    case 2:
        while (p.begin > 0 && !list->token[p.begin].first)
            p.begin--;
        p.end = line_end(list, p.begin);
        break;
    case 3:
        for (unsigned tries = 0; tries < 20 && group_end(list, p.begin) == p.begin + 1; tries++)
            p.begin = below(list->count);
        p.end = group_end(list, p.begin);
        break;
    default:
        p.end = p.begin + 1;
    }
    if (p.end > list->count)
        p.end = list->count;
    return p;
}

typedef struct writer {
    char *text;
    size_t size, limit;
} writer;

static void put(writer *w, const char *text, size_t size) {
    if (size > w->limit - w->size)
        size = w->limit - w->size;
    memcpy(w->text + w->size, text, size);
    w->size += size;
}

static void put_tokens(writer *w, const token_list *list, unsigned begin, unsigned end) {
    if (begin < end && list->token[begin].gap == 0)
        put(w, " ", 1);
    for (unsigned i = begin; i < end; i++)
        put(w, list->token[i].text, list->token[i].size);
}

static void put_seen(writer *w, const pool *p, const char *before) {
    unsigned at = below(p->count);
    put(w, before, strlen(before));
    if (p->count)
        put(w, p->text[at], p->size[at]);
}

static void put_number(writer *w) {
    static const char *const number[] = {"0",          "1",          "2",    "3",     "7",
                                         "64",         "65",         "4096", "4097",  "1000000000",
                                         "1073741824", "1073741825", "0.5",  "1e300", "9000000000000000",
                                         "1e-300",     "0.0",        "16",   "17",    "9223372036854775808"};
    const char *text                  = number[below(sizeof number / sizeof *number)];
    put(w, " ", 1);
    put(w, text, strlen(text));
}

/* One token in the place of another of its kind, from this text, from what was seen, or a number at a limit. */
static void replace_token(writer *w, const token_list *list) {
    unsigned at     = below(list->count);
    token_kind kind = list->token[at].kind;
    put_tokens(w, list, 0, at);
    unsigned source = below(3), other = below(list->count);
    for (unsigned tries = 0; tries < 20 && list->token[other].kind != kind; tries++)
        other = below(list->count);
    if (source == 0 && kind == NUMERAL)
        put_number(w);
    else if (source == 1)
        put_seen(w, &seen_token[kind], " ");
    else
        put_tokens(w, list, other, other + 1);
    put_tokens(w, list, at + 1, list->count);
}

/* One name becomes another everywhere. */
static void rename_all(writer *w, const token_list *list) {
    const token *from = &list->token[below(list->count)], *to = &list->token[below(list->count)];
    for (unsigned i = 0; i < list->count; i++) {
        const token *t = &list->token[i];
        bool same      = t->size - t->gap == from->size - from->gap &&
                    memcmp(t->text + t->gap, from->text + from->gap, t->size - t->gap) == 0;
        put(w, t->text, same ? t->gap : t->size);
        if (same) {
            put(w, " ", 1);
            put(w, to->text + to->gap, to->size - to->gap);
        }
    }
}

static void change(writer *w, const token_list *list, const token_list *donor) {
    part p = choose(list), q = choose(donor);
    unsigned at = below(list->count + 1);
    switch (below(9)) {
    case 0: /* without a part */
        put_tokens(w, list, 0, p.begin);
        put_tokens(w, list, p.end, list->count);
        break;
    case 1: /* a part in the place of another */
    case 2:
        put_tokens(w, list, 0, p.begin);
        put_tokens(w, donor, q.begin, q.end);
        put_tokens(w, list, p.end, list->count);
        break;
    case 3: /* a part once more */
        put_tokens(w, list, 0, at);
        put_tokens(w, donor, q.begin, q.end);
        put_tokens(w, list, at, list->count);
        break;
    case 4: /* a line that was seen, before another */
        put_tokens(w, list, 0, p.begin);
        put_seen(w, &seen_line, "\n");
        put(w, "\n", 1);
        put_tokens(w, list, p.begin, list->count);
        break;
    case 5: /* a token that was seen */
        put_tokens(w, list, 0, at);
        put_seen(w, &seen_token[below(TOKEN_KINDS)], " ");
        put_tokens(w, list, at, list->count);
        break;
    case 6:
        rename_all(w, list);
        break;
    default:
        replace_token(w, list);
    }
}

static token_list mine, theirs;

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed) {
    state = seed;
    if (below(10) == 0)
        return LLVMFuzzerMutate(data, size, limit);
    char *out = malloc(limit);
    if (!out)
        return 0;
    for (unsigned changes = 1 + below(3); changes > 0; changes--) {
        if (!split((const char *)data, size, &mine) || mine.count == 0)
            break;
        writer w = {out, 0, limit};
        change(&w, &mine, &mine);
        memcpy(data, out, w.size);
        size = w.size;
    }
    free(out);
    return size ? size : LLVMFuzzerMutate(data, size, limit);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size, const uint8_t *other, size_t other_size,
                                 uint8_t *out, size_t limit, unsigned seed) {
    state    = seed;
    writer w = {(char *)out, 0, limit};
    if (!split((const char *)one, one_size, &mine) || !split((const char *)other, other_size, &theirs) ||
        mine.count == 0 || theirs.count == 0)
        return 0;
    change(&w, &mine, &theirs);
    return w.size;
}
