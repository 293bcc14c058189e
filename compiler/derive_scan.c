/* Reverse mode through a scan, all its states at once. State k after step t is s_k(t) = f_k(s_0(t-1), s_1(t-1), …). Let
 * bar_k be the adjoint that it has from outside the scan. The adjoint of state k before step t is
 *     carry_k(t) = sum over j of (df_j / ds_k)^T total_j(t),   total_j(t) = bar_j(t) + carry_j(t+1),
 * which is a scan in the other direction whose states are the carries. What the bodies read from outside the scan and
 * what the states begin with get their parts of `total` and of the first carry.
 *
 * The bodies are differentiated as they stand, with the states before the step as leaves; only what comes out has the
 * leaves replaced by what they are seen from outside. (Replaced before, a leaf could be folded away: `if c then s else
 * 0` with s = `if t > 0 then … else 0` is one condition.) */
#include "derive_internal.h"
#include "rewrite.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_KEPT = 16 };

typedef struct backward {
    derivation *d;
    graph *g;
    node first; /* the SCAN of state 0, which those of the others follow */
    unsigned states;
    uint32_t label;
    index_id over;
    bool reverse;
    node *bar;           /* state: its adjoint from outside the scan, NODE_NONE for none */
    node *leaf, *before; /* state: before the step, inside and seen from outside */
    node *seed;          /* state: the adjoint of its body */
    node *next;          /* state: the leaf of its carry after the step, NODE_NONE: it has none */
    node *carry;         /* state: the adjoint of the state before the step, NODE_NONE for none */
    /* what the steps of the carries compute that is dear and wanted outside too: as made from what the carries are seen
     * as from outside, and the states that it becomes */
    unsigned kept;
    node made[MOST_KEPT], keeps[MOST_KEPT];
} backward;

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

/* Marks what depends on a state of the scan. Nothing below `from` does, nor what is not open. */
static bool mark_inside(derivation *inner, node n, uint32_t label, uint8_t *seen) {
    if (n < inner->from || !graph_is_open(inner->g, n))
        return false;
    uint8_t *active = &inner->active[n - inner->from];
    if (seen[n - inner->from])
        return *active;
    seen[n - inner->from] = 1;
    node_view v           = graph_view(inner->g, n);
    *active               = v.op == NODE_PREVIOUS && v.scan_label == label;
    for (unsigned i = 0; i < v.child_count; i++)
        *active |= mark_inside(inner, v.child[i], label, seen);
    return *active;
}

static int compare_keys(const void *a, const void *b) {
    node x = ((const node_entry *)a)->key, y = ((const node_entry *)b)->key;
    return (x > y) - (x < y);
}

/* What is seen from outside the scan: of a state before the step its value one step earlier, of its body its value, and
 * of what the carries' scan keeps, that. */
static unsigned list_replacements(const backward *b, bool kept, node *from, node *to) {
    unsigned count = 0;
    for (unsigned k = 0; k < b->states; k++) {
        node body      = graph_scan_body(b->g, b->first + k);
        from[count]    = b->leaf[k];
        to[count++]    = b->before[k];
        node_view v    = graph_view(b->g, body);
        bool is_itself = v.op != NODE_PREVIOUS && graph_is_open(b->g, body);
        for (unsigned i = 0; i < count; i++)
            is_itself &= from[i] != body;
        if (!is_itself || v.free != graph_view(b->g, b->first + k).free || v.type != TYPE_FLOAT)
            continue;
        from[count] = body;
        to[count++] = b->first + k;
    }
    for (unsigned i = 0; i < b->kept && kept; i++) {
        from[count] = b->made[i];
        to[count++] = b->keeps[i];
    }
    return count;
}

/* What the bodies read from outside and the carries, both as seen from outside the scan. */
static void leave_bodies(backward *b, derivation *inner) {
    node *from        = derive_allocate(2 * (2 * (size_t)b->states + MOST_KEPT), sizeof *from),
         *to          = from + 2 * (size_t)b->states + MOST_KEPT;
    size_t parts      = inner->outside ? inner->outside->count : 0;
    node *root        = derive_allocate(b->states + parts, sizeof *root);
    node_entry *entry = parts ? inner->outside->entry : NULL;
    if (parts)
        qsort(entry, parts, sizeof *entry, compare_keys);
    memcpy(root, b->carry, b->states * sizeof *root);
    for (size_t i = 0; i < parts; i++)
        root[b->states + i] = entry[i].value;
    unsigned replaced = list_replacements(b, inner->outside != NULL, from, to);
    rewrite_replace(b->g, replaced, from, to, b->states + parts, root);
    free(from);
    memcpy(b->carry, root, b->states * sizeof *root);
    for (size_t i = parts; i-- > 0;)
        derive_contribute(b->d, entry[i].key, root[b->states + i], graph_view(b->g, entry[i].key).free);
    free(root);
}

/* Reverse mode through the bodies with the adjoints `seed` of their results: fills `carry`. What the bodies read from
 * outside gets its contributions only where `keep`. Nothing but the bodies is looked at: what depends on the states was
 * made after them and before the scan. */
static void through_bodies(backward *b, bool keep) {
    node_map outside = {0};
    derivation inner = {.g = b->g, .outer = b->d, .from = b->leaf[0], .size = b->first};
    for (unsigned k = 1; k < b->states; k++)
        inner.from = b->leaf[k] < inner.from ? b->leaf[k] : inner.from;
    size_t count  = inner.size - inner.from;
    inner.adjoint = derive_allocate(count, sizeof *inner.adjoint);
    inner.active  = derive_allocate(count, 1);
    inner.outside = keep ? &outside : NULL;
    uint8_t *seen = derive_allocate(count, 1);
    for (unsigned k = 0; k < b->states; k++)
        mark_inside(&inner, graph_scan_body(b->g, b->first + k), b->label, seen);
    free(seen);
    for (unsigned k = 0; k < b->states; k++)
        if (b->seed[k])
            derive_contribute(&inner, graph_scan_body(b->g, b->first + k), b->seed[k],
                              graph_view(b->g, b->first + k).free);
    for (node n = inner.size; n-- > inner.from;)
        if (*derive_adjoint(&inner, n))
            derive_node(&inner, n);
    for (unsigned k = 0; k < b->states; k++)
        b->carry[k] = *derive_adjoint(&inner, b->leaf[k]);
    leave_bodies(b, &inner);
    free(inner.adjoint);
    free(inner.active);
    node_map_free(&outside);
}

static node sum_of(graph *g, node a, node b) {
    return a && b ? graph_add(g, a, b) : a ? a : b;
}

/* The leaves of the carries that `chosen` says, in a scan of their own. */
static void make_next(backward *b, const bool *chosen) {
    unsigned number = 0;
    uint32_t label  = 0;
    for (unsigned k = 0; k < b->states; k++) {
        b->next[k] = NODE_NONE;
        if (!chosen[k])
            continue;
        if (!label)
            label = graph_new_scan(b->g);
        derive_because(b->d, DERIVE_carry, b->first + k);
        index_set state = graph_view(b->g, b->leaf[k]).free & ~bit(b->over);
        b->next[k]      = graph_scan_state(b->g, label, number++, b->over, !b->reverse, state, TYPE_FLOAT);
    }
}

/* Finds which states have a carry, and the carries in terms of `next`: a state has one where the adjoint of some state
 * reaches it. Most often those are the states that have an adjoint from outside. */
static void find_carries(backward *b) {
    bool *chosen = derive_allocate(b->states, sizeof *chosen);
    for (unsigned k = 0; k < b->states; k++)
        chosen[k] = b->bar[k] != NODE_NONE;
    for (bool done = false; !done;) {
        bool more = false, fewer = false;
        make_next(b, chosen);
        for (unsigned k = 0; k < b->states; k++) {
            derive_because(b->d, DERIVE_total, b->first + k);
            b->seed[k] = sum_of(b->g, b->bar[k], b->next[k]);
        }
        through_bodies(b, false);
        for (unsigned k = 0; k < b->states; k++) {
            more |= b->carry[k] && !chosen[k];
            fewer |= !b->carry[k] && chosen[k];
            chosen[k] = b->carry[k] != NODE_NONE;
        }
        if (fewer) /* not all that were guessed: from none upwards */
            memset(chosen, 0, b->states * sizeof *chosen);
        done = !more && !fewer;
    }
    free(chosen);
}

/* Triangular systems that the carries of a step contain: dear, and their solutions are adjoints, which what the steps
 * read from outside wants as well. */
static void find_kept(backward *b, node n, node_map *met) {
    if (!graph_is_open(b->g, n) || node_map_find(met, n))
        return;
    node_map_enter(met, n);
    node_view v = graph_view(b->g, n);
    for (unsigned i = 0; i < v.child_count && v.op != NODE_SCAN; i++)
        find_kept(b, graph_view(b->g, n).child[i], met);
    if (v.op == NODE_SOLVE && (v.free & bit(b->over)) && b->kept < MOST_KEPT)
        b->made[b->kept++] = n;
}

/* Closes the scan of the carries: each becomes its value at every step. */
static void close_carries(backward *b) {
    node_map met = {0};
    for (unsigned k = 0; k < b->states; k++)
        if (b->next[k])
            find_kept(b, b->carry[k], &met);
    node_map_free(&met);
    size_t most = b->states + MOST_KEPT;
    node *part = derive_allocate(4 * most, sizeof *part), *previous = part, *init = part + most, *body = init + most,
         *scan     = body + most;
    unsigned count = 0, carries, changed = 0;
    derive_because(b->d, DERIVE_carry, b->first);
    for (unsigned k = 0; k < b->states; k++)
        if (b->next[k]) {
            previous[count] = b->next[k];
            init[count]     = graph_float(b->g, 0);
            body[count++]   = b->carry[k];
        }
    carries = count;
    for (unsigned i = 0; i < b->kept && carries; i++, count++) {
        index_set axes  = graph_view(b->g, b->made[i]).free & ~bit(b->over);
        uint32_t label  = graph_view(b->g, previous[0]).scan_label;
        previous[count] = graph_scan_state(b->g, label, count, b->over, !b->reverse, axes, TYPE_FLOAT);
        init[count]     = graph_float(b->g, 0);
        body[count]     = b->made[i];
    }
    if (count)
        graph_scan_group(b->g, count, previous, init, body, scan);
    for (unsigned i = carries; i < count; i++)
        b->keeps[i - carries] = scan[i];
    count = 0;
    for (unsigned k = 0; k < b->states; k++)
        b->carry[k] = b->next[k] ? scan[count++] : NODE_NONE;
    /* as it is made outside, from the carries as they are there */
    for (unsigned k = 0; k < b->states; k++)
        if (b->next[k]) {
            previous[changed] = b->next[k];
            init[changed++]   = graph_scan_before(b->g, b->carry[k]);
        }
    rewrite_replace(b->g, changed, previous, init, b->kept, b->made);
    free(part);
}

static void derive_steps(backward *b) {
    graph *g        = b->g;
    node *carried   = derive_allocate(b->states, sizeof *carried);
    bool *plain     = derive_allocate(b->states, sizeof *plain); /* the step passes the adjoint on as it is */
    bool single     = graph_index_extent(g, b->over) == 1;
    index_set whole = bit(b->over);
    if (!single) {
        find_carries(b);
        for (unsigned k = 0; k < b->states; k++)
            plain[k] = b->next[k] && b->carry[k] == b->seed[k];
        close_carries(b);
        memcpy(carried, b->carry, b->states * sizeof *carried);
    }
    for (unsigned k = 0; k < b->states; k++) {
        derive_because(b->d, DERIVE_total, b->first + k);
        if (plain[k]) /* then what it carries is the sum */
            b->seed[k] = carried[k];
        else
            b->seed[k] = sum_of(g, b->bar[k], carried[k] ? graph_scan_before(g, carried[k]) : NODE_NONE);
    }
    through_bodies(b, true);
    node at = graph_int(g, b->reverse ? graph_index_extent(g, b->over) - 1 : 0);
    for (unsigned k = 0; k < b->states; k++) {
        node init       = graph_scan_init(g, b->first + k);
        index_set state = graph_view(g, b->leaf[k]).free & ~whole;
        derive_because(b->d, DERIVE_initial, b->first + k);
        if (single && b->carry[k]) /* the state before the only step is the initial one */
            derive_contribute(b->d, init, b->carry[k], state | whole);
        else if (carried[k] && derive_wanted(b->d, init))
            derive_contribute(b->d, init, graph_gather(g, carried[k], 1, &b->over, &at), state);
    }
    free(carried);
    free(plain);
}

void derive_scan(derivation *d, node z) {
    graph *g    = d->g;
    node_view v = graph_view(g, z);
    backward b  = {.d       = d,
                   .g       = g,
                   .first   = graph_scan_node(g, v.scan_label, 0),
                   .states  = v.child_count / 2,
                   .label   = v.scan_label,
                   .over    = v.scan_index,
                   .reverse = v.reverse};
    node *part  = derive_allocate(6 * (size_t)b.states, sizeof *part);
    b.bar       = part;
    b.leaf      = b.bar + b.states;
    b.before    = b.leaf + b.states;
    b.seed      = b.before + b.states;
    b.next      = b.seed + b.states;
    b.carry     = b.next + b.states;
    for (unsigned k = 0; k < b.states; k++) {
        /* nothing stands between the states of a scan: their adjoints are complete together */
        derive_because(d, DERIVE_before, b.first + k);
        b.bar[k]                        = *derive_adjoint(d, b.first + k);
        *derive_adjoint(d, b.first + k) = NODE_NONE;
        b.leaf[k]                       = graph_scan_leaf(g, b.label, k);
        b.before[k]                     = graph_scan_before(g, b.first + k);
    }
    derive_steps(&b);
    free(part);
}
