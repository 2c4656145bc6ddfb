/*
 * Structs as JSON by tables of their fields: one reader, one writer and one release for all facts
 * that are kept in a file, so that what is written is what is read. A row says the key, the kind
 * and where the value lies in the struct; a list says its elements' table too.
 *
 *     json_t *object = fields_to_json(FIELDS, &value);               NULL without memory
 *     rc = fields_from_json(FIELDS, object, "facts", &value, err);   value zeroed before
 *     fields_clear(FIELDS, &value);                                  frees what it owns
 *
 * Times are RFC 3339 with microseconds, null for INSTANT_NONE. Keys that are not in the table are
 * ignored; one that is in it and absent, or of another type, is ERR_CORRUPT with its path. After a
 * failure of fields_from_json() the value is released.
 */
#ifndef PGCAIRN_FACTS_FIELDS_H
#define PGCAIRN_FACTS_FIELDS_H

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"

enum field_kind {
    FIELD_TEXT,    /* char *, owned; null for NULL */
    FIELD_NAME,    /* char *, owned, never NULL */
    FIELD_CHARS,   /* char[size] */
    FIELD_TEXTS,   /* char **, owned, ends with NULL; null for NULL */
    FIELD_LONG,    /* int64_t or uint64_t below 2^63 */
    FIELD_INTEGER, /* int or uint32_t below 2^31 */
    FIELD_FLAG,    /* bool */
    FIELD_INSTANT, /* int64_t, microseconds */
    FIELD_WORD,    /* an enum, as its name */
    FIELD_STRUCT,  /* a struct by its own table */
    FIELD_LIST,    /* a pointer to owned elements, and a size_t that counts them */
};

struct field {
    const char *name; /* NULL ends a table */
    enum field_kind kind;
    size_t offset;
    size_t size;                /* FIELD_CHARS; of an element of FIELD_LIST */
    size_t count_offset;        /* FIELD_LIST */
    size_t limit;               /* FIELD_LIST, FIELD_TEXTS: the most entries */
    const struct field *fields; /* FIELD_STRUCT, FIELD_LIST */
    const char *(*word)(int value);
    int word_count; /* FIELD_WORD: values are 0 and up */
};

json_t *fields_to_json(const struct field *fields, const void *value);
int fields_from_json(const struct field *fields, const json_t *object, const char *path,
                     void *value, struct error *err);
void fields_clear(const struct field *fields, void *value);

#endif
