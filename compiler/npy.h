/* NumPy's .npy files, format 1.0 (numpy.lib.format), little-endian float64, C order. */
#ifndef ATTNC_NPY_H
#define ATTNC_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes through a temporary name. Returns false with errno set and nothing left behind. */
bool npy_write(const char *path, const double *data, unsigned rank, const int64_t *extent);

#endif
