#include "retention/window.h"

#include <stdlib.h>
#include <string.h>

/* A timeline of a branch: its segments from first on. In that of `switched` the next one begins, so
 * those before it are needed; itself it is kept too. */
struct link {
    const struct facts_wal_timeline *stored; /* NULL: nothing */
    uint32_t timeline;
    uint64_t first, switched; /* UINT64_MAX of the last one */
};

struct branch {
    size_t wal; /* index in facts->wals */
    const struct facts_wal *facts;
    const struct facts_wal_timeline *tip;
    struct wal_history history; /* borrowed */
    bool knows_chain;
    struct link *links; /* oldest first */
    size_t link_count;
    struct item **anchors; /* snapshots that lead into it, by their start */
    size_t anchor_count;
    int64_t newest_us;  /* nothing in it is newer */
    int64_t reached_us; /* likewise of what the snapshots lead to; INSTANT_NONE: to nothing */
};

struct finding {
    const struct facts *facts;
    struct items *items;
    int64_t now_us;
    struct wal_window *window;
    struct branch *branches;
    size_t branch_count;
};

static int find_branches(struct finding *finding, struct error *err);
static int need_everything(struct finding *finding, struct error *err);
static int need_branch(struct finding *finding, const struct branch *branch, struct error *err);
static int need_held(struct finding *finding, struct error *err);
static int compare_needs(const void *a_pointer, const void *b_pointer);

static void finding_clear(struct finding *finding)
{
    for (size_t i = 0; i < finding->branch_count; i++) {
        free(finding->branches[i].links);
        free(finding->branches[i].anchors);
    }
    free(finding->branches);
}

void wal_window_clear(struct wal_window *window)
{
    free(window->needs);
    *window = (struct wal_window){0};
}

const char *wal_rule_name(enum wal_rule rule)
{
    static const char *const names[] = {
#define X(rule, name) name,
        WAL_RULE_LIST(X)
#undef X
    };
    return names[rule];
}

static void find_job(const struct policy *policy, struct wal_window *window)
{
    for (size_t i = 0; i < policy->job_count; i++) {
        const struct policy_job *job = &policy->jobs[i];
        if (job->type != JOB_WAL || (window->job && job->keep.within_us <= window->within_us))
            continue;
        window->job = job;
        window->within_us = job->keep.within_us;
    }
}

/* The window ends with the newest WAL that a snapshot leads to: what recovers nothing lets nothing
 * grow old. Neither does a clock of the store that is ahead. */
static void find_begin(const struct finding *finding, struct wal_window *window)
{
    int64_t newest_us = INSTANT_NONE;
    for (size_t i = 0; i < finding->branch_count; i++)
        if (finding->branches[i].reached_us > newest_us)
            newest_us = finding->branches[i].reached_us;
    if (newest_us > finding->now_us)
        newest_us = finding->now_us;
    window->begin_us = newest_us == INSTANT_NONE ? INSTANT_NONE : newest_us - window->within_us;
}

int wal_window_find(const struct facts *facts, const struct policy *policy, struct items *items,
                    int64_t now_us, struct wal_window *ret_window, struct error *err)
{
    _cleanup_(wal_window_clear) struct wal_window window = {.begin_us = INSTANT_NONE};
    _cleanup_(finding_clear) struct finding finding = {
        .facts = facts, .items = items, .now_us = now_us, .window = &window};
    find_job(policy, &window);
    int rc = 0;
    if (window.within_us <= 0) {
        rc = need_everything(&finding, err);
    } else {
        rc = find_branches(&finding, err);
        find_begin(&finding, &window);
        for (size_t i = 0; i < finding.branch_count && !rc; i++)
            rc = need_branch(&finding, &finding.branches[i], err);
        if (!rc)
            rc = need_held(&finding, err);
    }
    if (rc)
        return rc;
    if (window.need_count)
        qsort(window.needs, window.need_count, sizeof(*window.needs), compare_needs);
    *ret_window = window;
    window = (struct wal_window){0};
    return 0;
}

/* -- needs --------------------------------------------------------------------------------- */

static int compare_needs(const void *a_pointer, const void *b_pointer)
{
    const struct wal_need *a = a_pointer, *b = b_pointer;
    if (a->wal != b->wal)
        return a->wal < b->wal ? -1 : 1;
    if (a->timeline != b->timeline)
        return a->timeline < b->timeline ? -1 : 1;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    if (a->rule != b->rule)
        return a->rule < b->rule ? -1 : 1;
    return a->last < b->last ? -1 : a->last > b->last;
}

static int add_need(struct wal_window *window, struct wal_need need, struct error *err)
{
    if (window->need_count == window->need_allocated) {
        size_t wanted = window->need_allocated ? 2 * window->need_allocated : 16;
        void *grown = reallocarray(window->needs, wanted, sizeof(*window->needs));
        if (!grown)
            return error_no_memory(err);
        window->needs = grown;
        window->need_allocated = wanted;
    }
    window->needs[window->need_count++] = need;
    return 0;
}

/* All of the timelines of one system up to that one. */
static int need_timelines(struct finding *finding, size_t wal, uint32_t until, enum wal_rule rule,
                          struct error *err)
{
    const struct facts_wal *facts = &finding->facts->wals[wal];
    int rc = 0;
    for (size_t i = 0; i < facts->timeline_count && !rc; i++)
        if (facts->timelines[i].timeline <= until)
            rc = add_need(finding->window,
                          (struct wal_need){.wal = wal,
                                            .timeline = facts->timelines[i].timeline,
                                            .last = UINT64_MAX,
                                            .rule = rule,
                                            .branch = until},
                          err);
    return rc;
}

static int need_everything(struct finding *finding, struct error *err)
{
    enum wal_rule rule = finding->window->job ? WAL_NO_KEEP : WAL_NO_JOB;
    int rc = 0;
    for (size_t i = 0; i < finding->facts->wal_count && !rc; i++)
        rc = need_timelines(finding, i, UINT32_MAX, rule, err);
    return rc;
}

/* What of a branch lies behind that segment. */
static int need_from(struct finding *finding, const struct branch *branch, uint64_t number,
                     enum wal_rule rule, const struct item *item, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < branch->link_count && !rc; i++) {
        const struct link *link = &branch->links[i];
        uint64_t first = link->first > number ? link->first : number;
        if (first <= link->switched)
            rc = add_need(finding->window,
                          (struct wal_need){.wal = branch->wal,
                                            .timeline = link->timeline,
                                            .first = first,
                                            .last = link->switched,
                                            .rule = rule,
                                            .item = item},
                          err);
    }
    return rc;
}

/* -- branches ------------------------------------------------------------------------------ */

bool wal_is_of(const struct facts_wal *wal, const struct item *item)
{
    const struct facts_position *position = &item->backup->position;
    return item->backup->kind == BACKUP_SNAPSHOT && position->timeline > 0 &&
           strcmp(position->system_identifier, wal->system_identifier) == 0;
}

/* Whether the snapshot is consistent at a point of the branch, so that replay goes on along it. */
static bool leads_into(const struct branch *branch, const struct item *item)
{
    const struct facts_position *position = &item->backup->position;
    uint64_t begin, end;
    return item->counts && wal_is_of(branch->facts, item) &&
           wal_history_span(&branch->history, position->stop_timeline, &begin, &end) &&
           position->stop_lsn <= end;
}

static uint64_t start_of(const struct branch *branch, const struct item *item)
{
    return wal_segment_at(item->backup->position.start_lsn, branch->facts->segment_size);
}

static int compare_anchors(const void *a_pointer, const void *b_pointer)
{
    const struct facts_backup *a = (*(struct item *const *)a_pointer)->backup;
    const struct facts_backup *b = (*(struct item *const *)b_pointer)->backup;
    if (a->position.start_lsn != b->position.start_lsn)
        return a->position.start_lsn < b->position.start_lsn ? -1 : 1;
    return strcmp(a->id, b->id);
}

static int find_anchors(const struct finding *finding, struct branch *branch, struct error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < finding->items->count; i++)
        count += leads_into(branch, &finding->items->items[i]);
    branch->anchors = calloc(count + 1, sizeof(*branch->anchors));
    if (!branch->anchors)
        return error_no_memory(err);
    for (size_t i = 0; i < finding->items->count; i++)
        if (leads_into(branch, &finding->items->items[i]))
            branch->anchors[branch->anchor_count++] = &finding->items->items[i];
    qsort(branch->anchors, branch->anchor_count, sizeof(*branch->anchors), compare_anchors);
    return 0;
}

static int build_links(struct branch *branch, struct error *err)
{
    const struct wal_history *history = &branch->history;
    branch->links = calloc(history->count + 1, sizeof(*branch->links));
    if (!branch->links)
        return error_no_memory(err);
    uint64_t first = 0;
    for (size_t i = 0; i <= history->count; i++) {
        bool is_last = i == history->count;
        uint32_t timeline = is_last ? history->timeline : history->ancestors[i].timeline;
        uint64_t switched =
            is_last ? UINT64_MAX
                    : wal_segment_at(history->ancestors[i].end_lsn, branch->facts->segment_size);
        branch->links[branch->link_count++] =
            (struct link){facts_wal_timeline(branch->facts, timeline), timeline, first, switched};
        first = switched;
    }
    return 0;
}

/* The first segment from that one on that the branch lacks. */
static uint64_t first_missing(const struct branch *branch, uint64_t number)
{
    for (size_t i = 0; i < branch->link_count; i++) {
        const struct link *link = &branch->links[i];
        const struct facts_wal_range *range = NULL;
        while (number < link->switched && link->stored &&
               (range = facts_wal_find(link->stored, number)) != NULL)
            number = range->last < link->switched ? range->last + 1 : link->switched;
        if (number < link->switched)
            break;
    }
    return number;
}

/* When the last WAL was stored that lies behind a snapshot without a hole. The last snapshot that
 * is followed by any WAL leads furthest. */
static int64_t find_reached(const struct branch *branch)
{
    for (size_t i = branch->anchor_count; i-- > 0;) {
        uint64_t start = start_of(branch, branch->anchors[i]);
        uint64_t missing = first_missing(branch, start);
        for (size_t k = branch->link_count; missing > start && k-- > 0;) {
            const struct link *link = &branch->links[k];
            const struct facts_wal_range *range = link->stored && link->first < missing
                                                      ? facts_wal_find(link->stored, missing - 1)
                                                      : NULL;
            if (range)
                return range->last_stored_us;
        }
    }
    return INSTANT_NONE;
}

static int fill_branch(const struct finding *finding, struct branch *branch, struct error *err)
{
    const struct facts_wal_timeline *tip = branch->tip;
    branch->knows_chain = tip->has_history || tip->timeline == 1;
    if (tip->has_history)
        branch->history = tip->history;
    branch->history.timeline = tip->timeline;
    branch->newest_us = tip->ranges[tip->range_count - 1].last_stored_us;
    int rc = build_links(branch, err);
    if (!rc)
        rc = find_anchors(finding, branch, err);
    branch->reached_us = rc ? INSTANT_NONE : find_reached(branch);
    return rc;
}

static int find_branches(struct finding *finding, struct error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < finding->facts->wal_count; i++)
        count += finding->facts->wals[i].timeline_count;
    finding->branches = calloc(count + 1, sizeof(*finding->branches));
    if (!finding->branches)
        return error_no_memory(err);
    int rc = 0;
    for (size_t i = 0; i < finding->facts->wal_count; i++) {
        const struct facts_wal *wal = &finding->facts->wals[i];
        for (size_t t = 0; t < wal->timeline_count && !rc; t++) {
            if (wal->timelines[t].range_count == 0)
                continue;
            struct branch *branch = &finding->branches[finding->branch_count++];
            *branch = (struct branch){.wal = i, .facts = wal, .tip = &wal->timelines[t]};
            rc = fill_branch(finding, branch, err);
        }
    }
    return rc;
}

/* -- anchors ------------------------------------------------------------------------------- */

static void wish_anchor(struct item *item, enum anchor_role role)
{
    if (!item_has(item, WISH_ANCHOR) || role < item->anchor_role)
        item->anchor_role = role;
    item_wish(item, WISH_ANCHOR);
}

static bool is_before(const struct item *item, int64_t begin_us)
{
    return item->backup->position.stopped_us <= begin_us;
}

/* The newest proven one that ended before the window begins, else the oldest good one. */
static size_t choose_anchor(const struct branch *branch, int64_t begin_us)
{
    size_t chosen = 0;
    for (size_t i = 0; i < branch->anchor_count; i++)
        if (branch->anchors[i]->proven && is_before(branch->anchors[i], begin_us))
            chosen = i;
    return chosen;
}

/* Behind each hole in the WAL recovery begins anew, with the first snapshot that is followed by any
 * WAL. */
static void wish_behind_gaps(const struct branch *branch, size_t anchor)
{
    uint64_t missing = first_missing(branch, start_of(branch, branch->anchors[anchor]));
    for (size_t i = anchor + 1; i < branch->anchor_count; i++) {
        uint64_t start = start_of(branch, branch->anchors[i]);
        if (start <= missing)
            continue;
        uint64_t later = first_missing(branch, start);
        if (later == start)
            continue;
        wish_anchor(branch->anchors[i], ANCHOR_BEHIND_GAP);
        missing = later;
    }
}

/* The one that will be the anchor when it has become old enough. Were it deleted before, as rules
 * that keep snapshots for less than the window would, the anchor could never go, nor its WAL. */
static void wish_next(const struct branch *branch, size_t anchor, int64_t begin_us)
{
    for (size_t i = anchor + 1; i < branch->anchor_count; i++)
        if (branch->anchors[i]->proven && !is_before(branch->anchors[i], begin_us)) {
            wish_anchor(branch->anchors[i], ANCHOR_NEXT);
            return;
        }
}

/* Nobody can tell what the branch descends from until its history is stored again. */
static int need_all_before(struct finding *finding, const struct branch *branch, struct error *err)
{
    uint32_t timeline = branch->history.timeline;
    for (size_t i = 0; i < finding->items->count; i++) {
        struct item *item = &finding->items->items[i];
        if (item->counts && wal_is_of(branch->facts, item) &&
            item->backup->position.stop_timeline <= timeline)
            wish_anchor(item, ANCHOR_PERHAPS);
    }
    return need_timelines(finding, branch->wal, timeline, WAL_NO_HISTORY, err);
}

static int need_branch(struct finding *finding, const struct branch *branch, struct error *err)
{
    int64_t begin_us = finding->window->begin_us;
    if (branch->anchor_count == 0) {
        int rc = need_from(finding, branch, 0, WAL_NO_ANCHOR, NULL, err);
        return rc || branch->knows_chain ? rc : need_all_before(finding, branch, err);
    }
    if (branch->newest_us < begin_us)
        return 0; /* no moment of the window is on it */
    size_t anchor = choose_anchor(branch, begin_us);
    bool is_old_enough =
        branch->anchors[anchor]->proven && is_before(branch->anchors[anchor], begin_us);
    wish_anchor(branch->anchors[anchor], is_old_enough ? ANCHOR_OF_WINDOW : ANCHOR_OLDEST);
    wish_behind_gaps(branch, anchor);
    if (is_old_enough)
        wish_next(branch, anchor, begin_us);
    int rc = need_from(finding, branch, start_of(branch, branch->anchors[anchor]), WAL_WINDOW,
                       branch->anchors[anchor], err);
    return rc || branch->knows_chain || is_old_enough ? rc : need_all_before(finding, branch, err);
}

/* -- holds --------------------------------------------------------------------------------- */

/* Who holds a snapshot wants what belongs to it: the WAL from its start to its end. */
static int need_held_of(struct finding *finding, size_t wal, const struct item *item,
                        struct error *err)
{
    const struct facts_wal *facts = &finding->facts->wals[wal];
    const struct facts_position *position = &item->backup->position;
    int rc = 0;
    for (size_t i = 0; i < facts->timeline_count && !rc; i++) {
        uint32_t timeline = facts->timelines[i].timeline;
        if (timeline < position->timeline || timeline > position->stop_timeline)
            continue;
        rc = add_need(
            finding->window,
            (struct wal_need){.wal = wal,
                              .timeline = timeline,
                              .first = wal_segment_at(position->start_lsn, facts->segment_size),
                              .last = wal_segment_before(position->stop_lsn, facts->segment_size),
                              .rule = WAL_HOLD,
                              .item = item},
            err);
    }
    return rc;
}

static int need_held(struct finding *finding, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < finding->items->count && !rc; i++)
        for (size_t wal = 0; wal < finding->facts->wal_count && !rc; wal++)
            if (item_has(&finding->items->items[i], WISH_HOLD) &&
                wal_is_of(&finding->facts->wals[wal], &finding->items->items[i]))
                rc = need_held_of(finding, wal, &finding->items->items[i], err);
    return rc;
}
