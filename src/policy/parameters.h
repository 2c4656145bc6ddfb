/*
 * The parameters of connection strings, one table: what libpq 15 has, what frameworks and drivers
 * append, and what becomes of each. Sources: PostgreSQL 15, "Parameter Key Words"; the manuals of
 * Prisma, SQLAlchemy, asyncpg, psycopg, Django, Rails, node-postgres, postgres.js, pgJDBC, pgx,
 * lib/pq and Neon.
 */
#ifndef PGCAIRN_POLICY_PARAMETERS_H
#define PGCAIRN_POLICY_PARAMETERS_H

#include <stddef.h>

enum parameter_action {
    PARAMETER_KEEP,   /* libpq's own */
    PARAMETER_RENAME, /* libpq's under another name, given in `other` */
    PARAMETER_SSL,    /* a driver's switch for TLS: becomes sslmode */
    PARAMETER_TARGET, /* pgJDBC's targetServerType: becomes target_session_attrs */
    PARAMETER_DROP,   /* left out; `other` says why it does not matter, or what does */
    PARAMETER_REFUSE, /* an error; `other` says why */
};

struct parameter {
    const char *name;
    enum parameter_action action;
    const char *other;
};

/* NULL when nobody knows the name. */
const struct parameter *parameter_find(const char *name);

/* The nearest name, for "did you mean"; NULL when none is near. */
const char *parameter_suggest(const char *name);

#endif
