/*
 * A scratch server: PostgreSQL on a data directory of its own, on a private socket without TCP,
 * which nothing outside hears of: it archives nothing, replicates nothing, subscribes to nothing,
 * libraries that run jobs by themselves (pg_cron and its like) are not loaded, and those that are
 * get no process to run any in. Triggers do not fire, unless they are to fire always.
 *
 *     pg_find_server_programs(bindir, 15, true, &programs, err);   programs.h
 *     pg_scratch_make_data(programs, data, err);             or a data directory that was restored
 *     pg_scratch_start(&options, &server, err);
 *     while (!rc && !ready)
 *         rc = pg_scratch_poll(server, &ready, err);         an error when it has ended
 *     conninfo = pg_scratch_conninfo(server);         everybody is trusted; it names no user
 *     pg_scratch_stop(server);                        at once; what it wrote is not wanted
 *
 * What its data directory says in postgresql.auto.conf is read (recovery settings are there), but
 * no setting there can open it to the world: what matters is given on the command line, which wins.
 * Its postgresql.conf is one of our own, for that of the cluster may lie elsewhere or ask for more
 * memory than there is. The kernel ends the server when the thread that started it is gone.
 *
 * PostgreSQL refuses to run as root, and so does this. One thread at a time.
 */
#ifndef PGCAIRN_POSTGRES_SCRATCH_H
#define PGCAIRN_POSTGRES_SCRATCH_H

#include "base/buf.h"
#include "base/error.h"
#include "base/strv.h"

enum {
    PG_SCRATCH_FOLDER_MAX = 90, /* bytes: a socket's path has 107, and its name takes 14 */
    PG_SCRATCH_LOG_MAX = 256 << 10,
};

struct pg_scratch;

struct pg_scratch_options {
    const char *programs; /* the folder of postgres */
    int major;            /* its version */
    const char *folder;   /* absolute, the user's own: gets the settings, the log and the socket */
    const char *data;     /* the data directory */
    const char
        *preload; /* shared_preload_libraries, as pg_scratch_preload() leaves it; may be "" */
    const struct strv *settings; /* further NAME=VALUE; may be NULL */
    const char *env;             /* NAME=VALUE for what the server starts; may be NULL */
};

/* ERR_FAILED for root, with the cure. */
int pg_scratch_check_user(struct error *err);

/* ERR_USAGE when no server could have its socket in the folder, for its path is too long or holds
 * what divides a list of folders. */
int pg_scratch_check_folder(const char *folder, struct error *err);

/* What of shared_preload_libraries a scratch server loads: libraries that are here and do nothing
 * by themselves. What is left out is added to `left_out`. The caller frees. */
int pg_scratch_preload(const char *programs, const char *libraries, char **ret_libraries,
                       struct strv *left_out, struct error *err);

/* initdb: UTF8, locale C, superuser postgres. */
int pg_scratch_make_data(const char *programs, const char *data, struct error *err);

int pg_scratch_start(const struct pg_scratch_options *options, struct pg_scratch **ret_server,
                     struct error *err);

/* Whether it takes connections; during recovery it does not. ERR_FAILED with its own last words
 * when it has ended; ERR_NO_SPACE, ERR_MEMORY when it was for want of that. Does not wait. */
int pg_scratch_poll(struct pg_scratch *server, bool *ret_ready, struct error *err);

/* Borrowed. Without a user. Whatever PGHOSTADDR and its like say, it leads nowhere else. */
const char *pg_scratch_conninfo(const struct pg_scratch *server);

/* The end of what it has logged, PG_SCRATCH_LOG_MAX bytes at most. */
int pg_scratch_log(const struct pg_scratch *server, struct buf *text, struct error *err);

struct pg_scratch *pg_scratch_stop(struct pg_scratch *server);

static inline void pg_scratch_stopp(struct pg_scratch **server)
{
    pg_scratch_stop(*server);
}

#endif
