/* The workers of a dump: each takes the largest piece left, copies its rows out of the shared
 * snapshot and packs them into volumes of its own. */
#include <string.h>

#include "base/buf.h"
#include "work/dump.h"

enum { SQL_LIMIT = 1 << 20, RECEIVE_BYTES = 200000 };

/* One thread's hands. */
struct worker {
    struct dump_database *database;
    struct dump *dump;
    PGconn *conn;
    struct volume *volume; /* NULL between volumes */
    int volume_number;
    size_t *volume_tables; /* indexes of the tables in the open volume, each once in a row */
    size_t volume_table_count, volume_table_allocated;
    char *segment; /* DUMP_SEGMENT_BYTES for rows that become one member */
    size_t segment_length;
    int64_t segment_rows;
};

static int compare_tasks(const void *a, const void *b)
{
    const struct dump_task *left = a, *right = b;
    if (left->bytes != right->bytes)
        return left->bytes < right->bytes ? 1 : -1;
    if (left->table != right->table)
        return left->table < right->table ? -1 : 1;
    return left->first_block < right->first_block ? -1 : left->first_block > right->first_block;
}

/* Bytes of table that one COPY should read, so that the workers end together. */
static int64_t chunk_bytes(const struct dump_database *database)
{
    int64_t bytes = database->bytes_total / (database->dump->workers * DUMP_CHUNKS_PER_WORKER);
    if (bytes < DUMP_CHUNK_MIN_BYTES)
        return DUMP_CHUNK_MIN_BYTES;
    return bytes > DUMP_CHUNK_MAX_BYTES ? DUMP_CHUNK_MAX_BYTES : bytes;
}

/* Reading a range of ctids without a scan of the whole table needs PostgreSQL 14 and heap. */
static bool can_split(const struct dump_database *database, const struct pg_table *table)
{
    return database->dump->workers > 1 && database->dump->server_version >= 140000 &&
           table->is_heap && table->columns[0] && !table->condition[0];
}

static int64_t range_count(const struct dump_database *database, const struct pg_table *table,
                           int64_t chunk)
{
    if (!can_split(database, table) || table->bytes < 2 * chunk)
        return 1;
    int64_t count = table->bytes / chunk;
    return count > table->heap_blocks ? table->heap_blocks : count;
}

int dump_plan_tasks(struct dump_database *database, struct error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < database->tables.count; i++)
        database->bytes_total += database->tables.items[i].bytes;
    int64_t chunk = chunk_bytes(database);
    for (size_t i = 0; i < database->tables.count; i++)
        count += (size_t)range_count(database, &database->tables.items[i], chunk);
    database->tasks = calloc(count + 1, sizeof(*database->tasks));
    if (!database->tasks)
        return error_no_memory(err);
    for (size_t i = 0; i < database->tables.count; i++) {
        const struct pg_table *table = &database->tables.items[i];
        if (table->is_foreign || (table->is_unlogged && database->dump->is_standby))
            continue;
        int64_t ranges = range_count(database, table, chunk);
        int64_t blocks = ranges > 1 ? (table->heap_blocks + ranges - 1) / ranges : 0;
        for (int64_t r = 0; r < ranges; r++)
            database->tasks[database->task_count++] = (struct dump_task){
                .table = i,
                .is_range = ranges > 1,
                .first_block = r * blocks,
                .end_block = r + 1 < ranges ? (r + 1) * blocks : -1,
                .bytes = table->bytes / ranges,
            };
    }
    qsort(database->tasks, database->task_count, sizeof(*database->tasks), compare_tasks);
    return 0;
}

/* Notes in every table of the volume that is stored now that part of it lies there. */
static int note_volume(struct worker *worker, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&worker->dump->mutex);
    for (size_t i = 0; i < worker->volume_table_count && !rc; i++) {
        struct dump_table_state *state = &worker->database->states[worker->volume_tables[i]];
        if (state->volume_count && state->volumes[state->volume_count - 1] == worker->volume_number)
            continue;
        int *volumes = reallocarray(state->volumes, state->volume_count + 1, sizeof(int));
        if (!volumes) {
            rc = error_no_memory(err);
            break;
        }
        volumes[state->volume_count++] = worker->volume_number;
        state->volumes = volumes;
    }
    pthread_mutex_unlock(&worker->dump->mutex);
    worker->volume_table_count = 0;
    return rc;
}

static int end_volume(struct worker *worker, struct error *err)
{
    if (!worker->volume)
        return 0;
    struct store_object object;
    int64_t plain_bytes = volume_plain(worker->volume);
    int rc = volume_commit(worker->volume, &object, err);
    worker->volume = volume_free(worker->volume);
    if (rc)
        return rc;
    char name[64];
    snprintf(name, sizeof(name), "%s/data-%04d.tar.zst", worker->database->folder,
             worker->volume_number);
    rc = dump_add_object(worker->dump, name, &object, plain_bytes, err);
    return rc ? rc : note_volume(worker, err);
}

static int begin_volume(struct worker *worker, struct error *err)
{
    worker->volume_number = atomic_fetch_add(&worker->database->volume_count, 1) + 1;
    if (worker->volume_number > DUMP_VOLUMES_MAX)
        return error_set(err, ERR_LIMIT, "a database needs more than %d volumes", DUMP_VOLUMES_MAX);
    char name[64], key[STORE_KEY_MAX + 1];
    snprintf(name, sizeof(name), "%s/data-%04d.tar.zst", worker->database->folder,
             worker->volume_number);
    dump_key(worker->dump, name, key);
    return volume_create(worker->dump->store, key, VOLUME_TAR, &worker->dump->options,
                         &worker->volume, err);
}

static int note_table(struct worker *worker, size_t table, struct error *err)
{
    if (worker->volume_table_count &&
        worker->volume_tables[worker->volume_table_count - 1] == table)
        return 0;
    if (worker->volume_table_count == worker->volume_table_allocated) {
        size_t size = worker->volume_table_allocated ? worker->volume_table_allocated * 2 : 64;
        size_t *tables = reallocarray(worker->volume_tables, size, sizeof(size_t));
        if (!tables)
            return error_no_memory(err);
        worker->volume_tables = tables;
        worker->volume_table_allocated = size;
    }
    worker->volume_tables[worker->volume_table_count++] = table;
    return 0;
}

/* Rows become one member of the worker's volume. */
static int store_segment(struct worker *worker, size_t table, const char *rows, size_t length,
                         int64_t row_count, struct error *err)
{
    int rc = 0;
    if (worker->volume && volume_stored(worker->volume) >= DUMP_VOLUME_BYTES)
        rc = end_volume(worker, err);
    if (!rc && !worker->volume)
        rc = begin_volume(worker, err);
    if (!rc)
        rc = note_table(worker, table, err);
    if (rc)
        return rc;
    struct dump_table_state *state = &worker->database->states[table];
    pthread_mutex_lock(&worker->dump->mutex);
    int number = ++state->segments;
    state->rows += row_count;
    state->bytes += (int64_t)length;
    pthread_mutex_unlock(&worker->dump->mutex);
    char name[64];
    snprintf(name, sizeof(name), "%u/%06d.copy", worker->database->tables.items[table].oid, number);
    atomic_fetch_add(&worker->dump->bytes_source, (long long)length);
    return volume_add(worker->volume, name, rows, length, err);
}

static int flush_segment(struct worker *worker, size_t table, struct error *err)
{
    if (worker->segment_rows == 0)
        return 0;
    int rc = store_segment(worker, table, worker->segment, worker->segment_length,
                           worker->segment_rows, err);
    worker->segment_length = 0;
    worker->segment_rows = 0;
    return rc;
}

static int take_row(struct worker *worker, size_t table, const char *row, size_t length,
                    struct error *err)
{
    int rc = 0;
    if (worker->segment_length + length > DUMP_SEGMENT_BYTES)
        rc = flush_segment(worker, table, err);
    if (!rc && length > DUMP_SEGMENT_BYTES)
        return store_segment(worker, table, row, length, 1, err); /* no third copy of a big row */
    if (rc)
        return rc;
    memcpy(worker->segment + worker->segment_length, row, length);
    worker->segment_length += length;
    worker->segment_rows++;
    return 0;
}

static void add_copy_statement(struct buf *sql, const struct pg_table *table,
                               const struct dump_task *task, const char *encoding)
{
    buf_add_text(sql, "copy ");
    if (!task->is_range && !table->condition[0]) {
        pg_add_qualified(sql, table->schema, table->name);
        if (table->columns[0])
            buf_addf(sql, " (%s)", table->columns);
    } else {
        buf_addf(sql, "(select %s from only ", table->columns);
        pg_add_qualified(sql, table->schema, table->name);
        if (task->is_range) {
            buf_addf(sql, " where ctid >= '(%lld,0)'", (long long)task->first_block);
            if (task->end_block >= 0)
                buf_addf(sql, " and ctid < '(%lld,0)'", (long long)task->end_block);
        } else {
            buf_addf(sql, " %s", table->condition);
        }
        buf_add_text(sql, ")");
    }
    buf_add_text(sql, " to stdout");
    pg_add_copy_options(sql, encoding);
}

static int copy_rows(struct worker *worker, const struct dump_task *task, struct error *err)
{
    int rc = 0;
    int64_t unreported = 0;
    for (;;) {
        _cleanup_(pg_string_freep) char *row = NULL;
        int length = PQgetCopyData(worker->conn, &row, 0);
        if (length < 0)
            break;
        rc = take_row(worker, task->table, row, (size_t)length, err);
        if (rc)
            return rc;
        unreported += length;
        if (unreported > DUMP_SEGMENT_BYTES) {
            atomic_fetch_add(&worker->database->bytes_done, unreported);
            unreported = 0;
            if (crew_stopped(worker->database->crew)) /* the cancel came before the COPY did */
                return error_set(err, ERR_INTERRUPTED, "stopped");
        }
    }
    atomic_fetch_add(&worker->database->bytes_done, unreported);
    _cleanup_(pg_result_freep) PGresult *result = PQgetResult(worker->conn);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        return pg_error(worker->conn, result, err);
    PQclear(PQgetResult(worker->conn)); /* the NULL that ends the command */
    return flush_segment(worker, task->table, err);
}

static int start_copy(struct worker *worker, const struct dump_task *task, struct error *err)
{
    const struct pg_table *table = &worker->database->tables.items[task->table];
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    add_copy_statement(&sql, table, task, PQparameterStatus(worker->conn, "server_encoding"));
    int rc = buf_failed(&sql, "a COPY statement", err);
    if (rc)
        return rc;
    _cleanup_(pg_result_freep) PGresult *result = PQexec(worker->conn, buf_text(&sql));
    if (PQresultStatus(result) != PGRES_COPY_OUT)
        return pg_error(worker->conn, result, err);
    return 0;
}

static int begin_snapshot(struct worker *worker, struct error *err)
{
    /* The last statement makes libpq's input buffer grow to the size of its reply, and it stays so:
     * rows are then received in large pieces, with fewer calls and switches between processes. */
    return pg_execute(worker->conn, err,
                      "set lock_timeout = %d;"
                      "begin isolation level repeatable read, read only;"
                      "set transaction snapshot '%s';"
                      "select pg_catalog.repeat(' ', %d)",
                      DUMP_WORKER_LOCK_MS, worker->database->snapshot, RECEIVE_BYTES);
}

/* Somebody waits for a lock on this table behind the coordinator's, and we would wait behind them.
 * The coordinator's session has its lock already and can read on, one worker at a time. */
static int copy_through_coordinator(struct worker *worker, const struct dump_task *task,
                                    struct error *err)
{
    struct dump_database *database = worker->database;
    PGconn *own = worker->conn;
    pthread_mutex_lock(&database->coordinator_mutex);
    worker->conn = database->coordinator;
    int rc = start_copy(worker, task, err);
    if (!rc)
        rc = copy_rows(worker, task, err);
    worker->conn = own;
    pthread_mutex_unlock(&database->coordinator_mutex);
    if (!rc)
        rc = pg_execute(worker->conn, err, "rollback");
    return rc ? rc : begin_snapshot(worker, err);
}

static int run_task(struct worker *worker, const struct dump_task *task, struct error *err)
{
    const struct pg_table *table = &worker->database->tables.items[task->table];
    bool alone = worker->database->has_big_rows[task->table];
    if (alone)
        pthread_mutex_lock(&worker->database->big_rows);
    int rc = start_copy(worker, task, err);
    if (!rc)
        rc = copy_rows(worker, task, err);
    else if (rc == ERR_CONFLICT && !crew_stopped(worker->database->crew))
        rc = copy_through_coordinator(worker, task, err);
    if (alone)
        pthread_mutex_unlock(&worker->database->big_rows);
    if (rc)
        error_prefix(err, "table %s.%s", table->schema, table->name);
    return rc;
}

static int join_snapshot(struct worker *worker, struct error *err)
{
    struct dump_database *database = worker->database;
    int rc = pg_connect(worker->dump->conninfo, database->name, worker->dump->application,
                        &worker->conn, err);
    return rc ? rc : begin_snapshot(worker, err);
}

static int run_tasks(struct worker *worker, struct error *err)
{
    struct dump_database *database = worker->database;
    for (;;) {
        size_t number = atomic_fetch_add(&database->next_task, 1);
        if (number >= database->task_count)
            return end_volume(worker, err);
        if (crew_stopped(database->crew))
            return 0;
        int rc = run_task(worker, &database->tasks[number], err);
        if (rc)
            return rc;
    }
}

static void cancel_query(void *cancel)
{
    pg_cancel(cancel);
}

static void worker_clear(struct worker *worker)
{
    volume_free(worker->volume);
    free(worker->volume_tables);
    free(worker->segment);
    PQfinish(worker->conn);
}

int dump_rows_worker(void *argument, struct error *err)
{
    struct dump_database *database = argument;
    _cleanup_(worker_clear) struct worker worker = {
        .database = database,
        .dump = database->dump,
        .segment = malloc(DUMP_SEGMENT_BYTES),
    };
    int rc = worker.segment ? join_snapshot(&worker, err) : error_no_memory(err);
    if (rc)
        return rc;
    PGcancel *cancel = PQgetCancel(worker.conn);
    int guard = crew_guard(database->crew, cancel_query, cancel);
    if (guard >= 0)
        rc = run_tasks(&worker, err);
    crew_unguard(database->crew, guard);
    PQfreeCancel(cancel);
    return rc;
}
