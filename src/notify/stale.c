#include "notify/stale.h"

#include "base/instant.h"

int64_t stale_since_us(int64_t stale_us, const struct cron_expr *schedule, const struct zone *zone,
                       int64_t from_us)
{
    if (stale_us > 0)
        return from_us + stale_us;
    if (!schedule)
        return INT64_MAX;
    int64_t first = cron_next(schedule, zone, from_us / US_PER_SECOND);
    int64_t second = first == CRON_NEVER ? CRON_NEVER : cron_next(schedule, zone, first);
    return second == CRON_NEVER ? INT64_MAX : second * US_PER_SECOND;
}
