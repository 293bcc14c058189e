#include "batches_internal.h"
#include "files.h"
#include "philox.h"
#include "tokenizer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPLITS = 3, VERSION = 1 };

/* The file of ids: this, then `count` 16-bit or 32-bit ids, little-endian. */
typedef struct header {
    char magic[8];
    uint32_t version, vocabulary;
    uint64_t text_hash, count;
} header;

typedef struct text_split {
    const void *ids; /* after the header */
    void *map;
    size_t map_size;
    uint64_t count;
} text_split;

typedef struct text_source {
    batch_source base;
    bool wide;
    text_split split[SPLITS];
} text_source;

static uint64_t hash_text(const char *text, size_t size, uint64_t h) {
    for (size_t i = 0; i < size; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
    return h;
}

static void text_destroy(batch_source *base) {
    text_source *s = (text_source *)base;
    for (int i = 0; i < SPLITS; i++)
        if (s->split[i].map)
            munmap(s->split[i].map, s->split[i].map_size);
    free(s);
}

static uint32_t id_at(const text_source *s, const text_split *p, uint64_t i) {
    return s->wide ? ((const uint32_t *)p->ids)[i] : ((const uint16_t *)p->ids)[i];
}

static uint64_t text_count(const batch_source *base, split which, uint32_t batch_size, uint32_t length) {
    const text_source *s = (const text_source *)base;
    uint64_t n           = s->split[which].count;
    return n > length ? (n - 1) / length / batch_size : 0;
}

/* A permutation of 0 … n-1 for each epoch: a Feistel network over the next power of four, walked until inside (Black &
 * Rogaway 2002, "Ciphers with arbitrary finite domains"). */
static uint64_t permute(uint64_t i, uint64_t n, uint64_t seed) {
    unsigned half = 1;
    while ((uint64_t)1 << (2 * half) < n)
        half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint32_t round = 0; round < 6; round++) {
            uint64_t f    = (uint64_t)(philox_uniform(seed, round, right) * 16777216.0);
            uint64_t next = left ^ (f & mask);
            left          = right;
            right         = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

static bool text_get(const batch_source *base, split which, uint64_t seed, uint64_t number, uint32_t batch_size,
                     uint32_t length, int32_t *tokens, int32_t *targets, float *weight) {
    const text_source *s = (const text_source *)base;
    const text_split *p  = &s->split[which];
    uint64_t sequences   = p->count > length ? (p->count - 1) / length : 0;
    if (sequences < batch_size)
        return false;
    for (uint32_t b = 0; b < batch_size; b++) {
        uint64_t k = number * batch_size + b;
        if (which == SPLIT_TRAIN)
            k = permute(k % sequences, sequences, seed + k / sequences);
        for (uint32_t t = 0; t < length; t++) {
            size_t at   = (size_t)b * length + t;
            tokens[at]  = (int32_t)id_at(s, p, k * length + t);
            targets[at] = (int32_t)id_at(s, p, k * length + t + 1);
            weight[at]  = 1;
        }
    }
    return true;
}

/* Encodes a text; articles (a line ` = Title = `, not ` = = Section = = `) and the end are closed by end-of-text. */
static bool encode(tokenizer *t, const char *text, size_t size, uint32_t **ids, size_t *count) {
    size_t capacity = 0, start = 0;
    *ids   = NULL;
    *count = 0;
    for (size_t line = 0; line < size;) {
        const char *end = memchr(text + line, '\n', size - line);
        size_t next     = end ? (size_t)(end - text) + 1 : size;
        bool title = next - line > 6 && memcmp(text + line, " = ", 3) == 0 && text[line + 3] != '=' && line > start;
        if (title || next == size) {
            size_t stop = title ? line : size;
            if (!tokenizer_encode(t, text + start, stop - start, ids, count, &capacity))
                return false;
            if (*count == capacity) {
                uint32_t *grown = realloc(*ids, (capacity += 1024) * sizeof **ids);
                if (!grown)
                    return false;
                *ids = grown;
            }
            (*ids)[(*count)++] = tokenizer_end_of_text(t);
            start              = stop;
            if (next == size && title && !tokenizer_encode(t, text + start, size - start, ids, count, &capacity))
                return false;
        }
        line = next;
    }
    return true;
}

static bool write_ids(const char *path, const header *h, const uint32_t *ids, bool wide) {
    new_file f;
    if (!file_begin(&f, path))
        return false;
    bool ok = fwrite(h, sizeof *h, 1, f.stream) == 1;
    for (uint64_t i = 0; ok && i < h->count; i++) {
        uint16_t narrow = (uint16_t)ids[i];
        ok              = (wide ? fwrite(&ids[i], 4, 1, f.stream) : fwrite(&narrow, 2, 1, f.stream)) == 1;
    }
    if (!ok) {
        file_abandon(&f);
        return false;
    }
    return file_commit(&f);
}

static bool map_ids(text_split *p, const char *path, const header *wanted, bool wide) {
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    bool ok = fstat(file, &status) == 0 && (size_t)status.st_size >= sizeof(header);
    if (ok) {
        p->map_size = (size_t)status.st_size;
        p->map      = mmap(NULL, p->map_size, PROT_READ, MAP_PRIVATE, file, 0);
        ok          = p->map != MAP_FAILED;
        if (!ok)
            p->map = NULL;
    }
    close(file);
    const header *h = p->map;
    ok              = ok && memcmp(h->magic, wanted->magic, 8) == 0 && h->version == wanted->version &&
         h->vocabulary == wanted->vocabulary && h->text_hash == wanted->text_hash &&
         p->map_size == sizeof *h + h->count * (wide ? 4 : 2);
    if (ok) {
        p->count = h->count;
        p->ids   = h + 1;
    } else if (p->map) {
        munmap(p->map, p->map_size);
        p->map = NULL;
    }
    return ok;
}

static void cache_folder(char *path, size_t size) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache)
        snprintf(path, size, "%s/attnc", cache);
    else
        snprintf(path, size, "%s/.cache/attnc", home && *home ? home : "/tmp");
}

static bool open_split(text_split *p, tokenizer *t, const char *text, size_t size, bool wide, char *error,
                       size_t error_size) {
    char folder[3000], path[4096];
    header h = {.magic      = "attncids",
                .version    = VERSION,
                .vocabulary = tokenizer_vocabulary(t),
                .text_hash  = hash_text(text, size, 0xcbf29ce484222325u)};
    cache_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/%016llx-%u.ids", folder, (unsigned long long)h.text_hash, h.vocabulary);
    if (map_ids(p, path, &h, wide))
        return true;
    uint32_t *ids = NULL;
    size_t count  = 0;
    bool ok       = encode(t, text, size, &ids, &count);
    h.count       = count;
    if (!ok)
        snprintf(error, error_size, "out of memory while tokenising");
    ok = ok && ((folder_make(folder) && write_ids(path, &h, ids, wide)) ||
                (snprintf(error, error_size, "cannot write %s: %s", path, strerror(errno)), false));
    ok = ok && (map_ids(p, path, &h, wide) || (snprintf(error, error_size, "cannot map %s", path), false));
    free(ids);
    return ok;
}

static bool is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* The folder of the text: the path itself, or the folder that the file is in. */
static void folder_of(const char *path, char *folder, size_t size) {
    snprintf(folder, size, "%s", path);
    if (is_folder(path))
        return;
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    else
        snprintf(folder, size, ".");
}

static bool find_merges(const char *data, char *path, size_t size) {
    const char *share = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    for (int i = 0; i < 4; i++) {
        if (i == 0)
            snprintf(path, size, "%s/vocab.bpe", data);
        else if (i == 1)
            snprintf(path, size, "%s/../gpt2-bpe/vocab.bpe", data);
        else if (i == 2)
            snprintf(path, size, "%s/gpt2-bpe/vocab.bpe", data);
        else if (share && *share)
            snprintf(path, size, "%s/attnc/gpt2-bpe/vocab.bpe", share);
        else
            snprintf(path, size, "%s/.local/share/attnc/gpt2-bpe/vocab.bpe", home ? home : "");
        if (access(path, R_OK) == 0)
            return true;
    }
    return false;
}

batch_source *batches_of_text(const char *path, const char *merges, uint32_t vocabulary, char *error,
                              size_t error_size) {
    static const char *const file_name[SPLITS] = {"train.txt", "valid.txt", "test.txt"};
    char found[4096], file[4096], folder[4000];
    if (access(path, R_OK) != 0) {
        snprintf(error, error_size, "cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    folder_of(path, folder, sizeof folder);
    if (!merges && !find_merges(folder, found, sizeof found)) {
        snprintf(error, error_size,
                 "no vocab.bpe (GPT-2's merges) in %s or %s/../gpt2-bpe: give its path with --tokenizer-file", folder,
                 folder);
        return NULL;
    }
    tokenizer *t   = tokenizer_open(merges ? merges : found, vocabulary, error, error_size);
    text_source *s = calloc(1, sizeof *s);
    if (!t || !s) {
        if (t)
            snprintf(error, error_size, "out of memory");
        tokenizer_free(t);
        free(s);
        return NULL;
    }
    s->base           = (batch_source){"text", text_get, text_count, text_destroy};
    s->wide           = vocabulary > 65536;
    bool folder_given = is_folder(path), ok = true;
    char *text  = NULL;
    size_t size = 0;
    for (int i = 0; ok && i < SPLITS; i++) {
        if (folder_given || i == 0) {
            free(text);
            if (folder_given)
                snprintf(file, sizeof file, "%s/%s", path, file_name[i]);
            else
                snprintf(file, sizeof file, "%s", path);
            text = file_read(file, &size);
            ok   = text != NULL;
            if (!ok) {
                snprintf(error, error_size, "cannot read %s: %s", file, strerror(errno));
                break;
            }
        }
        size_t from = folder_given ? 0
                      : i == 0     ? 0
                      : i == 1     ? size / 20 * 18
                                   : size / 20 * 19,
               to   = folder_given ? size
                      : i == 0     ? size / 20 * 18
                      : i == 1     ? size / 20 * 19
                                   : size;
        ok          = open_split(&s->split[i], t, text + from, to - from, s->wide, error, error_size);
    }
    free(text);
    tokenizer_free(t);
    if (!ok) {
        text_destroy(&s->base);
        return NULL;
    }
    return &s->base;
}

/* What all sources share */

void batches_free(batch_source *s) {
    if (s)
        s->destroy(s);
}

bool batches_get(const batch_source *s, split which, uint64_t seed, uint64_t number, uint32_t batch_size,
                 uint32_t length, int32_t *tokens, int32_t *targets, float *weight) {
    return s->get(s, which, seed, number, batch_size, length, tokens, targets, weight);
}

uint64_t batches_count(const batch_source *s, split which, uint32_t batch_size, uint32_t length) {
    return s->count(s, which, batch_size, length);
}

const char *batches_name(const batch_source *s) {
    return s->name;
}
