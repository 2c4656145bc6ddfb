#include "repository/runs.h"

#include <string.h>

#include "base/json.h"
#include "base/strv.h"
#include "repository/backup.h"

/* A backup's id has its start by the clock of the machine that made it, which may be behind. */
#define CLOCK_SLACK_US US_PER_HOUR

static int record_key(const struct repository *repository, const char *job, int64_t due_us,
                      char key[STORE_KEY_MAX + 1], struct error *err)
{
    char time[ID_TIME_SIZE];
    int rc = id_format_time(due_us, time, err);
    return rc ? rc : repository_key(repository, key, err, "runs/%s/%s.json", job, time);
}

/* -- one record ---------------------------------------------------------------------------- */

static int take_text(const json_t *object, const char *key, char text[RUN_RECORD_TEXT_MAX + 1],
                     struct error *err)
{
    const char *value;
    int rc = json_take_text(object, key, &value, err);
    if (!rc)
        snprintf(text, RUN_RECORD_TEXT_MAX + 1, "%s", value);
    return rc;
}

static int parse(const json_t *object, struct run_record *record, struct error *err)
{
    int rc = take_text(object, "job", record->job, err);
    if (!rc)
        rc = take_text(object, "run_id", record->run_id, err);
    if (!rc)
        rc = take_text(object, "host", record->host, err);
    if (!rc)
        rc = json_take_integer(object, "fence", &record->fence, err);
    if (!rc)
        rc = json_take_instant(object, "due_at", &record->due_us, err);
    if (!rc)
        rc = json_take_instant(object, "started_at", &record->started_us, err);
    if (!rc)
        rc = json_take_instant(object, "ended_at", &record->ended_us, err);
    if (!rc)
        snprintf(record->backup_id, sizeof(record->backup_id), "%s",
                 json_text(object, "backup_id"));
    return rc;
}

int run_record_find(struct repository *repository, const char *job, int64_t due_us,
                    struct run_record *ret_record, bool *ret_found, struct error *err)
{
    _cleanup_(json_release) json_t *object = NULL;
    struct run_record record = {0};
    struct error reason = ERROR_NONE;
    char key[STORE_KEY_MAX + 1];
    int rc = record_key(repository, job, due_us, key, &reason);
    if (!rc)
        rc = repository_read_json(repository, key, REPOSITORY_DOCUMENT_MAX, &object, &reason);
    if (rc == ERR_NOT_FOUND) {
        *ret_found = false;
        return 0;
    }
    if (!rc && parse(object, &record, &reason))
        rc = error_prefix(&reason, "%s", key);
    if (rc == ERR_CORRUPT)
        error_hint(&reason, "delete that object: the instant is done again then");
    if (rc) {
        if (err)
            *err = reason;
        return rc;
    }
    *ret_record = record;
    *ret_found = true;
    return 0;
}

int run_record_add(struct repository *repository, const struct run_record *record,
                   struct error *err)
{
    char key[STORE_KEY_MAX + 1];
    int rc = record_key(repository, record->job, record->due_us, key, err);
    if (rc)
        return rc;
    json_t *object = json_pack(
        "{s:i, s:s, s:o, s:s, s:s, s:I, s:s, s:s?, s:o, s:o}", "format", REPOSITORY_FORMAT, "job",
        record->job, "due_at", json_instant(record->due_us), "outcome", "done", "run_id",
        record->run_id, "fence", (json_int_t)record->fence, "host", record->host, "backup_id",
        record->backup_id[0] ? record->backup_id : NULL, "started_at",
        json_instant(record->started_us), "ended_at", json_instant(record->ended_us));
    return repository_write_json(repository, key, object, STORE_IF_ABSENT, err);
}

/* -- a backup without a record ------------------------------------------------------------- */

struct search {
    struct repository *repository;
    enum backup_kind kind;
    const char *job;
    int64_t due_us;
    size_t prefix_length;
    struct run_record *record;
    bool *found;
};

/* started.json stays beside the manifest, and is small where that may be large. */
static int look_at(const struct search *search, const char *id, struct error *err)
{
    struct started started;
    struct store_object manifest;
    struct error reason = ERROR_NONE;
    char key[STORE_KEY_MAX + 1];
    int rc = started_read(search->repository, search->kind, id, &started, &reason);
    if (!rc && (started.due_us != search->due_us || strcmp(started.job, search->job) != 0 ||
                started.removed_by > 0))
        return 0;
    if (!rc)
        rc = repository_backup_key(search->repository, search->kind, id, "manifest.json", key,
                                   &reason);
    if (!rc)
        rc = store_stat(search->repository->store, key, &manifest, &reason);
    if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT) /* it is being made, or is no good */
        return 0;
    if (rc) {
        if (err)
            *err = reason;
        return rc;
    }
    struct run_record *record = search->record;
    *record = (struct run_record){.due_us = started.due_us,
                                  .started_us = started.started_us,
                                  .ended_us = manifest.modified_us};
    snprintf(record->job, sizeof(record->job), "%s", started.job);
    snprintf(record->run_id, sizeof(record->run_id), "%s", started.run_id);
    snprintf(record->host, sizeof(record->host), "%s", started.host);
    snprintf(record->backup_id, sizeof(record->backup_id), "%s", id);
    *search->found = true;
    return 0;
}

static int visit_folder(const struct store_object *object, void *context, struct error *err)
{
    const struct search *search = context;
    const char *name = object->key + search->prefix_length;
    char id[ID_SIZE];
    int64_t started_us;
    if (*search->found || strlen(name) != ID_LENGTH + 1 || name[ID_LENGTH] != '/')
        return 0;
    memcpy(id, name, ID_LENGTH);
    id[ID_LENGTH] = '\0';
    if (!id_parse(id, &started_us) || started_us < search->due_us - CLOCK_SLACK_US)
        return 0;
    return look_at(search, id, err);
}

int run_find_backup(struct repository *repository, enum backup_kind kind, const char *job,
                    int64_t due_us, struct run_record *ret_record, bool *ret_found,
                    struct error *err)
{
    struct run_record record;
    bool found = false;
    struct search search = {repository, kind, job, due_us, 0, &record, &found};
    char prefix[STORE_KEY_MAX + 1];
    int rc =
        repository_key(repository, prefix, err, "%s/", kind == BACKUP_DUMP ? "dumps" : "snapshots");
    search.prefix_length = strlen(prefix);
    if (!rc)
        rc = store_list(repository->store, prefix, true, visit_folder, &search, err);
    if (rc)
        return rc;
    if (found)
        *ret_record = record;
    *ret_found = found;
    return 0;
}

/* -- all of a job -------------------------------------------------------------------------- */

struct each {
    size_t prefix_length;
    run_record_visit visit;
    void *context;
};

static int visit_record(const struct store_object *object, void *context, struct error *err)
{
    const struct each *each = context;
    int64_t due_us;
    const char *name = object->key + each->prefix_length;
    if (!id_parse_time(name, &due_us) || strcmp(name + ID_TIME_LENGTH, ".json") != 0)
        return 0;
    return each->visit(due_us, each->context, err);
}

int run_records_each(struct repository *repository, const char *job, run_record_visit visit,
                     void *context, struct error *err)
{
    struct each each = {.visit = visit, .context = context};
    char prefix[STORE_KEY_MAX + 1];
    int rc = repository_key(repository, prefix, err, "runs/%s/", job);
    each.prefix_length = strlen(prefix);
    return rc ? rc : store_list(repository->store, prefix, false, visit_record, &each, err);
}

struct trim {
    const struct repository *repository;
    const char *job;
    int64_t before_us;
    struct strv keys;
};

enum { TRIM_ENOUGH = 1 };

/* The names are in the order of time, so the first that is young enough ends the listing. */
static int note_old(int64_t due_us, void *context, struct error *err)
{
    struct trim *trim = context;
    char key[STORE_KEY_MAX + 1];
    if (due_us >= trim->before_us || trim->keys.count == RUN_RECORDS_TRIM_MAX)
        return TRIM_ENOUGH;
    int rc = record_key(trim->repository, trim->job, due_us, key, err);
    return rc ? rc : strv_add(&trim->keys, key, err);
}

/* What can't be deleted now a later run deletes. */
static int pass_over(const char *key, const struct error *reason, void *context, struct error *err)
{
    (void)key, (void)reason, (void)context, (void)err;
    return 0;
}

int run_records_trim(struct repository *repository, const char *job, int64_t now_us,
                     struct error *err)
{
    struct trim trim = {.repository = repository,
                        .job = job,
                        .before_us = now_us - RUN_RECORDS_KEEP_US,
                        .keys = STRV_INIT(RUN_RECORDS_TRIM_MAX)};
    int rc = run_records_each(repository, job, note_old, &trim, err);
    if ((rc == 0 || rc == TRIM_ENOUGH) && trim.keys.count > 0)
        rc = store_delete_many(repository->store, trim.keys.items, trim.keys.count, pass_over, NULL,
                               err);
    strv_clear(&trim.keys);
    return rc == TRIM_ENOUGH ? 0 : rc;
}
