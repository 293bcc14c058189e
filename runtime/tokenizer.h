/* GPT-2's byte-level byte-pair encoding (Radford et al. 2019, "Language models are unsupervised multitask learners",
 * section 2.2; the merges: Sennrich et al. 2016, arXiv:1508.07909) at any prefix of its vocabulary: 256 bytes, the
 * first merges, end-of-text as the last id. */
#ifndef ATTNC_TOKENIZER_H
#define ATTNC_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tokenizer tokenizer;

enum { TOKENIZER_BYTES = 256 };

/* From the published merge list, vocab.bpe. `vocabulary` counts all ids, 257 to 256 + merges + 1. Returns NULL and one
 * line in `error`. */
tokenizer *tokenizer_open(const char *merges_path, uint32_t vocabulary, char *error, size_t error_size);
/* Bytes only: 256 ids and end-of-text. */
tokenizer *tokenizer_bytes(void);
void tokenizer_free(tokenizer *t);
uint32_t tokenizer_vocabulary(const tokenizer *t);
uint32_t tokenizer_end_of_text(const tokenizer *t);

/* Appends the ids of `text` (any bytes) to *ids, which grows with realloc. Returns false without memory. */
bool tokenizer_encode(tokenizer *t, const char *text, size_t size, uint32_t **ids, size_t *count, size_t *capacity);

/* The bytes of one id (none for end-of-text); valid as long as the tokenizer. */
const char *tokenizer_decode(const tokenizer *t, uint32_t id, size_t *size);

#endif
