/*
 * A dump as plain SQL for psql or any other tool: what pg_dump would have written, from a backup.
 * Streams; memory does not grow with the database. Stops with ERR_IO when the reader goes away.
 */
#ifndef PGCAIRN_WORK_EXPORT_H
#define PGCAIRN_WORK_EXPORT_H

#include "work/restore.h"

/* Writes to fd. request: policy, repository, backup, database; the rest is not looked at. */
int export_plain(const struct restore_request *request, int fd, struct error *err);

#endif
