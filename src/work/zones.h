/*
 * The time zones that a policy names, loaded once for those who only take them as arguments
 * (retention, schedules): the policy's own and that of every job.
 *
 *     struct zones zones = {0};
 *     if ((rc = zones_load(policy, &zones, err))) ...
 *     retention_plan_make(&facts, policy, &zones.view, now_us, &plan, err);
 *     zones_clear(&zones);
 *
 * Borrows nothing from the policy. After loading, threads may share it.
 */
#ifndef PGCAIRN_WORK_ZONES_H
#define PGCAIRN_WORK_ZONES_H

#include "retention/retention.h"

struct zones {
    struct retention_zones view; /* of the zones below; NULL entries as in it */
    struct zone *policy;
    struct zone **jobs; /* in the order of policy->jobs; NULL where it is the policy's zone */
    size_t job_count;
};

/* ERR_POLICY with the name when the system does not know a zone. */
int zones_load(const struct policy *policy, struct zones *ret_zones, struct error *err);
void zones_clear(struct zones *zones);

/* The zone of one of policy->jobs. */
const struct zone *zones_of_job(const struct zones *zones, const struct policy *policy,
                                const struct policy_job *job);

#endif
