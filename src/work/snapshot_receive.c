/* What BASE_BACKUP sends becomes volumes, as it comes. */
#include <string.h>

#include "base/json.h"
#include "work/snapshot.h"

static const char SERVER_MANIFEST[] = "backup_manifest";

void snapshot_notice(struct snapshot *snapshot, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    work_notice(snapshot->work, "%s", text);
    if (json_array_size(snapshot->notices) < WORK_NOTICES_MAX)
        json_array_append_new(snapshot->notices, json_string(text));
}

int snapshot_add_object(struct snapshot *snapshot, const char *name,
                        const struct store_object *object, int64_t plain_bytes, struct error *err)
{
    snapshot->bytes_stored += object->size;
    return json_array_append_new(snapshot->objects,
                                 json_pack("{s:s, s:I, s:s, s:I}", "name", name, "size",
                                           (json_int_t)object->size, "sha256", object->sha256,
                                           "plain_bytes", (json_int_t)plain_bytes))
               ? error_no_memory(err)
               : 0;
}

static int take_start(const struct base_backup_start *start, void *context, struct error *err)
{
    struct snapshot *snapshot = context;
    (void)err;
    snapshot->start_lsn = start->lsn;
    snapshot->start_timeline = start->timeline;
    for (size_t i = 0; i < start->tablespace_count; i++)
        atomic_fetch_add(&snapshot->bytes_total, (long long)start->tablespaces[i].bytes);
    return 0;
}

/* A volume is stored: it is an object, and belongs to the tablespace that comes last in the list.
 */
static int take_volume(const char *name, const struct store_object *object, int64_t plain_bytes,
                       void *context, struct error *err)
{
    struct snapshot *snapshot = context;
    size_t last = json_array_size(snapshot->tablespaces) - 1;
    json_t *volumes = json_object_get(json_array_get(snapshot->tablespaces, last), "volumes");
    if (json_array_append_new(volumes, json_string(name)))
        return error_no_memory(err);
    return snapshot_add_object(snapshot, name, object, plain_bytes, err);
}

static int begin_archive(const struct base_backup_tablespace *tablespace, void *context,
                         struct error *err)
{
    struct snapshot *snapshot = context;
    char name[16] = "base";
    if (tablespace->oid)
        snprintf(name, sizeof(name), "%u", tablespace->oid);
    json_t *entry = json_pack("{s:I, s:s, s:[]}", "oid", (json_int_t)tablespace->oid, "location",
                              tablespace->location, "volumes");
    if (json_array_append_new(snapshot->tablespaces, entry))
        return error_set(err, ERR_FAILED, "the location of tablespace %u is not UTF-8",
                         tablespace->oid);
    return cutter_new(snapshot->store, snapshot->making.prefix, name, &snapshot->options,
                      SNAPSHOT_VOLUME_BYTES, take_volume, snapshot, &snapshot->cutter, err);
}

static int take_archive(const void *data, size_t length, void *context, struct error *err)
{
    struct snapshot *snapshot = context;
    atomic_fetch_add(&snapshot->bytes_done, (long long)length);
    return cutter_add(snapshot->cutter, data, length, err);
}

static int end_archive(void *context, struct error *err)
{
    struct snapshot *snapshot = context;
    int rc = cutter_end(snapshot->cutter, err);
    snapshot->cutter = cutter_free(snapshot->cutter);
    return rc;
}

static int take_manifest(const void *data, size_t length, void *context, struct error *err)
{
    struct snapshot *snapshot = context;
    char key[STORE_KEY_MAX + 1];
    int rc = 0;
    making_key(&snapshot->making, SERVER_MANIFEST, key);
    if (!snapshot->manifest)
        rc = volume_create(snapshot->store, key, VOLUME_PLAIN, &snapshot->options,
                           &snapshot->manifest, err);
    return rc ? rc : volume_data(snapshot->manifest, data, length, err);
}

static void take_warning(const char *text, void *context)
{
    struct snapshot *snapshot = context;
    if (snapshot->warnings++ < SNAPSHOT_WARNINGS_MAX)
        snapshot_notice(snapshot, "the server warns: %s", text);
}

static int end_manifest(struct snapshot *snapshot, struct error *err)
{
    struct store_object object;
    if (!snapshot->manifest)
        return error_set(err, ERR_FAILED, "the server sent no backup_manifest");
    int64_t plain = volume_plain(snapshot->manifest);
    int rc = volume_commit(snapshot->manifest, &object, err);
    return rc ? rc : snapshot_add_object(snapshot, SERVER_MANIFEST, &object, plain, err);
}

static int receive(struct snapshot *snapshot, struct error *err)
{
    static const struct base_backup_receiver receiver = {
        .started = take_start,
        .archive_begin = begin_archive,
        .archive_data = take_archive,
        .archive_end = end_archive,
        .manifest_data = take_manifest,
        .warning = take_warning,
    };
    const struct work *work = snapshot->work;
    char label[256];
    snprintf(label, sizeof(label), "pgcairn %.63s/%.100s %s", work->policy->cluster,
             work->job->name, snapshot->making.started.id);
    int rc = pg_base_backup(snapshot->conn, label, &receiver, snapshot, &snapshot->end, err);
    return rc ? rc : end_manifest(snapshot, err);
}

static void give_up(void *abort)
{
    pg_abort(abort);
}

int snapshot_receive(void *argument, struct error *err)
{
    struct snapshot *snapshot = argument;
    int guard = crew_guard(snapshot->crew, give_up, &snapshot->abort);
    int rc = guard >= 0 ? receive(snapshot, err) : 0;
    crew_unguard(snapshot->crew, guard);
    return rc;
}
