/* While tables are being vacuumed: who waits behind a worker, whom a worker waits for, and in which
 * databases a dump holds its snapshot, past which no dead row can be removed. */
#include <string.h>

#include "base/instant.h"
#include "work/vacuum.h"

/* pg_locks shows waiters to every role; of foreign sessions, what may be seen of them. */
static const char LOCK_WAITS[] =
    "select w.pid, b.pid, coalesce(a.usename, '?'), coalesce(a.application_name, ''),"
    " coalesce(a.state, '') "
    "from (select distinct pid from pg_catalog.pg_locks where not granted) w"
    " cross join lateral unnest(pg_catalog.pg_blocking_pids(w.pid)) b(pid)"
    " left join pg_catalog.pg_stat_activity a on a.pid = b.pid";

/* pg_dump by name, and dumps of our own, whose sessions are "pgcairn RUN". */
static const char DUMPS[] =
    "select datname, min(pid), min(application_name) from pg_catalog.pg_stat_activity "
    "where backend_xmin is not null"
    "  and (application_name ~ '^pgcairn ' or application_name ~ '^pg_dump') "
    "group by datname";

static void cancel_worker(struct vacuum_worker *worker)
{
    if (worker->cancel && worker->runs_statement)
        pg_cancel(worker->cancel);
}

static void stop(struct vacuum *vacuum)
{
    pthread_mutex_lock(&vacuum->mutex);
    vacuum->stopped = true;
    for (int i = 0; i < vacuum->worker_count; i++)
        cancel_worker(&vacuum->workers[i]);
    pthread_cond_broadcast(&vacuum->changed);
    pthread_mutex_unlock(&vacuum->mutex);
}

static struct vacuum_worker *worker_of(struct vacuum *vacuum, int64_t pid)
{
    for (int i = 0; i < vacuum->worker_count; i++)
        if (vacuum->workers[i].item && vacuum->workers[i].pid == pid)
            return &vacuum->workers[i];
    return NULL;
}

static void note_blocker(struct vacuum_worker *worker, const PGresult *result, int row)
{
    const char *application = pg_text(result, row, 3), *state = pg_text(result, row, 4);
    snprintf(worker->blocker, sizeof(worker->blocker), "pid %s, user %s%s%s%s%s",
             pg_text(result, row, 1), pg_text(result, row, 2), *application ? ", " : "",
             application, *state ? ", " : "", state);
}

/* With the mutex held. */
static void heed_waits(struct vacuum *vacuum, const PGresult *result, int64_t now_us)
{
    bool blocks[POLICY_CONNECTIONS_MAX] = {false};
    for (int row = 0; row < PQntuples(result); row++) {
        struct vacuum_worker *waiter = worker_of(vacuum, pg_integer(result, row, 0));
        struct vacuum_worker *blocker = worker_of(vacuum, pg_integer(result, row, 1));
        if (waiter)
            note_blocker(waiter, result, row);
        else if (blocker)
            blocks[blocker - vacuum->workers] = true;
    }
    for (int i = 0; i < vacuum->worker_count; i++) {
        struct vacuum_worker *worker = &vacuum->workers[i];
        if (!blocks[i])
            worker->blocking_since_us = 0;
        else if (worker->blocking_since_us == 0)
            worker->blocking_since_us = now_us;
        else if (now_us - worker->blocking_since_us >= vacuum->work->job->lock_wait_us &&
                 !worker->gave_way && worker->runs_statement) {
            worker->gave_way = true;
            cancel_worker(worker);
        }
    }
}

/* With the mutex held. */
static void heed_dumps(struct vacuum *vacuum, const PGresult *result)
{
    for (size_t i = 0; i < vacuum->database_count; i++) {
        struct vacuum_database *database = &vacuum->databases[i];
        int row = 0;
        while (row < PQntuples(result) && strcmp(pg_text(result, row, 0), database->name) != 0)
            row++;
        database->is_dumped = row < PQntuples(result);
        if (!database->is_dumped || database->was_dumped)
            continue;
        database->was_dumped = true;
        work_notice(vacuum->work,
                    "database \"%s\" is being dumped (pid %s, %s): its tables wait, for nothing "
                    "that the dump still sees can be cleaned up",
                    database->name, pg_text(result, row, 1), pg_text(result, row, 2));
    }
    pthread_cond_broadcast(&vacuum->changed);
}

static int look(struct vacuum *vacuum, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *waits = NULL, *dumps = NULL;
    int rc = pg_query(vacuum->watcher, &waits, err, LOCK_WAITS, NULL);
    if (!rc)
        rc = pg_query(vacuum->watcher, &dumps, err, DUMPS, NULL);
    if (rc)
        return rc;
    pthread_mutex_lock(&vacuum->mutex);
    heed_waits(vacuum, waits, instant_monotonic_us());
    heed_dumps(vacuum, dumps);
    pthread_mutex_unlock(&vacuum->mutex);
    return 0;
}

void vacuum_watch(struct vacuum *vacuum)
{
    struct error failure = ERROR_NONE;
    if (work_interrupted(NULL))
        stop(vacuum);
    int rc = vacuum->watcher ? 0 : vacuum_connect(vacuum, NULL, &vacuum->watcher, &failure);
    if (!rc)
        rc = look(vacuum, &failure);
    if (!rc)
        return;
    /* Unseen, we may stand in somebody's way for as long as one table takes. */
    if (vacuum->watcher)
        work_notice(vacuum->work, "could not look for sessions that wait: %s", failure.message);
    PQfinish(TAKE(vacuum->watcher));
}
