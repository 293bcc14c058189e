/* Definitions over pairs of positions, as programs with long sequences are made of: scores; statistics of them for each
 * row, one after the other; sums over columns that need the statistics; sums over rows of the same scores; heads that
 * meet. What may share one walk over the columns, and what may not, is decided by small differences among these. */
#include "random_internal.h"

#include <math.h>
#include <string.h>

typedef struct pair {
    unsigned row, column, inner, head; /* inner, head: RANDOM_INDICES: none */
    scope rows, both;                  /* of a statistic, of the scores */
    term *domain;                      /* NULL: all columns */
    bool inhabited;                    /* it holds somewhere in every row */
    bool of_head;                      /* it may be another for each head */
    unsigned score;                    /* number of the tensor of scores; 0: they are copied */
    term *scores;
} pair;

/* The tensor at the indices in sight themselves. */
static term *read_plainly(maker *m, unsigned number_of) {
    const random_tensor *t = &m->s->tensor[number_of];
    term *read             = new_term(m, TERM_READ, t->type, t->name, t->largest);
    for (unsigned k = 0; k < t->rank; k++)
        read->child[read->count++] = index_leaf(m, t->index[k]);
    return read;
}

static term *fresh(maker *m, random_kind kind, scope axes) {
    add_tensor_of(m, kind, RANDOM_FLOAT, kind == RANDOM_PARAM ? "w" : "x", axes);
    return read_plainly(m, m->s->tensor_count - 1);
}

static term *defined(maker *m, const char *letter, scope axes, term *value) {
    random_tensor *t = add_tensor_of(m, RANDOM_DEFINITION, value->type, letter, axes);
    t->value         = value;
    t->largest       = value->largest;
    return read_plainly(m, m->s->tensor_count - 1);
}

/* With a name, or where it stands. */
static term *perhaps_defined(maker *m, const char *letter, scope axes, term *value) {
    return chance(m, 60) ? defined(m, letter, axes, value) : value;
}

static scope inner_of(const pair *p) {
    return p->inner == RANDOM_INDICES ? 0 : bit_of(p->inner);
}

static scope head_of(const pair *p) {
    return p->head == RANDOM_INDICES ? 0 : bit_of(p->head);
}

/* Documents, which both positions have to be of, or any condition. */
static term *data_domain(maker *m, pair *p) {
    unsigned size = m->s->index[p->row].size;
    if (chance(m, 40)) {
        p->of_head = true;
        return any_bool(m, p->rows | bit_of(p->column), 1);
    }
    term *of[2];
    for (unsigned k = 0; k < 2; k++) {
        random_tensor *t = add_tensor_of(m, RANDOM_INPUT, RANDOM_INT, "k", bit_of(k ? p->column : p->row));
        t->below         = size;
        t->largest       = extent_of(m, p->row);
        of[k]            = read_plainly(m, m->s->tensor_count - 1);
    }
    return infix(m, "==", infix(m, "/", of[0], integer(m, 3)), infix(m, "/", of[1], integer(m, 3)));
}

static term *pair_domain(maker *m, pair *p, bool *inhabited) {
    term *row = index_leaf(m, p->row), *column = index_leaf(m, p->column);
    unsigned way = below(m, 7);
    *inhabited   = way < 3 || way == 6;
    switch (way) {
    case 0:
    case 1:
        return infix(m, "<=", column, row);
    case 2: /* a window */
        return infix(
            m, "and", infix(m, "<=", column, row),
            infix(m, "<", infix(m, "-", copy_of(m, row), copy_of(m, column)), integer(m, 1 + (int)below(m, 4))));
    case 3:
        return infix(m, "<", column, row); /* the first row has none */
    case 4:
        return data_domain(m, p);
    case 5:
        return infix(m, "and", infix(m, "<=", column, row), data_domain(m, p));
    default:
        return NULL;
    }
}

static term *domain_of(maker *m, const pair *p) {
    return copy_of(m, p->domain);
}

static term *score_of(maker *m, const pair *p) {
    return p->score ? read_plainly(m, p->score) : copy_of(m, p->scores);
}

static void make_scores(maker *m, pair *p) {
    scope in = inner_of(p), heads = head_of(p);
    term *z = random_product_of(m, fresh(m, RANDOM_INPUT, bit_of(p->row) | in | heads),
                                fresh(m, RANDOM_INPUT, bit_of(p->column) | in | (chance(m, 60) ? heads : 0)));
    z       = in ? sum_over(m, in, NULL, z) : z;
    if (chance(m, 20))
        z = infix(m, "+", z, any_float(m, p->both, 1));
    if (chance(m, 15))
        z = infix(m, "*", fresh(m, RANDOM_PARAM, heads), z);
    static const char *const squashed[] = {"tanh", "relu", "abs", "sigmoid"};
    if (chance(m, 15))
        z = call(m, squashed[below(m, 4)], RANDOM_FLOAT, z->largest, z, NULL);
    z->largest = fmax(z->largest, 1);
    z          = tamed(m, z, 6);
    if (chance(m, 60)) {
        defined(m, "z", p->both, z);
        p->score = m->s->tensor_count - 1;
    } else
        p->scores = z;
}

static term *reduced(maker *m, const pair *p, const char *name, term *body) {
    double many = name[0] == 's' ? extent_of(m, p->column) : 1;
    return bracket(m, name, RANDOM_FLOAT, body->largest * many, bit_of(p->column),
                   chance(m, 85) ? domain_of(m, p) : NULL, body, NULL);
}

/* What is infinite where the domain is empty, which only wild specs let pass. */
static term *extreme_of(maker *m, const pair *p, const char *name, term *body) {
    term *extreme = reduced(m, p, name, body);
    if (p->inhabited || m->s->wild)
        return extreme;
    bool least = strcmp(name, "min") == 0;
    return call(m, least ? "min" : "max", RANDOM_FLOAT, fmax(body->largest, 9), number(m, least ? 9 : -9), extreme);
}

/* A number for each row. */
static term *first_statistic(maker *m, const pair *p) {
    term *z = score_of(m, p);
    switch (below(m, 6)) {
    case 0:
    case 1:
        return extreme_of(m, p, chance(m, 70) ? "max" : "min", z);
    case 2:
        return tamed(m, reduced(m, p, "sum", z), 6);
    case 3:
        return reduced(m, p, "sum", call(m, "exp", RANDOM_FLOAT, 9, tamed(m, z, 2), NULL));
    case 4:
        return extreme_of(m, p, "logsumexp", z);
    default:
        return tamed(m, reduced(m, p, "sum", random_product_of(m, z, copy_of(m, z))), 6);
    }
}

/* What is summed next: of a score and a statistic of its row. */
static term *dependent(maker *m, const pair *p, term *statistic) {
    term *z = score_of(m, p);
    switch (below(m, 8)) {
    case 0:
    case 1:
    case 2: {
        term *e = call(m, "exp", RANDOM_FLOAT, 9, infix(m, "-", z, statistic), NULL);
        return m->s->wild ? e : call(m, "min", RANDOM_FLOAT, 9, e, number(m, 9));
    }
    case 3: {
        term *e    = call(m, "exp", RANDOM_FLOAT, 9, infix(m, "-", tamed(m, z, 3), statistic), NULL);
        e->largest = 9;
        return e;
    }
    case 4:
        return infix(m, "/", z, positive(m, statistic));
    case 5:
        return random_product_of(m, z, statistic);
    case 6:
        return infix(m, "-", z, statistic);
    default:
        return call(m, chance(m, 50) ? "max" : "min", RANDOM_FLOAT, fmax(z->largest, statistic->largest), z, statistic);
    }
}

/* Sums over columns of weights, with values of the columns, and what is made of the rows' results. */
static term *row_result(maker *m, const pair *p, term *weight, scope *axes) {
    scope width = chance(m, 60) ? inner_of(p) : 0;
    term *value =
        chance(m, 80) ? fresh(m, RANDOM_INPUT, bit_of(p->column) | width) : any_float(m, bit_of(p->column) | width, 1);
    term *o = reduced(m, p, "sum", random_product_of(m, weight, value));
    *axes   = p->rows | width;
    if (chance(m, 50)) {
        term *l = reduced(m, p, "sum", copy_of(m, weight));
        l       = perhaps_defined(m, "l", p->rows, l);
        o       = infix(m, "/", o, positive(m, l));
    }
    return tamed(m, o, 20);
}

/* Sums over rows: what backward passes are made of too. */
static void column_result(maker *m, const pair *p, term *weight) {
    scope width = chance(m, 50) ? inner_of(p) : 0, heads = chance(m, 50) ? head_of(p) : 0;
    term *o    = random_product_of(m, weight, fresh(m, RANDOM_INPUT, bit_of(p->row) | width));
    scope over = bit_of(p->row) | (head_of(p) & ~heads);
    o          = sum_over(m, over, chance(m, 60) ? domain_of(m, p) : NULL, o);
    defined(m, "o", bit_of(p->column) | width | heads, tamed(m, o, 20));
}

/* Weights of all heads together. */
static term *mixed(maker *m, const pair *p, unsigned weight) {
    term *w    = read_plainly(m, weight);
    scope head = head_of(p);
    if (chance(m, 30))
        return bracket(m, "mean", RANDOM_FLOAT, w->largest, head, NULL, w, NULL);
    return sum_over(m, head, NULL, random_product_of(m, fresh(m, RANDOM_PARAM, head), w));
}

static void choose_indices(maker *m, pair *p) {
    *p        = (pair){.row = below(m, 2), .inner = chance(m, 80) ? 2 : RANDOM_INDICES, .head = RANDOM_INDICES};
    p->column = 1 - p->row;
    for (unsigned i = 3; i < m->s->index_count; i++)
        if (m->s->index[i].name[0] == 'h' && chance(m, 70))
            p->head = i;
    if (space_of(m, bit_of(p->row) | bit_of(p->column) | inner_of(p) | head_of(p)) > RANDOM_SPACE)
        p->head = RANDOM_INDICES;
    if (space_of(m, bit_of(p->row) | bit_of(p->column) | inner_of(p)) > RANDOM_SPACE)
        p->inner = RANDOM_INDICES;
    p->rows = bit_of(p->row) | head_of(p);
    p->both = p->rows | bit_of(p->column);
}

void add_pair(maker *m) {
    pair p;
    choose_indices(m, &p);
    p.domain = pair_domain(m, &p, &p.inhabited);
    make_scores(m, &p);
    term *statistic = perhaps_defined(m, "a", p.rows, first_statistic(m, &p));
    term *weight    = dependent(m, &p, copy_of(m, statistic));
    for (unsigned k = below(m, 5); k > 2; k--) { /* a sum that needs one that needs one */
        term *next = tamed(m, reduced(m, &p, chance(m, 80) ? "sum" : "max", weight), 6);
        next       = call(m, "max", RANDOM_FLOAT, fmax(next->largest, 9), number(m, -9), next);
        statistic  = perhaps_defined(m, "a", p.rows, next);
        weight     = dependent(m, &p, copy_of(m, statistic));
    }
    weight = tamed(m, weight, 9);
    if (chance(m, 15))
        weight = call(m, "dropout", RANDOM_FLOAT, 2 * weight->largest, weight, number(m, 0.5));
    weight = chance(m, 70) && p.domain ? guard(m, weight, domain_of(m, &p)) : weight;
    scope axes;
    unsigned weight_at = 0;
    if (head_of(&p) || chance(m, 50)) {
        weight    = defined(m, "p", p.both, weight);
        weight_at = m->s->tensor_count - 1;
    }
    if (head_of(&p) && chance(m, 40)) {
        term *together = mixed(m, &p, weight_at);
        p.rows &= ~head_of(&p);
        p.both &= ~head_of(&p);
        p.head = RANDOM_INDICES;
        if (p.of_head) /* there is no head any more that it could ask about */
            p.domain = NULL;
        weight = defined(m, "p", p.both, together);
    }
    unsigned way = below(m, 4);
    if (way != 0) {
        term *o = row_result(m, &p, copy_of(m, weight), &axes);
        defined(m, "o", axes, o);
    }
    if (way < 2)
        column_result(m, &p, copy_of(m, weight));
}
