/* The tree that the parser builds: what was written, with where it was written, and nothing else. All of it lives in
 * one arena and is freed at once. */
#ifndef ATTNC_AST_H
#define ATTNC_AST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A comment: the bytes from `#` to the end of the line. */
typedef struct comment comment;
struct comment {
    uint32_t begin, end;
    comment *next;
};

/* One source file; lines are kept for messages. */
typedef struct source {
    char *path;
    char *text; /* NUL-terminated, without a byte-order mark */
    size_t size;
    const comment *comments; /* in their order, once the file is parsed */
    uint64_t device, inode;  /* of the file; 0: there is none */
} source;

typedef struct span {
    const source *file;
    uint32_t begin, end; /* bytes */
} span;

typedef enum tree_kind {
#define TREE(name, text) TREE_##name,
#include "tree.def"
#undef TREE
} tree_kind;

/* A node of the tree. Which children there are is said in tree.def. */
typedef struct tree tree;
struct tree {
    tree_kind kind;
    span at;
    const char *name; /* names, operators, strings */
    double number;    /* NUMBER */
    int64_t whole;    /* NUMBER that is an integer: its exact value */
    bool integer;     /* NUMBER: written without point and exponent */
    bool measured;    /* the depth below it was looked at */
    tree *a, *b, *c, *d;
    tree *next; /* in a list */
    tree *last; /* of a list's first element: its last, for appending; may lag behind */
};

typedef struct arena arena;
arena *arena_new(void);
void arena_free(arena *a);
void *arena_take(arena *a, size_t size); /* zeroed; never NULL: lack of memory ends the process with exit code 3 */
char *arena_copy(arena *a, const char *text, size_t size);

typedef struct message_sink {
    void (*error)(void *context, span at, const char *text, const char *hint);
    void *context;
} message_sink;

enum { PARSE_DEPTH = 500, PARSE_TREES = 1000000 };

/* Parses one file of valid UTF-8. Returns the list of its statements, at most PARSE_TREES nodes and PARSE_DEPTH of them
 * deep, so that what walks the tree may recurse, and its comments in file->comments. Where there were errors, *ok is
 * false, they have been reported, and the statements that were understood are returned. */
tree *parse_source(arena *memory, source *file, message_sink sink, bool *ok);

void tree_print(const tree *t, unsigned indent, FILE *file);

#endif
