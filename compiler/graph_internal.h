/* The graph's insides, for graph*.c only. */
#ifndef ATTNC_GRAPH_INTERNAL_H
#define ATTNC_GRAPH_INTERNAL_H

#include "graph.h"
#include "name_table.h"

typedef struct node_record {
    uint8_t op, type, reduction, scan_index;
    bool reverse, open;
    uint16_t child_count;
    uint32_t first_child;
    uint32_t label; /* scan label or tensor number */
    uint32_t hash;
    uint64_t vars, free;
    uint64_t payload; /* FLOAT's bits; INT, TOPK, CHOSEN, RANDOM, HELD's integer; GATHER's first substituted index; a
                         state's number */
} node_record;

_Static_assert(sizeof(node_record) == 48, "a node is 48 bytes");

/* A node about to be interned. */
typedef struct node_proto {
    node_op op;
    value_type type;
    reduction reduction;
    index_id scan_index;
    bool reverse;
    bool open; /* SCAN: it stands inside another's bodies; of other nodes this follows from their children */
    unsigned child_count;
    const node *child;
    const index_id *substituted;
    uint32_t label;
    index_set vars, free;
    uint64_t payload;
} node_proto;

typedef struct index_record {
    char *name;
    int64_t extent;
    index_id twin; /* graph_fresh_index, GRAPH_INDICES while there is none */
} index_record;

/* Why a node was made. */
typedef struct reason_record {
    node about;
    uint16_t why;
} reason_record;

/* The nodes of a scan. */
typedef struct scan_record {
    node *previous; /* by number of the state */
    size_t states, capacity;
    node first; /* SCAN of state 0, which those of the others follow; NODE_NONE while it is not closed */
} scan_record;

struct graph {
    char *notes; /* lines of text; NULL: none */
    node_record *node;
    size_t node_count, node_capacity;
    node *child;
    size_t child_count, child_capacity;
    index_id *substituted;
    size_t substituted_count, substituted_capacity;
    node *table; /* open addressing; a power of two */
    size_t table_size;
    index_record index[GRAPH_INDICES];
    unsigned index_count;
    tensor **tensor;
    size_t tensor_count, tensor_capacity;
    name_table tensor_names;
    output **output;
    size_t output_count, output_capacity;
    scan_record *scan; /* by label; 0 is no scan */
    size_t scan_capacity;
    uint32_t scan_labels, random_numbers, held_numbers;
    char **name; /* node: its name in the spec or NULL; as long as name_capacity */
    size_t name_capacity;
    reason_record *reason, because; /* of every node; of the next ones */
    size_t reason_capacity;
    index_id causal;
};

void *graph_grow(void *array, size_t *capacity, size_t needed, size_t size);
node graph_intern(graph *g, const node_proto *p);
node graph_to_type(graph *g, node n, value_type type); /* promoted: BOOL to INT, either to FLOAT */
#endif
