/* WAL: is it whole, in time, and does it lead as far back as promised? */
#include <string.h>

#include "audit/judging.h"
#include "base/units.h"

/* Slots that hold more than this for nobody are told. */
#define IDLE_SLOT_BYTES INT64_C(1000000000)

/* A snapshot's end is told by two clocks, and to the second. */
#define CLOCKS_US US_PER_MINUTE

static const struct policy_job *wal_job(const struct audit_judging *judging)
{
    return audit_next_job(judging->policy, JOB_WAL, NULL);
}

/* True when there is nothing to judge, which is said then. */
static bool has_no_wal(struct audit_judging *judging)
{
    if (!wal_job(judging)) {
        audit_say(judging, AUDIT_SKIP, "the policy has no wal job");
        return true;
    }
    if (audit_lacks_repository(judging))
        return true;
    if (!judging->report->has_continuity)
        audit_say(judging, AUDIT_FAIL, "no WAL is stored");
    return !judging->report->has_continuity;
}

static void say_gap(struct audit_judging *judging, enum audit_status status,
                    const struct continuity_gap *gap)
{
    char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
    audit_say(judging, status, "%llu segment%s %s: %s to %s", (unsigned long long)gap->segments,
              gap->segments == 1 ? "" : "s", gap_state_name(gap->state),
              wal_name_format(&gap->first, first), wal_name_format(&gap->last, last));
}

AUDIT_CONTROL(audit_wal_whole)
{
    (void)err;
    const struct continuity *continuity = &judging->report->continuity;
    if (has_no_wal(judging))
        return 0;
    for (size_t i = 0; i < continuity->gap_count; i++) {
        if (continuity->gaps[i].state == GAP_LOST)
            say_gap(judging, AUDIT_FAIL, &continuity->gaps[i]);
        else if (continuity->gaps[i].state == GAP_ACKNOWLEDGED)
            say_gap(judging, AUDIT_WARN, &continuity->gaps[i]);
    }
    if (!continuity->knows_chain)
        audit_say(judging, AUDIT_FAIL, "the history of timeline %u is not stored",
                  continuity->timeline);
    for (size_t i = 0; i < judging->facts->facts.wal_count; i++)
        if (judging->facts->facts.wals[i].fault_count)
            audit_say(judging, AUDIT_FAIL, "%lld names of system %s have two contents or none",
                      (long long)judging->facts->facts.wals[i].fault_count,
                      judging->facts->facts.wals[i].system_identifier);
    audit_say(judging, AUDIT_PASS, "timeline %u is whole", continuity->timeline);
    audit_point(judging, "%s/wal/%s/", judging->policy->cluster,
                judging->facts->system_identifier ? judging->facts->system_identifier : "");
    return 0;
}

/* -- lag ----------------------------------------------------------------------------------- */

/* The hourly job writes a mark each time, so the newest moment may be as old as its last due
 * instant and what is allowed beyond. */
static int64_t oldest_allowed(const struct audit_judging *judging, const struct policy_job *job)
{
    int64_t limit_us = judging->policy->audit.wal_lag_us;
    int64_t due = job->schedule ? cron_previous(job->schedule, audit_zone(judging, job),
                                                (judging->now_us - limit_us) / US_PER_SECOND + 1)
                                : CRON_NEVER;
    return (due == CRON_NEVER ? judging->now_us : due * US_PER_SECOND) - limit_us;
}

AUDIT_CONTROL(audit_wal_lag)
{
    (void)err;
    char age[80], limit[UNITS_TEXT_MAX], lag[UNITS_TEXT_MAX];
    const struct policy_job *job = wal_job(judging);
    const struct facts_server *server = &judging->facts->server;
    const struct continuity *continuity = &judging->report->continuity;
    int64_t limit_us = judging->policy->audit.wal_lag_us;
    audit_require(judging, job ? job->line : 0, "at most %s behind",
                  duration_format(limit_us, limit));
    if (has_no_wal(judging))
        return 0;
    if (server->wal_problem)
        audit_say(judging, AUDIT_WARN, "the server did not tell what it archives: %.200s",
                  server->wal_problem);
    if (server->archive_problem)
        audit_say(judging, server->archive_is_broken ? AUDIT_FAIL : AUDIT_WARN, "%s",
                  server->archive_problem);
    if (continuity->lag_us > limit_us)
        audit_say(judging, AUDIT_FAIL, "%lld finished segments are not stored, the oldest for %s",
                  (long long)continuity->lag_segments, duration_format(continuity->lag_us, lag));
    if (continuity->newest_us == INSTANT_NONE ||
        continuity->newest_us < oldest_allowed(judging, job))
        audit_say(judging, AUDIT_FAIL, "what is stored leads to %s",
                  audit_age(judging, continuity->newest_us, age));
    audit_say(judging, AUDIT_PASS, "what is stored leads to %s, %lld segments are on their way",
              audit_age(judging, continuity->newest_us, age), (long long)continuity->lag_segments);
    return 0;
}

/* -- the window ---------------------------------------------------------------------------- */

static int64_t longest_within(const struct policy *policy, int *ret_line)
{
    const struct policy_job *job = NULL;
    int64_t within_us = 0;
    while ((job = audit_next_job(policy, JOB_WAL, job)))
        if (job->keep.within_us > within_us) {
            within_us = job->keep.within_us;
            *ret_line = job->keep.line;
        }
    return within_us;
}

/* When the first snapshot that there ever was ended; before it nothing could be promised. */
static int64_t first_snapshot(const struct audit_judging *judging)
{
    const struct audit_report *report = judging->report;
    int64_t first_us = INSTANT_NONE;
    for (size_t i = 0; i < report->history_count; i++) {
        const struct audit_backup *backup = &report->history[i];
        if (backup->kind == BACKUP_SNAPSHOT && backup->is_good &&
            backup->completed_us != INSTANT_NONE &&
            (first_us == INSTANT_NONE || backup->completed_us < first_us))
            first_us = backup->completed_us;
    }
    return first_us;
}

static void judge_window(struct audit_judging *judging, int64_t within_us)
{
    const struct continuity *continuity = &judging->report->continuity;
    const struct continuity_window *last =
        continuity->window_count ? &continuity->windows[continuity->window_count - 1] : NULL;
    char from[INSTANT_TEXT_MAX], to[INSTANT_TEXT_MAX];
    int64_t begin_us = judging->now_us - within_us, first_us = first_snapshot(judging);
    if (!last) {
        audit_say(judging, AUDIT_FAIL, "no moment can be recovered");
        return;
    }
    audit_point(judging, "anchor %s/snapshots/%s", judging->policy->cluster, last->anchor_id);
    instant_format(last->from_us, from);
    instant_format(last->to_us, to);
    if (!last->is_open)
        audit_say(judging, AUDIT_FAIL, "recovery ends at %s, what came later is cut off", to);
    else if (last->from_us <= begin_us)
        audit_say(judging, AUDIT_PASS, "any moment from %s on", from);
    else if (first_us != INSTANT_NONE && first_us > begin_us &&
             last->from_us <= first_us + CLOCKS_US)
        audit_say(judging, AUDIT_WARN, "any moment from %s on, when the first snapshot ended",
                  from);
    else
        audit_say(judging, AUDIT_FAIL, "moments before %s are lost%s", from,
                  continuity->window_count > 1 ? ", but for older windows" : "");
}

AUDIT_CONTROL(audit_recovery_window)
{
    (void)err;
    char text[UNITS_TEXT_MAX];
    int line = 0;
    int64_t within_us = longest_within(judging->policy, &line);
    if (within_us)
        audit_require(judging, line, "any moment of the last %s", duration_format(within_us, text));
    if (has_no_wal(judging))
        return 0;
    if (!audit_next_job(judging->policy, JOB_SNAPSHOT, NULL))
        audit_say(judging, AUDIT_FAIL,
                  "the policy has no snapshot job: WAL alone recovers nothing");
    else
        judge_window(judging, within_us);
    return 0;
}

/* -- slots --------------------------------------------------------------------------------- */

AUDIT_CONTROL(audit_slots)
{
    (void)err;
    const struct facts_server *server = &judging->facts->server;
    char held[UNITS_TEXT_MAX];
    if (audit_lacks_server(judging))
        return 0;
    for (size_t i = 0; i < server->slot_count; i++) {
        const struct facts_row *slot = &server->slots[i];
        bool is_lost = slot->state && strcmp(slot->state, "lost") == 0;
        size_format(slot->number, held);
        if (is_lost)
            audit_say(judging, AUDIT_FAIL, "slot %s has lost its WAL", slot->name);
        else if (!slot->is_active && slot->number > IDLE_SLOT_BYTES)
            audit_say(judging, AUDIT_FAIL, "slot %s is not in use and holds %s", slot->name, held);
        else if (!slot->is_active)
            audit_say(judging, AUDIT_WARN, "slot %s is not in use and holds %s", slot->name, held);
        else
            audit_say(judging, AUDIT_PASS, "slot %s is in use", slot->name);
        if (slot->command)
            audit_point(judging, "%s", slot->command);
    }
    if (!server->knows_slots)
        audit_say(judging, AUDIT_UNKNOWN, "the server did not tell its slots");
    else if (server->slot_count == 0)
        audit_say(judging, AUDIT_PASS, "the server has no slots");
    return 0;
}
