#include "repository/ids.h"

#include <string.h>

#include "base/file.h"
#include "base/instant.h"

enum { ID_RANDOM_LENGTH = 4 };

int id_format_time(int64_t time_us, char text[ID_TIME_SIZE], struct error *err)
{
    struct civil civil;
    char digits[80];
    civil_from_seconds(time_us / US_PER_SECOND, &civil);
    int length = snprintf(digits, sizeof(digits), "%04d%02d%02dT%02d%02d%02dZ", civil.year,
                          civil.month, civil.day, civil.hour, civil.minute, civil.second);
    if (length != ID_TIME_LENGTH)
        return error_set(err, ERR_FAILED, "the clock says year %d: no id can be made of that",
                         civil.year);
    memcpy(text, digits, ID_TIME_SIZE);
    return 0;
}

int id_make(int64_t started_us, char id[ID_SIZE], struct error *err)
{
    char random[ID_RANDOM_LENGTH + 1], time[ID_TIME_SIZE];
    int rc = file_random_name(random, ID_RANDOM_LENGTH, err);
    if (!rc)
        rc = id_format_time(started_us, time, err);
    if (!rc)
        snprintf(id, ID_SIZE, "%s-%s", time, random);
    return rc;
}

/* A number of `count` digits at text, or -1. */
static int digits(const char *text, int count)
{
    int number = 0;
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

bool id_parse_time(const char *text, int64_t *ret_time_us)
{
    if (strnlen(text, ID_TIME_LENGTH) != ID_TIME_LENGTH || text[8] != 'T' || text[15] != 'Z')
        return false;
    struct civil civil = {
        .year = digits(text, 4),
        .month = digits(text + 4, 2),
        .day = digits(text + 6, 2),
        .hour = digits(text + 9, 2),
        .minute = digits(text + 11, 2),
        .second = digits(text + 13, 2),
    };
    if (civil.year < 1970 || civil.month < 1 || civil.month > 12 || civil.day < 1 ||
        civil.day > civil_days_in_month(civil.year, civil.month) || civil.hour < 0 ||
        civil.hour > 23 || civil.minute < 0 || civil.minute > 59 || civil.second < 0 ||
        civil.second > 59)
        return false;
    *ret_time_us = civil_to_seconds(&civil) * US_PER_SECOND;
    return true;
}

bool id_parse(const char *text, int64_t *ret_started_us)
{
    int64_t started_us;
    if (strlen(text) != ID_LENGTH || text[ID_TIME_LENGTH] != '-' ||
        !id_parse_time(text, &started_us))
        return false;
    for (const char *c = text + ID_TIME_LENGTH + 1; *c; c++)
        if (!(*c >= 'a' && *c <= 'z') && !(*c >= '0' && *c <= '9'))
            return false;
    if (ret_started_us)
        *ret_started_us = started_us;
    return true;
}
