/* Loop nests. A pointwise node is stored element by element; a reduction either keeps a register for each element
 * (when its innermost loop is one it binds) or a row of results in memory (when walking along a result's axis is
 * what walks through memory); a sum whose domain says `index == expression` is scattered; a scan keeps its state in
 * the buffer of its result, and its steps multiply matrices where they are large. */
#include "enough.h"
#include "schedule_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    ENOUGH_ITEMS = 64,
    SPLIT_BELOW  = 16,
    LEAST_SPLIT  = 4,
    SIDE_UNIT    = 16, /* rows or columns of matrices that are worth dividing */
    LEAST_ALONG  = 4   /* of an index that a solve goes along */
};

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

statement *schedule_statement(statement_kind kind) {
    statement *s = schedule_allocate(1, sizeof *s);
    s->kind      = kind;
    s->scatter   = GRAPH_INDICES;
    return s;
}

void schedule_append(statement **list, statement *more) {
    while (*list)
        list = &(*list)->next;
    *list = more;
}

/* Loops over the indices in order, outermost first, around body. */
statement *schedule_loops(const scheduler *c, const axis_order *order, bool parallel, statement *body) {
    for (unsigned i = order->rank; i-- > 0;) {
        if (c->fixed >> order->index[i] & 1)
            continue;
        statement *s = schedule_statement(STATEMENT_FOR);
        s->index     = order->index[i];
        s->parallel  = parallel;
        s->body      = body;
        body         = s;
    }
    return body;
}

static axis_order without(const axis_order *order, index_set set) {
    axis_order rest = {0};
    for (unsigned i = 0; i < order->rank; i++)
        if (!(set >> order->index[i] & 1))
            rest.index[rest.rank++] = order->index[i];
    return rest;
}

static axis_order with_last(const axis_order *order, index_set last) {
    axis_order result = without(order, last);
    for (unsigned i = 0; i < order->rank; i++)
        if (last >> order->index[i] & 1)
            result.index[result.rank++] = order->index[i];
    return result;
}

static axis_order in_id_order(const scheduler *c, index_set set) {
    axis_order order = {0};
    for (unsigned i = 0; i < graph_index_count(c->g) && order.rank < TENSOR_RANK; i++)
        if (set >> i & 1)
            order.index[order.rank++] = (index_id)i;
    return order;
}

static statement *store(uint32_t target, node value) {
    statement *s = schedule_statement(STATEMENT_STORE);
    s->target    = target;
    s->value     = value;
    return s;
}

/* The statements that compute one node with the loops over c->fixed already open, and how its outer loops may be
 * shared among threads. */
typedef struct nest {
    statement *body;
    index_id split;
} nest;

static node identity(scheduler *c, node_view v) {
    switch (v.reduction) {
    case REDUCE_SUM:
        return v.type == TYPE_INT ? graph_int(c->g, 0) : graph_float(c->g, 0);
    case REDUCE_PRODUCT:
        return v.type == TYPE_INT ? graph_int(c->g, 1) : graph_float(c->g, 1);
    case REDUCE_MAX:
        return v.type == TYPE_INT ? graph_int(c->g, INT32_MIN) : graph_float(c->g, -__builtin_inf());
    case REDUCE_MIN:
        return v.type == TYPE_INT ? graph_int(c->g, INT32_MAX) : graph_float(c->g, __builtin_inf());
    default:
        return graph_bool(c->g, v.reduction == REDUCE_ALL);
    }
}

static statement *accumulate(uint32_t target, node n, node_view v, node domain, index_id scatter, node to) {
    statement *s  = schedule_statement(STATEMENT_ACCUMULATE);
    s->target     = target;
    s->value      = n;
    s->reduction  = v.reduction;
    s->domain     = domain;
    s->summand    = v.child[1];
    s->scatter    = scatter;
    s->scatter_to = to;
    return s;
}

/* Splits `v == e` off a domain, where v is a free index of the result that nothing else depends on. */
static node split_scatter(scheduler *c, node domain, index_set result, index_set elsewhere, index_id *scatter,
                          node *to) {
    node_view d = graph_view(c->g, domain);
    if (d.op == NODE_EQUAL) {
        for (unsigned side = 0; side < 2; side++) {
            node_view v = graph_view(c->g, d.child[side]), e = graph_view(c->g, d.child[1 - side]);
            if (v.op == NODE_INDEX && (v.free & result) && !(e.free & v.free) && !(elsewhere & v.free) &&
                e.type == TYPE_INT) {
                *scatter = (index_id)__builtin_ctzll(v.free);
                *to      = d.child[1 - side];
                return graph_bool(c->g, true);
            }
        }
        return NODE_NONE;
    }
    if (d.op != NODE_AND)
        return NODE_NONE;
    node left = d.child[0], right = d.child[1];
    node rest = split_scatter(c, left, result, elsewhere | graph_view(c->g, right).free, scatter, to);
    if (rest)
        return graph_and(c->g, rest, right);
    rest = split_scatter(c, right, result, elsewhere | graph_view(c->g, left).free, scatter, to);
    return rest ? graph_and(c->g, left, rest) : NODE_NONE;
}

node schedule_scatter_rest(scheduler *c, node n, index_set open, index_id *scatter, node *to) {
    node_view v = graph_view(c->g, n);
    if (v.op != NODE_REDUCE || v.reduction != REDUCE_SUM || schedule_is_true(c->g, v.child[0]))
        return NODE_NONE;
    index_set elsewhere = graph_view(c->g, v.child[1]).free | v.vars;
    node rest           = split_scatter(c, v.child[0], v.free & open, elsewhere, scatter, to);
    schedule_fit_nodes(c);
    return rest;
}

static nest scatter_nest(scheduler *c, node n, uint32_t target, axis_order order, node domain, index_id scatter,
                         node to) {
    node_view v      = graph_view(c->g, n);
    nest result      = {NULL, GRAPH_INDICES};
    axis_order rest  = without(&order, bit(scatter) | c->fixed);
    axis_order bound = in_id_order(c, v.vars);
    if (!schedule_gathers(c, n))
        result.body = schedule_loops(c, &order, false, store(target, identity(c, v)));
    index_id inner = rest.rank ? rest.index[rest.rank - 1] : GRAPH_INDICES;
    /* all of an element that a list says is written at once */
    index_set apart =
        schedule_places(c->g, to) ? graph_view(c->g, to).free : ~(inner == GRAPH_INDICES ? 0 : bit(inner));
    axis_order within = without(&rest, apart), outer = without(&rest, ~apart);
    statement *body = accumulate(target, n, v, domain, scatter, to);
    body            = schedule_loops(c, &within, true, body);
    body            = schedule_loops(c, &bound, false, body);
    schedule_append(&result.body, schedule_loops(c, &outer, false, body));
    result.split = inner;
    for (unsigned i = 0; i + 1 < within.rank; i++) /* short pieces of the innermost loop take longer */
        if (graph_index_extent(c->g, within.index[i]) >= LEAST_SPLIT)
            result.split = within.index[i];
    return result;
}

static nest reduce_nest(scheduler *c, node n, uint32_t target, axis_order order) {
    node_view v      = graph_view(c->g, n);
    node domain      = schedule_is_true(c->g, v.child[0]) ? NODE_NONE : v.child[0];
    index_id scatter = GRAPH_INDICES;
    node to          = NODE_NONE;
    node rest        = schedule_scatter_rest(c, n, ~c->fixed, &scatter, &to);
    if (rest)
        return scatter_nest(c, n, target, order, schedule_is_true(c->g, rest) ? NODE_NONE : rest, scatter, to);
    v                = graph_view(c->g, n);
    index_set open   = v.free & ~c->fixed;
    index_id inner   = schedule_innermost(c, n, open | v.vars, NULL);
    nest result      = {NULL, GRAPH_INDICES};
    axis_order bound = in_id_order(c, v.vars & ~(inner == GRAPH_INDICES ? 0 : bit(inner)));
    list_reads reads = schedule_list_reads(c, n);
    if (inner == GRAPH_INDICES || (v.vars & bit(inner))) {
        statement *s = schedule_statement(STATEMENT_REDUCE);
        s->target    = target;
        s->value     = n;
        s->reduction = v.reduction;
        s->domain    = domain;
        s->summand   = v.child[1];
        s->into      = schedule_gathers(c, n);
        for (unsigned i = 0; i < bound.rank; i++)
            s->var[s->var_count++] = bound.index[i];
        if (inner != GRAPH_INDICES)
            s->var[s->var_count++] = inner;
        order       = with_last(&order, reads.beside); /* all of a position that a list says is read at once */
        result.body = schedule_loops(c, &order, true, s);
        return result;
    }
    index_set inside = reads.places & v.vars ? reads.beside | bit(inner) : bit(inner);
    axis_order outer = without(&order, inside), within = with_last(&order, bit(inner));
    within          = without(&within, ~inside);
    statement *body = schedule_gathers(c, n) ? NULL : schedule_loops(c, &within, true, store(target, identity(c, v)));
    v               = graph_view(c->g, n);
    schedule_append(&body, schedule_loops(c, &bound, false,
                                          schedule_loops(c, &within, true,
                                                         accumulate(target, n, v, domain, GRAPH_INDICES, NODE_NONE))));
    result.body     = schedule_loops(c, &outer, true, body);
    int64_t outside = graph_space(c->g, v.free & ~c->fixed & ~bit(inner));
    if (outside < SPLIT_BELOW)
        result.split = inner;
    return result;
}

/* The index along which a selection writes its answers. */
static index_set answers(node_view v) {
    return v.op == NODE_CHOSEN ? v.vars : bit(v.scan_index);
}

static nest topk_nest(scheduler *c, node n, uint32_t target, axis_order order) {
    node_view v     = graph_view(c->g, n);
    axis_order rows = without(&order, answers(v));
    statement *s    = schedule_statement(STATEMENT_TOPK);
    s->target       = target;
    s->value        = n;
    s->index        = v.scan_index;
    return (nest){schedule_loops(c, &rows, true, s), GRAPH_INDICES};
}

/* Can a solve go along an index: has the matrix none of it, and has it enough values to fill a register? */
static bool goes_along(const scheduler *c, node n, index_id i) {
    node matrix = graph_view(c->g, n).child[0];
    return !(graph_view(c->g, matrix).free & bit(i)) && graph_index_extent(c->g, i) >= LEAST_ALONG;
}

/* Along the innermost index where that can be: every element of the matrix is then read once for all of it. Else the
 * rows are innermost, and each is a sum. */
static nest solve_nest(scheduler *c, node n, uint32_t target, axis_order order) {
    node_view v     = graph_view(c->g, n);
    index_id column = graph_solve_column(c->g, n), row = v.scan_index;
    index_id last  = order.rank ? order.index[order.rank - 1] : row;
    bool along     = last != row && goes_along(c, n, last);
    node row_value = graph_index_value(c->g, row), column_value = graph_index_value(c->g, column);
    statement *s = schedule_statement(STATEMENT_SOLVE);
    s->target    = target;
    s->value     = n;
    s->index     = row;
    s->reverse   = v.reverse;
    s->domain    = graph_pointwise(c->g, NODE_LESS, v.reverse ? row_value : column_value,
                                v.reverse ? column_value : row_value, NODE_NONE);
    schedule_fit_nodes(c);
    if (along)
        s->var[s->var_count++] = last;
    axis_order outer = without(&order, bit(row) | (along ? bit(last) : 0));
    bool few         = graph_space(c->g, v.free & ~c->fixed & ~bit(row) & ~bit(last)) < SPLIT_BELOW;
    return (nest){schedule_loops(c, &outer, true, s), along && few ? last : GRAPH_INDICES};
}

element_type schedule_element(value_type type) {
    return type == TYPE_FLOAT ? ELEMENT_FLOAT : type == TYPE_INT ? ELEMENT_INT32 : ELEMENT_BOOL;
}

static nest scan_nest(scheduler *c, node n);

static nest nest_of(scheduler *c, node n, uint32_t target, axis_order order) {
    switch (graph_view(c->g, n).op) {
    case NODE_REDUCE:
        return reduce_nest(c, n, target, order);
    case NODE_TOPK:
    case NODE_CHOSEN:
        return topk_nest(c, n, target, order);
    case NODE_SOLVE:
        return solve_nest(c, n, target, order);
    case NODE_SCAN:
        return scan_nest(c, n);
    default:
        return (nest){schedule_loops(c, &order, true, store(target, n)), GRAPH_INDICES};
    }
}

/* Of a block, the rows are outermost: those of a shorter one then lie together. */
void schedule_row_first(const scheduler *c, axis_order *order) {
    axis_order rest = without(order, bit(c->open->row));
    if (rest.rank == order->rank)
        return;
    order->index[0] = c->open->row;
    memcpy(order->index + 1, rest.index, rest.rank * sizeof *rest.index);
}

/* A solve's rows are outside the index that its statement goes along, if there is one. */
static axis_order solve_order(const scheduler *c, node n, axis_order order) {
    node_view v      = graph_view(c->g, n);
    index_set others = 0;
    for (unsigned i = 0; i < order.rank; i++)
        others |= goes_along(c, n, order.index[i]) ? bit(order.index[i]) : 0;
    others &= ~(bit(v.scan_index) | c->fixed | c->grid);
    if (c->open && !c->whole && (others & ~bit(c->open->row)))
        others &= ~bit(c->open->row);
    index_id inner = others ? schedule_innermost(c, n, others, NULL) : GRAPH_INDICES;
    order          = with_last(&order, bit(v.scan_index));
    return inner == GRAPH_INDICES ? order : with_last(&order, bit(inner));
}

/* Where a list says what is read, or where to add, the largest load does not say which order is good. What is added
 * goes along what is read in order; a sum that reads in order along what it sums over leaves results that are best
 * read along the list. */
static axis_order listed_order(scheduler *c, node n, axis_order order) {
    node_view v    = graph_view(c->g, n);
    index_set axes = 0;
    index_id along = GRAPH_INDICES;
    node to        = NODE_NONE;
    for (unsigned i = 0; i < order.rank; i++)
        axes |= bit(order.index[i]);
    if (v.op != NODE_REDUCE)
        return order;
    if (schedule_scatter_rest(c, n, axes, &along, &to)) {
        axes &= schedule_places(c->g, to) ? ~bit(along) : 0;
        return axes ? with_last(&order, bit(schedule_smoothest(c, n, axes))) : order;
    }
    v              = graph_view(c->g, n);
    index_id inner = schedule_innermost(c, n, v.free | v.vars, NULL);
    list_reads l   = schedule_list_reads(c, n);
    return inner != GRAPH_INDICES && v.vars >> inner & 1 ? with_last(&order, l.places & ~l.plain & axes) : order;
}

/* Selections write whole rows, so that index comes last. */
axis_order schedule_layout(scheduler *c, node n, index_set axes) {
    axis_order order = listed_order(c, n, schedule_order(c, n, axes));
    node_view v      = graph_view(c->g, n);
    axis_order hint  = {0};
    for (unsigned i = 0; i < c->hint.rank; i++)
        if (axes >> c->hint.index[i] & 1)
            hint.index[hint.rank++] = c->hint.index[i];
    if (hint.rank == order.rank)
        order = hint;
    if (graph_selects(v.op))
        order = with_last(&order, answers(v));
    if (v.op == NODE_SOLVE)
        order = solve_order(c, n, order);
    if (c->open && !c->whole && !c->sink)
        schedule_row_first(c, &order);
    return without(&order, c->grid);
}

/* What the steps of a scan are made of. */
typedef struct inside {
    uint32_t label;
    node_map seen;
    node *list; /* the nodes that a step stores, in the order in which they need each other */
    unsigned count, room;
    index_set mixed; /* indices along which a step reads more than one element */
    index_set sides; /* rows and columns of what it multiplies */
    index_set kept;  /* those of what scans inside it multiply */
    index_set all;   /* indices that everything stored has */
} inside;

/* Is n computed in a step as a product of matrices? Not among blocks of rows, which products are not made for. */
static bool multiplies(const scheduler *c, node n) {
    return c->product[n] && !c->open;
}

static void visit_inside(const scheduler *c, node n, inside *in) {
    n = schedule_strip(c->g, n);
    if (!c->inside[n] || !schedule_is_new(&in->seen, n))
        return;
    node_view v = graph_view(c->g, n);
    if (v.op == NODE_REDUCE)
        in->mixed |= v.vars;
    if (multiplies(c, n)) {
        index_set sides = c->product[n]->rows | c->product[n]->columns;
        in->sides |= sides;
        in->kept |= c->inside[n] == in->label ? 0 : sides;
    }
    if (v.op == NODE_GATHER)
        for (unsigned i = 0; i + 1 < v.child_count; i++)
            in->mixed |= bit(v.substituted[i]);
    if (v.op == NODE_SOLVE)
        in->mixed |= v.vars;
    if (graph_selects(v.op) || v.op == NODE_SCAN || v.op == NODE_SOLVE)
        in->mixed |= bit(v.scan_index);
    if (v.op == NODE_CHOSEN)
        in->mixed |= v.vars;
    if (v.op == NODE_SCAN)
        for (unsigned k = 0; k < v.child_count / 2; k++)
            in->all &= graph_view(c->g, graph_scan_node(c->g, v.scan_label, k)).free;
    bool operands = c->product[n] != NULL;
    for (unsigned i = 0; i < (operands ? 2 : v.child_count); i++)
        visit_inside(c, operands ? c->product[n]->factor[i] : v.child[i], in);
    if (c->stored[n] && c->inside[n] == in->label) {
        in->all &= v.free;
        if (in->count == in->room) {
            unsigned more = in->room ? 2 * in->room : 16;
            in->list      = enough_grown(in->list, in->room, more, sizeof *in->list);
            in->room      = more;
        }
        in->list[in->count++] = n;
    }
}

static node body_of(const scheduler *c, uint32_t label, unsigned state) {
    return schedule_strip(c->g, graph_scan_body(c->g, graph_scan_node(c->g, label, state)));
}

/* Which state of the scan is n the body of, element for element? The number of states where it is of none. */
static unsigned state_of_body(const scheduler *c, node n, uint32_t label) {
    unsigned states = graph_scan_states(c->g, label), k = 0;
    while (k < states && (body_of(c, label, k) != n ||
                          graph_view(c->g, graph_scan_node(c->g, label, k)).free != graph_view(c->g, n).free))
        k++;
    return k;
}

/* A body that other bodies contain (they want the new value of its state) is stored once, as the state. What has loops
 * of its own is stored in any case, and copied. */
static void store_bodies(scheduler *c, uint32_t label) {
    for (unsigned k = 0; k < graph_scan_states(c->g, label); k++) {
        node body = body_of(c, label, k);
        if (c->inside[body] == label && graph_view(c->g, body).op != NODE_PREVIOUS &&
            state_of_body(c, body, label) < graph_scan_states(c->g, label))
            c->stored[body] = 1;
    }
}

static bool has_own_loops(node_op op) {
    return op == NODE_REDUCE || op == NODE_SCAN || graph_selects(op) || op == NODE_SOLVE;
}

/* One state of a scan. */
typedef struct scan_state {
    uint32_t target;
    node body;
    axis_order loops; /* inside a step */
    bool stored;
} scan_state;

/* The buffer of a state: the indices open around the scan, those of the loops around its steps, the step, the rest. */
static void add_state(scheduler *c, node scan, index_set apart, index_id inner, scan_state *s) {
    node_view v               = graph_view(c->g, scan);
    index_set rest            = v.free & ~bit(v.scan_index) & ~c->fixed & ~apart;
    s->body                   = schedule_strip(c->g, graph_scan_body(c->g, scan));
    inner                     = inner == GRAPH_INDICES ? schedule_innermost(c, s->body, rest, NULL) : inner;
    index_set last            = inner == GRAPH_INDICES ? 0 : bit(inner);
    axis_order outer          = in_id_order(c, apart);
    axis_order whole          = in_id_order(c, c->fixed & v.free & ~bit(v.scan_index) & ~c->stepping);
    s->loops                  = in_id_order(c, rest & ~last);
    axis_order step           = {.rank = 1, .index = {v.scan_index}};
    const axis_order *part[3] = {&outer, &step, &s->loops};
    if (last)
        s->loops.index[s->loops.rank++] = inner;
    for (unsigned p = 0; p < 3; p++)
        for (unsigned i = 0; i < part[p]->rank; i++)
            whole.index[whole.rank++] = part[p]->index[i];
    s->target             = schedule_add_buffer(c, PLACE_WORKSPACE, 0, schedule_element(v.type), &whole);
    c->s->buffer_of[scan] = s->target;
}

static statement *store_state(scheduler *c, scan_state *s) {
    s->stored = true;
    return schedule_loops(c, &s->loops, true, store(s->target, s->body));
}

axis_order schedule_for_items(const scheduler *c, index_set axes, const axis_order *own) {
    axis_order full = in_id_order(c, c->stepping ? axes & c->fixed & ~c->stepping : 0);
    for (unsigned k = 0; k < own->rank; k++)
        full.index[full.rank++] = own->index[k];
    return full;
}

static statement *inside_product(scheduler *c, node n) {
    statement *made = NULL, **sink = c->sink;
    index_set grid = c->grid;
    c->sink        = &made;
    c->grid        = c->fixed;
    schedule_emit_product(c, n, NO_BUFFER);
    c->sink = sink;
    c->grid = grid;
    return made;
}

/* What a step stores besides its states, in a buffer that every step uses anew. */
static statement *inside_nest(scheduler *c, node n) {
    if (multiplies(c, n))
        return inside_product(c, n);
    index_set axes     = graph_view(c->g, n).free;
    axis_order own     = schedule_layout(c, n, axes & ~c->fixed);
    axis_order full    = schedule_for_items(c, axes, &own);
    uint32_t target    = schedule_add_buffer(c, PLACE_WORKSPACE, 0, schedule_element(graph_view(c->g, n).type), &full);
    nest made          = nest_of(c, n, target, own);
    c->s->buffer_of[n] = target;
    return made.body;
}

/* One step: everything that it stores, in the order of need, and the states. A state before the step is read from the
 * place of the step before, so the order of the states is free. */
static statement *step_of(scheduler *c, const inside *in, scan_state *state) {
    unsigned states   = graph_scan_states(c->g, in->label);
    statement *result = NULL;
    for (unsigned i = 0; i < in->count; i++) {
        node n     = in->list[i];
        node_op op = graph_view(c->g, n).op;
        unsigned k = has_own_loops(op) ? states : state_of_body(c, n, in->label);
        if (k < states) {
            schedule_append(&result, store_state(c, &state[k]));
            c->s->buffer_of[n] = state[k].target;
        } else if (op != NODE_SCAN) {
            schedule_append(&result, inside_nest(c, n));
        } else if (c->s->buffer_of[n] == NO_BUFFER) { /* not yet with another state of its scan */
            schedule_append(&result, scan_nest(c, n).body);
        }
    }
    for (unsigned k = 0; k < states; k++)
        if (!state[k].stored)
            schedule_append(&result, store_state(c, &state[k]));
    return result;
}

static node largest_state(const scheduler *c, node_view v) {
    node best = graph_scan_node(c->g, v.scan_label, 0);
    for (unsigned k = 1; k < v.child_count / 2; k++) {
        node n = graph_scan_node(c->g, v.scan_label, k);
        if (graph_space(c->g, graph_view(c->g, n).free) > graph_space(c->g, graph_view(c->g, best).free))
            best = n;
    }
    return best;
}

/* Are the products of a step large without some of their rows and columns? */
static bool all_pay(const scheduler *c, const inside *in, index_set without) {
    if (in->kept & without)
        return false;
    for (unsigned i = 0; i < in->count; i++) {
        const product *p = multiplies(c, in->list[i]) ? c->product[in->list[i]] : NULL;
        if (p && !schedule_pays_in_step(c, p->rows & ~without, p->columns & ~without, p->inner))
            return false;
    }
    return true;
}

/* The indices that can be outside the scan, but for rows and columns that make products large. */
static index_set indices_apart(const scheduler *c, const inside *in, index_set taken) {
    index_set can = in->all & ~in->mixed & ~taken, apart = can & ~in->sides;
    for (unsigned i = 0; i < graph_index_count(c->g); i++)
        if ((can & ~apart) >> i & 1 && all_pay(c, in, apart | bit((index_id)i)))
            apart |= bit((index_id)i);
    return apart;
}

/* The columns of a step's products, along which they lie in memory. */
static index_set columns_of(const scheduler *c, const inside *in, index_set grid) {
    index_set columns = 0;
    for (unsigned i = 0; i < in->count; i++)
        if (multiplies(c, in->list[i]))
            columns |= schedule_product_of_item(c->product[in->list[i]], grid).columns;
    return columns;
}

/* Where there are fewer items than threads, rows or columns that no step mixes are divided among them in blocks. */
static statement *divide(const scheduler *c, const inside *in, index_set apart, index_set taken) {
    index_set free = in->all & ~in->mixed & in->sides & ~taken & ~apart;
    index_id best  = GRAPH_INDICES;
    for (unsigned i = 0; i < graph_index_count(c->g); i++)
        if (free >> i & 1 &&
            (best == GRAPH_INDICES || graph_index_extent(c->g, (index_id)i) > graph_index_extent(c->g, best)))
            best = (index_id)i;
    int64_t items = graph_space(c->g, apart), workers = schedule_workers(c);
    if (best == GRAPH_INDICES || items >= workers || c->ranged.rank)
        return NULL;
    int64_t extent = graph_index_extent(c->g, best), blocks = (workers + items - 1) / items;
    int64_t each = ((extent + blocks - 1) / blocks + SIDE_UNIT - 1) / SIDE_UNIT * SIDE_UNIT;
    if (each >= extent)
        return NULL;
    statement *s = schedule_statement(STATEMENT_BLOCK);
    s->index     = best;
    s->block     = each;
    s->parallel  = true;
    return s;
}

/* The buffers of all states of a scan; that of `largest` has `inner` last, of others one of the products' columns. */
static scan_state *add_states(scheduler *c, node_view v, index_set apart, node largest, index_id inner,
                              index_set columns) {
    unsigned states  = v.child_count / 2;
    scan_state *part = schedule_allocate(states, sizeof *part);
    for (unsigned k = 0; k < states; k++) {
        node here     = graph_scan_node(c->g, v.scan_label, k);
        index_set own = columns & graph_view(c->g, here).free;
        index_id last = own ? schedule_innermost(c, body_of(c, v.scan_label, k), own, NULL) : GRAPH_INDICES;
        add_state(c, here, apart, here == largest ? inner : last, &part[k]);
    }
    return part;
}

/* All steps, one after another, with the loops over `apart` open; `divided`: of blocks of that index. */
static statement *steps_of(scheduler *c, node_view v, const inside *in, scan_state *state, index_set apart,
                           index_id divided) {
    index_set before = c->fixed, before_stepping = c->stepping;
    axis_order ranged = c->ranged;
    if (divided != GRAPH_INDICES)
        c->ranged.index[c->ranged.rank++] = divided;
    c->fixed |= apart | bit(v.scan_index);
    c->stepping |= bit(v.scan_index);
    statement *scan = schedule_statement(STATEMENT_FOR);
    scan->index     = v.scan_index;
    scan->reverse   = v.reverse;
    scan->body      = step_of(c, in, state);
    c->fixed        = before;
    c->stepping     = before_stepping;
    c->ranged       = ranged;
    return scan;
}

/* Loops over the indices that the step keeps apart, then the scanned index, then the step: what it stores inside, and
 * the new states. The index that walks through memory stays innermost even where it could be outside. */
static nest scan_nest(scheduler *c, node n) {
    node_view v = graph_view(c->g, n);
    inside in   = {.label = v.scan_label, .all = ~(index_set)0};
    store_bodies(c, v.scan_label);
    for (unsigned k = 0; k < v.child_count / 2; k++) {
        visit_inside(c, body_of(c, v.scan_label, k), &in);
        in.all &= graph_view(c->g, graph_scan_node(c->g, v.scan_label, k)).free;
    }
    index_set around  = c->fixed | bit(v.scan_index);
    index_set apart   = indices_apart(c, &in, around);
    index_set columns = columns_of(c, &in, around | apart);
    node largest      = largest_state(c, v);
    node largest_body = body_of(c, v.scan_label, graph_view(c->g, largest).scan_state);
    index_set state   = graph_view(c->g, largest).free & ~around;
    index_set within  = columns & state ? columns & state : columns || !apart ? state & ~apart : apart;
    index_id inner    = schedule_innermost(c, largest_body, within, NULL);
    if (inner != GRAPH_INDICES)
        apart &= ~bit(inner);

    scan_state *part  = add_states(c, v, apart, largest, inner, columns);
    statement *blocks = c->fixed ? NULL : divide(c, &in, apart, around);
    statement *steps  = steps_of(c, v, &in, part, apart, blocks ? blocks->index : GRAPH_INDICES);
    if (blocks)
        blocks->body = steps;
    node_map_free(&in.seen);
    free(in.list);
    free(part);
    axis_order outer = in_id_order(c, apart);
    return (nest){schedule_loops(c, &outer, true, blocks ? blocks : steps), GRAPH_INDICES};
}

static int64_t times_at_most(int64_t a, int64_t b) {
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX / 4 : product;
}

static int64_t product_work(const scheduler *c, const matrix_product *p) {
    const axis_order *const side[3] = {&p->rows, &p->columns, &p->inner};
    int64_t work                    = 1;
    for (unsigned k = 0; k < 3; k++)
        for (unsigned i = 0; i < side[k]->rank; i++)
            work = times_at_most(work, graph_index_extent(c->g, side[k]->index[i]));
    return work;
}

static int64_t count_work(const scheduler *c, const statement *s, int64_t times) {
    int64_t work = 0;
    for (; s; s = s->next) {
        int64_t inner = times;
        if (s->kind == STATEMENT_FOR || s->kind == STATEMENT_TOPK || s->kind == STATEMENT_SOLVE)
            inner = times_at_most(inner, graph_index_extent(c->g, s->index));
        if (s->kind == STATEMENT_SOLVE) /* a row needs half of the others */
            inner = times_at_most(inner, (graph_index_extent(c->g, s->index) + 1) / 2);
        if (s->kind == STATEMENT_PRODUCT)
            inner = times_at_most(inner, product_work(c, s->product));
        for (unsigned i = 0; i < s->var_count; i++)
            inner = times_at_most(inner, graph_index_extent(c->g, s->var[i]));
        work += s->kind == STATEMENT_FOR || s->kind == STATEMENT_BLOCK ? count_work(c, s->body, inner)
                : s->kind == STATEMENT_TOPK                            ? 64 * inner
                                                                       : 4 * inner;
        if (work < 0 || work > INT64_MAX / 4)
            return INT64_MAX / 4;
    }
    return work;
}

static void add_nest(scheduler *c, node n, nest made) {
    if (c->sink) {
        schedule_append(c->sink, made.body);
        return;
    }
    step *t  = schedule_add_step(c);
    t->kind  = STEP_NEST;
    t->node  = n;
    t->body  = made.body;
    t->split = made.split;
    t->work  = count_work(c, made.body, 1);
    if (made.split != GRAPH_INDICES) {
        t->items = graph_index_extent(c->g, made.split);
        return;
    }
    statement *s = made.body;
    while (s && !s->next && s->kind == STATEMENT_FOR && s->parallel && t->items < ENOUGH_ITEMS) {
        bool innermost = s->body && !s->body->next && s->body->kind != STATEMENT_FOR &&
                         s->body->kind != STATEMENT_BLOCK && s->body->kind != STATEMENT_REDUCE &&
                         s->body->kind != STATEMENT_TOPK && s->body->kind != STATEMENT_SOLVE;
        if (innermost) {
            if (t->parallel_count == 0) { /* one loop: its range is divided */
                t->split = s->index;
                t->items = graph_index_extent(c->g, s->index);
            }
            break;
        }
        t->parallel_count++;
        t->items *= graph_index_extent(c->g, s->index);
        s = s->body;
    }
    if (s && !s->next && s->kind == STATEMENT_BLOCK && s->parallel) {
        t->parallel_count++;
        t->items *= (graph_index_extent(c->g, s->index) + s->block - 1) / s->block;
    }
}

/* A result that grows from block to block begins, before them, with what nothing adds to. */
void schedule_emit_start(scheduler *c, node n, uint32_t target) {
    const buffer *b  = &c->s->buffer[target];
    axis_order order = {.rank = b->rank};
    memcpy(order.index, b->axis, sizeof order.index);
    axis_order ranged = c->ranged;
    c->ranged         = (axis_order){0};
    add_nest(c, n,
             (nest){schedule_loops(c, &order, true, store(target, identity(c, graph_view(c->g, n)))), GRAPH_INDICES});
    c->ranged = ranged;
    schedule_fit_nodes(c);
    schedule_move_outside(c);
}

void schedule_emit_nest(scheduler *c, node n, uint32_t forced_target) {
    node_view v      = graph_view(c->g, n);
    axis_order order = schedule_layout(c, n, v.free);
    uint32_t target  = forced_target;
    if (target == NO_BUFFER) {
        target = schedule_add_buffer(c, PLACE_WORKSPACE, 0, schedule_element(v.type), &order);
    } else {
        const buffer *b = &c->s->buffer[target];
        order.rank      = b->rank;
        memcpy(order.index, b->axis, sizeof order.index);
    }
    if (schedule_gathers(c, n))
        schedule_emit_start(c, n, target);
    nest made          = nest_of(c, n, target, order);
    c->s->buffer_of[n] = target;
    add_nest(c, n, made);
}

node schedule_identity(scheduler *c, node n) {
    return identity(c, graph_view(c->g, n));
}

void schedule_emit_into(scheduler *c, node n, uint32_t target) {
    const buffer *b  = &c->s->buffer[target];
    axis_order order = {.rank = b->rank};
    memcpy(order.index, b->axis, sizeof order.index);
    order              = without(&order, c->grid);
    nest made          = nest_of(c, n, target, order);
    c->s->buffer_of[n] = target;
    add_nest(c, n, made);
}

void schedule_emit_value(scheduler *c, node value, uint32_t target) {
    const buffer *b  = &c->s->buffer[target];
    axis_order order = {.rank = b->rank};
    memcpy(order.index, b->axis, sizeof order.index);
    order = without(&order, c->grid);
    add_nest(c, value, (nest){schedule_loops(c, &order, true, store(target, value)), GRAPH_INDICES});
}

void schedule_emit_copy(scheduler *c, node n, uint32_t target) {
    const buffer *b  = &c->s->buffer[target];
    axis_order order = {.rank = b->rank};
    memcpy(order.index, b->axis, sizeof order.index);
    add_nest(c, n, (nest){schedule_loops(c, &order, true, store(target, n)), GRAPH_INDICES});
}

void schedule_emit_scan(scheduler *c, node n) {
    nest made = scan_nest(c, n);
    add_nest(c, n, made);
}
