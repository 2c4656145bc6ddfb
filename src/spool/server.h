/*
 * Which server a file of pg_wal belongs to, from its data directory: the system identifier is the
 * first field of global/pg_control in every version (ControlFileData of PostgreSQL's
 * src/include/catalog/pg_control.h) and never changes while a server lives.
 */
#ifndef PGCAIRN_SPOOL_SERVER_H
#define PGCAIRN_SPOOL_SERVER_H

#include "base/error.h"

enum { SERVER_SYSTEM_SIZE = 24, SERVER_PATH_MAX = 4096 };

/* The data directory as the path of a file of its pg_wal names it: "pg_wal/X" is in "."; pg_wal may
 * be a link, so it is read off the text. ERR_USAGE when the path is too long. */
int server_data_folder(const char *wal_path, char folder[SERVER_PATH_MAX], struct error *err);

/* In decimal. ERR_NOT_FOUND when this is no data directory. */
int server_read_system(const char *data_folder, char system[SERVER_SYSTEM_SIZE], struct error *err);

/* The major version of PG_VERSION, 0 when it can't be told. */
int server_read_major(const char *data_folder);

#endif
