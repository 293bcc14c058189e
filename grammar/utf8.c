/* UTF-8: one character of a text. */
#include "utf8.h"

uint32_t utf8_decode(const char *text, size_t size, unsigned *length) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* by length; less is overlong */
    const unsigned char *s        = (const unsigned char *)text;
    *length                       = 1;
    if (s[0] < 0x80)
        return s[0];
    unsigned count = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC0 || s[0] > 0xF4 || count > size)
        return UTF8_INVALID;
    uint32_t code = s[0] & (0xFFu >> (count + 1));
    for (unsigned i = 1; i < count; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return UTF8_INVALID;
        code = code << 6 | (s[i] & 0x3Fu);
    }
    if (code < least[count] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return UTF8_INVALID;
    *length = count;
    return code;
}

size_t utf8_first_invalid(const char *text, size_t size) {
    unsigned length;
    for (size_t i = 0; i < size; i += length)
        if (utf8_decode(text + i, size - i, &length) == UTF8_INVALID)
            return i;
    return size;
}
