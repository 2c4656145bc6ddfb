/* FRQ: did the backups come when they were due? */
#include <stdio.h>
#include <string.h>

#include "audit/judging.h"
#include "base/units.h"

/* How long after a due instant something must have come of it. */
static int64_t grace_us(const struct policy_job *job)
{
    return AUDIT_GRACE_US + job->jitter_us;
}

static bool is_running(const struct audit_judging *judging, const struct policy_job *job,
                       int64_t since_us)
{
    const struct facts *facts = &judging->facts->facts;
    for (size_t i = 0; i < facts->backup_count; i++) {
        const struct facts_backup *backup = &facts->backups[i];
        if (backup->state == BACKUP_RUNNING && backup->job && strcmp(backup->job, job->name) == 0 &&
            backup->started_us >= since_us)
            return true;
    }
    return false;
}

/* The last due instant of which there must be something by now; INSTANT_NONE: none. A run that is
 * under way for it has its time. */
static int64_t last_due(const struct audit_judging *judging, const struct policy_job *job)
{
    const struct zone *zone = audit_zone(judging, job);
    int64_t due =
        cron_previous(job->schedule, zone, (judging->now_us - grace_us(job)) / US_PER_SECOND + 1);
    if (due != CRON_NEVER && is_running(judging, job, due * US_PER_SECOND))
        due = cron_previous(job->schedule, zone, due);
    return due == CRON_NEVER ? INSTANT_NONE : due * US_PER_SECOND;
}

static void judge_newest(struct audit_judging *judging, const struct policy_job *job)
{
    char due_text[INSTANT_TEXT_MAX], age[80];
    const struct audit_backup *newest = audit_newest_good(judging, job);
    int64_t due_us = last_due(judging, job), since_us = judging->facts->since_us;
    bool none_was_due = due_us == INSTANT_NONE || (since_us != INSTANT_NONE && due_us < since_us);
    if (newest)
        audit_point(judging, "%s/%ss/%s/manifest.json", judging->policy->cluster,
                    backup_kind_name(newest->kind), newest->id);
    instant_format(due_us, due_text);
    if (newest && (none_was_due || newest->started_us >= due_us)) {
        audit_say(judging, AUDIT_PASS, "%s: newest good from %s", job->name,
                  audit_age(judging, newest->started_us, age));
        return;
    }
    if (!newest && none_was_due) {
        audit_say(judging, AUDIT_WARN, "%s: none yet, and none was due", job->name);
        return;
    }
    if (judging->line_counts[AUDIT_FAIL] == 0)
        audit_require(judging, job->line, "a good backup of each due instant of %s, \"%s\"",
                      job->name, job->schedule_text);
    if (newest)
        audit_say(judging, AUDIT_FAIL, "%s: newest good from %s, due was %s", job->name,
                  audit_age(judging, newest->started_us, age), due_text);
    else
        audit_say(judging, AUDIT_FAIL, "%s: no good backup at all, due was %s", job->name,
                  due_text);
}

AUDIT_CONTROL(audit_newest_age)
{
    (void)err;
    const struct policy *policy = judging->policy;
    enum backup_kind kind;
    bool any = false;
    audit_require(judging, 0, "a good backup of each due instant, at the latest an hour after it");
    if (audit_lacks_repository(judging))
        return 0;
    for (size_t i = 0; i < policy->job_count; i++) {
        const struct policy_job *job = &policy->jobs[i];
        if (!audit_makes_backups(job, &kind))
            continue;
        any = true;
        if (job->schedule)
            judge_newest(judging, job);
        else
            audit_say(judging, AUDIT_WARN, "%s: has no schedule, so nothing is ever due",
                      job->name);
    }
    if (!any)
        audit_say(judging, AUDIT_FAIL, "no job of the policy makes backups");
    return 0;
}

/* -- missed -------------------------------------------------------------------------------- */

/* Whether a row stands for several due instants and this is one of them: the daemon writes "WHY: N
 * due from FIRST to LAST ..." for those that it skipped together. */
static bool stands_for(const struct facts_run *run, int64_t due_us)
{
    static const char FROM[] = " due from ";
    char first[INSTANT_TEXT_MAX] = "", last[INSTANT_TEXT_MAX] = "";
    int64_t first_us, last_us;
    bool has_offset;
    const char *from = strstr(run->message, FROM);
    return from && strcmp(run->outcome, "skipped") == 0 &&
           sscanf(from + strlen(FROM), "%39s to %39s", first, last) == 2 &&
           instant_parse(first, &first_us, &has_offset, NULL) == 0 &&
           instant_parse(last, &last_us, &has_offset, NULL) == 0 && first_us <= due_us &&
           due_us <= last_us;
}

/* Why nothing came of a due instant, as far as the journal knows. */
static void describe_cause(const struct audit_judging *judging, const struct policy_job *job,
                           int64_t due_us, char *text, size_t size)
{
    const struct facts_audit *facts = judging->facts;
    bool has_own = false;
    snprintf(text, size, "%s", facts->has_journal ? "no run on record" : "");
    if (judging->is_period) {
        text[0] = '\0';
        return;
    }
    for (size_t i = 0; i < facts->run_count; i++) {
        const struct facts_run *run = &facts->runs[i];
        if (strcmp(run->job, job->name) != 0)
            continue;
        if (run->due_us == due_us)
            has_own = true;
        else if (has_own || !stands_for(run, due_us))
            continue;
        snprintf(text, size, "its run: %s%s%.80s", run->outcome, *run->message ? ": " : "",
                 run->message);
    }
}

/* From when on backups of the job were to be expected: the first sign of the job, not the day on
 * which the policy's author was born. */
static int64_t expected_from(const struct audit_judging *judging, const struct policy_job *job)
{
    size_t count;
    const struct audit_backup *history = audit_history_of(judging, job->name, &count);
    int64_t first_us = count ? history[0].started_us : judging->facts->since_us;
    return first_us != INSTANT_NONE && first_us > judging->from_us ? first_us : judging->from_us;
}

enum { LATE_MAX = 100 }; /* backups behind a due instant among which one is looked for */

/* One that was taken over from a machine that had died may begin after the next due instant, and
 * tells for which it was made. */
static bool came_late(const struct audit_backup *history, size_t count, int64_t due_us)
{
    for (size_t i = 0; i < count && i < LATE_MAX; i++)
        if (history[i].is_good && history[i].due_us == due_us)
            return true;
    return false;
}

struct missing {
    size_t due, missed;
};

/* Walks due instants and backups side by side: a backup that began between a due instant and the
 * next one is what came of it. */
static struct missing judge_dues(struct audit_judging *judging, const struct policy_job *job)
{
    struct missing missing = {0, 0};
    size_t count, i = 0;
    const struct audit_backup *history = audit_history_of(judging, job->name, &count);
    const struct zone *zone = audit_zone(judging, job);
    int64_t from_us = expected_from(judging, job), other_us = audit_other_policy_until(judging);
    int64_t end_us = judging->to_us < judging->now_us - grace_us(job)
                         ? judging->to_us
                         : judging->now_us - grace_us(job);
    int64_t due = cron_next(job->schedule, zone, from_us / US_PER_SECOND - 1);
    while (due != CRON_NEVER && due * US_PER_SECOND <= end_us && missing.due < AUDIT_DUES_MAX) {
        char due_text[INSTANT_TEXT_MAX], cause[160];
        int64_t next = cron_next(job->schedule, zone, due);
        int64_t due_us = due * US_PER_SECOND;
        int64_t next_us = next == CRON_NEVER ? INT64_MAX : next * US_PER_SECOND;
        bool has_come = false, is_under_way = false;
        while (i < count && history[i].started_us < due_us)
            i++;
        for (; i < count && history[i].started_us < next_us; i++) {
            has_come |= history[i].is_good;
            is_under_way |= history[i].backup && history[i].backup->state == BACKUP_RUNNING;
        }
        missing.due++;
        if (!has_come && !is_under_way && !came_late(history + i, count - i, due_us)) {
            missing.missed++;
            cause[0] = '\0';
            if (judging->line_counts[AUDIT_FAIL] < AUDIT_LINES_MAX)
                describe_cause(judging, job, due_us, cause, sizeof(cause));
            bool is_certain = due_us > other_us;
            audit_say(judging, is_certain ? AUDIT_FAIL : AUDIT_WARN, "%s: %s%s%s%s", job->name,
                      instant_format(due_us, due_text), is_certain ? "" : " under another policy",
                      cause[0] ? ", " : "", cause);
        }
        due = next;
    }
    return missing;
}

AUDIT_CONTROL(audit_missed)
{
    (void)err;
    const struct policy *policy = judging->policy;
    char from[INSTANT_TEXT_MAX], to[INSTANT_TEXT_MAX];
    enum backup_kind kind;
    audit_require(judging, 0, "a good backup of each due instant from %s to %s",
                  instant_format(judging->from_us, from), instant_format(judging->to_us, to));
    if (audit_lacks_repository(judging) || audit_lacks_evidence(judging))
        return 0;
    for (size_t i = 0; i < policy->job_count; i++) {
        const struct policy_job *job = &policy->jobs[i];
        if (!job->schedule || !audit_makes_backups(job, &kind))
            continue;
        struct missing missing = judge_dues(judging, job);
        if (missing.due >= AUDIT_DUES_MAX)
            audit_say(judging, AUDIT_UNKNOWN,
                      "%s: more than %d due instants, look at a shorter "
                      "period",
                      job->name, AUDIT_DUES_MAX);
        audit_say(judging, AUDIT_PASS, "%s: %zu of %zu came", job->name,
                  missing.due - missing.missed, missing.due);
        audit_point(judging, "%s: %zu of %zu due instants missed", job->name, missing.missed,
                    missing.due);
    }
    return 0;
}

/* -- success ------------------------------------------------------------------------------- */

static void judge_rate(struct audit_judging *judging, const struct policy_job *job)
{
    const struct facts_audit *facts = judging->facts;
    size_t done = 0, all = 0;
    for (size_t i = 0; i < facts->run_count; i++) {
        const struct facts_run *run = &facts->runs[i];
        if (strcmp(run->job, job->name) != 0 || !audit_in_period(judging, run->started_us))
            continue;
        bool is_done = strcmp(run->outcome, "done") == 0;
        bool is_failed =
            strcmp(run->outcome, "failed") == 0 || strcmp(run->outcome, "interrupted") == 0;
        done += is_done;
        all += is_done || is_failed;
        if (is_failed)
            audit_point(judging, "run %s of %s: %s", run->run_id, run->job, run->outcome);
    }
    if (all == 0)
        return;
    bool is_enough = done * 100 >= all * (size_t)judging->policy->audit.success_rate;
    audit_say(judging, is_enough ? AUDIT_PASS : AUDIT_FAIL, "%s: %zu of %zu runs ended well",
              job->name, done, all);
}

/* That such a run failed is what it found: other controls tell of that. */
static bool is_check(enum job_type type)
{
    return type == JOB_VERIFY || type == JOB_DRILL || type == JOB_AUDIT;
}

AUDIT_CONTROL(audit_success_rate)
{
    (void)err;
    const struct facts_audit *facts = judging->facts;
    audit_require(judging, 0, "%d%% of the runs of each job in the last 30 days",
                  judging->policy->audit.success_rate);
    if (!facts->has_journal) {
        audit_say(judging, AUDIT_UNKNOWN, "the journal was not read%s%s",
                  facts->journal_problem ? ": " : "",
                  facts->journal_problem ? facts->journal_problem : "");
        return 0;
    }
    for (size_t i = 0; i < judging->policy->job_count; i++)
        if (!is_check(judging->policy->jobs[i].type))
            judge_rate(judging, &judging->policy->jobs[i]);
    if (facts->run_count == 0)
        audit_say(judging, AUDIT_SKIP, "no run is on record");
    return 0;
}
