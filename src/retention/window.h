/*
 * What of the WAL is needed, and with which snapshots recovery begins; private to retention. The
 * rule is in README.md ("WAL"): any moment of the policy's window can be reached.
 *
 *     wal_window_find(facts, policy, &items, now_us, &window, err);    items get WISH_ANCHOR
 *     window.needs ...                                                 by system, timeline, first
 *     wal_window_clear(&window);
 *
 * A branch is a timeline with its ancestors, as its history tells. Each timeline of which WAL is
 * stored ends one, for people do go back to a timeline that was left.
 */
#ifndef PGCAIRN_RETENTION_WINDOW_H
#define PGCAIRN_RETENTION_WINDOW_H

#include "retention/items.h"

/* Why segments stay, the strongest first. X(enumerator, name in JSON) */
#define WAL_RULE_LIST(X)            \
    X(WAL_NO_JOB, "no-job")         \
    X(WAL_NO_KEEP, "no-keep")       \
    X(WAL_WINDOW, "window")         \
    X(WAL_NO_HISTORY, "no-history") \
    X(WAL_NO_ANCHOR, "no-anchor")   \
    X(WAL_HOLD, "hold")

enum wal_rule {
#define X(rule, name) rule,
    WAL_RULE_LIST(X)
#undef X
        WAL_RULE_COUNT,
};

const char *wal_rule_name(enum wal_rule rule);

/* Segments first to last of a timeline stay, stored or still to come. */
struct wal_need {
    size_t wal; /* index in facts->wals */
    uint32_t timeline;
    uint64_t first, last; /* UINT64_MAX: without an end */
    enum wal_rule rule;
    const struct item *item; /* the anchor, or the held snapshot */
    uint32_t branch;         /* WAL_NO_HISTORY: whose history is not stored */
};

struct wal_window {
    const struct policy_job *job; /* the wal job whose `within` is the longest; NULL: no wal job */
    int64_t within_us;            /* 0: no wal job has one */
    int64_t begin_us; /* the oldest moment that must be reached; INSTANT_NONE: nothing tells */
    struct wal_need *needs;
    size_t need_count, need_allocated;
};

int wal_window_find(const struct facts *facts, const struct policy *policy, struct items *items,
                    int64_t now_us, struct wal_window *ret_window, struct error *err);
void wal_window_clear(struct wal_window *window);

/* Whether that snapshot can begin a recovery with this WAL at all. */
bool wal_is_of(const struct facts_wal *wal, const struct item *item);

#endif
