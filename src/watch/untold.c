#include "watch/untold.h"

#include <string.h>

#include "journal/outbox.h"

struct untold {
    const struct policy *policy;
    int64_t now_us;
    size_t count; /* targets, each once */
    bool is_untold[POLICY_NOTIFY_MAX];
    struct outbox_notice first;
    const char *shown; /* of the first */
};

static bool is_one(const struct untold *untold, const struct outbox_notice *notice)
{
    if (notice->is_given_up)
        return untold->now_us - notice->next_us < UNTOLD_KEPT_US;
    return notice->attempts > 0 || untold->now_us - notice->created_us >= UNTOLD_WAIT_US;
}

static void take_end(const struct outbox_notice *notice, void *context)
{
    struct untold *untold = context;
    const struct policy *policy = untold->policy;
    size_t i = 0;
    while (i < policy->notify_count && strcmp(policy->notify[i].key, notice->target) != 0)
        i++;
    if (i == policy->notify_count || untold->is_untold[i] || !is_one(untold, notice))
        return;
    untold->is_untold[i] = true;
    if (untold->count++ > 0)
        return;
    untold->first = *notice;
    untold->first.event = NULL;
    untold->shown = policy->notify[i].shown;
}

int untold_alarm(struct journal *journal, const struct policy *policy, int64_t now_us,
                 job_alarm_visitor visit, void *context, struct error *err)
{
    struct untold untold = {.policy = policy, .now_us = now_us};
    char text[ERROR_MESSAGE_MAX], since[INSTANT_TEXT_MAX], more[64] = "";
    struct job_alarm alarm = {.cluster = policy->cluster, .what = "untold", .text = text};
    int rc = journal ? outbox_each_end(journal, policy->cluster, take_end, &untold, err) : 0;
    if (rc || untold.count == 0)
        return rc;
    const struct outbox_notice *first = &untold.first;
    if (untold.count > 1)
        snprintf(more, sizeof(more), "; %zu more targets can't be told", untold.count - 1);
    snprintf(text, sizeof(text), "%s %s, %s: %s%s", untold.shown,
             first->is_given_up ? "was not told and is not tried again" : "can't be told",
             instant_format(first->created_us, since),
             first->last_error[0] ? first->last_error : "nobody has tried yet", more);
    return visit(&alarm, context, err);
}
