#include "postgres/migrations.h"

#include <string.h>

/* Migration tables as the tools make them: where they may be, and the newest stamp in them. */
static const struct migration_tool {
    const char *tool, *schema, *table, *stamp_sql;
} MIGRATION_TOOLS[] = {
    {"drizzle", "drizzle", "__drizzle_migrations",
     "select hash, pg_catalog.to_timestamp(created_at / 1000.0)::text from %s order by created_at "
     "desc limit 1"},
    {"drizzle", "public", "__drizzle_migrations",
     "select hash, pg_catalog.to_timestamp(created_at / 1000.0)::text from %s order by created_at "
     "desc limit 1"},
    {"alembic", "public", "alembic_version",
     "select pg_catalog.string_agg(version_num, ',' order by version_num), null from %s"},
    {"prisma", "public", "_prisma_migrations",
     "select migration_name, finished_at::text from %s where finished_at is not null order by "
     "finished_at desc limit 1"},
    {"flyway", "public", "flyway_schema_history",
     "select coalesce(version, description), installed_on::text from %s where success order by "
     "installed_rank desc limit 1"},
    {"django", "public", "django_migrations",
     "select app || '.' || name, applied::text from %s order by id desc limit 1"},
    {"rails", "public", "schema_migrations", "select pg_catalog.max(version::text), null from %s"},
    {"knex", "public", "knex_migrations",
     "select name, migration_time::text from %s order by id desc limit 1"},
    {"node-pg-migrate", "public", "pgmigrations",
     "select name, run_on::text from %s order by id desc limit 1"},
    {"migrations", "public", "migrations",
     "select name::text, null from %s order by id desc limit 1"},
};

static json_t *text_or_null(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? json_null()
                                            : json_string(pg_text(result, row, column));
}

/* One row with a column for each tool: whether its table is there. */
static int find_tables(PGconn *conn, PGresult **ret_result, struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(BUF_LIMIT_DEFAULT);
    for (size_t i = 0; i < ARRAY_SIZE(MIGRATION_TOOLS); i++) {
        buf_addf(&sql, "%s coalesce((select relkind in ('r', 'p') from pg_catalog.pg_class",
                 i ? "," : "select");
        buf_add_text(&sql, " where oid = pg_catalog.to_regclass('");
        pg_add_qualified(&sql, MIGRATION_TOOLS[i].schema, MIGRATION_TOOLS[i].table);
        buf_add_text(&sql, "')), false)");
    }
    int rc = buf_failed(&sql, "a query", err);
    return rc ? rc : pg_query(conn, ret_result, err, buf_text(&sql), NULL);
}

/* A table that only bears the name of a migration tool's has other columns: the query fails, and
 * that is no fault of anybody's; a savepoint keeps the transaction alive. */
static int read_stamp(PGconn *conn, const struct migration_tool *tool, const char *table,
                      json_t **ret_stamp, struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(4096);
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    const char *place = strstr(tool->stamp_sql, "%s");
    buf_add(&sql, tool->stamp_sql, (size_t)(place - tool->stamp_sql));
    buf_addf(&sql, "%s%s", table, place + 2);
    int rc = pg_execute(conn, err, "savepoint stamp");
    if (rc)
        return rc;
    if (pg_query(conn, &result, NULL, buf_text(&sql), NULL))
        return pg_execute(conn, err, "rollback to savepoint stamp; release savepoint stamp");
    if (PQntuples(result) > 0 && !PQgetisnull(result, 0, 0))
        *ret_stamp =
            json_pack("{s:s, s:s, s:o, s:o}", "tool", tool->tool, "table", table, "stamp",
                      json_string(pg_text(result, 0, 0)), "applied_at", text_or_null(result, 0, 1));
    return pg_execute(conn, err, "release savepoint stamp");
}

int pg_read_migration(PGconn *conn, json_t **ret_stamp, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *there = NULL;
    json_t *stamp = NULL;
    int rc = find_tables(conn, &there, err);
    for (size_t i = 0; i < ARRAY_SIZE(MIGRATION_TOOLS) && !stamp && !rc; i++) {
        const struct migration_tool *tool = &MIGRATION_TOOLS[i];
        _cleanup_(buf_clear) struct buf name = BUF_INIT(1024);
        if (!pg_boolean(there, 0, (int)i))
            continue;
        pg_add_qualified(&name, tool->schema, tool->table);
        rc = read_stamp(conn, tool, buf_text(&name), &stamp, err);
    }
    if (!rc)
        *ret_stamp = stamp ? stamp : json_null();
    return rc;
}
