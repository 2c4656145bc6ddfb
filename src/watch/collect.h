/*
 * Samples of the metrics (metrics.h) from what is known:
 *
 *     collect_jobs()     from the journal and the policies, now
 *     collect_facts()    from facts and verdicts that were gathered (gathering.h)
 *
 * Pure but for collect_jobs(), which reads the journal.
 */
#ifndef PGCAIRN_WATCH_COLLECT_H
#define PGCAIRN_WATCH_COLLECT_H

#include "audit/audit.h"
#include "watch/job_state.h"
#include "watch/metrics.h"

/* Of every job of the policies. journal NULL: nothing has run here. */
int collect_jobs(struct journal *journal, const struct policy *const *policies, size_t count,
                 int64_t now_us, struct samples *samples, struct error *err);

/* What the daemon left about itself; nothing when none ever ran. */
int collect_daemon(struct journal *journal, struct samples *samples, struct error *err);

/* What a gathering found. Verdicts only of one that was whole (is_audit). */
void collect_facts(const struct audit_report *report, bool is_audit, struct samples *samples);

#endif
