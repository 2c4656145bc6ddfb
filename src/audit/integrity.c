/* INT: is what is stored whole, proved, and like what was stored before? */
#include <stdlib.h>
#include <string.h>

#include "audit/judging.h"
#include "base/units.h"

enum { SIZES_MAX = 15, SIZES_MIN = 4 };

/* -- objects ------------------------------------------------------------------------------- */

static const struct facts_contents *find_contents(const struct facts_audit *facts, const char *id)
{
    size_t low = 0, high = facts->content_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(facts->contents[middle].id, id);
        if (order == 0)
            return &facts->contents[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

AUDIT_CONTROL(audit_objects)
{
    (void)err;
    const struct facts_audit *facts = judging->facts;
    size_t looked = 0;
    if (audit_lacks_repository(judging))
        return 0;
    if (!facts->has_contents) {
        audit_say(judging, AUDIT_UNKNOWN, "the objects were not listed");
        return 0;
    }
    for (size_t i = 0; i < facts->fault_count; i++) {
        const struct facts_fault *fault = &facts->faults[i];
        audit_say(judging, AUDIT_FAIL, "%s/%s %s", fault->id, fault->object, fault->what);
        audit_point(judging, "%s/%s", fault->id, fault->object);
    }
    if (facts->fault_total > (int64_t)facts->fault_count)
        audit_say(judging, AUDIT_FAIL, "%lld objects in all", (long long)facts->fault_total);
    for (size_t i = 0; i < facts->facts.backup_count; i++) {
        const struct facts_backup *backup = &facts->facts.backups[i];
        if (backup->state != BACKUP_GOOD && backup->state != BACKUP_DAMAGED)
            continue;
        const struct facts_contents *contents = find_contents(facts, backup->id);
        looked++;
        if (!contents || contents->bytes < backup->bytes_stored)
            audit_say(judging, AUDIT_FAIL, "%s has %lld of %lld bytes", backup->id,
                      contents ? (long long)contents->bytes : 0LL, (long long)backup->bytes_stored);
    }
    audit_say(judging, looked ? AUDIT_PASS : AUDIT_SKIP, "all objects of %zu backup%s", looked,
              looked == 1 ? "" : "s");
    return 0;
}

AUDIT_CONTROL(audit_states)
{
    (void)err;
    const struct facts *facts = &judging->facts->facts;
    size_t good = 0;
    if (audit_lacks_repository(judging))
        return 0;
    for (size_t i = 0; i < facts->backup_count; i++) {
        const struct facts_backup *backup = &facts->backups[i];
        good += backup->state == BACKUP_GOOD;
        if (backup->state == BACKUP_UNKNOWN)
            audit_say(judging, AUDIT_UNKNOWN, "%s can't be read", backup->id);
        else if (backup->state == BACKUP_DAMAGED)
            audit_say(judging, AUDIT_FAIL, "%s holds blocks that the server had damaged",
                      backup->id);
        else
            continue;
        audit_point(judging, "%s/%ss/%s/manifest.json", judging->policy->cluster,
                    backup_kind_name(backup->kind), backup->id);
    }
    if (facts->problem)
        audit_say(judging, AUDIT_UNKNOWN, "%s", facts->problem);
    audit_say(judging, good ? AUDIT_PASS : AUDIT_SKIP, "%zu can be read", good);
    return 0;
}

/* Evidence is read after the repository was listed, and clocks differ a little. */
#define MADE_LATELY_US (15 * US_PER_MINUTE)

AUDIT_CONTROL(audit_vanished)
{
    (void)err;
    const struct audit_report *report = judging->report;
    const struct facts_audit *facts = judging->facts;
    size_t made = 0;
    if (audit_lacks_repository(judging) || audit_lacks_evidence(judging))
        return 0;
    for (size_t i = 0; i < facts->record_count; i++)
        made += strcmp(facts->records[i].type, "backup_made") == 0;
    if (made == 0) {
        audit_say(judging, AUDIT_SKIP, "no record tells what was made");
        return 0;
    }
    for (size_t i = 0; i < report->history_count; i++) {
        const struct audit_backup *backup = &report->history[i];
        bool is_gone = !backup->backup && backup->removed_us == INSTANT_NONE;
        bool is_judged = backup->completed_us < judging->now_us - MADE_LATELY_US &&
                         (!judging->is_period || audit_in_period(judging, backup->started_us));
        if (!is_gone || !is_judged)
            continue;
        audit_say(judging, AUDIT_FAIL, "%s: %s is not there, and nobody deleted it on record",
                  backup->job, backup->id);
        audit_point(judging, "%s/%ss/%s", judging->policy->cluster, backup_kind_name(backup->kind),
                    backup->id);
    }
    audit_say(judging, AUDIT_PASS, "%zu on record, each is there or was deleted on record", made);
    return 0;
}

/* -- proofs -------------------------------------------------------------------------------- */

struct proof {
    int64_t at_us, failed_us; /* the last good one; the last one, if that found faults */
    int level;
    int64_t number;        /* of the newest record that speaks of the kind; 0: none */
    size_t stale, backups; /* good ones that were not proved in time, though old enough */
};

/* Each record of a verification repeats what has a fault still, so one without such an entry clears
 * what earlier ones said. A record that names no kind speaks of all that was looked at. */
static void take_record(const struct audit_judging *judging, enum backup_kind kind,
                        const struct facts_record *record, struct proof *proof)
{
    bool is_run = strcmp(record->kind, FACTS_RECORD_RUN) == 0;
    if (!audit_is_proof(record) || record->at_us > judging->to_us ||
        (!is_run && *record->kind && strcmp(record->kind, backup_kind_name(kind)) != 0))
        return;
    proof->number = record->number;
    if (is_run || audit_went_well(record))
        proof->failed_us = INSTANT_NONE;
    else if (strcmp(record->result, "fail") == 0)
        proof->failed_us = record->at_us;
    bool tells = (*record->kind && !is_run) || judging->is_period;
    if (audit_went_well(record) && tells && record->at_us >= proof->at_us) {
        proof->at_us = record->at_us;
        proof->level = record->level;
    }
}

static void take_backup(const struct audit_judging *judging, const struct facts_backup *backup,
                        struct proof *proof)
{
    int64_t oldest_us = judging->now_us - judging->policy->audit.verified_within_us;
    if (backup->state != BACKUP_GOOD)
        return;
    proof->backups++;
    if (backup->verified_level > 0 && backup->verified_us > proof->at_us) {
        proof->at_us = backup->verified_us;
        proof->level = backup->verified_level;
    }
    proof->stale += backup->completed_us != INSTANT_NONE && backup->completed_us < oldest_us &&
                    (backup->verified_level == 0 || backup->verified_us < oldest_us);
}

static struct proof find_proof(const struct audit_judging *judging, enum backup_kind kind)
{
    const struct facts_audit *facts = judging->facts;
    struct proof proof = {.at_us = INSTANT_NONE, .failed_us = INSTANT_NONE};
    for (size_t i = 0; i < facts->record_count; i++)
        take_record(judging, kind, &facts->records[i], &proof);
    for (size_t i = 0; i < facts->facts.backup_count && !judging->is_period; i++)
        if (facts->facts.backups[i].kind == kind)
            take_backup(judging, &facts->facts.backups[i], &proof);
    return proof;
}

static void judge_proof(struct audit_judging *judging, enum backup_kind kind)
{
    struct proof proof = find_proof(judging, kind);
    int64_t within_us = judging->policy->audit.verified_within_us;
    char age[80];
    if (proof.number)
        audit_point(judging, "%s/evidence/%010lld.json", judging->policy->cluster,
                    (long long)proof.number);
    if (proof.failed_us != INSTANT_NONE)
        audit_say(judging, AUDIT_FAIL, "%ss: the last proof, of %s, found faults",
                  backup_kind_name(kind), audit_age(judging, proof.failed_us, age));
    else if (proof.at_us == INSTANT_NONE)
        audit_say(judging, AUDIT_FAIL, "%ss: never proved", backup_kind_name(kind));
    else if (proof.at_us < judging->to_us - within_us)
        audit_say(judging, AUDIT_FAIL, "%ss: proved to level %d %s", backup_kind_name(kind),
                  proof.level, audit_age(judging, proof.at_us, age));
    else
        audit_say(judging, proof.level >= 2 ? AUDIT_PASS : AUDIT_WARN, "%ss: proved to level %d %s",
                  backup_kind_name(kind), proof.level, audit_age(judging, proof.at_us, age));
    if (proof.stale && proof.at_us != INSTANT_NONE)
        audit_say(judging, AUDIT_WARN, "%zu of %zu %ss were not proved in that time", proof.stale,
                  proof.backups, backup_kind_name(kind));
}

/* Faults that belong to no backup are told by the run alone; but segments that were found broken
 * are told again by each run until they are read and right, or gone. */
static void judge_last_run(struct audit_judging *judging)
{
    const struct facts_audit *facts = judging->facts;
    char age[80];
    for (size_t i = facts->record_count; i > 0; i--) {
        const struct facts_record *record = &facts->records[i - 1];
        if (!audit_is_proof(record) || record->at_us > judging->to_us)
            continue;
        if (strcmp(record->kind, FACTS_RECORD_WAL) == 0)
            audit_say(judging, AUDIT_FAIL, "WAL from %s on: a segment is broken", record->id);
        if (strcmp(record->kind, FACTS_RECORD_RUN) != 0)
            continue;
        if (strcmp(record->result, "fail") == 0)
            audit_say(judging, AUDIT_FAIL, "the last verification, of %s, found faults",
                      audit_age(judging, record->at_us, age));
        return;
    }
}

AUDIT_CONTROL(audit_verified)
{
    (void)err;
    char text[UNITS_TEXT_MAX];
    audit_require(judging, 0, "dumps and snapshots proved to level 2 within %s",
                  duration_format(judging->policy->audit.verified_within_us, text));
    if (audit_lacks_repository(judging) || audit_lacks_evidence(judging))
        return 0;
    if (audit_next_job(judging->policy, JOB_DUMP, NULL))
        judge_proof(judging, BACKUP_DUMP);
    if (audit_next_job(judging->policy, JOB_SNAPSHOT, NULL))
        judge_proof(judging, BACKUP_SNAPSHOT);
    judge_last_run(judging);
    return 0;
}

/* -- sizes --------------------------------------------------------------------------------- */

static int compare_sizes(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

enum measure { MEASURE_BYTES, MEASURE_ROWS };

static int64_t measure_of(const struct facts_backup *backup, enum measure measure)
{
    return measure == MEASURE_BYTES ? backup->bytes_source : backup->rows;
}

static char *measured(int64_t value, enum measure measure, char text[UNITS_TEXT_MAX])
{
    if (measure == MEASURE_BYTES)
        return size_format(value, text);
    snprintf(text, UNITS_TEXT_MAX, "%lld rows", (long long)value);
    return text;
}

static void judge_sizes(struct audit_judging *judging, const struct policy_job *job,
                        enum measure measure)
{
    size_t count, found = 0;
    int64_t sizes[SIZES_MAX], newest = 0;
    char now[UNITS_TEXT_MAX], before[UNITS_TEXT_MAX];
    const struct audit_backup *history = audit_history_of(judging, job->name, &count);
    for (size_t i = count; i > 0 && found < SIZES_MAX; i--)
        if (history[i - 1].is_good && history[i - 1].backup) {
            newest = found ? newest : measure_of(history[i - 1].backup, measure);
            sizes[found++] = measure_of(history[i - 1].backup, measure);
        }
    if (found < SIZES_MIN) {
        if (measure == MEASURE_BYTES)
            audit_say(judging, AUDIT_PASS, "%s: too few to compare", job->name);
        return;
    }
    qsort(sizes + 1, found - 1, sizeof(*sizes), compare_sizes);
    int64_t median = sizes[1 + (found - 1) / 2];
    audit_say(judging,
              newest < median / 10  ? AUDIT_FAIL
              : newest < median / 2 ? AUDIT_WARN
              : newest / 4 > median ? AUDIT_WARN
                                    : AUDIT_PASS,
              "%s: the newest read %s, the median before is %s", job->name,
              measured(newest, measure, now), measured(median, measure, before));
}

AUDIT_CONTROL(audit_sizes)
{
    (void)err;
    enum backup_kind kind;
    audit_require(judging, 0, "at least half of the median of the %d before", SIZES_MAX - 1);
    if (audit_lacks_repository(judging))
        return 0;
    for (size_t i = 0; i < judging->policy->job_count; i++)
        if (audit_makes_backups(&judging->policy->jobs[i], &kind)) {
            judge_sizes(judging, &judging->policy->jobs[i], MEASURE_BYTES);
            if (kind == BACKUP_DUMP)
                judge_sizes(judging, &judging->policy->jobs[i], MEASURE_ROWS);
        }
    return 0;
}

/* -- the chain, and the server's own checksums ---------------------------------------------- */

AUDIT_CONTROL(audit_chain)
{
    (void)err;
    const struct facts_audit *facts = judging->facts;
    if (facts->evidence_is_broken)
        audit_say(judging, AUDIT_FAIL, "%s", facts->evidence_problem);
    else if (!audit_lacks_evidence(judging))
        audit_say(judging, facts->evidence_tip ? AUDIT_PASS : AUDIT_SKIP,
                  "%lld records, each holds the hash of the one before",
                  (long long)facts->evidence_tip);
    if (facts->evidence_sha256)
        audit_point(judging, "record %lld has SHA-256 %s", (long long)facts->evidence_tip,
                    facts->evidence_sha256);
    return 0;
}

AUDIT_CONTROL(audit_checksums)
{
    (void)err;
    if (audit_lacks_server(judging))
        return 0;
    if (judging->facts->server.has_checksums)
        audit_say(judging, AUDIT_PASS, "data_checksums is on");
    else
        audit_say(judging, AUDIT_WARN, "data_checksums is off");
    return 0;
}
