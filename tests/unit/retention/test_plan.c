/* The planner by exact tables: the whole plan of a small history, reasons included. */
#include "retention/history.h"

#include "base/buf.h"

static struct zone *utc, *berlin;
static char name_nightly[] = "nightly", name_monthly[] = "monthly", name_weekly[] = "weekly",
            name_prune[] = "prune", name_vacuum[] = "tidy", name_bare[] = "bare";

struct row {
    const char *name;
    struct keep_rules keep; /* of nightly */
    int required;           /* require_verified of the prune job */
    const char *now;        /* NULL: 2026-11-21T12:00 */
    const char *history;
    const char *plan; /* a line per decision: "b0 keep last: reason" */
};

#define KEEP(...)                   \
    {                               \
        .is_set = true, __VA_ARGS__ \
    }
#define DAYS(n) ((n)*US_PER_DAY)

static const struct row rows[] = {
    {"nothing", KEEP(.last = 1), 0, NULL, "", ""},
    {"within counts from the newest good one and includes its end", KEEP(.within_us = DAYS(2)), 0,
     "2027-06-01", "2026-11-17T02:00 2026-11-18T02:00 2026-11-19T02:00 2026-11-20T02:00",
     "b3 keep within until 2026-11-22T02:00:00Z: within 2d of the newest good one; also floor\n"
     "b2 keep within until 2026-11-21T02:00:00Z: within 2d of the newest good one\n"
     "b1 keep within until 2026-11-20T02:00:00Z: within 2d of the newest good one\n"
     "b0 delete expired: no rule of job \"nightly\" wants it: within 2d\n"},
    {"last", KEEP(.last = 2), 0, NULL, "2026-11-17T02:00 2026-11-18T02:00 2026-11-19T02:00",
     "b2 keep last: last 1 of 2; also floor\n"
     "b1 keep last: last 2 of 2\n"
     "b0 delete expired: no rule of job \"nightly\" wants it: last 2\n"},
    {"the newest of each day, days without any not counted", KEEP(.daily = 2), 0, NULL,
     "2026-10-01T01:00 2026-11-18T01:00 2026-11-18T23:00 2026-11-20T02:00 2026-11-20T01:00",
     "b3 keep daily: daily 1 of 2: newest of 2026-11-20; also floor\n"
     "b4 delete expired: no rule of job \"nightly\" wants it: daily 2\n"
     "b2 keep daily: daily 2 of 2: newest of 2026-11-18\n"
     "b1 delete expired: no rule of job \"nightly\" wants it: daily 2\n"
     "b0 delete expired: no rule of job \"nightly\" wants it: daily 2\n"},
    {"a union", KEEP(.within_us = DAYS(1), .last = 2, .monthly = 3, .yearly = 2), 0, NULL,
     "2025-12-31T02:00 2026-09-30T02:00 2026-10-31T02:00 2026-11-18T02:00 2026-11-20T02:00",
     "b4 keep within until 2026-11-21T02:00:00Z: within 1d of the newest good one; also last, "
     "monthly, yearly, floor\n"
     "b3 keep last: last 2 of 2\n"
     "b2 keep monthly: monthly 2 of 3: newest of 2026-10\n"
     "b1 keep monthly: monthly 3 of 3: newest of 2026-09\n"
     "b0 keep yearly: yearly 2 of 2: newest of 2025\n"},
    {"ISO weeks: 2027-01-03 is of 2026-W53, 2024-12-30 of 2025-W01", KEEP(.weekly = 9), 0,
     "2027-02-01",
     "2024-12-29T02:00 2024-12-30T02:00 2025-01-05T02:00 2026-12-28T02:00 2027-01-03T02:00 "
     "2027-01-04T02:00",
     "b5 keep weekly: weekly 1 of 9: newest of 2027-W01; also floor\n"
     "b4 keep weekly: weekly 2 of 9: newest of 2026-W53\n"
     "b3 delete expired: no rule of job \"nightly\" wants it: weekly 9\n"
     "b2 keep weekly: weekly 3 of 9: newest of 2025-W01\n"
     "b1 delete expired: no rule of job \"nightly\" wants it: weekly 9\n"
     "b0 keep weekly: weekly 4 of 9: newest of 2024-W52\n"},
    {"a week and a month of one number are two buckets", KEEP(.weekly = 2, .monthly = 2), 0, NULL,
     "2026-02-01T02:00 2026-02-04T02:00",
     "b1 keep weekly: weekly 1 of 2: newest of 2026-W06; also monthly, floor\n"
     "b0 keep weekly: weekly 2 of 2: newest of 2026-W05\n"},
    {"hours", KEEP(.hourly = 2), 0, NULL, "2026-11-20T02:00 2026-11-20T02:59 2026-11-20T03:00",
     "b2 keep hourly: hourly 1 of 2: newest of 2026-11-20 03:00; also floor\n"
     "b1 keep hourly: hourly 2 of 2: newest of 2026-11-20 02:00\n"
     "b0 delete expired: no rule of job \"nightly\" wants it: hourly 2\n"},
    {"what is not good fills no place", KEEP(.last = 1), 0, NULL,
     "2026-11-17T02:00 2026-11-18T02:00 2026-11-19T02:00,state=running "
     "2026-11-19T01:00,state=garbage 2026-11-20T02:00,state=unfinished",
     "b4 keep unfinished: unfinished, but too young to be called garbage: last sign of life "
     "2026-11-20T02:00:00Z\n"
     "b2 keep running: a run is writing it\n"
     "b3 delete garbage: left behind by a run that never finished; last sign of life "
     "2026-11-19T01:00:00Z\n"
     "b1 keep last: last 1 of 1; also floor\n"
     "b0 delete expired: no rule of job \"nightly\" wants it: last 1\n"},
    {"one that can't be read stops everything", KEEP(.last = 1), 0, NULL,
     "2026-11-17T02:00 2026-11-18T02:00 2026-11-16T02:00,state=unknown "
     "2026-11-15T02:00,state=garbage",
     "b1 keep last: last 1 of 1; also floor\n"
     "b0 keep incomplete: not everything could be read, so nothing is deleted; else: expired (no "
     "rule of job \"nightly\" wants it: last 1)\n"
     "b2 keep unknown: something of it could not be read\n"
     "b3 keep incomplete: not everything could be read, so nothing is deleted; else: garbage (left "
     "behind by a run that never finished; last sign of life 2026-11-15T02:00:00Z)\n"
     "refused: 1 backup could not be read (b2)\n"},
    {"a good one without dates is unknown", KEEP(.last = 1), 0, NULL,
     "2026-11-17T02:00,undated 2026-11-18T02:00",
     "b1 keep last: last 1 of 1; also floor\n"
     "b0 keep unknown: its manifest does not say when it was made\n"
     "refused: 1 backup could not be read (b0)\n"},
    {"holds and locks", KEEP(.last = 1), 0, NULL,
     "2026-11-11T02:00,hold 2026-11-12T02:00,held-to=2026-12-01 2026-11-13T02:00,held-to=2026-11-14 "
     "2026-11-14T02:00,locked-to=2026-12-05 2026-11-15T02:00,locked-to=2026-11-20 "
     "2026-11-16T02:00,state=garbage,hold 2026-11-17T02:00,hold,held-to=2026-12-01 "
     "2026-11-18T02:00",
     "b7 keep last: last 1 of 1; also floor\n"
     "b6 keep hold: hold h1 by ann: case 7 (until released)\n"
     "b5 keep hold: hold h1 by ann: case 7 (until released)\n"
     "b4 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b3 keep lock until 2026-12-05T00:00:00Z: locked in the store until 2026-12-05T00:00:00Z\n"
     "b2 delete expired: no rule of job \"nightly\" wants it: last 1; hold h2 expired "
     "2026-11-14T00:00:00Z\n"
     "b1 keep hold until 2026-12-01T00:00:00Z: hold h2 by ann: case 7, until 2026-12-01T00:00:00Z\n"
     "b0 keep hold: hold h1 by ann: case 7 (until released)\n"
     "warning: hold h2 by ann on b2 expired 2026-11-14T00:00:00Z\n"},
    {"ahead of the clock: not counted, not deleted, a person must look", KEEP(.last = 1), 0, NULL,
     "2026-11-18T02:00 2026-11-19T02:00 2026-11-21T13:00 2026-11-21T13:01",
     "b3 keep future: dated ahead of this clock: counted by no rule, and never deleted\n"
     "b2 keep future: dated ahead of this clock: counted by no rule, and never deleted\n"
     "b1 keep last: last 1 of 1; also floor\n"
     "b0 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "force: backup b3 is dated 2026-11-21T13:01:00Z, more than 1h ahead of this clock "
     "(2026-11-21T12:00:00Z): this clock or that of the machine that made it is wrong\n"},
    {"less than an hour ahead is skew", KEEP(.last = 1), 0, NULL,
     "2026-11-19T02:00 2026-11-21T12:50",
     "b1 keep last: last 1 of 1; also floor\n"
     "b0 delete expired: no rule of job \"nightly\" wants it: last 1\n"},
    {"two jobs of one database keep each their own; the floor is one", KEEP(.last = 1), 0, NULL,
     "2026-10-01T02:00,job=monthly 2026-09-01T02:00,job=monthly 2026-08-01T02:00,job=monthly "
     "2026-11-19T02:00 2026-11-20T02:00",
     "b4 keep last: last 1 of 1; also floor\n"
     "b3 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b0 keep last: last 1 of 2\n"
     "b1 keep last: last 2 of 2\n"
     "b2 delete expired: no rule of job \"monthly\" wants it: last 2\n"},
    {"jobs that the policy lost, that changed, that are not known, that keep all", KEEP(.last = 1),
     0, NULL,
     "2026-11-11T02:00,job=gone 2026-11-12T02:00,job=tidy 2026-11-13T02:00,job= "
     "2026-11-14T02:00,job=bare 2026-11-10T02:00,job=gone",
     "b3 keep no-keep: job \"bare\" has no keep: in the policy; also floor\n"
     "b2 keep no-job: it is not known which job made it\n"
     "b1 keep no-job: job \"tidy\" is now of type vacuum\n"
     "b0 keep no-job: job \"gone\" is no longer in the policy\n"
     "b4 keep no-job: job \"gone\" is no longer in the policy\n"
     "warning: job \"bare\" has no keep: its backups are never deleted\n"
     "warning: it is not known which job made dumps like b2: they are never deleted\n"
     "warning: job \"tidy\" now has another type: its dumps are never deleted; to let rules apply "
     "to them, give the policy a dump job of that name with keep: (it needs no schedule)\n"
     "warning: job \"gone\" is no longer in the policy: its dumps are never deleted; to let rules "
     "apply to them, give the policy a dump job of that name with keep: (it needs no schedule)\n"},
    {"a dump of several databases goes when none of them wants it", KEEP(.last = 1), 0, NULL,
     "2026-11-17T02:00,db=app+crm 2026-11-18T02:00,db=app+crm 2026-11-19T02:00,db=app",
     "b2 keep last: last 1 of 1; also floor\n"
     "b1 keep last: last 1 of 1, for database \"crm\"; also floor\n"
     "b0 delete expired: no rule of job \"nightly\" wants it: last 1\n"},
    {"a database that left the dumps does not age", KEEP(.within_us = DAYS(2)), 0, NULL,
     "2026-11-01T02:00,db=app+crm 2026-11-02T02:00,db=app+crm 2026-11-19T02:00,db=app",
     "b2 keep within until 2026-11-21T02:00:00Z: within 2d of the newest good one; also floor\n"
     "b1 keep within until 2026-11-04T02:00:00Z: within 2d of the newest good one, for database "
     "\"crm\"; also floor\n"
     "b0 keep within until 2026-11-03T02:00:00Z: within 2d of the newest good one, for database "
     "\"crm\"\n"
     "warning: no dump of job \"nightly\" has held database \"crm\" since 2026-11-02T02:00:00Z: the "
     "age of what there is of it stands still, and it is kept\n"},
    {"the floor and the last drilled one stay under any rule", KEEP(.last = 1), 0, NULL,
     "2026-11-10T02:00,drilled=2026-11-18 2026-11-11T02:00,drilled=2026-11-12 2026-11-20T02:00",
     "b2 keep last: last 1 of 1; also floor\n"
     "b1 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b0 keep drilled: the last one that passed a drill, 2026-11-18T00:00:00Z\n"},
    {"unproved ones take no place and are kept while they may win one", KEEP(.last = 2), 2, NULL,
     "2026-11-10T02:00,level=2 2026-11-11T02:00,level=2 2026-11-12T02:00 2026-11-13T02:00,level=2 "
     "2026-11-14T02:00,level=1 2026-11-09T02:00 2026-11-08T02:00,level=3",
     "b4 keep grace: not verified to level 2 yet; would be last 1 of 2; also floor\n"
     "b3 keep last: last 1 of 2; also floor\n"
     "b2 delete expired: no rule of job \"nightly\" wants it: last 2\n"
     "b1 keep last: last 2 of 2\n"
     "b0 delete expired: no rule of job \"nightly\" wants it: last 2\n"
     "b5 delete expired: no rule of job \"nightly\" wants it: last 2\n"
     "b6 delete expired: no rule of job \"nightly\" wants it: last 2\n"},
    {"one in which a fault was found takes no place, and goes when it would have gone anyway",
     KEEP(.last = 2), 0, NULL,
     "2026-11-10T02:00,failed=2026-11-20 2026-11-11T02:00 2026-11-12T02:00,failed=2026-11-20 "
     "2026-11-13T02:00 2026-11-14T02:00,failed=2026-11-20,level=2",
     "b4 keep grace: its verification found a fault 2026-11-20T00:00:00Z; would be last 1 of 2; "
     "also floor\n"
     "b3 keep last: last 1 of 2; also floor\n"
     "b2 delete expired: no rule of job \"nightly\" wants it: last 2\n"
     "b1 keep last: last 2 of 2\n"
     "b0 delete expired: no rule of job \"nightly\" wants it: last 2\n"},
    {"with a fault in all of them nothing goes", KEEP(.last = 1), 0, NULL,
     "2026-11-10T02:00,failed=2026-11-20 2026-11-11T02:00,failed=2026-11-20",
     "b1 keep grace: its verification found a fault 2026-11-20T00:00:00Z, and it is newer than all "
     "that are good; also floor\n"
     "b0 keep grace: its verification found a fault 2026-11-20T00:00:00Z, and it is newer than all "
     "that are good\n"},
    {"nothing is proven: nothing goes", KEEP(.last = 1), 2, NULL,
     "2026-11-10T02:00 2026-11-11T02:00,level=1",
     "b1 keep grace: not verified to level 2 yet, and newer than all that are; also floor\n"
     "b0 keep grace: not verified to level 2 yet, and newer than all that are\n"},
    {"snapshots are one group", KEEP(.last = 1), 0, NULL,
     "2026-11-10T02:00,snapshot,job=weekly 2026-11-17T02:00,snapshot,job=weekly 2026-11-20T02:00 "
     "2026-11-03T02:00,snapshot,job=weekly",
     "b2 keep last: last 1 of 1; also floor\n"
     "b1 keep last: last 1 of 2; also floor\n"
     "b0 keep last: last 2 of 2\n"
     "b3 delete expired: no rule of job \"weekly\" wants it: last 2\n"},
    {"half of them may go, and five of one kind", KEEP(.last = 1), 0, NULL,
     "2026-11-10T02:00 2026-11-11T02:00 2026-11-12T02:00 2026-11-13T02:00 2026-11-14T02:00 "
     "2026-11-15T02:00,hold",
     "b5 keep hold: hold h1 by ann: case 7 (until released); also last, floor\n"
     "b4 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b3 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b2 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b1 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b0 delete expired: no rule of job \"nightly\" wants it: last 1\n"},
    {"more than half, and more than five, needs a person; garbage is not counted", KEEP(.last = 1),
     0, NULL,
     "2026-11-10T02:00 2026-11-11T02:00 2026-11-12T02:00 2026-11-13T02:00 2026-11-14T02:00 "
     "2026-11-15T02:00 2026-11-16T02:00 2026-11-09T02:00,state=garbage",
     "b6 keep last: last 1 of 1; also floor\n"
     "b5 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b4 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b3 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b2 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b1 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b0 delete expired: no rule of job \"nightly\" wants it: last 1\n"
     "b7 delete garbage: left behind by a run that never finished; last sign of life "
     "2026-11-09T02:00:00Z\n"
     "force: 6 of 7 dumps would go: more than half, and more than 5\n"},
};

struct world {
    struct policy_job jobs[6];
    struct policy policy;
    struct retention_zones zones;
};

static void make_world(struct world *world, const struct keep_rules *keep, int required)
{
    *world = (struct world){
        .jobs = {{.name = name_nightly, .type = JOB_DUMP, .keep = *keep},
                 {.name = name_monthly, .type = JOB_DUMP, .keep = {.is_set = true, .last = 2}},
                 {.name = name_weekly, .type = JOB_SNAPSHOT, .keep = {.is_set = true, .last = 2}},
                 {.name = name_prune, .type = JOB_PRUNE, .require_verified = required},
                 {.name = name_vacuum, .type = JOB_VACUUM},
                 {.name = name_bare, .type = JOB_DUMP}},
        .zones = {.policy = utc}};
    world->policy = policy_of(world->jobs, ARRAY_SIZE(world->jobs));
}

static void plan_text(const struct retention_plan *plan, struct buf *text)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct retention_decision *decision = &plan->decisions[i];
        char until[INSTANT_TEXT_MAX];
        buf_addf(text, "%s %s %s%s%s: %s\n", decision->id, retention_action_name(decision->action),
                 decision->rule, decision->until_us == INSTANT_NONE ? "" : " until ",
                 instant_format(decision->until_us, until), decision->reason);
    }
    if (plan->refused)
        buf_addf(text, "refused: %s\n", plan->refused);
    if (plan->needs_force)
        buf_addf(text, "force: %s\n", plan->needs_force);
    for (size_t i = 0; i < plan->warnings.count; i++)
        buf_addf(text, "warning: %s\n", plan->warnings.items[i]);
}

static void make_plan(const struct facts *facts, const struct world *world, const char *now,
                      struct retention_plan *plan)
{
    struct error err = ERROR_NONE;
    if (retention_plan_make(facts, &world->policy, &world->zones, at(now), plan, &err))
        fail_msg("%s", err.message);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *row = &rows[i];
        struct world world;
        struct facts facts;
        struct retention_plan plan = {0};
        struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
        make_world(&world, &row->keep, row->required);
        history(&facts, row->history);
        make_plan(&facts, &world, row->now ? row->now : "2026-11-21T12:00", &plan);
        plan_text(&plan, &text);
        if (strcmp(buf_text(&text), row->plan) != 0)
            fail_msg("%s:\n-- expected\n%s-- got\n%s", row->name, row->plan, buf_text(&text));
        int64_t freed = 0;
        for (size_t n = 0; n < plan.count; n++)
            if (plan.decisions[n].action == RETENTION_DELETE)
                freed += plan.decisions[n].bytes;
        assert_int_equal(plan.bytes_freed, freed);
        assert_int_equal(plan.bytes_freed, 1000 * (int64_t)plan.delete_count);
        buf_clear(&text);
        retention_plan_clear(&plan);
        facts_clear(&facts);
    }
}

static void test_incomplete_listing_deletes_nothing(void **state)
{
    (void)state;
    struct world world;
    struct facts facts;
    struct retention_plan plan = {0};
    make_world(&world, &(struct keep_rules){.is_set = true, .last = 1}, 0);
    history(&facts, "2026-11-17T02:00 2026-11-18T02:00 2026-11-10T02:00,state=garbage");
    facts.complete = false;
    facts.problem = copy("c/holds/x.json: permission denied");
    make_plan(&facts, &world, "2026-11-21T12:00", &plan);
    assert_string_equal(plan.refused, "not every listing and hold could be read to its end: "
                                      "c/holds/x.json: permission denied");
    assert_int_equal(plan.delete_count, 0);
    assert_int_equal(plan.bytes_freed, 0);
    for (size_t i = 0; i < plan.count; i++)
        assert_int_equal(plan.decisions[i].action, RETENTION_KEEP);
    retention_plan_clear(&plan);
    facts_clear(&facts);
}

/* A listing that shows much less than the last prune left is no ground to delete more by. */
static void test_a_listing_that_shrank(void **state)
{
    (void)state;
    static const struct {
        int64_t dumps, snapshots, segments;
        const char *force;
    } cases[] = {
        {3, 0, 0, NULL},
        {8, 0, 0, NULL}, /* five may go */
        {9, 0, 0,
         "3 dumps are there, and the prune of 2026-11-18T02:00:00Z had left 9: somebody else has "
         "deleted, or the listing is not whole"},
        {3, 6, 7,
         "0 snapshots are there, and the prune of 2026-11-18T02:00:00Z had left 6: somebody else "
         "has deleted, or the listing is not whole; 0 segments are there, and the prune of "
         "2026-11-18T02:00:00Z had left 7: somebody else has deleted, or the listing is not "
         "whole"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world world;
        struct facts facts;
        struct retention_plan plan = {0};
        make_world(&world, &(struct keep_rules){.is_set = true, .last = 1}, 0);
        history(&facts, "2026-11-17T02:00 2026-11-18T02:00 2026-11-19T02:00");
        facts.left = (struct facts_left){.is_known = true,
                                         .dumps = cases[i].dumps,
                                         .snapshots = cases[i].snapshots,
                                         .wal_segments = cases[i].segments};
        instant_parse("2026-11-18T02:00:00Z", &facts.left.at_us, &(bool){false}, NULL);
        make_plan(&facts, &world, "2026-11-21T12:00", &plan);
        assert_int_equal(plan.delete_count, 2);
        assert_string_equal(plan.needs_force ? plan.needs_force : "",
                            cases[i].force ? cases[i].force : "");
        retention_plan_clear(&plan);
        facts_clear(&facts);
    }
}

/* The hash stands for what is done, not for when it is asked or why. */
static void test_hash(void **state)
{
    (void)state;
    static const char text[] = "2026-11-17T02:00 2026-11-18T02:00,held-to=2026-12-01 2026-11-19";
    struct world world;
    struct facts facts;
    struct retention_plan first = {0}, later = {0}, after = {0};
    make_world(&world, &(struct keep_rules){.is_set = true, .last = 1}, 0);
    history(&facts, text);
    make_plan(&facts, &world, "2026-11-21T12:00", &first);
    assert_int_equal(strlen(first.hash), 64);
    make_plan(&facts, &world, "2026-11-30T12:00", &later);
    assert_string_equal(first.hash, later.hash);
    make_plan(&facts, &world, "2026-12-01T12:00", &after); /* the hold is over: another plan */
    assert_string_not_equal(first.hash, after.hash);
    retention_plan_clear(&later);
    static char other[] = "d";
    world.policy.cluster = other;
    make_plan(&facts, &world, "2026-11-21T12:00", &later);
    assert_string_not_equal(first.hash, later.hash);
    retention_plan_clear(&first);
    retention_plan_clear(&later);
    retention_plan_clear(&after);
    facts_clear(&facts);
}

/* printf 'pgcairn plan 1\ncluster c\ndelete dump b0\nkeep dump b1\n' | sha256sum */
static void test_hash_is_of_the_canonical_text(void **state)
{
    (void)state;
    struct world world;
    struct facts facts;
    struct retention_plan plan = {0};
    make_world(&world, &(struct keep_rules){.is_set = true, .last = 1}, 0);
    history(&facts, "2026-11-17T02:00 2026-11-18T02:00");
    make_plan(&facts, &world, "2026-11-21T12:00", &plan);
    assert_string_equal(plan.hash,
                        "2c14383f10dc2b52136b0110907899a9de53b2278317f5216e8263a844fd5cf4");
    retention_plan_clear(&plan);
    facts_clear(&facts);
}

static void test_find(void **state)
{
    (void)state;
    struct world world;
    struct facts facts;
    struct retention_plan plan = {0};
    make_world(&world, &(struct keep_rules){.is_set = true, .last = 1}, 0);
    history(&facts, "2026-11-17 2026-11-18 2026-11-16 2026-11-15 2026-11-14");
    make_plan(&facts, &world, "2026-11-21T12:00", &plan);
    for (size_t i = 0; i < facts.backup_count; i++) {
        const struct retention_decision *decision = retention_find(&plan, facts.backups[i].id);
        assert_non_null(decision);
        assert_string_equal(decision->id, facts.backups[i].id);
    }
    assert_null(retention_find(&plan, "b"));
    assert_null(retention_find(&plan, "b9"));
    assert_string_equal(retention_find(&plan, "b1")->rule, "last");
    retention_plan_clear(&plan);
    facts_clear(&facts);
}

/* Which backups are kept under the zone, as "b0 b2". */
static void check_zone(const struct zone *job_zone, const struct keep_rules *keep, const char *text,
                       const char *expected)
{
    struct world world;
    struct facts facts;
    struct retention_plan plan = {0};
    struct buf kept = BUF_INIT(BUF_LIMIT_DEFAULT);
    make_world(&world, keep, 0);
    const struct zone *zones[ARRAY_SIZE(world.jobs)] = {job_zone};
    world.zones.jobs = zones;
    history(&facts, text);
    make_plan(&facts, &world, "2027-01-01", &plan);
    for (size_t i = 0; i < facts.backup_count; i++)
        if (retention_find(&plan, facts.backups[i].id)->action == RETENTION_KEEP)
            buf_addf(&kept, "%s%s", kept.length ? " " : "", facts.backups[i].id);
    if (strcmp(buf_text(&kept), expected) != 0)
        fail_msg("%s: kept %s, expected %s", text, buf_text(&kept), expected);
    buf_clear(&kept);
    retention_plan_clear(&plan);
    facts_clear(&facts);
}

static void test_zones(void **state)
{
    (void)state;
    const struct keep_rules daily = KEEP(.daily = 9), hourly = KEEP(.hourly = 9),
                            yearly = KEEP(.yearly = 9), weekly = KEEP(.weekly = 9);
    /* 22:30Z and 23:30Z: one day in UTC, two in Berlin's winter */
    check_zone(utc, &daily, "2026-11-19T22:30 2026-11-19T23:30", "b1");
    check_zone(berlin, &daily, "2026-11-19T22:30 2026-11-19T23:30", "b0 b1");
    check_zone(NULL, &daily, "2026-11-19T22:30 2026-11-19T23:30", "b1");
    /* 25 October 2026: 02:30 comes twice, one hour apart: two hours, one day */
    check_zone(berlin, &hourly, "2026-10-25T00:30 2026-10-25T01:30", "b0 b1");
    check_zone(berlin, &hourly, "2026-10-25T00:10 2026-10-25T00:30", "b1");
    check_zone(berlin, &daily, "2026-10-25T00:30 2026-10-25T01:30", "b1");
    /* the day of 25 hours ends at 23:00Z, the day of 23 hours (29 March) begins at 23:00Z */
    check_zone(berlin, &daily, "2026-10-24T22:00 2026-10-25T22:59 2026-10-25T23:00", "b1 b2");
    check_zone(berlin, &daily,
               "2026-03-28T22:59 2026-03-28T23:00 2026-03-29T21:59 2026-03-29T22:00", "b0 b2 b3");
    /* midnight of a year and of a week in Berlin */
    check_zone(berlin, &yearly, "2025-12-31T22:59 2025-12-31T23:00", "b0 b1");
    check_zone(utc, &yearly, "2025-12-31T22:59 2025-12-31T23:00", "b1");
    check_zone(berlin, &weekly, "2026-11-15T22:59 2026-11-15T23:00", "b0 b1");
}

/* The period of a rule that a day lies in, as a number. */
static int64_t period_of(int rule, int64_t days)
{
    struct civil civil;
    int32_t year;
    int week;
    civil_from_days(days, &civil);
    civil_iso_week(&civil, &year, &week);
    return rule == 0   ? days
           : rule == 1 ? year * 100 + week
           : rule == 2 ? civil.year * 12 + civil.month
                       : civil.year;
}

/* Backups of one weekday only, whichever it is: each rule keeps the newest of each of its newest
 * periods that have one, no calendar day is needed, and nothing else stays. */
static void check_weekday(int weekday, const struct keep_rules *keep)
{
    enum { WEEKS = 60 };
    const int counts[] = {keep->daily, keep->weekly, keep->monthly, keep->yearly};
    const int64_t newest = civil_days(2026, 11, 8) + weekday;
    bool wanted[WEEKS] = {false};
    struct world world;
    struct facts facts;
    struct retention_plan plan = {0};
    struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
    for (int rule = 0; rule < 4; rule++) {
        int64_t last = INT64_MIN;
        for (int i = 0, left = counts[rule]; i < WEEKS && left > 0; i++) {
            int64_t period = period_of(rule, newest - 7 * i);
            wanted[i] = wanted[i] || period != last;
            left -= period != last;
            last = period;
        }
    }
    for (int i = 0; i < WEEKS; i++) {
        struct civil civil;
        civil_from_days(newest - 7 * i, &civil);
        buf_addf(&text, "%s%04d-%02d-%02dT03:00", i ? " " : "", civil.year, civil.month, civil.day);
    }
    make_world(&world, keep, 0);
    history(&facts, buf_text(&text));
    make_plan(&facts, &world, "2026-11-21T12:00", &plan);
    for (size_t i = 0; i < facts.backup_count; i++)
        if ((retention_find(&plan, facts.backups[i].id)->action == RETENTION_KEEP) != wanted[i])
            fail_msg("weekday %d: %s is%s wanted", weekday, facts.backups[i].id,
                     wanted[i] ? "" : " not");
    retention_plan_clear(&plan);
    facts_clear(&facts);
    buf_clear(&text);
}

static void test_one_weekday(void **state)
{
    (void)state;
    const struct keep_rules keep = KEEP(.daily = 7, .weekly = 4, .monthly = 12, .yearly = 5);
    for (int weekday = 0; weekday < 7; weekday++)
        check_weekday(weekday, &keep);
}

/* With backups failing for a year, the clock alone takes nothing away. */
static void test_time_stands_still_while_backups_fail(void **state)
{
    (void)state;
    struct world world;
    struct facts facts;
    struct retention_plan plan = {0};
    make_world(&world, &(struct keep_rules){.is_set = true, .within_us = DAYS(30), .daily = 7}, 0);
    history(&facts, "");
    for (int day = 0; day < 31 + 365; day++) {
        char word[80], when[INSTANT_TEXT_MAX];
        instant_format(at("2025-01-01T02:00:00") + DAYS(day), when);
        snprintf(word, sizeof(word), "%s%s", when, day < 31 ? "" : ",state=garbage");
        add_word(&facts, word);
    }
    make_plan(&facts, &world, "2027-01-01", &plan);
    assert_int_equal(plan.delete_count, 365);
    for (size_t i = 0; i < facts.backup_count; i++)
        assert_int_equal(retention_find(&plan, facts.backups[i].id)->action,
                         i < 31 ? RETENTION_KEEP : RETENTION_DELETE);
    assert_null(plan.needs_force);
    retention_plan_clear(&plan);
    facts_clear(&facts);
}

/* A rebuilt or upgraded server begins with small positions, timeline 1 and any identifier; a reset
 * may take any of them back. What was made later is newer all the same. */
static void test_an_upgrade_makes_nothing_look_old(void **state)
{
    (void)state;
    static const char *const LATER[] = {"42/1:1-1", "9999/1:1-1", "7600/1:1-1", "7600/9:2-3",
                                        "7600/10:900-901"};
    for (size_t i = 0; i < ARRAY_SIZE(LATER); i++) {
        struct world world;
        struct facts facts;
        struct retention_plan plan = {0};
        char words[300];
        snprintf(words, sizeof(words),
                 "2026-11-20T02:00,job=weekly,wal=%s 2026-11-19T02:00,job=weekly,wal=%s "
                 "2026-11-18T02:00,job=weekly,wal=7600/9:910-911 "
                 "2026-11-17T02:00,job=weekly,wal=7600/9:900-901",
                 LATER[i], LATER[i]);
        make_world(&world, &(struct keep_rules){.is_set = true, .last = 1}, 0);
        history(&facts, words);
        make_plan(&facts, &world, "2026-11-21T12:00", &plan);
        for (size_t j = 0; j < facts.backup_count; j++)
            if ((retention_find(&plan, facts.backups[j].id)->action == RETENTION_KEEP) != (j < 2))
                fail_msg("%s: %s is%s kept", LATER[i], facts.backups[j].id, j < 2 ? " not" : "");
        assert_null(plan.needs_force);
        retention_plan_clear(&plan);
        facts_clear(&facts);
    }
}

static int load_zones(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    return zone_load("UTC", &utc, &err) || zone_load("Europe/Berlin", &berlin, &err) ? -1 : 0;
}

static int free_zones(void **state)
{
    (void)state;
    zone_free(utc);
    zone_free(berlin);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_incomplete_listing_deletes_nothing),
        cmocka_unit_test(test_a_listing_that_shrank),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_hash_is_of_the_canonical_text),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_zones),
        cmocka_unit_test(test_one_weekday),
        cmocka_unit_test(test_time_stands_still_while_backups_fail),
        cmocka_unit_test(test_an_upgrade_makes_nothing_look_old),
    };
    return cmocka_run_group_tests(tests, load_zones, free_zones);
}
