/*
 * The metrics: one table of all that there are, and samples of them. What /metrics shows, what
 * `pgcairn metrics` prints and lists, and what the tests of the alert rules and the dashboard
 * compare with are the same rows.
 *
 *     struct samples samples = SAMPLES_INIT;
 *     samples_add(&samples, METRIC_JOB_RUNNING, 1, "demo", "nightly");    values of its labels
 *     rc = samples_failed(&samples, err);       the first failure of the adders, asked once
 *     rc = metrics_write(&samples, &out, err);  Prometheus text format 0.0.4
 *     samples_clear(&samples);
 *
 * A sample has as many label values as its row has labels; they are copied. A value that is not
 * known is not added: absent is told apart from zero. Times are seconds since 1970, durations
 * seconds, sizes bytes, as Prometheus has them.
 *
 * Samples travel from the process that gathered them as JSON: samples_to_json(),
 * samples_from_json().
 */
#ifndef PGCAIRN_WATCH_METRICS_H
#define PGCAIRN_WATCH_METRICS_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/instant.h"

enum {
    METRIC_LABELS_MAX = 4,
    SAMPLES_MAX = 500000,
    METRICS_BYTES_MAX = 128 << 20, /* of the text */
    METRIC_LABEL_BYTES_MAX = 512,  /* of one value; longer is cut */
};

enum metric_type { METRIC_GAUGE, METRIC_COUNTER };

/* Where it comes from, and with that how fresh it is. */
enum metric_source {
    FROM_DAEMON,     /* the daemon itself, now; not in what `pgcairn metrics` prints */
    FROM_JOURNAL,    /* the journal, now */
    FROM_GATHERING,  /* how the gathering itself went, now */
    FROM_REPOSITORY, /* the repository, when it was gathered last */
    FROM_SERVER,     /* the server, likewise */
    FROM_AUDIT,      /* a whole audit, gathered more rarely */
};

/* X(id, name behind "pgcairn_", type, source, labels with blanks between, help) */
#define METRIC_LIST(X)                                                                             \
    X(BUILD_INFO, "build_info", METRIC_GAUGE, FROM_JOURNAL, "version",                             \
      "1, with the version of pgcairn.")                                                           \
    X(DAEMON_HEARTBEAT, "daemon_heartbeat_timestamp_seconds", METRIC_GAUGE, FROM_JOURNAL, "",      \
      "When the daemon last wrote into its journal that it lives; it does so each minute.")        \
    X(DAEMON_STARTED, "daemon_start_timestamp_seconds", METRIC_GAUGE, FROM_JOURNAL, "",            \
      "When the daemon was started.")                                                              \
    X(DAEMON_RUNNING, "daemon_runs_running", METRIC_GAUGE, FROM_DAEMON, "",                        \
      "Runs that the daemon has started and that have not ended.")                                 \
    X(DAEMON_WAITING, "daemon_runs_waiting", METRIC_GAUGE, FROM_DAEMON, "",                        \
      "Runs that wait for their turn or for another attempt.")                                     \
    X(POLICIES, "policies", METRIC_GAUGE, FROM_DAEMON, "", "Policies in force.")                   \
    X(POLICY_FILES_BAD, "policy_files_bad", METRIC_GAUGE, FROM_DAEMON, "",                         \
      "Policy files that had errors when they were read last; a policy loaded before stays.")      \
    X(RELOAD_FAILURES, "policy_reload_failures_total", METRIC_COUNTER, FROM_DAEMON, "",            \
      "Reloads that found a bad policy file, since the daemon was started.")                       \
    X(JOURNAL_UP, "journal_up", METRIC_GAUGE, FROM_JOURNAL, "",                                    \
      "1 while the journal can be read, and the daemon can write it; 0 while not.")                \
    X(ALARMS, "alarms", METRIC_GAUGE, FROM_JOURNAL, "kind",                                        \
      "Alarms of `pgcairn status`: failing, missed, stale, paused, untold, daemon.")               \
    X(JOB_INFO, "job_info", METRIC_GAUGE, FROM_JOURNAL, "cluster job_name type schedule",          \
      "1, with the type and the schedule of each job of the policies.")                            \
    X(JOB_LAST_SUCCESS, "job_last_success_timestamp_seconds", METRIC_GAUGE, FROM_JOURNAL,          \
      "cluster job_name", "When the last run that did its work ended.")                            \
    X(JOB_LAST_END, "job_last_end_timestamp_seconds", METRIC_GAUGE, FROM_JOURNAL,                  \
      "cluster job_name", "When the last run ended, however it did.")                              \
    X(JOB_LAST_OK, "job_last_ok", METRIC_GAUGE, FROM_JOURNAL, "cluster job_name",                  \
      "1 when the last run did its work or had none to do, 0 when it failed, was interrupted or "  \
      "skipped.")                                                                                  \
    X(JOB_LAST_OUTCOME, "job_last_outcome", METRIC_GAUGE, FROM_JOURNAL,                            \
      "cluster job_name outcome",                                                                  \
      "1, with the outcome of the last run: done, failed, skipped, not_mine, interrupted.")        \
    X(JOB_LAST_DURATION, "job_last_duration_seconds", METRIC_GAUGE, FROM_JOURNAL,                  \
      "cluster job_name", "How long the last run that did its work took.")                         \
    X(JOB_LAST_SOURCE, "job_last_source_bytes", METRIC_GAUGE, FROM_JOURNAL, "cluster job_name",    \
      "Bytes that the last run that did its work read.")                                           \
    X(JOB_LAST_STORED, "job_last_stored_bytes", METRIC_GAUGE, FROM_JOURNAL, "cluster job_name",    \
      "Bytes that the last run that did its work stored.")                                         \
    X(JOB_PAUSED, "job_paused", METRIC_GAUGE, FROM_JOURNAL, "cluster job_name",                    \
      "1 while somebody has paused the job, 0 while not.")                                         \
    X(JOB_NEXT, "job_next_timestamp_seconds", METRIC_GAUGE, FROM_JOURNAL, "cluster job_name",      \
      "The next due instant.")                                                                     \
    X(JOB_PERIOD, "job_period_seconds", METRIC_GAUGE, FROM_JOURNAL, "cluster job_name",            \
      "The longest span between the last two due instants and the next.")                          \
    X(JOB_RUNNING, "job_running", METRIC_GAUGE, FROM_JOURNAL, "cluster job_name",                  \
      "1 while it runs, 0 while not.")                                                             \
    X(JOB_RUNNING_SINCE, "job_running_since_timestamp_seconds", METRIC_GAUGE, FROM_JOURNAL,        \
      "cluster job_name", "When the run that goes on was started; absent while none does.")        \
    X(JOB_PROGRESS, "job_progress_ratio", METRIC_GAUGE, FROM_JOURNAL, "cluster job_name",          \
      "How far the present phase of the run that goes on is, 0 to 1; absent while not known.")     \
    X(JOB_RUNS, "job_runs_total", METRIC_COUNTER, FROM_JOURNAL, "cluster job_name outcome",        \
      "Runs that ended, by outcome, since the journal was begun; of skipped ones those that were " \
      "not missed.")                                                                               \
    X(JOB_MISSED, "job_missed_total", METRIC_COUNTER, FROM_JOURNAL, "cluster job_name",            \
      "Absences of the daemon in which due instants passed that were not made up.")                \
    X(JOB_RETRIES, "job_retries_total", METRIC_COUNTER, FROM_JOURNAL, "cluster job_name",          \
      "Attempts beyond the first.")                                                                \
    X(JOB_STORED, "job_stored_bytes_total", METRIC_COUNTER, FROM_JOURNAL, "cluster job_name",      \
      "Bytes stored by all runs.")                                                                 \
    X(NOTICES_PENDING, "notifications_pending", METRIC_GAUGE, FROM_JOURNAL, "cluster",             \
      "Notifications that nobody has taken yet.")                                                  \
    X(NOTICES_FAILED, "notifications_failed", METRIC_GAUGE, FROM_JOURNAL, "cluster",               \
      "Notifications that were given up, of those still on record.")                               \
    X(FACTS_UP, "facts_up", METRIC_GAUGE, FROM_GATHERING, "cluster source",                        \
      "1 when the last gathering could read that source (repository, server, wal, audit), 0 when " \
      "not: then its metrics are absent, or those of an earlier one.")                             \
    X(FACTS_TIMESTAMP, "facts_timestamp_seconds", METRIC_GAUGE, FROM_GATHERING, "cluster source",  \
      "When the metrics of that source (repository, server, audit) were gathered.")                \
    X(FACTS_AGE, "facts_age_seconds", METRIC_GAUGE, FROM_GATHERING, "cluster source",              \
      "How old the metrics of that source are.")                                                   \
    X(FACTS_DURATION, "facts_duration_seconds", METRIC_GAUGE, FROM_GATHERING, "cluster part",      \
      "How long the last gathering of that part (facts, audit) took.")                             \
    X(FACTS_FAILURES, "facts_failures_total", METRIC_COUNTER, FROM_GATHERING, "cluster part",      \
      "Gatherings that came to nothing (killed, timed out), since the daemon was started.")        \
    X(BACKUPS, "backups", METRIC_GAUGE, FROM_REPOSITORY, "cluster kind state",                     \
      "Backups by kind (dump, snapshot) and state (good, damaged, running, garbage, unknown...).") \
    X(JOB_BACKUPS, "job_backups", METRIC_GAUGE, FROM_REPOSITORY, "cluster job_name",               \
      "Good backups of a job.")                                                                    \
    X(JOB_NEWEST, "job_newest_backup_timestamp_seconds", METRIC_GAUGE, FROM_REPOSITORY,            \
      "cluster job_name",                                                                          \
      "When the newest good backup of a job was whole, whichever machine made it.")                \
    X(STORED_BYTES, "stored_bytes", METRIC_GAUGE, FROM_REPOSITORY, "cluster kind",                 \
      "Bytes that the repository holds, by kind: dump, snapshot, wal.")                            \
    X(NEWEST_BACKUP, "newest_backup_timestamp_seconds", METRIC_GAUGE, FROM_REPOSITORY,             \
      "cluster kind", "The start of the newest good backup of a kind: what it holds is of then.")  \
    X(NEWEST_SOURCE, "newest_backup_source_bytes", METRIC_GAUGE, FROM_REPOSITORY, "cluster kind",  \
      "Bytes that the newest good backup of a kind was made of.")                                  \
    X(NEWEST_LEVEL, "newest_backup_verified_level", METRIC_GAUGE, FROM_REPOSITORY, "cluster kind", \
      "To which level the newest good backup of a kind is proved; 0: not.")                        \
    X(VERIFIED, "verified_timestamp_seconds", METRIC_GAUGE, FROM_REPOSITORY, "cluster kind",       \
      "When a good backup of a kind was last verified.")                                           \
    X(DRILLED, "drill_success_timestamp_seconds", METRIC_GAUGE, FROM_REPOSITORY, "cluster kind",   \
      "When a backup of a kind was last restored by a drill that passed.")                         \
    X(HOLDS, "holds", METRIC_GAUGE, FROM_REPOSITORY, "cluster", "Holds on backups.")               \
    X(WINDOW, "recovery_window_seconds", METRIC_GAUGE, FROM_REPOSITORY, "cluster",                 \
      "How far back from the newest recoverable moment any moment can be recovered without a "     \
      "gap.")                                                                                      \
    X(WINDOW_FROM, "recovery_window_start_timestamp_seconds", METRIC_GAUGE, FROM_REPOSITORY,       \
      "cluster", "The first moment of that window.")                                               \
    X(WINDOW_TO, "recovery_window_end_timestamp_seconds", METRIC_GAUGE, FROM_REPOSITORY,           \
      "cluster", "The newest moment that can be recovered.")                                       \
    X(WAL_LAG_SECONDS, "wal_lag_seconds", METRIC_GAUGE, FROM_SERVER, "cluster",                    \
      "Since when what is stored without a gap was all of the finished WAL; 0 without lag.")       \
    X(WAL_LAG_SEGMENTS, "wal_lag_segments", METRIC_GAUGE, FROM_SERVER, "cluster",                  \
      "Finished segments of WAL that are not stored, at the end.")                                 \
    X(WAL_GAPS, "wal_gaps", METRIC_GAUGE, FROM_REPOSITORY, "cluster state",                        \
      "Gaps in the stored WAL: delayed, uploading, lost, acknowledged, expired.")                  \
    X(WAL_MISSING, "wal_missing_segments", METRIC_GAUGE, FROM_REPOSITORY, "cluster",               \
      "Segments that lie in gaps, but for those that a prune removed.")                            \
    X(WAL_READY, "wal_ready_files", METRIC_GAUGE, FROM_SERVER, "cluster",                          \
      "Files that the server has finished and not yet archived.")                                  \
    X(WAL_BROKEN, "wal_archiving_broken", METRIC_GAUGE, FROM_SERVER, "cluster",                    \
      "1 while something keeps WAL from coming, 0 while not.")                                     \
    X(DATABASE_SIZE, "database_size_bytes", METRIC_GAUGE, FROM_SERVER, "cluster database",         \
      "The size of a database.")                                                                   \
    X(DATABASE_XID_AGE, "database_xid_age", METRIC_GAUGE, FROM_SERVER, "cluster database",         \
      "Transactions since the oldest unfrozen one; the server stops at two thousand million.")     \
    X(DATABASE_MXID_AGE, "database_mxid_age", METRIC_GAUGE, FROM_SERVER, "cluster database",       \
      "The same of multixacts.")                                                                   \
    X(FREEZE_MAX_AGE, "server_freeze_max_age", METRIC_GAUGE, FROM_SERVER, "cluster",               \
      "autovacuum_freeze_max_age: from that age on autovacuum is forced.")                         \
    X(CONNECTIONS, "server_connections", METRIC_GAUGE, FROM_SERVER, "cluster",                     \
      "Connections of clients.")                                                                   \
    X(CONNECTIONS_MAX, "server_connections_max", METRIC_GAUGE, FROM_SERVER, "cluster",             \
      "max_connections less those reserved for superusers.")                                       \
    X(SLOT_RETAINED, "slot_retained_bytes", METRIC_GAUGE, FROM_SERVER, "cluster slot active",      \
      "WAL that a replication slot makes the server keep.")                                        \
    X(CLOCK_OFFSET, "server_clock_offset_seconds", METRIC_GAUGE, FROM_SERVER, "cluster",           \
      "The server's clock less ours.")                                                             \
    X(AUDIT_CONTROLS, "audit_controls", METRIC_GAUGE, FROM_AUDIT, "cluster status",                \
      "Controls of the audit by status: PASS, FAIL, WARN, SKIP, UNKNOWN.")                         \
    X(AUDIT_CONTROL, "audit_control_open", METRIC_GAUGE, FROM_AUDIT,                               \
      "cluster control severity status", "1 for each control that is FAIL, UNKNOWN or WARN.")      \
    X(AUDIT_OK, "audit_ok", METRIC_GAUGE, FROM_AUDIT, "cluster",                                   \
      "1 when no control failed and none is unknown, 0 when not.")                                 \
    X(DRILL_LAST_OK, "drill_last_ok", METRIC_GAUGE, FROM_AUDIT, "cluster job_name",                \
      "1 when the last drill of a job passed by its evidence, 0 when not.")                        \
    X(DRILL_LAST_DURATION, "drill_last_duration_seconds", METRIC_GAUGE, FROM_AUDIT,                \
      "cluster job_name", "How long the restore of the last drill of a job took.")                 \
    X(STRAY_BYTES, "stray_bytes", METRIC_GAUGE, FROM_AUDIT, "cluster",                             \
      "Bytes in the repository that belong to nothing.")

enum metric_id {
#define X(id, name, type, source, labels, help) METRIC_##id,
    METRIC_LIST(X)
#undef X
        METRIC_COUNT,
};

struct metric {
    const char *name; /* whole */
    enum metric_type type;
    enum metric_source source;
    const char *labels;
    const char *help;
};

const struct metric *metric_row(enum metric_id id);
const char *metric_type_name(enum metric_type type);       /* "gauge" */
const char *metric_source_name(enum metric_source source); /* "journal" */
size_t metric_label_count(enum metric_id id);

struct sample {
    enum metric_id id;
    double value;
    char *labels; /* as in the text: cluster="a",job="b"; owned */
    size_t order; /* in which they came */
};

struct samples {
    struct sample *items;
    size_t count, allocated;
    int failed;
};

#define SAMPLES_INIT ((struct samples){0})

void samples_clear(struct samples *samples);

/* With a const char * for each label of the row. */
void samples_add(struct samples *samples, enum metric_id id, double value, ...);

/* An instant or a span in microseconds; INSTANT_NONE is left out. */
void samples_add_us(struct samples *samples, enum metric_id id, int64_t us, ...);

int samples_failed(const struct samples *samples, struct error *err);

/* The same once more. */
void samples_copy(struct samples *into, const struct sample *sample);

/* Moves all of `from` behind `into`; `from` is empty then. */
void samples_take(struct samples *into, struct samples *from);

/* The text format; ERR_LIMIT when it is too much. Orders the samples. */
int metrics_write(struct samples *samples, struct buf *out, struct error *err);

/* [{"name","labels":{},"value"}]; NULL without memory. From JSON what is of no metric of ours is
 * passed over, for a newer program may have gathered it. */
json_t *samples_to_json(const struct samples *samples);
int samples_from_json(const json_t *list, struct samples *ret_samples, struct error *err);

#endif
