/*
 * The parts of a vacuum run, shared by the files of its story and by nothing else:
 *
 *     vacuum.c          the run: plan, workers, verdict                        (vacuum_run)
 *     vacuum_plan.c     which databases and tables, in which order
 *     vacuum_table.c    a worker: one table after the other, and the proof of each
 *     vacuum_watch.c    who waits behind us, whom we wait for, who dumps
 *     vacuum_verdict.c  whether the run succeeded, in words
 *     vacuum_details.c  the report as JSON; vacuum_report.h prints it
 *     vacuum_urgency.h  what a table needs, pure
 *
 * A table fails alone: the others go on, and all failures are named at the end. Tables wait with
 * lock_timeout and not with SKIP_LOCKED, for an error can be told from success and a skipped table
 * can't. A table that is locked, or that others wait for behind us, is tried once more at the end.
 *
 * Memory: a few hundred bytes for each table that needs something.
 */
#ifndef PGCAIRN_WORK_VACUUM_H
#define PGCAIRN_WORK_VACUUM_H

#include <jansson.h>
#include <pthread.h>

#include "work/crew.h"
#include "work/vacuum_urgency.h"
#include "work/work.h"

enum {
    VACUUM_ATTEMPTS = 2,          /* of one table, when locks were in the way */
    VACUUM_WATCH_CONNECTIONS = 1, /* beside the workers */
    VACUUM_REPORT_TABLES = 1000,  /* done tables in the report; failed ones are all in it */
    VACUUM_NAMED_FAILURES = 5,    /* in the error message */
    VACUUM_BLOCKER_MAX = 256,     /* bytes of words on who is in the way */
    VACUUM_STUCK_PART = 4,        /* if more than one in so many dead rows stays, they are held */
    VACUUM_COST_DELAY_MS = 2,     /* as autovacuum does; a manual VACUUM has no brake */
    VACUUM_COST_LIMIT = 400,      /* of all workers together */
};

enum vacuum_outcome {
    VACUUM_PENDING,
    VACUUM_RUNNING,
    VACUUM_DONE,
    VACUUM_FAILED,
    VACUUM_LEFT,    /* for the next run: the budget ended, or the run was stopped */
    VACUUM_SKIPPED, /* there was nothing for us to do any more */
    VACUUM_OUTCOME_COUNT,
};

struct vacuum_database {
    char *name;
    size_t table_count;    /* looked at */
    bool is_dumped;        /* guarded by the mutex: somebody holds a dump's snapshot in it */
    bool was_dumped;       /* a notice was given */
    struct error *failure; /* it could not be read; NULL when it could */
};

struct vacuum_item {
    struct pg_candidate table;
    struct urgency urgency;
    size_t database; /* index */
    bool is_chosen;
    enum vacuum_outcome outcome; /* guarded by the mutex */
    int attempts;
    int code; /* of the failure */
    char *note;
    struct pg_measure before, after;
    bool is_looked_at; /* before is set, by the first attempt */
    bool is_measured;  /* after is set too */
    int64_t duration_us;
};

struct vacuum_worker {
    struct vacuum *vacuum;
    PGconn *conn; /* NULL before the first table */
    size_t database;
    bool is_counted;    /* its counters show a VACUUM at once */
    int64_t started_us; /* monotonic, of the table */
    /* Of the statement that runs. */
    bool was_informed; /* the server told what it does: it did not skip the table */
    char warning[VACUUM_BLOCKER_MAX];
    /* Guarded by the mutex. */
    struct vacuum_item *item; /* NULL between tables */
    PGcancel *cancel;
    int pid;
    bool runs_statement;
    bool gave_way;
    int64_t blocking_since_us; /* monotonic; 0: nobody waits behind us */
    char blocker[VACUUM_BLOCKER_MAX];
};

struct vacuum {
    const struct work *work;
    char *conninfo;       /* secret */
    char application[64]; /* application_name of every session of this run */
    PGconn *watcher;      /* NULL while the connection is lost */
    int server_version;
    bool feeds_standby;
    int64_t deadline_us; /* monotonic; 0: no budget */
    struct vacuum_database *databases;
    size_t database_count;
    struct vacuum_item *items; /* in order of urgency */
    size_t item_count, items_allocated;
    bool has_shared;       /* the catalogues that databases share were looked at */
    struct strv unmatched; /* patterns of tables: that no table matches */
    struct vacuum_worker workers[POLICY_CONNECTIONS_MAX];
    int worker_count;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t first_pending, finished;
    bool stopped;
};

/* vacuum_plan.c: fills databases and items. */
int vacuum_plan(struct vacuum *vacuum, struct error *err);
int vacuum_connect(struct vacuum *vacuum, const char *database, PGconn **ret_conn,
                   struct error *err);

/* vacuum_table.c: a crew function; takes tables until there are none, or no time. */
int vacuum_work(void *worker, struct error *err);
/* How often a lock's waiters are looked at. */
int64_t vacuum_tick_us(const struct vacuum *vacuum);

/* vacuum_watch.c: one look, and what follows from it. */
void vacuum_watch(struct vacuum *vacuum);

/* vacuum_verdict.c: 0, or an error that names what failed; notices for what was left. */
int vacuum_verdict(struct vacuum *vacuum, struct error *err);

/* vacuum_details.c: what the run did, and the diagnosis; a new reference. */
int vacuum_details(struct vacuum *vacuum, json_t **ret_details, struct error *err);

#endif
