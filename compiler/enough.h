/* Lack of memory ends the process with exit code 3. */
#ifndef ATTNC_ENOUGH_H
#define ATTNC_ENOUGH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an allocation returned, which is never NULL after this. */
static inline void *enough(void *memory) {
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

/* realloc to `count` elements, those from `old` on zero. */
static inline void *enough_grown(void *array, size_t old, size_t count, size_t size) {
    char *memory = (char *)enough(realloc(array, count * size));
    if (count > old)
        memset(memory + old * size, 0, (count - old) * size);
    return memory;
}

#endif
