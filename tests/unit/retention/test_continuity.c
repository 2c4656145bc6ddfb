/* Gaps, lag and recovery windows of made-up archives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "retention/continuity.h"

enum { SIZE = 16 << 20 };

#define HOUR US_PER_HOUR
#define LSN(segment) ((uint64_t)(segment)*SIZE)

static struct facts_wal facts;

static int setup(void **state)
{
    (void)state;
    return facts_wal_begin(&facts, "42", SIZE, NULL);
}

static int teardown(void **state)
{
    (void)state;
    facts_wal_clear(&facts);
    return 0;
}

/* Segments first to last of a timeline, each stored at its number of minutes. */
static struct facts_wal_timeline *store(uint32_t timeline, uint64_t first, uint64_t last)
{
    struct facts_wal_timeline *stored;
    assert_int_equal(facts_wal_add_timeline(&facts, timeline, &stored, NULL), 0);
    for (uint64_t i = first; i <= last; i++) {
        struct wal_name name = wal_segment_name(timeline, i, SIZE);
        assert_int_equal(
            facts_wal_add_segment(&facts, stored, &name, (int64_t)i * US_PER_MINUTE, 100, NULL), 0);
    }
    return stored;
}

static void history(struct facts_wal_timeline *stored, const char *text)
{
    assert_int_equal(
        wal_history_parse(stored->timeline, text, strlen(text), &stored->history, NULL), 0);
    stored->has_history = true;
}

static struct continuity judge(const struct continuity_question *question)
{
    struct continuity continuity;
    struct error error = ERROR_NONE;
    if (continuity_judge(&facts, question, &continuity, &error))
        fail_msg("%s", error.message);
    return continuity;
}

static void assert_gap(const struct continuity_gap *gap, const char *first, const char *last,
                       enum gap_state state)
{
    char text[WAL_NAME_MAX];
    assert_string_equal(wal_name_format(&gap->first, text), first);
    assert_string_equal(wal_name_format(&gap->last, text), last);
    assert_string_equal(gap_state_name(gap->state), gap_state_name(state));
}

static void test_whole(void **state)
{
    (void)state;
    store(1, 1, 10);
    struct continuity_question question = {
        .timeline = 1, .lsn = LSN(11) + 5000, .now_us = 11 * US_PER_MINUTE};
    struct continuity found = judge(&question);
    assert_true(found.has_wal && found.knows_chain);
    assert_int_equal(found.gap_total, 0);
    assert_int_equal(found.expected_last, 10);
    assert_int_equal(found.lag_segments, 0);
    assert_int_equal(found.lag_us, 0);
    assert_int_equal(found.newest_us, 10 * US_PER_MINUTE);
    assert_int_equal(found.window_count, 0); /* without a snapshot nothing can be recovered */
    continuity_clear(&found);
}

static void test_nothing_stored(void **state)
{
    (void)state;
    struct continuity_question question = {.timeline = 1, .lsn = LSN(3), .now_us = HOUR};
    struct continuity found = judge(&question);
    assert_false(found.has_wal);
    assert_int_equal(found.gap_total, 0);
    continuity_clear(&found);
}

/* Even at the end of a segment the next is begun and the one before is expected. */
static void test_what_is_expected(void **state)
{
    (void)state;
    static const struct {
        uint64_t lsn;
        int64_t lag;
    } ROWS[] = {{LSN(11), 0}, {LSN(11) + 40, 0}, {LSN(12) - 1, 0}, {LSN(12), 1}, {LSN(14) + 1, 3}};
    store(1, 1, 10);
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct continuity_question question = {
            .timeline = 1, .lsn = ROWS[i].lsn, .now_us = 60 * US_PER_MINUTE};
        struct continuity found = judge(&question);
        assert_int_equal(found.lag_segments, ROWS[i].lag);
        assert_int_equal(found.missing_segments, ROWS[i].lag);
        assert_int_equal(found.lag_us, ROWS[i].lag ? 50 * US_PER_MINUTE : 0);
        continuity_clear(&found);
    }
}

static enum gap_state locate(const struct wal_name *name, void *context)
{
    (void)context;
    return name->segment == 4 ? GAP_UPLOADING : name->segment < 6 ? GAP_LOST : GAP_DELAYED;
}

static void test_states_of_gaps(void **state)
{
    (void)state;
    struct facts_wal_timeline *stored = store(1, 1, 2);
    assert_int_equal(facts_wal_acknowledge(stored, 3, 3, NULL), 0);
    struct continuity_question question = {
        .timeline = 1, .lsn = LSN(8), .now_us = HOUR, .locate = locate};
    struct continuity found = judge(&question);
    assert_int_equal(found.gap_count, 4);
    assert_gap(&found.gaps[0], "000000010000000000000003", "000000010000000000000003",
               GAP_ACKNOWLEDGED);
    assert_gap(&found.gaps[1], "000000010000000000000004", "000000010000000000000004",
               GAP_UPLOADING);
    assert_gap(&found.gaps[2], "000000010000000000000005", "000000010000000000000005", GAP_LOST);
    assert_gap(&found.gaps[3], "000000010000000000000006", "000000010000000000000007", GAP_DELAYED);
    assert_int_equal(found.lost_gaps, 1);
    assert_int_equal(found.missing_segments, 5);
    continuity_clear(&found);
}

/* A gap closes the window before it; the next snapshot behind it opens another. */
static void test_windows_around_a_gap(void **state)
{
    (void)state;
    store(1, 1, 9);
    store(1, 12, 30);
    static const struct wal_anchor ANCHORS[] = {
        {"second", 1, LSN(14) + 40, LSN(14) + 900, 15 * US_PER_MINUTE},
        {"first", 1, LSN(3) + 40, LSN(3) + 900, 4 * US_PER_MINUTE},
        {"third", 1, LSN(20) + 40, LSN(20) + 900, 21 * US_PER_MINUTE},
    };
    struct continuity_question question = {.timeline = 1,
                                           .lsn = LSN(31),
                                           .now_us = HOUR,
                                           .anchors = ANCHORS,
                                           .anchor_count = ARRAY_SIZE(ANCHORS)};
    struct continuity found = judge(&question);
    assert_int_equal(found.gap_count, 1);
    assert_gap(&found.gaps[0], "00000001000000000000000A", "00000001000000000000000B", GAP_LOST);
    assert_int_equal(found.gaps[0].from_us, 9 * US_PER_MINUTE);
    assert_int_equal(found.gaps[0].until_us, 15 * US_PER_MINUTE);
    assert_int_equal(found.window_count, 2);
    assert_true(found.windows[0].from_us == 4 * US_PER_MINUTE &&
                found.windows[0].to_us == 9 * US_PER_MINUTE && !found.windows[0].is_open);
    assert_true(found.windows[1].from_us == 15 * US_PER_MINUTE &&
                found.windows[1].to_us == 30 * US_PER_MINUTE && found.windows[1].is_open);
    assert_string_equal(found.windows[1].anchor_id, "second");
    continuity_clear(&found);
}

/* WAL that was stored late, after an outage, does not close the gap behind it. */
static void test_windows_are_disjoint(void **state)
{
    (void)state;
    store(1, 3, 9); /* stored at 9 minutes, when the second snapshot had ended long ago */
    store(1, 12, 30);
    static const struct wal_anchor ANCHORS[] = {
        {"first", 1, LSN(3) + 40, LSN(3) + 900, 1 * US_PER_MINUTE},
        {"second", 1, LSN(14) + 40, LSN(14) + 900, 4 * US_PER_MINUTE},
        {"third", 1, LSN(15) + 40, LSN(15) + 900, 50 * US_PER_MINUTE},
    };
    struct continuity_question question = {.timeline = 1,
                                           .lsn = LSN(31),
                                           .now_us = HOUR,
                                           .anchors = ANCHORS,
                                           .anchor_count = ARRAY_SIZE(ANCHORS)};
    struct continuity found = judge(&question);
    assert_int_equal(found.window_count, 2);
    assert_true(found.windows[0].to_us == 4 * US_PER_MINUTE && !found.windows[0].is_open);
    assert_true(found.windows[1].from_us == 4 * US_PER_MINUTE && found.windows[1].is_open);
    assert_int_equal(found.windows[1].to_us, 50 * US_PER_MINUTE);
    continuity_clear(&found);
}

/* What was there before the oldest snapshot needs not be whole. */
static void test_it_begins_at_the_oldest_anchor(void **state)
{
    (void)state;
    store(1, 1, 2);
    store(1, 5, 10);
    static const struct wal_anchor ANCHOR = {"a", 1, LSN(5) + 40, LSN(5) + 99, 6 * US_PER_MINUTE};
    struct continuity_question question = {
        .timeline = 1, .lsn = LSN(11), .now_us = HOUR, .anchors = &ANCHOR, .anchor_count = 1};
    struct continuity found = judge(&question);
    assert_int_equal(found.gap_total, 0);
    continuity_clear(&found);
    question.anchor_count = 0;
    found = judge(&question);
    assert_int_equal(found.gap_total, 1);
    continuity_clear(&found);
}

/* A mark is better than the store's clock: what lies before it was committed and stored. */
static void test_marks(void **state)
{
    (void)state;
    store(1, 1, 4);
    struct facts_wal_timeline *stored = store(1, 7, 10);
    static const struct {
        int64_t minute;
        uint64_t lsn;
    } MARKS[] = {{2, LSN(3)}, {3, LSN(5)}, {8, LSN(9)}};
    for (size_t i = 0; i < ARRAY_SIZE(MARKS); i++)
        assert_int_equal(
            facts_wal_add_mark(stored, MARKS[i].minute * US_PER_MINUTE, MARKS[i].lsn, NULL), 0);
    struct continuity_question question = {.timeline = 1, .lsn = LSN(11), .now_us = HOUR};
    struct continuity found = judge(&question);
    assert_int_equal(found.gap_count, 1);
    assert_int_equal(found.gaps[0].from_us, 3 * US_PER_MINUTE);
    assert_true(found.gaps[0].until_us == INSTANT_NONE);
    continuity_clear(&found);
    question.lsn = LSN(15);
    found = judge(&question);
    assert_int_equal(found.lag_us, HOUR - 8 * US_PER_MINUTE);
    continuity_clear(&found);
}

/* Of timeline 1 what lies before the switch's segment is needed; that segment is of timeline 2. */
static void test_timelines(void **state)
{
    (void)state;
    store(1, 1, 5);
    struct facts_wal_timeline *second = store(2, 5, 8);
    history(second, "1\t0/5000100\tx\n");
    struct continuity_question question = {.timeline = 2, .lsn = LSN(9), .now_us = HOUR};
    struct continuity found = judge(&question);
    assert_int_equal(found.gap_total, 0);
    assert_int_equal(found.timeline, 2);
    continuity_clear(&found);
    question.timeline = 0; /* the server is not asked: the newest timeline to its end */
    found = judge(&question);
    assert_true(found.gap_total == 0 && found.timeline == 2 && found.expected_last == 8);
    continuity_clear(&found);
}

static void test_gap_at_a_switch(void **state)
{
    (void)state;
    store(1, 1, 3);
    struct facts_wal_timeline *second = store(2, 6, 8);
    history(second, "1\t0/5000100\tx\n");
    struct continuity_question question = {.timeline = 2, .lsn = LSN(9), .now_us = HOUR};
    struct continuity found = judge(&question);
    assert_int_equal(found.gap_count, 2);
    assert_gap(&found.gaps[0], "000000010000000000000004", "000000010000000000000004", GAP_LOST);
    assert_gap(&found.gaps[1], "000000020000000000000005", "000000020000000000000005", GAP_LOST);
    continuity_clear(&found);
    /* A snapshot of a branch that was left does not help this chain. */
    static const struct wal_anchor LEFT = {"a", 1, LSN(7), LSN(7) + 99, 8 * US_PER_MINUTE};
    question.anchors = &LEFT;
    question.anchor_count = 1;
    found = judge(&question);
    assert_int_equal(found.window_count, 0);
    continuity_clear(&found);
}

static void test_unknown_history(void **state)
{
    (void)state;
    store(1, 1, 5);
    store(2, 5, 8);
    struct continuity_question question = {.timeline = 2, .lsn = LSN(9), .now_us = HOUR};
    struct continuity found = judge(&question);
    assert_false(found.knows_chain);
    assert_int_equal(found.gap_total, 0);
    continuity_clear(&found);
}

/* What a prune has deleted is not missed, to the segment. */
static void test_pruned(void **state)
{
    (void)state;
    struct facts_wal_timeline *stored = store(1, 3, 4);
    store(1, 20, 30);
    assert_int_equal(facts_wal_add_pruned(stored, 0, 6, NULL), 0);
    assert_int_equal(facts_wal_add_pruned(stored, 5, 9, NULL), 0);
    assert_int_equal(facts_wal_add_pruned(stored, 12, 17, NULL), 0);
    static const struct wal_anchor ANCHORS[] = {
        {"old", 1, LSN(2) + 40, LSN(2) + 900, 3 * US_PER_MINUTE},
        {"alone", 1, LSN(7) + 40, LSN(7) + 900, 8 * US_PER_MINUTE},
        {"alone too", 1, LSN(8) + 40, LSN(8) + 900, 9 * US_PER_MINUTE},
        {"anchor", 1, LSN(20) + 40, LSN(20) + 900, 21 * US_PER_MINUTE},
    };
    struct continuity_question question = {.timeline = 1,
                                           .lsn = LSN(31),
                                           .now_us = HOUR,
                                           .anchors = ANCHORS,
                                           .anchor_count = ARRAY_SIZE(ANCHORS)};
    struct continuity found = judge(&question);
    assert_int_equal(found.gap_count, 5);
    assert_gap(&found.gaps[0], "000000010000000000000002", "000000010000000000000002", GAP_EXPIRED);
    assert_gap(&found.gaps[1], "000000010000000000000005", "000000010000000000000009", GAP_EXPIRED);
    assert_gap(&found.gaps[2], "00000001000000000000000A", "00000001000000000000000B", GAP_LOST);
    assert_gap(&found.gaps[3], "00000001000000000000000C", "000000010000000000000011", GAP_EXPIRED);
    assert_gap(&found.gaps[4], "000000010000000000000012", "000000010000000000000013", GAP_LOST);
    assert_int_equal(found.lost_gaps, 2);
    assert_int_equal(found.pending_gaps, 0);
    assert_int_equal(found.missing_segments, 4);
    assert_int_equal(found.window_count, 4); /* three moments, and what the anchor reaches */
    static const int64_t MOMENTS[] = {3, 8, 9};
    for (size_t i = 0; i < ARRAY_SIZE(MOMENTS); i++)
        assert_true(found.windows[i].from_us == MOMENTS[i] * US_PER_MINUTE &&
                    found.windows[i].to_us == MOMENTS[i] * US_PER_MINUTE);
    assert_true(found.windows[3].from_us == 21 * US_PER_MINUTE && found.windows[3].is_open);
    continuity_clear(&found);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole),
        TEST(test_nothing_stored),
        TEST(test_what_is_expected),
        TEST(test_states_of_gaps),
        TEST(test_windows_around_a_gap),
        TEST(test_it_begins_at_the_oldest_anchor),
        TEST(test_marks),
        TEST(test_timelines),
        TEST(test_gap_at_a_switch),
        TEST(test_unknown_history),
        TEST(test_pruned),
        TEST(test_windows_are_disjoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
