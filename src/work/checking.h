/*
 * The parts of a preflight (check.h), shared by the files of its story and by nothing else:
 *
 *     check.c              the server, its databases, the programs, the clocks
 *     check_repository.c   the repository: rights, one by one, and what the bucket does by itself
 *     check_wal.c          whether WAL is archived, and into this repository
 *     check_snapshot.c     whether the server would send a snapshot
 *     check_drill.c        whether a restore could be tried out here
 */
#ifndef PGCAIRN_WORK_CHECKING_H
#define PGCAIRN_WORK_CHECKING_H

#include <jansson.h>

#include "policy/policy.h"
#include "postgres/connection.h"

struct checking {
    const struct policy *policy;
    json_t *checks;
    char *conninfo; /* secret */
    PGconn *conn;
};

/* status: pass, warn, fail or unknown; cure may be NULL. */
void check_note(struct checking *checking, const char *id, const char *status, const char *cure,
                const char *format, ...) _printf_(5, 6);

/* An error is a fault, or not knowing, by its exit status; cure NULL: the error's own. */
void check_note_error(struct checking *checking, const char *id, const char *cure,
                      const struct error *error);

void check_repository(struct checking *checking);
void check_wal(struct checking *checking);
void check_snapshot(struct checking *checking);
void check_drill(struct checking *checking);

#endif
