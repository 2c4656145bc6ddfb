#include "postgres/maintenance.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/instant.h"

enum { MEASURE_LOOKS = 15, MEASURE_PAUSE_NANOSECONDS = 100000000 };

/* Column positions of LIST_CANDIDATES. */
enum {
    COLUMN_OID,
    COLUMN_TREE,
    COLUMN_PARENT_OID,
    COLUMN_SCHEMA,
    COLUMN_NAME,
    COLUMN_OWNER,
    COLUMN_KIND,
    COLUMN_SYSTEM,
    COLUMN_SHARED,
    COLUMN_PARENT,
    COLUMN_CAN_VACUUM,
    COLUMN_CAN_ANALYZE,
    COLUMN_HAS_STATISTICS,
    COLUMN_EVER_VACUUMED,
    COLUMN_ROWS,
    COLUMN_PAGES,
    COLUMN_VISIBLE,
    COLUMN_XID_AGE,
    COLUMN_MXID_AGE,
    COLUMN_DEAD,
    COLUMN_INSERTED,
    COLUMN_CHANGED,
    COLUMN_TOAST_DEAD,
    COLUMN_TOAST_ROWS,
    COLUMN_ANALYZED,
    COLUMN_CHILDREN_ANALYZED,
    COLUMN_OPTIONS, /* storage parameters, "name=value" on lines */
};

/* What a role must have to vacuum c, of the database d; MAINTAIN came with 17. */
static const char MAY_BY_OWNERSHIP[] = "pg_catalog.pg_has_role(c.relowner, 'usage')"
                                       " or (not c.relisshared"
                                       "     and pg_catalog.pg_has_role(d.datdba, 'usage'))";
static const char MAY_BY_MAINTAIN[] = " or pg_catalog.has_table_privilege(c.oid, 'maintain')";

/* Settings of the server that storage parameters of a table go before, by the same name; ages are
 * the lower of both. Those that a server is too old to have are left at `otherwise`. */
static const struct {
    const char *name;
    double otherwise;
    size_t offset; /* in struct pg_candidate */
    bool is_lower;
} SETTINGS[] = {
    {"autovacuum_vacuum_threshold", 50, offsetof(struct pg_candidate, vacuum_threshold), false},
    {"autovacuum_vacuum_scale_factor", 0.2, offsetof(struct pg_candidate, vacuum_scale), false},
    {"autovacuum_vacuum_max_threshold", -1, offsetof(struct pg_candidate, vacuum_max_threshold),
     false},
    {"autovacuum_vacuum_insert_threshold", 1000, offsetof(struct pg_candidate, insert_threshold),
     false},
    {"autovacuum_vacuum_insert_scale_factor", 0.2, offsetof(struct pg_candidate, insert_scale),
     false},
    {"autovacuum_analyze_threshold", 50, offsetof(struct pg_candidate, analyze_threshold), false},
    {"autovacuum_analyze_scale_factor", 0.1, offsetof(struct pg_candidate, analyze_scale), false},
    {"autovacuum_freeze_max_age", 2e8, offsetof(struct pg_candidate, freeze_max_age), true},
    {"autovacuum_multixact_freeze_max_age", 4e8, offsetof(struct pg_candidate, mxid_freeze_max_age),
     true},
    {"vacuum_failsafe_age", 1.6e9, offsetof(struct pg_candidate, failsafe_age), true},
    {"vacuum_multixact_failsafe_age", 1.6e9, offsetof(struct pg_candidate, mxid_failsafe_age),
     true},
};

static const char LIST_SETTINGS[] =
    "select name, setting from pg_catalog.pg_settings"
    " where name like '%autovacuum%' or name like 'vacuum%failsafe_age'";

static const char LIST_CANDIDATES[] =
    "with recursive tree(root, relid) as ("
    "  select inhparent, inhrelid from pg_catalog.pg_inherits"
    "  union select t.root, i.inhrelid from tree t"
    "  join pg_catalog.pg_inherits i on i.inhparent = t.relid"
    "), children as ("
    "  select t.root, sum(greatest(k.reltuples, 0))::bigint as rows,"
    "    sum(pg_catalog.pg_stat_get_mod_since_analyze(k.oid))::bigint as changed,"
    "    max(greatest(pg_catalog.pg_stat_get_last_analyze_time(k.oid),"
    "      pg_catalog.pg_stat_get_last_autoanalyze_time(k.oid))) as analyzed"
    "  from tree t join pg_catalog.pg_class k on k.oid = t.relid and k.relkind = 'r'"
    "  group by t.root"
    "), known as ("
    "  select schemaname, tablename, bool_or(inherited) as tree, bool_or(not inherited) as own"
    "  from pg_catalog.pg_stats group by schemaname, tablename"
    ") "
    "select c.oid,"
    "  case when c.relispartition or c.relkind = 'p'"
    "    then coalesce(pg_catalog.pg_partition_root(c.oid)::oid, 0) else 0 end,"
    "  coalesce((select i.inhparent from pg_catalog.pg_inherits i"
    "    where i.inhrelid = c.oid and c.relispartition limit 1), 0),"
    "  n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner), c.relkind,"
    "  n.nspname in ('pg_catalog', 'information_schema'), c.relisshared,"
    "  k.root is not null,"
    "  %s,"
    "  c.oid <> 'pg_catalog.pg_statistic'::pg_catalog.regclass,"
    "  coalesce(case when c.relkind = 'p' then kn.tree"
    "    when k.root is not null then kn.tree and (kn.own or c.reltuples <= 0) else kn.own end,"
    "    false) or a.analyzed is not null,"
    "  pg_catalog.pg_stat_get_last_vacuum_time(c.oid) is not null"
    "    or pg_catalog.pg_stat_get_last_autovacuum_time(c.oid) is not null,"
    "  case when c.relkind = 'p' then coalesce(k.rows, 0)"
    "    else greatest(c.reltuples, 0)::bigint end,"
    "  greatest(c.relpages, 0) + coalesce(greatest(t.relpages, 0), 0), c.relallvisible,"
    "  greatest(case when c.relfrozenxid::text <> '0' then pg_catalog.age(c.relfrozenxid) end,"
    "    case when t.relfrozenxid::text <> '0' then pg_catalog.age(t.relfrozenxid) end, 0),"
    "  greatest(case when c.relminmxid::text <> '0' then pg_catalog.mxid_age(c.relminmxid) end,"
    "    case when t.relminmxid::text <> '0' then pg_catalog.mxid_age(t.relminmxid) end, 0),"
    "  pg_catalog.pg_stat_get_dead_tuples(c.oid),"
    "  pg_catalog.pg_stat_get_ins_since_vacuum(c.oid),"
    "  case when k.root is not null then coalesce(k.changed, 0) else 0 end"
    "    + case when c.relkind = 'p' then 0"
    "      else pg_catalog.pg_stat_get_mod_since_analyze(c.oid) end,"
    "  coalesce(pg_catalog.pg_stat_get_dead_tuples(t.oid), 0),"
    "  coalesce(greatest(t.reltuples, 0)::bigint, 0),"
    "  (extract(epoch from a.analyzed) * 1000000)::bigint,"
    "  (extract(epoch from k.analyzed) * 1000000)::bigint,"
    "  coalesce(pg_catalog.array_to_string(c.reloptions, E'\\n'), '') "
    "from pg_catalog.pg_class c"
    " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " join pg_catalog.pg_database d on d.datname = pg_catalog.current_database()"
    " cross join lateral (select greatest(pg_catalog.pg_stat_get_last_analyze_time(c.oid),"
    "   pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid)) as analyzed) a"
    " left join pg_catalog.pg_class t on t.oid = c.reltoastrelid"
    " left join children k on k.root = c.oid"
    " left join known kn on kn.schemaname = n.nspname and kn.tablename = c.relname "
    "where c.relkind in ('r', 'm', 'p') and c.relpersistence <> 't'"
    "  and (n.nspname not in ('pg_catalog', 'information_schema') or (%s)) "
    "order by c.oid";

static const char MEASURE[] =
    "select pg_catalog.pg_total_relation_size(c.oid),"
    "  case when pg_catalog.pg_stat_get_live_tuples(c.oid) > 0"
    "    then pg_catalog.pg_stat_get_live_tuples(c.oid) else greatest(c.reltuples, 0)::bigint end,"
    "  pg_catalog.pg_stat_get_dead_tuples(c.oid)"
    "    + coalesce(pg_catalog.pg_stat_get_dead_tuples(t.oid), 0),"
    "  c.relpages, c.relallvisible,"
    "  greatest(case when c.relfrozenxid::text <> '0' then pg_catalog.age(c.relfrozenxid) end,"
    "    case when t.relfrozenxid::text <> '0' then pg_catalog.age(t.relfrozenxid) end, 0),"
    "  greatest(case when c.relminmxid::text <> '0' then pg_catalog.mxid_age(c.relminmxid) end,"
    "    case when t.relminmxid::text <> '0' then pg_catalog.mxid_age(t.relminmxid) end, 0),"
    "  pg_catalog.pg_stat_get_vacuum_count(c.oid), pg_catalog.pg_stat_get_analyze_count(c.oid),"
    "  exists (select from pg_catalog.pg_stat_progress_vacuum p"
    "    where p.relid in (c.oid, t.oid) and p.pid <> pg_catalog.pg_backend_pid()) "
    "from pg_catalog.pg_class c left join pg_catalog.pg_class t on t.oid = c.reltoastrelid "
    "where c.oid = $1::oid";

int pg_maintenance_session(PGconn *conn, struct error *err)
{
    const char *encoding = PQparameterStatus(conn, "server_encoding");
    if (!encoding || strcmp(encoding, "SQL_ASCII") == 0)
        return 0;
    if (PQsetClientEncoding(conn, "UTF8") != 0)
        return error_set(err, ERR_SQL, "could not set client_encoding to UTF8");
    return 0;
}

static int64_t instant_column(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? INSTANT_NONE : pg_integer(result, row, column);
}

static enum pg_relation_kind kind_of(const char *relkind)
{
    return *relkind == 'p'   ? PG_PARTITIONED_TABLE
           : *relkind == 'm' ? PG_MATERIALIZED_VIEW
                             : PG_TABLE;
}

static double *setting_of(struct pg_candidate *table, size_t index)
{
    return (double *)((char *)table + SETTINGS[index].offset);
}

/* The server's settings, as those of a table without storage parameters. */
static int read_settings(PGconn *conn, struct pg_candidate *ret_defaults, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err, LIST_SETTINGS, NULL);
    if (rc)
        return rc;
    for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++) {
        *setting_of(ret_defaults, i) = SETTINGS[i].otherwise;
        for (int row = 0; row < PQntuples(result); row++)
            if (strcmp(pg_text(result, row, 0), SETTINGS[i].name) == 0)
                *setting_of(ret_defaults, i) = strtod(pg_text(result, row, 1), NULL);
    }
    return 0;
}

static void apply_option(struct pg_candidate *table, const char *option)
{
    for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++) {
        size_t length = strlen(SETTINGS[i].name);
        if (strncmp(option, SETTINGS[i].name, length) != 0 || option[length] != '=')
            continue;
        double value = strtod(option + length + 1, NULL);
        if (!SETTINGS[i].is_lower || value < *setting_of(table, i))
            *setting_of(table, i) = value;
    }
}

static void apply_options(struct pg_candidate *table, const char *options)
{
    while (*options) {
        apply_option(table, options);
        options += strcspn(options, "\n");
        options += *options == '\n';
    }
}

static bool fill_candidate(const PGresult *result, int row, struct pg_candidate *defaults,
                           struct pg_candidate *table)
{
    *table = (struct pg_candidate){
        .oid = (uint32_t)pg_integer(result, row, COLUMN_OID),
        .tree = (uint32_t)pg_integer(result, row, COLUMN_TREE),
        .parent = (uint32_t)pg_integer(result, row, COLUMN_PARENT_OID),
        .schema = strdup(pg_text(result, row, COLUMN_SCHEMA)),
        .name = strdup(pg_text(result, row, COLUMN_NAME)),
        .owner = strdup(pg_text(result, row, COLUMN_OWNER)),
        .kind = kind_of(pg_text(result, row, COLUMN_KIND)),
        .is_system = pg_boolean(result, row, COLUMN_SYSTEM),
        .is_shared = pg_boolean(result, row, COLUMN_SHARED),
        .is_parent = pg_boolean(result, row, COLUMN_PARENT),
        .can_vacuum = pg_boolean(result, row, COLUMN_CAN_VACUUM),
        .can_analyze = pg_boolean(result, row, COLUMN_CAN_ANALYZE),
        .has_statistics = pg_boolean(result, row, COLUMN_HAS_STATISTICS),
        .ever_vacuumed = pg_boolean(result, row, COLUMN_EVER_VACUUMED),
        .rows = pg_integer(result, row, COLUMN_ROWS),
        .pages = pg_integer(result, row, COLUMN_PAGES),
        .visible_pages = pg_integer(result, row, COLUMN_VISIBLE),
        .xid_age = pg_integer(result, row, COLUMN_XID_AGE),
        .mxid_age = pg_integer(result, row, COLUMN_MXID_AGE),
        .dead_rows = pg_integer(result, row, COLUMN_DEAD),
        .inserted_rows = pg_integer(result, row, COLUMN_INSERTED),
        .changed_rows = pg_integer(result, row, COLUMN_CHANGED),
        .toast_dead_rows = pg_integer(result, row, COLUMN_TOAST_DEAD),
        .toast_rows = pg_integer(result, row, COLUMN_TOAST_ROWS),
        .analyzed_us = instant_column(result, row, COLUMN_ANALYZED),
        .children_analyzed_us = instant_column(result, row, COLUMN_CHILDREN_ANALYZED),
    };
    for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++)
        *setting_of(table, i) = *setting_of(defaults, i);
    apply_options(table, pg_text(result, row, COLUMN_OPTIONS));
    return table->schema && table->name && table->owner;
}

static int query_candidates(PGconn *conn, PGresult **ret_result, struct error *err)
{
    struct buf may = BUF_INIT(BUF_LIMIT_DEFAULT), sql = BUF_INIT(BUF_LIMIT_DEFAULT);
    buf_addf(&may, "%s%s", MAY_BY_OWNERSHIP,
             PQserverVersion(conn) >= 170000 ? MAY_BY_MAINTAIN : "");
    buf_addf(&sql, LIST_CANDIDATES, buf_text(&may), buf_text(&may));
    int rc = buf_failed(&sql, "a catalogue query", err);
    if (!rc)
        rc = pg_query(conn, ret_result, err, buf_text(&sql), NULL);
    buf_clear(&may);
    buf_clear(&sql);
    return rc;
}

int pg_list_candidates(PGconn *conn, struct pg_candidates *ret_candidates, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    struct pg_candidate defaults = {0};
    int rc = read_settings(conn, &defaults, err);
    if (!rc)
        rc = query_candidates(conn, &result, err);
    if (rc)
        return error_prefix(err, "could not list the tables of \"%s\"", PQdb(conn));
    size_t count = (size_t)PQntuples(result);
    if (count > PG_CANDIDATES_MAX)
        return error_set(err, ERR_LIMIT, "database \"%s\" has %zu tables, more than %d", PQdb(conn),
                         count, PG_CANDIDATES_MAX);
    _cleanup_(pg_candidates_clear) struct pg_candidates candidates = {
        .items = calloc(count + 1, sizeof(*candidates.items))};
    if (!candidates.items)
        return error_no_memory(err);
    while (candidates.count < count) {
        int row = (int)candidates.count++;
        if (!fill_candidate(result, row, &defaults, &candidates.items[row]))
            return error_no_memory(err);
    }
    *ret_candidates = candidates;
    candidates = (struct pg_candidates){0};
    return 0;
}

void pg_candidate_clear(struct pg_candidate *candidate)
{
    free(candidate->schema);
    free(candidate->name);
    free(candidate->owner);
    *candidate = (struct pg_candidate){0};
}

void pg_candidates_clear(struct pg_candidates *candidates)
{
    for (size_t i = 0; i < candidates->count; i++)
        pg_candidate_clear(&candidates->items[i]);
    free(candidates->items);
    *candidates = (struct pg_candidates){0};
}

int pg_measure_table(PGconn *conn, uint32_t oid, struct pg_measure *ret_measure, struct error *err)
{
    char oid_text[16];
    snprintf(oid_text, sizeof(oid_text), "%u", oid);
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err, MEASURE, oid_text, NULL);
    if (rc)
        return rc;
    /* The size is NULL when the table went away between the catalogue and the look at its files. */
    if (PQntuples(result) == 0 || PQgetisnull(result, 0, 0))
        return error_set(err, ERR_NOT_FOUND, "the table does not exist any more");
    *ret_measure = (struct pg_measure){
        .bytes = pg_integer(result, 0, 0),
        .rows = pg_integer(result, 0, 1),
        .dead_rows = pg_integer(result, 0, 2),
        .pages = pg_integer(result, 0, 3),
        .visible_pages = pg_integer(result, 0, 4),
        .xid_age = pg_integer(result, 0, 5),
        .mxid_age = pg_integer(result, 0, 6),
        .vacuum_count = pg_integer(result, 0, 7),
        .analyze_count = pg_integer(result, 0, 8),
        .autovacuum_works = pg_boolean(result, 0, 9),
    };
    return 0;
}

int pg_measure_until(PGconn *conn, uint32_t oid, const struct pg_measure *before, bool vacuumed,
                     bool analyzed, struct pg_measure *ret_measure, struct error *err)
{
    const struct timespec pause = {.tv_nsec = MEASURE_PAUSE_NANOSECONDS};
    for (int look = 1;; look++) {
        struct pg_measure measure;
        int rc = pg_measure_table(conn, oid, &measure, err);
        if (rc)
            return rc;
        bool seen = (!vacuumed || measure.vacuum_count > before->vacuum_count) &&
                    (!analyzed || measure.analyze_count > before->analyze_count);
        if (seen || look == MEASURE_LOOKS) {
            *ret_measure = measure;
            return 0;
        }
        nanosleep(&pause, NULL);
    }
}
