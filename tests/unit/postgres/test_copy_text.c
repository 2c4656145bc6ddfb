/* Rows of COPY: counted in pieces of any size, and what is no row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "postgres/copy_text.h"

static const struct {
    const char *list;
    int columns;
} LISTS[] = {
    {"", 0},
    {"\"a\"", 1},
    {"\"a\", \"b\"", 2},
    {"\"a,b\", \"c\"\", d\", \"e\"", 3},
};

static const struct {
    int columns;
    const char *text;
    size_t length; /* 0: that of the text */
    int64_t rows;
    const char *message; /* NULL: all is well */
} ROWS[] = {
    {2, "", 0, 0, NULL},
    {2, "1\ta\n2\tb\\tc\\n\n", 0, 2, NULL},
    {1, "\n\n\\N\n", 0, 3, NULL}, /* two empty texts and a null */
    {0, "\n\n\n", 0, 3, NULL},
    {1, "\\\\.\n\\.x\n", 0, 2, NULL},
    {0, "x\n", 0, 0, "row 1, at byte 0, has columns, and its table none"},
    {2, "1\ta\n2\n", 0, 1, "row 2, at byte 4, has 1 columns instead of 2"},
    {2, "1\ta\tb\n", 0, 0, "has 3 columns instead of 2"},
    {2, "1\ta\n2\tb", 0, 1, "row 2, at byte 4, ends without a newline"},
    {1, "a\n\\.\n", 0, 1, "row 2, at byte 2, is the mark that ends a COPY"},
    {1, "a\nb\0c\n", 6, 0, "byte of zero"},
};

static void test_columns(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(LISTS); i++)
        assert_int_equal(copy_text_columns(LISTS[i].list), LISTS[i].columns);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        size_t length = ROWS[i].length ? ROWS[i].length : strlen(ROWS[i].text);
        for (size_t piece = 1; piece <= length + 1; piece++) {
            struct copy_text text;
            struct error error = ERROR_NONE;
            int rc = 0;
            copy_text_init(&text, ROWS[i].columns);
            for (size_t at = 0; at < length && !rc; at += piece)
                rc = copy_text_add(&text, ROWS[i].text + at,
                                   length - at < piece ? length - at : piece, &error);
            if (!rc)
                rc = copy_text_end(&text, &error);
            bool fits = ROWS[i].message
                            ? rc == ERR_CORRUPT && strstr(error.message, ROWS[i].message)
                            : rc == 0 && text.rows == ROWS[i].rows && text.bytes == (int64_t)length;
            if (!fits)
                fail_msg("row %zu in pieces of %zu: %d \"%s\", %lld rows", i, piece, rc,
                         error.message, (long long)text.rows);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_columns), cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
