/* A dump, from first look to manifest: find out that it can be done, say that it began, dump each
 * database, the globals, restore.sh, and last of all the manifest, which makes the backup exist. */
#include "work/dump.h"

#include <fnmatch.h>
#include <string.h>

#include "base/json.h"
#include "postgres/server.h"
#include "repository/backup.h"
#include "repository/manifest.h"
#include "work/policy_load.h"

enum { DATABASES_MAX = 10000 };

struct database_list {
    struct strv names;
    uint32_t oids[DATABASES_MAX];
};

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

static bool is_chosen(const struct policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->databases.count; i++)
        if (fnmatch(policy->databases.items[i], name, 0) == 0)
            return true;
    return policy->databases.count == 0;
}

/* A name that matches nothing is a mistake or a loss: either must not pass silently. */
static int check_all_match(const struct policy *policy, const PGresult *result, struct error *err)
{
    for (size_t i = 0; i < policy->databases.count; i++) {
        const char *glob = policy->databases.items[i];
        bool matches = false;
        for (int row = 0; row < PQntuples(result); row++)
            matches = matches || fnmatch(glob, pg_text(result, row, 0), 0) == 0;
        if (matches)
            continue;
        error_set(err, ERR_NOT_FOUND, "database \"%s\" does not exist", glob);
        return error_hint(err, "check databases: in %s:%d", policy->file, policy->databases_line);
    }
    return 0;
}

static int list_databases(struct dump *dump, PGconn *conn, struct database_list *list,
                          struct error *err)
{
    const struct policy *policy = dump->work->policy;
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err,
                      "select datname, oid from pg_catalog.pg_database "
                      "where datallowconn and not datistemplate order by datname",
                      NULL);
    if (!rc)
        rc = check_all_match(policy, result, err);
    for (int row = 0; row < (rc ? 0 : PQntuples(result)) && !rc; row++) {
        if (!is_chosen(policy, pg_text(result, row, 0)))
            continue;
        list->oids[list->names.count] = (uint32_t)pg_integer(result, row, 1);
        rc = strv_add(&list->names, pg_text(result, row, 0), err);
    }
    if (!rc && list->names.count == 0)
        rc = error_set(err, ERR_FAILED, "the server has no database to dump");
    return rc;
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

static int prepare(struct dump *dump, struct pg_server *server, struct database_list *list,
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
        rc = list_databases(dump, conn, list, err);
    if (!rc)
        rc = pg_find_programs(policy->bindir, server->version_num / 10000, &dump->programs, err);
    if (rc)
        return rc;
    dump->server_version = server->version_num;
    dump->is_standby = server->is_standby;
    return set_workers(dump, err);
}

/* Says that the backup begins; from here on there is something to clean up. */
static int begin(struct dump *dump, const struct pg_server *server, struct started *started,
                 struct error *err)
{
    const struct work *work = dump->work;
    struct repository_server identity = {.system_identifier = server->system_identifier,
                                         .version = server->version,
                                         .version_num = server->version_num};
    int rc = repository_prepare(work->repository, err);
    if (!rc && server->system_identifier[0])
        rc = repository_admit_cluster(work->repository, &identity, work->started_us, err);
    else if (!rc)
        rc = dump_notice(dump, err,
                         "this role may not call pg_control_system(): the backup does "
                         "not say which cluster it is of");
    *started = (struct started){.kind = BACKUP_DUMP, .started_us = work->started_us};
    snprintf(started->job, sizeof(started->job), "%s", work->job->name);
    snprintf(started->run_id, sizeof(started->run_id), "%s", work->run_id);
    do {
        if (!rc || rc == ERR_EXISTS)
            rc = id_make(work->started_us, started->id, err);
        if (!rc)
            rc = backup_begin(work->repository, started, err);
    } while (rc == ERR_EXISTS);
    if (rc)
        return rc;
    snprintf(dump->id, sizeof(dump->id), "%s", started->id);
    char key[STORE_KEY_MAX + 1];
    rc = repository_backup_key(work->repository, BACKUP_DUMP, dump->id, NULL, key, err);
    if (!rc)
        snprintf(dump->prefix, sizeof(dump->prefix), "%.*s", (int)strlen(key) - 1, key);
    return rc;
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

/* After a failure in order nothing stays; what can't be deleted now is garbage that prune finds. */
static void discard(struct dump *dump)
{
    char key[STORE_KEY_MAX + 1];
    snprintf(key, sizeof(key), "%s/", dump->prefix);
    if (store_list(dump->store, key, false, delete_object, dump->store, NULL))
        return;
    dump_key(dump, "started.json", key);
    store_delete(dump->store, key, NULL);
}

static int dump_databases(struct dump *dump, const struct database_list *list, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < list->names.count && !rc; i++) {
        json_decref(dump->notices);
        dump->notices = json_array();
        rc = dump_one_database(dump, list->names.items[i], list->oids[i], err);
    }
    return rc;
}

static json_t *make_manifest(struct dump *dump, const struct pg_server *server, json_t *globals)
{
    const struct work *work = dump->work;
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:{s:s, s:i, s:s, s:O}, s:I, s:I, s:O, s:o, "
        "s:O}",
        "format", MANIFEST_FORMAT, "kind", "dump", "id", dump->id, "cluster", work->policy->cluster,
        "job", work->job->name, "run_id", work->run_id, "pgcairn_version", PGCAIRN_VERSION,
        "started_at", json_instant_micros(work->started_us), "completed_at",
        json_instant_micros(instant_now_us()), "server", "version", server->version, "version_num",
        server->version_num, "system_identifier", server->system_identifier, "settings",
        server->settings, "bytes_source", (json_int_t)atomic_load(&dump->bytes_source),
        "bytes_stored", (json_int_t)atomic_load(&dump->bytes_stored), "objects", dump->objects,
        "globals", globals, "databases", dump->databases);
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
    if (!rc)
        rc = work_check_lock(dump->work, err);
    if (!rc)
        rc = manifest_write(dump->work->repository, BACKUP_DUMP, dump->id, manifest, err);
    return rc;
}

static int run_with_list(struct dump *dump, struct database_list *list, struct work_result *result,
                         struct error *err)
{
    _cleanup_(pg_server_clear) struct pg_server server = {0};
    struct started started;
    int rc = prepare(dump, &server, list, err);
    if (!rc)
        rc = begin(dump, &server, &started, err);
    if (rc)
        return rc;
    dump->started = &started;
    rc = dump_databases(dump, list, err);
    if (!rc)
        rc = complete(dump, &server, err);
    if (rc) {
        discard(dump);
        return rc;
    }
    snprintf(result->backup_id, sizeof(result->backup_id), "%s", dump->id);
    result->bytes_source = atomic_load(&dump->bytes_source);
    result->bytes_stored = atomic_load(&dump->bytes_stored);
    return 0;
}

int dump_run(const struct work *work, struct work_result *result, struct error *err)
{
    struct database_list *list = calloc(1, sizeof(*list));
    if (!list)
        return error_no_memory(err);
    list->names = STRV_INIT(DATABASES_MAX);
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
    int rc = run_with_list(&dump, list, result, err);
    strv_clear(&list->names);
    free(list);
    return rc;
}
