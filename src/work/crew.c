#include "work/crew.h"

#include <errno.h>
#include <pthread.h>

#include "base/instant.h"

struct member {
    struct crew *crew;
    crew_function function;
    void *argument;
    pthread_t thread;
};

struct guard {
    void (*cancel)(void *argument);
    void *argument;
};

struct crew {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct member members[CREW_THREADS_MAX];
    size_t member_count, running;
    struct guard guards[CREW_GUARDS_MAX];
    struct error error;
    bool stopped;
};

int crew_new(struct crew **ret_crew, struct error *err)
{
    struct crew *crew = calloc(1, sizeof(*crew));
    if (!crew)
        return error_no_memory(err);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&crew->mutex, NULL);
    pthread_cond_init(&crew->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    *ret_crew = crew;
    return 0;
}

/* With the mutex held, so that a guard is not taken away under its cancel function. */
static void stop_locked(struct crew *crew)
{
    if (crew->stopped)
        return;
    crew->stopped = true;
    for (size_t i = 0; i < CREW_GUARDS_MAX; i++)
        if (crew->guards[i].cancel)
            crew->guards[i].cancel(crew->guards[i].argument);
}

void crew_fail(struct crew *crew, const struct error *error)
{
    pthread_mutex_lock(&crew->mutex);
    if (!crew->error.code && !crew->stopped)
        crew->error = *error;
    stop_locked(crew);
    pthread_mutex_unlock(&crew->mutex);
}

static void *run_member(void *argument)
{
    struct member *member = argument;
    struct error error = ERROR_NONE;
    int rc = member->function(member->argument, &error);
    if (rc && !error.code) /* a failure without words is not a success */
        error_set(&error, rc, "a thread failed (%s)", error_code_name(rc));
    if (rc)
        crew_fail(member->crew, &error);
    pthread_mutex_lock(&member->crew->mutex);
    member->crew->running--;
    pthread_cond_broadcast(&member->crew->changed);
    pthread_mutex_unlock(&member->crew->mutex);
    return NULL;
}

int crew_start(struct crew *crew, crew_function function, void *argument, struct error *err)
{
    if (crew->member_count == CREW_THREADS_MAX)
        return error_set(err, ERR_LIMIT, "more than %d threads", CREW_THREADS_MAX);
    struct member *member = &crew->members[crew->member_count];
    *member = (struct member){.crew = crew, .function = function, .argument = argument};
    pthread_mutex_lock(&crew->mutex);
    crew->running++;
    int status = pthread_create(&member->thread, NULL, run_member, member);
    if (status)
        crew->running--;
    else
        crew->member_count++;
    pthread_mutex_unlock(&crew->mutex);
    return status ? error_set_errno(err, status, "could not start a thread") : 0;
}

bool crew_ended(struct crew *crew, int64_t wait_us)
{
    int64_t until_us = instant_monotonic_us() + wait_us;
    struct timespec until = {.tv_sec = until_us / US_PER_SECOND,
                             .tv_nsec = until_us % US_PER_SECOND * 1000};
    pthread_mutex_lock(&crew->mutex);
    while (crew->running > 0 &&
           pthread_cond_timedwait(&crew->changed, &crew->mutex, &until) != ETIMEDOUT)
        continue;
    bool ended = crew->running == 0;
    pthread_mutex_unlock(&crew->mutex);
    return ended;
}

bool crew_stopped(struct crew *crew)
{
    pthread_mutex_lock(&crew->mutex);
    bool stopped = crew->stopped;
    pthread_mutex_unlock(&crew->mutex);
    return stopped;
}

int crew_join(struct crew *crew, struct error *err)
{
    for (size_t i = 0; i < crew->member_count; i++)
        pthread_join(crew->members[i].thread, NULL);
    crew->member_count = 0;
    if (crew->error.code && err)
        *err = crew->error;
    return crew->error.code;
}

struct crew *crew_free(struct crew *crew)
{
    if (!crew)
        return NULL;
    pthread_mutex_lock(&crew->mutex);
    if (crew->running > 0)
        stop_locked(crew);
    pthread_mutex_unlock(&crew->mutex);
    crew_join(crew, NULL);
    pthread_cond_destroy(&crew->changed);
    pthread_mutex_destroy(&crew->mutex);
    free(crew);
    return NULL;
}

int crew_guard(struct crew *crew, void (*cancel)(void *argument), void *argument)
{
    int guard = -1;
    pthread_mutex_lock(&crew->mutex);
    for (int i = 0; i < CREW_GUARDS_MAX && guard < 0 && !crew->stopped; i++) {
        if (crew->guards[i].cancel)
            continue;
        crew->guards[i] = (struct guard){.cancel = cancel, .argument = argument};
        guard = i;
    }
    pthread_mutex_unlock(&crew->mutex);
    return guard;
}

void crew_unguard(struct crew *crew, int guard)
{
    if (guard < 0)
        return;
    pthread_mutex_lock(&crew->mutex);
    crew->guards[guard] = (struct guard){0};
    pthread_mutex_unlock(&crew->mutex);
}
