/*
 * A lock held while work lasts: acquired, refreshed every minute by a thread of its own, given
 * back. Another thread watches: it asks the work to stop when the lock was lost or the timeout is
 * over (work_stop), and once the work shall stop, for that or by a signal, it stops the repository
 * that the work uses, so that no request waits out its retries. The keeper (repository.h), through
 * which the lock is given back and remains are taken away, goes on for LOCKING_GRACE_US.
 *
 *     locking_begin(repository, &request, timeout_us, &locking, err);
 *     ... the work; locking_lock(locking) is for lock_check_held() ...
 *     locking_end(locking, err);    gives it back, unless it had been taken over: not ours then
 *     locking_free(locking);        the same, when that was not done
 */
#ifndef PGCAIRN_WORK_LOCKING_H
#define PGCAIRN_WORK_LOCKING_H

#include "repository/locks.h"

/* After a stop, for the last words of the work. */
#define LOCKING_GRACE_US (5 * US_PER_SECOND)

struct locking;

int locking_begin(struct repository *repository, const struct lock_request *request,
                  int64_t timeout_us, struct locking **ret_locking, struct error *err);
struct lock *locking_lock(const struct locking *locking);
int locking_end(struct locking *locking, struct error *err);
struct locking *locking_free(struct locking *locking);

DEFINE_FREEP(struct locking *, locking_free)

#endif
