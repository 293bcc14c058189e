/* Reading spec files with their includes. */
#include "elaborate_internal.h"
#include "utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_LIMIT = 16 << 20, INCLUDE_DEPTH = 32, PATH_ROOM = 4096 };

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
    r->ok     = false;
    diagnostics_add(r->d, &(diagnostic){.severity = SEVERITY_ERROR, .at = at, .text = text, .hint = hint});
}

/* Files */

static bool refuse(char *why, size_t why_size, const char *text) {
    snprintf(why, why_size, "%s", text);
    return false;
}

/* Everything that can be read, at most FILE_LIMIT bytes, into *text, which is the caller's. */
static bool read_all(FILE *file, char **text, size_t *size, char *why, size_t why_size) {
    struct stat status;
    if (fstat(fileno(file), &status) != 0)
        return refuse(why, why_size, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return refuse(why, why_size, "this is a folder, not a file");
    if (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode))
        return refuse(why, why_size, "this is neither a file nor a pipe");
    size_t room = 0, got = 1;
    for (*size = 0; got > 0 && *size <= FILE_LIMIT; *size += got) {
        if (*size == room) {
            room        = room ? room * 2 : 1 << 16;
            char *grown = realloc(*text, room + 1);
            if (!grown) {
                fputs("attnc: out of memory\n", stderr);
                exit(3);
            }
            *text = grown;
        }
        got = fread(*text + *size, 1, room - *size, file);
    }
    if (ferror(file))
        return refuse(why, why_size, strerror(errno));
    if (*size > FILE_LIMIT) {
        snprintf(why, why_size, "larger than %d MiB", FILE_LIMIT >> 20);
        return false;
    }
    return true;
}

static source *keep(spec *s, const char *path, const char *text, size_t size) {
    static const char mark[] = "\xEF\xBB\xBF"; /* of byte order, as some editors write it */
    size_t skip              = size >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0;
    source *f                = arena_take(s->memory, sizeof *f);
    f->path                  = arena_copy(s->memory, path, strlen(path));
    f->text                  = arena_copy(s->memory, text + skip, size - skip);
    f->size                  = size - skip;
    return f;
}

static source *load(spec *s, const char *path, char *why, size_t why_size) {
    FILE *file  = fopen(path, "rb");
    char *text  = NULL;
    size_t size = 0;
    source *f   = NULL;
    if (!file)
        refuse(why, why_size, strerror(errno));
    else if (read_all(file, &text, &size, why, why_size)) {
        struct stat status;
        f = keep(s, path, text, size);
        if (fstat(fileno(file), &status) == 0) {
            f->device = (uint64_t)status.st_dev;
            f->inode  = (uint64_t)status.st_ino;
        }
    }
    free(text);
    if (file)
        fclose(file);
    return f;
}

/* Is it text? Reports the first byte that is not. */
static bool check_text(reader *r, source *file) {
    char text[80];
    unsigned char first[2] = {0, 0};
    memcpy(first, file->text, file->size < 2 ? file->size : 2);
    size_t zero = strlen(file->text), bad = utf8_first_invalid(file->text, file->size);
    if ((first[0] == 0xFF && first[1] == 0xFE) || (first[0] == 0xFE && first[1] == 0xFF)) {
        on_error(r, (span){file, 0, 0}, "this file is UTF-16", "save it as UTF-8");
    } else if (zero < bad) {
        on_error(r, (span){file, (uint32_t)zero, (uint32_t)zero}, "a NUL byte: this is not a text file", NULL);
    } else if (bad < file->size) {
        snprintf(text, sizeof text, "the byte 0x%02X is not UTF-8", (unsigned char)file->text[bad]);
        on_error(r, (span){file, (uint32_t)bad, (uint32_t)bad}, text, "save the file as UTF-8");
    } else {
        return true;
    }
    return false;
}

static bool same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Was this file read, under whatever name? */
static bool already(const spec *s, const char *path) {
    struct stat status;
    if (stat(path, &status) != 0)
        return false;
    for (size_t i = 0; i < s->file_count; i++)
        if (s->file[i]->inode == (uint64_t)status.st_ino && s->file[i]->device == (uint64_t)status.st_dev)
            return true;
    return false;
}

static bool exists(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0; /* a link that leads nowhere is one that can be spoken of */
}

/* Where an include is: beside the file that asks, in the folder given by --library, in the specs folder of the build,
 * in the installed one. An absolute path is where it says. */
static char *find_include(reader *r, const source *from, const char *name) {
    const char *slash    = strrchr(from->path, '/');
    const char *folder[] = {from->path, r->library, ATTNC_SOURCE_SPECS, ATTNC_INSTALLED_SPECS};
    const int length[]   = {slash ? (int)(slash - from->path + 1) : 0, -1, -1, -1};
    char path[PATH_ROOM];
    if (name[0] == '/')
        return exists(name) ? arena_copy(r->s->memory, name, strlen(name)) : NULL;
    for (unsigned i = 0; i < 4; i++) {
        if (!folder[i])
            continue;
        int size = snprintf(path, sizeof path, "%.*s%s%s", length[i], folder[i], i ? "/" : "", name);
        if (size < PATH_ROOM && exists(path))
            return arena_copy(r->s->memory, path, strlen(path));
    }
    return NULL;
}

static void read_file(reader *r, source *file, unsigned depth);

static void include(reader *r, const tree *t, const source *file, unsigned depth) {
    char text[512], why[256] = "no such file beside this one or in the library";
    char *path       = strlen(t->name) < PATH_ROOM ? find_include(r, file, t->name) : NULL;
    source *included = NULL;
    if (strlen(t->name) >= PATH_ROOM)
        refuse(why, sizeof why, "the name is too long");
    else if (t->name[0] == '/' && !path)
        refuse(why, sizeof why, "no such file");
    else if (path && same_file(path, file->path))
        refuse(why, sizeof why, "this is the file itself");
    else if (path && already(r->s, path))
        return;
    else if (path && depth >= INCLUDE_DEPTH)
        refuse(why, sizeof why, "includes are nested too deeply");
    else if (path)
        included = load(r->s, path, why, sizeof why);
    if (included) {
        read_file(r, included, depth + 1);
        return;
    }
    snprintf(text, sizeof text, "cannot include \"%.200s%s\": %s", t->name, strlen(t->name) > 200 ? "…" : "", why);
    on_error(r, t->at, text, NULL);
}

static void take_statement(reader *r, tree *t, const source *file, unsigned depth) {
    spec *s = r->s;
    if (t->kind == TREE_INCLUDE) {
        include(r, t, file, depth);
        return;
    }
    if (t->kind == TREE_HEAD) {
        if (depth == 0 && r->headed) {
            on_error(r, t->at, "a file holds one mechanism, model, optimizer or library", NULL);
        } else if (depth == 0) {
            s->kind   = (spec_kind)(int)t->number;
            s->name   = t->name;
            s->title  = t->a ? t->a->name : "";
            s->head   = t->at;
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
    if (!check_text(r, file))
        return;
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

/* Variants, functions, sizes and numbers: what is asked for by name. */
static void list_names(spec *s) {
    size_t functions = 0, k = 0;
    for (const tree *t = s->statements; t; t = t->next) {
        s->variant_count += t->kind == TREE_VARIANT;
        functions += t->kind == TREE_FUNCTION;
    }
    s->variant  = arena_take(s->memory, (s->variant_count + 1) * sizeof *s->variant);
    s->function = arena_take(s->memory, (functions + 1) * sizeof *s->function);
    for (const tree *t = s->statements; t; t = t->next) {
        if (t->kind == TREE_VARIANT) {
            s->variant[k++] = t->name;
        } else if (t->kind == TREE_FUNCTION) {
            s->function[s->function_names.count] = t;
            name_table_add(&s->function_names, t->name, s->function_names.count);
        } else if (t->kind == TREE_SIZE || t->kind == TREE_CONSTANT) {
            name_table_add(&s->size_names, t->name, s->size_names.count);
        }
    }
}

/* What the first file says, with all that it includes. Ends the reading: NULL after an error, and s is freed. */
static spec *read_spec(spec *s, source *file, const char *library, diagnostics *d) {
    reader r = {.s = s, .d = d, .library = library, .ok = true};
    s->path  = file->path;
    read_file(&r, file, 0);
    if (r.ok && !r.headed)
        on_error(&r, (span){file, 0, 1}, "the file does not say what it is", "begin with `mechanism NAME \"title\"`");
    list_names(s);
    if (!r.ok) {
        spec_free(s);
        return NULL;
    }
    spec_find_comment(s);
    return s;
}

static spec *new_spec(void) {
    spec *s = calloc(1, sizeof *s);
    if (!s) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    s->memory = arena_new();
    return s;
}

/* There is no file, so there is no place in one. */
static spec *no_source(spec *s, const char *path, const char *why, diagnostics *d) {
    diagnostics_file_error(d, path, NULL, "%s", why);
    spec_free(s);
    return NULL;
}

spec *spec_read(const char *path, const char *library, diagnostics *d) {
    spec *s = new_spec();
    char why[256];
    source *file = load(s, path, why, sizeof why);
    return file ? read_spec(s, file, library, d) : no_source(s, path, why, d);
}

spec *spec_read_text(const char *name, const char *text, size_t size, const char *library, diagnostics *d) {
    spec *s = new_spec();
    if (size > FILE_LIMIT) {
        char why[64];
        snprintf(why, sizeof why, "larger than %d MiB", FILE_LIMIT >> 20);
        return no_source(s, name, why, d);
    }
    return read_spec(s, keep(s, name, text, size), library, d);
}

void spec_free(spec *s) {
    if (!s)
        return;
    arena_free(s->memory);
    name_table_free(&s->function_names);
    name_table_free(&s->size_names);
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
    return name_table_find(&s->size_names, name, s->size_names.count) != NAME_UNKNOWN;
}

void spec_print(const spec *s, FILE *file) {
    for (const char *line = s->comment; *line;) {
        size_t length = strcspn(line, "\n");
        fprintf(file, "; %.*s\n", (int)length, line);
        line += length + (line[length] != 0);
    }
    fprintf(file, "(spec %s \"%s\")\n", s->name, s->title);
    tree_print(s->statements, 0, file);
}
