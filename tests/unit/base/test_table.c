/* Tables for people: widths in characters, numbers to the right, failures of stdout. */
#include "case.h"

#include <errno.h>

#include "base/table.h"

static char *print(const struct table *table)
{
    char *text = NULL;
    size_t length;
    FILE *file = open_memstream(&text, &length);
    assert_non_null(file);
    assert_ok(table_print(table, file, &case_err));
    fclose(file);
    return text;
}

static void test_layout(void **state)
{
    (void)state;
    struct table *table = NULL;
    assert_ok(table_new("ID|STATE|>SIZE|NOTE", &table, &case_err));
    assert_ok(table_row(table, &case_err, "x1", "good", "1.4 GB", "first"));
    assert_ok(table_row(table, &case_err, "longer", "", "9 B", ""));
    assert_ok(table_row(table, &case_err, "", "unfinished", "0 B", "a longer note"));
    _cleanup_(freep) char *text = print(table);
    assert_string_equal(text, "ID      STATE         SIZE  NOTE\n"
                              "x1      good        1.4 GB  first\n"
                              "longer                 9 B  \n"
                              "        unfinished     0 B  a longer note\n");
    table_free(table);
}

/* Two, three and four bytes are one column each. */
static void test_utf8(void **state)
{
    (void)state;
    struct table *table = NULL;
    assert_ok(table_new("N|>M", &table, &case_err));
    assert_ok(table_row(table, &case_err, "\303\244\303\266", "\342\202\254"));
    assert_ok(table_row(table, &case_err, "abcd", "1234"));
    assert_ok(table_row(table, &case_err, "\360\237\230\200", "\303\274\303\274"));
    _cleanup_(freep) char *text = print(table);
    assert_string_equal(text, "N        M\n"
                              "\303\244\303\266       \342\202\254\n"
                              "abcd  1234\n"
                              "\360\237\230\200       \303\274\303\274\n");
    table_free(table);
}

static void test_columns(void **state)
{
    (void)state;
    struct table *table = NULL;
    assert_ok(table_new(">ONE", &table, &case_err));
    assert_ok(table_row(table, &case_err, "12345"));
    _cleanup_(freep) char *text = print(table);
    assert_string_equal(text, "  ONE\n12345\n");
    table = table_free(table);
    assert_null(table);
    assert_ok(table_new("1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16", &table, &case_err));
    table = table_free(table);
    assert_fails(table_new("1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16|17", &table, &case_err),
                 ERR_LIMIT, "more than 16 columns in a table");
    assert_null(table);
    assert_null(table_free(NULL));
}

static int writes, failing_write;

static ssize_t write_or_fail(void *cookie, const char *data, size_t size)
{
    (void)cookie;
    (void)data;
    if (++writes != failing_write)
        return (ssize_t)size;
    errno = ENOSPC;
    return -1;
}

static int print_failing(const struct table *table, int which, struct error *err)
{
    char buffer[4096];
    FILE *file = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_or_fail});
    assert_non_null(file);
    setvbuf(file, buffer, _IOFBF, sizeof(buffer));
    writes = 0;
    failing_write = which;
    *err = ERROR_NONE;
    int rc = table_print(table, file, err);
    fclose(file);
    return rc;
}

/* A write that failed in the middle is told, even if the last one went well. */
static void test_write_failures(void **state)
{
    (void)state;
    struct table *table = NULL;
    assert_ok(table_new("LINE", &table, &case_err));
    for (int i = 0; i < 300; i++)
        assert_ok(table_row(table, &case_err, "a line of a table that is longer than a buffer"));
    struct error err;
    assert_int_equal(print_failing(table, 0, &err), 0);
    int all = writes;
    assert_true(all >= 3);
    for (int i = 1; i <= all; i++) {
        int rc = print_failing(table, i, &err);
        if (rc != ERR_NO_SPACE ||
            strcmp(err.message, "could not write the table: No space left on device") != 0)
            fail_msg("write %d of %d: %s", i, all, err.message);
    }
    table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_write_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
