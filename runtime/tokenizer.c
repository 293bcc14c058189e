#include "tokenizer.h"

#include "files.h"
#include "unicode_classes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NO_MERGE = UINT32_MAX, CACHE_BITS = 16, CACHED_WORD = 24, CACHED_IDS = 12 };

typedef struct pair {
    uint32_t left, right, merged; /* merged: 0 is an empty slot */
} pair;

/* Words repeat: what a short one became is kept. */
typedef struct cached {
    uint8_t size, count;
    char word[CACHED_WORD];
    uint32_t id[CACHED_IDS];
} cached;

struct tokenizer {
    uint32_t vocabulary;
    bool merges;
    uint32_t byte_id[256];
    char **bytes; /* of each id */
    size_t *size;
    pair *table;
    size_t table_size;
    cached *cache;
};

/* GPT-2 writes bytes as printable characters: those that are printable stand for themselves, the others follow from
 * U+0100 on. The ids of single bytes are in that order. */
static bool printable(unsigned byte) {
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

static void byte_order(uint8_t order[256], uint32_t character[256]) {
    unsigned next = 0, other = 0;
    for (unsigned b = 0; b < 256; b++)
        if (printable(b)) {
            order[next++] = (uint8_t)b;
            character[b]  = b;
        }
    for (unsigned b = 0; b < 256; b++)
        if (!printable(b)) {
            order[next++] = (uint8_t)b;
            character[b]  = 256 + other++;
        }
}

static size_t hash_pair(const tokenizer *t, uint32_t left, uint32_t right) {
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u;
    return (h >> 32) & (t->table_size - 1);
}

static uint32_t find_merge(const tokenizer *t, uint32_t left, uint32_t right) {
    for (size_t i = hash_pair(t, left, right);; i = (i + 1) & (t->table_size - 1)) {
        const pair *p = &t->table[i];
        if (!p->merged)
            return NO_MERGE;
        if (p->left == left && p->right == right)
            return p->merged;
    }
}

static void add_merge(tokenizer *t, uint32_t left, uint32_t right, uint32_t merged) {
    size_t i = hash_pair(t, left, right);
    while (t->table[i].merged)
        i = (i + 1) & (t->table_size - 1);
    t->table[i] = (pair){left, right, merged};
}

static tokenizer *new_tokenizer(uint32_t vocabulary) {
    tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->vocabulary = vocabulary;
    t->table_size = 1024;
    while (t->table_size < 4 * (size_t)vocabulary)
        t->table_size *= 2;
    t->bytes = calloc(vocabulary, sizeof *t->bytes);
    t->size  = calloc(vocabulary, sizeof *t->size);
    t->table = calloc(t->table_size, sizeof *t->table);
    t->cache = calloc((size_t)1 << CACHE_BITS, sizeof *t->cache);
    uint8_t order[256];
    uint32_t character[256];
    byte_order(order, character);
    bool ok = t->bytes && t->size && t->table && t->cache;
    for (unsigned i = 0; ok && i < 256; i++) {
        t->byte_id[order[i]] = i;
        t->size[i]           = 1;
        t->bytes[i]          = malloc(1);
        ok                   = t->bytes[i] != NULL;
        if (ok)
            t->bytes[i][0] = (char)order[i];
    }
    if (!ok) {
        tokenizer_free(t);
        return NULL;
    }
    return t;
}

void tokenizer_free(tokenizer *t) {
    if (!t)
        return;
    for (uint32_t i = 0; t->bytes && i < t->vocabulary; i++)
        free(t->bytes[i]);
    free(t->bytes);
    free(t->size);
    free(t->table);
    free(t->cache);
    free(t);
}

/* One printable character of the merge list back to its byte; returns how many bytes of text it took, 0 if none. */
static size_t unprint(const char *text, const uint32_t character[256], uint8_t *byte) {
    const unsigned char *c = (const unsigned char *)text;
    uint32_t code          = c[0];
    size_t size            = 1;
    if (c[0] >= 0xC0 && c[0] < 0xE0 && (c[1] & 0xC0) == 0x80) {
        code = (c[0] & 31u) << 6 | (c[1] & 63u);
        size = 2;
    }
    for (unsigned b = 0; b < 256; b++)
        if (character[b] == code) {
            *byte = (uint8_t)b;
            return size;
        }
    return 0;
}

typedef struct string_slot {
    uint32_t id_plus_one;
} string_slot;

static uint64_t hash_bytes(const char *text, size_t size) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

static uint32_t find_string(const tokenizer *t, const string_slot *slots, size_t count, const char *text, size_t size) {
    for (size_t i = hash_bytes(text, size) & (count - 1); slots[i].id_plus_one; i = (i + 1) & (count - 1)) {
        uint32_t id = slots[i].id_plus_one - 1;
        if (t->size[id] == size && memcmp(t->bytes[id], text, size) == 0)
            return id;
    }
    return NO_MERGE;
}

static void add_string(const tokenizer *t, string_slot *slots, size_t count, uint32_t id) {
    size_t i = hash_bytes(t->bytes[id], t->size[id]) & (count - 1);
    while (slots[i].id_plus_one)
        i = (i + 1) & (count - 1);
    slots[i].id_plus_one = id + 1;
}

/* Reads the two symbols of a line; false where it is no merge. */
static bool read_merge(const char *line, const uint32_t character[256], char *out, size_t *left, size_t *total) {
    *left = *total = 0;
    bool second    = false;
    while (*line && *line != '\n' && *line != '\r') {
        if (*line == ' ') {
            if (second || *total == 0)
                return false;
            second = true;
            *left  = *total;
            line++;
            continue;
        }
        uint8_t byte;
        size_t used = unprint(line, character, &byte);
        if (!used || *total == 1024)
            return false;
        out[(*total)++] = (char)byte;
        line += used;
    }
    return second && *left < *total;
}

static bool load_merges(tokenizer *t, char *text, const char *path, char *error, size_t error_size) {
    uint8_t order[256];
    uint32_t character[256], next = 256;
    byte_order(order, character);
    size_t slot_count  = t->table_size;
    string_slot *slots = calloc(slot_count, sizeof *slots);
    if (!slots) {
        snprintf(error, error_size, "out of memory");
        return false;
    }
    for (uint32_t i = 0; i < 256; i++)
        add_string(t, slots, slot_count, i);
    unsigned line_number = 0;
    bool ok              = true;
    for (char *line = text; *line && next + 1 < t->vocabulary && ok;) {
        char *end = strchr(line, '\n');
        char joined[1024 + 4];
        size_t left, total;
        line_number++;
        if (end)
            *end = 0;
        if (*line && !(line_number == 1 && strncmp(line, "#version", 8) == 0)) {
            ok         = read_merge(line, character, joined, &left, &total);
            uint32_t a = ok ? find_string(t, slots, slot_count, joined, left) : NO_MERGE;
            uint32_t b = ok ? find_string(t, slots, slot_count, joined + left, total - left) : NO_MERGE;
            if (a == NO_MERGE || b == NO_MERGE) {
                snprintf(error, error_size, "%s:%u: this is not a merge of two earlier symbols", path, line_number);
                ok = false;
                break;
            }
            t->bytes[next] = malloc(total);
            if (!t->bytes[next]) {
                snprintf(error, error_size, "out of memory");
                ok = false;
                break;
            }
            memcpy(t->bytes[next], joined, total);
            t->size[next] = total;
            add_merge(t, a, b, next);
            add_string(t, slots, slot_count, next++);
        }
        if (!end)
            break;
        line = end + 1;
    }
    free(slots);
    if (ok && next + 1 != t->vocabulary) {
        snprintf(error, error_size, "%s has %u merges, a vocabulary of %u needs %u", path, next - 256, t->vocabulary,
                 t->vocabulary - 257);
        ok = false;
    }
    return ok;
}

tokenizer *tokenizer_open(const char *path, uint32_t vocabulary, char *error, size_t error_size) {
    if (vocabulary < 257 || vocabulary > 1u << 24) {
        snprintf(error, error_size, "a vocabulary has at least 257 entries, not %u", vocabulary);
        return NULL;
    }
    size_t size;
    char *text = file_read(path, &size);
    if (!text) {
        snprintf(error, error_size, "cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    tokenizer *t = new_tokenizer(vocabulary);
    if (!t)
        snprintf(error, error_size, "out of memory");
    if (t && !load_merges(t, text, path, error, error_size)) {
        tokenizer_free(t);
        t = NULL;
    }
    if (t)
        t->merges = true;
    free(text);
    return t;
}

tokenizer *tokenizer_bytes(void) {
    return new_tokenizer(257);
}

uint32_t tokenizer_vocabulary(const tokenizer *t) {
    return t->vocabulary;
}

uint32_t tokenizer_end_of_text(const tokenizer *t) {
    return t->vocabulary - 1;
}

const char *tokenizer_decode(const tokenizer *t, uint32_t id, size_t *size) {
    *size = id < t->vocabulary ? t->size[id] : 0;
    return id < t->vocabulary && t->bytes[id] ? t->bytes[id] : "";
}

/* The split pattern */

enum { LETTER, DIGIT, SPACE, OTHER };

/* One character; a byte that is no part of valid UTF-8 is a character of its own, neither letter nor digit nor space.
 */
static int next_class(const unsigned char *c, const unsigned char *end, size_t *size) {
    uint32_t code = c[0];
    *size         = 1;
    size_t more   = c[0] < 0x80                   ? 0
                    : c[0] >= 0xC2 && c[0] < 0xE0 ? 1
                    : c[0] >= 0xE0 && c[0] < 0xF0 ? 2
                    : c[0] >= 0xF0 && c[0] < 0xF5 ? 3
                                                  : 9;
    if (more && (more == 9 || (size_t)(end - c) <= more))
        return OTHER;
    if (more) {
        code = c[0] & (0x3Fu >> more);
        for (size_t i = 1; i <= more; i++) {
            if ((c[i] & 0xC0) != 0x80)
                return OTHER;
            code = code << 6 | (c[i] & 0x3Fu);
        }
        if ((more == 2 && code < 0x800) || (more == 3 && (code < 0x10000 || code > 0x10FFFF)) ||
            (code >= 0xD800 && code < 0xE000))
            return OTHER;
        *size = more + 1;
    }
    return unicode_is_letter(code) ? LETTER : unicode_is_number(code) ? DIGIT : unicode_is_space(code) ? SPACE : OTHER;
}

static size_t run_of(const unsigned char *c, const unsigned char *end, int class) {
    const unsigned char *start = c;
    size_t size;
    while (c < end && next_class(c, end, &size) == class)
        c += size;
    return (size_t)(c - start);
}

static size_t contraction(const unsigned char *c, const unsigned char *end) {
    static const char *const ending[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++) {
        size_t length = strlen(ending[i]);
        if ((size_t)(end - c) >= length && memcmp(c, ending[i], length) == 0)
            return length;
    }
    return 0;
}

/* The length of the first piece: a contraction; letters, digits or others with at most one space before them; white
 * space, without its last character where something follows. */
static size_t piece(const unsigned char *c, const unsigned char *end) {
    size_t size, after, length = *c == '\'' ? contraction(c, end) : 0;
    if (length)
        return length;
    int class = next_class(c, end, &size);
    if (*c == ' ' && c + 1 < end) {
        int following = next_class(c + 1, end, &after);
        if (following != SPACE)
            return 1 + run_of(c + 1, end, following);
    }
    length = run_of(c, end, class);
    if (class != SPACE || c + length == end)
        return length;
    /* the last space belongs to what follows, unless it is the only one */
    size_t last = 0;
    for (size_t at = 0; at < length; at += size) {
        next_class(c + at, end, &size);
        last = at;
    }
    return last ? last : length;
}

/* Merging */

typedef struct candidate {
    uint32_t merged, at, left, right; /* the merge of what stood at `at` and after it */
} candidate;

static void sift_down(candidate *heap, size_t count, size_t i) {
    for (;;) {
        size_t least = i, left = 2 * i + 1;
        for (size_t k = left; k < left + 2 && k < count; k++)
            if (heap[k].merged < heap[least].merged ||
                (heap[k].merged == heap[least].merged && heap[k].at < heap[least].at))
                least = k;
        if (least == i)
            return;
        candidate swap = heap[i];
        heap[i]        = heap[least];
        heap[least]    = swap;
        i              = least;
    }
}

static void push(candidate *heap, size_t *count, candidate c) {
    size_t i = (*count)++;
    while (i && (c.merged < heap[(i - 1) / 2].merged ||
                 (c.merged == heap[(i - 1) / 2].merged && c.at < heap[(i - 1) / 2].at))) {
        heap[i] = heap[(i - 1) / 2];
        i       = (i - 1) / 2;
    }
    heap[i] = c;
}

/* Long words: a heap of candidate merges, so that n bytes cost n log n. */
static bool merge_long(const tokenizer *t, uint32_t *symbol, size_t *count) {
    size_t n = *count, heaped = 0;
    candidate *heap = malloc(3 * n * sizeof *heap);
    uint32_t *next = malloc(n * sizeof *next), *before = malloc(n * sizeof *before);
    bool ok = heap && next && before;
    for (size_t i = 0; ok && i < n; i++) {
        next[i]         = (uint32_t)i + 1;
        before[i]       = (uint32_t)i - 1;
        uint32_t merged = i + 1 < n ? find_merge(t, symbol[i], symbol[i + 1]) : NO_MERGE;
        if (merged != NO_MERGE)
            push(heap, &heaped, (candidate){merged, (uint32_t)i, symbol[i], symbol[i + 1]});
    }
    while (ok && heaped) {
        candidate c = heap[0];
        heap[0]     = heap[--heaped];
        sift_down(heap, heaped, 0);
        uint32_t i = c.at, k = next[i];
        if (symbol[i] != c.left || k >= n || symbol[k] != c.right)
            continue; /* one of the two has become something else */
        symbol[i] = c.merged;
        symbol[k] = NO_MERGE;
        next[i]   = next[k];
        if (next[i] < n)
            before[next[i]] = i;
        uint32_t around[2] = {before[i], i};
        for (unsigned s = 0; s < 2; s++) {
            uint32_t a = around[s], b = a < n ? next[a] : (uint32_t)n;
            uint32_t merged = a < n && b < n ? find_merge(t, symbol[a], symbol[b]) : NO_MERGE;
            if (merged != NO_MERGE)
                push(heap, &heaped, (candidate){merged, a, symbol[a], symbol[b]});
        }
    }
    if (ok) {
        size_t kept = 0;
        for (size_t i = 0; i < n; i++)
            if (symbol[i] != NO_MERGE)
                symbol[kept++] = symbol[i];
        *count = kept;
    }
    free(heap);
    free(next);
    free(before);
    return ok;
}

static void merge_short(const tokenizer *t, uint32_t *symbol, size_t *count) {
    for (;;) {
        uint32_t best = NO_MERGE;
        size_t at     = 0;
        for (size_t i = 0; i + 1 < *count; i++) {
            uint32_t merged = find_merge(t, symbol[i], symbol[i + 1]);
            if (merged < best) {
                best = merged;
                at   = i;
            }
        }
        if (best == NO_MERGE)
            return;
        symbol[at] = best;
        memmove(symbol + at + 1, symbol + at + 2, (*count - at - 2) * sizeof *symbol);
        --*count;
    }
}

static bool reserve(uint32_t **ids, size_t *capacity, size_t needed) {
    if (needed <= *capacity)
        return true;
    size_t more     = *capacity * 2 > needed ? *capacity * 2 : needed + 1024;
    uint32_t *grown = realloc(*ids, more * sizeof **ids);
    if (!grown)
        return false;
    *ids      = grown;
    *capacity = more;
    return true;
}

static bool encode_word(tokenizer *t, const char *word, size_t size, uint32_t **ids, size_t *count, size_t *capacity) {
    cached *c = &t->cache[hash_bytes(word, size) & (((size_t)1 << CACHE_BITS) - 1)];
    if (!reserve(ids, capacity, *count + size))
        return false;
    if (size <= CACHED_WORD && c->size == size && memcmp(c->word, word, size) == 0) {
        memcpy(*ids + *count, c->id, c->count * sizeof **ids);
        *count += c->count;
        return true;
    }
    uint32_t *symbol = *ids + *count;
    size_t used      = size;
    for (size_t i = 0; i < size; i++)
        symbol[i] = t->byte_id[(unsigned char)word[i]];
    if (t->merges && size < 64)
        merge_short(t, symbol, &used);
    else if (t->merges && !merge_long(t, symbol, &used))
        return false;
    if (size <= CACHED_WORD && used <= CACHED_IDS) {
        c->size  = (uint8_t)size;
        c->count = (uint8_t)used;
        memcpy(c->word, word, size);
        memcpy(c->id, symbol, used * sizeof *symbol);
    }
    *count += used;
    return true;
}

bool tokenizer_encode(tokenizer *t, const char *text, size_t size, uint32_t **ids, size_t *count, size_t *capacity) {
    const unsigned char *c = (const unsigned char *)text, *end = c + size;
    while (c < end) {
        size_t length = t->merges ? piece(c, end) : (size_t)(end - c);
        if (!encode_word(t, (const char *)c, length, ids, count, capacity))
            return false;
        c += length;
    }
    return true;
}
