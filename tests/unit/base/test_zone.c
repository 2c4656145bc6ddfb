#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/zone.h"
#include "base/zone_rule.h"

enum { CONTENT_MAX = 512 };

static struct zone *load(const char *name)
{
    struct zone *zone = NULL;
    struct error err = ERROR_NONE;
    if (zone_load(name, &zone, &err))
        fail_msg("%s: %s", name, err.message);
    return zone;
}

/* Offsets on both sides of changes that were announced, and after 2037 of those that the footer's
 * rule foretells. */
static void test_offsets(void **state)
{
    (void)state;
    static const struct {
        const char *zone;
        int64_t change; /* the offset is `before` until one second before it */
        int32_t before, after;
    } ROWS[] = {
        {"Europe/Berlin", 1743296400, 3600, 7200},         /* 2025-03-30 01:00Z */
        {"Europe/Berlin", 1761440400, 7200, 3600},         /* 2025-10-26 01:00Z */
        {"America/New_York", 1741503600, -18000, -14400},  /* 2025-03-09 07:00Z */
        {"America/New_York", 1762063200, -14400, -18000},  /* 2025-11-02 06:00Z */
        {"Australia/Lord_Howe", 1743865200, 39600, 37800}, /* 30 minutes, 2025-04-05 15:00Z */
        {"Australia/Lord_Howe", 1759591800, 37800, 39600}, /* 2025-10-04 15:30Z */
        {"Pacific/Apia", 1325239200, -36000, 50400},       /* 2011-12-30 never was */
        {"Antarctica/Troll", 1743296400, 0, 7200},         /* two hours */
        {"Antarctica/Troll", 1761440400, 7200, 0},         /* and back */
        {"Africa/Casablanca", 1740276000, 3600, 0},        /* Ramadan 2025 begins */
        {"Africa/Casablanca", 1743904800, 0, 3600},        /* and ends */
        {"Europe/Dublin", 1743296400, 0, 3600},            /* its winter is the exception */
        {"Europe/Dublin", 1761440400, 3600, 0},            /* with a negative saving */
        {"America/Sao_Paulo", 1541300400, -10800, -7200},  /* at midnight, 2018-11-04 */
        {"America/Sao_Paulo", 1550368800, -7200, -10800},  /* the last one, 2019-02-17 */
        {"America/St_Johns", 1289097060, -9000, -12600},   /* at one minute past midnight */
        {"Asia/Kathmandu", 504901800, 19800, 20700},       /* 1986: a quarter of an hour */
        {"Europe/Berlin", 3636320400, 3600, 7200},         /* 2085-03-25 01:00Z */
        {"Europe/Berlin", 3655069200, 7200, 3600},         /* 2085-10-28 01:00Z */
        {"Europe/Dublin", 4046979600, 0, 3600},            /* 2098-03-30 01:00Z */
        {"Australia/Lord_Howe", 2848230000, 39600, 37800}, /* 2060-04-03 15:00Z */
        {"America/Nuuk", 2847661200, -7200, -3600},        /* <-02>2<-01>,M3.5.0/-1 */
        {"Asia/Gaza", 2847571200, 7200, 10800},            /* M3.4.4/50 */
        {"America/Santiago", 3794785200, -10800, -14400},  /* M4.1.6/24 */
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        _cleanup_(zone_freep) struct zone *zone = load(ROWS[i].zone);
        struct zone_span span;
        zone_span_at(zone, ROWS[i].change, &span);
        if (zone_offset_at(zone, ROWS[i].change - 1) != ROWS[i].before ||
            zone_offset_at(zone, ROWS[i].change) != ROWS[i].after || span.start != ROWS[i].change)
            fail_msg("%s at %lld: %d then %d, the span starts %lld", ROWS[i].zone,
                     (long long)ROWS[i].change, zone_offset_at(zone, ROWS[i].change - 1),
                     zone_offset_at(zone, ROWS[i].change), (long long)span.start);
    }
}

/* Spans follow each other without a hole, at and far beyond the end of the table. */
static void test_spans_join(void **state)
{
    (void)state;
    static const char *const ZONES[] = {"Europe/Berlin",       "Pacific/Apia", "Africa/Casablanca",
                                        "Australia/Lord_Howe", "UTC",          "America/Nuuk"};
    for (size_t i = 0; i < ARRAY_SIZE(ZONES); i++) {
        _cleanup_(zone_freep) struct zone *zone = load(ZONES[i]);
        struct zone_span span = {.end = 0};
        struct zone_span again;
        zone_span_at(zone, 0, &span);
        for (int n = 0; n < 500 && span.end != INT64_MAX; n++) {
            struct zone_span next;
            zone_span_at(zone, span.end, &next);
            assert_int_equal(next.start, span.end);
            assert_true(next.end > next.start);
            assert_int_not_equal(next.offset, span.offset);
            zone_span_at(zone, next.start - 1, &again);
            assert_true(again.start == span.start && again.end == span.end);
            assert_int_equal(again.offset, span.offset);
            span = next;
        }
        zone_span_at(zone, ZONE_SECONDS_MAX, &span);
        assert_true(span.start <= ZONE_SECONDS_MAX && span.end > ZONE_SECONDS_MAX);
        zone_span_at(zone, -ZONE_SECONDS_MAX, &span);
        assert_true(span.start == INT64_MIN);
    }
}

static void test_civil(void **state)
{
    (void)state;
    static const struct {
        const char *zone;
        struct civil civil;
        enum zone_times times;
        int64_t first, second;
    } ROWS[] = {
        {"UTC", {2026, 11, 21, 2, 0, 0}, ZONE_ONCE, 1795226400, 1795226400},
        {"Europe/Berlin", {2025, 3, 30, 1, 59, 59}, ZONE_ONCE, 1743296399, 1743296399},
        {"Europe/Berlin", {2025, 3, 30, 2, 0, 0}, ZONE_GAP, 1743296400, 1743296400},
        {"Europe/Berlin", {2025, 3, 30, 2, 59, 59}, ZONE_GAP, 1743296400, 1743296400},
        {"Europe/Berlin", {2025, 3, 30, 3, 0, 0}, ZONE_ONCE, 1743296400, 1743296400},
        {"Europe/Berlin", {2025, 10, 26, 2, 30, 0}, ZONE_FOLD, 1761438600, 1761442200},
        {"Europe/Berlin", {2025, 10, 26, 3, 0, 0}, ZONE_ONCE, 1761444000, 1761444000},
        {"Australia/Lord_Howe", {2025, 10, 5, 2, 15, 0}, ZONE_GAP, 1759591800, 1759591800},
        {"Australia/Lord_Howe", {2025, 4, 6, 1, 45, 0}, ZONE_FOLD, 1743864300, 1743866100},
        {"Pacific/Apia", {2011, 12, 30, 12, 0, 0}, ZONE_GAP, 1325239200, 1325239200},
        {"Pacific/Apia", {2011, 12, 31, 0, 0, 0}, ZONE_ONCE, 1325239200, 1325239200},
        {"America/Sao_Paulo", {2018, 11, 4, 0, 30, 0}, ZONE_GAP, 1541300400, 1541300400},
        {"Europe/Berlin", {2085, 10, 28, 2, 30, 0}, ZONE_FOLD, 3655067400, 3655071000},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        _cleanup_(zone_freep) struct zone *zone = load(ROWS[i].zone);
        int64_t first = 0;
        int64_t second = 0;
        enum zone_times times = zone_from_civil(zone, &ROWS[i].civil, &first, &second);
        if (times != ROWS[i].times || first != ROWS[i].first || second != ROWS[i].second)
            fail_msg("row %zu: %d %lld %lld", i, (int)times, (long long)first, (long long)second);
        if (times == ZONE_GAP)
            continue;
        struct civil back;
        zone_to_civil(zone, second, &back);
        assert_memory_equal(&back, &ROWS[i].civil, sizeof(back));
    }
}

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_valid, has_changes;
        int32_t standard;
        int64_t to_daylight, to_standard; /* in 2024, a leap year */
    } ROWS[] = {
        {"UTC0", true, false, 0, 0, 0},
        {"<+03>-3", true, false, 10800, 0, 0},
        {"<-0330>3:30", true, false, -12600, 0, 0},
        {"LMT-0:53:28", true, false, 3208, 0, 0},
        {"CET-1CEST,M3.5.0,M10.5.0/3", true, true, 3600, 1711846800, 1729990800},
        {"EST5EDT,M3.2.0,M11.1.0", true, true, -18000, 1710054000, 1730613600},
        {"AAA0BBB,J60,J300", true, true, 0, 1709258400, 1729990800},
        {"AAA0BBB,J59/0,J300", true, true, 0, 1709078400, 1729990800},
        {"AAA0BBB,59/0,300", true, true, 0, 1709164800, 1729990800},
        {"AAA0BBB-2,0/-24,M12.1.6/167:59:59", true, true, 0, 1703980800, 1734127199},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", true, true, -7200, 1711846800, 1729990800},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", true, true, 3600, 1729990800, 1711846800},
        {"XXX3EDT4,0/0,J365/23", true, false, -14400, 0, 0}, /* daylight time all year */
        {"AAA0BBB0,J60,J300", true, false, 0, 0, 0},
        {"", false, false, 0, 0, 0},
        {"CE-1", false, false, 0, 0, 0},
        {"CET", false, false, 0, 0, 0},
        {"CET25", false, false, 0, 0, 0},
        {"<+03-3", false, false, 0, 0, 0},
        {"CET-1CEST", false, false, 0, 0, 0},
        {"CET-1CEST,M3.5.0", false, false, 0, 0, 0},
        {"CET-1CEST,M13.5.0,M10.5.0", false, false, 0, 0, 0},
        {"CET-1CEST,M3.6.0,M10.5.0", false, false, 0, 0, 0},
        {"CET-1CEST,M3.5.7,M10.5.0", false, false, 0, 0, 0},
        {"CET-1CEST,J0,M10.5.0", false, false, 0, 0, 0},
        {"CET-1CEST,366,M10.5.0", false, false, 0, 0, 0},
        {"CET-1CEST,M3.5.0/168,M10.5.0", false, false, 0, 0, 0},
        {"CET-1CEST,M3.5.0,M10.5.0/3x", false, false, 0, 0, 0},
        {"CET-1:60", false, false, 0, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct zone_rule rule;
        struct error err = ERROR_NONE;
        int rc = zone_rule_parse(ROWS[i].text, &rule, &err);
        if (!ROWS[i].is_valid) {
            char want[128];
            snprintf(want, sizeof(want), "\"%s\" is no rule for changes of the clock",
                     ROWS[i].text);
            assert_int_equal(rc, ERR_CORRUPT);
            assert_string_equal(err.message, want);
            continue;
        }
        if (rc || rule.has_changes != ROWS[i].has_changes ||
            rule.standard_offset != ROWS[i].standard)
            fail_msg("%s: %d %s", ROWS[i].text, rule.standard_offset, err.message);
        if (rule.has_changes && (zone_rule_to_daylight(&rule, 2024) != ROWS[i].to_daylight ||
                                 zone_rule_to_standard(&rule, 2024) != ROWS[i].to_standard))
            fail_msg("%s: %lld %lld", ROWS[i].text, (long long)zone_rule_to_daylight(&rule, 2024),
                     (long long)zone_rule_to_standard(&rule, 2024));
    }
}

static void test_wrong_names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *message;
    } ROWS[] = {
        {"", "\"\" is no name of a time zone"},
        {"/etc/passwd", "\"/etc/passwd\" is no name of a time zone"},
        {"../../../etc/passwd", "\"../../../etc/passwd\" is no name of a time zone"},
        {"Europe/../UTC", "\"Europe/../UTC\" is no name of a time zone"},
        {"Europe//Berlin", "\"Europe//Berlin\" is no name of a time zone"},
        {"Europe/", "\"Europe/\" is no name of a time zone"},
        {"Europe/Ber lin", "\"Europe/Ber lin\" is no name of a time zone"},
        {"Europe/Atlantis", "there is no time zone \"Europe/Atlantis\" in " ZONE_FOLDER},
        {"Europe", "there is no time zone \"Europe\" in " ZONE_FOLDER},
        {"zone.tab", "time zone \"zone.tab\" (" ZONE_FOLDER "/zone.tab): it is no time zone"},
        {"right/Europe/Berlin", "time zone \"right/Europe/Berlin\" (" ZONE_FOLDER
                                "/right/Europe/Berlin): it counts leap seconds"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct zone *zone = NULL;
        struct error err = ERROR_NONE;
        assert_int_equal(zone_load(ROWS[i].name, &zone, &err), ERR_USAGE);
        assert_string_equal(err.message, ROWS[i].message);
        assert_null(zone);
    }
}

static void test_without_tzdata(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    struct zone *utc = NULL;
    assert_int_equal(zone_load_from("/nonexistent", "UTC", &utc, &err), 0);
    assert_string_equal(zone_name(utc), "UTC");
    assert_int_equal(zone_offset_at(utc, 1795226400), 0);
    utc = zone_free(utc);
    assert_int_equal(zone_load_from("/nonexistent", "Europe/Berlin", &utc, &err), ERR_USAGE);
    assert_string_equal(err.message, "there is no time zone \"Europe/Berlin\" in /nonexistent");
    assert_string_equal(err.hint, "install the package tzdata");
}

/* Every length to which a file may be cut, and every byte of its headers set to 0xff: an error or
 * a zone, never a crash; a file cut before its end is never a zone. */
static void test_damaged_files(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    struct buf content = BUF_INIT(ZONE_FILE_MAX);
    char folder[] = "/tmp/test_zone_XXXXXX";
    char path[64];
    assert_int_equal(file_read(ZONE_FOLDER "/Antarctica/Troll", &content, &err), 0);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/Cut", folder);
    for (size_t length = 0; length < content.length; length++) {
        struct zone *zone = NULL;
        FILE *file = fopen(path, "we");
        assert_int_equal(fwrite(content.data, 1, length, file), length);
        fclose(file);
        int rc = zone_load_from(folder, "Cut", &zone, &err);
        assert_true(rc == ERR_CORRUPT || (length < 4 && rc == ERR_USAGE));
    }
    for (size_t i = 0; i < content.length && i < CONTENT_MAX; i++) {
        struct zone *zone = NULL;
        char kept = content.data[i];
        content.data[i] = (char)0xff;
        FILE *file = fopen(path, "we");
        assert_int_equal(fwrite(content.data, 1, content.length, file), content.length);
        fclose(file);
        if (zone_load_from(folder, "Cut", &zone, &err) == 0)
            zone_offset_at(zone, 1743296400);
        zone_free(zone);
        content.data[i] = kept;
    }
    buf_clear(&content);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offsets),       cmocka_unit_test(test_spans_join),
        cmocka_unit_test(test_civil),         cmocka_unit_test(test_rules),
        cmocka_unit_test(test_wrong_names),   cmocka_unit_test(test_without_tzdata),
        cmocka_unit_test(test_damaged_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
