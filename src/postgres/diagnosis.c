#include "postgres/diagnosis.h"

#include <string.h>

/* Types of the server that have their own in JSON (PostgreSQL src/include/catalog/pg_type.dat). */
enum {
    TYPE_BOOLEAN = 16,
    TYPE_BIGINT = 20,
    TYPE_SMALLINT = 21,
    TYPE_INTEGER = 23,
    TYPE_REAL = 700,
    TYPE_DOUBLE = 701,
    TYPE_NUMERIC = 1700,
};

struct question {
    const char *name; /* key in the report */
    const char *what; /* "could not tell WHAT: ..." */
    const char *sql; /* at most PG_DIAGNOSIS_ROWS rows; $1 is the own application in the server's */
};

static const struct question SERVER_QUESTIONS[] = {
    {"databases", "the sizes and ages of the databases",
     "select datname as name,"
     " case when pg_catalog.has_database_privilege(oid, 'connect')"
     "   or pg_catalog.pg_has_role('pg_read_all_stats', 'usage')"
     "   then pg_catalog.pg_database_size(oid) end as bytes,"
     " pg_catalog.age(datfrozenxid) as xid_age, pg_catalog.mxid_age(datminmxid) as mxid_age,"
     " round(100.0 * pg_catalog.age(datfrozenxid)"
     "   / pg_catalog.current_setting('autovacuum_freeze_max_age')::int)::int"
     "   as freeze_age_percent,"
     " round(100.0 * pg_catalog.age(datfrozenxid) / 2146483647)::int as wraparound_percent "
     "from pg_catalog.pg_database where $1::text is not null "
     "order by pg_catalog.age(datfrozenxid) desc, datname limit 20"},
    {"connections", "the number of connections",
     "select count(*)::int as used,"
     " pg_catalog.current_setting('max_connections')::int as \"limit\","
     " pg_catalog.current_setting('superuser_reserved_connections')::int as reserved "
     "from pg_catalog.pg_stat_activity where coalesce(backend_type, 'client backend')"
     "  = 'client backend' and datid is not null and $1::text is not null"},
    {"settings", "settings that hinder maintenance",
     "select name, setting, 'alter system set ' || name || ' = on' as command "
     "from pg_catalog.pg_settings where name in ('autovacuum', 'track_counts')"
     "  and setting = 'off' and $1::text is not null order by name"},
    {"blockers", "what holds back the removal of dead rows",
     "select kind, holder, database, \"user\", application, state, xid_age,"
     " to_char(began at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as since, command from ("
     "  select 'session' as kind, pid::text as holder, datname as database, usename as \"user\","
     "    application_name as application, state,"
     "    greatest(pg_catalog.age(backend_xmin), pg_catalog.age(backend_xid)) as xid_age,"
     "    xact_start as began, 'select pg_terminate_backend(' || pid || ')' as command"
     "  from pg_catalog.pg_stat_activity"
     "  where (backend_xmin is not null or backend_xid is not null)"
     "    and pid <> pg_catalog.pg_backend_pid() and application_name is distinct from $1"
     "    and backend_type is distinct from 'walsender'"
     "    and backend_type is distinct from 'autovacuum worker'"
     "  union all select 'prepared transaction', gid, database, owner, null, null,"
     "    pg_catalog.age(transaction), prepared, pg_catalog.format('rollback prepared %L', gid)"
     "  from pg_catalog.pg_prepared_xacts"
     "  union all select 'replication slot', slot_name, database, null, null,"
     "    case when active then 'active' else 'inactive' end,"
     "    greatest(pg_catalog.age(xmin), pg_catalog.age(catalog_xmin)), null,"
     "    pg_catalog.format('select pg_drop_replication_slot(%L)', slot_name)"
     "  from pg_catalog.pg_replication_slots where xmin is not null or catalog_xmin is not null"
     "  union all select 'standby', coalesce(host(client_addr), pid::text), null, usename,"
     "    application_name, state, pg_catalog.age(backend_xmin), null,"
     "    'end the long query on the standby, or set hot_standby_feedback = off there'"
     "  from pg_catalog.pg_stat_replication where backend_xmin is not null"
     ") holders order by xid_age desc nulls last, began limit 20"},
    {"idle_in_transaction", "sessions that idle in a transaction",
     "select pid, datname as database, usename as \"user\", application_name as application,"
     " extract(epoch from pg_catalog.clock_timestamp() - state_change)::bigint as seconds,"
     " 'select pg_terminate_backend(' || pid || ')' as command "
     "from pg_catalog.pg_stat_activity where state like 'idle in transaction%'"
     "  and application_name is distinct from $1 order by state_change limit 20"},
    {"slots", "the replication slots",
     "select slot_name as name, active, wal_status,"
     " case when pg_catalog.pg_is_in_recovery() then null else pg_catalog.pg_wal_lsn_diff("
     "   pg_catalog.pg_current_wal_lsn(), restart_lsn)::bigint end as retained_bytes,"
     " case when not active then"
     "   pg_catalog.format('select pg_drop_replication_slot(%L)', slot_name) end as command "
     "from pg_catalog.pg_replication_slots where $1::text is not null"
     " order by restart_lsn limit 20"},
};

/* Of sizes, relpages are taken and not the files, whose look waits for locks. */
static const struct question DATABASE_QUESTIONS[] = {
    {"largest_tables", "the largest tables",
     "select n.nspname as schema, c.relname as \"table\","
     " pg_catalog.current_setting('block_size')::bigint * (c.relpages::bigint"
     "   + coalesce(t.relpages, 0) + coalesce((select sum(i.relpages)"
     "     from pg_catalog.pg_index x join pg_catalog.pg_class i on i.oid = x.indexrelid"
     "     where x.indrelid in (c.oid, t.oid)), 0))::bigint as bytes,"
     " greatest(c.reltuples, 0)::bigint as rows "
     "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
     " left join pg_catalog.pg_class t on t.oid = c.reltoastrelid "
     "where c.relkind in ('r', 'm') and c.relpages > 0"
     "  and n.nspname not in ('pg_catalog', 'information_schema')"
     "order by 3 desc, 1, 2 limit 10"},
    {"invalid_indexes", "invalid indexes",
     "select n.nspname as schema, t.relname as \"table\", c.relname as index,"
     " pg_catalog.format('reindex index concurrently %I.%I; -- or: drop index concurrently %I.%I',"
     "   n.nspname, c.relname, n.nspname, c.relname) as command "
     "from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid"
     " join pg_catalog.pg_class t on t.oid = i.indrelid"
     " join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
     "where not i.indisvalid and c.relkind = 'i' and not exists ("
     "  select from pg_catalog.pg_stat_progress_create_index p where p.index_relid = c.oid) "
     "order by 1, 3 limit 20"},
    {"sequences", "sequences that are nearly used up",
     "select * from (select n.nspname as schema, c.relname as sequence, s.last_value,"
     "  o.highest, round(100.0 * s.last_value / o.highest)::int as percent,"
     "  case when a.attname is not null"
     "    then pg_catalog.format('%I.%I.%I', tn.nspname, tc.relname, a.attname) end as \"column\""
     " from pg_catalog.pg_sequences s"
     " join pg_catalog.pg_namespace n on n.nspname = s.schemaname"
     " join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = s.sequencename"
     "   and c.relkind = 'S'"
     " left join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
     "   and d.objid = c.oid and d.refclassid = d.classid and d.deptype in ('a', 'i')"
     "   and d.refobjsubid > 0"
     " left join pg_catalog.pg_class tc on tc.oid = d.refobjid"
     " left join pg_catalog.pg_namespace tn on tn.oid = tc.relnamespace"
     " left join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid"
     " cross join lateral (select least(s.max_value, case a.atttypid"
     "   when 'int2'::pg_catalog.regtype then 32767 when 'int4'::pg_catalog.regtype then 2147483647"
     "   else 9223372036854775807 end) as highest) o"
     " where not s.cycle and s.increment_by > 0 and s.last_value is not null and o.highest > 0"
     ") used where percent > 75 order by percent desc, schema, sequence limit 20"},
    {"autovacuum_disabled", "tables without autovacuum",
     "select n.nspname as schema, c.relname as \"table\","
     " pg_catalog.format('alter table %I.%I reset (autovacuum_enabled)', n.nspname, c.relname)"
     "   as command "
     "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
     "where c.relkind in ('r', 'm') and exists (select from"
     "  pg_catalog.pg_options_to_table(c.reloptions) o where o.option_name = 'autovacuum_enabled'"
     "  and not o.option_value::boolean) order by 1, 2 limit 20"},
};

/* The extension's columns have these names since 13; utility statements can hold passwords. */
static const char SLOW_STATEMENTS[] =
    "select pg_catalog.left(pg_catalog.regexp_replace(query, '\\s+', ' ', 'g'), 200) as statement,"
    " calls, round(total_exec_time::numeric, 1) as total_ms,"
    " round(mean_exec_time::numeric, 3) as mean_ms "
    "from %s.pg_stat_statements where query !~* 'password' and dbid = (select oid"
    "  from pg_catalog.pg_database where datname = pg_catalog.current_database()) "
    "order by total_exec_time desc limit 5";

json_t *pg_text_to_json(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    char *copy = strdup(text);
    for (char *c = copy; c && *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    json = copy ? json_string(copy) : NULL;
    free(copy);
    return json;
}

static json_t *cell_to_json(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return json_null();
    const char *text = pg_text(result, row, column);
    switch (PQftype(result, column)) {
    case TYPE_BOOLEAN:
        return json_boolean(*text == 't');
    case TYPE_BIGINT:
    case TYPE_SMALLINT:
    case TYPE_INTEGER:
        return json_integer(strtoll(text, NULL, 10));
    case TYPE_REAL:
    case TYPE_DOUBLE:
    case TYPE_NUMERIC:
        return json_real(strtod(text, NULL));
    default:
        return pg_text_to_json(text);
    }
}

json_t *pg_rows_to_json(const PGresult *result)
{
    json_t *rows = json_array();
    for (int row = 0; row < PQntuples(result); row++) {
        json_t *object = json_object();
        int failed = object ? 0 : -1;
        for (int column = 0; column < PQnfields(result) && !failed; column++)
            failed = json_object_set_new(object, PQfname(result, column),
                                         cell_to_json(result, row, column));
        if (failed)
            json_decref(object);
        if (failed || json_array_append_new(rows, object)) {
            json_decref(rows);
            return NULL;
        }
    }
    return rows;
}

/* A refusal by the server is an answer of its own; a lost connection is not. */
static int note_unknown(const struct question *question, struct error *refusal, json_t *unknown,
                        struct error *err)
{
    if (refusal->code == ERR_CONNECTION || refusal->code == ERR_MEMORY) {
        if (err)
            *err = *refusal;
        return refusal->code;
    }
    char text[ERROR_MESSAGE_MAX];
    error_prefix(refusal, "could not tell %s", question->what);
    snprintf(text, sizeof(text), "%s", refusal->message);
    return json_array_append_new(unknown, pg_text_to_json(text)) ? error_no_memory(err) : 0;
}

static int ask(PGconn *conn, const struct question *question, const char *parameter, json_t *report,
               json_t *unknown, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    struct error refusal = ERROR_NONE;
    if (pg_query(conn, &result, &refusal, question->sql, parameter, NULL))
        return note_unknown(question, &refusal, unknown, err);
    json_t *rows = pg_rows_to_json(result);
    return json_object_set_new(report, question->name, rows) ? error_no_memory(err) : 0;
}

int pg_diagnose_server(PGconn *conn, const char *own_application, json_t *report, json_t *unknown,
                       struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(SERVER_QUESTIONS) && !rc; i++)
        rc = ask(conn, &SERVER_QUESTIONS[i], own_application, report, unknown, err);
    return rc;
}

static int ask_slow_statements(PGconn *conn, json_t *report, json_t *unknown, struct error *err)
{
    struct question question = {.name = "slow_statements", .what = "the slowest statements"};
    _cleanup_(freep) char *schema = NULL;
    struct error refusal = ERROR_NONE;
    int rc = pg_query_text(conn, &schema, &refusal,
                           "select pg_catalog.quote_ident(n.nspname) from pg_catalog.pg_extension e"
                           " join pg_catalog.pg_namespace n on n.oid = e.extnamespace"
                           " where e.extname = 'pg_stat_statements'");
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc)
        return note_unknown(&question, &refusal, unknown, err);
    struct buf sql = BUF_INIT(BUF_LIMIT_DEFAULT);
    buf_addf(&sql, SLOW_STATEMENTS, schema);
    question.sql = buf_text(&sql);
    rc = buf_failed(&sql, "a query", err);
    if (!rc)
        rc = ask(conn, &question, NULL, report, unknown, err);
    buf_clear(&sql);
    return rc;
}

int pg_diagnose_database(PGconn *conn, json_t *report, json_t *unknown, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(DATABASE_QUESTIONS) && !rc; i++)
        rc = ask(conn, &DATABASE_QUESTIONS[i], NULL, report, unknown, err);
    return rc ? rc : ask_slow_statements(conn, report, unknown, err);
}
