/* Due instants under an injected clock: single looks as a table, then whole days simulated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon/due.h"

enum { TEXT_MAX = 1024, SIMULATED_MAX = 5000 };

static int64_t at(const char *text)
{
    int64_t instant_us = 0;
    bool has_offset;
    struct error err = ERROR_NONE;
    if (instant_parse(text, &instant_us, &has_offset, &err))
        fail_msg("%s: %s", text, err.message);
    return instant_us;
}

struct fixture {
    struct cron_expr *schedule;
    struct zone *zone;
    struct due_job job;
};

static void set_up(struct fixture *fixture, const char *schedule, const char *zone)
{
    struct cron_options options = {.hash_id = "main/job", .allow_seconds = true};
    struct error err = ERROR_NONE;
    if (cron_parse(schedule, &options, &fixture->schedule, NULL, &err) ||
        zone_load(zone, &fixture->zone, &err))
        fail_msg("%s %s: %s", schedule, zone, err.message);
    fixture->job = (struct due_job){
        .schedule = fixture->schedule, .zone = fixture->zone, .identity = "main/job"};
}

static void tear_down(struct fixture *fixture)
{
    cron_free(fixture->schedule);
    zone_free(fixture->zone);
    *fixture = (struct fixture){0};
}

static void add_instant(char *text, int64_t instant_us)
{
    char one[INSTANT_TEXT_MAX];
    size_t length = strlen(text);
    snprintf(text + length, TEXT_MAX - length, "%s%s", length ? " " : "",
             instant_format(instant_us, one));
}

static const struct look {
    const char *name;
    const char *schedule, *zone;
    enum missed_rule on_missed;
    const char *accounted, *last_look, *now; /* last_look NULL: the first look */
    const char *starts;                      /* expected due instants */
    int64_t missed;
    const char *accounted_after;
} LOOKS[] = {
    {"nothing is due yet", "0 2 * * *", "UTC", MISSED_ONCE, "2026-11-20T02:00:00Z",
     "2026-11-21T01:59:00Z", "2026-11-21T01:59:59Z", "", 0, "2026-11-20T02:00:00Z"},
    {"due at this very second", "0 2 * * *", "UTC", MISSED_ONCE, "2026-11-20T02:00:00Z",
     "2026-11-21T01:59:59Z", "2026-11-21T02:00:00Z", "2026-11-21T02:00:00Z", 0,
     "2026-11-21T02:00:00Z"},
    {"a look in between starts nothing twice", "0 2 * * *", "UTC", MISSED_ONCE,
     "2026-11-21T02:00:00Z", "2026-11-21T02:00:00Z", "2026-11-21T02:00:01Z", "", 0,
     "2026-11-21T02:00:00Z"},
    {"a slow loop starts every second's run", "* * * * * *", "UTC", MISSED_ONCE,
     "2026-11-21T02:00:00Z", "2026-11-21T02:00:00Z", "2026-11-21T02:00:03Z",
     "2026-11-21T02:00:01Z 2026-11-21T02:00:02Z 2026-11-21T02:00:03Z", 0, "2026-11-21T02:00:03Z"},
    {"even where missed ones are skipped", "* * * * * *", "UTC", MISSED_SKIP,
     "2026-11-21T02:00:00Z", "2026-11-21T02:00:00Z", "2026-11-21T02:00:02Z",
     "2026-11-21T02:00:01Z 2026-11-21T02:00:02Z", 0, "2026-11-21T02:00:02Z"},
    {"three nights down, once", "0 2 * * *", "UTC", MISSED_ONCE, "2026-11-17T02:00:00Z", NULL,
     "2026-11-20T09:00:00Z", "2026-11-20T02:00:00Z", 2, "2026-11-20T02:00:00Z"},
    {"three nights down, all", "0 2 * * *", "UTC", MISSED_ALL, "2026-11-17T02:00:00Z", NULL,
     "2026-11-20T09:00:00Z", "2026-11-18T02:00:00Z 2026-11-19T02:00:00Z 2026-11-20T02:00:00Z", 0,
     "2026-11-20T02:00:00Z"},
    {"three nights down, skip", "0 2 * * *", "UTC", MISSED_SKIP, "2026-11-17T02:00:00Z", NULL,
     "2026-11-20T09:00:00Z", "", 3, "2026-11-20T02:00:00Z"},
    {"restarted at the very moment, skip", "0 2 * * *", "UTC", MISSED_SKIP, "2026-11-17T02:00:00Z",
     NULL, "2026-11-20T02:00:20Z", "2026-11-20T02:00:00Z", 2, "2026-11-20T02:00:00Z"},
    {"suspended over the night", "0 2 * * *", "UTC", MISSED_SKIP, "2026-11-19T02:00:00Z",
     "2026-11-19T22:00:00Z", "2026-11-20T09:00:00Z", "", 1, "2026-11-20T02:00:00Z"},
    {"suspended, once", "*/10 * * * *", "UTC", MISSED_ONCE, "2026-11-19T22:00:00Z",
     "2026-11-19T22:00:00Z", "2026-11-20T09:00:00Z", "2026-11-20T09:00:00Z", 65,
     "2026-11-20T09:00:00Z"},
    {"a gap in the clock fires once, at the change", "30 2 * * *", "Europe/Berlin", MISSED_ONCE,
     "2026-03-28T01:30:00Z", "2026-03-29T00:59:30Z", "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z",
     0, "2026-03-29T01:00:00Z"},
    {"the clock is behind what was done: nothing again", "0 * * * *", "UTC", MISSED_ONCE,
     "2026-11-20T10:00:00Z", "2026-11-20T10:30:00Z", "2026-11-20T09:30:00Z", "", 0,
     "2026-11-20T10:00:00Z"},
};

static void test_single_looks(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(LOOKS); i++) {
        const struct look *row = &LOOKS[i];
        struct fixture fixture;
        struct due_check check;
        char starts[TEXT_MAX] = "";
        set_up(&fixture, row->schedule, row->zone);
        fixture.job.on_missed = row->on_missed;
        due_check(&fixture.job, at(row->accounted),
                  row->last_look ? at(row->last_look) : INSTANT_NONE, at(row->now), &check);
        for (size_t j = 0; j < check.count; j++)
            add_instant(starts, check.due_us[j]);
        if (strcmp(starts, row->starts) != 0 || check.missed.count != row->missed ||
            check.accounted_us != at(row->accounted_after))
            fail_msg("%s: starts \"%s\" instead of \"%s\", missed %d instead of %d", row->name,
                     starts, row->starts, (int)check.missed.count, (int)row->missed);
        tear_down(&fixture);
    }
}

static void test_all_is_bounded(void **state)
{
    (void)state;
    struct fixture fixture;
    struct due_check check;
    set_up(&fixture, "0 * * * *", "UTC");
    fixture.job.on_missed = MISSED_ALL;
    due_check(&fixture.job, at("2026-11-01T00:00:00Z"), INSTANT_NONE, at("2026-11-11T00:00:00Z"),
              &check);
    assert_int_equal(check.count, DUE_STARTS_MAX);
    assert_int_equal(check.due_us[0], at("2026-11-10T01:00:00Z"));
    assert_int_equal(check.missed.count, 240 - DUE_STARTS_MAX);
    assert_int_equal(check.missed.first_us, at("2026-11-01T01:00:00Z"));
    assert_int_equal(check.missed.last_us, at("2026-11-10T00:00:00Z"));
    tear_down(&fixture);
}

/* A year of every second passed: counting ends, the newest still runs. */
static void test_counting_missed_ends(void **state)
{
    (void)state;
    struct fixture fixture;
    struct due_check check;
    set_up(&fixture, "* * * * * *", "UTC");
    due_check(&fixture.job, at("2025-11-01T00:00:00Z"), INSTANT_NONE, at("2026-11-11T00:00:00Z"),
              &check);
    assert_int_equal(check.count, 1);
    assert_int_equal(check.missed.count, DUE_MISSED_MAX);
    assert_int_equal(check.accounted_us, at("2026-11-11T00:00:00Z"));
    tear_down(&fixture);
}

static void test_jitter_is_stable_and_ends_before_the_next(void **state)
{
    (void)state;
    struct fixture fixture, other;
    struct due_check check;
    int64_t accounted_us = at("2026-11-20T02:00:00Z"), due_us = at("2026-11-21T02:00:00Z");
    set_up(&fixture, "0 2 * * *", "UTC");
    set_up(&other, "0 2 * * *", "UTC");
    fixture.job.jitter_us = other.job.jitter_us = US_PER_HOUR;
    other.job.identity = "main/other";
    int64_t start_us = due_next_start(&fixture.job, accounted_us);
    assert_true(start_us > due_us && start_us < due_us + US_PER_HOUR);
    assert_int_equal(start_us, due_next_start(&fixture.job, accounted_us));
    assert_int_not_equal(start_us, due_next_start(&other.job, accounted_us));
    due_check(&fixture.job, accounted_us, start_us - US_PER_SECOND, start_us - 1, &check);
    assert_int_equal(check.count, 0);
    assert_int_equal(check.accounted_us, accounted_us);
    due_check(&fixture.job, accounted_us, start_us - US_PER_SECOND, start_us, &check);
    assert_int_equal(check.count, 1);
    assert_int_equal(check.due_us[0], due_us);
    tear_down(&fixture);
    set_up(&fixture, "* * * * *", "UTC");
    fixture.job.jitter_us = US_PER_DAY;
    start_us = due_next_start(&fixture.job, due_us);
    assert_true(start_us >= due_us + US_PER_MINUTE && start_us < due_us + 2 * US_PER_MINUTE);
    tear_down(&fixture);
    tear_down(&other);
}

static void test_never_again(void **state)
{
    (void)state;
    struct fixture fixture;
    struct due_check check;
    set_up(&fixture, "0 0 1 1 * 0 2020", "UTC");
    assert_true(due_next_start(&fixture.job, at("2026-11-20T02:00:00Z")) == INSTANT_NONE);
    due_check(&fixture.job, at("2020-01-01T00:00:00Z"), INSTANT_NONE, at("2026-11-20T02:00:00Z"),
              &check);
    assert_int_equal(check.count, 0);
    tear_down(&fixture);
}

static void test_steps_of_the_clock(void **state)
{
    (void)state;
    int64_t real_us = at("2026-11-20T02:00:00Z"), boot_us = 5 * US_PER_DAY;
    static const struct {
        int64_t real_passed_us, boot_passed_us;
        bool is_step;
    } rows[] = {
        {US_PER_MINUTE, US_PER_MINUTE, false},
        {9 * US_PER_HOUR, 9 * US_PER_HOUR, false}, /* suspended: both clocks went on */
        {US_PER_MINUTE + 2 * US_PER_HOUR, US_PER_MINUTE, false},
        {US_PER_MINUTE + 3 * US_PER_HOUR, US_PER_MINUTE, true},
        {US_PER_MINUTE - 2 * US_PER_HOUR, US_PER_MINUTE, false},
        {US_PER_MINUTE - 3 * US_PER_HOUR, US_PER_MINUTE, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (due_clock_stepped(real_us, boot_us, real_us + rows[i].real_passed_us,
                              boot_us + rows[i].boot_passed_us) != rows[i].is_step)
            fail_msg("row %zu", i);
}

/*
 * A daemon in a nutshell: sleeps to the next start, at most a minute, from `from` to `to`; down
 * between `down_from` and `down_to`. Notes what it starts.
 */
struct simulation {
    int64_t starts_us[SIMULATED_MAX]; /* due instants, in the order of their starts */
    size_t count;
    int64_t missed;
};

static void simulate(const struct due_job *job, int64_t from_us, int64_t to_us,
                     int64_t down_from_us, int64_t down_to_us, struct simulation *ret)
{
    int64_t accounted_us = from_us, look_us = INSTANT_NONE;
    *ret = (struct simulation){0};
    for (int64_t now_us = from_us; now_us <= to_us;) {
        struct due_check check;
        due_check(job, accounted_us, look_us, now_us, &check);
        for (size_t i = 0; i < check.count; i++) {
            assert_true(ret->count < SIMULATED_MAX);
            ret->starts_us[ret->count++] = check.due_us[i];
        }
        ret->missed += check.missed.count;
        accounted_us = check.accounted_us;
        look_us = now_us;
        int64_t next_us = due_next_start(job, accounted_us);
        now_us = next_us != INSTANT_NONE && next_us < now_us + US_PER_MINUTE
                     ? next_us
                     : now_us + US_PER_MINUTE;
        if (now_us >= down_from_us && now_us < down_to_us) {
            now_us = down_to_us;
            look_us = INSTANT_NONE;
        }
    }
}

/* Whatever the schedule and the changes of the clock: each due instant exactly once, in order. */
static void test_days_are_complete(void **state)
{
    (void)state;
    static const struct {
        const char *schedule, *zone, *from, *to;
    } rows[] = {
        {"*/7 * * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z"},
        {"30 2 * * *", "Europe/Berlin", "2026-10-20T00:00:00Z", "2026-10-30T12:00:00Z"},
        {"0 */2 * * *", "America/New_York", "2026-10-30T00:00:00Z", "2026-11-03T12:00:00Z"},
        {"15 1 * * sun", "Australia/Lord_Howe", "2026-03-01T00:00:00Z", "2026-05-01T00:00:00Z"},
        {"*/20 * * * * *", "UTC", "2026-11-20T00:00:00Z", "2026-11-20T06:00:00Z"},
    };
    struct simulation simulation;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (int64_t jitter_us = 0; jitter_us <= 10 * US_PER_MINUTE;
             jitter_us += 10 * US_PER_MINUTE) {
            struct fixture fixture;
            set_up(&fixture, rows[i].schedule, rows[i].zone);
            fixture.job.jitter_us = jitter_us;
            int64_t due_us = at(rows[i].from), to_us = at(rows[i].to);
            simulate(&fixture.job, due_us, to_us, to_us, to_us, &simulation);
            assert_true(simulation.count > 0);
            assert_int_equal(simulation.missed, 0);
            for (size_t j = 0; j < simulation.count; j++) {
                due_us = due_next(&fixture.job, due_us);
                if (simulation.starts_us[j] != due_us)
                    fail_msg("row %zu, start %zu", i, j);
            }
            due_us = due_next_start(&fixture.job, due_us);
            assert_true(due_us == INSTANT_NONE || due_us > to_us);
            tear_down(&fixture);
        }
    }
}

static void test_downtime_is_accounted_for(void **state)
{
    (void)state;
    static const enum missed_rule rules[] = {MISSED_ONCE, MISSED_ALL, MISSED_SKIP};
    static const size_t started[] = {24 + 1, 24 + 10, 24};
    static const int64_t missed[] = {9, 0, 10};
    struct simulation simulation;
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        struct fixture fixture;
        set_up(&fixture, "30 * * * *", "UTC");
        fixture.job.on_missed = rules[i];
        int64_t from_us = at("2026-11-20T00:00:00Z"); /* 34 hours, 10 of them down */
        simulate(&fixture.job, from_us, from_us + 34 * US_PER_HOUR, from_us + 5 * US_PER_HOUR,
                 from_us + 15 * US_PER_HOUR, &simulation);
        assert_int_equal(simulation.count, started[i]);
        assert_int_equal(simulation.missed, missed[i]);
        for (size_t j = 1; j < simulation.count; j++)
            assert_true(simulation.starts_us[j] > simulation.starts_us[j - 1]);
        tear_down(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_looks),
        cmocka_unit_test(test_all_is_bounded),
        cmocka_unit_test(test_counting_missed_ends),
        cmocka_unit_test(test_jitter_is_stable_and_ends_before_the_next),
        cmocka_unit_test(test_never_again),
        cmocka_unit_test(test_steps_of_the_clock),
        cmocka_unit_test(test_days_are_complete),
        cmocka_unit_test(test_downtime_is_accounted_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
