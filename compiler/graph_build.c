/* Construction of nodes: types are promoted, constants folded, the unit laws applied. Every rewrite keeps the value for
 * all finite inputs; those that could turn an infinity or NaN into a number (x*0, x-x) are not made. */
#include "graph_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RESULT_SAME, RESULT_FLOAT, RESULT_INT, RESULT_BOOL };

static const struct {
    const char *text;
    unsigned arity;
    int result;
} operation[] = {
#define OP(name, text, arity, result) [NODE_##name] = {text, arity, RESULT_##result},
#include "ops.def"
#undef OP
};

bool graph_op_is_pointwise(node_op op) {
    return op > NODE_TENSOR && op < NODE_REDUCE;
}

unsigned graph_op_arity(node_op op) {
    return graph_op_is_pointwise(op) ? operation[op].arity : 0;
}

const char *graph_op_name(node_op op) {
    if (graph_op_is_pointwise(op))
        return operation[op].text;
    switch (op) {
    case NODE_FLOAT:
    case NODE_INT:
        return "constant";
    case NODE_INDEX:
        return "index";
    case NODE_TENSOR:
        return "tensor";
    case NODE_REDUCE:
        return "reduce";
    case NODE_GATHER:
        return "gather";
    case NODE_SCAN:
        return "scan";
    case NODE_PREVIOUS:
        return "previous";
    case NODE_TOPK:
        return "topk";
    case NODE_SOLVE:
        return "solve";
    case NODE_CHOSEN:
        return "chosen";
    case NODE_RANDOM:
        return "random";
    case NODE_BEGIN:
        return "begin";
    case NODE_END:
        return "end";
    case NODE_HELD:
        return "held";
    default:
        return "invalid";
    }
}

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

node graph_float(graph *g, double value) {
    node_proto p = {.op = NODE_FLOAT, .type = TYPE_FLOAT};
    if (value == 0)
        value = 0; /* one zero */
    memcpy(&p.payload, &value, sizeof value);
    return graph_intern(g, &p);
}

node graph_int(graph *g, int64_t value) {
    return graph_intern(g, &(node_proto){.op = NODE_INT, .type = TYPE_INT, .payload = (uint64_t)value});
}

node graph_bool(graph *g, bool value) {
    return graph_intern(g, &(node_proto){.op = NODE_INT, .type = TYPE_BOOL, .payload = value});
}

node graph_index_value(graph *g, index_id i) {
    if (g->index[i].extent == 1)
        return graph_int(g, 0);
    return graph_intern(g, &(node_proto){.op = NODE_INDEX, .type = TYPE_INT, .vars = bit(i), .free = bit(i)});
}

bool graph_is_constant(const graph *g, node n, double *value) {
    const node_record *r = &g->node[n];
    double x;
    if (r->op == NODE_FLOAT)
        memcpy(&x, &r->payload, sizeof x);
    else if (r->op == NODE_INT)
        x = (double)(int64_t)r->payload;
    else
        return false;
    if (value)
        *value = x;
    return true;
}

static bool is_number(const graph *g, node n, double wanted) {
    double x;
    return graph_is_constant(g, n, &x) && x == wanted;
}

bool graph_is_guarded(const graph *g, node n) {
    return g->node[n].op == NODE_SELECT && is_number(g, g->child[g->node[n].first_child + 2], 0);
}

node graph_to_type(graph *g, node n, value_type type) {
    value_type have = (value_type)g->node[n].type;
    if (have == type || type == TYPE_BOOL)
        return n;
    double x;
    if (graph_is_constant(g, n, &x))
        return type == TYPE_FLOAT ? graph_float(g, x) : graph_int(g, (int64_t)x);
    if (type == TYPE_INT) /* BOOL as a number */
        return graph_select(g, n, graph_int(g, 1), graph_int(g, 0));
    return graph_intern(
        g,
        &(node_proto){.op = NODE_TO_FLOAT, .type = TYPE_FLOAT, .child_count = 1, .child = &n, .free = g->node[n].free});
}

int64_t graph_integer_below(double x) {
    const double limit = 4611686018427387904.0; /* 2^62 */
    return isnan(x) ? 0 : (int64_t)floor(x < -limit ? -limit : x > limit ? limit : x);
}

static node to_integer(graph *g, node n) {
    double x;
    if (g->node[n].type != TYPE_FLOAT)
        return graph_to_type(g, n, TYPE_INT);
    if (graph_is_constant(g, n, &x))
        return graph_int(g, graph_integer_below(x));
    if (g->node[n].op == NODE_TO_FLOAT) /* back to what it was */
        return graph_to_type(g, g->child[g->node[n].first_child], TYPE_INT);
    return graph_intern(
        g, &(node_proto){.op = NODE_TO_INT, .type = TYPE_INT, .child_count = 1, .child = &n, .free = g->node[n].free});
}

static bool fold_float(node_op op, double a, double b, double *out) {
    switch (op) {
    case NODE_ADD:
        *out = a + b;
        return true;
    case NODE_SUB:
        *out = a - b;
        return true;
    case NODE_MUL:
        *out = a * b;
        return true;
    case NODE_DIV:
        *out = a / b;
        return true;
    case NODE_NEG:
        *out = -a;
        return true;
    case NODE_MINIMUM:
        *out = a < b ? a : b;
        return true;
    case NODE_MAXIMUM:
        *out = a > b ? a : b;
        return true;
    case NODE_POW:
        *out = pow(a, b);
        return true;
    case NODE_EXP:
        *out = exp(a);
        return true;
    case NODE_LOG:
        *out = log(a);
        return true;
    case NODE_LOG1P:
        *out = log1p(a);
        return true;
    case NODE_SQRT:
        *out = sqrt(a);
        return true;
    case NODE_SIN:
        *out = sin(a);
        return true;
    case NODE_COS:
        *out = cos(a);
        return true;
    case NODE_TANH:
        *out = tanh(a);
        return true;
    case NODE_ERF:
        *out = erf(a);
        return true;
    case NODE_ABS:
        *out = fabs(a);
        return true;
    case NODE_FLOOR:
        *out = floor(a);
        return true;
    case NODE_LESS:
        *out = a < b;
        return true;
    case NODE_LESS_EQUAL:
        *out = a <= b;
        return true;
    case NODE_EQUAL:
        *out = a == b;
        return true;
    default:
        return false;
    }
}

static bool fold_int(node_op op, int64_t a, int64_t b, int64_t *out) {
    switch (op) {
    case NODE_ADD:
        return !__builtin_add_overflow(a, b, out);
    case NODE_SUB:
        return !__builtin_sub_overflow(a, b, out);
    case NODE_MUL:
        return !__builtin_mul_overflow(a, b, out);
    case NODE_DIV:
        if (b == 0 || (a == INT64_MIN && b == -1))
            return false;
        *out = a / b - (a % b != 0 && (a < 0) != (b < 0));
        return true;
    case NODE_MOD:
        if (b == 0 || b == -1)
            return false;
        *out = a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0);
        return true;
    case NODE_NEG:
        return !__builtin_sub_overflow((int64_t)0, a, out);
    case NODE_ABS:
        if (a == INT64_MIN)
            return false;
        *out = a < 0 ? -a : a;
        return true;
    case NODE_MINIMUM:
        *out = a < b ? a : b;
        return true;
    case NODE_MAXIMUM:
        *out = a > b ? a : b;
        return true;
    case NODE_LESS:
        *out = a < b;
        return true;
    case NODE_LESS_EQUAL:
        *out = a <= b;
        return true;
    case NODE_EQUAL:
        *out = a == b;
        return true;
    default:
        return false;
    }
}

static node fold(graph *g, node_op op, value_type type, const node *child, unsigned arity) {
    const node_record *a = &g->node[child[0]], *b = arity > 1 ? &g->node[child[1]] : a;
    double x, y                                   = 0, out;
    int64_t integer;
    if (a->op == NODE_INT && b->op == NODE_INT) {
        if (!fold_int(op, (int64_t)a->payload, (int64_t)b->payload, &integer))
            return NODE_NONE;
        return type == TYPE_BOOL ? graph_bool(g, integer) : graph_int(g, integer);
    }
    if (!graph_is_constant(g, child[0], &x) || (arity > 1 && !graph_is_constant(g, child[1], &y)) ||
        !fold_float(op, x, y, &out))
        return NODE_NONE;
    return type == TYPE_BOOL ? graph_bool(g, out != 0) : graph_float(g, out);
}

static node unit_laws(graph *g, node_op op, node a, node b, node c) {
    switch (op) {
    case NODE_ADD:
        return is_number(g, b, 0) ? a : is_number(g, a, 0) ? b : NODE_NONE;
    case NODE_SUB:
        return is_number(g, b, 0) ? a : is_number(g, a, 0) ? graph_neg(g, b) : NODE_NONE;
    case NODE_MUL:
        if (is_number(g, a, 1))
            return b;
        if (is_number(g, b, 1))
            return a;
        return is_number(g, b, -1) ? graph_neg(g, a) : is_number(g, a, -1) ? graph_neg(g, b) : NODE_NONE;
    case NODE_DIV:
        if (is_number(g, b, 1))
            return a;
        if (g->node[a].type == TYPE_FLOAT && graph_is_constant(g, b, NULL) && !is_number(g, b, 0)) {
            double d;
            graph_is_constant(g, b, &d);
            int exponent;
            if (fabs(frexp(d, &exponent)) == 0.5) /* exact reciprocal */
                return graph_mul(g, a, graph_float(g, 1 / d));
        }
        return NODE_NONE;
    case NODE_NEG:
        return g->node[a].op == NODE_NEG ? g->child[g->node[a].first_child] : NODE_NONE;
    case NODE_MINIMUM:
    case NODE_MAXIMUM:
        return a == b ? a : NODE_NONE;
    case NODE_LESS_EQUAL:
    case NODE_EQUAL:
        return a == b && g->node[a].type != TYPE_FLOAT ? graph_bool(g, true) : NODE_NONE;
    case NODE_LESS:
        return a == b ? graph_bool(g, false) : NODE_NONE;
    case NODE_AND:
        if (is_number(g, a, 1) || a == b)
            return b;
        return is_number(g, b, 1) ? a : is_number(g, a, 0) ? a : is_number(g, b, 0) ? b : NODE_NONE;
    case NODE_OR:
        if (is_number(g, a, 0) || a == b)
            return b;
        return is_number(g, b, 0) ? a : is_number(g, a, 1) ? a : is_number(g, b, 1) ? b : NODE_NONE;
    case NODE_NOT:
        if (graph_is_constant(g, a, NULL))
            return graph_bool(g, is_number(g, a, 0));
        return g->node[a].op == NODE_NOT ? g->child[g->node[a].first_child] : NODE_NONE;
    case NODE_SELECT:
        if (graph_is_constant(g, a, NULL))
            return is_number(g, a, 0) ? c : b;
        if (b == c)
            return b;
        /* one form for "0 where": the zero comes last, and there is one condition */
        if (is_number(g, b, 0) && !is_number(g, c, 0) && g->node[c].type == TYPE_FLOAT)
            return graph_select(g, graph_pointwise(g, NODE_NOT, a, NODE_NONE, NODE_NONE), c, b);
        if (is_number(g, c, 0) && g->node[b].type == TYPE_FLOAT && graph_is_guarded(g, b)) {
            const node *inner = &g->child[g->node[b].first_child];
            node then         = inner[1];
            return graph_select(g, graph_and(g, a, inner[0]), then, c);
        }
        return NODE_NONE;
    case NODE_STOP:
        return graph_is_constant(g, a, NULL) || g->node[a].op == NODE_STOP || g->node[a].type != TYPE_FLOAT ? a
                                                                                                            : NODE_NONE;
    default:
        return NODE_NONE;
    }
}

node graph_pointwise(graph *g, node_op op, node a, node b, node c) {
    assert(graph_op_is_pointwise(op));
    node child[3]   = {a, b, c};
    unsigned arity  = operation[op].arity;
    value_type type = TYPE_BOOL;
    if (op == NODE_TO_FLOAT)
        return graph_to_type(g, a, TYPE_FLOAT);
    if (op == NODE_TO_INT)
        return to_integer(g, a);
    if (operation[op].result == RESULT_FLOAT)
        type = TYPE_FLOAT;
    else if (op != NODE_AND && op != NODE_OR && op != NODE_NOT)
        for (unsigned i = op == NODE_SELECT; i < arity; i++)
            if (g->node[child[i]].type > type)
                type = (value_type)g->node[child[i]].type;
    if (type == TYPE_BOOL &&
        (op == NODE_ADD || op == NODE_SUB || op == NODE_MUL || op == NODE_NEG || op == NODE_DIV || op == NODE_MOD))
        type = TYPE_INT;
    for (unsigned i = op == NODE_SELECT; i < arity; i++)
        child[i] = graph_to_type(g, child[i], type);
    if (operation[op].result == RESULT_BOOL)
        type = TYPE_BOOL;

    node simple = op == NODE_SELECT ? NODE_NONE : fold(g, op, type, child, arity);
    if (!simple)
        simple = unit_laws(g, op, child[0], child[1], child[2]);
    if (simple)
        return simple;
    bool commutes = op == NODE_ADD || op == NODE_MUL || op == NODE_MINIMUM || op == NODE_MAXIMUM || op == NODE_EQUAL ||
                    op == NODE_AND || op == NODE_OR;
    if (commutes && child[0] > child[1]) {
        node swap = child[0];
        child[0]  = child[1];
        child[1]  = swap;
    }
    index_set free = 0;
    for (unsigned i = 0; i < arity; i++)
        free |= g->node[child[i]].free;
    return graph_intern(g, &(node_proto){.op = op, .type = type, .child_count = arity, .child = child, .free = free});
}

node graph_add(graph *g, node a, node b) {
    return graph_pointwise(g, NODE_ADD, a, b, NODE_NONE);
}

node graph_sub(graph *g, node a, node b) {
    return graph_pointwise(g, NODE_SUB, a, b, NODE_NONE);
}

node graph_mul(graph *g, node a, node b) {
    return graph_pointwise(g, NODE_MUL, a, b, NODE_NONE);
}

node graph_div(graph *g, node a, node b) {
    return graph_pointwise(g, NODE_DIV, a, b, NODE_NONE);
}

node graph_neg(graph *g, node a) {
    return graph_pointwise(g, NODE_NEG, a, NODE_NONE, NODE_NONE);
}

node graph_and(graph *g, node a, node b) {
    return graph_pointwise(g, NODE_AND, a, b, NODE_NONE);
}

node graph_select(graph *g, node condition, node then, node otherwise) {
    return graph_pointwise(g, NODE_SELECT, condition, then, otherwise);
}

static node identity_of(graph *g, reduction r, value_type type) {
    switch (r) {
    case REDUCE_SUM:
        return type == TYPE_INT ? graph_int(g, 0) : graph_float(g, 0);
    case REDUCE_PRODUCT:
        return type == TYPE_INT ? graph_int(g, 1) : graph_float(g, 1);
    case REDUCE_MAX:
        return type == TYPE_INT ? graph_int(g, INT64_MIN) : graph_float(g, -INFINITY);
    case REDUCE_MIN:
        return type == TYPE_INT ? graph_int(g, INT64_MAX) : graph_float(g, INFINITY);
    case REDUCE_ANY:
        return graph_bool(g, false);
    default:
        return graph_bool(g, true);
    }
}

node graph_reduce(graph *g, reduction r, index_set vars, node domain, node body) {
    if (!domain)
        domain = graph_bool(g, true);
    if (r == REDUCE_ANY || r == REDUCE_ALL)
        assert(g->node[body].type == TYPE_BOOL);
    else if (g->node[body].type == TYPE_BOOL)
        body = graph_to_type(g, body, TYPE_INT);
    value_type type = (value_type)g->node[body].type;
    if (is_number(g, domain, 0))
        return identity_of(g, r, type);
    index_set idle = vars & ~(g->node[body].free | g->node[domain].free);
    if (idle) { /* the body is the same at every value of these */
        vars &= ~idle;
        if (r == REDUCE_SUM)
            body = graph_mul(g, body, graph_to_type(g, graph_int(g, graph_space(g, idle)), type));
        else if (r == REDUCE_PRODUCT && type == TYPE_FLOAT)
            body = graph_pointwise(g, NODE_POW, body, graph_float(g, (double)graph_space(g, idle)), NODE_NONE);
        else if (r == REDUCE_PRODUCT)
            vars |= idle;
    }
    if (!vars)
        return graph_select(g, domain, body, identity_of(g, r, type));
    if (r == REDUCE_SUM && type == TYPE_FLOAT) {
        if (is_number(g, body, 0))
            return body;
        if (g->node[body].op == NODE_NEG) {
            node operand = g->child[g->node[body].first_child];
            return graph_neg(g, graph_reduce(g, r, vars, domain, operand));
        }
    }
    node child[2]  = {domain, body};
    index_set free = (g->node[domain].free | g->node[body].free) & ~vars;
    return graph_intern(g, &(node_proto){.op          = NODE_REDUCE,
                                         .type        = type,
                                         .reduction   = r,
                                         .vars        = vars,
                                         .child_count = 2,
                                         .child       = child,
                                         .free        = free});
}

enum { SUBSTITUTION_WORK = 256 };

/* Substitution carried out inside index arithmetic, which is cheap to repeat; NODE_NONE where n is not that, or where
 * its shared parts are too many to write out. */
static node substitute(graph *g, node n, unsigned count, const index_id *substituted, const node *expression,
                       unsigned *work) {
    const node_record r = g->node[n];
    if (r.op == NODE_INDEX) {
        for (unsigned i = 0; i < count; i++)
            if (r.free == bit(substituted[i]))
                return expression[i];
        return n;
    }
    index_set touched = 0;
    for (unsigned i = 0; i < count; i++)
        touched |= bit(substituted[i]);
    if (!(r.free & touched))
        return n;
    if (++*work > SUBSTITUTION_WORK || !graph_op_is_pointwise((node_op)r.op) || r.op == NODE_TO_INT ||
        (r.type == TYPE_FLOAT && r.op != NODE_TO_FLOAT))
        return NODE_NONE;
    node child[3] = {NODE_NONE, NODE_NONE, NODE_NONE};
    for (unsigned i = 0; i < r.child_count; i++) {
        child[i] = substitute(g, g->child[r.first_child + i], count, substituted, expression, work);
        if (!child[i])
            return NODE_NONE;
    }
    return graph_pointwise(g, (node_op)r.op, child[0], child[1], child[2]);
}

node graph_gather(graph *g, node body, unsigned count, const index_id *substituted, const node *expression) {
    index_id kept[GRAPH_INDICES];
    node child[GRAPH_INDICES + 1];
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++) {
        const node_record *e = &g->node[expression[i]];
        assert(e->type == TYPE_INT);
        bool identity = e->op == NODE_INDEX && e->free == bit(substituted[i]);
        if (identity || !(g->node[body].free & bit(substituted[i])))
            continue;
        unsigned at = n++; /* kept in order of index, so that equal substitutions are one node */
        for (; at > 0 && kept[at - 1] > substituted[i]; at--) {
            kept[at]      = kept[at - 1];
            child[at + 1] = child[at];
        }
        kept[at]      = substituted[i];
        child[at + 1] = expression[i];
    }
    if (n == 0)
        return body;
    unsigned work = 0;
    node simple   = substitute(g, body, n, kept, child + 1, &work);
    if (simple)
        return simple;
    if (g->node[body].op == NODE_GATHER) { /* a gather of a gather is one */
        node_view inner  = graph_view(g, body);
        unsigned inner_n = inner.child_count - 1;
        index_id both[GRAPH_INDICES];
        node value[GRAPH_INDICES], from[GRAPH_INDICES];
        node base       = inner.child[0];
        index_set bound = 0;
        unsigned total  = 0;
        for (unsigned i = 0; i < inner_n; i++) {
            both[total] = inner.substituted[i];
            from[total] = inner.child[i + 1];
            bound |= bit(both[total++]);
        }
        for (unsigned i = 0; i < inner_n; i++)
            value[i] = graph_gather(g, from[i], n, kept, child + 1);
        for (unsigned i = 0; i < n; i++)
            if (!(bound & bit(kept[i])) && (g->node[base].free & bit(kept[i]))) {
                both[total]    = kept[i];
                value[total++] = child[i + 1];
            }
        return graph_gather(g, base, total, both, value);
    }
    child[0]           = body;
    index_set replaced = 0, free = 0;
    for (unsigned i = 0; i < n; i++) {
        replaced |= bit(kept[i]);
        free |= g->node[child[i + 1]].free;
    }
    free |= g->node[body].free & ~replaced;
    return graph_intern(g, &(node_proto){.op          = NODE_GATHER,
                                         .type        = (value_type)g->node[body].type,
                                         .child_count = n + 1,
                                         .child       = child,
                                         .substituted = kept,
                                         .free        = free});
}

node graph_topk(graph *g, index_id over, node domain, node score, int64_t k) {
    if (!domain)
        domain = graph_bool(g, true);
    if (k >= g->index[over].extent) /* everything in the domain is selected */
        return domain;
    node child[2]  = {domain, score};
    index_set free = g->node[domain].free | g->node[score].free | bit(over);
    return graph_intern(g, &(node_proto){.op          = NODE_TOPK,
                                         .type        = TYPE_BOOL,
                                         .scan_index  = over,
                                         .child_count = 2,
                                         .child       = child,
                                         .payload     = (uint64_t)k,
                                         .free        = free});
}

node graph_solve(graph *g, index_id row, index_id column, bool reverse, node matrix, node rhs) {
    assert(row != column && g->index[row].extent == g->index[column].extent);
    assert(!(g->node[rhs].free & bit(column)));
    matrix = graph_to_type(g, matrix, TYPE_FLOAT);
    rhs    = graph_to_type(g, rhs, TYPE_FLOAT);
    if (g->index[row].extent <= 1 || is_number(g, matrix, 0)) /* a sum over nothing, or of nothing */
        return rhs;
    node child[2]  = {matrix, rhs};
    index_set free = (g->node[matrix].free | g->node[rhs].free | bit(row)) & ~bit(column);
    return graph_intern(g, &(node_proto){.op          = NODE_SOLVE,
                                         .type        = TYPE_FLOAT,
                                         .scan_index  = row,
                                         .reverse     = reverse,
                                         .vars        = bit(column),
                                         .child_count = 2,
                                         .child       = child,
                                         .free        = free});
}

index_id graph_solve_column(const graph *g, node solve) {
    assert(g->node[solve].op == NODE_SOLVE);
    return (index_id)__builtin_ctzll(g->node[solve].vars);
}

node graph_chosen(graph *g, index_id over, index_id place, node domain, node score) {
    if (!domain)
        domain = graph_bool(g, true);
    node child[2]  = {domain, score};
    index_set free = g->node[domain].free | g->node[score].free;
    assert(place != over && !(free & bit(place)));
    return graph_intern(g, &(node_proto){.op          = NODE_CHOSEN,
                                         .type        = TYPE_INT,
                                         .scan_index  = over,
                                         .child_count = 2,
                                         .child       = child,
                                         .payload     = (uint64_t)g->index[place].extent,
                                         .vars        = bit(place),
                                         .free        = (free & ~bit(over)) | bit(place)});
}

bool graph_selects(node_op op) {
    return op == NODE_TOPK || op == NODE_CHOSEN;
}

uint32_t graph_new_random(graph *g) {
    return ++g->random_numbers;
}

node graph_random(graph *g, uint32_t number, index_set vars) {
    return graph_intern(
        g, &(node_proto){.op = NODE_RANDOM, .type = TYPE_FLOAT, .vars = vars, .free = vars, .payload = number});
}

static node range_of(graph *g, node_op op, index_id i) {
    return graph_intern(g, &(node_proto){.op = op, .type = TYPE_INT, .scan_index = i});
}

node graph_begin(graph *g, index_id i) {
    return range_of(g, NODE_BEGIN, i);
}

node graph_end(graph *g, index_id i) {
    return range_of(g, NODE_END, i);
}

node graph_new_held(graph *g, index_set vars, value_type type) {
    return graph_intern(
        g, &(node_proto){.op = NODE_HELD, .type = type, .vars = vars, .free = vars, .payload = ++g->held_numbers});
}
