/*
 * Whose turn it is: of several machines with one policy, one runs a job at a time, and a due
 * instant that one of them has done the others leave alone.
 *
 *     lease_take(&request, &lease, err);      the server's lock of the job, waited for; ERR_BUSY
 *     lease_refusal(lease);                   why it is not for this server to do; NULL: it is
 *     ... the repository's lock, with lease_under(lease) ...
 *     lease_find_done(repository, job, due_us, &record, &found, err);    somebody has already
 *     ... the work; lease_check(lease, err) before anything final, by work_check_lock() ...
 *     lease_note_done(repository, &record, &first, err);
 *     lease_free(lease);                      gives it back, after the repository's lock
 *
 * Four things decide, each where the one before can't:
 *
 * - The server's advisory lock of (repository, cluster, job), in the server that the job is for
 *   (postgres/advisory.h). It is free the moment its holder's session ends, wherever that was. A
 *   thread asks every two seconds whether the session lives. A run that needs the server is stopped
 *   when it does not; others (prune, verify, audit, drill) go on, for what they change the
 *   repository's lock guards alone. So it is, with a notice, where the server can't be reached, by
 * a job that does without it, or is behind a pooler.
 * - The repository's lock of the job (repository/locks.h), which also excludes jobs of other kinds.
 *   Its number is the fence. Between a primary and its standby, whose advisory locks know nothing
 * of each other, it is what excludes.
 * - What is on record of (job, due instant) in the repository. It is looked at with both locks
 * held, so what is not there was not done, and is not being done.
 * - Standby or primary: a job that needs the primary is not for a standby's daemon to do.
 *
 * What remains: between the last check and the moment at which the store has the manifest, a run
 * may be held up (its machine suspended) for longer than the server keeps its lock. Then two
 * backups of one due instant may come to be, both whole and good. Both name the instant and their
 * fence, the record of the instant names the first, and the other run says that it came second.
 */
#ifndef PGCAIRN_WORK_LEASE_H
#define PGCAIRN_WORK_LEASE_H

#include "repository/runs.h"
#include "work/work.h"

/* How long a scheduled run waits for another of the same job when the job has no timeout. */
#define LEASE_WAIT_MAX_US (24 * US_PER_HOUR)

enum lease_need {
    LEASE_NEEDS_NO_SERVER, /* works on the repository alone, under the repository's lock alone */
    LEASE_NEEDS_SERVER,
    LEASE_NEEDS_PRIMARY,
};

struct lease_request {
    const struct policy *policy;
    const struct policy_job *job;
    const char *run_id;
    enum lease_need need;
    int64_t wait_us;                 /* for the end of another run of the job */
    work_progress_function progress; /* may be NULL */
    work_notice_function notice;     /* from two threads; may be NULL */
    void *context;                   /* of both */
};

struct lease;

int lease_take(const struct lease_request *request, struct lease **ret_lease, struct error *err);
const char *lease_refusal(const struct lease *lease);
/* For lock_request.under; NULL when no lock of a server's is held, or none that decides. */
const char *lease_under(const struct lease *lease);
/* ERR_CONNECTION or ERR_CONFLICT: lost, and the run ends without a result. Any thread. */
int lease_check(struct lease *lease, struct error *err);
struct lease *lease_free(struct lease *lease);

/* The key of the advisory lock. */
int lease_key(const char *repository_url, const char *cluster, const char *job, int64_t *ret_key,
              struct error *err);

int lease_find_done(struct repository *repository, const struct policy_job *job, int64_t due_us,
                    struct run_record *ret_record, bool *ret_found, struct error *err);
/* "done elsewhere: run 2026... on db2, backup 2026..." */
void lease_describe_done(const struct run_record *record, char *text, size_t size);

/* Puts on record that the instant was done, by this host. *ret_first is false when another was
 * first; *record is what is on record then. */
int lease_note_done(struct repository *repository, struct run_record *record, bool *ret_first,
                    struct error *err);

DEFINE_FREEP(struct lease *, lease_free)

#endif
