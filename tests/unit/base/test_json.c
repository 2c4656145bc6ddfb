/* Reading values out of JSON with errors that name the key, and writing in one style. */
#include "case.h"

#include "base/json.h"

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message; /* NULL: good */
    } ROWS[] = {
        {"{}", NULL},
        {" {\"a\": {\"b\": [1, null, \"\\u00e4\"]}} \n", NULL},
        {"", "m.json is not valid JSON: "},
        {"{", "m.json is not valid JSON: "},
        {"{\n\n\"a\" 1}", "at line 3"},
        {"{\"a\":1,\"a\":2}", "duplicate object key"},
        {"{\"a\":1} x", "m.json is not valid JSON: end of file expected"},
        {"{\"a\":1,}", "m.json is not valid JSON: "},
        {"{'a':1}", "m.json is not valid JSON: "},
        {"{\"a\":\"\xff\"}", "m.json is not valid JSON: "},
        {"{\"a\":99999999999999999999}", "m.json is not valid JSON: too big integer"},
        {"[]", "m.json is not a JSON object"},
        {"[{}]", "m.json is not a JSON object"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        _cleanup_(json_release) json_t *object = NULL;
        struct error err = ERROR_NONE;
        int rc = json_parse_object(ROWS[i].text, strlen(ROWS[i].text), "m.json", &object, &err);
        if (rc != (ROWS[i].message ? ERR_CORRUPT : 0) || (rc == 0) != (object != NULL) ||
            (rc && !strstr(err.message, ROWS[i].message)))
            fail_msg("%s: %s", ROWS[i].text, err.message);
    }
    /* The length holds, not the NUL; nesting has a bound and ends in an error, not in a crash. */
    _cleanup_(json_release) json_t *object = NULL;
    assert_ok(json_parse_object("{}garbage", 2, "x", &object, &case_err));
    static char deep[200000];
    memset(deep, '[', sizeof(deep));
    memcpy(deep, "{\"a\":", 5);
    assert_fails(json_parse_object(deep, sizeof(deep), "x", &object, &case_err), ERR_CORRUPT,
                 "x is not valid JSON: ");
}

static void test_take(void **state)
{
    (void)state;
    static const char TEXT[] =
        "{\"text\":\"a\",\"empty\":\"\",\"number\":-5,\"max\":9223372036854775807,\"real\":1.0,"
        "\"null\":null,\"time\":\"2026-11-21T02:00:00.5Z\",\"list\":[1]}";
    _cleanup_(json_release) json_t *object = NULL;
    const char *text;
    int64_t number;
    assert_ok(json_parse_object(TEXT, strlen(TEXT), "x", &object, &case_err));
    assert_ok(json_take_text(object, "text", &text, &case_err));
    assert_string_equal(text, "a");
    assert_ok(json_take_text(object, "empty", &text, &case_err));
    assert_string_equal(text, "");
    assert_ok(json_take_integer(object, "number", &number, &case_err));
    assert_int_equal(number, -5);
    assert_ok(json_take_integer(object, "max", &number, &case_err));
    assert_int_equal(number, INT64_MAX);
    assert_ok(json_take_instant(object, "time", &number, &case_err));
    assert_int_equal(number, INT64_C(1795226400500000));

    static const char *const NO_TEXTS[] = {"absent", "number", "null", "list"};
    static const char *const NO_NUMBERS[] = {"absent", "text", "null", "real", "list"};
    static const char *const NO_TIMES[] = {"absent", "text", "empty", "null", "number"};
    char message[100];
    text = "kept";
    number = 77;
    for (size_t i = 0; i < ARRAY_SIZE(NO_TEXTS); i++) {
        snprintf(message, sizeof(message), "\"%s\" is missing or not a string", NO_TEXTS[i]);
        assert_fails(json_take_text(object, NO_TEXTS[i], &text, &case_err), ERR_CORRUPT, message);
    }
    for (size_t i = 0; i < ARRAY_SIZE(NO_NUMBERS); i++) {
        snprintf(message, sizeof(message), "\"%s\" is missing or not a whole", NO_NUMBERS[i]);
        assert_fails(json_take_integer(object, NO_NUMBERS[i], &number, &case_err), ERR_CORRUPT,
                     message);
    }
    for (size_t i = 0; i < ARRAY_SIZE(NO_TIMES); i++) {
        snprintf(message, sizeof(message), "\"%s\" is ", NO_TIMES[i]);
        assert_fails(json_take_instant(object, NO_TIMES[i], &number, &case_err), ERR_CORRUPT,
                     message);
    }
    assert_string_equal(text, "kept");
    assert_int_equal(number, 77);
}

static void test_write(void **state)
{
    (void)state;
    _cleanup_(json_release) json_t *document =
        json_pack("{s:i, s:o, s:o, s:o, s:s}", "z", 1, "never", json_instant(INSTANT_NONE), "at",
                  json_instant(0), "exactly", json_instant_micros(1), "a", "\303\244\n\"");
    _cleanup_(freep) char *text = NULL;
    assert_ok(json_to_text(document, &text, &case_err));
    assert_string_equal(text, "{\"z\":1,\"never\":null,\"at\":\"1970-01-01T00:00:00Z\","
                              "\"exactly\":\"1970-01-01T00:00:00.000001Z\","
                              "\"a\":\"\303\244\\n\\\"\"}");
    _cleanup_(json_release) json_t *never = json_instant_micros(INSTANT_NONE);
    assert_true(json_is_null(never));
    char *none = NULL;
    assert_fails(json_to_text(NULL, &none, &case_err), ERR_MEMORY, "out of memory");
    json_t *nothing = NULL;
    json_release(&nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
