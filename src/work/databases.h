/*
 * The databases of a server that a policy chooses: those that accept connections and are no
 * templates, by the globs of databases: (fnmatch(3)); without any, all of them.
 *
 *     work_list_databases(policy, conn, &databases, err);
 *     work_databases_clear(&databases);
 *
 * One that an interrupted DROP DATABASE left invalid (datconnlimit -2) lets nobody in and is passed
 * over.
 *
 * A glob that matches nothing is ERR_NOT_FOUND: it is a mistake or a loss, and neither must pass in
 * silence. A server without any such database is ERR_FAILED.
 */
#ifndef PGCAIRN_WORK_DATABASES_H
#define PGCAIRN_WORK_DATABASES_H

#include <stdint.h>

#include "policy/policy.h"
#include "postgres/connection.h"

struct work_database {
    char *name;
    uint32_t oid;
};

struct work_databases {
    struct work_database *items; /* ordered by name */
    size_t count;
};

int work_list_databases(const struct policy *policy, PGconn *conn,
                        struct work_databases *ret_databases, struct error *err);
void work_databases_clear(struct work_databases *databases);

#endif
