/* What is never stored whole. A value is wide where it has many times the elements of what it is computed from: the
 * scores of attention, the logits of a large vocabulary. Wide values that read each other, or are read together, form a
 * component. One of the indices that they share is chosen as its row: a region walks through blocks of rows and
 * computes, of a block, the wide values and all that reads them. A result that has the row is complete for these rows;
 * one that is summed over rows grows from block to block.
 *
 * What a region computes for a row may be read for the same row in the same region, and after it by everything. So
 * every node of the graph has two levels: `near`, the first region of the component that can read it at its own rows,
 * and `far`, the first before which it is complete. A wide node is never complete; it is computed again in each region
 * that needs it. */
#include "enough.h"
#include "schedule_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    NEVER        = 1000, /* level of what is never complete */
    LONG         = 4096, /* how long a sequence to plan for */
    SHORT        = 16,   /* blocks of a shorter index would save little */
    BLOCK_BYTES  = 64 << 20,
    LEAST_ROWS   = 16,
    MOST_ROWS    = 256,
    COPIED_BYTES = 1 << 20, /* copies stay in the cache until they are used */
    WORKERS      = 8,       /* threads to plan for */
    PRICED_ROWS  = 64
};

static const double WIDE = 8, WIDE_LISTED = 2;

typedef struct levels {
    int near, far;
} levels;

/* What a node reads, past STOPs, and what else its levels follow from. */
typedef struct reader {
    node node;
    node_op op;
    index_set free;
    index_set bound; /* REDUCE: the indices that it reduces over */
    index_set runs;  /* SCAN, TOPK, CHOSEN, SOLVE: the indices that it runs over */
    index_set moved; /* GATHER: the indices that its body has at other values */
    uint32_t first;  /* child of the finder */
    uint32_t count;
} reader;

typedef struct finder {
    scheduler *c;
    size_t count;
    /* all that the outputs need, after what it reads; */
    reader *reader;
    size_t reader_count;
    node *child;
    size_t child_count, child_room;
    node *wide;                     /* the wide nodes, those of a component together, by handle */
    size_t wide_count, first, last; /* of the component that is looked at */
    double planned[GRAPH_INDICES];  /* extents to plan for */
    double largest;                 /* elements of the largest input */
    index_set places;               /* indices of lists of positions */
    double *seen; /* node: elements of the largest thing that whoever reads it reads; 0: not known yet */
    uint8_t *known;
    uint32_t *parent;        /* node: union of wide nodes */
    node *reads;             /* node: a wide node that it reads; NODE_NONE: none */
    bool compared, compares; /* is it known, do numbers that are compared depend on something wide */
    /* one component, one row */
    uint32_t component;
    index_id row;
    levels *level;
    uint8_t *visited;
    uint8_t *root; /* node: it reads wide nodes, and is narrow */
    node *roots;   /* all those, by handle */
    size_t root_count;
    const uint8_t *only; /* node: it is among the results looked for; all others are complete. NULL: all are */
} finder;

static index_set bit(index_id i) {
    return (index_set)1 << i;
}

/* What computing n reads: of a product its operands, of a scan the children of all its states. */
static unsigned children_of(const scheduler *c, node n, node *child, unsigned room) {
    node_view v    = graph_view(c->g, n);
    unsigned count = 0;
    if (c->product[n]) {
        child[count++] = c->product[n]->factor[0];
        child[count++] = c->product[n]->factor[1];
        return count;
    }
    for (unsigned i = 0; i < v.child_count && count < room; i++)
        child[count++] = v.child[i];
    return count;
}

enum { MOST_CHILDREN = 256 };

/* Plans */

static double planned_space(const finder *f, index_set set) {
    double space = 1;
    for (unsigned i = 0; i < graph_index_count(f->c->g); i++)
        if (set >> i & 1)
            space *= f->planned[i];
    return space;
}

/* Extents as they would be for long sequences: an index that no parameter has, and whose extent another one that no
 * parameter has shares, is a position. */
static void plan(finder *f) {
    const graph *g    = f->c->g;
    index_set learned = 0;
    bool parameters   = false;
    for (uint32_t i = 0; i < graph_tensor_count(g); i++) {
        const tensor *t = graph_tensor(g, i);
        if (t->kind == TENSOR_INPUT)
            continue;
        parameters = true;
        for (unsigned a = 0; a < t->rank; a++)
            learned |= bit(t->index[a]);
    }
    for (unsigned i = 0; i < graph_index_count(g); i++) {
        int64_t extent = graph_index_extent(g, (index_id)i);
        bool position  = false;
        for (unsigned k = 0; parameters && k < graph_index_count(g); k++)
            position |= k != i && graph_index_extent(g, (index_id)k) == extent && !(learned >> k & 1);
        position &= !(learned >> i & 1);
        f->planned[i] = position && extent < LONG ? LONG : (double)extent;
    }
    for (uint32_t i = 0; i < graph_tensor_count(g); i++)
        if (graph_tensor(g, i)->kind == TENSOR_INPUT)
            f->largest = fmax(f->largest, planned_space(f, graph_view(g, graph_tensor(g, i)->node).free));
}

/* Wide nodes */

static bool may_be_wide(const scheduler *c, node n) {
    node_op op = graph_view(c->g, n).op;
    return c->stored[n] && op != NODE_TENSOR && !c->inside[n];
}

/* What is computed for every place of a list is needed in the same row only: to keep it never pays. */
static double ratio(const finder *f, index_set free) {
    double wide = f->c->options->wide > 0 ? f->c->options->wide : WIDE;
    return free & f->places ? fmin(wide, WIDE_LISTED) : wide;
}

/* Elements of the largest thing that is loaded where n is read: n itself where it is stored and narrow. */
static double seen_through(finder *f, node n) {
    scheduler *c = f->c;
    n            = schedule_strip(c->g, n);
    if (f->known[n])
        return f->seen[n];
    f->known[n] = 1;
    node_view v = graph_view(c->g, n);
    node child[MOST_CHILDREN];
    unsigned count = children_of(c, n, child, MOST_CHILDREN);
    double below   = 0;
    for (unsigned i = 0; i < count; i++) {
        double seen = seen_through(f, child[i]);
        if (v.op != NODE_GATHER || i == 0) /* where something is read is not what is read */
            below = fmax(below, seen);
    }
    double own = planned_space(f, v.free);
    if (v.op == NODE_TENSOR)
        below = own;
    else if (may_be_wide(c, n) && below > 0) {
        if (own >= ratio(f, v.free) * fmax(below, f->largest))
            c->member[n] = n;
        else
            below = own;
    }
    return f->seen[n] = below;
}

/* The different sets of indices that narrow nodes with loads have. */
typedef struct narrow_sets {
    index_set *set;
    size_t count, room;
} narrow_sets;

static void add_set(narrow_sets *n, index_set set) {
    for (size_t i = 0; i < n->count; i++)
        if (n->set[i] == set)
            return;
    if (n->count == n->room) {
        size_t more = n->room ? 2 * n->room : 64;
        n->set      = enough_grown(n->set, n->room, more, sizeof *n->set);
        n->room     = more;
    }
    n->set[n->count++] = set;
}

static narrow_sets find_narrow_sets(const finder *f) {
    const scheduler *c = f->c;
    narrow_sets narrow = {0};
    for (size_t n = 1; n <= f->count; n++)
        if (f->known[n] && f->seen[n] > 0 && c->stored[n] && !c->member[n] && !c->inside[n])
            add_set(&narrow, graph_view(c->g, (node)n).free);
    return narrow;
}

/* What is computed from positions and random numbers alone is wide where everything else that has some of its indices
 * has far fewer elements of them. */
static void find_loadless(finder *f) {
    scheduler *c       = f->c;
    narrow_sets narrow = find_narrow_sets(f);
    for (size_t n = 1; n <= f->count; n++) {
        node_view v = graph_view(c->g, (node)n);
        if (!f->known[n] || f->seen[n] > 0 || !may_be_wide(c, (node)n) || !(v.free & (v.free - 1)))
            continue;
        double most = 0;
        for (size_t i = 0; i < narrow.count; i++)
            most = fmax(most, planned_space(f, narrow.set[i] & v.free));
        if (planned_space(f, v.free) >= ratio(f, v.free) * fmax(most, 1))
            c->member[n] = (uint32_t)n;
    }
    free(narrow.set);
}

/* Components */

static uint32_t representative(finder *f, uint32_t n) {
    while (f->parent[n] != n)
        n = f->parent[n] = f->parent[f->parent[n]];
    return n;
}

/* The wide nodes that `reader` reads become one component, which it joins where it is wide itself. */
typedef struct reading {
    finder *f;
    node reader, first; /* the first wide node met */
    uint32_t *stamps;   /* node: the reader that was here last */
} reading;

static void unite(reading *r, node n) {
    finder *f    = r->f;
    scheduler *c = f->c;
    n            = schedule_strip(c->g, n);
    if (r->stamps[n] == r->reader)
        return;
    r->stamps[n] = r->reader;
    if (n != r->reader && c->member[n]) {
        if (r->first)
            f->parent[representative(f, n)] = representative(f, r->first);
        r->first = n;
        return;
    }
    if (n != r->reader && c->stored[n] && !c->inside[n])
        return;
    node child[MOST_CHILDREN];
    unsigned count = children_of(c, n, child, MOST_CHILDREN);
    for (unsigned i = 0; i < count; i++)
        unite(r, child[i]);
}

/* The states of a scan are computed together: if one is wide, all are kept for blocks. */
static void join_states(finder *f) {
    scheduler *c = f->c;
    for (size_t n = 1; n <= f->count; n++) {
        node_view v = graph_view(c->g, (node)n);
        if (v.op != NODE_SCAN || !c->member[n])
            continue;
        for (unsigned k = 0; k < v.child_count / 2; k++) {
            node other = graph_scan_node(c->g, v.scan_label, k);
            if (!c->member[other])
                c->member[other] = other;
        }
    }
}

static void find_components(finder *f) {
    scheduler *c = f->c;
    f->parent    = schedule_allocate(f->count + 1, sizeof *f->parent);
    reading r    = {.f = f, .stamps = schedule_allocate(f->count + 1, sizeof *r.stamps)};
    for (size_t n = 1; n <= f->count; n++)
        f->parent[n] = (uint32_t)n;
    for (size_t n = 1; n <= f->count; n++) {
        if (!f->known[n] || !c->stored[n] || c->inside[n])
            continue;
        r.reader = (node)n;
        r.first  = c->member[n] ? (node)n : NODE_NONE;
        unite(&r, (node)n);
        f->reads[n] = r.first;
    }
    for (size_t n = 1; n <= f->count; n++) {
        node_view v = graph_view(c->g, (node)n);
        for (unsigned k = 0; c->member[n] && v.op == NODE_SCAN && k < v.child_count / 2; k++)
            f->parent[representative(f, graph_scan_node(c->g, v.scan_label, k))] = representative(f, (uint32_t)n);
    }
    for (size_t n = 1; n <= f->count; n++)
        if (c->member[n])
            c->member[n] = representative(f, (uint32_t)n);
    free(r.stamps);
}

typedef struct wide_node {
    uint32_t component;
    node node;
} wide_node;

static int by_component(const void *a, const void *b) {
    const wide_node *x = a, *y = b;
    if (x->component != y->component)
        return x->component < y->component ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

static void list_wide(finder *f) {
    size_t count    = 0;
    wide_node *list = schedule_allocate(f->count, sizeof *list);
    for (size_t n = 1; n <= f->count; n++)
        if (f->c->member[n])
            list[count++] = (wide_node){f->c->member[n], (node)n};
    qsort(list, count, sizeof *list, by_component);
    f->wide       = schedule_allocate(count, sizeof *f->wide);
    f->wide_count = count;
    for (size_t i = 0; i < count; i++)
        f->wide[i] = list[i].node;
    free(list);
}

/* What everything reads */

static void add_child(finder *f, node n) {
    if (f->child_count == f->child_room) {
        size_t more   = f->child_room ? 2 * f->child_room : 1024;
        f->child      = enough_grown(f->child, f->child_room, more, sizeof *f->child);
        f->child_room = more;
    }
    f->child[f->child_count++] = n;
}

static index_set runs_over(node_view v) {
    if (v.op == NODE_SOLVE)
        return bit(v.scan_index) | v.vars;
    return v.op == NODE_SCAN || graph_selects(v.op) ? bit(v.scan_index) : 0;
}

/* n after all that it reads. */
static void add_reader(finder *f, node n) {
    scheduler *c = f->c;
    n            = schedule_strip(c->g, n);
    if (f->visited[n])
        return;
    f->visited[n] = 1;
    node child[MOST_CHILDREN];
    node_view v = graph_view(c->g, n);
    reader r    = {.node = n, .op = v.op, .free = v.free};
    r.count     = v.op == NODE_PREVIOUS ? 0 : children_of(c, n, child, MOST_CHILDREN);
    r.bound     = v.op == NODE_REDUCE ? v.vars : 0;
    r.runs      = runs_over(v);
    for (unsigned i = 0; v.op == NODE_GATHER && i + 1 < v.child_count; i++)
        r.moved |= bit(v.substituted[i]);
    for (uint32_t i = 0; i < r.count; i++)
        add_reader(f, child[i]);
    r.first = (uint32_t)f->child_count;
    for (uint32_t i = 0; i < r.count; i++)
        add_child(f, schedule_strip(c->g, child[i]));
    f->reader[f->reader_count++] = r;
}

static void find_readers(finder *f) {
    f->reader = schedule_allocate(f->count, sizeof *f->reader);
    for (uint32_t i = 0; i < graph_output_count(f->c->g); i++)
        add_reader(f, graph_output(f->c->g, i)->node);
}

/* Levels */

static int larger(int a, int b) {
    return a > b ? a : b;
}

static void add_root(finder *f, node n) {
    f->root[n]                = 1;
    f->roots[f->root_count++] = n;
}

/* Levels of a node whose children's are known: `across` are the children that it reads at other rows than its own. */
static levels combine(finder *f, const reader *r, levels plain, int across) {
    scheduler *c  = f->c;
    index_set row = bit(f->row);
    node n        = r->node;
    bool wide     = c->member[n] == f->component && f->component;
    plain.near    = larger(plain.near, across);
    plain.far     = larger(plain.far, across);
    if (wide && ((r->runs & row) || !(r->free & row)))
        plain.near = NEVER; /* cannot be kept for blocks of this row */
    if (wide)
        return (levels){plain.near, NEVER};
    if (c->member[n]) /* another component's regions may have another row */
        return (levels){plain.far, plain.far};
    if (!c->stored[n] || c->inside[n])
        return plain;
    if (f->reads[n] && f->component && c->member[f->reads[n]] != f->component) /* a region of theirs computes it */
        return (levels){plain.far, plain.far};
    if (plain.far == NEVER) {
        add_root(f, n);
        plain.far = plain.near == NEVER ? NEVER : plain.near + 1;
    }
    return plain;
}

/* Do the steps of a scan read its states at other rows than their own? `met`: the nodes met at their own rows, and
 * those met at others. */
static bool mixes_rows(finder *f, node n, uint32_t label, bool moved, node_map met[2]) {
    scheduler *c = f->c;
    node_view v  = graph_view(c->g, n);
    if (v.op == NODE_PREVIOUS && v.scan_label == label)
        return moved;
    if (c->inside[n] == 0 || !schedule_is_new(&met[moved], n))
        return false;
    bool whole = (graph_selects(v.op) || v.op == NODE_SOLVE) && (runs_over(v) & bit(f->row));
    bool here  = whole || (v.op == NODE_REDUCE && (v.vars & bit(f->row)));
    for (unsigned i = 0; v.op == NODE_GATHER && i + 1 < v.child_count; i++)
        here |= v.substituted[i] == f->row;
    for (unsigned i = 0; i < v.child_count; i++)
        if (mixes_rows(f, v.child[i], label, moved || (here && (v.op != NODE_GATHER || i == 0)), met))
            return true;
    return false;
}

static bool scan_mixes_rows(finder *f, node_view scan) {
    node_map met[2] = {{0}, {0}};
    bool mixes      = false;
    for (unsigned i = scan.child_count / 2; i < scan.child_count && !mixes; i++)
        mixes = mixes_rows(f, scan.child[i], scan.scan_label, false, met);
    node_map_free(&met[0]);
    node_map_free(&met[1]);
    return mixes;
}

static levels levels_of(finder *f, const reader *r) {
    scheduler *c  = f->c;
    index_set row = bit(f->row);
    node n        = r->node;
    if (f->only && !f->only[n] && c->stored[n] && !c->inside[n] && !c->member[n])
        return (levels){0, 0};
    if (r->op == NODE_PREVIOUS) { /* of a scan that is kept for blocks of rows, only its own row */
        node_view v = graph_view(c->g, n);
        node scan   = graph_scan_node(c->g, v.scan_label, v.scan_state);
        return (levels){0, f->component && c->member[scan] == f->component ? NEVER : 0};
    }
    levels plain = {0, 0};
    int across   = 0;
    bool over    = (r->runs & row) || (r->op == NODE_SCAN && scan_mixes_rows(f, graph_view(c->g, n)));
    bool moved   = (r->moved & row) != 0;
    for (uint32_t i = 0; i < r->count; i++) {
        levels l = f->level[f->child[r->first + i]];
        if (over || (moved && i == 0)) {
            across = larger(across, l.far);
        } else {
            plain.near = larger(plain.near, l.near);
            plain.far  = larger(plain.far, l.far);
        }
    }
    if (r->bound & row) {
        if (plain.far < NEVER) /* nothing wide in it: it waits until all is complete */
            return combine(f, r, (levels){0, 0}, plain.far);
        bool kept = c->stored[n] && !c->inside[n] && !c->member[n] && plain.near < NEVER;
        if (!kept)
            return (levels){NEVER, NEVER};
        add_root(f, n);
        return (levels){plain.near + 1, plain.near + 1};
    }
    return combine(f, r, plain, across);
}

static int by_handle(const void *a, const void *b) {
    const node *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Fills levels for everything the outputs need. False where something wide would have to be complete. */
static bool find_levels(finder *f) {
    const graph *g = f->c->g;
    bool possible  = true;
    while (f->root_count)
        f->root[f->roots[--f->root_count]] = 0;
    for (size_t i = 0; i < f->reader_count; i++)
        f->level[f->reader[i].node] = levels_of(f, &f->reader[i]);
    qsort(f->roots, f->root_count, sizeof *f->roots, by_handle);
    if (f->only) {
        for (size_t i = 0; i < f->root_count; i++)
            possible &= f->level[f->roots[i]].far < NEVER;
        return possible;
    }
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        possible &= f->level[schedule_strip(g, graph_output(g, i)->node)].far < NEVER;
    return possible;
}

static int root_level(const finder *f, node n) {
    return f->level[n].far - 1;
}

/* Regions */

static uint32_t region_at(finder *f, int level) {
    scheduler *c = f->c;
    for (uint32_t i = 1; i <= c->region_count; i++)
        if (c->region[i].component == f->component && c->region[i].level == (unsigned)level &&
            c->region[i].row == f->row)
            return i;
    if (c->region_count + 2 > c->region_capacity) {
        size_t more        = c->region_capacity ? 2 * c->region_capacity : 16;
        c->region          = enough_grown(c->region, c->region_capacity, more, sizeof *c->region);
        c->region_capacity = more;
    }
    c->region[++c->region_count] = (region){.component = f->component, .level = (unsigned)level, .row = f->row};
    return c->region_count;
}

static void add_inside(finder *f, node n, int level) {
    scheduler *c                 = f->c;
    uint32_t number              = region_at(f, level);
    region *r                    = &c->region[number];
    r->inside                    = enough_grown(r->inside, r->inside_count, r->inside_count + 1, sizeof *r->inside);
    c->region_of[n]              = number;
    r->inside[r->inside_count++] = n;
}

typedef struct placing {
    finder *f;
    int level;
    double *space; /* elements of a row that wide nodes of this level have; NULL: not asked */
    double *work;
    node_map met;
} placing;

/* Puts the narrow nodes that n reads inside a region of `level` and that are not complete before it into the region
 * that can compute them. */
static void place_below(placing *p, node n) {
    finder *f    = p->f;
    scheduler *c = f->c;
    node child[MOST_CHILDREN];
    unsigned count = children_of(c, n, child, MOST_CHILDREN);
    for (unsigned i = 0; i < count; i++) {
        node k = schedule_strip(c->g, child[i]);
        if (!schedule_is_new(&p->met, k))
            continue;
        bool wide = c->member[k] == f->component;
        if (wide || !c->stored[k] || c->inside[k]) {
            if (wide && p->space)
                *p->space += (double)graph_space(c->g, graph_view(c->g, k).free & ~bit(f->row));
            if (wide && p->work) {
                node_view w = graph_view(c->g, k);
                *p->work += planned_space(f, w.free | (w.op == NODE_REDUCE || w.op == NODE_SOLVE ? w.vars : 0));
            }
            place_below(p, k);
            continue;
        }
        if (p->space || f->root[k] || f->level[k].far <= p->level || c->region_of[k])
            continue;
        add_inside(f, k, f->level[k].near);
        placing own = {.f = f, .level = f->level[k].near};
        place_below(&own, k);
        node_map_free(&own.met);
    }
}

int64_t schedule_workers(const scheduler *c) {
    return c->options->workers > 0 ? c->options->workers : WORKERS;
}

/* A result that is summed over the rows and over others may be made in two: what each row gives, then the sum over
 * rows. Where that is no larger than what is given, no two blocks of rows need to add to the same element. */
static bool by_rows(const finder *f, node n) {
    node_view v = graph_view(f->c->g, n);
    return v.op == NODE_REDUCE && (v.vars & bit(f->row)) && (v.vars & ~bit(f->row)) &&
           planned_space(f, v.free | bit(f->row)) <= f->largest;
}

static bool grows(const finder *f, node n) {
    return !(graph_view(f->c->g, n).free & bit(f->row)) && !by_rows(f, n);
}

/* How many threads can share the regions of a level: their results are made item by item of the indices that all of
 * them have, and block by block of rows where none grows from block to block. */
static double shared_by(finder *f, int level, const uint8_t *without) {
    scheduler *c   = f->c;
    index_set grid = ~(index_set)0, walked = 0;
    bool apart = true;
    for (size_t i = f->first; i < f->last; i++)
        grid &= graph_view(c->g, f->wide[i]).free;
    for (size_t i = 0; i < f->root_count; i++)
        if (!(without && without[f->roots[i]]) && root_level(f, f->roots[i]) == level) {
            node_view v = graph_view(c->g, f->roots[i]);
            grid &= v.free | (v.op == NODE_REDUCE ? v.vars : 0);
            walked |= (v.free & bit(f->row)) && v.op == NODE_REDUCE ? v.vars : 0;
            apart &= !grows(f, f->roots[i]);
        }
    double items = planned_space(f, grid & ~bit(f->row) & ~walked);
    if (apart)
        items *= fmax(f->planned[f->row] / PRICED_ROWS, 1);
    return fmin(items, (double)schedule_workers(c));
}

/* What a choice of row costs, but for the results `without` (NULL: none): operations on wide nodes, in all regions, or
 * those of the thread that has most of them. */
static double price(finder *f, const uint8_t *without, bool of_a_thread) {
    scheduler *c = f->c;
    double all   = 0;
    int highest  = 0;
    for (size_t i = 0; i < f->root_count; i++)
        if (!(without && without[f->roots[i]]))
            highest = larger(highest, root_level(f, f->roots[i]));
    for (int level = 0; level <= highest; level++) {
        double space = 0, work = 0;
        placing p = {.f = f, .level = level, .space = &space, .work = &work};
        for (size_t i = 0; i < f->root_count; i++) {
            node n = f->roots[i];
            if ((without && without[n]) || root_level(f, n) != level)
                continue;
            node_view v = graph_view(c->g, n);
            place_below(&p, n);
            if (v.op == NODE_REDUCE && c->product[n]) /* multiplies where it adds up */
                work += planned_space(f, v.free | v.vars);
            /* a result that grows from block to block is read and written with each */
            if (!(v.free & bit(f->row)))
                work += planned_space(f, v.free) * fmax(f->planned[f->row] / PRICED_ROWS, 1);
        }
        node_map_free(&p.met);
        all += of_a_thread ? work / shared_by(f, level, without) : work;
    }
    return all;
}

static int64_t rows_of(finder *f, int level) {
    scheduler *c   = f->c;
    int64_t extent = graph_index_extent(c->g, f->row);
    if (c->options->rows)
        return c->options->rows < extent ? c->options->rows : extent;
    double space = 0;
    placing p    = {.f = f, .level = level, .space = &space};
    for (size_t i = 0; i < f->root_count; i++)
        if (root_level(f, f->roots[i]) == level)
            place_below(&p, f->roots[i]);
    node_map_free(&p.met);
    bool copied = false; /* is what is read at the places of a list copied? */
    for (size_t i = f->first; i < f->last; i++) {
        node_view v = graph_view(c->g, f->wide[i]);
        copied |= (v.free & f->places) && v.op == NODE_GATHER;
    }
    int64_t rows = (int64_t)((copied ? COPIED_BYTES : BLOCK_BYTES) / (4 * fmax(space, 1)));
    rows         = rows < LEAST_ROWS ? LEAST_ROWS : rows > MOST_ROWS ? MOST_ROWS : rows;
    return rows < extent ? rows : extent;
}

static void make_regions(finder *f, const uint8_t *without) {
    scheduler *c   = f->c;
    uint32_t first = c->region_count + 1;
    for (size_t i = 0; i < f->root_count; i++) {
        if (without && without[f->roots[i]])
            continue;
        add_inside(f, f->roots[i], root_level(f, f->roots[i]));
        c->root[f->roots[i]]    = 1;
        c->by_rows[f->roots[i]] = by_rows(f, f->roots[i]);
    }
    for (size_t i = 0; i < f->root_count; i++) {
        if (without && without[f->roots[i]])
            continue;
        placing p = {.f = f, .level = root_level(f, f->roots[i])};
        place_below(&p, f->roots[i]);
        node_map_free(&p.met);
    }
    for (uint32_t i = first; i <= c->region_count; i++) {
        region *r = &c->region[i];
        r->block  = rows_of(f, (int)r->level);
        qsort(r->inside, r->inside_count, sizeof *r->inside, by_handle);
    }
}

static void keep_whole(finder *f) {
    for (size_t i = f->first; i < f->last; i++)
        f->c->member[f->wide[i]] = 0;
}

static bool may_be_row(const finder *f, index_set shared, index_id i) {
    return (shared & ~f->places) >> i & 1 && (f->planned[i] >= SHORT || f->c->options->rows);
}

/* A walk by blocks of rows can make results that have the row and results that grow from block to block, all from one
 * computation of what is wide. Or these results have a walk of their own, along another row, that computes it again;
 * then no result grows, and all blocks can run at once. For attention backward those are five products of matrices for
 * each tile and seven. */
typedef struct walks {
    double together, apart; /* prices; INFINITY: not possible */
    index_id other;         /* the other row; GRAPH_INDICES where one walk is cheaper */
    bool grows;             /* there was a choice: some results grow */
} walks;

/* Long ones have small blocks. */
static double dearer_by_length(const finder *f, index_id row) {
    return (1 + 1 / f->planned[row]);
}

/* The results that grow from block to block of the row, as find_levels has just found them; false: all or none. */
static bool find_growing(const finder *f, uint8_t *growing) {
    size_t with = 0, without = 0;
    memset(growing, 0, f->count + 1);
    for (size_t i = 0; i < f->root_count; i++) {
        node n     = f->roots[i];
        growing[n] = grows(f, n);
        without += growing[n];
        with += !growing[n];
    }
    return with && without;
}

/* Finds the levels of the growing results along another row. */
static bool find_other_levels(finder *f, index_id other, const uint8_t *growing) {
    f->row     = other;
    f->only    = growing;
    bool found = find_levels(f);
    f->only    = NULL;
    for (size_t n = 1; n <= f->count && found; n++)
        found = !growing[n] || (f->root[n] && (graph_view(f->c->g, (node)n).free & bit(other)));
    return found;
}

/* Walks of two rows are for kernels, which have no order of positions to keep. */
static bool in_order(const finder *f) {
    for (size_t i = f->first; i < f->last; i++) {
        node_op op = graph_view(f->c->g, f->wide[i]).op;
        if (op == NODE_SCAN || graph_selects(op) || op == NODE_SOLVE || f->c->inside[f->wide[i]])
            return true;
    }
    return false;
}

static bool reads_wide(finder *f, node n, node_map *met);

/* Does a comparison of numbers depend on something wide? Computed along another row, in a product of another shape, a
 * value may differ in its last bit, and would not be equal to the maximum that it is. */
static bool compares(finder *f) {
    const graph *g = f->c->g;
    node_map met   = {0};
    for (size_t n = 1; n <= f->count && !f->compared; n++) {
        node_view v = graph_view(g, (node)n);
        bool orders = v.op == NODE_LESS || v.op == NODE_LESS_EQUAL;
        if (!f->known[n] || (v.op != NODE_EQUAL && !orders) || graph_view(g, v.child[0]).type != TYPE_FLOAT)
            continue;
        if (orders && (graph_is_constant(g, v.child[0], NULL) || graph_is_constant(g, v.child[1], NULL)))
            continue;
        f->compares |= reads_wide(f, v.child[0], &met) || reads_wide(f, v.child[1], &met);
    }
    node_map_free(&met);
    f->compared = true;
    return f->compares;
}

/* One walk or two, with this row, whose levels are found. `growing` is filled where some results grow. */
static walks choose_walks(finder *f, index_set shared, index_id row, uint8_t *growing) {
    walks w = {.together = price(f, NULL, true) * dearer_by_length(f, row),
               .apart    = INFINITY,
               .other    = GRAPH_INDICES,
               .grows    = find_growing(f, growing)};
    if (!w.grows || in_order(f) || compares(f))
        return w;
    double rest   = price(f, growing, true) * dearer_by_length(f, row);
    index_id best = GRAPH_INDICES;
    for (unsigned i = 0; i < graph_index_count(f->c->g); i++) {
        index_id other = (index_id)i;
        if (other == row || !may_be_row(f, shared, other) || !find_other_levels(f, other, growing))
            continue;
        double both = rest + price(f, NULL, true) * dearer_by_length(f, other);
        if (both < w.apart) {
            w.apart = both;
            best    = other;
        }
    }
    w.other = w.apart < w.together ? best : GRAPH_INDICES;
    return w;
}

/* The row for which least is computed, then one walk or two. */
static void choose_row(finder *f) {
    scheduler *c     = f->c;
    index_set shared = ~(index_set)0;
    index_id row     = GRAPH_INDICES;
    double least     = INFINITY;
    for (size_t i = f->first; i < f->last; i++)
        shared &= graph_view(c->g, f->wide[i]).free;
    for (unsigned i = 0; i < graph_index_count(c->g); i++) {
        f->row = (index_id)i;
        if (!may_be_row(f, shared, f->row) || !find_levels(f))
            continue;
        double work = price(f, NULL, false) * dearer_by_length(f, f->row);
        if (work < least) {
            least = work;
            row   = f->row;
        }
    }
    if (row == GRAPH_INDICES) {
        keep_whole(f);
        return;
    }
    uint8_t *growing = schedule_allocate(f->count + 1, 1);
    uint32_t first   = c->region_count + 1;
    f->row           = row;
    find_levels(f);
    walks w = choose_walks(f, shared, row, growing);
    f->row  = row;
    find_levels(f);
    make_regions(f, w.other == GRAPH_INDICES ? NULL : growing);
    if (w.other != GRAPH_INDICES && find_other_levels(f, w.other, growing))
        make_regions(f, NULL);
    for (uint32_t i = first; i <= c->region_count && w.grows; i++) {
        c->region[i].together = w.together;
        c->region[i].apart    = w.apart;
        c->region[i].other    = w.other;
    }
    free(growing);
}

/* An output that is computed from wide nodes where it is written must be stored by a region. */
static bool reads_wide(finder *f, node n, node_map *met) {
    scheduler *c = f->c;
    n            = schedule_strip(c->g, n);
    if (c->member[n])
        return true;
    if ((c->stored[n] && !c->inside[n]) || !schedule_is_new(met, n))
        return false;
    node child[MOST_CHILDREN];
    unsigned count = children_of(c, n, child, MOST_CHILDREN);
    for (unsigned i = 0; i < count; i++)
        if (reads_wide(f, child[i], met))
            return true;
    return false;
}

static void store_outputs(finder *f) {
    scheduler *c = f->c;
    for (uint32_t i = 0; i < graph_output_count(c->g); i++) {
        node n       = schedule_strip(c->g, graph_output(c->g, i)->node);
        node_map met = {0};
        c->member[n] = 0; /* it is wanted whole */
        if (!c->stored[n] && reads_wide(f, n, &met))
            c->stored[n] = 1;
        node_map_free(&met);
    }
}

static void visit_below(const scheduler *c, uint32_t number, node n, node_map *met, void (*visit)(void *, node),
                        void *context) {
    node child[MOST_CHILDREN];
    unsigned count = children_of(c, n, child, MOST_CHILDREN);
    for (unsigned i = 0; i < count; i++) {
        node k = schedule_strip(c->g, child[i]);
        if (!schedule_is_new(met, k))
            continue;
        bool within =
            c->member[k] ? number && c->member[k] == c->region[number].component : !c->stored[k] || c->inside[k];
        if (within)
            visit_below(c, number, k, met, visit, context);
        else if (c->region_of[k] != number)
            visit(context, k);
    }
}

void schedule_visit_outside(const scheduler *c, uint32_t number, node n, void (*visit)(void *, node), void *context) {
    node_map met = {0};
    visit_below(c, number, n, &met, visit, context);
    node_map_free(&met);
}

/* Regions that wait for each other */

/* A region computes several nodes together, so it needs what any of them needs. Where two regions then need each other,
 * though no two nodes do, they are taken apart: each result has a region of its own. */
typedef struct cycles {
    scheduler *c;
    uint32_t *node_place, *region_place; /* on the way, from 1; 0: not yet looked at, DONE: done */
    uint32_t *way; /* from what was looked at first to what is now: a region's number, 0: a node */
    uint32_t length;
} cycles;

enum { DONE = UINT32_MAX };

static void look_at_region(cycles *q, uint32_t number);

/* The way has come back to what has this place on it: of the regions from there on the first that can be is taken
 * apart. */
static void take_apart_from(cycles *q, uint32_t place) {
    for (uint32_t i = place; i <= q->length; i++) {
        region *r = &q->c->region[q->way[i]];
        if (q->way[i] && r->inside_count > 1) {
            r->split = true;
            return;
        }
    }
}

/* False: there is nothing to look at any more. */
static bool go_on(cycles *q, uint32_t *place, uint32_t number) {
    if (*place && *place != DONE)
        take_apart_from(q, *place);
    if (*place)
        return false;
    *place         = ++q->length;
    q->way[*place] = number;
    return true;
}

static void go_back(cycles *q, uint32_t *place) {
    q->length--;
    *place = DONE;
}

static void look_at_node(void *context, node n) {
    cycles *q    = context;
    scheduler *c = q->c;
    if (c->region_of[n]) {
        look_at_region(q, c->region_of[n]);
        return;
    }
    if (!go_on(q, &q->node_place[n], 0))
        return;
    schedule_visit_outside(c, 0, n, look_at_node, q);
    go_back(q, &q->node_place[n]);
}

static void look_at_region(cycles *q, uint32_t number) {
    if (!go_on(q, &q->region_place[number], number))
        return;
    for (uint32_t i = 0; i < q->c->region[number].inside_count; i++)
        schedule_visit_outside(q->c, number, q->c->region[number].inside[i], look_at_node, q);
    go_back(q, &q->region_place[number]);
}

static void split_region(scheduler *c, uint32_t number) {
    region whole                   = c->region[number];
    c->region[number].inside       = NULL;
    c->region[number].inside_count = 0;
    for (uint32_t i = 0; i < whole.inside_count; i++) {
        node n          = whole.inside[i];
        c->region_of[n] = 0;
        if (!c->root[n])
            continue; /* complete once the results that it reads are */
        if (c->region_count + 2 > c->region_capacity) {
            size_t more        = 2 * c->region_capacity;
            c->region          = enough_grown(c->region, c->region_capacity, more, sizeof *c->region);
            c->region_capacity = more;
        }
        region *one       = &c->region[++c->region_count];
        *one              = whole;
        one->split        = false;
        one->inside       = schedule_allocate(1, sizeof *one->inside);
        one->inside[0]    = n;
        one->inside_count = 1;
        c->region_of[n]   = c->region_count;
    }
    free(whole.inside);
    c->region[number].done = true;
}

static void take_cycles_apart(scheduler *c) {
    for (bool again = true; again;) {
        cycles q       = {.c = c};
        q.node_place   = schedule_allocate(c->node_capacity, sizeof *q.node_place);
        q.region_place = schedule_allocate(c->region_count + 1, sizeof *q.region_place);
        q.way          = schedule_allocate(c->node_capacity + c->region_count + 2, sizeof *q.way);
        for (uint32_t i = 1; i <= c->region_count; i++)
            look_at_region(&q, i);
        again = false;
        for (uint32_t i = c->region_count; i > 0; i--)
            if (c->region[i].split && c->region[i].inside_count > 1) {
                split_region(c, i);
                again = true;
            }
        free(q.node_place);
        free(q.region_place);
        free(q.way);
    }
}

void schedule_find_regions(scheduler *c) {
    schedule_fit_nodes(c);
    finder f = {.c = c, .count = graph_node_count(c->g)};
    plan(&f);
    f.seen    = schedule_allocate(f.count + 1, sizeof *f.seen);
    f.known   = schedule_allocate(f.count + 1, 1);
    f.reads   = schedule_allocate(f.count + 1, sizeof *f.reads);
    f.level   = schedule_allocate(f.count + 1, sizeof *f.level);
    f.visited = schedule_allocate(f.count + 1, 1);
    f.root    = schedule_allocate(f.count + 1, 1);
    f.roots   = schedule_allocate(f.count + 1, sizeof *f.roots);
    for (size_t n = 1; n <= f.count; n++)
        f.places |= graph_view(c->g, (node)n).op == NODE_CHOSEN ? graph_view(c->g, (node)n).vars : 0;
    for (uint32_t i = 0; i < graph_output_count(c->g); i++)
        seen_through(&f, graph_output(c->g, i)->node);
    find_loadless(&f);
    store_outputs(&f);
    join_states(&f);
    find_components(&f);
    find_readers(&f);
    list_wide(&f);
    for (size_t i = 0; i < f.reader_count; i++)
        schedule_note_scattered(c, f.reader[i].node);
    for (f.first = 0; f.first < f.wide_count; f.first = f.last) {
        f.component = c->member[f.wide[f.first]];
        for (f.last = f.first; f.last < f.wide_count && c->member[f.wide[f.last]] == f.component;)
            f.last++;
        choose_row(&f);
    }
    take_cycles_apart(c);
    free(f.seen);
    free(f.known);
    free(f.parent);
    free(f.reads);
    free(f.level);
    free(f.visited);
    free(f.root);
    free(f.roots);
    free(f.reader);
    free(f.child);
    free(f.wide);
}

/* The steps of a region */

bool schedule_gathers(const scheduler *c, node n) {
    node_view v = graph_view(c->g, n);
    return c->growing || (c->open && !c->sink && v.op == NODE_REDUCE && (v.vars & bit(c->open->row)));
}

void schedule_note_walks(const scheduler *c, const region *r, FILE *file) {
    if (!(r->together > 0))
        return;
    fprintf(file, "priced for %d threads: one walk for all results %.3g operations of a thread, ",
            (int)schedule_workers(c), r->together);
    if (isinf(r->apart))
        fputs("two walks not possible\n", file);
    else
        fprintf(file, "a second walk for those that grow %.3g: %s\n", r->apart,
                r->other == GRAPH_INDICES ? "one" : "two");
}

static char *note_of_blocks(scheduler *c, const region *r) {
    char *text  = NULL;
    size_t size = 0;
    FILE *file  = enough(open_memstream(&text, &size));
    fprintf(file, "blocks of rows %s", graph_index_name(c->g, r->row));
    if (r->refused) {
        fprintf(file, "; no kernel of tiles, since %s: ", r->refused);
        schedule_print_value(c->s, r->refused_by, file);
    }
    fputc('\n', file);
    schedule_note_walks(c, r, file);
    fclose(file);
    return text;
}

void schedule_open_region(scheduler *c, const region *r) {
    char *note      = note_of_blocks(c, r);
    step *t         = schedule_add_step(c);
    t->note         = note;
    t->kind         = STEP_BLOCKS;
    t->index        = r->row;
    t->block        = r->block;
    c->open_buffers = c->s->buffer_count;
    c->open         = r;
    c->open_step    = c->s->step_count - 1;
    c->ranged       = (axis_order){.rank = 1, .index = {r->row}};
}

/* Wide nodes, and what the steps of a scan keep, have their buffers in here only. */
void schedule_close_region(scheduler *c) {
    step *t      = &c->s->step[c->open_step];
    size_t count = graph_node_count(c->g);
    t->inside    = c->s->step_count - c->open_step - 1;
    t->local     = enough(malloc((count + 1) * sizeof *t->local));
    for (node n = 1; n <= count; n++) {
        uint32_t number = c->s->buffer_of[n];
        if (number == NO_BUFFER || number < c->open_buffers)
            continue;
        bool row = false;
        for (unsigned a = 0; a < c->s->buffer[number].rank; a++)
            row |= c->s->buffer[number].block[a] != 0;
        if (!row && !c->inside[n] && c->member[n] != c->open->component)
            continue;
        t->local[t->local_count++] = (placement){n, number};
        c->s->buffer_of[n]         = NO_BUFFER;
        c->done[n]                 = 0;
    }
    t->local  = enough(realloc(t->local, (t->local_count + 1) * sizeof *t->local));
    c->open   = NULL;
    c->ranged = (axis_order){0};
}

void schedule_move_outside(scheduler *c) {
    schedule *s  = c->s;
    step moved   = s->step[s->step_count - 1];
    moved.ranged = (axis_order){0};
    memmove(&s->step[c->open_step + 1], &s->step[c->open_step], (s->step_count - 1 - c->open_step) * sizeof moved);
    s->step[c->open_step++] = moved;
}
