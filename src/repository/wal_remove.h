/*
 * Deleting WAL by ranges (format.md, "Delete WAL"): the evidence, then per range what says that it
 * was pruned, its marks, and its objects, oldest first and in batches. The caller holds the prune
 * lock. After a crash or an error it may be called again with a new plan and ends what was begun.
 * Objects whose names are not those of WAL are left alone.
 *
 *     struct wal_removed removed = {0};
 *     rc = wal_remove(repository, &removing, now_us, &removed, err);
 */
#ifndef PGCAIRN_REPOSITORY_WAL_REMOVE_H
#define PGCAIRN_REPOSITORY_WAL_REMOVE_H

#include "repository/repository.h"

enum { WAL_REMOVE_BATCH = 1000, WAL_REMOVE_EVIDENCE = 1000 /* ranges in one record */ };

struct wal_remove_range {
    const struct facts_wal *wal; /* whose system and segment size it is */
    uint32_t timeline;
    uint64_t from, to;    /* segments, stored or not, with what is named after them */
    uint64_t first, last; /* the first and the last that are known to be stored */
    int64_t segments, bytes;
    const char *reason;
};

struct wal_removing {
    const struct wal_remove_range *ranges; /* per timeline in ascending order */
    size_t count;
    const char *plan_hash;
    /* Asked before each batch; a non-zero return ends the work and is returned. */
    int (*proceed)(const void *context, int64_t deleted, struct error *err);
    const void *context;
};

struct wal_removed {
    int64_t objects, bytes;
    int64_t locked; /* objects under an object lock: they stay, and the rest of their range */
};

/* Filled as far as it came, also on failure. What the store refuses to delete ends the range that
 * it is in; the others go on, and the first such error is returned at the end. */
int wal_remove(struct repository *repository, const struct wal_removing *removing, int64_t now_us,
               struct wal_removed *removed, struct error *err);

#endif
