/* What faults mean for recovery: the windows with and without what is of no use. */
#include <string.h>

#include "base/json.h"
#include "retention/continuity.h"
#include "work/verify.h"
#include "work/wal_look.h"

enum { NAMED_SPANS_MAX = 3 };

/* -- one snapshot ---------------------------------------------------------------------------- */

static const struct facts_wal *find_wal(const struct verifying *verifying, const char *system)
{
    for (size_t i = 0; i < verifying->facts.wal_count; i++)
        if (strcmp(verifying->facts.wals[i].system_identifier, system) == 0)
            return &verifying->facts.wals[i];
    return NULL;
}

static bool is_faulty(const struct verifying *verifying, const char *id)
{
    for (size_t i = 0; i < verifying->item_count; i++) {
        const struct verify_item *item = &verifying->items[i];
        if (item->backup && item->has_fault && strcmp(item->backup->id, id) == 0)
            return true;
    }
    return false;
}

/* The windows of a system; of its snapshots without that one, or (with all) without those in which
 * a fault was found. */
static int find_windows(const struct verifying *verifying, const struct facts_wal *wal,
                        const char *without, bool without_faulty, struct continuity *ret_continuity,
                        struct error *err)
{
    _cleanup_(freep) struct wal_anchor *anchors = NULL;
    size_t count = 0, kept = 0;
    int rc =
        continuity_find_anchors(&verifying->facts, wal->system_identifier, &anchors, &count, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++)
        if (!(without && strcmp(anchors[i].id, without) == 0) &&
            !(without_faulty && is_faulty(verifying, anchors[i].id)))
            anchors[kept++] = anchors[i];
    struct continuity_question question = {
        .now_us = verifying->now_us, .anchors = anchors, .anchor_count = kept};
    return continuity_judge(wal, &question, ret_continuity, err);
}

static void write_spans(const struct continuity_span *spans, size_t count,
                        char text[VERIFY_TEXT_MAX])
{
    char from[INSTANT_TEXT_MAX], to[INSTANT_TEXT_MAX];
    int used = 0;
    if (count == 0) {
        snprintf(text, VERIFY_TEXT_MAX, "every moment is still reached from other snapshots");
        return;
    }
    used = snprintf(text, VERIFY_TEXT_MAX, "recovery is lost to moments ");
    for (size_t i = 0; i < count && i < NAMED_SPANS_MAX; i++)
        used += snprintf(text + used, (size_t)(VERIFY_TEXT_MAX - used), "%sbetween %s and %s",
                         i ? ", " : "", instant_format(spans[i].from_us, from),
                         instant_format(spans[i].to_us, to));
    if (count > NAMED_SPANS_MAX)
        snprintf(text + used, (size_t)(VERIFY_TEXT_MAX - used), " and %zu more times",
                 count - NAMED_SPANS_MAX);
}

int verify_snapshot_loss(const struct verifying *verifying, const struct facts_backup *snapshot,
                         char text[VERIFY_TEXT_MAX], struct error *err)
{
    const struct facts_wal *wal = find_wal(verifying, snapshot->position.system_identifier);
    struct continuity before = {0}, after = {0};
    struct continuity_span *spans = NULL;
    size_t count = 0;
    char ended[INSTANT_TEXT_MAX];
    if (!wal || snapshot->state != BACKUP_GOOD) {
        snprintf(text, VERIFY_TEXT_MAX, "the cluster can't be restored as it was at %s",
                 instant_format(snapshot->position.stopped_us, ended));
        return 0;
    }
    int rc = find_windows(verifying, wal, NULL, false, &before, err);
    if (!rc)
        rc = find_windows(verifying, wal, snapshot->id, false, &after, err);
    if (!rc)
        rc = continuity_find_lost(&before, &after, &spans, &count, err);
    if (!rc)
        write_spans(spans, count, text);
    free(spans);
    continuity_clear(&before);
    continuity_clear(&after);
    return rc;
}

/* -- all together ---------------------------------------------------------------------------- */

/* Of a segment that is of no use, by the hole that it makes. */
static void explain_segment(const struct verify_broken_segment *broken,
                            const struct continuity *after)
{
    int64_t size = broken->wal->segment_size;
    uint64_t number = wal_segment_number(&broken->name, size);
    char text[VERIFY_TEXT_MAX] = "recovery along the newest timeline does not need it";
    for (size_t i = 0; i < after->gap_count; i++) {
        const struct continuity_gap *gap = &after->gaps[i];
        if (gap->first.timeline == broken->name.timeline &&
            number >= wal_segment_number(&gap->first, size) &&
            number <= wal_segment_number(&gap->last, size))
            wal_look_consequence(gap, text, sizeof(text));
    }
    if (broken->fault)
        json_object_set_new(broken->fault, "consequence", json_string(text));
}

static int tell_lost(struct verifying *verifying, const struct continuity *before,
                     const struct continuity *after, struct error *err)
{
    struct continuity_span *spans = NULL;
    size_t count = 0;
    int rc = continuity_find_lost(before, after, &spans, &count, err);
    for (size_t i = 0; i < count && !rc; i++)
        if (json_array_append_new(verifying->report->lost,
                                  json_pack("{s:o, s:o}", "from", json_instant(spans[i].from_us),
                                            "to", json_instant(spans[i].to_us))))
            rc = error_no_memory(err);
    free(spans);
    return rc;
}

static int drop_segment(const struct verify_broken_segment *broken, struct error *err)
{
    return facts_wal_drop_segment(broken->wal, &broken->name, broken->before_us, broken->stored_us,
                                  err);
}

static int lose_system(struct verifying *verifying, struct facts_wal *wal, struct error *err)
{
    struct continuity before = {0}, after = {0};
    int rc = find_windows(verifying, wal, NULL, false, &before, err);
    for (size_t i = 0; i < verifying->broken_count && !rc; i++)
        if (verifying->broken[i].wal == wal)
            rc = drop_segment(&verifying->broken[i], err);
    if (!rc)
        rc = find_windows(verifying, wal, NULL, true, &after, err);
    for (size_t i = 0; i < verifying->broken_count && !rc; i++)
        if (verifying->broken[i].wal == wal)
            explain_segment(&verifying->broken[i], &after);
    if (!rc)
        rc = tell_lost(verifying, &before, &after, err);
    continuity_clear(&before);
    continuity_clear(&after);
    return rc;
}

int verify_losses(struct verifying *verifying, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < verifying->facts.wal_count && !rc && verifying->report->fault_count; i++)
        rc = lose_system(verifying, &verifying->facts.wals[i], err);
    return rc;
}
