/* The server: who we are there, its databases, what it holds back, its WAL. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "postgres/diagnosis.h"
#include "postgres/estate.h"
#include "postgres/server.h"
#include "work/databases.h"
#include "work/gather.h"
#include "work/policy_load.h"
#include "work/wal_look.h"

static const char APPLICATION[] = "pgcairn audit";

static int copy_text(const char *text, char **ret_copy, struct error *err)
{
    if (!text)
        return 0;
    *ret_copy = strdup(text);
    return *ret_copy ? 0 : error_no_memory(err);
}

/* -- the connection ------------------------------------------------------------------------ */

static int copy_sslmode(PGconn *conn, char **ret_mode, struct error *err)
{
    PQconninfoOption *options = PQconninfo(conn);
    int rc = options ? 0 : error_no_memory(err);
    for (PQconninfoOption *option = options; !rc && option->keyword; option++)
        if (strcmp(option->keyword, "sslmode") == 0)
            rc = copy_text(option->val ? option->val : "", ret_mode, err);
    PQconninfoFree(options);
    return rc;
}

static bool is_local(PGconn *conn)
{
    static const char *const NAMES[] = {"localhost", "127.0.0.1", "::1"};
    const char *host = PQhost(conn);
    for (size_t i = 0; host && i < ARRAY_SIZE(NAMES); i++)
        if (strcmp(host, NAMES[i]) == 0)
            return true;
    return !host || !*host || *host == '/';
}

static int read_connection(PGconn *conn, struct facts_server *server, struct error *err)
{
    int64_t server_us = 0, before_us = instant_now_us();
    server->version_num = PQserverVersion(conn);
    server->uses_tls = PQsslInUse(conn);
    server->is_local = is_local(conn);
    int rc = copy_sslmode(conn, &server->sslmode, err);
    if (!rc)
        rc = pg_query_integer(conn, &server_us, err,
                              "select (extract(epoch from pg_catalog.clock_timestamp()) * "
                              "1000000)::bigint");
    int64_t middle_us = before_us + (instant_now_us() - before_us) / 2;
    server->clock_offset_us = server_us - middle_us;
    return rc;
}

static int read_identity(PGconn *conn, struct facts_server *server, struct error *err)
{
    struct pg_server identity;
    int rc = pg_read_server(conn, &identity, err);
    if (rc)
        return rc;
    server->is_standby = identity.is_standby;
    rc = copy_text(identity.system_identifier, &server->system_identifier, err);
    pg_server_clear(&identity);
    return rc;
}

/* -- its estate ---------------------------------------------------------------------------- */

static int take_databases(const json_t *list, struct facts_server *server, struct error *err)
{
    size_t i;
    json_t *row;
    int rc = 0;
    json_array_foreach(list, i, row)
    {
        struct facts_database *database;
        if (!rc)
            rc = facts_audit_add(&server->databases, &server->database_count, sizeof(*database),
                                 FACTS_DATABASES_MAX, "databases", &database, err);
        if (!rc)
            rc = facts_database_from_json(row, database, err);
    }
    return rc;
}

static int read_estate(PGconn *conn, struct facts_server *server, struct error *err)
{
    _cleanup_(json_release) json_t *estate = NULL;
    int rc = pg_read_estate(conn, &estate, err);
    if (rc)
        return rc;
    server->is_superuser = json_is_true(json_object_get(estate, "is_superuser"));
    server->may_create_roles = json_is_true(json_object_get(estate, "may_create_roles"));
    server->has_checksums = json_is_true(json_object_get(estate, "has_checksums"));
    server->freeze_max_age = json_number(estate, "freeze_max_age");
    rc = copy_text(json_text(estate, "role"), &server->role, err);
    return rc ? rc : take_databases(json_object_get(estate, "databases"), server, err);
}

/* -- what the diagnosis tells -------------------------------------------------------------- */

/* Which columns of a row of the diagnosis become what. */
struct columns {
    const char *kind, *name, *database, *state, *number;
};

static int take_row(const json_t *row, const struct columns *columns, const char *database,
                    struct facts_row *entry, struct error *err)
{
    bool has_offset;
    entry->number = json_number(row, columns->number);
    entry->is_active = json_is_true(json_object_get(row, "active"));
    entry->since_us = INSTANT_NONE;
    if (*json_text(row, "since"))
        instant_parse(json_text(row, "since"), &entry->since_us, &has_offset, NULL);
    int rc = copy_text(json_text(row, columns->kind), &entry->kind, err);
    if (!rc)
        rc = copy_text(json_text(row, columns->name), &entry->name, err);
    if (!rc)
        rc = copy_text(database ? database : json_text(row, columns->database), &entry->database,
                       err);
    if (!rc)
        rc = copy_text(json_text(row, columns->state), &entry->state, err);
    return rc ? rc : copy_text(json_text(row, "command"), &entry->command, err);
}

static int take_rows(const json_t *list, const struct columns *columns, const char *database,
                     struct facts_row **rows, size_t *count, struct error *err)
{
    size_t i;
    json_t *row;
    int rc = 0;
    json_array_foreach(list, i, row)
    {
        struct facts_row *entry;
        if (!rc)
            rc = facts_audit_add(rows, count, sizeof(*entry), FACTS_ROWS_MAX, "findings", &entry,
                                 err);
        if (!rc)
            rc = take_row(row, columns, database, entry, err);
    }
    return rc;
}

static int diagnose_server(PGconn *conn, struct facts_server *server, json_t *unknown,
                           struct error *err)
{
    static const struct columns BLOCKERS = {"kind", "holder", "database", "state", "xid_age"};
    static const struct columns SLOTS = {"", "name", "", "wal_status", "retained_bytes"};
    _cleanup_(json_release) json_t *report = json_object();
    if (!report)
        return error_no_memory(err);
    int rc = pg_diagnose_server(conn, APPLICATION, report, unknown, err);
    if (!rc)
        rc = take_rows(json_object_get(report, "blockers"), &BLOCKERS, NULL, &server->blockers,
                       &server->blocker_count, err);
    server->knows_blockers = json_is_array(json_object_get(report, "blockers"));
    server->knows_slots = json_is_array(json_object_get(report, "slots"));
    return rc ? rc
              : take_rows(json_object_get(report, "slots"), &SLOTS, NULL, &server->slots,
                          &server->slot_count, err);
}

static int diagnose_database(const char *conninfo, const char *name, struct facts_server *server,
                             json_t *unknown, struct error *err)
{
    static const struct columns INDEXES = {"", "index", "", "table", ""};
    _cleanup_(json_release) json_t *report = json_object();
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    struct error reason = ERROR_NONE;
    if (!report)
        return error_no_memory(err);
    if (pg_connect(conninfo, name, APPLICATION, &conn, &reason) ||
        pg_diagnose_database(conn, report, unknown, &reason))
        return json_array_append_new(unknown, pg_text_to_json(reason.message))
                   ? error_no_memory(err)
                   : 0;
    return take_rows(json_object_get(report, "invalid_indexes"), &INDEXES, name,
                     &server->invalid_indexes, &server->invalid_index_count, err);
}

static int diagnose_databases(const struct policy *policy, PGconn *conn, const char *conninfo,
                              struct facts_server *server, json_t *unknown, struct error *err)
{
    _cleanup_(work_databases_clear) struct work_databases databases = {0};
    struct error reason = ERROR_NONE;
    int rc = 0;
    if (work_list_databases(policy, conn, &databases, &reason))
        return json_array_append_new(unknown, pg_text_to_json(reason.message))
                   ? error_no_memory(err)
                   : 0;
    for (size_t i = 0; i < databases.count && !rc; i++)
        rc = diagnose_database(conninfo, databases.items[i].name, server, unknown, err);
    return rc;
}

static int keep_unknown(const json_t *unknown, struct facts_server *server, struct error *err)
{
    size_t count = json_array_size(unknown);
    server->unknown = calloc(count + 1, sizeof(char *));
    if (!server->unknown)
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        server->unknown[i] = strdup(json_string_value(json_array_get(unknown, i)));
        if (!server->unknown[i])
            return error_no_memory(err);
    }
    return 0;
}

/* -- WAL ----------------------------------------------------------------------------------- */

static int read_wal(const struct policy *policy, PGconn *conn, struct facts_server *server,
                    struct error *err)
{
    struct wal_look look;
    struct error reason = ERROR_NONE;
    struct pg_archiver_problem problem = {.what = ""};
    int rc = wal_look_init(&look, policy, NULL, err);
    if (rc)
        return rc;
    if (wal_look_server(&look, conn, &reason)) {
        rc = gather_problem(&reason, &server->wal_problem, err);
    } else {
        wal_look_problem(&look, &problem);
        server->timeline = look.server.timeline;
        server->lsn = look.server.lsn;
        server->wal_now_us = look.server.now_us;
        server->knows_ready = look.server.knows_ready;
        server->ready_count = look.server.ready_count;
        server->archive_is_broken = problem.is_certain;
        rc = problem.what[0] ? copy_text(problem.what, &server->archive_problem, err) : 0;
        if (!rc && problem.what[0])
            rc = copy_text(problem.cure, &server->archive_cure, err);
    }
    wal_look_clear(&look);
    return rc;
}

static bool has_wal_job(const struct policy *policy)
{
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].type == JOB_WAL)
            return true;
    return false;
}

int gather_server(const struct policy *policy, bool is_brief, struct facts_audit *facts,
                  struct error *err)
{
    struct facts_server *server = &facts->server;
    _cleanup_(freep) char *conninfo = NULL;
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    _cleanup_(json_release) json_t *unknown = json_array();
    struct error reason = ERROR_NONE;
    server->was_asked = true;
    if (!unknown)
        return error_no_memory(err);
    int rc = policy_connection(policy, NULL, &conninfo, &reason);
    if (!rc)
        rc = pg_connect(conninfo, NULL, APPLICATION, &conn, &reason);
    if (!rc)
        rc = read_connection(conn, server, &reason);
    if (!rc)
        rc = read_identity(conn, server, &reason);
    if (!rc)
        rc = read_estate(conn, server, &reason);
    if (!rc)
        rc = diagnose_server(conn, server, unknown, &reason);
    if (!rc && has_wal_job(policy))
        rc = read_wal(policy, conn, server, &reason);
    if (rc)
        return gather_problem(&reason, &server->problem, err);
    if (!is_brief)
        rc = diagnose_databases(policy, conn, conninfo, server, unknown, err);
    return rc ? rc : keep_unknown(unknown, server, err);
}
