/*
 * Time zones, read from the system's tzdata without looking at or touching the process's TZ.
 *
 *     _cleanup_(zone_freep) struct zone *zone = NULL;
 *     if ((rc = zone_load("Europe/Berlin", &zone, err))) ...
 *     zone_to_civil(zone, instant_us / US_PER_SECOND, &civil);
 *
 * A zone is a row of spans: stretches of real time with one offset from UTC. Where two spans meet,
 * the local clock jumps: forwards, and some local times never happen (a gap), or backwards, and
 * some happen twice (a fold). Changes of name or daylight flag alone make no new span.
 *
 * The file is TZif (RFC 8536), version 2 or newer; after its last change the footer, a POSIX TZ
 * rule, goes on for ever. Units: seconds since 1970-01-01T00:00:00Z, from -ZONE_SECONDS_MAX to
 * ZONE_SECONDS_MAX; offsets are seconds east of UTC. A zone never changes after zone_load(), so
 * threads may share it. Everything but zone_load() is pure.
 */
#ifndef PGCAIRN_BASE_ZONE_H
#define PGCAIRN_BASE_ZONE_H

#include <stdint.h>

#include "base/error.h"
#include "base/instant.h"

#define ZONE_FOLDER "/usr/share/zoneinfo"
#define ZONE_SECONDS_MAX INT64_C(10000000000000) /* about the year 318,000 */

enum { ZONE_NAME_MAX = 255, ZONE_FILE_MAX = 256 << 10 };

struct zone;

/*
 * Reads the zone of this IANA name. ERR_USAGE when the name is none (empty, an absolute path, "..",
 * odd characters) or the system does not know it; ERR_CORRUPT when the file is damaged. "UTC" needs
 * no file.
 */
int zone_load(const char *name, struct zone **ret_zone, struct error *err);

/* The same from another folder of TZif files. */
int zone_load_from(const char *folder, const char *name, struct zone **ret_zone, struct error *err);

struct zone *zone_free(struct zone *zone);

const char *zone_name(const struct zone *zone); /* as given to zone_load() */

/* A stretch of real time with one offset. */
struct zone_span {
    int64_t start; /* its first second; INT64_MIN for the first span */
    int64_t end;   /* the first second after it, the next change; INT64_MAX when there is none */
    int32_t offset;
};

/* The span that holds the instant. The one before it is that of span.start - 1 (unless start is
 * INT64_MIN), the one after it that of span.end (unless it is INT64_MAX). */
void zone_span_at(const struct zone *zone, int64_t seconds, struct zone_span *ret_span);

int32_t zone_offset_at(const struct zone *zone, int64_t seconds);
void zone_to_civil(const struct zone *zone, int64_t seconds, struct civil *ret_civil);

enum zone_times {
    ZONE_ONCE, /* first == second: the instant */
    ZONE_GAP,  /* the local time is skipped; first == second: the instant of the change */
    ZONE_FOLD, /* it happens twice: first < second */
};

/* The instants whose local time is `civil`. */
enum zone_times zone_from_civil(const struct zone *zone, const struct civil *civil,
                                int64_t *ret_first, int64_t *ret_second);

DEFINE_FREEP(struct zone *, zone_free)

#endif
