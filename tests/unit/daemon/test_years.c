/*
 * Ten years of every change of every clock: what the daemon starts, against an oracle that looks at
 * each minute by itself, with the C library's clock and a matcher of its own. All zones of the tz
 * database whose changes differ, the days around each change; three of them every minute.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon/due.h"

enum {
    FROM_YEAR = 2024,
    YEARS = 10,
    ZONES_MAX = 700,
    CHANGES_MAX = 64,
    STEP = 6 * 3600,
    AROUND = 30 * 3600,
    FIRES_MAX = 6000000,
};

struct change {
    int64_t at; /* its first second */
    long before, after;
};

struct place {
    char name[64];
    struct change changes[CHANGES_MAX];
    size_t count;
};

static struct place places[ZONES_MAX];
static size_t place_count;
static int64_t *expected, from, until;

/* -- the C library's clock --------------------------------------------------------------------- */

static void go_to(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

static long offset_at(int64_t seconds)
{
    time_t at = (time_t)seconds;
    struct tm tm;
    localtime_r(&at, &tm);
    return tm.tm_gmtoff;
}

static void find_changes(struct place *place)
{
    go_to(place->name);
    for (int64_t at = from; at < until; at += STEP) {
        long before = offset_at(at), after = offset_at(at + STEP);
        int64_t low = at, high = at + STEP;
        if (before == after)
            continue;
        while (high - low > 1) {
            int64_t middle = low + (high - low) / 2;
            if (offset_at(middle) == before)
                low = middle;
            else
                high = middle;
        }
        assert_true(place->count < CHANGES_MAX);
        place->changes[place->count++] = (struct change){high, before, offset_at(high)};
    }
}

static bool is_new(const struct place *place)
{
    for (size_t i = 0; i < place_count; i++)
        if (places[i].count == place->count &&
            memcmp(places[i].changes, place->changes, place->count * sizeof(struct change)) == 0)
            return false;
    return place->count > 0;
}

/* tzdata.zi, the whole database as text: "Z NAME ..." begins a zone. */
static void find_places(void)
{
    FILE *file = fopen(ZONE_FOLDER "/tzdata.zi", "re");
    char line[512];
    struct tm begin = {.tm_year = FROM_YEAR - 1900, .tm_mday = 1};
    struct tm end = {.tm_year = FROM_YEAR + YEARS - 1900, .tm_mday = 1};
    from = timegm(&begin);
    until = timegm(&end);
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        struct place *place = &places[place_count];
        *place = (struct place){.count = 0};
        if (sscanf(line, "Z %63s", place->name) != 1)
            continue;
        find_changes(place);
        if (is_new(place))
            place_count++;
        assert_true(place_count < ZONES_MAX);
    }
    fclose(file);
}

/* -- a matcher of its own ---------------------------------------------------------------------- */

struct pattern {
    uint64_t fields[5]; /* minute, hour, day of the month, month, weekday */
    bool any_day, any_weekday, is_interval;
};

static uint64_t read_field(const char *text, int low, int high)
{
    uint64_t bits = 0;
    for (const char *item = text; item; item = strchr(item, ','), item = item ? item + 1 : NULL) {
        int a = low, b = high, step = 1;
        if (*item == '*')
            sscanf(item, "*/%d", &step);
        else if (sscanf(item, "%d-%d/%d", &a, &b, &step) == 1)
            b = a;
        for (int value = a; value <= b; value += step)
            bits |= UINT64_C(1) << value;
    }
    return bits;
}

static void read_pattern(const char *text, struct pattern *pattern)
{
    static const int LOW[5] = {0, 0, 1, 1, 0}, HIGH[5] = {59, 23, 31, 12, 6};
    char fields[5][40];
    assert_int_equal(sscanf(text, "%39s %39s %39s %39s %39s", fields[0], fields[1], fields[2],
                            fields[3], fields[4]),
                     5);
    for (int i = 0; i < 5; i++)
        pattern->fields[i] = read_field(fields[i], LOW[i], HIGH[i]);
    pattern->any_day = strcmp(fields[2], "*") == 0;
    pattern->any_weekday = strcmp(fields[4], "*") == 0;
    pattern->is_interval = fields[0][0] == '*' || fields[1][0] == '*';
}

/* minute: of the local clock, counted from 1970-01-01T00:00. */
static bool matches(const struct pattern *pattern, int64_t minute)
{
    time_t at = (time_t)(minute * 60);
    struct tm tm;
    if (!(pattern->fields[0] >> (minute % 60) & 1))
        return false;
    gmtime_r(&at, &tm);
    bool day = pattern->fields[2] >> tm.tm_mday & 1, weekday = pattern->fields[4] >> tm.tm_wday & 1;
    bool is_day = pattern->any_day || pattern->any_weekday ? day && weekday : day || weekday;
    return is_day && (pattern->fields[1] >> tm.tm_hour & 1) &&
           (pattern->fields[3] >> (tm.tm_mon + 1) & 1);
}

/* -- the oracle -------------------------------------------------------------------------------- */

struct clock {
    const struct place *place;
    size_t next; /* change */
};

static int64_t local_minute(const struct place *place, int64_t at)
{
    long offset = place->changes[0].before;
    for (size_t i = 0; i < place->count && place->changes[i].at <= at; i++)
        offset = place->changes[i].after;
    return (at + offset) / 60;
}

/* Debian's rule, a minute after the other: what is skipped runs at the change, what comes twice
 * runs once, but for what runs at intervals; over three hours it was a correction. */
static size_t list_fires(const struct pattern *pattern, const struct place *place, int64_t begin,
                         int64_t end)
{
    int64_t before = local_minute(place, begin - 60), highest = before;
    size_t count = 0;
    for (int64_t at = begin; at < end; at += 60) {
        int64_t minute = local_minute(place, at), step = minute - before;
        bool fires = false;
        if (pattern->is_interval) {
            fires = matches(pattern, minute);
        } else if (step - 1 >= 180 || step - 1 <= -180) {
            fires = matches(pattern, minute);
            highest = minute;
        } else {
            for (int64_t local = before + 1; local <= minute && !fires; local++)
                fires = local > highest && matches(pattern, local);
            if (minute > highest)
                highest = minute;
        }
        before = minute;
        if (fires)
            expected[count++] = at;
    }
    return count;
}

/* -- the daemon -------------------------------------------------------------------------------- */

static const char *const SCHEDULES[] = {
    "0 2 * * *",   "30 2 * * *",  "0,30 1,2,3 * * *", "*/15 * * * *",
    "5 */2 * * *", "59 23 * * 6", "0 0 * * *",        "15 0,1 1-15 * 0",
    "30 3 * * 0",  "17 * * * *",  "10-50/20 2 * * *",
};

static void fail_at(const char *zone, const char *schedule, int64_t at, const char *what)
{
    char text[INSTANT_TEXT_MAX];
    fail_msg("%s \"%s\": %s %s", zone, schedule, instant_format(at * US_PER_SECOND, text), what);
}

/* Looks as the daemon does: at the next start, at most a minute later. */
static void compare(const struct place *place, const struct zone *zone, size_t which, int64_t begin,
                    int64_t end)
{
    const char *text = SCHEDULES[which];
    _cleanup_(cron_freep) struct cron_expr *expr = NULL;
    struct pattern pattern;
    struct error err = ERROR_NONE;
    read_pattern(text, &pattern);
    assert_int_equal(cron_parse(text, NULL, &expr, NULL, &err), 0);
    size_t count = list_fires(&pattern, place, begin, end), found = 0;
    struct due_job job = {.schedule = expr, .zone = zone, .identity = "c/j"};
    int64_t accounted_us = (begin - 1) * US_PER_SECOND, looked_us = INSTANT_NONE;
    for (int64_t now_us = begin * US_PER_SECOND; now_us < end * US_PER_SECOND;) {
        struct due_check check;
        due_check(&job, accounted_us, looked_us == INSTANT_NONE ? now_us - 1 : looked_us, now_us,
                  &check);
        for (size_t i = 0; i < check.count; i++, found++)
            if (found == count || check.due_us[i] != expected[found] * US_PER_SECOND ||
                check.due_us[i] != now_us)
                fail_at(place->name, text, check.due_us[i] / US_PER_SECOND, "should not start");
        assert_int_equal(check.missed.count, 0);
        accounted_us = check.accounted_us;
        /* Between two starts looks change nothing; one just before the next is looked at too. */
        int64_t next_us = due_next_start(&job, accounted_us);
        if (next_us == INSTANT_NONE)
            break;
        looked_us = next_us - US_PER_SECOND > now_us ? next_us - US_PER_SECOND : now_us;
        now_us = next_us;
    }
    if (found != count)
        fail_at(place->name, text, expected[found], "was not started");
    for (int64_t at = end; count-- > 0; at = expected[count])
        if (cron_previous(expr, zone, at) != expected[count])
            fail_at(place->name, text, expected[count], "is not found backwards");
}

static void test_all_changes_of_all_zones(void **state)
{
    (void)state;
    size_t changes = 0;
    for (size_t i = 0; i < place_count; i++) {
        struct zone *zone = NULL;
        struct error err = ERROR_NONE;
        assert_int_equal(zone_load(places[i].name, &zone, &err), 0);
        for (size_t k = 0; k < places[i].count; k++, changes++) {
            int64_t begin = (places[i].changes[k].at - AROUND) / 60 * 60;
            for (size_t s = 0; s < ARRAY_SIZE(SCHEDULES); s++)
                compare(&places[i], zone, s, begin, begin + 2 * AROUND);
        }
        zone_free(zone);
    }
    assert_true(place_count > 25 && changes > 300);
}

static void test_ten_years_of_some(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"Europe/Berlin", "Australia/Lord_Howe",
                                        "Africa/Casablanca"};
    static const size_t WHICH[] = {1, 7, 9};
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
        struct place place = {.count = 0};
        struct zone *zone = NULL;
        struct error err = ERROR_NONE;
        snprintf(place.name, sizeof(place.name), "%s", NAMES[i]);
        find_changes(&place);
        assert_int_equal(zone_load(place.name, &zone, &err), 0);
        compare(&place, zone, WHICH[i], from, until);
        zone_free(zone);
    }
}

/* -- windows ----------------------------------------------------------------------------------- */

static const struct {
    const char *text; /* as it should be shown */
    struct deny_window window;
} WINDOWS[] = {
    {"mon-fri 08:00-20:00", {.days = 0x3e, .from = 480, .to = 1200}},
    {"mon-sun 01:30-02:30", {.days = 0x7f, .from = 90, .to = 150}},
    {"sat-sun 22:00-06:00", {.days = 0x41, .from = 1320, .to = 360}},
    {"sun 00:00-24:00", {.days = 0x01, .from = 0, .to = 1440}},
};

static bool is_denied(const struct deny_window *window, int64_t minute)
{
    int weekday = (int)((minute / 1440 + 4) % 7), of_day = (int)(minute % 1440);
    if (window->to > window->from)
        return window->days >> weekday & 1 && of_day >= window->from && of_day < window->to;
    return (window->days >> weekday & 1 && of_day >= window->from) ||
           (window->days >> (weekday + 6) % 7 & 1 && of_day < window->to);
}

/* By what the clock reads in each minute, from the last to the first. */
static void compare_window(const struct place *place, const struct zone *zone, size_t which,
                           int64_t begin, int64_t end)
{
    struct deny deny = {.windows = {WINDOWS[which].window}, .count = 1};
    int64_t allowed = CRON_NEVER;
    for (int64_t at = end - 60; at >= begin; at -= 60) {
        bool denied = is_denied(&WINDOWS[which].window, local_minute(place, at));
        if (!denied)
            allowed = at;
        if (denied != (deny_at(&deny, zone, at + 59) != NULL))
            fail_at(place->name, WINDOWS[which].text, at, denied ? "is denied" : "is allowed");
        if (allowed != CRON_NEVER && deny_end(&deny, zone, at) != allowed)
            fail_at(place->name, WINDOWS[which].text, at, "has another end");
    }
}

static void test_windows(void **state)
{
    (void)state;
    char text[DENY_TEXT_MAX];
    for (size_t w = 0; w < ARRAY_SIZE(WINDOWS); w++)
        assert_string_equal(deny_text(&WINDOWS[w].window, text), WINDOWS[w].text);
    for (size_t i = 0; i < place_count; i++) {
        struct zone *zone = NULL;
        struct error err = ERROR_NONE;
        assert_int_equal(zone_load(places[i].name, &zone, &err), 0);
        for (size_t k = 0; k < places[i].count && k < 2; k++) {
            int64_t begin = (places[i].changes[k].at - AROUND) / 60 * 60;
            for (size_t w = 0; w < ARRAY_SIZE(WINDOWS); w++)
                compare_window(&places[i], zone, w, begin, begin + 2 * AROUND);
        }
        zone_free(zone);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_changes_of_all_zones),
        cmocka_unit_test(test_ten_years_of_some),
        cmocka_unit_test(test_windows),
    };
    if (access(ZONE_FOLDER "/tzdata.zi", R_OK) != 0)
        return 77;
    expected = calloc(FIRES_MAX, sizeof(*expected));
    if (!expected)
        return 1;
    find_places();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
