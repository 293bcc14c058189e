/* Operations counted from conditions, against an evaluation that computes one element at a time and only when it is
 * asked for: what that computes must have been counted, and in most specs nothing else was. */
#include "condition.h"
#include "cost.h"
#include "elaborate.h"
#include "initialise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define SPECS TEST_SOURCE_DIR "/specs/"
enum { SLOTS = 1 << 20, MOST = 70 };

/* The value of a node at one assignment of its free indices. */
typedef struct element {
    node node;
    uint64_t at;
    bool known, counted;
    double value;
} element;

typedef struct lazy {
    graph *g;
    conditions *c;
    element *element;
    int64_t at[GRAPH_INDICES];
    double **tensor;
    double *operations; /* by node */
    bool counting;
} lazy;

static element *find(lazy *z, node n, index_set free) {
    uint64_t key = 0;
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (free >> i & 1)
            key = key * MOST + (uint64_t)z->at[i] + 1;
    size_t slot = (key * 0x9E3779B97F4A7C15u ^ n * 0x85EBCA6Bu) % SLOTS;
    while (z->element[slot].node && (z->element[slot].node != n || z->element[slot].at != key))
        slot = (slot + 1) % SLOTS;
    z->element[slot].node = n;
    z->element[slot].at   = key;
    return &z->element[slot];
}

static double value(lazy *z, node n);

/* Steps through the indices of a set; false at the end, with all of them 0 again. */
static bool step(lazy *z, index_set vars) {
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (vars >> i & 1) {
            if (++z->at[i] < graph_index_extent(z->g, (index_id)i))
                return true;
            z->at[i] = 0;
        }
    return false;
}

/* Goes where a gather reads; false outside the range. `kept` takes the place it was at. */
static bool move(lazy *z, node_view v, int64_t *kept) {
    int64_t to[GRAPH_INDICES];
    bool inside = true;
    memcpy(kept, z->at, sizeof z->at);
    for (unsigned i = 0; i + 1 < v.child_count; i++) {
        double x = value(z, v.child[i + 1]);
        inside &= x >= 0 && x < (double)graph_index_extent(z->g, v.substituted[i]);
        to[i] = inside ? (int64_t)x : 0;
    }
    for (unsigned i = 0; i + 1 < v.child_count && inside; i++)
        z->at[v.substituted[i]] = to[i];
    return inside;
}

/* Can it be other than 0, as its form says? Asked before it is computed. */
static bool present(lazy *z, node n) {
    node_view v = graph_view(z->g, n);
    double number;
    int64_t kept[GRAPH_INDICES];
    switch (v.op) {
    case NODE_MUL:
        return present(z, v.child[0]) && present(z, v.child[1]);
    case NODE_ADD:
    case NODE_SUB:
    case NODE_MAXIMUM:
    case NODE_MINIMUM:
        return present(z, v.child[0]) || present(z, v.child[1]);
    case NODE_DIV:
    case NODE_NEG:
    case NODE_STOP:
    case NODE_ABS:
    case NODE_TO_FLOAT:
        return present(z, v.child[0]);
    case NODE_SELECT:
        if (!graph_is_constant(z->g, v.child[2], &number) || number != 0)
            return true;
        return value(z, v.child[0]) != 0 && present(z, v.child[1]);
    case NODE_GATHER: {
        bool there = move(z, v, kept) && present(z, v.child[0]);
        memcpy(z->at, kept, sizeof z->at);
        return there;
    }
    case NODE_REDUCE: {
        bool any = v.reduction != REDUCE_SUM;
        memcpy(kept, z->at, sizeof z->at);
        for (unsigned i = 0; i < GRAPH_INDICES; i++)
            z->at[i] = v.vars >> i & 1 ? 0 : z->at[i];
        do
            any = any || (value(z, v.child[0]) != 0 && present(z, v.child[1]));
        while (!any && step(z, v.vars));
        memcpy(z->at, kept, sizeof z->at);
        return any;
    }
    default:
        return true;
    }
}

static bool counts_here(lazy *z, node n) {
    bool counting = z->counting, there;
    z->counting   = false;
    there         = present(z, n);
    z->counting   = counting;
    return there;
}

static double reduced(lazy *z, node n, node_view v) {
    double r = v.reduction == REDUCE_MAX ? -INFINITY : v.reduction == REDUCE_MIN ? INFINITY : 0;
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        z->at[i] = v.vars >> i & 1 ? 0 : z->at[i];
    do {
        if (value(z, v.child[0]) == 0 || (v.reduction == REDUCE_SUM && !counts_here(z, v.child[1])))
            continue;
        double x = value(z, v.child[1]);
        r        = v.reduction == REDUCE_MAX ? fmax(r, x) : v.reduction == REDUCE_MIN ? fmin(r, x) : r + x;
        z->operations[n] += z->counting && v.type == TYPE_FLOAT;
    } while (step(z, v.vars));
    return r;
}

static double selected(lazy *z, node_view v) {
    int64_t here = z->at[v.scan_index], better = 0;
    double score[MOST];
    bool in[MOST];
    for (int64_t k = 0; k < graph_index_extent(z->g, v.scan_index); k++) {
        z->at[v.scan_index] = k;
        in[k]               = value(z, v.child[0]) != 0;
        score[k]            = in[k] ? value(z, v.child[1]) : 0;
    }
    for (int64_t k = 0; k < graph_index_extent(z->g, v.scan_index); k++)
        better += in[k] && (score[k] > score[here] || (score[k] == score[here] && k < here));
    return in[here] && better < v.integer;
}

static double before(lazy *z, node_view v) {
    node scan = 1;
    while (graph_view(z->g, scan).op != NODE_SCAN || graph_view(z->g, scan).scan_label != v.scan_label)
        scan++;
    z->at[v.scan_index] += v.reverse ? 1 : -1;
    bool first = z->at[v.scan_index] < 0 || z->at[v.scan_index] >= graph_index_extent(z->g, v.scan_index);
    return value(z, first ? graph_view(z->g, scan).child[0] : scan);
}

/* Conditions on indices are asked first: no element of the others is computed where one of them fails. */
static double both(lazy *z, node_view v) {
    bool swap = condition_is_pure(z->c, v.child[1]);
    return value(z, v.child[swap]) != 0 && value(z, v.child[!swap]) != 0;
}

static double pointwise(lazy *z, node n, node_view v) {
    double a = value(z, v.child[0]), b = v.child_count > 1 ? value(z, v.child[1]) : 0;
    z->operations[n] += z->counting && v.type == TYPE_FLOAT && v.op != NODE_TO_FLOAT && v.op != NODE_STOP;
    switch (v.op) {
    case NODE_ADD:
        return a + b;
    case NODE_SUB:
        return a - b;
    case NODE_MUL:
        return a * b;
    case NODE_DIV:
        return v.type == TYPE_INT ? floor(a / b) : a / b;
    case NODE_MOD:
        return a - b * floor(a / b);
    case NODE_NEG:
        return -a;
    case NODE_MAXIMUM:
        return fmax(a, b);
    case NODE_EXP:
        return exp(a);
    case NODE_LOG:
        return log(a);
    case NODE_SQRT:
        return sqrt(a);
    case NODE_ABS:
        return fabs(a);
    case NODE_LESS:
        return a < b;
    case NODE_LESS_EQUAL:
        return a <= b;
    case NODE_EQUAL:
        return a == b;
    case NODE_OR:
        return a != 0 || b != 0;
    case NODE_NOT:
        return a == 0;
    default: /* of the others only how often they are computed matters here */
        return a;
    }
}

static double compute(lazy *z, node n, node_view v) {
    double number = 0;
    int64_t kept[GRAPH_INDICES], offset = 0;
    switch (v.op) {
    case NODE_FLOAT:
    case NODE_INT:
        graph_is_constant(z->g, n, &number);
        return number;
    case NODE_INDEX:
        return (double)z->at[__builtin_ctzll(v.vars)];
    case NODE_TENSOR:
        for (unsigned i = 0; i < graph_tensor(z->g, v.tensor)->rank; i++)
            offset = offset * graph_tensor(z->g, v.tensor)->extent[i] + z->at[graph_tensor(z->g, v.tensor)->index[i]];
        return z->tensor[v.tensor][offset];
    case NODE_SELECT:
        return value(z, v.child[value(z, v.child[0]) != 0 ? 1 : 2]);
    case NODE_AND:
        return both(z, v);
    case NODE_GATHER:
        return move(z, v, kept) ? value(z, v.child[0]) : 0;
    case NODE_REDUCE:
        return reduced(z, n, v);
    case NODE_SCAN:
        return value(z, v.child[1]);
    case NODE_PREVIOUS:
        return before(z, v);
    case NODE_TOPK:
        return selected(z, v);
    default:
        return pointwise(z, n, v);
    }
}

static double value(lazy *z, node n) {
    node_view v = graph_view(z->g, n);
    element *e  = find(z, n, v.free);
    int64_t kept[GRAPH_INDICES];
    if (e->known && (e->counted || !z->counting))
        return e->value;
    memcpy(kept, z->at, sizeof kept);
    double x = compute(z, n, v);
    memcpy(z->at, kept, sizeof kept);
    e->value = x;
    e->known = true;
    e->counted |= z->counting;
    return x;
}

/* Evaluates the outputs and returns how many operations that took in all; no node may take more than were counted. */
static double evaluate(graph *g, const cost *counted) {
    lazy z       = {.g = g, .c = conditions_new(g), .counting = true};
    double total = 0;
    z.element    = calloc(SLOTS, sizeof *z.element);
    z.tensor     = calloc(graph_tensor_count(g) + 1, sizeof *z.tensor);
    z.operations = calloc(graph_node_count(g) + 1, sizeof *z.operations);
    for (uint32_t i = 0; i < graph_tensor_count(g); i++) {
        z.tensor[i] = calloc((size_t)graph_tensor(g, i)->elements, sizeof **z.tensor);
        for (int64_t k = 0; k < graph_tensor(g, i)->elements; k++)
            z.tensor[i][k] = initial_value(graph_tensor(g, i), 1, (uint64_t)k);
    }
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        index_set set = 0;
        for (unsigned r = 0; r < graph_output(g, i)->rank; r++)
            set |= (index_set)1 << graph_output(g, i)->index[r];
        memset(z.at, 0, sizeof z.at);
        do
            value(&z, graph_output(g, i)->node);
        while (step(&z, set));
    }
    for (node n = 1; n <= counted->nodes; n++) {
        total += z.operations[n];
        if (z.operations[n] > (double)counted->of_node[n])
            fail_msg("node %u: %.0f operations were counted, it takes %.0f", n, (double)counted->of_node[n],
                     z.operations[n]);
    }
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        free(z.tensor[i]);
    free(z.element);
    free(z.tensor);
    free(z.operations);
    conditions_free(z.c);
    return total;
}

static void every_operation_is_counted(void **state) {
    (void)state;
    static const struct {
        const char *name, *sizes;
        double slack; /* the part that is counted but, at these values, not computed: branches and conditions on data */
    } known[] = {{"mha", "BTDH", 0},      {"mqa", "BTDH", 0},        {"gqa", "BTDH", 0},     {"mla", "BTDH", 0},
                 {"sliding", "BTDHW", 0}, {"sparse", "BTDHK", 0.01}, {"identity", "BTD", 0}, {"linear", "BTDH", 0.05}};
    static const binding small[] = {{"B", 1}, {"T", 7}, {"D", 4}, {"H", 2}, {"W", 2}, {"K", 3}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char path[512];
        binding set[6];
        size_t count = 0;
        for (size_t k = 0; k < 6; k++)
            if (strchr(known[i].sizes, small[k].name[0]))
                set[count++] = small[k];
        snprintf(path, sizeof path, SPECS "%s.att", known[i].name);
        diagnostics d = {.stream = stderr};
        spec *s       = spec_read(path, NULL, &d);
        graph *g      = graph_new();
        assert_non_null(s);
        assert_true(elaborate_mechanism(g, s, &(elaboration){.bindings = set, .binding_count = count}, &d));
        cost *c      = cost_of(g, true);
        double takes = evaluate(g, c), counted = (double)c->operations;
        if (takes < (1 - known[i].slack) * counted)
            fail_msg("%s: %.0f operations were counted, it takes %.0f", known[i].name, counted, takes);
        cost_free(c);
        graph_free(g);
        spec_free(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_operation_is_counted)};
    return cmocka_run_group_tests_name("cost", tests, NULL, NULL);
}
