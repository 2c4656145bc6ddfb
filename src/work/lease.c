#include "work/lease.h"

#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "journal/journal.h"
#include "postgres/advisory.h"
#include "store/sha256.h"
#include "work/policy_load.h"

enum { KEY_DIGITS = 16, KEY_TEXT_MAX = 8192 };

#define STEP_US (200 * US_PER_SECOND / 1000) /* how soon a signal is seen */
#define ASK_US US_PER_SECOND                 /* between two questions while waiting */

/* Not "pgcairn RUN", by which dumps are known. What follows it is read by busy(). */
static const char APPLICATION[] = "pgcairn-lock";

struct lease {
    struct lease_request request;
    struct pg_advisory *lock; /* NULL: the repository's lock decides alone */
    char refusal[256];
    bool is_watched;
    pthread_t watcher;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool is_over;
};

static void say(const struct lease *lease, const char *text)
{
    if (lease->request.notice)
        lease->request.notice(text, lease->request.context);
}

static bool needs_server(const struct lease *lease)
{
    return lease->request.need != LEASE_NEEDS_NO_SERVER;
}

/* -- taking it ----------------------------------------------------------------------------- */

int lease_key(const char *repository_url, const char *cluster, const char *job, int64_t *ret_key,
              struct error *err)
{
    char text[KEY_TEXT_MAX], hex[SHA256_HEX + 1];
    int length = snprintf(text, sizeof(text), "pgcairn %s %s/%s", repository_url, cluster, job);
    if (length < 0 || (size_t)length >= sizeof(text))
        return error_set(err, ERR_LIMIT, "the names of repository, cluster and job are too long");
    int rc = sha256_of(text, (size_t)length, hex, err);
    if (rc)
        return rc;
    hex[KEY_DIGITS] = '\0';
    *ret_key = (int64_t)strtoull(hex, NULL, 16);
    return 0;
}

/* The server without which the job can do as well, or that can't keep a session's lock: the job
 * itself says what it can't do through a pooler. */
static int do_without(struct lease *lease, int rc, const struct error *reason, struct error *err)
{
    char text[ERROR_MESSAGE_MAX + 128];
    bool is_pooler = rc == ERR_FAILED;
    if (rc == ERR_MEMORY || rc == ERR_INTERRUPTED || (needs_server(lease) && !is_pooler)) {
        if (err)
            *err = *reason;
        return rc;
    }
    snprintf(text, sizeof(text),
             "the server's lock of this job is not held, that of the repository decides alone: %s",
             reason->message);
    say(lease, text);
    return 0;
}

static int open_lock(struct lease *lease, struct error *err)
{
    const struct lease_request *request = &lease->request;
    const struct policy *policy = request->policy;
    _cleanup_(freep) char *conninfo = NULL;
    char host[64] = "", application[160];
    struct error reason = ERROR_NONE;
    int64_t key = 0;
    gethostname(host, sizeof(host) - 1);
    snprintf(application, sizeof(application), "%s %s %d %s", APPLICATION, request->run_id,
             (int)getpid(), host);
    int rc = lease_key(policy->repository_url, policy->cluster, request->job->name, &key, err);
    if (rc)
        return rc;
    rc = policy_connection(policy, request->job, &conninfo, &reason);
    if (!rc)
        rc = pg_advisory_open(conninfo, key, application, &lease->lock, &reason);
    return rc ? do_without(lease, rc, &reason, err) : 0;
}

static int busy(const struct lease *lease, const char *holder, struct error *err)
{
    const char *job = lease->request.job->name;
    char run[WORK_RUN_ID_MAX] = "", host[64] = "";
    int pid = 0;
    if (sscanf(holder, "pgcairn-lock %39s %d %63s", run, &pid, host) >= 2)
        error_set(err, ERR_BUSY, "job \"%s\" (run %s, pid %d on %s) runs already", job, run, pid,
                  host);
    else
        error_set(err, ERR_BUSY, "job \"%s\" runs already, by another session of the server", job);
    return error_hint(err,
                      "wait for its end; the server frees the lock of one that is gone within "
                      "%d seconds",
                      PG_ADVISORY_RELEASE_SECONDS);
}

static int pause_a_little(struct error *err)
{
    struct timespec step = {.tv_nsec = STEP_US * 1000};
    for (int64_t slept_us = 0; slept_us < ASK_US; slept_us += STEP_US) {
        if (work_interrupted(err))
            return err ? err->code : ERR_INTERRUPTED;
        nanosleep(&step, NULL);
    }
    return 0;
}

static int wait_for_lock(struct lease *lease, struct error *err)
{
    const struct lease_request *request = &lease->request;
    int64_t deadline_us = instant_monotonic_us() + request->wait_us;
    char holder[PG_ADVISORY_NAME_MAX] = "";
    bool taken = false;
    for (;;) {
        int rc = pg_advisory_try(lease->lock, &taken, holder, err);
        if (rc || taken)
            return rc;
        if (instant_monotonic_us() >= deadline_us)
            return busy(lease, holder, err);
        if (request->progress)
            request->progress("waiting for another run of the job", 0, 0, request->context);
        rc = pause_a_little(err);
        if (rc)
            return rc;
    }
}

/* -- keeping it ---------------------------------------------------------------------------- */

static void lose(struct lease *lease, const struct error *reason)
{
    char text[ERROR_MESSAGE_MAX + 128];
    if (!needs_server(lease)) {
        snprintf(text, sizeof(text),
                 "the server's lock of this job was lost, that of the repository decides alone: %s",
                 reason->message);
        say(lease, text);
        return;
    }
    snprintf(text, sizeof(text), "the server's lock of this run was lost: %s", reason->message);
    bool is_silent = pg_advisory_is_silent(lease->lock);
    if (is_silent)
        pg_forbid_cancels();
    work_stop(reason->code, text); /* before anybody fails for want of a connection */
    if (is_silent)
        pg_advisory_cut_off(lease->lock);
}

static void *watch(void *argument)
{
    struct lease *lease = argument;
    int64_t next_us = instant_monotonic_us() + PG_ADVISORY_BEAT_US;
    pthread_mutex_lock(&lease->mutex);
    while (!lease->is_over) {
        struct error error = ERROR_NONE;
        struct timespec until = {.tv_sec = next_us / US_PER_SECOND,
                                 .tv_nsec = next_us % US_PER_SECOND * 1000};
        pthread_cond_timedwait(&lease->wake, &lease->mutex, &until);
        if (lease->is_over || instant_monotonic_us() < next_us)
            continue;
        pthread_mutex_unlock(&lease->mutex);
        int rc = pg_advisory_beat(lease->lock, &error);
        if (rc)
            lose(lease, &error);
        pthread_mutex_lock(&lease->mutex);
        if (rc)
            break;
        next_us = instant_monotonic_us() + PG_ADVISORY_BEAT_US;
    }
    pthread_mutex_unlock(&lease->mutex);
    return NULL;
}

static int start_watching(struct lease *lease, struct error *err)
{
    int failure = pthread_create(&lease->watcher, NULL, watch, lease);
    if (failure)
        return error_set_errno(err, failure, "could not start the thread that watches the lock");
    lease->is_watched = true;
    return 0;
}

int lease_check(struct lease *lease, struct error *err)
{
    struct error reason = ERROR_NONE;
    if (!lease || !lease->lock || !needs_server(lease))
        return 0;
    int rc = pg_advisory_check(lease->lock, &reason);
    if (!rc)
        return 0;
    error_set(err, rc, "the server's lock of this run was lost: %s", reason.message);
    return error_hint(err, "nothing is published without it, for another may run the job by now; a "
                           "scheduled run is tried again by itself");
}

const char *lease_refusal(const struct lease *lease)
{
    return lease->refusal[0] ? lease->refusal : NULL;
}

const char *lease_under(const struct lease *lease)
{
    return lease->lock && needs_server(lease) ? pg_advisory_identity(lease->lock) : NULL;
}

/* -- the whole ----------------------------------------------------------------------------- */

static struct lease *new_lease(const struct lease_request *request)
{
    struct lease *lease = calloc(1, sizeof(*lease));
    pthread_condattr_t monotonic;
    if (!lease)
        return NULL;
    lease->request = *request;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&lease->mutex, NULL);
    pthread_cond_init(&lease->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return lease;
}

int lease_take(const struct lease_request *request, struct lease **ret_lease, struct error *err)
{
    _cleanup_(lease_freep) struct lease *lease = new_lease(request);
    if (!lease)
        return error_no_memory(err);
    int rc = open_lock(lease, err);
    if (!rc && lease->lock && request->need == LEASE_NEEDS_PRIMARY &&
        pg_advisory_is_standby(lease->lock))
        snprintf(lease->refusal, sizeof(lease->refusal),
                 "the server is a standby, and a job of type %s needs the primary",
                 job_type_name(request->job->type));
    else if (!rc && lease->lock) {
        rc = wait_for_lock(lease, err);
        if (!rc)
            rc = start_watching(lease, err);
    }
    if (rc)
        return rc;
    *ret_lease = TAKE(lease);
    return 0;
}

struct lease *lease_free(struct lease *lease)
{
    if (!lease)
        return NULL;
    if (lease->is_watched) {
        pthread_mutex_lock(&lease->mutex);
        lease->is_over = true;
        pthread_cond_signal(&lease->wake);
        pthread_mutex_unlock(&lease->mutex);
        pthread_join(lease->watcher, NULL);
    }
    pg_advisory_free(lease->lock);
    pthread_cond_destroy(&lease->wake);
    pthread_mutex_destroy(&lease->mutex);
    free(lease);
    return NULL;
}

/* -- what was done ------------------------------------------------------------------------- */

int lease_find_done(struct repository *repository, const struct policy_job *job, int64_t due_us,
                    struct run_record *ret_record, bool *ret_found, struct error *err)
{
    bool found = false;
    int rc = run_record_find(repository, job->name, due_us, ret_record, &found, err);
    if (!rc && !found && (job->type == JOB_DUMP || job->type == JOB_SNAPSHOT))
        rc = run_find_backup(repository, job->type == JOB_DUMP ? BACKUP_DUMP : BACKUP_SNAPSHOT,
                             job->name, due_us, ret_record, &found, err);
    if (!rc)
        *ret_found = found;
    return rc;
}

void lease_describe_done(const struct run_record *record, char *text, size_t size)
{
    char host[64] = "";
    gethostname(host, sizeof(host) - 1);
    snprintf(text, size, JOURNAL_DONE_BY_ANOTHER "%s: run %s on %s%s%s",
             strcmp(host, record->host) == 0 ? "already" : "elsewhere", record->run_id,
             record->host, record->backup_id[0] ? ", backup " : "", record->backup_id);
}

int lease_note_done(struct repository *repository, struct run_record *record, bool *ret_first,
                    struct error *err)
{
    char host[RUN_RECORD_TEXT_MAX + 1] = "";
    struct error reason = ERROR_NONE;
    bool found = false;
    gethostname(host, sizeof(host) - 1);
    memcpy(record->host, host, sizeof(record->host));
    int rc = run_record_add(repository, record, &reason);
    if (rc == ERR_EXISTS) {
        struct run_record first;
        rc = run_record_find(repository, record->job, record->due_us, &first, &found, &reason);
        if (!rc && found)
            *record = first;
    }
    if (rc && err)
        *err = reason;
    if (!rc)
        *ret_first = !found;
    return rc;
}
