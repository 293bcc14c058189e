/* The rules by which derivation and simplification make nodes, by number: the reasons of graph_because. */
#ifndef ATTNC_REASONS_H
#define ATTNC_REASONS_H

#include <stddef.h>
#include <stdint.h>

typedef enum reason {
    REASON_SPEC, /* the spec says so */
#define REWRITE(name, text) REWRITE_##name,
#define DERIVE(name, text)
#include "reasons.def"
#undef REWRITE
#undef DERIVE
    REASON_REWRITES, /* rewrites have numbers below it */
#define REWRITE(name, text)
#define DERIVE(name, text) DERIVE_##name,
#include "reasons.def"
#undef REWRITE
#undef DERIVE
    REASONS
} reason;

const char *reason_name(reason why); /* common_factor; "spec" for none */
const char *reason_text(reason why);
/* The rewrite of this name, REASONS where there is none. `length` characters of it. */
reason reason_find_rewrite(const char *name, size_t length);

#endif
