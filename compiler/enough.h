/* Lack of memory ends the process with exit code 3. */
#ifndef ATTNC_ENOUGH_H
#define ATTNC_ENOUGH_H

#include <stdio.h>
#include <stdlib.h>

/* What an allocation returned, which is never NULL after this. */
static inline void *enough(void *memory) {
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

#endif
