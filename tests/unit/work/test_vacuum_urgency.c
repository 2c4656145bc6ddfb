/* Urgency of tables: class, score, what is done, by a table of cases around every mark. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/instant.h"
#include "work/vacuum_urgency.h"

/* Each case is a quiet table but for what it overrides. */
#pragma GCC diagnostic ignored "-Woverride-init"

/* A quiet table of 1000 rows under the default settings. */
#define QUIET                                                                                     \
    .can_analyze = true, .rows = 1000, .pages = 10, .visible_pages = 10, .has_statistics = true,  \
    .ever_vacuumed = true, .analyzed_us = 5, .children_analyzed_us = INSTANT_NONE,                \
    .vacuum_threshold = 50, .vacuum_scale = 0.2, .vacuum_max_threshold = -1,                      \
    .insert_threshold = 1000, .insert_scale = 0.2, .analyze_threshold = 50, .analyze_scale = 0.1, \
    .freeze_max_age = 200e6, .mxid_freeze_max_age = 400e6, .failsafe_age = 1600e6,                \
    .mxid_failsafe_age = 1600e6

static const struct {
    const char *what;
    struct pg_candidate table;
    bool analyze, chosen;
    enum urgency_class class;
    double score;
    bool do_vacuum, do_analyze;
} CASES[] = {
    {"quiet", {QUIET}, true, false, URGENCY_NONE, 0, false, false},
    {"quiet, chosen", {QUIET}, true, true, URGENCY_CHOSEN, 0, true, true},
    {"quiet, chosen, no analyze", {QUIET}, false, true, URGENCY_CHOSEN, 0, true, false},
    /* 50 + 0.2 * 1000 = 250 */
    {"dead rows below", {QUIET, .dead_rows = 62}, true, false, URGENCY_NONE, 0, false, false},
    {"dead rows at", {QUIET, .dead_rows = 63}, true, false, URGENCY_DEAD, 0.252, true, true},
    {"dead rows, no analyze",
     {QUIET, .dead_rows = 250},
     false,
     false,
     URGENCY_DEAD,
     1,
     true,
     false},
    {"dead rows capped",
     {QUIET, .dead_rows = 63, .vacuum_max_threshold = 100},
     true,
     false,
     URGENCY_DEAD,
     0.63,
     true,
     true},
    {"dead rows, storage parameter of 0",
     {QUIET, .dead_rows = 1, .vacuum_threshold = 0, .vacuum_scale = 0},
     true,
     false,
     URGENCY_DEAD,
     1,
     true,
     true},
    {"dead rows of TOAST",
     {QUIET, .toast_dead_rows = 500, .toast_rows = 250},
     true,
     false,
     URGENCY_DEAD,
     5,
     true,
     true},
    /* 1000 + 0.2 * 1000 = 1200 */
    {"inserts below", {QUIET, .inserted_rows = 299}, true, false, URGENCY_NONE, 0, false, false},
    {"inserts at",
     {QUIET, .inserted_rows = 300},
     true,
     false,
     URGENCY_VISIBILITY,
     0.25,
     true,
     true},
    {"inserts switched off",
     {QUIET, .inserted_rows = 9999, .insert_threshold = -1},
     true,
     false,
     URGENCY_NONE,
     0,
     false,
     false},
    {"counters lost",
     {QUIET, .ever_vacuumed = false, .visible_pages = 0},
     true,
     false,
     URGENCY_VISIBILITY,
     1,
     true,
     true},
    {"never vacuumed, but the counters know of an insert",
     {QUIET, .ever_vacuumed = false, .visible_pages = 0, .inserted_rows = 1},
     true,
     false,
     URGENCY_NONE,
     0,
     false,
     false},
    {"counters lost, but the map is there",
     {QUIET, .ever_vacuumed = false},
     true,
     false,
     URGENCY_NONE,
     0,
     false,
     false},
    /* 50 + 0.1 * 1000 = 150 */
    {"changes below", {QUIET, .changed_rows = 37}, true, false, URGENCY_NONE, 0, false, false},
    {"changes at",
     {QUIET, .changed_rows = 38},
     true,
     false,
     URGENCY_STALE,
     38 / 150.0,
     false,
     true},
    {"changes, no analyze",
     {QUIET, .changed_rows = 999},
     false,
     false,
     URGENCY_NONE,
     0,
     false,
     false},
    {"no statistics",
     {QUIET, .has_statistics = false},
     true,
     false,
     URGENCY_UNKNOWN,
     1,
     false,
     true},
    {"no statistics, nothing in it",
     {QUIET, .has_statistics = false, .rows = 0, .pages = 0},
     true,
     false,
     URGENCY_NONE,
     0,
     false,
     false},
    {"no statistics before dead rows, both done",
     {QUIET, .has_statistics = false, .dead_rows = 500},
     true,
     false,
     URGENCY_UNKNOWN,
     2,
     true,
     true},
    {"freeze below", {QUIET, .xid_age = 149999999}, true, false, URGENCY_NONE, 0, false, false},
    {"freeze at", {QUIET, .xid_age = 150000000}, true, false, URGENCY_FREEZE, 0.75, true, true},
    {"freeze by multixacts",
     {QUIET, .mxid_age = 300000000},
     true,
     false,
     URGENCY_FREEZE,
     0.75,
     true,
     true},
    {"freeze is below the failsafe",
     {QUIET, .xid_age = 1199999999},
     true,
     false,
     URGENCY_FREEZE,
     1199999999 / 200e6,
     true,
     true},
    {"wraparound", {QUIET, .xid_age = 1200000000}, true, false, URGENCY_WRAPAROUND, 6, true, true},
    {"wraparound by multixacts",
     {QUIET, .mxid_age = 1200000000},
     false,
     false,
     URGENCY_WRAPAROUND,
     3,
     true,
     false},
    {"partitions changed",
     {QUIET, .kind = PG_PARTITIONED_TABLE, .is_parent = true, .changed_rows = 150},
     true,
     false,
     URGENCY_STALE,
     1,
     false,
     true},
    {"partitions analysed later",
     {QUIET, .kind = PG_PARTITIONED_TABLE, .is_parent = true,
      .children_analyzed_us = 6 + URGENCY_ONE_GO_US},
     true,
     false,
     URGENCY_STALE,
     0.25,
     false,
     true},
    {"partitions analysed in one go",
     {QUIET, .kind = PG_PARTITIONED_TABLE, .is_parent = true,
      .children_analyzed_us = 5 + URGENCY_ONE_GO_US},
     true,
     false,
     URGENCY_NONE,
     0,
     false,
     false},
    {"ANALYZE does not take it",
     {QUIET, .can_analyze = false, .has_statistics = false, .dead_rows = 250},
     true,
     false,
     URGENCY_DEAD,
     1,
     true,
     false},
    {"partitions analysed before",
     {QUIET, .kind = PG_PARTITIONED_TABLE, .is_parent = true, .children_analyzed_us = 4},
     true,
     false,
     URGENCY_NONE,
     0,
     false,
     false},
    {"partitioned, no statistics",
     {QUIET, .kind = PG_PARTITIONED_TABLE, .is_parent = true, .has_statistics = false},
     true,
     false,
     URGENCY_UNKNOWN,
     1,
     false,
     true},
    {"partitioned, chosen, no analyze",
     {QUIET, .kind = PG_PARTITIONED_TABLE, .is_parent = true},
     false,
     true,
     URGENCY_NONE,
     0,
     false,
     false},
    {"partitioned, chosen",
     {QUIET, .kind = PG_PARTITIONED_TABLE, .is_parent = true},
     true,
     true,
     URGENCY_CHOSEN,
     0,
     false,
     true},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct urgency got = urgency_of(&CASES[i].table, CASES[i].analyze, CASES[i].chosen);
        double off = got.score - CASES[i].score;
        if (got.class != CASES[i].class || off > 1e-9 || off < -1e-9 ||
            got.vacuum != CASES[i].do_vacuum || got.analyze != CASES[i].do_analyze)
            fail_msg("%s: class %s, score %f, vacuum %d, analyze %d", CASES[i].what,
                     urgency_class_name(got.class), got.score, got.vacuum, got.analyze);
        if ((got.class == URGENCY_NONE) != (got.reason[0] == '\0'))
            fail_msg("%s: reason \"%s\"", CASES[i].what, got.reason);
    }
}

static void test_reason_names_value_and_mark(void **state)
{
    (void)state;
    struct pg_candidate table = {QUIET, .dead_rows = 1200};
    struct urgency got = urgency_of(&table, true, false);
    assert_string_equal(got.reason, "1200 dead rows, autovacuum's mark is 250");
    assert_string_equal(urgency_class_name(got.class), "dead-rows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_reason_names_value_and_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
