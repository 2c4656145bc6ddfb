#include "wal/name.h"

#include <stdio.h>
#include <string.h>

enum { FIELD = 8, LSN_HALF_MAX = 8 };

#define LOG_BYTES (INT64_C(1) << 32)

/* Exactly 8 upper-case hex digits. */
static bool take_field(const char *text, uint32_t *ret_value)
{
    uint32_t value = 0;
    for (int i = 0; i < FIELD; i++) {
        char c = text[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint32_t)(c - '0');
        else if (c >= 'A' && c <= 'F')
            value = value << 4 | (uint32_t)(c - 'A' + 10);
        else
            return false;
    }
    *ret_value = value;
    return true;
}

static bool parse_tail(const char *tail, struct wal_name *name)
{
    if (tail[0] == '\0')
        name->kind = WAL_SEGMENT;
    else if (strcmp(tail, ".partial") == 0)
        name->kind = WAL_PARTIAL;
    else if (tail[0] == '.' && take_field(tail + 1, &name->offset) &&
             strcmp(tail + 1 + FIELD, ".backup") == 0)
        name->kind = WAL_BACKUP;
    else
        return false;
    return true;
}

bool wal_name_parse(const char *text, struct wal_name *ret_name)
{
    struct wal_name name = {0};
    if (!take_field(text, &name.timeline) || name.timeline == 0)
        return false;
    if (strcmp(text + FIELD, ".history") == 0)
        name.kind = WAL_HISTORY;
    else if (!take_field(text + FIELD, &name.log) || !take_field(text + 2 * FIELD, &name.segment) ||
             !parse_tail(text + WAL_SEGMENT_NAME, &name))
        return false;
    *ret_name = name;
    return true;
}

char *wal_name_format(const struct wal_name *name, char text[WAL_NAME_MAX])
{
    if (name->kind == WAL_HISTORY) {
        snprintf(text, WAL_NAME_MAX, "%08X.history", name->timeline);
        return text;
    }
    int used =
        snprintf(text, WAL_NAME_MAX, "%08X%08X%08X", name->timeline, name->log, name->segment);
    if (name->kind == WAL_PARTIAL)
        snprintf(text + used, WAL_NAME_MAX - (size_t)used, ".partial");
    else if (name->kind == WAL_BACKUP)
        snprintf(text + used, WAL_NAME_MAX - (size_t)used, ".%08X.backup", name->offset);
    return text;
}

int wal_name_compare(const struct wal_name *a, const struct wal_name *b)
{
    char a_text[WAL_NAME_MAX], b_text[WAL_NAME_MAX];
    if ((a->kind == WAL_HISTORY) != (b->kind == WAL_HISTORY))
        return a->kind == WAL_HISTORY ? -1 : 1;
    return strcmp(wal_name_format(a, a_text), wal_name_format(b, b_text));
}

bool wal_segment_size_valid(int64_t size)
{
    return size >= WAL_SEGMENT_SIZE_MIN && size <= WAL_SEGMENT_SIZE_MAX && (size & (size - 1)) == 0;
}

bool wal_name_fits(const struct wal_name *name, int64_t segment_size)
{
    return name->kind == WAL_HISTORY ||
           (name->segment < LOG_BYTES / segment_size && name->offset < segment_size);
}

uint64_t wal_segment_number(const struct wal_name *name, int64_t segment_size)
{
    return (uint64_t)name->log * (uint64_t)(LOG_BYTES / segment_size) + name->segment;
}

struct wal_name wal_segment_name(uint32_t timeline, uint64_t number, int64_t segment_size)
{
    uint64_t per_log = (uint64_t)(LOG_BYTES / segment_size);
    return (struct wal_name){.kind = WAL_SEGMENT,
                             .timeline = timeline,
                             .log = (uint32_t)(number / per_log),
                             .segment = (uint32_t)(number % per_log)};
}

uint64_t wal_segment_at(uint64_t lsn, int64_t segment_size)
{
    return lsn / (uint64_t)segment_size;
}

uint64_t wal_segment_before(uint64_t lsn, int64_t segment_size)
{
    return lsn == 0 ? 0 : (lsn - 1) / (uint64_t)segment_size;
}

uint64_t wal_segment_start(uint64_t number, int64_t segment_size)
{
    return number * (uint64_t)segment_size;
}

/* One to eight hex digits of either case. */
static bool take_half(const char **cursor, uint32_t *ret_value)
{
    static const char DIGITS[] = "0123456789abcdef";
    uint32_t value = 0;
    int count = 0;
    for (; **cursor; (*cursor)++, count++) {
        char c = **cursor;
        const char *digit = strchr(DIGITS, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
        if (!digit || count == LSN_HALF_MAX)
            break;
        value = value << 4 | (uint32_t)(digit - DIGITS);
    }
    *ret_value = value;
    return count > 0;
}

int wal_lsn_parse(const char *text, uint64_t *ret_lsn, struct error *err)
{
    const char *cursor = text;
    uint32_t high, low;
    if (!take_half(&cursor, &high) || *cursor++ != '/' || !take_half(&cursor, &low) ||
        *cursor != '\0')
        return error_set(err, ERR_USAGE, "\"%.60s\" is no WAL position, as 16/B374D848 is", text);
    *ret_lsn = (uint64_t)high << 32 | low;
    return 0;
}

char *wal_lsn_format(uint64_t lsn, char text[WAL_LSN_TEXT_MAX])
{
    snprintf(text, WAL_LSN_TEXT_MAX, "%X/%X", (uint32_t)(lsn >> 32), (uint32_t)lsn);
    return text;
}

bool wal_timeline_parse(const char *text, uint32_t *ret_timeline)
{
    uint32_t timeline;
    if (!take_field(text, &timeline) || text[FIELD] != '\0' || timeline == 0)
        return false;
    *ret_timeline = timeline;
    return true;
}
