/* A worker of a vacuum run: takes the most urgent table, vacuums it, proves it, takes the next. */
#include <limits.h>
#include <string.h>

#include "base/instant.h"
#include "work/vacuum.h"

#define TICK_MIN_US (50 * INT64_C(1000))
#define TICK_MAX_US US_PER_SECOND

/* SQLSTATEs of PostgreSQL, manual appendix A. */
static const char CANCELLED[] = "57014", NO_LOCK[] = "55P03", NO_TABLE[] = "42P01";

int64_t vacuum_tick_us(const struct vacuum *vacuum)
{
    int64_t tick_us = vacuum->work->job->lock_wait_us / 4;
    return tick_us < TICK_MIN_US ? TICK_MIN_US : tick_us > TICK_MAX_US ? TICK_MAX_US : tick_us;
}

static bool time_is_up(const struct vacuum *vacuum)
{
    return vacuum->deadline_us > 0 && instant_monotonic_us() >= vacuum->deadline_us;
}

/* ANALYZE of a partitioned table locks its partitions too: at the same time as one of them, our own
 * workers would wait for each other. */
static bool is_near_running(const struct vacuum *vacuum, const struct vacuum_item *item)
{
    for (int i = 0; i < vacuum->worker_count && item->table.tree; i++) {
        const struct vacuum_item *other = vacuum->workers[i].item;
        if (other && other->database == item->database && other->table.tree == item->table.tree &&
            (other->table.kind == PG_PARTITIONED_TABLE || item->table.kind == PG_PARTITIONED_TABLE))
            return true;
    }
    return false;
}

/* The first pending table with that many attempts behind it which may run now. *ret_waiting: there
 * are some that may run later. */
static struct vacuum_item *find_item(struct vacuum *vacuum, int attempts, bool *ret_waiting)
{
    for (size_t i = vacuum->first_pending; i < vacuum->item_count; i++) {
        struct vacuum_item *item = &vacuum->items[i];
        if (item->outcome != VACUUM_PENDING && i == vacuum->first_pending)
            vacuum->first_pending++;
        if (item->outcome != VACUUM_PENDING || item->attempts != attempts)
            continue;
        if (!vacuum->databases[item->database].is_dumped && !is_near_running(vacuum, item))
            return item;
        *ret_waiting = true;
    }
    return NULL;
}

/* With the mutex held. */
static void wait_a_tick(struct vacuum *vacuum)
{
    int64_t until_us = instant_monotonic_us() + vacuum_tick_us(vacuum);
    struct timespec until = {.tv_sec = until_us / US_PER_SECOND,
                             .tv_nsec = until_us % US_PER_SECOND * 1000};
    pthread_cond_timedwait(&vacuum->changed, &vacuum->mutex, &until);
}

static struct vacuum_item *take_item(struct vacuum_worker *worker)
{
    struct vacuum *vacuum = worker->vacuum;
    struct vacuum_item *item = NULL;
    bool waiting = true;
    pthread_mutex_lock(&vacuum->mutex);
    while (!item && waiting && !vacuum->stopped && !time_is_up(vacuum)) {
        waiting = false;
        for (int attempts = 0; attempts < VACUUM_ATTEMPTS && !item; attempts++)
            item = find_item(vacuum, attempts, &waiting);
        if (!item && waiting)
            wait_a_tick(vacuum);
    }
    if (item) {
        item->outcome = VACUUM_RUNNING;
        item->attempts++;
        worker->item = item;
        worker->started_us = instant_monotonic_us();
        worker->gave_way = false;
        worker->blocking_since_us = 0;
        worker->blocker[0] = '\0';
    }
    pthread_mutex_unlock(&vacuum->mutex);
    return item;
}

/* Ends the worker's table. PENDING: it is tried again when the others are done. */
static void settle(struct vacuum_worker *worker, enum vacuum_outcome outcome, int code,
                   const char *note)
{
    struct vacuum *vacuum = worker->vacuum;
    pthread_mutex_lock(&vacuum->mutex);
    struct vacuum_item *item = worker->item;
    item->duration_us += instant_monotonic_us() - worker->started_us;
    free(item->note);
    item->note = note && *note ? strdup(note) : NULL;
    item->outcome = outcome;
    item->code = code;
    if (outcome == VACUUM_PENDING) {
        size_t index = (size_t)(item - vacuum->items);
        if (index < vacuum->first_pending)
            vacuum->first_pending = index;
    } else
        vacuum->finished++;
    worker->item = NULL;
    pthread_cond_broadcast(&vacuum->changed);
    pthread_mutex_unlock(&vacuum->mutex);
}

static void disconnect(struct vacuum_worker *worker)
{
    pthread_mutex_lock(&worker->vacuum->mutex);
    PQfreeCancel(TAKE(worker->cancel));
    worker->pid = 0;
    pthread_mutex_unlock(&worker->vacuum->mutex);
    PQfinish(TAKE(worker->conn));
}

/* VERBOSE makes the server tell what it does as INFO; what it skips it tells as WARNING only. The
 * severity that is not translated is there since 9.6. */
static void collect_notice(void *context, const PGresult *result)
{
    struct vacuum_worker *worker = context;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (severity && strcmp(severity, "INFO") == 0)
        worker->was_informed = true;
    else if (severity && message && strcmp(severity, "WARNING") == 0)
        snprintf(worker->warning, sizeof(worker->warning), "%s", message);
}

static int use_database(struct vacuum_worker *worker, size_t database, struct error *err)
{
    struct vacuum *vacuum = worker->vacuum;
    if (worker->conn && worker->database == database)
        return 0;
    disconnect(worker);
    int rc = vacuum_connect(vacuum, vacuum->databases[database].name, &worker->conn, err);
    if (rc)
        return rc;
    PQsetNoticeReceiver(worker->conn, collect_notice, worker);
    worker->database = database;
    _cleanup_(freep) char *tracks = NULL;
    rc = pg_query_text(worker->conn, &tracks, err,
                       "select pg_catalog.current_setting('track_counts')");
    if (rc)
        return rc;
    worker->is_counted = vacuum->server_version >= 150000 && strcmp(tracks, "on") == 0;
    pthread_mutex_lock(&vacuum->mutex);
    worker->cancel = PQgetCancel(worker->conn);
    worker->pid = PQbackendPID(worker->conn);
    pthread_mutex_unlock(&vacuum->mutex);
    return worker->cancel ? 0 : error_no_memory(err);
}

/* An old table is read as a whole, not only where the visibility map has gaps, and rows are frozen
 * when they are as old as a quarter of the age at which autovacuum would come: else the next look
 * finds the table as old as this one did. A quarter is the relation of the server's defaults. */
static int set_freezing(struct vacuum_worker *worker, const struct vacuum_item *item,
                        struct error *err)
{
    int rc = pg_execute(worker->conn, err,
                        "reset vacuum_freeze_table_age; reset vacuum_multixact_freeze_table_age;"
                        "reset vacuum_freeze_min_age");
    if (rc || item->urgency.class > URGENCY_FREEZE)
        return rc;
    return pg_execute(worker->conn, err,
                      "set vacuum_freeze_table_age = 0; set vacuum_multixact_freeze_table_age = 0;"
                      "select pg_catalog.set_config('vacuum_freeze_min_age', least(%.0f,"
                      " pg_catalog.current_setting('vacuum_freeze_min_age')::int)::text, false)",
                      item->table.freeze_max_age / 4);
}

/* Limits of the table's statements: locks, the rest of the budget, and politeness, which ends where
 * the server is about to refuse writes. */
static int set_limits(struct vacuum_worker *worker, const struct vacuum_item *item,
                      struct error *err)
{
    const struct vacuum *vacuum = worker->vacuum;
    int64_t lock_ms = vacuum->work->job->lock_wait_us / 1000, rest_ms = 0;
    if (vacuum->deadline_us > 0) {
        rest_ms = (vacuum->deadline_us - instant_monotonic_us()) / 1000;
        rest_ms = rest_ms < 1 ? 1 : rest_ms > INT_MAX ? INT_MAX : rest_ms;
    }
    /* 0 would wait for ever. */
    lock_ms = lock_ms < 1 ? 1 : lock_ms > INT_MAX ? INT_MAX : lock_ms;
    int rc = set_freezing(worker, item, err);
    if (rc)
        return rc;
    return pg_execute(worker->conn, err,
                      "set lock_timeout = %lld; set statement_timeout = %lld;"
                      "set vacuum_cost_delay = %d; set vacuum_cost_limit = %d",
                      (long long)lock_ms, (long long)rest_ms,
                      item->urgency.class == URGENCY_WRAPAROUND ? 0 : VACUUM_COST_DELAY_MS,
                      1 + VACUUM_COST_LIMIT / vacuum->worker_count);
}

/* Since 18 both commands go down to partitions and inheriting tables unless told ONLY; those are
 * tables of their own here. Shortening a file takes ACCESS EXCLUSIVE, which standbys replay and for
 * which they cancel queries. */
static int make_statement(const struct vacuum *vacuum, const struct vacuum_item *item,
                          struct buf *sql, struct error *err)
{
    const char *only = vacuum->server_version >= 180000 ? "only " : "";
    if (item->urgency.vacuum)
        buf_addf(sql, "vacuum (verbose, parallel 0%s%s) %s",
                 item->urgency.analyze ? ", analyze" : "",
                 vacuum->feeds_standby ? ", truncate false" : "", only);
    else
        buf_addf(sql, "analyze (verbose) %s", only);
    pg_add_qualified(sql, item->table.schema, item->table.name);
    return buf_failed(sql, "a statement", err);
}

/* From here to the end of the statement the watcher may cancel it; false: it is not to begin. */
static bool set_running(struct vacuum_worker *worker, bool runs)
{
    pthread_mutex_lock(&worker->vacuum->mutex);
    worker->runs_statement = runs && !worker->vacuum->stopped;
    bool may_run = worker->runs_statement;
    pthread_mutex_unlock(&worker->vacuum->mutex);
    return may_run;
}

static int execute(struct vacuum_worker *worker, const char *sql, char sqlstate[6],
                   struct error *err)
{
    worker->was_informed = false;
    worker->warning[0] = '\0';
    if (!set_running(worker, true)) {
        snprintf(sqlstate, 6, "%s", CANCELLED);
        return error_set(err, ERR_INTERRUPTED, "the run was stopped");
    }
    _cleanup_(pg_result_freep) PGresult *result = PQexec(worker->conn, sql);
    set_running(worker, false);
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    snprintf(sqlstate, 6, "%s", state ? state : "");
    return PQresultStatus(result) == PGRES_COMMAND_OK ? 0 : pg_error(worker->conn, result, err);
}

static int run_statement(struct vacuum_worker *worker, const struct vacuum_item *item,
                         char sqlstate[6], struct error *err)
{
    struct buf sql = BUF_INIT(BUF_LIMIT_DEFAULT);
    int rc = make_statement(worker->vacuum, item, &sql, err);
    if (!rc)
        rc = execute(worker, buf_text(&sql), sqlstate, err);
    buf_clear(&sql);
    return rc;
}

/* Whether the counters agree with what the server said. They are written at once since 15, unless
 * track_counts is off; partitioned tables have them since 14. */
static bool is_proved(const struct vacuum_worker *worker, const struct vacuum_item *item)
{
    if (!worker->was_informed)
        return false;
    return !worker->is_counted ||
           ((!item->urgency.vacuum || item->after.vacuum_count > item->before.vacuum_count) &&
            (!item->urgency.analyze || item->after.analyze_count > item->before.analyze_count));
}

/* The statement succeeded; that means little: a table without the right to is skipped by a warning
 * with a success. */
static void settle_success(struct vacuum_worker *worker, struct vacuum_item *item)
{
    struct error err = ERROR_NONE;
    int rc = pg_measure_until(worker->conn, item->table.oid, &item->before, item->urgency.vacuum,
                              item->urgency.analyze, &item->after, &err);
    item->is_measured = rc == 0;
    if (rc == ERR_NOT_FOUND)
        settle(worker, VACUUM_SKIPPED, 0, "it was dropped meanwhile");
    else if (rc == 0 && !is_proved(worker, item))
        settle(worker, VACUUM_FAILED, ERR_FAILED,
               worker->warning[0] ? worker->warning
                                  : "the server reported success, but its counters show no effect");
    else if (rc && !worker->was_informed)
        settle(worker, VACUUM_FAILED, rc, err.message);
    else
        settle(worker, VACUUM_DONE, 0, rc ? err.message : worker->warning);
}

static void settle_conflict(struct vacuum_worker *worker, const struct vacuum_item *item)
{
    char note[VACUUM_BLOCKER_MAX + 80];
    pthread_mutex_lock(&worker->vacuum->mutex);
    bool gave_way = worker->gave_way;
    if (gave_way)
        snprintf(note, sizeof(note), "it gave way to sessions that waited longer than lock_wait");
    else
        snprintf(note, sizeof(note), "it is locked by %s",
                 worker->blocker[0] ? worker->blocker : "another session");
    pthread_mutex_unlock(&worker->vacuum->mutex);
    bool again = item->attempts < VACUUM_ATTEMPTS;
    settle(worker, again ? VACUUM_PENDING : VACUUM_FAILED, again ? 0 : ERR_CONFLICT, note);
}

static void settle_failure(struct vacuum_worker *worker, const struct vacuum_item *item,
                           const char *sqlstate, const struct error *err)
{
    pthread_mutex_lock(&worker->vacuum->mutex);
    bool stopped = worker->vacuum->stopped, gave_way = worker->gave_way;
    pthread_mutex_unlock(&worker->vacuum->mutex);
    bool was_cancelled = strcmp(sqlstate, CANCELLED) == 0;
    if (was_cancelled && stopped)
        settle(worker, VACUUM_LEFT, 0, "the run was stopped");
    else if (was_cancelled && !gave_way && time_is_up(worker->vacuum))
        settle(worker, VACUUM_LEFT, 0, "the budget ended while it was being worked on");
    else if (strcmp(sqlstate, NO_LOCK) == 0 || (was_cancelled && gave_way))
        settle_conflict(worker, item);
    else if (strcmp(sqlstate, NO_TABLE) == 0 || err->code == ERR_NOT_FOUND)
        settle(worker, VACUUM_SKIPPED, 0, "it was dropped meanwhile");
    else
        settle(worker, VACUUM_FAILED, err->code, err->message);
}

/* A lock or a time limit that an error of the preparation tells of, in the terms of a statement's.
 */
static const char *state_of(const struct vacuum *vacuum, const struct error *err)
{
    if (err->code != ERR_CONFLICT)
        return "";
    return time_is_up(vacuum) ? CANCELLED : NO_LOCK;
}

/* A second attempt is compared with the state before the first, but counted for itself. */
static int look_before(struct vacuum_worker *worker, struct vacuum_item *item, struct error *err)
{
    struct pg_measure now;
    int rc = pg_measure_table(worker->conn, item->table.oid, &now, err);
    if (rc)
        return rc;
    if (!item->is_looked_at)
        item->before = now;
    item->is_looked_at = true;
    item->before.vacuum_count = now.vacuum_count;
    item->before.analyze_count = now.analyze_count;
    item->before.autovacuum_works = now.autovacuum_works;
    return 0;
}

static void work_on(struct vacuum_worker *worker, struct vacuum_item *item)
{
    struct error err = ERROR_NONE;
    char sqlstate[6] = "";
    int rc = use_database(worker, item->database, &err);
    if (!rc)
        rc = set_limits(worker, item, &err);
    if (!rc)
        rc = look_before(worker, item, &err);
    if (!rc && item->before.autovacuum_works && item->attempts < VACUUM_ATTEMPTS) {
        settle(worker, VACUUM_PENDING, 0, "autovacuum is working on it");
        return;
    }
    /* One more to wait for it would make autovacuum give way, and its work would be lost. */
    if (!rc && item->before.autovacuum_works && !item->is_chosen) {
        settle(worker, VACUUM_SKIPPED, 0, "autovacuum is working on it");
        return;
    }
    if (rc)
        snprintf(sqlstate, sizeof(sqlstate), "%s", state_of(worker->vacuum, &err));
    else
        rc = run_statement(worker, item, sqlstate, &err);
    if (rc)
        settle_failure(worker, item, sqlstate, &err);
    else
        settle_success(worker, item);
    if (rc && worker->conn && PQstatus(worker->conn) != CONNECTION_OK)
        disconnect(worker);
}

static int64_t count_finished(struct vacuum *vacuum)
{
    pthread_mutex_lock(&vacuum->mutex);
    size_t finished = vacuum->finished;
    pthread_mutex_unlock(&vacuum->mutex);
    return (int64_t)finished;
}

int vacuum_work(void *argument, struct error *err)
{
    (void)err;
    struct vacuum_worker *worker = argument;
    struct vacuum *vacuum = worker->vacuum;
    struct vacuum_item *item;
    while ((item = take_item(worker))) {
        char phase[256];
        snprintf(phase, sizeof(phase), "%s %s.%s", item->urgency.vacuum ? "vacuuming" : "analyzing",
                 vacuum->databases[item->database].name, item->table.name);
        work_progress(vacuum->work, phase, count_finished(vacuum), (int64_t)vacuum->item_count);
        work_on(worker, item);
    }
    disconnect(worker);
    return 0;
}
