/*
 * How long to wait before a failed run is tried again: exponential, bounded, and spread by the
 * run's id so that many jobs that failed together (a server went away) do not come back together.
 */
#ifndef PGCAIRN_DAEMON_RETRY_H
#define PGCAIRN_DAEMON_RETRY_H

#include <stdint.h>

#include "base/instant.h"

#define RETRY_FIRST_US (10 * US_PER_SECOND)
#define RETRY_LONGEST_US (10 * US_PER_MINUTE)

/* After the given failed attempt (1 for the first): between half and the whole of
 * RETRY_FIRST_US * 2^(attempt - 1), at most RETRY_LONGEST_US. Pure. */
int64_t retry_delay_us(int attempt, const char *run_id);

#endif
