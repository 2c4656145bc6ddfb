#include "work/making.h"

#include <string.h>

#include "base/json.h"
#include "base/strv.h"
#include "repository/evidence.h"
#include "repository/manifest.h"

enum { DISCARD_BATCH = 1000 /* objects deleted at once */ };

int making_begin(const struct work *work, enum backup_kind kind,
                 const struct repository_server *server, struct making *ret_making,
                 struct error *err)
{
    struct making making = {
        .work = work,
        .started = {.kind = kind, .due_us = work->claimed_due_us, .started_us = work->started_us}};
    struct started *started = &making.started;
    int rc = repository_prepare(work->repository, err);
    if (!rc && server->system_identifier[0])
        rc = repository_admit_cluster(work->repository, server, work->started_us, err);
    snprintf(started->job, sizeof(started->job), "%s", work->job->name);
    snprintf(started->run_id, sizeof(started->run_id), "%s", work->run_id);
    do {
        if (!rc || rc == ERR_EXISTS)
            rc = id_make(work->started_us, started->id, err);
        if (!rc)
            rc = backup_begin(work->repository, started, err);
    } while (rc == ERR_EXISTS);
    char key[STORE_KEY_MAX + 1];
    if (!rc)
        rc = repository_backup_key(work->repository, kind, started->id, NULL, key, err);
    if (rc)
        return rc;
    snprintf(making.prefix, sizeof(making.prefix), "%.*s", (int)strlen(key) - 1, key);
    *ret_making = making;
    return 0;
}

void making_key(const struct making *making, const char *name, char key[STORE_KEY_MAX + 1])
{
    snprintf(key, STORE_KEY_MAX + 1, "%s/%s", making->prefix, name);
}

int making_beat(struct making *making, struct error *err)
{
    int64_t now_us = instant_now_us();
    if (now_us - making->started.heartbeat_us < BACKUP_HEARTBEAT_US)
        return 0;
    return backup_heartbeat(making->work->repository, &making->started, now_us, err);
}

/* The backup exists whatever becomes of its record. */
static void note_made(const struct making *making, const json_t *manifest)
{
    const struct started *started = &making->started;
    struct error error = ERROR_NONE;
    char sha256[SHA256_HEX + 1];
    int rc = manifest_hash(manifest, sha256, &error);
    if (!rc)
        rc = evidence_add(
            making->work->repository, "backup_made",
            json_pack("{s:s, s:s, s:s, s:s, s:o*, s:I, s:o*, s:o*, s:I, s:s}", "id", started->id,
                      "kind", backup_kind_name(started->kind), "job", started->job, "run_id",
                      started->run_id, "due_at", json_incref(json_object_get(manifest, "due_at")),
                      "fence", (json_int_t)json_number(manifest, "fence"), "started_at",
                      json_incref(json_object_get(manifest, "started_at")), "completed_at",
                      json_incref(json_object_get(manifest, "completed_at")), "bytes_stored",
                      (json_int_t)json_number(manifest, "bytes_stored"), "manifest_sha256", sha256),
            NULL, &error);
    if (rc)
        work_notice(making->work, "backup %s is stored, but not in the evidence: %s", started->id,
                    error.message);
}

/* For which due instant, and under which number of the lock. */
static int sign(const struct making *making, json_t *manifest, struct error *err)
{
    const struct work *work = making->work;
    int failed = 0;
    if (work->claimed_due_us > 0)
        failed = json_object_set_new(manifest, "due_at", json_instant(work->claimed_due_us));
    if (!failed && work->lock)
        failed = json_object_set_new(manifest, "fence",
                                     json_integer((json_int_t)lock_number(work->lock)));
    return failed ? error_no_memory(err) : 0;
}

/* The locks are looked at last, with nothing between that takes time but the writing itself. */
int making_complete(const struct making *making, json_t *manifest, struct error *err)
{
    struct repository *repository = making->work->repository;
    const struct started *started = &making->started;
    int rc = sign(making, manifest, err);
    if (!rc)
        rc = manifest_check_stored(repository, started->kind, started->id, manifest, err);
    if (!rc)
        rc = work_check_lock(making->work, err);
    if (!rc)
        rc = manifest_write(repository, started->kind, started->id, manifest, err);
    if (!rc)
        note_made(making, manifest);
    return rc;
}

struct remains {
    struct store *store;
    struct strv keys;
};

/* What can't be deleted now is garbage that prune finds. */
static int pass_over(const char *key, const struct error *reason, void *context, struct error *err)
{
    (void)key, (void)reason, (void)context, (void)err;
    return 0;
}

static int delete_remains(struct remains *remains)
{
    int rc = store_delete_many(remains->store, remains->keys.items, remains->keys.count, pass_over,
                               NULL, NULL);
    strv_clear(&remains->keys);
    remains->keys = STRV_INIT(DISCARD_BATCH);
    return rc;
}

static int note_remains(const struct store_object *object, void *context, struct error *err)
{
    struct remains *remains = context;
    size_t length = strlen(object->key);
    static const char LAST[] = "/started.json";
    size_t last = sizeof(LAST) - 1;
    if (length > last && strcmp(object->key + length - last, LAST) == 0)
        return 0;
    int rc = strv_add(&remains->keys, object->key, err);
    return !rc && remains->keys.count == DISCARD_BATCH ? delete_remains(remains) : rc;
}

static int note_any(const struct store_object *object, void *context, struct error *err)
{
    (void)object, (void)err;
    ++*(size_t *)context;
    return 0;
}

/* Through the keeper, for the store may have been stopped. The manifest goes first, and alone: it
 * may have been stored though its reply was lost, and must not stand over data that is gone. */
void making_discard(const struct making *making)
{
    struct repository *repository = making->work->repository;
    struct remains remains = {.store =
                                  (repository->keeper ? repository->keeper : repository)->store,
                              .keys = STRV_INIT(DISCARD_BATCH)};
    char key[STORE_KEY_MAX + 1];
    size_t left = 0;
    making_key(making, "manifest.json", key);
    int rc = store_delete(remains.store, key, NULL);
    if (rc == ERR_NOT_FOUND)
        rc = 0;
    snprintf(key, sizeof(key), "%s/", making->prefix);
    if (!rc)
        rc = store_list(remains.store, key, false, note_remains, &remains, NULL);
    if (!rc)
        rc = delete_remains(&remains);
    strv_clear(&remains.keys);
    if (!rc)
        rc = store_list(remains.store, key, false, note_any, &left, NULL);
    making_key(making, "started.json", key);
    if (!rc && left <= 1)
        rc = store_delete(remains.store, key, NULL);
    if (rc || left > 1)
        work_notice(making->work,
                    "what was written of %s could not be taken away now; prune does it",
                    making->started.id);
}
