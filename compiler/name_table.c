/* Names with places: chained hashing; a chain runs from the last place to the first, so that forgetting the last places
 * takes the heads of chains away. */
#include "name_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *resized(void *memory, size_t count, size_t size) {
    memory = realloc(memory, count * size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

/* FNV-1a: Fowler, Noll & Vo, RFC 9923. */
static uint32_t hash_of(const char *name) {
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

static uint32_t *chain_of(const name_table *table, uint32_t hash) {
    return &table->chain[(hash ^ hash >> 15) & (table->chain_count - 1)];
}

static void link_entry(name_table *table, size_t place) {
    uint32_t *chain          = chain_of(table, table->entry[place].hash);
    table->entry[place].next = *chain;
    *chain                   = (uint32_t)place + 1;
}

uint32_t name_table_find(const name_table *table, const char *name, size_t count) {
    if (table->count == 0)
        return NAME_UNKNOWN;
    uint32_t hash = hash_of(name);
    for (uint32_t at = *chain_of(table, hash); at; at = table->entry[at - 1].next) {
        const name_entry *e = &table->entry[at - 1];
        if (at <= count && e->hash == hash && strcmp(e->name, name) == 0)
            return at - 1;
    }
    return NAME_UNKNOWN;
}

static void forget(name_table *table, size_t count) {
    while (table->count > count) {
        const name_entry *last       = &table->entry[--table->count];
        *chain_of(table, last->hash) = last->next;
    }
}

static void grow(name_table *table) {
    table->capacity = table->capacity ? table->capacity * 2 : 64;
    table->entry    = resized(table->entry, table->capacity, sizeof *table->entry);
    table->chain    = resized(table->chain, table->capacity, sizeof *table->chain);
    memset(table->chain, 0, table->capacity * sizeof *table->chain);
    table->chain_count = table->capacity;
    for (size_t i = 0; i < table->count; i++)
        link_entry(table, i);
}

void name_table_add(name_table *table, const char *name, size_t count) {
    forget(table, count);
    if (table->count == table->capacity)
        grow(table);
    table->entry[table->count] = (name_entry){.name = name, .hash = hash_of(name)};
    link_entry(table, table->count++);
}

void name_table_free(name_table *table) {
    free(table->entry);
    free(table->chain);
    *table = (name_table){0};
}
