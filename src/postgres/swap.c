#include "postgres/swap.h"

#include <poll.h>
#include <string.h>

#include "postgres/connection.h"

enum { SQL_LIMIT = 4096, STEP_MS = 200, SESSIONS_SHOWN = 400, ASK_AGAIN_MAX = 20 };

static const char APPLICATION[] = "pgcairn swap";

struct swapping {
    const struct pg_swap *swap;
    PGconn *conn;   /* renames */
    PGconn *other;  /* looks and ends sessions meanwhile */
    int64_t oid;    /* of the replacement */
    bool is_in_use; /* why the server did not rename */
};

static void swapping_clear(struct swapping *swapping)
{
    PQfinish(swapping->conn);
    PQfinish(swapping->other);
}

/* 0 when there is none of that name. */
static int find_oid(PGconn *conn, const char *name, int64_t *ret_oid, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err,
                      "select oid from pg_catalog.pg_database where datname = $1", name, NULL);
    if (!rc)
        *ret_oid = PQntuples(result) > 0 ? pg_integer(result, 0, 0) : 0;
    return rc;
}

/* Whether the database is there, and the one that was meant. */
static int look(struct swapping *swapping, bool *ret_is_there, struct error *err)
{
    const struct pg_swap *swap = swapping->swap;
    int64_t oid = 0;
    int rc = find_oid(swapping->other, swap->replacement, &swapping->oid, err);
    if (!rc)
        rc = find_oid(swapping->other, swap->name, &oid, err);
    if (rc)
        return rc;
    *ret_is_there = oid != 0;
    if (oid == 0 || oid == swap->oid)
        return 0;
    error_set(err, ERR_CONFLICT, "database \"%s\" is another one than before: it was made anew",
              swap->name);
    return error_hint(err, "look at both, then rename by hand: alter database \"%s\" rename to ...",
                      swap->name);
}

static void add_rename(struct buf *sql, const char *from, const char *to)
{
    buf_add_text(sql, "alter database ");
    pg_add_identifier(sql, from);
    buf_add_text(sql, " rename to ");
    pg_add_identifier(sql, to);
    buf_add_text(sql, ";\n");
}

static int terminate_sessions(struct swapping *swapping, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    return pg_query(swapping->other, &result, err,
                    "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity "
                    "where datname = $1 and pid <> pg_catalog.pg_backend_pid()",
                    swapping->swap->name, NULL);
}

/* Two statements sent as one are one transaction. */
static int send_renames(struct swapping *swapping, bool is_there, struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    const struct pg_swap *swap = swapping->swap;
    if (is_there)
        add_rename(&sql, swap->name, swap->keep_as);
    add_rename(&sql, swap->replacement, swap->name);
    int rc = buf_failed(&sql, "ALTER DATABASE", err);
    if (!rc && !PQsendQuery(swapping->conn, buf_text(&sql)))
        rc = pg_error(swapping->conn, NULL, err);
    return rc;
}

/* Waits for the end of the renames. The server keeps new sessions out while it waits for the old
 * ones, so those that are ended now stay ended. */
static int await(struct swapping *swapping, struct error *err)
{
    struct pollfd stream = {.fd = PQsocket(swapping->conn), .events = POLLIN};
    struct error termination = ERROR_NONE;
    while (PQisBusy(swapping->conn)) {
        if (swapping->swap->terminate && !termination.code)
            terminate_sessions(swapping, &termination);
        poll(&stream, 1, STEP_MS);
        if (!PQconsumeInput(swapping->conn))
            return pg_error(swapping->conn, NULL, err);
    }
    int rc = 0;
    for (PGresult *result; (result = PQgetResult(swapping->conn)); PQclear(result))
        if (!rc && PQresultStatus(result) != PGRES_COMMAND_OK) {
            swapping->is_in_use = pg_state_is(result, "55006");
            rc = pg_error(swapping->conn, result, err);
        }
    if (rc && termination.code && err)
        *err = termination;
    return rc && termination.code ? termination.code : rc;
}

/* Who is in the way, in words; "" when that can't be told. */
static void name_sessions(struct swapping *swapping, char text[SESSIONS_SHOWN])
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(swapping->other, &result, NULL,
                      "select pg_catalog.left(pg_catalog.string_agg(distinct pg_catalog.format("
                      "'%s of %s', coalesce(nullif(application_name, ''), backend_type), "
                      "coalesce(usename, '?')), ', '), 300), pg_catalog.count(*) "
                      "from pg_catalog.pg_stat_activity where datname = $1",
                      swapping->swap->name, NULL);
    text[0] = '\0';
    if (!rc && pg_integer(result, 0, 1) > 0)
        snprintf(text, SESSIONS_SHOWN, ": %lld session(s), %.300s",
                 (long long)pg_integer(result, 0, 1), pg_text(result, 0, 0));
}

/* The connection was lost before the reply came: only the server knows what became of it. */
static int ask_again(const char *conninfo, const struct swapping *swapping, struct error *err)
{
    const struct pg_swap *swap = swapping->swap;
    struct error lost = err ? *err : (struct error)ERROR_NONE;
    for (int i = 0; i < ASK_AGAIN_MAX; i++) {
        _cleanup_(pg_conn_freep) PGconn *conn = NULL;
        int64_t oid = 0;
        int rc = pg_connect_maintenance(conninfo, APPLICATION, &conn, NULL);
        if (!rc)
            rc = find_oid(conn, swap->name, &oid, NULL);
        if (!rc && swapping->oid != 0 && oid == swapping->oid) {
            error_clear(err);
            return 0;
        }
        if (!rc)
            return lost.code;
        poll(NULL, 0, STEP_MS);
    }
    error_set(err, ERR_UNKNOWN, "whether \"%s\" stands in the place of \"%s\" is not known: %.600s",
              swap->replacement, swap->name, lost.message);
    error_hint(err, "if there is a database \"%s\", it does: look with psql -l", swap->keep_as);
    return ERR_UNKNOWN;
}

int pg_swap_databases(const char *conninfo, const struct pg_swap *swap, struct error *err)
{
    _cleanup_(swapping_clear) struct swapping swapping = {.swap = swap};
    bool is_there = false;
    char sessions[SESSIONS_SHOWN];
    int rc = pg_connect_maintenance(conninfo, APPLICATION, &swapping.conn, err);
    if (!rc)
        rc = pg_connect_maintenance(conninfo, APPLICATION, &swapping.other, err);
    if (!rc)
        rc = look(&swapping, &is_there, err);
    if (!rc && is_there && swap->terminate)
        rc = terminate_sessions(&swapping, err);
    if (!rc)
        rc = send_renames(&swapping, is_there, err);
    if (!rc)
        rc = await(&swapping, err);
    if (rc == ERR_CONNECTION && swapping.oid != 0)
        rc = ask_again(conninfo, &swapping, err);
    if (!rc || !swapping.is_in_use)
        return rc;
    name_sessions(&swapping, sessions);
    struct error reason = *err;
    return error_set(err, ERR_BUSY, "database \"%s\" is in use%s (%.600s)", swap->name, sessions,
                     reason.message);
}
