/*
 * Has nothing succeeded for too long? Pure: the time and the schedule come as arguments.
 *
 *     int64_t from_us = last success, or since when the job is known where it never succeeded;
 *     if (stale_since_us(notify->stale_us, schedule, zone, from_us) <= now_us) ...
 *
 * With `stale:` of the policy that is so long after from_us; without it, when the second due
 * instant behind from_us has passed: one run failed, and it was not made good by the next.
 */
#ifndef PGCAIRN_NOTIFY_STALE_H
#define PGCAIRN_NOTIFY_STALE_H

#include <stdint.h>

#include "base/zone.h"
#include "cron/cron.h"

/* When a success is late; INT64_MAX: never (no schedule, and no span is named). */
int64_t stale_since_us(int64_t stale_us, const struct cron_expr *schedule, const struct zone *zone,
                       int64_t from_us);

#endif
