/*
 * Every row of the tables in tests/data/cron/: what croniter, Debian's cron daemon and the
 * reference made of both answered. Their columns are described at each test. All wrong rows of a
 * table are printed before the test fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/units.h"
#include "cron/cron.h"

enum { TABLE_BYTES_MAX = 4 << 20, COLUMNS_MAX = 12, ZONES_MAX = 64, ANSWER_MAX = 256 };

/* Zones are loaded once for the whole program. */
static struct zone *zones[ZONES_MAX];

static const struct zone *zone_of(const char *name)
{
    size_t i = 0;
    for (; i < ZONES_MAX && zones[i]; i++)
        if (strcmp(zone_name(zones[i]), name) == 0)
            return zones[i];
    assert_true(i < ZONES_MAX);
    struct error err = ERROR_NONE;
    assert_int_equal(zone_load(name, &zones[i], &err), 0);
    return zones[i];
}

static int free_zones(void **state)
{
    (void)state;
    for (size_t i = 0; i < ZONES_MAX; i++)
        zones[i] = zone_free(zones[i]);
    return 0;
}

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

typedef bool (*row_test)(char **columns, size_t count);

/* Calls the test for every row; the first one is the header. */
static void each_row(const char *table, size_t rows_min, row_test test)
{
    struct buf content = BUF_INIT(TABLE_BYTES_MAX);
    struct error err = ERROR_NONE;
    char path[512];
    size_t rows = 0;
    size_t wrong = 0;
    snprintf(path, sizeof(path), "%s/cron/%s", TEST_DATA_DIR, table);
    assert_int_equal(file_read(path, &content, &err), 0);
    char *rest = content.data;
    strsep(&rest, "\n");
    for (char *line = strsep(&rest, "\n"); line && rest; line = strsep(&rest, "\n")) {
        char *columns[COLUMNS_MAX];
        size_t count = 0;
        while (line && count < COLUMNS_MAX)
            columns[count++] = strsep(&line, "\t");
        rows++;
        wrong += !test(columns, count);
    }
    buf_clear(&content);
    assert_true(rows >= rows_min);
    if (wrong)
        fail_msg("%zu of %zu rows of %s are wrong", wrong, rows, table);
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
static bool oracle_row(char **columns, size_t count)
{
    assert_int_equal(count, 8);
    const char *want = strcmp(columns[6], "=") == 0 ? columns[4] : columns[6];
    return check(columns[0], NULL, columns + 1, want);
}

/* expression tz base direction croniter6 hash_id croniter63. Where the two differ, the newer one
 * follows what is documented: the first value is drawn from the declared range only. */
static bool hash_row(char **columns, size_t count)
{
    assert_int_equal(count, 7);
    const char *want = strcmp(columns[6], "=") == 0 ? columns[4] : columns[6];
    return check(columns[0], columns[5], columns + 1, want);
}

/* expression tz base direction expected ... */
static bool dst_row(char **columns, size_t count)
{
    assert_true(count >= 5);
    return check(columns[0], NULL, columns + 1, columns[4]);
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
