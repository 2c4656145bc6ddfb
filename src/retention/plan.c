/*
 * The story of a plan: gather the items, let the rules of each stream speak, put the floor under
 * each group, turn wishes into decisions, and stand guard over the whole. Every pass only adds
 * wishes, so no pass can undo what an earlier one protects. Which WAL is needed follows from the
 * snapshots, and which snapshots are from the WAL (window.c).
 */
#include "retention/retention.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/buf.h"
#include "retention/items.h"
#include "retention/reasons.h"
#include "retention/rules.h"
#include "retention/wal_plan.h"
#include "retention/warnings.h"

enum { PLAN_TEXT_MAX = 256 << 20 }; /* the canonical text of a million decisions fits */

static void ask_rules(struct items *items);
static void lay_floor(struct items *items);
static int decide(const struct items *items, const struct policy *policy,
                  const struct wal_window *window, struct retention_plan *plan, struct error *err);
static int refuse_if_unsure(const struct facts *facts, const struct items *items,
                            struct retention_plan *plan, struct error *err);
static int guard(const struct facts *facts, const struct items *items, int64_t now_us,
                 struct retention_plan *plan, struct error *err);
static int hash(const char *cluster, struct retention_plan *plan, struct error *err);

int retention_plan_make(const struct facts *facts, const struct policy *policy,
                        const struct retention_zones *zones, int64_t now_us,
                        struct retention_plan *ret_plan, struct error *err)
{
    _cleanup_(items_clear) struct items items = {0};
    _cleanup_(wal_window_clear) struct wal_window window = {0};
    _cleanup_(retention_plan_clear) struct retention_plan plan = {
        .warnings = STRV_INIT(RETENTION_WARNINGS_MAX)};

    int rc = items_gather(facts, policy, zones, now_us, &items, err);
    if (rc)
        return rc;
    ask_rules(&items);
    lay_floor(&items);
    if ((rc = wal_window_find(facts, policy, &items, now_us, &window, err)) ||
        (rc = decide(&items, policy, &window, &plan, err)) ||
        (rc = wal_decide(facts, &window, &plan, err)) ||
        (rc = refuse_if_unsure(facts, &items, &plan, err)) ||
        (rc = guard(facts, &items, now_us, &plan, err)) ||
        (rc = warnings_add(facts, &items, policy, now_us, &plan, err)) ||
        (rc = wal_warn(&window, policy, &plan, err)) || (rc = hash(policy->cluster, &plan, err)))
        return rc;
    *ret_plan = plan;
    plan = (struct retention_plan){0};
    return 0;
}

/* -- wishes -------------------------------------------------------------------------------------
 */

/* How many memberships from the first one on satisfy same(first, other). */
static size_t run_length(const struct items *items, size_t first,
                         bool (*same)(const struct membership *a, const struct membership *b))
{
    size_t end = first + 1;
    while (end < items->membership_count &&
           same(&items->memberships[first], &items->memberships[end]))
        end++;
    return end - first;
}

static void ask_rules(struct items *items)
{
    size_t length;
    for (size_t i = 0; i < items->membership_count; i += length) {
        struct membership *stream = &items->memberships[i];
        length = run_length(items, i, membership_same_stream);
        const struct policy_job *job = stream->item->job;
        if (job && job->keep.is_set && rules_any(&job->keep)) {
            rules_apply(stream, length, &job->keep);
            continue;
        }
        for (size_t n = 0; n < length; n++)
            item_wish(stream[n].item, job ? WISH_NO_KEEP : WISH_NO_JOB);
    }
}

static bool is_newer(const struct item *a, const struct item *b)
{
    return !b || compare_newest_first(a->backup, b->backup) < 0;
}

static bool is_drilled_later(const struct item *a, const struct item *b)
{
    if (!b || a->backup->drilled_us != b->backup->drilled_us)
        return !b || a->backup->drilled_us > b->backup->drilled_us;
    return is_newer(a, b);
}

static void put_on_floor(struct item *item, const char *database)
{
    if (item && !item_has(item, WISH_FLOOR)) {
        item_wish(item, WISH_FLOOR);
        item->floor_database = database;
    }
}

/* Of a group, whatever the jobs: the newest good one, the newest proven one, and the one whose
 * drill passed last stay whatever else is said. */
static void lay_floor_of(struct membership *group, size_t count)
{
    struct item *newest = NULL, *proven = NULL, *drilled = NULL;
    for (size_t i = 0; i < count; i++) {
        struct item *item = group[i].item;
        if (is_newer(item, newest))
            newest = item;
        if (item->proven && is_newer(item, proven))
            proven = item;
        if (item->backup->drilled_us != INSTANT_NONE && is_drilled_later(item, drilled))
            drilled = item;
    }
    put_on_floor(newest, group->database);
    put_on_floor(proven, group->database);
    if (drilled)
        item_wish(drilled, WISH_DRILLED);
}

static void lay_floor(struct items *items)
{
    size_t length;
    for (size_t i = 0; i < items->membership_count; i += length) {
        length = run_length(items, i, membership_same_group);
        lay_floor_of(&items->memberships[i], length);
    }
}

/* -- decisions ----------------------------------------------------------------------------------
 */

/* The latest of the ends that are known; none when something without an end keeps it. */
static int64_t until(const struct item *item)
{
    int64_t until_us = item->within_until_us;
    if (item->hold && item->hold->expires_us == INSTANT_NONE)
        return INSTANT_NONE;
    if (item->hold && item->hold->expires_us > until_us)
        until_us = item->hold->expires_us;
    if (item_has(item, WISH_LOCK) && item->backup->locked_until_us > until_us)
        until_us = item->backup->locked_until_us;
    return until_us;
}

static int decide_one(const struct item *item, const struct policy *policy,
                      const struct wal_window *window, struct retention_decision *decision,
                      struct error *err)
{
    enum wish wish = strongest_wish(item);
    *decision = (struct retention_decision){
        .backup = item->backup,
        .id = item->backup->id,
        .kind = item->backup->kind,
        .action = RETENTION_KEEP,
        .until_us = INSTANT_NONE,
        .started_us = item->backup->started_us,
        .bytes = item->backup->bytes_stored,
    };
    if (wish == WISH_COUNT) {
        decision->action = RETENTION_DELETE;
        decision->rule = item->backup->state == BACKUP_GARBAGE ? "garbage" : "expired";
    } else {
        decision->rule = wish_name(wish);
        decision->until_us = until(item);
    }
    return reason_write(item, policy, window, &decision->reason, err);
}

static int decide(const struct items *items, const struct policy *policy,
                  const struct wal_window *window, struct retention_plan *plan, struct error *err)
{
    plan->decisions = calloc(items->count + 1, sizeof(*plan->decisions));
    plan->by_id = calloc(items->count + 1, sizeof(*plan->by_id));
    if (!plan->decisions || !plan->by_id)
        return error_no_memory(err);
    memcpy(plan->by_id, items->by_id, items->count * sizeof(*plan->by_id));
    for (; plan->count < items->count; plan->count++) {
        struct retention_decision *decision = &plan->decisions[plan->count];
        int rc = decide_one(&items->items[plan->count], policy, window, decision, err);
        if (rc)
            return rc;
        if (decision->action == RETENTION_DELETE) {
            plan->delete_count++;
            plan->bytes_freed += decision->bytes;
        }
    }
    return 0;
}

/* -- what stands above single decisions ---------------------------------------------------------
 */

/* A refused plan deletes nothing, and says so decision by decision: whoever only looks at the
 * decisions can't do harm. */
static int keep_anyway(const char **rule, char **reason, enum retention_action *action,
                       struct error *err)
{
    if (*action != RETENTION_DELETE)
        return 0;
    struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
    buf_addf(&text, "not everything could be read, so nothing is deleted; else: %s (%s)", *rule,
             *reason);
    char *kept;
    int rc = text_take(&text, &kept, err);
    if (rc)
        return rc;
    free(*reason);
    *reason = kept;
    *rule = "incomplete";
    *action = RETENTION_KEEP;
    return 0;
}

static int keep_everything(struct retention_plan *plan, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < plan->count && !rc; i++) {
        struct retention_decision *decision = &plan->decisions[i];
        rc = keep_anyway(&decision->rule, &decision->reason, &decision->action, err);
    }
    for (size_t i = 0; i < plan->wal_count && !rc; i++)
        rc = keep_anyway(&plan->wal[i].rule, &plan->wal[i].reason, &plan->wal[i].action, err);
    if (rc)
        return rc;
    plan->delete_count = plan->wal_delete_count = 0;
    plan->bytes_freed = 0;
    return 0;
}

static int refuse_if_unsure(const struct facts *facts, const struct items *items,
                            struct retention_plan *plan, struct error *err)
{
    size_t unknown = 0;
    const char *first = NULL;
    for (size_t i = 0; i < items->count; i++)
        if (item_has(&items->items[i], WISH_UNKNOWN)) {
            if (unknown++ == 0)
                first = items->items[i].backup->id;
        }
    if (facts->complete && unknown == 0)
        return 0;
    struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
    if (!facts->complete)
        buf_add_text(&text, "not every listing and hold could be read to its end");
    if (unknown > 0)
        buf_addf(&text, "%s%zu backup%s could not be read (%s%s)", facts->complete ? "" : ", and ",
                 unknown, unknown == 1 ? "" : "s", first, unknown == 1 ? "" : ", ...");
    if (facts->problem)
        buf_addf(&text, ": %s", facts->problem);
    int rc = text_take(&text, &plan->refused, err);
    return rc ? rc : keep_everything(plan, err);
}

static void guard_kind(const struct items *items, enum backup_kind kind,
                       const struct retention_plan *plan, struct buf *text)
{
    size_t all = 0, going = 0;
    for (size_t i = 0; i < items->count; i++) {
        const struct facts_backup *backup = items->items[i].backup;
        if (backup->kind != kind || backup->state == BACKUP_GARBAGE)
            continue;
        all++;
        going += plan->decisions[i].action == RETENTION_DELETE;
    }
    if (going > RETENTION_GUARD_COUNT && going * 2 > all)
        buf_addf(text, "%s%zu of %zu %ss would go: more than half, and more than %d",
                 text->length ? "; " : "", going, all, backup_kind_name(kind),
                 RETENTION_GUARD_COUNT);
}

/* Nothing but a prune deletes. Where much of what the last one left is not to be seen, somebody
 * else has deleted, or the listing lies; either way what is seen is no ground to delete more. */
static void guard_shrunk(const struct facts_left *left, const char *what, int64_t before,
                         int64_t now, struct buf *text)
{
    char at[INSTANT_TEXT_MAX];
    if (left->is_known && before - now > RETENTION_GUARD_COUNT && now * 2 < before)
        buf_addf(text,
                 "%s%lld %ss are there, and the prune of %s had left %lld: somebody else has "
                 "deleted, or the listing is not whole",
                 text->length ? "; " : "", (long long)now, what, instant_format(left->at_us, at),
                 (long long)before);
}

static void guard_listing(const struct facts *facts, struct buf *text)
{
    const struct facts_left *left = &facts->left;
    int64_t counts[] = {0, 0}, segments = 0;
    for (size_t i = 0; i < facts->backup_count; i++)
        if (facts->backups[i].state != BACKUP_GARBAGE)
            counts[facts->backups[i].kind == BACKUP_SNAPSHOT]++;
    for (size_t i = 0; i < facts->wal_count; i++)
        for (size_t t = 0; t < facts->wals[i].timeline_count; t++)
            for (size_t r = 0; r < facts->wals[i].timelines[t].range_count; r++) {
                const struct facts_wal_range *range = &facts->wals[i].timelines[t].ranges[r];
                segments += (int64_t)(range->last - range->first + 1);
            }
    guard_shrunk(left, "dump", left->dumps, counts[0], text);
    guard_shrunk(left, "snapshot", left->snapshots, counts[1], text);
    guard_shrunk(left, "segment", left->wal_segments, segments, text);
}

/* Backups ahead of the clock: one of two clocks is wrong, and it may be ours. */
static void guard_clock(const struct items *items, int64_t now_us, struct buf *text)
{
    const struct facts_backup *newest = NULL;
    for (size_t i = 0; i < items->count; i++) {
        const struct item *item = &items->items[i];
        if (item_has(item, WISH_FUTURE) &&
            (!newest || item->backup->started_us > newest->started_us))
            newest = item->backup;
    }
    char started[INSTANT_TEXT_MAX], now[INSTANT_TEXT_MAX];
    if (newest)
        buf_addf(text,
                 "%sbackup %s is dated %s, more than 1h ahead of this clock (%s): this clock or "
                 "that of the machine that made it is wrong",
                 text->length ? "; " : "", newest->id, instant_format(newest->started_us, started),
                 instant_format(now_us, now));
}

static int guard(const struct facts *facts, const struct items *items, int64_t now_us,
                 struct retention_plan *plan, struct error *err)
{
    if (plan->delete_count + plan->wal_delete_count == 0)
        return 0;
    struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
    guard_kind(items, BACKUP_DUMP, plan, &text);
    guard_kind(items, BACKUP_SNAPSHOT, plan, &text);
    wal_guard(facts, items, now_us, plan, &text);
    guard_clock(items, now_us, &text);
    guard_listing(facts, &text);
    return text.length || text.failed ? text_take(&text, &plan->needs_force, err) : 0;
}

/* -- the hash -----------------------------------------------------------------------------------
 */

static int hash(const char *cluster, struct retention_plan *plan, struct error *err)
{
    struct buf text = BUF_INIT(PLAN_TEXT_MAX);
    buf_addf(&text, "pgcairn plan 1\ncluster %s\n%s", cluster, plan->refused ? "refused\n" : "");
    for (size_t i = 0; i < plan->count; i++) {
        const struct retention_decision *decision = &plan->decisions[plan->by_id[i]];
        buf_addf(&text, "%s %s %s\n", retention_action_name(decision->action),
                 backup_kind_name(decision->kind), decision->id);
    }
    for (size_t i = 0; i < plan->wal_count; i++)
        if (plan->wal[i].action == RETENTION_DELETE)
            buf_addf(&text, "delete wal %s/%s\n", plan->wal[i].wal->system_identifier,
                     plan->wal[i].id);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    int rc = buf_failed(&text, "the text of a plan", err);
    if (!rc && !EVP_Digest(buf_text(&text), text.length, digest, &length, EVP_sha256(), NULL))
        rc = error_set(err, ERR_FAILED, "could not compute the SHA-256 of the plan");
    buf_clear(&text);
    if (rc)
        return rc;
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < length; i++) {
        plan->hash[2 * i] = digits[digest[i] >> 4];
        plan->hash[2 * i + 1] = digits[digest[i] & 15];
    }
    plan->hash[2 * length] = '\0';
    return 0;
}

/* -- looking at a plan --------------------------------------------------------------------------
 */

const struct retention_decision *retention_find(const struct retention_plan *plan, const char *id)
{
    size_t low = 0, high = plan->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct retention_decision *decision = &plan->decisions[plan->by_id[middle]];
        int order = strcmp(decision->id, id);
        if (order == 0)
            return decision;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

int retention_keep_locked(struct retention_plan *plan, size_t index, const char *reason,
                          struct error *err)
{
    struct retention_decision *decision = &plan->decisions[index];
    char *copy = strdup(reason);
    if (!copy)
        return error_no_memory(err);
    free(decision->reason);
    decision->reason = copy;
    decision->rule = wish_name(WISH_LOCK);
    decision->action = RETENTION_KEEP;
    plan->delete_count--;
    plan->bytes_freed -= decision->bytes;
    return 0;
}

const char *retention_action_name(enum retention_action action)
{
    return action == RETENTION_DELETE ? "delete" : "keep";
}

void retention_plan_clear(struct retention_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        free(plan->decisions[i].reason);
    for (size_t i = 0; i < plan->wal_count; i++)
        free(plan->wal[i].reason);
    free(plan->wal);
    free(plan->decisions);
    free(plan->by_id);
    free(plan->refused);
    free(plan->needs_force);
    strv_clear(&plan->warnings);
    *plan = (struct retention_plan){0};
}
