/*
 * The spool of segments fetched ahead of their turn: one folder per recovering data directory,
 * between `wal fetch` (the consumer) and its helper `wal ahead` (the producer).
 *
 *     STATE/wal/CLUSTER/ahead/KEY/at            the file asked for last; its age is the idle time
 *                                 lock          held by the helper while it lives
 *                                 NAME-HASH     a whole segment, its hash as in the repository
 *                                 NAME-HASH.part   one that is being fetched
 *
 * KEY is made of the repository's URL, the system and the data directory, so nothing is shared by
 * two recoveries. A consumer proves an entry by size and hash before it uses it. Everything may be
 * deleted at any time.
 */
#ifndef PGCAIRN_WORK_WAL_SPOOL_H
#define PGCAIRN_WORK_WAL_SPOOL_H

#include "policy/policy.h"
#include "repository/wal.h"

enum { WAL_SPOOL_PATH_MAX = 4096, WAL_SPOOL_ENTRY_MAX = WAL_NAME_MAX + WAL_HASH + 16 };

struct wal_spool_entry {
    struct wal_name name;
    char hash[WAL_HASH + 1];
    bool is_part;
    char file[WAL_SPOOL_ENTRY_MAX]; /* in the folder */
};

/* Names the folder and makes it. */
int wal_spool_open(const struct policy *policy, const char *state, const char *system,
                   const char *data_folder, char folder[WAL_SPOOL_PATH_MAX], struct error *err);

void wal_spool_write_at(const char *folder, const struct wal_name *name);
/* False when there is none; *ret_age_us is the time since it was written. */
bool wal_spool_read_at(const char *folder, struct wal_name *ret_name, int64_t *ret_age_us);

/* Takes the helper's lock; -1 when another one has it. Closing it gives it back. */
int wal_spool_lock(const char *folder);

/* Every entry; a non-zero return ends it. */
typedef int (*wal_spool_visit)(const struct wal_spool_entry *entry, void *context);
int wal_spool_each(const char *folder, wal_spool_visit visit, void *context);
void wal_spool_remove(const char *folder, const struct wal_spool_entry *entry);
void wal_spool_remove_all(const char *folder);

/* Moves the entry of that name to `destination` when it is proved. False when there is none, or it
 * was no good (it is removed then). One that is being fetched is waited for, but not for long. */
bool wal_spool_take(const char *folder, const struct wal_name *name, const char *destination);

/* Creates a file of ours beside `destination`; *ret_fd is open for writing. */
int wal_spool_create_beside(const char *destination, char temporary[WAL_SPOOL_PATH_MAX],
                            int *ret_fd, struct error *err);

#endif
