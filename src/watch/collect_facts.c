#include "watch/collect.h"

#include <string.h>

static const struct facts_backup *newest_good(const struct facts *facts, enum backup_kind kind)
{
    const struct facts_backup *newest = NULL;
    for (size_t i = 0; i < facts->backup_count; i++) {
        const struct facts_backup *backup = &facts->backups[i];
        if (backup->kind == kind && backup->state == BACKUP_GOOD &&
            (!newest || backup->started_us > newest->started_us))
            newest = backup;
    }
    return newest;
}

/* -- backups --------------------------------------------------------------------------------- */

static void collect_states(const struct facts *facts, enum backup_kind kind,
                           struct samples *samples)
{
    const char *cluster = facts->cluster, *name = backup_kind_name(kind);
    double counts[BACKUP_UNKNOWN + 1] = {0}, bytes = 0;
    int64_t verified_us = INSTANT_NONE, drilled_us = INSTANT_NONE;
    for (size_t i = 0; i < facts->backup_count; i++) {
        const struct facts_backup *backup = &facts->backups[i];
        if (backup->kind != kind)
            continue;
        counts[backup->state]++;
        bytes += (double)backup->bytes_stored;
        if (backup->state == BACKUP_GOOD && backup->verified_level > 0 &&
            backup->verified_us > verified_us)
            verified_us = backup->verified_us;
        if (backup->drilled_us > drilled_us)
            drilled_us = backup->drilled_us;
    }
    for (int state = 0; state <= BACKUP_UNKNOWN; state++)
        samples_add(samples, METRIC_BACKUPS, counts[state], cluster, name,
                    backup_state_name((enum backup_state)state));
    samples_add(samples, METRIC_STORED_BYTES, bytes, cluster, name);
    samples_add_us(samples, METRIC_VERIFIED, verified_us, cluster, name);
    samples_add_us(samples, METRIC_DRILLED, drilled_us, cluster, name);
}

static void collect_kind(const struct facts *facts, enum backup_kind kind, struct samples *samples)
{
    const struct facts_backup *newest = newest_good(facts, kind);
    collect_states(facts, kind, samples);
    if (!newest)
        return;
    const char *cluster = facts->cluster, *name = backup_kind_name(kind);
    samples_add_us(samples, METRIC_NEWEST_BACKUP, newest->started_us, cluster, name);
    samples_add(samples, METRIC_NEWEST_SOURCE, (double)newest->bytes_source, cluster, name);
    samples_add(samples, METRIC_NEWEST_LEVEL, newest->verified_level, cluster, name);
}

static void collect_job_backups(const struct facts *facts, const struct policy_job *job,
                                struct samples *samples)
{
    int64_t newest_us = INSTANT_NONE;
    size_t count = 0;
    for (size_t i = 0; i < facts->backup_count; i++) {
        const struct facts_backup *backup = &facts->backups[i];
        if (backup->state != BACKUP_GOOD || !backup->job || strcmp(backup->job, job->name) != 0)
            continue;
        count++;
        if (backup->completed_us > newest_us)
            newest_us = backup->completed_us;
    }
    samples_add(samples, METRIC_JOB_BACKUPS, (double)count, facts->cluster, job->name);
    samples_add_us(samples, METRIC_JOB_NEWEST, newest_us, facts->cluster, job->name);
}

static void collect_jobs_backups(const struct audit_report *report, struct samples *samples)
{
    for (size_t i = 0; i < report->policy->job_count; i++) {
        const struct policy_job *job = &report->policy->jobs[i];
        if (job->type == JOB_DUMP || job->type == JOB_SNAPSHOT)
            collect_job_backups(&report->facts->facts, job, samples);
    }
}

static void collect_repository(const struct audit_report *report, struct samples *samples)
{
    const struct facts *facts = &report->facts->facts;
    double bytes = 0;
    collect_kind(facts, BACKUP_DUMP, samples);
    collect_kind(facts, BACKUP_SNAPSHOT, samples);
    collect_jobs_backups(report, samples);
    for (size_t i = 0; i < facts->wal_count; i++)
        for (size_t k = 0; k < facts->wals[i].timeline_count; k++)
            bytes += (double)facts->wals[i].timelines[k].bytes;
    samples_add(samples, METRIC_STORED_BYTES, bytes, facts->cluster, "wal");
    samples_add(samples, METRIC_HOLDS, (double)facts->hold_count, facts->cluster);
}

/* -- WAL ------------------------------------------------------------------------------------- */

static void collect_gaps(const char *cluster, const struct continuity *continuity,
                         struct samples *samples)
{
    double counts[GAP_EXPIRED + 1] = {0};
    for (size_t i = 0; i < continuity->gap_count; i++)
        counts[continuity->gaps[i].state]++;
    for (int state = 0; state <= GAP_EXPIRED; state++)
        samples_add(samples, METRIC_WAL_GAPS, counts[state], cluster,
                    gap_state_name((enum gap_state)state));
}

/* The window that reaches to the end of what is stored; an older one is history, its length no
 * promise of today. */
static void collect_window(const char *cluster, const struct continuity *continuity,
                           struct samples *samples)
{
    const struct continuity_window *window =
        continuity->window_count ? &continuity->windows[continuity->window_count - 1] : NULL;
    if (!window || !window->is_open) {
        samples_add(samples, METRIC_WINDOW, 0, cluster);
        return;
    }
    samples_add_us(samples, METRIC_WINDOW, window->to_us - window->from_us, cluster);
    samples_add_us(samples, METRIC_WINDOW_FROM, window->from_us, cluster);
    samples_add_us(samples, METRIC_WINDOW_TO, window->to_us, cluster);
}

static void collect_wal(const struct audit_report *report, struct samples *samples)
{
    const struct continuity *continuity = &report->continuity;
    const struct facts_server *server = &report->facts->server;
    const char *cluster = report->policy->cluster;
    bool knows_server = server->was_asked && !server->problem && !server->wal_problem;
    if (!report->has_continuity)
        return;
    collect_gaps(cluster, continuity, samples);
    collect_window(cluster, continuity, samples);
    samples_add(samples, METRIC_WAL_MISSING, (double)continuity->missing_segments, cluster);
    if (!knows_server)
        return; /* what is stored last would be taken for all that there is */
    samples_add(samples, METRIC_WAL_LAG_SEGMENTS, (double)continuity->lag_segments, cluster);
    samples_add_us(samples, METRIC_WAL_LAG_SECONDS, continuity->lag_us, cluster);
}

/* -- the server ------------------------------------------------------------------------------ */

static void collect_server(const struct audit_report *report, struct samples *samples)
{
    const struct facts_server *server = &report->facts->server;
    const char *cluster = report->policy->cluster;
    samples_add_us(samples, METRIC_CLOCK_OFFSET, server->clock_offset_us, cluster);
    samples_add(samples, METRIC_FREEZE_MAX_AGE, (double)server->freeze_max_age, cluster);
    if (server->knows_ready)
        samples_add(samples, METRIC_WAL_READY, (double)server->ready_count, cluster);
    if (server->timeline > 0)
        samples_add(samples, METRIC_WAL_BROKEN, server->archive_problem != NULL, cluster);
    for (size_t i = 0; i < server->slot_count; i++)
        samples_add(samples, METRIC_SLOT_RETAINED, (double)server->slots[i].number, cluster,
                    server->slots[i].name, server->slots[i].is_active ? "true" : "false");
}

/* -- the audit ------------------------------------------------------------------------------- */

static void collect_controls(const struct audit_report *report, struct samples *samples)
{
    const char *cluster = report->policy->cluster;
    for (int status = 0; status < AUDIT_STATUS_COUNT; status++)
        samples_add(samples, METRIC_AUDIT_CONTROLS, (double)report->counts[status], cluster,
                    audit_status_name((enum audit_status)status));
    for (size_t i = 0; i < report->count; i++) {
        const struct audit_finding *finding = &report->findings[i];
        if (finding->status > AUDIT_PASS)
            samples_add(samples, METRIC_AUDIT_CONTROL, 1, cluster, finding->control->id,
                        audit_severity_name(finding->control->severity),
                        audit_status_name(finding->status));
    }
    samples_add(samples, METRIC_AUDIT_OK, report->result == AUDIT_PASS, cluster);
}

static bool is_drill_of(const struct facts_record *record, const char *job)
{
    return strcmp(record->type, "drill") == 0 && strcmp(record->job, job) == 0;
}

static void collect_drills(const struct audit_report *report, struct samples *samples)
{
    const struct facts_audit *facts = report->facts;
    for (size_t k = 0; k < report->policy->job_count; k++) {
        const struct policy_job *job = &report->policy->jobs[k];
        const struct facts_record *last = NULL;
        for (size_t i = 0; i < facts->record_count && job->type == JOB_DRILL; i++)
            if (is_drill_of(&facts->records[i], job->name))
                last = &facts->records[i];
        if (!last)
            continue;
        samples_add(samples, METRIC_DRILL_LAST_OK, strcmp(last->result, "pass") == 0,
                    report->policy->cluster, job->name);
        if (last->duration_s >= 0)
            samples_add(samples, METRIC_DRILL_LAST_DURATION, (double)last->duration_s,
                        report->policy->cluster, job->name);
    }
}

void collect_facts(const struct audit_report *report, bool is_audit, struct samples *samples)
{
    const struct facts_audit *facts = report->facts;
    if (!is_audit && !facts->repository_problem)
        collect_repository(report, samples);
    if (!is_audit && !facts->repository_problem)
        collect_wal(report, samples);
    if (!is_audit && facts->server.was_asked && !facts->server.problem)
        collect_server(report, samples);
    if (is_audit) {
        collect_controls(report, samples);
        collect_drills(report, samples);
        samples_add(samples, METRIC_STRAY_BYTES, (double)facts->stray_bytes,
                    report->policy->cluster);
    }
}
