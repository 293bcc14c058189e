/* First every step is taken apart once into what its statements do for each element; then a walk goes through all
 * blocks of the outermost steps and multiplies with the lengths of the loops in each. */
#include "enough.h"
#include "schedule_cost_internal.h"

#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 256 };

static const int64_t MOST_POINTS = 1 << 22; /* of a domain that are looked at one by one */

/* Statements as they are walked through. Loops that contain only loops and leaves are part of the leaves. */
typedef struct item {
    const statement *statement; /* FOR, BLOCK, IF; NULL: a leaf */
    index_set shape;            /* indices whose values decide which blocks there are inside */
    leaf *leaf;
    struct item *body, *otherwise, *next;
} item;

typedef struct entry {
    index_id index;
    bool block;
    uint64_t times; /* how often, for every time that the walk is here */
    uint64_t visit;
} entry;

typedef struct walk {
    schedule *s;
    schedule_cost *result;
    item **program; /* step */
    place at;
    entry entry[DEEPEST];
    unsigned depth;
    uint64_t visits;
    step_cost *cost; /* of the step */
    bool *used;      /* buffer: by the step taken apart */
} walk;

uint64_t schedule_buffer_bytes(const buffer *b) {
    return (uint64_t)b->elements * (b->element == ELEMENT_BOOL ? 1 : 4);
}

/* Taking apart */

static void touch(void *context, uint32_t number) {
    walk *w = context;
    if (w->used[number])
        return;
    w->used[number] = true;
    const buffer *b = &w->s->buffer[number];
    if (b->place == PLACE_WORKSPACE)
        w->cost->workspace += schedule_buffer_bytes(b);
    if (b->place == PLACE_TILE)
        w->cost->tiles += schedule_buffer_bytes(b);
}

static bool branches(const statement *list) {
    for (; list; list = list->next)
        if (list->kind == STATEMENT_BLOCK || list->kind == STATEMENT_IF ||
            (list->kind == STATEMENT_FOR && branches(list->body)))
            return true;
    return false;
}

static item *new_item(item ***list) {
    item *made = enough(calloc(1, sizeof *made));
    **list     = made;
    *list      = &made->next;
    return made;
}

static index_set shape_of_leaf(const walk *w, const leaf *l) {
    index_set shape = 0;
    for (unsigned i = 0; i < l->bound_count; i++)
        shape |= range_indices(w->s->graph, l->bounds[i].x) | range_indices(w->s->graph, l->bounds[i].y);
    return shape & ~l->loops;
}

static item *take_apart(walk *w, const statement *list, const axis_order *loops, index_set *shape);

static void take_leaf(walk *w, item *made, leaf *l) {
    made->leaf  = l;
    made->shape = shape_of_leaf(w, l);
}

static void take_branch(walk *w, item *made, const statement *t) {
    const graph *g       = w->s->graph;
    const node decides[] = {t->lo, t->hi, t->condition};
    made->statement      = t;
    made->body           = take_apart(w, t->body, &(axis_order){0}, &made->shape);
    made->otherwise      = take_apart(w, t->otherwise, &(axis_order){0}, &made->shape);
    for (unsigned i = 0; i < 3; i++)
        made->shape |= decides[i] ? range_indices(g, decides[i]) : 0;
}

static item *take_apart(walk *w, const statement *list, const axis_order *loops, index_set *shape) {
    item *first = NULL, **end = &first;
    for (; list; list = list->next) {
        if (list->kind == STATEMENT_FOR && !branches(list->body) && loops->rank < TENSOR_RANK) {
            axis_order inner          = *loops;
            inner.index[inner.rank++] = list->index;
            *end                      = take_apart(w, list->body, &inner, shape);
            while (*end)
                end = &(*end)->next;
            continue;
        }
        item *made = new_item(&end);
        if (list->kind == STATEMENT_FOR || list->kind == STATEMENT_BLOCK || list->kind == STATEMENT_IF)
            take_branch(w, made, list);
        else
            take_leaf(w, made,
                      list->kind == STATEMENT_PRODUCT ? leaf_of_product(w->s, list->product, loops, touch, w)
                                                      : leaf_of_statement(w->s, list, loops, touch, w));
        *shape |= made->shape;
        if (list->kind == STATEMENT_SOLVE)
            take_leaf(w, new_item(&end), leaf_of_triangle(w->s, list, loops, touch, w));
    }
    return first;
}

static void take_step(walk *w, uint32_t number) {
    const step *t   = &w->s->step[number];
    index_set shape = 0;
    item *made      = NULL;
    memset(w->used, 0, w->s->buffer_count * sizeof *w->used);
    w->cost = &w->result->step[number];
    if (t->kind == STEP_NEST) {
        made = take_apart(w, t->body, &(axis_order){0}, &shape);
    } else if (t->kind == STEP_PRODUCT) {
        made        = enough(calloc(1, sizeof *made));
        made->leaf  = leaf_of_product(w->s, t->product, &t->batch, touch, w);
        made->shape = shape;
    }
    w->program[number] = made;
}

/* Nodes have other buffers in some steps. */
static void take_steps(walk *w, uint32_t from, uint32_t to) {
    while (from < to) {
        uint32_t inside = w->s->step[from].kind == STEP_BLOCKS ? w->s->step[from].inside : 0;
        schedule_enter(w->s, from);
        take_step(w, from);
        take_steps(w, from + 1, from + 1 + inside);
        schedule_leave(w->s, from);
        from += 1 + inside;
    }
}

static void free_items(item *list) {
    while (list) {
        item *next = list->next;
        free_items(list->body);
        free_items(list->otherwise);
        leaf_free(list->leaf);
        free(list);
        list = next;
    }
}

/* Leaves */

static uint64_t extent_of(const walk *w, const axis_order *order) {
    uint64_t values = 1;
    for (unsigned i = 0; i < order->rank; i++)
        values *= (uint64_t)range_length(&w->at, order->index[i]);
    return values;
}

/* Sums over the values of the loops `rest` how many of the innermost loop are left. */
static uint64_t sum_of_points(walk *w, const leaf *l, index_set rest) {
    index_id innermost = l->loop[l->loop_count - 1];
    if (!rest)
        return (uint64_t)range_left(&w->at, innermost, l->bounds, l->bound_count);
    index_id i   = (index_id)__builtin_ctzll(rest);
    uint64_t sum = 0;
    w->at.open |= (index_set)1 << i;
    for (w->at.at[i] = w->at.begin[i]; w->at.at[i] < w->at.end[i]; w->at.at[i]++)
        sum += sum_of_points(w, l, rest & (rest - 1));
    w->at.open &= ~((index_set)1 << i);
    return sum;
}

/* Elements of all loops of l, where bounds leave out some of the innermost. */
static uint64_t points_of(walk *w, const leaf *l, uint64_t whole) {
    if (!l->bound_count || !whole)
        return whole;
    index_set on = 0;
    for (unsigned i = 0; i < l->bound_count; i++)
        on |= range_indices(w->s->graph, l->bounds[i].x) | range_indices(w->s->graph, l->bounds[i].y);
    on &= l->loops & ~((index_set)1 << l->loop[l->loop_count - 1]);
    uint64_t others = 1;
    int64_t looked  = 1;
    for (unsigned i = 0; i + 1 < l->loop_count; i++) {
        int64_t length = range_length(&w->at, l->loop[i]);
        if (on >> l->loop[i] & 1)
            looked = looked > MOST_POINTS ? looked : looked * length;
        else
            others *= (uint64_t)length;
    }
    return looked > MOST_POINTS ? whole : others * sum_of_points(w, l, on);
}

/* The innermost block that the access depends on; NULL: it depends on none. */
static const entry *block_of(const walk *w, const access *a) {
    for (unsigned i = w->depth; i-- > 0;)
        if (w->entry[i].block && a->on >> w->entry[i].index & 1)
            return &w->entry[i];
    return NULL;
}

static void count_access(walk *w, const leaf *l, access *a, uint64_t points) {
    const buffer *b    = &w->s->buffer[a->buffer];
    const entry *inner = &w->entry[w->depth - 1], *e = block_of(w, a);
    if (e && a->seen == e->visit)
        return;
    if (e)
        a->seen = e->visit;
    uint64_t elements = 1, size = b->element == ELEMENT_BOOL ? 1 : 4;
    for (unsigned i = 0; i < l->loop_count; i++)
        if (a->on >> l->loop[i] & 1)
            elements *= (uint64_t)range_length(&w->at, l->loop[i]);
    if (l->bound_count && (l->loops & ~a->on) == 0)
        elements = points;
    if (elements > (uint64_t)b->elements)
        elements = (uint64_t)b->elements;
    uint64_t bytes = elements * size * (e ? e->times : inner->times);
    if (a->written)
        w->cost->written += bytes;
    else
        w->cost->read += bytes;
}

static void count_leaf(walk *w, leaf *l) {
    uint64_t times = w->entry[w->depth - 1].times, elements = 1, points = 1;
    for (unsigned i = 0; i < l->loop_count; i++)
        if (range_length(&w->at, l->loop[i]) == 0)
            return;
    for (unsigned level = 0; level <= l->loop_count; level++) {
        if (level)
            elements *= (uint64_t)range_length(&w->at, l->loop[level - 1]);
        points = level < l->loop_count ? elements : points_of(w, l, elements);
        w->cost->exponential += times * points * l->exponential[level];
        w->cost->other += times * points * l->other[level];
    }
    if (l->product) {
        const matrix_product *p = l->product;
        w->cost->matrix += 2 * times * elements;
        uint64_t one = extent_of(w, &p->rows) * extent_of(w, &p->columns) * extent_of(w, &p->inner);
        w->cost->products += times * (elements / one);
    }
    for (unsigned i = 0; i < l->access_count; i++)
        count_access(w, l, &l->access[i], points);
}

/* Blocks and conditions */

static void enter(walk *w, index_id index, bool block, uint64_t by) {
    if (w->depth == DEEPEST)
        abort();
    uint64_t times       = w->depth ? w->entry[w->depth - 1].times : 1;
    w->entry[w->depth++] = (entry){index, block, times * by, ++w->visits};
}

static void walk_items(walk *w, item *list);

static void walk_for(walk *w, item *list) {
    index_id i     = list->statement->index;
    int64_t length = range_length(&w->at, i);
    bool each      = list->shape >> i & 1;
    for (int64_t k = 0; k < (each ? length : length > 0); k++) {
        if (each) {
            w->at.open |= (index_set)1 << i;
            w->at.at[i] = w->at.begin[i] + k;
        }
        enter(w, i, false, each ? 1 : (uint64_t)length);
        walk_items(w, list->body);
        w->depth--;
    }
    w->at.open &= ~((index_set)1 << i);
}

/* Blocks of `index` as statements and steps have them. */
typedef struct blocks {
    index_id index;
    int64_t block;
    node lo, hi;
    bool once;
} blocks;

static void walk_steps(walk *w, uint32_t from, uint32_t to);

/* Either statements or steps are inside. */
static void walk_blocks(walk *w, const blocks *b, item *body, uint32_t from, uint32_t to) {
    index_id i     = b->index;
    int64_t extent = graph_index_extent(w->s->graph, i), was[2] = {w->at.begin[i], w->at.end[i]};
    int64_t first = b->lo ? range_evaluate(&w->at, b->lo).low : was[0];
    int64_t last  = b->hi ? range_evaluate(&w->at, b->hi).high : was[1];
    first         = first < 0 ? 0 : first;
    last          = last > extent ? extent : last;
    int64_t block = b->once || b->block <= 0 ? extent : b->block;
    for (int64_t k = first; k < last; k += block) {
        w->at.begin[i] = k;
        w->at.end[i]   = last - k < block ? last : k + block;
        enter(w, i, true, 1);
        walk_items(w, body);
        walk_steps(w, from, to);
        w->depth--;
    }
    w->at.begin[i] = was[0];
    w->at.end[i]   = was[1];
}

static void walk_if(walk *w, item *list) {
    span holds = range_evaluate(&w->at, list->statement->condition);
    walk_items(w, holds.high ? list->body : list->otherwise);
}

static void walk_items(walk *w, item *list) {
    for (; list; list = list->next) {
        const statement *t = list->statement;
        if (list->leaf)
            count_leaf(w, list->leaf);
        else if (t->kind == STATEMENT_FOR)
            walk_for(w, list);
        else if (t->kind == STATEMENT_BLOCK)
            walk_blocks(w, &(blocks){t->index, t->block, t->lo, t->hi, t->once}, list->body, 0, 0);
        else
            walk_if(w, list);
    }
}

static void walk_steps(walk *w, uint32_t from, uint32_t to) {
    while (from < to) {
        const step *t   = &w->s->step[from];
        uint32_t inside = t->kind == STEP_BLOCKS ? t->inside : 0;
        w->cost         = &w->result->step[from];
        if (t->kind == STEP_BLOCKS)
            walk_blocks(w, &(blocks){t->index, t->block, t->lo, t->hi, t->once}, NULL, from + 1, from + 1 + inside);
        else
            walk_items(w, w->program[from]);
        from += 1 + inside;
    }
}

/* Sums */

static void add_cost(step_cost *sum, const step_cost *c) {
    sum->matrix += c->matrix;
    sum->exponential += c->exponential;
    sum->other += c->other;
    sum->read += c->read;
    sum->written += c->written;
    sum->products += c->products;
    sum->tiles     = c->tiles > sum->tiles ? c->tiles : sum->tiles;
    sum->workspace = c->workspace > sum->workspace ? c->workspace : sum->workspace;
}

/* The steps inside blocks are counted by themselves, and for the blocks once more. */
static void add_up(schedule_cost *r, const schedule *s) {
    for (uint32_t i = 0; i < s->step_count; i++) {
        if (s->step[i].kind != STEP_BLOCKS) {
            add_cost(&r->total, &r->step[i]);
            continue;
        }
        for (uint32_t k = i + 1; k <= i + s->step[i].inside; k++)
            if (s->step[k].kind != STEP_BLOCKS)
                add_cost(&r->step[i], &r->step[k]);
    }
    r->total.workspace = s->workspace;
}

schedule_cost *schedule_cost_of(schedule *s) {
    walk *w          = enough(calloc(1, sizeof *w));
    schedule_cost *r = enough(calloc(1, sizeof *r));
    w->s             = s;
    w->result        = r;
    w->at.g          = s->graph;
    w->program       = enough(calloc(s->step_count + 1, sizeof *w->program));
    w->used          = enough(calloc(s->buffer_count + 1, sizeof *w->used));
    r->step          = enough(calloc(s->step_count + 1, sizeof *r->step));
    r->steps         = s->step_count;
    for (unsigned i = 0; i < graph_index_count(s->graph); i++) {
        w->at.end[i] = graph_index_extent(s->graph, (index_id)i);
        w->at.open |= (index_set)(w->at.end[i] == 1) << i;
    }
    take_steps(w, 0, s->step_count);
    enter(w, 0, false, 1);
    walk_steps(w, 0, s->step_count);
    add_up(r, s);
    for (uint32_t i = 0; i < s->step_count; i++)
        free_items(w->program[i]);
    free(w->program);
    free(w->used);
    free(w);
    return r;
}

void schedule_cost_free(schedule_cost *c) {
    if (c)
        free(c->step);
    free(c);
}
