/* A restore of a dump: choose the backup, check everything against the target, and only then make
 * roles and databases. */
#include "work/restore.h"

#include <string.h>

#include "base/json.h"
#include "repository/catalogue.h"
#include "repository/manifest.h"

void restore_notice(const struct restore *restore, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    if (!restore->request->notice)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    restore->request->notice(text, restore->request->context);
}

void restore_progress(const struct restore *restore, const char *phase, int64_t done, int64_t total)
{
    if (restore->request->progress)
        restore->request->progress(phase, done, total, restore->request->context);
}

void restore_clear(struct restore *restore)
{
    PQfinish(restore->conn);
    free(restore->conninfo);
    pg_programs_clear(&restore->programs);
    json_decref(restore->manifest);
    json_decref(restore->report);
}

int restore_find_manifest(struct restore *restore, struct error *err)
{
    const struct restore_request *request = restore->request;
    _cleanup_(facts_clear) struct facts facts = {0};
    int rc = catalogue_read(request->repository, instant_now_us(), &facts, err);
    if (rc)
        return rc;
    const struct facts_backup *backup = catalogue_find(&facts, request->backup, BACKUP_DUMP);
    if (!backup || backup->state == BACKUP_RUNNING) {
        error_set(err, ERR_NOT_FOUND, "cluster \"%s\" has no %s dump %s", request->policy->cluster,
                  backup ? "finished" : "good", request->backup);
        return error_hint(err, "\"pgcairn list %s\" shows what the repository holds",
                          request->policy->cluster);
    }
    snprintf(restore->id, sizeof(restore->id), "%s", backup->id);
    char found[INSTANT_TEXT_MAX];
    if (backup->failed_us != INSTANT_NONE)
        restore_notice(restore,
                       "warning: a verification found a fault in dump %s %s, so that restoring it "
                       "may fail (pgcairn verify)",
                       backup->id, instant_format(backup->failed_us, found));
    return manifest_read(request->repository, BACKUP_DUMP, restore->id, &restore->manifest, err);
}

int restore_init_database(struct restore *restore, const json_t *entry,
                          struct restore_database *database, struct error *err)
{
    const struct restore_request *request = restore->request;
    *database = (struct restore_database){
        .restore = restore,
        .entry = entry,
        .name = json_string_value(json_object_get(entry, "name")),
        .sequences = STRV_INIT(RESTORE_LIST_MAX),
        .report = json_object(),
    };
    if (!database->name || !database->report)
        return error_set(err, ERR_CORRUPT, "the manifest has a database without a name");
    database->final_name = request->into ? request->into : database->name;
    if (strlen(database->final_name) >= sizeof(database->work_name))
        return error_set(err, ERR_USAGE, "\"%s\" is longer than 63 bytes", database->final_name);
    json_object_set_new(database->report, "database", json_string(database->name));
    json_object_set_new(database->report, "into", json_string(database->final_name));
    return 0;
}

int restore_choose_entries(struct restore *restore, json_t **ret_entries, struct error *err)
{
    const struct restore_request *request = restore->request;
    json_t *all = json_object_get(restore->manifest, "databases");
    if (request->database) {
        json_t *entry = NULL, *candidate;
        size_t i;
        json_array_foreach(all, i, candidate)
        {
            const char *name = json_string_value(json_object_get(candidate, "name"));
            if (name && strcmp(name, request->database) == 0)
                entry = candidate;
        }
        if (!entry)
            return error_set(err, ERR_NOT_FOUND, "backup %s has no database \"%s\"", restore->id,
                             request->database);
        *ret_entries = json_pack("[O]", entry);
        return *ret_entries ? 0 : error_no_memory(err);
    }
    if (json_array_size(all) > 1 && (request->into || request->tables->count)) {
        error_set(err, ERR_USAGE, "backup %s has %zu databases", restore->id, json_array_size(all));
        return error_hint(err, "say which one with --database");
    }
    *ret_entries = json_incref(all);
    return 0;
}

static int note_plan(struct restore *restore, struct restore_database *database, struct error *err)
{
    json_t *report = database->report;
    json_object_set_new(report, "creates_database", json_boolean(!database->exists));
    json_object_set_new(report, "table_count", json_integer((json_int_t)database->table_count));
    json_object_set_new(report, "volumes", json_integer((json_int_t)database->volume_count));
    json_object_set_new(report, "bytes_stored", json_integer(database->bytes_total));
    json_t *list = json_object_get(restore->report, "databases");
    return json_array_append(list, report) ? error_no_memory(err) : 0;
}

/* Every database is planned before the first is touched. */
static int plan_and_run(struct restore *restore, const json_t *entries,
                        struct restore_database *databases, size_t *planned, struct error *err)
{
    int rc = 0;
    size_t count = json_array_size(entries);
    for (; *planned < count && !rc; (*planned)++) {
        struct restore_database *database = &databases[*planned];
        rc = restore_init_database(restore, json_array_get(entries, *planned), database, err);
        if (!rc)
            rc = restore_plan_database(database, err);
        if (!rc)
            rc = note_plan(restore, database, err);
    }
    json_t *roles = NULL;
    if (!rc)
        rc = restore_roles(restore, &roles, err);
    if (!rc)
        json_object_set_new(restore->report, "roles", roles);
    for (size_t i = 0; i < count && !rc && !restore->request->dry_run; i++)
        rc = restore_one_database(&databases[i], err);
    return rc;
}

static int run_all(struct restore *restore, struct error *err)
{
    _cleanup_(json_release) json_t *entries = NULL;
    int rc = restore_choose_entries(restore, &entries, err);
    if (rc)
        return rc;
    struct restore_database *databases = calloc(json_array_size(entries) + 1, sizeof(*databases));
    size_t planned = 0;
    if (!databases)
        return error_no_memory(err);
    rc = plan_and_run(restore, entries, databases, &planned, err);
    for (size_t i = 0; i < planned; i++)
        restore_database_clear(&databases[i]);
    free(databases);
    return rc;
}

int restore_dump(const struct restore_request *request, json_t **ret_report, struct error *err)
{
    _cleanup_(restore_clear) struct restore restore = {.request = request,
                                                       .store = request->repository->store};
    snprintf(restore.application, sizeof(restore.application), "pgcairn restore");
    int rc = restore_find_manifest(&restore, err);
    if (!rc)
        rc = restore_open(&restore, err);
    if (rc)
        return rc;
    restore.report = json_pack("{s:s, s:s, s:b, s:[]}", "cluster", request->policy->cluster, "id",
                               restore.id, "dry_run", request->dry_run, "databases");
    if (!restore.report)
        return error_no_memory(err);
    rc = run_all(&restore, err);
    if (!rc)
        *ret_report = TAKE(restore.report);
    return rc;
}
