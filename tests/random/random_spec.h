/* Random specs: well-typed mechanisms of a few small definitions that between them use every kind of node, and what
 * their inputs are. The same seed is the same spec. What is done with one is the caller's business. */
#ifndef ATTNC_RANDOM_SPEC_H
#define ATTNC_RANDOM_SPEC_H

#include <stdbool.h>
#include <stdint.h>

typedef struct random_spec random_spec;

/* A spec that includes lib/standard.att; free with random_spec_free. Ends the process with exit code 3 without memory.
 */
random_spec *random_spec_new(uint64_t seed);
/* One whose text is that of a file, and whose values are those of the seed; NULL: it cannot be read. */
random_spec *random_spec_read(uint64_t seed, const char *path);
void random_spec_free(random_spec *s);

/* Most specs keep their values finite and moderate; a wild one takes logarithms of what may be negative, divides by
 * what may be 0, and has maxima over domains that may be empty. */
bool random_spec_is_wild(const random_spec *s);

/* The text: what the outputs need. To be freed. */
char *random_spec_text(const random_spec *s);

/* Element `element` of the tensor of this name (an input, a parameter, or one that is added to the spec), in the run
 * number `draw`: a real number of moderate size, exact in float; below a bound > 0 an integer. Some values of wild
 * specs are 0, and a few large. */
double random_spec_value(const random_spec *s, const char *name, int64_t below, uint64_t draw, uint64_t element);

/* Does the spec, which the minimiser has changed, still fail? It may have become one that is not accepted. */
typedef bool random_spec_fails(const random_spec *s, void *context);

/* Replaces expressions by their parts or by constants, leaves out domains, definitions and outputs, and makes sizes
 * smaller, as long as the spec fails; ends when no such change is left or after `limit` trials. Returns how many
 * changes were made. */
unsigned random_spec_minimise(random_spec *s, random_spec_fails *fails, void *context, unsigned limit);

#endif
