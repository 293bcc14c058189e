#include "reasons.h"

#include <string.h>

static const struct {
    const char *name, *text;
} known[REASONS] = {
    [REASON_SPEC] = {"spec", "as the spec says"},
#define REWRITE(name, text) [REWRITE_##name] = {#name, text},
#define DERIVE(name, text) [DERIVE_##name] = {#name, text},
#include "reasons.def"
#undef REWRITE
#undef DERIVE
};

const char *reason_name(reason why) {
    return known[why].name;
}

const char *reason_text(reason why) {
    return known[why].text;
}

reason reason_find_rewrite(const char *name, size_t length) {
    for (int i = 1; i < REASON_REWRITES; i++)
        if (strlen(known[i].name) == length && strncmp(known[i].name, name, length) == 0)
            return (reason)i;
    return REASONS;
}
