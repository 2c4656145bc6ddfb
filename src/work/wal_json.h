/*
 * What is stored of the WAL and what can be recovered with it, as JSON: `wal status` and `list`
 * show the same. Each adds to a list, which may be NULL for want of memory.
 */
#ifndef PGCAIRN_WORK_WAL_JSON_H
#define PGCAIRN_WORK_WAL_JSON_H

#include <jansson.h>

#include "retention/continuity.h"

void wal_add_timelines(const struct facts_wal *wal, const struct continuity *continuity,
                       json_t *list);
void wal_add_windows(const struct continuity *continuity, json_t *list);

#endif
