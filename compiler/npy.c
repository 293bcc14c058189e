#include "npy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool npy_write(const char *path, const double *data, unsigned rank, const int64_t *extent) {
    char temporary[4096], header[1024];
    size_t elements = 1;
    if (snprintf(temporary, sizeof temporary, "%s.%d.tmp", path, (int)getpid()) >= (int)sizeof temporary) {
        errno = ENAMETOOLONG;
        return false;
    }
    int used = snprintf(header, sizeof header, "{'descr': '<f8', 'fortran_order': False, 'shape': (");
    for (unsigned i = 0; i < rank; i++) {
        used += snprintf(header + used, sizeof header - (size_t)used, "%lld,", (long long)extent[i]);
        elements *= (size_t)extent[i];
    }
    used += snprintf(header + used, sizeof header - (size_t)used, "), }");
    while ((used + 11) % 64 != 0) /* 10 bytes before the header and the newline after it */
        header[used++] = ' ';
    header[used++]                = '\n';
    const unsigned char magic[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)used, (unsigned char)(used >> 8)};
    FILE *file = fopen(temporary, "wb");
    if (!file)
        return false;
    bool ok = fwrite(magic, 1, 10, file) == 10 && fwrite(header, 1, (size_t)used, file) == (size_t)used &&
              fwrite(data, sizeof *data, elements, file) == elements;
    ok = fclose(file) == 0 && ok;
    ok = ok && rename(temporary, path) == 0;
    if (!ok) {
        int reason = errno;
        unlink(temporary);
        errno = reason;
    }
    return ok;
}
