#include "retention/rules.h"

#include <stdio.h>

#include "base/units.h"

/* -- the table ----------------------------------------------------------------------------------
 */

static int count_last(const struct keep_rules *keep)
{
    return keep->last;
}

static int count_hourly(const struct keep_rules *keep)
{
    return keep->hourly;
}

static int count_daily(const struct keep_rules *keep)
{
    return keep->daily;
}

static int count_weekly(const struct keep_rules *keep)
{
    return keep->weekly;
}

static int count_monthly(const struct keep_rules *keep)
{
    return keep->monthly;
}

static int count_yearly(const struct keep_rules *keep)
{
    return keep->yearly;
}

/* Hours are told apart by the instant at which they begin, so that the hour which a clock change
 * repeats is two buckets, and zones with half-hour offsets have theirs. */
static int64_t key_hour(const struct item *item)
{
    struct civil hour = item->civil;
    hour.minute = hour.second = 0;
    return civil_to_seconds(&hour) - item->offset_s;
}

static int64_t key_day(const struct item *item)
{
    return civil_days(item->civil.year, item->civil.month, item->civil.day);
}

static int64_t key_week(const struct item *item)
{
    int32_t year;
    int week;
    civil_iso_week(&item->civil, &year, &week);
    return (int64_t)year * 100 + week;
}

static int64_t key_month(const struct item *item)
{
    return (int64_t)item->civil.year * 100 + item->civil.month;
}

static int64_t key_year(const struct item *item)
{
    return item->civil.year;
}

static void describe_hour(const struct civil *civil, char *text, size_t size)
{
    snprintf(text, size, "%04d-%02d-%02d %02d:00", civil->year, civil->month, civil->day,
             civil->hour);
}

static void describe_day(const struct civil *civil, char *text, size_t size)
{
    snprintf(text, size, "%04d-%02d-%02d", civil->year, civil->month, civil->day);
}

static void describe_week(const struct civil *civil, char *text, size_t size)
{
    int32_t year;
    int week;
    civil_iso_week(civil, &year, &week);
    snprintf(text, size, "%04d-W%02d", year, week);
}

static void describe_month(const struct civil *civil, char *text, size_t size)
{
    snprintf(text, size, "%04d-%02d", civil->year, civil->month);
}

static void describe_year(const struct civil *civil, char *text, size_t size)
{
    snprintf(text, size, "%04d", civil->year);
}

const struct count_rule count_rules[] = {
    {WISH_LAST, 0, count_last, NULL, NULL},
    {WISH_HOURLY, 3600, count_hourly, key_hour, describe_hour},
    {WISH_DAILY, 86400, count_daily, key_day, describe_day},
    {WISH_WEEKLY, 7 * 86400, count_weekly, key_week, describe_week},
    {WISH_MONTHLY, 31 * 86400, count_monthly, key_month, describe_month},
    {WISH_YEARLY, 366 * 86400, count_yearly, key_year, describe_year},
};
const size_t count_rule_count = ARRAY_SIZE(count_rules);

void item_place(struct item *item, const struct zone *zone, int64_t at_s)
{
    zone_to_civil(zone, at_s, &item->civil);
    item->offset_s = civil_to_seconds(&item->civil) - at_s;
}

/* Behind `last` they stand in this order. */
static const struct count_rule *calendar_rule(size_t rule)
{
    _Static_assert(ARRAY_SIZE(count_rules) == RETENTION_CALENDAR_RULES + 1, "all but `last`");
    return &count_rules[rule + 1];
}

int retention_calendar_count(const struct keep_rules *keep, size_t rule)
{
    return calendar_rule(rule)->count(keep);
}

int64_t retention_calendar_bucket(size_t rule, const struct zone *zone, int64_t at_us)
{
    struct item item = {.backup = NULL};
    item_place(&item, zone, at_us / US_PER_SECOND);
    return calendar_rule(rule)->key(&item);
}

const char *retention_calendar_name(size_t rule)
{
    return wish_name(calendar_rule(rule)->wish);
}

const struct count_rule *count_rule_find(enum wish wish)
{
    for (size_t i = 0; i < count_rule_count; i++)
        if (count_rules[i].wish == wish)
            return &count_rules[i];
    return NULL;
}

/* -- one stream ---------------------------------------------------------------------------------
 */

/* Where one counting rule stands on its way from the newest item to the oldest. Two keys are
 * remembered, for in a zone whose clock is set back across midnight a day comes, goes, and comes
 * once more. */
struct tally {
    int filled;
    int64_t keys[2];
};

/* The place of the item under the rule, 0 when the rule does not want it. */
static int tally_take(struct tally *tally, const struct count_rule *rule,
                      const struct keep_rules *keep, const struct item *item)
{
    if (tally->filled >= rule->count(keep))
        return 0;
    if (rule->key) {
        int64_t key = rule->key(item);
        for (int i = 0; i < tally->filled && i < 2; i++)
            if (tally->keys[i] == key)
                return 0;
        tally->keys[1] = tally->keys[0];
        tally->keys[0] = key;
    }
    return ++tally->filled;
}

/* A rule wants the item. One that is not proven yet is kept until that is decided. */
static void want(const struct membership *member, enum wish wish, int position)
{
    struct item *item = member->item;
    item_wish(item, item->proven ? wish : WISH_GRACE);
    if (wish < item->detail.wish)
        item->detail = (struct rule_detail){wish, position, member->database};
}

static bool want_within(const struct membership *member, const struct keep_rules *keep,
                        int64_t newest_us)
{
    struct item *item = member->item;
    int64_t started_us = item->backup->started_us;
    if (keep->within_us <= 0 || newest_us - started_us > keep->within_us)
        return false;
    want(member, WISH_WITHIN, 0);
    if (started_us + keep->within_us > item->within_until_us)
        item->within_until_us = started_us + keep->within_us;
    return true;
}

/* One pass over a stream. When it is the proven ones' turn, they share the places of the counting
 * rules among themselves; else all that count do, and the unproved are wanted if they win one. */
static void pass(const struct membership *members, size_t count, const struct keep_rules *keep,
                 int64_t newest_us, bool proven)
{
    struct tally tallies[ARRAY_SIZE(count_rules)] = {0};
    for (size_t i = 0; i < count; i++) {
        struct item *item = members[i].item;
        if (!item->counts || (proven && !item->proven))
            continue;
        bool speaks = item->proven == proven;
        bool wanted = speaks && want_within(&members[i], keep, newest_us);
        for (size_t rule = 0; rule < count_rule_count; rule++) {
            int position = tally_take(&tallies[rule], &count_rules[rule], keep, item);
            if (position == 0 || !speaks)
                continue;
            want(&members[i], count_rules[rule].wish, position);
            wanted = true;
        }
        item->wanted_count += wanted;
    }
}

void rules_apply(const struct membership *members, size_t count, const struct keep_rules *keep)
{
    int64_t newest_us = INSTANT_NONE;
    bool any_unproved = false;
    for (size_t i = 0; i < count; i++) {
        struct item *item = members[i].item;
        if (item->proven && newest_us == INSTANT_NONE)
            newest_us = item->backup->started_us;
        if (item->counts && !item->proven) {
            any_unproved = true;
            if (newest_us == INSTANT_NONE)
                item_wish(item, WISH_GRACE);
        }
    }
    if (newest_us == INSTANT_NONE)
        return; /* nothing is proven, so there is nothing from which to count an age */
    pass(members, count, keep, newest_us, true);
    if (any_unproved)
        pass(members, count, keep, newest_us, false);
}

/* -- words --------------------------------------------------------------------------------------
 */

void rules_describe(const struct keep_rules *keep, struct buf *text)
{
    const char *comma = "";
    if (keep->within_us > 0) {
        char duration[UNITS_TEXT_MAX];
        buf_addf(text, "within %s", duration_format(keep->within_us, duration));
        comma = ", ";
    }
    for (size_t i = 0; i < count_rule_count; i++)
        if (count_rules[i].count(keep) > 0) {
            buf_addf(text, "%s%s %d", comma, wish_name(count_rules[i].wish),
                     count_rules[i].count(keep));
            comma = ", ";
        }
}

bool rules_any(const struct keep_rules *keep)
{
    bool any = keep->within_us > 0;
    for (size_t i = 0; i < count_rule_count; i++)
        any |= count_rules[i].count(keep) > 0;
    return any;
}
