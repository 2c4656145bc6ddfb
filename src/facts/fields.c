#include "facts/fields.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

enum { PATH_MAX_BYTES = 200 };

/* -- writing ------------------------------------------------------------------------------- */

/* Messages of a system or server may be in any encoding, which JSON can't carry. */
static json_t *text_to_json(const char *text)
{
    json_t *json = json_string(text);
    char *copy = json ? NULL : strdup(text);
    if (copy)
        json = json_string(utf8_mend(copy));
    free(copy);
    return json;
}

static json_t *texts_to_json(char *const *texts)
{
    if (!texts)
        return json_null();
    json_t *list = json_array();
    for (size_t i = 0; texts[i] && list; i++)
        if (json_array_append_new(list, text_to_json(texts[i]))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *list_to_json(const struct field *field, const char *value)
{
    const char *elements = *(char *const *)(const void *)(value + field->offset);
    size_t count = *(const size_t *)(const void *)(value + field->count_offset);
    json_t *list = json_array();
    for (size_t i = 0; i < count && list; i++)
        if (json_array_append_new(list,
                                  fields_to_json(field->fields, elements + i * field->size))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *field_to_json(const struct field *field, const char *value)
{
    const void *place = value + field->offset;
    const char *text;
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_NAME:
        text = *(char *const *)place;
        return text ? text_to_json(text) : json_null();
    case FIELD_CHARS:
        return json_string(place);
    case FIELD_TEXTS:
        return texts_to_json(*(char **const *)place);
    case FIELD_LONG:
        return json_integer(*(const int64_t *)place);
    case FIELD_INTEGER:
        return json_integer(*(const int *)place);
    case FIELD_FLAG:
        return json_boolean(*(const bool *)place);
    case FIELD_INSTANT:
        return json_instant_micros(*(const int64_t *)place);
    case FIELD_WORD:
        return json_string(field->word(*(const int *)place));
    case FIELD_STRUCT:
        return fields_to_json(field->fields, place);
    case FIELD_LIST:
        break;
    }
    return list_to_json(field, value);
}

json_t *fields_to_json(const struct field *fields, const void *value)
{
    json_t *object = json_object();
    for (const struct field *field = fields; field->name && object; field++)
        if (json_object_set_new(object, field->name, field_to_json(field, value))) {
            json_decref(object);
            return NULL;
        }
    return object;
}

/* -- reading ------------------------------------------------------------------------------- */

static int wrong(const char *path, const char *name, const char *what, struct error *err)
{
    return error_set(err, ERR_CORRUPT, "%s.%s is missing or not %s", path, name, what);
}

static int take_text(const json_t *json, char **ret_text, struct error *err)
{
    if (json_is_null(json))
        return 0;
    *ret_text = strdup(json_string_value(json));
    return *ret_text ? 0 : error_no_memory(err);
}

static int take_texts(const struct field *field, const json_t *json, const char *path,
                      char ***ret_texts, struct error *err)
{
    size_t count = json_array_size(json);
    if (json_is_null(json))
        return 0;
    if (!json_is_array(json) || count > field->limit)
        return wrong(path, field->name, "a list of texts", err);
    char **texts = calloc(count + 1, sizeof(*texts));
    *ret_texts = texts;
    if (!texts)
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(json, i));
        if (!text)
            return wrong(path, field->name, "a list of texts", err);
        texts[i] = strdup(text);
        if (!texts[i])
            return error_no_memory(err);
    }
    return 0;
}

static int take_word(const struct field *field, const json_t *json, const char *path, int *ret_word,
                     struct error *err)
{
    for (int i = 0; i < field->word_count; i++)
        if (strcmp(field->word(i), json_string_value(json)) == 0) {
            *ret_word = i;
            return 0;
        }
    return wrong(path, field->name, "a word that is known", err);
}

static int take_list(const struct field *field, const json_t *json, const char *path, char *value,
                     struct error *err)
{
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count > field->limit)
        return wrong(path, field->name, "a list within its limit", err);
    char *elements = calloc(count + 1, field->size);
    if (!elements)
        return error_no_memory(err);
    *(char **)(void *)(value + field->offset) = elements;
    size_t *filled = (size_t *)(void *)(value + field->count_offset);
    for (*filled = 0; *filled < count; ++*filled) {
        char inner[PATH_MAX_BYTES];
        snprintf(inner, sizeof(inner), "%.150s.%s[%zu]", path, field->name, *filled);
        int rc = fields_from_json(field->fields, json_array_get(json, *filled), inner,
                                  elements + *filled * field->size, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int take_instant(const struct field *field, const json_t *json, const char *path,
                        int64_t *ret_us, struct error *err)
{
    bool has_offset;
    *ret_us = INSTANT_NONE;
    if (json_is_string(json) && instant_parse(json_string_value(json), ret_us, &has_offset, NULL))
        return wrong(path, field->name, "a time", err);
    return 0;
}

static bool type_fits(const struct field *field, const json_t *json)
{
    switch (field->kind) {
    case FIELD_NAME:
        return json_is_string(json);
    case FIELD_TEXT:
    case FIELD_INSTANT:
        return json_is_string(json) || json_is_null(json);
    case FIELD_CHARS:
        return json_is_string(json) && strlen(json_string_value(json)) < field->size;
    case FIELD_LONG:
        return json_is_integer(json);
    case FIELD_INTEGER:
        return json_is_integer(json) && json_integer_value(json) <= INT32_MAX &&
               json_integer_value(json) >= INT32_MIN;
    case FIELD_FLAG:
        return json_is_boolean(json);
    case FIELD_WORD:
        return json_is_string(json);
    case FIELD_STRUCT:
        return json_is_object(json);
    case FIELD_TEXTS:
    case FIELD_LIST:
        break;
    }
    return json != NULL;
}

static int take(const struct field *field, const json_t *json, const char *path, char *value,
                struct error *err)
{
    void *place = value + field->offset;
    char inner[PATH_MAX_BYTES];
    if (!type_fits(field, json))
        return wrong(path, field->name, "of its type", err);
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_NAME:
        return take_text(json, place, err);
    case FIELD_CHARS:
        memcpy(place, json_string_value(json), strlen(json_string_value(json)) + 1);
        break;
    case FIELD_TEXTS:
        return take_texts(field, json, path, place, err);
    case FIELD_LONG:
        *(int64_t *)place = json_integer_value(json);
        break;
    case FIELD_INTEGER:
        *(int *)place = (int)json_integer_value(json);
        break;
    case FIELD_FLAG:
        *(bool *)place = json_is_true(json);
        break;
    case FIELD_INSTANT:
        return take_instant(field, json, path, place, err);
    case FIELD_WORD:
        return take_word(field, json, path, place, err);
    case FIELD_STRUCT:
        snprintf(inner, sizeof(inner), "%.150s.%s", path, field->name);
        return fields_from_json(field->fields, json, inner, place, err);
    case FIELD_LIST:
        return take_list(field, json, path, value, err);
    }
    return 0;
}

int fields_from_json(const struct field *fields, const json_t *object, const char *path,
                     void *value, struct error *err)
{
    int rc = json_is_object(object) ? 0 : error_set(err, ERR_CORRUPT, "%s is no object", path);
    for (const struct field *field = fields; field->name && !rc; field++)
        rc = take(field, json_object_get(object, field->name), path, value, err);
    if (rc)
        fields_clear(fields, value);
    return rc;
}

/* -- release ------------------------------------------------------------------------------- */

static void clear_list(const struct field *field, char *value)
{
    char **elements = (char **)(void *)(value + field->offset);
    size_t *count = (size_t *)(void *)(value + field->count_offset);
    for (size_t i = 0; i < *count; i++)
        fields_clear(field->fields, *elements + i * field->size);
    free(*elements);
    *elements = NULL;
    *count = 0;
}

static void clear_texts(char ***texts)
{
    for (size_t i = 0; *texts && (*texts)[i]; i++)
        free((*texts)[i]);
    free(*texts);
    *texts = NULL;
}

void fields_clear(const struct field *fields, void *value)
{
    for (const struct field *field = fields; field->name; field++) {
        char *place = (char *)value + field->offset;
        if (field->kind == FIELD_TEXT || field->kind == FIELD_NAME) {
            free(*(char **)(void *)place);
            *(char **)(void *)place = NULL;
        } else if (field->kind == FIELD_TEXTS) {
            clear_texts((char ***)(void *)place);
        } else if (field->kind == FIELD_STRUCT) {
            fields_clear(field->fields, place);
        } else if (field->kind == FIELD_LIST) {
            clear_list(field, value);
        }
    }
}
