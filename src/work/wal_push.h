/*
 * A WAL push: the file that archive_command asks for is verified, stored and confirmed, and with
 * the connection warm the files behind it that wait too (archive_status/NAME.ready), several in
 * flight.
 *
 *     struct wal_push push = {.policy = policy, .path = "pg_wal/...", .naming = ..., ...};
 *     rc = wal_push(&push, err);           0: that file is stored and confirmed
 *
 * Only the contiguous prefix of them, as the archiver will ask for them, is marked as done
 * (spool/marks.h): behind one that failed nothing is. The result is that of the asked file alone;
 * what happened to the others is told when their turn comes.
 *
 * ERR_CORRUPT for a file that is not what its name says, ERR_FAILED for a foreign server,
 * ERR_EXISTS when the name has other content, ERR_TIMEOUT, ERR_INTERRUPTED, those of the store.
 */
#ifndef PGCAIRN_WORK_WAL_PUSH_H
#define PGCAIRN_WORK_WAL_PUSH_H

#include <stdint.h>

#include "base/error.h"
#include "policy/policy.h"

enum {
    WAL_PUSH_FILES_MAX = 256,       /* in one call, the asked one included */
    WAL_PUSH_THREADS = 4,           /* in flight */
    WAL_PUSH_MEMORY_MAX = 32 << 20, /* larger segments are read twice instead of kept */
};

#define WAL_PUSH_AHEAD_US (15 * US_PER_SECOND) /* after that no further file is begun */
#define WAL_PUSH_TIMEOUT_US (5 * US_PER_MINUTE)

struct wal_push {
    const struct policy *policy;
    const char *path;   /* as %p gives it */
    const char *naming; /* marks_naming(); NULL: nothing is marked, nor looked up */
    const char *state;  /* the state folder; NULL the same */
    int64_t timeout_us; /* for the asked file */
    void (*notice)(const char *text, void *context); /* what goes on in spite of; may be NULL */
    void *context;
};

struct wal_push_report {
    bool was_marked; /* nothing was left to do */
    bool was_there;  /* the same content had been stored before */
    size_t ahead;    /* further files stored and marked */
};

int wal_push(const struct wal_push *push, struct wal_push_report *ret_report, struct error *err);

#endif
