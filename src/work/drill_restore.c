/* A backup becomes a server that answers: a snapshot by recovery, a dump in a new cluster. */
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/units.h"
#include "postgres/programs.h"
#include "repository/catalogue.h"
#include "repository/manifest.h"
#include "retention/continuity.h"
#include "work/drill.h"
#include "work/restore.h"
#include "work/restore_snapshot.h"
#include "work/wal_fetch.h"
#include "work/wal_look.h"

enum {
    STEP_US = 100000,
    PATH_LIMIT = 4096,
    LIBRARIES_MAX = 200,
    SETTINGS_MAX = 4,
    SPARE_BYTES = 256 << 20,     /* settings, logs, WAL of the scratch server */
    INDEX_SHARE_PERCENT = 60,    /* what indexes add to the rows of a dump, at a guess */
    REPLAY_SEGMENTS_ON_DISK = 8, /* those replayed are used anew */
};

#define CAUSE "wal-fetch-cause"      /* a file in the drill's folder */
#define START_US (2 * US_PER_MINUTE) /* for a new cluster, which has nothing to recover */

static void tell_progress(const char *phase, int64_t done, int64_t total, void *context)
{
    work_progress(((const struct drill *)context)->work, phase, done, total);
}

static void tell_notice(const char *text, void *context)
{
    work_notice(((const struct drill *)context)->work, "%s", text);
}

static char *path_of(const struct drill *drill, const char *name, char path[PATH_LIMIT])
{
    snprintf(path, PATH_LIMIT, "%s/%s", drill->folder, name);
    return path;
}

static int read_manifest(struct drill *drill, struct error *err)
{
    enum backup_kind kind = drill->mode == DRILL_WHOLE ? BACKUP_DUMP : BACKUP_SNAPSHOT;
    json_decref(drill->manifest);
    drill->manifest = NULL;
    return manifest_read(drill->work->repository, kind, drill->backup_id, &drill->manifest, err);
}

static int major_of(const struct drill *drill)
{
    const json_t *server = json_object_get(drill->manifest, "server");
    return (int)(json_number(server, "version_num") / 10000);
}

static int find_programs(struct drill *drill, bool exact, struct error *err)
{
    int major = major_of(drill);
    struct pg_programs found = {0};
    if (major <= 0)
        return error_set(err, ERR_CORRUPT,
                         "the manifest of %s does not say of which version the "
                         "server was",
                         drill->backup_id);
    int rc = pg_find_server_programs(drill->work->policy->bindir, major, exact, &found, err);
    drill->programs = found.folder;
    return rc;
}

/* -- the server ------------------------------------------------------------------------------- */

static int wait_ready(struct drill *drill, int64_t most_us, struct error *err)
{
    int64_t begun_us = instant_monotonic_us();
    bool ready = false;
    int rc = 0;
    while (!rc && !ready) {
        if (work_interrupted(err))
            return ERR_INTERRUPTED;
        if (most_us > 0 && instant_monotonic_us() - begun_us > most_us)
            return error_set(err, ERR_TIMEOUT, "the scratch server does not answer");
        usleep(STEP_US);
        rc = pg_scratch_poll(drill->server, &ready, err);
    }
    return rc;
}

/* pg_cron must be loaded where a dump's extension is made anew, and told its database; without
 * worker processes it runs nothing. NULL when no database of the dump has it. */
static const char *find_cron_database(const struct drill *drill)
{
    size_t i;
    const json_t *database;
    json_array_foreach(json_object_get(drill->manifest, "databases"), i, database)
    {
        if (manifest_has_extension(database, "pg_cron"))
            return json_text(database, "name");
    }
    return NULL;
}

static int allow_cron(const struct drill *drill, char **preload, struct strv *settings,
                      struct error *err)
{
    const char *database = find_cron_database(drill);
    char *longer = NULL;
    if (!database)
        return 0;
    if (asprintf(&longer, "%s%spg_cron", *preload, **preload ? "," : "") < 0)
        return error_no_memory(err);
    free(*preload);
    *preload = longer;
    return strv_addf(settings, err, "cron.database_name=%s", database);
}

static int start(struct drill *drill, struct strv *settings, struct error *err)
{
    const json_t *saved = json_object_get(json_object_get(drill->manifest, "server"), "settings");
    _cleanup_(freep) char *preload = NULL, *env = NULL;
    _cleanup_(strv_clear) struct strv left_out = STRV_INIT(LIBRARIES_MAX);
    char data[PATH_LIMIT];
    int rc = pg_scratch_preload(drill->programs, json_text(saved, "shared_preload_libraries"),
                                &preload, &left_out, err);
    if (!rc)
        rc = allow_cron(drill, &preload, settings, err);
    if (rc)
        return rc;
    bool has_cron = find_cron_database(drill) != NULL;
    for (size_t i = 0; i < left_out.count; i++)
        if (!has_cron || strcmp(left_out.items[i], "pg_cron") != 0)
            drill_note(drill, "library", "skip",
                       "%s is not loaded: it works by itself, or is not here", left_out.items[i]);
    if (asprintf(&env, WAL_FETCH_CAUSE "=%s/" CAUSE, drill->folder) < 0)
        return error_no_memory(err);
    struct pg_scratch_options options = {.programs = drill->programs,
                                         .major = major_of(drill),
                                         .folder = drill->folder,
                                         .data = path_of(drill, "data", data),
                                         .preload = preload,
                                         .settings = settings,
                                         .env = env};
    return pg_scratch_start(&options, &drill->server, err);
}

/* -- snapshots -------------------------------------------------------------------------------- */

/* WAL is needed by moments; the newest snapshot of the job begins a recovery to the end. */
static int restore_physical(struct drill *drill, struct error *err)
{
    char data[PATH_LIMIT], spaces[PATH_LIMIT];
    _cleanup_(json_release) json_t *report = NULL;
    const struct strv none = STRV_INIT(1);
    struct restore_snapshot_request request = {
        .policy = drill->work->policy,
        .repository = drill->work->repository,
        .folder = path_of(drill, "data", data),
        .tablespaces = &none,
        .tablespaces_under = path_of(drill, "tablespaces", spaces),
        .jobs = drill->work->job->jobs,
        .progress = tell_progress,
        .notice = tell_notice,
        .context = drill,
    };
    request.target.kind = drill->mode == DRILL_RANDOM ? REACH_TIME : REACH_END;
    request.target.time_us = drill->target_us;
    if (drill->mode == DRILL_LATEST)
        request.target.backup_id = drill->backup_id;
    request.dry_run = true;
    int rc = restore_snapshot(&request, &report, err);
    if (rc == ERR_NOT_FOUND && err) /* the repository was read: what should be in it is not */
        rc = err->code = ERR_CORRUPT;
    if (rc)
        return rc;
    snprintf(drill->backup_id, sizeof(drill->backup_id), "%s", json_text(report, "id"));
    drill->bytes = json_number(report, "bytes");
    rc = read_manifest(drill, err);
    if (!rc)
        rc = find_programs(drill, true, err);
    int64_t segment = json_number(json_object_get(drill->manifest, "wal"), "segment_size");
    if (!rc)
        rc = drill_folder_check_space(drill,
                                      drill->bytes + SPARE_BYTES +
                                          REPLAY_SEGMENTS_ON_DISK * (segment ? segment : 16 << 20),
                                      err);
    if (rc)
        return rc;
    snprintf(drill->last_wal, sizeof(drill->last_wal), "%s",
             json_text(json_object_get(report, "wal"), "last"));
    json_decref(report);
    report = NULL;
    request.dry_run = false;
    drill->tried = true;
    return restore_snapshot(&request, &report, err);
}

/* Nothing may have been committed between the moment and the end of the WAL: PostgreSQL, which
 * wants to see a later commit, gives up then, though all of that moment is there. */
static bool ended_before_target(const struct drill *drill)
{
    _cleanup_(buf_clear) struct buf log = BUF_INIT(PG_SCRATCH_LOG_MAX + 1);
    return drill->mode == DRILL_RANDOM && pg_scratch_log(drill->server, &log, NULL) == 0 &&
           strstr(buf_text(&log), "recovery ended before configured recovery target was reached");
}

/* What the fetch of WAL left when it was in doubt, and the server ended for that. A repository that
 * could not be read says nothing of the backup. */
static int take_cause(const struct drill *drill, struct error *reason)
{
    static const char *const FAULTS[] = {"corrupt", "doubt", "conflict", "not_found"};
    _cleanup_(buf_clear) struct buf text = BUF_INIT(PATH_LIMIT);
    char path[PATH_LIMIT];
    if (file_read(path_of(drill, CAUSE, path), &text, NULL))
        return reason->code; /* it was not for want of WAL */
    const char *code = buf_text(&text), *message = strchr(code, '\n');
    if (!message)
        return reason->code;
    bool is_fault = false;
    for (size_t i = 0; i < ARRAY_SIZE(FAULTS); i++)
        is_fault |= strncmp(code, FAULTS[i], (size_t)(message - code)) == 0;
    error_set(reason, is_fault ? ERR_CORRUPT : ERR_UNKNOWN, "replay ended: %s", message + 1);
    return is_fault ? reason->code
                    : error_hint(reason, "the backup may be well: run the drill again when the "
                                         "repository answers");
}

static int recover(struct drill *drill, struct strv *settings, struct error *err)
{
    work_progress(drill->work, "replaying WAL", 0, 0);
    int rc = start(drill, settings, err);
    return rc ? rc : wait_ready(drill, 0, err);
}

static int recover_to_target(struct drill *drill, struct error *err)
{
    _cleanup_(strv_clear) struct strv settings = STRV_INIT(4);
    struct error reason = ERROR_NONE;
    int rc = recover(drill, NULL, &reason);
    if (rc && rc != ERR_INTERRUPTED && drill->server && ended_before_target(drill)) {
        drill->server = pg_scratch_stop(drill->server);
        drill_note(drill, "replay", "pass",
                   "nothing was committed between that moment and the end of the WAL");
        rc = strv_add(&settings, "recovery_target_time=", err);
        return rc ? rc : recover(drill, &settings, err);
    }
    if (drill->mode == DRILL_RANDOM)
        drill->last_wal[0] = '\0';
    if (rc && rc != ERR_INTERRUPTED)
        rc = take_cause(drill, &reason);
    if (rc && err)
        *err = reason;
    return rc;
}

/* -- dumps ------------------------------------------------------------------------------------ */

static int prepare_dump(struct drill *drill, struct error *err)
{
    char data[PATH_LIMIT];
    _cleanup_(strv_clear) struct strv settings = STRV_INIT(SETTINGS_MAX);
    int rc = read_manifest(drill, err);
    if (!rc)
        rc = find_programs(drill, false, err);
    if (!rc)
        rc = drill_folder_check_space(
            drill, drill->bytes + drill->bytes / 100 * INDEX_SHARE_PERCENT + SPARE_BYTES, err);
    if (!rc)
        rc = pg_scratch_make_data(drill->programs, path_of(drill, "data", data), err);
    if (!rc)
        rc = start(drill, &settings, err);
    return rc ? rc : wait_ready(drill, START_US, err);
}

static int restore_logical(struct drill *drill, struct error *err)
{
    _cleanup_(freep) char *target = NULL;
    _cleanup_(json_release) json_t *report = NULL;
    const struct strv none = STRV_INIT(1);
    int rc = prepare_dump(drill, err);
    if (rc)
        return rc;
    if (asprintf(&target, "%s user=postgres dbname=postgres", pg_scratch_conninfo(drill->server)) <
        0)
        return error_no_memory(err);
    drill->tried = true;
    struct restore_request request = {.policy = drill->work->policy,
                                      .repository = drill->work->repository,
                                      .backup = drill->backup_id,
                                      .target = target,
                                      .tables = &none,
                                      .create_roles = true,
                                      .no_tablespaces = true,
                                      .jobs = drill->work->job->jobs,
                                      .progress = tell_progress,
                                      .notice = tell_notice,
                                      .context = drill};
    return restore_dump(&request, &report, err);
}

/* -- the steps -------------------------------------------------------------------------------- */

int drill_restore(struct drill *drill, struct error *err)
{
    int64_t begun_us = instant_monotonic_us();
    int rc =
        drill->mode == DRILL_WHOLE ? restore_logical(drill, err) : restore_physical(drill, err);
    drill->restore_us = instant_monotonic_us() - begun_us;
    return rc;
}

int drill_replay(struct drill *drill, struct error *err)
{
    int64_t begun_us = instant_monotonic_us();
    int rc = recover_to_target(drill, err);
    drill->replay_us = instant_monotonic_us() - begun_us;
    return rc;
}
