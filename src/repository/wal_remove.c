#include "repository/wal_remove.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "repository/evidence.h"
#include "repository/wal_keys.h"

enum { LOG_DIGITS = 8, RADIX = 16 };

static int add_evidence(struct repository *repository, const struct wal_removing *removing,
                        size_t first, size_t end, struct error *err);
static int remove_range(struct repository *repository, const struct wal_removing *removing,
                        const struct wal_remove_range *range, int64_t now_us,
                        struct wal_removed *removed, struct error *err);

/* Errors after which the other ranges would fare no better. */
static bool ends_everything(int rc)
{
    return rc == ERR_MEMORY || rc == ERR_CONNECTION || rc == ERR_AUTH || rc == ERR_INTERRUPTED ||
           rc == ERR_CONFLICT;
}

int wal_remove(struct repository *repository, const struct wal_removing *removing, int64_t now_us,
               struct wal_removed *removed, struct error *err)
{
    struct error first = ERROR_NONE;
    for (size_t i = 0; i < removing->count; i++) {
        int rc = 0;
        if (i % WAL_REMOVE_EVIDENCE == 0) {
            size_t end = i + WAL_REMOVE_EVIDENCE;
            end = end < removing->count ? end : removing->count;
            if ((rc = add_evidence(repository, removing, i, end, err)))
                return rc;
        }
        struct error reason = ERROR_NONE;
        rc = remove_range(repository, removing, &removing->ranges[i], now_us, removed, &reason);
        if (rc && first.code == 0)
            first = reason;
        if (ends_everything(rc))
            break;
    }
    if (first.code && err)
        *err = first;
    return first.code;
}

static char *name_text(const struct wal_remove_range *range, uint64_t number,
                       char text[WAL_NAME_MAX])
{
    struct wal_name name = wal_segment_name(range->timeline, number, range->wal->segment_size);
    return wal_name_format(&name, text);
}

static int add_evidence(struct repository *repository, const struct wal_removing *removing,
                        size_t first, size_t end, struct error *err)
{
    json_t *list = json_array();
    for (size_t i = first; i < end; i++) {
        const struct wal_remove_range *range = &removing->ranges[i];
        char from[WAL_NAME_MAX], to[WAL_NAME_MAX];
        json_t *item =
            json_pack("{s:s, s:I, s:s, s:s, s:I, s:I, s:s}", "system_identifier",
                      range->wal->system_identifier, "timeline", (json_int_t)range->timeline,
                      "first", name_text(range, range->first, from), "last",
                      name_text(range, range->last, to), "segments", (json_int_t)range->segments,
                      "bytes", (json_int_t)range->bytes, "reason", range->reason);
        if (json_array_append_new(list, item)) {
            json_decref(list);
            return error_no_memory(err);
        }
    }
    return evidence_add(repository, "wal_removed",
                        json_pack("{s:s, s:o}", "plan_hash", removing->plan_hash, "ranges", list),
                        NULL, err);
}

/* -- one range ------------------------------------------------------------------------------ */

/* What goes is gathered a batch at a time while a folder is listed. */
struct sweep {
    struct repository *repository;
    const struct wal_removing *removing;
    const struct wal_remove_range *range;
    struct wal_removed *removed;
    char keep[STORE_KEY_MAX + 1]; /* the record of this very range */
    struct strv keys;
    int64_t sizes[WAL_REMOVE_BATCH];
    size_t refused; /* of this range; the first reason that is no lock */
    struct error reason;
};

static int note_refusal(const char *key, const struct error *reason, void *context,
                        struct error *err)
{
    struct sweep *sweep = context;
    if (ends_everything(reason->code)) {
        if (err)
            *err = *reason;
        return reason->code;
    }
    for (size_t i = 0; i < sweep->keys.count; i++)
        if (strcmp(sweep->keys.items[i], key) == 0)
            sweep->sizes[i] = -1;
    sweep->refused++;
    if (reason->code == ERR_LOCKED)
        sweep->removed->locked++;
    else if (sweep->reason.code == 0)
        sweep->reason = *reason;
    return 0;
}

/* 1 when something of it may not go, so that what is newer stays too. */
static int delete_batch(struct sweep *sweep, struct error *err)
{
    const struct wal_removing *removing = sweep->removing;
    struct strv keys = sweep->keys;
    if (keys.count == 0)
        return 0;
    int rc =
        removing->proceed ? removing->proceed(removing->context, sweep->removed->objects, err) : 0;
    if (!rc)
        rc = store_delete_many(sweep->repository->store, keys.items, keys.count, note_refusal,
                               sweep, err);
    for (size_t i = 0; !rc && i < keys.count; i++)
        if (sweep->sizes[i] >= 0) {
            sweep->removed->objects++;
            sweep->removed->bytes += sweep->sizes[i];
        }
    strv_clear(&sweep->keys);
    sweep->keys = STRV_INIT(WAL_REMOVE_BATCH);
    return rc ? rc : sweep->refused > 0;
}

static int sweep_key(struct sweep *sweep, const struct store_object *object, struct error *err)
{
    sweep->sizes[sweep->keys.count] = object->size;
    int rc = strv_add(&sweep->keys, object->key, err);
    return !rc && sweep->keys.count == WAL_REMOVE_BATCH ? delete_batch(sweep, err) : rc;
}

static bool lies_in(const struct wal_remove_range *range, uint64_t first, uint64_t last)
{
    return first >= range->from && last <= range->to;
}

static int visit_span(const struct store_object *object, void *context, struct error *err)
{
    struct sweep *sweep = context;
    struct facts_wal_span span;
    if (strcmp(object->key, sweep->keep) == 0 ||
        !wal_parse_span(wal_last_component(object->key), sweep->range->wal->segment_size, &span) ||
        !lies_in(sweep->range, span.first, span.last))
        return 0;
    return sweep_key(sweep, object, err);
}

static int visit_mark(const struct store_object *object, void *context, struct error *err)
{
    struct sweep *sweep = context;
    struct facts_wal_mark mark;
    if (!wal_parse_mark(wal_last_component(object->key), &mark))
        return 0;
    uint64_t number = wal_segment_before(mark.lsn, sweep->range->wal->segment_size);
    return lies_in(sweep->range, number, number) ? sweep_key(sweep, object, err) : 0;
}

static int visit_file(const struct store_object *object, void *context, struct error *err)
{
    struct sweep *sweep = context;
    int64_t size = sweep->range->wal->segment_size;
    struct wal_name name;
    char hash[WAL_HASH + 1];
    if (!wal_parse_file(wal_last_component(object->key), &name, hash) || name.kind == WAL_HISTORY ||
        name.timeline != sweep->range->timeline || !wal_name_fits(&name, size))
        return 0;
    uint64_t number = wal_segment_number(&name, size);
    return lies_in(sweep->range, number, number) ? sweep_key(sweep, object, err) : 0;
}

static int sweep_folder(struct sweep *sweep, const char *folder, store_visit visit,
                        struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    int rc = wal_key(sweep->repository, prefix, err, sweep->range->wal->system_identifier,
                     "%08X/%s/", sweep->range->timeline, folder);
    if (!rc)
        rc = store_list(sweep->repository->store, prefix, false, visit, sweep, err);
    return rc ? rc : delete_batch(sweep, err);
}

/* From here on what is missing in the range is known to have been pruned. */
static int note_pruned(struct sweep *sweep, int64_t now_us, struct error *err)
{
    const struct wal_remove_range *range = sweep->range;
    char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
    name_text(range, range->from, first);
    name_text(range, range->to, last);
    int rc = wal_key(sweep->repository, sweep->keep, err, range->wal->system_identifier,
                     "%08X/pruned/%s-%s.json", range->timeline, first, last);
    if (!rc)
        rc = repository_write_json(sweep->repository, sweep->keep,
                                   json_pack("{s:i, s:s, s:s, s:s, s:o}", "format",
                                             REPOSITORY_FORMAT, "first", first, "last", last,
                                             "plan_hash", sweep->removing->plan_hash, "at",
                                             json_instant(now_us)),
                                   0, err);
    return rc;
}

struct log_list {
    const struct wal_remove_range *range;
    uint32_t *logs;
    size_t count, allocated;
};

/* "CLUSTER/wal/SYSTEM/TIMELINE/0000000A/" */
static int note_log(const struct store_object *object, void *context, struct error *err)
{
    struct log_list *list = context;
    size_t length = strlen(object->key);
    char text[LOG_DIGITS + 1];
    if (length < LOG_DIGITS + 2 || object->key[length - 1] != '/' ||
        object->key[length - LOG_DIGITS - 2] != '/')
        return 0;
    memcpy(text, object->key + length - LOG_DIGITS - 1, LOG_DIGITS);
    text[LOG_DIGITS] = '\0';
    if (strspn(text, "0123456789ABCDEF") != LOG_DIGITS)
        return 0;
    int64_t size = list->range->wal->segment_size;
    struct wal_name from = wal_segment_name(list->range->timeline, list->range->from, size);
    struct wal_name to = wal_segment_name(list->range->timeline, list->range->to, size);
    uint32_t log = (uint32_t)strtoul(text, NULL, RADIX);
    if (log < from.log || log > to.log)
        return 0;
    if (list->count == list->allocated) {
        size_t wanted = list->allocated ? 2 * list->allocated : 64;
        void *grown = reallocarray(list->logs, wanted, sizeof(*list->logs));
        if (!grown)
            return error_no_memory(err);
        list->logs = grown;
        list->allocated = wanted;
    }
    list->logs[list->count++] = log;
    return 0;
}

static int sweep_segments(struct sweep *sweep, struct error *err)
{
    struct log_list list = {.range = sweep->range};
    char prefix[STORE_KEY_MAX + 1];
    int rc = wal_key(sweep->repository, prefix, err, sweep->range->wal->system_identifier, "%08X/",
                     sweep->range->timeline);
    if (!rc)
        rc = store_list(sweep->repository->store, prefix, true, note_log, &list, err);
    for (size_t i = 0; !rc && i < list.count; i++) {
        char folder[LOG_DIGITS + 1];
        snprintf(folder, sizeof(folder), "%08X", list.logs[i]);
        rc = sweep_folder(sweep, folder, visit_file, err);
    }
    free(list.logs);
    return rc;
}

static int remove_range(struct repository *repository, const struct wal_removing *removing,
                        const struct wal_remove_range *range, int64_t now_us,
                        struct wal_removed *removed, struct error *err)
{
    _cleanup_(freep) struct sweep *sweep = calloc(1, sizeof(*sweep));
    if (!sweep)
        return error_no_memory(err);
    *sweep = (struct sweep){.repository = repository,
                            .removing = removing,
                            .range = range,
                            .removed = removed,
                            .keys = STRV_INIT(WAL_REMOVE_BATCH)};
    int rc = note_pruned(sweep, now_us, err);
    if (!rc)
        rc = sweep_folder(sweep, "pruned", visit_span, err);
    if (!rc)
        rc = sweep_folder(sweep, "marks", visit_mark, err);
    if (!rc)
        rc = sweep_folder(sweep, "gaps", visit_span, err);
    if (!rc)
        rc = sweep_segments(sweep, err);
    strv_clear(&sweep->keys);
    if (rc < 0 || sweep->reason.code == 0)
        return rc < 0 ? rc : 0;
    char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
    if (err)
        *err = sweep->reason;
    error_prefix(err, "could not delete all WAL from %s to %s",
                 name_text(range, range->first, first), name_text(range, range->last, last));
    return sweep->reason.code;
}
