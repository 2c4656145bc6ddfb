/*
 * One run of one job: what the daemon, a person, a systemd timer or a Kubernetes CronJob starts.
 *
 *     claim the due instant in the journal, or begin what the daemon claimed
 *     take its turn: the server's lock of the job (lease.h); on a standby perhaps: not mine
 *     open the repository, take the job's lock, refresh it every minute
 *     look whether another has done the due instant: not mine then
 *     run the programs before it (hooks.h): one may skip the run, or fail it
 *     call the story of the job's type (the table at the top of run.c)
 *     put on record in the repository that the due instant is done
 *     give the repository's lock back, run the programs of failure and after
 *     give the server's lock back, write the outcome into the journal
 *
 * Outcome not_mine is no error: somebody else has done it, or must; run.message says who.
 *
 * A due instant that the journal knows as claimed or done is not run again: outcome skipped, no
 * error. A journal that can't be written never stops a run: it is a notice, for the backup is worth
 * more than its record. Timeouts are soft here: the work is asked to stop; the daemon ends the
 * whole process group of one that does not.
 *
 *     work_catch_signals();
 *     rc = run_job(&request, &report, err);        report is filled on failure too
 *     run_report_clear(&report);
 *
 * One run at a time in a process.
 */
#ifndef PGCAIRN_WORK_RUN_H
#define PGCAIRN_WORK_RUN_H

#include <jansson.h>

#include "base/strv.h"
#include "journal/journal.h"
#include "work/work.h"

struct run_request {
    const struct policy *policy;
    const struct policy_job *job;
    int64_t due_us;          /* INSTANT_NONE for a run by hand */
    int attempt;             /* 1 for the first */
    bool accept_empty;       /* of work.h */
    const char *run_id;      /* what the daemon claimed; NULL: the run claims for itself */
    struct journal *journal; /* NULL: nothing is recorded */
    /* The run has its id and is claimed; may be NULL. */
    void (*begun)(const struct journal_run *run, void *context);
    work_progress_function progress; /* one call at a time, from any thread; may be NULL */
    work_notice_function notice;     /* the same */
    void *context;                   /* of these */
};

struct run_report {
    struct journal_run run; /* ids, times, outcome, bytes, error */
    int64_t fence;          /* the number of the lock it ran under; 0: it had none */
    bool needs_snapshot;    /* of work.h; on failure too */
    json_t *details;        /* what else the job said; may be NULL */
    json_t *hooks;          /* which programs ran around it (hooks.h); NULL: none */
    struct strv notices;    /* at most WORK_NOTICES_MAX */
};

int run_job(const struct run_request *request, struct run_report *ret_report, struct error *err);
void run_report_clear(struct run_report *report);

/* The `run` document of the command line, a new reference; NULL when out of memory. */
json_t *run_report_json(const struct run_report *report);

#endif
