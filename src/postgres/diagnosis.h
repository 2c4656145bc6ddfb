/*
 * Why a VACUUM does not help, and what else a server's keeper wants to know: each finding with who
 * causes it and a command that ends it.
 *
 *     pg_diagnose_server(conn, own_application, report, unknown, err);    once per server
 *     pg_diagnose_database(conn, report, unknown, err);                   in each database
 *
 * Each adds arrays of objects to `report`, one object per row. Server: databases, connections,
 * settings, blockers, idle_in_transaction, slots. Database: largest_tables, invalid_indexes,
 * sequences, autovacuum_disabled, slow_statements. What can't be read (a missing privilege, a
 * locked catalogue, an extension that is not loaded) is a sentence in the array `unknown` and no
 * error: not knowing is told, never silent. Errors: ERR_CONNECTION, ERR_MEMORY.
 *
 * Lists are bounded by PG_DIAGNOSIS_ROWS. Statements and names are cut to be read, and statements
 * that speak of passwords are left out.
 */
#ifndef PGCAIRN_POSTGRES_DIAGNOSIS_H
#define PGCAIRN_POSTGRES_DIAGNOSIS_H

#include <jansson.h>

#include "postgres/connection.h"

enum { PG_DIAGNOSIS_ROWS = 20 };

/* Sessions with that application_name are our own and hold nothing up for long. */
int pg_diagnose_server(PGconn *conn, const char *own_application, json_t *report, json_t *unknown,
                       struct error *err);
int pg_diagnose_database(PGconn *conn, json_t *report, json_t *unknown, struct error *err);

/* The rows of a result as objects with the columns' names: booleans, numbers and texts by the
 * column's type, null for NULL, bytes that are not UTF-8 as "?". A new reference; NULL without
 * memory. */
json_t *pg_rows_to_json(const PGresult *result);
/* A JSON string of any text, bytes that are not UTF-8 as "?". */
json_t *pg_text_to_json(const char *text);

#endif
