/* Durations, sizes and numbers as people write and read them. */
#include "case.h"

#include "base/units.h"

enum { BAD = -7 };

static const struct {
    const char *text;
    int64_t seconds; /* BAD: no duration */
} DURATIONS[] = {
    {"0", 0},
    {"0s", 0},
    {"1s", 1},
    {"90s", 90},
    {"15m", 900},
    {"15M", 900},
    {"6h", 21600},
    {"7d", 604800},
    {"5w", 3024000},
    {"007d", 604800},
    {"36525d", INT64_C(36525) * 86400}, /* a hundred years */
    {"36526d", BAD},
    {"3155760000s", INT64_C(3155760000)},
    {"3155760001s", BAD},
    {"9223372036854775807s", BAD},
    {"9223372036854775808s", BAD},
    {"18446744073709551617s", BAD}, /* 1 if it wrapped */
    {"15250284452472w", BAD},       /* times a week in microseconds wraps */
    {"", BAD},
    {"s", BAD},
    {"1", BAD},
    {"00", BAD},
    {"-1s", BAD},
    {"+1s", BAD},
    {" 1s", BAD},
    {"1 s", BAD},
    {"1s ", BAD},
    {"1h30m", BAD},
    {"1.5h", BAD},
    {"1mo", BAD},
    {"1y", BAD},
    {"1ms", BAD},
    {"0x10s", BAD},
    {"1\303\244", BAD},
};

static void test_duration_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(DURATIONS); i++) {
        struct error err = ERROR_NONE;
        int64_t us = BAD * US_PER_SECOND;
        int rc = duration_parse(DURATIONS[i].text, &us, &err);
        if (us != DURATIONS[i].seconds * US_PER_SECOND ||
            rc != (DURATIONS[i].seconds == BAD ? ERR_USAGE : 0))
            fail_msg("\"%s\": %lld us, %s", DURATIONS[i].text, (long long)us, err.message);
    }
    int64_t us;
    assert_fails(duration_parse("soon", &us, &case_err), ERR_USAGE, "\"soon\" is not a duration");
    assert_string_equal(case_err.hint, "write a number and a unit: 90s, 15m, 6h, 7d or 5w");
}

static const struct {
    const char *text;
    int64_t bytes; /* BAD: no size */
} SIZES[] = {
    {"0", 0},
    {"1", 1},
    {"17B", 17},
    {"512kB", 512000},
    {"512KB", 512000},
    {"512kb", 512000},
    {"16MB", 16000000},
    {"2GB", 2000000000},
    {"3TB", INT64_C(3000000000000)},
    {"1KiB", 1024},
    {"1kib", 1024},
    {"16MiB", 16 << 20},
    {"1GiB", 1 << 30},
    {"8TiB", INT64_C(8) << 40},
    {"1048576TiB", INT64_C(1) << 60},
    {"1048577TiB", BAD},
    {"1152921504606846976", INT64_C(1) << 60},
    {"1152921504606846977", BAD},
    {"9223372036854775808", BAD},
    {"16777216TiB", BAD}, /* 2^64 */
    {"18446744073709551616", BAD},
    {"", BAD},
    {"B", BAD},
    {"MB", BAD},
    {"1.5GB", BAD},
    {"1 GB", BAD},
    {"-1", BAD},
    {"1k", BAD},
    {"1M", BAD},
    {"1PB", BAD},
    {"1GBs", BAD},
};

static void test_size_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(SIZES); i++) {
        struct error err = ERROR_NONE;
        int64_t bytes = BAD;
        int rc = size_parse(SIZES[i].text, &bytes, &err);
        if (bytes != SIZES[i].bytes || rc != (SIZES[i].bytes == BAD ? ERR_USAGE : 0))
            fail_msg("\"%s\": %lld bytes, %s", SIZES[i].text, (long long)bytes, err.message);
    }
    int64_t bytes;
    assert_fails(size_parse("much", &bytes, &case_err), ERR_USAGE, "\"much\" is not a size");
    assert_string_equal(case_err.hint, "write a number and a unit: 512kB, 16MB, 1GiB");
}

static void test_number_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t low, high, number;
    } ROWS[] = {
        {"5", 1, 10, 5},     {"1", 1, 10, 1},
        {"10", 1, 10, 10},   {"0", 1, 10, BAD},
        {"11", 1, 10, BAD},  {"010", 1, 10, 10},
        {"", 0, 10, BAD},    {"-1", -5, 10, BAD},
        {"+1", 0, 10, BAD},  {" 1", 0, 10, BAD},
        {"1 ", 0, 10, BAD},  {"1.0", 0, 10, BAD},
        {"one", 0, 10, BAD}, {"9223372036854775807", 0, INT64_MAX, INT64_MAX},
        {"0x1", 0, 10, BAD}, {"9223372036854775808", 0, INT64_MAX, BAD},
        {"0", 0, 0, 0},      {"18446744073709551617", 0, INT64_MAX, BAD},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct error err = ERROR_NONE;
        int64_t number = BAD;
        int rc = number_parse(ROWS[i].text, "jobs", ROWS[i].low, ROWS[i].high, &number, &err);
        if (number != ROWS[i].number || rc != (ROWS[i].number == BAD ? ERR_USAGE : 0))
            fail_msg("\"%s\": %lld, %s", ROWS[i].text, (long long)number, err.message);
    }
    int64_t number;
    assert_fails(number_parse("x", "jobs", 1, 64, &number, &case_err), ERR_USAGE,
                 "jobs must be a whole number from 1 to 64, not \"x\"");
}

static void test_duration_format(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } ROWS[] = {
        {0, "0ms"},
        {999, "0ms"},
        {1000, "1ms"},
        {999999, "999ms"},
        {US_PER_SECOND, "1s"},
        {59 * US_PER_SECOND + 999999, "59s"},
        {US_PER_MINUTE, "1m"},
        {90 * US_PER_SECOND, "1m 30s"},
        {US_PER_HOUR - 1, "59m 59s"},
        {US_PER_HOUR, "1h"},
        {6 * US_PER_HOUR, "6h"},
        {US_PER_HOUR + 59 * US_PER_SECOND, "1h"},
        {US_PER_DAY - 1, "23h 59m"},
        {US_PER_DAY, "1d"},
        {28 * US_PER_HOUR, "1d 4h"},
        {90 * US_PER_DAY, "90d"},
        {-US_PER_SECOND, "-1s"},
        {-28 * US_PER_HOUR, "-1d 4h"},
        {INT64_MAX, "106751991d 4h"},
        {INT64_MIN, "-106751991d 4h"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        char text[UNITS_TEXT_MAX];
        if (strcmp(duration_format(ROWS[i].us, text), ROWS[i].text) != 0)
            fail_msg("%lld: \"%s\", expected \"%s\"", (long long)ROWS[i].us, text, ROWS[i].text);
    }
}

static void test_size_format(void **state)
{
    (void)state;
    static const struct {
        int64_t bytes;
        const char *text;
    } ROWS[] = {
        {0, "0 B"},
        {1, "1 B"},
        {999, "999 B"},
        {1000, "1.0 kB"},
        {1049, "1.0 kB"},
        {1051, "1.1 kB"},
        {999949, "999.9 kB"},
        {999950, "1.0 MB"}, /* never "1000.0 kB" */
        {16000000, "16.0 MB"},
        {1400000000, "1.4 GB"},
        {INT64_C(5) << 40, "5.5 TB"},
        {INT64_C(1) << 50, "1.1 PB"},
        {INT64_MAX, "9.2 EB"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        char text[UNITS_TEXT_MAX];
        if (strcmp(size_format(ROWS[i].bytes, text), ROWS[i].text) != 0)
            fail_msg("%lld: \"%s\", expected \"%s\"", (long long)ROWS[i].bytes, text, ROWS[i].text);
    }
}

/* What is shown is never more than what is meant, and short by less than its smaller unit. */
static void test_durations_round_down(void **state)
{
    (void)state;
    static const struct {
        char name;
        int64_t factor;
    } UNITS[] = {{'d', US_PER_DAY}, {'h', US_PER_HOUR}, {'m', US_PER_MINUTE}, {'s', US_PER_SECOND}};
    uint64_t random = 1;
    for (int i = 0; i < 20000; i++) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        int64_t us = US_PER_SECOND + (int64_t)(random >> (20 + i % 30)) % (4000 * US_PER_DAY);
        char text[UNITS_TEXT_MAX], *rest = text;
        int64_t shown = 0, unit = 1;
        for (duration_format(us, text); *rest; rest += *rest == ' ') {
            int64_t number = 0;
            for (; *rest >= '0' && *rest <= '9'; rest++)
                number = number * 10 + (*rest - '0');
            for (size_t j = 0; j < ARRAY_SIZE(UNITS); j++)
                if (UNITS[j].name == *rest)
                    unit = UNITS[j].factor;
            shown += number * unit;
            rest++;
        }
        int64_t step = unit == US_PER_SECOND   ? US_PER_SECOND
                       : strchr(text, ' ')     ? unit
                       : unit == US_PER_MINUTE ? US_PER_SECOND
                       : unit == US_PER_HOUR   ? US_PER_MINUTE
                                               : US_PER_HOUR;
        if (shown > us || us - shown >= step)
            fail_msg("%lld us is shown as %s", (long long)us, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_duration_parse), cmocka_unit_test(test_size_parse),
        cmocka_unit_test(test_number_parse),   cmocka_unit_test(test_duration_format),
        cmocka_unit_test(test_size_format),    cmocka_unit_test(test_durations_round_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
