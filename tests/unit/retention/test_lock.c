/* For how long new objects may be locked, and what a policy is warned of that locks without rule.
 */
#include "retention/history.h"

#define DAYS(n) ((n)*US_PER_DAY)

static char name_nightly[] = "nightly";

static const struct {
    const char *schedule, *zone;
    struct keep_rules keep;
    int64_t want_us;
} ROWS[] = {
    {"0 2 * * *", "UTC", {.within_us = DAYS(30)}, DAYS(30)},
    {"0 2 * * *", "UTC", {.within_us = DAYS(30), .last = 3}, DAYS(30)},
    {"0 2 * * *", "UTC", {.within_us = DAYS(2), .last = 3}, DAYS(3)},
    {"0 2 * * *", "UTC", {.last = 3}, DAYS(3)},
    {"0 2 * * mon-fri", "UTC", {.last = 3}, DAYS(3)},
    {"0 2 * * mon-fri", "UTC", {.last = 5}, DAYS(7)},
    {"0 3 * * sun", "UTC", {.last = 2}, DAYS(14)},
    {"0 3 * * sun", "UTC", {.within_us = DAYS(90), .last = 2}, DAYS(90)},
    /* each is the newest of its day; in Berlin one of the days has 23 hours */
    {"0 4 * * *", "UTC", {.daily = 7}, DAYS(7)},
    {"0 4 * * *", "Europe/Berlin", {.daily = 7}, DAYS(7) - US_PER_HOUR},
    {"0 4 1 * *", "UTC", {.monthly = 3}, DAYS(89)},
    /* the next one takes its place in the bucket: only the floor of a day is left */
    {"0 * * * *", "UTC", {.daily = 7}, DAYS(1)},
    {"0 2 * * *", "UTC", {.monthly = 12}, DAYS(1)},
    {"0 2 * * *", "UTC", {.within_us = DAYS(7), .monthly = 12}, DAYS(7)},
    {"0 * * * *", "UTC", {.hourly = 48, .daily = 7}, DAYS(2)},
    {"0 */6 * * *", "UTC", {.last = 3}, DAYS(1)},
    {"0 2 * * *", "UTC", {.within_us = US_PER_HOUR}, DAYS(1)},
    /* longer than anybody looks ahead, and than S3 allows */
    {"0 2 * * *", "UTC", {.last = 10000}, DAYS(750)},
    {"0 2 * * *", "UTC", {.within_us = DAYS(36525)}, DAYS(36500)},
    /* by hand, and once more */
    {NULL, "UTC", {.last = 3}, DAYS(1)},
    {NULL, "UTC", {.within_us = DAYS(7), .last = 3}, DAYS(7)},
    {"0 2 * * *", "UTC", {.last = 0}, DAYS(30)},
    {NULL, "UTC", {.last = 0}, DAYS(30)},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct error err = ERROR_NONE;
        struct zone *zone = NULL;
        struct cron_expr *schedule = NULL;
        int64_t got_us = -1;
        assert_int_equal(zone_load(ROWS[i].zone, &zone, &err), 0);
        if (ROWS[i].schedule)
            assert_int_equal(cron_parse(ROWS[i].schedule, NULL, &schedule, NULL, &err), 0);
        struct policy_job job = {
            .name = name_nightly, .type = JOB_DUMP, .keep = ROWS[i].keep, .schedule = schedule};
        job.keep.is_set = true;
        struct policy policy = policy_of(&job, 1);
        struct retention_zones zones = {.policy = zone};
        assert_int_equal(
            retention_lock_us(&policy, &zones, &job, at("2026-01-15T12:00"), &got_us, &err), 0);
        if (got_us != ROWS[i].want_us)
            fail_msg("row %zu (%s): locked for %lld s, not %lld", i,
                     ROWS[i].schedule ? ROWS[i].schedule : "by hand",
                     (long long)(got_us / US_PER_SECOND),
                     (long long)(ROWS[i].want_us / US_PER_SECOND));
        if (schedule)
            cron_free(schedule);
        zone_free(zone);
    }
}

static void test_no_keep_is_warned_of(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    struct zone *zone = NULL;
    assert_int_equal(zone_load("UTC", &zone, &err), 0);
    struct policy_job job = {.name = name_nightly, .type = JOB_DUMP, .line = 7};
    struct policy policy = policy_of(&job, 1);
    struct retention_zones zones = {.policy = zone};
    for (int lock = S3_LOCK_OFF; lock <= S3_LOCK_COMPLIANCE; lock++) {
        struct policy_problems warnings = {0};
        policy.s3.object_lock = (enum s3_object_lock)lock;
        assert_int_equal(
            retention_contradictions(&policy, &zones, at("2026-01-15T12:00"), &warnings, &err), 0);
        assert_int_equal(warnings.count, lock != S3_LOCK_OFF);
        if (lock == S3_LOCK_COMPLIANCE) {
            assert_int_equal(warnings.items[0].line, 7);
            assert_string_equal(warnings.items[0].message,
                                "job \"nightly\": object_lock: compliance locks its backups for "
                                "30d, since no keep: says for how long");
        }
        policy_problems_clear(&warnings);
    }
    zone_free(zone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_no_keep_is_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
