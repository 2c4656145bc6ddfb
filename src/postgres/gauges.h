/*
 * The numbers of a server that change by the minute: every database with its size and ages, and
 * how many of the connections are taken. One short query each, no lock is waited for.
 *
 *     pg_read_gauges(conn, &gauges, err);       the caller releases it
 *
 * {"connections":{"used","limit","reserved"}, "databases":[{"name","bytes","xid_age","mxid_age"}]};
 * bytes is null where we may not know.
 */
#ifndef PGCAIRN_POSTGRES_GAUGES_H
#define PGCAIRN_POSTGRES_GAUGES_H

#include <jansson.h>

#include "postgres/connection.h"

int pg_read_gauges(PGconn *conn, json_t **ret_gauges, struct error *err);

#endif
