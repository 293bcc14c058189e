/* What the elaborator's files share. elaborate.c: statements, mechanisms, models; elaborate_tensor.c: inputs,
 * parameters, tables; elaborate_optimizer.c: optimizers;
 * elaborate_expression.c: expressions; elaborate_call.c: calls of all kinds; elaborate_let.c: parts with names;
 * elaborate_recurrence.c: what is defined by its own earlier value; elaborate_facts.c: what guards make certain;
 * elaborate_power.c: integers to the power of integers; elaborate_names.c: look-up and misspellings; spec.c: reading
 * files; spec_comment.c: what their comments say. */
#ifndef ATTNC_ELABORATE_INTERNAL_H
#define ATTNC_ELABORATE_INTERNAL_H

#include "ast.h"
#include "elaborate.h"
#include "name_table.h"

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
    const tree **function; /* in the order of their names in function_names */
    name_table function_names, size_names;
};

/* A name that stands for a tensor expression, with the order of its indices where it was defined. */
typedef struct value {
    const char *name;
    node node;
    unsigned rank;
    index_id index[TENSOR_RANK];
    node scan;             /* it is the state of this recurrence; NODE_NONE: it is none */
    unsigned step;         /* then the position of the stepping index */
    struct member *member; /* while its recurrence is being worked out; the node is not there yet */
    const tree *t;         /* where it was defined; NULL: nowhere in the spec */
    bool used;             /* something reads it */
    unsigned level;        /* repeat depth of its definition */
    bool broken;           /* its definition has an error, which was reported: a read says nothing more */
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
    unsigned count; /* is_index: 0, or how many indices it stands for, and which */
    const index_id *indices;
    bool renamed; /* is_index: by renamed_index */
    node domain;  /* is_index: the caller's restriction, NODE_NONE: none */
    value bound;  /* otherwise */
};

/* The trail of function calls that led here, for messages. */
typedef struct trail trail;
struct trail {
    const trail *outer;
    const char *function;
    span call;
    unsigned depth;
};

/* What is certain where an expression is being elaborated: the conditions of the guards around it. */
typedef struct fact {
    node condition;   /* NODE_NONE: from here outwards nothing is certain about the indices in `hidden` */
    index_set hidden; /* they are bound anew */
    bool soft;        /* of a call's `where`: certain only where the function looks at what the `where` admits */
} fact;

/* Definitions that need each other's earlier values, being worked out together. */
typedef struct recurrence recurrence;
typedef struct member {
    const tree *t; /* DEFINE, OUTPUT or LET */
    recurrence *group;
    value bound;                   /* name and indices; in the end its node */
    bool state;                    /* it has a `from`; otherwise it is an intermediate value of the step */
    unsigned position;             /* of the stepping index among its own; its rank where it has none */
    node restriction[TENSOR_RANK]; /* a caller's `where` on each index; NODE_NONE: none */
    index_set set;                 /* a state's indices without that */
    value_type type;
    node init, previous, body;
    enum { MEMBER_WAITS, MEMBER_BEGUN, MEMBER_DONE } progress;
} member;
struct recurrence {
    member *member;
    unsigned count;
    index_id over; /* the stepping index */
    bool reverse;
    bool grows;  /* members of a `let`: their other indices come along */
    node domain; /* a caller's `where` on that index: the steps it excludes leave the states as they are; NODE_NONE:
                    none */
    const local *scope;
    const trail *where;
};

/* A reduction that became a scan. */
typedef struct prefix_known {
    reduction r;
    index_id over;
    node domain, body, scan;
} prefix_known;

/* One spec being elaborated. */
typedef struct module module;
struct module {
    graph *g;
    const spec *spec;
    diagnostics *d;
    bool training;
    const char *prefix; /* of parameter names: "layer0.attention." or "" */
    const char *group;  /* of parameters that name none */
    value *value;       /* added by add_value only; scopes that close set value_count back */
    size_t value_count, value_capacity;
    named_number *number; /* sizes and numbers */
    size_t number_count, number_capacity;
    name_table value_names, number_names;
    named_index index[GRAPH_INDICES];
    unsigned index_count;
    unsigned level;   /* depth of repeats */
    int64_t layer;    /* iteration of the innermost repeat */
    uint64_t steps;   /* expansion work so far */
    unsigned nesting; /* of expressions being expanded */
    bool gave_up;     /* the limit was reported */
    unsigned failed;  /* errors in this module */
    const tree *variant;
    const tree *causal; /* its statement */
    origins *origins;   /* or NULL */
    fact *fact;         /* innermost last */
    size_t fact_count, fact_capacity;
    bool soft_used; /* a proof needed a soft fact */
    prefix_known prefixes[64];
    unsigned prefix_count;
    index_set local_set; /* indices declared inside the expression being elaborated */
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

enum { EXTENT_LIMIT = 1 << 30 };

/* Calls within calls, expressions within expressions, and expressions in all: what a spec may expand to. The fuzzer's
 * build, which sanitizers slow down, allows fewer. */
#ifndef ATTNC_EXPANSION_STEPS
#define ATTNC_EXPANSION_STEPS 1000000
#endif
enum { EXPANSION_DEPTH = 100, EXPANSION_NESTING = 1500, EXPANSION_STEPS = ATTNC_EXPANSION_STEPS };

void module_error(module *m, span at, const trail *where, const char *hint, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void module_warning(module *m, span at, const trail *where, const char *hint, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
node expression(module *m, const tree *t, const local *scope, const trail *where); /* NODE_NONE after an error */
/* Warns where the integer n, written t, comes from a quotient that was rounded down and becomes a real number. */
void warn_of_quotient(module *m, const tree *t, node n, const local *scope, const trail *where);
/* One that is a condition (boolean) or a number (not). */
node operand(module *m, const tree *t, const local *scope, const trail *where, bool boolean);
/* Of what must be known now: sizes, rates, initial values. */
bool integer_value(module *m, const tree *t, const local *scope, const trail *where, int64_t *out);
bool constant_value(module *m, const tree *t, const local *scope, const trail *where, double *out);
const value *find_value(const module *m, const char *name);
value *add_value(module *m, const value *v);
named_number *find_number(const module *m, const char *name);
named_number *add_number(module *m, const char *name, double number, bool integer);
bool find_index(const module *m, const char *name, index_id *out);
bool is_builtin(const char *name); /* a function or reduction of the language itself */
const tree *find_function(const module *m, const tree *call);
node call_slot(module *m, const tree *call, node argument, const trail *where);
const char *suggest(const module *m, const char *name, const local *scope); /* NULL: nothing is near */
const char *suggest_number(const module *m, const char *name);
const char *suggest_variant(const module *m, const char *name);
const char *format_text(module *m, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A name that means nothing here: says so, with what may have been meant; NODE_NONE. */
node unknown_name(module *m, const tree *t, const local *scope, const trail *where, const char *what);
node call_expression(module *m, const tree *t, const local *scope, const trail *where);
node let_chain(module *m, const tree *t, const local *scope, const trail *where);
/* The indices that a name stands for, at most `room`, and the restriction a caller put on them (NODE_NONE: none); 0
 * after an error. Only an index parameter of a function that was given several stands for more than one. */
unsigned resolve_indices(module *m, const tree *t, const local *scope, const trail *where, index_id *index,
                         unsigned room, node *domain);
/* The same where it must be one. */
bool resolve_index(module *m, const tree *t, const local *scope, const trail *where, index_id *index, node *domain);
/* An index declared inside an expression, `n:30`: a variable that nothing in sight is. False after an error. */
bool declare_local_index(module *m, const tree *t, const local *scope, const trail *where, index_id *index);
/* Where t, which stands for the spec's index *index, is bound anew, and a name in sight means something that depends on
 * it (an argument or a `let` from where the index has another value): true, and *index is another variable of its
 * extent, to be made visible as t. */
bool renamed_index(module *m, const tree *t, const local *scope, const trail *where, index_id *index);
node guarded(module *m, node condition, node n); /* n where the condition holds, else 0 or false; NODE_NONE stays */
bool is_index(const module *m, const local *scope, const tree *t, index_id index);
bool is_step(const module *m, const local *scope, const tree *t, index_id index, int64_t step);

/* elaborate_power.c: an INT, exact; NODE_NONE where that cannot be known, and the power is a real number. Both are INT.
 */
enum { POWER_EXPONENT = 62, POWER_PRODUCT = 16 };
node integer_power(module *m, node base, node exponent);

/* elaborate_facts.c */
void facts_hold(module *m, node condition, bool soft); /* until fact_count is set back */
void facts_hide(module *m, index_set set);
/* An expression whose value may be read where indices have other values than here: of `own` nothing is certain inside
 * it, and where it needs the other guards around it, it is 0 outside them. NODE_NONE after an error. */
node movable_expression(module *m, const tree *t, index_set own, const local *scope, const trail *where);
/* Warns where `domain` may have no point in the indices `set`, of which a reduction t takes an extreme. */
void warn_of_nothing(module *m, const tree *t, const trail *where, index_set set, node domain);
/* Is the integer between low and high for certain? */
/* `require`: reports where its condition is not certain. */
void require_statement(module *m, const tree *t);
bool certainly_within(module *m, node n, int64_t low, int64_t high);
/* May an integer divide by this? Reports where it is 0 for certain indices; whether data makes it so is not asked. */
bool divides(module *m, const tree *t, node divisor, const trail *where);
/* Is `position` a value of `index` for certain? Reports where not. */
bool in_range(module *m, const tree *t, const trail *where, node position, index_id index);

/* elaborate_recurrence.c */
/* Which of n definitions depend on themselves or on each other. */
typedef struct cycles {
    unsigned count;
    unsigned *group; /* of each: members of a cycle share a number, 0: in none; NULL: no cycles at all */
    unsigned *first_edge, *edge;
} cycles;
cycles cycles_find(const tree *const *t, unsigned count); /* what is no DEFINE, OUTPUT or LET is in none */
void cycles_free(cycles *c);
/* Does one of the group `group` need definition k, outside the group, directly or through others outside it? */
void cycles_needed(const cycles *c, unsigned group, uint8_t *needed);
/* Works out the members' nodes; their names are visible to each other as the caller has arranged. False after an
 * error. */
bool recurrence_elaborate(module *m, recurrence *r);
/* A member read within its recurrence: the state before the step, or its value in this step. */
node member_value(module *m, member *k, bool before, const tree *t, const trail *where);

/* elaborate_tensor.c */
void tensor_statement(module *m, const tree *t);
void table_statement(module *m, const tree *t);

/* elaborate.c, for the others */
bool fresh_name(module *m, const tree *t); /* is the statement's name free? reports where not */
void add_named(module *m, value *named);   /* known from now on; without a node as broken */
bool indices_of(module *m, const tree *list, index_id *index, unsigned *rank);
bool covered(module *m, span at, const char *name, node n, index_set left);
bool module_begin(module *m, const elaboration *how);
void module_discard(module *m);
void size_statement(module *m, const tree *t);
index_set set_of(const index_id *index, unsigned rank);

/* Finds the spec's comment and citations, once its main file is parsed. */
void spec_find_comment(spec *s);

#endif
