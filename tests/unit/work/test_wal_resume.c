/* Where a receiver goes on: by what is stored, what the slot keeps, and the server's history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "work/wal_resume.h"

#define SIZE (INT64_C(1) << 24)

/* Segments n of a timeline as "1:3-5 2:6", stored. */
static bool stored(const char *text, uint32_t timeline, uint64_t number)
{
    unsigned t, first, last;
    int used;
    for (; sscanf(text, " %u:%u-%u%n", &t, &first, &last, &used) == 3; text += used)
        if (t == timeline && number >= first && number <= last)
            return true;
    return false;
}

static bool has(uint32_t timeline, uint64_t number, void *context)
{
    return stored(context, timeline, number);
}

static bool newest_below(uint32_t timeline, uint64_t number, uint64_t *ret_number, void *context)
{
    while (number-- > 0)
        if (stored(context, timeline, number)) {
            *ret_number = number;
            return true;
        }
    return false;
}

/* Positions in hundredths of a segment: 350 lies in the middle of segment 3. */
static uint64_t at(unsigned hundredths)
{
    return (uint64_t)hundredths * (uint64_t)SIZE / 100;
}

static const struct {
    const char *name, *stored;
    unsigned slot, server;         /* 0: the slot keeps nothing */
    unsigned switch_1, switch_2;   /* where timelines 1 and 2 were left; 0: not */
    unsigned timeline, begin;      /* the timeline and segment to begin with */
    unsigned second, second_begin; /* 0: none */
} ROWS[] = {
    {"nothing stored, a slot", "", 320, 500, 0, 0, 1, 3, 0, 0},
    {"nothing stored, a slot that keeps nothing", "", 0, 570, 0, 0, 1, 5, 0, 0},
    {"all before the slot", "1:1-2", 320, 500, 0, 0, 1, 3, 0, 0},
    {"the slot's own segment and more", "1:1-4", 320, 570, 0, 0, 1, 5, 0, 0},
    {"a hole behind the slot is received again", "1:1-3 1:5-6", 300, 700, 0, 0, 1, 4, 0, 0},
    {"a hole at the slot", "1:1-2 1:4-6", 300, 700, 0, 0, 1, 3, 0, 0},
    {"a new slot, behind what is stored", "1:1-2", 620, 700, 0, 0, 1, 3, 1, 6},
    {"a slot from before anything stored", "1:5-7", 320, 800, 0, 0, 1, 3, 0, 0},
    {"a switch in segment 5, not reached", "1:1-3", 420, 800, 550, 0, 1, 4, 0, 0},
    {"up to the switch: the old timeline ends first", "1:1-4", 510, 800, 550, 0, 1, 5, 0, 0},
    {"behind the switch", "1:1-4 2:5-6", 720, 800, 550, 0, 2, 7, 0, 0},
    {"a switch at the very start of a segment", "1:1-4", 500, 800, 500, 0, 2, 5, 0, 0},
    {"the old primary went on: its segments do not count", "1:1-7", 400, 800, 550, 0, 1, 5, 0, 0},
    {"two switches in one segment", "1:1-4", 510, 800, 520, 550, 1, 5, 0, 0},
    {"of two timelines the newest", "1:1-4 2:5-5 3:6-6", 710, 800, 550, 650, 3, 7, 0, 0},
    {"a new slot behind a switch", "1:1-3", 720, 800, 550, 0, 1, 4, 2, 7},
    {"a new slot, the old primary's segments do not count", "1:1-6", 820, 900, 550, 0, 1, 5, 2, 8},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        char text[64];
        struct wal_ancestor ancestors[] = {{1, at(ROWS[i].switch_1)}, {2, at(ROWS[i].switch_2)}};
        struct wal_history history = {.timeline = 1, .ancestors = ancestors};
        history.count = (size_t)(ROWS[i].switch_1 > 0) + (ROWS[i].switch_2 > 0);
        history.timeline = (uint32_t)history.count + 1;
        snprintf(text, sizeof(text), "%s", ROWS[i].stored);
        struct wal_resume_question question = {.history = &history,
                                               .segment_size = SIZE,
                                               .slot_lsn = at(ROWS[i].slot),
                                               .server_lsn = at(ROWS[i].server),
                                               .has = has,
                                               .newest_below = newest_below,
                                               .context = text};
        struct wal_resume resume;
        wal_resume_find(&question, &resume);
        if (resume.timeline != ROWS[i].timeline || resume.lsn != at(ROWS[i].begin * 100) ||
            resume.has_second != (ROWS[i].second > 0))
            fail_msg("%s: timeline %u, segment %u, second %d", ROWS[i].name, resume.timeline,
                     (unsigned)(resume.lsn / (uint64_t)SIZE), resume.has_second);
        if (resume.has_second && (resume.second_timeline != ROWS[i].second ||
                                  resume.second_lsn != at(ROWS[i].second_begin * 100)))
            fail_msg("%s: second timeline %u, segment %u", ROWS[i].name, resume.second_timeline,
                     (unsigned)(resume.second_lsn / (uint64_t)SIZE));
    }
}

static void test_follows(void **state)
{
    struct wal_ancestor ancestors[] = {{1, at(550)}};
    struct wal_history history = {.timeline = 3, .ancestors = ancestors, .count = 1};
    static const struct {
        uint32_t timeline;
        unsigned lsn, expected;
        bool follows;
    } ROWS_FOLLOW[] = {
        {1, 400, 400, true},  {1, 500, 500, true}, {1, 600, 500, false},
        {1, 900, 500, false}, {3, 900, 900, true}, {2, 300, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS_FOLLOW); i++) {
        uint64_t lsn = 77;
        bool follows = wal_resume_follows(&history, ROWS_FOLLOW[i].timeline, at(ROWS_FOLLOW[i].lsn),
                                          SIZE, &lsn);
        if (follows != ROWS_FOLLOW[i].follows || lsn != at(ROWS_FOLLOW[i].expected))
            fail_msg("row %zu: %d, segment %u", i, follows, (unsigned)(lsn / (uint64_t)SIZE));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
