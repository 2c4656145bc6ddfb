/*
 * The daemon's log: one line per event on stderr, each one write(2):
 *
 *     2026-11-21T02:00:00Z info demo/nightly 20261121T020000Z-x7q2k9: started, attempt 1
 *
 * time, level, job and run where there is one, text. systemd and containers add what they like. In
 * the formats json and journal (base/log.h) the same is one object, or one entry of the journal.
 * What is said of a run is kept in the run's own log too (journal/run_log.h), once
 * say_to_run_logs() has told where those are; lines of the run itself ("| ...") are not, for it
 * keeps them itself.
 */
#ifndef PGCAIRN_DAEMON_SAY_H
#define PGCAIRN_DAEMON_SAY_H

#include "base/log.h"

void say_to_run_logs(const char *state_folder); /* borrowed; NULL: no longer */

/* subject may be NULL, run_id NULL or "". */
void say(enum log_level level, const char *subject, const char *run_id, const char *format, ...)
    _printf_(4, 5);

/* An error with its hint behind it. */
void say_error(const char *subject, const char *run_id, const char *what, const struct error *err);

/* An event with what else is known of it; its cluster is the subject. */
void say_event(const struct log_event *event);

/* A line that a run wrote; is_own: as its log, which it keeps itself. */
void say_line(enum log_level level, const char *subject, const char *run_id, const char *line,
              bool is_own);

#endif
