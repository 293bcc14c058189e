/* What a program over tiles means, in float64 or in float, by plain loops in one thread. It separates what a schedule
 * does wrong from what the machine code made of it does wrong, so it is strict: where the machine would read memory
 * that holds nothing, or somebody else's, it says so. */
#ifndef ATTNC_TILE_INTERPRET_H
#define ATTNC_TILE_INTERPRET_H

#include "tile.h"

/* tensor[k]: the elements of tensor k, row-major; integers as doubles. output[k] becomes an array of the elements of
 * output k, row-major, freed by the caller. `single`: every value of type FLOAT is rounded to float when it is read,
 * computed and added up.
 *
 * Returns false and writes to `error` what the first step to go wrong did, all of output[] then NULL: an access outside
 * a buffer or to an index that has no value, a result that depends on an element nothing has written (since the step
 * began, for tiles; since the block of its index began, for blocked buffers; since another buffer took its place in the
 * workspace), an assumed condition that does not hold, an element of an output that nothing has written. An element
 * that nothing has written may be read where it does not matter, as machine code does: by the branch of a SELECT that
 * is not taken, by a summand outside its domain, by one side of a conjunction whose other side is false.
 *
 * An assumption is about the ranges open where it stands: below a gather that substitutes one of its indices it says
 * nothing. s->buffer_of is as before when it returns. */
bool tile_interpret(schedule *s, const double *const *tensor, double **output, uint64_t seed, bool single, char *error,
                    size_t size);

#endif
