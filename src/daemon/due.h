/*
 * When is which due instant to be started: pure, the time is an argument. A job is accounted for up
 * to one of its due instants; due_check() says what is to be started now and up to where the job is
 * accounted for then; due_next_start() when to look again.
 *
 *     struct due_check check;
 *     due_check(&job, accounted_us, last_look_us, now_us, &check);
 *     ... start check.due_us[0..count) ...
 *     accounted_us = check.accounted_us;
 *     wake_us = due_next_start(&job, accounted_us);
 *
 * While the daemon looks regularly every due instant is started by itself. After an absence (no
 * look at all yet, or the last one longer ago than DUE_LATE_US: downtime, suspend) on_missed says
 * what becomes of those that passed: one run for all of them, each (the newest DUE_STARTS_MAX), or
 * none but what is hardly late.
 *
 * What falls into a window of `deny` (cron/deny.h) is started at its end, or not at all. Of what
 * waited for the end of a window together the newest is started, with on_missed all each.
 *
 * Over deadline_us after the instant at which it should have been started (jitter and windows
 * counted in) it is missed. 0: there is no deadline.
 *
 * Jitter delays a start, never the due instant: a delay in [0, jitter) that is the same for one
 * "CLUSTER/JOB" for ever, and cut to end before the next due instant.
 *
 * The clock: one that is set by DUE_STEP_US or more was wrong before (Debian's cron(8)): nothing is
 * made up, nothing is held back, jobs go on from now. A smaller step is time that passed, or time
 * that repeats in which nothing runs again. Compared with CLOCK_BOOTTIME, which goes on in suspend,
 * so waking up is no step.
 */
#ifndef PGCAIRN_DAEMON_DUE_H
#define PGCAIRN_DAEMON_DUE_H

#include <stdint.h>

#include "base/zone.h"
#include "cron/cron.h"
#include "cron/deny.h"
#include "policy/policy.h"

enum {
    DUE_STARTS_MAX = 24,     /* of one job at one look */
    DUE_MISSED_MAX = 100000, /* missed ones are counted up to here */
};

#define DUE_LATE_US (90 * US_PER_SECOND) /* the daemon looks at least every 60 s */
#define DUE_STEP_US (3 * US_PER_HOUR)

struct due_job {
    const struct cron_expr *schedule;
    const struct zone *zone;
    enum missed_rule on_missed;
    int64_t jitter_us;
    int64_t deadline_us;     /* 0: none */
    const struct deny *deny; /* NULL: none */
    const char *identity;    /* "CLUSTER/JOB": of the jitter */
};

/* Due instants that are not started for one reason: how many, and from when to when. */
struct due_left {
    int64_t count; /* at most DUE_MISSED_MAX */
    int64_t first_us, last_us;
};

struct due_check {
    int64_t due_us[DUE_STARTS_MAX]; /* to be started now, oldest first */
    size_t count;
    bool is_catch_up;         /* they passed in an absence: overlap does not apply among them */
    int64_t accounted_us;     /* the newest due instant that is settled, or what it was */
    struct due_left missed;   /* passed in an absence */
    struct due_left late;     /* over their deadline */
    struct due_left denied;   /* in a window that skips */
    struct due_left deferred; /* a newer one is started at the end of the window */
};

/* last_look_us is INSTANT_NONE at the first look. */
void due_check(const struct due_job *job, int64_t accounted_us, int64_t last_look_us,
               int64_t now_us, struct due_check *ret_check);

/* When the first due instant after accounted_us is to be started; INSTANT_NONE: never. */
int64_t due_next_start(const struct due_job *job, int64_t accounted_us);

/* When that due instant is to be started; INSTANT_NONE: not at all, it is denied. */
int64_t due_start(const struct due_job *job, int64_t due_us);

/* The due instant itself. */
int64_t due_next(const struct due_job *job, int64_t after_us);

/* Whether the clock was set by DUE_STEP_US or more between two looks. */
bool due_clock_stepped(int64_t real_before_us, int64_t boot_before_us, int64_t real_us,
                       int64_t boot_us);

#endif
