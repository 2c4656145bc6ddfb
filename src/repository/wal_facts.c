/* One listing of all WAL of a system, folded into ranges while it goes by. */
#include <string.h>

#include "repository/wal.h"
#include "repository/wal_keys.h"

enum { FIELD = 8 };

struct gathering {
    const struct repository *repository;
    struct facts_wal *facts;
    size_t prefix_length; /* of CLUSTER/wal/SYSTEM/ */
    int64_t objects;
};

static int add_stray(struct facts_wal *facts, const struct store_object *object, struct error *err)
{
    facts->stray_count++;
    facts->stray_bytes += object->size;
    if (!facts->stray)
        facts->stray = strdup(object->key);
    return facts->stray ? 0 : error_no_memory(err);
}

static int add_mark(struct gathering *gathering, struct facts_wal_timeline *timeline,
                    const struct store_object *object, struct error *err)
{
    struct facts_wal_mark mark;
    return wal_parse_mark(wal_last_component(object->key), &mark)
               ? facts_wal_add_mark(timeline, mark.time_us, mark.lsn, err)
               : add_stray(gathering->facts, object, err);
}

typedef int (*add_function)(struct facts_wal_timeline *timeline, uint64_t first, uint64_t last,
                            struct error *err);

static int add_span(struct gathering *gathering, struct facts_wal_timeline *timeline,
                    const struct store_object *object, add_function add, struct error *err)
{
    struct facts_wal_span span;
    return wal_parse_span(wal_last_component(object->key), gathering->facts->segment_size, &span)
               ? add(timeline, span.first, span.last, err)
               : add_stray(gathering->facts, object, err);
}

/* A history that can't be read leaves its timeline without one; the listing alone stays true. */
static int add_history(struct gathering *gathering, struct facts_wal_timeline *timeline,
                       const struct wal_object *object, struct error *err)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(WAL_HISTORY_BYTES_MAX);
    if (timeline->has_history) {
        facts_wal_add_fault(gathering->facts, &object->name);
        return 0;
    }
    struct error reason = ERROR_NONE;
    int rc = wal_object_text(gathering->repository, object, &text, &reason);
    if (!rc)
        rc = wal_history_parse(timeline->timeline, buf_text(&text), text.length, &timeline->history,
                               &reason);
    if (rc == ERR_CORRUPT) {
        facts_wal_add_fault(gathering->facts, &object->name);
        return 0;
    }
    if (rc && err)
        *err = reason;
    timeline->has_history = rc == 0;
    return rc;
}

static int add_file(struct gathering *gathering, struct facts_wal_timeline *timeline,
                    const struct store_object *object, struct error *err)
{
    struct facts_wal *facts = gathering->facts;
    struct wal_object wal = {.size = object->size, .stored_us = object->modified_us};
    memcpy(wal.key, object->key, sizeof(wal.key));
    if (!wal_parse_file(wal_last_component(object->key), &wal.name, wal.hash) ||
        wal.name.timeline != timeline->timeline || !wal_name_fits(&wal.name, facts->segment_size))
        return add_stray(facts, object, err);
    if (object->size == 0) {
        facts_wal_add_fault(facts, &wal.name);
        return 0;
    }
    if (wal.name.kind == WAL_HISTORY)
        return add_history(gathering, timeline, &wal, err);
    if (wal.name.kind != WAL_SEGMENT)
        return 0;
    return facts_wal_add_segment(facts, timeline, &wal.name, object->modified_us, object->size,
                                 err);
}

static int gather(const struct store_object *object, void *context, struct error *err)
{
    struct gathering *gathering = context;
    const char *rest = object->key + gathering->prefix_length;
    char field[FIELD + 1];
    uint32_t number;
    gathering->objects++;
    snprintf(field, sizeof(field), "%s", rest);
    if (strlen(rest) <= FIELD || rest[FIELD] != '/' || !wal_timeline_parse(field, &number))
        return strcmp(rest, "wal.json") == 0 ? 0 : add_stray(gathering->facts, object, err);
    struct facts_wal_timeline *timeline;
    int rc = facts_wal_add_timeline(gathering->facts, number, &timeline, err);
    if (rc)
        return rc;
    rest += FIELD + 1;
    timeline->objects++;
    timeline->bytes += object->size;
    if (strncmp(rest, "marks/", strlen("marks/")) == 0)
        return add_mark(gathering, timeline, object, err);
    if (strncmp(rest, "gaps/", strlen("gaps/")) == 0)
        return add_span(gathering, timeline, object, facts_wal_acknowledge, err);
    if (strncmp(rest, "pruned/", strlen("pruned/")) == 0)
        return add_span(gathering, timeline, object, facts_wal_add_pruned, err);
    return add_file(gathering, timeline, object, err);
}

int wal_facts_read(const struct repository *repository, const char *system,
                   struct facts_wal *ret_facts, struct error *err)
{
    _cleanup_(facts_wal_clear) struct facts_wal facts = {0};
    struct gathering gathering = {.repository = repository, .facts = &facts};
    char prefix[STORE_KEY_MAX + 1];
    int64_t segment_size = 0;
    int rc = wal_info_read(repository, system, &segment_size, err);
    if (!rc)
        rc = facts_wal_begin(&facts, system, segment_size, err);
    if (!rc)
        rc = wal_key(repository, prefix, err, system, "%s", "");
    if (rc)
        return rc;
    gathering.prefix_length = strlen(prefix);
    rc = store_list(repository->store, prefix, false, gather, &gathering, err);
    if (rc)
        return rc;
    *ret_facts = facts;
    facts = (struct facts_wal){0};
    return 0;
}

int wal_facts_read_all(const struct repository *repository, struct facts *facts, struct error *err)
{
    _cleanup_(strv_clear) struct strv systems = STRV_INIT(REPOSITORY_SYSTEMS_MAX);
    int rc = wal_systems(repository, &systems, err);
    for (size_t i = 0; i < systems.count && !rc; i++) {
        struct facts_wal wal = {0};
        rc = wal_facts_read(repository, systems.items[i], &wal, err);
        if (rc == ERR_NOT_FOUND) /* there is a folder, so something is missing */
            rc = error_set(err, ERR_UNKNOWN, "wal/%s has no wal.json: what is in it can't be told",
                           systems.items[i]);
        if (!rc)
            rc = facts_take_wal(facts, &wal, err);
    }
    return rc;
}
