/* What a plan does with WAL and the snapshots that recovery begins with, by exact tables. */
#include "retention/history.h"

#include "base/buf.h"

static struct zone *utc;
static char name_wal[] = "wal", name_weekly[] = "weekly", name_prune[] = "prune";

#define DAYS(n) ((n)*US_PER_DAY)

struct row {
    const char *name;
    int64_t within_us; /* of the wal job: 0: without keep, -1: no such job */
    int last;          /* of the snapshots */
    int required;      /* require_verified of the prune job */
    const char *snapshots, *wal;
    const char *plan;
};

/* Snapshots are written at 02:00 and end at 02:10; now is the 2026-11-21T12:00. */
static const struct row rows[] = {
    {"the newest snapshot that ended before the window is the anchor", DAYS(7), 9, 0,
     "2026-11-01T02:00,wal=42/1:10-11 2026-11-08T02:00,wal=42/1:20-21 "
     "2026-11-15T02:00,wal=42/1:30-31",
     "42/1:5-40@2026-11-21T11:00",
     "b2 keep last; also anchor, floor\n"
     "b1 keep last; also anchor\n"
     "b0 keep last\n"
     "42 1:5-19 delete expired 1500: not needed: recovery to any moment of the last 7d begins with "
     "snapshot b1\n"
     "42 1:20-40 keep window 2100: recovery to any moment of the last 7d begins with snapshot b1\n"},
    {"no rule takes the anchor away, nor the one that comes after it", DAYS(7), 1, 0,
     "2026-11-01T02:00,wal=42/1:10-11 2026-11-08T02:00,wal=42/1:20-21 "
     "2026-11-15T02:00,wal=42/1:30-31 2026-11-18T02:00,wal=42/1:33-34 "
     "2026-11-20T02:00,wal=42/1:38-38",
     "42/1:20-40@2026-11-21T11:00",
     "b4 keep last; also floor\n"
     "b3 delete expired\n"
     "b2 keep anchor: the next anchor, when it is older than 7d\n"
     "b1 keep anchor: anchor: recovery to any moment of the last 7d begins with it\n"
     "b0 delete expired\n"
     "42 1:20-40 keep window 2100: recovery to any moment of the last 7d begins with snapshot b1\n"},
    {"with none before the window all is kept from the oldest good one on", DAYS(7), 1, 0,
     "2026-11-16T02:00,wal=42/1:20-21,state=damaged 2026-11-17T02:00,wal=42/1:30-31 "
     "2026-11-18T02:00,wal=42/1:35-35",
     "42/1:5-40@2026-11-21T11:00",
     "b2 keep last; also floor\n"
     "b1 keep anchor: anchor: recovery begins with it, the oldest good one; none is older than the "
     "last 7d\n"
     "b0 delete expired\n"
     "42 1:5-29 delete expired 2500: not needed: recovery begins with snapshot b1, the oldest good "
     "one\n"
     "42 1:30-40 keep window 1100: recovery begins with snapshot b1, the oldest good one\n"},
    {"a snapshot that ended exactly when the window begins is the anchor", DAYS(7), 9, 0,
     "2026-11-07T02:00,wal=42/1:10-11 2026-11-14T02:00,wal=42/1:20-21",
     "42/1:5-40@2026-11-21T02:10",
     "b1 keep last; also anchor, floor\n"
     "b0 keep last\n"
     "42 1:5-19 delete expired 1500: not needed: recovery to any moment of the last 7d begins with "
     "snapshot b1\n"
     "42 1:20-40 keep window 2100: recovery to any moment of the last 7d begins with snapshot b1\n"},
    {"archiving has failed for months: nothing grows old", DAYS(7), 1, 0,
     "2026-07-01T02:00,wal=42/1:10-11 2026-07-08T02:00,wal=42/1:20-21",
     "42/1:10-40@2026-07-14T02:10",
     "b1 keep last; also anchor, floor\n"
     "b0 keep anchor: anchor: recovery to any moment of the last 7d begins with it\n"
     "42 1:10-40 keep window 3100: recovery to any moment of the last 7d begins with snapshot b0\n"},
    {"WAL that nothing leads into is kept and makes nothing old", DAYS(7), 9, 0,
     "2026-08-01T02:00,wal=42/1:10-11", "42/1:10-40@2026-08-05T02:10 43/1:2-9@2026-11-21T11:00",
     "b0 keep last; also anchor, floor\n"
     "42 1:10-40 keep window 3100: recovery begins with snapshot b0, the oldest good one\n"
     "43 1:2-9 keep no-anchor 800: no good snapshot leads into it: it recovers nothing, and is "
     "kept\n"
     "warning: no good snapshot leads into the WAL of timeline 1 of system 43: it recovers nothing "
     "and is never deleted; if that is the server's, take one: pgcairn run c/weekly\n"},
    {"another server was adopted: the old one's WAL stays until the new one's window is full",
     DAYS(7), 9, 0, "2026-11-10T02:00,wal=42/1:10-11 2026-11-16T02:00,wal=43/1:3-4",
     "42/1:8-40@2026-11-16T00:00 43/1:2-9@2026-11-21T11:00",
     "b1 keep last; also anchor, floor\n"
     "b0 keep last; also anchor\n"
     "42 1:8-9 delete expired 200: not needed: recovery to any moment of the last 7d begins with "
     "snapshot b0\n"
     "42 1:10-40 keep window 3100: recovery to any moment of the last 7d begins with snapshot b0\n"
     "43 1:2-2 delete expired 100: not needed: recovery begins with snapshot b1, the oldest good "
     "one\n"
     "43 1:3-9 keep window 700: recovery begins with snapshot b1, the oldest good one\n"},
    {"and then it goes", DAYS(7), 1, 0,
     "2026-11-01T02:00,wal=42/1:10-11 2026-11-03T02:00,wal=43/1:3-4 "
     "2026-11-13T02:00,wal=43/1:5-5",
     "42/1:8-40@2026-11-03T00:00 43/1:2-9@2026-11-21T11:00",
     "b2 keep last; also anchor, floor\n"
     "b1 delete expired\n"
     "b0 delete expired\n"
     "42 1:8-40 delete expired 3300: not needed: no moment of the last 7d is on timeline 1\n"
     "43 1:2-4 delete expired 300: not needed: recovery to any moment of the last 7d begins with "
     "snapshot b2\n"
     "43 1:5-9 keep window 500: recovery to any moment of the last 7d begins with snapshot b2\n"},
    {"a new timeline needs its ancestor from the anchor to the switch; what was left is kept too "
     "while the window holds it",
     DAYS(7), 9, 0, "2026-11-10T02:00,wal=42/1:10-11",
     "42/1:5-50@2026-11-18T02:00 42/2<1:40 42/2:40-60@2026-11-21T11:00",
     "b0 keep last; also anchor, floor\n"
     "42 1:5-9 delete expired 500: not needed: recovery to any moment of the last 7d begins with "
     "snapshot b0\n"
     "42 1:10-50 keep window 4100: recovery to any moment of the last 7d begins with snapshot b0\n"
     "42 2:40-60 keep window 2100: recovery to any moment of the last 7d begins with snapshot b0\n"},
    {"the end of a timeline that was left goes when the window is past it", DAYS(7), 9, 0,
     "2026-11-01T02:00,wal=42/1:10-11",
     "42/1:10-50@2026-11-12T02:00 42/2<1:40 42/2:40-60@2026-11-21T11:00",
     "b0 keep last; also anchor, floor\n"
     "42 1:10-40 keep window 3100: recovery to any moment of the last 7d begins with snapshot b0\n"
     "42 1:41-50 delete expired 1000: not needed: no moment of the last 7d is on timeline 1\n"
     "42 2:40-60 keep window 2100: recovery to any moment of the last 7d begins with snapshot b0\n"},
    {"a whole old timeline goes when the anchor is on the new one, low numbers or not", DAYS(7), 1,
     0, "2026-11-01T02:00,wal=42/1:1000-1001 2026-11-12T02:00,wal=42/2:45-45",
     "42/1:10-1050@2026-11-05T02:00 42/2<1:40 42/2:40-60@2026-11-21T11:00",
     "b1 keep last; also anchor, floor\n"
     "b0 delete expired\n"
     "42 1:10-1050 delete expired 104100: not needed: no moment of the last 7d is on timeline 1\n"
     "42 2:40-44 delete expired 500: not needed: recovery to any moment of the last 7d begins with "
     "snapshot b1\n"
     "42 2:45-60 keep window 1600: recovery to any moment of the last 7d begins with snapshot b1\n"},
    {"without its history all that a timeline may descend from is kept", DAYS(7), 9, 0,
     "2026-11-01T02:00,wal=42/1:10-11 2026-11-20T02:00,wal=42/2:45-45",
     "42/1:5-50@2026-11-05T02:00 42/2:40-60@2026-11-21T11:00",
     "b1 keep last; also anchor, floor\n"
     "b0 keep last; also anchor\n"
     "42 1:5-50 keep no-history 4600: timeline 2 may descend from it: its history is not stored\n"
     "42 2:40-44 keep no-history 500: timeline 2 may descend from it: its history is not stored\n"
     "42 2:45-60 keep window 1600: recovery begins with snapshot b1, the oldest good one\n"
     "warning: the history of timeline 2 is not stored, so all WAL that it may descend from is "
     "kept; archive it, in the server's data directory: pgcairn wal push c "
     "pg_wal/00000002.history\n"},
    {"nor is it needed once a snapshot of its own is the anchor", DAYS(7), 9, 0,
     "2026-11-10T02:00,wal=42/2:45-45", "42/1:5-50@2026-11-05T02:00 42/2:40-60@2026-11-21T11:00",
     "b0 keep last; also anchor, floor\n"
     "42 1:5-50 keep no-anchor 4600: no good snapshot leads into it: it recovers nothing, and is "
     "kept\n"
     "42 2:40-44 delete expired 500: not needed: recovery to any moment of the last 7d begins with "
     "snapshot b0\n"
     "42 2:45-60 keep window 1600: recovery to any moment of the last 7d begins with snapshot b0\n"
     "warning: no good snapshot leads into the WAL of timeline 1 of system 42: it recovers nothing "
     "and is never deleted; if that is the server's, take one: pgcairn run c/weekly\n"},
    {"behind a gap recovery begins anew", DAYS(7), 1, 0,
     "2026-11-10T02:00,wal=42/1:10-11 2026-11-16T02:00,wal=42/1:18-19 "
     "2026-11-17T02:00,wal=42/1:24-24 2026-11-18T02:00,wal=42/1:30-31 "
     "2026-11-19T02:00,wal=42/1:34-34",
     "42/1:10-22@2026-11-17T01:00 42/1:26-40@2026-11-21T11:00",
     "b4 keep last; also floor\n"
     "b3 keep anchor: anchor: recovery to what follows a gap in the WAL begins with it\n"
     "b2 delete expired\n"
     "b1 keep anchor: the next anchor, when it is older than 7d\n"
     "b0 keep anchor: anchor: recovery to any moment of the last 7d begins with it\n"
     "42 1:10-40 keep window 2800: recovery to any moment of the last 7d begins with snapshot b0\n"},
    {"who holds a snapshot holds its WAL", DAYS(7), 1, 0,
     "2026-10-01T02:00,wal=42/1:6-7,hold 2026-11-10T02:00,wal=42/1:20-21",
     "42/1:2-40@2026-11-21T11:00",
     "b1 keep last; also anchor, floor\n"
     "b0 keep hold: hold h1 by ann: case 7 (until released)\n"
     "42 1:2-5 delete expired 400: not needed: recovery to any moment of the last 7d begins with "
     "snapshot b1\n"
     "42 1:6-7 keep hold 200: hold h1 by ann on snapshot b0: case 7\n"
     "42 1:8-19 delete expired 1200: not needed: recovery to any moment of the last 7d begins with "
     "snapshot b1\n"
     "42 1:20-40 keep window 2100: recovery to any moment of the last 7d begins with snapshot b1\n"},
    {"one that is not proven is no anchor while an older one is", DAYS(7), 9, 2,
     "2026-11-01T02:00,wal=42/1:10-11,level=2 2026-11-10T02:00,wal=42/1:20-21",
     "42/1:5-40@2026-11-21T11:00",
     "b1 keep grace: not verified to level 2 yet; would be last 1 of 9; also floor\n"
     "b0 keep last; also anchor, floor\n"
     "42 1:5-9 delete expired 500: not needed: recovery to any moment of the last 7d begins with "
     "snapshot b0\n"
     "42 1:10-40 keep window 3100: recovery to any moment of the last 7d begins with snapshot b0\n"},
    {"one that can't be read stops everything, WAL too", DAYS(7), 9, 0,
     "2026-11-01T02:00,wal=42/1:10-11 2026-11-10T02:00,wal=42/1:20-21,state=unknown",
     "42/1:5-40@2026-11-21T11:00",
     "b1 keep unknown\n"
     "b0 keep last; also anchor, floor\n"
     "42 1:5-9 keep incomplete 500: not everything could be read, so nothing is deleted; else: "
     "expired (not needed: recovery to any moment of the last 7d begins with snapshot b0)\n"
     "42 1:10-40 keep window 3100: recovery to any moment of the last 7d begins with snapshot b0\n"
     "refused: 1 backup could not be read (b1)\n"},
    {"without a wal job", -1, 9, 0, "2026-11-01T02:00,wal=42/1:10-11", "42/1:5-40@2026-11-21T11:00",
     "b0 keep last; also floor\n"
     "42 1:5-40 keep no-job 3600: the policy has no job of type wal\n"
     "warning: the policy has no job of type wal: WAL is never deleted; to let a rule apply to it, "
     "add one with keep: {within: ...}\n"},
    {"without within", 0, 9, 0, "2026-11-01T02:00,wal=42/1:10-11", "42/1:5-40@2026-11-21T11:00",
     "b0 keep last; also floor\n"
     "42 1:5-40 keep no-keep 3600: job \"wal\" has no keep: {within: ...}\n"
     "warning: job \"wal\" has no keep: {within: ...}: WAL is never deleted\n"},
    {"the store's clock is ahead: a person looks, and its time is not believed", DAYS(7), 9, 0,
     "2026-11-12T02:00,wal=42/1:10-11 2026-11-20T02:00,wal=42/1:20-21",
     "42/1:5-40@2027-11-21T11:00",
     "b1 keep last; also anchor, floor\n"
     "b0 keep last; also anchor\n"
     "42 1:5-9 delete expired 500: not needed: recovery to any moment of the last 7d begins with "
     "snapshot b0\n"
     "42 1:10-40 keep window 3100: recovery to any moment of the last 7d begins with snapshot b0\n"
     "force: WAL was stored at 2027-11-21T11:00:00Z by the store's clock, more than 1h ahead of "
     "this one (2026-11-21T12:00:00Z): one of them is wrong\n"},
    {"much at once needs a person", DAYS(1), 20, 0,
     "2026-11-10T02:00,wal=42/1:10-11 2026-11-11T02:00,wal=42/1:20-21 "
     "2026-11-12T02:00,wal=42/1:30-31 2026-11-13T02:00,wal=42/1:40-41 "
     "2026-11-14T02:00,wal=42/1:50-51 2026-11-15T02:00,wal=42/1:60-61",
     "42/1:5-70@2026-11-21T11:00",
     "b5 keep last; also anchor, floor\n"
     "b4 keep last\nb3 keep last\nb2 keep last\nb1 keep last\nb0 keep last\n"
     "42 1:5-59 delete expired 5500: not needed: recovery to any moment of the last 1d begins with "
     "snapshot b5\n"
     "42 1:60-70 keep window 1100: recovery to any moment of the last 1d begins with snapshot b5\n"
     "force: the WAL of 6 of 7 spans between snapshots would go: more than half, and more than "
     "5\n"},
};

struct world {
    struct policy_job jobs[3];
    struct policy policy;
    struct retention_zones zones;
};

static void make_world(struct world *world, const struct row *row)
{
    *world = (struct world){
        .jobs = {{.name = name_weekly,
                  .type = JOB_SNAPSHOT,
                  .keep = {.is_set = true, .last = row->last}},
                 {.name = name_prune, .type = JOB_PRUNE, .require_verified = row->required},
                 {.name = name_wal,
                  .type = JOB_WAL,
                  .keep = {.is_set = row->within_us > 0, .within_us = row->within_us}}},
        .zones = {.policy = utc}};
    world->policy = policy_of(world->jobs, row->within_us < 0 ? 2 : 3);
}

/* Reasons of rules are told elsewhere; here those of anchors count, and what else keeps it. */
static void backup_text(const struct retention_decision *decision, struct buf *text)
{
    const char *also = strstr(decision->reason, "; also");
    bool whole = strcmp(decision->rule, "anchor") == 0 || strcmp(decision->rule, "hold") == 0 ||
                 strcmp(decision->rule, "grace") == 0;
    buf_addf(text, "%s %s %s%s%s\n", decision->id, retention_action_name(decision->action),
             decision->rule, whole ? ": " : "",
             whole  ? decision->reason
             : also ? also
                    : "");
}

static void plan_text(const struct retention_plan *plan, struct buf *text)
{
    for (size_t i = 0; i < plan->count; i++)
        backup_text(&plan->decisions[i], text);
    for (size_t i = 0; i < plan->wal_count; i++) {
        const struct retention_wal *wal = &plan->wal[i];
        buf_addf(text, "%s %u:%llu-%llu %s %s %lld: %s\n", wal->wal->system_identifier,
                 wal->timeline, (unsigned long long)wal->first, (unsigned long long)wal->last,
                 retention_action_name(wal->action), wal->rule, (long long)wal->bytes, wal->reason);
    }
    if (plan->refused)
        buf_addf(text, "refused: %s\n", plan->refused);
    if (plan->needs_force)
        buf_addf(text, "force: %s\n", plan->needs_force);
    for (size_t i = 0; i < plan->warnings.count; i++)
        buf_addf(text, "warning: %s\n", plan->warnings.items[i]);
}

static void make_plan(const struct facts *facts, const struct world *world,
                      struct retention_plan *plan)
{
    struct error err = ERROR_NONE;
    if (retention_plan_make(facts, &world->policy, &world->zones, at("2026-11-21T12:00"), plan,
                            &err))
        fail_msg("%s", err.message);
}

static void snapshots(struct facts *facts, const char *text)
{
    history(facts, text);
    for (size_t i = 0; i < facts->backup_count; i++) {
        free(facts->backups[i].job);
        facts->backups[i].job = copy("weekly");
    }
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world world;
        struct facts facts;
        struct retention_plan plan = {0};
        struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
        make_world(&world, &rows[i]);
        snapshots(&facts, rows[i].snapshots);
        wal_history_of(&facts, rows[i].wal);
        make_plan(&facts, &world, &plan);
        plan_text(&plan, &text);
        if (strcmp(buf_text(&text), rows[i].plan) != 0)
            fail_msg("%s:\n-- expected\n%s-- got\n%s", rows[i].name, rows[i].plan, buf_text(&text));
        buf_clear(&text);
        retention_plan_clear(&plan);
        facts_clear(&facts);
    }
}

static const struct row ordinary = {.within_us = DAYS(7), .last = 9};

static void hash_of(const char *wal, char hash[RETENTION_HASH_MAX], int64_t *ret_freed)
{
    struct world world;
    struct facts facts;
    struct retention_plan plan = {0};
    make_world(&world, &ordinary);
    snapshots(&facts, "2026-11-01T02:00,wal=42/1:10-11 2026-11-08T02:00,wal=42/1:20-21");
    wal_history_of(&facts, wal);
    make_plan(&facts, &world, &plan);
    memcpy(hash, plan.hash, sizeof(plan.hash));
    *ret_freed = plan.bytes_freed;
    retention_plan_clear(&plan);
    facts_clear(&facts);
}

/* WAL comes all the time: a plan that a person looked at must stand until it is applied. */
static void test_hash(void **state)
{
    (void)state;
    char first[RETENTION_HASH_MAX], more[RETENTION_HASH_MAX], less[RETENTION_HASH_MAX];
    int64_t freed;
    hash_of("42/1:5-40@2026-11-21T11:00", first, &freed);
    assert_int_equal(freed, 1500);
    hash_of("42/1:5-43@2026-11-21T11:30 42/1:45-45@2026-11-21T11:32", more, &freed);
    assert_string_equal(first, more);
    hash_of("42/1:6-40@2026-11-21T11:00", less, &freed);
    assert_string_not_equal(first, less);
}

static void test_nothing_stored(void **state)
{
    (void)state;
    struct world world;
    struct facts facts;
    struct retention_plan plan = {0};
    make_world(&world, &ordinary);
    snapshots(&facts, "2026-11-01T02:00,wal=42/1:10-11");
    wal_of(&facts, "42");
    make_plan(&facts, &world, &plan);
    assert_int_equal(plan.wal_count, 0);
    assert_int_equal(plan.wal_delete_count, 0);
    retention_plan_clear(&plan);
    facts_clear(&facts);
}

/* A million segments and ten thousand gaps cost no more than a few decisions. */
static void test_size(void **state)
{
    (void)state;
    enum { GAPS = 10000, LENGTH = 100 };
    struct world world;
    struct facts facts;
    struct retention_plan plan = {0};
    struct facts_wal_timeline *timeline;
    make_world(&world, &ordinary);
    snapshots(&facts, "2026-11-01T02:00,wal=42/1:10-11 2026-11-08T02:00,wal=42/1:900020-900021");
    assert_int_equal(facts_wal_add_timeline(wal_of(&facts, "42"), 1, &timeline, NULL), 0);
    for (uint64_t i = 0; i < GAPS; i++)
        add_wal_range(timeline, i * (LENGTH + 1), i * (LENGTH + 1) + LENGTH - 1,
                      at("2026-11-21T11:00"));
    int64_t before_us = instant_monotonic_us();
    make_plan(&facts, &world, &plan);
    int64_t took_us = instant_monotonic_us() - before_us;
    print_message("1000000 segments, %d gaps: planned in %lld ms\n", GAPS,
                  (long long)took_us / 1000);
    assert_int_equal(plan.wal_count, 2);
    assert_int_equal(plan.wal[0].segments + plan.wal[1].segments, GAPS * LENGTH);
    assert_true(took_us < 2 * US_PER_SECOND);
    retention_plan_clear(&plan);
    facts_clear(&facts);
}

static int load_zones(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    return zone_load("UTC", &utc, &err) ? -1 : 0;
}

static int free_zones(void **state)
{
    (void)state;
    zone_free(utc);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_nothing_stored),
        cmocka_unit_test(test_size),
    };
    return cmocka_run_group_tests(tests, load_zones, free_zones);
}
