/* cron next: when one expression fires, without any policy. */
#include <stdio.h>
#include <string.h>

#include "base/table.h"
#include "base/units.h"
#include "command/commands.h"
#include "cron/cron.h"

enum {
    COUNT_DEFAULT = 5,
    COUNT_MAX = 1000000,
    POINTED_MAX = 300, /* bytes of an expression that is shown with a caret */
    LINE_MAX_BYTES = 2 * POINTED_MAX + 16,
};

static const struct command_option OPTIONS[] = {
    {"tz", OPTION_TEXT, "ZONE", "the time zone, such as Europe/Berlin (default: UTC)"},
    {"from", OPTION_TEXT, "UNIX", "seconds since 1970, itself excluded (default: now)"},
    {"n", OPTION_TEXT, "N", "how many fires (default: 5)"},
    {"prev", OPTION_FLAG, NULL, "backwards: the last fires before"},
    {"hash-id", OPTION_TEXT, "ID", "what H is drawn from; in a policy it is CLUSTER/JOB"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

/* What was asked for. */
struct question {
    struct cron_expr *expr;
    struct zone *zone;
    int64_t from, count;
    bool backwards;
};

static void question_clear(struct question *question)
{
    cron_free(question->expr);
    zone_free(question->zone);
}

/* Two lines for people: the expression, and a caret under the column. Bytes that continue a UTF-8
 * character take no room, and control characters become blanks. */
static void point_at(const char *text, int column, char lines[LINE_MAX_BYTES])
{
    char shown[POINTED_MAX + 1];
    int indent = 0;
    snprintf(shown, sizeof(shown), "%s", text);
    for (int i = 0; shown[i]; i++) {
        if ((unsigned char)shown[i] < ' ')
            shown[i] = ' ';
        if (i < column - 1 && ((unsigned char)shown[i] & 0xc0) != 0x80)
            indent++;
    }
    snprintf(lines, LINE_MAX_BYTES, "\n  %s\n  %*s^", shown, indent, "");
}

static int invalid_expression(const char *text, int column, bool for_people, struct error *err)
{
    struct error cause = *err;
    char lines[LINE_MAX_BYTES] = "";
    if (for_people && text[0] && strlen(text) <= POINTED_MAX)
        point_at(text, column, lines);
    error_set(err, cause.code, "column %d: %s%s", column, cause.message, lines);
    return error_hint(err, "%s",
                      cause.hint[0] ? cause.hint
                                    : "the fields are: minute hour day-of-month month day-of-week");
}

static int read_number(const struct arguments *arguments, const char *name, const char *what,
                       int64_t low, int64_t high, int64_t *number, struct error *err)
{
    const char *text = argument_text(arguments, name);
    return text ? number_parse(text, what, low, high, number, err) : 0;
}

static int read_question(const struct globals *globals, const struct arguments *arguments,
                         struct question *question, struct error *err)
{
    const char *text = arguments->words.items[0];
    const char *zone = argument_text(arguments, "tz");
    struct cron_options options = {
        .hash_id = argument_text(arguments, "hash-id"),
        .allow_seconds = true,
    };
    int column = 0;
    question->from = instant_now_us() / US_PER_SECOND;
    question->count = COUNT_DEFAULT;
    question->backwards = argument_flag(arguments, "prev");
    int rc = cron_parse(text, &options, &question->expr, &column, err);
    if (rc == ERR_USAGE)
        return invalid_expression(text, column, !globals->json, err);
    if (!rc)
        rc = zone_load(zone ? zone : "UTC", &question->zone, err);
    if (!rc)
        rc =
            read_number(arguments, "from", "--from", 0, ZONE_SECONDS_MAX - 1, &question->from, err);
    if (!rc)
        rc = read_number(arguments, "n", "-n", 1, COUNT_MAX, &question->count, err);
    return rc;
}

static int64_t advance(const struct question *question, int64_t at)
{
    return question->backwards ? cron_previous(question->expr, question->zone, at)
                               : cron_next(question->expr, question->zone, at);
}

static int print_json(const struct question *question, struct error *err)
{
    json_t *fires = json_array();
    int64_t at = question->from;
    for (int64_t i = 0; i < question->count && fires; i++) {
        at = advance(question, at);
        if (at == CRON_NEVER)
            break;
        if (json_array_append_new(fires, json_integer(at))) {
            json_decref(fires);
            fires = NULL;
        }
    }
    return fires ? command_print_json(json_pack("{s:o}", "fires", fires), err)
                 : error_no_memory(err);
}

/* "Sun 2026-11-22 02:30:00 +01:00" */
static void format_local(const struct zone *zone, int64_t at, char *text, size_t size)
{
    static const char *const WEEKDAYS[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    struct civil civil;
    int32_t offset = zone_offset_at(zone, at);
    zone_to_civil(zone, at, &civil);
    int minutes = (offset < 0 ? -offset : offset) / 60;
    snprintf(text, size, "%s %04d-%02d-%02d %02d:%02d:%02d %c%02d:%02d",
             WEEKDAYS[civil_weekday(civil_days(civil.year, civil.month, civil.day))],
             (int)civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second,
             offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

static int print_table(const struct question *question, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    char title[ZONE_NAME_MAX + 16];
    snprintf(title, sizeof(title), "%s|UTC|>UNIX", zone_name(question->zone));
    int rc = table_new(title, &table, err);
    int64_t at = question->from;
    int64_t count = 0;
    for (; count < question->count && !rc; count++) {
        char local[64], utc[INSTANT_TEXT_MAX], seconds[32];
        at = advance(question, at);
        if (at == CRON_NEVER)
            break;
        format_local(question->zone, at, local, sizeof(local));
        snprintf(seconds, sizeof(seconds), "%lld", (long long)at);
        rc = table_row(table, err, local, instant_format(at * US_PER_SECOND, utc), seconds);
    }
    if (!rc && count > 0)
        rc = table_print(table, stdout, err);
    if (!rc && at == CRON_NEVER)
        printf("no %sfire within %d years\n", count > 0 ? "further " : "", CRON_YEARS_MAX);
    return rc;
}

static int cron_next_run(const struct globals *globals, const struct arguments *arguments,
                         struct error *err)
{
    _cleanup_(question_clear) struct question question = {0};
    int rc = read_question(globals, arguments, &question, err);
    if (rc)
        return rc;
    return globals->json ? print_json(&question, err) : print_table(&question, err);
}

const struct command COMMAND_CRON_NEXT = {
    .name = "cron next",
    .usage = "EXPR [--tz ZONE] [--from UNIX] [-n N] [--prev] [--hash-id ID]",
    .summary = "when a schedule fires, in its zone and in UTC",
    .examples = "  pgcairn cron next \"30 2 * * mon-fri\" --tz Europe/Berlin\n"
                "  pgcairn --json cron next \"H 3 * * *\" --hash-id automatos/nightly -n 1",
    .min_words = 1,
    .max_words = 1,
    .options = OPTIONS,
    .run = cron_next_run,
};
