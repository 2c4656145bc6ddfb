#include "retention/reasons.h"

#include "base/units.h"
#include "retention/rules.h"

enum { BUCKET_TEXT_MAX = 40 };

static void add_instant(struct buf *text, const char *before, int64_t instant_us)
{
    char instant[INSTANT_TEXT_MAX];
    if (instant_us != INSTANT_NONE)
        buf_addf(text, "%s%s", before, instant_format(instant_us, instant));
}

static void add_hold(struct buf *text, const struct facts_hold *hold)
{
    buf_addf(text, "hold %s by %s: %s", hold->hold_id, hold->holder, hold->reason);
    if (hold->expires_us == INSTANT_NONE)
        buf_add_text(text, " (until released)");
    else
        add_instant(text, ", until ", hold->expires_us);
}

/* "daily 3 of 7: newest of 2026-11-20", "within 30d of the newest good one" */
static void add_rule(struct buf *text, const struct item *item)
{
    const struct rule_detail *detail = &item->detail;
    const struct count_rule *rule = count_rule_find(detail->wish);
    if (rule) {
        buf_addf(text, "%s %d of %d", wish_name(detail->wish), detail->position,
                 rule->count(&item->job->keep));
        if (rule->describe) {
            char bucket[BUCKET_TEXT_MAX];
            rule->describe(&item->civil, bucket, sizeof(bucket));
            buf_addf(text, ": newest of %s", bucket);
        }
    } else {
        char duration[UNITS_TEXT_MAX];
        buf_addf(text, "within %s of the newest good one",
                 duration_format(item->job->keep.within_us, duration));
    }
    if (item->wanted_count < item->group_count)
        buf_addf(text, ", for database \"%s\"", detail->database);
}

static void add_grace(struct buf *text, const struct item *item, const struct policy *policy)
{
    bool has_failed = item->backup->failed_us != INSTANT_NONE;
    if (has_failed)
        add_instant(text, "its verification found a fault ", item->backup->failed_us);
    else
        buf_addf(text, "not verified to level %d yet", required_level(policy, item->job));
    if (item->detail.wish == WISH_COUNT) {
        buf_add_text(text, has_failed ? ", and it is newer than all that are good"
                                      : ", and newer than all that are");
    } else {
        buf_add_text(text, "; would be ");
        add_rule(text, item);
    }
}

/* Why the rules of a job can't be asked, and so everything of it stays. */
static void add_no_job(struct buf *text, const struct item *item, const struct policy *policy)
{
    const char *name = item->backup->job ? item->backup->job : "";
    const struct policy_job *job = policy_find_job(policy, name);
    if (name[0] == '\0')
        buf_add_text(text, "it is not known which job made it");
    else if (job)
        buf_addf(text, "job \"%s\" is now of type %s", name, job_type_name(job->type));
    else
        buf_addf(text, "job \"%s\" is no longer in the policy", name);
}

/* Of what use a snapshot is for recovery to a moment. */
static void add_anchor(struct buf *text, const struct item *item, const struct wal_window *window)
{
    char within[UNITS_TEXT_MAX];
    duration_format(window->within_us, within);
    switch (item->anchor_role) {
    case ANCHOR_OF_WINDOW:
        buf_addf(text, "anchor: recovery to any moment of the last %s begins with it", within);
        return;
    case ANCHOR_OLDEST:
        buf_addf(text,
                 "anchor: recovery begins with it, the oldest good one; none is older than "
                 "the last %s",
                 within);
        return;
    case ANCHOR_BEHIND_GAP:
        buf_add_text(text, "anchor: recovery to what follows a gap in the WAL begins with it");
        return;
    case ANCHOR_NEXT:
        buf_addf(text, "the next anchor, when it is older than %s", within);
        return;
    case ANCHOR_PERHAPS:
        buf_add_text(text, "perhaps an anchor: the history of a later timeline is not stored");
        return;
    }
}

static void add_wish(struct buf *text, enum wish wish, const struct item *item,
                     const struct policy *policy, const struct wal_window *window)
{
    const struct facts_backup *backup = item->backup;
    switch (wish) {
    case WISH_UNKNOWN:
        buf_add_text(text, backup->state == BACKUP_GOOD
                               ? "its manifest does not say when it was made"
                               : "something of it could not be read");
        return;
    case WISH_RUNNING:
        buf_add_text(text, "a run is writing it");
        return;
    case WISH_DAMAGED:
        buf_add_text(text, "the server had blocks with wrong checksums, and there is no newer good "
                           "one");
        return;
    case WISH_REMAINS:
        buf_add_text(text, "unfinished, but too young to be called garbage");
        add_instant(text, ": last sign of life ", backup->newest_us);
        return;
    case WISH_HOLD:
        add_hold(text, item->hold);
        return;
    case WISH_LOCK:
        add_instant(text, "locked in the store until ", backup->locked_until_us);
        return;
    case WISH_FUTURE:
        buf_add_text(text, "dated ahead of this clock: counted by no rule, and never deleted");
        return;
    case WISH_NO_JOB:
        add_no_job(text, item, policy);
        return;
    case WISH_NO_KEEP:
        buf_addf(text, "job \"%s\" has no keep: in the policy", backup->job);
        return;
    case WISH_GRACE:
        add_grace(text, item, policy);
        return;
    case WISH_DRILLED:
        add_instant(text, "the last one that passed a drill, ", backup->drilled_us);
        return;
    case WISH_ANCHOR:
        add_anchor(text, item, window);
        return;
    case WISH_FLOOR:
        buf_addf(text, "floor: the newest good %s", backup_kind_name(backup->kind));
        if (item->floor_database && item->floor_database[0])
            buf_addf(text, " of database \"%s\"", item->floor_database);
        return;
    default:
        add_rule(text, item);
    }
}

static void add_delete(struct buf *text, const struct item *item)
{
    if (item->backup->state == BACKUP_DAMAGED) {
        buf_add_text(text, "the server had blocks with wrong checksums, and there is a newer good "
                           "one");
        return;
    }
    if (!item->job) {
        buf_add_text(text, "left behind by a run that never finished");
        add_instant(text, "; last sign of life ", item->backup->newest_us);
        return;
    }
    buf_addf(text, "no rule of job \"%s\" wants it: ", item->job->name);
    rules_describe(&item->job->keep, text);
}

/* The weaker wishes in short, so that nobody thinks it would go with the first. */
static void add_others(struct buf *text, enum wish strongest, const struct item *item)
{
    const char *before = "; also ";
    for (enum wish wish = strongest + 1; wish < WISH_COUNT; wish++)
        if (item_has(item, wish)) {
            buf_addf(text, "%s%s", before, wish_name(wish));
            before = ", ";
        }
}

enum wish strongest_wish(const struct item *item)
{
    return item->wishes ? (enum wish)__builtin_ctz(item->wishes) : WISH_COUNT;
}

int reason_write(const struct item *item, const struct policy *policy,
                 const struct wal_window *window, char **ret_reason, struct error *err)
{
    struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
    enum wish wish = strongest_wish(item);
    if (wish == WISH_COUNT) {
        add_delete(&text, item);
    } else {
        add_wish(&text, wish, item, policy, window);
        add_others(&text, wish, item);
    }
    if (!item->hold && item->expired_hold) {
        buf_addf(&text, "; hold %s expired", item->expired_hold->hold_id);
        add_instant(&text, " ", item->expired_hold->expires_us);
    }
    return text_take(&text, ret_reason, err);
}

int text_take(struct buf *text, char **ret_text, struct error *err)
{
    int rc = buf_failed(text, "a sentence of the plan", err);
    char *stolen = rc ? NULL : buf_steal(text);
    buf_clear(text);
    if (rc)
        return rc;
    if (!stolen)
        return error_no_memory(err);
    *ret_text = stolen;
    return 0;
}
