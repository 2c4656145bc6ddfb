/*
 * The spool of segments fetched ahead (spool/ahead.h), as `wal fetch` opens it and takes from it.
 * An entry is proved by size and hash before it is used.
 */
#ifndef PGCAIRN_WORK_WAL_SPOOL_H
#define PGCAIRN_WORK_WAL_SPOOL_H

#include "policy/policy.h"
#include "repository/wal.h"
#include "spool/ahead.h"

/* Names the folder and makes it. */
int wal_spool_open(const struct policy *policy, const char *state, const char *system,
                   const char *data_folder, char folder[AHEAD_PATH_MAX], struct error *err);

/* Moves the entry of that name to `destination` when it is proved. False when there is none, or it
 * was no good (it is removed then). One that is being fetched is waited for, but not for long. */
bool wal_spool_take(const char *folder, const struct wal_name *name, const char *destination);

/* Creates a file of ours beside `destination`; *ret_fd is open for writing. */
int wal_spool_create_beside(const char *destination, char temporary[AHEAD_PATH_MAX], int *ret_fd,
                            struct error *err);

#endif
