/* The comment above a spec's head, and the papers that it cites. */
#include "elaborate_internal.h"
#include "unicode_classes.h"
#include "utf8.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The lines above the head */

static size_t line_begin(const source *f, size_t at) {
    while (at > 0 && f->text[at - 1] != '\n' && f->text[at - 1] != '\r')
        at--;
    return at;
}

/* Does only white space, of at most one line's end, lie between the two? */
static bool next_line(const source *f, size_t from, size_t to) {
    unsigned ends = 0;
    for (size_t i = from; i < to; i++) {
        if (f->text[i] != ' ' && f->text[i] != '\t' && f->text[i] != '\n' && f->text[i] != '\r')
            return false;
        ends += f->text[i] == '\n' || (f->text[i] == '\r' && f->text[i + 1] != '\n');
    }
    return ends <= 1;
}

static void print_line(const source *f, const comment *c, FILE *stream) {
    size_t begin = c->begin + 1, end = c->end;
    begin += begin < end && f->text[begin] == ' ';
    while (end > begin && isspace((unsigned char)f->text[end - 1]))
        end--;
    fwrite(f->text + begin, 1, end - begin, stream);
}

static const char *leading_comment(const spec *s) {
    const source *f      = s->head.file;
    const comment *first = NULL, *before = NULL; /* the first of the block that ends with `before` */
    for (const comment *c = f->comments; c && c->begin < s->head.begin; before = c, c = c->next) {
        size_t line = line_begin(f, c->begin);
        bool alone  = next_line(f, line, c->begin);
        if (!alone)
            first = NULL;
        else if (!first || !next_line(f, before->end, c->begin))
            first = c;
    }
    char *text   = NULL;
    size_t size  = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    if (first && next_line(f, before->end, s->head.begin))
        for (const comment *c = first; c && c->begin < s->head.begin; c = c->next) {
            if (c != first)
                fputc('\n', stream);
            print_line(f, c, stream);
        }
    fclose(stream);
    const char *kept = arena_copy(s->memory, text, size);
    free(text);
    return kept;
}

/* Citations: each function takes the text at which a citation may begin, and returns its length there, or 0. */

static size_t digits(const char *at) {
    size_t n = 0;
    while (isdigit((unsigned char)at[n]))
        n++;
    return n;
}

/* 1706.03762 or cs/0501001, less the version */
static size_t arxiv_number(const char *at) {
    size_t n = digits(at), archive = 0;
    if (n == 4 && at[4] == '.') {
        size_t more = digits(at + 5);
        return more == 4 || more == 5 ? 5 + more : 0;
    }
    while (isalpha((unsigned char)at[archive]) || at[archive] == '-' || at[archive] == '.')
        archive++;
    return archive && at[archive] == '/' && digits(at + archive + 1) == 7 ? archive + 8 : 0;
}

/* "arXiv:N", "arXiv N" and "arxiv.org/abs/N". */
static size_t arxiv(const char *at, size_t *number, size_t *length) {
    static const char *const between[] = {":", ": ", " ", ".org/abs/", ".org/pdf/"};
    if (strncasecmp(at, "arxiv", 5) != 0)
        return 0;
    for (size_t i = 0; i < sizeof between / sizeof *between; i++) {
        size_t skip = strlen(between[i]);
        if (strncmp(at + 5, between[i], skip) == 0 && (*length = arxiv_number(at + 5 + skip)) > 0) {
            *number = 5 + skip;
            return *number + *length;
        }
    }
    return 0;
}

/* 10.1000/182: to the next white space, less the punctuation of the sentence. */
static size_t doi(const char *at) {
    if (strncmp(at, "10.", 3) != 0)
        return 0;
    size_t registrant = digits(at + 3), n = 3 + registrant;
    if (registrant < 4 || registrant > 9 || at[n] != '/')
        return 0;
    size_t name = ++n;
    while (at[n] && !isspace((unsigned char)at[n]) && !strchr(",;<>\"", at[n]))
        n++;
    while (n > name && strchr(".:)]", at[n - 1]) && !(at[n - 1] == ')' && memchr(at + name, '(', n - name)))
        n--;
    return n > name && n <= 200 ? n : 0;
}

/* Vaswani et al. 2017, Vaswani et al. (2017), Vaswani et al., 2017 */
static size_t authors(const char *at, size_t *name, size_t *year) {
    static const char *const between[] = {" et al. ",  " et al., ", " et al. (", " et al ",
                                          "\net al. ", " et\nal. ", " et al.\n"};
    size_t n                           = 0;
    unsigned length;
    for (; at[n]; n += length) {
        uint32_t code = utf8_decode(at + n, strnlen(at + n, 4), &length);
        if (!unicode_is_letter(code) && code != '-' && code != '\'' && code != 0x2019)
            break;
    }
    if (n == 0 || n > 100 || islower((unsigned char)at[0]))
        return 0;
    for (size_t i = 0; i < sizeof between / sizeof *between; i++) {
        size_t skip = strlen(between[i]);
        if (strncmp(at + n, between[i], skip) == 0 && digits(at + n + skip) == 4) {
            *name = n;
            *year = n + skip;
            return n + skip + 4;
        }
    }
    return 0;
}

static void cite(spec *s, size_t *capacity, const char *prefix, const char *text, size_t length, const char *more) {
    char citation[300];
    snprintf(citation, sizeof citation, "%s%.*s%s", prefix, (int)length, text, more);
    for (size_t i = 0; i < s->citation_count; i++)
        if (strcmp(s->citation[i], citation) == 0)
            return;
    if (s->citation_count == *capacity) { /* the arena keeps the shorter ones too */
        const char **grown = arena_take(s->memory, (*capacity * 2 + 8) * sizeof *grown);
        if (s->citation_count)
            memcpy(grown, s->citation, s->citation_count * sizeof *grown);
        s->citation = grown;
        *capacity   = *capacity * 2 + 8;
    }
    s->citation[s->citation_count++] = arena_copy(s->memory, citation, strlen(citation));
}

void spec_find_comment(spec *s) {
    enum { CITATIONS = 1000 };
    size_t capacity = 0, number = 0, length = 0, name = 0, year = 0, used;
    s->comment  = leading_comment(s);
    bool inside = false; /* a word, where no citation begins */
    for (const char *at = s->comment; *at && s->citation_count < CITATIONS; at += used) {
        char text[32];
        used = 1;
        if (!inside && (used = arxiv(at, &number, &length)) > 0) {
            cite(s, &capacity, "arXiv:", at + number, length, "");
        } else if (!inside && (used = doi(at)) > 0) {
            cite(s, &capacity, "doi:", at, used, "");
        } else if (!inside && (used = authors(at, &name, &year)) > 0) {
            snprintf(text, sizeof text, " et al. %.4s", at + year);
            cite(s, &capacity, "", at, name, text);
        } else {
            used   = 1;
            inside = isalnum((unsigned char)*at) || ((unsigned char)*at & 0x80) || *at == '-';
            continue;
        }
        inside = true;
    }
}

const char *spec_comment(const spec *s) {
    return s->comment;
}

size_t spec_citation_count(const spec *s) {
    return s->citation_count;
}

const char *spec_citation(const spec *s, size_t i) {
    return s->citation[i];
}
