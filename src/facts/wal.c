#include "facts/wal.h"

#include <stdlib.h>
#include <string.h>

static void clear_timeline(struct facts_wal_timeline *timeline)
{
    free(timeline->ranges);
    free(timeline->marks);
    free(timeline->acknowledged);
    free(timeline->pruned);
    wal_history_clear(&timeline->history);
}

void facts_wal_clear(struct facts_wal *wal)
{
    for (size_t i = 0; i < wal->timeline_count; i++)
        clear_timeline(&wal->timelines[i]);
    free(wal->timelines);
    free(wal->stray);
    *wal = (struct facts_wal){0};
}

int facts_wal_begin(struct facts_wal *wal, const char *system_identifier, int64_t segment_size,
                    struct error *err)
{
    if (strlen(system_identifier) > FACTS_WAL_SYSTEM_MAX || !wal_segment_size_valid(segment_size))
        return error_set(err, ERR_USAGE,
                         "no WAL is of system \"%.30s\" with segments of %lld bytes",
                         system_identifier, (long long)segment_size);
    *wal = (struct facts_wal){.segment_size = segment_size};
    memcpy(wal->system_identifier, system_identifier, strlen(system_identifier) + 1);
    return 0;
}

/* Room for one more element of `size` bytes in a growing array. */
static int grow(void *array, size_t count, size_t *allocated, size_t size, size_t limit,
                const char *what, struct error *err)
{
    if (count >= limit)
        return error_set(err, ERR_LIMIT, "more than %zu %s", limit, what);
    if (count < *allocated)
        return 0;
    size_t wanted = *allocated ? *allocated * 2 : 8;
    void *grown = reallocarray(*(void **)array, wanted, size);
    if (!grown)
        return error_no_memory(err);
    *(void **)array = grown;
    *allocated = wanted;
    return 0;
}

int facts_wal_add_timeline(struct facts_wal *wal, uint32_t timeline,
                           struct facts_wal_timeline **ret_timeline, struct error *err)
{
    struct facts_wal_timeline *last =
        wal->timeline_count ? &wal->timelines[wal->timeline_count - 1] : NULL;
    if (last && last->timeline == timeline) {
        *ret_timeline = last;
        return 0;
    }
    if (last && last->timeline > timeline)
        return error_set(err, ERR_UNKNOWN, "timeline %u is listed behind timeline %u", timeline,
                         last->timeline);
    int rc = grow(&wal->timelines, wal->timeline_count, &wal->timeline_allocated,
                  sizeof(*wal->timelines), FACTS_WAL_TIMELINES_MAX, "timelines", err);
    if (rc)
        return rc;
    *ret_timeline = &wal->timelines[wal->timeline_count++];
    **ret_timeline = (struct facts_wal_timeline){.timeline = timeline};
    return 0;
}

void facts_wal_add_fault(struct facts_wal *wal, const struct wal_name *name)
{
    if (wal->fault_count < FACTS_WAL_FAULTS_MAX)
        wal->faults[wal->fault_count] = *name;
    wal->fault_count++;
}

int facts_wal_add_segment(struct facts_wal *wal, struct facts_wal_timeline *timeline,
                          const struct wal_name *name, int64_t stored_us, int64_t bytes,
                          struct error *err)
{
    uint64_t number = wal_segment_number(name, wal->segment_size);
    struct facts_wal_range *last =
        timeline->range_count ? &timeline->ranges[timeline->range_count - 1] : NULL;
    if (last && number < last->last)
        return error_set(err, ERR_UNKNOWN, "segments of timeline %u are listed out of order",
                         timeline->timeline);
    if (last && number == last->last) {
        facts_wal_add_fault(wal, name);
        return 0;
    }
    if (last && number == last->last + 1) {
        last->last = number;
        last->last_stored_us = stored_us;
        last->bytes += bytes;
        return 0;
    }
    int rc =
        grow(&timeline->ranges, timeline->range_count, &timeline->range_allocated,
             sizeof(*timeline->ranges), FACTS_WAL_RANGES_MAX, "gaps in the WAL of a timeline", err);
    if (!rc)
        timeline->ranges[timeline->range_count++] =
            (struct facts_wal_range){number, number, stored_us, stored_us, bytes};
    return rc;
}

/* The range loses an end or falls in two. */
static int split(struct facts_wal_timeline *timeline, struct facts_wal_range *range,
                 uint64_t number, int64_t before_us, int64_t stored_us, struct error *err)
{
    size_t index = (size_t)(range - timeline->ranges);
    struct facts_wal_range before = *range, behind = *range;
    before.last = number - 1;
    before.last_stored_us = before_us;
    behind.first = number + 1;
    behind.first_stored_us = stored_us;
    bool has_before = number > range->first, has_behind = number < range->last;
    int rc = has_before && has_behind
                 ? grow(&timeline->ranges, timeline->range_count, &timeline->range_allocated,
                        sizeof(*timeline->ranges), FACTS_WAL_RANGES_MAX,
                        "gaps in the WAL of a timeline", err)
                 : 0;
    if (rc)
        return rc;
    size_t parts = (size_t)has_before + has_behind;
    struct facts_wal_range *at = &timeline->ranges[index];
    memmove(at + parts, at + 1, (timeline->range_count - index - 1) * sizeof(*at));
    timeline->range_count = timeline->range_count - 1 + parts;
    if (has_before)
        *at++ = before;
    if (has_behind)
        *at = behind;
    return 0;
}

int facts_wal_drop_segment(struct facts_wal *wal, const struct wal_name *name, int64_t before_us,
                           int64_t stored_us, struct error *err)
{
    uint64_t number = wal_segment_number(name, wal->segment_size);
    for (size_t i = 0; i < wal->timeline_count; i++) {
        struct facts_wal_timeline *timeline = &wal->timelines[i];
        for (size_t r = 0; timeline->timeline == name->timeline && r < timeline->range_count; r++)
            if (number >= timeline->ranges[r].first && number <= timeline->ranges[r].last)
                return split(timeline, &timeline->ranges[r], number, before_us, stored_us, err);
    }
    return 0;
}

int facts_wal_add_mark(struct facts_wal_timeline *timeline, int64_t time_us, uint64_t lsn,
                       struct error *err)
{
    int rc = grow(&timeline->marks, timeline->mark_count, &timeline->mark_allocated,
                  sizeof(*timeline->marks), FACTS_WAL_MARKS_MAX, "marks of a timeline", err);
    if (!rc)
        timeline->marks[timeline->mark_count++] = (struct facts_wal_mark){time_us, lsn};
    return rc;
}

static int add_span(struct facts_wal_span **spans, size_t *count, size_t *allocated,
                    const struct facts_wal_span *span, const char *what, struct error *err)
{
    int rc = grow(spans, *count, allocated, sizeof(*span), FACTS_WAL_SPANS_MAX, what, err);
    if (!rc)
        (*spans)[(*count)++] = *span;
    return rc;
}

int facts_wal_acknowledge(struct facts_wal_timeline *timeline, uint64_t first, uint64_t last,
                          struct error *err)
{
    return add_span(&timeline->acknowledged, &timeline->acknowledged_count,
                    &timeline->acknowledged_allocated, &(struct facts_wal_span){first, last},
                    "acknowledged gaps of a timeline", err);
}

int facts_wal_add_pruned(struct facts_wal_timeline *timeline, uint64_t first, uint64_t last,
                         struct error *err)
{
    return add_span(&timeline->pruned, &timeline->pruned_count, &timeline->pruned_allocated,
                    &(struct facts_wal_span){first, last}, "pruned spans of a timeline", err);
}

const struct facts_wal_timeline *facts_wal_timeline(const struct facts_wal *wal, uint32_t timeline)
{
    for (size_t i = 0; i < wal->timeline_count; i++)
        if (wal->timelines[i].timeline == timeline)
            return &wal->timelines[i];
    return NULL;
}

static int compare_with_range(const void *key, const void *element)
{
    uint64_t number = *(const uint64_t *)key;
    const struct facts_wal_range *range = element;
    return number < range->first ? -1 : number > range->last ? 1 : 0;
}

const struct facts_wal_range *facts_wal_find(const struct facts_wal_timeline *timeline,
                                             uint64_t number)
{
    return timeline->range_count == 0 ? NULL
                                      : bsearch(&number, timeline->ranges, timeline->range_count,
                                                sizeof(*timeline->ranges), compare_with_range);
}

bool facts_wal_newest(const struct facts_wal_timeline *timeline, uint64_t *ret_number)
{
    if (timeline->range_count == 0)
        return false;
    *ret_number = timeline->ranges[timeline->range_count - 1].last;
    return true;
}
