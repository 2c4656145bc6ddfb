/*
 * Is WAL whole, and to which times can the cluster be recovered? Pure: facts of what is stored,
 * what the server says, and the time come in; ranges, gaps and windows come out.
 *
 *     continuity_judge(&facts, &question, &continuity, err);
 *     continuity_clear(&continuity);
 *
 * Followed is the server's chain of timelines: of each ancestor the segments before that of the
 * switch, then those of the present timeline up to the last that is finished. It begins at the
 * oldest anchor (a snapshot), or without one at the oldest WAL. A moment can be reached when a
 * snapshot ended before it and no segment is missing from that snapshot's start on. Times of WAL
 * come from marks (all that was committed at that time was stored), else from the store's clock.
 */
#ifndef PGCAIRN_RETENTION_CONTINUITY_H
#define PGCAIRN_RETENTION_CONTINUITY_H

#include "facts/facts.h"

enum {
    CONTINUITY_GAPS_MAX = 1000, /* kept; more are counted */
    CONTINUITY_ANCHORS_MAX = 100000,
};

enum gap_state {
    GAP_DELAYED,      /* the server still has it and will archive it */
    GAP_UPLOADING,    /* being written at this moment */
    GAP_LOST,         /* nobody has it */
    GAP_ACKNOWLEDGED, /* lost, and a person knows */
    GAP_EXPIRED,      /* deleted by a prune */
};

/* A snapshot that recovery can begin with. */
struct wal_anchor {
    const char *id;
    uint32_t timeline;
    uint64_t start_lsn, end_lsn; /* WAL from start on is needed; consistent at end */
    int64_t end_us;
};

/* Where a segment that is not stored is. */
typedef enum gap_state (*gap_locate)(const struct wal_name *name, void *context);

struct continuity_question {
    uint32_t timeline; /* of the server; 0: not known, the newest that is stored */
    uint64_t lsn;      /* up to which WAL is written; not looked at when timeline is 0 */
    int64_t now_us;
    const struct wal_anchor *anchors; /* any order */
    size_t anchor_count;
    gap_locate locate; /* NULL: what is not stored is lost */
    void *context;
};

struct continuity_gap {
    struct wal_name first, last; /* of one timeline and one state */
    uint64_t segments;
    enum gap_state state;
    int64_t
        from_us; /* what was committed until then lies before the gap; INSTANT_NONE: not known */
    int64_t until_us; /* when the next snapshot behind it ended; INSTANT_NONE: there is none yet */
};

struct continuity_window {
    int64_t from_us, to_us;
    const char *anchor_id; /* the one it begins with; borrowed from the question */
    bool is_open;          /* it reaches to the end of what is stored, and grows */
};

struct continuity {
    uint32_t timeline; /* the one that was followed to its end */
    bool knows_chain;  /* false: the history of the timeline is not stored */
    bool has_wal;
    uint64_t expected_last;      /* segments up to that one are finished */
    int64_t missing_segments;    /* in all gaps but the expired ones */
    struct continuity_gap *gaps; /* in the order of the chain */
    size_t gap_count;            /* kept */
    int64_t gap_total;           /* seen */
    int64_t lost_gaps;           /* of those, the lost ones that nobody has acknowledged */
    int64_t pending_gaps;        /* of those, the delayed ones and those being uploaded */
    int64_t lag_segments;        /* finished and not stored, at the end */
    int64_t lag_us;              /* since what is stored without a gap was all; 0 without lag */
    int64_t newest_us;           /* the last moment that what is stored at the end reaches */
    struct continuity_window *windows; /* in order, disjoint */
    size_t window_count;
};

/* The good snapshots of a system, without those in which a verification found a fault, as anchors
 * whose ids are borrowed from the facts. The caller frees the array. */
int continuity_find_anchors(const struct facts *facts, const char *system_identifier,
                            struct wal_anchor **ret_anchors, size_t *ret_count, struct error *err);

int continuity_judge(const struct facts_wal *facts, const struct continuity_question *question,
                     struct continuity *ret_continuity, struct error *err);
void continuity_clear(struct continuity *continuity);

/* A span of moments, ends included. */
struct continuity_span {
    int64_t from_us, to_us;
};

/* The moments that could be recovered before and can't any more. The caller frees the array. */
int continuity_find_lost(const struct continuity *before, const struct continuity *after,
                         struct continuity_span **ret_spans, size_t *ret_count, struct error *err);

const char *gap_state_name(enum gap_state state); /* "delayed" */

#endif
