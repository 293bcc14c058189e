/* `let`: names for parts of an expression. A chain of them is taken in order, except that those which need each other's
 * earlier values are one recurrence. */
#include "elaborate_internal.h"
#include "enough.h"

#include <stdlib.h>
#include <string.h>

static void *get(size_t count, size_t size) {
    return enough(calloc(count ? count : 1, size));
}

typedef struct chain {
    module *m;
    const trail *where;
    unsigned count;
    const tree **let;
    uint8_t *done;
    const local *scope; /* what is visible so far */
    local *frame;       /* room for what the chain declares and binds */
    unsigned used;
} chain;

static local *visible(chain *c, const char *name) {
    local *l = &c->frame[c->used++];
    *l       = (local){.outer = c->scope, .name = name, .bound = {.name = name}};
    c->scope = l;
    return l;
}

/* Is this index declared in the chain already? The same name is the same index there. */
static const local *declared_before(const chain *c, const char *name) {
    for (unsigned i = c->used; i-- > 0;)
        if (c->frame[i].is_index && strcmp(c->frame[i].name, name) == 0)
            return &c->frame[i];
    return NULL;
}

/* An index declared in the brackets of a `let`; made visible unless it is there. */
static bool declared_in_let(chain *c, const tree *t, index_id *index) {
    module *m           = c->m;
    const local *before = declared_before(c, t->name);
    int64_t extent;
    if (!before) {
        if (!declare_local_index(m, t, c->scope, c->where, index))
            return false;
        local *l    = visible(c, t->name);
        l->is_index = true;
        l->index    = *index;
        return true;
    }
    *index = before->index;
    if (!integer_value(m, t->a, c->scope, c->where, &extent))
        return false;
    if (extent == graph_index_extent(m->g, *index))
        return true;
    module_error(m, t->a->at, c->where, NULL, "`%s` runs over %lld values above, here over %lld", t->name,
                 (long long)graph_index_extent(m->g, *index), (long long)extent);
    return false;
}

/* The indices of one `let`, those declared in its brackets made visible. `restriction`: of a recurrence, whose
 * positions are counted, so that each name is one index; it receives the callers' restriction of each. */
static bool indices_of_let(chain *c, const tree *t, value *bound, node *restriction) {
    module *m = c->m;
    for (const tree *i = t->a; i; i = i->next) {
        index_id *next = bound->index + bound->rank;
        unsigned found = 0, room = TENSOR_RANK - bound->rank;
        node given = NODE_NONE;
        if (room == 0)
            module_error(m, i->at, c->where, NULL, "more than %d indices", TENSOR_RANK);
        else if (i->kind == TREE_INDEX)
            found = declared_in_let(c, i, next);
        else if (restriction)
            found = resolve_index(m, i, c->scope, c->where, next, &given);
        else
            found = resolve_indices(m, i, c->scope, c->where, next, room, &given);
        if (!found)
            return false;
        if (restriction)
            restriction[bound->rank] = given;
        if (found == 1 && i->kind == TREE_NAME && renamed_index(m, i, c->scope, c->where, next)) {
            local *l    = visible(c, i->name);
            l->is_index = true;
            l->index    = *next;
            l->renamed  = true;
        }
        for (; found > 0; found--, bound->rank++)
            for (unsigned k = 0; k < bound->rank; k++)
                if (bound->index[k] == bound->index[bound->rank]) {
                    module_error(m, i->at, c->where, NULL, "`%s` stands here twice", i->name);
                    return false;
                }
    }
    return true;
}

/* Ends the sight of indices that were renamed since `first` was made visible: elsewhere the name means what it meant.
 */
static void forget_renamed(chain *c, unsigned first, const local *before) {
    c->scope = before;
    for (unsigned k = first; k < c->used; k++)
        if (!c->frame[k].renamed) {
            c->frame[k].outer = c->scope;
            c->scope          = &c->frame[k];
        }
}

static bool plain_let(chain *c, const tree *t) {
    module *m           = c->m;
    value bound         = {.name = t->name};
    index_set own       = 0;
    unsigned first      = c->used;
    const local *before = c->scope;
    if (!indices_of_let(c, t, &bound, NULL))
        return false;
    if (t->d) {
        module_error(m, t->at, c->where, "read it one step earlier: `t-1`, or later: `t+1`",
                     "`from` is for a recurrence, but `%s` does not read itself", t->name);
        return false;
    }
    for (unsigned i = 0; i < bound.rank; i++)
        own |= (index_set)1 << bound.index[i];
    bound.node = movable_expression(m, t->b, own, c->scope, c->where);
    forget_renamed(c, first, before);
    if (!bound.node)
        return false;
    visible(c, t->name)->bound = bound;
    return true;
}

static bool recurrent_lets(chain *c, const cycles *found, unsigned group) {
    recurrence r        = {.grows = true, .where = c->where};
    r.member            = get(c->count, sizeof *r.member);
    bool ok             = true;
    unsigned first      = c->used;
    const local *before = c->scope;
    for (unsigned k = 0; k < c->count && ok; k++)
        if (found->group[k] == group) {
            member *n     = &r.member[r.count++];
            n->t          = c->let[k];
            n->bound.name = c->let[k]->name;
            ok            = indices_of_let(c, c->let[k], &n->bound, n->restriction);
            c->done[k]    = 1;
        }
    unsigned members = c->used;
    for (unsigned k = 0; k < r.count && ok; k++) {
        local *l        = visible(c, r.member[k].bound.name);
        l->bound        = r.member[k].bound;
        l->bound.member = &r.member[k];
    }
    r.scope = c->scope;
    ok      = ok && recurrence_elaborate(c->m, &r);
    for (unsigned k = 0; k < r.count && ok; k++)
        c->frame[members + k].bound = r.member[k].bound;
    forget_renamed(c, first, before);
    free(r.member);
    return ok;
}

static bool bind_let(chain *c, const cycles *found, unsigned k) {
    if (c->done[k])
        return true;
    if (!found->group || !found->group[k]) {
        c->done[k] = 1;
        return plain_let(c, c->let[k]);
    }
    /* what the recurrence needs from between its members comes first */
    uint8_t *needed = get(c->count, 1);
    bool ok         = true;
    cycles_needed(found, found->group[k], needed);
    for (unsigned j = k + 1; j < c->count && ok; j++)
        if (needed[j])
            ok = bind_let(c, found, j);
    free(needed);
    return ok && recurrent_lets(c, found, found->group[k]);
}

/* A cycle without any state is none: there a name means what it meant before. */
static void keep_recurrences(const chain *c, cycles *found) {
    for (unsigned k = 0; found->group && k < c->count; k++) {
        bool state = found->group[k] == 0;
        for (unsigned j = 0; j < c->count && !state; j++)
            state = found->group[j] == found->group[k] && c->let[j]->d;
        if (!state) {
            unsigned group = found->group[k];
            for (unsigned j = 0; j < c->count; j++)
                if (found->group[j] == group)
                    found->group[j] = 0;
        }
    }
}

node let_chain(module *m, const tree *t, const local *scope, const trail *where) {
    chain c           = {.m = m, .where = where, .scope = scope};
    cycles found      = {0};
    index_set outside = m->local_set;
    unsigned names    = 0;
    bool state        = false;
    const tree *last  = t;
    for (; last->kind == TREE_LET; last = last->c) {
        c.count++;
        state |= last->d != NULL;
        for (const tree *i = last->a; i; i = i->next)
            names++;
    }
    c.let   = get(c.count, sizeof *c.let);
    c.done  = get(c.count, 1);
    c.frame = get(c.count + names, sizeof *c.frame);
    for (unsigned k = 0; k < c.count; k++, t = t->c)
        c.let[k] = t;
    if (state) {
        found = cycles_find(c.let, c.count);
        keep_recurrences(&c, &found);
    }
    bool ok = true;
    for (unsigned k = 0; k < c.count && ok; k++)
        ok = bind_let(&c, &found, k);
    node n = ok ? expression(m, last, c.scope, where) : NODE_NONE;
    cycles_free(&found);
    free(c.let);
    free(c.done);
    free(c.frame);
    m->local_set = outside;
    return n;
}
