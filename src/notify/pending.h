/*
 * Delivers what lies in the journal's outbox for one cluster.
 *
 *     rc = notify_pending(journal, policy, until_us, told, context, err);
 *
 * Rounds: the oldest row of each target that is due, all at once (deliver.h), each marked as
 * delivered or to be tried later, until none is due or it is `until_us` (monotonic); a round that
 * began is ended, in NOTIFY_TIMEOUT_US. A row of a target that the policy no longer has, and one
 * that can't be read, are given up. Of each `told` is called. An end by a signal loses nothing:
 * what was not marked is delivered again, so a receiver may see a message twice.
 *
 * One process of a cluster at a time; two would deliver twice, nothing worse.
 */
#ifndef PGCAIRN_NOTIFY_PENDING_H
#define PGCAIRN_NOTIFY_PENDING_H

#include "journal/outbox.h"
#include "notify/deliver.h"
#include "policy/policy.h"

/* What became of a row. */
struct notify_told {
    const struct outbox_notice *notice;
    const struct policy_notify *notify; /* NULL: the policy no longer has it */
    int rc;                             /* 0: delivered */
    const struct error *error;
    int64_t next_us; /* of one that failed; INSTANT_NONE: given up */
};
typedef void (*notify_told_function)(const struct notify_told *told, void *context);

int notify_pending(struct journal *journal, const struct policy *policy, int64_t until_us,
                   notify_told_function told, void *context, struct error *err);

/* The entry of the policy with that key; NULL when there is none. */
const struct policy_notify *notify_find(const struct policy *policy, const char *key);

#endif
