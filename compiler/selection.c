/* A reduction over s under a selection looks at every s, and takes few. Here it becomes one over the places of the list
 * of those that are selected:
 *
 *     sum[s where sel[t,s] and c(s)](f(s)) = sum[r where chosen[t,r] < S and c(chosen[t,r])](f(chosen[t,r]))
 *     sum[t where sel[t,s] and c(t,s)](f(t,s)) = sum[t,r where chosen[t,r] == s and c(…)](f(t,chosen[t,r]))
 *
 * What f reads of s is read at chosen[t,r]. Such a gather goes down to what has fewer elements than there are pairs
 * (t,r), the keys and values of attention, and leaves a tensor over (t,r) above it: scores are computed for what is
 * selected only. Equal gathers are one node, so what several reductions share is computed once. Outside the list (where
 * chosen is S) a gather may be any number, since all that is built here stands under the conditions above. */
#include "selection.h"

#include "condition.h"
#include "count.h"
#include "enough.h"
#include "node_map.h"
#include "rewrite.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS = 24 };

/* A selection, as often as its index has another name. */
typedef struct listing {
    node selection; /* the condition: a TOPK, or one read at other indices */
    index_id over;  /* the index along which it selects */
    index_id place; /* that of the list */
    node list;      /* NODE_NONE: it stays a condition */
    node there;     /* is there one at this place? */
    node_map read;  /* nodes, read at the list */
} listing;

typedef struct lister {
    graph *g;
    conditions *c;
    double ratio;
    listing **listing;
    size_t count;
    node_map alike; /* sums and other reductions that must have the same bits wherever they are read */
    char *text;
    size_t text_size;
    FILE *file;
} lister;

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

static index_set free_of(const lister *l, node n) {
    return graph_view(l->g, n).free;
}

/* Conditions */

/* The parts of a conjunction; PARTS where there are too many. */
static unsigned parts_of(const graph *g, node n, node *part, unsigned count) {
    node_view v = graph_view(g, n);
    if (v.op != NODE_AND) {
        if (count < PARTS)
            part[count++] = n;
        return count;
    }
    count = parts_of(g, v.child[0], part, count);
    return parts_of(g, v.child[1], part, count);
}

/* Where a condition is a selection, as it is or read at other rows under another name of its index, its TOPK; `over` is
 * that name. */
static node selection_in(const graph *g, node condition, index_id *over) {
    node_view v = graph_view(g, condition);
    if (v.op == NODE_TOPK) {
        *over = v.scan_index;
        return condition;
    }
    if (v.op != NODE_GATHER || graph_view(g, v.child[0]).op != NODE_TOPK)
        return NODE_NONE;
    node_view t     = graph_view(g, v.child[0]);
    index_set moved = 0; /* what the rows depend on */
    *over           = t.scan_index;
    for (unsigned i = 0; i + 1 < v.child_count; i++) {
        node_view to = graph_view(g, v.child[i + 1]);
        if (v.substituted[i] != t.scan_index)
            moved |= to.free;
        else if (to.op == NODE_INDEX)
            *over = (index_id)__builtin_ctzll(to.vars);
        else
            return NODE_NONE;
    }
    bool renamed = *over != t.scan_index;
    for (unsigned i = 0; i + 1 < v.child_count; i++)
        if (v.substituted[i] == *over && renamed)
            t.free &= ~bit(*over);
    if (moved >> *over & 1 || (renamed && t.free >> *over & 1) ||
        graph_index_extent(g, *over) != graph_index_extent(g, t.scan_index))
        return NODE_NONE;
    return v.child[0];
}

static bool asks_for_selection(void *context, node n) {
    const lister *l = context;
    node_view v     = graph_view(l->g, n);
    node part[PARTS];
    index_id over;
    unsigned count = v.op == NODE_REDUCE ? parts_of(l->g, v.child[0], part, 0) : 0;
    for (unsigned i = 0; i < count && count < PARTS; i++)
        if (selection_in(l->g, part[i], &over))
            return true;
    return false;
}

/* Lists */

/* How many positions a row of the domain of a TOPK has, on average; at most, where data decide. */
static double row_length(lister *l, node topk) {
    node_view v       = graph_view(l->g, topk);
    index_set space   = v.free;
    node domain       = v.child[0];
    condition_set set = {0};
    bool exact        = true;
    condition_add(l->c, &set, domain);
    double points = (double)count_points(l->c, space, &set, &exact);
    return points / (double)graph_space(l->g, space & ~bit(v.scan_index));
}

static void say(lister *l, node topk, double length, bool listed) {
    node_view v = graph_view(l->g, topk);
    fprintf(l->file, "the %lld selected along %s%s, out of %.6g on average: %s\n", (long long)v.integer,
            graph_index_name(l->g, v.scan_index), listed ? " are read as a list" : " are a condition", length,
            listed ? "few of many" : "too many of these");
}

static index_id place_index(graph *g, index_id over, int64_t count) {
    char name[256];
    snprintf(name, sizeof name, "%s.%lld", graph_index_name(g, over), (long long)count);
    return graph_index(g, name, count);
}

/* The list of a selection: of its TOPK, read at the rows that the condition reads that at. */
static void make_list(lister *l, listing *one, node topk) {
    graph *g    = l->g;
    node_view v = graph_view(g, topk), at = graph_view(g, one->selection);
    index_id row[GRAPH_INDICES];
    node to[GRAPH_INDICES];
    unsigned rows = 0;
    one->place    = place_index(g, one->over, v.integer);
    if (one->place == GRAPH_INDICES || (v.free | at.free) >> one->place & 1)
        return;
    for (unsigned i = 0; at.op == NODE_GATHER && i + 1 < at.child_count; i++)
        if (at.substituted[i] != v.scan_index) {
            row[rows]  = at.substituted[i];
            to[rows++] = at.child[i + 1];
        }
    node domain = v.child[0], score = v.child[1];
    node list  = graph_chosen(g, v.scan_index, one->place, domain, score);
    list       = graph_gather(g, list, rows, row, to);
    node end   = graph_int(g, graph_index_extent(g, one->over));
    one->list  = list;
    one->there = graph_pointwise(g, NODE_LESS, list, end, NODE_NONE);
}

static listing *listing_of(lister *l, node selection) {
    index_id over;
    node topk = selection_in(l->g, selection, &over);
    for (size_t i = 0; i < l->count; i++)
        if (l->listing[i]->selection == selection)
            return l->listing[i];
    listing *one           = enough(calloc(1, sizeof *one));
    *one                   = (listing){.selection = selection, .over = over};
    l->listing             = enough_grown(l->listing, l->count, l->count + 1, sizeof *l->listing);
    l->listing[l->count++] = one;
    double length          = row_length(l, topk);
    if (!graph_is_open(l->g, selection) && length >= l->ratio * (double)graph_view(l->g, topk).integer)
        make_list(l, one, topk);
    if (selection == topk)
        say(l, topk, length, one->list);
    return one;
}

/* What is compared for equality, the gradient of a maximum does that, must not be computed in two ways: reductions
 * below such a comparison are read as they are for all positions. */
static void note_compared(lister *l) {
    size_t count      = graph_node_count(l->g);
    uint8_t *compared = enough(calloc(count + 1, 1));
    for (size_t n = count; n > 0; n--) {
        node_view v  = graph_view(l->g, (node)n);
        bool extreme = v.op == NODE_REDUCE && (v.reduction == REDUCE_MAX || v.reduction == REDUCE_MIN);
        bool through = graph_op_is_pointwise(v.op) || v.op == NODE_GATHER || extreme;
        bool equal   = v.op == NODE_EQUAL && graph_view(l->g, v.child[0]).type == TYPE_FLOAT;
        for (unsigned i = 0; (equal || (compared[n] && through)) && i < v.child_count; i++)
            compared[v.child[i]] = 1;
        if (compared[n] && v.op == NODE_REDUCE)
            node_map_enter(&l->alike, (node)n);
    }
    free(compared);
}

/* Reading at a list */

static node gathered(lister *l, const listing *at, node n) {
    return graph_gather(l->g, n, 1, &at->over, &at->list);
}

static node read_at(lister *l, listing *at, node n);

/* A gather that leaves the index along which is selected as it is, and all that the list depends on, may come after. */
static node read_gather(lister *l, listing *at, node n, node_view v) {
    index_id moved[GRAPH_INDICES];
    node to[GRAPH_INDICES];
    unsigned count = v.child_count - 1;
    node body      = v.child[0];
    index_set rows = free_of(l, at->list) | bit(at->over);
    bool apart     = free_of(l, body) >> at->over & 1;
    memcpy(moved, v.substituted, count);
    memcpy(to, v.child + 1, count * sizeof *to);
    for (unsigned i = 0; i < count; i++)
        apart = apart && !(rows >> moved[i] & 1) && !(free_of(l, to[i]) >> at->over & 1);
    return apart ? graph_gather(l->g, read_at(l, at, body), count, moved, to) : gathered(l, at, n);
}

static node read_below(lister *l, listing *at, node n) {
    graph *g        = l->g;
    node_view v     = graph_view(g, n);
    index_set list  = free_of(l, at->list);
    bool few        = graph_space(g, v.free) <= graph_space(g, (v.free & ~bit(at->over)) | list);
    node child[3]   = {NODE_NONE, NODE_NONE, NODE_NONE};
    unsigned count  = v.child_count;
    reduction how   = v.reduction;
    index_set bound = v.vars;
    if (n == at->selection)
        return at->there;
    if (few || graph_is_open(g, n) || node_map_find(&l->alike, n))
        return gathered(l, at, n);
    if (v.op == NODE_GATHER)
        return read_gather(l, at, n, v);
    if (!graph_op_is_pointwise(v.op) && !(v.op == NODE_REDUCE && !(bound & list)))
        return gathered(l, at, n);
    for (unsigned i = 0; i < count; i++)
        child[i] = read_at(l, at, graph_view(g, n).child[i]);
    return v.op == NODE_REDUCE ? graph_reduce(g, how, bound, child[0], child[1])
                               : graph_pointwise(g, v.op, child[0], child[1], child[2]);
}

/* n where the index along which is selected has the value of the list. */
static node read_at(lister *l, listing *at, node n) {
    if (!(free_of(l, n) >> at->over & 1))
        return n;
    const node_entry *known = node_map_find(&at->read, n);
    if (known && known->value)
        return known->value;
    node result                         = read_below(l, at, n);
    node_map_enter(&at->read, n)->value = result;
    return result;
}

/* Reductions */

/* n over the list of one part of its domain; NODE_NONE: that is not possible. */
static node over_list(lister *l, node n, listing *at, const node *part, unsigned count) {
    graph *g       = l->g;
    node_view v    = graph_view(g, n);
    index_set rows = free_of(l, at->list) & ~bit(at->place), vars = v.vars;
    bool along    = vars >> at->over & 1;
    bool scatters = !along && v.reduction == REDUCE_SUM && (vars & rows);
    reduction how = v.reduction;
    node body     = v.child[1];
    if ((v.free | vars | free_of(l, body)) >> at->place & 1 || (!along && !scatters))
        return NODE_NONE;
    node domain =
        along ? at->there : graph_pointwise(g, NODE_EQUAL, at->list, graph_index_value(g, at->over), NODE_NONE);
    for (unsigned i = 0; i < count; i++)
        if (part[i] != at->selection)
            domain = graph_and(g, domain, read_at(l, at, part[i]));
    return graph_reduce(g, how, (vars & ~bit(at->over)) | bit(at->place), domain, read_at(l, at, body));
}

static node over_lists(void *context, node before, node n) {
    lister *l = context;
    if (node_map_find(&l->alike, before))
        node_map_enter(&l->alike, n);
    for (bool more = true; more && graph_view(l->g, n).op == NODE_REDUCE;) {
        node part[PARTS];
        index_id over;
        unsigned count = parts_of(l->g, graph_view(l->g, n).child[0], part, 0);
        more           = false;
        for (unsigned i = 0; i < count && count < PARTS && !more; i++) {
            listing *at = selection_in(l->g, part[i], &over) ? listing_of(l, part[i]) : NULL;
            node result = at && at->list ? over_list(l, n, at, part, count) : NODE_NONE;
            more        = result != NODE_NONE;
            n           = more ? result : n;
        }
    }
    return n;
}

static bool selects(const graph *g) {
    for (node n = (node)graph_node_count(g); n > 0; n--)
        if (graph_view(g, n).op == NODE_TOPK)
            return true;
    return false;
}

char *selection_rewrite(graph *g, double ratio) {
    if (!selects(g))
        return NULL;
    lister l = {.g = g, .c = conditions_new(g), .ratio = ratio};
    l.file   = enough(open_memstream(&l.text, &l.text_size));
    note_compared(&l);
    rewrite_outputs(g, &(rewrite_rule){asks_for_selection, over_lists, &l});
    fclose(l.file);
    for (size_t i = 0; i < l.count; i++) {
        node_map_free(&l.listing[i]->read);
        free(l.listing[i]);
    }
    free(l.listing);
    node_map_free(&l.alike);
    conditions_free(l.c);
    if (!l.text_size) {
        free(l.text);
        return NULL;
    }
    return l.text;
}
