#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

void buf_init(struct buf *buf, size_t limit)
{
    *buf = (struct buf){.limit = limit};
}

void buf_clear(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){.limit = buf->limit};
}

void buf_reset(struct buf *buf)
{
    buf->length = 0;
    buf->failed = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

char *buf_reserve(struct buf *buf, size_t length)
{
    if (buf->failed)
        return NULL;
    if (length > buf->limit || buf->length > buf->limit - length) {
        buf->failed = ERR_LIMIT;
        return NULL;
    }
    if (length >= (size_t)PTRDIFF_MAX - buf->length) { /* no memory is that large */
        buf->failed = ERR_MEMORY;
        return NULL;
    }
    size_t needed = buf->length + length + 1;
    if (needed > buf->allocated) {
        size_t size = buf->allocated ? buf->allocated : 64;
        while (size < needed)
            size *= 2;
        if (size - 1 > buf->limit)
            size = buf->limit + 1;
        char *data = realloc(buf->data, size);
        if (!data) {
            buf->failed = ERR_MEMORY;
            return NULL;
        }
        buf->data = data;
        buf->allocated = size;
    }
    buf->data[buf->length] = '\0';
    buf->data[buf->length + length] = '\0';
    return buf->data + buf->length;
}

int buf_add(struct buf *buf, const void *data, size_t length)
{
    char *to = buf_reserve(buf, length);
    if (!to)
        return buf->failed;
    if (length)
        memcpy(to, data, length);
    buf->length += length;
    buf->data[buf->length] = '\0';
    return 0;
}

int buf_add_text(struct buf *buf, const char *text)
{
    return buf_add(buf, text, strlen(text));
}

int buf_addf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0 && !buf->failed) /* longer than an int tells */
        buf->failed = ERR_LIMIT;
    char *to = length < 0 ? NULL : buf_reserve(buf, (size_t)length);
    if (to) {
        vsnprintf(to, (size_t)length + 1, format, again);
        buf->length += (size_t)length;
    }
    va_end(again);
    return buf->failed;
}

int buf_failed(const struct buf *buf, const char *what, struct error *err)
{
    if (buf->failed == ERR_LIMIT)
        return error_set(err, ERR_LIMIT, "%s is larger than %zu bytes", what, buf->limit);
    if (buf->failed)
        return error_no_memory(err);
    return 0;
}

const char *buf_text(const struct buf *buf)
{
    return buf->data ? buf->data : "";
}

char *buf_steal(struct buf *buf)
{
    if (!buf->data && !buf_reserve(buf, 0))
        return NULL;
    buf->data[buf->length] = '\0';
    char *data = buf->data;
    *buf = (struct buf){.limit = buf->limit};
    return data;
}
