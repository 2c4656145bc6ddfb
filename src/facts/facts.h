/*
 * Facts: the plain structs that the repository fills and the verdicts (retention, audit) read. No
 * I/O, no rules; nothing here knows how a fact was learnt. All instants are microseconds UTC, all
 * sizes bytes. Owned strings; facts_clear() releases everything. Not shared between threads while
 * they are being filled.
 *
 * What is not known is said so: `state` UNKNOWN for a backup whose manifest can't be read, and
 * `complete` false for a listing that ended early. A verdict must keep what it does not know.
 */
#ifndef PGCAIRN_FACTS_FACTS_H
#define PGCAIRN_FACTS_FACTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/instant.h"
#include "facts/wal.h"

enum {
    FACTS_BACKUPS_MAX = 1000000, /* backups of one repository */
    FACTS_HOLDS_MAX = 100000,
    FACTS_SYSTEM_MAX = 20,    /* digits of a system identifier */
    FACTS_SYSTEMS_MAX = 1000, /* system identifiers of one cluster over its life */
};

enum backup_kind { BACKUP_DUMP, BACKUP_SNAPSHOT };

enum backup_state {
    BACKUP_GOOD,          /* has a readable manifest */
    BACKUP_DAMAGED,       /* likewise, but the server had blocks with wrong checksums */
    BACKUP_RUNNING,       /* no manifest, but its run holds a lock */
    BACKUP_GARBAGE,       /* no manifest, no lock, and nothing newer than 24 h */
    BACKUP_FRESH_REMAINS, /* no manifest and no lock, but too young to be called garbage */
    BACKUP_UNKNOWN,       /* something could not be read: kept, and the run fails */
};

/* Where in the WAL a snapshot lies: replay begins at start_lsn, and what was restored is consistent
 * from stop_lsn on. Positions and the moment are the server's. */
struct facts_position {
    char system_identifier[FACTS_SYSTEM_MAX + 1]; /* "" of a dump */
    uint32_t timeline, stop_timeline;
    uint64_t start_lsn, stop_lsn;
    int64_t stopped_us;
    int64_t segment_size;
};

struct facts_backup {
    char *id;  /* 20261121T020000Z-x7q2 */
    char *job; /* name of the job that made it; "" when unknown */
    enum backup_kind kind;
    enum backup_state state;
    int64_t started_us;
    int64_t completed_us; /* INSTANT_NONE unless good */
    int64_t newest_us;    /* newest heartbeat or object, for those without a manifest */
    int64_t bytes_source; /* read from the server */
    int64_t bytes_stored;
    int64_t rows;                   /* of all tables of a dump; 0 for a snapshot */
    char **databases;               /* of a dump; NULL-terminated, sorted; NULL for a snapshot */
    int server_major;               /* 0 when unknown */
    struct facts_position position; /* of a snapshot */
    int verified_level;             /* 0 = never verified, 1..3 */
    int64_t verified_us;
    int64_t failed_us;       /* when a verification found a fault in it; INSTANT_NONE: never, or it
                                has passed as deep a one since */
    int64_t locked_until_us; /* object lock; INSTANT_NONE when none */
    int64_t drilled_us;      /* last drill passed; INSTANT_NONE when never */
};

struct facts_hold {
    char *hold_id;
    char *backup_id;
    char *holder;
    char *reason;
    int64_t created_us;
    int64_t expires_us; /* INSTANT_NONE = never */
};

/* How much the last prune left, for a listing that shows much less since may lie. */
struct facts_left {
    bool is_known;
    int64_t at_us;
    int64_t dumps, snapshots, wal_segments;
};

struct facts {
    char *cluster;
    bool complete;                /* every listing was read to its end, every hold was read */
    char *problem;                /* the first thing that could not be read; NULL when all was */
    struct facts_backup *backups; /* any order */
    size_t backup_count;
    size_t backup_allocated;
    struct facts_hold *holds;
    size_t hold_count;
    size_t hold_allocated;
    struct facts_wal *wals; /* one per system identifier; none when WAL was not looked at */
    size_t wal_count;
    size_t wal_allocated;
    struct facts_left left;
};

void facts_clear(struct facts *facts);

/* Appends a zeroed entry, owned by facts; valid until the next append. */
int facts_add_backup(struct facts *facts, struct facts_backup **ret_backup, struct error *err);
int facts_add_hold(struct facts *facts, struct facts_hold **ret_hold, struct error *err);

/* Takes what wal holds, also on failure, and leaves it empty. */
int facts_take_wal(struct facts *facts, struct facts_wal *wal, struct error *err);

/* Frees one entry; the last one moves into its place. */
void facts_remove_backup(struct facts *facts, size_t index);

const char *backup_kind_name(enum backup_kind kind);    /* "dump" */
const char *backup_state_name(enum backup_state state); /* "good" */

#endif
