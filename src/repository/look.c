#include "repository/look.h"

#include <string.h>

#include "base/json.h"
#include "repository/backup.h"
#include "repository/catalogue.h"
#include "repository/locks.h"
#include "repository/manifest.h"

static int note_run(const struct lock_holder *holder, void *context, struct error *err)
{
    struct look *look = context;
    if (holder->class == LOCK_DUMP || holder->class == LOCK_SNAPSHOT)
        look->backup_is_made = true;
    return holder->run_id[0] ? strv_add(&look->runs, holder->run_id, err) : 0;
}

int look_init(struct look *look, struct repository *repository, int64_t now_us, struct error *err)
{
    *look =
        (struct look){.repository = repository, .now_us = now_us, .runs = STRV_INIT(LOOK_RUNS_MAX)};
    look->may_be_protected = repository_may_lock(repository);
    struct error reason = ERROR_NONE;
    int rc = lock_list(repository, note_run, look, &reason);
    if (rc == ERR_UNKNOWN) {
        look->locks_unreadable = true;
        snprintf(look->problem, sizeof(look->problem), "%s", reason.message);
        return 0;
    }
    if (rc && err)
        *err = reason;
    return rc;
}

void look_clear(struct look *look)
{
    strv_clear(&look->runs);
}

/* Errors that say nothing about the one thing that is looked at, but that looking is over. */
static bool ends_everything(int rc)
{
    return rc == ERR_MEMORY || rc == ERR_CONNECTION || rc == ERR_AUTH || rc == ERR_INTERRUPTED;
}

/* Keeps what was wrong with the one backup; *backup stays UNKNOWN. */
static int unknown(struct look *look, const struct error *reason, struct error *err)
{
    if (ends_everything(reason->code)) {
        if (err)
            *err = *reason;
        return reason->code;
    }
    memcpy(look->problem, reason->message, sizeof(look->problem));
    return 0;
}

struct remains {
    const char *prefix;
    struct facts_backup *backup;
    size_t count;
    struct store_object newest; /* of the data: the one that is locked longest */
};

static bool is_started(const char *key, size_t prefix_length)
{
    return strcmp(key + prefix_length, "started.json") == 0;
}

/* Until when the object can't be deleted, as far as the store tells. */
static int read_object_lock(struct look *look, const char *key, struct facts_backup *backup,
                            struct error *err)
{
    struct store_object object;
    if (!look->may_be_protected)
        return 0;
    int rc = store_stat(look->repository->store, key, &object, err);
    if (!rc)
        backup->locked_until_us = object.locked_until_us;
    return rc == ERR_NOT_FOUND ? 0 : rc; /* deleted meanwhile */
}

static int note_remains(const struct store_object *object, void *context, struct error *err)
{
    (void)err;
    struct remains *remains = context;
    struct facts_backup *backup = remains->backup;
    if (strncmp(object->key, remains->prefix, strlen(remains->prefix)) != 0)
        return 0;
    remains->count++;
    backup->bytes_stored += object->size;
    if (!is_started(object->key, strlen(remains->prefix)) &&
        (!remains->newest.key[0] || object->modified_us > remains->newest.modified_us))
        remains->newest = *object;
    if (object->modified_us > backup->newest_us)
        backup->newest_us = object->modified_us;
    return 0;
}

/* Sizes and ages of everything in the folder of a backup without manifest, and of the writes into
 * it that never ended. */
static int read_remains(struct look *look, enum backup_kind kind, struct facts_backup *backup,
                        size_t *ret_count, struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    struct remains remains = {.prefix = prefix, .backup = backup};
    struct store *store = look->repository->store;
    int rc = repository_backup_key(look->repository, kind, backup->id, NULL, prefix, err);
    if (!rc)
        rc = store_list(store, prefix, false, note_remains, &remains, err);
    if (!rc && remains.newest.key[0])
        rc = read_object_lock(look, remains.newest.key, backup, err);
    if (!rc)
        rc = store_list_unfinished(store, INT64_MAX, note_remains, &remains, err);
    if (!rc)
        *ret_count = remains.count;
    return rc;
}

static int copy_job(const char *job, struct facts_backup *backup, struct error *err)
{
    char *copy = strdup(job);
    if (!copy)
        return error_no_memory(err);
    free(backup->job);
    backup->job = copy;
    return 0;
}

static enum backup_state judge(const struct look *look, const struct started *started,
                               const struct facts_backup *backup)
{
    bool runs = started->run_id[0] ? strv_has(&look->runs, started->run_id) : look->backup_is_made;
    if (started->removed_by > 0)
        return BACKUP_GARBAGE;
    if (runs)
        return BACKUP_RUNNING;
    if (look->locks_unreadable)
        return BACKUP_UNKNOWN;
    return look->now_us - backup->newest_us > CATALOGUE_GARBAGE_AGE_US ? BACKUP_GARBAGE
                                                                       : BACKUP_FRESH_REMAINS;
}

static int look_at_remains(struct look *look, enum backup_kind kind, struct facts_backup *backup,
                           bool *ret_found, struct error *err)
{
    struct started started = {.heartbeat_us = INSTANT_NONE};
    struct error reason = ERROR_NONE;
    size_t count = 0;
    int rc = started_read(look->repository, kind, backup->id, &started, &reason);
    if (rc == ERR_NOT_FOUND)
        rc = 0;
    else if (!rc)
        backup->started_us = started.started_us;
    backup->newest_us = started.heartbeat_us;
    if (!rc)
        rc = copy_job(started.job, backup, &reason);
    if (!rc)
        rc = read_remains(look, kind, backup, &count, &reason);
    if (rc)
        return unknown(look, &reason, err);
    *ret_found = count > 0;
    backup->state = judge(look, &started, backup);
    return 0;
}

int look_at_backup(struct look *look, enum backup_kind kind, const char *id,
                   struct facts_backup *backup, bool *ret_found, struct error *err)
{
    _cleanup_(json_release) json_t *manifest = NULL;
    struct error reason = ERROR_NONE;
    backup->kind = kind;
    backup->id = strdup(id);
    if (!backup->id)
        return error_no_memory(err);
    id_parse(id, &backup->started_us);
    *ret_found = true;
    int rc = copy_job("", backup, err);
    if (rc)
        return rc;
    rc = manifest_read(look->repository, kind, id, &manifest, &reason);
    if (rc == ERR_NOT_FOUND)
        return look_at_remains(look, kind, backup, ret_found, err);
    if (!rc)
        rc = manifest_summary(manifest, backup, &reason);
    char key[STORE_KEY_MAX + 1];
    if (!rc)
        rc = repository_backup_key(look->repository, kind, id, "manifest.json", key, &reason);
    if (!rc) /* it is written last, so its lock ends last */
        rc = read_object_lock(look, key, backup, &reason);
    if (!rc)
        backup->state = json_is_true(json_object_get(manifest, "checksums_failed")) ? BACKUP_DAMAGED
                                                                                    : BACKUP_GOOD;
    return rc ? unknown(look, &reason, err) : 0;
}
