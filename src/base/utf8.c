#include "base/utf8.h"

#include <stddef.h>

/* How many bytes the character at `text` has; 0 when it is none. The second byte's range keeps out
 * overlong forms, surrogates and what lies beyond U+10FFFF (RFC 3629, section 4). */
static size_t length_at(const unsigned char *text)
{
    unsigned char first = text[0];
    size_t length = first < 0x80   ? 1
                    : first < 0xc2 ? 0
                    : first < 0xe0 ? 2
                    : first < 0xf0 ? 3
                    : first < 0xf5 ? 4
                                   : 0;
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    for (size_t i = 1; i < length; i++) {
        if (text[i] < low || text[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

char *utf8_mend(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at;) {
        size_t length = length_at(at);
        if (length == 0)
            *at = '?';
        at += length ? length : 1;
    }
    return text;
}
