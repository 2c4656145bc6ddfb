/*
 * BASE_BACKUP over a replication connection, in both shapes of the protocol (PostgreSQL's chapter
 * "Streaming Replication Protocol"): 13 and 14 send one COPY per tablespace and one for the
 * manifest, 15 and newer one COPY whose messages say what they are. CHECKPOINT fast, the WAL that
 * makes the backup consistent included, not waiting for the archiver, a manifest with CRC-32C.
 *
 *     pg_connect_replication(...); pg_create_temporary_slot(...);
 *     pg_base_backup(conn, "pgcairn demo/weekly", &receiver, context, &end, err);
 *
 * Calls of the receiver, in this order, all from the calling thread: started; for each tablespace
 * archive_begin, archive_data*, archive_end; manifest_data*. A non-zero return ends the backup and
 * is returned; the connection is then good for PQfinish() only. The archives are tar without the
 * two blocks of zeros at the end (or with them: a reader takes both).
 *
 * Blocks until the server has sent everything; pg_abort() frees it. Memory: one message, which
 * servers keep below 64 KiB.
 *
 * Errors: those of connection.h; ERR_CONFLICT, worth another try, when WAL that the backup needs
 * was removed or a standby was promoted meanwhile.
 */
#ifndef PGCAIRN_POSTGRES_BASE_BACKUP_H
#define PGCAIRN_POSTGRES_BASE_BACKUP_H

#include "postgres/replication.h"

enum { BASE_BACKUP_TABLESPACES_MAX = 10000 };

struct base_backup_tablespace {
    uint32_t oid;   /* 0: the data directory itself */
    char *location; /* "" for the data directory */
    int64_t bytes;  /* as the server estimates it */
};

struct base_backup_start {
    uint64_t lsn;
    uint32_t timeline;
    struct base_backup_tablespace *tablespaces;
    size_t tablespace_count;
};

struct base_backup_end {
    uint64_t lsn;
    uint32_t timeline;
    bool checksums_failed; /* blocks with a wrong checksum: the warnings say which */
};

struct base_backup_receiver {
    int (*started)(const struct base_backup_start *start, void *context, struct error *err);
    int (*archive_begin)(const struct base_backup_tablespace *tablespace, void *context,
                         struct error *err);
    int (*archive_data)(const void *data, size_t length, void *context, struct error *err);
    int (*archive_end)(void *context, struct error *err);
    int (*manifest_data)(const void *data, size_t length, void *context, struct error *err);
    void (*warning)(const char *text, void *context); /* of the server, while it reads */
};

int pg_base_backup(PGconn *conn, const char *label, const struct base_backup_receiver *receiver,
                   void *context, struct base_backup_end *ret_end, struct error *err);

#endif
