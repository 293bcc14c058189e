/* The pool of nodes, hash-consing, index variables, interface tensors and outputs. Requires nothing;
 * graph_build.c constructs nodes on top of graph_intern, graph_text.c prints and verifies them. */
#include "enough.h"
#include "graph_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void out_of_memory(void) {
    fputs("attnc: out of memory\n", stderr);
    exit(3);
}

void *graph_grow(void *array, size_t *capacity, size_t needed, size_t size) {
    if (needed <= *capacity)
        return array;
    size_t more = *capacity ? *capacity * 2 : 64;
    if (more < needed)
        more = needed;
    void *grown = realloc(array, more * size);
    if (!grown)
        out_of_memory();
    *capacity = more;
    return grown;
}

static char *copy_text(const char *text) {
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        out_of_memory();
    return copy;
}

graph *graph_new(void) {
    graph *g = calloc(1, sizeof *g);
    if (!g)
        out_of_memory();
    g->causal     = GRAPH_INDICES;
    g->table_size = 1024;
    g->table      = calloc(g->table_size, sizeof *g->table);
    if (!g->table)
        out_of_memory();
    g->node       = graph_grow(NULL, &g->node_capacity, 256, sizeof *g->node);
    g->node_count = 1; /* handle 0 is no node */
    memset(&g->node[0], 0, sizeof g->node[0]);
    return g;
}

void graph_free(graph *g) {
    if (!g)
        return;
    for (unsigned i = 0; i < g->index_count; i++)
        free(g->index[i].name);
    for (size_t i = 0; i < g->tensor_count; i++) {
        free(g->tensor[i]->name);
        free(g->tensor[i]->group);
        free(g->tensor[i]);
    }
    for (size_t i = 0; i < g->output_count; i++) {
        free(g->output[i]->name);
        free(g->output[i]);
    }
    for (size_t i = 0; i < g->name_capacity; i++)
        free(g->name[i]);
    for (size_t i = 1; i <= g->scan_labels; i++)
        free(g->scan[i].previous);
    free(g->notes);
    free(g->name);
    free(g->reason);
    free(g->scan);
    name_table_free(&g->tensor_names);
    free(g->tensor);
    free(g->output);
    free(g->node);
    free(g->child);
    free(g->substituted);
    free(g->table);
    free(g);
}

size_t graph_node_count(const graph *g) {
    return g->node_count - 1;
}

node_view graph_view(const graph *g, node n) {
    assert(n != NODE_NONE && n < g->node_count);
    const node_record *r = &g->node[n];
    node_view v          = {.op          = (node_op)r->op,
                            .type        = (value_type)r->type,
                            .free        = r->free,
                            .child_count = r->child_count,
                            .child       = r->child_count ? g->child + r->first_child : NULL,
                            .vars        = r->vars,
                            .reduction   = (reduction)r->reduction,
                            .scan_index  = r->scan_index,
                            .reverse     = r->reverse,
                            .scan_label  = r->label,
                            .tensor      = r->label};
    if (v.op == NODE_SCAN || v.op == NODE_PREVIOUS)
        v.scan_state = (uint32_t)r->payload;
    if (v.op == NODE_GATHER)
        v.substituted = g->substituted + r->payload;
    else if (v.op == NODE_FLOAT)
        memcpy(&v.number, &r->payload, sizeof v.number);
    else
        v.integer = (int64_t)r->payload;
    return v;
}

static uint64_t mix(uint64_t h, uint64_t value) {
    h ^= value + 0x9E3779B97F4A7C15u + (h << 6) + (h >> 2);
    h *= 0xBF58476D1CE4E5B9u;
    return h ^ (h >> 29);
}

static uint64_t hash_proto(const graph *g, const node_proto *p) {
    uint64_t h = mix(p->op, p->type);
    h          = mix(h, p->vars);
    h = mix(h, ((uint64_t)p->label << 32) | (uint64_t)p->reduction << 16 | (uint64_t)p->scan_index << 8 | p->reverse);
    if (p->op != NODE_GATHER)
        h = mix(h, p->payload);
    for (unsigned i = 0; i < p->child_count; i++)
        h = mix(h, p->child[i]);
    if (p->op == NODE_GATHER)
        for (unsigned i = 0; i + 1 < p->child_count; i++)
            h = mix(h, p->substituted[i]);
    (void)g;
    return h;
}

static bool same(const graph *g, const node_record *r, const node_proto *p) {
    if (r->op != p->op || r->type != p->type || r->vars != p->vars || r->label != p->label ||
        r->reduction != p->reduction || r->scan_index != p->scan_index || r->reverse != p->reverse ||
        r->child_count != p->child_count)
        return false;
    if (p->child_count && memcmp(g->child + r->first_child, p->child, p->child_count * sizeof(node)) != 0)
        return false;
    if (p->op == NODE_GATHER)
        return memcmp(g->substituted + r->payload, p->substituted, p->child_count - 1) == 0;
    return r->payload == p->payload;
}

static void rehash(graph *g) {
    size_t size = g->table_size * 2;
    node *next  = calloc(size, sizeof *next);
    if (!next)
        out_of_memory();
    for (size_t i = 0; i < g->table_size; i++)
        if (g->table[i]) {
            size_t slot = g->node[g->table[i]].hash & (size - 1);
            while (next[slot])
                slot = (slot + 1) & (size - 1);
            next[slot] = g->table[i];
        }
    free(g->table);
    g->table      = next;
    g->table_size = size;
}

node graph_intern(graph *g, const node_proto *p) {
    uint64_t h  = hash_proto(g, p);
    size_t slot = h & (g->table_size - 1);
    for (; g->table[slot]; slot = (slot + 1) & (g->table_size - 1)) {
        const node_record *r = &g->node[g->table[slot]];
        if (r->hash == (uint32_t)h && same(g, r, p))
            return g->table[slot];
    }
    g->child      = graph_grow(g->child, &g->child_capacity, g->child_count + p->child_count, sizeof *g->child);
    g->node       = graph_grow(g->node, &g->node_capacity, g->node_count + 1, sizeof *g->node);
    node_record r = {.op          = (uint8_t)p->op,
                     .type        = (uint8_t)p->type,
                     .reduction   = (uint8_t)p->reduction,
                     .scan_index  = p->scan_index,
                     .reverse     = p->reverse,
                     .child_count = (uint16_t)p->child_count,
                     .first_child = (uint32_t)g->child_count,
                     .label       = p->label,
                     .hash        = (uint32_t)h,
                     .vars        = p->vars,
                     .free        = p->free,
                     .payload     = p->payload};
    r.open        = p->open || p->op == NODE_PREVIOUS;
    for (unsigned i = 0; i < p->child_count && p->op != NODE_SCAN; i++)
        r.open |= g->node[p->child[i]].open;
    if (p->child_count)
        memcpy(g->child + g->child_count, p->child, p->child_count * sizeof(node));
    g->child_count += p->child_count;
    if (p->op == NODE_GATHER) {
        unsigned count = p->child_count - 1;
        g->substituted =
            graph_grow(g->substituted, &g->substituted_capacity, g->substituted_count + count, sizeof(index_id));
        memcpy(g->substituted + g->substituted_count, p->substituted, count);
        r.payload = g->substituted_count;
        g->substituted_count += count;
    }
    node n         = (node)g->node_count++;
    g->node[n]     = r;
    g->reason      = graph_grow(g->reason, &g->reason_capacity, g->node_count, sizeof *g->reason);
    g->reason[n]   = g->because;
    g->table[slot] = n;
    if (g->node_count * 2 > g->table_size)
        rehash(g);
    return n;
}

/* Index variables */

index_id graph_index(graph *g, const char *name, int64_t extent) {
    for (unsigned i = 0; i < g->index_count; i++)
        if (g->index[i].extent == extent && strcmp(g->index[i].name, name) == 0)
            return (index_id)i;
    if (g->index_count == GRAPH_INDICES)
        return GRAPH_INDICES;
    g->index[g->index_count] = (index_record){copy_text(name), extent, GRAPH_INDICES};
    return (index_id)g->index_count++;
}

index_id graph_fresh_index(graph *g, index_id like) {
    if (g->index[like].twin == GRAPH_INDICES) {
        char name[256];
        snprintf(name, sizeof name, "%s'", g->index[like].name);
        index_id twin       = graph_index(g, name, g->index[like].extent);
        g->index[like].twin = twin;
    }
    return g->index[like].twin;
}

const char *graph_index_name(const graph *g, index_id i) {
    return g->index[i].name;
}

int64_t graph_index_extent(const graph *g, index_id i) {
    return g->index[i].extent;
}

unsigned graph_index_count(const graph *g) {
    return g->index_count;
}

int64_t graph_space(const graph *g, index_set set) {
    int64_t space = 1;
    for (unsigned i = 0; i < g->index_count; i++)
        if (set >> i & 1 && __builtin_mul_overflow(space, g->index[i].extent, &space))
            return INT64_MAX;
    return space;
}

void graph_name_node(graph *g, node n, const char *name) {
    size_t had = g->name_capacity;
    g->name    = graph_grow(g->name, &g->name_capacity, (size_t)n + 1, sizeof *g->name);
    memset(g->name + had, 0, (g->name_capacity - had) * sizeof *g->name);
    if (!g->name[n])
        g->name[n] = copy_text(name);
}

const char *graph_node_name(const graph *g, node n) {
    return n < g->name_capacity ? g->name[n] : NULL;
}

void graph_because(graph *g, uint16_t why, node about) {
    g->because = (reason_record){.why = why, .about = about};
}

uint16_t graph_reason(const graph *g, node n, node *about) {
    if (about)
        *about = g->reason[n].about;
    return g->reason[n].why;
}

void graph_set_causal(graph *g, index_id i) {
    g->causal = i;
}

index_id graph_causal(const graph *g) {
    return g->causal;
}

/* Interface tensors and outputs */

uint32_t graph_add_tensor(graph *g, const tensor *t) {
    tensor *copy = malloc(sizeof *copy);
    if (!copy)
        out_of_memory();
    *copy          = *t;
    copy->name     = copy_text(t->name);
    copy->group    = copy_text(t->group);
    copy->elements = 1;
    index_set free = 0;
    for (unsigned i = 0; i < t->rank; i++) {
        copy->extent[i] = g->index[t->index[i]].extent;
        if (__builtin_mul_overflow(copy->elements, copy->extent[i], &copy->elements))
            copy->elements = INT64_MAX;
        free |= (index_set)1 << t->index[i];
    }
    g->tensor         = graph_grow(g->tensor, &g->tensor_capacity, g->tensor_count + 1, sizeof *g->tensor);
    uint32_t number   = (uint32_t)g->tensor_count++;
    g->tensor[number] = copy;
    name_table_add(&g->tensor_names, copy->name, number);
    copy->node = graph_intern(g, &(node_proto){.op = NODE_TENSOR, .type = t->type, .free = free, .label = number});
    return number;
}

uint32_t graph_tensor_count(const graph *g) {
    return (uint32_t)g->tensor_count;
}

bool graph_has_tensor(const graph *g, const char *name) {
    return name_table_find(&g->tensor_names, name, g->tensor_count) != NAME_UNKNOWN;
}

const tensor *graph_tensor(const graph *g, uint32_t number) {
    assert(number < g->tensor_count);
    return g->tensor[number];
}

uint32_t graph_add_output(graph *g, const output *o) {
    output *copy = malloc(sizeof *copy);
    if (!copy)
        out_of_memory();
    *copy          = *o;
    copy->name     = copy_text(o->name);
    copy->elements = 1;
    for (unsigned i = 0; i < o->rank; i++)
        if (__builtin_mul_overflow(copy->elements, g->index[o->index[i]].extent, &copy->elements))
            copy->elements = INT64_MAX;
    g->output                  = graph_grow(g->output, &g->output_capacity, g->output_count + 1, sizeof *g->output);
    g->output[g->output_count] = copy;
    return (uint32_t)g->output_count++;
}

uint32_t graph_output_count(const graph *g) {
    return (uint32_t)g->output_count;
}

const output *graph_output(const graph *g, uint32_t number) {
    assert(number < g->output_count);
    return g->output[number];
}

void graph_set_output_node(graph *g, uint32_t number, node n) {
    g->output[number]->node = n;
}

void graph_drop_outputs(graph *g, output_kind kind) {
    size_t kept = 0;
    for (size_t i = 0; i < g->output_count; i++) {
        if (g->output[i]->kind != kind) {
            g->output[kept++] = g->output[i];
            continue;
        }
        free(g->output[i]->name);
        free(g->output[i]);
    }
    g->output_count = kept;
}

void graph_add_note(graph *g, const char *text) {
    size_t before = g->notes ? strlen(g->notes) : 0, more = strlen(text);
    g->notes = enough(realloc(g->notes, before + more + 1));
    memcpy(g->notes + before, text, more + 1);
}

const char *graph_notes(const graph *g) {
    return g->notes ? g->notes : "";
}
