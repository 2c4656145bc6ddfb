#include "retention/continuity.h"

#include <stdlib.h>
#include <string.h>

/* A run of missing segments longer than this is judged by its first one. */
enum { LOCATE_MAX = 100000 };

/* What is needed of one timeline of the chain: segments first to last, none when last < first. */
struct link {
    uint32_t timeline;
    uint64_t first, end;                     /* end is the first one that is not needed of it */
    const struct facts_wal_timeline *stored; /* NULL: nothing */
};

struct judging {
    const struct facts_wal *facts;
    const struct continuity_question *question;
    struct continuity *continuity;
    struct wal_history history; /* borrowed */
    struct link *links;         /* oldest first */
    size_t link_count;
    struct wal_anchor *anchors; /* on the chain, by their start */
    size_t anchor_count;
    uint64_t start;                          /* the first segment that is needed */
    int64_t previous_us;                     /* when what lies before the next gap was stored */
    const struct continuity_gap *window_gap; /* that ends the last window; NULL: none does */
    size_t gap_allocated, window_allocated;
};

static void judging_clear(struct judging *judging)
{
    free(judging->links);
    free(judging->anchors);
}

const char *gap_state_name(enum gap_state state)
{
    static const char *const NAMES[] = {[GAP_DELAYED] = "delayed",
                                        [GAP_UPLOADING] = "uploading",
                                        [GAP_LOST] = "lost",
                                        [GAP_ACKNOWLEDGED] = "acknowledged",
                                        [GAP_EXPIRED] = "expired"};
    return NAMES[state];
}

void continuity_clear(struct continuity *continuity)
{
    free(continuity->gaps);
    free(continuity->windows);
    *continuity = (struct continuity){0};
}

/* -- the chain ----------------------------------------------------------------------------- */

static uint32_t newest_timeline(const struct facts_wal *facts)
{
    for (size_t i = facts->timeline_count; i > 0; i--)
        if (facts->timelines[i - 1].range_count)
            return facts->timelines[i - 1].timeline;
    return 0;
}

static uint64_t find_expected_end(const struct judging *judging)
{
    const struct continuity_question *question = judging->question;
    uint64_t newest;
    if (question->timeline)
        return wal_segment_at(question->lsn, judging->facts->segment_size);
    const struct facts_wal_timeline *stored =
        facts_wal_timeline(judging->facts, judging->history.timeline);
    return stored && facts_wal_newest(stored, &newest) ? newest + 1 : 0;
}

static int build_chain(struct judging *judging, struct error *err)
{
    const struct facts_wal *facts = judging->facts;
    uint32_t timeline =
        judging->question->timeline ? judging->question->timeline : newest_timeline(facts);
    const struct facts_wal_timeline *stored = facts_wal_timeline(facts, timeline);
    bool has_history = stored && stored->has_history;
    judging->continuity->timeline = timeline;
    judging->continuity->knows_chain = timeline <= 1 || has_history;
    if (has_history)
        judging->history = stored->history;
    judging->history.timeline = timeline;
    judging->links = calloc(judging->history.count + 1, sizeof(*judging->links));
    if (!judging->links)
        return error_no_memory(err);
    uint64_t first = 0;
    for (size_t i = 0; i <= judging->history.count; i++) {
        bool is_last = i == judging->history.count;
        const struct wal_ancestor *ancestor = is_last ? NULL : &judging->history.ancestors[i];
        uint32_t of = is_last ? timeline : ancestor->timeline;
        uint64_t end = is_last ? find_expected_end(judging)
                               : wal_segment_at(ancestor->end_lsn, facts->segment_size);
        judging->links[judging->link_count++] =
            (struct link){of, first, end, facts_wal_timeline(facts, of)};
        first = end > first ? end : first;
    }
    return 0;
}

static int compare_anchors(const void *a, const void *b)
{
    const struct wal_anchor *x = a, *y = b;
    return x->start_lsn < y->start_lsn ? -1 : x->start_lsn > y->start_lsn;
}

static int choose_anchors(struct judging *judging, struct error *err)
{
    const struct continuity_question *question = judging->question;
    if (question->anchor_count > CONTINUITY_ANCHORS_MAX)
        return error_set(err, ERR_LIMIT, "more than %d snapshots", CONTINUITY_ANCHORS_MAX);
    judging->anchors = calloc(question->anchor_count + 1, sizeof(*judging->anchors));
    if (!judging->anchors)
        return error_no_memory(err);
    for (size_t i = 0; i < question->anchor_count; i++)
        if (wal_history_timeline_at(&judging->history, question->anchors[i].start_lsn) ==
            question->anchors[i].timeline)
            judging->anchors[judging->anchor_count++] = question->anchors[i];
    qsort(judging->anchors, judging->anchor_count, sizeof(*judging->anchors), compare_anchors);
    return 0;
}

/* The oldest anchor's start, else the oldest WAL that is stored of the chain. */
static bool find_start(struct judging *judging)
{
    if (judging->anchor_count) {
        judging->start =
            wal_segment_at(judging->anchors[0].start_lsn, judging->facts->segment_size);
        return true;
    }
    for (size_t i = 0; i < judging->link_count; i++) {
        const struct link *link = &judging->links[i];
        for (size_t j = 0; link->stored && j < link->stored->range_count; j++) {
            const struct facts_wal_range *range = &link->stored->ranges[j];
            if (range->last < link->first || range->first >= link->end)
                continue;
            judging->start = range->first > link->first ? range->first : link->first;
            return true;
        }
    }
    return false;
}

/* -- times --------------------------------------------------------------------------------- */

/* The newest mark whose WAL all lies before the segment. */
static int64_t find_mark(const struct judging *judging, uint64_t number)
{
    uint64_t end_lsn = wal_segment_start(number, judging->facts->segment_size);
    int64_t found_us = INSTANT_NONE;
    for (size_t i = 0; i < judging->link_count; i++) {
        const struct facts_wal_timeline *stored = judging->links[i].stored;
        for (size_t j = 0; stored && j < stored->mark_count; j++) {
            const struct facts_wal_mark *mark = &stored->marks[j];
            if (mark->lsn <= end_lsn && mark->time_us > found_us &&
                wal_history_timeline_at(&judging->history, mark->lsn ? mark->lsn - 1 : 0) ==
                    stored->timeline)
                found_us = mark->time_us;
        }
    }
    return found_us;
}

/* When the first snapshot that begins behind the segment ended. */
static int64_t find_next_anchor(const struct judging *judging, uint64_t number)
{
    int64_t found_us = INSTANT_NONE;
    for (size_t i = 0; i < judging->anchor_count; i++) {
        const struct wal_anchor *anchor = &judging->anchors[i];
        if (wal_segment_at(anchor->start_lsn, judging->facts->segment_size) > number &&
            (found_us == INSTANT_NONE || anchor->end_us < found_us))
            found_us = anchor->end_us;
    }
    return found_us;
}

/* -- gaps ---------------------------------------------------------------------------------- */

static bool is_acknowledged(const struct facts_wal_timeline *stored, uint64_t number)
{
    for (size_t i = 0; stored && i < stored->acknowledged_count; i++)
        if (number >= stored->acknowledged[i].first && number <= stored->acknowledged[i].last)
            return true;
    return false;
}

static enum gap_state find_state(const struct judging *judging, const struct link *link,
                                 uint64_t number)
{
    const struct continuity_question *question = judging->question;
    struct wal_name name = wal_segment_name(link->timeline, number, judging->facts->segment_size);
    enum gap_state state = question->locate ? question->locate(&name, question->context) : GAP_LOST;
    return state == GAP_LOST && is_acknowledged(link->stored, number) ? GAP_ACKNOWLEDGED : state;
}

static int grow(void *array, size_t count, size_t *allocated, size_t size, struct error *err)
{
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

static int add_gap(struct judging *judging, const struct link *link, uint64_t first, uint64_t last,
                   enum gap_state state, struct error *err)
{
    struct continuity *continuity = judging->continuity;
    int64_t size = judging->facts->segment_size, mark_us = find_mark(judging, first);
    continuity->gap_total++;
    continuity->missing_segments += state == GAP_EXPIRED ? 0 : (int64_t)(last - first + 1);
    continuity->lost_gaps += state == GAP_LOST;
    continuity->pending_gaps += state == GAP_DELAYED || state == GAP_UPLOADING;
    if (continuity->gap_count == CONTINUITY_GAPS_MAX)
        return 0;
    int rc = grow(&continuity->gaps, continuity->gap_count, &judging->gap_allocated,
                  sizeof(*continuity->gaps), err);
    if (rc)
        return rc;
    continuity->gaps[continuity->gap_count++] =
        (struct continuity_gap){.first = wal_segment_name(link->timeline, first, size),
                                .last = wal_segment_name(link->timeline, last, size),
                                .segments = last - first + 1,
                                .state = state,
                                .from_us = mark_us != INSTANT_NONE ? mark_us : judging->previous_us,
                                .until_us = find_next_anchor(judging, last)};
    return 0;
}

/* Segments first to last are not stored and were not pruned: gaps, one for each run of the same
 * state. */
static int add_unexpected(struct judging *judging, const struct link *link, uint64_t first,
                          uint64_t last, struct error *err)
{
    uint64_t begun = first;
    enum gap_state state = find_state(judging, link, first);
    int rc = 0;
    for (uint64_t number = first + 1; number <= last && last - first < LOCATE_MAX && !rc;
         number++) {
        enum gap_state next = find_state(judging, link, number);
        if (next == state)
            continue;
        rc = add_gap(judging, link, begun, number - 1, state, err);
        begun = number;
        state = next;
    }
    return rc ? rc : add_gap(judging, link, begun, last, state, err);
}

/* The pruned span that ends last of those which hold the segment, or that begins next behind it. */
static bool find_pruned(const struct facts_wal_timeline *stored, uint64_t number,
                        struct facts_wal_span *ret_span)
{
    bool found = false;
    for (size_t i = 0; stored && i < stored->pruned_count; i++) {
        const struct facts_wal_span *span = &stored->pruned[i];
        if (span->last < number)
            continue;
        if (span->first > number && found)
            break;
        if (!found || span->last > ret_span->last)
            *ret_span = *span;
        found = true;
        if (span->first > number)
            break;
    }
    return found;
}

/* Segments first to last are not stored: what was pruned is told apart from the rest. */
static int add_missing(struct judging *judging, const struct link *link, uint64_t first,
                       uint64_t last, struct error *err)
{
    struct facts_wal_span span;
    int rc = 0;
    while (!rc && first <= last && find_pruned(link->stored, first, &span) && span.first <= last) {
        if (span.first > first)
            rc = add_unexpected(judging, link, first, span.first - 1, err);
        uint64_t begin = span.first > first ? span.first : first;
        uint64_t end = span.last < last ? span.last : last;
        if (!rc)
            rc = add_gap(judging, link, begin, end, GAP_EXPIRED, err);
        first = end + 1;
    }
    return rc || first > last ? rc : add_unexpected(judging, link, first, last, err);
}

static int walk_link(struct judging *judging, const struct link *link, struct error *err)
{
    uint64_t next = link->first > judging->start ? link->first : judging->start;
    int rc = 0;
    for (size_t i = 0; link->stored && i < link->stored->range_count && !rc; i++) {
        const struct facts_wal_range *range = &link->stored->ranges[i];
        if (range->last < next)
            continue;
        if (range->first >= link->end)
            break;
        if (range->first > next)
            rc = add_missing(judging, link, next, range->first - 1, err);
        next = range->last + 1;
        judging->previous_us = range->last_stored_us;
        judging->continuity->has_wal = true;
    }
    if (!rc && next < link->end)
        rc = add_missing(judging, link, next, link->end - 1, err);
    return rc;
}

/* -- lag and windows ----------------------------------------------------------------------- */

static void measure_lag(struct judging *judging)
{
    struct continuity *continuity = judging->continuity;
    const struct link *last = &judging->links[judging->link_count - 1];
    uint64_t newest = 0, stored_end = last->first > judging->start ? last->first : judging->start;
    int64_t mark_us;
    if (last->stored && facts_wal_newest(last->stored, &newest) && newest + 1 > stored_end)
        stored_end = newest + 1;
    continuity->expected_last = last->end > 0 ? last->end - 1 : 0;
    continuity->lag_segments = last->end > stored_end ? (int64_t)(last->end - stored_end) : 0;
    mark_us = find_mark(judging, stored_end);
    continuity->newest_us = judging->previous_us;
    if (mark_us != INSTANT_NONE && (continuity->lag_segments > 0 || mark_us > judging->previous_us))
        continuity->newest_us = mark_us;
    if (continuity->lag_segments > 0 && continuity->newest_us != INSTANT_NONE &&
        judging->question->now_us > continuity->newest_us)
        continuity->lag_us = judging->question->now_us - continuity->newest_us;
}

/* The first gap that a recovery from this anchor comes to. */
static const struct continuity_gap *first_gap(const struct judging *judging,
                                              const struct wal_anchor *anchor)
{
    const struct continuity *continuity = judging->continuity;
    int64_t size = judging->facts->segment_size;
    uint64_t start = wal_segment_at(anchor->start_lsn, size);
    for (size_t i = 0; i < continuity->gap_count; i++)
        if (wal_segment_number(&continuity->gaps[i].last, size) >= start)
            return &continuity->gaps[i];
    return NULL;
}

/* Whether the WAL that a recovery from this anchor begins with is itself missing. */
static bool lies_in(const struct judging *judging, const struct continuity_gap *gap,
                    const struct wal_anchor *anchor)
{
    int64_t size = judging->facts->segment_size;
    return gap && wal_segment_at(anchor->start_lsn, size) >= wal_segment_number(&gap->first, size);
}

static int add_window(struct judging *judging, const struct wal_anchor *anchor, struct error *err)
{
    struct continuity *continuity = judging->continuity;
    const struct continuity_gap *gap = first_gap(judging, anchor);
    int64_t to_us = gap ? gap->from_us : continuity->newest_us;
    if (to_us < anchor->end_us) /* the snapshot holds the WAL that it needs itself */
        to_us = anchor->end_us;
    struct continuity_window *last =
        continuity->window_count ? &continuity->windows[continuity->window_count - 1] : NULL;
    bool is_behind_gap = last && (judging->window_gap != gap || lies_in(judging, gap, anchor));
    judging->window_gap = gap;
    /* When WAL was stored tells but roughly when it was written: before this snapshot ended. */
    if (is_behind_gap && last->to_us > anchor->end_us)
        last->to_us = anchor->end_us;
    if (last && !is_behind_gap) {
        last->to_us = to_us > last->to_us ? to_us : last->to_us;
        last->is_open = last->is_open || !gap;
        return 0;
    }
    int rc = grow(&continuity->windows, continuity->window_count, &judging->window_allocated,
                  sizeof(*continuity->windows), err);
    if (!rc)
        continuity->windows[continuity->window_count++] =
            (struct continuity_window){anchor->end_us, to_us, anchor->id, !gap};
    return rc;
}

int continuity_judge(const struct facts_wal *facts, const struct continuity_question *question,
                     struct continuity *ret_continuity, struct error *err)
{
    struct continuity continuity = {.newest_us = INSTANT_NONE};
    _cleanup_(judging_clear) struct judging judging = {.facts = facts,
                                                       .question = question,
                                                       .continuity = &continuity,
                                                       .previous_us = INSTANT_NONE};
    int rc = build_chain(&judging, err);
    if (!rc)
        rc = choose_anchors(&judging, err);
    if (!rc && find_start(&judging)) {
        for (size_t i = 0; i < judging.link_count && !rc; i++)
            rc = walk_link(&judging, &judging.links[i], err);
        if (!rc)
            measure_lag(&judging);
        for (size_t i = 0; i < judging.anchor_count && !rc; i++)
            rc = add_window(&judging, &judging.anchors[i], err);
    }
    if (rc)
        continuity_clear(&continuity);
    else
        *ret_continuity = continuity;
    return rc;
}

int continuity_find_anchors(const struct facts *facts, const char *system_identifier,
                            struct wal_anchor **ret_anchors, size_t *ret_count, struct error *err)
{
    struct wal_anchor *anchors = calloc(facts->backup_count + 1, sizeof(*anchors));
    size_t count = 0;
    if (!anchors)
        return error_no_memory(err);
    for (size_t i = 0; i < facts->backup_count; i++) {
        const struct facts_backup *backup = &facts->backups[i];
        const struct facts_position *position = &backup->position;
        if (backup->kind == BACKUP_SNAPSHOT && backup->state == BACKUP_GOOD &&
            backup->failed_us == INSTANT_NONE &&
            strcmp(position->system_identifier, system_identifier) == 0)
            anchors[count++] = (struct wal_anchor){.id = backup->id,
                                                   .timeline = position->timeline,
                                                   .start_lsn = position->start_lsn,
                                                   .end_lsn = position->stop_lsn,
                                                   .end_us = position->stopped_us};
    }
    *ret_anchors = anchors;
    *ret_count = count;
    return 0;
}
