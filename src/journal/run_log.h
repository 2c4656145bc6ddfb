/*
 * The log of each run, a file of its own: runs/RUN_ID.log in the state folder, lines "TIME LEVEL
 * message" of the run itself and of the daemon about it. Bounded: bytes of one run, number and age
 * of all; the oldest go when a new one is begun. It is for people who ask what happened: that it
 * can't be written (a full disk) fails nothing and is said by nobody.
 *
 *     fd = run_log_open(state_folder, run_id);        by the run, for log_keep(); -1: none
 *     run_log_append(state_folder, run_id, line, length);        by the daemon
 *     rc = run_log_read(state_folder, run_id, &text, err);
 */
#ifndef PGCAIRN_JOURNAL_RUN_LOG_H
#define PGCAIRN_JOURNAL_RUN_LOG_H

#include "base/buf.h"
#include "base/instant.h"

enum {
    RUN_LOG_BYTES_MAX = 256 << 10,  /* of the run itself */
    RUN_LOG_EXTRA_BYTES = 16 << 10, /* of the daemon, so that the end is there too */
    RUN_LOGS_MAX = 1000,
};

#define RUN_LOGS_AGE_US (90 * US_PER_DAY)

int run_log_open(const char *state_folder, const char *run_id);
void run_log_append(const char *state_folder, const char *run_id, const char *line, size_t length);

/* ERR_NOT_FOUND when there is none (any more), ERR_USAGE when the id is none. */
int run_log_read(const char *state_folder, const char *run_id, struct buf *text, struct error *err);

/* Removes what is too old or too many at that time; run_log_open() does. */
void run_log_prune(const char *state_folder, int64_t now_us);

#endif
