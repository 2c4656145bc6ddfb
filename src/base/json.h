/*
 * Small helpers around jansson: documents are built with json_pack() and set functions of jansson
 * itself; these read values with an error that names the key, and write with one style.
 */
#ifndef PGCAIRN_BASE_JSON_H
#define PGCAIRN_BASE_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "base/instant.h"

/* Releases a local: _cleanup_(json_release) json_t *document = NULL; */
static inline void json_release(json_t **json)
{
    json_decref(*json);
}

/* Parses text that must be one JSON object; `what` names it in the error (ERR_CORRUPT). */
int json_parse_object(const char *text, size_t length, const char *what, json_t **ret_object,
                      struct error *err);

/* Values by key, ERR_CORRUPT when absent or of another type. Strings are borrowed from the object.
 */
int json_take_text(const json_t *object, const char *key, const char **ret_text, struct error *err);
int json_take_integer(const json_t *object, const char *key, int64_t *ret_number,
                      struct error *err);
int json_take_instant(const json_t *object, const char *key, int64_t *ret_us, struct error *err);

/* For what may be absent: the string under a key, "" when there is none (borrowed); the number, 0
 * when there is none. */
const char *json_text(const json_t *object, const char *key);
int64_t json_number(const json_t *object, const char *key);

/* An RFC 3339 string, or null for INSTANT_NONE. A new reference. */
json_t *json_instant(int64_t instant_us);
json_t *json_instant_micros(int64_t instant_us); /* where the order of two in one second matters */

/* Compact text with keys in the order they were set. The caller frees. */
int json_to_text(const json_t *json, char **ret_text, struct error *err);

#endif
