#include "wal/history.h"

#include <stdlib.h>
#include <string.h>

#include "base/units.h"

enum { LSN_TEXT_LIMIT = 20 };

void wal_history_clear(struct wal_history *history)
{
    free(history->ancestors);
    *history = (struct wal_history){0};
}

static int add(struct wal_history *history, size_t *allocated, const struct wal_ancestor *ancestor,
               struct error *err)
{
    const struct wal_ancestor *last =
        history->count ? &history->ancestors[history->count - 1] : NULL;
    if (ancestor->timeline == 0 || ancestor->timeline >= history->timeline ||
        (last && (ancestor->timeline <= last->timeline || ancestor->end_lsn < last->end_lsn)))
        return error_set(err, ERR_CORRUPT, "timelines and positions do not grow from line to line");
    if (history->count == WAL_HISTORY_MAX)
        return error_set(err, ERR_LIMIT, "more than %d ancestors", WAL_HISTORY_MAX);
    if (history->count == *allocated) {
        size_t wanted = *allocated ? 2 * *allocated : 8;
        void *grown = reallocarray(history->ancestors, wanted, sizeof(*history->ancestors));
        if (!grown)
            return error_no_memory(err);
        history->ancestors = grown;
        *allocated = wanted;
    }
    history->ancestors[history->count++] = *ancestor;
    return 0;
}

/* "1<blanks>0/5000060<blanks>reason". */
static bool parse_line(const char *line, size_t length, struct wal_ancestor *ret_ancestor)
{
    char text[64], lsn[LSN_TEXT_LIMIT];
    int64_t timeline;
    snprintf(text, sizeof(text), "%.*s", (int)(length < sizeof(text) ? length : sizeof(text) - 1),
             line);
    const char *cursor = text;
    if (!number_take(&cursor, &timeline) || timeline > UINT32_MAX || !strchr(" \t", *cursor))
        return false;
    cursor += strspn(cursor, " \t");
    size_t lsn_length = strcspn(cursor, " \t\r");
    if (lsn_length >= sizeof(lsn))
        return false;
    memcpy(lsn, cursor, lsn_length);
    lsn[lsn_length] = '\0';
    ret_ancestor->timeline = (uint32_t)timeline;
    return wal_lsn_parse(lsn, &ret_ancestor->end_lsn, NULL) == 0;
}

int wal_history_parse(uint32_t timeline, const char *text, size_t length,
                      struct wal_history *ret_history, struct error *err)
{
    struct wal_history history = {.timeline = timeline};
    size_t allocated = 0;
    int rc = 0, number = 0;
    for (size_t at = 0; at < length && !rc;) {
        const char *line = text + at;
        const char *end = memchr(line, '\n', length - at);
        size_t line_length = end ? (size_t)(end - line) : length - at;
        size_t blanks = 0;
        struct wal_ancestor ancestor;
        number++;
        at += line_length + 1;
        while (blanks < line_length && strchr(" \t\r", line[blanks]))
            blanks++;
        if (blanks == line_length || line[blanks] == '#')
            continue;
        if (!parse_line(line + blanks, line_length - blanks, &ancestor))
            rc = error_set(err, ERR_CORRUPT, "line %d is no line of a timeline history", number);
        else
            rc = add(&history, &allocated, &ancestor, err);
    }
    if (rc) {
        wal_history_clear(&history);
        return error_prefix(err, "history of timeline %u", timeline), rc;
    }
    *ret_history = history;
    return 0;
}

uint32_t wal_history_timeline_at(const struct wal_history *history, uint64_t lsn)
{
    for (size_t i = 0; i < history->count; i++)
        if (lsn < history->ancestors[i].end_lsn)
            return history->ancestors[i].timeline;
    return history->timeline;
}

bool wal_history_span(const struct wal_history *history, uint32_t timeline, uint64_t *ret_begin_lsn,
                      uint64_t *ret_end_lsn)
{
    uint64_t begin = 0;
    for (size_t i = 0; i < history->count; i++) {
        if (history->ancestors[i].timeline == timeline) {
            *ret_begin_lsn = begin;
            *ret_end_lsn = history->ancestors[i].end_lsn;
            return true;
        }
        begin = history->ancestors[i].end_lsn;
    }
    if (history->timeline != timeline)
        return false;
    *ret_begin_lsn = begin;
    *ret_end_lsn = UINT64_MAX;
    return true;
}
