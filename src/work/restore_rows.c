/* The workers of a restore: each takes the largest volume left and feeds its members to COPY. */
#include <string.h>

#include "base/json.h"
#include "repository/manifest.h"
#include "work/restore.h"

enum { WATCH_STEP_US = 200000, SQL_LIMIT = 1 << 20 };

struct loader {
    struct restore_database *database;
    PGconn *conn;
    struct restore_table *table; /* whose COPY is open; NULL when none is */
};

static int compare_tables(const void *a, const void *b)
{
    const struct restore_table *left = a, *right = b;
    return left->oid < right->oid ? -1 : left->oid > right->oid;
}

static int compare_volumes(const void *a, const void *b)
{
    const struct restore_volume *left = a, *right = b;
    return left->size > right->size ? -1 : left->size < right->size;
}

static bool is_chosen(const uint32_t *oids, size_t count, uint32_t oid)
{
    for (size_t i = 0; i < count; i++)
        if (oids[i] == oid)
            return true;
    return false;
}

static int add_volumes(struct restore_database *database, json_t *names, struct error *err)
{
    const char *name;
    json_t *ignored;
    database->volumes = calloc(json_object_size(names) + 1, sizeof(*database->volumes));
    if (!database->volumes)
        return error_no_memory(err);
    json_object_foreach(names, name, ignored)
    {
        const json_t *object = manifest_object(database->restore->manifest, name);
        if (!object)
            return error_set(err, ERR_CORRUPT,
                             "the manifest has a table in volume %s, and no such "
                             "object",
                             name);
        int64_t size = json_number(object, "size");
        database->volumes[database->volume_count++] =
            (struct restore_volume){.object = object, .size = size};
        database->bytes_total += size;
    }
    qsort(database->volumes, database->volume_count, sizeof(*database->volumes), compare_volumes);
    return 0;
}

int restore_choose_rows(struct restore_database *database, const uint32_t *oids, size_t count,
                        bool all, struct error *err)
{
    const json_t *tables = json_object_get(database->entry, "tables");
    _cleanup_(json_release) json_t *names = json_object();
    database->tables = calloc(json_array_size(tables) + 1, sizeof(*database->tables));
    if (!database->tables || !names)
        return error_no_memory(err);
    size_t i, j;
    json_t *table, *volume;
    json_array_foreach(tables, i, table)
    {
        uint32_t oid = (uint32_t)json_number(table, "oid");
        if (!all && !is_chosen(oids, count, oid))
            continue;
        database->tables[database->table_count++] =
            (struct restore_table){.oid = oid, .entry = table};
        json_array_foreach(json_object_get(table, "volumes"), j, volume)
        {
            json_object_set_new(names, json_string_value(volume), json_true());
        }
    }
    qsort(database->tables, database->table_count, sizeof(*database->tables), compare_tables);
    return add_volumes(database, names, err);
}

struct restore_table *restore_find_table(const struct restore_database *database, uint32_t oid)
{
    struct restore_table key = {.oid = oid};
    return bsearch(&key, database->tables, database->table_count, sizeof(key), compare_tables);
}

/* The relation that a table's rows are given to. */
static void add_load_name(const struct restore_table *table, struct buf *sql)
{
    if (table->root)
        buf_add_text(sql, table->root);
    else
        pg_add_qualified(sql, json_text(table->entry, "load_schema"),
                         json_text(table->entry, "load_name"));
}

/* The topmost root of a partition in the target, quoted; of any other table itself. */
static int find_root(struct restore_database *database, const struct restore_table *table,
                     char **ret_root, struct error *err)
{
    _cleanup_(buf_clear) struct buf name = BUF_INIT(SQL_LIMIT);
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    pg_add_qualified(&name, json_text(table->entry, "schema"), json_text(table->entry, "name"));
    int rc = pg_query(database->conn, &result, err,
                      "select coalesce(pg_catalog.pg_partition_root(r), r)::text from "
                      "(select $1::pg_catalog.regclass as r) t",
                      buf_text(&name), NULL);
    if (!rc && !(*ret_root = strdup(pg_text(result, 0, 0))))
        rc = error_no_memory(err);
    return rc;
}

int restore_find_roots(struct restore_database *database, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < database->table_count && !rc; i++) {
        struct restore_table *table = &database->tables[i];
        if (strcmp(json_text(table->entry, "name"), json_text(table->entry, "load_name")) != 0 ||
            strcmp(json_text(table->entry, "schema"), json_text(table->entry, "load_schema")) != 0)
            rc = find_root(database, table, &table->root, err);
    }
    return rc;
}

void restore_add_copy(const struct restore_database *database, const struct restore_table *table,
                      struct buf *sql)
{
    buf_add_text(sql, "COPY ");
    add_load_name(table, sql);
    if (json_text(table->entry, "columns")[0])
        buf_addf(sql, " (%s)", json_text(table->entry, "columns"));
    buf_add_text(sql, " FROM stdin");
    pg_add_copy_options(sql, json_text(database->entry, "encoding"));
}

static int begin_copy(struct loader *loader, struct restore_table *table, struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    restore_add_copy(loader->database, table, &sql);
    int rc = buf_failed(&sql, "a COPY statement", err);
    if (rc)
        return rc;
    _cleanup_(pg_result_freep) PGresult *result = PQexec(loader->conn, buf_text(&sql));
    if (PQresultStatus(result) != PGRES_COPY_IN)
        return pg_error(loader->conn, result, err);
    loader->table = table;
    return 0;
}

static int end_copy(struct loader *loader, struct error *err)
{
    struct restore_table *table = loader->table;
    loader->table = NULL;
    if (!table)
        return 0;
    if (PQputCopyEnd(loader->conn, NULL) != 1)
        return pg_error(loader->conn, NULL, err);
    _cleanup_(pg_result_freep) PGresult *result = PQgetResult(loader->conn);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        pg_error(loader->conn, result, err);
        return error_prefix(err, "table %s.%s", json_text(table->entry, "schema"),
                            json_text(table->entry, "name"));
    }
    atomic_fetch_add(&table->rows, strtoll(PQcmdTuples(result), NULL, 10));
    PQclear(PQgetResult(loader->conn));
    return 0;
}

/* The server ended the COPY early: its reason comes with the result. */
static int copy_refused(struct loader *loader, struct error *err)
{
    int rc = end_copy(loader, err);
    return rc ? rc : pg_error(loader->conn, NULL, err);
}

static int load_member(struct loader *loader, struct volume_reader *reader, struct error *err)
{
    for (;;) {
        const void *data;
        size_t length;
        int rc = volume_read(reader, &data, &length, err);
        if (rc || length == 0)
            return rc;
        if (PQputCopyData(loader->conn, data, (int)length) != 1)
            return copy_refused(loader, err);
    }
}

static int load_members(struct loader *loader, struct volume_reader *reader, struct error *err)
{
    int64_t reported = 0;
    for (;;) {
        const char *name;
        int64_t size;
        int rc = volume_next(reader, &name, &size, err);
        if (rc)
            return rc;
        if (!name)
            return end_copy(loader, err);
        if (crew_stopped(loader->database->crew))
            return error_set(err, ERR_INTERRUPTED, "stopped");
        struct restore_table *table =
            restore_find_table(loader->database, (uint32_t)strtoul(name, NULL, 10));
        if (table && table != loader->table) {
            rc = end_copy(loader, err);
            if (!rc)
                rc = begin_copy(loader, table, err);
        }
        if (!rc && table)
            rc = load_member(loader, reader, err);
        if (rc)
            return rc;
        int64_t stored = volume_read_stored(reader);
        atomic_fetch_add(&loader->database->bytes_done, stored - reported);
        reported = stored;
    }
}

/* Rows that the server refuses may be rows that were damaged: then the volume is to blame, not what
 * its bytes happened to turn into. */
static int blame_volume(struct volume_reader *reader, struct error *err)
{
    struct error damage = ERROR_NONE;
    if (volume_read_finish(reader, &damage) == ERR_CORRUPT)
        *err = damage;
    return err->code;
}

static int load_volume(struct loader *loader, const struct restore_volume *volume,
                       struct error *err)
{
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    int rc = restore_open_object(loader->database->restore, json_text(volume->object, "name"),
                                 VOLUME_TAR, &reader, err);
    if (!rc)
        rc = load_members(loader, reader, err);
    if (rc == ERR_SQL)
        return blame_volume(reader, err);
    return rc ? rc : volume_read_finish(reader, err);
}

static int load_volumes(struct loader *loader, struct error *err)
{
    struct restore_database *database = loader->database;
    for (;;) {
        size_t number = atomic_fetch_add(&database->next_volume, 1);
        if (number >= database->volume_count || crew_stopped(database->crew))
            return 0;
        int rc = load_volume(loader, &database->volumes[number], err);
        if (rc)
            return rc;
    }
}

static void cancel_query(void *cancel)
{
    pg_cancel(cancel);
}

static int run_loader(void *argument, struct error *err)
{
    struct restore_database *database = argument;
    struct restore *restore = database->restore;
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    int rc = pg_connect(restore->conninfo, database->work_name, restore->application, &conn, err);
    if (!rc && restore->request->role) {
        _cleanup_(buf_clear) struct buf role = BUF_INIT(1024);
        pg_add_identifier(&role, restore->request->role);
        rc = pg_execute(conn, err, "set role %s", buf_text(&role));
    }
    if (rc)
        return rc;
    struct loader loader = {.database = database, .conn = conn};
    PGcancel *cancel = PQgetCancel(conn);
    int guard = crew_guard(database->crew, cancel_query, cancel);
    if (guard >= 0)
        rc = load_volumes(&loader, err);
    crew_unguard(database->crew, guard);
    PQfreeCancel(cancel);
    return rc;
}

int restore_rows(struct restore_database *database, struct error *err)
{
    int jobs = database->restore->request->jobs;
    int rc = crew_new(&database->crew, err);
    for (int i = 0; i < jobs && (size_t)i < database->volume_count && !rc; i++)
        rc = crew_start(database->crew, run_loader, database, err);
    if (rc)
        crew_fail(database->crew, err);
    while (!crew_ended(database->crew, WATCH_STEP_US)) {
        struct error interrupted = ERROR_NONE;
        restore_progress(database->restore, "loading rows", atomic_load(&database->bytes_done),
                         database->bytes_total);
        if (work_interrupted(&interrupted))
            crew_fail(database->crew, &interrupted);
    }
    return crew_join(database->crew, err);
}

static int64_t entry_rows(const struct restore_table *table)
{
    return json_number(table->entry, "rows");
}

/* Rows that COPY took, table by table. */
static int check_loaded(struct restore_database *database, struct error *err)
{
    for (size_t i = 0; i < database->table_count; i++) {
        struct restore_table *table = &database->tables[i];
        if (atomic_load(&table->rows) != entry_rows(table))
            return error_set(err, ERR_CORRUPT,
                             "table %s.%s: %lld rows were loaded, the manifest says %lld",
                             json_text(table->entry, "schema"), json_text(table->entry, "name"),
                             (long long)atomic_load(&table->rows), (long long)entry_rows(table));
    }
    return 0;
}

/* The tables whose counts speak for a relation: itself, or the leaves of a partitioned one; foreign
 * ones are left out, their rows are elsewhere. */
static const char LIST_COUNTED[] =
    "select pg_catalog.format('select pg_catalog.count(*) from only %s', c.oid::pg_catalog.regclass)"
    " from pg_catalog.pg_class c where c.relkind = 'r' and (c.oid = $1::pg_catalog.regclass or c.oid "
    "in (select relid from pg_catalog.pg_partition_tree($1::pg_catalog.regclass)))";

static int count_relation(struct restore_database *database, const char *relation, int64_t expected,
                          struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *tables = NULL;
    int64_t count = 0;
    int rc = pg_query(database->conn, &tables, err, LIST_COUNTED, relation, NULL);
    for (int row = 0; row < (rc ? 0 : PQntuples(tables)) && !rc; row++) {
        int64_t rows = 0;
        rc = work_interrupted(err)
                 ? ERR_INTERRUPTED
                 : pg_query_integer(database->conn, &rows, err, pg_text(tables, row, 0));
        count += rows;
    }
    if (rc == ERR_PERMISSION) {
        restore_notice(database->restore, "the rows of %s could not be counted: %s", relation,
                       err->message);
        return 0;
    }
    if (!rc && count != expected)
        rc = error_set(err, ERR_CORRUPT, "table %s has %lld rows, the manifest says %lld", relation,
                       (long long)count, (long long)expected);
    return rc;
}

int restore_check_rows(struct restore_database *database, struct error *err)
{
    int rc = check_loaded(database, err);
    if (rc || database->restore->request->no_counts)
        return rc;
    _cleanup_(json_release) json_t *sums = json_object();
    for (size_t i = 0; i < database->table_count && !rc; i++) {
        const struct restore_table *table = &database->tables[i];
        _cleanup_(freep) char *relation = NULL;
        if (json_is_true(json_object_get(table->entry, "extension_config")))
            continue; /* CREATE EXTENSION may have put rows of its own there */
        /* by their roots: rows loaded through one need not lie in the leaf they were read from */
        rc = find_root(database, table, &relation, err);
        if (rc)
            break;
        json_int_t sum = json_integer_value(json_object_get(sums, relation));
        if (json_object_set_new(sums, relation, json_integer(sum + (json_int_t)entry_rows(table))))
            rc = error_no_memory(err);
    }
    const char *relation;
    json_t *sum;
    json_object_foreach(sums, relation, sum)
    {
        if (!rc)
            rc = count_relation(database, relation, json_integer_value(sum), err);
    }
    return rc;
}
