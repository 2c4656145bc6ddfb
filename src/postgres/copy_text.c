#include "postgres/copy_text.h"

#include <stdio.h>
#include <string.h>

int copy_text_columns(const char *list)
{
    int columns = *list ? 1 : 0;
    bool is_quoted = false;
    for (; *list; list++) {
        is_quoted ^= *list == '"';
        columns += *list == ',' && !is_quoted;
    }
    return columns;
}

void copy_text_init(struct copy_text *text, int columns)
{
    *text = (struct copy_text){.columns = columns};
}

static int64_t count_tabs(const char *bytes, size_t length)
{
    int64_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += bytes[i] == '\t';
    return count;
}

static int refuse(const struct copy_text *text, const char *what, struct error *err)
{
    return error_set(err, ERR_CORRUPT, "row %lld, at byte %lld, %s", (long long)text->rows + 1,
                     (long long)(text->bytes - text->row_bytes), what);
}

/* The row is whole but for its newline. */
static int end_row(struct copy_text *text, struct error *err)
{
    if (text->columns == 0 && text->row_bytes > 0)
        return refuse(text, "has columns, and its table none", err);
    if (text->columns > 0 && text->tabs + 1 != text->columns) {
        char what[80];
        snprintf(what, sizeof(what), "has %lld columns instead of %d", (long long)text->tabs + 1,
                 text->columns);
        return refuse(text, what, err);
    }
    if (text->row_bytes == 2 && memcmp(text->head, "\\.", 2) == 0)
        return refuse(text, "is the mark that ends a COPY", err);
    text->rows++;
    text->bytes++;
    text->row_bytes = text->tabs = 0;
    return 0;
}

static void extend_row(struct copy_text *text, const char *bytes, size_t length)
{
    for (size_t i = 0; text->row_bytes + (int64_t)i < 2 && i < length; i++)
        text->head[text->row_bytes + (int64_t)i] = bytes[i];
    text->tabs += count_tabs(bytes, length);
    text->row_bytes += (int64_t)length;
    text->bytes += (int64_t)length;
}

int copy_text_add(struct copy_text *text, const void *data, size_t length, struct error *err)
{
    const char *bytes = data;
    int rc = 0;
    if (length > 0 && memchr(bytes, '\0', length))
        return refuse(text, "or one soon after it has a byte of zero", err);
    while (length > 0 && !rc) {
        const char *newline = memchr(bytes, '\n', length);
        size_t n = newline ? (size_t)(newline - bytes) : length;
        extend_row(text, bytes, n);
        if (newline)
            rc = end_row(text, err);
        n += newline != NULL;
        bytes += n;
        length -= n;
    }
    return rc;
}

int copy_text_end(const struct copy_text *text, struct error *err)
{
    return text->row_bytes > 0 ? refuse(text, "ends without a newline", err) : 0;
}
