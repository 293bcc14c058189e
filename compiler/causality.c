/* The proof of causality, by abstract interpretation: for every node, how late an input can be that its value depends
 * on. A bound is the latest of some atoms; an atom is at most each of its alternatives, which are linear in indices.
 * What restricts an index (a domain, a choice, a mask in a product) gives further alternatives: a form plus a multiple
 * of what is not negative is no smaller. Reducing over an index takes it out of the alternatives at its worst. A scan's
 * state is a fixed point. */
#include "causality.h"

#include "condition.h"
#include "enough.h"

#include <stdlib.h>
#include <string.h>

enum { ALTERNATIVES = 10, ATOMS = 10, SCAN_ROUNDS = 8, WIDEN_AFTER = 3, EXPRESSION_DEPTH = 8 };
static const uint64_t STEP_LIMIT  = 2000000;
static const int64_t NUMBER_LIMIT = (int64_t)1 << 30; /* two of them multiplied: no overflow */

typedef struct atom { /* the minimum; without alternatives: any time */
    unsigned count;
    linear item[ALTERNATIVES];
    node cause;
    uint32_t tensor;
} atom;

typedef struct bound { /* the maximum; without atoms: it depends on no input */
    unsigned count;
    atom item[ATOMS];
} bound;

typedef struct prover {
    graph *g;
    conditions *c;
    index_id time;
    size_t nodes;
    bound **bound; /* NULL: no atoms */
    uint64_t steps;
} prover;

/* Atoms */

static void also_at_most(atom *a, const linear *form) {
    if (form->constant > NUMBER_LIMIT || form->constant < -NUMBER_LIMIT)
        return; /* so that nothing overflows */
    for (unsigned i = 0; i < a->count; i++)
        if (linear_same_terms(&a->item[i], form)) {
            if (form->constant < a->item[i].constant)
                a->item[i].constant = form->constant;
            return;
        }
    if (a->count < ALTERNATIVES)
        a->item[a->count++] = *form;
}

/* Is the one form at most the other, wherever their indices are? */
static bool form_at_most(const graph *g, const linear *a, const linear *b) {
    linear ahead;
    int64_t low, high;
    if (linear_same_terms(a, b))
        return a->constant <= b->constant;
    if (!linear_combine(a, 1, b, -1, &ahead))
        return false;
    linear_range(g, &ahead, GRAPH_INDICES, &low, &high);
    return high <= 0;
}

static bool at_most(const graph *g, const atom *a, const atom *b) {
    for (unsigned k = 0; k < b->count; k++) {
        bool found = false;
        for (unsigned i = 0; i < a->count && !found; i++)
            found = form_at_most(g, &a->item[i], &b->item[k]);
        if (!found)
            return false;
    }
    return true;
}

/* Is the atom later than the time by itself: at every alternative nothing but the time, and that exceeded? */
static bool ahead_of_time(const prover *p, const atom *a) {
    const linear now = {.count = 1, .index = {p->time}, .factor = {1}};
    for (unsigned i = 0; i < a->count; i++) {
        const linear *form = &a->item[i];
        if (form->count > 1 || (form->count == 1 && form->index[0] != p->time) || form_at_most(p->g, form, &now))
            return false;
    }
    return true;
}

/* Whoever makes of an atom that might be early enough one that is not is to blame. */
static void blame(const prover *p, atom *a, const atom *before, node here) {
    if (!a->cause && ahead_of_time(p, a) && !ahead_of_time(p, before))
        a->cause = here;
}

/* Returns whether that changed the bound. */
static bool join_atom(const graph *g, bound *b, const atom *a, node here) {
    for (unsigned i = 0; i < b->count; i++)
        if (at_most(g, a, &b->item[i]))
            return false;
    unsigned kept = 0;
    for (unsigned i = 0; i < b->count; i++)
        if (!at_most(g, &b->item[i], a))
            b->item[kept++] = b->item[i];
    b->count = kept;
    if (b->count < ATOMS) {
        b->item[b->count++] = *a;
        return true;
    }
    b->item[0] = (atom){.cause = a->cause ? a->cause : here, .tensor = a->tensor};
    b->count   = 1;
    return true;
}

static void join(const graph *g, bound *b, const bound *more, node here) {
    for (unsigned i = 0; more && i < more->count; i++)
        join_atom(g, b, &more->item[i], here);
}

/* The form without the indices of a set, each where the form is largest. */
static void without(const graph *g, const linear *form, index_set vars, linear *out) {
    *out = (linear){.constant = form->constant};
    for (unsigned i = 0; i < form->count; i++)
        if (!(vars >> form->index[i] & 1)) {
            out->index[out->count]    = form->index[i];
            out->factor[out->count++] = form->factor[i];
        } else if (form->factor[i] > 0) {
            out->constant += form->factor[i] * (graph_index_extent(g, form->index[i]) - 1);
        }
}

/* Adds such a multiple of a conjunct (which is not negative) to an alternative that an index leaves it. */
static void refine_by(const graph *g, atom *a, unsigned which, const linear *conjunct) {
    for (unsigned i = 0; i < a->item[which].count; i++) {
        const linear form = a->item[which];
        int64_t factor = form.factor[i], takes = -linear_factor(conjunct, form.index[i]), times;
        linear sum, rest;
        if (takes == 0 || (takes > 0) != (factor > 0) || (factor < 0 && factor % takes != 0))
            continue;
        times = factor > 0 ? (factor + takes - 1) / takes : factor / takes;
        if (!linear_combine(&form, 1, conjunct, times, &sum))
            continue;
        /* what is left of the index is not positive, and the index is not negative */
        index_set gone = linear_factor(&sum, form.index[i]) < 0 ? (index_set)1 << form.index[i] : 0;
        without(g, &sum, gone, &rest);
        also_at_most(a, &rest);
    }
}

static void refine(const graph *g, bound *b, const condition_set *set) {
    if (set->never)
        b->count = 0;
    for (unsigned i = 0; i < b->count && set->count; i++)
        for (unsigned k = 0; k < b->item[i].count; k++) /* those that are added are looked at in their turn */
            for (unsigned c = 0; c < set->count; c++)
                if (set->item[c].kind == CONDITION_LINEAR)
                    refine_by(g, &b->item[i], k, &set->item[c].form);
}

static void eliminate(const prover *p, bound *b, index_set vars, node here) {
    bound result = {0};
    for (unsigned i = 0; i < b->count; i++) {
        const atom *a = &b->item[i];
        atom left     = {.cause = a->cause, .tensor = a->tensor};
        linear form;
        for (unsigned k = 0; k < a->count; k++) {
            without(p->g, &a->item[k], vars, &form);
            also_at_most(&left, &form);
        }
        blame(p, &left, a, here);
        join_atom(p->g, &result, &left, here);
    }
    *b = result;
}

/* Index expressions */

static bool lowest(prover *p, node e, unsigned depth, int64_t *out) {
    linear form;
    int64_t high, a, b;
    if (condition_linear(p->c, e, &form)) {
        linear_range(p->g, &form, GRAPH_INDICES, out, &high);
        return true;
    }
    node_view v = graph_view(p->g, e);
    double number;
    if (depth == EXPRESSION_DEPTH || v.type != TYPE_INT)
        return false;
    switch (v.op) {
    case NODE_TENSOR:
    case NODE_MOD:
        *out = 0;
        return v.op == NODE_TENSOR || (graph_is_constant(p->g, v.child[1], &number) && number > 0);
    case NODE_GATHER:
        return lowest(p, v.child[0], depth + 1, &a) && ((*out = a < 0 ? a : 0), true);
    case NODE_DIV:
        if (!graph_is_constant(p->g, v.child[1], &number) || number < 1 || !lowest(p, v.child[0], depth + 1, &a))
            return false;
        *out = a < 0 ? a : 0;
        return true;
    case NODE_MUL:
        if (!lowest(p, v.child[0], depth + 1, &a) || !lowest(p, v.child[1], depth + 1, &b) || a < 0 || b < 0)
            return false;
        *out = 0;
        return true;
    case NODE_ADD:
        return lowest(p, v.child[0], depth + 1, &a) && lowest(p, v.child[1], depth + 1, &b) &&
               !__builtin_add_overflow(a, b, out);
    case NODE_MINIMUM:
    case NODE_MAXIMUM:
        if (!lowest(p, v.child[0], depth + 1, &a) || !lowest(p, v.child[1], depth + 1, &b))
            return false;
        *out = a < b ? a : b;
        return true;
    default:
        return false;
    }
}

static atom meet(atom a, const atom *b) {
    for (unsigned i = 0; i < b->count; i++)
        also_at_most(&a, &b->item[i]);
    return a;
}

/* At most the larger of the two: alternatives that both have. */
static atom either(const atom *a, const atom *b) {
    atom r = {0};
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned k = 0; k < b->count; k++)
            if (linear_same_terms(&a->item[i], &b->item[k]))
                also_at_most(&r, a->item[i].constant > b->item[k].constant ? &a->item[i] : &b->item[k]);
    return r;
}

static atom sum_of(const atom *a, const atom *b) {
    atom r = {0};
    linear form;
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned k = 0; k < b->count; k++)
            if (linear_combine(&a->item[i], 1, &b->item[k], 1, &form))
                also_at_most(&r, &form);
    return r;
}

static atom single(const linear *form) {
    return (atom){.count = 1, .item = {*form}};
}

static bool positive_constant(const prover *p, node n, int64_t *out) {
    double number;
    if (!graph_is_constant(p->g, n, &number) || number < 1 || number > 1 << 30)
        return false;
    *out = (int64_t)number;
    return true;
}

static bool not_negative(prover *p, node e, unsigned depth) {
    int64_t least;
    return lowest(p, e, depth, &least) && least >= 0;
}

static atom highest(prover *p, node e, int64_t times, unsigned depth);

/* m b floor(a / b) is at most m a, or for negative m at most m a - m (b - 1); if a >= 0, times floor(a / b) is at most
 * m a where m b >= times. */
static atom highest_quotient(prover *p, node_view v, int64_t times, unsigned depth) {
    int64_t by;
    atom none = {0}, a;
    if (!positive_constant(p, v.child[1], &by))
        return none;
    if (times % by == 0 && times < 0) {
        atom rest = single(&(linear){.constant = -times / by * (by - 1)});
        a         = highest(p, v.child[0], times / by, depth + 1);
        return sum_of(&a, &rest);
    }
    if (times < 0 || (times % by != 0 && !not_negative(p, v.child[0], depth + 1)))
        return none;
    return highest(p, v.child[0], (times + by - 1) / by, depth + 1);
}

static atom highest_remainder(prover *p, node_view v, int64_t times, unsigned depth) {
    int64_t by;
    atom r = {0};
    if (times < 0 || !positive_constant(p, v.child[1], &by))
        return r;
    if (not_negative(p, v.child[0], depth + 1))
        r = highest(p, v.child[0], times, depth + 1);
    also_at_most(&r, &(linear){.constant = times * (by - 1)});
    return r;
}

/* What a multiple of an index expression is at most. A factor may be negative, and not too large. */
static atom highest(prover *p, node e, int64_t times, unsigned depth) {
    atom r = {0}, a, b;
    linear form, zero = {0};
    int64_t by;
    if (times > NUMBER_LIMIT || times < -NUMBER_LIMIT)
        return r;
    if (condition_linear(p->c, e, &form))
        return linear_combine(&form, times, &zero, 0, &form) ? single(&form) : r;
    node_view v = graph_view(p->g, e);
    if (depth == EXPRESSION_DEPTH || v.type != TYPE_INT)
        return r;
    switch (v.op) {
    case NODE_ADD:
    case NODE_SUB:
        a = highest(p, v.child[0], times, depth + 1);
        b = highest(p, v.child[1], v.op == NODE_ADD ? times : -times, depth + 1);
        r = sum_of(&a, &b);
        break;
    case NODE_MINIMUM:
    case NODE_MAXIMUM:
    case NODE_SELECT:
        a = highest(p, v.child[v.op == NODE_SELECT], times, depth + 1);
        b = highest(p, v.child[1 + (v.op == NODE_SELECT)], times, depth + 1);
        r = v.op == (times > 0 ? NODE_MINIMUM : NODE_MAXIMUM) ? meet(a, &b) : either(&a, &b);
        break;
    case NODE_DIV:
        r = highest_quotient(p, v, times, depth);
        break;
    case NODE_MOD:
        r = highest_remainder(p, v, times, depth);
        break;
    case NODE_MUL:
        for (unsigned i = 0; i < 2 && !r.count; i++)
            if (positive_constant(p, v.child[1 - i], &by))
                r = highest(p, v.child[i], times * by, depth + 1);
        break;
    default:
        break;
    }
    int64_t least;
    if (times < 0 && lowest(p, e, depth, &least) && least <= NUMBER_LIMIT && least >= -NUMBER_LIMIT)
        also_at_most(&r, &(linear){.constant = times * least});
    return r;
}

/* Nodes */

static bound of(const prover *p, node n) {
    return p->bound[n] ? *p->bound[n] : (bound){0};
}

static void keep(prover *p, node n, const bound *b) {
    if (!b->count) {
        free(p->bound[n]);
        p->bound[n] = NULL;
        return;
    }
    if (!p->bound[n])
        p->bound[n] = enough(malloc(sizeof *b));
    *p->bound[n] = *b;
}

static bound refined(prover *p, node n, const condition_set *set) {
    bound b = of(p, n);
    refine(p->g, &b, set);
    return b;
}

/* One alternative of the body with every substituted index replaced; the results are alternatives of the gather. */
static void substitute(prover *p, node_view v, const linear *form, atom *out) {
    linear rest   = {.constant = form->constant};
    atom moved    = {0};
    bool replaced = false;
    for (unsigned t = 0; t < form->count; t++) {
        for (unsigned s = 0; s + 1 < v.child_count; s++)
            replaced |= v.substituted[s] == form->index[t];
        if (!replaced) {
            rest.index[rest.count]    = form->index[t];
            rest.factor[rest.count++] = form->factor[t];
        }
        replaced = false;
    }
    moved = single(&rest);
    for (unsigned t = 0; t < form->count; t++)
        for (unsigned s = 0; s + 1 < v.child_count; s++) {
            if (v.substituted[s] != form->index[t])
                continue;
            atom upper = highest(p, v.child[s + 1], form->factor[t], 0);
            if (form->factor[t] < 0 && !upper.count) /* what is read is within the range */
                upper = single(&(linear){0});
            moved = sum_of(&moved, &upper);
        }
    for (unsigned i = 0; i < moved.count; i++)
        also_at_most(out, &moved.item[i]);
}

static bound gather(prover *p, node n, node_view v) {
    bound result = {0}, body = of(p, v.child[0]);
    for (unsigned i = 0; i < body.count; i++) {
        const atom *a = &body.item[i];
        atom moved    = {.cause = a->cause, .tensor = a->tensor};
        bool later    = false;
        for (unsigned k = 0; k < a->count; k++)
            substitute(p, v, &a->item[k], &moved);
        for (unsigned k = 0; k < moved.count; k++)
            later |= moved.item[k].constant > 0;
        blame(p, &moved, a, n);
        if (!moved.cause && later && a->count)
            moved.cause = n;
        join_atom(p->g, &result, &moved, n);
    }
    for (unsigned i = 1; i < v.child_count; i++) {
        bound b = of(p, v.child[i]);
        join(p->g, &result, &b, n);
    }
    return result;
}

static bound reduce(prover *p, node n, node_view v) {
    node domain = v.child[0], body = v.child[1];
    condition_set set = {0};
    condition_add(p->c, &set, domain);
    if (v.reduction == REDUCE_SUM)
        condition_merge(&set, condition_support(p->c, body));
    bound b = refined(p, body, &set), d = of(p, domain);
    join(p->g, &b, &d, n);
    eliminate(p, &b, v.vars, n);
    return b;
}

static bound topk(prover *p, node n, node_view v) {
    index_set over    = (index_set)1 << v.scan_index;
    condition_set set = {0};
    node domain = v.child[0], score = v.child[1]; /* the view's children move when conditions are added */
    condition_add(p->c, &set, domain);
    bound b = refined(p, score, &set), d = of(p, domain);
    join(p->g, &b, &d, n);
    eliminate(p, &b, over, n);
    return b;
}

static bound select_bound(prover *p, node n, node_view v) {
    node child[3]     = {v.child[0], v.child[1], v.child[2]};
    condition_set yes = {0}, no = {0};
    condition_add(p->c, &yes, child[0]);
    condition_add_not(p->c, &no, child[0]);
    bound b = of(p, child[0]), then = refined(p, child[1], &yes), otherwise = refined(p, child[2], &no);
    join(p->g, &b, &then, n);
    join(p->g, &b, &otherwise, n);
    return b;
}

/* One operand does not count where the other decides: 0 in a product, false in `and`, true in `or`. */
static bound pair(prover *p, node n, node_view v) {
    node child[2]         = {v.child[0], v.child[1]};
    condition_set when[2] = {{0}, {0}};
    for (unsigned i = 0; i < 2; i++)
        if (v.op == NODE_MUL || (v.op == NODE_DIV && i == 1))
            when[i] = *condition_support(p->c, child[1 - i]);
        else if (v.op == NODE_AND && condition_is_pure(p->c, child[1 - i]))
            condition_add(p->c, &when[i], child[1 - i]);
        else if (v.op == NODE_OR && condition_is_pure(p->c, child[1 - i]))
            condition_add_not(p->c, &when[i], child[1 - i]);
    bound b = refined(p, child[0], &when[0]), other = refined(p, child[1], &when[1]);
    join(p->g, &b, &other, n);
    return b;
}

static void evaluate(prover *p, node n);

/* What the state before a step may depend on, from the state after one: the step before this one. In a round that
 * widens, what would go on growing from step to step becomes the largest that it is at any step. */
static bool advance(const prover *p, node_view v, const atom *after, bool widen, bound *before, node here) {
    atom a = {.cause = after->cause, .tensor = after->tensor};
    for (unsigned k = 0; k < after->count; k++) {
        linear form    = after->item[k];
        int64_t growth = (v.reverse ? 1 : -1) * linear_factor(&form, v.scan_index);
        if (widen && growth > 0)
            without(p->g, &after->item[k], (index_set)1 << v.scan_index, &form);
        else
            form.constant += growth;
        also_at_most(&a, &form);
    }
    for (unsigned k = 0; k < before->count; k++)
        if (at_most(p->g, &a, &before->item[k]))
            return false;
    blame(p, &a, after, here);
    return join_atom(p->g, before, &a, here);
}

static void lose_states(prover *p, node first, unsigned states) {
    for (unsigned k = 0; k < states; k++)
        keep(p, first + k, &(bound){.count = 1, .item = {{.cause = first + k}}});
}

/* The states of one scan, together: each may read all of them. */
static void scan(prover *p, node first, node_view v) {
    unsigned states = graph_scan_states(p->g, v.scan_label);
    node from       = first;
    for (unsigned k = 0; k < states; k++) {
        node leaf  = graph_scan_leaf(p->g, v.scan_label, k);
        bound init = of(p, graph_scan_init(p->g, first + k));
        keep(p, leaf, &init);
        from = leaf < from ? leaf : from;
    }
    bool grew = true;
    for (unsigned round = 0; grew; round++) {
        for (node n = from + 1; n < first; n++)
            evaluate(p, n);
        grew = false;
        if (round > SCAN_ROUNDS || p->steps > STEP_LIMIT) {
            lose_states(p, first, states);
            return;
        }
        for (unsigned k = 0; k < states; k++) {
            node leaf    = graph_scan_leaf(p->g, v.scan_label, k);
            bound before = of(p, leaf), after = of(p, graph_scan_body(p->g, first + k));
            for (unsigned i = 0; i < after.count; i++)
                grew |= advance(p, v, &after.item[i], round >= WIDEN_AFTER, &before, first + k);
            keep(p, leaf, &before);
        }
    }
    for (unsigned k = 0; k < states; k++) {
        bound after = of(p, graph_scan_body(p->g, first + k));
        keep(p, first + k, &after);
    }
}

/* A row is made of rows up to its own, of the right-hand side as of the matrix, whose columns are before its row; with
 * `reverse`, from its own on. What would be less in another row than in its own is the largest that it is in any. */
static bound solve(prover *p, node n, node_view v) {
    index_set over    = (index_set)1 << v.scan_index;
    condition_set set = {0};
    node matrix = v.child[0], right = v.child[1]; /* the view's children move when conditions are added */
    node row = graph_index_value(p->g, v.scan_index), column = graph_index_value(p->g, graph_solve_column(p->g, n));
    condition_add(p->c, &set,
                  graph_pointwise(p->g, NODE_LESS, v.reverse ? row : column, v.reverse ? column : row, NODE_NONE));
    bound b = refined(p, matrix, &set), r = of(p, right);
    eliminate(p, &b, v.vars, n);
    join(p->g, &b, &r, n);
    for (unsigned i = 0; i < b.count; i++) {
        atom before = b.item[i];
        for (unsigned k = 0; k < before.count; k++)
            if ((v.reverse ? 1 : -1) * linear_factor(&before.item[k], v.scan_index) > 0)
                without(p->g, &before.item[k], over, &b.item[i].item[k]);
        blame(p, &b.item[i], &before, n);
    }
    return b;
}

static void evaluate(prover *p, node n) {
    node_view v = graph_view(p->g, n);
    bound b     = {0};
    bool any    = v.op == NODE_TENSOR;
    p->steps++;
    for (unsigned i = 0; i < v.child_count && !any; i++)
        any = p->bound[v.child[i]] != NULL;
    if (v.op == NODE_PREVIOUS || v.op == NODE_INVALID || p->steps > STEP_LIMIT)
        return;
    if (!any) {
        keep(p, n, &b);
        return;
    }
    switch (v.op) {
    case NODE_TENSOR:
        if (graph_tensor(p->g, v.tensor)->kind == TENSOR_INPUT && v.free >> p->time & 1)
            b = (bound){
                .count = 1,
                .item  = {{.count = 1, .item = {{.count = 1, .index = {p->time}, .factor = {1}}}, .tensor = v.tensor}}};
        break;
    case NODE_REDUCE:
        b = reduce(p, n, v);
        break;
    case NODE_GATHER:
        b = gather(p, n, v);
        break;
    case NODE_TOPK:
    case NODE_CHOSEN:
        b = topk(p, n, v);
        break;
    case NODE_SOLVE:
        b = solve(p, n, v);
        break;
    case NODE_SCAN:
        if (v.scan_state == 0) /* the others come with it */
            scan(p, n, v);
        return;
    case NODE_SELECT:
        b = select_bound(p, n, v);
        break;
    case NODE_MUL:
    case NODE_DIV:
    case NODE_AND:
    case NODE_OR:
        b = pair(p, n, v);
        break;
    default:
        for (unsigned i = 0; i < v.child_count; i++)
            join(p->g, &b, p->bound[graph_view(p->g, n).child[i]], n);
        if (!graph_op_is_pointwise(v.op)) /* nothing is known about it */
            b = (bound){.count = 1, .item = {{.cause = n, .tensor = b.item[0].tensor}}};
    }
    keep(p, n, &b);
}

index_id causality_time(const graph *g) {
    index_id declared = graph_causal(g);
    if (declared != GRAPH_INDICES)
        return declared;
    for (unsigned i = 0; i < graph_index_count(g); i++) {
        bool input = false, result = false;
        if (strcmp(graph_index_name(g, (index_id)i), "t") != 0)
            continue;
        for (uint32_t k = 0; k < graph_tensor_count(g); k++)
            for (unsigned r = 0; r < graph_tensor(g, k)->rank; r++)
                input |= graph_tensor(g, k)->kind == TENSOR_INPUT && graph_tensor(g, k)->index[r] == i;
        for (uint32_t k = 0; k < graph_output_count(g); k++)
            for (unsigned r = 0; r < graph_output(g, k)->rank; r++)
                result |= graph_output(g, k)->kind == OUTPUT_VALUE && graph_output(g, k)->index[r] == i;
        if (input && result)
            return (index_id)i;
    }
    return GRAPH_INDICES;
}

/* Is every atom of the output at most the output's own time? */
static bool judge(const prover *p, uint32_t number, causality *result) {
    bound b = of(p, graph_output(p->g, number)->node);
    for (unsigned i = 0; i < b.count; i++) {
        const atom *a  = &b.item[i];
        const atom now = single(&(linear){.count = 1, .index = {p->time}, .factor = {1}});
        if (at_most(p->g, a, &now))
            continue;
        *result = (causality){.kind = CAUSALITY_UNPROVED, .output = number, .tensor = a->tensor, .culprit = a->cause};
        return false;
    }
    return true;
}

causality causality_prove(graph *g, index_id time) {
    causality result = {.kind = CAUSALITY_NO_TIME};
    if (time >= GRAPH_INDICES)
        return result;
    prover p = {.g = g, .c = conditions_new(g), .time = time, .nodes = graph_node_count(g)};
    p.bound  = enough(calloc(p.nodes + 1, sizeof *p.bound));
    for (node n = 1; n <= p.nodes; n++)
        evaluate(&p, n);
    for (uint32_t i = 0; i < graph_output_count(g) && result.kind != CAUSALITY_UNPROVED; i++) {
        const output *o = graph_output(g, i);
        for (unsigned r = 0; r < o->rank && result.kind != CAUSALITY_UNPROVED; r++)
            if (o->kind == OUTPUT_VALUE && o->index[r] == time && judge(&p, i, &result))
                result.kind = CAUSALITY_PROVED;
    }
    if (p.steps > STEP_LIMIT && result.kind == CAUSALITY_PROVED)
        result = (causality){.kind = CAUSALITY_UNPROVED};
    for (node n = 1; n <= p.nodes; n++)
        free(p.bound[n]);
    free(p.bound);
    conditions_free(p.c);
    return result;
}
