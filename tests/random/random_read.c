/* Reads of tensors, whose positions are within range for certain, by what they are or by a guard. */
#include "random_internal.h"

#include <string.h>

enum { DEPTH = 2 }; /* of reads in positions of reads */

static scope of_size(const maker *m, scope s, unsigned size) {
    scope same = 0;
    for (unsigned i = 0; i < m->s->index_count; i++)
        if (s >> i & 1 && m->s->index[i].size == size)
            same |= bit_of(i);
    return same;
}

static term *size_leaf(maker *m, unsigned size) {
    return leaf(m, RANDOM_INT, m->s->size[size].name, m->s->size[size].value);
}

static term *last_of(maker *m, unsigned size) {
    return infix(m, "-", size_leaf(m, size), integer(m, 1));
}

static void also(maker *m, term **conditions, term *condition) {
    *conditions = *conditions ? infix(m, "and", *conditions, condition) : condition;
}

/* From an index j of the right size. In a recurrence nothing is one step away but its stepping index. */
static term *moved(maker *m, scope s, unsigned size, unsigned j, term **conditions) {
    term *at = index_leaf(m, j), *result;
    switch (below(m, 7)) {
    case 0:
        return infix(m, "-", last_of(m, size), at);
    case 1:
        return infix(m, "%", infix(m, "+", at, integer(m, 1 + (int)below(m, 3))), size_leaf(m, size));
    case 2:
        result = infix(m, "-", at, integer(m, m->in_step ? 2 : 1 + (int)below(m, 2)));
        also(m, conditions, infix(m, ">=", copy_of(m, result), integer(m, 0)));
        return result;
    case 3:
        result = infix(m, "-", at, index_leaf(m, any_of(m, s)));
        also(m, conditions, infix(m, ">=", copy_of(m, result), integer(m, 0)));
        return result;
    case 4:
        result = infix(m, "+", at, integer(m, m->in_step ? 2 : 1));
        also(m, conditions, infix(m, "<", copy_of(m, result), size_leaf(m, size)));
        return result;
    default:
        return at;
    }
}

/* An integer input or table below this size; NULL: none is found. */
static term *looked_up(maker *m, scope s, unsigned size) {
    for (unsigned k = 0; k < m->s->tensor_count; k++) {
        const random_tensor *t = &m->s->tensor[k];
        if (t->kind < RANDOM_DEFINITION && t->type == RANDOM_INT && t->below == size && !t->hidden) {
            term *read = read_this(m, s, k);
            return read && read->kind == TERM_READ ? read : NULL;
        }
    }
    return NULL;
}

/* From what is no index of the size. */
static term *computed(maker *m, scope s, unsigned size) {
    term *look = m->reading <= DEPTH && chance(m, 60) ? looked_up(m, s, size) : NULL, *number = NULL;
    if (look)
        return look;
    unsigned j = any_of(m, s);
    switch (below(m, m->reading > DEPTH ? 3 : 7)) {
    case 0:
        return last_of(m, size);
    case 1: /* groups of heads */
        if (j == RANDOM_INDICES)
            break;
        number = infix(m, "*", index_leaf(m, j), size_leaf(m, size));
        return infix(m, "/", number, size_leaf(m, m->s->index[j].size));
    case 2:
        if (j == RANDOM_INDICES)
            break;
        return infix(m, "%", index_leaf(m, j), size_leaf(m, size));
    case 3:
        number = call(m, "int", RANDOM_INT, 5, read_tensor(m, s, RANDOM_FLOAT), NULL);
        number = call(m, "min", RANDOM_INT, 5, number, last_of(m, size));
        return call(m, "max", RANDOM_INT, 5, integer(m, 0), number);
    case 4:
        for (unsigned i = 0; i < m->s->index_count; i++)
            if (m->s->index[i].size == size && !(s >> i & 1) && space_of(m, s | bit_of(i)) <= RANDOM_SPACE) {
                scope outer = m->rebound;
                m->rebound |= bit_of(i);
                term *best = bracket(m, chance(m, 50) ? "argmax" : "argmin", RANDOM_INT, extent_of(m, i), bit_of(i),
                                     NULL, read_tensor(m, s | bit_of(i), RANDOM_FLOAT), NULL);
                m->rebound = outer;
                return best;
            }
        break;
    default:
        break;
    }
    return integer(m, 0);
}

static term *position(maker *m, scope s, unsigned own, term **conditions) {
    unsigned size = m->s->index[own].size;
    scope same    = of_size(m, s, size);
    if (s >> own & 1 && chance(m, 80))
        return index_leaf(m, own);
    if (same && chance(m, 45))
        return index_leaf(m, any_of(m, same));
    if (same && chance(m, 75))
        return moved(m, s, size, any_of(m, same), conditions);
    return computed(m, s, size);
}

/* Of a recurrence: at its stepping index, or one step from it. */
static term *stepped(maker *m, const random_tensor *t, bool before) {
    const char *name = m->s->index[t->index[t->step]].name;
    return leaf(m, RANDOM_INT, before ? name_text(m, "%s%c1", name, t->reverse ? '+' : '-') : name, 5);
}

term *read_this(maker *m, scope s, unsigned which) {
    const random_tensor *t = &m->s->tensor[which];
    unsigned step          = t->recurrent || t->open ? t->index[t->step] : 0;
    if (t->hidden || (t->open && (!(s >> step & 1) || m->rebound >> step & 1 || (!t->made && !t->recurrent))))
        return NULL;
    term *read = new_term(m, TERM_READ, t->type, t->name, t->largest), *conditions = NULL;
    m->reading++;
    for (unsigned k = 0; k < t->rank; k++) {
        term *at;
        if (t->open && k == t->step)
            at = stepped(m, t, t->recurrent && (!t->made || chance(m, 60)));
        else if (t->recurrent && k == t->step && s >> step & 1 && chance(m, 12))
            at = stepped(m, t, true); /* at the first step its initial state */
        else
            at = position(m, s, t->index[k], &conditions);
        read->child[read->count++] = at;
    }
    m->reading--;
    if (!conditions)
        return read;
    if (t->type == RANDOM_FLOAT && chance(m, 25))
        return choose(m, conditions, read, number(m, 0.5));
    return guard(m, read, conditions);
}

static term *constant(maker *m, random_type type) {
    if (type == RANDOM_BOOL)
        return leaf(m, type, chance(m, 50) ? "(0 == 0)" : "(0 == 1)", 1);
    return type == RANDOM_INT ? integer(m, (int)below(m, 4)) : number(m, 0.25 * (1 + (double)below(m, 6)));
}

static bool within(const random_tensor *t, scope s) {
    for (unsigned k = 0; k < t->rank; k++)
        if (!(s >> t->index[k] & 1))
            return false;
    return t->rank > 0;
}

term *read_tensor(maker *m, scope s, random_type type) {
    unsigned found = RANDOM_TENSORS;
    for (unsigned trial = 0; trial < 8; trial++) {
        unsigned count = m->s->tensor_count, k = below(m, count);
        if (chance(m, 50) && count > 5) /* what came last */
            k = count - 1 - below(m, 5);
        const random_tensor *t = &m->s->tensor[k];
        bool open              = t->open && (t->made || t->recurrent) && !(m->rebound >> t->index[t->step] & 1);
        if (t->type != type || t->hidden || (t->open && !open))
            continue;
        if (found == RANDOM_TENSORS || within(t, s))
            found = k;
        if (open || (within(t, s) && chance(m, 80)))
            break;
    }
    term *read = found == RANDOM_TENSORS ? NULL : read_this(m, s, found);
    return read ? read : constant(m, type);
}
