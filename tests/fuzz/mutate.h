/* Changes to a text that keep most of it a spec: whole tokens, lines and bracketed groups are moved, not bytes. */
#ifndef ATTNC_MUTATE_H
#define ATTNC_MUTATE_H

#include <stddef.h>

/* Remembers some tokens and lines of a spec, which other specs are changed with. */
void mutate_learn(const char *text, size_t size);

#endif
