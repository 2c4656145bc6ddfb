/*
 * Marks: which WAL files were stored ahead of their turn, so that the call of archive_command that
 * asks for them has nothing left to do. One small text file, STATE/wal/CLUSTER/marks, replaced as a
 * whole and durably.
 *
 *     marks_folder(state, cluster, folder, err);
 *     marks_file(&mark, "pg_wal/...", err);                       what a file is now
 *     marks_write(folder, &origin, marks, count, err);            after they were confirmed
 *     if (marks_hold(folder, &origin, &mark)) return 0;           it is stored
 *
 * A mark is of one file: its name, device, inode, size, times of change and content. It is good for
 * one origin: the server (system identifier), the way the policy was named, and the policy file as
 * it was then, since another policy may mean another repository. Whatever differs, is damaged or
 * can't be read means "not stored": the work is done again, which does no harm.
 */
#ifndef PGCAIRN_SPOOL_MARKS_H
#define PGCAIRN_SPOOL_MARKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "wal/name.h"

enum { MARKS_MAX = 1024, MARKS_BYTES_MAX = 1 << 20, MARKS_HASH = 64, MARKS_PATH_MAX = 4096 };

struct marks_origin {
    const char *system; /* in decimal */
    const char *naming; /* marks_naming() */
    const char *policy; /* the policy's file; only to write */
};

struct mark {
    char name[WAL_NAME_MAX];
    uint64_t device, inode;
    int64_t size, modified_ns, changed_ns;
    char hash[MARKS_HASH + 1]; /* of the key; only to write */
};

int marks_folder(const char *state, const char *cluster, char folder[MARKS_PATH_MAX],
                 struct error *err);

/* How the policy was named: the -c options, else the environment, else nothing. ERR_LIMIT when it
 * is too long to be remembered. */
int marks_naming(char *const *paths, size_t count, char naming[MARKS_PATH_MAX], struct error *err);

/* ERR_NOT_FOUND and the like; ERR_USAGE when it is no regular file. The name is the last component.
 */
int marks_file(const char *path, struct mark *ret_mark, struct error *err);

/* Whether it was the same file, and unchanged, both times. */
bool marks_same_file(const struct mark *a, const struct mark *b);

bool marks_hold(const char *folder, const struct marks_origin *origin, const struct mark *mark);

/* Adds the whole text of a file of marks to buf. */
int marks_format(const struct marks_origin *origin, const struct mark *marks, size_t count,
                 struct buf *buf, struct error *err);

/* Replaces all marks. */
int marks_write(const char *folder, const struct marks_origin *origin, const struct mark *marks,
                size_t count, struct error *err);

#endif
