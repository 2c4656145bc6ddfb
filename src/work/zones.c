#include "work/zones.h"

#include <string.h>

static int load(const char *name, struct zone **ret_zone, struct error *err)
{
    int rc = zone_load(name, ret_zone, err);
    if (rc == ERR_USAGE) {
        err->code = ERR_POLICY;
        error_prefix(err, "timezone");
        return ERR_POLICY;
    }
    return rc;
}

int zones_load(const struct policy *policy, struct zones *ret_zones, struct error *err)
{
    _cleanup_(zones_clear) struct zones zones = {.job_count = policy->job_count};
    zones.jobs = calloc(policy->job_count + 1, sizeof(struct zone *));
    if (!zones.jobs)
        return error_no_memory(err);
    int rc = load(policy->timezone, &zones.policy, err);
    for (size_t i = 0; !rc && i < policy->job_count; i++)
        if (strcmp(policy->jobs[i].timezone, policy->timezone) != 0)
            rc = load(policy->jobs[i].timezone, &zones.jobs[i], err);
    if (rc)
        return rc;
    zones.view = (struct retention_zones){.policy = zones.policy,
                                          .jobs = (const struct zone *const *)zones.jobs};
    *ret_zones = zones;
    zones = (struct zones){0};
    return 0;
}

void zones_clear(struct zones *zones)
{
    for (size_t i = 0; zones->jobs && i < zones->job_count; i++)
        zone_free(zones->jobs[i]);
    free(zones->jobs);
    zone_free(zones->policy);
    *zones = (struct zones){0};
}

const struct zone *zones_of_job(const struct zones *zones, const struct policy *policy,
                                const struct policy_job *job)
{
    const struct zone *own = zones->jobs[job - policy->jobs];
    return own ? own : zones->policy;
}
