#include "postgres/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "base/child.h"
#include "base/file.h"
#include "base/units.h"

#define STOP_US (20 * US_PER_SECOND)
#define PING_SECONDS "10"

enum {
    EVENT_TRIGGERS_MAJOR = 17,   /* since when they can be off, and fire at a login */
    STATISTICS_FILES_MAJOR = 14, /* the last that has such */
    SETTINGS_MAX = 200,
    CONF_LIMIT = 1 << 20,
    LINE_SHOWN = 500,
};

struct pg_scratch {
    struct child child;
    char folder[PG_SCRATCH_FOLDER_MAX + 1];
    char conninfo[PG_SCRATCH_FOLDER_MAX + 200];
};

/* -- before --------------------------------------------------------------------------------------
 */

int pg_scratch_check_user(struct error *err)
{
    if (geteuid() != 0)
        return 0;
    error_set(err, ERR_FAILED,
              "PostgreSQL refuses to run as root, so a restore can't be tried out");
    return error_hint(err, "run pgcairn as the user postgres, or another one that may read the "
                           "policy and the repository");
}

int pg_scratch_check_folder(const char *folder, struct error *err)
{
    if (strlen(folder) > PG_SCRATCH_FOLDER_MAX)
        error_set(err, ERR_USAGE,
                  "\"%s\" is longer than the %d bytes that a socket's folder may have", folder,
                  PG_SCRATCH_FOLDER_MAX);
    else if (strpbrk(folder, ",'\"\\"))
        error_set(err, ERR_USAGE,
                  "no socket can lie in \"%s\": a comma, a quote or a backslash is in its path",
                  folder);
    else
        return 0;
    return error_hint(err, "name another folder with scratch: in the policy");
}

int pg_scratch_make_data(const char *programs, const char *data, struct error *err)
{
    _cleanup_(freep) char *initdb = NULL;
    if (asprintf(&initdb, "%s/initdb", programs) < 0)
        return error_no_memory(err);
    const char *argv[] = {initdb, "-D",         data,           "-U",        "postgres",   "-E",
                          "UTF8", "--locale=C", "--auth=trust", "--no-sync", "--no-clean", NULL};
    const char *env[] = {"LC_ALL=C", NULL};
    struct child_spec spec = {.argv = argv, .env = env};
    return child_run(&spec, NULL, err);
}

/* -- libraries that are loaded at the start -------------------------------------------------------
 */

/* They begin work by themselves, and much of it reaches outside: jobs, requests, replication. Those
 * that no list can know get no process (max_worker_processes). */
static const char *const ACTIVE_LIBRARIES[] = {
    "pg_cron",  "pg_net", "pg_partman_bgw",    "pg_squeeze", "pglogical",      "bdr",
    "pgactive", "spock",  "pg_failover_slots", "repmgr",     "pgautofailover", "timescaledb",
    "citus",    "neon",
};

static bool is_active(const char *library)
{
    for (size_t i = 0; i < ARRAY_SIZE(ACTIVE_LIBRARIES); i++)
        if (strcmp(ACTIVE_LIBRARIES[i], library) == 0)
            return true;
    return false;
}

/* Beside the programs, as Debian and Red Hat have it. */
static bool is_installed(const char *programs, const char *library)
{
    static const char *const FOLDERS[] = {"../lib", "../lib/postgresql", "../lib64"};
    for (size_t i = 0; i < ARRAY_SIZE(FOLDERS); i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s/%s.so", programs, FOLDERS[i], library);
        if (access(path, R_OK) == 0)
            return true;
    }
    return false;
}

static int take_library(const char *programs, const char *library, struct buf *kept,
                        struct strv *left_out, struct error *err)
{
    const char *name = strncmp(library, "$libdir/", 8) == 0 ? library + 8 : library;
    if (is_active(name) || !is_installed(programs, name))
        return strv_add(left_out, name, err);
    buf_addf(kept, "%s%s", kept->length ? "," : "", name);
    return 0;
}

int pg_scratch_preload(const char *programs, const char *libraries, char **ret_libraries,
                       struct strv *left_out, struct error *err)
{
    _cleanup_(buf_clear) struct buf kept = BUF_INIT(CONF_LIMIT);
    int rc = 0;
    for (const char *at = libraries; *at && !rc;) {
        at += strspn(at, ", \t\"");
        size_t length = strcspn(at, ", \t\"");
        _cleanup_(freep) char *library = strndup(at, length);
        if (!library)
            return error_no_memory(err);
        if (length > 0)
            rc = take_library(programs, library, &kept, left_out, err);
        at += length;
    }
    if (!rc)
        rc = buf_failed(&kept, "shared_preload_libraries", err);
    if (rc)
        return rc;
    *ret_libraries = strdup(buf_text(&kept));
    return *ret_libraries ? 0 : error_no_memory(err);
}

/* -- the server ----------------------------------------------------------------------------------
 */

/* Given on the command line, where nothing that was restored can undo them. hot_standby is off, so
 * that recovery needs no settings as large as the primary's, and who can connect knows that it is
 * over. */
static const char *const SETTINGS[] = {
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    "unix_socket_group=",
    "bonjour=off",
    "ssl=off",
    "archive_mode=off",
    "archive_command=",
    "archive_cleanup_command=",
    "recovery_end_command=",
    "recovery_min_apply_delay=0",
    "primary_conninfo=",
    "primary_slot_name=",
    "synchronous_standby_names=",
    "max_logical_replication_workers=0",
    "max_worker_processes=0",
    "session_replication_role=replica",
    "max_prepared_transactions=1000",
    "hot_standby=off",
    "autovacuum=off",
    "session_preload_libraries=",
    "local_preload_libraries=",
    "external_pid_file=",
    "cluster_name=pgcairn drill",
    "shared_buffers=128MB",
    "huge_pages=try",
    "dynamic_shared_memory_type=mmap", /* in its data directory: /dev/shm may be small, or not be */
    "logging_collector=on",
    "log_destination=stderr",
    "log_filename=server.log",
    "log_rotation_age=0",
    "log_rotation_size=0",
    "log_truncate_on_rotation=off",
    "log_min_messages=warning",
    "log_line_prefix=%m ",
    "lc_messages=C",
    "restart_after_crash=off",
};

/* What else the environment or a service would add: another address above all, which is not that of
 * the scratch server. */
static const char CONNECTION[] = "hostaddr='' port=5432 sslmode=disable gssencmode=disable "
                                 "channel_binding=disable target_session_attrs=any requirepeer=''";

static int write_file(const char *folder, const char *name, const char *text, struct error *err)
{
    char path[PG_SCRATCH_FOLDER_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return file_replace(path, text, strlen(text), 0600, err);
}

static int write_files(const char *folder, struct error *err)
{
    int rc = write_file(folder, "postgresql.conf", "# a scratch server of pgcairn's\n", err);
    if (!rc)
        rc = write_file(folder, "pg_hba.conf", "local all all trust\n", err);
    return rc ? rc : write_file(folder, "pg_ident.conf", "", err);
}

static int add_setting(struct strv *argv, struct error *err, const char *format, ...)
    _printf_(3, 4);

static int add_setting(struct strv *argv, struct error *err, const char *format, ...)
{
    _cleanup_(freep) char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        return error_no_memory(err);
    int rc = strv_add(argv, "-c", err);
    return rc ? rc : strv_add(argv, text, err);
}

static int add_settings(const struct pg_scratch_options *options, struct strv *argv,
                        struct error *err)
{
    static const char *const PLACES[] = {"config_file=%s/postgresql.conf",
                                         "hba_file=%s/pg_hba.conf", "ident_file=%s/pg_ident.conf",
                                         "unix_socket_directories=%s", "log_directory=%s"};
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(SETTINGS) && !rc; i++)
        rc = add_setting(argv, err, "%s", SETTINGS[i]);
    for (size_t i = 0; i < ARRAY_SIZE(PLACES) && !rc; i++) {
        const char *place = strstr(PLACES[i], "%s");
        rc = add_setting(argv, err, "%.*s%s%s", (int)(place - PLACES[i]), PLACES[i],
                         options->folder, place + 2);
    }
    if (!rc)
        rc = add_setting(argv, err, "shared_preload_libraries=%s", options->preload);
    if (!rc && options->major >= EVENT_TRIGGERS_MAJOR)
        rc = add_setting(argv, err, "event_triggers=off");
    if (!rc && options->major <= STATISTICS_FILES_MAJOR) /* or it might be that of the cluster */
        rc = add_setting(argv, err, "stats_temp_directory=pg_stat_tmp");
    for (size_t i = 0; options->settings && i < options->settings->count && !rc; i++)
        rc = add_setting(argv, err, "%s", options->settings->items[i]);
    return rc;
}

/* The command line ends with NULL, as exec wants it. */
static int start_program(struct pg_scratch *server, const struct pg_scratch_options *options,
                         struct error *err)
{
    _cleanup_(strv_clear) struct strv words = STRV_INIT(SETTINGS_MAX);
    const char *argv[SETTINGS_MAX + 1] = {NULL};
    const char *env[] = {"LC_ALL=C", "PGDATA", "PGOPTIONS", options->env, NULL};
    _cleanup_(freep) char *program = NULL;
    if (asprintf(&program, "%s/postgres", options->programs) < 0)
        return error_no_memory(err);
    int rc = strv_add(&words, program, err);
    if (!rc)
        rc = strv_add(&words, "-D", err);
    if (!rc)
        rc = strv_add(&words, options->data, err);
    if (!rc)
        rc = add_settings(options, &words, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < words.count; i++)
        argv[i] = words.items[i];
    struct child_spec spec = {.argv = argv, .env = env};
    return child_start(&spec, &server->child, err);
}

int pg_scratch_start(const struct pg_scratch_options *options, struct pg_scratch **ret_server,
                     struct error *err)
{
    int rc = pg_scratch_check_folder(options->folder, err);
    if (!rc)
        rc = write_files(options->folder, err);
    if (rc)
        return rc;
    struct pg_scratch *server = calloc(1, sizeof(*server));
    if (!server)
        return error_no_memory(err);
    snprintf(server->folder, sizeof(server->folder), "%s", options->folder);
    snprintf(server->conninfo, sizeof(server->conninfo), "host='%s' %s", options->folder,
             CONNECTION);
    rc = start_program(server, options, err);
    if (rc) {
        free(server);
        return rc;
    }
    *ret_server = server;
    return 0;
}

const char *pg_scratch_conninfo(const struct pg_scratch *server)
{
    return server->conninfo;
}

int pg_scratch_log(const struct pg_scratch *server, struct buf *text, struct error *err)
{
    char path[PG_SCRATCH_FOLDER_MAX + 32], piece[8192];
    struct stat status;
    snprintf(path, sizeof(path), "%s/server.log", server->folder);
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &status) != 0)
        return error_set_errno(err, errno, "could not read \"%s\"", path);
    off_t at = status.st_size > PG_SCRATCH_LOG_MAX ? status.st_size - PG_SCRATCH_LOG_MAX : 0;
    ssize_t length;
    while ((length = pread(fd, piece, sizeof(piece), at)) > 0 &&
           text->length + (size_t)length <= PG_SCRATCH_LOG_MAX) {
        buf_add(text, piece, (size_t)length);
        at += length;
    }
    return length < 0 ? error_set_errno(err, errno, "could not read \"%s\"", path)
                      : buf_failed(text, "the server's log", err);
}

/* Its messages are not translated. */
static bool is_in(const char *line, int length, const char *words)
{
    return memmem(line, (size_t)length, words, strlen(words)) != NULL;
}

/* The last line that says why: of the log, else of what came before there was one. */
static int say_why(struct pg_scratch *server, struct error *err)
{
    static const char *const MARKS[] = {"PANIC:  ", "FATAL:  ", "ERROR:  "};
    _cleanup_(buf_clear) struct buf log = BUF_INIT(PG_SCRATCH_LOG_MAX + 1);
    const char *text = server->child.stderr_text, *found = NULL;
    if (pg_scratch_log(server, &log, NULL) == 0 && log.length > 0)
        text = buf_text(&log);
    for (size_t i = 0; i < ARRAY_SIZE(MARKS) && !found; i++)
        for (const char *at = text; (at = strstr(at, MARKS[i])); at++)
            found = at + strlen(MARKS[i]);
    if (!found)
        return error_set(err, ERR_FAILED, "the scratch server ended without a word");
    int length = (int)strcspn(found, "\n");
    length = length > LINE_SHOWN ? LINE_SHOWN : length;
    int code = is_in(found, length, "No space left on device")  ? ERR_NO_SPACE
               : is_in(found, length, "Cannot allocate memory") ? ERR_MEMORY
                                                                : ERR_FAILED;
    return error_set(err, code, "the scratch server ended: %.*s", length, found);
}

/* Without a user's name, which not every user has, it would refuse before it says that it starts.
 */
static PGPing ping(const struct pg_scratch *server)
{
    const char *keywords[] = {"dbname", "user", "connect_timeout", NULL};
    const char *values[] = {server->conninfo, "postgres", PING_SECONDS, NULL};
    return PQpingParams(keywords, values, 1);
}

int pg_scratch_poll(struct pg_scratch *server, bool *ret_ready, struct error *err)
{
    struct child_status status;
    bool ended = false;
    int rc = child_poll(&server->child, &ended, &status, err);
    if (rc)
        return rc;
    if (ended)
        return say_why(server, err);
    *ret_ready = ping(server) == PQPING_OK;
    return 0;
}

struct pg_scratch *pg_scratch_stop(struct pg_scratch *server)
{
    struct child_status status;
    if (!server)
        return NULL;
    if (server->child.pid > 0) {
        kill(server->child.pid, SIGQUIT); /* "immediate": its children end with it */
        child_wait(&server->child, STOP_US, &status, NULL);
    }
    child_clear(&server->child);
    free(server);
    return NULL;
}
