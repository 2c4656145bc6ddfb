/*
 * Whether a bucket leaves a policy's backups alone: what it does by itself (versions, locks,
 * lifecycle rules), held against what the policy wants kept. Pure, as the rest of this folder; the
 * same findings serve `check` and audits.
 *
 *     struct retention_findings findings;
 *     retention_judge_bucket(&bucket, policy, &zones, now_us, &findings);
 *     for each findings.items[i] ...
 *
 * There is a finding for each subject (versioning, object lock, lifecycle, creating), good or bad,
 * and one for each rule that does harm. What could not be read is UNKNOWN. Nothing to free.
 */
#ifndef PGCAIRN_RETENTION_BUCKET_H
#define PGCAIRN_RETENTION_BUCKET_H

#include "facts/bucket.h"
#include "retention/retention.h"

enum { FINDINGS_MAX = 64, FINDING_TEXT_MAX = 512 };

enum finding_status { FINDING_PASS, FINDING_WARN, FINDING_FAIL, FINDING_UNKNOWN };

struct retention_finding {
    const char *id; /* "bucket lifecycle" */
    enum finding_status status;
    char observed[FINDING_TEXT_MAX];
    const char *cure; /* NULL when nothing is to be done */
};

struct retention_findings {
    struct retention_finding items[FINDINGS_MAX]; /* further ones are dropped: they only repeat */
    size_t count;
};

void retention_judge_bucket(const struct facts_bucket *bucket, const struct policy *policy,
                            const struct retention_zones *zones, int64_t now_us,
                            struct retention_findings *ret_findings);

const char *finding_status_name(enum finding_status status); /* "pass" */

#endif
