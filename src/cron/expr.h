/*
 * An expression in the form in which it is searched: a bit per value. Only src/cron uses it.
 *
 * Parsing goes field by field: cron_field_parse() (field.c) reads one into a struct cron_field,
 * parse.c puts them together. Pure.
 */
#ifndef PGCAIRN_CRON_EXPR_H
#define PGCAIRN_CRON_EXPR_H

#include <stdint.h>

#include "cron/cron.h"

enum cron_field_index {
    CRON_MINUTE,
    CRON_HOUR,
    CRON_DAY,
    CRON_MONTH,
    CRON_WEEKDAY,
    CRON_SECOND,
    CRON_YEAR,
    CRON_FIELD_COUNT,
};

enum {
    CRON_YEAR_FIRST = 1970,
    CRON_YEAR_LAST = 2099,
    CRON_YEAR_WORDS = 3,   /* 64-bit words for a bit per year */
    CRON_NTH_LAST_BIT = 6, /* in nth[]: the last one of the month; bits 1..5: the n-th */
};

struct cron_expr {
    uint64_t seconds, minutes; /* bit = value */
    uint32_t hours, days, months;
    uint8_t weekdays;                /* bit 0 = Sunday */
    uint8_t nth[7];                  /* by weekday: which ones of the month */
    bool is_nth;                     /* some of nth is set */
    bool last_day;                   /* "l" in the day field */
    bool any_day;                    /* the day field is not restricted */
    bool any_weekday;                /* nor the weekday field */
    bool minute_star;                /* the field begins with "*" */
    bool hour_star;                  /* the field begins with "*" */
    bool is_year_bounded;            /* the years count */
    uint64_t years[CRON_YEAR_WORDS]; /* bit 0 = CRON_YEAR_FIRST */
    int32_t first_time;              /* seconds after midnight of a day's first and last match */
    int32_t last_time;
};

/* One field as it was read. Bit 0 is the lowest value that the field takes. */
struct cron_field {
    uint64_t bits[CRON_YEAR_WORDS];
    uint8_t nth[7];
    bool begins_with_star;
    bool is_any; /* it has a bare "*", or is "?" */
    bool last_day;
};

/* A place in the text, for errors. */
struct cron_fault {
    const char *text; /* the whole expression */
    int column;       /* 1-based; set by cron_fault() */
    struct error *err;
};

/* Sets column and message; returns ERR_USAGE. */
int cron_fault(struct cron_fault *fault, const char *at, const char *format, ...) _printf_(3, 4);

/* Reads the field that lies from `start` to `end`. */
int cron_field_parse(enum cron_field_index index, const char *start, const char *end,
                     const char *hash_id, struct cron_field *ret_field, struct cron_fault *fault);

int cron_field_low(enum cron_field_index index);
int cron_field_high(enum cron_field_index index);

/* Interval jobs follow real time across changes of the clock, fixed ones are made up for. */
static inline bool cron_is_interval(const struct cron_expr *expr)
{
    return expr->minute_star || expr->hour_star;
}

/* The first local time at or after `from`, in or before last_year; and the last one at or before
 * `from`, in or after first_year. Local times are seconds as if they were UTC. CRON_NEVER when
 * there is none. */
int64_t cron_local_next(const struct cron_expr *expr, int64_t from, int32_t last_year);
int64_t cron_local_previous(const struct cron_expr *expr, int64_t from, int32_t first_year);

#endif
