#include "postgres/base_backup.h"

#include <string.h>

#include "wal/name.h"

enum { SQL_LIMIT = 4096, NEW_PROTOCOL = 150000 };

/* What the stream is in. */
enum part { PART_NONE, PART_ARCHIVE, PART_MANIFEST };

struct backup {
    PGconn *conn;
    const struct base_backup_receiver *receiver;
    void *context;
    struct base_backup_start start;
    struct base_backup_end end;
    enum part part;
    size_t copies; /* COPYs begun, in the old protocol */
    bool has_start, has_tablespaces, has_end;
};

static void backup_clear(struct backup *backup)
{
    for (size_t i = 0; i < backup->start.tablespace_count; i++)
        free(backup->start.tablespaces[i].location);
    free(backup->start.tablespaces);
}

/* -- the command ----------------------------------------------------------------------------------
 */

static int send_command(struct backup *backup, const char *label, struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    bool is_new = PQserverVersion(backup->conn) >= NEW_PROTOCOL;
    buf_add_text(&sql, is_new ? "BASE_BACKUP (LABEL " : "BASE_BACKUP LABEL ");
    pg_add_literal(&sql, label);
    buf_add_text(&sql, is_new ? ", PROGRESS, CHECKPOINT 'fast', WAL, WAIT false, TABLESPACE_MAP,"
                                " MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', TARGET 'client')"
                              : " PROGRESS FAST WAL NOWAIT TABLESPACE_MAP MANIFEST 'yes'"
                                " MANIFEST_CHECKSUMS 'CRC32C'");
    int rc = buf_failed(&sql, "a BASE_BACKUP command", err);
    if (!rc && !PQsendQuery(backup->conn, buf_text(&sql)))
        rc = pg_error(backup->conn, NULL, err);
    return rc;
}

/* Not each of these has an SQLSTATE of its own (PostgreSQL: basebackup.c, CheckXLogRemoved()). */
static bool tells_removed(const char *message)
{
    static const char *const phrases[] = {
        "has already been removed", "could not find any WAL files", "could not find WAL file"};
    for (size_t i = 0; i < ARRAY_SIZE(phrases); i++)
        if (strstr(message, phrases[i]))
            return true;
    return false;
}

/* A server that was too fast, or that became another one, is worth another try. */
static int backup_error(struct backup *backup, const PGresult *result, struct error *err)
{
    struct error reason = ERROR_NONE;
    int rc = pg_error(backup->conn, result, &reason);
    bool is_ended = rc == ERR_CONNECTION || (result && pg_state_is(result, "57P01"));
    bool is_removed = result && (pg_state_is(result, "58P01") || tells_removed(reason.message));
    if (is_removed || strstr(reason.message, "standby was promoted"))
        rc = reason.code = ERR_CONFLICT;
    if (is_removed)
        error_hint(&reason, "try again; give the server a free replication slot "
                            "(max_replication_slots) or a larger wal_keep_size, so that it keeps "
                            "its WAL while a snapshot runs");
    if (is_ended)
        error_hint(&reason, "the server's log says why: when it was to release a replication slot "
                            "that fell behind, raise max_slot_wal_keep_size, so that the WAL of a "
                            "whole snapshot fits into it");
    if (err)
        *err = reason;
    return rc;
}

static int protocol_error(const char *what, struct error *err)
{
    error_set(err, ERR_FAILED, "the server sent %s during BASE_BACKUP", what);
    return error_hint(err, "is there a proxy between that alters the stream? please report it with "
                           "the server's version");
}

/* -- result sets ----------------------------------------------------------------------------------
 */

static int take_position(const PGresult *result, uint64_t *ret_lsn, uint32_t *ret_timeline,
                         struct error *err)
{
    if (PQntuples(result) != 1 || PQnfields(result) < 2)
        return protocol_error("no position", err);
    *ret_timeline = (uint32_t)pg_integer(result, 0, 1);
    return wal_lsn_parse(pg_text(result, 0, 0), ret_lsn, err);
}

static int take_tablespaces(struct backup *backup, const PGresult *result, struct error *err)
{
    struct base_backup_start *start = &backup->start;
    int count = PQntuples(result);
    if (count < 1 || count > BASE_BACKUP_TABLESPACES_MAX || PQnfields(result) < 3)
        return protocol_error("a strange list of tablespaces", err);
    start->tablespaces = calloc((size_t)count, sizeof(*start->tablespaces));
    if (!start->tablespaces)
        return error_no_memory(err);
    for (int row = 0; row < count; row++) {
        struct base_backup_tablespace *tablespace = &start->tablespaces[row];
        bool is_base = PQgetisnull(result, row, 0);
        *tablespace = (struct base_backup_tablespace){
            .oid = is_base ? 0 : (uint32_t)pg_integer(result, row, 0),
            .location = strdup(is_base ? "" : pg_text(result, row, 1)),
            .bytes = pg_integer(result, row, 2) * 1024};
        start->tablespace_count++;
        if (!tablespace->location)
            return error_no_memory(err);
    }
    return backup->receiver->started(start, backup->context, err);
}

static int take_rows(struct backup *backup, const PGresult *result, struct error *err)
{
    int rc = 0;
    if (!backup->has_start) {
        rc = take_position(result, &backup->start.lsn, &backup->start.timeline, err);
        backup->has_start = true;
    } else if (!backup->has_tablespaces) {
        rc = take_tablespaces(backup, result, err);
        backup->has_tablespaces = true;
    } else if (!backup->has_end) {
        rc = take_position(result, &backup->end.lsn, &backup->end.timeline, err);
        backup->has_end = true;
    } else
        rc = protocol_error("a fourth result", err);
    return rc;
}

/* -- the stream -----------------------------------------------------------------------------------
 */

static int end_part(struct backup *backup, struct error *err)
{
    enum part part = backup->part;
    backup->part = PART_NONE;
    return part == PART_ARCHIVE ? backup->receiver->archive_end(backup->context, err) : 0;
}

static int begin_archive(struct backup *backup, const struct base_backup_tablespace *tablespace,
                         struct error *err)
{
    int rc = end_part(backup, err);
    backup->part = PART_ARCHIVE;
    return rc ? rc : backup->receiver->archive_begin(tablespace, backup->context, err);
}

static int take_data(struct backup *backup, const char *data, size_t length, struct error *err)
{
    switch (backup->part) {
    case PART_ARCHIVE:
        return backup->receiver->archive_data(data, length, backup->context, err);
    case PART_MANIFEST:
        return backup->receiver->manifest_data(data, length, backup->context, err);
    case PART_NONE:
        break;
    }
    return protocol_error("data of nothing", err);
}

/* "base.tar" or "16385.tar". */
static int begin_named(struct backup *backup, const char *message, size_t length, struct error *err)
{
    const struct base_backup_start *start = &backup->start;
    if (!memchr(message, '\0', length))
        return protocol_error("an archive without a name", err);
    uint32_t oid = strcmp(message, "base.tar") == 0 ? 0 : (uint32_t)strtoul(message, NULL, 10);
    for (size_t i = 0; i < start->tablespace_count; i++)
        if (start->tablespaces[i].oid == oid)
            return begin_archive(backup, &start->tablespaces[i], err);
    return protocol_error("an archive of a tablespace that it had not named", err);
}

static int take_message(struct backup *backup, const char *message, size_t length,
                        struct error *err)
{
    if (length == 0)
        return protocol_error("an empty message", err);
    switch (message[0]) {
    case 'n':
        return begin_named(backup, message + 1, length - 1, err);
    case 'd':
        return take_data(backup, message + 1, length - 1, err);
    case 'm': {
        int rc = end_part(backup, err);
        backup->part = PART_MANIFEST;
        return rc;
    }
    case 'p': /* how far it is: what has come tells it as well */
        return 0;
    default:
        return protocol_error("a message of an unknown kind", err);
    }
}

/* The COPYs of 13 and 14 come in the order of the tablespaces, then the manifest's. */
static int begin_numbered(struct backup *backup, struct error *err)
{
    size_t number = backup->copies++;
    if (number < backup->start.tablespace_count)
        return begin_archive(backup, &backup->start.tablespaces[number], err);
    if (number > backup->start.tablespace_count)
        return protocol_error("more archives than tablespaces", err);
    int rc = end_part(backup, err);
    backup->part = PART_MANIFEST;
    return rc;
}

/* Its end may be that of all, in mid-archive, by an error: only the next result tells, so until
 * then the part is not ended. */
static int take_copy(struct backup *backup, struct error *err)
{
    bool is_new = PQserverVersion(backup->conn) >= NEW_PROTOCOL;
    if (!backup->has_tablespaces)
        return protocol_error("data too early", err);
    int rc = is_new ? 0 : begin_numbered(backup, err);
    while (!rc) {
        _cleanup_(pg_string_freep) char *row = NULL;
        int length = PQgetCopyData(backup->conn, &row, 0);
        if (length == -1)
            return 0;
        if (length < 0)
            return backup_error(backup, NULL, err);
        rc = is_new ? take_message(backup, row, (size_t)length, err)
                    : take_data(backup, row, (size_t)length, err);
    }
    return rc;
}

/* -- the whole ------------------------------------------------------------------------------------
 */

/* Blocks with wrong checksums are told as warnings while everything is sent, and by an error behind
 * the last result: then all of the backup has come. */
static int take_failure(struct backup *backup, const PGresult *result, struct error *err)
{
    if (!backup->has_end || !pg_state_is(result, "XX001"))
        return backup_error(backup, result, err);
    backup->end.checksums_failed = true;
    return 0;
}

static int take_results(struct backup *backup, struct error *err)
{
    int rc = 0;
    while (!rc) {
        _cleanup_(pg_result_freep) PGresult *result = PQgetResult(backup->conn);
        if (!result)
            break;
        switch (PQresultStatus(result)) {
        case PGRES_TUPLES_OK:
            rc = end_part(backup, err);
            if (!rc)
                rc = take_rows(backup, result, err);
            break;
        case PGRES_COPY_OUT:
            rc = take_copy(backup, err);
            break;
        case PGRES_COMMAND_OK:
            break;
        default:
            rc = take_failure(backup, result, err);
        }
    }
    if (!rc && !backup->has_end)
        rc = backup_error(backup, NULL, err);
    return rc;
}

static void take_warning(void *context, const PGresult *result)
{
    struct backup *backup = context;
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (primary && severity && strcmp(severity, "WARNING") == 0)
        backup->receiver->warning(primary, backup->context);
}

int pg_base_backup(PGconn *conn, const char *label, const struct base_backup_receiver *receiver,
                   void *context, struct base_backup_end *ret_end, struct error *err)
{
    _cleanup_(backup_clear) struct backup backup = {
        .conn = conn, .receiver = receiver, .context = context};
    PQnoticeReceiver before = PQsetNoticeReceiver(conn, take_warning, &backup);
    int rc = send_command(&backup, label, err);
    if (!rc)
        rc = take_results(&backup, err);
    PQsetNoticeReceiver(conn, before, NULL);
    if (!rc)
        *ret_end = backup.end;
    return rc;
}
