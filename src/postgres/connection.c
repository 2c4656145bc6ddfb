#include "postgres/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

enum { INTERRUPT_STEP_MS = 200, SQL_LIMIT = 64 << 20, PARAMETERS_MAX = 16, OPTION_LIMIT = 4096 };

static const char SESSION_SETTINGS[] = "set datestyle = 'ISO';"
                                       "set intervalstyle = 'postgres';"
                                       "set extra_float_digits = 3;"
                                       "set search_path = '';"
                                       "set row_security = off;"
                                       "set xmloption = content;"
                                       "set lc_monetary = 'C';"
                                       "set array_nulls = on;"
                                       "set jit = off;"
                                       "set max_parallel_workers_per_gather = 0;"
                                       "set synchronize_seqscans = off;"
                                       "set statement_timeout = 0;"
                                       "set lock_timeout = 0;"
                                       "set idle_in_transaction_session_timeout = 0;"
                                       "set default_transaction_read_only = off;"
                                       "set standard_conforming_strings = on;"
                                       "set client_min_messages = warning";

/* SQLSTATE classes and what they mean to a caller; longest match first. */
static const struct {
    const char *prefix;
    int code;
} SQLSTATES[] = {
    {"42501", ERR_PERMISSION}, {"55P03", ERR_CONFLICT},  {"40P01", ERR_CONFLICT},
    {"40001", ERR_CONFLICT},   {"57014", ERR_CONFLICT},  {"53100", ERR_NO_SPACE},
    {"53300", ERR_CONNECTION}, {"57P", ERR_CONNECTION},  {"08", ERR_CONNECTION},
    {"28", ERR_AUTH},          {"3D000", ERR_NOT_FOUND},
};

static int code_of_sqlstate(const char *sqlstate)
{
    for (size_t i = 0; sqlstate && i < ARRAY_SIZE(SQLSTATES); i++)
        if (strncmp(sqlstate, SQLSTATES[i].prefix, strlen(SQLSTATES[i].prefix)) == 0)
            return SQLSTATES[i].code;
    return ERR_SQL;
}

/* The first line of a libpq message without trailing blanks and without its severity. */
static void first_line(const char *message, char *text, size_t size)
{
    size_t length = strcspn(message, "\n");
    snprintf(text, size, "%.*s", (int)length, message);
}

bool pg_state_is(const PGresult *result, const char *sqlstate)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return state && strcmp(state, sqlstate) == 0;
}

int pg_error(PGconn *conn, const PGresult *result, struct error *err)
{
    const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (!sqlstate) {
        char text[512];
        first_line(PQerrorMessage(conn), text, sizeof(text));
        if (PQstatus(conn) == CONNECTION_BAD)
            return error_set(err, ERR_CONNECTION, "lost the connection to the server: %s", text);
        return error_set(err, ERR_SQL, "%s", text[0] ? text : "unexpected reply of the server");
    }
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    error_set(err, code_of_sqlstate(sqlstate), "%s: %s%s%s", severity ? severity : "ERROR",
              primary ? primary : "unknown", detail ? ": " : "", detail ? detail : "");
    if (hint)
        error_hint(err, "%s", hint);
    return code_of_sqlstate(sqlstate);
}

/* A failed connection has no result; what went wrong is told in words only, in the server's
 * language, but the words after FATAL come with stable SQLSTATEs that libpq does not keep. */
int pg_connect_error(PGconn *conn, struct error *err)
{
    char text[1024];
    const char *message = PQerrorMessage(conn);
    size_t used = 0;
    for (; *message && used + 1 < sizeof(text); message++)
        text[used++] = *message == '\n' ? ' ' : *message;
    while (used > 0 && text[used - 1] == ' ')
        used--;
    text[used] = '\0';
    if (strstr(text, "password authentication failed") || strstr(text, "no password supplied") ||
        strstr(text, "pg_hba.conf") || strstr(text, "authentication failed") ||
        (strstr(text, "role \"") && strstr(text, "does not exist"))) {
        error_set(err, ERR_AUTH, "%s", text);
        return error_hint(err, "check user and password in connection: of the policy, and the "
                               "server's pg_hba.conf");
    }
    if (strstr(text, "database \"") && strstr(text, "does not exist")) {
        error_set(err, ERR_NOT_FOUND, "%s", text);
        return error_hint(err, "check connection: and databases: of the policy");
    }
    if (strstr(text, "permission denied for database")) {
        error_set(err, ERR_PERMISSION, "%s", text);
        return error_hint(err, "grant connect on the database to the role");
    }
    error_set(err, ERR_CONNECTION, "%s", text);
    if (strstr(text, "too many clients") || strstr(text, "remaining connection slots"))
        return error_hint(err,
                          "the server is at max_connections; lower max_connections: or jobs: in "
                          "the policy, or free connections");
    return error_hint(err, "is the server up, and is connection: of the policy right?");
}

static int set_up_session(PGconn *conn, struct error *err)
{
    int rc = pg_execute(conn, err, "%s", SESSION_SETTINGS);
    if (!rc && PQserverVersion(conn) >= 140000)
        rc = pg_execute(conn, err, "set idle_session_timeout = 0");
    if (!rc && PQserverVersion(conn) >= 170000)
        rc = pg_execute(conn, err, "set transaction_timeout = 0");
    if (!rc && PQsetClientEncoding(conn, "UTF8") != 0)
        rc = pg_error(conn, NULL, err);
    return rc;
}

/* PostgreSQL's notices are for logs of its own; a library must not print. */
static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

int pg_connect(const char *conninfo, const char *database, const char *application,
               PGconn **ret_conn, struct error *err)
{
    /* Later keywords override earlier ones; conninfo is expanded in place of dbname. */
    char timeout[16];
    snprintf(timeout, sizeof(timeout), "%d", PG_CONNECT_TIMEOUT_SECONDS);
    const char *keywords[] = {"connect_timeout",
                              "keepalives_idle",
                              "keepalives_interval",
                              "dbname",
                              "application_name",
                              database ? "dbname" : NULL,
                              NULL};
    const char *values[] = {timeout, "30", "10", conninfo, application, database, NULL};
    _cleanup_(pg_conn_freep) PGconn *conn = PQconnectdbParams(keywords, values, 1);
    if (!conn)
        return error_no_memory(err);
    if (PQstatus(conn) != CONNECTION_OK)
        return pg_connect_error(conn, err);
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    if (PQserverVersion(conn) < PG_VERSION_MIN)
        return error_set(err, ERR_FAILED, "the server is PostgreSQL %d; pgcairn needs 13 or newer",
                         PQserverVersion(conn) / 10000);
    int rc = set_up_session(conn, err);
    if (rc)
        return rc;
    *ret_conn = TAKE(conn);
    return 0;
}

int pg_connect_maintenance(const char *conninfo, const char *application, PGconn **ret_conn,
                           struct error *err)
{
    int rc = pg_connect(conninfo, "postgres", application, ret_conn, err);
    if (!rc || rc == ERR_CONNECTION)
        return rc;
    return pg_connect(conninfo, NULL, application, ret_conn, err);
}

int pg_refuse_pooler(PGconn *conn, struct error *err)
{
    int64_t server_pid;
    int rc = pg_query_integer(conn, &server_pid, err, "select pg_catalog.pg_backend_pid()");
    if (rc)
        return rc;
    if (server_pid == PQbackendPID(conn))
        return 0;
    error_set(err, ERR_FAILED,
              "%s is a connection pooler, which cannot hold a session's locks and "
              "snapshot",
              PQhost(conn));
    return error_hint(err,
                      "give the server's direct address in connection: (Neon: the host without "
                      "\"-pooler\"; Supabase: port 5432; PgBouncer: the server behind it)");
}

static _Atomic(pg_interrupt) interrupt_question;
static _Thread_local bool interrupts_held;

void pg_set_interrupt(pg_interrupt question)
{
    atomic_store(&interrupt_question, question);
}

void pg_hold_interrupts(bool hold)
{
    interrupts_held = hold;
}

static int interrupted(struct error *err)
{
    pg_interrupt question = atomic_load(&interrupt_question);
    return question && !interrupts_held ? question(err) : 0;
}

static atomic_bool cancels_forbidden;

void pg_forbid_cancels(void)
{
    atomic_store(&cancels_forbidden, true);
}

void pg_cancel(PGcancel *cancel)
{
    char ignored[256];
    if (!atomic_load(&cancels_forbidden))
        PQcancel(cancel, ignored, sizeof(ignored));
}

static void cancel_statement(PGconn *conn)
{
    PGcancel *cancel = PQgetCancel(conn);
    pg_cancel(cancel);
    PQfreeCancel(cancel);
}

/* Waits until a result can be taken without blocking. An interrupt cancels the statement, once, and
 * is what *ret_interrupt says; its result is waited for all the same. */
static void await_result(PGconn *conn, int *ret_interrupt, struct error *err)
{
    while (PQisBusy(conn)) {
        struct pollfd socket = {.fd = PQsocket(conn), .events = POLLIN};
        int ready = poll(&socket, 1, INTERRUPT_STEP_MS);
        if (ready > 0 && !PQconsumeInput(conn))
            return;
        if (ready <= 0 && *ret_interrupt == 0 && (*ret_interrupt = interrupted(err)) != 0)
            cancel_statement(conn);
    }
}

/* The last result of the statements, or the first that failed. */
static PGresult *collect_results(PGconn *conn, int *ret_interrupt, struct error *err)
{
    PGresult *kept = NULL;
    for (;;) {
        await_result(conn, ret_interrupt, err);
        PGresult *next = PQgetResult(conn);
        if (!next)
            return kept;
        if (kept && PQresultStatus(kept) == PGRES_FATAL_ERROR) {
            PQclear(next);
            continue;
        }
        PQclear(kept);
        kept = next;
        ExecStatusType status = PQresultStatus(kept);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT)
            return kept;
    }
}

static int run(PGconn *conn, const char *sql, int count, const char *const *values,
               PGresult **ret_result, struct error *err)
{
    int interrupt = 0;
    struct error why = ERROR_NONE;
    int sent = count > 0 ? PQsendQueryParams(conn, sql, count, NULL, values, NULL, NULL, 0)
                         : PQsendQuery(conn, sql);
    _cleanup_(pg_result_freep) PGresult *result =
        sent ? collect_results(conn, &interrupt, &why) : NULL;
    if (interrupt) {
        if (err)
            *err = why;
        return interrupt;
    }
    if (!result)
        return pg_error(conn, NULL, err);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY)
        return pg_error(conn, result, err);
    if (ret_result)
        *ret_result = TAKE(result);
    return 0;
}

int pg_query(PGconn *conn, PGresult **ret_result, struct error *err, const char *sql, ...)
{
    const char *values[PARAMETERS_MAX];
    int count = 0;
    va_list args;
    va_start(args, sql);
    for (const char *value = va_arg(args, const char *); value && count < PARAMETERS_MAX;
         value = va_arg(args, const char *))
        values[count++] = value;
    va_end(args);
    return run(conn, sql, count, values, ret_result, err);
}

int pg_execute(PGconn *conn, struct error *err, const char *format, ...)
{
    char *sql = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&sql, format, args);
    va_end(args);
    if (length < 0)
        return error_no_memory(err);
    int rc = run(conn, sql, 0, NULL, NULL, err);
    free(sql);
    return rc;
}

int pg_query_text(PGconn *conn, char **ret_text, struct error *err, const char *sql)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = run(conn, sql, 0, NULL, &result, err);
    if (rc)
        return rc;
    if (PQntuples(result) == 0)
        return error_set(err, ERR_NOT_FOUND, "the server returned no row for: %s", sql);
    char *text = PQgetisnull(result, 0, 0) ? NULL : strdup(PQgetvalue(result, 0, 0));
    if (!text && !PQgetisnull(result, 0, 0))
        return error_no_memory(err);
    *ret_text = text;
    return 0;
}

int pg_query_integer(PGconn *conn, int64_t *ret_number, struct error *err, const char *sql)
{
    _cleanup_(freep) char *text = NULL;
    int rc = pg_query_text(conn, &text, err, sql);
    if (!rc)
        *ret_number = text ? strtoll(text, NULL, 10) : 0;
    return rc;
}

int pg_add_identifier(struct buf *sql, const char *name)
{
    buf_add(sql, "\"", 1);
    for (const char *c = name; *c; c++)
        buf_add(sql, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1);
    return buf_add(sql, "\"", 1);
}

int pg_add_qualified(struct buf *sql, const char *schema, const char *name)
{
    pg_add_identifier(sql, schema);
    buf_add(sql, ".", 1);
    return pg_add_identifier(sql, name);
}

int pg_add_literal(struct buf *sql, const char *text)
{
    bool escaped = strchr(text, '\\') != NULL;
    buf_add_text(sql, escaped ? " E'" : "'");
    for (const char *c = text; *c; c++) {
        if (*c == '\'' || *c == '\\')
            buf_add(sql, c, 1);
        buf_add(sql, c, 1);
    }
    return buf_add(sql, "'", 1);
}

int pg_add_copy_options(struct buf *sql, const char *encoding)
{
    if (strcmp(encoding, "UTF8") == 0)
        return buf_add_text(sql, "");
    buf_add_text(sql, " WITH (ENCODING ");
    pg_add_literal(sql, encoding);
    return buf_add_text(sql, ")");
}

int pg_database_option(const char *name, const char *database, char **ret_option, struct error *err)
{
    _cleanup_(buf_clear) struct buf option = BUF_INIT(OPTION_LIMIT);
    buf_addf(&option, "%s=dbname='", name);
    for (const char *c = database; *c; c++) {
        if (*c == '\'' || *c == '\\')
            buf_add_text(&option, "\\");
        buf_add(&option, c, 1);
    }
    buf_add_text(&option, "'");
    int rc = buf_failed(&option, name, err);
    if (!rc)
        *ret_option = buf_steal(&option);
    return rc;
}

/* A service's settings are in the options already, and read again by the child they would stand
 * above them, its dbname above the database that is wanted. */
int pg_environment(PGconn *conn, const char *database, struct strv *env, struct error *err)
{
    PQconninfoOption *options = PQconninfo(conn);
    if (!options)
        return error_no_memory(err);
    int rc = 0;
    for (PQconninfoOption *option = options; option->keyword && !rc; option++) {
        if (!option->envvar)
            continue;
        bool is_database = strcmp(option->keyword, "dbname") == 0;
        bool is_options = strcmp(option->keyword, "options") == 0;
        bool is_unwanted = strcmp(option->keyword, "application_name") == 0 ||
                           strcmp(option->keyword, "service") == 0;
        const char *value = is_database && database ? database : option->val;
        if (!value || is_unwanted)
            rc = strv_add(env, option->envvar, err);
        else if (!is_options || *value)
            rc = strv_addf(env, err, "%s=%s", option->envvar, value);
    }
    PQconninfoFree(options);
    return rc;
}

int64_t pg_integer(const PGresult *result, int row, int column)
{
    return strtoll(PQgetvalue(result, row, column), NULL, 10);
}

bool pg_boolean(const PGresult *result, int row, int column)
{
    return PQgetvalue(result, row, column)[0] == 't';
}

const char *pg_text(const PGresult *result, int row, int column)
{
    return PQgetvalue(result, row, column);
}
