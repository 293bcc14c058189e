/* Messages about specs, as text and as JSON. */
#include "diagnostics.h"

#include "utf8.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void no_memory(void) {
    fputs("attnc: out of memory\n", stderr);
    exit(3);
}

/* Places. A line ends with "\n", "\r\n" or "\r". */

static bool ends_line(const source *f, size_t i) {
    return f->text[i] == '\n' || (f->text[i] == '\r' && !(i + 1 < f->size && f->text[i + 1] == '\n'));
}

/* Line and column from 0; a column is a character or, for editors, a UTF-16 code unit. */
static void locate(const source *f, uint32_t at, bool units, unsigned *line, unsigned *column) {
    unsigned length;
    *line = *column = 0;
    for (size_t i = 0; i < f->size && i < at; i += length) {
        uint32_t code = utf8_decode(f->text + i, f->size - i, &length);
        if (ends_line(f, i)) {
            ++*line;
            *column = 0;
        } else {
            *column += units && code != UTF8_INVALID && code > 0xFFFF ? 2 : 1;
        }
    }
}

void diagnostics_line(const source *file, uint32_t at, unsigned *line, unsigned *column) {
    locate(file, at, false, line, column);
    ++*line;
    ++*column;
}

void diagnostics_quote(span at, char *text, size_t size) {
    enum { SHOWN = 40 }; /* characters */
    size_t used = 0, end   = at.end < at.file->size ? at.end : at.file->size;
    unsigned length, shown = 0;
    bool space = false;
    for (size_t i = at.begin; i < end; i += length) {
        uint32_t code = utf8_decode(at.file->text + i, end - i, &length);
        if (code == ' ' || (code >= 9 && code <= 13)) {
            space = true;
            continue;
        }
        if (shown == SHOWN || used + length + sizeof "…" + 1 > size) {
            used += (size_t)snprintf(text + used, size - used, "…");
            break;
        }
        if (space && used)
            text[used++] = ' ', shown++;
        space = false;
        memcpy(text + used, at.file->text + i, length);
        used += length;
        shown++;
    }
    text[used < size ? used : size - 1] = 0;
}

/* Text */

/* What would move the terminal's cursor, hide or reorder what is shown. */
static bool disturbs(uint32_t code) {
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x61C || (code >= 0x200B && code <= 0x200F) ||
           (code >= 0x2028 && code <= 0x202E) || (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF ||
           code == UTF8_INVALID;
}

/* Columns of a terminal that a character takes: East Asian wide ones take two, marks above others none. */
static unsigned width(uint32_t code) {
    static const struct {
        uint32_t low, high;
    } wide[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0xA4CF},  {0xAC00, 0xD7A3},
                {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF01, 0xFF60},  {0xFFE0, 0xFFE6},
                {0x1F300, 0x1F64F}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
    if ((code >= 0x300 && code <= 0x36F) || (code >= 0x20D0 && code <= 0x20FF) || (code >= 0xFE00 && code <= 0xFE0F))
        return 0;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (code >= wide[i].low && code <= wide[i].high)
            return 2;
    return 1;
}

static void print_clean(FILE *stream, const char *text, size_t size) {
    unsigned length;
    for (size_t i = 0; i < size; i += length) {
        uint32_t code = utf8_decode(text + i, size - i, &length);
        if (disturbs(code) && code != '\t')
            fputc('?', stream);
        else
            fwrite(text + i, 1, length, stream);
    }
}

/* The line of a span, of a long one the part around its beginning, and the span underlined to the line's end. */
static void print_excerpt(FILE *stream, span at) {
    enum { BEFORE = 90, SHOWN = 150 };
    const source *f = at.file;
    unsigned length;
    size_t place = at.begin < f->size ? at.begin : f->size, begin = place, end = place;
    while (begin > 0 && !ends_line(f, begin - 1) && place - begin < BEFORE)
        begin--;
    while (begin < place && ((unsigned char)f->text[begin] & 0xC0) == 0x80)
        begin++;
    for (; end < f->size && f->text[end] != '\n' && f->text[end] != '\r' && end - begin < SHOWN; end += length)
        utf8_decode(f->text + end, f->size - end, &length);
    fputs("    ", stream);
    print_clean(stream, f->text + begin, end - begin);
    fputs("\n    ", stream);
    for (size_t i = begin; i < place; i += length) {
        uint32_t code = utf8_decode(f->text + i, f->size - i, &length);
        fprintf(stream, "%*s", f->text[i] == '\t' ? 0 : (int)(disturbs(code) ? 1 : width(code)), "");
        if (f->text[i] == '\t')
            fputc('\t', stream);
    }
    fputc('^', stream);
    for (size_t i = place; i < at.end && i < end; i += length) {
        uint32_t code  = utf8_decode(f->text + i, f->size - i, &length);
        unsigned marks = disturbs(code) ? 1 : width(code);
        for (unsigned k = i == place; k < marks; k++)
            fputc('~', stream);
    }
    fputc('\n', stream);
}

static void print_place(FILE *stream, const source *file, uint32_t at) {
    unsigned line, column;
    diagnostics_line(file, at, &line, &column);
    print_clean(stream, file->path, strlen(file->path));
    fprintf(stream, ":%u:%u", line, column);
}

static void print_text(FILE *stream, const diagnostic *m) {
    if (m->at.file)
        print_place(stream, m->at.file, m->at.begin);
    else if (m->path)
        print_clean(stream, m->path, strlen(m->path));
    fprintf(stream, "%s%s: ", m->at.file || m->path ? ": " : "", m->severity == SEVERITY_ERROR ? "error" : "warning");
    print_clean(stream, m->text, strlen(m->text));
    fputc('\n', stream);
    if (m->at.file)
        print_excerpt(stream, m->at);
    if (m->hint) {
        fputs("    hint: ", stream);
        print_clean(stream, m->hint, strlen(m->hint));
        fputc('\n', stream);
    }
    for (unsigned i = 0; i < m->trail_count && i < DIAGNOSTIC_TRAIL; i++) {
        fprintf(stream, "    in the expansion of `%s`, called at ", m->trail[i].function);
        print_place(stream, m->trail[i].at.file, m->trail[i].at.begin);
        fputc('\n', stream);
    }
}

/* JSON */

/* A string that is UTF-8 whatever it is made from, such as the name of a file. */
static cJSON *json_string(const char *text) {
    char *clean  = NULL;
    size_t size  = 0;
    FILE *stream = text ? open_memstream(&clean, &size) : NULL;
    if (text && !stream)
        no_memory();
    if (!text)
        return cJSON_CreateNull();
    print_clean(stream, text, strlen(text));
    fclose(stream);
    cJSON *string = cJSON_CreateString(clean);
    free(clean);
    return string;
}

static cJSON *json_place(const source *file, uint32_t at) {
    unsigned line = 0, character = 0;
    if (file)
        locate(file, at, true, &line, &character);
    cJSON *place = cJSON_CreateObject();
    cJSON_AddNumberToObject(place, "line", line);
    cJSON_AddNumberToObject(place, "character", character);
    return place;
}

static cJSON *json_range(span at) {
    cJSON *range = cJSON_CreateObject();
    cJSON_AddItemToObject(range, "start", json_place(at.file, at.begin));
    cJSON_AddItemToObject(range, "end", json_place(at.file, at.end > at.begin ? at.end : at.begin));
    return range;
}

static cJSON *json_message(const diagnostic *m) {
    cJSON *item = cJSON_CreateObject(), *trail = cJSON_CreateArray();
    cJSON_AddItemToObject(item, "file", json_string(m->at.file ? m->at.file->path : m->path ? m->path : ""));
    cJSON_AddStringToObject(item, "severity", m->severity == SEVERITY_ERROR ? "error" : "warning");
    cJSON_AddItemToObject(item, "message", json_string(m->text));
    cJSON_AddItemToObject(item, "hint", json_string(m->hint));
    cJSON_AddItemToObject(item, "range", json_range(m->at));
    for (unsigned i = 0; i < m->trail_count && i < DIAGNOSTIC_TRAIL; i++) {
        cJSON *call = cJSON_CreateObject();
        cJSON_AddItemToObject(call, "function", json_string(m->trail[i].function));
        cJSON_AddItemToObject(call, "file", json_string(m->trail[i].at.file->path));
        cJSON_AddItemToObject(call, "range", json_range(m->trail[i].at));
        cJSON_AddItemToArray(trail, call);
    }
    cJSON_AddItemToObject(item, "trail", trail);
    return item;
}

/* Does a stand after b in their file? */
static bool later(const cJSON *a, const cJSON *b) {
    double place[2][2];
    const cJSON *item[] = {a, b};
    for (unsigned i = 0; i < 2; i++) {
        const cJSON *start = cJSON_GetObjectItem(cJSON_GetObjectItem(item[i], "range"), "start");
        place[i][0]        = cJSON_GetNumberValue(cJSON_GetObjectItem(start, "line"));
        place[i][1]        = cJSON_GetNumberValue(cJSON_GetObjectItem(start, "character"));
    }
    return place[0][0] > place[1][0] || (place[0][0] == place[1][0] && place[0][1] > place[1][1]);
}

/* Files in the order of their first message, messages in the order of the file. The list is built anew: the library's
 * insertion in the middle fails in some of its versions. */
static cJSON *sorted(cJSON *list) {
    cJSON *result = cJSON_CreateArray();
    while (list && cJSON_GetArraySize(list) > 0) {
        const cJSON *first = list->child, *other;
        const char *file   = cJSON_GetStringValue(cJSON_GetObjectItem(first, "file"));
        cJSON_ArrayForEach(other, list) {
            const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(other, "file"));
            if (name && file && strcmp(name, file) == 0 && later(first, other))
                first = other;
        }
        cJSON_AddItemToArray(result, cJSON_DetachItemViaPointer(list, (cJSON *)first));
    }
    cJSON_Delete(list);
    return result;
}

void diagnostics_collect(diagnostics *d) {
    d->collected = cJSON_CreateArray();
    if (!d->collected)
        no_memory();
}

void diagnostics_print_json(diagnostics *d, FILE *file) {
    cJSON *all = cJSON_CreateObject();
    cJSON_AddItemToObject(all, "diagnostics", sorted(d->collected));
    cJSON_AddNumberToObject(all, "errors", d->errors);
    cJSON_AddNumberToObject(all, "warnings", d->warnings);
    char *text = cJSON_Print(all);
    if (!text)
        no_memory();
    fprintf(file, "%s\n", text);
    free(text);
    cJSON_Delete(all);
    d->collected = NULL;
}

/* Saying it */

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size) { /* FNV-1a */
    const unsigned char *b = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ b[i]) * 1099511628211u;
    return hash;
}

static bool said(diagnostics *d, const diagnostic *m) {
    const char *path = m->at.file ? m->at.file->path : m->path ? m->path : "";
    uint64_t hash    = hash_bytes(14695981039346656037u, path, strlen(path) + 1);
    hash             = hash_bytes(hash, &m->at.begin, sizeof m->at.begin);
    hash             = hash_bytes(hash, &m->at.end, sizeof m->at.end);
    hash             = hash_bytes(hash, &m->severity, sizeof m->severity);
    hash             = hash_bytes(hash, m->text, strlen(m->text));
    for (unsigned i = 0; i < d->said_count; i++)
        if (d->said[i] == hash)
            return true;
    if (d->said_count < DIAGNOSTICS_SAID)
        d->said[d->said_count++] = hash;
    return false;
}

void diagnostics_add(diagnostics *d, const diagnostic *message) {
    if (said(d, message))
        return;
    bool error      = message->severity == SEVERITY_ERROR;
    unsigned *count = error ? &d->errors : &d->warnings;
    ++*count;
    if (*count > DIAGNOSTICS_SHOWN) {
        if (*count == DIAGNOSTICS_SHOWN + 1 && !d->collected)
            fprintf(d->stream, "further %s are not shown\n", error ? "errors" : "warnings");
    } else if (d->collected) {
        cJSON_AddItemToArray(d->collected, json_message(message));
    } else {
        print_text(d->stream, message);
    }
}

void diagnostics_file_error(diagnostics *d, const char *path, const char *hint, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    diagnostics_add(d, &(diagnostic){.severity = SEVERITY_ERROR, .path = path, .text = text, .hint = hint});
}
