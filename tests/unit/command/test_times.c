/* Times as people type them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "command/times.h"
#include "base/instant.h"

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text, *zone, *expected; /* expected: UTC, or what the error says */
        int rc;
    } ROWS[] = {
        {"2026-11-21T02:00:00Z", "Europe/Berlin", "2026-11-21T02:00:00Z", 0},
        {"2026-11-21T02:00:00+05:30", "Europe/Berlin", "2026-11-20T20:30:00Z", 0},
        {"2026-11-21T02:00", "UTC", "2026-11-21T02:00:00Z", 0},
        {"2026-11-21T02:00", "Europe/Berlin", "2026-11-21T01:00:00Z", 0},
        {"2026-07-01", "America/New_York", "2026-07-01T04:00:00Z", 0},
        {"1969-12-31 23:59:59.5", "UTC", "1969-12-31T23:59:59Z", 0},
        {"2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25T00:30:00Z", 0}, /* the first of two */
        {"2026-03-29T02:30:00", "Europe/Berlin",
         "2026-03-29T02:30:00 is skipped by the clock change in Europe/Berlin", ERR_USAGE},
        {"2026-11-21T02:00", "Europe/Nowhere", "Europe/Nowhere", ERR_USAGE},
        {"36h", "UTC", "2026-11-22T12:00:00Z", 0},
        {"36", "UTC", "36", ERR_USAGE},
        {"soon", "UTC", "soon", ERR_USAGE},
    };
    int64_t now_us = civil_to_seconds(&(struct civil){2026, 11, 21, 0, 0, 0}) * US_PER_SECOND;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct error err = ERROR_NONE;
        int64_t us = 0;
        char text[INSTANT_TEXT_MAX];
        int rc = command_time_or_duration(ROWS[i].text, ROWS[i].zone, now_us, &us, &err);
        const char *got = rc ? err.message : instant_format(us, text);
        if (rc != ROWS[i].rc ||
            (rc ? !strstr(got, ROWS[i].expected) : strcmp(got, ROWS[i].expected) != 0))
            fail_msg("%s in %s: %s", ROWS[i].text, ROWS[i].zone, got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_times)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
