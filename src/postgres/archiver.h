/*
 * What a server says of its WAL: where it is, whether and how it archives, what waits.
 *
 *     pg_read_archiver(conn, &archiver, err);
 *     pg_archiver_problem(&archiver, &problem);       why nothing is archived, in words
 *     pg_archiver_clear(&archiver);
 *
 * Errors: those of pg_query(). What a role may not see is told by flags, never guessed.
 */
#ifndef PGCAIRN_POSTGRES_ARCHIVER_H
#define PGCAIRN_POSTGRES_ARCHIVER_H

#include "postgres/connection.h"
#include "wal/name.h"

enum { PG_READY_MAX = 100000 }; /* names of waiting files that are read; oldest first */

struct pg_archiver {
    bool is_standby;
    uint32_t timeline;
    uint64_t lsn; /* up to which WAL was written (a standby: replayed) */
    int64_t
        now_us; /* the server's clock, read before lsn: what was committed until then is below it */
    int64_t segment_size;
    char *wal_level, *archive_mode;
    char *command, *library; /* "" when not set; NULL when the role may not see it */
    int64_t archive_timeout_s;
    int64_t archived_count, failed_count;
    char *last_archived, *last_failed; /* names; "" when none */
    int64_t last_archived_us, last_failed_us;
    bool can_switch;        /* may execute pg_switch_wal() */
    bool knows_ready;       /* the role may list archive_status */
    int64_t ready_count;    /* files that wait */
    struct wal_name *ready; /* the first PG_READY_MAX of them, in order */
    size_t ready_listed;
    char *role; /* for the GRANT to tell */
};

int pg_read_archiver(PGconn *conn, struct pg_archiver *ret_archiver, struct error *err);
void pg_archiver_clear(struct pg_archiver *archiver);

/* Whether that file waits to be archived. Only when knows_ready. */
bool pg_archiver_waits(const struct pg_archiver *archiver, const struct wal_name *name);

/* Ends the segment: *ret_lsn is the position behind it, *ret_switched false when nothing had been
 * written into it. ERR_PERMISSION with the GRANT to give. */
int pg_switch_segment(PGconn *conn, const struct pg_archiver *archiver, uint64_t *ret_lsn,
                      bool *ret_switched, struct error *err);

/* What keeps the server from archiving; what[0] is '\0' when nothing does. */
struct pg_archiver_problem {
    char what[1024];
    char cure[512];
    bool is_certain; /* nothing will be archived until it is mended; else it is failing now */
};
void pg_archiver_find_problem(const struct pg_archiver *archiver, const char *cluster,
                              struct pg_archiver_problem *ret_problem);

#endif
