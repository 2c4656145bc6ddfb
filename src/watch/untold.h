/*
 * People that can't be told: an alarm of a cluster, for who looks at `status`, metrics and page is
 * then the only one who can know it.
 *
 *     untold_alarm(journal, policy, now_us, visit, context, err);
 *
 * A target of the policy is one when the message that is its turn failed a try, or lies there for
 * UNTOLD_WAIT_US, or when the last that it was to get was given up not longer ago than
 * UNTOLD_KEPT_US. journal may be NULL: there is nothing to tell.
 */
#ifndef PGCAIRN_WATCH_UNTOLD_H
#define PGCAIRN_WATCH_UNTOLD_H

#include "watch/job_state.h"

#define UNTOLD_WAIT_US (15 * US_PER_MINUTE)
#define UNTOLD_KEPT_US (7 * US_PER_DAY)

/* At most one, "untold", whose text names the first such target. */
int untold_alarm(struct journal *journal, const struct policy *policy, int64_t now_us,
                 job_alarm_visitor visit, void *context, struct error *err);

#endif
