/* UTF-8: one character of a text. */
#ifndef ATTNC_UTF8_H
#define ATTNC_UTF8_H

#include <stddef.h>
#include <stdint.h>

#define UTF8_INVALID UINT32_MAX

/* The code point at the beginning of `text`, and the count of its bytes. What is not UTF-8 (a stray or overlong byte, a
 * surrogate, a cut sequence) is UTF8_INVALID of one byte. `size` is at least 1. */
uint32_t utf8_decode(const char *text, size_t size, unsigned *length);

/* The first byte that belongs to no character; `size` where there is none. */
size_t utf8_first_invalid(const char *text, size_t size);

#endif
