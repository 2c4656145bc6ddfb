/* One database: its tables locked before the first snapshot is taken, so that nothing is truncated,
 * altered or dropped between the list and the last row; then schema and rows at once, the sequences
 * at the end, because they do not obey snapshots and must not lag behind the rows. */
#include <string.h>

#include "work/dump.h"

enum {
    LOCK_BATCH = 200, /* tables of one LOCK statement */
    SQL_LIMIT = 4 << 20,
    WATCH_STEP_US = 200000,   /* how soon an interrupt is seen */
    STUCK_US = 1500000,       /* the two would wait for each other until one gives way */
    WATCH_LOCKS_US = 1000000, /* how often waiters are looked for */
    RETRY_PAUSE_US = 1000000, /* before the second attempt; doubles */
    NAMED_TABLES_MAX = 20,    /* tables named in one error */
};

/* pg_locks shows everybody who waits; what a session waits for and asks, pg_stat_activity shows of
 * other roles only to pg_read_all_stats. */
static const char FIND_WAITER[] =
    "select w.pid, coalesce(nullif(pg_catalog.left(w.query, 200), ''), w.backend_type, '?'),"
    " exists (select 1 from pg_catalog.pg_locks m join pg_catalog.pg_stat_activity s on s.pid = "
    "m.pid where not m.granted and s.application_name = $1) "
    "from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity w on w.pid = l.pid "
    "where not l.granted and w.application_name <> $1 and exists ("
    "  select 1 from pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) b(pid)"
    "  join pg_catalog.pg_stat_activity o on o.pid = b.pid where o.application_name = $1) "
    "order by w.query_start limit 1";

static const char FIND_HOLDER[] =
    "select l.relation::pg_catalog.regclass, l.pid, pg_catalog.left(a.query, 200) "
    "from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a using (pid) "
    "where l.granted and l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' "
    "and l.database = (select oid from pg_catalog.pg_database where datname = "
    "pg_catalog.current_database()) and l.relation >= 16384 order by a.xact_start limit 1";

/* Monotonic; INSTANT_NONE while it is not so. */
struct waiting {
    int64_t since_us; /* somebody waits for our locks */
    int64_t stuck_us; /* and a session of ours, pg_dump's that came late, waits behind them */
};

static void database_clear(struct dump_database *database)
{
    crew_free(database->crew);
    for (size_t i = 0; database->states && i < database->tables.count; i++)
        free(database->states[i].volumes);
    free(database->states);
    free(database->tasks);
    free(database->has_big_rows);
    free(database->snapshot);
    pg_tables_clear(&database->tables);
    PQfinish(database->coordinator);
    PQfinish(database->watcher);
    pthread_mutex_destroy(&database->big_rows);
    pthread_mutex_destroy(&database->coordinator_mutex);
}

static int lock_batch(PGconn *conn, const struct pg_tables *tables, size_t *next, struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    buf_add_text(&sql, "lock table ");
    size_t locked = 0;
    for (; *next < tables->count && locked < LOCK_BATCH; (*next)++) {
        const struct pg_table *table = &tables->items[*next];
        if (table->is_foreign || !table->can_select)
            continue;
        buf_add_text(&sql, locked++ ? ", only " : "only ");
        pg_add_qualified(&sql, table->schema, table->name);
    }
    buf_add_text(&sql, " in access share mode");
    int rc = buf_failed(&sql, "a LOCK statement", err);
    if (rc || locked == 0)
        return rc;
    return pg_execute(conn, err, "%s", buf_text(&sql));
}

/* A table that was dropped or renamed since it was listed. */
static bool is_changed_table(const struct error *err)
{
    return err->code == ERR_SQL && strstr(err->message, "does not exist");
}

static int lock_tables(struct dump_database *database, const struct pg_tables *tables,
                       struct error *err)
{
    int rc = 0;
    for (size_t next = 0; next < tables->count && !rc;)
        rc = lock_batch(database->coordinator, tables, &next, err);
    if (rc && is_changed_table(err))
        rc = err->code = ERR_CONFLICT;
    return rc;
}

/* Says who has the lock that was not to be had; what can't be learnt about it is left out. */
static int name_holder(struct dump_database *database, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    struct error ignored;
    error_prefix(err, "could not lock the tables within lock_wait");
    if (pg_query(database->watcher, &result, &ignored, FIND_HOLDER, NULL) == 0 &&
        PQntuples(result) > 0)
        error_prefix(err, "table %s is locked by process %s (%s)", pg_text(result, 0, 0),
                     pg_text(result, 0, 1), pg_text(result, 0, 2));
    return err->code;
}

/* Lists, locks, takes the snapshot, and lists again: what is dumped is what was locked. The
 * second list asks for sizes, which takes locks of its own. */
static int hold_tables(struct dump_database *database, struct error *err)
{
    _cleanup_(pg_tables_clear) struct pg_tables before = {0};
    long long lock_wait_ms = database->dump->work->job->lock_wait_us / 1000;
    int rc = pg_execute(database->watcher, err, "set lock_timeout = %lld", lock_wait_ms);
    if (!rc)
        rc = pg_execute(database->coordinator, err,
                        "begin isolation level repeatable read, read only;"
                        "set local lock_timeout = %lld",
                        lock_wait_ms);
    if (!rc)
        rc = pg_list_tables(database->watcher, false, &before, err);
    if (!rc)
        rc = lock_tables(database, &before, err);
    if (!rc)
        rc = pg_query_text(database->coordinator, &database->snapshot, err,
                           "select pg_catalog.pg_export_snapshot()");
    if (!rc)
        rc = pg_list_tables(database->coordinator, true, &database->tables, err);
    if (rc == ERR_CONFLICT)
        return name_holder(database, err);
    if (!rc)
        rc = pg_execute(database->coordinator, err, "set local lock_timeout = 0");
    if (rc)
        return rc;
    char text[512];
    const char *difference = pg_tables_difference(&before, &database->tables, text, sizeof(text));
    if (difference)
        return error_set(err, ERR_CONFLICT, "%s while the dump began", difference);
    return 0;
}

static bool cannot_select(const struct pg_table *table)
{
    return !table->is_foreign && !table->can_select;
}

static bool is_row_secured(const struct pg_table *table)
{
    return !table->is_foreign && table->can_select && table->is_row_secured;
}

/* Names the tables that a predicate picks: "a.b, c.d and 3 more"; returns how many. */
static size_t name_tables(const struct pg_tables *tables, bool (*picks)(const struct pg_table *),
                          struct buf *names)
{
    size_t count = 0;
    for (size_t i = 0; i < tables->count; i++) {
        if (!picks(&tables->items[i]))
            continue;
        if (count++ < NAMED_TABLES_MAX)
            buf_addf(names, "%s%s.%s", count > 1 ? ", " : "", tables->items[i].schema,
                     tables->items[i].name);
    }
    if (count > NAMED_TABLES_MAX)
        buf_addf(names, " and %zu more", count - NAMED_TABLES_MAX);
    return count;
}

static int check_privileges(struct dump_database *database, struct error *err)
{
    _cleanup_(buf_clear) struct buf names = BUF_INIT(SQL_LIMIT);
    const char *role = PQuser(database->coordinator);
    if (name_tables(&database->tables, cannot_select, &names)) {
        error_set(err, ERR_PERMISSION, "role \"%s\" may not read %s", role, buf_text(&names));
        return error_hint(err, "grant pg_read_all_data to the role (PostgreSQL 14 and newer), or "
                               "USAGE on the schemas and SELECT on the tables; sequences too");
    }
    if (name_tables(&database->tables, is_row_secured, &names)) {
        error_set(err, ERR_PERMISSION, "row security would hide rows of %s from role \"%s\"",
                  buf_text(&names), role);
        return error_hint(err, "alter role \"%s\" bypassrls, or dump as the tables' owner", role);
    }
    return 0;
}

static int tell_skipped(struct dump_database *database, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < database->tables.count && !rc; i++) {
        const struct pg_table *table = &database->tables.items[i];
        if (table->is_foreign)
            rc = dump_notice(database->dump, err,
                             "%s: rows of foreign table %s.%s are not dumped: they belong to "
                             "another server",
                             database->name, table->schema, table->name);
        else if (table->is_unlogged && database->dump->is_standby)
            rc = dump_notice(database->dump, err,
                             "%s: rows of unlogged table %s.%s are not dumped: a standby does not "
                             "have them",
                             database->name, table->schema, table->name);
    }
    return rc;
}

static int find_large_objects(struct dump_database *database, struct error *err)
{
    int64_t count = 0;
    int rc = pg_query_integer(database->coordinator, &count, err,
                              "select pg_catalog.count(*) from (select 1 from "
                              "pg_catalog.pg_largeobject_metadata limit 1) t");
    database->has_large_objects = count > 0;
    return rc;
}

static int prepare(struct dump_database *database, struct error *err)
{
    struct dump *dump = database->dump;
    int rc =
        pg_connect(dump->conninfo, database->name, dump->application, &database->coordinator, err);
    if (!rc)
        rc = pg_connect(dump->conninfo, database->name, dump->application, &database->watcher, err);
    if (!rc)
        rc = hold_tables(database, err);
    if (!rc)
        rc = check_privileges(database, err);
    if (!rc)
        rc = tell_skipped(database, err);
    if (!rc)
        rc = find_large_objects(database, err);
    if (rc)
        return rc;
    database->states = calloc(database->tables.count + 1, sizeof(*database->states));
    database->has_big_rows = calloc(database->tables.count + 1, sizeof(bool));
    if (!database->states || !database->has_big_rows)
        return error_no_memory(err);
    rc = dump_measure(database, err);
    return rc ? rc : dump_plan_tasks(database, err);
}

/* ERR_CONFLICT when somebody has waited behind the locks of this dump for longer than lock_wait, or
 * can never get through because a session of ours waits behind them in turn. */
static int look_for_waiter(struct dump_database *database, struct waiting *waiting,
                           struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc =
        pg_query(database->watcher, &result, err, FIND_WAITER, database->dump->application, NULL);
    if (rc)
        return rc;
    int64_t now_us = instant_monotonic_us();
    if (PQntuples(result) == 0) {
        *waiting = (struct waiting){.since_us = INSTANT_NONE, .stuck_us = INSTANT_NONE};
        return 0;
    }
    if (waiting->since_us == INSTANT_NONE)
        waiting->since_us = now_us;
    if (!pg_boolean(result, 0, 2))
        waiting->stuck_us = INSTANT_NONE;
    else if (waiting->stuck_us == INSTANT_NONE)
        waiting->stuck_us = now_us;
    bool is_stuck = waiting->stuck_us != INSTANT_NONE && now_us - waiting->stuck_us > STUCK_US;
    if (!is_stuck && now_us - waiting->since_us < database->dump->work->job->lock_wait_us)
        return 0;
    return error_set(err, ERR_CONFLICT, "gave way to process %s, which waited for a lock: %s",
                     pg_text(result, 0, 0), pg_text(result, 0, 1));
}

static void watch(struct dump_database *database)
{
    struct waiting waiting = {.since_us = INSTANT_NONE, .stuck_us = INSTANT_NONE};
    int64_t looked_us = instant_monotonic_us();
    while (!crew_ended(database->crew, WATCH_STEP_US)) {
        struct error error = ERROR_NONE;
        int rc =
            work_interrupted(&error) ? error.code : making_beat(&database->dump->making, &error);
        if (!rc && instant_monotonic_us() - looked_us >= WATCH_LOCKS_US) {
            looked_us = instant_monotonic_us();
            work_progress(database->dump->work, database->name, atomic_load(&database->bytes_done),
                          database->bytes_total);
            rc = look_for_waiter(database, &waiting, &error);
        }
        if (rc) {
            crew_fail(database->crew, &error);
            rate_stop(&database->dump->rate);
            return;
        }
    }
}

static void cancel_query(void *cancel)
{
    pg_cancel(cancel);
}

static int run_crew(struct dump_database *database, struct error *err)
{
    int rc = crew_new(&database->crew, err);
    if (rc)
        return rc;
    PGcancel *cancel = PQgetCancel(database->coordinator); /* workers may read through it */
    int guard = crew_guard(database->crew, cancel_query, cancel);
    rc = crew_start(database->crew, dump_schema, database, err);
    if (!rc && database->has_large_objects)
        rc = crew_start(database->crew, dump_large_objects, database, err);
    for (int i = 0; i < database->dump->workers && !rc; i++)
        rc = crew_start(database->crew, dump_rows_worker, database, err);
    if (rc)
        crew_fail(database->crew, err);
    else
        watch(database);
    rc = crew_join(database->crew, err);
    crew_unguard(database->crew, guard);
    PQfreeCancel(cancel);
    return rc;
}

static int attempt(struct dump_database *database, struct error *err)
{
    int rc = prepare(database, err);
    if (!rc)
        rc = run_crew(database, err);
    if (!rc)
        rc = dump_sequences(database, err);
    json_t *description = NULL;
    if (!rc)
        rc = dump_describe(database, &description, err);
    if (!rc)
        rc = pg_execute(database->coordinator, err, "commit");
    if (rc) {
        json_decref(description);
        return rc;
    }
    return json_array_append_new(database->dump->databases, description) ? error_no_memory(err) : 0;
}

/* What is locked stays in the folder, out of the manifest, and goes with the backup. */
static int delete_object(const struct store_object *object, void *store, struct error *err)
{
    int rc = store_delete(store, object->key, err);
    return rc == ERR_LOCKED ? 0 : rc;
}

/* What a failed attempt has stored is not part of the backup. */
static int forget_attempt(struct dump *dump, size_t object_count, const char *folder,
                          struct error *err)
{
    while (json_array_size(dump->objects) > object_count)
        json_array_remove(dump->objects, json_array_size(dump->objects) - 1);
    json_array_clear(dump->notices);
    char prefix[STORE_KEY_MAX + 1];
    snprintf(prefix, sizeof(prefix), "%s/%s/", dump->making.prefix, folder);
    return store_list(dump->store, prefix, false, delete_object, dump->store, err);
}

static int pause_before_retry(int number, struct error *err)
{
    int64_t until_us = instant_monotonic_us() + ((int64_t)RETRY_PAUSE_US << number);
    while (instant_monotonic_us() < until_us) {
        if (work_interrupted(err))
            return ERR_INTERRUPTED;
        usleep(WATCH_STEP_US);
    }
    return 0;
}

int dump_one_database(struct dump *dump, const char *name, uint32_t oid, struct error *err)
{
    size_t object_count = json_array_size(dump->objects);
    long long source = atomic_load(&dump->bytes_source), stored = atomic_load(&dump->bytes_stored);
    for (int number = 0;; number++) {
        _cleanup_(database_clear) struct dump_database database = {
            .dump = dump,
            .name = name,
            .oid = oid,
            .big_rows = PTHREAD_MUTEX_INITIALIZER,
            .coordinator_mutex = PTHREAD_MUTEX_INITIALIZER};
        snprintf(database.folder, sizeof(database.folder), "%u", oid);
        int rc = attempt(&database, err);
        if (rc != ERR_CONFLICT || work_interrupted(NULL))
            return rc ? error_prefix(err, "database %s", name) : 0;
        if (number + 1 == DUMP_ATTEMPTS) {
            error_prefix(err, "database %s: gave up after %d attempts", name, DUMP_ATTEMPTS);
            return error_hint(err, "run it when no migration runs, or raise lock_wait: of the job");
        }
        work_notice(dump->work, "%s: %s; trying again", name, err->message);
        atomic_store(&dump->bytes_source, source);
        atomic_store(&dump->bytes_stored, stored);
        atomic_store(&dump->rate.stopped, false);
        rc = forget_attempt(dump, object_count, database.folder, err);
        if (!rc)
            rc = pause_before_retry(number, err);
        if (rc)
            return rc;
    }
}
