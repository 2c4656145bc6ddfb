/* Instants: RFC 3339 both ways, ISO weeks, the calendar over eight centuries. */
#include "case.h"

static const struct {
    const char *text, *utc; /* utc: with micros; NULL: no time */
    bool has_offset;
} TIMES[] = {
    {"2026-11-21T02:00:00Z", "2026-11-21T02:00:00.000000Z", true},
    {"2026-11-21t02:00:00z", "2026-11-21T02:00:00.000000Z", true},
    {"2026-11-21 02:00:00.5+01:00", "2026-11-21T01:00:00.500000Z", true},
    {"2026-11-21T02:00:00.123456Z", "2026-11-21T02:00:00.123456Z", true},
    {"2026-11-21T02:00:00.123456999Z", "2026-11-21T02:00:00.123456Z", true},
    {"2026-11-21T02:00:00.000001-00:00", "2026-11-21T02:00:00.000001Z", true},
    {"2026-11-21T02:00", "2026-11-21T02:00:00.000000Z", false},
    {"2026-11-21T02:00Z", "2026-11-21T02:00:00.000000Z", true},
    {"2026-11-21", "2026-11-21T00:00:00.000000Z", false},
    {"2026-11-21T02:00:00+05:30", "2026-11-20T20:30:00.000000Z", true},
    {"2026-11-21T02:00:00+0530", "2026-11-20T20:30:00.000000Z", true},
    {"2026-11-21T02:00:00-03", "2026-11-21T05:00:00.000000Z", true},
    {"2026-01-01T00:00:00+14:00", "2025-12-31T10:00:00.000000Z", true},
    {"2026-12-31T23:59:59-12:00", "2027-01-01T11:59:59.000000Z", true},
    {"2026-12-31T23:59:59+23:59", "2026-12-31T00:00:59.000000Z", true},
    {"2024-02-29T12:00:00Z", "2024-02-29T12:00:00.000000Z", true},
    {"2000-02-29", "2000-02-29T00:00:00.000000Z", false},
    {"2400-02-29", "2400-02-29T00:00:00.000000Z", false},
    {"1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z", true},
    {"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z", true},
    {"0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000Z", true},
    {"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z", true},
    {"2023-02-29", NULL, false},
    {"1900-02-29", NULL, false},
    {"2100-02-29T00:00:00Z", NULL, false},
    {"2026-02-30", NULL, false},
    {"2026-04-31", NULL, false},
    {"2026-00-10", NULL, false},
    {"2026-13-10", NULL, false},
    {"2026-11-00", NULL, false},
    {"2026-11-32", NULL, false},
    {"2026-11-21T24:00:00Z", NULL, false},
    {"2026-11-21T02:60:00Z", NULL, false},
    {"2026-11-21T02:00:60Z", NULL, false}, /* leap seconds are not counted */
    {"2026-11-21T02", NULL, false},
    {"2026-11-21T", NULL, false},
    {"2026-11-21Z", NULL, false},
    {"2026-11-21+01:00", NULL, false},
    {"2026-11-21T02:00:00+24:00", NULL, false},
    {"2026-11-21T02:00:00+01:60", NULL, false},
    {"2026-11-21T02:00:00+1:00", NULL, false},
    {"2026-11-21T02:00:00+01:", NULL, false},
    {"2026-11-21T02:00:00+01:0", NULL, false},
    {"2026-11-21T02:00:00+01:000", NULL, false},
    {"2026-11-21T02:00:00+", NULL, false},
    {"2026-11-21T02:00:00.Z", NULL, false},
    {"2026-11-21T02:00:00,5Z", NULL, false},
    {"2026-11-21T02:00:00 Z", NULL, false},
    {"2026-11-21T02:00:00ZZ", NULL, false},
    {"2026-11-21T02:00:00Europe/Berlin", NULL, false},
    {"2026-11-21T2:00:00Z", NULL, false},
    {"2026-1-21", NULL, false},
    {"26-11-21", NULL, false},
    {"+2026-11-21", NULL, false},
    {"12026-11-21", NULL, false},
    {"20261121T020000Z", NULL, false},
    {" 2026-11-21", NULL, false},
    {"2026-11-21 ", NULL, false},
    {"2026/11/21", NULL, false},
    {"now", NULL, false},
    {"", NULL, false},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(TIMES); i++) {
        struct error err = ERROR_NONE;
        int64_t us = 12345;
        bool has_offset = !TIMES[i].has_offset;
        char text[INSTANT_TEXT_MAX];
        int rc = instant_parse(TIMES[i].text, &us, &has_offset, &err);
        bool good = TIMES[i].utc ? rc == 0 && has_offset == TIMES[i].has_offset &&
                                       strcmp(instant_format_micros(us, text), TIMES[i].utc) == 0
                                 : rc == ERR_USAGE && us == 12345;
        if (!good)
            fail_msg("\"%s\": %s, %lld us, offset %d", TIMES[i].text, error_code_name(rc),
                     (long long)us, has_offset);
    }
    int64_t us;
    bool has_offset;
    assert_fails(instant_parse("soon", &us, &has_offset, &case_err), ERR_USAGE,
                 "\"soon\" is not a time");
    assert_string_equal(case_err.hint,
                        "write it as 2026-11-21T02:00:00Z or 2026-11-21T02:00:00+01:00");
}

/* Every prefix of a good time, and every one of its characters changed, is read or refused without
 * a look behind its end (the sanitizer sees one). */
static void test_parse_damaged(void **state)
{
    (void)state;
    static const char WHOLE[] = "2026-11-21T02:00:00.25+01:30";
    int64_t us;
    bool has_offset;
    int refused = 0;
    for (size_t length = 0; length < sizeof(WHOLE); length++) {
        _cleanup_(freep) char *cut = strndup(WHOLE, length);
        assert_non_null(cut);
        refused += instant_parse(cut, &us, &has_offset, NULL) != 0;
        for (int c = 1; c < 256 && length > 0; c++) {
            cut[length - 1] = (char)c;
            refused += instant_parse(cut, &us, &has_offset, NULL) != 0;
        }
    }
    assert_in_range(refused, 6900, 7100); /* only digits and signs in their places are good */
}

static void test_format(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *seconds, *micros;
    } ROWS[] = {
        {INSTANT_NONE, "", ""},
        {0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"},
        {-1, "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.999999Z"},
        {999999, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.999999Z"},
        {INT64_C(1795226400123456), "2026-11-21T02:00:00Z", "2026-11-21T02:00:00.123456Z"},
        {INT64_C(-62135596800000000), "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"},
        {INT64_MAX, "294247-01-10T04:00:54Z", "294247-01-10T04:00:54.775807Z"},
        {INT64_MIN + 1, "-290308-12-21T19:59:05Z", "-290308-12-21T19:59:05.224193Z"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        char seconds[INSTANT_TEXT_MAX], micros[INSTANT_TEXT_MAX];
        if (strcmp(instant_format(ROWS[i].us, seconds), ROWS[i].seconds) != 0 ||
            strcmp(instant_format_micros(ROWS[i].us, micros), ROWS[i].micros) != 0)
            fail_msg("%lld: %s and %s", (long long)ROWS[i].us, seconds, micros);
    }
}

/* From ISO 8601 and the calendars on people's walls. */
static void test_iso_weeks(void **state)
{
    (void)state;
    static const struct {
        int year, month, day, week_year, week;
    } ROWS[] = {
        {2026, 11, 21, 2026, 47}, {2026, 1, 1, 2026, 1},    {2025, 12, 29, 2026, 1},
        {2025, 12, 28, 2025, 52}, {2021, 1, 3, 2020, 53},   {2021, 1, 4, 2021, 1},
        {2020, 12, 31, 2020, 53}, {2027, 1, 1, 2026, 53},   {2016, 1, 3, 2015, 53},
        {2024, 12, 30, 2025, 1},  {2024, 12, 29, 2024, 52}, {2023, 1, 1, 2022, 52},
        {2022, 1, 2, 2021, 52},   {2000, 1, 1, 1999, 52},   {2000, 1, 2, 1999, 52},
        {2000, 1, 3, 2000, 1},    {2008, 12, 28, 2008, 52}, {2008, 12, 29, 2009, 1},
        {2010, 1, 3, 2009, 53},   {1977, 1, 1, 1976, 53},   {1970, 1, 1, 1970, 1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct civil date = {.year = ROWS[i].year, .month = ROWS[i].month, .day = ROWS[i].day};
        int32_t year;
        int week;
        civil_iso_week(&date, &year, &week);
        if (year != ROWS[i].week_year || week != ROWS[i].week)
            fail_msg("%d-%02d-%02d: %d-W%02d", ROWS[i].year, ROWS[i].month, ROWS[i].day, year,
                     week);
    }
}

/* Every day of 1600-2399, told by counting: date, day number, weekday and week follow each other,
 * and the day number leads back. */
static void test_calendar(void **state)
{
    (void)state;
    int64_t days = -135140; /* 1600-01-01 */
    int weekday = 6;        /* a Saturday */
    int32_t week_year = 1599, new_year;
    int week = 52, new_week, checked = 0;
    for (int32_t year = 1600; year < 2400; year++) {
        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= civil_days_in_month(year, month); day++, days++, checked++) {
                struct civil back;
                civil_from_days(days, &back);
                civil_iso_week(&back, &new_year, &new_week);
                bool week_good = weekday != 1 ? new_week == week && new_year == week_year
                                 : new_week == 1
                                     ? new_year == week_year + 1 && (week == 52 || week == 53)
                                     : new_week == week + 1 && new_year == week_year;
                if (civil_days(year, month, day) != days || civil_weekday(days) != weekday ||
                    back.year != year || back.month != month || back.day != day || !week_good)
                    fail_msg("%d-%02d-%02d, day %lld: %d-%02d-%02d, weekday %d, week %d-%d", year,
                             month, day, (long long)days, back.year, back.month, back.day,
                             civil_weekday(days), new_year, new_week);
                week = new_week;
                week_year = new_year;
                weekday = (weekday + 1) % 7;
            }
        }
    }
    assert_int_equal(checked, 2 * 146097); /* days of 400 years */
    assert_int_equal(civil_days(1970, 1, 1), 0);
    assert_int_equal(civil_days(2400, 2, 29), 157113);
}

/* Random seconds of 1600-2400: civil time leads back, its text parses to the same instant. */
static void test_round_trip(void **state)
{
    (void)state;
    int64_t first = civil_days(1600, 1, 1) * 86400, last = civil_days(2401, 1, 1) * 86400;
    uint64_t random = 42;
    for (int i = 0; i < 100000; i++) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        int64_t us = first * US_PER_SECOND +
                     (int64_t)((random >> 1) % (uint64_t)((last - first) * US_PER_SECOND));
        int64_t seconds = us / US_PER_SECOND - (us % US_PER_SECOND < 0), again = 0;
        struct civil civil;
        char text[INSTANT_TEXT_MAX];
        bool has_offset = false;
        civil_from_seconds(seconds, &civil);
        int rc = instant_parse(instant_format_micros(us, text), &again, &has_offset, NULL);
        if (civil_to_seconds(&civil) != seconds || civil.hour > 23 || civil.minute > 59 ||
            civil.second > 59 || rc || again != us || !has_offset)
            fail_msg("%lld us: %s", (long long)us, text);
    }
}

static void test_clocks(void **state)
{
    (void)state;
    int64_t now_us = instant_now_us(), monotonic_us = instant_monotonic_us();
    assert_true(now_us > civil_days(2024, 1, 1) * US_PER_DAY);
    usleep(2000);
    assert_true(instant_monotonic_us() - monotonic_us >= 2000);
    assert_true(llabs(instant_now_us() - now_us) < US_PER_HOUR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),    cmocka_unit_test(test_parse_damaged),
        cmocka_unit_test(test_format),   cmocka_unit_test(test_iso_weeks),
        cmocka_unit_test(test_calendar), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
