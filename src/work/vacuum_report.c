#include "work/vacuum_report.h"

#include <errno.h>
#include <string.h>

#include "base/table.h"
#include "base/units.h"

enum { CELL_MAX = 256 };

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static long long number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static char *number_text(const json_t *object, const char *key, char text[UNITS_TEXT_MAX])
{
    if (json_is_integer(json_object_get(object, key)))
        snprintf(text, UNITS_TEXT_MAX, "%lld", number_of(object, key));
    else
        snprintf(text, UNITS_TEXT_MAX, "?");
    return text;
}

static char *size_text(const json_t *object, const char *key, char text[UNITS_TEXT_MAX])
{
    return size_format(number_of(object, key), text);
}

/* "before -> after", or one of them when both are the same; "" for what was not measured. */
static char *change(const json_t *table, const char *key,
                    char *(*format)(const json_t *, const char *, char[UNITS_TEXT_MAX]),
                    char cell[CELL_MAX])
{
    const json_t *before = json_object_get(table, "before"),
                 *after = json_object_get(table, "after");
    char old[UNITS_TEXT_MAX], new[UNITS_TEXT_MAX];
    cell[0] = '\0';
    if (!before || !after)
        return cell;
    format(before, key, old);
    format(after, key, new);
    bool same = strcmp(old, new) == 0;
    snprintf(cell, CELL_MAX, "%s%s%s", same ? "" : old, same ? "" : " -> ", new);
    return cell;
}

static int print_tables(const json_t *details, FILE *file, struct error *err)
{
    const json_t *tables = json_object_get(details, "tables"), *item;
    _cleanup_(table_freep) struct table *table = NULL;
    size_t i;
    if (json_array_size(tables) == 0)
        return 0;
    int rc = table_new("DATABASE|TABLE|WORK|OUTCOME|WHY|>DEAD ROWS|>VISIBLE %|>XID AGE|>SIZE|NOTE",
                       &table, err);
    json_array_foreach(tables, i, item)
    {
        char name[CELL_MAX], dead[CELL_MAX], visible[CELL_MAX], age[CELL_MAX], bytes[CELL_MAX];
        snprintf(name, sizeof(name), "%s.%s", text_of(item, "schema"), text_of(item, "table"));
        if (!rc)
            rc = table_row(table, err, text_of(item, "database"), name, text_of(item, "work"),
                           text_of(item, "outcome"), text_of(item, "reason"),
                           change(item, "dead_rows", number_text, dead),
                           change(item, "all_visible_percent", number_text, visible),
                           change(item, "xid_age", number_text, age),
                           change(item, "bytes", size_text, bytes), text_of(item, "note"));
    }
    return rc ? rc : table_print(table, file, err);
}

static void print_totals(const json_t *details, FILE *file)
{
    const json_t *totals = json_object_get(details, "totals"), *pattern;
    char before[UNITS_TEXT_MAX], after[UNITS_TEXT_MAX];
    size_t i;
    fprintf(file,
            "%lld tables in %lld databases: %lld done, %lld failed, %lld left for the next run, "
            "%lld skipped\n",
            number_of(totals, "tables"), number_of(totals, "databases"), number_of(totals, "done"),
            number_of(totals, "failed"), number_of(totals, "left"), number_of(totals, "skipped"));
    if (number_of(totals, "done") > 0)
        fprintf(file, "dead rows %lld -> %lld, size %s -> %s\n",
                number_of(totals, "dead_rows_before"), number_of(totals, "dead_rows_after"),
                size_format(number_of(totals, "bytes_before"), before),
                size_format(number_of(totals, "bytes_after"), after));
    json_array_foreach(json_object_get(details, "unmatched"), i, pattern)
        fprintf(file, "no table matches %s\n", json_string_value(pattern));
}

/* One value as people read it: sizes with units, absent ones as "-". */
static void print_value(const char *key, const json_t *value, FILE *file)
{
    char size[UNITS_TEXT_MAX];
    if (json_is_integer(value) && strstr(key, "bytes"))
        fprintf(file, "%s", size_format(json_integer_value(value), size));
    else if (json_is_integer(value))
        fprintf(file, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        fprintf(file, "%.1f", json_real_value(value));
    else if (json_is_boolean(value))
        fputs(json_is_true(value) ? "yes" : "no", file);
    else
        fputs(json_is_string(value) ? json_string_value(value) : "-", file);
}

/* "  key value, key value"; the command, if there is one, on a line of its own. jansson walks an
 * object through a pointer that is not const, without changing it. */
static void print_finding(json_t *finding, FILE *file)
{
    const char *key, *between = "  ", *command = text_of(finding, "command");
    json_t *value;
    json_object_foreach(finding, key, value)
    {
        if (strcmp(key, "command") == 0 || json_is_null(value))
            continue;
        fprintf(file, "%s%s ", between, key);
        print_value(key, value, file);
        between = ", ";
    }
    fputc('\n', file);
    if (*command)
        fprintf(file, "    %s\n", command);
}

static void print_findings(const json_t *report, const char *key, const char *title,
                           const char *database, FILE *file)
{
    const json_t *findings = json_object_get(report, key);
    json_t *finding;
    size_t i;
    if (json_array_size(findings) == 0)
        return;
    fprintf(file, "\n%s%s%s:\n", title, *database ? " in " : "", database);
    json_array_foreach(findings, i, finding) print_finding(finding, file);
}

static const struct {
    const char *key, *title;
} SERVER_TITLES[] =
    {
        {"settings", "settings that hinder maintenance"},
        {"blockers", "who holds back the removal of dead rows, oldest first"},
        {"idle_in_transaction", "sessions idle in a transaction"},
        {"slots", "replication slots"},
        {"databases", "databases, oldest first"},
        {"connections", "connections"},
},
  DATABASE_TITLES[] = {
      {"largest_tables", "largest tables"},
      {"invalid_indexes", "invalid indexes (pg_dump leaves them out)"},
      {"sequences", "sequences that are nearly used up"},
      {"autovacuum_disabled", "tables without autovacuum"},
      {"slow_statements", "statements that take the most time"},
};

int vacuum_report_text(const json_t *details, FILE *file, struct error *err)
{
    int rc = print_tables(details, file, err);
    if (rc)
        return rc;
    print_totals(details, file);
    for (size_t i = 0; i < ARRAY_SIZE(SERVER_TITLES); i++)
        print_findings(json_object_get(details, "server"), SERVER_TITLES[i].key,
                       SERVER_TITLES[i].title, "", file);
    const json_t *database, *text;
    size_t i;
    json_array_foreach(json_object_get(details, "databases"), i, database)
    {
        for (size_t k = 0; k < ARRAY_SIZE(DATABASE_TITLES); k++)
            print_findings(database, DATABASE_TITLES[k].key, DATABASE_TITLES[k].title,
                           text_of(database, "name"), file);
    }
    json_array_foreach(json_object_get(details, "unknown"), i, text)
        fprintf(file, "%s\n", json_string_value(text));
    if (fflush(file) != 0)
        return error_set_errno(err, errno, "could not write the report");
    return 0;
}
