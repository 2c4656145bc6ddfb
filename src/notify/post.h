/*
 * Puts an event into the outbox for each target of the policy that wants it, and for which it is
 * news:
 *
 *     a trouble is told when it begins, and while it lasts again after `repeat:` of the entry
 *     each kind is told NOTIFY_PER_HOUR_MAX times an hour at most: some come and go all the time
 *     a recovery is told to those who were told of the trouble, or never hear of any
 *     a success and a start always, and to a ping all that is of a run: a watchdog counts
 */
#ifndef PGCAIRN_NOTIFY_POST_H
#define PGCAIRN_NOTIFY_POST_H

#include "journal/journal.h"
#include "notify/event.h"
#include "policy/policy.h"

/* Of one kind of one job, to one target. */
enum { NOTIFY_PER_HOUR_MAX = 10 };

/* since_us: since when the trouble is there; INSTANT_NONE where the event is none that lasts.
 * *ret_count (may be NULL) is for how many it was put down, before an error too. */
int notify_post(struct journal *journal, const struct policy *policy,
                const struct notify_event *event, int64_t since_us, size_t *ret_count,
                struct error *err);

/* To one target alone; adds to *count. */
int notify_post_to(struct journal *journal, const struct policy_notify *notify,
                   const struct notify_event *event, int64_t since_us, size_t *count,
                   struct error *err);

/* A success ends every trouble of the job: whether there was one. Goes on after an error, and
 * returns the first. */
int notify_end_troubles(struct journal *journal, const char *cluster, const char *job,
                        bool *ret_was_open, struct error *err);

#endif
