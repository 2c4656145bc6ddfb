/*
 * Pauses: stretches in which a job is not scheduled, with who ordered it, when and why. A due
 * instant within one is skipped on record. At most one pause of a job is open at a time; ended ones
 * are kept, the newest JOURNAL_PAUSES_MAX of a job. They go with a journal that is lost.
 */
#ifndef PGCAIRN_JOURNAL_PAUSE_H
#define PGCAIRN_JOURNAL_PAUSE_H

#include "journal/journal.h"

enum { JOURNAL_PAUSES_MAX = 100, JOURNAL_WHO_MAX = 128, JOURNAL_REASON_MAX = 512 };

struct journal_pause {
    char cluster[JOURNAL_NAME_MAX], job[JOURNAL_NAME_MAX];
    char who[JOURNAL_WHO_MAX], reason[JOURNAL_REASON_MAX]; /* reason may be "" */
    int64_t from_us;
    int64_t until_us; /* its first instant after; INSTANT_NONE: until somebody resumes it */
};

/* Begins one at from_us; in the place of one that is open, whose beginning it keeps. */
int journal_pause(struct journal *journal, const struct journal_pause *pause, struct error *err);

/* Ends the open one at now_us. *ret_was_paused is false when there is none. */
int journal_resume(struct journal *journal, const char *cluster, const char *job, const char *who,
                   int64_t now_us, bool *ret_was_paused, struct error *err);

/* The pause that holds the instant. */
int journal_paused_at(struct journal *journal, const char *cluster, const char *job, int64_t at_us,
                      bool *ret_is_paused, struct journal_pause *ret_pause, struct error *err);

/* "paused by alice since 2026-11-29T02:00:00Z until ...: reason" */
void journal_pause_text(const struct journal_pause *pause, char *text, size_t size);

#endif
