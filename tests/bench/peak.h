/* The memory of this process, as the system counts it. */
#ifndef ATTNC_BENCH_PEAK_H
#define ATTNC_BENCH_PEAK_H

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that a file of /proc says in kB behind `key`; 0 where it does not. */
static inline double peak_said_by(const char *path, const char *key) {
    char line[256];
    double bytes = 0;
    FILE *f      = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            bytes = 1024 * strtod(line + strlen(key), NULL);
    if (f)
        fclose(f);
    return bytes;
}

/* Bytes of memory that are not pages of programs and libraries: those come in as they are first used. */
static inline double peak_without_files(const char *key) {
    return peak_said_by("/proc/self/status", key) - peak_said_by("/proc/self/status", "RssFile:");
}

/* From now on the peak is of what follows. Returns what is in memory now; memory that has been freed is given back
 * first, for it would be used again without being seen. */
static inline double peak_begin(void) {
    malloc_trim(0);
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (f) {
        fputs("5", f);
        fclose(f);
    }
    return peak_without_files("VmRSS:");
}

/* The most that has been in memory since. */
static inline double peak_end(void) {
    return peak_without_files("VmHWM:");
}

#endif
