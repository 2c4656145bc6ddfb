#include "work/wal_json.h"

#include "base/json.h"

static json_t *gap_json(const struct continuity_gap *gap)
{
    char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
    return json_pack("{s:s, s:s, s:s, s:I, s:o, s:o}", "from", wal_name_format(&gap->first, first),
                     "to", wal_name_format(&gap->last, last), "state", gap_state_name(gap->state),
                     "segments", (json_int_t)gap->segments, "unreachable_from",
                     json_instant(gap->from_us), "unreachable_until", json_instant(gap->until_us));
}

static json_t *timeline_json(const struct facts_wal *wal, const struct continuity *continuity,
                             const struct facts_wal_timeline *timeline)
{
    char first[WAL_NAME_MAX] = "", last[WAL_NAME_MAX] = "";
    int64_t segments = 0;
    json_t *gaps = json_array();
    for (size_t i = 0; i < timeline->range_count; i++)
        segments += (int64_t)(timeline->ranges[i].last - timeline->ranges[i].first + 1);
    if (timeline->range_count) {
        const struct facts_wal_range *end = &timeline->ranges[timeline->range_count - 1];
        struct wal_name name =
            wal_segment_name(timeline->timeline, timeline->ranges[0].first, wal->segment_size);
        wal_name_format(&name, first);
        name = wal_segment_name(timeline->timeline, end->last, wal->segment_size);
        wal_name_format(&name, last);
    }
    for (size_t i = 0; i < continuity->gap_count; i++)
        if (continuity->gaps[i].first.timeline == timeline->timeline)
            json_array_append_new(gaps, gap_json(&continuity->gaps[i]));
    return json_pack("{s:s, s:I, s:s?, s:s?, s:I, s:I, s:o}", "system_identifier",
                     wal->system_identifier, "timeline", (json_int_t)timeline->timeline, "first",
                     first[0] ? first : NULL, "last", last[0] ? last : NULL, "segments",
                     (json_int_t)segments, "bytes", (json_int_t)timeline->bytes, "gaps", gaps);
}

void wal_add_timelines(const struct facts_wal *wal, const struct continuity *continuity,
                       json_t *list)
{
    for (size_t i = 0; i < wal->timeline_count; i++)
        json_array_append_new(list, timeline_json(wal, continuity, &wal->timelines[i]));
}

void wal_add_windows(const struct continuity *continuity, json_t *list)
{
    for (size_t i = 0; i < continuity->window_count; i++) {
        const struct continuity_window *window = &continuity->windows[i];
        json_array_append_new(list, json_pack("{s:o, s:o, s:s, s:b}", "from",
                                              json_instant(window->from_us), "to",
                                              json_instant(window->to_us), "anchor",
                                              window->anchor_id, "open", window->is_open));
    }
}
