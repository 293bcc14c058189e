/* Going on after a syntax error: what is left of the broken statement is discarded, up to the next token that is first
 * on its line and begins a statement, so that one mistake is one message. A brace that the broken statement opened
 * takes its closing one along. */
#include "att_parser.h"
#include "parse_internal.h"

#include <string.h>

/* The bodies of repeats around the scanner, innermost first. */
struct repeat_body {
    repeat_body *outer;
    unsigned open; /* braces that are open around it, besides its own and those of bodies further out */
    unsigned lost; /* of them, those that no statement has */
};

/* Where the line of a token begins. Tokens come in order, so that the text is walked once. */
static uint32_t line_begin(parsing *p, uint32_t at) {
    for (; p->walked < at; p->walked++)
        if (p->file->text[p->walked] == '\n' || p->file->text[p->walked] == '\r') {
            p->line        = p->walked + 1;
            p->line_indent = (uint32_t)strspn(p->file->text + p->line, " \t");
        }
    return p->line;
}

static bool first_on_line(parsing *p, uint32_t at) {
    uint32_t begin = line_begin(p, at);
    return begin + p->line_indent == at;
}

/* Does `=`, `:=` or `[…] =` follow, on the line? */
static bool is_defined_here(const char *next) {
    next += strspn(next, " \t");
    if (*next == '[') {
        unsigned depth = 0;
        do {
            depth += *next == '[';
            depth -= *next == ']';
            next++;
        } while (depth > 0 && *next && *next != '\n' && *next != '\r');
        next += strspn(next, " \t");
    }
    return (next[0] == '=' && next[1] != '=') || (next[0] == ':' && next[1] == '=');
}

static bool begins_statement(int token) {
    return token == FN || token == INCLUDE || token == REPEAT || parse_word(token) == WORD_BEGINS;
}

/* A definition, or a statement that begins with a word; a name that begins neither may still be a misspelt word, where
 * it stands no deeper than statements do. */
static bool resumes(parsing *p, int token, parse_span at) {
    if (!first_on_line(p, at.begin))
        return false;
    uint32_t column = at.begin - line_begin(p, at.begin);
    bool name       = token == NAME || parse_word(token) == WORD_RESERVED; /* such a word may be meant as a name */
    bool sure       = begins_statement(token) || (name && is_defined_here(p->file->text + at.end));
    if (sure)
        p->column = column;
    return sure || (token == NAME && column <= p->column);
}

bool parse_delivers(parsing *p, int token, parse_span at) {
    bool ends_body = token == '}' && p->open == 0 && p->body;
    if (token == '{') {
        p->open++;
        p->lost += p->recovering;
    }
    if (token == '}' && p->open > 0) {
        bool lost = p->open == p->lost;
        p->open--;
        p->lost -= lost;
        if (lost)
            return false;
    }
    p->resumes = token == END || ends_body || resumes(p, token, at);
    if (p->recovering && !p->resumes)
        return false;
    p->recovering = p->recovering && token == END; /* that it comes too early is no news then */
    p->before     = p->read;
    p->read       = (parse_token){token, at};
    return true;
}

bool parse_recover(parsing *p) {
    int token     = p->read.token; /* a reserved word that begins nothing would be met again and again */
    bool kept     = p->resumes && (parse_word(token) != WORD_RESERVED || begins_statement(token));
    p->recovering = !kept;
    p->lost       = p->open; /* between statements none is open but the bodies' */
    return kept;
}

void parse_body_begin(parsing *p) {
    repeat_body *b = arena_take(p->memory, sizeof *b);
    *b             = (repeat_body){p->body, p->open - 1, p->lost};
    p->body        = b;
    p->open = p->lost = 0;
}

void parse_body_end(parsing *p) {
    p->open = p->body->open;
    p->lost = p->body->lost;
    p->body = p->body->outer;
}
