#include "cron/expr.h"

/*
 * Next and previous: the search in local time, carried over the spans of a zone.
 *
 * Within a span local time is real time moved by the offset. Where two spans meet, a fixed job
 * needs care: what a gap skips fires at the change, and what a fold repeats belongs to the first
 * pass. A local match that lies far beyond the present span is reached by a leap over the spans
 * between, for they can't hold a match: local times in them are smaller, but for a day at the most.
 */

enum {
    CORRECTION_SECONDS = 3 * 3600, /* a change this large is a correction of the clock */
    OFFSETS_MARGIN = 3 * 86400,    /* more than any two offsets differ by */
};

/* How the clock moves at the change that begins the span: positive skips, negative repeats. 0 where
 * a fixed job takes no notice: a correction, or no change at all. */
static int64_t jump_before(const struct zone *zone, const struct zone_span *span)
{
    if (span->start == INT64_MIN)
        return 0;
    struct zone_span before;
    zone_span_at(zone, span->start - 1, &before);
    int64_t jump = (int64_t)span->offset - before.offset;
    return jump > -CORRECTION_SECONDS && jump < CORRECTION_SECONDS ? jump : 0;
}

static int64_t jump_after(const struct zone *zone, const struct zone_span *span)
{
    if (span->end == INT64_MAX)
        return 0;
    struct zone_span after;
    zone_span_at(zone, span->end, &after);
    return jump_before(zone, &after);
}

/* Whether an instant may be touched by the change that begins its span. */
static bool is_near_start(const struct zone_span *span, int64_t instant)
{
    return span->start != INT64_MIN && instant - span->start < CORRECTION_SECONDS;
}

/* The first local time of the span that is not the second pass of a fold. */
static int64_t first_pass_start(const struct zone *zone, const struct zone_span *span)
{
    int64_t jump = jump_before(zone, span);
    return span->start + span->offset - (jump < 0 ? jump : 0);
}

static bool in_range(int64_t instant)
{
    return instant > -ZONE_SECONDS_MAX && instant < ZONE_SECONDS_MAX;
}

static int32_t local_year(const struct zone *zone, int64_t instant)
{
    struct civil civil;
    zone_to_civil(zone, instant, &civil);
    return civil.year;
}

int64_t cron_next(const struct cron_expr *expr, const struct zone *zone, int64_t after)
{
    if (!in_range(after))
        return CRON_NEVER;
    bool is_fixed = !cron_is_interval(expr);
    int32_t last_year = local_year(zone, after) + CRON_YEARS_MAX;
    int64_t at = after + 1;
    struct zone_span span;
    zone_span_at(zone, after, &span);
    for (bool is_first = true;; is_first = false) {
        int64_t from = at + span.offset;
        if (is_fixed && is_near_start(&span, at)) {
            int64_t first_pass = first_pass_start(zone, &span);
            from = from > first_pass ? from : first_pass;
        }
        int64_t local = cron_local_next(expr, from, last_year);
        if (local != CRON_NEVER && local - span.offset < span.end)
            return local - span.offset;
        if (span.end == INT64_MAX)
            return CRON_NEVER;
        if (is_fixed && local != CRON_NEVER &&
            local < span.end + span.offset + jump_after(zone, &span))
            return span.end;
        at = span.end;
        if (!is_first) {
            if (local == CRON_NEVER)
                return CRON_NEVER;
            if (local - OFFSETS_MARGIN > at)
                at = local - OFFSETS_MARGIN;
        }
        zone_span_at(zone, at, &span);
    }
}

int64_t cron_previous(const struct cron_expr *expr, const struct zone *zone, int64_t before)
{
    if (!in_range(before))
        return CRON_NEVER;
    bool is_fixed = !cron_is_interval(expr);
    int32_t first_year = local_year(zone, before) - CRON_YEARS_MAX;
    int64_t at = before - 1;
    struct zone_span span;
    for (bool is_first = true;; is_first = false) {
        zone_span_at(zone, at, &span);
        int64_t local = cron_local_previous(expr, at + span.offset, first_year);
        int64_t instant = local == CRON_NEVER ? CRON_NEVER : local - span.offset;
        bool is_near = is_fixed && local != CRON_NEVER && is_near_start(&span, instant);
        if (local != CRON_NEVER && instant >= span.start &&
            (!is_near || local >= first_pass_start(zone, &span)))
            return instant;
        if (span.start == INT64_MIN)
            return CRON_NEVER;
        int64_t jump = is_near ? jump_before(zone, &span) : 0;
        if (jump > 0 && instant < span.start && local >= span.start + span.offset - jump)
            return span.start;
        at = span.start - 1;
        if (!is_first) {
            if (local == CRON_NEVER)
                return CRON_NEVER;
            if (local + OFFSETS_MARGIN < at)
                at = local + OFFSETS_MARGIN;
        }
    }
}
