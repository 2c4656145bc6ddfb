#include "notify/post.h"

#include <string.h>

#include "base/json.h"
#include "journal/outbox.h"

/* What lasts until the next success. */
static const enum notify_event_kind TROUBLES[] = {NOTIFY_FAILURE, NOTIFY_MISSED, NOTIFY_STALE};

/* A watchdog counts the runs, and is told of each. */
static bool is_told_always(const struct policy_notify *notify, enum notify_event_kind kind)
{
    return kind == NOTIFY_SUCCESS || kind == NOTIFY_START ||
           (notify->kind == NOTIFY_PING && kind != NOTIFY_STALE && kind != NOTIFY_POLICY);
}

/* A trouble is told when it begins, and again when it lasts. */
static int is_enough(struct journal *journal, const struct policy_notify *notify,
                     const struct notify_event *event, int64_t since_us, bool *ret_enough,
                     struct error *err)
{
    const char *word = notify_event_kind_name(event->kind);
    int64_t last_us = INSTANT_NONE, count = 0;
    *ret_enough = false;
    if (is_told_always(notify, event->kind))
        return 0;
    int rc = outbox_last(journal, event->cluster, event->job, notify->key, word, &last_us, err);
    if (!rc)
        rc = outbox_count_since(journal, event->cluster, event->job, notify->key, word,
                                event->at_us - US_PER_HOUR, &count, err);
    bool was_told = since_us != INSTANT_NONE && last_us != INSTANT_NONE && last_us >= since_us &&
                    event->at_us - last_us < notify->repeat_us;
    *ret_enough = was_told || count >= NOTIFY_PER_HOUR_MAX;
    return rc;
}

/* It was told of a trouble that was not yet told to be over; or it hears of no troubles at all. */
static int awaits_recovery(struct journal *journal, const struct policy_notify *notify,
                           const struct notify_event *event, bool *ret_awaits, struct error *err)
{
    int64_t told_us = INSTANT_NONE, last_us = INSTANT_NONE;
    bool hears = false;
    int rc = outbox_last(journal, event->cluster, event->job, notify->key,
                         notify_event_kind_name(NOTIFY_RECOVERY), &told_us, err);
    *ret_awaits = false;
    for (size_t i = 0; i < ARRAY_SIZE(TROUBLES) && !rc; i++) {
        hears = hears || policy_notify_wants(notify, TROUBLES[i], event->job);
        rc = outbox_last(journal, event->cluster, event->job, notify->key,
                         notify_event_kind_name(TROUBLES[i]), &last_us, err);
        *ret_awaits |= last_us != INSTANT_NONE && (told_us == INSTANT_NONE || last_us > told_us);
    }
    *ret_awaits |= !hears;
    return rc;
}

int notify_post_to(struct journal *journal, const struct policy_notify *notify,
                   const struct notify_event *event, int64_t since_us, size_t *count,
                   struct error *err)
{
    _cleanup_(json_release) json_t *json = NULL;
    _cleanup_(freep) char *text = NULL;
    bool is_needless = false, awaits = true;
    if (!policy_notify_wants(notify, event->kind, event->job))
        return 0;
    int rc = event->kind == NOTIFY_RECOVERY
                 ? awaits_recovery(journal, notify, event, &awaits, err)
                 : is_enough(journal, notify, event, since_us, &is_needless, err);
    if (rc || is_needless || !awaits)
        return rc;
    json = notify_event_json(event);
    rc = json ? json_to_text(json, &text, err) : error_no_memory(err);
    if (!rc)
        rc = outbox_add(journal, event->cluster, event->job, notify->key,
                        notify_event_kind_name(event->kind), text, event->at_us, err);
    *count += rc == 0;
    return rc;
}

int notify_post(struct journal *journal, const struct policy *policy,
                const struct notify_event *event, int64_t since_us, size_t *ret_count,
                struct error *err)
{
    size_t count = 0;
    int rc = 0;
    for (size_t i = 0; i < policy->notify_count && !rc; i++)
        rc = notify_post_to(journal, &policy->notify[i], event, since_us, &count, err);
    if (ret_count)
        *ret_count = count;
    return rc;
}

int notify_end_troubles(struct journal *journal, const char *cluster, const char *job,
                        bool *ret_was_open, struct error *err)
{
    int rc = 0;
    *ret_was_open = false;
    for (size_t i = 0; i < ARRAY_SIZE(TROUBLES); i++) {
        bool was_open = false;
        int failed = trouble_close(journal, cluster, job, notify_event_kind_name(TROUBLES[i]),
                                   &was_open, rc ? NULL : err);
        rc = rc ? rc : failed;
        *ret_was_open |= was_open;
    }
    return rc;
}
