/* Which backups there were, those that are gone included: those that were made or deleted as the
 * evidence tells. And what a record of evidence is about. */
#include <stdlib.h>
#include <string.h>

#include "audit/judging.h"

static bool is_tombstone(const struct facts_record *record)
{
    return strcmp(record->type, "backup_removed") == 0 ||
           strcmp(record->type, "garbage_removed") == 0;
}

static int compare_history(const void *a, const void *b)
{
    const struct audit_backup *x = a, *y = b;
    int order = strcmp(x->job, y->job);
    if (order)
        return order;
    if (x->started_us != y->started_us)
        return x->started_us < y->started_us ? -1 : 1;
    return strcmp(x->id, y->id);
}

/* Of what is known of one backup the strongest: that it is there, that it was deleted, that it was
 * made. A tombstone whose backup is there still was without effect so far. */
static int rank(const struct audit_backup *entry)
{
    return entry->backup ? 2 : entry->removed_us != INSTANT_NONE;
}

/* Only the record of its making tells the due instant. */
static void merge(struct audit_backup *entry, const struct audit_backup *other)
{
    int64_t due_us = entry->due_us != INSTANT_NONE ? entry->due_us : other->due_us;
    if (rank(other) > rank(entry))
        *entry = *other;
    entry->due_us = due_us;
}

static void drop_twins(struct audit_report *report)
{
    size_t kept = 0;
    for (size_t i = 0; i < report->history_count; i++) {
        struct audit_backup *last = kept ? &report->history[kept - 1] : NULL;
        const struct audit_backup *next = &report->history[i];
        if (!last || strcmp(last->id, next->id) != 0 || strcmp(last->job, next->job) != 0)
            report->history[kept++] = *next;
        else
            merge(last, next);
    }
    report->history_count = kept;
}

static void add_record(struct audit_report *report, const struct facts_record *record)
{
    bool is_made = strcmp(record->type, "backup_made") == 0;
    if ((!is_made && !is_tombstone(record)) || record->started_us == INSTANT_NONE)
        return;
    report->history[report->history_count++] = (struct audit_backup){
        .id = record->id,
        .job = record->job,
        .kind = strcmp(record->kind, "snapshot") == 0 ? BACKUP_SNAPSHOT : BACKUP_DUMP,
        .started_us = record->started_us,
        .completed_us = record->completed_us,
        .due_us = is_made ? record->due_us : INSTANT_NONE,
        .removed_us = is_made ? INSTANT_NONE : record->at_us,
        .is_good = is_made || strcmp(record->state, "good") == 0,
        .databases = record->databases};
}

int audit_gather_history(struct audit_judging *judging, struct error *err)
{
    const struct facts_audit *facts = judging->facts;
    struct audit_report *report = judging->report;
    report->history =
        calloc(facts->facts.backup_count + facts->record_count + 1, sizeof(*report->history));
    if (!report->history)
        return error_no_memory(err);
    for (size_t i = 0; i < facts->facts.backup_count; i++) {
        const struct facts_backup *backup = &facts->facts.backups[i];
        if (backup->started_us == INSTANT_NONE)
            continue;
        report->history[report->history_count++] =
            (struct audit_backup){.id = backup->id,
                                  .job = backup->job ? backup->job : "",
                                  .kind = backup->kind,
                                  .started_us = backup->started_us,
                                  .completed_us = backup->completed_us,
                                  .due_us = INSTANT_NONE,
                                  .removed_us = INSTANT_NONE,
                                  .is_good = backup->state == BACKUP_GOOD,
                                  .databases = backup->databases,
                                  .backup = backup};
    }
    for (size_t i = 0; i < facts->record_count; i++)
        add_record(report, &facts->records[i]);
    qsort(report->history, report->history_count, sizeof(*report->history), compare_history);
    drop_twins(report);
    return 0;
}

/* The first entry of a job, or where it would be. */
static size_t find_job(const struct audit_report *report, const char *job, bool behind)
{
    size_t low = 0, high = report->history_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(report->history[middle].job, job);
        if (order < 0 || (behind && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct audit_backup *audit_history_of(const struct audit_judging *judging, const char *job,
                                            size_t *ret_count)
{
    size_t first = find_job(judging->report, job, false);
    *ret_count = find_job(judging->report, job, true) - first;
    return judging->report->history + first;
}

const struct audit_backup *audit_newest_good(const struct audit_judging *judging,
                                             const struct policy_job *job)
{
    size_t count;
    const struct audit_backup *history = audit_history_of(judging, job->name, &count);
    while (count > 0 && !(history[count - 1].is_good && history[count - 1].backup))
        count--;
    return count ? &history[count - 1] : NULL;
}

int64_t audit_other_policy_until(const struct audit_judging *judging)
{
    const struct facts_audit *facts = judging->facts;
    for (size_t i = facts->record_count; i > 0; i--) {
        const struct facts_record *record = &facts->records[i - 1];
        if (*record->policy_sha256 && strcmp(record->policy_sha256, judging->policy->sha256) != 0)
            return record->at_us;
    }
    return INSTANT_NONE;
}

const struct policy_job *audit_next_job(const struct policy *policy, enum job_type type,
                                        const struct policy_job *after)
{
    size_t i = after ? (size_t)(after - policy->jobs) + 1 : 0;
    for (; i < policy->job_count; i++)
        if (policy->jobs[i].type == type)
            return &policy->jobs[i];
    return NULL;
}

bool audit_makes_backups(const struct policy_job *job, enum backup_kind *ret_kind)
{
    if (job->type != JOB_DUMP && job->type != JOB_SNAPSHOT)
        return false;
    *ret_kind = job->type == JOB_DUMP ? BACKUP_DUMP : BACKUP_SNAPSHOT;
    return true;
}

const struct zone *audit_zone(const struct audit_judging *judging, const struct policy_job *job)
{
    const struct retention_zones *zones = judging->zones;
    const struct zone *own = zones->jobs ? zones->jobs[job - judging->policy->jobs] : NULL;
    return own ? own : zones->policy;
}

bool audit_is_proof(const struct facts_record *record)
{
    return strncmp(record->type, "verif", 5) == 0;
}

bool audit_is_drill(const struct facts_record *record)
{
    return strncmp(record->type, "drill", 5) == 0;
}

bool audit_went_well(const struct facts_record *record)
{
    static const char *const WORDS[] = {"pass", "passed", "done", "ok"};
    for (size_t i = 0; i < ARRAY_SIZE(WORDS); i++)
        if (strcmp(record->result, WORDS[i]) == 0)
            return true;
    return false;
}
