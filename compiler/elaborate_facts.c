/* What guards make certain: the conditions of `where`, `if`, `and` and `or` around an expression are facts inside it,
 * and every index of a read must be provably within its range under them. */
#include "elaborate_internal.h"
#include "enough.h"
#include "prove.h"

#include <stdlib.h>
#include <string.h>

static fact *add_fact(module *m) {
    if (m->fact_count == m->fact_capacity) {
        size_t more      = m->fact_capacity ? 2 * m->fact_capacity : 64;
        fact *memory     = enough(realloc(m->fact, more * sizeof *memory));
        m->fact          = memory;
        m->fact_capacity = more;
    }
    fact *f = &m->fact[m->fact_count++];
    *f      = (fact){0};
    return f;
}

void facts_hold(module *m, node condition, bool soft) {
    double value = 0;
    if (condition && (!graph_is_constant(m->g, condition, &value) || value == 0))
        *add_fact(m) = (fact){.condition = condition, .soft = soft};
}

void facts_hide(module *m, index_set set) {
    if (set && m->fact_count) /* all of them: another definition, of which nothing here is known */
        add_fact(m)->hidden = set;
}

enum { FACTS_USED = 48 };

/* The facts that hold here, innermost first. */
static unsigned facts_here(const module *m, bool soft, node *out) {
    index_set hidden = 0;
    unsigned count   = 0;
    for (size_t i = m->fact_count; i-- > 0 && count < FACTS_USED;) {
        const fact *f = &m->fact[i];
        hidden |= f->hidden;
        if (f->hidden == ~(index_set)0)
            break;
        if (f->condition && (soft || !f->soft) && !(graph_view(m->g, f->condition).free & hidden))
            out[count++] = f->condition;
    }
    return count;
}

/* Is this place never reached, by a guard that is false for these sizes? */
static bool never_here(const module *m) {
    for (size_t i = m->fact_count; i-- > 0;) {
        if (m->fact[i].hidden == ~(index_set)0)
            return false;
        if (m->fact[i].condition && graph_is_constant(m->g, m->fact[i].condition, NULL))
            return true; /* only constants that are false are kept */
    }
    return false;
}

static bool any_soft(const module *m) {
    for (size_t i = 0; i < m->fact_count; i++)
        if (m->fact[i].soft)
            return true;
    return false;
}

node movable_expression(module *m, const tree *t, index_set own, const local *scope, const trail *where) {
    size_t mark  = m->fact_count;
    bool outside = m->soft_used, soft = any_soft(m);
    fact *saved = enough(malloc((mark + 1) * sizeof *saved));
    if (mark)
        memcpy(saved, m->fact, mark * sizeof *saved);
    for (size_t i = 0; i < mark; i++)
        m->fact[i].soft = true;
    m->soft_used = false;
    facts_hide(m, own);
    node n = expression(m, t, scope, where);
    if (n && m->soft_used) {
        node known[FACTS_USED], all = NODE_NONE;
        for (unsigned i = 0, count = facts_here(m, true, known); i < count; i++)
            all = all ? graph_and(m->g, all, known[i]) : known[i];
        n = all ? guarded(m, all, n) : n;
    }
    m->soft_used  = outside || (m->soft_used && soft);
    m->fact_count = mark;
    if (mark)
        memcpy(m->fact, saved, mark * sizeof *saved);
    free(saved);
    return n;
}

/* "at t = 0, c = 1 " */
static const char *where_it_fails(module *m, const witness *w) {
    char text[256] = "";
    size_t used    = 0;
    for (unsigned i = 0; i < w->count && used < sizeof text; i++) {
        int written = snprintf(text + used, sizeof text - used, "%s%s = %lld%s", i ? ", " : "at ",
                               graph_index_name(m->g, w->index[i]), (long long)w->at[i], i + 1 == w->count ? " " : "");
        used += written > 0 ? (size_t)written : 0;
    }
    if (w->data && used < sizeof text)
        snprintf(text + used, sizeof text - used, "%s", w->count ? "and for some inputs " : "for some inputs ");
    return arena_copy(m->spec->memory, text, strlen(text));
}

void warn_of_nothing(module *m, const tree *t, const trail *where, index_set set, node domain) {
    node known[FACTS_USED];
    witness w;
    if (graph_is_constant(m->g, domain, NULL))
        return;
    size_t mark = m->fact_count;
    facts_hide(m, set);
    unsigned count = facts_here(m, true, known);
    m->fact_count  = mark;
    if (prove_inhabited(m->g, set, domain, known, count, &w) != PROOF_FAILS || w.data)
        return;
    /* the place is the call in the spec itself, not the reduction in a function of the library */
    const char *name = t->name;
    span at          = t->at;
    for (; where; where = where->outer) {
        name = where->function;
        at   = where->call;
    }
    module_warning(m, at, NULL, "over nothing a maximum is -infinity, and `argmax` 0",
                   "the domain of `%s` can be empty: %sno `%s` is in it", name, where_it_fails(m, &w),
                   graph_index_name(m->g, (index_id)__builtin_ctzll(set)));
}

/* The guard that would make the read legal, in the words of the spec. */
static const char *guard_hint(module *m, const tree *t, bool below, int64_t last) {
    char quoted[64], text[96];
    diagnostics_quote(t->at, quoted, sizeof quoted);
    if (below)
        snprintf(text, sizeof text, "%s >= 0", quoted);
    else
        snprintf(text, sizeof text, "%s <= %lld", quoted, (long long)last);
    return format_text(m, "guard it: `where %s`, or `if %s then … else 0`", text, text);
}

/* Does an integer depend on one that has no bounds: a real number's, or a recurrence's? */
static bool contains_unbounded(const graph *g, node n) {
    size_t nodes = graph_node_count(g) + 1, count = 0;
    uint8_t *seen = enough(calloc(nodes, 1));
    node *todo    = enough(calloc(nodes, sizeof *todo));
    bool found    = false;
    todo[count++] = n;
    while (count > 0 && !found) {
        node_view v = graph_view(g, todo[--count]);
        found       = v.type == TYPE_INT && (v.op == NODE_TO_INT || v.op == NODE_SCAN || v.op == NODE_PREVIOUS);
        for (unsigned i = 0; i < v.child_count; i++)
            if (!seen[v.child[i]]) {
                seen[v.child[i]] = 1;
                todo[count++]    = v.child[i];
            }
    }
    free(seen);
    free(todo);
    return found;
}

/* How to make legal what nobody can show to be. */
static const char *bound_hint(module *m, const tree *t, node position, int64_t last) {
    const char *guard = "guard it with a condition that says so: `where …` or `if … then … else …`";
    char quoted[64];
    if (!contains_unbounded(m->g, position))
        return guard;
    diagnostics_quote(t->at, quoted, sizeof quoted);
    return format_text(m, "%s; or clamp it: `max(0, min(%s, %lld))`", guard, quoted, (long long)last);
}

static proof within(module *m, node n, int64_t low, int64_t high, witness *w) {
    node known[FACTS_USED];
    if (never_here(m))
        return PROOF_HOLDS;
    proof found = prove_within(m->g, n, low, high, known, facts_here(m, false, known), w);
    if (found != PROOF_HOLDS && any_soft(m)) {
        found = prove_within(m->g, n, low, high, known, facts_here(m, true, known), w);
        m->soft_used |= found == PROOF_HOLDS;
    }
    return found;
}

bool certainly_within(module *m, node n, int64_t low, int64_t high) {
    witness w;
    return within(m, n, low, high, &w) == PROOF_HOLDS;
}

bool divides(module *m, const tree *t, node divisor, const trail *where) {
    node known[FACTS_USED];
    witness w;
    if (graph_is_constant(m->g, divisor, NULL) || never_here(m))
        return true;
    node zero   = graph_pointwise(m->g, NODE_EQUAL, divisor, graph_int(m->g, 0), NODE_NONE);
    node goal   = graph_pointwise(m->g, NODE_NOT, zero, NODE_NONE, NODE_NONE);
    proof found = prove_holds(m->g, goal, known, facts_here(m, true, known), &w);
    if (found != PROOF_FAILS || w.data)
        return true;
    module_error(m, t->at, where, "guard it with a condition: `if … then … else …`", "%sthis divides by zero",
                 where_it_fails(m, &w));
    return false;
}

bool in_range(module *m, const tree *t, const trail *where, node position, index_id index) {
    int64_t last = graph_index_extent(m->g, index) - 1;
    witness w    = {0};
    proof found  = within(m, position, 0, last, &w);
    if (found == PROOF_HOLDS)
        return true;
    const char *name = graph_index_name(m->g, index);
    if (found == PROOF_UNKNOWN)
        module_error(m, t->at, where, bound_hint(m, t, position, last),
                     "this cannot be shown to be within `%s`, which runs from 0 to %lld", name, (long long)last);
    else if (graph_is_constant(m->g, position, NULL))
        module_error(m, t->at, where, NULL, "this is %lld, and `%s` runs from 0 to %lld", (long long)w.value, name,
                     (long long)last);
    else
        module_error(m, t->at, where, guard_hint(m, t, w.value < 0, last),
                     "%sthis is %lld, and `%s` runs from 0 to %lld", where_it_fails(m, &w), (long long)w.value, name,
                     (long long)last);
    return false;
}

/* "N = 3, T = 8": the sizes and numbers in t, appended to `text` where they are not there yet. */
static void numbers_in(const module *m, const tree *t, char *text, size_t size) {
    for (; t; t = t->next) {
        const named_number *n = t->kind == TREE_NAME && !find_value(m, t->name) ? find_number(m, t->name) : NULL;
        char known[128 + 32];
        size_t used = strlen(text);
        if (n && strlen(t->name) < 128) {
            snprintf(known, sizeof known, "%s = %.15g", t->name, n->number);
            if (!strstr(text, known) && used + strlen(known) + 3 < size)
                snprintf(text + used, size - used, "%s%s", used ? ", " : "", known);
        }
        numbers_in(m, t->a, text, size);
        numbers_in(m, t->b, text, size);
        numbers_in(m, t->c, text, size);
        numbers_in(m, t->d, text, size);
    }
}

void require_statement(module *m, const tree *t) {
    node condition = operand(m, t->a, NULL, NULL, true);
    witness w      = {0};
    double holds   = 0;
    if (!condition)
        return;
    bool constant = graph_is_constant(m->g, condition, &holds);
    proof found   = !constant ? prove_holds(m->g, condition, NULL, 0, &w) : holds != 0 ? PROOF_HOLDS : PROOF_FAILS;
    if (found == PROOF_HOLDS)
        return;
    char text[256], numbers[256] = "";
    diagnostics_quote(t->a->at, text, sizeof text);
    numbers_in(m, t->a, numbers, sizeof numbers);
    module_error(m, t->a->at, NULL, numbers[0] ? format_text(m, "%s", numbers) : NULL, "%s%s%s`%s` %s",
                 t->b ? t->b->name : "", t->b ? ": " : "", found == PROOF_FAILS ? where_it_fails(m, &w) : "", text,
                 found == PROOF_FAILS ? "does not hold" : "cannot be shown to hold");
}
