#include "retention/wal_plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "retention/reasons.h"

/* The needs of one timeline, in order of their first segments, on the way along its ranges. */
struct walk {
    const struct wal_window *window;
    const struct facts_wal *wal;
    const struct facts_wal_timeline *timeline;
    const struct wal_need *needs;
    size_t need_count;
    uint64_t *bounds; /* where something begins or is over, ascending */
    size_t bound_count;
    size_t range; /* those before it lie before the walk */
    struct retention_plan *plan;
};

static int decide_timeline(struct walk *walk, struct error *err);

int wal_decide(const struct facts *facts, const struct wal_window *window,
               struct retention_plan *plan, struct error *err)
{
    size_t need = 0;
    int rc = 0;
    for (size_t i = 0; i < facts->wal_count; i++)
        for (size_t t = 0; t < facts->wals[i].timeline_count && !rc; t++) {
            const struct facts_wal_timeline *timeline = &facts->wals[i].timelines[t];
            struct walk walk = {
                .window = window, .wal = &facts->wals[i], .timeline = timeline, .plan = plan};
            const struct wal_need *needs = window->needs;
            while (need < window->need_count &&
                   (needs[need].wal < i ||
                    (needs[need].wal == i && needs[need].timeline < timeline->timeline)))
                need++; /* of a timeline of which nothing is stored */
            walk.needs = needs ? needs + need : NULL;
            while (need < window->need_count && needs[need].wal == i &&
                   needs[need].timeline == timeline->timeline) {
                walk.need_count++;
                need++;
            }
            rc = decide_timeline(&walk, err);
            free(walk.bounds);
        }
    return rc;
}

/* -- pieces -------------------------------------------------------------------------------- */

static int compare_numbers(const void *a_pointer, const void *b_pointer)
{
    uint64_t a = *(const uint64_t *)a_pointer, b = *(const uint64_t *)b_pointer;
    return a < b ? -1 : a > b;
}

static int find_bounds(struct walk *walk, struct error *err)
{
    walk->bounds = calloc(2 * walk->need_count + 1, sizeof(*walk->bounds));
    if (!walk->bounds)
        return error_no_memory(err);
    walk->bound_count = 1; /* 0, where all begins */
    for (size_t i = 0; i < walk->need_count; i++) {
        walk->bounds[walk->bound_count++] = walk->needs[i].first;
        if (walk->needs[i].last != UINT64_MAX)
            walk->bounds[walk->bound_count++] = walk->needs[i].last + 1;
    }
    qsort(walk->bounds, walk->bound_count, sizeof(*walk->bounds), compare_numbers);
    return 0;
}

/* The strongest reason to keep that segment, NULL when there is none. */
static const struct wal_need *need_of(const struct walk *walk, uint64_t number)
{
    const struct wal_need *found = NULL;
    for (size_t i = 0; i < walk->need_count && walk->needs[i].first <= number; i++)
        if (walk->needs[i].last >= number && (!found || walk->needs[i].rule < found->rule))
            found = &walk->needs[i];
    return found;
}

/* What is stored of the segments from to to; of a range that goes on beyond, the mean is taken. */
static void measure(struct walk *walk, struct retention_wal *piece)
{
    const struct facts_wal_range *ranges = walk->timeline->ranges;
    size_t count = walk->timeline->range_count;
    while (walk->range < count && ranges[walk->range].last < piece->from)
        walk->range++;
    for (size_t i = walk->range; i < count && ranges[i].first <= piece->to; i++) {
        uint64_t first = ranges[i].first > piece->from ? ranges[i].first : piece->from;
        uint64_t last = ranges[i].last < piece->to ? ranges[i].last : piece->to;
        double part = (double)(last - first + 1) / (double)(ranges[i].last - ranges[i].first + 1);
        if (piece->segments == 0)
            piece->first = first;
        piece->last = last;
        piece->segments += (int64_t)(last - first + 1);
        piece->bytes += (int64_t)((double)ranges[i].bytes * part);
    }
}

/* -- words --------------------------------------------------------------------------------- */

static void add_window(struct buf *text, const struct walk *walk, const struct wal_need *need)
{
    char within[UNITS_TEXT_MAX];
    duration_format(walk->window->within_us, within);
    const char *id = need->item->backup->id;
    if (need->item->anchor_role == ANCHOR_OF_WINDOW)
        buf_addf(text, "recovery to any moment of the last %s begins with snapshot %s", within, id);
    else
        buf_addf(text, "recovery begins with snapshot %s, the oldest good one", id);
}

static void add_kept(struct buf *text, const struct walk *walk, const struct wal_need *need)
{
    switch (need->rule) {
    case WAL_NO_JOB:
        buf_add_text(text, "the policy has no job of type wal");
        return;
    case WAL_NO_KEEP:
        buf_addf(text, "job \"%s\" has no keep: {within: ...}", walk->window->job->name);
        return;
    case WAL_WINDOW:
        add_window(text, walk, need);
        return;
    case WAL_NO_HISTORY:
        buf_addf(text, "timeline %u may descend from it: its history is not stored", need->branch);
        return;
    case WAL_NO_ANCHOR:
        buf_add_text(text, "no good snapshot leads into it: it recovers nothing, and is kept");
        return;
    case WAL_HOLD:
        buf_addf(text, "hold %s by %s on snapshot %s: %s", need->item->hold->hold_id,
                 need->item->hold->holder, need->item->backup->id, need->item->hold->reason);
        return;
    case WAL_RULE_COUNT:
        return;
    }
}

/* What goes lies before a window, or on a timeline that no window needs. */
static void add_expired(struct buf *text, const struct walk *walk, uint64_t to)
{
    for (size_t i = 0; i < walk->need_count; i++)
        if (walk->needs[i].rule == WAL_WINDOW && walk->needs[i].first > to) {
            buf_add_text(text, "not needed: ");
            add_window(text, walk, &walk->needs[i]);
            return;
        }
    char within[UNITS_TEXT_MAX];
    buf_addf(text, "not needed: no moment of the last %s is on timeline %u",
             duration_format(walk->window->within_us, within), walk->timeline->timeline);
}

/* -- decisions ----------------------------------------------------------------------------- */

static void name_range(struct retention_wal *piece)
{
    char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
    struct wal_name from =
        wal_segment_name(piece->timeline, piece->first, piece->wal->segment_size);
    struct wal_name to = wal_segment_name(piece->timeline, piece->last, piece->wal->segment_size);
    snprintf(piece->id, sizeof(piece->id), "%s-%s", wal_name_format(&from, first),
             wal_name_format(&to, last));
}

static int grow(struct retention_plan *plan, struct error *err)
{
    if (plan->wal_count < plan->wal_allocated)
        return 0;
    size_t wanted = plan->wal_allocated ? 2 * plan->wal_allocated : 16;
    void *grown = reallocarray(plan->wal, wanted, sizeof(*plan->wal));
    if (!grown)
        return error_no_memory(err);
    plan->wal = grown;
    plan->wal_allocated = wanted;
    return 0;
}

static int add_decision(struct walk *walk, uint64_t from, uint64_t to, const struct wal_need *need,
                        struct error *err)
{
    struct retention_plan *plan = walk->plan;
    struct retention_wal piece = {.wal = walk->wal,
                                  .timeline = walk->timeline->timeline,
                                  .from = from,
                                  .to = to,
                                  .action = need ? RETENTION_KEEP : RETENTION_DELETE,
                                  .rule = need ? wal_rule_name(need->rule) : "expired"};
    measure(walk, &piece);
    if (piece.segments == 0)
        return 0;
    if (piece.to == UINT64_MAX) /* nothing that is stored later is meant */
        piece.to = piece.last;
    name_range(&piece);
    struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
    if (need)
        add_kept(&text, walk, need);
    else
        add_expired(&text, walk, to);
    int rc = text_take(&text, &piece.reason, err);
    if (rc)
        return rc;
    if ((rc = grow(plan, err))) {
        free(piece.reason);
        return rc;
    }
    plan->wal[plan->wal_count++] = piece;
    if (!need) {
        plan->wal_delete_count++;
        plan->bytes_freed += piece.bytes;
    }
    return 0;
}

/* Whether one decision speaks for both. */
static bool is_same(const struct wal_need *a, const struct wal_need *b)
{
    return a == b || (a && b && a->rule == b->rule && a->item == b->item && a->branch == b->branch);
}

static int decide_timeline(struct walk *walk, struct error *err)
{
    int rc = walk->timeline->range_count ? find_bounds(walk, err) : 0;
    for (size_t i = 0; !rc && i < walk->bound_count;) {
        const struct wal_need *need = need_of(walk, walk->bounds[i]);
        size_t end = i + 1;
        while (end < walk->bound_count && is_same(need, need_of(walk, walk->bounds[end])))
            end++;
        rc = add_decision(walk, walk->bounds[i],
                          end < walk->bound_count ? walk->bounds[end] - 1 : UINT64_MAX, need, err);
        i = end;
    }
    return rc;
}

/* -- the guard ----------------------------------------------------------------------------- */

static bool begins_in(const struct retention_wal *piece, const struct item *item)
{
    const struct facts_position *position = &item->backup->position;
    if (!item->counts || !wal_is_of(piece->wal, item) || position->timeline != piece->timeline)
        return false;
    uint64_t number = wal_segment_at(position->start_lsn, piece->wal->segment_size);
    return number > piece->first && number <= piece->last;
}

static void guard_count(const struct items *items, const struct retention_plan *plan,
                        struct buf *text)
{
    size_t all = 0, going = 0;
    for (size_t i = 0; i < plan->wal_count; i++) {
        size_t spans = 1;
        for (size_t n = 0; n < items->count; n++)
            spans += begins_in(&plan->wal[i], &items->items[n]);
        all += spans;
        going += plan->wal[i].action == RETENTION_DELETE ? spans : 0;
    }
    if (going > RETENTION_GUARD_COUNT && going * 2 > all)
        buf_addf(text,
                 "%sthe WAL of %zu of %zu spans between snapshots would go: more than half, and "
                 "more than %d",
                 text->length ? "; " : "", going, all, RETENTION_GUARD_COUNT);
}

void wal_guard(const struct facts *facts, const struct items *items, int64_t now_us,
               const struct retention_plan *plan, struct buf *text)
{
    if (plan->wal_delete_count == 0)
        return;
    guard_count(items, plan, text);
    int64_t newest_us = INSTANT_NONE;
    for (size_t i = 0; i < facts->wal_count; i++)
        for (size_t t = 0; t < facts->wals[i].timeline_count; t++) {
            const struct facts_wal_timeline *timeline = &facts->wals[i].timelines[t];
            if (timeline->range_count &&
                timeline->ranges[timeline->range_count - 1].last_stored_us > newest_us)
                newest_us = timeline->ranges[timeline->range_count - 1].last_stored_us;
        }
    char newest[INSTANT_TEXT_MAX], now[INSTANT_TEXT_MAX];
    if (newest_us > now_us + RETENTION_SKEW_US)
        buf_addf(
            text,
            "%sWAL was stored at %s by the store's clock, more than 1h ahead of this one (%s): "
            "one of them is wrong",
            text->length ? "; " : "", instant_format(newest_us, newest),
            instant_format(now_us, now));
}

/* -- warnings ------------------------------------------------------------------------------ */

static int warn(struct retention_plan *plan, struct buf *text, struct error *err)
{
    char *line = NULL;
    int rc = text_take(text, &line, err);
    if (rc)
        return rc;
    if (plan->warnings.count < RETENTION_WARNINGS_MAX && !strv_has(&plan->warnings, line))
        return strv_take(&plan->warnings, line, err);
    free(line);
    return 0;
}

static void describe_unruled(const struct wal_window *window, struct buf *text)
{
    if (window->job)
        buf_addf(text, "job \"%s\" has no keep: {within: ...}: WAL is never deleted",
                 window->job->name);
    else
        buf_add_text(text, "the policy has no job of type wal: WAL is never deleted; to let a rule "
                           "apply to it, add one with keep: {within: ...}");
}

static void describe_no_anchor(const struct retention_wal *piece, const struct policy *policy,
                               struct buf *text)
{
    buf_addf(text,
             "no good snapshot leads into the WAL of timeline %u of system %s: it recovers nothing "
             "and is never deleted",
             piece->timeline, piece->wal->system_identifier);
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].type == JOB_SNAPSHOT) {
            buf_addf(text, "; if that is the server's, take one: pgcairn run %s/%s",
                     policy->cluster, policy->jobs[i].name);
            return;
        }
    buf_add_text(text, "; the policy needs a job of type snapshot");
}

static bool has_rule(const struct retention_wal *piece, enum wal_rule rule)
{
    return strcmp(piece->rule, wal_rule_name(rule)) == 0;
}

int wal_warn(const struct wal_window *window, const struct policy *policy,
             struct retention_plan *plan, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < plan->wal_count && !rc; i++) {
        const struct retention_wal *piece = &plan->wal[i];
        struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
        if (has_rule(piece, WAL_NO_JOB) || has_rule(piece, WAL_NO_KEEP))
            describe_unruled(window, &text);
        else if (has_rule(piece, WAL_NO_ANCHOR))
            describe_no_anchor(piece, policy, &text);
        else
            continue;
        rc = warn(plan, &text, err);
    }
    for (size_t i = 0; i < window->need_count && !rc; i++) {
        const struct wal_need *need = &window->needs[i];
        struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
        if (need->rule != WAL_NO_HISTORY)
            continue;
        buf_addf(&text,
                 "the history of timeline %u is not stored, so all WAL that it may descend from is "
                 "kept; archive it, in the server's data directory: pgcairn wal push %s "
                 "pg_wal/%08X.history",
                 need->branch, policy->cluster, need->branch);
        rc = warn(plan, &text, err);
    }
    return rc;
}
