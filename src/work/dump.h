/*
 * The parts of a dump, shared by the files of its story and by nothing else:
 *
 *     dump.c           the run: preflight, each database, globals, manifest     (dump_run)
 *     dump_database.c  one database: locks, snapshot, schema, rows, sequences
 *     dump_measure.c   rows too big to be read side by side, or at all
 *     dump_rows.c      the workers: COPY into volumes
 *     dump_describe.c  what the manifest says of a database
 *     dump_script.c    restore.sh, which restores without pgcairn
 *     dump_programs.c  pg_dump and pg_dumpall streamed into the store
 *
 * Limits: DUMP_* below. Memory: per worker one segment, libpq's buffer of the largest row and its
 * copy, zstd's window; per table a few hundred bytes.
 */
#ifndef PGCAIRN_WORK_DUMP_H
#define PGCAIRN_WORK_DUMP_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "pack/volume.h"
#include "postgres/programs.h"
#include "postgres/tables.h"
#include "work/crew.h"
#include "work/making.h"
#include "work/work.h"

enum {
    DUMP_SEGMENT_BYTES = 4 << 20,    /* rows of one tar member; a larger row is one by itself */
    DUMP_VOLUME_BYTES = 512 << 20,   /* stored bytes after which a volume ends */
    DUMP_BIG_ROW_BYTES = 64 << 20,   /* a table with such rows is read by one worker at a time */
    DUMP_CHUNK_MIN_BYTES = 32 << 20, /* a ctid range is at least this much of a table */
    DUMP_CHUNK_MAX_BYTES = 512 << 20,
    DUMP_CHUNKS_PER_WORKER = 12, /* so that the last chunks end at about the same time */
    DUMP_ATTEMPTS = 5,           /* of one database, when it gave way or was altered */
    DUMP_WORKER_LOCK_MS = 200,   /* a worker waits so long for a lock, then goes another way */
    DUMP_SPARE_CONNECTIONS = 4,  /* coordinator, watcher, pg_dump twice */
    DUMP_VOLUMES_MAX = 9999,     /* of one database */
};

/* One run, all databases. */
struct dump {
    const struct work *work;
    struct store *store;
    char *conninfo;       /* secret */
    struct making making; /* refreshed while the run lives */
    char application[64]; /* application_name of every session of this run */
    struct pg_programs programs;
    struct volume_options options;
    struct rate rate;
    int workers;
    int server_version; /* as PQserverVersion */
    bool is_standby;
    pthread_mutex_t mutex; /* guards objects, databases and notices */
    json_t *objects;       /* of the manifest: name, size, sha256, plain_bytes */
    json_t *databases;
    json_t *notices; /* of the database being dumped */
    atomic_llong bytes_source, bytes_stored;
};

struct dump_table_state {
    int64_t rows, bytes;
    int *volumes; /* numbers of the volumes it lies in, in order of commit */
    size_t volume_count;
    int segments;
};

/* A piece of work of one COPY: a whole table, or a range of its blocks. */
struct dump_task {
    size_t table;                   /* index */
    int64_t first_block, end_block; /* whole table: 0, -1; last range: end_block -1 */
    bool is_range;
    int64_t bytes; /* estimate, for the order */
};

/* One database, one attempt. */
struct dump_database {
    struct dump *dump;
    const char *name;
    uint32_t oid;
    char folder[16]; /* "16384" */
    char *snapshot;
    PGconn *coordinator, *watcher;
    struct pg_tables tables;
    struct dump_table_state *states; /* one per table; guarded by dump->mutex */
    struct dump_task *tasks;
    size_t task_count;
    atomic_size_t next_task;
    atomic_int volume_count;
    atomic_llong bytes_done;
    int64_t bytes_total;
    struct crew *crew;
    pthread_mutex_t coordinator_mutex; /* held by the worker that reads through the coordinator */
    pthread_mutex_t big_rows; /* held while a table with rows over DUMP_BIG_ROW_BYTES is read */
    bool *has_big_rows;       /* one per table */
    bool has_large_objects;
    int64_t rows;
};

/* dump_database.c: all of one database, retried while it has to give way. */
int dump_one_database(struct dump *dump, const char *name, uint32_t oid, struct error *err);

/* dump_rows.c: splits tables into tasks; runs in each worker thread. */
int dump_plan_tasks(struct dump_database *database, struct error *err);
int dump_rows_worker(void *database, struct error *err);

/* dump_measure.c: which tables have rows over DUMP_BIG_ROW_BYTES; ERR_LIMIT when one is larger than
 * COPY can write. */
int dump_measure(struct dump_database *database, struct error *err);

/* dump_programs.c */
/* Crew functions; both begin with the workers, before anybody can queue for a lock. */
int dump_schema(void *database, struct error *err);
int dump_large_objects(void *database, struct error *err);
int dump_globals(struct dump *dump, json_t **ret_globals, struct error *err);

/* dump_describe.c: the database's entry of the manifest, read through the coordinator; and its
 * sequences.sql. */
int dump_describe(struct dump_database *database, json_t **ret_description, struct error *err);
int dump_sequences(struct dump_database *database, struct error *err);

/* dump_script.c */
int dump_write_script(struct dump *dump, json_t *manifest, struct error *err);

/* Key of an object of this backup; and its entry in the manifest once stored. */
void dump_key(const struct dump *dump, const char *name, char key[STORE_KEY_MAX + 1]);
int dump_add_object(struct dump *dump, const char *name, const struct store_object *object,
                    int64_t plain_bytes, struct error *err);
/* A notice, told at once and kept for the manifest. */
int dump_notice(struct dump *dump, struct error *err, const char *format, ...) _printf_(3, 4);

#endif
