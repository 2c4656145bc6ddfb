/* One listing of all WAL of a system, folded into ranges while it goes by. */
#include <stdlib.h>
#include <string.h>

#include "repository/ids.h"
#include "repository/wal.h"
#include "repository/wal_keys.h"

enum { FIELD = 8, MARK_LSN = 16, RADIX = 16 };

struct gathering {
    const struct repository *repository;
    struct facts_wal *facts;
    size_t prefix_length; /* of CLUSTER/wal/SYSTEM/ */
    int64_t objects;
};

/* "20261121T020000Z-0000000A00000028.json" */
static int add_mark(struct facts_wal_timeline *timeline, const char *file, struct error *err)
{
    char digits[MARK_LSN + 1];
    const char *lsn = file + ID_TIME_LENGTH + 1;
    int64_t time_us;
    if (strlen(file) != ID_TIME_LENGTH + 1 + MARK_LSN + strlen(".json") ||
        !id_parse_time(file, &time_us) || strspn(lsn, "0123456789ABCDEF") != MARK_LSN ||
        strcmp(lsn + MARK_LSN, ".json") != 0)
        return 0;
    memcpy(digits, lsn, MARK_LSN);
    digits[MARK_LSN] = '\0';
    return facts_wal_add_mark(timeline, time_us, strtoull(digits, NULL, RADIX), err);
}

/* "FIRST-LAST.json" */
static int add_acknowledged(const struct facts_wal *facts, struct facts_wal_timeline *timeline,
                            const char *file, struct error *err)
{
    char first_text[WAL_SEGMENT_NAME + 1], last_text[WAL_SEGMENT_NAME + 1];
    struct wal_name first, last;
    if (strlen(file) != 2 * WAL_SEGMENT_NAME + 1 + strlen(".json") || file[WAL_SEGMENT_NAME] != '-')
        return 0;
    snprintf(first_text, sizeof(first_text), "%s", file);
    snprintf(last_text, sizeof(last_text), "%s", file + WAL_SEGMENT_NAME + 1);
    if (!wal_name_parse(first_text, &first) || !wal_name_parse(last_text, &last))
        return 0;
    return facts_wal_acknowledge(timeline, wal_segment_number(&first, facts->segment_size),
                                 wal_segment_number(&last, facts->segment_size), err);
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
        return 0;
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
        return 0; /* wal.json */
    struct facts_wal_timeline *timeline;
    int rc = facts_wal_add_timeline(gathering->facts, number, &timeline, err);
    if (rc)
        return rc;
    rest += FIELD + 1;
    timeline->objects++;
    timeline->bytes += object->size;
    if (strncmp(rest, "marks/", strlen("marks/")) == 0)
        return add_mark(timeline, rest + strlen("marks/"), err);
    if (strncmp(rest, "gaps/", strlen("gaps/")) == 0)
        return add_acknowledged(gathering->facts, timeline, rest + strlen("gaps/"), err);
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
