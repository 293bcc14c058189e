#include "node_map.h"

#include "enough.h"

/* Neighbours stay neighbours within a cache line: passes go through nodes in order. */
static size_t slot_of(const node_map *map, node n) {
    size_t slot = ((n >> 4) * 0x9E3779B1u << 4 | (n & 15)) & (map->slots - 1);
    while (map->slot[slot] && map->entry[map->slot[slot] - 1].key != n)
        slot = (slot + 1) & (map->slots - 1);
    return slot;
}

node_map node_map_direct(node last) {
    return (node_map){
        .direct = true, .slots = (size_t)last + 1, .slot = enough(calloc((size_t)last + 1, sizeof(uint32_t)))};
}

static void grow(node_map *map) {
    map->capacity = map->capacity ? map->capacity * 2 : 32;
    map->entry    = enough(realloc(map->entry, map->capacity * sizeof *map->entry));
    if (map->direct)
        return;
    map->slots = map->capacity * 2;
    free(map->slot);
    map->slot = enough(calloc(map->slots, sizeof *map->slot));
    for (size_t i = 0; i < map->count; i++)
        map->slot[slot_of(map, map->entry[i].key)] = (uint32_t)i + 1;
}

node_entry *node_map_find(const node_map *map, node n) {
    if (map->direct ? n >= map->slots : !map->slots)
        return NULL;
    uint32_t place = map->slot[map->direct ? n : slot_of(map, n)];
    return place ? &map->entry[place - 1] : NULL;
}

node_entry *node_map_enter(node_map *map, node n) {
    node_entry *found = node_map_find(map, n);
    if (found)
        return found;
    if (map->count == map->capacity)
        grow(map);
    map->slot[map->direct ? n : slot_of(map, n)] = (uint32_t)map->count + 1;
    map->entry[map->count]                       = (node_entry){.key = n};
    return &map->entry[map->count++];
}

void node_map_free(node_map *map) {
    free(map->entry);
    free(map->slot);
    *map = (node_map){0};
}
