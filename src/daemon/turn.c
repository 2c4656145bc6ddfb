#include "daemon/say.h"
#include "daemon/state.h"

int64_t daemon_now_us(const struct daemon *daemon)
{
    return daemon->world.now_us(daemon->world.context);
}

int64_t daemon_boot_us(const struct daemon *daemon)
{
    return daemon->world.boot_us(daemon->world.context);
}

void daemon_journal_wrote(struct daemon *daemon, const char *subject, const char *run_id,
                          const char *what, int rc, struct error *err)
{
    if (!rc && daemon->journal_code)
        say(LOG_INFO, NULL, NULL, "the journal is written again");
    if (rc && rc == daemon->journal_code)
        say(LOG_DEBUG, subject, run_id, "%s%s%s", what ? what : "", what ? ": " : "", err->message);
    if (rc && rc != daemon->journal_code) {
        if (!err->hint[0])
            error_hint(err, rc == ERR_NO_SPACE
                                ? "make room on its disk; until then runs begin without a record"
                                : "until it can be written runs begin without a record");
        say_error(subject, run_id, what, err);
    }
    daemon->journal_code = rc;
}

static int say_recovered(const struct journal_run *run, void *context, struct error *err)
{
    struct daemon *daemon = context;
    char identity[IDENTITY_MAX];
    snprintf(identity, sizeof(identity), "%s/%s", run->cluster, run->job);
    say(LOG_WARNING, identity, run->run_id, "was interrupted: %s", run->message);
    struct journal_run *grown = reallocarray(daemon->interrupted, daemon->interrupted_count + 1,
                                             sizeof(*daemon->interrupted));
    if (!grown)
        return error_no_memory(err);
    daemon->interrupted = grown;
    daemon->interrupted[daemon->interrupted_count++] = *run; /* JOURNAL_LIST_MAX at most */
    return 0;
}

static int adopt(const struct journal_run *run, void *context, struct error *err)
{
    struct daemon *daemon = context;
    struct task *task = NULL;
    int rc = task_new_adopted(run, &task, err);
    if (!rc)
        rc = task_join(task, roster_find(daemon->roster, task->identity), err);
    if (rc) {
        task_free(task);
        return rc;
    }
    say(LOG_INFO, task->identity, task->run_id, "runs already (process %d)", (int)run->process.pid);
    return supervise_add(context, task, err);
}

int turn_recover(struct daemon *daemon, struct error *err)
{
    int rc = journal_recover(daemon->journal, NULL, NULL, say_recovered, daemon, err);
    return rc ? rc : journal_each_running(daemon->journal, adopt, daemon, err);
}

void turn_begin(struct daemon *daemon)
{
    schedule_learn(daemon);
    daemon->journal_is_new = false;
}

static void go_on_stopping(struct daemon *daemon, int64_t boot_us)
{
    if (supervise_running(daemon) == 0) {
        receivers_stop(daemon); /* last: a run may wait for what they store */
        daemon->is_ended = receivers_running(daemon) == 0;
    } else if (boot_us >= daemon->drain_until_boot_us) {
        supervise_stop(daemon, DAEMON_GRACE_US);
        daemon->drain_until_boot_us = INT64_MAX;
    }
}

/* In this order: ends free the way for starts. */
void turn_take(struct daemon *daemon)
{
    int64_t now_us = daemon_now_us(daemon), boot_us = daemon_boot_us(daemon);
    if (daemon->looked_us != INSTANT_NONE &&
        due_clock_stepped(daemon->looked_us, daemon->looked_boot_us, now_us, boot_us)) {
        schedule_clock_stepped(daemon, now_us);
        daemon->looked_us = now_us;
    }
    supervise_check(daemon);
    receivers_look(daemon);
    if (daemon->is_stopping) {
        go_on_stopping(daemon, boot_us);
    } else {
        schedule_look(daemon, now_us);
        supervise_start(daemon);
    }
    daemon->looked_us = now_us;
    daemon->looked_boot_us = boot_us;
}

static int64_t earlier(int64_t a_us, int64_t b_us)
{
    return a_us < b_us ? a_us : b_us;
}

/* The clock of the wall tells how long it is to the next due instant; that it was set meanwhile is
 * seen by others (daemon.c), and at the next look at the latest. */
int64_t turn_sleep_us(const struct daemon *daemon)
{
    int64_t now_us = daemon_now_us(daemon), boot_us = daemon_boot_us(daemon);
    int64_t wake_us = boot_us + DAEMON_SLEEP_US;
    if (daemon->watchdog_us > 0)
        wake_us = earlier(wake_us, boot_us + daemon->watchdog_us / 2);
    wake_us = earlier(wake_us, supervise_next_boot_us(daemon));
    wake_us = earlier(wake_us, receivers_next_boot_us(daemon));
    if (daemon->is_stopping)
        wake_us = earlier(wake_us, daemon->drain_until_boot_us);
    int64_t next_us = daemon->is_stopping ? INT64_MAX : schedule_next_us(daemon);
    int64_t sleep_us = wake_us - boot_us;
    if (next_us != INT64_MAX)
        sleep_us = earlier(sleep_us, next_us - now_us);
    return sleep_us > 0 ? sleep_us : 0;
}

void turn_swap(struct daemon *daemon, struct roster *roster)
{
    roster_free(daemon->roster);
    daemon->roster = roster;
    schedule_learn(daemon);
}

void turn_stop(struct daemon *daemon)
{
    if (daemon->is_stopping) {
        supervise_stop(daemon, DAEMON_GRACE_US);
        receivers_stop(daemon);
        daemon->drain_until_boot_us = INT64_MAX;
        return;
    }
    daemon->is_stopping = true;
    daemon->drain_until_boot_us = daemon_boot_us(daemon) + daemon->options->drain_us;
    say(LOG_INFO, NULL, NULL, "stopping: %zu runs may end within %d s", supervise_running(daemon),
        (int)(daemon->options->drain_us / US_PER_SECOND));
    supervise_drop_waiting(daemon);
}
