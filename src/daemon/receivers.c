/* Clusters whose WAL is received: one `pgcairn wal receive` each, kept running. */
#include <signal.h>
#include <string.h>

#include "base/units.h"
#include "daemon/say.h"
#include "daemon/state.h"

/* Between an end and the next start: doubled from the first to the longest, anew after one that
 * ran for a while. */
#define AGAIN_FIRST_US (5 * US_PER_SECOND)
#define AGAIN_LONGEST_US (5 * US_PER_MINUTE)
#define STEADY_US (10 * US_PER_MINUTE)
#define GRACE_US (40 * US_PER_SECOND) /* it finishes what is in flight */

struct receiver {
    struct roster_policy *policy; /* used */
    struct task *task;            /* NULL while none runs */
    int failures;                 /* in a row */
    int64_t start_us;             /* of CLOCK_BOOTTIME: the next start */
    int64_t logged_us;            /* of CLOCK_BOOTTIME: since when its lines are counted */
    bool is_told;                 /* to end */
};

static bool wants_receiver(const struct policy *policy)
{
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].type == JOB_WAL && policy->jobs[i].mode == WAL_MODE_RECEIVE)
            return true;
    return false;
}

static struct roster_policy *find_policy(const struct roster *roster, const char *cluster)
{
    for (size_t i = 0; i < roster->policy_count; i++)
        if (strcmp(roster->policies[i]->policy->cluster, cluster) == 0 &&
            wants_receiver(roster->policies[i]->policy))
            return roster->policies[i];
    return NULL;
}

static const char *cluster_of(const struct receiver *receiver)
{
    return receiver->policy->policy->cluster;
}

static bool is_same_policy(const struct roster_policy *a, const struct roster_policy *b)
{
    return a == b || (a->length == b->length && memcmp(a->text, b->text, a->length) == 0 &&
                      strcmp(a->path, b->path) == 0);
}

/* -- one receiver -------------------------------------------------------------------------- */

static void tell_to_end(struct receiver *receiver)
{
    if (receiver->task && !receiver->is_told)
        task_stop(receiver->task, GRACE_US);
    receiver->is_told = true;
}

static int64_t wait_us(int failures)
{
    int64_t us = AGAIN_FIRST_US;
    while (--failures > 0 && us < AGAIN_LONGEST_US)
        us *= 2;
    return us < AGAIN_LONGEST_US ? us : AGAIN_LONGEST_US;
}

static void say_end(const struct receiver *receiver, const struct child_status *status,
                    int64_t again_us)
{
    char again[UNITS_TEXT_MAX];
    const struct task *task = receiver->task;
    if (receiver->is_told)
        say(LOG_INFO, task->identity, NULL, "has ended");
    else if (status->exited)
        say(LOG_ERROR, task->identity, NULL, "has ended (exit status %d), again in %s: %s",
            status->exit_status, duration_format(again_us, again), task->last_line);
    else
        say(LOG_ERROR, task->identity, NULL, "ended by signal %d (%s), again in %s", status->signal,
            strsignal(status->signal), duration_format(again_us, again));
}

static void note_end(struct receiver *receiver, const struct child_status *status)
{
    int64_t boot_us = boot_now_us();
    if (boot_us - receiver->task->started_us >= STEADY_US)
        receiver->failures = 0;
    receiver->failures += !receiver->is_told;
    int64_t again_us = receiver->is_told ? 0 : wait_us(receiver->failures);
    say_end(receiver, status, again_us);
    receiver->start_us = boot_us + again_us;
    receiver->task = task_free(receiver->task);
    receiver->is_told = false;
}

static void start(struct daemon *daemon, struct receiver *receiver)
{
    struct error err = ERROR_NONE;
    int rc = task_new_receiver(receiver->policy, &receiver->task, &err);
    if (!rc)
        rc = task_start(receiver->task, daemon->epoll_fd, &err);
    receiver->logged_us = boot_now_us();
    if (!rc) {
        say(LOG_INFO, receiver->task->identity, NULL, "started");
        return;
    }
    receiver->failures++;
    receiver->start_us = boot_now_us() + wait_us(receiver->failures);
    say_error(cluster_of(receiver), NULL, "the receiver of its WAL could not be started", &err);
    receiver->task = task_free(receiver->task);
}

/* It runs for months: what it may say is counted by the hour. */
static void look_at_running(struct daemon *daemon, struct receiver *receiver, int64_t boot_us)
{
    struct child_status status;
    if (boot_us - receiver->logged_us >= US_PER_HOUR) {
        receiver->logged_us = boot_us;
        receiver->task->logged = 0;
    }
    if (task_reap(receiver->task, daemon->epoll_fd, &status))
        note_end(receiver, &status);
    else
        task_enforce(receiver->task, boot_us);
}

/* -- all of them --------------------------------------------------------------------------- */

static int add_receiver(struct daemon *daemon, struct roster_policy *policy, struct error *err)
{
    struct receiver *more =
        realloc(daemon->receivers, (daemon->receiver_count + 1) * sizeof(*daemon->receivers));
    if (!more)
        return error_no_memory(err);
    daemon->receivers = more;
    daemon->receivers[daemon->receiver_count++] =
        (struct receiver){.policy = roster_policy_use(policy)};
    return 0;
}

static void remove_receiver(struct daemon *daemon, size_t index)
{
    task_free(daemon->receivers[index].task);
    roster_policy_leave(daemon->receivers[index].policy);
    daemon->receiver_count--;
    memmove(&daemon->receivers[index], &daemon->receivers[index + 1],
            (daemon->receiver_count - index) * sizeof(*daemon->receivers));
}

static bool has_receiver(const struct daemon *daemon, const char *cluster)
{
    for (size_t i = 0; i < daemon->receiver_count; i++)
        if (strcmp(cluster_of(&daemon->receivers[i]), cluster) == 0)
            return true;
    return false;
}

static void add_missing(struct daemon *daemon)
{
    struct error err = ERROR_NONE;
    for (size_t i = 0; i < daemon->roster->policy_count; i++) {
        struct roster_policy *policy = daemon->roster->policies[i];
        if (wants_receiver(policy->policy) && !has_receiver(daemon, policy->policy->cluster) &&
            add_receiver(daemon, policy, &err))
            say_error(policy->policy->cluster, NULL, "its WAL is not received", &err);
    }
}

/* A receiver whose policy has changed ends, and begins again by the new one. Returns whether it is
 * still wanted. */
static bool follow_policy(struct daemon *daemon, struct receiver *receiver)
{
    struct roster_policy *wanted = find_policy(daemon->roster, cluster_of(receiver));
    if (wanted && is_same_policy(wanted, receiver->policy))
        return true;
    tell_to_end(receiver);
    if (wanted && !receiver->task) {
        roster_policy_leave(receiver->policy);
        receiver->policy = roster_policy_use(wanted);
        receiver->failures = 0;
        receiver->start_us = 0;
        receiver->is_told = false;
    }
    return wanted || receiver->task;
}

void receivers_look(struct daemon *daemon)
{
    int64_t boot_us = boot_now_us();
    if (!daemon->is_stopping)
        add_missing(daemon);
    for (size_t i = 0; i < daemon->receiver_count;) {
        struct receiver *receiver = &daemon->receivers[i];
        if (receiver->task)
            look_at_running(daemon, receiver, boot_us);
        if (!daemon->is_stopping && !follow_policy(daemon, receiver)) {
            remove_receiver(daemon, i);
            continue;
        }
        if (!daemon->is_stopping && !receiver->task && receiver->start_us <= boot_us)
            start(daemon, receiver);
        i++;
    }
}

void receivers_stop(struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->receiver_count; i++)
        tell_to_end(&daemon->receivers[i]);
}

size_t receivers_running(const struct daemon *daemon)
{
    size_t count = 0;
    for (size_t i = 0; i < daemon->receiver_count; i++)
        count += daemon->receivers[i].task != NULL;
    return count;
}

int64_t receivers_next_boot_us(const struct daemon *daemon)
{
    int64_t next_us = INT64_MAX;
    for (size_t i = 0; i < daemon->receiver_count; i++) {
        const struct receiver *receiver = &daemon->receivers[i];
        int64_t at_us = receiver->start_us;
        if (receiver->task)
            at_us = receiver->task->kill_us;
        else if (daemon->is_stopping)
            at_us = INT64_MAX;
        if (at_us < next_us)
            next_us = at_us;
    }
    return next_us;
}

void receivers_clear(struct daemon *daemon)
{
    while (daemon->receiver_count > 0)
        remove_receiver(daemon, daemon->receiver_count - 1);
    free(daemon->receivers);
    daemon->receivers = NULL;
}
