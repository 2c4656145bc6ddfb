/*
 * A growing run of bytes with a limit. The bytes are always followed by a NUL that is not counted,
 * so a buffer of text is a string.
 *
 *     struct buf sql;
 *     buf_init(&sql, BUF_LIMIT_DEFAULT);
 *     _cleanup_(buf_clear) ... or buf_clear(&sql) when done; it may be used again after.
 *     if ((rc = buf_addf(&sql, "LOCK TABLE %s", name, err))) ...
 *
 * Over the limit is ERR_LIMIT, no memory is ERR_MEMORY; the buffer then keeps what it had. To spare
 * a check after every piece, the adders may be called on and the state asked once: after a failure
 * every further add fails, and buf_failed() tells the code. buf_steal() gives the bytes away.
 */
#ifndef PGCAIRN_BASE_BUF_H
#define PGCAIRN_BASE_BUF_H

#include <stddef.h>

#include "base/error.h"

enum { BUF_LIMIT_DEFAULT = 16 << 20 }; /* bytes: SQL texts, documents, replies */

struct buf {
    char *data; /* NULL while nothing was ever added; use buf_text() to read it as a string */
    size_t length;
    size_t allocated;
    size_t limit;
    int failed; /* the first error code, or 0 */
};

#define BUF_INIT(bytes_limit) ((struct buf){.limit = (bytes_limit)})

void buf_init(struct buf *buf, size_t limit);
void buf_clear(struct buf *buf); /* frees; length 0, usable again */
void buf_reset(struct buf *buf); /* length 0, the memory stays */

int buf_add(struct buf *buf, const void *data, size_t length);
int buf_add_text(struct buf *buf, const char *text);
int buf_addf(struct buf *buf, const char *format, ...) _printf_(2, 3);

/* Makes room for at least `length` more bytes behind buf->length and returns where they begin, NULL
 * on failure; the caller fills them and adds to buf->length. A NUL stands before and behind the
 * room; who fills only a part of it puts one behind that part. */
char *buf_reserve(struct buf *buf, size_t length);

/* 0, or the first failure as an error: "... is larger than N bytes". `what` names the content. */
int buf_failed(const struct buf *buf, const char *what, struct error *err);

const char *buf_text(const struct buf *buf); /* "" when empty, never NULL */
char *buf_steal(struct buf *buf);            /* the caller frees; never NULL unless out of memory */

#endif
