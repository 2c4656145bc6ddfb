/*
 * A WAL fetch, for restore_command: one file of the repository under its name at a place, proved by
 * size and SHA-256, whole or not at all. Segments come from the spool when the helper was ahead.
 *
 * What the caller's exit status says decides whether a recovery ends there, so "it is not there" is
 * told with great care: ERR_NOT_FOUND only when the repository was read, holds WAL of this server,
 * has not this file, and nothing behind it on the same timeline. Everything else that is not
 * success is ERR_DOUBT, after several tries. The server hears no more than that; where somebody
 * wants to know whether the repository could not be read or holds what is no good, WAL_FETCH_CAUSE
 * in the environment names a file: its first line is the code of the cause (error.h), the rest the
 * message.
 */
#ifndef PGCAIRN_WORK_WAL_FETCH_H
#define PGCAIRN_WORK_WAL_FETCH_H

#include "base/strv.h"
#include "policy/policy.h"

enum { WAL_FETCH_TRIES = 5 };

#define WAL_FETCH_CAUSE "PGCAIRN_WAL_FETCH_CAUSE"

struct wal_fetch {
    const struct policy *policy;
    const char *name, *destination;  /* %f and %p */
    const char *state;               /* the state folder; NULL: nothing is fetched ahead */
    const struct strv *policy_paths; /* of -c, for the helper */
    bool is_standby;                 /* asks again by itself: no second try here */
    const char *cause; /* a file that gets the cause of a doubt, for who started the server; NULL */
};

int wal_fetch(const struct wal_fetch *fetch, struct error *err);

#endif
