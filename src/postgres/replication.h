/*
 * Replication connections: sessions of a walsender, which speak the commands of PostgreSQL's
 * chapter "Streaming Replication Protocol" and no SQL.
 *
 *     pg_connect_replication(conninfo, application, &conn, err);
 *     pg_identify_system(conn, &system, err);
 *     pg_create_temporary_slot(conn, "pgcairn_x7q2", err);     gone with the session
 *
 * A refused connection says which line of pg_hba.conf, which right or which setting is missing:
 * ERR_AUTH, ERR_PERMISSION, ERR_CONNECTION. Other errors are those of connection.h.
 *
 * A thread that waits for such a session in libpq is freed from another one:
 *
 *     pg_abort_init(&abort, conn);   before the thread begins
 *     pg_abort(&abort);              from any thread: cancels the command, closes the socket's ways
 *     pg_abort_clear(&abort);        when the thread has ended, before PQfinish()
 */
#ifndef PGCAIRN_POSTGRES_REPLICATION_H
#define PGCAIRN_POSTGRES_REPLICATION_H

#include "postgres/connection.h"

struct pg_system {
    char identifier[24]; /* decimal */
    uint32_t timeline;
    uint64_t lsn;         /* flushed so far */
    int64_t segment_size; /* bytes of a WAL segment */
    unsigned folder_mode; /* of the data directory: 0700, or 0750 when the group may read */
};

struct pg_abort {
    PGcancel *cancel;
    int socket;
};

int pg_connect_replication(const char *conninfo, const char *application, PGconn **ret_conn,
                           struct error *err);
int pg_identify_system(PGconn *conn, struct pg_system *ret_system, struct error *err);

/* Holds the WAL from now on until the session ends. */
int pg_create_temporary_slot(PGconn *conn, const char *name, struct error *err);

/* Cause and cure of a replication connection that was refused, from libpq's message (an English
 * one; others get the general cure). For pg_connect_replication() and its test. */
int pg_replication_refused(const char *message, struct error *err);

int pg_abort_init(struct pg_abort *abort, PGconn *conn, struct error *err);
void pg_abort(struct pg_abort *abort);
void pg_abort_clear(struct pg_abort *abort);

#endif
