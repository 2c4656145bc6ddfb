/*
 * Facts of WAL: what is stored of one system identifier, as ranges of segments per timeline, so
 * that memory grows with the gaps and not with the segments. The repository fills it in the order
 * of its listing; continuity and retention read it.
 *
 *     facts_wal_begin(&wal, "7580000000000000001", 16777216, err);
 *     facts_wal_add_segment(&wal, &object, err);       ascending within a timeline
 *     facts_wal_timeline(&wal, 2)                      NULL when nothing of it is stored
 *     facts_wal_clear(&wal);
 */
#ifndef PGCAIRN_FACTS_WAL_H
#define PGCAIRN_FACTS_WAL_H

#include "base/error.h"
#include "base/instant.h"
#include "wal/history.h"
#include "wal/name.h"

enum {
    FACTS_WAL_SYSTEM_MAX = 20,     /* digits of a system identifier */
    FACTS_WAL_RANGES_MAX = 100000, /* contiguous ranges of one timeline: each ends in a gap */
    FACTS_WAL_TIMELINES_MAX = 10000,
    FACTS_WAL_MARKS_MAX = 1000000,
    FACTS_WAL_FAULTS_MAX = 20,   /* kept of those that were seen */
    FACTS_WAL_SPANS_MAX = 10000, /* acknowledged, or pruned, of one timeline */
};

/* Segments first to last, all stored. Times are those of the first and last object by the store's
 * clock: a segment's content is older than its object. */
struct facts_wal_range {
    uint64_t first, last; /* segment numbers */
    int64_t first_stored_us, last_stored_us;
    int64_t bytes; /* stored */
};

/* WAL was written and stored up to lsn at that time. */
struct facts_wal_mark {
    int64_t time_us;
    uint64_t lsn;
};

/* Segments that are known not to be there. */
struct facts_wal_span {
    uint64_t first, last;
};

struct facts_wal_timeline {
    uint32_t timeline;
    struct facts_wal_range *ranges; /* ascending; between two lies a gap */
    size_t range_count, range_allocated;
    struct facts_wal_mark *marks; /* in the order of their times */
    size_t mark_count, mark_allocated;
    struct facts_wal_span *acknowledged; /* lost, as a person knows; by their first segments */
    size_t acknowledged_count, acknowledged_allocated;
    struct facts_wal_span *pruned; /* deleted by a prune; likewise */
    size_t pruned_count, pruned_allocated;
    bool has_history;
    struct wal_history history;
    int64_t bytes;   /* of all objects of the timeline, histories and the like included */
    int64_t objects; /* their number */
};

struct facts_wal {
    char system_identifier[FACTS_WAL_SYSTEM_MAX + 1];
    int64_t segment_size;
    struct facts_wal_timeline *timelines; /* ascending */
    size_t timeline_count, timeline_allocated;
    int64_t fault_count;                          /* names with two contents, objects of no bytes */
    struct wal_name faults[FACTS_WAL_FAULTS_MAX]; /* the first of them */
    int64_t stray_count, stray_bytes;             /* objects that are no WAL nor belong to it */
    char *stray;                                  /* the key of the first; NULL */
};

int facts_wal_begin(struct facts_wal *wal, const char *system_identifier, int64_t segment_size,
                    struct error *err);
void facts_wal_clear(struct facts_wal *wal);

/* The timeline's entry, made when it is new; timelines come in ascending order. */
int facts_wal_add_timeline(struct facts_wal *wal, uint32_t timeline,
                           struct facts_wal_timeline **ret_timeline, struct error *err);

/* A stored segment, in ascending order within the timeline; the same number again is a fault. */
int facts_wal_add_segment(struct facts_wal *wal, struct facts_wal_timeline *timeline,
                          const struct wal_name *name, int64_t stored_us, int64_t bytes,
                          struct error *err);
/* As if it were not stored, because it is of no use. before_us: when the one before it was stored;
 * stored_us: when it was. */
int facts_wal_drop_segment(struct facts_wal *wal, const struct wal_name *name, int64_t before_us,
                           int64_t stored_us, struct error *err);
void facts_wal_add_fault(struct facts_wal *wal, const struct wal_name *name);
int facts_wal_add_mark(struct facts_wal_timeline *timeline, int64_t time_us, uint64_t lsn,
                       struct error *err);
int facts_wal_acknowledge(struct facts_wal_timeline *timeline, uint64_t first, uint64_t last,
                          struct error *err);
int facts_wal_add_pruned(struct facts_wal_timeline *timeline, uint64_t first, uint64_t last,
                         struct error *err);

const struct facts_wal_timeline *facts_wal_timeline(const struct facts_wal *wal, uint32_t timeline);

/* The range that holds a segment, NULL when it is not stored. */
const struct facts_wal_range *facts_wal_find(const struct facts_wal_timeline *timeline,
                                             uint64_t number);

/* The newest stored segment; false when there is none. */
bool facts_wal_newest(const struct facts_wal_timeline *timeline, uint64_t *ret_number);

#endif
