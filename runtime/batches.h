/* Where training gets its batches. A batch is a pure function of the split, the seed and the step, so that every
 * variant sees the same ones in the same order. */
#ifndef ATTNC_BATCHES_H
#define ATTNC_BATCHES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum split { SPLIT_TRAIN, SPLIT_VALID, SPLIT_TEST } split;

typedef struct batch_source batch_source;

/* Text: a folder with train.txt, valid.txt and test.txt, or one file, divided 90 : 5 : 5. Documents (an article of
 * WikiText begins with a line ` = Title = `) are closed by end-of-text and packed into full sequences. The ids are kept
 * in a file under $XDG_CACHE_HOME/attnc, mapped into memory, and made anew when the text changes. `merges` is the path
 * of vocab.bpe or NULL for the usual places. Returns NULL and one line in `error`. */
batch_source *batches_of_text(const char *path, const char *merges, uint32_t vocabulary, char *error,
                              size_t error_size);

/* Multi-query associative recall: Arora et al. 2023, "Zoology", arXiv:2312.04927, section 3.2 and appendix on MQAR.
 * A sequence opens with `pairs` key-value pairs; then each key returns once at a place drawn from a power law, and the
 * model must say its value there; only those places count. Keys are the lower half of the vocabulary, values the upper.
 */
batch_source *batches_of_recall(uint32_t vocabulary, uint32_t pairs);
/* Do so many pairs and their questions find room? */
bool batches_recall_fits(uint32_t vocabulary, uint32_t pairs, uint32_t length);

void batches_free(batch_source *s);

/* Fills batch_size * length tokens, targets and weights (1 where the loss counts). Training batches are numbered by
 * step from 0 without end, the others from 0 below batches_count. Returns false where the text is too short for one. */
bool batches_get(const batch_source *s, split which, uint64_t seed, uint64_t number, uint32_t batch_size,
                 uint32_t length, int32_t *tokens, int32_t *targets, float *weight);
uint64_t batches_count(const batch_source *s, split which, uint32_t batch_size, uint32_t length);
const char *batches_name(const batch_source *s);

#endif
