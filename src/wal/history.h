/*
 * A timeline's history file: from which timelines it descends and where each was left. One line per
 * ancestor, oldest first: number, tab, position of the switch, tab, reason ("Timelines" in
 * PostgreSQL's chapter on continuous archiving; src/backend/access/transam/timeline.c). Pure.
 *
 *     wal_history_parse(3, text, length, &history, err);
 *     wal_history_timeline_at(&history, lsn)       which timeline holds that position
 *     wal_history_clear(&history);
 *
 * A segment in which a switch lies begins the new timeline: its bytes before the switch are copied
 * into the new timeline's segment. So of an ancestor only the segments before that are needed.
 */
#ifndef PGCAIRN_WAL_HISTORY_H
#define PGCAIRN_WAL_HISTORY_H

#include "wal/name.h"

enum { WAL_HISTORY_MAX = 10000, WAL_HISTORY_BYTES_MAX = 4 << 20 };

struct wal_ancestor {
    uint32_t timeline;
    uint64_t end_lsn; /* the first position that is not this timeline's any more */
};

struct wal_history {
    uint32_t timeline;              /* whose history it is */
    struct wal_ancestor *ancestors; /* oldest first; NULL when there is none */
    size_t count;
};

/* ERR_CORRUPT when it is no history of that timeline. */
int wal_history_parse(uint32_t timeline, const char *text, size_t length,
                      struct wal_history *ret_history, struct error *err);
void wal_history_clear(struct wal_history *history);

/* Which timeline of the chain the byte at that position is on. */
uint32_t wal_history_timeline_at(const struct wal_history *history, uint64_t lsn);

/* Where a timeline of the chain begins and ends (UINT64_MAX for the last one). False when the
 * timeline is not in the chain. */
bool wal_history_span(const struct wal_history *history, uint32_t timeline, uint64_t *ret_begin_lsn,
                      uint64_t *ret_end_lsn);

#endif
