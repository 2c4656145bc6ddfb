/* One database, from CREATE DATABASE to row counts. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/child.h"
#include "base/file.h"
#include "base/json.h"
#include "postgres/server.h"
#include "repository/manifest.h"
#include "work/restore.h"

enum {
    ARGUMENTS_MAX = 64,
    ENVIRONMENT_MAX = 200,
    STATEMENTS_MAX = 100000,
    SEQUENCES_LIMIT = 256 << 20,
    SQL_LIMIT = 1 << 20,
    RENAME_ATTEMPTS = 20,
    RENAME_PAUSE_US = 500000,
};

void restore_database_clear(struct restore_database *database)
{
    crew_free(database->crew);
    PQfinish(database->conn);
    if (database->schema_path)
        unlink(database->schema_path);
    if (database->list_path)
        unlink(database->list_path);
    free(database->schema_path);
    free(database->list_path);
    for (size_t i = 0; i < database->table_count; i++)
        free(database->tables[i].root);
    free(database->tables);
    free(database->volumes);
    strv_clear(&database->sequences);
    json_decref(database->report);
}

/* Opens an object of the backup, to be compared with the manifest when it has been read. */
int restore_open_object(struct restore *restore, const char *name, enum volume_kind kind,
                        struct volume_reader **ret_reader, struct error *err)
{
    const json_t *object = manifest_object(restore->manifest, name);
    if (!object)
        return error_set(err, ERR_CORRUPT, "the manifest has no object \"%s\"", name);
    struct store_object expected = {.size = json_number(object, "size")};
    snprintf(expected.sha256, sizeof(expected.sha256), "%s", json_text(object, "sha256"));
    char key[STORE_KEY_MAX + 1];
    int rc = repository_backup_key(restore->request->repository, BACKUP_DUMP, restore->id, name,
                                   key, err);
    return rc ? rc : volume_read_open(restore->store, key, kind, &expected, ret_reader, err);
}

/* Hands every byte of an object to write_all; the hash is compared at the end. */
int restore_copy_object(struct volume_reader *reader, int fd, const char *path, struct error *err)
{
    const char *name;
    int64_t size;
    int rc = volume_next(reader, &name, &size, err);
    while (!rc) {
        const void *data;
        size_t length;
        rc = volume_read(reader, &data, &length, err);
        if (rc || length == 0)
            break;
        if (work_interrupted(err))
            return ERR_INTERRUPTED;
        rc = file_write_all(fd, path, data, length, err);
    }
    return rc ? rc : volume_read_finish(reader, err);
}

int restore_fetch_schema(struct restore_database *database, struct error *err)
{
    const char *folder = getenv("TMPDIR");
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    int rc = restore_open_object(database->restore, json_text(database->entry, "schema"),
                                 VOLUME_PLAIN, &reader, err);
    if (rc)
        return rc;
    if (asprintf(&database->schema_path, "%s/pgcairn-schema-XXXXXX", folder ? folder : "/tmp") < 0)
        return error_no_memory(err);
    _cleanup_(closep) int fd = mkostemp(database->schema_path, O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, "could not create \"%s\"", database->schema_path);
    return restore_copy_object(reader, fd, database->schema_path, err);
}

static int add_arguments(struct restore_database *database, const char *const *options,
                         bool from_file, struct strv *argv, struct error *err)
{
    const struct restore_request *request = database->restore->request;
    int rc = strv_addf(argv, err, "%s/pg_restore", database->restore->programs.folder);
    for (size_t i = 0; options[i] && !rc; i++)
        rc = strv_add(argv, options[i], err);
    if (!rc && request->no_owner)
        rc = strv_add(argv, "--no-owner", err);
    if (!rc && request->no_privileges)
        rc = strv_add(argv, "--no-privileges", err);
    if (!rc && request->no_tablespaces)
        rc = strv_add(argv, "--no-tablespaces", err);
    if (!rc && request->role)
        rc = strv_addf(argv, err, "--role=%s", request->role);
    if (!rc && from_file && database->list_path)
        rc = strv_addf(argv, err, "--use-list=%s", database->list_path);
    if (!rc && from_file)
        rc = strv_add(argv, database->schema_path, err);
    return rc;
}

static int gather(struct child *child, struct buf *output, struct error *err)
{
    for (;;) {
        char *to = buf_reserve(output, 64 << 10);
        if (!to)
            return buf_failed(output, "what pg_restore wrote", err);
        ssize_t n = read(child->output_fd, to, 64 << 10);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "could not read from pg_restore");
        output->length += (size_t)n;
        to[n] = '\0';
        if (n == 0)
            return 0;
    }
}

/* Waits in steps, so that an interrupt ends the child and not only us. */
static int await(struct child *child, struct child_status *status, struct error *err)
{
    int rc;
    while ((rc = child_wait(child, US_PER_SECOND / 5, status, err)) == ERR_TIMEOUT)
        if (work_interrupted(err))
            return ERR_INTERRUPTED;
    return rc;
}

/* pg_restore tells the statement that failed, and a user mapping's or a subscription's holds a
 * password: the statements are cut out. */
static void hide_statements(struct child *child)
{
    static const char STATEMENT[] = "Command was: ", NEXT[] = "\npg_restore: ";
    char *text = child->stderr_text;
    for (char *from; (from = strstr(text, STATEMENT));) {
        const char *next = strstr(from, NEXT);
        const char *rest = next ? next + 1 : "";
        memmove(from, rest, strlen(rest) + 1);
    }
    child->stderr_length = strlen(text);
}

int restore_drive(struct child *child, struct volume_reader *input, struct buf *output,
                  struct error *err)
{
    struct child_status status;
    struct error input_error = ERROR_NONE;
    if (input) {
        restore_copy_object(input, child->input_fd, "pg_restore", &input_error);
        close(child->input_fd);
        child->input_fd = -1;
        if (input_error.code && input_error.code != ERR_IO) {
            *err = input_error; /* whatever pg_restore makes of half an archive */
            return err->code;
        } /* ERR_IO: it may have ended, and tells why */
    }
    int rc = output ? gather(child, output, err) : 0;
    if (!rc)
        rc = await(child, &status, err);
    if (!rc && (!status.exited || status.exit_status != 0)) {
        hide_statements(child);
        rc = child_error(child, "pg_restore", &status, err);
    }
    if (!rc && input_error.code) {
        *err = input_error;
        rc = err->code;
    }
    return rc;
}

int restore_run_program(struct restore_database *database, const char *const *options,
                        struct volume_reader *input, struct buf *output, struct error *err)
{
    struct restore *restore = database->restore;
    _cleanup_(strv_clear) struct strv argv = STRV_INIT(ARGUMENTS_MAX);
    _cleanup_(strv_clear) struct strv env = STRV_INIT(ENVIRONMENT_MAX);
    int rc = add_arguments(database, options, input == NULL, &argv, err);
    if (!rc)
        rc = pg_environment(restore->conn, database->work_name, &env, err);
    if (!rc)
        rc = strv_addf(&env, err, "PGAPPNAME=%s", restore->application);
    if (rc)
        return rc;
    struct child_spec spec = {
        .argv = (const char *const *)argv.items,
        .env = (const char *const *)env.items,
        .input = input ? CHILD_PIPE : CHILD_NULL,
        .output = output ? CHILD_PIPE : CHILD_NULL,
    };
    _cleanup_(child_clear) struct child child;
    rc = child_start(&spec, &child, err);
    return rc ? rc : restore_drive(&child, input, output, err);
}

static int add_tablespace(struct restore_database *database, struct buf *sql, struct error *err)
{
    const char *tablespace = json_text(database->entry, "tablespace");
    if (!tablespace[0] || strcmp(tablespace, "pg_default") == 0 ||
        database->restore->request->no_tablespaces)
        return 0;
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc =
        pg_query(database->restore->conn, &result, err,
                 "select 1 from pg_catalog.pg_tablespace where spcname = $1", tablespace, NULL);
    if (!rc && PQntuples(result) == 0)
        restore_notice(database->restore,
                       "the target has no tablespace \"%s\": database \"%s\" goes into the "
                       "default one",
                       tablespace, database->final_name);
    if (rc || PQntuples(result) == 0)
        return rc;
    buf_add_text(sql, " TABLESPACE = ");
    pg_add_identifier(sql, tablespace);
    return buf_failed(sql, "CREATE DATABASE", err);
}

/* pg_cron's extension can be made in the one database that its setting names, so a working name is
 * no place for it. */
static bool is_bound_to_name(const struct restore_database *database)
{
    return manifest_has_extension(database->entry, "pg_cron");
}

static int name_database(struct restore_database *database, struct error *err)
{
    char suffix[5];
    if (is_bound_to_name(database)) {
        snprintf(database->work_name, sizeof(database->work_name), "%s", database->final_name);
        restore_notice(
            database->restore,
            "database \"%s\" is filled under its own name, for pg_cron can be in no other: "
            "until this restore has ended it is not whole",
            database->final_name);
        return 0;
    }
    int rc = file_random_name(suffix, sizeof(suffix) - 1, err);
    if (!rc)
        snprintf(database->work_name, sizeof(database->work_name), RESTORE_PREFIX "%s", suffix);
    return rc;
}

static int create_database(struct restore_database *database, struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    _cleanup_(buf_clear) struct buf name = BUF_INIT(SQL_LIMIT);
    int rc = name_database(database, err);
    if (rc)
        return rc;
    pg_add_identifier(&name, database->work_name);
    rc = pg_create_database_sql(database->entry, buf_text(&name), &sql, err);
    if (!rc)
        rc = add_tablespace(database, &sql, err);
    if (!rc && database->restore->request->role) {
        buf_add_text(&sql, " OWNER = "); /* it makes what is in it */
        pg_add_identifier(&sql, database->restore->request->role);
        rc = buf_failed(&sql, "CREATE DATABASE", err);
    }
    return rc ? rc : pg_execute(database->restore->conn, err, "%s", buf_text(&sql));
}

static int run_section(struct restore_database *database, const char *section, bool exit_on_error,
                       int jobs, struct error *err)
{
    _cleanup_(freep) char *target = NULL;
    char jobs_option[32];
    snprintf(jobs_option, sizeof(jobs_option), "--jobs=%d", jobs);
    int rc = pg_database_option("--dbname", database->work_name, &target, err);
    if (rc)
        return rc;
    const char *options[] = {target, section, exit_on_error ? "--exit-on-error" : jobs_option,
                             NULL};
    return restore_run_program(database, options, NULL, NULL, err);
}

/* A statement of sequences.sql begins with the comment that its sequence is known by. */
static bool is_wanted_sequence(const struct restore_database *database, const char *line)
{
    if (database->restore->request->tables->count == 0 || strncmp(line, "SET ", 4) == 0)
        return true;
    for (size_t i = 0; i < database->sequences.count; i++) {
        const char *start = database->sequences.items[i];
        if (strncmp(line, start, strlen(start)) == 0)
            return true;
    }
    return false;
}

static int read_object(struct restore_database *database, const char *name, struct buf *text,
                       struct error *err)
{
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    int rc = restore_open_object(database->restore, name, VOLUME_PLAIN, &reader, err);
    return rc ? rc : volume_read_whole(reader, text, err);
}

/* The semicolon that ends a statement: a name may hold one too, within quotes. */
static char *statement_end(char *text)
{
    bool quoted = false;
    for (; *text && (quoted || *text != ';'); text++)
        quoted ^= *text == '\'';
    return *text ? text : NULL;
}

static int set_sequences(struct restore_database *database, struct error *err)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(SEQUENCES_LIMIT);
    int rc = read_object(database, json_text(database->entry, "sequences"), &text, err);
    for (char *line = text.data; !rc && line && *line;) {
        char *end = statement_end(line);
        if (!end)
            return error_set(err, ERR_CORRUPT, "sequences.sql ends in mid-statement");
        *end = '\0';
        if (is_wanted_sequence(database, line))
            rc = pg_execute(database->conn, err, "%s", line);
        line = end + 1 + strspn(end + 1, "\n");
    }
    return rc ? error_prefix(err, "sequences") : 0;
}

static int load_large_objects(struct restore_database *database, struct error *err)
{
    const char *name = json_text(database->entry, "large_objects");
    if (!name[0] || database->restore->request->tables->count)
        return 0;
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    _cleanup_(freep) char *target = NULL;
    int rc = restore_open_object(database->restore, name, VOLUME_PLAIN, &reader, err);
    if (!rc)
        rc = pg_database_option("--dbname", database->work_name, &target, err);
    if (rc)
        return rc;
    const char *options[] = {target, "--exit-on-error", NULL};
    rc = restore_run_program(database, options, reader, NULL, err);
    return rc ? error_prefix(err, "large objects") : 0;
}

/* Rights, settings and owner of the database. A statement that this role may not run, or that names
 * what the target lacks, is told and passed over: the data are there. */
static int set_properties(struct restore_database *database, struct error *err)
{
    const struct restore_request *request = database->restore->request;
    if (database->exists || request->tables->count)
        return 0;
    _cleanup_(strv_clear) struct strv statements = STRV_INIT(STATEMENTS_MAX);
    _cleanup_(buf_clear) struct buf name = BUF_INIT(SQL_LIMIT);
    pg_add_identifier(&name, database->work_name);
    int rc = pg_database_property_sql(database->entry, buf_text(&name), !request->no_owner,
                                      !request->no_privileges, &statements, err);
    for (size_t i = 0; i < statements.count && !rc; i++) {
        struct error refused = ERROR_NONE;
        rc = pg_execute(database->restore->conn, &refused, "%s", statements.items[i]);
        if (rc == ERR_SQL || rc == ERR_PERMISSION) {
            restore_notice(database->restore, "not done: %s (%s)", statements.items[i],
                           refused.message);
            rc = 0;
        } else if (rc) {
            *err = refused;
        }
    }
    return rc;
}

/* From here on the database bears its real name. A session of autovacuum may be in the way for a
 * moment. */
static int rename_database(struct restore_database *database, struct error *err)
{
    if (database->exists || strcmp(database->work_name, database->final_name) == 0)
        return 0;
    _cleanup_(buf_clear) struct buf from = BUF_INIT(SQL_LIMIT);
    _cleanup_(buf_clear) struct buf to = BUF_INIT(SQL_LIMIT);
    pg_add_identifier(&from, database->work_name);
    pg_add_identifier(&to, database->final_name);
    PQfinish(database->conn);
    database->conn = NULL;
    int rc = 0;
    for (int attempt = 0; attempt < RENAME_ATTEMPTS; attempt++) {
        rc = pg_execute(database->restore->conn, err, "alter database %s rename to %s",
                        buf_text(&from), buf_text(&to));
        if (!rc || !strstr(err->message, "being accessed"))
            return rc;
        usleep(RENAME_PAUSE_US);
    }
    return rc;
}

/* What is left under its working name for a person to look at is not dropped. */
static int leave(struct restore_database *database, const char *what, struct error *err)
{
    char cause[ERROR_MESSAGE_MAX];
    snprintf(cause, sizeof(cause), "%s", err->message);
    int code = err->code;
    error_set(err, code, "%s: %s", what, cause);
    error_hint(err, "the database is left as \"%s\": mend it and rename it to \"%s\", or drop it",
               database->work_name, database->final_name);
    database->work_name[0] = '\0';
    return code;
}

/* Sessions that a killed pg_restore left behind may still be at work in it. */
static void drop_database(struct restore_database *database)
{
    if (database->exists)
        restore_notice(database->restore,
                       "database \"%s\" was there before, so what was restored is left in it: drop "
                       "that before the next attempt",
                       database->final_name);
    if (database->exists || !database->work_name[0])
        return;
    _cleanup_(buf_clear) struct buf name = BUF_INIT(SQL_LIMIT);
    pg_add_identifier(&name, database->work_name);
    PQfinish(database->conn);
    database->conn = NULL;
    struct error error = ERROR_NONE;
    pg_hold_interrupts(true); /* it may be an interrupt that made this necessary */
    int rc = pg_execute(database->restore->conn, &error, "drop database if exists %s with (force)",
                        buf_text(&name));
    pg_hold_interrupts(false);
    if (rc)
        restore_notice(database->restore,
                       "database \"%s\" holds an unfinished restore and could "
                       "not be dropped: %s",
                       database->work_name, error.message);
}

/* The rights that a new database has from initdb are made those that the dump's statements are
 * differences from. */
static int prepare_rights(struct restore_database *database, struct error *err)
{
    const struct restore_request *request = database->restore->request;
    const char *sql =
        pg_public_schema_sql((int)json_number(database->restore->manifest, "pg_dump"));
    if (!sql || request->no_privileges || request->tables->count)
        return 0;
    return pg_execute(database->conn, err, "%s", sql);
}

static int fill(struct restore_database *database, struct error *err)
{
    struct restore *restore = database->restore;
    restore_progress(restore, "creating tables", 0, 0);
    int rc = pg_connect(restore->conninfo, database->work_name, restore->application,
                        &database->conn, err);
    if (!rc)
        rc = prepare_rights(database, err);
    if (!rc)
        rc = run_section(database, "--section=pre-data", true, 1, err);
    if (!rc && restore->request->role) {
        _cleanup_(buf_clear) struct buf role = BUF_INIT(SQL_LIMIT);
        pg_add_identifier(&role, restore->request->role);
        rc = pg_execute(database->conn, err, "set role %s", buf_text(&role));
    }
    if (!rc && restore->request->tables->count)
        rc = restore_find_roots(database, err);
    if (!rc)
        rc = restore_rows(database, err);
    if (!rc)
        rc = set_sequences(database, err);
    return rc ? rc : load_large_objects(database, err);
}

/* When an index or a constraint can't be made the rows are there all the same: the database is left
 * under its working name for a person to look at. */
static int finish_objects(struct restore_database *database, struct error *err)
{
    restore_progress(database->restore, "building indexes and constraints", 0, 0);
    int rc =
        run_section(database, "--section=post-data", false, database->restore->request->jobs, err);
    if (!rc || rc == ERR_INTERRUPTED || database->exists)
        return rc;
    return leave(database, "all rows are loaded, but not every index or constraint could be made",
                 err);
}

/* ANALYZE runs functions of the database's and asks servers of foreign partitions: what fails there
 * is no fault of the rows, and is told. */
static int analyze(struct restore_database *database, struct error *err)
{
    if (database->restore->request->no_analyze)
        return 0;
    restore_progress(database->restore, "analyzing", 0, 0);
    int rc = pg_execute(database->conn, err, "analyze");
    if (!rc || rc == ERR_CONNECTION)
        return rc;
    restore_notice(database->restore,
                   "database \"%s\": ANALYZE failed, so some tables have no statistics: %s",
                   database->final_name, err->message);
    return 0;
}

static int settle(struct restore_database *database, struct error *err)
{
    int rc = analyze(database, err);
    if (!rc)
        restore_progress(database->restore, "comparing row counts", 0, 0);
    if (!rc)
        rc = restore_check_rows(database, err);
    if (!rc)
        rc = set_properties(database, err);
    if (!rc && work_interrupted(err))
        rc = ERR_INTERRUPTED;
    if (rc)
        return rc;
    rc = rename_database(database, err);
    return rc ? leave(database, "all is restored, but the database could not be renamed", err) : 0;
}

static int64_t total_rows(const struct restore_database *database)
{
    int64_t rows = 0;
    for (size_t i = 0; i < database->table_count; i++)
        rows += atomic_load(&database->tables[i].rows);
    return rows;
}

int restore_one_database(struct restore_database *database, struct error *err)
{
    int rc = 0;
    if (database->exists)
        snprintf(database->work_name, sizeof(database->work_name), "%s", database->final_name);
    else
        rc = create_database(database, err);
    if (!rc)
        rc = fill(database, err);
    if (!rc)
        rc = finish_objects(database, err);
    if (!rc)
        rc = settle(database, err);
    if (rc) {
        drop_database(database);
        return error_prefix(err, "database %s", database->name);
    }
    json_object_set_new(database->report, "rows", json_integer(total_rows(database)));
    json_object_set_new(database->report, "restored", json_true());
    return 0;
}
