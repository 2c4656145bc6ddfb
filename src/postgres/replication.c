#include "postgres/replication.h"

#include <string.h>
#include <sys/socket.h>

#include "wal/name.h"

enum { WORD_MAX = 128, MESSAGE_MAX = 1024 };

/* -- what a refusal means -------------------------------------------------------------------------
 */

/* The text between a mark and the next quotation mark. */
static bool take_quoted(const char *message, const char *mark, char word[WORD_MAX])
{
    const char *from = strstr(message, mark);
    if (!from)
        return false;
    from += strlen(mark);
    size_t length = strcspn(from, "\"");
    if (from[length] != '"' || length == 0 || length >= WORD_MAX)
        return false;
    snprintf(word, WORD_MAX, "%.*s", (int)length, from);
    return true;
}

/* FATAL:  no pg_hba.conf entry for replication connection from host "10.0.0.7", user "backup", no
 * encryption */
static int missing_hba_line(const char *message, struct error *err)
{
    char host[WORD_MAX], user[WORD_MAX];
    if (!take_quoted(message, "host \"", host) || !take_quoted(message, "user \"", user))
        return error_hint(err, "add a line for database \"replication\" to the server's "
                               "pg_hba.conf, and reload it");
    if (host[0] == '[')
        return error_hint(err,
                          "add this line to the server's pg_hba.conf, and reload it: "
                          "local replication %s scram-sha-256",
                          user);
    bool is_plain = strstr(message, "SSL off") || strstr(message, "no encryption");
    return error_hint(err,
                      "add this line to the server's pg_hba.conf, and reload it: "
                      "%s replication %s %s/%d scram-sha-256",
                      is_plain ? "host" : "hostssl", user, host, strchr(host, ':') ? 128 : 32);
}

static const struct {
    const char *words;
    int code;
    const char *hint;
} REFUSALS[] = {
    {"start walsender", ERR_PERMISSION,
     "the role needs the right to replicate: alter role NAME replication (managed servers may not "
     "allow it: dumps work there)"},
    {"start WAL sender", ERR_PERMISSION,
     "the role needs the right to replicate: alter role NAME replication (managed servers may not "
     "allow it: dumps work there)"},
    {"max_wal_senders", ERR_CONNECTION,
     "raise max_wal_senders of the server (10 is usual; it needs a restart), or end another "
     "replication session"},
    {"unsupported startup parameter", ERR_FAILED,
     "this is a connection pooler, which can't replicate: give the server's direct address"},
    {"replication connections are not", ERR_FAILED,
     "give the server's direct address in connection:, not that of a pooler or proxy"},
};

int pg_replication_refused(const char *message, struct error *err)
{
    if (strstr(message, "pg_hba.conf")) {
        error_set(err, ERR_AUTH, "%s", message);
        missing_hba_line(message, err);
        return ERR_AUTH;
    }
    for (size_t i = 0; i < ARRAY_SIZE(REFUSALS); i++) {
        if (!strstr(message, REFUSALS[i].words))
            continue;
        error_set(err, REFUSALS[i].code, "%s", message);
        return error_hint(err, "%s", REFUSALS[i].hint);
    }
    return 0;
}

/* -- the session ----------------------------------------------------------------------------------
 */

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

/* The message on one line. */
static void flatten(const char *message, char text[MESSAGE_MAX])
{
    size_t used = 0;
    for (; *message && used + 1 < MESSAGE_MAX; message++)
        text[used++] = *message == '\n' ? ' ' : *message;
    while (used > 0 && text[used - 1] == ' ')
        used--;
    text[used] = '\0';
}

int pg_connect_replication(const char *conninfo, const char *application, PGconn **ret_conn,
                           struct error *err)
{
    /* As pg_connect(): later keywords override earlier ones. The database "replication" is a word
     * for password files. */
    char timeout[16], text[MESSAGE_MAX];
    snprintf(timeout, sizeof(timeout), "%d", PG_CONNECT_TIMEOUT_SECONDS);
    const char *keywords[] = {"connect_timeout",
                              "keepalives_idle",
                              "keepalives_interval",
                              "dbname",
                              "application_name",
                              "replication",
                              "dbname",
                              NULL};
    const char *values[] = {timeout,     "30",   "10",          conninfo,
                            application, "true", "replication", NULL};
    _cleanup_(pg_conn_freep) PGconn *conn = PQconnectdbParams(keywords, values, 1);
    if (!conn)
        return error_no_memory(err);
    if (PQstatus(conn) != CONNECTION_OK) {
        flatten(PQerrorMessage(conn), text);
        int rc = pg_replication_refused(text, err);
        return rc ? rc : pg_connect_error(conn, err);
    }
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    if (PQserverVersion(conn) < PG_VERSION_MIN)
        return error_set(err, ERR_FAILED, "the server is PostgreSQL %d; pgcairn needs 13 or newer",
                         PQserverVersion(conn) / 10000);
    *ret_conn = TAKE(conn);
    return 0;
}

/* "16MB" as SHOW writes a number of bytes: units are powers of 1024. */
static int read_segment_size(PGconn *conn, int64_t *ret_size, struct error *err)
{
    _cleanup_(freep) char *text = NULL;
    int rc = pg_query_text(conn, &text, err, "SHOW wal_segment_size");
    if (rc)
        return rc;
    char *unit = text;
    int64_t size = text ? strtoll(text, &unit, 10) : 0;
    if (unit && strcmp(unit, "kB") == 0)
        size <<= 10;
    else if (unit && strcmp(unit, "MB") == 0)
        size <<= 20;
    else if (unit && strcmp(unit, "GB") == 0)
        size <<= 30;
    if (!wal_segment_size_valid(size))
        return error_set(err, ERR_FAILED, "the server says that its wal_segment_size is \"%s\"",
                         text ? text : "");
    *ret_size = size;
    return 0;
}

static int read_folder_mode(PGconn *conn, unsigned *ret_mode, struct error *err)
{
    _cleanup_(freep) char *text = NULL;
    int rc = pg_query_text(conn, &text, err, "SHOW data_directory_mode");
    if (!rc)
        *ret_mode = text && strtoul(text, NULL, 8) == 0750 ? 0750 : 0700;
    return rc;
}

int pg_identify_system(PGconn *conn, struct pg_system *ret_system, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    struct pg_system system = {0};
    int rc = pg_query(conn, &result, err, "IDENTIFY_SYSTEM", NULL);
    if (rc)
        return rc;
    if (PQntuples(result) != 1 || PQnfields(result) < 3)
        return error_set(err, ERR_FAILED, "the server answered IDENTIFY_SYSTEM with %d rows",
                         PQntuples(result));
    snprintf(system.identifier, sizeof(system.identifier), "%s", pg_text(result, 0, 0));
    system.timeline = (uint32_t)pg_integer(result, 0, 1);
    rc = wal_lsn_parse(pg_text(result, 0, 2), &system.lsn, err);
    if (!rc)
        rc = read_segment_size(conn, &system.segment_size, err);
    if (!rc)
        rc = read_folder_mode(conn, &system.folder_mode, err);
    if (!rc)
        *ret_system = system;
    return rc;
}

int pg_create_temporary_slot(PGconn *conn, const char *name, struct error *err)
{
    bool is_old = PQserverVersion(conn) < 150000;
    return pg_execute(conn, err, "CREATE_REPLICATION_SLOT %s TEMPORARY PHYSICAL %s", name,
                      is_old ? "RESERVE_WAL" : "(RESERVE_WAL)");
}

/* -- giving up ------------------------------------------------------------------------------------
 */

int pg_abort_init(struct pg_abort *abort, PGconn *conn, struct error *err)
{
    abort->socket = PQsocket(conn);
    abort->cancel = PQgetCancel(conn);
    return abort->cancel ? 0 : error_no_memory(err);
}

/* The cancel ends a server that waits for a checkpoint, the shutdown whoever waits for the server.
 * libpq sees the end of the stream; the descriptor stays its own. */
void pg_abort(struct pg_abort *abort)
{
    pg_cancel(abort->cancel);
    shutdown(abort->socket, SHUT_RDWR);
}

void pg_abort_clear(struct pg_abort *abort)
{
    PQfreeCancel(abort->cancel);
    *abort = (struct pg_abort){.socket = -1};
}
