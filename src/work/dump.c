/* A dump, from first look to manifest: find out that it can be done, say that it began, dump each
 * database, the globals, restore.sh, and last of all the manifest, which makes the backup exist. */
#include "work/dump.h"

#include <string.h>

#include "base/json.h"
#include "postgres/server.h"
#include "repository/catalogue.h"
#include "repository/manifest.h"
#include "work/databases.h"
#include "work/policy_load.h"

static void dump_clear(struct dump *dump)
{
    free(dump->conninfo);
    pg_programs_clear(&dump->programs);
    json_decref(dump->objects);
    json_decref(dump->databases);
    json_decref(dump->notices);
    pthread_mutex_destroy(&dump->mutex);
}

int dump_notice(struct dump *dump, struct error *err, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    work_notice(dump->work, "%s", text);
    pthread_mutex_lock(&dump->mutex);
    int failed = 0;
    if (json_array_size(dump->notices) < WORK_NOTICES_MAX)
        failed = json_array_append_new(dump->notices, json_string(text));
    pthread_mutex_unlock(&dump->mutex);
    return failed ? error_no_memory(err) : 0;
}

/* Workers that fit under max_connections together with the connections that do not copy. */
static int set_workers(struct dump *dump, struct error *err)
{
    int wanted = dump->work->job->jobs;
    int most = dump->work->policy->max_connections - DUMP_SPARE_CONNECTIONS;
    dump->workers = wanted < most ? wanted : most;
    if (dump->workers < 1)
        dump->workers = 1;
    if (dump->workers == wanted)
        return 0;
    return dump_notice(dump, err,
                       "jobs: %d is cut to %d: max_connections: %d, and %d are needed "
                       "beside the workers",
                       wanted, dump->workers, dump->work->policy->max_connections,
                       DUMP_SPARE_CONNECTIONS);
}

static int prepare(struct dump *dump, struct pg_server *server, struct work_databases *list,
                   struct error *err)
{
    const struct policy *policy = dump->work->policy;
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    int rc = policy_connection(policy, dump->work->job, &dump->conninfo, err);
    if (!rc)
        rc = pg_connect(dump->conninfo, NULL, dump->application, &conn, err);
    if (!rc)
        rc = pg_refuse_pooler(conn, err);
    if (!rc)
        rc = pg_read_server(conn, server, err);
    if (!rc)
        rc = work_list_databases(policy, conn, list, err);
    if (!rc)
        rc = pg_find_programs(policy->bindir, server->version_num / 10000, &dump->programs, err);
    if (rc)
        return rc;
    dump->server_version = server->version_num;
    dump->is_standby = server->is_standby;
    return set_workers(dump, err);
}

/* Says that the backup begins; from here on there is something to clean up. */
static int begin(struct dump *dump, const struct pg_server *server, struct error *err)
{
    struct repository_server identity = {.system_identifier = server->system_identifier,
                                         .version = server->version,
                                         .version_num = server->version_num};
    int rc = server->system_identifier[0]
                 ? 0
                 : dump_notice(dump, err,
                               "this role may not call pg_control_system(): the backup does "
                               "not say which cluster it is of");
    return rc ? rc : making_begin(dump->work, BACKUP_DUMP, &identity, &dump->making, err);
}

static int dump_databases(struct dump *dump, const struct work_databases *list, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < list->count && !rc; i++) {
        json_decref(dump->notices);
        dump->notices = json_array();
        rc = dump_one_database(dump, list->items[i].name, list->items[i].oid, err);
    }
    return rc;
}

static bool has_tables(const json_t *database)
{
    return json_array_size(json_object_get(database, "tables")) > 0;
}

/* The database of the newest good dump that had tables and has none now; NULL when there is none.
 * Borrowed from this dump. */
static int find_emptied(struct dump *dump, const char **ret_name, struct error *err)
{
    _cleanup_(facts_clear) struct facts facts = {0};
    _cleanup_(json_release) json_t *before = NULL;
    int rc = catalogue_read(dump->work->repository, instant_now_us(), &facts, err);
    const struct facts_backup *newest = rc ? NULL : catalogue_find(&facts, "latest", BACKUP_DUMP);
    if (newest)
        rc = manifest_read(dump->work->repository, BACKUP_DUMP, newest->id, &before, err);
    if (rc || !before)
        return rc;
    size_t i;
    json_t *database;
    json_array_foreach(dump->databases, i, database)
    {
        const char *name = json_string_value(json_object_get(database, "name"));
        const json_t *was = name ? manifest_database(before, name) : NULL;
        if (was && has_tables(was) && !has_tables(database))
            *ret_name = name;
    }
    return 0;
}

/* An empty dump of a database that had tables is what a lost database looks like. It must not
 * become the newest good one, on which retention counts. */
static int refuse_emptied(struct dump *dump, struct error *err)
{
    bool any_empty = false;
    size_t i;
    json_t *database;
    json_array_foreach(dump->databases, i, database)
    {
        any_empty = any_empty || !has_tables(database);
    }
    const char *name = NULL;
    int rc = any_empty && !dump->work->accept_empty ? find_emptied(dump, &name, err) : 0;
    if (rc || !name)
        return rc;
    error_set(err, ERR_FAILED, "database \"%s\" has no tables now, and had some in the newest dump",
              name);
    return error_hint(err,
                      "find out what emptied it; if that is meant, run once \"pgcairn run %s/%s "
                      "--accept-empty\"",
                      dump->work->policy->cluster, dump->work->job->name);
}

static json_t *make_manifest(struct dump *dump, const struct pg_server *server, json_t *globals)
{
    const struct work *work = dump->work;
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:{s:s, s:i, s:s, s:O}, s:i, s:I, s:I, s:O, "
        "s:o, s:O}",
        "format", MANIFEST_FORMAT, "kind", "dump", "id", dump->making.started.id, "cluster",
        work->policy->cluster, "job", work->job->name, "run_id", work->run_id, "pgcairn_version",
        PGCAIRN_VERSION, "started_at", json_instant_micros(work->started_us), "completed_at",
        json_instant_micros(instant_now_us()), "server", "version", server->version, "version_num",
        server->version_num, "system_identifier", server->system_identifier, "settings",
        server->settings, "pg_dump", dump->programs.major, "bytes_source",
        (json_int_t)atomic_load(&dump->bytes_source), "bytes_stored",
        (json_int_t)atomic_load(&dump->bytes_stored), "objects", dump->objects, "globals", globals,
        "databases", dump->databases);
}

/* The globals and the script, then the manifest: only with it the backup exists. */
static int complete(struct dump *dump, const struct pg_server *server, struct error *err)
{
    _cleanup_(json_release) json_t *manifest = NULL;
    json_t *globals = NULL;
    int rc = dump_globals(dump, &globals, err);
    if (rc)
        return rc;
    json_t *for_script = make_manifest(dump, server, json_incref(globals));
    rc = for_script ? dump_write_script(dump, for_script, err) : error_no_memory(err);
    json_decref(for_script);
    manifest = make_manifest(dump, server, globals);
    if (!rc && !manifest)
        rc = error_no_memory(err);
    if (!rc && work_interrupted(err))
        rc = ERR_INTERRUPTED;
    return rc ? rc : making_complete(&dump->making, manifest, err);
}

static int run_with_list(struct dump *dump, struct work_databases *list, struct work_result *result,
                         struct error *err)
{
    _cleanup_(pg_server_clear) struct pg_server server = {0};
    int rc = prepare(dump, &server, list, err);
    if (!rc)
        rc = begin(dump, &server, err);
    if (rc)
        return rc;
    rc = dump_databases(dump, list, err);
    if (!rc)
        rc = refuse_emptied(dump, err);
    if (!rc)
        rc = complete(dump, &server, err);
    if (rc) {
        making_discard(&dump->making);
        return rc;
    }
    snprintf(result->backup_id, sizeof(result->backup_id), "%s", dump->making.started.id);
    result->bytes_source = atomic_load(&dump->bytes_source);
    result->bytes_stored = atomic_load(&dump->bytes_stored);
    return 0;
}

int dump_run(const struct work *work, struct work_result *result, struct error *err)
{
    _cleanup_(work_databases_clear) struct work_databases list = {0};
    _cleanup_(dump_clear) struct dump dump = {
        .work = work,
        .store = work->repository->store,
        .rate = RATE_INIT(work->policy->rate_limit),
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .objects = json_array(),
        .databases = json_array(),
        .notices = json_array(),
    };
    dump.options = (struct volume_options){
        .level = work->policy->compression_level, .time_us = work->started_us, .rate = &dump.rate};
    snprintf(dump.application, sizeof(dump.application), "pgcairn %s", work->run_id);
    return run_with_list(&dump, &list, result, err);
}
