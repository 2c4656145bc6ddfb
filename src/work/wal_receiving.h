/*
 * The parts of wal_receive.h, shared by its files and by nothing else:
 *
 *     wal_receive.c          one after another: prepared once, sessions until it shall finish
 *     wal_receive_open.c     a session's connection, what is checked before it streams, the slot
 *     wal_receive_others.c   what an earlier server of the cluster left in the spool
 *     wal_receive_stream.c   one session: messages, statuses, the change of timelines
 */
#ifndef PGCAIRN_WORK_WAL_RECEIVING_H
#define PGCAIRN_WORK_WAL_RECEIVING_H

#include "base/instant.h"
#include "postgres/wal_stream.h"
#include "repository/wal.h"
#include "work/locking.h"
#include "work/wal_receive.h"
#include "work/wal_resume.h"
#include "work/wal_upload.h"

struct receiving {
    const struct wal_receive *receive;
    char slot_name[PG_SLOT_NAME_MAX];
    char *conninfo; /* secret */
    struct repository *repository;
    struct locking *locking;
    int spool_lock;
    char folder[WAL_ASSEMBLY_FOLDER_MAX];
    struct wal_assembly assembly;
    struct wal_uploads *uploads;
    struct rate rate;
    size_t files_max; /* that may wait to be stored */
    bool is_prepared;
    int64_t finish_us;        /* monotonic: when what is in flight is given up; 0: not yet */
    struct wal_resume resume; /* where to begin */
    uint32_t histories_of;    /* the timeline whose histories are stored, or wait to be */
    /* of the session */
    PGconn *conn;
    struct pg_system system;
    struct pg_slot slot;
    struct wal_history history;
    struct wal_stream stream;
    bool is_heard; /* the server has answered: the stream stands */
    uint64_t server_lsn, acknowledged_lsn;
    int64_t heard_us, told_us, tell_every_us, reported_us; /* monotonic */
    int hurried;                                           /* questions that came at once */
    int64_t hurried_us;
    bool is_held_up;
};

void receiving_notice(const struct receiving *receiving, const char *format, ...) _printf_(2, 3);

/* Connects, and refuses what can't be received from. */
int receiving_connect(struct receiving *receiving, struct error *err);
/* How to make the slot that is missing. Returns the error's code. */
int receiving_hint_slot(const struct wal_receive *receive, struct error *err);
void receiving_disconnect(struct receiving *receiving);
/* Once: the cluster, the lock, the spool and what is in it, where to begin. */
int receiving_prepare(struct receiving *receiving, struct error *err);
/* Stores what waits in the folders of other systems; notices tell what could not be. */
int receiving_store_others(struct receiving *receiving, struct error *err);

/* Streams until an error, or 0 when it shall finish. */
int receiving_stream(struct receiving *receiving, struct error *err);

/* What is in flight when all shall finish gets its time, once. */
void receiving_drain(struct receiving *receiving);

/* All WAL before that is safe. */
uint64_t receiving_safe_lsn(const struct receiving *receiving);

#endif
