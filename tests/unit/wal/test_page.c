/* The first page of a segment, as servers of 13 to 18 write it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "wal/page.h"

struct header {
    uint16_t magic, info;
    uint32_t timeline;
    uint64_t address;
    uint32_t remaining, unused;
    uint64_t system;
    uint32_t segment_size, block_size;
};

static const struct header GOOD = {0xD110,   2,   1, 0x3000000, 0, 0, UINT64_C(7580000000000000001),
                                   16 << 20, 8192};

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        uint16_t magic;
        int major;
    } ROWS[] = {{0xD106, 13}, {0xD10D, 14}, {0xD110, 15}, {0xD113, 16}, {0xD116, 17}, {0xD118, 18}};
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct header header = GOOD;
        struct wal_page page;
        header.magic = ROWS[i].magic;
        header.info |= 5; /* other flags do not matter */
        assert_int_equal(wal_page_read(&header, sizeof(header), &page, NULL), 0);
        assert_int_equal(page.server_major, ROWS[i].major);
        assert_int_equal(page.timeline, 1);
        assert_true(page.address == GOOD.address && page.system_identifier == GOOD.system);
        assert_int_equal(page.segment_size, 16 << 20);
    }
}

static void test_damage(void **state)
{
    (void)state;
    struct header rows[] = {GOOD, GOOD, GOOD, GOOD};
    static const char *const MESSAGES[] = {"magic number D101", "first page of a segment",
                                           "segments of 3", "segments of 0"};
    rows[0].magic = 0xD101;
    rows[1].info = 1;
    rows[2].segment_size = 3;
    rows[3].segment_size = 0;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct wal_page page;
        struct error error = ERROR_NONE;
        int rc = wal_page_read(&rows[i], sizeof(rows[i]), &page, &error);
        if (rc != ERR_CORRUPT || !strstr(error.message, MESSAGES[i]))
            fail_msg("row %zu: %d \"%s\"", i, rc, error.message);
    }
    struct wal_page page;
    assert_int_equal(wal_page_read(&GOOD, sizeof(GOOD) - 1, &page, NULL), ERR_CORRUPT);
}

static void test_fits_its_name(void **state)
{
    (void)state;
    static const struct {
        const char *name, *message; /* NULL: it fits */
    } ROWS[] = {
        {"000000010000000000000003", NULL},
        {"000000010000000000000003.partial", NULL},
        {"000000020000000000000003", NULL}, /* copied from before the switch */
        {"000000010000000000000004", "position 0/3000000, not of 000000010000000000000004"},
        {"000000010000000300000000", "not of"},
        {"000000010000000000000100", "has none named"},
    };
    struct wal_page page;
    assert_int_equal(wal_page_read(&GOOD, sizeof(GOOD), &page, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct wal_name name;
        struct error error = ERROR_NONE;
        assert_true(wal_name_parse(ROWS[i].name, &name));
        int rc = wal_page_check(&page, &name, &error);
        if (rc != (ROWS[i].message ? ERR_CORRUPT : 0) ||
            (rc && !strstr(error.message, ROWS[i].message)))
            fail_msg("%s: %d \"%s\"", ROWS[i].name, rc, error.message);
    }
    struct wal_name name;
    page.timeline = 2;
    assert_true(wal_name_parse("000000010000000000000003", &name));
    assert_int_equal(wal_page_check(&page, &name, NULL), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_fits_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
