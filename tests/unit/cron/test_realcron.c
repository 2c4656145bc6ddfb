/*
 * What Debian's cron daemon really did at changes of the clock, against the engine. One difference
 * is deliberate: the daemon runs a job once for each skipped minute that matched, all within the
 * minute after the change; here they are one fire.
 *
 * The rows of one zone and start were watched together, so the last fire of any of them tells how
 * far all of them were watched.
 */
#include "table.h"

#include "base/instant.h"

enum { FIRES_MAX = 400 };

enum column { ZONE, START, EXPRESSION, FIRES };

struct seen {
    int64_t fires[FIRES_MAX];
    size_t count;
    size_t left_out_at, left_out; /* "... 120 in all ...": how many are not listed, and where */
};

static void parse_start(char **columns, int64_t *ret_instant, struct civil *ret_civil)
{
    struct error err = ERROR_NONE;
    int64_t start_us;
    int64_t second;
    bool has_offset;
    assert_int_equal(instant_parse(columns[START], &start_us, &has_offset, &err), 0);
    civil_from_seconds(start_us / US_PER_SECOND, ret_civil);
    assert_int_equal(zone_from_civil(zone_of(columns[ZONE]), ret_civil, ret_instant, &second),
                     ZONE_ONCE);
}

/* "30 03:00+0200": a day of the month of the start or of the next one. */
static int64_t parse_fire(const char *text, const struct civil *start)
{
    struct civil civil = *start;
    int offset;
    char sign;
    assert_int_equal(
        sscanf(text, "%d %d:%d%c%4d", &civil.day, &civil.hour, &civil.minute, &sign, &offset), 5);
    civil.second = 0;
    if (civil.day < start->day && civil.month++ == 12) {
        civil.month = 1;
        civil.year++;
    }
    int seconds = offset / 100 * 3600 + offset % 100 * 60;
    return civil_to_seconds(&civil) + (sign == '-' ? seconds : -seconds);
}

static void parse_seen(const char *text, const struct civil *start, struct seen *ret_seen)
{
    struct seen seen = {0};
    size_t total = 0;
    while (*text && strcmp(text, "(none)") != 0) {
        text += strspn(text, ", ");
        if (*text == '.') {
            assert_int_equal(sscanf(text, "... %zu in all", &total), 1);
            seen.left_out_at = seen.count;
        } else {
            int64_t fire = parse_fire(text, start);
            assert_true(seen.count < FIRES_MAX);
            if (seen.count == 0 || seen.fires[seen.count - 1] != fire)
                seen.fires[seen.count++] = fire;
        }
        text += strcspn(text, ",");
    }
    if (total > 0)
        seen.left_out = total - seen.count;
    *ret_seen = seen;
}

/* The engine's fires after start, up to end, are those seen and as many as were left out. */
static bool row_agrees(char **columns, int64_t start, int64_t end, const struct seen *seen)
{
    struct error err = ERROR_NONE;
    const struct zone *zone = zone_of(columns[ZONE]);
    _cleanup_(cron_freep) struct cron_expr *expr = NULL;
    assert_int_equal(cron_parse(columns[EXPRESSION], NULL, &expr, NULL, &err), 0);
    size_t count = 0;
    bool same = true;
    for (int64_t at = start; (at = cron_next(expr, zone, at)) != CRON_NEVER && at <= end; count++) {
        if (count >= seen->left_out_at && count < seen->left_out_at + seen->left_out)
            continue;
        size_t i = count < seen->left_out_at ? count : count - seen->left_out;
        same = same && i < seen->count && seen->fires[i] == at;
    }
    same = same && count == seen->count + seen->left_out;
    if (!same)
        print_error("[%s] in %s from %s: %zu fires, not %s\n", columns[EXPRESSION], columns[ZONE],
                    columns[START], count, columns[FIRES]);
    return same;
}

/* One group: returns how many of its rows are wrong. */
static size_t check_group(char *(*rows)[COLUMNS_MAX], size_t count)
{
    struct seen seen;
    struct civil civil;
    int64_t start;
    size_t wrong = 0;
    parse_start(rows[0], &start, &civil);
    int64_t end = start;
    for (size_t i = 0; i < count; i++) {
        parse_seen(rows[i][FIRES], &civil, &seen);
        if (seen.count > 0 && seen.fires[seen.count - 1] > end)
            end = seen.fires[seen.count - 1];
    }
    for (size_t i = 0; i < count; i++) {
        parse_seen(rows[i][FIRES], &civil, &seen);
        wrong += !row_agrees(rows[i], start, end, &seen);
    }
    return wrong;
}

static void test_realcron(void **state)
{
    (void)state;
    struct rows rows;
    size_t wrong = 0;
    rows_load("realcron.tsv", &rows);
    assert_true(rows.count >= 150);
    for (size_t from = 0, to; from < rows.count; from = to) {
        for (to = from; to < rows.count; to++)
            if (strcmp(rows.items[to][ZONE], rows.items[from][ZONE]) != 0 ||
                strcmp(rows.items[to][START], rows.items[from][START]) != 0)
                break;
        wrong += check_group(rows.items + from, to - from);
    }
    rows_clear(&rows);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_realcron)};
    return cmocka_run_group_tests(tests, NULL, free_zones);
}
