/*
 * Histories for the retention tests, written as text: one backup per word,
 *
 *     2026-11-20T02:00,db=app+crm,job=monthly,state=garbage,level=2,hold,held-to=2026-12-01,...
 *
 * Backups get the ids b0, b1, ... in the order of the words and 1000 bytes each. See add_field()
 * for all fields. WAL is written likewise, see add_wal_word():
 *
 *     42/1:3-80@2026-11-20T10:00 42/2<1:70 42/2:70-90@2026-11-21T10:00
 */
#ifndef PGCAIRN_TESTS_HISTORY_H
#define PGCAIRN_TESTS_HISTORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "retention/retention.h"

enum { HISTORY_SEGMENT = 16 << 20 };

static inline char *copy(const char *text)
{
    char *made = strdup(text);
    assert_non_null(made);
    return made;
}

static inline int64_t at(const char *text)
{
    int64_t instant_us = 0;
    bool has_offset;
    struct error err = ERROR_NONE;
    if (instant_parse(text, &instant_us, &has_offset, &err))
        fail_msg("%s: %s", text, err.message);
    return instant_us;
}

static inline void set_databases(struct facts_backup *backup, char *names)
{
    char *rest = NULL;
    size_t count = 0;
    for (char *name = strtok_r(names, "+", &rest); name; name = strtok_r(NULL, "+", &rest)) {
        char **grown = reallocarray(backup->databases, count + 2, sizeof(char *));
        assert_non_null(grown);
        backup->databases = grown;
        backup->databases[count++] = copy(name);
        backup->databases[count] = NULL;
    }
}

static inline enum backup_state state_of(const char *name)
{
    for (enum backup_state state = BACKUP_GOOD; state <= BACKUP_UNKNOWN; state++)
        if (strcmp(backup_state_name(state), name) == 0)
            return state;
    fail_msg("no state %s", name);
    return BACKUP_UNKNOWN;
}

static inline void add_hold(struct facts *facts, const char *backup_id, const char *hold_id,
                            int64_t expires_us)
{
    struct error err = ERROR_NONE;
    struct facts_hold *hold;
    assert_int_equal(facts_add_hold(facts, &hold, &err), 0);
    hold->hold_id = copy(hold_id);
    hold->backup_id = copy(backup_id);
    hold->holder = copy("ann");
    hold->reason = copy("case 7");
    hold->expires_us = expires_us;
}

static inline bool starts(const char *text, const char *start, const char **ret_rest)
{
    size_t length = strlen(start);
    *ret_rest = text + length;
    return strncmp(text, start, length) == 0;
}

/* "42/1:3-5": the snapshot begins in segment 3 of timeline 1 of system 42 and ends in segment 5. */
static inline void set_position(struct facts_backup *backup, const char *text)
{
    struct facts_position *position = &backup->position;
    unsigned timeline;
    unsigned long first, last;
    assert_int_equal(
        sscanf(text, "%20[0-9]/%u:%lu-%lu", position->system_identifier, &timeline, &first, &last),
        4);
    position->timeline = position->stop_timeline = timeline;
    position->segment_size = HISTORY_SEGMENT;
    position->start_lsn = first * HISTORY_SEGMENT + 40;
    position->stop_lsn = last * HISTORY_SEGMENT + 400;
    position->stopped_us = backup->completed_us;
    backup->kind = BACKUP_SNAPSHOT;
}

static inline void add_field(struct facts *facts, struct facts_backup *backup, char *field)
{
    const char *value;
    if (starts(field, "db=", &value)) {
        set_databases(backup, field + 3);
    } else if (starts(field, "job=", &value)) {
        free(backup->job);
        backup->job = copy(value);
    } else if (starts(field, "state=", &value)) {
        backup->state = state_of(value);
        if (backup->state != BACKUP_GOOD)
            backup->completed_us = INSTANT_NONE;
    } else if (starts(field, "level=", &value)) {
        backup->verified_level = value[0] - '0';
    } else if (starts(field, "failed=", &value)) {
        backup->failed_us = at(value);
    } else if (starts(field, "locked-to=", &value)) {
        backup->locked_until_us = at(value);
    } else if (starts(field, "drilled=", &value)) {
        backup->drilled_us = at(value);
    } else if (starts(field, "held-to=", &value)) {
        add_hold(facts, backup->id, "h2", at(value));
    } else if (strcmp(field, "hold") == 0) {
        add_hold(facts, backup->id, "h1", INSTANT_NONE);
    } else if (starts(field, "wal=", &value)) {
        set_position(backup, value);
    } else if (strcmp(field, "snapshot") == 0) {
        backup->kind = BACKUP_SNAPSHOT;
    } else if (strcmp(field, "undated") == 0) {
        backup->completed_us = INSTANT_NONE;
    } else {
        fail_msg("no field %s", field);
    }
}

static inline void add_word(struct facts *facts, char *word)
{
    struct error err = ERROR_NONE;
    struct facts_backup *backup;
    char id[32], *rest = NULL;
    snprintf(id, sizeof(id), "b%zu", facts->backup_count);
    assert_int_equal(facts_add_backup(facts, &backup, &err), 0);
    backup->id = copy(id);
    backup->job = copy("nightly");
    backup->state = BACKUP_GOOD;
    backup->bytes_stored = 1000;
    backup->started_us = at(strtok_r(word, ",", &rest));
    backup->newest_us = backup->started_us;
    backup->completed_us = backup->started_us + 10 * US_PER_MINUTE;
    for (char *field = strtok_r(NULL, ",", &rest); field; field = strtok_r(NULL, ",", &rest))
        add_field(facts, backup, field);
    if (!backup->databases && backup->kind == BACKUP_DUMP) {
        char name[] = "app";
        set_databases(backup, name);
    }
}

static inline void history(struct facts *facts, const char *text)
{
    *facts = (struct facts){.cluster = copy("c"), .complete = true};
    char *words = copy(text), *rest = NULL;
    for (char *word = strtok_r(words, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
        add_word(facts, word);
    free(words);
}

static inline struct facts_wal *wal_of(struct facts *facts, const char *system)
{
    struct error err = ERROR_NONE;
    struct facts_wal wal;
    if (facts->wal_count &&
        strcmp(facts->wals[facts->wal_count - 1].system_identifier, system) == 0)
        return &facts->wals[facts->wal_count - 1];
    assert_int_equal(facts_wal_begin(&wal, system, HISTORY_SEGMENT, &err), 0);
    assert_int_equal(facts_take_wal(facts, &wal, &err), 0);
    return &facts->wals[facts->wal_count - 1];
}

static inline void add_wal_range(struct facts_wal_timeline *timeline, uint64_t first, uint64_t last,
                                 int64_t stored_us)
{
    if (timeline->range_count == timeline->range_allocated) {
        timeline->range_allocated = 2 * timeline->range_allocated + 8;
        timeline->ranges =
            reallocarray(timeline->ranges, timeline->range_allocated, sizeof(*timeline->ranges));
        assert_non_null(timeline->ranges);
    }
    timeline->ranges[timeline->range_count++] = (struct facts_wal_range){
        first, last, stored_us, stored_us, 100 * (int64_t)(last - first + 1)};
}

/* "42/1:3-80@2026-11-20T10:00": segments, 100 bytes each, the last stored then. "42/2<1:70": the
 * second timeline comes from the first, amid segment 70. */
static inline void add_wal_word(struct facts *facts, const char *word)
{
    struct error err = ERROR_NONE;
    struct facts_wal_timeline *timeline;
    char system[FACTS_SYSTEM_MAX + 1], text[64];
    unsigned number, parent;
    unsigned long first, last;
    bool is_history = sscanf(word, "%20[0-9]/%u<%u:%lu", system, &number, &parent, &first) == 4;
    if (!is_history)
        assert_int_equal(
            sscanf(word, "%20[0-9]/%u:%lu-%lu@%63s", system, &number, &first, &last, text), 5);
    assert_int_equal(facts_wal_add_timeline(wal_of(facts, system), number, &timeline, &err), 0);
    if (is_history) {
        uint64_t lsn = first * HISTORY_SEGMENT + 4096;
        snprintf(text, sizeof(text), "%u\t%X/%X\tx\n", parent, (unsigned)(lsn >> 32),
                 (unsigned)lsn);
        assert_int_equal(wal_history_parse(number, text, strlen(text), &timeline->history, &err),
                         0);
        timeline->has_history = true;
    } else {
        add_wal_range(timeline, first, last, at(text));
    }
}

static inline void wal_history_of(struct facts *facts, const char *text)
{
    char *words = copy(text), *rest = NULL;
    for (char *word = strtok_r(words, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
        add_wal_word(facts, word);
    free(words);
}

/* A policy of cluster "c" over jobs that the caller owns. Names are not freed. */
static inline struct policy policy_of(struct policy_job *jobs, size_t count)
{
    static char cluster[] = "c", zone[] = "UTC", none[] = "";
    for (size_t i = 0; i < count; i++) {
        jobs[i].timezone = zone;
        if (!jobs[i].schedule_text)
            jobs[i].schedule_text = none;
    }
    return (struct policy){.cluster = cluster, .timezone = zone, .jobs = jobs, .job_count = count};
}

#endif
