/* Nodes with values, for passes that look at few nodes of a large graph: time and memory follow the number of nodes
 * that were entered, not the number that there are. */
#ifndef ATTNC_NODE_MAP_H
#define ATTNC_NODE_MAP_H

#include "graph.h"

typedef struct node_entry {
    node key, value;
} node_entry;

/* All zero is an empty map. `entry` holds the nodes in the order in which they were entered. */
typedef struct node_map {
    node_entry *entry;
    size_t count, capacity;
    uint32_t *slot; /* one more than an entry's place, 0: none; open addressing */
    size_t slots;   /* a power of two; of a direct map one for each node */
    bool direct;
} node_map;

/* An empty map for passes that look at most of the nodes 1 … last: faster, but its memory follows `last`. Others have
 * no entry in it and are not to be entered. */
node_map node_map_direct(node last);

/* The entry of n, NULL: there is none. Valid until the next is entered. */
node_entry *node_map_find(const node_map *map, node n);
/* The same, entered with the value NODE_NONE where there was none. */
node_entry *node_map_enter(node_map *map, node n);
void node_map_free(node_map *map);

#endif
