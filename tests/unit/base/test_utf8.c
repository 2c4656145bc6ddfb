/* What is no UTF-8 becomes "?", byte by byte; the rest stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"

static const struct {
    const char *text, *mended;
} CASES[] = {
    {"", ""},
    {"plain", "plain"},
    {"z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x98\x80", "z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x98\x80"},
    {"cut \xe2\x82", "cut ??"},
    {"cut \xc3", "cut ?"},
    {"lat\xfcin", "lat?in"},
    {"\x80\xbf", "??"},
    {"overlong \xc0\xaf \xe0\x80\xaf", "overlong ?? ???"},
    {"surrogate \xed\xa0\x80", "surrogate ???"},
    {"last \xf4\x8f\xbf\xbf beyond \xf4\x90\x80\x80", "last \xf4\x8f\xbf\xbf beyond ????"},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        char text[64];
        snprintf(text, sizeof(text), "%s", CASES[i].text);
        assert_string_equal(utf8_mend(text), CASES[i].mended);
    }
}

/* The JSON library is the judge of what is valid. */
static void test_every_pair(void **state)
{
    (void)state;
    for (int first = 1; first < 256; first++)
        for (int second = 1; second < 256; second++) {
            char text[] = {(char)first, (char)second, (char)0xbf, '\0'}, mended[4];
            memcpy(mended, text, sizeof(text));
            utf8_mend(mended);
            json_t *was = json_string(text), *is = json_string(mended);
            assert_non_null(is);
            assert_int_equal(was != NULL, strcmp(text, mended) == 0);
            json_decref(was);
            json_decref(is);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases),
                                       cmocka_unit_test(test_every_pair)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
