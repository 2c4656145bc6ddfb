/*
 * Cron expressions: parse one, ask for the instants at which it fires.
 *
 *     struct cron_options options = {.hash_id = "automatos/nightly"};
 *     _cleanup_(cron_freep) struct cron_expr *expr = NULL;
 *     if ((rc = cron_parse("30 2 * * mon-fri", &options, &expr, &column, err))) ...
 *     int64_t due = cron_next(expr, zone, now);      seconds, > now, or CRON_NEVER
 *
 * The dialect (croniter's, cleaned of its surprises):
 * - 5 fields `minute hour day-of-month month day-of-week`; with options.allow_seconds also 6 (the
 *   second LAST) and 7 (then the year, 1970-2099). Names jan..dec, sun..sat in any case.
 * - An item is `*`, `a`, `a-b`, `a-b/n`, `*` with `/n`, or `a/n` (from a to the field's end); a
 *   field is a list of them. `a-b` with a > b wraps around, `n` may exceed the range.
 * - Day of month: `l` (the last one), `a-l`, `?` alone. Day of week: 0-6, 7 = Sunday, `?` alone,
 *   `fri#2` (1 to 5), `mon-fri#1`, `L5` (the last Friday); the last three are not mixed with plain
 *   weekdays.
 * - If both day fields are restricted, either match is enough. Restricted means that no item of the
 *   field is a bare `*` or `?`.
 * - `@hourly @daily @midnight @weekly @monthly @yearly @annually`.
 * - With a hash id, `H`, `H/n`, `H(a-b)`, `H(a-b)/n` are values drawn from the CRC-32 of the id, so
 *   that many jobs of one policy spread; the @words then become H forms with a hashed second.
 *
 * Changes of the clock (the rule of Debian's cron(8)): an expression whose minute or hour field
 * begins with `*` is an interval job and fires at every real instant whose local time matches.
 * Every other is fixed: a local time that is skipped fires once, at the instant of the change; one
 * that repeats fires in its first pass only. A change of three hours or more is a correction of the
 * clock: nothing is made up and nothing held back.
 *
 * Pure: no I/O, no clock. Instants are seconds since 1970 in UTC. An expression never changes after
 * cron_parse(), so threads may share it.
 */
#ifndef PGCAIRN_CRON_CRON_H
#define PGCAIRN_CRON_CRON_H

#include <stdint.h>

#include "base/error.h"
#include "base/zone.h"

#define CRON_NEVER INT64_MIN

enum {
    CRON_TEXT_MAX = 4096, /* bytes of an expression, with the final NUL; longer is an error */
    CRON_YEARS_MAX = 50,  /* a match in a later calendar year than this many from now is never */
};

struct cron_options {
    const char *hash_id; /* what H is drawn from; NULL: H is refused, @words are plain */
    bool allow_seconds;  /* take 6 and 7 fields too */
};

struct cron_expr;

/* ERR_USAGE when the text is no expression; *ret_column (may be NULL) is then the 1-based byte
 * column of the fault in text, and is set in that case only. options may be NULL. */
int cron_parse(const char *text, const struct cron_options *options, struct cron_expr **ret_expr,
               int *ret_column, struct error *err);
struct cron_expr *cron_free(struct cron_expr *expr);

/* The first instant after, and the last before, the given one; CRON_NEVER when there is none within
 * CRON_YEARS_MAX years. Strictly: the given instant itself is not an answer. */
int64_t cron_next(const struct cron_expr *expr, const struct zone *zone, int64_t after);
int64_t cron_previous(const struct cron_expr *expr, const struct zone *zone, int64_t before);

/* The normal form: numbers for names, H drawn, @words spelled out, lists sorted into ranges,
 * seconds and years only where they matter. It parses (with seconds allowed) to an expression that
 * fires at the same instants. The caller frees. */
int cron_to_text(const struct cron_expr *expr, char **ret_text, struct error *err);

/* Whether any date of 1970-2099 matches: `0 0 30 2 *` never does. */
bool cron_can_fire(const struct cron_expr *expr);

/* Whether it is an interval job although its hours are fixed, such as "every 30 minutes from 2 to
 * 3": in the night of a skipped hour it may not run at all. Worth a warning. */
bool cron_misses_gaps(const struct cron_expr *expr);

DEFINE_FREEP(struct cron_expr *, cron_free)

#endif
