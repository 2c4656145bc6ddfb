#include "base/instant.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

/* Days from civil and back: the era method of Howard Hinnant's "chrono-compatible low-level date
 * algorithms", with years that begin in March so that the leap day comes last. */
int64_t civil_days(int32_t year, int month, int day)
{
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

void civil_from_days(int64_t days, struct civil *ret_civil)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    int month = (int)(shifted_month + (shifted_month < 10 ? 3 : -9));
    *ret_civil = (struct civil){
        .year = (int32_t)(year_of_era + era * 400 + (month <= 2)),
        .month = month,
        .day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1),
    };
}

int civil_weekday(int64_t days)
{
    int64_t weekday = (days + 4) % 7;
    return (int)(weekday < 0 ? weekday + 7 : weekday);
}

int civil_days_in_month(int32_t year, int month)
{
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : DAYS[month - 1];
}

int64_t civil_to_seconds(const struct civil *civil)
{
    return civil_days(civil->year, civil->month, civil->day) * 86400 + civil->hour * 3600 +
           civil->minute * 60 + civil->second;
}

void civil_from_seconds(int64_t seconds, struct civil *ret_civil)
{
    int64_t days = seconds / 86400;
    int64_t rest = seconds % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    civil_from_days(days, ret_civil);
    ret_civil->hour = (int)(rest / 3600);
    ret_civil->minute = (int)(rest / 60 % 60);
    ret_civil->second = (int)(rest % 60);
}

void civil_iso_week(const struct civil *civil, int32_t *ret_year, int *ret_week)
{
    int64_t days = civil_days(civil->year, civil->month, civil->day);
    int weekday = civil_weekday(days);
    int64_t thursday = days + 4 - (weekday == 0 ? 7 : weekday);
    struct civil date;
    civil_from_days(thursday, &date);
    *ret_year = date.year;
    *ret_week = (int)((thursday - civil_days(date.year, 1, 1)) / 7 + 1);
}

static int64_t read_clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

int64_t instant_now_us(void)
{
    return read_clock_us(CLOCK_REALTIME);
}

int64_t instant_monotonic_us(void)
{
    return read_clock_us(CLOCK_MONOTONIC);
}

static char *format_instant(int64_t instant_us, char text[INSTANT_TEXT_MAX], bool micros)
{
    if (instant_us == INSTANT_NONE) {
        text[0] = '\0';
        return text;
    }
    int64_t seconds = instant_us / US_PER_SECOND;
    int64_t rest_us = instant_us % US_PER_SECOND;
    if (rest_us < 0) {
        rest_us += US_PER_SECOND;
        seconds--;
    }
    struct civil c;
    civil_from_seconds(seconds, &c);
    int used = snprintf(text, INSTANT_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d", (int)c.year,
                        c.month, c.day, c.hour, c.minute, c.second);
    if (micros)
        snprintf(text + used, (size_t)(INSTANT_TEXT_MAX - used), ".%06dZ", (int)rest_us);
    else
        snprintf(text + used, (size_t)(INSTANT_TEXT_MAX - used), "Z");
    return text;
}

char *instant_format(int64_t instant_us, char text[INSTANT_TEXT_MAX])
{
    return format_instant(instant_us, text, false);
}

char *instant_format_micros(int64_t instant_us, char text[INSTANT_TEXT_MAX])
{
    return format_instant(instant_us, text, true);
}

/* Reads exactly `digits` digits; advances the cursor. */
static bool take_number(const char **cursor, int digits, int low, int high, int *ret_number)
{
    int number = 0;
    for (int i = 0; i < digits; i++) {
        char c = (*cursor)[i];
        if (c < '0' || c > '9')
            return false;
        number = number * 10 + (c - '0');
    }
    if (number < low || number > high)
        return false;
    *cursor += digits;
    *ret_number = number;
    return true;
}

static bool take_char(const char **cursor, const char *any)
{
    if (**cursor == '\0' || !strchr(any, **cursor))
        return false;
    (*cursor)++;
    return true;
}

/* "Z", "+01:00", "-0530", "+01" or nothing. */
static bool take_offset(const char **cursor, int *ret_offset_seconds, bool *ret_has_offset)
{
    *ret_offset_seconds = 0;
    *ret_has_offset = true;
    if (take_char(cursor, "Zz"))
        return true;
    char sign = **cursor;
    if (!take_char(cursor, "+-")) {
        *ret_has_offset = false;
        return true;
    }
    int hours, minutes = 0;
    if (!take_number(cursor, 2, 0, 23, &hours))
        return false;
    bool colon = take_char(cursor, ":");
    if ((colon || isdigit((unsigned char)**cursor)) && !take_number(cursor, 2, 0, 59, &minutes))
        return false;
    *ret_offset_seconds = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
    return true;
}

static bool take_fraction_us(const char **cursor, int64_t *ret_us)
{
    *ret_us = 0;
    if (!take_char(cursor, "."))
        return true;
    int64_t unit = US_PER_SECOND / 10;
    if (!isdigit((unsigned char)**cursor))
        return false;
    for (; isdigit((unsigned char)**cursor); (*cursor)++, unit /= 10)
        *ret_us += unit * (**cursor - '0');
    return true;
}

static bool take_time(const char **cursor, struct civil *civil, int64_t *ret_fraction_us)
{
    if (!take_number(cursor, 2, 0, 23, &civil->hour) || !take_char(cursor, ":") ||
        !take_number(cursor, 2, 0, 59, &civil->minute))
        return false;
    if (!take_char(cursor, ":"))
        return true;
    return take_number(cursor, 2, 0, 59, &civil->second) &&
           take_fraction_us(cursor, ret_fraction_us);
}

int instant_parse(const char *text, int64_t *ret_instant_us, bool *ret_has_offset,
                  struct error *err)
{
    const char *cursor = text;
    struct civil civil = {0};
    int year = 0, offset_seconds = 0;
    int64_t fraction_us = 0;
    bool has_offset = false;
    bool good = take_number(&cursor, 4, 0, 9999, &year) && take_char(&cursor, "-") &&
                take_number(&cursor, 2, 1, 12, &civil.month) && take_char(&cursor, "-") &&
                take_number(&cursor, 2, 1, 31, &civil.day);
    civil.year = year;
    good = good && civil.day <= civil_days_in_month(civil.year, civil.month);
    if (good && take_char(&cursor, "Tt "))
        good = take_time(&cursor, &civil, &fraction_us) &&
               take_offset(&cursor, &offset_seconds, &has_offset);
    if (!good || *cursor != '\0') {
        error_set(err, ERR_USAGE, "\"%s\" is not a time", text);
        return error_hint(err, "write it as 2026-11-21T02:00:00Z or 2026-11-21T02:00:00+01:00");
    }
    *ret_instant_us = (civil_to_seconds(&civil) - offset_seconds) * US_PER_SECOND + fraction_us;
    *ret_has_offset = has_offset;
    return 0;
}
