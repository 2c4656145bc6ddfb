/*
 * What the controls work on, private to this folder. A control says what it sees, line by line,
 * each with a status; the worst of them is its verdict, and the lines of that status are what the
 * finding shows. Order of calls within a control is free:
 *
 *     audit_require(judging, line, "newest good backup at most %s old", text);
 *     audit_say(judging, AUDIT_FAIL, "app: newest good backup is from %s", text);
 *     audit_point(judging, "%s/dumps/%s", cluster, id);      evidence
 *
 * One that says nothing is SKIP. Each returns 0; ERR_MEMORY is kept and returned at the end by
 * judge.c, so that controls need not look after each line.
 */
#ifndef PGCAIRN_AUDIT_JUDGING_H
#define PGCAIRN_AUDIT_JUDGING_H

#include "audit/audit.h"
#include "base/buf.h"

struct audit_judging {
    const struct facts_audit *facts;
    const struct policy *policy;
    const struct retention_zones *zones;
    int64_t now_us;
    bool is_period;
    int64_t from_us, to_us; /* the period, or the look back from now */
    struct audit_report *report;
    /* of the control that is being judged */
    struct audit_finding *finding;
    struct strv lines[AUDIT_STATUS_COUNT];
    size_t line_counts[AUDIT_STATUS_COUNT];
    size_t point_count;
    int failed;
};

void audit_say(struct audit_judging *judging, enum audit_status status, const char *format, ...)
    _printf_(3, 4);
void audit_point(struct audit_judging *judging, const char *format, ...) _printf_(2, 3);
/* line: of the policy file; 0 when it says nothing of this. */
void audit_require(struct audit_judging *judging, int line, const char *format, ...) _printf_(3, 4);

/* Says UNKNOWN and returns true when that part of the facts has a problem. */
bool audit_lacks_repository(struct audit_judging *judging);
bool audit_lacks_server(struct audit_judging *judging);
bool audit_lacks_evidence(struct audit_judging *judging);

/* Jobs by type, and whether one makes backups of a kind. */
const struct policy_job *audit_next_job(const struct policy *policy, enum job_type type,
                                        const struct policy_job *after);
bool audit_makes_backups(const struct policy_job *job, enum backup_kind *ret_kind);
const struct zone *audit_zone(const struct audit_judging *judging, const struct policy_job *job);

/* The backups of a job among judging->report->history, oldest first. */
const struct audit_backup *audit_history_of(const struct audit_judging *judging, const char *job,
                                            size_t *ret_count);
/* The newest good one that is there; NULL when there is none. */
const struct audit_backup *audit_newest_good(const struct audit_judging *judging,
                                             const struct policy_job *job);
/* Until when another policy was in force, as far as audits on record tell: what was due or deleted
 * by then was perhaps not so under it. */
int64_t audit_other_policy_until(const struct audit_judging *judging);
int audit_gather_history(struct audit_judging *judging, struct error *err);

/* Whether the repository is a folder, or a service of this machine. */
bool audit_is_store_local(const struct audit_judging *judging);

/* "3d 4h ago" for people, "never" for INSTANT_NONE. */
const char *audit_age(const struct audit_judging *judging, int64_t at_us, char text[80]);

/* Whether a record tells of a proof or a drill, and whether it ended well. */
bool audit_is_proof(const struct facts_record *record);
bool audit_is_drill(const struct facts_record *record);
bool audit_went_well(const struct facts_record *record);
bool audit_in_period(const struct audit_judging *judging, int64_t at_us);

#define AUDIT_CONTROL(name) int name(struct audit_judging *judging, struct error *err)

AUDIT_CONTROL(audit_databases_covered);
AUDIT_CONTROL(audit_globals_paired);
AUDIT_CONTROL(audit_copies);
AUDIT_CONTROL(audit_location);
AUDIT_CONTROL(audit_newest_age);
AUDIT_CONTROL(audit_missed);
AUDIT_CONTROL(audit_success_rate);
AUDIT_CONTROL(audit_wal_whole);
AUDIT_CONTROL(audit_wal_lag);
AUDIT_CONTROL(audit_recovery_window);
AUDIT_CONTROL(audit_slots);
AUDIT_CONTROL(audit_deleted_rightly);
AUDIT_CONTROL(audit_over_retention);
AUDIT_CONTROL(audit_plan_ready);
AUDIT_CONTROL(audit_holds);
AUDIT_CONTROL(audit_bucket);
AUDIT_CONTROL(audit_remains);
AUDIT_CONTROL(audit_objects);
AUDIT_CONTROL(audit_states);
AUDIT_CONTROL(audit_verified);
AUDIT_CONTROL(audit_sizes);
AUDIT_CONTROL(audit_chain);
AUDIT_CONTROL(audit_checksums);
AUDIT_CONTROL(audit_vanished);
AUDIT_CONTROL(audit_drilled);
AUDIT_CONTROL(audit_drill_time);
AUDIT_CONTROL(audit_drill_moments);
AUDIT_CONTROL(audit_server_tls);
AUDIT_CONTROL(audit_store_tls);
AUDIT_CONTROL(audit_encrypted);
AUDIT_CONTROL(audit_file_modes);
AUDIT_CONTROL(audit_role);
AUDIT_CONTROL(audit_public);
AUDIT_CONTROL(audit_daemon);
AUDIT_CONTROL(audit_clocks);
AUDIT_CONTROL(audit_policy_changes);
AUDIT_CONTROL(audit_other_jobs);
AUDIT_CONTROL(audit_failures_told);
AUDIT_CONTROL(audit_wraparound);
AUDIT_CONTROL(audit_invalid_indexes);
AUDIT_CONTROL(audit_xmin_holders);
AUDIT_CONTROL(audit_collations);

#endif
