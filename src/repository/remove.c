#include "repository/remove.h"

#include <string.h>

#include "base/json.h"
#include "repository/backup.h"
#include "repository/evidence.h"
#include "repository/holds.h"
#include "repository/look.h"

enum { REMOVE_BATCH = 1000 }; /* names held while a folder is emptied */

struct removal {
    struct repository *repository;
    struct lock *lock;
    const struct facts_backup *backup;
    const char *reason;
    const char *plan_hash;
    enum backup_state state; /* now, which may be later than the facts */
    bool gone;
    int64_t bytes;
};

/* With a manifest. */
static bool is_whole(enum backup_state state)
{
    return state == BACKUP_GOOD || state == BACKUP_DAMAGED;
}

static int refuse_state(const struct facts_backup *planned, enum backup_state state,
                        const char *problem, struct error *err)
{
    switch (state) {
    case BACKUP_RUNNING:
        return error_set(err, ERR_BUSY, "%s is being made now", planned->id);
    case BACKUP_FRESH_REMAINS:
        return error_set(err, ERR_CONFLICT, "%s is unfinished and too young to be called garbage",
                         planned->id);
    case BACKUP_UNKNOWN:
        return error_set(err, ERR_UNKNOWN, "%s is kept, it can't be read: %s", planned->id,
                         problem);
    case BACKUP_GOOD:
    case BACKUP_DAMAGED:
        if (!is_whole(planned->state))
            return error_set(err, ERR_CONFLICT, "%s was garbage and is a good backup now",
                             planned->id);
        break;
    case BACKUP_GARBAGE:
        break;
    }
    return 0;
}

/* The state may have changed since the facts were gathered: a run that was thought dead goes on, a
 * manifest has become unreadable. */
static int check_removable(struct removal *removal, int64_t now_us, struct error *err)
{
    const struct facts_backup *planned = removal->backup;
    struct facts now = {.complete = true};
    struct facts_backup *backup = NULL;
    struct look look;
    bool found = false;
    int rc = look_init(&look, removal->repository, now_us, err);
    if (!rc)
        rc = facts_add_backup(&now, &backup, err);
    if (!rc)
        rc = look_at_backup(&look, planned->kind, planned->id, backup, &found, err);
    look_clear(&look);
    if (!rc && found) {
        removal->state = backup->state;
        rc = refuse_state(planned, backup->state, look.problem, err);
    }
    removal->gone = !found;
    facts_clear(&now);
    return rc;
}

static json_t *pack_tombstone(const struct removal *removal)
{
    const struct facts_backup *backup = removal->backup;
    json_t *databases = json_array();
    for (size_t i = 0; backup->databases && backup->databases[i]; i++)
        json_array_append_new(databases, json_string(backup->databases[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:o, s:s, s:s}", "id", backup->id, "kind",
                     backup_kind_name(backup->kind), "job", backup->job ? backup->job : "", "state",
                     backup_state_name(removal->state), "started_at",
                     json_instant(backup->started_us), "completed_at",
                     json_instant(backup->completed_us), "bytes_stored",
                     (json_int_t)backup->bytes_stored, "databases", databases, "reason",
                     removal->reason, "plan_hash", removal->plan_hash);
}

/* The evidence first, then its number in started.json: from here on what lacks a manifest is
 * garbage at once. A started.json that is missing or damaged is made anew. */
static int write_tombstone(struct removal *removal, struct error *err)
{
    const struct facts_backup *backup = removal->backup;
    struct started started = {.kind = backup->kind};
    struct evidence_tip tip;
    int rc = started_read(removal->repository, backup->kind, backup->id, &started, err);
    if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT) {
        started = (struct started){
            .kind = backup->kind,
            .started_us = backup->started_us,
            .heartbeat_us = backup->started_us,
        };
        memcpy(started.id, backup->id, ID_SIZE);
        snprintf(started.job, sizeof(started.job), "%s", backup->job ? backup->job : "");
        rc = 0;
    }
    if (rc || (started.removed_by > 0 && removal->state == BACKUP_GARBAGE))
        return rc; /* an earlier removal goes on */
    rc = evidence_add(removal->repository,
                      is_whole(removal->state) ? "backup_removed" : "garbage_removed",
                      pack_tombstone(removal), &tip, err);
    if (rc)
        return rc;
    started.removed_by = tip.number;
    return started_write(removal->repository, &started, 0, err);
}

static int delete_named(struct removal *removal, const char *name, struct error *err)
{
    char key[STORE_KEY_MAX + 1];
    struct store *store = removal->repository->store;
    struct store_object object;
    int rc = repository_backup_key(removal->repository, removal->backup->kind, removal->backup->id,
                                   name, key, err);
    if (!rc)
        rc = store_stat(store, key, &object, err);
    if (rc)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    rc = store_delete(store, key, err);
    if (!rc)
        removal->bytes += object.size;
    return rc;
}

/* What could not be deleted of a folder. */
struct refusals {
    size_t locked, failed;
    struct error first_locked, first_failed;
};

/* The objects of a folder, deleted a batch at a time while it is listed. */
struct sweep {
    struct removal *removal;
    struct strv keys;
    int64_t sizes[REMOVE_BATCH];
    const char *last; /* started.json, which goes last */
    struct refusals refusals;
};

static int note_refusal(const char *key, const struct error *reason, void *context,
                        struct error *err)
{
    struct sweep *sweep = context;
    struct refusals *refusals = &sweep->refusals;
    if (reason->code == ERR_INTERRUPTED || reason->code == ERR_CONNECTION) {
        if (err) /* the others would fare no better */
            *err = *reason;
        return reason->code;
    }
    for (size_t i = 0; i < sweep->keys.count; i++)
        if (strcmp(sweep->keys.items[i], key) == 0)
            sweep->sizes[i] = 0; /* not freed */
    bool is_locked = reason->code == ERR_LOCKED;
    size_t *count = is_locked ? &refusals->locked : &refusals->failed;
    if ((*count)++ == 0)
        *(is_locked ? &refusals->first_locked : &refusals->first_failed) = *reason;
    return 0;
}

static int delete_batch(struct sweep *sweep, struct error *err)
{
    struct store *store = sweep->removal->repository->store;
    int rc =
        store_delete_many(store, sweep->keys.items, sweep->keys.count, note_refusal, sweep, err);
    for (size_t i = 0; !rc && i < sweep->keys.count; i++)
        sweep->removal->bytes += sweep->sizes[i];
    strv_clear(&sweep->keys);
    sweep->keys = STRV_INIT(REMOVE_BATCH);
    return rc;
}

static int note_object(const struct store_object *object, void *context, struct error *err)
{
    struct sweep *sweep = context;
    if (strcmp(object->key, sweep->last) == 0)
        return 0;
    sweep->sizes[sweep->keys.count] = object->size;
    int rc = strv_add(&sweep->keys, object->key, err);
    return !rc && sweep->keys.count == REMOVE_BATCH ? delete_batch(sweep, err) : rc;
}

/* A failure weighs more than a lock, which is none. */
static int tell_refusals(const struct removal *removal, const struct refusals *refusals,
                         struct error *err)
{
    const char *id = removal->backup->id;
    const struct error *first =
        refusals->failed ? &refusals->first_failed : &refusals->first_locked;
    if (!refusals->failed && !refusals->locked)
        return 0;
    if (err)
        *err = *first;
    if (refusals->failed)
        error_prefix(err, "%zu object%s of %s could not be deleted", refusals->failed,
                     refusals->failed == 1 ? "" : "s", id);
    else
        error_prefix(err, "%zu object%s of %s stay%s", refusals->locked,
                     refusals->locked == 1 ? "" : "s", id, refusals->locked == 1 ? "s" : "");
    return first->code;
}

static int delete_data(struct removal *removal, struct error *err)
{
    const struct facts_backup *backup = removal->backup;
    char prefix[STORE_KEY_MAX + 1], last[STORE_KEY_MAX + 1];
    _cleanup_(freep) struct sweep *sweep = calloc(1, sizeof(*sweep));
    if (!sweep)
        return error_no_memory(err);
    *sweep = (struct sweep){.removal = removal, .keys = STRV_INIT(REMOVE_BATCH), .last = last};
    int rc =
        repository_backup_key(removal->repository, backup->kind, backup->id, NULL, prefix, err);
    if (!rc)
        rc = repository_backup_key(removal->repository, backup->kind, backup->id, "started.json",
                                   last, err);
    if (!rc)
        rc = store_list(removal->repository->store, prefix, false, note_object, sweep, err);
    if (!rc)
        rc = delete_batch(sweep, err);
    strv_clear(&sweep->keys);
    return rc ? rc : tell_refusals(removal, &sweep->refusals, err);
}

static int delete_all(struct removal *removal, struct error *err)
{
    int rc = delete_named(removal, "manifest.json", err);
    if (!rc)
        rc = delete_data(removal, err);
    return rc ? rc : delete_named(removal, "started.json", err);
}

struct lock_search {
    struct removal *removal;
    int64_t now_us;
};

static int refuse_locked(const struct store_object *object, void *context, struct error *err)
{
    const struct lock_search *search = context;
    struct store_object whole;
    char until[INSTANT_TEXT_MAX];
    int rc = store_stat(search->removal->repository->store, object->key, &whole, err);
    if (rc || whole.locked_until_us <= search->now_us)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    return error_set(err, ERR_LOCKED, "%s is locked until %s", search->removal->backup->id,
                     instant_format(whole.locked_until_us, until));
}

/* Before anything is written or deleted, lest half of it goes: what can tell that it is locked is
 * asked, all of it where locks may be. */
static int check_unlocked(struct removal *removal, int64_t now_us, struct error *err)
{
    struct lock_search search = {.removal = removal, .now_us = now_us};
    char prefix[STORE_KEY_MAX + 1];
    if (!repository_may_lock(removal->repository))
        return 0;
    int rc = repository_backup_key(removal->repository, removal->backup->kind, removal->backup->id,
                                   NULL, prefix, err);
    return rc ? rc
              : store_list(removal->repository->store, prefix, false, refuse_locked, &search, err);
}

int backup_remove(struct repository *repository, struct lock *lock,
                  const struct facts_backup *backup, const char *reason, const char *plan_hash,
                  int64_t now_us, int64_t *ret_bytes, struct error *err)
{
    struct removal removal = {
        .repository = repository,
        .lock = lock,
        .backup = backup,
        .reason = reason,
        .plan_hash = plan_hash,
        .state = backup->state,
    };
    if (!is_whole(backup->state) && backup->state != BACKUP_GARBAGE)
        return error_set(err, ERR_CONFLICT, "%s is %s and can't be removed", backup->id,
                         backup_state_name(backup->state));
    int rc = hold_check_free(repository, backup->id, now_us, err);
    if (!rc)
        rc = check_removable(&removal, now_us, err);
    if (!rc && !removal.gone)
        rc = check_unlocked(&removal, now_us, err);
    if (!rc && lock)
        rc = lock_check_held(lock, err);
    if (!rc && !removal.gone)
        rc = write_tombstone(&removal, err);
    if (!rc && lock)
        rc = lock_check_held(lock, err);
    if (!rc && !removal.gone)
        rc = delete_all(&removal, err);
    if (!rc)
        *ret_bytes = removal.bytes;
    return rc;
}

struct leftovers {
    struct strv keys;
    const char *prefix;
    int64_t count, bytes;
};

static int note_leftover(const struct store_object *object, void *context, struct error *err)
{
    struct leftovers *leftovers = context;
    if (strncmp(object->key, leftovers->prefix, strlen(leftovers->prefix)) != 0)
        return 0;
    leftovers->count++;
    leftovers->bytes += object->size;
    if (strv_has(&leftovers->keys, object->key))
        return 0;
    int rc = strv_add(&leftovers->keys, object->key, err);
    return rc ? rc : leftovers->keys.count == REMOVE_BATCH;
}

int repository_remove_unfinished(struct repository *repository, int64_t before_us,
                                 int64_t *ret_count, int64_t *ret_bytes, struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    int64_t count = 0, bytes = 0;
    int rc = repository_key(repository, prefix, err, "%s", "");
    for (bool more = true; !rc && more;) {
        struct leftovers leftovers = {.keys = STRV_INIT(REMOVE_BATCH), .prefix = prefix};
        rc = store_list_unfinished(repository->store, before_us, note_leftover, &leftovers, err);
        more = rc == 1;
        if (more)
            rc = 0;
        for (size_t i = 0; !rc && i < leftovers.keys.count; i++)
            rc =
                store_remove_unfinished(repository->store, leftovers.keys.items[i], before_us, err);
        count += leftovers.count;
        bytes += leftovers.bytes;
        strv_clear(&leftovers.keys);
    }
    if (rc)
        return rc;
    *ret_count = count;
    *ret_bytes = bytes;
    return 0;
}
