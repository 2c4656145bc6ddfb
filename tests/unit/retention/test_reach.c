/* Which snapshot a recovery begins from: by time, position and timeline; what is out of reach. */
#include "retention/reach.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct error test_err;

#define SEGMENT ((int64_t)16 << 20)
#define AT(segment) ((uint64_t)(segment)*16 << 20)
#define S(seconds) ((int64_t)(seconds)*US_PER_SECOND)

struct fixture {
    struct facts facts;
    struct facts_wal wal;
};

static void add_snapshot(struct fixture *f, const char *id, uint32_t timeline, int segment,
                         int stopped_s, enum backup_state state)
{
    struct facts_backup *backup;
    assert_int_equal(facts_add_backup(&f->facts, &backup, &test_err), 0);
    backup->id = strdup(id);
    backup->kind = BACKUP_SNAPSHOT;
    backup->state = state;
    backup->position = (struct facts_position){.system_identifier = "7",
                                               .timeline = timeline,
                                               .stop_timeline = timeline,
                                               .start_lsn = AT(segment) + 40,
                                               .stop_lsn = AT(segment) + 256,
                                               .stopped_us = S(stopped_s),
                                               .segment_size = SEGMENT};
}

/* Segments first to last, the n-th stored n * 10 seconds after the beginning. */
static void add_wal(struct fixture *f, uint32_t timeline, int first, int last)
{
    struct facts_wal_timeline *entry;
    assert_int_equal(facts_wal_add_timeline(&f->wal, timeline, &entry, &test_err), 0);
    for (int n = first; n <= last; n++) {
        struct wal_name name = wal_segment_name(timeline, (uint64_t)n, SEGMENT);
        assert_int_equal(facts_wal_add_segment(&f->wal, entry, &name, S(n * 10), 1000, &test_err),
                         0);
    }
}

/* Snapshots at segments 2, 5 and (damaged) 8; WAL 2 to 9, then 12 to 14; timeline 2 leaves 1 in
 * segment 7 and has 7 to 8. */
static void fill(struct fixture *f, bool with_branch)
{
    *f = (struct fixture){.facts = {.complete = true, .cluster = strdup("demo")}};
    add_snapshot(f, "a", 1, 2, 25, BACKUP_GOOD);
    add_snapshot(f, "b", 1, 5, 55, BACKUP_GOOD);
    add_snapshot(f, "c", 1, 8, 85, BACKUP_DAMAGED);
    assert_int_equal(facts_wal_begin(&f->wal, "7", SEGMENT, &test_err), 0);
    add_wal(f, 1, 2, 9);
    add_wal(f, 1, 12, 14);
    if (!with_branch)
        return;
    static const char history[] = "1\t0/7000100\tno recovery target specified\n";
    add_wal(f, 2, 7, 8);
    struct facts_wal_timeline *entry;
    assert_int_equal(facts_wal_add_timeline(&f->wal, 2, &entry, &test_err), 0);
    assert_int_equal(wal_history_parse(2, history, strlen(history), &entry->history, &test_err), 0);
    entry->has_history = true;
}

static void empty(struct fixture *f)
{
    facts_clear(&f->facts);
    facts_wal_clear(&f->wal);
}

static const struct {
    const char *label;
    struct reach_target target;
    bool with_branch;
    const char *anchor; /* NULL: refused */
    uint32_t timeline;
    const char *words; /* of the refusal */
} ROWS[] = {
    {"time between", {.kind = REACH_TIME, .time_us = S(40)}, false, "a", 1, ""},
    {"time of a snapshot's end", {.kind = REACH_TIME, .time_us = S(55)}, false, "b", 1, ""},
    {"time before all", {.kind = REACH_TIME, .time_us = S(24)}, false, NULL, 0, "oldest"},
    {"time in the gap",
     {.kind = REACH_TIME, .time_us = S(105)},
     false,
     NULL,
     0,
     "00000001000000000000000A to 00000001000000000000000B"},
    {"time in the future", {.kind = REACH_TIME, .time_us = S(5000)}, false, NULL, 0, "future"},
    {"named, but too late",
     {.kind = REACH_TIME, .time_us = S(40), .backup_id = "b"},
     false,
     NULL,
     0,
     "can't be reached"},
    {"damaged by name", {.kind = REACH_IMMEDIATE, .backup_id = "c"}, false, "c", 1, ""},
    {"unknown name", {.kind = REACH_IMMEDIATE, .backup_id = "x"}, false, NULL, 0, "no snapshot x"},
    {"position", {.kind = REACH_LSN, .lsn = AT(4) + 8}, false, "a", 1, ""},
    {"last position before the gap", {.kind = REACH_LSN, .lsn = AT(10)}, false, "b", 1, ""},
    {"position in the gap",
     {.kind = REACH_LSN, .lsn = AT(10) + 1},
     false,
     NULL,
     0,
     "can't be reached"},
    {"the end, behind a gap", {.kind = REACH_END}, false, NULL, 0, "is not in the repository"},
    {"a transaction", {.kind = REACH_XID, .text = "9"}, false, NULL, 0, "can't be told"},
    {"the newest timeline", {.kind = REACH_END}, true, "b", 2, ""},
    {"position on timeline 2", {.kind = REACH_LSN, .lsn = AT(9)}, true, "b", 2, ""},
    {"behind timeline 2", {.kind = REACH_LSN, .lsn = AT(9) + 1}, true, NULL, 0, "ends before"},
    {"the old timeline", {.kind = REACH_LSN, .lsn = AT(9) + 1, .timeline = 1}, true, "b", 1, ""},
    {"not on the way",
     {.kind = REACH_END, .timeline = 2, .backup_id = "c"},
     true,
     NULL,
     0,
     "not on the way"},
    {"the timeline of the one named",
     {.kind = REACH_LSN, .lsn = AT(9), .backup_id = "c"},
     true,
     "c",
     1,
     ""},
    {"no such timeline", {.kind = REACH_END, .timeline = 3}, true, NULL, 0, "no timeline 3"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct fixture f;
        struct reach_choice choice = {0};
        fill(&f, ROWS[i].with_branch);
        int rc = reach_choose(&f.facts, &f.wal, &ROWS[i].target, S(1000), &choice, &test_err);
        if (!ROWS[i].anchor && (!rc || !strstr(test_err.message, ROWS[i].words)))
            fail_msg("%s: %d, %s", ROWS[i].label, rc, rc ? test_err.message : choice.anchor->id);
        if (ROWS[i].anchor && rc)
            fail_msg("%s: %s", ROWS[i].label, test_err.message);
        if (ROWS[i].anchor &&
            (strcmp(choice.anchor->id, ROWS[i].anchor) != 0 || choice.timeline != ROWS[i].timeline))
            fail_msg("%s: %s on timeline %u", ROWS[i].label, choice.anchor->id, choice.timeline);
        empty(&f);
    }
}

/* Without any WAL a snapshot is as good as its own end. */
static void test_no_wal(void **state)
{
    struct fixture f;
    struct reach_choice choice = {0};
    struct reach_target end = {.kind = REACH_END};
    struct reach_target late = {.kind = REACH_TIME, .time_us = S(60)};
    (void)state;
    fill(&f, false);
    assert_int_equal(reach_choose(&f.facts, NULL, &end, S(1000), &choice, &test_err), 0);
    assert_string_equal(choice.anchor->id, "b");
    assert_false(choice.has_wal);
    assert_int_equal(reach_choose(&f.facts, NULL, &late, S(1000), &choice, &test_err),
                     ERR_NOT_FOUND);
    empty(&f);
}

/* One in which a verification found a fault is taken only when there is no other, or by its name.
 */
static void test_faults(void **state)
{
    struct fixture f;
    struct reach_choice choice = {0};
    struct reach_target target = {.kind = REACH_TIME, .time_us = S(60)};
    (void)state;
    fill(&f, false);
    f.facts.backups[1].failed_us = S(900);
    assert_int_equal(reach_choose(&f.facts, &f.wal, &target, S(1000), &choice, &test_err), 0);
    assert_string_equal(choice.anchor->id, "a");
    f.facts.backups[0].failed_us = S(900);
    assert_int_equal(reach_choose(&f.facts, &f.wal, &target, S(1000), &choice, &test_err), 0);
    assert_string_equal(choice.anchor->id, "b");
    f.facts.backups[0].failed_us = INSTANT_NONE;
    target.backup_id = "b";
    assert_int_equal(reach_choose(&f.facts, &f.wal, &target, S(1000), &choice, &test_err), 0);
    assert_string_equal(choice.anchor->id, "b");
    empty(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_no_wal),
                                       cmocka_unit_test(test_faults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
