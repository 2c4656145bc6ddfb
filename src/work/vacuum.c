/* A vacuum run: look what needs it, work through it by urgency within a budget and without standing
 * in anybody's way, prove each table, and tell what keeps the server from being clean. */
#include "work/vacuum.h"

#include <string.h>

#include "base/instant.h"
#include "work/policy_load.h"

static void vacuum_clear(struct vacuum *vacuum)
{
    for (size_t i = 0; i < vacuum->item_count; i++) {
        pg_candidate_clear(&vacuum->items[i].table);
        free(vacuum->items[i].note);
    }
    for (size_t i = 0; i < vacuum->database_count; i++) {
        free(vacuum->databases[i].name);
        free(vacuum->databases[i].failure);
    }
    free(vacuum->items);
    free(vacuum->databases);
    strv_clear(&vacuum->unmatched);
    PQfinish(vacuum->watcher);
    free(vacuum->conninfo);
    pthread_cond_destroy(&vacuum->changed);
    pthread_mutex_destroy(&vacuum->mutex);
}

static void vacuum_init(struct vacuum *vacuum, const struct work *work)
{
    pthread_condattr_t attributes;
    *vacuum = (struct vacuum){.work = work, .unmatched = STRV_INIT(POLICY_LIST_MAX)};
    pthread_mutex_init(&vacuum->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&vacuum->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (work->job->budget_us > 0)
        vacuum->deadline_us = instant_monotonic_us() + work->job->budget_us;
    /* Not "pgcairn RUN", by which dumps are known. */
    snprintf(vacuum->application, sizeof(vacuum->application), "pgcairn-vacuum %s", work->run_id);
}

static int set_workers(struct vacuum *vacuum, struct error *err)
{
    const struct policy *policy = vacuum->work->policy;
    int wanted = vacuum->work->job->jobs > 0 ? vacuum->work->job->jobs : 1;
    int most = policy->max_connections - VACUUM_WATCH_CONNECTIONS;
    if (most < 1) {
        error_set(err, ERR_POLICY, "max_connections: %d is too few for a vacuum job",
                  policy->max_connections);
        return error_hint(err, "one connection works and one watches whom it keeps waiting: 2");
    }
    vacuum->worker_count = wanted < most ? wanted : most;
    if (vacuum->worker_count < wanted)
        work_notice(vacuum->work, "jobs: %d is cut to %d: max_connections: %d, and %d watches",
                    wanted, vacuum->worker_count, policy->max_connections,
                    VACUUM_WATCH_CONNECTIONS);
    for (int i = 0; i < vacuum->worker_count; i++)
        vacuum->workers[i] = (struct vacuum_worker){.vacuum = vacuum};
    return 0;
}

/* Standbys tell how far they have replayed; of replication that we may not look into, we assume the
 * same. */
static int look_for_standbys(struct vacuum *vacuum, struct error *err)
{
    int64_t count = 0;
    int rc = pg_query_integer(vacuum->watcher, &count, err,
                              "select count(*) from pg_catalog.pg_stat_replication "
                              "where replay_lsn is not null or state is null");
    vacuum->feeds_standby = count > 0;
    return rc;
}

static int open_server(struct vacuum *vacuum, struct error *err)
{
    const struct work *work = vacuum->work;
    int64_t is_standby = 0;
    int rc = policy_connection(work->policy, work->job, &vacuum->conninfo, err);
    if (!rc)
        rc = vacuum_connect(vacuum, NULL, &vacuum->watcher, err);
    if (!rc)
        rc = pg_refuse_pooler(vacuum->watcher, err);
    if (!rc)
        rc = pg_query_integer(vacuum->watcher, &is_standby, err,
                              "select pg_catalog.pg_is_in_recovery()::int");
    if (!rc && is_standby) {
        error_set(err, ERR_FAILED, "the server is a standby, which can't be vacuumed");
        return error_hint(err, "give the job a connection: to the primary");
    }
    if (!rc)
        rc = look_for_standbys(vacuum, err);
    if (!rc)
        vacuum->server_version = PQserverVersion(vacuum->watcher);
    return rc;
}

static int run_workers(struct vacuum *vacuum, struct error *err)
{
    _cleanup_(crew_freep) struct crew *crew = NULL;
    int rc = crew_new(&crew, err);
    /* Before the first table, for a dump may be running already. */
    vacuum_watch(vacuum);
    for (int i = 0; i < vacuum->worker_count && !rc; i++)
        rc = crew_start(crew, vacuum_work, &vacuum->workers[i], err);
    while (!rc && !crew_ended(crew, vacuum_tick_us(vacuum)))
        vacuum_watch(vacuum);
    return rc ? rc : crew_join(crew, err);
}

static int leave_rest(struct vacuum *vacuum, struct error *err)
{
    for (size_t i = 0; i < vacuum->item_count; i++) {
        struct vacuum_item *item = &vacuum->items[i];
        if (item->outcome != VACUUM_PENDING)
            continue;
        item->outcome = VACUUM_LEFT;
        if (item->note)
            continue;
        item->note = strdup(vacuum->stopped ? "the run was stopped"
                            : vacuum->databases[item->database].is_dumped
                                ? "a dump of the database was running"
                                : "the budget was spent");
        if (!item->note)
            return error_no_memory(err);
    }
    return 0;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* Rows that VACUUM found dead and had to leave, with the oldest of those who could still see them.
 */
static void tell_blockers(const struct vacuum *vacuum, const json_t *details)
{
    int64_t rows = 0;
    for (size_t i = 0; i < vacuum->item_count; i++) {
        const struct vacuum_item *item = &vacuum->items[i];
        if (item->is_measured && item->urgency.vacuum &&
            item->after.dead_rows * VACUUM_STUCK_PART >= item->before.dead_rows)
            rows += item->after.dead_rows;
    }
    const json_t *server = json_object_get(details, "server");
    const json_t *oldest = json_array_get(json_object_get(server, "blockers"), 0);
    if (rows == 0 || !oldest)
        return;
    const char *application = text_of(oldest, "application"), *since = text_of(oldest, "since");
    work_notice(vacuum->work, "%lld dead rows can't be removed yet: %s %s%s%s%s%s%s holds them; %s",
                (long long)rows, text_of(oldest, "kind"), text_of(oldest, "holder"),
                *application ? " (" : "", application, *application ? ")" : "",
                *since ? " since " : "", since, text_of(oldest, "command"));
}

int vacuum_run(const struct work *work, struct work_result *result, struct error *err)
{
    struct vacuum vacuum __attribute__((cleanup(vacuum_clear)));
    vacuum_init(&vacuum, work);
    int rc = set_workers(&vacuum, err);
    if (!rc)
        rc = open_server(&vacuum, err);
    if (!rc)
        rc = vacuum_plan(&vacuum, err);
    if (!rc)
        rc = run_workers(&vacuum, err);
    if (!rc)
        rc = leave_rest(&vacuum, err);
    if (!rc)
        rc = vacuum_details(&vacuum, &result->details, err);
    if (rc)
        return rc;
    tell_blockers(&vacuum, result->details);
    return vacuum_verdict(&vacuum, err);
}
