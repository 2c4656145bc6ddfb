/*
 * Physical replication slots: what makes a server keep the WAL that a receiver has not confirmed.
 *
 *     pg_read_slot(conn, "pgcairn_demo", &slot, err);     by SQL; ERR_NOT_FOUND when there is none
 *     pg_slot_check(&slot, "demo", err);                  whether it can be streamed from
 *     pg_create_slot(replication, "pgcairn_demo", err);   on a replication connection: stays
 *     pg_drop_slot(replication, "pgcairn_demo", err);     ERR_BUSY while a receiver uses it
 *
 * Errors: those of connection.h, with the cure for what a server's settings lack.
 */
#ifndef PGCAIRN_POSTGRES_SLOT_H
#define PGCAIRN_POSTGRES_SLOT_H

#include "postgres/archiver.h"
#include "postgres/replication.h"
#include "wal/name.h"

enum { PG_SLOT_NAME_MAX = 64 }; /* with its NUL */

struct pg_slot {
    char name[PG_SLOT_NAME_MAX];
    bool is_physical, is_temporary;
    bool is_active;
    int64_t active_pid;
    uint64_t restart_lsn;  /* from which WAL is kept; 0 while it keeps none */
    char wal_status[16];   /* reserved, extended, unreserved, lost; "" when it keeps none */
    int64_t held_bytes;    /* from restart_lsn to where the server is now */
    int64_t keep_limit_mb; /* max_slot_wal_keep_size; -1: none */
    char wal_level[16];
    int64_t sender_timeout_us; /* wal_sender_timeout: how long the server waits for a sign of life;
                                  0: for ever */
};

/* Whether it can be the name of a slot: lower-case letters, digits and "_". */
bool pg_slot_name_valid(const char *name);

/* The name of a cluster's slot when the policy gives none. */
char *pg_slot_name_of(const char *cluster, char name[PG_SLOT_NAME_MAX]);

/* The server's settings are read also when there is no such slot (ERR_NOT_FOUND). */
int pg_read_slot(PGconn *conn, const char *name, struct pg_slot *ret_slot, struct error *err);

/* ERR_FAILED with the consequence when the slot is not physical, or the WAL it should have kept is
 * gone. */
int pg_slot_check(const struct pg_slot *slot, const char *cluster, struct error *err);

/* What keeps WAL from being received, as pg_archiver_find_problem() tells it; what[0] is '\0' when
 * nothing does. is_there: whether pg_read_slot() found it. */
void pg_slot_find_problem(const struct pg_slot *slot, bool is_there, const char *cluster,
                          struct pg_archiver_problem *ret_problem);

/* With RESERVE_WAL: WAL is kept from now on. */
int pg_create_slot(PGconn *conn, const char *name, struct error *err);
int pg_drop_slot(PGconn *conn, const char *name, struct error *err);

#endif
