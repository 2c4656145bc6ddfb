#include "work/run.h"

#include <pthread.h>
#include <string.h>

#include "base/json.h"
#include "base/units.h"
#include "repository/ids.h"
#include "work/hooks.h"
#include "work/locking.h"
#include "work/open_repository.h"
#include "work/lease.h"

static const struct {
    enum job_type type;
    work_function run;
    enum lock_class class;
    enum lease_need need;
} RUNNERS[] = {
    {JOB_DUMP, dump_run, LOCK_DUMP, LEASE_NEEDS_SERVER},
    {JOB_SNAPSHOT, snapshot_run, LOCK_SNAPSHOT, LEASE_NEEDS_SERVER},
    {JOB_VACUUM, vacuum_run, LOCK_VACUUM, LEASE_NEEDS_PRIMARY},
    {JOB_PRUNE, prune_run, LOCK_PRUNE, LEASE_NEEDS_NO_SERVER},
    {JOB_WAL, wal_run, LOCK_OTHER, LEASE_NEEDS_PRIMARY},
    {JOB_VERIFY, verify_run, LOCK_VERIFY, LEASE_NEEDS_NO_SERVER},
    {JOB_DRILL, drill_run, LOCK_RESTORE, LEASE_NEEDS_NO_SERVER},
    {JOB_AUDIT, audit_run, LOCK_OTHER, LEASE_NEEDS_NO_SERVER},
};

/* A run in progress: the request, its report, and what guards the callbacks of many threads. */
struct running {
    const struct run_request *request;
    struct run_report *report;
    pthread_mutex_t mutex; /* of the callbacks, the journal and the report's notices */
    struct hooks hooks;
    bool is_reached; /* nobody else does it: from here on it is this run's */
};

static void take_notice(const char *text, void *context)
{
    struct running *running = context;
    const struct run_request *request = running->request;
    pthread_mutex_lock(&running->mutex);
    strv_add(&running->report->notices, text, NULL); /* over the limit the caller is told still */
    if (request->notice)
        request->notice(text, request->context);
    pthread_mutex_unlock(&running->mutex);
}

/* For the log of the run alone. */
static void take_line(const char *text, void *context)
{
    struct running *running = context;
    const struct run_request *request = running->request;
    pthread_mutex_lock(&running->mutex);
    if (request->notice)
        request->notice(text, request->context);
    pthread_mutex_unlock(&running->mutex);
}

static void take_progress(const char *phase, int64_t done, int64_t total, void *context)
{
    struct running *running = context;
    const struct run_request *request = running->request;
    pthread_mutex_lock(&running->mutex);
    if (request->journal)
        journal_progress(request->journal, running->report->run.run_id, phase, done, total);
    if (request->progress)
        request->progress(phase, done, total, request->context);
    pthread_mutex_unlock(&running->mutex);
}

static void say(struct running *running, const char *what, const struct error *error)
{
    char text[ERROR_MESSAGE_MAX + 64];
    snprintf(text, sizeof(text), "%s: %s", what, error->message);
    take_notice(text, running);
}

/* -- the journal --------------------------------------------------------------------------- */

static int say_interrupted(const struct journal_run *run, void *context, struct error *err)
{
    (void)err;
    char started[INSTANT_TEXT_MAX], text[ERROR_MESSAGE_MAX];
    int64_t started_us = run->started_us == INSTANT_NONE ? run->claimed_us : run->started_us;
    snprintf(text, sizeof(text), "run %s of %s was interrupted: %.1800s", run->run_id,
             instant_format(started_us, started), run->message);
    take_notice(text, context);
    return 0;
}

/* Claims, or begins what the daemon claimed; its row may be gone with a journal that was deleted,
 * then it is claimed anew. */
static int enter_journal(struct running *running, bool *ret_mine, struct error *err)
{
    const struct run_request *request = running->request;
    struct journal_run *run = &running->report->run;
    int rc =
        journal_recover(request->journal, run->cluster, run->job, say_interrupted, running, err);
    if (!rc && request->run_id) {
        rc = journal_begin(request->journal, request->run_id, err);
        if (!rc) {
            *ret_mine = true;
            return journal_find(request->journal, request->run_id, run, err);
        }
        if (rc != ERR_NOT_FOUND)
            return rc;
        rc = 0;
    }
    bool claimed = false;
    if (!rc)
        rc = journal_claim(request->journal, run, &claimed, err);
    if (!rc && claimed)
        rc = journal_begin(request->journal, run->run_id, err);
    if (!rc)
        *ret_mine = claimed;
    return rc;
}

static void leave_journal(struct running *running)
{
    struct error error = ERROR_NONE;
    struct journal *journal = running->request->journal;
    if (journal && journal_finish(journal, &running->report->run, &error))
        say(running, "the outcome is not in the journal", &error);
}

/* A scheduled run waits for another of the same job, to see whether that does its due instant; who
 * runs by hand is told that it runs already. */
static int64_t wait_us(const struct run_request *request)
{
    if (request->due_us == INSTANT_NONE)
        return request->job->lock_wait_us;
    return request->job->timeout_us > 0 ? request->job->timeout_us : LEASE_WAIT_MAX_US;
}

/* -- the work itself ----------------------------------------------------------------------- */

static int find_runner(enum job_type type, size_t *ret_index, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(RUNNERS); i++) {
        if (RUNNERS[i].type == type) {
            *ret_index = i;
            return 0;
        }
    }
    return error_set(err, ERR_USAGE, "this version can't run jobs of type %s", job_type_name(type));
}

static int run_story(struct work *work, work_function story, struct running *running,
                     struct error *err)
{
    struct work_result result = {0};
    if (work_interrupted(err))
        return ERR_INTERRUPTED;
    int rc = story(work, &result, err);
    /* A store that was stopped knows that, and a connection that it was cut, but not why. */
    struct error reason = ERROR_NONE;
    if ((rc == ERR_INTERRUPTED || rc == ERR_CONNECTION) && work_interrupted(&reason)) {
        rc = reason.code;
        if (err)
            *err = reason;
    }
    struct journal_run *run = &running->report->run;
    snprintf(run->backup_id, sizeof(run->backup_id), "%s", result.backup_id);
    run->bytes_source = result.bytes_source;
    run->bytes_stored = result.bytes_stored;
    running->report->needs_snapshot = result.needs_snapshot;
    running->report->details = TAKE(result.details);
    work_result_clear(&result);
    return rc;
}

/* Somebody else has done it, or must: that is no failure. */
static void leave_it(struct running *running, const char *why)
{
    struct journal_run *run = &running->report->run;
    run->outcome = OUTCOME_NOT_MINE;
    snprintf(run->message, sizeof(run->message), "%s", why);
}

/* With both locks held: what is not on record now was not done, and is not being done. */
static int find_done(struct running *running, struct repository *repository, bool *ret_done,
                     struct error *err)
{
    const struct run_request *request = running->request;
    struct run_record record;
    char text[ERROR_MESSAGE_MAX];
    if (request->due_us == INSTANT_NONE)
        return 0;
    int rc = lease_find_done(repository, request->job, request->due_us, &record, ret_done, err);
    if (rc || !*ret_done)
        return rc;
    lease_describe_done(&record, text, sizeof(text));
    leave_it(running, text);
    return 0;
}

/* What was done stays done whatever becomes of its record. */
static void note_done(struct running *running, struct repository *repository)
{
    const struct run_request *request = running->request;
    const struct journal_run *run = &running->report->run;
    struct error error = ERROR_NONE;
    struct run_record record = {.due_us = request->due_us,
                                .started_us = run->started_us,
                                .ended_us = instant_now_us(),
                                .fence = running->report->fence};
    char other[ERROR_MESSAGE_MAX], text[ERROR_MESSAGE_MAX + 64];
    bool first = true;
    if (request->due_us == INSTANT_NONE)
        return;
    snprintf(record.job, sizeof(record.job), "%s", run->job);
    snprintf(record.run_id, sizeof(record.run_id), "%s", run->run_id);
    snprintf(record.backup_id, sizeof(record.backup_id), "%s", run->backup_id);
    int rc = lease_note_done(repository, &record, &first, &error);
    if (rc)
        say(running, "that this due instant is done is not on record in the repository", &error);
    if (!rc && !first) {
        lease_describe_done(&record, other, sizeof(other));
        snprintf(text, sizeof(text), "warning: this run came second: %s", other);
        take_notice(text, running);
    }
    run_records_trim(repository, run->job, record.ended_us, NULL);
}

static void skip_by_hook(struct running *running, const char *why)
{
    struct journal_run *run = &running->report->run;
    run->outcome = OUTCOME_SKIPPED;
    snprintf(run->message, sizeof(run->message), "%s", why);
    take_notice(why, running);
}

static int run_between_hooks(struct running *running, struct work *work, work_function story,
                             struct error *err)
{
    char why[ERROR_MESSAGE_MAX];
    bool skips = false;
    running->is_reached = true;
    int rc = hooks_before(&running->hooks, why, sizeof(why), &skips, err);
    if (!rc && skips) {
        skip_by_hook(running, why);
        return 0;
    }
    if (!rc)
        rc = run_story(work, story, running, err);
    if (!rc)
        note_done(running, work->repository);
    return rc;
}

static int run_locked(struct running *running, struct repository *repository, size_t runner,
                      struct lease *lease, struct error *err)
{
    const struct run_request *request = running->request;
    const struct journal_run *run = &running->report->run;
    _cleanup_(locking_freep) struct locking *locking = NULL;
    struct lock_request wanted = {.job = request->job->name,
                                  .class = RUNNERS[runner].class,
                                  .run_id = run->run_id,
                                  .wait_us = request->job->lock_wait_us,
                                  .wait_own_us = wait_us(request),
                                  .under = lease_under(lease),
                                  .stop = work_interrupted};
    bool is_done = false;
    int rc = locking_begin(repository, &wanted, request->job->timeout_us, &locking, err);
    if (rc)
        return rc;
    running->report->fence = lock_number(locking_lock(locking));
    rc = find_done(running, repository, &is_done, err);
    if (rc || is_done)
        return rc;
    struct work work = {.policy = request->policy,
                        .job = request->job,
                        .repository = repository,
                        .lock = locking_lock(locking),
                        .lease = lease,
                        .claimed_due_us = request->due_us,
                        .accept_empty = request->accept_empty,
                        .due_us = run->due_us == INSTANT_NONE ? run->started_us : run->due_us,
                        .started_us = run->started_us,
                        .progress = take_progress,
                        .notice = take_notice,
                        .context = running};
    snprintf(work.run_id, sizeof(work.run_id), "%s", run->run_id);
    rc = run_between_hooks(running, &work, RUNNERS[runner].run, err);
    struct error release = ERROR_NONE;
    if (locking_end(locking, &release) && release.code != ERR_CONFLICT)
        say(running, "the lock was not given back", &release);
    return rc;
}

/* An empty place where a backup was stored before is a disk that is not mounted, more often than a
 * repository that was moved. The run goes on: a backup in the wrong place is one. */
static void mind_new_repository(struct running *running, const struct repository *repository)
{
    const struct run_request *request = running->request;
    struct journal_run before;
    bool found = false;
    char text[ERROR_MESSAGE_MAX];
    if (!repository->is_new || !request->journal ||
        journal_last(request->journal, request->policy->cluster, request->job->name, OUTCOME_DONE,
                     &found, &before, NULL) ||
        !found || !before.backup_id[0])
        return;
    snprintf(text, sizeof(text),
             "warning: the repository %.1000s is empty and is begun anew, though backup %s was "
             "stored before: is its disk mounted?",
             request->policy->repository_url, before.backup_id);
    take_notice(text, running);
}

static int take_lease(struct running *running, size_t runner, struct lease **ret_lease,
                      struct error *err)
{
    const struct run_request *request = running->request;
    struct lease_request wanted = {.policy = request->policy,
                                   .job = request->job,
                                   .run_id = running->report->run.run_id,
                                   .need = RUNNERS[runner].need,
                                   .wait_us = wait_us(request),
                                   .progress = take_progress,
                                   .notice = take_notice,
                                   .context = running};
    int rc = lease_take(&wanted, ret_lease, err);
    if (!rc && lease_refusal(*ret_lease))
        leave_it(running, lease_refusal(*ret_lease));
    return rc;
}

static int run_leased(struct running *running, struct lease **ret_lease, struct error *err)
{
    const struct run_request *request = running->request;
    _cleanup_(repository_freep) struct repository *repository = NULL;
    size_t runner = 0;
    int rc = find_runner(request->job->type, &runner, err);
    if (!rc)
        rc = take_lease(running, runner, ret_lease, err);
    if (!rc && lease_refusal(*ret_lease))
        return 0;
    if (!rc)
        rc = work_open_repository(request->policy, request->job, &repository, err);
    if (!rc)
        mind_new_repository(running, repository);
    if (!rc)
        rc = repository_prepare(repository, err);
    return rc ? rc : run_locked(running, repository, runner, *ret_lease, err);
}

static void fill_outcome(struct journal_run *run, int rc, const struct error *error)
{
    run->ended_us = instant_now_us();
    if (rc == 0 && (run->outcome == OUTCOME_NOT_MINE || run->outcome == OUTCOME_SKIPPED))
        return;
    run->outcome = rc == 0                 ? OUTCOME_DONE
                   : rc == ERR_INTERRUPTED ? OUTCOME_INTERRUPTED
                                           : OUTCOME_FAILED;
    if (rc == 0)
        return;
    snprintf(run->error_code, sizeof(run->error_code), "%s", error_code_name(rc));
    snprintf(run->message, sizeof(run->message), "%s", error->message);
    snprintf(run->hint, sizeof(run->hint), "%s", error_cure(error));
}

/* The outcome stays what it is. A run that another was in the way of is no failed one to them. */
static void end_hooks(struct running *running)
{
    struct journal_run *run = &running->report->run;
    bool is_failed = run->outcome == OUTCOME_FAILED || run->outcome == OUTCOME_INTERRUPTED;
    bool is_known =
        run->outcome == OUTCOME_FAILED && strcmp(run->error_code, error_code_name(ERR_BUSY)) != 0;
    if (is_failed && (running->is_reached || is_known))
        hooks_after(&running->hooks, HOOK_FAILURE);
    if (running->is_reached)
        hooks_after(&running->hooks, HOOK_AFTER);
    if (running->hooks.records)
        run->ended_us = instant_now_us();
}

static int run_claimed(struct running *running, struct error *err)
{
    _cleanup_(lease_freep) struct lease *lease = NULL; /* the last to be given back */
    int rc = run_leased(running, &lease, err);
    fill_outcome(&running->report->run, rc, err);
    end_hooks(running);
    return rc;
}

/* The due instant is another run's. Only when that one is done has this call reached its aim. */
static int skip(struct running *running, struct error *err)
{
    struct journal_run *run = &running->report->run;
    enum journal_outcome other = run->outcome;
    struct error error = ERROR_NONE;
    char text[JOURNAL_RUN_ID_MAX + 80];
    snprintf(text, sizeof(text), "not again: run %s of this due instant is %s", run->run_id,
             journal_outcome_name(other));
    int rc = 0;
    if (other == OUTCOME_RUNNING)
        rc = error_set(&error, ERR_BUSY, "%s", text);
    else if (other != OUTCOME_DONE) {
        error_set(&error, ERR_FAILED, "%s", text);
        rc = error_hint(&error, "to try that due instant again: --attempt %d", run->attempt + 1);
    }
    run->outcome = OUTCOME_SKIPPED;
    snprintf(run->message, sizeof(run->message), "%s", text);
    snprintf(run->error_code, sizeof(run->error_code), "%s", rc ? error_code_name(rc) : "");
    snprintf(run->hint, sizeof(run->hint), "%s", rc ? error_cure(&error) : "");
    if (rc && err)
        *err = error;
    else if (!rc)
        take_notice(text, running);
    return rc;
}

static int fill_request(const struct run_request *request, struct journal_run *run,
                        struct error *err)
{
    *run = (struct journal_run){.due_us = request->due_us,
                                .attempt = request->attempt,
                                .claimed_us = instant_now_us(),
                                .started_us = instant_now_us(),
                                .ended_us = INSTANT_NONE};
    snprintf(run->cluster, sizeof(run->cluster), "%s", request->policy->cluster);
    snprintf(run->job, sizeof(run->job), "%s", request->job->name);
    snprintf(run->type, sizeof(run->type), "%s", job_type_name(request->job->type));
    if (request->run_id) {
        snprintf(run->run_id, sizeof(run->run_id), "%s", request->run_id);
        return 0;
    }
    char id[ID_SIZE];
    int rc = id_make(run->started_us, id, err);
    if (!rc)
        snprintf(run->run_id, sizeof(run->run_id), "%s", id);
    return rc;
}

static json_t *document_now(void *context)
{
    const struct running *running = context;
    json_t *document = run_report_json(running->report);
    if (document && running->hooks.records)
        json_object_set(document, "hooks", running->hooks.records);
    return document;
}

static void prepare_hooks(struct running *running)
{
    running->hooks = (struct hooks){.policy = &running->request->job->hooks,
                                    .run = &running->report->run,
                                    .document = document_now,
                                    .line = take_line,
                                    .warn = take_notice,
                                    .progress = take_progress,
                                    .context = running};
}

int run_job(const struct run_request *request, struct run_report *ret_report, struct error *err)
{
    struct running running = {
        .request = request, .report = ret_report, .mutex = PTHREAD_MUTEX_INITIALIZER};
    struct journal_run *run = &ret_report->run;
    struct error error = ERROR_NONE;
    bool is_mine = true;
    *ret_report = (struct run_report){.notices = STRV_INIT(WORK_NOTICES_MAX)};
    int rc = fill_request(request, run, err);
    if (rc)
        return rc;
    if (request->journal && enter_journal(&running, &is_mine, &error))
        say(&running, "this run is not in the journal", &error);
    if (!is_mine)
        return skip(&running, err);
    if (run->started_us == INSTANT_NONE)
        run->started_us = instant_now_us();
    error_clear(&error);
    if (request->begun)
        request->begun(run, request->context);
    prepare_hooks(&running);
    rc = run_claimed(&running, &error);
    ret_report->hooks = TAKE(running.hooks.records);
    leave_journal(&running);
    if (rc && err)
        *err = error;
    return rc;
}

void run_report_clear(struct run_report *report)
{
    json_decref(report->details);
    json_decref(report->hooks);
    report->details = report->hooks = NULL;
    strv_clear(&report->notices);
}

/* -- the document -------------------------------------------------------------------------- */

static json_t *notices_json(const struct run_report *report)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->notices.count && list; i++) {
        /* Texts of a server may not be UTF-8, which JSON can't carry. */
        json_t *text = json_string(report->notices.items[i]);
        json_array_append_new(list, text ? text : json_string("(a notice that is not UTF-8)"));
    }
    return list;
}

static json_t *error_json(const struct journal_run *run)
{
    if (run->error_code[0] == '\0')
        return json_null();
    json_t *message = json_string(run->message), *hint = json_string(run->hint);
    return json_pack("{s:s, s:o, s:o}", "code", run->error_code, "message",
                     message ? message : json_string("(not UTF-8)"), "hint",
                     hint ? hint : json_string(""));
}

json_t *run_report_json(const struct run_report *report)
{
    const struct journal_run *run = &report->run;
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:i, s:s, s:o, s:o, s:s?, s:I, s:I, s:I, s:o, s:o, s:O*, s:O*}",
        "run_id", run->run_id, "cluster", run->cluster, "job", run->job, "due",
        json_instant(run->due_us), "attempt", run->attempt, "outcome",
        journal_outcome_name(run->outcome), "started_at", json_instant(run->started_us), "ended_at",
        json_instant(run->ended_us), "backup_id", run->backup_id[0] ? run->backup_id : NULL,
        "bytes_source", (json_int_t)run->bytes_source, "bytes_stored",
        (json_int_t)run->bytes_stored, "fence", (json_int_t)report->fence, "error", error_json(run),
        "notices", notices_json(report), "details", report->details, "hooks", report->hooks);
}
