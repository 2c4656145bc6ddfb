/* RST: does it come back, and how fast? Drills tell, by their evidence. */
#include <string.h>

#include "audit/judging.h"
#include "base/units.h"

/* A record that says whether the target was any moment and not only the newest. */
static bool is_random(const struct facts_record *record)
{
    return strstr(record->target, "random") != NULL;
}

/* A drill that could not tell, as of a repository that did not answer. */
static bool is_unknown(const struct facts_record *record)
{
    return strcmp(record->result, "unknown") == 0;
}

enum wanted { ANY, DECIDED, PASSED };

/* The newest drill of a job; of any (NULL). One that tells no job counts for each. */
static const struct facts_record *find_drill(const struct audit_judging *judging,
                                             const struct policy_job *job, enum wanted wanted)
{
    const struct facts_audit *facts = judging->facts;
    for (size_t i = facts->record_count; i > 0; i--) {
        const struct facts_record *record = &facts->records[i - 1];
        if (!audit_is_drill(record) || record->at_us > judging->to_us ||
            (job && *record->job && strcmp(record->job, job->name) != 0))
            continue;
        if (wanted == ANY || audit_went_well(record) || (wanted == DECIDED && !is_unknown(record)))
            return record;
    }
    return NULL;
}

static bool is_late(const struct audit_judging *judging, const struct facts_record *record)
{
    return record->at_us < judging->to_us - judging->policy->audit.drilled_within_us;
}

static void point_at(struct audit_judging *judging, const struct facts_record *record)
{
    audit_point(judging, "%s/evidence/%010lld.json", judging->policy->cluster,
                (long long)record->number);
}

/* prefix: of each line, where there are several jobs. */
static void judge_drills(struct audit_judging *judging, const struct policy_job *job,
                         const char *prefix)
{
    const struct facts_record *newest = find_drill(judging, job, ANY),
                              *last = find_drill(judging, job, DECIDED),
                              *good = find_drill(judging, job, PASSED);
    char age[80];
    if (newest)
        point_at(judging, newest);
    if (!newest)
        audit_say(judging, AUDIT_FAIL, "%snone was ever tried", prefix);
    else if (last && last != good)
        audit_say(judging, AUDIT_FAIL, "%sthe last one, of %s, failed%s%.200s", prefix,
                  audit_age(judging, last->at_us, age), *last->reason ? ": " : "", last->reason);
    else if (newest != last)
        audit_say(judging, good && is_late(judging, good) ? AUDIT_FAIL : AUDIT_UNKNOWN,
                  "%sthe last one, of %s, could not tell%s%.200s", prefix,
                  audit_age(judging, newest->at_us, age), *newest->reason ? ": " : "",
                  newest->reason);
    else if (is_late(judging, last))
        audit_say(judging, AUDIT_FAIL, "%sthe last one that passed was %s", prefix,
                  audit_age(judging, last->at_us, age));
    else
        audit_say(judging, AUDIT_PASS, "%s%s%s%s passed %s", prefix, last->kind,
                  *last->kind ? " " : "", last->id, audit_age(judging, last->at_us, age));
}

AUDIT_CONTROL(audit_drilled)
{
    (void)err;
    char text[UNITS_TEXT_MAX], prefix[80];
    const struct policy_job *job = audit_next_job(judging->policy, JOB_DRILL, NULL);
    audit_require(judging, 0, "a drill that passed within %s",
                  duration_format(judging->policy->audit.drilled_within_us, text));
    if (audit_lacks_evidence(judging))
        return 0;
    if (!job || !audit_next_job(judging->policy, JOB_DRILL, job)) {
        judge_drills(judging, NULL, "");
        return 0;
    }
    for (; job; job = audit_next_job(judging->policy, JOB_DRILL, job)) {
        snprintf(prefix, sizeof(prefix), "%s: ", job->name);
        judge_drills(judging, job, prefix);
    }
    return 0;
}

static void judge_time(struct audit_judging *judging, const struct facts_record *drill,
                       const char *prefix)
{
    char took[UNITS_TEXT_MAX], most[UNITS_TEXT_MAX];
    point_at(judging, drill);
    if (drill->rto_s > 0)
        audit_require(judging, 0, "at most %s",
                      duration_format(drill->rto_s * US_PER_SECOND, most));
    duration_format(drill->duration_s > 0 ? drill->duration_s * US_PER_SECOND : 0, took);
    if (drill->duration_s < 0)
        audit_say(judging, AUDIT_UNKNOWN, "%sthe drill does not tell how long it took", prefix);
    else if (drill->rto_s <= 0)
        audit_say(judging, AUDIT_PASS, "%sit took %s, and no rto: says how long it may", prefix,
                  took);
    else
        audit_say(judging, drill->duration_s > drill->rto_s ? AUDIT_FAIL : AUDIT_PASS,
                  "%sit took %s", prefix, took);
}

AUDIT_CONTROL(audit_drill_time)
{
    (void)err;
    char prefix[80] = "";
    const struct policy_job *job = audit_next_job(judging->policy, JOB_DRILL, NULL);
    bool is_one = !job || !audit_next_job(judging->policy, JOB_DRILL, job), any = false;
    if (audit_lacks_evidence(judging))
        return 0;
    do {
        const struct facts_record *drill = find_drill(judging, is_one ? NULL : job, PASSED);
        if (!is_one)
            snprintf(prefix, sizeof(prefix), "%s: ", job->name);
        if (drill)
            judge_time(judging, drill, prefix);
        any |= drill != NULL;
        job = is_one ? NULL : audit_next_job(judging->policy, JOB_DRILL, job);
    } while (job);
    if (!any)
        audit_say(judging, AUDIT_SKIP, "no drill has passed yet");
    return 0;
}

AUDIT_CONTROL(audit_drill_moments)
{
    (void)err;
    const struct facts_audit *facts = judging->facts;
    size_t drills = 0, random = 0;
    if (audit_lacks_evidence(judging))
        return 0;
    if (!audit_next_job(judging->policy, JOB_WAL, NULL)) {
        audit_say(judging, AUDIT_SKIP, "without WAL there is no other moment");
        return 0;
    }
    for (size_t i = 0; i < facts->record_count; i++) {
        const struct facts_record *record = &facts->records[i];
        if (!audit_is_drill(record) || !audit_went_well(record) || is_late(judging, record) ||
            record->at_us > judging->to_us)
            continue;
        drills++;
        random += is_random(record);
        if (is_random(record))
            point_at(judging, record);
    }
    if (drills == 0)
        audit_say(judging, AUDIT_SKIP, "no drill has passed lately");
    else
        audit_say(judging, random ? AUDIT_PASS : AUDIT_WARN, "%zu of %zu drills", random, drills);
    return 0;
}
