/*
 * Who works on what: locks that need nothing of the store but "create only if absent", so that
 * they hold between machines on any kind of repository. The protocol is in format.md.
 *
 *     struct lock_request request = {.name = "job-nightly", .class = LOCK_DUMP, ...};
 *     lock_acquire(repository, &request, &lock, err);    ERR_BUSY says who holds what
 *     lock_refresh(lock, err);        every LOCK_REFRESH_US, by a thread of the run
 *     lock_check_held(lock, err);     before the manifest is written or anything is deleted
 *     lock_release(lock, err);
 *     lock_free(lock);                releases too, when that was not done
 *
 * A lock goes through the repository's keeper, so that it is refreshed and given back after
 * repository_stop() too.
 *
 * A run that holds a lock of the server's too (work/lease.h) says in `under` which one that is. Who
 * has that one now may take over at once from whom it was taken away: the number of the record (the
 * fence) tells the earlier holder, who finds a higher one before it makes anything final.
 *
 * ERR_CONFLICT from refresh and check: the lock was taken over, or its record was deleted, so that
 * another may have it; the run ends at once. Any thread
 * may refresh and check; after a release a refresh does nothing.
 */
#ifndef PGCAIRN_REPOSITORY_LOCKS_H
#define PGCAIRN_REPOSITORY_LOCKS_H

#include "base/process.h"
#include "repository/repository.h"

enum { LOCK_NAME_MAX = 100, LOCK_SLOTS_MAX = 64, LOCK_TEXT_MAX = 255 };

#define LOCK_REFRESH_US US_PER_MINUTE
/* Without a refresh, for a holder whose process can't be seen from here. */
#define LOCK_STALE_US (10 * US_PER_MINUTE)

/* In the order in which they give way when they begin at the same moment: the later to the earlier.
 */
enum lock_class {
    LOCK_DUMP,
    LOCK_SNAPSHOT,
    LOCK_VACUUM,
    LOCK_RESTORE, /* reads backups: restore, export, drill, a hold being added */
    LOCK_VERIFY,
    LOCK_PRUNE,
    LOCK_OTHER, /* excludes only itself by name */
    LOCK_CLASS_COUNT,
};

struct lock_request {
    const char *job; /* the lock is "job-JOB"; NULL: the first free of "CLASS-1", "CLASS-2"... */
    enum lock_class class;
    const char *run_id;              /* may be "" */
    int64_t wait_us;                 /* how long to wait for the end of others */
    int64_t wait_own_us;             /* for the end of a run of the same job, when that is longer */
    const char *under;               /* the server's lock that is held meanwhile; NULL: none */
    bool (*stop)(struct error *err); /* ends the waiting; NULL: nothing does */
};

/* A lock that is held, as others see it. */
struct lock_holder {
    char name[LOCK_NAME_MAX + 1];
    enum lock_class class;
    int64_t number;
    bool is_acquiring;
    char job[LOCK_TEXT_MAX + 1]; /* "" when it is no job */
    char run_id[LOCK_TEXT_MAX + 1];
    char host[LOCK_TEXT_MAX + 1];
    char machine[LOCK_TEXT_MAX + 1];
    char under[LOCK_TEXT_MAX + 1]; /* "" when it is under no lock of a server's */
    struct process_identity process;
    int64_t acquired_us, refreshed_us;
};

struct lock;

int lock_acquire(struct repository *repository, const struct lock_request *request,
                 struct lock **ret_lock, struct error *err);
int lock_refresh(struct lock *lock, struct error *err);
int lock_check_held(struct lock *lock, struct error *err);
int lock_release(struct lock *lock, struct error *err);
struct lock *lock_free(struct lock *lock);

/* The fence: higher than that of every holder before. */
int64_t lock_number(const struct lock *lock);

const char *lock_class_name(enum lock_class class);
bool lock_classes_conflict(enum lock_class a, enum lock_class b);

/* Calls visit for every lock that is held now by somebody who lives. A record that can't be read is
 * ERR_UNKNOWN: it may be held. */
typedef int (*lock_visit)(const struct lock_holder *holder, void *context, struct error *err);
int lock_list(struct repository *repository, lock_visit visit, void *context, struct error *err);

DEFINE_FREEP(struct lock *, lock_free)

#endif
