/* Definitions: free ones, chains like attention's, and recurrences of one state or of several. */
#include "random_internal.h"

#include <math.h>

unsigned definition_count(const maker *m) {
    unsigned count = 0;
    for (unsigned k = 0; k < m->s->tensor_count; k++)
        count += m->s->tensor[k].kind == RANDOM_DEFINITION;
    return count;
}

static scope declared(const maker *m) {
    scope s = 0;
    for (unsigned i = 0; i < m->s->index_count; i++)
        s |= m->s->index[i].local ? 0 : bit_of(i);
    return s;
}

static scope axes_but(maker *m, unsigned most, scope but) {
    scope s = 0, all = declared(m) & ~but;
    for (unsigned k = below(m, most + 1); k > 0 && all; k--) {
        unsigned i = any_of(m, all);
        if (space_of(m, s | bit_of(i)) <= 60)
            s |= bit_of(i);
    }
    return s;
}

/* Makes the definition of a finished value. */
static random_tensor *define(maker *m, const char *letter, scope axes, term *value) {
    random_tensor *t = add_tensor_of(m, RANDOM_DEFINITION, value->type, letter, axes);
    t->value         = value;
    t->largest       = value->largest;
    return t;
}

static void free_definition(maker *m) {
    scope s = axes_but(m, 3, 0);
    if (chance(m, 8))
        define(m, "a", s, any_bool(m, s, 3));
    else if (chance(m, 6))
        define(m, "a", s, any_int(m, s, 3));
    else
        define(m, "a", s, tamed(m, any_float(m, s, 3 + (int)below(m, 2)), 20));
}

/* Attention-like: scores, weights, a weighted sum, in variations. */

static term *scores(maker *m, scope rows, unsigned column, unsigned inner) {
    scope s = rows | bit_of(column), outer = m->rebound;
    term *z;
    m->rebound |= bit_of(column) | (inner == RANDOM_INDICES ? 0 : bit_of(inner));
    if (inner != RANDOM_INDICES) {
        term *q = any_float(m, rows | bit_of(inner), 1), *k = any_float(m, bit_of(column) | bit_of(inner), 1);
        z = sum_over(m, bit_of(inner), NULL, random_product_of(m, q, k));
        z = chance(m, 50) ? infix(m, "/", z, call(m, "sqrt", RANDOM_FLOAT, 1, number(m, extent_of(m, inner)), NULL))
                          : z;
    } else {
        z = any_float(m, s, 2);
    }
    if (chance(m, 35))
        z = infix(m, "+", z, any_float(m, s, 1));
    m->rebound = outer;
    return tamed(m, z, 10);
}

static term *weighting(maker *m, scope rows, unsigned column, term *z, term *domain) {
    static const char *const name[] = {"softmax", "softmax", "softmax", "sinksoftmax", "logsoftmax", "rmsnorm"};
    unsigned way                    = below(m, 8);
    if (way < 6) {
        term *sink = way == 3 ? tamed(m, any_float(m, rows, 0), 5) : NULL;
        return along(m, name[way], RANDOM_FLOAT, way == 4 ? 5 : 1, column, domain, z, sink);
    }
    term *w = way == 6 ? call(m, "sigmoid", RANDOM_FLOAT, 1, z, NULL) : random_product_of(m, z, copy_of(m, z));
    return domain ? guard(m, w, domain) : w;
}

static void attention(maker *m) {
    unsigned row = below(m, 2), column = 1 - row, inner = chance(m, 70) ? 2 : RANDOM_INDICES;
    scope rows = bit_of(row), extra = axes_but(m, 1, bit_of(row) | bit_of(column) | bit_of(2));
    rows |= space_of(m, rows | extra | bit_of(column)) <= 75 ? extra : 0;
    scope s = rows | bit_of(column);
    term *z = scores(m, rows, column, inner), *domain = domain_over(m, rows, column, false);
    if (chance(m, 50)) { /* with names for the parts */
        define(m, "z", s, z);
        z = read_this(m, s, m->s->tensor_count - 1);
    }
    term *p = weighting(m, rows, column, z, domain);
    if (chance(m, 30))
        p = call(m, "dropout", RANDOM_FLOAT, 2 * p->largest, p, number(m, 0.3));
    define(m, "p", s, p);
    unsigned weights = m->s->tensor_count - 1;
    scope width      = chance(m, 70) ? bit_of(2) : 0;
    if (space_of(m, s | width) > RANDOM_SPACE)
        width = 0;
    p       = read_this(m, s, weights);
    term *v = any_float(m, bit_of(column) | width | (chance(m, 30) ? rows : 0), 1);
    term *o = sum_over(m, bit_of(column), NULL, random_product_of(m, p, v));
    if (chance(m, 25)) {
        term *other =
            sum_over(m, bit_of(column), NULL, random_product_of(m, read_this(m, s, weights), any_float(m, s, 1)));
        o = infix(m, chance(m, 50) ? "+" : "*", o, other);
    }
    define(m, "o", rows | width, tamed(m, o, 20));
}

/* Recurrences */

/* The step of a state that has the scope s: what it was times something, and something more. */
static term *step_of(maker *m, scope s, unsigned number_of) {
    const random_tensor *t = &m->s->tensor[number_of];
    term *before = new_term(m, TERM_READ, t->type, t->name, t->largest), *input = any_float(m, s, 2), *decay;
    for (unsigned k = 0; k < t->rank; k++) {
        const char *name               = m->s->index[t->index[k]].name;
        const char *text               = k == t->step ? name_text(m, "%s%c1", name, t->reverse ? '+' : '-') : name;
        before->child[before->count++] = leaf(m, RANDOM_INT, text, 5);
    }
    unsigned way = below(m, 6);
    if (way == 0)
        return call(m, chance(m, 50) ? "max" : "min", RANDOM_FLOAT, 2.5, before, input);
    if (way < 3)
        decay = number(m, 0.25 * (1 + (double)below(m, 4)));
    else if (way == 3)
        decay = call(m, "sigmoid", RANDOM_FLOAT, 1, any_float(m, s, 1), NULL);
    else
        decay = any_float(m, s, 1);
    term *kept = random_product_of(m, decay, before);
    if (way == 5) { /* the delta rule: what the state says is taken off */
        scope other = s & ~bit_of(t->index[t->step]);
        if (!other)
            return infix(m, "+", kept, input);
        unsigned along = any_of(m, other);
        scope outer    = m->rebound;
        m->rebound |= bit_of(along);
        term *key  = read_tensor(m, bit_of(along) | bit_of(t->index[t->step]), RANDOM_FLOAT);
        term *said = sum_over(m, bit_of(along), NULL, random_product_of(m, copy_of(m, before), copy_of(m, key)));
        m->rebound = outer;
        input      = random_product_of(m, key, infix(m, "-", input, said));
    }
    return infix(m, "+", kept, input);
}

static term *initial_of(maker *m, const random_tensor *t) {
    scope s = 0;
    for (unsigned k = 0; k < t->rank; k++)
        s |= k == t->step ? 0 : bit_of(t->index[k]);
    if (t->type == RANDOM_BOOL)
        return leaf(m, RANDOM_BOOL, chance(m, 50) ? "(0 == 0)" : "(0 == 1)", 1);
    if (t->type == RANDOM_INT)
        return integer(m, (int)below(m, 2));
    return chance(m, 60) ? number(m, 0.5 * below(m, 3)) : tamed(m, any_float(m, s, 1), 2);
}

static term *body_of(maker *m, unsigned number_of, scope s) {
    const random_tensor *t = &m->s->tensor[number_of];
    if (t->type == RANDOM_BOOL)
        return t->recurrent ? infix(m, chance(m, 50) ? "or" : "and", read_this(m, s, number_of), any_bool(m, s, 2))
                            : any_bool(m, s, 2);
    if (t->type == RANDOM_INT)
        return infix(m, "+", read_this(m, s, number_of), any_int(m, s, 1));
    term *body = t->recurrent ? step_of(m, s, number_of) : any_float(m, s, 2);
    body       = tamed(m, body, 2.5);
    return chance(m, 12) ? guard(m, body, any_bool(m, s, 1)) : body;
}

/* With something of the next one of the group, which makes it a ring. */
static term *linked(maker *m, term *body, unsigned next, scope s) {
    term *read = read_this(m, s, next), *half = number(m, 0.5);
    if (body->type == RANDOM_FLOAT) {
        if (read->type == RANDOM_BOOL)
            return choose(m, read, body, random_product_of(m, half, copy_of(m, body)));
        if (read->type == RANDOM_INT)
            read = call(m, "sin", RANDOM_FLOAT, 1, call(m, "float", RANDOM_FLOAT, 9, read, NULL), NULL);
        return tamed(m, infix(m, "+", body, random_product_of(m, half, read)), 2.5);
    }
    term *condition = read->type == RANDOM_BOOL ? read : infix(m, ">", read, half);
    if (body->type == RANDOM_BOOL)
        return infix(m, chance(m, 50) ? "or" : "and", body, condition);
    return infix(m, "+", body, choose(m, condition, integer(m, 1), integer(m, 0)));
}

static void recurrence(maker *m) {
    unsigned states = 1 + (chance(m, 45) ? 1 + below(m, 2) : 0), first = m->s->tensor_count;
    unsigned over = below(m, 10) < 8 ? below(m, 2) : any_of(m, declared(m));
    bool reverse  = chance(m, 35);
    for (unsigned k = 0; k < states; k++) {
        scope axes       = bit_of(over) | axes_but(m, 2, bit_of(over));
        bool part        = k == 0 && states > 1 && chance(m, 25); /* an intermediate value of the step */
        random_type type = chance(m, 12) && !part ? (chance(m, 50) ? RANDOM_BOOL : RANDOM_INT) : RANDOM_FLOAT;
        random_tensor *t = add_tensor_of(m, RANDOM_DEFINITION, type, part ? "v" : "u", axes);
        for (unsigned i = 0; i < t->rank; i++)
            t->step = t->index[i] == over ? i : t->step;
        t->reverse   = reverse;
        t->recurrent = !part;
        t->hidden    = true;
    }
    for (unsigned k = 0; k < states; k++)
        if (m->s->tensor[first + k].recurrent)
            m->s->tensor[first + k].initial = initial_of(m, &m->s->tensor[first + k]);
    for (unsigned k = 0; k < states; k++) {
        m->s->tensor[first + k].hidden = false;
        m->s->tensor[first + k].open   = true;
    }
    m->in_step = true;
    for (unsigned k = 0; k < states; k++) {
        random_tensor *t = &m->s->tensor[first + k];
        scope s          = 0;
        for (unsigned i = 0; i < t->rank; i++)
            s |= bit_of(t->index[i]);
        t->value = body_of(m, first + k, s);
        if (states > 1)
            t->value = linked(m, t->value, first + (k + 1) % states, s);
        t->made = true;
        if (!t->recurrent)
            t->largest = t->value->largest;
    }
    m->in_step = false;
    for (unsigned k = 0; k < states; k++)
        m->s->tensor[first + k].open = false;
}

void add_definitions(maker *m) {
    switch (below(m, m->s->pairs ? 12 : 7)) {
    case 0:
    case 1:
        attention(m);
        break;
    case 7:
    case 8:
    case 9:
    case 10:
    case 11:
        if (m->s->tensor_count + 24 < RANDOM_TENSORS)
            add_pair(m);
        else
            attention(m);
        break;
    case 2:
    case 3:
        recurrence(m);
        break;
    default:
        free_definition(m);
        break;
    }
}
