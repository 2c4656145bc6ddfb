/*
 * The rule in the footer of a TZif file: a POSIX TZ string (POSIX.1-2017 chapter 8.3, with the
 * extensions of RFC 8536 section 3.3.1), such as "CET-1CEST,M3.5.0,M10.5.0/3". Only base/zone.c
 * uses it. Pure. Units: seconds; offsets east of UTC (the text counts west).
 */
#ifndef PGCAIRN_BASE_ZONE_RULE_H
#define PGCAIRN_BASE_ZONE_RULE_H

#include <stdint.h>

#include "base/error.h"

enum zone_day_kind {
    ZONE_DAY_JULIAN,   /* Jn: 1..365, 29 February is never counted */
    ZONE_DAY_ORDINAL,  /* n: 0..365, 29 February is counted */
    ZONE_DAY_WEEKDAYS, /* Mm.w.d: the w-th weekday d of month m; 5 is the last */
};

/* When in a year one of the two changes comes. */
struct zone_change_rule {
    enum zone_day_kind kind;
    int month, week, day;
    int32_t time; /* local seconds after the midnight that begins the day; may be negative */
};

struct zone_rule {
    bool has_changes; /* false: the standard offset for ever */
    int32_t standard_offset, daylight_offset;
    struct zone_change_rule to_daylight, to_standard;
};

/* ERR_CORRUPT when the text is no such rule. */
int zone_rule_parse(const char *text, struct zone_rule *ret_rule, struct error *err);

/* The instants in that year at which daylight saving begins and ends. */
int64_t zone_rule_to_daylight(const struct zone_rule *rule, int32_t year);
int64_t zone_rule_to_standard(const struct zone_rule *rule, int32_t year);

#endif
