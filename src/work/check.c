#include "work/check.h"

#include <string.h>

#include "base/buf.h"
#include "base/units.h"
#include "postgres/programs.h"
#include "postgres/server.h"
#include "postgres/tables.h"
#include "work/checking.h"
#include "work/databases.h"
#include "work/policy_load.h"

enum { TEXT_LIMIT = 64 << 10, NAMED_MAX = 10, CONNECTIONS_SPARE = 3 };

static void checking_clear(struct checking *checking)
{
    json_decref(checking->checks);
    free(checking->conninfo);
    PQfinish(checking->conn);
}

void check_note(struct checking *checking, const char *id, const char *status, const char *cure,
                const char *format, ...)
{
    char observed[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(observed, sizeof(observed), format, args);
    va_end(args);
    json_t *text = json_string(observed);
    json_array_append_new(checking->checks,
                          json_pack("{s:s, s:s, s:s, s:o, s:s?}", "id", id, "cluster",
                                    checking->policy->cluster, "status", status, "observed",
                                    text ? text : json_string("(not UTF-8)"), "cure",
                                    cure && cure[0] ? cure : NULL));
}

void check_note_error(struct checking *checking, const char *id, const char *cure,
                      const struct error *error)
{
    check_note(checking, id,
               error_exit_status(error->code) == 3 && error->code != ERR_AUTH &&
                       error->code != ERR_CONNECTION
                   ? "unknown"
                   : "fail",
               cure ? cure : error_cure(error), "%s", error->message);
}

static bool check_connection(struct checking *checking, const struct policy_job *job)
{
    char id[160];
    struct error error = ERROR_NONE;
    snprintf(id, sizeof(id), job ? "connection of %s" : "connection", job ? job->name : "");
    free(checking->conninfo);
    checking->conninfo = NULL;
    PQfinish(checking->conn);
    checking->conn = NULL;
    int rc = policy_connection(checking->policy, job, &checking->conninfo, &error);
    if (!rc)
        rc = pg_connect(checking->conninfo, NULL, "pgcairn check", &checking->conn, &error);
    if (!rc)
        rc = pg_refuse_pooler(checking->conn, &error);
    if (rc) {
        check_note_error(checking, id, NULL, &error);
        return false;
    }
    const char *host = PQhost(checking->conn);
    check_note(checking, id, "pass", NULL, "PostgreSQL %s at %s as %s%s",
               PQparameterStatus(checking->conn, "server_version"), host ? host : "",
               PQuser(checking->conn), PQsslInUse(checking->conn) ? ", TLS" : ", without TLS");
    return true;
}

static void check_programs(struct checking *checking)
{
    struct error error = ERROR_NONE;
    struct pg_programs programs = {0};
    int major = PQserverVersion(checking->conn) / 10000;
    if (pg_find_programs(checking->policy->bindir, major, &programs, &error))
        check_note_error(checking, "programs", NULL, &error);
    else
        check_note(checking, "programs", "pass", NULL, "pg_dump %d in %s", programs.major,
                   programs.folder);
    pg_programs_clear(&programs);
}

static void check_clock(struct checking *checking)
{
    struct error error = ERROR_NONE;
    int64_t server_us = 0;
    char text[UNITS_TEXT_MAX];
    int64_t before_us = instant_now_us();
    int rc = pg_query_integer(checking->conn, &server_us, &error,
                              "select (extract(epoch from pg_catalog.clock_timestamp()) * "
                              "1000000)::bigint");
    int64_t middle_us = before_us + (instant_now_us() - before_us) / 2;
    if (rc) {
        check_note_error(checking, "clock", NULL, &error);
        return;
    }
    int64_t skew_us = server_us - middle_us;
    bool good = skew_us < CHECK_SKEW_MAX_US && skew_us > -CHECK_SKEW_MAX_US;
    check_note(checking, "clock", good ? "pass" : "fail", good ? NULL : "run NTP on both machines",
               "the server's clock differs from this one by %s", duration_format(skew_us, text));
}

static void check_connections(struct checking *checking)
{
    struct error error = ERROR_NONE;
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(checking->conn, &result, &error,
                      "select pg_catalog.current_setting('max_connections')::int, "
                      "pg_catalog.count(*) from pg_catalog.pg_stat_activity where backend_type = "
                      "'client backend'",
                      NULL);
    if (rc) {
        check_note_error(checking, "connections", NULL, &error);
        return;
    }
    int64_t most = pg_integer(result, 0, 0), used = pg_integer(result, 0, 1);
    int own = checking->policy->max_connections + 1; /* that of the lock */
    bool good = most - used - CONNECTIONS_SPARE >= own;
    check_note(checking, "connections", good ? "pass" : "warn",
               good ? NULL : "lower max_connections: of the policy, or raise the server's",
               "%lld of %lld connections are in use, the policy may take %d", (long long)used,
               (long long)most, own);
}

static bool is_unreadable(const struct pg_table *table)
{
    return !table->is_foreign && (!table->can_select || table->is_row_secured);
}

/* What a dump of one database would be refused. */
static void check_database(struct checking *checking, const char *name)
{
    struct error error = ERROR_NONE;
    char id[160];
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    _cleanup_(pg_tables_clear) struct pg_tables tables = {0};
    _cleanup_(buf_clear) struct buf names = BUF_INIT(TEXT_LIMIT);
    snprintf(id, sizeof(id), "database %s", name);
    int rc = pg_connect(checking->conninfo, name, "pgcairn check", &conn, &error);
    if (!rc)
        rc = pg_list_tables(conn, false, &tables, &error);
    if (rc) {
        check_note_error(checking, id, NULL, &error);
        return;
    }
    size_t bad = 0;
    for (size_t i = 0; i < tables.count; i++) {
        const struct pg_table *table = &tables.items[i];
        if (is_unreadable(table) && bad++ < NAMED_MAX)
            buf_addf(&names, "%s%s.%s", bad > 1 ? ", " : "", table->schema, table->name);
    }
    if (bad)
        check_note(checking, id, "fail",
                   "grant pg_read_all_data to the role, and bypassrls where row security is on",
                   "%zu of %zu tables can't be read whole: %s%s", bad, tables.count,
                   buf_text(&names), bad > NAMED_MAX ? ", ..." : "");
    else
        check_note(checking, id, "pass", NULL, "%zu tables can be read", tables.count);
}

static void check_databases(struct checking *checking)
{
    struct error error = ERROR_NONE;
    _cleanup_(work_databases_clear) struct work_databases databases = {0};
    if (work_list_databases(checking->policy, checking->conn, &databases, &error))
        check_note_error(checking, "databases", NULL, &error);
    for (size_t i = 0; i < databases.count; i++)
        check_database(checking, databases.items[i].name);
}

static void check_role_passwords(struct checking *checking)
{
    struct error error = ERROR_NONE;
    _cleanup_(freep) char *can = NULL;
    int rc =
        pg_query_text(checking->conn, &can, &error,
                      "select pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'select')");
    if (rc)
        check_note_error(checking, "role passwords", NULL, &error);
    else if (can && can[0] == 't')
        check_note(checking, "role passwords", "pass", NULL, "globals.sql will hold them");
    else
        check_note(
            checking, "role passwords", "warn",
            "dump as a superuser to have them, or keep them elsewhere",
            "this role may not read pg_authid: globals.sql will hold roles without passwords");
}

static void check_jobs(struct checking *checking)
{
    for (size_t i = 0; i < checking->policy->job_count; i++)
        if (checking->policy->jobs[i].connection)
            check_connection(checking, &checking->policy->jobs[i]);
}

int check_policy(const struct policy *policy, json_t **ret_checks, struct error *err)
{
    _cleanup_(checking_clear) struct checking checking = {.policy = policy, .checks = json_array()};
    if (!checking.checks)
        return error_no_memory(err);
    if (check_connection(&checking, NULL)) {
        check_programs(&checking);
        check_clock(&checking);
        check_connections(&checking);
        check_role_passwords(&checking);
        check_databases(&checking);
    }
    check_repository(&checking);
    check_wal(&checking);
    check_snapshot(&checking);
    check_drill(&checking);
    check_jobs(&checking);
    *ret_checks = TAKE(checking.checks);
    return 0;
}
