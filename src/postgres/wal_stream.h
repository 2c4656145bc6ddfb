/*
 * WAL as it is written, from a physical replication slot over a replication connection.
 *
 *     struct wal_stream stream;
 *     wal_stream_start(&stream, conn, slot, timeline, lsn, err);
 *     while (!(rc = wal_stream_next(&stream, wait_us, &event, err)))
 *         switch (event.kind) ... WAL_STREAM_MESSAGE, WAL_STREAM_NOTHING, WAL_STREAM_ENDED
 *     wal_stream_status(&stream, &status, err);         from time to time, and when asked
 *     wal_stream_clear(&stream);                        the connection stays the caller's
 *
 * At WAL_STREAM_ENDED the timeline has ended: event.next_timeline goes on at event.next_lsn, and a
 * new stream may be started on the same connection; 0 when the server shuts down.
 *
 * Errors: those of connection.h; ERR_BUSY when another receiver uses the slot, ERR_NOT_FOUND when
 * there is no such slot, ERR_CONFLICT when the server has removed that WAL already, ERR_FAILED when
 * it is not (yet) on that timeline or at that position. After an error the connection is good for
 * PQfinish() only.
 */
#ifndef PGCAIRN_POSTGRES_WAL_STREAM_H
#define PGCAIRN_POSTGRES_WAL_STREAM_H

#include "postgres/connection.h"
#include "postgres/wal_message.h"
#include "wal/history.h"

enum wal_stream_kind { WAL_STREAM_NOTHING, WAL_STREAM_MESSAGE, WAL_STREAM_ENDED };

struct wal_stream_event {
    enum wal_stream_kind kind;
    struct wal_message message; /* borrowed until the next call */
    uint32_t next_timeline;
    uint64_t next_lsn;
};

struct wal_stream {
    PGconn *conn;
    char *message;  /* libpq's, of the last event */
    bool has_ended; /* there was nothing to stream: the end is told next */
    struct wal_stream_event end;
};

int wal_stream_start(struct wal_stream *stream, PGconn *conn, const char *slot, uint32_t timeline,
                     uint64_t lsn, struct error *err);
void wal_stream_clear(struct wal_stream *stream);

/* Waits at most that long for a message. */
int wal_stream_next(struct wal_stream *stream, int64_t wait_us, struct wal_stream_event *ret_event,
                    struct error *err);
int wal_stream_status(struct wal_stream *stream, const struct wal_message_status *status,
                      struct error *err);

/* Ends it from our side, so that the last status arrives; waits at most that long. */
void wal_stream_end(struct wal_stream *stream, int64_t wait_us);

/* The history of a timeline as the server has it, byte for byte. Not while a stream is open. */
int wal_stream_history(PGconn *conn, uint32_t timeline, struct buf *text, struct error *err);

#endif
