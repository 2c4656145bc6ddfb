/*
 * The daemon's log: one line per event on stderr, each one write(2):
 *
 *     2026-11-21T02:00:00Z info demo/nightly 20261121T020000Z-x7q2k9: started, attempt 1
 *
 * time, level, job and run where there is one, text. systemd and containers add what they like.
 */
#ifndef PGCAIRN_DAEMON_SAY_H
#define PGCAIRN_DAEMON_SAY_H

#include "base/log.h"

/* subject may be NULL, run_id NULL or "". */
void say(enum log_level level, const char *subject, const char *run_id, const char *format, ...)
    _printf_(4, 5);

/* An error with its hint behind it. */
void say_error(const char *subject, const char *run_id, const char *what, const struct error *err);

#endif
