/* What the scanner, the parser's actions and parse.c share. */
#ifndef ATTNC_PARSE_INTERNAL_H
#define ATTNC_PARSE_INTERNAL_H

#include "ast.h"

typedef struct parse_span {
    uint32_t begin, end;
} parse_span;

typedef struct parsing {
    arena *memory;
    const source *file;
    message_sink sink;
    uint32_t at; /* where the scanner stands */
    unsigned errors;
    tree *result;
} parsing;

int parse_keyword(const char *text);
void parse_report(parsing *p, parse_span at, const char *text, const char *hint);
/* A token that cannot stand where it stands. The hint is `wanted` or, where that is NULL, the names of the tokens that
 * could stand there. */
void parse_unexpected(parsing *p, parse_span at, bool end, const char *wanted, const char *const *token,
                      unsigned count);
tree *parse_tree(parsing *p, tree_kind kind, parse_span at, const char *name);
tree *parse_number(parsing *p, parse_span at, double value, bool integer);
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

#endif
