/* A snapshot, from first look to manifest: find out what the server is, say that it begins, let it
 * send itself, and last of all write the manifest, which makes the backup exist. */
#include "work/snapshot.h"

#include <sched.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "repository/manifest.h"
#include "wal/name.h"
#include "work/policy_load.h"

enum { WATCH_STEP_US = 200000, PROGRESS_US = 1000000, SLOT_RANDOM = 12 };

static void snapshot_clear(struct snapshot *snapshot)
{
    crew_free(snapshot->crew);
    pg_abort_clear(&snapshot->abort);
    PQfinish(snapshot->conn);
    cutter_free(snapshot->cutter);
    volume_free(snapshot->manifest);
    pg_server_clear(&snapshot->server);
    free(snapshot->conninfo);
    json_decref(snapshot->objects);
    json_decref(snapshot->tablespaces);
    json_decref(snapshot->notices);
}

/* zstd's own threads: what the policy says, or one for each processor that we may use. */
static int compression_threads(const struct policy *policy)
{
    cpu_set_t set;
    int threads = policy->compression_threads;
    if (threads == 0)
        threads = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    if (threads > SNAPSHOT_THREADS_MAX)
        threads = SNAPSHOT_THREADS_MAX;
    return threads > 1 ? threads : 0;
}

/* -- before ---------------------------------------------------------------------------------------
 */

/* How far the server's clock is ahead: moments to recover to are told by that one. */
static int read_clock(struct snapshot *snapshot, PGconn *conn, struct error *err)
{
    int64_t server_us = 0, before_us = instant_now_us();
    int rc = pg_query_integer(conn, &server_us, err,
                              "select (extract(epoch from pg_catalog.clock_timestamp()) * "
                              "1000000)::bigint");
    if (!rc)
        snapshot->clock_offset_us = server_us - (before_us + (instant_now_us() - before_us) / 2);
    return rc;
}

static int look_at_server(struct snapshot *snapshot, struct error *err)
{
    const struct work *work = snapshot->work;
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    int rc = policy_connection(work->policy, work->job, &snapshot->conninfo, err);
    if (!rc)
        rc = pg_connect(snapshot->conninfo, NULL, snapshot->application, &conn, err);
    if (!rc)
        rc = pg_refuse_pooler(conn, err);
    if (!rc)
        rc = pg_read_server(conn, &snapshot->server, err);
    return rc ? rc : read_clock(snapshot, conn, err);
}

static bool is_final(int rc)
{
    return rc == ERR_CONNECTION || rc == ERR_INTERRUPTED || rc == ERR_TIMEOUT || rc == ERR_MEMORY;
}

/* Without a slot the server may remove WAL that the snapshot needs; mostly it does not. */
static int hold_wal(struct snapshot *snapshot, struct error *err)
{
    char slot[64], random[SLOT_RANDOM + 1];
    struct error reason = ERROR_NONE;
    int rc = file_random_name(random, SLOT_RANDOM, err);
    if (rc)
        return rc;
    snprintf(slot, sizeof(slot), "pgcairn_%s", random);
    rc = pg_create_temporary_slot(snapshot->conn, slot, &reason);
    if (rc && is_final(rc)) {
        if (err)
            *err = reason;
        return rc;
    }
    if (rc)
        snapshot_notice(snapshot,
                        "warning: no replication slot holds the WAL while the snapshot runs (%s): "
                        "it fails if the server removes WAL too early",
                        reason.message);
    return 0;
}

static int open_replication(struct snapshot *snapshot, struct error *err)
{
    int rc =
        pg_connect_replication(snapshot->conninfo, snapshot->application, &snapshot->conn, err);
    if (!rc)
        rc = pg_identify_system(snapshot->conn, &snapshot->system, err);
    if (!rc)
        rc = hold_wal(snapshot, err);
    return rc ? rc : pg_abort_init(&snapshot->abort, snapshot->conn, err);
}

/* -- meanwhile ------------------------------------------------------------------------------------
 */

static void show_progress(struct snapshot *snapshot)
{
    int64_t done = atomic_load(&snapshot->bytes_done), total = atomic_load(&snapshot->bytes_total);
    if (total == 0)
        work_progress(snapshot->work, "waiting for a checkpoint", 0, 0);
    else /* the estimate knows nothing of the WAL */
        work_progress(snapshot->work, "reading the cluster", done, done > total ? done : total);
}

static void watch(struct snapshot *snapshot)
{
    int64_t shown_us = 0;
    while (!crew_ended(snapshot->crew, WATCH_STEP_US)) {
        struct error error = ERROR_NONE;
        int rc = work_interrupted(&error) ? error.code : making_beat(&snapshot->making, &error);
        if (rc) {
            crew_fail(snapshot->crew, &error);
            rate_stop(&snapshot->rate);
            return;
        }
        if (instant_monotonic_us() - shown_us >= PROGRESS_US) {
            shown_us = instant_monotonic_us();
            show_progress(snapshot);
        }
    }
}

static int read_cluster(struct snapshot *snapshot, struct error *err)
{
    int rc = crew_new(&snapshot->crew, err);
    if (!rc)
        rc = crew_start(snapshot->crew, snapshot_receive, snapshot, err);
    if (rc)
        return rc;
    watch(snapshot);
    return crew_join(snapshot->crew, err);
}

/* -- the manifest ---------------------------------------------------------------------------------
 */

static json_t *pack_server(const struct snapshot *snapshot)
{
    const struct pg_server *server = &snapshot->server;
    return json_pack("{s:s, s:i, s:s, s:b, s:O}", "version", server->version, "version_num",
                     server->version_num, "system_identifier", snapshot->system.identifier,
                     "is_standby", server->is_standby, "settings", server->settings);
}

static json_t *pack_wal(const struct snapshot *snapshot)
{
    char start[WAL_LSN_TEXT_MAX], stop[WAL_LSN_TEXT_MAX];
    return json_pack("{s:I, s:s, s:I, s:s, s:I}", "timeline", (json_int_t)snapshot->start_timeline,
                     "start_lsn", wal_lsn_format(snapshot->start_lsn, start), "stop_timeline",
                     (json_int_t)snapshot->end.timeline, "stop_lsn",
                     wal_lsn_format(snapshot->end.lsn, stop), "segment_size",
                     (json_int_t)snapshot->system.segment_size);
}

static json_t *make_manifest(const struct snapshot *snapshot)
{
    const struct work *work = snapshot->work;
    int64_t now_us = instant_now_us();
    char mode[8];
    snprintf(mode, sizeof(mode), "%04o", snapshot->system.folder_mode);
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:b, s:I, s:I, s:O, s:O, "
        "s:O}",
        "format", MANIFEST_FORMAT, "kind", "snapshot", "id", snapshot->making.started.id, "cluster",
        work->policy->cluster, "job", work->job->name, "run_id", work->run_id, "pgcairn_version",
        PGCAIRN_VERSION, "started_at", json_instant_micros(work->started_us), "completed_at",
        json_instant_micros(now_us), "stopped_at",
        json_instant_micros(now_us + snapshot->clock_offset_us), "server", pack_server(snapshot),
        "wal", pack_wal(snapshot), "folder_mode", mode, "checksums_failed",
        snapshot->end.checksums_failed, "bytes_source",
        (json_int_t)atomic_load(&snapshot->bytes_done), "bytes_stored",
        (json_int_t)snapshot->bytes_stored, "objects", snapshot->objects, "tablespaces",
        snapshot->tablespaces, "notices", snapshot->notices);
}

static int complete(struct snapshot *snapshot, struct error *err)
{
    _cleanup_(json_release) json_t *manifest = NULL;
    int rc = snapshot_write_script(snapshot, err);
    if (rc)
        return rc;
    manifest = make_manifest(snapshot);
    if (!manifest)
        return error_no_memory(err);
    if (work_interrupted(err))
        return ERR_INTERRUPTED;
    return making_complete(&snapshot->making, manifest, err);
}

/* -- the whole ------------------------------------------------------------------------------------
 */

static int make(struct snapshot *snapshot, struct error *err)
{
    int rc = look_at_server(snapshot, err);
    if (!rc)
        rc = open_replication(snapshot, err);
    if (rc)
        return rc;
    struct repository_server identity = {.system_identifier = snapshot->system.identifier,
                                         .version = snapshot->server.version,
                                         .version_num = snapshot->server.version_num};
    rc = making_begin(snapshot->work, BACKUP_SNAPSHOT, &identity, &snapshot->making, err);
    if (rc)
        return rc;
    rc = read_cluster(snapshot, err);
    if (!rc)
        rc = complete(snapshot, err);
    if (rc)
        making_discard(&snapshot->making);
    return rc;
}

/* The blocks are as the server has them, so the backup is kept; but nobody may believe that all is
 * well. */
static int tell_damage(const struct snapshot *snapshot, struct error *err)
{
    if (!snapshot->end.checksums_failed)
        return 0;
    error_set(err, ERR_CORRUPT,
              "the server has blocks with wrong checksums: snapshot %s is kept, but is damaged as "
              "the server is",
              snapshot->making.started.id);
    return error_hint(err, "the notices name the files; the server's disk or memory is at fault: "
                           "keep older backups, see pg_amcheck and pg_checksums");
}

int snapshot_run(const struct work *work, struct work_result *result, struct error *err)
{
    _cleanup_(snapshot_clear) struct snapshot snapshot = {
        .work = work,
        .store = work->repository->store,
        .rate = RATE_INIT(work->policy->rate_limit),
        .objects = json_array(),
        .tablespaces = json_array(),
        .notices = json_array(),
    };
    snapshot.options = (struct volume_options){.level = work->policy->compression_level,
                                               .threads = compression_threads(work->policy),
                                               .time_us = work->started_us,
                                               .rate = &snapshot.rate};
    snprintf(snapshot.application, sizeof(snapshot.application), "pgcairn %s", work->run_id);
    int rc = make(&snapshot, err);
    if (rc)
        return rc;
    snprintf(result->backup_id, sizeof(result->backup_id), "%s", snapshot.making.started.id);
    result->bytes_source = atomic_load(&snapshot.bytes_done);
    result->bytes_stored = snapshot.bytes_stored;
    return tell_damage(&snapshot, err);
}
