#include <signal.h>
#include <string.h>

#include "base/units.h"
#include "daemon/retry.h"
#include "daemon/say.h"
#include "daemon/state.h"

/* How often a run that is not our child is looked for. */
#define ADOPTED_POLL_US (5 * US_PER_SECOND)

int supervise_add(struct daemon *daemon, struct task *task, struct error *err)
{
    if (daemon->task_count == DAEMON_TASKS_MAX) {
        task_free(task);
        return error_set(err, ERR_LIMIT, "%d runs wait already", DAEMON_TASKS_MAX);
    }
    daemon->tasks[daemon->task_count++] = task;
    return 0;
}

static void remove_task(struct daemon *daemon, size_t index)
{
    task_free(daemon->tasks[index]);
    daemon->task_count--;
    memmove(&daemon->tasks[index], &daemon->tasks[index + 1],
            (daemon->task_count - index) * sizeof(struct task *));
}

static bool is_retry_waiting(const struct task *task)
{
    return task->state == TASK_WAITING && task->attempt > 1;
}

/* What of this job runs or waits, retries left aside. */
const struct task *supervise_find(const struct daemon *daemon, const char *identity)
{
    for (size_t i = 0; i < daemon->task_count; i++)
        if (strcmp(daemon->tasks[i]->identity, identity) == 0 &&
            !is_retry_waiting(daemon->tasks[i]))
            return daemon->tasks[i];
    return NULL;
}

size_t supervise_running(const struct daemon *daemon)
{
    size_t count = 0;
    for (size_t i = 0; i < daemon->task_count; i++)
        count += daemon->tasks[i]->state == TASK_RUNNING;
    return count;
}

/* -- outcomes -------------------------------------------------------------------------------- */

/* What the run itself has written, or else what its end tells; on record then. */
static void find_outcome(struct daemon *daemon, const struct task *task,
                         const struct child_status *status, struct journal_run *run)
{
    static const int CODES[] = {0, ERR_FAILED, ERR_USAGE, ERR_UNKNOWN, ERR_BUSY, ERR_INTERRUPTED};
    struct error err = ERROR_NONE;
    if (task->run_id[0] && journal_find(daemon->journal, task->run_id, run, NULL) == 0 &&
        run->outcome != OUTCOME_RUNNING)
        return;
    int code = !status->exited                                   ? ERR_CHILD
               : (size_t)status->exit_status < ARRAY_SIZE(CODES) ? CODES[status->exit_status]
                                                                 : ERR_FAILED;
    *run = (struct journal_run){.started_us = INSTANT_NONE, .ended_us = daemon_now_us(daemon)};
    snprintf(run->run_id, sizeof(run->run_id), "%s", task->run_id);
    run->outcome = code == 0                                    ? OUTCOME_DONE
                   : !status->exited || code == ERR_INTERRUPTED ? OUTCOME_INTERRUPTED
                                                                : OUTCOME_FAILED;
    if (code != 0)
        snprintf(run->error_code, sizeof(run->error_code), "%s", error_code_name(code));
    if (!status->exited)
        snprintf(run->message, sizeof(run->message), "ended by signal %d (%s)", status->signal,
                 strsignal(status->signal));
    else if (code != 0)
        snprintf(run->message, sizeof(run->message), "%s", task->last_line);
    if (task->run_id[0])
        daemon_journal_wrote(daemon, task->identity, task->run_id,
                             "the outcome is not in the journal",
                             journal_finish(daemon->journal, run, &err), &err);
}

static void say_outcome(const struct daemon *daemon, const struct task *task,
                        const struct journal_run *run)
{
    char took[UNITS_TEXT_MAX], stored[UNITS_TEXT_MAX], text[ERROR_MESSAGE_MAX + 128];
    bool is_bad = run->outcome == OUTCOME_FAILED || run->outcome == OUTCOME_INTERRUPTED;
    struct log_event event = LOG_EVENT(is_bad ? LOG_ERROR : LOG_INFO, text);
    event.cluster = task->identity;
    event.run_id = task->run_id;
    event.due_us = task->due_us;
    event.attempt = task->attempt;
    event.outcome = journal_outcome_name(run->outcome);
    event.duration_us = daemon_boot_us(daemon) - task->started_us;
    event.bytes = run->bytes_stored;
    event.code = run->error_code;
    duration_format(event.duration_us, took);
    if (run->outcome == OUTCOME_DONE) {
        snprintf(text, sizeof(text), "done in %s%s%s%s%s", took,
                 run->backup_id[0] ? ", backup " : "", run->backup_id,
                 run->bytes_stored > 0 ? ", stored " : "",
                 run->bytes_stored > 0 ? size_format(run->bytes_stored, stored) : "");
    } else {
        snprintf(text, sizeof(text), "%s after %s: %s", event.outcome, took, run->message);
        event.hint = run->hint;
    }
    say_event(&event);
}

/* Another try helps against what passes by itself: a lost connection, a lock, a crash; not against
 * a wrong policy, and not if the time was not enough. */
static bool is_worth_a_retry(const struct daemon *daemon, const struct task *task,
                             const struct journal_run *run, const struct child_status *status)
{
    bool crashed = !status->exited;
    bool passes =
        run->outcome == OUTCOME_FAILED && error_is_retryable(error_code_from_name(run->error_code));
    bool timed_out =
        task->timeout_us > 0 && daemon_boot_us(daemon) - task->started_us >= task->timeout_us;
    return (crashed || passes) && !timed_out && !daemon->is_stopping &&
           task->attempt <= task->retries;
}

/* What is known of the run by its task too. */
static void add_names(const struct task *task, struct journal_run *run)
{
    run->due_us = task->due_us;
    run->attempt = task->attempt;
    snprintf(run->run_id, sizeof(run->run_id), "%s", task->run_id);
    snprintf(run->cluster, sizeof(run->cluster), "%s", task->cluster);
    snprintf(run->job, sizeof(run->job), "%s", task->job);
    snprintf(run->type, sizeof(run->type), "%s", job_type_name(task->type));
}

/* It is not tried again: what comes after it may begin, and people are told. */
static void settle(struct daemon *daemon, const struct task *task, struct journal_run *run)
{
    if (task->is_lookup)
        return;
    add_names(task, run);
    tell_settled(daemon, run);
    after_settled(daemon, run);
}

/* Whether there is another try. */
static bool retry(struct daemon *daemon, const struct task *failed, struct journal_run *ended)
{
    struct task *task = NULL;
    struct error err = ERROR_NONE;
    struct journal_run run = {.due_us = failed->due_us, .attempt = failed->attempt + 1};
    char wait[UNITS_TEXT_MAX];
    bool claimed = false;
    snprintf(run.cluster, sizeof(run.cluster), "%s", failed->cluster);
    snprintf(run.job, sizeof(run.job), "%s", failed->job);
    snprintf(run.type, sizeof(run.type), "%s", job_type_name(failed->type));
    if (journal_claim(daemon->journal, &run, &claimed, &err)) {
        say_error(failed->identity, NULL, "is tried again without a claim", &err);
        run.run_id[0] = '\0';
    } else if (!claimed) {
        return false;
    }
    int rc = task_new_retry(failed, &task, &err);
    if (!rc) {
        int64_t delay_us = retry_delay_us(failed->attempt, failed->run_id);
        task->not_before_us = daemon_boot_us(daemon) + delay_us;
        snprintf(task->run_id, sizeof(task->run_id), "%s", run.run_id);
        say(LOG_INFO, task->identity, task->run_id, "tried again in %s: attempt %d of %d",
            duration_format(delay_us, wait), task->attempt, task->retries + 1);
        rc = supervise_add(daemon, task, &err);
        add_names(failed, ended);
        if (!rc)
            tell_retry(daemon, ended, delay_us);
    }
    if (rc)
        say_error(failed->identity, run.run_id, "is not tried again", &err);
    return rc == 0;
}

static void end_run(struct daemon *daemon, const struct task *task,
                    const struct child_status *status)
{
    struct journal_run run;
    find_outcome(daemon, task, status, &run);
    watching_run_ended(daemon, task->cluster, task->type);
    say_outcome(daemon, task, &run);
    if (!is_worth_a_retry(daemon, task, &run, status) || !retry(daemon, task, &run))
        settle(daemon, task, &run);
}

static struct journal_run given_up(const struct daemon *daemon, enum journal_outcome outcome,
                                   const char *why)
{
    struct journal_run run = {
        .outcome = outcome, .started_us = INSTANT_NONE, .ended_us = daemon_now_us(daemon)};
    snprintf(run.message, sizeof(run.message), "%s", why);
    return run;
}

/* What will not run any more, for a reason of ours; its claim is closed. */
static void give_up(struct daemon *daemon, const struct task *task, enum journal_outcome outcome,
                    int code, const char *why)
{
    struct journal_run run = given_up(daemon, outcome, why);
    struct error err = ERROR_NONE;
    say(LOG_WARNING, task->identity, task->run_id, "%s", why);
    if (task->is_lookup || task->run_id[0] == '\0')
        return;
    snprintf(run.run_id, sizeof(run.run_id), "%s", task->run_id);
    snprintf(run.error_code, sizeof(run.error_code), "%s", code ? error_code_name(code) : "");
    if (journal_finish(daemon->journal, &run, &err))
        say_error(task->identity, task->run_id, "the outcome is not in the journal", &err);
}

static void close_claim(struct daemon *daemon, size_t index, enum journal_outcome outcome, int code,
                        const char *why)
{
    struct task *task = daemon->tasks[index];
    struct journal_run run = given_up(daemon, outcome, why);
    give_up(daemon, task, outcome, code, why);
    settle(daemon, task, &run);
    remove_task(daemon, index);
}

void supervise_supersede(struct daemon *daemon, const char *identity)
{
    for (size_t i = daemon->task_count; i-- > 0;) {
        struct task *task = daemon->tasks[i];
        if (strcmp(task->identity, identity) != 0 || !is_retry_waiting(task))
            continue;
        close_claim(daemon, i, OUTCOME_SKIPPED, 0,
                    "not tried again: the next due instant has come");
    }
}

/* -- starting -------------------------------------------------------------------------------- */

static bool is_of(const struct task *task, const struct task_group *group)
{
    for (size_t i = 0; i < task->group_count; i++)
        if (task->groups[i].mark == group->mark && strcmp(task->groups[i].name, group->name) == 0)
            return true;
    return false;
}

/* Whoever came first to a group of the user's goes first: one with a low limit would wait for ever
 * while others, for whom there is room still, come and go. */
static bool is_before(const struct task *other, int64_t boot_us)
{
    return other->not_before_us <= boot_us && !other->is_held;
}

static bool has_room(const struct daemon *daemon, const struct task *task, int64_t boot_us)
{
    for (size_t i = 0; i < task->group_count; i++) {
        const struct task_group *group = &task->groups[i];
        int limit = group->limit > 0                   ? group->limit
                    : daemon->options->max_running > 0 ? daemon->options->max_running
                                                       : DAEMON_RUNNING_MAX;
        int running = 0;
        bool was_met = false, is_in_order = !strchr(group->name, '/');
        for (size_t k = 0; k < daemon->task_count; k++) {
            const struct task *other = daemon->tasks[k];
            was_met |= other == task;
            running += other != task &&
                       (other->state != TASK_WAITING ||
                        (is_in_order && !was_met && is_before(other, boot_us))) &&
                       is_of(other, group);
        }
        if (running >= limit)
            return false;
    }
    return true;
}

static bool may_start(const struct daemon *daemon, const struct task *task, int64_t boot_us)
{
    return task->state == TASK_WAITING && task->not_before_us <= boot_us &&
           has_room(daemon, task, boot_us);
}

/* -- the last gate: what waited may have come into a window, a pause, or over its deadline ---- */

static bool is_paused(struct daemon *daemon, const struct task *task, int64_t now_us, char *why,
                      size_t size)
{
    struct journal_pause pause;
    struct error err = ERROR_NONE;
    bool found = false;
    if (journal_paused_at(daemon->journal, task->cluster, task->job, now_us, &found, &pause, &err))
        say_error(task->identity, task->run_id, "whether it is paused can't be known", &err);
    if (found)
        journal_pause_text(&pause, why, size);
    return found;
}

static void hold(struct daemon *daemon, struct task *task, int64_t now_us,
                 const struct deny_window *window)
{
    char text[DENY_TEXT_MAX], end[INSTANT_TEXT_MAX];
    int64_t end_s = deny_end(&task->deny, task->zone, now_us / US_PER_SECOND);
    task->ready_us = end_s * US_PER_SECOND;
    if (task->is_held)
        return;
    task->is_held = true;
    say(LOG_INFO, task->identity, task->run_id, "waits until %s: denied %s",
        instant_format(task->ready_us, end), deny_text(window, text));
    if (task->run_id[0]) {
        char phase[JOURNAL_PHASE_MAX + DENY_TEXT_MAX];
        snprintf(phase, sizeof(phase), "waits until %s: denied %s", end, text);
        journal_progress(daemon->journal, task->run_id, phase, 0, 0);
    }
}

enum gate { GATE_OPEN, GATE_WAIT, GATE_CLOSED };

static enum gate pass_gate(struct daemon *daemon, struct task *task, char *why, size_t size)
{
    int64_t now_us = daemon_now_us(daemon);
    char text[DENY_TEXT_MAX];
    const struct deny_window *window =
        task->zone ? deny_at(&task->deny, task->zone, now_us / US_PER_SECOND) : NULL;
    if (task->is_lookup)
        return GATE_OPEN;
    if (is_paused(daemon, task, now_us, why, size))
        return GATE_CLOSED;
    if (window && window->skips) {
        snprintf(why, size, "denied: %s", deny_text(window, text));
        return GATE_CLOSED;
    }
    if (window) {
        hold(daemon, task, now_us, window);
        return GATE_WAIT;
    }
    if (task->attempt == 1 && task->deadline_us > 0 &&
        now_us - task->ready_us > task->deadline_us) {
        snprintf(why, size, "missed: it waited for its turn for longer than its deadline");
        return GATE_CLOSED;
    }
    return GATE_OPEN;
}

/* Returns whether the task is still there. */
static bool start_task(struct daemon *daemon, size_t index)
{
    struct task *task = daemon->tasks[index];
    struct error err = ERROR_NONE;
    char due[INSTANT_TEXT_MAX], why[ERROR_MESSAGE_MAX];
    enum gate gate = pass_gate(daemon, task, why, sizeof(why));
    if (gate == GATE_WAIT)
        return true;
    if (gate == GATE_CLOSED) {
        close_claim(daemon, index, OUTCOME_SKIPPED, 0, why);
        return false;
    }
    if (daemon->world.start(task, daemon->world.context, &err) == 0) {
        if (task->is_lookup)
            return true;
        say(LOG_INFO, task->identity, task->run_id, "started for %s, attempt %d",
            instant_format(task->due_us, due), task->attempt);
        tell_started(daemon, task);
        return true;
    }
    snprintf(why, sizeof(why), "it could not be started: %.1900s", err.message);
    struct journal_run run = given_up(daemon, OUTCOME_FAILED, why);
    give_up(daemon, task, OUTCOME_FAILED, err.code, why);
    if (task->is_lookup)
        schedule_take_lookup(daemon, task, false);
    else if (!error_is_retryable(err.code) || task->attempt > task->retries ||
             !retry(daemon, task, &run))
        settle(daemon, task, &run);
    remove_task(daemon, index);
    return false;
}

void supervise_start(struct daemon *daemon)
{
    int64_t boot_us = daemon_boot_us(daemon);
    for (size_t i = 0; i < daemon->task_count;)
        if (!may_start(daemon, daemon->tasks[i], boot_us) || start_task(daemon, i))
            i++;
}

/* -- while they run -------------------------------------------------------------------------- */

static bool has_adopted_ended(struct daemon *daemon, const struct task *task)
{
    struct error err = ERROR_NONE;
    if (daemon->world.is_alive(&task->process, daemon->world.context))
        return false;
    if (journal_recover(daemon->journal, task->cluster, task->job, NULL, NULL, &err))
        say_error(task->identity, task->run_id, NULL, &err);
    say(LOG_INFO, task->identity, task->run_id, "which an earlier daemon had started, has ended");
    struct journal_run run;
    if (journal_find(daemon->journal, task->run_id, &run, NULL) == 0) {
        tell_settled(daemon, &run);
        after_settled(daemon, &run);
    }
    return true;
}

static bool has_ended(struct daemon *daemon, struct task *task)
{
    struct child_status status;
    if (task->state == TASK_ADOPTED)
        return has_adopted_ended(daemon, task);
    if (task->state != TASK_RUNNING ||
        !daemon->world.has_ended(task, daemon->world.context, &status))
        return false;
    if (task->is_lookup)
        schedule_take_lookup(daemon, task, status.exited && status.exit_status == 0);
    else
        end_run(daemon, task, &status);
    return true;
}

void supervise_check(struct daemon *daemon)
{
    int64_t boot_us = daemon_boot_us(daemon);
    for (size_t i = 0; i < daemon->task_count;) {
        if (has_ended(daemon, daemon->tasks[i])) {
            remove_task(daemon, i);
            continue;
        }
        if (daemon->tasks[i]->state == TASK_RUNNING)
            daemon->world.enforce(daemon->tasks[i], boot_us, daemon->world.context);
        i++;
    }
}

void supervise_stop(struct daemon *daemon, int64_t grace_us)
{
    for (size_t i = daemon->task_count; i-- > 0;) {
        struct task *task = daemon->tasks[i];
        if (task->state == TASK_RUNNING) {
            say(LOG_INFO, task->identity, task->run_id, "told to stop");
            daemon->world.stop(task, grace_us, daemon->world.context);
        }
    }
}

void supervise_drop_waiting(struct daemon *daemon)
{
    for (size_t i = daemon->task_count; i-- > 0;) {
        if (daemon->tasks[i]->state != TASK_WAITING)
            continue;
        give_up(daemon, daemon->tasks[i], OUTCOME_INTERRUPTED, ERR_INTERRUPTED,
                "the daemon was stopped before it began");
        remove_task(daemon, i);
    }
}

int64_t supervise_next_boot_us(const struct daemon *daemon)
{
    int64_t next_us = INT64_MAX, boot_us = daemon_boot_us(daemon);
    for (size_t i = 0; i < daemon->task_count; i++) {
        const struct task *task = daemon->tasks[i];
        int64_t at_us = INT64_MAX;
        if (task->state == TASK_ADOPTED)
            at_us = boot_us + ADOPTED_POLL_US;
        else if (task->state == TASK_RUNNING)
            at_us = task->terminate_us < task->kill_us ? task->terminate_us : task->kill_us;
        else if (task->not_before_us > boot_us)
            at_us = task->not_before_us;
        if (at_us < next_us)
            next_us = at_us;
    }
    return next_us;
}
