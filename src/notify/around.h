/*
 * Telling people of a run that no daemon watches: one of a timer or a CronJob.
 *
 *     notify_before(policy, job, event, told, context)     at once, for a few seconds at most
 *     notify_after(journal, policy, event, told, context)  at the end, NOTIFY_AFTER_US at most
 *
 * With a journal the end goes through the outbox: what can't be delivered in that time the next run
 * of the cluster, or a daemon, delivers. Without one it is tried a few times, then lost. The first
 * success after a failure that was told is told as a recovery too; a journal is needed for that.
 *
 * Nothing here fails a run: `told` is called with each error, its notify NULL for one of no target.
 */
#ifndef PGCAIRN_NOTIFY_AROUND_H
#define PGCAIRN_NOTIFY_AROUND_H

#include "notify/pending.h"

#define NOTIFY_BEFORE_US (5 * US_PER_SECOND)
#define NOTIFY_AFTER_US (45 * US_PER_SECOND)

typedef void (*notify_problem_function)(const struct policy_notify *notify,
                                        const struct error *error, void *context);

/* What a run's record says; texts are those of *run, and `host`. */
struct notify_event notify_event_of_run(enum notify_event_kind kind, const struct journal_run *run,
                                        const char *host);

void notify_before(const struct policy *policy, const struct notify_event *event,
                   notify_problem_function problem, void *context);
void notify_after(struct journal *journal, const struct policy *policy,
                  const struct notify_event *event, notify_problem_function problem, void *context);

#endif
