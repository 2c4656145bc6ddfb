/* SCH: does what should run by itself run, by which clock, under which policy? */
#include <string.h>

#include "audit/judging.h"
#include "base/units.h"

#define HEARTBEAT_MAX_US (5 * US_PER_MINUTE)
#define SKEW_MAX_US US_PER_MINUTE

static bool lacks_journal(struct audit_judging *judging)
{
    const struct facts_audit *facts = judging->facts;
    if (!facts->has_journal)
        audit_say(judging, AUDIT_UNKNOWN, "the journal was not read%s%s",
                  facts->journal_problem ? ": " : "",
                  facts->journal_problem ? facts->journal_problem : "");
    return !facts->has_journal;
}

AUDIT_CONTROL(audit_daemon)
{
    (void)err;
    const struct facts_audit *facts = judging->facts;
    char age[80];
    audit_require(judging, 0, "a sign of life of the last 5 minutes");
    if (lacks_journal(judging))
        return 0;
    if (facts->daemon_heartbeat_us == INSTANT_NONE)
        audit_say(judging, AUDIT_WARN, "no daemon ever ran here: something else must start jobs");
    else
        audit_say(judging,
                  judging->now_us - facts->daemon_heartbeat_us > HEARTBEAT_MAX_US ? AUDIT_FAIL
                                                                                  : AUDIT_PASS,
                  "its last sign of life was %s",
                  audit_age(judging, facts->daemon_heartbeat_us, age));
    return 0;
}

static void judge_clock(struct audit_judging *judging, const char *whose, int64_t offset_us)
{
    char text[UNITS_TEXT_MAX];
    int64_t distance_us = offset_us < 0 ? -offset_us : offset_us;
    audit_say(judging, distance_us > SKEW_MAX_US ? AUDIT_FAIL : AUDIT_PASS,
              "%s clock differs by %s", whose, duration_format(distance_us, text));
}

AUDIT_CONTROL(audit_clocks)
{
    (void)err;
    const struct facts_audit *facts = judging->facts;
    audit_require(judging, 0, "at most 1m apart");
    if (!audit_lacks_server(judging))
        judge_clock(judging, "the server's", facts->server.clock_offset_us);
    if (facts->store_clock_offset_us != INSTANT_NONE)
        judge_clock(judging, "the repository's", facts->store_clock_offset_us);
    else if (facts->bucket_problem)
        audit_say(judging, AUDIT_UNKNOWN, "the repository did not tell its clock: %.200s",
                  facts->bucket_problem);
    return 0;
}

/* -- the policy ---------------------------------------------------------------------------- */

AUDIT_CONTROL(audit_policy_changes)
{
    (void)err;
    const struct facts_audit *facts = judging->facts;
    const char *before = NULL;
    char when[INSTANT_TEXT_MAX];
    size_t audits = 0;
    if (audit_lacks_evidence(judging))
        return 0;
    for (size_t i = 0; i < facts->record_count; i++) {
        const struct facts_record *record = &facts->records[i];
        if (!*record->policy_sha256 || record->at_us > judging->to_us)
            continue;
        bool is_change = before && strcmp(before, record->policy_sha256) != 0;
        before = record->policy_sha256;
        if (!audit_in_period(judging, record->at_us))
            continue;
        audits++;
        if (!is_change)
            continue;
        audit_say(judging, AUDIT_WARN, "changed by %s to %.16s",
                  instant_format(record->at_us, when), record->policy_sha256);
        audit_point(judging, "%s/evidence/%010lld.json", judging->policy->cluster,
                    (long long)record->number);
    }
    if (audits == 0)
        audit_say(judging, judging->is_period ? AUDIT_UNKNOWN : AUDIT_WARN,
                  "no audit of that time is on record");
    else if (!judging->is_period && strcmp(before, judging->policy->sha256) != 0)
        audit_say(judging, AUDIT_WARN, "changed since the last audit, to %.16s",
                  judging->policy->sha256);
    audit_say(judging, AUDIT_PASS, "%zu audits on record, all under %.16s", audits,
              judging->policy->sha256);
    audit_point(judging, "policy SHA-256 %s", judging->policy->sha256);
    return 0;
}

/* -- other jobs ---------------------------------------------------------------------------- */

/* Left to another machine: because that has done it, which counts as done, or must. */
static bool is_left(const struct facts_run *run)
{
    return strcmp(run->outcome, "not_mine") == 0;
}

static bool is_done(const struct facts_run *run)
{
    static const char BY_ANOTHER[] = "done ";
    return strcmp(run->outcome, "done") == 0 ||
           (is_left(run) && strncmp(run->message, BY_ANOTHER, sizeof(BY_ANOTHER) - 1) == 0);
}

static const struct facts_run *last_run(const struct facts_audit *facts, const char *job)
{
    const struct facts_run *found = NULL;
    for (size_t i = 0; i < facts->run_count; i++) {
        const struct facts_run *run = &facts->runs[i];
        bool is_end = strcmp(run->outcome, "done") == 0 || strcmp(run->outcome, "failed") == 0 ||
                      strcmp(run->outcome, "interrupted") == 0 || is_left(run);
        if (is_end && strcmp(run->job, job) == 0 && (!found || run->started_us > found->started_us))
            found = run;
    }
    return found;
}

/* Of a job that never ran nothing was due before the cluster was known. */
static void judge_job(struct audit_judging *judging, const struct policy_job *job)
{
    const struct facts_run *run = last_run(judging->facts, job->name);
    int64_t since_us = judging->facts->since_us;
    char age[80];
    int64_t due =
        cron_previous(job->schedule, audit_zone(judging, job),
                      (judging->now_us - AUDIT_GRACE_US - job->jitter_us) / US_PER_SECOND + 1);
    int64_t due_us = due == CRON_NEVER ? INSTANT_NONE : due * US_PER_SECOND;
    bool none_was_due = due_us == INSTANT_NONE || (since_us != INSTANT_NONE && due_us < since_us);
    if (run)
        audit_point(judging, "run %s of %s: %s", run->run_id, run->job, run->outcome);
    if (!run && none_was_due)
        audit_say(judging, AUDIT_PASS, "%s: not due yet", job->name);
    else if (!run)
        audit_say(judging, AUDIT_FAIL, "%s: never ran", job->name);
    else if (is_left(run) && !is_done(run))
        audit_say(judging, AUDIT_SKIP, "%s: left to another machine: %.120s", job->name,
                  run->message);
    else if (!is_done(run))
        audit_say(judging, AUDIT_FAIL, "%s: %s %s%s%.120s", job->name, run->outcome,
                  audit_age(judging, run->started_us, age), *run->message ? ": " : "",
                  run->message);
    else if (!none_was_due && run->started_us < due_us)
        audit_say(judging, AUDIT_FAIL, "%s: last ran %s", job->name,
                  audit_age(judging, run->started_us, age));
    else
        audit_say(judging, AUDIT_PASS, "%s: done %s", job->name,
                  audit_age(judging, run->started_us, age));
}

/* An audit that runs by its schedule can't find itself done. */
AUDIT_CONTROL(audit_other_jobs)
{
    (void)err;
    const struct policy *policy = judging->policy;
    enum backup_kind kind;
    bool any = false;
    for (size_t i = 0; i < policy->job_count; i++)
        any |= !audit_makes_backups(&policy->jobs[i], &kind) && policy->jobs[i].schedule &&
               policy->jobs[i].type != JOB_AUDIT;
    if (!any)
        audit_say(judging, AUDIT_SKIP, "the policy has no such jobs");
    if (!any || lacks_journal(judging))
        return 0;
    for (size_t i = 0; i < policy->job_count; i++)
        if (!audit_makes_backups(&policy->jobs[i], &kind) && policy->jobs[i].schedule &&
            policy->jobs[i].type != JOB_AUDIT)
            judge_job(judging, &policy->jobs[i]);
    return 0;
}

static bool is_told(const struct policy *policy, const struct policy_job *job)
{
    for (size_t i = 0; i < policy->notify_count; i++)
        if (policy_notify_wants(&policy->notify[i], NOTIFY_FAILURE, job->name))
            return true;
    return false;
}

/* By the policy alone: that a message arrives shows only its receiver. */
AUDIT_CONTROL(audit_failures_told)
{
    (void)err;
    const struct policy *policy = judging->policy;
    size_t told = 0, untold = 0;
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].schedule)
            *(is_told(policy, &policy->jobs[i]) ? &told : &untold) += 1;
    audit_require(judging, policy->notify_count ? policy->notify[0].line : 0,
                  "an entry of notify: that is told of failure, for each scheduled job");
    for (size_t i = 0; i < policy->notify_count; i++)
        if (policy->notify[i].on & NOTIFY_ON(NOTIFY_FAILURE))
            audit_point(judging, "%s", policy->notify[i].shown);
    if (told + untold == 0)
        audit_say(judging, AUDIT_SKIP, "no job has a schedule");
    else if (told == 0)
        audit_say(judging, AUDIT_WARN, "nobody is told when a job fails");
    else if (untold == 0)
        audit_say(judging, AUDIT_PASS, "of all %zu scheduled jobs", told);
    for (size_t i = 0; i < policy->job_count && told > 0 && untold > 0; i++)
        if (policy->jobs[i].schedule && !is_told(policy, &policy->jobs[i]))
            audit_say(judging, AUDIT_WARN, "%s: nobody is told when it fails",
                      policy->jobs[i].name);
    return 0;
}
