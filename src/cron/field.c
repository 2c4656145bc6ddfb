#include "cron/expr.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

enum {
    NAME_LENGTH = 3,
    NUMBER_MAX = 1000000, /* larger numbers are read as this one: out of every range */
    DAYS_IN_WEEK = 7,
    NTH_MAX = 5,
    QUOTE_MAX = 40, /* characters of the text that an error repeats */
};

static const char *const MONTHS[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                     "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const WEEKDAYS[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

static const struct field_kind {
    const char *name;
    int low, high; /* high is what may be written; 7 is another Sunday */
    const char *const *names;
    size_t name_count;
} KINDS[CRON_FIELD_COUNT] = {
    [CRON_MINUTE] = {"minute", 0, 59, NULL, 0},
    [CRON_HOUR] = {"hour", 0, 23, NULL, 0},
    [CRON_DAY] = {"day of the month", 1, 31, NULL, 0},
    [CRON_MONTH] = {"month", 1, 12, MONTHS, ARRAY_SIZE(MONTHS)},
    [CRON_WEEKDAY] = {"day of the week", 0, 7, WEEKDAYS, ARRAY_SIZE(WEEKDAYS)},
    [CRON_SECOND] = {"second", 0, 59, NULL, 0},
    [CRON_YEAR] = {"year", CRON_YEAR_FIRST, CRON_YEAR_LAST, NULL, 0},
};

/* What is being read: one field, and how far. */
struct reader {
    enum cron_field_index index;
    const struct field_kind *kind;
    const char *at, *end;
    struct cron_field field;
    const char *plain_at, *nth_at; /* the first item of either sort, NULL while there is none */
    struct cron_fault *fault;
};

struct value {
    int number;
    bool is_name;
};

int cron_fault(struct cron_fault *fault, const char *at, const char *format, ...)
{
    char message[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    fault->column = (int)(at - fault->text) + 1;
    return error_set(fault->err, ERR_USAGE, "%s", message);
}

int cron_field_low(enum cron_field_index index)
{
    return KINDS[index].low;
}

int cron_field_high(enum cron_field_index index)
{
    return index == CRON_WEEKDAY ? DAYS_IN_WEEK - 1 : KINDS[index].high;
}

static bool at_end(const struct reader *reader)
{
    return reader->at == reader->end || *reader->at == ',';
}

static bool next_is(const struct reader *reader, char wanted)
{
    return reader->at < reader->end && tolower((unsigned char)*reader->at) == wanted;
}

static bool take(struct reader *reader, char wanted)
{
    if (!next_is(reader, wanted))
        return false;
    reader->at++;
    return true;
}

/* The length of the word at `at`, for an error: up to the next separator, at least one byte; a
 * UTF-8 character is not cut. */
static int word_length(const struct reader *reader, const char *at)
{
    const char *end = at;
    while (end < reader->end && !strchr(",-/#()", *end))
        end++;
    if (end == at && end < reader->end)
        end++;
    if (end - at > QUOTE_MAX) {
        end = at + QUOTE_MAX;
        while (end > at && ((unsigned char)*end & 0xc0) == 0x80)
            end--;
    }
    return (int)(end - at);
}

/* Something stands at reader->at that can't. */
static int unexpected(struct reader *reader, const char *expected)
{
    if (at_end(reader))
        return cron_fault(reader->fault, reader->at, "%s is missing in the %s field", expected,
                          reader->kind->name);
    return cron_fault(reader->fault, reader->at, "\"%.*s\" in the %s field: expected %s",
                      word_length(reader, reader->at), reader->at, reader->kind->name, expected);
}

/* Adds low, low+step ... up to high, both as written; the values run on behind the field's end to
 * its beginning. */
static void add_range(struct reader *reader, int low, int high, int step)
{
    int size = cron_field_high(reader->index) - reader->kind->low + 1;
    for (int value = low - reader->kind->low; value <= high - reader->kind->low; value += step) {
        int bit = value % size;
        reader->field.bits[bit / 64] |= UINT64_C(1) << (bit % 64);
    }
}

static int read_digits(struct reader *reader)
{
    int number = 0;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') {
        number = number * 10 + (*reader->at++ - '0');
        if (number > NUMBER_MAX)
            number = NUMBER_MAX;
    }
    return number;
}

static bool digit_is_next(const struct reader *reader)
{
    return reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9';
}

static int read_name(struct reader *reader, struct value *ret_value)
{
    const struct field_kind *kind = reader->kind;
    int length = word_length(reader, reader->at);
    for (size_t i = 0; i < kind->name_count && length == NAME_LENGTH; i++) {
        if (strncasecmp(reader->at, kind->names[i], NAME_LENGTH) == 0) {
            reader->at += NAME_LENGTH;
            *ret_value = (struct value){.number = kind->low + (int)i, .is_name = true};
            return 0;
        }
    }
    if (at_end(reader))
        return unexpected(reader, "a value");
    char word[QUOTE_MAX + 1];
    snprintf(word, sizeof(word), "%.*s", length, reader->at);
    int rc = cron_fault(reader->fault, reader->at, "\"%s\" is no %s", word, kind->name);
    if (kind->names)
        error_hint(reader->fault->err, "use %d-%d or %s to %s", kind->low, kind->high,
                   kind->names[0], kind->names[kind->name_count - 1]);
    return rc;
}

/* A number within the field's range, or a name. */
static int read_value(struct reader *reader, struct value *ret_value)
{
    const struct field_kind *kind = reader->kind;
    const char *start = reader->at;
    if (!digit_is_next(reader))
        return read_name(reader, ret_value);
    int number = read_digits(reader);
    if (number < kind->low || number > kind->high)
        return cron_fault(reader->fault, start, "%s %.*s is not in %d-%d", kind->name,
                          (int)(reader->at - start < QUOTE_MAX ? reader->at - start : QUOTE_MAX),
                          start, kind->low, kind->high);
    *ret_value = (struct value){.number = number};
    return 0;
}

/* "/n", if it is there; else 1. */
static int read_step(struct reader *reader, int *ret_step)
{
    *ret_step = 1;
    if (!take(reader, '/'))
        return 0;
    const char *start = reader->at;
    if (!digit_is_next(reader))
        return unexpected(reader, "a number after \"/\"");
    *ret_step = read_digits(reader);
    if (*ret_step < 1)
        return cron_fault(reader->fault, start, "a step of 0 in the %s field", reader->kind->name);
    return 0;
}

/* "#n" behind a weekday, or behind a range of names of them. */
static int read_nth(struct reader *reader, int low, int high)
{
    const char *start = reader->at;
    if (!digit_is_next(reader))
        return unexpected(reader, "a number after \"#\"");
    int number = read_digits(reader);
    if (number < 1 || number > NTH_MAX)
        return cron_fault(
            reader->fault, start,
            "a month has no such week: \"#\" takes 1 to 5, \"L5\" is the last Friday");
    for (int day = low; day <= high; day++)
        reader->field.nth[day % DAYS_IN_WEEK] |= (uint8_t)(1 << number);
    return 0;
}

/* Takes both ends of a range to where the values run upwards: 7 is Sunday, and what wraps goes on
 * behind the field's end. */
static void unroll(const struct reader *reader, int *low, int *high)
{
    int size = cron_field_high(reader->index) - reader->kind->low + 1;
    if (reader->index == CRON_WEEKDAY && *low == DAYS_IN_WEEK) {
        *low = 0;
        *high %= DAYS_IN_WEEK;
    }
    if (*low > *high)
        *high += size;
}

/* "a-b", behind the dash. */
static int read_range(struct reader *reader, const struct value *from)
{
    struct value to = {0};
    int step;
    if (reader->index == CRON_DAY && take(reader, 'l')) {
        to.number = reader->kind->high;
    } else {
        int rc = read_value(reader, &to);
        if (rc)
            return rc;
    }
    int low = from->number;
    int high = to.number;
    unroll(reader, &low, &high);
    if (from->is_name && to.is_name && reader->index == CRON_WEEKDAY && take(reader, '#'))
        return read_nth(reader, low, high);
    int rc = read_step(reader, &step);
    if (!rc)
        add_range(reader, low, high, step);
    return rc;
}

/* "*" or "*" with a step. */
static int read_star(struct reader *reader)
{
    int step;
    bool is_bare = at_end(reader);
    int rc = read_step(reader, &step);
    if (rc)
        return rc;
    add_range(reader, reader->kind->low, cron_field_high(reader->index), step);
    reader->field.is_any = reader->field.is_any || is_bare;
    return 0;
}

/* "L5", behind the letter. */
static int read_last_weekday(struct reader *reader)
{
    struct value day = {0};
    if (!digit_is_next(reader))
        return unexpected(reader, "a number after \"L\" (\"L5\" is the last Friday)");
    int rc = read_value(reader, &day);
    if (!rc)
        reader->field.nth[day.number % DAYS_IN_WEEK] |= 1 << CRON_NTH_LAST_BIT;
    return rc;
}

static int read_values(struct reader *reader)
{
    struct value value = {0};
    int step;
    int rc = read_value(reader, &value);
    if (rc)
        return rc;
    if (take(reader, '-'))
        return read_range(reader, &value);
    if (reader->index == CRON_WEEKDAY) {
        value.number %= DAYS_IN_WEEK;
        if (take(reader, '#'))
            return read_nth(reader, value.number, value.number);
    }
    bool is_open = next_is(reader, '/');
    rc = read_step(reader, &step);
    if (!rc)
        add_range(reader, value.number, is_open ? cron_field_high(reader->index) : value.number,
                  step);
    return rc;
}

static int read_item(struct reader *reader)
{
    if (take(reader, '*'))
        return read_star(reader);
    if (reader->index == CRON_DAY && take(reader, 'l')) {
        reader->field.last_day = true;
        return 0;
    }
    if (reader->index == CRON_WEEKDAY && take(reader, 'l'))
        return read_last_weekday(reader);
    if (next_is(reader, '?'))
        return cron_fault(
            reader->fault, reader->at,
            "\"?\" must stand alone in the field of the day of the month or of the week");
    if (next_is(reader, 'h') || next_is(reader, 'r'))
        return cron_fault(reader->fault, reader->at, "\"%c\" can't be a part of the %s field%s",
                          *reader->at, reader->kind->name,
                          next_is(reader, 'h') ? ": H, H/n, H(a-b) and H(a-b)/n stand alone"
                                               : ": R (random) is not supported, use H");
    return read_values(reader);
}

/* Whether the item just read chose the n-th weekdays of the month: "fri#2", "L5". */
static bool is_nth_item(const char *start, const struct reader *reader)
{
    return reader->index == CRON_WEEKDAY &&
           (tolower((unsigned char)*start) == 'l' ||
            memchr(start, '#', (size_t)(reader->at - start)) != NULL);
}

static int read_list(struct reader *reader)
{
    for (;;) {
        const char *start = reader->at;
        int rc = read_item(reader);
        if (rc)
            return rc;
        if (!at_end(reader))
            return unexpected(reader, "a comma or the field's end");
        const char **first = is_nth_item(start, reader) ? &reader->nth_at : &reader->plain_at;
        if (!*first)
            *first = start;
        if (!take(reader, ','))
            break;
    }
    if (reader->nth_at && reader->plain_at)
        return cron_fault(reader->fault,
                          reader->nth_at > reader->plain_at ? reader->nth_at : reader->plain_at,
                          "weekdays of every week and of certain weeks can't be mixed");
    return 0;
}

/* "(a-b)", if it is there; else the whole field. */
static int read_hash_range(struct reader *reader, int *ret_low, int *ret_high)
{
    struct value low = {.number = reader->kind->low};
    struct value high = {.number = cron_field_high(reader->index)};
    if (take(reader, '(')) {
        const char *start = reader->at;
        int rc = read_value(reader, &low);
        if (!rc && !take(reader, '-'))
            rc = unexpected(reader, "\"-\" in \"H(a-b)\"");
        if (!rc)
            rc = read_value(reader, &high);
        if (!rc && (low.is_name || high.is_name))
            rc = cron_fault(reader->fault, start, "\"H(a-b)\" takes numbers only");
        if (!rc && !take(reader, ')'))
            rc = unexpected(reader, "\")\" behind \"H(a-b\"");
        if (!rc && low.number >= high.number)
            rc = cron_fault(reader->fault, start, "\"H(a-b)\" needs an a below b");
        if (rc)
            return rc;
    }
    *ret_low = low.number;
    *ret_high = high.number;
    return 0;
}

/* "H" and its forms, behind the letter: the value is drawn from the id's CRC, shifted by the
 * field's place so that the fields of one id differ. The first of several values lies in the first
 * period, and never past the range. */
static int read_hash(struct reader *reader, const char *hash_id)
{
    const char *start = reader->at - 1;
    int low;
    int high;
    int step;
    int rc = read_hash_range(reader, &low, &high);
    if (rc)
        return rc;
    bool is_stepped = next_is(reader, '/');
    if ((rc = read_step(reader, &step)))
        return rc;
    if (reader->at != reader->end)
        return unexpected(reader, "the field's end (H, H/n, H(a-b) and H(a-b)/n stand alone)");
    if (!hash_id) {
        cron_fault(reader->fault, start, "H needs something to be drawn from");
        return error_hint(reader->fault->err, "give --hash-id ID; in a policy it is CLUSTER/JOB");
    }
    int choices = high - low + 1;
    if (is_stepped && step < choices)
        choices = step;
    uint32_t crc = (uint32_t)crc32_z(0, (const unsigned char *)hash_id, strlen(hash_id));
    int value = low + (int)((crc >> reader->index) % (uint32_t)choices);
    add_range(reader, value, is_stepped ? high : value, step);
    return 0;
}

int cron_field_parse(enum cron_field_index index, const char *start, const char *end,
                     const char *hash_id, struct cron_field *ret_field, struct cron_fault *fault)
{
    struct reader reader = {
        .index = index,
        .kind = &KINDS[index],
        .at = start,
        .end = end,
        .fault = fault,
    };
    int rc = 0;
    reader.field.begins_with_star = *start == '*';
    if (end == start + 1 && *start == '?' && (index == CRON_DAY || index == CRON_WEEKDAY)) {
        add_range(&reader, reader.kind->low, cron_field_high(index), 1);
        reader.field.is_any = true;
    } else if (next_is(&reader, 'h') && (end == start + 1 || strchr("/(", start[1]))) {
        reader.at++;
        rc = read_hash(&reader, hash_id);
    } else {
        rc = read_list(&reader);
    }
    if (!rc)
        *ret_field = reader.field;
    return rc;
}
