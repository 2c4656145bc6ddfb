/* How long an object lock may last: what of a backup's life is certain when it is written. */
#include <string.h>

#include "retention/cadence.h"
#include "retention/rules.h"

enum { RULES_MAX = 8 };

/* The fires to come, as backups that will be made: times, and their bucket by each rule. */
struct future {
    int64_t (*keys)[RULES_MAX];
    int64_t *times_s;
    size_t count;
};

static void future_clear(struct future *future)
{
    free(future->keys);
    free(future->times_s);
}

static void place(struct future *future, const struct zone *zone, int64_t at_s)
{
    struct item item = {.backup = NULL};
    item_place(&item, zone, at_s);
    for (size_t rule = 0; rule < count_rule_count && rule < RULES_MAX; rule++)
        future->keys[future->count][rule] =
            count_rules[rule].key ? count_rules[rule].key(&item) : at_s;
    future->times_s[future->count++] = at_s;
}

static int look_ahead(const struct policy *policy, const struct retention_zones *zones,
                      const struct policy_job *job, int64_t now_us, struct future *ret_future,
                      struct error *err)
{
    const struct zone *zone = job_zone(policy, zones, job);
    int64_t at_s = now_us / US_PER_SECOND;
    ret_future->keys = calloc(CADENCE_FIRES_MAX, sizeof(*ret_future->keys));
    ret_future->times_s = calloc(CADENCE_FIRES_MAX, sizeof(*ret_future->times_s));
    if (!ret_future->keys || !ret_future->times_s)
        return error_no_memory(err);
    while (job->schedule && ret_future->count < CADENCE_FIRES_MAX &&
           (at_s = cron_next(job->schedule, zone, at_s)) != CRON_NEVER)
        place(ret_future, zone, at_s);
    return 0;
}

/* The backup whose coming ends the rule's wish for backup i: the one that takes its place as the
 * newest of its bucket, or the one that begins the bucket with which its own falls out. */
static size_t ends_at(const struct future *future, size_t rule, int count, size_t i)
{
    size_t next = i + 1;
    if (next < future->count && future->keys[next][rule] == future->keys[i][rule])
        return next;
    for (int buckets = 0; next < future->count; next++) {
        buckets += future->keys[next][rule] != future->keys[next - 1][rule];
        if (buckets == count)
            return next;
    }
    return future->count - 1; /* later than anybody looks */
}

/* Until a newer one is there each is the newest, which the floor holds. */
static int64_t life_of(const struct future *future, const struct keep_rules *keep, size_t i)
{
    size_t end = i + 1;
    for (size_t rule = 0; rule < count_rule_count && rule < RULES_MAX; rule++) {
        int count = count_rules[rule].count(keep);
        size_t rule_end = count > 0 ? ends_at(future, rule, count, i) : 0;
        if (rule_end > end)
            end = rule_end;
    }
    return future->times_s[end] - future->times_s[i];
}

int retention_lock_us(const struct policy *policy, const struct retention_zones *zones,
                      const struct policy_job *job, int64_t now_us, int64_t *ret_lock_us,
                      struct error *err)
{
    _cleanup_(future_clear) struct future future = {.count = 0};
    const struct keep_rules *keep = &job->keep;
    if (!keep->is_set || !rules_any(keep)) {
        *ret_lock_us = RETENTION_LOCK_UNRULED_US;
        return 0;
    }
    int rc = look_ahead(policy, zones, job, now_us, &future, err);
    if (rc)
        return rc;
    int64_t shortest_s = future.count > 1 ? INT64_MAX : 0;
    /* Those in the second half would seem to end where the look ahead does. */
    for (size_t i = 0; i < future.count / 2; i++) {
        int64_t life_s = life_of(&future, keep, i);
        if (life_s < shortest_s)
            shortest_s = life_s;
    }
    int64_t lock_us = shortest_s * US_PER_SECOND;
    if (lock_us < keep->within_us)
        lock_us = keep->within_us;
    if (lock_us < RETENTION_LOCK_MIN_US)
        lock_us = RETENTION_LOCK_MIN_US;
    *ret_lock_us = lock_us < RETENTION_LOCK_MAX_US ? lock_us : RETENTION_LOCK_MAX_US;
    return 0;
}
