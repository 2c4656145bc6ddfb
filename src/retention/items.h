/*
 * What the planner works on, private to retention: one item per backup with the wishes that speak
 * for keeping it, and its memberships in groups. A group is a kind and a database (snapshots: the
 * kind alone); within a group the items of one job are a stream, judged by that job's rules.
 *
 * Kinds are rows of a table in items.c, so that another kind of thing to prune is a row and not a
 * new planner. Order of calls: items_gather(), then the passes of plan.c, then items_clear().
 */
#ifndef PGCAIRN_RETENTION_ITEMS_H
#define PGCAIRN_RETENTION_ITEMS_H

#include "retention/retention.h"

/*
 * Why an item stays, the strongest first: the first one that is set names the decision.
 * X(enumerator, name in JSON)
 */
#define WISH_LIST(X)              \
    X(WISH_UNKNOWN, "unknown")    \
    X(WISH_RUNNING, "running")    \
    X(WISH_REMAINS, "unfinished") \
    X(WISH_DAMAGED, "damaged")    \
    X(WISH_HOLD, "hold")          \
    X(WISH_LOCK, "lock")          \
    X(WISH_FUTURE, "future")      \
    X(WISH_NO_JOB, "no-job")      \
    X(WISH_NO_KEEP, "no-keep")    \
    X(WISH_WITHIN, "within")      \
    X(WISH_LAST, "last")          \
    X(WISH_HOURLY, "hourly")      \
    X(WISH_DAILY, "daily")        \
    X(WISH_WEEKLY, "weekly")      \
    X(WISH_MONTHLY, "monthly")    \
    X(WISH_YEARLY, "yearly")      \
    X(WISH_GRACE, "grace")        \
    X(WISH_DRILLED, "drilled")    \
    X(WISH_ANCHOR, "anchor")      \
    X(WISH_FLOOR, "floor")

enum wish {
#define X(wish, name) wish,
    WISH_LIST(X)
#undef X
        WISH_COUNT,
};

const char *wish_name(enum wish wish);

/* How one rule came to want an item, for its reason. */
struct rule_detail {
    enum wish wish;       /* WISH_COUNT while no rule wants the item */
    int position;         /* "3" of "daily 3 of 7" */
    const char *database; /* of the stream whose rule it is */
};

/* Why recovery needs a snapshot, the strongest first. */
enum anchor_role {
    ANCHOR_OF_WINDOW,  /* any moment of the window is reached from it */
    ANCHOR_OLDEST,     /* none ended before the window, so it is the oldest good one */
    ANCHOR_BEHIND_GAP, /* what lies behind a hole in the WAL is reached from it */
    ANCHOR_NEXT,       /* it takes the place of the first when it is old enough */
    ANCHOR_PERHAPS,    /* a timeline may descend from it: its history is not stored */
};

struct item {
    const struct facts_backup *backup;
    const struct policy_job *job;  /* that made it, if it is in the policy with this type */
    const struct facts_hold *hold; /* the one in force that lasts longest */
    const struct facts_hold *expired_hold;
    struct civil civil; /* of its start, in its job's zone */
    int64_t offset_s;   /* of that civil time, east of UTC */
    bool counts;        /* good and not ahead of the clock: rules and floors may count it */
    bool proven;        /* counts, is verified as far as the policy demands, and did not fail it */
    unsigned wishes;    /* 1 << enum wish */
    unsigned group_count, wanted_count; /* groups it is in; those with a rule that wants it */
    struct rule_detail detail;          /* of the strongest rule */
    const char *floor_database;         /* of which it is the newest good one */
    enum anchor_role anchor_role;       /* with WISH_ANCHOR */
    int64_t within_until_us;            /* when the last `within` ends; INSTANT_NONE */
};

struct membership {
    struct item *item;
    const char *database; /* "" for kinds without databases */
};

struct items {
    struct item *items; /* by kind, newest first: the order of the decisions */
    size_t count;
    struct membership *memberships; /* by kind, database, job, newest first */
    size_t membership_count;
    size_t *by_id; /* indices into items */
};

/* Fills items from the facts: jobs found, holds attached, civil times computed. */
int items_gather(const struct facts *facts, const struct policy *policy,
                 const struct retention_zones *zones, int64_t now_us, struct items *ret_items,
                 struct error *err);
void items_clear(struct items *items);

/* Whether two neighbours in `memberships` are of one group, of one stream. */
bool membership_same_group(const struct membership *a, const struct membership *b);
bool membership_same_stream(const struct membership *a, const struct membership *b);

/* The order of time: by the start; of two that started together by the end, then by the id, so that
 * no answer ever hangs on the order of the facts. */
int compare_newest_first(const struct facts_backup *a, const struct facts_backup *b);

/* The job type that makes backups of this kind. */
enum job_type kind_job_type(enum backup_kind kind);

/* Whether jobs like this make backups in this version, and of which kind. */
bool job_makes_backups(const struct policy_job *job, enum backup_kind *ret_kind);

/* The level of verification that a backup of this job needs before it counts; job may be NULL. */
int required_level(const struct policy *policy, const struct policy_job *job);

static inline void item_wish(struct item *item, enum wish wish)
{
    item->wishes |= 1U << wish;
}

static inline bool item_has(const struct item *item, enum wish wish)
{
    return item->wishes & 1U << wish;
}

#endif
