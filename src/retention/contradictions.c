#include "retention/retention.h"

#include "base/units.h"
#include "policy/problems.h"
#include "retention/cadence.h"
#include "retention/items.h"
#include "retention/rules.h"
#include "retention/wal_check.h"

#define DAY_S INT64_C(86400)
#define OUT_OF_REACH_S (20 * 366 * DAY_S)

/* What the checks look at. */
struct subject {
    const struct policy *policy;
    const struct retention_zones *zones;
    int64_t now_us;
    int64_t prune_gap_s; /* the longest time without a prune; 0 when none is scheduled */
    struct policy_problems *warnings;
};

static char *seconds_format(int64_t seconds, char text[UNITS_TEXT_MAX])
{
    return duration_format(seconds * US_PER_SECOND, text);
}

/* The longest time between two prunes, of whichever prune job runs most often. */
static int64_t find_prune_gap(const struct subject *subject)
{
    int64_t shortest_s = 0;
    for (size_t i = 0; i < subject->policy->job_count; i++) {
        const struct policy_job *job = &subject->policy->jobs[i];
        if (job->type != JOB_PRUNE)
            continue;
        struct cadence cadence = cadence_of(subject->policy, subject->zones, job, subject->now_us);
        if (cadence.longest_s > 0 && (shortest_s == 0 || cadence.longest_s < shortest_s))
            shortest_s = cadence.longest_s;
    }
    return shortest_s;
}

static int check_within(const struct subject *subject, const struct policy_job *job,
                        const struct cadence *cadence, struct error *err)
{
    const struct keep_rules *keep = &job->keep;
    struct keep_rules only_within = {.within_us = keep->within_us};
    int64_t reach_s = cadence_reach(cadence, keep);
    char within[UNITS_TEXT_MAX], gap[UNITS_TEXT_MAX];
    if (keep->within_us <= 0 || reach_s > cadence_reach(cadence, &only_within) ||
        keep->within_us / US_PER_SECOND >= cadence->longest_s)
        return 0;
    return problems_warning(subject->warnings, keep->line, 1, err,
                            "job \"%s\": within %s is shorter than the %s between two runs: only "
                            "the newest backup stays",
                            job->name, duration_format(keep->within_us, within),
                            seconds_format(cadence->longest_s, gap));
}

static int check_counts(const struct subject *subject, const struct policy_job *job,
                        const struct cadence *cadence, struct error *err)
{
    char text[UNITS_TEXT_MAX];
    for (size_t i = 0; i < count_rule_count; i++) {
        const struct count_rule *rule = &count_rules[i];
        int count = rule->count(&job->keep);
        const char *name = wish_name(rule->wish);
        int64_t step_s = rule->period_s > cadence->mean_s ? rule->period_s : cadence->mean_s;
        int rc = 0;
        if (rule->key && count > 1 && cadence->mean_s > rule->period_s)
            rc = problems_warning(subject->warnings, job->keep.line, 1, err,
                                  "job \"%s\" runs every %s on average: %s %d is the same as last "
                                  "%d",
                                  job->name, seconds_format(cadence->mean_s, text), name, count,
                                  count);
        if (!rc && count > 1 && count * step_s > OUT_OF_REACH_S)
            rc = problems_warning(subject->warnings, job->keep.line, 1, err,
                                  "job \"%s\": %s %d deletes nothing for the first %lld years",
                                  job->name, name, count,
                                  (long long)(count * step_s / (366 * DAY_S)));
        if (rc)
            return rc;
    }
    return 0;
}

static int check_prune(const struct subject *subject, const struct policy_job *job,
                       const struct cadence *cadence, struct error *err)
{
    char gap[UNITS_TEXT_MAX], reach[UNITS_TEXT_MAX];
    int64_t reach_s = cadence_reach(cadence, &job->keep);
    if (subject->prune_gap_s == 0 || subject->prune_gap_s <= reach_s)
        return 0;
    return problems_warning(subject->warnings, job->keep.line, 1, err,
                            "job \"%s\": keep: reaches %s back, but up to %s pass between two "
                            "prunes: until the next one far more is kept",
                            job->name, seconds_format(reach_s, reach),
                            seconds_format(subject->prune_gap_s, gap));
}

static int check_keep(const struct subject *subject, const struct policy_job *job,
                      struct error *err)
{
    struct cadence cadence = cadence_of(subject->policy, subject->zones, job, subject->now_us);
    if (cadence.count < 2)
        return 0; /* run by hand: there is no cadence to contradict */
    int rc = check_within(subject, job, &cadence, err);
    if (!rc)
        rc = check_counts(subject, job, &cadence, err);
    return rc ? rc : check_prune(subject, job, &cadence, err);
}

/* Backups are kept by rules, but nothing ever asks the rules. */
static int check_prune_exists(const struct subject *subject, const struct policy_job *job,
                              struct error *err)
{
    if (subject->prune_gap_s > 0)
        return 0;
    return problems_warning(subject->warnings, job->keep.line, 1, err,
                            "keep: has no effect: no prune job has a schedule, so nothing is ever "
                            "deleted");
}

/* Proof is demanded of this job, and nobody delivers it, or not as deep; level: the deepest that is
 * delivered, 0: none. */
static int check_demand(const struct subject *subject, const struct policy_job *job, int level,
                        struct error *err)
{
    if (job->require_verified <= level)
        return 0;
    if (level == 0)
        return problems_warning(subject->warnings, job->line, 1, err,
                                "job \"%s\": require_verified: %d, but no verify job has a "
                                "schedule: no backup ever counts, so none is ever deleted",
                                job->name, job->require_verified);
    return problems_warning(subject->warnings, job->line, 1, err,
                            "job \"%s\": require_verified: %d, but the verify jobs that have a "
                            "schedule go to level %d only: no backup ever counts, so none is ever "
                            "deleted",
                            job->name, job->require_verified, level);
}

/* What was begun within the budget is ended, so the timeout must leave room for it. */
static int check_budget(const struct subject *subject, const struct policy_job *job,
                        struct error *err)
{
    char budget[UNITS_TEXT_MAX], timeout[UNITS_TEXT_MAX];
    if (job->type != JOB_VERIFY || job->budget_us == 0 || job->budget_us < job->timeout_us)
        return 0;
    return problems_warning(subject->warnings, job->line, 1, err,
                            "job \"%s\": its timeout of %s is over before its budget of %s: each "
                            "run fails that could end in order",
                            job->name, duration_format(job->timeout_us, timeout),
                            duration_format(job->budget_us, budget));
}

static int check_proof(const struct subject *subject, struct error *err)
{
    const struct policy *policy = subject->policy;
    int level = 0, rc = 0;
    for (size_t i = 0; i < policy->job_count; i++) {
        const struct policy_job *job = &policy->jobs[i];
        if (job->type == JOB_VERIFY && job->schedule && job->level > level)
            level = job->level;
    }
    for (size_t i = 0; i < policy->job_count && !rc; i++) {
        rc = check_demand(subject, &policy->jobs[i], level, err);
        if (!rc)
            rc = check_budget(subject, &policy->jobs[i], err);
    }
    return rc;
}

/* What is locked without a rule is locked for a time that nobody chose. */
static int check_lock(const struct subject *subject, struct error *err)
{
    const struct policy *policy = subject->policy;
    enum backup_kind kind;
    char text[UNITS_TEXT_MAX];
    int rc = 0;
    for (size_t i = 0; !rc && i < policy->job_count; i++) {
        const struct policy_job *job = &policy->jobs[i];
        if (policy->s3.object_lock == S3_LOCK_OFF || !job_makes_backups(job, &kind) ||
            (job->keep.is_set && rules_any(&job->keep)))
            continue;
        rc = problems_warning(subject->warnings, job->line, 1, err,
                              "job \"%s\": object_lock: %s locks its backups for %s, since no "
                              "keep: says for how long",
                              job->name, s3_lock_words[policy->s3.object_lock],
                              duration_format(RETENTION_LOCK_UNRULED_US, text));
    }
    return rc;
}

/* Dates that never come are errors of the policy; these came, and are over. */
static int check_future(const struct subject *subject, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < subject->policy->job_count; i++) {
        const struct policy_job *job = &subject->policy->jobs[i];
        if (job->schedule &&
            cron_next(job->schedule, job_zone(subject->policy, subject->zones, job),
                      subject->now_us / US_PER_SECOND) == CRON_NEVER)
            rc = problems_warning(subject->warnings, job->schedule_place.line,
                                  job->schedule_place.column, err,
                                  "job \"%s\" never runs: its schedule \"%s\" has no date within "
                                  "%d years from now",
                                  job->name, job->schedule_text, CRON_YEARS_MAX);
    }
    return rc;
}

int retention_contradictions(const struct policy *policy, const struct retention_zones *zones,
                             int64_t now_us, struct policy_problems *ret_warnings,
                             struct error *err)
{
    _cleanup_(policy_problems_clear) struct policy_problems warnings = {0};
    struct subject subject = {
        .policy = policy, .zones = zones, .now_us = now_us, .warnings = &warnings};
    subject.prune_gap_s = find_prune_gap(&subject);
    bool prune_checked = false;
    int rc = check_future(&subject, err);
    if (!rc)
        rc = check_proof(&subject, err);
    if (!rc)
        rc = check_lock(&subject, err);
    if (!rc)
        rc = wal_contradictions(policy, zones, now_us, &warnings, err);
    for (size_t i = 0; !rc && i < policy->job_count; i++) {
        const struct policy_job *job = &policy->jobs[i];
        enum backup_kind kind;
        if (!job_makes_backups(job, &kind) || !job->keep.is_set || !rules_any(&job->keep))
            continue;
        if (!prune_checked)
            rc = check_prune_exists(&subject, job, err);
        prune_checked = true;
        if (!rc)
            rc = check_keep(&subject, job, err);
    }
    if (rc)
        return rc;
    problems_sort(&warnings);
    *ret_warnings = warnings;
    warnings = (struct policy_problems){0};
    return 0;
}
