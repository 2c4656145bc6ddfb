#include "base/zone_rule.h"

#include <ctype.h>
#include <string.h>

#include "base/instant.h"

enum {
    DAY_SECONDS = 86400,
    CHANGE_TIME_DEFAULT = 2 * 3600,
    OFFSET_HOURS_MAX = 24,
    CHANGE_HOURS_MAX = 167, /* RFC 8536: from -167 to 167 */
    NAME_LENGTH_MIN = 3,
};

/* Each reader takes the text at *at, moves *at behind what it read, and says whether it was
 * there. */
static bool read_number(const char **at, int low, int high, int *ret_number)
{
    int number = 0;
    int digits = 0;
    for (; isdigit((unsigned char)**at) && digits < 4; digits++)
        number = number * 10 + (*(*at)++ - '0');
    if (digits == 0 || number < low || number > high)
        return false;
    *ret_number = number;
    return true;
}

static bool read_char(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

/* A name has no meaning here: "CET", or "<+03>" for one that is not made of letters. */
static bool read_name(const char **at)
{
    const char *start = *at;
    if (read_char(at, '<')) {
        while (isalnum((unsigned char)**at) || **at == '+' || **at == '-')
            (*at)++;
        return read_char(at, '>');
    }
    while (isalpha((unsigned char)**at))
        (*at)++;
    return *at - start >= NAME_LENGTH_MIN;
}

/* [+-]h[:m[:s]] */
static bool read_time(const char **at, int hours_max, int32_t *ret_seconds)
{
    int sign = **at == '-' ? -1 : 1;
    int hours = 0;
    int minutes = 0;
    int seconds = 0;
    if (**at == '-' || **at == '+')
        (*at)++;
    if (!read_number(at, 0, hours_max, &hours))
        return false;
    if (read_char(at, ':') && !read_number(at, 0, 59, &minutes))
        return false;
    if (read_char(at, ':') && !read_number(at, 0, 59, &seconds))
        return false;
    *ret_seconds = sign * (hours * 3600 + minutes * 60 + seconds);
    return true;
}

static bool read_day(const char **at, struct zone_change_rule *change)
{
    if (read_char(at, 'J')) {
        change->kind = ZONE_DAY_JULIAN;
        return read_number(at, 1, 365, &change->day);
    }
    if (read_char(at, 'M')) {
        change->kind = ZONE_DAY_WEEKDAYS;
        return read_number(at, 1, 12, &change->month) && read_char(at, '.') &&
               read_number(at, 1, 5, &change->week) && read_char(at, '.') &&
               read_number(at, 0, 6, &change->day);
    }
    change->kind = ZONE_DAY_ORDINAL;
    return read_number(at, 0, 365, &change->day);
}

static bool read_change(const char **at, struct zone_change_rule *change)
{
    change->time = CHANGE_TIME_DEFAULT;
    if (!read_char(at, ',') || !read_day(at, change))
        return false;
    return !read_char(at, '/') || read_time(at, CHANGE_HOURS_MAX, &change->time);
}

static bool read_rule(const char *text, struct zone_rule *rule)
{
    const char *at = text;
    int32_t west = 0;
    if (!read_name(&at) || !read_time(&at, OFFSET_HOURS_MAX, &west))
        return false;
    rule->standard_offset = -west;
    if (*at == '\0')
        return true;
    rule->has_changes = true;
    west -= 3600;
    if (!read_name(&at) || (*at != ',' && !read_time(&at, OFFSET_HOURS_MAX, &west)))
        return false;
    rule->daylight_offset = -west;
    return read_change(&at, &rule->to_daylight) && read_change(&at, &rule->to_standard) &&
           *at == '\0';
}

int zone_rule_parse(const char *text, struct zone_rule *ret_rule, struct error *err)
{
    struct zone_rule rule = {0};
    if (!read_rule(text, &rule))
        return error_set(err, ERR_CORRUPT, "\"%s\" is no rule for changes of the clock", text);
    if (rule.daylight_offset == rule.standard_offset)
        rule.has_changes = false;
    /* Daylight time that ends when the next begins is how "all year" is written. */
    if (rule.has_changes &&
        zone_rule_to_standard(&rule, 2024) >= zone_rule_to_daylight(&rule, 2025)) {
        rule.standard_offset = rule.daylight_offset;
        rule.has_changes = false;
    }
    *ret_rule = rule;
    return 0;
}

/* Days from 1970-01-01 to the day of the change. */
static int64_t change_day(const struct zone_change_rule *change, int32_t year)
{
    if (change->kind == ZONE_DAY_JULIAN) {
        bool after_february = change->day > 31 + 28;
        bool leap = civil_days_in_month(year, 2) == 29;
        return civil_days(year, 1, 1) + change->day - 1 + (after_february && leap);
    }
    if (change->kind == ZONE_DAY_ORDINAL)
        return civil_days(year, 1, 1) + change->day;
    int64_t first = civil_days(year, change->month, 1);
    int day = (change->day - civil_weekday(first) + 7) % 7 + (change->week - 1) * 7;
    if (day >= civil_days_in_month(year, change->month))
        day -= 7;
    return first + day;
}

int64_t zone_rule_to_daylight(const struct zone_rule *rule, int32_t year)
{
    return change_day(&rule->to_daylight, year) * DAY_SECONDS + rule->to_daylight.time -
           rule->standard_offset;
}

int64_t zone_rule_to_standard(const struct zone_rule *rule, int32_t year)
{
    return change_day(&rule->to_standard, year) * DAY_SECONDS + rule->to_standard.time -
           rule->daylight_offset;
}
