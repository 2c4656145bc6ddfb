#include "wal/page.h"

/* Where the fields lie. */
enum {
    AT_MAGIC = 0,
    AT_INFO = 2,
    AT_TIMELINE = 4,
    AT_ADDRESS = 8,
    AT_SYSTEM = 24,
    AT_SEGMENT_SIZE = 32,
    AT_PAGE_SIZE = 36,
    LONG_HEADER = 2, /* a bit of the info field */
};

static const struct {
    uint16_t magic;
    int major;
} MAGICS[] = {
    {0xD106, 13}, {0xD10D, 14}, {0xD110, 15}, {0xD113, 16}, {0xD116, 17}, {0xD118, 18},
};

static uint64_t take_number(const unsigned char *bytes, int count)
{
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static int major_of(uint16_t magic)
{
    for (size_t i = 0; i < ARRAY_SIZE(MAGICS); i++)
        if (MAGICS[i].magic == magic)
            return MAGICS[i].major;
    return 0;
}

void wal_page_read_short(const void *data, struct wal_page *ret_page)
{
    const unsigned char *bytes = data;
    *ret_page = (struct wal_page){
        .server_major = major_of((uint16_t)take_number(bytes + AT_MAGIC, 2)),
        .timeline = (uint32_t)take_number(bytes + AT_TIMELINE, 4),
        .address = take_number(bytes + AT_ADDRESS, 8),
    };
}

int wal_page_read(const void *data, size_t length, struct wal_page *ret_page, struct error *err)
{
    const unsigned char *bytes = data;
    if (length < WAL_PAGE_HEADER)
        return error_set(err, ERR_CORRUPT, "%zu bytes are too short for a WAL segment", length);
    uint16_t magic = (uint16_t)take_number(bytes + AT_MAGIC, 2);
    struct wal_page page;
    wal_page_read_short(data, &page);
    page.system_identifier = take_number(bytes + AT_SYSTEM, 8);
    page.segment_size = (uint32_t)take_number(bytes + AT_SEGMENT_SIZE, 4);
    page.page_size = (uint32_t)take_number(bytes + AT_PAGE_SIZE, 4);
    if (page.server_major == 0) {
        error_set(err, ERR_CORRUPT,
                  "it does not begin as WAL of PostgreSQL 13 to 18 does (magic number %04X)",
                  magic);
        return error_hint(err, "is it a WAL segment? A newer server needs a newer pgcairn");
    }
    if (!(take_number(bytes + AT_INFO, 2) & LONG_HEADER))
        return error_set(err, ERR_CORRUPT, "its first page is not the first page of a segment");
    if (!wal_segment_size_valid(page.segment_size))
        return error_set(err, ERR_CORRUPT, "its first page tells of segments of %u bytes",
                         page.segment_size);
    *ret_page = page;
    return 0;
}

int wal_page_check(const struct wal_page *page, const struct wal_name *name, struct error *err)
{
    char text[WAL_NAME_MAX], lsn[WAL_LSN_TEXT_MAX];
    wal_name_format(name, text);
    if (!wal_name_fits(name, page->segment_size))
        return error_set(err, ERR_CORRUPT, "a server with segments of %u bytes has none named %s",
                         page->segment_size, text);
    uint64_t start =
        wal_segment_start(wal_segment_number(name, page->segment_size), page->segment_size);
    if (page->address != start)
        return error_set(err, ERR_CORRUPT, "its first page is that of WAL position %s, not of %s",
                         wal_lsn_format(page->address, lsn), text);
    if (page->timeline > name->timeline || page->timeline == 0)
        return error_set(err, ERR_CORRUPT, "its first page is of timeline %u, which %s can't hold",
                         page->timeline, text);
    return 0;
}
