/*
 * What is refused, where the fault is said to be, and in what words; what the normal form is; and
 * that no text whatever does harm.
 */
#include "table.h"

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int column;
        const char *message;
    } ROWS[] = {
        {"", 1, "the schedule is empty"},
        {"   ", 1, "the schedule is empty"},
        {"*", 2, "1 field instead of 5"},
        {"0 3 * *", 8, "4 fields instead of 5"},
        {"0 3 * * * 0", 11, "6 fields instead of 5"},
        {"0 3 * * * 0 2030", 11, "7 fields instead of 5"},
        {"60 * * * *", 1, "minute 60 is not in 0-59"},
        {"0 24 * * *", 3, "hour 24 is not in 0-23"},
        {"0 0 0 * *", 5, "day of the month 0 is not in 1-31"},
        {"0 0 32 * *", 5, "day of the month 32 is not in 1-31"},
        {"0 0 1 13 *", 7, "month 13 is not in 1-12"},
        {"0 0 * * 8", 9, "day of the week 8 is not in 0-7"},
        {"0 0 * * 1-8", 11, "day of the week 8 is not in 0-7"},
        {"0 0 1,40 * *", 7, "day of the month 40 is not in 1-31"},
        {"99999999999999999999 * * * *", 1, "minute 99999999999999999999 is not in 0-59"},
        {"*/0 * * * *", 3, "a step of 0 in the minute field"},
        {"*/x * * * *", 3, "\"x\" in the minute field: expected a number after \"/\""},
        {"*/ * * * *", 3, "a number after \"/\" is missing in the minute field"},
        {"1,,2 * * * *", 3, "a value is missing in the minute field"},
        {"1, * * * *", 3, "a value is missing in the minute field"},
        {"1- * * * *", 3, "a value is missing in the minute field"},
        {"-5 * * * *", 1, "\"-\" is no minute"},
        {"1.5 * * * *", 2, "\".5\" in the minute field: expected a comma or the field's end"},
        {"5* * * * *", 2, "\"*\" in the minute field: expected a comma or the field's end"},
        {"*-5 * * * *", 2, "\"-\" in the minute field: expected a comma or the field's end"},
        {"1-2-3 * * * *", 4, "\"-\" in the minute field: expected a comma or the field's end"},
        {"fri * * * *", 1, "\"fri\" is no minute"},
        {"0 0 * foo *", 7, "\"foo\" is no month"},
        {"0 0 * * monday", 9, "\"monday\" is no day of the week"},
        {"0 0 * * mon-funday", 13, "\"funday\" is no day of the week"},
        {"? * * * *", 1,
         "\"?\" must stand alone in the field of the day of the month or of the week"},
        {"0 0 1,? * *", 7,
         "\"?\" must stand alone in the field of the day of the month or of the week"},
        {"0 0 l5 * *", 6,
         "\"5\" in the day of the month field: expected a comma or the field's end"},
        {"0 0 15W * *", 7,
         "\"W\" in the day of the month field: expected a comma or the field's end"},
        {"0 0 * * fri#6", 13,
         "a month has no such week: \"#\" takes 1 to 5, \"L5\" is the last Friday"},
        {"0 0 * * fri#", 13, "a number after \"#\" is missing in the day of the week field"},
        {"0 0 * * 1-5#1", 12,
         "\"#\" in the day of the week field: expected a comma or the field's end"},
        {"0 0 * * fri#1,mon", 15, "weekdays of every week and of certain weeks can't be mixed"},
        {"0 0 * * mon,L5", 13, "weekdays of every week and of certain weeks can't be mixed"},
        {"0 0 * * *,fri#1", 11, "weekdays of every week and of certain weeks can't be mixed"},
        {"0 0 * * L", 10,
         "a number after \"L\" (\"L5\" is the last Friday) is missing in the day of the week field"},
        {"0 0 * * 5L", 10,
         "\"L\" in the day of the week field: expected a comma or the field's end"},
        {"H 3 * * *", 1, "H needs something to be drawn from"},
        {"5,H 3 * * *", 3,
         "\"H\" can't be a part of the minute field: H, H/n, H(a-b) and H(a-b)/n stand alone"},
        {"R 3 * * *", 1,
         "\"R\" can't be a part of the minute field: R (random) is not supported, use H"},
        {"@reboot", 1, "\"@reboot\" is no schedule"},
        {"@dialy", 1, "\"@dialy\" is no schedule"},
        {"@daily ", 1, "\"@daily \" is no schedule"},
        {"1 2 3 4 5 6 7 8", 15, "more than 7 fields"},
        {"0 0 \xd9\xa3 * *", 5, "\"\xd9\xa3\" is no day of the month"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct cron_expr *expr = NULL;
        struct error err = ERROR_NONE;
        int column = 0;
        int rc = cron_parse(ROWS[i].text, NULL, &expr, &column, &err);
        assert_null(expr);
        if (rc != ERR_USAGE || column != ROWS[i].column ||
            strcmp(err.message, ROWS[i].message) != 0)
            fail_msg("[%s] %d, column %d: %s", ROWS[i].text, rc, column, err.message);
    }
}

static void test_hints(void **state)
{
    (void)state;
    static const struct {
        const char *text, *hint;
    } ROWS[] = {
        {"@dialy", "did you mean \"@daily\"?"},
        {"@reboot", "a schedule names times; a restart is none"},
        {"0 0 * * * 30",
         "a sixth field is the second, a seventh the year: allow them with \"seconds: true\""},
        {"0 3 *", "the fields are: minute hour day-of-month month day-of-week"},
        {"0 0 * * frd", "use 0-7 or sun to sat"},
        {"H 0 * * *", "give --hash-id ID; in a policy it is CLUSTER/JOB"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct cron_expr *expr = NULL;
        struct error err = ERROR_NONE;
        assert_int_equal(cron_parse(ROWS[i].text, NULL, &expr, NULL, &err), ERR_USAGE);
        assert_string_equal(err.hint, ROWS[i].hint);
    }
}

static void test_hash_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int column;
        const char *message;
    } ROWS[] = {
        {"H/0 * * * *", 3, "a step of 0 in the minute field"},
        {"H(5-5) * * * *", 3, "\"H(a-b)\" needs an a below b"},
        {"H(9-60) * * * *", 5, "minute 60 is not in 0-59"},
        {"H(9 * * * *", 4, "\"-\" in \"H(a-b)\" is missing in the minute field"},
        {"H(1-9 * * * *", 6, "\")\" behind \"H(a-b\" is missing in the minute field"},
        {"H,5 * * * *", 1,
         "\"H\" can't be a part of the minute field: H, H/n, H(a-b) and H(a-b)/n stand alone"},
        {"H/5,7 * * * *", 4,
         "the field's end (H, H/n, H(a-b) and H(a-b)/n stand alone) is missing in the minute "
         "field"},
        {"0 0 * * H(mon-fri)", 11, "\"H(a-b)\" takes numbers only"},
    };
    struct cron_options options = {.hash_id = "automatos/nightly"};
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct cron_expr *expr = NULL;
        struct error err = ERROR_NONE;
        int column = 0;
        int rc = cron_parse(ROWS[i].text, &options, &expr, &column, &err);
        if (rc != ERR_USAGE || column != ROWS[i].column ||
            strcmp(err.message, ROWS[i].message) != 0)
            fail_msg("[%s] %d, column %d: %s", ROWS[i].text, rc, column, err.message);
    }
}

static struct cron_expr *parse(const char *text, const char *hash_id)
{
    struct cron_options options = {.hash_id = hash_id, .allow_seconds = true};
    struct cron_expr *expr = NULL;
    struct error err = ERROR_NONE;
    if (cron_parse(text, &options, &expr, NULL, &err))
        fail_msg("[%s] %s", text, err.message);
    return expr;
}

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *normal;
    } ROWS[] = {
        {"* * * * *", "* * * * *"},
        {"\t0   3 *\t* SUN ", "0 3 * * 0"},
        {"@daily", "0 0 * * *"},
        {"@hourly", "0 * * * *"},
        {"*/5 9-17 1,15 * mon-fri", "*/5 9-17 1,15 * 1-5"},
        {"0-59 0-23 1-31 1-12 0-6", "0-59 0-23 1-31 * 0-6"},
        {"*/7,3 */90 * jan,3-feb,dec *", "*/7,3 */24 * * *"},
        {"5,4,3,1 22-2 l,30 oct-mar/2 7", "1,3-5 0-2,22-23 30,l 2,10,12 0"},
        {"0 0 ? * mon-tue#1,L5,5#2", "0 0 * * 1#1,2#1,5#2,L5"},
        {"0 0 * * * 0", "0 0 * * *"},
        {"0 0 * * * */30", "0 0 * * * 0,30"},
        {"0 0 * * * 0 2030,2031", "0 0 * * * 0 2030-2031"},
        {"0 0 * * * 0 */1", "0 0 * * * 0 1970-2099"},
        {"0 0 * * * * *", "0 0 * * * *"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        _cleanup_(freep) char *normal = NULL;
        _cleanup_(cron_freep) struct cron_expr *expr = parse(ROWS[i].text, NULL);
        struct error err = ERROR_NONE;
        assert_int_equal(cron_to_text(expr, &normal, &err), 0);
        assert_string_equal(normal, ROWS[i].normal);
    }
}

/* The normal form fires at the same instants, and is its own normal form. */
static bool normal_form_agrees(char **columns)
{
    if (strcmp(columns[4], "INVALID") == 0 || strcmp(columns[6], "INVALID") == 0)
        return true;
    struct error err = ERROR_NONE;
    _cleanup_(freep) char *normal = NULL;
    _cleanup_(freep) char *again = NULL;
    _cleanup_(cron_freep) struct cron_expr *expr = parse(columns[0], NULL);
    assert_int_equal(cron_to_text(expr, &normal, &err), 0);
    _cleanup_(cron_freep) struct cron_expr *other = parse(normal, NULL);
    assert_int_equal(cron_to_text(other, &again, &err), 0);
    bool same = strcmp(normal, again) == 0;
    const struct zone *zone = zone_of(columns[1]);
    /* A week before the clocks change. */
    for (int64_t a = 1742680800, b = a, n = 0; n < 20 && a != CRON_NEVER && same; n++) {
        a = cron_next(expr, zone, a);
        b = cron_next(other, zone, b);
        same = a == b;
    }
    if (!same)
        print_error("[%s] is not [%s], [%s]\n", columns[0], normal, again);
    return same;
}

static void test_normal_forms(void **state)
{
    (void)state;
    each_row("oracle.tsv", 4000, normal_form_agrees);
}

static void test_hash_spreads(void **state)
{
    (void)state;
    bool seen[60] = {false};
    int distinct = 0;
    for (int i = 0; i < 2000; i++) {
        char id[32];
        snprintf(id, sizeof(id), "cluster/job-%d", i);
        _cleanup_(cron_freep) struct cron_expr *expr = parse("H/60 3 * * *", id);
        int64_t fire = cron_next(expr, zone_of("UTC"), 1795132800); /* a midnight */
        assert_in_range(fire, 1795132800 + 3 * 3600, 1795132800 + 4 * 3600 - 1);
        size_t minute = (size_t)(fire % 3600 / 60);
        distinct += !seen[minute];
        seen[minute] = true;
    }
    assert_int_equal(distinct, 60);
}

/* A step wider than its range draws from the range and no further: one fire an hour, in it. */
static void test_hash_keeps_its_range(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int low, high;
    } ROWS[] = {
        {"H(50-52)/10 * * * *", 50, 52}, {"H(50-59)/10 * * * *", 50, 59}, {"H/100 * * * *", 0, 59}};
    for (size_t row = 0; row < ARRAY_SIZE(ROWS); row++) {
        for (int i = 0; i < 300; i++) {
            char id[32];
            snprintf(id, sizeof(id), "cluster/job-%d", i);
            _cleanup_(cron_freep) struct cron_expr *expr = parse(ROWS[row].text, id);
            int64_t first = cron_next(expr, zone_of("UTC"), 1795132799); /* before an hour */
            assert_in_range(first % 3600 / 60, ROWS[row].low, ROWS[row].high);
            assert_int_equal(cron_next(expr, zone_of("UTC"), first), first + 3600);
        }
    }
}

static void test_verdicts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool can_fire, misses_gaps;
    } ROWS[] = {
        {"30 2 * * *", true, false},         {"0 0 30 2 *", false, false},
        {"0 0 31 4,6,9,11 *", false, false}, {"0 0 31 2 mon", true, false},
        {"0 0 29 2 *", true, false},         {"0 0 29 2 * 0 2025-2027", false, false},
        {"0 0 29 2 * 0 2028", true, false},  {"*/30 2 * * *", true, true},
        {"* 2 * * *", true, true},           {"*/15 2-2 * * *", true, true},
        {"*/30 * * * *", true, false},       {"*/30 */2 * * *", true, false},
        {"*/30 0-23 * * *", true, false},    {"0-59/30 2 * * *", true, false},
        {"0 */2 * * *", true, false},        {"@hourly", true, false},
        {"0 0 * * fri#5", true, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        _cleanup_(cron_freep) struct cron_expr *expr = parse(ROWS[i].text, NULL);
        if (cron_can_fire(expr) != ROWS[i].can_fire ||
            cron_misses_gaps(expr) != ROWS[i].misses_gaps)
            fail_msg("%s", ROWS[i].text);
    }
}

static void test_long_texts(void **state)
{
    (void)state;
    static char text[CRON_TEXT_MAX + 1];
    struct cron_expr *expr = NULL;
    struct error err = ERROR_NONE;
    int column = 0;
    memset(text, '0', sizeof(text) - 1);
    assert_int_equal(cron_parse(text, NULL, &expr, &column, &err), ERR_USAGE);
    assert_string_equal(err.message, "the schedule is longer than 4095 bytes");
    memcpy(text + CRON_TEXT_MAX - 10, " * * * *", sizeof(" * * * *"));
    assert_int_equal(cron_parse(text, NULL, &expr, &column, &err), 0);
    cron_free(expr);
}

/* A small generator of its own: the same texts on every machine. */
static uint32_t random_next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

/* Texts made of what expressions are made of, of names, and of any bytes. Whatever is accepted
 * must also be searched and written. */
static void test_random_texts(void **state)
{
    (void)state;
    static const char *const PIECES[] = {"*",   "/",  "-",      ",",  "#", "?", "L",       "l",
                                         "H",   "(",  ")",      "R",  "0", "1", "7",       "31",
                                         "59",  "60", "2030",   " ",  " ", " ", "mon",     "fri",
                                         "jan", "@",  "@daily", "\t", "W", "~", "\xe3\x80"};
    struct cron_options options = {.hash_id = "a/b", .allow_seconds = true};
    uint64_t seed = 1;
    int accepted = 0;
    for (int i = 0; i < 200000; i++) {
        char text[256] = "";
        size_t used = 0;
        uint32_t count = random_next(&seed) % 24;
        for (uint32_t n = 0; n < count; n++) {
            const char *piece = PIECES[random_next(&seed) % ARRAY_SIZE(PIECES)];
            char byte[2] = {(char)(random_next(&seed) % 255 + 1), '\0'};
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s",
                                     random_next(&seed) % 50 ? piece : byte);
        }
        /* On the heap, at its very length, so that a reader beyond the end is caught. */
        _cleanup_(freep) char *copy = strdup(text);
        _cleanup_(cron_freep) struct cron_expr *expr = NULL;
        _cleanup_(freep) char *normal = NULL;
        struct error err = ERROR_NONE;
        int column = 0;
        if (cron_parse(copy, &options, &expr, &column, &err)) {
            assert_int_equal(err.code, ERR_USAGE);
            assert_in_range(column, 1, strlen(copy) + 1);
            continue;
        }
        accepted++;
        assert_int_equal(cron_to_text(expr, &normal, &err), 0);
        int64_t fire = cron_next(expr, zone_of("Europe/Berlin"), 1743200000);
        assert_true(fire == CRON_NEVER || fire > 1743200000);
    }
    assert_true(accepted > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_hash_errors),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_normal_forms),
        cmocka_unit_test(test_hash_spreads),
        cmocka_unit_test(test_hash_keeps_its_range),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_random_texts),
    };
    return cmocka_run_group_tests(tests, NULL, free_zones);
}
