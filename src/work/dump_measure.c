/*
 * Rows that are big: libpq holds a row twice while it is read, so tables with rows over
 * DUMP_BIG_ROW_BYTES are read by one worker at a time; and a row over 1 GB as text can't be written
 * by COPY at all (MaxAllocSize, PostgreSQL src/include/utils/memutils.h), which pg_dump learns in
 * the middle of its work and we say before.
 *
 * Only values out of line can be that big. The length of text and bytea is read from their TOAST
 * pointers without fetching them; of other types only the stored length is known so cheaply, and
 * their text is guessed from that. What is scanned is the table's main fork, or its TOAST table
 * where that is smaller and shows that no value is long enough.
 */
#include <string.h>

#include "work/dump.h"

#define COPY_ROW_MAX INT64_C(0x3fffffff)

enum {
    COMPRESSION_MAX = 255, /* lz4's; pglz does less */
    TOAST_CHUNK_BYTES = 1996,
    TEXT_PER_STORED = 8, /* bytes of text for a stored byte of a type that can't be measured */
    SQL_LIMIT = 1 << 20,
};

static const char LONG_COLUMNS[] =
    "select '\"' || pg_catalog.replace(a.attname, '\"', '\"\"') || '\"', "
    "case when t.oid in ('pg_catalog.text'::pg_catalog.regtype, 'pg_catalog.varchar'::pg_catalog.regtype, 'pg_catalog.bpchar'::pg_catalog.regtype) then 't' "
    "when t.oid = 'pg_catalog.bytea'::pg_catalog.regtype then 'b' else '-' end "
    "from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = "
    "(select case when b.typtype = 'd' then b.typbasetype else b.oid end from pg_catalog.pg_type b "
    "where b.oid = a.atttypid) "
    "where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped and a.attlen = -1 "
    "and a.attgenerated = '' and a.attstorage <> 'p' order by a.attnum";

/* Whether the TOAST table has a value of so many chunks that it may be big; true when it can't be
 * asked. */
static int toast_has_long_value(struct dump_database *database, const struct pg_table *table,
                                bool *ret_long, struct error *err)
{
    PGconn *conn = database->coordinator;
    _cleanup_(pg_result_freep) PGresult *toast = NULL, *found = NULL;
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    char oid[16];
    snprintf(oid, sizeof(oid), "%u", table->oid);
    int rc = pg_query(conn, &toast, err,
                      "select t.relname, pg_catalog.has_table_privilege(t.oid, 'select') and "
                      "pg_catalog.has_schema_privilege(t.relnamespace, 'usage') from "
                      "pg_catalog.pg_class c join pg_catalog.pg_class t on t.oid = c.reltoastrelid "
                      "where c.oid = $1::oid",
                      oid, NULL);
    *ret_long = true;
    if (rc || PQntuples(toast) == 0 || !pg_boolean(toast, 0, 1))
        return rc;
    buf_add_text(&sql, "select 1 from ");
    pg_add_qualified(&sql, "pg_toast", pg_text(toast, 0, 0));
    buf_addf(&sql, " where chunk_seq >= %d limit 1",
             DUMP_BIG_ROW_BYTES / COMPRESSION_MAX / TOAST_CHUNK_BYTES);
    rc = pg_query(conn, &found, err, buf_text(&sql), NULL);
    if (!rc)
        *ret_long = PQntuples(found) > 0;
    return rc;
}

/* "coalesce(octet_length("a"), 0) + ...", sure and guessed apart. False without such columns. */
static bool add_lengths(const PGresult *columns, struct buf *sure, struct buf *guess)
{
    buf_add_text(sure, "0::bigint");
    buf_add_text(guess, "0::bigint");
    for (int row = 0; row < PQntuples(columns); row++) {
        const char *name = pg_text(columns, row, 0);
        char kind = pg_text(columns, row, 1)[0];
        if (kind == '-')
            buf_addf(guess, " + %d * coalesce(pg_catalog.pg_column_size(%s), 0)::bigint",
                     TEXT_PER_STORED, name);
        else
            buf_addf(sure, " + %d * coalesce(pg_catalog.octet_length(%s), 0)::bigint",
                     kind == 'b' ? 2 : 1, name);
    }
    return PQntuples(columns) > 0;
}

static int measure_rows(struct dump_database *database, size_t index, struct error *err)
{
    const struct pg_table *table = &database->tables.items[index];
    _cleanup_(pg_result_freep) PGresult *columns = NULL, *result = NULL;
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    _cleanup_(buf_clear) struct buf sure = BUF_INIT(SQL_LIMIT);
    _cleanup_(buf_clear) struct buf guess = BUF_INIT(SQL_LIMIT);
    char oid[16];
    snprintf(oid, sizeof(oid), "%u", table->oid);
    int rc = pg_query(database->coordinator, &columns, err, LONG_COLUMNS, oid, NULL);
    if (rc || !add_lengths(columns, &sure, &guess))
        return rc;
    buf_addf(
        &sql,
        "select ctid, sure, sure + guess from (select ctid, %s as sure, %s as guess from only ",
        buf_text(&sure), buf_text(&guess));
    pg_add_qualified(&sql, table->schema, table->name);
    buf_addf(&sql, " %s) t where sure + guess > %d order by sure desc limit 1", table->condition,
             DUMP_BIG_ROW_BYTES);
    rc = buf_failed(&sql, "a query for big rows", err);
    if (!rc)
        rc = pg_query(database->coordinator, &result, err, buf_text(&sql), NULL);
    if (rc || PQntuples(result) == 0)
        return rc;
    database->has_big_rows[index] = true;
    if (pg_integer(result, 0, 1) <= COPY_ROW_MAX)
        return 0;
    error_set(err, ERR_LIMIT,
              "table %s.%s: the row at ctid %s is %s bytes as text, and no row over 1 "
              "GB can be copied out, by pg_dump neither",
              table->schema, table->name, pg_text(result, 0, 0), pg_text(result, 0, 1));
    return error_hint(err, "split the value, keep it as a large object, or outside the database");
}

int dump_measure(struct dump_database *database, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < database->tables.count && !rc; i++) {
        const struct pg_table *table = &database->tables.items[i];
        bool may_be_long = table->toast_bytes >= DUMP_BIG_ROW_BYTES / COMPRESSION_MAX;
        if (table->is_foreign || (table->is_unlogged && database->dump->is_standby))
            continue;
        if (may_be_long && table->toast_bytes < table->bytes - table->toast_bytes)
            rc = toast_has_long_value(database, table, &may_be_long, err);
        if (!rc && may_be_long)
            rc = measure_rows(database, i, err);
    }
    return rc;
}
