/* The protocol of locks: taking, keeping, giving back. Their records are read in lock_records.c. */
#include "repository/lock_records.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

/* How long two that began at the same moment wait for each other to give way, and how often
 * anything that is waited for is looked at. */
#define LOCK_SETTLE_US (10 * US_PER_SECOND)
#define LOCK_SETTLE_POLL_US (50 * INT64_C(1000))
#define LOCK_WAIT_POLL_US (250 * INT64_C(1000))
#define LOCK_WAIT_POLL_MAX_US (5 * US_PER_SECOND)

enum { MISSES_MAX = 5 /* looks at our own record before it is called gone */ };

struct lock {
    struct repository *repository;
    struct lock_record record;
    pthread_mutex_t mutex; /* refresh, release */
    bool released;
};

static void sleep_us(int64_t us)
{
    struct timespec time = {.tv_sec = us / US_PER_SECOND, .tv_nsec = us % US_PER_SECOND * 1000};
    nanosleep(&time, NULL);
}

/* "job "nightly" (dump, run 2026..., pid 7 on db1, since ...)" */
static void describe(const struct lock_holder *holder, char *text, size_t size)
{
    char since[INSTANT_TEXT_MAX];
    snprintf(text, size, "%s%s%s (%s%s%s, pid %lld on %s, since %s)",
             holder->job[0] ? "job \"" : "", holder->job[0] ? holder->job : holder->name,
             holder->job[0] ? "\"" : "", lock_class_name(holder->class),
             holder->run_id[0] ? ", run " : "", holder->run_id, (long long)holder->process.pid,
             holder->host, instant_format(holder->acquired_us, since));
}

static int busy(const struct lock *lock, const struct lock_holder *holder, struct error *err)
{
    const struct lock_holder *self = &lock->record.holder;
    char other[4 * LOCK_TEXT_MAX];
    describe(holder, other, sizeof(other));
    if (strcmp(self->name, holder->name) == 0)
        error_set(err, ERR_BUSY, "%s runs already", other);
    else
        error_set(err, ERR_BUSY, "a %s can't run beside %s", lock_class_name(self->class), other);
    error_hint(err,
               "wait for its end; if that process is gone, its lock is free at once on its own "
               "machine, and %lld minutes after its last sign of life elsewhere",
               (long long)(LOCK_STALE_US / US_PER_MINUTE));
    return ERR_BUSY;
}

struct rivals {
    const struct lock *lock;
    struct lock_holder found; /* one that excludes us; one that is held before one that begins */
    bool any;
};

static int note_rival(const struct lock_holder *holder, void *context, struct error *err)
{
    (void)err;
    struct rivals *rivals = context;
    const struct lock_holder *self = &rivals->lock->record.holder;
    if (strcmp(holder->name, self->name) != 0 &&
        lock_classes_conflict(holder->class, self->class) &&
        (!rivals->any || !holder->is_acquiring)) {
        rivals->found = *holder;
        rivals->any = true;
    }
    return 0;
}

static bool gives_way(const struct lock_holder *self, const struct lock_holder *other)
{
    if (self->class != other->class)
        return self->class > other->class;
    return strcmp(self->name, other->name) > 0;
}

/* The second phase: nobody who excludes us holds a lock, or is about to. */
static int settle(const struct lock *lock, struct error *err)
{
    int64_t deadline = instant_monotonic_us() + LOCK_SETTLE_US;
    for (;;) {
        struct rivals rivals = {.lock = lock};
        int rc = lock_list(lock->repository, note_rival, &rivals, err);
        if (rc || !rivals.any)
            return rc;
        if (!rivals.found.is_acquiring || gives_way(&lock->record.holder, &rivals.found) ||
            instant_monotonic_us() > deadline)
            return busy(lock, &rivals.found, err);
        sleep_us(LOCK_SETTLE_POLL_US);
    }
}

/* The server has taken its lock from that holder and given it to us, so it is over with that one,
 * whatever its process does: it finds our number. */
static bool is_taken_over(const struct lock *lock, const struct lock_holder *holder)
{
    const char *under = lock->record.holder.under;
    return *under && strcmp(under, holder->under) == 0;
}

/* The first phase: the next number of this name. ERR_EXISTS when it is held; err then says by whom.
 */
static int take_number(struct lock *lock, struct error *err)
{
    struct lock_record highest;
    bool found;
    int rc = lock_read_highest(lock->repository, lock->record.holder.name, &highest, &found, err);
    if (rc)
        return rc;
    if (found && lock_record_is_live(&highest) && !is_taken_over(lock, &highest.holder)) {
        busy(lock, &highest.holder, err);
        return ERR_EXISTS;
    }
    lock->record.holder.number = found ? highest.holder.number + 1 : 1;
    lock->record.holder.acquired_us = lock->record.holder.refreshed_us = instant_now_us();
    rc = lock_write_record(lock->repository, &lock->record, STORE_IF_ABSENT, err);
    /* Our number is free again when it was taken, given back and tidied up by a later holder since
     * we looked; then that one's number is there to see. */
    if (!rc)
        rc = lock_read_highest(lock->repository, lock->record.holder.name, &highest, &found, err);
    if (rc && rc != ERR_EXISTS)
        return rc;
    if (!rc && highest.holder.number == lock->record.holder.number)
        return 0;
    error_set(err, ERR_BUSY, "another run took the lock \"%s\" at the same moment",
              lock->record.holder.name);
    return ERR_EXISTS;
}

/* ERR_EXISTS when the name itself is taken, ERR_BUSY when a lock of another name excludes us. */
static int acquire_once(struct lock *lock, struct error *err)
{
    lock->record.state = LOCK_STATE_ACQUIRING;
    lock->record.holder.number = 0;
    int rc = take_number(lock, err);
    if (rc == ERR_EXISTS)
        return rc;
    if (!rc) {
        lock_delete_lower(lock->repository, &lock->record);
        rc = settle(lock, err);
    }
    if (!rc) {
        lock->record.state = LOCK_STATE_HELD;
        rc = lock_write_record(lock->repository, &lock->record, 0, err);
    }
    if (rc && lock->record.holder.number > 0) {
        lock->record.state = LOCK_STATE_RELEASED;
        lock_write_record(lock->repository, &lock->record, 0, NULL);
    }
    return rc;
}

static int acquire_named(struct lock *lock, const struct lock_request *request, struct error *err)
{
    char *name = lock->record.holder.name;
    if (request->job) {
        snprintf(name, LOCK_NAME_MAX + 1, "job-%s", request->job);
        return acquire_once(lock, err);
    }
    int rc = ERR_EXISTS;
    for (int i = 1; rc == ERR_EXISTS && i <= LOCK_SLOTS_MAX; i++) {
        snprintf(name, LOCK_NAME_MAX + 1, "%s-%d", lock_class_name(request->class), i);
        rc = acquire_once(lock, err);
    }
    return rc;
}

/* Looks again and again, more seldom the longer it lasts: each look is a listing. */
static int acquire_waiting(struct lock *lock, const struct lock_request *request, struct error *err)
{
    int64_t begun_us = instant_monotonic_us(), poll_us = LOCK_WAIT_POLL_US;
    int64_t own_us =
        request->wait_own_us > request->wait_us ? request->wait_own_us : request->wait_us;
    for (;;) {
        int rc = acquire_named(lock, request, err);
        int64_t most_us = rc == ERR_EXISTS ? own_us : request->wait_us;
        int64_t waited_us = instant_monotonic_us() - begun_us;
        if ((rc != ERR_EXISTS && rc != ERR_BUSY) || waited_us >= most_us)
            return rc;
        if (request->stop && request->stop(err))
            return err ? err->code : ERR_INTERRUPTED;
        sleep_us(most_us - waited_us < poll_us ? most_us - waited_us : poll_us);
        if (waited_us > LOCK_WAIT_POLL_MAX_US && poll_us < LOCK_WAIT_POLL_MAX_US)
            poll_us *= 2;
    }
}

static void destroy(struct lock *lock)
{
    pthread_mutex_destroy(&lock->mutex);
    free(lock);
}

int lock_acquire(struct repository *repository, const struct lock_request *request,
                 struct lock **ret_lock, struct error *err)
{
    if (request->job && strlen(request->job) + strlen("job-") > LOCK_NAME_MAX)
        return error_set(err, ERR_USAGE, "the name of job \"%s\" is too long", request->job);
    struct lock *lock = calloc(1, sizeof(*lock));
    if (!lock)
        return error_no_memory(err);
    lock->repository = repository->keeper ? repository->keeper : repository;
    pthread_mutex_init(&lock->mutex, NULL);
    lock_record_of_self(&lock->record, request);
    int rc = acquire_waiting(lock, request, err);
    if (rc) {
        destroy(lock);
        return rc == ERR_EXISTS ? ERR_BUSY : rc;
    }
    *ret_lock = lock;
    return 0;
}

int64_t lock_number(const struct lock *lock)
{
    return lock->record.holder.number;
}

static bool is_ours(const struct lock_holder *self, const struct lock_holder *other)
{
    const struct process_identity *a = &self->process, *b = &other->process;
    return self->number == other->number && a->pid == b->pid && a->start_ticks == b->start_ticks &&
           strcmp(a->place, b->place) == 0;
}

/* A listing may miss a record that is replaced meanwhile, by a refresh: looked at again before it
 * is called gone. */
static int read_current(const struct lock *lock, struct lock_record *highest, bool *ret_found,
                        struct error *err)
{
    const struct lock_holder *self = &lock->record.holder;
    for (int i = 1;; i++) {
        int rc = lock_read_highest(lock->repository, self->name, highest, ret_found, err);
        if (rc || i == MISSES_MAX || (*ret_found && highest->holder.number >= self->number))
            return rc;
        sleep_us(LOCK_SETTLE_POLL_US);
    }
}

int lock_check_held(struct lock *lock, struct error *err)
{
    struct lock_record highest;
    bool found = false;
    const struct lock_holder *self = &lock->record.holder;
    int rc = read_current(lock, &highest, &found, err);
    if (rc || (found && is_ours(self, &highest.holder)))
        return rc;
    if (!found || highest.holder.number < self->number) {
        error_set(err, ERR_CONFLICT, "the record of the lock \"%s\" of this run is gone",
                  self->name);
        error_hint(err, "somebody deleted it, and another run may have taken the lock; this one "
                        "ends without a result: begin it again");
        return ERR_CONFLICT; /* of a NULL err too */
    }
    char other[4 * LOCK_TEXT_MAX];
    describe(&highest.holder, other, sizeof(other));
    error_set(err, ERR_CONFLICT, "the lock \"%s\" of this run was taken over by %s", self->name,
              other);
    error_hint(err, "this run gave no sign of life for %lld minutes; it ends without a result",
               (long long)(LOCK_STALE_US / US_PER_MINUTE));
    return ERR_CONFLICT;
}

int lock_refresh(struct lock *lock, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&lock->mutex);
    if (!lock->released) {
        rc = lock_check_held(lock, err);
        struct lock_record record = lock->record;
        record.holder.refreshed_us = instant_now_us();
        if (!rc)
            rc = lock_write_record(lock->repository, &record, 0, err);
    }
    pthread_mutex_unlock(&lock->mutex);
    return rc;
}

int lock_release(struct lock *lock, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&lock->mutex);
    if (!lock->released) {
        struct lock_record record = lock->record;
        record.state = LOCK_STATE_RELEASED;
        rc = lock_check_held(lock, NULL) == ERR_CONFLICT
                 ? 0 /* it is another's by now: nothing of ours is left to give back */
                 : lock_write_record(lock->repository, &record, 0, err);
        lock->released = rc == 0;
    }
    pthread_mutex_unlock(&lock->mutex);
    return rc;
}

struct lock *lock_free(struct lock *lock)
{
    if (lock) {
        lock_release(lock, NULL);
        destroy(lock);
    }
    return NULL;
}
