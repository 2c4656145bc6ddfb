#include "postgres/tables.h"

#include <string.h>

/* Column positions of LIST_TABLES. */
enum {
    COLUMN_OID,
    COLUMN_SCHEMA,
    COLUMN_NAME,
    COLUMN_LOAD_SCHEMA,
    COLUMN_LOAD_NAME,
    COLUMN_COLUMNS,
    COLUMN_CONDITION,
    COLUMN_FOREIGN,
    COLUMN_UNLOGGED,
    COLUMN_HEAP,
    COLUMN_SELECT,
    COLUMN_SECURED,
    COLUMN_BYTES,
    COLUMN_BLOCKS,
    COLUMN_TOAST,
    COLUMN_CONFIG,
};

static const char LIST_TABLES[] =
    "with config as ("
    "  select unnest(e.extconfig) as oid, unnest(e.extcondition) as condition"
    "  from pg_catalog.pg_extension e where e.extconfig is not null"
    "), member as ("
    "  select d.objid as oid from pg_catalog.pg_depend d"
    "  where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype = 'e'"
    "), hashed as ("
    "  select c.oid, pg_catalog.pg_partition_root(c.oid) as root"
    "  from pg_catalog.pg_class c where c.relispartition and c.relkind = 'r' and exists ("
    "    select 1 from pg_catalog.pg_partition_ancestors(c.oid) a"
    "    join pg_catalog.pg_partitioned_table p on p.partrelid = a.relid where p.partstrat = 'h')"
    ")"
    "select c.oid, n.nspname, c.relname, coalesce(rn.nspname, n.nspname),"
    "  coalesce(r.relname, c.relname),"
    "  coalesce((select pg_catalog.string_agg("
    "      '\"' || pg_catalog.replace(a.attname, '\"', '\"\"') || '\"', ', ' order by a.attnum)"
    "    from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0"
    "    and not a.attisdropped and a.attgenerated = ''), ''),"
    "  coalesce(config.condition, ''),"
    "  c.relkind = 'f', c.relpersistence = 'u', coalesce(am.amname = 'heap', false),"
    "  pg_catalog.has_table_privilege(c.oid, 'select')"
    "    and pg_catalog.has_schema_privilege(n.oid, 'usage'),"
    "  pg_catalog.row_security_active(c.oid),"
    "  coalesce(pg_catalog.pg_relation_size(case when $1::bool then c.oid end), 0)"
    "    + coalesce(pg_catalog.pg_relation_size(case when $1::bool then nullif(c.reltoastrelid, 0) end), 0),"
    "  coalesce(pg_catalog.pg_relation_size(case when $1::bool then c.oid end), 0)"
    "    / pg_catalog.current_setting('block_size')::bigint,"
    "  coalesce(pg_catalog.pg_relation_size(case when $1::bool then nullif(c.reltoastrelid, 0) end), 0),"
    "  config.oid is not null "
    "from pg_catalog.pg_class c"
    "  join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    "  left join pg_catalog.pg_am am on am.oid = c.relam"
    "  left join hashed on hashed.oid = c.oid"
    "  left join pg_catalog.pg_class r on r.oid = hashed.root"
    "  left join pg_catalog.pg_namespace rn on rn.oid = r.relnamespace"
    "  left join config on config.oid = c.oid "
    "where c.relkind in ('r', 'f') and c.relpersistence <> 't'"
    "  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
    "  and (config.oid is not null or c.oid not in (select oid from member)) "
    "order by c.oid";

void pg_tables_clear(struct pg_tables *tables)
{
    for (size_t i = 0; i < tables->count; i++) {
        struct pg_table *table = &tables->items[i];
        if (table->load_schema != table->schema)
            free(table->load_schema);
        if (table->load_name != table->name)
            free(table->load_name);
        free(table->schema);
        free(table->name);
        free(table->columns);
        free(table->condition);
    }
    free(tables->items);
    *tables = (struct pg_tables){0};
}

/* A copy of the cell, or `same` when its text is equal. */
static char *copy_unless(const PGresult *result, int row, int column, char *same)
{
    const char *text = pg_text(result, row, column);
    return same && strcmp(text, same) == 0 ? same : strdup(text);
}

static bool fill_table(const PGresult *result, int row, struct pg_table *table)
{
    *table = (struct pg_table){
        .oid = (uint32_t)pg_integer(result, row, COLUMN_OID),
        .schema = strdup(pg_text(result, row, COLUMN_SCHEMA)),
        .name = strdup(pg_text(result, row, COLUMN_NAME)),
        .columns = strdup(pg_text(result, row, COLUMN_COLUMNS)),
        .condition = strdup(pg_text(result, row, COLUMN_CONDITION)),
        .is_foreign = pg_boolean(result, row, COLUMN_FOREIGN),
        .is_unlogged = pg_boolean(result, row, COLUMN_UNLOGGED),
        .is_heap = pg_boolean(result, row, COLUMN_HEAP),
        .is_extension_config = pg_boolean(result, row, COLUMN_CONFIG),
        .can_select = pg_boolean(result, row, COLUMN_SELECT),
        .is_row_secured = pg_boolean(result, row, COLUMN_SECURED),
        .bytes = pg_integer(result, row, COLUMN_BYTES),
        .heap_blocks = pg_integer(result, row, COLUMN_BLOCKS),
        .toast_bytes = pg_integer(result, row, COLUMN_TOAST),
    };
    table->load_schema = copy_unless(result, row, COLUMN_LOAD_SCHEMA, table->schema);
    table->load_name = copy_unless(result, row, COLUMN_LOAD_NAME, table->name);
    return table->schema && table->name && table->columns && table->condition &&
           table->load_schema && table->load_name;
}

int pg_list_tables(PGconn *conn, bool with_sizes, struct pg_tables *ret_tables, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err, LIST_TABLES, with_sizes ? "true" : "false", NULL);
    if (rc)
        return error_prefix(err, "could not list the tables");
    size_t count = (size_t)PQntuples(result);
    if (count > PG_TABLES_MAX)
        return error_set(err, ERR_LIMIT, "the database has %zu tables, more than %d", count,
                         PG_TABLES_MAX);
    _cleanup_(pg_tables_clear) struct pg_tables tables = {
        .items = calloc(count + 1, sizeof(*tables.items))};
    if (!tables.items)
        return error_no_memory(err);
    for (; tables.count < count; tables.count++)
        if (!fill_table(result, (int)tables.count, &tables.items[tables.count])) {
            tables.count++;
            return error_no_memory(err);
        }
    *ret_tables = tables;
    tables = (struct pg_tables){0};
    return 0;
}

static bool same_texts(const struct pg_table *a, const struct pg_table *b)
{
    return strcmp(a->schema, b->schema) == 0 && strcmp(a->name, b->name) == 0 &&
           strcmp(a->load_schema, b->load_schema) == 0 && strcmp(a->load_name, b->load_name) == 0 &&
           strcmp(a->columns, b->columns) == 0 && strcmp(a->condition, b->condition) == 0;
}

const char *pg_tables_difference(const struct pg_tables *a, const struct pg_tables *b, char *text,
                                 size_t size)
{
    size_t i = 0, j = 0;
    while (i < a->count && j < b->count && a->items[i].oid == b->items[j].oid) {
        if (!same_texts(&a->items[i], &b->items[j])) {
            snprintf(text, size, "table %s.%s was altered", a->items[i].schema, a->items[i].name);
            return text;
        }
        i++;
        j++;
    }
    if (i == a->count && j == b->count)
        return NULL;
    bool gone = j == b->count || (i < a->count && a->items[i].oid < b->items[j].oid);
    const struct pg_table *table = gone ? &a->items[i] : &b->items[j];
    snprintf(text, size, "table %s.%s %s", table->schema, table->name,
             gone ? "is gone" : "has come into being");
    return text;
}
