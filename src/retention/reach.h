/*
 * Which snapshot a recovery begins from, and whether stored WAL leads from there to the target.
 * Pure: facts in, a choice or the reason why there is none out.
 *
 *     reach_choose(&facts, &wal, &target, now_us, &choice, err);
 *
 * An anchor lies on the chain of timelines that the recovery follows, and ends before the target.
 * The newest such is taken. What is certainly out of reach is refused (ERR_NOT_FOUND, with the
 * moments or positions that can be reached); what stored WAL does not tell for certain, such as how
 * far beyond the last known moment the last segment goes, is left to PostgreSQL, which ends with an
 * error when it does not come to the target.
 *
 * From an anchor replay needs every segment from its start on: a restore_command is asked for those
 * that lie in the snapshot too. Only REACH_IMMEDIATE does without any.
 */
#ifndef PGCAIRN_RETENTION_REACH_H
#define PGCAIRN_RETENTION_REACH_H

#include "facts/facts.h"
#include "facts/wal.h"

enum reach_kind {
    REACH_END,       /* of the WAL */
    REACH_TIME,      /* the last commit up to a moment */
    REACH_LSN,       /* a position */
    REACH_XID,       /* the end of a transaction */
    REACH_NAME,      /* a named restore point */
    REACH_IMMEDIATE, /* where the snapshot is consistent */
};

struct reach_target {
    enum reach_kind kind;
    int64_t time_us;
    uint64_t lsn;
    const char *text;      /* of the xid or name */
    uint32_t timeline;     /* 0: the newest that descends from the anchor */
    const char *backup_id; /* NULL: the best one */
};

struct reach_choice {
    const struct facts_backup *anchor;
    uint32_t timeline; /* to follow */
    /* The WAL that lies behind the anchor without a gap, by segment: names for people. */
    bool has_wal;
    struct wal_name first, last;
    int64_t segments, bytes; /* stored bytes are those of whole ranges: an estimate */
    int64_t known_us;        /* a moment that it certainly leads to */
    bool is_certain;         /* the target is known to be reached */
};

/* wal may be NULL: none is stored. Messages name the cluster's snapshots by their ids. */
int reach_choose(const struct facts *facts, const struct facts_wal *wal,
                 const struct reach_target *target, int64_t now_us, struct reach_choice *ret_choice,
                 struct error *err);

#endif
