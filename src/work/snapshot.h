/*
 * The parts of a snapshot, shared by the files of its story and by nothing else:
 *
 *     snapshot.c          the run: what the server is, BASE_BACKUP, the manifest (snapshot_run)
 *     snapshot_receive.c  what BASE_BACKUP sends becomes volumes
 *     snapshot_script.c   restore.sh, which restores without pgcairn
 *
 * One session reads (and one more asks for settings before); compression runs in zstd's own
 * threads. Nothing is staged on disk. Memory: a volume being written, about 10 MB a thread.
 */
#ifndef PGCAIRN_WORK_SNAPSHOT_H
#define PGCAIRN_WORK_SNAPSHOT_H

#include <jansson.h>
#include <stdatomic.h>

#include "pack/cut.h"
#include "postgres/base_backup.h"
#include "postgres/server.h"
#include "work/crew.h"
#include "work/making.h"

enum {
    SNAPSHOT_VOLUME_BYTES = 512 << 20, /* plain bytes after which a volume ends with its file */
    SNAPSHOT_THREADS_MAX = 32,         /* of zstd */
    SNAPSHOT_WARNINGS_MAX = 20,        /* of the server's, kept in the manifest */
};

struct snapshot {
    const struct work *work;
    struct store *store;
    char *conninfo; /* secret */
    char application[64];
    struct making making;
    struct volume_options options;
    struct rate rate;
    struct pg_server server;
    struct pg_system system;
    int64_t clock_offset_us; /* the server's clock is so much ahead of ours */
    PGconn *conn;            /* the replication session */
    struct pg_abort abort;
    struct crew *crew;
    /* Filled by the receiving thread, read by others once it has ended. */
    uint64_t start_lsn;
    uint32_t start_timeline;
    struct base_backup_end end;
    struct cutter *cutter;   /* of the tablespace that comes */
    struct volume *manifest; /* the server's own */
    json_t *objects;         /* of the manifest: name, size, sha256, plain_bytes */
    json_t *tablespaces;     /* oid, location, volumes */
    json_t *notices;
    size_t warnings;
    int64_t bytes_stored;
    atomic_llong bytes_done, bytes_total;
};

/* snapshot_receive.c: a crew function; the whole of BASE_BACKUP. */
int snapshot_receive(void *snapshot, struct error *err);
int snapshot_add_object(struct snapshot *snapshot, const char *name,
                        const struct store_object *object, int64_t plain_bytes, struct error *err);
void snapshot_notice(struct snapshot *snapshot, const char *format, ...) _printf_(2, 3);

/* snapshot_script.c: writes restore.sh and adds it to the objects. */
int snapshot_write_script(struct snapshot *snapshot, struct error *err);

#endif
