/*
 * Windows of the week in which a job may not begin: `mon-fri 08:00-20:00`. Pure.
 *
 *     int64_t start = deny_end(&deny, zone, due);       the first instant that is allowed
 *
 * A window is by what a clock on the wall of the zone reads: an instant is in it when its local
 * weekday and time are. So in a night whose clock is set back a time that happens twice is denied
 * twice, and one that is skipped is not there. A window that ends at or before its beginning goes
 * on into the next day; its weekdays are those on which it begins.
 *
 * Instants are seconds since 1970 in UTC; times of a window are minutes of the day.
 */
#ifndef PGCAIRN_CRON_DENY_H
#define PGCAIRN_CRON_DENY_H

#include "cron/cron.h"

enum { DENY_WINDOWS_MAX = 20, DENY_TEXT_MAX = 80, DENY_DAY_MINUTES = 24 * 60 };

struct deny_window {
    unsigned days; /* on which it begins: bit 0 is Sunday, bit 6 Saturday */
    int from, to;  /* from 0..1439, to 0..1440; to <= from: on the next day */
    bool skips;    /* what is due in it is not run at all; else it runs at its end */
};

struct deny {
    struct deny_window windows[DENY_WINDOWS_MAX];
    size_t count;
};

/* The window that holds the instant, one that skips before others; NULL: it is allowed. */
const struct deny_window *deny_at(const struct deny *deny, const struct zone *zone,
                                  int64_t seconds);

/* The first instant from this one on that is in no window; CRON_NEVER when the week is full. */
int64_t deny_end(const struct deny *deny, const struct zone *zone, int64_t seconds);

/* Whether every minute of the week is denied. */
bool deny_is_always(const struct deny *deny);

/* "mon-fri 08:00-20:00", as in the policy. Returns text. */
char *deny_text(const struct deny_window *window, char text[DENY_TEXT_MAX]);

/* Reads "mon", "mon-fri", "sat-sun", "mon,wed" (any case); false when it is none. */
bool deny_read_days(const char *text, unsigned *ret_days);

/* Reads "08:00", "8:00" or "24:00"; false when it is none. */
bool deny_read_time(const char *text, int *ret_minutes);

#endif
