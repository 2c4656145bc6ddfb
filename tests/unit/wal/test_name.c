/* Names of WAL files and positions, for every segment size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "wal/name.h"

#define MB INT64_C(1048576)

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct wal_name name;
    } ROWS[] = {
        {"000000010000000000000001", {WAL_SEGMENT, 1, 0, 1, 0}},
        {"0000000A000000FF000000FE", {WAL_SEGMENT, 10, 255, 254, 0}},
        {"FFFFFFFFFFFFFFFFFFFFFFFF", {WAL_SEGMENT, UINT32_MAX, UINT32_MAX, UINT32_MAX, 0}},
        {"000000010000000000000003.partial", {WAL_PARTIAL, 1, 0, 3, 0}},
        {"000000010000000000000003.00000028.backup", {WAL_BACKUP, 1, 0, 3, 0x28}},
        {"00000002.history", {WAL_HISTORY, 2, 0, 0, 0}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct wal_name name;
        char text[WAL_NAME_MAX];
        if (!wal_name_parse(ROWS[i].text, &name) || name.kind != ROWS[i].name.kind ||
            name.timeline != ROWS[i].name.timeline || name.log != ROWS[i].name.log ||
            name.segment != ROWS[i].name.segment || name.offset != ROWS[i].name.offset)
            fail_msg("%s was not read", ROWS[i].text);
        assert_string_equal(wal_name_format(&name, text), ROWS[i].text);
    }
}

static void test_no_names(void **state)
{
    (void)state;
    static const char *const ROWS[] = {
        "",
        "00000001",
        "00000001000000000000000",
        "0000000100000000000000011",
        "00000001000000000000000a",
        "000000000000000000000001",
        "00000000.history",
        "0000002.history",
        "00000002.History",
        "00000002.history.tmp",
        "000000010000000000000003.Partial",
        "000000010000000000000003.0000028.backup",
        "000000010000000000000003.backup",
        "RECOVERYXLOG",
        "archive_status",
        "000000010000000000000003.00000028.backup.done",
    };
    struct wal_name name;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++)
        if (wal_name_parse(ROWS[i], &name))
            fail_msg("\"%s\" was taken for a WAL file", ROWS[i]);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        int64_t size;
        uint64_t number;
        const char *name;
    } ROWS[] = {
        {MB, 4095, "000000010000000000000FFF"},     {MB, 4096, "000000010000000100000000"},
        {16 * MB, 255, "0000000100000000000000FF"}, {16 * MB, 256, "000000010000000100000000"},
        {64 * MB, 63, "00000001000000000000003F"},  {64 * MB, 64, "000000010000000100000000"},
        {1024 * MB, 3, "000000010000000000000003"}, {1024 * MB, 7, "000000010000000100000003"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct wal_name name = wal_segment_name(1, ROWS[i].number, ROWS[i].size);
        char text[WAL_NAME_MAX];
        assert_string_equal(wal_name_format(&name, text), ROWS[i].name);
        assert_true(wal_name_fits(&name, ROWS[i].size));
        assert_int_equal(wal_segment_number(&name, ROWS[i].size), ROWS[i].number);
        uint64_t start = wal_segment_start(ROWS[i].number, ROWS[i].size);
        assert_int_equal(wal_segment_at(start, ROWS[i].size), ROWS[i].number);
        assert_int_equal(wal_segment_before(start, ROWS[i].size), ROWS[i].number - 1);
        assert_int_equal(wal_segment_before(start + 1, ROWS[i].size), ROWS[i].number);
    }
    struct wal_name name;
    assert_true(wal_name_parse("000000010000000000000100", &name));
    assert_false(wal_name_fits(&name, 16 * MB));
    assert_true(wal_name_fits(&name, MB));
    assert_true(wal_name_parse("000000010000000000000001.00100000.backup", &name));
    assert_false(wal_name_fits(&name, MB));
}

static void test_segment_sizes(void **state)
{
    (void)state;
    for (int64_t size = MB; size <= 1024 * MB; size *= 2)
        assert_true(wal_segment_size_valid(size));
    static const int64_t BAD[] = {0, -MB, MB / 2, 3 * MB, 2048 * MB, 16 * MB + 1};
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++)
        assert_false(wal_segment_size_valid(BAD[i]));
}

static void test_order(void **state)
{
    (void)state;
    static const char *const ORDER[] = {"00000002.history",
                                        "00000003.history",
                                        "000000010000000000000009",
                                        "000000010000000000000009.00000028.backup",
                                        "000000010000000000000009.partial",
                                        "00000001000000000000000A",
                                        "000000020000000000000009"};
    for (size_t i = 0; i < ARRAY_SIZE(ORDER); i++)
        for (size_t j = 0; j < ARRAY_SIZE(ORDER); j++) {
            struct wal_name a, b;
            assert_true(wal_name_parse(ORDER[i], &a) && wal_name_parse(ORDER[j], &b));
            int order = wal_name_compare(&a, &b);
            if ((order < 0) != (i < j) || (order > 0) != (i > j))
                fail_msg("%s and %s are out of order", ORDER[i], ORDER[j]);
        }
}

static void test_positions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t lsn;
    } GOOD[] = {{"0/0", 0},
                {"0/3000028", 0x3000028},
                {"16/B374D848", UINT64_C(0x16B374D848)},
                {"FFFFFFFF/FFFFFFFF", UINT64_MAX}};
    uint64_t lsn;
    char text[WAL_LSN_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_SIZE(GOOD); i++) {
        assert_int_equal(wal_lsn_parse(GOOD[i].text, &lsn, NULL), 0);
        assert_true(lsn == GOOD[i].lsn);
        assert_string_equal(wal_lsn_format(lsn, text), GOOD[i].text);
    }
    assert_int_equal(wal_lsn_parse("0/00000abc", &lsn, NULL), 0);
    assert_int_equal(lsn, 0xabc);
    static const char *const BAD[] = {"",      "/",      "0/",   "/0",          "0/0 ",
                                      " 0/0",  "1",      "0/g",  "0/123456789", "123456789/0",
                                      "0x1/0", "-1/000", "0/0/0"};
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++)
        if (wal_lsn_parse(BAD[i], &lsn, NULL) != ERR_USAGE)
            fail_msg("\"%s\" was taken for a position", BAD[i]);
    uint32_t timeline;
    assert_true(wal_timeline_parse("0000000A", &timeline) && timeline == 10);
    assert_false(wal_timeline_parse("00000000", &timeline));
    assert_false(wal_timeline_parse("0000000A0", &timeline));
    assert_false(wal_timeline_parse("marks", &timeline));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),         cmocka_unit_test(test_no_names),
        cmocka_unit_test(test_numbers),       cmocka_unit_test(test_order),
        cmocka_unit_test(test_segment_sizes), cmocka_unit_test(test_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
