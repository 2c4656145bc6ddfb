/*
 * The helper of `wal fetch`: fetches the segments behind the one asked for last into the spool
 * (spool/ahead.h), several in flight, a bounded number ahead. It ends by itself when nothing was
 * asked for WAL_AHEAD_IDLE_US, and leaves nothing behind then.
 */
#ifndef PGCAIRN_WORK_WAL_AHEAD_H
#define PGCAIRN_WORK_WAL_AHEAD_H

#include "policy/policy.h"
#include "spool/ahead.h"

enum {
    WAL_AHEAD_THREADS = 4,
    WAL_AHEAD_SEGMENTS_MAX = 64,
    WAL_AHEAD_BYTES_MAX = 256 << 20, /* in the spool; one segment may be larger */
};

#define WAL_AHEAD_IDLE_US (20 * US_PER_SECOND)

/* Runs the helper here and now; 0 at once when another one serves that folder. What it has proved
 * is marked as of that origin (ahead_naming()); nothing is when origin->naming is NULL. */
int wal_ahead_run(const struct policy *policy, const char *folder,
                  const struct marks_origin *origin, struct error *err);

/* Starts one in the background when there is none: this program again, with these global options
 * (the -c paths). That it could not be started is no error: nothing is fetched ahead then. */
void wal_ahead_start(const struct policy *policy, const char *folder, const char *system,
                     const char *data_folder, char *const *policy_paths, size_t policy_count);

#endif
