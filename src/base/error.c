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

int error_set(struct error *err, int code, const char *format, ...)
{
    if (!err)
        return code;
    char text[ERROR_MESSAGE_MAX]; /* an argument may point into err->message */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
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
    char text[ERROR_MESSAGE_MAX - 128];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
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
    vsnprintf(err->hint, sizeof(err->hint), format, args);
    va_end(args);
    return err->code;
}

int error_prefix(struct error *err, const char *format, ...)
{
    if (!err)
        return ERR_FAILED;
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t used = strlen(text);
    if (snprintf(text + used, sizeof(text) - used, ": %s", err->message) <
        0) /* cut: that is fine */
        return err->code;
    memcpy(err->message, text, sizeof(text));
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
