/*
 * PostgreSQL's own programs (pg_dump, pg_restore, pg_dumpall): found by the server's major version.
 * A pg_dump older than the server refuses to work, so one of the server's major version or newer is
 * needed; the oldest such one is taken, because what a newer pg_dump writes may not load into an
 * older server.
 */
#ifndef PGCAIRN_POSTGRES_PROGRAMS_H
#define PGCAIRN_POSTGRES_PROGRAMS_H

#include "base/error.h"

struct pg_programs {
    char *folder; /* where pg_dump, pg_restore and pg_dumpall are */
    int major;    /* their version */
};

/* bindir: "auto" (Debian's /usr/lib/postgresql/N/bin, Red Hat's /usr/pgsql-N/bin, then the PATH),
 * or a folder. ERR_FAILED with the package to install when none is new enough. */
int pg_find_programs(const char *bindir, int server_major, struct pg_programs *ret_programs,
                     struct error *err);
/* The folder with postgres and initdb of that major version, or when !exact of the oldest that is
 * not older: in bindir, else as above. ERR_FAILED with the package to install. */
int pg_find_server_programs(const char *bindir, int major, bool exact,
                            struct pg_programs *ret_programs, struct error *err);
void pg_programs_clear(struct pg_programs *programs);

#endif
