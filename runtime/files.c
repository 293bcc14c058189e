#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_begin(new_file *f, const char *path) {
    if (snprintf(f->path, sizeof f->path, "%s", path) >= (int)sizeof f->path) {
        errno = ENAMETOOLONG;
        return false;
    }
    snprintf(f->temporary, sizeof f->temporary, "%s.%ld.tmp", path, (long)getpid());
    f->stream = fopen(f->temporary, "wb");
    return f->stream != NULL;
}

void file_abandon(new_file *f) {
    int reason = errno;
    if (f->stream)
        fclose(f->stream);
    f->stream = NULL;
    unlink(f->temporary);
    errno = reason;
}

bool file_commit(new_file *f) {
    bool ok = !ferror(f->stream) && fflush(f->stream) == 0 && fsync(fileno(f->stream)) == 0;
    if (!ok) {
        if (errno == 0)
            errno = EIO;
        file_abandon(f);
        return false;
    }
    ok        = fclose(f->stream) == 0;
    f->stream = NULL;
    ok        = ok && rename(f->temporary, f->path) == 0;
    if (!ok)
        file_abandon(f);
    return ok;
}

bool file_write(const char *path, const char *text, size_t size) {
    new_file f;
    if (!file_begin(&f, path))
        return false;
    if (fwrite(text, 1, size, f.stream) != size) {
        file_abandon(&f);
        return false;
    }
    return file_commit(&f);
}

bool folder_make(const char *path) {
    char part[4096];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (char *c = part + 1; *c; c++)
        if (*c == '/') {
            *c = 0;
            if (mkdir(part, 0777) != 0 && errno != EEXIST)
                return false;
            *c = '/';
        }
    if (mkdir(part, 0777) == 0)
        return true;
    struct stat status;
    if (errno == EEXIST && stat(part, &status) == 0 && S_ISDIR(status.st_mode))
        return true;
    if (errno == EEXIST)
        errno = ENOTDIR;
    return false;
}

char *file_read(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    struct stat status;
    char *text = NULL;
    if (fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode)) {
        text = malloc((size_t)status.st_size + 1);
        if (text) {
            *size       = fread(text, 1, (size_t)status.st_size, file);
            text[*size] = 0;
            if (ferror(file)) {
                free(text);
                text  = NULL;
                errno = EIO;
            }
        }
    } else if (errno == 0 || S_ISDIR(status.st_mode)) {
        errno = EISDIR;
    }
    int reason = errno;
    fclose(file);
    errno = reason;
    return text;
}
