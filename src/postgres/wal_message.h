/*
 * The messages of streaming replication inside COPY, as bytes (PostgreSQL's chapter "Streaming
 * Replication Protocol": XLogData, primary keepalive, standby status update). Numbers are
 * big-endian, times microseconds since 2000-01-01. Pure.
 *
 *     wal_message_read(data, length, &message, err);       what the server sent
 *     wal_message_status(&status, bytes);                  what is told to it
 */
#ifndef PGCAIRN_POSTGRES_WAL_MESSAGE_H
#define PGCAIRN_POSTGRES_WAL_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { WAL_MESSAGE_STATUS = 34 }; /* bytes of a status */

enum wal_message_kind { WAL_MESSAGE_DATA, WAL_MESSAGE_KEEPALIVE };

struct wal_message {
    enum wal_message_kind kind;
    uint64_t lsn;     /* of the first byte of data */
    uint64_t end_lsn; /* up to which the server has WAL to send */
    int64_t sent_us;  /* by the server's clock, since 1970 */
    bool wants_reply; /* a keepalive that is to be answered at once */
    const void *data; /* within the bytes that were read */
    size_t length;
};

/* A position of 0 is not known, and changes nothing for the server. */
struct wal_message_status {
    uint64_t written_lsn, flushed_lsn, applied_lsn;
    int64_t now_us;
    bool wants_reply;
};

/* ERR_FAILED for what is no such message. */
int wal_message_read(const void *data, size_t length, struct wal_message *ret_message,
                     struct error *err);
void wal_message_status(const struct wal_message_status *status,
                        unsigned char bytes[WAL_MESSAGE_STATUS]);

#endif
