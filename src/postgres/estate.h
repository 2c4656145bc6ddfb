/*
 * What an audit asks of a server beyond a diagnosis: who we are there, what the server is set to,
 * and every database with its age and collation, left out by nobody's choice.
 *
 *     pg_read_estate(conn, &estate, err);       the caller releases it
 *
 * {"role","is_superuser","may_create_roles","has_checksums","freeze_max_age",
 *  "databases":[{"name","accepts_connections","is_template","has_old_collation","xid_age",
 *                "mxid_age"}]}, ordered by name.
 */
#ifndef PGCAIRN_POSTGRES_ESTATE_H
#define PGCAIRN_POSTGRES_ESTATE_H

#include <jansson.h>

#include "postgres/connection.h"

int pg_read_estate(PGconn *conn, json_t **ret_estate, struct error *err);

#endif
