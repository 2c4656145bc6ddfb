/*
 * The engine against a walk through every minute around every change of the clock, with the rule
 * written a second time and plainly; and laws that next and previous obey for any expression.
 */
#include "table.h"

#include "base/instant.h"

enum {
    WINDOW_SECONDS = 2 * 86400, /* on both sides of a change */
    WINDOW_MINUTES = 2 * WINDOW_SECONDS / 60 + 1,
    LONG_CHANGE = 3 * 3600,
};

/* ---- The dialect once more, for plain fields only: values, ranges, steps, l, d#n, Ld. ---- */

struct naive {
    bool minute[60], hour[24], day[32], month[13], weekday[7], nth[7][6], last[7];
    bool last_day, any_day, any_weekday, is_interval;
};

static void naive_field(const char *field, int low, int high, bool *values)
{
    while (*field) {
        int from = low;
        int to = high;
        int step = 1;
        int used = 0;
        if (*field == '*') {
            used = 1;
        } else {
            assert_int_equal(sscanf(field, "%d%n", &from, &used), 1);
            to = from;
            if (field[used] == '-')
                assert_int_equal(sscanf(field, "%d-%d%n", &from, &to, &used), 2);
        }
        field += used;
        if (*field == '/') {
            assert_int_equal(sscanf(field, "/%d%n", &step, &used), 1);
            field += used;
        }
        for (int value = from; value <= to; value += step)
            values[value] = true;
        field += *field == ',';
    }
}

static void naive_parse(const char *text, struct naive *naive)
{
    char fields[5][40];
    *naive = (struct naive){0};
    assert_int_equal(sscanf(text, "%39s %39s %39s %39s %39s", fields[0], fields[1], fields[2],
                            fields[3], fields[4]),
                     5);
    naive_field(fields[0], 0, 59, naive->minute);
    naive_field(fields[1], 0, 23, naive->hour);
    naive_field(fields[3], 1, 12, naive->month);
    naive->is_interval = fields[0][0] == '*' || fields[1][0] == '*';
    naive->any_day = strcmp(fields[2], "*") == 0;
    naive->any_weekday = strcmp(fields[4], "*") == 0;
    if (strcmp(fields[2], "l") == 0)
        naive->last_day = true;
    else
        naive_field(fields[2], 1, 31, naive->day);
    if (fields[4][0] == 'L')
        naive->last[fields[4][1] - '0'] = true;
    else if (fields[4][1] == '#')
        naive->nth[fields[4][0] - '0'][fields[4][2] - '0'] = true;
    else
        naive_field(fields[4], 0, 6, naive->weekday);
}

static bool naive_matches(const struct naive *naive, const struct civil *c, int weekday)
{
    if (!naive->minute[c->minute] || !naive->hour[c->hour] || !naive->month[c->month])
        return false;
    int length = civil_days_in_month(c->year, c->month);
    bool day = naive->day[c->day] || (naive->last_day && c->day == length);
    bool week = naive->weekday[weekday] || naive->nth[weekday][(c->day + 6) / 7] ||
                (naive->last[weekday] && c->day + 7 > length);
    if (naive->any_day || naive->any_weekday)
        return (naive->any_day || day) && (naive->any_weekday || week);
    return day || week;
}

static bool naive_matches_local(const struct naive *naive, int64_t local)
{
    struct civil civil;
    civil_from_seconds(local, &civil);
    return naive_matches(naive, &civil, civil_weekday(local / 86400));
}

/* ---- A window of minutes around one change, worked out once for all expressions. ---- */

struct minute {
    int64_t instant;
    struct civil civil;
    int weekday;
    bool is_second_pass;
    int64_t skipped_from, skipped_to; /* local times that this instant stands for; empty mostly */
};

static struct minute window[WINDOW_MINUTES];

static void fill_window(const struct zone *zone, int64_t middle)
{
    int32_t before = zone_offset_at(zone, middle - WINDOW_SECONDS - 60);
    int64_t repeats_until = INT64_MIN;
    for (int i = 0; i < WINDOW_MINUTES; i++) {
        struct minute *minute = &window[i];
        int64_t instant = middle - WINDOW_SECONDS + 60 * (int64_t)i;
        int32_t offset = zone_offset_at(zone, instant);
        int32_t change = offset - before;
        *minute = (struct minute){.instant = instant};
        if (change > 0 && change < LONG_CHANGE) {
            minute->skipped_from = instant + before;
            minute->skipped_to = instant + offset;
        }
        if (change != 0)
            repeats_until = INT64_MIN;
        if (change < 0 && change > -LONG_CHANGE)
            repeats_until = instant - change;
        minute->is_second_pass = instant < repeats_until;
        civil_from_seconds(instant + offset, &minute->civil);
        minute->weekday = civil_weekday((instant + offset) / 86400);
        before = offset;
    }
}

static bool naive_fires(const struct naive *naive, const struct minute *minute)
{
    bool matches = naive_matches(naive, &minute->civil, minute->weekday);
    if (naive->is_interval)
        return matches;
    for (int64_t at = minute->skipped_from; at < minute->skipped_to && !matches; at += 60)
        matches = naive_matches_local(naive, at);
    return matches && !minute->is_second_pass;
}

static void check_window(const char *text, const struct zone *zone, const struct cron_expr *expr,
                         const struct naive *naive)
{
    int64_t start = window[0].instant;
    int64_t end = window[WINDOW_MINUTES - 1].instant;
    int64_t next = cron_next(expr, zone, start - 1);
    int64_t last = CRON_NEVER;
    for (int i = 0; i < WINDOW_MINUTES; i++) {
        int64_t at = window[i].instant;
        bool fires = naive_fires(naive, &window[i]);
        if (fires != (next == at))
            fail_msg("[%s] %s: %s at %lld, next is %lld", text, zone_name(zone),
                     fires ? "a fire" : "none", (long long)at, (long long)next);
        if (!fires)
            continue;
        if (last != CRON_NEVER && cron_previous(expr, zone, at) != last)
            fail_msg("[%s] %s: previous of %lld is not %lld", text, zone_name(zone), (long long)at,
                     (long long)last);
        last = at;
        next = cron_next(expr, zone, at);
    }
    if (last != CRON_NEVER)
        assert_int_equal(cron_previous(expr, zone, end + 1), last);
}

static const char *const EXPRESSIONS[] = {
    "* * * * *",       "*/5 * * * *",     "*/7 * * * *",       "0 * * * *",    "30 * * * *",
    "59 * * * *",      "15,45 */2 * * *", "0 */3 * * *",       "*/30 2 * * *", "*/15 2-2 * * *",
    "* 0 * * *",       "0 0 * * *",       "30 0 * * *",        "1 0 * * *",    "30 1 * * *",
    "0 2 * * *",       "30 2 * * *",      "0,30 2 * * *",      "59 2 * * *",   "0 3 * * *",
    "15 2,3 * * *",    "0 0-23 * * *",    "0-59/30 2 * * *",   "30 1-4 * * *", "15 23 * * *",
    "45 23 * * 6",     "10 2 * * 0",      "0 3 * * 0",         "30 2 * * 0#5", "30 2 * * L0",
    "30 0 l * *",      "0 0 1 * *",       "30 2 26-31 3,10 *", "30 2 30 3 1",  "0 12 30 12 *",
    "0-10 23,0 * * *",
};

static const struct {
    const char *name;
    int32_t first_year;
} ZONES[] = {
    {"Europe/Berlin", 2020},    {"America/New_York", 2020},  {"Australia/Lord_Howe", 2030},
    {"Pacific/Apia", 2008},     {"Antarctica/Troll", 2035},  {"Africa/Casablanca", 2018},
    {"Europe/Dublin", 2060},    {"America/Sao_Paulo", 2010}, {"America/St_Johns", 2003},
    {"Antarctica/Casey", 2009}, {"Asia/Beirut", 2022},       {"America/Nuuk", 2022},
};

static void test_every_minute(void **state)
{
    (void)state;
    int windows = 0;
    for (size_t e = 0; e < ARRAY_SIZE(EXPRESSIONS); e++) {
        struct error err = ERROR_NONE;
        struct cron_expr *expr = NULL;
        assert_int_equal(cron_parse(EXPRESSIONS[e], NULL, &expr, NULL, &err), 0);
        cron_free(expr);
    }
    for (size_t z = 0; z < ARRAY_SIZE(ZONES); z++) {
        const struct zone *zone = zone_of(ZONES[z].name);
        struct zone_span span;
        int64_t end = civil_days(ZONES[z].first_year + 10, 1, 1) * 86400;
        zone_span_at(zone, civil_days(ZONES[z].first_year, 1, 1) * 86400, &span);
        for (; span.end < end; zone_span_at(zone, span.end, &span), windows++) {
            fill_window(zone, span.end);
            for (size_t e = 0; e < ARRAY_SIZE(EXPRESSIONS); e++) {
                struct error err = ERROR_NONE;
                struct naive naive;
                _cleanup_(cron_freep) struct cron_expr *expr = NULL;
                assert_int_equal(cron_parse(EXPRESSIONS[e], NULL, &expr, NULL, &err), 0);
                naive_parse(EXPRESSIONS[e], &naive);
                check_window(EXPRESSIONS[e], zone, expr, &naive);
            }
        }
    }
    assert_true(windows > 150);
}

/* ---- Laws, for every expression of the tables. ---- */

static uint64_t seed = 20261121;

static int64_t random_instant(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((seed >> 16) % (130ull * 31556952)); /* 1970 to 2099 */
}

static bool obeys_laws(const struct cron_expr *expr, const struct zone *zone, int64_t at)
{
    int64_t next = cron_next(expr, zone, at);
    int64_t previous = cron_previous(expr, zone, at);
    if ((next != CRON_NEVER && next <= at) || (previous != CRON_NEVER && previous >= at))
        return false;
    if (next != CRON_NEVER) {
        /* Nothing lies between, and the fire itself is found from both sides. */
        int64_t after = cron_next(expr, zone, next);
        int64_t back = cron_previous(expr, zone, next);
        if (cron_next(expr, zone, next - 1) != next || cron_previous(expr, zone, next + 1) != next)
            return false;
        if ((after != CRON_NEVER && after <= next) || (back != CRON_NEVER && back > at))
            return false;
        if (back != CRON_NEVER && back != at && cron_next(expr, zone, back) != next)
            return false;
    }
    if (previous == CRON_NEVER)
        return true;
    next = cron_next(expr, zone, previous);
    return next == CRON_NEVER || next >= at;
}

static bool row_obeys_laws(char **columns)
{
    struct cron_options options = {.allow_seconds = true};
    struct error err = ERROR_NONE;
    _cleanup_(cron_freep) struct cron_expr *expr = NULL;
    if (cron_parse(columns[0], &options, &expr, NULL, &err))
        return true;
    bool obeys = true;
    for (int i = 0; i < 8 && obeys; i++) {
        const struct zone *zone =
            zone_of(i % 2 ? ZONES[(size_t)i % ARRAY_SIZE(ZONES)].name : columns[1]);
        int64_t at = random_instant();
        /* Every other one close to a change of the clock. */
        struct zone_span span;
        zone_span_at(zone, at, &span);
        if (i % 4 >= 2 && span.end != INT64_MAX)
            at = span.end + at % 14400 - 7200;
        obeys = obeys_laws(expr, zone, at);
        if (!obeys)
            print_error("[%s] %s at %lld\n", columns[0], zone_name(zone), (long long)at);
    }
    return obeys;
}

static void test_laws(void **state)
{
    (void)state;
    each_row("oracle.tsv", 4000, row_obeys_laws);
}

/* The first and last instants that the engine takes, and years far behind the tables. */
static void test_far_away(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    _cleanup_(cron_freep) struct cron_expr *daily = NULL;
    _cleanup_(cron_freep) struct cron_expr *never = NULL;
    const struct zone *berlin = zone_of("Europe/Berlin");
    assert_int_equal(cron_parse("30 2 * * *", NULL, &daily, NULL, &err), 0);
    assert_int_equal(cron_parse("0 0 30 2 *", NULL, &never, NULL, &err), 0);
    assert_true(cron_next(daily, berlin, INT64_MAX) == CRON_NEVER);
    assert_true(cron_next(daily, berlin, INT64_MIN) == CRON_NEVER);
    assert_true(cron_previous(daily, berlin, INT64_MAX) == CRON_NEVER);
    assert_true(cron_previous(daily, berlin, INT64_MIN) == CRON_NEVER);
    assert_true(cron_next(never, berlin, 1743296400) == CRON_NEVER);
    assert_true(cron_previous(never, berlin, 1743296400) == CRON_NEVER);
    int64_t at = ZONE_SECONDS_MAX - 10;
    assert_in_range(cron_next(daily, berlin, at) - at, 1, 86400);
    assert_in_range(at - cron_previous(daily, berlin, at), 1, 86400);
    at = -at;
    assert_in_range(cron_next(daily, berlin, at) - at, 1, 86400);
    assert_in_range(at - cron_previous(daily, berlin, at), 1, 86400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_minute),
        cmocka_unit_test(test_laws),
        cmocka_unit_test(test_far_away),
    };
    return cmocka_run_group_tests(tests, NULL, free_zones);
}
