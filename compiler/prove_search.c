/* The search for a witness: the box of all values of indices and tensor reads is divided until the facts and the
 * target are decided in every part, by interval arithmetic over a straight program. First the lowest index is divided,
 * lower half first, so that the witness found is the first in lexicographic order; then, where that takes too long,
 * the widest. */
#include "prove_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    STEPS      = 512,
    VARIABLES  = 40,
    FRAMES     = 16,
    ROOTS      = 64,
    WORK       = 1200000,
    DEEPEST    = 300,
    ONE_BY_ONE = 1024, /* values of bound indices that a reduction is computed over exactly */
    PARTS      = 1024, /* of a quantifier's box that are looked at */
    MISSING    = STEPS
};

typedef enum variable_kind { FREE_INDEX, BOUND_INDEX, DATA, UNCERTAIN } variable_kind;

typedef struct variable {
    variable_kind kind;
    range full, box;
    index_id index;
    bool is_read; /* DATA: of a tensor, at coordinates that steps compute */
    uint32_t tensor;
    unsigned rank, coordinate[TENSOR_RANK];
} variable;

typedef enum step_kind { STEP_CONSTANT, STEP_VARIABLE, STEP_APPLY, STEP_REDUCE } step_kind;

typedef struct step {
    node node;
    unsigned frame;
    step_kind kind;
    node_op op;
    reduction reduction;
    unsigned operand[3]; /* steps; STEP_VARIABLE: the variable. STEP_REDUCE: domain, body */
    unsigned end;        /* STEP_REDUCE: its own steps are the next ones, up to here */
    unsigned variable, bound;
    bool data;         /* depends on more than indices */
    bool has_possible; /* STEP_REDUCE: a condition that may be either where it is not decided is operand[2] */
    range value;
} step;

/* Which variable an index is, by reductions around it; frame 0 is outermost. */
typedef struct frame {
    index_set vars;
    unsigned outer, variable;
} frame;

typedef struct search {
    const question *question;
    graph *g;
    step step[STEPS];
    unsigned steps, frames, variables, roots, target, nesting;
    variable variable[VARIABLES];
    frame frame[FRAMES];
    unsigned root[ROOTS];
    uint64_t work;
    bool overflow;  /* the program has no room */
    bool stopped;   /* no time left */
    bool undecided; /* a point where facts or target are not known */
    bool found, widest;
    unsigned data_choices;
    witness *witness;
} search;

static const range anything = {INT64_MIN, INT64_MAX};
static const range either   = {0, 1};

static unsigned translate(search *s, node n, unsigned f);

static unsigned add_step(search *s, step t) {
    if (s->steps == STEPS) {
        s->overflow = true;
        return 0;
    }
    if (t.kind == STEP_APPLY)
        for (unsigned i = 0; i < graph_op_arity(t.op); i++)
            t.data |= s->step[t.operand[i]].data;
    s->step[s->steps] = t;
    return s->steps++;
}

static unsigned add_variable(search *s, variable v) {
    if (s->variables == VARIABLES) {
        s->overflow = true;
        return 0;
    }
    v.box                     = v.full;
    s->variable[s->variables] = v;
    return s->variables++;
}

static unsigned variable_step(search *s, node n, unsigned f, unsigned variable) {
    bool data = !s->overflow && s->variable[variable].kind >= DATA;
    return add_step(s, (step){.node = n, .frame = f, .kind = STEP_VARIABLE, .operand = {variable}, .data = data});
}

/* Something that the program cannot compute: DATA if a witness may choose its value. */
static unsigned opaque(search *s, node n, unsigned f, range full) {
    bool choose = f == 0 && graph_view(s->g, n).type == TYPE_BOOL;
    return variable_step(s, n, f, add_variable(s, (variable){.kind = choose ? DATA : UNCERTAIN, .full = full}));
}

static unsigned translate_index(search *s, node n, unsigned f) {
    index_set vars = graph_view(s->g, n).vars;
    index_id i     = 0;
    while (!(vars >> i & 1))
        i++;
    unsigned at = f ? s->frame[f].variable : 0;
    while (at < s->variables && s->variable[at].index != i)
        at++;
    s->overflow |= at == s->variables;
    return variable_step(s, n, f, at);
}

static unsigned translate_read(search *s, node n, node_view v, unsigned f) {
    node_view body  = v.op == NODE_GATHER ? graph_view(s->g, v.child[0]) : v;
    const tensor *t = graph_tensor(s->g, body.tensor);
    range full      = read_range(s->g, body.tensor);
    variable r = {.kind = f ? UNCERTAIN : DATA, .full = full, .is_read = true, .tensor = body.tensor, .rank = t->rank};
    for (unsigned i = 0; i < t->rank && f == 0; i++) {
        node at = graph_index_value(s->g, t->index[i]);
        v       = graph_view(s->g, n);
        for (unsigned k = 0; k + 1 < v.child_count && v.op == NODE_GATHER; k++)
            if (v.substituted[k] == t->index[i])
                at = v.child[k + 1];
        r.coordinate[i] = translate(s, at, f);
    }
    return variable_step(s, n, f, add_variable(s, r));
}

static unsigned translate_reduction(search *s, node n, node_view v, unsigned f) {
    node domain = v.child[0], body = v.child[1];
    if (s->frames == FRAMES) {
        s->overflow = true;
        return 0;
    }
    unsigned inner = s->frames++, first = s->variables;
    s->frame[inner] = (frame){v.vars, f, first};
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (v.vars >> i & 1)
            add_variable(s, (variable){.kind  = BOUND_INDEX,
                                       .full  = {0, graph_index_extent(s->g, (index_id)i) - 1},
                                       .index = (index_id)i});
    step t       = {.node = n, .frame = f, .kind = STEP_REDUCE, .reduction = v.reduction, .variable = first};
    t.bound      = s->variables - first;
    unsigned at  = add_step(s, t);
    t.operand[0] = translate(s, domain, inner);
    t.operand[1] = translate(s, body, inner);
    t.end        = s->steps;
    t.data       = s->step[t.operand[0]].data || s->step[t.operand[1]].data;
    if (f == 0 && v.type == TYPE_BOOL && t.data) {
        t.has_possible = true;
        t.operand[2]   = add_variable(s, (variable){.kind = DATA, .full = either});
    }
    if (!s->overflow)
        s->step[at] = t;
    return at;
}

static unsigned apply_step(search *s, node n, unsigned f, node_op op, unsigned a, unsigned b, unsigned c) {
    return add_step(s, (step){.node = n, .frame = f, .kind = STEP_APPLY, .op = op, .operand = {a, b, c}});
}

static unsigned translate_pointwise(search *s, node n, node_view v, unsigned f) {
    node child[3]       = {NODE_NONE, NODE_NONE, NODE_NONE};
    unsigned operand[3] = {0, 0, 0};
    memcpy(child, v.child, v.child_count * sizeof *child);
    for (unsigned i = 0; i < v.child_count; i++)
        if (graph_view(s->g, child[i]).type == TYPE_FLOAT)
            return opaque(s, n, f, v.type == TYPE_BOOL ? either : anything);
    for (unsigned i = 0; i < v.child_count; i++)
        operand[i] = translate(s, child[i], f);
    return apply_step(s, n, f, v.op, operand[0], operand[1], operand[2]);
}

static unsigned translate_view(search *s, node n, unsigned f) {
    node_view v = graph_view(s->g, n);
    range full  = v.type == TYPE_BOOL ? either : anything;
    node inside = v.child_count ? v.child[0] : NODE_NONE;
    switch (v.op) {
    case NODE_INT:
        return add_step(s, (step){.node = n, .frame = f, .kind = STEP_CONSTANT, .value = {v.integer, v.integer}});
    case NODE_INDEX:
        return translate_index(s, n, f);
    case NODE_TENSOR:
        return translate_read(s, n, v, f);
    case NODE_GATHER: {
        if (graph_view(s->g, inside).op == NODE_TENSOR)
            return translate_read(s, n, v, f);
        node pushed = gather_pushed(s->g, n);
        if (pushed)
            return translate(s, pushed, f);
        if (v.type != TYPE_BOOL)
            return opaque(s, n, f, full);
        unsigned range = translate(s, gather_in_range(s->g, n), f); /* false outside */
        unsigned may   = opaque(s, n, f, full);
        return apply_step(s, n, f, NODE_AND, range, may, 0);
    }
    case NODE_TOPK: {
        unsigned domain = translate(s, inside, f), may = opaque(s, n, f, full);
        return apply_step(s, n, f, NODE_AND, domain, may, 0);
    }
    case NODE_REDUCE:
        return translate_reduction(s, n, v, f);
    default:
        return graph_op_is_pointwise(v.op) ? translate_pointwise(s, n, v, f) : opaque(s, n, f, full);
    }
}

/* The step that computes n inside frame f. */
static unsigned translate(search *s, node n, unsigned f) {
    while (f && !(graph_view(s->g, n).free & s->frame[f].vars))
        f = s->frame[f].outer;
    for (unsigned i = s->steps; i-- > 0;)
        if (s->step[i].node == n && s->step[i].frame == f)
            return i;
    if (s->nesting == DEEPEST || s->overflow) {
        s->overflow = true;
        return 0;
    }
    s->nesting++;
    unsigned at = translate_view(s, n, f);
    s->nesting--;
    return at;
}

/* Running the program */

static void compute(search *s, unsigned from, unsigned to);

static bool next_point(search *s, const step *t) {
    for (unsigned i = t->variable + t->bound; i-- > t->variable;) {
        variable *v = &s->variable[i];
        if (v->box.low < v->full.high) {
            v->box.low = ++v->box.high;
            return true;
        }
        v->box = (range){v->full.low, v->full.low};
    }
    return false;
}

/* Does the condition hold somewhere in the bound box (ANY), or fail (ALL, `wanted` 0)? */
static range somewhere(search *s, unsigned at, int64_t wanted, unsigned *parts) {
    const step *t = &s->step[at];
    compute(s, at + 1, t->end);
    range d = s->step[t->operand[0]].value, b = s->step[t->operand[1]].value;
    if (!wanted)
        b = (range){1 - b.high, 1 - b.low};
    range both = {d.low & b.low, d.high & b.high};
    if (both.low == both.high || *parts == 0 || s->stopped)
        return both;
    --*parts;
    unsigned i = t->variable;
    while (i < t->variable + t->bound && s->variable[i].box.low == s->variable[i].box.high)
        i++;
    if (i == t->variable + t->bound)
        return both;
    range box          = s->variable[i].box;
    int64_t middle     = box.low + (box.high - box.low) / 2;
    s->variable[i].box = (range){box.low, middle};
    both               = somewhere(s, at, wanted, parts);
    if (!both.low) {
        s->variable[i].box = (range){middle + 1, box.high};
        range other        = somewhere(s, at, wanted, parts);
        both               = (range){both.low | other.low, both.high | other.high};
    }
    s->variable[i].box = box;
    return both;
}

static range identity(reduction r) {
    switch (r) {
    case REDUCE_MAX:
        return (range){INT64_MIN, INT64_MIN};
    case REDUCE_MIN:
        return (range){INT64_MAX, INT64_MAX};
    default:
        return r == REDUCE_SUM ? (range){0, 0} : (range){1, 1};
    }
}

static range combine(reduction r, range a, range b) {
    static const node_op op[] = {
        [REDUCE_SUM] = NODE_ADD, [REDUCE_PRODUCT] = NODE_MUL, [REDUCE_MAX] = NODE_MAXIMUM, [REDUCE_MIN] = NODE_MINIMUM};
    return range_apply(op[r], a, b, b, false);
}

static range all_at_once(search *s, const step *t, int64_t space) {
    range d = s->step[t->operand[0]].value, b = s->step[t->operand[1]].value, none = identity(t->reduction);
    if (t->reduction == REDUCE_SUM)
        b = range_multiply(b, (range){space, space});
    else if (t->reduction == REDUCE_PRODUCT)
        b = b.low < 0 ? anything : (range){0, b.high <= 1 ? 1 : INT64_MAX};
    if (t->reduction == REDUCE_SUM && !d.low) /* any number of the terms */
        return range_join(b, none);
    return d.low ? b : d.high ? range_join(b, none) : none;
}

static range reduce(search *s, unsigned at) {
    const step *t = &s->step[at];
    range sum     = identity(t->reduction);
    int64_t space = 1;
    for (unsigned i = t->variable; i < t->variable + t->bound; i++) {
        s->variable[i].box = s->variable[i].full;
        if (__builtin_mul_overflow(space, s->variable[i].full.high + 1, &space))
            space = INT64_MAX;
    }
    if (space == 0)
        return t->reduction == REDUCE_ANY ? (range){0, 0} : sum;
    if (t->reduction == REDUCE_ANY || t->reduction == REDUCE_ALL) {
        unsigned parts = PARTS;
        range some     = somewhere(s, at, t->reduction == REDUCE_ANY, &parts);
        return t->reduction == REDUCE_ANY ? some : (range){1 - some.high, 1 - some.low};
    }
    if (space > ONE_BY_ONE) {
        compute(s, at + 1, t->end);
        return all_at_once(s, t, space);
    }
    for (unsigned i = t->variable; i < t->variable + t->bound; i++)
        s->variable[i].box = (range){0, 0};
    do {
        compute(s, at + 1, t->end);
        range d = s->step[t->operand[0]].value, b = s->step[t->operand[1]].value;
        if (!d.high)
            continue;
        range more = combine(t->reduction, sum, b);
        sum        = d.low ? more : range_join(sum, more);
    } while (next_point(s, t) && !s->stopped);
    return s->stopped ? anything : sum;
}

static void compute(search *s, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        step *t = &s->step[i];
        s->work++;
        if (t->kind == STEP_VARIABLE) {
            t->value = s->variable[t->operand[0]].box;
        } else if (t->kind == STEP_APPLY) {
            const unsigned *o = t->operand;
            t->value = range_apply(t->op, s->step[o[0]].value, s->step[o[1]].value, s->step[o[2]].value, o[0] == o[1]);
        } else if (t->kind == STEP_REDUCE) {
            range value = reduce(s, i);
            if (t->has_possible && value.low != value.high)
                value = s->variable[t->operand[2]].box;
            t->value = value;
            i        = t->end - 1;
        }
    }
    s->stopped |= s->work > WORK;
}

/* The search */

typedef enum verdict { REFUTES, AGREES, OPEN } verdict; /* a witness everywhere in the box; no witness in it */

static verdict judge(search *s) {
    compute(s, 0, s->steps);
    bool facts = true;
    for (unsigned i = 0; i < s->roots; i++) {
        range fact = s->step[s->root[i]].value;
        if (!fact.high)
            return AGREES;
        facts &= fact.low == 1;
    }
    range target = s->step[s->target].value;
    int64_t low = s->question->low, high = s->question->high;
    bool above = low == INT64_MIN || (target.low >= low && target.low != INT64_MIN);
    bool below = high == INT64_MAX || (target.high <= high && target.high != INT64_MAX);
    if (above && below)
        return AGREES;
    bool fails = (low != INT64_MIN && target.high < low) || (high != INT64_MAX && target.low > high);
    return facts && fails ? REFUTES : OPEN;
}

static bool coordinates_known(const search *s, const variable *v) {
    for (unsigned i = 0; i < v->rank; i++)
        if (!range_is_point(s->step[v->coordinate[i]].value))
            return false;
    return true;
}

static bool reads_outside(const search *s, const variable *v) {
    const tensor *t = graph_tensor(s->g, v->tensor);
    for (unsigned i = 0; i < v->rank; i++) {
        range at = s->step[v->coordinate[i]].value;
        if (at.low < 0 || at.low >= t->extent[i])
            return true;
    }
    return false;
}

static bool same_element(const search *s, const variable *a, const variable *b) {
    if (a->tensor != b->tensor)
        return false;
    for (unsigned i = 0; i < a->rank; i++)
        if (s->step[a->coordinate[i]].value.low != s->step[b->coordinate[i]].value.low)
            return false;
    return true;
}

static bool intersect(range *a, range b) {
    if (a->low < b.low)
        a->low = b.low;
    if (a->high > b.high)
        a->high = b.high;
    return a->low <= a->high;
}

/* Reads outside a tensor are 0 and reads of one element are equal. false: the box has no such values. */
static bool keep_data_consistent(search *s) {
    for (unsigned i = 0; i < s->variables; i++) {
        variable *v = &s->variable[i];
        if (v->kind != DATA || !v->is_read || !coordinates_known(s, v))
            continue;
        if (reads_outside(s, v)) {
            if (!intersect(&v->box, (range){0, 0}))
                return false;
            continue;
        }
        for (unsigned k = 0; k < i; k++) {
            variable *w = &s->variable[k];
            if (w->kind != DATA || !w->is_read || !coordinates_known(s, w) || !same_element(s, v, w))
                continue;
            if (!intersect(&v->box, w->box))
                return false;
            w->box = v->box;
        }
    }
    return true;
}

static void report(search *s, index_set involved) {
    witness *w = s->witness;
    memset(w, 0, sizeof *w);
    for (unsigned i = 0; i < s->variables; i++) {
        const variable *v = &s->variable[i];
        if (v->kind != FREE_INDEX || !(involved >> v->index & 1) || w->count == WITNESS_INDICES)
            continue;
        w->index[w->count] = v->index;
        w->at[w->count++]  = v->box.low;
    }
    range value = s->step[s->target].value;
    w->value    = s->question->low != INT64_MIN && value.high < s->question->low ? value.high : value.low;
    w->data     = s->data_choices > 0;
}

/* The indices that the target depends on, and those of facts that have one of these. */
static index_set involved(const search *s) {
    const question *q = s->question;
    index_set all     = graph_view(s->g, q->target).free, before;
    do {
        before = all;
        for (unsigned i = 0; i < q->fact_count; i++) {
            index_set free = graph_view(s->g, q->fact[i]).free;
            if (free & all || !graph_view(s->g, q->target).free)
                all |= free;
        }
    } while (all != before);
    return all;
}

/* Is the lowest corner of the box a witness? */
static bool corner_refutes(search *s) {
    for (unsigned i = 0; i < s->variables; i++)
        if (s->variable[i].kind == FREE_INDEX)
            s->variable[i].box.high = s->variable[i].box.low;
    if (judge(s) != REFUTES || !keep_data_consistent(s))
        return false;
    for (unsigned i = 0; i < s->variables; i++)
        if (s->variable[i].kind == DATA)
            s->variable[i].box.high = s->variable[i].box.low;
    if (judge(s) != REFUTES)
        return false;
    for (unsigned i = 0; i < s->variables; i++)
        if (s->variable[i].kind == DATA && s->variable[i].is_read && !coordinates_known(s, &s->variable[i]))
            return false;
    if (!keep_data_consistent(s)) /* now all reads are of known elements */
        return false;
    if (s->witness)
        report(s, involved(s));
    return true;
}

/* The variable to divide next: MISSING if all are points. */
static unsigned next_division(const search *s) {
    unsigned best  = MISSING;
    uint64_t width = 0;
    for (unsigned kind = FREE_INDEX; kind <= DATA && best == MISSING; kind++)
        for (unsigned i = 0; i < s->variables; i++) {
            const variable *v = &s->variable[i];
            uint64_t wide     = (uint64_t)v->box.high - (uint64_t)v->box.low;
            if (v->kind != (variable_kind)kind || kind == BOUND_INDEX || wide == 0 || (!s->widest && best != MISSING))
                continue;
            if (best == MISSING || wide > width) {
                best  = i;
                width = wide;
            }
        }
    return best;
}

static void keep_boxes(const search *s, range *box) {
    for (unsigned i = 0; i < s->variables; i++)
        box[i] = s->variable[i].box;
}

static void restore_boxes(search *s, const range *box) {
    for (unsigned i = 0; i < s->variables; i++)
        s->variable[i].box = box[i];
}

static bool has_changed(const search *s, const range *box) {
    for (unsigned i = 0; i < s->variables; i++)
        if (s->variable[i].box.low != box[i].low || s->variable[i].box.high != box[i].high)
            return true;
    return false;
}

static void explore(search *s);

static void divide_box(search *s, unsigned at) {
    variable *v    = &s->variable[at];
    range box      = v->box;
    int64_t middle = box.low + (box.high - box.low) / 2;
    s->data_choices += v->kind == DATA;
    v->box = (range){box.low, middle};
    explore(s);
    v->box = (range){middle + 1, box.high};
    explore(s);
    v->box = box;
    s->data_choices -= v->kind == DATA;
}

static void explore(search *s) {
    if (s->found || s->stopped)
        return;
    range saved[VARIABLES];
    keep_boxes(s, saved);
    verdict here = judge(s);
    s->work += s->variables;
    if (here != AGREES && !keep_data_consistent(s))
        here = AGREES;
    else if (here == OPEN && has_changed(s, saved))
        here = judge(s);
    unsigned at = next_division(s);
    if (here == REFUTES && !s->stopped) {
        range narrowed[VARIABLES];
        keep_boxes(s, narrowed);
        s->found = corner_refutes(s);
        restore_boxes(s, narrowed);
    }
    if (here != AGREES && !s->found && at != MISSING)
        divide_box(s, at);
    else if (here != AGREES && !s->found)
        s->undecided = true;
    restore_boxes(s, saved);
}

static void prepare(search *s) {
    const question *q = s->question;
    index_set free    = graph_view(s->g, q->target).free;
    for (unsigned i = 0; i < q->fact_count; i++)
        free |= graph_view(s->g, q->fact[i]).free;
    s->frames   = 1;
    s->frame[0] = (frame){0, 0, 0};
    for (unsigned i = 0; i < GRAPH_INDICES; i++)
        if (free >> i & 1)
            add_variable(s, (variable){.kind  = FREE_INDEX,
                                       .full  = {0, graph_index_extent(s->g, (index_id)i) - 1},
                                       .index = (index_id)i});
    s->overflow |= q->fact_count > ROOTS || graph_space(s->g, free) == 0;
    for (unsigned i = 0; i < q->fact_count && !s->overflow; i++)
        s->root[s->roots++] = translate(s, q->fact[i], 0);
    if (!s->overflow)
        s->target = translate(s, q->target, 0);
}

proof search_prove(const question *q, witness *w) {
    search *s   = prove_memory(sizeof *s);
    s->question = q;
    s->g        = q->g;
    s->steps = s->variables = s->roots = s->nesting = s->data_choices = 0;
    s->overflow = s->found = false;
    s->witness             = w;
    prepare(s);
    proof answer = PROOF_UNKNOWN;
    for (unsigned attempt = 0; attempt < 2 && !s->overflow && answer == PROOF_UNKNOWN; attempt++) {
        s->widest    = attempt == 1;
        s->undecided = s->stopped = false;
        s->work                   = 0;
        explore(s);
        if (s->found)
            answer = PROOF_FAILS;
        else if (!s->stopped && !s->undecided)
            answer = PROOF_HOLDS;
        else if (!s->stopped)
            break;
    }
    free(s);
    return answer;
}
