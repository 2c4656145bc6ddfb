/*
 * Deleting, in the order that a crash can't harm (format.md): tombstone, manifest, data. The caller
 * holds the prune lock. Every function may be called again after a crash or an error and ends what
 * was begun.
 */
#ifndef PGCAIRN_REPOSITORY_REMOVE_H
#define PGCAIRN_REPOSITORY_REMOVE_H

#include "repository/locks.h"
#include "repository/repository.h"

/* Removes a backup, or garbage. Refuses what is not one of these any more: one with a hold, too
 * young remains (ERR_CONFLICT), one whose run lives (ERR_BUSY), one that can't be read
 * (ERR_UNKNOWN), one that an object lock protects (ERR_LOCKED, which says until when). Data objects
 * that the store refuses to delete are passed over, and the error tells the first and how many; the
 * next call goes on with them. ERR_LOCKED also when nothing but locks was in the way then. `lock`
 * (may be NULL) is checked before anything is written or deleted; plan_hash may be "". ret_bytes:
 * stored bytes freed by this call. */
int backup_remove(struct repository *repository, struct lock *lock,
                  const struct facts_backup *backup, const char *reason, const char *plan_hash,
                  int64_t now_us, int64_t *ret_bytes, struct error *err);

/* Removes this cluster's writes that never ended and were last touched before before_us. */
int repository_remove_unfinished(struct repository *repository, int64_t before_us,
                                 int64_t *ret_count, int64_t *ret_bytes, struct error *err);

#endif
