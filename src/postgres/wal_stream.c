#include "postgres/wal_stream.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/instant.h"
#include "wal/name.h"

enum { SQL_LIMIT = 256, US_PER_MS = 1000 };

/* What a refusal to stream means, by the server's (English) words or its SQLSTATE. */
static const struct {
    const char *state, *words;
    int code;
    const char *hint;
} REFUSALS[] = {
    {"55006", "is active for PID", ERR_BUSY, "another receiver uses the slot: end that one first"},
    {"58P01", "has already been removed", ERR_CONFLICT, NULL},
    {"55000", "this slot has been invalidated", ERR_CONFLICT, NULL},
    {"55000", "cannot read from replication slot", ERR_CONFLICT, NULL},
    {"55000", "can no longer get changes", ERR_CONFLICT, NULL},
    {"55000", "can no longer access replication slot", ERR_CONFLICT, NULL},
    {"42704", "replication slot", ERR_NOT_FOUND, NULL},
};

static int stream_error(const struct wal_stream *stream, const PGresult *result, struct error *err)
{
    struct error reason = ERROR_NONE;
    int rc = pg_error(stream->conn, result, &reason);
    for (size_t i = 0; i < ARRAY_SIZE(REFUSALS) && result; i++) {
        if (!pg_state_is(result, REFUSALS[i].state) || !strstr(reason.message, REFUSALS[i].words))
            continue;
        rc = reason.code = REFUSALS[i].code;
        if (REFUSALS[i].hint)
            error_hint(&reason, "%s", REFUSALS[i].hint);
        break;
    }
    if (rc == ERR_SQL)
        rc = reason.code = ERR_FAILED;
    if (err)
        *err = reason;
    return rc;
}

/* -- the end of a stream ------------------------------------------------------------------- */

/* Next timeline and where it goes on; then the end of the command. */
static int take_next(const PGresult *result, struct wal_stream_event *event, struct error *err)
{
    if (PQntuples(result) != 1 || PQnfields(result) < 2)
        return error_set(err, ERR_FAILED, "the server did not say which timeline comes next");
    event->next_timeline = (uint32_t)pg_integer(result, 0, 0);
    return wal_lsn_parse(pg_text(result, 0, 1), &event->next_lsn, err);
}

static int take_result(struct wal_stream *stream, const PGresult *result,
                       struct wal_stream_event *event, struct error *err)
{
    switch (PQresultStatus(result)) {
    case PGRES_COPY_IN: /* the server has ended its side, ours is open */
        if (PQputCopyEnd(stream->conn, NULL) == 1 && PQflush(stream->conn) == 0)
            return 0;
        return pg_error(stream->conn, NULL, err);
    case PGRES_TUPLES_OK:
        return take_next(result, event, err);
    case PGRES_COMMAND_OK:
        return 0;
    default:
        return stream_error(stream, result, err);
    }
}

static int take_end(struct wal_stream *stream, struct wal_stream_event *event, struct error *err)
{
    event->kind = WAL_STREAM_ENDED;
    for (;;) {
        _cleanup_(pg_result_freep) PGresult *result = PQgetResult(stream->conn);
        int rc = result ? take_result(stream, result, event, err) : 0;
        if (rc || !result)
            return rc;
    }
}

/* -- the stream ---------------------------------------------------------------------------- */

int wal_stream_start(struct wal_stream *stream, PGconn *conn, const char *slot, uint32_t timeline,
                     uint64_t lsn, struct error *err)
{
    char sql[SQL_LIMIT], text[WAL_LSN_TEXT_MAX];
    *stream = (struct wal_stream){.conn = conn};
    snprintf(sql, sizeof(sql), "START_REPLICATION SLOT \"%s\" PHYSICAL %s TIMELINE %u", slot,
             wal_lsn_format(lsn, text), timeline);
    if (!PQsendQuery(conn, sql))
        return pg_error(conn, NULL, err);
    _cleanup_(pg_result_freep) PGresult *result = PQgetResult(conn);
    if (PQresultStatus(result) == PGRES_COPY_BOTH)
        return 0;
    int rc = take_result(stream, result, &stream->end, err);
    if (!rc)
        rc = take_end(stream, &stream->end, err);
    stream->has_ended = rc == 0;
    return rc;
}

void wal_stream_clear(struct wal_stream *stream)
{
    PQfreemem(stream->message);
    *stream = (struct wal_stream){0};
}

static int wait_readable(const struct wal_stream *stream, int64_t wait_us, struct error *err)
{
    struct pollfd socket = {.fd = PQsocket(stream->conn), .events = POLLIN};
    int ready = poll(&socket, 1, (int)(wait_us / US_PER_MS));
    if (ready < 0 && errno != EINTR)
        return error_set_errno(err, errno, "could not wait for the server");
    if (ready > 0 && !PQconsumeInput(stream->conn))
        return pg_error(stream->conn, NULL, err);
    return 0;
}

int wal_stream_next(struct wal_stream *stream, int64_t wait_us, struct wal_stream_event *ret_event,
                    struct error *err)
{
    struct wal_stream_event event = {.kind = WAL_STREAM_NOTHING};
    if (stream->has_ended) {
        *ret_event = stream->end;
        return 0;
    }
    PQfreemem(stream->message);
    stream->message = NULL;
    int length = PQgetCopyData(stream->conn, &stream->message, 1);
    if (length == 0) {
        int rc = wait_readable(stream, wait_us, err);
        if (rc)
            return rc;
        length = PQgetCopyData(stream->conn, &stream->message, 1);
    }
    int rc = 0;
    if (length > 0) {
        event.kind = WAL_STREAM_MESSAGE;
        rc = wal_message_read(stream->message, (size_t)length, &event.message, err);
    } else if (length == -1)
        rc = take_end(stream, &event, err);
    else if (length < -1)
        rc = pg_error(stream->conn, NULL, err);
    if (!rc)
        *ret_event = event;
    return rc;
}

int wal_stream_status(struct wal_stream *stream, const struct wal_message_status *status,
                      struct error *err)
{
    unsigned char bytes[WAL_MESSAGE_STATUS];
    wal_message_status(status, bytes);
    if (PQputCopyData(stream->conn, (const char *)bytes, sizeof(bytes)) != 1 ||
        PQflush(stream->conn) < 0)
        return pg_error(stream->conn, NULL, err);
    return 0;
}

/* What the server has sent meanwhile is thrown away: a socket closed upon unread bytes would take
 * the status with it. */
void wal_stream_end(struct wal_stream *stream, int64_t wait_us)
{
    int64_t until_us = instant_monotonic_us() + wait_us;
    struct wal_stream_event event = {.kind = WAL_STREAM_NOTHING};
    if (stream->has_ended || PQputCopyEnd(stream->conn, NULL) != 1 || PQflush(stream->conn) != 0)
        return;
    while (event.kind != WAL_STREAM_ENDED && instant_monotonic_us() < until_us)
        if (wal_stream_next(stream, until_us - instant_monotonic_us(), &event, NULL))
            return;
}

int wal_stream_history(PGconn *conn, uint32_t timeline, struct buf *text, struct error *err)
{
    char sql[SQL_LIMIT];
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    snprintf(sql, sizeof(sql), "TIMELINE_HISTORY %u", timeline);
    int rc = pg_query(conn, &result, err, sql, NULL);
    if (rc)
        return rc;
    if (PQntuples(result) != 1 || PQnfields(result) < 2)
        return error_set(err, ERR_FAILED, "the server sent no history of timeline %u", timeline);
    buf_add(text, pg_text(result, 0, 1), (size_t)PQgetlength(result, 0, 1));
    return buf_failed(text, "a timeline's history", err);
}
