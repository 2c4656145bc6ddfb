/* WAL: whether it is whole as far as names tell, and whether each segment is what its name says. */
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "repository/wal_keys.h"
#include "retention/continuity.h"
#include "wal/pages.h"
#include "work/verify.h"
#include "work/wal_look.h"

/* A hole this close to WAL that came just now may be one that is being filled: several segments are
 * on their way at once. */
#define FRESH_US US_PER_MINUTE
#define SECOND_LOOK_US (2 * US_PER_SECOND)

/* -- continuity ------------------------------------------------------------------------------ */

static int segment_fault(struct verifying *verifying, const struct facts_wal *wal,
                         const struct wal_name *name, const char *consequence, struct error *err,
                         const char *format, ...) _printf_(6, 7);

static int segment_fault(struct verifying *verifying, const struct facts_wal *wal,
                         const struct wal_name *name, const char *consequence, struct error *err,
                         const char *format, ...)
{
    char key[STORE_KEY_MAX + 1], text[WAL_NAME_MAX], what[VERIFY_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    const struct verify_finding finding = {
        .id = wal_name_format(name, text), .object = key, .byte = -1, .consequence = consequence};
    int rc = wal_object_key(verifying->request->repository, wal->system_identifier, name, NULL, key,
                            err);
    return rc ? rc : verify_fault(verifying, &finding, NULL, err, "%s", what);
}

static int tell_gap(struct verifying *verifying, const struct facts_wal *wal,
                    const struct continuity_gap *gap, struct error *err)
{
    char first[WAL_NAME_MAX], last[WAL_NAME_MAX], consequence[VERIFY_TEXT_MAX];
    wal_look_consequence(gap, consequence, sizeof(consequence));
    if (gap->from_us != INSTANT_NONE)
        json_array_append_new(verifying->report->lost,
                              json_pack("{s:o, s:o}", "from", json_instant(gap->from_us), "to",
                                        json_instant(gap->until_us)));
    wal_name_format(&gap->first, first);
    wal_name_format(&gap->last, last);
    if (gap->segments == 1)
        return segment_fault(verifying, wal, &gap->first, consequence, err,
                             "it is not there: WAL has a hole of one segment");
    return segment_fault(verifying, wal, &gap->first, consequence, err,
                         "it is not there: WAL has a hole of %llu segments, %s to %s",
                         (unsigned long long)gap->segments, first, last);
}

/* Behind the last stored segment may be WAL that a mark tells of: it was stored once. */
static int tell_lost_end(struct verifying *verifying, const struct facts_wal *wal,
                         const struct facts_wal_timeline *timeline, struct error *err)
{
    const struct facts_wal_mark *newest = NULL;
    uint64_t last = 0;
    bool has_any = facts_wal_newest(timeline, &last);
    char consequence[VERIFY_TEXT_MAX], lsn[WAL_LSN_TEXT_MAX], time[INSTANT_TEXT_MAX];
    for (size_t i = 0; i < timeline->mark_count; i++)
        if (!newest || timeline->marks[i].lsn > newest->lsn)
            newest = &timeline->marks[i];
    uint64_t expected = newest ? wal_segment_before(newest->lsn, wal->segment_size) : 0;
    bool is_pruned = !newest;
    for (size_t i = 0; i < timeline->pruned_count; i++)
        is_pruned |= expected >= timeline->pruned[i].first && expected <= timeline->pruned[i].last;
    for (size_t i = 0; i < timeline->acknowledged_count; i++)
        is_pruned |= expected >= timeline->acknowledged[i].first &&
                     expected <= timeline->acknowledged[i].last;
    if (is_pruned || (has_any && last >= expected))
        return 0;
    struct wal_name name =
        wal_segment_name(timeline->timeline, has_any ? last + 1 : expected, wal->segment_size);
    instant_format(newest->time_us, time);
    snprintf(consequence, sizeof(consequence),
             "what was written shortly before %s can't be recovered", time);
    return segment_fault(verifying, wal, &name, consequence, err,
                         "it is not there: all WAL up to position %s was stored at %s",
                         wal_lsn_format(newest->lsn, lsn), time);
}

static int tell_stored(struct verifying *verifying, const struct facts_wal *wal, struct error *err)
{
    int rc = 0;
    for (int64_t i = 0; i < wal->fault_count && i < FACTS_WAL_FAULTS_MAX && !rc; i++)
        rc = segment_fault(verifying, wal, &wal->faults[i], "recovery stops there", err,
                           "two contents are stored under its name, or one that is none");
    for (size_t i = 0; i < wal->timeline_count && !rc; i++)
        rc = tell_lost_end(verifying, wal, &wal->timelines[i], err);
    return rc;
}

static int tell_missing_history(struct verifying *verifying, const struct facts_wal *wal,
                                uint32_t timeline, struct error *err)
{
    struct wal_name name = {.kind = WAL_HISTORY, .timeline = timeline};
    for (int64_t i = 0; i < wal->fault_count && i < FACTS_WAL_FAULTS_MAX; i++)
        if (wal_name_compare(&wal->faults[i], &name) == 0)
            return 0; /* it is there, and damaged; that was told */
    return segment_fault(verifying, wal, &name, "recovery can't follow the change of the timeline",
                         err, "the history of timeline %u is not there", timeline);
}

static bool is_fresh(const struct facts_wal *wal, const struct continuity_gap *gap, int64_t now_us)
{
    const struct facts_wal_timeline *timeline = facts_wal_timeline(wal, gap->first.timeline);
    uint64_t number = wal_segment_number(&gap->last, wal->segment_size) + 1;
    const struct facts_wal_range *behind = timeline ? facts_wal_find(timeline, number) : NULL;
    return behind && now_us - behind->first_stored_us < FRESH_US;
}

static bool has_fresh_gap(const struct facts_wal *wal, const struct continuity *continuity,
                          int64_t now_us)
{
    for (size_t i = 0; i < continuity->gap_count; i++)
        if (continuity->gaps[i].state == GAP_LOST && is_fresh(wal, &continuity->gaps[i], now_us))
            return true;
    return false;
}

static int judge(struct verifying *verifying, const struct facts_wal *wal,
                 struct continuity *ret_continuity, size_t *ret_anchors, struct error *err)
{
    _cleanup_(freep) struct wal_anchor *anchors = NULL;
    struct continuity_question question = {.now_us = verifying->now_us};
    int rc = continuity_find_anchors(&verifying->facts, wal->system_identifier, &anchors,
                                     &question.anchor_count, err);
    question.anchors = anchors;
    *ret_anchors = question.anchor_count;
    return rc ? rc : continuity_judge(wal, &question, ret_continuity, err);
}

/* Without a snapshot WAL recovers nothing, so nothing of it is missed. */
static int tell_gaps(struct verifying *verifying, const struct facts_wal *wal,
                     const struct continuity *continuity, size_t anchors, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < continuity->gap_count && !rc && anchors; i++)
        if (continuity->gaps[i].state == GAP_LOST)
            rc = tell_gap(verifying, wal, &continuity->gaps[i], err);
    if (!rc && !continuity->knows_chain)
        rc = tell_missing_history(verifying, wal, continuity->timeline, err);
    return rc;
}

static int look_again(struct verifying *verifying, struct facts_wal *wal, struct error *err)
{
    struct facts_wal again = {0};
    const struct timespec pause = {.tv_sec = SECOND_LOOK_US / US_PER_SECOND};
    nanosleep(&pause, NULL);
    int rc = wal_facts_read(verifying->request->repository, wal->system_identifier, &again, err);
    if (rc)
        return rc;
    facts_wal_clear(wal);
    *wal = again;
    return 0;
}

static int check_system(struct verifying *verifying, struct facts_wal *wal, struct error *err)
{
    struct continuity continuity = {0};
    size_t anchors = 0;
    int rc = judge(verifying, wal, &continuity, &anchors, err);
    if (!rc && anchors && has_fresh_gap(wal, &continuity, verifying->now_us)) {
        continuity_clear(&continuity);
        rc = look_again(verifying, wal, err);
        if (!rc)
            rc = judge(verifying, wal, &continuity, &anchors, err);
    }
    for (size_t i = 0; i < wal->timeline_count; i++)
        verifying->report->objects += wal->timelines[i].objects;
    if (!rc)
        rc = tell_gaps(verifying, wal, &continuity, anchors, err);
    if (!rc)
        rc = tell_stored(verifying, wal, err);
    continuity_clear(&continuity);
    return rc;
}

int verify_wal_continuity(struct verifying *verifying, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < verifying->facts.wal_count && !rc; i++)
        rc = check_system(verifying, &verifying->facts.wals[i], err);
    return rc;
}

/* -- segments -------------------------------------------------------------------------------- */

struct log {
    struct verifying *verifying;
    struct verify_item *item;
    struct wal_object *objects;
    size_t count, allocated;
};

static void log_clear(struct log *log)
{
    free(log->objects);
}

static int add_object(struct log *log, const struct wal_object *object, struct error *err)
{
    if (log->count == log->allocated) {
        size_t more = log->allocated ? 2 * log->allocated : 256;
        if (log->count >= VERIFY_LOG_MAX)
            return error_set(err, ERR_LIMIT, "more than %d objects in one log of WAL",
                             VERIFY_LOG_MAX);
        struct wal_object *objects = reallocarray(log->objects, more, sizeof(*objects));
        if (!objects)
            return error_no_memory(err);
        log->objects = objects;
        log->allocated = more;
    }
    log->objects[log->count++] = *object;
    return 0;
}

static int gather(const struct store_object *stored, void *context, struct error *err)
{
    struct log *log = context;
    struct wal_object object = {.size = stored->size, .stored_us = stored->modified_us};
    memcpy(object.key, stored->key, sizeof(object.key));
    if (!wal_parse_file(wal_last_component(stored->key), &object.name, object.hash))
        return 0;
    struct wal_name segment = {WAL_SEGMENT, object.name.timeline, object.name.log,
                               object.name.segment, 0};
    bool is_wanted = wal_name_compare(&segment, &log->item->first) >= 0 &&
                     wal_name_compare(&segment, &log->item->last) <= 0;
    return is_wanted ? add_object(log, &object, err) : 0;
}

struct reading {
    struct verifying *verifying;
    struct wal_pages pages;
    bool is_label; /* a .backup file: text */
};

static int take(void *context, const void *data, size_t length, struct error *err)
{
    struct reading *reading = context;
    if (reading->verifying->crew && crew_stopped(reading->verifying->crew))
        return error_set(err, ERR_INTERRUPTED, "stopped");
    return reading->is_label ? 0 : wal_pages_add(&reading->pages, data, length, err);
}

static int note_broken(const struct log *log, size_t at, json_t *fault, struct error *err)
{
    struct verifying *verifying = log->verifying;
    const struct wal_object *object = &log->objects[at];
    int rc = 0;
    pthread_mutex_lock(&verifying->mutex);
    if (verifying->broken_count == verifying->broken_allocated) {
        size_t more = verifying->broken_allocated ? 2 * verifying->broken_allocated : 16;
        struct verify_broken_segment *broken =
            reallocarray(verifying->broken, more, sizeof(*broken));
        if (!broken)
            rc = error_no_memory(err);
        else
            verifying->broken = broken, verifying->broken_allocated = more;
    }
    size_t index = (size_t)(log->item->wal - verifying->facts.wals);
    if (!rc)
        verifying->broken[verifying->broken_count++] = (struct verify_broken_segment){
            .wal = &verifying->facts.wals[index],
            .name = object->name,
            .before_us = at > 0 ? log->objects[at - 1].stored_us : object->stored_us,
            .stored_us = object->stored_us,
            .fault = fault};
    pthread_mutex_unlock(&verifying->mutex);
    return rc;
}

static int check_object(void *context, size_t index, struct error *err)
{
    struct log *log = context;
    struct verifying *verifying = log->verifying;
    const struct facts_wal *wal = log->item->wal;
    const struct wal_object *object = &log->objects[index];
    struct reading reading = {.verifying = verifying, .is_label = object->name.kind == WAL_BACKUP};
    struct error reason = ERROR_NONE;
    json_t *fault = NULL;
    int64_t stored = 0;
    char text[WAL_NAME_MAX];
    wal_pages_init(&reading.pages, &object->name, wal->system_identifier, wal->segment_size);
    int rc = wal_object_read(verifying->request->repository, object, wal->segment_size, take,
                             &reading, &stored, &reason);
    if (!rc && !reading.is_label)
        rc = wal_pages_end(&reading.pages, &reason);
    atomic_fetch_add(&verifying->bytes_done, stored);
    if (!rc)
        return 0;
    const struct verify_finding finding = {
        .item = log->item,
        .id = wal_name_format(&object->name, text),
        .object = object->key,
        .byte = reason.code == ERR_CORRUPT ? stored : -1,
        .consequence = object->name.kind == WAL_SEGMENT ? "recovery stops there" : ""};
    rc = verify_note(verifying, &finding, &reason, &fault, err);
    bool is_broken = reason.code == ERR_CORRUPT || reason.code == ERR_NOT_FOUND;
    if (!rc && is_broken && object->name.kind == WAL_SEGMENT)
        rc = note_broken(log, index, fault, err);
    return rc;
}

int verify_wal_log(struct verifying *verifying, struct verify_item *item, struct error *err)
{
    _cleanup_(log_clear) struct log log = {.verifying = verifying, .item = item};
    char prefix[STORE_KEY_MAX + 1], first[WAL_NAME_MAX];
    wal_name_format(&item->first, first);
    snprintf(verifying->phase, sizeof(verifying->phase), "verifying WAL from %s", first);
    int rc = wal_key(verifying->request->repository, prefix, err, item->wal->system_identifier,
                     "%08X/%08X/", item->first.timeline, item->first.log);
    if (!rc)
        rc = store_list(verifying->request->repository->store, prefix, false, gather, &log, err);
    return rc ? rc : verify_each(verifying, log.count, check_object, &log, err);
}
