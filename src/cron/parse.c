#include "cron/expr.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/suggest.h"

enum { FIELDS_MIN = CRON_SECOND, FIELDS_MAX = CRON_FIELD_COUNT };

static const struct word {
    const char *name, *plain, *hashed;
} WORDS[] = {
    {"@hourly", "0 * * * *", "H * * * * H"},        {"@daily", "0 0 * * *", "H H * * * H"},
    {"@midnight", "0 0 * * *", "H H(0-2) * * * H"}, {"@weekly", "0 0 * * 0", "H H * * H H"},
    {"@monthly", "0 0 1 * *", "H H H * * H"},       {"@yearly", "0 0 1 1 *", "H H H H * H"},
    {"@annually", "0 0 1 1 *", "H H H H * H"},
};

struct token {
    const char *start, *end;
};

/* The length of the blank at `at`, or 0. Blanks of Unicode count too (in UTF-8), for they look the
 * same and come with texts copied from web pages. */
static size_t blank_length(const char *at)
{
    static const char *const WIDE[] = {"\xc2\x85", "\u00a0", "\u1680", "\u2000", "\u2001",
                                       "\u2002",   "\u2003", "\u2004", "\u2005", "\u2006",
                                       "\u2007",   "\u2008", "\u2009", "\u200a", "\u2028",
                                       "\u2029",   "\u202f", "\u205f", "\u3000"};
    if (*at == ' ' || (*at >= '\t' && *at <= '\r') || (*at >= 0x1c && *at <= 0x1f))
        return 1;
    for (size_t i = 0; i < ARRAY_SIZE(WIDE) && (unsigned char)*at >= 0x80; i++)
        if (strncmp(at, WIDE[i], strlen(WIDE[i])) == 0)
            return strlen(WIDE[i]);
    return 0;
}

static int unknown_word(const char *text, struct cron_fault *fault)
{
    const char *names[ARRAY_SIZE(WORDS)];
    for (size_t i = 0; i < ARRAY_SIZE(WORDS); i++)
        names[i] = WORDS[i].name;
    int rc = cron_fault(fault, text, "\"%.40s\" is no schedule", text);
    if (strcasecmp(text, "@reboot") == 0)
        return error_hint(fault->err, "a schedule names times; a restart is none");
    const char *nearest = suggest_nearest(text, names, ARRAY_SIZE(WORDS));
    if (nearest)
        return error_hint(fault->err, "did you mean \"%s\"?", nearest);
    error_hint(fault->err, "the words are @hourly @daily @midnight @weekly @monthly @yearly");
    return rc;
}

/* Cuts the text into fields at blanks; one more than FIELDS_MAX is counted, not stored. */
static int split_fields(const char *text, struct token tokens[FIELDS_MAX], bool allow_seconds,
                        int *ret_count, struct cron_fault *fault)
{
    int count = 0;
    const char *behind = text; /* the last field */
    for (const char *at = text; *at;) {
        size_t blank = blank_length(at);
        if (blank > 0) {
            at += blank;
            continue;
        }
        const char *start = at;
        while (*at && !blank_length(at))
            at++;
        if (count == FIELDS_MAX)
            return cron_fault(fault, start, "more than %d fields", FIELDS_MAX);
        tokens[count++] = (struct token){.start = start, .end = behind = at};
    }
    if (count == 0)
        return cron_fault(fault, text, "the schedule is empty");
    if (count < FIELDS_MIN) {
        cron_fault(fault, behind, "%d field%s instead of %d", count, count == 1 ? "" : "s",
                   FIELDS_MIN);
        return error_hint(fault->err, "the fields are: minute hour day-of-month month day-of-week");
    }
    if (count > FIELDS_MIN && !allow_seconds) {
        cron_fault(fault, tokens[CRON_SECOND].start, "%d fields instead of %d", count, FIELDS_MIN);
        return error_hint(fault->err, "a sixth field is the second, a seventh the year: allow them "
                                      "with \"seconds: true\"");
    }
    *ret_count = count;
    return 0;
}

static int highest_bit(uint64_t bits)
{
    return 63 - __builtin_clzll(bits);
}

static void compile(const struct cron_field fields[CRON_FIELD_COUNT], int count,
                    struct cron_expr *expr)
{
    const struct cron_field *weekday = &fields[CRON_WEEKDAY];
    expr->minutes = fields[CRON_MINUTE].bits[0];
    expr->hours = (uint32_t)fields[CRON_HOUR].bits[0];
    expr->days = (uint32_t)(fields[CRON_DAY].bits[0] << 1);
    expr->months = (uint32_t)(fields[CRON_MONTH].bits[0] << 1);
    expr->weekdays = (uint8_t)weekday->bits[0];
    memcpy(expr->nth, weekday->nth, sizeof(expr->nth));
    for (size_t i = 0; i < sizeof(expr->nth); i++)
        expr->is_nth = expr->is_nth || expr->nth[i] != 0;
    expr->last_day = fields[CRON_DAY].last_day;
    expr->any_day = fields[CRON_DAY].is_any;
    expr->any_weekday = weekday->is_any;
    expr->minute_star = fields[CRON_MINUTE].begins_with_star;
    expr->hour_star = fields[CRON_HOUR].begins_with_star;
    expr->seconds = count > CRON_SECOND ? fields[CRON_SECOND].bits[0] : 1;
    expr->is_year_bounded = count > CRON_YEAR && !fields[CRON_YEAR].is_any;
    memcpy(expr->years, fields[CRON_YEAR].bits, sizeof(expr->years));
    expr->first_time = __builtin_ctz(expr->hours) * 3600 + __builtin_ctzll(expr->minutes) * 60 +
                       __builtin_ctzll(expr->seconds);
    expr->last_time = highest_bit(expr->hours) * 3600 + highest_bit(expr->minutes) * 60 +
                      highest_bit(expr->seconds);
}

static int parse_fields(const char *text, const char *hash_id, bool allow_seconds,
                        struct cron_expr *expr, struct cron_fault *fault)
{
    struct token tokens[FIELDS_MAX];
    struct cron_field fields[CRON_FIELD_COUNT] = {0};
    int count = 0;
    fault->text = text;
    int rc = split_fields(text, tokens, allow_seconds, &count, fault);
    for (int i = 0; i < count && !rc; i++)
        rc = cron_field_parse((enum cron_field_index)i, tokens[i].start, tokens[i].end, hash_id,
                              &fields[i], fault);
    if (!rc)
        compile(fields, count, expr);
    return rc;
}

static int parse_text(const char *text, const struct cron_options *options, struct cron_expr *expr,
                      struct cron_fault *fault)
{
    if (strlen(text) >= CRON_TEXT_MAX)
        return cron_fault(fault, text, "the schedule is longer than %d bytes", CRON_TEXT_MAX - 1);
    for (size_t i = 0; i < ARRAY_SIZE(WORDS); i++)
        if (strcasecmp(text, WORDS[i].name) == 0)
            return parse_fields(options->hash_id ? WORDS[i].hashed : WORDS[i].plain,
                                options->hash_id, true, expr, fault);
    if (text[0] == '@')
        return unknown_word(text, fault);
    return parse_fields(text, options->hash_id, options->allow_seconds, expr, fault);
}

int cron_parse(const char *text, const struct cron_options *options, struct cron_expr **ret_expr,
               int *ret_column, struct error *err)
{
    static const struct cron_options DEFAULTS = {0};
    struct cron_fault fault = {.text = text, .err = err};
    _cleanup_(cron_freep) struct cron_expr *expr = calloc(1, sizeof(*expr));
    if (!expr)
        return error_no_memory(err);
    int rc = parse_text(text, options ? options : &DEFAULTS, expr, &fault);
    if (rc) {
        if (ret_column)
            *ret_column = fault.column;
        return rc;
    }
    *ret_expr = TAKE(expr);
    return 0;
}

struct cron_expr *cron_free(struct cron_expr *expr)
{
    free(expr);
    return NULL;
}
