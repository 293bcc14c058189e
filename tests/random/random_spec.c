/* A random spec as a whole: its sizes, indices, inputs and parameters; then definitions until there are enough. */
#include "random_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Memory, freed at once */

typedef struct chunk {
    struct chunk *next;
    size_t used, size;
    char data[];
} chunk;

static void *need(void *memory) {
    if (!memory) {
        fputs("random spec: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

void *random_memory(random_spec *s, size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (!s->memory || s->memory->used + size > s->memory->size) {
        size_t room = size > 16384 ? size : 16384;
        chunk *c    = need(calloc(1, sizeof *c + room));
        c->next     = s->memory;
        c->size     = room;
        s->memory   = c;
    }
    void *memory = s->memory->data + s->memory->used;
    s->memory->used += size;
    return memory;
}

void random_spec_free(random_spec *s) {
    while (s && s->memory) {
        chunk *next = s->memory->next;
        free(s->memory);
        s->memory = next;
    }
    if (s)
        free(s->text);
    free(s);
}

/* Choice: SplitMix64, Steele, Lea & Flood 2014. */

uint64_t random_mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

unsigned below(maker *m, unsigned count) {
    m->state += 0x9e3779b97f4a7c15u;
    return (unsigned)((random_mix(m->state) >> 33) % (count ? count : 1));
}

bool chance(maker *m, unsigned percent) {
    return below(m, 100) < percent;
}

scope bit_of(unsigned index) {
    return (scope)1 << index;
}

unsigned extent_of(const maker *m, unsigned index) {
    return m->s->size[m->s->index[index].size].value;
}

unsigned space_of(const maker *m, scope s) {
    unsigned space = 1;
    for (unsigned i = 0; i < m->s->index_count; i++)
        space *= s >> i & 1 ? extent_of(m, i) : 1;
    return space;
}

unsigned any_of(maker *m, scope s) {
    unsigned number = below(m, (unsigned)__builtin_popcount(s));
    for (unsigned i = 0; i < m->s->index_count; i++)
        if (s >> i & 1 && number-- == 0)
            return i;
    return RANDOM_INDICES;
}

unsigned binder(maker *m, scope s) {
    scope free = 0;
    for (unsigned i = 0; i < m->s->index_count; i++)
        if (!(s >> i & 1) && space_of(m, s | bit_of(i)) <= RANDOM_SPACE)
            free |= bit_of(i);
    if (s && chance(m, 4)) /* bound anew */
        return any_of(m, s);
    return any_of(m, free);
}

/* Declarations */

static unsigned add_size(maker *m, const char *name, unsigned value) {
    random_size *size = &m->s->size[m->s->size_count];
    snprintf(size->name, sizeof size->name, "%s", name);
    size->value = value;
    return m->s->size_count++;
}

unsigned add_index(maker *m, const char *name, unsigned size, bool local) {
    random_index *i = &m->s->index[m->s->index_count];
    snprintf(i->name, sizeof i->name, "%s", name);
    i->size  = size;
    i->local = local;
    return m->s->index_count++;
}

random_tensor *add_tensor_of(maker *m, random_kind kind, random_type type, const char *letter, scope indices) {
    random_tensor *t = &m->s->tensor[m->s->tensor_count++];
    *t               = (random_tensor){.kind = kind, .type = type, .largest = 2.5};
    snprintf(t->name, sizeof t->name, "%s%u", letter, m->names++);
    for (unsigned i = 0; i < m->s->index_count; i++)
        if (indices >> i & 1 && t->rank < RANDOM_RANK)
            t->index[t->rank++] = i;
    for (unsigned i = t->rank; i > 1; i--) { /* in any order */
        unsigned k = below(m, i), other = t->index[i - 1];
        t->index[i - 1] = t->index[k];
        t->index[k]     = other;
    }
    return t;
}

/* Up to `most` of the declared indices. */
static scope some_indices(maker *m, unsigned most) {
    scope s = 0;
    for (unsigned k = below(m, most + 1); k > 0; k--) {
        unsigned i = below(m, m->s->index_count);
        if (!m->s->index[i].local && space_of(m, s | bit_of(i)) <= 60)
            s |= bit_of(i);
    }
    return s;
}

static unsigned small_extent(maker *m) {
    static const unsigned extent[] = {3, 3, 3, 3, 5, 2, 2, 4, 1};
    return extent[below(m, sizeof extent / sizeof *extent)];
}

static void declare_indices(maker *m) {
    bool pairs     = m->s->pairs;
    unsigned time  = add_size(m, "T", pairs ? 4 + below(m, 5) : small_extent(m));
    unsigned width = add_size(m, "D", pairs ? 1 + below(m, 3) : small_extent(m));
    add_index(m, "t", time, false);
    add_index(m, "s", time, false);
    add_index(m, "d", width, false);
    if (chance(m, 50))
        add_index(m, "e", width, false);
    if (chance(m, 25))
        add_index(m, "b", add_size(m, "B", 1 + below(m, 2)), false);
    if (chance(m, 25)) {
        unsigned heads = add_size(m, "H", 1 + below(m, 4));
        add_index(m, "h", heads, false);
        if (chance(m, 60))
            add_index(m, "g", add_size(m, "G", 1 + below(m, m->s->size[heads].value)), false);
    }
    add_index(m, "r", time, true);
    add_index(m, "i", width, true);
}

static void declare_tensors(maker *m) {
    static const char *const letter[] = {"x", "w", "c"};
    for (unsigned k = 2 + below(m, 3); k > 0; k--)
        add_tensor_of(m, RANDOM_INPUT, RANDOM_FLOAT, letter[0], some_indices(m, 3));
    scope positions = m->s->pairs && chance(m, 70) ? bit_of(0) | bit_of(1) : 0; /* parameters have none mostly */
    for (unsigned k = 1 + below(m, 2); k > 0; k--)
        add_tensor_of(m, RANDOM_PARAM, RANDOM_FLOAT, letter[1], some_indices(m, 2) & ~positions);
    if (chance(m, 20))
        add_tensor_of(m, RANDOM_TABLE, RANDOM_FLOAT, letter[2], bit_of(below(m, 3)));
    for (unsigned k = below(m, 3); k > 0; k--) {
        bool table = chance(m, 30);
        random_tensor *t =
            add_tensor_of(m, table ? RANDOM_TABLE : RANDOM_INPUT, RANDOM_INT, "k", table ? 1 : some_indices(m, 2));
        t->below   = below(m, m->s->size_count);
        t->largest = m->s->size[t->below].value;
    }
    if (chance(m, 50))
        add_tensor_of(m, RANDOM_INPUT, RANDOM_BOOL, "m", some_indices(m, 2));
}

/* Definitions that no other one reads are outputs, and some others. */

static void mark_read(const random_spec *s, const term *t, bool *read) {
    if (!t)
        return;
    for (unsigned k = 0; t->kind == TERM_READ && k < s->tensor_count; k++)
        read[k] |= strcmp(s->tensor[k].name, t->text) == 0;
    for (unsigned k = 0; k < t->count; k++)
        mark_read(s, t->child[k], read);
    mark_read(s, t->domain, read);
}

static void choose_outputs(maker *m) {
    bool read[RANDOM_TENSORS] = {false};
    for (unsigned k = 0; k < m->s->tensor_count; k++) {
        mark_read(m->s, m->s->tensor[k].value, read);
        mark_read(m->s, m->s->tensor[k].initial, read);
    }
    for (unsigned k = 0; k < m->s->tensor_count; k++)
        m->s->tensor[k].output = m->s->tensor[k].kind == RANDOM_DEFINITION && (!read[k] || chance(m, 15));
}

random_spec *random_spec_new(uint64_t seed) {
    random_spec *s = need(calloc(1, sizeof *s));
    maker m        = {.s = s, .state = random_mix(seed ^ 0x5851f42d4c957f2du), .group = -1};
    s->seed        = seed;
    s->wild        = chance(&m, 15);
    s->pairs       = chance(&m, 35);
    declare_indices(&m);
    declare_tensors(&m);
    for (unsigned wanted = 3 + below(&m, s->pairs ? 5 : 8);
         definition_count(&m) < wanted && s->tensor_count + 8 < RANDOM_TENSORS;)
        add_definitions(&m);
    choose_outputs(&m);
    bool any = false;
    for (unsigned k = 0; k < s->tensor_count; k++)
        any |= s->tensor[k].output;
    for (unsigned k = s->tensor_count; !any && k-- > 0;) /* a ring of recurrences: all of them are read */
        any = s->tensor[k].output = s->tensor[k].kind == RANDOM_DEFINITION;
    return s;
}

random_spec *random_spec_read(uint64_t seed, const char *path) {
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    random_spec *s = need(calloc(1, sizeof *s));
    size_t size    = 0;
    FILE *copy     = need(open_memstream(&s->text, &size));
    s->seed        = seed;
    for (int c; (c = getc(file)) != EOF;)
        putc(c, copy);
    fclose(copy);
    fclose(file);
    return s;
}

bool random_spec_is_wild(const random_spec *s) {
    return s->wild;
}

char *random_spec_text(const random_spec *s) {
    char *text  = NULL;
    size_t size = 0;
    FILE *file  = need(open_memstream(&text, &size));
    if (s->text)
        fputs(s->text, file);
    else
        random_print(s, file);
    fclose(file);
    return need(text);
}

double random_spec_value(const random_spec *s, const char *name, int64_t limit, uint64_t draw, uint64_t element) {
    uint64_t key = random_mix(s->seed + 0x2545f4914f6cdd1du * (draw + 1));
    for (; *name; name++)
        key = random_mix(key ^ (unsigned char)*name);
    uint64_t bits = random_mix(key + element * 0x9e3779b97f4a7c15u);
    if (limit > 0)
        return (double)((bits >> 32) % (uint64_t)limit);
    if (s->wild && bits % 16 == 0)
        return bits >> 8 & 1 ? 0 : 40;
    double uniform = (double)(bits >> 40) * 0x1p-23 - 1; /* in [-1, 1) */
    return (float)(2.2 * uniform * fabs(uniform) + 0.3 * uniform);
}
