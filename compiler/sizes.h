/* The sizes that a spec declares, and what a spec becomes with other ones. */
#ifndef ATTNC_SIZES_H
#define ATTNC_SIZES_H

#include "elaborate.h"

enum { SIZES = 64 };

typedef struct declared_size {
    const char *name; /* the spec's */
    int64_t value;
    bool own;    /* given as a number, not computed from other sizes */
    bool extent; /* changing it changes the extent of an index */
    bool time;   /* changing it changes the extent of the time index */
} declared_size;

typedef struct declared_sizes {
    unsigned count;
    declared_size item[SIZES];
} declared_sizes;

/* The sizes of a mechanism that elaborates in this way. */
void sizes_of(const spec *mechanism, const elaboration *how, declared_sizes *out);
const declared_size *sizes_find(const declared_sizes *sizes, const char *name); /* NULL: there is none */

/* The size that says how long time is; NULL: none does. */
const declared_size *sizes_time(const declared_sizes *sizes);

/* The mechanism with some sizes set; NULL where it does not elaborate with them. No message is written. */
graph *sizes_elaborate(const spec *mechanism, const elaboration *how, const binding *set, size_t count);

/* The comment that the file begins with, as one line without `#`; "" if there is none. To be freed. */
char *sizes_comment(const spec *mechanism);
#endif
