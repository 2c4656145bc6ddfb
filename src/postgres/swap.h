/*
 * Putting one database in another's place under its name, in one transaction: either both have
 * their new names or neither has.
 *
 *     struct pg_swap swap = {.name = "app", .replacement = "app_restored", .keep_as =
 * "app_broken"}; pg_swap_databases(conninfo, &swap, err);
 *
 * Nothing is dropped. The server renames a database only while nobody is connected to it and while
 * it holds no prepared transaction; it waits a few seconds for that with new sessions kept out.
 * With `terminate` the sessions that are there are ended meanwhile, again and again, so that a pool
 * that connects anew is not in the way; without it they are ERR_BUSY, and nothing has changed.
 */
#ifndef PGCAIRN_POSTGRES_SWAP_H
#define PGCAIRN_POSTGRES_SWAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct pg_swap {
    const char *name;        /* of the database that is replaced */
    const char *replacement; /* what is renamed to it */
    const char *keep_as;     /* what the replaced one is renamed to */
    int64_t oid;             /* of the replaced one: another database under its name is refused */
    bool terminate;
};

/* A database that is gone is no hindrance: its name is free. ERR_UNKNOWN: the connection was lost,
 * and the server does not tell any more what became of it. */
int pg_swap_databases(const char *conninfo, const struct pg_swap *swap, struct error *err);

#endif
