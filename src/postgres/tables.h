/*
 * The tables of a database whose rows a dump must hold: the same ones that pg_dump would dump
 * (PostgreSQL src/bin/pg_dump/pg_dump.c: selectDumpableNamespace, selectDumpableTable,
 * processExtensionTables), read in one query under whatever snapshot the connection has.
 *
 * Ordinary tables and partition leaves, no system schemas, members of an extension only where the
 * extension registered them as configuration tables (with its condition). Foreign tables are listed
 * so that their absence can be told; so are unlogged ones, whose rows a standby does not have.
 */
#ifndef PGCAIRN_POSTGRES_TABLES_H
#define PGCAIRN_POSTGRES_TABLES_H

#include <stdint.h>

#include "postgres/connection.h"

enum { PG_TABLES_MAX = 2000000 };

struct pg_table {
    uint32_t oid;
    char *schema, *name;
    char *load_schema, *load_name; /* the topmost root under a hash-partitioned ancestor, else the
                                      same pointers as schema and name */
    char *columns;   /* "\"a\", \"b\"": those that COPY must name; "" when there are none */
    char *condition; /* "WHERE ..." of an extension's configuration table; "" for all rows */
    bool is_foreign, is_unlogged, is_heap;
    bool is_extension_config; /* its extension may have filled it already where it is restored */
    bool can_select;          /* the role may read every column */
    bool is_row_secured;      /* row security would apply to the role: COPY would refuse */
    int64_t bytes;            /* main fork and TOAST */
    int64_t heap_blocks;      /* of the main fork */
    int64_t toast_bytes;
};

struct pg_tables {
    struct pg_table *items; /* ordered by OID */
    size_t count;
};

/* Asking for a table's size takes a lock on it, and waits for one: with_sizes is for a session that
 * has the locks; without, sizes are 0. */
int pg_list_tables(PGconn *conn, bool with_sizes, struct pg_tables *ret_tables, struct error *err);
void pg_tables_clear(struct pg_tables *tables);

/* The first difference in what matters to a dump (OID, names, columns, condition) as words, or NULL
 * when both are the same. Borrowed from a static text or written into `text`. */
const char *pg_tables_difference(const struct pg_tables *a, const struct pg_tables *b, char *text,
                                 size_t size);

#endif
