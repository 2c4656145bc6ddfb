#include "base/zone.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/zone_rule.h"

enum {
    HEADER_BYTES = 44,
    CHANGES_MAX = 10000,
    OFFSET_MAX = 26 * 3600, /* RFC 8536: -24:59:59 to 25:59:59 */
    RULE_TEXT_MAX = 256,
};

/* From `at` on, until the next one, the offset holds. */
struct change {
    int64_t at;
    int32_t offset;
};

struct zone {
    char *name;
    struct change *changes; /* the first is at INT64_MIN; each one differs from that before it */
    size_t count;           /* >= 1 */
    struct zone_rule rule;  /* goes on after the last change, if it has changes */
};

/* The parts of a TZif data block: counts as its header gives them, then where its arrays are. */
struct block {
    uint32_t utc_count, standard_count, leap_count, time_count, type_count, char_count;
    const unsigned char *times, *indexes, *types;
    size_t bytes; /* of the data behind the header */
};

static uint32_t read_u32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t read_i64(const unsigned char *at)
{
    return (int64_t)((uint64_t)read_u32(at) << 32 | read_u32(at + 4));
}

static bool name_is_valid(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > ZONE_NAME_MAX || name[length - 1] == '/')
        return false;
    for (size_t i = 0; i < length; i++) {
        bool starts_part = i == 0 || name[i - 1] == '/';
        if (starts_part ? !isalnum((unsigned char)name[i])
                        : !isalnum((unsigned char)name[i]) && !strchr("_+-./", name[i]))
            return false;
        if (name[i] == '.' && name[i - 1] == '.')
            return false;
    }
    return true;
}

static int zone_new(const char *name, size_t changes, struct zone **ret_zone, struct error *err)
{
    _cleanup_(zone_freep) struct zone *zone = calloc(1, sizeof(*zone));
    if (!zone)
        return error_no_memory(err);
    zone->name = strdup(name);
    zone->changes = calloc(changes, sizeof(*zone->changes));
    if (!zone->name || !zone->changes)
        return error_no_memory(err);
    zone->changes[0] = (struct change){.at = INT64_MIN};
    zone->count = 1;
    *ret_zone = TAKE(zone);
    return 0;
}

struct zone *zone_free(struct zone *zone)
{
    if (zone) {
        free(zone->name);
        free(zone->changes);
        free(zone);
    }
    return NULL;
}

const char *zone_name(const struct zone *zone)
{
    return zone->name;
}

/* Reads the header at data and finds the arrays behind it; times are `time_bytes` wide. */
static bool read_block(const unsigned char *data, size_t length, size_t time_bytes,
                       struct block *ret_block)
{
    if (length < HEADER_BYTES || memcmp(data, "TZif", 4) != 0)
        return false;
    struct block block = {
        .utc_count = read_u32(data + 20),
        .standard_count = read_u32(data + 24),
        .leap_count = read_u32(data + 28),
        .time_count = read_u32(data + 32),
        .type_count = read_u32(data + 36),
        .char_count = read_u32(data + 40),
    };
    block.bytes = block.time_count * (time_bytes + 1) + (size_t)block.type_count * 6 +
                  block.char_count + block.leap_count * (time_bytes + 4) + block.standard_count +
                  block.utc_count;
    if (block.type_count == 0 || block.time_count > CHANGES_MAX ||
        block.bytes > length - HEADER_BYTES)
        return false;
    block.times = data + HEADER_BYTES;
    block.indexes = block.times + block.time_count * time_bytes;
    block.types = block.indexes + block.time_count;
    *ret_block = block;
    return true;
}

static bool read_offset(const struct block *block, uint32_t type, int32_t *ret_offset)
{
    if (type >= block->type_count)
        return false;
    *ret_offset = (int32_t)read_u32(block->types + (size_t)type * 6);
    return *ret_offset >= -OFFSET_MAX && *ret_offset <= OFFSET_MAX;
}

/* Type 0 holds before the first change. Changes that leave the offset as it is are left out, so
 * that a span ends only where local time jumps. */
static bool read_changes(const struct block *block, struct zone *zone)
{
    if (!read_offset(block, 0, &zone->changes[0].offset))
        return false;
    int64_t last_at = INT64_MIN;
    for (size_t i = 0; i < block->time_count; i++) {
        struct change change = {.at = read_i64(block->times + i * 8)};
        if (change.at <= last_at || !read_offset(block, block->indexes[i], &change.offset))
            return false;
        last_at = change.at;
        if (change.offset != zone->changes[zone->count - 1].offset)
            zone->changes[zone->count++] = change;
    }
    return true;
}

/* The footer is a line of its own behind the data: "\nRULE\n", where RULE may be empty. */
static int read_footer(const unsigned char *data, size_t length, struct zone *zone,
                       struct error *err)
{
    const unsigned char *end = length > 1 ? memchr(data + 1, '\n', length - 1) : NULL;
    if (!end || data[0] != '\n' || end - data > RULE_TEXT_MAX)
        return error_set(err, ERR_CORRUPT, "its footer is damaged");
    if (end == data + 1)
        return 0;
    char text[RULE_TEXT_MAX];
    snprintf(text, sizeof(text), "%.*s", (int)(end - data - 1), (const char *)data + 1);
    int rc = zone_rule_parse(text, &zone->rule, err);
    if (rc)
        return rc;
    /* A file without changes, or with a last one that only the footer tells. */
    if (!zone->rule.has_changes && zone->count == 1)
        zone->changes[0].offset = zone->rule.standard_offset;
    return 0;
}

static int read_tzif(const char *name, const unsigned char *data, size_t length,
                     struct zone **ret_zone, struct error *err)
{
    struct block block;
    if (length < 4 || memcmp(data, "TZif", 4) != 0)
        return error_set(err, ERR_USAGE, "it is no time zone");
    if (!read_block(data, length, 4, &block))
        return error_set(err, ERR_CORRUPT, "it is cut short or damaged");
    if (data[4] < '2')
        return error_set(err, ERR_CORRUPT, "it is of version 1, which ends in 2037");
    size_t skip = HEADER_BYTES + block.bytes;
    if (!read_block(data + skip, length - skip, 8, &block))
        return error_set(err, ERR_CORRUPT, "it is cut short or damaged");
    if (block.leap_count > 0)
        return error_set(err, ERR_USAGE, "it counts leap seconds");
    _cleanup_(zone_freep) struct zone *zone = NULL;
    int rc = zone_new(name, (size_t)block.time_count + 1, &zone, err);
    if (rc)
        return rc;
    if (!read_changes(&block, zone))
        return error_set(err, ERR_CORRUPT, "its changes are damaged");
    skip += HEADER_BYTES + block.bytes;
    rc = read_footer(data + skip, length - skip, zone, err);
    if (rc)
        return rc;
    *ret_zone = TAKE(zone);
    return 0;
}

int zone_load_from(const char *folder, const char *name, struct zone **ret_zone, struct error *err)
{
    if (strcmp(name, "UTC") == 0 || strcmp(name, "Etc/UTC") == 0)
        return zone_new(name, 1, ret_zone, err);
    if (!name_is_valid(name)) {
        error_set(err, ERR_USAGE, "\"%.80s\" is no name of a time zone", name);
        return error_hint(err, "use a name such as UTC or Europe/Berlin");
    }
    _cleanup_(freep) char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return error_no_memory(err);
    struct buf content = BUF_INIT(ZONE_FILE_MAX);
    int rc = file_read(path, &content, err);
    if (rc == ERR_NOT_FOUND || rc == ERR_IO) {
        error_set(err, ERR_USAGE, "there is no time zone \"%s\" in %s", name, folder);
        error_hint(err, access(folder, R_OK) == 0
                            ? "use a name such as UTC or Europe/Berlin; upper and lower case differ"
                            : "install the package tzdata");
        rc = ERR_USAGE;
    } else if (!rc) {
        rc = read_tzif(name, (const unsigned char *)buf_text(&content), content.length, ret_zone,
                       err);
        if (rc)
            error_prefix(err, "time zone \"%s\" (%s)", name, path);
    }
    buf_clear(&content);
    return rc;
}

int zone_load(const char *name, struct zone **ret_zone, struct error *err)
{
    return zone_load_from(ZONE_FOLDER, name, ret_zone, err);
}

/* The span at an instant at or after the last change of the table, by the footer's rule. The
 * changes of three years around it hold the one before and the one after it. */
static void rule_span_at(const struct zone *zone, int64_t seconds, struct zone_span *ret_span)
{
    const struct zone_rule *rule = &zone->rule;
    const struct change *last = &zone->changes[zone->count - 1];
    *ret_span = (struct zone_span){.start = last->at, .end = INT64_MAX, .offset = last->offset};
    struct civil civil;
    civil_from_seconds(seconds, &civil);
    for (int32_t year = civil.year - 1; year <= civil.year + 1; year++) {
        struct change changes[2] = {
            {.at = zone_rule_to_daylight(rule, year), .offset = rule->daylight_offset},
            {.at = zone_rule_to_standard(rule, year), .offset = rule->standard_offset},
        };
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
            const struct change *change = &changes[i];
            if (change->at > seconds && change->at < ret_span->end)
                ret_span->end = change->at;
            if (change->at <= seconds && change->at > ret_span->start) {
                ret_span->start = change->at;
                ret_span->offset = change->offset;
            }
        }
    }
}

void zone_span_at(const struct zone *zone, int64_t seconds, struct zone_span *ret_span)
{
    size_t low = 0;
    size_t high = zone->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (zone->changes[middle].at <= seconds)
            low = middle;
        else
            high = middle;
    }
    if (high == zone->count && zone->rule.has_changes) {
        rule_span_at(zone, seconds, ret_span);
        return;
    }
    *ret_span = (struct zone_span){
        .start = zone->changes[low].at,
        .end = high < zone->count ? zone->changes[high].at : INT64_MAX,
        .offset = zone->changes[low].offset,
    };
}

int32_t zone_offset_at(const struct zone *zone, int64_t seconds)
{
    struct zone_span span;
    zone_span_at(zone, seconds, &span);
    return span.offset;
}

void zone_to_civil(const struct zone *zone, int64_t seconds, struct civil *ret_civil)
{
    civil_from_seconds(seconds + zone_offset_at(zone, seconds), ret_civil);
}

enum zone_times zone_from_civil(const struct zone *zone, const struct civil *civil,
                                int64_t *ret_first, int64_t *ret_second)
{
    int64_t local = civil_to_seconds(civil);
    int64_t gap = INT64_MIN; /* the change that skips this local time */
    int found = 0;
    struct zone_span span;
    zone_span_at(zone, local - OFFSET_MAX, &span);
    for (;;) {
        int64_t instant = local - span.offset;
        if (instant >= span.start && instant < span.end) {
            *(found++ == 0 ? ret_first : ret_second) = instant;
            if (found == 1)
                *ret_second = instant;
        }
        if (span.end == INT64_MAX || span.end > local + OFFSET_MAX)
            break;
        struct zone_span next;
        zone_span_at(zone, span.end, &next);
        if (local >= span.end + span.offset && local < span.end + next.offset)
            gap = span.end;
        span = next;
    }
    if (found > 0)
        return found == 1 ? ZONE_ONCE : ZONE_FOLD;
    *ret_first = *ret_second = gap;
    return ZONE_GAP;
}
