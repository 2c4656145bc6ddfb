/* What in a policy's jobs of type wal and snapshot does not fit together; private to retention. */
#ifndef PGCAIRN_RETENTION_WAL_CHECK_H
#define PGCAIRN_RETENTION_WAL_CHECK_H

#include "retention/retention.h"

int wal_contradictions(const struct policy *policy, const struct retention_zones *zones,
                       int64_t now_us, struct policy_problems *warnings, struct error *err);

#endif
