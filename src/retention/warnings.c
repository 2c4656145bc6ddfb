#include "retention/warnings.h"

#include <string.h>

#include "retention/reasons.h"

/* Adds the line once. More warnings than anybody reads are not an error. */
static int add(struct retention_plan *plan, struct buf *text, struct error *err)
{
    _cleanup_(freep) char *line = NULL;
    int rc = text_take(text, &line, err);
    if (rc)
        return rc;
    if (plan->warnings.count >= RETENTION_WARNINGS_MAX || strv_has(&plan->warnings, line))
        return 0;
    return strv_take(&plan->warnings, TAKE(line), err);
}

static const char *job_name(const struct item *item)
{
    return item->backup->job ? item->backup->job : "";
}

static bool is_ruled(const struct item *item)
{
    return !item_has(item, WISH_NO_JOB) && !item_has(item, WISH_NO_KEEP);
}

/* Whether the item before had the same to say, as is usual among thousands of one lost job. */
static bool repeats(const struct items *items, size_t i)
{
    return i > 0 && !is_ruled(&items->items[i - 1]) &&
           strcmp(job_name(&items->items[i]), job_name(&items->items[i - 1])) == 0 &&
           items->items[i].backup->kind == items->items[i - 1].backup->kind;
}

static void describe_unruled(const struct item *item, const struct policy *policy, struct buf *text)
{
    const char *name = job_name(item);
    if (item->job) {
        buf_addf(text, "job \"%s\" has no keep: its backups are never deleted", name);
        return;
    }
    if (name[0] == '\0') {
        buf_addf(text, "it is not known which job made %ss like %s: they are never deleted",
                 backup_kind_name(item->backup->kind), item->backup->id);
        return;
    }
    const char *type = job_type_name(kind_job_type(item->backup->kind));
    buf_addf(text,
             "job \"%s\" %s: its %ss are never deleted; to let rules apply to them, give the "
             "policy a %s job of that name with keep: (it needs no schedule)",
             name,
             policy_find_job(policy, name) ? "now has another type" : "is no longer in the policy",
             backup_kind_name(item->backup->kind), type);
}

static int warn_of_unruled(const struct items *items, const struct policy *policy,
                           struct retention_plan *plan, struct error *err)
{
    for (size_t i = 0; i < items->count; i++) {
        if (is_ruled(&items->items[i]) || repeats(items, i))
            continue;
        struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
        describe_unruled(&items->items[i], policy, &text);
        int rc = add(plan, &text, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* The newest start per job of the policy, over all its databases. */
static void find_newest(const struct items *items, const struct policy *policy, int64_t *newest)
{
    for (size_t i = 0; i < policy->job_count; i++)
        newest[i] = INSTANT_NONE;
    for (size_t i = 0; i < items->count; i++) {
        const struct item *item = &items->items[i];
        if (item->job && item->backup->started_us > newest[item->job - policy->jobs])
            newest[item->job - policy->jobs] = item->backup->started_us;
    }
}

/* A job goes on while one of its databases is no longer in its dumps (dropped, or lost from the
 * policy): what there is of that database does not age, and that must not go unseen. */
static int warn_of_standing_still(const struct items *items, const struct policy *policy,
                                  struct retention_plan *plan, struct error *err)
{
    _cleanup_(freep) int64_t *newest = calloc(policy->job_count + 1, sizeof(*newest));
    if (!newest)
        return error_no_memory(err);
    find_newest(items, policy, newest);
    const struct membership *previous = NULL;
    for (size_t i = 0; i < items->membership_count; i++) {
        const struct membership *member = &items->memberships[i];
        bool is_first = !previous || !membership_same_stream(previous, member);
        const struct policy_job *job = member->item->job;
        previous = member;
        if (!is_first || !job || job->keep.within_us <= 0)
            continue;
        int64_t since_us = member->item->backup->started_us;
        if (newest[job - policy->jobs] - since_us <= job->keep.within_us)
            continue;
        char since[INSTANT_TEXT_MAX];
        struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
        buf_addf(&text,
                 "no %s of job \"%s\" has held database \"%s\" since %s: the age of what there is "
                 "of it stands still, and it is kept",
                 backup_kind_name(member->item->backup->kind), job->name, member->database,
                 instant_format(since_us, since));
        int rc = add(plan, &text, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int warn_of_holds(const struct facts *facts, int64_t now_us, struct retention_plan *plan,
                         struct error *err)
{
    for (size_t i = 0; i < facts->hold_count; i++) {
        const struct facts_hold *hold = &facts->holds[i];
        bool is_missing = !retention_find(plan, hold->backup_id);
        bool is_expired = hold->expires_us != INSTANT_NONE && hold->expires_us <= now_us;
        if (!is_missing && !is_expired)
            continue;
        struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
        char expires[INSTANT_TEXT_MAX];
        buf_addf(&text, "hold %s by %s on %s ", hold->hold_id, hold->holder, hold->backup_id);
        if (is_missing)
            buf_add_text(&text, "holds nothing: there is no such backup");
        else
            buf_addf(&text, "expired %s", instant_format(hold->expires_us, expires));
        int rc = add(plan, &text, err);
        if (rc)
            return rc;
    }
    return 0;
}

int warnings_add(const struct facts *facts, const struct items *items, const struct policy *policy,
                 int64_t now_us, struct retention_plan *plan, struct error *err)
{
    int rc = warn_of_unruled(items, policy, plan, err);
    if (!rc)
        rc = warn_of_standing_still(items, policy, plan, err);
    return rc ? rc : warn_of_holds(facts, now_us, plan, err);
}
