/* Who is told of what: events go into the outbox of the journal, one row per target, and a child
 * per cluster, `pgcairn notify`, delivers them. Neither the loop nor a job waits for a receiver. */
#include <string.h>
#include <unistd.h>

#include "daemon/say.h"
#include "daemon/state.h"
#include "journal/outbox.h"
#include "notify/around.h"
#include "notify/post.h"
#include "notify/stale.h"

enum { HOST_TEXT_MAX = 256 };

#define SEEN \
    "seen" /* since when all that ended of a job was told: no trouble, but kept beside them */
#define STALE_EVERY_US US_PER_MINUTE
#define AFTER_FAILURE_US US_PER_MINUTE /* a notifier that could not even begin */

struct notifier {
    char cluster[JOURNAL_NAME_MAX];
    struct task *task;     /* NULL while none runs */
    int64_t not_before_us; /* of CLOCK_BOOTTIME */
};

struct telling {
    struct notifier *notifiers;
    size_t count;
    int64_t next_us;         /* the first row that is due, of all clusters; INT64_MAX: none */
    int64_t stale_looked_us; /* of CLOCK_BOOTTIME; INSTANT_NONE: not yet */
    bool is_failing;         /* the outbox could not be written */
    char host[HOST_TEXT_MAX];
};

/* -- putting down --------------------------------------------------------------------------- */

static struct telling *get_telling(struct daemon *daemon)
{
    if (!daemon->telling) {
        daemon->telling = calloc(1, sizeof(*daemon->telling));
        if (!daemon->telling)
            return NULL;
        daemon->telling->next_us = INT64_MAX;
        daemon->telling->stale_looked_us = INSTANT_NONE;
        gethostname(daemon->telling->host, sizeof(daemon->telling->host) - 1);
    }
    return daemon->telling;
}

/* Said when it begins to fail and when it is well again. */
static void note_outbox(struct telling *telling, const char *subject, int rc,
                        const struct error *err)
{
    if (rc && !telling->is_failing)
        say_error(subject, NULL, "people can't be told, for the journal fails", err);
    if (!rc && telling->is_failing)
        say(LOG_INFO, subject, NULL, "people can be told again");
    telling->is_failing = rc != 0;
}

/* Then there is something to deliver. */
static void note_posted(struct telling *telling, const struct notify_event *event, size_t count)
{
    if (count > 0 && event->at_us < telling->next_us)
        telling->next_us = event->at_us;
}

/* since_us: since when the trouble is there; INSTANT_NONE where the event is none that lasts. */
static void put(struct daemon *daemon, const struct policy *policy, struct notify_event *event,
                int64_t since_us)
{
    struct telling *telling = get_telling(daemon);
    struct error err = ERROR_NONE;
    if (!telling)
        return;
    event->cluster = policy->cluster;
    event->host = telling->host;
    size_t count = 0;
    int rc = notify_post(daemon->journal, policy, event, since_us, &count, &err);
    note_posted(telling, event, count);
    note_outbox(telling, policy->cluster, rc, &err);
}

static const struct policy *policy_of(const struct daemon *daemon, const char *cluster)
{
    const struct roster *roster = daemon->roster;
    for (size_t i = 0; i < roster->policy_count; i++)
        if (strcmp(roster->policies[i]->policy->cluster, cluster) == 0)
            return roster->policies[i]->policy;
    return NULL;
}

/* -- what happened -------------------------------------------------------------------------- */

/* Put down by put(), which knows the host. */
static struct notify_event event_of(const struct daemon *daemon, enum notify_event_kind kind,
                                    const struct journal_run *run)
{
    struct notify_event event = notify_event_of_run(kind, run, "");
    event.at_us = daemon_now_us(daemon);
    return event;
}

/* When the job runs next, and when it last succeeded. */
static void add_times(struct daemon *daemon, const char *cluster, struct notify_event *event)
{
    char identity[IDENTITY_MAX];
    struct journal_run last;
    bool found = false;
    snprintf(identity, sizeof(identity), "%s/%s", cluster, event->job);
    const struct roster_job *job = roster_find(daemon->roster, identity);
    if (job && event->next_try_us == INSTANT_NONE)
        event->next_try_us = job->next_start_us;
    if (!journal_last(daemon->journal, cluster, event->job, OUTCOME_DONE, &found, &last, NULL) &&
        found)
        event->last_success_us = last.ended_us;
}

static void tell_trouble(struct daemon *daemon, const struct policy *policy,
                         struct notify_event *event)
{
    struct error err = ERROR_NONE;
    int64_t since_us = event->at_us;
    if (trouble_open(daemon->journal, policy->cluster, event->job,
                     notify_event_kind_name(event->kind), event->at_us, &since_us, &err))
        say_error(policy->cluster, NULL, NULL, &err);
    add_times(daemon, policy->cluster, event);
    put(daemon, policy, event, since_us);
}

static void tell_success(struct daemon *daemon, const struct policy *policy,
                         const struct journal_run *run)
{
    struct notify_event success = event_of(daemon, NOTIFY_SUCCESS, run),
                        recovery = event_of(daemon, NOTIFY_RECOVERY, run);
    struct error err = ERROR_NONE;
    bool is_well_again = false;
    if (notify_end_troubles(daemon->journal, run->cluster, run->job, &is_well_again, &err))
        say_error(run->cluster, NULL, NULL, &err);
    add_times(daemon, run->cluster, &success);
    put(daemon, policy, &success, INSTANT_NONE);
    add_times(daemon, run->cluster, &recovery);
    if (is_well_again)
        put(daemon, policy, &recovery, INSTANT_NONE);
}

/* A person or the policy wanted no run, or what was to come before it has been told of. */
static bool is_trouble(const struct journal_run *run)
{
    static const char *const TROUBLES[] = {"missed:", "overlap:"};
    for (size_t i = 0; i < ARRAY_SIZE(TROUBLES); i++)
        if (strncmp(run->message, TROUBLES[i], strlen(TROUBLES[i])) == 0)
            return true;
    return false;
}

static void tell_outcome(struct daemon *daemon, const struct policy *policy,
                         const struct journal_run *run)
{
    struct notify_event event = event_of(daemon, NOTIFY_FAILURE, run);
    if (journal_is_done(run)) {
        tell_success(daemon, policy, run);
        return;
    }
    bool is_failure = run->outcome == OUTCOME_FAILED ||
                      (run->outcome == OUTCOME_INTERRUPTED && !daemon->is_stopping) ||
                      (run->outcome == OUTCOME_SKIPPED && run->attempt > 1);
    if (!is_failure && !(run->outcome == OUTCOME_SKIPPED && is_trouble(run)))
        return; /* what a stop cut short is made up at the next start */
    if (!is_failure)
        event.kind = NOTIFY_MISSED;
    tell_trouble(daemon, policy, &event);
}

static int note_seen(struct daemon *daemon, const struct journal_run *run, struct error *err)
{
    int64_t since_us;
    bool was_open;
    int rc = trouble_close(daemon->journal, run->cluster, run->job, SEEN, &was_open, err);
    return rc ? rc
              : trouble_open(daemon->journal, run->cluster, run->job, SEEN, daemon_now_us(daemon),
                             &since_us, err);
}

/* All targets, or after a crash none: then the next start tells it. */
void tell_settled(struct daemon *daemon, const struct journal_run *run)
{
    const struct policy *policy = policy_of(daemon, run->cluster);
    struct error err = ERROR_NONE;
    if (!policy || policy->notify_count == 0)
        return;
    int rc = outbox_begin(daemon->journal, &err);
    if (rc) {
        say_error(run->cluster, NULL, "people can't be told, for the journal fails", &err);
        return;
    }
    tell_outcome(daemon, policy, run);
    rc = note_seen(daemon, run, &err);
    rc = outbox_end(daemon->journal, rc, &err);
    if (rc)
        say_error(run->cluster, NULL, NULL, &err);
}

/* The last run of the job that ended by itself. */
static int last_ended(struct daemon *daemon, const struct roster_job *job,
                      struct journal_run *ret_run, struct error *err)
{
    static const enum journal_outcome OUTCOMES[] = {OUTCOME_DONE, OUTCOME_FAILED};
    struct journal_run last = {.ended_us = INSTANT_NONE};
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(OUTCOMES) && !rc; i++) {
        struct journal_run run;
        bool found = false;
        rc = journal_last(daemon->journal, job->owner->policy->cluster, job->job->name, OUTCOMES[i],
                          &found, &run, err);
        if (!rc && found && (last.ended_us == INSTANT_NONE || run.ended_us > last.ended_us))
            last = run;
    }
    if (!rc)
        *ret_run = last;
    return rc;
}

/* Runs outlive a daemon that is killed, and write down themselves how they ended. Of a job that is
 * seen for the first time there is nothing to tell. */
void tell_unseen(struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->roster->job_count; i++) {
        const struct roster_job *job = &daemon->roster->jobs[i];
        const struct policy *policy = job->owner->policy;
        struct journal_run run;
        struct error err = ERROR_NONE;
        int64_t seen_us;
        if (policy->notify_count == 0)
            continue;
        int rc = trouble_open(daemon->journal, policy->cluster, job->job->name, SEEN,
                              daemon_now_us(daemon), &seen_us, &err);
        if (!rc)
            rc = last_ended(daemon, job, &run, &err);
        if (rc)
            say_error(job->identity, NULL, NULL, &err);
        else if (run.ended_us > seen_us && run.due_us != INSTANT_NONE)
            tell_settled(daemon, &run);
    }
}

void tell_retry(struct daemon *daemon, const struct journal_run *run, int64_t delay_us)
{
    const struct policy *policy = policy_of(daemon, run->cluster);
    struct notify_event event = event_of(daemon, NOTIFY_RETRY, run);
    if (!policy || policy->notify_count == 0)
        return;
    event.next_try_us = event.at_us + delay_us;
    add_times(daemon, run->cluster, &event);
    put(daemon, policy, &event, INSTANT_NONE);
}

void tell_started(struct daemon *daemon, const struct task *task)
{
    const struct policy *policy = policy_of(daemon, task->cluster);
    struct notify_event event = notify_event_of(NOTIFY_START, daemon_now_us(daemon));
    if (!policy || policy->notify_count == 0)
        return;
    event.job = task->job;
    event.type = job_type_name(task->type);
    event.run_id = task->run_id;
    event.due_us = task->due_us;
    event.attempt = task->attempt;
    event.started_us = event.at_us;
    put(daemon, policy, &event, INSTANT_NONE);
}

void tell_bad_policy(struct daemon *daemon, const char *why)
{
    for (size_t i = 0; i < daemon->roster->policy_count; i++) {
        struct notify_event event = notify_event_of(NOTIFY_POLICY, daemon_now_us(daemon));
        event.cause = why;
        event.cure = "what was loaded before stays in force; correct the file, try it with pgcairn "
                     "policy check, and reload";
        put(daemon, daemon->roster->policies[i]->policy, &event, INSTANT_NONE);
    }
}

/* -- nothing succeeded ---------------------------------------------------------------------- */

static bool wants_stale(const struct roster_job *job)
{
    const struct policy *policy = job->owner->policy;
    for (size_t i = 0; i < policy->notify_count; i++)
        if (policy_notify_wants(&policy->notify[i], NOTIFY_STALE, job->job->name))
            return true;
    return false;
}

/* The last success; of a job that never had one, when it was first looked at. */
static int well_until(struct daemon *daemon, const struct roster_job *job, int64_t now_us,
                      int64_t *ret_from_us, struct journal_run *ret_last, struct error *err)
{
    static const enum journal_outcome OUTCOMES[] = {OUTCOME_DONE, OUTCOME_NOT_MINE};
    const char *cluster = job->owner->policy->cluster;
    int64_t from_us = INSTANT_NONE;
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(OUTCOMES) && !rc; i++) {
        struct journal_run run;
        bool found = false;
        rc = journal_last(daemon->journal, cluster, job->job->name, OUTCOMES[i], &found, &run, err);
        if (!rc && found && (from_us == INSTANT_NONE || run.ended_us > from_us)) {
            from_us = run.ended_us;
            *ret_last = run;
        }
    }
    if (!rc && from_us == INSTANT_NONE)
        rc = trouble_open(daemon->journal, cluster, job->job->name, "known", now_us, &from_us, err);
    if (!rc)
        *ret_from_us = from_us;
    return rc;
}

static void tell_stale(struct daemon *daemon, const struct roster_job *job,
                       const struct policy_notify *notify, int64_t from_us,
                       const struct journal_run *last)
{
    struct notify_event event = notify_event_of(NOTIFY_STALE, daemon_now_us(daemon));
    struct error err = ERROR_NONE;
    char cause[128], from[INSTANT_TEXT_MAX];
    int64_t since_us = event.at_us;
    size_t count = 0;
    bool never = last->run_id[0] == '\0';
    event.cluster = job->owner->policy->cluster;
    event.host = daemon->telling->host;
    event.job = job->job->name;
    event.type = job_type_name(job->job->type);
    event.next_try_us = job->next_start_us;
    event.last_success_us = never ? INSTANT_NONE : last->ended_us;
    event.cause = cause;
    event.cure = "pgcairn status shows what came of its runs, pgcairn log what they said";
    instant_format(from_us, from);
    if (never)
        snprintf(cause, sizeof(cause), "it has never succeeded, and is known since %s", from);
    else
        snprintf(cause, sizeof(cause), "nothing succeeded since %s", from);
    int rc = trouble_open(daemon->journal, event.cluster, event.job,
                          notify_event_kind_name(NOTIFY_STALE), event.at_us, &since_us, &err);
    if (!rc)
        rc = notify_post_to(daemon->journal, notify, &event, since_us, &count, &err);
    note_posted(daemon->telling, &event, count);
    note_outbox(daemon->telling, job->identity, rc, &err);
}

static void look_for_stale(struct daemon *daemon, const struct roster_job *job, int64_t now_us)
{
    const struct policy *policy = job->owner->policy;
    struct journal_run last = {.run_id = ""};
    struct error err = ERROR_NONE;
    int64_t from_us = now_us;
    if (!wants_stale(job))
        return;
    if (well_until(daemon, job, now_us, &from_us, &last, &err)) {
        note_outbox(daemon->telling, job->identity, err.code, &err);
        return;
    }
    for (size_t i = 0; i < policy->notify_count; i++)
        if (policy_notify_wants(&policy->notify[i], NOTIFY_STALE, job->job->name) &&
            stale_since_us(policy->notify[i].stale_us, job->due.schedule, job->due.zone, from_us) <=
                now_us)
            tell_stale(daemon, job, &policy->notify[i], from_us, &last);
}

/* -- delivering ----------------------------------------------------------------------------- */

static struct notifier *get_notifier(struct telling *telling, const char *cluster)
{
    for (size_t i = 0; i < telling->count; i++)
        if (strcmp(telling->notifiers[i].cluster, cluster) == 0)
            return &telling->notifiers[i];
    struct notifier *more =
        realloc(telling->notifiers, (telling->count + 1) * sizeof(*telling->notifiers));
    if (!more)
        return NULL;
    telling->notifiers = more;
    more[telling->count] = (struct notifier){.not_before_us = 0};
    snprintf(more[telling->count].cluster, sizeof(more->cluster), "%s", cluster);
    return &more[telling->count++];
}

static void look_after(struct daemon *daemon, struct notifier *notifier, int64_t boot_us)
{
    struct child_status status;
    struct task *task = notifier->task;
    if (!task_reap(task, daemon->epoll_fd, &status)) {
        task_enforce(task, boot_us);
        return;
    }
    if (!status.exited || status.exit_status != 0) {
        say(LOG_WARNING, notifier->cluster, NULL, "telling people failed: %s",
            *task->last_line ? task->last_line : "its process was killed");
        notifier->not_before_us = boot_us + AFTER_FAILURE_US;
    }
    notifier->task = task_free(task);
}

static void start(struct daemon *daemon, struct notifier *notifier, struct roster_policy *policy,
                  int64_t boot_us)
{
    struct error err = ERROR_NONE;
    int rc = task_new_notifier(policy, &notifier->task, &err);
    if (!rc)
        rc = task_start(notifier->task, daemon->epoll_fd, &err);
    if (!rc)
        return;
    say_error(notifier->cluster, NULL, "people could not be told", &err);
    notifier->task = task_free(notifier->task);
    notifier->not_before_us = boot_us + AFTER_FAILURE_US;
}

static void deliver(struct daemon *daemon, struct roster_policy *policy, int64_t now_us,
                    int64_t boot_us)
{
    struct telling *telling = daemon->telling;
    struct notifier *notifier = get_notifier(telling, policy->policy->cluster);
    struct error err = ERROR_NONE;
    int64_t next_us = INT64_MAX;
    if (!notifier)
        return;
    if (notifier->task)
        look_after(daemon, notifier, boot_us);
    if (notifier->task || notifier->not_before_us > boot_us)
        return;
    int rc = outbox_next_us(daemon->journal, notifier->cluster, now_us, &next_us, &err);
    if (rc)
        note_outbox(telling, notifier->cluster, rc, &err);
    else if (next_us <= now_us)
        start(daemon, notifier, policy, boot_us);
    else if (next_us < telling->next_us)
        telling->next_us = next_us;
}

/* Of a cluster whose policy is gone, or tells nobody any more, nothing is left but to see the end
 * of its child. */
static void look_after_gone(struct daemon *daemon, int64_t boot_us)
{
    for (size_t i = 0; i < daemon->telling->count; i++) {
        struct notifier *notifier = &daemon->telling->notifiers[i];
        const struct policy *policy = policy_of(daemon, notifier->cluster);
        if (notifier->task && (!policy || policy->notify_count == 0))
            look_after(daemon, notifier, boot_us);
    }
}

void tell_look(struct daemon *daemon)
{
    struct telling *telling = get_telling(daemon);
    int64_t now_us = daemon_now_us(daemon), boot_us = daemon_boot_us(daemon);
    if (!telling)
        return;
    if (!daemon->is_stopping && (telling->stale_looked_us == INSTANT_NONE ||
                                 boot_us - telling->stale_looked_us >= STALE_EVERY_US)) {
        telling->stale_looked_us = boot_us;
        for (size_t i = 0; i < daemon->roster->job_count; i++)
            look_for_stale(daemon, &daemon->roster->jobs[i], now_us);
    }
    telling->next_us = INT64_MAX;
    for (size_t i = 0; i < daemon->roster->policy_count; i++)
        if (daemon->roster->policies[i]->policy->notify_count > 0)
            deliver(daemon, daemon->roster->policies[i], now_us, boot_us);
    look_after_gone(daemon, boot_us);
}

int64_t tell_next_boot_us(const struct daemon *daemon)
{
    const struct telling *telling = daemon->telling;
    int64_t boot_us = daemon_boot_us(daemon), next_us = INT64_MAX;
    if (!telling)
        return INT64_MAX;
    if (telling->next_us != INT64_MAX)
        next_us = boot_us + telling->next_us - daemon_now_us(daemon);
    for (size_t i = 0; i < telling->count; i++) {
        const struct notifier *notifier = &telling->notifiers[i];
        int64_t at_us = notifier->task ? notifier->task->kill_us : notifier->not_before_us;
        if (at_us > boot_us && at_us < next_us)
            next_us = at_us;
    }
    return next_us;
}

void tell_close(struct daemon *daemon)
{
    struct telling *telling = daemon->telling;
    if (!telling)
        return;
    for (size_t i = 0; i < telling->count; i++) /* the kernel ends the children with us */
        task_free(telling->notifiers[i].task);
    free(telling->notifiers);
    free(telling);
    daemon->telling = NULL;
}
