/*
 * The pages of a whole segment, as its bytes come by: each begins with a header that names its own
 * position and a timeline (XLogPageHeaderData of src/include/access/xlog_internal.h), so that pages
 * which were lost, moved or left over from another segment show. Behind a forced switch of segments
 * the server leaves zeros to the end.
 *
 *     wal_pages_init(&pages, &name, "7580000000000000001", 16777216);
 *     wal_pages_add(&pages, data, length, err);     in pieces of any size
 *     wal_pages_end(&pages, err);                   that it was whole
 *
 * A partial segment may have anything behind its last page, for the server used an old file again.
 * What is on a page is not looked at: the hash in the object's name proves it. Errors are
 * ERR_CORRUPT and name the byte. Pure.
 */
#ifndef PGCAIRN_WAL_PAGES_H
#define PGCAIRN_WAL_PAGES_H

#include "wal/page.h"

enum { WAL_PAGE_SIZE_MIN = 1 << 10, WAL_PAGE_SIZE_MAX = 64 << 10 };

struct wal_pages {
    struct wal_name name;
    const char *system; /* identifier in decimal, borrowed */
    int64_t segment_size;
    int64_t offset; /* bytes taken so far */
    uint32_t page_size;
    struct wal_page first;
    uint32_t timeline; /* of the page before */
    bool has_ended;    /* zeros from here on, or of a partial segment anything */
    unsigned char header[WAL_PAGE_HEADER];
};

void wal_pages_init(struct wal_pages *pages, const struct wal_name *name, const char *system,
                    int64_t segment_size);
int wal_pages_add(struct wal_pages *pages, const void *data, size_t length, struct error *err);
int wal_pages_end(const struct wal_pages *pages, struct error *err);

#endif
