/*
 * How often a schedule fires, private to retention: found by asking the cron engine for the fires
 * of the coming years, since an expression does not tell.
 */
#ifndef PGCAIRN_RETENTION_CADENCE_H
#define PGCAIRN_RETENTION_CADENCE_H

#include "retention/retention.h"

enum { CADENCE_FIRES_MAX = 1500 }; /* looked at: four years of a nightly job */

struct cadence {
    int64_t count;     /* fires seen, at most CADENCE_FIRES_MAX */
    int64_t longest_s; /* the longest gap between two of them; 0 with fewer than two */
    int64_t mean_s;
};

/* All zeros for a job without a schedule. */
struct cadence cadence_of(const struct policy *policy, const struct retention_zones *zones,
                          const struct policy_job *job, int64_t now_us);

/* The zone in which a job's schedule and calendar buckets are. */
const struct zone *job_zone(const struct policy *policy, const struct retention_zones *zones,
                            const struct policy_job *job);

/* How far back the rules reach when they are all filled by a job of this cadence, in seconds. */
int64_t cadence_reach(const struct cadence *cadence, const struct keep_rules *keep);

#endif
