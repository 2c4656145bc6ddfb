#include "notify/pending.h"

#include <string.h>

#include "base/json.h"

enum { ROUNDS_MAX = OUTBOX_PENDING_MAX };

/* One row with what it needs to be delivered. */
struct parcel {
    json_t *json; /* owns the event's texts */
    struct notify_event event;
};

struct round {
    struct journal *journal;
    const struct policy *policy;
    notify_told_function told;
    void *context;
    struct outbox_notice *notices;
    size_t count;
    struct parcel *parcels;
    struct notify_delivery *deliveries;
    size_t *rows; /* of each delivery */
    size_t delivery_count;
};

const struct policy_notify *notify_find(const struct policy *policy, const char *key)
{
    for (size_t i = 0; i < policy->notify_count; i++)
        if (strcmp(policy->notify[i].key, key) == 0)
            return &policy->notify[i];
    return NULL;
}

static void round_clear(struct round *round)
{
    for (size_t i = 0; i < round->count; i++) {
        outbox_notice_clear(&round->notices[i]);
        if (round->parcels)
            json_decref(round->parcels[i].json);
    }
    free(round->notices);
    free(round->parcels);
    free(round->deliveries);
    free(round->rows);
}

static void tell(const struct round *round, const struct notify_told *told)
{
    if (round->told)
        round->told(told, round->context);
}

static int mark_failed(struct round *round, size_t row, bool is_retryable,
                       const struct error *error, struct error *err)
{
    struct notify_told told = {.notice = &round->notices[row],
                               .notify = notify_find(round->policy, round->notices[row].target),
                               .rc = error->code,
                               .error = error,
                               .next_us = INSTANT_NONE};
    int rc = outbox_failed(round->journal, told.notice, is_retryable, error->message,
                           instant_now_us(), &told.next_us, err);
    if (!rc)
        tell(round, &told);
    return rc;
}

/* Makes the delivery of a row, or gives it up. */
static int pack(struct round *round, size_t row, struct error *err)
{
    const struct outbox_notice *notice = &round->notices[row];
    struct parcel *parcel = &round->parcels[row];
    const struct policy_notify *notify = notify_find(round->policy, notice->target);
    struct error error = ERROR_NONE;
    int rc = 0;
    if (!notify)
        rc = error_set(&error, ERR_NOT_FOUND, "the policy of %s no longer has the target %s",
                       notice->cluster, notice->target);
    if (!rc)
        rc = json_parse_object(notice->event, strlen(notice->event), "the event", &parcel->json,
                               &error);
    if (!rc)
        rc = notify_event_read(parcel->json, &parcel->event, &error);
    if (rc == ERR_MEMORY) {
        if (err)
            *err = error;
        return rc;
    }
    if (rc)
        return mark_failed(round, row, false, &error, err);
    round->rows[round->delivery_count] = row;
    round->deliveries[round->delivery_count++] =
        (struct notify_delivery){.notify = notify, .event = &parcel->event};
    return 0;
}

static int mark(struct round *round, size_t index, struct error *err)
{
    const struct notify_delivery *delivery = &round->deliveries[index];
    size_t row = round->rows[index];
    struct notify_told told = {.notice = &round->notices[row],
                               .notify = delivery->notify,
                               .error = &delivery->error,
                               .next_us = INSTANT_NONE};
    if (delivery->rc)
        return mark_failed(round, row, delivery->is_retryable, &delivery->error, err);
    int rc = outbox_delivered(round->journal, told.notice->id, instant_now_us(), err);
    if (!rc)
        tell(round, &told);
    return rc;
}

static int deliver_round(struct round *round, struct error *err)
{
    round->parcels = calloc(round->count, sizeof(*round->parcels));
    round->deliveries = calloc(round->count, sizeof(*round->deliveries));
    round->rows = calloc(round->count, sizeof(*round->rows));
    int rc = round->parcels && round->deliveries && round->rows ? 0 : error_no_memory(err);
    for (size_t i = 0; i < round->count && !rc; i++)
        rc = pack(round, i, err);
    if (!rc)
        rc = notify_deliver(round->deliveries, round->delivery_count, NOTIFY_TIMEOUT_US, err);
    for (size_t i = 0; i < round->delivery_count && !rc; i++)
        rc = mark(round, i, err);
    return rc;
}

int notify_pending(struct journal *journal, const struct policy *policy, int64_t until_us,
                   notify_told_function told, void *context, struct error *err)
{
    int rc = 0;
    size_t count = 1;
    for (int i = 0; i < ROUNDS_MAX && count > 0 && !rc && instant_monotonic_us() < until_us; i++) {
        _cleanup_(round_clear) struct round round = {
            .journal = journal, .policy = policy, .told = told, .context = context};
        rc = outbox_take_due(journal, policy->cluster, instant_now_us(), &round.notices,
                             &round.count, err);
        count = round.count;
        if (!rc && count > 0)
            rc = deliver_round(&round, err);
    }
    return rc;
}
