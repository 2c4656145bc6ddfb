/*
 * An audit: gather all facts, judge them. The command and the `audit` job both tell this story; the
 * job leaves a record of evidence too.
 *
 *     struct audit audit;
 *     audit_init(&audit);
 *     rc = audit_make(&gather, &period, &audit, err);          gathers and judges
 *     rc = audit_judge_saved(policy, &period, &audit, err);    judges audit.facts as they are
 *     audit_clear(&audit);
 *
 * The report borrows from the facts beside it. Errors are those of gathering; a bad verdict is
 * none.
 */
#ifndef PGCAIRN_WORK_AUDIT_H
#define PGCAIRN_WORK_AUDIT_H

#include "audit/audit.h"
#include "work/gather.h"

struct audit {
    struct facts_audit facts;
    struct audit_report report;
};

void audit_init(struct audit *audit);
void audit_clear(struct audit *audit);
int audit_make(const struct gather *gather, const struct audit_period *period, struct audit *audit,
               struct error *err);
int audit_judge_saved(const struct policy *policy, const struct audit_period *period,
                      struct audit *audit, struct error *err);

/* What the record of evidence holds of a report (format.md, `audit`), a new reference. */
json_t *audit_evidence(const struct audit_report *report, const char *job, const char *run_id);

#endif
