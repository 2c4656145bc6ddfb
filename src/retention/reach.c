#include "retention/reach.h"

#include <string.h>

/* What is known while an anchor is looked for. */
struct search {
    const struct facts *facts;
    const struct facts_wal *wal; /* NULL: none */
    const struct reach_target *target;
    int64_t now_us;
    struct wal_history history; /* borrowed, of the timeline to follow */
    uint32_t timeline;
    const struct facts_backup *oldest, *newest; /* usable ones on the chain */
};

/* How far stored WAL leads from an anchor. */
struct run {
    uint64_t first, end; /* segments; end is the first that is not there */
    uint32_t first_timeline, end_timeline;
    int64_t segments, bytes;
    int64_t stored_us;  /* when its last segment was stored: nothing in it is younger */
    int64_t known_us;   /* a moment that certainly lies in it */
    bool has_gap;       /* later segments are stored */
    uint64_t after_gap; /* the first of them */
};

static const char *instant(int64_t us, char text[INSTANT_TEXT_MAX])
{
    return instant_format(us, text);
}

/* -- which timeline -------------------------------------------------------------------------------
 */

static bool is_of_system(const struct search *search, const struct facts_backup *backup)
{
    return !search->wal ||
           strcmp(backup->position.system_identifier, search->wal->system_identifier) == 0;
}

static bool is_snapshot(const struct search *search, const struct facts_backup *backup)
{
    return backup->kind == BACKUP_SNAPSHOT && is_of_system(search, backup) &&
           (backup->state == BACKUP_GOOD || backup->state == BACKUP_DAMAGED);
}

/* The highest number of which anything is known. */
static uint32_t newest_timeline(const struct search *search)
{
    uint32_t newest = 0;
    for (size_t i = 0; i < search->facts->backup_count; i++) {
        const struct facts_backup *backup = &search->facts->backups[i];
        if (is_snapshot(search, backup) && backup->position.stop_timeline > newest)
            newest = backup->position.stop_timeline;
    }
    if (search->wal && search->wal->timeline_count) {
        uint32_t last = search->wal->timelines[search->wal->timeline_count - 1].timeline;
        newest = last > newest ? last : newest;
    }
    return newest;
}

/* Whether the end of a snapshot lies on the chain of a timeline. */
static bool lies_on(const struct wal_history *history, const struct facts_backup *backup)
{
    uint64_t begin, end;
    return wal_history_span(history, backup->position.stop_timeline, &begin, &end) &&
           backup->position.stop_lsn <= end;
}

/* The history of a timeline. Where its file is not stored, only the timeline itself is known. */
static struct wal_history history_of(const struct search *search, uint32_t timeline)
{
    const struct facts_wal_timeline *stored =
        search->wal ? facts_wal_timeline(search->wal, timeline) : NULL;
    if (stored && stored->has_history)
        return stored->history;
    return (struct wal_history){.timeline = timeline};
}

/* With an id, the newest timeline that descends from that snapshot; else the newest of all. */
static int choose_timeline(struct search *search, const struct facts_backup *given,
                           struct error *err)
{
    uint32_t newest = newest_timeline(search);
    uint32_t wanted = search->target->timeline;
    if (wanted > newest) {
        error_set(err, ERR_NOT_FOUND, "there is no timeline %u in the repository", wanted);
        return error_hint(err, "the newest one is %u", newest);
    }
    if (search->target->kind == REACH_IMMEDIATE && given && !wanted)
        wanted = given->position.stop_timeline;
    search->timeline = wanted ? wanted : newest;
    search->history = history_of(search, search->timeline);
    while (given && !wanted && !lies_on(&search->history, given) && search->timeline > 1) {
        search->timeline--;
        search->history = history_of(search, search->timeline);
    }
    if (given && !lies_on(&search->history, given)) {
        error_set(err, ERR_NOT_FOUND, "snapshot %s is not on the way to timeline %u", given->id,
                  search->timeline);
        return error_hint(err, "its own timeline is %u: leave out --timeline or the snapshot",
                          given->position.stop_timeline);
    }
    return 0;
}

/* -- how far the WAL leads ------------------------------------------------------------------------
 */

/* The first stored segment of the timeline behind that one. */
static bool find_later(const struct facts_wal_timeline *timeline, uint64_t number,
                       uint64_t *ret_later)
{
    for (size_t i = 0; timeline && i < timeline->range_count; i++)
        if (timeline->ranges[i].first > number) {
            *ret_later = timeline->ranges[i].first;
            return true;
        }
    return false;
}

/* Follows the ranges of one timeline from run->end on, up to and without `limit`. */
static void follow_timeline(const struct facts_wal_timeline *timeline, uint64_t limit,
                            struct run *run)
{
    const struct facts_wal_range *range;
    while (run->end < limit && (range = facts_wal_find(timeline, run->end)) != NULL) {
        uint64_t last = range->last < limit - 1 ? range->last : limit - 1;
        run->segments += (int64_t)(last - run->end + 1);
        run->bytes += range->bytes;
        run->stored_us = range->last_stored_us;
        run->end_timeline = timeline->timeline;
        run->end = last + 1;
    }
}

/* Moments that are known to lie before the end of the run. */
static void find_known(const struct search *search, struct run *run)
{
    uint64_t end_lsn = wal_segment_start(run->end, search->wal->segment_size);
    for (size_t i = 0; i < search->wal->timeline_count; i++) {
        const struct facts_wal_timeline *timeline = &search->wal->timelines[i];
        uint64_t begin, end;
        if (!wal_history_span(&search->history, timeline->timeline, &begin, &end))
            continue;
        for (size_t m = 0; m < timeline->mark_count; m++) {
            const struct facts_wal_mark *mark = &timeline->marks[m];
            if (mark->lsn <= end_lsn && mark->lsn <= end && mark->time_us > run->known_us)
                run->known_us = mark->time_us;
        }
    }
    for (size_t i = 0; i < search->facts->backup_count; i++) {
        const struct facts_backup *backup = &search->facts->backups[i];
        if (is_snapshot(search, backup) && lies_on(&search->history, backup) &&
            backup->position.stop_lsn <= end_lsn && backup->position.stopped_us > run->known_us)
            run->known_us = backup->position.stopped_us;
    }
}

static struct run follow(const struct search *search, const struct facts_backup *anchor)
{
    struct run run = {.known_us = anchor->position.stopped_us, .stored_us = INSTANT_NONE};
    if (!search->wal)
        return run;
    int64_t size = search->wal->segment_size;
    run.first = run.end = wal_segment_at(anchor->position.start_lsn, size);
    run.first_timeline = run.end_timeline = anchor->position.timeline;
    for (size_t i = 0; i < search->wal->timeline_count; i++) {
        const struct facts_wal_timeline *timeline = &search->wal->timelines[i];
        uint64_t begin, end, limit = UINT64_MAX;
        if (timeline->timeline < anchor->position.timeline ||
            !wal_history_span(&search->history, timeline->timeline, &begin, &end))
            continue;
        if (end != UINT64_MAX)
            limit = wal_segment_at(end, size);
        uint64_t before = run.end;
        follow_timeline(timeline, limit, &run);
        if (run.end < limit && find_later(timeline, run.end, &run.after_gap)) {
            run.has_gap = true;
            run.end_timeline = timeline->timeline;
            break;
        }
        if (run.end < limit && limit != UINT64_MAX && run.end >= before)
            break; /* the rest of an ancestor is not there: what descends begins behind a gap */
    }
    find_known(search, &run);
    return run;
}

static int refuse_gap(const struct search *search, const struct run *run, const char *what,
                      struct error *err)
{
    char first[WAL_NAME_MAX], last[WAL_NAME_MAX], known[INSTANT_TEXT_MAX];
    int64_t size = search->wal->segment_size;
    struct wal_name from = wal_segment_name(run->end_timeline, run->end, size);
    struct wal_name to = wal_segment_name(run->end_timeline, run->after_gap - 1, size);
    error_set(err, ERR_NOT_FOUND, "%s can't be reached: WAL %s to %s is not in the repository",
              what, wal_name_format(&from, first), wal_name_format(&to, last));
    return error_hint(err,
                      "moments up to %s can be reached (--to), or those after a later snapshot; "
                      "see \"pgcairn wal status\"",
                      instant(run->known_us, known));
}

/* -- which snapshot -------------------------------------------------------------------------------
 */

static const struct facts_backup *find_given(const struct search *search)
{
    const char *id = search->target->backup_id;
    for (size_t i = 0; id && i < search->facts->backup_count; i++)
        if (search->facts->backups[i].kind == BACKUP_SNAPSHOT &&
            strcmp(search->facts->backups[i].id, id) == 0)
            return &search->facts->backups[i];
    return NULL;
}

/* Whether replay from that snapshot comes past the target. */
static bool ends_before_target(const struct search *search, const struct facts_backup *backup)
{
    const struct reach_target *target = search->target;
    if (target->kind == REACH_TIME)
        return backup->position.stopped_us <= target->time_us;
    return target->kind != REACH_LSN || backup->position.stop_lsn <= target->lsn;
}

/* The newest good snapshot on the chain that ends before the target; one in which a verification
 * found a fault only without any other. NULL when there is none. */
static const struct facts_backup *find_anchor(struct search *search)
{
    const struct facts_backup *found = NULL, *faulty = NULL;
    for (size_t i = 0; i < search->facts->backup_count; i++) {
        const struct facts_backup *backup = &search->facts->backups[i];
        if (!is_snapshot(search, backup) || backup->state != BACKUP_GOOD ||
            !lies_on(&search->history, backup))
            continue;
        uint64_t lsn = backup->position.stop_lsn;
        if (!search->oldest || lsn < search->oldest->position.stop_lsn)
            search->oldest = backup;
        if (!search->newest || lsn > search->newest->position.stop_lsn)
            search->newest = backup;
        const struct facts_backup **place = backup->failed_us == INSTANT_NONE ? &found : &faulty;
        if (ends_before_target(search, backup) && (!*place || lsn > (*place)->position.stop_lsn))
            *place = backup;
    }
    return found ? found : faulty;
}

static int refuse_too_early(const struct search *search, const struct facts_backup *first,
                            struct error *err)
{
    char oldest[INSTANT_TEXT_MAX], wanted[INSTANT_TEXT_MAX], lsn[WAL_LSN_TEXT_MAX];
    char target[WAL_LSN_TEXT_MAX];
    if (search->target->kind == REACH_TIME)
        error_set(err, ERR_NOT_FOUND,
                  "%s can't be reached: snapshot %s, the oldest to begin from, ended at %s",
                  instant(search->target->time_us, wanted), first->id,
                  instant(first->position.stopped_us, oldest));
    else
        error_set(
            err, ERR_NOT_FOUND,
            "position %s can't be reached: snapshot %s, the oldest to begin from, ended at %s",
            wal_lsn_format(search->target->lsn, target), first->id,
            wal_lsn_format(first->position.stop_lsn, lsn));
    return error_hint(err, "choose a later target, or restore a dump of that time "
                           "(pgcairn list --kind dump)");
}

/* Where a transaction or a restore point lies nobody knows beforehand, and a snapshot behind it
 * would never come past it. */
static int refuse_guess(const struct search *search, struct error *err)
{
    error_set(err, ERR_USAGE, "which snapshot lies before %s %s can't be told",
              search->target->kind == REACH_XID ? "transaction" : "restore point",
              search->target->text);
    return error_hint(err,
                      "name one that ended before it: pgcairn restore snapshot CLUSTER ID ...");
}

static int choose_anchor(struct search *search, const struct facts_backup *given,
                         const struct facts_backup **ret_anchor, struct error *err)
{
    const struct facts_backup *anchor = find_anchor(search);
    bool is_blind = search->target->kind == REACH_XID || search->target->kind == REACH_NAME;
    if (given && !ends_before_target(search, given))
        return refuse_too_early(search, given, err);
    if (!given && !search->newest) {
        error_set(err, ERR_NOT_FOUND, "cluster \"%s\" has no good snapshot on timeline %u",
                  search->facts->cluster, search->timeline);
        return error_hint(err, "\"pgcairn list %s --kind snapshot\" shows what there is",
                          search->facts->cluster);
    }
    if (!given && !anchor)
        return refuse_too_early(search, search->oldest, err);
    if (!given && is_blind && search->oldest != search->newest)
        return refuse_guess(search, err);
    *ret_anchor = given ? given : anchor;
    return 0;
}

/* -- whether it is reached ------------------------------------------------------------------------
 */

static int judge_time(const struct search *search, const struct run *run, bool *ret_certain,
                      struct error *err)
{
    char wanted[INSTANT_TEXT_MAX], known[INSTANT_TEXT_MAX];
    int64_t time_us = search->target->time_us;
    instant(time_us, wanted);
    *ret_certain = run->known_us >= time_us;
    if (*ret_certain)
        return 0;
    if (run->has_gap && run->stored_us < time_us)
        return refuse_gap(search, run, wanted, err);
    if (run->stored_us == INSTANT_NONE || run->stored_us < time_us) {
        error_set(err, ERR_NOT_FOUND, "%s can't be reached: the WAL in the repository ends before",
                  wanted);
        return error_hint(err,
                          "the newest moment that is known to be reached is %s; without --to, "
                          "all that is there is replayed",
                          instant(run->known_us, known));
    }
    return 0;
}

static int judge_lsn(const struct search *search, const struct run *run, bool *ret_certain,
                     struct error *err)
{
    char wanted[WAL_LSN_TEXT_MAX + 16], lsn[WAL_LSN_TEXT_MAX];
    snprintf(wanted, sizeof(wanted), "position %s", wal_lsn_format(search->target->lsn, lsn));
    int64_t size = search->wal ? search->wal->segment_size : WAL_SEGMENT_SIZE_MIN;
    *ret_certain = search->wal && wal_segment_before(search->target->lsn, size) < run->end;
    if (*ret_certain)
        return 0;
    if (run->has_gap)
        return refuse_gap(search, run, wanted, err);
    error_set(err, ERR_NOT_FOUND, "%s can't be reached: the WAL in the repository ends before",
              wanted);
    return error_hint(err, "without --to-lsn, all that is there is replayed");
}

static int judge(const struct search *search, const struct run *run, bool *ret_certain,
                 struct error *err)
{
    switch (search->target->kind) {
    case REACH_TIME:
        return judge_time(search, run, ret_certain, err);
    case REACH_LSN:
        return judge_lsn(search, run, ret_certain, err);
    case REACH_IMMEDIATE:
        *ret_certain = true;
        return 0;
    case REACH_END:
        *ret_certain = true;
        break;
    case REACH_XID:
    case REACH_NAME:
        *ret_certain = false;
        break;
    }
    return run->has_gap ? refuse_gap(search, run, "the end of the WAL", err) : 0;
}

static void fill(const struct search *search, const struct run *run, struct reach_choice *choice)
{
    choice->timeline = search->timeline;
    choice->known_us = run->known_us;
    if (run->segments == 0)
        return;
    choice->has_wal = true;
    choice->segments = run->segments;
    choice->bytes = run->bytes;
    choice->first = wal_segment_name(run->first_timeline, run->first, search->wal->segment_size);
    choice->last = wal_segment_name(run->end_timeline, run->end - 1, search->wal->segment_size);
}

int reach_choose(const struct facts *facts, const struct facts_wal *wal,
                 const struct reach_target *target, int64_t now_us, struct reach_choice *ret_choice,
                 struct error *err)
{
    struct search search = {.facts = facts, .wal = wal, .target = target, .now_us = now_us};
    struct reach_choice choice = {0};
    char wanted[INSTANT_TEXT_MAX];
    if (target->kind == REACH_TIME && target->time_us > now_us) {
        error_set(err, ERR_USAGE, "%s is in the future", instant(target->time_us, wanted));
        return error_hint(err, "leave out --to for the newest state");
    }
    const struct facts_backup *given = find_given(&search);
    if (target->backup_id && !given)
        return error_set(err, ERR_NOT_FOUND, "cluster \"%s\" has no snapshot %s", facts->cluster,
                         target->backup_id);
    int rc = choose_timeline(&search, given, err);
    if (!rc)
        rc = choose_anchor(&search, given, &choice.anchor, err);
    if (rc)
        return rc;
    struct run run = follow(&search, choice.anchor);
    rc = judge(&search, &run, &choice.is_certain, err);
    if (rc)
        return rc;
    fill(&search, &run, &choice);
    *ret_choice = choice;
    return 0;
}
