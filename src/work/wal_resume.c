#include "work/wal_resume.h"

/* Which timeline's file of that number counts. */
static uint32_t timeline_of(const struct wal_resume_question *question, uint64_t number)
{
    uint64_t end = wal_segment_start(number + 1, question->segment_size);
    return wal_history_timeline_at(question->history, end - 1);
}

static bool has(const struct wal_resume_question *question, uint64_t number)
{
    return question->has(timeline_of(question, number), number, question->context);
}

/* The newest segment of the row below that number. */
static bool find_below(const struct wal_resume_question *question, uint64_t number,
                       uint64_t *ret_number)
{
    const struct wal_history *history = question->history;
    for (size_t i = history->count + 1; i-- > 0;) {
        uint32_t timeline =
            i == history->count ? history->timeline : history->ancestors[i].timeline;
        uint64_t below = number, begin, end, found;
        if (!wal_history_span(history, timeline, &begin, &end))
            continue;
        /* The segment in which it was left is the next timeline's. */
        if (end != UINT64_MAX && wal_segment_at(end, question->segment_size) < below)
            below = wal_segment_at(end, question->segment_size);
        if (question->newest_below(timeline, below, &found, question->context) &&
            timeline_of(question, found) == timeline) {
            *ret_number = found;
            return true;
        }
    }
    return false;
}

/* A timeline is received from where it lies in the history, up to the switch: the server then says
 * which comes next. */
static void place(const struct wal_resume_question *question, uint64_t number,
                  uint32_t *ret_timeline, uint64_t *ret_lsn)
{
    *ret_lsn = wal_segment_start(number, question->segment_size);
    *ret_timeline = wal_history_timeline_at(question->history, *ret_lsn);
}

void wal_resume_find(const struct wal_resume_question *question, struct wal_resume *ret_resume)
{
    struct wal_resume resume = {.has_second = false};
    uint64_t lsn = question->slot_lsn ? question->slot_lsn : question->server_lsn;
    uint64_t first = wal_segment_at(lsn, question->segment_size), number = first, stored;
    if (has(question, first)) {
        while (has(question, number))
            number++;
    } else if (find_below(question, first, &stored) && stored + 1 < first) {
        number = stored + 1;
        resume.has_second = true;
        place(question, first, &resume.second_timeline, &resume.second_lsn);
    }
    place(question, number, &resume.timeline, &resume.lsn);
    *ret_resume = resume;
}

bool wal_resume_follows(const struct wal_history *history, uint32_t timeline, uint64_t lsn,
                        int64_t segment_size, uint64_t *ret_lsn)
{
    uint64_t begin, end;
    *ret_lsn = 0;
    if (!wal_history_span(history, timeline, &begin, &end))
        return false;
    *ret_lsn = end < lsn ? wal_segment_start(wal_segment_at(end, segment_size), segment_size) : lsn;
    return end >= lsn;
}
