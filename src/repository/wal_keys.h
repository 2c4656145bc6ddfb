/* How the objects of wal/ are named; shared by the files wal*.c. */
#ifndef PGCAIRN_REPOSITORY_WAL_KEYS_H
#define PGCAIRN_REPOSITORY_WAL_KEYS_H

#include "repository/wal.h"

/* CLUSTER/wal/SYSTEM/FORMATTED; the system identifier is checked. */
int wal_key(const struct repository *repository, char key[STORE_KEY_MAX + 1], struct error *err,
            const char *system, const char *format, ...) _printf_(5, 6);

/* "NAME-HASH.zst", the last component of a key; false when it is none. */
bool wal_parse_file(const char *file, struct wal_name *ret_name, char hash[WAL_HASH + 1]);

/* "20261121T020000Z-0000000A00000028.json", below marks/. */
bool wal_parse_mark(const char *file, struct facts_wal_mark *ret_mark);

/* "FIRST-LAST.json", below gaps/ and pruned/. */
bool wal_parse_span(const char *file, int64_t segment_size, struct facts_wal_span *ret_span);

const char *wal_last_component(const char *key); /* behind the last '/' */

#endif
