/*
 * The section `audit:` of the policy: what an audit holds the cluster against beyond what the jobs
 * say, and which of its findings somebody has waived. Without it the defaults below hold.
 *
 *     audit:
 *       excluded_databases: ["scratch_*"]
 *       verified_within: 35d
 *       drilled_within: 92d
 *       waivers:
 *         - {id: RST-1, reason: no spare machine, owner: ann, expires: 2027-01-31}
 *
 * A waiver names a control of src/audit; without an end it is refused, for a finding that is waived
 * for ever is one that nobody looks at again.
 */
#ifndef PGCAIRN_POLICY_AUDIT_H
#define PGCAIRN_POLICY_AUDIT_H

#include <stddef.h>
#include <stdint.h>

#include "base/instant.h"
#include "base/strv.h"

enum {
    POLICY_WAIVERS_MAX = 200,
    POLICY_AUDIT_SUCCESS_RATE = 95,
    POLICY_AUDIT_COPIES = 2,
};

#define POLICY_AUDIT_VERIFIED_US (35 * US_PER_DAY)
#define POLICY_AUDIT_DRILLED_US (92 * US_PER_DAY)
#define POLICY_AUDIT_WAL_LAG_US US_PER_HOUR

struct policy_waiver {
    char *id; /* of a control, "RST-1" */
    char *reason, *owner;
    int64_t expires_us;
    int line;
};

struct policy_audit {
    struct strv excluded_databases; /* globs: known, and not backed up on purpose */
    int64_t verified_within_us;     /* how old the proof of a backup may be */
    int64_t drilled_within_us;      /* how old the last restore that was tried may be */
    int64_t wal_lag_us;             /* how late WAL may be */
    int64_t keep_at_most_us;        /* nothing may be older; 0: nothing tells */
    int success_rate;               /* percent of the runs of a job that must end well */
    int copies;                     /* good backups that each database must have at least */
    struct policy_waiver *waivers;
    size_t waiver_count;
};

struct reader;
struct document_node;
struct section;

extern const struct section section_audit;

void policy_audit_init(struct policy_audit *audit);
void policy_audit_clear(struct policy_audit *audit);

#endif
