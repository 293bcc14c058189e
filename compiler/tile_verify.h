/* Checks a program over tiles without running it. */
#ifndef ATTNC_TILE_VERIFY_H
#define ATTNC_TILE_VERIFY_H

#include "tile.h"

/* Writes the first violation to `error`, with its step and statement, and returns false. s->buffer_of is as before when
 * it returns. */
bool tile_verify(const schedule *s, char *error, size_t size);

#endif
