/*
 * Received WAL files on their way into the repository: stored by threads of their own, so that who
 * receives goes on to answer the server, however slow the store is.
 *
 *     wal_uploads_new(&spec, &uploads, err);
 *     wal_uploads_add(uploads, &file, err);        a file of spec.folder, whole and fsynced
 *     wal_uploads_count(uploads)                   not stored yet: the caller stops receiving when
 *                                                  there are too many
 *     wal_uploads_first(uploads, &file)            the oldest of them: all before file.lsn is
 * stored wal_uploads_check(uploads, err)              what waiting does not mend
 *     wal_uploads_drain(uploads, 20 * US_PER_SECOND)     whether all came to be stored
 *     wal_uploads_free(uploads);                   waits for what is in flight: stop the store
 * first
 *
 * A file is removed once it is stored and confirmed. A store that fails is asked again and again,
 * with notices; only what is certain ends it: ERR_EXISTS (the name has other content), ERR_CORRUPT.
 * A partial segment under whose name there is other content is left to that: recovery to the new
 * timeline does not need it.
 */
#ifndef PGCAIRN_WORK_WAL_UPLOAD_H
#define PGCAIRN_WORK_WAL_UPLOAD_H

#include "repository/wal.h"
#include "work/wal_assemble.h"

enum { WAL_UPLOADS_MAX = 100000, WAL_UPLOAD_THREADS = 2 };

struct wal_uploads_spec {
    const struct repository *repository;
    const char *system;
    const char *folder;
    struct volume_options options;
    void (*notice)(const char *text, void *context); /* from any thread */
    void *context;
};

struct wal_uploads;

int wal_uploads_new(const struct wal_uploads_spec *spec, struct wal_uploads **ret_uploads,
                    struct error *err);
struct wal_uploads *wal_uploads_free(struct wal_uploads *uploads);

int wal_uploads_add(struct wal_uploads *uploads, const struct wal_assembled *file,
                    struct error *err);
size_t wal_uploads_count(struct wal_uploads *uploads);
bool wal_uploads_first(struct wal_uploads *uploads, struct wal_assembled *ret_file);
bool wal_uploads_holds(struct wal_uploads *uploads, const struct wal_name *name);
uint64_t wal_uploads_stored(struct wal_uploads *uploads); /* files since the start */
int wal_uploads_check(struct wal_uploads *uploads, struct error *err);
/* Waits at most that long for one to be stored. */
void wal_uploads_await(struct wal_uploads *uploads, int64_t wait_us);
bool wal_uploads_drain(struct wal_uploads *uploads, int64_t wait_us);

DEFINE_FREEP(struct wal_uploads *, wal_uploads_free)

#endif
