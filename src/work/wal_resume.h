/*
 * Where a receiver goes on. Of every segment the timeline counts that holds its end (a segment with
 * a switch in it belongs to the new timeline), so along the server's history there is one row of
 * segments; what is stored of that row, and what the slot keeps, say where to begin. Pure.
 *
 * From the slot's restart position on the server has all WAL, so the row is followed from there to
 * the first segment that is not stored. When the slot begins behind the end of what is stored (it
 * was made anew), the end of what is stored is tried first, and the slot's own begin is the second
 * choice, with a gap between.
 */
#ifndef PGCAIRN_WORK_WAL_RESUME_H
#define PGCAIRN_WORK_WAL_RESUME_H

#include "wal/history.h"

struct wal_resume_question {
    const struct wal_history *history; /* of the server's timeline */
    int64_t segment_size;
    uint64_t slot_lsn;   /* from which on the slot keeps WAL; 0: it keeps none yet */
    uint64_t server_lsn; /* up to which the server has WAL */
    /* Whether that segment is stored, or waits here to be. */
    bool (*has)(uint32_t timeline, uint64_t number, void *context);
    /* The newest such segment of the timeline below that number. */
    bool (*newest_below)(uint32_t timeline, uint64_t number, uint64_t *ret_number, void *context);
    void *context;
};

struct wal_resume {
    uint32_t timeline;
    uint64_t lsn;    /* the start of a segment */
    bool has_second; /* where to begin if the server has removed what is there */
    uint32_t second_timeline;
    uint64_t second_lsn;
};

void wal_resume_find(const struct wal_resume_question *question, struct wal_resume *ret_resume);

/* Whether all WAL before the segment that begins at lsn, received on that timeline, is WAL of the
 * history too; otherwise *ret_lsn is the start of the segment in which they part, 0 when the
 * timeline is none of the history's. */
bool wal_resume_follows(const struct wal_history *history, uint32_t timeline, uint64_t lsn,
                        int64_t segment_size, uint64_t *ret_lsn);

#endif
