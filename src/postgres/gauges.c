#include "postgres/gauges.h"

#include "postgres/diagnosis.h"

static const char CONNECTIONS[] =
    "select (select count(*) from pg_catalog.pg_stat_activity"
    "   where coalesce(backend_type, 'client backend') = 'client backend' and datid is not null)"
    "  as used,"
    " pg_catalog.current_setting('max_connections')::bigint as \"limit\","
    " pg_catalog.current_setting('superuser_reserved_connections')::bigint as reserved";

/* One that an interrupted DROP DATABASE left (datconnlimit -2) has no size. */
static const char DATABASES[] =
    "select datname::text as name,"
    " case when datconnlimit <> -2 and (pg_catalog.has_database_privilege(oid, 'connect')"
    "   or pg_catalog.pg_has_role('pg_read_all_stats', 'usage'))"
    "   then pg_catalog.pg_database_size(oid) end as bytes,"
    " pg_catalog.age(datfrozenxid)::bigint as xid_age,"
    " pg_catalog.mxid_age(datminmxid)::bigint as mxid_age "
    "from pg_catalog.pg_database order by datname";

int pg_read_gauges(PGconn *conn, json_t **ret_gauges, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *connections = NULL;
    _cleanup_(pg_result_freep) PGresult *databases = NULL;
    int rc = pg_query(conn, &connections, err, CONNECTIONS, NULL);
    if (!rc)
        rc = pg_query(conn, &databases, err, DATABASES, NULL);
    if (rc)
        return rc;
    json_t *rows = pg_rows_to_json(connections);
    json_t *gauges = json_pack("{s:O, s:o}", "connections", json_array_get(rows, 0), "databases",
                               pg_rows_to_json(databases));
    json_decref(rows);
    if (!gauges)
        return error_no_memory(err);
    *ret_gauges = gauges;
    return 0;
}
