#include "command/list_wal.h"

#include <stdlib.h>

#include "base/units.h"
#include "retention/continuity.h"
#include "work/wal_json.h"

enum { LINES_MAX = 1 << 24 };

int wal_listing_init(struct wal_listing *listing, bool is_json, struct error *err)
{
    *listing = (struct wal_listing){.lines = BUF_INIT(LINES_MAX)};
    if (is_json) {
        listing->timelines = json_array();
        listing->windows = json_array();
        return listing->timelines && listing->windows ? 0 : error_no_memory(err);
    }
    return table_new("CLUSTER|SYSTEM|TIMELINE|FIRST|LAST|>SEGMENTS|>STORED|KEPT BECAUSE",
                     &listing->table, err);
}

void wal_listing_clear(struct wal_listing *listing)
{
    table_free(listing->table);
    buf_clear(&listing->lines);
    json_decref(listing->timelines);
    json_decref(listing->windows);
    *listing = (struct wal_listing){0};
}

static int add_row(struct wal_listing *listing, const struct facts *facts,
                   const struct retention_wal *wal, struct error *err)
{
    char first[WAL_NAME_MAX], last[WAL_NAME_MAX], stored[UNITS_TEXT_MAX], keep[512];
    char timeline[24], segments[24];
    struct wal_name from = wal_segment_name(wal->timeline, wal->first, wal->wal->segment_size);
    struct wal_name to = wal_segment_name(wal->timeline, wal->last, wal->wal->segment_size);
    snprintf(timeline, sizeof(timeline), "%u", wal->timeline);
    snprintf(segments, sizeof(segments), "%lld", (long long)wal->segments);
    snprintf(keep, sizeof(keep), "%s%s",
             wal->action == RETENTION_DELETE ? "goes at the next prune: " : "", wal->reason);
    listing->rows++;
    return table_row(listing->table, err, facts->cluster, wal->wal->system_identifier, timeline,
                     wal_name_format(&from, first), wal_name_format(&to, last), segments,
                     size_format(wal->bytes, stored), keep);
}

static void add_lines(struct wal_listing *listing, const struct facts *facts,
                      const struct continuity *continuity)
{
    for (size_t i = 0; i < continuity->gap_count; i++) {
        const struct continuity_gap *gap = &continuity->gaps[i];
        char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
        if (gap->state != GAP_EXPIRED)
            buf_addf(&listing->lines, "%s: gap %s to %s, %llu segment%s, %s\n", facts->cluster,
                     wal_name_format(&gap->first, first), wal_name_format(&gap->last, last),
                     (unsigned long long)gap->segments, gap->segments == 1 ? "" : "s",
                     gap_state_name(gap->state));
    }
    for (size_t i = 0; i < continuity->window_count; i++) {
        const struct continuity_window *window = &continuity->windows[i];
        char from[INSTANT_TEXT_MAX], to[INSTANT_TEXT_MAX];
        buf_addf(&listing->lines, "%s: recovery window %s to %s%s\n", facts->cluster,
                 instant_format(window->from_us, from), instant_format(window->to_us, to),
                 window->is_open ? " and growing" : "");
    }
}

static int add_system(struct wal_listing *listing, const struct facts *facts,
                      const struct facts_wal *wal, int64_t now_us, struct error *err)
{
    struct continuity_question question = {.now_us = now_us};
    struct continuity continuity;
    _cleanup_(freep) struct wal_anchor *anchors = NULL;
    int rc = continuity_find_anchors(facts, wal->system_identifier, &anchors,
                                     &question.anchor_count, err);
    question.anchors = anchors;
    if (!rc)
        rc = continuity_judge(wal, &question, &continuity, err);
    if (rc)
        return rc;
    if (listing->timelines) {
        wal_add_timelines(wal, &continuity, listing->timelines);
        wal_add_windows(&continuity, listing->windows);
    } else {
        add_lines(listing, facts, &continuity);
    }
    continuity_clear(&continuity);
    return 0;
}

int wal_listing_add(struct wal_listing *listing, const struct facts *facts,
                    const struct retention_plan *plan, int64_t now_us, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; listing->table && i < plan->wal_count && !rc; i++)
        rc = add_row(listing, facts, &plan->wal[i], err);
    for (size_t i = 0; i < facts->wal_count && !rc; i++)
        rc = add_system(listing, facts, &facts->wals[i], now_us, err);
    return rc;
}

int wal_listing_print(const struct wal_listing *listing, struct error *err)
{
    if (listing->rows == 0)
        return 0;
    int rc = table_print(listing->table, stdout, err);
    if (!rc)
        rc = buf_failed(&listing->lines, "the list of WAL", err);
    if (!rc && listing->lines.length)
        printf("\n%s", buf_text(&listing->lines));
    return rc;
}
