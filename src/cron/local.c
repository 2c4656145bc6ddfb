#include "cron/expr.h"

/*
 * The search in local time: a calendar without changes of the clock. It goes from the small field
 * to the large one and never steps through values that don't match: within a field the next value
 * is the next bit, and a month's days are one mask.
 */

enum { DAY_SECONDS = 86400 };

/* A date and where its month begins. */
struct place {
    int64_t first_day; /* of the month, days since 1970 */
    int32_t year;
    int month;
};

/* The lowest bit at or above `from`, and the highest at or below it; -1 when there is none. */
static int bit_from(uint64_t bits, int from)
{
    bits = from < 64 ? bits >> from << from : 0;
    return bits ? __builtin_ctzll(bits) : -1;
}

static int bit_to(uint64_t bits, int to)
{
    bits = to >= 0 ? bits << (63 - to) >> (63 - to) : 0;
    return bits ? 63 - __builtin_clzll(bits) : -1;
}

/* The days of a month that are the n-th weekdays asked for. first is the weekday of its 1st. */
static uint64_t nth_days(const struct cron_expr *expr, int first, int length)
{
    uint64_t days = 0;
    for (int weekday = 0; weekday < 7; weekday++) {
        int earliest = 1 + (weekday - first + 7) % 7;
        for (int n = 1; n <= 5; n++)
            if (expr->nth[weekday] & 1 << n)
                days |= UINT64_C(1) << (earliest + 7 * (n - 1));
        if (expr->nth[weekday] & 1 << CRON_NTH_LAST_BIT)
            days |= UINT64_C(1) << (earliest + (length - earliest) / 7 * 7);
    }
    return days;
}

/* A bit per day of the month on which weekday or day of the month match. */
static uint64_t month_days(const struct cron_expr *expr, const struct place *place)
{
    enum { EVERY_WEEK = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28 };
    int length = civil_days_in_month(place->year, place->month);
    uint64_t all = (UINT64_C(2) << length) - 2;
    uint64_t days = 0;
    if (expr->any_day && expr->any_weekday)
        return all;
    if (!expr->any_day)
        days = expr->days | (uint64_t)expr->last_day << length;
    if (!expr->any_weekday) {
        int first = civil_weekday(place->first_day);
        uint64_t week = ((uint64_t)expr->weekdays << 7 | expr->weekdays) >> first & 0x7f;
        days |= week * EVERY_WEEK << 1;
        if (expr->is_nth)
            days |= nth_days(expr, first, length);
    }
    return days & all;
}

static bool year_matches(const struct cron_expr *expr, int32_t year)
{
    if (!expr->is_year_bounded)
        return true;
    int bit = year - CRON_YEAR_FIRST;
    return year >= CRON_YEAR_FIRST && year <= CRON_YEAR_LAST &&
           (expr->years[bit / 64] >> (bit % 64) & 1);
}

/* Moves on to the next matching month after this one; false when there is none until last_year. */
static bool next_month(const struct cron_expr *expr, struct place *place, int32_t last_year)
{
    int month = year_matches(expr, place->year) ? bit_from(expr->months, place->month + 1) : -1;
    if (month < 0) {
        do
            place->year++;
        while (place->year <= last_year && !year_matches(expr, place->year));
        month = bit_from(expr->months, 1);
    }
    place->month = month;
    place->first_day = civil_days(place->year, month, 1);
    return place->year <= last_year;
}

static bool previous_month(const struct cron_expr *expr, struct place *place, int32_t first_year)
{
    int month = year_matches(expr, place->year) ? bit_to(expr->months, place->month - 1) : -1;
    if (month < 0) {
        do
            place->year--;
        while (place->year >= first_year && !year_matches(expr, place->year));
        month = bit_to(expr->months, 12);
    }
    place->month = month;
    place->first_day = civil_days(place->year, month, 1);
    return place->year >= first_year;
}

/* The first matching time of a day at or after `from` seconds past midnight, or -1. */
static int32_t time_from(const struct cron_expr *expr, int32_t from)
{
    int hour = from / 3600;
    int minute = from / 60 % 60;
    if (expr->hours >> hour & 1) {
        int second = expr->minutes >> minute & 1 ? bit_from(expr->seconds, from % 60) : -1;
        if (second >= 0)
            return hour * 3600 + minute * 60 + second;
        minute = bit_from(expr->minutes, minute + 1);
        if (minute >= 0)
            return hour * 3600 + minute * 60 + expr->first_time % 60;
    }
    hour = bit_from(expr->hours, hour + 1);
    return hour < 0 ? -1 : hour * 3600 + expr->first_time % 3600;
}

static int32_t time_to(const struct cron_expr *expr, int32_t to)
{
    int hour = to / 3600;
    int minute = to / 60 % 60;
    if (expr->hours >> hour & 1) {
        int second = expr->minutes >> minute & 1 ? bit_to(expr->seconds, to % 60) : -1;
        if (second >= 0)
            return hour * 3600 + minute * 60 + second;
        minute = bit_to(expr->minutes, minute - 1);
        if (minute >= 0)
            return hour * 3600 + minute * 60 + expr->last_time % 60;
    }
    hour = bit_to(expr->hours, hour - 1);
    return hour < 0 ? -1 : hour * 3600 + expr->last_time % 3600;
}

/* Where a local time lies: its month, the days of it that match, its day and time of day. */
static uint64_t locate(const struct cron_expr *expr, int64_t local, struct place *ret_place,
                       int *ret_day, int32_t *ret_time)
{
    int64_t days = local / DAY_SECONDS - (local % DAY_SECONDS < 0);
    struct civil civil;
    civil_from_days(days, &civil);
    *ret_place = (struct place){
        .first_day = days - (civil.day - 1), .year = civil.year, .month = civil.month};
    *ret_day = civil.day;
    *ret_time = (int32_t)(local - days * DAY_SECONDS);
    if (!(expr->months >> civil.month & 1) || !year_matches(expr, civil.year))
        return 0;
    return month_days(expr, ret_place);
}

int64_t cron_local_next(const struct cron_expr *expr, int64_t from, int32_t last_year)
{
    struct place place;
    int day;
    int32_t time;
    uint64_t days = locate(expr, from, &place, &day, &time);
    if (place.year > last_year)
        return CRON_NEVER;
    if (days >> day & 1) {
        time = time_from(expr, time);
        if (time >= 0)
            return (place.first_day + day - 1) * DAY_SECONDS + time;
    }
    for (day = bit_from(days, day + 1); day < 0; day = bit_from(month_days(expr, &place), 1))
        if (!next_month(expr, &place, last_year))
            return CRON_NEVER;
    return (place.first_day + day - 1) * DAY_SECONDS + expr->first_time;
}

int64_t cron_local_previous(const struct cron_expr *expr, int64_t from, int32_t first_year)
{
    struct place place;
    int day;
    int32_t time;
    uint64_t days = locate(expr, from, &place, &day, &time);
    if (place.year < first_year)
        return CRON_NEVER;
    if (days >> day & 1) {
        time = time_to(expr, time);
        if (time >= 0)
            return (place.first_day + day - 1) * DAY_SECONDS + time;
    }
    for (day = bit_to(days, day - 1); day < 0; day = bit_to(month_days(expr, &place), 31))
        if (!previous_month(expr, &place, first_year))
            return CRON_NEVER;
    return (place.first_day + day - 1) * DAY_SECONDS + expr->last_time;
}

bool cron_can_fire(const struct cron_expr *expr)
{
    return cron_local_next(expr, 0, CRON_YEAR_LAST) != CRON_NEVER;
}
