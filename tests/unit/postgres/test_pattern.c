/* Table patterns: what they match, and the words for what is no pattern. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "postgres/pattern.h"

static const struct {
    const char *pattern, *schema, *name;
    bool matches;
} MATCHES[] = {
    {"users", "public", "users", true},
    {"users", "audit", "users", true},
    {"users", "public", "users2", false},
    {"users", "public", "all_users", false},
    {"Users", "public", "users", true},
    {"Users", "public", "Users", false},
    {"\"Users\"", "public", "Users", true},
    {"\"Users\"", "public", "users", false},
    {"public.users", "public", "users", true},
    {"public.users", "audit", "users", false},
    {"audit.*", "audit", "Log", true},
    {"audit.*", "audits", "log", false},
    {"audit.*", "Audit", "log", false},
    {"\"Audit\".*", "Audit", "log", true},
    {"*.log", "audit", "log", true},
    {"*.log", "public", "blog", false},
    {"log_?", "public", "log_1", true},
    {"log_?", "public", "log_", false},
    {"log_?", "public", "log_12", false},
    {"log_?", "public", "log_\xc3\xa9", true},
    {"log_??", "public", "log_\xc3\xa9", false},
    {"log_?x", "public", "log_\xe2\x82\xacx", true},
    {"*\xc3\xa9*", "public", "caf\xc3\xa9s", true},
    {"\"a.b\"", "public", "a.b", true},
    {"\"a.b\"", "a", "b", false},
    {"\"a\"\"b\"", "public", "a\"b", true},
    {"\"a*\"", "public", "a*", true},
    {"\"a*\"", "public", "ab", false},
    {"\"a?(b)[c]{1}|^$+\\\"", "public", "a?(b)[c]{1}|^$+\\", true},
    {"a$b", "public", "a$b", true},
    {"log_[0-9]+", "public", "log_2024", true},
    {"log_[0-9]+", "public", "log_x", false},
    {"a|b", "public", "b", true},
    {"a|b", "public", "ab", false},
    {"foo\"BAR\"baz", "public", "fooBARbaz", true},
    {"Foo\"BAR\"*", "public", "fooBAR1", true},
    {"*", "public", "anything", true},
    {"*", "pg_catalog", "pg_class", false},
    {"*.*", "pg_catalog", "pg_class", false},
    {"*.*", "information_schema", "sql_parts", false},
    {"pg_catalog.*", "pg_catalog", "pg_class", true},
    {"pg_*.pg_class", "pg_catalog", "pg_class", true},
    {"information_schema.sql_parts", "information_schema", "sql_parts", true},
    {"pg_class", "pg_catalog", "pg_class", false},
    {"*.*", "pgbouncer", "stats", true},
    {"\"two words\".\"three more words\"", "two words", "three more words", true},
};

static const struct {
    const char *pattern, *message;
} MISTAKES[] = {
    {"", "the table pattern  has an empty part"},
    {"\"\"", "the table pattern \"\" has an empty part"},
    {".users", "the table pattern .users has an empty part"},
    {"audit.", "the table pattern audit. has an empty part"},
    {"db.audit.log", "the table pattern db.audit.log has too many dots"},
    {"\"Users", "the table pattern \"Users has an unclosed quote"},
    {"log_[0-9", "the table pattern log_[0-9 is no regular expression: "},
    {"(a", "the table pattern (a is no regular expression: "},
};

static void check_matches(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(MATCHES); i++) {
        _cleanup_(pattern_freep) struct pattern *pattern = NULL;
        struct error err = ERROR_NONE;
        if (pattern_parse(MATCHES[i].pattern, &pattern, &err))
            fail_msg("row %zu: %s", i, err.message);
        if (pattern_matches(pattern, MATCHES[i].schema, MATCHES[i].name) != MATCHES[i].matches)
            fail_msg("row %zu: %s on %s.%s is not %d", i, MATCHES[i].pattern, MATCHES[i].schema,
                     MATCHES[i].name, MATCHES[i].matches);
        assert_string_equal(pattern_text(pattern), MATCHES[i].pattern);
    }
}

static void test_matches(void **state)
{
    (void)state;
    check_matches();
}

/* The locale of the process must make no difference to one character of UTF-8. */
static void test_matches_in_utf8_locale(void **state)
{
    (void)state;
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    check_matches();
    setlocale(LC_CTYPE, "C");
}

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(MISTAKES); i++) {
        struct pattern *pattern = NULL;
        struct error err = ERROR_NONE;
        assert_int_equal(pattern_parse(MISTAKES[i].pattern, &pattern, &err), ERR_USAGE);
        assert_null(pattern);
        if (strncmp(err.message, MISTAKES[i].message, strlen(MISTAKES[i].message)) != 0)
            fail_msg("row %zu: %s", i, err.message);
        assert_string_not_equal(err.hint, "");
    }
}

static void test_too_long(void **state)
{
    (void)state;
    char text[PATTERN_BYTES_MAX + 2];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    struct pattern *pattern = NULL;
    struct error err = ERROR_NONE;
    assert_int_equal(pattern_parse(text, &pattern, &err), ERR_USAGE);
    assert_null(pattern);
    text[PATTERN_BYTES_MAX] = '\0';
    assert_int_equal(pattern_parse(text, &pattern, &err), 0);
    pattern_free(pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_matches_in_utf8_locale),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
