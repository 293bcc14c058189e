/* The specs that tests keep, by their paths in the source tree. To be included after cmocka.h. */
#ifndef ATTNC_FUSED_SOURCE_SPEC_H
#define ATTNC_FUSED_SOURCE_SPEC_H

#include "elaborate.h"

#include <stdio.h>

/* Fails the test where it cannot be read. Free with spec_free. */
static inline spec *source_spec(const char *folder, const char *name) {
    char path[4096];
    diagnostics d = {.stream = stderr};
    snprintf(path, sizeof path, "%s/%s%s", TEST_SOURCE_DIR, folder, name);
    spec *s = spec_read(path, NULL, &d);
    assert_non_null(s);
    return s;
}

#endif
