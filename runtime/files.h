/* Files that are written whole or not at all. */
#ifndef ATTNC_FILES_H
#define ATTNC_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Opens a temporary file beside `path`; file_commit syncs it and gives it its name, file_abandon removes it. */
typedef struct new_file {
    FILE *stream;
    char path[4096], temporary[4160];
} new_file;

bool file_begin(new_file *f, const char *path); /* false: errno says why */
bool file_commit(new_file *f);                  /* false: errno says why, nothing is left behind */
void file_abandon(new_file *f);

/* The whole text in one call. */
bool file_write(const char *path, const char *text, size_t size);

/* Makes the folder and those above it. */
bool folder_make(const char *path);

/* The file's bytes, NUL-terminated, to be freed; NULL with errno set. */
char *file_read(const char *path, size_t *size);

#endif
