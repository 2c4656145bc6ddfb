/*
 * One backup that is verified: what verify_backup.c, verify_dump.c and verify_snapshot.c share.
 * Objects are checked by several threads at once; each object by one.
 */
#ifndef PGCAIRN_WORK_VERIFY_BACKUP_H
#define PGCAIRN_WORK_VERIFY_BACKUP_H

#include "work/restore_manifest.h"
#include "work/verify.h"

/* An object that the manifest lists. */
struct verify_object {
    const char *name; /* borrowed from the manifest */
    char key[STORE_KEY_MAX + 1];
    struct store_object expected;
    int64_t plain_bytes;
    uint32_t tablespace; /* of a snapshot's volume */
    bool is_listed;      /* in the store */
    bool has_fault;
};

/* A table whose rows are counted. */
struct verify_table {
    uint32_t database, oid;
    const json_t *entry; /* of the manifest, borrowed */
    int columns;
    atomic_llong rows, bytes, segments;
};

struct verify_backup {
    struct verifying *verifying;
    struct verify_item *item;
    json_t *manifest;
    char folder[STORE_KEY_MAX + 1];
    char manifest_key[STORE_KEY_MAX + 1];
    struct verify_object *objects; /* by name */
    size_t object_count;
    /* of a dump */
    struct verify_table *tables; /* by database and OID */
    size_t table_count;
    /* of a snapshot */
    struct file_list files;
    bool has_list;
    bool *wal_is_there; /* the segments from its start to its end */
    uint64_t wal_first, wal_count;
    char loss[VERIFY_TEXT_MAX]; /* what can't be recovered without it */
};

struct verify_object *verify_find_object(const struct verify_backup *backup, const char *name);
/* A fault of an object, with the consequence that it has. */
int verify_object_fault(struct verify_backup *backup, struct verify_object *object, int64_t byte,
                        const char *table, const struct error *reason, struct error *err);

/* The rest of a reading: all of the object hashed, its plain bytes compared. Sets *ret_broken when
 * reason or the rest was a fault, which is noted. byte and table: where the reader is. */
int verify_object_end(struct verify_backup *backup, struct verify_object *object,
                      struct volume_reader *reader, int64_t plain_bytes, const char *table,
                      const struct error *reason, struct error *err);

/* verify_dump.c */
int verify_dump_prepare(struct verify_backup *backup, struct error *err);
int verify_dump_object(struct verify_backup *backup, struct verify_object *object,
                       struct error *err);
int verify_dump_complete(struct verify_backup *backup, struct error *err);
/* What can't be restored without the object; the caller frees. */
int verify_dump_consequence(const struct verify_backup *backup, const char *name,
                            char text[VERIFY_TEXT_MAX], struct error *err);

/* verify_snapshot.c */
int verify_snapshot_prepare(struct verify_backup *backup, struct error *err);
int verify_snapshot_object(struct verify_backup *backup, struct verify_object *object,
                           struct error *err);
int verify_snapshot_complete(struct verify_backup *backup, struct error *err);
int verify_snapshot_consequence(const struct verify_backup *backup, const char *name,
                                char text[VERIFY_TEXT_MAX], struct error *err);

/* verify_backup.c: an object that is just bytes, or one stream. */
int verify_stream(struct verify_backup *backup, struct verify_object *object, enum volume_kind kind,
                  struct error *err);

#endif
