#include "notify/around.h"

#include <string.h>
#include <unistd.h>

#include "notify/post.h"

enum { DIRECT_TRIES_MAX = 3, DIRECT_WAIT_S = 2 };

#define LOOK_AGAIN_US US_PER_SECOND

struct around {
    struct journal *journal;
    const struct policy *policy;
    const struct notify_event *event;
    notify_problem_function problem;
    void *context;
};

struct notify_event notify_event_of_run(enum notify_event_kind kind, const struct journal_run *run,
                                        const char *host)
{
    struct notify_event event = notify_event_of(kind, instant_now_us());
    event.cluster = run->cluster;
    event.job = run->job;
    event.type = run->type;
    event.run_id = run->run_id;
    event.outcome = journal_outcome_name(run->outcome);
    event.code = run->error_code;
    event.cause = run->message;
    event.cure = run->hint;
    event.backup_id = run->backup_id;
    event.host = host;
    event.due_us = run->due_us;
    event.started_us = run->started_us;
    event.ended_us = run->ended_us;
    event.attempt = run->attempt;
    event.bytes_stored = run->bytes_stored;
    return event;
}

static void say(const struct around *around, const struct policy_notify *notify,
                const struct error *error)
{
    if (around->problem)
        around->problem(notify, error, around->context);
}

/* -- at once ------------------------------------------------------------------------------- */

/* What failed and may do better stays in the list; the rest leaves it. */
static size_t keep_failed(const struct around *around, struct notify_delivery *deliveries,
                          size_t count, bool is_last)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_again = deliveries[i].rc && deliveries[i].is_retryable && !is_last;
        if (deliveries[i].rc && !is_again)
            say(around, deliveries[i].notify, &deliveries[i].error);
        if (is_again)
            deliveries[kept++] = deliveries[i];
    }
    return kept;
}

static void deliver_now(const struct around *around, const struct policy_notify *const *targets,
                        size_t count, int tries, int64_t timeout_us)
{
    struct error error = ERROR_NONE;
    _cleanup_(freep) struct notify_delivery *deliveries = calloc(count + 1, sizeof(*deliveries));
    if (!deliveries)
        return;
    for (size_t i = 0; i < count; i++)
        deliveries[i] = (struct notify_delivery){.notify = targets[i], .event = around->event};
    for (int i = 1; count > 0 && i <= tries; i++) {
        if (i > 1)
            sleep(DIRECT_WAIT_S);
        if (notify_deliver(deliveries, count, timeout_us, &error)) {
            say(around, NULL, &error);
            return;
        }
        count = keep_failed(around, deliveries, count, i == tries);
    }
}

static size_t find_wanted(const struct policy *policy, const struct notify_event *event,
                          const struct policy_notify *targets[POLICY_NOTIFY_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < policy->notify_count && count < POLICY_NOTIFY_MAX; i++)
        if (policy_notify_wants(&policy->notify[i], event->kind, event->job))
            targets[count++] = &policy->notify[i];
    return count;
}

void notify_before(const struct policy *policy, const struct notify_event *event,
                   notify_problem_function problem, void *context)
{
    const struct policy_notify *targets[POLICY_NOTIFY_MAX];
    struct around around = {
        .policy = policy, .event = event, .problem = problem, .context = context};
    deliver_now(&around, targets, find_wanted(policy, event, targets), 1, NOTIFY_BEFORE_US);
}

/* -- by the outbox ------------------------------------------------------------------------- */

/* Without an outbox it is told at once or not at all. */
static void put_down(struct around *around, const struct notify_event *event, int64_t since_us)
{
    const struct policy_notify *targets[POLICY_NOTIFY_MAX];
    struct error error = ERROR_NONE;
    size_t count = find_wanted(around->policy, event, targets), posted = 0;
    around->event = event;
    if (!around->journal) {
        deliver_now(around, targets, count, DIRECT_TRIES_MAX,
                    NOTIFY_AFTER_US / DIRECT_TRIES_MAX - DIRECT_WAIT_S * US_PER_SECOND);
    } else if (notify_post(around->journal, around->policy, event, since_us, &posted, &error)) {
        say(around, NULL, &error);
        if (posted == 0)
            deliver_now(around, targets, count, 1, NOTIFY_TIMEOUT_US);
    }
}

/* Since when the failure lasts; and of a success whether it ends a trouble. */
static void note_trouble(const struct around *around, const struct notify_event *event,
                         int64_t *ret_since_us, bool *ret_was_open)
{
    struct journal *journal = around->journal;
    if (event->kind == NOTIFY_FAILURE) {
        trouble_open(journal, event->cluster, event->job, notify_event_kind_name(NOTIFY_FAILURE),
                     event->at_us, ret_since_us, NULL);
        return;
    }
    notify_end_troubles(journal, event->cluster, event->job, ret_was_open, NULL);
}

static void take_told(const struct notify_told *told, void *context)
{
    if (told->rc)
        say(context, told->notify, told->error);
}

/* Waits for those that are to be tried again, while there is time. */
static void deliver_pending(struct around *around, int64_t until_us)
{
    struct error error = ERROR_NONE;
    int64_t next_us = 0;
    while (next_us != INT64_MAX && instant_monotonic_us() < until_us) {
        int rc =
            notify_pending(around->journal, around->policy, until_us, take_told, around, &error);
        if (!rc)
            rc = outbox_next_us(around->journal, around->policy->cluster, instant_now_us(),
                                &next_us, &error);
        if (rc) {
            say(around, NULL, &error);
            return;
        }
        if (next_us == INT64_MAX || next_us - instant_now_us() > until_us - instant_monotonic_us())
            return;
        sleep((unsigned)(LOOK_AGAIN_US / US_PER_SECOND));
    }
}

void notify_after(struct journal *journal, const struct policy *policy,
                  const struct notify_event *event, notify_problem_function problem, void *context)
{
    struct around around = {
        .journal = journal, .policy = policy, .problem = problem, .context = context};
    int64_t until_us = instant_monotonic_us() + NOTIFY_AFTER_US;
    if (policy->notify_count == 0)
        return;
    int64_t since_us = event->kind == NOTIFY_FAILURE ? event->at_us : INSTANT_NONE;
    bool is_recovery = false;
    struct notify_event recovery = *event;
    recovery.kind = NOTIFY_RECOVERY;
    if (journal)
        note_trouble(&around, event, &since_us, &is_recovery);
    put_down(&around, event, since_us);
    if (is_recovery)
        put_down(&around, &recovery, INSTANT_NONE);
    if (journal)
        deliver_pending(&around, until_us);
}
