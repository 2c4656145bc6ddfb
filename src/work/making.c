#include "work/making.h"

#include <string.h>

int making_begin(const struct work *work, enum backup_kind kind,
                 const struct repository_server *server, struct making *ret_making,
                 struct error *err)
{
    struct making making = {.work = work,
                            .started = {.kind = kind, .started_us = work->started_us}};
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

static int delete_object(const struct store_object *object, void *store, struct error *err)
{
    size_t length = strlen(object->key);
    static const char LAST[] = "/started.json";
    size_t last = sizeof(LAST) - 1;
    if (length > last && strcmp(object->key + length - last, LAST) == 0)
        return 0;
    return store_delete(store, object->key, err);
}

void making_discard(const struct making *making)
{
    struct store *store = making->work->repository->store;
    char key[STORE_KEY_MAX + 1];
    snprintf(key, sizeof(key), "%s/", making->prefix);
    if (store_list(store, key, false, delete_object, store, NULL))
        return;
    making_key(making, "started.json", key);
    store_delete(store, key, NULL);
}
