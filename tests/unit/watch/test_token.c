/* Which Authorization headers hold the token, and which files may. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "watch/token.h"

static char path[64];

static void write_file(const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int make_file(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "/tmp/pgcairn-token-XXXXXX");
    int fd = mkostemp(path, O_CLOEXEC);
    close(fd);
    return fd < 0 ? -1 : 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void test_headers(void **state)
{
    /* echo -n any:0123456789abcdef | base64 */
    static const struct {
        const char *header;
        bool is_right;
    } ROWS[] = {
        {"Bearer 0123456789abcdef", true},
        {"bearer 0123456789abcdef", true},
        {"Bearer 0123456789abcde", false},
        {"Bearer 0123456789abcdeff", false},
        {"Bearer  0123456789abcdef", false},
        {"Bearer ", false},
        {"Bearer", false},
        {"", false},
        {NULL, false},
        {"0123456789abcdef", false},
        {"Basic YW55OjAxMjM0NTY3ODlhYmNkZWY=", true},
        {"Basic OjAxMjM0NTY3ODlhYmNkZWY=", true},      /* no user */
        {"Basic MDEyMzQ1Njc4OWFiY2RlZg==", false},     /* no colon */
        {"Basic YW55OjAxMjM0NTY3ODlhYmNkZWZm", false}, /* one more */
        {"Basic YW55", false},
        {"Basic ????", false},
        {"Basic Y", false},
        {"Basic ", false},
        {"Digest 0123456789abcdef", false},
    };
    struct token token;
    struct error err = ERROR_NONE;
    (void)state;
    write_file("0123456789abcdef\n", 0600);
    assert_int_equal(token_read(path, &token, &err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++)
        if (token_matches(&token, ROWS[i].header) != ROWS[i].is_right)
            fail_msg("row %zu: %s", i, ROWS[i].header ? ROWS[i].header : "none");
}

static void test_files(void **state)
{
    static const struct {
        const char *text;
        mode_t mode;
        int code;
    } ROWS[] = {
        {"0123456789abcdef", 0600, 0},
        {"0123456789abcdef\r\nmore", 0400, 0},
        {"0123456789abcde", 0600, ERR_USAGE},
        {"", 0600, ERR_USAGE},
        {"\n0123456789abcdef", 0600, ERR_USAGE},
        {"0123456789abcdef", 0640, ERR_PERMISSION},
        {"0123456789abcdef", 0604, ERR_PERMISSION},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct token token;
        struct error err = ERROR_NONE;
        write_file(ROWS[i].text, ROWS[i].mode);
        int rc = token_read(path, &token, &err);
        if (rc != ROWS[i].code || (rc && !err.hint[0]) || (rc && strstr(err.message, "01234")))
            fail_msg("row %zu: %d: %s (%s)", i, rc, err.message, err.hint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_headers, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_files, make_file, remove_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
