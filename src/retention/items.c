#include "retention/items.h"

#include <string.h>

#include "retention/cadence.h"

/* -- kinds --------------------------------------------------------------------------------------
 */

struct kind {
    enum job_type job_type;
    bool by_database; /* groups are (kind, database), else the kind alone */
};

static const struct kind kinds[] = {
    [BACKUP_DUMP] = {JOB_DUMP, true},
    [BACKUP_SNAPSHOT] = {JOB_SNAPSHOT, false},
};

enum job_type kind_job_type(enum backup_kind kind)
{
    return kinds[kind].job_type;
}

bool job_makes_backups(const struct policy_job *job, enum backup_kind *ret_kind)
{
    for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++)
        if (job->type == kinds[kind].job_type && job_type_available(job->type)) {
            *ret_kind = (enum backup_kind)kind;
            return true;
        }
    return false;
}

/* The n-th group of a backup, NULL behind the last one; facts list databases in order. A dump of no
 * database at all is in a group of its own kind, so that rules apply to it too. */
static const char *group_name(const struct facts_backup *backup, size_t n)
{
    if (kinds[backup->kind].by_database && backup->databases && backup->databases[0])
        return backup->databases[n];
    return n == 0 ? "" : NULL;
}

const char *wish_name(enum wish wish)
{
    static const char *const names[] = {
#define X(wish, name) name,
        WISH_LIST(X)
#undef X
    };
    return names[wish];
}

int required_level(const struct policy *policy, const struct policy_job *job)
{
    int level = job ? job->require_verified : 0;
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].type == JOB_PRUNE && policy->jobs[i].require_verified > level)
            level = policy->jobs[i].require_verified;
    return level;
}

/* -- orders -------------------------------------------------------------------------------------
 */

int compare_newest_first(const struct facts_backup *a, const struct facts_backup *b)
{
    if (a->started_us != b->started_us)
        return a->started_us > b->started_us ? -1 : 1;
    if (a->completed_us != b->completed_us)
        return a->completed_us > b->completed_us ? -1 : 1;
    return strcmp(b->id, a->id);
}

static int compare_items(const void *a_pointer, const void *b_pointer)
{
    const struct facts_backup *a = ((const struct item *)a_pointer)->backup;
    const struct facts_backup *b = ((const struct item *)b_pointer)->backup;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return compare_newest_first(a, b);
}

/* Jobs that are not in the policy share one stream per group: no rules apply there. */
static uintptr_t stream_of(const struct membership *member)
{
    return (uintptr_t)member->item->job;
}

bool membership_same_group(const struct membership *a, const struct membership *b)
{
    return a->item->backup->kind == b->item->backup->kind && strcmp(a->database, b->database) == 0;
}

bool membership_same_stream(const struct membership *a, const struct membership *b)
{
    return membership_same_group(a, b) && stream_of(a) == stream_of(b);
}

static int compare_memberships(const void *a_pointer, const void *b_pointer)
{
    const struct membership *a = a_pointer, *b = b_pointer;
    if (a->item->backup->kind != b->item->backup->kind)
        return a->item->backup->kind < b->item->backup->kind ? -1 : 1;
    int order = strcmp(a->database, b->database);
    if (order)
        return order;
    if (stream_of(a) != stream_of(b))
        return stream_of(a) < stream_of(b) ? -1 : 1;
    return compare_newest_first(a->item->backup, b->item->backup);
}

static int compare_ids(const void *a_pointer, const void *b_pointer, void *context)
{
    const struct item *items = context;
    const struct facts_backup *a = items[*(const size_t *)a_pointer].backup;
    const struct facts_backup *b = items[*(const size_t *)b_pointer].backup;
    int order = strcmp(a->id, b->id);
    return order ? order : (int)a->kind - (int)b->kind;
}

/* -- gathering ----------------------------------------------------------------------------------
 */

/* Whether a good backup says when it was made; one that does not is as good as unreadable. */
static bool is_dated(const struct facts_backup *backup)
{
    return backup->started_us != INSTANT_NONE && backup->completed_us != INSTANT_NONE;
}

static bool is_ahead(const struct facts_backup *backup, int64_t now_us)
{
    return backup->started_us > now_us + RETENTION_SKEW_US ||
           backup->completed_us > now_us + RETENTION_SKEW_US;
}

/* What the state of a backup alone says about keeping it. */
static void judge_state(struct item *item, int64_t now_us)
{
    const struct facts_backup *backup = item->backup;
    switch (backup->state) {
    case BACKUP_GOOD:
        if (!is_dated(backup))
            item_wish(item, WISH_UNKNOWN);
        else if (is_ahead(backup, now_us))
            item_wish(item, WISH_FUTURE);
        else
            item->counts = true;
        return;
    case BACKUP_RUNNING:
        item_wish(item, WISH_RUNNING);
        return;
    case BACKUP_FRESH_REMAINS:
        item_wish(item, WISH_REMAINS);
        return;
    case BACKUP_DAMAGED: /* see keep_damaged() */
    case BACKUP_GARBAGE:
        return;
    case BACKUP_UNKNOWN:
        break;
    }
    item_wish(item, WISH_UNKNOWN);
}

static void place_in_calendar(struct item *item, const struct zone *zone)
{
    int64_t seconds = item->backup->started_us / US_PER_SECOND;
    zone_to_civil(zone, seconds, &item->civil);
    item->offset_s = civil_to_seconds(&item->civil) - seconds;
}

static void fill_item(struct item *item, const struct facts_backup *backup,
                      const struct policy *policy, const struct retention_zones *zones,
                      int64_t now_us)
{
    *item = (struct item){
        .backup = backup, .detail = {.wish = WISH_COUNT}, .within_until_us = INSTANT_NONE};
    judge_state(item, now_us);
    if (!item->counts)
        return;
    const struct policy_job *job = policy_find_job(policy, backup->job);
    item->job = job && job->type == kind_job_type(backup->kind) ? job : NULL;
    item->proven = backup->failed_us == INSTANT_NONE &&
                   backup->verified_level >= required_level(policy, item->job);
    if (item->job)
        place_in_calendar(item, job_zone(policy, zones, item->job));
}

static int add_memberships(struct items *items, struct error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < items->count; i++)
        for (size_t n = 0; group_name(items->items[i].backup, n); n++)
            total++;
    items->memberships = calloc(total + 1, sizeof(*items->memberships));
    if (!items->memberships)
        return error_no_memory(err);
    for (size_t i = 0; i < items->count; i++) {
        struct item *item = &items->items[i];
        const char *name;
        const char *previous = NULL;
        for (size_t n = 0; item->counts && (name = group_name(item->backup, n)); n++) {
            if (previous && strcmp(previous, name) == 0)
                continue; /* named twice, it would take two places of a count */
            previous = name;
            items->memberships[items->membership_count++] = (struct membership){item, name};
            item->group_count++;
        }
    }
    qsort(items->memberships, items->membership_count, sizeof(*items->memberships),
          compare_memberships);
    return 0;
}

/* Whether hold a stays in force longer than b. */
static bool lasts_longer(const struct facts_hold *a, const struct facts_hold *b)
{
    if (a->expires_us == INSTANT_NONE || b->expires_us == INSTANT_NONE)
        return a->expires_us == INSTANT_NONE && b->expires_us != INSTANT_NONE;
    return a->expires_us > b->expires_us;
}

static void attach_hold(struct item *item, const struct facts_hold *hold, int64_t now_us)
{
    bool in_force = hold->expires_us == INSTANT_NONE || hold->expires_us > now_us;
    const struct facts_hold **place = in_force ? &item->hold : &item->expired_hold;
    if (!*place || lasts_longer(hold, *place))
        *place = hold;
    if (in_force)
        item_wish(item, WISH_HOLD);
}

/* The first place in by_id whose id is not below the given one. */
static size_t find_id(const struct items *items, const char *id)
{
    size_t low = 0, high = items->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(items->items[items->by_id[middle]].backup->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void attach_holds(struct items *items, const struct facts *facts, int64_t now_us)
{
    for (size_t i = 0; i < facts->hold_count; i++) {
        const struct facts_hold *hold = &facts->holds[i];
        for (size_t place = find_id(items, hold->backup_id); place < items->count; place++) {
            struct item *item = &items->items[items->by_id[place]];
            if (strcmp(item->backup->id, hold->backup_id) != 0)
                break;
            attach_hold(item, hold, now_us);
        }
    }
}

static int sort_ids(struct items *items, struct error *err)
{
    items->by_id = calloc(items->count + 1, sizeof(*items->by_id));
    if (!items->by_id)
        return error_no_memory(err);
    for (size_t i = 0; i < items->count; i++)
        items->by_id[i] = i;
    qsort_r(items->by_id, items->count, sizeof(*items->by_id), compare_ids, items->items);
    return 0;
}

/* A damaged backup counts for nothing, but until a good one comes it may be all there is of what
 * changed since the last. Items are in order of kinds, newest first. */
static void keep_damaged(struct items *items)
{
    bool superseded = false;
    for (size_t i = 0; i < items->count; i++) {
        struct item *item = &items->items[i];
        if (i == 0 || item->backup->kind != item[-1].backup->kind)
            superseded = false;
        superseded = superseded || item->counts;
        if (item->backup->state == BACKUP_DAMAGED && !superseded)
            item_wish(item, WISH_DAMAGED);
    }
}

int items_gather(const struct facts *facts, const struct policy *policy,
                 const struct retention_zones *zones, int64_t now_us, struct items *ret_items,
                 struct error *err)
{
    _cleanup_(items_clear) struct items items = {.count = facts->backup_count};
    items.items = calloc(items.count + 1, sizeof(*items.items));
    if (!items.items)
        return error_no_memory(err);
    for (size_t i = 0; i < items.count; i++)
        fill_item(&items.items[i], &facts->backups[i], policy, zones, now_us);
    qsort(items.items, items.count, sizeof(*items.items), compare_items);
    int rc = sort_ids(&items, err);
    if (!rc)
        rc = add_memberships(&items, err);
    if (rc)
        return rc;
    attach_holds(&items, facts, now_us);
    keep_damaged(&items);
    for (size_t i = 0; i < items.count; i++)
        if (items.items[i].backup->locked_until_us > now_us)
            item_wish(&items.items[i], WISH_LOCK);
    *ret_items = items;
    items = (struct items){0};
    return 0;
}

void items_clear(struct items *items)
{
    free(items->items);
    free(items->memberships);
    free(items->by_id);
    *items = (struct items){0};
}
