#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

struct code_row {
    int code;
    const char *name;
    int exit_status;
    bool retryable;
    const char *cure;
};

static const struct code_row CODES[] = {
#define X(code, name, status, retryable, cure) {code, name, status, retryable, cure},
    ERROR_LIST(X)
#undef X
};

static const struct code_row *find_code(int code)
{
    for (size_t i = 0; i < ARRAY_SIZE(CODES); i++)
        if (CODES[i].code == code)
            return &CODES[i];
    return NULL;
}

/* vsnprintf() that cuts between characters of UTF-8: half of one could not be written as JSON. */
_printf_(3, 0) static void format_text(char *text, size_t size, const char *format, va_list args)
{
    int wanted = vsnprintf(text, size, format, args);
    if (wanted < (int)size)
        return;
    size_t end = size - 1, last = end;
    while (last > 0 && end - last < 4 && ((unsigned char)text[last - 1] & 0xC0) == 0x80)
        last--;
    unsigned char lead = last > 0 ? (unsigned char)text[last - 1] : 0;
    size_t width = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (width > 1 && end - (last - 1) < width)
        text[last - 1] = '\0';
}

int error_set(struct error *err, int code, const char *format, ...)
{
    if (!err)
        return code;
    char text[ERROR_MESSAGE_MAX]; /* an argument may point into err->message */
    va_list args;
    va_start(args, format);
    format_text(text, sizeof(text), format, args);
    va_end(args);
    memcpy(err->message, text, sizeof(text));
    err->code = code;
    err->hint[0] = '\0';
    return code;
}

static int code_of_errno(int saved_errno)
{
    switch (saved_errno) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERMISSION;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case ENOMEM:
        return ERR_MEMORY;
    default:
        return ERR_IO;
    }
}

int error_set_errno(struct error *err, int saved_errno, const char *format, ...)
{
    int code = code_of_errno(saved_errno);
    if (!err)
        return code;
    char text[ERROR_MESSAGE_MAX - 130]; /* the reason always fits behind */
    va_list args;
    va_start(args, format);
    format_text(text, sizeof(text), format, args);
    va_end(args);
    char reason[128];
    return error_set(err, code, "%s: %s", text, strerror_r(saved_errno, reason, sizeof(reason)));
}

int error_hint(struct error *err, const char *format, ...)
{
    if (!err)
        return ERR_FAILED;
    va_list args;
    va_start(args, format);
    format_text(err->hint, sizeof(err->hint), format, args);
    va_end(args);
    return err->code;
}

int error_prefix(struct error *err, const char *format, ...)
{
    if (!err)
        return ERR_FAILED;
    char prefix[ERROR_MESSAGE_MAX], hint[ERROR_HINT_MAX];
    va_list args;
    va_start(args, format);
    format_text(prefix, sizeof(prefix), format, args);
    va_end(args);
    memcpy(hint, err->hint, sizeof(hint));
    error_set(err, err->code, "%s: %s", prefix, err->message);
    memcpy(err->hint, hint, sizeof(hint));
    return err->code;
}

int error_no_memory(struct error *err)
{
    return error_set(err, ERR_MEMORY, "out of memory");
}

void error_clear(struct error *err)
{
    err->code = 0;
    err->message[0] = '\0';
    err->hint[0] = '\0';
}

const char *error_cure(const struct error *err)
{
    const struct code_row *row = find_code(err->code);
    if (err->hint[0])
        return err->hint;
    return row && row->cure ? row->cure : "";
}

void error_keep_cure(struct error *err)
{
    const char *cure = error_cure(err);
    if (cure != err->hint)
        error_hint(err, "%s", cure);
}

const char *error_code_name(int code)
{
    const struct code_row *row = find_code(code);
    return row ? row->name : code == 0 ? "ok" : "failed";
}

int error_code_from_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(CODES); i++)
        if (strcmp(CODES[i].name, name) == 0)
            return CODES[i].code;
    return ERR_OK;
}

int error_exit_status(int code)
{
    const struct code_row *row = find_code(code);
    return row ? row->exit_status : code == 0 ? 0 : 1;
}

bool error_is_retryable(int code)
{
    const struct code_row *row = find_code(code);
    return row && row->retryable;
}

int error_as_unknown(struct error *err)
{
    if (!err)
        return ERR_FAILED;
    if (err->code != ERR_IO && err->code != ERR_PERMISSION && err->code != ERR_CORRUPT)
        return err->code;
    char cure[ERROR_HINT_MAX];
    snprintf(cure, sizeof(cure), "%s", error_cure(err));
    err->code = ERR_UNKNOWN;
    memcpy(err->hint, cure, sizeof(cure));
    return err->code;
}
