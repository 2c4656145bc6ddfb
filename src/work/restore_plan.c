/* Everything that can be known before anything is changed: versions, whether the target is free,
 * extensions, owners. What would fail in the middle is refused here. */
#include <string.h>

#include "base/json.h"
#include "postgres/server.h"
#include "repository/manifest.h"
#include "work/policy_load.h"
#include "work/restore.h"

enum { SQL_LIMIT = 1 << 20 };

static int find_programs(struct restore *restore, struct error *err)
{
    int64_t dumped = json_integer_value(
        json_object_get(json_object_get(restore->manifest, "server"), "version_num"));
    int dumped_major = (int)(dumped / 10000);
    int target_major = restore->server_version / 10000;
    if (dumped_major > target_major) {
        error_set(err, ERR_FAILED, "the backup is of PostgreSQL %d, the target is PostgreSQL %d",
                  dumped_major, target_major);
        return error_hint(err, "restore into PostgreSQL %d or newer", dumped_major);
    }
    return pg_find_programs(restore->request->policy->bindir, target_major, &restore->programs,
                            err);
}

/* Databases that a restore which was killed has left: nobody is connected to them. They are told,
 * not dropped: only a person knows that no other machine is about to go on with one. */
static int tell_leftovers(struct restore *restore, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(
        restore->conn, &result, err,
        "select d.datname from pg_catalog.pg_database d where d.datname ~ '^" RESTORE_PREFIX
        "[a-z0-9]{4}$' and not exists (select 1 from pg_catalog.pg_stat_activity a "
        "where a.datid = d.oid) order by 1",
        NULL);
    for (int row = 0; row < (rc ? 0 : PQntuples(result)); row++)
        restore_notice(restore,
                       "database \"%s\" is what an interrupted restore left; when nobody needs it: "
                       "drop database %s",
                       pg_text(result, row, 0), pg_text(result, row, 0));
    return rc;
}

int restore_open(struct restore *restore, struct error *err)
{
    const struct restore_request *request = restore->request;
    int rc = 0;
    if (request->target)
        rc = (restore->conninfo = strdup(request->target)) ? 0 : error_no_memory(err);
    else
        rc = policy_connection(request->policy, NULL, &restore->conninfo, err);
    if (!rc)
        rc = pg_connect_maintenance(restore->conninfo, restore->application, &restore->conn, err);
    if (!rc)
        rc = pg_refuse_pooler(restore->conn, err);
    if (rc)
        return rc;
    restore->server_version = PQserverVersion(restore->conn);
    rc = tell_leftovers(restore, err);
    return rc ? rc : find_programs(restore, err);
}

static int look_for_database(struct restore_database *database, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(database->restore->conn, &result, err,
                      "select pg_catalog.pg_encoding_to_char(encoding) from pg_catalog.pg_database "
                      "where datname = $1",
                      database->final_name, NULL);
    if (rc)
        return rc;
    database->exists = PQntuples(result) > 0;
    if (!database->exists ||
        strcmp(pg_text(result, 0, 0), json_text(database->entry, "encoding")) == 0)
        return 0;
    return error_set(err, ERR_FAILED, "database \"%s\" has encoding %s, the backup has %s",
                     database->final_name, pg_text(result, 0, 0),
                     json_text(database->entry, "encoding"));
}

/* Objects that initdb did not make; plpgsql is everywhere. */
static const char FIRST_OBJECT[] =
    "select 'relation ' || c.oid::pg_catalog.regclass::text from pg_catalog.pg_class c"
    " where c.oid >= 16384 and c.relnamespace <> 'pg_toast'::pg_catalog.regnamespace "
    "union all select 'schema ' || nspname from pg_catalog.pg_namespace"
    " where oid >= 16384 and nspname !~ '^pg_(toast_)?temp' "
    "union all select 'function ' || p.oid::pg_catalog.regproc::text from pg_catalog.pg_proc p"
    " where p.oid >= 16384 "
    "union all select 'type ' || typname from pg_catalog.pg_type where oid >= 16384 "
    "union all select 'extension ' || extname from pg_catalog.pg_extension where oid >= 16384 "
    "union all select 'large object ' || oid from pg_catalog.pg_largeobject_metadata limit 1";

static int refuse_full_database(struct restore_database *database, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(database->conn, &result, err, FIRST_OBJECT, NULL);
    if (rc || PQntuples(result) == 0)
        return rc;
    error_set(err, ERR_EXISTS, "database \"%s\" exists and is not empty: it has %s",
              database->final_name, pg_text(result, 0, 0));
    return error_hint(err, "restore into a new one with --into NAME, then rename or drop by hand");
}

static int check_extensions(struct restore_database *database, struct error *err)
{
    size_t i;
    json_t *extension;
    json_array_foreach(json_object_get(database->entry, "extensions"), i, extension)
    {
        const char *name = json_text(extension, "name");
        const char *version = json_text(extension, "version");
        _cleanup_(pg_result_freep) PGresult *result = NULL;
        int rc = pg_query(database->restore->conn, &result, err,
                          "select default_version from pg_catalog.pg_available_extensions "
                          "where name = $1",
                          name, NULL);
        if (rc)
            return rc;
        if (PQntuples(result) == 0) {
            error_set(err, ERR_NOT_FOUND,
                      "the target server does not have extension \"%s\" (%s in the backup)", name,
                      version);
            return error_hint(err,
                              "install its package on the target server, for example "
                              "postgresql-%d-%s",
                              database->restore->server_version / 10000, name);
        }
        if (strcmp(pg_text(result, 0, 0), version) != 0)
            restore_notice(database->restore,
                           "extension %s will be version %s; it is %s in the backup", name,
                           pg_text(result, 0, 0), version);
    }
    return 0;
}

static int check_owner(struct restore_database *database, struct error *err)
{
    const struct restore_request *request = database->restore->request;
    const char *owner = json_text(database->entry, "owner");
    if (request->no_owner || request->create_roles)
        return 0;
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(database->restore->conn, &result, err,
                      "select 1 from pg_catalog.pg_roles where rolname = $1", owner, NULL);
    if (rc || PQntuples(result) > 0)
        return rc;
    error_set(err, ERR_NOT_FOUND,
              "role \"%s\", owner of database \"%s\", does not exist on the "
              "target",
              owner, database->name);
    return error_hint(err, "use --globals missing to create it, or --no-owner");
}

static int check_right_to_create(struct restore_database *database, struct error *err)
{
    if (database->exists)
        return 0;
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(database->restore->conn, &result, err,
                      "select rolcreatedb or rolsuper from pg_catalog.pg_roles where rolname = "
                      "current_user",
                      NULL);
    if (rc || (PQntuples(result) > 0 && pg_boolean(result, 0, 0)))
        return rc;
    error_set(err, ERR_PERMISSION, "role \"%s\" may not create database \"%s\"",
              PQuser(database->restore->conn), database->final_name);
    return error_hint(err, "alter role ... createdb, or create an empty database of that name "
                           "first: createdb -T template0 NAME");
}

/* Whether an object of the manifest belongs to this database: "OID/...". */
static bool is_of_database(const struct restore_database *database, const char *name)
{
    char folder[24];
    int length =
        snprintf(folder, sizeof(folder), "%lld/", (long long)json_number(database->entry, "oid"));
    return strncmp(name, folder, (size_t)length) == 0;
}

/* What is missing or cut is found before anything is made, not in the middle of the night's work;
 * changed bytes are found while reading. */
static int check_objects(struct restore_database *database, struct error *err)
{
    struct restore *restore = database->restore;
    size_t i;
    json_t *object;
    json_array_foreach(json_object_get(restore->manifest, "objects"), i, object)
    {
        const char *name = json_text(object, "name");
        int64_t size = json_number(object, "size");
        char key[STORE_KEY_MAX + 1];
        struct store_object found;
        if (!is_of_database(database, name))
            continue;
        int rc = repository_backup_key(restore->request->repository, BACKUP_DUMP, restore->id, name,
                                       key, err);
        if (!rc)
            rc = store_stat(restore->store, key, &found, err);
        if (rc == ERR_NOT_FOUND)
            return error_set(err, ERR_CORRUPT, "\"%s\" is missing from the repository", key);
        if (rc)
            return rc;
        if (found.size != size)
            return error_set(err, ERR_CORRUPT, "\"%s\" has %lld bytes, the manifest says %lld", key,
                             (long long)found.size, (long long)size);
    }
    return 0;
}

int restore_plan_database(struct restore_database *database, struct error *err)
{
    struct restore *restore = database->restore;
    int rc = check_objects(database, err);
    if (!rc)
        rc = look_for_database(database, err);
    if (!rc)
        rc = check_right_to_create(database, err);
    if (!rc)
        rc = check_extensions(database, err);
    if (!rc)
        rc = check_owner(database, err);
    if (!rc) /* a database that is not there yet is as empty as the maintenance one for --table */
        rc = pg_connect(restore->conninfo, database->exists ? database->final_name : "template1",
                        restore->application, &database->conn, err);
    bool whole = restore->request->tables->count == 0;
    if (!rc && database->exists && whole)
        rc = refuse_full_database(database, err);
    if (!rc)
        rc = restore_fetch_schema(database, err);
    if (!rc && whole)
        rc = restore_choose_rows(database, NULL, 0, true, err);
    else if (!rc)
        rc = restore_choose_tables(database, err);
    database->conn = (PQfinish(database->conn), NULL);
    return rc;
}
