/*
 * Segments fetched ahead of their turn: one folder per recovering data directory, between
 * `wal fetch` (the consumer) and its helper `wal ahead` (the producer).
 *
 *     STATE/wal/CLUSTER/ahead/KEY/at            the file asked for last; its age is the idle time
 *                                 lock          held by the helper while it lives
 *                                 NAME-HASH     a whole segment, its hash as in the repository
 *                                 NAME-HASH.part   one that is being fetched
 *                                 marks         which whole ones were proved, as they were then
 *
 * KEY is made of the repository's URL, the system and the data directory, so nothing is shared by
 * two recoveries. Everything may be deleted at any time.
 *
 * The helper proves an entry by size and hash, syncs it, names it, and marks it (spool/marks.h). As
 * long as a mark fits the file, the proof needs no repeating, and a call of restore_command comes
 * down to a rename. An entry without a mark that fits is for the whole program, which proves it
 * again (work/wal_spool.h).
 */
#ifndef PGCAIRN_SPOOL_AHEAD_H
#define PGCAIRN_SPOOL_AHEAD_H

#include "spool/marks.h"

enum {
    AHEAD_HASH = 16, /* hex digits */
    AHEAD_PATH_MAX = 4096,
    AHEAD_ENTRY_MAX = WAL_NAME_MAX + AHEAD_HASH + 16,
};

struct ahead_entry {
    struct wal_name name;
    char hash[AHEAD_HASH + 1];
    bool is_part;
    char file[AHEAD_ENTRY_MAX]; /* in the folder */
};

/* -- the folder --------------------------------------------------------------------------- */

void ahead_write_at(const char *folder, const struct wal_name *name);
/* False when there is none; *ret_age_us is the time since it was written. */
bool ahead_read_at(const char *folder, struct wal_name *ret_name, int64_t *ret_age_us);

/* Takes the helper's lock; -1 when another one has it. Closing it gives it back. */
int ahead_lock(const char *folder);

/* Every entry; a non-zero return ends it. */
typedef int (*ahead_visit)(const struct ahead_entry *entry, void *context);
int ahead_each(const char *folder, ahead_visit visit, void *context);

/* Whether the segment is there: whole, or else as a part. */
bool ahead_find(const char *folder, const struct wal_name *name, struct ahead_entry *ret_entry);

void ahead_remove(const char *folder, const struct ahead_entry *entry);
void ahead_remove_all(const char *folder);

/* -- what was proved ---------------------------------------------------------------------- */

/* How the recovery was named: the policy (marks_naming()) and the data directory. ERR_LIMIT when
 * that is too long to be remembered. */
int ahead_naming(char *const *policy_paths, size_t count, const char *data_folder,
                 char naming[MARKS_PATH_MAX], struct error *err);

/* Replaces the marks: for the helper alone, who holds the lock. They may be lost in a crash. */
int ahead_mark(const char *folder, const struct marks_origin *origin, const struct mark *marks,
               size_t count, struct error *err);

/* Moves the marked entry of that name to `destination`, from whichever folder below
 * STATE/wal/CLUSTER/ahead is of that origin and has a helper; one that is being fetched is waited
 * for, but not for long. False leaves all as it is. */
bool ahead_take(const char *state, const char *cluster, const struct marks_origin *origin,
                const struct wal_name *name, const char *destination);

#endif
