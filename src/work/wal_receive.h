/*
 * Receiving WAL through a physical replication slot: what the server writes becomes segments in a
 * folder of the state folder (wal_assemble.h), those are stored by threads of their own
 * (wal_upload.h), and the server is told only of what is safe, so that its slot keeps the rest.
 *
 *     struct wal_receive receive = {.policy = policy, .job = job, .state = state, ...};
 *     wal_receive_create_slot(&receive, &existed, err);     once; never by itself
 *     wal_receive(&receive, err);                           until work_shall_finish()
 *     wal_receive_drop_slot(&receive, err);
 *
 * It goes on where the stored WAL ends (wal_resume.h), so that a kill at any moment loses nothing
 * and stores nothing twice. A lost connection is made again for ever; what a first connection meets
 * is returned. While the store is away WAL_RECEIVE_FILES segments wait, then nothing more is read,
 * and the server is still answered.
 *
 * 0: asked to finish, what was received whole is stored, or waits in the spool. ERR_BUSY: another
 * receiver has the lock or the slot. ERR_NOT_FOUND: no slot, with the command to make it.
 * ERR_FAILED: a foreign server, a slot that has lost WAL, wal_level. ERR_EXISTS, ERR_CORRUPT: what
 * was received can't be stored under its name. Others are those of the store and of connection.h.
 */
#ifndef PGCAIRN_WORK_WAL_RECEIVE_H
#define PGCAIRN_WORK_WAL_RECEIVE_H

#include "policy/policy.h"
#include "postgres/slot.h"

enum {
    WAL_RECEIVE_FILES = 8,     /* that wait to be stored before the server is told to wait */
    WAL_RECEIVE_FILES_MIN = 3, /* also when they are larger than spool_limit */
};

#define WAL_RECEIVE_SPOOL_BYTES (INT64_C(4) << 30) /* with acknowledge: spooled */
#define WAL_RECEIVE_FINISH_US                                          \
    (20 * US_PER_SECOND) /* for what is in flight when it shall finish \
                          */
#define WAL_RECEIVE_REPORT_US (5 * US_PER_MINUTE)

struct wal_receive_report {
    uint32_t timeline;
    uint64_t received_lsn, safe_lsn; /* safe: acknowledged, or about to be */
    uint64_t server_lsn;
    int64_t lag_bytes; /* written by the server and not safe: the slot holds as much */
    int64_t lag_us;    /* since the oldest byte that is not safe was received */
    size_t waiting;    /* files that are not stored yet */
    uint64_t stored;   /* files, since the start */
    bool is_held_up;   /* nothing is read until the store has taken some */
};

struct wal_receive {
    const struct policy *policy;
    const struct policy_job *job; /* of type wal; NULL: the policy has none */
    const char *state;            /* the state folder */
    const char *slot;             /* NULL: the job's, or the cluster's */
    enum wal_acknowledge acknowledge;
    int64_t spool_limit;                             /* 0: WAL_RECEIVE_SPOOL_BYTES */
    void (*notice)(const char *text, void *context); /* from any thread */
    void (*report)(const struct wal_receive_report *report, void *context);
    void *context;
};

int wal_receive(const struct wal_receive *receive, struct error *err);

/* *ret_existed: it was there, and is used as it is. */
int wal_receive_create_slot(const struct wal_receive *receive, bool *ret_existed,
                            struct error *err);
int wal_receive_drop_slot(const struct wal_receive *receive, struct error *err);

/* The slot that a policy's receiver uses. */
char *wal_receive_slot(const struct wal_receive *receive, char name[PG_SLOT_NAME_MAX]);

#endif
