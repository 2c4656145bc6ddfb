/*
 * Positions in write-ahead log and the names of its files (PostgreSQL: "WAL Internals",
 * src/include/access/xlog_internal.h). Pure.
 *
 *     000000020000000A000000FE              a segment: timeline, log, segment in it, 8 hex each
 *     000000020000000A000000FE.partial      the last segment of a timeline that was left
 *     000000020000000A000000FE.00000028.backup   a backup's label, begun at that offset
 *     00000002.history                      how timeline 2 came to be
 *
 * A log is 4 GiB, so how many segments are in one depends on the segment size, 1 MiB to 1 GiB in
 * powers of two. A segment number counts segments from position 0 on: the segments of a timeline
 * follow one another exactly when their numbers do.
 */
#ifndef PGCAIRN_WAL_NAME_H
#define PGCAIRN_WAL_NAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    WAL_SEGMENT_SIZE_MIN = 1 << 20,
    WAL_SEGMENT_SIZE_MAX = 1 << 30,
    WAL_SEGMENT_NAME = 24, /* characters of a segment's name */
    WAL_NAME_MAX = 48,     /* of any file's name, with its NUL */
    WAL_LSN_TEXT_MAX = 24,
};

enum wal_kind { WAL_SEGMENT, WAL_PARTIAL, WAL_BACKUP, WAL_HISTORY };

struct wal_name {
    enum wal_kind kind;
    uint32_t timeline;
    uint32_t log, segment; /* 0 for a history */
    uint32_t offset;       /* of WAL_BACKUP */
};

/* False when text is no name of a WAL file: digits are upper-case, timeline 0 does not exist. */
bool wal_name_parse(const char *text, struct wal_name *ret_name);
char *wal_name_format(const struct wal_name *name, char text[WAL_NAME_MAX]);

/* The order in which the archiver of a server sends them: histories first, then by name. */
int wal_name_compare(const struct wal_name *a, const struct wal_name *b);

bool wal_segment_size_valid(int64_t size);

/* Whether a server with that segment size has such a name at all. */
bool wal_name_fits(const struct wal_name *name, int64_t segment_size);

/* The number of the segment that the name (of any kind but a history) is of, and back. */
uint64_t wal_segment_number(const struct wal_name *name, int64_t segment_size);
struct wal_name wal_segment_name(uint32_t timeline, uint64_t number, int64_t segment_size);

/* The segment that the byte at that position is in. A position is where the next record begins, so
 * what lies before it ends in wal_segment_before(). */
uint64_t wal_segment_at(uint64_t lsn, int64_t segment_size);
uint64_t wal_segment_before(uint64_t lsn, int64_t segment_size); /* 0 for position 0 */
uint64_t wal_segment_start(uint64_t number, int64_t segment_size);

/* "16/B374D848". ERR_USAGE when it is none. */
int wal_lsn_parse(const char *text, uint64_t *ret_lsn, struct error *err);
char *wal_lsn_format(uint64_t lsn, char text[WAL_LSN_TEXT_MAX]);

/* "00000002", eight hex digits as in names; false when it is none, or 0. */
bool wal_timeline_parse(const char *text, uint32_t *ret_timeline);

#endif
