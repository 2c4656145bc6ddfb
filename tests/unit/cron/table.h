/*
 * For the tests of src/cron: the tables of tests/data/cron/ row by row, and zones loaded once.
 */
#ifndef PGCAIRN_TESTS_CRON_TABLE_H
#define PGCAIRN_TESTS_CRON_TABLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "cron/cron.h"

enum { TABLE_BYTES_MAX = 4 << 20, ROWS_MAX = 10000, COLUMNS_MAX = 12, ZONES_MAX = 64 };

/* Kept for the whole program; free_zones() is its group teardown. */
static struct zone *zones[ZONES_MAX];

static inline const struct zone *zone_of(const char *name)
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

static inline int free_zones(void **state)
{
    (void)state;
    for (size_t i = 0; i < ZONES_MAX; i++)
        zones[i] = zone_free(zones[i]);
    return 0;
}

/* The rows behind the header; columns that a row lacks are NULL. */
struct rows {
    struct buf content;
    char *(*items)[COLUMNS_MAX];
    size_t count;
};

static inline void rows_load(const char *table, struct rows *rows)
{
    struct error err = ERROR_NONE;
    char path[512];
    *rows = (struct rows){.content = BUF_INIT(TABLE_BYTES_MAX)};
    snprintf(path, sizeof(path), "%s/cron/%s", TEST_DATA_DIR, table);
    assert_int_equal(file_read(path, &rows->content, &err), 0);
    rows->items = calloc(ROWS_MAX, sizeof(*rows->items));
    assert_non_null(rows->items);
    char *rest = rows->content.data;
    strsep(&rest, "\n");
    for (char *line = strsep(&rest, "\n"); line && rest; line = strsep(&rest, "\n")) {
        assert_true(rows->count < ROWS_MAX);
        for (size_t i = 0; line && i < COLUMNS_MAX; i++)
            rows->items[rows->count][i] = strsep(&line, "\t");
        rows->count++;
    }
}

static inline void rows_clear(struct rows *rows)
{
    free(rows->items);
    buf_clear(&rows->content);
}

/* Calls the test for every row, and fails at the end if one said false; there must be at least
 * rows_min of them. */
static inline void each_row(const char *table, size_t rows_min, bool (*test)(char **columns))
{
    struct rows rows;
    size_t wrong = 0;
    rows_load(table, &rows);
    for (size_t i = 0; i < rows.count; i++)
        wrong += !test(rows.items[i]);
    size_t count = rows.count;
    rows_clear(&rows);
    assert_true(count >= rows_min);
    if (wrong)
        fail_msg("%zu of %zu rows of %s are wrong", wrong, count, table);
}

#endif
