/*
 * Rows in COPY's text format, counted as their bytes come by, with a check of their framing: each
 * row ends in a newline and has as many columns as it must, no byte is zero, no row is the end mark
 * ("COPY", "File Formats" in PostgreSQL's documentation). Newlines and tabs within values are
 * escaped, and no encoding of a server has either within a character.
 *
 *     copy_text_init(&text, copy_text_columns("\"a\", \"b\""));
 *     copy_text_add(&text, data, length, err);     as often as needed
 *     copy_text_end(&text, err);                   whole rows only; text.rows, text.bytes
 *
 * Errors are ERR_CORRUPT and name the row and the byte. Pure.
 */
#ifndef PGCAIRN_POSTGRES_COPY_TEXT_H
#define PGCAIRN_POSTGRES_COPY_TEXT_H

#include <stdint.h>

#include "base/error.h"

struct copy_text {
    int columns; /* 0: a table without any has empty rows */
    int64_t rows, bytes;
    int64_t row_bytes; /* of the row that has begun */
    int64_t tabs;      /* in it */
    char head[2];      /* its first bytes */
};

/* How many columns a list of quoted names has, as COPY takes it; 0 for "". */
int copy_text_columns(const char *list);

void copy_text_init(struct copy_text *text, int columns);
int copy_text_add(struct copy_text *text, const void *data, size_t length, struct error *err);
int copy_text_end(const struct copy_text *text, struct error *err);

#endif
