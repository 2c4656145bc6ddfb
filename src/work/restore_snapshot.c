/* A restore of a snapshot: choose it by the target, check everything first, and only then make a
 * data directory. */
#include "work/restore_snapshot.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "repository/catalogue.h"
#include "repository/manifest.h"
#include "repository/wal.h"

static void restore_clear(struct snapshot_restore *restore)
{
    crew_free(restore->crew);
    facts_clear(&restore->facts);
    facts_wal_clear(&restore->wal);
    json_decref(restore->manifest);
    file_list_clear(&restore->files);
    for (size_t i = 0; i < restore->place_count; i++)
        free(restore->places[i].folder);
    free(restore->places);
    free(restore->pieces);
    json_decref(restore->done);
    json_decref(restore->notices);
    pthread_mutex_destroy(&restore->mutex);
}

void snapshot_restore_notice(struct snapshot_restore *restore, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (restore->request->notice)
        restore->request->notice(text, restore->request->context);
    json_array_append_new(restore->notices, json_string(text));
}

/* -- which snapshot -------------------------------------------------------------------------------
 */

/* The system whose WAL matters: that of the snapshot that was named, else of the newest one that
 * ended before the target. Another server may have been adopted since. */
static const char *find_system(const struct snapshot_restore *restore)
{
    const struct reach_target *target = &restore->request->target;
    const struct facts_backup *found = NULL;
    for (size_t i = 0; i < restore->facts.backup_count; i++) {
        const struct facts_backup *backup = &restore->facts.backups[i];
        bool is_named = target->backup_id && strcmp(backup->id, target->backup_id) == 0;
        if (backup->kind != BACKUP_SNAPSHOT || !backup->position.system_identifier[0] ||
            (target->backup_id && !is_named))
            continue;
        bool is_late = target->kind == REACH_TIME && backup->position.stopped_us > target->time_us;
        if (!found || (!is_late && backup->position.stopped_us > found->position.stopped_us))
            found = backup;
    }
    return found ? found->position.system_identifier : "";
}

static int read_facts(struct snapshot_restore *restore, struct error *err)
{
    struct repository *repository = restore->request->repository;
    int rc = catalogue_read(repository, instant_now_us(), &restore->facts, err);
    if (rc)
        return rc;
    const char *system = find_system(restore);
    if (!system[0])
        return 0;
    struct error reason = ERROR_NONE;
    rc = wal_facts_read(repository, system, &restore->wal, &reason);
    restore->has_wal = !rc;
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc && err)
        *err = reason;
    return rc;
}

static int choose(struct snapshot_restore *restore, struct error *err)
{
    const struct restore_snapshot_request *request = restore->request;
    int rc = read_facts(restore, err);
    if (!rc)
        rc = reach_choose(&restore->facts, restore->has_wal ? &restore->wal : NULL,
                          &request->target, instant_now_us(), &restore->choice, err);
    if (rc)
        return rc;
    const struct facts_backup *anchor = restore->choice.anchor;
    if (!restore->choice.has_wal && restore->has_wal)
        restore->has_wal = request->standby;
    if (!restore->has_wal && request->target.kind != REACH_IMMEDIATE && !request->standby)
        snapshot_restore_notice(restore,
                                "no WAL behind snapshot %s is in the repository: the cluster comes "
                                "back as it was when the snapshot ended",
                                anchor->id);
    if (anchor->state == BACKUP_DAMAGED)
        snapshot_restore_notice(restore,
                                "warning: the server had blocks with wrong checksums when snapshot "
                                "%s was taken (pgcairn show)",
                                anchor->id);
    return manifest_read(request->repository, BACKUP_SNAPSHOT, anchor->id, &restore->manifest, err);
}

/* -- what goes where ------------------------------------------------------------------------------
 */

/* Where --tablespace puts a folder; NULL: where it was. */
static const char *find_moved(const struct strv *tablespaces, const char *location)
{
    size_t length = strlen(location);
    for (size_t i = 0; i < tablespaces->count; i++)
        if (strncmp(tablespaces->items[i], location, length) == 0 &&
            tablespaces->items[i][length] == '=')
            return tablespaces->items[i] + length + 1;
    return NULL;
}

static int take_place(struct snapshot_restore *restore, const json_t *entry, struct error *err)
{
    struct restore_place place = {.oid = (uint32_t)json_number(entry, "oid"),
                                  .location = json_text(entry, "location")};
    char under[RESTORE_PATH_MAX];
    const char *folder = place.oid == 0 ? restore->request->folder : place.location;
    const char *moved =
        place.oid ? find_moved(restore->request->tablespaces, place.location) : NULL;
    if (place.oid && restore->request->tablespaces_under) {
        snprintf(under, sizeof(under), "%s/%u", restore->request->tablespaces_under, place.oid);
        moved = under;
    }
    if (moved)
        folder = moved;
    if (folder[0] != '/' || strlen(folder) > RESTORE_PATH_MAX / 2)
        return error_set(err, ERR_USAGE, "\"%s\" is no absolute path of a folder", folder);
    place.is_moved = moved && strcmp(moved, place.location) != 0;
    place.folder = strdup(folder);
    if (!place.folder)
        return error_no_memory(err);
    /* The data directory is the first. */
    size_t index = restore->place_count++;
    if (place.oid == 0 && index > 0) {
        restore->places[index] = restore->places[0];
        index = 0;
    }
    restore->places[index] = place;
    return 0;
}

/* A mapping of a tablespace that the snapshot does not have is a mistake. */
static int check_moves(const struct snapshot_restore *restore, struct error *err)
{
    const struct strv *moves = restore->request->tablespaces;
    for (size_t i = 0; i < moves->count; i++) {
        bool is_used = false;
        for (size_t p = 0; p < restore->place_count; p++) {
            size_t length = strlen(restore->places[p].location);
            is_used =
                is_used || (length > 0 && moves->items[i][length] == '=' &&
                            strncmp(moves->items[i], restore->places[p].location, length) == 0);
        }
        if (is_used)
            continue;
        error_set(err, ERR_USAGE, "--tablespace %s: the snapshot has no tablespace in that folder",
                  moves->items[i]);
        return error_hint(err, "\"pgcairn show %s %s\" lists them",
                          restore->request->policy->cluster, restore->choice.anchor->id);
    }
    return 0;
}

static int take_places(struct snapshot_restore *restore, struct error *err)
{
    const json_t *list = json_object_get(restore->manifest, "tablespaces");
    size_t i;
    json_t *entry;
    int rc = 0;
    restore->places = calloc(json_array_size(list) + 1, sizeof(*restore->places));
    if (!restore->places)
        return error_no_memory(err);
    json_array_foreach(list, i, entry)
    {
        if (!rc)
            rc = take_place(restore, entry, err);
    }
    if (!rc && (restore->place_count == 0 || restore->places[0].oid != 0))
        rc = error_set(err, ERR_CORRUPT, "the manifest of %s names no data directory",
                       restore->choice.anchor->id);
    return rc ? rc : check_moves(restore, err);
}

static int compare_pieces(const void *a_pointer, const void *b_pointer)
{
    const struct restore_piece *a = a_pointer, *b = b_pointer;
    if (a->expected.size != b->expected.size)
        return a->expected.size < b->expected.size ? 1 : -1;
    return strcmp(a->name, b->name);
}

static int take_piece(struct snapshot_restore *restore, const struct restore_place *place,
                      const char *name, struct error *err)
{
    const json_t *object = name ? manifest_object(restore->manifest, name) : NULL;
    if (!object)
        return error_set(err, ERR_CORRUPT, "the manifest of %s does not list volume %s",
                         restore->choice.anchor->id, name ? name : "(no name)");
    struct restore_piece *piece = &restore->pieces[restore->piece_count++];
    *piece = (struct restore_piece){.place = place,
                                    .name = name,
                                    .expected.size = json_number(object, "size"),
                                    .plain_bytes = json_number(object, "plain_bytes")};
    snprintf(piece->expected.sha256, sizeof(piece->expected.sha256), "%s",
             json_text(object, "sha256"));
    restore->bytes_total += piece->plain_bytes;
    restore->bytes_stored += piece->expected.size;
    return 0;
}

static const struct restore_place *find_place(const struct snapshot_restore *restore, uint32_t oid)
{
    size_t i = 0;
    while (restore->places[i].oid != oid)
        i++;
    return &restore->places[i];
}

static int take_pieces(struct snapshot_restore *restore, struct error *err)
{
    size_t i, v;
    json_t *entry, *volume;
    int rc = 0;
    restore->pieces = calloc(json_array_size(json_object_get(restore->manifest, "objects")) + 1,
                             sizeof(*restore->pieces));
    if (!restore->pieces)
        return error_no_memory(err);
    json_array_foreach(json_object_get(restore->manifest, "tablespaces"), i, entry)
    {
        const struct restore_place *place =
            find_place(restore, (uint32_t)json_number(entry, "oid"));
        json_array_foreach(json_object_get(entry, "volumes"), v, volume)
        {
            if (!rc)
                rc = take_piece(restore, place, json_string_value(volume), err);
        }
    }
    qsort(restore->pieces, restore->piece_count, sizeof(*restore->pieces), compare_pieces);
    return rc;
}

static void take_modes(struct snapshot_restore *restore)
{
    bool is_group = strcmp(json_text(restore->manifest, "folder_mode"), "0750") == 0;
    restore->folder_mode = is_group ? 0750 : 0700;
    restore->file_mode = is_group ? 0640 : 0600;
}

/* -- the plan, for people and programs ------------------------------------------------------------
 */

static json_t *pack_target(const struct reach_target *target)
{
    static const char *const kinds[] = {"end", "time", "lsn", "xid", "name", "immediate"};
    char lsn[WAL_LSN_TEXT_MAX];
    json_t *json = json_pack("{s:s}", "kind", kinds[target->kind]);
    if (target->kind == REACH_TIME)
        json_object_set_new(json, "time", json_instant_micros(target->time_us));
    if (target->kind == REACH_LSN)
        json_object_set_new(json, "lsn", json_string(wal_lsn_format(target->lsn, lsn)));
    if (target->text)
        json_object_set_new(json, target->kind == REACH_XID ? "xid" : "name",
                            json_string(target->text));
    return json;
}

static json_t *pack_wal(const struct snapshot_restore *restore)
{
    const struct reach_choice *choice = &restore->choice;
    char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
    if (!restore->has_wal || !choice->has_wal || restore->request->target.kind == REACH_IMMEDIATE)
        return json_null();
    return json_pack("{s:s, s:s, s:I, s:I}", "first", wal_name_format(&choice->first, first),
                     "last", wal_name_format(&choice->last, last), "segments",
                     (json_int_t)choice->segments, "bytes_stored", (json_int_t)choice->bytes);
}

static json_t *pack_places(const struct snapshot_restore *restore)
{
    json_t *list = json_array();
    for (size_t i = 1; i < restore->place_count; i++)
        json_array_append_new(list, json_pack("{s:I, s:s, s:s}", "oid",
                                              (json_int_t)restore->places[i].oid, "location",
                                              restore->places[i].location, "folder",
                                              restore->places[i].folder));
    return list;
}

static int64_t estimate_seconds(const struct snapshot_restore *restore, const json_t *wal)
{
    int64_t segments = json_is_object(wal) ? restore->choice.segments : 0;
    return restore->bytes_total / RESTORE_BYTES_PER_SECOND + 1 +
           segments / RESTORE_SEGMENTS_PER_SECOND;
}

static int make_report(struct snapshot_restore *restore, json_t **ret_report, struct error *err)
{
    const struct restore_snapshot_request *request = restore->request;
    const struct facts_position *position = &restore->choice.anchor->position;
    const json_t *server = json_object_get(restore->manifest, "server");
    json_t *wal = pack_wal(restore);
    json_t *report = json_pack(
        "{s:s, s:s, s:b, s:o, s:I, s:b, s:o, s:o, s:o, s:s, s:o, s:I, s:I, s:I, s:I, s:s, s:b, s:O}",
        "cluster", request->policy->cluster, "id", restore->choice.anchor->id, "dry_run",
        request->dry_run, "target", pack_target(&request->target), "timeline",
        (json_int_t)restore->choice.timeline, "certain", restore->choice.is_certain, "stopped_at",
        json_instant_micros(position->stopped_us), "known_until",
        json_instant_micros(restore->choice.known_us), "wal", wal, "target_dir", request->folder,
        "tablespaces", pack_places(restore), "volumes", (json_int_t)restore->piece_count,
        "bytes_stored", (json_int_t)restore->bytes_stored, "bytes",
        (json_int_t)restore->bytes_total, "estimated_seconds",
        (json_int_t)estimate_seconds(restore, wal), "server_version", json_text(server, "version"),
        "standby", request->standby, "notices", restore->notices);
    if (!report)
        return error_no_memory(err);
    *ret_report = report;
    return 0;
}

/* -- the whole ------------------------------------------------------------------------------------
 */

static int plan(struct snapshot_restore *restore, struct error *err)
{
    int rc = choose(restore, err);
    if (!rc)
        rc = take_places(restore, err);
    if (!rc)
        rc = take_pieces(restore, err);
    if (rc)
        return rc;
    take_modes(restore);
    return restore_check_folders(restore, err);
}

/* A server that keeps its configuration elsewhere has not sent it. */
static void note_missing_settings(struct snapshot_restore *restore)
{
    if (!file_list_find(&restore->files, "postgresql.conf"))
        snapshot_restore_notice(restore,
                                "the server kept its postgresql.conf outside its data directory: "
                                "name it when you start the server (-c config_file=...)");
}

/* The server's user must be able to read the policy for its restore_command. */
static void note_unreadable_policy(struct snapshot_restore *restore)
{
    struct stat status;
    const char *file = restore->request->policy->file;
    if (!restore->has_wal || restore->owner == geteuid() || stat(file, &status) != 0)
        return;
    if (status.st_uid != restore->owner && !(status.st_mode & S_IROTH) &&
        !(status.st_gid == restore->group && (status.st_mode & S_IRGRP)))
        snapshot_restore_notice(restore,
                                "warning: the owner of \"%s\" can't read \"%s\", which "
                                "restore_command needs",
                                restore->request->folder, file);
}

/* Secrets are not written into the server's settings. */
static void note_missing_keys(struct snapshot_restore *restore)
{
    const struct policy *policy = restore->request->policy;
    const char *key = getenv("AWS_SECRET_ACCESS_KEY");
    if (restore->has_wal && restore_uses_s3(restore) && key && key[0] && !policy->s3.profile &&
        !policy->s3.secret_access_key)
        snapshot_restore_notice(restore,
                                "warning: restore_command needs the keys of %s: give them to the "
                                "server's environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) "
                                "or to the credentials file of its user",
                                policy->repository_url);
}

static int restore_all(struct snapshot_restore *restore, struct error *err)
{
    int rc = restore_read_list(restore, err);
    if (!rc)
        rc = restore_make_folders(restore, err);
    if (!rc)
        rc = restore_files(restore, err);
    if (!rc)
        rc = restore_recovery(restore, err);
    if (!rc)
        rc = restore_publish(restore, err);
    if (!rc)
        rc = restore_remove_mark(restore, err);
    if (rc)
        return rc;
    note_missing_settings(restore);
    note_unreadable_policy(restore);
    note_missing_keys(restore);
    return 0;
}

int restore_snapshot(const struct restore_snapshot_request *request, json_t **ret_report,
                     struct error *err)
{
    _cleanup_(restore_clear) struct snapshot_restore restore = {
        .request = request,
        .files = FILE_LIST_INIT,
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .done = json_array(),
        .notices = json_array(),
    };
    int rc = plan(&restore, err);
    if (!rc && !request->dry_run)
        rc = restore_all(&restore, err);
    return rc ? rc : make_report(&restore, ret_report, err);
}
