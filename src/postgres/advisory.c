#include "postgres/advisory.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
    SQL_MAX = 512,
    DESCRIPTORS_MAX = 65536,                             /* looked at when a server is cut off */
    USER_TIMEOUT_MS = 2 * PG_ADVISORY_SILENCE_US / 1000, /* we are to see the silence first */
    /* Probes from the tenth second on, so that the last of them comes at the release. */
    KEEPALIVE_IDLE = 10,
    KEEPALIVE_INTERVAL = 5,
    KEEPALIVE_COUNT = (PG_ADVISORY_RELEASE_SECONDS - KEEPALIVE_IDLE) / KEEPALIVE_INTERVAL,
};

struct pg_advisory {
    PGconn *conn;
    int64_t key;
    int pid; /* of the server's process */
    bool is_standby;
    char identity[PG_ADVISORY_IDENTITY_MAX];
    pthread_mutex_t mutex; /* of the connection and what follows */
    bool is_held, is_lost, is_silent;
    struct error loss;
};

/* -- asking within a bound ----------------------------------------------------------------- */

/* Waits for the reply until the deadline; false: none came. */
static bool await_reply(PGconn *conn, int64_t deadline_us)
{
    while (PQisBusy(conn)) {
        int64_t left_us = deadline_us - instant_monotonic_us();
        struct pollfd socket = {.fd = PQsocket(conn), .events = POLLIN};
        if (left_us <= 0)
            return false;
        if (poll(&socket, 1, (int)(left_us / 1000) + 1) > 0 && !PQconsumeInput(conn))
            return true; /* the connection has ended, which its result tells */
    }
    return true;
}

static int give_up(struct pg_advisory *lock, int code, struct error *err)
{
    lock->is_lost = true;
    if (err)
        *err = lock->loss;
    return code;
}

/* One statement with one row, whose values are copied into *ret_result. What fails here is never
 * tried again: the session's locks are in doubt with it. */
static int ask(struct pg_advisory *lock, const char *sql, PGresult **ret_result, struct error *err)
{
    if (lock->is_lost)
        return give_up(lock, lock->loss.code, err);
    int64_t deadline_us = instant_monotonic_us() + PG_ADVISORY_SILENCE_US;
    int sent = PQsendQuery(lock->conn, sql);
    if (sent && !await_reply(lock->conn, deadline_us)) {
        lock->is_silent = true;
        error_set(&lock->loss, ERR_CONNECTION, "the server gave no answer for %d seconds",
                  (int)(PG_ADVISORY_SILENCE_US / US_PER_SECOND));
        return give_up(lock, ERR_CONNECTION, err);
    }
    _cleanup_(pg_result_freep) PGresult *result = sent ? PQgetResult(lock->conn) : NULL;
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        return give_up(lock, pg_error(lock->conn, result, &lock->loss), err);
    PQclear(PQgetResult(lock->conn)); /* the NULL that ends the statement */
    *ret_result = TAKE(result);
    return 0;
}

/* -- opening ------------------------------------------------------------------------------- */

static int look_at_server(struct pg_advisory *lock, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(lock->conn, &result, err,
                      "select pg_catalog.pg_is_in_recovery(), (extract(epoch from "
                      "pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint, "
                      "(select oid from pg_catalog.pg_database "
                      "where datname = pg_catalog.current_database())",
                      NULL);
    if (rc)
        return rc;
    lock->is_standby = pg_boolean(result, 0, 0);
    snprintf(lock->identity, sizeof(lock->identity), "%s/%s/%016llx", pg_text(result, 0, 1),
             pg_text(result, 0, 2), (unsigned long long)lock->key);
    return 0;
}

/* Both ends shall learn within a bound that the other is gone. A socket of the same machine has no
 * such options and needs none. */
static int bound_silence(struct pg_advisory *lock, struct error *err)
{
    unsigned timeout_ms = USER_TIMEOUT_MS;
    setsockopt(PQsocket(lock->conn), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
               sizeof(timeout_ms));
    return pg_execute(lock->conn, err,
                      "set tcp_keepalives_idle = %d; set tcp_keepalives_interval = %d; "
                      "set tcp_keepalives_count = %d; set tcp_user_timeout = %d",
                      KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT,
                      PG_ADVISORY_RELEASE_SECONDS * 1000);
}

int pg_advisory_open(const char *conninfo, int64_t key, const char *application,
                     struct pg_advisory **ret_lock, struct error *err)
{
    _cleanup_(pg_advisory_freep) struct pg_advisory *lock = calloc(1, sizeof(*lock));
    char name[PG_ADVISORY_NAME_MAX];
    if (!lock)
        return error_no_memory(err);
    lock->key = key;
    pthread_mutex_init(&lock->mutex, NULL);
    snprintf(name, sizeof(name), "%s", application);
    int rc = pg_connect_maintenance(conninfo, name, &lock->conn, err);
    if (!rc)
        rc = pg_refuse_pooler(lock->conn, err);
    if (!rc)
        rc = look_at_server(lock, err);
    if (!rc)
        rc = bound_silence(lock, err);
    if (rc)
        return rc;
    lock->pid = PQbackendPID(lock->conn);
    *ret_lock = TAKE(lock);
    return 0;
}

struct pg_advisory *pg_advisory_free(struct pg_advisory *lock)
{
    if (!lock)
        return NULL;
    PQfinish(lock->conn);
    pthread_mutex_destroy(&lock->mutex);
    free(lock);
    return NULL;
}

bool pg_advisory_is_standby(const struct pg_advisory *lock)
{
    return lock->is_standby;
}

const char *pg_advisory_identity(const struct pg_advisory *lock)
{
    return lock->identity;
}

bool pg_advisory_is_silent(const struct pg_advisory *lock)
{
    return lock->is_silent;
}

/* -- the lock ------------------------------------------------------------------------------ */

/* How pg_locks shows a lock of one 64-bit key: its halves, and 1 behind them. */
#define OF_THIS_KEY                                                                               \
    "l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.database = (select oid from " \
    "pg_catalog.pg_database where datname = pg_catalog.current_database()) and "                  \
    "l.classid::int8 = %lld and l.objid::int8 = %lld"

static long long high(const struct pg_advisory *lock)
{
    return (long long)((uint64_t)lock->key >> 32);
}

static long long low(const struct pg_advisory *lock)
{
    return (long long)((uint64_t)lock->key & UINT32_MAX);
}

static int find_holder(struct pg_advisory *lock, char holder[PG_ADVISORY_NAME_MAX],
                       struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    char sql[SQL_MAX];
    snprintf(sql, sizeof(sql),
             "select pg_catalog.max(a.application_name) from pg_catalog.pg_locks l join "
             "pg_catalog.pg_stat_activity a using (pid) where " OF_THIS_KEY,
             high(lock), low(lock));
    int rc = ask(lock, sql, &result, err);
    if (!rc)
        snprintf(holder, PG_ADVISORY_NAME_MAX, "%s", pg_text(result, 0, 0));
    return rc;
}

int pg_advisory_try(struct pg_advisory *lock, bool *ret_taken, char holder[PG_ADVISORY_NAME_MAX],
                    struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    char sql[SQL_MAX];
    snprintf(sql, sizeof(sql), "select pg_catalog.pg_try_advisory_lock(%lld)",
             (long long)lock->key);
    pthread_mutex_lock(&lock->mutex);
    int rc = ask(lock, sql, &result, err);
    if (!rc)
        lock->is_held = pg_boolean(result, 0, 0);
    if (!rc && !lock->is_held && holder)
        rc = find_holder(lock, holder, err);
    if (!rc)
        *ret_taken = lock->is_held;
    pthread_mutex_unlock(&lock->mutex);
    return rc;
}

/* A session that lives has its locks: that it is the same one is all a beat needs to see. */
int pg_advisory_beat(struct pg_advisory *lock, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    pthread_mutex_lock(&lock->mutex);
    int rc = ask(lock, "select pg_catalog.pg_backend_pid()", &result, err);
    if (!rc && pg_integer(result, 0, 0) != lock->pid) {
        error_set(&lock->loss, ERR_CONNECTION, "another session answers than the one that began");
        rc = give_up(lock, ERR_CONNECTION, err);
    }
    pthread_mutex_unlock(&lock->mutex);
    return rc;
}

int pg_advisory_check(struct pg_advisory *lock, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    char sql[SQL_MAX];
    snprintf(sql, sizeof(sql),
             "select pg_catalog.count(*) from pg_catalog.pg_locks l "
             "where l.pid = pg_catalog.pg_backend_pid() and l.pid = %d and " OF_THIS_KEY,
             lock->pid, high(lock), low(lock));
    pthread_mutex_lock(&lock->mutex);
    int rc = ask(lock, sql, &result, err);
    if (!rc && pg_integer(result, 0, 0) < 1) {
        error_set(&lock->loss, ERR_CONFLICT, "the session does not hold the lock any more");
        rc = give_up(lock, ERR_CONFLICT, err);
    }
    pthread_mutex_unlock(&lock->mutex);
    return rc;
}

/* -- a server that is gone ----------------------------------------------------------------- */

static bool is_same_peer(const struct sockaddr_storage *a, socklen_t a_length,
                         const struct sockaddr_storage *b, socklen_t b_length)
{
    return a_length == b_length && memcmp(a, b, a_length) == 0;
}

void pg_advisory_cut_off(struct pg_advisory *lock)
{
    struct sockaddr_storage server = {0};
    socklen_t length = sizeof(server);
    struct rlimit limit = {.rlim_cur = DESCRIPTORS_MAX};
    if (getpeername(PQsocket(lock->conn), (struct sockaddr *)&server, &length) != 0 ||
        (server.ss_family != AF_INET && server.ss_family != AF_INET6))
        return;
    getrlimit(RLIMIT_NOFILE, &limit);
    int end = limit.rlim_cur < DESCRIPTORS_MAX ? (int)limit.rlim_cur : DESCRIPTORS_MAX;
    for (int fd = 0; fd < end; fd++) {
        struct sockaddr_storage peer = {0};
        socklen_t peer_length = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &peer_length) == 0 &&
            is_same_peer(&server, length, &peer, peer_length))
            shutdown(fd, SHUT_RDWR);
    }
}
