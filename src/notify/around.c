#include "notify/around.h"

#include <string.h>
#include <unistd.h>

#include "base/json.h"

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

static int put_down(const struct around *around, const struct policy_notify *const *targets,
                    size_t count, struct error *err)
{
    const struct notify_event *event = around->event;
    _cleanup_(json_release) json_t *json = notify_event_json(event);
    _cleanup_(freep) char *text = NULL;
    int rc = json ? json_to_text(json, &text, err)
                  : error_set(err, ERR_FAILED, "the event can't be written as JSON");
    for (size_t i = 0; i < count && !rc; i++)
        rc = outbox_add(around->journal, event->cluster, event->job, targets[i]->key,
                        notify_event_kind_name(event->kind), text, event->at_us, err);
    return rc;
}

static void put_down_event(struct around *around, const struct notify_event *event)
{
    const struct policy_notify *targets[POLICY_NOTIFY_MAX];
    struct error error = ERROR_NONE;
    size_t count = find_wanted(around->policy, event, targets);
    around->event = event;
    if (count == 0)
        return;
    if (!around->journal) {
        deliver_now(around, targets, count, DIRECT_TRIES_MAX,
                    NOTIFY_AFTER_US / DIRECT_TRIES_MAX - DIRECT_WAIT_S * US_PER_SECOND);
    } else if (put_down(around, targets, count, &error)) {
        say(around, NULL, &error);
        deliver_now(around, targets, count, 1, NOTIFY_TIMEOUT_US);
    }
}

/* Whether the trouble that the run ends was on record. */
static bool note_trouble(const struct around *around, const struct notify_event *event)
{
    bool was_open = false;
    int64_t since_us;
    const char *failure = notify_event_kind_name(NOTIFY_FAILURE);
    if (!around->journal)
        return false;
    if (event->kind == NOTIFY_FAILURE)
        trouble_open(around->journal, event->cluster, event->job, failure, event->at_us, &since_us,
                     NULL);
    else
        trouble_close(around->journal, event->cluster, event->job, failure, &was_open, NULL);
    return was_open;
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
            rc = outbox_next_us(around->journal, around->policy->cluster, &next_us, &error);
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
    struct notify_event recovery = *event;
    recovery.kind = NOTIFY_RECOVERY;
    bool is_recovery = note_trouble(&around, event);
    put_down_event(&around, event);
    if (is_recovery)
        put_down_event(&around, &recovery);
    if (journal)
        deliver_pending(&around, until_us);
}
