/* Characters beyond the plain ones: which may stand in names, which are operators, and what is said of the others. */
#include "att_parser.h"
#include "parse_internal.h"
#include "unicode_classes.h"
#include "utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NAME_LIMIT = 100 };

/* A character that looks like another or has a better spelling. */
typedef struct look_alike {
    uint32_t code;
    const char *plain; /* what was meant */
    int token;         /* that, or 0: it is left out */
} look_alike;

static const look_alike look_alikes[] = {
    /* letters with a twin that keyboards make instead */
    {0xB5, "μ (U+03BC, the Greek letter)", NAME},
    {0x2126, "Ω (U+03A9, the Greek letter)", NAME},
    {0x212A, "K", NAME},
    {0x212B, "Å (U+00C5)", NAME},
    /* dashes, stars, comparisons, commas */
    {0x2010, "`-`", '-'},
    {0x2011, "`-`", '-'},
    {0x2012, "`-`", '-'},
    {0x2013, "`-`", '-'},
    {0x2014, "`-`", '-'},
    {0x2015, "`-`", '-'},
    {0x2217, "`*`", '*'},
    {0x2219, "`*`", '*'},
    {0x22C5, "`*`", '*'},
    {0x2022, "`*`", '*'},
    {0x2299, "`*`", '*'},
    {0x2044, "`/`", '/'},
    {0x2215, "`/`", '/'},
    {0x2236, "`:`", ':'},
    {0x2A7D, "`<=`", LESS_EQUAL},
    {0x2A7E, "`>=`", GREATER_EQUAL},
    {0x2254, "`:=`", BECOMES},
    {0x223C, "`~`", '~'},
    {0x2038, "`^`", '^'},
    {0x3001, "`,`", ','},
    /* what has a name here */
    {0xB2, "`^2`", 0},
    {0xB3, "`^3`", 0},
    {0x221A, "`sqrt(x)`", ATT_UNDEF},
    {0x2211, "`sum[i](x[i])`", ATT_UNDEF},
    {0x220F, "`product[i](x[i])`", ATT_UNDEF},
    {0x2190, "`:=`", BECOMES},
    {';', "a space or a new line; statements need no terminator", 0},
    {'!', "`not`", NOT},
    {'&', "`and`", AND},
    {'|', "`or`", OR},
};

bool parse_letter(uint32_t code) {
    bool wide = code >= 0xFF01 && code <= 0xFF5E; /* full-width forms of ASCII */
    for (size_t i = 0; i < 4; i++)
        if (code == look_alikes[i].code)
            return false;
    return unicode_is_letter(code) && !wide;
}

uint32_t parse_name_end(const parsing *p, uint32_t at) {
    const source *f = p->file;
    unsigned length;
    for (; at < f->size; at += length) {
        uint32_t code = utf8_decode(f->text + at, f->size - at, &length);
        bool digit    = (code >= '0' && code <= '9') || (code >= 0x2080 && code <= 0x2089);
        if (!digit && code != '_' && !parse_letter(code))
            break;
    }
    return at;
}

void parse_check_name(parsing *p, parse_span at) {
    unsigned length, count = 0;
    for (uint32_t i = at.begin; i < at.end && count <= NAME_LIMIT; i += length, count++)
        utf8_decode(p->file->text + i, at.end - i, &length);
    if (count > NAME_LIMIT)
        parse_report(p, at, "a name has at most 100 characters", NULL);
}

int parse_operator(uint32_t code) {
    switch (code) {
    case 0x2264:
        return LESS_EQUAL;
    case 0x2265:
        return GREATER_EQUAL;
    case 0x2260:
        return DIFFERS;
    case 0xB7:
    case 0xD7:
        return '*';
    case 0xF7:
        return '/';
    case 0x2212:
        return '-';
    case 0x2227:
        return AND;
    case 0x2228:
        return OR;
    case 0xAC:
        return NOT;
    case 0x221E:
        return NUMBER;
    default:
        return 0;
    }
}

static bool opens_quotation(uint32_t code) {
    return code == 0x201C || code == 0x201E || code == 0xAB || code == 0x2018 || code == 0x201A || code == '\'';
}

static bool closes_quotation(uint32_t code) {
    return code == 0x201D || code == 0x201C || code == 0xBB || code == 0x2019 || code == 0x2018 || code == '\'' ||
           code == '"';
}

/* The end of the quotation that begins before `at`, on its line; `at` where it does not end. */
static uint32_t quotation_end(const parsing *p, uint32_t at) {
    const source *f = p->file;
    unsigned length;
    for (uint32_t i = at; i < f->size && f->text[i] != '\n' && f->text[i] != '\r'; i += length)
        if (closes_quotation(utf8_decode(f->text + i, f->size - i, &length)))
            return i + length;
    return at;
}

static bool is_between(uint32_t code, uint32_t low, uint32_t high) {
    return code >= low && code <= high;
}

static bool turns_direction(uint32_t code) {
    return is_between(code, 0x202A, 0x202E) || is_between(code, 0x2066, 0x2069);
}

static const char *words(parsing *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static const char *words(parsing *p, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return arena_copy(p->memory, text, strlen(text));
}

static const char *means_nothing(parsing *p, parse_span at, uint32_t code) {
    const char *text = p->file->text + at.begin;
    int length       = (int)(at.end - at.begin);
    return code < 0x80 ? words(p, "`%.*s` means nothing here", length, text)
                       : words(p, "`%.*s` (U+%04X) means nothing here", length, text, (unsigned)code);
}

/* A character with nothing to be read for it. Returns whether it separates like a space. */
static bool report_other(parsing *p, parse_span at, uint32_t code) {
    bool mark = is_between(code, 0x300, 0x36F) || is_between(code, 0x1AB0, 0x1AFF) ||
                is_between(code, 0x1DC0, 0x1DFF) || is_between(code, 0x20D0, 0x20FF) ||
                is_between(code, 0xFE00, 0xFE0F) || is_between(code, 0xFE20, 0xFE2F);
    bool invisible = code == 0xAD || code == 0xFEFF || is_between(code, 0x200B, 0x200F) || turns_direction(code) ||
                     is_between(code, 0x2060, 0x206F);
    bool control = code < 0x20 || is_between(code, 0x7F, 0x9F);
    if (turns_direction(code))
        parse_report(p, at, words(p, "U+%04X turns the direction of the text", (unsigned)code),
                     "remove it: what is shown would not be what is read");
    else if (control || invisible)
        parse_report(p, at, words(p, "an invisible character, U+%04X", (unsigned)code), "remove it");
    else if (unicode_is_space(code))
        parse_report(p, at, words(p, "U+%04X is another kind of space", (unsigned)code), "write a plain space");
    else if (mark)
        parse_report(p, at, words(p, "U+%04X is a combining mark", (unsigned)code),
                     "write the letter and its mark as one character, or leave the mark out");
    else if (code == '\'' || code == 0x2032 || code == 0x2018 || code == 0x2019)
        parse_report(p, at, "a prime cannot stand in a name", "names are made of letters, digits and `_`");
    else if (code < 0x80)
        parse_report(p, at, means_nothing(p, at, code), NULL);
    else
        parse_report(p, at, means_nothing(p, at, code),
                     "names are made of letters, digits and `_`; other characters belong in comments and titles");
    return control || invisible || mark || unicode_is_space(code);
}

/* A look-alike: says what to write and returns its token. */
static int report_look_alike(parsing *p, parse_span at, uint32_t code, const look_alike *l) {
    parse_report(p, at, means_nothing(p, at, code), words(p, "write %s", l->plain));
    return l->token;
}

int parse_character(parsing *p, parse_span *at) {
    unsigned length;
    uint32_t code = utf8_decode(p->file->text + at->begin, p->file->size - at->begin, &length);
    at->end       = at->begin + length;
    if (opens_quotation(code)) {
        uint32_t end = quotation_end(p, at->end);
        if (end > at->end) {
            at->end = end;
            parse_report(p, *at, "these are not plain quotation marks", "write \"…\"");
            return STRING;
        }
    }
    for (size_t i = 0; i < sizeof look_alikes / sizeof *look_alikes; i++)
        if (look_alikes[i].code == code) {
            bool twice = code < 0x80 && at->end < p->file->size && (uint32_t)p->file->text[at->end] == code;
            at->end += twice; /* && is one mistake */
            int token = report_look_alike(p, *at, code, &look_alikes[i]);
            p->stray  = token == ATT_UNDEF ? at->end : p->stray;
            return token;
        }
    if (code >= 0xFF01 && code <= 0xFF5E) {
        char plain[] = {'`', (char)(code - 0xFEE0), '`', 0};
        bool sign    = strchr("+*/%^<>=~,:(){}[]-", plain[1]) != NULL;
        look_alike l = {code, plain, sign ? plain[1] : ATT_UNDEF};
        p->stray     = sign ? p->stray : at->end;
        return report_look_alike(p, *at, code, &l);
    }
    if (report_other(p, *at, code))
        return 0;
    p->stray = at->end;
    return ATT_UNDEF;
}

void parse_check_direction(parsing *p, parse_span at) {
    unsigned length;
    for (uint32_t i = at.begin; i < at.end; i += length) {
        uint32_t code = utf8_decode(p->file->text + i, at.end - i, &length);
        if (turns_direction(code))
            report_other(p, (parse_span){i, i + length}, code);
    }
}
