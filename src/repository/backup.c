#include "repository/backup.h"

#include <string.h>
#include <unistd.h>

#include "base/json.h"

static const char STARTED[] = "started.json";

static json_t *pack_started(const struct repository *repository, const struct started *started)
{
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o}", "id", started->id, "cluster",
                  repository->cluster, "job", started->job, "run_id", started->run_id, "kind",
                  backup_kind_name(started->kind), "host", started->host, "pid",
                  (json_int_t)started->pid, "started_at", json_instant(started->started_us),
                  "heartbeat_at", json_instant(started->heartbeat_us));
    if (object && started->due_us > 0 &&
        json_object_set_new(object, "due_at", json_instant(started->due_us)) != 0)
        json_release(&object), object = NULL;
    if (object && started->removed_by > 0 &&
        json_object_set_new(object, "removed_by", json_integer(started->removed_by)) != 0)
        json_release(&object), object = NULL;
    return object;
}

int started_write(struct repository *repository, const struct started *started, unsigned flags,
                  struct error *err)
{
    char key[STORE_KEY_MAX + 1];
    int rc = repository_backup_key(repository, started->kind, started->id, STARTED, key, err);
    if (rc)
        return rc;
    return repository_write_json(repository, key, pack_started(repository, started), flags, err);
}

int backup_begin(struct repository *repository, struct started *started, struct error *err)
{
    if (gethostname(started->host, sizeof(started->host)) != 0)
        started->host[0] = '\0';
    started->host[sizeof(started->host) - 1] = '\0';
    started->pid = getpid();
    started->heartbeat_us = started->started_us;
    started->removed_by = 0;
    return started_write(repository, started, STORE_IF_ABSENT, err);
}

int backup_heartbeat(struct repository *repository, struct started *started, int64_t now_us,
                     struct error *err)
{
    int64_t before_us = started->heartbeat_us;
    started->heartbeat_us = now_us;
    int rc = started_write(repository, started, 0, err);
    if (rc)
        started->heartbeat_us = before_us;
    return rc;
}

static int take_name(const json_t *object, const char *key, char name[BACKUP_NAME_MAX + 1],
                     struct error *err)
{
    const char *text;
    int rc = json_take_text(object, key, &text, err);
    if (!rc && strlen(text) > BACKUP_NAME_MAX)
        rc = error_set(err, ERR_CORRUPT, "\"%s\" is longer than %d bytes", key, BACKUP_NAME_MAX);
    if (!rc)
        memcpy(name, text, strlen(text) + 1);
    return rc;
}

static int parse_started(const json_t *object, struct started *started, struct error *err)
{
    int rc = take_name(object, "job", started->job, err);
    if (!rc)
        rc = take_name(object, "run_id", started->run_id, err);
    if (!rc)
        rc = take_name(object, "host", started->host, err);
    if (!rc)
        rc = json_take_integer(object, "pid", &started->pid, err);
    if (!rc)
        rc = json_take_instant(object, "started_at", &started->started_us, err);
    if (!rc)
        rc = json_take_instant(object, "heartbeat_at", &started->heartbeat_us, err);
    started->due_us = INSTANT_NONE;
    if (!rc && json_object_get(object, "due_at"))
        rc = json_take_instant(object, "due_at", &started->due_us, err);
    if (!rc && json_object_get(object, "removed_by"))
        rc = json_take_integer(object, "removed_by", &started->removed_by, err);
    return rc;
}

int started_read(struct repository *repository, enum backup_kind kind, const char *id,
                 struct started *ret_started, struct error *err)
{
    _cleanup_(json_release) json_t *object = NULL;
    struct started started = {.kind = kind};
    char key[STORE_KEY_MAX + 1];
    int rc = repository_backup_key(repository, kind, id, STARTED, key, err);
    if (!rc)
        rc = repository_read_json(repository, key, REPOSITORY_DOCUMENT_MAX, &object, err);
    if (rc)
        return rc;
    memcpy(started.id, id, ID_SIZE);
    rc = parse_started(object, &started, err);
    if (rc) {
        error_prefix(err, "%s", key);
        return rc;
    }
    *ret_started = started;
    return 0;
}
