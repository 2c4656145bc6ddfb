/* The objects of a snapshot: every file of its volumes against the server's backup_manifest, and
 * the WAL that it needs to become consistent. */
#include <string.h>

#include "base/json.h"
#include "wal/pages.h"
#include "work/verify_backup.h"

/* -- before ---------------------------------------------------------------------------------- */

static void take_tablespaces(struct verify_backup *backup)
{
    size_t i, v;
    json_t *tablespace, *volume;
    json_array_foreach(json_object_get(backup->manifest, "tablespaces"), i, tablespace)
    {
        json_array_foreach(json_object_get(tablespace, "volumes"), v, volume)
        {
            const char *name = json_string_value(volume);
            struct verify_object *object = name ? verify_find_object(backup, name) : NULL;
            if (object)
                object->tablespace = (uint32_t)json_number(tablespace, "oid");
        }
    }
}

/* The segments from its start to its end; those of two timelines are not counted. */
static int expect_wal(struct verify_backup *backup, struct error *err)
{
    const struct facts_position *position = &backup->item->backup->position;
    if (position->timeline != position->stop_timeline || position->segment_size <= 0)
        return 0;
    backup->wal_first = wal_segment_at(position->start_lsn, position->segment_size);
    uint64_t last = wal_segment_before(position->stop_lsn, position->segment_size);
    backup->wal_count = last >= backup->wal_first ? last - backup->wal_first + 1 : 0;
    backup->wal_is_there = calloc(backup->wal_count + 1, sizeof(*backup->wal_is_there));
    return backup->wal_is_there ? 0 : error_no_memory(err);
}

int verify_snapshot_prepare(struct verify_backup *backup, struct error *err)
{
    struct verify_object *list = verify_find_object(backup, "backup_manifest");
    struct error reason = ERROR_NONE;
    take_tablespaces(backup);
    int rc = expect_wal(backup, err);
    if (rc || !list || list->has_fault)
        return rc;
    rc = file_list_fetch(backup->verifying->request->repository, backup->item->backup->id,
                         backup->manifest, &backup->files, &reason);
    backup->has_list = !rc;
    return rc ? verify_object_fault(backup, list, -1, NULL, &reason, err) : 0;
}

int verify_snapshot_consequence(const struct verify_backup *backup, const char *name,
                                char text[VERIFY_TEXT_MAX], struct error *err)
{
    (void)err;
    if (strcmp(name, "restore.sh") == 0)
        snprintf(text, VERIFY_TEXT_MAX,
                 "this snapshot can't be restored by restore.sh, but by pgcairn");
    else
        snprintf(text, VERIFY_TEXT_MAX, "recovery can't begin with this snapshot: %.900s",
                 backup->loss);
    return 0;
}

/* -- a volume -------------------------------------------------------------------------------- */

/* One thread's hands. */
struct unpacking {
    struct verify_backup *backup;
    struct verify_object *object;
    struct volume_reader *reader;
    struct listed_sum sum; /* of the member */
    int64_t plain_bytes, reported;
    bool is_wal;            /* the member is a segment that the snapshot needs */
    uint64_t wal_index;     /* which of them */
    struct wal_pages pages; /* of it, at level 3 */
    int64_t pages_left; /* bytes up to the snapshot's end; behind is what a standby used again */
};

/* -- WAL in a volume ------------------------------------------------------------------------- */

static void begin_wal(struct unpacking *unpacking, const char *name)
{
    static const char FOLDER[] = "pg_wal/";
    const struct verify_backup *backup = unpacking->backup;
    const struct facts_position *position = &backup->item->backup->position;
    struct wal_name segment;
    unpacking->is_wal = false;
    if (!backup->wal_is_there || unpacking->object->tablespace != 0 ||
        strncmp(name, FOLDER, sizeof(FOLDER) - 1) != 0 ||
        !wal_name_parse(name + sizeof(FOLDER) - 1, &segment) || segment.kind != WAL_SEGMENT ||
        segment.timeline != position->timeline)
        return;
    uint64_t number = wal_segment_number(&segment, position->segment_size);
    unpacking->wal_index = number - backup->wal_first;
    unpacking->is_wal = number >= backup->wal_first && unpacking->wal_index < backup->wal_count;
    if (!unpacking->is_wal)
        return;
    uint64_t begin = number * (uint64_t)position->segment_size;
    unpacking->pages_left = backup->item->level < VERIFY_LEVEL_MAX ? 0
                            : unpacking->wal_index + 1 < backup->wal_count
                                ? position->segment_size
                                : (int64_t)(position->stop_lsn - begin);
    wal_pages_init(&unpacking->pages, &segment, position->system_identifier,
                   position->segment_size);
}

static int take_pages(struct unpacking *unpacking, const void *data, size_t length,
                      struct error *err)
{
    if ((int64_t)length > unpacking->pages_left)
        length = (size_t)unpacking->pages_left;
    unpacking->pages_left -= (int64_t)length;
    return length ? wal_pages_add(&unpacking->pages, data, length, err) : 0;
}

/* Of the last one all pages up to the snapshot's end must be there; others may end in zeros. */
static int end_wal(struct unpacking *unpacking, struct error *err)
{
    struct verify_backup *backup = unpacking->backup;
    bool is_last = unpacking->wal_index + 1 == backup->wal_count;
    if (unpacking->sum.size != backup->item->backup->position.segment_size)
        return 0; /* it does not count, and is told as missing */
    backup->wal_is_there[unpacking->wal_index] = true;
    if (is_last && unpacking->pages.has_ended)
        return error_set(err, ERR_CORRUPT, "its WAL ends before the snapshot does");
    return 0;
}

/* -- members --------------------------------------------------------------------------------- */

static int take_content(void *context, const void *data, size_t length, struct error *err)
{
    struct unpacking *unpacking = context;
    int rc = listed_sum_add(&unpacking->sum, data, length, err);
    return rc || !unpacking->is_wal ? rc : take_pages(unpacking, data, length, err);
}

/* Why the member is not what the server listed; NULL when it is. Without the list nothing tells. */
static int judge_file(struct unpacking *unpacking, const char *name, struct listed_file *file,
                      struct error *err)
{
    bool fits = false;
    int rc = listed_sum_end(&unpacking->sum, &fits, err);
    const char *what = !rc && file ? file_list_judge(file, fits) : NULL;
    return what ? error_set(err, ERR_CORRUPT, "file \"%s\" %s", name, what) : rc;
}

static int check_file(struct unpacking *unpacking, const char *name, struct error *err)
{
    struct verify_backup *backup = unpacking->backup;
    struct listed_file *file = NULL;
    const char *what =
        backup->has_list
            ? file_list_expect(&backup->files, unpacking->object->tablespace, name, &file)
            : NULL;
    if (what)
        return error_set(err, ERR_CORRUPT, "file \"%s\" %s", name, what);
    int rc = listed_sum_init(&unpacking->sum, file, err);
    begin_wal(unpacking, name);
    if (!rc)
        rc = verify_read(backup->verifying, unpacking->reader, &unpacking->reported, take_content,
                         unpacking, err);
    if (!rc && unpacking->is_wal)
        rc = end_wal(unpacking, err);
    if (rc)
        return rc == ERR_CORRUPT ? error_prefix(err, "file \"%s\"", name) : rc;
    unpacking->plain_bytes += unpacking->sum.size;
    return judge_file(unpacking, name, file, err);
}

static int check_members(struct unpacking *unpacking, struct error *err)
{
    for (;;) {
        struct tar_member member;
        char name[TAR_NAME_MAX + 1];
        bool found;
        int rc = volume_next_member(unpacking->reader, &member, &found, err);
        if (rc || !found)
            return rc;
        snprintf(name, sizeof(name), "%s", member.name); /* it is borrowed until the next call */
        if (member.type == MEMBER_LINK)
            return error_set(err, ERR_CORRUPT, "file \"%s\" is a link", name);
        if (member.type == MEMBER_FILE)
            rc = check_file(unpacking, name, err);
        listed_sum_clear(&unpacking->sum);
        if (rc)
            return rc;
    }
}

static int check_volume(struct verify_backup *backup, struct verify_object *object,
                        struct error *err)
{
    struct store *store = backup->verifying->request->repository->store;
    struct unpacking unpacking = {.backup = backup, .object = object};
    struct error reason = ERROR_NONE;
    int rc = volume_read_open(store, object->key, VOLUME_TAR, &object->expected, &unpacking.reader,
                              &reason);
    if (!rc)
        check_members(&unpacking, &reason);
    rc = verify_object_end(backup, object, unpacking.reader, unpacking.plain_bytes, NULL, &reason,
                           err);
    volume_reader_free(unpacking.reader);
    return rc;
}

int verify_snapshot_object(struct verify_backup *backup, struct verify_object *object,
                           struct error *err)
{
    size_t length = strlen(object->name);
    static const char VOLUME[] = ".tar.zst";
    if (strcmp(object->name, "backup_manifest") == 0 && backup->has_list)
        return 0; /* it was read, and proved by its own checksum too */
    if (length > sizeof(VOLUME) && strcmp(object->name + length - sizeof(VOLUME) + 1, VOLUME) == 0)
        return check_volume(backup, object, err);
    return verify_stream(backup, object, VOLUME_PLAIN, err);
}

/* -- after ----------------------------------------------------------------------------------- */

static int missing(struct verify_backup *backup, const char *what, const char *name,
                   struct error *err)
{
    struct error reason = ERROR_NONE;
    struct verify_object *list = verify_find_object(backup, "backup_manifest");
    error_set(&reason, ERR_CORRUPT, "%s \"%s\" is in no volume", what, name);
    return verify_object_fault(backup, list, -1, NULL, &reason, err);
}

static int check_wal(struct verify_backup *backup, struct error *err)
{
    const struct facts_position *position = &backup->item->backup->position;
    int rc = 0;
    for (uint64_t i = 0; i < backup->wal_count && !rc; i++) {
        char text[WAL_NAME_MAX];
        struct wal_name name =
            wal_segment_name(position->timeline, backup->wal_first + i, position->segment_size);
        if (!backup->wal_is_there[i])
            rc = missing(backup, "segment", wal_name_format(&name, text), err);
    }
    return rc;
}

int verify_snapshot_complete(struct verify_backup *backup, struct error *err)
{
    for (size_t i = 0; i < backup->object_count; i++)
        if (backup->objects[i].has_fault)
            return 0; /* what is in it can't be told from what is missing */
    int rc = 0;
    for (size_t i = 0; i < backup->files.count && !rc && backup->has_list; i++) {
        struct listed_file *file = &backup->files.files[i];
        if (!atomic_load(&file->is_there))
            rc = missing(backup, "file", file_list_name(&backup->files, file), err);
    }
    return rc ? rc : check_wal(backup, err);
}
