/* Timeline histories: lines, and which timeline holds a position. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "wal/history.h"

static const char TEXT[] = "1\t0/5000060\tno recovery target specified\n"
                           "# a remark\n"
                           "\n"
                           "2\t0/9000000\tbefore 2026-11-21 02:00:00+00";

static void test_chain(void **state)
{
    (void)state;
    struct wal_history history;
    assert_int_equal(wal_history_parse(4, TEXT, strlen(TEXT), &history, NULL), 0);
    assert_int_equal(history.count, 2);
    static const struct {
        uint64_t lsn;
        uint32_t timeline;
    } ROWS[] = {{0, 1},         {0x500005F, 1}, {0x5000060, 2},
                {0x8FFFFFF, 2}, {0x9000000, 4}, {UINT64_MAX, 4}};
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++)
        if (wal_history_timeline_at(&history, ROWS[i].lsn) != ROWS[i].timeline)
            fail_msg("%lx is not on timeline %u", (unsigned long)ROWS[i].lsn, ROWS[i].timeline);
    uint64_t begin, end;
    assert_true(wal_history_span(&history, 2, &begin, &end));
    assert_true(begin == 0x5000060 && end == 0x9000000);
    assert_true(wal_history_span(&history, 4, &begin, &end));
    assert_true(begin == 0x9000000 && end == UINT64_MAX);
    assert_false(wal_history_span(&history, 3, &begin, &end));
    wal_history_clear(&history);
}

static void test_first_timeline_has_no_ancestors(void **state)
{
    (void)state;
    struct wal_history history;
    uint64_t begin, end;
    assert_int_equal(wal_history_parse(1, "", 0, &history, NULL), 0);
    assert_int_equal(wal_history_timeline_at(&history, 7), 1);
    assert_true(wal_history_span(&history, 1, &begin, &end) && begin == 0 && end == UINT64_MAX);
    wal_history_clear(&history);
}

static void test_damage(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } ROWS[] = {
        {"1 0/5000060 why\n1 0/6000000 why\n", "grow"},
        {"2 0/5000060 why\n1 0/6000000 why\n", "grow"},
        {"1 0/5000060 why\n2 0/4000000 why\n", "grow"},
        {"4 0/5000060 why\n", "grow"},
        {"0 0/5000060 why\n", "grow"},
        {"1\n", "line 1"},
        {"# x\n1 5000060 why\n", "line 2"},
        {"one 0/5000060 why\n", "line 1"},
        {"1 0/5000060123456789012345 why\n", "line 1"},
        {"4294967297 0/5000060 why\n", "line 1"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct wal_history history = {0};
        struct error error = ERROR_NONE;
        int rc = wal_history_parse(4, ROWS[i].text, strlen(ROWS[i].text), &history, &error);
        if (rc != ERR_CORRUPT || !strstr(error.message, ROWS[i].message) || history.ancestors)
            fail_msg("\"%s\": %d, \"%s\"", ROWS[i].text, rc, error.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_first_timeline_has_no_ancestors),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
