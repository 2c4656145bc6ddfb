/* What is asked of the server that came out of a backup. */
#include <poll.h>
#include <string.h>

#include "base/child.h"
#include "base/json.h"
#include "base/units.h"
#include "postgres/connection.h"
#include "postgres/migrations.h"
#include "repository/manifest.h"
#include "wal/name.h"
#include "work/drill.h"

enum { OUTPUT_LIMIT = 1 << 20, LINE_SHOWN = 300, POLL_MS = 500 };

static const char APPLICATION[] = "pgcairn drill";

/* What ALTER DATABASE and ALTER ROLE may have set to be loaded; only this stands above them. */
#define WITHOUT_LIBRARIES "-c session_preload_libraries= -c local_preload_libraries="

static int connect_as(const struct drill *drill, const char *user, const char *database,
                      PGconn **ret_conn, struct error *err)
{
    _cleanup_(buf_clear) struct buf conninfo = BUF_INIT(OUTPUT_LIMIT);
    buf_addf(&conninfo, "%s user='", pg_scratch_conninfo(drill->server));
    for (const char *c = user; *c; c++)
        buf_addf(&conninfo, "%s%c", *c == '\'' || *c == '\\' ? "\\" : "", *c);
    buf_add_text(&conninfo, "'");
    if (drill->superuser && strcmp(user, drill->superuser) == 0) /* others may not */
        buf_add_text(&conninfo, " options='" WITHOUT_LIBRARIES "'");
    int rc = buf_failed(&conninfo, "the connection", err);
    return rc ? rc : pg_connect(buf_text(&conninfo), database, APPLICATION, ret_conn, err);
}

/* -- who asks --------------------------------------------------------------------------------- */

/* A part of the policy's connection, "user" or "dbname"; NULL when it does not say. The caller
 * frees. */
static char *policy_part(const struct drill *drill, const char *keyword)
{
    char *value = NULL;
    PQconninfoOption *options = PQconninfoParse(drill->work->policy->connection, NULL);
    for (PQconninfoOption *option = options; option && option->keyword && !value; option++)
        if (strcmp(option->keyword, keyword) == 0 && option->val)
            value = strdup(option->val);
    PQconninfoFree(options);
    return value;
}

/* Everybody is trusted, but a name is needed: that of the policy's role, or the one that most
 * clusters have. */
static int connect_somehow(const struct drill *drill, PGconn **ret_conn, struct error *err)
{
    _cleanup_(freep) char *user = policy_part(drill, "user");
    if (user && connect_as(drill, user, "template1", ret_conn, NULL) == 0)
        return 0;
    return connect_as(drill, "postgres", "template1", ret_conn, err);
}

static int find_superuser(struct drill *drill, struct error *err)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    struct error reason = ERROR_NONE;
    int rc = connect_somehow(drill, &conn, err);
    if (!rc)
        rc = pg_query_text(conn, &drill->superuser, &reason,
                           "select rolname from pg_catalog.pg_roles where rolsuper and rolcanlogin "
                           "order by oid limit 1");
    if (rc == ERR_NOT_FOUND)
        return error_set(err, ERR_FAILED, "the restored cluster has no superuser who may log in");
    if (rc && err && reason.code)
        *err = reason;
    return rc;
}

/* -- how far it was replayed ------------------------------------------------------------------ */

/* PostgreSQL takes the first record that it can't read for the end of WAL, and starts: WAL that the
 * primary had written damaged, and that was stored so, would be lost without a word. A last segment
 * may hold nothing but the middle of a record, so the one before is far enough. */
static int check_end(struct drill *drill, struct error *err)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    _cleanup_(freep) char *text = NULL;
    struct wal_name last;
    uint64_t lsn = 0;
    int64_t size = json_number(json_object_get(drill->manifest, "wal"), "segment_size");
    if (!wal_name_parse(drill->last_wal, &last) || !wal_segment_size_valid(size))
        return 0;
    int rc = connect_as(drill, drill->superuser, "template1", &conn, err);
    if (!rc)
        rc = pg_query_text(conn, &text, err, "select pg_catalog.pg_current_wal_insert_lsn()");
    if (!rc)
        rc = wal_lsn_parse(text, &lsn, err);
    if (rc)
        return rc;
    bool is_reached = wal_segment_at(lsn, size) + 1 >= wal_segment_number(&last, size);
    drill_note(drill, "end of WAL", is_reached ? "pass" : "fail", "%s%s of stored WAL up to %s%s",
               is_reached ? "" : "replay ended at ", text, drill->last_wal,
               is_reached ? "" : ": what follows can't be read");
    return 0;
}

/* -- each database ---------------------------------------------------------------------------- */

/* Of another version than is here an extension mostly works, its library being the same. */
static void judge_extension(struct drill *drill, const char *database, const PGresult *result,
                            int row)
{
    bool is_here = !PQgetisnull(result, row, 2), is_same = pg_boolean(result, row, 3);
    drill_note(drill, "extension",
               is_same   ? "pass"
               : is_here ? "skip"
                         : "fail",
               "%s: %s %s%s%s", database, pg_text(result, row, 0), pg_text(result, row, 1),
               is_same   ? ""
               : is_here ? " is on this machine in another version: "
                         : " is not installed on this machine",
               is_same ? "" : pg_text(result, row, 2));
}

static int check_extensions(struct drill *drill, PGconn *conn, const char *database,
                            struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err,
                      "select e.extname, e.extversion, a.default_version, v.name is not null"
                      " from pg_catalog.pg_extension e"
                      " left join pg_catalog.pg_available_extensions a on a.name = e.extname"
                      " left join pg_catalog.pg_available_extension_versions v"
                      " on v.name = e.extname and v.version = e.extversion order by 1",
                      NULL);
    for (int row = 0; !rc && row < PQntuples(result); row++)
        judge_extension(drill, database, result, row);
    return rc;
}

static int check_migration(struct drill *drill, PGconn *conn, const char *database,
                           struct error *err)
{
    _cleanup_(json_release) json_t *found = NULL;
    const json_t *entry =
        drill->mode == DRILL_WHOLE ? manifest_database(drill->manifest, database) : NULL;
    const json_t *expected = entry ? json_object_get(entry, "migration") : NULL;
    int rc = pg_read_migration(conn, &found, err);
    if (rc)
        return rc;
    const char *stamp = json_text(found, "stamp"), *wanted = json_text(expected, "stamp");
    if (expected && strcmp(stamp, wanted) != 0)
        drill_note(drill, "migration", "fail", "%s: \"%s\" instead of \"%s\"", database, stamp,
                   wanted);
    else if (stamp[0])
        drill_note(drill, "migration", "pass", "%s: %s of %s", database, stamp,
                   json_text(found, "tool"));
    return 0;
}

static int check_tables(struct drill *drill, PGconn *conn, const char *database, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err,
                      "select count(*), coalesce(sum(pg_catalog.pg_relation_size(c.oid)), 0)"
                      " from pg_catalog.pg_class c join pg_catalog.pg_namespace n"
                      " on n.oid = c.relnamespace where c.relkind in ('r', 'm')"
                      " and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'",
                      NULL);
    char size[UNITS_TEXT_MAX];
    if (!rc)
        drill_note(drill, "database", "pass", "%s: %s tables, %s of rows", database,
                   pg_text(result, 0, 0), size_format(pg_integer(result, 0, 1), size));
    return rc;
}

static int check_database(struct drill *drill, const char *database, struct error *err)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    int rc = connect_as(drill, drill->superuser, database, &conn, err);
    if (!rc)
        rc = pg_execute(conn, err, "begin transaction read only");
    if (!rc)
        rc = check_tables(drill, conn, database, err);
    if (!rc)
        rc = check_extensions(drill, conn, database, err);
    return rc ? rc : check_migration(drill, conn, database, err);
}

/* A database that can't be asked is a failure of the drill, and the next one is asked. One with
 * the limit -2 is what a DROP DATABASE that was interrupted has left: nobody can connect to it. */
static int check_databases(struct drill *drill, struct error *err)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = connect_as(drill, drill->superuser, "template1", &conn, err);
    if (!rc)
        rc = pg_query(conn, &result, err,
                      "select datname from pg_catalog.pg_database where datallowconn"
                      " and not datistemplate and datconnlimit <> -2 order by 1",
                      NULL);
    if (!rc && PQntuples(result) == 0)
        drill_note(drill, "database", "fail", "the restored cluster has no database");
    for (int row = 0; !rc && row < PQntuples(result); row++) {
        struct error reason = ERROR_NONE;
        if (work_interrupted(err))
            return ERR_INTERRUPTED;
        if (check_database(drill, pg_text(result, row, 0), &reason))
            drill_note(drill, "database", "fail", "%s: %s", pg_text(result, row, 0),
                       reason.message);
    }
    return rc;
}

/* -- what the policy asks --------------------------------------------------------------------- */

/* Names that are not qualified are found as the application finds them. */
static int ask(PGconn *conn, const char *sql, PGresult **ret_result, struct error *err)
{
    int rc = pg_execute(conn, err, "reset search_path");
    if (!rc)
        rc = pg_execute(conn, err, "begin transaction read only");
    return rc ? rc : pg_query(conn, ret_result, err, sql, NULL);
}

static void judge_answer(struct drill *drill, const char *sql, const PGresult *result)
{
    int rows = PQntuples(result);
    const char *value = rows > 0 && PQnfields(result) > 0 ? pg_text(result, 0, 0) : "";
    if (rows == 1 && (strcmp(value, "t") == 0 || strcmp(value, "true") == 0))
        drill_note(drill, "assertion", "pass", "%s", sql);
    else if (rows == 1)
        drill_note(drill, "assertion", "fail", "%s: gave \"%.*s\", not true", sql,
                   DRILL_VALUE_SHOWN, value);
    else
        drill_note(drill, "assertion", "fail", "%s: gave %d rows, not one that is true", sql, rows);
}

static void check_assertion(struct drill *drill, const struct policy_assertion *assertion,
                            const char *fallback)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    struct error reason = ERROR_NONE;
    const char *database = assertion->database ? assertion->database : fallback;
    int rc = connect_as(drill, drill->superuser, database, &conn, &reason);
    if (!rc)
        rc = ask(conn, assertion->sql, &result, &reason);
    if (rc)
        drill_note(drill, "assertion", "fail", "%s: %s", assertion->sql, reason.message);
    else
        judge_answer(drill, assertion->sql, result);
}

/* The database that the policy's connection names, or libpq's own rule: the user's name. */
static char *find_fallback(const struct drill *drill)
{
    char *name = policy_part(drill, "dbname");
    if (!name)
        name = policy_part(drill, "user");
    return name ? name : strdup("postgres");
}

static int check_assertions(struct drill *drill, struct error *err)
{
    _cleanup_(freep) char *fallback = find_fallback(drill);
    const struct policy_job *job = drill->work->job;
    if (!fallback)
        return error_no_memory(err);
    for (size_t i = 0; i < job->assertion_count; i++) {
        if (work_interrupted(err))
            return ERR_INTERRUPTED;
        check_assertion(drill, &job->assertions[i], fallback);
    }
    return 0;
}

/* -- the blocks ------------------------------------------------------------------------------- */

/* pg_amcheck reads every table and every btree index; it is in PostgreSQL since 14, with the
 * extension in Debian's server package and in others' contrib packages. */
static bool has_amcheck(struct drill *drill, const char *program)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    _cleanup_(freep) char *name = NULL;
    if (access(program, X_OK) != 0 || connect_as(drill, drill->superuser, "template1", &conn, NULL))
        return false;
    return pg_query_text(conn, &name, NULL,
                         "select name from pg_catalog.pg_available_extensions"
                         " where name = 'amcheck'") == 0;
}

/* The first line that it found says more than how it ended. */
static void judge_amcheck(struct drill *drill, const struct child_status *status,
                          const struct buf *output, const char *complaint)
{
    const char *text = output->length > 0 ? buf_text(output) : complaint;
    int length = (int)strcspn(text, "\n");
    if (status->exited && status->exit_status == 0)
        drill_note(drill, "amcheck", "pass", "every table and btree index is sound");
    else
        drill_note(drill, "amcheck", "fail", "%.*s", length > LINE_SHOWN ? LINE_SHOWN : length,
                   text);
}

/* Until it has closed its end; a drill that shall end does not wait for that. */
static int gather_output(struct child *child, struct buf *output, struct error *err)
{
    char chunk[4096];
    ssize_t length = 1;
    while (length > 0) {
        struct pollfd waiting = {.fd = child->output_fd, .events = POLLIN};
        if (work_interrupted(err))
            return ERR_INTERRUPTED;
        if (poll(&waiting, 1, POLL_MS) <= 0)
            continue;
        length = read(child->output_fd, chunk, sizeof(chunk));
        if (length > 0 && output->length + (size_t)length < OUTPUT_LIMIT)
            buf_add(output, chunk, (size_t)length);
    }
    return 0;
}

static int run_amcheck(struct drill *drill, const char *program, struct error *err)
{
    char jobs[16];
    _cleanup_(buf_clear) struct buf output = BUF_INIT(OUTPUT_LIMIT);
    snprintf(jobs, sizeof(jobs), "%d", drill->work->job->jobs);
    const char *argv[] = {program,
                          "--host",
                          drill->folder,
                          "--port",
                          "5432",
                          "--username",
                          drill->superuser,
                          "--all",
                          "--install-missing",
                          "--jobs",
                          jobs,
                          "--no-password",
                          NULL};
    const char *env[] = {"LC_ALL=C",
                         "PGHOSTADDR",
                         "PGDATABASE",
                         "PGOPTIONS=" WITHOUT_LIBRARIES,
                         "PGSERVICE",
                         "PGSSLMODE=disable",
                         "PGGSSENCMODE=disable",
                         "PGCHANNELBINDING=disable",
                         "PGREQUIREPEER",
                         "PGREQUIREAUTH",
                         "PGTARGETSESSIONATTRS",
                         NULL};
    struct child_spec spec = {.argv = argv, .env = env, .output = CHILD_PIPE};
    _cleanup_(child_clear) struct child child;
    struct child_status status;
    int rc = child_start(&spec, &child, err);
    if (!rc)
        rc = gather_output(&child, &output, err);
    if (!rc)
        rc = child_wait(&child, -1, &status, err);
    if (!rc)
        judge_amcheck(drill, &status, &output, child.stderr_text);
    return rc;
}

/* From 17 on the server has them off. Before, those that are to fire always would when pg_amcheck
 * makes its extension; turning one off fires none. */
static int disable_event_triggers(const struct drill *drill, const char *database,
                                  struct error *err)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    int rc = connect_as(drill, drill->superuser, database, &conn, err);
    return rc ? rc
              : pg_execute(
                    conn, err,
                    "do $$ declare name text; begin"
                    " for name in select evtname from pg_catalog.pg_event_trigger"
                    "  where evtenabled <> 'D' loop"
                    "  execute 'alter event trigger ' || pg_catalog.quote_ident(name) || ' disable';"
                    " end loop; end $$");
}

static int disable_all_event_triggers(const struct drill *drill, struct error *err)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = connect_as(drill, drill->superuser, "template1", &conn, err);
    if (!rc)
        rc = pg_query(conn, &result, err,
                      "select datname from pg_catalog.pg_database where datallowconn"
                      " and datconnlimit <> -2 and pg_catalog.current_setting("
                      "'server_version_num')::int < 170000",
                      NULL);
    for (int row = 0; !rc && row < PQntuples(result); row++)
        rc = disable_event_triggers(drill, pg_text(result, row, 0), err);
    return rc;
}

static int check_blocks(struct drill *drill, struct error *err)
{
    _cleanup_(freep) char *program = NULL;
    if (asprintf(&program, "%s/pg_amcheck", drill->programs) < 0)
        return error_no_memory(err);
    if (!has_amcheck(drill, program)) {
        drill_note(drill, "amcheck", "skip", "pg_amcheck or its extension is not on this machine");
        return 0;
    }
    work_progress(drill->work, "checking tables and indexes", 0, 0);
    int rc = disable_all_event_triggers(drill, err);
    return rc ? rc : run_amcheck(drill, program, err);
}

int drill_check_all(struct drill *drill, struct error *err)
{
    int rc = find_superuser(drill, err);
    if (!rc)
        rc = check_end(drill, err);
    if (!rc)
        rc = check_databases(drill, err);
    if (!rc)
        rc = check_assertions(drill, err);
    return rc ? rc : check_blocks(drill, err);
}
