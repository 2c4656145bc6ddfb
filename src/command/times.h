/*
 * Times that people type: RFC 3339, and without an offset in the policy's zone; or a duration from
 * now where that is allowed.
 */
#ifndef PGCAIRN_COMMAND_TIMES_H
#define PGCAIRN_COMMAND_TIMES_H

#include <stdint.h>

#include "base/error.h"

/* A local time that happens twice is the first one; one that is skipped is ERR_USAGE. */
int command_time(const char *text, const char *timezone, int64_t *ret_us, struct error *err);

/* "30d" is that long after now_us; all else is a time. */
int command_time_or_duration(const char *text, const char *timezone, int64_t now_us,
                             int64_t *ret_us, struct error *err);

#endif
