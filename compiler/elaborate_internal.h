/* What the elaborator's files share. elaborate.c: statements, mechanisms, models; elaborate_optimizer.c: optimizers;
 * elaborate_expression.c: expressions and functions; elaborate_names.c: look-up and misspellings; spec.c: reading
 * files; spec_comment.c: what their comments say. */
#ifndef ATTNC_ELABORATE_INTERNAL_H
#define ATTNC_ELABORATE_INTERNAL_H

#include "ast.h"
#include "elaborate.h"

struct spec {
    arena *memory;
    spec_kind kind;
    const char *name, *title, *path;
    tree *statements; /* of all files, includes first, heads and includes removed */
    source **file;
    size_t file_count, file_capacity;
    const char **variant;
    size_t variant_count;
    span head; /* of the main file */
    const char *comment;
    const char **citation;
    size_t citation_count;
};

/* A name that stands for a tensor expression, with the order of its indices where it was defined. */
typedef struct value {
    const char *name;
    node node;
    unsigned rank;
    index_id index[TENSOR_RANK];
    bool self; /* a recurrence reading itself: node is the state before the step */
    unsigned scan_position;
    unsigned level; /* repeat depth of its definition */
    bool broken;    /* its definition has an error, which was reported: a read says nothing more */
} value;

typedef struct named_number {
    const char *name;
    double number;
    bool integer;
    bool given;    /* by the caller: a default does not replace it */
    bool declared; /* its statement was reached */
} named_number;

typedef struct named_index {
    const char *name;
    index_id index;
} named_index;

/* Bindings inside a function or after let, innermost first. */
typedef struct local local;
struct local {
    const local *outer;
    const char *name;
    bool is_index;
    index_id index; /* is_index */
    node domain;    /* is_index: the caller's restriction, NODE_NONE: none */
    value bound;    /* otherwise */
};

/* The trail of function calls that led here, for messages. */
typedef struct trail trail;
struct trail {
    const trail *outer;
    const char *function;
    span call;
    unsigned depth;
};

/* One spec being elaborated. */
typedef struct module module;
struct module {
    graph *g;
    const spec *spec;
    diagnostics *d;
    bool training;
    const char *prefix; /* of parameter names: "layer0.attention." or "" */
    const char *group;  /* of parameters that name none */
    value *value;
    size_t value_count, value_capacity;
    named_number *number; /* sizes and numbers */
    size_t number_count, number_capacity;
    named_index index[GRAPH_INDICES];
    unsigned index_count;
    unsigned level;   /* depth of repeats */
    int64_t layer;    /* iteration of the innermost repeat */
    uint64_t steps;   /* expansion work so far */
    unsigned nesting; /* of expressions being expanded */
    bool gave_up;     /* the limit was reported */
    unsigned failed;  /* errors in this module */
    const tree *variant;
    /* a model's slot */
    const spec *const *mechanism;
    const elaboration *mechanism_how;
    size_t mechanism_count;
    /* a mechanism in a slot: its argument */
    node slot_argument;
    node slot_result;
    bool slot_taken; /* an input stands for the argument */
    /* an optimizer */
    node (*total)(module *m, const tree *argument, const local *scope, const trail *where);
    void *optimizer;
};

/* Calls within calls, expressions within expressions, and expressions in all: what a spec may expand to. */
enum { EXPANSION_DEPTH = 100, EXPANSION_NESTING = 1500, EXPANSION_STEPS = 1000000 };

void module_error(module *m, span at, const trail *where, const char *hint, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void module_warning(module *m, span at, const trail *where, const char *hint, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
node expression(module *m, const tree *t, const local *scope, const trail *where); /* NODE_NONE after an error */
/* One that is a condition (boolean) or a number (not). */
node operand(module *m, const tree *t, const local *scope, const trail *where, bool boolean);
/* Of what must be known now: sizes, rates, initial values. */
bool integer_value(module *m, const tree *t, const local *scope, const trail *where, int64_t *out);
bool constant_value(module *m, const tree *t, const local *scope, const trail *where, double *out);
const value *find_value(const module *m, const char *name);
value *add_value(module *m, const value *v);
named_number *find_number(const module *m, const char *name);
bool find_index(const module *m, const char *name, index_id *out);
bool is_builtin(const char *name); /* a function or reduction of the language itself */
const tree *find_function(const module *m, const char *name);
node call_slot(module *m, const tree *call, node argument, const trail *where);
const char *suggest(const module *m, const char *name, const local *scope); /* NULL: nothing is near */
const char *suggest_number(const module *m, const char *name);
const char *suggest_variant(const module *m, const char *name);
const char *format_text(module *m, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* elaborate.c, for elaborate_optimizer.c */
bool module_begin(module *m, const elaboration *how);
void module_discard(module *m);
void size_statement(module *m, const tree *t);
void tensor_statement(module *m, const tree *t);
index_set set_of(const index_id *index, unsigned rank);

/* Finds the spec's comment and citations, once its main file is parsed. */
void spec_find_comment(spec *s);

#endif
