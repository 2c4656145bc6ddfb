/* The messages of a WAL stream, as the protocol has them byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/instant.h"
#include "postgres/slot.h"
#include "postgres/wal_message.h"

static const char DATA[] = "w"
                           "\0\0\0\1\x23\x45\x67\x89"
                           "\0\0\0\1\x23\x50\0\0"
                           "\0\0\0\0\0\x0f\x42\x40"
                           "some WAL";
static const char KEEPALIVE[] = "k"
                                "\xff\xff\xff\xff\0\0\0\2"
                                "\0\0\0\0\0\0\0\1"
                                "\1";

static void test_data(void **state)
{
    struct wal_message message;
    (void)state;
    assert_int_equal(wal_message_read(DATA, sizeof(DATA) - 1, &message, NULL), 0);
    assert_int_equal(message.kind, WAL_MESSAGE_DATA);
    assert_true(message.lsn == UINT64_C(0x123456789));
    assert_true(message.end_lsn == UINT64_C(0x123500000));
    assert_true(message.sent_us == INT64_C(946684801000000)); /* a second after 2000-01-01 */
    assert_int_equal(message.length, 8);
    assert_memory_equal(message.data, "some WAL", 8);
    assert_int_equal(wal_message_read(DATA, 25, &message, NULL), 0);
    assert_int_equal(message.length, 0);
}

static void test_keepalive(void **state)
{
    struct wal_message message;
    char quiet[sizeof(KEEPALIVE)];
    (void)state;
    assert_int_equal(wal_message_read(KEEPALIVE, sizeof(KEEPALIVE) - 1, &message, NULL), 0);
    assert_int_equal(message.kind, WAL_MESSAGE_KEEPALIVE);
    assert_true(message.end_lsn == UINT64_C(0xffffffff00000002));
    assert_true(message.sent_us == INT64_C(946684800000001));
    assert_true(message.wants_reply);
    memcpy(quiet, KEEPALIVE, sizeof(quiet));
    quiet[17] = 0;
    assert_int_equal(wal_message_read(quiet, sizeof(quiet) - 1, &message, NULL), 0);
    assert_false(message.wants_reply);
}

static void test_refused(void **state)
{
    static const struct {
        const char *data;
        size_t length;
        const char *words;
    } ROWS[] = {
        {"", 0, "an unknown message of 0 bytes"},  {"x", 1, "an unknown message of 1 bytes"},
        {DATA, 24, "a short message of 24 bytes"}, {KEEPALIVE, 17, "a short keepalive of 17 bytes"},
        {"w", 1, "a short message of 1 bytes"},    {"k", 1, "a short keepalive of 1 bytes"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct wal_message message = {.length = 77};
        struct error err = ERROR_NONE;
        assert_int_equal(wal_message_read(ROWS[i].data, ROWS[i].length, &message, &err),
                         ERR_FAILED);
        if (!strstr(err.message, ROWS[i].words))
            fail_msg("row %zu: %s", i, err.message);
        assert_int_equal(message.length, 77);
    }
}

static void test_status(void **state)
{
    unsigned char bytes[WAL_MESSAGE_STATUS];
    static const char EXPECTED[] = "r"
                                   "\0\0\0\0\1\0\0\0"
                                   "\0\0\0\0\2\0\0\0"
                                   "\x12\x34\x56\x78\x9a\xbc\xde\xf0"
                                   "\0\0\0\0\0\0\0\5"
                                   "\1";
    struct wal_message_status status = {.written_lsn = 0x1000000,
                                        .flushed_lsn = 0x2000000,
                                        .applied_lsn = UINT64_C(0x123456789abcdef0),
                                        .now_us = INT64_C(946684800000005),
                                        .wants_reply = true};
    (void)state;
    wal_message_status(&status, bytes);
    assert_memory_equal(bytes, EXPECTED, sizeof(bytes));
    status.wants_reply = false;
    wal_message_status(&status, bytes);
    assert_int_equal(bytes[33], 0);
}

static void test_slot_names(void **state)
{
    char name[PG_SLOT_NAME_MAX], cluster[64];
    static const char *const GOOD[] = {"a", "pgcairn_demo", "_1"};
    static const char *const BAD[] = {"", "A", "a-b", "a b", "a\"", "\xc3\xa9"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(GOOD); i++)
        assert_true(pg_slot_name_valid(GOOD[i]));
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++)
        assert_false(pg_slot_name_valid(BAD[i]));
    assert_string_equal(pg_slot_name_of("my-shop-2", name), "pgcairn_my_shop_2");
    memset(cluster, 'x', 63);
    cluster[63] = '\0';
    assert_true(pg_slot_name_valid(pg_slot_name_of(cluster, name)));
    assert_int_equal(strlen(name), 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data),       cmocka_unit_test(test_keepalive),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_status),
        cmocka_unit_test(test_slot_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
