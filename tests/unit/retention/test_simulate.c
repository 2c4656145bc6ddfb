/* Simulations and contradictions of small policies with real schedules. */
#include "retention/history.h"

static struct zone *utc, *berlin;
static char name_dump[] = "nightly", name_prune[] = "prune", name_monthly[] = "monthly";

struct world {
    struct policy_job jobs[3];
    struct policy policy;
    struct retention_zones zones;
};

static struct cron_expr *parse(const char *text)
{
    struct cron_expr *expr = NULL;
    struct error err = ERROR_NONE;
    if (text && cron_parse(text, NULL, &expr, NULL, &err))
        fail_msg("%s: %s", text, err.message);
    return expr;
}

/* A dump job and a prune job; NULL: without a schedule. */
static void make_world(struct world *world, const char *dump, struct keep_rules keep,
                       const char *prune)
{
    keep.is_set = true;
    keep.line = 12;
    *world = (struct world){
        .jobs = {{.name = name_dump, .type = JOB_DUMP, .keep = keep, .schedule = parse(dump)},
                 {.name = name_prune, .type = JOB_PRUNE, .line = 15, .schedule = parse(prune)},
                 {.name = name_monthly, .type = JOB_DUMP}},
        .zones = {.policy = utc}};
    world->policy = policy_of(world->jobs, 2);
}

static void clear_world(struct world *world)
{
    for (size_t i = 0; i < ARRAY_SIZE(world->jobs); i++)
        if (world->jobs[i].schedule)
            cron_free(world->jobs[i].schedule);
}

static void simulate(struct world *world, int64_t days, struct retention_simulation *simulation)
{
    struct error err = ERROR_NONE;
    const int64_t bytes[] = {1000, 0, 10};
    if (retention_simulate(&world->policy, &world->zones, bytes, NULL, at("2026-11-21T12:00"), days,
                           simulation, &err))
        fail_msg("%s", err.message);
}

#define DAYS(n) ((n)*US_PER_DAY)
#define DAY_S (US_PER_DAY / US_PER_SECOND)
#define HOUR_S (US_PER_HOUR / US_PER_SECOND)

struct simulated_row {
    const char *dump;
    struct keep_rules keep;
    const char *prune;
    int64_t days;
    size_t kept, peak;
    int64_t oldest_s, window_min_s, window_max_s;
};

static const struct simulated_row simulated[] = {
    /* 02:00 each night, pruned at 05:15: 30 days back and the newest; before the prune one more */
    {"0 2 * * *",
     {.within_us = DAYS(30)},
     "15 5 * * *",
     10,
     31,
     32,
     30 * DAY_S + 3 * HOUR_S + 900,
     30 * DAY_S + 3 * HOUR_S + 900,
     31 * DAY_S + 3 * HOUR_S + 900},
    {"0 2 * * *",
     {.within_us = DAYS(30), .last = 3},
     "15 5 * * *",
     400,
     31,
     32,
     30 * DAY_S + 3 * HOUR_S + 900,
     30 * DAY_S + 3 * HOUR_S + 900,
     31 * DAY_S + 3 * HOUR_S + 900},
    {"0 2 * * *",
     {.last = 3},
     "15 5 * * *",
     5,
     3,
     4,
     2 * DAY_S + 3 * HOUR_S + 900,
     2 * DAY_S + 3 * HOUR_S + 900,
     3 * DAY_S + 3 * HOUR_S + 900},
    /* pruned on Sundays only: up to a week more */
    {"0 2 * * *",
     {.last = 3},
     "0 3 * * sun",
     28,
     3,
     10,
     2 * DAY_S + HOUR_S,
     2 * DAY_S + HOUR_S,
     9 * DAY_S + HOUR_S},
    /* no prune scheduled: one a day is assumed, at the hour of now */
    {"0 2 * * *",
     {.last = 3},
     NULL,
     5,
     3,
     4,
     2 * DAY_S + 10 * HOUR_S,
     2 * DAY_S + 10 * HOUR_S,
     3 * DAY_S + 10 * HOUR_S},
    /* hourly, with the newest of 7 days: 24 hours, and 6 days more */
    {"0 * * * *",
     {.hourly = 24, .daily = 7},
     "30 23 * * *",
     3,
     30,
     54,
     6 * DAY_S + HOUR_S / 2,
     6 * DAY_S + HOUR_S / 2,
     7 * DAY_S + HOUR_S / 2},
    /* by hand only: nothing is made */
    {NULL, {.last = 3}, "15 5 * * *", 5, 0, 0, 0, 0, 0},
};

static void test_steady_state(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(simulated); i++) {
        const struct simulated_row *row = &simulated[i];
        struct world world;
        struct retention_simulation simulation = {0};
        make_world(&world, row->dump, row->keep, row->prune);
        simulate(&world, row->days, &simulation);
        const struct retention_simulated_job *job = &simulation.jobs[0];
        print_message("%s: kept %zu peak %zu oldest %lld window %lld..%lld\n",
                      row->dump ? row->dump : "by hand", job->kept, job->kept_peak,
                      (long long)job->oldest_s, (long long)simulation.window_min_s,
                      (long long)simulation.window_max_s);
        assert_int_equal(simulation.job_count, 1);
        assert_ptr_equal(job->job, &world.jobs[0]);
        assert_int_equal(job->kept, row->kept);
        assert_int_equal(job->kept_peak, row->peak);
        assert_int_equal(job->bytes, 1000 * row->kept);
        assert_int_equal(job->bytes_peak, 1000 * row->peak);
        assert_int_equal(job->oldest_s, row->oldest_s);
        assert_int_equal(simulation.window_min_s, row->window_min_s);
        assert_int_equal(simulation.window_max_s, row->window_max_s);
        assert_int_equal(simulation.day_count, row->days);
        assert_int_equal(simulation.days[row->days - 1].end_us, at("2026-11-21T12:00"));
        assert_true(simulation.settled);
        retention_simulation_clear(&simulation);
        clear_world(&world);
    }
}

/* In a steady state as many are deleted as are made, and each day looks like the one before. */
static void test_days(void **state)
{
    (void)state;
    struct world world;
    struct retention_simulation simulation = {0};
    make_world(&world, "0 2 * * *", (struct keep_rules){.within_us = DAYS(30)}, "15 5 * * *");
    simulate(&world, 20, &simulation);
    for (size_t i = 0; i < 20; i++) {
        const struct retention_simulated_day *day = &simulation.days[i];
        assert_int_equal(day->made, 1);
        assert_int_equal(day->deleted, 1);
        assert_int_equal(day->kept, 31);
        assert_int_equal(day->bytes, 31000);
        assert_int_equal(day->window_s, 30 * DAY_S + 10 * HOUR_S);
    }
    retention_simulation_clear(&simulation);
    clear_world(&world);
}

static void test_two_jobs(void **state)
{
    (void)state;
    struct world world;
    struct retention_simulation simulation = {0};
    make_world(&world, "0 2 * * *", (struct keep_rules){.within_us = DAYS(30)}, "15 5 * * *");
    world.jobs[2].schedule = parse("0 1 1 * *");
    world.jobs[2].keep = (struct keep_rules){.is_set = true, .last = 12};
    world.policy.job_count = 3;
    simulate(&world, 31, &simulation);
    assert_int_equal(simulation.job_count, 2);
    assert_int_equal(simulation.jobs[0].kept, 31);
    assert_int_equal(simulation.jobs[1].kept, 12);
    assert_int_equal(simulation.jobs[1].bytes, 120);
    assert_true(simulation.window_min_s > 330 * DAY_S);
    retention_simulation_clear(&simulation);
    clear_world(&world);
}

static void check_limit(const char *dump, struct keep_rules keep, int64_t days, int code,
                        const char *message)
{
    struct world world;
    struct retention_simulation simulation = {0};
    struct error err = ERROR_NONE;
    make_world(&world, dump, keep, "15 5 * * *");
    int rc = retention_simulate(&world.policy, &world.zones, NULL, NULL, at("2026-11-21T12:00"),
                                days, &simulation, &err);
    assert_int_equal(rc, code);
    assert_string_equal(err.message, message);
    clear_world(&world);
}

static void test_limits(void **state)
{
    (void)state;
    struct keep_rules last = {.last = 3};
    check_limit("0 2 * * *", last, 0, ERR_USAGE, "a simulation takes at least one day");
    check_limit("0 2 * * *", last, 36601, ERR_LIMIT, "a simulation takes at most 36600 days");
    check_limit("* * * * *", (struct keep_rules){.last = 300000}, 1, ERR_LIMIT,
                "job \"nightly\" keeps more than 200000 backups at one time: too many to simulate");
    check_limit("*/2 * * * *", (struct keep_rules){.within_us = DAYS(300)}, 1, ERR_LIMIT,
                "job \"nightly\" keeps more than 200000 backups at one time: too many to simulate");
}

/* A rule that takes longer to fill than is simulated is said to be so. */
static void test_unsettled(void **state)
{
    (void)state;
    struct world world;
    struct retention_simulation simulation = {0};
    make_world(&world, "0 2 1 * *", (struct keep_rules){.last = 1000}, "15 5 * * *");
    simulate(&world, 5, &simulation);
    assert_false(simulation.settled);
    retention_simulation_clear(&simulation);
    clear_world(&world);
}

struct contradiction_row {
    const char *dump;
    struct keep_rules keep;
    const char *prune;
    int require_verified;
    const char *warnings;
};

static const struct contradiction_row contradictions[] = {
    {"0 2 * * *", {.within_us = DAYS(30), .last = 3}, "15 5 * * *", 0, ""},
    {"0 * * * *", {.hourly = 24, .daily = 7, .weekly = 4, .yearly = 2}, "15 5 * * *", 0, ""},
    {NULL, {.within_us = US_PER_HOUR}, "15 5 * * *", 0, ""},
    {"0 2 * * *",
     {.last = 3},
     NULL,
     0,
     "12: keep: has no effect: no prune job has a schedule, so nothing is ever deleted\n"},
    {"0 2 * * *",
     {.within_us = 6 * US_PER_HOUR},
     "15 * * * *",
     0,
     "12: job \"nightly\": within 6h is shorter than the 1d between two runs: only the newest "
     "backup stays\n"},
    {"0 2 * * *", {.within_us = 6 * US_PER_HOUR, .daily = 7}, "15 5 * * *", 0, ""},
    {"0 2 * * *",
     {.hourly = 24},
     "15 5 * * *",
     0,
     "12: job \"nightly\" runs every 1d on average: hourly 24 is the same as last 24\n"},
    {"0 2 * * sun",
     {.daily = 7},
     "15 5 * * *",
     0,
     "12: job \"nightly\" runs every 7d on average: daily 7 is the same as last 7\n"},
    {"0 2 * * sun",
     {.last = 2000},
     "15 5 * * *",
     0,
     "12: job \"nightly\": last 2000 deletes nothing for the first 38 years\n"},
    {"0 2 * * *",
     {.last = 3},
     "0 5 1 1 *",
     0,
     "12: job \"nightly\": keep: reaches 3d back, but up to 366d pass between two prunes: until the "
     "next one far more is kept\n"},
    {"0 2 * * *",
     {.last = 3},
     "15 5 * * *",
     2,
     "15: job \"prune\": require_verified: 2, but no verify job has a schedule: no backup ever "
     "counts, so none is ever deleted\n"},
};

static void test_contradictions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(contradictions); i++) {
        const struct contradiction_row *row = &contradictions[i];
        struct world world;
        struct policy_problems warnings = {0};
        struct error err = ERROR_NONE;
        char text[4096] = "";
        size_t length = 0;
        make_world(&world, row->dump, row->keep, row->prune);
        world.jobs[1].require_verified = row->require_verified;
        assert_int_equal(retention_contradictions(&world.policy, &world.zones,
                                                  at("2026-11-21T12:00"), &warnings, &err),
                         0);
        for (size_t n = 0; n < warnings.count; n++) {
            assert_true(warnings.items[n].is_warning);
            length += (size_t)snprintf(text + length, sizeof(text) - length, "%d: %s\n",
                                       warnings.items[n].line, warnings.items[n].message);
        }
        if (strcmp(text, row->warnings) != 0)
            fail_msg("row %zu:\n-- expected\n%s-- got\n%s", i, row->warnings, text);
        policy_problems_clear(&warnings);
        clear_world(&world);
    }
}

/* A policy of snapshots and WAL; NULL: no such job. */
struct recovery_row {
    const char *snapshot;
    struct keep_rules snapshot_keep;
    const char *wal;
    struct keep_rules wal_keep;
    int64_t window_s;     /* that is guaranteed */
    int64_t from_s, to_s; /* and simulated: at least, at most */
    size_t snapshots;     /* kept at most */
    const char *warnings;
};

static const struct recovery_row recoveries[] = {
    /* Sundays at 03:00, pruned at 05:15: the last but one is the anchor until it is past 7 days */
    {"0 3 * * sun",
     {.within_us = DAYS(90), .last = 2},
     "0 * * * *",
     {.within_us = DAYS(7)},
     7 * DAY_S,
     7 * DAY_S + 2 * HOUR_S + 900,
     14 * DAY_S + 2 * HOUR_S + 900,
     14,
     ""},
    {"0 3 * * *",
     {.last = 8},
     "0 * * * *",
     {.within_us = DAYS(7)},
     7 * DAY_S,
     7 * DAY_S + 2 * HOUR_S + 900,
     8 * DAY_S + 2 * HOUR_S + 900,
     9,
     ""},
    /* Rules that keep snapshots for less than the window: two stay as anchors, in turn, and WAL
     * does not grow for ever. */
    {"0 3 * * *",
     {.last = 1},
     "0 * * * *",
     {.within_us = DAYS(7)},
     7 * DAY_S,
     7 * DAY_S + 2 * HOUR_S + 900,
     13 * DAY_S + 2 * HOUR_S + 900,
     4,
     "12: job \"weekly\": keep: reaches 1d back, job \"wal\" 7d: older snapshots stay only where "
     "recovery begins with them, and it replays up to 7d of WAL\n"},
    {"0 3 1 * *",
     {.last = 3},
     "0 * * * *",
     {.within_us = DAYS(7)},
     7 * DAY_S,
     7 * DAY_S + 2 * HOUR_S + 900,
     38 * DAY_S + 2 * HOUR_S + 900,
     4,
     "22: job \"wal\": within 7d is less than the 31d between two snapshots: WAL of up to 38d is "
     "kept, and a recovery replays up to 31d of it\n"},
    /* no rule for WAL: it goes back to the oldest snapshot that is kept */
    {"0 3 * * *",
     {.within_us = DAYS(30)},
     "0 * * * *",
     {.last = 3},
     30 * DAY_S,
     30 * DAY_S + 2 * HOUR_S + 900,
     31 * DAY_S + 2 * HOUR_S + 900,
     32,
     "22: job \"wal\": WAL is kept by within alone, so none is deleted: last 3 has no meaning\n"},
    {NULL,
     {.last = 1},
     "0 * * * *",
     {.within_us = DAYS(7)},
     0,
     0,
     0,
     0,
     "20: job \"wal\": no snapshot job has a schedule: all WAL since the last snapshot is kept, and "
     "a recovery replays it\n"},
};

static void make_recovery(struct world *world, const struct recovery_row *row)
{
    static char weekly[] = "weekly", wal[] = "wal";
    make_world(world, NULL, row->snapshot_keep, "15 5 * * *");
    world->jobs[0].name = weekly;
    world->jobs[0].type = JOB_SNAPSHOT;
    world->jobs[0].line = 10;
    world->jobs[0].schedule = parse(row->snapshot);
    world->jobs[2].name = wal;
    world->jobs[2].type = JOB_WAL;
    world->jobs[2].line = 20;
    world->jobs[2].schedule = parse(row->wal);
    world->jobs[2].keep = row->wal_keep;
    world->jobs[2].keep.is_set = true;
    world->jobs[2].keep.line = 22;
    world->policy.job_count = 3;
}

static void assert_warnings(const struct world *world, const char *expected)
{
    struct policy_problems warnings = {0};
    struct error err = ERROR_NONE;
    char text[4096] = "";
    size_t length = 0;
    assert_int_equal(retention_contradictions(&world->policy, &world->zones, at("2026-11-21T12:00"),
                                              &warnings, &err),
                     0);
    for (size_t n = 0; n < warnings.count; n++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%d: %s\n",
                                   warnings.items[n].line, warnings.items[n].message);
    assert_string_equal(text, expected);
    policy_problems_clear(&warnings);
}

static void test_recovery(void **state)
{
    (void)state;
    static const struct retention_wal_rate rate = {86400000, 86400};
    for (size_t i = 0; i < ARRAY_SIZE(recoveries); i++) {
        const struct recovery_row *row = &recoveries[i];
        struct world world;
        struct retention_simulation simulation = {0};
        struct error err = ERROR_NONE;
        int64_t window_s = -1;
        make_recovery(&world, row);
        assert_warnings(&world, row->warnings);
        assert_int_equal(retention_window_s(&world.policy, &world.zones, at("2026-11-21T12:00"),
                                            &window_s, &err),
                         0);
        assert_int_equal(window_s, row->window_s);
        if (retention_simulate(&world.policy, &world.zones, NULL, &rate, at("2026-11-21T12:00"),
                               100, &simulation, &err))
            fail_msg("%s", err.message);
        print_message("row %zu: window %lld..%lld, %zu snapshots\n", i,
                      (long long)simulation.window_min_s, (long long)simulation.window_max_s,
                      simulation.jobs[0].kept_peak);
        assert_true(simulation.has_recovery);
        assert_int_equal(simulation.window_min_s, row->from_s);
        assert_int_equal(simulation.window_max_s, row->to_s);
        assert_int_equal(simulation.jobs[0].kept_peak, row->snapshots);
        const struct retention_simulated_job *wal = &simulation.jobs[1];
        assert_ptr_equal(wal->job, &world.jobs[2]);
        assert_int_equal(wal->bytes, wal->oldest_s * 1000);
        assert_int_equal(wal->kept, wal->oldest_s);
        assert_true(wal->oldest_s >= simulation.days[99].recovery_s - DAY_S);
        retention_simulation_clear(&simulation);
        clear_world(&world);
    }
}

/* One of the two without the other. */
static void test_half_a_recovery(void **state)
{
    (void)state;
    const struct recovery_row row = {
        "0 3 * * *", {.last = 9}, "0 * * * *", {.within_us = DAYS(7)}, 0, 0, 0, 0, NULL};
    struct world world;
    int64_t window_s = -1;
    make_recovery(&world, &row);
    world.policy.job_count = 2;
    assert_warnings(&world, "10: job \"weekly\": there is no job of type wal: what is written "
                            "between two snapshots can't be recovered\n");
    assert_int_equal(
        retention_window_s(&world.policy, &world.zones, at("2026-11-21T12:00"), &window_s, NULL),
        0);
    assert_int_equal(window_s, 0);
    world.policy.job_count = 3;
    world.jobs[0].type = JOB_DUMP;
    assert_warnings(&world, "20: job \"wal\": no job of type snapshot makes an anchor to begin "
                            "recovery with: WAL alone recovers nothing, and none is deleted\n");
    clear_world(&world);
}

/* Buckets and schedules are in the job's own zone: hours of Berlin's long day included. */
static void test_zone_of_job(void **state)
{
    (void)state;
    struct world world;
    struct retention_simulation simulation = {0};
    make_world(&world, "30 0 * * *", (struct keep_rules){.daily = 7}, "15 5 * * *");
    const struct zone *zones[] = {berlin, NULL};
    world.zones.jobs = zones;
    simulate(&world, 60, &simulation); /* across 25 October */
    for (size_t i = 0; i < simulation.day_count; i++)
        assert_int_equal(simulation.days[i].kept, 7);
    /* 00:30 in Berlin, seen from 05:15 UTC in winter */
    assert_int_equal(simulation.jobs[0].oldest_s, 6 * DAY_S + 5 * HOUR_S + HOUR_S * 3 / 4);
    retention_simulation_clear(&simulation);
    clear_world(&world);
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
        cmocka_unit_test(test_steady_state),    cmocka_unit_test(test_days),
        cmocka_unit_test(test_two_jobs),        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_unsettled),       cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_zone_of_job),     cmocka_unit_test(test_recovery),
        cmocka_unit_test(test_half_a_recovery),
    };
    return cmocka_run_group_tests(tests, load_zones, free_zones);
}
