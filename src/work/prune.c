#include "work/prune.h"

#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "repository/catalogue.h"
#include "repository/evidence.h"
#include "repository/remove.h"
#include "repository/wal.h"
#include "repository/wal_remove.h"
#include "work/zones.h"

static int delete_wal(const struct work *work, int64_t now_us, struct prune *prune,
                      struct error *ret_first, struct error *err);
static int delete_all(const struct work *work, int64_t now_us, struct prune *prune,
                      struct error *ret_first, struct error *err);
static int sweep(const struct work *work, int64_t now_us, struct prune *prune, struct error *err);
static int look_again(const struct work *work, int64_t now_us, const struct prune *prune,
                      struct error *err);
static int remember(const struct work *work, const struct prune *prune, struct error *err);
static int recall(const struct work *work, struct facts *facts, struct error *err);

int prune_apply(const struct work *work, const struct prune_options *options, struct prune *prune,
                struct error *err)
{
    int rc = prune_look(work, options->now_us, prune, err);
    if (!rc)
        rc = prune_check(prune, options, work->policy->cluster, err);
    if (rc)
        return rc;
    struct error first = ERROR_NONE; /* one that can't be deleted does not save the others */
    if ((rc = delete_wal(work, options->now_us, prune, &first, err)) ||
        (rc = delete_all(work, options->now_us, prune, &first, err)) ||
        (rc = sweep(work, options->now_us, prune, err)))
        return rc;
    if (prune->failed == 0 && !prune->wal_failed)
        return (rc = look_again(work, options->now_us, prune, err)) ? rc
                                                                    : remember(work, prune, err);
    if (prune->failed)
        error_prefix(&first, "%zu of %zu backups were not deleted", prune->failed,
                     prune->plan.delete_count);
    if (err)
        *err = first;
    return first.code;
}

int prune_look(const struct work *work, int64_t now_us, struct prune *prune, struct error *err)
{
    *prune = (struct prune){0};
    _cleanup_(zones_clear) struct zones zones = {0};
    int rc = zones_load(work->policy, &zones, err);
    if (!rc)
        rc = catalogue_read(work->repository, now_us, &prune->facts, err);
    if (!rc)
        rc = wal_facts_read_all(work->repository, &prune->facts, err);
    if (!rc)
        rc = recall(work, &prune->facts, err);
    if (!rc)
        rc = retention_plan_make(&prune->facts, work->policy, &zones.view, now_us, &prune->plan,
                                 err);
    return rc;
}

int prune_check(const struct prune *prune, const struct prune_options *options, const char *cluster,
                struct error *err)
{
    const struct retention_plan *plan = &prune->plan;
    if (plan->refused) {
        error_set(err, ERR_UNKNOWN, "nothing was deleted: %s", plan->refused);
        return error_hint(err, "what is not known is kept: make the repository readable, then try "
                               "again");
    }
    if (options->expected_hash && strcmp(options->expected_hash, plan->hash) != 0) {
        error_set(err, ERR_CONFLICT, "nothing was deleted: the plan is now %s", plan->hash);
        return error_hint(err, "look at it again: pgcairn prune %s", cluster);
    }
    if (plan->needs_force && !(options->force && options->expected_hash)) {
        error_set(err, ERR_FAILED, "nothing was deleted: %s", plan->needs_force);
        return error_hint(err, "if that is right: pgcairn prune %s --apply --plan %s --force",
                          cluster, plan->hash);
    }
    return 0;
}

/* -- deleting -----------------------------------------------------------------------------------
 */

/* Between two batches of WAL. */
static int proceed(const void *context, int64_t deleted, struct error *err)
{
    const struct work *work = context;
    work_progress(work, "deleting WAL", deleted, 0);
    if (work_interrupted(err))
        return err ? err->code : ERR_INTERRUPTED;
    return work_check_lock(work, err);
}

static bool ends_everything(int rc)
{
    return rc == ERR_INTERRUPTED || rc == ERR_CONFLICT || rc == ERR_MEMORY;
}

/* Before any backup goes: WAL whose snapshots are gone would be kept, for nothing could tell any
 * more that it is old. */
static int delete_wal(const struct work *work, int64_t now_us, struct prune *prune,
                      struct error *ret_first, struct error *err)
{
    const struct retention_plan *plan = &prune->plan;
    struct wal_removed removed = {0};
    if (plan->wal_delete_count == 0)
        return 0;
    int rc = work_check_lock(work, err);
    if (rc)
        return rc;
    _cleanup_(freep) struct wal_remove_range *ranges =
        calloc(plan->wal_delete_count, sizeof(*ranges));
    if (!ranges)
        return error_no_memory(err);
    struct wal_removing removing = {
        .ranges = ranges, .plan_hash = plan->hash, .proceed = proceed, .context = work};
    for (size_t i = 0; i < plan->wal_count; i++) {
        const struct retention_wal *wal = &plan->wal[i];
        if (wal->action == RETENTION_DELETE)
            ranges[removing.count++] = (struct wal_remove_range){
                wal->wal,  wal->timeline, wal->from,  wal->to,    wal->first,
                wal->last, wal->segments, wal->bytes, wal->reason};
    }
    struct error reason = ERROR_NONE;
    rc = wal_remove(work->repository, &removing, now_us, &removed, &reason);
    prune->wal_deleted = removed.objects;
    prune->wal_locked = removed.locked;
    prune->bytes_freed += removed.bytes;
    prune->wal_failed = rc != 0;
    if (rc && ends_everything(rc) && err)
        *err = reason;
    else if (rc)
        *ret_first = reason;
    return ends_everything(rc) ? rc : 0;
}

static int delete_one(const struct work *work, const struct retention_decision *decision,
                      int64_t now_us, struct prune *prune, struct error *err)
{
    int64_t bytes = 0;
    char reason[ERROR_MESSAGE_MAX];
    snprintf(reason, sizeof(reason), "%s: %s", decision->rule, decision->reason);
    int rc = backup_remove(work->repository, work->lock, decision->backup, reason, prune->plan.hash,
                           now_us, &bytes, err);
    if (rc == ERR_LOCKED)
        return rc;
    if (rc)
        return error_prefix(err, "could not delete %s %s", backup_kind_name(decision->kind),
                            decision->id);
    prune->deleted++;
    prune->bytes_freed += bytes;
    return 0;
}

/* Oldest first, so that an end halfway leaves the newest. One that fails is passed over, and only
 * the first such error is kept: the others mostly say the same. */
static int delete_all(const struct work *work, int64_t now_us, struct prune *prune,
                      struct error *ret_first, struct error *err)
{
    struct retention_plan *plan = &prune->plan;
    for (size_t i = plan->count; i-- > 0;) {
        const struct retention_decision *decision = &plan->decisions[i];
        if (decision->action != RETENTION_DELETE)
            continue;
        if (decision->kind == BACKUP_SNAPSHOT && (prune->wal_failed || prune->wal_locked)) {
            prune->failed += prune->wal_failed;
            continue;
        }
        if (work_interrupted(err))
            return err ? err->code : ERR_INTERRUPTED;
        int rc = work_check_lock(work, err);
        if (rc)
            return rc;
        struct error failure = ERROR_NONE;
        rc = delete_one(work, decision, now_us, prune, &failure);
        if (rc == ERR_LOCKED) {
            prune->locked++;
            rc = retention_keep_locked(plan, i, failure.message, err);
            if (rc)
                return rc;
        } else if (rc && prune->failed++ == 0 && ret_first->code == 0) {
            *ret_first = failure;
        }
        work_progress(work, "deleting backups", (int64_t)(prune->deleted + prune->failed),
                      (int64_t)plan->delete_count);
    }
    return 0;
}

/* What interrupted writes left in the store belongs to no backup. */
static int sweep(const struct work *work, int64_t now_us, struct prune *prune, struct error *err)
{
    int64_t bytes = 0;
    int rc = repository_remove_unfinished(work->repository, now_us - CATALOGUE_GARBAGE_AGE_US,
                                          &prune->unfinished, &bytes, err);
    prune->bytes_freed += bytes;
    return rc;
}

/* -- looking again ------------------------------------------------------------------------------
 */

static int compare_backups(const void *a, const void *b)
{
    const struct facts_backup *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

/* The backups of a catalogue by their ids; the caller frees the array. */
static int sort_backups(const struct facts *facts, const struct facts_backup ***ret_sorted,
                        struct error *err)
{
    const struct facts_backup **sorted = calloc(facts->backup_count + 1, sizeof(*sorted));
    if (!sorted)
        return error_no_memory(err);
    for (size_t i = 0; i < facts->backup_count; i++)
        sorted[i] = &facts->backups[i];
    qsort(sorted, facts->backup_count, sizeof(*sorted), compare_backups);
    *ret_sorted = sorted;
    return 0;
}

/* What was a backup is one still: without its manifest a folder is none. */
static bool is_as_before(const struct facts_backup *now, bool was_good)
{
    bool is_backup = now && (now->state == BACKUP_GOOD || now->state == BACKUP_DAMAGED ||
                             now->state == BACKUP_UNKNOWN);
    return was_good ? is_backup : now != NULL;
}

/* The stored segments of a decision that are there now. */
static int64_t count_stored(const struct facts *facts, const struct retention_wal *wal)
{
    const struct facts_wal_timeline *timeline = NULL;
    int64_t count = 0;
    for (size_t i = 0; i < facts->wal_count; i++)
        if (strcmp(facts->wals[i].system_identifier, wal->wal->system_identifier) == 0)
            timeline = facts_wal_timeline(&facts->wals[i], wal->timeline);
    for (size_t i = 0; timeline && i < timeline->range_count; i++) {
        uint64_t first = timeline->ranges[i].first, last = timeline->ranges[i].last;
        first = first > wal->first ? first : wal->first;
        last = last < wal->last ? last : wal->last;
        count += first <= last ? (int64_t)(last - first + 1) : 0;
    }
    return count;
}

/* Likewise of the WAL, where segments may have come meanwhile. */
static int look_again_at_wal(const struct work *work, const struct prune *prune,
                             struct facts *after, size_t *differences, struct buf *text,
                             struct error *err)
{
    if (prune->plan.wal_delete_count == 0 || prune->wal_locked)
        return 0;
    int rc = wal_facts_read_all(work->repository, after, err);
    if (rc)
        return error_prefix(err, "after deleting, WAL could not be listed");
    for (size_t i = 0; i < prune->plan.wal_count; i++) {
        const struct retention_wal *wal = &prune->plan.wal[i];
        int64_t stored = count_stored(after, wal);
        bool is_kept = wal->action == RETENTION_KEEP;
        if ((is_kept ? stored < wal->segments : stored > 0) &&
            ++*differences <= PRUNE_DIFFERENCES_MAX)
            buf_addf(text, "%sWAL %s %s", *differences > 1 ? ", " : "", wal->id,
                     is_kept ? "has become less" : "is still there");
    }
    return 0;
}

/* The repository must now hold what the plan keeps and nothing of what it deleted. */
static int look_again(const struct work *work, int64_t now_us, const struct prune *prune,
                      struct error *err)
{
    _cleanup_(facts_clear) struct facts after = {0};
    _cleanup_(freep) const struct facts_backup **sorted = NULL;
    int rc = catalogue_read(work->repository, now_us, &after, err);
    if (!rc)
        rc = sort_backups(&after, &sorted, err);
    if (rc)
        return error_prefix(err, "after deleting, the repository could not be listed");
    size_t differences = 0;
    struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
    for (size_t i = 0; i < prune->plan.count; i++) {
        const struct retention_decision *decision = &prune->plan.decisions[i];
        const struct facts_backup *key = decision->backup, *const *found = bsearch(
                                                               &key, sorted, after.backup_count,
                                                               sizeof(*sorted), compare_backups);
        bool was_good = key->state == BACKUP_GOOD && decision->action == RETENTION_KEEP;
        bool is_there = is_as_before(found ? *found : NULL, was_good);
        bool is_kept = decision->action == RETENTION_KEEP ||
                       (decision->kind == BACKUP_SNAPSHOT && prune->wal_locked);
        if (is_there != is_kept && ++differences <= PRUNE_DIFFERENCES_MAX)
            buf_addf(&text, "%s%s %s", differences > 1 ? ", " : "", decision->id,
                     is_kept ? "is gone" : "is still there");
    }
    rc = look_again_at_wal(work, prune, &after, &differences, &text, err);
    if (!rc && differences)
        rc = error_set(err, ERR_FAILED, "after deleting, the repository is not as planned: %s%s",
                       buf_text(&text), differences > PRUNE_DIFFERENCES_MAX ? ", ..." : "");
    buf_clear(&text);
    return rc;
}

/* -- what was left ---------------------------------------------------------------------------
 */

/* What a prune that deleted nothing does not see was left by the last one and has gone otherwise,
 * or the listing lies: then the next one must be told still. */
static json_int_t left_of(const struct prune *prune, json_int_t counted, int64_t before)
{
    bool is_idle = prune->plan.delete_count + prune->plan.wal_delete_count == 0;
    return is_idle && prune->facts.left.is_known && before > counted ? (json_int_t)before : counted;
}

/* The second look has shown that it is so. What is no backup yet, or never will be, does not count.
 */
static int remember(const struct work *work, const struct prune *prune, struct error *err)
{
    const struct retention_plan *plan = &prune->plan;
    const struct facts_left *left = &prune->facts.left;
    json_int_t counts[] = {0, 0}, segments = 0;
    for (size_t i = 0; i < plan->count; i++)
        if (plan->decisions[i].action == RETENTION_KEEP &&
            plan->decisions[i].backup->state != BACKUP_GARBAGE)
            counts[plan->decisions[i].kind == BACKUP_SNAPSHOT]++;
    for (size_t i = 0; i < plan->wal_count; i++)
        if (plan->wal[i].action == RETENTION_KEEP)
            segments += (json_int_t)plan->wal[i].segments;
    return evidence_add(work->repository, "pruned",
                        json_pack("{s:s, s:I, s:I, s:I, s:{s:I, s:I, s:I}}", "plan_hash",
                                  plan->hash, "deleted", (json_int_t)prune->deleted, "wal_deleted",
                                  (json_int_t)prune->wal_deleted, "bytes_freed",
                                  (json_int_t)prune->bytes_freed, "left", "dumps",
                                  left_of(prune, counts[0], left->dumps), "snapshots",
                                  left_of(prune, counts[1], left->snapshots), "wal_segments",
                                  left_of(prune, segments, left->wal_segments)),
                        NULL, err);
}

static int recall(const struct work *work, struct facts *facts, struct error *err)
{
    _cleanup_(json_release) json_t *record = NULL;
    int64_t number;
    int rc = evidence_find_newest(work->repository, "pruned", &number, &record, err);
    const json_t *left = json_object_get(json_object_get(record, "body"), "left");
    if (rc || !left)
        return rc;
    facts->left = (struct facts_left){.is_known = true,
                                      .dumps = json_number(left, "dumps"),
                                      .snapshots = json_number(left, "snapshots"),
                                      .wal_segments = json_number(left, "wal_segments")};
    return json_take_instant(record, "at", &facts->left.at_us, err);
}

void prune_clear(struct prune *prune)
{
    retention_plan_clear(&prune->plan);
    facts_clear(&prune->facts);
    *prune = (struct prune){0};
}

/* -- the job ------------------------------------------------------------------------------------
 */

int prune_run(const struct work *work, struct work_result *result, struct error *err)
{
    _cleanup_(prune_clear) struct prune prune = {0};
    const struct prune_options options = {.now_us = work->started_us};
    int rc = prune_apply(work, &options, &prune, err);
    for (size_t i = 0; i < prune.plan.warnings.count; i++)
        work_notice(work, "%s", prune.plan.warnings.items[i]);
    if (prune.locked)
        work_notice(work, "%zu backups stay, which an object lock protects still", prune.locked);
    if (prune.wal_locked)
        work_notice(work, "WAL stays, which an object lock protects still, and with it snapshots");
    json_t *details = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "plan_hash", prune.plan.hash, "kept",
        (json_int_t)(prune.plan.count - prune.plan.delete_count), "deleted",
        (json_int_t)prune.deleted, "locked", (json_int_t)prune.locked, "failed",
        (json_int_t)prune.failed, "unfinished", (json_int_t)prune.unfinished, "bytes_freed",
        (json_int_t)prune.bytes_freed, "wal_deleted", (json_int_t)prune.wal_deleted);
    if (details) {
        json_decref(result->details);
        result->details = details;
    }
    return rc || details ? rc : error_no_memory(err);
}
