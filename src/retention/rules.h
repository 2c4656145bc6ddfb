/*
 * The keep rules, private to retention: `within`, `last` and the calendar counts as a table of
 * rules, applied to one stream of items in a single pass.
 */
#ifndef PGCAIRN_RETENTION_RULES_H
#define PGCAIRN_RETENTION_RULES_H

#include "base/buf.h"
#include "retention/items.h"

/* A rule that counts: `last`, or one with calendar buckets. */
struct count_rule {
    enum wish wish;
    int64_t period_s;                            /* the usual length of a bucket; 0 for `last` */
    int (*count)(const struct keep_rules *keep); /* how many the policy asks for */
    int64_t (*key)(const struct item *item);     /* the bucket; NULL for `last` */
    void (*describe)(const struct civil *civil, char *text, size_t size); /* "2026-W47" */
};

extern const struct count_rule count_rules[];
extern const size_t count_rule_count;

/* The civil time of an item, by which the keys are made. */
void item_place(struct item *item, const struct zone *zone, int64_t at_s);

const struct count_rule *count_rule_find(enum wish wish); /* NULL for a rule without a count */

/*
 * Lets the rules of the stream's job speak for its members, which are in order, newest first.
 * Unproved items get WISH_GRACE when they are newer than every proven one, or when the rules would
 * want them were they proven; they take no place from a proven one.
 */
void rules_apply(const struct membership *members, size_t count, const struct keep_rules *keep);

/* "within 30d, last 3, daily 7" */
void rules_describe(const struct keep_rules *keep, struct buf *text);

/* Whether any rule is there at all. */
bool rules_any(const struct keep_rules *keep);

#endif
