#include "facts/audit.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "facts/fields.h"

/* A row of a table: its name in JSON is the member's, but for the unit of times. */
#define OF(type, member) offsetof(struct type, member)
#define TEXT(type, member)                                              \
    {                                                                   \
        .name = #member, .kind = FIELD_TEXT, .offset = OF(type, member) \
    }
#define NAME(type, member)                                              \
    {                                                                   \
        .name = #member, .kind = FIELD_NAME, .offset = OF(type, member) \
    }
#define CHARS(type, member)                                               \
    {                                                                     \
        .name = #member, .kind = FIELD_CHARS, .offset = OF(type, member), \
        .size = sizeof(((struct type *)0)->member)                        \
    }
#define TEXTS(type, member)                                                                        \
    {                                                                                              \
        .name = #member, .kind = FIELD_TEXTS, .offset = OF(type, member), .limit = FACTS_TEXTS_MAX \
    }
#define LONG(type, member)                                              \
    {                                                                   \
        .name = #member, .kind = FIELD_LONG, .offset = OF(type, member) \
    }
#define INTEGER(type, member)                                              \
    {                                                                      \
        .name = #member, .kind = FIELD_INTEGER, .offset = OF(type, member) \
    }
#define FLAG(type, member)                                              \
    {                                                                   \
        .name = #member, .kind = FIELD_FLAG, .offset = OF(type, member) \
    }
#define INSTANT(type, key, member)                                     \
    {                                                                  \
        .name = key, .kind = FIELD_INSTANT, .offset = OF(type, member) \
    }
#define STRUCT(type, member, table)                                                          \
    {                                                                                        \
        .name = #member, .kind = FIELD_STRUCT, .offset = OF(type, member), .fields = (table) \
    }
#define LIST(type, member, counter, most, table)                                        \
    {                                                                                   \
        .name = #member, .kind = FIELD_LIST, .offset = OF(type, member),                \
        .count_offset = OF(type, counter), .size = sizeof(*((struct type *)0)->member), \
        .limit = (most), .fields = (table)                                              \
    }
#define WORD(type, member, function, words)                                                  \
    {                                                                                        \
        .name = #member, .kind = FIELD_WORD, .offset = OF(type, member), .word = (function), \
        .word_count = (words)                                                                \
    }
#define END          \
    {                \
        .name = NULL \
    }

static const char *kind_word(int value)
{
    return backup_kind_name((enum backup_kind)value);
}

static const char *state_word(int value)
{
    return backup_state_name((enum backup_state)value);
}

/* -- the repository ------------------------------------------------------------------------ */

static const struct field POSITION[] = {
    CHARS(facts_position, system_identifier), INTEGER(facts_position, timeline),
    INTEGER(facts_position, stop_timeline),   LONG(facts_position, start_lsn),
    LONG(facts_position, stop_lsn),           INSTANT(facts_position, "stopped_at", stopped_us),
    LONG(facts_position, segment_size),       END,
};

static const struct field BACKUP[] = {
    NAME(facts_backup, id),
    TEXT(facts_backup, job),
    WORD(facts_backup, kind, kind_word, BACKUP_SNAPSHOT + 1),
    WORD(facts_backup, state, state_word, BACKUP_UNKNOWN + 1),
    INSTANT(facts_backup, "started_at", started_us),
    INSTANT(facts_backup, "completed_at", completed_us),
    INSTANT(facts_backup, "newest_at", newest_us),
    LONG(facts_backup, bytes_source),
    LONG(facts_backup, bytes_stored),
    LONG(facts_backup, rows),
    TEXTS(facts_backup, databases),
    INTEGER(facts_backup, server_major),
    STRUCT(facts_backup, position, POSITION),
    INTEGER(facts_backup, verified_level),
    INSTANT(facts_backup, "verified_at", verified_us),
    INSTANT(facts_backup, "locked_until", locked_until_us),
    INSTANT(facts_backup, "failed_at", failed_us),
    INSTANT(facts_backup, "drilled_at", drilled_us),
    END,
};

static const struct field HOLD[] = {
    NAME(facts_hold, hold_id),
    NAME(facts_hold, backup_id),
    NAME(facts_hold, holder),
    NAME(facts_hold, reason),
    INSTANT(facts_hold, "created_at", created_us),
    INSTANT(facts_hold, "expires_at", expires_us),
    END,
};

static const struct field RANGE[] = {
    LONG(facts_wal_range, first),
    LONG(facts_wal_range, last),
    INSTANT(facts_wal_range, "first_stored_at", first_stored_us),
    INSTANT(facts_wal_range, "last_stored_at", last_stored_us),
    LONG(facts_wal_range, bytes),
    END,
};

static const struct field MARK[] = {
    INSTANT(facts_wal_mark, "time", time_us),
    LONG(facts_wal_mark, lsn),
    END,
};

static const struct field SPAN[] = {
    LONG(facts_wal_span, first),
    LONG(facts_wal_span, last),
    END,
};

static const struct field ANCESTOR[] = {
    INTEGER(wal_ancestor, timeline),
    LONG(wal_ancestor, end_lsn),
    END,
};

static const struct field HISTORY[] = {
    INTEGER(wal_history, timeline),
    LIST(wal_history, ancestors, count, WAL_HISTORY_MAX, ANCESTOR),
    END,
};

static const struct field TIMELINE[] = {
    INTEGER(facts_wal_timeline, timeline),
    LIST(facts_wal_timeline, ranges, range_count, FACTS_WAL_RANGES_MAX, RANGE),
    LIST(facts_wal_timeline, marks, mark_count, FACTS_WAL_MARKS_MAX, MARK),
    LIST(facts_wal_timeline, acknowledged, acknowledged_count, FACTS_WAL_SPANS_MAX, SPAN),
    LIST(facts_wal_timeline, pruned, pruned_count, FACTS_WAL_SPANS_MAX, SPAN),
    FLAG(facts_wal_timeline, has_history),
    STRUCT(facts_wal_timeline, history, HISTORY),
    LONG(facts_wal_timeline, bytes),
    LONG(facts_wal_timeline, objects),
    END,
};

static const struct field WAL[] = {
    CHARS(facts_wal, system_identifier),
    LONG(facts_wal, segment_size),
    LIST(facts_wal, timelines, timeline_count, FACTS_WAL_TIMELINES_MAX, TIMELINE),
    LONG(facts_wal, fault_count),
    END,
};

static const struct field REPOSITORY[] = {
    TEXT(facts, cluster),
    FLAG(facts, complete),
    TEXT(facts, problem),
    LIST(facts, backups, backup_count, FACTS_BACKUPS_MAX, BACKUP),
    LIST(facts, holds, hold_count, FACTS_HOLDS_MAX, HOLD),
    LIST(facts, wals, wal_count, FACTS_SYSTEMS_MAX, WAL),
    END,
};

static const struct field CONTENTS[] = {
    NAME(facts_contents, id),
    WORD(facts_contents, kind, kind_word, BACKUP_SNAPSHOT + 1),
    LONG(facts_contents, objects),
    LONG(facts_contents, bytes),
    END,
};

static const struct field FAULT[] = {
    NAME(facts_fault, id),
    NAME(facts_fault, object),
    NAME(facts_fault, what),
    END,
};

static const struct field STRAY[] = {
    NAME(facts_stray, key),
    LONG(facts_stray, bytes),
    INSTANT(facts_stray, "modified_at", modified_us),
    END,
};

static const struct field MANIFEST[] = {
    NAME(facts_manifest, id),
    NAME(facts_manifest, job),
    FLAG(facts_manifest, has_globals),
    FLAG(facts_manifest, has_role_passwords),
    LONG(facts_manifest, tables),
    LONG(facts_manifest, rows),
    END,
};

static const struct field RULE[] = {
    TEXT(facts_rule, id),
    TEXT(facts_rule, prefix),
    FLAG(facts_rule, is_enabled),
    FLAG(facts_rule, is_filtered),
    INTEGER(facts_rule, expire_days),
    INTEGER(facts_rule, noncurrent_days),
    INTEGER(facts_rule, abort_days),
    INTEGER(facts_rule, transition_days),
    TEXT(facts_rule, storage_class),
    END,
};

static const struct field BUCKET[] = {
    TEXT(facts_bucket, prefix),
    FLAG(facts_bucket, is_versioned),
    FLAG(facts_bucket, allows_locks),
    FLAG(facts_bucket, locks_by_default),
    INTEGER(facts_bucket, default_lock_days),
    FLAG(facts_bucket, creates_may_race),
    FLAG(facts_bucket, can_delete),
    FLAG(facts_bucket, is_listed_publicly),
    FLAG(facts_bucket, is_read_publicly),
    LIST(facts_bucket, rules, rule_count, FACTS_ROWS_MAX, RULE),
    TEXT(facts_bucket, versioning_problem),
    TEXT(facts_bucket, lock_problem),
    TEXT(facts_bucket, rules_problem),
    TEXT(facts_bucket, public_problem),
    END,
};

/* -- evidence, journal, server ------------------------------------------------------------- */

static const struct field RECORD[] = {
    LONG(facts_record, number),
    INSTANT(facts_record, "at", at_us),
    NAME(facts_record, type),
    NAME(facts_record, id),
    NAME(facts_record, kind),
    NAME(facts_record, job),
    NAME(facts_record, state),
    NAME(facts_record, result),
    NAME(facts_record, reason),
    NAME(facts_record, policy_sha256),
    NAME(facts_record, target),
    INTEGER(facts_record, level),
    INSTANT(facts_record, "started_at", started_us),
    INSTANT(facts_record, "completed_at", completed_us),
    INSTANT(facts_record, "due_at", due_us),
    LONG(facts_record, duration_s),
    LONG(facts_record, rto_s),
    TEXTS(facts_record, databases),
    END,
};

static const struct field RUN[] = {
    NAME(facts_run, run_id),
    NAME(facts_run, job),
    NAME(facts_run, type),
    NAME(facts_run, outcome),
    NAME(facts_run, error_code),
    NAME(facts_run, message),
    INSTANT(facts_run, "due", due_us),
    INSTANT(facts_run, "started_at", started_us),
    INSTANT(facts_run, "ended_at", ended_us),
    END,
};

static const struct field DATABASE[] = {
    NAME(facts_database, name),
    FLAG(facts_database, accepts_connections),
    FLAG(facts_database, is_template),
    FLAG(facts_database, has_old_collation),
    LONG(facts_database, xid_age),
    LONG(facts_database, mxid_age),
    END,
};

static const struct field ROW[] = {
    NAME(facts_row, kind),
    NAME(facts_row, name),
    NAME(facts_row, database),
    NAME(facts_row, state),
    NAME(facts_row, command),
    LONG(facts_row, number),
    INSTANT(facts_row, "since", since_us),
    FLAG(facts_row, is_active),
    END,
};

static const struct field SERVER[] = {
    FLAG(facts_server, was_asked),
    TEXT(facts_server, problem),
    INTEGER(facts_server, version_num),
    TEXT(facts_server, system_identifier),
    TEXT(facts_server, role),
    TEXT(facts_server, sslmode),
    FLAG(facts_server, is_standby),
    FLAG(facts_server, is_superuser),
    FLAG(facts_server, may_create_roles),
    FLAG(facts_server, uses_tls),
    FLAG(facts_server, is_local),
    FLAG(facts_server, has_checksums),
    LONG(facts_server, clock_offset_us),
    LONG(facts_server, freeze_max_age),
    LIST(facts_server, databases, database_count, FACTS_DATABASES_MAX, DATABASE),
    LIST(facts_server, blockers, blocker_count, FACTS_ROWS_MAX, ROW),
    LIST(facts_server, slots, slot_count, FACTS_ROWS_MAX, ROW),
    FLAG(facts_server, knows_blockers),
    FLAG(facts_server, knows_slots),
    LIST(facts_server, invalid_indexes, invalid_index_count, FACTS_ROWS_MAX, ROW),
    TEXTS(facts_server, unknown),
    TEXT(facts_server, wal_problem),
    INTEGER(facts_server, timeline),
    LONG(facts_server, lsn),
    INSTANT(facts_server, "wal_now", wal_now_us),
    FLAG(facts_server, knows_ready),
    LONG(facts_server, ready_count),
    TEXT(facts_server, archive_problem),
    TEXT(facts_server, archive_cure),
    FLAG(facts_server, archive_is_broken),
    END,
};

static const struct field FILES[] = {
    NAME(facts_file, what),
    NAME(facts_file, path),
    INTEGER(facts_file, mode),
    FLAG(facts_file, is_secret),
    FLAG(facts_file, is_foreign),
    TEXT(facts_file, problem),
    END,
};

static const struct field AUDIT[] = {
    INSTANT(facts_audit, "at", at_us),
    TEXT(facts_audit, pgcairn_version),
    TEXT(facts_audit, policy_sha256),
    STRUCT(facts_audit, facts, REPOSITORY),
    TEXT(facts_audit, repository_problem),
    TEXT(facts_audit, repository_url),
    TEXT(facts_audit, system_identifier),
    INSTANT(facts_audit, "since", since_us),
    FLAG(facts_audit, has_contents),
    LIST(facts_audit, contents, content_count, FACTS_BACKUPS_MAX, CONTENTS),
    LIST(facts_audit, faults, fault_count, FACTS_FAULTS_MAX, FAULT),
    LONG(facts_audit, fault_total),
    LIST(facts_audit, strays, stray_count, FACTS_STRAYS_MAX, STRAY),
    LONG(facts_audit, stray_total),
    LONG(facts_audit, stray_bytes),
    LONG(facts_audit, unfinished_count),
    INSTANT(facts_audit, "unfinished_oldest_at", unfinished_oldest_us),
    LIST(facts_audit, manifests, manifest_count, FACTS_ROWS_MAX, MANIFEST),
    FLAG(facts_audit, has_bucket),
    STRUCT(facts_audit, bucket, BUCKET),
    TEXT(facts_audit, bucket_problem),
    LONG(facts_audit, store_clock_offset_us),
    FLAG(facts_audit, has_evidence),
    TEXT(facts_audit, evidence_problem),
    FLAG(facts_audit, evidence_is_broken),
    LONG(facts_audit, evidence_tip),
    TEXT(facts_audit, evidence_sha256),
    LIST(facts_audit, records, record_count, FACTS_RECORDS_MAX, RECORD),
    FLAG(facts_audit, has_journal),
    TEXT(facts_audit, journal_problem),
    INSTANT(facts_audit, "daemon_started_at", daemon_started_us),
    INSTANT(facts_audit, "daemon_heartbeat_at", daemon_heartbeat_us),
    LIST(facts_audit, runs, run_count, FACTS_RUNS_MAX, RUN),
    STRUCT(facts_audit, server, SERVER),
    LIST(facts_audit, files, file_count, FACTS_ROWS_MAX, FILES),
    END,
};

void facts_audit_init(struct facts_audit *facts)
{
    *facts = (struct facts_audit){
        .at_us = INSTANT_NONE,
        .since_us = INSTANT_NONE,
        .unfinished_oldest_us = INSTANT_NONE,
        .store_clock_offset_us = INSTANT_NONE,
        .daemon_started_us = INSTANT_NONE,
        .daemon_heartbeat_us = INSTANT_NONE,
        .server = {.wal_now_us = INSTANT_NONE},
    };
}

void facts_audit_clear(struct facts_audit *facts)
{
    facts_clear(&facts->facts);
    fields_clear(AUDIT, facts);
    facts_audit_init(facts);
}

json_t *facts_audit_to_json(const struct facts_audit *facts)
{
    json_t *object = json_object(), *body = fields_to_json(AUDIT, facts);
    if (!object || !body ||
        json_object_set_new(object, "facts_format", json_integer(FACTS_AUDIT_FORMAT)) ||
        json_object_update(object, body)) {
        json_decref(object);
        object = NULL;
    }
    json_decref(body);
    return object;
}

int facts_audit_from_json(const json_t *object, struct facts_audit *ret_facts, struct error *err)
{
    struct facts_audit facts;
    int64_t format = 0;
    facts_audit_init(&facts);
    int rc = json_take_integer(object, "facts_format", &format, err);
    if (rc)
        return error_prefix(err, "these are no facts of an audit");
    if (format != FACTS_AUDIT_FORMAT)
        return error_set(err, ERR_FAILED, "the facts have format %lld, this version reads %d",
                         (long long)format, FACTS_AUDIT_FORMAT);
    rc = fields_from_json(AUDIT, object, "facts", &facts, err);
    if (!rc)
        *ret_facts = facts;
    return rc;
}

int facts_audit_add(void *array, size_t *count, size_t size, size_t limit, const char *what,
                    void *ret_entry, struct error *err)
{
    char *entries;
    memcpy(&entries, array, sizeof(entries));
    if (*count >= limit)
        return error_set(err, ERR_LIMIT, "more than %zu %s", limit, what);
    if ((*count & (*count - 1)) == 0) { /* a power of two, or none: it is full */
        char *grown = reallocarray(entries, *count ? *count * 2 : 1, size);
        if (!grown)
            return error_no_memory(err);
        entries = grown;
        memcpy(array, &entries, sizeof(entries));
    }
    char *entry = entries + *count * size;
    memset(entry, 0, size);
    ++*count;
    memcpy(ret_entry, &entry, sizeof(entry));
    return 0;
}

int facts_database_from_json(const json_t *row, struct facts_database *ret_database,
                             struct error *err)
{
    return fields_from_json(DATABASE, row, "databases", ret_database, err);
}
