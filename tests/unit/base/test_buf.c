/* Buffers: the limit to the byte, failures that stick, and the NUL that is always there. */
#include "case.h"

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        size_t limit, first, second;
        int rc; /* of the second */
    } ROWS[] = {
        {0, 0, 0, 0},
        {0, 0, 1, ERR_LIMIT},
        {1, 0, 1, 0},
        {1, 1, 0, 0},
        {1, 1, 1, ERR_LIMIT},
        {10, 10, 0, 0},
        {10, 4, 6, 0},
        {10, 4, 7, ERR_LIMIT},
        {10, 0, 11, ERR_LIMIT},
        {63, 0, 63, 0},
        {64, 63, 1, 0},
        {64, 64, 1, ERR_LIMIT},
        {65, 64, 1, 0},
        {1000, 1, 999, 0},
        {1000, 1, 1000, ERR_LIMIT},
        {1000, 1, SIZE_MAX, ERR_LIMIT},
        {100000, 99999, 1, 0},
        {100000, 99999, 2, ERR_LIMIT},
    };
    static char bytes[100001];
    memset(bytes, 'x', sizeof(bytes));
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct buf buf = BUF_INIT(ROWS[i].limit);
        assert_int_equal(buf_add(&buf, bytes, ROWS[i].first), 0);
        int rc = buf_add(&buf, bytes, ROWS[i].second);
        size_t length = ROWS[i].first + (ROWS[i].rc ? 0 : ROWS[i].second);
        if (rc != ROWS[i].rc || buf.length != length || strlen(buf_text(&buf)) != length ||
            buf.allocated > ROWS[i].limit + 1)
            fail_msg("limit %zu, %zu and %zu: %s, length %zu, allocated %zu", ROWS[i].limit,
                     ROWS[i].first, ROWS[i].second, error_code_name(rc), buf.length, buf.allocated);
        buf_clear(&buf);
    }
}

/* The same edge for formatted text, byte by byte through several growths. */
static void test_growth(void **state)
{
    (void)state;
    enum { LIMIT = 5000 };
    struct buf buf = BUF_INIT(LIMIT);
    for (int i = 0; i < LIMIT / 5; i++) {
        assert_int_equal(buf_addf(&buf, "%04d,", i), 0);
        assert_int_equal(buf.data[buf.length], '\0');
    }
    assert_int_equal(buf.length, LIMIT);
    assert_int_equal(buf_addf(&buf, "%s", ""), 0);
    assert_int_equal(buf_addf(&buf, "%d", 1), ERR_LIMIT);
    assert_int_equal(buf.length, LIMIT);
    for (int i = 0; i < LIMIT / 5; i++) {
        char piece[8];
        snprintf(piece, sizeof(piece), "%04d,", i);
        assert_memory_equal(buf.data + (size_t)i * 5, piece, 5);
    }
    buf_clear(&buf);
}

static void test_failure_sticks(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 5);
    assert_ok(buf_failed(&buf, "the list", &case_err));
    assert_int_equal(buf_add_text(&buf, "abc"), 0);
    assert_int_equal(buf_add_text(&buf, "def"), ERR_LIMIT);
    assert_int_equal(buf_add_text(&buf, "d"), ERR_LIMIT); /* would fit, but a piece is lost */
    assert_int_equal(buf_addf(&buf, "%s", ""), ERR_LIMIT);
    assert_null(buf_reserve(&buf, 0));
    assert_fails(buf_failed(&buf, "the list", &case_err), ERR_LIMIT,
                 "the list is larger than 5 bytes");
    assert_string_equal(buf_text(&buf), "abc");
    buf_reset(&buf);
    assert_string_equal(buf_text(&buf), "");
    assert_ok(buf_failed(&buf, "the list", &case_err));
    assert_int_equal(buf_add_text(&buf, "defgh"), 0);
    assert_string_equal(buf_text(&buf), "defgh");
    buf_clear(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.limit, 5);
    assert_int_equal(buf_add_text(&buf, "again"), 0);
    assert_string_equal(buf_text(&buf), "again");
    buf_clear(&buf);
    buf.failed = ERR_MEMORY;
    assert_fails(buf_failed(&buf, "the list", &case_err), ERR_MEMORY, "out of memory");
}

/* Reserved room is a string from the first moment, and keeps to the limit. */
static void test_reserve(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(100);
    assert_string_equal(buf_text(&buf), "");
    char *room = buf_reserve(&buf, 40);
    assert_non_null(room);
    assert_string_equal(buf_text(&buf), "");
    memset(room, 'x', 40); /* its NUL stands behind */
    buf.length += 40;
    room = buf_reserve(&buf, 60);
    assert_ptr_equal(room, buf.data + 40);
    assert_int_equal(strlen(buf_text(&buf)), 40);
    memset(room, 'y', 60);
    buf.length += 60;
    assert_non_null(buf_reserve(&buf, 0));
    assert_int_equal(strlen(buf_text(&buf)), 100);
    assert_null(buf_reserve(&buf, 1));
    assert_int_equal(buf.failed, ERR_LIMIT);
    buf_clear(&buf);
}

static void test_steal(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(10);
    _cleanup_(freep) char *nothing = buf_steal(&buf);
    assert_string_equal(nothing, "");
    assert_int_equal(buf_add(&buf, "a\0b", 3), 0);
    _cleanup_(freep) char *bytes = buf_steal(&buf);
    assert_memory_equal(bytes, "a\0b", 4);
    assert_null(buf.data);
    assert_int_equal(buf.length, 0);
    assert_int_equal(buf.limit, 10);
    assert_int_equal(buf_add_text(&buf, "0123456789"), 0);
    assert_int_equal(buf_add_text(&buf, "x"), ERR_LIMIT);
    buf_clear(&buf);
}

/* Limits that no memory can meet do not overflow on the way to being refused. */
static void test_huge_limit(void **state)
{
    (void)state;
    static const size_t LIMITS[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 1};
    for (size_t i = 0; i < ARRAY_SIZE(LIMITS); i++) {
        struct buf buf = BUF_INIT(LIMITS[i]);
        assert_int_equal(buf_add_text(&buf, "abc"), 0);
        assert_null(buf_reserve(&buf, LIMITS[i] - 3));
        assert_int_equal(buf.failed, ERR_MEMORY);
        assert_string_equal(buf_text(&buf), "abc");
        buf_clear(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_growth),
        cmocka_unit_test(test_failure_sticks), cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_steal),          cmocka_unit_test(test_huge_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
