/*
 * The daemon: every scheduled job of every policy, at its due instants, in the foreground.
 *
 *     SIGTERM, SIGINT   no new runs; those that run may end within drain_us, then are told to
 *                       stop; a second one tells them at once
 *     SIGHUP            policies are read again; a bad file keeps the policy it had
 *
 * It holds no backup work itself: each run is a child process, `pgcairn run`, so a crash of one
 * takes nothing with it. It sleeps to the next event, at most a minute. What it knows is in the
 * journal; one that can't be written stops no run. README.md tells the rules.
 */
#ifndef PGCAIRN_DAEMON_DAEMON_H
#define PGCAIRN_DAEMON_DAEMON_H

#include "base/instant.h"
#include "base/strv.h"

enum {
    DAEMON_TASKS_MAX = 5000, /* waiting and running */
    DAEMON_RUNNING_MAX = 16, /* runs at a time, unless told; those of wal jobs left aside */
    DAEMON_RUNNING_MOST = 200,
    DAEMON_QUEUED_PER_JOB_MAX = 24, /* due instants that wait while an earlier one runs */
};

#define DAEMON_DRAIN_US (30 * US_PER_SECOND)
#define DAEMON_GRACE_US (20 * US_PER_SECOND) /* between SIGTERM and SIGKILL at the end */
#define DAEMON_GATHER_US (5 * US_PER_MINUTE)
#define DAEMON_GATHER_LEAST_US (10 * US_PER_SECOND)
#define DAEMON_SLEEP_US (60 * US_PER_SECOND)

struct daemon_options {
    const struct strv *policy_paths;
    int64_t drain_us;
    int max_running;        /* 0: DAEMON_RUNNING_MAX */
    const char *listen;     /* NULL: no status page, no metrics; src/watch/http.h */
    const char *token_file; /* NULL: no token */
    int64_t gather_us;      /* how often repository and server are asked for the metrics */
};

/* Returns after an orderly end. ERR_BUSY when another daemon uses this journal. */
int daemon_run(const struct daemon_options *options, struct error *err);

#endif
