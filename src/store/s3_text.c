#include "store/s3_text.h"

#include <errno.h>
#include <stdlib.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool s3_decode(const char *text, char *decoded, size_t size)
{
    size_t length = 0;
    for (const char *c = text; *c; c++) {
        char byte = *c == '+' ? ' ' : *c;
        if (*c == '%') {
            int high = hex_value(c[1]), low = high < 0 ? -1 : hex_value(c[2]);
            if (low < 0 || high * 16 + low == 0)
                return false;
            byte = (char)(high * 16 + low);
            c += 2;
        }
        if (length + 1 >= size)
            return false;
        decoded[length++] = byte;
    }
    decoded[length] = '\0';
    return true;
}

int64_t s3_number(const char *text)
{
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9')
        return -1;
    long long number = strtoll(text, &end, 10);
    return errno || *end ? -1 : number;
}
