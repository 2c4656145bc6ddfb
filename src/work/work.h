/*
 * What a running job has in its hands, and what it leaves. src/work/run.c prepares a struct work
 * for one run of one job (policy, repository, lock, run id), calls the job type's function, and
 * records the result; a story (dump.c, vacuum.c, prune.c) reads it and fills a struct work_result.
 *
 * Threads: a story may call work_progress() and work_interrupted() from any of its threads.
 */
#ifndef PGCAIRN_WORK_WORK_H
#define PGCAIRN_WORK_WORK_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/error.h"
#include "policy/policy.h"
#include "repository/locks.h"
#include "repository/repository.h"

enum { WORK_RUN_ID_MAX = 40, WORK_NOTICES_MAX = 1000 };

/* Told about progress now and then; done and total in bytes (or tables, for vacuum); total 0 while
 * not known. `phase` is a short present participle: "dumping app". */
typedef void (*work_progress_function)(const char *phase, int64_t done, int64_t total,
                                       void *context);

/* One line for people: a notice that the run goes on in spite of ("foreign table x skipped"). */
typedef void (*work_notice_function)(const char *text, void *context);

struct work {
    const struct policy *policy;
    const struct policy_job *job;
    struct repository *repository;
    struct lock *lock;      /* held by this run; NULL when run without one, in tests */
    struct lease *lease;    /* of lease.h; NULL likewise */
    int64_t claimed_due_us; /* the due instant; INSTANT_NONE (or 0) for a run by hand */
    char run_id[WORK_RUN_ID_MAX];
    bool accept_empty; /* a person knows that a database has lost all its tables */
    int64_t due_us;    /* the due instant, or the start of a run by hand */
    int64_t started_us;
    work_progress_function progress; /* may be NULL */
    work_notice_function notice;     /* may be NULL */
    void *context;                   /* of both */
};

struct work_result {
    char backup_id[40]; /* "" when the job makes no backup */
    int64_t bytes_source;
    int64_t bytes_stored;
    bool needs_snapshot; /* WAL is lost behind the newest snapshot: only a new one ends that */
    json_t *details;     /* what else the job has to say, for the journal and --json; may be NULL */
};

void work_result_clear(struct work_result *result);

void work_progress(const struct work *work, const char *phase, int64_t done, int64_t total);
void work_notice(const struct work *work, const char *format, ...) _printf_(2, 3);

/* Whether the locks, the repository's and the server's, are still this run's: asked before a
 * manifest is written or a thing deleted. ERR_CONFLICT when another run has taken over,
 * ERR_CONNECTION when the server does not say any more that it is ours. */
int work_check_lock(const struct work *work, struct error *err);

/*
 * SIGINT and SIGTERM set a flag that long loops look at; the first makes the work stop in order
 * (ERR_INTERRUPTED), nothing half-written stays. Installed once by the command that runs work.
 */
void work_catch_signals(void);
bool work_interrupted(struct error *err); /* sets ERR_INTERRUPTED when true; err may be NULL */

/* For work without an end of its own: the first signal only asks it to finish, the second makes it
 * stop as above. */
void work_catch_signals_to_finish(void);
bool work_shall_finish(void);

/* Asks the running work to end with this error, as a signal does: a timeout, a lost lock. The first
 * reason stays. Any thread. */
void work_stop(int code, const char *message);

/* A job type: how run.c runs it. The stories export one function each. */
typedef int (*work_function)(const struct work *work, struct work_result *result,
                             struct error *err);

int drill_run(const struct work *work, struct work_result *result, struct error *err);
int dump_run(const struct work *work, struct work_result *result, struct error *err);
int snapshot_run(const struct work *work, struct work_result *result, struct error *err);
int vacuum_run(const struct work *work, struct work_result *result, struct error *err);
int wal_run(const struct work *work, struct work_result *result, struct error *err);
int prune_run(const struct work *work, struct work_result *result, struct error *err);
int verify_run(const struct work *work, struct work_result *result, struct error *err);
int audit_run(const struct work *work, struct work_result *result, struct error *err);

#endif
