/* Reading spec files with their includes, and messages about places in them. */
#include "elaborate_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_LIMIT = 16 << 20, INCLUDE_DEPTH = 32 };

/* Bytes of UTF-8 that continue a character take no column. */
static bool inside_character(char c) {
    return ((unsigned char)c & 0xC0) == 0x80;
}

void spec_line(span at, unsigned *line, unsigned *column) {
    *line = *column = 1;
    for (uint32_t i = 0; i < at.begin && i < at.file->size; i++) {
        if (at.file->text[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (!inside_character(at.file->text[i])) {
            ++*column;
        }
    }
}

void spec_report(FILE *stream, span at, const char *severity, const char *text, const char *hint) {
    unsigned line, column;
    spec_line(at, &line, &column);
    fprintf(stream, "%s:%u:%u: %s: %s\n", at.file->path, line, column, severity, text);
    /* of a long line the part around the place */
    enum { BEFORE = 90, SHOWN = 150 };
    size_t begin = at.begin < at.file->size ? at.begin : at.file->size, end = begin;
    while (begin > 0 && at.file->text[begin - 1] != '\n' && at.begin - begin < BEFORE)
        begin--;
    while (end < at.file->size && at.file->text[end] != '\n' && end - begin < SHOWN)
        end++;
    while (begin < at.begin && inside_character(at.file->text[begin]))
        begin++;
    fputs("    ", stream);
    for (size_t i = begin; i < end; i++) /* what is not text could do anything to a terminal */
        fputc(iscntrl((unsigned char)at.file->text[i]) && at.file->text[i] != '\t' ? '?' : at.file->text[i], stream);
    fputs("\n    ", stream);
    for (size_t i = begin; i < at.begin; i++)
        if (!inside_character(at.file->text[i]))
            fputc(at.file->text[i] == '\t' ? '\t' : ' ', stream);
    fputc('^', stream);
    for (size_t i = at.begin + 1; i < at.end && i < end; i++)
        if (!inside_character(at.file->text[i]))
            fputc('~', stream);
    fputc('\n', stream);
    if (hint)
        fprintf(stream, "    hint: %s\n", hint);
}

typedef struct reader {
    spec *s;
    diagnostics *d;
    const char *library;
    tree *last;
    bool ok;
    bool headed;
} reader;

static void on_error(void *context, span at, const char *text, const char *hint) {
    reader *r = context;
    r->d->errors++;
    r->ok = false;
    spec_report(r->d->stream, at, "error", text, hint);
}

static source *load(spec *s, const char *path, char *why, size_t why_size) {
    struct stat status;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &status) != 0) {
        snprintf(why, why_size, "%s", strerror(errno));
        if (file)
            fclose(file);
        return NULL;
    }
    if (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode)) {
        snprintf(why, why_size, "not a file");
        fclose(file);
        return NULL;
    }
    if (status.st_size > FILE_LIMIT) {
        snprintf(why, why_size, "larger than %d MiB", FILE_LIMIT >> 20);
        fclose(file);
        return NULL;
    }
    size_t room = S_ISREG(status.st_mode) ? (size_t)status.st_size + 1 : FILE_LIMIT;
    char *text  = malloc(room + 1);
    if (!text) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    size_t size = fread(text, 1, room, file);
    bool bad    = ferror(file);
    fclose(file);
    if (bad) {
        snprintf(why, why_size, "cannot be read");
        free(text);
        return NULL;
    }
    source *f = arena_take(s->memory, sizeof *f);
    f->path   = arena_copy(s->memory, path, strlen(path));
    f->text   = arena_copy(s->memory, text, size);
    f->size   = size;
    free(text);
    return f;
}

static bool already(const spec *s, const char *path) {
    struct stat a, b;
    for (size_t i = 0; i < s->file_count; i++)
        if (stat(s->file[i]->path, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
            return true;
    return false;
}

static bool exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0;
}

/* Where an include is: beside the file that asks, in its parent folder's siblings given by --library, in the specs
 * folder of the build, in the installed one. */
static char *locate(reader *r, const source *from, const char *name) {
    const char *slash    = strrchr(from->path, '/');
    const char *folder[] = {NULL, r->library, ATTNC_SOURCE_SPECS, ATTNC_INSTALLED_SPECS};
    char path[4096];
    for (unsigned i = 0; i < 4; i++) {
        if (i == 0)
            snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - from->path + 1) : 0, from->path, name);
        else if (folder[i])
            snprintf(path, sizeof path, "%s/%s", folder[i], name);
        else
            continue;
        if (exists(path))
            return arena_copy(r->s->memory, path, strlen(path));
    }
    return NULL;
}

static void read_file(reader *r, source *file, unsigned depth);

static void take_statement(reader *r, tree *t, const source *file, unsigned depth) {
    spec *s = r->s;
    if (t->kind == TREE_INCLUDE) {
        char *path    = locate(r, file, t->name);
        char why[256] = "no such file beside this one or in the library";
        if (path && already(s, path))
            return;
        source *included = path ? load(s, path, why, sizeof why) : NULL;
        char text[512];
        if (included && depth < INCLUDE_DEPTH) {
            read_file(r, included, depth + 1);
            return;
        }
        snprintf(text, sizeof text, "cannot include \"%.200s\": %s", t->name,
                 included ? "includes are nested too deeply" : why);
        on_error(r, t->at, text, NULL);
        return;
    }
    if (t->kind == TREE_HEAD) {
        if (depth == 0 && r->headed) {
            on_error(r, t->at, "a file holds one mechanism, model, optimizer or library", NULL);
        } else if (depth == 0) {
            s->kind   = (spec_kind)(int)t->number;
            s->name   = t->name;
            s->title  = t->a ? t->a->name : "";
            r->headed = true;
        }
        return;
    }
    if (depth > 0 && t->kind != TREE_FUNCTION) {
        on_error(r, t->at, "a library holds functions only", "declare it in the spec itself");
        return;
    }
    if (r->last)
        r->last->next = t;
    else
        s->statements = t;
    r->last = t;
}

static void read_file(reader *r, source *file, unsigned depth) {
    spec *s = r->s;
    if (s->file_count == s->file_capacity) {
        size_t more    = s->file_capacity ? s->file_capacity * 2 : 8;
        source **grown = realloc(s->file, more * sizeof *grown);
        if (!grown) {
            fputs("attnc: out of memory\n", stderr);
            exit(3);
        }
        s->file          = grown;
        s->file_capacity = more;
    }
    s->file[s->file_count++] = file;
    if (memchr(file->text, 0, file->size)) {
        on_error(r, (span){file, (uint32_t)strlen(file->text), (uint32_t)strlen(file->text)},
                 "a NUL byte: this is not a text file", NULL);
        return;
    }
    bool ok;
    tree *list = parse_source(s->memory, file, (message_sink){on_error, r}, &ok);
    r->ok &= ok;
    for (const tree *t = depth ? list : NULL; t; t = t->next)
        if (t->kind == TREE_HEAD && t->number != SPEC_LIBRARY) {
            on_error(r, t->at, "only a library can be included", NULL);
            return;
        }
    while (list) {
        tree *next = list->next;
        list->next = NULL;
        take_statement(r, list, file, depth);
        list = next;
    }
}

spec *spec_read(const char *path, const char *library, diagnostics *d) {
    spec *s = calloc(1, sizeof *s);
    if (!s) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    s->memory = arena_new();
    char why[256];
    source *file = load(s, path, why, sizeof why);
    if (!file) {
        fprintf(d->stream, "%s: error: %s\n", path, why);
        d->errors++;
        spec_free(s);
        return NULL;
    }
    reader r = {.s = s, .d = d, .library = library, .ok = true};
    s->path  = file->path;
    read_file(&r, file, 0);
    if (r.ok && !r.headed)
        on_error(&r, (span){file, 0, 1}, "the file does not say what it is", "begin with `mechanism NAME \"title\"`");
    for (const tree *t = s->statements; t; t = t->next)
        s->variant_count += t->kind == TREE_VARIANT;
    s->variant = arena_take(s->memory, (s->variant_count + 1) * sizeof *s->variant);
    size_t k   = 0;
    for (const tree *t = s->statements; t; t = t->next)
        if (t->kind == TREE_VARIANT)
            s->variant[k++] = t->name;
    if (!r.ok) {
        spec_free(s);
        return NULL;
    }
    return s;
}

void spec_free(spec *s) {
    if (!s)
        return;
    arena_free(s->memory);
    free(s->file);
    free(s);
}

spec_kind spec_get_kind(const spec *s) {
    return s->kind;
}

const char *spec_name(const spec *s) {
    return s->name;
}

const char *spec_title(const spec *s) {
    return s->title;
}

const char *spec_path(const spec *s) {
    return s->path;
}

size_t spec_variant_count(const spec *s) {
    return s->variant_count;
}

const char *spec_variant_name(const spec *s, size_t i) {
    return s->variant[i];
}

bool spec_declares(const spec *s, const char *name) {
    for (const tree *t = s->statements; t; t = t->next)
        if ((t->kind == TREE_SIZE || t->kind == TREE_CONSTANT) && strcmp(t->name, name) == 0)
            return true;
    return false;
}

void spec_print(const spec *s, FILE *file) {
    fprintf(file, "(spec %s \"%s\")\n", s->name, s->title);
    tree_print(s->statements, 0, file);
}
