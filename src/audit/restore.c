/* RST: does it come back, and how fast? Drills tell, by their evidence. */
#include <string.h>

#include "audit/judging.h"
#include "base/units.h"

/* A record that says whether the target was any moment and not only the newest. */
static bool is_random(const struct facts_record *record)
{
    return strstr(record->target, "random") != NULL;
}

static const struct facts_record *find_drill(const struct audit_judging *judging, bool well)
{
    const struct facts_audit *facts = judging->facts;
    for (size_t i = facts->record_count; i > 0; i--) {
        const struct facts_record *record = &facts->records[i - 1];
        if (audit_is_drill(record) && record->at_us <= judging->to_us &&
            (!well || audit_went_well(record)))
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

AUDIT_CONTROL(audit_drilled)
{
    (void)err;
    char text[UNITS_TEXT_MAX], age[80];
    audit_require(judging, 0, "a drill that passed within %s",
                  duration_format(judging->policy->audit.drilled_within_us, text));
    if (audit_lacks_evidence(judging))
        return 0;
    const struct facts_record *last = find_drill(judging, false), *good = find_drill(judging, true);
    if (!last) {
        audit_say(judging, AUDIT_FAIL, "none was ever tried");
        return 0;
    }
    point_at(judging, last);
    audit_age(judging, last->at_us, age);
    if (last != good)
        audit_say(judging, AUDIT_FAIL, "the last one, of %s, failed%s%.200s", age,
                  *last->reason ? ": " : "", last->reason);
    else if (is_late(judging, last))
        audit_say(judging, AUDIT_FAIL, "the last one that passed was %s", age);
    else
        audit_say(judging, AUDIT_PASS, "%s%s%s passed %s", last->kind, *last->kind ? " " : "",
                  last->id, age);
    return 0;
}

AUDIT_CONTROL(audit_drill_time)
{
    (void)err;
    char took[UNITS_TEXT_MAX], most[UNITS_TEXT_MAX];
    if (audit_lacks_evidence(judging))
        return 0;
    const struct facts_record *drill = find_drill(judging, true);
    if (!drill) {
        audit_say(judging, AUDIT_SKIP, "no drill has passed yet");
        return 0;
    }
    point_at(judging, drill);
    if (drill->rto_s > 0)
        audit_require(judging, 0, "at most %s",
                      duration_format(drill->rto_s * US_PER_SECOND, most));
    if (drill->duration_s < 0)
        audit_say(judging, AUDIT_UNKNOWN, "the drill does not tell how long it took");
    else if (drill->rto_s <= 0)
        audit_say(judging, AUDIT_PASS, "it took %s, and no rto: says how long it may",
                  duration_format(drill->duration_s * US_PER_SECOND, took));
    else
        audit_say(judging, drill->duration_s > drill->rto_s ? AUDIT_FAIL : AUDIT_PASS, "it took %s",
                  duration_format(drill->duration_s * US_PER_SECOND, took));
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
