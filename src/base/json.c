#include "base/json.h"

int json_parse_object(const char *text, size_t length, const char *what, json_t **ret_object,
                      struct error *err)
{
    json_error_t reason;
    json_t *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &reason);
    if (!object)
        return error_set(err, ERR_CORRUPT, "%s is not valid JSON: %s at line %d", what, reason.text,
                         reason.line);
    if (!json_is_object(object)) {
        json_decref(object);
        return error_set(err, ERR_CORRUPT, "%s is not a JSON object", what);
    }
    *ret_object = object;
    return 0;
}

int json_take_text(const json_t *object, const char *key, const char **ret_text, struct error *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return error_set(err, ERR_CORRUPT, "\"%s\" is missing or not a string", key);
    *ret_text = json_string_value(value);
    return 0;
}

int json_take_integer(const json_t *object, const char *key, int64_t *ret_number, struct error *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value))
        return error_set(err, ERR_CORRUPT, "\"%s\" is missing or not a whole number", key);
    *ret_number = json_integer_value(value);
    return 0;
}

int json_take_instant(const json_t *object, const char *key, int64_t *ret_us, struct error *err)
{
    const char *text = NULL;
    bool has_offset;
    int rc = json_take_text(object, key, &text, err);
    if (!rc && instant_parse(text, ret_us, &has_offset, NULL))
        rc = error_set(err, ERR_CORRUPT, "\"%s\" is not a time: %s", key, text);
    return rc;
}

const char *json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

int64_t json_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

json_t *json_instant(int64_t instant_us)
{
    char text[INSTANT_TEXT_MAX];
    return instant_us == INSTANT_NONE ? json_null() : json_string(instant_format(instant_us, text));
}

json_t *json_instant_micros(int64_t instant_us)
{
    char text[INSTANT_TEXT_MAX];
    return instant_us == INSTANT_NONE ? json_null()
                                      : json_string(instant_format_micros(instant_us, text));
}

int json_to_text(const json_t *json, char **ret_text, struct error *err)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (!text)
        return error_no_memory(err);
    *ret_text = text;
    return 0;
}
