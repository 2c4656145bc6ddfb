/* A listing of segments becomes ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "facts/wal.h"

enum { SIZE = 16 << 20 };

static void add(struct facts_wal *wal, struct facts_wal_timeline *timeline, uint64_t number)
{
    struct wal_name name = wal_segment_name(timeline->timeline, number, SIZE);
    assert_int_equal(facts_wal_add_segment(wal, timeline, &name, (int64_t)number, 10, NULL), 0);
}

static void test_ranges(void **state)
{
    (void)state;
    static const uint64_t NUMBERS[] = {3, 4, 5, 254, 255, 256, 257, 300};
    struct facts_wal wal;
    struct facts_wal_timeline *timeline;
    uint64_t newest;
    assert_int_equal(facts_wal_begin(&wal, "12345", SIZE, NULL), 0);
    assert_int_equal(facts_wal_add_timeline(&wal, 1, &timeline, NULL), 0);
    assert_false(facts_wal_newest(timeline, &newest));
    assert_null(facts_wal_find(timeline, 3));
    for (size_t i = 0; i < ARRAY_SIZE(NUMBERS); i++)
        add(&wal, timeline, NUMBERS[i]);
    assert_int_equal(timeline->range_count, 3);
    const struct facts_wal_range *range = facts_wal_find(timeline, 255);
    assert_true(range && range->first == 254 && range->last == 257 && range->bytes == 40);
    assert_true(range->first_stored_us == 254 && range->last_stored_us == 257);
    assert_null(facts_wal_find(timeline, 6));
    assert_null(facts_wal_find(timeline, 258));
    assert_true(facts_wal_newest(timeline, &newest) && newest == 300);
    assert_int_equal(wal.fault_count, 0);
    facts_wal_clear(&wal);
}

static void test_a_name_twice_is_a_fault(void **state)
{
    (void)state;
    struct facts_wal wal;
    struct facts_wal_timeline *timeline;
    assert_int_equal(facts_wal_begin(&wal, "12345", SIZE, NULL), 0);
    assert_int_equal(facts_wal_add_timeline(&wal, 2, &timeline, NULL), 0);
    for (int i = 0; i < FACTS_WAL_FAULTS_MAX + 5; i++)
        add(&wal, timeline, 7);
    assert_int_equal(timeline->range_count, 1);
    assert_int_equal(wal.fault_count, FACTS_WAL_FAULTS_MAX + 4);
    assert_int_equal(wal.faults[FACTS_WAL_FAULTS_MAX - 1].segment, 7);
    facts_wal_clear(&wal);
}

static void test_order_is_demanded(void **state)
{
    (void)state;
    struct facts_wal wal;
    struct facts_wal_timeline *timeline, *same;
    struct wal_name name = wal_segment_name(2, 6, SIZE);
    assert_int_equal(facts_wal_begin(&wal, "12345", SIZE, NULL), 0);
    assert_int_equal(facts_wal_add_timeline(&wal, 2, &timeline, NULL), 0);
    assert_int_equal(facts_wal_add_timeline(&wal, 2, &same, NULL), 0);
    assert_ptr_equal(timeline, same);
    add(&wal, timeline, 7);
    assert_int_equal(facts_wal_add_segment(&wal, timeline, &name, 0, 10, NULL), ERR_UNKNOWN);
    assert_int_equal(facts_wal_add_timeline(&wal, 1, &same, NULL), ERR_UNKNOWN);
    assert_null(facts_wal_timeline(&wal, 1));
    assert_ptr_equal(facts_wal_timeline(&wal, 2), timeline);
    facts_wal_clear(&wal);
    assert_int_equal(facts_wal_begin(&wal, "12345", SIZE + 1, NULL), ERR_USAGE);
    assert_int_equal(facts_wal_begin(&wal, "123456789012345678901", SIZE, NULL), ERR_USAGE);
}

/* Memory grows with the gaps, not with the segments. */
static void test_a_million_segments(void **state)
{
    (void)state;
    struct facts_wal wal;
    struct facts_wal_timeline *timeline;
    assert_int_equal(facts_wal_begin(&wal, "12345", SIZE, NULL), 0);
    assert_int_equal(facts_wal_add_timeline(&wal, 1, &timeline, NULL), 0);
    for (uint64_t i = 1; i <= 1000000; i++)
        if (i % 100000)
            add(&wal, timeline, i);
    assert_int_equal(timeline->range_count, 10);
    assert_true(timeline->range_allocated <= 16);
    assert_int_equal(timeline->ranges[9].last, 999999);
    facts_wal_clear(&wal);
}

/* Out of the middle, off either end, the only one, and what is not there. */
static void test_dropped_segments(void **state)
{
    (void)state;
    static const uint64_t NUMBERS[] = {3, 4, 5, 6, 7, 20}, DROPPED[] = {5, 3, 7, 20, 99, 5};
    struct facts_wal wal;
    struct facts_wal_timeline *timeline;
    assert_int_equal(facts_wal_begin(&wal, "12345", SIZE, NULL), 0);
    assert_int_equal(facts_wal_add_timeline(&wal, 1, &timeline, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(NUMBERS); i++)
        add(&wal, timeline, NUMBERS[i]);
    for (size_t i = 0; i < ARRAY_SIZE(DROPPED); i++) {
        struct wal_name name = wal_segment_name(1, DROPPED[i], SIZE);
        assert_int_equal(facts_wal_drop_segment(&wal, &name, 41, 42, NULL), 0);
        assert_null(facts_wal_find(timeline, DROPPED[i]));
        if (i > 0)
            continue;
        assert_int_equal(timeline->range_count, 3);
        assert_int_equal(timeline->ranges[0].last_stored_us, 41);
        assert_int_equal(timeline->ranges[1].first_stored_us, 42);
        assert_int_equal(timeline->ranges[1].last_stored_us, 7);
    }
    assert_int_equal(timeline->range_count, 2);
    assert_true(timeline->ranges[0].first == 4 && timeline->ranges[0].last == 4);
    assert_true(timeline->ranges[1].first == 6 && timeline->ranges[1].last == 6);
    facts_wal_clear(&wal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_a_name_twice_is_a_fault),
        cmocka_unit_test(test_order_is_demanded),
        cmocka_unit_test(test_a_million_segments),
        cmocka_unit_test(test_dropped_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
