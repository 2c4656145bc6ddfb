/*
 * Restoring a dump, whole or by table: what the files of the story share, and its face.
 *
 *     restore.c           the story: choose, check everything first, then do it      (restore_dump)
 *     restore_plan.c      what would be done, and whether the target allows it
 *     restore_database.c  one database, from CREATE DATABASE to row counts
 *     restore_rows.c      the workers: volumes into COPY
 *     restore_toc.c       pg_restore's table of contents: which entries belong to which tables
 *     restore_globals.c   missing roles from globals.sql; differences of those that exist
 *
 * A database that is made anew is filled under a name of its own (RESTORE_PREFIX and four
 * characters) and renamed at the end, so that under its real name it is whole or absent.
 *
 * Nothing is staged on disk but schema.pgdump (mode 0600, removed at the end). Memory as for a
 * dump.
 */
#ifndef PGCAIRN_WORK_RESTORE_H
#define PGCAIRN_WORK_RESTORE_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/child.h"
#include "pack/volume.h"
#include "postgres/connection.h"
#include "postgres/programs.h"
#include "work/crew.h"
#include "work/work.h"

#define RESTORE_PREFIX "pgcairn_restore_"

enum { RESTORE_JOBS_DEFAULT = 4, RESTORE_LIST_MAX = 2000000 };

struct restore_request {
    const struct policy *policy;
    struct repository *repository;
    const char *backup;        /* an id, or "latest" */
    const char *database;      /* NULL = all of the backup */
    const char *into;          /* NULL = under its own name */
    const char *target;        /* connection string; NULL = the policy's */
    const struct strv *tables; /* psql patterns; empty = whole databases */
    bool no_owner, no_privileges, no_tablespaces;
    const char *role;  /* SET ROLE; NULL = none */
    bool create_roles; /* those that are missing */
    bool no_analyze, no_counts;
    int jobs;
    bool dry_run;
    work_progress_function progress;
    work_notice_function notice;
    void *context;
};

/* Restores, or with dry_run only checks. *ret_report is the plan and, after a restore, what was
 * done; it is set on success only. */
int restore_dump(const struct restore_request *request, json_t **ret_report, struct error *err);

/* ---- shared by the files of the story ---- */

struct restore {
    const struct restore_request *request;
    struct store *store;
    json_t *manifest;
    char id[40];
    char *conninfo; /* of the target: secret */
    char application[64];
    PGconn *conn; /* to the target's maintenance database */
    int server_version;
    struct pg_programs programs;
    json_t *report; /* list of databases with what is planned and done */
};

/* A table whose rows are restored. */
struct restore_table {
    uint32_t oid;
    const json_t *entry; /* of the manifest, borrowed */
    char *root;          /* quoted; NULL: rows go where the manifest says */
    atomic_llong rows;   /* loaded so far */
};

struct restore_volume {
    const json_t *object; /* of the manifest, borrowed */
    int64_t size;
};

struct restore_database {
    struct restore *restore;
    const json_t *entry;    /* of the manifest, borrowed */
    const char *name;       /* in the backup */
    const char *final_name; /* in the target */
    char work_name[64];     /* the name while it is being filled */
    bool exists;            /* the target database is there already */
    char *schema_path;      /* schema.pgdump on disk */
    char *list_path;        /* for pg_restore -L; NULL for whole databases */
    struct strv sequences;  /* how their statements begin; with --table only */
    PGconn *conn;
    struct restore_table *tables; /* ordered by OID */
    size_t table_count;
    struct restore_volume *volumes; /* largest first */
    size_t volume_count;
    atomic_size_t next_volume;
    atomic_llong bytes_done;
    int64_t bytes_total;
    struct crew *crew;
    json_t *report;
};

/* restore.c */
int restore_find_manifest(struct restore *restore, struct error *err);
int restore_choose_entries(struct restore *restore, json_t **ret_entries, struct error *err);
int restore_init_database(struct restore *restore, const json_t *entry,
                          struct restore_database *database, struct error *err);
void restore_clear(struct restore *restore);

/* restore_plan.c */
int restore_open(struct restore *restore, struct error *err); /* target, versions, programs */
int restore_plan_database(struct restore_database *database, struct error *err);

/* restore_database.c */
int restore_one_database(struct restore_database *database, struct error *err);
int restore_fetch_schema(struct restore_database *database, struct error *err);
void restore_database_clear(struct restore_database *database);
/* Opens an object of the backup, to be compared with the manifest once it is read; hands all of it
 * to a descriptor. */
int restore_open_object(struct restore *restore, const char *name, enum volume_kind kind,
                        struct volume_reader **ret_reader, struct error *err);
int restore_copy_object(struct volume_reader *reader, int fd, const char *path, struct error *err);

/* restore_rows.c */
int restore_choose_rows(struct restore_database *database, const uint32_t *oids, size_t count,
                        bool all, struct error *err);
/* With --table, once the tables are there: rows of a partition whose topmost root was not chosen go
 * into what is topmost now. */
int restore_find_roots(struct restore_database *database, struct error *err);
int restore_rows(struct restore_database *database, struct error *err);
struct restore_table *restore_find_table(const struct restore_database *database, uint32_t oid);
void restore_add_copy(const struct restore_database *database, const struct restore_table *table,
                      struct buf *sql);
int restore_check_rows(struct restore_database *database, struct error *err);

/* restore_toc.c: chooses what --table picks: list file, sequences, rows; ERR_NOT_FOUND when a
 * pattern matches nothing, ERR_EXISTS when the target has such a table. */
int restore_choose_tables(struct restore_database *database, struct error *err);

/* restore_globals.c */
int restore_roles(struct restore *restore, json_t **ret_report, struct error *err);

/* Runs pg_restore on the database's schema.pgdump, or with input on what is piped into it. */
int restore_run_program(struct restore_database *database, const char *const *options,
                        struct volume_reader *input, struct buf *output, struct error *err);

/* Feeds a pg_restore that was started with a pipe, gathers what it writes if `output` is given, and
 * waits for it. ERR_CHILD with its last words when it failed. */
int restore_drive(struct child *child, struct volume_reader *input, struct buf *output,
                  struct error *err);

void restore_notice(const struct restore *restore, const char *format, ...) _printf_(2, 3);
void restore_progress(const struct restore *restore, const char *phase, int64_t done,
                      int64_t total);

#endif
