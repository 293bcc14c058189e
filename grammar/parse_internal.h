/* What the scanner, the parser's actions and parse.c share. */
#ifndef ATTNC_PARSE_INTERNAL_H
#define ATTNC_PARSE_INTERNAL_H

#include "ast.h"

typedef struct parse_span {
    uint32_t begin, end;
} parse_span;

typedef struct parse_token {
    int token;
    parse_span at;
} parse_token;

typedef struct repeat_body repeat_body;

typedef struct parsing {
    uint32_t walked, line, line_indent; /* recover.c: how far lines were looked for, the last one, its white space */
    arena *memory;
    const source *file;
    message_sink sink;
    uint32_t at;    /* where the scanner stands */
    uint32_t stray; /* where a character ends that was reported and cannot stand anywhere */
    unsigned errors;
    unsigned trees; /* made so far */
    tree *result;
    comment *comments, *last_comment;
    /* recover.c */
    parse_token read, before; /* the last token, and the one before it */
    bool recovering;          /* what is left of a broken statement is being discarded */
    bool resumes;             /* the last token may begin a statement after a broken one */
    uint32_t column;          /* where the last line began that begins a statement */
    repeat_body *body;
    unsigned open, lost; /* as in repeat_body, of the innermost */
} parsing;

int parse_keyword(const char *text);
/* Is a token a word of the language, and which kind? */
typedef enum word_kind {
    WORD_NONE,
    WORD_RESERVED, /* it can be no name */
    WORD_BEGINS    /* it begins statements, and is a name elsewhere */
} word_kind;
word_kind parse_word(int token);
void parse_report(parsing *p, parse_span at, const char *text, const char *hint);
/* A token that cannot stand where it stands. The hint is `wanted` or, where that is NULL, the names of the tokens that
 * could stand there. */
void parse_unexpected(parsing *p, parse_span at, bool end, const char *wanted, const char *const *token,
                      unsigned count);
/* The same where a word of the language was meant as a name: reports that and returns true, or returns false. What may
 * stand there: a name, an expression, a statement. */
bool parse_reserved(parsing *p, bool name, bool value, bool statement);
void parse_comment(parsing *p, parse_span at);
tree *parse_tree(parsing *p, tree_kind kind, parse_span at, const char *name);
tree *parse_number(parsing *p, parse_span at, double value, int64_t whole, bool integer);
tree *parse_binary(parsing *p, parse_span at, const char *op, tree *a, tree *b);
tree *parse_unary(parsing *p, parse_span at, const char *op, tree *a);
tree *parse_chain(parsing *p, parse_span at, const char *op, tree *chain, tree *b);
tree *parse_append(tree *list, tree *more);
tree *parse_head(parsing *p, parse_span at, const char *name, tree *title, int kind);
tree *parse_inputs(parsing *p, tree *list, tree *below);
tree *parse_typed_inputs(parsing *p, tree *list, const char *type, parse_span type_at, tree *below);
tree *parse_params(parsing *p, tree *list, tree *initialiser, tree *group);
tree *parse_states(tree *list, tree *initial);
tree *parse_definition(parsing *p, tree_kind kind, parse_span at, const char *name, tree *indices, tree *value,
                       tree *from);

/* recover.c: is the token one for the parser? May the last token be kept after an error? A repeat's body. */
bool parse_delivers(parsing *p, int token, parse_span at);
bool parse_recover(parsing *p);
void parse_body_begin(parsing *p);
void parse_body_end(parsing *p);

/* characters.c, for the scanner */
bool parse_letter(uint32_t code);                       /* may it begin a name? */
uint32_t parse_name_end(const parsing *p, uint32_t at); /* past the letters, digits and `_` that follow */
void parse_check_name(parsing *p, parse_span at);       /* is it too long? */
int parse_operator(uint32_t code);                      /* the token of a mathematical sign, or 0 */
void parse_check_direction(parsing *p, parse_span at);  /* may what is shown be another text than what is read? */
/* A character that is none of these: reports it, moves at->end behind what belongs to it, and returns the token that
 * was meant, ATT_UNDEF where that is unknown, 0 where it can be left out. */
int parse_character(parsing *p, parse_span *at);

#endif
