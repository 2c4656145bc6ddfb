/* One backup: its manifest is the one that was written, everything it speaks of is listed and
 * stored with its size, and every object is what it says. */
#include "work/verify_backup.h"

#include <string.h>

#include "base/json.h"
#include "repository/evidence.h"
#include "repository/manifest.h"

static const struct {
    enum backup_kind kind;
    int (*prepare)(struct verify_backup *backup, struct error *err);
    int (*check)(struct verify_backup *backup, struct verify_object *object, struct error *err);
    int (*complete)(struct verify_backup *backup, struct error *err);
    int (*consequence)(const struct verify_backup *backup, const char *name,
                       char text[VERIFY_TEXT_MAX], struct error *err);
} KINDS[] = {
    [BACKUP_DUMP] = {BACKUP_DUMP, verify_dump_prepare, verify_dump_object, verify_dump_complete,
                     verify_dump_consequence},
    [BACKUP_SNAPSHOT] = {BACKUP_SNAPSHOT, verify_snapshot_prepare, verify_snapshot_object,
                         verify_snapshot_complete, verify_snapshot_consequence},
};

static void backup_clear(struct verify_backup *backup)
{
    json_decref(backup->manifest);
    free(backup->objects);
    free(backup->tables);
    free(backup->wal_is_there);
    file_list_clear(&backup->files);
}

static int note(struct verify_backup *backup, const char *name, const char *key, int64_t byte,
                const char *table, const struct error *reason, struct error *err)
{
    char consequence[VERIFY_TEXT_MAX] = "";
    int rc = KINDS[backup->item->backup->kind].consequence(backup, name, consequence, err);
    const struct verify_finding finding = {.item = backup->item,
                                           .object = key,
                                           .byte = byte,
                                           .table = table,
                                           .consequence = consequence};
    return rc ? rc : verify_note(backup->verifying, &finding, reason, NULL, err);
}

/* -- the manifest ---------------------------------------------------------------------------- */

static int manifest_fault(struct verify_backup *backup, const struct error *reason,
                          struct error *err)
{
    return note(backup, "manifest.json", backup->manifest_key, -1, NULL, reason, err);
}

/* A reference to what is no object. */
static int lists_nowhere(struct verify_backup *backup, const char *name, struct error *err)
{
    struct error reason = ERROR_NONE;
    error_set(&reason, ERR_CORRUPT, "it speaks of \"%s\", and lists no such object", name);
    return manifest_fault(backup, &reason, err);
}

static int check_reference(struct verify_backup *backup, const char *name, struct error *err)
{
    return !name || !name[0] || verify_find_object(backup, name) ? 0
                                                                 : lists_nowhere(backup, name, err);
}

static int check_volumes(struct verify_backup *backup, const json_t *entry, struct error *err)
{
    size_t i;
    json_t *volume;
    int rc = 0;
    json_array_foreach(json_object_get(entry, "volumes"), i, volume)
    {
        if (!rc)
            rc = check_reference(backup, json_string_value(volume), err);
    }
    return rc;
}

static int check_database(struct verify_backup *backup, const json_t *database, struct error *err)
{
    static const char *const NAMES[] = {"schema", "sequences", "large_objects"};
    size_t i;
    json_t *table;
    int rc = 0;
    for (i = 0; i < ARRAY_SIZE(NAMES) && !rc; i++)
        rc = check_reference(backup, json_text(database, NAMES[i]), err);
    json_array_foreach(json_object_get(database, "tables"), i, table)
    {
        if (!rc)
            rc = check_volumes(backup, table, err);
    }
    return rc;
}

static int check_references(struct verify_backup *backup, struct error *err)
{
    const json_t *globals = json_object_get(backup->manifest, "globals");
    size_t i;
    json_t *entry;
    int rc = check_reference(backup, json_text(globals, "object"), err);
    json_array_foreach(json_object_get(backup->manifest, "databases"), i, entry)
    {
        if (!rc)
            rc = check_database(backup, entry, err);
    }
    json_array_foreach(json_object_get(backup->manifest, "tablespaces"), i, entry)
    {
        if (!rc)
            rc = check_volumes(backup, entry, err);
    }
    if (!rc && backup->item->backup->kind == BACKUP_SNAPSHOT)
        rc = check_reference(backup, "backup_manifest", err);
    return rc;
}

/* That it is the one which was written, as far as that is known. */
static int compare_hash(struct verify_backup *backup, const char *sha256, struct error *err)
{
    struct verifying *verifying = backup->verifying;
    struct proof_backup *known;
    struct error reason = ERROR_NONE;
    int rc = proof_add(&verifying->proof, backup->item->backup->kind, backup->item->backup->id,
                       &known, err);
    if (rc)
        return rc;
    if (!known->manifest_sha256[0]) {
        snprintf(known->manifest_sha256, sizeof(known->manifest_sha256), "%s", sha256);
        return 0;
    }
    if (strcmp(known->manifest_sha256, sha256) == 0)
        return 0;
    error_set(&reason, ERR_CORRUPT,
              "it is not the one that was written: its SHA-256 is %.16s..., the evidence has "
              "%.16s...",
              sha256, known->manifest_sha256);
    return manifest_fault(backup, &reason, err);
}

static int compare_objects(const void *a, const void *b)
{
    const struct verify_object *x = a, *y = b;
    return strcmp(x->name, y->name);
}

struct verify_object *verify_find_object(const struct verify_backup *backup, const char *name)
{
    struct verify_object key = {.name = name};
    return backup->object_count == 0
               ? NULL
               : bsearch(&key, backup->objects, backup->object_count, sizeof(key), compare_objects);
}

static int take_object(struct verify_backup *backup, const json_t *entry, struct error *err)
{
    struct verify_object *object = &backup->objects[backup->object_count];
    const char *sha256;
    int64_t size;
    int rc = json_take_text(entry, "name", &object->name, err);
    if (!rc)
        rc = json_take_text(entry, "sha256", &sha256, err);
    if (!rc)
        rc = json_take_integer(entry, "size", &size, err);
    if (!rc)
        rc = json_take_integer(entry, "plain_bytes", &object->plain_bytes, err);
    if (!rc && strlen(backup->folder) + strlen(object->name) > STORE_KEY_MAX)
        rc = error_set(err, ERR_CORRUPT, "it lists an object with a name that is too long");
    if (rc)
        return rc;
    object->expected = (struct store_object){.size = size};
    snprintf(object->expected.sha256, sizeof(object->expected.sha256), "%s", sha256);
    snprintf(object->key, sizeof(object->key), "%.*s%.*s", (int)strlen(backup->folder),
             backup->folder, (int)strlen(object->name), object->name);
    backup->object_count++;
    return 0;
}

static int take_objects(struct verify_backup *backup, struct error *err)
{
    const json_t *list = json_object_get(backup->manifest, "objects");
    size_t i;
    json_t *entry;
    int rc = 0;
    backup->objects = calloc(json_array_size(list) + 1, sizeof(*backup->objects));
    if (!backup->objects)
        return error_no_memory(err);
    json_array_foreach(list, i, entry)
    {
        if (!rc)
            rc = take_object(backup, entry, err);
    }
    qsort(backup->objects, backup->object_count, sizeof(*backup->objects), compare_objects);
    return rc;
}

/* *ret_usable: the objects can be looked for. */
static int check_manifest(struct verify_backup *backup, bool *ret_usable, struct error *err)
{
    struct repository *repository = backup->verifying->request->repository;
    const struct facts_backup *facts = backup->item->backup;
    struct error reason = ERROR_NONE;
    char sha256[SHA256_HEX + 1];
    backup->verifying->report->objects++;
    *ret_usable = false;
    int rc = manifest_read_hashed(repository, facts->kind, facts->id, &backup->manifest, sha256,
                                  &reason);
    if (!rc)
        rc = take_objects(backup, &reason);
    if (rc)
        return manifest_fault(backup, &reason, err);
    *ret_usable = true;
    rc = compare_hash(backup, sha256, err);
    return rc ? rc : check_references(backup, err);
}

/* -- the listing ----------------------------------------------------------------------------- */

int verify_object_fault(struct verify_backup *backup, struct verify_object *object, int64_t byte,
                        const char *table, const struct error *reason, struct error *err)
{
    if (reason->code != ERR_INTERRUPTED)
        object->has_fault = true;
    return note(backup, object->name, object->key, byte, table, reason, err);
}

static int cross_off(const struct store_object *stored, void *context, struct error *err)
{
    struct verify_backup *backup = context;
    struct verify_object *object = verify_find_object(backup, stored->key + strlen(backup->folder));
    struct error reason = ERROR_NONE;
    if (!object)
        return 0;
    object->is_listed = true;
    if (stored->size == object->expected.size)
        return 0;
    error_set(&reason, ERR_CORRUPT, "it has %lld bytes, %lld were stored", (long long)stored->size,
              (long long)object->expected.size);
    return verify_object_fault(backup, object, -1, NULL, &reason, err);
}

static int check_listing(struct verify_backup *backup, struct error *err)
{
    int rc = store_list(backup->verifying->request->repository->store, backup->folder, false,
                        cross_off, backup, err);
    for (size_t i = 0; i < backup->object_count && !rc; i++) {
        struct error reason = ERROR_NONE;
        backup->verifying->report->objects++;
        if (backup->objects[i].is_listed)
            continue;
        error_set(&reason, ERR_NOT_FOUND, "it is not listed");
        rc = verify_object_fault(backup, &backup->objects[i], -1, NULL, &reason, err);
    }
    return rc;
}

/* -- the objects ----------------------------------------------------------------------------- */

static int compare_plain(const struct verify_object *object, int64_t plain_bytes,
                         struct error *reason)
{
    if (plain_bytes == object->plain_bytes)
        return 0;
    return error_set(reason, ERR_CORRUPT, "it unpacks to %lld bytes, %lld were packed",
                     (long long)plain_bytes, (long long)object->plain_bytes);
}

/* What is damaged is better told by its hash than by what its bytes happened to turn into. */
int verify_object_end(struct verify_backup *backup, struct verify_object *object,
                      struct volume_reader *reader, int64_t plain_bytes, const char *table,
                      const struct error *reason, struct error *err)
{
    struct error ended = *reason;
    int64_t stored = reader ? volume_read_stored(reader) : 0;
    int64_t byte = reason->code == ERR_CORRUPT ? stored : -1;
    if (!ended.code && !volume_read_finish(reader, &ended))
        compare_plain(object, plain_bytes, &ended);
    if (reader)
        atomic_fetch_add(&backup->verifying->bytes_done, volume_read_stored(reader) - stored);
    return ended.code ? verify_object_fault(backup, object, byte, table, &ended, err) : 0;
}

static int count_bytes(void *context, const void *data, size_t length, struct error *err)
{
    (void)data, (void)err;
    *(int64_t *)context += (int64_t)length;
    return 0;
}

int verify_stream(struct verify_backup *backup, struct verify_object *object, enum volume_kind kind,
                  struct error *err)
{
    struct store *store = backup->verifying->request->repository->store;
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    struct error reason = ERROR_NONE;
    const char *name;
    int64_t size, plain_bytes = 0, reported = 0;
    int rc = volume_read_open(store, object->key, kind, &object->expected, &reader, &reason);
    if (!rc)
        rc = volume_next(reader, &name, &size, &reason);
    if (!rc)
        verify_read(backup->verifying, reader, &reported, count_bytes, &plain_bytes, &reason);
    return verify_object_end(backup, object, reader, plain_bytes, NULL, &reason, err);
}

static int check_object(void *context, size_t index, struct error *err)
{
    struct verify_backup *backup = context;
    struct verify_object *object = &backup->objects[index];
    return object->has_fault ? 0 : KINDS[backup->item->backup->kind].check(backup, object, err);
}

static int check_objects(struct verify_backup *backup, struct error *err)
{
    enum backup_kind kind = backup->item->backup->kind;
    int rc = KINDS[kind].prepare(backup, err);
    if (!rc)
        rc = verify_each(backup->verifying, backup->object_count, check_object, backup, err);
    return rc ? rc : KINDS[kind].complete(backup, err);
}

/* -- the whole ------------------------------------------------------------------------------- */

int verify_backup(struct verifying *verifying, struct verify_item *item, struct error *err)
{
    _cleanup_(backup_clear) struct verify_backup backup = {
        .verifying = verifying, .item = item, .files = FILE_LIST_INIT};
    struct repository *repository = verifying->request->repository;
    const struct facts_backup *facts = item->backup;
    bool is_usable = false;
    snprintf(verifying->phase, sizeof(verifying->phase), "verifying %s", facts->id);
    int rc = repository_backup_key(repository, facts->kind, facts->id, NULL, backup.folder, err);
    if (!rc)
        rc = repository_backup_key(repository, facts->kind, facts->id, "manifest.json",
                                   backup.manifest_key, err);
    if (!rc && facts->kind == BACKUP_SNAPSHOT)
        rc = verify_snapshot_loss(verifying, facts, backup.loss, err);
    if (!rc)
        rc = check_manifest(&backup, &is_usable, err);
    if (!rc && is_usable)
        rc = check_listing(&backup, err);
    if (!rc && is_usable && item->level > 1)
        rc = check_objects(&backup, err);
    return rc;
}

/* Made, as the evidence says, and not removed; but without a manifest it is no backup any more. It
 * is told as long as something is left of it, and once when nothing is. */
static int report_vanished(struct verifying *verifying, const struct proof_backup *known,
                           bool has_remains, struct error *err)
{
    char key[STORE_KEY_MAX + 1];
    struct verify_finding finding = {
        .id = known->id,
        .object = key,
        .byte = -1,
        .consequence = known->kind == BACKUP_DUMP ? "nothing can be restored from this dump"
                                                  : "recovery can't begin with this snapshot"};
    int rc = repository_backup_key(verifying->request->repository, known->kind, known->id,
                                   "manifest.json", key, err);
    return rc ? rc
              : verify_fault(verifying, &finding, NULL, err,
                             "it is not there, and nothing tells that the %s was removed%s",
                             backup_kind_name(known->kind),
                             has_remains ? ": its other objects are garbage without it" : "");
}

static bool is_there(const struct facts_backup *backup)
{
    return backup && (backup->state == BACKUP_GOOD || backup->state == BACKUP_DAMAGED ||
                      backup->state == BACKUP_UNKNOWN);
}

int verify_vanished(struct verifying *verifying, struct error *err)
{
    const char *wanted = verifying->request->backup;
    struct proof *proof = &verifying->proof;
    const struct facts *facts = &verifying->facts;
    _cleanup_(freep) const struct facts_backup **found =
        calloc(proof->backup_count + 1, sizeof(*found));
    int rc = found ? 0 : error_no_memory(err);
    for (size_t i = 0; i < facts->backup_count && !rc; i++) {
        const struct proof_backup *known = proof_find(proof, facts->backups[i].id);
        if (known)
            found[known - proof->backups] = &facts->backups[i];
    }
    for (size_t i = proof->backup_count; i-- > 0 && !rc;) {
        const struct proof_backup *known = &proof->backups[i];
        if (is_there(found[i]) || (wanted && strcmp(wanted, known->id) != 0))
            continue;
        rc = report_vanished(verifying, known, found[i] != NULL, err);
        if (!rc && !found[i])
            proof_forget(proof, known->id);
    }
    return rc;
}
