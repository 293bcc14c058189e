/* The grammar of the spec language. Statements need no terminator: no expression can be followed by a name. Actions
 * only build the tree. */
%code requires {
#include "parse_internal.h"
}
%code provides {
int att_lex(ATT_STYPE *value, ATT_LTYPE *location, void *scanner);
}
%define api.pure full
%define api.prefix {att_}
%define api.location.type {parse_span}
%define parse.error custom
%define parse.lac full
%locations
%parse-param {parsing *p} {void *scanner}
%lex-param {parsing *p} {void *scanner}
%expect 0

%union {
    const char *text;
    struct { double value; int64_t whole; bool integer; } number;
    tree *tree;
}

%code {
#include <string.h>

#define YYLLOC_DEFAULT(current, rhs, n)                                                                                \
    do {                                                                                                               \
        if (n) {                                                                                                       \
            (current).begin = YYRHSLOC(rhs, 1).begin;                                                                  \
            (current).end   = YYRHSLOC(rhs, n).end;                                                                    \
        } else {                                                                                                       \
            (current).begin = (current).end = YYRHSLOC(rhs, 0).end;                                                    \
        }                                                                                                              \
    } while (0)

/* Bison calls this for lack of stack only: syntax errors go to yyreport_syntax_error. */
static void att_error(const parse_span *at, parsing *p, void *scanner, const char *text) {
    (void)scanner;
    (void)text;
    parse_report(p, *at, "this is nested too deeply", NULL);
}

static int next_token(ATT_STYPE *value, ATT_LTYPE *location, parsing *p, void *scanner) {
    int token;
    do
        token = att_lex(value, location, scanner);
    while (!parse_delivers(p, token, *location));
    return token;
}
#undef yylex
#define yylex next_token
}

%token <text> NAME "a name" LABEL "a name before ':'" STRING "a string"
%token <number> NUMBER "a number"
%token END 0 "the end of the file"
%token INCLUDE "include" MECHANISM "mechanism" MODEL "model" OPTIMIZER "optimizer" LIBRARY "library" SIZE "size"
%token NUMBER_KEY "number" VARIANT "variant" INDEX "index" INPUT "input" PARAM "param" FN "fn" OUTPUT "output"
%token LOSS "loss" REPEAT "repeat" EACH "each" STATE "state" FROM "from" AS "as" WHERE "where" LET "let" IN "in"
%token CAUSAL "causal" REQUIRE "require" TABLE "table" IF "if" THEN "then" ELSE "else" AND "and" OR "or" NOT "not"
%token BECOMES ":=" LESS_EQUAL "<=" GREATER_EQUAL ">=" EQUALS "==" DIFFERS "!="

%type <tree> statements statement sizes size constants constant bindings binding labels params param names indices
%type <tree> domain expressions expression disjunction conjunction negation comparison chain sum term factor power
%type <tree> initialised guarded bracket bracketed let let_indices let_index from rows row primary lets initialiser group states formals formal optional_formals bounds function_indices arguments title
%type <text> comparator name

%%

file: statements { p->result = $1; }

statements:
    %empty { $$ = NULL; }
  | statements statement { $$ = parse_append($1, $2); }

statement:
    INCLUDE STRING { $$ = parse_tree(p, TREE_INCLUDE, @$, $2); }
  | MECHANISM NAME title { $$ = parse_head(p, @$, $2, $3, 1); }
  | MODEL NAME title { $$ = parse_head(p, @$, $2, $3, 2); }
  | OPTIMIZER NAME title { $$ = parse_head(p, @$, $2, $3, 3); }
  | LIBRARY NAME title { $$ = parse_head(p, @$, $2, $3, 0); }
  | SIZE sizes { $$ = $2; }
  | NUMBER_KEY constants { $$ = $2; }
  | VARIANT NAME '{' bindings '}' { $$ = parse_tree(p, TREE_VARIANT, @2, $2); $$->a = $4; }
  | INDEX labels { $$ = $2; }
  | CAUSAL name { $$ = parse_tree(p, TREE_CAUSAL, @2, $2); }
  | REQUIRE expression title { $$ = parse_tree(p, TREE_REQUIRE, @2, NULL); $$->a = $2; $$->b = $3; }
  | TABLE name indices '=' row { $$ = parse_definition(p, TREE_TABLE, @2, $2, $3, $5, NULL); }
  | INPUT params { $$ = parse_inputs(p, $2, NULL); }
  | INPUT params ':' NAME { $$ = parse_typed_inputs(p, $2, $4, @4, NULL); }
  | INPUT params ':' NAME '<' sum { $$ = parse_typed_inputs(p, $2, $4, @4, $6); }
  | INPUT LABEL ':' NAME { $$ = parse_typed_inputs(p, parse_tree(p, TREE_INPUT, @2, $2), $4, @4, NULL); }
  | INPUT LABEL ':' NAME '<' sum { $$ = parse_typed_inputs(p, parse_tree(p, TREE_INPUT, @2, $2), $4, @4, $6); }
  | PARAM initialised { $$ = $2; }
  | PARAM params { $$ = parse_params(p, $2, NULL, NULL); }
  | FN name function_indices '(' optional_formals ')' '=' guarded {
        $$ = parse_tree(p, TREE_FUNCTION, @2, $2); $$->a = $3; $$->b = $5; $$->c = $8; }
  | OUTPUT name indices '=' guarded from { $$ = parse_definition(p, TREE_OUTPUT, @2, $2, $3, $5, $6); }
  | LOSS name '=' guarded { $$ = parse_definition(p, TREE_LOSS, @2, $2, NULL, $4, NULL); }
  | name indices '=' guarded from { $$ = parse_definition(p, TREE_DEFINE, @1, $1, $2, $4, $5); }
  | name indices BECOMES guarded { $$ = parse_definition(p, TREE_UPDATE, @1, $1, $2, $4, NULL); }
  | REPEAT LABEL ':' sum '{' { parse_body_begin(p); } statements '}' {
        parse_body_end(p); $$ = parse_tree(p, TREE_REPEAT, @2, $2); $$->a = $4; $$->b = $7; }
  | EACH name ',' name { $$ = parse_tree(p, TREE_EACH, @$, $2); $$->a = parse_tree(p, TREE_NAME, @4, $4); }
  | STATE states FROM expression { $$ = parse_states($2, $4); }
  | error {
        $$ = NULL;
        if (yychar != END) { /* the end is no way to go on */
            if (!parse_recover(p))
                yyclearin;
            yyerrok;
        }
    }

/* Words that only begin statements are names elsewhere. */
name:
    NAME { $$ = $1; }
  | CAUSAL { $$ = "causal"; }
  | REQUIRE { $$ = "require"; }
  | TABLE { $$ = "table"; }
  | EACH { $$ = "each"; }
  | STATE { $$ = "state"; }
  | VARIANT { $$ = "variant"; }
  | MECHANISM { $$ = "mechanism"; }
  | MODEL { $$ = "model"; }
  | OPTIMIZER { $$ = "optimizer"; }
  | LIBRARY { $$ = "library"; }
  | INDEX { $$ = "index"; }
  | SIZE { $$ = "size"; }
  | NUMBER_KEY { $$ = "number"; }
  | INPUT { $$ = "input"; }
  | PARAM { $$ = "param"; }
  | OUTPUT { $$ = "output"; }
  | LOSS { $$ = "loss"; }

from:
    %empty { $$ = NULL; }
  | FROM expression { $$ = $2; }
  | FROM expression misplaced { $$ = $2; }
misplaced: domain {
        parse_report(p, @1, "`where` cannot stand after `from`",
                     "before it, `… where c from 0` is 0 outside c; `if c then … else y[t-1]` keeps the state there"); }

row: '[' rows ']' { $$ = parse_tree(p, TREE_ROW, @$, NULL); $$->a = $2; }
rows:
    sum { $$ = $1; }
  | row { $$ = $1; }
  | rows ',' sum { $$ = parse_append($1, $3); }
  | rows ',' row { $$ = parse_append($1, $3); }

title:
    %empty { $$ = NULL; }
  | STRING { $$ = parse_tree(p, TREE_STRING, @1, $1); }

sizes:
    size { $$ = $1; }
  | sizes ',' size { $$ = parse_append($1, $3); }
size:
    name { $$ = parse_tree(p, TREE_SIZE, @1, $1); }
  | name '=' sum { $$ = parse_tree(p, TREE_SIZE, @1, $1); $$->a = $3; }

constants:
    constant { $$ = $1; }
  | constants ',' constant { $$ = parse_append($1, $3); }
constant: name '=' sum { $$ = parse_tree(p, TREE_CONSTANT, @1, $1); $$->a = $3; }

bindings:
    binding { $$ = $1; }
  | bindings ',' binding { $$ = parse_append($1, $3); }
binding: name '=' sum { $$ = parse_tree(p, TREE_SIZE, @1, $1); $$->a = $3; }

labels:
    LABEL ':' sum { $$ = parse_tree(p, TREE_INDEX, @1, $1); $$->a = $3; }
  | labels LABEL ':' sum { tree *t = parse_tree(p, TREE_INDEX, @2, $2); t->a = $4; $$ = parse_append($1, t); }
  | labels ',' LABEL ':' sum { tree *t = parse_tree(p, TREE_INDEX, @3, $3); t->a = $5; $$ = parse_append($1, t); }

params:
    param { $$ = $1; }
  | params ',' param { $$ = parse_append($1, $3); }
initialised:
    params '~' initialiser group { $$ = parse_params(p, $1, $3, $4); }
  | initialised ',' params '~' initialiser group { $$ = parse_append($1, parse_params(p, $3, $5, $6)); }
param: name indices { $$ = parse_tree(p, TREE_PARAM, @1, $1); $$->a = $2; }

states:
    name { $$ = parse_tree(p, TREE_STATE, @1, $1); }
  | states ',' name { $$ = parse_append($1, parse_tree(p, TREE_STATE, @3, $3)); }

indices:
    %empty { $$ = NULL; }
  | '[' names ']' { $$ = $2; }

names:
    name { $$ = parse_tree(p, TREE_NAME, @1, $1); }
  | names ',' name { $$ = parse_append($1, parse_tree(p, TREE_NAME, @3, $3)); }

initialiser:
    NAME { $$ = parse_tree(p, TREE_CALL, @1, $1); }
  | NAME '(' expressions ')' { $$ = parse_tree(p, TREE_CALL, @$, $1); $$->a = $3; }
group:
    %empty { $$ = NULL; }
  | AS NAME { $$ = parse_tree(p, TREE_NAME, @2, $2); }

function_indices:
    %empty { $$ = NULL; }
  | '[' bounds ']' { $$ = $2; }
bounds:
    name { $$ = parse_tree(p, TREE_BOUND, @1, $1); }
  | bounds ',' name { $$ = parse_append($1, parse_tree(p, TREE_BOUND, @3, $3)); }

optional_formals:
    %empty { $$ = NULL; }
  | formals { $$ = $1; }
formals:
    formal { $$ = $1; }
  | formals ',' formal { $$ = parse_append($1, $3); }
formal: name indices { $$ = parse_tree(p, TREE_READ, @1, $1); $$->a = $2; }

expression:
    disjunction { $$ = $1; }
  | IF expression THEN expression ELSE expression { $$ = parse_tree(p, TREE_IF, @$, NULL); $$->a = $2; $$->b = $4; $$->c = $6; }
  | lets { $$ = $1; }

guarded:
    expression { $$ = $1; }
  | expression domain { $$ = parse_tree(p, TREE_WHERE, @1, NULL); $$->a = $1; $$->b = $2; }

lets:
    let IN expression { $$ = $1; $$->c = $3; }
  | let lets { $$ = $1; $$->c = $2; }
let:
    LET name let_indices '=' guarded from {
        $$ = parse_tree(p, TREE_LET, @2, $2); $$->a = $3; $$->b = $5; $$->d = $6; }
let_indices:
    %empty { $$ = NULL; }
  | '[' let_index ']' { $$ = $2; }
let_index:
    name { $$ = parse_tree(p, TREE_NAME, @1, $1); }
  | LABEL ':' sum { $$ = parse_tree(p, TREE_INDEX, @1, $1); $$->a = $3; }
  | let_index ',' name { $$ = parse_append($1, parse_tree(p, TREE_NAME, @3, $3)); }
  | let_index ',' LABEL ':' sum { tree *t = parse_tree(p, TREE_INDEX, @3, $3); t->a = $5; $$ = parse_append($1, t); }

disjunction:
    conjunction { $$ = $1; }
  | disjunction OR conjunction { $$ = parse_binary(p, @$, "or", $1, $3); }
conjunction:
    negation { $$ = $1; }
  | conjunction AND negation { $$ = parse_binary(p, @$, "and", $1, $3); }
negation:
    comparison { $$ = $1; }
  | NOT negation { $$ = parse_unary(p, @$, "not", $2); }
comparison:
    sum { $$ = $1; }
  | chain { $$ = $1; }
chain:
    sum comparator sum { $$ = parse_binary(p, @$, $2, $1, $3); }
  | chain comparator sum { $$ = parse_chain(p, @$, $2, $1, $3); }
comparator:
    '<' { $$ = "<"; }
  | '>' { $$ = ">"; }
  | LESS_EQUAL { $$ = "<="; }
  | GREATER_EQUAL { $$ = ">="; }
  | EQUALS { $$ = "=="; }
  | DIFFERS { $$ = "!="; }
sum:
    term { $$ = $1; }
  | sum '+' term { $$ = parse_binary(p, @$, "+", $1, $3); }
  | sum '-' term { $$ = parse_binary(p, @$, "-", $1, $3); }
term:
    factor { $$ = $1; }
  | term '*' factor { $$ = parse_binary(p, @$, "*", $1, $3); }
  | term '/' factor { $$ = parse_binary(p, @$, "/", $1, $3); }
  | term '%' factor { $$ = parse_binary(p, @$, "%", $1, $3); }
factor:
    power { $$ = $1; }
  | '-' factor { $$ = parse_unary(p, @$, "-", $2); }
power:
    primary { $$ = $1; }
  | primary '^' factor { $$ = parse_binary(p, @$, "^", $1, $3); }
primary:
    NUMBER { $$ = parse_number(p, @1, $1.value, $1.whole, $1.integer); }
  | name { $$ = parse_tree(p, TREE_NAME, @1, $1); }
  | '(' guarded ')' { $$ = $2; }
  | name '(' arguments ')' { $$ = parse_tree(p, TREE_CALL, @$, $1); $$->a = $3; }
  | name '[' bracket ']' { $$ = parse_tree(p, TREE_READ, @$, $1); $$->a = $3; }
  | name '[' bracket domain ']' '(' arguments ')' {
        $$ = parse_tree(p, TREE_CALL, @$, $1); $$->a = $7; $$->b = $3; $$->c = $4; }
  | name '[' bracket ']' '(' arguments ')' { $$ = parse_tree(p, TREE_CALL, @$, $1); $$->a = $6; $$->b = $3; }
domain: WHERE expression { $$ = $2; }
bracket:
    bracketed { $$ = $1; }
  | bracket ',' bracketed { $$ = parse_append($1, $3); }
bracketed:
    expression { $$ = $1; }
  | LABEL ':' sum { $$ = parse_tree(p, TREE_INDEX, @1, $1); $$->a = $3; }

arguments:
    %empty { $$ = NULL; }
  | expressions { $$ = $1; }
expressions:
    expression { $$ = $1; }
  | expressions ',' expression { $$ = parse_append($1, $3); }
%%

static int yyreport_syntax_error(const yypcontext_t *context, parsing *p, void *scanner) {
    enum { MANY = 5 };
    (void)scanner;
    yysymbol_kind_t expected[YYNTOKENS], token = yypcontext_token(context);
    const char *name[MANY];
    int count = yypcontext_expected_tokens(context, expected, YYNTOKENS), named = 0;
    bool statement = false, value = false, naming = false, then = false, in = false, parenthesis = false, bracket = false;
    for (int i = 0; i < count; i++) {
        statement |= expected[i] == YYSYMBOL_FN; /* words that begin nothing else */
        then |= expected[i] == YYSYMBOL_THEN;
        in |= expected[i] == YYSYMBOL_IN;
        value |= expected[i] == YYSYMBOL_NUMBER;
        naming |= expected[i] == YYSYMBOL_NAME || expected[i] == YYSYMBOL_LABEL;
        parenthesis |= strcmp(yysymbol_name(expected[i]), "')'") == 0;
        bracket |= strcmp(yysymbol_name(expected[i]), "']'") == 0;
        if (named < MANY)
            name[named++] = yysymbol_name(expected[i]);
    }
    if (parse_reserved(p, naming, value, statement))
        return 0;
    const char *wanted = value         ? "an expression is expected"
                         : parenthesis ? "is a `)` missing before it?"
                         : bracket     ? "is a `]` missing before it?"
                         : then        ? "is `then` missing before it?"
                         : in          ? "is `in` missing before it?"
                         : statement   ? "a statement is expected"
                         : naming && count > MANY ? "a name is expected"
                                       : NULL;
    parse_unexpected(p, *yypcontext_location(context), token == YYSYMBOL_YYEOF, wanted, name,
                     count > MANY ? 0 : (unsigned)count);
    return 0;
}
