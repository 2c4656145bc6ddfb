#include "policy/braces.h"

#include <string.h>

static const char OPEN[] = "\xee\x80\x80";  /* U+E000 */
static const char CLOSE[] = "\xee\x80\x81"; /* U+E001 */
enum { STAND_IN_BYTES = 3, VARIABLE_BYTES_MAX = 4096 };

/* The length of "${...}" with the braces within, on one line; 0 when it is not closed. */
static size_t variable_length(const char *text, size_t length)
{
    int open = 0;
    if (length > VARIABLE_BYTES_MAX)
        length = VARIABLE_BYTES_MAX;
    for (size_t i = 1; i < length && text[i] != '\n'; i++) {
        if (text[i] == '{' && text[i - 1] == '$')
            open++;
        else if (text[i] == '}' && --open == 0)
            return i + 1;
    }
    return 0;
}

static void hide_one(const char *text, size_t length, struct buf *out)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '{')
            buf_add(out, OPEN, STAND_IN_BYTES);
        else if (text[i] == '}')
            buf_add(out, CLOSE, STAND_IN_BYTES);
        else
            buf_add(out, text + i, 1);
    }
}

int braces_hide(const char *text, size_t length, struct buf *out, struct error *err)
{
    if (memmem(text, length, OPEN, STAND_IN_BYTES) || memmem(text, length, CLOSE, STAND_IN_BYTES))
        return error_set(err, ERR_POLICY, "the characters U+E000 and U+E001 are not allowed");
    for (size_t i = 0; i < length;) {
        bool is_variable = text[i] == '$' && i + 1 < length && text[i + 1] == '{';
        size_t whole = is_variable ? variable_length(text + i, length - i) : 0;
        if (whole)
            hide_one(text + i, whole, out);
        else
            buf_add(out, text + i, 1);
        i += whole ? whole : 1;
    }
    return buf_failed(out, "the file", err);
}

void braces_show(char *text)
{
    char *to = text;
    while (*text) {
        bool is_open = strncmp(text, OPEN, STAND_IN_BYTES) == 0;
        if (is_open || strncmp(text, CLOSE, STAND_IN_BYTES) == 0) {
            *to++ = is_open ? '{' : '}';
            text += STAND_IN_BYTES;
        } else {
            *to++ = *text++;
        }
    }
    *to = '\0';
}
