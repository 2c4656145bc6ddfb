/*
 * The programs of `hooks:` around a run (policy/hooks.h says how they are written).
 *
 *     before    after the locks of the run are held and nobody else has done its due instant, one
 *               after the other: exit status 0 goes on, HOOK_SKIPS skips the run, any other, or its
 *               timeout, fails it before the work began. They count into the job's timeout.
 *     failure   when the run failed or was interrupted; also one that could not begin (no server),
 *               but not where another run of the job was in the way
 *     after     at the end of each run whose `before` was reached, however it ended
 *
 * The last two run when the lock of the repository was given back and that of the server (lease.h)
 * is still held, so the job does not begin elsewhere beside them. They don't count into the job's
 * timeout, and what they do changes no outcome: that one fails is a warning, and on record.
 *
 * Each gets the `run` document, with "phase", on stdin; PGCAIRN_CLUSTER, PGCAIRN_JOB,
 * PGCAIRN_RUN_ID, PGCAIRN_PHASE and PGCAIRN_OUTCOME; and of our environment only what hooks.c
 * lists, for the rest may hold passwords and keys. Each line that it writes goes into the run's
 * log, up to HOOK_OUTPUT_MAX bytes. When it has ended, or its time is over, its whole process group
 * is ended: what shall go on needs a group of its own (setsid).
 *
 * A signal to the run ends the program that runs; what follows it has HOOK_STOPPED_US in all.
 *
 *     struct hooks hooks = {.policy = ..., .run = ..., .document = ..., ...};
 *     rc = hooks_before(&hooks, why, sizeof(why), &skips, err);
 *     hooks_after(&hooks, HOOK_FAILURE);
 *     hooks_after(&hooks, HOOK_AFTER);
 *     hooks.records is the array of what ran: ours to release, NULL when nothing did
 */
#ifndef PGCAIRN_WORK_HOOKS_H
#define PGCAIRN_WORK_HOOKS_H

#include <jansson.h>

#include "journal/journal.h"
#include "work/work.h"

enum { HOOK_SKIPS = 77, HOOK_OUTPUT_MAX = 16 << 10, HOOK_LINE_MAX = 1000 };

#define HOOK_STOPPED_US (5 * US_PER_SECOND)
#define HOOK_KILL_GRACE_US (2 * US_PER_SECOND) /* between SIGTERM and SIGKILL */

struct hooks {
    const struct policy_hooks *policy;
    const struct journal_run *run;
    json_t *(*document)(void *context); /* the run as it is now, a new reference */
    work_notice_function line;          /* for the run's log alone */
    work_notice_function warn;
    work_progress_function progress;
    void *context; /* of these */
    json_t *records;
    int64_t stopped_until_us; /* monotonic; 0: no program began after a signal */
};

/* *ret_skips with the reason in `why` when one says so. ERR_CHILD, ERR_TIMEOUT, or why the run
 * shall end. */
int hooks_before(struct hooks *hooks, char *why, size_t size, bool *ret_skips, struct error *err);

void hooks_after(struct hooks *hooks, enum hook_phase phase);

#endif
