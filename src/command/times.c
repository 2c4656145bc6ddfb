#include "command/times.h"

#include <string.h>

#include "base/units.h"
#include "base/zone.h"

int command_time(const char *text, const char *timezone, int64_t *ret_us, struct error *err)
{
    _cleanup_(zone_freep) struct zone *zone = NULL;
    struct civil civil;
    int64_t us, first, second;
    bool has_offset;
    int rc = instant_parse(text, &us, &has_offset, err);
    if (!rc && !has_offset)
        rc = zone_load(timezone, &zone, err);
    if (rc)
        return rc;
    if (!has_offset) {
        int64_t seconds = us / US_PER_SECOND - (us % US_PER_SECOND < 0);
        civil_from_seconds(seconds, &civil);
        if (zone_from_civil(zone, &civil, &first, &second) == ZONE_GAP)
            return error_set(err, ERR_USAGE, "%s is skipped by the clock change in %s", text,
                             timezone);
        us += (first - seconds) * US_PER_SECOND;
    }
    *ret_us = us;
    return 0;
}

int command_time_or_duration(const char *text, const char *timezone, int64_t now_us,
                             int64_t *ret_us, struct error *err)
{
    int64_t duration_us;
    if (duration_parse(text, &duration_us, NULL))
        return command_time(text, timezone, ret_us, err);
    *ret_us = now_us + duration_us;
    return 0;
}
