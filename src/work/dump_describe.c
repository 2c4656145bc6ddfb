/* What the manifest says of a database, and its sequences.sql. */
#include <string.h>

#include "base/json.h"
#include "postgres/migrations.h"
#include "work/dump.h"

enum { SEQUENCES_PER_QUERY = 200, SQL_LIMIT = 4 << 20 };

/* The locale columns of pg_database were renamed and added to by 15 and 17. */
static const char *locale_columns(int server_version)
{
    if (server_version >= 170000)
        return "d.datlocprovider, d.datlocale, d.daticurules";
    if (server_version >= 160000)
        return "d.datlocprovider, d.daticulocale, d.daticurules";
    if (server_version >= 150000)
        return "d.datlocprovider, d.daticulocale, null";
    return "null, null, null";
}

static json_t *text_or_null(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? json_null()
                                            : json_string(pg_text(result, row, column));
}

/* A text that JSON can't hold must not be left out in silence. */
static int set_text(json_t *object, const char *key, const PGresult *result, int row, int column,
                    struct error *err)
{
    if (json_object_set_new(object, key, text_or_null(result, row, column)) == 0)
        return 0;
    error_set(err, ERR_FAILED, "%s of the database is not valid UTF-8", key);
    return error_hint(err, "it was written from a database with another encoding: write it anew");
}

/* Rows of a query as a list of objects with these keys, all of them texts. */
static int query_objects(PGconn *conn, const char *sql, const char *oid, const char *const *keys,
                         json_t **ret_list, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err, sql, oid, NULL);
    if (rc)
        return rc;
    _cleanup_(json_release) json_t *list = json_array();
    for (int row = 0; row < PQntuples(result); row++) {
        json_t *object = json_object();
        if (json_array_append_new(list, object))
            return error_no_memory(err);
        for (int column = 0; keys[column] && !rc; column++)
            rc = set_text(object, keys[column], result, row, column, err);
        if (rc)
            return rc;
    }
    *ret_list = TAKE(list);
    return 0;
}

/* Names in catalogues that all databases share are in no encoding in particular; as a restore does,
 * they are read through the database "postgres", and not through this one. */
static int add_properties(struct dump_database *database, PGconn *shared, json_t *entry,
                          struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    buf_addf(&sql,
             "select pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, %s,"
             " pg_catalog.pg_get_userbyid(d.datdba), d.datconnlimit, t.spcname, d.datistemplate,"
             " pg_catalog.shobj_description(d.oid, 'pg_database'), d.datacl is null "
             "from pg_catalog.pg_database d join pg_catalog.pg_tablespace t on t.oid = "
             "d.dattablespace where d.oid = %u",
             locale_columns(database->dump->server_version), database->oid);
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(shared, &result, err, buf_text(&sql), NULL);
    if (!rc && PQntuples(result) != 1)
        rc = error_set(err, ERR_NOT_FOUND, "database \"%s\" is gone", database->name);
    static const char *const KEYS[] = {"encoding", "collate",   "ctype", "locale_provider",
                                       "locale",   "icu_rules", "owner"};
    int next = (int)ARRAY_SIZE(KEYS);
    for (int i = 0; i < next && !rc; i++)
        rc = set_text(entry, KEYS[i], result, 0, i, err);
    if (!rc)
        rc = set_text(entry, "tablespace", result, 0, next + 1, err);
    if (!rc)
        rc = set_text(entry, "comment", result, 0, next + 3, err);
    if (rc)
        return rc;
    json_object_set_new(entry, "connection_limit", json_integer(pg_integer(result, 0, next)));
    json_object_set_new(entry, "is_template", json_boolean(pg_boolean(result, 0, next + 2)));
    json_object_set_new(entry, "acl_is_default", json_boolean(pg_boolean(result, 0, next + 4)));
    return 0;
}

/* What the database's sessions have; ours set another. */
static int add_lc_monetary(struct dump_database *database, json_t *entry, struct error *err)
{
    _cleanup_(freep) char *value = NULL;
    int rc = pg_query_text(database->coordinator, &value, err,
                           "select reset_val from pg_catalog.pg_settings where name = "
                           "'lc_monetary'");
    if (!rc && json_object_set_new(entry, "lc_monetary", json_string(value)))
        rc = error_no_memory(err);
    return rc;
}

/* One list of the entry per query: key, whether it is of shared catalogues, SQL, keys of its
 * objects. */
static int add_lists(struct dump_database *database, PGconn *shared, json_t *entry,
                     struct error *err)
{
    static const struct {
        const char *key;
        bool is_shared;
        const char *sql;
        const char *keys[5];
    } LISTS[] = {
        {"acl",
         true,
         "select pg_catalog.pg_get_userbyid(a.grantor),"
         " case when a.grantee = 0 then null else pg_catalog.pg_get_userbyid(a.grantee) end,"
         " a.privilege_type, a.is_grantable::text "
         "from pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a "
         "where d.oid = $1::oid",
         {"grantor", "grantee", "privilege", "grantable"}},
        {"settings",
         true,
         "select r.rolname, pg_catalog.split_part(s.setting, '=', 1),"
         " pg_catalog.substr(s.setting, pg_catalog.strpos(s.setting, '=') + 1) "
         "from pg_catalog.pg_db_role_setting c join pg_catalog.pg_database d on d.oid = "
         "c.setdatabase left join pg_catalog.pg_roles r on r.oid = c.setrole,"
         " pg_catalog.unnest(c.setconfig) s(setting) "
         "where d.oid = $1::oid order by 1 nulls first, 2",
         {"role", "name", "value"}},
        {"extensions",
         false,
         "select e.extname, e.extversion, n.nspname from pg_catalog.pg_extension e "
         "join pg_catalog.pg_namespace n on n.oid = e.extnamespace order by 1",
         {"name", "version", "schema"}},
        {"unread_tables",
         false,
         "select c.oid::text, n.nspname, c.relname from pg_catalog.pg_class c "
         "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
         "where c.relkind = 'p' or c.relkind = 'r' and c.relpersistence = 'u' order by c.oid",
         {"oid", "schema", "name"}},
    };
    char oid[16];
    snprintf(oid, sizeof(oid), "%u", database->oid);
    for (size_t i = 0; i < ARRAY_SIZE(LISTS); i++) {
        json_t *list = NULL;
        bool is_shared = LISTS[i].is_shared;
        int rc = query_objects(is_shared ? shared : database->coordinator, LISTS[i].sql,
                               is_shared ? oid : NULL, LISTS[i].keys, &list, err);
        if (rc)
            return rc;
        json_object_set_new(entry, LISTS[i].key, list);
    }
    return 0;
}

static int add_migration(struct dump_database *database, json_t *entry, struct error *err)
{
    json_t *stamp = NULL;
    int rc = pg_read_migration(database->coordinator, &stamp, err);
    if (!rc)
        json_object_set_new(entry, "migration", stamp);
    return rc;
}

static json_t *volume_names(const struct dump_database *database,
                            const struct dump_table_state *state)
{
    json_t *names = json_array();
    for (size_t i = 0; i < state->volume_count; i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s/data-%04d.tar.zst", database->folder, state->volumes[i]);
        json_array_append_new(names, json_string(name));
    }
    return names;
}

static json_t *describe_table(const struct dump_database *database, size_t index)
{
    const struct pg_table *table = &database->tables.items[index];
    const struct dump_table_state *state = &database->states[index];
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:i, s:o}", "oid",
                     (json_int_t)table->oid, "schema", table->schema, "name", table->name,
                     "load_schema", table->load_schema, "load_name", table->load_name, "columns",
                     table->columns, "extension_config", table->is_extension_config, "rows",
                     (json_int_t)state->rows, "bytes", (json_int_t)state->bytes, "segments",
                     state->segments, "volumes", volume_names(database, state));
}

static int add_tables(struct dump_database *database, json_t *entry, struct error *err)
{
    json_t *tables = json_array();
    int64_t rows = 0, bytes = 0;
    json_object_set_new(entry, "tables", tables);
    for (size_t i = 0; i < database->tables.count; i++) {
        const struct pg_table *table = &database->tables.items[i];
        if (table->is_foreign || (table->is_unlogged && database->dump->is_standby))
            continue;
        if (json_array_append_new(tables, describe_table(database, i)))
            return error_set(err, ERR_FAILED, "the name of table with OID %u is not valid UTF-8",
                             table->oid);
        rows += database->states[i].rows;
        bytes += database->states[i].bytes;
    }
    json_object_set_new(entry, "rows", json_integer(rows));
    json_object_set_new(entry, "bytes", json_integer(bytes));
    return 0;
}

static void add_object_name(const struct dump_database *database, json_t *entry, const char *key,
                            const char *file, bool is_there)
{
    char name[64];
    snprintf(name, sizeof(name), "%s/%s", database->folder, file);
    json_object_set_new(entry, key, is_there ? json_string(name) : json_null());
}

int dump_describe(struct dump_database *database, json_t **ret_description, struct error *err)
{
    json_t *entry = json_pack("{s:s, s:I, s:s}", "name", database->name, "oid",
                              (json_int_t)database->oid, "snapshot", database->snapshot);
    if (!entry)
        return error_no_memory(err);
    _cleanup_(pg_conn_freep) PGconn *shared = NULL;
    int rc =
        pg_connect_maintenance(database->dump->conninfo, database->dump->application, &shared, err);
    if (!rc)
        rc = add_properties(database, shared, entry, err);
    if (!rc)
        rc = add_lists(database, shared, entry, err);
    if (!rc)
        rc = add_lc_monetary(database, entry, err);
    if (!rc)
        rc = add_migration(database, entry, err);
    add_object_name(database, entry, "schema", "schema.pgdump", true);
    add_object_name(database, entry, "sequences", "sequences.sql", true);
    add_object_name(database, entry, "large_objects", "large-objects.pgdump",
                    database->has_large_objects);
    json_object_set(entry, "notices", database->dump->notices);
    json_object_set_new(entry, "is_standby", json_boolean(database->dump->is_standby));
    if (!rc)
        rc = add_tables(database, entry, err);
    if (rc) {
        json_decref(entry);
        return error_prefix(err, "manifest");
    }
    *ret_description = entry;
    return 0;
}

/* A standby has no unlogged ones. Of an extension's sequences those that it registered, and those
 * that number the rows of a table it registered: pg_dump forgets the latter, and the next row would
 * get a number that is taken. */
static const char LIST_SEQUENCES[] =
    "select n.nspname, c.relname, pg_catalog.has_sequence_privilege(c.oid, 'select'), c.oid "
    "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
    "where c.relkind = 'S' and c.relpersistence <> 't' and n.nspname !~ '^pg_'"
    " and (c.relpersistence <> 'u' or not pg_catalog.pg_is_in_recovery())"
    " and n.nspname <> 'information_schema'"
    " and (c.oid in (select pg_catalog.unnest(e.extconfig) from pg_catalog.pg_extension e)"
    "  or exists (select 1 from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype in ('a', "
    "'i') and d.refobjid in (select pg_catalog.unnest(e.extconfig) from pg_catalog.pg_extension e))"
    "  or not exists (select 1 from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = "
    "'e' and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)) "
    "order by 1, 2";

/* setval() of each sequence of a batch, with what the sequence holds now; its OID goes before it,
 * so that a restore of some tables finds their sequences by it. */
static int add_setvals(PGconn *conn, const PGresult *sequences, int first, int end,
                       struct buf *script, struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    for (int row = first; row < end; row++) {
        buf_addf(&sql, "%sselect last_value, is_called from ", row > first ? " union all " : "");
        pg_add_qualified(&sql, pg_text(sequences, row, 0), pg_text(sequences, row, 1));
    }
    int rc = buf_failed(&sql, "a query for sequences", err);
    _cleanup_(pg_result_freep) PGresult *values = NULL;
    if (!rc)
        rc = pg_query(conn, &values, err, buf_text(&sql), NULL);
    if (rc == ERR_SQL && strstr(err->message, "does not exist"))
        return err->code = ERR_CONFLICT; /* dropped since the snapshot: another attempt is whole */
    if (rc)
        return rc;
    for (int row = first; row < end; row++) {
        _cleanup_(buf_clear) struct buf name = BUF_INIT(1024);
        pg_add_qualified(&name, pg_text(sequences, row, 0), pg_text(sequences, row, 1));
        buf_addf(script, "/* %s */ SELECT pg_catalog.setval(", pg_text(sequences, row, 3));
        pg_add_literal(script, buf_text(&name));
        buf_addf(script, ", %s, %s);\n", pg_text(values, row - first, 0),
                 pg_boolean(values, row - first, 1) ? "true" : "false");
    }
    return buf_failed(script, "sequences.sql", err);
}

static int check_sequences(PGconn *conn, const PGresult *sequences, struct error *err)
{
    for (int row = 0; row < PQntuples(sequences); row++) {
        if (pg_boolean(sequences, row, 2))
            continue;
        if (PQgetisnull(sequences, row, 2)) /* the snapshot has it, the server has it no more */
            return error_set(err, ERR_CONFLICT, "sequence %s.%s was dropped meanwhile",
                             pg_text(sequences, row, 0), pg_text(sequences, row, 1));
        error_set(err, ERR_PERMISSION, "role \"%s\" may not read sequence %s.%s", PQuser(conn),
                  pg_text(sequences, row, 0), pg_text(sequences, row, 1));
        return error_hint(err, "grant pg_read_all_data to the role, or SELECT on all sequences");
    }
    return 0;
}

int dump_sequences(struct dump_database *database, struct error *err)
{
    PGconn *conn = database->coordinator;
    _cleanup_(pg_result_freep) PGresult *sequences = NULL;
    _cleanup_(buf_clear) struct buf script = BUF_INIT(256 << 20);
    buf_add_text(&script, "SET client_encoding = 'UTF8';\n");
    int rc = pg_query(conn, &sequences, err, LIST_SEQUENCES, NULL);
    if (!rc)
        rc = check_sequences(conn, sequences, err);
    int count = rc ? 0 : PQntuples(sequences);
    for (int first = 0; first < count && !rc; first += SEQUENCES_PER_QUERY) {
        int end = first + SEQUENCES_PER_QUERY < count ? first + SEQUENCES_PER_QUERY : count;
        rc = add_setvals(conn, sequences, first, end, &script, err);
    }
    if (rc)
        return error_prefix(err, "sequences");
    char name[64], key[STORE_KEY_MAX + 1];
    snprintf(name, sizeof(name), "%s/sequences.sql", database->folder);
    dump_key(database->dump, name, key);
    _cleanup_(volume_freep) struct volume *volume = NULL;
    struct store_object object;
    rc = volume_create(database->dump->store, key, VOLUME_PLAIN, &database->dump->options, &volume,
                       err);
    if (!rc)
        rc = volume_data(volume, buf_text(&script), script.length, err);
    if (!rc)
        rc = volume_commit(volume, &object, err);
    return rc ? rc : dump_add_object(database->dump, name, &object, (int64_t)script.length, err);
}
