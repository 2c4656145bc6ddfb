#include "work/locking.h"

#include <pthread.h>
#include <time.h>

#include "base/units.h"
#include "work/work.h"

enum { WATCH_STEP_US = 200000 }; /* how soon a signal is seen */

struct locking {
    struct repository *repository;
    struct lock *lock;
    int64_t timeout_us; /* 0: none */
    int64_t started_us; /* monotonic */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool is_over;       /* the work is */
    bool is_released;   /* and the lock given back */
    int64_t stopped_us; /* monotonic: when the store was; INSTANT_NONE */
    pthread_t watcher, refresher;
};

static void stop_at_timeout(const struct locking *locking)
{
    char text[UNITS_TEXT_MAX], message[128];
    snprintf(message, sizeof(message), "stopped after its timeout of %s",
             duration_format(locking->timeout_us, text));
    work_stop(ERR_TIMEOUT, message);
}

/* A refresh that fails for want of the store is tried again in a minute: before anything final the
 * story asks whether the lock is still held. */
static void refresh_lock(const struct locking *locking)
{
    struct error error = ERROR_NONE;
    if (lock_refresh(locking->lock, &error) == ERR_CONFLICT)
        work_stop(ERR_CONFLICT, error.message);
}

/* Work that shall end must not sit in requests that are tried again and again. What it says and
 * takes away at its end gets a moment more, and is then cut off too: the lock of a process that is
 * gone is free. */
static void stop_store(struct locking *locking, int64_t now_us)
{
    if (locking->stopped_us == INSTANT_NONE) {
        locking->stopped_us = now_us;
        repository_stop(locking->repository);
    } else if (now_us - locking->stopped_us >= LOCKING_GRACE_US) {
        repository_stop(locking->repository->keeper);
    }
}

static void wait_a_step(struct locking *locking)
{
    int64_t until_us = instant_monotonic_us() + WATCH_STEP_US;
    struct timespec until = {.tv_sec = until_us / US_PER_SECOND,
                             .tv_nsec = until_us % US_PER_SECOND * 1000};
    pthread_cond_timedwait(&locking->wake, &locking->mutex, &until);
}

/* A thread of its own, so that a refresh which waits for the store holds nothing up. */
static void *refresh(void *argument)
{
    struct locking *locking = argument;
    int64_t refresh_us = locking->started_us + LOCK_REFRESH_US;
    pthread_mutex_lock(&locking->mutex);
    while (!locking->is_over) {
        wait_a_step(locking);
        int64_t now_us = instant_monotonic_us();
        if (locking->is_over || now_us < refresh_us)
            continue;
        pthread_mutex_unlock(&locking->mutex);
        refresh_lock(locking);
        pthread_mutex_lock(&locking->mutex);
        refresh_us = now_us + LOCK_REFRESH_US;
    }
    pthread_mutex_unlock(&locking->mutex);
    return NULL;
}

static void *watch(void *argument)
{
    struct locking *locking = argument;
    int64_t timeout_us =
        locking->timeout_us > 0 ? locking->started_us + locking->timeout_us : INT64_MAX;
    pthread_mutex_lock(&locking->mutex);
    while (!locking->is_released) {
        wait_a_step(locking);
        int64_t now_us = instant_monotonic_us();
        if (!locking->is_over && now_us >= timeout_us) {
            stop_at_timeout(locking);
            timeout_us = INT64_MAX;
        }
        if (!locking->is_released && work_interrupted(NULL))
            stop_store(locking, now_us);
    }
    pthread_mutex_unlock(&locking->mutex);
    return NULL;
}

static void tell(struct locking *locking, bool *what)
{
    pthread_mutex_lock(&locking->mutex);
    *what = true;
    pthread_cond_broadcast(&locking->wake);
    pthread_mutex_unlock(&locking->mutex);
}

static int start_watching(struct locking *locking, struct error *err)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&locking->mutex, NULL);
    pthread_cond_init(&locking->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int failure = pthread_create(&locking->watcher, NULL, watch, locking);
    if (failure == 0) {
        failure = pthread_create(&locking->refresher, NULL, refresh, locking);
        if (failure == 0)
            return 0;
        tell(locking, &locking->is_released);
        pthread_join(locking->watcher, NULL);
    }
    pthread_cond_destroy(&locking->wake);
    pthread_mutex_destroy(&locking->mutex);
    return error_set_errno(err, failure, "could not start the thread that refreshes the lock");
}

int locking_begin(struct repository *repository, const struct lock_request *request,
                  int64_t timeout_us, struct locking **ret_locking, struct error *err)
{
    struct locking *locking = calloc(1, sizeof(*locking));
    if (!locking)
        return error_no_memory(err);
    locking->repository = repository;
    locking->stopped_us = INSTANT_NONE;
    locking->timeout_us = timeout_us;
    locking->started_us = instant_monotonic_us();
    int rc = lock_acquire(repository, request, &locking->lock, err);
    if (!rc)
        rc = start_watching(locking, err);
    if (rc) {
        lock_free(locking->lock);
        free(locking);
        return rc;
    }
    *ret_locking = locking;
    return 0;
}

struct lock *locking_lock(const struct locking *locking)
{
    return locking->lock;
}

int locking_end(struct locking *locking, struct error *err)
{
    if (!locking->lock)
        return 0;
    tell(locking, &locking->is_over);
    pthread_join(locking->refresher, NULL);
    int rc = lock_release(locking->lock, err);
    tell(locking, &locking->is_released);
    pthread_join(locking->watcher, NULL);
    pthread_cond_destroy(&locking->wake);
    pthread_mutex_destroy(&locking->mutex);
    locking->lock = lock_free(locking->lock);
    return rc;
}

struct locking *locking_free(struct locking *locking)
{
    if (locking)
        locking_end(locking, NULL);
    free(locking);
    return NULL;
}
