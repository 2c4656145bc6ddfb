/*
 * Instants and durations: int64_t microseconds, the unit in the name. An instant counts from
 * 1970-01-01T00:00:00Z without leap seconds. Civil time is a struct of its own and belongs to no
 * zone by itself (see base/zone.h for zones). All functions here are pure but instant_now_us() and
 * instant_monotonic_us(), and safe in threads.
 */
#ifndef PGCAIRN_BASE_INSTANT_H
#define PGCAIRN_BASE_INSTANT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_MINUTE (60 * US_PER_SECOND)
#define US_PER_HOUR (60 * US_PER_MINUTE)
#define US_PER_DAY (24 * US_PER_HOUR)

#define INSTANT_NONE INT64_MIN /* "not known", "never" */

enum { INSTANT_TEXT_MAX = 40 };

struct civil {
    int32_t year; /* proleptic Gregorian */
    int month;    /* 1..12 */
    int day;      /* 1..31 */
    int hour;     /* 0..23 */
    int minute;   /* 0..59 */
    int second;   /* 0..59 */
};

/* Days from 1970-01-01, and back; day of the week 0 = Sunday; day of the year 1..366. */
int64_t civil_days(int32_t year, int month, int day);
void civil_from_days(int64_t days, struct civil *ret_civil); /* date only; time fields become 0 */
int civil_weekday(int64_t days);
int civil_days_in_month(int32_t year, int month);

/* Seconds since 1970 of a civil time taken as UTC, and back. */
int64_t civil_to_seconds(const struct civil *civil);
void civil_from_seconds(int64_t seconds, struct civil *ret_civil);

/* ISO 8601 week: its year and number of the date. */
void civil_iso_week(const struct civil *civil, int32_t *ret_year, int *ret_week);

int64_t instant_now_us(void);       /* CLOCK_REALTIME */
int64_t instant_monotonic_us(void); /* CLOCK_MONOTONIC, for measuring */

/* RFC 3339 in UTC: "2026-11-21T02:00:00Z", or with micros "2026-11-21T02:00:00.123456Z".
 * INSTANT_NONE gives "". Returns text. */
char *instant_format(int64_t instant_us, char text[INSTANT_TEXT_MAX]);
char *instant_format_micros(int64_t instant_us, char text[INSTANT_TEXT_MAX]);

/*
 * Reads RFC 3339 ("2026-11-21T02:00:00Z", "2026-11-21 02:00:00.5+01:00", "2026-11-21T02:00",
 * "2026-11-21"). Without an offset *ret_has_offset is false and the result is the civil time taken
 * as UTC: the caller places it in a zone. ERR_USAGE with the reason on anything else.
 */
int instant_parse(const char *text, int64_t *ret_instant_us, bool *ret_has_offset,
                  struct error *err);

#endif
