#include "postgres/estate.h"

#include "postgres/diagnosis.h"

enum { VERSION_WITH_COLLATIONS = 150000 };

static const char SELF[] =
    "select r.rolname::text as role, r.rolsuper as is_superuser, r.rolcreaterole as"
    " may_create_roles, pg_catalog.current_setting('data_checksums') = 'on' as has_checksums,"
    " pg_catalog.current_setting('autovacuum_freeze_max_age')::bigint as freeze_max_age "
    "from pg_catalog.pg_roles r where r.rolname = current_user";

/* An interrupted DROP DATABASE leaves one that lets nobody in (datconnlimit -2). */
#define DATABASES(old_collation)                                                              \
    "select datname::text as name, datallowconn and datconnlimit <> -2 as"                    \
    " accepts_connections, datistemplate as is_template, " old_collation                      \
    " as has_old_collation, pg_catalog.age(datfrozenxid)::bigint as xid_age,"                 \
    " pg_catalog.mxid_age(datminmxid)::bigint as mxid_age from pg_catalog.pg_database order " \
    "by datname"

int pg_read_estate(PGconn *conn, json_t **ret_estate, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *self = NULL;
    _cleanup_(pg_result_freep) PGresult *databases = NULL;
    int rc = pg_query(conn, &self, err, SELF, NULL);
    if (!rc)
        rc = pg_query(conn, &databases, err,
                      PQserverVersion(conn) >= VERSION_WITH_COLLATIONS
                          ? DATABASES("coalesce(datcollversion <> "
                                      "pg_catalog.pg_database_collation_actual_version(oid), "
                                      "false)")
                          : DATABASES("false"),
                      NULL);
    if (rc)
        return rc;
    json_t *rows = pg_rows_to_json(self), *list = pg_rows_to_json(databases);
    json_t *estate = json_array_size(rows) ? json_incref(json_array_get(rows, 0)) : json_object();
    json_decref(rows);
    if (!estate || json_object_set_new(estate, "databases", list)) {
        json_decref(estate);
        return error_no_memory(err);
    }
    *ret_estate = estate;
    return 0;
}
