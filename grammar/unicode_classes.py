#!/usr/bin/env python3
"""Writes unicode_classes.c: the ranges of letters, numbers and white space that names and GPT-2's split pattern need."""
import sys
import unicodedata

SPACE = {9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}


def ranges(belongs):
    result = []
    for code in range(0x110000):
        if belongs(code):
            if result and result[-1][1] == code - 1:
                result[-1][1] = code
            else:
                result.append([code, code])
    return result


def table(name, belongs):
    rows = ranges(belongs)
    lines = [f"static const range {name}[] = {{"]
    line = "   "
    for low, high in rows:
        item = f" {{0x{low:x}, 0x{high:x}}},"
        if len(line) + len(item) > 118:
            lines.append(line)
            line = "   "
        line += item
    return "\n".join(lines + [line, "};"])


print(f"""/* Written by unicode_classes.py from Unicode {unicodedata.unidata_version}; do not edit. */
#include "unicode_classes.h"

#include <stddef.h>

typedef struct range {{
    uint32_t low, high;
}} range;

// clang-format off
{table("letters", lambda c: unicodedata.category(chr(c))[0] == "L")}

{table("numbers", lambda c: unicodedata.category(chr(c))[0] == "N")}

{table("spaces", lambda c: c in SPACE)}
// clang-format on

static bool within(const range *table, size_t count, uint32_t code) {{
    size_t low = 0, high = count;
    while (low < high) {{
        size_t middle = (low + high) / 2;
        if (code > table[middle].high)
            low = middle + 1;
        else if (code < table[middle].low)
            high = middle;
        else
            return true;
    }}
    return false;
}}

bool unicode_is_letter(uint32_t code) {{
    if (code < 128)
        return (code | 32) >= 'a' && (code | 32) <= 'z';
    return within(letters, sizeof letters / sizeof *letters, code);
}}

bool unicode_is_number(uint32_t code) {{
    if (code < 128)
        return code >= '0' && code <= '9';
    return within(numbers, sizeof numbers / sizeof *numbers, code);
}}

bool unicode_is_space(uint32_t code) {{
    if (code < 128)
        return code == ' ' || (code >= 9 && code <= 13);
    return within(spaces, sizeof spaces / sizeof *spaces, code);
}}""")
