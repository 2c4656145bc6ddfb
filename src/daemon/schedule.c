#include <string.h>

#include "base/json.h"
#include "daemon/say.h"
#include "daemon/state.h"

static struct journal_run row_of(const struct roster_job *job, int64_t due_us, int attempt)
{
    struct journal_run run = {
        .due_us = due_us, .attempt = attempt, .started_us = INSTANT_NONE, .ended_us = INSTANT_NONE};
    snprintf(run.cluster, sizeof(run.cluster), "%s", job->owner->policy->cluster);
    snprintf(run.job, sizeof(run.job), "%s", job->job->name);
    snprintf(run.type, sizeof(run.type), "%s", job_type_name(job->job->type));
    return run;
}

/* -- claims ---------------------------------------------------------------------------------- */

/* A due instant that is not run is on record too. */
static void record_skip(struct daemon *daemon, const struct roster_job *job, int64_t due_us,
                        const char *why)
{
    struct journal_run run = row_of(job, due_us, 1);
    struct error err = ERROR_NONE;
    char due[INSTANT_TEXT_MAX];
    bool claimed = false;
    say(LOG_WARNING, job->identity, NULL, "due %s is skipped: %s", instant_format(due_us, due),
        why);
    int rc = journal_claim(daemon->journal, &run, &claimed, &err);
    if (!rc && claimed) {
        run.outcome = OUTCOME_SKIPPED;
        run.ended_us = daemon_now_us(daemon);
        snprintf(run.message, sizeof(run.message), "%s", why);
        rc = journal_finish(daemon->journal, &run, &err);
    }
    daemon_journal_wrote(daemon, job->identity, NULL, "the skip is not in the journal", rc, &err);
    run.outcome = OUTCOME_SKIPPED;
    snprintf(run.message, sizeof(run.message), "%s", why);
    if (rc || claimed) {
        tell_settled(daemon, &run);
        after_settled(daemon, &run);
    }
}

/* Claims and puts into the line. Without a journal the run is worth more than its record. */
static void claim(struct daemon *daemon, const struct roster_job *job, int64_t due_us, int attempt)
{
    struct journal_run run = row_of(job, due_us, attempt);
    struct task *task = NULL;
    struct error err = ERROR_NONE;
    char due[INSTANT_TEXT_MAX];
    bool claimed = false;
    instant_format(due_us, due);
    int rc = journal_claim(daemon->journal, &run, &claimed, &err);
    daemon_journal_wrote(daemon, job->identity, NULL, "runs without a claim, for the journal fails",
                         rc, &err);
    if (rc) {
        run.run_id[0] = '\0';
    } else if (!claimed) {
        say(LOG_INFO, job->identity, NULL, "due %s not again: run %s is %s", due, run.run_id,
            journal_outcome_name(run.outcome));
        return;
    }
    rc = task_new_run(job, due_us, attempt, &task, &err);
    if (!rc) {
        snprintf(task->run_id, sizeof(task->run_id), "%s", run.run_id);
        task->ready_us = daemon_now_us(daemon);
        rc = supervise_add(daemon, task, &err);
    }
    if (rc)
        say_error(job->identity, run.run_id, due, &err);
}

/* -- one job --------------------------------------------------------------------------------- */

static size_t count_tasks(const struct daemon *daemon, const char *identity)
{
    size_t count = 0;
    for (size_t i = 0; i < daemon->task_count; i++)
        count += strcmp(daemon->tasks[i]->identity, identity) == 0;
    return count;
}

static void note_left(struct daemon *daemon, const struct roster_job *job,
                      const struct due_left *left, const char *what, const char *reason)
{
    char why[512], first[INSTANT_TEXT_MAX], last[INSTANT_TEXT_MAX];
    if (left->count == 0)
        return;
    instant_format(left->first_us, first);
    instant_format(left->last_us, last);
    if (left->count == 1 && strcmp(what, "missed") != 0)
        snprintf(why, sizeof(why), "%s: %s", what, reason);
    else
        snprintf(why, sizeof(why), "%s: %lld due from %s to %s %s", what, (long long)left->count,
                 first, last, reason);
    record_skip(daemon, job, left->last_us, why);
}

static void note_all_left(struct daemon *daemon, const struct roster_job *job,
                          const struct due_check *check)
{
    char text[DENY_TEXT_MAX], reason[DENY_TEXT_MAX + 40];
    note_left(daemon, job, &check->missed, "missed", "passed while no daemon was awake");
    note_left(daemon, job, &check->late, "missed", "could not begin within the deadline");
    note_left(daemon, job, &check->deferred, "deferred",
              "by a window of deny; a newer one runs at its end");
    if (check->denied.count > 0) {
        const struct deny_window *window =
            deny_at(job->due.deny, job->due.zone, check->denied.last_us / US_PER_SECOND);
        snprintf(reason, sizeof(reason), "in the window %s",
                 window ? deny_text(window, text) : "of deny");
        note_left(daemon, job, &check->denied, "denied", reason);
    }
}

/* A pause holds for the due instants within it, whenever they are looked at. */
static bool is_paused(struct daemon *daemon, const struct roster_job *job, int64_t due_us,
                      char *why, size_t size)
{
    struct journal_pause pause;
    struct error err = ERROR_NONE;
    bool found = false;
    if (journal_paused_at(daemon->journal, job->owner->policy->cluster, job->job->name, due_us,
                          &found, &pause, &err))
        say_error(job->identity, NULL, "whether it is paused can't be known", &err);
    if (found)
        journal_pause_text(&pause, why, size);
    return found;
}

static void take_due(struct daemon *daemon, const struct roster_job *job, int64_t due_us,
                     const struct task *running)
{
    char why[1024], due[INSTANT_TEXT_MAX];
    if (is_paused(daemon, job, due_us, why, sizeof(why))) {
        record_skip(daemon, job, due_us, why);
    } else if (running && job->job->overlap == OVERLAP_SKIP) {
        snprintf(why, sizeof(why), "overlap: run %s for %s has not ended", running->run_id,
                 running->due_us == INSTANT_NONE ? "no due instant"
                                                 : instant_format(running->due_us, due));
        record_skip(daemon, job, due_us, why);
    } else if (count_tasks(daemon, job->identity) > DAEMON_QUEUED_PER_JOB_MAX) {
        snprintf(why, sizeof(why), "overlap: %d earlier ones wait already",
                 DAEMON_QUEUED_PER_JOB_MAX);
        record_skip(daemon, job, due_us, why);
    } else {
        claim(daemon, job, due_us, 1);
    }
}

static void settle_up_to(struct daemon *daemon, struct roster_job *job, int64_t due_us)
{
    struct error err = ERROR_NONE;
    roster_job_account(job, due_us);
    int rc = journal_account(daemon->journal, job->owner->policy->cluster, job->job->name,
                             job->schedule, due_us, &err);
    daemon_journal_wrote(daemon, job->identity, NULL, NULL, rc, &err);
}

static void look_at(struct daemon *daemon, struct roster_job *job, int64_t now_us)
{
    struct due_check check;
    due_check(&job->due, job->accounted_us, job->is_fresh ? INSTANT_NONE : daemon->looked_us,
              now_us, &check);
    if (check.count > 0)
        supervise_supersede(daemon, job->identity);
    note_all_left(daemon, job, &check);
    const struct task *running = supervise_find(daemon, job->identity);
    for (size_t i = 0; i < check.count; i++) {
        if (!check.is_catch_up)
            running = supervise_find(daemon, job->identity);
        take_due(daemon, job, check.due_us[i], running);
    }
    settle_up_to(daemon, job, check.accounted_us);
}

void schedule_skip(struct daemon *daemon, struct roster_job *job, int64_t due_us, const char *why)
{
    record_skip(daemon, job, due_us, why);
    if (due_us > job->accounted_us)
        settle_up_to(daemon, job, due_us);
}

void schedule_begin(struct daemon *daemon, struct roster_job *job, int64_t due_us)
{
    supervise_supersede(daemon, job->identity);
    take_due(daemon, job, due_us, supervise_find(daemon, job->identity));
    if (due_us > job->accounted_us)
        settle_up_to(daemon, job, due_us);
}

static bool is_over_deadline(const struct daemon *daemon, const struct roster_job *job,
                             int64_t due_us)
{
    return job->job->deadline_us > 0 && daemon_now_us(daemon) - due_us > job->job->deadline_us;
}

/* A run that was interrupted is treated as one that was missed; a daemon that crashes with it again
 * and again comes to an end of its attempts. */
static void rerun_interrupted(struct daemon *daemon, const struct roster_job *job)
{
    struct journal_run last;
    struct error err = ERROR_NONE;
    bool found = false;
    if (job->job->on_missed == MISSED_SKIP ||
        (job->job->on_missed == MISSED_ONCE && supervise_find(daemon, job->identity)))
        return;
    if (journal_last(daemon->journal, job->owner->policy->cluster, job->job->name, OUTCOME_COUNT,
                     &found, &last, &err)) {
        say_error(job->identity, NULL, NULL, &err);
        return;
    }
    if (found && last.outcome == OUTCOME_INTERRUPTED && last.due_us != INSTANT_NONE &&
        last.attempt <= job->job->retries + 1 && !is_over_deadline(daemon, job, last.due_us))
        claim(daemon, job, last.due_us, last.attempt + 1);
}

void schedule_look(struct daemon *daemon, int64_t now_us)
{
    struct roster *roster = daemon->roster;
    for (size_t i = 0; i < roster->job_count; i++) {
        struct roster_job *job = &roster->jobs[i];
        if (job->next_start_us != INSTANT_NONE && job->next_start_us <= now_us)
            look_at(daemon, job, now_us);
        if (daemon->looked_us == INSTANT_NONE)
            rerun_interrupted(daemon, job);
        if (job->accounted_us != INSTANT_NONE)
            job->is_fresh = false;
    }
    if (daemon->looked_us == INSTANT_NONE)
        after_look_back(daemon, now_us);
}

int64_t schedule_next_us(const struct daemon *daemon)
{
    int64_t next_us = INT64_MAX;
    for (size_t i = 0; i < daemon->roster->job_count; i++) {
        const struct roster_job *job = &daemon->roster->jobs[i];
        if (job->next_start_us != INSTANT_NONE && job->next_start_us < next_us)
            next_us = job->next_start_us;
    }
    return next_us;
}

void schedule_clock_stepped(struct daemon *daemon, int64_t now_us)
{
    struct error err = ERROR_NONE;
    say(LOG_WARNING, NULL, NULL,
        "the clock was set by three hours or more: jobs go on from now, nothing is made up");
    if (journal_forget_after(daemon->journal, now_us, &err))
        say_error(NULL, NULL, NULL, &err);
    for (size_t i = 0; i < daemon->roster->job_count; i++)
        if (daemon->roster->jobs[i].accounted_us != INSTANT_NONE)
            roster_job_account(&daemon->roster->jobs[i], now_us);
}

/* -- what is known at the start -------------------------------------------------------------- */

static void begin_at(struct daemon *daemon, struct roster_job *job, int64_t accounted_us)
{
    struct error err = ERROR_NONE;
    roster_job_account(job, accounted_us);
    if (journal_account(daemon->journal, job->owner->policy->cluster, job->job->name, job->schedule,
                        accounted_us, &err))
        say_error(job->identity, NULL, NULL, &err);
}

static bool has_lookup(const struct daemon *daemon, const char *cluster)
{
    for (size_t i = 0; i < daemon->task_count; i++)
        if (daemon->tasks[i]->is_lookup && strcmp(daemon->tasks[i]->cluster, cluster) == 0)
            return true;
    return false;
}

/* The repository knows when a job last made a backup; a child asks it, for it may be far away and
 * its answer large. */
static int ask_repository(struct daemon *daemon, const struct roster_job *job, struct error *err)
{
    struct task *lookup = NULL;
    if (has_lookup(daemon, job->owner->policy->cluster))
        return 0;
    int rc = task_new_lookup(job->owner, &lookup, err);
    return rc ? rc : supervise_add(daemon, lookup, err);
}

static void learn_job(struct daemon *daemon, struct roster_job *job)
{
    struct error err = ERROR_NONE;
    int64_t now_us = daemon_now_us(daemon), accounted_us = INSTANT_NONE;
    bool makes_backups = job->job->type == JOB_DUMP || job->job->type == JOB_SNAPSHOT;
    if (daemon->looked_us != INSTANT_NONE) {
        begin_at(daemon, job, now_us); /* new at a reload: nothing of it fires at once */
        return;
    }
    if (journal_accounted(daemon->journal, job->owner->policy->cluster, job->job->name,
                          job->schedule, &accounted_us, &err))
        say_error(job->identity, NULL, NULL, &err);
    if (accounted_us > now_us + DUE_STEP_US)
        accounted_us = now_us; /* the clock was ahead, and is right now */
    if (accounted_us != INSTANT_NONE)
        roster_job_account(job, accounted_us);
    else if (!daemon->journal_is_new || !makes_backups || ask_repository(daemon, job, &err))
        begin_at(daemon, job, now_us);
}

void schedule_learn(struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->roster->job_count; i++)
        if (daemon->roster->jobs[i].accounted_us == INSTANT_NONE)
            learn_job(daemon, &daemon->roster->jobs[i]);
}

void schedule_journal_lost(struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->roster->job_count; i++) {
        struct roster_job *job = &daemon->roster->jobs[i];
        if (job->accounted_us != INSTANT_NONE)
            begin_at(daemon, job, job->accounted_us);
    }
}

/* The start of the job's newest good backup; INSTANT_NONE when there is none. */
static int64_t newest_backup(const json_t *backups, const char *job)
{
    int64_t newest_us = INSTANT_NONE;
    size_t i;
    const json_t *backup;
    json_array_foreach(backups, i, backup)
    {
        const char *name = "", *state = "";
        int64_t started_us = INSTANT_NONE;
        if (json_take_text(backup, "job", &name, NULL) ||
            json_take_text(backup, "state", &state, NULL) ||
            json_take_instant(backup, "started_at", &started_us, NULL))
            continue;
        if (strcmp(name, job) == 0 && strcmp(state, "good") == 0 && started_us > newest_us)
            newest_us = started_us;
    }
    return newest_us;
}

void schedule_take_lookup(struct daemon *daemon, struct task *lookup, bool is_good)
{
    _cleanup_(json_release) json_t *list = NULL;
    struct error err = ERROR_NONE;
    int64_t now_us = daemon_now_us(daemon);
    int rc = is_good ? buf_failed(&lookup->output, "the list of backups", &err)
                     : error_set(&err, ERR_UNKNOWN, "%s", lookup->last_line);
    if (!rc)
        rc = json_parse_object(buf_text(&lookup->output), lookup->output.length,
                               "the list of backups", &list, &err);
    if (rc)
        say_error(lookup->cluster, NULL, "when its jobs ran last is not known, they go on from now",
                  &err);
    for (size_t i = 0; i < daemon->roster->job_count; i++) {
        struct roster_job *job = &daemon->roster->jobs[i];
        if (job->accounted_us != INSTANT_NONE ||
            strcmp(job->owner->policy->cluster, lookup->cluster) != 0)
            continue;
        int64_t newest_us = newest_backup(json_object_get(list, "backups"), job->job->name);
        begin_at(daemon, job, newest_us == INSTANT_NONE || newest_us > now_us ? now_us : newest_us);
    }
}
