/*
 * Restoring a snapshot into a data directory, ready to recover to a moment: what the files of the
 * story share, and its face.
 *
 *     restore_snapshot.c   the story: choose, check everything first, then do it (restore_snapshot)
 *     restore_folder.c     the folders that are filled: empty, ours, and a restore's mark in them
 *     restore_files.c      the workers: volumes into files, each proved by the server's manifest
 *     restore_recovery.c   what the server reads at its start: signal files and settings
 *     restore_manifest.c   the server's manifest
 *
 * pg_control gets its name last of all, so nothing starts on half of a cluster. Until then the
 * folder holds pgcairn-restore.json, which names the backup and the volumes that are whole on disk:
 * with `resume` a restore of the same backup goes on there. Nothing is removed that was not written
 * by a restore.
 *
 * Memory: RESTORE_SNAPSHOT_JOBS_MAX readers at most, and about a hundred bytes a file.
 */
#ifndef PGCAIRN_WORK_RESTORE_SNAPSHOT_H
#define PGCAIRN_WORK_RESTORE_SNAPSHOT_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "pack/volume.h"
#include "retention/reach.h"
#include "work/crew.h"
#include "work/restore_manifest.h"
#include "work/work.h"

enum {
    RESTORE_SNAPSHOT_JOBS_DEFAULT = 4,
    RESTORE_SNAPSHOT_JOBS_MAX = 64,
    RESTORE_PATH_MAX = 4096,
    /* For the estimate of time: what disks and servers of today do at least. */
    RESTORE_BYTES_PER_SECOND = 150000000,
    RESTORE_SEGMENTS_PER_SECOND = 20,
};

struct restore_snapshot_request {
    const struct policy *policy;
    struct repository *repository;
    struct reach_target target;
    const char *folder;             /* absolute */
    const struct strv *tablespaces; /* OLD=NEW */
    const char *tablespaces_under;  /* or each into a folder of its own there; NULL: as it was */
    bool exclusive, standby, resume, dry_run;
    int jobs;
    work_progress_function progress;
    work_notice_function notice;
    void *context;
};

/* Restores, or with dry_run only checks. *ret_report is the plan and, after a restore, what was
 * done; it is set on success only. */
int restore_snapshot(const struct restore_snapshot_request *request, json_t **ret_report,
                     struct error *err);

/* ---- shared by the files of the story ---- */

/* A folder that is filled: the data directory, or a tablespace's. */
struct restore_place {
    uint32_t oid;         /* 0: the data directory */
    const char *location; /* in the backup; borrowed from the manifest */
    char *folder;         /* absolute */
    bool is_moved;
};

struct restore_piece {
    const struct restore_place *place;
    const char *name; /* of the volume; borrowed from the manifest */
    struct store_object expected;
    int64_t plain_bytes;
    bool is_done; /* by the restore that is resumed */
};

struct snapshot_restore {
    const struct restore_snapshot_request *request;
    struct facts facts;
    struct facts_wal wal;
    bool has_wal;
    struct reach_choice choice;
    json_t *manifest;             /* pgcairn's */
    struct file_list files;       /* the server's */
    struct restore_place *places; /* the data directory first */
    size_t place_count;
    struct restore_piece *pieces; /* largest first */
    size_t piece_count;
    mode_t folder_mode, file_mode;
    uid_t owner;
    gid_t group;
    bool is_root;          /* what is made is given to the owner */
    pthread_mutex_t mutex; /* guards the mark */
    json_t *done;          /* names of volumes that are whole on disk */
    struct crew *crew;
    atomic_size_t next_piece;
    atomic_llong bytes_done;
    int64_t bytes_total, bytes_stored;
    json_t *notices;
};

/* restore_folder.c */
int restore_check_folders(struct snapshot_restore *restore, struct error *err);
int restore_make_folders(struct snapshot_restore *restore, struct error *err);
int restore_write_mark(struct snapshot_restore *restore, struct error *err);
int restore_remove_mark(struct snapshot_restore *restore, struct error *err);
int restore_sync_folders(struct snapshot_restore *restore, struct error *err);
/* Gives what the descriptor is of the restored cluster's owner and the mode. */
int restore_give(const struct snapshot_restore *restore, int fd, const char *path, mode_t mode,
                 struct error *err);

/* restore_files.c */
int restore_read_list(struct snapshot_restore *restore, struct error *err);
int restore_files(struct snapshot_restore *restore, struct error *err);
/* The last step: pg_control gets its name. */
int restore_publish(struct snapshot_restore *restore, struct error *err);

/* restore_recovery.c */
int restore_recovery(struct snapshot_restore *restore, struct error *err);
bool restore_uses_s3(const struct snapshot_restore *restore);
int restore_command_text(const struct snapshot_restore *restore, char **ret_text,
                         struct error *err);

void snapshot_restore_notice(struct snapshot_restore *restore, const char *format, ...)
    _printf_(2, 3);

#endif
