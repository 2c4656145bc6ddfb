/*
 * A prune: gather what is there, plan, stand guard, delete, look again. The command and the `prune`
 * job both tell this story.
 *
 *     struct prune prune = {0};
 *     rc = prune_look(&work, now_us, &prune, err);              the plan; changes nothing
 *     rc = prune_apply(&work, &options, &prune, err);           the same, and applied
 *     prune_clear(&prune);
 *
 * `work` has the policy, the repository, and for prune_apply() the prune lock, which the caller
 * took before and releases after (NULL in tests only) and keeps refreshed; its job is not looked
 * at.
 */
#ifndef PGCAIRN_WORK_PRUNE_H
#define PGCAIRN_WORK_PRUNE_H

#include "retention/retention.h"
#include "work/work.h"

enum { PRUNE_DIFFERENCES_MAX = 20 }; /* named in the error, of those that the second look shows */

struct prune {
    struct facts facts; /* what the plan was made of, and borrows from */
    struct retention_plan plan;
    size_t deleted, failed; /* backups, garbage included */
    size_t locked;          /* found under an object lock: decisions to keep now, not failed */
    int64_t wal_deleted;    /* objects of WAL */
    int64_t wal_locked;     /* likewise under an object lock: they stay, and are not failed */
    bool wal_failed;        /* not all of the WAL went; then no snapshot does */
    int64_t bytes_freed;    /* really, with what unfinished writes had left behind */
    int64_t unfinished;     /* writes that never ended, removed beside the plan */
};

struct prune_options {
    int64_t now_us;
    const char *expected_hash; /* refuse any other plan; NULL: whatever the plan is */
    bool force;                /* a person agreed to expected_hash, which must be given */
};

/* A refused plan is not an error here: prune->plan.refused says so. */
int prune_look(const struct work *work, int64_t now_us, struct prune *prune, struct error *err);

/*
 * ERR_UNKNOWN when the plan is refused, ERR_CONFLICT when it is not the expected one, ERR_FAILED
 * when it needs force (the hint is the line to run). What can't be deleted is passed over and told
 * at the end; then, and when the second look finds another repository than planned, ERR_FAILED or
 * the first error's code. `prune` is filled as far as it came, also on failure; clear it always.
 */
int prune_apply(const struct work *work, const struct prune_options *options, struct prune *prune,
                struct error *err);

/* Why this plan may not be applied by itself, as prune_apply() would say; 0 when it may. */
int prune_check(const struct prune *prune, const struct prune_options *options, const char *cluster,
                struct error *err);

void prune_clear(struct prune *prune);

#endif
