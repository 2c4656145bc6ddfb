/*
 * What the first page of a segment says of it: XLogLongPageHeaderData of PostgreSQL's
 * src/include/access/xlog_internal.h, the same layout in 13 to 18, of which each has its own magic
 * number. Little-endian, as on x86-64 and arm64. Pure.
 */
#ifndef PGCAIRN_WAL_PAGE_H
#define PGCAIRN_WAL_PAGE_H

#include "wal/name.h"

enum { WAL_PAGE_HEADER = 40 };

struct wal_page {
    int server_major;           /* 13 .. 18 */
    uint32_t timeline;          /* when the page was written, so not above that of the name: what
                                   precedes a switch is copied into the new timeline's segment */
    uint64_t address;           /* the position of the page's first byte */
    uint64_t system_identifier; /* of the server that wrote it */
    uint32_t segment_size;
    uint32_t page_size;
};

/* ERR_CORRUPT when these bytes do not begin a segment of a server of 13 to 18. */
int wal_page_read(const void *data, size_t length, struct wal_page *ret_page, struct error *err);

/* What every later page of a segment tells too, of at least 24 bytes: server_major (0: none that is
 * known), timeline and address. The rest is 0. */
void wal_page_read_short(const void *data, struct wal_page *ret_page);

/* Whether the page begins that segment (or partial segment); ERR_CORRUPT says what differs. */
int wal_page_check(const struct wal_page *page, const struct wal_name *name, struct error *err);

#endif
