/*
 * Retention: what is kept, what goes, and why, as pure functions of (facts, policy, now). No I/O
 * and no clock; the same code answers `prune`, `simulate`, `list` and later `audit`. The rules, and
 * the reasons for them, are in README.md beside this file.
 *
 *     struct retention_plan plan = {0};
 *     if ((rc = retention_plan_make(&facts, policy, &zones, now_us, &plan, err))) ...
 *     if (plan.refused) ...            nothing may be deleted at all; every decision says keep
 *     else if (plan.needs_force) ...   a person must agree
 *     for each plan.decisions[i] ...
 *     retention_plan_clear(&plan);
 *
 * WAL is planned when the facts have some (facts->wals), in plan.wal. A plan borrows from the
 * facts, which must outlive it unchanged. Thread-safe: nothing is shared. Errors: ERR_MEMORY and
 * ERR_LIMIT only; bad facts are never an error but a decision to keep.
 */
#ifndef PGCAIRN_RETENTION_RETENTION_H
#define PGCAIRN_RETENTION_RETENTION_H

#include "base/strv.h"
#include "base/zone.h"
#include "facts/facts.h"
#include "policy/policy.h"

/* A backup dated further than this ahead of `now` was made by a machine with another clock. */
#define RETENTION_SKEW_US US_PER_HOUR

enum {
    RETENTION_HASH_MAX = 65,          /* hex of a SHA-256 and a NUL */
    RETENTION_GUARD_COUNT = 5,        /* so many of one kind may always go without --force */
    RETENTION_WARNINGS_MAX = 1000,    /* further ones are dropped: they only repeat */
    RETENTION_DAYS_MAX = 36600,       /* of a simulation */
    RETENTION_SIMULATED_MAX = 200000, /* backups present at one time in a simulation */
    RETENTION_WAL_ID_MAX = 64,        /* of "FIRST-LAST" and a NUL */
};

/* The zones of the calendar buckets: the policy's, and for each of policy->jobs its own, in the
 * same order. work/zones.h loads them. */
struct retention_zones {
    const struct zone *policy;
    const struct zone *const *jobs; /* NULL, or policy->job_count entries; NULL = the policy's */
};

enum retention_action { RETENTION_KEEP, RETENTION_DELETE };

struct retention_decision {
    const struct facts_backup *backup; /* borrowed from the facts, as is the id */
    const char *id;
    enum backup_kind kind;
    enum retention_action action;
    /* Why, for machines. Kept: hold lock within last hourly daily weekly monthly yearly grace
     * drilled anchor floor future no-job no-keep running unfinished damaged unknown incomplete.
     * Deleted: expired garbage. */
    const char *rule;
    char *reason; /* why, for people: "daily 3 of 7: newest of 2026-11-20" */
    /* Kept: not before this can it go, as far as `within`, holds and locks tell; INSTANT_NONE when
     * nothing tells. Deleted: INSTANT_NONE. */
    int64_t until_us;
    int64_t started_us; /* INSTANT_NONE when not known */
    int64_t bytes;      /* stored */
};

/* One decision for a whole range of WAL, however many segments it has. */
struct retention_wal {
    const struct facts_wal *wal; /* borrowed from the facts: its system and segment size */
    uint32_t timeline;
    uint64_t from, to;             /* segments that it speaks of, stored or not */
    uint64_t first, last;          /* the first and the last stored of them */
    int64_t segments;              /* stored */
    int64_t bytes;                 /* an estimate where a decision ends within a contiguous range */
    char id[RETENTION_WAL_ID_MAX]; /* "FIRST-LAST", names of segments */
    enum retention_action action;
    /* Kept: window no-anchor no-history hold no-job no-keep incomplete. Deleted: expired. */
    const char *rule;
    char *reason;
};

struct retention_plan {
    struct retention_decision *decisions; /* one per backup; by kind, then newest first */
    size_t count;
    size_t delete_count;
    struct retention_wal *wal; /* by system, timeline and segment; what is not stored has none */
    size_t wal_count, wal_allocated;
    size_t wal_delete_count;
    int64_t bytes_freed;           /* WAL included */
    char hash[RETENTION_HASH_MAX]; /* of cluster, ids and actions, of WAL only what goes, since more
                                    * comes at any time; not of `now` or the reasons */
    char *refused;                 /* why nothing may be deleted now; NULL when nothing stands in
                                    * the way. No decision says delete then. */
    char *needs_force;             /* why a person must agree; NULL when nobody has to */
    struct strv warnings;          /* what an operator should know, one line each */
    size_t *by_id;                 /* indices of decisions in order of id; see retention_find */
};

int retention_plan_make(const struct facts *facts, const struct policy *policy,
                        const struct retention_zones *zones, int64_t now_us,
                        struct retention_plan *ret_plan, struct error *err);
void retention_plan_clear(struct retention_plan *plan);

/* The decision on one backup, NULL when the plan has none. */
const struct retention_decision *retention_find(const struct retention_plan *plan, const char *id);

/* What was to be deleted turned out to be under an object lock: it is kept, for that reason. */
int retention_keep_locked(struct retention_plan *plan, size_t index, const char *reason,
                          struct error *err);

/* The calendar rules, hourly to yearly: of how many buckets a policy wants the newest (0: it does
 * not ask), and the bucket of an instant. For those who judge what was done by them. */
enum { RETENTION_CALENDAR_RULES = 5 };
int retention_calendar_count(const struct keep_rules *keep, size_t rule);
int64_t retention_calendar_bucket(size_t rule, const struct zone *zone, int64_t at_us);
const char *retention_calendar_name(size_t rule); /* "daily" */

const char *retention_action_name(enum retention_action action); /* "keep" */

/*
 * What a policy keeps in its steady state: the fires of the schedules are generated, each makes a
 * good backup of `average_bytes` of its job, each prune applies the planner. The history first runs
 * unseen for as long as the longest rule reaches, then `days` days up to `now_us` are reported.
 * With a wal job WAL is written all the time, at wal_rate, and none is ever lost.
 * Without a scheduled prune job one is assumed daily (retention_contradictions() warns of that).
 */
struct retention_wal_rate {
    int64_t bytes_per_day, segments_per_day; /* stored */
};

struct retention_simulated_job {
    const struct policy_job *job; /* borrowed from the policy */
    size_t kept;                  /* after the last prune; of a wal job segments */
    size_t kept_peak;             /* the most there were at one time in the reported days */
    int64_t oldest_s;             /* age of the oldest kept one after the last prune */
    int64_t bytes, bytes_peak;    /* estimates; 0 when no average is known */
};

struct retention_simulated_day {
    int64_t end_us;       /* the state at this instant */
    size_t made, deleted; /* during the day */
    size_t kept;          /* of all jobs */
    int64_t bytes;
    int64_t window_s;   /* how far back the oldest kept backup lies */
    int64_t recovery_s; /* how far back any moment can be recovered to; 0 without WAL */
};

struct retention_simulation {
    size_t day_count, job_count;
    struct retention_simulated_day *days;
    struct retention_simulated_job *jobs; /* those that make backups in this version */
    int64_t window_min_s, window_max_s;   /* over the reported days: of the recovery window, or
                                           * of window_s when the policy can have none */
    bool has_recovery;                    /* there are wal and snapshot jobs */
    bool settled;                         /* false: some rule reaches further than was run */
};

/* average_bytes: one estimate per policy->jobs, or NULL; so may be wal_rate. ERR_LIMIT when days or
 * the number of backups go over the limits above; ERR_USAGE for days < 1. */
int retention_simulate(const struct policy *policy, const struct retention_zones *zones,
                       const int64_t *average_bytes, const struct retention_wal_rate *wal_rate,
                       int64_t now_us, int64_t days, struct retention_simulation *ret_simulation,
                       struct error *err);
void retention_simulation_clear(struct retention_simulation *simulation);

/* An object lock ends no sooner: shorter ones could end before the dump that they protect does. */
#define RETENTION_LOCK_MIN_US US_PER_DAY
/* Of a job without keep: rules; nothing tells how long it is meant. */
#define RETENTION_LOCK_UNRULED_US (30 * US_PER_DAY)
/* S3's own limit. */
#define RETENTION_LOCK_MAX_US (36500 * US_PER_DAY)

/*
 * For how long what a job writes now may be locked: the time for which the job's rules are certain
 * to keep a backup, whichever of them it will be. That is `within`, or what the counts give the
 * backup that they drop first when the schedule is followed (last 3 every night: 3 days; daily 7
 * every hour: an hour, since the next one takes its place), whichever is longer. So a lock ends
 * before a prune wants to delete, but for runs by hand and the limits above. README.md has the
 * reasons.
 */
int retention_lock_us(const struct policy *policy, const struct retention_zones *zones,
                      const struct policy_job *job, int64_t now_us, int64_t *ret_lock_us,
                      struct error *err);

#define RETENTION_WINDOW_ALL INT64_MAX /* everything since the first snapshot */

/*
 * The recovery window that a policy guarantees once snapshots and WAL have filled it: any moment of
 * the last so many seconds can be recovered to. 0: none, for want of a wal job or of snapshots that
 * have a schedule.
 */
int retention_window_s(const struct policy *policy, const struct retention_zones *zones,
                       int64_t now_us, int64_t *ret_window_s, struct error *err);

/*
 * What in a policy contradicts itself, as warnings with lines, in their order; only what concerns
 * jobs that this version can run. The caller clears them with policy_problems_clear().
 */
int retention_contradictions(const struct policy *policy, const struct retention_zones *zones,
                             int64_t now_us, struct policy_problems *ret_warnings,
                             struct error *err);

#endif
