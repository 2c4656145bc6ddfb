#include "wal/pages.h"

#include <stdio.h>
#include <string.h>

enum { SHORT_HEADER = 24 };

void wal_pages_init(struct wal_pages *pages, const struct wal_name *name, const char *system,
                    int64_t segment_size)
{
    *pages = (struct wal_pages){.name = *name,
                                .system = system,
                                .segment_size = segment_size,
                                .page_size = WAL_PAGE_HEADER};
}

static bool is_zero(const unsigned char *bytes, size_t length)
{
    static const unsigned char ZEROS[512];
    for (; length > sizeof(ZEROS); bytes += sizeof(ZEROS), length -= sizeof(ZEROS))
        if (memcmp(bytes, ZEROS, sizeof(ZEROS)) != 0)
            return false;
    return memcmp(bytes, ZEROS, length) == 0;
}

static int take_first(struct wal_pages *pages, struct error *err)
{
    char system[24];
    int rc = wal_page_read(pages->header, WAL_PAGE_HEADER, &pages->first, err);
    if (!rc)
        rc = wal_page_check(&pages->first, &pages->name, err);
    if (rc)
        return rc;
    snprintf(system, sizeof(system), "%llu", (unsigned long long)pages->first.system_identifier);
    if (strcmp(system, pages->system) != 0)
        return error_set(err, ERR_CORRUPT,
                         "its first page is of the server with system identifier "
                         "%s, not %s",
                         system, pages->system);
    if (pages->first.segment_size != pages->segment_size)
        return error_set(err, ERR_CORRUPT, "its first page tells of segments of %u bytes, not %lld",
                         pages->first.segment_size, (long long)pages->segment_size);
    if (pages->first.page_size < WAL_PAGE_SIZE_MIN || pages->first.page_size > WAL_PAGE_SIZE_MAX ||
        pages->segment_size % pages->first.page_size != 0)
        return error_set(err, ERR_CORRUPT, "its first page tells of pages of %u bytes",
                         pages->first.page_size);
    pages->page_size = pages->first.page_size;
    pages->timeline = pages->first.timeline;
    return 0;
}

/* Why a page can't follow the one before; NULL when it can. */
static const char *find_fault(const struct wal_pages *pages, const struct wal_page *page,
                              uint64_t address)
{
    if (page->server_major != pages->first.server_major)
        return "is no page of this server's WAL";
    if (page->address != address)
        return "has a page of another position";
    if (page->timeline < pages->timeline || page->timeline > pages->name.timeline)
        return "has a page of another timeline";
    return NULL;
}

static int take_next(struct wal_pages *pages, int64_t begin, struct error *err)
{
    char lsn[WAL_LSN_TEXT_MAX];
    struct wal_page page;
    wal_page_read_short(pages->header, &page);
    const char *fault = find_fault(pages, &page, pages->first.address + (uint64_t)begin);
    if (!fault) {
        pages->timeline = page.timeline;
        return 0;
    }
    pages->has_ended = true;
    if (pages->name.kind == WAL_PARTIAL || is_zero(pages->header, SHORT_HEADER))
        return 0;
    return error_set(err, ERR_CORRUPT, "byte %lld (position %s) %s", (long long)begin,
                     wal_lsn_format(pages->first.address + (uint64_t)begin, lsn), fault);
}

static int take_header(struct wal_pages *pages, int64_t begin, struct error *err)
{
    return begin == 0 ? take_first(pages, err) : take_next(pages, begin, err);
}

static int check_zeros(const struct wal_pages *pages, const unsigned char *bytes, size_t length,
                       struct error *err)
{
    if (pages->name.kind == WAL_PARTIAL || is_zero(bytes, length))
        return 0;
    return error_set(err, ERR_CORRUPT, "behind byte %lld comes WAL after a page of zeros",
                     (long long)pages->offset);
}

int wal_pages_add(struct wal_pages *pages, const void *data, size_t length, struct error *err)
{
    const unsigned char *bytes = data;
    int rc = 0;
    while (length > 0 && !rc) {
        int64_t at = pages->offset % pages->page_size, begin = pages->offset - at;
        int64_t header = begin == 0 ? WAL_PAGE_HEADER : SHORT_HEADER;
        bool is_header = at < header && !pages->has_ended;
        int64_t left = (is_header ? header : pages->page_size) - at;
        size_t n = left < (int64_t)length ? (size_t)left : length;
        if (is_header)
            memcpy(pages->header + at, bytes, n);
        else if (pages->has_ended)
            rc = check_zeros(pages, bytes, n, err);
        pages->offset += (int64_t)n;
        if (is_header && at + (int64_t)n == header)
            rc = take_header(pages, begin, err);
        bytes += n;
        length -= n;
    }
    return rc;
}

int wal_pages_end(const struct wal_pages *pages, struct error *err)
{
    if (pages->offset == pages->segment_size)
        return 0;
    return error_set(err, ERR_CORRUPT, "it has %lld bytes, a segment has %lld",
                     (long long)pages->offset, (long long)pages->segment_size);
}
