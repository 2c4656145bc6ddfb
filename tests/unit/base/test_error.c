/* Codes, what errno becomes, hints and cures, and texts that are too long. */
#include "case.h"

#include <errno.h>

static void test_codes(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *name;
        int exit_status;
        bool retryable;
    } ROWS[] = {
        {0, "ok", 0, false},
        {ERR_USAGE, "usage", 2, false},
        {ERR_POLICY, "policy", 2, false},
        {ERR_FAILED, "failed", 1, false},
        {ERR_MEMORY, "out_of_memory", 1, true},
        {ERR_LIMIT, "limit", 1, false},
        {ERR_IO, "io", 1, false},
        {ERR_NO_SPACE, "no_space", 1, false},
        {ERR_PERMISSION, "permission", 1, false},
        {ERR_NOT_FOUND, "not_found", 1, false},
        {ERR_EXISTS, "exists", 1, false},
        {ERR_CORRUPT, "corrupt", 1, false},
        {ERR_SQL, "sql", 1, false},
        {ERR_CONFLICT, "conflict", 1, true},
        {ERR_CONNECTION, "connection", 3, true},
        {ERR_AUTH, "authentication", 3, false},
        {ERR_UNKNOWN, "unknown", 3, false},
        {ERR_TIMEOUT, "timeout", 1, true},
        {ERR_BUSY, "busy", 4, true},
        {ERR_INTERRUPTED, "interrupted", 5, false},
        {ERR_DOUBT, "doubt", 126, true},
        {ERR_CHILD, "child", 1, false},
        {-1, "failed", 1, false},
        {ERR_FIRST_, "failed", 1, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        int code = ROWS[i].code;
        bool listed = code < 0 && code > ERR_FIRST_ && code != -1;
        if (strcmp(error_code_name(code), ROWS[i].name) != 0 ||
            error_exit_status(code) != ROWS[i].exit_status ||
            error_is_retryable(code) != ROWS[i].retryable ||
            (listed && error_code_from_name(ROWS[i].name) != code))
            fail_msg("%d: %s, exit status %d, retryable %d", code, error_code_name(code),
                     error_exit_status(code), error_is_retryable(code));
    }
    assert_int_equal(error_code_from_name("nonsense"), ERR_OK);
    assert_int_equal(error_code_from_name(""), ERR_OK);
}

/* The rows of the list itself: codes are negative and differ, names are unique, so that what is
 * written to JSON and journal by name comes back as the same code. */
static void test_list_is_sound(void **state)
{
    (void)state;
    static const int CODES[] = {
#define X(code, name, status, retryable, cure) code,
        ERROR_LIST(X)
#undef X
    };
    assert_true(ARRAY_SIZE(CODES) >= 20);
    for (size_t i = 0; i < ARRAY_SIZE(CODES); i++) {
        assert_true(CODES[i] < 0);
        assert_int_equal(error_code_from_name(error_code_name(CODES[i])), CODES[i]);
        if (CODES[i] != ERR_DOUBT) /* the one that speaks to PostgreSQL */
            assert_in_range(error_exit_status(CODES[i]), 1, 5);
    }
}

static void test_errno(void **state)
{
    (void)state;
    static const struct {
        int number, code;
        const char *message;
    } ROWS[] = {
        {ENOSPC, ERR_NO_SPACE, "could not write \"/a/b\": No space left on device"},
        {EDQUOT, ERR_NO_SPACE, "could not write \"/a/b\": Disk quota exceeded"},
        {EACCES, ERR_PERMISSION, "could not write \"/a/b\": Permission denied"},
        {EPERM, ERR_PERMISSION, "could not write \"/a/b\": Operation not permitted"},
        {EROFS, ERR_PERMISSION, "could not write \"/a/b\": Read-only file system"},
        {ENOENT, ERR_NOT_FOUND, "could not write \"/a/b\": No such file or directory"},
        {EEXIST, ERR_EXISTS, "could not write \"/a/b\": File exists"},
        {ENOMEM, ERR_MEMORY, "could not write \"/a/b\": Cannot allocate memory"},
        {EIO, ERR_IO, "could not write \"/a/b\": Input/output error"},
        {EISDIR, ERR_IO, "could not write \"/a/b\": Is a directory"},
        {99999, ERR_IO, "could not write \"/a/b\": Unknown error 99999"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct error err = ERROR_NONE;
        int rc = error_set_errno(&err, ROWS[i].number, "could not write \"%s\"", "/a/b");
        if (rc != ROWS[i].code || err.code != rc || strcmp(err.message, ROWS[i].message) != 0)
            fail_msg("errno %d: %s (%s)", ROWS[i].number, err.message, error_code_name(rc));
        assert_int_equal(error_set_errno(NULL, ROWS[i].number, "x"), ROWS[i].code);
    }
}

static void test_prefix_and_hint(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    assert_int_equal(error_set(&err, ERR_SQL, "%s failed: %d", "LOCK", 7), ERR_SQL);
    assert_int_equal(error_hint(&err, "look at %s", "the log"), ERR_SQL);
    assert_int_equal(error_prefix(&err, "database \"%s\"", "app"), ERR_SQL);
    assert_int_equal(error_prefix(&err, "nightly"), ERR_SQL);
    assert_string_equal(err.message, "nightly: database \"app\": LOCK failed: 7");
    assert_string_equal(err.hint, "look at the log"); /* a prefix keeps it */
    error_set(&err, ERR_IO, "again: %s", err.message);
    assert_string_equal(err.message, "again: nightly: database \"app\": LOCK failed: 7");
    assert_string_equal(err.hint, ""); /* it belonged to the old error */
    error_clear(&err);
    assert_int_equal(err.code, 0);
    assert_string_equal(err.message, "");
    assert_int_equal(error_no_memory(&err), ERR_MEMORY);
    assert_string_equal(err.message, "out of memory");
}

static void test_cure(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    assert_string_equal(error_cure(&err), "");
    error_set(&err, ERR_FAILED, "x");
    assert_string_equal(error_cure(&err), ""); /* only the place knows */
    error_set(&err, ERR_AUTH, "x");
    assert_string_equal(error_cure(&err), "check user and password, and the server's pg_hba.conf");
    error_hint(&err, "ask ann");
    assert_string_equal(error_cure(&err), "ask ann");
}

/* Only what could not be read turns into "could not tell", and keeps its own cure. */
static void test_as_unknown(void **state)
{
    (void)state;
    static const int TURNED[] = {ERR_IO, ERR_PERMISSION, ERR_CORRUPT};
    static const int KEPT[] = {ERR_USAGE, ERR_BUSY, ERR_MEMORY, ERR_CONNECTION, ERR_UNKNOWN};
    struct error err = ERROR_NONE;
    char cure[ERROR_HINT_MAX];
    for (size_t i = 0; i < ARRAY_SIZE(TURNED); i++) {
        error_set(&err, TURNED[i], "x");
        snprintf(cure, sizeof(cure), "%s", error_cure(&err));
        assert_int_equal(error_as_unknown(&err), ERR_UNKNOWN);
        assert_int_equal(err.code, ERR_UNKNOWN);
        assert_string_equal(error_cure(&err), cure);
    }
    for (size_t i = 0; i < ARRAY_SIZE(KEPT); i++) {
        error_set(&err, KEPT[i], "x");
        assert_int_equal(error_as_unknown(&err), KEPT[i]);
        assert_string_equal(err.hint, "");
    }
    assert_true(error_as_unknown(NULL) < 0);
}

static void test_without_struct(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, ERR_BUSY, "x"), ERR_BUSY);
    assert_int_equal(error_no_memory(NULL), ERR_MEMORY);
    assert_true(error_hint(NULL, "x") < 0);
    assert_true(error_prefix(NULL, "x") < 0);
}

/* Texts of every length around the limits: cut, never past the end. */
static void test_long_texts(void **state)
{
    (void)state;
    char text[ERROR_MESSAGE_MAX + 200];
    memset(text, 'x', sizeof(text));
    for (size_t length = ERROR_MESSAGE_MAX - 200; length < sizeof(text); length++) {
        struct error err = ERROR_NONE;
        size_t most = ERROR_MESSAGE_MAX - 1;
        error_set(&err, ERR_IO, "%.*s", (int)length, text);
        assert_int_equal(strlen(err.message), length < most ? length : most);
        error_prefix(&err, "p");
        assert_int_equal(strlen(err.message), length + 3 < most ? length + 3 : most);
        assert_memory_equal(err.message, "p: xxx", 6);
        error_prefix(&err, "%.*s", (int)length, text);
        assert_int_equal(strlen(err.message), most);
        error_hint(&err, "%.*s", (int)length, text);
        assert_int_equal(strlen(err.hint), ERROR_HINT_MAX - 1);
        error_set_errno(&err, ENOENT, "%.*s", (int)length, text); /* the reason is always there */
        assert_string_equal(err.message + strlen(err.message) - 10, " directory");
    }
}

/* A cut never leaves half a character: such a text could not be written as JSON. */
static void test_cut_between_characters(void **state)
{
    (void)state;
    static const char *const CHARACTERS[] = {"\303\244", "\342\202\254", "\360\237\230\200"};
    for (size_t i = 0; i < ARRAY_SIZE(CHARACTERS); i++) {
        size_t width = strlen(CHARACTERS[i]);
        for (size_t shift = 0; shift < width; shift++) {
            struct buf text = BUF_INIT(10000);
            struct error err = ERROR_NONE;
            buf_add(&text, "aaaa", shift);
            while (text.length < ERROR_MESSAGE_MAX + 100)
                buf_add_text(&text, CHARACTERS[i]);
            error_set(&err, ERR_SQL, "%s", buf_text(&text));
            error_hint(&err, "%s", buf_text(&text));
            assert_int_equal((strlen(err.message) - shift) % width, 0);
            assert_true(strlen(err.message) > ERROR_MESSAGE_MAX - 1 - width);
            assert_int_equal((strlen(err.hint) - shift) % width, 0);
            error_prefix(&err, "b");
            assert_int_equal((strlen(err.message) - 3 - shift) % width, 0);
            error_set_errno(&err, EIO, "%s", buf_text(&text));
            assert_int_equal((strlen(err.message) - strlen(": Input/output error") - shift) % width,
                             0);
            buf_clear(&text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_list_is_sound),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_prefix_and_hint),
        cmocka_unit_test(test_as_unknown),
        cmocka_unit_test(test_cure),
        cmocka_unit_test(test_without_struct),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
