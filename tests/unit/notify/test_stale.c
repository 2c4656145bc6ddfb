#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/instant.h"
#include "notify/stale.h"

#define DAY INT64_C(1795910400) /* 2026-11-29, a Sunday, 00:00 UTC */

static const struct row {
    const char *schedule;                /* NULL: none */
    int64_t stale_s, from_s, expected_s; /* from DAY on; expected -1: never */
} ROWS[] = {
    {"0 2 * * *", 0, 0, 26 * 3600},              /* at 2, and not at 2 the day after */
    {"0 2 * * *", 0, 2 * 3600 + 600, 50 * 3600}, /* ended behind its due instant */
    {"0 * * * *", 0, 1200, 2 * 3600},
    {"0 3 * * mon-fri", 0, 0, 51 * 3600}, /* a weekend is no delay */
    {"0 2 * * *", 26 * 3600, 600, 26 * 3600 + 600},
    {NULL, 0, 0, -1},
    {NULL, 60, 10, 70},
};

static void test_when_a_success_is_late(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        const struct row *row = &ROWS[i];
        struct cron_expr *schedule = NULL;
        struct zone *zone = NULL;
        struct error err = ERROR_NONE;
        struct cron_options options = {.hash_id = ""};
        int column = 0;
        assert_int_equal(zone_load("UTC", &zone, &err), 0);
        if (row->schedule)
            assert_int_equal(cron_parse(row->schedule, &options, &schedule, &column, &err), 0);
        int64_t since_us = stale_since_us(row->stale_s * US_PER_SECOND, schedule, zone,
                                          (DAY + row->from_s) * US_PER_SECOND);
        int64_t expected_us =
            row->expected_s < 0 ? INT64_MAX : (DAY + row->expected_s) * US_PER_SECOND;
        if (since_us != expected_us)
            fail_msg("row %zu: %lld s, not %lld", i, (long long)(since_us / US_PER_SECOND - DAY),
                     (long long)row->expected_s);
        cron_free(schedule);
        zone_free(zone);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_when_a_success_is_late)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
