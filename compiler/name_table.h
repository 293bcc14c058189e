/* Names with places: which place has this name? Names are added at increasing places and forgotten from the end, as
 * scopes close; of equal names the last one counts. */
#ifndef ATTNC_NAME_TABLE_H
#define ATTNC_NAME_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct name_entry {
    const char *name;
    uint32_t hash, next; /* next: one more than the place of the entry before in its chain, 0: none */
} name_entry;

/* All zero is an empty table. */
typedef struct name_table {
    name_entry *entry;
    size_t count, capacity;
    uint32_t *chain; /* one more than the last entry's place; a power of two of them */
    size_t chain_count;
} name_table;

enum { NAME_UNKNOWN = UINT32_MAX };

/* The place of the last `name` among the first `count` names; NAME_UNKNOWN where there is none. */
uint32_t name_table_find(const name_table *table, const char *name, size_t count);
/* The next place gets this name, which must live as long as the table; `count` names before it stay. */
void name_table_add(name_table *table, const char *name, size_t count);
void name_table_free(name_table *table);

#endif
