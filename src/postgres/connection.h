/*
 * Connections to PostgreSQL 13 to 18 over libpq, with the settings of a dependable session.
 *
 *     pg_connect(conninfo, database, application, &conn, err);
 *     pg_query(conn, &result, err, "select 1 where 2 = $1", "2", NULL);   text parameters, NULL
 * ends pg_execute(conn, err, "lock table %s in access share mode", quoted); no rows wanted
 *
 * Errors carry the server's own primary message; the class decides the code: ERR_CONNECTION (08,
 * 57P, a lost socket), ERR_AUTH (28), ERR_PERMISSION (42501), ERR_CONFLICT (lock timeout 55P03,
 * deadlock 40P01, serialization 40001, query cancelled 57014), ERR_NO_SPACE (53100), ERR_SQL for
 * the rest. Secrets of the conninfo never reach a message. A PGconn belongs to one thread at a
 * time; only pg_cancel() may be used from others.
 *
 * Every session has: client_encoding UTF8 (rows are copied with ENCODING of the database, so that
 * they are not converted; see pg_add_copy_options), DateStyle ISO, IntervalStyle postgres,
 * extra_float_digits 3, search_path '', row_security off, xmloption content, lc_monetary C (money
 * is read as it was written, whatever the servers' locales), array_nulls on, jit off,
 * max_parallel_workers_per_gather 0, synchronize_seqscans off, all timeouts 0 (pg_dump's session,
 * PostgreSQL src/bin/pg_dump/pg_dump.c setup_connection, and more). They are set by statements, not
 * by startup options, which poolers refuse.
 */
#ifndef PGCAIRN_POSTGRES_CONNECTION_H
#define PGCAIRN_POSTGRES_CONNECTION_H

#include <libpq-fe.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/strv.h"

enum { PG_CONNECT_TIMEOUT_SECONDS = 15, PG_VERSION_MIN = 130000 };

static inline void pg_result_freep(PGresult **result)
{
    PQclear(*result);
}

static inline void pg_conn_freep(PGconn **conn)
{
    PQfinish(*conn);
}

static inline void pg_string_freep(char **text)
{
    PQfreemem(*text);
}

/* database NULL: the one of the conninfo. application: seen in pg_stat_activity. */
int pg_connect(const char *conninfo, const char *database, const char *application,
               PGconn **ret_conn, struct error *err);

/* The error of a connection that was not made. */
int pg_connect_error(PGconn *conn, struct error *err);

/* To the database "postgres", where one looks at what all databases share and makes others: the one
 * that the conninfo names may be what was lost, and names in shared catalogues are in the encoding
 * of this one. Where that is closed to us, to the one that is named. */
int pg_connect_maintenance(const char *conninfo, const char *application, PGconn **ret_conn,
                           struct error *err);

/* Checks that this is a session of its own and not a pooler's: the process id the
 * protocol told must be the one the server tells. ERR_FAILED with the cure when a pooler is seen.
 */
int pg_refuse_pooler(PGconn *conn, struct error *err);

/*
 * Statements may last; what asks whether to go on is set once for the process. It is called every
 * 200 ms while a statement of pg_query() and its like runs, in that thread: an error code other
 * than 0, with err filled, cancels the statement and is what the call returns. A thread that cleans
 * up after an interrupt holds it off for its own statements.
 */
typedef int (*pg_interrupt)(struct error *err);
void pg_set_interrupt(pg_interrupt question);
void pg_hold_interrupts(bool hold);

/* PQcancel() and its like go through here, so that nobody waits for a server that is known not to
 * answer: once that is told, for the rest of the process, it does nothing. */
void pg_cancel(PGcancel *cancel);
void pg_forbid_cancels(void);

/* Parameters are texts, ended by NULL; result rows are text. */
int pg_query(PGconn *conn, PGresult **ret_result, struct error *err, const char *sql, ...);
int pg_execute(PGconn *conn, struct error *err, const char *format, ...) _printf_(3, 4);

/* One value of the first row; ERR_NOT_FOUND without a row. The caller frees *ret_text; NULL for SQL
 * NULL. */
int pg_query_text(PGconn *conn, char **ret_text, struct error *err, const char *sql);
int pg_query_integer(PGconn *conn, int64_t *ret_number, struct error *err, const char *sql);

/* The error of a failed result, or of the connection when result is NULL. */
int pg_error(PGconn *conn, const PGresult *result, struct error *err);
bool pg_state_is(const PGresult *result, const char *sqlstate);

/* Appends "schema"."name" or "name", quoted always. */
int pg_add_identifier(struct buf *sql, const char *name);
int pg_add_qualified(struct buf *sql, const char *schema, const char *name);
/* Appends a literal for standard_conforming_strings on: 'it''s' (E'' when it has a backslash). */
int pg_add_literal(struct buf *sql, const char *text);

/* What a COPY statement ends with so that rows keep the database's encoding: "" or
 * " WITH (ENCODING 'LATIN1')". */
int pg_add_copy_options(struct buf *sql, const char *encoding);

/* An option of a program of PostgreSQL's, as in --dbname=dbname='it\'s': so given, a database's
 * name is never taken for a connection string. The caller frees. */
int pg_database_option(const char *name, const char *database, char **ret_option,
                       struct error *err);

/* libpq's environment variables (PGHOST, PGPASSWORD, ...) for programs of PostgreSQL, so that no
 * secret is in their argv; database, when given, as PGDATABASE. */
int pg_environment(PGconn *conn, const char *database, struct strv *env, struct error *err);

/* Booleans come as 't' and 'f'; numbers as decimal text that the server wrote. */
int64_t pg_integer(const PGresult *result, int row, int column);
bool pg_boolean(const PGresult *result, int row, int column);
const char *pg_text(const PGresult *result, int row, int column);

#endif
