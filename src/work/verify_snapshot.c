/* The objects of a snapshot: every file of its volumes against the server's backup_manifest, and
 * the WAL that it needs to become consistent. */
#include <string.h>

#include "base/json.h"
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
};

static int take_content(void *context, const void *data, size_t length, struct error *err)
{
    return listed_sum_add(&((struct unpacking *)context)->sum, data, length, err);
}

static void note_wal(struct verify_backup *backup, const char *name, int64_t size)
{
    static const char FOLDER[] = "pg_wal/";
    const struct facts_position *position = &backup->item->backup->position;
    struct wal_name segment;
    if (!backup->wal_is_there || strncmp(name, FOLDER, sizeof(FOLDER) - 1) != 0 ||
        !wal_name_parse(name + sizeof(FOLDER) - 1, &segment) || segment.kind != WAL_SEGMENT ||
        segment.timeline != position->timeline || size != position->segment_size)
        return;
    uint64_t number = wal_segment_number(&segment, position->segment_size);
    if (number >= backup->wal_first && number - backup->wal_first < backup->wal_count)
        backup->wal_is_there[number - backup->wal_first] = true;
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
    if (!rc)
        rc = verify_read(backup->verifying, unpacking->reader, &unpacking->reported, take_content,
                         unpacking, err);
    if (rc)
        return rc == ERR_CORRUPT ? error_prefix(err, "file \"%s\"", name) : rc;
    unpacking->plain_bytes += unpacking->sum.size;
    if (unpacking->object->tablespace == 0)
        note_wal(backup, name, unpacking->sum.size);
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
