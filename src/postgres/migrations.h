/*
 * Which migration a database stands at, as the tools that migrate it have written it down: drizzle,
 * alembic, prisma, flyway, django, rails, knex, node-pg-migrate, and tables that are called
 * "migrations".
 */
#ifndef PGCAIRN_POSTGRES_MIGRATIONS_H
#define PGCAIRN_POSTGRES_MIGRATIONS_H

#include <jansson.h>

#include "postgres/connection.h"

/* {"tool", "table", "stamp", "applied_at"} of the newest one, or null when there is no such table
 * or it is empty. Within a transaction, which stays usable. A new reference. */
int pg_read_migration(PGconn *conn, json_t **ret_stamp, struct error *err);

#endif
