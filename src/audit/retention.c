/* RET: is all kept that the rules want, and nothing beyond? */
#include <string.h>

#include <stdarg.h>
#include <stdio.h>

#include "audit/judging.h"
#include "base/units.h"
#include "retention/bucket.h"

enum { STEPS_SPARE = 1000, STEPS_OF_ALL = 2000000 };

/* The newest good backup of a history that began by that time; its index, or count for none. */
static size_t newest_by(const struct audit_backup *history, size_t count, int64_t at_us)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (history[middle].started_us <= at_us)
            low = middle + 1;
        else
            high = middle;
    }
    while (low > 0 && !history[low - 1].is_good)
        low--;
    return low > 0 ? low - 1 : count;
}

/* -- deletions ----------------------------------------------------------------------------- */

/* Whether `last` of the good ones behind an entry were there at that time; counted from the newest
 * on, where they are found soon. Far back nothing is claimed. */
static bool had_newer(const struct audit_backup *history, size_t own, size_t newest, int64_t at_us,
                      size_t last)
{
    size_t newer = 0, steps = 4 * last + STEPS_SPARE;
    for (size_t i = newest; i > own && newer < last && steps > 0; i--, steps--)
        newer += history[i].is_good &&
                 (history[i].removed_us == INSTANT_NONE || history[i].removed_us > at_us);
    return newer >= last || steps == 0;
}

/* What a prune deleted was there when it made its plan; it may have been at it for so long. */
#define PRUNE_TOOK_US US_PER_HOUR

/* All of them together. */
struct deletions {
    size_t count, unjudged;
    int64_t steps;    /* that may still be taken */
    int64_t other_us; /* until when another policy was in force */
};

struct deletion {
    struct audit_judging *judging;
    const struct policy_job *job;
    const struct facts_record *record;
    const struct audit_backup *history;
    size_t own, newest; /* in the history */
    struct deletions *all;
};

/* Whether a calendar rule wanted it: it was the newest of its bucket, and newer buckets with a good
 * backup were fewer than the rule asks for. */
static bool was_in_calendar(const struct deletion *deletion, size_t rule)
{
    const struct audit_backup *history = deletion->history;
    const struct zone *zone = audit_zone(deletion->judging, deletion->job);
    int wanted = retention_calendar_count(&deletion->job->keep, rule), buckets = 0;
    int64_t own = retention_calendar_bucket(rule, zone, deletion->record->started_us);
    int64_t since_us = deletion->record->at_us - PRUNE_TOOK_US, last = INT64_MIN;
    for (size_t i = deletion->newest; i > deletion->own && buckets < wanted; i--) {
        if (--deletion->all->steps < 0)
            return false;
        if (!history[i].is_good ||
            (history[i].removed_us != INSTANT_NONE && history[i].removed_us <= since_us))
            continue;
        int64_t bucket = retention_calendar_bucket(rule, zone, history[i].started_us);
        if (bucket == own)
            return false;
        buckets += bucket != last;
        last = bucket;
    }
    return buckets < wanted;
}

static void say_deletion(const struct deletion *deletion, const char *format, ...) _printf_(2, 3);

/* Under another policy it may have been right. */
static void say_deletion(const struct deletion *deletion, const char *format, ...)
{
    char text[300];
    bool is_certain = deletion->record->at_us > deletion->all->other_us;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    audit_say(deletion->judging, is_certain ? AUDIT_FAIL : AUDIT_WARN, "%s: %s%s",
              deletion->job->name, text, is_certain ? "" : ", under another policy");
}

static void judge_rules(const struct deletion *deletion)
{
    const struct keep_rules *keep = &deletion->job->keep;
    const char *id = deletion->record->id;
    char age[UNITS_TEXT_MAX];
    int64_t age_us = deletion->history[deletion->newest].started_us - deletion->record->started_us;
    if (keep->within_us && age_us < keep->within_us) {
        say_deletion(deletion, "%s was deleted %s older than the newest", id,
                     duration_format(age_us, age));
        return;
    }
    if (keep->last && !had_newer(deletion->history, deletion->own, deletion->newest,
                                 deletion->record->at_us, (size_t)keep->last)) {
        say_deletion(deletion, "%s was deleted, one of the last %d", id, keep->last);
        return;
    }
    for (size_t rule = 0; rule < RETENTION_CALENDAR_RULES; rule++)
        if (retention_calendar_count(keep, rule) && was_in_calendar(deletion, rule)) {
            say_deletion(deletion, "%s was deleted, which %s %d wanted", id,
                         retention_calendar_name(rule), retention_calendar_count(keep, rule));
            return;
        }
}

/* Held against the rules as they are now: what they wanted when it was deleted. */
static void judge_deletion(struct audit_judging *judging, const struct policy_job *job,
                           const struct facts_record *record, struct deletions *all)
{
    size_t count;
    const struct audit_backup *history = audit_history_of(judging, job->name, &count);
    struct deletion deletion = {.judging = judging,
                                .job = job,
                                .record = record,
                                .history = history,
                                .own = newest_by(history, count, record->started_us),
                                .newest = newest_by(history, count, record->at_us),
                                .all = all};
    if (deletion.newest == count || deletion.own == count ||
        history[deletion.newest].started_us < record->started_us)
        return;
    if (strcmp(history[deletion.newest].id, record->id) == 0)
        say_deletion(&deletion, "the newest good one, %s, was deleted", record->id);
    else
        judge_rules(&deletion);
}

AUDIT_CONTROL(audit_deleted_rightly)
{
    (void)err;
    const struct facts_audit *facts = judging->facts;
    struct deletions all = {.steps = STEPS_OF_ALL, .other_us = audit_other_policy_until(judging)};
    audit_require(judging, 0, "the rules of each job, at the time of each deletion");
    if (audit_lacks_repository(judging) || audit_lacks_evidence(judging))
        return 0;
    for (size_t i = 0; i < facts->record_count; i++) {
        const struct facts_record *record = &facts->records[i];
        if (strcmp(record->type, "backup_removed") != 0 || !audit_in_period(judging, record->at_us))
            continue;
        all.count++;
        audit_point(judging, "%s/evidence/%010lld.json: %s", judging->policy->cluster,
                    (long long)record->number, record->id);
        const struct policy_job *job = policy_find_job(judging->policy, record->job);
        bool is_judged = job && record->started_us != INSTANT_NONE && all.steps > 0;
        all.unjudged += !is_judged;
        if (is_judged && strcmp(record->state, "good") == 0)
            judge_deletion(judging, job, record, &all);
    }
    if (all.unjudged)
        audit_say(
            judging, AUDIT_WARN,
            "%zu of %zu deletions could not be judged: the policy has not their job, or there "
            "are too many",
            all.unjudged, all.count);
    audit_say(judging, AUDIT_PASS, "%zu deletion%s on record, each by the rules", all.count,
              all.count == 1 ? "" : "s");
    return 0;
}

/* -- over-retention ------------------------------------------------------------------------ */

/* The prune before the last one that was due: what was to go then should be gone. */
static int64_t pruned_by(const struct audit_judging *judging)
{
    const struct policy_job *job = audit_next_job(judging->policy, JOB_PRUNE, NULL);
    if (!job || !job->schedule)
        return INSTANT_NONE;
    const struct zone *zone = audit_zone(judging, job);
    int64_t due =
        cron_previous(job->schedule, zone, (judging->now_us - AUDIT_GRACE_US) / US_PER_SECOND + 1);
    due = due == CRON_NEVER ? due : cron_previous(job->schedule, zone, due);
    return due == CRON_NEVER ? INSTANT_NONE : due * US_PER_SECOND;
}

static bool was_over(const struct audit_judging *judging, const struct facts_backup *backup,
                     int64_t at_us)
{
    const struct policy_job *job =
        backup->job ? policy_find_job(judging->policy, backup->job) : NULL;
    size_t count;
    if (!job || !job->keep.within_us || job->keep.last || at_us == INSTANT_NONE)
        return false;
    const struct audit_backup *history = audit_history_of(judging, job->name, &count);
    size_t newest = newest_by(history, count, at_us);
    return newest < count && history[newest].started_us - job->keep.within_us > backup->started_us;
}

static void judge_cap(struct audit_judging *judging, const struct facts_backup *backup)
{
    int64_t most_us = judging->policy->audit.keep_at_most_us;
    char age[80];
    if (!most_us || backup->started_us == INSTANT_NONE ||
        judging->now_us - backup->started_us <= most_us)
        return;
    audit_say(judging, AUDIT_FAIL, "%s is from %s", backup->id,
              audit_age(judging, backup->started_us, age));
    audit_point(judging, "%s/%ss/%s", judging->policy->cluster, backup_kind_name(backup->kind),
                backup->id);
}

AUDIT_CONTROL(audit_over_retention)
{
    (void)err;
    const struct retention_plan *plan = &judging->report->plan;
    const struct facts *facts = &judging->facts->facts;
    int64_t by_us = pruned_by(judging);
    char text[UNITS_TEXT_MAX];
    if (judging->policy->audit.keep_at_most_us)
        audit_require(judging, 0,
                      "nothing older than %s, and nothing that a prune should have taken",
                      duration_format(judging->policy->audit.keep_at_most_us, text));
    if (audit_lacks_repository(judging))
        return 0;
    for (size_t i = 0; i < facts->backup_count; i++)
        judge_cap(judging, &facts->backups[i]);
    size_t pending = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const struct retention_decision *decision = &plan->decisions[i];
        if (decision->action != RETENTION_DELETE)
            continue;
        pending++;
        if (was_over(judging, decision->backup, by_us))
            audit_say(judging, AUDIT_FAIL, "%s should be gone since two prunes", decision->id);
    }
    bool has_prune = audit_next_job(judging->policy, JOB_PRUNE, NULL);
    if (pending && !has_prune)
        audit_say(judging, AUDIT_FAIL, "%zu backups are beyond the rules, and no job prunes",
                  pending);
    audit_say(judging, AUDIT_PASS, "%zu backup%s go at the next prune", pending,
              pending == 1 ? "" : "s");
    return 0;
}

AUDIT_CONTROL(audit_plan_ready)
{
    (void)err;
    const struct retention_plan *plan = &judging->report->plan;
    char bytes[UNITS_TEXT_MAX];
    if (audit_lacks_repository(judging))
        return 0;
    audit_point(judging, "plan %s", plan->hash);
    if (plan->refused)
        audit_say(judging, AUDIT_UNKNOWN, "nothing may be deleted: %s", plan->refused);
    else if (plan->needs_force)
        audit_say(judging, AUDIT_FAIL, "a person must agree: %s", plan->needs_force);
    else
        audit_say(judging, AUDIT_PASS, "it deletes %zu backups and frees %s", plan->delete_count,
                  size_format(plan->bytes_freed, bytes));
    return 0;
}

/* -- holds --------------------------------------------------------------------------------- */

AUDIT_CONTROL(audit_holds)
{
    (void)err;
    const struct facts *facts = &judging->facts->facts;
    char until[INSTANT_TEXT_MAX];
    if (audit_lacks_repository(judging))
        return 0;
    for (size_t i = 0; i < facts->hold_count; i++) {
        const struct facts_hold *hold = &facts->holds[i];
        audit_point(judging, "%s/holds/%s.json", judging->policy->cluster, hold->hold_id);
        if (!retention_find(&judging->report->plan, hold->backup_id))
            audit_say(judging, AUDIT_WARN, "%s holds %s, which is not there", hold->holder,
                      hold->backup_id);
        else if (hold->expires_us != INSTANT_NONE && hold->expires_us <= judging->now_us)
            audit_say(judging, AUDIT_WARN, "the hold of %s on %s has ended", hold->holder,
                      hold->backup_id);
        else
            audit_say(judging, AUDIT_PASS, "%s holds %s %s: %.80s", hold->holder, hold->backup_id,
                      hold->expires_us == INSTANT_NONE ? "without an end"
                                                       : instant_format(hold->expires_us, until),
                      hold->reason);
    }
    if (!facts->complete)
        audit_say(judging, AUDIT_UNKNOWN, "not all holds could be read");
    if (facts->hold_count == 0)
        audit_say(judging, AUDIT_PASS, "there are none");
    return 0;
}

/* -- the bucket, and what lies about ------------------------------------------------------- */

AUDIT_CONTROL(audit_bucket)
{
    static const enum audit_status STATUS[] = {[FINDING_PASS] = AUDIT_PASS,
                                               [FINDING_WARN] = AUDIT_WARN,
                                               [FINDING_FAIL] = AUDIT_FAIL,
                                               [FINDING_UNKNOWN] = AUDIT_UNKNOWN};
    const struct facts_audit *facts = judging->facts;
    _cleanup_(freep) struct retention_findings *findings = calloc(1, sizeof(*findings));
    if (!findings)
        return error_no_memory(err);
    if (audit_lacks_repository(judging))
        return 0;
    if (facts->bucket_problem)
        audit_say(judging, AUDIT_UNKNOWN, "its settings could not be read: %s",
                  facts->bucket_problem);
    else if (!facts->has_bucket)
        audit_say(judging, AUDIT_SKIP, "the repository is a folder");
    else
        retention_judge_bucket(&facts->bucket, judging->policy, judging->zones, judging->now_us,
                               findings);
    for (size_t i = 0; i < findings->count; i++)
        audit_say(judging, STATUS[findings->items[i].status], "%s: %.300s", findings->items[i].id,
                  findings->items[i].observed);
    return 0;
}

AUDIT_CONTROL(audit_remains)
{
    (void)err;
    const struct facts_audit *facts = judging->facts;
    char age[80], bytes[UNITS_TEXT_MAX];
    size_t garbage = 0;
    if (audit_lacks_repository(judging))
        return 0;
    for (size_t i = 0; i < facts->facts.backup_count; i++)
        if (facts->facts.backups[i].state == BACKUP_GARBAGE) {
            garbage++;
            audit_point(judging, "%s/%ss/%s", judging->policy->cluster,
                        backup_kind_name(facts->facts.backups[i].kind), facts->facts.backups[i].id);
        }
    for (size_t i = 0; i < facts->stray_count; i++)
        audit_point(judging, "%s", facts->strays[i].key);
    if (facts->stray_total)
        audit_say(judging, AUDIT_FAIL, "%lld foreign object%s of %s, such as %s",
                  (long long)facts->stray_total, facts->stray_total == 1 ? "" : "s",
                  size_format(facts->stray_bytes, bytes), facts->strays[0].key);
    if (garbage)
        audit_say(judging, AUDIT_WARN, "%zu unfinished backup%s of runs that died", garbage,
                  garbage == 1 ? "" : "s");
    if (facts->unfinished_count)
        audit_say(judging, AUDIT_WARN, "%lld writes that never ended, the oldest from %s",
                  (long long)facts->unfinished_count,
                  audit_age(judging, facts->unfinished_oldest_us, age));
    audit_say(judging, AUDIT_PASS, "every object belongs to a backup, to WAL or to the records");
    return 0;
}
