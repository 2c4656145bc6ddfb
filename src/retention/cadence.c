#include "retention/cadence.h"

#include "retention/rules.h"

const struct zone *job_zone(const struct policy *policy, const struct retention_zones *zones,
                            const struct policy_job *job)
{
    const struct zone *own = zones->jobs ? zones->jobs[job - policy->jobs] : NULL;
    return own ? own : zones->policy;
}

struct cadence cadence_of(const struct policy *policy, const struct retention_zones *zones,
                          const struct policy_job *job, int64_t now_us)
{
    struct cadence cadence = {0};
    if (!job->schedule)
        return cadence;
    const struct zone *zone = job_zone(policy, zones, job);
    int64_t first = CRON_NEVER, last = CRON_NEVER, at = now_us / US_PER_SECOND;
    while (cadence.count < CADENCE_FIRES_MAX &&
           (at = cron_next(job->schedule, zone, at)) != CRON_NEVER) {
        cadence.count++;
        if (first == CRON_NEVER)
            first = at;
        else if (at - last > cadence.longest_s)
            cadence.longest_s = at - last;
        last = at;
    }
    if (cadence.count > 1)
        cadence.mean_s = (last - first) / (cadence.count - 1);
    return cadence;
}

int64_t cadence_reach(const struct cadence *cadence, const struct keep_rules *keep)
{
    int64_t reach = keep->within_us / US_PER_SECOND;
    for (size_t i = 0; i < count_rule_count; i++) {
        const struct count_rule *rule = &count_rules[i];
        int64_t period_s =
            rule->period_s > cadence->longest_s ? rule->period_s : cadence->longest_s;
        int64_t rule_reach = rule->count(keep) * period_s;
        if (rule_reach > reach)
            reach = rule_reach;
    }
    return reach;
}
