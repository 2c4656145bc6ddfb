/* What pg_dump and pg_dumpall write is streamed into the store as it comes. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/child.h"
#include "base/strv.h"
#include "work/dump.h"

enum { PIPE_BYTES = 64 << 10, ARGUMENTS_MAX = 64, ENVIRONMENT_MAX = 200 };

void dump_key(const struct dump *dump, const char *name, char key[STORE_KEY_MAX + 1])
{
    making_key(&dump->making, name, key);
}

int dump_add_object(struct dump *dump, const char *name, const struct store_object *object,
                    int64_t plain_bytes, struct error *err)
{
    json_t *entry =
        json_pack("{s:s, s:I, s:s, s:I}", "name", name, "size", (json_int_t)object->size, "sha256",
                  object->sha256, "plain_bytes", (json_int_t)plain_bytes);
    pthread_mutex_lock(&dump->mutex);
    int failed = json_array_append_new(dump->objects, entry);
    pthread_mutex_unlock(&dump->mutex);
    atomic_fetch_add(&dump->bytes_stored, (long long)object->size);
    return failed ? error_no_memory(err) : 0;
}

static int environment_of(struct dump *dump, PGconn *conn, const char *database, struct strv *env,
                          struct error *err)
{
    int rc = pg_environment(conn, database, env, err);
    return rc ? rc : strv_addf(env, err, "PGAPPNAME=%s", dump->application);
}

static int pump(int fd, struct volume *volume, struct error *err)
{
    char chunk[PIPE_BYTES];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "could not read from a program");
        if (n == 0)
            return 0;
        int rc = volume_data(volume, chunk, (size_t)n, err);
        if (rc)
            return rc;
    }
}

static void end_child(void *child)
{
    child_signal_all(child, SIGTERM);
}

/* pg_dump reads sequences, functions and more that nobody can lock, and asks for some of them by
 * name after its snapshot. */
static bool is_gone(const char *text)
{
    return strstr(text, "cache lookup failed") ||
           (strstr(text, "ERROR:  relation") && strstr(text, "does not exist"));
}

/* A lock that pg_dump did not get, or one it lost to a cancel, or something that was dropped since
 * the snapshot, is worth another try. */
static void mark_conflict(struct child *child, struct error *err)
{
    if (strstr(child->stderr_text, "lock timeout") ||
        strstr(child->stderr_text, "statement timeout") || strstr(child->stderr_text, "deadlock") ||
        strstr(child->stderr_text, "could not obtain lock") || is_gone(child->stderr_text))
        err->code = ERR_CONFLICT;
    else if (strstr(child->stderr_text, "server closed the connection") ||
             strstr(child->stderr_text, "terminating connection"))
        err->code = ERR_CONNECTION;
}

/* What a program left out it tells on stderr, and exits 0: subscriptions that the role may not
 * read, for one. */
static int tell_warnings(struct dump *dump, const struct child *child, struct error *err)
{
    static const char WARNING[] = ": warning: ";
    int rc = 0;
    for (const char *line = child->stderr_text; *line && !rc;) {
        const char *end = strchrnul(line, '\n');
        const char *found = strstr(line, WARNING);
        if (found && found < end)
            rc = dump_notice(dump, err, "%.*s", (int)(end - line), line);
        line = *end ? end + 1 : end;
    }
    return rc;
}

static int run_into_volume(struct dump *dump, struct child_spec *spec, const char *program,
                           struct crew *crew, struct volume *volume, struct error *err)
{
    _cleanup_(child_clear) struct child child;
    struct child_status status;
    int rc = child_start(spec, &child, err);
    if (rc)
        return rc;
    int guard = crew ? crew_guard(crew, end_child, &child) : -1;
    if (crew && guard < 0)
        rc = error_set(err, ERR_INTERRUPTED, "%s was not needed any more", program);
    if (!rc)
        rc = pump(child.output_fd, volume, err);
    if (crew)
        crew_unguard(crew, guard);
    if (rc)
        return rc;
    rc = child_wait(&child, -1, &status, err);
    if (!rc && (!status.exited || status.exit_status != 0)) {
        child_error(&child, program, &status, err);
        mark_conflict(&child, err);
        rc = err->code;
    }
    return rc ? rc : tell_warnings(dump, &child, err);
}

/* Runs a program of PostgreSQL's and stores its output as one object of the backup. */
static int store_output(struct dump *dump, PGconn *conn, const char *database,
                        const char *const *argv, struct crew *crew, const char *name,
                        enum volume_kind kind, struct error *err)
{
    _cleanup_(strv_clear) struct strv env = STRV_INIT(ENVIRONMENT_MAX);
    _cleanup_(volume_freep) struct volume *volume = NULL;
    char key[STORE_KEY_MAX + 1];
    dump_key(dump, name, key);
    int rc = environment_of(dump, conn, database, &env, err);
    if (!rc)
        rc = volume_create(dump->store, key, kind, &dump->options, &volume, err);
    if (rc)
        return rc;
    struct child_spec spec = {
        .argv = argv, .env = (const char *const *)env.items, .output = CHILD_PIPE};
    const char *program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    rc = run_into_volume(dump, &spec, program, crew, volume, err);
    struct store_object object;
    int64_t plain_bytes = volume_plain(volume);
    if (!rc)
        rc = volume_commit(volume, &object, err);
    return rc ? rc : dump_add_object(dump, name, &object, plain_bytes, err);
}

static int add_common(struct dump_database *database, struct strv *argv, struct error *err)
{
    struct dump *dump = database->dump;
    long long lock_wait_ms = dump->work->job->lock_wait_us / 1000;
    int rc = strv_addf(argv, err, "%s/pg_dump", dump->programs.folder);
    if (!rc)
        rc = strv_add(argv, "--format=custom", err);
    if (!rc)
        rc = strv_addf(argv, err, "--snapshot=%s", database->snapshot);
    if (!rc)
        rc = strv_addf(argv, err, "--lock-wait-timeout=%lld", lock_wait_ms);
    return rc;
}

static int dump_section(struct dump_database *database, const char *const *options,
                        const char *file, struct error *err)
{
    _cleanup_(strv_clear) struct strv argv = STRV_INIT(ARGUMENTS_MAX);
    int rc = add_common(database, &argv, err);
    for (size_t i = 0; options[i] && !rc; i++)
        rc = strv_add(&argv, options[i], err);
    if (rc)
        return rc;
    char name[64];
    snprintf(name, sizeof(name), "%s/%s", database->folder, file);
    return store_output(database->dump, database->coordinator, database->name,
                        (const char *const *)argv.items, database->crew, name, VOLUME_PLAIN, err);
}

int dump_schema(void *argument, struct error *err)
{
    static const char *const SCHEMA[] = {"--section=pre-data", "--section=post-data", NULL};
    return dump_section(argument, SCHEMA, "schema.pgdump", err);
}

int dump_large_objects(void *argument, struct error *err)
{
    static const char *const LARGE_OBJECTS[] = {"--section=data", "--exclude-table-data=*.*",
                                                "--compress=1", NULL};
    return dump_section(argument, LARGE_OBJECTS, "large-objects.pgdump", err);
}

/* Without --database pg_dumpall goes to "postgres", which may be closed to us. */
static int run_dumpall(struct dump *dump, PGconn *conn, bool passwords, struct error *err)
{
    _cleanup_(freep) char *program = NULL, *database = NULL;
    int rc = pg_database_option("--database", PQdb(conn), &database, err);
    if (rc)
        return rc;
    if (asprintf(&program, "%s/pg_dumpall", dump->programs.folder) < 0)
        return error_no_memory(err);
    const char *argv[] = {program,
                          "--globals-only",
                          "--no-password",
                          "--encoding=UTF8",
                          database,
                          passwords ? NULL : "--no-role-passwords",
                          NULL};
    return store_output(dump, conn, NULL, argv, NULL, "globals.sql.zst", VOLUME_ZSTD, err);
}

/* Role passwords lie in pg_authid, which managed servers and plain roles do not let one read. */
int dump_globals(struct dump *dump, json_t **ret_globals, struct error *err)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    _cleanup_(freep) char *can_read = NULL;
    int rc = pg_connect_maintenance(dump->conninfo, dump->application, &conn, err);
    if (!rc)
        rc = pg_query_text(
            conn, &can_read, err,
            "select pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'select')");
    if (rc)
        return error_prefix(err, "globals");
    bool passwords = can_read && can_read[0] == 't';
    rc = run_dumpall(dump, conn, passwords, err);
    if (rc)
        return error_prefix(err, "globals");
    if (!passwords)
        rc = dump_notice(dump, err,
                         "role passwords are not in the backup: this role may not read "
                         "pg_authid; after a restore set passwords of login roles anew");
    json_t *globals =
        json_pack("{s:s, s:b}", "object", "globals.sql.zst", "role_passwords", passwords);
    if (!globals)
        return error_no_memory(err);
    *ret_globals = globals;
    return rc;
}
