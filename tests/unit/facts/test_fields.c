/* Structs as JSON by tables: what was written is read, and what is wrong is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/instant.h"
#include "base/json.h"
#include "facts/fields.h"

struct leaf {
    int64_t number;
    char *text;
};

struct thing {
    char *text, name[8], **texts;
    int64_t number, at_us;
    int small, word;
    bool flag;
    struct leaf leaf, *leaves;
    size_t leaf_count;
};

static const char *word(int value)
{
    return value ? "one" : "zero";
}

static const struct field LEAF[] = {
    {.name = "number", .kind = FIELD_LONG, .offset = offsetof(struct leaf, number)},
    {.name = "text", .kind = FIELD_TEXT, .offset = offsetof(struct leaf, text)},
    {.name = NULL},
};

static const struct field THING[] = {
    {.name = "text", .kind = FIELD_TEXT, .offset = offsetof(struct thing, text)},
    {.name = "name", .kind = FIELD_CHARS, .offset = offsetof(struct thing, name), .size = 8},
    {.name = "texts", .kind = FIELD_TEXTS, .offset = offsetof(struct thing, texts), .limit = 3},
    {.name = "number", .kind = FIELD_LONG, .offset = offsetof(struct thing, number)},
    {.name = "at", .kind = FIELD_INSTANT, .offset = offsetof(struct thing, at_us)},
    {.name = "small", .kind = FIELD_INTEGER, .offset = offsetof(struct thing, small)},
    {.name = "word",
     .kind = FIELD_WORD,
     .offset = offsetof(struct thing, word),
     .word = word,
     .word_count = 2},
    {.name = "flag", .kind = FIELD_FLAG, .offset = offsetof(struct thing, flag)},
    {.name = "leaf", .kind = FIELD_STRUCT, .offset = offsetof(struct thing, leaf), .fields = LEAF},
    {.name = "leaves",
     .kind = FIELD_LIST,
     .offset = offsetof(struct thing, leaves),
     .count_offset = offsetof(struct thing, leaf_count),
     .size = sizeof(struct leaf),
     .limit = 2,
     .fields = LEAF},
    {.name = NULL},
};

#define GOOD                                                                                       \
    "{\"text\":\"a\",\"name\":\"b\",\"texts\":[\"x\",\"y\"],\"number\":-9007199254740993,"         \
    "\"at\":\"2026-11-21T02:00:00.000001Z\",\"small\":-3,\"word\":\"one\",\"flag\":true,"          \
    "\"leaf\":{\"number\":1,\"text\":null},\"leaves\":[{\"number\":2,\"text\":\"\"},{\"number\":3" \
    ",\"text\":\"z\"}]}"

static int read_thing(const char *text, struct thing *thing, struct error *err)
{
    json_t *object = json_loads(text, 0, NULL);
    assert_non_null(object);
    memset(thing, 0, sizeof(*thing));
    int rc = fields_from_json(THING, object, "thing", thing, err);
    json_decref(object);
    return rc;
}

static void test_there_and_back(void **state)
{
    (void)state;
    struct thing thing;
    struct error err = ERROR_NONE;
    char *text = NULL;
    assert_int_equal(read_thing(GOOD, &thing, &err), 0);
    assert_string_equal(thing.texts[1], "y");
    assert_null(thing.texts[2]);
    assert_int_equal(thing.leaf_count, 2);
    assert_true(thing.number == INT64_C(-9007199254740993));
    assert_true(thing.at_us % US_PER_SECOND == 1);
    json_t *object = fields_to_json(THING, &thing);
    assert_int_equal(json_to_text(object, &text, &err), 0);
    assert_string_equal(text, GOOD);
    free(text);
    json_decref(object);
    fields_clear(THING, &thing);
    assert_null(thing.leaves);
    fields_clear(THING, &thing); /* may be done again */
}

/* A message in another encoding is kept as far as it can be. */
static void test_other_encodings(void **state)
{
    (void)state;
    struct thing thing = {.text = strdup("verf\xfcgbar"), .at_us = INSTANT_NONE};
    assert_non_null(thing.text);
    json_t *object = fields_to_json(THING, &thing);
    assert_non_null(object);
    assert_string_equal(json_text(object, "text"), "verf?gbar");
    json_decref(object);
    fields_clear(THING, &thing);
}

static const struct {
    const char *from, *to, *message; /* one change to GOOD */
} CASES[] = {
    {"\"text\":\"a\"", "\"text\":1", "thing.text is missing or not of its type"},
    {"\"text\":\"a\",", "", "thing.text is missing or not of its type"},
    {"\"name\":\"b\"", "\"name\":\"eight chars\"", "thing.name is missing or not of its type"},
    {"[\"x\",\"y\"]", "[\"x\",2]", "thing.texts is missing or not a list of texts"},
    {"[\"x\",\"y\"]", "[\"x\",\"y\",\"z\",\"w\"]", "thing.texts is missing or not a list of texts"},
    {"-9007199254740993", "1.5", "thing.number is missing or not of its type"},
    {"2026-11-21T02", "2026-13-21T02", "thing.at is missing or not a time"},
    {"\"small\":-3", "\"small\":4294967296", "thing.small is missing or not of its type"},
    {"\"one\"", "\"two\"", "thing.word is missing or not a word that is known"},
    {"\"flag\":true", "\"flag\":1", "thing.flag is missing or not of its type"},
    {"{\"number\":1", "{\"number\":\"1\"", "thing.leaf.number is missing or not of its type"},
    {"{\"number\":3", "{\"number\":null", "thing.leaves[1].number is missing or not of its type"},
    {"{\"number\":3,\"text\":\"z\"}", "7", "thing.leaves[1] is no object"},
    {"{\"number\":3,", "{\"number\":9,\"text\":\"\"},{\"number\":3,",
     "thing.leaves is missing or not a list within its limit"},
};

static void test_what_is_wrong_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        char text[1024];
        struct thing thing;
        struct error err = ERROR_NONE;
        const char *at = strstr(GOOD, CASES[i].from);
        assert_non_null(at);
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - GOOD), GOOD, CASES[i].to,
                 at + strlen(CASES[i].from));
        if (read_thing(text, &thing, &err) != ERR_CORRUPT ||
            strcmp(err.message, CASES[i].message) != 0)
            fail_msg("case %zu: %s", i, err.message);
        assert_null(thing.text);
        assert_null(thing.leaves);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_there_and_back),
                                       cmocka_unit_test(test_other_encodings),
                                       cmocka_unit_test(test_what_is_wrong_is_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
