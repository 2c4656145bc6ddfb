/*
 * Lines on stderr for people: only command/ and daemon/ (and main) print; everything below returns
 * errors. Debug lines are exempt. Each line is one write(2), so lines of threads never mix. The
 * level is set once before threads start.
 */
#ifndef PGCAIRN_BASE_LOG_H
#define PGCAIRN_BASE_LOG_H

#include "base/error.h"

enum log_level { LOG_QUIET, LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* "pgcairn: text", with "warning: " or "debug: " in front for those levels. */
void log_line(enum log_level level, const char *format, ...) _printf_(2, 3);

/* "pgcairn: [subject: ]message", then "  hint: ..." when there is one. subject may
 * be NULL. */
void log_error(const char *subject, const struct error *err);

#endif
